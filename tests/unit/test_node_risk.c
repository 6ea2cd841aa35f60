/*
 * A node seen through its metrics: features, health, grades and the live word. I1: health from processor,
 * memory and the network. I2: graded, not up or down. I14: scoring is continuous. F4: what is unusual is
 * seen. F5: a chance per failure mode. O3: an overload is foreseen where there is something to foresee it by.
 */
#include "base/array.h"
#include "base/rng.h"
#include "check.h"
#include "models/node_risk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct dog_node *node_new(unsigned metrics)
{
        struct dog_node *n = malloc(dog_node_size(metrics));
        NEED(n, "memory");
        dog_node_init(n, metrics);
        return n;
}

/* A quiet day of a server with four metrics; metric 0 has a daily wave. */
static void quiet(struct dog_rng *rng, int minute, float *value)
{
        value[0] = (float)(40 + 10 * sin(minute / 1440.0 * 6.2832) + dog_rng_normal(rng));
        value[1] = (float)(1e9 * (5 + 0.01 * dog_rng_normal(rng)));
        value[2] = (float)(0.001 * (3 + 0.2 * dog_rng_normal(rng)));
        value[3] = value[0] * 2 + (float)dog_rng_normal(rng);
}

static void a_node_that_turns_odd_loses_health_and_gains_it_back(void)
{
        struct dog_node *n = node_new(4);
        struct dog_rng rng;
        float value[4], before, ill = 1, alarm = 0;
        dog_rng_init(&rng, 3);
        OK(dog_node_health(n) == 1, "nothing is known: well");
        int minute = 0;
        for (; minute < 4 * 1440; minute++) {
                quiet(&rng, minute, value);
                dog_node_observe(n, minute * 60, value);
        }
        before = dog_node_health(n);
        OK(before > 0.8F && before <= 1, "an ordinary day: %.2f (I2)", (double)before);
        OK(dog_node_alarm(n) < 0.2F, "and no alarm: %.2f", (double)dog_node_alarm(n));
        for (int k = 0; k < 120; k++, minute++) {
                quiet(&rng, minute, value);
                value[1] *= 1.6F;
                value[2] *= 9;
                dog_node_observe(n, minute * 60, value);
                if (k == 0)
                        alarm = dog_node_alarm(n);
                ill = dog_node_health(n) < ill ? dog_node_health(n) : ill;
        }
        OK(alarm > 0.8F, "the first odd minute is an alarm: %.2f (F4)", (double)alarm);
        OK(ill < 0.5F, "two odd hours: %.2f", (double)ill);
        for (int k = 0; k < 3 * 1440; k++, minute++) {
                quiet(&rng, minute, value);
                dog_node_observe(n, minute * 60, value);
        }
        OK(dog_node_health(n) > 0.8F, "three quiet days later: %.2f", (double)dog_node_health(n));
        free(n);
}

static void whatever_comes_features_are_numbers_or_not_measured(void)
{
        static const struct {
                const char *what;
                int kind;
        } row[] = {{"constant", 0},   {"nothing but NaN", 1}, {"infinities", 2},
                   {"huge steps", 3}, {"one sample", 4},      {"one value in a hundred", 5}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_node *n = node_new(2);
                bool is_fine = true;
                int count = row[i].kind == 4 ? 1 : 5000;
                for (int t = 0; t < count; t++) {
                        float v = row[i].kind == 0   ? 5
                                  : row[i].kind == 1 ? NAN
                                  : row[i].kind == 2 ? (t % 2 ? INFINITY : -INFINITY)
                                  : row[i].kind == 3 ? (t % 500 == 7 ? 3e30F : -1e-30F)
                                  : row[i].kind == 5 ? (t % 100 ? NAN : (float)t)
                                                     : 1;
                        const float value[2] = {v, 1};
                        dog_node_observe(n, t * 300, value);
                        float x[DOG_NODE_OVERLOAD_COUNT];
                        dog_node_overload_features(n, 0, x);
                        for (unsigned k = 0; k < DOG_NODE_OVERLOAD_COUNT; k++)
                                is_fine &= !isinf(x[k]);
                        for (unsigned k = 0; k < DOG_NODE_FEATURE_COUNT; k++)
                                is_fine &= !isinf(dog_node_features(n)[k]);
                        is_fine &= dog_node_health(n) >= 0 && dog_node_health(n) <= 1 &&
                                   dog_node_alarm(n) >= 0 && dog_node_alarm(n) <= 1;
                }
                OK(is_fine, "%s", row[i].what);
                free(n);
        }
        OK(dog_node_size(0) == 0 && dog_node_size(DOG_NODE_METRICS_MAX + 1) == 0 && dog_node_size(1) > 0,
           "no metric, too many, one");
}

