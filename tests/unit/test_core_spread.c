/* Groups that spread their new traffic over several members. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "core/loop.h"
#include "core/propose.h"
#include "core/spread.h"
#include "kinds/twin/twin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define T0   (100 * DOG_S)
#define STEP (100 * DOG_MS)

/* A group of primaries, all alive and well, that has not started. */
static struct dog_group *spread_of(unsigned members)
{
        struct dog_group *g = twin_group_new("web", members, NULL, 0);
        if (!g)
                abort();
        for (unsigned i = 0; i < members; i++) {
                struct dog_member *m = &g->member[i];
                snprintf(m->name, DOG_NAME_MAX, "m%u", i);
                m->is_usable = true;
                m->belief.health = 90;
                m->belief.p_breach[0] = m->belief.p_breach[1] = .05F;
                m->belief.rtt_ms[0].mean = (float)NAN;
                m->outlook.newest = dog_sample_at(INT64_MIN);
        }
        g->policy.spread = true;
        g->policy.mirror = DOG_MIRROR_NEVER;
        return g;
}

static void member_says(struct dog_group *g, unsigned i, double near, double middle)
{
        struct dog_member *m = &g->member[i];
        m->belief.p_breach[0] = (float)near;
        m->belief.p_breach[1] = (float)middle;
        m->belief.health = (float)(95 * (1 - middle));
}

/* One step: watch, propose, carry out. */
static struct dog_plan group_step(struct dog_group *g, int64_t now_ns)
{
        dog_spread_watch(g, now_ns);
        struct dog_plan p = dog_propose(g, now_ns);
        if (p.act != DOG_ACT_STAY)
                dog_spread_apply(g, &p, now_ns);
        g->is_alerting = p.is_alert;
        g->stepped_ns = now_ns;
        return p;
}

/* Steps until a plan says more than "stay", for at most so long. */
static struct dog_plan group_until(struct dog_group *g, int64_t *now_ns, int64_t most_ns)
{
        struct dog_plan p;
        int64_t end_ns = *now_ns + most_ns;
        do {
                p = group_step(g, *now_ns);
                *now_ns += STEP;
        } while (p.act == DOG_ACT_STAY && *now_ns < end_ns);
        return p;
}

static void it_starts_with_everybody_in_by_what_is_configured(void)
{
        struct dog_group *g = spread_of(3);
        g->member[1].base_weight = .5;
        struct dog_plan p = group_step(g, T0);
        OK(p.why == DOG_WHY_START && p.act == DOG_ACT_SPREAD, "%s", dog_reason_name(p.why));
        OK(p.weight[0] == 255 && p.weight[1] == 128 && p.weight[2] == 255, "%u %u %u", p.weight[0],
           p.weight[1], p.weight[2]);
        OK(p.hot == 7 && g->member[1].warmth == DOG_HOT, "all carry traffic");
        p = group_step(g, T0 + STEP);
        OK(p.act == DOG_ACT_STAY && p.why == DOG_WHY_SETTLED, "and so it stays: %s", dog_reason_name(p.why));
        dog_group_free(g);
}

/* I8 I10: new connections leave before the failure; existing ones when it is nearly certain, or lasts. */
static void new_traffic_leaves_first_then_what_exists(void)
{
        static const struct {
                double near, middle;
                int64_t after_ns; /* the leave comes so long after the avoiding */
                const char *say;
        } row[] = {{.2, .6, 3 * DOG_S, "it lasts"}, {.95, .95, STEP, "it is nearly certain"}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_group *g = spread_of(3);
                int64_t now_ns = T0;
                group_step(g, now_ns);
                now_ns += STEP;
                member_says(g, 1, .2, .6);
                struct dog_plan p = group_step(g, now_ns);
                OK(p.why == DOG_WHY_AVOID_FORECAST && p.about == 1 && p.weight[1] == 0 && p.leave == 0,
                   "first new traffic: %s", dog_reason_name(p.why));
                OK(p.weight[0] == 255 && p.weight[2] == 255, "the others keep their weights");
                int64_t avoided_ns = now_ns;
                now_ns += STEP;
                member_says(g, 1, row[i].near, row[i].middle);
                p = group_until(g, &now_ns, 10 * DOG_S);
                OK(p.why == DOG_WHY_LEAVE_FORECAST && p.act == DOG_ACT_LEAVE && p.leave == 2, "%s: %s",
                   row[i].say, dog_reason_name(p.why));
                OK(p.at_ns - avoided_ns == row[i].after_ns, "%s: after %lld ms", row[i].say,
                   (long long)((p.at_ns - avoided_ns) / DOG_MS));
                OK(g->member[1].carried < .01F && g->member[0].carried > .45F, "its traffic is the others'");
                dog_group_free(g);
        }
}

/* I9 I12: the dead are left at once, come back slowly, and start slowly. */
static void the_dead_come_back_slowly_and_start_slowly(void)
{
        struct dog_group *g = spread_of(3);
        int64_t now_ns = T0;
        group_step(g, now_ns);
        now_ns += STEP;
        g->member[2].is_usable = false;
        struct dog_plan p = group_step(g, now_ns);
        OK(p.why == DOG_WHY_EJECT && p.about == 2 && p.dead == 4 && p.leave == 0 && p.weight[2] == 0,
           "out at once: %s", dog_reason_name(p.why));
        OK(p.standby[2] == 0, "and no mirror");
        g->member[2].is_usable = true;
        int64_t alive_ns = now_ns += STEP;
        p = group_until(g, &now_ns, 10 * DOG_S);
        OK(p.why == DOG_WHY_RECOVERED && p.about == 2 && p.dead == 0, "%s", dog_reason_name(p.why));
        OK(p.at_ns - alive_ns == g->policy.recover_ns, "after %lld ms of good news",
           (long long)((p.at_ns - alive_ns) / DOG_MS));
        int64_t joined_ns = p.at_ns;
        int weight[4] = {p.weight[2], 0, 0, 0};
        for (int i = 1; i < 4; i++) {
                p = group_until(g, &now_ns, 5 * DOG_S);
                OK(p.why == DOG_WHY_SLOW_START && p.about == 2, "step %d: %s", i, dog_reason_name(p.why));
                weight[i] = p.weight[2];
        }
        OK(weight[0] == 32 && weight[1] == 64 && weight[2] == 128 && weight[3] == 255,
           "an eighth, a quarter, a half, all: %d %d %d %d", weight[0], weight[1], weight[2], weight[3]);
        OK(p.at_ns - joined_ns <= g->policy.recover_ns, "within recover_ns");
        dog_group_free(g);
}

