#include "models/series_models.h"

#include "models/fastmath.h"

#include <math.h>
#include <string.h>

/* ---- last value ---------------------------------------------------------------------------- */

void dog_series_last_init(void *state, const struct dog_series_config *c)
{
        struct dog_series_last *m = state;
        (void)c;
        m->value = 0;
}

void dog_series_last_update(void *state, const struct dog_series_config *c,
                            const struct dog_series_tick *tick)
{
        struct dog_series_last *m = state;
        (void)c;
        m->value = tick->value;
}

void dog_series_last_forecast(const void *state, const struct dog_series_config *c,
                              const struct dog_series_tick *tick, const float ahead_s[], float mean[])
{
        const struct dog_series_last *m = state;
        (void)c;
        (void)tick;
        (void)ahead_s;
        for (int i = 0; i < DOG_SERIES_HORIZONS; i++)
                mean[i] = m->value;
}

/* ---- EWMA ---------------------------------------------------------------------------------- */

void dog_series_ewma_init(void *state, const struct dog_series_config *c)
{
        struct dog_series_ewma *m = state;
        (void)c;
        m->mean = 0;
        m->weight = 0;
}

void dog_series_ewma_update(void *state, const struct dog_series_config *c,
                            const struct dog_series_tick *tick)
{
        struct dog_series_ewma *m = state;
        m->weight = m->weight * dog_fast_exp2(-tick->dt_s / c->ewma_half_life_s) + 1.0F;
        m->mean += (tick->value - m->mean) / m->weight;
}

void dog_series_ewma_forecast(const void *state, const struct dog_series_config *c,
                              const struct dog_series_tick *tick, const float ahead_s[], float mean[])
{
        const struct dog_series_ewma *m = state;
        (void)c;
        (void)tick;
        (void)ahead_s;
        for (int i = 0; i < DOG_SERIES_HORIZONS; i++)
                mean[i] = m->mean;
}

/* ---- Holt-Winters -------------------------------------------------------------------------- */

static unsigned holt_slot(const struct dog_series_config *c, int64_t t_ns)
{
        if (c->season_slots == 0 || c->season_slot_ns <= 0)
                return 0;
        int64_t slots = c->season_slots < DOG_SERIES_SEASON_MAX ? c->season_slots : DOG_SERIES_SEASON_MAX;
        int64_t slot = t_ns / c->season_slot_ns % slots;
        return (unsigned)(slot < 0 ? slot + slots : slot);
}

/* The trend dies out with time: its sum up to `ahead` is that much of one unit of trend. */
static float holt_reach(const struct dog_series_config *c, float ahead_s)
{
        if (isinf(c->trend_damp_s))
                return ahead_s;
        if (!(c->trend_damp_s > 0))
                return 0;
        return c->trend_damp_s * (1.0F - dog_fast_exp(-ahead_s / c->trend_damp_s));
}

static float holt_gain(float dt_s, float half_life_s, uint32_t nth, bool is_warming_up)
{
        float gain = 1.0F - dog_fast_exp2(-dt_s / half_life_s);
        float first = is_warming_up && nth ? 1.0F / (float)nth : 0;
        return gain > first ? gain : first;
}

void dog_series_holt_init(void *state, const struct dog_series_config *c)
{
        struct dog_series_holt *m = state;
        (void)c;
        memset(m, 0, sizeof(*m));
}

void dog_series_holt_update(void *state, const struct dog_series_config *c,
                            const struct dog_series_tick *tick)
{
        struct dog_series_holt *m = state;
        unsigned slot = holt_slot(c, tick->t_ns);
        m->count += m->count < UINT32_MAX;
        if (m->count == 1) {
                m->level = tick->value;
                return;
        }
        if (tick->is_gap)
                m->trend = 0;
        /* The equations of additive Holt-Winters, with gains that depend on the time passed. */
        float level_gain = holt_gain(tick->dt_s, c->level_half_life_s, m->count, c->is_warming_up);
        float trend_gain = holt_gain(tick->dt_s, c->trend_half_life_s, m->count - 1, c->is_warming_up);
        float reach = holt_reach(c, tick->dt_s);
        float keep = isinf(c->trend_damp_s) || tick->dt_s <= 0 ? 1.0F : reach / tick->dt_s;
        float before = m->level;
        if (m->count == 2 && !c->is_warming_up) {
                /* The usual start: the first two values give level and trend. */
                m->level = tick->value;
                m->trend = (tick->value - before) / tick->dt_s;
        } else {
                float expected = before + m->trend * reach;
                m->level = expected + level_gain * (tick->value - m->season[slot] - expected);
                m->trend = keep * m->trend;
                m->trend += trend_gain * ((m->level - before) / tick->dt_s - m->trend);
        }
        if (c->season_slots) {
                float season_gain = holt_gain(tick->dt_s, c->season_half_life_s, 0, false);
                m->season[slot] += season_gain * (tick->value - m->level - m->season[slot]);
        }
}

void dog_series_holt_forecast(const void *state, const struct dog_series_config *c,
                              const struct dog_series_tick *tick, const float ahead_s[], float mean[])
{
        const struct dog_series_holt *m = state;
        for (int i = 0; i < DOG_SERIES_HORIZONS; i++) {
                mean[i] = m->level + m->trend * holt_reach(c, ahead_s[i]);
                if (c->season_slots) {
                        int64_t ahead_ns = ahead_s[i] < 1e9F ? (int64_t)llrint((double)ahead_s[i] * 1e9) : 0;
                        int64_t at_ns = (int64_t)((uint64_t)tick->t_ns + (uint64_t)ahead_ns);
                        mean[i] += m->season[holt_slot(c, at_ns)];
                }
        }
}

