#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "core/loop.h"
#include "core/propose.h"
#include "kinds/twin/twin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define T0 (100 * DOG_S)

/* A started group whose members have the given near risks; everything usable, nothing bad. */
static struct dog_group *group_of(const double *risk, unsigned members)
{
        struct dog_group *g = twin_group_new("voice", members, NULL, 0);
        if (!g)
                abort();
        for (unsigned i = 0; i < members; i++) {
                g->member[i].is_usable = true;
                g->member[i].belief.p_breach[0] = (float)risk[i];
                snprintf(g->member[i].name, DOG_NAME_MAX, "m%u", i);
        }
        g->is_started = true;
        g->hot = 1;
        g->policy.mirror = DOG_MIRROR_NEVER;
        return g;
}

/* P9, P16: the best path is selected, by expected cost. */
static void a_group_moves_only_for_more_than_it_costs(void)
{
        static const struct {
                double risk[2], price[2];
                uint16_t want;
                enum dog_reason why;
                const char *say;
        } row[] = {
                {{.10, .50}, {0, 0}, 0, DOG_WHY_SETTLED, "the active one is better: stay"},
                {{.10, .09}, {0, 0}, 0, DOG_WHY_MARGIN, "better by .01, a move costs .02: stay"},
                {{.50, .10}, {0, 0}, 1, DOG_WHY_BREACH_FORECAST, "far better: move"},
                {{.50, .10}, {0, .6}, 0, DOG_WHY_SETTLED, "better, but dearer than the breach: stay"},
                {{.05, .05}, {.3, 0}, 1, DOG_WHY_CHEAPER, "the same promise for less: move"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_group *g = group_of(row[i].risk, 2);
                g->member[0].price = row[i].price[0];
                g->member[1].price = row[i].price[1];
                struct dog_plan p = dog_propose(g, T0);
                OK(p.active == row[i].want, "%s: active %u", row[i].say, p.active);
                OK(p.why == row[i].why, "%s: because %s", row[i].say, dog_reason_name(p.why));
                dog_group_free(g);
        }
}

/* P16: the application's price of a broken promise weighs in. */
static void what_a_breach_costs_decides_whether_to_move(void)
{
        static const double risk[2] = {.05, .02};
        struct dog_group *g = group_of(risk, 2);
        g->promise.breach_price = 0.1;
        OK(dog_propose(g, T0).active == 0, "a cheap promise is not worth a move");
        g->promise.breach_price = 10;
        OK(dog_propose(g, T0).active == 1, "a dear one is");
        dog_group_free(g);
}

static void nobody_moves_to_what_is_dead_forbidden_or_just_back(void)
{
        static const double risk[3] = {.9, .01, .01};
        struct dog_group *g = group_of(risk, 3);
        g->member[1].is_usable = false;
        g->member[2].role = DOG_ROLE_NEVER;
        OK(dog_propose(g, T0).active == 0, "dead and forbidden members are not chosen");
        g->member[1].is_usable = true;
        g->member[1].usable_since_ns = T0 - g->policy.recover_ns / 2;
        OK(dog_propose(g, T0).active == 0, "it has not been back for long enough");
        g->member[1].usable_since_ns = T0 - g->policy.recover_ns;
        OK(dog_propose(g, T0).active == 1, "now it has");
        dog_group_free(g);
}

/* P9: what may break before the next decision weighs, not what may break at some time in the next second. */
static void a_class_steers_by_the_next_sample_where_it_is_known(void)
{
        static const double near[2] = {.40, .30};
        struct dog_group *g = group_of(near, 2);
        g->member[0].belief.p_next = .04F;
        g->member[1].belief.p_next = .10F;
        OK(dog_propose(g, T0).active == 1 && NEAR(dog_group_risk(g, 1), .40, 1e-6),
           "it is not known of all: the near horizon");
        g->steers_by_next = true;
        OK(dog_propose(g, T0).active == 0 && NEAR(dog_group_risk(g, 1), .04, 1e-6),
           "many short dips ahead, and none of them now: stay");
        g->member[1].is_usable = false;
        OK(NEAR(dog_group_risk(g, 2), 1, 1e-9), "who is dead is dead");
        dog_group_free(g);
}

/* P9: a chance that a kind raises is raised for all that decides, and is its hint; what nobody knows stays
 * so. */
static void what_a_kind_knows_counts_for_the_next_sample_too(void)
{
        struct dog_belief b = {.p_breach = {.3F, .5F, .6F}, .p_next = .05F};
        dog_belief_raise(&b, .04F, 2);
        OK(b.hint == DOG_HINT_NONE, "less than is believed anyway");
        dog_belief_raise(&b, .2F, 2);
        OK(b.hint == 2 && NEAR((double)b.p_next, .2, 1e-6) && NEAR((double)b.p_breach[0], .3, 1e-6),
           "an answer is overdue: more for the next sample, %g, not for the next second", (double)b.p_next);
        b = (struct dog_belief){.p_breach = {.1F, .1F, .2F}, .p_next = NAN};
        dog_belief_raise(&b, .9F, 3);
        OK(b.hint == 3 && isnan(b.p_next) && NEAR((double)b.p_breach[2], .9, 1e-6), "unknown stays unknown");
}

static float scripted_next[2];
static void scripted_forecast(struct dog_group *g, int64_t now_ns)
{
        (void)now_ns;
        for (unsigned i = 0; i < g->members; i++)
                g->member[i].belief.p_next = scripted_next[i];
}

/* P9, P13: chances of unlike lengths of time are not compared: all who may serve speak of the next sample, or
 * the near horizon decides. */
static void the_next_sample_decides_only_when_all_speak_of_it(void)
{
        static const struct {
                float next[2];
                bool is_other_usable, is_other_allowed, want;
                const char *say;
        } row[] = {{{.1F, .2F}, true, true, true, "both"},
                   {{.1F, NAN}, true, true, false, "one does not"},
                   {{.1F, NAN}, false, true, true, "who does not is dead"},
                   {{.1F, NAN}, true, false, true, "who does not must never serve"},
                   {{NAN, NAN}, true, true, false, "nobody"}};
        struct dog_kind kind = twin_kind;
        kind.period_ns = DOG_S;
        kind.observe = NULL;
        kind.close = NULL;
        kind.forecast = scripted_forecast;
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_err e = {0};
                struct dog_loop *loop =
                        dog_loop_new(&(struct dog_loop_options){.budget = {.copies_share = 1}});
                struct dog_group *g = dog_group_new("g", &kind, 2);
                NEED(loop && g && dog_loop_add(loop, g, -DOG_S, &e) == 0, "%s", e.text);
                memcpy(scripted_next, row[i].next, sizeof(scripted_next));
                dog_group_member_up(g, 1, row[i].is_other_usable);
                g->member[1].role = row[i].is_other_allowed ? DOG_ROLE_PRIMARY : DOG_ROLE_NEVER;
                dog_loop_step(loop, 0);
                OK(g->steers_by_next == row[i].want, "%s", row[i].say);
                dog_loop_free(loop);
        }
}

