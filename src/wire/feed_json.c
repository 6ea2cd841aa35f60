#include "wire/feed_json.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DEPTH = 32, JSON_PATH = 256, JSON_LASTS_MOST = 86400, JSON_HOUR = 3600 };

/* Times that a forecast or a schedule can be about. */
#define JSON_TIME_LEAST INT64_C(0)
#define JSON_TIME_MOST  INT64_C(7258118400) /* the year 2200 */

/* ---- known forms ---- */

/* The usual thresholds: where radio links and roofs begin to care, and where they surely do. ITU-R P.838 puts
 * rain fade above 10 GHz from some millimetres an hour on. */
static const struct {
        double from, full;
        const char *say;
} json_measure[] = {
        [DOG_FEED_RAIN] = {2, 20, "rain, %g mm in an hour"},
        [DOG_FEED_SNOW] = {0.5, 5, "snow, %g cm in an hour"},
        [DOG_FEED_WIND] = {15, 30, "wind, %g m/s"},
        [DOG_FEED_ATTENDANCE] = {1000, 20000, "%g people expected"},
};

bool dog_feed_map_of(enum dog_feed_format format, enum dog_feed_measure measure, struct dog_feed_map *map)
{
        static const char *const own[] = {"rain", "snow", "wind", "attendance"};
        struct dog_feed_map m = {.from = json_measure[measure].from,
                                 .full = json_measure[measure].full,
                                 .say = json_measure[measure].say};
        switch (format) {
        case DOG_FEED_FORMAT_SUNDOG:
                m.entries = "entries";
                m.start = "start";
                m.end = "end";
                m.where = "where";
                m.words = "words";
                m.risk = "risk";
                m.value = own[measure];
                break;
        case DOG_FEED_FORMAT_MET_NORWAY:
                m.entries = "properties.timeseries";
                m.start = "time";
                m.value = measure == DOG_FEED_RAIN   ? "data.next_1_hours.details.precipitation_amount"
                          : measure == DOG_FEED_WIND ? "data.instant.details.wind_speed"
                                                     : NULL;
                break;
        case DOG_FEED_FORMAT_NWS:
                m.entries = "properties.periods";
                m.start = "startTime";
                m.end = "endTime";
                m.words = "shortForecast";
                if (measure == DOG_FEED_RAIN) {
                        m.value = "probabilityOfPrecipitation.value";
                        m.from = 50;
                        m.full = 100;
                        m.say = "rain, %g %% likely";
                } else if (measure == DOG_FEED_WIND) {
                        m.value = "windSpeed";
                        m.from = 35;
                        m.full = 65;
                        m.say = "wind, %g mph";
                }
                break;
        case DOG_FEED_FORMAT_OPEN_METEO:
                m.start = "hourly.time";
                m.value = measure == DOG_FEED_RAIN   ? "hourly.precipitation"
                          : measure == DOG_FEED_SNOW ? "hourly.snowfall"
                          : measure == DOG_FEED_WIND ? "hourly.wind_speed_10m"
                                                     : NULL;
                if (measure == DOG_FEED_WIND) {
                        m.from = 55;
                        m.full = 110;
                        m.say = "wind, %g km/h";
                }
                break;
        case DOG_FEED_FORMAT_COUNT:
                break;
        }
        *map = m;
        return m.start && m.value;
}

/* ---- times ---- */

static bool json_digits(const char **at, int n, int *to)
{
        *to = 0;
        for (int i = 0; i < n; i++, ++*at) {
                if (**at < '0' || **at > '9')
                        return false;
                *to = 10 * *to + (**at - '0');
        }
        return true;
}

static bool json_sign(const char **at, char c)
{
        if (**at != c)
                return false;
        ++*at;
        return true;
}

/* Days since 1970 of a date in the Gregorian calendar: H. Hinnant, "chrono-compatible low-level date
 * algorithms", days_from_civil. */