/* ---- AR ------------------------------------------------------------------------------------ */

/*
 * Beyond this many steps the forecast is not iterated any more: what is left of the deviation
 * fades as it did over the last half of them. 30 s at 5 samples a second would be 150 steps.
 */
enum { AR_STEPS = 16, AR_ORDER = DOG_SERIES_AR_ORDER };
/* A reflection coefficient this near to 1 would keep a deviation for ever. */
static const float ar_reflection_most = 0.98F;

void dog_series_ar_init(void *state, const struct dog_series_config *c)
{
        struct dog_series_ar *m = state;
        (void)c;
        memset(m, 0, sizeof(*m));
}

void dog_series_ar_update(void *state, const struct dog_series_config *c, const struct dog_series_tick *tick)
{
        struct dog_series_ar *m = state;
        if (tick->is_gap)
                m->lags = 0;
        float keep = dog_fast_exp2(-tick->dt_s / c->ar_half_life_s);
        m->weight = m->weight * keep + 1.0F;
        m->mean += (tick->value - m->mean) / m->weight;
        float d = tick->value - m->mean;
        m->cov[0] = m->cov[0] * keep + d * d;
        for (unsigned k = 0; k < AR_ORDER; k++) {
                float product = k < m->lags ? d * (m->lag[k] - m->mean) : 0;
                m->cov[k + 1] = m->cov[k + 1] * keep + product;
        }
        memmove(m->lag + 1, m->lag, sizeof(m->lag) - sizeof(m->lag[0]));
        m->lag[0] = tick->value;
        m->lags += m->lags < AR_ORDER;
}

/*
 * Levinson and Durbin. With every sample s weighed by keep^(age), sum keep^(t-s) x_s x_(s-k) times
 * keep^(k/2) is the plain autocovariance sum of the tapered series keep^((t-s)/2) x_s, which is
 * positive definite: that is why the recursion below gives a stable model.
 */
static void ar_solve(const struct dog_series_ar *m, float taper, float coef[AR_ORDER])
{
        float cov[AR_ORDER + 1];
        float factor = 1.0F;
        for (int k = 0; k <= AR_ORDER; k++, factor *= taper)
                cov[k] = m->cov[k] * factor;
        memset(coef, 0, AR_ORDER * sizeof(coef[0]));
        /* A little white noise keeps a constant or a pure tone from being a division by nothing. */
        float error = cov[0] * 1.0001F;
        if (!(error > 1e-30F))
                return;
        for (int order = 0; order < AR_ORDER; order++) {
                float sum = cov[order + 1];
                for (int k = 0; k < order; k++)
                        sum -= coef[k] * cov[order - k];
                float reflection = sum / error;
                reflection = reflection > ar_reflection_most ? ar_reflection_most : reflection;
                reflection = reflection < -ar_reflection_most ? -ar_reflection_most : reflection;
                for (int k = 0; k < order / 2; k++) {
                        float a = coef[k];
                        float b = coef[order - 1 - k];
                        coef[k] = a - reflection * b;
                        coef[order - 1 - k] = b - reflection * a;
                }
                if (order % 2)
                        coef[order / 2] -= reflection * coef[order / 2];
                coef[order] = reflection;
                error *= 1.0F - reflection * reflection;
        }
}

void dog_series_ar_coefficients(const struct dog_series_ar *m, const struct dog_series_config *c,
                                float step_s, float coef[DOG_SERIES_AR_ORDER])
{
        ar_solve(m, dog_fast_exp2(-0.5F * step_s / c->ar_half_life_s), coef);
}

void dog_series_ar_forecast(const void *state, const struct dog_series_config *c,
                            const struct dog_series_tick *tick, const float ahead_s[], float mean[])
{
        const struct dog_series_ar *m = state;
        float coef[AR_ORDER];
        /* path[AR_ORDER - 1 + k] is the expected deviation k steps ahead, the lags before it. */
        float path[AR_ORDER + AR_STEPS];
        dog_series_ar_coefficients(m, c, tick->step_s, coef);
        for (unsigned k = 0; k < AR_ORDER; k++)
                path[AR_ORDER - 1 - k] = k < m->lags ? m->lag[k] - m->mean : 0;
        float *now = path + AR_ORDER - 1;
        for (int step = 1; step <= AR_STEPS; step++) {
                float sum = 0;
                for (int k = AR_ORDER - 1; k >= 0; k--)
                        sum += coef[k] * now[step - 1 - k];
                now[step] = sum;
        }
        float fade = now[AR_STEPS / 2] != 0 ? fabsf(now[AR_STEPS] / now[AR_STEPS / 2]) : 0;
        fade = fade < 1.0F ? fade : 1.0F;
        for (int i = 0; i < DOG_SERIES_HORIZONS; i++) {
                float steps = tick->step_s > 0 ? ahead_s[i] / tick->step_s : 1.0F;
                float deviation;
                if (steps > (float)AR_STEPS) {
                        float halves = (steps - (float)AR_STEPS) / (float)(AR_STEPS - AR_STEPS / 2);
                        deviation = now[AR_STEPS] * dog_fast_exp(halves * dog_fast_log(fade));
                } else {
                        /* Nearest whole step: a beat between two steps must not be averaged away. */
                        int step = (int)(steps + 0.5F);
                        deviation = now[step < 1 ? 1 : step];
                }
                mean[i] = m->mean + deviation;
        }
}
