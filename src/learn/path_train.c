#include "learn/path_train.h"

#include "base/array.h"
#include "base/bytes.h"
#include "learn/gbt_train.h"
#include "learn/path_recipe.h"
#include "learn/path_rows.h"
#include "learn/path_train_inside.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDS_MAX = 8, DATES_MAX = 512, PAIRS = DOG_PATH_RECIPE_PAIRS, WHATS };
enum { ROWS_LEAST = 200, BAD_LEAST = 10 };
enum { HEARD_PIECE = 4096 /**< rows that trees are asked about in some hundredths of a second */ };

/* One ensemble to be grown. */
struct job {
        int regime, what, fold; /* fold == folds: on everything */
        unsigned rounds;
        struct dog_gbt *model; /* NULL: not there yet, or nothing to learn */
        bool is_done;
};

struct dog_path_train {
        struct dog_path_traces *traces;
        struct dog_path_train_options o;
        int recorded; /* traces without copies */
        int *fold_of; /* of each trace */
        int folds;
        struct dog_table *table[DOG_PATH_REGIMES][2]; /* paths, pairs */
        struct job job[DOG_PATH_REGIMES * WHATS * (FOLDS_MAX + 1)];
        int jobs, now;
        struct dog_gbt_bins *bins;
        const struct dog_table *bins_table;
        int bins_fold;
        struct dog_gbt_trainer *trainer;
        uint64_t key; /* of data and options: what a saved state belongs to */
};

struct dog_path_train_options dog_path_train_default(void)
{
        return (struct dog_path_train_options){.threads = 1, .folds = 4, .effort = 1, .seed = 1};
}

void dog_path_train_free(struct dog_path_train *t)
{
        if (!t)
                return;
        dog_gbt_trainer_free(t->trainer);
        dog_gbt_bins_free(t->bins);
        for (int i = 0; i < t->jobs; i++)
                dog_gbt_free(t->job[i].model);
        for (int r = 0; r < DOG_PATH_REGIMES; r++)
                for (int k = 0; k < 2; k++)
                        dog_table_free(t->table[r][k]);
        free(t->fold_of);
        free(t);
}

/* Between pieces of work. */
static int train_wait(const struct dog_path_train *t, struct dog_err *e)
{
        return t->o.wait && t->o.wait(t->o.wait_data) != 0 ? dog_err_set(e, -ECANCELED, "stopped") : 0;
}

/* ---- folds ---- */

/* Whole days, the largest first, each to the fold that has least so far; of one day, whole traces. */
static void folds_make(struct dog_path_train *t)
{
        const char *date[DATES_MAX];
        double size[DATES_MAX] = {0};
        double full[FOLDS_MAX] = {0};
        int dates = 0;
        bool is_by_trace = true;
        for (int i = 1; i < t->recorded && is_by_trace; i++)
                is_by_trace = strcmp(t->traces->list[i].date, t->traces->list[0].date) == 0;
        for (int i = 0; i < t->recorded; i++) {
                const struct dog_path_trace *one = &t->traces->list[i];
                int d = 0;
                while (d < dates && (is_by_trace || strcmp(date[d], one->date) != 0))
                        d++;
                if (d == DATES_MAX)
                        d = i % DATES_MAX;
                else if (d == dates)
                        date[dates++] = one->date;
                size[d] += (double)one->paths * one->length;
                t->fold_of[i] = d;
        }
        int most = (int)(t->o.folds < FOLDS_MAX ? t->o.folds : FOLDS_MAX);
        int group[DATES_MAX] = {0};
        bool is_given[DATES_MAX] = {false};
        t->folds = dates < most ? dates : most;
        t->folds = t->folds > 1 ? t->folds : 0;
        for (int n = 0; n < dates && t->folds > 0; n++) {
                int largest = -1;
                int least = 0;
                for (int d = 0; d < dates; d++)
                        if (!is_given[d] && (largest < 0 || size[d] > size[largest]))
                                largest = d;
                for (int f = 1; f < t->folds; f++)
                        least = full[f] < full[least] ? f : least;
                is_given[largest] = true;
                group[largest] = least;
                full[least] += size[largest];
        }
        for (int i = 0; i < t->recorded; i++)
                t->fold_of[i] = group[t->fold_of[i]];
        for (int i = t->recorded; i < t->traces->count; i++)
                t->fold_of[i] = t->fold_of[t->traces->list[i].origin];
}

