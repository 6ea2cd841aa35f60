/*
 * What the daemon recorded, read back and decided again. F2: history is kept and used. O3, P7: the forecast
 * is made of live state and history alike, so from the same telemetry replay must say what was said live.
 */
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "ctl/replay.h"
#include "daemon/decision.h"
#include "kinds/twin/twin.h"
#include "models/radio_features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WALL_NS (INT64_C(1700000000) * DOG_S)

static void add(struct dog_store *store, const char *name, int64_t t_ns, double value)
{
        dog_store_sample(store, dog_store_series(store, name), WALL_NS + t_ns, value);
}

/* Two minutes of three servers: the second fills its processor and is slow from 60 to 80 s. */
static void record(struct dog_store *store)
{
        static const char *const server[] = {"a", "b", "c"};
        char name[64];
        for (int64_t t = 0; t < 120 * DOG_S; t += 250 * DOG_MS) {
                bool is_slow = t >= 60 * DOG_S && t < 80 * DOG_S;
                for (int i = 0; i < 3; i++) {
                        snprintf(name, sizeof(name), "instance/%s/rtt_ms", server[i]);
                        add(store, name, t, i == 1 && is_slow ? 250 : 4);
                        snprintf(name, sizeof(name), "instance/%s/cpu", server[i]);
                        add(store, name, t, i == 1 && is_slow ? .97 : .3);
                }
                add(store, "path/home/fiber/rtt_ms", t, 10);
                add(store, "path/home/lte/rtt_ms", t, 40);
                add(store, "path/home/lte/colour", t, 40);
        }
}

static struct replay_trace *trace_named(struct replay_trace *t, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(t[i].name, name) == 0)
                        return &t[i];
        return NULL;
}

static void store_remove(const char *file)
{
        static const char *const end[] = {"", "-wal", "-shm"};
        for (size_t i = 0; i < 3; i++) {
                char name[64];
                snprintf(name, sizeof(name), "%s%s", file, end[i]);
                unlink(name);
        }
}

/* I1 I8: the instances of a store are one spread group, with the load that they told. */
static void instances_of_a_store_are_replayed_as_a_spread_group(void)
{
        char file[] = "/tmp/sundog-replay-XXXXXX";
        int fd = mkstemp(file);
        NEED(fd >= 0, "a file");
        close(fd);
        unlink(file);
        struct dog_err e = {0};
        struct dog_store *store = NULL;
        NEED(dog_store_open(&(struct dog_store_options){.path = file}, &store, &e) == 0, "%s", e.text);
        record(store);
        struct replay_trace trace[4];
        size_t traces = 0;
        NEED(replay_store_load(store, WALL_NS, WALL_NS + 120 * DOG_S, trace, 4, &traces, &e) == 0, "%s",
             e.text);
        OK(traces == 2, "a tunnel and the instances: %zu", traces);
        struct replay_trace *tunnel = trace_named(trace, traces, "home");
        struct replay_trace *web = trace_named(trace, traces, "all instances");
        NEED(tunnel && web, "by name");
        OK(!tunnel->is_spread && tunnel->paths == 2, "the tunnel is not spread");
        OK(web->is_spread && web->paths == 3, "the instances are: %u", web->paths);
        size_t at = (size_t)(70 * 4) * web->paths + 1;
        OK(fabs(web->sample[at].value[DOG_SIGNAL_CPU] - .97) < 1e-9 &&
                   fabs(web->sample[at].value[DOG_SIGNAL_RTT] - 250) < 1e-9,
           "with their load");

        struct replay_options o = replay_options_default();
        o.promise.rtt_factor = 0;
        struct replay_result result = {0};
        NEED(replay_run(web, &o, &result, &e) == 0, "%s", e.text);
        double even_s = result.score[REPLAY_ANY].bad_s;
        double spread_s = result.score[REPLAY_SUNDOG].bad_s;
        printf("# even shares: %.1f s bad, spread by health: %.1f s\n", even_s, spread_s);
        OK(even_s > 6 && even_s < 7, "a third of twenty seconds: %.2f", even_s);
        OK(spread_s < 1, "only until it is seen: %.2f", spread_s);
        OK(result.grade[DOG_GRADE_HELPED] > 0, "and it says that it helped");
        for (size_t i = 0; i < traces; i++)
                replay_trace_free(&trace[i]);
        dog_store_close(store);
        store_remove(file);
}

/* ---- the same as live ---- */

enum { LIVE_SLOTS = 4800 };

/* A loop that hears samples as the daemon's does, and what is kept of them. */
struct live {
        struct dog_store *store;
        struct dog_group *g;
        struct dog_radio_past past;
        json_t *decisions;
};

