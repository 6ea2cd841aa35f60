#include "sources/exporter.h"

#include "base/array.h"
#include "base/clock.h"
#include "wire/exposition.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        EXPORTER_CHUNK = 64 << 10,
        EXPORTER_ONCE = 1 << 20, /* octets taken in one call */
        EXPORTER_SILENT = 3,
        EXPORTER_PATH = 256,
};

#define EXPORTER_PERIOD  (5 * DOG_S)
#define EXPORTER_TIMEOUT (10 * DOG_S)

struct dog_exporter {
        struct dog_exporter_conf conf;
        struct sockaddr_storage address;
        char request[EXPORTER_PATH + 160];
        size_t sent;
        int fd; /* -1: no exchange */
        bool is_connected;
        char *answer;
        size_t size, room;
        int64_t due_ns, until_ns;
        struct dog_counters before;
        bool has_before;
        unsigned failed_in_row;
        struct dog_exporter_stats stats;
};

const char *dog_exporter_fault_word(enum dog_exporter_fault f)
{
        static const char *const word[] = {[DOG_EXPORTER_FINE] = "fine",
#define X(name, w, text) [DOG_EXPORTER_##name] = (w),
                                           DOG_EXPORTER_FAULTS(X)
#undef X
        };
        return f < DOG_EXPORTER_FAULT_COUNT ? word[f] : "?";
}

const char *dog_exporter_fault_text(enum dog_exporter_fault f)
{
        static const char *const text[] = {[DOG_EXPORTER_FINE] = "read",
#define X(name, word, t) [DOG_EXPORTER_##name] = (t),
                                           DOG_EXPORTER_FAULTS(X)
#undef X
        };
        return f < DOG_EXPORTER_FAULT_COUNT ? text[f] : "?";
}

/* ---- from metrics to counters ---- */

static void exporter_add(double *to, double value)
{
        *to = isnan(*to) ? value : *to + value;
}

/* Metrics without labels, or whose sum over all labels is the counter. */
static const struct {
        const char *name;
        size_t at;
} exporter_plain[] = {
        {"node_load1", offsetof(struct dog_counters, load1)},
        {"node_memory_MemTotal_bytes", offsetof(struct dog_counters, memory_total)},
        {"node_memory_MemAvailable_bytes", offsetof(struct dog_counters, memory_left)},
        {"node_pressure_cpu_waiting_seconds_total", offsetof(struct dog_counters, stalled_cpu_s)},
        {"node_pressure_memory_waiting_seconds_total", offsetof(struct dog_counters, stalled_memory_s)},
        {"node_pressure_io_waiting_seconds_total", offsetof(struct dog_counters, stalled_io_s)},
        {"node_netstat_Tcp_OutSegs", offsetof(struct dog_counters, segments)},
        {"node_netstat_Tcp_RetransSegs", offsetof(struct dog_counters, retransmitted)},
        {"node_netstat_TcpExt_ListenOverflows", offsetof(struct dog_counters, overflows)},
        {"node_filefd_allocated", offsetof(struct dog_counters, files)},
        {"node_filefd_maximum", offsetof(struct dog_counters, files_most)},
};

/* Summed over all devices but loopback. */
static const struct {
        const char *name;
        size_t at;
} exporter_devices[] = {
        {"node_network_receive_bytes_total", offsetof(struct dog_counters, rx_bytes)},
        {"node_network_transmit_bytes_total", offsetof(struct dog_counters, tx_bytes)},
        {"node_network_receive_packets_total", offsetof(struct dog_counters, rx_packets)},
        {"node_network_transmit_packets_total", offsetof(struct dog_counters, tx_packets)},
        {"node_network_receive_errs_total", offsetof(struct dog_counters, net_errors)},
        {"node_network_transmit_errs_total", offsetof(struct dog_counters, net_errors)},
        {"node_network_receive_drop_total", offsetof(struct dog_counters, net_drops)},
        {"node_network_transmit_drop_total", offsetof(struct dog_counters, net_drops)},
};

/* Free and whole size of file systems come in different metrics: kept by mount point until both are there. */
enum { EXPORTER_MOUNTS = 64 };
struct exporter_mounts {
        struct {
                char name[128];
                double size, left;
        } mount[EXPORTER_MOUNTS];
        unsigned n;
};

static double *exporter_counter(struct dog_counters *c, size_t at)
{
        return (double *)((uint8_t *)c + at);
}

static void exporter_cpu(const struct dog_exposition_sample *s, struct dog_counters *c)
{
        char mode[16];
        if (!dog_exposition_label(s, "mode", mode, sizeof(mode)))
                return;
        exporter_add(&c->cpu_total_s, s->value);
        if (strcmp(mode, "idle") == 0)
                exporter_add(&c->processors, 1);
        else if (strcmp(mode, "iowait") != 0)
                exporter_add(&c->cpu_busy_s, s->value);
        if (strcmp(mode, "steal") == 0)
                exporter_add(&c->cpu_steal_s, s->value);
}

