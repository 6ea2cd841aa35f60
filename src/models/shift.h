#pragma once
/**
 * Which changes of a signal's level people should hear of. The detector below (models/changepoint.h) tells
 * one in a hundred values of a drive; of these are left those that
 *   - last: the new level has held for `last_ns`;
 *   - matter to the promise: the level moved by DOG_SHIFT_LEAST of its limit, or more;
 *   - are unusual here: DOG_SHIFT_UNUSUAL times what changes of the last DOG_SHIFT_MEMORY_NS were (their
 * quadratic mean, shrunk towards none while there were few), so that a path which always wanders is not
 * reported for wandering;
 *   - are few: one at first, DOG_SHIFT_BURST at once later, one in DOG_SHIFT_REFILL_NS; one that crosses the
 * limit may come one early. "From" is the level that was in force when people were last told, or that has
 * held for so long since (DOG_SHIFT_ACCEPT_NS) that it is no news any more.
 *
 * Values come at any rate; their means over `block_ns` are what is judged, so that a fast probe costs no more
 * than a slow one. A value without pointers; nothing later than the newest value is used; same values, same
 * bits. NaN is not measured; time that does not advance is dropped by the detector.
 */
#include "base/clock.h"
#include "models/changepoint.h"

#define DOG_SHIFT_LEAST     0.15F /* of the limit */
#define DOG_SHIFT_MOST      1.5F  /* in limits; beyond, broken is broken */
#define DOG_SHIFT_UNUSUAL   2.5F
#define DOG_SHIFT_FEW       8.0F /* changes */
#define DOG_SHIFT_MEMORY_NS (900 * DOG_S)
#define DOG_SHIFT_REFILL_NS (1200 * DOG_S)
#define DOG_SHIFT_BURST     2.0F
#define DOG_SHIFT_ACCEPT_NS (300 * DOG_S)
#define DOG_SHIFT_FIRST_NS  (30 * DOG_S) /* a first level is known after so long */

struct dog_shift_config {
        int64_t block_ns;
        int64_t last_ns;
        bool is_floor; /**< the limit is a least (a rate), not a most */
};

/** A change, in the unit of the signal. */
struct dog_shift {
        int64_t since_ns; /**< when the new level began */
        float from, to;
        float limit; /**< what was promised then */
};

struct dog_shift_watch {
        int64_t begun_ns; /**< of the block that is being filled */
        float sum;        /**< of its values */
        uint32_t filled;
        float known;       /**< the level that people know of; NaN: none yet */
        float changes;     /**< how many the detector told lately, fading */
        float squares;     /**< sum of the squares of their sizes, in limits, fading */
        float usual;       /**< what changes were before the newest one */
        float credit;      /**< how many may be told now */
        int64_t first_ns;  /**< of the first block; INT64_MIN: none */
        int64_t known_ns;  /**< the change that made `known`; INT64_MIN: the first level */
        int64_t judged_ns; /**< end of the newest block */
        struct dog_changepoint level;
};

void dog_shift_init(struct dog_shift_watch *w);
/**
 * Take a value; true when there is something to tell, and *out is filled.
 * @param limit  what is promised of the signal now, > 0; without one nothing is told
 */
bool dog_shift_learn(struct dog_shift_watch *w, const struct dog_shift_config *c, float value, float limit,
                     int64_t t_ns, struct dog_shift *out);
