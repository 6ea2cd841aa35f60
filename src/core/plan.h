#pragma once
/**
 * A plan: who should carry a group's traffic and how warm the others should be, with the
 * reason. A value without pointers: it crosses processes, goes into the ledger, and the same
 * input makes the same plan again.
 */
#include "core/reason.h"

#include <stdbool.h>
#include <stdint.h>

#define DOG_MEMBERS_MAX 16
#define DOG_WEIGHT_ONE  UINT8_MAX  /**< the heaviest member of a spread group */
#define DOG_SHARE_ONE   UINT16_MAX /**< all of the new traffic gets a copy */

/** How ready a member is. Each kind says what its levels mean and cost, and which it lacks. */
#define DOG_WARMTHS(X)                                                                                       \
        X(COLD, "cold", "not in use")                                                                        \
        X(READY, "ready", "installed, free of charge")                                                       \
        X(WARM, "warm", "kept up to date")                                                                   \
        X(HOT, "hot", "receives the traffic")

enum dog_warmth {
#define X(id, word, help) DOG_##id,
        DOG_WARMTHS(X)
#undef X
                DOG_WARMTH_COUNT
};

#define DOG_ACTS(X)                                                                                          \
        X(STAY, "stay")                                                                                      \
        X(MOVE, "move")                                                                                      \
        X(MIRROR, "mirror")                                                                                  \
        X(UNMIRROR, "unmirror")                                                                              \
        X(SPREAD, "spread")                                                                                  \
        X(LEAVE, "leave")

enum dog_act {
#define X(id, word) DOG_ACT_##id,
        DOG_ACTS(X)
#undef X
                DOG_ACT_COUNT
};

/**
 * One plan. A group either has one active member (act MOVE, MIRROR, UNMIRROR; the fields from `weight` on
 * are 0) or spreads (policy.spread; act SPREAD, LEAVE): new traffic goes to several members by weight, and
 * each piece of existing traffic stays where it is until its member is in `leave` or `dead`.
 *
 * In a spread group `hot` are the members with a weight, and `active` is the heaviest of them.
 */
struct dog_plan {
        uint64_t decision; /**< number in the ledger; 0 while the plan only says "stay" */
        int64_t at_ns;
        uint32_t group;
        uint16_t active_was;
        uint16_t active;
        uint16_t hot_was; /**< bit i: member i carried the traffic */
        uint16_t hot;     /**< bit i: member i shall carry it; the active one always does */
        uint8_t act;      /**< enum dog_act */
        uint8_t why;      /**< enum dog_reason */
        uint8_t refused;  /**< enum dog_reason: why arbitration cut the plan down; NONE if it did not */
        uint8_t members;
        float p_without; /**< chance of a broken promise had nothing been done */
        float p_with;    /**< ... and with the plan */
        float gain;      /**< expected gain in price per second; what arbitration ranks by */
        bool is_alert;   /**< every member is bad or dead, or panic: a person or a hook should know */
        uint8_t spare;   /**< padding spelled out, always 0: plans are compared byte by byte */
        uint16_t about;  /**< spread: the member that the reason is about; UINT16_MAX: the whole group */

        uint8_t weight[DOG_MEMBERS_MAX];     /**< of new traffic; a share is weight / sum; 0: none */
        uint8_t weight_was[DOG_MEMBERS_MAX]; /**< as it was before the plan */
        uint8_t standby[DOG_MEMBERS_MAX];    /**< how fit to take copies, by health; 0: no copies on it */
        uint16_t leave;     /**< bit i: carry member i's existing traffic over to its mirrors, planned */
        uint16_t leave_was; /**< before the plan; what is in both is under way or done */
        uint16_t dead; /**< bit i: member i died; its existing traffic is the mirrors' at once; until it is
                          trusted again */
        uint16_t dead_was;
        uint16_t share; /**< of new traffic that gets a copy, of DOG_SHARE_ONE; mirror_mode and budget */
        uint16_t share_was;
        uint16_t spare2[2]; /**< always 0 */
};
_Static_assert(sizeof(struct dog_plan) == 112, "a plan has no hidden padding");

/** "hot" */
const char *dog_warmth_name(enum dog_warmth w);
/** "move" */
const char *dog_act_name(enum dog_act a);
/** Sum of weights; at least 1, to divide by. */
static inline unsigned dog_plan_weights(const uint8_t weight[DOG_MEMBERS_MAX])
{
        unsigned sum = 0;
        for (int i = 0; i < DOG_MEMBERS_MAX; i++)
                sum += weight[i];
        return sum ? sum : 1;
}

/** Members that carry the traffic under the plan. */
static inline unsigned dog_plan_copies(uint16_t hot)
{
        return (unsigned)__builtin_popcount(hot);
}
