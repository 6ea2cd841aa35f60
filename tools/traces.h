#pragma once
/**
 * Recorded path-quality traces for fitting and judging: a folder with traces.csv (trace, family,
 * step_ms, paths joined by '+', need_kbps, date, ...) and one TRACE.csv.gz each
 * (t_ms,path,rtt_ms,loss,rate_kbps; an empty field was not measured).
 *
 * A sample is bad when loss >= 2 %, or rtt > max(100 ms, 2 x median of the 60 s before, once there
 * are five), or the mean rate of the last second is under the trace's need.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct trace_point {
        bool is_seen;     /**< there is a row */
        bool is_bad;      /**< by the exact median */
        bool is_bad_seen; /**< by the median the product keeps (dog_window) */
        float margin;     /**< NaN not measured */
        float rtt_ms, loss, rate_kbps;
};

enum { TRACE_PATHS = 8 };

struct trace {
        char name[64], family[16], date[16], path[TRACE_PATHS][32];
        int64_t step_ms;
        double need_kbps; /**< 0: none */
        int paths, length;
        struct trace_point *point; /**< [path * length + step] */
};

struct traces {
        struct trace *list;
        int count, room;
        long points, differing; /**< samples, and those where the two medians disagree about bad */
};

/** Load the traces of the families named (NULL-terminated; NULL: all). Free with traces_free. */
int traces_load(struct traces *t, const char *folder, const char *const *families, struct dog_err *e);
/**
 * Add to every trace so far its thinned copies: each stride-th step, one copy per starting phase, judged
 * anew. A prior should not believe that the world is probed five times a second.
 */
int traces_thin(struct traces *t, int stride, struct dog_err *e);
void traces_free(struct traces *t);
