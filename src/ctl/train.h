#pragma once
/** What the files of `sundog train` share. */
#include "ctl/command.h"
#include "learn/gbt_jobs.h"
#include "learn/model_file.h"

struct train_args {
        const char *kind, *data, *store, *family, *out;
        int64_t since_ns;
        unsigned threads, folds, seed;
        double effort;
};

/** What the model says of when it was made: now, or SOURCE_DATE_EPOCH. */
int64_t train_made_ns(void);
/** What is at work, for the progress bar. */
typedef void train_note_fn(const void *of, char *to, size_t room);
/**
 * Do the work, from OUT.part where there is one; OUT.part is written once a minute and when it is stopped.
 * @param note  may be NULL
 * @return EXIT_FINE when it is done; else an exit code after a sentence
 */
int train_work(const struct train_args *a, struct dog_gbt_jobs *jobs, train_note_fn *note, const void *of);
/** From here on Ctrl-C and an ordinary kill ask for an orderly end; the second one ends at once. */
void train_listen(void);
/** Paths: goes on from OUT.part when there is one. An exit code. */
int train_paths(struct ctl *ctl, const struct train_args *a);
/** Nodes and overload; kind is enum dog_model_kind. An exit code. */
int train_nodes(struct ctl *ctl, const struct train_args *a, int kind);
/** Write the file, say what it scores, and take OUT.part away. */
int train_write(struct ctl *ctl, const struct train_args *a, const struct dog_model *model);
