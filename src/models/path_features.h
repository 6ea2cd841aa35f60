#pragma once
/**
 * What a path's past and its neighbours say, as numbers for the trees of models/path_risk.h.
 *
 * One struct dog_path_track per path takes samples; dog_path_features makes one row of features of it.
 * Time and memory per sample are bounded, whatever the rate: a ring of the newest 512 margins serves the
 * windows up to a minute (10 samples a second fill 51 s of it), fading means and fading histograms serve
 * what lies before. NaN in a feature means "not measured" or "not known yet"; trees route it.
 *
 * Pure: no clock, no allocation, no pointer in any state; same samples, same bits.
 *
 * The margin of a sample is models/risk.h's: > 0 inside the promise, 0 at its limit, -2.5 lost.
 *
 * The one idea beside means, minima and slopes: what has this path done before, from where it stood?
 * For each past moment s and reach H, D = (lowest margin within H after s) - (margin at s) is known once
 * H has passed. Its fading histogram, asked "how often would D from here end in a breach", is the path's own
 * record of falls (analog forecasting: Lorenz, J. Atmos. Sci. 26, 1969). Periodic dips are asked of a comb
 * of lags instead: how alike is the path to itself l samples ago (a lag-domain periodogram, as in de
 * Cheveigne and Kawahara's YIN, JASA 111, 2002).
 */
#include "models/risk.h"

#include <stdbool.h>
#include <stdint.h>

/**
 * Inputs that not every path has: what a modem, a dish, a feed or a host says. A place is kept for each in
 * the features: its value, and its change against its own mean of 8 s. The order is part of the model file.
 */
#define DOG_PATH_EXTRA_LIST(X)                                                                               \
        X(SIGNAL_DBM, RADIO, "signal strength")                                                              \
        X(SINR_DB, RADIO, "signal over noise")                                                               \
        X(HANDOVER_AGE_S, RADIO, "time since the last handover")                                             \
        X(OBSTRUCTED, RADIO, "share of the sky that is obstructed")                                          \
        X(OBSTRUCTION_IN_S, RADIO, "time to the next obstruction")                                           \
        X(CAUTION, OUTSIDE, "warning from outside")                                                          \
        X(LOAD, LOAD, "load of the path")

enum dog_path_extra {
#define X(id, group, words) DOG_PATH_X_##id,
        DOG_PATH_EXTRA_LIST(X)
#undef X
                DOG_PATH_EXTRAS
};

/** Windows, in seconds, by the newest sample backwards. */
#define DOG_PATH_WINDOW_LIST(X) X(1) X(2) X(3) X(5) X(10) X(15) X(20) X(30) X(60)
enum dog_path_window {
#define X(s) DOG_PATH_W##s,
        DOG_PATH_WINDOW_LIST(X)
#undef X
                DOG_PATH_WINDOWS
};

/** How far the histograms of falls look ahead. NEXT is one sample. */
#define DOG_PATH_REACH_LIST(X) X(NEXT, "next sample") X(1S, "1 s") X(2S, "2 s") X(5S, "5 s") X(15S, "15 s")
enum dog_path_reach {
#define X(id, words) DOG_PATH_R_##id,
        DOG_PATH_REACH_LIST(X)
#undef X
                DOG_PATH_REACHES
};

/** What members of a group show each other: own features, by name. */
#define DOG_PATH_FACE_LIST(X)                                                                                \
        X(BAD_1S, "broken lately (1 s)")                                                                     \
        X(BAD_8S, "broken lately (8 s)")                                                                     \
        X(MARGIN, "margin")                                                                                  \
        X(MARGIN_4S, "margin, mean of 4 s")                                                                  \
        X(LEAST_5, "lowest margin in 5 s")                                                                   \
        X(LEAST_30, "lowest margin in 30 s")                                                                 \
        X(NEXT_Z, "expected margin over its doubt")                                                          \
        X(SINCE, "time since the last breach")                                                               \
        X(BAD_EVER, "breaches since it is known")                                                            \
        X(CHANGE, "last change of margin")                                                                   \
        X(SLOPE_5, "slope of 5 s")
enum dog_path_face_item {
#define X(id, words) DOG_PATH_FACE_##id,
        DOG_PATH_FACE_LIST(X)
#undef X
                DOG_PATH_FACES
};

