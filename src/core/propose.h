#pragma once
/**
 * Propose: for one group, who should carry the traffic and who should carry a copy.
 *
 * Pure: same group, same time, same plan. Nothing is read but the group, and nothing is
 * changed. The rule, in words:
 *
 *   Someone alive must carry the traffic, always. A move needs a reason: the active member is
 *   dead, breaks the promise or is forecast to, or another costs less for the same promise;
 *   and it must gain more than it costs. After a move the numbers get time to speak. Nobody
 *   moves to what is not alive and forecast better. A copy is bought when the promise is
 *   likelier to break than the copy is dear.
 *
 * The chance of a broken promise is that of the next sample, that is, of the time until it can be decided
 * again, where every member that may serve has a model that was trained for it (group.steers_by_next); else
 * that of the near horizon, which counts one short dip for several samples.
 *
 * Expected cost of serving through a set of members, in price per second:
 *   P(all of them break the promise) x breach price + the price of every member used
 *   + the price of every extra copy + the price of a move, spread over the near horizon.
 */
#include "core/group.h"

/**
 * @param g       beliefs are up to date
 * @param now_ns  monotonic
 * @return act STAY with a reason when nothing should change; `hot` is always set
 */
struct dog_plan dog_propose(const struct dog_group *g, int64_t now_ns);

/**
 * The chance that all members of a set break the promise, as far ahead as the group steers by, with the
 * learned dependence between neighbours. 1 for the empty set.
 */
double dog_group_risk(const struct dog_group *g, uint16_t members);
