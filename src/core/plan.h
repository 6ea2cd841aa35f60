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
        X(UNMIRROR, "unmirror")

enum dog_act {
#define X(id, word) DOG_ACT_##id,
        DOG_ACTS(X)
#undef X
                DOG_ACT_COUNT
};

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
        float p_without;  /**< chance of a broken promise had nothing been done */
        float p_with;     /**< ... and with the plan */
        float gain;       /**< expected gain in price per second; what arbitration ranks by */
        bool is_alert;    /**< every member is bad or dead: a person or a hook should know */
        uint8_t spare[3]; /**< padding spelled out, always 0: plans are compared byte by byte */
};
_Static_assert(sizeof(struct dog_plan) == 48, "a plan has no hidden padding");

/** "hot" */
const char *dog_warmth_name(enum dog_warmth w);
/** "move" */
const char *dog_act_name(enum dog_act a);
/** Members that carry the traffic under the plan. */
static inline unsigned dog_plan_copies(uint16_t hot)
{
        return (unsigned)__builtin_popcount(hot);
}
