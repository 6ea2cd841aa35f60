/*
 * The forecasters that look at the last DOG_SERIES_PAST values again: ARIMA, ETS and the recent median.
 *
 * A fit costs some ten microseconds, a thousand times what a value may cost, so it is done on a slow clock:
 * first after FIT_FIRST values, then each time the series has grown by half, and never more often than
 * every FIT_MOST values once it is long. In between the models move on in O(p + q). Members that begin
 * together must not fit together: the waits are spread by a hash of the value at hand.
 */
#include "models/fastmath.h"
#include "models/series_models.h"

#include <math.h>
#include <string.h>

enum { PAST = DOG_SERIES_PAST, FIT_FIRST = 24, FIT_MOST = 240, FIT_BAD = 8 };
/* Further ahead than this an ARIMA is taken to have come to rest. */
enum { ARIMA_STEPS = 32 };
enum { MEDIAN_OF = 60, MEDIAN_EVERY = 8 };

/* The last `most` values, oldest first; how many. */
static int fitted_values(const struct dog_series_past *p, float value[PAST], int most)
{
        int n = p->count < most ? p->count : most;
        for (int i = 0; i < n; i++)
                value[i] = p->value[(p->next + PAST - n + i) % PAST];
        return n;
}

/* 0..`most`, from the value: members that began together do not see the same. */
static unsigned fitted_spread(float value, unsigned most)
{
        union {
                float f;
                uint32_t u;
        } bits = {.f = value};
        uint32_t mixed = (bits.u ^ bits.u >> 15) * 2654435761U;
        return (mixed >> 16) * (most + 1) >> 16;
}

/*
 * Whether a fit is due, and when the next one is. `error` is the model's about this value, `usual` its own
 * measure of them: when errors have been far larger for a while, the world has changed and the fit is old.
 */
static bool fitted_is_due(struct dog_series_clock *k, const struct dog_series_tick *tick, float error,
                          float usual)
{
        if (k->every == 0) {
                k->every = FIT_FIRST;
                k->wait = (uint16_t)(FIT_FIRST + fitted_spread(tick->value, FIT_FIRST / 2));
        }
        k->rest = (uint16_t)(k->rest - (k->rest > 0));
        if (k->is_fitted && fabsf(error) > 3 * usual)
                k->bad = (uint16_t)(k->bad + 2);
        else if (k->bad > 0)
                k->bad--;
        /* At once, and once more when there is something to see of the new times; then not for a while. */
        bool is_alarm = k->bad >= FIT_BAD && k->rest == 0;
        if (is_alarm)
                k->rest = FIT_MOST;
        else if (--k->wait > 0)
                return false;
        unsigned least = k->every < FIT_MOST ? k->every : FIT_MOST;
        unsigned next = is_alarm ? FIT_FIRST : least + fitted_spread(tick->value, least / 2);
        k->wait = (uint16_t)next;
        k->every = (uint16_t)(k->every + next < UINT16_MAX / 2 ? k->every + next : UINT16_MAX / 2);
        k->bad = 0;
        k->is_fitted |= tick->past->count >= FIT_FIRST;
        return tick->past->count >= FIT_FIRST;
}

/* What the models see of a value, and back. */
static float fitted_see(const struct dog_series_clock *k, float value)
{
        return k->shift > 0 ? dog_fast_log(value + k->shift) : value;
}

static float fitted_unsee(const struct dog_series_clock *k, float seen)
{
        return k->shift > 0 ? dog_fast_exp(seen) - k->shift : seen;
}

/* The past as the models see it. Round trips err by shares of themselves: a twentieth of the mean keeps
 * values near zero from being all that matters. */
static int fitted_past(struct dog_series_clock *k, const struct dog_series_config *c,
                       const struct dog_series_past *p, float value[PAST])
{
        int n = fitted_values(p, value, PAST);
        k->shift = 0;
        if (!c->is_fit_log)
                return n;
        float sum = 0;
        for (int i = 0; i < n; i++) {
                if (value[i] < 0)
                        return n;
                sum += value[i];
        }
        k->shift = 0.05F * sum / (float)n;
        for (int i = 0; i < n; i++)
                value[i] = fitted_see(k, value[i]);
        return n;
}

static float fitted_steps(const struct dog_series_tick *tick, float ahead_s)
{
        return tick->step_s > 0 ? ahead_s / tick->step_s : 1.0F;
}

/* ---- ARIMA --------------------------------------------------------------------------------- */

void dog_series_arima_init(void *state, const struct dog_series_config *c)
{
        struct dog_series_arima *m = state;
        (void)c;
        memset(m, 0, sizeof(*m));
}