static void a_clock_that_stands_or_runs_back_is_dropped_and_counted(void)
{
        struct dog_node *n = node_new(1), *same = node_new(1);
        float value = 1;
        for (int t = 0; t < 50; t++) {
                value = (float)(t * t % 17);
                dog_node_observe(n, t * 60, &value);
                dog_node_observe(same, t * 60, &value);
                float other = 1e6F;
                OK(!dog_node_observe(n, t * 60, &other) && !dog_node_observe(n, t * 60 - 30, &other),
                   "dropped at %d", t);
        }
        OK(n->dropped == 100, "%llu dropped", (unsigned long long)n->dropped);
        n->dropped = 0;
        OK(memcmp(n, same, dog_node_size(1)) == 0, "and nothing was learned from them");
        free(n);
        free(same);
}

static void a_limit_in_another_unit_gives_the_same_features(void)
{
        struct dog_node *a = node_new(1), *b = node_new(1);
        struct dog_rng rng;
        dog_rng_init(&rng, 9);
        dog_node_limit(a, 0, 60);
        dog_node_limit(b, 0, 60 * 1024);
        for (int t = 0; t < 3000; t++) {
                float v = (float)(40 + 10 * dog_rng_normal(&rng)), scaled = v * 1024;
                dog_node_observe(a, t * 60, &v);
                dog_node_observe(b, t * 60, &scaled);
        }
        float x[DOG_NODE_OVERLOAD_COUNT], y[DOG_NODE_OVERLOAD_COUNT], most = 0;
        dog_node_overload_features(a, 0, x);
        dog_node_overload_features(b, 0, y);
        for (unsigned k = 0; k < DOG_NODE_OVERLOAD_COUNT; k++)
                if (!isnan(x[k]) || !isnan(y[k]))
                        most = fmaxf(most,
                                     isnan(x[k]) || isnan(y[k]) ? 1 : fabsf(x[k] - y[k]) / (1 + fabsf(x[k])));
        OK(most < 1e-3F, "kilobytes or bytes: %g apart", (double)most);
        free(a);
        free(b);
}

/* ---- what a word is worth ---------------------------------------------------------------------------- */

static const struct dog_node_shape grade_good = {
        .base = 0.01F, .few = 4, .bias = 0, .slope = 1, .skill = 0.05F, .bold = 0.2F};

static void a_grade_moves_to_the_nodes_own_rate_and_drops_a_model_that_loses(void)
{
        struct dog_node_grade g, without;
        dog_node_grade_init(&g, &grade_good, 0);
        float first = dog_node_grade_say(&g, 0), base_first = dog_node_grade_base(&g);
        OK(base_first < 0.01F && base_first > 0.005F, "no record: a little calmer than others: %.4f",
           (double)base_first);
        OK(first > 2 * base_first && first < 0.2F, "and the model has some of its say: %.3f", (double)first);

        /* The rate here is a fifth of what is said, and the model knows when. */
        struct dog_rng rng;
        dog_rng_init(&rng, 5);
        double loss = 0, loss_base = 0;
        for (int i = 0; i < 20000; i++) {
                bool is_hot = i % 50 == 0;
                float raw = is_hot ? logf(0.5F / 0.5F) : logf(0.01F / 0.99F);
                bool happened = dog_rng_unit(&rng) < (is_hot ? 0.1 : 0.0005);
                double p = (double)dog_node_grade_say(&g, raw), base = (double)dog_node_grade_base(&g);
                if (i > 2000) {
                        loss += (p - happened) * (p - happened);
                        loss_base += (base - happened) * (base - happened);
                }
                dog_node_grade_learn(&g, raw, happened, 1);
        }
        OK(dog_node_grade_has_skill(&g) && loss < loss_base, "Brier %.4f against the base rate's %.4f (F5)",
           loss / 18000, loss_base / 18000);
        OK(dog_node_grade_say(&g, 0) < 0.3F, "half is said elsewhere, a tenth happens here: %.2f",
           (double)dog_node_grade_say(&g, 0));

        /* A model that cries at the wrong times. */
        dog_node_grade_init(&without, &grade_good, 0);
        for (int i = 0; i < 4000; i++)
                dog_node_grade_learn(&without, i % 10 == 0 ? 0 : -6, i % 10 == 5 && i % 100 == 5, 1);
        OK(!dog_node_grade_has_skill(&without), "it loses its word, and says so (F5)");
        OK(dog_node_grade_say(&without, 0) < 1.2F * dog_node_grade_base(&without),
           "and the base rate is said, all but a twentieth of the way: %.4f",
           (double)dog_node_grade_say(&without, 0));
        OK(NEAR(dog_node_grade_base(&without), 0.01, 0.003), "which is the node's own: %.4f",
           (double)dog_node_grade_base(&without));

        struct dog_node_shape none = grade_good;
        none.skill = -0.1F;
        dog_node_grade_init(&g, &none, 0);
        float base = dog_node_grade_base(&g);
        OK(!dog_node_grade_has_skill(&g) && dog_node_grade_say(&g, 3) < 1.2F * base,
           "no skill in training: its word moves it a twentieth of the way: %.4f",
           (double)dog_node_grade_say(&g, 3));
        OK(dog_node_grade_say(&g, NAN) == base, "nothing to say: the base rate");
}

