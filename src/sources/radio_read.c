#include "sources/radio_read.h"

#include "base/array.h"
#include "base/clock.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The signal of old dishes: 0 to 9. */
static const double radio_snr_most = 9;

void dog_radio_read_init(struct dog_radio_read *r)
{
        memset(r, 0, sizeof(*r));
        r->reading = dog_radio_unknown();
}

uint64_t dog_radio_cell(uint64_t before, const char *text, size_t size)
{
        uint64_t h = before ? before : UINT64_C(0xcbf29ce484222325);
        for (size_t i = 0; i < size; i++)
                h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
        return h ? h : 1;
}

bool dog_radio_set(float *to, double value, double least, double most)
{
        if (!(value >= least && value <= most))
                return false;
        *to = (float)value;
        return true;
}

static void read_number(struct dog_radio_read *r, float *to, double value, double least, double most)
{
        if (isnan(value))
                return; /* "not known", said in so many words */
        bool is_taken = dog_radio_set(to, value, least, most);
        r->values += is_taken;
        r->impossible += !is_taken;
}

static void read_technology(struct dog_radio_read *r, const char *word)
{
        for (unsigned t = 0; t < DOG_RADIO_TECHNOLOGY_COUNT; t++)
                if (strcasecmp(word, dog_radio_technology_word(t)) == 0) {
                        r->reading.technology = (uint8_t)t;
                        r->values++;
                        return;
                }
        r->impossible++;
}

static void read_handover(struct dog_radio_read *r, double ago_s, int64_t now_ns)
{
        if (isnan(ago_s))
                return;
        /* Longer ago than this clock knows of is "none". */
        if (!(ago_s >= 0 && ago_s < 1e9)) {
                r->impossible++;
                return;
        }
        int64_t at_ns = now_ns - (int64_t)(ago_s * 1e9);
        r->reading.handover_ns = at_ns > 0 ? at_ns : 0;
        r->values++;
}

static void read_outage(struct dog_radio_read *r, bool is_outage)
{
        r->reading.has_outage = true;
        r->reading.is_outage = is_outage;
        r->values++;
}

/* @return false: no key of ours */
static bool read_named(struct dog_radio_read *r, const char *key, double value)
{
#define X(field, word, unit, least, most, help)                                                              \
        if (strcmp(key, word) == 0) {                                                                        \
                read_number(r, &r->reading.field, value, least, most);                                       \
                return true;                                                                                 \
        }
        DOG_RADIO_VALUES(X)
#undef X
        return false;
}

/* ---- keys and values ---- */

/* All of `text` is a number; "nan" is one. */
static bool text_number(const char *text, double *value)
{
        char *end = NULL;
        *value = strtod(text, &end);
        return end != text && *end == 0;
}

/* @return false: not in the format */
static bool read_pair(struct dog_radio_read *r, const char *key, const char *value, int64_t now_ns)
{
        double number = (double)NAN;
        if (strcmp(key, "technology") == 0) {
                read_technology(r, value);
                return true;
        }
        if (strcmp(key, "cell") == 0) {
                r->reading.cell = dog_radio_cell(0, value, strlen(value));
                r->values++;
                return true;
        }
        bool is_number = text_number(value, &number);
        if (strcmp(key, "outage") == 0) {
                bool is_true = strcasecmp(value, "true") == 0 || (is_number && number == 1);
                bool is_false = strcasecmp(value, "false") == 0 || (is_number && number == 0);
                if (is_true || is_false)
                        read_outage(r, is_true);
                else
                        r->impossible++;
                return true;
        }
        if (strcmp(key, "handover_ago_s") == 0) {
                if (is_number)
                        read_handover(r, number, now_ns);
                return is_number;
        }
        struct dog_radio_read try = *r;
        if (!read_named(&try, key, number)) {
                r->ignored++;
                return true;
        }
        if (is_number)
                *r = try;
        return is_number;
}

static char *next_word(char **at)
{
        static const char blank[] = " \t\r=:,;";
        *at += strspn(*at, blank);
        if (!**at || **at == '#')
                return NULL;
        char *word = *at;
        *at += strcspn(*at, blank);
        if (**at)
                *(*at)++ = 0;
        return word;
}

static void read_pairs(struct dog_radio_read *r, char *line, int64_t now_ns)
{
        struct dog_radio_read try = *r;
        char *at = line;
        for (char *key; (key = next_word(&at));) {
                const char *value = next_word(&at);
                if (try.is_ended)
                        try.reading = dog_radio_unknown();
                try.is_ended = false;
                if (!value || !read_pair(&try, key, value, now_ns)) {
                        r->malformed++;
                        return;
                }
        }
        *r = try;
}

/* ---- JSON ---- */

/* A number, or a number in a string, as 64-bit numbers and NaN are printed. */
static bool json_number_of(const json_t *j, double *value)
{
        if (json_is_number(j)) {
                *value = json_number_value(j);
                return true;
        }
        return json_is_string(j) && text_number(json_string_value(j), value);
}

