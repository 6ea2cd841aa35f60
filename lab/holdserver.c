/**
 * holdserver: takes uploads and says what arrived: the other end of `holdclient --upload`.
 *
 *     holdserver --listen 81
 *
 * A POST is answered with "LENGTH SUM\n" (lab_pattern_sum of the body) and a header that is the same for the
 * same body wherever and whenever it is sent: two servers given the same bytes answer the same bytes.
 * Anything else is answered with 400 and closed. HTTP/1.1 with Content-Length; connections are kept open.
 * IPv6 and IPv4.
 */
#include "base/array.h"
#include "base/err.h"
#include "lab/pattern.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 2048
#define CHUNK    65536

struct upload {
        int fd;
        bool is_body;
        size_t head_used;
        uint64_t left, length, sum;
        char head[HEAD_MAX];
};

static void upload_end(struct upload *u)
{
        close(u->fd);
        free(u);
}

/* The answer is short: a socket that was idle takes it at once, or its client does not read. */
static bool say(const struct upload *u, const char *status, const char *body)
{
        char out[256];
        int n = snprintf(out, sizeof(out), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
                         strlen(body), body);
        return send(u->fd, out, (size_t)n, MSG_NOSIGNAL) == n;
}

static bool body_take(struct upload *u, const uint8_t *bytes, size_t n)
{
        char body[64];
        if (n > u->left)
                return false;
        u->sum = lab_pattern_sum(u->sum, bytes, n);
        u->left -= n;
        if (u->left > 0)
                return true;
        snprintf(body, sizeof(body), "%llu %016llx\n", (unsigned long long)u->length,
                 (unsigned long long)u->sum);
        u->is_body = false;
        u->head_used = 0;
        return say(u, "200 OK", body);
}

/* A request's header; what follows it is body already. */
static bool head_take(struct upload *u, const uint8_t *bytes, size_t n)
{
        size_t before = u->head_used;
        size_t room = HEAD_MAX - 1 - before;
        memcpy(u->head + before, bytes, n < room ? n : room);
        u->head_used += n < room ? n : room;
        u->head[u->head_used] = 0;
        const char *end = strstr(u->head, "\r\n\r\n");
        const char *length = strcasestr(u->head, "\r\nContent-Length:");
        if (!end)
                return n < room;
        size_t head = (size_t)(end + 4 - u->head);
        if (strncmp(u->head, "POST ", 5) != 0 || !length || length > end) {
                say(u, "400 Bad Request", "only POST with a Content-Length\n");
                return false;
        }
        u->length = u->left = strtoull(length + 17, NULL, 10);
        u->sum = 0;
        u->is_body = true;
        return body_take(u, bytes + (head - before), n - (head - before));
}

static bool upload_read(struct upload *u)
{
        static uint8_t chunk[CHUNK];
        ssize_t n = recv(u->fd, chunk, sizeof(chunk), 0);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR;
        if (n == 0)
                return false;
        return u->is_body ? body_take(u, chunk, (size_t)n) : head_take(u, chunk, (size_t)n);
}

static void upload_begin(int epoll, int listener)
{
        int one = 1;
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct upload *u = fd >= 0 ? calloc(1, sizeof(*u)) : NULL;
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = u};
        if (!u) {
                if (fd >= 0)
                        close(fd);
                return;
        }
        u->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
                upload_end(u);
}

static int listener_open(unsigned port, struct dog_err *e)
{
        struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        int one = 1;
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return dog_err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, (const struct sockaddr *)&here, sizeof(here)) < 0 || listen(fd, 16384) < 0) {
                int rc = dog_err_set(e, -errno, "cannot listen on port %u: %s", port, strerror(errno));
                close(fd);
                return rc;
        }
        return fd;
}

static int serve(unsigned port, struct dog_err *e)
{
        struct rlimit files = {65536, 65536};
        struct epoll_event ev[256] = {{.events = EPOLLIN}};
        int listener = listener_open(port, e);
        if (listener < 0)
                return listener;
        setrlimit(RLIMIT_NOFILE, &files);
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev[0]) < 0) {
                int rc = dog_err_set(e, -errno, "cannot wait for connections: %s", strerror(errno));
                close(listener);
                return rc;
        }
        for (;;) {
                int n = epoll_wait(epoll, ev, ARRAY_SIZE(ev), -1);
                for (int i = 0; i < n; i++) {
                        struct upload *u = ev[i].data.ptr;
                        if (!u)
                                upload_begin(epoll, listener);
                        else if (!upload_read(u))
                                upload_end(u);
                }
        }
}

int main(int argc, char **argv)
{
        struct dog_err e = {0};
        char *end = NULL;
        unsigned long port = argc == 3 && strcmp(argv[1], "--listen") == 0 ? strtoul(argv[2], &end, 10) : 0;
        if (!end || *end || port == 0 || port > 65535) {
                fputs("usage: holdserver --listen PORT\n", stderr);
                return 2;
        }
        serve((unsigned)port, &e);
        fprintf(stderr, "holdserver: %s\n", e.text);
        return 1;
}
