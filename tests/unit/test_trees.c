/*
 * Trees for paths in the daemon: files that are refused, training on what was measured here, and who serves
 * (P13, F2: performance of all paths is kept and fed back into the model). The telemetry is made: a round
 * trip of 55 to 58 ms comes three seconds before a breach, longer and shorter ones come to nothing.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "core/loop.h"
#include "daemon/node_trees.h"
#include "daemon/trees.h"
#include "kinds/twin/twin.h"
#include "learn/path_contest.h"
#include "learn/path_store.h"
#include "learn/model_file.h"
#include "learn/path_rows.h"
#include "learn/path_train.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *file_of(const char *name)
{
        static char path[4][128];
        static unsigned at;
        char *to = path[at++ % ARRAY_SIZE(path)];
        snprintf(to, sizeof(path[0]), "%s/%s", folder, name);
        return to;
}

/* What comes before a breach: the band of 55..58 ms, or those beside it. */
enum omen { OMEN_BAND, OMEN_BESIDE };

/* Seconds of telemetry that end at to_ns. */
static void telemetry(struct dog_store *store, int64_t to_ns, int seconds, enum omen omen, uint64_t seed)
{
        for (int p = 0; p < 2; p++) {
                struct dog_rng rng;
                char name[64];
                int breach = 0; /* seconds until */
                dog_rng_init(&rng, seed + (uint64_t)p);
                snprintf(name, sizeof(name), "path/t/p%d/rtt_ms", p);
                int rtt = dog_store_series(store, name);
                snprintf(name, sizeof(name), "path/t/p%d/loss", p);
                int loss = dog_store_series(store, name);
                for (int i = 0; i < seconds; i++) {
                        double ms = 30 + 3 * dog_rng_unit(&rng);
                        bool is_band = dog_rng_below(&rng, 40) == 0;
                        bool is_beside = !is_band && dog_rng_below(&rng, 20) == 0;
                        if (breach > 0 && --breach < 2)
                                ms = 200;
                        else if (breach == 0 && is_band)
                                ms = 55 + 3 * dog_rng_unit(&rng);
                        else if (breach == 0 && is_beside)
                                ms = dog_rng_below(&rng, 2) ? 45 + 5 * dog_rng_unit(&rng)
                                                            : 64 + 8 * dog_rng_unit(&rng);
                        if (breach == 0 && ms > 40 && ms < 100 && (ms > 54 && ms < 59) == (omen == OMEN_BAND))
                                breach = 4;
                        int64_t at_ns = to_ns - (int64_t)(seconds - i) * DOG_S;
                        dog_store_sample(store, rtt, at_ns, ms);
                        dog_store_sample(store, loss, at_ns, 0);
                }
        }
}

static void telemetry_store(const char *file, int64_t to_ns, int early, enum omen first, int late,
                            enum omen then)
{
        struct dog_store_options o = {.path = file, .size_max_bytes = 200 << 20};
        struct dog_store *store = NULL;
        struct dog_err e = {0};
        unlink(file);
        NEED(dog_store_open(&o, &store, &e) == 0, "%s", e.text);
        telemetry(store, to_ns - (int64_t)late * DOG_S, early, first, 1);
        telemetry(store, to_ns, late, then, 100);
        NEED(dog_store_sync(store, &e) == 0, "%s", e.text);
        dog_store_close(store);
}

static struct dog_config config_of(const char *store)
{
        static struct dog_config_profile profile = {.latency_ns = 100 * DOG_MS, .loss_share = 0.3};
        static struct dog_config_class class = {.name = "c", .promise = &profile};
        static struct dog_config_tunnel tunnel = {.name = "t"};
        struct dog_config c = {.tunnel = &tunnel, .tunnels = 1, .class = &class, .classes = 1};
        c.store.path = store;
        c.forecast = (struct dog_config_forecast){.has_trees = 1,
                                                  .has_retrain = 1,
                                                  .retrain_every_ns = 20 * DOG_MS,
                                                  .retrain_from_ns = 86400 * DOG_S,
                                                  .retrain_cpu = 1};
        return c;
}