/* ---- beginning ---- */

static int train_rows(struct dog_path_train *t, struct dog_err *e)
{
        size_t rows = 0;
        size_t bad = 0;
        for (int r = 0; r < DOG_PATH_REGIMES; r++) {
                struct dog_path_rows_options o = dog_path_rows_default();
                o.regime = r;
                o.copy_weight = dog_path_recipe_copy_weight(r);
                o.lone_weight = dog_path_recipe_lone_weight(r);
                o.pair_every = dog_path_recipe_pair_every(r);
                o.wait = t->o.wait;
                o.wait_data = t->o.wait_data;
                int rc = dog_path_rows_make(&t->table[r][0], t->traces, &o, e);
                if (rc == 0)
                        rc = dog_path_joint_make(&t->table[r][1], t->traces, &o, e);
                /* No trace of this regime, or none with two paths: nothing to learn there. */
                if (rc < 0 && rc != -ENODATA)
                        return rc;
                for (size_t i = 0; t->table[r][0] && i < t->table[r][0]->rows; i++) {
                        rows++;
                        for (unsigned g = 0; g < t->table[r][0]->targets; g++)
                                if (dog_table_label(t->table[r][0], i, g) == 1) {
                                        bad++;
                                        break;
                                }
                }
        }
        if (rows < ROWS_LEAST || bad < BAD_LEAST)
                return dog_err_set(
                        e, -ENODATA,
                        "%zu samples to learn from, of which %zu were followed by a broken promise: a model "
                        "needs %d and %d at least; record more",
                        rows, bad, ROWS_LEAST, BAD_LEAST);
        return 0;
}

static void train_jobs(struct dog_path_train *t)
{
        for (int r = 0; r < DOG_PATH_REGIMES; r++)
                for (int kind = 0; kind < 2; kind++)
                        for (int f = 0; f <= t->folds && t->table[r][kind]; f++)
                                for (int w = kind ? PAIRS : 0; w < (kind ? WHATS : PAIRS); w++) {
                                        double rounds = dog_path_recipe_trees(r, w).rounds * t->o.effort;
                                        t->job[t->jobs++] =
                                                (struct job){.regime = r,
                                                             .what = w,
                                                             .fold = f,
                                                             .rounds = rounds < 1 ? 1 : (unsigned)rounds};
                                }
}

static uint64_t key_mix(uint64_t key, uint64_t part)
{
        key ^= part + 0x9e3779b97f4a7c15ULL + (key << 6) + (key >> 2);
        return key;
}

int dog_path_train_new(struct dog_path_train **to, struct dog_path_traces *traces,
                       const struct dog_path_train_options *o, struct dog_err *e)
{
        struct dog_path_train *t = calloc(1, sizeof(*t));
        *to = NULL;
        if (!t)
                return dog_err_set(e, -ENOMEM, "training: out of memory");
        t->traces = traces;
        t->o = *o;
        t->recorded = traces->count;
        t->bins_fold = -1;
        int rc = dog_path_recipe_copies(traces, e);
        t->fold_of = calloc((size_t)traces->count + 1, sizeof(*t->fold_of));
        if (rc == 0 && !t->fold_of)
                rc = dog_err_set(e, -ENOMEM, "training: out of memory");
        if (rc == 0) {
                folds_make(t);
                rc = train_rows(t, e);
        }
        if (rc < 0) {
                dog_path_train_free(t);
                return rc;
        }
        train_jobs(t);
        t->key = key_mix(key_mix(o->seed, (uint64_t)t->folds), (uint64_t)(o->effort * 1e6));
        for (int r = 0; r < DOG_PATH_REGIMES; r++)
                for (int k = 0; k < 2; k++)
                        t->key = key_mix(t->key, t->table[r][k] ? dog_table_fingerprint(t->table[r][k]) : 0);
        *to = t;
        return 0;
}

/* ---- training ---- */

