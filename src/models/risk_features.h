#pragma once
/**
 * What risk.h looks at, as one list, and the state it is computed from in constant time per sample.
 * Included by risk.h only. Half-lives are powers of two seconds, so that one exponential a step
 * gives all of them by squaring. Each feature is scaled to about [-4, 4] and clamped there.
 */
#define DOG_RISK_FEATURE_LIST(X)                                                                             \
        X(ONE, BREACH, "ordinary level")                                                                     \
        X(BAD_NOW, BREACH, "broken right now")                                                               \
        X(BAD_1S, BREACH, "broken lately (1 s)")                                                             \
        X(BAD_4S, BREACH, "broken lately (4 s)")                                                             \
        X(BAD_16S, HISTORY, "broken lately (16 s)")                                                          \
        X(BAD_64S, HISTORY, "broken lately (1 min)")                                                         \
        X(LOG_BAD_2S, BREACH, "any breach, fresh (2 s)")                                                     \
        X(LOG_BAD_8S, BREACH, "any breach, fresh (8 s)")                                                     \
        X(LOG_BAD_32S, HISTORY, "any breach, fresh (32 s)")                                                  \
        X(LOG_BAD_EVER, HISTORY, "breaches since it is known")                                               \
        X(SINCE, HISTORY, "time since the last breach")                                                      \
        X(SINCE_1S, BREACH, "a breach within the second")                                                    \
        X(SINCE_5S, BREACH, "a breach within 5 s")                                                           \
        X(RUN, BREACH, "length of this breach")                                                              \
        X(LAST_RUN, HISTORY, "length of the last breach")                                                    \
        X(RUNS, HISTORY, "number of breaches in a minute")                                                   \
        X(MARGIN, MARGIN, "margin now")                                                                      \
        X(MARGIN_LOW, MARGIN, "margin nearly used up")                                                       \
        X(MARGIN_MID, MARGIN, "margin thin")                                                                 \
        X(MARGIN_1S, MARGIN, "margin, mean of 1 s")                                                          \
        X(MARGIN_4S, MARGIN, "margin, mean of 4 s")                                                          \
        X(MARGIN_16S, MARGIN, "margin, mean of 16 s")                                                        \
        X(MARGIN_64S, MARGIN, "margin, mean of a minute")                                                    \
        X(FALL_1_4, FALLING, "margin falling (1 s against 4 s)")                                             \
        X(FALL_2_16, FALLING, "margin falling (2 s against 16 s)")                                           \
        X(FALL_8_64, FALLING, "margin falling (8 s against a minute)")                                       \
        X(STEP, FALLING, "last change of margin")                                                            \
        X(STEP_BEFORE, FALLING, "change of margin before")                                                   \
        X(LOWEST, LOWEST, "lowest margin in seconds")                                                        \
        X(LOWEST_LONG, LOWEST, "lowest margin in half a minute")                                             \
        X(LOWEST_LOW, LOWEST, "margin was nearly used up in half a minute")                                  \
        X(RESTLESS_4S, RESTLESS, "restless (4 s)")                                                           \
        X(RESTLESS_16S, RESTLESS, "restless (16 s)")                                                         \
        X(SPREAD, RESTLESS, "spread of the margin")                                                          \
        X(NEXT_Z, RESTLESS, "expected margin over its doubt")                                                \
        X(NEXT_Z_LOW, RESTLESS, "expected margin within its doubt")                                          \
        X(STEP_Z, RESTLESS, "margin over its usual change")                                                  \
        X(JUMP_SHORT, FALLS, "falls this deep are usual (short)")                                            \
        X(JUMP_LONG, FALLS, "falls this deep are usual (long)")                                              \
        X(BEAT, BEAT, "a periodic dip is due")                                                               \
        X(BEAT_DOUBT, BEAT, "dips are not periodic")                                                         \
        X(UNMEASURED, MEASURE, "margin not measured")                                                        \
        X(PEERS, PEERS, "has alternatives")                                                                  \
        X(PEERS_BAD_1S, PEERS, "alternatives broken (1 s)")                                                  \
        X(PEERS_BAD_16S, PEERS, "alternatives broken (16 s)")                                                \
        X(PEERS_MARGIN, PEERS, "margin of the alternatives")                                                 \
        X(PEERS_BEHIND, PEERS, "behind the alternatives")                                                    \
        X(CADENCE, MEASURE, "distance of samples")

/**
 * Features that say the same in several ways share a group: their weights only mean something together,
 * so people are shown the sum.
 */
#define DOG_RISK_GROUP_LIST(X)                                                                               \
        X(BREACH, "broken now or a moment ago")                                                              \
        X(HISTORY, "breaches in the last minute and before")                                                 \
        X(MARGIN, "margin")                                                                                  \
        X(FALLING, "margin falling or rising")                                                               \
        X(LOWEST, "lowest margin of late")                                                                   \
        X(RESTLESS, "restlessness of the margin")                                                            \
        X(FALLS, "falls this deep have happened here")                                                       \
        X(BEAT, "periodic dips")                                                                             \
        X(PEERS, "how the alternatives fare")                                                                \
        X(MEASURE, "how long and how often it was measured")                                                 \
        X(LOAD, "load of the member")                                                                        \
        X(RADIO, "what the modem or dish says")                                                              \
        X(OUTSIDE, "warnings from outside")

