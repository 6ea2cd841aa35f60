#pragma once
/**
 * What `sundog demo` shows while it runs: redrawn in place on a terminal, a plain line now and then
 * elsewhere.
 *
 * The owner fills the fields as news comes in; nothing here asks or waits.
 */
#include "ctl/out.h"

#include <stdint.h>

enum { DEMO_PATHS = 4, DEMO_SPARKS = 128, DEMO_SLOTS = 256, DEMO_SLOT_MS = 500 };

struct demo_path {
        char name[32];
        double delay_ms, loss;    /**< one way, as the recording has it now; loss 0..1 */
        float spark[DEMO_SPARKS]; /**< one-way delay, worst of half a second, newest last; < 0: lost; NAN:
                                     none */
        double p_bad, score;      /**< of Sundog's model for this path; NAN: none */
        bool carries_call, copies_call, carries_download;
};

/** The call so far. */
struct demo_call {
        unsigned ok, late, lost;
};

struct demo_view {
        struct out out;
        bool is_live;    /**< a terminal that can be redrawn */
        unsigned phase;  /**< 0: before the first, 1: alone, 2: with Sundog */
        char doing[160]; /**< what is being prepared; "" while a phase runs */
        double at_s, length_s;
        struct demo_path path[DEMO_PATHS];
        unsigned paths, best;
        struct demo_call call[3];          /**< by phase */
        struct demo_call then[DEMO_SLOTS]; /**< phase 1, by half seconds: to compare the same instant */
        double download_s[3];              /**< by phase; NAN: still running */
        uint64_t download_bytes;
        char decision[400]; /**< the newest about the call, and when */
        char reason[160];
        unsigned decisions;
        double told_s; /**< plain lines: when the last one was written */
        char told[160];
};

void demo_view_open(struct demo_view *v, FILE *to);
/** Half a second has passed: move the histories on. `worst` holds each path's worst delay in it, < 0: lost.
 */
void demo_view_step(struct demo_view *v, const float worst[DEMO_PATHS]);
/** Show it; on a terminal all of it, elsewhere a line when something began or five seconds have passed. */
void demo_view_draw(struct demo_view *v);
/** Columns of the terminal; 100 when there is none. */
unsigned demo_view_columns(const struct demo_view *v);
/** Give the terminal back as it was. May be called twice. */
void demo_view_close(struct demo_view *v);