/* A forecast that stays between the two bars changes nothing, either way. */
static void a_doubtful_member_neither_goes_nor_comes(void)
{
        struct dog_group *g = spread_of(4);
        int64_t now_ns = T0;
        struct dog_rng r;
        dog_rng_init(&r, 4);
        group_step(g, now_ns);
        unsigned plans = 0;
        for (int i = 0; i < 600; i++) {
                now_ns += STEP;
                member_says(g, 1, .1, .3 + .15 * dog_rng_unit(&r));
                g->member[1].belief.health = 88;
                plans += group_step(g, now_ns).act != DOG_ACT_STAY;
        }
        OK(plans == 0, "below the bar it stays in: %u plans", plans);
        member_says(g, 1, .1, .6);
        OK(group_step(g, now_ns += STEP).why == DOG_WHY_AVOID_FORECAST, "over it, it goes");
        for (int i = 0; i < 600; i++) {
                now_ns += STEP;
                member_says(g, 1, .1, .3 + .15 * dog_rng_unit(&r));
                OK(group_step(g, now_ns).weight[1] == 0, "and does not come back at %d", i);
        }
        dog_group_free(g);
}

/* Where everybody is at risk, somebody who was away is as good as they. */
static void a_member_comes_back_when_it_is_as_well_as_those_that_serve(void)
{
        struct dog_group *g = spread_of(3);
        int64_t now_ns = T0;
        for (unsigned m = 0; m < 3; m++)
                member_says(g, m, .2, .4);
        group_step(g, now_ns);
        g->member[1].is_usable = false;
        OK(group_step(g, now_ns += STEP).hot == 5, "one dies");
        g->member[1].is_usable = true;
        now_ns += STEP;
        struct dog_plan p = group_until(g, &now_ns, 10 * DOG_S);
        OK(p.why == DOG_WHY_RECOVERED && p.hot == 7, "and comes back, though its risk is not small: %s",
           dog_reason_name(p.why));
        dog_group_free(g);
}

/* Noise moves no weights; a difference that lasts does, in bounded steps with pauses. */
static void weights_change_only_when_it_matters(void)
{
        struct dog_group *g = spread_of(3);
        int64_t now_ns = T0;
        struct dog_rng r;
        dog_rng_init(&r, 5);
        group_step(g, now_ns);
        unsigned plans = 0;
        for (int i = 0; i < 1000; i++) {
                now_ns += STEP;
                for (unsigned m = 0; m < 3; m++)
                        g->member[m].belief.health = (float)(80 + 10 * dog_rng_unit(&r));
                plans += group_step(g, now_ns).act != DOG_ACT_STAY;
        }
        OK(plans == 0, "a tenth of noise in health: %u plans in 100 s", plans);
        g->member[1].belief.health = 20;
        int64_t last_ns = 0;
        for (plans = 0; plans < 20; plans++) {
                uint8_t was = g->member[1].weight;
                struct dog_plan p = group_until(g, &now_ns, 20 * DOG_S);
                if (p.act == DOG_ACT_STAY)
                        break;
                OK(p.why == DOG_WHY_REBALANCE, "%s", dog_reason_name(p.why));
                OK(was - p.weight[1] <= 66 && was > p.weight[1], "bounded: %u to %u", was, p.weight[1]);
                OK(p.at_ns - last_ns >= g->policy.hold_ns, "with pauses");
                last_ns = p.at_ns;
        }
        OK(plans >= 2 && plans <= 5, "%u steps", plans);
        double share = g->member[1].weight / (255. + g->member[1].weight + g->member[2].weight);
        OK(share > .05 && share < .2, "its share in the end: %.3f", share);
        dog_group_free(g);
}

/* I11: by load and nearness, besides health. */
static void weights_follow_load_and_nearness(void)
{
        struct dog_group *g = spread_of(3);
        g->promise.response_ms = 200;
        for (unsigned i = 0; i < 3; i++)
                g->member[i].belief.rtt_ms[0].mean = i == 2 ? 51 : 1;
        g->member[0].busy = .2F;
        g->member[1].busy = .8F;
        g->member[2].busy = .2F;
        struct dog_plan p = group_step(g, T0);
        OK(p.weight[0] == 255, "the idle one that is near has most");
        OK(NEAR(p.weight[1], 128, 2), "a quarter of the headroom, half of the weight: %u", p.weight[1]);
        OK(p.weight[2] == 128, "50 ms further off, half of the weight: %u", p.weight[2]);
        dog_group_free(g);
        g = spread_of(2);
        g->member[0].busy = .5F;
        p = group_step(g, T0);
        OK(p.weight[0] == p.weight[1], "who does not tell his load is taken for ordinary: %u", p.weight[1]);
        g->member[1].price = .45;
        OK(dog_propose(g, T0).act == DOG_ACT_STAY && g->is_started, "it has begun");
        dog_group_free(g);
        g = spread_of(2);
        g->member[1].price = .45;
        p = group_step(g, T0);
        OK(p.weight[1] == 128, "what it costs comes off its worth: %u", p.weight[1]);
        dog_group_free(g);
}

static void what_is_measured_of_load_is_smoothed(void)
{
        struct dog_group *g = spread_of(1);
        int64_t now_ns = T0;
        group_step(g, now_ns);
        struct dog_outlook *o = &g->member[0].outlook;
        o->has_sample = true;
        for (int i = 0; i < 100; i++) {
                now_ns += STEP;
                o->newest = dog_sample_at(now_ns);
                o->newest.value[DOG_SIGNAL_CPU] = i < 50 ? .2 : 1;
                o->newest.value[DOG_SIGNAL_MEMORY] = .79;
                group_step(g, now_ns);
                if (i == 0)
                        OK(fabs((double)g->member[0].busy - .2) < .01, "the first is taken as it is");
                if (i == 55)
                        OK(g->member[0].busy < .35F, "half a second of load is not much: %.2f",
                           (double)g->member[0].busy);
        }
        OK(g->member[0].busy > .65F && g->member[0].busy < .8F, "five seconds are: %.2f",
           (double)g->member[0].busy);
        dog_group_free(g);
}

/* Issue, item 6: with too few members well, health is ignored; a person is told. */
static void panic_spreads_over_all_that_live(void)
{
        struct dog_group *g = spread_of(5);
        int64_t now_ns = T0;
        group_step(g, now_ns);
        g->member[4].is_usable = false;
        group_step(g, now_ns += STEP);
        member_says(g, 0, .9, .9);
        struct dog_plan p = group_step(g, now_ns += STEP);
        OK(p.why == DOG_WHY_AVOID_FORECAST && !p.is_alert, "three of five are well: no panic");
        member_says(g, 1, .9, .9);
        p = group_step(g, now_ns += STEP);
        OK(p.why == DOG_WHY_PANIC && p.is_alert && p.hot == 15, "two of five: %s, %x", dog_reason_name(p.why),
           p.hot);
        OK(p.leave == 0, "and nobody is left");
        p = group_step(g, now_ns += STEP);
        OK(p.act == DOG_ACT_STAY && p.is_alert && p.why == DOG_WHY_PANIC, "so it stays");
        member_says(g, 0, .01, .01);
        member_says(g, 1, .9, .9);
        now_ns += STEP;
        p = group_until(g, &now_ns, 10 * DOG_S);
        OK(p.why == DOG_WHY_AVOID_FORECAST && p.about == 1 && !p.is_alert, "three again: health counts, %s",
           dog_reason_name(p.why));
        dog_group_free(g);
}

