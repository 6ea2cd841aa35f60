#pragma once
/**
 * Is a new model better than the one in force? Both speak about the same traces, each from a fresh state, and
 * are scored by the same code: the Brier score at the near and the middle horizon.
 *
 * Better means better by more than chance: the differences are summed per trace (neighbouring seconds are not
 * independent, ten minutes nearly are), and their mean must be two standard errors above 0, and one percent of
 * the old score. With fewer than 12 traces, or fewer than 20 outcomes that were bad, nothing is decided and
 * the old model stays.
 * Source: paired comparison of forecasts by their loss differences, Diebold and Mariano, Journal of Business
 * and Economic Statistics 13, 1995.
 */
#include "learn/paths.h"
#include "models/path_risk.h"

struct dog_path_contest {
        double score_old, score_new; /**< mean Brier scores; NaN without outcomes */
        double errors;               /**< the new one's lead, in standard errors */
        long outcomes, bad;
        int traces;    /**< with outcomes */
        bool is_better; /**< the new one should serve */
        char text[200]; /**< one sentence */
};

/**
 * @param in_force   NULL: the logistic alone
 * @param candidate  the new one
 * @param wait       called between traces; non-zero stops with -ECANCELED; NULL: not called
 * @return 0, -ECANCELED, -ENOMEM
 */
int dog_path_contest(const struct dog_path_traces *traces, const struct dog_path_model *in_force,
                     const struct dog_path_model *candidate, int (*wait)(void *data), void *data,
                     struct dog_path_contest *out, struct dog_err *e);
