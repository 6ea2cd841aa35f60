#include "learn/nodes_inside.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rates that are said when there is no model at all: one incident in a fortnight, one crossing in a day. */
static const float predict_base_failure[DOG_NODE_HORIZONS] = {0.0003F, 0.0008F, 0.003F};
static const float predict_base_overload[DOG_NODE_HORIZONS] = {0.004F, 0.01F, 0.04F};

int nodes_shape(const struct dog_model *m, const char *target, struct dog_node_shape *to)
{
        const struct {
                const char *part;
                float *value;
        } row[] = {
#define X(name) {#name, &to->name},
                DOG_NODE_SHAPE(X)
#undef X
        };
        for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
                char name[64];
                snprintf(name, sizeof(name), "%s %s", target, row[i].part);
                *row[i].value = (float)dog_model_score(m, name);
                if (!isfinite(*row[i].value))
                        return -EINVAL;
        }
        return 0;
}

/* One run over one node. */
struct predict {
        const struct dog_node_record *r;
        const struct dog_model *model;
        const struct dog_nodes_options *options;
        enum dog_nodes_task task;
        unsigned target[DOG_NODE_HORIZONS];
        struct dog_node_shape shape[DOG_NODE_HORIZONS];
        struct dog_node_grade grade[DOG_NODE_HORIZONS];
        struct dog_node *state;
        int8_t *label;                   /* per series, row and horizon */
        float *raw;                      /* the same */
        size_t known[DOG_NODE_HORIZONS]; /* rows before this have taught what they could */
        unsigned series;                 /* 1, or the metrics */
};

static int predict_prepare(struct predict *p, struct dog_err *e)
{
        static const char *const name[] = {"p5", "p15", "p60"};
        bool is_overload = p->task == DOG_NODES_OVERLOAD;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                p->shape[h] = dog_node_shape_plain(is_overload ? predict_base_overload[h]
                                                               : predict_base_failure[h]);
                if (!p->model)
                        continue;
                int at = dog_model_target(p->model, name[h]);
                if (at < 0 || nodes_shape(p->model, name[h], &p->shape[h]) < 0)
                        return dog_err_set(e, -EINVAL,
                                           "the model does not say how it judges %s: it was not made by "
                                           "sundog train for nodes",
                                           name[h]);
                p->target[h] = (unsigned)at;
        }
        return 0;
}

/* What was known by now of what was said before. */
static void predict_learn(struct predict *p, size_t row)
{
        const struct dog_node_record *r = p->r;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                float weight = (float)r->step_s / (float)dog_node_horizon_s[h];
                while (p->known[h] < row && r->t_s[p->known[h]] + dog_node_horizon_s[h] <= r->t_s[row]) {
                        size_t was = p->known[h]++;
                        if (was < r->first)
                                continue;
                        for (unsigned k = 0; k < p->series; k++) {
                                size_t at = (k * r->rows + was) * DOG_NODE_HORIZONS + (size_t)h;
                                if (p->label[at] >= 0)
                                        dog_node_grade_learn(&p->grade[h], p->raw[at], p->label[at], weight);
                        }
                }
        }
}

static void predict_ask(struct predict *p, const float *x, struct dog_nodes_prediction *out)
{
        float raw[DOG_GBT_TARGETS_MAX];
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                out->raw[h] = NAN;
        if (!p->model)
                return;
        dog_gbt_log_odds_all(p->model->trees, x, raw);
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                out->raw[h] = raw[p->target[h]];
}

static int predict_step(struct predict *p, size_t row, unsigned series, const float *x, dog_nodes_sink *sink,
                        void *data)
{
        const struct dog_node_record *r = p->r;
        struct dog_nodes_prediction out = {.node = r,
                                           .metric = p->task == DOG_NODES_OVERLOAD ? (int)series : -1,
                                           .t_s = r->t_s[row],
                                           .health = NAN};
        size_t at = (series * r->rows + row) * DOG_NODE_HORIZONS;
        predict_ask(p, x, &out);
        float alarm = p->task == DOG_NODES_FAILURE ? dog_node_alarm(p->state) : 0;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                out.label[h] = p->label[at + (size_t)h];
                /* Without trees the grade still needs something to be graded by: the flat line. */
                p->raw[at + (size_t)h] = isfinite(out.raw[h]) ? out.raw[h] : 0;
                out.has_skill[h] = dog_node_grade_has_skill(&p->grade[h]);
                out.p[h] = dog_node_grade_alarmed(&p->grade[h], dog_node_grade_say(&p->grade[h], out.raw[h]),
                                                  alarm);
                /* What happens within five minutes happens within fifteen. */
                if (h > 0 && out.p[h] < out.p[h - 1])
                        out.p[h] = out.p[h - 1];
        }
        if (p->task == DOG_NODES_FAILURE) {
                int8_t unused[DOG_NODE_HORIZONS];
                nodes_failure_labels(r, out.t_s, unused, &out.is_inside);
                out.health = dog_node_health(p->state);
        }
        return sink(data, &out);
}

