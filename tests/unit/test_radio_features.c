/*
 * What radios tell, as inputs of the risk. F3, F4, O3: what will go wrong is predicted from outside signals
 * too. P13: what they mean is learned from outcomes, and nothing is assumed before.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "models/risk.h"

#include <math.h>
#include <string.h>

static bool is_near(float a, double b, double tolerance)
{
        return fabs((double)a - b) <= tolerance;
}

static struct dog_radio lte(int64_t at_ns, double rsrp_dbm)
{
        struct dog_radio r = dog_radio_unknown();
        r.at_ns = at_ns;
        r.rsrp_dbm = (float)rsrp_dbm;
        r.technology = DOG_RADIO_LTE;
        return r;
}

static void slots_begin_at_12_27_42_and_57(void)
{
        static const struct {
                int64_t wall_ms;
                double slot_s;
        } row[] = {{0, 3},     {12000, 0}, {11999, 14.999}, {27000, 0},        {42500, .5}, {57000, 0},
                   {60000, 3}, {-3000, 0}, {-3001, 14.999}, {1767225612000, 0} /* 2026-01-01 00:00:12 */};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++)
                OK(is_near(dog_radio_slot(row[i].wall_ms * DOG_MS), row[i].slot_s, 1e-4), "%lld ms: %g",
                   (long long)row[i].wall_ms, (double)dog_radio_slot(row[i].wall_ms * DOG_MS));
}

static void nothing_told_is_nan_and_no_hint(void)
{
        struct dog_radio_past p;
        float in[DOG_RADIO_INPUTS];
        float hint[DOG_RADIO_HINTS];
        dog_radio_past_init(&p, 5 * DOG_S);
        OK(!dog_radio_inputs(&p, DOG_S, in), "nothing was told");
        struct dog_radio empty = dog_radio_unknown();
        empty.at_ns = DOG_S;
        dog_radio_past_take(&p, &empty);
        OK(!dog_radio_inputs(&p, DOG_S, in), "told, and nothing in it");
        for (int i = 0; i < DOG_RADIO_INPUTS; i++)
                OK(isnan(in[i]), "%s", dog_radio_input_name(i));
        dog_radio_hints(in, hint);
        for (int i = 0; i < DOG_RADIO_HINTS; i++)
                OK(hint[i] == 0, "%s", dog_radio_hint_name(i));
        float extra[DOG_RADIO_EXTRAS];
        dog_radio_extras(in, extra);
        for (int i = 0; i < DOG_RADIO_EXTRAS; i++)
                OK(isnan(extra[i]), "extra %d", i);
        in[DOG_RADIO_I_RSSI] = -70;
        in[DOG_RADIO_I_OUTAGE] = 1;
        dog_radio_extras(in, extra);
        OK(extra[DOG_RADIO_X_SIGNAL_DBM] == -70 && extra[DOG_RADIO_X_OBSTRUCTED] == 1, "the next best");
}

static void a_steady_fall_is_seen_at_every_span(void)
{
        struct dog_radio_past p;
        float in[DOG_RADIO_INPUTS];
        float hint[DOG_RADIO_HINTS];
        dog_radio_past_init(&p, 5 * DOG_S);
        for (int i = 0; i <= 40; i++) {
                struct dog_radio r = lte((i + 1) * DOG_S / 2, -80 - i * 0.5);
                dog_radio_past_take(&p, &r);
        }
        NEED(dog_radio_inputs(&p, 41 * DOG_S / 2, in), "told a moment ago");
        OK(in[DOG_RADIO_I_RSRP] == -100, "%g", (double)in[DOG_RADIO_I_RSRP]);
        for (int s = 0; s < 3; s++)
                OK(is_near(in[DOG_RADIO_I_RSRP_2S + s], -1, 1e-3), "one dB a second, span %d: %g", s,
                   (double)in[DOG_RADIO_I_RSRP_2S + s]);
        OK(in[DOG_RADIO_I_RSRP_LOWEST] == -100 && in[DOG_RADIO_I_GENERATION] == 4, "lowest, generation");
        OK(isnan(in[DOG_RADIO_I_SINR]) && isnan(in[DOG_RADIO_I_SINR_5S]), "what is not told stays unknown");
        dog_radio_hints(in, hint);
        OK(hint[DOG_RADIO_H_FALL_15S] > hint[DOG_RADIO_H_FALL_5S] && hint[DOG_RADIO_H_FALL_5S] > 0,
           "a slow fall shows at the long span");
        OK(dog_radio_inputs(&p, 51 * DOG_S / 2, in) && is_near(in[DOG_RADIO_I_AGE], 5, 1e-5), "5 s: still");
        OK(!dog_radio_inputs(&p, 51 * DOG_S / 2 + 1, in) && isnan(in[DOG_RADIO_I_RSRP]), "then it is old");
}

