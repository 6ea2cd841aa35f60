#pragma once
/**
 * Errors: a negative errno as the return value, and one sentence for a person.
 *
 * The sentence tells what was tried, on what, why it failed and what to do:
 *     group backhaul: cannot attach to eth3: the driver has no native XDP; set "mode: generic"
 * The caller owns the struct dog_err; functions only fill it. NULL is allowed and means
 * "do not tell me".
 */
#include <stdarg.h>

struct dog_err {
        char text[512]; /**< always terminated; empty when nothing went wrong */
};

/** Fill the sentence and hand back rc, so that a failure is one line: return dog_err_set(e, -EINVAL, ...). */
int dog_err_set(struct dog_err *e, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** Put "where: " in front of a sentence that a lower floor has already written. Returns rc. */
int dog_err_prefix(struct dog_err *e, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));
