#pragma once
/**
 * When did the level of a series change, from what, to what? A value without pointers.
 *
 * Bayesian online detection (Adams and MacKay, "Bayesian Online Changepoint Detection", arXiv:0710.3742,
 * 2007): the chance of each possible time since the last change, under a normal level with unknown mean and
 * variance. Bounded: the DOG_CHANGE_RUNS most likely run lengths are kept; a value costs 0.5 us. On recorded
 * drives 12 run lengths told what 24 told, in half the time.
 *
 *     struct dog_changepoint c;
 *     struct dog_level_change change;
 *     dog_changepoint_init(&c);
 *     if (dog_changepoint_learn(&c, rtt_ms, t_ns, &change))
 *             ... change.from_level 40, change.to_level 75, since change.at_ns
 *
 * Round trips have spikes, and a spike is not a new level: one value counts for no more than a distance of
 * DOG_CHANGE_CLIP spreads, and a change is told only when DOG_CHANGE_PROOF values speak for it.
 * NaN and infinite values are not measured: nothing changes. Time that does not advance: dropped.
 */
#include <stdbool.h>
#include <stdint.h>

enum { DOG_CHANGE_RUNS = 12, DOG_CHANGE_PROOF = 6 };
#define DOG_CHANGE_CLIP 5.0F

/** What is told about a change, once. */
struct dog_level_change {
        int64_t at_ns;    /**< time of the first value of the new level */
        float from_level; /**< mean of the values before, in the unit of the series */
        float to_level;   /**< median of the newest DOG_CHANGE_PROOF values */
        float spread;     /**< one standard deviation of a value about its level */
        float chance;     /**< 0..1: that there was a change there or later */
};

/** Explanations, the shortest first: the level has lasted for `count` values. Columns, so that all are
 * computed at once. Those behind the last have no chance. */
struct dog_change_runs {
        float chance[DOG_CHANGE_RUNS];
        float count[DOG_CHANGE_RUNS], mean[DOG_CHANGE_RUNS];
        float square[DOG_CHANGE_RUNS];     /**< sum of squared distances from the mean */
        int64_t first_ns[DOG_CHANGE_RUNS]; /**< time of its first value; INT64_MIN: none yet */
};

struct dog_changepoint {
        int64_t last_ns; /**< INT64_MIN: no value yet */
        uint32_t count;
        float mean;  /**< of everything, slowly forgetting: where a new level is looked for */
        float noise; /**< variance of a value about its level, from the changes between neighbours */
        float recent[DOG_CHANGE_PROOF]; /**< the last values, by count modulo the size */
        float told_level;               /**< mean of the level last told, or of the first */
        int64_t told_ns;                /**< the change last told */
        int32_t runs;
        struct dog_change_runs run;
};

void dog_changepoint_init(struct dog_changepoint *c);
/** Take a value; true when a change is now sure enough to be told, and *change is filled. */
bool dog_changepoint_learn(struct dog_changepoint *c, double value, int64_t t_ns,
                           struct dog_level_change *change);
