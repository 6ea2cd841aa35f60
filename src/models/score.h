#pragma once
/**
 * Quality as a number for people: 0 to 100, forecast blended with what is measured now (P8).
 *
 * Each metric first becomes headroom h against its promise, 0 at the limit:
 *     latency, jitter, loss, response (smaller is better):  h = log2(limit / value)
 *     rate (larger is better):                              h = log2(value / need)
 * where value is the blend (1 - share) x live + share x (forecast + doubt x spread on the bad side).
 * A metric's score is 100 / (1 + 2^(-2 h)): 50 at the limit, 80 at half of it, 94 at a quarter, 20 at
 * twice the limit. The quality is the weighted power mean of exponent -1 (harmonic) of the metrics, so
 * that one broken promise cannot be bought back by three kept ones; weights 0 leave a metric out.
 * 100 is far inside, 50 at the limit with everything at the limit; monotone in every metric.
 * A metric that is not measured (NaN live and forecast) is left out and named in `missing`.
 */
#include <stdint.h>

enum dog_metric {
        DOG_METRIC_LATENCY,
        DOG_METRIC_JITTER,
        DOG_METRIC_LOSS,
        DOG_METRIC_RATE,
        DOG_METRIC_RESPONSE,
        DOG_METRIC_COUNT
};

struct dog_score_promise {
        double limit[DOG_METRIC_COUNT];  /**< ms, ms, share, kbit/s needed, ms; <= 0 or NaN: no promise */
        double weight[DOG_METRIC_COUNT]; /**< >= 0; only their ratios matter */
        double forecast_share;           /**< 0 live only .. 1 forecast only; default 0.5 */
        double doubt;                    /**< spreads added on the bad side; default 0.5 */
};

struct dog_score_input {
        double live[DOG_METRIC_COUNT]; /**< NaN: not measured */
        double mean[DOG_METRIC_COUNT]; /**< forecast; NaN: none */
        double spread[DOG_METRIC_COUNT];
};

struct dog_score {
        double quality;                  /**< 0..100; NaN when no metric with a promise is known */
        double metric[DOG_METRIC_COUNT]; /**< 0..100 each; NaN: not measured or no promise */
        uint32_t missing;                /**< bit m: metric m has a promise and no value */
};

/** Weights 4, 2, 3, 2, 4; no limits set. */
struct dog_score_promise dog_score_promise_default(void);
struct dog_score dog_score_of(const struct dog_score_promise *promise, const struct dog_score_input *in);
const char *dog_metric_name(enum dog_metric metric);
