#pragma once
/**
 * Levels of what a member measures: which of their changes people hear of, as an event and beside forecasts
 * and decisions. Nothing is decided by them: the risk sees the values themselves. P13, F4.
 *
 * A value without pointers; see models/shift.h for what is told and how often.
 */
#include "core/belief.h"
#include "core/promise.h"

#include <stddef.h>

/* signal, words, unit, unit's scale, s a block, s to last, the promise is a least */
#define DOG_LEVELS(X)                                                                                        \
        X(RTT, "round trip", "ms", 1, 1, 10, false)                                                          \
        X(LOSS, "loss", "%", 100, 10, 40, false)                                                             \
        X(RATE, "rate", "Mbit/s", 1e-3, 1, 10, true)

enum dog_level {
#define X(id, words, unit, scale, block, last, is_floor) DOG_LEVEL_##id,
        DOG_LEVELS(X)
#undef X
                DOG_LEVEL_COUNT
};

struct dog_levels {
        struct dog_shift told[DOG_LEVEL_COUNT];
        uint8_t news;   /**< bit per level: told since somebody took the news */
        uint8_t newest; /**< the level told last; DOG_LEVEL_COUNT: none yet */
        struct dog_shift_watch watch[DOG_LEVEL_COUNT];
};

void dog_levels_init(struct dog_levels *l);
/**
 * Take a sample. What the promise does not limit is not watched and costs nothing.
 * @param rtt_limit_ms  what is promised of the round trip now, which may follow its median; 0 or NaN: nothing
 * @param rate_kbps     mean of the last second, as it is judged; NaN: not measured
 * @return true when there is news
 */
bool dog_levels_observe(struct dog_levels *l, const struct dog_promise *p, const struct dog_sample *s,
                        double rtt_limit_ms, double rate_kbps);
/** What was told last; its level is DOG_LEVEL_COUNT when nothing was. */
struct dog_level_told dog_levels_told(const struct dog_levels *l);

/** "rtt", "loss", "rate"; "ms", "%", "Mbit/s"; what a number is to be multiplied by to be in that unit. */
const char *dog_level_name(unsigned level);
const char *dog_level_unit(unsigned level);
double dog_level_scale(unsigned level);
/**
 * "round trip rose from 41 to 68 ms and stays there; promised: at most 150 ms".
 * @param when  put in between, "12s ago"; NULL: nothing
 * @return as snprintf
 */
int dog_level_text(const struct dog_level_told *t, const char *when, char *to, size_t room);
