#pragma once
/**
 * Quantities with units, as people write them in a configuration: 80ms, 0.1%, 20GB, 5Mbit/s.
 * A bare number is an error where a unit is expected, because it is where mistakes hide.
 *
 *   time   ns us ms s min h d          -> nanoseconds
 *   share  % or a number in 0..1       -> 0..1
 *   size   B kB MB GB TB KiB MiB GiB   -> bytes (k = 1000, Ki = 1024)
 *   rate   bit/s kbit/s Mbit/s Gbit/s  -> bits per second
 *
 * All return 0, or -EINVAL with a sentence that lists the units that would have been right,
 * or -ERANGE when the number does not fit.
 */
#include "base/err.h"

#include <stdint.h>

int dog_units_time(const char *text, int64_t *ns, struct dog_err *e);
int dog_units_share(const char *text, double *share, struct dog_err *e);
int dog_units_size(const char *text, uint64_t *bytes, struct dog_err *e);
int dog_units_rate(const char *text, double *bits_per_s, struct dog_err *e);

/** Write a time for people: "350us", "11.2ms", "4.0s", "3h12m". `to` holds at least 16 bytes. */
const char *dog_units_time_text(int64_t ns, char *to);
/** Write bytes for people: "812B", "3.1GB". `to` holds at least 16 bytes. */
const char *dog_units_size_text(uint64_t bytes, char *to);
