/* P7 P13 I2: recorded paths become rows; a trace is told to a model without its future. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "learn/gbt_train.h"
#include "learn/path_predict.h"
#include "learn/path_recipe.h"
#include "learn/path_rows.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const columns =
        "trace,family,step_ms,paths,n_paths,seconds,rows,need_kbps,licence,source,date\n";

static void text_write(const char *folder, const char *name, const char *text)
{
        char path[300];
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        FILE *f = fopen(path, "w");
        NEED(f != NULL, "%s can be written", path);
        fputs(text, f);
        fclose(f);
}

static void folder_remove(const char *folder)
{
        static const char *const name[] = {"traces.csv", "a.csv", "b.csv", "c.csv"};
        char path[300];
        for (size_t i = 0; i < ARRAY_SIZE(name); i++) {
                snprintf(path, sizeof(path), "%s/%s", folder, name[i]);
                unlink(path);
        }
        rmdir(folder);
}

/* A made drive of two paths that dip when they please; rates, or round trips and losses. */
static void trace_write(const char *folder, const char *file, bool is_rate, int steps, uint64_t seed)
{
        char path[300];
        struct dog_rng rng;
        double level[2] = {0.5, 0.5};
        snprintf(path, sizeof(path), "%s/%s", folder, file);
        FILE *f = fopen(path, "w");
        NEED(f != NULL, "%s can be written", path);
        dog_rng_init(&rng, seed);
        fputs("t_ms,path,rtt_ms,loss,rate_kbps\n", f);
        for (int k = 0; k < steps; k++)
                for (int p = 0; p < 2; p++) {
                        level[p] += 0.1 * (0.5 - level[p]) + 0.12 * dog_rng_normal(&rng);
                        if (dog_rng_below(&rng, 40) == 0)
                                continue;
                        if (is_rate)
                                fprintf(f, "%d,%c,,,%.0f\n", k * 500, 'x' + p, 5000 * pow(10, level[p]));
                        else if (dog_rng_below(&rng, 80) == 0)
                                fprintf(f, "%d,%c,,1,\n", k * 500, 'x' + p);
                        else
                                fprintf(f, "%d,%c,%.2f,0,\n", k * 500, 'x' + p, 100 * exp(-level[p]));
                }
        fclose(f);
}

static void folder_make(char *folder)
{
        char text[1000];
        NEED(mkdtemp(folder) != NULL, "a folder for the test");
        snprintf(text, sizeof(text), "%s%s%s%s", columns, "a,made,500,x+y,2,0,0,,CC0,here,day1\n",
                 "b,made,500,x+y,2,0,0,,CC0,here,day2\n", "c,rates,500,x+y,2,0,0,5000,CC0,here,day1\n");
        text_write(folder, "traces.csv", text);
        trace_write(folder, "a.csv", false, 900, 1);
        trace_write(folder, "b.csv", false, 900, 2);
        trace_write(folder, "c.csv", true, 900, 3);
}

static void traces_make(struct dog_path_traces *t)
{
        char folder[] = "/tmp/test_path_rows_XXXXXX";
        struct dog_err e = {0};
        folder_make(folder);
        NEED(dog_path_traces_load(t, folder, NULL, &e) == 0, "%s", e.text);
        folder_remove(folder);
}

/* The smallest trained model: the ping regime, all targets and pairs. */
static struct dog_gbt *trees_grow(const struct dog_table *table)
{
        struct dog_gbt_params p = dog_gbt_params_default();
        struct dog_gbt_bins *bins;
        struct dog_gbt *trees;
        struct dog_err e = {0};
        p.rounds = 15;
        p.learn_rate = 0.2F;
        p.min_child = 5;
        NEED(dog_gbt_bins_new(&bins, table, NULL, 1, &e) == 0, "%s", e.text);
        NEED(dog_gbt_train(&trees, bins, &p, false, NULL, NULL, &e) == 0, "%s", e.text);
        dog_gbt_bins_free(bins);
        return trees;
}

struct trained {
        struct dog_path_model model;
        struct dog_gbt *own, *pairs;
};

