/**
 * cv_paths --data DIR --family NAME --out FILE: cross-validate the trees of path risk by day, and write what
 * each left-out day was told, in the scorers' form (trace,t_ms,path,horizon_s,p). For trying recipes; what
 * ships is made by learn/path_train.
 */
#include "learn/gbt_train.h"
#include "learn/path_rows.h"
#include "models/path_risk.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char cv_usage[] =
        "usage: cv_paths --data DIR --family NAME --out FILE [--target 1s|5s|30s|next]... [--with "
        "FAMILY=WEIGHT]\n"
        "                [--shift FACTOR]... [--copy-weight W] [--lone-weight W] [--drop PREFIX]...\n"
        "                [--rounds N] [--depth N] [--rate X] [--min-child X] [--lambda X] [--rows X]\n"
        "                [--columns X] [--seed N] [--threads N] [--joint]\n"
        "  --next is written as horizon 0, pairs as trace,t_ms,a,b,p\n";

struct cv {
        const char *data, *family, *with[4], *out;
        int withs;
        float with_weight, copy_weight, lone_weight;
        double shift[4];
        int shifts;
        bool is_target[DOG_RISK_TARGETS], is_joint;
        const char *drop[16];
        int drops;
        struct dog_gbt_params params;
        struct dog_path_traces traces;
        struct dog_table *table;
        int fold[4096]; /**< of each trace; -1: always learned from */
        int fold_count;
        double *odds;
};

/* "2023-04-04+2023-04-20,2023-04-05": a date's place; without a list, dates in order of size. */
static void cv_fold_traces(struct cv *cv)
{
        char date[64][16];
        long rows[64] = {0};
        int fold[64];
        int dates = 0;
        long full[4] = {0};
        for (int i = 0; i < cv->traces.count; i++) {
                const struct dog_path_trace *t = &cv->traces.list[i];
                int d = 0;
                cv->fold[i] = -1;
                if (strcmp(t->family, cv->family) != 0)
                        continue;
                while (d < dates && strcmp(date[d], t->date) != 0)
                        d++;
                if (d == dates && dates < 64)
                        memcpy(date[dates++], t->date, sizeof(t->date));
                rows[d] += (long)t->length * t->paths;
                cv->fold[i] = d;
        }
        bool is_given[64] = {false};
        for (int n = 0; n < dates; n++) {
                int most = -1;
                int least = 0;
                for (int d = 0; d < dates; d++)
                        if (!is_given[d] && (most < 0 || rows[d] > rows[most]))
                                most = d;
                for (int k = 1; k < 4; k++)
                        if (full[k] < full[least])
                                least = k;
                is_given[most] = true;
                fold[most] = least;
                full[least] += rows[most];
                fprintf(stderr, "%s fold %d, %ld samples\n", date[most], least, rows[most]);
        }
        cv->fold_count = dates < 4 ? dates : 4;
        for (int i = 0; i < cv->traces.count; i++)
                if (cv->fold[i] >= 0)
                        cv->fold[i] = fold[cv->fold[i]];
}

static int cv_train(struct cv *cv, unsigned target, struct dog_err *e)
{
        uint32_t blocks = dog_table_blocks(cv->table);
        uint8_t *use = calloc(blocks, 1);
        int rc = use ? 0 : -1;
        for (int f = 0; f < cv->fold_count && rc == 0; f++) {
                struct dog_gbt_bins *bins = NULL;
                struct dog_gbt_trainer *trainer = NULL;
                struct dog_gbt *model = NULL;
                for (uint32_t b = 0; b < blocks; b++)
                        use[b] = cv->fold[b] == f ? DOG_BLOCK_SKIP : DOG_BLOCK_LEARN;
                rc = dog_gbt_bins_new(&bins, cv->table, use, cv->params.threads, e);
                if (rc == 0)
                        rc = dog_gbt_trainer_new(&trainer, bins, target, &cv->params, e);
                while (rc == 0 && (rc = dog_gbt_trainer_round(trainer, e)) > 0)
                        rc = 0;
                if (rc == 0)
                        rc = dog_gbt_trainer_model(trainer, &model, e);
                for (size_t r = 0; rc == 0 && r < cv->table->rows; r++)
                        if (cv->fold[cv->table->block[r]] == f)
                                cv->odds[r] = (double)dog_gbt_log_odds(model, 0, dog_table_x(cv->table, r));
                dog_gbt_free(model);
                dog_gbt_trainer_free(trainer);
                dog_gbt_bins_free(bins);
        }
        free(use);
        return rc;
}