static void a_time_that_does_not_advance_is_dropped(void)
{
        struct dog_radio_past p, before;
        dog_radio_past_init(&p, 5 * DOG_S);
        struct dog_radio r = lte(10 * DOG_S, -90);
        dog_radio_past_take(&p, &r);
        before = p;
        r.rsrp_dbm = -120;
        dog_radio_past_take(&p, &r);
        r.at_ns = 9 * DOG_S;
        dog_radio_past_take(&p, &r);
        OK(p.late == 2, "%u", p.late);
        before.late = 2;
        OK(memcmp(&p, &before, sizeof(p)) == 0, "and changes nothing else");
        float in[DOG_RADIO_INPUTS];
        OK(!dog_radio_inputs(&p, 9 * DOG_S, in), "nothing is said of a time before it was told");
}

static void another_cell_or_technology_is_a_handover(void)
{
        struct dog_radio_past p;
        float in[DOG_RADIO_INPUTS];
        dog_radio_past_init(&p, 5 * DOG_S);
        static const struct {
                uint64_t cell;
                int technology;
                int64_t handover_ns;
                double since_s; /* NAN: none */
        } row[] = {
                {7, DOG_RADIO_LTE, 0, NAN},      {7, DOG_RADIO_LTE, 0, NAN},
                {0, DOG_RADIO_LTE, 0, NAN},      {8, DOG_RADIO_LTE, 0, 0},
                {8, DOG_RADIO_LTE, 0, 1},        {8, DOG_RADIO_NR, 0, 0},
                {8, DOG_RADIO_UNKNOWN, 0, 1},    {8, DOG_RADIO_NR, 0, 2},
                {8, DOG_RADIO_NR, INT64_MAX, 3}, /* a handover that is yet to come is not believed */
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_radio r = lte((int64_t)(i + 1) * DOG_S, -90);
                r.cell = row[i].cell;
                r.technology = (uint8_t)row[i].technology;
                r.handover_ns = row[i].handover_ns;
                dog_radio_past_take(&p, &r);
                NEED(dog_radio_inputs(&p, r.at_ns, in), "told");
                OK(isnan(row[i].since_s) ? (bool)isnan(in[DOG_RADIO_I_SINCE_HANDOVER])
                                         : is_near(in[DOG_RADIO_I_SINCE_HANDOVER], row[i].since_s, 1e-5),
                   "row %zu: %g", i, (double)in[DOG_RADIO_I_SINCE_HANDOVER]);
        }
        OK(in[DOG_RADIO_I_HANDOVERS] > 1.8F && in[DOG_RADIO_I_HANDOVERS] < 2, "two, fading: %g",
           (double)in[DOG_RADIO_I_HANDOVERS]);
}

static void an_obstruction_comes_nearer_by_itself(void)
{
        struct dog_radio_past p;
        float in[DOG_RADIO_INPUTS];
        float hint[DOG_RADIO_HINTS];
        dog_radio_past_init(&p, 30 * DOG_S);
        struct dog_radio r = dog_radio_unknown();
        r.at_ns = DOG_S;
        r.obstructed_in_s = 10;
        r.slot_s = 14;
        dog_radio_past_take(&p, &r);
        float last = -1;
        for (int k = 0; k <= 12; k++) {
                NEED(dog_radio_inputs(&p, (1 + k) * DOG_S, in), "told");
                OK(in[DOG_RADIO_I_OBSTRUCTED_IN] == (float)(k < 10 ? 10 - k : 0), "after %d s", k);
                OK(is_near(in[DOG_RADIO_I_SLOT], (14 + k) % 15, 1e-4), "the grid goes on");
                dog_radio_hints(in, hint);
                OK(hint[DOG_RADIO_H_OBSTRUCTED_SOON] >= last, "the hint grows");
                last = hint[DOG_RADIO_H_OBSTRUCTED_SOON];
        }
        OK(last == 4, "and is at its most when it is there");
}

