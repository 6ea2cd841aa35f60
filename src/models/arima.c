#include "models/arima.h"

#include "models/fastmath.h"
#include "models/fit.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
        P = DOG_ARIMA_P,
        Q = DOG_ARIMA_Q,
        MOST = DOG_ARIMA_MOST,
        PARTS = P + Q,
        LONG_AR = 8,
        FINALISTS = 3,
        STEPS = 3
};

/* 5 % point of the KPSS statistic about a level. */
static const double arima_kpss_limit = 0.463;
static const float arima_reflection_most = 0.98F;
/* Errors beyond so many spreads count less: 3 leaves normal noise alone. */
static const float arima_huber = 3.0F;

/* What a fit works on. */
struct arima_work {
        int count;
        float w[MOST];     /* the series, or its differences, less the mean */
        float rough[MOST]; /* errors of the long autoregression */
        double gram[PARTS][PARTS], right[PARTS];
        int from; /* sums begin here */
};

struct arima_candidate {
        int p, q;
        float coef[PARTS]; /* p of AR, then q of MA */
        float variance, aicc;
};

void dog_arima_init(struct dog_arima *m, float value)
{
        memset(m, 0, sizeof(*m));
        m->d = 1;
        m->value = value;
}

/* Step-down (Durbin's recursion backwards): the polynomial 1 - c1 z - ... has its roots outside. */
static bool arima_is_stable(const float coef[], int order)
{
        float a[P > Q ? P : Q];
        memcpy(a, coef, (size_t)order * sizeof(a[0]));
        for (int n = order; n > 0; n--) {
                float k = a[n - 1];
                float b[P > Q ? P : Q];
                if (!(fabsf(k) < arima_reflection_most))
                        return false;
                for (int i = 0; i < n - 1; i++)
                        b[i] = (a[i] + k * a[n - 2 - i]) / (1.0F - k * k);
                memcpy(a, b, (size_t)(n - 1) * sizeof(a[0]));
        }
        return true;
}

/* Roots are drawn away from the unit circle, all by the same factor. False: hopeless (NaN). */
static bool arima_stabilise(float coef[], int order)
{
        for (int tries = 0; tries < 64; tries++) {
                if (arima_is_stable(coef, order))
                        return true;
                float factor = 0.95F;
                for (int i = 0; i < order; i++, factor *= 0.95F)
                        coef[i] *= factor;
        }
        return false;
}

static bool arima_tame(struct arima_candidate *c)
{
        float minus[Q];
        for (int i = 0; i < c->q; i++)
                minus[i] = -c->coef[c->p + i];
        if (!arima_stabilise(c->coef, c->p) || !arima_stabilise(minus, c->q))
                return false;
        for (int i = 0; i < c->q; i++)
                c->coef[c->p + i] = -minus[i];
        return true;
}

/* KPSS about a level, Bartlett window of trunc(4 (n/100)^(1/4)) lags. */
static bool arima_wants_difference(const float *x, int n)
{
        double mean = 0;
        double sum = 0;
        double walk = 0;
        for (int i = 0; i < n; i++)
                mean += (double)x[i];
        mean /= n;
        double square = 0;
        for (int i = 0; i < n; i++) {
                double d = (double)x[i] - mean;
                sum += d;
                walk += sum * sum;
                square += d * d;
        }
        double spectrum = square;
        int lags = (int)(4 * sqrt(sqrt(n / 100.0)));
        for (int k = 1; k <= lags; k++) {
                double cov = 0;
                for (int i = k; i < n; i++)
                        cov += ((double)x[i] - mean) * ((double)x[i - k] - mean);
                spectrum += 2 * (1 - k / (lags + 1.0)) * cov;
        }
        return spectrum > 0 && walk / n > arima_kpss_limit * spectrum;
}

