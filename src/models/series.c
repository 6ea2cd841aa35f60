#include "models/series.h"

#include "models/fastmath.h"
#include "models/series_models.h"

#include <float.h>
#include <math.h>
#include <string.h>

const struct dog_series_model dog_series_models[DOG_SERIES_MODEL_COUNT] = {
#define X(id, suffix, title, paper)                                                                          \
        [DOG_SERIES_##id] = {.name = title,                                                                  \
                             .source = paper,                                                                \
                             .state_offset = offsetof(struct dog_series_states, suffix),                     \
                             .state_size = sizeof(struct dog_series_##suffix),                               \
                             .init = dog_series_##suffix##_init,                                             \
                             .update = dog_series_##suffix##_update,                                         \
                             .forecast = dog_series_##suffix##_forecast},
        DOG_SERIES_MODELS(X)
#undef X
};

static const struct {
        const char *name, *unit;
} series_signals[DOG_SERIES_OF_COUNT] = {
#define X(id, name, unit) {name, unit},
        DOG_SERIES_SIGNALS(X)
#undef X
};

const char *dog_series_signal_name(enum dog_series_signal signal)
{
        return (unsigned)signal < DOG_SERIES_OF_COUNT ? series_signals[signal].name : "unknown";
}

const char *dog_series_signal_unit(enum dog_series_signal signal)
{
        return (unsigned)signal < DOG_SERIES_OF_COUNT ? series_signals[signal].unit : "";
}

struct dog_series_config dog_series_config_of(enum dog_series_signal signal)
{
        struct dog_series_config c = {
                .horizon_ns = {INT64_C(1000000000), INT64_C(5000000000), INT64_C(30000000000)},
                .ewma_half_life_s = 4.0F,
                .level_half_life_s = 1.0F,
                .trend_half_life_s = 8.0F,
                .trend_damp_s = 3.0F,
                .season_half_life_s = 60.0F,
                .ar_half_life_s = 30.0F,
                .record_outcomes = 60.0F,
                .gap_steps = 5.0F,
                .floor = 0,
                .ceiling = signal == DOG_SERIES_OF_LOSS ? 1.0F : FLT_MAX,
                .is_warming_up = true,
                .is_fit_log = signal == DOG_SERIES_OF_LATENCY || signal == DOG_SERIES_OF_JITTER,
        };
        if (signal == DOG_SERIES_OF_OTHER)
                c.floor = -FLT_MAX;
        return c;
}

void dog_series_init(struct dog_series *s, const struct dog_series_config *c)
{
        memset(s, 0, sizeof(*s));
        s->last_ns = INT64_MIN;
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++) {
                s->newest_ns[h] = INT64_MIN;
                for (int k = 0; k < DOG_SERIES_PENDING; k++)
                        s->made_ns[h][k] = INT64_MIN;
        }
        for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++)
                dog_series_models[m].init((char *)&s->state + dog_series_models[m].state_offset, c);
}

static float series_seconds(int64_t later_ns, int64_t earlier_ns)
{
        return (float)((double)((uint64_t)later_ns - (uint64_t)earlier_ns) * 1e-9);
}

/* Forecasts stay within what can be: the config's bounds, and the range seen lately and half of it more. */
static float series_bound(const struct dog_series *s, const struct dog_series_config *c, float value)
{
        float room = 0.5F * (s->high - s->low);
        float least = s->low - room;
        float most = s->high + room;
        least = least > c->floor ? least : c->floor;
        most = most < c->ceiling ? most : c->ceiling;
        if (!(value > least)) /* also NaN */
                return value == value ? least : s->last;
        return value < most ? value : most;
}

void dog_series_weights(const struct dog_series *s, int horizon, float weight[DOG_SERIES_MODEL_COUNT])
{
        float sum = 0;
        float total = 0;
        for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++)
                sum += s->abs_error[horizon][m];
        /* Everyone gets a share of a common error, so that a short record cannot crown a king. */
        float common =
                sum / (float)DOG_SERIES_MODEL_COUNT / (1.0F + 0.5F * (float)s->graded[horizon]) + FLT_MIN;
        for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++) {
                float ratio = (sum + common) / (s->abs_error[horizon][m] + common);
                ratio *= ratio;
                weight[m] = ratio * ratio * ratio;
                weight[m] = weight[m] < 1e12F ? weight[m] : 1e12F;
                total += weight[m];
        }
        for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++)
                weight[m] /= total;
}

/*
 * The weighted mean and the weighted median of those who speak, half and half: the mean gains by errors that
 * cancel, the median is not moved by one who is far off.
 */
static float series_mix(const float mean[DOG_SERIES_MODEL_COUNT], const float weight[DOG_SERIES_MODEL_COUNT])
{
        int order[DOG_SERIES_MODEL_COUNT];
        int count = 0;
        float sum = 0;
        float total = 0;
        for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++) {
                if (isnan(mean[m]))
                        continue;
                sum += weight[m] * mean[m];
                total += weight[m];
                int at = count++;
                for (; at > 0 && mean[order[at - 1]] > mean[m]; at--)
                        order[at] = order[at - 1];
                order[at] = m;
        }
        float below = 0;
        int at = 0;
        while (at < count - 1 && (below += weight[order[at]]) < 0.5F * total)
                at++;
        return 0.5F * (sum / total + mean[order[at]]);
}

