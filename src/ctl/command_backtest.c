/* sundog backtest: any forecaster on recorded telemetry, and what it was worth. No daemon, no root. */
#include "ctl/backtest.h"

#include "base/clock.h"
#include "learn/model_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct option_row option_backtest[] = {
        {"model", "NAME", OPTION_TEXT, offsetof(struct backtest_args, model),
         "a file that sundog train wrote, default, logistic, persistence or ewma; several with commas "
         "(default)"},
        {"data", "DIR", OPTION_TEXT, offsetof(struct backtest_args, data), "folder of recorded telemetry"},
        {"store", "FILE", OPTION_TEXT, offsetof(struct backtest_args, store),
         "the daemon's own telemetry instead: its store, or the folder it is in"},
        {"since", "TIME", OPTION_TIME, offsetof(struct backtest_args, since_ns),
         "of the store, the last TIME (7d)"},
        {"kind", "KIND", OPTION_TEXT, offsetof(struct backtest_args, kind),
         "path, node or overload (that of the model file, else path)"},
        {"family", "NAME", OPTION_TEXT, offsetof(struct backtest_args, family),
         "only this family of traces, or this data set of nodes"},
        {"predictions", "FILE", OPTION_TEXT, offsetof(struct backtest_args, predictions),
         "write what the first model said, as CSV"},
        {"policy-predictions", "FILE", OPTION_TEXT, offsetof(struct backtest_args, policy_predictions),
         "write what it steers by, in the place of the chance at 1 s (path)"},
        {"plot", "DIR", OPTION_TEXT, offsetof(struct backtest_args, plot),
         "write pictures: calibration and the trade-off of copies against broken promises (SVG)"},
        {"steer-by", "TARGET", OPTION_TEXT, offsetof(struct backtest_args, steer_by),
         "policies go by the chance of the next second, 1s, or of the next sample, next (1s)"},
        {"power", "N", OPTION_NUMBER, offsetof(struct backtest_args, power),
         "steering goes by p to the power N: 0.5 makes the hysteresis fine where p is small (1)"},
        {"hysteresis", "N", OPTION_NUMBER, offsetof(struct backtest_args, hysteresis),
         "a move must gain so much of that (0.02)"},
        {"delay", "TIME", OPTION_TIME, offsetof(struct backtest_args, delay_ns),
         "from a sample until a decision made of it acts (200ms)"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

const struct out_word words_scores[] = {
        {"BASE", "how often it happened: what a forecaster says that knows nothing else"},
        {"AUROC", "of two moments, one before a failure and one not, how often the first got the higher "
                  "chance; 0.5 is "
                  "guessing, 1 perfect"},
        {"AP",
         "average precision: the share of alarms that are right, over all thresholds; BASE is guessing"},
        {"BRIER, SKILL",
         "mean squared error of the chances, and how much of the base rate's it saves: 0 is no better, "
         "1 perfect"},
        {"ECE", "how far a chance is from how often it then happens, on average"},
        {NULL, NULL},
};
const struct out_word words_steering[] = {
        {"onset", "counts only moments at which nothing was broken in the second before: the hard ones"},
        {"RECALL, LEAD",
         "the share of failures announced, and how early, with a threshold at which every second alarm is "
         "right"},
        {"FALSE/h", "wrong alarms an hour of one path, at that threshold"},
        {"BLIND, FLOOR",
         "the share of steps that are broken on any path, and on all at once: no choice helps there"},
        {"V(o)", "the share of steps still broken when traffic goes where the risk is least, and the share o "
                 "of it is sent "
                 "twice"},
        {"MOVES/h", "how often traffic changes its path for that"},
        {"PAIRS o90",
         "the share of traffic that must be sent twice to remove 90 % of what a second path can; JOINT: by "
         "the learned chance of bad here and good there"},
        {NULL, NULL},
};
const struct out_word words_incidents[] = {
        {"p5, p15, p60",
         "the chance that an incident begins, or a metric crosses its limit, within 5, 15, 60 min"},
        {"BIAS, SLOPE", "of a trained model: the line that corrects what its trees say, in log-odds"},
        {"RECALL, LEAD",
         "the share of incidents foreseen, and how early, at no more than one false alarm a node and day"},
        {"DETECT, DELAY", "the share seen by then or within the horizon of their start, and how late"},
        {"HEALTH AUROC", "how well 1 - health tells steps inside incidents from the others"},
        {NULL, NULL},
};

/* The kind that the first model of the list is for; what is no model file is about paths. */
static int backtest_kind(const char *model)
{
        char name[4096];
        struct dog_model *file = NULL;
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(model, ","), model);
        int kind = DOG_MODEL_PATH;
        if (dog_model_read(&file, name, NULL) == 0)
                kind = file->kind;
        dog_model_free(file);
        return kind;
}

int command_backtest(struct ctl *ctl, int argc, char **argv)
{
        struct dog_backtest_options o = dog_backtest_default();
        struct backtest_args a = {.model = "default",
                                  .steer_by = "1s",
                                  .power = o.power,
                                  .hysteresis = o.hysteresis,
                                  .delay_ns = o.delay_ms * DOG_MS,
                                  .since_ns = 7 * 24 * 3600 * DOG_S};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words > 0)
                return ctl_fail(EXIT_USAGE, "backtest takes no words (\"%s\"): give the folder with --data",
                                argv[0]);
        if (!a.data == !a.store)
                return ctl_fail(EXIT_USAGE,
                                "backtest on what? Give a folder with --data, or the daemon's --store%s",
                                a.data ? ", not both" : "");
        if (strcmp(a.steer_by, "1s") != 0 && strcmp(a.steer_by, "next") != 0)
                return ctl_fail(EXIT_USAGE, "--steer-by %s: write 1s or next", a.steer_by);
        if (!(a.power > 0 && a.power <= 10) || !(a.hysteresis >= 0 && a.hysteresis <= 1))
                return ctl_fail(EXIT_USAGE, "--power is above 0 and at most 10, --hysteresis from 0 to 1");
        if (a.since_ns <= 0)
                return ctl_fail(EXIT_USAGE, "--since is above 0");
        if (a.delay_ns < 0 || a.delay_ns > 60 * DOG_S)
                return ctl_fail(EXIT_USAGE, "--delay is from 0 to 60 s");
        int kind = a.kind ? dog_model_kind_of(a.kind) : backtest_kind(a.model);
        if (kind < 0)
                return ctl_fail(EXIT_USAGE, "--kind %s: write path, node or overload", a.kind);
        if (kind == DOG_MODEL_PATH)
                return backtest_paths(ctl, &a);
        bool is_plain = !a.policy_predictions && a.power >= o.power && a.power <= o.power &&
                        a.hysteresis >= o.hysteresis && a.hysteresis <= o.hysteresis &&
                        a.delay_ns == o.delay_ms * DOG_MS && strcmp(a.steer_by, "1s") == 0;
        if (!is_plain)
                return ctl_fail(EXIT_USAGE,
                                "--policy-predictions and what is about steering are for --kind path");
        return backtest_nodes(ctl, &a, kind);
}
