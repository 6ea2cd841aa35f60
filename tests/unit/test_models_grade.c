/* Calibration, Brier scores, the quality score (P8) and quantiles. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "models/brier.h"
#include "models/calib.h"
#include "models/fastmath.h"
#include "models/quantile.h"
#include "models/score.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void pool_adjacent_violators_gives_the_known_answer(void)
{
        static const struct {
                float value[6], weight[6], want[6];
                int count;
        } row[] = {
                {{1, 3, 2, 4, 3.5F, 5}, {1, 1, 1, 1, 1, 1}, {1, 2.5F, 2.5F, 3.75F, 3.75F, 5}, 6},
                {{4, 3, 2, 1}, {1, 1, 1, 1}, {2.5F, 2.5F, 2.5F, 2.5F}, 4},
                {{1, 2, 3}, {5, 1, 9}, {1, 2, 3}, 3},
                {{0.2F, 0.8F, 0.2F, 0.9F}, {1, 1, 3, 1}, {0.2F, 0.35F, 0.35F, 0.9F}, 4},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                float value[6];
                memcpy(value, row[i].value, sizeof(value));
                OK(dog_calib_pav(value, row[i].weight, row[i].count) == 0, "row %zu", i);
                for (int k = 0; k < row[i].count; k++)
                        OK(NEAR((double)value[k], (double)row[i].want[k], 1e-5), "row %zu, place %d: %g", i,
                           k, (double)value[k]);
        }
        OK(dog_calib_pav(NULL, NULL, 65) == -EINVAL, "more than 64 are refused");
}

static void calibration_learns_what_was_meant(void)
{
        static const double said[] = {0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 0.7, 0.9};
        struct dog_calib c;
        struct dog_rng rng;
        dog_rng_init(&rng, 5);
        dog_calib_init(&c);
        for (size_t i = 0; i < ARRAY_SIZE(said); i++)
                OK(NEAR(dog_calib_apply(&c, said[i]), said[i], 1e-6), "a blank page corrects nothing: %g",
                   said[i]);
        /* Truth is the square of what is said: sure things are less sure. */
        for (int i = 0; i < 20000; i++) {
                double p = dog_rng_unit(&rng);
                dog_calib_learn(&c, p, dog_rng_unit(&rng) < p * p);
        }
        double before = 0;
        for (int i = 1; i < 100; i++) {
                double p = i / 100.0;
                double now = dog_calib_apply(&c, p);
                OK(now > before, "it keeps the order at %g", p);
                OK(NEAR(now, p * p, 0.06), "said %g means %g, corrected to %g", p, p * p, now);
                before = now;
        }
        /* Three bad outcomes are not a law. */
        dog_calib_init(&c);
        for (int i = 0; i < 3; i++)
                dog_calib_learn(&c, 0.05, true);
        OK(dog_calib_apply(&c, 0.05) > 0.05 && dog_calib_apply(&c, 0.05) < 0.25,
           "thin evidence moves it a little: %g", dog_calib_apply(&c, 0.05));
        OK(dog_calib_apply(&c, 0) > 0 && dog_calib_apply(&c, 1) < 1, "never quite sure");
        OK(dog_calib_apply(&c, (double)NAN) < 1e-3, "NaN is no alarm");
}

/* P13: a model that is worse than "as it was" steps back, and returns when it is better again. */
static void a_model_worse_than_persistence_disarms_itself_and_comes_back(void)
{
        struct dog_brier b;
        int disarmed_at = 0;
        int armed_at = 0;
        dog_brier_init(&b);
        OK(isnan(dog_brier_model(&b)) && dog_brier_is_armed(&b), "armed, and nothing to show");
        for (int i = 0; i < 2000; i++) {
                bool is_bad = i / 20 % 2; /* long states: persistence is right 19 times of 20 */
                double persistence = i ? (i - 1) / 20 % 2 : 0;
                double model = i < 1000 ? 1 - persistence : 0.98 * is_bad + 0.01;
                enum dog_brier_change change = dog_brier_learn(&b, model, persistence, is_bad);
                if (change == DOG_BRIER_DISARMED)
                        disarmed_at = i;
                if (change == DOG_BRIER_REARMED)
                        armed_at = i;
        }
        OK(disarmed_at >= 190 && disarmed_at <= 200, "it disarms once 200 outcomes are in: at %d",
           disarmed_at);
        OK(armed_at > 1000 && armed_at <= 1200, "and comes back within 200 better ones: at %d", armed_at);
        OK(dog_brier_model(&b) < dog_brier_persistence(&b), "%g < %g", dog_brier_model(&b),
           dog_brier_persistence(&b));

        dog_brier_init(&b);
        for (int i = 0; i < 1000; i++)
                dog_brier_learn(&b, 0.01, 0, false);
        OK(dog_brier_is_armed(&b), "an honest 1 %% in calm weather is no reason to step back");
        dog_brier_learn(&b, (double)NAN, 0, true);
        OK(b.count == 1000, "nothing said, nothing counted");
}

