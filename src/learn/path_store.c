#include "learn/path_store.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEP_MS = 250, PACE = 4, SPAN_MOST_S = 31 * 86400, NAMES_MOST = 4096, TUNNELS_MOST = 64 };
#define STEP_NS   (STEP_MS * DOG_MS)
#define WINDOW_NS (600 * DOG_S)
#define WINDOW    ((int)(WINDOW_NS / STEP_NS))
/* Two minutes at a sample a second. */
#define SEEN_LEAST 120
/* From here on a fold is a day; of less, an hour. */
#define DAYS_NS (4 * 86400 * DOG_S)

/* ---- which series there are ---- */

struct series {
        char name[208], tunnel[64], path[32];
        bool is_rtt;
};

struct series_list {
        struct series *list;
        size_t count;
};

/* "path/TUNNEL/PATH/rtt_ms" and ".../loss"; others are not ours. */
static int series_add(void *context, const char *name)
{
        struct series_list *l = context;
        struct series s;
        char what[16];
        if (l->count == NAMES_MOST || sscanf(name, "path/%63[^/]/%31[^/]/%15s", s.tunnel, s.path, what) != 3)
                return 0;
        s.is_rtt = strcmp(what, "rtt_ms") == 0;
        if (!s.is_rtt && strcmp(what, "loss") != 0)
                return 0;
        struct series *more = realloc(l->list, (l->count + 1) * sizeof(*more));
        if (!more)
                return -ENOMEM;
        l->list = more;
        snprintf(s.name, sizeof(s.name), "%s", name);
        l->list[l->count++] = s;
        return 0;
}

/* ---- one window ---- */

struct column {
        struct dog_path_point *point;
        int64_t from_ns;
        int steps;
        bool is_rtt;
};

static int column_point(void *context, int64_t t_ns, double value)
{
        const struct column *c = context;
        int64_t step = (t_ns - c->from_ns) / STEP_NS;
        if (t_ns < c->from_ns || step >= c->steps || isnan(value))
                return 0;
        struct dog_path_point *q = &c->point[step];
        float *kept = c->is_rtt ? &q->rtt_ms : &q->loss;
        if (isnan(*kept) || (float)value > *kept)
                *kept = (float)value;
        q->is_seen = true;
        return 0;
}

static int window_path(struct dog_path_trace *t, const char *path)
{
        int p = 0;
        while (p < t->paths && strcmp(t->path[p], path) != 0)
                p++;
        if (p == DOG_PATH_TRACE_PATHS)
                return -1;
        if (p == t->paths)
                snprintf(t->path[t->paths++], sizeof(t->path[0]), "%s", path);
        return p;
}

/* Every path of a tunnel has its place, whether or not it was measured in this window. */
static int window_open(struct dog_path_trace *t, const struct series_list *series, const char *tunnel,
                       int64_t from_ns, int64_t to_ns)
{
        *t = dog_path_trace_plain();
        t->step_ms = STEP_MS;
        t->pace = PACE;
        t->length = (int)((to_ns - from_ns + STEP_NS - 1) / STEP_NS);
        for (size_t i = 0; i < series->count; i++)
                if (strcmp(series->list[i].tunnel, tunnel) == 0)
                        window_path(t, series->list[i].path);
        size_t points = (size_t)t->paths * (size_t)t->length;
        t->point = malloc((points + 1) * sizeof(*t->point));
        if (!t->point)
                return -ENOMEM;
        for (size_t i = 0; i < points; i++)
                t->point[i] =
                        (struct dog_path_point){.margin = NAN, .rtt_ms = NAN, .loss = NAN, .rate_kbps = NAN};
        return 0;
}

