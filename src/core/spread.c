#include "core/spread.h"

#include "base/clock.h"

#include <math.h>
#include <string.h>

/* A sample older than this says nothing about now. */
#define STALE_NS (2 * DOG_S)
#define NOBODY   UINT16_MAX
/* One weight changes by at most this much at a time, for load, nearness and health. */
#define STEP_MOST 64
/* A healthy member gets this much of its weight however bad the others say it is. */
#define WORTH_LEAST 0.05
#define STEADY_S    5.0F  /* and health */
#define BUSY_MUCH   0.8   /* from here on load may be all that is wrong */
#define BUSY_S      5.0   /* load is smoothed over so many seconds */
#define CARRIED_S   30.0  /* existing traffic is taken to be replaced in so many seconds */
#define USUAL_S     600.0 /* what risk is usual is a matter of minutes */
#define SHARE_STEP  (DOG_SHARE_ONE / 16)

static uint16_t bit(unsigned member)
{
        return (uint16_t)(1U << member);
}

static unsigned count(uint16_t set)
{
        return (unsigned)__builtin_popcount(set);
}

/* From then until now; a long time when it never was. */
static int64_t since_ns(int64_t now_ns, int64_t then_ns)
{
        return then_ns == INT64_MIN ? INT64_MAX : then_ns > now_ns ? 0 : now_ns - then_ns;
}

/* ---- watching: bad news at once, good news slowly ---- */

/* The greater of the near and the middle chance of a broken promise. */
static double member_threat(const struct dog_member *m)
{
        double near = (double)m->belief.p_breach[0];
        double middle = (double)m->belief.p_breach[1];
        double threat = middle > near ? middle : near;
        return threat >= 0 ? threat : 1; /* a chance that is none (NaN) is no good news */
}

/*
 * Below this a member counts as well again: half of what takes it out, or what the worst of those has who
 * serve, if that is more. Where everybody's risk is high, none would ever come back otherwise.
 */
static double group_return_bar(const struct dog_group *g)
{
        double bar = g->policy.avoid_risk / 2;
        for (unsigned i = 0; i < g->members; i++) {
                const struct dog_member *m = &g->member[i];
                if (m->weight && m->is_usable && m->is_well && member_threat(m) < g->policy.avoid_risk)
                        bar = fmax(bar, member_threat(m));
        }
        return bar;
}

static void member_watch(const struct dog_group *g, struct dog_member *m, double bar, int64_t now_ns)
{
        double threat = member_threat(m);
        if (!m->is_usable || threat >= g->policy.avoid_risk) {
                m->is_well = false;
                m->well_ns = INT64_MAX;
                return;
        }
        if (!g->is_started)
                m->is_well = true;
        if (m->is_well)
                return;
        if (threat > bar || m->belief.is_bad)
                m->well_ns = INT64_MAX;
        else if (m->well_ns == INT64_MAX)
                m->well_ns = now_ns;
        m->is_well = m->well_ns != INT64_MAX && now_ns - m->well_ns >= g->policy.recover_ns;
}

/* How much of its capacity a member uses, by its own word; NaN when it says nothing. */
static double sample_busy(const struct dog_sample *s)
{
        static const struct {
                enum dog_signal signal;
                double free; /* below this it does not count */
        } row[] = {{DOG_SIGNAL_CPU, 0},
                   {DOG_SIGNAL_MEMORY, .8},
                   {DOG_SIGNAL_PRESSURE, 0},
                   {DOG_SIGNAL_QUEUE, 0},
                   {DOG_SIGNAL_LOAD, 0}};
        double busy = (double)NAN;
        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
                double v = (s->value[row[i].signal] - row[i].free) / (1 - row[i].free);
                if (!isnan(v))
                        busy = fmax(isnan(busy) ? 0 : busy, fmin(fmax(v, 0), 1));
        }
        return busy;
}

static void member_follow(struct dog_member *m, double spent_s, double share, int64_t now_ns)
{
        bool is_fresh = m->outlook.has_sample && now_ns - m->outlook.newest.at_ns <= STALE_NS;
        double busy = is_fresh ? sample_busy(&m->outlook.newest) : (double)NAN;
        if (!isnan(busy)) {
                double gain = isnan(m->busy) ? 1 : 1 - exp(-spent_s / BUSY_S);
                double was = isnan(m->busy) ? 0 : (double)m->busy;
                m->busy = (float)(was + gain * (busy - was));
        }
        float health = m->belief.health;
        m->steady = isnan(m->steady)
                            ? health
                            : m->steady + (1 - expf(-(float)spent_s / STEADY_S)) * (health - m->steady);
        m->carried += (float)((1 - exp(-spent_s / CARRIED_S)) * (share - (double)m->carried));
}

