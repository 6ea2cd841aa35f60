#include "learn/tradeoff.h"

#include "base/array.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct dog_tradeoff dog_tradeoff_begin(void)
{
        return (struct dog_tradeoff){.hysteresis = 0.02, .delay_ms = 200};
}

/* ---- one curve ---- */

static int choice_compare(const void *a, const void *b)
{
        double x = ((const struct dog_choice *)a)->score;
        double y = ((const struct dog_choice *)b)->score;
        return (x < y) - (x > y);
}

int dog_curve_make(struct dog_curve *c, struct dog_choice *choice, size_t count, struct dog_err *e)
{
        double removable = 0;
        double removed = 0;
        *c = (struct dog_curve){0};
        c->overhead = malloc((count + 1) * sizeof(double));
        c->removed = malloc((count + 1) * sizeof(double));
        if (!c->overhead || !c->removed) {
                dog_curve_free(c);
                return dog_err_set(e, -ENOMEM, "a curve of %zu steps: out of memory", count);
        }
        qsort(choice, count, sizeof(*choice), choice_compare);
        for (size_t i = 0; i < count; i++)
                removable += choice[i].is_removable;
        c->overhead[c->points] = 0;
        c->removed[c->points++] = 0;
        for (size_t i = 0; i < count; i++) {
                removed += choice[i].is_removable;
                if (i + 1 < count && !(choice[i + 1].score < choice[i].score))
                        continue;
                c->overhead[c->points] = (double)(i + 1) / (double)count;
                c->removed[c->points++] = removable > 0 ? removed / removable : 0;
        }
        return 0;
}

void dog_curve_free(struct dog_curve *c)
{
        free(c->overhead);
        free(c->removed);
        *c = (struct dog_curve){0};
}

/* y where x is, along a line of points of rising x. */
static double curve_between(const double *xs, const double *ys, size_t k, double x)
{
        double width = xs[k] - xs[k - 1];
        return width > 0 ? ys[k - 1] + (ys[k] - ys[k - 1]) * (x - xs[k - 1]) / width : ys[k];
}