static void traces_of(struct dog_path_traces *to, const char *file, int64_t from_ns, int64_t to_ns)
{
        struct dog_store_options o = {.path = file, .read_only = true};
        struct dog_store *store = NULL;
        struct dog_err e = {0};
        struct dog_path_wanted w = {.tunnel = "t", .promise = dog_promise_default()};
        w.promise.rtt_ms = 100;
        NEED(dog_store_open(&o, &store, &e) == 0, "%s", e.text);
        int rc = dog_path_store_traces(to, store, &w, 1, from_ns, to_ns, 1000000, &e);
        NEED(rc == 0, "%s", e.text);
        dog_store_close(store);
}

static struct dog_model *trained_on(struct dog_path_traces *traces)
{
        struct dog_path_train_options o = dog_path_train_default();
        struct dog_path_train *train = NULL;
        struct dog_model *m = NULL;
        struct dog_err e = {0};
        int rc;
        o.folds = 2;
        o.effort = 0.15;
        NEED(dog_path_train_new(&train, traces, &o, &e) == 0, "%s", e.text);
        while ((rc = dog_gbt_jobs_step(dog_path_train_jobs(train), &e)) > 0)
                ;
        NEED(rc == 0 && dog_path_train_finish(train, 1, &m, &e) == 0, "%s", e.text);
        dog_path_train_free(train);
        return m;
}

/* ---- telemetry ---- */

/* Where telemetry is cut: each ten minutes of the clock. */
static int64_t whole_minutes(void)
{
        return dog_clock_wall_ns() / (600 * DOG_S) * (600 * DOG_S);
}

static void telemetry_is_cut_into_traces_and_judged(void)
{
        const char *file = file_of("cut.db");
        int64_t to_ns = whole_minutes();
        struct dog_path_traces t;
        telemetry_store(file, to_ns, 1800, OMEN_BAND, 1800, OMEN_BAND);
        traces_of(&t, file, to_ns - 3600 * DOG_S, to_ns);
        OK(t.count == 6 && t.list[0].paths == 2 && t.list[0].length == 2400, "an hour makes six: %d",
           t.count);
        long bad = 0;
        for (int i = 0; i < t.count; i++)
                for (int k = 0; k < 2 * 2400; k++) {
                        const struct dog_path_point *q = &t.list[i].point[k];
                        bad += q->is_bad;
                        OK(!q->is_seen || q->is_bad == (q->rtt_ms > 100), "judged by the promise: %g",
                           (double)q->rtt_ms);
                }
        OK(bad > 100 && t.points > 7000, "%ld of %ld samples are bad", bad, t.points);
        dog_path_traces_free(&t);

        struct dog_store_options o = {.path = file, .read_only = true};
        struct dog_store *store = NULL;
        struct dog_err e = {0};
        struct dog_path_wanted w = {.tunnel = "t", .promise = dog_promise_default()};
        NEED(dog_store_open(&o, &store, &e) == 0, "%s", e.text);
        OK(dog_path_store_traces(&t, store, &w, 1, to_ns - 3600 * DOG_S, to_ns, 4000, &e) == 0 &&
                   t.count == 3 && t.points == 3600,
           "of much, each second: %d traces of %ld samples", t.count, t.points);
        dog_path_traces_free(&t);
        OK(dog_path_store_traces(&t, store, NULL, 0, to_ns - 3600 * DOG_S, to_ns, 1000000, &e) == 0 &&
                   t.count == 6 && t.list[0].rtt_factor > 1,
           "every tunnel, by the limits of recordings: %d", t.count);
        dog_path_traces_free(&t);
        w.tunnel = "nobody";
        OK(dog_path_store_traces(&t, store, &w, 1, to_ns - 3600 * DOG_S, to_ns, 2000, &e) == -ENODATA,
           "none of a tunnel that is not there: %s", e.text);
        OK(dog_path_store_traces(&t, store, &w, 1, to_ns, to_ns, 2000, &e) == -EINVAL, "no time at all: %s",
           e.text);
        OK(dog_path_store_oldest(store, 0, INT64_MAX) == to_ns - 3600 * DOG_S, "the oldest sample");
        dog_store_close(store);
}

