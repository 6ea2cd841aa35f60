#include "core/propose.h"

#include "core/spread.h"
#include "models/risk.h"

#include <math.h>

#define NOBODY UINT16_MAX

static uint16_t bit(unsigned member)
{
        return (uint16_t)(1U << member);
}

/* The chance of a broken promise until it can be decided again; of the near horizon where nobody knows that.
 */
static double member_risk(const struct dog_group *g, const struct dog_member *m)
{
        if (!m->is_usable)
                return 1;
        return g->steers_by_next ? (double)m->belief.p_next : (double)m->belief.p_breach[0];
}

/* What one second of serving through this member alone is expected to cost. */
static double member_cost(const struct dog_group *g, const struct dog_member *m)
{
        double cost = member_risk(g, m) * g->promise.breach_price + m->price;
        return m->role == DOG_ROLE_BACKUP ? cost + g->policy.backup_price : cost;
}

double dog_group_risk(const struct dog_group *g, uint16_t members)
{
        double p = 1;
        bool is_first = true;
        for (unsigned i = 0; i < g->members; i++) {
                if (!(members & bit(i)))
                        continue;
                double next = member_risk(g, &g->member[i]);
                p = is_first ? next : dog_risk_joint(p, next, (double)g->joint_with);
                is_first = false;
        }
        return p;
}

/* Alive, allowed, and alive for long enough: good news is believed slowly. */
static bool member_may_serve(const struct dog_group *g, const struct dog_member *m, int64_t now_ns,
                             bool is_strict)
{
        if (!m->is_usable || m->role == DOG_ROLE_NEVER)
                return false;
        return !is_strict || now_ns - m->usable_since_ns >= g->policy.recover_ns || !g->is_started;
}

/* The member that costs least; NOBODY when none may serve. A tie goes to the active one, then the first. */
static uint16_t group_cheapest(const struct dog_group *g, int64_t now_ns)
{
        for (int is_strict = 1; is_strict >= 0; is_strict--) {
                uint16_t best = NOBODY;
                for (uint16_t i = 0; i < g->members; i++) {
                        if (!member_may_serve(g, &g->member[i], now_ns, is_strict))
                                continue;
                        double cost = member_cost(g, &g->member[i]);
                        if (best == NOBODY || cost < member_cost(g, &g->member[best]) ||
                            (i == g->active && cost <= member_cost(g, &g->member[best])))
                                best = i;
                }
                if (best != NOBODY)
                        return best;
        }
        return NOBODY;
}

static uint16_t group_usable(const struct dog_group *g)
{
        uint16_t set = 0;
        for (unsigned i = 0; i < g->members; i++)
                if (g->member[i].is_usable && g->member[i].role != DOG_ROLE_NEVER)
                        set |= bit(i);
        return set;
}

static bool group_all_bad(const struct dog_group *g, uint16_t usable)
{
        for (unsigned i = 0; i < g->members; i++)
                if ((usable & bit(i)) && !g->member[i].belief.is_bad)
                        return false;
        return true;
}

/* What a copy on member j gains above what it costs, per second. */
static double copy_gain(const struct dog_group *g, uint16_t active, uint16_t j)
{
        double alone = member_risk(g, &g->member[active]);
        double both = dog_risk_joint(alone, member_risk(g, &g->member[j]), (double)g->joint_with);
        return (alone - both) * g->promise.breach_price - g->member[j].price;
}

/* The member that makes the best copy beside `active`; NOBODY when there is none. */
static uint16_t copy_best(const struct dog_group *g, uint16_t active, uint16_t taken, bool *has_common_fate)
{
        uint16_t best = NOBODY;
        double best_gain = -INFINITY;
        for (uint16_t j = 0; j < g->members; j++) {
                const struct dog_member *m = &g->member[j];
                if ((taken & bit(j)) || !m->is_usable || m->role == DOG_ROLE_NEVER)
                        continue;
                if (dog_members_share_fate(m, &g->member[active])) {
                        *has_common_fate = true;
                        continue;
                }
                double gain = copy_gain(g, active, j);
                if (gain > best_gain) {
                        best_gain = gain;
                        best = j;
                }
        }
        return best;
}