static void live_told(void *user, const struct dog_ledger_row *row, bool is_graded)
{
        struct live *l = user;
        if (!is_graded)
                return;
        json_t *d = decision_json(row, l->g);
        json_object_set_new(d, "trace", json_string("home"));
        json_object_set_new(d, "at_ms", json_integer(row->plan.at_ns / DOG_MS));
        json_array_append_new(l->decisions, d);
}

/* A modem tells once a second; its level falls for three seconds before each loss of its path. */
static void live_radio(struct live *l, int64_t t_ns, int until_bad, struct dog_rng *rng)
{
        struct dog_radio r = dog_radio_unknown();
        int64_t moved_ns = l->past.newest.handover_ns;
        r.at_ns = t_ns;
        r.rsrp_dbm = (float)(-90 - (until_bad < 12 ? 2.5 * (12 - until_bad) : 0) - dog_rng_unit(rng));
        r.sinr_db = (float)(12 - dog_rng_unit(rng));
        r.technology = dog_rng_below(rng, 50) == 0 ? DOG_RADIO_NR : DOG_RADIO_LTE;
        r.has_outage = dog_rng_below(rng, 3) > 0;
        r.is_outage = r.has_outage && until_bad == 0;
        r.cell = 7 + dog_rng_below(rng, 40) / 39;
        dog_radio_past_take(&l->past, &r);
        int64_t since_ns = l->past.newest.handover_ns > moved_ns ? l->past.newest.handover_ns : 0;
        for (int i = 0; i < DOG_RADIO_SERIES; i++) {
                char name[64];
                double value = dog_radio_series_value(&r, (enum dog_radio_series)i, since_ns);
                snprintf(name, sizeof(name), "path/home/modem/%s",
                         dog_radio_series_word((enum dog_radio_series)i));
                if (!isnan(value))
                        add(l->store, name, t_ns, value);
        }
}

static void live_sample(struct live *l, unsigned path, int64_t t_ns, double rtt_ms)
{
        static const char *const name[] = {"path/home/cable/rtt_ms", "path/home/modem/rtt_ms"};
        struct dog_sample s = dog_sample_at(t_ns);
        float in[DOG_RADIO_INPUTS];
        s.value[DOG_SIGNAL_RTT] = rtt_ms;
        if (path == 1 && l->past.has_any)
                dog_group_radio(l->g, path, dog_radio_inputs(&l->past, t_ns, in) ? in : NULL, t_ns);
        dog_group_sample(l->g, path, &s);
        add(l->store, name[path], t_ns, rtt_ms);
}

/* Twenty minutes: the modem carries and is probed four times a second, the cable stands by at one. */
static void live_play(struct live *l, const struct replay_options *o, struct dog_err *e)
{
        struct dog_kind kind = twin_kind;
        struct dog_rng rng;
        struct dog_loop *loop = dog_loop_new(&(struct dog_loop_options){.budget = {.copies_share = 1}});
        kind.period_ns = 250 * DOG_MS;
        kind.close = NULL;
        kind.observe = NULL;
        l->g = dog_group_new("home", &kind, 2);
        NEED(loop && l->g, "memory");
        l->g->promise = o->promise;
        l->g->policy = o->policy;
        snprintf(l->g->member[0].name, sizeof(l->g->member[0].name), "cable");
        snprintf(l->g->member[1].name, sizeof(l->g->member[1].name), "modem");
        for (int p = 0; p < 2; p++)
                l->g->member[p].patience_ns = 2 * DOG_S;
        NEED(dog_loop_add(loop, l->g, -250 * DOG_MS, e) == 0, "%s", e->text);
        dog_ledger_listen(dog_loop_ledger(loop), live_told, l);
        dog_radio_past_init(&l->past, 5 * DOG_S);
        dog_rng_init(&rng, 11);
        int until_bad = 60;
        for (int k = 0; k < LIVE_SLOTS; k++) {
                int64_t t_ns = k * 250 * DOG_MS;
                if (until_bad > 0)
                        until_bad--;
                else if (dog_rng_below(&rng, 4) == 0)
                        until_bad = 40 + (int)dog_rng_below(&rng, 40);
                /* Now and then it says nothing for longer than is believed. */
                if (k > 0 && k % 4 == 0 && k % 1000 > 60)
                        live_radio(l, t_ns, until_bad, &rng);
                if (k % 4 == 2)
                        live_sample(l, 0, t_ns, 45 + dog_rng_unit(&rng) + (k % 700 > 680 ? 100 : 0));
                live_sample(l, 1, t_ns, until_bad == 0 ? 300 : 20 + dog_rng_unit(&rng));
                dog_loop_step(loop, t_ns);
        }
        dog_loop_free(loop);
}

static json_t *replayed(const struct replay_trace *t, const struct replay_options *o, struct dog_err *e)
{
        struct replay_result result = {0};
        NEED(replay_run(t, o, &result, e) == 0, "%s", e->text);
        return result.decisions;
}