static void a_node_begins_with_the_rate_of_nodes_that_report_as_much(void)
{
        struct dog_node_shape s = grade_good;
        struct dog_node_grade small, usual, large, broken;
        s.growth = 0.5F;
        dog_node_grade_init(&small, &s, 1);
        dog_node_grade_init(&usual, &s, DOG_NODE_SHAPE_METRICS);
        dog_node_grade_init(&large, &s, 4 * DOG_NODE_SHAPE_METRICS);
        double of = (double)dog_node_grade_base(&usual);
        OK(NEAR(dog_node_grade_base(&small) / of, 0.25, 0.01) &&
                   NEAR(dog_node_grade_base(&large) / of, 2, 0.05),
           "by the root of how much: %.4f %.4f %.4f (F2)", (double)dog_node_grade_base(&small), of,
           (double)dog_node_grade_base(&large));
        s.few = NAN;
        dog_node_grade_init(&broken, &s, 1);
        OK(dog_node_grade_say(&broken, 5) == dog_node_grade_base(&broken) &&
                   !dog_node_grade_has_skill(&broken),
           "a shape that is no shape: the rate alone, %.4f", (double)dog_node_grade_base(&broken));
}

/* An hour in which each minute says `raw`, with an incident at its end or not. */
static void grade_hour(struct dog_node_grade *g, float raw, bool happened)
{
        for (int minute = 0; minute < 60; minute++)
                dog_node_grade_learn(g, raw, happened, 1.0F / 60);
}

static void belief_is_earned_by_incidents_not_by_steps(void)
{
        struct dog_node_grade g;
        dog_node_grade_init(&g, &grade_good, 0);
        float first = dog_node_grade_say(&g, 3);
        OK(first < 0.3F, "95 %% is said on a node that nothing is known of: %.2f", (double)first);
        for (int hour = 0; hour < 20; hour++)
                grade_hour(&g, -6, false);
        grade_hour(&g, 3, true);
        OK(dog_node_grade_boldness(&g) < 0.4F, "sixty steps foresaw one incident: it is one, %.2f (F5)",
           (double)dog_node_grade_boldness(&g));
        for (int day = 0; day < 10; day++) {
                for (int hour = 0; hour < 23; hour++)
                        grade_hour(&g, -6, false);
                grade_hour(&g, 3, true);
        }
        OK(dog_node_grade_boldness(&g) > 0.6F && dog_node_grade_say(&g, 3) > 0.5F,
           "ten were foreseen: it is believed, %.2f, and says %.2f", (double)dog_node_grade_boldness(&g),
           (double)dog_node_grade_say(&g, 3));
        for (int day = 0; day < 20; day++)
                grade_hour(&g, 3, false);
        OK(dog_node_grade_say(&g, 3) < 0.5F, "twenty false ones later it is believed less: %.2f",
           (double)dog_node_grade_say(&g, 3));
}