static void exporter_mount(struct exporter_mounts *m, const struct dog_exposition_sample *s, bool is_size)
{
        static const char *const unreal[] = {"tmpfs", "ramfs", "overlay", "squashfs", "devtmpfs", "iso9660",
                                             "nfs",   "nfs4",  "cifs",    "rootfs",   "erofs"};
        char type[32], name[sizeof(m->mount[0].name)];
        dog_exposition_label(s, "fstype", type, sizeof(type));
        dog_exposition_label(s, "mountpoint", name, sizeof(name));
        for (size_t i = 0; i < ARRAY_SIZE(unreal); i++)
                if (strcmp(type, unreal[i]) == 0)
                        return;
        if (strncmp(type, "fuse", 4) == 0)
                return;
        unsigned i = 0;
        while (i < m->n && strcmp(m->mount[i].name, name) != 0)
                i++;
        if (i == EXPORTER_MOUNTS)
                return;
        if (i == m->n) {
                memcpy(m->mount[i].name, name, sizeof(name));
                m->mount[i].size = m->mount[i].left = (double)NAN;
                m->n++;
        }
        *(is_size ? &m->mount[i].size : &m->mount[i].left) = s->value;
}

static bool exporter_device(const struct dog_exposition_sample *s, struct dog_counters *c)
{
        char device[32];
        for (size_t i = 0; i < ARRAY_SIZE(exporter_devices); i++) {
                if (!dog_span_is(s->name, exporter_devices[i].name))
                        continue;
                dog_exposition_label(s, "device", device, sizeof(device));
                if (strcmp(device, "lo") != 0)
                        exporter_add(exporter_counter(c, exporter_devices[i].at), s->value);
                return true;
        }
        return false;
}

static bool exporter_plain_take(const struct dog_exposition_sample *s, struct dog_counters *c)
{
        for (size_t i = 0; i < ARRAY_SIZE(exporter_plain); i++) {
                if (!dog_span_is(s->name, exporter_plain[i].name))
                        continue;
                *exporter_counter(c, exporter_plain[i].at) = s->value;
                return true;
        }
        return false;
}

/* @return whether it is one of ours */
static bool exporter_sample(const struct dog_exposition_sample *s, struct dog_counters *c,
                            struct exporter_mounts *m)
{
        if (s->name.size < 5 || memcmp(s->name.text, "node_", 5) != 0)
                return false;
        if (dog_span_is(s->name, "node_cpu_seconds_total")) {
                exporter_cpu(s, c);
        } else if (dog_span_is(s->name, "node_disk_io_time_seconds_total")) {
                char device[sizeof(c->disk[0].name)];
                dog_exposition_label(s, "device", device, sizeof(device));
                struct dog_counters_disk *disk = dog_counters_disk(c, device, strlen(device));
                if (disk)
                        disk->busy_ms = s->value * 1000;
        } else if (dog_span_is(s->name, "node_filesystem_size_bytes")) {
                exporter_mount(m, s, true);
        } else if (dog_span_is(s->name, "node_filesystem_avail_bytes")) {
                exporter_mount(m, s, false);
        } else {
                return exporter_device(s, c) || exporter_plain_take(s, c);
        }
        return true;
}

enum dog_exporter_fault dog_exporter_read(const char *text, size_t size, struct dog_counters *c)
{
        struct dog_exposition x = dog_exposition_of(text, size);
        struct dog_exposition_sample s;
        struct exporter_mounts mounts = {.n = 0};
        unsigned ours = 0;
        while (dog_exposition_next(&x, &s))
                ours += exporter_sample(&s, c, &mounts);
        if (x.is_broken)
                return DOG_EXPORTER_MALFORMED;
        for (unsigned i = 0; i < mounts.n; i++) {
                double left = mounts.mount[i].left / mounts.mount[i].size;
                if (left >= 0 && left <= 1 && !(left >= c->disk_left))
                        c->disk_left = left;
        }
        return ours ? DOG_EXPORTER_FINE : DOG_EXPORTER_EMPTY;
}

/* ---- HTTP ---- */