static void with_nobody_alive_traffic_stays_with_everybody(void)
{
        struct dog_group *g = spread_of(2);
        int64_t now_ns = T0;
        group_step(g, now_ns);
        g->member[0].is_usable = false;
        struct dog_plan p = group_step(g, now_ns += STEP);
        OK(p.hot == 2 && p.dead == 1, "one left");
        g->member[1].is_usable = false;
        p = group_step(g, now_ns += STEP);
        OK(p.hot == 3 && p.is_alert && p.why == DOG_WHY_PANIC, "none left: all, and an alert (%x, %s)", p.hot,
           dog_reason_name(p.why));
        OK(p.dead == 0 || p.dead == 1, "what the last one carried is not given to the dead: %x", p.dead);
        g->member[0].is_usable = true;
        p = group_step(g, now_ns += STEP);
        OK(p.hot == 1 && p.dead == 2 && p.weight[0] == 255, "the first that is back carries it all: %x",
           p.hot);
        dog_group_free(g);
}

/* The operator's drain: planned, by name, and never of the last. */
static void the_operator_empties_a_member_but_not_the_last(void)
{
        struct dog_group *g = spread_of(2);
        int64_t now_ns = T0;
        group_step(g, now_ns);
        dog_group_drain(g, 0, true);
        struct dog_plan p = group_step(g, now_ns += STEP);
        OK(p.why == DOG_WHY_DRAIN && p.about == 0 && p.hot == 2 && p.leave == 1, "%s %x",
           dog_reason_name(p.why), p.hot);
        OK(p.standby[0] == 0, "nor is it a mirror any more");
        dog_group_drain(g, 1, true);
        p = group_step(g, now_ns += STEP);
        OK(p.act == DOG_ACT_STAY && g->hot == 2 && g->leaving == 1, "the last one is kept");
        dog_group_drain(g, 1, false);
        dog_group_drain(g, 0, false);
        p = group_step(g, now_ns += STEP);
        OK(p.why == DOG_WHY_RECOVERED && p.leave == 0 && p.weight[0] == 32, "back, and slowly: %s %u",
           dog_reason_name(p.why), p.weight[0]);
        dog_group_drain(g, 7, true);
        dog_group_free(g);
}

static void frozen_only_the_dead_and_the_drained_go(void)
{
        struct dog_group *g = spread_of(3);
        int64_t now_ns = T0;
        group_step(g, now_ns);
        dog_group_freeze(g, true);
        member_says(g, 0, 1, 1);
        struct dog_plan p = group_step(g, now_ns += STEP);
        OK(p.act == DOG_ACT_STAY && p.why == DOG_WHY_FROZEN && g->hot == 7, "forecasts do nothing");
        g->member[1].is_usable = false;
        p = group_step(g, now_ns += STEP);
        OK(p.why == DOG_WHY_EJECT && p.hot == 5 && p.dead == 2, "the dead go: %s", dog_reason_name(p.why));
        dog_group_drain(g, 2, true);
        p = group_step(g, now_ns += STEP);
        OK(p.why == DOG_WHY_DRAIN && p.hot == 1 && p.leave == 4, "the drained go: %s",
           dog_reason_name(p.why));
        g->member[0].is_usable = false;
        p = group_step(g, now_ns += STEP);
        OK(p.hot == 4, "but somebody alive carries it: %x", p.hot);
        OK(group_step(g, now_ns += STEP).act == DOG_ACT_STAY, "and there it stays");
        dog_group_free(g);
}

static void backups_serve_when_the_primaries_cannot(void)
{
        struct dog_group *g = spread_of(3);
        int64_t now_ns = T0;
        g->member[2].role = DOG_ROLE_BACKUP;
        struct dog_plan p = group_step(g, now_ns);
        OK(p.hot == 3 && p.standby[2] > 0 && g->member[2].warmth == DOG_WARM, "in calm it is a mirror only");
        member_says(g, 0, .8, .8);
        p = group_step(g, now_ns += STEP);
        OK(p.hot == 2, "half of the primaries do: %x", p.hot);
        g->member[1].is_usable = false;
        p = group_step(g, now_ns += STEP);
        OK((p.hot & 4) && p.weight[2] == 255, "then the backup, at once: %x %u", p.hot, p.weight[2]);
        g->member[1].is_usable = true;
        member_says(g, 0, .01, .01);
        now_ns += STEP;
        for (int i = 0; i < 100; i++, now_ns += STEP)
                p = group_step(g, now_ns);
        OK(g->hot == 3, "and it goes when they are well again: %x", g->hot);
        g->member[0].role = DOG_ROLE_NEVER;
        group_step(g, now_ns);
        OK(g->hot == 2, "what may never carry traffic does not: %x", g->hot);
        dog_group_free(g);
}

/* I12, issue item 6: what must be true of every plan, whatever is believed. */
static void plan_must_keep_the_floors(const struct dog_plan *p, const struct dog_group *g, int i)
{
        unsigned living = 0;
        unsigned well = 0;
        unsigned avoided = 0;
        unsigned allowed = 0;
        uint16_t hot = 0;
        bool is_tiered = false;
        for (unsigned m = 0; m < g->members; m++) {
                const struct dog_member *x = &g->member[m];
                bool is_allowed = x->role != DOG_ROLE_NEVER && !x->is_drained;
                is_tiered |= x->role == DOG_ROLE_BACKUP;
                hot |= (uint16_t)(p->weight[m] ? 1U << m : 0);
                allowed += is_allowed;
                living += is_allowed && x->is_usable;
                well += is_allowed && x->is_usable && x->is_well;
                avoided += is_allowed && x->is_usable && p->weight[m] == 0;
        }
        bool is_any = false;
        for (unsigned m = 0; m < g->members; m++) {
                const struct dog_member *x = &g->member[m];
                is_any |= p->weight[m] && x->is_usable;
                if (!p->weight[m])
                        continue;
                OK(x->role != DOG_ROLE_NEVER, "case %d: none on the forbidden", i);
                OK(!living || x->is_usable, "case %d: none on the dead while one lives", i);
                OK(!living || !x->is_drained, "case %d: none on the drained while another lives", i);
                OK(!(p->leave & (1U << m)), "case %d: nobody is both left and used", i);
        }
        OK(!living || is_any, "case %d: somebody alive has weight", i);
        OK(p->hot == hot, "case %d: hot are those with weight", i);
        OK((p->leave & p->dead) == 0, "case %d: planned and at once exclude each other", i);
        for (unsigned m = 0; m < g->members; m++)
                OK(!p->standby[m] || (g->member[m].is_usable && !(p->leave & (1U << m))),
                   "case %d: no copies on the dead or the left", i);
        if (is_tiered)
                return;
        unsigned most = living / 3 > 1 ? living / 3 : 1;
        OK(living < 2 ? avoided == 0 : avoided <= most, "case %d: %u of %u living are avoided", i, avoided,
           living);
        if (allowed && 2 * well < allowed) {
                OK(avoided == 0, "case %d: %u of %u well: nobody is avoided", i, well, allowed);
                OK(p->is_alert, "case %d: and a person is told", i);
        }
}

