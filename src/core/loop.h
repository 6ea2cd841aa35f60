#pragma once
/**
 * The loop: observe, forecast, propose, arbitrate, mirror, steer, learn.
 *
 * It has no clock, socket or file. Whoever owns it calls dog_loop_step() when the time that
 * the last call returned has come, and hands in samples in between. The daemon does that with
 * a real clock, the replay with recorded times, a simulation with invented ones.
 */
#include "core/arbitrate.h"
#include "core/kind.h"
#include "core/ledger.h"

#define DOG_STAGES(X)                                                                                        \
        X(OBSERVE, "observe")                                                                                \
        X(FORECAST, "forecast")                                                                              \
        X(PROPOSE, "propose")                                                                                \
        X(ARBITRATE, "arbitrate")                                                                            \
        X(MIRROR, "mirror")                                                                                  \
        X(STEER, "steer")                                                                                    \
        X(LEARN, "learn")

enum dog_stage {
#define X(id, word) DOG_STAGE_##id,
        DOG_STAGES(X)
#undef X
                DOG_STAGE_COUNT
};

/** Changes that are not decisions. */
#define DOG_EVENTS(X)                                                                                        \
        X(DEAD, "dead", "a member stopped answering")                                                        \
        X(ALIVE, "alive", "a member answers again")                                                          \
        X(ALERT, "alert", "every member breaks the promise or is dead")                                      \
        X(ALERT_OVER, "alert-over", "at least one member keeps the promise again")                           \
        X(DISARMED, "disarmed", "the model lost against persistence over 200 outcomes and is not used")      \
        X(REARMED, "rearmed", "the model beats persistence again")                                           \
        X(CHANGED, "changed", "a level changed and stays")                                                   \
        X(FAILED, "failed", "a hook of the kind failed; the plan was not carried out")                       \
        X(REFLEX, "reflex", "the data plane moved the traffic by itself")

enum dog_event_type {
#define X(id, word, help) DOG_EVENT_##id,
        DOG_EVENTS(X)
#undef X
                DOG_EVENT_COUNT
};

struct dog_event {
        enum dog_event_type type;
        int64_t at_ns;
        const struct dog_group *group;
        uint16_t member;                   /**< UINT16_MAX: the whole group */
        const char *text;                  /**< more, or NULL; lives only during the call */
        const struct dog_level_told *told; /**< CHANGED: what; else NULL; lives only during the call */
};

/** "alert-over" */
const char *dog_event_name(enum dog_event_type t);
/** One sentence for a person. */
const char *dog_event_help(enum dog_event_type t);
/** "arbitrate" */
const char *dog_stage_name(enum dog_stage s);

struct dog_loop_options {
        size_t ledger_rows; /**< 0: 4096 */
        struct dog_budget budget;
        void (*event)(void *user, const struct dog_event *e); /**< may be NULL */
        void *user;
        int64_t (*stage_clock)(void); /**< charges time to stages; NULL: not charged */
};

struct dog_loop;

/** NULL when memory is short. */
struct dog_loop *dog_loop_new(const struct dog_loop_options *o);
/** Closes every group. Accepts NULL. */
void dog_loop_free(struct dog_loop *l);

/**
 * A group with `members` members, all zero but for the defaults of policy and promise, all
 * members up. Fill in names, promise, policy, prices, fates; then dog_loop_add().
 * NULL when memory is short or members > DOG_MEMBERS_MAX.
 */
struct dog_group *dog_group_new(const char *name, const struct dog_kind *kind, unsigned members);
/** Closes and frees a group that was never added; the loop does it for those it owns. Accepts NULL. */
void dog_group_free(struct dog_group *g);

/**
 * Open the group and take it over. On failure the caller still owns it.
 * @return 0, -ENOMEM, or what the kind's open said
 */
int dog_loop_add(struct dog_loop *l, struct dog_group *g, int64_t now_ns, struct dog_err *e);
/** Close and free one group; open decisions stay ungraded. */
void dog_loop_remove(struct dog_loop *l, struct dog_group *g);

/** A new fate; its number for dog_member.fate, or DOG_FATE_NONE when memory is short. */
uint16_t dog_loop_fate_add(struct dog_loop *l, const char *name, double capacity_kbps);
struct dog_fate *dog_loop_fate(struct dog_loop *l, uint16_t number);

/**
 * Take in what was measured of one member. Samples of one member come in the order of their
 * time; one that does not is dropped and counted in tally.late_samples.
 */
void dog_group_sample(struct dog_group *g, unsigned member, const struct dog_sample *s);
/** What the member's modem or dish tells at the time of the sample that comes next; see dog_outlook_radio. */
void dog_group_radio(struct dog_group *g, unsigned member, const float *in, int64_t at_ns);
/** The kind says whether a member can carry traffic at all ; without, it is dead at once. */
void dog_group_member_up(struct dog_group *g, unsigned member, bool is_up);

/** Let a group's next step be at this time, sooner or later than its beat: news that should not wait. */
void dog_loop_due(struct dog_loop *l, struct dog_group *g, int64_t at_ns);

/**
 * Run all groups that are due.
 * @return when to come again
 */
int64_t dog_loop_step(struct dog_loop *l, int64_t now_ns);

/** A steer hook that answered -EINPROGRESS has finished: rc 0, or a negative errno. */
void dog_loop_moved(struct dog_loop *l, struct dog_group *g, int rc, int64_t now_ns);
/** The data plane fell back by itself: the core follows. A spread group has no one member to fall back
 * to; it learns of it by samples. */
void dog_loop_reflex(struct dog_loop *l, struct dog_group *g, uint16_t active, int64_t now_ns);
/** Stop or resume deciding for one group; a dead active member is still left. */
void dog_group_freeze(struct dog_group *g, bool is_frozen);

/**
 * Spread groups, between dog_loop_add() and the first step: go on with what the data plane does already,
 * instead of a first choice. Members with a weight are taken for well until something else is known; the
 * others must be well for recover_ns first.
 *
 * @param weight  one per member
 * @param leave   members whose existing traffic is being carried over, or was
 * @param dead    members that died and have not come back
 */
void dog_group_resume(struct dog_group *g, const uint8_t *weight, uint16_t leave, uint16_t dead);

/**
 * Spread groups: empty one member, or use it again. New traffic avoids it and existing traffic is carried
 * over from the next step on; the last living member is kept nevertheless (its weight stays). While
 * the group is frozen, a member that is used again waits for the thaw.
 */
void dog_group_drain(struct dog_group *g, unsigned member, bool is_drained);

struct dog_ledger *dog_loop_ledger(struct dog_loop *l);
size_t dog_loop_groups(const struct dog_loop *l);
/** The group with that number, or NULL. */
struct dog_group *dog_loop_group(struct dog_loop *l, size_t number);
/** Time charged to a stage since the start, in nanoseconds; 0 without a stage_clock. */
int64_t dog_loop_stage_ns(const struct dog_loop *l, enum dog_stage s);