/* Whatever comes: hints within 0..4, never NaN, and nothing later than the time asked for. */
static void hints_stay_in_range_whatever_is_told(void)
{
        struct dog_rng rng;
        struct dog_radio_past p;
        float in[DOG_RADIO_INPUTS];
        float hint[DOG_RADIO_HINTS];
        dog_rng_init(&rng, 9);
        dog_radio_past_init(&p, 20 * DOG_S);
        int64_t t_ns = 1;
        for (int i = 0; i < 20000; i++) {
                struct dog_radio r = dog_radio_unknown();
                t_ns += (int64_t)(dog_rng_unit(&rng) * 3e9) - DOG_S / 5;
                r.at_ns = t_ns;
#define X(field, word, unit, least, most, help)                                                              \
        if (dog_rng_unit(&rng) < 0.7)                                                                        \
                r.field = (float)((least) + dog_rng_unit(&rng) * ((double)(most) - (least)));
                DOG_RADIO_VALUES(X)
#undef X
                r.cell = (uint64_t)(dog_rng_unit(&rng) * 4);
                r.technology = (uint8_t)(dog_rng_unit(&rng) * DOG_RADIO_TECHNOLOGY_COUNT);
                r.has_outage = dog_rng_unit(&rng) < 0.5;
                r.is_outage = dog_rng_unit(&rng) < 0.5;
                r.handover_ns = dog_rng_unit(&rng) < 0.1 ? t_ns - DOG_S : 0;
                dog_radio_past_take(&p, &r);
                dog_radio_inputs(&p, t_ns + (int64_t)(dog_rng_unit(&rng) * 4e9), in);
                dog_radio_hints(in, hint);
                for (int k = 0; k < DOG_RADIO_HINTS; k++)
                        OK(hint[k] >= 0 && hint[k] <= 4, "%s: %g", dog_radio_hint_name(k), (double)hint[k]);
        }
}

/* ---- the risk learns what they mean ---- */

/*
 * A made path: now and then, with nothing in the margin before, some seconds of loss. On the paths with a
 * radio RSRP falls to them: it begins 3 to 5 s before, by 6 dB a second. Without warning the margin says
 * nothing.
 */
struct lead_world {
        struct dog_rng rng;
        int64_t bad_ns; /* when the next loss begins */
        int64_t fall_ns, end_ns;
};

static void lead_next(struct lead_world *w, int64_t now_ns)
{
        w->bad_ns = now_ns + 8 * DOG_S + (int64_t)(dog_rng_unit(&w->rng) * 24e9);
        w->fall_ns = w->bad_ns - 3 * DOG_S - (int64_t)(dog_rng_unit(&w->rng) * 2e9);
        w->end_ns = w->bad_ns + DOG_S + (int64_t)(dog_rng_unit(&w->rng) * 1e9);
}

struct lead_score {
        double brier, early, quiet; /* of the 5 s risk; its mean 1..3 s before a loss, and far from any */
        unsigned outcomes, losses, scored, scored_losses;
};

/* `seconds` of it, scored over the part after `from_s`. `fall_db` a second: 0 is a radio that knows nothing.
 */
static struct lead_score lead_run(bool has_radio, double fall_db, int seconds, int from_s,
                                  struct dog_risk_model *end)
{
        static struct dog_risk r;
        struct dog_risk_model m;
        struct dog_risk_config c = dog_risk_config_default();
        struct dog_radio_past p;
        struct lead_world w = {.bad_ns = 0};
        struct lead_score score = {0};
        unsigned graded = 0, early = 0, quiet = 0;
        dog_rng_init(&w.rng, 77);
        dog_risk_init(&r);
        dog_risk_model_init(&m, &c);
        dog_radio_past_init(&p, 5 * DOG_S);
        lead_next(&w, 0);
        for (int i = 1; i <= 5 * seconds; i++) {
                int64_t t_ns = i * DOG_S / 5;
                double down_s = t_ns > w.fall_ns ? (double)(t_ns - w.fall_ns) * 1e-9 : 0;
                double noise_db = dog_rng_normal(&w.rng);
                bool is_bad = t_ns >= w.bad_ns && t_ns < w.end_ns;
                if (t_ns >= w.end_ns) {
                        lead_next(&w, t_ns);
                        score.losses++;
                        score.scored_losses += i > 5 * from_s;
                }
                float in[DOG_RADIO_INPUTS];
                float hint[DOG_RADIO_HINTS];
                if (i % 5 == 0) {
                        struct dog_radio told = lte(t_ns, -90 - fall_db * fmin(down_s, 5) + noise_db);
                        dog_radio_past_take(&p, &told);
                }
                bool is_told = has_radio && dog_radio_inputs(&p, t_ns, in);
                if (is_told)
                        dog_radio_hints(in, hint);
                struct dog_risk_sample s = {.t_ns = t_ns,
                                            .margin = (float)(is_bad ? -2.5 : 0.8 + 0.05 * noise_db),
                                            .is_bad = is_bad,
                                            .radio = is_told ? hint : NULL};
                struct dog_risk_outcome out[DOG_RISK_PENDING + 1];
                struct dog_risk_belief b;
                int n = dog_risk_observe(&r, &m, &c, &s, out);
                dog_risk_step(&r, &m, &c, NULL, t_ns, &b);
                for (int k = 0; k < n; k++)
                        if (out[k].target == DOG_RISK_H1 && i > 5 * from_s) {
                                double miss = (double)out[k].p - (out[k].is_bad ? 1 : 0);
                                score.brier += miss * miss;
                                graded++;
                        }
                if (i <= 5 * from_s)
                        continue;
                double to_s = (double)(w.bad_ns - t_ns) * 1e-9;
                if (to_s >= 1 && to_s <= 3) {
                        score.early += (double)b.p[DOG_RISK_H1];
                        early++;
                } else if (to_s > 7) {
                        score.quiet += (double)b.p[DOG_RISK_H1];
                        quiet++;
                }
        }
        score.brier /= graded;
        score.early /= early;
        score.quiet /= quiet;
        score.scored = graded;
        score.outcomes = m.outcomes[DOG_RISK_H1];
        *end = m;
        return score;
}

