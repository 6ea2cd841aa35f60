#include "models/changepoint.h"

#include "models/fastmath.h"

#include <math.h>
#include <string.h>

/* A level lasts this many values, on average; what is believed of one before it is seen. */
static const float change_hazard = 1.0F / 250;
static const float change_weight = 0.02F; /* of the prior mean, in values: a new level is 7 spreads off */
static const float change_shape = 3.0F;   /* of the prior of the variance */
static const float change_sure = 0.95F;
/* A level that moved by less than this many spreads is the same to people. */
static const float change_least = 2.0F;
enum { CHANGE_WARM = 8 };

void dog_changepoint_init(struct dog_changepoint *c)
{
        memset(c, 0, sizeof(*c));
        c->last_ns = INT64_MIN;
        c->told_ns = INT64_MIN;
}

/*
 * Densities of the next value under each run: Student's, from the normal-gamma posterior. The quotient of
 * gamma functions is sqrt(a - 1/4 + 1/(32 a)) to within a thousandth for a >= 1.
 */
static void change_densities(const struct dog_changepoint *c, float x, float density[DOG_CHANGE_RUNS])
{
        const struct dog_change_runs *r = &c->run;
        for (int i = 0; i < DOG_CHANGE_RUNS; i++) {
                float weight = change_weight + r->count[i];
                float mean = (change_weight * c->mean + r->count[i] * r->mean[i]) / weight;
                float shape = change_shape + 0.5F * r->count[i];
                float apart = r->mean[i] - c->mean;
                float rate = change_shape * c->noise + 0.5F * r->square[i] +
                             0.5F * change_weight * r->count[i] / weight * apart * apart;
                float variance = rate * (weight + 1) / (shape * weight);
                float z2 = (x - mean) * (x - mean) / variance;
                z2 = z2 < DOG_CHANGE_CLIP * DOG_CHANGE_CLIP ? z2 : DOG_CHANGE_CLIP * DOG_CHANGE_CLIP;
                float top = 0.5F * dog_fast_log((shape - 0.25F + 1 / (32 * shape)) / (shape * variance));
                density[i] = dog_fast_exp(top - (shape + 0.5F) * dog_fast_log(1 + z2 / (2 * shape)));
        }
}

/* A spike moves the mean of a run by no more than what one value may count for. */
static void change_runs_learn(struct dog_change_runs *r, float x, float most)
{
        for (int i = 0; i < DOG_CHANGE_RUNS; i++) {
                float d = x - r->mean[i];
                float cut = d > most ? most : d < -most ? -most : d;
                d = r->count[i] > 0 ? cut : d;
                r->count[i] += 1;
                r->mean[i] += d / r->count[i];
                r->square[i] += d * d * (1 - 1 / r->count[i]);
        }
}

/* A new run stands first; without room the least likely one leaves. Those behind move by one. */
static void change_begin(struct dog_changepoint *c, float chance)
{
        struct dog_change_runs *r = &c->run;
        int gone = c->runs;
        if (gone == DOG_CHANGE_RUNS) {
                gone = 0;
                for (int i = 1; i < DOG_CHANGE_RUNS; i++)
                        gone = r->chance[i] < r->chance[gone] ? i : gone;
        } else {
                c->runs++;
        }
        size_t behind = (size_t)gone;
        memmove(r->chance + 1, r->chance, behind * sizeof(r->chance[0]));
        memmove(r->count + 1, r->count, behind * sizeof(r->count[0]));
        memmove(r->mean + 1, r->mean, behind * sizeof(r->mean[0]));
        memmove(r->square + 1, r->square, behind * sizeof(r->square[0]));
        memmove(r->first_ns + 1, r->first_ns, behind * sizeof(r->first_ns[0]));
        r->chance[0] = chance;
        r->count[0] = r->mean[0] = r->square[0] = 0;
        r->first_ns[0] = INT64_MIN;
}

