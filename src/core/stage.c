#include "core/stage.h"

#include "base/clock.h"
#include "core/propose.h"
#include "core/spread.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* A sample older than this says nothing about now. */
#define STALE_NS (2 * DOG_S)
/* Less difference than this is no difference: about one packet of a voice call. */
#define GRADE_NS (20 * DOG_MS)

static uint16_t bit(unsigned member)
{
        return (uint16_t)(1U << member);
}

void dog_stage_event(struct dog_loop *l, struct dog_group *g, enum dog_event_type type, uint16_t member,
                     const char *text, int64_t now_ns)
{
        struct dog_event e = {.type = type, .at_ns = now_ns, .group = g, .member = member, .text = text};
        if (l->options.event)
                l->options.event(l->options.user, &e);
}

/* ---- observe ---- */

void dog_group_sample(struct dog_group *g, unsigned member, const struct dog_sample *s)
{
        if (member >= g->members)
                return;
        struct dog_member *m = &g->member[member];
        enum dog_outlook_news news =
                dog_outlook_observe(&m->outlook, &g->insight, &g->promise, &g->policy, s);
        if (news == DOG_OUTLOOK_LATE) {
                g->tally.late_samples++;
                return;
        }
        if (news != DOG_OUTLOOK_TAKEN || m->outlook.disarmed || m->outlook.rearmed || m->outlook.levels.news)
                g->news |= bit(member);
        m->outlook.has_news |= news != DOG_OUTLOOK_TAKEN;
        /* A sample that is all loss says the member was asked and did not answer. */
        double loss = s->value[DOG_SIGNAL_LOSS];
        if ((isnan(loss) || loss < 1) && s->at_ns > m->answered_ns)
                m->answered_ns = s->at_ns;
}

void dog_group_radio(struct dog_group *g, unsigned member, const float *in, int64_t at_ns)
{
        if (member < g->members)
                dog_outlook_radio(&g->member[member].outlook, in, at_ns);
}

void dog_group_member_up(struct dog_group *g, unsigned member, bool is_up)
{
        if (member < g->members)
                g->member[member].is_up = is_up;
}

static void member_liveness(struct dog_loop *l, struct dog_group *g, uint16_t i, int64_t now_ns)
{
        struct dog_member *m = &g->member[i];
        int64_t silence_ns = g->policy.dead_ns > m->patience_ns ? g->policy.dead_ns : m->patience_ns;
        bool is_usable = m->is_up && now_ns - m->answered_ns <= silence_ns;
        if (is_usable == m->is_usable)
                return;
        m->is_usable = is_usable;
        m->usable_since_ns = now_ns;
        if (g->stepped_ns > 0)
                dog_stage_event(l, g, is_usable ? DOG_EVENT_ALIVE : DOG_EVENT_DEAD, i,
                                m->is_up ? NULL : g->kind->down, now_ns);
}

enum badness { BAD_NO, BAD_YES, BAD_UNKNOWN };

/* Did the promise break for traffic carried by this set? One good member is enough. */
static enum badness set_badness(const struct dog_group *g, uint16_t set, int64_t now_ns)
{
        enum badness all = BAD_YES;
        for (unsigned i = 0; i < g->members; i++) {
                const struct dog_member *m = &g->member[i];
                if (!(set & bit(i)))
                        continue;
                if (!m->is_usable || (m->outlook.has_sample && m->outlook.verdict.is_bad))
                        continue;
                if (!m->outlook.has_sample || now_ns - m->outlook.newest.at_ns > STALE_NS)
                        all = BAD_UNKNOWN;
                else
                        return BAD_NO;
        }
        return all;
}

