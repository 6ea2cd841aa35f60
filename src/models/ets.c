#include "models/ets.h"

#include "models/fastmath.h"
#include "models/fit.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { MOST = DOG_ETS_MOST, HEAD = 10 };
static const float ets_cut = 3.0F;

void dog_ets_init(struct dog_ets *m, float value)
{
        *m = (struct dog_ets){.kind = DOG_ETS_LEVEL, .alpha = 0.3F, .phi = 1.0F, .level = value};
}

void dog_ets_update(struct dog_ets *m, float value)
{
        if (!isfinite(value))
                return;
        float expected = m->level + m->phi * m->trend;
        float e = value - expected;
        float size = fabsf(e);
        float most = ets_cut * m->size;
        float cut = most > 0 && size > most ? (e > 0 ? most : -most) : e;
        m->level = expected + m->alpha * cut;
        m->trend = m->phi * m->trend + m->beta * cut;
        /* The usual size follows slowly, and one wild value cannot carry it far away. */
        m->size += 0.05F * ((size < 2 * most || most <= 0 ? size : 2 * most) - m->size);
}

/* ---- the fit: eight candidates run side by side, which the compiler makes vectors of ---------- */

enum { LANES = 8 };

struct ets_start {
        float level, slope, size;
};

struct ets_race {
        float alpha[LANES], beta[LANES], phi[LANES]; /* the candidates */
        float level[LANES], trend[LANES], size[LANES];
        float loss[LANES]; /* mean absolute error one step ahead */
};

/* Start: a line through the first values; the usual error is the mean change. */
static struct ets_start ets_start_of(const float *x, int n)
{
        struct ets_start s = {0};
        int head = n < HEAD ? n : HEAD;
        float top = 0;
        float below = 0;
        float middle = 0.5F * (float)(head - 1);
        for (int i = 0; i < head; i++)
                s.level += x[i] / (float)head;
        for (int i = 0; i < head; i++) {
                top += ((float)i - middle) * (x[i] - s.level);
                below += ((float)i - middle) * ((float)i - middle);
        }
        s.slope = top / below;
        for (int i = 1; i < n; i++)
                s.size += fabsf(x[i] - x[i - 1]) / (float)(n - 1);
        return s;
}

/* The same steps as dog_ets_update, for all candidates, over all values. */
static void ets_run(struct ets_race *r, const struct ets_start *s, bool has_trend, const float *x, int n)
{
        struct ets_race a = *r; /* of this function alone: kept in registers */
        for (int k = 0; k < LANES; k++) {
                a.level[k] =
                        s->level - (has_trend ? s->slope * 0.5F * (float)((n < HEAD ? n : HEAD) + 1) : 0);
                a.trend[k] = has_trend ? s->slope : 0;
                a.size[k] = s->size;
                a.loss[k] = 0;
        }
        for (int i = 0; i < n; i++) {
                for (int k = 0; k < LANES; k++) {
                        float kept = a.phi[k] * a.trend[k];
                        float expected = a.level[k] + kept;
                        float e = x[i] - expected;
                        float most = ets_cut * a.size[k];
                        float size = fabsf(e);
                        float cut = e < most ? e : most;
                        cut = cut > -most ? cut : -most;
                        float counted = size < 2 * most ? size : 2 * most;
                        a.level[k] = expected + a.alpha[k] * cut;
                        a.trend[k] = kept + a.beta[k] * cut;
                        a.size[k] += 0.05F * (counted - a.size[k]);
                        a.loss[k] += size;
                }
        }
        for (int k = 0; k < LANES; k++)
                a.loss[k] /= (float)n;
        *r = a;
}

static void ets_enter(struct ets_race *r, int lane, float alpha, float share, float phi)
{
        alpha = alpha < 0.01F ? 0.01F : alpha > 0.999F ? 0.999F : alpha;
        share = share < 0 ? 0 : share > 1 ? 1 : share;
        r->alpha[lane] = alpha;
        r->beta[lane] = share * alpha;
        r->phi[lane] = phi < 0.7F ? 0.7F : phi > 1 ? 1 : phi;
}

/* Take the winner of the race if it beats `best`, whose loss is *loss. */
static void ets_take(struct dog_ets *best, float *loss, const struct ets_race *r, enum dog_ets_kind kind)
{
        for (int k = 0; k < LANES; k++) {
                if (!(r->loss[k] < *loss))
                        continue;
                *loss = r->loss[k];
                *best = (struct dog_ets){.kind = (uint8_t)kind,
                                         .alpha = r->alpha[k],
                                         .beta = r->beta[k],
                                         .phi = r->phi[k],
                                         .level = r->level[k],
                                         .trend = r->trend[k],
                                         .size = r->size[k]};
        }
}

