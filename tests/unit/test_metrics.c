/* How forecasts are judged, against values worked out by hand. */
#include "check.h"
#include "learn/judge_nodes.h"
#include "learn/judge_paths.h"
#include "learn/metrics.h"
#include "learn/tradeoff.h"

#include "base/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXACT 1e-12

static struct dog_said_list said_of(const double *p, const char *happened)
{
        struct dog_said_list said = {0};
        for (size_t i = 0; happened[i]; i++)
                NEED(dog_said_add(&said, p[i], happened[i] == '1') == 0, "memory");
        return said;
}

static struct dog_scores scores_of(const double *p, const char *happened, enum dog_binning binning)
{
        struct dog_said_list said = said_of(p, happened);
        struct dog_scores s;
        NEED(dog_metrics_score(&said, binning, &s, NULL) == 0, "memory");
        OK(isnan(s.auroc) == isnan(dog_metrics_auroc(&said)), "the area alone is the same");
        dog_said_free(&said);
        return s;
}

static void ranks_and_ties_count_as_by_hand(void) /* P13 */
{
        static const struct {
                double p[6];
                const char *happened;
                double auroc, ap;
                const char *say;
        } row[] = {
                {{.1, .4, .35, .8},
                 "0011",
                 .75,
                 .5 * 1 + .5 * 2 / 3,
                 "one of four pairs is the wrong way round"},
                {{.5, .5, .5, .5}, "0011", .5, .5, "all the same: chance, and the base rate"},
                {{.1, .2, .8, .9}, "0011", 1, 1, "in order"},
                {{.9, .8, .2, .1}, "0011", 0, .5 * 1 / 3 + .5 * 2 / 4, "in reverse order"},
                {{.2, .6, .6, .7}, "0101", .875, .5 * 1 + .5 * 2 / 3, "a tie counts half"},
                {{.3, NAN, .9}, "101", 1, 1, "what was not said counts as 0"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_scores s = scores_of(row[i].p, row[i].happened, DOG_BINS_WIDTH);
                OK(NEAR(s.auroc, row[i].auroc, EXACT), "%s: AUROC %g", row[i].say, s.auroc);
                OK(NEAR(s.ap, row[i].ap, EXACT), "%s: AP %g", row[i].say, s.ap);
        }
}

static void the_brier_score_and_its_skill(void) /* P13 */
{
        static const double p[] = {.9, .2, .6, 0};
        struct dog_scores s = scores_of(p, "1010", DOG_BINS_WIDTH);
        /* (.01 + .04 + .16 + 0) / 4; the base rate alone gives .25 */
        OK(NEAR(s.brier, .0525, EXACT), "%g", s.brier);
        OK(NEAR(s.skill, 1 - .0525 / .25, EXACT), "%g", s.skill);
        OK(NEAR(s.base, .5, EXACT) && s.cover == 1 && s.count == 4, "%g", s.base);
        static const double base[] = {.5, .5, .5, .5};
        OK(NEAR(scores_of(base, "1010", DOG_BINS_WIDTH).skill, 0, EXACT), "the base rate has no skill");
        static const double wrong[] = {0, 1, 0, 1};
        OK(NEAR(scores_of(wrong, "1010", DOG_BINS_WIDTH).skill, -3, EXACT),
           "sure and wrong is worse than nothing");
        static const double gaps[] = {NAN, .5, NAN, .5};
        OK(NEAR(scores_of(gaps, "1010", DOG_BINS_WIDTH).cover, .5, EXACT), "half was said");
}

static void calibration_in_bins_of_equal_width_and_of_equal_count(void) /* P13 */
{
        static const double p[] = {.5, .5, .01, .01, 1};
        struct dog_scores s = scores_of(p, "10101", DOG_BINS_WIDTH);
        /* Bin 7: .5 said, .5 happened. Bin 0: .01 and .5, two of five. Bin 14: 1 and 1. */
        OK(NEAR(s.ece, .4 * .49, EXACT), "%g", s.ece);
        OK(s.bin[7].count == 2 && s.bin[0].count == 2 && s.bin[14].count == 1, "p = 1 is in the last bin");
        OK(isnan(s.bin[3].said) && s.bin[3].count == 0, "an empty bin says nothing");
        /* 17 pairs: two bins of two, thirteen of one. */
        double q[17];
        char happened[18] = "00000000000000000";
        for (int i = 0; i < 17; i++)
                q[i] = i / 100.0;
        happened[1] = '1';
        s = scores_of(q, happened, DOG_BINS_COUNT);
        OK(s.bin[0].count == 2 && s.bin[1].count == 2 && s.bin[2].count == 1 && s.bin[14].count == 1,
           "2, 2, 1 ..");
        /* First bin: said .005, happened .5; the others said what is their mean, nothing happened. */
        double expected = 2 * (.5 - .005) / 17;
        for (int i = 2; i < 17; i++)
                expected += i / 100.0 / 17;
        OK(NEAR(s.ece, expected, EXACT), "%g %g", s.ece, expected);
}

static void recall_where_every_second_alarm_is_right(void)
{
        static const double p[] = {.9, .8, .7, .6, .5, .4};
        struct dog_scores s = scores_of(p, "010101", DOG_BINS_WIDTH);
        /* From the top: 0/1, 1/2, 1/3, 2/4, 2/5, 3/6. */
        OK(NEAR(s.recall_50, 1, EXACT) && NEAR(s.threshold_50, .4, EXACT), "%g at %g", s.recall_50,
           s.threshold_50);
        s = scores_of(p, "000001", DOG_BINS_WIDTH);
        OK(s.recall_50 == 0 && isinf(s.threshold_50), "nothing is that precise");
}

static void nothing_to_judge_is_no_number(void)
{
        struct dog_scores s = scores_of(NULL, "", DOG_BINS_WIDTH);
        OK(s.count == 0 && isnan(s.auroc) && isnan(s.ap) && isnan(s.brier) && isnan(s.ece), "no pair");
        static const double p[] = {.5, .2};
        s = scores_of(p, "00", DOG_BINS_COUNT);
        OK(isnan(s.auroc) && isnan(s.ap) && isnan(s.skill) && NEAR(s.brier, .145, EXACT), "nothing happened");
        s = scores_of(p, "11", DOG_BINS_WIDTH);
        OK(isnan(s.auroc) && NEAR(s.ap, 1, EXACT) && isnan(s.skill), "everything happened");
}

/* ---- paths ---- */

enum { STEPS = 600 };

/* Two paths, five samples a second; the first is bad at 100..109 and 400, the second at 105 and 106. */
struct made {
        bool is_seen[2 * STEPS], is_bad[2 * STEPS];
        double p[DOG_JUDGE_HORIZONS][2 * STEPS];
};

static struct made *made_new(void)
{
        struct made *m = calloc(1, sizeof(*m));
        NEED(m, "memory");
        for (int k = 0; k < 2 * STEPS; k++)
                m->is_seen[k] = true;
        for (int k = 100; k < 110; k++)
                m->is_bad[k] = true;
        m->is_bad[400] = m->is_bad[STEPS + 105] = m->is_bad[STEPS + 106] = true;
        return m;
}

static void outcomes_are_what_follows_and_onsets_what_nobody_sees(void) /* P7 */
{
        struct made *m = made_new();
        uint8_t bits[STEPS];
        dog_path_outcomes(m->is_seen, m->is_bad, STEPS, 200, 1000, 1, bits);
        OK(bits[99] & DOG_LINE_SOON && bits[95] & DOG_LINE_SOON && !(bits[94] & DOG_LINE_SOON), "within 1 s");
        OK(!(bits[101] & DOG_LINE_ONSET) && bits[99] & DOG_LINE_ONSET, "a bad sample now is no news");
        OK(!(bits[113] & DOG_LINE_ONSET) && bits[114] & DOG_LINE_ONSET, "after a second without it is");
        OK(!(bits[9] & DOG_LINE_JUDGED) && bits[10] & DOG_LINE_JUDGED, "not in the first 2 s");
        OK(bits[594] & DOG_LINE_JUDGED && !(bits[595] & DOG_LINE_JUDGED), "not where the record ends");
        m->is_seen[202] = m->is_seen[203] = false;
        dog_path_outcomes(m->is_seen, m->is_bad, STEPS, 200, 1000, 1, bits);
        OK(bits[197] & DOG_LINE_JUDGED && !(bits[198] & DOG_LINE_JUDGED),
           "80 %% of what follows is measured");
        OK(!(bits[202] & DOG_LINE_JUDGED), "and the path itself");
        dog_path_outcomes(m->is_seen, m->is_bad, 14, 200, 1000, 1, bits);
        OK(!(bits[10] & DOG_LINE_JUDGED), "a record shorter than three horizons is not judged");
        free(m);
}

static struct dog_path_report judged(const struct made *m)
{
        struct dog_path_judge *j;
        struct dog_path_report report;
        struct dog_judged_path r = {.paths = 2,
                                    .steps = STEPS,
                                    .step_ms = 200,
                                    .is_seen = m->is_seen,
                                    .is_bad = m->is_bad,
                                    .p = {m->p[0], m->p[1], m->p[2]}};
        NEED(dog_path_judge_new(&j, NULL) == 0 && dog_path_judge_add(j, &r, NULL) == 0, "memory");
        NEED(dog_path_judge_end(j, &report, NULL) == 0, "memory");
        dog_path_judge_free(j);
        return report;
}

static void who_knows_the_future_is_perfect_and_warns_a_horizon_ahead(void) /* P13 */
{
        struct made *m = made_new();
        uint8_t bits[STEPS];
        static const int64_t horizon_ms[] = {1000, 5000, 30000};
        for (int h = 0; h < DOG_JUDGE_HORIZONS; h++)
                for (int path = 0; path < 2; path++) {
                        dog_path_outcomes(m->is_seen + path * STEPS, m->is_bad + path * STEPS, STEPS, 200,
                                          horizon_ms[h], 1, bits);
                        for (int k = 0; k < STEPS; k++)
                                m->p[h][path * STEPS + k] = bits[k] & DOG_LINE_SOON ? 1 : 0;
                }
        struct dog_path_report r = judged(m);
        for (int h = 0; h < DOG_JUDGE_HORIZONS; h++)
                for (int s = 0; s < DOG_JUDGE_SUBSETS; s++) {
                        const struct dog_scores *x = &r.row[h][s].scores;
                        OK(x->brier == 0 && x->ap == 1 && x->auroc == 1 && x->cover == 1, "horizon %d", h);
                }
        const struct dog_path_row *five = &r.row[1][DOG_JUDGE_ALL];
        OK(five->episodes == 3 && NEAR(five->detected, 1, EXACT), "%zu episodes", five->episodes);
        OK(NEAR(five->lead_s, 5, EXACT) && five->false_alarms_h == 0, "%g s ahead", five->lead_s);
        /* Step 0 has no forecast a step old: 599 of 600 count, twice for the two orders. */
        OK(NEAR(r.tradeoff.pairs.steps, 1198, EXACT) && NEAR(r.tradeoff.pairs.bad, 13, EXACT), "pairs");
        OK(NEAR(dog_policy_left(&r.tradeoff.pairs, 0) * 1198, 13, 1e-9), "without a copy");
        OK(NEAR(dog_policy_left(&r.tradeoff.pairs, 1) * 1198, 4, 1e-9),
           "both are bad at two moments, in both orders");
        OK(NEAR(r.tradeoff.all_bad, 2, EXACT) && NEAR(r.tradeoff.steer.steps, 599, EXACT), "steering");
        dog_path_report_free(&r);
        free(m);
}

static void who_says_always_the_same_gains_what_chance_gains(void)
{
        struct made *m = made_new();
        for (int h = 0; h < DOG_JUDGE_HORIZONS; h++)
                for (int k = 0; k < 2 * STEPS; k++)
                        m->p[h][k] = .3;
        struct dog_path_report r = judged(m);
        OK(NEAR(r.row[0][0].scores.auroc, .5, EXACT), "%g", r.row[0][0].scores.auroc);
        OK(NEAR(dog_curve_area(&r.tradeoff.pairs.curve), .5, EXACT), "the area is one half");
        OK(NEAR(dog_curve_overhead(&r.tradeoff.pairs.curve, .9), .9, EXACT), "90 %% costs 90 %%");
        OK(r.tradeoff.switches == 0, "and nobody moves");
        dog_path_report_free(&r);
        free(m);
}

static void a_curve_is_linear_between_its_thresholds(void)
{
        struct dog_choice choice[] = {{.9, true}, {.5, false}, {.5, true}, {.1, false}};
        struct dog_curve c;
        NEED(dog_curve_make(&c, choice, 4, NULL) == 0, "memory");
        OK(c.points == 4 && NEAR(c.overhead[2], .75, EXACT) && NEAR(c.removed[2], 1, EXACT),
           "ties go together");
        OK(NEAR(dog_curve_removed(&c, .5), .75, EXACT), "%g", dog_curve_removed(&c, .5));
        OK(NEAR(dog_curve_overhead(&c, .9), .25 + .5 * .8, EXACT), "%g", dog_curve_overhead(&c, .9));
        OK(NEAR(dog_curve_removed(&c, 2), 1, EXACT) && NEAR(dog_curve_removed(&c, 0), 0, EXACT), "the ends");
        /* 1 -> .5 over .25, .5 -> 0 over .5, 0 over .25 */
        OK(NEAR(dog_curve_area(&c), .25 * .75 + .5 * .25, EXACT), "%g", dog_curve_area(&c));
        dog_curve_free(&c);
        NEED(dog_curve_make(&c, choice, 0, NULL) == 0, "memory");
        OK(isnan(dog_curve_area(&c)) && NEAR(dog_curve_overhead(&c, .9), 1, EXACT), "a curve of nothing");
        dog_curve_free(&c);
}

static void traffic_moves_only_for_more_than_the_hysteresis(void)
{
        static const bool seen[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
        static const bool bad[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
        static const struct {
                double p[10], switches, steered_bad;
                const char *say;
        } row[] = {
                {{.10, .10, .10, .10, .10, .09, .09, .09, .09, .09},
                 0,
                 0,
                 ".01 better at first: there it begins"},
                {{.10, .10, .10, .10, .10, .15, .05, .085, .085, .085},
                 1,
                 0,
                 ".05 better: it moves, and stays"},
                {{.10, .10, .10, .10, .10, .15, .05, .15, .15, .15}, 2, 1, "there and back"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_tradeoff t = dog_tradeoff_begin();
                struct dog_alternatives a = {.count = 2,
                                             .steps = 5,
                                             .step_ms = 1000,
                                             .p = row[i].p,
                                             .is_seen = seen,
                                             .is_bad = bad};
                NEED(dog_tradeoff_add(&t, &a, NULL) == 0 && dog_tradeoff_end(&t, NULL) == 0, "memory");
                OK(NEAR(t.switches, row[i].switches, EXACT), "%s: %g", row[i].say, t.switches);
                OK(NEAR(t.steer.bad, row[i].steered_bad, EXACT), "%s: %g bad", row[i].say, t.steer.bad);
                OK(t.pairs.steps == 0, "a pair needs ten common steps");
                dog_tradeoff_free(&t);
        }
}

/* ---- nodes ---- */

static void incidents_are_foreseen_detected_or_missed(void) /* F4 I14 */
{
        /* Six days, a step a minute; two incidents of half an hour. The forecaster warns of the first ten
         * minutes ahead. */
        enum { MINUTES = 6 * 1440 };
        static const struct dog_judged_incident incident[] = {{1440 * 60, 1470 * 60}, {2880 * 60, 2910 * 60}};
        double *p = calloc(MINUTES, sizeof(*p));
        double *health = calloc(MINUTES, sizeof(*health));
        NEED(p && health, "memory");
        for (int k = 0; k < MINUTES; k++) {
                p[k] = k >= 1430 && k < 1440 ? .9 : .01;
                health[k] = (k >= 1440 && k < 1470) || (k >= 2880 && k < 2910) ? .2 : .9;
        }
        p[5000] = p[5001] = .95; /* a false alarm */
        p[2884] = .9;            /* the second one is seen after four minutes */
        struct dog_judged_node r = {.step_s = 60,
                                    .end_s = MINUTES * 60,
                                    .incident = incident,
                                    .incidents = 2,
                                    .p = {p, p, p},
                                    .health = health};
        struct dog_node_judge *j;
        struct dog_node_report report;
        NEED(dog_node_judge_new(&j, NULL) == 0 && dog_node_judge_add(j, &r, NULL) == 0, "memory");
        NEED(dog_node_judge_end(j, &report, NULL) == 0, "memory");
        const struct dog_node_row *row = &report.row[1];
        const struct dog_judged_event *one = &row->event[2];
        OK(report.nodes == 1 && report.incidents == 2 && row->is_judged, "%zu incidents", report.incidents);
        OK(NEAR(one->recall, .5, EXACT) && NEAR(one->lead_s, 600, EXACT),
           "one of two, 10 minutes ahead: %g s", one->lead_s);
        OK(NEAR(one->detect, 1, EXACT) && NEAR(one->delay_s, 120, EXACT),
           "both seen, the median of 0 and 4 min: %g", one->delay_s);
        OK(NEAR(one->false_alarms * row->node_days, 1, 1e-9),
           "one false alarm, however long it stands within an hour");
        OK(row->event[0].recall <= one->recall, "a smaller budget catches no more");
        OK(NEAR(report.health_auroc, 1, EXACT), "health tells inside from outside: %g", report.health_auroc);
        /* 30 minutes inside, 15 after, for both, and the last 15: none of them counts. */
        OK(row->scores.count == MINUTES - 2 * 45 - 15, "%zu steps count", row->scores.count);
        OK(NEAR(row->scores.base * (double)row->scores.count, 30, 1e-9), "15 minutes before each");
        dog_node_judge_free(j);
        free(p);
        free(health);
}

static void always_on_costs_an_alarm_an_hour_and_is_over_any_budget(void) /* F4 */
{
        enum { MINUTES = 2 * 1440 };
        static const struct dog_judged_incident incident[] = {{1440 * 60, 1470 * 60}};
        double *p = malloc(MINUTES * sizeof(*p));
        NEED(p, "memory");
        for (int k = 0; k < MINUTES; k++)
                p[k] = .5;
        struct dog_judged_node r = {
                .step_s = 60, .end_s = MINUTES * 60, .incident = incident, .incidents = 1, .p = {p, p, p}};
        struct dog_node_judge *j;
        struct dog_node_report report;
        NEED(dog_node_judge_new(&j, NULL) == 0 && dog_node_judge_add(j, &r, NULL) == 0, "memory");
        NEED(dog_node_judge_end(j, &report, NULL) == 0, "memory");
        OK(report.row[1].event[3].recall == 0 && isnan(report.row[1].event[3].lead_s),
           "nothing within the budget");
        OK(NEAR(report.row[1].scores.auroc, .5, EXACT) && isnan(report.health_auroc), "and nothing known");
        r.step_s = 0;
        OK(dog_node_judge_add(j, &r, NULL) < 0, "a step of nothing is refused");
        dog_node_judge_free(j);
        free(p);
}

int main(void)
{
        return CHECK_RUN(TEST(ranks_and_ties_count_as_by_hand), TEST(the_brier_score_and_its_skill),
                         TEST(calibration_in_bins_of_equal_width_and_of_equal_count),
                         TEST(recall_where_every_second_alarm_is_right), TEST(nothing_to_judge_is_no_number),
                         TEST(outcomes_are_what_follows_and_onsets_what_nobody_sees),
                         TEST(who_knows_the_future_is_perfect_and_warns_a_horizon_ahead),
                         TEST(who_says_always_the_same_gains_what_chance_gains),
                         TEST(a_curve_is_linear_between_its_thresholds),
                         TEST(traffic_moves_only_for_more_than_the_hysteresis),
                         TEST(incidents_are_foreseen_detected_or_missed),
                         TEST(always_on_costs_an_alarm_an_hour_and_is_over_any_budget));
}