/* Charge the time since the last step to what was served, to copies, and to open decisions. */
static void group_account(struct dog_group *g, int64_t now_ns)
{
        if (g->policy.spread) {
                dog_spread_account(g, now_ns);
                return;
        }
        if (g->stepped_ns == 0 || !g->is_started)
                return;
        int64_t spent_ns = now_ns - g->stepped_ns;
        unsigned copies = dog_plan_copies(g->hot);
        enum badness now = set_badness(g, g->hot, now_ns);
        g->tally.served_ns += spent_ns;
        if (copies > 1)
                g->tally.copied_ns += spent_ns * (int64_t)(copies - 1);
        if (now == BAD_YES)
                g->tally.bad_ns += spent_ns;
        for (int i = 0; i < DOG_OPEN_MAX; i++) {
                struct dog_open_decision *d = &g->open[i];
                enum badness without = d->decision ? set_badness(g, d->without, now_ns) : BAD_UNKNOWN;
                if (now == BAD_UNKNOWN || without == BAD_UNKNOWN)
                        continue;
                d->seen_ns += spent_ns;
                d->bad_with_ns += now == BAD_YES ? spent_ns : 0;
                d->bad_without_ns += without == BAD_YES ? spent_ns : 0;
        }
        g->mirror_tokens_ns += g->policy.mirror_budget * (double)spent_ns;
        if (copies > 1)
                g->mirror_tokens_ns -= (double)spent_ns * (copies - 1);
        if (g->mirror_tokens_ns > (double)g->policy.mirror_burst_ns)
                g->mirror_tokens_ns = (double)g->policy.mirror_burst_ns;
}

/* Which model has lost against persistence, or is good again; or the whole of them. */
static void member_model_news(struct dog_loop *l, struct dog_group *g, uint16_t m, int64_t now_ns)
{
        struct dog_outlook *o = &g->member[m].outlook;
        for (int i = 0; i < DOG_EXPERT_MODELS; i++)
                if ((o->disarmed | o->rearmed) & (1U << i))
                        dog_stage_event(l, g,
                                        o->risk.mix.is_disarmed[i] ? DOG_EVENT_DISARMED : DOG_EVENT_REARMED,
                                        m, dog_expert_name(i), now_ns);
        if (o->has_news)
                dog_stage_event(l, g, dog_brier_is_armed(&o->brier) ? DOG_EVENT_REARMED : DOG_EVENT_DISARMED,
                                m, "all together", now_ns);
        o->disarmed = o->rearmed = 0;
        o->has_news = false;
}

static void member_level_news(struct dog_loop *l, struct dog_group *g, uint16_t m, int64_t now_ns)
{
        struct dog_levels *levels = &g->member[m].outlook.levels;
        char text[160];
        for (uint8_t i = 0; i < DOG_LEVEL_COUNT; i++) {
                struct dog_level_told told = {.level = i, .shift = levels->told[i]};
                struct dog_event e = {.type = DOG_EVENT_CHANGED,
                                      .at_ns = now_ns,
                                      .group = g,
                                      .member = m,
                                      .text = text,
                                      .told = &told};
                if (!(levels->news & (1U << i)) || !l->options.event)
                        continue;
                dog_level_text(&told, NULL, text, sizeof(text));
                l->options.event(l->options.user, &e);
        }
        levels->news = 0;
}

void dog_stage_observe(struct dog_loop *l, int64_t now_ns)
{
        for (size_t i = 0; i < l->due_count; i++) {
                struct dog_group *g = l->due[i];
                if (g->kind->observe)
                        g->kind->observe(g, now_ns);
                for (uint16_t m = 0; m < g->members; m++) {
                        member_liveness(l, g, m, now_ns);
                        if (!(g->news & bit(m)))
                                continue;
                        member_model_news(l, g, m, now_ns);
                        member_level_news(l, g, m, now_ns);
                }
                g->news = 0;
                group_account(g, now_ns);
        }
}

/* ---- forecast, propose, arbitrate ---- */

/* Chances of different lengths of time are not compared: all speak of the next sample, or none is heard. */
static bool group_sees_next(const struct dog_group *g)
{
        unsigned seen = 0;
        for (unsigned m = 0; m < g->members; m++) {
                const struct dog_member *one = &g->member[m];
                if (!one->is_usable || one->role == DOG_ROLE_NEVER)
                        continue;
                if (isnan(one->belief.p_next))
                        return false;
                seen++;
        }
        return seen > 0;
}