static void a_fall_before_each_loss_is_learned_to_lead(void)
{
        struct dog_risk_model m;
        for (int minutes = 2; minutes <= 30; minutes *= 2) {
                struct lead_score with = lead_run(true, 6, 60 * minutes + 600, 60 * minutes, &m);
                struct lead_score without = lead_run(false, 6, 60 * minutes + 600, 60 * minutes, &m);
                fprintf(stderr,
                        "# after %2d min, %u losses, %u outcomes: 1..3 s before a loss p(5 s) %.2f with "
                        "radio, %.2f without; far "
                        "from any "
                        "%.2f, %.2f; Brier %.3f, %.3f\n",
                        minutes, with.losses - with.scored_losses, with.outcomes - with.scored, with.early,
                        without.early, with.quiet, without.quiet, with.brier, without.brier);
        }
        struct lead_score with = lead_run(true, 6, 240 + 600, 240, &m);
        struct lead_score without = lead_run(false, 6, 240 + 600, 240, &m);
        OK(with.early > 0.6 && with.early > 2 * with.quiet,
           "after 4 minutes it is said before: %.2f, else %.2f", with.early, with.quiet);
        OK(without.early < 0.45, "which nothing else could tell: %.2f", without.early);
        OK(with.brier < 0.75 * without.brier, "Brier %.3f, without %.3f", with.brier, without.brier);
        struct lead_score blind = lead_run(true, 0, 240 + 600, 240, &m);
        OK(blind.brier < without.brier + 0.003, "a radio that knows nothing does no harm: %.4f, %.4f",
           blind.brier, without.brier);
}

/* No radio, a silent one, and one that says all is well: the same bits. */
static void a_radio_that_says_nothing_changes_no_bit(void)
{
        static const float well[DOG_RADIO_HINTS];
        static struct dog_risk r[2];
        static struct dog_risk_model m[2];
        struct dog_risk_config c = dog_risk_config_default();
        struct dog_rng rng;
        dog_rng_init(&rng, 3);
        for (int k = 0; k < 2; k++) {
                dog_risk_init(&r[k]);
                dog_risk_model_init(&m[k], &c);
        }
        double margin = 0.5;
        for (int i = 1; i < 5000; i++) {
                struct dog_risk_belief b[2];
                margin += 0.05 * (0.5 - margin) + 0.12 * dog_rng_normal(&rng);
                for (int k = 0; k < 2; k++) {
                        struct dog_risk_sample s = {.t_ns = i * DOG_S / 5,
                                                    .margin = (float)margin,
                                                    .is_bad = margin < 0,
                                                    .radio = k ? well : NULL};
                        dog_risk_observe(&r[k], &m[k], &c, &s, NULL);
                        dog_risk_step(&r[k], &m[k], &c, NULL, s.t_ns, &b[k]);
                }
                OK(memcmp(b[0].p, b[1].p, sizeof(b[0].p)) == 0 &&
                           memcmp(b[0].raw, b[1].raw, sizeof(b[0].raw)) == 0,
                   "step %d", i);
        }
        OK(memcmp(m[0].weight, m[1].weight, sizeof(m[0].weight)) == 0, "nor any weight");
}

int main(void)
{
        return CHECK_RUN(
                TEST(slots_begin_at_12_27_42_and_57), TEST(nothing_told_is_nan_and_no_hint),
                TEST(a_steady_fall_is_seen_at_every_span), TEST(a_time_that_does_not_advance_is_dropped),
                TEST(another_cell_or_technology_is_a_handover), TEST(an_obstruction_comes_nearer_by_itself),
                TEST(hints_stay_in_range_whatever_is_told), TEST(a_fall_before_each_loss_is_learned_to_lead),
                TEST(a_radio_that_says_nothing_changes_no_bit));
}