/* What part of the new traffic is expected to meet a broken promise, under these weights. */
static double weights_risk(const struct dog_group *g, const uint8_t weight[DOG_MEMBERS_MAX], int horizon)
{
        double risk = 0;
        for (unsigned i = 0; i < g->members; i++) {
                const struct dog_member *m = &g->member[i];
                risk += weight[i] * (m->is_usable ? (double)m->belief.p_breach[horizon] : 1);
        }
        return risk / dog_plan_weights(weight);
}

static void weights_of(const struct dog_group *g, uint8_t weight[DOG_MEMBERS_MAX])
{
        memset(weight, 0, DOG_MEMBERS_MAX);
        for (unsigned i = 0; i < g->members; i++)
                weight[i] = g->member[i].weight;
}

void dog_spread_watch(struct dog_group *g, int64_t now_ns)
{
        uint8_t weight[DOG_MEMBERS_MAX];
        weights_of(g, weight);
        double sum = dog_plan_weights(weight);
        double bar = group_return_bar(g);
        double spent_s = g->stepped_ns > 0 ? (double)(now_ns - g->stepped_ns) / 1e9 : 0;
        for (unsigned i = 0; i < g->members; i++) {
                member_watch(g, &g->member[i], bar, now_ns);
                member_follow(&g->member[i], spent_s, weight[i] / sum, now_ns);
        }
        if (!g->is_started || g->members == 0)
                return;
        double risk = weights_risk(g, weight, 1);
        if (!(g->risk_usual > 0))
                g->risk_usual = risk;
        g->risk_usual += (1 - exp(-spent_s / USUAL_S)) * (risk - g->risk_usual);
}

/* ---- who: the sets ---- */

struct spread_sets {
        uint16_t allowed; /* neither forbidden nor emptied by the operator */
        uint16_t alive;   /* of them; or who else must do */
        uint16_t pool;    /* the living of the tier that serves */
        uint16_t avoid;   /* of the pool, no new traffic */
        uint16_t leave;
        uint16_t dead;
        uint16_t fit;   /* for copies */
        uint16_t spare; /* of them: not well, but better than nobody */
        bool is_alert, is_panic, is_nobody, is_limited, is_last;
};

static uint16_t group_where(const struct dog_group *g, bool (*is)(const struct dog_member *m))
{
        uint16_t set = 0;
        for (unsigned i = 0; i < g->members; i++)
                if (is(&g->member[i]))
                        set |= bit(i);
        return set;
}

static bool member_is_allowed(const struct dog_member *m)
{
        return m->role != DOG_ROLE_NEVER && !m->is_drained;
}

static bool member_is_primary(const struct dog_member *m)
{
        return m->role == DOG_ROLE_PRIMARY;
}

static bool member_is_forbidden(const struct dog_member *m)
{
        return m->role == DOG_ROLE_NEVER;
}

static bool member_is_usable(const struct dog_member *m)
{
        return m->is_usable;
}

static bool member_is_well(const struct dog_member *m)
{
        return m->is_well;
}

/* Who lives and may serve; if nobody, who must do instead. */
static void sets_living(const struct dog_group *g, struct spread_sets *s)
{
        uint16_t usable = group_where(g, member_is_usable);
        uint16_t ever = (uint16_t)~group_where(g, member_is_forbidden) & (uint16_t)((1U << g->members) - 1);
        s->allowed = group_where(g, member_is_allowed);
        s->alive = s->allowed & usable;
        s->dead = ever & (uint16_t)~usable;
        if (s->alive)
                return;
        /* The last one is kept though it should be emptied: rather the one that carries traffic. */
        uint16_t drained = ever & usable;
        if (drained) {
                s->is_last = true;
                s->is_alert = s->allowed != 0; /* those that should serve are dead */
                s->allowed = s->alive = drained & g->hot ? drained & g->hot : drained;
                return;
        }
        /* Nobody lives: the next to come back should find traffic, and nothing is gained by moving. */
        s->is_nobody = true;
        s->allowed = s->alive = s->allowed ? s->allowed : ever;
        s->dead = g->gone;
}

/* Primaries; and the backups when too few of those are well. */
static void sets_tier(const struct dog_group *g, struct spread_sets *s)
{
        uint16_t primary = s->allowed & group_where(g, member_is_primary);
        uint16_t well = s->alive & group_where(g, member_is_well);
        uint16_t tier = primary;
        if (primary == 0 || (double)count(primary & well) < g->policy.panic_share * count(primary))
                tier = s->allowed;
        s->pool = s->alive & tier;
        if (s->pool == 0)
                s->pool = s->alive;
        s->is_panic = s->is_nobody || (double)count(s->pool & well) < g->policy.panic_share * count(tier);
}

