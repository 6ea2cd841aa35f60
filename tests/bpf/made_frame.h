#pragma once
/**
 * Frames made from a few words, and looked at again with every sum recomputed from nothing: what a receiver
 * would do. It shares no line with the programs under test.
 */
#include <linux/types.h>
#include <stdbool.h>

#define MADE_FRAME_MAX 2048

struct made_frame {
        __u16 pad; /* IP is aligned then */
        __u8 bytes[MADE_FRAME_MAX];
        __u32 size;
} __attribute__((aligned(4)));

struct made_flow {
        bool is_v6;
        __u8 proto; /* 6 or 17 */
        __u8 ttl;
        __u8 tcp_flags;
        __u32 src, dst; /* IPv4; IPv6: the last word of 2001:db8::/96 */
        __u16 sport, dport;
        __u32 seq, ack;
        __u32 payload;    /* bytes */
        bool no_checksum; /* UDP */
};

/** All sums right; payload bytes count up from `sport`. */
struct made_frame made_frame(const struct made_flow *flow);
/** Read back; payload is what the headers say. */
struct made_flow made_flow(const struct made_frame *f);
/** Put the sums right again after a change by hand. */
void made_sign(struct made_frame *f);
/** NULL, or what is wrong with it: version, lengths, options, fragment, any sum. */
const char *made_wrong(const struct made_frame *f);
