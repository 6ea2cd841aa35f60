#pragma once
/**
 * The states of the forecasters of series.h. Only they look inside; the structs are here so that a
 * series can embed them. All of them are values in single precision: three series a member, and a
 * million members in memory.
 */
#include "models/arima.h"
#include "models/ets.h"

#include <stdbool.h>
#include <stdint.h>

enum { DOG_SERIES_SEASON_MAX = 12, DOG_SERIES_AR_ORDER = 6, DOG_SERIES_PAST = 128 };

/** The last values, for forecasters that look at them again. Emptied by a gap. */
struct dog_series_past {
        float value[DOG_SERIES_PAST];
        uint16_t next;  /**< where the next one goes */
        uint16_t count; /**< how many are there */
};

/** One sample as a forecaster sees it. */
struct dog_series_tick {
        int64_t t_ns;
        float value;
        float dt_s;                         /**< since the last value; 0 for the first */
        float step_s;                       /**< typical distance of samples; 0 while unknown */
        bool is_gap;                        /**< dt_s is longer than config.gap_steps typical steps */
        const struct dog_series_past *past; /**< the newest value included */
};

struct dog_series_last {
        float value;
};

/** Each value weighs 2^(-age / half-life); `weight` is the sum of weights. */
struct dog_series_ewma {
        float mean;
        float weight;
};

struct dog_series_holt {
        float level;
        float trend; /**< per second */
        uint32_t count;
        float season[DOG_SERIES_SEASON_MAX];
};

struct dog_series_ar {
        float mean;
        float weight;
        float lag[DOG_SERIES_AR_ORDER];     /**< newest first, as values */
        float cov[DOG_SERIES_AR_ORDER + 1]; /**< exponentially weighted, about the mean */
        uint32_t lags;                      /**< how many of lag[] are known */
};

/** When a fitted forecaster is fitted anew; see series_fitted.c. */
struct dog_series_clock {
        uint16_t wait;  /**< values until the next fit */
        uint16_t every; /**< values when it was last done; 0: before the first value */
        uint16_t bad;   /**< rises while errors are far larger than usual */
        uint16_t rest;  /**< values until that may call for a fit again */
        bool is_fitted;
        float shift; /**< the model sees ln(value + shift); 0: it sees the value */
};

struct dog_series_arima {
        struct dog_series_clock clock;
        struct dog_arima model;
};

struct dog_series_ets {
        struct dog_series_clock clock;
        struct dog_ets model;
};

struct dog_series_median {
        float value;
        uint8_t wait; /**< values until it is looked for again */
};
