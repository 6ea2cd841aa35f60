#pragma once
/** The functions of the rows of DOG_SERIES_MODELS; their contract is struct dog_series_model. */
#include "models/series.h"

#define X(id, suffix, name, source)                                                                          \
        void dog_series_##suffix##_init(void *state, const struct dog_series_config *c);                     \
        void dog_series_##suffix##_update(void *state, const struct dog_series_config *c,                    \
                                          const struct dog_series_tick *tick);                               \
        void dog_series_##suffix##_forecast(const void *state, const struct dog_series_config *c,            \
                                            const struct dog_series_tick *tick, const float ahead_s[],       \
                                            float mean[]);
DOG_SERIES_MODELS(X)
#undef X

/** The AR coefficients now in force, newest lag first, for samples step_s apart. Always stable. */
void dog_series_ar_coefficients(const struct dog_series_ar *m, const struct dog_series_config *c,
                                float step_s, float coef[DOG_SERIES_AR_ORDER]);
