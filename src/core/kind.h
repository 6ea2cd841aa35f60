#pragma once
/**
 * A kind: what a group's members are, how they are observed, warmed and steered.
 *
 * Every hook may be left out; the default stands beside it. Hooks return at once: work that
 * takes time is started, and its end is told to the loop (dog_loop_moved). A hook that fails
 * returns a negative errno and a sentence; the loop logs it, leaves the group as it was, and
 * asks again at the next step.
 */
#include "base/err.h"
#include "core/group.h"

/** The smallest thing a steer may move. */
enum dog_grain { DOG_GRAIN_PACKET, DOG_GRAIN_FLOW, DOG_GRAIN_CONNECTION, DOG_GRAIN_CLIENT };

struct dog_kind {
        const char *name;    /**< "path" */
        const char *summary; /**< one line for people */
        enum dog_grain grain;
        unsigned levels;   /**< bit per enum dog_warmth that has a meaning here */
        int64_t period_ns; /**< time between steps of one group */

        /** Make the group's world: devices, maps, sockets. Default: nothing to make. */
        int (*open)(struct dog_group *g, struct dog_err *e);
        /** Undo open, if it was called, and free priv. Default: nothing. What forwards may go on forwarding.
         */
        void (*close)(struct dog_group *g);
        /** Before every step: hand over what was measured since, by dog_loop_sample. Default: samples come by
         * themselves. */
        void (*observe)(struct dog_group *g, int64_t now_ns);
        /** Change a belief before it is used: shared fates, outside knowledge. Default: the core's belief
         * stands. */
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
