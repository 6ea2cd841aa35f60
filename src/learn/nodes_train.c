#include "learn/nodes_inside.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN_FOLDS = 4, TRAIN_ROWS = 300000 };

static struct dog_gbt_params train_params(enum dog_nodes_task task, unsigned threads)
{
        struct dog_gbt_params p = dog_gbt_params_default();
        bool is_overload = task == DOG_NODES_OVERLOAD;
        p.rounds = is_overload ? 150 : 80;
        p.depth = is_overload ? 5 : 3;
        p.learn_rate = 0.06F;
        p.min_child = 5;
        p.row_share = 0.5F;
        p.column_share = 0.5F;
        p.lambda = is_overload ? 5 : 20;
        p.seed = 1;
        p.threads = threads ? threads : 1;
        return p;
}

/* ---- calibration on nodes that were not learned from --------------------------------------------- */

/*
 * A model of failures is surer of other machines than it should be: it never gets more of its word than this.
 * Crossings of limits are many and alike.
 */
#define TRAIN_SLOPE_FAILURE  0.8
#define TRAIN_SLOPE_OVERLOAD 1.2

/* The line log-odds = bias + slope x raw with the least logistic loss: Newton's method (Platt, 1999). */
static void train_line(const struct dog_table *t, unsigned h, const float *raw, double most,
                       struct dog_node_shape *s)
{
        double bias = 0, slope = 0.5;
        for (int round = 0; round < 30; round++) {
                double g0 = 0, g1 = 0, h00 = 1e-3, h01 = 0, h11 = 1e-3;
                for (size_t i = 0; i < t->rows; i++) {
                        int8_t label = dog_table_label(t, i, h);
                        double x = (double)raw[i * t->targets + h], w = (double)t->weight[i];
                        if (label < 0 || isnan(x))
                                continue;
                        double p = 1 / (1 + exp(-(bias + slope * x))), v = w * p * (1 - p);
                        g0 += w * (label - p);
                        g1 += w * (label - p) * x;
                        h00 += v;
                        h01 += v * x;
                        h11 += v * x * x;
                }
                double det = h00 * h11 - h01 * h01;
                if (!(fabs(det) > 1e-12))
                        break;
                double d0 = (h11 * g0 - h01 * g1) / det, d1 = (h00 * g1 - h01 * g0) / det;
                if (slope + d1 >= most) {
                        /* At the edge only the bias is left to move. */
                        d0 = g0 / h00;
                        d1 = most - slope;
                }
                bias += fmax(-2, fmin(2, d0));
                slope += fmax(-0.5, fmin(0.5, d1));
                if (fabs(d0) + fabs(d1) < 1e-7)
                        break;
        }
        s->bias = (float)bias;
        s->slope = (float)slope;
        /* A forecast that is right when turned round is not skill but chance. */
        if (!isfinite(bias) || !isfinite(slope) || slope <= 0)
                s->bias = s->slope = 0;
}

/*
 * Skill against each node's base rate, both moved by the node's own record as they are at run time: the
 * grades are run over the rows in their order.
 */
static float train_skill(const struct dog_nodes *n, const struct dog_table *t, unsigned h, const float *raw,
                         const struct dog_node_shape *s, unsigned stride)
{
        double loss = 0, loss_base = 0;
        size_t i = 0;
        while (i < t->rows) {
                uint32_t block = t->block[i];
                float weight = (float)(stride * n->node[block].step_s) / (float)dog_node_horizon_s[h];
                struct dog_node_grade g;
                dog_node_grade_init(&g, s);
                for (; i < t->rows && t->block[i] == block; i++)
                        if (dog_table_label(t, i, h) >= 0)
                                dog_node_grade_learn(&g, raw[i * t->targets + h], dog_table_label(t, i, h),
                                                     weight);
                loss += g.loss_model;
                loss_base += g.loss_base;
        }
        return loss_base > 0 ? (float)(1 - loss / loss_base) : 0;
}

