/* The kind: what a plan of a spread group is to the front, and what only a front knows of an instance. */
#include "kinds/instance/service_inside.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>

/* How long a hang or a reset that the data plane saw speaks against an instance. */
#define SEEN_NS (2 * DOG_S)
/* More likely than not its promise is being broken: what a connection that hung, or was reset alone, says. */
#define SEEN_SAYS 0.6F
/* A gateway's word counts for so long; below so much health it is a warning. */
#define TOLD_NS    (5 * DOG_S)
#define TOLD_LEAST 50.0

/* ---- steer ---- */

static int kind_table(struct address *a, const struct dog_plan *plan, struct dog_err *e)
{
        struct instance_share share[INSTANCE_SEATS_MAX];
        uint32_t fate[DOG_MEMBERS_MAX] = {0};
        dog_group_fate_bits(a->group, fate);
        unsigned n = 0;
        for (unsigned k = 0; k < a->plan.seats; k++) {
                if (!a->seat[k].is_set || (plan->weight[k] == 0 && plan->standby[k] == 0))
                        continue;
                share[n++] = (struct instance_share){.server = a->seat[k].number,
                                                     .weight = (double)plan->weight[k] / DOG_WEIGHT_ONE,
                                                     .standby = (double)plan->standby[k] / DOG_WEIGHT_ONE,
                                                     .fate = fate[k]};
        }
        return instance_front_table_set(a->service->front, a->number, share, n, e);
}

/*
 * The order matters. The table first, so that nothing new goes to what is left; then the dead, whose
 * connections wait; then those that leave in their own time; last what is well again.
 */
static int kind_steer(struct dog_group *g, const struct dog_plan *plan, struct dog_err *e)
{
        struct address *a = g->priv;
        struct instance_service *s = a->service;
        int64_t now_ns = plan->at_ns;
        int rc = kind_table(a, plan, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "vip %s", g->name);
        double share = (double)plan->share / DOG_SHARE_ONE;
        if (a->plan.set.protect == INSTANCE_PROTECT_SHARE && share != a->share)
                instance_front_share_set(s->front, a->number, a->share = share);
        for (unsigned k = 0; k < a->plan.seats; k++) {
                struct seat *seat = &a->seat[k];
                uint16_t bit = (uint16_t)(1U << k);
                bool is_out = (plan->dead | plan->leave) & bit;
                bool was_out = ((plan->dead_was | plan->leave_was) & bit) || seat->is_dead;
                if (!seat->is_set)
                        continue;
                if (plan->dead & ~plan->dead_was & bit)
                        instance_front_dead(s->front, seat->number, now_ns);
                else if (plan->leave & ~plan->leave_was & bit)
                        instance_front_leave(s->front, seat->number, s->settings.patience_ns, now_ns);
                else if (!is_out && was_out && s->machine[a->plan.seat[k].machine].is_answering)
                        instance_front_back(s->front, seat->number);
                if (plan->dead & bit || (!is_out && s->machine[a->plan.seat[k].machine].is_answering))
                        seat->is_dead = plan->dead & bit;
                /*
                 * New connections get their standby from the table, which leaves out whoever is not well. A
                 * copy that exists is given up when the operator wants the server empty, or for what it does:
                 * it dies, lags, or differs. One on a server that only looks ill still protects; without it
                 * the connection ends with its own server for certain.
                 */
                if (a->plan.set.protect != INSTANCE_PROTECT_NEVER)
                        instance_front_unfit(s->front, seat->number,
                                             plan->standby[k] == 0 && g->member[k].is_drained);
        }
        if (s->settings.hurry)
                s->settings.hurry(s->settings.user); /* the front wakes what waits at its next timer */
        return 0;
}

/* ---- forecast ---- */

/** What a front knows besides the model. X(code, words) */
#define INSTANCE_HINTS(X)                                                                                    \
        X(NONE, "")                                                                                          \
        X(HANGS, "clients wait on it while their standbys have the answer")                                  \
        X(RESETS, "it ends connections that their standbys go on with")                                      \
        X(STRAINED, "its host runs short of something")                                                      \
        X(DOUBTED, "its agent says what is not so")                                                          \
        X(TOLD, "the gateway says that it is ill")

enum instance_hint {
#define X(code, words) INSTANCE_HINT_##code,
        INSTANCE_HINTS(X)
#undef X
                INSTANCE_HINT_COUNT
};

static const char *const instance_hint_words[] = {
#define X(code, words) words,
        INSTANCE_HINTS(X)
#undef X
};

/*
 * What the front knows before a probe does: its connections hung or were reset while their standbys went on.
 * And what others say, which may add caution and never takes any away: an agent's vitals, an agent that
 * contradicts what we see, a gateway that has other eyes than a client's host.
 */
static void kind_forecast(struct dog_group *g, int64_t now_ns)
{
        struct address *a = g->priv;
        for (unsigned k = 0; k < g->members; k++) {
                const struct machine *m = &a->service->machine[a->plan.seat[k].machine];
                struct dog_belief *b = &g->member[k].belief;
                const struct seat *seat = &a->seat[k];
                if (seat->hang_ns && now_ns - seat->hang_ns < SEEN_NS)
                        dog_belief_raise(b, SEEN_SAYS, INSTANCE_HINT_HANGS);
                if (seat->reset_ns && now_ns - seat->reset_ns < SEEN_NS)
                        dog_belief_raise(b, SEEN_SAYS, INSTANCE_HINT_RESETS);
                if (m->vitals_ns && now_ns - m->vitals_ns < 3 * m->vitals_period_ns)
                        dog_belief_raise(b, (float)dog_agent_caution(&m->vitals, (double)b->p_breach[0]),
                                     INSTANCE_HINT_STRAINED);
                if (m->is_doubted)
                        dog_belief_raise(b, fminf(0.9F, b->p_breach[0] + 0.2F), INSTANCE_HINT_DOUBTED);
                if (m->told_ns && now_ns - m->told_ns < TOLD_NS && m->told_health < TOLD_LEAST)
                        dog_belief_raise(b, (float)(1 - m->told_health / 100), INSTANCE_HINT_TOLD);
        }
        if (a->service->settings.caution) {
                struct dog_caution c[DOG_MEMBERS_MAX] = {0};
                a->service->settings.caution(a->service->settings.user, g, now_ns, c);
                dog_caution_apply(g, c);
        }
}

const struct dog_kind instance_kind = {
        .name = "instance",
        .summary = "a virtual address in front of several servers",
        .grain = DOG_GRAIN_CONNECTION,
        .levels = 1U << DOG_COLD | 1U << DOG_READY | 1U << DOG_HOT,
        .period_ns = 50 * DOG_MS,
        .hint = instance_hint_words,
        .hints = INSTANCE_HINT_COUNT,
        .down = "it does not answer, takes no connections, or has no carrier",
        .forecast = kind_forecast,
        .steer = kind_steer,
};
