#include "learn/nodes_inside.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- outcomes ------------------------------------------------------------------------------------ */

void nodes_failure_labels(const struct dog_node_record *r, int64_t t_s, int8_t *label, bool *is_inside)
{
        *is_inside = false;
        for (unsigned i = 0; i < r->incidents; i++)
                *is_inside |= r->incident[i].start_s <= t_s && t_s < r->incident[i].end_s;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                int64_t ahead = dog_node_horizon_s[h];
                bool is_before = false, is_after = false;
                for (unsigned i = 0; i < r->incidents; i++) {
                        const struct dog_node_incident *in = &r->incident[i];
                        is_before |= t_s < in->start_s && in->start_s <= t_s + ahead;
                        is_after |= in->end_s <= t_s && t_s < in->end_s + ahead;
                }
                bool is_left_out = *is_inside || (is_after && !is_before) || t_s + ahead >= r->end_s;
                label[h] = is_left_out ? DOG_LABEL_UNKNOWN : is_before;
        }
}

/* Two walks over the rows: how long it has been below, and when it will next be above. */
void nodes_overload_labels(const struct dog_node_record *r, unsigned metric, int8_t *label)
{
        float limit = r->limit[metric];
        memset(label, DOG_LABEL_UNKNOWN, r->rows * DOG_NODE_HORIZONS);
        if (isnan(limit) || r->rows == 0)
                return;
        int64_t last_above = INT64_MIN, next_above = INT64_MAX;
        int64_t begin = r->t_s[0], end = r->t_s[r->rows - 1];
        for (size_t i = 0; i < r->rows; i++) {
                float v = r->value[i * r->metrics + metric];
                if (v > limit)
                        last_above = r->t_s[i];
                for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                        int64_t since = last_above == INT64_MIN ? begin : last_above + 1;
                        bool is_below = !isnan(v) && since <= r->t_s[i] - dog_node_horizon_s[h];
                        if (is_below)
                                label[i * DOG_NODE_HORIZONS + (size_t)h] = 0;
                }
        }
        for (size_t i = r->rows; i-- > 0;) {
                int8_t *l = label + i * DOG_NODE_HORIZONS;
                for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                        int64_t until = r->t_s[i] + dog_node_horizon_s[h];
                        if (l[h] == DOG_LABEL_UNKNOWN)
                                continue;
                        if (next_above <= until)
                                l[h] = 1;
                        else if (until > end)
                                l[h] = DOG_LABEL_UNKNOWN;
                }
                if (r->value[i * r->metrics + metric] > limit)
                        next_above = r->t_s[i];
        }
}

/* ---- rows to learn from -------------------------------------------------------------------------- */

static int rows_failure(const struct dog_nodes *n, unsigned which, unsigned stride, float weight,
                        struct dog_node *state, struct dog_table *t, struct dog_err *e)
{
        const struct dog_node_record *r = &n->node[which];
        for (size_t i = 0; i < r->rows; i++) {
                if (!dog_node_observe(state, r->t_s[i], r->value + i * r->metrics) || i < r->first ||
                    (i - r->first) % stride != 0)
                        continue;
                int8_t label[DOG_NODE_HORIZONS];
                bool is_inside;
                nodes_failure_labels(r, r->t_s[i], label, &is_inside);
                int rc = dog_table_add(t,
                                       &(struct dog_table_row){.x = dog_node_features(state),
                                                               .label = label,
                                                               .weight = weight,
                                                               .block = which,
                                                               .id = (uint64_t)which << 40 | i},
                                       e);
                if (rc < 0)
                        return rc;
        }
        return 0;
}

static int rows_overload(const struct dog_nodes *n, unsigned which, unsigned stride, float weight,
                         struct dog_node *state, struct dog_table *t, struct dog_err *e)
{
        const struct dog_node_record *r = &n->node[which];
        int8_t *label = malloc(r->rows * r->metrics * DOG_NODE_HORIZONS);
        if (!label)
                return dog_err_set(e, -ENOMEM, "%s: no memory for outcomes", r->name);
        for (unsigned k = 0; k < r->metrics; k++)
                nodes_overload_labels(r, k, label + k * r->rows * DOG_NODE_HORIZONS);
        int rc = 0;
        for (size_t i = 0; i < r->rows && rc == 0; i++) {
                if (!dog_node_observe(state, r->t_s[i], r->value + i * r->metrics) || i < r->first)
                        continue;
                for (unsigned k = 0; k < r->metrics && rc == 0; k++) {
                        const int8_t *l = label + (k * r->rows + i) * DOG_NODE_HORIZONS;
                        float x[DOG_NODE_OVERLOAD_COUNT];
                        /* Each metric at other steps, so that a stride does not always see the same minute.
                         */
                        if ((i + k) % stride != 0 || (l[0] < 0 && l[1] < 0 && l[2] < 0))
                                continue;
                        dog_node_overload_features(state, k, x);
                        rc = dog_table_add(
                                t,
                                &(struct dog_table_row){.x = x,
                                                        .label = l,
                                                        .weight = weight,
                                                        .block = which,
                                                        .id = (uint64_t)which << 40 | (uint64_t)k << 32 | i},
                                e);
                }
        }
        free(label);
        return rc;
}