/* Of the sick, the one to avoid first: the worst; who is avoided already a little before the others. */
static uint16_t sick_worst(const struct dog_group *g, uint16_t sick)
{
        uint16_t worst = NOBODY;
        double most = -1;
        for (uint16_t i = 0; i < g->members; i++) {
                const struct dog_member *m = &g->member[i];
                double rank = member_threat(m) + (m->weight == 0 ? 0.2 : 0);
                if ((sick & bit(i)) && rank > most) {
                        worst = i;
                        most = rank;
                }
        }
        return worst;
}

static void sets_avoid(const struct dog_group *g, struct spread_sets *s)
{
        uint16_t sick = s->pool & (uint16_t)~group_where(g, member_is_well);
        unsigned living = count(s->pool);
        unsigned most = (unsigned)(g->policy.eject_share * living + 1e-9);
        most = most < 1 ? 1 : most;
        most = most >= living ? living - 1 : most;
        while (!s->is_panic && sick && count(s->avoid) < most) {
                uint16_t worst = sick_worst(g, sick);
                if (worst == NOBODY)
                        break;
                s->avoid |= bit(worst);
                sick &= (uint16_t)~bit(worst);
        }
        s->is_limited = !s->is_panic && sick;
}

/* Somebody well who does not fall with it. */
static bool member_has_mirror(const struct dog_group *g, unsigned member, uint16_t fit)
{
        for (unsigned i = 0; i < g->members; i++)
                if (i != member && (fit & bit(i)) &&
                    !dog_members_share_fate(&g->member[i], &g->member[member]))
                        return true;
        return false;
}

static bool member_is_left(const struct dog_group *g, unsigned i, const struct spread_sets *s, int64_t now_ns)
{
        const struct dog_member *m = &g->member[i];
        if (m->is_drained && !(s->alive & bit(i)))
                return true;
        if (!(s->avoid & bit(i)) || !member_has_mirror(g, i, s->fit))
                return false;
        bool is_long = g->policy.leave_ns > 0 && m->avoided_ns != INT64_MAX &&
                       now_ns - m->avoided_ns >= g->policy.leave_ns &&
                       member_threat(m) >= g->policy.avoid_risk && !(s->spare & bit(i));
        return (g->leaving & bit(i)) || is_long || (double)m->belief.p_breach[0] >= g->policy.leave_risk;
}

/* It is out of breath, and keeps what is promised. */
static bool member_is_only_busy(const struct dog_group *g, const struct dog_member *m)
{
        double busy = m->outlook.has_sample ? sample_busy(&m->outlook.newest) : (double)NAN;
        busy = fmax(isnan(busy) ? 0 : busy, isnan(m->busy) ? 0 : (double)m->busy);
        return busy >= BUSY_MUCH && !m->belief.is_bad && (double)m->belief.p_breach[0] < g->policy.leave_risk;
}

/*
 * A member that serves and has no mirror among the well gets the busy one that is least threatened: a copy
 * there may be late, and then it is given up; without one, what exists dies with its member for certain.
 */
static uint16_t sets_spare(const struct dog_group *g, const struct spread_sets *s)
{
        uint16_t spare = 0;
        for (unsigned i = 0; i < g->members && !s->is_nobody; i++) {
                if (!(s->pool & (uint16_t)~s->avoid & bit(i)) || member_has_mirror(g, i, s->fit | spare))
                        continue;
                uint16_t best = NOBODY;
                for (uint16_t k = 0; k < g->members; k++) {
                        const struct dog_member *m = &g->member[k];
                        if (k != i && (s->alive & (uint16_t)~g->leaving & bit(k)) &&
                            !dog_members_share_fate(m, &g->member[i]) && member_is_only_busy(g, m) &&
                            (best == NOBODY || member_threat(m) < member_threat(&g->member[best])))
                                best = k;
                }
                spare |= best == NOBODY ? 0 : bit(best);
        }
        return spare;
}

static struct spread_sets group_sets(const struct dog_group *g, int64_t now_ns)
{
        struct spread_sets s = {0};
        sets_living(g, &s);
        sets_tier(g, &s);
        sets_avoid(g, &s);
        s.fit = s.is_nobody ? 0 : s.alive & (uint16_t)~s.avoid;
        if (!s.is_panic)
                s.fit &= group_where(g, member_is_well);
        s.spare = sets_spare(g, &s);
        s.fit |= s.spare;
        for (unsigned i = 0; i < g->members; i++)
                if (g->member[i].is_usable && member_is_left(g, i, &s, now_ns))
                        s.leave |= bit(i);
        return s;
}

/* ---- how much: the weights ---- */

/* Four levels, each twice the last: new traffic is no load test. */
static double member_ramp(const struct dog_group *g, const struct dog_member *m, int64_t now_ns)
{
        int64_t at_ns = m->weight ? since_ns(now_ns, m->joined_ns) : 0;
        if (m->role != DOG_ROLE_PRIMARY || !g->is_started || at_ns >= g->policy.recover_ns)
                return 1;
        return ldexp(1, (int)(4 * at_ns / g->policy.recover_ns) - 3);
}

