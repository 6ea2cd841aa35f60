#include "base/clock.h"

#include <time.h>

static int64_t clock_read(clockid_t id)
{
        struct timespec t;
        clock_gettime(id, &t);
        return (int64_t)t.tv_sec * DOG_S + t.tv_nsec;
}

int64_t dog_clock_mono_ns(void)
{
        return clock_read(CLOCK_MONOTONIC);
}

int64_t dog_clock_wall_ns(void)
{
        return clock_read(CLOCK_REALTIME);
}

int64_t dog_clock_cpu_ns(void)
{
        return clock_read(CLOCK_THREAD_CPUTIME_ID);
}