struct dog_node *nodes_state(const struct dog_node_record *r, struct dog_err *e)
{
        struct dog_node *state = malloc(dog_node_size(r->metrics));
        if (!state) {
                dog_err_set(e, -ENOMEM, "%s: no memory for %u metrics", r->name, r->metrics);
                return NULL;
        }
        dog_node_init(state, r->metrics);
        for (unsigned k = 0; k < r->metrics; k++)
                dog_node_limit(state, k, r->limit[k]);
        return state;
}

bool nodes_is_open(const struct dog_node *state, unsigned metric)
{
        const struct dog_node_metric *m = &state->metric[metric];
        int64_t since = m->above_s == INT64_MIN ? m->first_s : m->above_s + 1;
        return m->count > 0 && m->t_s == state->t_s && since <= state->t_s - dog_node_horizon_s[0];
}

unsigned nodes_features(enum dog_nodes_task task, const char **to)
{
        bool is_overload = task == DOG_NODES_OVERLOAD;
        unsigned features = is_overload ? DOG_NODE_OVERLOAD_COUNT : DOG_NODE_FEATURE_COUNT;
        for (unsigned i = 0; i < features; i++)
                to[i] = is_overload ? dog_node_overload_name(i) : dog_node_feature_name(i);
        return features;
}

/* Labelled steps of the data set that this node is of. */
static double rows_of_set(const struct dog_nodes *n, const struct dog_node_record *r, bool is_overload)
{
        double rows = 0;
        for (unsigned i = 0; i < n->count; i++)
                if (strcmp(n->node[i].dataset, r->dataset) == 0)
                        rows += (double)(n->node[i].rows - n->node[i].first) *
                                (is_overload ? (double)n->node[i].metrics : 1);
        return rows;
}

int dog_nodes_table(const struct dog_nodes *n, enum dog_nodes_task task, unsigned stride,
                    struct dog_table **to, struct dog_err *e)
{
        static const char *const target[] = {"p5", "p15", "p60"};
        bool is_overload = task == DOG_NODES_OVERLOAD;
        const char *feature[DOG_NODE_FEATURE_COUNT + DOG_NODE_OVERLOAD_COUNT];
        unsigned features = nodes_features(task, feature);
        *to = NULL;
        if (!is_overload && !n->has_incidents)
                return dog_err_set(e, -ENODATA,
                                   "nothing says when a node failed (a folder has incidents.csv for it, a "
                                   "store knows instances that fell silent): failures cannot be learned "
                                   "without that, overload can");
        double all = 0, sets = 0;
        for (unsigned i = 0; i < n->count; i++) {
                double rows = rows_of_set(n, &n->node[i], is_overload);
                double own = (double)(n->node[i].rows - n->node[i].first) *
                             (is_overload ? (double)n->node[i].metrics : 1);
                all += own;
                sets += rows > 0 ? own / rows : 0;
        }
        struct dog_table *t;
        int rc = dog_table_new(&t, is_overload ? "overload" : "node", feature, features, target,
                               DOG_NODE_HORIZONS, e);
        for (unsigned i = 0; i < n->count && rc == 0; i++) {
                const struct dog_node_record *r = &n->node[i];
                struct dog_node *state = nodes_state(r, e);
                /* The root between "each row alike" and "each data set alike". */
                double rows = rows_of_set(n, r, is_overload);
                float weight = rows > 0 ? (float)sqrt(all / sets / rows) : 1;
                rc = !state        ? -ENOMEM
                     : is_overload ? rows_overload(n, i, stride ? stride : 1, weight, state, t, e)
                                   : rows_failure(n, i, stride ? stride : 1, weight, state, t, e);
                free(state);
        }
        if (rc == 0 && t->rows == 0)
                rc = dog_err_set(e, -ENODATA,
                                 is_overload
                                         ? "no metric of these nodes crosses its limit, or has one: "
                                           "there is nothing to learn; history comes first, and of a store "
                                           "that is a quarter of each node's time, 6 h at least"
                                         : "no step of these nodes can be judged: all lie in their history, "
                                           "inside incidents or at the ends of records");
        if (rc < 0) {
                dog_table_free(t);
                return rc;
        }
        *to = t;
        return 0;
}