static const struct dog_table *job_table(const struct dog_path_train *t, const struct job *j)
{
        return t->table[j->regime][j->what == PAIRS];
}

static unsigned job_target(const struct job *j)
{
        return j->what == PAIRS ? 0 : (unsigned)j->what;
}

static int job_bins(struct dog_path_train *t, const struct job *j, struct dog_err *e)
{
        const struct dog_table *table = job_table(t, j);
        uint32_t blocks = dog_table_blocks(table);
        if (t->bins_table == table && t->bins_fold == j->fold)
                return 0;
        dog_gbt_bins_free(t->bins);
        t->bins = NULL;
        t->bins_table = table;
        t->bins_fold = j->fold;
        uint8_t *use = calloc(blocks + 1, 1);
        if (!use)
                return dog_err_set(e, -ENOMEM, "training: out of memory");
        for (uint32_t b = 0; b < blocks; b++)
                use[b] = j->fold < t->folds && t->fold_of[b] == j->fold ? DOG_BLOCK_SKIP : DOG_BLOCK_LEARN;
        int rc = dog_gbt_bins_new(&t->bins, table, use, t->o.threads, e);
        free(use);
        return rc;
}

/* @return 1 when there is a trainer now, 0 when this job has nothing to learn */
static int job_begin(struct dog_path_train *t, struct job *j, struct dog_err *e)
{
        struct dog_gbt_params p = dog_path_recipe_trees(j->regime, j->what);
        p.rounds = j->rounds;
        p.threads = t->o.threads;
        p.seed = key_mix(t->o.seed, (uint64_t)(j->regime * WHATS + j->what));
        /* Few samples: half of what the recipe asks a leaf to hold would be all of them. */
        float rows = (float)job_table(t, j)->rows;
        p.min_child = rows / 2000 < p.min_child ? rows / 2000 : p.min_child;
        int rc = job_bins(t, j, e);
        if (rc == 0)
                rc = train_wait(t, e);
        if (rc == 0)
                rc = dog_gbt_trainer_new(&t->trainer, t->bins, job_target(j), &p, e);
        if (rc == -ENODATA)
                return 0;
        return rc < 0 ? rc : 1;
}

int dog_path_train_step(struct dog_path_train *t, struct dog_err *e)
{
        if (t->now == t->jobs)
                return 0;
        struct job *j = &t->job[t->now];
        int rc = train_wait(t, e);
        if (rc == 0)
                rc = t->trainer ? 1 : job_begin(t, j, e);
        if (rc < 0)
                return rc;
        if (rc > 0) {
                int more = dog_gbt_trainer_round(t->trainer, e);
                if (more != 0)
                        return more;
        }
        if (rc > 0) {
                rc = dog_gbt_trainer_model(t->trainer, &j->model, e);
                if (rc < 0)
                        return rc;
        }
        dog_gbt_trainer_free(t->trainer);
        t->trainer = NULL;
        j->is_done = true;
        return ++t->now < t->jobs;
}

struct dog_path_train_progress dog_path_train_progress(const struct dog_path_train *t)
{
        struct dog_path_train_progress p = {.regime = "", .target = "", .fold = -1};
        for (int i = 0; i < t->jobs; i++) {
                p.of += t->job[i].rounds;
                p.done += t->job[i].is_done ? t->job[i].rounds : 0;
        }
        if (t->trainer)
                p.done += dog_gbt_trainer_progress(t->trainer).done;
        if (t->now < t->jobs) {
                const struct job *j = &t->job[t->now];
                p.regime = dog_path_regime_name(j->regime);
                p.target = j->what == PAIRS ? "pairs" : dog_path_target_name(j->what);
                p.fold = j->fold < t->folds ? j->fold : -1;
        }
        return p;
}

/* ---- stopping and going on ---- */

static const char state_magic[8] = {'S', 'U', 'N', 'D', 'O', 'G', 'P', '\n'};
enum { STATE_VERSION = 1 };