enum dog_risk_group {
#define X(id, words) DOG_RISK_G_##id,
        DOG_RISK_GROUP_LIST(X)
#undef X
                DOG_RISK_GROUPS
};

enum dog_risk_feature {
#define X(id, group, words) DOG_RISK_F_##id,
        DOG_RISK_FEATURE_LIST(X)
#undef X
                DOG_RISK_FEATURES
};

/** Load that a member tells of itself, as shares of 0..1. It is never promised; the risk learns from it. */
#define DOG_RISK_LOAD_LIST(X) X(CPU) X(MEMORY) X(PRESSURE) X(RETRANS) X(QUEUE) X(ERRORS)

enum dog_risk_load_signal {
#define X(id) DOG_RISK_LOAD_##id,
        DOG_RISK_LOAD_LIST(X)
#undef X
                DOG_RISK_LOAD_SIGNALS
};

/**
 * What is made of it: 0 while there is room, 4 when there is none left, so that without load nothing is
 * added and nothing learned. The last column is the weight before any outcome (log-odds at 1; 4 at most):
 * small, by reasoning alone. A full queue refuses soon (a factor of 3 in the odds), failing requests and
 * repeated segments are symptoms already, a busy processor by itself is ordinary work. Experience with a
 * group's own members outweighs it within a few breaches.
 */
#define DOG_RISK_LOADED_LIST(X)                                                                              \
        X(CPU_HIGH, "processor busy", 0.0F)                                                                  \
        X(CPU_FULL, "processor nearly full", 0.1F)                                                           \
        X(CPU_LONG, "processor nearly full for seconds", 0.05F)                                              \
        X(CPU_AHEAD, "processor full soon, at this pace", 0.05F)                                             \
        X(MEMORY_FULL, "memory nearly full", 0.1F)                                                           \
        X(MEMORY_AHEAD, "memory full soon, at this pace", 0.05F)                                             \
        X(PRESSURE, "work waits for resources", 0.05F)                                                       \
        X(RETRANS, "segments are sent again", 0.2F)                                                          \
        X(QUEUE, "connections wait to be accepted", 0.3F)                                                    \
        X(ERRORS, "requests fail", 0.3F)

enum dog_risk_loaded {
#define X(id, words, prior) DOG_RISK_L_##id,
        DOG_RISK_LOADED_LIST(X)
#undef X
                DOG_RISK_LOADED
};

enum { DOG_RISK_SCALES = 7 /**< half-lives 1, 2, 4 .. 64 s */, DOG_RISK_BEATS = 8, DOG_RISK_JUMP_SPANS = 2 };

/** A prediction that waits for its outcome. Features in steps of 1/31. */
struct dog_risk_pending {
        int64_t t_ns;  /**< INT64_MIN: free */
        float raw, p;  /**< log-odds before calibration, and the chance that was said */
        uint16_t seen; /**< samples since */
        bool was_bad;  /**< at the time of the prediction */
        bool is_bad;   /**< a bad sample has come */
        int8_t feature[DOG_RISK_FEATURES];
};

/** One member's load. Untouched, and not looked at, until load has been measured. */
struct dog_risk_loads {
        int64_t seen_ns;                    /**< the last sample with load in it */
        float value[DOG_RISK_LOAD_SIGNALS]; /**< the newest of each */
        float cpu_1s, cpu_8s, full_4s, memory_4s, memory_32s;
        bool has_load;
};

/** What a member's radio hints at. Untouched, and not looked at, until a radio has told something. */
struct dog_risk_radios {
        int64_t seen_ns;
        float hint[DOG_RADIO_HINTS];
        bool has_radio;
        int8_t pending[DOG_RISK_PENDING + 1][DOG_RADIO_HINTS]; /**< of each pending; 0: nothing said then */
};

struct dog_risk {
        int64_t first_ns, last_ns; /**< INT64_MIN: no sample yet */
        int64_t bad_ns, run_ns;    /**< last bad sample; start of the last run of them; INT64_MIN none */
        int64_t taken_ns[DOG_RISK_HORIZONS];
        int64_t jump_ns[DOG_RISK_JUMP_SPANS];
        uint32_t count, run, last_run;
        float step_s, bad_s; /**< typical distance of samples; seconds spent bad */
        float runs;          /**< beginnings of runs, fading over a minute */
        float bad[DOG_RISK_SCALES], margin[DOG_RISK_SCALES];
        float move2_4s, move2_16s, var, cov, var_residual;
        float lowest, lowest_long;
        float jump_from[DOG_RISK_JUMP_SPANS], jump_low[DOG_RISK_JUMP_SPANS];
        float jumps[DOG_RISK_JUMP_SPANS][DOG_RISK_JUMPS]; /**< fading histogram of falls, by depth */
        float lag[DOG_RISK_LAGS];                         /**< margins; lag[at] is the newest */
        float beat[DOG_RISK_BEATS]; /**< fading |margin - margin of k+1 samples before| */
        uint8_t at;
        bool is_bad, is_measured;
        struct dog_calib calib[DOG_RISK_TARGETS];
        struct dog_risk_pending pending[DOG_RISK_PENDING + 1]; /**< the last one is for the next sample */
        struct dog_risk_loads loads;
        int8_t pending_loaded[DOG_RISK_PENDING + 1][DOG_RISK_LOADED]; /**< of each pending; 0: no load then */
        struct dog_risk_radios radios;
};
