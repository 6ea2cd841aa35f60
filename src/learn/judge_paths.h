#pragma once
/**
 * Judging forecasts of paths: what was said at every step of recorded paths against what the recording shows.
 *
 * Outcome of what was said at step t for horizon H: was there a bad sample in (t, t+H]. It is judged when
 *   - the path was measured at t, and first at least 2 s before,
 *   - H lies inside the recording and the path was measured at 80 % of its steps or more (of a daemon's own
 *     telemetry, whose paths have paces of their own: at 80 % of the times of the slowest),
 *   - the recording is at least 3 H long.
 * "onset" are those with no bad sample in the second up to t: the rest is known to whoever looks at the path
 * now, so the onsets are what a forecast is for.
 *
 * One judge for one family of recordings: their steps and promises differ, so their numbers do not mix.
 */
#include "learn/metrics.h"
#include "learn/tradeoff.h"

enum { DOG_JUDGE_HORIZONS = 3 };

/** Which outcomes: all that are judged, or only those that nobody could see coming by looking. */
enum dog_judge_subset { DOG_JUDGE_ALL, DOG_JUDGE_ONSET, DOG_JUDGE_SUBSETS };

/** One recording and what was said about it; all borrowed. Arrays are [path * steps + step]. */
struct dog_judged_path {
        int paths;
        size_t steps;
        int64_t step_ms;
        int pace; /**< see struct dog_path_trace; 0 and 1: each step */
        const bool *is_seen;
        const bool *is_bad;
        const double *p[DOG_JUDGE_HORIZONS]; /**< NaN where nothing was said; NULL: nothing at that horizon */
        const double *p_copy;  /**< what decides about copies, in the place of p[0]; NULL: p[0] does */
        const double *p_steer; /**< what steers traffic; NULL: p_copy does */
        const double *joint;   /**< see struct dog_alternatives; NULL: none */
};

struct dog_path_row {
        struct dog_scores scores;
        size_t episodes;
        double detected;       /**< share of the episodes, at the threshold of recall_50 */
        double lead_s;         /**< median; NaN: none was detected */
        double false_alarms_h; /**< per judged hour */
};

struct dog_path_report {
        int64_t horizon_ms[DOG_JUDGE_HORIZONS];
        bool is_judged[DOG_JUDGE_HORIZONS]; /**< some outcome at that horizon is known */
        struct dog_path_row row[DOG_JUDGE_HORIZONS][DOG_JUDGE_SUBSETS];
        struct dog_tradeoff tradeoff;
        size_t recordings, samples;
};

struct dog_path_judge;

/** Horizons of 1, 5 and 30 s. @return 0 or -ENOMEM */
int dog_path_judge_new(struct dog_path_judge **to, struct dog_err *e);
/** How traffic would be steered: hysteresis on p, and the delay of a decision. Before the first add. */
void dog_path_judge_steering(struct dog_path_judge *j, double hysteresis, int64_t delay_ms);
/** @return 0, -ENOMEM; -EINVAL for a step that is not positive */
int dog_path_judge_add(struct dog_path_judge *j, const struct dog_judged_path *r, struct dog_err *e);
/** Once, after the last add; the report is the caller's. @return 0 or -ENOMEM */
int dog_path_judge_end(struct dog_path_judge *j, struct dog_path_report *report, struct dog_err *e);
void dog_path_judge_free(struct dog_path_judge *j);
void dog_path_report_free(struct dog_path_report *report);

/**
 * The outcomes of one path of a recording at one horizon, as DOG_LINE_ bits for each step.
 * @param bits  `steps` octets, filled
 */
void dog_path_outcomes(const bool *is_seen, const bool *is_bad, size_t steps, int64_t step_ms,
                       int64_t horizon_ms, int pace, uint8_t *bits);