int dog_path_train_save(const struct dog_path_train *t, uint8_t **bytes, size_t *size, struct dog_err *e)
{
        uint8_t *state = NULL;
        size_t state_size = 0;
        size_t room = 64;
        if (t->trainer) {
                int rc = dog_gbt_trainer_save(t->trainer, &state, &state_size, e);
                if (rc < 0)
                        return rc;
        }
        for (int i = 0; i < t->now; i++)
                room += 4 + (t->job[i].model ? dog_gbt_size(t->job[i].model) : 0);
        room += state_size;
        *bytes = malloc(room);
        if (!*bytes) {
                free(state);
                return dog_err_set(e, -ENOMEM, "the state of the training: out of memory");
        }
        struct dog_bytes to = dog_bytes_of(*bytes, room);
        dog_write_copy(&to, state_magic, sizeof(state_magic));
        dog_write_u32(&to, STATE_VERSION);
        dog_write_u64(&to, t->key);
        dog_write_u32(&to, (uint32_t)t->now);
        for (int i = 0; i < t->now; i++) {
                size_t one = t->job[i].model ? dog_gbt_size(t->job[i].model) : 0;
                dog_write_u32(&to, (uint32_t)one);
                if (one > 0)
                        dog_gbt_write(t->job[i].model, to.data + to.at);
                to.at += one;
        }
        dog_write_u32(&to, (uint32_t)state_size);
        if (state_size > 0)
                dog_write_copy(&to, state, state_size);
        free(state);
        *size = to.at;
        return 0;
}

static int state_take(struct dog_path_train *t, struct dog_bytes *in, struct dog_err *e)
{
        uint32_t now = dog_read_u32(in);
        if (now > (uint32_t)t->jobs)
                return dog_err_set(e, -EINVAL, "the state of the training is damaged");
        for (uint32_t i = 0; i < now && !in->failed; i++) {
                uint32_t size = dog_read_u32(in);
                int rc = 0;
                if (size > dog_bytes_left(in))
                        return dog_err_set(e, -EINVAL, "the state of the training is cut off");
                if (size > 0)
                        rc = dog_gbt_read(&t->job[i].model, in->data + in->at, size, e);
                if (rc == 0 && size > 0 && t->job[i].model->features != job_table(t, &t->job[i])->features)
                        rc = dog_err_set(e, -EINVAL, "the state of the training is of other features");
                if (rc < 0)
                        return rc;
                dog_read_skip(in, size);
                t->job[i].is_done = true;
                t->now = (int)i + 1;
        }
        uint32_t size = dog_read_u32(in);
        if (in->failed || size != dog_bytes_left(in) || (size > 0 && t->now == t->jobs))
                return dog_err_set(e, -EINVAL, "the state of the training is cut off");
        if (size == 0)
                return 0;
        int rc = job_begin(t, &t->job[t->now], e);
        return rc > 0 ? dog_gbt_trainer_resume(t->trainer, in->data + in->at, size, e) : rc;
}

int dog_path_train_resume(struct dog_path_train *t, const uint8_t *bytes, size_t size, struct dog_err *e)
{
        struct dog_bytes in = dog_bytes_in(bytes, size);
        char magic[sizeof(state_magic)];
        dog_read_copy(&in, magic, sizeof(magic));
        uint32_t version = dog_read_u32(&in);
        uint64_t key = dog_read_u64(&in);
        if (in.failed || memcmp(magic, state_magic, sizeof(magic)) != 0)
                return dog_err_set(e, -EINVAL, "this is not the state of a training");
        if (version != STATE_VERSION)
                return dog_err_set(e, -EINVAL, "a state of version %u, this program goes on with %d", version,
                                   STATE_VERSION);
        if (key != t->key)
                return dog_err_set(e, -EINVAL,
                                   "the state belongs to a training on other data or with other options");
        return state_take(t, &in, e);
}

/* ---- the examination ---- */

/* What one row was told by trees that never saw its day, and by the logistic. */
struct heard {
        float trees, logistic;
        bool is_bad;
};

struct heard_list {
        struct heard *list;
        size_t count;
};

static struct dog_gbt *job_model(const struct dog_path_train *t, int regime, int what, int fold)
{
        for (int i = 0; i < t->jobs; i++)
                if (t->job[i].regime == regime && t->job[i].what == what && t->job[i].fold == fold)
                        return t->job[i].model;
        return NULL;
}

