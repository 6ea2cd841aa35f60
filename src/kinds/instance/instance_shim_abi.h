#pragma once
/**
 * What the shim's programs on a server and their loader agree on. The shim is the server's part of aligned
 * mode: it builds the socket from a client's third packet, and, where this server is the standby of a
 * connection, it keeps the standby's own bytes off the wire.
 *
 *   instance_shim_in   tc ingress of the devices towards the front
 *   instance_shim_out  tc egress of the same
 *
 * How the server's host knows that it is the standby: the front's copies carry a DSCP code point (a setting,
 * of the pool for local use, RFC 2474, 6, pool 2). The first packet of the connection without it is the
 * promotion. The front writes DSCP on every packet to a server that runs the shim, so no client can choose
 * it.
 *
 * What the front does for a connection whose standby gates by itself (INSTANCE_SERVER_GATED): it sends the
 * client's acknowledgement as it is, with a window that ends where the standby may go; the shim holds the
 * acknowledgement back to what the standby has sent. Packets of the standby whose bytes the client has are
 * answered here. To the front go, without bytes: every bare packet, and at times what a packet with bytes
 * says (its sequence number is then one behind those bytes). Bytes that the client lacks go there whole.
 */
#include "instance_cookie.h"

#define INSTANCE_SHIM_SERVICES     64
#define INSTANCE_SHIM_DSCP         0x2b    /* 43: 101011, pool 2 */
#define INSTANCE_SHIM_REPORT_BYTES 32768   /* report the standby's progress after so many bytes ... */
#define INSTANCE_SHIM_REPORT_NS    1000000 /* ... or with the first packet after so long */

/** shim_services: hash. A listening socket that the front sends protected connections to. */
struct instance_shim_key {
        struct instance_address address; /**< of the server, or in L2 mode the vip's */
        __be16 port;
        __u16 pad;
};
_Static_assert(sizeof(struct instance_shim_key) == 20, "instance_shim_key is part of the map ABI");

struct instance_shim_service {
        struct instance_cookie_keys keys;
        __u16 number; /**< its place in struct instance_flow.vip, of this server */
        __u16 pad[3];
};

/** shim_settings: array of one. */
struct instance_shim_settings {
        __u64 clock_ns; /**< wall clock = monotonic + this */
        __u8 dscp;      /**< of the front's copies */
        __u8 pad[7];
};

/** shim_standbys: LRU hash by struct instance_flow: connections for which this server is the standby. */
#define INSTANCE_SHIM_TOLD        0x1 /* the fields `told_*` are valid */
#define INSTANCE_SHIM_IS_PROMOTED 0x2 /* the front said so; what the client has already is still held back   \
                                       */
struct instance_standby {
        __u32 flags;
        __u32 wscale; /**< of the client's window */
        __u32 c_ack;  /**< newest acknowledgement of the client */
        __u32 edge;   /**< where our bytes must end, as the front said last */
        __u32 high;   /**< one behind the last byte we sent */
        __u32 ack;    /**< what we acknowledged last */
        __u32 c_next; /**< one behind the client's newest byte */
        __u32 told_high, told_ack;
        __u32 told_window;
        __u64 told_ns;
};
_Static_assert(sizeof(struct instance_standby) == 48, "instance_standby is part of the map ABI");

/** shim_counts: per-CPU array of u64 by enum instance_shim_count. X(name, word, what it counts) */
#define INSTANCE_SHIM_COUNTS(X)                                                                              \
        X(BUILT, "built", "sockets made from a client's third packet")                                       \
        X(STANDBY, "standby", "... of them, as the standby")                                                 \
        X(REFUSED, "refused", "third packets for which the kernel would not make one")                       \
        X(NO_LISTENER, "no-listener", "third packets for a port on which nobody listens")                    \
        X(COPIES, "copies", "the front's copies gated")                                                      \
        X(LOST, "lost", "copies of a connection that is not known here, dropped")                            \
        X(UNKEPT, "unkept", "copies of a connection whose state is lost, passed on as they are")             \
        X(FORGED, "forged", "packets without the mark that do not fit the connection, dropped")              \
        X(PROMOTED, "promoted", "connections of which this server is no standby any more")                   \
        X(REFLECTED, "reflected", "own packets answered here")                                               \
        X(REFLECTED_BYTES, "reflected-bytes", "... their bytes, kept off the wire")                          \
        X(REPORTED, "reported", "own packets sent to the front without their bytes")                         \
        X(WHOLE, "whole", "own packets sent whole: the client lacks their bytes")

enum instance_shim_count {
#define X(name, word, help) INSTANCE_SHIM_##name##_COUNT,
        INSTANCE_SHIM_COUNTS(X)
#undef X
                INSTANCE_SHIM_COUNTS_ALL
};