static void the_floors_hold_whatever_is_believed(void)
{
        struct dog_rng r;
        dog_rng_init(&r, 17);
        unsigned acts = 0;
        for (int i = 0; i < 2000; i++) {
                struct dog_group *g = spread_of(1 + (unsigned)dog_rng_below(&r, 9));
                int64_t now_ns = T0;
                bool is_tiered = dog_rng_below(&r, 2);
                g->policy.mirror = (enum dog_mirror_mode)dog_rng_below(&r, 4);
                for (unsigned m = 0; m < g->members; m++) {
                        uint64_t role = dog_rng_below(&r, 8);
                        g->member[m].role = role == 0               ? DOG_ROLE_NEVER
                                            : role < 3 && is_tiered ? DOG_ROLE_BACKUP
                                                                    : DOG_ROLE_PRIMARY;
                        g->member[m].fate[0] = (uint16_t)dog_rng_below(&r, 4);
                        g->member[m].base_weight = dog_rng_unit(&r) * 3;
                        g->member[m].price = dog_rng_unit(&r);
                }
                for (int k = 0; k < 12; k++, now_ns += (int64_t)dog_rng_below(&r, 3 * DOG_S)) {
                        for (unsigned m = 0; m < g->members; m++) {
                                struct dog_member *x = &g->member[m];
                                if (dog_rng_below(&r, 3) == 0)
                                        member_says(g, m, dog_rng_unit(&r), dog_rng_unit(&r));
                                if (dog_rng_below(&r, 4) == 0)
                                        x->is_usable = dog_rng_below(&r, 3) > 0;
                                if (dog_rng_below(&r, 9) == 0)
                                        x->is_drained = !x->is_drained;
                                if (dog_rng_below(&r, 20) == 0)
                                        member_says(g, m, (double)NAN, (double)NAN);
                                x->belief.is_bad = dog_rng_below(&r, 3) == 0;
                                x->busy = dog_rng_below(&r, 2) ? (float)dog_rng_unit(&r) : (float)NAN;
                        }
                        dog_spread_watch(g, now_ns);
                        struct dog_group before;
                        memcpy(&before, g, sizeof(before));
                        struct dog_plan a = dog_propose(g, now_ns);
                        struct dog_plan b = dog_propose(g, now_ns);
                        OK(memcmp(&a, &b, sizeof(a)) == 0, "case %d: twice the same plan", i);
                        OK(memcmp(&before, g, sizeof(before)) == 0, "case %d: the group is as it was", i);
                        plan_must_keep_the_floors(&a, g, i);
                        if (a.act != DOG_ACT_STAY)
                                dog_spread_apply(g, &a, now_ns);
                        g->is_alerting = a.is_alert;
                        g->stepped_ns = now_ns;
                        acts += a.act != DOG_ACT_STAY;
                }
                dog_group_free(g);
        }
        OK(acts > 5000, "and something was decided: %u", acts);
}

/* ---- copies of a share ---- */

static void the_protected_share_is_what_was_asked_for(void)
{
        static const struct {
                enum dog_mirror_mode mode;
                unsigned want;
        } row[] = {{DOG_MIRROR_ALWAYS, DOG_SHARE_ONE}, {DOG_MIRROR_NEVER, 0}, {DOG_MIRROR_SHARE, 16384}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_group *g = spread_of(2);
                g->policy.mirror = row[i].mode;
                g->policy.mirror_share = .25;
                OK(group_step(g, T0).share == row[i].want, "mode %d: %u", row[i].mode, g->share);
                g->member[0].fate[0] = g->member[1].fate[3] = 5;
                struct dog_plan p = group_step(g, T0 + STEP);
                OK(p.share == 0, "no mirror without another fate");
                OK(row[i].want == 0 || p.refused == DOG_WHY_COMMON_FATE, "and it says so");
                g->member[1].is_usable = false;
                p = dog_propose(g, T0 + 2 * STEP);
                OK(row[i].want == 0 || p.refused == DOG_WHY_NO_MIRROR,
                   "that there is nobody else is another reason");
                dog_group_free(g);
        }
}

/* The budget holds in the long run, and risky times protect more. */
/* I3 I9: of two, the busy one is still the other's standby: "always" protects. A sick one is not. */
static void the_only_other_stands_by_though_it_is_busy(void)
{
        static const struct {
                unsigned members;
                double cpu, threat;
                bool is_bad, is_fit;
                const char *say;
        } row[] = {{2, 1, .6, false, true, "busy, the only other one: stands by"},
                   {2, .1, .6, false, false, "threatened, and not by load: does not"},
                   {2, 1, .6, true, false, "busy and breaking its promise: does not"},
                   {2, 1, .95, false, false, "busy and about to fail: does not"},
                   {3, 1, .6, false, false, "busy, and there is another one: does not"}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_group *g = spread_of(row[i].members);
                g->policy.mirror = DOG_MIRROR_ALWAYS;
                int64_t now_ns = T0;
                group_step(g, now_ns);
                struct dog_member *m = &g->member[1];
                for (int s = 0; s < 20; s++) {
                        now_ns += STEP;
                        m->outlook.has_sample = true;
                        m->outlook.newest = dog_sample_at(now_ns);
                        m->outlook.newest.value[DOG_SIGNAL_CPU] = row[i].cpu;
                        member_says(g, 1, row[i].threat, row[i].threat);
                        m->belief.is_bad = row[i].is_bad;
                        group_step(g, now_ns);
                }
                OK(m->weight == 0 && g->member[0].weight == 255, "new traffic avoids it: %u", m->weight);
                OK((m->standby > 0) == row[i].is_fit, "%s: %u", row[i].say, m->standby);
                OK((g->share == DOG_SHARE_ONE) == (row[i].is_fit || row[i].members > 2), "%s: share %u",
                   row[i].say, g->share);
                dog_group_free(g);
        }
}

static void the_share_follows_the_risk_within_the_budget(void)
{
        struct dog_group *g = spread_of(3);
        g->policy.mirror = DOG_MIRROR_AUTO;
        g->policy.mirror_budget = .2;
        g->policy.mirror_burst_ns = 20 * DOG_S;
        g->mirror_tokens_ns = 20e9;
        double calm = 0;
        double risky = 0;
        unsigned plans = 0;
        int steps = 36000;
        for (int i = 0; i < steps; i++) {
                bool is_risky = i % 1200 >= 1100; /* ten seconds in two minutes */
                for (unsigned m = 0; m < 3; m++)
                        member_says(g, m, .02, is_risky ? .3 : .02);
                int64_t now_ns = T0 + i * STEP;
                dog_spread_account(g, now_ns);
                plans += group_step(g, now_ns).act != DOG_ACT_STAY;
                *(is_risky ? &risky : &calm) += (double)g->share / DOG_SHARE_ONE;
        }
        double all = (calm + risky) / steps;
        calm /= steps * 11. / 12;
        risky /= steps / 12.;
        printf("# protected: %.3f of calm, %.3f of risky times, %.3f in all; %u decisions an hour\n", calm,
               risky, all, plans);
        OK(all <= .2 + .01, "the budget of a fifth is kept: %.3f", all);
        OK(risky > 4 * calm && risky > .5, "and spent where it does most: %.3f against %.3f", risky, calm);
        OK(plans < 400, "without restlessness: %u", plans);
        double copied = (double)g->tally.copied_ns / (double)g->tally.served_ns;
        OK(fabs(copied - all) < .01, "and it is counted: %.3f", copied);
        dog_group_free(g);
}

