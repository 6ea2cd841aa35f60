/* What the daemon recorded, read back and decided again. */
#include "base/clock.h"
#include "check.h"
#include "ctl/replay.h"

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
        char side[sizeof(file) + 8];
        unlink(file);
        snprintf(side, sizeof(side), "%s-wal", file);
        unlink(side);
        snprintf(side, sizeof(side), "%s-shm", file);
        unlink(side);
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
                         TEST(idle_paths_can_be_seen_as_rarely_as_live));
}
