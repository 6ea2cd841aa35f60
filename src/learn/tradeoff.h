#pragma once
/**
 * What forecasts are worth to traffic: the share of broken promises left over the share of traffic sent
 * twice.
 *
 * Two policies, on recorded alternatives that were measured at the same time. A decision made of what was
 * known at t serves the step at t + max(one step, delay). Only steps count at which at least two alternatives
 * were measured and had something said about them.
 *
 *   pairs          traffic stays on a; a copy goes to b where the joint chance p_a (1 - p_b) is largest.
 * Every ordered pair of the alternatives. steer+mirror   traffic moves to the alternative of least p, once
 * the one in use is worse by more than `hysteresis`; a copy goes to the second best where p of the one in use
 * is largest.
 *
 * A step is removable when the copy would have saved it: bad where the traffic was, good where the copy went.
 * The curve goes over the thresholds of the score from the top: overhead = share of steps copied, removed =
 * share of removable steps among them. V(o) = share of steps still bad when the share o is copied, linear
 * between points; o90 = overhead that removes 90 % of what is removable. Switching is free in V: the number
 * of switches stands beside it, because it is not free in life.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One recording: [alternative * steps + step]. Borrowed. */
struct dog_alternatives {
        int count;
        size_t steps;
        int64_t step_ms;
        const double *p;      /**< what steers; NaN: nothing was said */
        const double *p_copy; /**< what decides about copies of pairs; NULL: as p */
        /** P(one is bad and two is good) by whoever learned it: [(one * count + two) * steps + step], NaN:
         * not said, then p_one (1 - p_two); NULL: not said at all */
        const double *joint;
        const bool *is_seen; /**< measured */
        const bool *is_bad;  /**< promise broken */
};

/** One step that may be copied. */
struct dog_choice {
        double score;
        bool is_removable;
};

struct dog_curve {
        double *overhead; /**< rising from 0 to 1 */
        double *removed;  /**< rising from 0 to 1 (0 throughout when nothing is removable) */
        size_t points;
};

/** The curve of some choices, which are sorted by it. @return 0 or -ENOMEM */
int dog_curve_make(struct dog_curve *c, struct dog_choice *choice, size_t count, struct dog_err *e);
void dog_curve_free(struct dog_curve *c);
double dog_curve_removed(const struct dog_curve *c, double overhead); /**< linear between points */
double dog_curve_overhead(const struct dog_curve *c,
                          double removed);        /**< least that removes so much; 1: none does */
double dog_curve_area(const struct dog_curve *c); /**< under (1 - removed) over overhead; chance gives 0.5 */

/** What one policy came to. */
struct dog_policy_sum {
        double steps, bad, bad_both; /**< steps; bad without any copy; bad even with every copy */
        struct dog_choice *choice;
        size_t choices, room;
        struct dog_curve curve;
};

struct dog_tradeoff {
        struct dog_policy_sum pairs, joint, steer;
        double all_bad; /**< steps (of steer) at which nothing measured was good */
        double any_bad; /**< sum over steps of the share of alternatives that were bad: one chosen blindly */
        double switches, switch_hours;
        double hysteresis; /**< set before the first add; 0.02 is the scorers' */
        int64_t delay_ms;  /**< likewise; 200 */
        size_t recordings; /**< with two alternatives or more */
};

/** Hysteresis 0.02, delay 200 ms. */
struct dog_tradeoff dog_tradeoff_begin(void);
/** Play one recording. With fewer than two alternatives it changes nothing. @return 0 or -ENOMEM */
int dog_tradeoff_add(struct dog_tradeoff *t, const struct dog_alternatives *a, struct dog_err *e);
/** Make the curves; call once, after the last add. @return 0 or -ENOMEM */
int dog_tradeoff_end(struct dog_tradeoff *t, struct dog_err *e);
void dog_tradeoff_free(struct dog_tradeoff *t);

/** Share of steps left bad when the share `overhead` is copied; NaN without a step. After dog_tradeoff_end.
 */
double dog_policy_left(const struct dog_policy_sum *p, double overhead);
