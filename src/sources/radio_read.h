#pragma once
/**
 * Reading what radios tell as text: lines of keys and values, lines of JSON, and the JSON in which tools
 * print the answer of a Starlink dish to get_status. Strict in what counts as a value: one that is out of its
 * range (models/radio.h) is refused and counted, not clamped. A key that nobody here knows is passed over.
 *
 * A line of keys and values is `rsrp_dbm -97 sinr_db 4.5 technology lte`, or with '=' instead of blanks.
 * Keys: the words of DOG_RADIO_VALUES, and
 *
 *     technology       gsm, umts, lte, nr, satellite, wifi, other
 *     cell             any text without blanks that names the serving cell; only compared
 *     outage           0, 1, false, true
 *     handover_ago_s   seconds since the last handover
 *
 * A line that begins with '{' is a JSON object of the same keys and replaces what the lines before it said,
 * as an empty line does. '#' begins a comment. Of the dish are read: popPingLatencyMs, popPingDropRate,
 * obstructionStats.fractionObstructed and .currentlyObstructed, outage, snr; what that form leaves out
 * because it is zero is read as zero.
 */
#include "models/radio.h"

#include <stddef.h>

enum { DOG_RADIO_TEXT = 256 << 10 /**< octets of one JSON text */, DOG_RADIO_LINE = 2048 };

struct dog_radio_read {
        struct dog_radio reading; /**< at_ns is left to the caller */
        uint32_t values;          /**< taken */
        uint32_t impossible;      /**< out of range: refused */
        uint32_t malformed;       /**< lines or texts that are not in the format: passed over whole */
        uint32_t ignored;         /**< keys that are not known */
        bool is_dish;             /**< the form of a dish was seen */
        bool is_ended;            /**< an empty line came: the next key begins another reading */
};

void dog_radio_read_init(struct dog_radio_read *r);

/**
 * One line, without its end. @param now_ns  monotonic: handovers are counted back from it
 */
void dog_radio_read_line(struct dog_radio_read *r, const char *line, size_t size, int64_t now_ns);

/** A whole text: one JSON object over any number of lines, or lines. */
void dog_radio_read_text(struct dog_radio_read *r, const char *text, size_t size, int64_t now_ns);

/** Put a number where it belongs, if it is in its range. @return false: refused */
bool dog_radio_set(float *to, double value, double least, double most);

/** A hash of a cell's name, never 0 (FNV-1a). */
uint64_t dog_radio_cell(uint64_t before, const char *text, size_t size);
