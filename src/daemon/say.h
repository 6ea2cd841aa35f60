#pragma once
/** What every view needs to say numbers and words. */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/** A number, or null for one that is not known: JSON has no NaN. */
static inline json_t *say_real(double v)
{
        return isfinite(v) ? json_real(v) : json_null();
}

/** A word of an object; "-" when it has none of that name. */
static inline const char *say_word(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "-";
}

/** A number of an object; NaN when it has none of that name. */
static inline double say_number(const json_t *o, const char *key)
{
        const json_t *v = json_object_get(o, key);
        return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/** printf behind what is in `to` already, cut at `room`. */
static inline void say_append(char *to, size_t room, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static inline void say_append(char *to, size_t room, const char *format, ...)
{
        size_t used = strlen(to);
        va_list args;
        va_start(args, format);
        vsnprintf(to + used, room - used, format, args);
        va_end(args);
}
