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
 * Density of the next value under one run: Student's, from the normal-gamma posterior. The quotient of gamma
 * functions is sqrt(a - 1/4 + 1/(32 a)) to within a thousandth for a >= 1.
 */
static float change_density(const struct dog_changepoint *c, const struct dog_change_run *r, float x)
{
        float weight = change_weight + r->count;
        float mean = (change_weight * c->mean + r->count * r->mean) / weight;
        float shape = change_shape + 0.5F * r->count;
        float apart = r->mean - c->mean;
        float rate = change_shape * c->noise + 0.5F * r->square +
                     0.5F * change_weight * r->count / weight * (r->count > 0 ? apart * apart : 0);
        float variance = rate * (weight + 1) / (shape * weight);
        float z2 = (x - mean) * (x - mean) / variance;
        z2 = z2 < DOG_CHANGE_CLIP * DOG_CHANGE_CLIP ? z2 : DOG_CHANGE_CLIP * DOG_CHANGE_CLIP;
        float top = 0.5F * dog_fast_log((shape - 0.25F + 1 / (32 * shape)) / (shape * variance));
        return dog_fast_exp(top - (shape + 0.5F) * dog_fast_log(1 + z2 / (2 * shape)));
}

/* A spike moves the mean of a run by no more than what one value may count for. */
static void change_run_learn(struct dog_change_run *r, float x, int64_t t_ns, float most)
{
        if (r->count <= 0)
                r->first_ns = t_ns;
        r->count++;
        float d = x - r->mean;
        if (r->count > 1)
                d = d > most ? most : d < -most ? -most : d;
        r->mean += d / r->count;
        r->square += d * d * (1 - 1 / r->count);
}

/* Room for a new run: the least likely one leaves. */
static void change_prune(struct dog_changepoint *c)
{
        int least = 0;
        if (c->runs < DOG_CHANGE_RUNS)
                return;
        for (int i = 1; i < c->runs; i++)
                if (c->run[i].chance < c->run[least].chance)
                        least = i;
        memmove(c->run + least, c->run + least + 1, (size_t)(c->runs - 1 - least) * sizeof(c->run[0]));
        c->runs--;
}

/* The step of Adams and MacKay, algorithm 1. */
static void change_step(struct dog_changepoint *c, float x, int64_t t_ns)
{
        float grown = 0;
        float fresh = 0;
        for (int i = 0; i < c->runs; i++) {
                float joint = c->run[i].chance * change_density(c, &c->run[i], x);
                fresh += joint * change_hazard;
                c->run[i].chance = joint * (1 - change_hazard);
                grown += c->run[i].chance;
                change_run_learn(&c->run[i], x, t_ns, DOG_CHANGE_CLIP * sqrtf(c->noise));
        }
        change_prune(c);
        memmove(c->run + 1, c->run, c->runs * sizeof(c->run[0]));
        c->run[0] = (struct dog_change_run){.chance = fresh, .first_ns = INT64_MIN};
        c->runs++;
        float total = grown + fresh;
        for (int i = 0; i < c->runs; i++)
                c->run[i].chance = total > 1e-30F ? c->run[i].chance / total : 1.0F / (float)c->runs;
}

/* The most likely run; the chance that the level is no older goes to *chance. */
static const struct dog_change_run *change_likely(const struct dog_changepoint *c, float *chance)
{
        int best = 0;
        for (int i = 1; i < c->runs; i++)
                if (c->run[i].chance > c->run[best].chance)
                        best = i;
        *chance = 0;
        for (int i = 0; i <= best; i++)
                *chance += c->run[i].chance;
        return &c->run[best];
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

/* Mean of what lay between the change told before and this one: from the run that began there. */
static float change_level_before(const struct dog_changepoint *c, const struct dog_change_run *now)
{
        for (int i = c->runs - 1; i >= 0; i--) {
                const struct dog_change_run *r = &c->run[i];
                if (r->count <= now->count)
                        break;
                float count = r->count - now->count;
                return (r->mean * r->count - now->mean * now->count) / count;
        }
        return c->told_level;
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
                c->run[0] = (struct dog_change_run){.chance = 1, .first_ns = INT64_MIN};
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
        const struct dog_change_run *now = change_likely(c, &chance);
        float spread = sqrtf(c->noise);
        if (c->count <= CHANGE_WARM || now->first_ns == INT64_MIN || now->count < DOG_CHANGE_PROOF)
                return false;
        if (c->told_ns == INT64_MIN && now->count >= n) {
                c->told_level = now->mean; /* still the first level */
                return false;
        }
        if (now->first_ns <= c->told_ns || chance < change_sure) {
                if (now->first_ns == c->told_ns)
                        c->told_level = now->mean;
                return false;
        }
        float from = change_level_before(c, now);
        float to = change_median(c->recent);
        if (!(fabsf(now->mean - c->told_level) > change_least * spread) ||
            !(fabsf(to - c->told_level) > change_least * spread))
                return false;
        *change = (struct dog_level_change){.at_ns = now->first_ns,
                                            .from_level = c->told_ns == INT64_MIN ? from : c->told_level,
                                            .to_level = to,
                                            .spread = spread,
                                            .chance = chance};
        c->told_ns = now->first_ns;
        c->told_level = to;
        return true;
}

float dog_changepoint_chance(const struct dog_changepoint *c, int values)
{
        float sum = 0;
        if (c->count <= (uint32_t)(values > 0 ? values : 0))
                return 0;
        for (int i = 0; i < c->runs && c->run[i].count < (float)values; i++)
                sum += c->run[i].chance;
        return sum < 1 ? sum : 1;
}

/* ---- CUSUM --------------------------------------------------------------------------------- */

/* Allowance and limit in deviations: about one false signal in 10,000 values of normal noise. */
static const float cusum_allowance = 0.5F;
static const float cusum_limit = 9.0F;
static const float cusum_clip = 4.0F;
enum { CUSUM_WARM = 20 };

void dog_cusum_init(struct dog_cusum *c)
{
        memset(c, 0, sizeof(*c));
}

int dog_cusum_learn(struct dog_cusum *c, double value)
{
        float x = (float)value;
        if (!isfinite(value) || fabs(value) > 1e15)
                return 0;
        c->count += c->count < UINT32_MAX;
        float n = (float)c->count;
        float gain = n < 200 ? 1 / n : 0.005F;
        float d = x - c->mean;
        /* The mean absolute distance of normal noise is 0.8 deviations. */
        float deviation = 1.2533F * c->spread + 1e-6F * fabsf(c->mean) + 1e-12F;
        float z = d / deviation;
        z = z > cusum_clip ? cusum_clip : z < -cusum_clip ? -cusum_clip : z;
        bool is_warm = c->count > CUSUM_WARM;
        c->mean += is_warm ? gain * z * deviation : gain * d;
        float away = is_warm ? fabsf(z) * deviation : fabsf(d);
        c->spread += c->count > 1 ? (n < 200 ? 1 / (n - 1) : gain) * (away - c->spread) : 0;
        if (!is_warm)
                return 0;
        c->up = c->up + z - cusum_allowance > 0 ? c->up + z - cusum_allowance : 0;
        c->down = c->down - z - cusum_allowance > 0 ? c->down - z - cusum_allowance : 0;
        int way = c->up > cusum_limit ? 1 : c->down > cusum_limit ? -1 : 0;
        if (way) {
                dog_cusum_init(c);
                c->count = 1;
                c->mean = x;
        }
        return way;
}