static double group_nearest_ms(const struct dog_group *g, uint16_t set)
{
        double nearest = (double)NAN;
        for (unsigned i = 0; i < g->members; i++)
                if (set & bit(i))
                        nearest = fmin(nearest, (double)g->member[i].belief.rtt_ms[0].mean);
        return nearest;
}

static double member_nearness(const struct dog_group *g, const struct dog_member *m, double nearest_ms)
{
        double promised_ms = g->promise.response_ms > 0 ? g->promise.response_ms : g->promise.rtt_ms;
        double behind_ms = (double)m->belief.rtt_ms[0].mean - nearest_ms;
        if (!(promised_ms > 0) || !(behind_ms > 0))
                return 1;
        return 1 / (1 + behind_ms / (promised_ms / 4));
}

/* Headroom of who does not tell his load: that of the others. */
static double group_headroom(const struct dog_group *g, uint16_t set)
{
        double sum = 0;
        unsigned known = 0;
        for (unsigned i = 0; i < g->members; i++) {
                if ((set & bit(i)) && !isnan(g->member[i].busy)) {
                        sum += 1 - (double)g->member[i].busy;
                        known++;
                }
        }
        return known ? sum / known : 1;
}

static double member_worth(const struct dog_group *g, const struct dog_member *m)
{
        double worth = (double)m->steady / 100;
        if (g->promise.breach_price > 0)
                worth -= m->price / g->promise.breach_price;
        return fmax(worth, WORTH_LEAST);
}

/* Scaled so that the heaviest has DOG_WEIGHT_ONE, and who is in has at least 1. */
static void weights_scale(const double raw[DOG_MEMBERS_MAX], uint8_t to[DOG_MEMBERS_MAX])
{
        double most = 0;
        for (int i = 0; i < DOG_MEMBERS_MAX; i++)
                most = fmax(most, raw[i]);
        for (int i = 0; i < DOG_MEMBERS_MAX; i++)
                to[i] = raw[i] > 0 ? (uint8_t)fmax(1, rint(raw[i] / most * DOG_WEIGHT_ONE)) : 0;
}

struct spread_targets {
        uint8_t weight[DOG_MEMBERS_MAX];
        uint8_t standby[DOG_MEMBERS_MAX];
};

static struct spread_targets group_targets(const struct dog_group *g, const struct spread_sets *s,
                                           int64_t now_ns)
{
        double weight[DOG_MEMBERS_MAX] = {0};
        double standby[DOG_MEMBERS_MAX] = {0};
        double nearest_ms = group_nearest_ms(g, s->alive);
        double usual = group_headroom(g, s->alive);
        for (unsigned i = 0; i < g->members; i++) {
                const struct dog_member *m = &g->member[i];
                double headroom = isnan(m->busy) ? usual : 1 - (double)m->busy;
                double load = sqrt(fmax(headroom, WORTH_LEAST));
                double fitness =
                        (s->is_panic ? 1 : member_worth(g, m)) * load * member_nearness(g, m, nearest_ms);
                if (s->pool & (uint16_t)~s->avoid & bit(i))
                        weight[i] = fmax(m->base_weight, 1e-3) * fitness *
                                    (s->is_panic ? 1 : member_ramp(g, m, now_ns));
                if (s->fit & bit(i))
                        standby[i] = fitness;
        }
        struct spread_targets t;
        weights_scale(weight, t.weight);
        weights_scale(standby, t.standby);
        return t;
}

/* The share of the new traffic that goes elsewhere when one set of weights follows the other. */
static double weights_apart(const uint8_t a[DOG_MEMBERS_MAX], const uint8_t b[DOG_MEMBERS_MAX])
{
        double apart = 0;
        double sum_a = dog_plan_weights(a);
        double sum_b = dog_plan_weights(b);
        for (int i = 0; i < DOG_MEMBERS_MAX; i++)
                apart += fabs(a[i] / sum_a - b[i] / sum_b) / 2;
        return apart;
}

/* Who is in keeps what it has, who comes gets what it should; a change of who is in is no reason for more. */
static void weights_keep(const struct dog_group *g, const struct spread_targets *t,
                         uint8_t to[DOG_MEMBERS_MAX])
{
        double most = 0;
        double raw[DOG_MEMBERS_MAX] = {0};
        for (unsigned i = 0; i < g->members; i++)
                if (t->weight[i])
                        most = fmax(most, g->member[i].weight);
        for (unsigned i = 0; i < g->members; i++)
                if (t->weight[i])
                        raw[i] = g->member[i].weight && most > 0 ? g->member[i].weight / most
                                                                 : t->weight[i] / (double)DOG_WEIGHT_ONE;
        weights_scale(raw, to);
}

