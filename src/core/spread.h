#pragma once
/**
 * Spread groups: several members carry new traffic at once, by weight; what exists stays with its member
 * until that is left (policy.spread). An address in front of servers is one, clients over sites another.
 *
 * The rule, in words:
 *
 *   Somebody alive gets the new traffic, always. A member that is forecast to break its promise gets none
 *   before it breaks; when it is nearly certain, or lasts, its existing traffic is carried over to the
 *   mirrors; when it is dead, at once. But only so many members are left at a time, and when too few are
 *   well, health is ignored: an overrun rest would fail too. Backups serve when the primaries cannot. Bad
 *   news counts at once; who was bad must be well for recover_ns, and then starts slowly. Weights follow
 *   health, load, nearness, price and what is configured, in bounded steps, and only for a difference that
 *   matters.
 *
 * weight ~ base x (health - price) x headroom^(1/2) x nearness x slow start
 *   health    dog_belief.health: the score times the chance of a kept promise, middle horizon; smoothed
 *   headroom  1 - busy; the root, because load answers to the weight and would swing
 *   nearness  halves when the round trip is a quarter of the promised response longer than the nearest's
 */
#include "core/group.h"

/**
 * The plan of a spread group. Pure: same group, same time, same plan.
 * @return act STAY when the group should go on as it is; all fields are set nevertheless
 */
struct dog_plan dog_spread_propose(const struct dog_group *g, int64_t now_ns);

/** What dog_spread_propose() reads and a belief does not hold: who is well, how busy. After each forecast. */
void dog_spread_watch(struct dog_group *g, int64_t now_ns);

/** The plan has been carried out: the group is as it says. */
void dog_spread_apply(struct dog_group *g, const struct dog_plan *plan, int64_t now_ns);

/**
 * For arbitration: leave everything as it was; for MOVES only what exists, since new traffic that goes
 * elsewhere is no move.
 */
void dog_spread_refuse(const struct dog_group *g, struct dog_plan *plan, enum dog_reason why);

/**
 * Charge the time since the last step to what was served, to copies and to open decisions. Broken-promise
 * time counts by the share of the traffic that it meets.
 */
void dog_spread_account(struct dog_group *g, int64_t now_ns);

/**
 * How the traffic that a plan is about is shared out with it and without it: for grading. Both stay as they
 * are until the decision is graded, so that each decision answers for its own difference and no other's:
 * what a later one changes about another member is the later one's.
 */
void dog_spread_compare(const struct dog_group *g, const struct dog_plan *plan, uint8_t with[DOG_MEMBERS_MAX],
                        uint8_t without[DOG_MEMBERS_MAX]);
