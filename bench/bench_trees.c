/**
 * learn.*: training of boosted trees on a made table of the size of the path recordings, 273,000 rows of 150
 * features, 300 trees of depth 4 with rows .7 and columns .3, on one thread, in processor time.
 * forecast.trees_us, forecast.reasons_us: one target asked of 300 such trees, and its reasons; 64 different
 * rows, one after the other, as the paths of a group are asked.
 *
 * ROWS and THREADS of the environment ask for others; with more threads the time is the clock's.
 */
#include "base/clock.h"
#include "base/rng.h"
#include "figure.h"
#include "learn/gbt_train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FEATURES = 150, BLOCK = 5000, ASKED = 64, ROUNDS = 5 };

static unsigned long bench_env(const char *name, unsigned long preset)
{
        const char *text = getenv(name);
        return text ? strtoul(text, NULL, 10) : preset;
}

static int64_t bench_now(unsigned threads)
{
        return threads > 1 ? dog_clock_mono_ns() : dog_clock_cpu_ns();
}

/* Ten features matter, a hundred and forty do not; one value in twenty is missing; one outcome in twenty is
 * bad. */
static struct dog_table *bench_table(size_t rows, struct dog_err *e)
{
        static char name[FEATURES][8];
        const char *feature[FEATURES];
        const char *const target[] = {"bad"};
        struct dog_table *t;
        struct dog_rng rng;
        for (int f = 0; f < FEATURES; f++) {
                snprintf(name[f], sizeof(name[f]), "f%d", f);
                feature[f] = name[f];
        }
        if (dog_table_new(&t, "made", feature, FEATURES, target, 1, e) < 0)
                return NULL;
        dog_rng_init(&rng, 1);
        for (size_t i = 0; i < rows; i++) {
                float x[FEATURES];
                double z = -3.5;
                for (int f = 0; f < FEATURES; f++) {
                        x[f] = dog_rng_below(&rng, 20) ? (float)dog_rng_normal(&rng) : NAN;
                        if (f < 10 && x[f] == x[f])
                                z += 0.5 * (double)x[f];
                }
                const int8_t label = dog_rng_unit(&rng) < 1 / (1 + exp(-z));
                const struct dog_table_row row = {
                        .x = x, .label = &label, .weight = 1, .block = (uint32_t)(i / BLOCK)};
                if (dog_table_add(t, &row, e) < 0) {
                        dog_table_free(t);
                        return NULL;
                }
        }
        return t;
}

static struct dog_gbt *bench_train(const struct dog_table *t, unsigned threads, struct dog_err *e)
{
        struct dog_gbt_params p = dog_gbt_params_default();
        struct dog_gbt_bins *b;
        struct dog_gbt *m = NULL;
        p.threads = threads;
        int64_t start_ns = bench_now(threads);
        if (dog_gbt_bins_new(&b, t, NULL, threads, e) < 0)
                return NULL;
        double bins_s = (double)(bench_now(threads) - start_ns) * 1e-9;
        start_ns = bench_now(threads);
        int rc = dog_gbt_train(&m, b, &p, false, NULL, NULL, e);
        double train_s = (double)(bench_now(threads) - start_ns) * 1e-9;
        dog_gbt_bins_free(b);
        if (rc < 0)
                return NULL;
        figure_print("learn.bins_s", "s", &bins_s, 1);
        figure_print("learn.trees_s", "s", &train_s, 1);
        return m;
}

static void bench_ask(const struct dog_gbt *m, const struct dog_table *t)
{
        double ask_us[ROUNDS];
        double why_us[ROUNDS];
        double sink = 0;
        int64_t limit_ns = (int64_t)(figure_seconds(0.5) * 1e9);
        for (int round = -1; round < ROUNDS; round++) { /* the first one only warms up */
                float part[FEATURES];
                int64_t asked = 0;
                int64_t ask_ns = 0;
                int64_t why_ns = 0;
                do {
                        int64_t at_ns = dog_clock_cpu_ns();
                        for (size_t i = 0; i < ASKED; i++)
                                sink += (double)dog_gbt_log_odds(m, 0, dog_table_x(t, i));
                        int64_t then_ns = dog_clock_cpu_ns();
                        for (size_t i = 0; i < ASKED; i++)
                                sink += (double)dog_gbt_contributions(m, 0, dog_table_x(t, i), part);
                        why_ns += dog_clock_cpu_ns() - then_ns;
                        ask_ns += then_ns - at_ns;
                        asked += ASKED;
                } while (ask_ns < limit_ns);
                if (round < 0)
                        continue;
                ask_us[round] = (double)ask_ns * 1e-3 / (double)asked;
                why_us[round] = (double)why_ns * 1e-3 / (double)asked;
        }
        figure_print("forecast.trees_us", "us", ask_us, ROUNDS);
        figure_print("forecast.reasons_us", "us", why_us, ROUNDS);
        fprintf(stderr, "%u trees of depth %u, %zu bytes as a file; check %g\n", m->ensemble[0].trees,
                m->ensemble[0].depth, dog_gbt_size(m), sink);
}

int main(void)
{
        struct dog_err e = {0};
        size_t rows = bench_env("ROWS", 273000);
        unsigned threads = (unsigned)bench_env("THREADS", 1);
        struct dog_table *t = rows >= ASKED ? bench_table(rows, &e) : NULL;
        struct dog_gbt *m = t ? bench_train(t, threads, &e) : NULL;
        if (m)
                bench_ask(m, t);
        else
                figure_null("learn.trees_s", "s", t || rows >= ASKED ? e.text : "too few rows");
        dog_gbt_free(m);
        dog_table_free(t);
        return !m;
}
