/* P7: latency, jitter and loss are each forecast from their own history. F4: time-series analysis. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "models/series.h"
#include "models/series_models.h"

#include <math.h>
#include <string.h>

static struct dog_series_config plain(void)
{
        struct dog_series_config c = dog_series_config_of(DOG_SERIES_OF_OTHER);
        return c;
}

/* Feeds samples step_ns apart, beginning at time 0. */
static void feed(struct dog_series *s, const struct dog_series_config *c, const double *value, int count,
                 int64_t step_ns)
{
        dog_series_init(s, c);
        for (int i = 0; i < count; i++)
                dog_series_update(s, c, value[i], i * step_ns);
}

static struct dog_forecast at_first_horizon(const struct dog_series *s, const struct dog_series_config *c,
                                            enum dog_series_model_id model)
{
        struct dog_forecast f[DOG_SERIES_HORIZONS];
        dog_series_forecast_by(s, c, s->last_ns, model, f);
        return f[0];
}

static void an_ewma_is_the_mean_weighed_by_age(void)
{
        struct dog_series_config c = plain();
        static const double value[] = {10, 14, 9, 30, 12};
        static const int64_t t_ms[] = {0, 200, 1100, 1300, 4000}; /* irregular on purpose */
        struct dog_series s;
        double sum = 0;
        double weights = 0;
        c.ewma_half_life_s = 2.0F;
        c.gap_steps = 1000;
        dog_series_init(&s, &c);
        for (size_t i = 0; i < ARRAY_SIZE(value); i++) {
                double weight = exp2(-(double)(4000 - t_ms[i]) / 1000 / 2);
                dog_series_update(&s, &c, value[i], t_ms[i] * DOG_MS);
                sum += weight * value[i];
                weights += weight;
        }
        float mean = at_first_horizon(&s, &c, DOG_SERIES_EWMA).mean;
        OK(NEAR((double)mean, sum / weights, 1e-4), "closed form %g, got %g", sum / weights, (double)mean);
}

/*
 * The worked example of the NIST/SEMATECH e-Handbook of Statistical Methods, 6.4.3.3 and 6.4.3.4: alpha
 * 0.3623, gamma 1, S1 = y1, b1 = the mean of the first three differences, 0.8; the forecasts for the
 * periods 11, 12 and 15 are 25.8, 28.7 and 37.6.
 */
static void holt_winters_follows_the_textbook(void)
{
        static const double y[] = {6.4, 5.6, 7.8, 8.8, 11.0, 11.6, 16.7, 15.3, 21.6, 22.4};
        static const double book[DOG_SERIES_HORIZONS] = {25.8, 28.7, 37.6};
        struct dog_series_config c = plain();
        struct dog_forecast f[DOG_SERIES_HORIZONS];
        struct dog_series s;
        c.horizon_ns[1] = 2 * DOG_S;
        c.horizon_ns[2] = 5 * DOG_S;
        c.level_half_life_s = (float)(-1 / log2(1 - 0.3623));
        c.trend_half_life_s = 1e-3F; /* gamma 1: the trend is the last change of level */
        c.trend_damp_s = INFINITY;
        c.is_warming_up = false;
        dog_series_init(&s, &c);
        for (size_t i = 0; i < ARRAY_SIZE(y); i++) {
                dog_series_update(&s, &c, y[i], (int64_t)i * DOG_S);
                if (i == 0) {
                        s.state.holt.trend = 0.8F; /* the handbook's start; ours would be y2 - y1 */
                        s.state.holt.count = 2;
                }
        }
        s.high = 1000; /* the range seen would bound the line; here the line is the point */
        dog_series_forecast_by(&s, &c, s.last_ns, DOG_SERIES_HOLT, f);
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++)
                OK(NEAR((double)f[h].mean, book[h], 0.051), "the book says %g, we %g", book[h],
                   (double)f[h].mean);
}

static void holt_winters_learns_a_season_and_a_line(void)
{
        struct dog_series_config c = plain();
        struct dog_series s;
        static const double season[4] = {5, -3, -4, 2};
        c.season_slots = 4;
        c.season_slot_ns = DOG_S;
        c.season_half_life_s = 10;
        c.level_half_life_s = 5;
        c.trend_half_life_s = 20;
        c.trend_damp_s = INFINITY;
        dog_series_init(&s, &c);
        for (int i = 0; i < 400; i++)
                dog_series_update(&s, &c, 100 + 0.5 * i + season[i % 4], i * DOG_S);
        struct dog_forecast f[DOG_SERIES_HORIZONS];
        dog_series_forecast_by(&s, &c, s.last_ns, DOG_SERIES_HOLT, f);
        for (int h = 0; h < 2; h++) {
                int ahead = h ? 5 : 1;
                double want = 100 + 0.5 * (399 + ahead) + season[(399 + ahead) % 4];
                OK(NEAR((double)f[h].mean, want, 0.3), "%d s ahead: %g, got %g", ahead, want,
                   (double)f[h].mean);
        }
}

