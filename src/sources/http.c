#include "sources/http.h"

#include "base/array.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
        HTTP_CHUNK = 64 << 10,
        HTTP_ONCE = 1 << 20, /* octets taken in one call */
};
#define HTTP_LENGTH_MOST (INT64_C(1) << 48) /* announced; no limit of ours is near it */

const char *dog_http_fault_word(enum dog_http_fault f)
{
        static const char *const word[] = {[DOG_HTTP_FINE] = "fine",
#define X(name, w, text) [DOG_HTTP_##name] = (w),
                                           DOG_HTTP_FAULTS(X)
#undef X
        };
        return f < DOG_HTTP_FAULT_COUNT ? word[f] : "?";
}

const char *dog_http_fault_text(enum dog_http_fault f)
{
        static const char *const text[] = {[DOG_HTTP_FINE] = "read",
#define X(name, word, t) [DOG_HTTP_##name] = (t),
                                           DOG_HTTP_FAULTS(X)
#undef X
        };
        return f < DOG_HTTP_FAULT_COUNT ? text[f] : "?";
}

/* ---- the answer ---- */

enum dog_http_fault dog_http_head(const char *answer, size_t size, const char **body, size_t *left)
{
        /* "HTTP/1.x NNN" and then a space or the line's end */
        if (size < 13 || memcmp(answer, "HTTP/1.", 7) != 0 || (answer[7] != '0' && answer[7] != '1') ||
            answer[8] != ' ')
                return DOG_HTTP_NOT_HTTP;
        int status = 0;
        for (int i = 9; i < 12; i++) {
                if (answer[i] < '0' || answer[i] > '9')
                        return DOG_HTTP_NOT_HTTP;
                status = status * 10 + (answer[i] - '0');
        }
        if (answer[12] != ' ' && answer[12] != '\r')
                return DOG_HTTP_NOT_HTTP;
        if (status >= 300 && status < 400)
                return DOG_HTTP_REDIRECT;
        if (status != 200)
                return DOG_HTTP_STATUS;
        const char *end = memmem(answer, size, "\r\n\r\n", 4);
        if (!end)
                return DOG_HTTP_CUT;
        *body = end + 4;
        *left = size - (size_t)(*body - answer);
        return DOG_HTTP_FINE;
}

/*
 * The length that the head announces; -1: none that makes sense. Digit by digit: the answer has no end of
 * its own, and strtoll would pass over the head's end, and the body, in search of a number.
 */
static int64_t http_length(const char *answer, const char *body)
{
        static const char key[] = "content-length:";
        for (const char *at = answer; at + sizeof(key) < body; at++) {
                if (*at != '\n' || strncasecmp(at + 1, key, sizeof(key) - 1) != 0)
                        continue;
                int64_t length = -1;
                at += sizeof(key);
                while (*at == ' ' || *at == '\t')
                        at++;
                for (; *at >= '0' && *at <= '9'; at++) {
                        if (length > HTTP_LENGTH_MOST)
                                return -1;
                        length = 10 * (length < 0 ? 0 : length) + (*at - '0');
                }
                return *at == '\r' || *at == ' ' ? length : -1;
        }
        return -1;
}

/* ---- one exchange ---- */

static void http_hang_up(struct dog_http *x)
{
        if (x->fd >= 0) {
                x->conf.watch(x->conf.user, x->fd, 0);
                close(x->fd);
        }
        x->fd = -1;
        /* Between exchanges nothing is kept: a body may have been long. */
        free(x->answer);
        x->answer = NULL;
        x->size = x->room = x->sent = 0;
        x->is_connected = false;
}

static void http_end(struct dog_http *x, enum dog_http_fault fault, int64_t now_ns)
{
        http_hang_up(x);
        x->conf.done(x->conf.user, fault, NULL, 0, now_ns);
}

static void http_finish(struct dog_http *x, int64_t now_ns)
{
        const char *body = NULL;
        size_t left = 0;
        enum dog_http_fault fault = dog_http_head(x->answer ? x->answer : "", x->size, &body, &left);
        if (fault == DOG_HTTP_FINE) {
                int64_t length = http_length(x->answer, body);
                if (length >= 0 && (int64_t)left != length)
                        fault = DOG_HTTP_CUT;
        }
        if (fault != DOG_HTTP_FINE) {
                http_end(x, fault, now_ns);
                return;
        }
        char *answer = x->answer;
        x->answer = NULL;
        http_hang_up(x);
        x->conf.done(x->conf.user, DOG_HTTP_FINE, body, left, now_ns);
        free(answer);
}