/* The step of Adams and MacKay, algorithm 1. */
static void change_step(struct dog_changepoint *c, float x, int64_t t_ns)
{
        struct dog_change_runs *r = &c->run;
        float density[DOG_CHANGE_RUNS];
        float all = 0, total = 0;
        change_densities(c, x, density);
        for (int i = 0; i < DOG_CHANGE_RUNS; i++) {
                float joint = r->chance[i] * density[i];
                all += joint;
                r->chance[i] = joint * (1 - change_hazard);
        }
        for (int i = 0; i < c->runs; i++)
                if (r->count[i] <= 0)
                        r->first_ns[i] = t_ns;
        change_runs_learn(r, x, DOG_CHANGE_CLIP * sqrtf(c->noise));
        change_begin(c, all * change_hazard);
        for (int i = 0; i < c->runs; i++)
                total += r->chance[i];
        for (int i = 0; i < c->runs; i++)
                r->chance[i] = total > 1e-30F ? r->chance[i] / total : 1.0F / (float)c->runs;
}

/* The most likely run; the chance that the level is no older goes to *chance. */
static int change_likely(const struct dog_changepoint *c, float *chance)
{
        int best = 0;
        for (int i = 1; i < c->runs; i++)
                if (c->run.chance[i] > c->run.chance[best])
                        best = i;
        *chance = 0;
        for (int i = 0; i <= best; i++)
                *chance += c->run.chance[i];
        return best;
}

/* A spike may begin a run and shift its mean; the middle of the newest values it cannot shift. */
static float change_median(const float recent[DOG_CHANGE_PROOF])
{
        float sorted[DOG_CHANGE_PROOF];
        for (int i = 0; i < DOG_CHANGE_PROOF; i++) {
                int at = i;
                for (; at > 0 && sorted[at - 1] > recent[i]; at--)
                        sorted[at] = sorted[at - 1];
                sorted[at] = recent[i];
        }
        return 0.5F * (sorted[(DOG_CHANGE_PROOF - 1) / 2] + sorted[DOG_CHANGE_PROOF / 2]);
}

bool dog_changepoint_learn(struct dog_changepoint *c, double value, int64_t t_ns,
                           struct dog_level_change *change)
{
        float x = (float)value;
        if (!isfinite(value) || fabs(value) > 1e15 || (c->last_ns != INT64_MIN && t_ns <= c->last_ns))
                return false;
        c->last_ns = t_ns;
        c->count += c->count < UINT32_MAX;
        float n = (float)c->count;
        if (c->count == 1) {
                c->mean = c->told_level = x;
                c->run.chance[0] = 1;
                c->run.first_ns[0] = INT64_MIN;
                c->runs = 1;
        }
        /* Half the mean square of the changes is the variance about any level; wild changes are cut. */
        float d = c->count > 1 ? x - c->recent[(c->count - 2) % DOG_CHANGE_PROOF] : 0;
        float half = 0.5F * d * d;
        float most = 16 * c->noise;
        half = c->count > CHANGE_WARM && half > most ? most : half;
        if (c->count > 1)
                c->noise += (half - c->noise) * (n < 100 ? 1 / (n - 1) : 0.01F);
        c->recent[(c->count - 1) % DOG_CHANGE_PROOF] = x;
        c->mean += (x - c->mean) * (n < 500 ? 1 / n : 0.002F);
        /* A series without noise still has a size below which nothing matters. */
        float floor = 1e-6F * x * x + 1e-12F;
        c->noise = c->noise > floor ? c->noise : floor;
        change_step(c, x, t_ns);
        float chance;
        int now = change_likely(c, &chance);
        float spread = sqrtf(c->noise), mean = c->run.mean[now];
        int64_t first_ns = c->run.first_ns[now];
        if (c->count <= CHANGE_WARM || first_ns == INT64_MIN || c->run.count[now] < DOG_CHANGE_PROOF)
                return false;
        if (c->told_ns == INT64_MIN && c->run.count[now] >= n) {
                c->told_level = mean; /* still the first level */
                return false;
        }
        if (first_ns <= c->told_ns || chance < change_sure) {
                if (first_ns == c->told_ns)
                        c->told_level = mean;
                return false;
        }
        float to = change_median(c->recent);
        if (!(fabsf(mean - c->told_level) > change_least * spread) ||
            !(fabsf(to - c->told_level) > change_least * spread))
                return false;
        *change = (struct dog_level_change){.at_ns = first_ns,
                                            .from_level = c->told_level,
                                            .to_level = to,
                                            .spread = spread,
                                            .chance = chance};
        c->told_ns = first_ns;
        c->told_level = to;
        return true;
}
