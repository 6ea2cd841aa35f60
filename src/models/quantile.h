#pragma once
/**
 * Quantiles of a stream in little memory. Values, no pointers.
 *
 * dog_quantile: one quantile of everything so far (P-square: Jain and Chlamtac, CACM 28:10, 1985).
 * dog_window:   the median of the last 60 s, or any window, for promises of the form
 *               "rtt over twice its recent median".
 */
#include <stdbool.h>
#include <stdint.h>

struct dog_quantile {
        float height[5];
        float position[5];
        float share; /**< 0..1 */
        uint32_t count;
};
void dog_quantile_init(struct dog_quantile *q, double share);
void dog_quantile_learn(struct dog_quantile *q, double value); /**< NaN is ignored */
double dog_quantile_get(const struct dog_quantile *q);         /**< NaN before the first */

/**
 * Sliding median. The window is cut into 60 slots; a slot keeps the median of its first 8 values.
 * Exact up to one value a slot (1 a second for 60 s); above, the median of slot medians: on log-normal
 * noise of deviation 0.7 at five a second it is 3 % off on average. Values are kept
 * as 16-bit logarithms of [1e-3, 1e6]: 0.016 % steps; smaller ones count as 1e-3.
 */
enum { DOG_WINDOW_SLOTS = 60, DOG_WINDOW_SLOT_VALUES = 8 };
struct dog_window {
        int64_t slot_ns;
        int64_t slot;                      /**< number of the slot being filled: t_ns / slot_ns */
        uint16_t ring[DOG_WINDOW_SLOTS];   /**< by slot number modulo the size; 0 empty */
        uint16_t sorted[DOG_WINDOW_SLOTS]; /**< the same, ascending */
        uint16_t fresh[DOG_WINDOW_SLOT_VALUES];
        uint8_t sorted_count, fresh_count;
        uint16_t count; /**< values since the last silence longer than the window; saturates */
};
/** At least 60 us long. */
void dog_window_init(struct dog_window *w, int64_t window_ns);
/** Values > 0; NaN and time running backwards are ignored. */
void dog_window_learn(struct dog_window *w, double value, int64_t t_ns);
/** Median of the window up to now_ns; NaN while fewer than `least` values came since a silence as long as it.
 */
double dog_window_median(const struct dog_window *w, int64_t now_ns, int least);
