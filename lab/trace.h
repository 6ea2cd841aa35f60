#pragma once
/**
 * Recorded path quality: what several paths of one vehicle did at the same time, and how a link
 * emulator plays it back.
 *
 * Files, plain or gzipped CSV, as described in data/paths/README.md:
 *     t_ms,path,rtt_ms,loss,rate_kbps
 * An empty field was not measured. A playlist (name ends in .playlist) names traces that are played
 * one after another, one a line, relative to the playlist's folder; of each the window is played in
 * which all of its paths were measured, unless "FROM_MS TO_MS" follows the name. Paths are matched by name.
 *
 * What a sample means to a link:
 *   - it holds from its time until the next sample of its path (no interpolation);
 *   - a missing rtt (the probe was lost) holds the last one; loss applies all the same;
 *   - a lost probe says nothing about the direction it was lost in. With the split "half" both
 *     directions get rtt/2 and a loss chance of 1 - sqrt(1 - loss), so that a round trip is lost as
 *     often as recorded; with "ab" or "ba" that direction gets half of the segment's least rtt plus
 *     everything above it, and all of the loss; the other one gets half of the least rtt;
 *   - rate_kbps limits the direction of the split ("half": both); 0 stalls it.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_TRACE_PATHS 8

enum lab_split { LAB_SPLIT_HALF, LAB_SPLIT_AB, LAB_SPLIT_BA };

/** One sample; NAN where nothing was measured. */
struct lab_sample {
        int64_t t_ms;
        double rtt_ms;
        double loss; /**< 0..1 */
        double rate_kbps;
        double held_ms; /**< the rtt to play: this one, or the last (else the next) known one */
        double base_ms; /**< least rtt of this path in its segment */
};

struct lab_trace_path {
        char name[32];
        struct lab_sample *sample;
        size_t count, room;
};

struct lab_trace {
        struct lab_trace_path
                path[LAB_TRACE_PATHS]; /**< by name: an operator's index is the same in every file */
        size_t paths;
        int64_t step_ms;   /**< smallest distance of two samples of a path */
        int64_t length_ms; /**< end of the last step */
};

/** What a link does in one direction at one moment. */
struct lab_weather {
        double delay_ms;
        double loss;
        double rate_kbps; /**< NAN: the trace says nothing of the rate */
        int64_t until_ms; /**< INT64_MAX after the last sample */
};

/**
 * Read a trace or a playlist. Nothing is left to free after a failure.
 * @return 0; -ENOENT and the like when it cannot be read; -EINVAL with file and line for bad content
 */
int lab_trace_load(struct lab_trace *t, const char *file, struct dog_err *e);
void lab_trace_free(struct lab_trace *t);

/** Index of a path by name, -1 when there is none such. */
int lab_trace_find(const struct lab_trace *t, const char *name);

/** The sample that holds at t_ms; the first one before its time. Every path has at least one sample. */
const struct lab_sample *lab_trace_at(const struct lab_trace *t, size_t path, int64_t t_ms);

/** The same as seen by one direction of a link: is_ab tells from the "a" end to the "b" end. */
struct lab_weather lab_trace_weather(const struct lab_trace *t, size_t path, enum lab_split split, bool is_ab,
                                     int64_t t_ms);

/** "half", "ab", "ba". @return 0, -EINVAL */
int lab_split_parse(const char *text, enum lab_split *split, struct dog_err *e);