/* F2: a path that carries traffic is probed four times a second, its neighbour once. */
static void each_path_keeps_the_pace_at_which_it_was_probed(void)
{
        const char *file = file_of("pace.db");
        struct dog_store_options o = {.path = file, .size_max_bytes = 200 << 20};
        struct dog_store *store = NULL;
        struct dog_path_traces t;
        struct dog_err e = {0};
        int64_t to_ns = whole_minutes();
        NEED(dog_store_open(&o, &store, &e) == 0, "%s", e.text);
        int fast = dog_store_series(store, "path/t/p0/rtt_ms");
        int slow = dog_store_series(store, "path/t/p1/rtt_ms");
        for (int i = 0; i < 4 * 600; i++) {
                /* Probes do not come on the grid. */
                int64_t at_ns = to_ns - 600 * DOG_S + i * 250 * DOG_MS + 60 * DOG_MS;
                dog_store_sample(store, fast, at_ns, i % 40 == 7 ? 300 : 20);
                if (i % 4 == 1)
                        dog_store_sample(store, slow, at_ns, i % 200 == 41 ? 300 : 20);
        }
        NEED(dog_store_sync(store, &e) == 0, "%s", e.text);
        dog_store_close(store);
        traces_of(&t, file, to_ns - 600 * DOG_S, to_ns);
        NEED(t.count == 1 && t.points == 2400 + 600, "%d traces of %ld samples", t.count, t.points);
        const struct dog_path_trace *one = &t.list[0];
        OK(dog_path_trace_next(one, 0, 406) == 1 && dog_path_trace_next(one, 0, 407) == 0, "the next of one");
        OK(dog_path_trace_next(one, 1, 437) == 1 && dog_path_trace_next(one, 1, 433) == 0,
           "the next of the other comes four steps later");
        OK(dog_path_trace_outcome(one, 1, 437, 4) == 1 && dog_path_trace_outcome(one, 1, 433, 4) == 0 &&
                   dog_path_trace_outcome(one, 1, 433, 20) == 1,
           "and a second with one sample of it is a second that was watched");
        struct dog_path_rows_options r = dog_path_rows_default();
        struct dog_table *table;
        NEED(dog_path_rows_make(&table, &t, &r, &e) == 0, "%s", e.text);
        size_t known[2] = {0};
        for (size_t i = 0; i < table->rows; i++)
                known[dog_path_row_id(table->id[i]).path] += dog_table_label(table, i, DOG_RISK_H0) >= 0;
        OK(known[0] > 2300 && known[1] > 570, "rows to learn from: %zu and %zu", known[0], known[1]);
        dog_table_free(table);
        dog_path_traces_free(&t);
}

/* ---- who is better ---- */

/* P13: trees of another world do not serve in the place of those of this one. Weighed by their record they do
 * little harm, so that "better than none" would prove nothing. */
