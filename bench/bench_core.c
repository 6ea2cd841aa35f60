/**
 * core.step_us and core.members_per_core: the whole loop on simulated members, one core.
 *
 * Each group has four members that sample once a step: round trips with noise, a creeping
 * member now and then, losses. The clock is invented; what is measured is the thread's CPU
 * time of feeding the samples and stepping the loop.
 */
#include "base/clock.h"
#include "base/rng.h"
#include "figure.h"
#include "core/loop.h"
#include "daemon/trees.h"
#include "learn/path_train.h"
#include "kinds/twin/twin.h"

#include <stdio.h>
#include <stdlib.h>

enum { PER_GROUP = 4, ROUNDS = 5 };

/* NULL: the online logistic alone. */
static const struct dog_path_model *trees;

static struct dog_loop *world_new(size_t members, bool is_spread)
{
        struct dog_loop *l = dog_loop_new(&(struct dog_loop_options){
                .budget = {.moves_per_step = 100, .copies_share = 1}, .stage_clock = dog_clock_cpu_ns});
        static struct dog_kind second;
        second = twin_kind;
        second.period_ns = DOG_S;
        second.observe = NULL; /* samples are handed in */
        second.close = NULL;
        for (size_t i = 0; l && i < members / PER_GROUP; i++) {
                char name[DOG_NAME_MAX];
                snprintf(name, sizeof(name), "g%zu", i);
                struct dog_group *g = dog_group_new(name, &second, PER_GROUP);
                if (!g) {
                        dog_loop_free(l);
                        return NULL;
                }
                g->promise.rtt_ms = 100;
                g->policy.spread = is_spread;
                if (dog_loop_add(l, g, 0, NULL) < 0) {
                        dog_group_free(g);
                        dog_loop_free(l);
                        return NULL;
                }
                if (trees && dog_group_trees(g, trees) < 0) {
                        dog_loop_free(l);
                        return NULL;
                }
        }
        return l;
}

/* One second of everybody's life; returns the CPU time it took, in nanoseconds. */
static int64_t world_second(struct dog_loop *l, struct dog_rng *r, int64_t now_ns, bool has_load)
{
        int64_t spent_ns = 0;
        for (size_t i = 0; i < dog_loop_groups(l); i++) {
                struct dog_group *g = dog_loop_group(l, i);
                struct dog_sample s[PER_GROUP];
                for (unsigned m = 0; m < PER_GROUP; m++) {
                        s[m] = dog_sample_at(now_ns);
                        bool is_lost = dog_rng_below(r, 50) == 0;
                        bool is_creeping = (now_ns / DOG_S + (int64_t)i * 7 + m * 13) % 60 < 6;
                        s[m].value[DOG_SIGNAL_LOSS] = is_lost;
                        if (has_load)
                                s[m].value[DOG_SIGNAL_CPU] = (is_creeping ? .9 : .4) + .1 * dog_rng_unit(r);
                        if (!is_lost)
                                s[m].value[DOG_SIGNAL_RTT] =
                                        40 + (is_creeping ? 70 : 0) + 8 * dog_rng_unit(r);
                }
                int64_t from_ns = dog_clock_cpu_ns();
                for (unsigned m = 0; m < PER_GROUP; m++)
                        dog_group_sample(g, m, &s[m]);
                spent_ns += dog_clock_cpu_ns() - from_ns;
        }
        int64_t from_ns = dog_clock_cpu_ns();
        dog_loop_step(l, now_ns);
        return spent_ns + dog_clock_cpu_ns() - from_ns;
}

/* Resident memory of this process, in MB. */
static double resident_mb(void)
{
        long pages = 0;
        FILE *f = fopen("/proc/self/statm", "r");
        if (!f)
                return 0;
        if (fscanf(f, "%*d %ld", &pages) != 1)
                pages = 0;
        fclose(f);
        return (double)pages * 4096 / 1e6;
}

