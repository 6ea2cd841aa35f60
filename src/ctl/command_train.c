/* sundog train: a model file from recorded telemetry. No daemon, no root, no configuration. */
#include "base/clock.h"
#include "ctl/train.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct option_row option_train[] = {
        {"kind", "KIND", OPTION_TEXT, offsetof(struct train_args, kind), "path, node or overload (path)"},
        {"data", "DIR", OPTION_TEXT, offsetof(struct train_args, data), "folder of recorded telemetry"},
        {"store", "FILE", OPTION_TEXT, offsetof(struct train_args, store),
         "the daemon's own telemetry instead: its store, or the folder it is in"},
        {"since", "TIME", OPTION_TIME, offsetof(struct train_args, since_ns),
         "of the store, the last TIME (7d)"},
        {"family", "NAME", OPTION_TEXT, offsetof(struct train_args, family),
         "only this family of traces, or these: several with commas (path)"},
        {"out", "MODEL", OPTION_TEXT, offsetof(struct train_args, out), "the model file to write"},
        {"threads", "N", OPTION_COUNT, offsetof(struct train_args, threads),
         "at work at once; the result does not depend on it (2)"},
        {"folds", "N", OPTION_COUNT, offsetof(struct train_args, folds),
         "parts of the data, whole days, for the model's own examination, 0: none (4; path)"},
        {"effort", "N", OPTION_NUMBER, offsetof(struct train_args, effort),
         "rounds of training, as a multiple of the recipe's (1; path)"},
        {"seed", "N", OPTION_COUNT, offsetof(struct train_args, seed), "of the random draws (1; path)"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* Hours of work should not end in a folder that is not there. */
static int out_check(const char *out)
{
        char folder[4096];
        struct stat what;
        if (stat(out, &what) == 0 && !S_ISREG(what.st_mode))
                return ctl_fail(EXIT_FAILED, "cannot write the model to %s: it is not a plain file", out);
        snprintf(folder, sizeof(folder), "%s", out);
        char *slash = strrchr(folder, '/');
        if (slash)
                slash[slash == folder] = 0;
        else
                snprintf(folder, sizeof(folder), ".");
        if (stat(folder, &what) < 0 || access(folder, W_OK | X_OK) < 0)
                return ctl_fail(EXIT_FAILED, "cannot write the model to %s: folder %s: %s", out, folder,
                                strerror(errno));
        if (!S_ISDIR(what.st_mode))
                return ctl_fail(EXIT_FAILED, "cannot write the model to %s: %s is no folder", out, folder);
        return EXIT_FINE;
}

int command_train(struct ctl *ctl, int argc, char **argv)
{
        struct train_args a = {.kind = "path",
                               .since_ns = 7 * 24 * 3600 * DOG_S,
                               .threads = 2,
                               .folds = 4,
                               .effort = 1,
                               .seed = 1};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words > 0)
                return ctl_fail(EXIT_USAGE, "train takes no words (\"%s\"): give the folder with --data",
                                argv[0]);
        int kind = dog_model_kind_of(a.kind);
        if (kind < 0)
                return ctl_fail(EXIT_USAGE, "--kind %s: write path, node or overload", a.kind);
        if (!a.out)
                return ctl_fail(EXIT_USAGE, "where should the model go? Name a file with --out");
        if (!a.data == !a.store)
                return ctl_fail(EXIT_USAGE,
                                "learn from what? Give a folder with --data, or the daemon's --store%s",
                                a.data ? ", not both" : "");
        if (a.threads < 1 || a.threads > 16)
                return ctl_fail(EXIT_USAGE, "--threads is from 1 to 16");
        if (a.folds > 8 || !(a.effort > 0 && a.effort <= 10) || a.since_ns <= 0)
                return ctl_fail(EXIT_USAGE,
                                "--folds is from 0 to 8, --effort above 0 and at most 10, --since above 0");
        if (a.store && a.family)
                return ctl_fail(EXIT_USAGE,
                                "--family picks from a folder; a store holds one family, its own");
        bool is_plain = !a.family && a.folds == 4 && a.seed == 1 && a.effort >= 1 && a.effort <= 1;
        if (kind != DOG_MODEL_PATH && !is_plain)
                return ctl_fail(EXIT_USAGE, "--family, --folds, --effort and --seed are for --kind path");
        int code = out_check(a.out);
        if (code != EXIT_FINE)
                return code;
        train_listen();
        return kind == DOG_MODEL_PATH ? train_paths(ctl, &a) : train_nodes(ctl, &a, kind);
}
