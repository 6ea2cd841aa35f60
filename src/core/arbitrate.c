#include "core/arbitrate.h"

#include "core/kind.h"
#include "core/spread.h"

#include <math.h>

static uint16_t bit(unsigned member)
{
        return (uint16_t)(1U << member);
}

/* Take the extra copies out of a plan; what it moves to stays. */
static void plan_cut_copies(struct dog_plan *plan, enum dog_reason why)
{
        plan->hot = bit(plan->active);
        plan->refused = (uint8_t)why;
        if (plan->act == DOG_ACT_MIRROR)
                plan->act = plan->hot == plan->hot_was ? DOG_ACT_STAY : DOG_ACT_UNMIRROR;
        else if (plan->act == DOG_ACT_STAY && plan->hot != plan->hot_was)
                plan->act = DOG_ACT_UNMIRROR;
        if (plan->act == DOG_ACT_UNMIRROR)
                plan->why = DOG_WHY_BUDGET;
}

/* Leave everything as it was. */
static void plan_refuse(const struct dog_group *g, struct dog_plan *plan, enum dog_reason why)
{
        if (g->policy.spread) {
                dog_spread_refuse(g, plan, why);
                return;
        }
        plan->active = plan->active_was;
        plan->hot = plan->hot_was;
        plan->act = DOG_ACT_STAY;
        plan->refused = (uint8_t)why;
}

static bool plan_is_forced(const struct dog_plan *plan)
{
        return plan->why == DOG_WHY_UNUSABLE || plan->why == DOG_WHY_START || plan->why == DOG_WHY_REFLEX ||
               plan->why == DOG_WHY_OPERATOR || plan->why == DOG_WHY_EJECT || plan->why == DOG_WHY_DRAIN ||
               plan->why == DOG_WHY_PANIC;
}

/* Before `b` in the order of who is served first. */
static bool plan_is_first(const struct dog_arbiter_input *in, const struct dog_plan *a,
                          const struct dog_plan *b)
{
        if (plan_is_forced(a) != plan_is_forced(b))
                return plan_is_forced(a);
        int pa = in->group[a->group]->promise.priority;
        int pb = in->group[b->group]->promise.priority;
        if (pa != pb)
                return pa > pb;
        if (a->gain < b->gain || a->gain > b->gain)
                return a->gain > b->gain;
        return a->group < b->group;
}

/* Heap sort by plan_is_first, most deserving first: no allocation, no recursion, same order every time. */
static void order_sift(const struct dog_arbiter_input *in, const struct dog_plan *plan, uint32_t *order,
                       size_t at, size_t n)
{
        for (;;) {
                size_t last = at;
                for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < n; child++)
                        if (plan_is_first(in, &plan[order[last]], &plan[order[child]]))
                                last = child;
                if (last == at)
                        return;
                uint32_t t = order[at];
                order[at] = order[last];
                order[last] = t;
                at = last;
        }
}

static void order_sort(const struct dog_arbiter_input *in, const struct dog_plan *plan, uint32_t *order,
                       size_t n)
{
        for (size_t i = n / 2; i-- > 0;)
                order_sift(in, plan, order, i, n);
        for (size_t end = n; end-- > 1;) {
                uint32_t t = order[0];
                order[0] = order[end];
                order[end] = t;
                order_sift(in, plan, order, 0, end);
        }
}

/* What part of its traffic a group puts on one member: all, or its share, of what is new. */
static double share_on(const struct dog_group *g, uint16_t hot, const uint8_t *weight, unsigned m)
{
        if (!(hot & bit(m)))
                return 0;
        return g->policy.spread ? weight[m] / (double)dog_plan_weights(weight) : 1;
}

static double group_share_on(const struct dog_group *g, unsigned m)
{
        if (!g->policy.spread)
                return g->hot & bit(m) ? 1 : 0;
        unsigned sum = 0;
        for (unsigned i = 0; i < g->members; i++)
                sum += g->member[i].weight;
        return sum ? g->member[m].weight / (double)sum : 0;
}

/* Room that a fate has left when the groups carry what they carry now. */
static double fate_room(const struct dog_arbiter_input *in, const struct dog_plan *plan,
                        const uint32_t *order, size_t done, uint16_t fate, uint32_t but_group)
{
        double used = in->fate[fate].load_kbps;
        for (size_t i = 0; i < in->groups; i++) {
                const struct dog_group *g = in->group[i];
                if (!g || g->demand_kbps <= 0 || g->number == but_group)
                        continue;
                const struct dog_plan *planned = NULL;
                for (size_t k = 0; k < done; k++)
                        if (plan[order[k]].group == g->number)
                                planned = &plan[order[k]];
                for (unsigned m = 0; m < g->members; m++)
                        for (int f = 0; f < DOG_FATES_MAX; f++)
                                if (g->member[m].fate[f] == fate)
                                        used += g->demand_kbps *
                                                (planned ? share_on(g, planned->hot, planned->weight, m)
                                                         : group_share_on(g, m));
        }
        return in->fate[fate].capacity_kbps - used;
}

/* A fate may carry several members of a spread group: what they get together must fit, where it grows. */
static bool spread_fits(const struct dog_arbiter_input *in, const struct dog_plan *plan,
                        const uint32_t *order, size_t done)
{
        const struct dog_plan *mine = &plan[order[done]];
        const struct dog_group *g = in->group[mine->group];
        for (unsigned m = 0; m < g->members; m++) {
                for (int f = 0; f < DOG_FATES_MAX; f++) {
                        uint16_t fate = g->member[m].fate[f];
                        if (fate >= in->fates || !(in->fate[fate].capacity_kbps > 0))
                                continue;
                        double was = 0;
                        double will = 0;
                        for (unsigned k = 0; k < g->members; k++)
                                for (int h = 0; h < DOG_FATES_MAX; h++)
                                        if (g->member[k].fate[h] == fate) {
                                                was += group_share_on(g, k);
                                                will += share_on(g, mine->hot, mine->weight, k);
                                        }
                        if (will > was &&
                            fate_room(in, plan, order, done, fate, g->number) < will * g->demand_kbps)
                                return false;
                }
        }
        return true;
}

