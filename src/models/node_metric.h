#pragma once
/**
 * One number that a node reports (processor, memory, packets ...), watched on its own: what is usual for it,
 * how far it is from that now, and how near to its limit.
 *
 * Nothing is known beforehand of the number's unit or size: everything is measured in the metric's own
 * spread, learned as values come. Constant time a value; a value that is NaN was not measured and changes
 * nothing. The time of day is taken modulo 24 h from an arbitrary zero, so "yesterday at this time" needs no
 * time zone. No pointers; about 5 KB, nearly all of it the last day in slots of five minutes.
 *
 * Sources: exponentially weighted mean and variance: Finch, "Incremental calculation of weighted mean and
 * variance", 2009; quantiles: models/quantile.h; cumulative sum: Page, Biometrika 41, 1954; recursive least
 * squares with forgetting: Ljung, "System Identification", 2nd ed., section 11.2.
 */
#include "models/quantile.h"

#include <stdbool.h>
#include <stdint.h>

enum {
        DOG_NODE_SLOTS = 288, /**< of a day: five minutes each */
        DOG_NODE_HORIZONS = 3 /**< 5, 15, 60 min */
};
#define DOG_NODE_SLOT_S (86400 / DOG_NODE_SLOTS)
/** The horizons in seconds: 300, 900, 3600. */
extern const int64_t dog_node_horizon_s[DOG_NODE_HORIZONS];

/** Memories of means, in seconds: 10 min, 1 h, 6 h, 24 h. */
enum dog_node_memory { DOG_NODE_10MIN, DOG_NODE_1H, DOG_NODE_6H, DOG_NODE_24H, DOG_NODE_MEMORIES };

/** How unusual the newest value is, each in spreads, >= 0 but for `level`. */
struct dog_node_surprise {
        float level;     /**< signed: from the median of its history, in its history's spread */
        float adaptive;  /**< from the mean of 6 h, in the spread of 6 h */
        float residual;  /**< from the mean of 1 h, in the usual size of that distance */
        float order;     /**< from an autoregression's word, in the usual size of its errors */
        float drift;     /**< the cumulative sum, up or down, whichever is larger */
        float yesterday; /**< from the same time of yesterday, in its history's spread */
        float daily;     /**< from the same time of earlier days, in the usual size of that distance */
};

struct dog_node_metric {
        double mean[DOG_NODE_MEMORIES];
        double var_6h, var_long, mean_long;
        double miss_1h, miss_order, miss_daily;     /**< mean squares of these distances */
        double order_weight[4];                     /**< of 1 and the last three values */
        double order_inverse[4][4];                 /**< of their correlation */
        float before[3];                            /**< the last values, standardised, newest first */
        float up, down;                             /**< cumulative sums */
        struct dog_quantile low, middle, high, top; /**< 5, 50, 95, 99 % */

        float limit; /**< above it is overload; NaN: none */
        float value, value_before;
        int64_t t_s;                           /**< of the newest value */
        int64_t first_s;                       /**< of the first */
        int64_t above_s;                       /**< when it was last above the limit; INT64_MIN: never */
        int64_t crossed_s;                     /**< when it last went from below to above */
        int64_t below_s;                       /**< since when it has not been above */
        float above_1h, above_24h, above_long; /**< share of the time above */
        float crossed_24h, crossed_long;       /**< crossings an hour */
        float var_1h;
        uint32_t count;

        /* The last day. A slot holds what was seen a day ago until its time comes again. */
        int64_t slot; /**< number since the zero of time of the slot being filled */
        float filling_sum, filling_max;
        uint32_t filling_count;
        float slot_mean[DOG_NODE_SLOTS], slot_max[DOG_NODE_SLOTS]; /**< NaN: nothing yet */
        float usual_mean[DOG_NODE_SLOTS];                          /**< mean over days of the mean */
        float usual_max[DOG_NODE_SLOTS];                           /**< mean over days */
        float usual_cross[DOG_NODE_SLOTS];                         /**< share of days with a crossing */
        bool has_crossed;                                          /**< in the slot being filled */
        struct dog_node_surprise surprise;
};

void dog_node_metric_init(struct dog_node_metric *m);
/** Above this is overload. NaN: by its own history, the 99th percentile of what was seen so far. */
void dog_node_metric_limit(struct dog_node_metric *m, float limit);
/** The limit in force; NaN while nothing is known. */
float dog_node_metric_limit_now(const struct dog_node_metric *m);
/** Take one value. The surprises are by what was known before it. t_s advances; the caller checks. */
void dog_node_metric_observe(struct dog_node_metric *m, int64_t t_s, float value);
/** Its usual spread, > 0 whatever came. */
float dog_node_metric_spread(const struct dog_node_metric *m);
/** The highest value of yesterday in (t, t + ahead]; NaN: not known. */
float dog_node_metric_yesterday(const struct dog_node_metric *m, int64_t t_s, int64_t ahead_s);
