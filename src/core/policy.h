#pragma once
/**
 * Policy: how eagerly a group moves and copies. A value, from the configuration.
 * Prices are in the unit of dog_promise.breach_price: one second of broken promise costs 1
 * unless the profile says otherwise.
 */
#include <stdint.h>

#include <stdbool.h>

/** When there are copies. Spread groups: of which share of the new traffic. SHARE is for spread groups only;
 * a group with one active member takes it for AUTO. */
enum dog_mirror_mode { DOG_MIRROR_AUTO, DOG_MIRROR_ALWAYS, DOG_MIRROR_NEVER, DOG_MIRROR_SHARE };

struct dog_policy {
        double margin;       /**< a move must gain this much (price per second) */
        double move_price;   /**< what one move costs by itself, spread over the near horizon */
        double backup_price; /**< what a backup member costs above its own price, per second */

        int64_t hold_ns;    /**< stay this long after a move, unless the promise breaks */
        int64_t overlap_ns; /**< make before break: the old member goes on this long after a move */
        int64_t dead_ns;    /**< a member that has not answered this long is unusable */
        int64_t recover_ns; /**< a member that was unusable must answer this long before it is chosen */

        enum dog_mirror_mode mirror;
        unsigned copies;         /**< with ALWAYS: how many members carry the traffic, at least 2 */
        double mirror_price;     /**< cost of one second of one extra copy */
        double mirror_budget;    /**< extra copies as a share of the time, 0..1, in the long run */
        int64_t mirror_burst_ns; /**< so much copying may be saved up */
        int64_t mirror_hold_ns;  /**< keep a copy at least this long */

        /**
         * Several members carry new traffic at once, by weight, and existing traffic stays with its member
         * (core/spread.h). A property of the group and not of the kind's grain: one address in front of two
         * servers may as well have one active and one hot.
         */
        bool spread;
        double mirror_share; /**< SHARE: of new traffic that gets a copy, 0..1 */
        double avoid_risk;   /**< new traffic avoids a member whose near or middle chance of a broken promise
                                is this much; it comes back below half of it, after recover_ns */
        double leave_risk;   /**< existing traffic leaves it too when its near chance is this much ... */
        int64_t leave_ns;    /**< ... or when it has been avoided for so long; 0: never for that reason */
        double eject_share;  /**< of the living members, at most so many are avoided at a time, but one may
                                always be if two live */
        double panic_share;  /**< with fewer healthy members than this, health is ignored */
        double rebalance;    /**< weights change only if this share of the new traffic goes elsewhere by it */

        int64_t horizon_ns[3];  /**< how far ahead to look: near (decides), middle, far (shown) */
        unsigned grade_horizon; /**< a decision is graded when horizon_ns[this] has passed */
};

/** What the configuration's defaults are made of. */
struct dog_policy dog_policy_default(void);

/** Limits over all groups. */
struct dog_budget {
        unsigned moves_per_step; /**< at most so many groups move in one step; 0: no limit */
        double copies_share;     /**< extra copies over all groups, as a share of all traffic; 1: no limit */
};
