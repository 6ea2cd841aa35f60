#pragma once
/**
 * Backtest of paths: any forecaster on recorded paths, as it would have spoken live, and what that was worth.
 *
 * A forecaster is a trained model, or one of the plain ones that a model must beat. It sees every trace from
 * a fresh state, sample by sample; nothing later than t has any part in what it says at t, so cutting a trace
 * after t changes nothing before.
 */
#include "learn/judge_paths.h"
#include "learn/path_predict.h"

#define DOG_FORECASTERS(X)                                                                                   \
        X(MODEL, "model", "a trained model, blended with the logistic")                                      \
        X(LOGISTIC, "logistic", "the logistic regression on its own, with the prior that is built in")       \
        X(PERSISTENCE, "persistence", "it stays as it is: 1 while the promise is broken, else 0")            \
        X(EWMA, "ewma", "share of bad samples lately, fading with a half-life of the horizon")

enum dog_forecaster_kind {
#define X(id, word, help) DOG_FORECASTER_##id,
        DOG_FORECASTERS(X)
#undef X
                DOG_FORECASTER_COUNT
};
const char *dog_forecaster_word(enum dog_forecaster_kind kind);

struct dog_forecaster {
        enum dog_forecaster_kind kind;
        const struct dog_path_model *model; /**< of DOG_FORECASTER_MODEL; borrowed */
};

/** What was said about one trace. Arrays are [path * length + step], NaN where nothing was said. */
struct dog_trace_said {
        double *p[DOG_RISK_TARGETS]; /**< 1, 5, 30 s, the next sample */
        double *joint;               /**< [(a * paths + b) * length + step]; NULL: not learned */
};
/** @return 0, -ENOMEM, or what predicting gives. After a failure there is nothing to free. */
int dog_trace_forecast(const struct dog_path_trace *t, const struct dog_forecaster *f,
                       struct dog_trace_said *out, struct dog_err *e);
void dog_trace_said_free(struct dog_trace_said *said);

struct dog_backtest_options {
        bool is_next; /**< policies go by the chance for the next sample, not for the next second */
        double power; /**< steering goes by p to this power: 0.5 makes the hysteresis fine where p is small */
        double hysteresis; /**< a move must gain so much in that */
        int64_t delay_ms;  /**< from a sample until a decision made of it carries traffic */
        /** Which forecaster a trace gets; NULL: `forecaster`. For cross-validation: one that never saw its
         * day. */
        const struct dog_forecaster *(*choose)(void *data, const struct dog_path_trace *t);
        void *choose_data;
        struct dog_forecaster forecaster;
        /** Called after each trace; NULL: not wanted. Negative ends the backtest and is returned. */
        int (*each)(void *data, const struct dog_path_trace *t, const struct dog_trace_said *said, int done,
                    int of, struct dog_err *e);
        void *each_data;
};
/** Next second, power 1, hysteresis .02, delay 200 ms. */
struct dog_backtest_options dog_backtest_default(void);

/**
 * Play the traces of one family (NULL: all of them) and judge what was said.
 * @return 0; -ENODATA when there is none, -ENOMEM, or what predicting or `each` give; the report is the
 * caller's
 */
int dog_backtest_paths(const struct dog_path_traces *traces, const char *family,
                       const struct dog_backtest_options *o, struct dog_path_report *report,
                       struct dog_err *e);
