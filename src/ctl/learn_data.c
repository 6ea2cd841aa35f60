#include "ctl/learn_data.h"

#include "base/clock.h"
#include "ctl/replay.h"
#include "store/store.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* An hour is one recording: long enough for any horizon, and a block that a split of the data keeps whole. */
#define WINDOW_NS (3600 * DOG_S)
enum { TUNNELS = 32 };

static float value_of(const struct dog_sample *s, enum dog_signal signal)
{
        return (float)s->value[signal];
}

/* Slots of the store's telemetry as a recording. What was held over from an older sample is no sample. */
static int data_add(struct dog_path_traces *to, const struct replay_trace *r, int64_t from_ns,
                    struct dog_err *e)
{
        struct dog_path_trace t = {.step_ms = r->step_ns / DOG_MS, .rtt_scale = 1};
        char when[16];
        time_t wall_s = (time_t)(from_ns / DOG_S);
        struct tm utc;
        gmtime_r(&wall_s, &utc);
        strftime(t.date, sizeof(t.date), "%Y%m%d", &utc);
        strftime(when, sizeof(when), "%Y%m%d-%H%M", &utc);
        t.paths = (int)(r->paths < DOG_PATH_TRACE_PATHS ? r->paths : DOG_PATH_TRACE_PATHS);
        t.length = (int)r->slots;
        snprintf(t.name, sizeof(t.name), "%.40s-%s", r->name, when);
        snprintf(t.family, sizeof(t.family), "store");
        t.point = calloc((size_t)t.paths * r->slots, sizeof(*t.point));
        if (!t.point)
                return dog_err_set(e, -ENOMEM, "%s: out of memory", t.name);
        for (int p = 0; p < t.paths; p++) {
                snprintf(t.path[p], sizeof(t.path[p]), "%.31s", r->path[p]);
                for (size_t k = 0; k < r->slots; k++) {
                        size_t at = k * r->paths + (size_t)p;
                        struct dog_path_point *q = &t.point[(size_t)p * r->slots + k];
                        const struct dog_sample *s = &r->sample[at];
                        const struct dog_sample *before = k > 0 ? &r->sample[at - r->paths] : NULL;
                        /* Two round trips alike to the last bit are one; losses are alike anyway, and count.
                         */
                        bool is_held = before && r->is_there[at - r->paths] &&
                                       !isnan(s->value[DOG_SIGNAL_RTT]) &&
                                       memcmp(before->value, s->value, sizeof(s->value)) == 0;
                        q->margin = (float)NAN;
                        q->rtt_ms = q->loss = q->rate_kbps = (float)NAN;
                        if (!r->is_there[at] || is_held)
                                continue;
                        q->is_seen = true;
                        q->rtt_ms = value_of(s, DOG_SIGNAL_RTT);
                        q->loss = value_of(s, DOG_SIGNAL_LOSS);
                }
        }
        return dog_path_traces_add(to, &t, e);
}

static int window_load(struct dog_store *store, int64_t from_ns, int64_t to_ns, struct dog_path_traces *to,
                       struct dog_err *e)
{
        struct replay_trace t[TUNNELS];
        size_t traces = 0;
        int rc = replay_store_load(store, from_ns, to_ns, t, TUNNELS, &traces, e);
        for (size_t i = 0; i < traces; i++) {
                bool is_there = false;
                for (size_t k = 0; k < t[i].slots * t[i].paths && !is_there; k++)
                        is_there = t[i].is_there[k];
                /* Servers behind an address are no paths of one group. */
                if (rc == 0 && is_there && !t[i].is_spread)
                        rc = data_add(to, &t[i], from_ns, e);
                replay_trace_free(&t[i]);
        }
        return rc;
}

static int store_load(const struct learn_source *s, struct dog_path_traces *to)
{
        char file[4096];
        struct stat what;
        struct dog_err e = {0};
        struct dog_store *store = NULL;
        int64_t now_ns = dog_clock_wall_ns();
        int rc = 0;
        snprintf(file, sizeof(file), "%s", s->store);
        if (stat(file, &what) == 0 && S_ISDIR(what.st_mode))
                snprintf(file, sizeof(file), "%s/store.db", s->store);
        struct dog_store_options o = {.path = file, .read_only = true};
        *to = (struct dog_path_traces){0};
        rc = dog_store_open(&o, &store, &e);
        int64_t from_ns = now_ns - s->since_ns;
        from_ns -= from_ns % WINDOW_NS;
        for (; rc == 0 && from_ns < now_ns; from_ns += WINDOW_NS)
                rc = window_load(store, from_ns, from_ns + WINDOW_NS - 1, to, &e);
        dog_store_close(store);
        if (rc == 0 && to->count == 0)
                rc = dog_err_set(&e, -ENODATA,
                                 "%s: no telemetry of paths in that time; name an earlier --since", file);
        if (rc < 0) {
                dog_path_traces_free(to);
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        }
        return EXIT_FINE;
}

int learn_paths_load(const struct learn_source *s, struct dog_path_traces *to)
{
        const char *const only[] = {s->family, NULL};
        struct dog_err e = {0};
        if (!s->data)
                return store_load(s, to);
        if (dog_path_traces_load(to, s->data, s->family ? only : NULL, &e) < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        return EXIT_FINE;
}