static void members_with_a_common_fate_have_a_bit_in_common(void)
{
        struct dog_group *g = spread_of(4);
        g->member[0].fate[0] = 7;
        g->member[1].fate[2] = 7;
        g->member[1].fate[0] = 900;
        g->member[2].fate[1] = 900;
        g->member[3].fate[0] = 33;
        uint32_t bits[DOG_MEMBERS_MAX];
        dog_group_fate_bits(g, bits);
        for (unsigned i = 0; i < 4; i++)
                for (unsigned k = 0; k < i; k++)
                        OK(((bits[i] & bits[k]) != 0) == dog_members_share_fate(&g->member[i], &g->member[k]),
                           "%u and %u: %x %x", i, k, bits[i], bits[k]);
        OK(bits[3] == 0, "a fate of its own needs no bit");
        dog_group_free(g);
        g = spread_of(16);
        for (uint16_t i = 0; i < 16; i++)
                for (uint16_t f = 0; f < 4; f++)
                        g->member[i].fate[f] = (uint16_t)((i * 4 + f) / 2 + 100 * (f & 1 && i & 1));
        dog_group_fate_bits(g, bits);
        for (unsigned i = 0; i < 16; i++)
                for (unsigned k = 0; k < i; k++)
                        OK(((bits[i] & bits[k]) != 0) == dog_members_share_fate(&g->member[i], &g->member[k]),
                           "of sixteen, %u and %u", i, k);
        dog_group_free(g);
}

/* ---- over all groups ---- */

static void only_so_many_leave_at_once_but_the_dead_always(void)
{
        enum { GROUPS = 4 };
        struct dog_group *g[GROUPS];
        struct dog_plan plan[GROUPS];
        uint32_t order[GROUPS];
        for (uint32_t i = 0; i < GROUPS; i++) {
                g[i] = spread_of(3);
                g[i]->number = i;
                group_step(g[i], T0);
                if (i < 3)
                        member_says(g[i], 0, .95, .95);
                else
                        g[i]->member[0].is_usable = false;
                dog_spread_watch(g[i], T0 + STEP);
                plan[i] = dog_propose(g[i], T0 + STEP);
                NEED(plan[i].act == DOG_ACT_LEAVE, "group %u wants to leave", i);
        }
        struct dog_arbiter_input in = {
                .group = g, .groups = GROUPS, .budget = {.moves_per_step = 2, .copies_share = 1}};
        dog_arbitrate(&in, plan, GROUPS, order);
        unsigned leaving = 0;
        for (int i = 0; i < GROUPS; i++) {
                leaving += plan[i].act == DOG_ACT_LEAVE;
                OK(plan[i].hot == 6, "group %d: new traffic goes elsewhere, whatever else: %x", i,
                   plan[i].hot);
                OK(plan[i].act == DOG_ACT_LEAVE || (plan[i].refused == DOG_WHY_MOVES && plan[i].leave == 0 &&
                                                    plan[i].act == DOG_ACT_SPREAD),
                   "group %d: what exists waits: %s", i, dog_reason_name(plan[i].refused));
        }
        OK(leaving == 2 && plan[3].act == DOG_ACT_LEAVE, "two, and the dead among them: %u", leaving);
        for (int i = 0; i < GROUPS; i++)
                dog_group_free(g[i]);
}

static void new_traffic_needs_room_where_it_goes(void)
{
        struct dog_group *g = spread_of(2);
        group_step(g, T0);
        g->demand_kbps = 1000;
        g->member[1].fate[0] = 0;
        member_says(g, 0, .2, .6);
        struct dog_fate fate = {.capacity_kbps = 800};
        struct dog_arbiter_input in = {
                .group = &g, .groups = 1, .fate = &fate, .fates = 1, .budget = {.copies_share = 1}};
        uint32_t order[1];
        dog_spread_watch(g, T0 + STEP);
        struct dog_plan p = dog_propose(g, T0 + STEP);
        NEED(p.hot == 2, "it wants all on member 1");
        dog_arbitrate(&in, &p, 1, order);
        OK(p.refused == DOG_WHY_CAPACITY && p.hot == 3 && p.act == DOG_ACT_STAY, "no room: it stays, %s",
           dog_reason_name(p.refused));
        fate.capacity_kbps = 1100;
        p = dog_propose(g, T0 + STEP);
        dog_arbitrate(&in, &p, 1, order);
        OK(p.hot == 2 && p.refused == DOG_WHY_NONE, "with room it goes");
        fate.capacity_kbps = 800;
        g->member[0].is_usable = false;
        dog_spread_watch(g, T0 + STEP);
        p = dog_propose(g, T0 + STEP);
        dog_arbitrate(&in, &p, 1, order);
        OK(p.hot == 2, "and from the dead it goes, room or not");
        dog_group_free(g);
}

static void copies_of_all_groups_stay_under_their_share(void)
{
        struct dog_group *g[2] = {spread_of(2), spread_of(2)};
        struct dog_plan plan[2];
        uint32_t order[2];
        for (uint32_t i = 0; i < 2; i++) {
                g[i]->number = i;
                g[i]->policy.mirror = DOG_MIRROR_ALWAYS;
                g[i]->promise.priority = (int)i;
                dog_spread_watch(g[i], T0);
                plan[i] = dog_propose(g[i], T0);
        }
        struct dog_arbiter_input in = {.group = g, .groups = 2, .budget = {.copies_share = .75}};
        dog_arbitrate(&in, plan, 2, order);
        OK(plan[1].share == DOG_SHARE_ONE, "who matters more keeps his copies");
        OK(plan[0].share > .49 * DOG_SHARE_ONE && plan[0].share < .51 * DOG_SHARE_ONE,
           "the other gets the rest: %u", plan[0].share);
        OK(plan[0].refused == DOG_WHY_BUDGET && plan[0].hot == 3, "and spreads all the same");
        dog_group_free(g[0]);
        dog_group_free(g[1]);
}

/* ---- whole loops ---- */

struct world {
        struct dog_loop *loop;
        struct dog_group *g;
        unsigned events[DOG_EVENT_COUNT];
        unsigned why[DOG_WHY_COUNT];
        unsigned grade[DOG_GRADE_COUNT];
        uint64_t sum;
};

static void world_event(void *user, const struct dog_event *e)
{
        ((struct world *)user)->events[e->type]++;
}

