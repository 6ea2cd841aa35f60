#pragma once
/**
 * How good stated chances were, once it is known what happened.
 *
 * Every measure is a function of pairs (p, happened) and of nothing else. NaN for a p means "nothing was
 * said": it counts as 0, as a forecast that does not warn, and lowers `cover`.
 *
 * | measure   | is                                                                       | source |
 * |-----------|--------------------------------------------------------------------------|--------|
 * | base      | share that happened: what a forecast without any knowledge would say      | |
 * | auroc     | chance that of one that happened and one that did not, the first was given the higher p; ties
 * |           | count half                                      | Hanley, McNeil, Radiology 143, 1982 |
 * | ap        | average precision: sum over distinct p, falling, of (recall gained) x precision
 * |           |                                                 | Davis, Goadrich, ICML 2006 |
 * | brier     | mean of (p - happened)^2                        | Brier, Mon. Weather Rev. 78, 1950 |
 * | skill     | 1 - brier / (base (1 - base)): 0 is as good as the base rate, 1 perfect, below 0 harmful
 * |           |                                                 | Murphy, J. Appl. Meteor. 12, 1973 |
 * | ece       | expected calibration error: mean over bins, by count, of |mean p - share that happened|, in
 * |           | DOG_BINS bins of equal width or of equal count   | Naeini et al., AAAI 2015 |
 * | recall_50 | largest recall at a threshold whose precision is at least one half, and that threshold | |
 *
 * Same pairs in the same order, same bits. Memory: 24 bytes a pair while it runs.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DOG_BINS = 15 };

/** One stated chance and what came of it. */
struct dog_said {
        double p; /**< 0..1, clipped to it; NaN: nothing was said */
        bool happened;
};

/** A list of them that grows; {0} is empty. */
struct dog_said_list {
        struct dog_said *list;
        size_t count, room;
};

/** @return 0 or -ENOMEM; the list is then as before */
int dog_said_add(struct dog_said_list *to, double p, bool happened);
void dog_said_free(struct dog_said_list *list);

/** How the bins of the calibration error are cut. */
enum dog_binning {
        DOG_BINS_WIDTH, /**< [0, 1/15), [1/15, 2/15) ...; 1 belongs to the last */
        DOG_BINS_COUNT, /**< as many pairs in each as in any other, give or take one; ties in order of the
                           list */
};

/** One bin of a reliability diagram. */
struct dog_bin {
        size_t count;
        double said;     /**< mean p; NaN when empty */
        double happened; /**< share; NaN when empty */
};

struct dog_scores {
        size_t count;                   /**< pairs */
        double cover;                   /**< share of the pairs in which something was said */
        double base, auroc, ap;         /**< NaN: not both outcomes, nothing happened, no pair */
        double brier, skill, ece;       /**< skill NaN when base is 0 or 1 */
        double recall_50, threshold_50; /**< 0 and infinity when no threshold is that precise */
        struct dog_bin bin[DOG_BINS];
};

/**
 * All of them at once. The list is not changed. An empty list gives counts of 0 and NaN.
 * @return 0 or -ENOMEM
 */
int dog_metrics_score(const struct dog_said_list *said, enum dog_binning binning, struct dog_scores *out,
                      struct dog_err *e);

/** Area under the ROC curve alone; NaN without both outcomes, or without memory. */
double dog_metrics_auroc(const struct dog_said_list *said);

/** Middle value (mean of the two middle ones); sorts `value`. NaN for none. */
double dog_metrics_median(double *value, size_t count);

/* ---- alarms: what a threshold would have meant to a person ---- */

/** One member's time line, in steps of equal length. All arrays are borrowed and hold `steps` each. */
struct dog_line {
        const double *p;     /**< said at that step; NaN: nothing */
        const uint8_t *bits; /**< enum dog_line_bit */
        size_t steps;
        int64_t step_ms;
};

enum dog_line_bit {
        DOG_LINE_JUDGED = 1, /**< the outcome of what was said here is known */
        DOG_LINE_BAD = 2,    /**< the promise is broken at this step */
        DOG_LINE_SOON = 4,   /**< it is broken at some step within the horizon after this one */
        DOG_LINE_ONSET = 8,  /**< measured, and not broken in the last second: the next breach is news */
};

/**
 * An episode begins with a bad step more than a second after the bad step before. It is detected when an
 * alarm (p >= threshold at a judged step) stands in the horizon before it; the lead runs from the first such
 * step. A false alarm is a rising edge of alarms that nothing bad followed within the horizon.
 */
struct dog_alarms {
        size_t episodes, detected, false_alarms;
        double hours; /**< judged */
        double *lead_s;
        size_t leads, room;
};

/** Add one line. @param is_onset  only steps with DOG_LINE_ONSET may alarm. @return 0 or -ENOMEM */
int dog_alarms_add(struct dog_alarms *a, const struct dog_line *line, int64_t horizon_ms, double threshold,
                   bool is_onset);
double dog_alarms_lead_s(struct dog_alarms *a); /**< median; NaN when nothing was detected */
void dog_alarms_free(struct dog_alarms *a);
