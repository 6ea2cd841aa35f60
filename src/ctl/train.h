#pragma once
/** What the files of `sundog train` share. */
#include "ctl/command.h"
#include "learn/model_file.h"

struct train_args {
        const char *kind, *data, *store, *family, *out;
        int64_t since_ns;
        unsigned threads, folds, seed;
        double effort;
};

/** What the model says of when it was made: now, or SOURCE_DATE_EPOCH. */
int64_t train_made_ns(void);
/** From here on Ctrl-C and an ordinary kill ask for an orderly end; the second one ends at once. */
void train_listen(void);
/** Ctrl-C, or an ordinary kill. */
bool train_is_stopped(void);
/** Paths: goes on from OUT.part when there is one. An exit code. */
int train_paths(struct ctl *ctl, const struct train_args *a);
/** Nodes and overload; kind is enum dog_model_kind. An exit code. */
int train_nodes(struct ctl *ctl, const struct train_args *a, int kind);
/** Write the file and say what it scores. */
int train_write(struct ctl *ctl, const struct train_args *a, const struct dog_model *model);