static int predict_node(struct predict *p, dog_nodes_sink *sink, void *data)
{
        const struct dog_node_record *r = p->r;
        unsigned stride = p->options->stride ? p->options->stride : 1;
        for (size_t i = 0; i < p->series * r->rows * DOG_NODE_HORIZONS; i++)
                p->raw[i] = NAN; /* said nothing */
        for (size_t i = 0; i < r->rows; i++) {
                if (!dog_node_observe(p->state, r->t_s[i], r->value + i * r->metrics) || i < r->first)
                        continue;
                if (p->options->is_learning)
                        predict_learn(p, i);
                for (unsigned k = 0; k < p->series; k++) {
                        float overload[DOG_NODE_OVERLOAD_COUNT];
                        const float *x = dog_node_features(p->state);
                        if (p->task == DOG_NODES_OVERLOAD) {
                                /* Said only where the question is open: below its limit for five minutes. */
                                if (isnan(r->limit[k]) || (i + k) % stride != 0 ||
                                    !nodes_is_open(p->state, k))
                                        continue;
                                dog_node_overload_features(p->state, k, overload);
                                x = overload;
                        }
                        int rc = predict_step(p, i, k, x, sink, data);
                        if (rc != 0)
                                return rc;
                }
        }
        return 0;
}

int dog_nodes_predict(const struct dog_nodes *n, enum dog_nodes_task task, const struct dog_model *model,
                      const struct dog_nodes_options *options, dog_nodes_sink *sink, void *data,
                      struct dog_err *e)
{
        struct predict p = {.model = model, .options = options, .task = task};
        bool is_overload = task == DOG_NODES_OVERLOAD;
        int rc = 0;
        if (model) {
                const char *feature[DOG_NODE_FEATURE_COUNT + DOG_NODE_OVERLOAD_COUNT];
                rc = dog_model_check_features(model, feature, nodes_features(task, feature), e);
        }
        if (rc == 0)
                rc = predict_prepare(&p, e);
        for (unsigned i = 0; i < n->count && rc == 0; i++) {
                const struct dog_node_record *r = &n->node[i];
                p.r = r;
                p.series = is_overload ? r->metrics : 1;
                size_t room = p.series * r->rows * DOG_NODE_HORIZONS;
                p.label = malloc(room);
                p.raw = malloc(room * sizeof(*p.raw));
                p.state = nodes_state(r, e);
                memset(p.known, 0, sizeof(p.known));
                for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                        dog_node_grade_init(&p.grade[h], &p.shape[h], r->metrics);
                if (!p.label || !p.raw || !p.state) {
                        rc = dog_err_set(e, -ENOMEM, "%s: no memory for its predictions", r->name);
                } else {
                        for (unsigned k = 0; k < p.series && is_overload; k++)
                                nodes_overload_labels(r, k, p.label + k * r->rows * DOG_NODE_HORIZONS);
                        for (size_t row = 0; row < r->rows && !is_overload; row++) {
                                bool is_inside;
                                nodes_failure_labels(r, r->t_s[row], p.label + row * DOG_NODE_HORIZONS,
                                                     &is_inside);
                                /* Without a list of incidents nothing is known to have been well either. */
                                if (!n->has_incidents)
                                        memset(p.label + row * DOG_NODE_HORIZONS, DOG_LABEL_UNKNOWN,
                                               DOG_NODE_HORIZONS);
                        }
                        rc = predict_node(&p, sink, data);
                }
                free(p.label);
                free(p.raw);
                free(p.state);
        }
        return rc;
}

int dog_nodes_serve(const struct dog_model *m, enum dog_nodes_task task, struct dog_node_shape *to,
                    struct dog_err *e)
{
        static const char *const name[] = {"p5", "p15", "p60"};
        const char *feature[DOG_NODE_FEATURE_COUNT + DOG_NODE_OVERLOAD_COUNT];
        int rc = dog_model_check_features(m, feature, nodes_features(task, feature), e);
        for (int h = 0; h < DOG_NODE_HORIZONS && rc == 0; h++)
                /* node_risk asks for the targets by their place. */
                if (dog_model_target(m, name[h]) != h || nodes_shape(m, name[h], &to[h]) < 0)
                        rc = dog_err_set(e, -EINVAL,
                                         "the model does not say how it judges %s: make it with sundog train "
                                         "--kind %s",
                                         name[h], task == DOG_NODES_OVERLOAD ? "overload" : "node");
        return rc;
}

int dog_nodes_csv_header(enum dog_nodes_task task, char *to)
{
        return snprintf(to, 512, "%s\n",
                        task == DOG_NODES_OVERLOAD ? "dataset,node,metric,t_s,p5,p15,p60"
                                                   : "dataset,node,t_s,p5,p15,p60,health");
}

int dog_nodes_csv_line(const struct dog_nodes_prediction *p, char *to)
{
        const struct dog_node_record *r = p->node;
        if (p->metric >= 0)
                return snprintf(to, 512, "%s,%s,%s,%lld,%.7g,%.7g,%.7g\n", r->dataset, r->name,
                                r->metric_name[p->metric], (long long)p->t_s, (double)p->p[0],
                                (double)p->p[1], (double)p->p[2]);
        return snprintf(to, 512, "%s,%s,%lld,%.7g,%.7g,%.7g,%.7g\n", r->dataset, r->name, (long long)p->t_s,
                        (double)p->p[0], (double)p->p[1], (double)p->p[2], (double)p->health);
}
