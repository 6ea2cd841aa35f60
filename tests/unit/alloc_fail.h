#pragma once
/**
 * Every allocation that can fail, fails once: the test runs a piece of code again and again, letting
 * allocation 1 fail, then 2, then 3, until a run gets through with none left to fail.
 *
 *     static int read_all(void *user, struct dog_err *e)
 *     {
 *             struct dog_trace *t;
 *             int rc = dog_trace_open(&t, user, e);
 *             ...close what was opened, on every way out...
 *             return rc;
 *     }
 *     ...
 *     size_t n = alloc_fail_each(read_all, "x.csv");
 *     OK(n >= 2, "%zu allocations, each survived", n);
 *
 * A run that was refused memory must return -ENOMEM and a sentence, or, where the code can do without, 0:
 * say which with alloc_fail_each or alloc_fail_tolerated. Anything else is a failed statement. What such a
 * run leaks, the address sanitizer's build finds.
 *
 * To use it, name alloc_fail_dep beside your library in tests/unit/meson.build. It makes the linker send
 * malloc, calloc, realloc, reallocarray, strdup and strndup of everything linked statically (our code, not
 * the shared libraries) through here; until alloc_fail_each runs they pass through. One thread only.
 */
#include "base/err.h"

#include <stddef.h>

/** @return how many allocations a full run makes, which is how many were made to fail */
size_t alloc_fail_each(int (*run)(void *user, struct dog_err *e), void *user);
/** The same for code that may also go on without the memory. */
size_t alloc_fail_tolerated(int (*run)(void *user, struct dog_err *e), void *user);