enum dog_exporter_fault dog_exporter_head(const char *answer, size_t size, const char **body, size_t *left)
{
        /* "HTTP/1.x NNN" and then a space or the line's end */
        if (size < 13 || memcmp(answer, "HTTP/1.", 7) != 0 || (answer[7] != '0' && answer[7] != '1') ||
            answer[8] != ' ')
                return DOG_EXPORTER_NOT_HTTP;
        int status = 0;
        for (int i = 9; i < 12; i++) {
                if (answer[i] < '0' || answer[i] > '9')
                        return DOG_EXPORTER_NOT_HTTP;
                status = status * 10 + (answer[i] - '0');
        }
        if (answer[12] != ' ' && answer[12] != '\r')
                return DOG_EXPORTER_NOT_HTTP;
        if (status >= 300 && status < 400)
                return DOG_EXPORTER_REDIRECT;
        if (status != 200)
                return DOG_EXPORTER_STATUS;
        const char *end = memmem(answer, size, "\r\n\r\n", 4);
        if (!end)
                return DOG_EXPORTER_CUT;
        *body = end + 4;
        *left = size - (size_t)(*body - answer);
        return DOG_EXPORTER_FINE;
}

/* The length that the head announces; -1: none. Only within the head. */
static int64_t exporter_length(const char *answer, const char *body)
{
        static const char key[] = "content-length:";
        for (const char *at = answer; at + sizeof(key) < body; at++) {
                if (*at != '\n' || strncasecmp(at + 1, key, sizeof(key) - 1) != 0)
                        continue;
                char *end;
                errno = 0;
                long long n = strtoll(at + sizeof(key), &end, 10);
                return errno || n < 0 || (*end != '\r' && *end != ' ') ? -1 : n;
        }
        return -1;
}

/* ---- one exchange ---- */

static void exporter_hang_up(struct dog_exporter *x)
{
        if (x->fd >= 0) {
                x->conf.watch(x->conf.user, x->fd, 0);
                close(x->fd);
        }
        x->fd = -1;
        /* Between exchanges nothing is kept: a body may have been 8 MiB. */
        free(x->answer);
        x->answer = NULL;
        x->size = x->room = x->sent = 0;
        x->is_connected = false;
}

static void exporter_fail(struct dog_exporter *x, enum dog_exporter_fault fault)
{
        exporter_hang_up(x);
        x->stats.failed[fault]++;
        x->failed_in_row++;
        if (x->conf.failed)
                x->conf.failed(x->conf.user, fault, x->failed_in_row >= EXPORTER_SILENT);
}

static void exporter_finish(struct dog_exporter *x, int64_t now_ns)
{
        const char *body = NULL;
        size_t left = 0;
        enum dog_exporter_fault fault = dog_exporter_head(x->answer ? x->answer : "", x->size, &body, &left);
        struct dog_counters now = dog_counters_unknown(now_ns);
        if (fault == DOG_EXPORTER_FINE) {
                int64_t length = exporter_length(x->answer, body);
                fault = length >= 0 && (int64_t)left != length ? DOG_EXPORTER_CUT
                                                               : dog_exporter_read(body, left, &now);
        }
        if (fault != DOG_EXPORTER_FINE) {
                exporter_fail(x, fault);
                return;
        }
        struct dog_vitals v;
        dog_vitals_derive(&v, x->has_before ? &x->before : NULL, &now);
        x->stats.impossible += dog_vitals_cleanse(&v);
        x->stats.readings++;
        x->stats.bytes += x->size;
        x->before = now;
        x->has_before = true;
        x->failed_in_row = 0;
        exporter_hang_up(x);
        if (x->conf.vitals)
                x->conf.vitals(x->conf.user, now_ns, &v);
}

