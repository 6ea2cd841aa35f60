#pragma once
/**
 * How a member is about to fail: a chance per failure mode (F5) over the middle horizon.
 *
 * A bad sample is laid to one mode: the link when nothing comes back twice in a row or there is no carrier;
 * overload when the member told a load near its limit, or answered late over a network that was quick;
 * congestion otherwise (delay, jitter, rate, or some loss). The chance of a mode is the chance of a broken
 * promise, split by what such breaches have been here, in moments that looked alike: with an answer just
 * missing, with delay growing, with load high. Counts start from what is usual and fade.
 *
 * Each mode keeps its own record against the base rate (Brier skill score: Murphy, Monthly Weather Review
 * 101, 1973). Where it has shown no skill yet it says so, and says the base rate, so that it is never
 * worse than that. What was never measured (load, without an agent) has no chance: NaN.
 *
 * Values, no pointers; same calls, same bits; a prediction at t uses nothing later than t.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* word, words, share of breaches before any was seen: usually, and in moments that look like it */
#define DOG_MODE_LIST(X)                                                                                     \
        X(LINK, "link", "link failure", 0.1F, 0.5F)                                                          \
        X(OVERLOAD, "overload", "device overload", 0.05F, 0.5F)                                              \
        X(CONGESTION, "congestion", "congestion", 0.85F, 0.9F)

enum dog_mode {
#define X(id, word, words, usual, alike) DOG_MODE_##id,
        DOG_MODE_LIST(X)
#undef X
                DOG_MODES
};

/** "link" */
const char *dog_mode_word(int mode);
/** "link failure" */
const char *dog_mode_name(int mode);

/** One sample of a member, as far as modes need it. NaN: not measured. */
struct dog_mode_sample {
        int64_t t_ns;
        bool is_bad;
        bool is_network_good; /**< round trip, jitter, loss and rate all keep their promise */
        float rtt_ms, loss;
        float load; /**< the highest of what the member tells of itself, 0..1; NaN: tells nothing */
};

/** How a mode did against the base rate; shared by the members of a group. */
struct dog_mode_record {
        float square, square_base; /**< fading sums of squared errors */
        float count, events;       /**< fading; events: times that it happened */
        float base;                /**< how often it happened */
};
struct dog_mode_records {
        struct dog_mode_record of[DOG_MODES];
};

/** One member's. */
struct dog_modes {
        int64_t said_ns; /**< INT64_MIN: nothing waits for its outcome */
        float said[DOG_MODES];
        uint8_t happened; /**< bit per mode, since it was said */
        uint8_t looks;    /**< bit per mode: this moment looks like it */
        uint8_t looked;   /**< ... and when it was said */
        bool is_lost, has_load, is_started;
        float rtt_fast, rtt_least; /**< mean of a second; least of half a minute, creeping up */
        int64_t last_ns;
        float breaches[DOG_MODES][2], mine[DOG_MODES][2]; /**< by "looks like it" */
};

/** What is said of one mode. */
struct dog_mode_chance {
        float p;        /**< NaN: cannot be known here */
        bool has_skill; /**< false: p is the base rate */
};

void dog_mode_records_init(struct dog_mode_records *r);
void dog_modes_init(struct dog_modes *m);
/** Take one sample; grades what was said `horizon_ns` before. One whose time does not advance is dropped. */
void dog_modes_observe(struct dog_modes *m, struct dog_mode_records *r, const struct dog_mode_sample *s,
                       int64_t horizon_ns);
/**
 * Say. Pure.
 * @param p_breach  chance of a broken promise within the horizon
 */
void dog_modes_predict(const struct dog_modes *m, const struct dog_mode_records *r, float p_breach,
                       struct dog_mode_chance out[DOG_MODES]);
/** Say, and keep it until its outcome is known. Once after each observe. */
void dog_modes_step(struct dog_modes *m, const struct dog_mode_records *r, float p_breach, int64_t now_ns,
                    struct dog_mode_chance out[DOG_MODES]);
/** 1 - error / error of the base rate: > 0 is better than the base rate; NaN before the first event. */
double dog_mode_skill(const struct dog_mode_record *r);
