#pragma once
/**
 * Output of every command: the same rows as a table for people, JSON, or JSON lines.
 *
 * A command makes a JSON array of flat objects and says which members are columns. Nothing is
 * printed in one form that is missing in another. Colour only on a terminal, never with NO_COLOR.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum out_format { OUT_TABLE, OUT_JSON, OUT_JSONL };

struct out_column {
        const char *key;   /**< member of the object */
        const char *title; /**< NULL: the key in capitals */
        const char *unit;  /**< "ms", "%" (value x 100), "bytes", "ns", "ago"...; NULL: as it is */
        int digits;        /**< after the point, for numbers */
        bool is_right;     /**< align to the right */
        unsigned spare; /**< 0: always there; others are left out, the largest first, where a terminal is too
                           narrow for all, and named below the table */
};

/** A word that a table or a line begins with, and what it means to somebody who sees it for the first time.
 */
struct out_word {
        const char *word; /**< NULL ends the list */
        const char *means;
};

struct out {
        enum out_format format;
        bool has_colour;
        size_t width; /**< of the terminal; 0: as wide as it takes */
        FILE *to;
};

/** "table", "json" or "jsonl"; false for anything else. */
bool out_format_parse(const char *word, enum out_format *format);
/** Sets up colour by looking at the stream and NO_COLOR. */
struct out out_open(FILE *to, enum out_format format);
/** Print rows; `column` ends with a NULL key. The rows stay the caller's. */
void out_rows(const struct out *o, const json_t *rows, const struct out_column *column);
/** Print one object whole: in JSON as it is, as a table one member a line. */
void out_object(const struct out *o, const json_t *object);
/** A sentence that begins in column `at`, and goes on below itself where the terminal ends; then a new line.
 */
void out_wrapped(const struct out *o, const char *text, size_t at);
/** A list of words, each with its meaning beside it. */
void out_words(const struct out *o, const struct out_word *words);
/** Escape codes, or "" without colour: "bold", "dim", "red", "green", "yellow", "plain". */
const char *out_colour(const struct out *o, const char *name);
/** Width of a text on a terminal: UTF-8 code points. */
size_t out_width(const char *text);
/** The chance at the near, middle and far horizon (p_near, p_middle, p_far) as bars a person can compare at a
 * glance: "▁▂▅ 3%". */
void out_risk_bars(const json_t *row, char *to, size_t room);
