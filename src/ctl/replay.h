#pragma once
/**
 * Replay: recorded telemetry through the same core that decides live.
 *
 * "What would it have done on my links", before anyone lets it act. Every recorded sample is
 * given to the loop at its own time; what the loop decides takes effect `delay` later, as it
 * would on a network; the recorded samples after that say whether the promise was kept. Beside
 * it stand four policies that need no forecast, judged on the same instants.
 */
#include "core/loop.h"
#include "store/store.h"

#include <jansson.h>

struct replay_options {
        struct dog_promise promise; /**< rate_kbps 0: take the trace's need */
        struct dog_policy policy;   /**< spread: new traffic goes to several columns at once, by weight */
        int64_t delay_ns;           /**< from a sample's time until a decision made of it carries traffic */
        unsigned pace; /**< of who carries nothing only each so-many-th sample is seen, as live probes
                          are; judged is by all of them. 0, 1: all */
        int64_t since_ms, until_ms;         /**< only this part of every trace counts; until 0: to the end */
        bool has_decisions;                 /**< collect every decision */
        const struct dog_path_model *trees; /**< as the daemon would have; NULL: the online logistic alone */
};

struct replay_options replay_options_default(void);

/** One recording, in slots of its step: sample[slot * paths + path]. */
struct replay_trace {
        char name[128];
        unsigned paths;
        char path[DOG_MEMBERS_MAX][DOG_NAME_MAX];
        int64_t step_ns;
        size_t slots;
        struct dog_sample *sample;
        bool *is_there;   /**< the path was measured in this slot */
        double need_kbps; /**< 0: none */
        bool is_spread;   /**< of servers behind an address: new traffic goes to several at once */
};

/** Read one trace file. The step is the index's (0: the smallest distance of two rows). */
int replay_trace_load(struct replay_trace *t, const char *file, int64_t step_ms, double need_kbps,
                      struct dog_err *e);
void replay_trace_free(struct replay_trace *t);
/**
 * The daemon's own telemetry of a time, one trace a tunnel and one of all instances, in slots of 250 ms.
 * @param from_ns, to_ns  wall clock
 * @param room            how many traces fit; *traces is how many there were. Free each.
 */
int replay_store_load(struct dog_store *store, int64_t from_ns, int64_t to_ns, struct replay_trace *trace,
                      size_t room, size_t *traces, struct dog_err *e);

#define REPLAY_POLICIES(X)                                                                                   \
        X(SUNDOG, "sundog", "forecast, steer, mirror when it pays")                                          \
        X(NEVER, "never", "the best single path, chosen with hindsight; no copies")                          \
        X(ANY, "any-path", "one path for good, mean over all of them")                                       \
        X(REACTIVE, "reactive",                                                                              \
          "leave a path after a bad sample, for the next one that was good; no copies")                      \
        X(AFTER_BAD, "mirror-after-bad",                                                                     \
          "as reactive, and a copy on a second path for 5 s after a bad sample")                             \
        X(ALWAYS, "always", "a copy on every path, all the time")                                            \
        X(ORACLE, "oracle", "knows the future: bad only when every path is")

enum replay_policy {
#define X(id, word, help) REPLAY_##id,
        REPLAY_POLICIES(X)
#undef X
                REPLAY_POLICY_COUNT
};

struct replay_score {
        double bad_s;    /**< broken promise, in seconds of traffic */
        double served_s; /**< seconds judged */
        double copies_s; /**< extra copies x seconds */
        double moves;
};

struct replay_result {
        struct replay_score score[REPLAY_POLICY_COUNT];
        uint64_t grade[DOG_GRADE_COUNT]; /**< of Sundog's decisions */
        uint64_t changed;                /**< changes of level that people would have been told */
        double measured_s;               /**< of all paths together */
        double unjudged_s;               /**< nothing that carried the traffic was measured */
        json_t *decisions;               /**< array, or NULL; the caller's */
};

const char *replay_policy_name(enum replay_policy p);
const char *replay_policy_help(enum replay_policy p);

/** Play one trace; adds to `result`. */
int replay_run(const struct replay_trace *t, const struct replay_options *o, struct replay_result *result,
               struct dog_err *e);
