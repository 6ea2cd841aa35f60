/* P7: what the trees of path risk look at, against the plain definition of each number. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "models/path_risk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONG = 3000 };

struct made {
        int64_t step_ns;
        int count;
        float margin[LONG];
};

static struct dog_path_sample sample_of(float margin, int64_t t_ns)
{
        return (struct dog_path_sample){.t_ns = t_ns,
                                        .margin = margin,
                                        .is_bad = margin < 0,
                                        .rtt_ms = 100 * expf(-margin),
                                        .loss = 0,
                                        .rate_kbps = NAN};
}

static void track_play(struct dog_path_track *t, const struct made *m)
{
        dog_path_track_init(t);
        for (int i = 0; i < m->count; i++) {
                struct dog_path_sample s = sample_of(m->margin[i], (i + 1) * m->step_ns);
                dog_path_track_observe(t, &s);
        }
}

static void made_walk(struct made *m, int64_t step_ns, int count, uint64_t seed)
{
        struct dog_rng rng;
        double x = 0.6;
        dog_rng_init(&rng, seed);
        m->step_ns = step_ns;
        m->count = count;
        for (int i = 0; i < count; i++) {
                x += 0.1 * (0.6 - x) + 0.15 * dog_rng_normal(&rng);
                m->margin[i] = (float)(dog_rng_below(&rng, 60) == 0 ? -2.5 : x);
        }
}

static void windows_hold_what_lies_in_them(void)
{
        static const struct {
                int64_t step_ns;
                int count;
                const char *say;
        } row[] = {
                {DOG_S, 7, "the first seconds"},
                {DOG_S, 200, "a sample a second"},
                {DOG_S / 5, 1500, "five a second, the ring turned over"},
                {DOG_S / 10, 2500, "ten a second: a minute is more than the ring, its windows end with it"}};
        static const struct {
                int span_s, mean, share, spread, moves, drop, rank;
        } window[] = {
                {5, DOG_PATH_F_MEAN_5, DOG_PATH_F_SHARE_5, DOG_PATH_F_SPREAD_5, DOG_PATH_F_MOVES_5,
                 DOG_PATH_F_DROP_5, -1},
                {10, DOG_PATH_F_MEAN_10, DOG_PATH_F_SHARE_10, DOG_PATH_F_SPREAD_10, -1, -1,
                 DOG_PATH_F_RANK_10},
                {30, DOG_PATH_F_MEAN_30, DOG_PATH_F_SHARE_30, DOG_PATH_F_SPREAD_30, -1, -1,
                 DOG_PATH_F_RANK_30},
                {60, DOG_PATH_F_MEAN_60, DOG_PATH_F_SHARE_60, DOG_PATH_F_SPREAD_60, DOG_PATH_F_MOVES_60,
                 DOG_PATH_F_DROP_60, DOG_PATH_F_RANK_60},
        };
        static struct made m;
        static struct dog_path_track t;
        for (size_t r = 0; r < ARRAY_SIZE(row); r++) {
                float f[DOG_PATH_FEATURES];
                made_walk(&m, row[r].step_ns, row[r].count, 11 + r);
                track_play(&t, &m);
                dog_path_features(&t, NULL, f);
                for (size_t w = 0; w < ARRAY_SIZE(window); w++) {
                        int n = (int)(window[w].span_s * DOG_S / m.step_ns);
                        n = n < m.count ? n : m.count;
                        n = n < DOG_PATH_RING - 2 ? n : DOG_PATH_RING - 2;
                        double sum = 0, square = 0, moves = 0, drop = 0, least = 9, most = -9, bad = 0,
                               below = 0;
                        for (int i = m.count - n; i < m.count; i++) {
                                double x = (double)m.margin[i];
                                double change = i ? x - (double)m.margin[i - 1] : 0;
                                sum += x;
                                square += x * x;
                                moves += change * change;
                                drop = change < drop ? change : drop;
                                least = x < least ? x : least;
                                most = x > most ? x : most;
                                bad += m.margin[i] < 0;
                                below += m.margin[i] < m.margin[m.count - 1];
                        }
                        double mean = sum / n;
                        OK(NEAR((double)f[window[w].mean], mean, 1e-3), "%s, mean of %d s: %g, %g",
                           row[r].say, window[w].span_s, (double)f[window[w].mean], mean);
                        OK(NEAR((double)f[window[w].mean + 1], least, 1e-3) &&
                                   NEAR((double)f[window[w].mean + 2], most, 1e-3),
                           "%s, least and most of %d s", row[r].say, window[w].span_s);
                        OK(NEAR((double)f[window[w].share], bad / n, 1e-5), "%s, share broken of %d s",
                           row[r].say, window[w].span_s);
                        OK(NEAR((double)f[window[w].spread], sqrt(fmax(square / n - mean * mean, 0)), 2e-3),
                           "%s, spread of %d s", row[r].say, window[w].span_s);
                        if (window[w].moves >= 0)
                                OK(NEAR((double)f[window[w].moves], sqrt(moves / n), 2e-3) &&
                                           NEAR((double)f[window[w].drop], drop, 1e-3),
                                   "%s, changes of %d s", row[r].say, window[w].span_s);
                        if (window[w].rank >= 0)
                                OK(NEAR((double)f[window[w].rank], below / n, 1e-5),
                                   "%s, rank in %d s: %g, %g", row[r].say, window[w].span_s,
                                   (double)f[window[w].rank], below / n);
                }
                for (int k = 0; k <= 5 && k < m.count; k++)
                        OK(NEAR(f[DOG_PATH_F_MARGIN + k], m.margin[m.count - 1 - k], 1e-3F), "%s, lag %d",
                           row[r].say, k);
        }
}

static void a_slope_is_a_slope(void)
{
        static struct made m;
        static struct dog_path_track t;
        float f[DOG_PATH_FEATURES];
        m.step_ns = DOG_S / 2;
        m.count = 200;
        for (int i = 0; i < m.count; i++)
                m.margin[i] = 2.0F - 0.01F * (float)i;
        track_play(&t, &m);
        dog_path_features(&t, NULL, f);
        for (int k = 0; k < 4; k++)
                OK(NEAR(f[DOG_PATH_F_SLOPE_3 + k], -0.02F, 1e-3F), "it falls 0.02 a second: %g",
                   (double)f[DOG_PATH_F_SLOPE_3 + k]);
}

static void breaches_are_counted_in_seconds(void)
{
        static struct made m;
        static struct dog_path_track t;
        float f[DOG_PATH_FEATURES];
        m.step_ns = DOG_S;
        m.count = 100;
        for (int i = 0; i < m.count; i++)
                m.margin[i] = (i >= 40 && i < 44) || (i >= 80 && i < 82) ? -0.5F : 0.5F;
        track_play(&t, &m);
        dog_path_features(&t, NULL, f);
        OK(f[DOG_PATH_F_BAD_NOW] == 0 && f[DOG_PATH_F_RUN] == 0, "calm now");
        OK(NEAR(f[DOG_PATH_F_SINCE], logf(1 + 18), 1e-3F), "18 s since the last: %g",
           (double)f[DOG_PATH_F_SINCE]);
        OK(NEAR(f[DOG_PATH_F_SINCE_RUN], logf(1 + 19), 1e-3F), "19 s since it began");
        OK(f[DOG_PATH_F_LAST_RUN] == 2 && f[DOG_PATH_F_LONGEST_RUN] == 4,
           "the last of 2 s, the longest of 4");
        OK(f[DOG_PATH_F_GAP] == 37, "37 s from the one to the other: %g", (double)f[DOG_PATH_F_GAP]);
        OK(NEAR(f[DOG_PATH_F_BAD_EVER], 7.0F / 119, 1e-4F), "6 of 99 s, and a stranger's doubt");
        OK(NEAR(f[DOG_PATH_F_SHARE_60], 6.0F / 60, 1e-5F), "both in the last minute");
}

/* The record of falls, against going through all the past. */
static void falls_from_here_are_those_of_the_past(void)
{
        static struct made m;
        static struct dog_path_track t;
        static const struct {
                int reach_s, feature, deep;
        } row[] = {{1, DOG_PATH_F_FALL_1S, DOG_PATH_F_FALL_DEEP_1S},
                   {5, DOG_PATH_F_FALL_5S, DOG_PATH_F_FALL_DEEP_5S},
                   {15, DOG_PATH_F_FALL_15S, DOG_PATH_F_FALL_DEEP_15S}};
        for (uint64_t seed = 1; seed < 5; seed++) {
                float f[DOG_PATH_FEATURES];
                made_walk(&m, DOG_S / 2, 1200, seed);
                track_play(&t, &m);
                dog_path_features(&t, NULL, f);
                double now = (double)m.margin[m.count - 1];
                for (size_t r = 0; r < ARRAY_SIZE(row); r++) {
                        int steps = 2 * row[r].reach_s;
                        double soft = 0, deep = 0, all = 0;
                        for (int s = 0; s + steps < m.count; s++) {
                                double least = 9;
                                for (int i = s + 1; i <= s + steps; i++)
                                        least = fmin(least, (double)m.margin[i]);
                                double y = now + least - (double)m.margin[s];
                                double weight = exp(-0.5 * (m.count - 1 - s - steps) / 240);
                                soft += weight / (1 + exp(fmin(y / 0.07, 50)));
                                deep += weight * (y < -0.3);
                                all += weight;
                        }
                        OK(NEAR((double)f[row[r].feature], soft / all, 0.02), "seed %d, %d s: %g, by hand %g",
                           (int)seed, row[r].reach_s, (double)f[row[r].feature], soft / all);
                        OK(NEAR((double)f[row[r].deep], deep / all, 0.03),
                           "seed %d, %d s, deep: %g, by hand %g", (int)seed, row[r].reach_s,
                           (double)f[row[r].deep], deep / all);
                }
        }
}

