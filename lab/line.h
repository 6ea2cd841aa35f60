#pragma once
/**
 * One direction of an emulated link: what happens to a packet between going in and coming out.
 *
 *   in -> cut? -> random loss, burst loss -> duplicate -> rate and its queue -> delay, jitter -> out
 *
 * Pure: no clock, no socket. The caller says what time it is, which lets a test run an hour of
 * traffic in a moment and lets the emulator feed the kernel's own time stamps.
 *
 * The queue is drop-tail and counted in bytes, as an interface's buffer is: a packet that does not
 * fit any more is dropped, the one being sent counts until its last bit is out. A rate that changes
 * applies from that moment on, also to what is left of the packet being sent. Rate 0 means no limit.
 *
 * Burst loss is the two-state chain of Gilbert ("Capacity of a burst-noise channel", 1960) as
 * generalised by Elliott (1963); it advances once per packet.
 */
#include "base/rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Why a packet did not come out. One list: enum, names in `stats`, documentation. */
#define LAB_DROPS(X)                                                                                         \
        X(LOSS, "loss", "chance, from `loss` or from a trace")                                               \
        X(BURST, "burst", "the bad state of `burst`")                                                        \
        X(QUEUE, "queue", "the byte-limited queue in front of `rate` was full")                              \
        X(CUT, "cut", "the link is cut, or was cut while the packet was on its way")                         \
        X(POOL, "pool", "too many packets in flight in this emulator: raise --packets")                      \
        X(SIZE, "size", "longer than the emulator's buffers: offloads are on at an end of the link")         \
        X(SEND, "send", "the kernel did not take it at the far end")

enum lab_drop {
#define LAB_DROP_ENUM(id, name, why) LAB_DROP_##id,
        LAB_DROPS(LAB_DROP_ENUM)
#undef LAB_DROP_ENUM
                LAB_DROP_COUNT
};

/** Name of a drop reason, "?" when there is none such. */
const char *lab_drop_name(enum lab_drop reason);

/** A packet on its way. Made and freed by the emulator; a line only looks at `bytes` and `refs`. */
struct lab_packet {
        struct lab_packet *next_free;
        int64_t in_ns;  /**< when it arrived at the link, monotonic */
        uint32_t bytes; /**< frame length, Ethernet header included */
        uint32_t refs;  /**< a duplicated packet is on its way twice */
        uint8_t *frame;
};

/** Shape of the jitter. */
enum lab_shape {
        LAB_SHAPE_UNIFORM, /**< delay - jitter .. delay + jitter */
        LAB_SHAPE_NORMAL,  /**< jitter is one standard deviation */
        LAB_SHAPE_TAIL,    /**< one-sided, exponential: jitter is the mean of what is added */
};

struct lab_line_settings {
        int64_t delay_ns;
        int64_t jitter_ns;
        enum lab_shape shape;
        bool keeps_order;   /**< default; a packet never overtakes the one before it */
        double loss;        /**< 0..1, each packet by itself */
        double burst_enter; /**< chance per packet to enter the bad state; 0 = no bursts */
        double burst_leave; /**< chance per packet to leave it */
        double duplicate;   /**< 0..1 */
        double reorder;     /**< share of packets held back by reorder_by_ns and then overtaken */
        int64_t reorder_by_ns;
        double rate_bps;      /**< bits per second of frames; 0 = no limit */
        bool is_stalled;      /**< the rate is zero for now: nothing leaves the queue */
        uint64_t queue_bytes; /**< limit of the queue in front of the rate */
        bool is_cut;
};

struct lab_line_counts {
        uint64_t in_packets, in_bytes;
        uint64_t out_packets, out_bytes;
        uint64_t duplicated, reordered;
        uint64_t dropped[LAB_DROP_COUNT];
};

struct lab_line;

/** Settings of a link that does nothing: no delay, no loss, no rate, a queue of 256 KiB, order kept. */
struct lab_line_settings lab_line_defaults(void);

/**
 * Make a line. `release` is called, with `owner`, for every packet the line gives up by itself (a cut, the
 * end).
 * @param seed  same seed, same packets, same fate
 * @return NULL when there is no memory
 */
struct lab_line *lab_line_new(uint64_t seed, void (*release)(void *owner, struct lab_packet *p), void *owner);
void lab_line_free(struct lab_line *l);

const struct lab_line_settings *lab_line_settings_of(const struct lab_line *l);
/** Counters; the emulator adds its own drops (POOL, SIZE, SEND) to them. */
struct lab_line_counts *lab_line_counts_of(struct lab_line *l);

/** Change the settings at now_ns. A cut loses what is queued or on its way. */
void lab_line_change(struct lab_line *l, const struct lab_line_settings *s, int64_t now_ns);

/**
 * A packet goes in at p->in_ns, which must not run backwards. The line takes the reference it is given and
 * either keeps it until lab_line_take or releases it (counted by reason).
 */
void lab_line_offer(struct lab_line *l, struct lab_packet *p);

/** When lab_line_take will next have something; INT64_MAX for an empty line. */
int64_t lab_line_next_ns(struct lab_line *l);

/**
 * The next packet that is due at now_ns, or NULL. *due_ns is when it should have come out.
 * The caller owns the reference, and counts it as out or as a drop.
 */
struct lab_packet *lab_line_take(struct lab_line *l, int64_t now_ns, int64_t *due_ns);

/** Packets and bytes inside, queued or on their way. */
size_t lab_line_inside(const struct lab_line *l, uint64_t *queued_bytes);
