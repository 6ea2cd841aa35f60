#pragma once
/**
 * A kind: what a group's members are, how they are observed, warmed and steered.
 *
 * This seam is frozen: tunnels' paths and servers behind an address are built on it alike, and the core
 * asks neither which it holds. A new kind needs no line of the core. What it must bring:
 *   - a struct dog_kind with name, summary, grain, levels and period_ns, that outlives its groups;
 *   - samples, by dog_group_sample() when they come or from `observe`; a lost question is a sample with
 *     loss 1, so that silence is seen as such;
 *   - dog_group_member_up() when it learns that a member can carry nothing (then and only then);
 *   - `steer`, unless saying so is enough.
 * And it sets before dog_loop_add(), or later between steps: names, promise, policy, prices, roles, base
 * weights, fates, demand_kbps, and patience_ns where silence is longer than policy.dead_ns.
 * It reads what it likes, and changes nothing else of a group than these, its beliefs in `forecast`, and
 * dog_member.carried when it counts what exists.
 *
 * Every hook may be left out; the default stands beside it. Hooks return at once: work that
 * takes time is started, and its end is told to the loop (dog_loop_moved). A hook that fails
 * returns a negative errno and a sentence; the loop logs it, leaves the group as it was, and
 * asks again at the next step.
 */
#include "base/err.h"
#include "core/group.h"

/** The smallest thing a steer may move. A packet changes members without an overlap. */
enum dog_grain { DOG_GRAIN_PACKET, DOG_GRAIN_FLOW, DOG_GRAIN_CONNECTION, DOG_GRAIN_CLIENT };

struct dog_kind {
        const char *name;    /**< one word, as in commands and views */
        const char *summary; /**< one line for people */
        enum dog_grain grain;
        unsigned levels;         /**< bit per enum dog_warmth that has a meaning here */
        int64_t period_ns;       /**< time between steps of one group */
        const char *const *hint; /**< words of belief.hint, by number; [0] is not read. NULL: it gives none */
        unsigned hints;          /**< length of `hint` */
        const char *down;        /**< what it means that a member is not up; NULL: nothing more to say */

        /** Make the group's world: what it needs of the system. Default: nothing to make. */
        int (*open)(struct dog_group *g, struct dog_err *e);
        /** Undo open, if it was called, and free priv. Default: nothing. What forwards may go on forwarding.
         */
        void (*close)(struct dog_group *g);
        /** Before every step: hand over what was measured since, by dog_group_sample. Default: samples come
         * by themselves. */
        void (*observe)(struct dog_group *g, int64_t now_ns);
        /** Change a belief before it is used: shared fates, outside knowledge; say by a hint why. Default:
         * the core's belief stands. */
        void (*forecast)(struct dog_group *g, int64_t now_ns);
        /** Make the members of plan->hot carry copies, before anything is taken away. Default: nothing to
         * warm. */
        int (*mirror)(struct dog_group *g, const struct dog_plan *plan, struct dog_err *e);
        /**
         * Let exactly plan->hot carry the traffic, plan->active first. Default: done by saying so.
         * Spread groups: put plan->weight, standby and share in force for new traffic; begin to carry over
         * what is in leave and not in leave_was, at once what is in dead and not in dead_was; what has left
         * either set serves again. Start it and return: a spread group does not wait for the end.
         * 0: done. -EINPROGRESS: begun; dog_loop_moved() will tell.
         */
        int (*steer)(struct dog_group *g, const struct dog_plan *plan, struct dog_err *e);
};