static void a_periodic_dip_is_seen_coming(void)
{
        static struct dog_path_track t;
        float before = 0;
        float after = 0;
        dog_path_track_init(&t);
        for (int i = 0; i < 200; i++) {
                float f[DOG_PATH_FEATURES];
                struct dog_path_sample s = sample_of(i % 4 == 3 ? -0.6F : 0.7F, (i + 1) * DOG_S / 5);
                dog_path_track_observe(&t, &s);
                dog_path_features(&t, NULL, f);
                before = i % 4 == 2 ? f[DOG_PATH_F_BEAT_1] : before;
                after = i % 4 == 0 ? f[DOG_PATH_F_BEAT_1] : after;
                if (i == 199)
                        OK(f[DOG_PATH_F_BEAT_LAG] == 4 && f[DOG_PATH_F_BEAT_DOUBT] < 0.01F,
                           "each fourth sample: %g", (double)f[DOG_PATH_F_BEAT_LAG]);
        }
        OK(before > 0.95F && after < 0.05F, "due %g before a dip, %g after one", (double)before,
           (double)after);
}

static void the_others_are_compared_and_oneself_is_not(void)
{
        static struct dog_path_track t[20];
        struct dog_path_peers peers = {0};
        float f[DOG_PATH_FEATURES];
        for (int p = 0; p < 3; p++) {
                dog_path_track_init(&t[p]);
                for (int i = 0; i < 10; i++) {
                        struct dog_path_sample s = sample_of(0.1F + 0.4F * (float)p, (i + 1) * DOG_S);
                        dog_path_track_observe(&t[p], &s);
                }
                dog_path_peers_add(&peers, &t[p]);
        }
        dog_path_features(&t[1], &peers, f);
        OK(f[DOG_PATH_F_PATHS] == 3 && NEAR(f[DOG_PATH_F_PEERS_MEAN_MARGIN], 0.5F, 1e-3F) &&
                   NEAR(f[DOG_PATH_F_PEERS_LEAST_MARGIN], 0.1F, 1e-3F) &&
                   NEAR(f[DOG_PATH_F_PEERS_MOST_MARGIN], 0.9F, 1e-3F) &&
                   f[DOG_PATH_F_PEERS_RANK_MARGIN] == 0.5F,
           "the middle one: one is worse, one is better");
        dog_path_features(&t[1], NULL, f);
        OK(isnan(f[DOG_PATH_F_PEERS_MEAN_MARGIN]), "alone, nobody is there");
        struct dog_path_peers alone = {0};
        dog_path_peers_add(&alone, &t[1]);
        dog_path_features(&t[1], &alone, f);
        OK(isnan(f[DOG_PATH_F_PEERS_MEAN_MARGIN]) && f[DOG_PATH_F_PATHS] == 1,
           "nor when it is its own company");
        for (int p = 3; p < 20; p++) {
                t[p] = t[0];
                dog_path_peers_add(&peers, &t[p]);
        }
        dog_path_features(&t[2], &peers, f);
        OK(peers.count == 20 && f[DOG_PATH_F_PATHS] == 20 &&
                   NEAR(f[DOG_PATH_F_PEERS_MOST_MARGIN], 0.5F, 1e-3F),
           "of many, the first 16 are looked at");
}