/* The copy that runs stays while `best` gains no more than the margin: of two alike, neither is better. */
static uint16_t copy_kept(const struct dog_group *g, uint16_t active, uint16_t taken, uint16_t best)
{
        uint16_t running = NOBODY;
        for (uint16_t j = 0; j < g->members; j++) {
                const struct dog_member *m = &g->member[j];
                if ((taken & bit(j)) || !(g->hot & bit(j)) || !m->is_usable || m->role == DOG_ROLE_NEVER ||
                    dog_members_share_fate(m, &g->member[active]))
                        continue;
                if (running == NOBODY || copy_gain(g, active, j) > copy_gain(g, active, running))
                        running = j;
        }
        if (running == NOBODY ||
            copy_gain(g, active, best) > copy_gain(g, active, running) + g->policy.margin)
                return best;
        return running;
}

/*
 * Which copies run beside `active`, and why. A copy that runs is kept for mirror_hold, and
 * until its gain has fallen to half of what it took to start it.
 */
static uint16_t plan_copies(const struct dog_group *g, uint16_t active, int64_t now_ns, enum dog_reason *why)
{
        const struct dog_policy *p = &g->policy;
        uint16_t hot = bit(active);
        bool has_common_fate = false;
        *why = DOG_WHY_SETTLED;
        if (p->mirror == DOG_MIRROR_NEVER)
                return hot;
        if (p->mirror == DOG_MIRROR_ALWAYS) {
                for (unsigned n = 1; n < p->copies; n++) {
                        uint16_t j = copy_best(g, active, hot, &has_common_fate);
                        if (j == NOBODY)
                                break;
                        hot |= bit(copy_kept(g, active, hot, j));
                }
                *why = dog_plan_copies(hot) > 1 ? DOG_WHY_MIRROR_ALWAYS
                       : has_common_fate        ? DOG_WHY_COMMON_FATE
                                                : DOG_WHY_NO_BETTER;
                return hot;
        }
        uint16_t best = copy_best(g, active, hot, &has_common_fate);
        if (best == NOBODY) {
                *why = has_common_fate ? DOG_WHY_COMMON_FATE : DOG_WHY_SETTLED;
                return hot;
        }
        uint16_t running = NOBODY;
        for (uint16_t j = 0; j < g->members; j++)
                if (j != active && (g->hot & bit(j)) && g->member[j].is_usable)
                        running = j;
        double bar = fmax(p->mirror_price, g->mirror_bar);
        double gain = copy_gain(g, active, best);
        if (running != NOBODY) {
                double kept = copy_gain(g, active, running);
                bool is_held = now_ns - g->mirror_since_ns < p->mirror_hold_ns;
                if (kept < bar / 2 && gain < bar && !is_held) {
                        *why = DOG_WHY_MIRROR_CALM;
                        return hot;
                }
                /* Change the copy only for a gain that is clearly more. */
                if (gain <= kept + p->margin || is_held)
                        best = running;
                *why = best == running ? DOG_WHY_MIRROR_RISK : DOG_WHY_MIRROR_BETTER;
                return hot | bit(best);
        }
        if (gain < bar)
                return hot;
        *why = DOG_WHY_MIRROR_RISK;
        return hot | bit(best);
}

static struct dog_plan plan_begin(const struct dog_group *g, int64_t now_ns)
{
        return (struct dog_plan){
                .at_ns = now_ns,
                .group = g->number,
                .active_was = g->active,
                .active = g->active,
                .hot_was = g->hot,
                .hot = g->hot,
                .members = (uint8_t)g->members,
        };
}

static struct dog_plan plan_end(const struct dog_group *g, struct dog_plan plan, enum dog_reason why)
{
        plan.why = (uint8_t)why;
        if (plan.active != plan.active_was || !g->is_started)
                plan.act = DOG_ACT_MOVE;
        else if (plan.hot & ~plan.hot_was)
                plan.act = DOG_ACT_MIRROR;
        else if (plan.hot != plan.hot_was)
                plan.act = DOG_ACT_UNMIRROR;
        else
                plan.act = DOG_ACT_STAY;
        if (plan.act != DOG_ACT_STAY || dog_plan_copies(plan.hot) > 1) {
                plan.p_without = (float)dog_group_risk(g, plan.hot_was);
                plan.p_with = (float)dog_group_risk(g, plan.hot);
                plan.gain = (float)((double)(plan.p_without - plan.p_with) * g->promise.breach_price);
        }
        return plan;
}

/* Move to `to`; the old member goes along while the new one proves itself, if it is alive. */
static struct dog_plan plan_move(const struct dog_group *g, struct dog_plan plan, uint16_t to,
                                 enum dog_reason why)
{
        plan.active = to;
        plan.hot = bit(to);
        if (g->member[g->active].is_usable && g->policy.overlap_ns > 0)
                plan.hot |= bit(g->active);
        return plan_end(g, plan, why);
}

