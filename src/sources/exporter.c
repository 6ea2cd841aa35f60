#include "sources/exporter.h"

#include "base/array.h"
#include "base/clock.h"
#include "wire/exposition.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXPORTER_SILENT = 3 };

#define EXPORTER_PERIOD  (5 * DOG_S)
#define EXPORTER_TIMEOUT (10 * DOG_S)

struct dog_exporter {
        struct dog_exporter_conf conf;
        struct dog_http http;
        int64_t due_ns;
        struct dog_counters before;
        bool has_before;
        unsigned failed_in_row;
        struct dog_exporter_stats stats;
};

_Static_assert((int)DOG_EXPORTER_MEMORY == (int)DOG_HTTP_MEMORY, "faults of HTTP are ours, by number");

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
        return (enum dog_exporter_fault)dog_http_head(answer, size, body, left);
}

/* ---- one exchange ---- */

static void exporter_fail(struct dog_exporter *x, enum dog_exporter_fault fault)
{
        x->stats.failed[fault]++;
        x->failed_in_row++;
        if (x->conf.failed)
                x->conf.failed(x->conf.user, fault, x->failed_in_row >= EXPORTER_SILENT);
}

static void exporter_done(void *user, enum dog_http_fault why, const char *body, size_t size, int64_t now_ns)
{
        struct dog_exporter *x = user;
        struct dog_counters now = dog_counters_unknown(now_ns);
        enum dog_exporter_fault fault = (enum dog_exporter_fault)why;
        if (fault == DOG_EXPORTER_FINE)
                fault = dog_exporter_read(body, size, &now);
        if (fault != DOG_EXPORTER_FINE) {
                exporter_fail(x, fault);
                return;
        }
        struct dog_vitals v;
        dog_vitals_derive(&v, x->has_before ? &x->before : NULL, &now);
        x->stats.impossible += dog_vitals_cleanse(&v);
        x->stats.readings++;
        x->stats.bytes += size;
        x->before = now;
        x->has_before = true;
        x->failed_in_row = 0;
        if (x->conf.vitals)
                x->conf.vitals(x->conf.user, now_ns, &v);
}

static void exporter_watch(void *user, int fd, short events)
{
        const struct dog_exporter *x = user;
        x->conf.watch(x->conf.user, fd, events);
}

/* ---- outside ---- */

int dog_exporter_new(struct dog_exporter **to, const struct dog_exporter_conf *conf, struct dog_err *e)
{
        if ((conf->period_ns && conf->period_ns < 100 * DOG_MS) || conf->timeout_ns < 0 || !conf->watch)
                return dog_err_set(e, -EINVAL, "exporter: the period is at least 100 ms");
        struct dog_exporter *x = calloc(1, sizeof(*x));
        if (!x)
                return dog_err_set(e, -ENOMEM, "exporter: no memory");
        struct dog_http_conf http = {.address = conf->address,
                                     .address_size = conf->address_size,
                                     .path = conf->path ? conf->path : "/metrics",
                                     .accept = "text/plain;version=0.0.4",
                                     .body_most = DOG_EXPORTER_BODY,
                                     .watch = exporter_watch,
                                     .done = exporter_done,
                                     .user = x};
        int rc = dog_http_init(&x->http, &http, e);
        if (rc < 0) {
                free(x);
                return dog_err_prefix(e, rc, "exporter");
        }
        x->conf = *conf;
        x->conf.address = NULL; /* borrowed only for this call */
        x->conf.path = NULL;
        x->conf.period_ns = conf->period_ns ? conf->period_ns : EXPORTER_PERIOD;
        int64_t most = x->conf.period_ns < EXPORTER_TIMEOUT ? x->conf.period_ns : EXPORTER_TIMEOUT;
        x->conf.timeout_ns = conf->timeout_ns && conf->timeout_ns < most ? conf->timeout_ns : most;
        *to = x;
        return 0;
}

void dog_exporter_free(struct dog_exporter *x)
{
        if (!x)
                return;
        dog_http_fini(&x->http);
        free(x);
}

static int64_t exporter_next(const struct dog_exporter *x)
{
        return dog_http_is_busy(&x->http) ? x->http.until_ns : x->due_ns;
}

int64_t dog_exporter_on_timer(struct dog_exporter *x, int64_t now_ns)
{
        dog_http_on_timer(&x->http, now_ns);
        if (!dog_http_is_busy(&x->http) && now_ns >= x->due_ns) {
                x->due_ns = now_ns + x->conf.period_ns;
                dog_http_begin(&x->http, now_ns, x->conf.timeout_ns);
        }
        return exporter_next(x);
}

int64_t dog_exporter_on_ready(struct dog_exporter *x, int64_t now_ns)
{
        dog_http_on_ready(&x->http, now_ns);
        return exporter_next(x);
}

const struct dog_exporter_stats *dog_exporter_stats(const struct dog_exporter *x)
{
        return &x->stats;
}