/* The means of every model and, last, of the ensemble: mean[horizon][model]. */
static void series_means(const struct dog_series *s, const struct dog_series_config *c, int64_t now_ns,
                         float mean[DOG_SERIES_HORIZONS][DOG_SERIES_MODEL_COUNT + 1])
{
        float ahead_s[DOG_SERIES_HORIZONS];
        float one[DOG_SERIES_HORIZONS];
        float weight[DOG_SERIES_MODEL_COUNT];
        struct dog_series_tick tick = {
                .t_ns = s->last_ns, .value = s->last, .step_s = s->step_s, .past = &s->past};
        float since_s = now_ns > s->last_ns ? series_seconds(now_ns, s->last_ns) : 0;
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++)
                ahead_s[h] = since_s + series_seconds(c->horizon_ns[h], 0);
        for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++) {
                const struct dog_series_model *model = &dog_series_models[m];
                model->forecast((const char *)&s->state + model->state_offset, c, &tick, ahead_s, one);
                for (int h = 0; h < DOG_SERIES_HORIZONS; h++)
                        mean[h][m] = isnan(one[h]) ? one[h] : series_bound(s, c, one[h]);
        }
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++) {
                dog_series_weights(s, h, weight);
                mean[h][DOG_SERIES_ENSEMBLE] = series_bound(s, c, series_mix(mean[h], weight));
                /* Who says nothing is taken to say what the others do: it neither gains nor loses. */
                for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++)
                        if (isnan(mean[h][m]))
                                mean[h][m] = mean[h][DOG_SERIES_ENSEMBLE];
        }
}

static void series_grade(struct dog_series *s, const struct dog_series_config *c, int h,
                         const float pending[DOG_SERIES_MODEL_COUNT + 1], float value)
{
        s->graded[h] = (uint16_t)(s->graded[h] + (s->graded[h] < UINT16_MAX));
        /* The first outcomes count evenly; later ones fade with record_outcomes. */
        float gain = 1.0F / (float)s->graded[h];
        float least = 1.0F / (c->record_outcomes > 1.0F ? c->record_outcomes : 1.0F);
        gain = gain > least ? gain : least;
        for (int m = 0; m <= DOG_SERIES_MODEL_COUNT; m++) {
                float error = value - pending[m];
                s->abs_error[h][m] += gain * (fabsf(error) - s->abs_error[h][m]);
                s->square_error[h][m] += gain * (error * error - s->square_error[h][m]);
        }
}

/* 1. What came due with this sample is graded; what fell into a gap is thrown away. */
static void series_settle(struct dog_series *s, const struct dog_series_config *c,
                          const struct dog_series_tick *tick)
{
        /* A sample half a step early still is the sample of that time: clocks jitter. */
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++) {
                for (int k = 0; k < DOG_SERIES_PENDING; k++) {
                        if (s->made_ns[h][k] == INT64_MIN)
                                continue;
                        float over_s = series_seconds(tick->t_ns, s->made_ns[h][k]) -
                                       series_seconds(c->horizon_ns[h], 0);
                        if (over_s < -0.5F * tick->step_s)
                                continue;
                        if (over_s <= c->gap_steps * tick->step_s)
                                series_grade(s, c, h, s->pending[h][k], tick->value);
                        s->made_ns[h][k] = INT64_MIN;
                }
        }
}

/* A place for a new forecast at this horizon, or -1: they are made evenly over the horizon. */
static int series_place(const struct dog_series *s, const struct dog_series_config *c, int h, int64_t t_ns)
{
        if (s->newest_ns[h] != INT64_MIN && s->newest_ns[h] < t_ns &&
            series_seconds(t_ns, s->newest_ns[h]) <
                    series_seconds(c->horizon_ns[h], 0) / DOG_SERIES_PENDING - 0.5F * s->step_s)
                return -1;
        for (int k = 0; k < DOG_SERIES_PENDING; k++)
                if (s->made_ns[h][k] == INT64_MIN)
                        return k;
        return -1;
}

static void series_range(struct dog_series *s, const struct dog_series_config *c,
                         const struct dog_series_tick *tick)
{
        if (s->count == 1) {
                s->low = s->high = s->mean = tick->value;
                s->var = 0;
                return;
        }
        float gain = 1.0F - dog_fast_exp2(-tick->dt_s / c->ar_half_life_s);
        float first = 1.0F / (float)s->count;
        gain = gain > first ? gain : first;
        float d = tick->value - s->mean;
        s->mean += gain * d;
        s->var = (1.0F - gain) * (s->var + gain * d * d);
        /* The ends of the range creep towards the mean, slower than everything else. */
        float creep = 0.125F * (1.0F - dog_fast_exp2(-tick->dt_s / c->ar_half_life_s));
        s->low += creep * (s->mean - s->low);
        s->high += creep * (s->mean - s->high);
        s->low = tick->value < s->low ? tick->value : s->low;
        s->high = tick->value > s->high ? tick->value : s->high;
}

