#pragma once
/**
 * Traces of path quality as text: `t_ms,path,rtt_ms,loss,rate_kbps`, one row per path and step, sorted by
 * time; plain or gzip. An empty field was not measured; a missing row neither. The five columns may stand
 * in any order; a column that is missing or unknown is an error that names it.
 *
 * Streaming: memory does not grow with the file. Every error names file, line and column.
 * Not safe for two threads on one trace.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        DOG_TRACE_LINE = 1024, /**< most octets of a line */
        DOG_TRACE_NAME = 64,   /**< most octets of a path's name, with its end */
        DOG_TRACE_PATHS = 64,  /**< most paths of one trace */
};

struct dog_trace_row {
        int64_t t_ms;  /**< since the start of the trace; never goes back */
        unsigned path; /**< 0.. in order of first appearance: see dog_trace_path_name */
        bool has_rtt;
        bool has_loss;
        bool has_rate;
        double rtt_ms;    /**< >= 0 */
        double loss;      /**< 0..1 */
        double rate_kbps; /**< >= 0 */
};

struct dog_trace;

/**
 * Open a trace file; gzip is recognised by its content.
 * @return 0; -errno of open(2); -ENOMEM; -EINVAL for an empty file, a bad header or damaged gzip
 */
int dog_trace_open(struct dog_trace **t, const char *file, struct dog_err *e);
/** The same on bytes in memory, which are borrowed until close. `name` stands for the file in errors. */
int dog_trace_open_bytes(struct dog_trace **t, const char *name, const void *data, size_t size,
                         struct dog_err *e);
/**
 * The next row.
 * @return 1 and a row; 0 at the end; -EINVAL for what is wrong in the text, -EIO when it cannot be read.
 *         After an error or the end every further call gives the same.
 */
int dog_trace_next(struct dog_trace *t, struct dog_trace_row *row, struct dog_err *e);
unsigned dog_trace_paths(const struct dog_trace *t);
/** "" for a path not seen yet. Valid until close. */
const char *dog_trace_path_name(const struct dog_trace *t, unsigned path);
void dog_trace_close(struct dog_trace *t);

/** One line of an index (traces.csv): what a trace is about. */
struct dog_trace_about {
        char name[128]; /**< the file is NAME.csv or NAME.csv.gz beside the index */
        char family[32];
        int64_t step_ms;  /**< native sampling step, > 0 */
        double need_kbps; /**< rate the profile asks for; 0: none */
};

struct dog_trace_index;

/** Needs the columns trace, step_ms and need_kbps; family is taken when there, others are not looked at. */
int dog_trace_index_open(struct dog_trace_index **x, const char *file, struct dog_err *e);
int dog_trace_index_open_bytes(struct dog_trace_index **x, const char *name, const void *data, size_t size,
                               struct dog_err *e);
/** As dog_trace_next. */
int dog_trace_index_next(struct dog_trace_index *x, struct dog_trace_about *about, struct dog_err *e);
void dog_trace_index_close(struct dog_trace_index *x);
