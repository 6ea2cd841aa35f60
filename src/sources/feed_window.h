#pragma once
/**
 * When what is announced: a table of windows, asked "what is the worst between then and then" in O(log n). It
 * is made once for each reading of a feed: overlapping windows become stretches of time of which each knows
 * its worst, and a segment tree (Bentley, 1977) over them answers for a range.
 */
#include <stddef.h>
#include <stdint.h>

struct dog_feed_window {
        int64_t start_s, end_s; /**< start < end; the end is not part of it */
        float log_odds;         /**< what it adds; > 0 */
        uint32_t entry;         /**< the caller's number of what it was made of */
};

struct dog_feed_windows {
        struct dog_feed_window *window; /**< a copy of what was given */
        size_t windows;
        int64_t *edge_s; /**< where stretch i begins; stretch `stretches` - 1 has no end */
        uint32_t *tree;  /**< of the worst window of stretches, from [leaves] on; UINT32_MAX: none */
        size_t stretches, leaves;
};

/** @return 0; -ENOMEM; -EINVAL for a window that ends before it begins, or adds nothing or no number.
 * Then the table is empty. */
int dog_feed_windows_make(struct dog_feed_windows *t, const struct dog_feed_window *window, size_t n);
void dog_feed_windows_free(struct dog_feed_windows *t);

/** The window that adds most at some moment from from_s to to_s, both included; NULL: none. */
const struct dog_feed_window *dog_feed_windows_worst(const struct dog_feed_windows *t, int64_t from_s,
                                                     int64_t to_s);