static void world_told(void *user, const struct dog_ledger_row *row, bool is_graded)
{
        struct world *w = user;
        const unsigned char *byte = (const unsigned char *)&row->plan;
        for (size_t i = 0; i < sizeof(row->plan); i++)
                w->sum = (w->sum ^ byte[i]) * UINT64_C(1099511628211);
        if (is_graded)
                w->grade[row->grade]++;
        else
                w->why[row->plan.why]++;
}

static void world_open(struct world *w, unsigned members, const struct twin_row *row, size_t rows)
{
        memset(w, 0, sizeof(*w));
        w->loop = dog_loop_new(
                &(struct dog_loop_options){.event = world_event, .user = w, .budget = {.copies_share = 1}});
        w->g = twin_group_new("web", members, row, rows);
        if (!w->loop || !w->g)
                abort();
        w->g->policy.spread = true;
        w->g->policy.mirror = DOG_MIRROR_ALWAYS;
        w->g->promise.response_ms = 100;
        w->g->promise.rtt_ms = 50;
        w->g->promise.loss_ratio = .05;
        if (dog_loop_add(w->loop, w->g, 0, NULL) < 0)
                abort();
        dog_ledger_listen(dog_loop_ledger(w->loop), world_told, w);
}

static void world_sample(struct world *w, unsigned member, int64_t at_ns, double response_ms, double cpu)
{
        struct dog_sample s = dog_sample_at(at_ns);
        s.value[DOG_SIGNAL_RTT] = .3;
        s.value[DOG_SIGNAL_LOSS] = 0;
        s.value[DOG_SIGNAL_RESPONSE] = response_ms;
        s.value[DOG_SIGNAL_CPU] = cpu;
        dog_group_sample(w->g, member, &s);
}

/* Decisions of a spread group are graded by the share of the traffic that they kept from a breach. */
static void the_loop_ejects_the_dead_and_says_that_it_helped(void)
{
        struct world w;
        world_open(&w, 3, NULL, 0);
        for (int64_t t = 0; t < 60 * DOG_S; t += STEP) {
                bool is_dead = t > 20 * DOG_S && t < 40 * DOG_S;
                for (unsigned m = 0; m < 3; m++)
                        if (m != 1 || !is_dead)
                                world_sample(&w, m, t, 10, .3);
                dog_loop_step(w.loop, t);
        }
        const struct dog_tally *t = &w.g->tally;
        OK(w.why[DOG_WHY_START] == 1 && w.why[DOG_WHY_EJECT] == 1 && w.why[DOG_WHY_RECOVERED] == 1,
           "start %u, eject %u, recovered %u", w.why[DOG_WHY_START], w.why[DOG_WHY_EJECT],
           w.why[DOG_WHY_RECOVERED]);
        OK(w.events[DOG_EVENT_DEAD] == 1 && w.events[DOG_EVENT_ALIVE] == 1, "told once each");
        OK(t->helped == 1 && t->hurt == 0, "helped %llu, hurt %llu", (unsigned long long)t->helped,
           (unsigned long long)t->hurt);
        const struct dog_ledger_row *row = dog_ledger_find(dog_loop_ledger(w.loop), 2);
        NEED(row && row->plan.why == DOG_WHY_EJECT, "the second decision");
        double without_s = (double)row->bad_without_ns / 1e9;
        OK(without_s > 1.4 && without_s < 1.8, "a third of five seconds would have been bad: %.2f",
           without_s);
        OK(row->bad_with_ns == 0, "none was");
        OK(w.g->hot == 7 && w.g->member[1].weight > 200, "and it is back: %u", w.g->member[1].weight);
        /* One second until it is called dead, of a third of the traffic. */
        OK(t->bad_ns < 500 * DOG_MS, "%.3f s bad", (double)t->bad_ns / 1e9);
        dog_loop_free(w.loop);
}

/*
 * A server whose processor fills now and then, once a minute. `breaks` says whether its response time
 * breaks the promise four seconds after 90 % was passed, as queues grow, until the work is done.
 */
enum { EPISODES = 12 };

struct episodes {
        double lead_s[EPISODES]; /* from weight 0 to the breach; NaN: it was not avoided before */
        double middle_most;      /* in the last episode, before the breach would be */
        double far_most;
        double calm_most; /* between the last two */
};

static void play_episodes(struct world *w, bool breaks, struct episodes *e)
{
        struct dog_rng r;
        dog_rng_init(&r, 11);
        memset(e, 0, sizeof(*e));
        int64_t left_ns = -1;
        for (int64_t t = 0; t < EPISODES * 60 * DOG_S; t += 200 * DOG_MS) {
                int k = (int)(t / (60 * DOG_S));
                double phase = (double)(t % (60 * DOG_S)) / 1e9;
                double cpu = .4;
                if (phase >= 40 && phase < 54)
                        cpu = phase < 45 ? .4 + .1 * (phase - 40) : .9 + .02 * (phase - 45);
                bool is_broken = breaks && phase >= 49 && phase < 54;
                for (unsigned m = 0; m < 3; m++)
                        world_sample(w, m, t, m == 1 && is_broken ? 180 : 12 + 2 * dog_rng_unit(&r),
                                     m == 1 ? fmin(cpu, 1) + .02 * dog_rng_unit(&r) : .4);
                dog_loop_step(w->loop, t);
                const struct dog_member *m = &w->g->member[1];
                double middle = (double)m->belief.p_breach[1];
                if (phase < 40)
                        left_ns = -1;
                else if (m->weight == 0 && left_ns < 0)
                        left_ns = t;
                if (phase >= 49 && phase < 49.2)
                        e->lead_s[k] =
                                left_ns < 0 ? (double)NAN : phase - (double)(left_ns % (60 * DOG_S)) / 1e9;
                if (k == EPISODES - 1 && phase >= 40 && phase < 49) {
                        e->middle_most = fmax(e->middle_most, middle);
                        e->far_most = fmax(e->far_most, (double)m->belief.p_breach[2]);
                }
                if (k == EPISODES - 1 && phase >= 20 && phase < 40)
                        e->calm_most = fmax(e->calm_most, middle);
        }
}

/* I1 I2 I8: what load means is learned from this group's own breaches, and new traffic leaves before them. */
static void load_that_ended_in_a_breach_before_is_left_before_the_next(void)
{
        struct world w;
        struct episodes e;
        world_open(&w, 3, NULL, 0);
        play_episodes(&w, true, &e);
        unsigned early = 0;
        printf("# lead, seconds from no new traffic to the breach, by episode:");
        for (int k = 0; k < EPISODES; k++) {
                printf(" %.1f", e.lead_s[k]);
                early += k >= EPISODES / 2 && e.lead_s[k] >= 1;
        }
        printf("\n# risk before the breach: middle %.2f, far %.2f; calm %.2f\n", e.middle_most, e.far_most,
               e.calm_most);
        OK(!(e.lead_s[0] > .3), "the first one is a surprise: %.1f", e.lead_s[0]);
        OK(early == EPISODES / 2, "of the last half %u of %d are seen at least 1 s ahead", early,
           EPISODES / 2);
        OK(e.calm_most < .25, "and in calm nothing is feared: %.2f", e.calm_most);
        OK(w.g->tally.helped > w.g->tally.hurt, "helped %llu, hurt %llu",
           (unsigned long long)w.g->tally.helped, (unsigned long long)w.g->tally.hurt);
        const struct dog_belief *b = &w.g->member[1].belief;
        OK(b->p_breach[0] <= b->p_breach[1] + .05F && b->health >= 0 && b->health <= 100,
           "a spectrum and a score");
        dog_loop_free(w.loop);

        world_open(&w, 3, NULL, 0);
        play_episodes(&w, false, &e);
        printf("# a server that bears its load: risk at 90 %% and more: middle %.3f, calm %.3f\n",
               e.middle_most, e.calm_most);
        OK(e.middle_most < .2, "busy without a breach is not feared: %.3f", e.middle_most);
        for (int k = 0; k < EPISODES; k++)
                OK(isnan(e.lead_s[k]), "nor left, episode %d", k);
        dog_loop_free(w.loop);
}

