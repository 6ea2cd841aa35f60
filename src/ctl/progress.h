#pragma once
/**
 * How far something is, on standard error: a bar that moves on a terminal, a line now and then elsewhere.
 * Standard output stays what the command prints.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
        const char *what; /**< borrowed: "training" */
        bool is_terminal;
        int64_t began_ns, said_ns; /**< monotonic */
        double began_at;           /**< what was done when it was first shown; -1: not yet */
        int shown;                 /**< percent that stands there; -1: nothing yet */
};

struct progress progress_begin(const char *what);
/** Something goes on of which nobody knows how long it takes: "reading the recordings". Terminals only. */
void progress_wait(struct progress *p, const char *note);
/** `done` of `of`; `note` is a word beside it, or NULL. Cheap: most calls only look at the clock. */
void progress_show(struct progress *p, double done, double of, const char *note);
/** Leave the line clean. */
void progress_end(struct progress *p);

/**
 * The line that a terminal shows: at most `room` characters, the note is cut first.
 * @param left_ns  -1: not known yet
 * @param to       room for room + 1
 */
void progress_line(const struct progress *p, int percent, int64_t left_ns, const char *note, size_t room,
                   char *to);
