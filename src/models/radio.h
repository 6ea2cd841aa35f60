#pragma once
/**
 * What a modem, a dish or any other radio tells of the link that a path runs over.
 *
 * A value: no pointers, safe to copy, log, replay. Everything may be unknown: a number is NaN then, a count,
 * a hash or a time is 0. None of it is ever promised or believed against a measurement; the risk learns from
 * it.
 *
 * Ranges: RSRP, RSRQ and SINR as they can be reported by 3GPP TS 36.133 (9.1.4, 9.1.7, 9.1.17) for LTE and
 * TS 38.133 (10.1.6, 10.1.11, 10.1.16) for NR, both together; RSSI from TS 36.133 and the wider range of
 * what modems say in GSM and UMTS. A number outside its range is refused (sources/radio_read.h), not clamped:
 * modems tell -32768 or 255 for "don't know".
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* field, word, unit, least, most, what it is */
#define DOG_RADIO_VALUES(X)                                                                                  \
        X(rsrp_dbm, "rsrp_dbm", "dBm", -156, -31, "power of the reference signal")                           \
        X(rsrq_db, "rsrq_db", "dB", -43, 20, "quality of the reference signal: RSRP against everything")     \
        X(sinr_db, "sinr_db", "dB", -23, 40, "signal over interference and noise")                           \
        X(rssi_dbm, "rssi_dbm", "dBm", -140, 0, "all the power received")                                    \
        X(signal, "signal", "ratio", 0, 1, "signal as the device rates it itself")                           \
        X(drop, "drop", "ratio", 0, 1, "share of the device's own pings that were lost")                     \
        X(ping_ms, "ping_ms", "ms", 0, 60000, "round trip of the device's own pings")                        \
        X(obstruction, "obstruction", "ratio", 0, 1, "share of the view that is, or was lately, obstructed") \
        X(obstructed_in_s, "obstructed_in_s", "s", 0, 86400, "until the next obstruction that is known of")

/* id, word, generation (0: not cellular) */
#define DOG_RADIO_TECHNOLOGIES(X)                                                                            \
        X(UNKNOWN, "unknown", 0)                                                                             \
        X(GSM, "gsm", 2)                                                                                     \
        X(UMTS, "umts", 3)                                                                                   \
        X(LTE, "lte", 4)                                                                                     \
        X(NR, "nr", 5)                                                                                       \
        X(SATELLITE, "satellite", 0)                                                                         \
        X(WIFI, "wifi", 0)                                                                                   \
        X(OTHER, "other", 0)

enum dog_radio_technology {
#define X(id, word, generation) DOG_RADIO_##id,
        DOG_RADIO_TECHNOLOGIES(X)
#undef X
                DOG_RADIO_TECHNOLOGY_COUNT
};

struct dog_radio {
        int64_t at_ns; /**< monotonic: when it was told; 0: nothing is known */
#define X(field, word, unit, least, most, help) float field;
        DOG_RADIO_VALUES(X)
#undef X
        /**
         * Seconds since satellites were last assigned anew, 0..15. Starlink does that for all terminals at
         * once, at the seconds 12, 27, 42 and 57 of each minute of UTC (Tanveer et al., "Making Sense of
         * Constellations", CoNEXT companion 2023). NaN: no such grid here.
         */
        float slot_s;
        int64_t handover_ns; /**< monotonic: the last change of cell or technology seen; 0: none seen */
        uint64_t cell;       /**< hash of the serving cell's identity; 0: unknown */
        uint8_t technology;  /**< enum dog_radio_technology */
        bool has_outage;     /**< the device tells whether it is cut off ... */
        bool is_outage;      /**< ... and it is */
};

/** Nothing known. */
static inline struct dog_radio dog_radio_unknown(void)
{
        return (struct dog_radio){
#define X(field, word, unit, least, most, help) .field = NAN,
                DOG_RADIO_VALUES(X)
#undef X
                        .slot_s = NAN,
        };
}

/** "lte"; "unknown" for what is none. */
const char *dog_radio_technology_word(unsigned technology);
/** The generation, 2..5; 0: not cellular, or unknown. */
int dog_radio_generation(unsigned technology);
/** Where a wall time lies in the 15 s grid of satellite assignments. */
float dog_radio_slot(int64_t wall_ns);
/** Is there anything in it besides its time? */
bool dog_radio_is_known(const struct dog_radio *r);

/* What telemetry keeps of a reading besides its values: id, word. A series each; all of one reading have its
 * time. */
#define DOG_RADIO_KEPT_LIST(X)                                                                               \
        X(SLOT, "slot_s")                                                                                    \
        X(TECHNOLOGY, "technology") /* its number */                                                         \
        X(OUTAGE, "outage")         /* 0, 1 */                                                               \
        X(HANDOVER, "handover")     /* seconds since; told once for each */

enum dog_radio_series {
#define X(field, word, unit, least, most, help) DOG_RADIO_S_##field,
        DOG_RADIO_VALUES(X)
#undef X
#define X(id, word) DOG_RADIO_S_##id,
                DOG_RADIO_KEPT_LIST(X)
#undef X
                        DOG_RADIO_SERIES
};
/** "rsrp_dbm", "technology". */
const char *dog_radio_series_word(enum dog_radio_series s);
/** What is kept of a reading; NaN: nothing. HANDOVER: of `since_ns`, 0: there was none. */
double dog_radio_series_value(const struct dog_radio *r, enum dog_radio_series s, int64_t since_ns);
/** And back, into a reading whose time is set. Numbers that cannot be are left out. */
void dog_radio_series_take(struct dog_radio *r, enum dog_radio_series s, double value);