static void weights_step(const struct spread_targets *t, uint8_t to[DOG_MEMBERS_MAX])
{
        double raw[DOG_MEMBERS_MAX] = {0};
        for (int i = 0; i < DOG_MEMBERS_MAX; i++) {
                int step = t->weight[i] - to[i];
                step = step > STEP_MOST ? STEP_MOST : step < -STEP_MOST ? -STEP_MOST : step;
                raw[i] = to[i] + step;
        }
        weights_scale(raw, to);
}

/* ---- copies of a share ---- */

static bool group_has_mirrors(const struct dog_group *g, uint16_t pool, uint16_t fit)
{
        for (unsigned i = 0; i < g->members; i++)
                if ((pool & bit(i)) && member_has_mirror(g, i, fit))
                        return true;
        return false;
}

/*
 * AUTO: the share goes with the risk, against the usual risk, so that in the long run it is the budget; and
 * what calm times leave over may be spent in others, up to a burst.
 */
static double share_wanted(const struct dog_group *g, double risk)
{
        const struct dog_policy *p = &g->policy;
        double share = p->mirror_budget;
        switch (p->mirror) {
        case DOG_MIRROR_ALWAYS:
                return 1;
        case DOG_MIRROR_NEVER:
                return 0;
        case DOG_MIRROR_SHARE:
                return fmin(fmax(p->mirror_share, 0), 1);
        case DOG_MIRROR_AUTO:
                if (g->risk_usual > 0)
                        share *= risk / g->risk_usual;
                /* With all saved up that may be, what comes in is lost unless it is spent. */
                if (g->mirror_tokens_ns >= (double)p->mirror_burst_ns &&
                    risk * g->promise.breach_price >= p->mirror_price)
                        share = fmax(share, p->mirror_budget);
                /* With nothing saved up, what comes in is what goes out. */
                if (g->mirror_tokens_ns <= 0)
                        share = fmin(share, p->mirror_budget);
                break;
        }
        return fmin(fmax(share, 0), 1);
}

static uint16_t plan_share(const struct dog_group *g, double risk, int64_t now_ns)
{
        double share = share_wanted(g, risk) * DOG_SHARE_ONE;
        uint16_t wanted = (uint16_t)rint(share);
        if (g->policy.mirror != DOG_MIRROR_AUTO)
                return wanted;
        int change = wanted - g->share;
        bool is_spent = g->mirror_tokens_ns <= 0 && wanted < g->share;
        if (!is_spent && change < SHARE_STEP && change > -SHARE_STEP && wanted < DOG_SHARE_ONE)
                return g->share;
        if (!is_spent && change < 0 && now_ns - g->mirror_since_ns < g->policy.mirror_hold_ns)
                return g->share;
        return wanted;
}

/* ---- the plan ---- */

static struct dog_plan plan_begin(const struct dog_group *g, int64_t now_ns)
{
        struct dog_plan p = {
                .at_ns = now_ns,
                .group = g->number,
                .active_was = g->active,
                .active = g->active,
                .hot_was = g->hot,
                .hot = g->hot,
                .members = (uint8_t)g->members,
                .about = NOBODY,
                .leave = g->leaving,
                .leave_was = g->leaving,
                .dead = g->gone,
                .dead_was = g->gone,
                .share = g->share,
                .share_was = g->share,
        };
        for (unsigned i = 0; i < g->members; i++) {
                p.weight[i] = p.weight_was[i] = g->member[i].weight;
                p.standby[i] = g->member[i].standby;
        }
        return p;
}

static uint16_t set_of(const uint8_t weight[DOG_MEMBERS_MAX])
{
        uint16_t set = 0;
        for (unsigned i = 0; i < DOG_MEMBERS_MAX; i++)
                if (weight[i])
                        set |= bit(i);
        return set;
}

static struct dog_plan plan_end(const struct dog_group *g, struct dog_plan p, enum dog_reason why)
{
        p.why = (uint8_t)why;
        p.hot = set_of(p.weight);
        for (uint16_t i = 0; i < g->members; i++)
                if (p.weight[i] > p.weight[p.active])
                        p.active = i;
        uint16_t fit_was = 0;
        for (unsigned i = 0; i < g->members; i++)
                if (g->member[i].standby)
                        fit_was |= bit(i);
        bool is_other = memcmp(p.weight, p.weight_was, sizeof(p.weight)) != 0 || p.share != p.share_was ||
                        p.leave != p.leave_was || p.dead != p.dead_was || set_of(p.standby) != fit_was;
        p.act = (p.leave & ~p.leave_was) || (p.dead & ~p.dead_was) ? DOG_ACT_LEAVE
                : is_other || !g->is_started                       ? DOG_ACT_SPREAD
                                                                   : DOG_ACT_STAY;
        if (p.act == DOG_ACT_STAY) {
                p.refused = DOG_WHY_NONE;
                for (unsigned i = 0; i < g->members; i++)
                        p.standby[i] = g->member[i].standby;
        }
        p.p_without = g->is_started ? (float)weights_risk(g, p.weight_was, 0) : 1;
        p.p_with = (float)weights_risk(g, p.weight, 0);
        p.gain = (float)((double)(p.p_without - p.p_with) * g->promise.breach_price);
        return p;
}

