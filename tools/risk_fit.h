#pragma once
/**
 * Fitting the prior of models/risk.h: logistic regression with a ridge, by Newton's method, in double
 * precision and one fixed order, so that the same folder gives the same file.
 */
#include "learn/paths.h"

#include "models/risk.h"

#include <stddef.h>

/** One moment of one member: its features and what followed. */
struct risk_row {
        float feature[DOG_RISK_FEATURES];
        int8_t outcome[DOG_RISK_TARGETS]; /**< 0, 1; -1 unknown */
        bool is_onset;                    /**< nothing bad in the last second */
        int trace, path, step;
};

struct risk_rows {
        struct risk_row *list;
        size_t count, room;
};

/** A prior: what risk_prior.inc holds. */
struct risk_prior {
        double weight[DOG_RISK_TARGETS][DOG_RISK_FEATURES];
        double mean[DOG_RISK_FEATURES];
        size_t rows[DOG_RISK_TARGETS];
        double base[DOG_RISK_TARGETS];
};

struct risk_fit_options {
        const char *const *skip_dates; /**< NULL-terminated, or NULL */
        int64_t horizon_ns[DOG_RISK_HORIZONS];
        double ridge;
};

/** Features and outcomes of every sample, by the very code that predicts. */
int risk_rows_make(struct risk_rows *rows, const struct dog_path_traces *t, const struct risk_fit_options *o,
                   struct dog_err *e);
void risk_rows_free(struct risk_rows *rows);
int risk_fit(struct risk_prior *prior, const struct risk_rows *rows, const struct dog_path_traces *t,
             const struct risk_fit_options *o, struct dog_err *e);
/** Put a fitted prior in the place of the built-in one. */
void risk_prior_use(const struct risk_prior *prior, struct dog_risk_model *m);