static void cv_write(const struct cv *cv, FILE *f, int target)
{
        static const int horizon[DOG_RISK_TARGETS] = {1, 5, 30, 0};
        for (size_t r = 0; r < cv->table->rows; r++) {
                struct dog_path_row_id id = dog_path_row_id(cv->table->id[r]);
                const struct dog_path_trace *t = &cv->traces.list[id.trace];
                if (cv->fold[t->origin] < 0 || t->origin != id.trace)
                        continue;
                double p = 1 / (1 + exp(-cv->odds[r]));
                if (id.other >= 0)
                        fprintf(f, "%s,%lld,%s,%s,%.6g\n", t->name, (long long)(id.step * t->step_ms),
                                t->path[id.path], t->path[id.other], p);
                else
                        fprintf(f, "%s,%lld,%s,%d,%.6g\n", t->name, (long long)(id.step * t->step_ms),
                                t->path[id.path], horizon[target], p);
        }
}

/* Columns that a trial does without. */
static void cv_drop(struct cv *cv)
{
        for (unsigned c = 0; c < cv->table->features; c++)
                for (int d = 0; d < cv->drops; d++)
                        if (strncmp(cv->table->feature_name[c], cv->drop[d], strlen(cv->drop[d])) == 0)
                                for (size_t r = 0; r < cv->table->rows; r++)
                                        cv->table->x[r * cv->table->features + c] = NAN;
}

static int cv_run(struct cv *cv, struct dog_err *e)
{
        const char *families[] = {cv->family, cv->with[0], cv->with[1], cv->with[2], NULL};
        struct dog_path_rows_options rows = dog_path_rows_default();
        int rc = dog_path_traces_load(&cv->traces, cv->data, families, e);
        if (rc < 0)
                return rc;
        fprintf(stderr, "%d traces, %ld samples, the two medians differ at %ld\n", cv->traces.count,
                cv->traces.points, cv->traces.differing);
        for (int i = 0; i < cv->shifts && rc == 0; i++)
                rc = dog_path_traces_shift(&cv->traces, cv->shift[i], cv->shift[i], e);
        rows.copy_weight = cv->copy_weight;
        rows.family = cv->family;
        rows.other_weight = cv->with_weight;
        rows.lone_weight = cv->lone_weight;
        if (rc == 0)
                rc = cv->is_joint ? dog_path_joint_make(&cv->table, &cv->traces, &rows, e)
                                  : dog_path_rows_make(&cv->table, &cv->traces, &rows, e);
        if (rc < 0)
                return rc;
        cv_drop(cv);
        cv_fold_traces(cv);
        cv->odds = calloc(cv->table->rows, sizeof(*cv->odds));
        FILE *f = fopen(cv->out, "w");
        if (!f || !cv->odds)
                return dog_err_set(e, -1, "%s cannot be written", cv->out);
        fputs(cv->is_joint ? "trace,t_ms,a,b,p\n" : "trace,t_ms,path,horizon_s,p\n", f);
        for (unsigned g = 0; g < cv->table->targets && rc == 0; g++) {
                if (!cv->is_joint && !cv->is_target[g])
                        continue;
                clock_t from = clock();
                rc = cv_train(cv, g, e);
                fprintf(stderr, "%s: %zu rows, %.1f s of processor\n", cv->table->target_name[g],
                        cv->table->rows, (double)(clock() - from) / CLOCKS_PER_SEC);
                if (rc == 0)
                        cv_write(cv, f, (int)g);
        }
        fclose(f);
        return rc;
}