void dog_stage_forecast(struct dog_loop *l, int64_t now_ns)
{
        for (size_t i = 0; i < l->due_count; i++) {
                struct dog_group *g = l->due[i];
                struct dog_path_group peers = {0};
                for (unsigned m = 0; m < g->members; m++)
                        dog_path_group_add(&peers, &g->member[m].outlook.risk);
                for (unsigned m = 0; m < g->members; m++)
                        g->member[m].belief = dog_outlook_believe(&g->member[m].outlook, &g->insight,
                                                                  &g->promise, &g->policy, &peers, now_ns);
                if (g->kind->forecast) {
                        g->kind->forecast(g, now_ns);
                        for (unsigned m = 0; m < g->members; m++)
                                g->member[m].belief.health = dog_belief_health(&g->member[m].belief);
                }
                g->steers_by_next = group_sees_next(g);
                if (g->policy.spread)
                        dog_spread_watch(g, now_ns);
        }
}

void dog_stage_propose(struct dog_loop *l, int64_t now_ns)
{
        for (size_t i = 0; i < l->due_count; i++)
                l->plan[i] = dog_propose(l->due[i], now_ns);
}

void dog_stage_arbitrate(struct dog_loop *l, int64_t now_ns)
{
        (void)now_ns;
        struct dog_arbiter_input in = {.group = l->group,
                                       .groups = l->groups,
                                       .fate = l->fate,
                                       .fates = l->fates,
                                       .budget = l->options.budget};
        dog_arbitrate(&in, l->plan, l->due_count, l->order);
}

/* ---- mirror and steer: make, then break ---- */

static void group_alert(struct dog_loop *l, struct dog_group *g, bool is_alert, int64_t now_ns)
{
        if (is_alert != g->is_alerting)
                dog_stage_event(l, g, is_alert ? DOG_EVENT_ALERT : DOG_EVENT_ALERT_OVER, UINT16_MAX, NULL,
                                now_ns);
        g->is_alerting = is_alert;
}

void dog_stage_mirror(struct dog_loop *l, int64_t now_ns)
{
        for (size_t i = 0; i < l->due_count; i++) {
                struct dog_group *g = l->due[i];
                struct dog_plan *plan = &l->plan[i];
                struct dog_err e = {0};
                if (plan->act == DOG_ACT_STAY || !(plan->hot & ~g->hot) || !g->kind->mirror)
                        continue;
                if (g->kind->mirror(g, plan, &e) < 0) {
                        dog_stage_event(l, g, DOG_EVENT_FAILED, UINT16_MAX, e.text, now_ns);
                        plan->act = DOG_ACT_STAY;
                }
        }
}

static void group_open_decision(struct dog_group *g, const struct dog_plan *plan, int64_t now_ns)
{
        int64_t near_ns = g->policy.horizon_ns[0];
        struct dog_open_decision *free_one = NULL;
        for (int i = 0; i < DOG_OPEN_MAX; i++) {
                struct dog_open_decision *d = &g->open[i];
                /*
                 * The next move takes over: the one before answers for its near horizon only. A copy
                 * taken up or dropped does not: dropping the old copy always follows a move, and one
                 * made two seconds ahead of the breach would never be seen to have helped.
                 */
                int64_t least_ns = d->since_ns + near_ns > now_ns ? d->since_ns + near_ns : now_ns;
                /* Of a spread group each answers for its own member. */
                bool is_next = g->policy.spread ? d->about == plan->about : plan->act == DOG_ACT_MOVE;
                if (is_next && d->decision && d->until_ns > least_ns)
                        d->until_ns = least_ns;
                if (!d->decision && !free_one)
                        free_one = d;
        }
        if (free_one)
                *free_one = (struct dog_open_decision){
                        .decision = plan->decision,
                        .since_ns = now_ns,
                        .until_ns = now_ns + g->policy.horizon_ns[g->policy.grade_horizon],
                        .without = plan->hot_was,
                        .about = plan->about,
                };
        if (free_one && g->policy.spread)
                dog_spread_compare(g, plan, free_one->with_weight, free_one->without_weight);
}