static void the_rolling_brier_score_is_that_of_the_last_200(void)
{
        struct dog_brier b;
        struct dog_rng rng;
        double square[1000];
        dog_rng_init(&rng, 9);
        dog_brier_init(&b);
        for (int i = 0; i < 1000; i++) {
                double p = dog_rng_unit(&rng);
                bool is_bad = dog_rng_unit(&rng) < p;
                square[i] = (p - is_bad) * (p - is_bad);
                dog_brier_learn(&b, p, 0.5, is_bad);
                int window = i + 1 < 200 ? i + 1 : 193 + i % 8;
                double sum = 0;
                for (int k = i - window + 1; k <= i; k++)
                        sum += square[k];
                OK(NEAR(dog_brier_model(&b), sum / window, 1e-5), "after %d outcomes: %g, got %g", i + 1,
                   sum / window, dog_brier_model(&b));
        }
}

static void reliability_reads_as_a_sentence(void)
{
        struct dog_reliability r;
        char text[64];
        dog_reliability_init(&r);
        for (int i = 0; i < 431; i++)
                dog_reliability_learn(&r, 0.7, i < 293);
        OK(strcmp(dog_reliability_text(&r, 7, text), "says 70 %, happens 68 %, n = 431") == 0, "%s", text);
        OK(strcmp(dog_reliability_text(&r, 2, text), "no outcome yet") == 0, "%s", text);
        OK(strcmp(dog_reliability_text(&r, 99, text), "no outcome yet") == 0, "%s", text);
        OK(NEAR(dog_reliability_error(&r), 0.7 - 293.0 / 431, 1e-9), "%g", dog_reliability_error(&r));
}

static struct dog_score_promise voice(void)
{
        struct dog_score_promise p = dog_score_promise_default();
        p.limit[DOG_METRIC_LATENCY] = 150;
        p.limit[DOG_METRIC_JITTER] = 30;
        p.limit[DOG_METRIC_LOSS] = 0.01;
        p.limit[DOG_METRIC_RATE] = 100;
        return p;
}

static struct dog_score_input measured(double latency, double jitter, double loss, double rate)
{
        struct dog_score_input in = {.live = {latency, jitter, loss, rate},
                                     .mean = {latency, jitter, loss, rate}};
        return in;
}

/* P8 */
static void the_quality_is_0_to_100_and_50_at_the_limit(void)
{
        struct dog_score_promise p = voice();
        struct dog_score_input at_limit = measured(150, 30, 0.01, 100);
        struct dog_score_input far_inside = measured(1, 0.1, 0, 100000);
        struct dog_score_input broken = measured(5000, 900, 1, 0);
        OK(NEAR(dog_score_of(&p, &at_limit).quality, 50, 1e-9), "at the limit: %g",
           dog_score_of(&p, &at_limit).quality);
        OK(dog_score_of(&p, &far_inside).quality > 99.5, "far inside: %g",
           dog_score_of(&p, &far_inside).quality);
        OK(dog_score_of(&p, &broken).quality < 1 && dog_score_of(&p, &broken).quality >= 0, "broken: %g",
           dog_score_of(&p, &broken).quality);
}

