#include "learn/path_store.h"

#include "base/clock.h"
#include "models/quantile.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEP_MS = 1000, WINDOW = 600, SPAN_MOST_S = 31 * 86400, NAMES_MOST = 4096 };
#define STEP_NS (STEP_MS * DOG_MS)
/* A trace in which nobody was measured half of the time teaches little but how to guess. */
#define SEEN_LEAST (WINDOW / 2)

struct names {
        char (*name)[208];
        size_t count;
};

static int names_add(void *context, const char *name)
{
        struct names *n = context;
        if (n->count == NAMES_MOST || strncmp(name, "path/", 5) != 0)
                return 0;
        void *more = realloc(n->name, (n->count + 1) * sizeof(*n->name));
        if (!more)
                return -ENOMEM;
        n->name = more;
        snprintf(n->name[n->count++], sizeof(*n->name), "%s", name);
        return 0;
}

/* The paths of one tunnel, second by second. */
struct tunnel {
        char path[DOG_PATH_TRACE_PATHS][32];
        int paths;
        size_t steps;
        float *rtt, *loss; /* [path * steps + step] */
};

struct column {
        float *value;
        size_t steps;
        int64_t from_ns;
};

static int column_point(void *context, int64_t t_ns, double value)
{
        const struct column *c = context;
        size_t step = (size_t)((t_ns - c->from_ns) / STEP_NS);
        if (t_ns < c->from_ns || step >= c->steps || isnan(value))
                return 0;
        float *kept = &c->value[step];
        if (isnan(*kept) || (float)value > *kept)
                *kept = (float)value;
        return 0;
}

static void tunnel_free(struct tunnel *t)
{
        free(t->rtt);
        free(t->loss);
}

/* "path/TUNNEL/PATH/rtt_ms" or ".../loss"; the number of the path, or -1. */
static int tunnel_series(struct tunnel *t, const char *tunnel, const char *name, bool *is_rtt)
{
        size_t length = strlen(tunnel);
        if (strncmp(name + 5, tunnel, length) != 0 || name[5 + length] != '/')
                return -1;
        const char *path = name + 5 + length + 1;
        const char *slash = strchr(path, '/');
        if (!slash || slash - path >= (int)sizeof(t->path[0]) || slash == path)
                return -1;
        *is_rtt = strcmp(slash, "/rtt_ms") == 0;
        if (!*is_rtt && strcmp(slash, "/loss") != 0)
                return -1;
        for (int p = 0; p < t->paths; p++)
                if (strlen(t->path[p]) == (size_t)(slash - path) &&
                    strncmp(t->path[p], path, (size_t)(slash - path)) == 0)
                        return p;
        if (t->paths == DOG_PATH_TRACE_PATHS)
                return -1;
        memcpy(t->path[t->paths], path, (size_t)(slash - path));
        return t->paths++;
}

static int tunnel_read(struct tunnel *t, struct dog_store *store, const struct names *names,
                       const char *tunnel, int64_t from_ns, int64_t to_ns, struct dog_err *e)
{
        bool is_rtt;
        memset(t, 0, sizeof(*t));
        t->steps = (size_t)((to_ns - from_ns) / STEP_NS);
        for (size_t i = 0; i < names->count; i++)
                tunnel_series(t, tunnel, names->name[i], &is_rtt);
        size_t cells = t->steps * (size_t)t->paths;
        if (cells == 0)
                return 0;
        t->rtt = malloc(cells * sizeof(*t->rtt));
        t->loss = malloc(cells * sizeof(*t->loss));
        if (!t->rtt || !t->loss) {
                tunnel_free(t);
                return dog_err_set(e, -ENOMEM, "tunnel %s: out of memory for %zu seconds of telemetry", tunnel,
                                   t->steps);
        }
        for (size_t i = 0; i < cells; i++)
                t->rtt[i] = t->loss[i] = NAN;
        int rc = 0;
        for (size_t i = 0; i < names->count && rc == 0; i++) {
                int p = tunnel_series(t, tunnel, names->name[i], &is_rtt);
                if (p < 0)
                        continue;
                struct column c = {.value = (is_rtt ? t->rtt : t->loss) + (size_t)p * t->steps,
                                   .steps = t->steps,
                                   .from_ns = from_ns};
                rc = dog_store_range(store, names->name[i], from_ns, to_ns, column_point, &c, e);
        }
        if (rc < 0)
                tunnel_free(t);
        return rc < 0 ? rc : 0;
}

/* ---- traces ---- */