static bool plan_fits(const struct dog_arbiter_input *in, const struct dog_plan *plan, const uint32_t *order,
                      size_t done, uint16_t hot)
{
        const struct dog_plan *mine = &plan[order[done]];
        const struct dog_group *g = in->group[mine->group];
        for (unsigned m = 0; m < g->members; m++) {
                /* What is carried already is not asked for again. */
                if (!(hot & bit(m)) || (mine->hot_was & bit(m)))
                        continue;
                for (int f = 0; f < DOG_FATES_MAX; f++) {
                        uint16_t fate = g->member[m].fate[f];
                        if (fate < in->fates && in->fate[fate].capacity_kbps > 0 &&
                            fate_room(in, plan, order, done, fate, g->number) < g->demand_kbps)
                                return false;
                }
        }
        return true;
}

void dog_arbitrate(const struct dog_arbiter_input *in, struct dog_plan *plan, size_t plans, uint32_t *order)
{
        size_t changing = 0;
        double copies = 0;
        for (size_t i = 0; i < plans; i++) {
                const struct dog_group *g = in->group[plan[i].group];
                /*
                 * 1. The group's own budget. A packet can change members without an overlap: nothing
                 * has to be carried over. Coarser grains keep theirs.
                 */
                bool is_moving = plan[i].act == DOG_ACT_MOVE || plan[i].why == DOG_WHY_HOLDING;
                bool is_counted = !g->policy.spread && dog_plan_copies(plan[i].hot) > 1 &&
                                  g->policy.mirror == DOG_MIRROR_AUTO &&
                                  (!is_moving || g->kind->grain == DOG_GRAIN_PACKET);
                /*
                 * A copy that begins must have something to live on. What fails now, or is suspected to
                 * by more than a forecast, may overdraw by one burst: that is what the rest was saved for.
                 */
                const struct dog_belief *b = &g->member[plan[i].active_was].belief;
                bool is_urgent = g->is_started && (b->is_bad || b->hint != DOG_HINT_NONE);
                double least_ns = is_urgent                              ? -(double)g->policy.mirror_burst_ns
                                  : dog_plan_copies(plan[i].hot_was) > 1 ? 0
                                                                         : (double)g->policy.mirror_hold_ns;
                if (is_counted && g->mirror_tokens_ns <= least_ns)
                        plan_cut_copies(&plan[i], DOG_WHY_BUDGET);
                if (g->policy.spread)
                        copies += (double)plan[i].share / DOG_SHARE_ONE;
                else if (dog_plan_copies(plan[i].hot) > 1)
                        copies += dog_plan_copies(plan[i].hot) - 1;
                if (plan[i].act != DOG_ACT_STAY)
                        order[changing++] = (uint32_t)i;
        }
        if (changing == 0)
                return;
        order_sort(in, plan, order, changing);

        /* 2. All copies together; the last in the order go first. */
        double most = in->budget.copies_share * (double)plans;
        for (size_t k = changing; k-- > 0 && in->budget.copies_share < 1 && copies > most;) {
                struct dog_plan *p = &plan[order[k]];
                if (in->group[p->group]->policy.spread && p->share > p->share_was) {
                        double over = fmin((copies - most) * DOG_SHARE_ONE, p->share - p->share_was);
                        p->share = (uint16_t)(p->share - floor(over));
                        copies -= over / DOG_SHARE_ONE;
                        p->refused = DOG_WHY_BUDGET;
                }
                if (p->act != DOG_ACT_MIRROR)
                        continue;
                copies -= dog_plan_copies(p->hot) - 1;
                plan_cut_copies(p, DOG_WHY_BUDGET);
        }

        unsigned moves = 0;
        for (size_t k = 0; k < changing; k++) {
                struct dog_plan *p = &plan[order[k]];
                /* 3. So many moves at once. */
                const struct dog_group *g = in->group[p->group];
                bool is_move = p->act == DOG_ACT_MOVE || p->act == DOG_ACT_LEAVE;
                if (is_move && !plan_is_forced(p) && in->budget.moves_per_step > 0 &&
                    moves >= in->budget.moves_per_step) {
                        plan_refuse(g, p, DOG_WHY_MOVES);
                        continue;
                }
                /* 4. Room on what is shared. */
                if (in->fates > 0 && g->demand_kbps > 0 && g->policy.spread) {
                        if (!plan_is_forced(p) && !spread_fits(in, plan, order, k)) {
                                plan_refuse(g, p, DOG_WHY_CAPACITY);
                                continue;
                        }
                } else if (in->fates > 0 && g->demand_kbps > 0) {
                        if (!plan_fits(in, plan, order, k, p->hot) && dog_plan_copies(p->hot) > 1 &&
                            p->act == DOG_ACT_MIRROR)
                                plan_cut_copies(p, DOG_WHY_CAPACITY);
                        if (p->act == DOG_ACT_MOVE && !plan_is_forced(p) &&
                            !plan_fits(in, plan, order, k, bit(p->active))) {
                                plan_refuse(g, p, DOG_WHY_CAPACITY);
                                continue;
                        }
                }
                moves += is_move && p->act != DOG_ACT_STAY;
        }
}