/* The first point that reaches x; `points` when none does. */
static size_t curve_find(const double *xs, size_t points, double x)
{
        size_t low = 0;
        size_t high = points;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (xs[middle] < x)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

double dog_curve_removed(const struct dog_curve *c, double overhead)
{
        if (c->points == 0)
                return (double)NAN;
        size_t k = curve_find(c->overhead, c->points, overhead);
        if (k == c->points)
                return c->removed[c->points - 1];
        return k == 0 ? c->removed[0] : curve_between(c->overhead, c->removed, k, overhead);
}

double dog_curve_overhead(const struct dog_curve *c, double removed)
{
        /* A hair less than asked: sums of shares do not end at exactly 1. */
        size_t k = curve_find(c->removed, c->points, removed - 1e-12);
        if (k == c->points)
                return 1;
        return k == 0 ? c->overhead[0] : curve_between(c->removed, c->overhead, k, removed);
}

double dog_curve_area(const struct dog_curve *c)
{
        double area = 0;
        for (size_t k = 1; k < c->points; k++)
                area += (c->overhead[k] - c->overhead[k - 1]) * (1 - (c->removed[k] + c->removed[k - 1]) / 2);
        return c->points > 1 ? area : (double)NAN;
}

/* ---- playing ---- */

static int policy_step(struct dog_policy_sum *s, double score, bool is_bad, bool is_copy_bad)
{
        if (s->choices == s->room) {
                size_t room = s->room ? 2 * s->room : 4096;
                struct dog_choice *more = realloc(s->choice, room * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                s->choice = more;
                s->room = room;
        }
        s->choice[s->choices++] = (struct dog_choice){.score = score, .is_removable = is_bad && !is_copy_bad};
        s->steps++;
        s->bad += is_bad;
        s->bad_both += is_bad && is_copy_bad;
        return 0;
}

/* What a recording looks like to a decision that is `late` steps old. */
struct play {
        const struct dog_alternatives *a;
        size_t late;
};

static double play_said(const struct play *p, const double *said, int i, size_t k)
{
        return k < p->late ? (double)NAN : said[(size_t)i * p->a->steps + k - p->late];
}

static bool play_is_usable(const struct play *p, int i, size_t k)
{
        return p->a->is_seen[(size_t)i * p->a->steps + k] && !isnan(play_said(p, p->a->p, i, k));
}

static bool play_is_bad(const struct play *p, int i, size_t k)
{
        return p->a->is_bad[(size_t)i * p->a->steps + k];
}

/* A pair needs ten common steps: less says nothing and is a property of how the recording was cut. */
static int play_pair(struct dog_tradeoff *t, const struct play *p, int one, int two)
{
        const double *said = p->a->p_copy ? p->a->p_copy : p->a->p;
        size_t common = 0;
        for (size_t k = 0; k < p->a->steps; k++)
                common += play_is_usable(p, one, k) && play_is_usable(p, two, k);
        for (size_t k = 0; common >= 10 && k < p->a->steps; k++) {
                if (!play_is_usable(p, one, k) || !play_is_usable(p, two, k))
                        continue;
                double score = play_said(p, said, one, k) * (1 - play_said(p, said, two, k));
                bool is_bad = play_is_bad(p, one, k);
                bool is_copy_bad = play_is_bad(p, two, k);
                if (policy_step(&t->pairs, score, is_bad, is_copy_bad) < 0)
                        return -ENOMEM;
                if (!p->a->joint)
                        continue;
                double joint = play_said(p, p->a->joint, one * p->a->count + two, k);
                if (policy_step(&t->joint, isnan(joint) ? score : joint, is_bad, is_copy_bad) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* The two of least p at step k, the earlier of equals first; how many were usable. */
static int play_best(const struct play *p, size_t k, int *best, int *second)
{
        int usable = 0;
        *best = *second = -1;
        for (int i = 0; i < p->a->count; i++) {
                if (!play_is_usable(p, i, k))
                        continue;
                double said = play_said(p, p->a->p, i, k);
                usable++;
                if (*best < 0 || said < play_said(p, p->a->p, *best, k)) {
                        *second = *best;
                        *best = i;
                } else if (*second < 0 || said < play_said(p, p->a->p, *second, k)) {
                        *second = i;
                }
        }
        return usable;
}

static int play_steer(struct dog_tradeoff *t, const struct play *p)
{
        int now = -1;
        for (size_t k = 0; k < p->a->steps; k++) {
                int best;
                int second;
                int bad = 0;
                int usable = play_best(p, k, &best, &second);
                if (usable < 2)
                        continue;
                double least = play_said(p, p->a->p, best, k);
                if (now < 0 || !play_is_usable(p, now, k) ||
                    play_said(p, p->a->p, now, k) > least + t->hysteresis) {
                        t->switches += now >= 0 && now != best;
                        now = best;
                }
                int copy = best != now ? best : second;
                for (int i = 0; i < p->a->count; i++)
                        bad += play_is_usable(p, i, k) && play_is_bad(p, i, k);
                t->all_bad += bad == usable;
                t->any_bad += (double)bad / usable;
                t->switch_hours += (double)p->a->step_ms / 3.6e6;
                if (policy_step(&t->steer, play_said(p, p->a->p, now, k), play_is_bad(p, now, k),
                                play_is_bad(p, copy, k)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

int dog_tradeoff_add(struct dog_tradeoff *t, const struct dog_alternatives *a, struct dog_err *e)
{
        if (a->count < 2)
                return 0;
        int64_t late = (t->delay_ms + a->step_ms - 1) / a->step_ms;
        struct play play = {.a = a, .late = late > 1 ? (size_t)late : 1};
        int rc = play_steer(t, &play);
        for (int one = 0; one < a->count; one++)
                for (int two = 0; two < a->count && rc == 0; two++)
                        if (one != two)
                                rc = play_pair(t, &play, one, two);
        t->recordings++;
        return rc < 0 ? dog_err_set(e, rc, "playing %zu steps: out of memory", a->steps) : 0;
}

int dog_tradeoff_end(struct dog_tradeoff *t, struct dog_err *e)
{
        struct dog_policy_sum *policy[] = {&t->pairs, &t->joint, &t->steer};
        int rc = 0;
        for (size_t i = 0; i < ARRAY_SIZE(policy) && rc == 0; i++)
                rc = dog_curve_make(&policy[i]->curve, policy[i]->choice, policy[i]->choices, e);
        return rc;
}

static void policy_free(struct dog_policy_sum *p)
{
        free(p->choice);
        dog_curve_free(&p->curve);
        *p = (struct dog_policy_sum){0};
}

void dog_tradeoff_free(struct dog_tradeoff *t)
{
        policy_free(&t->pairs);
        policy_free(&t->joint);
        policy_free(&t->steer);
}

double dog_policy_left(const struct dog_policy_sum *p, double overhead)
{
        if (!(p->steps > 0))
                return (double)NAN;
        double left = 1 - dog_curve_removed(&p->curve, overhead);
        return (p->bad_both + (p->bad - p->bad_both) * left) / p->steps;
}
