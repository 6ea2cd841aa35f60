#pragma once
/**
 * Recorded path-quality traces, to learn from and to judge by: a folder with traces.csv and one TRACE.csv.gz
 * (or TRACE.csv) each.
 *
 * traces.csv names its columns in its first line, in any order; needed are trace, family, step_ms, paths
 * (joined by '+'), need_kbps (empty: none) and date. A trace file is wire/trace.h's:
 * t_ms,path,rtt_ms,loss,rate_kbps, sorted by time; an empty field was not measured.
 *
 * A sample is bad when loss >= 2 %, or rtt > max(100 ms, 2 x median of the 60 s before, once there
 * are five), or the mean rate of the last second is under the trace's need. Telemetry of a daemon
 * (learn/path_store.h) has limits of its own. It is judged twice: by the exact median (what happened) and by
 * the one that a running daemon keeps (what it would have seen).
 *
 * What makes no sense ends the loading with one sentence that names file and line: an empty or damaged file,
 * a missing column, a time that goes back, a number that is none, a path that the list does not name. What
 * can happen in an honest recording is dropped and counted: a second row of a path in one step.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dog_path_point {
        bool is_seen;                  /**< there is a row */
        bool is_bad;                   /**< by the exact median */
        bool is_bad_seen;              /**< by the median the product keeps (dog_window) */
        float margin;                  /**< NaN not measured; models/risk.h */
        float rtt_ms, loss, rate_kbps; /**< NaN not measured */
};

enum { DOG_PATH_TRACE_PATHS = 8, DOG_PATH_TRACE_STEPS = 10000000 };

struct dog_path_trace {
        char name[64], family[16], date[16], path[DOG_PATH_TRACE_PATHS][32];
        int64_t step_ms;
        double need_kbps;  /**< 0: none */
        double rtt_ms;     /**< limit of round trips: this, */
        double rtt_factor; /**< or so many medians, whichever is more; 0 and 0: none */
        double loss_ratio; /**< 0: none */
        int pace;          /**< a path counts as watched with a sample in so many steps: 1 as recorded */
        int paths, length;
        int origin; /**< number of the trace that this is a copy of; its own for a recorded one */
        struct dog_path_point *point; /**< [path * length + step] */
};

struct dog_path_traces {
        struct dog_path_trace *list;
        int count, room;
        long points;    /**< samples */
        long differing; /**< samples where the two medians disagree about bad */
        long repeated;  /**< dropped: a path had a sample in that step already */
        long lone; /**< recorded traces with fewer than two samples of every path: nothing to learn from */
};

/** A recording with the limits of recordings, and nothing in it yet. */
struct dog_path_trace dog_path_trace_plain(void);

/**
 * Load the traces of the families named (NULL-terminated; NULL: all). Free with dog_path_traces_free; after a
 * failure there is nothing to free.
 * @return 0; -ENOENT, -EINVAL, -ENODATA when nothing is left, -ENOMEM, or what reading a file gives
 */
int dog_path_traces_load(struct dog_path_traces *t, const char *folder, const char *const *families,
                         struct dog_err *e);
/**
 * Add a recording from elsewhere: its samples are judged, its points become the list's (freed when it fails).
 * @return 0; -EINVAL for one without paths, steps or a step; -ENOMEM
 */
int dog_path_traces_add(struct dog_path_traces *t, const struct dog_path_trace *one, struct dog_err *e);
/**
 * Add to every recorded trace so far its thinned copies: each stride-th step, one copy per starting phase,
 * judged anew. A model should not believe that the world is probed five times a second.
 */
int dog_path_traces_thin(struct dog_path_traces *t, int stride, struct dog_err *e);
/**
 * Add to every recorded trace of round trips that was probed more often than each `step_ms` what probes at
 * that pace would have seen of it: one copy per starting phase, judged anew. Traces of rates get none, nor
 * those whose paths have paces of their own already.
 */
int dog_path_traces_slow(struct dog_path_traces *t, int64_t step_ms, struct dog_err *e);
/**
 * Add to every recorded trace so far a copy whose promise is another: the rate needed times `need`, the limit
 * of round trips times `rtt`. Traces that the factor in question does not change get no copy.
 */
int dog_path_traces_shift(struct dog_path_traces *t, double need, double rtt, struct dog_err *e);
void dog_path_traces_free(struct dog_path_traces *t);

/** What a trace measures: true when any sample of any path holds a rate (and it has a need for one). */
bool dog_path_trace_is_rate(const struct dog_path_trace *t);
/**
 * Was there a bad sample in the `steps` after step k? By the exact median.
 * @return 0, 1; -1 when fewer than 80 % of the samples that a watched path has in them were seen, or the
 * trace ends before
 */
int dog_path_trace_outcome(const struct dog_path_trace *t, int path, int k, int steps);
/** Was the next sample after step k bad? @return 0, 1; -1: it did not come at its pace */
int dog_path_trace_next(const struct dog_path_trace *t, int path, int k);
