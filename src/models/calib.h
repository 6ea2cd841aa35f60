#pragma once
/**
 * Calibration: what "70 %" has meant so far.
 *
 * Outcomes are counted in bins of the stated chance; the correction is the isotonic regression of
 * what happened on what was said (pool adjacent violators: Ayer et al., Ann. Math. Stat. 26, 1955),
 * with each bin shrunk, while evidence is thin, towards what the overall record (said against
 * happened) would make of it, and that towards no correction at all. Old outcomes fade.
 * A value: no pointers.
 */
#include <stdbool.h>
#include <stdint.h>

enum { DOG_CALIB_BINS = 8 };

struct dog_calib {
        float said[DOG_CALIB_BINS];     /**< sum of stated chances */
        float happened[DOG_CALIB_BINS]; /**< outcomes that were bad */
        float count[DOG_CALIB_BINS];
        uint16_t at[DOG_CALIB_BINS]; /**< the correction in force, as points (said, meant) in 1/65535 */
        uint16_t to[DOG_CALIB_BINS];
        uint16_t pending; /**< outcomes since it was last drawn */
        bool is_drawn;    /**< false: no correction yet */
};

void dog_calib_init(struct dog_calib *c);
/** p in 0..1 as stated before calibration. The correction is drawn with the first bad outcome, then every
 * 8th. */
void dog_calib_learn(struct dog_calib *c, double p, bool happened);
/** Monotone in p; p itself while nothing is known; within (0, 1). */
double dog_calib_apply(const struct dog_calib *c, double p);

/**
 * Isotonic regression in place: the non-decreasing sequence nearest to `value` in weighted squares.
 * Weights > 0. At most 64 values; more are left as they are and -EINVAL comes back.
 */
int dog_calib_pav(float *value, const float *weight, int count);