/* P8 */
static void the_quality_is_monotone_in_every_metric_live_and_forecast(void)
{
        struct dog_score_promise p = voice();
        for (int m = 0; m < DOG_METRIC_COUNT; m++)
                for (int which = 0; which < 3; which++) {
                        double before = 1000;
                        for (int i = 0; i < 60; i++) {
                                struct dog_score_input in = measured(80, 10, 0.003, 300);
                                double bad = p.limit[m] * pow(1.2, i - 30);
                                double good = p.limit[m] * pow(1.2, 30 - i);
                                double value = m == DOG_METRIC_RATE ? good : bad;
                                if (which == 0)
                                        in.live[m] = value;
                                else if (which == 1)
                                        in.mean[m] = value;
                                else
                                        in.spread[m] = bad;
                                double now = dog_score_of(&p, &in).quality;
                                OK(now <= before, "%s, %d: %g then %g", dog_metric_name((enum dog_metric)m),
                                   which, before, now);
                                before = now;
                        }
                }
}

/* P8 */
static void a_weight_per_metric_shifts_the_quality(void)
{
        struct dog_score_promise p = voice();
        struct dog_score_input lossy = measured(20, 2, 0.08, 1000);
        double equal;
        p.weight[0] = p.weight[1] = p.weight[2] = p.weight[3] = 1;
        equal = dog_score_of(&p, &lossy).quality;
        p.weight[DOG_METRIC_LOSS] = 5;
        OK(dog_score_of(&p, &lossy).quality < equal, "who weighs loss sees more of it");
        p.weight[DOG_METRIC_LOSS] = 0;
        OK(dog_score_of(&p, &lossy).quality > 90, "who does not, does not: %g",
           dog_score_of(&p, &lossy).quality);
        OK(dog_score_of(&p, &lossy).metric[DOG_METRIC_LOSS] < 5, "it is still shown");
        struct dog_score_input rising = measured(20, 2, 0, 1000);
        rising.mean[DOG_METRIC_LATENCY] = 400;
        p.forecast_share = 0;
        double live = dog_score_of(&p, &rising).quality;
        p.forecast_share = 1;
        OK(dog_score_of(&p, &rising).quality < live - 30, "a bad forecast counts by its share");
}

static void what_is_not_measured_is_named_and_left_out(void)
{
        struct dog_score_promise p = voice();
        struct dog_score_input in = measured(20, (double)NAN, 0, (double)NAN);
        struct dog_score s = dog_score_of(&p, &in);
        OK(s.missing == (1U << DOG_METRIC_JITTER | 1U << DOG_METRIC_RATE), "missing %x", s.missing);
        OK(s.quality > 95 && isnan(s.metric[DOG_METRIC_JITTER]), "%g from what there is", s.quality);
        p = dog_score_promise_default();
        s = dog_score_of(&p, &in);
        OK(isnan(s.quality) && s.missing == 0, "no promise, no quality");
}

static int double_compare(const void *a, const void *b)
{
        double x = *(const double *)a;
        double y = *(const double *)b;
        return (x > y) - (x < y);
}

static double median_of(const double *value, int count)
{
        double sorted[400];
        memcpy(sorted, value, (size_t)count * sizeof(*value));
        qsort(sorted, (size_t)count, sizeof(*sorted), double_compare);
        return 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]);
}