/* P12: someone alive carries the traffic, always. */
static void a_dead_active_member_is_left_at_once_even_when_frozen(void)
{
        static const double risk[2] = {.01, .6};
        struct dog_group *g = group_of(risk, 2);
        g->member[0].is_usable = false;
        g->is_frozen = true;
        g->hold_until_ns = T0 + DOG_S;
        struct dog_plan p = dog_propose(g, T0);
        OK(p.active == 1 && p.why == DOG_WHY_UNUSABLE, "active %u because %s", p.active,
           dog_reason_name(p.why));
        g->member[1].is_usable = false;
        p = dog_propose(g, T0);
        OK(p.act == DOG_ACT_STAY && p.is_alert, "nobody alive: stay and alert");
        dog_group_free(g);
}

/* P10, P12: make before break: old and new carry the traffic together for the overlap. */
static void a_move_keeps_the_old_member_until_the_new_one_has_proved_itself(void)
{
        static const double risk[2] = {.5, .01};
        struct dog_group *g = group_of(risk, 2);
        struct dog_plan p = dog_propose(g, T0);
        OK(p.active == 1 && p.hot == 3, "both are hot: %x", p.hot);
        g->active = 1;
        g->previous = 0;
        g->hot = 3;
        g->state = DOG_PROVING;
        g->state_since_ns = T0;
        OK(dog_propose(g, T0 + DOG_MS).hot == 3, "still proving");
        p = dog_propose(g, T0 + g->policy.overlap_ns);
        OK(p.hot == 2 && p.why == DOG_WHY_PROVED, "then the old one is let go: %s", dog_reason_name(p.why));
        g->member[1].belief.is_bad = true;
        p = dog_propose(g, T0 + DOG_MS);
        OK(p.active == 0 && p.why == DOG_WHY_BACK_OUT, "worse than before: back, %s", dog_reason_name(p.why));
        dog_group_free(g);
}