/* The logistic's log-odds, for every trace: [path * length + step]. */
struct logistic {
        float **odds[DOG_RISK_TARGETS];
        int traces;
};

static void logistic_free(struct logistic *l)
{
        for (int g = 0; g < DOG_RISK_TARGETS; g++) {
                for (int i = 0; l->odds[g] && i < l->traces; i++)
                        free(l->odds[g][i]);
                free(l->odds[g]);
        }
}

struct logistic_hear {
        struct logistic *to;
        int trace;
};

static int logistic_hear(void *data, const struct dog_path_said *said, struct dog_err *e)
{
        struct logistic_hear *h = data;
        (void)e;
        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                h->to->odds[g][h->trace][said->path * said->trace->length + said->step] =
                        said->belief->risk.raw[g];
        return 0;
}

static int logistic_make(const struct dog_path_train *t, struct logistic *l, struct dog_err *e)
{
        struct dog_path_predict_options o = dog_path_predict_default(NULL);
        l->traces = t->recorded;
        for (int g = 0; g < DOG_RISK_TARGETS; g++) {
                l->odds[g] = calloc((size_t)t->recorded + 1, sizeof(float *));
                for (int i = 0; l->odds[g] && i < t->recorded; i++) {
                        const struct dog_path_trace *one = &t->traces->list[i];
                        l->odds[g][i] = calloc((size_t)one->paths * (size_t)one->length, sizeof(float));
                        if (!l->odds[g][i])
                                return dog_err_set(e, -ENOMEM, "the examination: out of memory");
                }
                if (!l->odds[g])
                        return dog_err_set(e, -ENOMEM, "the examination: out of memory");
        }
        for (int i = 0; i < t->recorded; i++) {
                struct logistic_hear h = {.to = l, .trace = i};
                int rc = train_wait(t, e);
                if (rc == 0)
                        rc = dog_path_predict(&t->traces->list[i], &o, logistic_hear, &h, e);
                if (rc < 0)
                        return rc;
        }
        return 0;
}

static int heard_make(const struct dog_path_train *t, const struct logistic *l, int regime, int what,
                      struct heard_list *to, struct dog_err *e)
{
        const struct dog_table *table = t->table[regime][what == PAIRS];
        unsigned target = what == PAIRS ? 0 : (unsigned)what;
        to->count = 0;
        to->list = malloc((table->rows + 1) * sizeof(*to->list));
        if (!to->list)
                return dog_err_set(e, -ENOMEM, "the examination: out of memory");
        for (size_t i = 0; i < table->rows; i++) {
                struct dog_path_row_id id = dog_path_row_id(table->id[i]);
                int8_t label = dog_table_label(table, i, target);
                if (i % HEARD_PIECE == 0 && train_wait(t, e) < 0)
                        return -ECANCELED;
                if (label == DOG_LABEL_UNKNOWN || id.trace >= t->recorded)
                        continue;
                const struct dog_gbt *trees = job_model(t, regime, what, t->fold_of[id.trace]);
                if (!trees)
                        continue;
                struct heard *h = &to->list[to->count++];
                h->trees = dog_gbt_log_odds(trees, 0, dog_table_x(table, i));
                h->is_bad = label == 1;
                h->logistic = 0;
                if (what != PAIRS)
                        h->logistic =
                                l->odds[what][id.trace][id.path * t->traces->list[id.trace].length + id.step];
        }
        return 0;
}

static int heard_compare(const void *a, const void *b)
{
        const struct heard *x = a;
        const struct heard *y = b;
        if (x->trees < y->trees || x->trees > y->trees)
                return x->trees < y->trees ? -1 : 1;
        return x->is_bad - y->is_bad;
}

static double logit(double p)
{
        return log(p / (1 - p));
}

static double expit(double x)
{
        return 1 / (1 + exp(-x));
}

/*
 * Bins of rising log-odds, each with an equal part of the total spread sqrt(p (1 - p)), so that the rare high
 * risks get bins of their own; then neighbours that fall are pooled. Two made-up outcomes at what was said
 * keep thin bins sane.
 */
