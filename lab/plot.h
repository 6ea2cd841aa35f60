#pragma once
/**
 * The picture of one comparison, as SVG: what the paths did, which of them carried the class, and what became
 * of the call without Sundog and with it. Nothing but a file is needed to look at it; it follows the reader's
 * choice of dark or light.
 *
 *   delay of each path over time, logarithmic, a thin line in its own smoke; losses as ticks above
 *   carried by: one row a path, filled while it carried the class; two filled rows are a mirror
 *   one row a run: a mark where packets were late, a taller one where they were lost; the share at its end
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LAB_PLOT_PATHS 8
#define LAB_PLOT_RUNS  4

struct lab_plot_point {
        double t_ms;
        double delay_ms; /**< one way; NAN draws a gap */
        bool is_lost;
};

struct lab_plot_path {
        const char *name;
        const struct lab_plot_point *point;
        size_t points;
};

/** Which paths carried the class from t_ms until the next one: bit n is path n. */
struct lab_plot_carried {
        double t_ms;
        unsigned paths;
};

/** Some packets of one slot. */
struct lab_plot_mark {
        double t_ms;
        unsigned expected, late, lost;
};

struct lab_plot_run {
        const char *name;
        const struct lab_plot_mark *mark;
        size_t marks;
};

/** Borrows everything. Paths keep the order in which they are given, which also gives the colours. */
struct lab_plot {
        const char *title, *subtitle;
        double from_ms, to_ms;
        double late_ms; /**< drawn as a line */
        double slot_ms; /**< width of a mark */
        struct lab_plot_path path[LAB_PLOT_PATHS];
        size_t paths;
        const struct lab_plot_carried *carried;
        size_t carried_count;
        struct lab_plot_run run[LAB_PLOT_RUNS];
        size_t runs;
};

/** Write the SVG. -EINVAL when there is no time to draw or more than fits; -EIO when writing failed. */
int lab_plot_write(const struct lab_plot *p, FILE *out, struct dog_err *e);