/* Errors of a long autoregression (Levinson and Durbin on the plain autocovariances). */
static void arima_rough_errors(struct arima_work *a)
{
        double cov[LONG_AR + 1];
        double coef[LONG_AR] = {0};
        int order = a->count / 8 < LONG_AR ? a->count / 8 : LONG_AR;
        for (int k = 0; k <= order; k++) {
                cov[k] = 0;
                for (int i = k; i < a->count; i++)
                        cov[k] += (double)(a->w[i] * a->w[i - k]);
        }
        double error = cov[0] * 1.000001;
        for (int n = 0; n < order && error > 0; n++) {
                double before[LONG_AR];
                double sum = cov[n + 1];
                memcpy(before, coef, sizeof(coef));
                for (int k = 0; k < n; k++)
                        sum -= coef[k] * cov[n - k];
                double r = sum / error;
                for (int k = 0; k < n; k++)
                        coef[k] = before[k] - r * before[n - 1 - k];
                coef[n] = r;
                error *= 1 - r * r;
        }
        float c[LONG_AR];
        for (int k = 0; k < LONG_AR; k++)
                c[k] = (float)coef[k];
        for (int i = 0; i < a->count; i++) {
                float e = a->w[i];
                if (i >= LONG_AR)
                        for (int k = 0; k < LONG_AR; k++)
                                e -= c[k] * a->w[i - 1 - k];
                else
                        for (int k = 0; k < i; k++)
                                e -= c[k] * a->w[i - 1 - k];
                a->rough[i] = e;
        }
        a->from = order + Q;
}

/* One set of sums for the regressions of all orders. */
static void arima_sums(struct arima_work *a)
{
        float part[PARTS];
        memset(a->gram, 0, sizeof(a->gram));
        memset(a->right, 0, sizeof(a->right));
        for (int i = a->from; i < a->count; i++) {
                for (int k = 0; k < P; k++)
                        part[k] = a->w[i - 1 - k];
                for (int k = 0; k < Q; k++)
                        part[P + k] = a->rough[i - 1 - k];
                for (int r = 0; r < PARTS; r++) {
                        a->right[r] += (double)(part[r] * a->w[i]);
                        for (int s = 0; s <= r; s++)
                                a->gram[r][s] += (double)(part[r] * part[s]);
                }
        }
}

/* Solve the symmetric system in place by Cholesky with a touch of ridge. False: singular. */
static bool arima_solve(double m[PARTS][PARTS], double x[PARTS], int n)
{
        for (int i = 0; i < n; i++)
                m[i][i] = m[i][i] * (1 + 1e-6) + 1e-30;
        for (int i = 0; i < n; i++) {
                for (int j = 0; j <= i; j++) {
                        double sum = m[i][j];
                        for (int k = 0; k < j; k++)
                                sum -= m[i][k] * m[j][k];
                        if (i > j)
                                m[i][j] = sum / m[j][j];
                        else if (sum > 0)
                                m[i][i] = sqrt(sum);
                        else
                                return false;
                }
        }
        for (int i = 0; i < n; i++) {
                for (int k = 0; k < i; k++)
                        x[i] -= m[i][k] * x[k];
                x[i] /= m[i][i];
        }
        for (int i = n - 1; i >= 0; i--) {
                for (int k = i + 1; k < n; k++)
                        x[i] -= m[k][i] * x[k];
                x[i] /= m[i][i];
        }
        return true;
}

static float arima_aicc(float variance, int n, int parameters)
{
        float k = (float)parameters;
        return (float)n * dog_fast_log(variance) + 2 * k + 2 * k * (k + 1) / ((float)n - k - 1);
}

/* The regression of Hannan and Rissanen for one pair of orders. */
static bool arima_guess(const struct arima_work *a, struct arima_candidate *c, double square, int extra)
{
        double gram[PARTS][PARTS];
        double x[PARTS];
        int parts = c->p + c->q;
        int at[PARTS];
        for (int k = 0; k < parts; k++)
                at[k] = k < c->p ? k : P + k - c->p;
        for (int r = 0; r < parts; r++) {
                x[r] = a->right[at[r]];
                for (int s = 0; s <= r; s++)
                        gram[r][s] = a->gram[at[r]][at[s]];
        }
        if (!arima_solve(gram, x, parts))
                return false;
        double left = square;
        for (int k = 0; k < parts; k++) {
                c->coef[k] = (float)x[k];
                left -= x[k] * a->right[at[k]];
        }
        int n = a->count - a->from;
        left = left > 1e-9 * square ? left : 1e-9 * square;
        c->variance = (float)(left / n);
        c->aicc = arima_aicc(c->variance, n, parts + extra + 1);
        return true;
}