static int train_shape(struct dog_model *m, const struct dog_nodes *n, const struct dog_table *t,
                       const float *raw, unsigned stride, struct dog_err *e)
{
        int rc = 0;
        for (unsigned h = 0; h < t->targets && rc == 0; h++) {
                double known = 0, happened = 0;
                for (size_t i = 0; i < t->rows; i++) {
                        int8_t label = dog_table_label(t, i, h);
                        known += label >= 0 ? (double)t->weight[i] : 0;
                        happened += label > 0 ? (double)t->weight[i] : 0;
                }
                struct dog_node_shape s = {.base = (float)((happened + 1) / (known + 2))};
                train_line(t, h, raw,
                           m->kind == DOG_MODEL_OVERLOAD ? TRAIN_SLOPE_OVERLOAD : TRAIN_SLOPE_FAILURE, &s);
                /* Given the benefit of the doubt while it is judged. */
                s.skill = 1;
                s.skill = s.slope > 0 ? train_skill(n, t, h, raw, &s, stride) : 0;
                const struct {
                        const char *part;
                        float value;
                } row[] = {{"base", s.base}, {"bias", s.bias}, {"slope", s.slope}, {"skill", s.skill}};
                for (unsigned i = 0; i < 4 && rc == 0; i++) {
                        char name[DOG_TABLE_NAME_SIZE];
                        snprintf(name, sizeof(name), "%s %s", m->target[h].name, row[i].part);
                        rc = dog_model_set_score(m, name, (double)row[i].value, e);
                }
        }
        return rc;
}

/* ---- the folds ------------------------------------------------------------------------------------ */

/* The fold of a node: nodes of one data set are dealt out in turn. */
static unsigned train_fold(const struct dog_nodes *n, unsigned which)
{
        unsigned before = 0;
        for (unsigned i = 0; i < which; i++)
                before += strcmp(n->node[i].dataset, n->node[which].dataset) == 0;
        return before % TRAIN_FOLDS;
}

/* ---- the training --------------------------------------------------------------------------------- */

struct dog_nodes_train {
        const struct dog_nodes *nodes;
        enum dog_nodes_task task;
        unsigned stride;
        struct dog_table *table;
        uint8_t *use;              /* [fold * nodes + node]; the last fold leaves nobody out */
        struct dog_gbt_jobs *jobs; /* fold by fold, in each target by target */
};

void dog_nodes_train_free(struct dog_nodes_train *t)
{
        if (!t)
                return;
        dog_gbt_jobs_free(t->jobs);
        dog_table_free(t->table);
        free(t->use);
        free(t);
}

static int train_jobs(struct dog_nodes_train *t, unsigned threads, struct dog_err *e)
{
        struct dog_gbt_job job[(TRAIN_FOLDS + 1) * DOG_TABLE_TARGETS_MAX];
        const struct dog_nodes *n = t->nodes;
        unsigned count = 0;
        t->use = calloc((TRAIN_FOLDS + 1) * n->count, 1);
        if (!t->use)
                return dog_err_set(e, -ENOMEM, "no memory for %u nodes", n->count);
        for (unsigned f = 0; f <= TRAIN_FOLDS; f++) {
                uint8_t *use = t->use + f * n->count;
                for (unsigned i = 0; i < n->count; i++)
                        use[i] = f < TRAIN_FOLDS && train_fold(n, i) == f ? DOG_BLOCK_SKIP : DOG_BLOCK_LEARN;
                for (unsigned h = 0; h < t->table->targets; h++)
                        job[count++] = (struct dog_gbt_job){.table = t->table,
                                                            .use = use,
                                                            .target = h,
                                                            .params = train_params(t->task, threads)};
        }
        /* The fingerprint knows the rows and whose they are; which fold a node is in follows from that. */
        uint64_t key = dog_table_fingerprint(t->table) ^ (uint64_t)t->task << 32 ^ t->stride;
        return dog_gbt_jobs_new(&t->jobs, job, count, key, e);
}

int dog_nodes_train_new(struct dog_nodes_train **to, const struct dog_nodes *n, enum dog_nodes_task task,
                        unsigned threads, struct dog_err *e)
{
        struct dog_nodes_train *t = calloc(1, sizeof(*t));
        double steps = 0;
        *to = NULL;
        if (!t)
                return dog_err_set(e, -ENOMEM, "training: out of memory");
        for (unsigned i = 0; i < n->count; i++)
                steps += (double)(n->node[i].rows - n->node[i].first) *
                         (task == DOG_NODES_OVERLOAD ? (double)n->node[i].metrics : 1);
        t->nodes = n;
        t->task = task;
        t->stride = 1 + (unsigned)(steps / TRAIN_ROWS);
        int rc = dog_nodes_table(n, task, t->stride, &t->table, e);
        if (rc == 0)
                rc = train_jobs(t, threads, e);
        if (rc < 0) {
                dog_nodes_train_free(t);
                return rc;
        }
        *to = t;
        return 0;
}