static void a_model_that_knows_nothing_costs_next_to_nothing(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 21);
        double loss = 0, happened_sum = 0, count = 0;
        for (int node = 0; node < 12; node++) {
                struct dog_node_grade g;
                dog_node_grade_init(&g, &grade_good, 0);
                for (int i = 0; i < 4000; i++) {
                        /* Loud, restless, and blind; twice as often as said. */
                        float raw = (float)(-5 + 2 * dog_rng_normal(&rng));
                        double y = dog_rng_unit(&rng) < 0.02, p = (double)dog_node_grade_say(&g, raw);
                        loss += (p - y) * (p - y);
                        happened_sum += y;
                        count++;
                        dog_node_grade_learn(&g, raw, y > 0, 1);
                }
        }
        double base = happened_sum / count, skill = 1 - loss / count / base / (1 - base);
        OK(skill > -0.004, "Brier skill %+.4f against the rate known in hindsight (F5)", skill);
}

static void an_alarm_stands_above_forecasts_and_half_an_alarm_costs_little(void)
{
        struct dog_node_grade g;
        dog_node_grade_init(&g, &grade_good, 0);
        float base = dog_node_grade_base(&g), loud = dog_node_grade_say(&g, 0);
        OK(dog_node_grade_alarmed(&g, base, 0) == base, "no alarm, no change");
        OK(dog_node_grade_alarmed(&g, base, 1) > 1.5F * loud &&
                   NEAR(dog_node_grade_alarmed(&g, base, 1), 25 * base, 2e-3),
           "an alarm stands above a forecast of one half that has not earned its say: %.3f, %.3f (F4)",
           (double)dog_node_grade_alarmed(&g, base, 1), (double)loud);
        OK(dog_node_grade_alarmed(&g, base, 0.5F) < 7 * base, "half an alarm is a quarter of that");
        OK(dog_node_grade_alarmed(&g, base, 0.25F) > 2 * base, "and stands above the timid voice");
        OK(dog_node_grade_alarmed(&g, 0.7F, 1) == 0.7F, "and it never lowers a chance");
}

/* ---- live -------------------------------------------------------------------------------------------- */

static const struct dog_node_risk_metric live_metric[] = {{"cpu", DOG_NODE_DEVICE, 0.9F},
                                                          {"memory", DOG_NODE_DEVICE, NAN},
                                                          {"tx-rate", DOG_NODE_TRAFFIC, NAN},
                                                          {"net-errors", DOG_NODE_LINK, 0}};

static struct dog_node_risk_config live_config(void)
{
        struct dog_node_risk_config c = {
                .metrics = ARRAY_SIZE(live_metric), .metric = live_metric, .period_s = 60};
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                c.failure_shape[h] = dog_node_shape_plain(0.001F * (float)(h + 1));
                c.overload_shape[h] = dog_node_shape_plain(0.01F * (float)(h + 1));
        }
        return c;
}

