#pragma once
/**
 * Lines of comma-separated text from a file or from memory, plain or gzip, in bounded memory.
 * Private to this folder's file formats. Every error begins with NAME:LINE:COLUMN.
 *
 * Fields may be quoted as RFC 4180 has it, but not span lines. A control character is an error: what has
 * one is not text.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <zlib.h>

enum {
        WIRE_TEXT_LINE = 1024, /**< most octets of a line */
        WIRE_TEXT_FIELDS = 32,
        WIRE_TEXT_CHUNK = 16384,
};

struct wire_field {
        char *text;    /**< unquoted, terminated; lives until the next line */
        size_t column; /**< 1.. */
};

struct wire_text {
        char name[256];
        FILE *file; /* one of these two */
        const uint8_t *data;
        size_t left;
        bool is_begun;
        bool is_gzip;
        bool in_member; /* inside gzip data: an end here is a cut */
        z_stream z;
        size_t raw_at, raw_size;
        size_t plain_at, plain_size;
        size_t line_number;
        size_t fields;
        struct wire_field field[WIRE_TEXT_FIELDS];
        char line[WIRE_TEXT_LINE + 1];
        uint8_t raw[WIRE_TEXT_CHUNK];
        uint8_t plain[WIRE_TEXT_CHUNK];
};

/** Close with wire_text_close, also after a failure. */
int wire_text_open(struct wire_text *t, const char *file, struct dog_err *e);
void wire_text_open_bytes(struct wire_text *t, const char *name, const void *data, size_t size);
void wire_text_close(struct wire_text *t);
/**
 * The next line, cut into t->field[].
 * @return 1; 0 at the end; -EINVAL for damaged gzip or text, -EIO when it cannot be read, -ENOMEM
 */
int wire_text_next(struct wire_text *t, struct dog_err *e);
/** An error about one field of the current line: "NAME:LINE:COLUMN: sentence". Returns -EINVAL. */
int wire_text_bad(const struct wire_text *t, const struct wire_field *f, struct dog_err *e,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
/** A number within bounds; `what` names it in the sentence. Spaces, NaN, infinity and hex are refused. */
int wire_text_number(const struct wire_text *t, const struct wire_field *f, const char *what, double low,
                     double high, double *value, struct dog_err *e);
/** An integer, 0 .. 2^53. */
int wire_text_integer(const struct wire_text *t, const struct wire_field *f, const char *what, int64_t *value,
                      struct dog_err *e);