/*
 * Errors of one candidate, and one Gauss-Newton step from there when `step` is wanted. The sum of squares is
 * conditional on errors of zero before the first P values.
 */
static double arima_css(const struct arima_work *a, const struct arima_candidate *c, float huber,
                        double step[PARTS])
{
        int parts = c->p + c->q;
        float miss[Q] = {0};
        float slope[Q][PARTS] = {{0}}; /* d error / d coefficient, of the last Q errors, newest first */
        float ma[Q] = {0};
        double gram[PARTS][PARTS] = {{0}};
        double loss = 0;
        for (int k = 0; k < c->q; k++)
                ma[k] = c->coef[c->p + k];
        if (step)
                memset(step, 0, PARTS * sizeof(step[0]));
        for (int i = P; i < a->count; i++) {
                float e = a->w[i];
                float now[PARTS];
                for (int k = 0; k < c->p; k++)
                        e -= c->coef[k] * a->w[i - 1 - k];
                for (int k = 0; k < Q; k++)
                        e -= ma[k] * miss[k];
                float size = fabsf(e);
                float weight = size > huber ? huber / size : 1.0F;
                loss += (double)(e * e * weight);
                if (step) {
                        for (int k = 0; k < parts; k++) {
                                now[k] = k < c->p ? -a->w[i - 1 - k] : -miss[k - c->p];
                                for (int j = 0; j < Q; j++)
                                        now[k] -= ma[j] * slope[j][k];
                        }
                        for (int r = 0; r < parts; r++) {
                                step[r] -= (double)(weight * e * now[r]);
                                for (int s = 0; s <= r; s++)
                                        gram[r][s] += (double)(weight * now[r] * now[s]);
                        }
                        memcpy(slope[1], slope[0], sizeof(slope[0]));
                        memcpy(slope[0], now, (size_t)parts * sizeof(now[0]));
                }
                miss[1] = miss[0];
                miss[0] = e;
        }
        if (step && !arima_solve(gram, step, parts))
                memset(step, 0, PARTS * sizeof(step[0]));
        return loss;
}

/* A few steps downhill; a step that leads up is halved once, then given up. */
static void arima_refine(const struct arima_work *a, struct arima_candidate *c, int extra)
{
        float huber = arima_huber * sqrtf(c->variance);
        double step[PARTS];
        int n = a->count - P;
        if (!arima_tame(c))
                memset(c->coef, 0, sizeof(c->coef));
        double loss = arima_css(a, c, huber, step);
        for (int round = 0; round < STEPS && c->p + c->q > 0; round++) {
                struct arima_candidate next = *c;
                double then[PARTS];
                for (int k = 0; k < c->p + c->q; k++)
                        next.coef[k] += (float)step[k];
                if (!arima_tame(&next))
                        break;
                double loss_then = arima_css(a, &next, huber, then);
                if (!(loss_then < loss * (1 - 1e-4)))
                        break;
                *c = next;
                loss = loss_then;
                memcpy(step, then, sizeof(step));
        }
        c->variance = (float)(loss / n);
        c->aicc = arima_aicc(c->variance > 1e-30F ? c->variance : 1e-30F, n, c->p + c->q + extra + 1);
}

/* Leave the model where the series ends. */
static void arima_settle(struct dog_arima *m, const struct arima_work *a)
{
        for (int i = 0; i < a->count; i++) {
                float e = a->w[i];
                for (int k = 0; k < P; k++)
                        e -= m->ar[k] * m->lag[k];
                for (int k = 0; k < Q; k++)
                        e -= m->ma[k] * m->miss[k];
                memmove(m->lag + 1, m->lag, sizeof(m->lag) - sizeof(m->lag[0]));
                memmove(m->miss + 1, m->miss, sizeof(m->miss) - sizeof(m->miss[0]));
                m->lag[0] = a->w[i];
                m->miss[0] = i < P ? 0 : e;
        }
}

static void arima_insert(struct arima_candidate best[FINALISTS], const struct arima_candidate *c)
{
        for (int i = 0; i < FINALISTS; i++) {
                if (!(c->aicc < best[i].aicc))
                        continue;
                memmove(best + i + 1, best + i, (size_t)(FINALISTS - 1 - i) * sizeof(best[0]));
                best[i] = *c;
                return;
        }
}

