#pragma once
/**
 * The data model: subject, group, member, fate.
 *
 * A subject is what is served (a traffic class, a virtual address, a client, a flow). A group
 * is a subject with its members, the alternatives that can serve it. Members rest on fates:
 * shared things (link, host, region) with a capacity; two members with a common fate are not
 * a mirror of each other.
 *
 * Everything a group decides with is inside it, as plain values, so a copied group decides the
 * same. The loop owns groups; `priv` and `kind` belong to the kind.
 */
#include "core/belief.h"
#include "core/outlook.h"
#include "core/plan.h"
#include "core/policy.h"
#include "core/promise.h"

#define DOG_NAME_MAX  32
#define DOG_FATES_MAX 4
#define DOG_OPEN_MAX  8
#define DOG_FATE_NONE UINT16_MAX

struct dog_kind;

/** A shared thing. Groups that rest on it share its room, and its end. */
struct dog_fate {
        char name[DOG_NAME_MAX];
        double capacity_kbps; /**< 0: unlimited or unknown */
        double load_kbps;     /**< what others than our groups use of it */
};

enum dog_role { DOG_ROLE_PRIMARY, DOG_ROLE_BACKUP, DOG_ROLE_NEVER };

struct dog_member {
        char name[DOG_NAME_MAX];
        enum dog_role role;
        double price;                 /**< cost of one second of carrying the traffic */
        uint16_t fate[DOG_FATES_MAX]; /**< numbers of fates in the loop; DOG_FATE_NONE fills up */
        double base_weight;           /**< spread: configured share against the others'; 1 unless said */
        uint8_t warmth;               /**< enum dog_warmth, now */
        uint8_t weight;               /**< spread: of new traffic, now; the heaviest has DOG_WEIGHT_ONE */
        uint8_t standby;              /**< spread: how fit to take copies, now; 0: none on it */
        bool is_drained;              /**< the operator empties it: dog_group_drain() */
        bool is_well;                 /**< spread: nothing speaks against new traffic; good news slowly */
        int64_t well_ns;     /**< ... its forecasts have been good since then; INT64_MAX: they are not */
        int64_t avoided_ns;  /**< ... it has been avoided since then; INT64_MAX: it is not */
        int64_t joined_ns;   /**< ... new traffic came back to it then: slow start */
        float carried;       /**< ... share of the existing traffic, 0..1; followed, or set by the kind */
        float steady;        /**< ... health, smoothed: weights are no place for every sample */
        float busy;          /**< ... 0..1: how much of its capacity is in use, smoothed */
        bool is_up;          /**< the kind says it can carry traffic at all */
        bool is_usable;      /**< up and answering; set by the loop, read by propose */
        int64_t answered_ns; /**< the last sign of life */
        int64_t patience_ns; /**< silence that is normal now, set by the kind; policy.dead_ns if that is more
                              */
        int64_t usable_since_ns;
        struct dog_outlook outlook; /**< history and models */
        struct dog_belief belief;   /**< made of the outlook, once a step */
};

/** A group goes SETTLED -> ARMED -> MOVING -> PROVING -> SETTLED, or BACKING_OUT. */
#define DOG_STATES(X)                                                                                        \
        X(SETTLED, "settled", "one member carries the traffic and nothing threatens")                        \
        X(ARMED, "armed", "copies run on other members")                                                     \
        X(MOVING, "moving", "a move was begun and has not been confirmed")                                   \
        X(PROVING, "proving", "moved; the old member still goes along")                                      \
        X(BACKING_OUT, "backing-out", "the move made it worse; going back")                                  \
        X(FROZEN, "frozen", "the operator decides")

enum dog_state {
#define X(id, word, help) DOG_##id,
        DOG_STATES(X)
#undef X
                DOG_STATE_COUNT
};