static void read_dish(struct dog_radio_read *r, const json_t *status)
{
        double value;
        struct dog_radio *to = &r->reading;
        r->is_dish = true;
        to->technology = DOG_RADIO_SATELLITE;
        r->values++;
        bool has_ping = json_number_of(json_object_get(status, "popPingLatencyMs"), &value);
        if (has_ping && value >= 0) /* a dish says -1 when no ping came back */
                read_number(r, &to->ping_ms, value, 0, 60000);
        const json_t *drop = json_object_get(status, "popPingDropRate");
        if (json_number_of(drop, &value))
                read_number(r, &to->drop, value, 0, 1);
        else if (!drop && has_ping)
                read_number(r, &to->drop, 0, 0, 1);
        const json_t *view = json_object_get(status, "obstructionStats");
        if (json_is_object(view)) {
                const json_t *share = json_object_get(view, "fractionObstructed");
                if (json_number_of(share, &value))
                        read_number(r, &to->obstruction, value, 0, 1);
                else if (!share)
                        read_number(r, &to->obstruction, 0, 0, 1);
                if (json_is_true(json_object_get(view, "currentlyObstructed")))
                        read_number(r, &to->obstructed_in_s, 0, 0, 1);
        }
        if (json_number_of(json_object_get(status, "snr"), &value))
                read_number(r, &to->signal, value / radio_snr_most, 0, 1);
        const json_t *outage = json_object_get(status, "outage");
        read_outage(r, outage && !json_is_null(outage) && !json_is_false(outage));
}

static void read_object(struct dog_radio_read *r, const json_t *all, int64_t now_ns)
{
        const json_t *status = json_object_get(all, "dishGetStatus");
        if (json_is_object(status)) {
                read_dish(r, status);
                return;
        }
        if (json_object_get(all, "popPingLatencyMs") || json_object_get(all, "obstructionStats")) {
                read_dish(r, all);
                return;
        }
        const char *key;
        json_t *j;
        json_object_foreach((json_t *)(uintptr_t)all, key, j)
        {
                double value = (double)NAN;
                bool is_number = json_number_of(j, &value);
                if (json_is_string(j) && !is_number) {
                        read_pair(r, key, json_string_value(j), now_ns);
                } else if (strcmp(key, "cell") == 0 && is_number) {
                        char text[40];
                        int n = snprintf(text, sizeof(text), "%.17g", value);
                        r->reading.cell = dog_radio_cell(0, text, (size_t)n);
                        r->values++;
                } else if (strcmp(key, "outage") == 0 && json_is_boolean(j)) {
                        read_outage(r, json_is_true(j));
                } else if (strcmp(key, "outage") == 0 && is_number && (value == 0 || value == 1)) {
                        read_outage(r, value == 1);
                } else if (strcmp(key, "handover_ago_s") == 0 && is_number) {
                        read_handover(r, value, now_ns);
                } else if (json_is_null(j)) {
                        continue;
                } else if (!is_number || !read_named(r, key, value)) {
                        r->ignored++;
                }
        }
}

/* @return false: no JSON object */
static bool read_json(struct dog_radio_read *r, const char *text, size_t size, int64_t now_ns)
{
        json_t *all = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        bool is_object = json_is_object(all);
        if (is_object) {
                r->reading = dog_radio_unknown();
                r->is_ended = false;
                read_object(r, all, now_ns);
        }
        json_decref(all);
        return is_object;
}

/* ---- lines ---- */

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void dog_radio_read_line(struct dog_radio_read *r, const char *line, size_t size, int64_t now_ns)
{
        while (size && is_blank(line[0]))
                line++, size--;
        while (size && is_blank(line[size - 1]))
                size--;
        if (!size) {
                r->is_ended = true; /* what comes next is another reading */
                return;
        }
        if (size >= DOG_RADIO_LINE || memchr(line, 0, size)) {
                r->malformed++;
                return;
        }
        if (line[0] == '{') {
                if (!read_json(r, line, size, now_ns))
                        r->malformed++;
                return;
        }
        char copy[DOG_RADIO_LINE];
        memcpy(copy, line, size);
        copy[size] = 0;
        read_pairs(r, copy, now_ns);
}

static void read_lines(struct dog_radio_read *r, const char *text, size_t size, int64_t now_ns)
{
        for (size_t from = 0; from < size;) {
                const char *end = memchr(text + from, '\n', size - from);
                size_t length = end ? (size_t)(end - (text + from)) : size - from;
                dog_radio_read_line(r, text + from, length, now_ns);
                from += length + 1;
        }
}

void dog_radio_read_text(struct dog_radio_read *r, const char *text, size_t size, int64_t now_ns)
{
        size_t from = 0;
        while (size && is_blank(text[size - 1]))
                size--;
        while (from < size && is_blank(text[from]))
                from++;
        /* One object over many lines; otherwise, as in a log of objects, line by line. */
        if (from < size && text[from] == '{' && size - from <= DOG_RADIO_TEXT &&
            read_json(r, text + from, size - from, now_ns))
                return;
        read_lines(r, text + from, size - from, now_ns);
}
