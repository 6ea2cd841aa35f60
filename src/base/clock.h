#pragma once
/**
 * Time. Monotonic nanoseconds unless a name says "wall". The core never calls these: it is
 * given now_ns, which is what makes replay and simulation the same code as live.
 */
#include <stdint.h>

#define DOG_US INT64_C(1000)
#define DOG_MS INT64_C(1000000)
#define DOG_S  INT64_C(1000000000)

int64_t dog_clock_mono_ns(void);
int64_t dog_clock_wall_ns(void);
/** CPU time of the calling thread, for benches. */
int64_t dog_clock_cpu_ns(void);