static void belief_reasons(const struct dog_group *g, unsigned member, int64_t now_ns, struct dog_belief *b)
{
        struct dog_outlook_reasons r;
        dog_group_explain(g, member, 0, now_ns, &r);
        memcpy(b->driver, r.driver, sizeof(b->driver));
}

/* Write the decision down before it is carried out. */
static void plan_record(struct dog_loop *l, struct dog_group *g, struct dog_plan *plan)
{
        uint16_t chosen = plan->active;
        /* Spread: the member that it is about, and who carries most of the new traffic. */
        uint16_t from = g->policy.spread && plan->about < g->members ? plan->about : plan->active_was;
        uint16_t copies = plan->act == DOG_ACT_UNMIRROR ? plan->hot_was & (uint16_t)~plan->hot : plan->hot;
        if (plan->act == DOG_ACT_MIRROR || plan->act == DOG_ACT_UNMIRROR)
                for (uint16_t m = 0; m < g->members; m++)
                        if (m != plan->active && (copies & bit(m)))
                                chosen = m;
        struct dog_ledger_row row = {
                .plan = *plan,
                .active_was = g->member[from].belief,
                .chosen = g->member[chosen].belief,
                .chosen_member = chosen,
        };
        belief_reasons(g, from, plan->at_ns, &row.active_was);
        belief_reasons(g, chosen, plan->at_ns, &row.chosen);
        for (unsigned m = 0; m < g->members; m++) {
                row.p_member[m] = g->member[m].belief.p_breach[0];
                row.usable |= (uint16_t)(g->member[m].is_usable ? bit(m) : 0);
        }
        plan->decision = dog_ledger_append(l->ledger, &row);
        g->tally.decisions++;
}

void dog_stage_moved(struct dog_group *g, int64_t now_ns)
{
        g->state = DOG_PROVING;
        g->state_since_ns = now_ns;
        g->hold_until_ns = now_ns + g->policy.hold_ns;
}

/* The group is as the plan says. */
static void plan_apply(struct dog_group *g, const struct dog_plan *plan, int64_t now_ns)
{
        if (g->policy.spread) {
                dog_spread_apply(g, plan, now_ns);
                return;
        }
        if (plan->hot & ~g->hot)
                g->mirror_since_ns = now_ns;
        g->hot = plan->hot;
        for (unsigned m = 0; m < g->members; m++)
                g->member[m].warmth = g->hot & bit(m)          ? DOG_HOT
                                      : g->member[m].is_usable ? DOG_READY
                                                               : DOG_COLD;
        if (plan->act == DOG_ACT_MOVE && g->is_started) {
                g->previous = plan->active_was;
                g->active = plan->active;
                dog_stage_moved(g, now_ns);
                if (plan->why == DOG_WHY_BACK_OUT)
                        g->state = DOG_BACKING_OUT;
                return;
        }
        g->active = plan->active;
        g->is_started = true;
        if (!g->is_frozen)
                g->state = dog_plan_copies(g->hot) > 1 ? DOG_ARMED : DOG_SETTLED;
        g->state_since_ns = now_ns;
}

static void plan_carry_out(struct dog_loop *l, struct dog_group *g, struct dog_plan *plan, int64_t now_ns)
{
        plan_record(l, g, plan);
        struct dog_err e = {0};
        int rc = g->kind->steer ? g->kind->steer(g, plan, &e) : 0;
        if (rc == -EINPROGRESS && g->policy.spread)
                rc = 0; /* what is carried over takes its time; the weights are in force */
        if (rc < 0 && rc != -EINPROGRESS) {
                dog_stage_event(l, g, DOG_EVENT_FAILED, UINT16_MAX, e.text, now_ns);
                return;
        }
        /* The first choice has nothing to be compared with. */
        if (plan->why != DOG_WHY_START)
                group_open_decision(g, plan, now_ns);
        plan_apply(g, plan, now_ns);
        if (rc == -EINPROGRESS)
                g->state = DOG_MOVING;
}

