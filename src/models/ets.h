#pragma once
/**
 * ETS: exponential smoothing as a model with one source of error (Hyndman, Koehler, Ord and Snyder,
 * Forecasting with Exponential Smoothing, 2008, ch. 2): level only (A,N), level and trend (A,A), or level
 * and a trend that dies out (A,Ad). Which one, and its gains, are found by the likelihood and the corrected
 * Akaike criterion (Hurvich and Tsai 1989).
 *
 *     struct dog_ets m;
 *     dog_ets_fit(&m, value, count);
 *     dog_ets_update(&m, newest);           O(1)
 *     dog_ets_forecast(&m, 30, mean);
 *
 * Round trips and rates have heavy tails, so the likelihood is that of Laplace's distribution (the sum of
 * absolute errors, not of squares), and an error moves level and trend by no more than three of its usual
 * sizes (robust smoothing: Gelper, Fried and Croux, Journal of Forecasting 29, 2010).
 *
 * The values are taken as equally far apart. Pure: a value without pointers, no clock, no allocation.
 */
#include <stdint.h>

enum {
        DOG_ETS_MOST = 300, /**< a fit looks at the last so many values */
        DOG_ETS_LEAST = 12, /**< fewer values: level only, gain 0.3 */
};

enum dog_ets_kind { DOG_ETS_LEVEL, DOG_ETS_TREND, DOG_ETS_DAMPED };

struct dog_ets {
        uint8_t kind;      /**< enum dog_ets_kind */
        float alpha, beta; /**< gains of level and trend, 0..1; beta <= alpha */
        float phi;         /**< what is left of the trend after a step */
        float level, trend;
        float size; /**< usual absolute error; 0: unknown */
        float aicc;
};

/** Level only, gain 0.3, at `value`: what is said before there is a fit. */
void dog_ets_init(struct dog_ets *m, float value);

/**
 * Choose the kind and fit. NaN and infinite values are left out.
 * @param value  oldest first
 * @return how many values were used
 */
int dog_ets_fit(struct dog_ets *m, const float *value, int count);

/** The next value has come. NaN and infinity change nothing. The gains stay. */
void dog_ets_update(struct dog_ets *m, float value);

/** Silence: the trend is forgotten, the level stays. */
void dog_ets_forget(struct dog_ets *m);

/** Expected value `steps` ahead; steps > 0, need not be whole. */
float dog_ets_forecast(const struct dog_ets *m, float steps);