void dog_http_begin(struct dog_http *x, int64_t now_ns, int64_t timeout_ns)
{
        x->until_ns = now_ns + timeout_ns;
        x->fd = socket(x->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (x->fd < 0 || (connect(x->fd, (struct sockaddr *)&x->address, x->conf.address_size) < 0 &&
                          errno != EINPROGRESS)) {
                if (x->fd >= 0)
                        close(x->fd);
                x->fd = -1;
                http_end(x, DOG_HTTP_CONNECT, now_ns);
                return;
        }
        x->conf.watch(x->conf.user, x->fd, POLLOUT);
}

/* @return false when the exchange is over */
static bool http_send(struct dog_http *x, int64_t now_ns)
{
        int error = 0;
        socklen_t size = sizeof(error);
        if (getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
                http_end(x, DOG_HTTP_CONNECT, now_ns);
                return false;
        }
        x->is_connected = true;
        size_t whole = strlen(x->request);
        while (x->sent < whole) {
                ssize_t n = send(x->fd, x->request + x->sent, whole - x->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return true;
                if (n < 0) {
                        http_end(x, DOG_HTTP_CUT, now_ns);
                        return false;
                }
                x->sent += (size_t)n;
        }
        x->conf.watch(x->conf.user, x->fd, POLLIN);
        return true;
}

static bool http_room(struct dog_http *x)
{
        if (x->room - x->size >= HTTP_CHUNK)
                return true;
        size_t room = x->room ? x->room * 2 : (size_t)4 * HTTP_CHUNK;
        char *wider = realloc(x->answer, room);
        if (!wider)
                return false;
        x->answer = wider;
        x->room = room;
        return true;
}

static void http_receive(struct dog_http *x, int64_t now_ns)
{
        /* So many octets a call: a fast exporter does not keep the loop from its other work. */
        for (size_t taken = 0; taken < HTTP_ONCE;) {
                if (!http_room(x)) {
                        http_end(x, DOG_HTTP_MEMORY, now_ns);
                        return;
                }
                ssize_t n = recv(x->fd, x->answer + x->size, HTTP_CHUNK, MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n < 0) {
                        http_end(x, DOG_HTTP_CUT, now_ns);
                        return;
                }
                if (n == 0) {
                        http_finish(x, now_ns);
                        return;
                }
                x->size += (size_t)n;
                taken += (size_t)n;
                if (x->size > x->conf.body_most) {
                        http_end(x, DOG_HTTP_TOO_LONG, now_ns);
                        return;
                }
        }
}

/* ---- outside ---- */

/* The Host field: the address as a URL writes it. */
static void http_host(const struct sockaddr_storage *address, char *to, size_t room)
{
        char text[INET6_ADDRSTRLEN] = "";
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        memcpy(&v4, address, sizeof(v4));
        memcpy(&v6, address, sizeof(v6));
        if (address->ss_family == AF_INET) {
                inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
                snprintf(to, room, "%s:%u", text, ntohs(v4.sin_port));
        } else {
                inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
                snprintf(to, room, "[%s]:%u", text, ntohs(v6.sin6_port));
        }
}

int dog_http_init(struct dog_http *x, const struct dog_http_conf *conf, struct dog_err *e)
{
        if (!conf->address || conf->address_size > sizeof(struct sockaddr_storage) ||
            (conf->address->sa_family != AF_INET && conf->address->sa_family != AF_INET6))
                return dog_err_set(e, -EINVAL, "needs an IPv4 or IPv6 address with a port");
        if (conf->path[0] != '/' || strlen(conf->path) > DOG_HTTP_PATH || strpbrk(conf->path, " \t\r\n"))
                return dog_err_set(e, -EINVAL, "the path \"%.64s\" must begin with '/' and have no blanks",
                                   conf->path);
        memset(x, 0, sizeof(*x));
        x->conf = *conf;
        memcpy(&x->address, conf->address, conf->address_size);
        x->conf.address = (struct sockaddr *)&x->address;
        x->fd = -1;
        char host[80];
        http_host(&x->address, host, sizeof(host));
        snprintf(x->request, sizeof(x->request),
                 "GET %s HTTP/1.0\r\nHost: %s\r\nAccept: %.40s\r\nUser-Agent: sundog/" SUNDOG_VERSION
                 "\r\n\r\n",
                 conf->path, host, conf->accept);
        x->conf.path = x->conf.accept = NULL;
        return 0;
}

void dog_http_fini(struct dog_http *x)
{
        http_hang_up(x);
}

void dog_http_on_timer(struct dog_http *x, int64_t now_ns)
{
        if (x->fd >= 0 && now_ns >= x->until_ns)
                http_end(x, DOG_HTTP_TIMEOUT, now_ns);
}

void dog_http_on_ready(struct dog_http *x, int64_t now_ns)
{
        if (x->fd < 0)
                return;
        if ((!x->is_connected || x->sent < strlen(x->request)) && !http_send(x, now_ns))
                return;
        if (x->fd >= 0 && x->sent == strlen(x->request))
                http_receive(x, now_ns);
}

int dog_http_address(const char *url, struct sockaddr_storage *to, socklen_t *size, const char **path,
                     struct dog_err *e)
{
        char host[INET6_ADDRSTRLEN] = "";
        memset(to, 0, sizeof(*to));
        bool is_http = strncmp(url, "http://", 7) == 0;
        const char *at = is_http ? url + 7 : "";
        bool is_six = *at == '[';
        at += is_six;
        size_t length = strcspn(at, is_six ? "]" : ":");
        if (length < sizeof(host))
                memcpy(host, at, length);
        at += length;
        bool is_whole = !is_six || *at++ == ']';
        char *end = NULL;
        unsigned long port =
                is_whole && *at == ':' && at[1] >= '0' && at[1] <= '9' ? strtoul(at + 1, &end, 10) : 0;
        struct sockaddr_in *four = (struct sockaddr_in *)to;
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
        int known = is_six ? inet_pton(AF_INET6, host, &six->sin6_addr)
                           : inet_pton(AF_INET, host, &four->sin_addr);
        if (known != 1 || port < 1 || port > 65535 || *end != '/')
                return dog_err_set(e, -EINVAL, "%.100s is not like http://192.0.2.1:9100/metrics", url);
        *path = end;
        to->ss_family = is_six ? AF_INET6 : AF_INET;
        *(is_six ? &six->sin6_port : &four->sin_port) = htons((uint16_t)port);
        *size = is_six ? sizeof(*six) : sizeof(*four);
        return 0;
}
