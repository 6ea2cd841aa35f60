#pragma once
/**
 * Weather forecasts and schedules of events: JSON (RFC 8259) in, entries out.
 *
 * Our own form, for whoever can write it (a script, a sensor, a ticket system):
 *
 *     {"entries": [{"start": "2026-11-21T22:00:00Z", "end": "2026-11-21T23:00:00Z",
 *                   "where": "p2", "words": "storm", "risk": 0.7}]}
 *
 * `start` and `end` are RFC 3339 times (with a zone, else UTC) or seconds since 1970; `where` and `words` may
 * be left out. How bad it is, is said by `risk` (0..1), or by the number that was asked for: `rain` (mm in an
 * hour), `snow` (cm in an hour), `wind` (m/s), `attendance` (people). Without any, the entry counts in full.
 *
 * Other forms are described by where things stand in them: struct dog_feed_map. Three are known by name.
 */
#include "base/err.h"
#include "wire/feed_entry.h"

/** Where things stand in a document. Paths are member names with points between: "properties.timeseries". */
struct dog_feed_map {
        const char *entries; /**< the array of entries; "": the document is one; NULL: columns side by side */
        const char *start;   /**< in an entry; with columns: of the array, from the document's top */
        const char *end;   /**< NULL: each lasts until the next begins, the last as long as the one before */
        const char *value; /**< a number, or a text that begins with one ("15 mph"); NULL: counts in full */
        const char *where; /**< NULL: not said */
        const char *words; /**< NULL: not said */
        const char *risk;  /**< 0..1, stands above `value`; NULL: not said */
        double from, full; /**< below the first it says nothing, from the second on everything */
        const char *say;   /**< words of an entry that has none; %g is the value: "rain, %g mm/h" */
};

#define DOG_FEED_FORMATS(X)                                                                                  \
        X(SUNDOG, "sundog")                                                                                  \
        X(MET_NORWAY, "met-norway")                                                                          \
        X(NWS, "nws")                                                                                        \
        X(OPEN_METEO, "open-meteo")

enum dog_feed_format {
#define X(name, word) DOG_FEED_FORMAT_##name,
        DOG_FEED_FORMATS(X)
#undef X
                DOG_FEED_FORMAT_COUNT
};

enum dog_feed_measure {
        DOG_FEED_RAIN,
        DOG_FEED_SNOW,
        DOG_FEED_WIND,
        DOG_FEED_ATTENDANCE,
        DOG_FEED_MEASURE_COUNT
};

/**
 * The map of a form that is known: MET Norway's Locationforecast 2.0 compact, the hourly forecast of the
 * United States' National Weather Service, Open-Meteo's hourly columns. `from` and `full` are usual values
 * for the measure, in the form's own unit.
 * @return false: that form does not tell this measure
 */
bool dog_feed_map_of(enum dog_feed_format format, enum dog_feed_measure measure, struct dog_feed_map *map);

/** @return 0; -EINVAL: no JSON, too deep, or nothing where the map says; -ENOMEM */
int dog_feed_json_read(const char *text, size_t size, const struct dog_feed_map *map,
                       struct dog_feed_reader *r, struct dog_err *e);

/** RFC 3339, without seconds and without a zone (then UTC) too. */
bool dog_feed_time(const char *text, int64_t *at_s);
