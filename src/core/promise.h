#pragma once
/**
 * A promise: what a subject was told it would get, from its profile in the configuration.
 * A value. 0 means "not promised" for every limit.
 */
#include "core/sample.h"

#include <stdbool.h>

struct dog_promise {
        double rtt_ms;      /**< round-trip time at most */
        double rtt_factor;  /**< ... or this many medians of the last minute, whichever is more */
        double jitter_ms;   /**< jitter at most */
        double loss_ratio;  /**< loss at least this much breaks it, 0..1 */
        double rate_kbps;   /**< rate at least, mean of one second */
        double response_ms; /**< application response at most */

        double weight[DOG_SIGNAL_COUNT]; /**< how much each signal says in the score; any scale */
        double breach_price;             /**< cost of one second of broken promise; the unit of all prices */
        int priority;                    /**< among groups that want the same thing; more is served first */
};

/** All that must be known to judge a sample. */
struct dog_verdict {
        bool is_bad;
        double margin; /**< distance to the limit in logarithms: > 0 kept, < 0 broken; NaN: nothing promised
                          was measured */
        enum dog_signal worst; /**< the signal with the least margin */
};

/**
 * Judge one sample against a promise. Pure.
 *
 * @param median_rtt_ms  median of the member's round-trip times of the last minute, NaN when unknown
 * @param rate_1s_kbps   mean rate of the last second, NaN when unknown
 *
 * The margin is that of models/risk.h: ln(limit / value) for limits from above,
 * log10((rate + 50) / need) for the rate, -2.5 for a lost probe.
 */
struct dog_verdict dog_promise_judge(const struct dog_promise *p, const struct dog_sample *s,
                                     double median_rtt_ms, double rate_1s_kbps);

/** The promise of a class that the configuration gives none: reachable within 1 s, loss under 5 %. */
struct dog_promise dog_promise_default(void);
