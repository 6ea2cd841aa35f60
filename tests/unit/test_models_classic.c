/* P7: ARIMA and ETS forecast a path from its history. F4: time-series analysis; P13: what every path's
 * own past says about it now. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "models/arima.h"
#include "models/changepoint.h"
#include "models/ets.h"
#include "models/shift.h"

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
        static const double wild[] = {1e14, -1e14, 0, 1e-30, 5, 1e14, 5};
        dog_changepoint_init(&c);
        OK(!dog_changepoint_learn(&c, (double)NAN, DOG_S, &one) && c.count == 0, "NaN is not measured");
        dog_changepoint_learn(&c, 5, DOG_S, &one);
        before = c;
        dog_changepoint_learn(&c, 9, DOG_S, &one);
        dog_changepoint_learn(&c, 9, 0, &one);
        OK(memcmp(&before, &c, sizeof(c)) == 0, "time that does not advance is dropped");
        for (int i = 0; i < 700; i++) {
                dog_changepoint_learn(&c, wild[i % 7], (i + 2) * DOG_S, &one);
                OK(isfinite(c.told_level) && c.noise > 0 && c.runs <= DOG_CHANGE_RUNS, "finite, at value %d",
                   i);
        }
}

/* Noise about a level, spikes and losses; fed as a path's probes are, five a second. */
struct shift_run {
        struct dog_shift_watch w;
        struct dog_shift last;
        struct dog_rng rng;
        unsigned told;
        int64_t told_ns;
};

static const struct dog_shift_config shift_rtt = {.block_ns = DOG_S, .last_ns = 10 * DOG_S};

static void shift_feed(struct shift_run *r, int64_t from_s, int64_t to_s, double level)
{
        for (int64_t t = from_s * DOG_S; t < to_s * DOG_S; t += 200 * DOG_MS) {
                double value = level + 3 * dog_rng_normal(&r->rng);
                if (dog_rng_below(&r->rng, 100) == 0)
                        value += 200 * dog_rng_unit(&r->rng);
                if (!dog_shift_learn(&r->w, &shift_rtt, dog_rng_below(&r->rng, 200) ? (float)value : NAN, 150,
                                     t, &r->last))
                        continue;
                r->told++;
                r->told_ns = t;
        }
}