/** A decision whose horizon has not passed: what happens, and what would have happened. */
struct dog_open_decision {
        uint64_t decision; /**< 0: free */
        int64_t since_ns;
        int64_t until_ns;
        uint16_t without;                        /**< members that would have carried the traffic */
        uint16_t about;                          /**< spread: plan.about */
        uint8_t with_weight[DOG_MEMBERS_MAX];    /**< spread: how it is shared out */
        uint8_t without_weight[DOG_MEMBERS_MAX]; /**< spread: how it would have been */
        int64_t bad_with_ns;                     /**< broken promise since then, as decided */
        int64_t bad_without_ns;
        int64_t seen_ns; /**< how much of the time could be judged at all */
};

struct dog_tally {
        uint64_t decisions;
        uint64_t helped, neutral, hurt;
        int64_t bad_ns;        /**< time with a broken promise */
        int64_t bad_saved_ns;  /**< broken promise that graded decisions avoided (less what they caused) */
        int64_t served_ns;     /**< time in which the traffic was carried */
        int64_t copied_ns;     /**< extra copies x time */
        uint64_t refused;      /**< plans that arbitration cut down */
        uint64_t late_samples; /**< samples that came in the wrong order and were dropped */
};

struct dog_group {
        char name[DOG_NAME_MAX];
        uint32_t number; /**< its place in the loop */
        const struct dog_kind *kind;
        void *priv; /**< the kind's; freed by its close hook */

        struct dog_promise promise;
        struct dog_policy policy;
        double demand_kbps; /**< what the subject needs of a fate, for arbitration; 0: unknown */

        unsigned members;
        struct dog_member *member; /**< owned by the group */

        uint16_t active;
        uint16_t previous; /**< carried the traffic before the last move */
        uint16_t hot;      /**< bit i: member i carries the traffic now */
        enum dog_state state;
        bool is_frozen;
        bool is_started; /**< a first choice has been made */
        bool is_alerting;
        bool steers_by_next; /**< by what the next sample may bring, not by the near horizon: every member that
                                may serve knows a chance for it; see dog_stage_forecast() */
        int64_t state_since_ns;
        int64_t hold_until_ns;
        int64_t mirror_since_ns;
        double mirror_tokens_ns; /**< time of copying that the budget allows now */
        double mirror_bar;       /**< a copy must gain at least this; follows the budget */
        uint16_t leaving;        /**< spread: bit i: existing traffic is carried over from member i */
        uint16_t gone;           /**< spread: bit i: dead, and what it carried is the others' */
        uint16_t share;          /**< spread: of new traffic that gets a copy, of DOG_SHARE_ONE */
        double risk_usual;       /**< spread: what the middle risk of new traffic is in the long run */
        float joint_with;        /**< dependence of the members' failures, -1..1, learned */
        uint16_t news; /**< bit i: member i's model was disarmed or re-armed, or a level of its changed,
                          since the last step */
        struct dog_insight insight;   /**< what the members learn together */
        struct dog_path_track *track; /**< one a member, owned by the group; NULL: no trees */

        int64_t stepped_ns; /**< the last step; 0 before the first */
        int64_t due_ns;     /**< the next one */
        struct dog_open_decision open[DOG_OPEN_MAX];
        struct dog_tally tally;
};

/** What the group's kind knew: "an answer is overdue"; "" for none. */
const char *dog_hint_text(const struct dog_group *g, uint8_t hint);
/**
 * Forecast with trees from now on, or with others: those of a group's members begin with the starting weight
 * and a clean record. NULL: without. The model is borrowed until the next call or the end of the group.
 * @return 0; -ENOMEM, and nothing has changed
 */
int dog_group_trees(struct dog_group *g, const struct dog_path_model *trees);
/** Why a member's chance is what it is; see dog_outlook_explain(). */
void dog_group_explain(const struct dog_group *g, unsigned member, int horizon, int64_t now_ns,
                       struct dog_outlook_reasons *out);
/** "proving" */
const char *dog_state_name(enum dog_state s);
/**
 * For the data plane: member i and member k have a bit in common exactly when they share a fate.
 * Fates of one member alone need no bit.
 */
void dog_group_fate_bits(const struct dog_group *g, uint32_t bits[DOG_MEMBERS_MAX]);
/** True when the two members rest on a common fate. */
bool dog_members_share_fate(const struct dog_member *a, const struct dog_member *b);