void dog_series_arima_update(void *state, const struct dog_series_config *c,
                             const struct dog_series_tick *tick)
{
        struct dog_series_arima *m = state;
        float seen = fitted_see(&m->clock, tick->value);
        float said;
        if (tick->is_gap)
                dog_arima_forget(&m->model);
        dog_arima_forecast(&m->model, 1, &said);
        if (!fitted_is_due(&m->clock, tick, seen - said, sqrtf(m->model.variance))) {
                if (m->clock.is_fitted)
                        dog_arima_update(&m->model, seen);
                return;
        }
        float value[PAST];
        int n = fitted_past(&m->clock, c, tick->past, value);
        dog_arima_fit(&m->model, value, n);
}

void dog_series_arima_forecast(const void *state, const struct dog_series_config *c,
                               const struct dog_series_tick *tick, const float ahead_s[], float mean[])
{
        const struct dog_series_arima *m = state;
        float path[ARIMA_STEPS];
        int at[DOG_SERIES_HORIZONS];
        int most = 1;
        (void)c;
        for (int i = 0; i < DOG_SERIES_HORIZONS; i++) {
                float steps = fitted_steps(tick, ahead_s[i]);
                at[i] = steps < 1 ? 1 : steps < (float)ARIMA_STEPS ? (int)(steps + 0.5F) : ARIMA_STEPS;
                most = at[i] > most ? at[i] : most;
                mean[i] = NAN;
        }
        if (!m->clock.is_fitted)
                return;
        dog_arima_forecast(&m->model, most, path);
        for (int i = 0; i < DOG_SERIES_HORIZONS; i++)
                mean[i] = fitted_unsee(&m->clock, path[at[i] - 1]);
}

/* ---- ETS ----------------------------------------------------------------------------------- */

void dog_series_ets_init(void *state, const struct dog_series_config *c)
{
        struct dog_series_ets *m = state;
        (void)c;
        memset(m, 0, sizeof(*m));
}

void dog_series_ets_update(void *state, const struct dog_series_config *c, const struct dog_series_tick *tick)
{
        struct dog_series_ets *m = state;
        float seen = fitted_see(&m->clock, tick->value);
        if (tick->is_gap)
                dog_ets_forget(&m->model);
        /* The mean absolute error is 0.8 of a normal deviation. */
        if (!fitted_is_due(&m->clock, tick, seen - dog_ets_forecast(&m->model, 1), 1.25F * m->model.size)) {
                if (m->clock.is_fitted)
                        dog_ets_update(&m->model, seen);
                return;
        }
        float value[PAST];
        int n = fitted_past(&m->clock, c, tick->past, value);
        dog_ets_fit(&m->model, value, n);
}

void dog_series_ets_forecast(const void *state, const struct dog_series_config *c,
                             const struct dog_series_tick *tick, const float ahead_s[], float mean[])
{
        const struct dog_series_ets *m = state;
        (void)c;
        for (int i = 0; i < DOG_SERIES_HORIZONS; i++)
                mean[i] = !m->clock.is_fitted
                                  ? NAN
                                  : fitted_unsee(&m->clock,
                                                 dog_ets_forecast(&m->model, fitted_steps(tick, ahead_s[i])));
}

/* ---- the recent median --------------------------------------------------------------------- */

void dog_series_median_init(void *state, const struct dog_series_config *c)
{
        struct dog_series_median *m = state;
        (void)c;
        memset(m, 0, sizeof(*m));
}

/* Hoare's FIND (Communications of the ACM 4:7, 1961): the k-th smallest; reorders. */
static float median_find(float *x, int n, int k)
{
        int low = 0;
        int high = n - 1;
        while (low < high) {
                float pivot = x[(low + high) / 2];
                int i = low;
                int j = high;
                while (i <= j) {
                        while (x[i] < pivot)
                                i++;
                        while (x[j] > pivot)
                                j--;
                        if (i <= j) {
                                float swap = x[i];
                                x[i++] = x[j];
                                x[j--] = swap;
                        }
                }
                if (k <= j)
                        high = j;
                else if (k >= i)
                        low = i;
                else
                        break;
        }
        return x[k];
}

void dog_series_median_update(void *state, const struct dog_series_config *c,
                              const struct dog_series_tick *tick)
{
        struct dog_series_median *m = state;
        float value[PAST];
        (void)c;
        if (m->wait > 0) {
                m->wait--;
                return;
        }
        int n = fitted_values(tick->past, value, MEDIAN_OF);
        m->value = median_find(value, n, n / 2);
        m->wait = n < MEDIAN_EVERY * 2 ? 0 : MEDIAN_EVERY - 1;
}

void dog_series_median_forecast(const void *state, const struct dog_series_config *c,
                                const struct dog_series_tick *tick, const float ahead_s[], float mean[])
{
        const struct dog_series_median *m = state;
        (void)c;
        (void)tick;
        (void)ahead_s;
        for (int i = 0; i < DOG_SERIES_HORIZONS; i++)
                mean[i] = m->value;
}