struct dog_gbt_jobs *dog_nodes_train_jobs(struct dog_nodes_train *t)
{
        return t->jobs;
}

/* The trees of one fold as one model; NULL when some outcome was not known outside it. */
static int train_part(const struct dog_nodes_train *t, unsigned fold, struct dog_gbt **to, struct dog_err *e)
{
        const struct dog_gbt *part[DOG_TABLE_TARGETS_MAX];
        *to = NULL;
        for (unsigned h = 0; h < t->table->targets; h++) {
                part[h] = dog_gbt_jobs_model(t->jobs, fold * t->table->targets + h);
                if (!part[h])
                        return 0;
        }
        return dog_gbt_join(to, part, t->table->targets, e);
}

/* What each node's trees say of it that have not seen it; NaN where there are none. */
static int train_outside(const struct dog_nodes_train *t, float **to, struct dog_err *e)
{
        const struct dog_table *table = t->table;
        int rc = 0;
        float *raw = malloc((table->rows * table->targets + 1) * sizeof(*raw));
        *to = raw;
        if (!raw)
                return dog_err_set(e, -ENOMEM, "no memory for the predictions of %zu rows", table->rows);
        for (size_t i = 0; i < table->rows * table->targets; i++)
                raw[i] = NAN;
        for (unsigned f = 0; f < TRAIN_FOLDS && rc == 0; f++) {
                struct dog_gbt *part;
                rc = train_part(t, f, &part, e);
                for (size_t i = 0; i < table->rows && part; i++)
                        if (train_fold(t->nodes, table->block[i]) == f)
                                dog_gbt_log_odds_all(part, dog_table_x(table, i), raw + i * table->targets);
                dog_gbt_free(part);
        }
        return rc;
}

int dog_nodes_train_finish(struct dog_nodes_train *t, int64_t made_wall_ns, struct dog_model **to,
                           struct dog_err *e)
{
        struct dog_gbt_jobs_progress p = dog_gbt_jobs_progress(t->jobs);
        struct dog_gbt *trees = NULL;
        float *raw = NULL;
        *to = NULL;
        if (p.job < (TRAIN_FOLDS + 1) * t->table->targets)
                return dog_err_set(e, -EINVAL, "the training is not at its end");
        int rc = train_outside(t, &raw, e);
        if (rc == 0)
                rc = train_part(t, TRAIN_FOLDS, &trees, e);
        if (rc == 0 && !trees)
                rc = dog_err_set(e, -ENODATA,
                                 "the recordings are too short: of some horizon no outcome is known; record "
                                 "longer");
        if (rc == 0)
                rc = dog_model_new(to, t->task == DOG_NODES_OVERLOAD ? DOG_MODEL_OVERLOAD : DOG_MODEL_NODE,
                                   t->table, trees, made_wall_ns, e);
        if (rc < 0)
                dog_gbt_free(trees);
        if (rc == 0) {
                rc = train_shape(*to, t->nodes, t->table, raw, t->stride, e);
                if (rc < 0) {
                        dog_model_free(*to);
                        *to = NULL;
                }
        }
        free(raw);
        return rc;
}

int dog_nodes_train(const struct dog_nodes *n, enum dog_nodes_task task, unsigned threads,
                    int64_t made_wall_ns, struct dog_model **to, struct dog_err *e)
{
        struct dog_nodes_train *t;
        *to = NULL;
        int rc = dog_nodes_train_new(&t, n, task, threads, e);
        if (rc < 0)
                return rc;
        while ((rc = dog_gbt_jobs_step(t->jobs, e)) > 0)
                ;
        if (rc == 0)
                rc = dog_nodes_train_finish(t, made_wall_ns, to, e);
        dog_nodes_train_free(t);
        return rc;
}