static enum dog_reason move_reason(const struct dog_group *g, uint16_t to)
{
        const struct dog_member *from = &g->member[g->active];
        if (from->belief.is_bad)
                return DOG_WHY_BREACH_SEEN;
        double risk_gain = (member_risk(g, from) - member_risk(g, &g->member[to])) * g->promise.breach_price;
        return risk_gain > g->policy.margin / 2 ? DOG_WHY_BREACH_FORECAST : DOG_WHY_CHEAPER;
}

struct dog_plan dog_propose(const struct dog_group *g, int64_t now_ns)
{
        if (g->policy.spread)
                return dog_spread_propose(g, now_ns);
        struct dog_plan plan = plan_begin(g, now_ns);

        /* 1. Nobody to choose from. */
        if (g->members == 0)
                return plan_end(g, plan, DOG_WHY_EMPTY);
        uint16_t usable = group_usable(g);
        uint16_t best = group_cheapest(g, now_ns);
        enum dog_reason copies_why;

        /* 2. The first choice. */
        if (!g->is_started) {
                plan.active = best == NOBODY ? 0 : best;
                plan.hot = plan_copies(g, plan.active, now_ns, &copies_why);
                plan.hot_was = 0;
                return plan_end(g, plan, DOG_WHY_START);
        }

        /* 3. Someone alive must carry the traffic, frozen or not. */
        const struct dog_member *active = &g->member[g->active];
        if (!active->is_usable || active->role == DOG_ROLE_NEVER) {
                if (best != NOBODY)
                        return plan_move(g, plan, best, DOG_WHY_UNUSABLE);
                plan.is_alert = true;
                return plan_end(g, plan, DOG_WHY_NO_BETTER);
        }
        if (g->is_frozen)
                return plan_end(g, plan, DOG_WHY_FROZEN);

        /* 4. A move that made it worse is taken back while the old member still goes along. */
        bool is_proving = g->state == DOG_PROVING && now_ns - g->state_since_ns < g->policy.overlap_ns;
        const struct dog_member *previous = &g->member[g->previous];
        if (is_proving) {
                if (g->previous != g->active && previous->is_usable && active->belief.is_bad &&
                    !previous->belief.is_bad)
                        return plan_move(g, plan, g->previous, DOG_WHY_BACK_OUT);
                return plan_end(g, plan, DOG_WHY_HOLDING);
        }

        /* 5. Every member breaks the promise: a person should know, and every copy counts. */
        if (group_all_bad(g, usable)) {
                plan.is_alert = true;
                if (g->policy.mirror != DOG_MIRROR_NEVER)
                        plan.hot = usable;
                return plan_end(g, plan, DOG_WHY_ALL_BAD);
        }

        /* 6. Move for a gain that is worth more than the move. */
        double gain = member_cost(g, active) - member_cost(g, &g->member[best]);
        double horizon_s = (double)g->policy.horizon_ns[0] / 1e9;
        double least = g->policy.margin + g->policy.move_price / horizon_s;
        bool is_holding = now_ns < g->hold_until_ns;
        bool is_breach = active->belief.is_bad && !g->member[best].belief.is_bad;
        /* What is only suspected is answered by a copy, which cannot make it worse; a move waits for proof.
         */
        bool is_suspected = active->belief.hint != DOG_HINT_NONE && !active->belief.is_bad &&
                            g->policy.mirror != DOG_MIRROR_NEVER;
        if (best != g->active && gain > least && (!is_holding || is_breach) && !is_suspected)
                return plan_move(g, plan, best, move_reason(g, best));

        /* 7. Stay; but is a copy worth its price? */
        plan.hot = plan_copies(g, g->active, now_ns, &copies_why);
        if (plan.hot != g->hot) {
                if (g->state == DOG_PROVING && dog_plan_copies(plan.hot) == 1)
                        copies_why = DOG_WHY_PROVED;
                else if (copies_why == DOG_WHY_SETTLED)
                        copies_why = DOG_WHY_MIRROR_CALM;
                return plan_end(g, plan, copies_why);
        }
        if (best == g->active)
                return plan_end(g, plan, dog_plan_copies(plan.hot) > 1 ? copies_why : DOG_WHY_SETTLED);
        return plan_end(g, plan, gain > least ? DOG_WHY_HOLDING : DOG_WHY_MARGIN);
}