static void the_window_median_is_exact_at_one_a_second_and_near_at_five(void)
{
        struct dog_window w;
        struct dog_rng rng;
        double value[1000];
        dog_rng_init(&rng, 13);
        for (int per_s = 1; per_s <= 5; per_s += 4) {
                double worst = 0;
                double sum = 0;
                int last = per_s * 60;
                dog_window_init(&w, 60 * DOG_S);
                OK(isnan(dog_window_median(&w, 0, 1)), "nothing yet");
                for (int i = 0; i < 1000; i++) {
                        int from = i > last ? i - last : 0;
                        if (i >= 5) {
                                double want = median_of(value + from, i - from);
                                double got = dog_window_median(&w, i * DOG_S / per_s, 5);
                                double error = fabs(got / want - 1);
                                /* Five a second: steady weather, and a window that has begun to fill. */
                                if (per_s == 1 || (i > 100 && i <= 500) || i > 800)
                                        worst = error > worst ? error : worst;
                                sum += error;
                        }
                        value[i] = 40 * exp(0.7 * dog_rng_normal(&rng)) * (i > 500 ? 2 : 1);
                        dog_window_learn(&w, value[i], i * DOG_S / per_s);
                }
                if (per_s == 1)
                        OK(worst < 0.001, "one a second: exact to its logarithms, worst %g", worst);
                else
                        OK(sum / 995 < 0.05 && worst < 0.2, "five a second: %g on average, worst %g",
                           sum / 995, worst);
        }
        OK(isnan(dog_window_median(&w, 1000 * DOG_S, 5)), "what is older than the window is gone");
        dog_window_learn(&w, 70, 2000 * DOG_S);
        OK(isnan(dog_window_median(&w, 2000 * DOG_S, 5)), "after a long silence five are wanted again");
        OK(NEAR(dog_window_median(&w, 2000 * DOG_S, 1), 70, 0.02), "one is enough for who asks for one");
        dog_window_learn(&w, (double)NAN, 2001 * DOG_S);
        dog_window_learn(&w, -1, 2001 * DOG_S);
        dog_window_learn(&w, 1, 1000 * DOG_S);
        OK(NEAR(dog_window_median(&w, 2001 * DOG_S, 1), 70, 0.02),
           "NaN, a negative and the past are not values");
}

static void a_quantile_is_tracked_in_five_markers(void)
{
        static const double share[] = {0.1, 0.5, 0.95};
        for (size_t k = 0; k < ARRAY_SIZE(share); k++) {
                struct dog_quantile q;
                struct dog_rng rng;
                static double value[20000];
                dog_rng_init(&rng, 17);
                dog_quantile_init(&q, share[k]);
                OK(isnan(dog_quantile_get(&q)), "nothing yet");
                for (int i = 0; i < 20000; i++) {
                        value[i] = dog_rng_normal(&rng);
                        dog_quantile_learn(&q, value[i]);
                }
                dog_quantile_learn(&q, (double)NAN);
                qsort(value, 20000, sizeof(*value), double_compare);
                double want = value[(int)(19999 * share[k])];
                OK(NEAR(dog_quantile_get(&q), want, 0.05), "%g: %g, got %g", share[k], want,
                   dog_quantile_get(&q));
        }
}

static void the_short_functions_agree_with_libm(void)
{
        double worst_exp = 0;
        double worst_log = 0;
        for (float x = -80; x < 80; x += 0.0137F) {
                double error = fabs((double)dog_fast_exp(x) / exp((double)x) - 1);
                worst_exp = error > worst_exp ? error : worst_exp;
        }
        for (float x = 1e-30F; x < 1e30F; x *= 1.0137F) {
                double want = log((double)x);
                double error = fabs((double)dog_fast_log(x) - want) / (fabs(want) > 1 ? fabs(want) : 1);
                worst_log = error > worst_log ? error : worst_log;
        }
        OK(worst_exp < 8e-6 && worst_log < 2e-7, "exp %g, log %g", worst_exp, worst_log);
        OK(dog_fast_exp(-1000) >= 0 && dog_fast_exp(-1000) < 1e-30F, "small is 0");
        OK(dog_fast_exp(1000) > 1e37F && isfinite(dog_fast_exp(1000)), "large stays finite");
        OK(isfinite(dog_fast_log(0)) && isfinite(dog_fast_exp(NAN)), "no argument gives NaN");
}

int main(void)
{
        return CHECK_RUN(
                TEST(pool_adjacent_violators_gives_the_known_answer), TEST(calibration_learns_what_was_meant),
                TEST(a_model_worse_than_persistence_disarms_itself_and_comes_back),
                TEST(the_rolling_brier_score_is_that_of_the_last_200), TEST(reliability_reads_as_a_sentence),
                TEST(the_quality_is_0_to_100_and_50_at_the_limit),
                TEST(the_quality_is_monotone_in_every_metric_live_and_forecast),
                TEST(a_weight_per_metric_shifts_the_quality),
                TEST(what_is_not_measured_is_named_and_left_out),
                TEST(the_window_median_is_exact_at_one_a_second_and_near_at_five),
                TEST(a_quantile_is_tracked_in_five_markers), TEST(the_short_functions_agree_with_libm));
}
