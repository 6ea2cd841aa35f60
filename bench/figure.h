#pragma once
/**
 * How a bench says what it found: a table for people on standard error, one JSON object a line
 * on standard output.
 *     {"figure":"tunnel.mirror2_of_floor","value":0.74,"unit":"ratio","min":0.73,"max":0.75,"runs":5}
 */
#include <stddef.h>

/** The median of the values is the figure. Sorts them in place. */
void figure_print(const char *name, const char *unit, double *values, size_t count);
/** A figure that could not be measured, and why. */
void figure_null(const char *name, const char *unit, const char *why);
/** The median; sorts in place. 0 for none. */
double figure_median(double *values, size_t count);
/** SECONDS_PER of the environment: seconds for each thing measured, or the preset. */
double figure_seconds(double preset);