static void model_make(struct trained *m, const struct dog_path_traces *t)
{
        struct dog_path_rows_options o = dog_path_rows_default();
        struct dog_table *table;
        struct dog_err e = {0};
        o.regime = DOG_PATH_PING;
        dog_path_model_init(&m->model);
        NEED(dog_path_rows_make(&table, t, &o, &e) == 0, "%s", e.text);
        m->own = trees_grow(table);
        dog_table_free(table);
        NEED(dog_path_joint_make(&table, t, &o, &e) == 0, "%s", e.text);
        m->pairs = trees_grow(table);
        dog_table_free(table);
        struct dog_path_expert *x = &m->model.expert[DOG_PATH_PING];
        x->trees = m->own;
        x->pairs = m->pairs;
        for (int g = 0; g < DOG_RISK_TARGETS; g++) {
                x->target[g] = (int8_t)g;
                x->share[g] = 0.7F;
        }
}

static void model_free(struct trained *m)
{
        dog_gbt_free(m->own);
        dog_gbt_free(m->pairs);
}

static void a_folder_that_makes_no_sense_gets_one_sentence(void)
{
        static const struct {
                const char *say, *list, *rows;
                int rc;
                const char *word;
        } row[] = {
                {"an empty list", "", NULL, -EINVAL, "empty"},
                {"no column for the date", "trace,family,step_ms,paths,need_kbps\na,m,500,x,\n", NULL,
                 -EINVAL, "\"date\""},
                {"a column twice", "trace,trace,family,step_ms,paths,need_kbps,date\n", NULL, -EINVAL,
                 "twice"},
                {"a step that is no number", "trace,family,step_ms,paths,need_kbps,date\na,m,fast,x,,d\n",
                 NULL, -EINVAL, "step_ms"},
                {"a need that is no number", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,nan,d\n",
                 NULL, -EINVAL, "need_kbps"},
                {"a path twice", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x+x,,d\n", NULL, -EINVAL,
                 "twice"},
                {"a trace twice", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,,d\na,m,500,x,,d\n",
                 "t_ms,path,rtt_ms,loss,rate_kbps\n0,x,5,0,\n500,x,5,0,\n", -EINVAL, "twice"},
                {"a name that climbs out", "trace,family,step_ms,paths,need_kbps,date\n../a,m,500,x,,d\n",
                 NULL, -EINVAL, "'/'"},
                {"an empty trace", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,,d\n", "", -EINVAL,
                 "a.csv"},
                {"a trace of its header alone", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,,d\n",
                 "t_ms,path,rtt_ms,loss,rate_kbps\n", -ENODATA, "no sample"},
                {"a trace without a column", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,,d\n",
                 "t_ms,path,rtt_ms,loss\n0,x,5,0\n", -EINVAL, "rate_kbps"},
                {"a trace that was shuffled", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,,d\n",
                 "t_ms,path,rtt_ms,loss,rate_kbps\n500,x,5,0,\n0,x,5,0,\n", -EINVAL, "a.csv"},
                {"a number that is none", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,,d\n",
                 "t_ms,path,rtt_ms,loss,rate_kbps\n0,x,nan,0,\n500,x,5,0,\n", -EINVAL, "rtt_ms"},
                {"one sample", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,,d\n",
                 "t_ms,path,rtt_ms,loss,rate_kbps\n0,x,5,0,\n", -ENODATA, "two samples"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                char folder[] = "/tmp/test_path_rows_XXXXXX";
                struct dog_path_traces t;
                struct dog_err e = {0};
                NEED(mkdtemp(folder) != NULL, "a folder");
                text_write(folder, "traces.csv", row[i].list);
                if (row[i].rows)
                        text_write(folder, "a.csv", row[i].rows);
                int rc = dog_path_traces_load(&t, folder, NULL, &e);
                OK(rc == row[i].rc && strstr(e.text, row[i].word), "%s: %d, \"%s\"", row[i].say, rc, e.text);
                if (rc == 0)
                        dog_path_traces_free(&t);
                folder_remove(folder);
        }
}

static void a_repeated_row_is_dropped_and_counted_and_columns_may_move(void)
{
        char folder[] = "/tmp/test_path_rows_XXXXXX";
        struct dog_path_traces t;
        struct dog_err e = {0};
        NEED(mkdtemp(folder) != NULL, "a folder");
        text_write(folder, "traces.csv", "date,note,need_kbps,paths,step_ms,family,trace\nd,,,x+y,500,m,a\n");
        text_write(folder, "a.csv",
                   "path,t_ms,rtt_ms,loss,rate_kbps\nx,0,150,0,\ny,0,5,0,\nx,20,5,0,\nx,500,5,0,\n");
        NEED(dog_path_traces_load(&t, folder, NULL, &e) == 0, "%s", e.text);
        OK(t.repeated == 1 && t.points == 3 && t.list[0].length == 2, "one of four rows");
        OK(t.list[0].point[0].rtt_ms == 150 && t.list[0].point[0].is_bad, "the first one counts");
        dog_path_traces_free(&t);
        folder_remove(folder);
}

static void a_row_knows_what_came_of_it(void)
{
        struct dog_path_traces t;
        struct dog_path_rows_options o = dog_path_rows_default();
        struct dog_table *table;
        struct dog_err e = {0};
        traces_make(&t);
        NEED(dog_path_rows_make(&table, &t, &o, &e) == 0, "%s", e.text);
        OK(table->features == DOG_PATH_FEATURES && table->targets == DOG_RISK_TARGETS, "columns");
        size_t known = 0;
        for (size_t r = 0; r < table->rows; r++) {
                struct dog_path_row_id id = dog_path_row_id(table->id[r]);
                const struct dog_path_trace *one = &t.list[id.trace];
                const struct dog_path_point *row = one->point + (size_t)id.path * (size_t)one->length;
                NEED(row[id.step].is_seen && id.step >= 4 && id.other == -1, "a row is a sample with a past");
                if (dog_table_label(table, r, DOG_RISK_NEXT) == DOG_LABEL_UNKNOWN)
                        continue;
                NEED(row[id.step + 1].is_seen, "the next sample was seen");
                OK(dog_table_label(table, r, DOG_RISK_NEXT) == row[id.step + 1].is_bad,
                   "and this is what it was");
                known++;
        }
        OK(known > table->rows * 9 / 10, "nearly all are known: %zu of %zu", known, table->rows);
        dog_table_free(table);
        o.regime = DOG_PATH_RATE;
        NEED(dog_path_rows_make(&table, &t, &o, &e) == 0, "%s", e.text);
        OK(dog_path_row_id(table->id[0]).trace == 2 && dog_path_row_id(table->id[table->rows - 1]).trace == 2,
           "rates are in the third trace alone");
        dog_table_free(table);
        NEED(dog_path_joint_make(&table, &t, &o, &e) == 0, "%s", e.text);
        for (size_t r = 0; r < table->rows; r++) {
                struct dog_path_row_id id = dog_path_row_id(table->id[r]);
                int8_t label = dog_table_label(table, r, 0);
                int a = dog_path_trace_outcome(&t.list[id.trace], id.path, id.step, 1);
                int b = dog_path_trace_outcome(&t.list[id.trace], id.other, id.step, 1);
                NEED(id.path != id.other, "two paths");
                OK(label == (a < 0 || b < 0 ? DOG_LABEL_UNKNOWN : a && !b), "bad here and good there");
        }
        dog_table_free(table);
        dog_path_traces_free(&t);
}

static void another_promise_is_another_judgement(void)
{
        struct dog_path_traces t;
        struct dog_err e = {0};
        traces_make(&t);
        NEED(dog_path_recipe_copies(&t, &e) == 0, "%s", e.text);
        NEED(t.count == 9 && t.list[3].origin == 2 && t.list[4].origin == 2,
             "two copies of the one with rates");
        for (int i = 5; i < t.count; i++) {
                const struct dog_path_trace *own = &t.list[i];
                const struct dog_path_trace *from = &t.list[own->origin];
                OK(own->origin == (i - 5) / 2 && own->step_ms == 1000 && from->step_ms == 500 &&
                           own->point[7].rtt_ms == from->point[14 + (i - 5) % 2].rtt_ms,
                   "of pings, what one a second would have seen, at each phase");
        }
        int bad[3] = {0};
        for (int i = 0; i < t.list[2].length * 2; i++) {
                bad[0] += t.list[3].point[i].is_bad;
                bad[1] += t.list[2].point[i].is_bad;
                bad[2] += t.list[4].point[i].is_bad;
        }
        OK(bad[0] < bad[1] && bad[1] < bad[2], "the more is asked, the more is broken: %d %d %d", bad[0],
           bad[1], bad[2]);
        OK(dog_path_traces_shift(&t, -1, 1, &e) == -EINVAL && dog_path_traces_thin(&t, 1, &e) == -EINVAL,
           "factors that make no sense: %s", e.text);
        dog_path_traces_free(&t);
}

/* What was said of a trace, by path and step. */
struct heard {
        float p[2][1000][DOG_RISK_TARGETS];
        int count;
        int stop_at;
};

static int heard_take(void *data, const struct dog_path_said *said, struct dog_err *e)
{
        struct heard *h = data;
        if (h->stop_at && said->step == h->stop_at)
                return dog_err_set(e, -ECANCELED, "enough");
        memcpy(h->p[said->path][said->step], said->belief->mix.p, sizeof(h->p[0][0]));
        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                OK(said->belief->mix.p[g] > 0 && said->belief->mix.p[g] < 1, "a chance");
        h->count++;
        return 0;
}

/* The same trace, ended after so many steps. */
static struct dog_path_trace trace_cut(const struct dog_path_trace *t, int length)
{
        struct dog_path_trace cut = *t;
        cut.length = length;
        cut.point = calloc((size_t)cut.paths * (size_t)length, sizeof(*cut.point));
        NEED(cut.point != NULL, "memory");
        for (int p = 0; p < cut.paths; p++)
                memcpy(cut.point + (size_t)p * (size_t)length, t->point + (size_t)p * (size_t)t->length,
                       (size_t)length * sizeof(*cut.point));
        return cut;
}

static void what_comes_later_changes_nothing_before(void)
{
        static struct heard whole;
        static struct heard part;
        struct dog_path_traces t;
        struct trained m;
        struct dog_err e = {0};
        traces_make(&t);
        model_make(&m, &t);
        const struct dog_path_model *model[] = {NULL, &m.model};
        for (size_t k = 0; k < ARRAY_SIZE(model); k++)
                for (int i = 0; i < t.count; i++) {
                        struct dog_path_predict_options o = dog_path_predict_default(model[k]);
                        memset(&whole, 0, sizeof(whole));
                        NEED(dog_path_predict(&t.list[i], &o, heard_take, &whole, &e) == 0, "%s", e.text);
                        OK(whole.count > 1600, "it speaks at every sample: %d", whole.count);
                        for (int cut = 1; cut < t.list[i].length; cut += cut < 20 ? 1 : 97) {
                                struct dog_path_trace one = trace_cut(&t.list[i], cut);
                                memset(&part, 0, sizeof(part));
                                NEED(dog_path_predict(&one, &o, heard_take, &part, &e) == 0, "%s", e.text);
                                for (int p = 0; p < 2; p++)
                                        OK(memcmp(part.p[p], whole.p[p],
                                                  (size_t)cut * sizeof(part.p[0][0])) == 0,
                                           "model %zu, trace %d, path %d, cut at %d", k, i, p, cut);
                                free(one.point);
                        }
                }
        memset(&part, 0, sizeof(part));
        part.stop_at = 5;
        struct dog_path_predict_options o = dog_path_predict_default(NULL);
        OK(dog_path_predict(&t.list[0], &o, heard_take, &part, &e) == -ECANCELED && part.count <= 10,
           "who listens can end it");
        model_free(&m);
        dog_path_traces_free(&t);
}

/* Trees, reasons and pairs, as a daemon asks them. */
struct asked {
        struct dog_path_shared shared;
        struct dog_path_risk member[2];
        struct dog_path_track track[2];
        struct dog_path_group group; /* of the last step */
        struct dog_path_belief belief[2];
};

static void asked_play(struct asked *a, const struct dog_path_trace *t, const struct dog_path_model *model)
{
        struct dog_risk_config c = dog_risk_config_default();
        dog_path_shared_init(&a->shared, &c, model);
        for (int p = 0; p < 2; p++) {
                dog_path_track_init(&a->track[p]);
                dog_path_risk_init(&a->member[p], &a->track[p]);
        }
        for (int k = 0; k < 300; k++) {
                struct dog_ensemble_news news;
                a->group = (struct dog_path_group){0};
                for (int p = 0; p < 2; p++) {
                        const struct dog_path_point *q = &t->point[p * t->length + k];
                        struct dog_path_sample s = {.t_ns = k * t->step_ms * DOG_MS,
                                                    .margin = q->margin,
                                                    .is_bad = q->is_bad_seen,
                                                    .rtt_ms = q->rtt_ms,
                                                    .loss = q->loss,
                                                    .rate_kbps = q->rate_kbps};
                        if (q->is_seen)
                                dog_path_risk_observe(&a->member[p], &a->shared, &s, &news);
                        dog_path_group_add(&a->group, &a->member[p]);
                }
                for (int p = 0; p < 2; p++)
                        dog_path_risk_step(&a->member[p], &a->shared, &a->group, k * t->step_ms * DOG_MS,
                                           &a->belief[p]);
        }
}

/* P7: the reasons are those of the model that counts most, and add up to what it said. */
static void reasons_add_up_to_what_was_said(void)
{
        static struct asked a;
        struct dog_path_traces t;
        struct trained m;
        traces_make(&t);
        model_make(&m, &t);
        asked_play(&a, &t.list[0], &m.model);
        for (int speaker = 0; speaker < DOG_EXPERT_MODELS; speaker++)
                for (int p = 0; p < 2; p++) {
                        struct dog_path_belief *b = &a.belief[p];
                        struct dog_driver d[DOG_RISK_GROUPS];
                        struct dog_driver few[2];
                        float sum = 0, want = 0, each[DOG_PATH_FEATURES];
                        NEED(b->has_trees && b->regime == DOG_PATH_PING, "trees spoke");
                        b->mix.weight[DOG_RISK_H0][speaker] = 0.7F;
                        b->mix.weight[DOG_RISK_H0][!speaker] = 0.3F;
                        int n = dog_path_drivers(&a.member[p], &a.shared, &a.group, b, DOG_RISK_H0, d,
                                                 DOG_RISK_GROUPS);
                        for (int i = 0; i < n; i++) {
                                sum += d[i].log_odds;
                                OK(i == 0 || fabsf(d[i].log_odds) <= fabsf(d[i - 1].log_odds),
                                   "largest first");
                                OK(strcmp(d[i].name, dog_risk_group_name(d[i].group)) == 0, "in words");
                        }
                        if (speaker == DOG_EXPERT_TREES) {
                                float from = dog_gbt_contributions(m.own, DOG_RISK_H0, b->feature, each);
                                want = dog_gbt_log_odds(m.own, DOG_RISK_H0, b->feature) - from;
                        } else {
                                struct dog_driver own[DOG_RISK_GROUPS];
                                int k = dog_risk_drivers(&a.shared.logistic, &b->risk, DOG_RISK_H0, own,
                                                         DOG_RISK_GROUPS);
                                for (int i = 0; i < k; i++)
                                        want += own[i].log_odds;
                        }
                        OK(n > 0 && NEAR(sum, want, 1e-3F), "%s: %g of %g", dog_expert_name(speaker),
                           (double)sum, (double)want);
                        OK(dog_path_drivers(&a.member[p], &a.shared, &a.group, b, DOG_RISK_H0, few, 2) == 2 &&
                                   few[0].group == d[0].group && few[1].group == d[1].group,
                           "the first two of them");
                }
        model_free(&m);
        dog_path_traces_free(&t);
}

/* P13: what a fresh path is told begins with the share that training chose, and what is calibrated and
 * weighed is what backtest and daemon say alike. */
static void trees_begin_with_the_share_that_training_chose(void)
{
        static struct asked a;
        struct dog_path_traces t;
        struct trained m;
        traces_make(&t);
        model_make(&m, &t);
        dog_path_shared_init(&a.shared, &(struct dog_risk_config){0}, &m.model);
        static const float shares[] = {0.1F, 0.6F, 1};
        for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
                for (int g = 0; g < DOG_RISK_TARGETS; g++)
                        m.model.expert[DOG_PATH_PING].share[g] = shares[i];
                asked_play(&a, &t.list[0], &m.model);
                const float *start = a.member[0].mix.start[DOG_RISK_NEXT];
                float share =
                        start[DOG_EXPERT_TREES] / (start[DOG_EXPERT_TREES] + start[DOG_EXPERT_LOGISTIC]);
                OK(NEAR(share, fminf(shares[i], 0.95F), 1e-4F), "%g of what models count: %g",
                   (double)shares[i], (double)share);
        }
        model_free(&m);
        dog_path_traces_free(&t);
}