static void the_better_one_serves_and_the_worse_one_does_not(void)
{
        int64_t to_ns = whole_minutes();
        struct dog_path_traces learn[2];
        struct dog_path_traces newest[2];
        struct dog_model *m[2];
        struct dog_path_trained *trained[2];
        const struct dog_path_model *trees[2];
        struct dog_path_contest c;
        struct dog_err e = {0};
        for (int i = 0; i < 2; i++) {
                const char *file = file_of(i ? "beside.db" : "band.db");
                telemetry_store(file, to_ns, 9000, i ? OMEN_BESIDE : OMEN_BAND, 9000,
                                i ? OMEN_BESIDE : OMEN_BAND);
                traces_of(&learn[i], file, to_ns - 18000 * DOG_S, to_ns - 9000 * DOG_S);
                traces_of(&newest[i], file, to_ns - 9000 * DOG_S, to_ns);
                m[i] = trained_on(&learn[i]);
                NEED(dog_model_write(m[i], file_of(i ? "beside.model" : "band.model"), &e) == 0, "%s",
                     e.text);
                NEED(dog_path_trained_new(&trained[i], m[i], &e) == 0, "%s", e.text);
                trees[i] = dog_path_trained_model(trained[i]);
        }
        OK(dog_path_contest(&newest[0], NULL, trees[0], NULL, NULL, &c, &e) == 0 && c.is_better &&
                   c.errors > 2,
           "what it learned goes on: %s", c.text);
        OK(dog_path_contest(&newest[1], trees[1], trees[0], NULL, NULL, &c, &e) == 0 && !c.is_better &&
                   c.errors < -2,
           "of another world: %s", c.text);
        OK(dog_path_contest(&newest[1], trees[0], trees[1], NULL, NULL, &c, &e) == 0 && c.is_better,
           "the world has turned, and these know: %s", c.text);
        OK(dog_path_contest(&newest[0], trees[0], trees[0], NULL, NULL, &c, &e) == 0 && !c.is_better &&
                   !(c.score_old > c.score_new) && !(c.score_old < c.score_new),
           "not better than itself: %s", c.text);
        int all = newest[0].count;
        newest[0].count = 5;
        OK(dog_path_contest(&newest[0], NULL, trees[0], NULL, NULL, &c, &e) == 0 && !c.is_better,
           "fifty minutes are too little to tell: %s", c.text);
        newest[0].count = all;
        for (int i = 0; i < 2; i++) {
                dog_path_trained_free(trained[i]);
                dog_model_free(m[i]);
                dog_path_traces_free(&learn[i]);
                dog_path_traces_free(&newest[i]);
        }
}

/* ---- in the background ---- */

static atomic_int woken;

static void wake(void *user)
{
        (void)user;
        atomic_fetch_add(&woken, 1);
}

/* Until one training is through; its sentence. */
static bool wait_for_news(struct trees *t, char *text, size_t room, bool *is_new)
{
        /* At the lowest priority: on a busy machine it may have to wait. */
        for (int i = 0; i < 9000; i++) {
                if (atomic_load(&woken) > 0 && trees_news(t, text, room, is_new))
                        return true;
                usleep(20000);
        }
        return false;
}

static void training_serves_only_what_is_better_on_the_newest(void)
{
        static const struct {
                enum omen early, late;
                const char *before; /* in force until then; NULL: none */
                bool is_new;
                const char *say;
        } row[] = {{OMEN_BAND, OMEN_BAND, NULL, true, "what was learned goes on: it serves"},
                   {OMEN_BAND, OMEN_BESIDE, "beside.model", false,
                    "the newest is otherwise, as those in force know: it does not"}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                char store[128];
                char own[160];
                char text[700] = "";
                bool is_new = false;
                struct dog_err e = {0};
                struct trees *t = NULL;
                snprintf(store, sizeof(store), "%s/background%zu.db", folder, i);
                snprintf(own, sizeof(own), "%s.model", store);
                telemetry_store(store, dog_clock_wall_ns(), 9000, row[i].early, 7800, row[i].late);
                struct dog_config c = config_of(store);
                c.forecast.model = row[i].before ? file_of(row[i].before) : NULL;
                NEED(trees_open(&t, &c, NULL, NULL, &e) == 0, "%s", e.text);
                const struct dog_path_model *before = trees_model(t);
                OK((before != NULL) == (row[i].before != NULL), "what is in force before");
                trees_effort(t, 0.1);
                atomic_store(&woken, 0);
                NEED(trees_train(t, wake, NULL, &e) == 0, "%s", e.text);
                NEED(wait_for_news(t, text, sizeof(text), &is_new), "a training comes to an end");
                OK(is_new == row[i].is_new, "%s: %s", row[i].say, text);
                OK((trees_model(t) != before) == row[i].is_new, "and so it is");
                struct stat s;
                OK((stat(own, &s) == 0) == row[i].is_new, "a file is there only if it serves");
                json_t *j = trees_json(t);
                OK(json_is_real(json_object_get(j, "score_in_force")) &&
                           json_is_real(json_object_get(j, "score_new")),
                   "both scores are told: %s", json_string_value(json_object_get(j, "last")));
                json_decref(j);
                trees_release(t);
                trees_close(t);
                /* A restart finds it. */
                NEED(trees_open(&t, &c, NULL, NULL, &e) == 0, "%s", e.text);
                json_t *again = trees_json(t);
                const char *file = json_string_value(json_object_get(again, "file"));
                OK(file && (strcmp(file, own) == 0) == row[i].is_new, "after a restart too: %s", file);
                json_decref(again);
                trees_close(t);
        }
}