static void ar_recovers_the_coefficients_of_a_simulated_ar(void)
{
        static const double truth[3] = {0.6, -0.4, 0.25};
        struct dog_series_config c = plain();
        struct dog_series s;
        struct dog_rng rng;
        double x[3] = {0};
        float coef[DOG_SERIES_AR_ORDER];
        c.ar_half_life_s = 5000;
        dog_rng_init(&rng, 7);
        dog_series_init(&s, &c);
        for (int i = 0; i < 30000; i++) {
                double next = truth[0] * x[0] + truth[1] * x[1] + truth[2] * x[2] + dog_rng_normal(&rng);
                x[2] = x[1];
                x[1] = x[0];
                x[0] = next;
                dog_series_update(&s, &c, 50 + next, i * DOG_S);
        }
        dog_series_ar_coefficients(&s.state.ar, &c, s.step_s, coef);
        for (int k = 0; k < DOG_SERIES_AR_ORDER; k++) {
                double want = k < 3 ? truth[k] : 0;
                OK(NEAR((double)coef[k], want, 0.05), "coefficient %d is %g, got %g", k + 1, want,
                   (double)coef[k]);
        }
        double want = 50 + truth[0] * x[0] + truth[1] * x[1] + truth[2] * x[2];
        struct dog_forecast f = at_first_horizon(&s, &c, DOG_SERIES_AR);
        OK(NEAR((double)f.mean, want, 0.3), "one step ahead %g, got %g", want, (double)f.mean);
        OK(NEAR((double)f.spread, 1.0, 0.2), "its spread is the noise, 1; got %g", (double)f.spread);
}

static void ar_stays_stable_and_bounded_whatever_it_is_fed(void)
{
        struct dog_series_config c = plain();
        struct dog_rng rng;
        dog_rng_init(&rng, 11);
        for (int kind = 0; kind < 5; kind++) {
                struct dog_series s;
                double walk = 0;
                double most = 0;
                dog_series_init(&s, &c);
                for (int i = 0; i < 3000; i++) {
                        walk += dog_rng_normal(&rng);
                        double value = kind == 0   ? walk
                                       : kind == 1 ? (i % 2 ? 1e6 : -1e6)
                                       : kind == 2 ? exp(3 * dog_rng_normal(&rng))
                                       : kind == 3 ? sin(i * 0.7)
                                                   : (i % 500 == 499 ? 1e9 : 20);
                        most = fabs(value) > most ? fabs(value) : most;
                        dog_series_update(&s, &c, value, i * DOG_S / 5);
                        struct dog_forecast f[DOG_SERIES_HORIZONS];
                        dog_series_forecast_by(&s, &c, s.last_ns, DOG_SERIES_AR, f);
                        for (int h = 0; h < DOG_SERIES_HORIZONS; h++)
                                NEED(fabs((double)f[h].mean) <= 2 * most + 1e-6,
                                     "kind %d step %d: %g within twice %g", kind, i, (double)f[h].mean, most);
                }
        }
}

/* A series with a beat is the AR's, a noisy level the EWMA's: the ensemble must find out by itself. */
static void the_ensemble_follows_whoever_has_the_better_record(void)
{
        static const struct {
                const char *say;
                enum dog_series_model_id best;
        } row[] = {{"a beat of four steps", DOG_SERIES_ARIMA},
                   {"white noise about a level", DOG_SERIES_EWMA},
                   {"a staircase", DOG_SERIES_LAST}};
        for (size_t r = 0; r < ARRAY_SIZE(row); r++) {
                struct dog_series_config c = plain();
                struct dog_series s;
                struct dog_rng rng;
                float weight[DOG_SERIES_MODEL_COUNT];
                dog_rng_init(&rng, 3 + r);
                dog_series_init(&s, &c);
                c.ewma_half_life_s = 20;
                for (int i = 0; i < 1500; i++) {
                        double value = r == 0   ? (i % 4 == 0 ? 200 : 60) + dog_rng_normal(&rng)
                                       : r == 1 ? 100 + 10 * dog_rng_normal(&rng)
                                                : 10 * (double)(i / 97 % 7);
                        dog_series_update(&s, &c, value, i * DOG_S);
                }
                dog_series_weights(&s, 0, weight);
                float sum = 0;
                float least = INFINITY;
                for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++) {
                        sum += weight[m];
                        OK(weight[m] <= weight[row[r].best] * 1.15F, "%s: %s weighs %g, %s %g", row[r].say,
                           dog_series_models[m].name, (double)weight[m], dog_series_models[row[r].best].name,
                           (double)weight[row[r].best]);
                        float error = dog_series_error(&s, 0, (enum dog_series_model_id)m);
                        least = error < least ? error : least;
                }
                OK(NEAR((double)sum, 1, 1e-4), "weights sum to one");
                OK((double)dog_series_error(&s, 0, DOG_SERIES_ENSEMBLE) <= 1.15 * (double)least + 0.3,
                   "%s: the ensemble errs by %g, the best by %g", row[r].say,
                   (double)dog_series_error(&s, 0, DOG_SERIES_ENSEMBLE), (double)least);
        }
}