static void what_a_modem_says_has_its_place_and_its_absence_is_no_number(void)
{
        static struct dog_path_track t;
        float f[DOG_PATH_FEATURES];
        float extra[DOG_PATH_EXTRAS];
        dog_path_track_init(&t);
        for (int i = 0; i < 30; i++) {
                for (int x = 0; x < DOG_PATH_EXTRAS; x++)
                        extra[x] = NAN;
                extra[DOG_PATH_X_SIGNAL_DBM] = i < 29 ? -80.0F : -100.0F;
                extra[DOG_PATH_X_SINR_DB] = INFINITY;
                struct dog_path_sample s = sample_of(0.5F, (i + 1) * DOG_S);
                s.extra = extra;
                dog_path_track_observe(&t, &s);
        }
        dog_path_features(&t, NULL, f);
        OK(f[DOG_PATH_F_X_SIGNAL_DBM] == -100 && f[DOG_PATH_F_X_SIGNAL_DBM_CHANGE] < -17,
           "it fell by 20 dB: %g", (double)f[DOG_PATH_F_X_SIGNAL_DBM_CHANGE]);
        OK(isnan(f[DOG_PATH_F_X_SINR_DB]), "infinite is not measured");
        OK(isnan(f[DOG_PATH_F_X_CAUTION]) && isnan(f[DOG_PATH_F_X_LOAD_CHANGE]), "nobody said");
        struct dog_path_sample silent = sample_of(0.5F, 31 * DOG_S);
        dog_path_track_observe(&t, &silent);
        dog_path_features(&t, NULL, f);
        OK(isnan(f[DOG_PATH_F_X_SIGNAL_DBM]), "what is not told any more is not known any more");
}

