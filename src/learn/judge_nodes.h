#pragma once
/**
 * Judging forecasts of servers and network nodes against incidents that people marked.
 *
 * Steps. What is said at t for a horizon M is: "an incident starts in (t, t + M]". Steps inside an incident,
 * those of the M after one (unless the next is already near), and the last M of the record are left out.
 *
 * Incidents. One is foreseen when an alarm (p >= threshold) stands at a step of the M before its start, and
 * detected when one stands within M of its start on either side. The lead runs from the first step of the
 * last unbroken run of alarms before the start, M at most. A false alarm is a run of alarms away from all
 * that; runs closer than M are one, and a run costs one for each hour it lasts, begun hours too: always on is
 * 24 a day. The threshold is the best in hindsight that stays within a budget of false alarms per node and
 * day, the same favour for every forecast. No point-adjust (Kim et al., AAAI 2022): a step counts once, an
 * incident once.
 *
 * Health. How well 1 - health tells steps inside an incident from all others.
 */
#include "learn/metrics.h"

enum { DOG_JUDGE_MINUTES = 3, DOG_JUDGE_BUDGETS = 4 };
/** Horizons in minutes and budgets in false alarms per node and day. */
extern const int dog_judge_minutes[DOG_JUDGE_MINUTES];   /**< 5, 15, 60 */
extern const double dog_judge_budget[DOG_JUDGE_BUDGETS]; /**< .1, .25, 1, 4 */

struct dog_judged_incident {
        int64_t start_s, end_s; /**< [start, end) */
};

/** One node: its steps are from_s, from_s + step_s ... before end_s. Borrowed. */
struct dog_judged_node {
        int64_t step_s, from_s, end_s;
        const struct dog_judged_incident *incident; /**< by start */
        size_t incidents;
        const double *p[DOG_JUDGE_MINUTES]; /**< a chance for each step; NaN: nothing was said */
        const double *health;               /**< 0..1 for each step; NaN counts as 1; NULL: none was said */
};

struct dog_judged_event {
        double threshold, false_alarms; /**< per node and day */
        double recall;                  /**< share of the incidents that were foreseen */
        double lead_s;                  /**< median; NaN: none */
        double detect, delay_s; /**< share detected, at its own best threshold; median delay, NaN: none */
};

struct dog_node_row {
        bool is_judged; /**< something happened, and in less than half of the steps */
        struct dog_scores scores;
        double node_days;
        struct dog_judged_event event[DOG_JUDGE_BUDGETS];
};

struct dog_node_report {
        size_t nodes, incidents;
        struct dog_node_row row[DOG_JUDGE_MINUTES];
        double health_auroc; /**< in-incident against all other steps; NaN: no health, no incident */
};

struct dog_node_judge;

int dog_node_judge_new(struct dog_node_judge **to, struct dog_err *e);
/** @return 0, -ENOMEM; -EINVAL for a step that is not positive or an end before the beginning */
int dog_node_judge_add(struct dog_node_judge *j, const struct dog_judged_node *r, struct dog_err *e);
/** May be called again after further adds. @return 0 or -ENOMEM */
int dog_node_judge_end(struct dog_node_judge *j, struct dog_node_report *report, struct dog_err *e);
void dog_node_judge_free(struct dog_node_judge *j);