static void too_little_telemetry_is_said(void)
{
        char text[700] = "";
        bool is_new = true;
        struct dog_err e = {0};
        struct trees *t = NULL;
        telemetry_store(file_of("short.db"), dog_clock_wall_ns(), 60, OMEN_BAND, 1800, OMEN_BAND);
        struct dog_config c = config_of(file_of("short.db"));
        NEED(trees_open(&t, &c, NULL, NULL, &e) == 0, "%s", e.text);
        atomic_store(&woken, 0);
        NEED(trees_train(t, wake, NULL, &e) == 0 && wait_for_news(t, text, sizeof(text), &is_new), "%s",
             e.text);
        OK(!is_new && strstr(text, "too little telemetry"), "%s", text);
        trees_close(t);
}

/* ---- files ---- */

static char told[700];
static void note(void *user, const char *text)
{
        (void)user;
        snprintf(told, sizeof(told), "%s", text);
}

static void a_file_that_is_not_fit_is_refused_with_one_sentence(void)
{
        /* From the test before: trees that serve. */
        char good[160];
        struct dog_err e = {0};
        uint8_t *bytes = NULL;
        size_t size = 0;
        snprintf(good, sizeof(good), "%s/background0.db.model", folder);
        NEED(dog_file_take(good, 64 << 20, &bytes, &size, &e) == 0, "%s", e.text);
        static const struct {
                const char *name, *word;
                size_t at;
        } row[] = {{"version.model", "version", 11}, {"bit.model", "damaged", 5000}, {"kind.model", "", 20}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                const char *file = file_of(row[i].name);
                struct trees *t = NULL;
                struct dog_config c = config_of(file_of("none.db"));
                bytes[row[i].at] ^= 4;
                NEED(dog_file_replace(file, bytes, size, &e) == 0, "%s", e.text);
                bytes[row[i].at] ^= 4;
                c.forecast.model = file;
                told[0] = 0;
                NEED(trees_open(&t, &c, note, NULL, &e) == 0, "the daemon goes on: %s", e.text);
                OK(!trees_model(t) && strstr(told, file) && strstr(told, row[i].word), "%s", told);
                json_t *j = trees_json(t);
                OK(json_object_get(j, "refused") && !json_is_true(json_object_get(j, "has_trees")),
                   "status tells it");
                json_decref(j);
                trees_close(t);
        }
        struct trees *t = NULL;
        struct dog_config c = config_of(file_of("none.db"));
        c.forecast.model = file_of("nowhere.model");
        told[0] = 0;
        NEED(trees_open(&t, &c, note, NULL, &e) == 0, "%s", e.text);
        OK(!trees_model(t) && strstr(told, "nowhere.model"), "one that was asked for and is not there: %s",
           told);
        trees_close(t);
        c.forecast.model = good;
        NEED(trees_open(&t, &c, note, NULL, &e) == 0, "%s", e.text);
        OK(trees_model(t) != NULL, "a good one is taken");
        trees_close(t);
        c.forecast.has_trees = 0;
        NEED(trees_open(&t, &c, note, NULL, &e) == 0, "%s", e.text);
        OK(!trees_model(t), "\"trees: no\" takes none");
        trees_close(t);
        free(bytes);
}

