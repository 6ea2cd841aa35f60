#pragma once
/**
 * ARIMA(p, d, q): a series is forecast from its own last values and from the last errors made about it.
 *
 *     struct dog_arima m;
 *     dog_arima_fit(&m, value, count);          tens of microseconds for 300 values
 *     dog_arima_update(&m, newest);             O(p + q), as values come
 *     dog_arima_forecast(&m, 30, mean);         mean[0..29], 1 to 30 steps ahead
 *
 * The values are taken as equally far apart. Orders: d is 0 or 1 by the KPSS test at 5 % (Kwiatkowski,
 * Phillips, Schmidt and Shin, Journal of Econometrics 54, 1992); p up to 3 and q up to 2 by the corrected
 * Akaike criterion (Hurvich and Tsai, Biometrika 76, 1989), as Hyndman and Khandakar do (Journal of
 * Statistical Software 27:3, 2008). Coefficients: Hannan and Rissanen (Biometrika 69, 1982) for all orders
 * from one set of sums, then, for the three best, Gauss-Newton steps on the conditional sum of squares (Box
 * and Jenkins, Time Series Analysis, ch. 7), with errors beyond three spreads weighed down (Huber, Annals of
 * Mathematical Statistics 35, 1964). The model is always stationary and invertible: coefficients that are
 * not are drawn towards zero until they are.
 *
 * Pure: a value without pointers, no clock, no allocation; about 8 KB of stack in a fit.
 */
#include <stdint.h>

enum {
        DOG_ARIMA_P = 3,
        DOG_ARIMA_Q = 2,
        DOG_ARIMA_MOST = 300, /**< a fit looks at the last so many values */
        DOG_ARIMA_LEAST = 20, /**< fewer values: the fit is the random walk, (0,1,0) */
};

struct dog_arima {
        uint8_t p, d, q;
        float ar[DOG_ARIMA_P]; /**< of the series, or of its differences when d is 1; newest lag first */
        float ma[DOG_ARIMA_Q];
        float mean;              /**< d = 0: of the series; else 0 */
        float variance;          /**< of the errors one step ahead; 0 for a constant */
        float aicc;              /**< comparable for equal d and equal data */
        float value;             /**< the newest */
        float lag[DOG_ARIMA_P];  /**< of the series or its differences, less the mean; newest first */
        float miss[DOG_ARIMA_Q]; /**< the errors made about the newest values */
};

/** The random walk at `value`: what is said before there is a fit. */
void dog_arima_init(struct dog_arima *m, float value);

/**
 * Choose the orders and fit. NaN and infinite values are left out, as if they had not been there.
 * @param value  oldest first
 * @return how many values were used; below DOG_ARIMA_LEAST the model is the random walk (at 0 for none)
 */
int dog_arima_fit(struct dog_arima *m, const float *value, int count);

/** The next value has come. NaN and infinity change nothing. The coefficients stay. */
void dog_arima_update(struct dog_arima *m, float value);

/** Silence: what is remembered of the last values is forgotten but for the newest, the coefficients stay. */
void dog_arima_forget(struct dog_arima *m);

/** Expected values 1..steps ahead. */
void dog_arima_forecast(const struct dog_arima *m, int steps, float mean[]);
