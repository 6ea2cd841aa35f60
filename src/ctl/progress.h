#pragma once
/**
 * How far something is, on standard error: a bar that moves on a terminal, a line now and then elsewhere.
 * Standard output stays what the command prints.
 */
#include <stdbool.h>
#include <stdint.h>

struct progress {
        const char *what; /**< borrowed: "training" */
        bool is_terminal;
        int64_t began_ns, said_ns; /**< monotonic */
        int shown;                 /**< percent that stands there; -1: nothing yet */
};

struct progress progress_begin(const char *what);
/** `done` of `of`; `note` is a word beside it, or NULL. Cheap: most calls only look at the clock. */
void progress_show(struct progress *p, double done, double of, const char *note);
/** Leave the line clean. */
void progress_end(struct progress *p);