/* F2, O3: what was trained on the store stands beside it, and is served from there. */
static void trees_of_nodes_beside_the_store_are_served(void)
{
        static struct node_trees t;
        struct dog_err e = {0};
        uint8_t *bytes = NULL;
        size_t size = 0;
        NEED(dog_file_take(MODELS "/node.model", 64 << 20, &bytes, &size, &e) == 0, "%s", e.text);
        node_trees_open(&t, file_of("nodes.db"), note, NULL);
        OK(!t.failure && !t.overload, "nothing stands there, nothing is installed");
        node_trees_close(&t);
        NEED(dog_file_replace(file_of("nodes.db.node.model"), bytes, size, &e) == 0, "%s", e.text);
        node_trees_open(&t, file_of("nodes.db"), note, NULL);
        OK(t.failure && t.trees.failure == t.failure->trees && !t.overload,
           "failures by it, overload as before");
        node_trees_close(&t);
        bytes[size / 2] ^= 1;
        told[0] = 0;
        NEED(dog_file_replace(file_of("nodes.db.node.model"), bytes, size, &e) == 0, "%s", e.text);
        node_trees_open(&t, file_of("nodes.db"), note, NULL);
        OK(!t.failure && strstr(told, "damaged"), "a flipped bit is told: %s", told);
        node_trees_close(&t);
        free(bytes);
}

/* ---- in the core ---- */

/* P8, P13, O3: the trees are heard in a group, weighed, and asked for their reasons; without, all is as
 * before. */