static void a_clock_that_does_not_go_on_is_dropped_and_counted(void)
{
        static struct dog_path_track t;
        static struct dog_path_track kept;
        static struct made m;
        made_walk(&m, DOG_S, 50, 3);
        track_play(&t, &m);
        kept = t;
        for (int i = 0; i < 3; i++) {
                struct dog_path_sample s = sample_of(-1, (50 - i) * DOG_S);
                OK(!dog_path_track_observe(&t, &s), "not newer than the newest");
        }
        OK(t.dropped == 3, "%u counted", t.dropped);
        t.dropped = 0;
        OK(memcmp(&t, &kept, sizeof(t)) == 0, "and nothing else has changed");
}

static void any_input_gives_numbers_or_nothing_and_the_same_twice(void)
{
        static struct dog_path_track t[2];
        static const float odd[] = {NAN, INFINITY, -INFINITY, 0, -2.5F, 2.5F, 1e30F, -1e-30F};
        for (int pass = 0; pass < 2; pass++) {
                struct dog_rng rng;
                int64_t now = -5 * DOG_S;
                dog_rng_init(&rng, 9);
                dog_path_track_init(&t[pass]);
                for (int i = 0; i < 20000; i++) {
                        static const int64_t wait[] = {1, 1000, DOG_MS, 200 * DOG_MS, DOG_S, 86400 * DOG_S};
                        float f[DOG_PATH_FEATURES];
                        bool is_odd = dog_rng_below(&rng, 10) == 0;
                        now += wait[dog_rng_below(&rng, is_odd ? ARRAY_SIZE(wait) : 5)];
                        struct dog_path_sample s = sample_of((float)dog_rng_normal(&rng), now);
                        if (is_odd) {
                                s.margin = odd[dog_rng_below(&rng, ARRAY_SIZE(odd))];
                                s.rtt_ms = odd[dog_rng_below(&rng, ARRAY_SIZE(odd))];
                                s.loss = odd[dog_rng_below(&rng, ARRAY_SIZE(odd))];
                                s.rate_kbps = odd[dog_rng_below(&rng, ARRAY_SIZE(odd))];
                        }
                        dog_path_track_observe(&t[pass], &s);
                        dog_path_features(&t[pass], NULL, f);
                        for (int k = 0; k < DOG_PATH_FEATURES; k++)
                                NEED(!isinf(f[k]), "sample %d: %s is infinite", i, dog_path_feature_ids()[k]);
                }
        }
        OK(memcmp(&t[0], &t[1], sizeof(t[0])) == 0, "same samples, same bits");
}

