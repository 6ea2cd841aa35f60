/* P7: ARIMA and ETS forecast a path from its history. F4: time-series analysis and anomaly detection. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "models/anomaly.h"
#include "models/arima.h"
#include "models/changepoint.h"
#include "models/ets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONG = 300 };

/* Simulates ARIMA(2,d,2) with normal errors of deviation 1 about `mean`. */
static void simulate(float *to, int count, const double ar[2], const double ma[2], int d, double mean,
                     uint64_t seed)
{
        struct dog_rng rng;
        double x[2] = {0};
        double e[3] = {0};
        double sum = 0;
        dog_rng_init(&rng, seed);
        for (int i = -200; i < count; i++) {
                e[0] = dog_rng_normal(&rng);
                double next = ar[0] * x[0] + ar[1] * x[1] + e[0] + ma[0] * e[1] + ma[1] * e[2];
                x[1] = x[0];
                x[0] = next;
                e[2] = e[1];
                e[1] = e[0];
                if (i >= 0) {
                        sum += next;
                        to[i] = (float)(mean + (d ? sum : next));
                }
        }
}

/* P7 */
static void arima_finds_what_was_simulated(void)
{
        static const struct {
                const char *say;
                double ar[2], ma[2];
                int d;
        } row[] = {{"AR(1)", {0.7, 0}, {0, 0}, 0},         {"AR(2)", {0.6, -0.5}, {0, 0}, 0},
                   {"MA(1)", {0, 0}, {0.6, 0}, 0},         {"ARMA(1,1)", {0.7, 0}, {0.4, 0}, 0},
                   {"ARIMA(0,1,1)", {0, 0}, {-0.6, 0}, 1}, {"random walk", {0, 0}, {0, 0}, 1}};
        for (size_t r = 0; r < ARRAY_SIZE(row); r++) {
                double extra = 0;
                int right_d = 0;
                enum { TRIALS = 20 };
                for (uint64_t seed = 1; seed <= TRIALS; seed++) {
                        float x[LONG + 1];
                        struct dog_arima m;
                        float said;
                        simulate(x, LONG + 1, row[r].ar, row[r].ma, row[r].d, 50, seed);
                        OK(dog_arima_fit(&m, x, LONG) == LONG, "%s: all values are used", row[r].say);
                        right_d += m.d == row[r].d;
                        dog_arima_forecast(&m, 1, &said);
                        extra += (double)m.variance / TRIALS;
                        OK(isfinite(said), "%s: a number", row[r].say);
                }
                OK(right_d >= TRIALS * 3 / 4, "%s: d is right %d times of %d", row[r].say, right_d,
                   (int)TRIALS);
                OK(extra > 0.85 && extra < 1.15, "%s: errors of variance 1, found %g", row[r].say, extra);
        }
}

static void arima_coefficients_are_near_the_truth(void)
{
        static const double ar[2] = {0.7, 0};
        static const double ma[2] = {0.5, 0};
        float x[LONG];
        struct dog_arima m;
        double phi = 0;
        double theta = 0;
        int found = 0;
        for (uint64_t seed = 1; seed <= 40; seed++) {
                simulate(x, LONG, ar, ma, 0, 10, seed);
                dog_arima_fit(&m, x, LONG);
                if (m.p != 1 || m.q != 1 || m.d != 0)
                        continue;
                phi += (double)m.ar[0];
                theta += (double)m.ma[0];
                found++;
        }
        OK(found >= 15, "the orders (1,0,1) are found %d times of 40", found);
        NEED(found > 0, "coefficients to look at");
        OK(NEAR(phi / found, 0.7, 0.06) && NEAR(theta / found, 0.5, 0.06), "0.7 and 0.5, found %g and %g",
           phi / found, theta / found);
}

/* Moving on value by value ends where a fit with the same coefficients would stand. */
static void arima_moves_on_without_a_fit(void)
{
        static const double ar[2] = {0.6, 0.2};
        static const double ma[2] = {0, 0};
        float x[LONG];
        float path[30];
        struct dog_arima m;
        simulate(x, LONG, ar, ma, 0, 0, 3);
        dog_arima_fit(&m, x, 200);
        for (int i = 200; i < LONG; i++) {
                float said;
                dog_arima_forecast(&m, 1, &said);
                float want = m.mean;
                for (int k = 0; k < m.p; k++)
                        want += m.ar[k] * (x[i - 1 - k] - m.mean);
                OK(m.q > 0 || NEAR((double)said, (double)want, 1e-3), "one step from the last values");
                dog_arima_update(&m, x[i]);
        }
        dog_arima_forecast(&m, 30, path);
        OK(fabsf(path[29] - m.mean) < 0.5F, "far ahead it comes to rest at the mean");
}