/* P7 */
static void latency_jitter_and_loss_are_each_forecast_with_an_honest_spread(void)
{
        static const enum dog_series_signal signal[] = {DOG_SERIES_OF_LATENCY, DOG_SERIES_OF_JITTER,
                                                        DOG_SERIES_OF_LOSS};
        for (size_t k = 0; k < ARRAY_SIZE(signal); k++) {
                struct dog_series_config c = dog_series_config_of(signal[k]);
                struct dog_series s;
                struct dog_rng rng;
                int inside = 0;
                int seen = 0;
                double error = 0;
                double error_mean = 0;
                double deviation = 0;
                double centre = k == 2 ? 0.05 : 40;
                dog_rng_init(&rng, 19 + k);
                dog_series_init(&s, &c);
                for (int i = 0; i < 3000; i++) {
                        struct dog_forecast f[DOG_SERIES_HORIZONS];
                        deviation = 0.9 * deviation + 0.1 * centre * dog_rng_normal(&rng);
                        double value = centre + deviation > 0 ? centre + deviation : 0;
                        if (i > 200) {
                                dog_series_forecast(&s, &c, s.last_ns, f);
                                NEED(f[0].spread > 0, "a noisy series has a spread");
                                seen++;
                                inside += fabs(value - (double)f[0].mean) <= (double)f[0].spread;
                                error += fabs(value - (double)f[0].mean);
                                error_mean += fabs(value - centre);
                                OK(f[2].spread > f[0].spread, "%s: further away is less certain",
                                   dog_series_signal_name(signal[k]));
                        }
                        dog_series_update(&s, &c, value, i * DOG_S);
                }
                double share = (double)inside / seen;
                OK(share > 0.6 && share < 0.78, "%s: one deviation holds %.0f %% (a normal: 68 %%)",
                   dog_series_signal_name(signal[k]), 100 * share);
                OK(error < 0.62 * error_mean, "%s: better than its long mean: %g of it",
                   dog_series_signal_name(signal[k]), error / error_mean);
        }
}

static void bad_days_are_defined(void)
{
        struct dog_series_config c = dog_series_config_of(DOG_SERIES_OF_LOSS);
        struct dog_series s;
        struct dog_forecast f[DOG_SERIES_HORIZONS];
        dog_series_init(&s, &c);
        dog_series_forecast(&s, &c, 0, f);
        OK(isnan(f[0].mean) && isnan(f[2].spread), "nothing is known before the first sample");
        OK(isnan(dog_series_error(&s, 0, DOG_SERIES_AR)), "nor graded");

        dog_series_update(&s, &c, 0.25, 5 * DOG_S);
        dog_series_forecast(&s, &c, 5 * DOG_S, f);
        OK(NEAR((double)f[2].mean, 0.25, 1e-6), "after one sample it is that sample");

        struct dog_series before = s;
        dog_series_update(&s, &c, NAN, 6 * DOG_S);
        dog_series_update(&s, &c, INFINITY, 6 * DOG_S);
        OK(memcmp(&s, &before, sizeof(s)) == 0, "NaN and infinity change nothing");
        dog_series_update(&s, &c, 0.5, 5 * DOG_S);
        dog_series_update(&s, &c, 0.5, 4 * DOG_S);
        OK(s.late == 2 && NEAR((double)s.last, 0.25, 1e-6), "time that stands still is counted, not learned");

        for (int i = 0; i < 300; i++)
                dog_series_update(&s, &c, i % 3 ? 1 : 0.9, 6 * DOG_S + i * DOG_S);
        dog_series_forecast(&s, &c, s.last_ns, f);
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++)
                OK(f[h].mean >= 0 && f[h].mean <= 1, "a loss is a share: %g", (double)f[h].mean);

        dog_series_init(&s, &c);
        for (int i = 0; i < 300; i++)
                dog_series_update(&s, &c, 0.125, i * DOG_S);
        dog_series_forecast(&s, &c, s.last_ns, f);
        OK(NEAR((double)f[2].mean, 0.125, 1e-6) && f[2].spread < 1e-4F,
           "a constant is forecast as itself: %g +- %g", (double)f[2].mean, (double)f[2].spread);

        /* A gap of an hour: what came before is old, what falls into it is not graded. */
        uint16_t graded = s.graded[1];
        dog_series_update(&s, &c, 0.5, s.last_ns + 3600 * DOG_S);
        OK(s.graded[1] == graded, "nothing is graded across a gap");
        dog_series_forecast(&s, &c, s.last_ns, f);
        OK(f[0].mean > 0.3F, "and the new level is believed: %g", (double)f[0].mean);
        dog_series_update(&s, &c, 0.5, INT64_MAX);
        dog_series_forecast(&s, &c, INT64_MAX, f);
        OK(f[2].mean >= 0 && f[2].mean <= 1, "the end of time overflows nothing: %g", (double)f[2].mean);
        OK(isnan(at_first_horizon(&s, &c, (enum dog_series_model_id)99).mean),
           "an unknown model says nothing");
}