static void a_constant_path_has_finite_features(void)
{
        static struct dog_path_track t;
        dog_path_track_init(&t);
        float f[DOG_PATH_FEATURES];
        dog_path_features(&t, NULL, f);
        OK(isnan(f[DOG_PATH_F_MARGIN]) && isnan(f[DOG_PATH_F_BAD_NOW]),
           "before the first sample nothing is known");
        for (int i = 0; i < 1000; i++) {
                struct dog_path_sample s = sample_of(1, (i + 1) * DOG_S);
                dog_path_track_observe(&t, &s);
        }
        dog_path_features(&t, NULL, f);
        OK(f[DOG_PATH_F_SPREAD_60] == 0 && f[DOG_PATH_F_SLOPE_10] == 0 && f[DOG_PATH_F_FALL_5S] < 1e-5F,
           "it does not move, and never fell");
}

static void names_are_there_for_all_and_no_two_alike(void)
{
        for (int i = 0; i < DOG_PATH_FEATURES; i++) {
                OK(dog_path_feature_ids()[i] && *dog_path_feature_name(i), "feature %d", i);
                OK(dog_path_feature_group(i) < DOG_RISK_GROUPS, "its group");
                for (int k = 0; k < i; k++)
                        OK(strcmp(dog_path_feature_ids()[i], dog_path_feature_ids()[k]) != 0, "%s twice",
                           dog_path_feature_ids()[i]);
        }
        OK(strcmp(dog_path_feature_name(-1), "unknown") == 0 &&
                   strcmp(dog_path_feature_name(DOG_PATH_FEATURES), "unknown") == 0,
           "outside");
}

/* P13: without trees the logistic speaks, mixed with what needs no model: bit for bit what these say by
 * themselves, and calibrated once. */
