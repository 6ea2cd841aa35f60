#pragma once
/**
 * A recorded trace, told to a model as it would have been live: one callback per path and step, with what
 * was believed then. Each trace starts from a fresh state, so that what comes after t, or in another trace,
 * changes no prediction at t.
 */
#include "base/err.h"
#include "learn/paths.h"
#include "models/path_risk.h"

/** What was believed of one path at one step of a trace. Borrowed during the call. */
struct dog_path_said {
        const struct dog_path_trace *trace;
        int path; /**< index into trace->path */
        int step; /**< sample time is step x trace->step_ms */
        int64_t t_ms;
        const struct dog_path_belief *belief; /**< belief->mix.p[enum dog_risk_target] */
};
typedef int (*dog_path_said_fn)(void *data, const struct dog_path_said *said, struct dog_err *e);

struct dog_path_predict_options {
        const struct dog_path_model *model; /**< NULL: the logistic alone */
        bool is_calibrating;                /**< the member's own calibration, within the trace */
        float learn_rate;                   /**< of the logistic, within the trace; 0: its prior as it is */
};
struct dog_path_predict_options dog_path_predict_default(const struct dog_path_model *model);

/**
 * Play one trace. The callback comes for every path that has a sample at a step, in the order of steps and
 * of paths; a negative return ends the play and is returned.
 * @return 0, or what the callback returned; -ENOMEM
 */
int dog_path_predict(const struct dog_path_trace *t, const struct dog_path_predict_options *o,
                     dog_path_said_fn said, void *data, struct dog_err *e);
