#pragma once
/**
 * Pictures of how good forecasts are, as SVG files that stand alone: no script, no font, no link, colours for
 * light and for dark surroundings (prefers-color-scheme).
 *
 * Reliability diagram: what was said against what happened, a circle a bin, its area by how often it was
 * said; on the diagonal a chance means what it says. Below it how often each chance was said, on a
 * logarithmic scale. Trade-off: the share of broken promises that is left over the share of traffic that is
 * sent twice (learn/tradeoff.h), one panel for steering with a copy on the second best, one for pairs.
 */
#include "learn/metrics.h"
#include "learn/tradeoff.h"

#include <stdio.h>

enum { DOG_PLOT_SERIES = 6 };

/** A horizon, or a model: at most DOG_PLOT_SERIES in one picture. Borrowed. */
struct dog_plot_bins {
        const char *name;
        const struct dog_bin *bin; /**< DOG_BINS of them */
};

struct dog_plot_tradeoff {
        const char *name;
        const struct dog_tradeoff *tradeoff; /**< ended */
};

/** Texts may hold anything; they are escaped. @return 0; -E2BIG for too many series, -EIO when the write
 * failed */
int dog_plot_calibration(FILE *to, const char *title, const struct dog_plot_bins *series, int count);
/** The same. @return also -ENODATA when no series has a step */
int dog_plot_tradeoff(FILE *to, const char *title, const struct dog_plot_tradeoff *series, int count);