/* F2 O3 P7: with what radios told, and with each path at its own pace. */
static void what_was_decided_live_is_decided_again_from_the_store(void)
{
        char file[] = "/tmp/sundog-replay-XXXXXX";
        struct dog_err e = {0};
        struct live l = {.decisions = json_array()};
        struct replay_options o = replay_options_default();
        struct replay_trace trace[2];
        size_t traces = 0;
        int fd = mkstemp(file);
        NEED(fd >= 0, "a file");
        close(fd);
        unlink(file);
        o.has_decisions = true;
        NEED(dog_store_open(&(struct dog_store_options){.path = file}, &l.store, &e) == 0, "%s", e.text);
        live_play(&l, &o, &e);
        NEED(replay_store_load(l.store, WALL_NS, WALL_NS + (LIVE_SLOTS - 1) * 250 * DOG_MS, trace, 2, &traces,
                               &e) == 0 &&
                     traces == 1,
             "%s", e.text);
        OK(trace[0].radio[1].count > 1000 && trace[0].radio[0].count == 0, "the modem told %zu times",
           trace[0].radio[1].count);
        json_t *again = replayed(&trace[0], &o, &e);
        size_t live = json_array_size(l.decisions);
        OK(live > 20 && json_array_size(again) == live, "as many decisions: %zu and %zu", live,
           json_array_size(again));
        size_t same = 0;
        for (size_t i = 0; i < live; i++)
                same += json_equal(json_array_get(again, i), json_array_get(l.decisions, i)) ? 1 : 0;
        OK(same == live, "the same, to the last digit of every chance: %zu of %zu", same, live);
        json_decref(again);
        /* And it is the radio that tells: without it, it is otherwise. */
        trace[0].radio[1].count = 0;
        again = replayed(&trace[0], &o, &e);
        OK(!json_equal(again, l.decisions), "without the radio it is another story: %zu decisions",
           json_array_size(again));
        json_decref(again);
        json_decref(l.decisions);
        replay_trace_free(&trace[0]);
        dog_store_close(l.store);
        store_remove(file);
}

/* O3: seeing less of who carries nothing changes what is decided, not what is judged. */
static void idle_paths_can_be_seen_as_rarely_as_live(void)
{
        enum { SLOTS = 600, PATHS = 2 };
        static struct dog_sample sample[SLOTS * PATHS];
        static bool is_there[SLOTS * PATHS];
        struct replay_trace t = {.name = "made",
                                 .paths = PATHS,
                                 .path = {"a", "b"},
                                 .step_ns = 200 * DOG_MS,
                                 .slots = SLOTS,
                                 .sample = sample,
                                 .is_there = is_there};
        for (int k = 0; k < SLOTS; k++)
                for (int p = 0; p < PATHS; p++) {
                        sample[k * PATHS + p] = dog_sample_at(k * t.step_ns);
                        /* The one is slow for ten seconds of each forty, the other twenty seconds later. */
                        bool is_slow = (k + 100 * p) % 200 < 50;
                        sample[k * PATHS + p].value[DOG_SIGNAL_RTT] = is_slow ? 300 : 30;
                        is_there[k * PATHS + p] = true;
                }
        struct replay_options o = replay_options_default();
        o.promise.rtt_factor = 0;
        struct dog_err e = {0};
        double any_s[3];
        double sundog_s[3];
        const unsigned pace[] = {1, 4, 25};
        for (int i = 0; i < 3; i++) {
                struct replay_result r = {0};
                o.pace = pace[i];
                NEED(replay_run(&t, &o, &r, &e) == 0, "%s", e.text);
                any_s[i] = r.score[REPLAY_ANY].bad_s;
                sundog_s[i] = r.score[REPLAY_SUNDOG].bad_s;
                OK(r.unjudged_s < 1 && r.score[REPLAY_SUNDOG].served_s > 100, "pace %u: all is judged",
                   pace[i]);
        }
        OK(NEAR(any_s[0], any_s[1], 1e-9) && NEAR(any_s[0], any_s[2], 1e-9) && any_s[0] > 29,
           "what broke is what was recorded: %.1f s", any_s[0]);
        OK(sundog_s[0] < 5 && sundog_s[1] < 5, "left in time: %.1f, %.1f s", sundog_s[0], sundog_s[1]);
        OK(sundog_s[2] >= sundog_s[0], "seeing less is no better: %.1f s", sundog_s[2]);
}

int main(void)
{
        return CHECK_RUN(TEST(instances_of_a_store_are_replayed_as_a_spread_group),
                         TEST(what_was_decided_live_is_decided_again_from_the_store),
                         TEST(idle_paths_can_be_seen_as_rarely_as_live));
}