static struct arima_candidate arima_choose(struct arima_work *a, int extra)
{
        struct arima_candidate best[FINALISTS];
        double square = 0;
        for (int i = 0; i < FINALISTS; i++)
                best[i] = (struct arima_candidate){.aicc = INFINITY};
        arima_rough_errors(a);
        arima_sums(a);
        for (int i = a->from; i < a->count; i++)
                square += (double)(a->w[i] * a->w[i]);
        for (int p = 0; p <= P; p++) {
                for (int q = 0; q <= Q; q++) {
                        struct arima_candidate c = {.p = p, .q = q};
                        if (arima_guess(a, &c, square, extra))
                                arima_insert(best, &c);
                }
        }
        int chosen = 0;
        for (int i = 0; i < FINALISTS && best[i].aicc < INFINITY; i++) {
                arima_refine(a, &best[i], extra);
                if (best[i].aicc < best[chosen].aicc)
                        chosen = i;
        }
        return best[chosen];
}

int dog_arima_fit(struct dog_arima *m, const float *value, int count)
{
        struct arima_work a;
        float x[MOST];
        int n = dog_fit_newest(x, MOST, value, count);
        dog_arima_init(m, n ? x[n - 1] : 0);
        if (n < DOG_ARIMA_LEAST)
                return n;
        m->d = arima_wants_difference(x, n);
        double mean = 0;
        for (int i = 0; i < n && m->d == 0; i++)
                mean += (double)x[i] / n;
        m->mean = (float)mean;
        double square = 0;
        a.count = n - m->d;
        for (int i = 0; i < a.count; i++) {
                a.w[i] = m->d ? x[i + 1] - x[i] : x[i] - m->mean;
                square += (double)a.w[i] * (double)a.w[i];
        }
        /* A constant, but for rounding. */
        if (!(square > 1e-12 * (1e-12 + (double)fabsf(x[n - 1]) * (double)fabsf(x[n - 1])) * n))
                return n;
        struct arima_candidate c = arima_choose(&a, m->d == 0);
        m->p = (uint8_t)c.p;
        m->q = (uint8_t)c.q;
        memcpy(m->ar, c.coef, (size_t)c.p * sizeof(c.coef[0]));
        memcpy(m->ma, c.coef + c.p, (size_t)c.q * sizeof(c.coef[0]));
        m->variance = c.variance;
        m->aicc = c.aicc;
        arima_settle(m, &a);
        return n;
}

void dog_arima_update(struct dog_arima *m, float value)
{
        if (!isfinite(value))
                return;
        float w = m->d ? value - m->value : value - m->mean;
        float e = w;
        for (int k = 0; k < P; k++)
                e -= m->ar[k] * m->lag[k];
        for (int k = 0; k < Q; k++)
                e -= m->ma[k] * m->miss[k];
        memmove(m->lag + 1, m->lag, sizeof(m->lag) - sizeof(m->lag[0]));
        memmove(m->miss + 1, m->miss, sizeof(m->miss) - sizeof(m->miss[0]));
        m->lag[0] = w;
        m->miss[0] = e;
        m->value = value;
}

void dog_arima_forget(struct dog_arima *m)
{
        memset(m->lag, 0, sizeof(m->lag));
        memset(m->miss, 0, sizeof(m->miss));
}

void dog_arima_forecast(const struct dog_arima *m, int steps, float mean[])
{
        /* Newest first; future errors are expected to be 0. */
        float lag[P];
        float miss[Q];
        float level = m->d ? m->value : m->mean;
        memcpy(lag, m->lag, sizeof(lag));
        memcpy(miss, m->miss, sizeof(miss));
        for (int i = 0; i < steps; i++) {
                float w = 0;
                for (int k = 0; k < P; k++)
                        w += m->ar[k] * lag[k];
                for (int k = 0; k < Q; k++)
                        w += m->ma[k] * miss[k];
                for (int k = P - 1; k > 0; k--)
                        lag[k] = lag[k - 1];
                for (int k = Q - 1; k > 0; k--)
                        miss[k] = miss[k - 1];
                lag[0] = w;
                miss[0] = 0;
                mean[i] = level + w;
                level = m->d ? mean[i] : level;
        }
}