static void exporter_begin(struct dog_exporter *x, int64_t now_ns)
{
        x->until_ns = now_ns + x->conf.timeout_ns;
        x->fd = socket(x->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (x->fd < 0 || (connect(x->fd, (struct sockaddr *)&x->address, x->conf.address_size) < 0 &&
                          errno != EINPROGRESS)) {
                if (x->fd >= 0)
                        close(x->fd);
                x->fd = -1;
                exporter_fail(x, DOG_EXPORTER_CONNECT);
                return;
        }
        x->conf.watch(x->conf.user, x->fd, POLLOUT);
}

/* @return false when the exchange is over */
static bool exporter_send(struct dog_exporter *x)
{
        int error = 0;
        socklen_t size = sizeof(error);
        if (getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
                exporter_fail(x, DOG_EXPORTER_CONNECT);
                return false;
        }
        x->is_connected = true;
        size_t whole = strlen(x->request);
        while (x->sent < whole) {
                ssize_t n = send(x->fd, x->request + x->sent, whole - x->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return true;
                if (n < 0) {
                        exporter_fail(x, DOG_EXPORTER_CUT);
                        return false;
                }
                x->sent += (size_t)n;
        }
        x->conf.watch(x->conf.user, x->fd, POLLIN);
        return true;
}

static bool exporter_room(struct dog_exporter *x)
{
        if (x->room - x->size >= EXPORTER_CHUNK)
                return true;
        size_t room = x->room ? x->room * 2 : (size_t)4 * EXPORTER_CHUNK;
        char *wider = realloc(x->answer, room);
        if (!wider)
                return false;
        x->answer = wider;
        x->room = room;
        return true;
}

static void exporter_receive(struct dog_exporter *x, int64_t now_ns)
{
        /* So many octets a call: a fast exporter does not keep the loop from its other work. */
        for (size_t taken = 0; taken < EXPORTER_ONCE;) {
                if (!exporter_room(x)) {
                        exporter_fail(x, DOG_EXPORTER_MEMORY);
                        return;
                }
                ssize_t n = recv(x->fd, x->answer + x->size, EXPORTER_CHUNK, MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n < 0) {
                        exporter_fail(x, DOG_EXPORTER_CUT);
                        return;
                }
                if (n == 0) {
                        exporter_finish(x, now_ns);
                        return;
                }
                x->size += (size_t)n;
                taken += (size_t)n;
                if (x->size > DOG_EXPORTER_BODY) {
                        exporter_fail(x, DOG_EXPORTER_TOO_LONG);
                        return;
                }
        }
}

/* ---- outside ---- */

/* The Host field: the address as a URL writes it. */
static void exporter_host(const struct sockaddr_storage *address, char *to, size_t room)
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

int dog_exporter_new(struct dog_exporter **to, const struct dog_exporter_conf *conf, struct dog_err *e)
{
        const char *path = conf->path ? conf->path : "/metrics";
        if (!conf->address || conf->address_size > sizeof(struct sockaddr_storage) ||
            (conf->address->sa_family != AF_INET && conf->address->sa_family != AF_INET6))
                return dog_err_set(e, -EINVAL, "exporter: needs an IPv4 or IPv6 address with a port");
        if (path[0] != '/' || strlen(path) > EXPORTER_PATH || strpbrk(path, " \t\r\n"))
                return dog_err_set(e, -EINVAL,
                                   "exporter: the path \"%.64s\" must begin with '/' and have no blanks",
                                   path);
        if ((conf->period_ns && conf->period_ns < 100 * DOG_MS) || conf->timeout_ns < 0 || !conf->watch)
                return dog_err_set(e, -EINVAL, "exporter: the period is at least 100 ms");
        struct dog_exporter *x = calloc(1, sizeof(*x));
        if (!x)
                return dog_err_set(e, -ENOMEM, "exporter: no memory");
        x->conf = *conf;
        x->conf.period_ns = conf->period_ns ? conf->period_ns : EXPORTER_PERIOD;
        int64_t most = x->conf.period_ns < EXPORTER_TIMEOUT ? x->conf.period_ns : EXPORTER_TIMEOUT;
        x->conf.timeout_ns = conf->timeout_ns && conf->timeout_ns < most ? conf->timeout_ns : most;
        memcpy(&x->address, conf->address, conf->address_size);
        x->conf.address = (struct sockaddr *)&x->address;
        x->fd = -1;
        char host[80];
        exporter_host(&x->address, host, sizeof(host));
        snprintf(x->request, sizeof(x->request),
                 "GET %s HTTP/1.0\r\nHost: %s\r\nAccept: text/plain;version=0.0.4\r\nUser-Agent: "
                 "sundog/" SUNDOG_VERSION "\r\n\r\n",
                 path, host);
        *to = x;
        return 0;
}

void dog_exporter_free(struct dog_exporter *x)
{
        if (!x)
                return;
        exporter_hang_up(x);
        free(x);
}

static int64_t exporter_next(const struct dog_exporter *x)
{
        return x->fd >= 0 ? x->until_ns : x->due_ns;
}

int64_t dog_exporter_on_timer(struct dog_exporter *x, int64_t now_ns)
{
        if (x->fd >= 0 && now_ns >= x->until_ns)
                exporter_fail(x, DOG_EXPORTER_TIMEOUT);
        if (x->fd < 0 && now_ns >= x->due_ns) {
                x->due_ns = now_ns + x->conf.period_ns;
                exporter_begin(x, now_ns);
        }
        return exporter_next(x);
}

int64_t dog_exporter_on_ready(struct dog_exporter *x, int64_t now_ns)
{
        if (x->fd < 0)
                return exporter_next(x);
        if (!x->is_connected || x->sent < strlen(x->request)) {
                if (!exporter_send(x))
                        return exporter_next(x);
        }
        if (x->fd >= 0 && x->sent == strlen(x->request))
                exporter_receive(x, now_ns);
        return exporter_next(x);
}

const struct dog_exporter_stats *dog_exporter_stats(const struct dog_exporter *x)
{
        return &x->stats;
}
