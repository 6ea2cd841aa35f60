#pragma once
/**
 * Forecasting one series of numbers: a latency, a jitter, a loss, a rate, a CPU share.
 *
 * A series runs several forecasters side by side, grades each one at every horizon when its time has
 * come, and weighs them by that record. Numbers in, belief out: no clock, no allocation, no pointer in
 * the state, so a struct dog_series may be embedded, copied with memcpy and compared bit by bit.
 *
 *     struct dog_series_config c = dog_series_config_of(DOG_SERIES_OF_LATENCY);
 *     struct dog_series s;
 *     struct dog_forecast f[DOG_SERIES_HORIZONS];
 *     dog_series_init(&s, &c);
 *     dog_series_update(&s, &c, rtt_ms, t_ns);
 *     dog_series_forecast(&s, &c, now_ns, f);        f[0].mean +- f[0].spread, one second ahead
 *
 * A new forecaster is one row of DOG_SERIES_MODELS, one struct in series_state.h and three functions;
 * the ensemble, the grading and the surfaces take it from the table.
 *
 * What is defined for bad days:
 *   - NaN or infinite value: not measured. Nothing learns, no outcome is graded with it; time goes on.
 *   - clock not advancing (t_ns <= the last one): the sample is dropped and counted in `late`.
 *   - gap longer than gap_steps typical steps: lags and trend are forgotten, levels are kept with a
 *     weight that has decayed with time; outcomes that fell into the gap are not graded.
 *   - constant series: the forecast is the constant, the spread goes to 0.
 *   - no sample yet: mean and spread are NaN.
 *   - every forecast lies within [floor, ceiling] of the config and within the range seen lately,
 *     widened by half of it on both sides.
 */
#include "models/series_state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DOG_SERIES_HORIZONS = 3, DOG_SERIES_PENDING = 2 /**< forecasts under way at each horizon */ };

/** What kind of number it is: sets units, bounds and memory in dog_series_config_of. */
#define DOG_SERIES_SIGNALS(X)                                                                                \
        X(LATENCY, "latency", "ms")                                                                          \
        X(JITTER, "jitter", "ms")                                                                            \
        X(LOSS, "loss", "share")                                                                             \
        X(RATE, "rate", "kbit/s")                                                                            \
        X(OTHER, "other", "")

enum dog_series_signal {
#define X(id, name, unit) DOG_SERIES_OF_##id,
        DOG_SERIES_SIGNALS(X)
#undef X
                DOG_SERIES_OF_COUNT
};

/**
 * The forecasters: id, function and struct suffix, name people see, where it is described.
 * The order is the order of the table and of the weights; append only, stores keep the number.
 */
#define DOG_SERIES_MODELS(X)                                                                                 \
        X(LAST, last, "last value", "Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 5.2") \
        X(EWMA, ewma, "EWMA", "Brown, Statistical Forecasting for Inventory Control, 1959")                  \
        X(HOLT, holt, "Holt-Winters", "Winters, Management Science 6:3, 1960; damped: Gardner 1985")         \
        X(AR, ar, "AR", "Levinson 1947, Durbin 1960, on exponentially weighted autocovariances")             \
        X(ARIMA, arima, "ARIMA", "Box and Jenkins; Hannan and Rissanen 1982; see arima.h")                   \
        X(ETS, ets, "ETS", "Hyndman, Koehler, Ord and Snyder 2008; see ets.h")                               \
        X(MEDIAN, median, "recent median", "Tukey, Exploratory Data Analysis, 1977, ch. 7")

enum dog_series_model_id {
#define X(id, suffix, name, source) DOG_SERIES_##id,
        DOG_SERIES_MODELS(X)
#undef X
                DOG_SERIES_MODEL_COUNT,
        DOG_SERIES_ENSEMBLE = DOG_SERIES_MODEL_COUNT /**< all of them, weighed by their record */
};

/**
 * How a series is treated. Shared by any number of series; a series never keeps a pointer to it, so
 * pass the same one each time. All times in seconds except where the name says ns.
 */
struct dog_series_config {
        int64_t horizon_ns[DOG_SERIES_HORIZONS]; /**< rising; 1, 5, 30 s by default */
        float ewma_half_life_s;
        float level_half_life_s;  /**< Holt-Winters */
        float trend_half_life_s;  /**< Holt-Winters */
        float trend_damp_s;       /**< time in which a trend dies out; INFINITY never, 0 no trend */
        float season_half_life_s; /**< Holt-Winters, in time spent, not in seasons */
        int64_t season_slot_ns;   /**< length of one slot of the season */
        uint32_t season_slots;    /**< 0 no season; at most DOG_SERIES_SEASON_MAX */
        float ar_half_life_s;     /**< memory of the autocovariances */
        float record_outcomes;    /**< a forecaster's record forgets with this many outcomes */
        float gap_steps;          /**< silence longer than this many typical steps is a gap */
        float floor;              /**< no forecast below this */
        float ceiling;            /**< nor above this */
        bool is_warming_up;       /**< Holt-Winters: the first gains are 1/n, not the final ones */
        bool is_fit_log;          /**< ARIMA and ETS see logarithms: for values that are never below 0 */
};

