#pragma once
/** What the files of `sundog backtest` share. */
#include "ctl/command.h"
#include "learn/backtest_paths.h"

#include <stdio.h>

struct backtest_args {
        const char *model, *data, *store, *kind, *family, *predictions, *policy_predictions, *plot, *steer_by;
        double power, hysteresis;
        int64_t delay_ns, since_ns;
};

int backtest_paths(struct ctl *ctl, const struct backtest_args *a);
/** kind is enum dog_model_kind: node or overload. */
int backtest_nodes(struct ctl *ctl, const struct backtest_args *a, int kind);

/** A file a person named, for writing; `what` is "the predictions". Both return an exit code after a
 * sentence. */
int output_open(FILE **to, const char *name, const char *what);
/** Flush and close; a full disk turns EXIT_FINE into a failure, any other code stays. */
int output_close(FILE *to, const char *name, const char *what, int code);
/** JSON null for what is no number. */
json_t *number_or_null(double value);