void dog_stage_steer(struct dog_loop *l, int64_t now_ns)
{
        for (size_t i = 0; i < l->due_count; i++) {
                struct dog_group *g = l->due[i];
                struct dog_plan *plan = &l->plan[i];
                group_alert(l, g, plan->is_alert, now_ns);
                g->tally.refused += plan->refused != DOG_WHY_NONE;
                bool is_proved = g->state == DOG_PROVING || g->state == DOG_BACKING_OUT;
                if (g->state == DOG_MOVING)
                        continue; /* one thing at a time */
                if (plan->act != DOG_ACT_STAY)
                        plan_carry_out(l, g, plan, now_ns);
                else if (is_proved && now_ns - g->state_since_ns >= g->policy.overlap_ns && !g->is_frozen)
                        g->state = dog_plan_copies(g->hot) > 1 ? DOG_ARMED : DOG_SETTLED;
        }
}

/* ---- learn ---- */

static void group_grade(struct dog_loop *l, struct dog_group *g, int64_t now_ns)
{
        for (int i = 0; i < DOG_OPEN_MAX; i++) {
                struct dog_open_decision *d = &g->open[i];
                if (!d->decision || now_ns < d->until_ns)
                        continue;
                int64_t saved_ns = d->bad_without_ns - d->bad_with_ns;
                enum dog_grade grade = saved_ns >= GRADE_NS    ? DOG_GRADE_HELPED
                                       : saved_ns <= -GRADE_NS ? DOG_GRADE_HURT
                                                               : DOG_GRADE_NEUTRAL;
                dog_ledger_grade(l->ledger, d->decision, grade, now_ns, d->bad_with_ns, d->bad_without_ns,
                                 d->seen_ns);
                g->tally.helped += grade == DOG_GRADE_HELPED;
                g->tally.neutral += grade == DOG_GRADE_NEUTRAL;
                g->tally.hurt += grade == DOG_GRADE_HURT;
                g->tally.bad_saved_ns += saved_ns;
                d->decision = 0;
        }
}

/*
 * The bar follows the budget: it is the gain that only the best `mirror_budget` of moments
 * exceed (stochastic quantile: Robbins and Monro, 1951, on the logarithm), and never below
 * what a copy costs. So the budget is spent where it does most.
 */
static void group_raise_bar(struct dog_group *g, int64_t now_ns)
{
        double share = g->policy.mirror_budget;
        if (g->policy.spread || g->policy.mirror != DOG_MIRROR_AUTO || g->members < 2 || share >= 1)
                return;
        bool is_over = (double)dog_group_risk(g, bit(g->active)) * g->promise.breach_price > g->mirror_bar;
        /* A second's worth of steps moves it by a factor of e at most, however many they are. */
        double spent_s = fmin((double)(now_ns - g->stepped_ns) / 1e9, 0.1);
        g->mirror_bar *= exp(spent_s * (is_over ? 1 - share : -share));
        g->mirror_bar = fmax(g->mirror_bar, g->policy.mirror_price);
        g->mirror_bar = fmin(g->mirror_bar, g->promise.breach_price);
}

/* Surprises that came to two members together: how much less a copy is worth than it seems. */
static void group_learn_pairs(struct dog_group *g)
{
        for (unsigned a = 0; a + 1 < g->members; a++) {
                const struct dog_outlook *m = &g->member[a].outlook;
                const struct dog_outlook *n = &g->member[a + 1].outlook;
                if (m->is_judged && n->is_judged)
                        dog_risk_pair_learn(&g->insight.pair, (double)m->said_near, m->was_bad,
                                            (double)n->said_near, n->was_bad);
        }
        for (unsigned a = 0; a < g->members; a++)
                g->member[a].outlook.is_judged = false;
        g->joint_with = (float)dog_risk_pair_rho(&g->insight.pair);
}

void dog_stage_learn(struct dog_loop *l, int64_t now_ns)
{
        for (size_t i = 0; i < l->due_count; i++) {
                group_grade(l, l->due[i], now_ns);
                group_raise_bar(l->due[i], now_ns);
                group_learn_pairs(l->due[i]);
        }
}