static void series_remember(struct dog_series *s, const struct dog_series_tick *tick)
{
        struct dog_series_past *p = &s->past;
        if (tick->dt_s > (float)DOG_SERIES_PAST * tick->step_s)
                p->count = p->next = 0;
        p->value[p->next] = tick->value;
        p->next = (uint16_t)((p->next + 1) % DOG_SERIES_PAST);
        p->count = (uint16_t)(p->count + (p->count < DOG_SERIES_PAST));
}

void dog_series_update(struct dog_series *s, const struct dog_series_config *c, double value, int64_t t_ns)
{
        float mean[DOG_SERIES_HORIZONS][DOG_SERIES_MODEL_COUNT + 1];
        int place[DOG_SERIES_HORIZONS];
        bool is_wanted = false;
        if (!isfinite(value) || fabs(value) > 1e15)
                return;
        if (s->last_ns != INT64_MIN && t_ns <= s->last_ns) {
                s->late += s->late < UINT32_MAX;
                return;
        }
        struct dog_series_tick tick = {.t_ns = t_ns, .value = (float)value};
        if (s->last_ns != INT64_MIN) {
                tick.dt_s = series_seconds(t_ns, s->last_ns);
                tick.step_s = s->step_s > 0 ? s->step_s : tick.dt_s;
                tick.is_gap = tick.dt_s > c->gap_steps * tick.step_s;
        }
        series_settle(s, c, &tick);
        /* 2. Learn. The typical step follows slowly, and a gap is not a step. */
        s->count += s->count < UINT32_MAX;
        if (tick.dt_s > 0) {
                if (!tick.is_gap)
                        tick.step_s += 0.05F * (tick.dt_s - tick.step_s);
                else if (s->count > 2)
                        tick.step_s *= 1.05F; /* a series that has become slower is no gap for ever */
                s->step_s = tick.step_s;
        }
        series_remember(s, &tick);
        tick.past = &s->past;
        for (int m = 0; m < DOG_SERIES_MODEL_COUNT; m++) {
                const struct dog_series_model *model = &dog_series_models[m];
                model->update((char *)&s->state + model->state_offset, c, &tick);
        }
        series_range(s, c, &tick);
        s->last = tick.value;
        s->last_ns = t_ns;
        s->is_expected = false;
        /* 3. Leave a forecast at every horizon where it is time for one. */
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++) {
                place[h] = series_place(s, c, h, t_ns);
                is_wanted |= place[h] >= 0;
        }
        if (!is_wanted)
                return;
        series_means(s, c, t_ns, mean);
        s->is_expected = true;
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++) {
                s->expected[h] = mean[h][DOG_SERIES_ENSEMBLE];
                if (place[h] < 0)
                        continue;
                s->made_ns[h][place[h]] = s->newest_ns[h] = t_ns;
                memcpy(s->pending[h][place[h]], mean[h], sizeof(s->pending[h][0]));
        }
}

void dog_series_forecast_by(const struct dog_series *s, const struct dog_series_config *c, int64_t now_ns,
                            enum dog_series_model_id model, struct dog_forecast out[DOG_SERIES_HORIZONS])
{
        float mean[DOG_SERIES_HORIZONS][DOG_SERIES_MODEL_COUNT + 1];
        bool is_known = s->count > 0 && (unsigned)model <= DOG_SERIES_MODEL_COUNT;
        /* The update has just worked it out, most of the time. */
        bool is_kept = s->is_expected && now_ns <= s->last_ns && model == DOG_SERIES_ENSEMBLE;
        if (is_known && !is_kept)
                series_means(s, c, now_ns, mean);
        for (int h = 0; h < DOG_SERIES_HORIZONS; h++) {
                out[h] = (struct dog_forecast){.mean = NAN, .spread = NAN};
                if (!is_known)
                        continue;
                out[h].mean = is_kept ? s->expected[h] : mean[h][model];
                out[h].count = s->graded[h];
                /* While its own errors are few, the spread of the series itself speaks with them. */
                float n = (float)s->graded[h];
                float prior = 3.0F;
                out[h].spread = sqrtf((n * s->square_error[h][model] + prior * s->var) / (n + prior));
        }
}

void dog_series_forecast(const struct dog_series *s, const struct dog_series_config *c, int64_t now_ns,
                         struct dog_forecast out[DOG_SERIES_HORIZONS])
{
        dog_series_forecast_by(s, c, now_ns, DOG_SERIES_ENSEMBLE, out);
}

float dog_series_error(const struct dog_series *s, int horizon, enum dog_series_model_id model)
{
        if (horizon < 0 || horizon >= DOG_SERIES_HORIZONS || (unsigned)model > DOG_SERIES_MODEL_COUNT ||
            s->graded[horizon] == 0)
                return NAN;
        return s->abs_error[horizon][model];
}
