#pragma once
/**
 * A recorded trace as a source: plays the rows of a trace file at the times they were recorded, so that
 * replay, backtest and tests see what a live probe would have said. Pulls; never sleeps, never waits.
 */
#include "base/err.h"
#include "core/sample.h"
#include "wire/trace.h"

struct dog_trace_feed_conf {
        const char *file;
        int64_t start_ns; /**< the monotonic time that stands for t_ms 0 */
        /** One row: RTT, LOSS and RATE, NaN where its field was empty. */
        void (*sample)(void *user, unsigned path, const struct dog_sample *s);
        void *user;
};

struct dog_trace_feed;

/** Errors as for dog_trace_open; the first row is read here, so a file without rows is an error too. */
int dog_trace_feed_new(struct dog_trace_feed **f, const struct dog_trace_feed_conf *conf, struct dog_err *e);
/**
 * Hand over every row up to and including until_ns; nothing later is looked at by the receiver.
 * @return 1 there is more; 0 the trace is over; < 0 as dog_trace_next, after the good rows before it
 */
int dog_trace_feed_play(struct dog_trace_feed *f, int64_t until_ns, struct dog_err *e);
/** When the next row is due; INT64_MAX at the end. */
int64_t dog_trace_feed_next_ns(const struct dog_trace_feed *f);
/** Name and number of paths seen up to now. */
const char *dog_trace_feed_path_name(const struct dog_trace_feed *f, unsigned path);
unsigned dog_trace_feed_paths(const struct dog_trace_feed *f);
void dog_trace_feed_free(struct dog_trace_feed *f);
