#pragma once
/**
 * The text format in which Prometheus metrics are exposed, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/): one sample a line,
 *     name{label="value",other="a \"b\""} 12.5 1395066363000
 * Comments, HELP and TYPE are passed over. Nothing is allocated: samples borrow the text.
 */
#include <stdbool.h>
#include <stddef.h>

struct dog_exposition {
        const char *at, *end;
        unsigned line;  /**< of the sample last given, from 1 */
        bool is_broken; /**< a line is not in the format; nothing more is given */
};

/** A piece of the text, not terminated. */
struct dog_span {
        const char *text;
        size_t size;
};

struct dog_exposition_sample {
        struct dog_span name;
        struct dog_span labels; /**< between the braces; checked */
        double value;           /**< may be NaN or infinite: the format has both */
};

struct dog_exposition dog_exposition_of(const char *text, size_t size);
/** The next sample; false at the end and when a line is broken. */
bool dog_exposition_next(struct dog_exposition *x, struct dog_exposition_sample *s);
bool dog_span_is(struct dog_span s, const char *text);
/** The value of a label, escapes resolved, cut to fit and terminated. False, and "": it has none. */
bool dog_exposition_label(const struct dog_exposition_sample *s, const char *name, char *to, size_t room);
