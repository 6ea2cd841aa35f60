#include "learn/node_store.h"

#include "base/clock.h"
#include "learn/nodes_inside.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE_S = 60, SPAN_MOST_S = 31 * 86400, NODES_MOST = 1024, HISTORY_LEAST_S = 6 * 3600 };
#define MINUTE_NS (MINUTE_S * DOG_S)
static const char node_failed[] = "failed";

/* ---- keeping ---- */

static void log_flush(struct dog_node_log *l, struct dog_store *store, const char *name)
{
        for (unsigned v = 0; v < DOG_VITAL_COUNT; v++) {
                char series[200];
                if (l->count[v] == 0)
                        continue;
                if (!l->series[v]) {
                        snprintf(series, sizeof(series), "node/%s/%s", name,
                                 dog_vital_word((enum dog_vital)v));
                        l->series[v] = dog_store_series(store, series) + 1;
                }
                if (l->series[v] > 0)
                        dog_store_sample(store, l->series[v] - 1, (l->minute + 1) * MINUTE_NS,
                                         l->sum[v] / l->count[v]);
                l->sum[v] = 0;
                l->count[v] = 0;
        }
}

void dog_node_log_take(struct dog_node_log *l, struct dog_store *store, const char *name,
                       const struct dog_vitals *v, const enum dog_vital *keep, unsigned kept, int64_t wall_ns)
{
        int64_t minute = wall_ns / MINUTE_NS;
        if (minute < l->minute)
                return;
        if (minute > l->minute)
                log_flush(l, store, name);
        l->minute = minute;
        for (unsigned i = 0; i < kept; i++) {
                double value = v->value[keep[i]];
                if (!isfinite(value))
                        continue;
                l->sum[keep[i]] += value;
                l->count[keep[i]]++;
        }
}

void dog_node_log_failed(struct dog_store *store, const char *name, bool is_failed, int64_t wall_ns)
{
        char series[200];
        snprintf(series, sizeof(series), "node/%s/%s", name, node_failed);
        dog_store_sample(store, dog_store_series(store, series), wall_ns, is_failed);
}

/* ---- which nodes, which metrics ---- */

struct reading {
        struct dog_nodes *nodes;
        int64_t from_ns, to_ns;
        size_t minutes;
};

/* "node/NAME/WORD" taken apart. */
static bool series_parse(const char *name, char node[64], char word[48])
{
        return sscanf(name, "node/%63[^/]/%47s", node, word) == 2;
}

static struct dog_node_record *reading_node(struct dog_nodes *n, const char *name)
{
        for (unsigned i = 0; i < n->count; i++)
                if (strcmp(n->node[i].name, name) == 0)
                        return &n->node[i];
        return NULL;
}

static int reading_metric(struct dog_node_record *r, const char *word)
{
        char(*name)[48] = realloc(r->metric_name, (r->metrics + 1) * sizeof(*name));
        if (!name)
                return -ENOMEM;
        r->metric_name = name;
        snprintf(name[r->metrics++], sizeof(*name), "%s", word);
        return 0;
}