static void iso_make(struct heard_list *heard, struct dog_path_iso *iso)
{
        enum { BINS = 24 };
        double total = 0;
        double odds[BINS] = {0};
        double said[BINS] = {0};
        double bad[BINS] = {0};
        double count[BINS] = {0};
        iso->points = 0;
        if (heard->count < 20 * BINS)
                return;
        qsort(heard->list, heard->count, sizeof(*heard->list), heard_compare);
        for (size_t i = 0; i < heard->count; i++) {
                double p = expit((double)heard->list[i].trees);
                total += sqrt(p * (1 - p));
        }
        double sum = 0;
        for (size_t i = 0; i < heard->count; i++) {
                double p = expit((double)heard->list[i].trees);
                int b = (int)(sum / total * BINS);
                b = b < BINS ? b : BINS - 1;
                sum += sqrt(p * (1 - p));
                odds[b] += (double)heard->list[i].trees;
                said[b] += p;
                bad[b] += heard->list[i].is_bad;
                count[b] += 1;
        }
        int used = 0;
        for (int b = 0; b < BINS; b++) {
                if (count[b] < 1)
                        continue;
                odds[used] = odds[b];
                said[used] = said[b];
                bad[used] = bad[b];
                count[used] = count[b];
                used++;
                while (used > 1 &&
                       (bad[used - 1] + 2 * said[used - 1] / count[used - 1]) / (count[used - 1] + 2) <=
                               (bad[used - 2] + 2 * said[used - 2] / count[used - 2]) /
                                       (count[used - 2] + 2)) {
                        odds[used - 2] += odds[used - 1];
                        said[used - 2] += said[used - 1];
                        bad[used - 2] += bad[used - 1];
                        count[used - 2] += count[used - 1];
                        used--;
                }
        }
        for (int b = 0; b < used; b++) {
                float at = (float)(odds[b] / count[b]);
                if (iso->points > 0 && !(at > iso->at[iso->points - 1]))
                        continue;
                iso->at[iso->points] = at;
                iso->to[iso->points++] = (float)logit((bad[b] + 2 * said[b] / count[b]) / (count[b] + 2));
        }
}

/* The share of the trees that loses least, in tenths; without an examination one half. */
static float share_make(const struct heard_list *heard, const struct dog_path_iso *iso)
{
        double best_loss = INFINITY;
        int best = 5;
        for (int share = 0; share <= 10 && heard->count > 0; share++) {
                double loss = 0;
                for (size_t i = 0; i < heard->count; i++) {
                        const struct heard *h = &heard->list[i];
                        double x = (share * (double)dog_path_iso_apply(iso, h->trees) +
                                    (10 - share) * (double)h->logistic) /
                                   10;
                        loss += x > 0 ? log1p(exp(-x)) + (h->is_bad ? 0 : x)
                                      : log1p(exp(x)) - (h->is_bad ? x : 0);
                }
                if (loss < best_loss - 1e-9 * (double)heard->count) {
                        best_loss = loss;
                        best = share;
                }
        }
        return (float)best / 10;
}

/* Trees of one regime, those of a fold or the final ones, as one model with a target each. */
static int trees_join(const struct dog_path_train *t, int regime, int fold, struct path_trees *to,
                      struct dog_path_expert *x, struct dog_err *e)
{
        const struct dog_gbt *part[DOG_RISK_TARGETS];
        unsigned parts = 0;
        for (int g = 0; g < DOG_RISK_TARGETS; g++) {
                const struct dog_gbt *one = job_model(t, regime, g, fold);
                x->target[g] = one ? (int8_t)parts : -1;
                if (one)
                        part[parts++] = one;
        }
        int rc = parts > 0 ? dog_gbt_join(&to->trees, part, parts, e) : 0;
        const struct dog_gbt *pairs = job_model(t, regime, PAIRS, fold);
        if (rc == 0 && pairs)
                rc = dog_gbt_join(&to->pairs, &pairs, 1, e);
        x->trees = to->trees;
        x->pairs = to->pairs;
        return rc;
}

struct exam {
        const struct dog_path_train *train;
        struct path_trees trees[FOLDS_MAX + 1][DOG_PATH_REGIMES];
        struct dog_path_model model[FOLDS_MAX + 1];
        struct dog_forecaster forecaster[FOLDS_MAX + 1];
};