#define DOG_PATH_WINDOW_FEATURES(X, W)                                                                       \
        X(MEAN_##W, MARGIN, "margin, mean of the last " #W " s")                                             \
        X(LEAST_##W, LOWEST, "lowest margin in " #W " s")                                                    \
        X(MOST_##W, MARGIN, "highest margin in " #W " s")

#define DOG_PATH_REACH_FEATURES(X, id, words)                                                                \
        X(FALL_##id, FALLS, "falls from here would break it (" words ", minutes)")                           \
        X(FALL_LONG_##id, FALLS, "falls from here would break it (" words ", quarter of an hour)")           \
        X(FALL_DEEP_##id, FALLS, "falls from here would break it badly (" words ")")                         \
        X(FALL_NEAR_##id, FALLS, "falls from here would nearly break it (" words ")")

#define DOG_PATH_FACE_FEATURES(X, id, words)                                                                 \
        X(PEERS_MEAN_##id, PEERS, "the others, on average: " words)                                          \
        X(PEERS_LEAST_##id, PEERS, "the others, least: " words)                                              \
        X(PEERS_MOST_##id, PEERS, "the others, most: " words)                                                \
        X(PEERS_RANK_##id, PEERS, "place among the others: " words)

#define DOG_PATH_EXTRA_FEATURES(X, id, group, words)                                                         \
        X(X_##id, group, words)                                                                              \
        X(X_##id##_CHANGE, group, words ", change")

/** Every feature: name, group (models/risk_features.h), words for people. The order is the model's. */
#define DOG_PATH_FEATURE_LIST(X)                                                                             \
        X(BAD_NOW, BREACH, "broken right now")                                                               \
        X(BAD_1S, BREACH, "broken lately (1 s)")                                                             \
        X(BAD_2S, BREACH, "broken lately (2 s)")                                                             \
        X(BAD_4S, BREACH, "broken lately (4 s)")                                                             \
        X(BAD_8S, BREACH, "broken lately (8 s)")                                                             \
        X(BAD_16S, HISTORY, "broken lately (16 s)")                                                          \
        X(BAD_32S, HISTORY, "broken lately (32 s)")                                                          \
        X(BAD_64S, HISTORY, "broken lately (1 min)")                                                         \
        X(BAD_128S, HISTORY, "broken lately (2 min)")                                                        \
        X(SHARE_1, BREACH, "share broken of the last second")                                                \
        X(SHARE_2, BREACH, "share broken of 2 s")                                                            \
        X(SHARE_5, BREACH, "share broken of 5 s")                                                            \
        X(SHARE_10, HISTORY, "share broken of 10 s")                                                         \
        X(SHARE_30, HISTORY, "share broken of 30 s")                                                         \
        X(SHARE_60, HISTORY, "share broken of a minute")                                                     \
        X(BAD_EVER, HISTORY, "breaches since it is known")                                                   \
        X(SINCE, HISTORY, "time since the last breach")                                                      \
        X(SINCE_RUN, HISTORY, "time since the last breach began")                                            \
        X(RUN, BREACH, "length of this breach")                                                              \
        X(LAST_RUN, HISTORY, "length of the last breach")                                                    \
        X(LONGEST_RUN, HISTORY, "length of the longest breach")                                              \
        X(GAP, HISTORY, "calm before the last breach")                                                       \
        X(RUNS, HISTORY, "number of breaches in a minute")                                                   \
        X(AGE, MEASURE, "how long it is known")                                                              \
        X(MARGIN, MARGIN, "margin now")                                                                      \
        X(LAG_1, MARGIN, "margin one sample ago")                                                            \
        X(LAG_2, MARGIN, "margin two samples ago")                                                           \
        X(LAG_3, MARGIN, "margin three samples ago")                                                         \
        X(LAG_4, MARGIN, "margin four samples ago")                                                          \
        X(LAG_5, MARGIN, "margin five samples ago")                                                          \
        DOG_PATH_WINDOW_FEATURES(X, 1)                                                                       \
        DOG_PATH_WINDOW_FEATURES(X, 2)                                                                       \
        DOG_PATH_WINDOW_FEATURES(X, 3)                                                                       \
        DOG_PATH_WINDOW_FEATURES(X, 5)                                                                       \
        DOG_PATH_WINDOW_FEATURES(X, 10)                                                                      \
        DOG_PATH_WINDOW_FEATURES(X, 15)                                                                      \
        DOG_PATH_WINDOW_FEATURES(X, 20)                                                                      \
        DOG_PATH_WINDOW_FEATURES(X, 30)                                                                      \
        DOG_PATH_WINDOW_FEATURES(X, 60)                                                                      \
        X(SPREAD_3, RESTLESS, "spread of the margin (3 s)")                                                  \
        X(SPREAD_5, RESTLESS, "spread of the margin (5 s)")                                                  \
        X(SPREAD_10, RESTLESS, "spread of the margin (10 s)")                                                \
        X(SPREAD_20, RESTLESS, "spread of the margin (20 s)")                                                \
        X(SPREAD_30, RESTLESS, "spread of the margin (30 s)")                                                \
        X(SPREAD_60, RESTLESS, "spread of the margin (1 min)")                                               \
        X(RANK_10, LOWEST, "share of 10 s that was lower")                                                   \
        X(RANK_30, LOWEST, "share of 30 s that was lower")                                                   \
        X(RANK_60, LOWEST, "share of a minute that was lower")                                               \
        X(TENTH_30, LOWEST, "lowest tenth of 30 s")                                                          \
        X(TENTH_60, LOWEST, "lowest tenth of a minute")                                                      \
        X(MEDIAN_30, MARGIN, "median margin of 30 s")                                                        \
        X(MEDIAN_60, MARGIN, "median margin of a minute")                                                    \
        X(MARGIN_1S, MARGIN, "margin, fading mean of 1 s")                                                   \
        X(MARGIN_2S, MARGIN, "margin, fading mean of 2 s")                                                   \
        X(MARGIN_4S, MARGIN, "margin, fading mean of 4 s")                                                   \
        X(MARGIN_8S, MARGIN, "margin, fading mean of 8 s")                                                   \
        X(MARGIN_16S, MARGIN, "margin, fading mean of 16 s")                                                 \
        X(MARGIN_32S, MARGIN, "margin, fading mean of 32 s")                                                 \
        X(MARGIN_64S, MARGIN, "margin, fading mean of a minute")                                             \
        X(FALLING_1_4, FALLING, "margin falling (1 s against 4 s)")                                          \
        X(FALLING_2_16, FALLING, "margin falling (2 s against 16 s)")                                        \
        X(FALLING_8_64, FALLING, "margin falling (8 s against a minute)")                                    \
        X(CHANGE, FALLING, "last change of margin")                                                          \
        X(SLOPE_3, FALLING, "slope of 3 s")                                                                  \
        X(SLOPE_5, FALLING, "slope of 5 s")                                                                  \
        X(SLOPE_10, FALLING, "slope of 10 s")                                                                \
        X(SLOPE_20, FALLING, "slope of 20 s")                                                                \
        X(MOVES_5, RESTLESS, "size of changes (5 s)")                                                        \
        X(MOVES_15, RESTLESS, "size of changes (15 s)")                                                      \
        X(MOVES_60, RESTLESS, "size of changes (1 min)")                                                     \
        X(DROP_5, FALLS, "largest fall in 5 s")                                                              \
        X(DROP_15, FALLS, "largest fall in 15 s")                                                            \
        X(DROP_60, FALLS, "largest fall in a minute")                                                        \
        X(NEXT_Z, RESTLESS, "expected margin over its doubt")                                                \
        X(MOVE_Z, RESTLESS, "margin over its usual change")                                                  \
        X(JUMP, FALLS, "changes of a second from here would break it (1 min)")                               \
        X(JUMP_LONG, FALLS, "changes of a second from here would break it (4 min)")                          \
        DOG_PATH_REACH_FEATURES(X, NEXT, "next sample")                                                      \
        DOG_PATH_REACH_FEATURES(X, 1S, "1 s")                                                                \
        DOG_PATH_REACH_FEATURES(X, 2S, "2 s")                                                                \
        DOG_PATH_REACH_FEATURES(X, 5S, "5 s")                                                                \
        DOG_PATH_REACH_FEATURES(X, 15S, "15 s")                                                              \
        X(LOSS_1S, BREACH, "loss (1 s)")                                                                     \
        X(LOSS_4S, BREACH, "loss (4 s)")                                                                     \
        X(LOSS_32S, HISTORY, "loss (32 s)")                                                                  \
        X(RTT, MARGIN, "round-trip time")                                                                    \
        X(RTT_32S, MARGIN, "round-trip time, usual")                                                         \
        X(RTT_OVER, MARGIN, "round-trip time over its least of 30 s")                                        \
        X(RTT_SPREAD, RESTLESS, "spread of the round-trip time")                                             \
        X(BEAT_1, BEAT, "a periodic dip is due (1 sample)")                                                  \
        X(BEAT_2, BEAT, "a periodic dip is due (2 samples)")                                                 \
        X(BEAT_3, BEAT, "a periodic dip is due (3 samples)")                                                 \
        X(BEAT_4, BEAT, "a periodic dip is due (4 samples)")                                                 \
        X(BEAT_5, BEAT, "a periodic dip is due (5 samples)")                                                 \
        X(BEAT_MOST, BEAT, "a periodic dip is due")                                                          \
        X(BEAT_MARGIN, BEAT, "lowest margin that the beat expects")                                          \
        X(BEAT_LAG, BEAT, "distance of the dips")                                                            \
        X(BEAT_DOUBT, BEAT, "dips are not periodic")                                                         \
        X(DRIFT_3, BEAT, "the dip of 3 samples ago, drifted on")                                             \
        X(DRIFT_4, BEAT, "the dip of 4 samples ago, drifted on")                                             \
        X(DRIFT_5, BEAT, "the dip of 5 samples ago, drifted on")                                             \
        X(DRIFT_8, BEAT, "the dip of 8 samples ago, drifted on")                                             \
        X(LAG_7, BEAT, "margin 7 samples ago")                                                               \
        X(LAG_11, BEAT, "margin 11 samples ago")                                                             \
        X(LAG_15, BEAT, "margin 15 samples ago")                                                             \
        X(LAG_19, BEAT, "margin 19 samples ago")                                                             \
        X(LAG_23, BEAT, "margin 23 samples ago")                                                             \
        X(STEP, MEASURE, "distance of samples")                                                              \
        X(HAS_RTT, MEASURE, "round-trip time is measured")                                                   \
        X(HAS_LOSS, MEASURE, "loss is measured")                                                             \
        X(HAS_RATE, MEASURE, "rate is measured")                                                             \
        X(PATHS, PEERS, "number of alternatives")                                                            \
        DOG_PATH_FACE_FEATURES(X, BAD_1S, "broken lately (1 s)")                                             \
        DOG_PATH_FACE_FEATURES(X, BAD_8S, "broken lately (8 s)")                                             \
        DOG_PATH_FACE_FEATURES(X, MARGIN, "margin")                                                          \
        DOG_PATH_FACE_FEATURES(X, MARGIN_4S, "margin, mean of 4 s")                                          \
        DOG_PATH_FACE_FEATURES(X, LEAST_5, "lowest margin in 5 s")                                           \
        DOG_PATH_FACE_FEATURES(X, LEAST_30, "lowest margin in 30 s")                                         \
        DOG_PATH_FACE_FEATURES(X, NEXT_Z, "expected margin over its doubt")                                  \
        DOG_PATH_FACE_FEATURES(X, SINCE, "time since the last breach")                                       \
        DOG_PATH_FACE_FEATURES(X, BAD_EVER, "breaches since known")                                          \
        DOG_PATH_FACE_FEATURES(X, CHANGE, "last change of margin")                                           \
        DOG_PATH_FACE_FEATURES(X, SLOPE_5, "slope of 5 s")                                                   \
        DOG_PATH_EXTRA_FEATURES(X, SIGNAL_DBM, RADIO, "signal strength")                                     \
        DOG_PATH_EXTRA_FEATURES(X, SINR_DB, RADIO, "signal over noise")                                      \
        DOG_PATH_EXTRA_FEATURES(X, HANDOVER_AGE_S, RADIO, "time since the last handover")                    \
        DOG_PATH_EXTRA_FEATURES(X, OBSTRUCTED, RADIO, "obstructed share of the sky")                         \
        DOG_PATH_EXTRA_FEATURES(X, OBSTRUCTION_IN_S, RADIO, "time to the next obstruction")                  \
        DOG_PATH_EXTRA_FEATURES(X, CAUTION, OUTSIDE, "warning from outside")                                 \
        DOG_PATH_EXTRA_FEATURES(X, LOAD, LOAD, "load of the path")

enum dog_path_feature {
#define X(id, group, words) DOG_PATH_F_##id,
        DOG_PATH_FEATURE_LIST(X)
#undef X
                DOG_PATH_FEATURES
};

enum {
        DOG_PATH_RING = 512,  /**< newest margins kept */
        DOG_PATH_SCALES = 8,  /**< fading means: half-lives 1, 2, 4 .. 128 s */
        DOG_PATH_BINS = 64,   /**< of a histogram of falls: -2.4 .. 0.8 in steps of 0.05 */
        DOG_PATH_LIVES = 2,   /**< histograms fade over 240 and 900 s */
        DOG_PATH_LAGS = 24,   /**< of the comb, in samples */
        DOG_PATH_COMB = 32,   /**< newest logarithms of round-trip times, for the comb */
        DOG_PATH_LEVELS = 64, /**< of the margin's histogram over a window */
        DOG_PATH_PEERS = 16   /**< members of a group that are compared; further ones are not looked at */
};

/** One sample of a path. NaN: not measured this time. */
struct dog_path_sample {
        int64_t t_ns;
        float margin;
        bool is_bad; /**< the promise is broken at this sample */
        float rtt_ms, loss, rate_kbps;
        const float *load;  /**< for models/risk.h: DOG_RISK_LOAD_SIGNALS shares; NULL: none; borrowed */
        const float *radio; /**< ... DOG_RADIO_HINTS hints; NULL: none; borrowed */
        const float *extra; /**< DOG_PATH_EXTRAS numbers, NaN where not measured; NULL: none; borrowed */
};

/** What the others may see of a path. */
struct dog_path_face {
        float item[DOG_PATH_FACES];
};

/** The faces of a group; start from {0}. */
struct dog_path_peers {
        uint32_t count; /**< members added; the first DOG_PATH_PEERS of them are kept */
        struct dog_path_face face[DOG_PATH_PEERS];
};

/** A fading histogram of falls: weights grow instead of all bins being multiplied down at each sample. */
struct dog_path_falls {
        float bin[DOG_PATH_BINS] __attribute__((aligned(16)));
        float total;
};

/** One path's state, about 8 KB; a value. Read it through the functions. */
struct dog_path_track {
        int64_t first_ns, last_ns; /**< INT64_MIN: no sample yet */
        int64_t bad_ns, run_ns, calm_ns;
        uint32_t count;   /**< samples taken */
        uint32_t dropped; /**< samples whose time did not advance */
        float step_s;     /**< typical distance of samples */
        float bad_s, run_s, last_run_s, longest_run_s, gap_s, runs;
        float bad[DOG_PATH_SCALES], margin[DOG_PATH_SCALES], loss_1s, loss_4s, loss_32s;
        float var, cov, var_residual; /**< of an AR(1) about the 32 s mean */
        float rtt_log, rtt_mean, rtt_var;
        float rtt_least[7]; /**< of slots of 5 s; [0] the newest */
        int64_t rtt_slot;
        float has_rtt, has_loss, has_rate; /**< 1 measured lately, fading over seconds */
        bool is_bad, is_measured;
        /* The ring, written twice so that every window is one stretch of memory. */
        int16_t level[2 * DOG_PATH_RING]; /**< margin in steps of 1/6000 */
        uint32_t at_ms[DOG_PATH_RING];
        uint64_t bad_bits[DOG_PATH_RING / 64];
        struct dog_path_stretch {
                uint32_t from; /**< number of its oldest sample */
                uint32_t bad;
                int32_t sum;
                int64_t square, moves; /**< sums of squares of margins and of changes */
        } window[DOG_PATH_WINDOWS];
        uint16_t levels_30[DOG_PATH_LEVELS], levels_60[DOG_PATH_LEVELS];
        float unit[DOG_PATH_LIVES + 1]; /**< weight of a fall now, in each life; the last is of jumps */
        struct dog_path_falls falls[DOG_PATH_REACHES][DOG_PATH_LIVES], jumps[2];
        float rtt_ring[2 * DOG_PATH_COMB]; /**< written twice, too */
        uint32_t rtt_at;
        float comb[DOG_PATH_LAGS], comb_weight[DOG_PATH_LAGS];
        float extra[DOG_PATH_EXTRAS], extra_mean[DOG_PATH_EXTRAS];
        struct dog_path_face face;
};

void dog_path_track_init(struct dog_path_track *t);
/** Take one sample. One whose time does not advance is dropped and counted. @return taken */
bool dog_path_track_observe(struct dog_path_track *t, const struct dog_path_sample *s);
/** Show a member to the others (and to itself: it finds and leaves out its own face). */
void dog_path_peers_add(struct dog_path_peers *peers, const struct dog_path_track *t);
/**
 * Features at the newest sample. Pure.
 * @param peers  all members of the group; NULL or one member: alone
 */
void dog_path_features(const struct dog_path_track *t, const struct dog_path_peers *peers,
                       float out[DOG_PATH_FEATURES]);

/** The ids, DOG_PATH_FEATURES of them ("PEERS_MEAN_SINCE"): names of a table's columns; their hash tells
 * which features a model was made for (learn/table.h, dog_feature_set_hash). */
const char *const *dog_path_feature_ids(void);
/** "the others, on average: time since the last breach"; "unknown" outside. */
const char *dog_path_feature_name(int i);
/** enum dog_risk_group */
int dog_path_feature_group(int i);
