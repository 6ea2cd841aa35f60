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

static int train_calibrate(struct dog_model *m, const struct dog_nodes *n, const struct dog_table *t,
                           const float *raw, unsigned stride, struct dog_err *e)
{
        int rc = 0;
        for (unsigned h = 0; h < t->targets && rc == 0; h++) {
                struct dog_node_shape s;
                nodes_calibrate(n, t, h, raw, stride, m->kind == DOG_MODEL_OVERLOAD, &s);
                const struct {
                        const char *part;
                        float value;
                } row[] = {
#define X(name) {#name, s.name},
                        DOG_NODE_SHAPE(X)
#undef X
                };
                for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]) && rc == 0; i++) {
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
                rc = train_calibrate(*to, t->nodes, t->table, raw, t->stride, e);
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