static int traces_add(struct dog_path_traces *to, const struct dog_path_trace *t)
{
        if (to->count == to->room) {
                int room = to->room ? 2 * to->room : 64;
                struct dog_path_trace *more = realloc(to->list, (size_t)room * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                to->list = more;
                to->room = room;
        }
        to->list[to->count++] = *t;
        return 0;
}

/* Is this window worth a trace? The samples in it. */
static long window_samples(const struct tunnel *t, size_t first)
{
        long samples = 0;
        long most = 0;
        for (int p = 0; p < t->paths; p++) {
                long own = 0;
                for (size_t k = first; k < first + WINDOW; k++) {
                        size_t at = (size_t)p * t->steps + k;
                        own += !isnan(t->rtt[at]) || !isnan(t->loss[at]);
                }
                samples += own;
                most = own > most ? own : most;
        }
        return most >= SEEN_LEAST ? samples : 0;
}

static void window_point(struct dog_path_point *to, const struct tunnel *t, size_t at, int64_t t_ns,
                         const struct dog_promise *promise, struct dog_window *median)
{
        struct dog_sample s = dog_sample_at(t_ns);
        *to = (struct dog_path_point){
                .margin = NAN, .rtt_ms = t->rtt[at], .loss = t->loss[at], .rate_kbps = NAN};
        if (isnan(t->rtt[at]) && isnan(t->loss[at]))
                return;
        s.value[DOG_SIGNAL_RTT] = (double)t->rtt[at];
        s.value[DOG_SIGNAL_LOSS] = (double)t->loss[at];
        struct dog_verdict v =
                dog_promise_judge(promise, &s, dog_window_median(median, t_ns, 5), (double)NAN);
        dog_window_learn(median, (double)t->rtt[at], t_ns);
        to->is_seen = true;
        to->is_bad = to->is_bad_seen = v.is_bad;
        to->margin = (float)v.margin;
}

static int window_trace(struct dog_path_traces *to, const struct tunnel *t, size_t first,
                        const struct dog_path_wanted *w, int64_t from_ns)
{
        struct dog_path_trace trace = {.step_ms = STEP_MS,
                                       .rtt_scale = 1,
                                       .paths = t->paths,
                                       .length = WINDOW,
                                       .origin = to->count};
        time_t at = (time_t)((from_ns + (int64_t)first * STEP_NS) / DOG_S);
        struct tm hour;
        gmtime_r(&at, &hour);
        snprintf(trace.name, sizeof(trace.name), "%.31s %lld", w->tunnel, (long long)at);
        snprintf(trace.family, sizeof(trace.family), "%s", DOG_PATH_STORE_FAMILY);
        strftime(trace.date, sizeof(trace.date), "%Y-%m-%dT%H", &hour);
        memcpy(trace.path, t->path, sizeof(trace.path));
        trace.point = calloc((size_t)t->paths * WINDOW, sizeof(*trace.point));
        if (!trace.point)
                return -ENOMEM;
        for (int p = 0; p < t->paths; p++) {
                struct dog_window median;
                dog_window_init(&median, 60 * DOG_S);
                /* The minute before belongs to the limit of the first seconds. */
                for (size_t k = first >= 60 ? first - 60 : 0; k < first; k++)
                        if (!isnan(t->rtt[(size_t)p * t->steps + k]))
                                dog_window_learn(&median, (double)t->rtt[(size_t)p * t->steps + k],
                                                 (int64_t)k * STEP_NS);
                for (size_t k = 0; k < WINDOW; k++) {
                        struct dog_path_point *q = &trace.point[(size_t)p * WINDOW + k];
                        window_point(q, t, (size_t)p * t->steps + first + k, (int64_t)(first + k) * STEP_NS,
                                     &w->promise, &median);
                        to->points += q->is_seen;
                }
        }
        if (traces_add(to, &trace) < 0) {
                free(trace.point);
                return -ENOMEM;
        }
        return 0;
}

/* The newest window first, then every stride-th before it; first pass counts, second makes. */
static int tunnel_traces(struct dog_path_traces *to, const struct tunnel *t, const struct dog_path_wanted *w,
                         int64_t from_ns, long samples_most)
{
        long samples = 0;
        size_t windows = t->steps / WINDOW;
        size_t skipped = t->steps % WINDOW;
        for (size_t i = 0; i < windows; i++)
                samples += window_samples(t, skipped + i * WINDOW);
        size_t stride = samples > samples_most ? (size_t)((samples + samples_most - 1) / samples_most) : 1;
        for (size_t i = 0; i < windows; i++) {
                size_t first = skipped + i * WINDOW;
                if ((windows - 1 - i) % stride != 0 || window_samples(t, first) == 0)
                        continue;
                if (window_trace(to, t, first, w, from_ns) < 0)
                        return -ENOMEM;
        }
        return 0;
}

int dog_path_store_traces(struct dog_path_traces *to, struct dog_store *store,
                          const struct dog_path_wanted *wanted, size_t count, int64_t from_ns, int64_t to_ns,
                          long samples_most, struct dog_err *e)
{
        struct names names = {0};
        memset(to, 0, sizeof(*to));
        if (to_ns <= from_ns || to_ns - from_ns > SPAN_MOST_S * DOG_S)
                return dog_err_set(e, -EINVAL, "telemetry of %.0f s was asked for; it can be 1 s to 31 days",
                                   (double)(to_ns - from_ns) / 1e9);
        int rc = dog_store_series_each(store, names_add, &names, e);
        for (size_t i = 0; i < count && rc == 0; i++) {
                struct tunnel t;
                rc = tunnel_read(&t, store, &names, wanted[i].tunnel, from_ns, to_ns, e);
                if (rc < 0)
                        break;
                if (tunnel_traces(to, &t, &wanted[i], from_ns, samples_most / (long)count + 1) < 0)
                        rc = dog_err_set(e, -ENOMEM, "out of memory for the telemetry of tunnel %s",
                                         wanted[i].tunnel);
                tunnel_free(&t);
        }
        free(names.name);
        if (rc == 0 && to->count == 0)
                rc = dog_err_set(e, -ENODATA,
                                 "there are no ten minutes in which a path was measured every other second; "
                                 "probes are that frequent only while traffic flows");
        if (rc < 0)
                dog_path_traces_free(to);
        return rc;
}

static int oldest_point(void *context, int64_t t_ns, double value)
{
        int64_t *oldest = context;
        (void)value;
        *oldest = t_ns < *oldest ? t_ns : *oldest;
        return 1;
}

int64_t dog_path_store_oldest(struct dog_store *store, int64_t from_ns, int64_t to_ns)
{
        struct names names = {0};
        struct dog_err e = {0};
        int64_t oldest = INT64_MAX;
        if (dog_store_series_each(store, names_add, &names, &e) == 0)
                for (size_t i = 0; i < names.count; i++)
                        dog_store_range(store, names.name[i], from_ns, to_ns, oldest_point, &oldest, &e);
        free(names.name);
        return oldest;
}