int main(int argc, char **argv)
{
        enum {
                DATA = 1,
                FAMILY,
                OUT,
                TARGET,
                WITH,
                SHIFT,
                COPY,
                DROP,
                ROUNDS,
                DEPTH,
                RATE,
                CHILD,
                LAMBDA,
                ROWS,
                COLUMNS,
                SEED,
                THREADS,
                LONE,
                JOINT
        };
        static const struct option option[] = {{"data", 1, NULL, DATA},        {"family", 1, NULL, FAMILY},
                                               {"out", 1, NULL, OUT},          {"target", 1, NULL, TARGET},
                                               {"with", 1, NULL, WITH},        {"shift", 1, NULL, SHIFT},
                                               {"copy-weight", 1, NULL, COPY}, {"drop", 1, NULL, DROP},
                                               {"rounds", 1, NULL, ROUNDS},    {"depth", 1, NULL, DEPTH},
                                               {"rate", 1, NULL, RATE},        {"min-child", 1, NULL, CHILD},
                                               {"lambda", 1, NULL, LAMBDA},    {"rows", 1, NULL, ROWS},
                                               {"columns", 1, NULL, COLUMNS},  {"seed", 1, NULL, SEED},
                                               {"threads", 1, NULL, THREADS},  {"joint", 0, NULL, JOINT},
                                               {"lone-weight", 1, NULL, LONE}, {0}};
        static struct cv cv = {.with_weight = 0.5F, .copy_weight = 0.3F, .lone_weight = 1};
        struct dog_err e = {0};
        int c;
        cv.params = dog_gbt_params_default();
        while ((c = getopt_long(argc, argv, "", option, NULL)) != -1) {
                char *end;
                if (c == DATA)
                        cv.data = optarg;
                else if (c == FAMILY)
                        cv.family = optarg;
                else if (c == OUT)
                        cv.out = optarg;
                else if (c == TARGET) {
                        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                                if (strcmp(optarg, dog_path_target_name(g)) == 0)
                                        cv.is_target[g] = true;
                } else if (c == WITH) {
                        if (cv.withs < 3)
                                cv.with[cv.withs++] = strsep(&optarg, "=");
                        cv.with_weight = optarg ? strtof(optarg, &end) : 1;
                } else if (c == SHIFT && cv.shifts < 4)
                        cv.shift[cv.shifts++] = strtod(optarg, &end);
                else if (c == LONE)
                        cv.lone_weight = strtof(optarg, &end);
                else if (c == COPY)
                        cv.copy_weight = strtof(optarg, &end);
                else if (c == DROP && cv.drops < 16)
                        cv.drop[cv.drops++] = optarg;
                else if (c == ROUNDS)
                        cv.params.rounds = (unsigned)atoi(optarg);
                else if (c == DEPTH)
                        cv.params.depth = (unsigned)atoi(optarg);
                else if (c == RATE)
                        cv.params.learn_rate = strtof(optarg, &end);
                else if (c == CHILD)
                        cv.params.min_child = strtof(optarg, &end);
                else if (c == LAMBDA)
                        cv.params.lambda = strtof(optarg, &end);
                else if (c == ROWS)
                        cv.params.row_share = strtof(optarg, &end);
                else if (c == COLUMNS)
                        cv.params.column_share = strtof(optarg, &end);
                else if (c == SEED)
                        cv.params.seed = (uint64_t)atoll(optarg);
                else if (c == THREADS)
                        cv.params.threads = (unsigned)atoi(optarg);
                else if (c == JOINT)
                        cv.is_joint = true;
                else {
                        fputs(cv_usage, stderr);
                        return 2;
                }
        }
        if (!cv.data || !cv.family || !cv.out || optind < argc) {
                fputs(cv_usage, stderr);
                return 2;
        }
        if (cv_run(&cv, &e) < 0) {
                fprintf(stderr, "cv_paths: %s\n", e.text);
                return 1;
        }
        dog_table_free(cv.table);
        dog_path_traces_free(&cv.traces);
        free(cv.odds);
        return 0;
}