static int window_read(struct dog_path_trace *t, struct dog_store *store, const struct series_list *series,
                       const char *tunnel, int64_t from_ns, int64_t to_ns, struct dog_err *e)
{
        int rc = 0;
        for (size_t i = 0; i < series->count && rc >= 0; i++) {
                const struct series *s = &series->list[i];
                int p = strcmp(s->tunnel, tunnel) == 0 ? window_path(t, s->path) : -1;
                if (p < 0)
                        continue;
                struct column c = {.point = t->point + (int64_t)p * t->length,
                                   .from_ns = from_ns,
                                   .steps = t->length,
                                   .is_rtt = s->is_rtt};
                rc = dog_store_range(store, s->name, from_ns, to_ns - 1, column_point, &c, e);
        }
        return rc < 0 ? rc : 0;
}

static bool window_is_worth(const struct dog_path_trace *t)
{
        long most = 0;
        for (int p = 0; p < t->paths; p++) {
                long own = 0;
                for (int k = 0; k < t->length; k++)
                        own += t->point[(int64_t)p * t->length + k].is_seen;
                most = own > most ? own : most;
        }
        return most >= SEEN_LEAST;
}

static void window_name(struct dog_path_trace *t, const char *tunnel, int64_t from_ns, bool is_by_day)
{
        time_t at = (time_t)(from_ns / DOG_S);
        char when[24];
        struct tm utc;
        gmtime_r(&at, &utc);
        strftime(when, sizeof(when), "%Y%m%d-%H%M", &utc);
        snprintf(t->name, sizeof(t->name), "%.32s-%s", tunnel, when);
        snprintf(t->family, sizeof(t->family), "%s", DOG_PATH_STORE_FAMILY);
        strftime(t->date, sizeof(t->date), is_by_day ? "%Y-%m-%d" : "%Y-%m-%dT%H", &utc);
}

/* ---- all windows of one promise ---- */

struct cut {
        struct dog_path_traces *to;
        struct dog_store *store;
        const struct series_list *series;
        int64_t from_ns, to_ns;
        bool is_by_day;
};

/* Those whose number is no multiple of the stride go; the others keep their order. */
static void cut_thin(struct dog_path_traces *to, int first, int64_t *number, int64_t stride)
{
        int kept = first;
        for (int i = first; i < to->count; i++) {
                struct dog_path_trace *t = &to->list[i];
                if (number[i - first] % stride == 0) {
                        number[kept - first] = number[i - first];
                        to->list[kept] = *t;
                        to->list[kept].origin = kept;
                        kept++;
                        continue;
                }
                for (int64_t k = 0; k < (int64_t)t->paths * t->length; k++)
                        to->points -= t->point[k].is_seen;
                free(t->point);
        }
        to->count = kept;
}

static int cut_window(struct cut *c, const struct dog_path_wanted *w, int64_t from_ns, int64_t to_ns,
                      struct dog_err *e)
{
        struct dog_path_trace t;
        int rc = window_open(&t, c->series, w->tunnel, from_ns, to_ns);
        if (rc < 0)
                return dog_err_set(e, rc, "tunnel %s: out of memory for ten minutes of telemetry", w->tunnel);
        rc = window_read(&t, c->store, c->series, w->tunnel, from_ns, to_ns, e);
        if (rc < 0 || !window_is_worth(&t)) {
                free(t.point);
                return rc;
        }
        window_name(&t, w->tunnel, from_ns, c->is_by_day);
        t.rtt_ms = w->promise.rtt_ms;
        t.rtt_factor = w->promise.rtt_factor;
        t.loss_ratio = w->promise.loss_ratio;
        return dog_path_traces_add(c->to, &t, e);
}

/* Windows are numbered by the clock; when there are too many, each second of them goes, and so on. */
static int cut_tunnel(struct cut *c, const struct dog_path_wanted *w, long samples_most, struct dog_err *e)
{
        int64_t number[SPAN_MOST_S / 600 + 2];
        int64_t stride = 1;
        int first = c->to->count;
        long before = c->to->points;
        int rc = 0;
        for (int64_t n = c->from_ns / WINDOW_NS; n * WINDOW_NS < c->to_ns && rc == 0; n++) {
                int64_t from_ns = n * WINDOW_NS > c->from_ns ? n * WINDOW_NS : c->from_ns;
                int64_t to_ns = (n + 1) * WINDOW_NS < c->to_ns ? (n + 1) * WINDOW_NS : c->to_ns;
                int have = c->to->count;
                if (n % stride != 0)
                        continue;
                rc = cut_window(c, w, from_ns, to_ns, e);
                if (c->to->count > have)
                        number[have - first] = n;
                while (c->to->points - before > samples_most && c->to->count > first + 1)
                        cut_thin(c->to, first, number, stride *= 2);
        }
        return rc;
}

