#include "alloc_fail.h"

#include "check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ALLOC_RUNS_MAX = 100000 };

static size_t alloc_fail_at; /* 0: never */
static size_t alloc_count;
static bool alloc_has_failed;

static bool alloc_fails_now(void)
{
        if (alloc_fail_at == 0 || ++alloc_count != alloc_fail_at)
                return false;
        alloc_has_failed = true;
        errno = ENOMEM;
        return true;
}

/* The linker's names (ld(1), --wrap); nothing else declares them. */
#define ALLOC_WRAP(type, name, params, ...)                                                                  \
        type __real_##name params;                                                                           \
        type __wrap_##name params;                                                                           \
        type __wrap_##name params                                                                            \
        {                                                                                                    \
                return alloc_fails_now() ? NULL : __real_##name(__VA_ARGS__);                                \
        }

ALLOC_WRAP(void *, malloc, (size_t size), size)
ALLOC_WRAP(void *, calloc, (size_t count, size_t size), count, size)
ALLOC_WRAP(void *, realloc, (void *old, size_t size), old, size)
ALLOC_WRAP(void *, reallocarray, (void *old, size_t count, size_t size), old, count, size)
ALLOC_WRAP(char *, strdup, (const char *text), text)
ALLOC_WRAP(char *, strndup, (const char *text, size_t size), text, size)

static size_t alloc_run(int (*run)(void *, struct dog_err *), void *user, bool is_tolerated)
{
        for (size_t n = 1; n < ALLOC_RUNS_MAX; n++) {
                struct dog_err e = {0};
                alloc_count = 0;
                alloc_has_failed = false;
                alloc_fail_at = n;
                int rc = run(user, &e);
                alloc_fail_at = 0;
                if (!alloc_has_failed) {
                        OK(rc == 0, "with all its memory it gave %d: %s", rc, e.text);
                        return n - 1;
                }
                OK(rc == -ENOMEM || (is_tolerated && rc == 0), "allocation %zu failed and it gave %d: %s", n,
                   rc, e.text);
                OK(rc == 0 || e.text[0], "allocation %zu failed without a sentence", n);
        }
        OK(false, "no end after %d runs: each needs more memory than the one before?", ALLOC_RUNS_MAX);
        return ALLOC_RUNS_MAX;
}

size_t alloc_fail_each(int (*run)(void *user, struct dog_err *e), void *user)
{
        return alloc_run(run, user, false);
}

size_t alloc_fail_tolerated(int (*run)(void *user, struct dog_err *e), void *user)
{
        return alloc_run(run, user, true);
}