/* P7 */
static void ets_chooses_its_kind(void)
{
        struct dog_rng rng;
        float x[LONG];
        struct dog_ets m;
        dog_rng_init(&rng, 5);
        for (int i = 0; i < LONG; i++)
                x[i] = (float)(100 + 2.0 * i + dog_rng_normal(&rng));
        dog_ets_fit(&m, x, LONG);
        OK(m.kind == DOG_ETS_TREND, "a line wants a trend, got %d", m.kind);
        OK(NEAR((double)dog_ets_forecast(&m, 10), 100 + 2.0 * (LONG + 9), 3), "ten further on the line: %g",
           (double)dog_ets_forecast(&m, 10));
        for (int i = 0; i < LONG; i++)
                x[i] = (float)(40 + dog_rng_normal(&rng));
        dog_ets_fit(&m, x, LONG);
        OK(m.kind == DOG_ETS_LEVEL && m.alpha < 0.15F, "noise wants a slow level: kind %d, gain %g", m.kind,
           (double)m.alpha);
        float walk = 40;
        for (int i = 0; i < LONG; i++)
                x[i] = walk += (float)dog_rng_normal(&rng);
        dog_ets_fit(&m, x, LONG);
        OK(m.alpha > 0.7F, "a random walk wants the last value: gain %g", (double)m.alpha);
}

static void one_wild_value_moves_ets_little(void)
{
        struct dog_rng rng;
        float x[LONG];
        struct dog_ets m;
        dog_rng_init(&rng, 6);
        for (int i = 0; i < LONG; i++)
                x[i] = (float)(40 + dog_rng_normal(&rng));
        dog_ets_fit(&m, x, LONG);
        float before = m.level;
        dog_ets_update(&m, 4000);
        OK(fabsf(m.level - before) < 4, "from %g to %g", (double)before, (double)m.level);
}

/* Constant, few, huge, not measured: always a number, and soon. */
static void bad_days_of_the_fitted_models(void)
{
        float x[LONG];
        float path[40];
        struct dog_rng rng;
        struct dog_arima a;
        struct dog_ets e;
        dog_rng_init(&rng, 9);
        for (int kind = 0; kind < 9; kind++) {
                for (int count = 0; count <= LONG; count += count < 30 ? 1 : 45) {
                        for (int i = 0; i < count; i++) {
                                double noise = dog_rng_normal(&rng);
                                x[i] = kind == 0   ? 7
                                       : kind == 1 ? NAN
                                       : kind == 2 ? (float)noise * 1e12F
                                       : kind == 3 ? (i == 20 ? 1e14F : 5)
                                       : kind == 4 ? (i % 3 ? NAN : (float)noise)
                                       : kind == 5 ? (i % 2 ? 1e-20F : -1e-20F)
                                       : kind == 6 ? (float)i * 1e10F
                                       : kind == 7 ? (i % 2 ? INFINITY : 3)
                                                   : (float)exp(3 * noise);
                        }
                        dog_arima_fit(&a, x, count);
                        dog_ets_fit(&e, x, count);
                        for (int i = 0; i < 20; i++) {
                                float next = i == 7 ? NAN : i == 9 ? 1e14F : 3;
                                dog_arima_update(&a, next);
                                dog_ets_update(&e, next);
                        }
                        dog_arima_forget(&a);
                        dog_ets_forget(&e);
                        dog_arima_forecast(&a, 40, path);
                        bool is_finite = isfinite(dog_ets_forecast(&e, 30));
                        for (int i = 0; i < 40; i++)
                                is_finite = is_finite && isfinite(path[i]);
                        OK(is_finite, "kind %d, %d values: a number comes out", kind, count);
                }
        }
        for (int i = 0; i < LONG; i++)
                x[i] = 7;
        dog_arima_fit(&a, x, LONG);
        dog_ets_fit(&e, x, LONG);
        dog_arima_forecast(&a, 40, path);
        OK(path[39] == 7 && dog_ets_forecast(&e, 30) == 7, "a constant stays what it is");
}

static void a_fit_is_the_same_bits_and_knows_no_future(void)
{
        static const double ar[2] = {0.5, 0};
        static const double ma[2] = {0.3, 0};
        float x[LONG];
        struct dog_arima a[2];
        struct dog_ets e[2];
        memset(a, 0, sizeof(a));
        memset(e, 0, sizeof(e));
        simulate(x, LONG, ar, ma, 0, 20, 4);
        dog_arima_fit(&a[0], x, 150);
        dog_ets_fit(&e[0], x, 150);
        for (int i = 150; i < LONG; i++)
                x[i] = 1e9F;
        dog_arima_fit(&a[1], x, 150);
        dog_ets_fit(&e[1], x, 150);
        OK(memcmp(&a[0], &a[1], sizeof(a[0])) == 0 && memcmp(&e[0], &e[1], sizeof(e[0])) == 0,
           "what comes later changes nothing");
}

