#include "learn/path_train.h"

#include "base/array.h"
#include "learn/path_recipe.h"
#include "learn/path_rows.h"
#include "learn/path_train_inside.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDS_MAX = 8, DATES_MAX = 512, PAIRS = DOG_PATH_RECIPE_PAIRS, WHATS };
enum { JOBS_MAX = DOG_PATH_REGIMES * WHATS * (FOLDS_MAX + 1) };
enum { ROWS_LEAST = 200, BAD_LEAST = 10 };
enum { HEARD_PIECE = 4096 /**< rows that trees are asked about in some hundredths of a second */ };

/* What each of the trainings is about. */
struct job {
        int regime, what, fold; /* fold == folds: on everything */
};

struct dog_path_train {
        struct dog_path_traces *traces;
        struct dog_path_train_options o;
        int recorded; /* traces without copies */
        int *fold_of; /* of each trace */
        int folds;
        struct dog_table *table[DOG_PATH_REGIMES][2]; /* paths, pairs */
        struct job job[JOBS_MAX];
        int count;
        uint8_t *use; /* [fold * blocks + block]: which traces a fold leaves out */
        struct dog_gbt_jobs *jobs;
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
        dog_gbt_jobs_free(t->jobs);
        for (int r = 0; r < DOG_PATH_REGIMES; r++)
                for (int k = 0; k < 2; k++)
                        dog_table_free(t->table[r][k]);
        free(t->use);
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
                o.copy_weight = dog_path_recipe_pair_copy_weight(r);
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

static uint64_t key_mix(uint64_t key, uint64_t part)
{
        key ^= part + 0x9e3779b97f4a7c15ULL + (key << 6) + (key >> 2);
        return key;
}

static struct dog_gbt_job job_make(const struct dog_path_train *t, const struct job *j)
{
        const struct dog_table *table = t->table[j->regime][j->what == PAIRS];
        struct dog_gbt_params p = dog_path_recipe_trees(j->regime, j->what);
        double rounds = p.rounds * t->o.effort;
        p.rounds = rounds < 1 ? 1 : (unsigned)rounds;
        p.threads = t->o.threads;
        p.seed = key_mix(t->o.seed, (uint64_t)(j->regime * WHATS + j->what));
        /* Few samples: half of what the recipe asks a leaf to hold would be all of them. */
        float rows = (float)table->rows;
        p.min_child = rows / 2000 < p.min_child ? rows / 2000 : p.min_child;
        return (struct dog_gbt_job){.table = table,
                                    .use = t->use + (size_t)j->fold * (size_t)t->traces->count,
                                    .target = j->what == PAIRS ? 0 : (unsigned)j->what,
                                    .params = p};
}

static int train_jobs(struct dog_path_train *t, struct dog_err *e)
{
        struct dog_gbt_job job[JOBS_MAX];
        size_t blocks = (size_t)t->traces->count;
        t->use = calloc(blocks * (size_t)(t->folds + 1) + 1, 1);
        if (!t->use)
                return dog_err_set(e, -ENOMEM, "training: out of memory");
        for (int f = 0; f <= t->folds; f++)
                for (size_t b = 0; b < blocks; b++)
                        t->use[(size_t)f * blocks + b] =
                                f < t->folds && t->fold_of[b] == f ? DOG_BLOCK_SKIP : DOG_BLOCK_LEARN;
        for (int r = 0; r < DOG_PATH_REGIMES; r++)
                for (int kind = 0; kind < 2; kind++)
                        for (int f = 0; f <= t->folds && t->table[r][kind]; f++)
                                for (int w = kind ? PAIRS : 0; w < (kind ? WHATS : PAIRS); w++) {
                                        t->job[t->count] = (struct job){.regime = r, .what = w, .fold = f};
                                        job[t->count] = job_make(t, &t->job[t->count]);
                                        t->count++;
                                }
        return dog_gbt_jobs_new(&t->jobs, job, (unsigned)t->count, t->key, e);
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
        int rc = dog_path_recipe_copies(traces, e);
        t->fold_of = calloc((size_t)traces->count + 1, sizeof(*t->fold_of));
        if (rc == 0 && !t->fold_of)
                rc = dog_err_set(e, -ENOMEM, "training: out of memory");
        if (rc == 0) {
                folds_make(t);
                rc = train_rows(t, e);
        }
        t->key = key_mix(key_mix(o->seed, (uint64_t)t->folds), (uint64_t)(o->effort * 1e6));
        for (int r = 0; r < DOG_PATH_REGIMES && rc == 0; r++)
                for (int k = 0; k < 2; k++)
                        t->key = key_mix(t->key, t->table[r][k] ? dog_table_fingerprint(t->table[r][k]) : 0);
        if (rc == 0)
                rc = train_jobs(t, e);
        if (rc < 0) {
                dog_path_train_free(t);
                return rc;
        }
        *to = t;
        return 0;
}

struct dog_gbt_jobs *dog_path_train_jobs(struct dog_path_train *t)
{
        return t->jobs;
}

void dog_path_train_note(const struct dog_path_train *t, char *to, size_t room)
{
        unsigned now = dog_gbt_jobs_progress(t->jobs).job;
        const struct job *j = &t->job[now < (unsigned)t->count ? now : 0];
        const char *regime = dog_path_regime_name(j->regime);
        const char *target = j->what == PAIRS ? "pairs" : dog_path_target_name(j->what);
        if (j->fold < t->folds)
                snprintf(to, room, "examination %d of %d: %s %s", j->fold + 1, t->folds, regime, target);
        else
                snprintf(to, room, "the model: %s %s", regime, target);
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

static const struct dog_gbt *job_model(const struct dog_path_train *t, int regime, int what, int fold)
{
        for (int i = 0; i < t->count; i++)
                if (t->job[i].regime == regime && t->job[i].what == what && t->job[i].fold == fold)
                        return dog_gbt_jobs_model(t->jobs, (unsigned)i);
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
        return &x->forecaster[x->train->fold_of[trace->origin]];
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

/*
 * Does the trace hold what somebody was promised? Copies with another promise are for learning alone; what
 * slower probes would have seen is examined too, with the corrections of the recordings.
 */
static bool trace_is_real(const struct dog_path_train *t, int i)
{
        const struct dog_path_trace *own = &t->traces->list[i];
        const struct dog_path_trace *origin = &t->traces->list[own->origin];
        return !(own->need_kbps < origin->need_kbps) && !(own->need_kbps > origin->need_kbps);
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

/* One family of a list; the name is that of its scores. */
static int exam_family(struct exam *x, const struct dog_path_traces *traces, const char *family,
                       struct dog_model *m, struct dog_err *e)
{
        struct dog_backtest_options o = dog_backtest_default();
        struct dog_path_report report;
        o.choose = exam_choose;
        o.choose_data = x;
        o.each = exam_wait;
        o.each_data = x;
        int rc = dog_backtest_paths(traces, family, &o, &report, e);
        if (rc == 0)
                rc = scores_note(m, family, &report, e);
        dog_path_report_free(&report);
        return rc;
}

/* The recordings as they are, and what slower probes would have seen of them, as a family of its own. */
static int exam_scores(struct exam *x, struct dog_model *m, struct dog_err *e)
{
        const struct dog_path_train *t = x->train;
        struct dog_path_traces real = {.points = t->traces->points};
        char pace[24];
        int rc = 0;
        real.list = calloc((size_t)t->traces->count + 1, sizeof(*real.list));
        if (!real.list)
                return dog_err_set(e, -ENOMEM, "the examination: out of memory");
        for (int i = 0; i < t->traces->count; i++) {
                if (!trace_is_real(t, i))
                        continue;
                struct dog_path_trace *one = &real.list[real.count++];
                *one = t->traces->list[i];
                if (i < t->recorded)
                        continue;
                snprintf(pace, sizeof(pace), "%.2g", 1000 / (double)one->step_ms);
                snprintf(one->family, sizeof(one->family), "%.9s %.3s/s", t->traces->list[i].family, pace);
        }
        for (int i = 0; i < real.count && rc == 0; i++) {
                bool is_first = true;
                for (int k = 0; k < i && is_first; k++)
                        is_first = strcmp(real.list[i].family, real.list[k].family) != 0;
                if (is_first)
                        rc = exam_family(x, &real, real.list[i].family, m, e);
        }
        free(real.list);
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
        if (dog_gbt_jobs_progress(t->jobs).job < (unsigned)t->count)
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