/* F4, P13 */
static void a_lasting_change_is_told_within_seconds(void)
{
        static const struct {
                double from, to;
                unsigned told;
                const char *say;
        } row[] = {
                {41, 68, 1, "a fifth of the limit: told"},
                {68, 41, 1, "and the way back"},
                {41, 55, 0, "a tenth of it matters to nobody"},
                {140, 170, 1, "over the limit"},
                {300, 400, 0, "broken is broken"},
                {41, 41, 0, "nothing happened"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct shift_run r = {0};
                dog_rng_init(&r.rng, 5 + i);
                dog_shift_init(&r.w);
                shift_feed(&r, 0, 600, row[i].from);
                OK(r.told == 0, "%s: nothing before", row[i].say);
                shift_feed(&r, 600, 900, row[i].to);
                OK(r.told == row[i].told, "%s: told %u times", row[i].say, r.told);
                if (!r.told)
                        continue;
                OK(r.told_ns <= 620 * DOG_S, "%s: after %.1f s", row[i].say, (double)r.told_ns / 1e9 - 600);
                OK(NEAR((double)r.last.from, row[i].from, 4) && NEAR((double)r.last.to, row[i].to, 6) &&
                           llabs((long long)(r.last.since_ns - 600 * DOG_S)) <= 2 * DOG_S,
                   "%s: from %.0f to %.0f since %.0f s", row[i].say, (double)r.last.from, (double)r.last.to,
                   (double)r.last.since_ns / 1e9);
        }
}

/* F4: what does not last, what always happens, and what nobody could read. */
static void changes_that_are_no_news_are_not_told(void)
{
        struct shift_run r = {0};
        dog_rng_init(&r.rng, 9);
        dog_shift_init(&r.w);
        for (int64_t t = 0; t < 7200; t += 600) {
                shift_feed(&r, t, t + 594, 41);
                shift_feed(&r, t + 594, t + 600, 130);
        }
        OK(r.told == 0, "six seconds every ten minutes do not last: told %u times", r.told);

        struct shift_run s = {0};
        dog_rng_init(&s.rng, 10);
        dog_shift_init(&s.w);
        for (int64_t t = 0; t < 6 * 3600; t += 40)
                shift_feed(&s, t, t + 40, t / 40 % 2 ? 41 : 90);
        OK(s.told <= 4, "a path that always wanders: told %u times in 6 hours", s.told);

        struct shift_run day = {0};
        dog_rng_init(&day.rng, 11);
        dog_shift_init(&day.w);
        shift_feed(&day, 0, 24 * 3600, 41);
        OK(day.told == 0, "a quiet day: told %u times", day.told);
}

/* A prediction knows no future, and no value is too bad. */
static void shifts_are_the_same_bits_and_stand_bad_days(void)
{
        static const float wild[] = {NAN, INFINITY, -5, 0, 1e30F, 40, -1e14F};
        static const struct dog_shift_config rate = {
                .block_ns = DOG_S, .last_ns = 10 * DOG_S, .is_floor = true};
        struct shift_run a = {0}, b = {0};
        struct dog_shift out;
        dog_rng_init(&a.rng, 3);
        dog_rng_init(&b.rng, 3);
        dog_shift_init(&a.w);
        dog_shift_init(&b.w);
        shift_feed(&a, 0, 300, 41);
        struct dog_shift_watch at_300 = a.w;
        shift_feed(&a, 300, 400, 90);
        shift_feed(&b, 0, 300, 41);
        OK(memcmp(&at_300, &b.w, sizeof(b.w)) == 0, "what comes later changes nothing");
        OK(!dog_shift_learn(&b.w, &shift_rtt, 40, 0, 301 * DOG_S, &out) &&
                   memcmp(&at_300, &b.w, sizeof(b.w)) == 0,
           "without a promise nothing is watched");
        for (int i = 0; i < 3000; i++) {
                dog_shift_learn(&b.w, i % 2 ? &rate : &shift_rtt, wild[i % 7], 150,
                                (302 + i - (i % 50 == 7 ? 20 : 0)) * DOG_S, &out);
                OK(isfinite(b.w.credit) && isfinite(b.w.squares) && isfinite(b.w.known),
                   "finite, at value %d", i);
        }
        struct dog_shift_watch w;
        unsigned told = 0;
        dog_shift_init(&w);
        for (int i = 0; i < 900; i++)
                told += dog_shift_learn(&w, &rate, i < 600 ? 40e3F + (float)(i % 7) : 6e3F + (float)(i % 7),
                                        5e3F, i * DOG_S, &out);
        OK(told == 1 && NEAR((double)out.to, 6e3, 100), "a rate that falls towards its least: told %u times",
           told);
}

int main(void)
{
        return CHECK_RUN(TEST(arima_finds_what_was_simulated), TEST(arima_coefficients_are_near_the_truth),
                         TEST(arima_moves_on_without_a_fit), TEST(ets_chooses_its_kind),
                         TEST(one_wild_value_moves_ets_little), TEST(bad_days_of_the_fitted_models),
                         TEST(a_fit_is_the_same_bits_and_knows_no_future),
                         TEST(a_new_level_is_told_once_and_in_numbers),
                         TEST(spikes_and_noise_are_no_new_level), TEST(change_detection_stands_bad_days),
                         TEST(a_lasting_change_is_told_within_seconds),
                         TEST(changes_that_are_no_news_are_not_told),
                         TEST(shifts_are_the_same_bits_and_stand_bad_days));
}