/** The value at one horizon. A value. */
struct dog_forecast {
        float mean;     /**< in the unit of the series; NaN: nothing is known */
        float spread;   /**< one standard deviation, from the forecaster's own errors at this horizon */
        uint32_t count; /**< graded outcomes behind the spread; 0: the spread is the series' own */
};

/**
 * One forecaster, as the table sees it. `state` is that forecaster's part of struct dog_series.
 *   init      an empty state.
 *   update    a finite value, dt_s > 0 seconds after the one before; dt_s = 0 for the first, and
 *             after a gap dt_s is the true distance and is_gap is set.
 *   forecast  the means at `ahead_s[0..DOG_SERIES_HORIZONS-1]` seconds after the last value; `step_s`
 *             is the typical distance of samples. Called only after an update.
 */
struct dog_series_model {
        const char *name;
        const char *source;
        size_t state_offset; /**< within struct dog_series_states */
        size_t state_size;
        void (*init)(void *state, const struct dog_series_config *c);
        void (*update)(void *state, const struct dog_series_config *c, const struct dog_series_tick *tick);
        void (*forecast)(const void *state, const struct dog_series_config *c,
                         const struct dog_series_tick *tick, const float ahead_s[], float mean[]);
};

extern const struct dog_series_model dog_series_models[DOG_SERIES_MODEL_COUNT];

/** States of all forecasters, and nothing else. */
struct dog_series_states {
#define X(id, suffix, name, source) struct dog_series_##suffix suffix;
        DOG_SERIES_MODELS(X)
#undef X
};

/** A series. A value: no pointers. Read it through the functions. */
struct dog_series {
        int64_t last_ns; /**< time of the last value; INT64_MIN none */
        int64_t made_ns[DOG_SERIES_HORIZONS][DOG_SERIES_PENDING]; /**< when it was made; INT64_MIN none */
        int64_t newest_ns[DOG_SERIES_HORIZONS];   /**< the newest of them, graded or not; INT64_MIN none */
        float last, step_s, low, high, mean, var; /**< low and high: range seen lately */
        uint32_t count, late;                 /**< values taken; samples dropped because time stood still */
        uint16_t graded[DOG_SERIES_HORIZONS]; /**< saturates */
        bool is_expected; /**< expected[] is the ensemble's forecast as of the last value */
        float expected[DOG_SERIES_HORIZONS];
        struct dog_series_past past;
        struct dog_series_states state;
        float pending[DOG_SERIES_HORIZONS][DOG_SERIES_PENDING][DOG_SERIES_MODEL_COUNT + 1];
        float abs_error[DOG_SERIES_HORIZONS][DOG_SERIES_MODEL_COUNT + 1];
        float square_error[DOG_SERIES_HORIZONS][DOG_SERIES_MODEL_COUNT + 1];
};

struct dog_series_config dog_series_config_of(enum dog_series_signal signal);
void dog_series_init(struct dog_series *s, const struct dog_series_config *c);
/** Take one sample: grade what has come true, learn, leave new forecasts to be graded. */
void dog_series_update(struct dog_series *s, const struct dog_series_config *c, double value, int64_t t_ns);
/** The ensemble's forecast at now_ns + each horizon. now_ns before the last sample counts as the last. */
void dog_series_forecast(const struct dog_series *s, const struct dog_series_config *c, int64_t now_ns,
                         struct dog_forecast out[DOG_SERIES_HORIZONS]);
/** The same by one forecaster; DOG_SERIES_ENSEMBLE is allowed, another number gives NaN. */
void dog_series_forecast_by(const struct dog_series *s, const struct dog_series_config *c, int64_t now_ns,
                            enum dog_series_model_id model, struct dog_forecast out[DOG_SERIES_HORIZONS]);
/** The ensemble's weights at one horizon (0..2); they sum to 1. */
void dog_series_weights(const struct dog_series *s, int horizon, float weight[DOG_SERIES_MODEL_COUNT]);
/** Mean absolute error on record, in the unit of the series; NaN while nothing was graded. */
float dog_series_error(const struct dog_series *s, int horizon, enum dog_series_model_id model);

const char *dog_series_signal_name(enum dog_series_signal signal);
const char *dog_series_signal_unit(enum dog_series_signal signal);