/* The same members as servers that tell their load, each four behind an address. */
static void spread_measure(void)
{
        enum { MEMBERS = 10000 };
        struct dog_rng r;
        dog_rng_init(&r, 1);
        struct dog_loop *l = world_new(MEMBERS, true);
        double us[ROUNDS];
        int64_t now_ns = DOG_S;
        for (int i = 0; l && i < 40 + ROUNDS; i++, now_ns += DOG_S) {
                double spent_us = (double)world_second(l, &r, now_ns, true) / 1e3 / MEMBERS;
                if (i >= 40)
                        us[i - 40] = spent_us;
        }
        if (l)
                fprintf(stderr, "spread, with load: %.2f us/step\n", figure_median(us, ROUNDS));
        dog_loop_free(l);
}

/* With the trees of a model file: asked once a sample, at three horizons. */
static void trees_measure(const char *file)
{
        enum { MEMBERS = 1000 };
        struct dog_path_trained *trained = NULL;
        struct dog_err e = {0};
        struct dog_rng r;
        dog_rng_init(&r, 1);
        if (trees_read(file, &trained, &e) < 0) {
                figure_null("core.step_trees_us", "us", e.text);
                return;
        }
        trees = dog_path_trained_model(trained);
        struct dog_loop *l = world_new(MEMBERS, false);
        double us[ROUNDS];
        int64_t now_ns = DOG_S;
        for (int i = 0; l && i < 40 + ROUNDS; i++, now_ns += DOG_S) {
                double spent_us = (double)world_second(l, &r, now_ns, false) / 1e3 / MEMBERS;
                if (i >= 40)
                        us[i - 40] = spent_us;
        }
        if (l)
                figure_print("core.step_trees_us", "us", us, ROUNDS);
        else
                figure_null("core.step_trees_us", "us", "out of memory");
        dog_loop_free(l);
        trees = NULL;
        dog_path_trained_free(trained);
}

int main(int argc, char **argv)
{
        static const size_t sizes[] = {10000, 100000, 1000000};
        fprintf(stderr, "%10s %12s %14s %12s\n", "members", "us/step", "members/core", "MB");
        double held[1] = {0};
        for (int k = 0; k < 3; k++) {
                struct dog_rng r;
                dog_rng_init(&r, 1);
                struct dog_loop *l = world_new(sizes[k], false);
                if (!l) {
                        figure_null(k == 0 ? "core.step_us" : "core.members_per_core",
                                    k == 0 ? "us" : "members", "out of memory");
                        continue;
                }
                int rounds = k == 2 ? 3 : ROUNDS;
                double us[ROUNDS];
                int64_t now_ns = DOG_S;
                for (int i = 0; i < (k == 2 ? 2 : 40); i++, now_ns += DOG_S)
                        world_second(l, &r, now_ns, false);
                for (int i = 0; i < rounds; i++, now_ns += DOG_S)
                        us[i] = (double)world_second(l, &r, now_ns, false) / 1e3 / (double)sizes[k];
                double median_us = figure_median(us, (size_t)rounds);
                fprintf(stderr, "%10zu %12.2f %14.0f %12.0f\n", sizes[k], median_us, 1e6 / median_us,
                        resident_mb());
                if (k == 0) {
                        figure_print("core.step_us", "us", us, (size_t)rounds);
                        for (int st = 0; st < DOG_STAGE_COUNT; st++)
                                fprintf(stderr, "%22s %8.3f us\n", dog_stage_name((enum dog_stage)st),
                                        (double)dog_loop_stage_ns(l, (enum dog_stage)st) / 1e3 /
                                                (double)sizes[k] / (40 + rounds));
                }
                /* Held at one step a second: as many as the slowest round had time for, if they were there.
                 */
                double slowest_us = us[rounds - 1];
                if (1e6 / slowest_us >= (double)sizes[k])
                        held[0] = (double)sizes[k];
                else if (k > 0 && 1e6 / slowest_us > held[0])
                        held[0] = 1e6 / slowest_us;
                dog_loop_free(l);
        }
        figure_print("core.members_per_core", "members", held, 1);
        spread_measure();
        char installed[4200];
        trees_installed("path.model", installed, sizeof(installed));
        if (argc > 1 || installed[0])
                trees_measure(argc > 1 ? argv[1] : installed);
        else
                figure_null("core.step_trees_us", "us", "no model file: name one");
        return 0;
}
