#pragma once
/**
 * From what radios tell to what models read.
 *
 * Two forms of the same. `dog_radio_inputs`: plain numbers in their own units, NaN where unknown, for trees
 * that route what is missing. `dog_radio_hints`: 0 (nothing speaks of trouble, or nothing is known) to 4, for
 * the logistic of risk.h, in which a path without radio must not move by one bit.
 *
 * Levels come seldom (a modem tells once a second), so what is kept is a ring of half-second marks, and a
 * slope is the least-squares line over the marks of 2, 5 and 15 s. Pure, constant memory, no pointers.
 */
#include "models/radio.h"

/* id, unit, words */
#define DOG_RADIO_INPUT_LIST(X)                                                                              \
        X(RSRP, "dBm", "RSRP")                                                                               \
        X(RSRQ, "dB", "RSRQ")                                                                                \
        X(SINR, "dB", "SINR")                                                                                \
        X(RSSI, "dBm", "RSSI")                                                                               \
        X(SIGNAL, "ratio", "signal")                                                                         \
        X(RSRP_2S, "dB/s", "slope of RSRP, 2 s")                                                             \
        X(RSRP_5S, "dB/s", "slope of RSRP, 5 s")                                                             \
        X(RSRP_15S, "dB/s", "slope of RSRP, 15 s")                                                           \
        X(RSRQ_2S, "dB/s", "slope of RSRQ, 2 s")                                                             \
        X(RSRQ_5S, "dB/s", "slope of RSRQ, 5 s")                                                             \
        X(RSRQ_15S, "dB/s", "slope of RSRQ, 15 s")                                                           \
        X(SINR_2S, "dB/s", "slope of SINR, 2 s")                                                             \
        X(SINR_5S, "dB/s", "slope of SINR, 5 s")                                                             \
        X(SINR_15S, "dB/s", "slope of SINR, 15 s")                                                           \
        X(SIGNAL_2S, "1/s", "slope of signal, 2 s")                                                          \
        X(SIGNAL_5S, "1/s", "slope of signal, 5 s")                                                          \
        X(SIGNAL_15S, "1/s", "slope of signal, 15 s")                                                        \
        X(RSRP_LOWEST, "dBm", "lowest RSRP in 15 s")                                                         \
        X(SINR_LOWEST, "dB", "lowest SINR in 15 s")                                                          \
        X(GENERATION, "2..5", "generation of cellular access")                                               \
        X(SATELLITE, "0/1", "by satellite")                                                                  \
        X(SINCE_HANDOVER, "s", "since the last handover, at most 600")                                       \
        X(HANDOVERS, "count", "handovers, fading over a minute")                                             \
        X(OBSTRUCTION, "ratio", "share of the view obstructed")                                              \
        X(OBSTRUCTED_IN, "s", "until the next obstruction known")                                            \
        X(OUTAGE, "0/1", "the device says it is cut off")                                                    \
        X(SINCE_OUTAGE, "s", "since it last said so, at most 600")                                           \
        X(DROP, "ratio", "share of the device's own pings lost")                                             \
        X(DROP_15S, "ratio", "the same, mean of 15 s")                                                       \
        X(PING, "ms", "round trip of the device's own pings")                                                \
        X(SLOT, "s", "since satellites were assigned anew, 0..15")                                           \
        X(AGE, "s", "since the device told anything")

enum dog_radio_input {
#define X(id, unit, words) DOG_RADIO_I_##id,
        DOG_RADIO_INPUT_LIST(X)
#undef X
                DOG_RADIO_INPUTS
};

/* id, words. All are 0 where all is well. */
#define DOG_RADIO_HINT_LIST(X)                                                                               \
        X(WEAK, "signal weak")                                                                               \
        X(VERY_WEAK, "signal nearly gone")                                                                   \
        X(FALL_2S, "signal falling (2 s)")                                                                   \
        X(FALL_5S, "signal falling (5 s)")                                                                   \
        X(FALL_15S, "signal falling (15 s)")                                                                 \
        X(AHEAD, "signal gone in 3 s, at this pace")                                                         \
        X(LOWEST, "signal was nearly gone in 15 s")                                                          \
        X(HANDOVER, "another cell, a moment ago")                                                            \
        X(HANDOVERS, "from cell to cell")                                                                    \
        X(OBSTRUCTED, "view obstructed")                                                                     \
        X(OBSTRUCTED_SOON, "an obstruction is near")                                                         \
        X(OUTAGE, "device cut off")                                                                          \
        X(DROP, "device loses its own pings")                                                                \
        X(SLOT, "satellites are assigned anew")

enum dog_radio_hint {
#define X(id, words) DOG_RADIO_H_##id,
        DOG_RADIO_HINT_LIST(X)
#undef X
                DOG_RADIO_HINTS
};

enum { DOG_RADIO_MARKS = 32, DOG_RADIO_LEVELS = 4 };

/** What one path's radio has told. A value; all zero is a path that has none. */
struct dog_radio_past {
        struct dog_radio newest;
        int64_t stale_ns;  /**< older than this says nothing */
        int64_t outage_ns; /**< the last time it said that it was cut off; 0: never */
        int64_t counted_ns;
        float handovers, drop_15s; /**< as of counted_ns */
        uint32_t late;             /**< readings whose time did not advance: dropped */
        struct {
                int64_t t_ns;
                float level[DOG_RADIO_LEVELS]; /**< RSRP, RSRQ, SINR, signal */
        } mark[DOG_RADIO_MARKS];
        float slope[DOG_RADIO_LEVELS][3]; /**< a second, over 2, 5, 15 s; NaN: too few marks */
        float lowest[DOG_RADIO_LEVELS];
        uint8_t at, marks;
        bool has_any; /**< a reading has come, ever */
};

/** @param stale_ns  > 0 */
void dog_radio_past_init(struct dog_radio_past *p, int64_t stale_ns);

/**
 * Take a reading. A change of cell or of technology since the reading before counts as a handover, if the
 * reading does not tell one itself. One whose time does not advance is dropped and counted in `late`.
 */
void dog_radio_past_take(struct dog_radio_past *p, const struct dog_radio *r);

/**
 * The inputs at a time, not before the newest reading. All NaN, and false, when nothing was told for
 * stale_ns, or nothing is in what was told.
 */
bool dog_radio_inputs(const struct dog_radio_past *p, int64_t now_ns, float in[DOG_RADIO_INPUTS]);

/** The inputs as hints of trouble, each 0..4. */
void dog_radio_hints(const float in[DOG_RADIO_INPUTS], float hint[DOG_RADIO_HINTS]);

/*
 * What of it has a place among the features of trees, in their order (DOG_PATH_EXTRA_LIST of
 * path_features.h): RSRP or else RSSI, SINR, seconds since the handover, the share obstructed (1 while cut
 * off), seconds to the next obstruction.
 */
#define DOG_RADIO_EXTRA_LIST(X) X(SIGNAL_DBM) X(SINR_DB) X(HANDOVER_AGE_S) X(OBSTRUCTED) X(OBSTRUCTION_IN_S)

enum dog_radio_extra {
#define X(id) DOG_RADIO_X_##id,
        DOG_RADIO_EXTRA_LIST(X)
#undef X
                DOG_RADIO_EXTRAS
};

/** The inputs as those, NaN where unknown. */
void dog_radio_extras(const float in[DOG_RADIO_INPUTS], float extra[DOG_RADIO_EXTRAS]);

const char *dog_radio_input_name(int i);
const char *dog_radio_hint_name(int i);