static void exam_free(struct exam *x)
{
        for (int f = 0; x && f <= FOLDS_MAX; f++)
                for (int r = 0; r < DOG_PATH_REGIMES; r++) {
                        dog_gbt_free(x->trees[f][r].trees);
                        dog_gbt_free(x->trees[f][r].pairs);
                }
        free(x);
}

/* Corrections and shares, once for all folds. */
static int exam_correct(struct exam *x, struct dog_err *e)
{
        const struct dog_path_train *t = x->train;
        struct dog_path_model *last = &x->model[t->folds];
        struct logistic l = {0};
        int rc = t->folds > 0 ? logistic_make(t, &l, e) : 0;
        for (int r = 0; r < DOG_PATH_REGIMES && rc == 0; r++)
                for (int w = 0; w < WHATS && rc == 0; w++) {
                        struct heard_list heard = {0};
                        struct dog_path_iso iso = {0};
                        if (!t->table[r][w == PAIRS])
                                continue;
                        if (t->folds > 0)
                                rc = heard_make(t, &l, r, w, &heard, e);
                        if (rc == 0)
                                iso_make(&heard, &iso);
                        float share = w == PAIRS ? 1 : share_make(&heard, &iso);
                        free(heard.list);
                        if (w == PAIRS)
                                last->expert[r].pairs_iso = iso;
                        else {
                                last->expert[r].iso[w] = iso;
                                last->expert[r].share[w] = share;
                        }
                }
        logistic_free(&l);
        return rc;
}

static const struct dog_forecaster *exam_choose(void *data, const struct dog_path_trace *trace)
{
        const struct exam *x = data;
        return &x->forecaster[x->train->fold_of[trace - x->train->traces->list]];
}

static int scores_note(struct dog_model *m, const char *family, const struct dog_path_report *r,
                       struct dog_err *e)
{
        static const char *const ahead[DOG_JUDGE_HORIZONS] = {"1s", "5s", "30s"};
        char name[DOG_TABLE_NAME_SIZE];
        int rc = 0;
        for (int h = 0; h < DOG_JUDGE_HORIZONS && rc == 0; h++) {
                const struct dog_scores *s = &r->row[h][DOG_JUDGE_ONSET].scores;
                const struct {
                        const char *word;
                        double value;
                } row[] = {{"auroc", s->auroc},
                           {"ap", s->ap},
                           {"brier", s->brier},
                           {"skill", s->skill},
                           {"ece", s->ece}};
                for (size_t i = 0; i < ARRAY_SIZE(row) && rc == 0; i++) {
                        snprintf(name, sizeof(name), "%s onset %s %s", family, row[i].word, ahead[h]);
                        if (isfinite(row[i].value))
                                rc = dog_model_set_score(m, name, row[i].value, e);
                }
        }
        static const double overhead[] = {0, .05, .1, .2};
        for (size_t i = 0; i < ARRAY_SIZE(overhead) && rc == 0; i++) {
                double left = dog_policy_left(&r->tradeoff.steer, overhead[i]);
                snprintf(name, sizeof(name), "%s V(%g)", family, overhead[i]);
                if (isfinite(left))
                        rc = dog_model_set_score(m, name, left, e);
        }
        snprintf(name, sizeof(name), "%s pairs o90", family);
        if (rc == 0 && r->tradeoff.pairs.steps > 0)
                rc = dog_model_set_score(m, name, dog_curve_overhead(&r->tradeoff.pairs.curve, .9), e);
        return rc;
}

static int exam_wait(void *data, const struct dog_path_trace *trace, const struct dog_trace_said *said,
                     int done, int of, struct dog_err *e)
{
        const struct exam *x = data;
        (void)trace;
        (void)said;
        (void)done;
        (void)of;
        return train_wait(x->train, e);
}

