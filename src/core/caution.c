#include "core/caution.h"

#include <math.h>
#include <string.h>

/* Who is announced to fail has at least this chance to: no model is sure enough to outvote an announcement.
 */
#define CAUTION_BASE 1e-3
/* Below what it is kept under by so much. */
#define CAUTION_UNDER 0.95F

float dog_caution_raise(float p, float log_odds)
{
        if (!(log_odds > 0) || !(p < 1))
                return p; /* also NaN: what is not known does not become known */
        double from = fmin(fmax((double)p, CAUTION_BASE), 1 - 1e-9);
        double by = fmin((double)log_odds, (double)DOG_CAUTION_MOST);
        float raised = (float)(1 / (1 + exp(-(log(from / (1 - from)) + by))));
        return fmaxf(p, raised);
}

/* At most `most`, and not below what it was. */
static float caution_under(float raised, float most, float was)
{
        return was == was ? fmaxf(was, fminf(raised, most)) : was;
}

/* A spread group looks at the greater of the near and the middle chance. */
static float belief_threat(const struct dog_belief *b)
{
        return fmaxf(b->p_breach[0], b->p_breach[1]);
}

static bool member_serves(const struct dog_member *m)
{
        return m->is_usable && m->role != DOG_ROLE_NEVER && !m->is_drained;
}

/* How many of a spread group's members announcements may take out of service, beside what is ill already. */
static unsigned spread_room(const struct dog_group *g)
{
        unsigned living = 0, well = 0;
        for (unsigned i = 0; i < g->members; i++) {
                bool serves = member_serves(&g->member[i]);
                living += serves;
                well += serves && belief_threat(&g->member[i].belief) < g->policy.avoid_risk;
        }
        unsigned least = (unsigned)ceil(g->policy.panic_share * living - 1e-9);
        least = least < 1 ? 1 : least;
        return well > least ? well - least : 0;
}

void dog_caution_apply(struct dog_group *g, const struct dog_caution c[])
{
        float broken[DOG_HORIZONS] = {INFINITY, INFINITY, INFINITY};
        float broken_next = INFINITY;
        uint16_t waiting = 0;
        for (unsigned i = 0; i < g->members; i++) {
                const struct dog_belief *b = &g->member[i].belief;
                if (c[i].log_odds[0] > 0 || c[i].log_odds[1] > 0 || c[i].log_odds[2] > 0)
                        waiting |= (uint16_t)(1U << i);
                if (!b->is_bad || !g->member[i].is_usable)
                        continue;
                for (int h = 0; h < DOG_HORIZONS; h++)
                        broken[h] = fminf(broken[h], b->p_breach[h]);
                broken_next = fminf(broken_next, b->p_next);
        }
        unsigned room = g->policy.spread && waiting ? spread_room(g) : 0;
        /* The strongest first: where not all can be heeded, those are. */
        while (waiting) {
                unsigned i = 0;
                for (unsigned k = 0; k < g->members; k++)
                        if ((waiting >> k & 1) &&
                            (!(waiting >> i & 1) || c[k].log_odds[0] > c[i].log_odds[0]))
                                i = k;
                waiting &= (uint16_t) ~(1U << i);
                struct dog_belief *b = &g->member[i].belief;
                struct dog_belief to = *b;
                float avoid = (float)g->policy.avoid_risk;
                for (int h = 0; h < DOG_HORIZONS; h++) {
                        to.p_breach[h] = dog_caution_raise(b->p_breach[h], c[i].log_odds[h]);
                        if (!b->is_bad)
                                to.p_breach[h] = caution_under(to.p_breach[h], CAUTION_UNDER * broken[h],
                                                               b->p_breach[h]);
                }
                to.p_next = dog_caution_raise(b->p_next, c[i].log_odds[0]);
                if (!b->is_bad && !isnan(b->p_next))
                        to.p_next = caution_under(to.p_next, CAUTION_UNDER * broken_next, b->p_next);
                if (g->policy.spread && member_serves(&g->member[i]) && belief_threat(b) < avoid &&
                    belief_threat(&to) >= avoid) {
                        if (room)
                                room--;
                        else
                                for (int h = 0; h < DOG_HORIZONS; h++)
                                        to.p_breach[h] = caution_under(to.p_breach[h], CAUTION_UNDER * avoid,
                                                                       b->p_breach[h]);
                }
                to.caution = c[i].log_odds[0];
                memcpy(to.announced, c[i].words, sizeof(to.announced));
                to.announced[sizeof(to.announced) - 1] = 0;
                *b = to;
        }
}
