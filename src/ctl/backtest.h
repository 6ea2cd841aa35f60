#pragma once
/** What the files of `sundog backtest` share. */
#include "ctl/command.h"
#include "learn/backtest_paths.h"

struct backtest_args {
        const char *model, *data, *store, *kind, *family, *predictions, *policy_predictions, *plot, *steer_by;
        double power, hysteresis;
        int64_t delay_ns, since_ns;
};

int backtest_paths(struct ctl *ctl, const struct backtest_args *a);
/** kind is enum dog_model_kind: node or overload. */
int backtest_nodes(struct ctl *ctl, const struct backtest_args *a, int kind);
/** What a person does next: where the files are, and what the columns mean. */
static inline void backtest_end_tell(const struct out *o, const struct backtest_args *a)
{
        if (a->plot)
                fprintf(o->to, "pictures: %s/*.svg\n", a->plot);
        if (a->predictions)
                fprintf(o->to, "predictions: %s\n", a->predictions);
        fprintf(o->to, "%s(what the columns mean: sundog help backtest)%s\n", out_colour(o, "dim"),
                out_colour(o, "plain"));
}