/* P10: copies on several members, when the risk is worth their price. */
static void a_copy_is_bought_when_the_risk_is_worth_it(void)
{
        static const struct {
                double risk[3];
                uint16_t hot;
                const char *say;
        } row[] = {
                {{.005, .01, .01}, 1, "hardly any risk: no copy"},
                {{.20, .195, .30}, 3, "a fifth: a copy on the better neighbour"},
                {{.20, .30, .195}, 5, "whichever that is"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_group *g = group_of(row[i].risk, 3);
                g->policy.mirror = DOG_MIRROR_AUTO;
                struct dog_plan p = dog_propose(g, T0);
                OK(p.hot == row[i].hot, "%s: %x", row[i].say, p.hot);
                dog_group_free(g);
        }
        static const double risky[2] = {.2, .2};
        struct dog_group *g = group_of(risky, 2);
        g->policy.mirror = DOG_MIRROR_AUTO;
        g->member[0].fate[0] = g->member[1].fate[2] = 7;
        OK(dog_propose(g, T0).hot == 1, "a copy that shares the fate is none");
        dog_group_free(g);
}

/* Two alike are not exchanged back and forth; one that is better is taken. */
static void a_copy_that_always_runs_stays_on_its_member(void)
{
        static const double alike[3] = {.01, .0200, .0199};
        struct dog_group *g = group_of(alike, 3);
        g->policy.mirror = DOG_MIRROR_ALWAYS;
        g->policy.copies = 2;
        g->hot = 3;
        OK(dog_propose(g, T0).hot == 3, "a little better is not enough");
        g->member[1].belief.p_breach[0] = .9F;
        g->promise.breach_price = 10;
        OK(dog_propose(g, T0).hot == 5, "clearly better is");
        g->member[1].is_usable = false;
        g->member[1].belief.p_breach[0] = .01F;
        OK(dog_propose(g, T0).hot == 5, "and the dead one is left");
        dog_group_free(g);
}

/* What must be true of every plan, whatever the group looks like. */
static void plan_must_be_sane(const struct dog_plan *p, const struct dog_group *g, int i)
{
        OK(p->active < g->members, "case %d: the active member exists", i);
        OK(p->hot & (1U << p->active), "case %d: the active member carries the traffic", i);
        bool has_moved = p->active != p->active_was;
        OK(!has_moved || g->member[p->active].is_usable, "case %d: nobody moves to the dead", i);
        OK(!has_moved || g->member[p->active].role != DOG_ROLE_NEVER, "case %d: nor to the forbidden", i);
        OK(has_moved == (p->act == DOG_ACT_MOVE), "case %d: a move is called a move", i);
        for (unsigned m = 0; m < g->members; m++)
                OK(!(p->hot & ~p->hot_was & (1U << m)) || g->member[m].is_usable,
                   "case %d: no new copy on the dead", i);
}

static void proposing_is_pure_and_never_insane(void)
{
        struct dog_rng r;
        dog_rng_init(&r, 7);
        for (int i = 0; i < 2000; i++) {
                double risk[4];
                for (int k = 0; k < 4; k++)
                        risk[k] = dog_rng_unit(&r);
                struct dog_group *g = group_of(risk, 4);
                g->policy.mirror = (enum dog_mirror_mode)dog_rng_below(&r, 3);
                for (int k = 0; k < 4; k++) {
                        g->member[k].is_usable = dog_rng_below(&r, 4) > 0;
                        g->member[k].belief.is_bad = dog_rng_below(&r, 3) == 0;
                        g->member[k].role = (enum dog_role)dog_rng_below(&r, 3);
                }
                g->active = (uint16_t)dog_rng_below(&r, 4);
                g->hot = (uint16_t)(1U << g->active);
                struct dog_group before;
                memcpy(&before, g, sizeof(before));
                struct dog_plan a = dog_propose(g, T0);
                struct dog_plan b = dog_propose(g, T0);
                OK(memcmp(&a, &b, sizeof(a)) == 0, "case %d: twice the same plan", i);
                OK(memcmp(&before, g, sizeof(before)) == 0, "case %d: the group is as it was", i);
                plan_must_be_sane(&a, g, i);
                dog_group_free(g);
        }
}

/* Greedy groups all run to the same member; only so many may move at once. */
static void a_herd_is_held_back(void)
{
        enum { HERD = 24 };
        struct dog_group *g[HERD];
        struct dog_plan plan[HERD];
        uint32_t order[HERD];
        static const double risk[2] = {.5, .01};
        for (uint32_t i = 0; i < HERD; i++) {
                g[i] = group_of(risk, 2);
                g[i]->number = i;
                g[i]->promise.priority = i == 20 ? 5 : 0;
                g[i]->member[0].belief.p_breach[0] = .5F + (float)i / 100;
                plan[i] = dog_propose(g[i], T0);
        }
        g[3]->member[0].is_usable = false;
        plan[3] = dog_propose(g[3], T0);
        struct dog_arbiter_input in = {
                .group = g, .groups = HERD, .budget = {.moves_per_step = 2, .copies_share = 1}};
        dog_arbitrate(&in, plan, HERD, order);
        unsigned moves = 0;
        for (int i = 0; i < HERD; i++)
                moves += plan[i].act == DOG_ACT_MOVE;
        OK(moves == 2, "two move: %u", moves);
        OK(plan[3].act == DOG_ACT_MOVE, "leaving the dead is never refused");
        OK(plan[20].act == DOG_ACT_MOVE, "then the one with priority");
        OK(plan[23].refused == DOG_WHY_MOVES && plan[23].active == 0, "the others stay: %s",
           dog_reason_name(plan[23].refused));
        for (int i = 0; i < HERD; i++)
                dog_group_free(g[i]);
}

static void a_copy_needs_budget_and_room(void)
{
        static const double risk[2] = {.3, .3};
        struct dog_group *g = group_of(risk, 2);
        g->policy.mirror = DOG_MIRROR_AUTO;
        g->mirror_tokens_ns = 0;
        struct dog_plan plan = dog_propose(g, T0);
        NEED(plan.act == DOG_ACT_MIRROR, "it wants a copy");
        uint32_t order[1];
        struct dog_arbiter_input in = {.group = &g, .groups = 1, .budget = {.copies_share = 1}};
        dog_arbitrate(&in, &plan, 1, order);
        OK(plan.hot == 1 && plan.refused == DOG_WHY_BUDGET, "no budget, no copy");

        g->mirror_tokens_ns = 1e9;
        g->demand_kbps = 800;
        g->member[1].fate[0] = 0;
        struct dog_fate fate = {.capacity_kbps = 1000, .load_kbps = 500};
        in.fate = &fate;
        in.fates = 1;
        plan = dog_propose(g, T0);
        dog_arbitrate(&in, &plan, 1, order);
        OK(plan.hot == 1 && plan.refused == DOG_WHY_CAPACITY, "no room, no copy");
        fate.load_kbps = 100;
        plan = dog_propose(g, T0);
        dog_arbitrate(&in, &plan, 1, order);
        OK(plan.hot == 3 && plan.refused == DOG_WHY_NONE, "with room and budget there is one");
        dog_group_free(g);
}

/* ---- whole loops on the twin ---- */

struct world {
        struct dog_loop *loop;
        struct dog_group *g;
        unsigned events[DOG_EVENT_COUNT];
        struct dog_level_told told; /* with the last event */
        char text[200];
        uint64_t sum; /* of every ledger row, as it was told */
};

static void world_event(void *user, const struct dog_event *e)
{
        struct world *w = user;
        w->events[e->type]++;
        if (!e->told)
                return;
        w->told = *e->told;
        snprintf(w->text, sizeof(w->text), "%s: %s", e->group->member[e->member].name, e->text);
}

static void world_told(void *user, const struct dog_ledger_row *row, bool is_graded)
{
        struct world *w = user;
        const unsigned char *byte = (const unsigned char *)&row->plan;
        for (size_t i = 0; i < offsetof(struct dog_plan, is_alert); i++)
                w->sum = (w->sum ^ byte[i]) * UINT64_C(1099511628211);
        w->sum += (uint64_t)row->grade + is_graded;
}

static void world_open(struct world *w, unsigned members)
{
        memset(w, 0, sizeof(*w));
        w->loop = dog_loop_new(
                &(struct dog_loop_options){.event = world_event, .user = w, .budget = {.copies_share = 1}});
        w->g = twin_group_new("voice", members, NULL, 0);
        if (!w->loop || !w->g || dog_loop_add(w->loop, w->g, 0, NULL) < 0)
                abort();
        dog_ledger_listen(dog_loop_ledger(w->loop), world_told, w);
        for (unsigned i = 0; i < members; i++)
                snprintf(w->g->member[i].name, DOG_NAME_MAX, "m%u", i);
        w->g->promise.rtt_ms = 100;
        w->g->promise.loss_ratio = .02;
}

static void world_sample(struct world *w, unsigned member, int64_t at_ns, double rtt_ms, double loss)
{
        struct dog_sample s = dog_sample_at(at_ns);
        s.value[DOG_SIGNAL_LOSS] = loss;
        if (loss < 1)
                s.value[DOG_SIGNAL_RTT] = rtt_ms;
        dog_group_sample(w->g, member, &s);
}

/*
 * P7, P9, P11, P12, P13: member 0 creeps towards its limit and over it, every 20 s for 5 s; member 1
 * is steady. Both are measured all the time. The loop must leave member 0, and say that it helped.
 */
static void play_creeping(struct world *w, int seconds)
{
        struct dog_rng r;
        dog_rng_init(&r, 3);
        for (int64_t t = 0; t < seconds * DOG_S; t += 100 * DOG_MS) {
                double phase = (double)(t % (20 * DOG_S)) / 1e9;
                double creep = phase < 15 ? phase < 10 ? 40 : 40 + 14 * (phase - 10) : 115;
                world_sample(w, 0, t, creep + 2 * dog_rng_normal(&r), 0);
                world_sample(w, 1, t, 60 + 2 * dog_rng_normal(&r), 0);
                dog_loop_step(w->loop, t);
        }
}

static void the_loop_leaves_a_failing_member_and_grades_itself(void)
{
        struct world w;
        world_open(&w, 2);
        w.g->member[1].price = 0.05; /* so that it goes back to member 0 when that is well */
        play_creeping(&w, 200);
        const struct dog_tally *t = &w.g->tally;
        double bad = (double)t->bad_ns / (double)t->served_ns;
        OK(bad < 0.05, "member 0 alone is bad for a quarter of the time; with the loop %.3f", bad);
        OK(t->helped > 0 && t->hurt <= t->helped / 4, "helped %llu, neutral %llu, hurt %llu",
           (unsigned long long)t->helped, (unsigned long long)t->neutral, (unsigned long long)t->hurt);
        OK(t->decisions < 80, "ten episodes do not take %llu decisions", (unsigned long long)t->decisions);
        const struct dog_ledger_row *row = dog_ledger_find(dog_loop_ledger(w.loop), 2);
        NEED(row, "the ledger has it");
        OK(row->plan.why != DOG_WHY_NONE && row->grade != DOG_GRADE_OPEN, "with a reason and a grade");
        dog_loop_free(w.loop);
}

static void the_same_script_gives_the_same_ledger(void)
{
        uint64_t sum[2];
        for (int i = 0; i < 2; i++) {
                struct world w;
                world_open(&w, 2);
                play_creeping(&w, 60);
                sum[i] = w.sum;
                OK(dog_ledger_newest(dog_loop_ledger(w.loop)) > 1, "something was decided");
                dog_loop_free(w.loop);
        }
        OK(sum[0] == sum[1], "twice the same");
}

/* P12: and back only when it has answered for a while. */
static void a_dead_member_is_left_and_comes_back_slowly(void)
{
        struct world w;
        world_open(&w, 2);
        w.g->member[1].price = 0.3;
        int64_t left_ns = 0;
        int64_t back_ns = 0;
        for (int64_t t = 0; t < 40 * DOG_S; t += 100 * DOG_MS) {
                if (t < 10 * DOG_S || t >= 20 * DOG_S)
                        world_sample(&w, 0, t, 30, 0);
                world_sample(&w, 1, t, 30, 0);
                dog_loop_step(w.loop, t);
                if (!left_ns && w.g->active == 1)
                        left_ns = t;
                if (left_ns && !back_ns && w.g->active == 0)
                        back_ns = t;
        }
        OK(left_ns >= 10 * DOG_S && left_ns <= 10 * DOG_S + w.g->policy.dead_ns + 200 * DOG_MS,
           "left %lld ms after it fell silent", (long long)(left_ns / DOG_MS - 10000));
        OK(back_ns >= 20 * DOG_S + w.g->policy.recover_ns, "back after %lld ms",
           (long long)(back_ns / DOG_MS - 20000));
        OK(w.events[DOG_EVENT_DEAD] == 1 && w.events[DOG_EVENT_ALIVE] == 1, "one event each way");
        dog_loop_free(w.loop);
}

static void all_bad_raises_one_alert_and_ends_it(void)
{
        struct world w;
        world_open(&w, 3);
        w.g->policy.mirror_burst_ns = 10 * DOG_S;
        w.g->mirror_tokens_ns = 10e9;
        for (int64_t t = 0; t < 20 * DOG_S; t += 100 * DOG_MS) {
                bool is_storm = t >= 10 * DOG_S && t < 12 * DOG_S;
                for (unsigned m = 0; m < 3; m++)
                        world_sample(&w, m, t, is_storm ? 300 : 30, 0);
                dog_loop_step(w.loop, t);
                if (t == 11 * DOG_S)
                        OK(w.g->hot == 7, "every copy counts: %x", w.g->hot);
        }
        OK(w.events[DOG_EVENT_ALERT] == 1 && w.events[DOG_EVENT_ALERT_OVER] == 1, "%u alerts, %u ends",
           w.events[DOG_EVENT_ALERT], w.events[DOG_EVENT_ALERT_OVER]);
        dog_loop_free(w.loop);
}

static void a_sample_from_the_past_is_counted_and_dropped(void)
{
        struct world w;
        world_open(&w, 1);
        world_sample(&w, 0, 2 * DOG_S, 30, 0);
        world_sample(&w, 0, 1 * DOG_S, 999, 0);
        world_sample(&w, 0, 2 * DOG_S, 999, 0);
        OK(w.g->tally.late_samples == 2, "%llu", (unsigned long long)w.g->tally.late_samples);
        OK(!w.g->member[0].outlook.verdict.is_bad, "and it did not count");
        dog_group_sample(w.g, 9, &(struct dog_sample){0});
        dog_loop_free(w.loop);
}

/* N7, W9: duplication has a budget, whatever the risk. */
/* F3: what a modem tells is known with the sample of that time, and with no other. */
static void what_a_radio_tells_belongs_to_its_sample(void)
{
        static struct dog_outlook with, without;
        static struct dog_insight a, b;
        struct dog_policy policy = dog_policy_default();
        struct dog_promise promise = {.rtt_ms = 100};
        float in[DOG_RADIO_INPUTS];
        for (int i = 0; i < DOG_RADIO_INPUTS; i++)
                in[i] = NAN;
        in[DOG_RADIO_I_RSRP] = -119;
        dog_insight_init(&a, &policy);
        dog_insight_init(&b, &policy);
        dog_outlook_init(&with, &policy);
        dog_outlook_init(&without, &policy);
        for (int i = 1; i <= 20; i++) {
                struct dog_sample s = dog_sample_at(i * DOG_S / 5);
                s.value[DOG_SIGNAL_RTT] = 40;
                /* Of another time, or withdrawn: it says nothing. */
                dog_outlook_radio(&with, i < 10 ? in : NULL, s.at_ns - (i < 5));
                dog_outlook_observe(&with, &a, &promise, &policy, &s);
                dog_outlook_observe(&without, &b, &promise, &policy, &s);
                bool is_heard = with.risk.risk.radios.has_radio && with.risk.risk.radios.seen_ns == s.at_ns;
                OK(is_heard == (i >= 5 && i < 10), "sample %d: %d", i, is_heard);
                struct dog_belief x = dog_outlook_believe(&with, &a, &promise, &policy, NULL, s.at_ns);
                struct dog_belief y = dog_outlook_believe(&without, &b, &promise, &policy, NULL, s.at_ns);
                OK(i > 6 || memcmp(x.p_breach, y.p_breach, sizeof(x.p_breach)) == 0,
                   "and nothing before it is learned");
        }
}

static void a_budget_is_kept_in_the_long_run(void)
{
        struct world w;
        world_open(&w, 2);
        w.g->policy.mirror_budget = .10;
        w.g->policy.mirror_burst_ns = 2 * DOG_S;
        struct dog_rng r;
        dog_rng_init(&r, 5);
        for (int64_t t = 0; t < 300 * DOG_S; t += 100 * DOG_MS) {
                for (unsigned m = 0; m < 2; m++)
                        world_sample(&w, m, t, 30, dog_rng_unit(&r) < .3);
                dog_loop_step(w.loop, t);
        }
        double share = (double)w.g->tally.copied_ns / (double)w.g->tally.served_ns;
        OK(share < .12 && share > .05, "10 %% were allowed, %.1f %% were used", 100 * share);
        dog_loop_free(w.loop);
}

/* P13: and says so. The badness alternates so that what was is never what comes. */
static void a_model_that_loses_to_persistence_disarms_itself(void)
{
        struct dog_brier b;
        dog_brier_init(&b);
        enum dog_brier_change change = DOG_BRIER_SAME;
        int at = 0;
        for (int i = 0; i < 400 && change == DOG_BRIER_SAME; i++, at = i)
                change = dog_brier_learn(&b, .9, 0, false);
        OK(change == DOG_BRIER_DISARMED && at >= 190, "after %d outcomes", at);

        struct world w;
        world_open(&w, 1);
        for (int64_t t = 0; t < 400 * DOG_S; t += 100 * DOG_MS) {
                world_sample(&w, 0, t, 30, 0);
                if (t == 200 * DOG_S) /* a model gone wrong */
                        for (int i = 0; i < DOG_RISK_FEATURES; i++)
                                w.g->insight.risk.logistic.weight[DOG_RISK_H0][i] =
                                        w.g->insight.risk.logistic.prior[DOG_RISK_H0][i] = i == 0 ? 9 : 0;
                dog_loop_step(w.loop, t);
        }
        OK(w.events[DOG_EVENT_DISARMED] == 1, "%u times", w.events[DOG_EVENT_DISARMED]);
        OK(w.g->member[0].belief.p_breach[0] < 0.5F, "persistence decides: %g",
           (double)w.g->member[0].belief.p_breach[0]);
        dog_loop_free(w.loop);
}

/* P13, F4: an unused path is watched as well; what changed is an event, and stands beside what is believed.
 */
static void a_path_that_turned_slow_for_good_is_told(void)
{
        struct world w;
        struct dog_rng r;
        world_open(&w, 2);
        w.g->promise.rtt_ms = 150;
        dog_rng_init(&r, 4);
        for (int64_t t = 0; t < 400 * DOG_S; t += 100 * DOG_MS) {
                world_sample(&w, 0, t, 30 + 2 * dog_rng_normal(&r), 0);
                world_sample(&w, 1, t, (t < 300 * DOG_S ? 41 : 68) + 2 * dog_rng_normal(&r), 0);
                dog_loop_step(w.loop, t);
                if (t == 299 * DOG_S)
                        OK(w.events[DOG_EVENT_CHANGED] == 0 &&
                                   w.g->member[1].belief.told.level == DOG_LEVEL_COUNT,
                           "nothing yet");
                if (t == 320 * DOG_S)
                        OK(w.events[DOG_EVENT_CHANGED] == 1, "told within 20 s");
        }
        OK(w.events[DOG_EVENT_CHANGED] == 1 && w.g->active == 0, "once: %u", w.events[DOG_EVENT_CHANGED]);
        OK(strncmp(w.text, "m1: round trip rose from 4", 26) == 0 && strstr(w.text, "at most 150 ms"), "%s",
           w.text);
        OK(w.g->member[1].belief.told.level == DOG_LEVEL_RTT &&
                   w.g->member[0].belief.told.level == DOG_LEVEL_COUNT &&
                   llabs((long long)(w.told.shift.since_ns - 300 * DOG_S)) <= 2 * DOG_S,
           "beside the belief of this one, since %.0f s", (double)w.told.shift.since_ns / 1e9);
        dog_loop_free(w.loop);
}

int main(void)
{
        return CHECK_RUN(
                TEST(a_group_moves_only_for_more_than_it_costs),
                TEST(what_a_breach_costs_decides_whether_to_move),
                TEST(a_class_steers_by_the_next_sample_where_it_is_known),
                TEST(what_a_kind_knows_counts_for_the_next_sample_too),
                TEST(the_next_sample_decides_only_when_all_speak_of_it),
                TEST(nobody_moves_to_what_is_dead_forbidden_or_just_back),
                TEST(a_dead_active_member_is_left_at_once_even_when_frozen),
                TEST(a_move_keeps_the_old_member_until_the_new_one_has_proved_itself),
                TEST(a_copy_is_bought_when_the_risk_is_worth_it),
                TEST(a_copy_that_always_runs_stays_on_its_member), TEST(proposing_is_pure_and_never_insane),
                TEST(a_herd_is_held_back), TEST(a_copy_needs_budget_and_room),
                TEST(the_loop_leaves_a_failing_member_and_grades_itself),
                TEST(the_same_script_gives_the_same_ledger),
                TEST(a_dead_member_is_left_and_comes_back_slowly), TEST(all_bad_raises_one_alert_and_ends_it),
                TEST(a_sample_from_the_past_is_counted_and_dropped),
                TEST(what_a_radio_tells_belongs_to_its_sample), TEST(a_budget_is_kept_in_the_long_run),
                TEST(a_model_that_loses_to_persistence_disarms_itself),
                TEST(a_path_that_turned_slow_for_good_is_told));
}