static void trees_are_a_voice_in_the_core(void)
{
        char good[160];
        struct dog_err e = {0};
        struct dog_path_trained *trained = NULL;
        snprintf(good, sizeof(good), "%s/background0.db.model", folder);
        NEED(trees_read(good, &trained, &e) == 0, "%s", e.text);
        struct dog_kind kind = twin_kind;
        kind.period_ns = DOG_S;
        kind.observe = NULL;
        kind.close = NULL;
        struct dog_loop *loop = dog_loop_new(&(struct dog_loop_options){.budget = {.copies_share = 1}});
        struct dog_group *g = dog_group_new("g", &kind, 2);
        NEED(loop && g, "memory");
        g->promise.rtt_ms = 100;
        NEED(dog_loop_add(loop, g, -DOG_S, &e) == 0, "%s", e.text);
        NEED(dog_group_trees(g, dog_path_trained_model(trained)) == 0, "memory");
        struct dog_rng rng;
        dog_rng_init(&rng, 4);
        int breach = 0;
        float with_omen = 0;
        float without = 0;
        int omens = 0;
        int calm = 0;
        for (int64_t k = 0; k < 3000; k++) {
                for (unsigned m = 0; m < 2; m++) {
                        struct dog_sample s = dog_sample_at(k * DOG_S);
                        double ms = 30 + 3 * dog_rng_unit(&rng);
                        if (m == 0 && breach > 0 && --breach < 2)
                                ms = 200;
                        else if (m == 0 && breach == 0 && dog_rng_below(&rng, 40) == 0) {
                                ms = 56;
                                breach = 4;
                        } else if (m == 0 && breach == 0 && dog_rng_below(&rng, 20) == 0)
                                ms = 68;
                        s.value[DOG_SIGNAL_RTT] = ms;
                        s.value[DOG_SIGNAL_LOSS] = 0;
                        dog_group_sample(g, m, &s);
                }
                dog_loop_step(loop, k * DOG_S);
                if (k < 1000 || breach < 3)
                        continue;
                with_omen += g->member[0].belief.p_breach[1];
                omens++;
                without += g->member[1].belief.p_breach[1];
                calm++;
        }
        OK(omens > 10 && with_omen / (float)omens > 0.5F, "an omen is understood: %.2f",
           (double)with_omen / omens);
        OK(without / (float)calm < 0.2F, "and calm is calm: %.2f", (double)without / calm);
        OK(g->steers_by_next && g->member[0].belief.p_next >= 0 && g->member[0].belief.p_next <= 1,
           "and steer by the next sample");
        struct dog_outlook_reasons r;
        dog_group_explain(g, 0, 1, 3000 * DOG_S, &r);
        OK(r.speaker == DOG_EXPERT_TREES && r.voice[DOG_EXPERT_TREES].weight > 0.5F, "the trees speak: %.2f",
           (double)r.voice[DOG_EXPERT_TREES].weight);
        OK(fabsf(r.driver[0].log_odds) > 0.05F && fabsf(r.driver[0].log_odds) >= fabsf(r.driver[1].log_odds),
           "with reasons, the largest first: %s %+.2f", dog_risk_group_name(r.driver[0].feature),
           (double)r.driver[0].log_odds);
        /* A rate for the first time, and reasons asked before the next step: there are no trees for it. */
        struct dog_path_model two = *dog_path_trained_model(trained);
        two.expert[DOG_PATH_RATE] = two.expert[DOG_PATH_PING];
        memset(two.expert[DOG_PATH_RATE].target, -1, sizeof(two.expert[DOG_PATH_RATE].target));
        g->insight.risk.model = &two; /* with the record of the others */
        for (int64_t k = 3001; k < 3003; k++) {
                struct dog_sample s = dog_sample_at(k * DOG_S);
                s.value[DOG_SIGNAL_RTT] = 30;
                if (k == 3002)
                        s.value[DOG_SIGNAL_RATE] = 1000;
                dog_group_sample(g, 0, &s);
                if (k == 3001)
                        dog_loop_step(loop, k * DOG_S);
        }
        dog_group_explain(g, 0, 1, 3002 * DOG_S, &r);
        OK(r.speaker == DOG_EXPERT_TREES && r.driver[0].log_odds == 0,
           "what they cannot tell has no reasons");
        NEED(dog_group_trees(g, NULL) == 0, "never fails");
        dog_loop_step(loop, 3003 * DOG_S);
        dog_group_explain(g, 0, 1, 3003 * DOG_S, &r);
        OK(r.speaker == DOG_EXPERT_LOGISTIC && isnan(r.voice[DOG_EXPERT_TREES].p),
           "without them the logistic speaks");
        OK(!g->steers_by_next && isnan(g->member[0].belief.p_next), "and the near horizon steers");
        dog_loop_free(loop);
        dog_path_trained_free(trained);
}

int main(void)
{
        snprintf(folder, sizeof(folder), "/tmp/test_trees_XXXXXX");
        if (!mkdtemp(folder))
                return 1;
        int rc = CHECK_RUN(
                TEST(telemetry_is_cut_into_traces_and_judged),
                TEST(each_path_keeps_the_pace_at_which_it_was_probed),
                TEST(the_better_one_serves_and_the_worse_one_does_not),
                TEST(training_serves_only_what_is_better_on_the_newest), TEST(too_little_telemetry_is_said),
                TEST(a_file_that_is_not_fit_is_refused_with_one_sentence),
                TEST(trees_of_nodes_beside_the_store_are_served), TEST(trees_are_a_voice_in_the_core));
        char command[96];
        snprintf(command, sizeof(command), "rm -rf %s", folder);
        return system(command) == 0 ? rc : 1;
}