static void a_pair_is_never_likelier_than_its_halves(void)
{
        static struct asked a;
        struct dog_path_traces t;
        struct trained m;
        traces_make(&t);
        model_make(&m, &t);
        for (int i = 0; i < t.count; i++) {
                asked_play(&a, &t.list[i], &m.model);
                double joint = dog_path_risk_joint(&a.shared, &a.belief[0], &a.belief[1]);
                double p = (double)a.belief[0].mix.p[DOG_RISK_NEXT];
                double q = (double)a.belief[1].mix.p[DOG_RISK_NEXT];
                OK(joint > 0 && joint <= p && joint <= 1 - q, "%g of %g and %g", joint, p, q);
                if (i == 2)
                        OK(!a.belief[0].has_trees && NEAR(joint, p * (1 - q), 1e-6),
                           "no trees for rates here: the logistic, and the product");
        }
        model_free(&m);
        dog_path_traces_free(&t);
}

static void one_path_alone_gives_rows_but_no_pairs(void)
{
        char folder[] = "/tmp/test_path_rows_XXXXXX";
        char text[4000] = "t_ms,path,rtt_ms,loss,rate_kbps\n";
        struct dog_path_traces t;
        struct dog_path_rows_options o = dog_path_rows_default();
        struct dog_table *table;
        struct dog_err e = {0};
        NEED(mkdtemp(folder) != NULL, "a folder");
        text_write(folder, "traces.csv", "trace,family,step_ms,paths,need_kbps,date\na,m,500,x,,d\n");
        for (int k = 0; k < 100; k++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d,x,20,0,\n", k * 500);
        text_write(folder, "a.csv", text);
        NEED(dog_path_traces_load(&t, folder, NULL, &e) == 0, "%s", e.text);
        NEED(dog_path_rows_make(&table, &t, &o, &e) == 0, "%s", e.text);
        OK(table->rows == 96, "all but the first two seconds: %zu", table->rows);
        for (size_t r = 0; r < table->rows; r++)
                OK(dog_table_label(table, r, 0) <= 0, "nothing ever happens");
        dog_table_free(table);
        OK(dog_path_joint_make(&table, &t, &o, &e) == -ENODATA && table == NULL, "no pairs: %s", e.text);
        o.regime = DOG_PATH_RATE;
        OK(dog_path_rows_make(&table, &t, &o, &e) == -ENODATA && strstr(e.text, "rate"), "no rates: %s",
           e.text);
        dog_path_traces_free(&t);
        folder_remove(folder);
}

int main(void)
{
        return CHECK_RUN(TEST(a_folder_that_makes_no_sense_gets_one_sentence),
                         TEST(a_repeated_row_is_dropped_and_counted_and_columns_may_move),
                         TEST(a_row_knows_what_came_of_it), TEST(another_promise_is_another_judgement),
                         TEST(what_comes_later_changes_nothing_before), TEST(reasons_add_up_to_what_was_said),
                         TEST(trees_begin_with_the_share_that_training_chose),
                         TEST(a_pair_is_never_likelier_than_its_halves),
                         TEST(one_path_alone_gives_rows_but_no_pairs));
}