/* Names come sorted, so the metrics of every node have one order. */
static int reading_name(void *context, const char *name)
{
        struct reading *g = context;
        struct dog_nodes *n = g->nodes;
        char node[64];
        char word[48];
        if (!series_parse(name, node, word) || strcmp(word, node_failed) == 0)
                return 0;
        struct dog_node_record *r = reading_node(n, node);
        if (!r) {
                if (n->count == NODES_MOST)
                        return 0;
                struct dog_node_record *more = realloc(n->node, (n->count + 1) * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                n->node = more;
                r = &n->node[n->count++];
                *r = (struct dog_node_record){.step_s = MINUTE_S};
                snprintf(r->dataset, sizeof(r->dataset), DOG_NODE_STORE_DATASET);
                snprintf(r->name, sizeof(r->name), "%s", node);
        }
        return r->metrics < DOG_NODE_METRICS_MAX ? reading_metric(r, word) : 0;
}

/* ---- values ---- */

struct column {
        const struct reading *reading;
        struct dog_node_record *r;
        unsigned metric;
};

static int column_point(void *context, int64_t t_ns, double value)
{
        const struct column *c = context;
        size_t minute = (size_t)((t_ns - c->reading->from_ns) / MINUTE_NS);
        if (t_ns >= c->reading->from_ns && minute < c->reading->minutes)
                c->r->value[minute * c->r->metrics + c->metric] = (float)value;
        return 0;
}

static int failed_point(void *context, int64_t t_ns, double value)
{
        struct dog_node_record *r = context;
        int64_t t_s = t_ns / DOG_S;
        struct dog_node_incident *last = r->incidents ? &r->incident[r->incidents - 1] : NULL;
        bool is_open = last && last->end_s == INT64_MAX;
        if (is_open && !(value > 0))
                last->end_s = t_s > last->start_s ? t_s : last->start_s + 1;
        if (is_open || !(value > 0))
                return 0;
        struct dog_node_incident *more = realloc(r->incident, (r->incidents + 1) * sizeof(*more));
        if (!more)
                return -ENOMEM;
        r->incident = more;
        r->incident[r->incidents] = (struct dog_node_incident){.start_s = t_s, .end_s = INT64_MAX};
        snprintf(r->incident[r->incidents++].kind, sizeof(more->kind), "silent");
        return 0;
}

/* Minutes in which nothing was told are no rows. */
static void reading_pack(const struct reading *g, struct dog_node_record *r)
{
        for (size_t i = 0; i < g->minutes; i++) {
                const float *from = r->value + i * r->metrics;
                bool is_told = false;
                for (unsigned k = 0; k < r->metrics; k++)
                        is_told |= !isnan(from[k]);
                if (!is_told)
                        continue;
                memmove(r->value + r->rows * r->metrics, from, r->metrics * sizeof(*from));
                r->t_s[r->rows++] = g->from_ns / DOG_S + (int64_t)i * MINUTE_S;
        }
}

static int reading_record(const struct reading *g, struct dog_node_record *r, struct dog_store *store,
                          struct dog_err *e)
{
        char name[200];
        int rc = 0;
        r->t_s = malloc(g->minutes * sizeof(*r->t_s));
        r->value = malloc(g->minutes * r->metrics * sizeof(*r->value));
        r->limit = malloc(r->metrics * sizeof(*r->limit));
        if (!r->t_s || !r->value || !r->limit)
                return dog_err_set(e, -ENOMEM, "%s: no memory for %zu minutes", r->name, g->minutes);
        for (size_t i = 0; i < g->minutes * r->metrics; i++)
                r->value[i] = NAN;
        for (unsigned k = 0; k < r->metrics && rc == 0; k++) {
                struct column c = {.reading = g, .r = r, .metric = k};
                snprintf(name, sizeof(name), "node/%s/%s", r->name, r->metric_name[k]);
                rc = dog_store_range(store, name, g->from_ns, g->to_ns, column_point, &c, e);
        }
        if (rc < 0)
                return rc;
        reading_pack(g, r);
        snprintf(name, sizeof(name), "node/%s/%s", r->name, node_failed);
        rc = dog_store_range(store, name, g->from_ns, g->to_ns, failed_point, r, NULL);
        /* Most nodes never fail, and have no such series. */
        return rc == -ENOENT ? 0
               : rc < 0      ? dog_err_set(e, rc, "%s: its failures cannot be read", r->name)
                             : 0;
}

/* Nodes that told nothing in this time go; of the others, where history ends. */
static int reading_finish(struct dog_nodes *n, struct dog_err *e)
{
        unsigned kept = 0;
        int rc = 0;
        for (unsigned i = 0; i < n->count; i++) {
                struct dog_node_record *r = &n->node[i];
                if (r->rows == 0) {
                        nodes_record_fini(r);
                        continue;
                }
                int64_t quarter_s = (r->t_s[r->rows - 1] - r->t_s[0]) / (4 * MINUTE_S) * MINUTE_S;
                r->labelled_from_s = r->t_s[0] + (quarter_s > HISTORY_LEAST_S ? quarter_s : HISTORY_LEAST_S);
                r->end_s = r->t_s[r->rows - 1] + MINUTE_S;
                if (r->incidents && r->incident[r->incidents - 1].end_s == INT64_MAX)
                        r->incident[r->incidents - 1].end_s =
                                r->end_s > r->incident[r->incidents - 1].start_s
                                        ? r->end_s
                                        : r->incident[r->incidents - 1].start_s + 1;
                n->has_incidents |= r->incidents > 0;
                n->node[kept++] = *r;
        }
        n->count = kept;
        for (unsigned i = 0; i < kept && rc == 0; i++)
                rc = nodes_limits(&n->node[i], e);
        return rc;
}

int dog_node_store_read(struct dog_nodes **to, struct dog_store *store, int64_t from_ns, int64_t to_ns,
                        struct dog_err *e)
{
        *to = NULL;
        if (to_ns <= from_ns || to_ns - from_ns > SPAN_MOST_S * DOG_S)
                return dog_err_set(e, -EINVAL, "telemetry of %.0f s was asked for; it can be 1 s to 31 days",
                                   (double)(to_ns - from_ns) / 1e9);
        struct dog_nodes *n = calloc(1, sizeof(*n));
        if (!n)
                return dog_err_set(e, -ENOMEM, "out of memory");
        /* On whole minutes: a point is at the end of its own. */
        struct reading g = {.nodes = n, .from_ns = from_ns / MINUTE_NS * MINUTE_NS, .to_ns = to_ns};
        g.minutes = (size_t)((to_ns - g.from_ns) / MINUTE_NS) + 1;
        int rc = dog_store_series_each(store, reading_name, &g, e);
        for (unsigned i = 0; i < n->count && rc == 0; i++)
                rc = reading_record(&g, &n->node[i], store, e);
        if (rc == 0)
                rc = reading_finish(n, e);
        if (rc == 0 && n->count == 0)
                rc = dog_err_set(
                        e, -ENODATA,
                        "no node told of itself in that time: hosts of instances do, with an agent or "
                        "an exporter");
        if (rc < 0) {
                dog_nodes_free(n);
                return rc;
        }
        *to = n;
        return 0;
}