/* Each tunnel once, by the limits of recordings. */
static size_t wanted_all(const struct series_list *series, struct dog_path_wanted *to)
{
        struct dog_path_trace plain = dog_path_trace_plain();
        size_t count = 0;
        for (size_t i = 0; i < series->count; i++) {
                bool is_known = count == TUNNELS_MOST;
                for (size_t k = 0; k < count && !is_known; k++)
                        is_known = strcmp(to[k].tunnel, series->list[i].tunnel) == 0;
                if (is_known)
                        continue;
                to[count] = (struct dog_path_wanted){series->list[i].tunnel, dog_promise_default()};
                to[count].promise.rtt_ms = plain.rtt_ms;
                to[count].promise.rtt_factor = plain.rtt_factor;
                to[count++].promise.loss_ratio = plain.loss_ratio;
        }
        return count;
}

int dog_path_store_traces(struct dog_path_traces *to, struct dog_store *store,
                          const struct dog_path_wanted *wanted, size_t count, int64_t from_ns, int64_t to_ns,
                          long samples_most, struct dog_err *e)
{
        struct series_list series = {0};
        struct dog_path_wanted every[TUNNELS_MOST];
        memset(to, 0, sizeof(*to));
        if (to_ns <= from_ns || to_ns - from_ns > SPAN_MOST_S * DOG_S)
                return dog_err_set(e, -EINVAL, "telemetry of %.0f s was asked for; it can be 1 s to 31 days",
                                   (double)(to_ns - from_ns) / 1e9);
        int rc = dog_store_series_each(store, series_add, &series, e);
        if (rc == 0 && !wanted) {
                count = wanted_all(&series, every);
                wanted = every;
        }
        int64_t oldest_ns = rc == 0 ? dog_path_store_oldest(store, from_ns, to_ns) : INT64_MAX;
        struct cut c = {.to = to,
                        .store = store,
                        .series = &series,
                        .from_ns = oldest_ns,
                        .to_ns = to_ns,
                        .is_by_day = oldest_ns != INT64_MAX && to_ns - oldest_ns >= DAYS_NS};
        for (size_t i = 0; i < count && rc == 0 && oldest_ns != INT64_MAX; i++)
                rc = cut_tunnel(&c, &wanted[i], samples_most / (long)count + 1, e);
        free(series.list);
        if (rc == 0 && to->count == 0)
                rc = dog_err_set(e, -ENODATA,
                                 "there are no ten minutes in which a path was measured for two, once a "
                                 "second: probes are that frequent only while traffic flows; wait, or name "
                                 "an earlier time");
        if (rc < 0)
                dog_path_traces_free(to);
        return rc;
}

/* ---- how far it goes back ---- */

static int oldest_point(void *context, int64_t t_ns, double value)
{
        int64_t *oldest = context;
        (void)value;
        *oldest = t_ns < *oldest ? t_ns : *oldest;
        return 1;
}

int64_t dog_path_store_oldest(struct dog_store *store, int64_t from_ns, int64_t to_ns)
{
        struct series_list series = {0};
        struct dog_err e = {0};
        int64_t oldest = INT64_MAX;
        if (dog_store_series_each(store, series_add, &series, &e) == 0)
                for (size_t i = 0; i < series.count; i++)
                        dog_store_range(store, series.list[i].name, from_ns, to_ns, oldest_point, &oldest,
                                        &e);
        free(series.list);
        return oldest;
}