static int exam_scores(struct exam *x, struct dog_model *m, struct dog_err *e)
{
        const struct dog_path_train *t = x->train;
        /* The recordings alone: copies are for learning. */
        struct dog_path_traces recorded = *t->traces;
        recorded.count = t->recorded;
        int rc = 0;
        for (int i = 0; i < t->recorded && rc == 0; i++) {
                const char *family = t->traces->list[i].family;
                bool is_first = true;
                for (int k = 0; k < i && is_first; k++)
                        is_first = strcmp(t->traces->list[k].family, family) != 0;
                if (!is_first)
                        continue;
                struct dog_backtest_options o = dog_backtest_default();
                struct dog_path_report report;
                o.choose = exam_choose;
                o.choose_data = x;
                o.each = exam_wait;
                o.each_data = x;
                rc = dog_backtest_paths(&recorded, family, &o, &report, e);
                if (rc == 0)
                        rc = scores_note(m, family, &report, e);
                dog_path_report_free(&report);
        }
        return rc;
}

static int exam_begin(struct exam *x, struct dog_err *e)
{
        const struct dog_path_train *t = x->train;
        int rc = 0;
        for (int f = 0; f <= t->folds; f++) {
                dog_path_model_init(&x->model[f]);
                x->forecaster[f] =
                        (struct dog_forecaster){.kind = DOG_FORECASTER_MODEL, .model = &x->model[f]};
                for (int r = 0; r < DOG_PATH_REGIMES && rc == 0; r++)
                        if (t->table[r][0])
                                rc = trees_join(t, r, f, &x->trees[f][r], &x->model[f].expert[r], e);
        }
        if (rc == 0)
                rc = exam_correct(x, e);
        for (int f = 0; f < t->folds; f++)
                for (int r = 0; r < DOG_PATH_REGIMES; r++) {
                        struct dog_path_expert *to = &x->model[f].expert[r];
                        const struct dog_path_expert *from = &x->model[t->folds].expert[r];
                        memcpy(to->share, from->share, sizeof(to->share));
                        memcpy(to->iso, from->iso, sizeof(to->iso));
                        to->pairs_iso = from->pairs_iso;
                }
        return rc;
}

/* The file: the regime with more rows is its main part. */
static int model_make(struct exam *x, int64_t made_wall_ns, struct dog_model **to, struct dog_err *e)
{
        const struct dog_path_train *t = x->train;
        const struct dog_path_model *m = &x->model[t->folds];
        int most = -1;
        uint64_t rows = 0;
        struct dog_gbt *trees = NULL;
        for (int r = 0; r < DOG_PATH_REGIMES; r++) {
                if (!m->expert[r].trees)
                        continue;
                rows += t->table[r][0]->rows;
                most = most < 0 || t->table[r][0]->rows > t->table[most][0]->rows ? r : most;
        }
        if (most < 0)
                return dog_err_set(e, -ENODATA, "there was nothing to learn: no promise was ever broken");
        const struct dog_gbt *main_trees = m->expert[most].trees;
        /* All four targets are there, or the table says more than the trees know. */
        if (main_trees->targets != t->table[most][0]->targets)
                return dog_err_set(e, -ENODATA,
                                   "the recordings are too short: of %u horizons only %u could be learned; "
                                   "record longer",
                                   t->table[most][0]->targets, main_trees->targets);
        int rc = dog_gbt_join(&trees, &main_trees, 1, e);
        if (rc == 0)
                rc = dog_model_new(to, DOG_MODEL_PATH, t->table[most][0], trees, made_wall_ns, e);
        if (rc < 0) {
                dog_gbt_free(trees);
                return rc;
        }
        (*to)->data_fingerprint = t->key;
        (*to)->data_rows = rows;
        return path_model_store(*to, m, most, e);
}

int dog_path_train_finish(struct dog_path_train *t, int64_t made_wall_ns, struct dog_model **to,
                          struct dog_err *e)
{
        *to = NULL;
        if (t->now < t->jobs)
                return dog_err_set(e, -EINVAL, "the training is not at its end");
        struct exam *x = calloc(1, sizeof(*x));
        if (!x)
                return dog_err_set(e, -ENOMEM, "the examination: out of memory");
        x->train = t;
        int rc = exam_begin(x, e);
        if (rc == 0)
                rc = model_make(x, made_wall_ns, to, e);
        if (rc == 0 && t->folds > 0)
                rc = exam_scores(x, *to, e);
        if (rc < 0) {
                dog_model_free(*to);
                *to = NULL;
        }
        exam_free(x);
        return rc;
}