void dog_spread_refuse(const struct dog_group *g, struct dog_plan *plan, enum dog_reason why)
{
        uint8_t was = plan->why;
        /* Too many moves: what exists waits, but new traffic need not go where it would fail. */
        if (why == DOG_WHY_MOVES)
                plan->leave = plan->leave_was;
        else
                *plan = plan_begin(g, plan->at_ns);
        *plan = plan_end(g, *plan, (enum dog_reason)was);
        plan->refused = (uint8_t)why;
}

static uint16_t set_first(uint16_t set)
{
        return set ? (uint16_t)__builtin_ctz(set) : NOBODY;
}

/* The most telling of everything that changes, and the member it is about. */
static enum dog_reason plan_reason(const struct dog_group *g, struct dog_plan *p, const struct spread_sets *s)
{
        uint16_t hot = set_of(p->weight);
        uint16_t out = p->hot_was & (uint16_t)~hot;
        uint16_t in = hot & (uint16_t)~p->hot_was;
        uint16_t leave = p->leave & (uint16_t)~p->leave_was;
        uint16_t dead = p->dead & (uint16_t)~p->dead_was;
        if (dead || (out & p->dead)) {
                p->about = set_first(dead ? dead : out & p->dead);
                return DOG_WHY_EJECT;
        }
        if (s->is_panic)
                return DOG_WHY_PANIC;
        uint16_t about = set_first(leave);
        if (about != NOBODY) {
                p->about = about;
                return g->member[about].is_drained      ? DOG_WHY_DRAIN
                       : g->member[about].belief.is_bad ? DOG_WHY_LEAVE_SEEN
                                                        : DOG_WHY_LEAVE_FORECAST;
        }
        about = set_first(out & s->avoid);
        if (about != NOBODY) {
                p->about = about;
                return g->member[about].belief.is_bad ? DOG_WHY_AVOID_SEEN : DOG_WHY_AVOID_FORECAST;
        }
        if (g->is_alerting)
                return DOG_WHY_PANIC_OVER;
        if (in) {
                p->about = set_first(in);
                return member_is_primary(&g->member[p->about]) ? DOG_WHY_RECOVERED : DOG_WHY_BACKUP;
        }
        if (out) {
                p->about = set_first(out);
                if (member_is_forbidden(&g->member[p->about]))
                        return DOG_WHY_OPERATOR;
                return DOG_WHY_RECOVERED; /* the backups go, because the primaries can again */
        }
        return DOG_WHY_STANDBY;
}

/* Frozen: the operator decides. But the dead are left, and what he empties is emptied. */
static struct dog_plan plan_frozen(const struct dog_group *g, struct dog_plan p, const struct spread_sets *s,
                                   const struct spread_targets *t)
{
        for (unsigned i = 0; i < g->members; i++) {
                if (!(s->alive & bit(i)))
                        p.weight[i] = p.standby[i] = 0;
        }
        if (set_of(p.weight) == 0)
                memcpy(p.weight, t->weight, sizeof(p.weight));
        p.dead = s->dead;
        p.leave = (uint16_t)((p.leave | s->leave) & ~s->dead);
        for (unsigned i = 0; i < g->members; i++)
                if (!g->member[i].is_drained && !(p.leave_was & bit(i)))
                        p.leave &= (uint16_t)~bit(i);
        p.is_alert = s->is_nobody || s->is_alert;
        p = plan_end(g, p, DOG_WHY_FROZEN);
        if (p.act != DOG_ACT_STAY) {
                uint16_t dead = p.dead & (uint16_t)~p.dead_was;
                p.about = set_first(dead ? dead : p.hot_was & (uint16_t)~p.hot);
                p.why = dead ? DOG_WHY_EJECT : DOG_WHY_DRAIN;
        }
        return p;
}