static void without_a_model_the_logistic_speaks(void)
{
        static struct dog_path_shared shared;
        static struct dog_path_risk path;
        static struct dog_path_track track;
        static struct dog_risk_model model;
        static struct dog_risk alone;
        static struct dog_ensemble mix;
        static struct made m;
        struct dog_risk_config c = dog_risk_config_default();
        struct dog_ensemble_config mixed = dog_ensemble_config_default();
        dog_path_shared_init(&shared, &c, NULL);
        dog_path_track_init(&track);
        dog_path_risk_init(&path, &track);
        c.is_calibrating = false;
        dog_risk_model_init(&model, &c);
        dog_risk_init(&alone);
        dog_ensemble_init(&mix);
        made_walk(&m, DOG_S, 500, 21);
        for (int i = 0; i < m.count; i++) {
                struct dog_path_belief b;
                struct dog_risk_belief own;
                struct dog_ensemble_belief want;
                struct dog_ensemble_news news[2];
                float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS];
                int64_t t = (i + 1) * DOG_S;
                struct dog_path_sample s = sample_of(m.margin[i], t);
                struct dog_risk_sample same = {.t_ns = t, .margin = s.margin, .is_bad = s.is_bad};
                dog_path_risk_observe(&path, &shared, &s, &news[0]);
                dog_risk_observe(&alone, &model, &c, &same, NULL);
                dog_ensemble_observe(&mix, &mixed, t, s.is_bad, &news[1]);
                NEED(news[0].outcomes == news[1].outcomes, "as many outcomes");
                dog_path_risk_step(&path, &shared, NULL, t, &b);
                dog_risk_step(&alone, &model, &c, NULL, t, &own);
                for (int h = 0; h < DOG_ENSEMBLE_TARGETS; h++) {
                        said[DOG_EXPERT_LOGISTIC][h] = own.p[h];
                        said[DOG_EXPERT_TREES][h] = NAN;
                }
                dog_ensemble_step(&mix, &mixed, said, t, &want);
                OK(!b.has_trees && memcmp(b.mix.p, want.p, sizeof(want.p)) == 0, "the same chances at %d", i);
        }
        struct dog_ensemble_news news;
        struct dog_path_sample old = sample_of(0.5F, DOG_S);
        dog_path_risk_observe(&path, &shared, &old, &news);
        OK(news.outcomes == 0 && track.dropped == 1, "an old one is dropped");
}

static void a_correction_rises_and_keeps_order_beyond_its_ends(void)
{
        struct dog_path_iso iso = {.points = 3, .at = {-4, -2, 1}, .to = {-5, -2.5F, 0}};
        float before = -1e9F;
        for (float x = -10; x < 10; x += 0.1F) {
                float y = dog_path_iso_apply(&iso, x);
                OK(y > before, "at %g", (double)x);
                before = y;
        }
        OK(dog_path_iso_apply(&iso, -2) == -2.5F && dog_path_iso_apply(&iso, -3) == -3.75F, "on its line");
        OK(dog_path_iso_apply(&iso, 3) == 2 && dog_path_iso_apply(&iso, -6) == -7, "beyond");
        iso.points = 0;
        OK(dog_path_iso_apply(&iso, 1.5F) == 1.5F, "none: as it is");
}

int main(void)
{
        return CHECK_RUN(
                TEST(windows_hold_what_lies_in_them), TEST(a_slope_is_a_slope),
                TEST(breaches_are_counted_in_seconds), TEST(falls_from_here_are_those_of_the_past),
                TEST(a_periodic_dip_is_seen_coming), TEST(the_others_are_compared_and_oneself_is_not),
                TEST(what_a_modem_says_has_its_place_and_its_absence_is_no_number),
                TEST(a_clock_that_does_not_go_on_is_dropped_and_counted),
                TEST(any_input_gives_numbers_or_nothing_and_the_same_twice),
                TEST(a_constant_path_has_finite_features), TEST(names_are_there_for_all_and_no_two_alike),
                TEST(without_a_model_the_logistic_speaks),
                TEST(a_correction_rises_and_keeps_order_beyond_its_ends));
}