static void the_live_word_says_what_may_happen_how_sure_it_is_and_why(void)
{
        struct dog_node_risk_config c = live_config();
        struct dog_node_risk *r = malloc(dog_node_risk_size(c.metrics));
        NEED(r, "memory");
        dog_node_risk_init(r, &c);
        struct dog_node_word w;
        dog_node_risk_word(r, &c, &w);
        char text[400];
        OK(w.t_s == INT64_MIN && w.health == 1 && isnan(w.overload[0]) && w.failure[1] > 0,
           "before the first minute");
        dog_node_word_text(&w, &c, text, sizeof(text));
        OK(strstr(text, "first minute"), "%s", text);

        struct dog_rng rng;
        dog_rng_init(&rng, 11);
        int words = 0;
        int64_t t = 1000;
        for (; t < 1000 + 2 * 86400; t += 5) {
                bool is_peak = t / 60 % 120 < 2;
                const float value[] = {is_peak ? 0.97F : 0.4F + 0.02F * (float)dog_rng_normal(&rng), 0.6F,
                                       1e6F + 1e4F * (float)dog_rng_normal(&rng), 0};
                words += dog_node_risk_observe(r, &c, t, value);
        }
        dog_node_risk_word(r, &c, &w);
        OK(words > 2870 && words <= 2880, "a word a minute: %d (I14)", words);
        OK(!w.has_failure_skill[1] && !w.has_overload_skill[1], "no trees: no skill, and it says so (F5)");
        OK(w.overload[2] > 0.1F && w.overload[2] < 0.8F,
           "every second hour it is over its limit: the base rate is learned from that, within the hour %.2f",
           (double)w.overload[2]);
        OK(w.failure[2] < 0.003F, "it never failed: %.4f", (double)w.failure[2]);
        OK(w.mode[DOG_NODE_MODE_LINK_FAILURE] > 0 && w.mode[DOG_NODE_MODE_LINK_FAILURE] < 0.0036F &&
                   !w.has_mode_skill[DOG_NODE_MODE_LINK_FAILURE],
           "no error on a link: %.4f", (double)w.mode[DOG_NODE_MODE_LINK_FAILURE]);
        OK(w.mode[DOG_NODE_MODE_DEVICE_OVERLOAD] >= w.overload[1] - 1e-6F,
           "the processor is the device's overload");

        /* It fails twice a day from here on. */
        float before = w.failure[2];
        for (int day = 0; day < 4; day++)
                for (int64_t end = t + 86400; t < end; t += 5) {
                        const float value[] = {0.4F, 0.6F, 1e6F, 0};
                        if ((t - 1000) % 43200 == 0)
                                dog_node_risk_failed(r, t);
                        dog_node_risk_observe(r, &c, t, value);
                }
        dog_node_risk_word(r, &c, &w);
        OK(w.failure[2] > 3 * before, "failures are learned from: %.4f, before %.4f (I2)",
           (double)w.failure[2], (double)before);

        /* F4, I14: what is above its limit is said after ten seconds, not at the end of the minute; one value
         * is none. */
        for (int64_t begun = t; t < begun + 30; t += 5) {
                const float value[] = {t == begun || t >= begun + 10 ? 0.97F : 0.4F, 0.6F, 1e6F, 0};
                dog_node_risk_observe(r, &c, t, value);
                dog_node_risk_word(r, &c, &w);
                OK((w.overload[0] == 1) == (t >= begun + 20), "%d s: %.3f", (int)(t - begun),
                   (double)w.overload[0]);
        }
        dog_node_word_text(&w, &c, text, sizeof(text));
        OK(strstr(text, "cpu is above its limit") && w.mode[DOG_NODE_MODE_DEVICE_OVERLOAD] == 1, "%s", text);

        /* A link errs, the processor is full. */
        for (int k = 0; k < 60; k++, t += 5) {
                const float value[] = {0.99F, 0.6F, 3e6F, 40};
                dog_node_risk_observe(r, &c, t, value);
        }
        dog_node_risk_word(r, &c, &w);
        OK(w.mode[DOG_NODE_MODE_LINK_FAILURE] == 1 && w.overload[0] == 1, "above its limit is certain");
        OK(w.driver, "and there is a reason");
        OK(w.unusual > 0.5F && w.unusual <= 1, "it is unusual: %.2f (F4)", (double)w.unusual);
        dog_node_word_text(&w, &c, text, sizeof(text));
        OK(strstr(text, "above its limit") && strstr(text, "no skill"), "%s", text);

        /* A clock that runs back, a long silence. */
        const float calm[] = {0.4F, 0.6F, 1e6F, 0};
        OK(!dog_node_risk_observe(r, &c, t - 500, calm) && dog_node_risk_dropped(r) == 1,
           "dropped and counted");
        dog_node_risk_observe(r, &c, t + 100000, calm);
        dog_node_risk_observe(r, &c, t + 100060, calm);
        dog_node_risk_word(r, &c, &w);
        OK(w.t_s > t && w.health >= 0 && w.health <= 1, "after a day of silence it goes on");
        free(r);
}

int main(void)
{
        return CHECK_RUN(TEST(a_node_that_turns_odd_loses_health_and_gains_it_back),
                         TEST(whatever_comes_features_are_numbers_or_not_measured),
                         TEST(a_clock_that_stands_or_runs_back_is_dropped_and_counted),
                         TEST(a_limit_in_another_unit_gives_the_same_features),
                         TEST(a_grade_moves_to_the_nodes_own_rate_and_drops_a_model_that_loses),
                         TEST(a_node_begins_with_the_rate_of_nodes_that_report_as_much),
                         TEST(belief_is_earned_by_incidents_not_by_steps),
                         TEST(a_model_that_knows_nothing_costs_next_to_nothing),
                         TEST(an_alarm_stands_above_forecasts_and_half_an_alarm_costs_little),
                         TEST(the_live_word_says_what_may_happen_how_sure_it_is_and_why));
}