/*
 * I1: of processor, memory, delay and loss, each by itself: what went before the breaches of this server is
 * learned, and what never did is not feared. 12 s of calm, 4 s in which one of them is high within its
 * promise, and, where it is an omen, 4 s of late answers.
 */
static void processor_memory_delay_and_loss_are_each_learned_from(void)
{
        static const struct {
                enum dog_signal signal;
                double usual, high;
                const char *say;
        } row[] = {{DOG_SIGNAL_CPU, .3, .95, "processor"},
                   {DOG_SIGNAL_MEMORY, .4, .97, "memory"},
                   {DOG_SIGNAL_RTT, 2, 35, "delay"},
                   {DOG_SIGNAL_LOSS, 0, .04, "loss"}};
        enum { CYCLES = 60, CYCLE = 20, CALM = 12, HIGH = 16 };
        for (size_t i = 0; i < 2 * ARRAY_SIZE(row); i++) {
                size_t k = i / 2;
                bool is_omen = i % 2 == 0;
                double calm = 0, high = 0;
                struct dog_rng r;
                struct world w;
                dog_rng_init(&r, 23);
                world_open(&w, 2, NULL, 0);
                for (int second = 0; second < CYCLES * CYCLE; second++) {
                        int phase = second % CYCLE;
                        bool is_high = phase >= CALM && phase < HIGH;
                        for (unsigned m = 0; m < 2; m++) {
                                struct dog_sample s = dog_sample_at(second * DOG_S);
                                s.value[DOG_SIGNAL_RESPONSE] =
                                        m == 0 && is_omen && phase >= HIGH ? 200 : 10 + dog_rng_unit(&r);
                                for (size_t j = 0; j < ARRAY_SIZE(row); j++)
                                        s.value[row[j].signal] = row[j].usual;
                                if (m == 0 && is_high)
                                        s.value[row[k].signal] = row[k].high;
                                dog_group_sample(w.g, m, &s);
                        }
                        dog_loop_step(w.loop, second * DOG_S);
                        /* A second before it is high the breach is 5 s away. */
                        if (second < CYCLES / 2 * CYCLE || phase >= HIGH || phase < 6 || phase == CALM - 1)
                                continue;
                        *(is_high ? &high : &calm) += (double)w.g->member[0].belief.p_breach[1];
                }
                calm /= CYCLES / 2 * (CALM - 7);
                high /= CYCLES / 2 * (HIGH - CALM);
                if (is_omen)
                        OK(high > .5 && high > 2 * calm, "%s before each breach: %.2f, in calm %.2f",
                           row[k].say, high, calm);
                else
                        OK(high < .2, "%s without a breach: %.2f, in calm %.2f", row[k].say, high, calm);
                printf("# %s%s: risk %.2f, in calm %.2f\n", row[k].say, is_omen ? ", then late answers" : "",
                       high, calm);
                dog_loop_free(w.loop);
        }
}

/* P7: delay, jitter and loss of each member by its own past, and what is expected of each follows it. */
static void each_member_has_a_forecast_of_delay_jitter_and_loss_of_its_own(void)
{
        static const double rtt_ms[] = {10, 40, 20}, wobble_ms[] = {.2, 6, .2}, loss[] = {0, 0, .03};
        struct dog_rng r;
        struct world w;
        dog_rng_init(&r, 29);
        world_open(&w, 3, NULL, 0);
        for (int64_t t = 0; t < 120 * DOG_S; t += 200 * DOG_MS) {
                for (unsigned m = 0; m < 3; m++) {
                        struct dog_sample s = dog_sample_at(t);
                        s.value[DOG_SIGNAL_RTT] = rtt_ms[m] + wobble_ms[m] * dog_rng_unit(&r);
                        s.value[DOG_SIGNAL_LOSS] = loss[m];
                        dog_group_sample(w.g, m, &s);
                }
                dog_loop_step(w.loop, t);
        }
        for (unsigned m = 0; m < 3; m++)
                for (int h = 0; h < DOG_HORIZONS; h++) {
                        const struct dog_belief *b = &w.g->member[m].belief;
                        double jitter_ms = wobble_ms[m] / 3; /* between two even draws */
                        OK(NEAR((double)b->rtt_ms[h].mean, rtt_ms[m] + wobble_ms[m] / 2,
                                .25 * wobble_ms[m] + .1),
                           "member %u: delay %.1f", m, (double)b->rtt_ms[h].mean);
                        OK(NEAR((double)b->jitter_ms[h].mean, jitter_ms, .4 * jitter_ms),
                           "jitter %.2f, made %.2f", (double)b->jitter_ms[h].mean, jitter_ms);
                        OK(NEAR((double)b->loss[h].mean, loss[m], .001), "loss %.3f",
                           (double)b->loss[h].mean);
                        OK(b->rtt_ms[h].spread > 0 && b->jitter_ms[h].spread > 0, "with a doubt");
                }
        dog_loop_free(w.loop);
}

/* I2 I14: health is graded, not up or down, and is made anew at every step. */
static void health_is_a_grade_and_is_made_at_every_step(void)
{
        static const double response_ms[] = {5, 25, 60, 90, 130};
        float before = 101;
        for (size_t i = 0; i < ARRAY_SIZE(response_ms); i++) {
                struct world w;
                world_open(&w, 1, NULL, 0);
                for (int64_t t = STEP; t < 20 * DOG_S; t += STEP) {
                        world_sample(&w, 0, t, response_ms[i], .3);
                        dog_loop_step(w.loop, t);
                        OK(w.g->member[0].belief.made_ns == t, "made at %lld", (long long)t);
                }
                const struct dog_belief *b = &w.g->member[0].belief;
                printf("# response %3.0f of 100 ms: health %.0f, chances %.3f %.3f %.3f\n", response_ms[i],
                       (double)b->health, (double)b->p_breach[0], (double)b->p_breach[1],
                       (double)b->p_breach[2]);
                OK(b->health < before && b->health >= 0, "the slower, the less: %.1f after %.1f",
                   (double)b->health, (double)before);
                before = b->health;
                dog_loop_step(w.loop, 20 * DOG_S);
                dog_loop_step(w.loop, 21 * DOG_S);
                OK(b->made_ns == 21 * DOG_S, "and without news too");
                dog_loop_free(w.loop);
        }
}