/* Deleting everything after t must not change what was said at t; the same calls give the same bits. */
static void no_forecast_knows_the_future(void)
{
        struct dog_series_config c = dog_series_config_of(DOG_SERIES_OF_LATENCY);
        double value[600];
        struct dog_forecast whole[600][DOG_SERIES_MODEL_COUNT + 1][DOG_SERIES_HORIZONS];
        struct dog_series s;
        struct dog_rng rng;
        dog_rng_init(&rng, 23);
        memset(whole, 0, sizeof(whole));
        for (int i = 0; i < 600; i++)
                value[i] = dog_rng_unit(&rng) < 0.05 ? (double)NAN : 30 * exp(0.4 * dog_rng_normal(&rng));
        dog_series_init(&s, &c);
        for (int i = 0; i < 600; i++) {
                dog_series_update(&s, &c, value[i], i * DOG_S / 5);
                for (int m = 0; m <= DOG_SERIES_MODEL_COUNT; m++)
                        dog_series_forecast_by(&s, &c, i * DOG_S / 5, (enum dog_series_model_id)m,
                                               whole[i][m]);
        }
        for (int cut = 1; cut < 600; cut += 37) {
                feed(&s, &c, value, cut, DOG_S / 5);
                for (int m = 0; m <= DOG_SERIES_MODEL_COUNT; m++) {
                        struct dog_forecast f[DOG_SERIES_HORIZONS];
                        memset(f, 0, sizeof(f));
                        dog_series_forecast_by(&s, &c, (cut - 1) * DOG_S / 5, (enum dog_series_model_id)m, f);
                        OK(memcmp(f, whole[cut - 1][m], sizeof(f)) == 0, "model %d at sample %d", m, cut);
                }
        }
}

static void every_forecaster_names_itself_and_its_source(void)
{
        for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++) {
                const struct dog_series_model *model = &dog_series_models[m];
                OK(model->name[0] && model->source[0] && model->state_size > 0, "row %d", m);
                OK(model->state_offset + model->state_size <= sizeof(struct dog_series_states), "row %d fits",
                   m);
        }
        OK(sizeof(struct dog_series) * 3 < 5120, "three series of a member: %zu bytes",
           3 * sizeof(struct dog_series));
        for (int k = 0; k < DOG_SERIES_OF_COUNT; k++)
                OK(dog_series_signal_name((enum dog_series_signal)k)[0] != 0, "signal %d has a name", k);
}

int main(void)
{
        return CHECK_RUN(TEST(an_ewma_is_the_mean_weighed_by_age), TEST(holt_winters_follows_the_textbook),
                         TEST(holt_winters_learns_a_season_and_a_line),
                         TEST(ar_recovers_the_coefficients_of_a_simulated_ar),
                         TEST(ar_stays_stable_and_bounded_whatever_it_is_fed),
                         TEST(the_ensemble_follows_whoever_has_the_better_record),
                         TEST(latency_jitter_and_loss_are_each_forecast_with_an_honest_spread),
                         TEST(bad_days_are_defined), TEST(no_forecast_knows_the_future),
                         TEST(every_forecaster_names_itself_and_its_source));
}
