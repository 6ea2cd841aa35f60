#pragma once
/**
 * Exponential and logarithm in single precision, short enough to be inlined and vectorised.
 *
 * Taylor series on a reduced range (after Cody and Waite, Software Manual for the Elementary
 * Functions, 1980). Relative error under 8e-6 for exp within -80..80 (it is the rounding of the argument),
 * under 2e-7 of max(1, |result|) for log: far below what a forecast knows. Unlike libm's, they give the same
 * bits with every C library.
 */
#include <stdint.h>
#include <string.h>

/** 2^x; 0 below -126, 2^127 above 127. NaN gives 2^127. */
static inline float dog_fast_exp2(float x)
{
        x = x < 127.0F ? x : 127.0F;
        if (x < -126.0F)
                return 0;
        /* Nearest whole number by the bias that pushes the fraction out of the mantissa. */
        float whole = (x + 12582912.0F) - 12582912.0F;
        float t = (x - whole) * 0.693147181F;
        float p = 0.0083333333F + t * 0.00138888889F;
        p = 1.0F + t * (1.0F + t * (0.5F + t * (0.166666667F + t * (0.0416666667F + t * p))));
        union {
                float f;
                int32_t i;
        } u = {.f = p};
        u.i += (int32_t)whole * (1 << 23);
        return u.f;
}

static inline float dog_fast_exp(float x)
{
        return dog_fast_exp2(x * 1.44269504F);
}

/** Floats as whole numbers of the same order; -0 is 0. The sign of a NaN decides whether it is first or last.
 */
static inline uint32_t dog_fast_order(float x)
{
        uint32_t bits;
        x += 0.0F;
        memcpy(&bits, &x, sizeof(bits));
        return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000U);
}

/** ln x for normal x > 0; x <= 0 or tiny gives ln of the smallest normal number. */
static inline float dog_fast_log(float x)
{
        union {
                float f;
                int32_t i;
        } u = {.f = x > 1.17549435e-38F ? x : 1.17549435e-38F};
        /* Mantissa into [sqrt(1/2), sqrt(2)), where the series in s = (m-1)/(m+1) is short. */
        int32_t e = (u.i - 0x3f3504f3) >> 23;
        u.i -= e * (1 << 23);
        float s = (u.f - 1.0F) / (u.f + 1.0F);
        float s2 = s * s;
        float series = 2.0F * s *
                       (1.0F + s2 * (0.333333333F + s2 * (0.2F + s2 * (0.142857143F + s2 * 0.111111111F))));
        return (float)e * 0.693147181F + series;
}
