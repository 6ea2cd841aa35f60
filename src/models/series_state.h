#pragma once
/**
 * The states of the forecasters of series.h. Only they look inside; the structs are here so that a
 * series can embed them. All of them are values in single precision: three series a member, and a
 * million members in memory.
 */
#include <stdbool.h>
#include <stdint.h>

enum { DOG_SERIES_SEASON_MAX = 12, DOG_SERIES_AR_ORDER = 6 };

/** One sample as a forecaster sees it. */
struct dog_series_tick {
        int64_t t_ns;
        float value;
        float dt_s;   /**< since the last value; 0 for the first */
        float step_s; /**< typical distance of samples; 0 while unknown */
        bool is_gap;  /**< dt_s is longer than config.gap_steps typical steps */
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