static int64_t json_days(int year, int month, int day)
{
        int64_t y = month <= 2 ? year - 1 : year;
        int64_t era = y / 400;
        int64_t of_era = y - era * 400;
        int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
        return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool dog_feed_time(const char *text, int64_t *at_s)
{
        static const int days_in[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        int year, month, day, hour = 0, minute = 0, second = 0, zone_h = 0, zone_m = 0;
        const char *at = text;
        if (!json_digits(&at, 4, &year) || !json_sign(&at, '-') || !json_digits(&at, 2, &month) ||
            !json_sign(&at, '-') || !json_digits(&at, 2, &day))
                return false;
        if (*at) {
                if (*at != 'T' && *at != 't' && *at != ' ')
                        return false;
                at++;
                if (!json_digits(&at, 2, &hour) || !json_sign(&at, ':') || !json_digits(&at, 2, &minute))
                        return false;
                if (json_sign(&at, ':') && !json_digits(&at, 2, &second))
                        return false;
                if (json_sign(&at, '.'))
                        while (*at >= '0' && *at <= '9')
                                at++;
        }
        int sign = *at == '-' ? -1 : 1;
        if (*at == '+' || *at == '-') {
                at++;
                if (!json_digits(&at, 2, &zone_h) || (json_sign(&at, ':'), !json_digits(&at, 2, &zone_m)))
                        return false;
        } else if (*at == 'Z' || *at == 'z') {
                at++;
        }
        if (*at || year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 ||
            day > days_in[month - 1] || hour > 24 || minute > 59 || second > 60 || zone_h > 14 || zone_m > 59)
                return false;
        *at_s = json_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second -
                sign * (zone_h * 3600 + zone_m * 60);
        return true;
}

static bool json_time(const json_t *v, int64_t *at_s)
{
        if (json_is_string(v))
                return dog_feed_time(json_string_value(v), at_s);
        if (!json_is_number(v))
                return false;
        double n = json_number_value(v);
        if (!(n >= (double)JSON_TIME_LEAST && n <= (double)JSON_TIME_MOST))
                return false;
        *at_s = (int64_t)n;
        return true;
}

/* ---- reading ---- */

/* What stands at "a.b.c" below `from`; NULL: nothing. */
static const json_t *json_at(const json_t *from, const char *path)
{
        char name[JSON_PATH];
        while (from && path && *path) {
                size_t n = strcspn(path, ".");
                if (n >= sizeof(name))
                        return NULL;
                memcpy(name, path, n);
                name[n] = 0;
                from = json_object_get(from, name);
                path += n + (path[n] == '.');
        }
        return from;
}

/* A number, or the one that a text begins with; null and nothing are "not said". */
static int json_number(const json_t *v, double *to)
{
        if (!v || json_is_null(v))
                return 0;
        if (json_is_number(v)) {
                *to = json_number_value(v);
        } else if (json_is_string(v)) {
                char *end;
                *to = strtod(json_string_value(v), &end);
                if (end == json_string_value(v))
                        return -1;
        } else {
                return -1;
        }
        return isfinite(*to) && fabs(*to) < 1e12 ? 1 : -1;
}

/*
 * How bad it is, 0..1. Who says less than nothing says nothing: a feed can only add.
 * @return 1: so bad; 0: not said; -1: no number
 */
static int json_severity(const json_t *risk, const json_t *value, const struct dog_feed_map *map,
                         double *severity, double *shown)
{
        int rc = json_number(risk, severity);
        *shown = (double)NAN;
        if (rc < 0 || (rc > 0 && !(*severity >= 0 && *severity <= 1)))
                return -1;
        int has_value = json_number(value, shown);
        if (has_value < 0)
                return -1;
        if (has_value == 0)
                *shown = (double)NAN;
        if (rc > 0)
                return 1;
        if (has_value == 0)
                return 0;
        *severity = fmin(fmax((*shown - map->from) / fmax(map->full - map->from, 1e-9), 0), 1);
        if (*shown >= map->from && *severity < 0.05)
                *severity = 0.05; /* on the threshold is already something */
        return 1;
}

static void json_say(const struct dog_feed_map *map, const json_t *words, double shown,
                     struct dog_feed_entry *e)
{
        char text[DOG_FEED_WORDS] = "";
        if (json_is_string(words)) {
                dog_feed_words(e->words, sizeof(e->words), json_string_value(words));
                if (e->words[0])
                        return;
        }
        /* `say` is a row of json_measure or of a form, never the feed's own text. */
        const char *mark = map->say ? strstr(map->say, "%g") : NULL;
        if (mark && isfinite(shown))
                snprintf(text, sizeof(text), "%.*s%g%s", (int)(mark - map->say), map->say, shown, mark + 2);
        dog_feed_words(e->words, sizeof(e->words), text);
}

struct json_row {
        const json_t *start, *end, *value, *where, *words, *risk;
};

static void json_take(const struct dog_feed_map *map, const struct json_row *row, int64_t next_s,
                      struct dog_feed_reader *r)
{
        struct dog_feed_entry e = {.severity = 1};
        double severity = 1, shown;
        if (!json_time(row->start, &e.start_s) || (row->end && !json_time(row->end, &e.end_s))) {
                dog_feed_drop(r, DOG_FEED_DROP_TIME);
                return;
        }
        if (!row->end)
                e.end_s = next_s;
        int said = json_severity(row->risk, row->value, map, &severity, &shown);
        if (said < 0) {
                dog_feed_drop(r, DOG_FEED_DROP_NUMBER);
                return;
        }
        if (said == 0 && map->value && !map->risk)
                return; /* a forecast that does not say this measure for this hour */
        e.severity = (float)severity;
        json_say(map, row->words, shown, &e);
        if (json_is_string(row->where))
                dog_feed_words(e.where, sizeof(e.where), json_string_value(row->where));
        if (e.severity > 0)
                dog_feed_take(r, &e);
        else
                r->seen++; /* fair weather is no entry and no fault */
}

/* When what begins at row i ends, where the form does not say. */
static int64_t json_next(const json_t *start, const json_t *next, int64_t *lasts_s)
{
        int64_t a, b;
        if (!json_time(start, &a))
                return 0;
        if (next && json_time(next, &b) && b > a && b - a <= JSON_LASTS_MOST)
                *lasts_s = b - a;
        return a + *lasts_s;
}

static int json_rows(const json_t *document, const struct dog_feed_map *map, struct dog_feed_reader *r,
                     struct dog_err *e)
{
        const json_t *rows = json_at(document, map->entries);
        int64_t lasts_s = JSON_HOUR;
        if (!json_is_array(rows))
                return dog_err_set(e, -EINVAL, "there is no list \"%s\" in it", map->entries);
        size_t n = json_array_size(rows);
        for (size_t i = 0; i < n; i++) {
                const json_t *o = json_array_get(rows, i);
                struct json_row row = {.start = json_at(o, map->start),
                                       .end = map->end ? json_at(o, map->end) : NULL,
                                       .value = map->value ? json_at(o, map->value) : NULL,
                                       .where = map->where ? json_at(o, map->where) : NULL,
                                       .words = map->words ? json_at(o, map->words) : NULL,
                                       .risk = map->risk ? json_at(o, map->risk) : NULL};
                if (!json_is_object(o)) {
                        dog_feed_drop(r, DOG_FEED_DROP_SHAPE);
                        continue;
                }
                if (map->end && !row.end) {
                        dog_feed_drop(r, DOG_FEED_DROP_TIME);
                        continue;
                }
                const json_t *next = i + 1 < n ? json_at(json_array_get(rows, i + 1), map->start) : NULL;
                json_take(map, &row, json_next(row.start, next, &lasts_s), r);
        }
        return 0;
}

static int json_columns(const json_t *document, const struct dog_feed_map *map, struct dog_feed_reader *r,
                        struct dog_err *e)
{
        const json_t *start = json_at(document, map->start);
        const json_t *end = map->end ? json_at(document, map->end) : NULL;
        const json_t *value = map->value ? json_at(document, map->value) : NULL;
        int64_t lasts_s = JSON_HOUR;
        if (!json_is_array(start))
                return dog_err_set(e, -EINVAL, "there is no list of times \"%s\" in it", map->start);
        if (map->value && (!json_is_array(value) || json_array_size(value) != json_array_size(start)))
                return dog_err_set(e, -EINVAL, "the list \"%s\" is missing or not as long as the times'",
                                   map->value);
        for (size_t i = 0; i < json_array_size(start); i++) {
                struct json_row row = {.start = json_array_get(start, i),
                                       .end = end ? json_array_get(end, i) : NULL,
                                       .value = value ? json_array_get(value, i) : NULL};
                json_take(map, &row, json_next(row.start, json_array_get(start, i + 1), &lasts_s), r);
        }
        return 0;
}

/* Refuse what nests too deeply before the parser recurses into it. Brackets in texts are not counted. */
static bool json_is_flat(const char *text, size_t size)
{
        unsigned depth = 0;
        bool is_text = false;
        for (size_t i = 0; i < size; i++) {
                if (is_text && text[i] == '\\')
                        i++;
                else if (text[i] == '"')
                        is_text = !is_text;
                else if (!is_text && (text[i] == '[' || text[i] == '{') && ++depth > JSON_DEPTH)
                        return false;
                else if (!is_text && (text[i] == ']' || text[i] == '}') && depth)
                        depth--;
        }
        return true;
}

int dog_feed_json_read(const char *text, size_t size, const struct dog_feed_map *map,
                       struct dog_feed_reader *r, struct dog_err *e)
{
        json_error_t why;
        if (!json_is_flat(text, size))
                return dog_err_set(e, -EINVAL, "it is nested more than %d deep", JSON_DEPTH);
        json_t *document = json_loadb(text, size, 0, &why);
        if (!document) {
                char said[160];
                dog_feed_words(said, sizeof(said), why.text); /* it may quote the feed */
                return dog_err_set(e, json_error_code(&why) == json_error_out_of_memory ? -ENOMEM : -EINVAL,
                                   "it is no JSON: line %d, column %d: %s", why.line, why.column, said);
        }
        int rc = map->entries ? json_rows(document, map, r, e) : json_columns(document, map, r, e);
        json_decref(document);
        return rc;
}
