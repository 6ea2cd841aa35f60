#pragma once
/**
 * Something is odd about these numbers: many metrics of one thing (a server, a dish, a node), watched
 * together as they come. Three views, each in its own usual spreads:
 *
 *   level     how far a metric is from its median: robust z, the median and the median distance followed by
 *             stochastic approximation (Tierney, SIAM Journal on Scientific and Statistical Computing 4,
 * 1983) jump      how far it is from where it just was: the residual of an EWMA (Roberts, Technometrics 1,
 * 1959) together  how badly the metrics fit each other: what is left after their DOG_ANOMALY_PARTS principal
 *             components, and how far out within them (Q and T2: Jackson and Mudholkar, Technometrics 21,
 *             1979), the components followed without a covariance matrix (CCIPCA: Weng, Zhang and Hwang,
 *             IEEE Transactions on Pattern Analysis and Machine Intelligence 25, 2003)
 *
 * Nothing is trained beforehand, and units do not matter. Wild values are cut at DOG_ANOMALY_CLIP spreads
 * before anything is learned, so that an incident does not become the new usual at once. The state is a value
 * without pointers, of bounded size. A sample costs O(metrics x parts): 1 to 2 us for 38 metrics. At
 * this size a BLAS call costs more than the loops it would replace, so none is used; a full covariance with
 * its factorisation (LAPACK) would be 38^2 numbers a node and was not worth it for the same answer.
 *
 * NaN: not measured. Nothing is learned of that metric, and it counts as usual. Nothing is said (score NaN)
 * before DOG_ANOMALY_WARM samples.
 */
#include <stdbool.h>
#include <stdint.h>

enum { DOG_ANOMALY_METRICS = 48, DOG_ANOMALY_PARTS = 4, DOG_ANOMALY_WARM = 30 };
#define DOG_ANOMALY_CLIP 6.0F

struct dog_anomaly_metric {
        float median, distance; /**< of the values; median distance from it */
        float ewma, residual;   /**< mean of the last ones; usual absolute distance from it */
        uint32_t count;
};

struct dog_anomaly {
        uint32_t count;  /**< samples */
        uint8_t metrics; /**< at most DOG_ANOMALY_METRICS */
        float memory;    /**< samples after which the usual has been forgotten to 1/e */
        struct dog_anomaly_metric metric[DOG_ANOMALY_METRICS];
        float part[DOG_ANOMALY_PARTS][DOG_ANOMALY_METRICS]; /**< components times their variance */
        float log_q, log_q_spread; /**< usual logarithm of what is left, and its usual distance from it */
        float log_t, log_t_spread; /**< of the distance within the components */
};

/** How odd one sample is. All in spreads, 0 and more, 3 is rare; NaN while warming up. */
struct dog_anomaly_score {
        float level;    /**< of the metric furthest from its median */
        float jump;     /**< of the one that moved most */
        float together; /**< of the fit between the metrics */
        float score;    /**< 0..1: all of it in one number; 0.5 is where people should look */
        uint8_t metric; /**< the one that is oddest, for the sentence */
};

/**
 * @param metrics  1..DOG_ANOMALY_METRICS; more are ignored
 * @param memory   in samples, at least 50; 1,000 is a good start
 */
void dog_anomaly_init(struct dog_anomaly *a, int metrics, float memory);
/** Score a sample by what was known before it, then learn from it. Pure. */
struct dog_anomaly_score dog_anomaly_learn(struct dog_anomaly *a, const float value[]);
