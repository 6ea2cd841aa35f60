#pragma once
/** What the fits of series share. */
#include <math.h>

/**
 * The newest values that were measured, oldest first: what is not finite is passed over.
 * @param to    room for `most`
 * @return how many
 */
static inline int dog_fit_newest(float *to, int most, const float *value, int count)
{
        int from = count;
        int n = 0;
        while (from > 0 && n < most)
                n += isfinite(value[--from]) ? 1 : 0;
        n = 0;
        for (int i = from; i < count; i++)
                if (isfinite(value[i]))
                        to[n++] = value[i];
        return n;
}