/* The kind's side: asked again after a failure, and not waited for. */
static int steer_rc;
static unsigned steers;
static struct dog_plan steered;

static int steer_counted(struct dog_group *g, const struct dog_plan *plan, struct dog_err *e)
{
        (void)g;
        steers++;
        steered = *plan;
        return steer_rc < 0 && steer_rc != -EINPROGRESS ? dog_err_set(e, steer_rc, "the table was not taken")
                                                        : steer_rc;
}

static void a_plan_that_was_not_carried_out_is_made_again(void)
{
        struct dog_kind kind = twin_kind;
        kind.steer = steer_counted;
        kind.observe = NULL;
        kind.close = NULL;
        struct world w = {0};
        w.loop = dog_loop_new(
                &(struct dog_loop_options){.event = world_event, .user = &w, .budget = {.copies_share = 1}});
        w.g = dog_group_new("web", &kind, 2);
        NEED(w.loop && w.g, "a loop and a group");
        w.g->policy.spread = true;
        NEED(dog_loop_add(w.loop, w.g, 0, NULL) == 0, "added");
        steers = 0;
        steer_rc = -EIO;
        for (int64_t t = 0; t < DOG_S; t += STEP) {
                world_sample(&w, 0, t, 10, .3);
                world_sample(&w, 1, t, 10, .3);
                dog_loop_step(w.loop, t);
        }
        OK(steers == 9 && w.events[DOG_EVENT_FAILED] == 9, "asked at every step: %u, told %u times", steers,
           w.events[DOG_EVENT_FAILED]);
        OK(!w.g->is_started && w.g->hot == 0, "and the group is as it was");
        steer_rc = -EINPROGRESS;
        for (int64_t t = DOG_S; t < 8 * DOG_S; t += STEP) {
                world_sample(&w, 0, t, 10, .3);
                if (t < 3 * DOG_S)
                        world_sample(&w, 1, t, 10, .3);
                dog_loop_step(w.loop, t);
        }
        OK(steers == 11, "the start, and one dead member, while the first is still under way: %u", steers);
        OK(steered.dead == 2 && steered.dead_was == 0 && steered.weight[1] == 0 && steered.weight[0] == 255 &&
                   steered.weight_was[1] == 255,
           "what a kind is told: before and after");
        OK(w.g->state != DOG_MOVING, "nobody waits for connections to be carried over");
        uint16_t active = w.g->active;
        dog_loop_reflex(w.loop, w.g, 1, 8 * DOG_S);
        OK(w.g->active == active && w.g->hot == 1, "a spread group has no one member to fall back to");
        dog_loop_free(w.loop);
}

/* A restarted decider goes on with what the data plane does. */
static void what_is_in_force_already_is_gone_on_with(void)
{
        static const uint8_t weight[3] = {255, 0, 130};
        struct world w;
        world_open(&w, 3, NULL, 0);
        w.g->policy.mirror = DOG_MIRROR_NEVER;
        dog_group_resume(w.g, weight, 0, 2);
        for (int64_t t = STEP; t < DOG_S; t += STEP) {
                for (unsigned m = 0; m < 3; m++)
                        world_sample(&w, m, t, 10, .3);
                dog_loop_step(w.loop, t);
                OK(w.g->hot == 5 && w.g->gone == 2, "as it was, at %lld ms: %x %x", (long long)(t / DOG_MS),
                   w.g->hot, w.g->gone);
        }
        OK(w.why[DOG_WHY_START] == 0, "there is no first choice");
        for (int64_t t = DOG_S; t < 20 * DOG_S; t += STEP) {
                for (unsigned m = 0; m < 3; m++)
                        world_sample(&w, m, t, 10, .3);
                dog_loop_step(w.loop, t);
        }
        OK(w.g->hot == 7 && w.g->gone == 0, "and who was dead comes back when he is well: %x", w.g->hot);
        OK(w.why[DOG_WHY_REBALANCE] > 0 && w.g->member[2].weight > 200,
           "and weights follow what is known: %u", w.g->member[2].weight);
        dog_loop_free(w.loop);
}

static void the_same_samples_give_the_same_ledger(void)
{
        uint64_t sum[2];
        for (int k = 0; k < 2; k++) {
                struct world w;
                struct dog_rng r;
                dog_rng_init(&r, 8);
                world_open(&w, 4, NULL, 0);
                for (int64_t t = 0; t < 60 * DOG_S; t += STEP) {
                        for (unsigned m = 0; m < 4; m++)
                                world_sample(&w, m, t, dog_rng_below(&r, 40) ? 20 : 300, dog_rng_unit(&r));
                        dog_loop_step(w.loop, t);
                }
                sum[k] = w.sum;
                OK(w.g->tally.decisions > 3, "%llu decisions", (unsigned long long)w.g->tally.decisions);
                dog_loop_free(w.loop);
        }
        OK(sum[0] == sum[1], "to the byte");
}

int main(void)
{
        return CHECK_RUN(
                TEST(it_starts_with_everybody_in_by_what_is_configured),
                TEST(new_traffic_leaves_first_then_what_exists),
                TEST(the_dead_come_back_slowly_and_start_slowly),
                TEST(a_doubtful_member_neither_goes_nor_comes),
                TEST(a_member_comes_back_when_it_is_as_well_as_those_that_serve),
                TEST(weights_change_only_when_it_matters), TEST(weights_follow_load_and_nearness),
                TEST(what_is_measured_of_load_is_smoothed), TEST(panic_spreads_over_all_that_live),
                TEST(with_nobody_alive_traffic_stays_with_everybody),
                TEST(the_operator_empties_a_member_but_not_the_last),
                TEST(frozen_only_the_dead_and_the_drained_go), TEST(backups_serve_when_the_primaries_cannot),
                TEST(the_floors_hold_whatever_is_believed), TEST(the_only_other_stands_by_though_it_is_busy),
                TEST(the_protected_share_is_what_was_asked_for),
                TEST(the_share_follows_the_risk_within_the_budget),
                TEST(members_with_a_common_fate_have_a_bit_in_common),
                TEST(only_so_many_leave_at_once_but_the_dead_always),
                TEST(new_traffic_needs_room_where_it_goes), TEST(copies_of_all_groups_stay_under_their_share),
                TEST(the_loop_ejects_the_dead_and_says_that_it_helped),
                TEST(load_that_ended_in_a_breach_before_is_left_before_the_next),
                TEST(processor_memory_delay_and_loss_are_each_learned_from),
                TEST(each_member_has_a_forecast_of_delay_jitter_and_loss_of_its_own),
                TEST(health_is_a_grade_and_is_made_at_every_step),
                TEST(a_plan_that_was_not_carried_out_is_made_again),
                TEST(what_is_in_force_already_is_gone_on_with), TEST(the_same_samples_give_the_same_ledger));
}