/* Nobody comes or goes: is there a member to speed up, a difference worth a change, a share to follow? */
static struct dog_plan plan_adjust(const struct dog_group *g, struct dog_plan p, const struct spread_sets *s,
                                   const struct spread_targets *t, int64_t now_ns)
{
        enum dog_reason why = s->is_panic ? DOG_WHY_PANIC : DOG_WHY_SETTLED;
        for (uint16_t i = 0; i < g->members; i++) {
                const struct dog_member *m = &g->member[i];
                if (m->weight && since_ns(now_ns, m->joined_ns) < 2 * g->policy.recover_ns &&
                    2 * t->weight[i] > 3 * m->weight) {
                        p.weight[i] = t->weight[i];
                        p.about = i;
                        why = DOG_WHY_SLOW_START;
                }
        }
        double apart = weights_apart(p.weight, t->weight);
        if (why != DOG_WHY_SLOW_START && apart >= g->policy.rebalance) {
                if (now_ns >= g->hold_until_ns) {
                        weights_step(t, p.weight);
                        why = DOG_WHY_REBALANCE;
                } else if (why == DOG_WHY_SETTLED)
                        why = DOG_WHY_HOLDING;
        } else if (why == DOG_WHY_SETTLED && apart >= g->policy.rebalance / 2)
                why = DOG_WHY_MARGIN;
        bool is_weights = memcmp(p.weight, p.weight_was, sizeof(p.weight)) != 0;
        if (!is_weights && p.share != p.share_was)
                why = DOG_WHY_SHARE;
        return plan_end(g, p, why);
}

struct dog_plan dog_spread_propose(const struct dog_group *g, int64_t now_ns)
{
        struct dog_plan p = plan_begin(g, now_ns);

        /* 1. Nobody to choose from. */
        if (g->members == 0)
                return plan_end(g, p, DOG_WHY_EMPTY);
        struct spread_sets s = group_sets(g, now_ns);
        struct spread_targets t = group_targets(g, &s, now_ns);
        p.is_alert = s.is_panic || s.is_alert;
        p.refused = s.is_last ? DOG_WHY_LAST : s.is_limited ? DOG_WHY_LIMIT : DOG_WHY_NONE;

        /* 2. Frozen. */
        if (g->is_frozen && g->is_started)
                return plan_frozen(g, p, &s, &t);
        p.leave = s.leave;
        /* Who lives again is dead to the traffic until it is trusted. */
        p.dead = s.dead | (g->gone & (uint16_t) ~(set_of(t.weight) | s.fit));
        p.leave &= (uint16_t)~p.dead;
        memcpy(p.standby, t.standby, sizeof(p.standby));

        /* 3. How much of the new traffic gets a copy. */
        bool has_mirrors = group_has_mirrors(g, s.pool & (uint16_t)~s.avoid, s.fit);
        p.share = has_mirrors ? plan_share(g, weights_risk(g, t.weight, 1), now_ns) : 0;
        if (!has_mirrors && g->policy.mirror != DOG_MIRROR_NEVER && p.refused == DOG_WHY_NONE)
                p.refused = s.fit & (uint16_t)(s.fit - 1) ? DOG_WHY_COMMON_FATE : DOG_WHY_NO_MIRROR;

        /* 4. The first choice. */
        if (!g->is_started) {
                memcpy(p.weight, t.weight, sizeof(p.weight));
                return plan_end(g, p, DOG_WHY_START);
        }

        /* 5. Somebody comes or goes, for new traffic, for what exists, or as a mirror. */
        struct dog_plan changed = p;
        weights_keep(g, &t, changed.weight);
        bool is_change = set_of(t.weight) != g->hot || p.leave != p.leave_was || p.dead != p.dead_was;
        for (unsigned i = 0; i < g->members; i++)
                is_change |= (t.standby[i] > 0) != (g->member[i].standby > 0);
        if (is_change) {
                enum dog_reason why = plan_reason(g, &changed, &s);
                return plan_end(g, changed, why);
        }

        /* 6. Otherwise follow, slowly. */
        return plan_adjust(g, p, &s, &t, now_ns);
}

/* ---- carrying out, charging, grading ---- */

void dog_spread_apply(struct dog_group *g, const struct dog_plan *plan, int64_t now_ns)
{
        uint16_t emptied =
                (plan->leave & (uint16_t)~plan->leave_was) | (plan->dead & (uint16_t)~plan->dead_was);
        float moved = 0;
        for (unsigned i = 0; i < g->members; i++) {
                struct dog_member *m = &g->member[i];
                /* Who comes in while everybody is needed, or at the start, is not spared. */
                if (plan->weight[i] && !m->weight)
                        m->joined_ns = g->is_started && !plan->is_alert ? now_ns : INT64_MIN;
                bool is_avoided = plan->weight[i] == 0 && m->is_usable && m->role == DOG_ROLE_PRIMARY;
                if (!is_avoided)
                        m->avoided_ns = INT64_MAX;
                else if (m->avoided_ns == INT64_MAX)
                        m->avoided_ns = now_ns;
                m->weight = plan->weight[i];
                m->standby = plan->standby[i];
                m->warmth = m->weight ? DOG_HOT : m->standby ? DOG_WARM : m->is_usable ? DOG_READY : DOG_COLD;
                if (emptied & bit(i)) {
                        moved += m->carried;
                        m->carried = 0;
                }
        }
        double sum = dog_plan_weights(plan->weight);
        for (unsigned i = 0; i < g->members; i++)
                g->member[i].carried += g->is_started ? moved * (float)(plan->weight[i] / sum)
                                                      : (float)(plan->weight[i] / sum);
        if (plan->share > g->share)
                g->mirror_since_ns = now_ns;
        if (memcmp(plan->weight, plan->weight_was, sizeof(plan->weight)) != 0)
                g->hold_until_ns = now_ns + g->policy.hold_ns;
        g->active = plan->active;
        g->hot = plan->hot;
        g->leaving = plan->leave;
        g->gone = plan->dead;
        g->share = plan->share;
        g->is_started = true;
        if (!g->is_frozen)
                g->state = g->share ? DOG_ARMED : DOG_SETTLED;
        g->state_since_ns = now_ns;
}