/* F4 */
static void a_new_level_is_told_once_and_in_numbers(void)
{
        struct dog_changepoint c;
        struct dog_level_change change = {0};
        struct dog_rng rng;
        int told = 0;
        dog_rng_init(&rng, 12);
        dog_changepoint_init(&c);
        for (int i = 0; i < 400; i++) {
                double value = (i < 200 ? 40 : 75) + 3 * dog_rng_normal(&rng);
                struct dog_level_change one;
                if (!dog_changepoint_learn(&c, value, i * DOG_S, &one))
                        continue;
                change = one;
                told++;
                OK(i <= 212, "soon: after %d values", i - 200);
        }
        OK(told == 1, "told %d times", told);
        OK(NEAR((double)change.from_level, 40, 2) && NEAR((double)change.to_level, 75, 4), "from %g to %g",
           (double)change.from_level, (double)change.to_level);
        OK(llabs((long long)(change.at_ns - 200 * DOG_S)) <= 2 * DOG_S, "since second %lld",
           (long long)(change.at_ns / DOG_S));
}

/* F4 */
static void spikes_and_noise_are_no_new_level(void)
{
        for (int kind = 0; kind < 4; kind++) {
                struct dog_changepoint c;
                struct dog_level_change one;
                struct dog_rng rng;
                int told = 0;
                dog_rng_init(&rng, 40 + (uint64_t)kind);
                dog_changepoint_init(&c);
                for (int i = 0; i < 5000; i++) {
                        double noise = dog_rng_normal(&rng);
                        double value = kind == 0   ? 40 + 3 * noise
                                       : kind == 1 ? 40 * exp(0.2 * noise)
                                       : kind == 2 ? 40 + noise + (i % 50 == 7 ? 300 : 0)
                                                   : 40;
                        told += dog_changepoint_learn(&c, value, i * DOG_S, &one);
                }
                OK(told <= 1, "kind %d: told %d times in 5,000 values", kind, told);
                OK(c.runs <= DOG_CHANGE_RUNS, "bounded");
        }
}

static void change_detection_stands_bad_days(void)
{
        struct dog_changepoint c;
        struct dog_changepoint before;
        struct dog_level_change one;
        struct dog_cusum s;
        static const double wild[] = {1e14, -1e14, 0, 1e-30, 5, 1e14, 5};
        dog_changepoint_init(&c);
        dog_cusum_init(&s);
        OK(!dog_changepoint_learn(&c, (double)NAN, DOG_S, &one) && c.count == 0, "NaN is not measured");
        OK(dog_changepoint_chance(&c, 5) <= 0, "nothing is known");
        dog_changepoint_learn(&c, 5, DOG_S, &one);
        before = c;
        dog_changepoint_learn(&c, 9, DOG_S, &one);
        dog_changepoint_learn(&c, 9, 0, &one);
        OK(memcmp(&before, &c, sizeof(c)) == 0, "time that does not advance is dropped");
        for (int i = 0; i < 700; i++) {
                dog_changepoint_learn(&c, wild[i % 7], (i + 2) * DOG_S, &one);
                dog_cusum_learn(&s, wild[i % 7]);
                float chance = dog_changepoint_chance(&c, 5);
                OK(chance >= 0 && chance <= 1, "a chance, at value %d: %g", i, (double)chance);
        }
        OK(dog_cusum_learn(&s, (double)NAN) == 0, "NaN is not measured");
}

/* F4: Page's chart tells the direction, within a few values, and seldom for nothing. */
static void cusum_tells_which_way(void)
{
        for (int way = -1; way <= 1; way++) {
                struct dog_cusum c;
                struct dog_rng rng;
                int first = 0;
                int false_ones = 0;
                int at = 0;
                dog_rng_init(&rng, 77);
                dog_cusum_init(&c);
                for (int i = 0; i < 1100; i++) {
                        int said = dog_cusum_learn(&c, 10 + (i >= 1000 ? 2 * way : 0) + dog_rng_normal(&rng));
                        false_ones += i < 1000 && said;
                        if (i >= 1000 && said && !first) {
                                first = said;
                                at = i - 1000;
                        }
                }
                OK(first == way, "moved %d, told %d", way, first);
                OK(false_ones <= 1 && at < 15, "%d false in 1,000; after %d values", false_ones, at);
        }
}

