#pragma once
/**
 * Arbitrate: over all groups of a step, which plans may go ahead. Pure: only the plans change.
 *
 * Groups choose alone, but they share fates and money. Left alone they all run to the
 * same member, then all run back. So, in this order:
 *   1. A copy beyond the group's own budget is cut (not that of a move under way, unless the
 *      grain is a packet, and not while the configuration asks for copies always). What breaks its
 *      promise now, or is suspected to, may overdraw by one burst; forecasts may not.
 *   2. Over all groups, extra copies stay under their share; the least gain is cut first.
 *   3. At most so many groups move at once; most gain and most priority first. Leaving a dead
 *      member is never refused.
 *   4. A fate is not filled over its capacity: first the copy goes, then the move.
 * Whatever is cut has its reason in plan.refused.
 */
#include "core/group.h"

struct dog_arbiter_input {
        struct dog_group *const *group; /**< all groups of the loop */
        size_t groups;
        const struct dog_fate *fate;
        size_t fates;
        struct dog_budget budget;
};

/**
 * @param in     the world; not changed
 * @param plan   of the groups that step now; plan[i].group is the index into in->group
 * @param plans  how many
 * @param order  scratch for `plans` entries
 */
void dog_arbitrate(const struct dog_arbiter_input *in, struct dog_plan *plan, size_t plans, uint32_t *order);