/* The part of the traffic, shared out so, that meets a broken promise now; NaN when too little is known. */
static double weights_bad(const struct dog_group *g, const uint8_t weight[DOG_MEMBERS_MAX], int64_t now_ns)
{
        double bad = 0;
        double known = 0;
        for (unsigned i = 0; i < g->members; i++) {
                const struct dog_member *m = &g->member[i];
                bool is_stale = !m->outlook.has_sample || now_ns - m->outlook.newest.at_ns > STALE_NS;
                bool is_bad = !m->is_usable || (m->outlook.has_sample && m->outlook.verdict.is_bad);
                if (!is_bad && is_stale)
                        continue;
                known += weight[i];
                bad += is_bad ? weight[i] : 0;
        }
        return known * 2 > dog_plan_weights(weight) ? bad / known : (double)NAN;
}

static void weights_carried(const struct dog_group *g, uint8_t weight[DOG_MEMBERS_MAX])
{
        memset(weight, 0, DOG_MEMBERS_MAX);
        for (unsigned i = 0; i < g->members; i++)
                weight[i] = (uint8_t)rint(fmin(fmax((double)g->member[i].carried, 0), 1) * DOG_WEIGHT_ONE);
}

void dog_spread_compare(const struct dog_group *g, const struct dog_plan *plan, uint8_t with[DOG_MEMBERS_MAX],
                        uint8_t without[DOG_MEMBERS_MAX])
{
        memcpy(with, plan->weight, DOG_MEMBERS_MAX);
        memcpy(without, plan->weight_was, DOG_MEMBERS_MAX);
        if (plan->act != DOG_ACT_LEAVE)
                return;
        /* What is carried over would have stayed where it was, and goes where new traffic goes. */
        uint16_t left = (plan->leave & (uint16_t)~plan->leave_was) | (plan->dead & (uint16_t)~plan->dead_was);
        double sum = dog_plan_weights(plan->weight);
        double moved = 0;
        weights_carried(g, without);
        for (unsigned i = 0; i < g->members; i++)
                moved += left & bit(i) ? without[i] : 0;
        for (unsigned i = 0; i < g->members; i++)
                with[i] =
                        (uint8_t)fmin(rint((left & bit(i) ? 0 : without[i]) + moved * plan->weight[i] / sum),
                                      DOG_WEIGHT_ONE);
}

void dog_spread_account(struct dog_group *g, int64_t now_ns)
{
        if (g->stepped_ns == 0 || !g->is_started)
                return;
        int64_t spent_ns = now_ns - g->stepped_ns;
        uint8_t carried[DOG_MEMBERS_MAX];
        weights_carried(g, carried);
        double served = weights_bad(g, carried, now_ns);
        double share = (double)g->share / DOG_SHARE_ONE;
        g->tally.served_ns += spent_ns;
        g->tally.copied_ns += (int64_t)(share * (double)spent_ns);
        if (!isnan(served))
                g->tally.bad_ns += (int64_t)(served * (double)spent_ns);
        for (int i = 0; i < DOG_OPEN_MAX; i++) {
                struct dog_open_decision *d = &g->open[i];
                if (!d->decision)
                        continue;
                double with = weights_bad(g, d->with_weight, now_ns);
                double without = weights_bad(g, d->without_weight, now_ns);
                if (isnan(with) || isnan(without))
                        continue;
                d->seen_ns += spent_ns;
                d->bad_with_ns += (int64_t)(with * (double)spent_ns);
                d->bad_without_ns += (int64_t)(without * (double)spent_ns);
        }
        g->mirror_tokens_ns += (g->policy.mirror_budget - share) * (double)spent_ns;
        g->mirror_tokens_ns = fmin(g->mirror_tokens_ns, (double)g->policy.mirror_burst_ns);
}