/* Twelve metrics that move with two hidden loads. */
static void metrics_at(float value[12], struct dog_rng *rng, int i)
{
        double load = sin(i * 0.02) + 0.1 * dog_rng_normal(rng);
        double other = cos(i * 0.033) + 0.1 * dog_rng_normal(rng);
        for (int k = 0; k < 12; k++)
                value[k] =
                        (float)((k + 1) * 100 * ((k % 2 ? load : other) + 0.1 * dog_rng_normal(rng)) + 1000);
}

/* F4 */
static void an_odd_sample_stands_out_even_when_each_metric_is_usual(void)
{
        struct dog_anomaly a;
        struct dog_rng rng;
        float value[12];
        double usual = 0;
        int alarms = 0;
        dog_rng_init(&rng, 8);
        dog_anomaly_init(&a, 12, 1000);
        for (int i = 0; i < 3000; i++) {
                metrics_at(value, &rng, i);
                struct dog_anomaly_score s = dog_anomaly_learn(&a, value);
                OK(i >= DOG_ANOMALY_WARM ? s.score >= 0 && s.score <= 1 : isnan(s.score), "sample %d", i);
                usual += i >= 1000 ? (double)s.together / 2000 : 0;
                alarms += i >= 1000 && s.score > 0.5F;
        }
        OK(alarms <= 40, "%d of 2,000 usual samples look odd", alarms);
        struct dog_anomaly at_rest = a;
        /* One metric far away. */
        metrics_at(value, &rng, 3000);
        value[4] += 20000;
        struct dog_anomaly_score s = dog_anomaly_learn(&a, value);
        OK(s.score > 0.5F && s.metric == 4 && s.level > 10, "score %g, metric %u, level %g", (double)s.score,
           s.metric, (double)s.level);
        /* Each within its range, but half of them against the other half. */
        a = at_rest;
        metrics_at(value, &rng, 3000);
        for (int k = 1; k < 12; k += 4)
                value[k] = 2000 - value[k];
        s = dog_anomaly_learn(&a, value);
        OK((double)s.together > usual + 1.5, "together %g, usually %g", (double)s.together, usual);
        OK(s.level < 6, "each alone is no wonder: %g", (double)s.level);
}

static void anomaly_stands_bad_days(void)
{
        struct dog_anomaly a;
        struct dog_anomaly b;
        struct dog_rng rng;
        float value[DOG_ANOMALY_METRICS];
        dog_rng_init(&rng, 2);
        dog_anomaly_init(&a, 1000, NAN);
        OK(a.metrics == DOG_ANOMALY_METRICS && a.memory >= 50, "bounded");
        for (int i = 0; i < 600; i++) {
                for (int k = 0; k < DOG_ANOMALY_METRICS; k++)
                        value[k] = k % 5 == 0   ? NAN
                                   : k % 5 == 1 ? 7
                                   : k % 5 == 2 ? (i % 90 == 50 ? 1e14F : 1)
                                   : k % 5 == 3 ? (i % 40 == 3 ? INFINITY : (float)i)
                                                : (float)dog_rng_normal(&rng);
                b = a;
                struct dog_anomaly_score s = dog_anomaly_learn(&a, value);
                OK(i < DOG_ANOMALY_WARM || (s.score >= 0 && s.score <= 1), "sample %d: %g", i,
                   (double)s.score);
                struct dog_anomaly_score t = dog_anomaly_learn(&b, value);
                OK(memcmp(&a, &b, sizeof(a)) == 0 && memcmp(&s.score, &t.score, sizeof(float)) == 0,
                   "same bits");
        }
        dog_anomaly_init(&a, 1, 100);
        for (int i = 0; i < 100; i++) {
                value[0] = (float)dog_rng_normal(&rng);
                dog_anomaly_learn(&a, value);
        }
        value[0] = 50;
        OK(dog_anomaly_learn(&a, value).level > 10, "one metric alone works too");
}

int main(void)
{
        return CHECK_RUN(
                TEST(arima_finds_what_was_simulated), TEST(arima_coefficients_are_near_the_truth),
                TEST(arima_moves_on_without_a_fit), TEST(ets_chooses_its_kind),
                TEST(one_wild_value_moves_ets_little), TEST(bad_days_of_the_fitted_models),
                TEST(a_fit_is_the_same_bits_and_knows_no_future),
                TEST(a_new_level_is_told_once_and_in_numbers), TEST(spikes_and_noise_are_no_new_level),
                TEST(change_detection_stands_bad_days), TEST(cusum_tells_which_way),
                TEST(an_odd_sample_stands_out_even_when_each_metric_is_usual), TEST(anomaly_stands_bad_days));
}
