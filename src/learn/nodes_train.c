#include "learn/gbt_train.h"
#include "learn/nodes_inside.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN_FOLDS = 4, TRAIN_ROWS = 300000 };

struct train_watch {
        bool (*watch)(void *data, unsigned done, unsigned of);
        void *data;
        unsigned done, of;
};

static bool train_watch(void *data, const struct dog_gbt_progress *progress)
{
        struct train_watch *w = data;
        (void)progress;
        w->done++;
        return !w->watch || w->watch(w->data, w->done, w->of);
}

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

/* One model on all blocks but those of `without` (TRAIN_FOLDS: on all). */
static int train_part(const struct dog_nodes *n, const struct dog_table *t, enum dog_nodes_task task,
                      unsigned threads, unsigned without, struct train_watch *watch, struct dog_gbt **to,
                      struct dog_err *e)
{
        uint8_t *use = calloc(n->count, 1);
        struct dog_gbt_bins *bins = NULL;
        if (!use)
                return dog_err_set(e, -ENOMEM, "no memory for %u nodes", n->count);
        for (unsigned i = 0; i < n->count; i++)
                use[i] = without < TRAIN_FOLDS && train_fold(n, i) == without ? DOG_BLOCK_SKIP
                                                                              : DOG_BLOCK_LEARN;
        struct dog_gbt_params params = train_params(task, threads);
        int rc = dog_gbt_bins_new(&bins, t, use, params.threads, e);
        if (rc == 0)
                rc = dog_gbt_train(to, bins, &params, false, train_watch, watch, e);
        dog_gbt_bins_free(bins);
        free(use);
        return rc;
}

int dog_nodes_train(const struct dog_nodes *n, enum dog_nodes_task task, unsigned threads,
                    int64_t made_wall_ns, bool (*watch)(void *data, unsigned done, unsigned of), void *data,
                    struct dog_model **to, struct dog_err *e)
{
        struct train_watch w = {.watch = watch, .data = data};
        struct dog_table *t = NULL;
        struct dog_gbt *trees = NULL;
        double steps = 0;
        *to = NULL;
        for (unsigned i = 0; i < n->count; i++)
                steps += (double)(n->node[i].rows - n->node[i].first) *
                         (task == DOG_NODES_OVERLOAD ? (double)n->node[i].metrics : 1);
        unsigned stride = 1 + (unsigned)(steps / TRAIN_ROWS);
        int rc = dog_nodes_table(n, task, stride, &t, e);
        if (rc < 0)
                return rc;
        w.of = (TRAIN_FOLDS + 1) * train_params(task, threads).rounds * t->targets;
        float *raw = malloc(t->rows * t->targets * sizeof(*raw));
        if (!raw)
                rc = dog_err_set(e, -ENOMEM, "no memory for the predictions of %zu rows", t->rows);
        for (size_t i = 0; rc == 0 && i < t->rows * t->targets; i++)
                raw[i] = NAN;
        for (unsigned f = 0; f < TRAIN_FOLDS && rc == 0; f++) {
                struct dog_gbt *part = NULL;
                /* With fewer nodes than folds, or one with no outcome outside it, this fold says nothing. */
                int part_rc = train_part(n, t, task, threads, f, &w, &part, e);
                if (part_rc == -ENODATA || part_rc == -EINVAL)
                        continue;
                rc = part_rc;
                for (size_t i = 0; i < t->rows && rc == 0; i++)
                        if (train_fold(n, t->block[i]) == f)
                                dog_gbt_log_odds_all(part, dog_table_x(t, i), raw + i * t->targets);
                dog_gbt_free(part);
        }
        if (rc == 0)
                rc = train_part(n, t, task, threads, TRAIN_FOLDS, &w, &trees, e);
        if (rc == 0)
                rc = dog_model_new(to, task == DOG_NODES_OVERLOAD ? DOG_MODEL_OVERLOAD : DOG_MODEL_NODE, t,
                                   trees, made_wall_ns, e);
        if (rc < 0)
                dog_gbt_free(trees);
        if (rc == 0) {
                rc = train_calibrate(*to, n, t, raw, stride, e);
                if (rc < 0) {
                        dog_model_free(*to);
                        *to = NULL;
                }
        }
        free(raw);
        dog_table_free(t);
        return rc;
}