static float ets_fit_level(struct dog_ets *best, const struct ets_start *s, const float *x, int n)
{
        static const float alpha[LANES] = {0.02F, 0.06F, 0.12F, 0.22F, 0.38F, 0.55F, 0.75F, 0.95F};
        static const float near[LANES] = {0.6F, 0.73F, 0.84F, 0.93F, 1.07F, 1.17F, 1.3F, 1.5F};
        struct ets_race r;
        float loss = INFINITY;
        for (int k = 0; k < LANES; k++)
                ets_enter(&r, k, alpha[k], 0, 1);
        ets_run(&r, s, false, x, n);
        ets_take(best, &loss, &r, DOG_ETS_LEVEL);
        float middle = best->alpha;
        for (int k = 0; k < LANES; k++)
                ets_enter(&r, k, middle * near[k], 0, 1);
        ets_run(&r, s, false, x, n);
        ets_take(best, &loss, &r, DOG_ETS_LEVEL);
        return loss;
}

/* From the gain of the level alone: first a coarse net, then a fine one around its best. */
static float ets_fit_trend(struct dog_ets *best, enum dog_ets_kind kind, float alpha,
                           const struct ets_start *s, const float *x, int n)
{
        static const float share[4] = {0.005F, 0.03F, 0.1F, 0.3F};
        static const float phi[4] = {0.95F, 0.9F, 0.9F, 0.8F};
        struct ets_race r;
        float loss = INFINITY;
        for (int k = 0; k < LANES; k++)
                ets_enter(&r, k, alpha * (k < 4 ? 1.0F : 0.65F), share[k % 4],
                          kind == DOG_ETS_DAMPED ? phi[k % 4] : 1);
        ets_run(&r, s, true, x, n);
        ets_take(best, &loss, &r, kind);
        if (!(loss < INFINITY))
                return loss;
        struct dog_ets middle = *best;
        float own = middle.beta / middle.alpha;
        for (int k = 0; k < LANES; k++) {
                float further =
                        kind == DOG_ETS_DAMPED ? (k & 4 ? 0.5F * (1 + middle.phi) : middle.phi - 0.07F) : 1;
                float more = kind == DOG_ETS_DAMPED || k < 4 ? 1 : 1.4F;
                ets_enter(&r, k, middle.alpha * (k & 1 ? 1.2F : 0.85F) * more, own * (k & 2 ? 1.6F : 0.6F),
                          further);
        }
        ets_run(&r, s, true, x, n);
        ets_take(best, &loss, &r, kind);
        return loss;
}

/* Laplace: -2 ln L = 2 n ln(2 e b), b the mean absolute error; what all kinds share is left out. */
static void ets_grade(struct dog_ets *m, float loss, int n, int parameters)
{
        float k = (float)parameters;
        m->aicc = 2 * (float)n * dog_fast_log(loss) + 2 * k + 2 * k * (k + 1) / ((float)n - k - 1);
}

int dog_ets_fit(struct dog_ets *m, const float *value, int count)
{
        float x[MOST];
        int n = dog_fit_newest(x, MOST, value, count);
        dog_ets_init(m, n ? x[n - 1] : 0);
        if (n < DOG_ETS_LEAST)
                return n;
        struct ets_start s = ets_start_of(x, n);
        /* A constant, but for rounding. */
        if (!(s.size > 1e-6F * fabsf(x[n - 1])) || !(s.size > 1e-12F) || !isfinite(s.size))
                return n;
        struct dog_ets one = *m;
        float loss = ets_fit_level(m, &s, x, n);
        float alpha = m->alpha;
        ets_grade(m, loss, n, 3);
        for (enum dog_ets_kind kind = DOG_ETS_TREND; kind <= DOG_ETS_DAMPED; kind++) {
                loss = ets_fit_trend(&one, kind, alpha, &s, x, n);
                ets_grade(&one, loss, n, kind == DOG_ETS_DAMPED ? 6 : 5);
                if (one.aicc < m->aicc)
                        *m = one;
        }
        return n;
}

void dog_ets_forget(struct dog_ets *m)
{
        m->trend = 0;
}

float dog_ets_forecast(const struct dog_ets *m, float steps)
{
        if (m->kind == DOG_ETS_LEVEL || m->trend == 0)
                return m->level;
        if (m->phi >= 1)
                return m->level + m->trend * steps;
        return m->level +
               m->trend * m->phi * (1.0F - dog_fast_exp(steps * dog_fast_log(m->phi))) / (1.0F - m->phi);
}
