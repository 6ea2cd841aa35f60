#pragma once
/**
 * What the data plane of the path kind and its loader agree on: the wire header, the maps and
 * the settings fixed at load. Included unchanged by BPF and by user space; nothing here knows
 * which side it is on.
 *
 * Three objects:
 *   path_replicate.bpf.o  one load per tunnel, XDP on the far end of its device (sd0 <-> sd0p)
 *   path_egress.bpf.o     one load per path, as the program of its devmap entries
 *   path_eliminate.bpf.o  one load per host, XDP on every underlay device
 *
 * Maps are shared by name: a loader opens an object and gives it the descriptors it already has.
 *   per tunnel: path_settings path_classes path_seqs path_subsets path_rules path_flows
 *               path_flow_cache path_class_tx path_tx path_ears (replicate, which also reads
 *                                                              path_rx_stats)
 *               path_refused                                   (egress, of all paths)
 *   per host:   path_rx_tunnels path_rx_classes path_slots path_rx_stats path_class_rx path_out
 *                                                              (eliminate)
 *               path_drops                                     (all three)
 * Who writes what is said at each struct. No word is written by both sides, so neither clobbers
 * the other; a word that user space changes while traffic flows is one aligned u32 store.
 */
#include <linux/types.h>

#define PATH_PATHS_MAX   4    /* paths of one tunnel: a subset is a mask of these */
#define PATH_SUBSETS     16   /* 1 << PATH_PATHS_MAX */
#define PATH_TUNNELS_MAX 256  /* tunnels of one host */
#define PATH_WINDOW_MIN  256  /* sequences of a window: powers of two */
#define PATH_WINDOW      4096 /* the default: 20 ms of skew at 200 kpps */
#define PATH_WINDOW_MAX  (1u << 20)
#define PATH_CPUS_MAX    256

/* ---- on the wire ------------------------------------------------------------------------- */

#define PATH_WIRE_VERSION 1
#define PATH_WIRE_SUBSET  0x0f /* of wire.flags: the paths this packet was sent on */
#define PATH_WIRE_CONTROL 0x80 /* of wire.flags: for the far daemon's socket, not for the device */
#define PATH_WIRE_KNOWN   (PATH_WIRE_SUBSET | PATH_WIRE_CONTROL) /* any other bit: refused */

/**
 * After outer Ethernet, IPv4 (20 bytes, DF) and UDP (checksum 0); the inner IP packet follows at
 * once, without its Ethernet header. Network byte order. The payload is not authenticated.
 *
 * tag: SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) under the
 * key of (tunnel, direction, epoch), over 23 bytes: seq, sent_ns, flags, path, epoch, id, in
 * this order. The path is last so that the copies of a packet share the work on the first
 * 16 bytes; the version is not hashed because only one value of it is accepted.
 */
struct path_wire {
        __u8 version;   /**< PATH_WIRE_VERSION */
        __u8 flags;     /**< PATH_WIRE_*; the low four bits are never 0 */
        __u8 path;      /**< 0..3, the sender's number of the path of this copy */
        __u8 epoch;     /**< which key */
        __be32 id;      /**< tunnel as the receiver numbers it << 16 | class */
        __be64 seq;     /**< per class; starts at the wall clock in ns, so that a restart goes up */
        __be64 sent_ns; /**< sender's monotonic clock; 0 means "not sampled" */
        __u64 tag;      /**< as bytes of a little-endian number, as the SipHash paper prints it */
};
_Static_assert(sizeof(struct path_wire) == 32, "path_wire is the wire format");

#define PATH_TAG_BYTES         23
#define PATH_OUTER_IP4         28 /* IPv4 + UDP */
#define PATH_OUTER_IP6         48 /* IPv6 + UDP */
#define PATH_OVERHEAD          60 /* outer IPv4 + UDP + wire: device MTU = smallest path MTU - this */
#define PATH_OVERHEAD_6        80
#define PATH_INNER_MIN         20 /* bytes after the header: an IPv4 header, or a control message */
#define PATH_ID(tunnel, klass) ((__u32)(tunnel) << 16 | (__u32)(klass))

/** A SipHash key: two little-endian words. `epoch` above 255 means "no key here". */
struct path_key {
        __u64 k0;
        __u64 k1;
        __u32 epoch;
        __u32 pad;
};
_Static_assert(sizeof(struct path_key) == 24, "path_key is part of the map ABI");
#define PATH_KEY_NONE 0x100u

/* ---- sending side ------------------------------------------------------------------------ */

/**
 * path_settings: array of 1, mmapable. Written by user space, except silent_*, which the reflex
 * timer writes.
 *
 * To change the rules: write the bank (rules + 1) & 1, its count, then ++rules, then
 * ++generation. To change a key: write key[(epoch + 1) & 1], then ++epoch (the far end must have
 * it already).
 */
struct path_settings {
        __u32 generation;    /**< any change empties the per-CPU flow caches */
        __u32 rules;         /**< generation of the rules; its low bit is the bank in force */
        __u32 rule_count[2]; /**< rules in each bank; a bank begins at bank * rules_max */
        __u32 default_class; /**< for a packet that no rule matches */
        __u32 epoch;         /**< 0..255 in the low byte; key[epoch & 1] is in force */
        __u32 mtu;           /**< largest inner IP packet, bytes; larger ones are dropped, counted */
        __u32 silent_max_ms; /**< the largest of silent_ms: BPF */
        __u32 silent_ms[PATH_PATHS_MAX]; /**< since the far end was last heard on this path: BPF */
        __u64 hash_seed;        /**< random: keeps strangers from aiming at one slot of the flow cache */
        struct path_key key[2]; /**< for sending */
        __u32 listens; /**< BPF: the reflex timer runs; user space writes 0 after loading replicate */
        __u32 pad;
        __u64 spare;
};
_Static_assert(sizeof(struct path_settings) == 120, "path_settings is part of the map ABI");

/**
 * path_classes: array by class, mmapable, written by user space only. Steering is one store to
 * `subset`. subset 0 drops the class, counted as NO_PATH.
 *
 * Reflex: when silence_ms is not 0, a path unheard for longer counts as dead; dead paths are
 * taken out of the subset; if none is left the first fallback with a live path is used, and if
 * there is none either, the subset as it is: sending nothing helps nobody.
 */
struct path_class {
        __u32 subset;      /**< mask of paths, 1..15 */
        __u32 sample_mask; /**< a packet carries its send time when (seq & sample_mask) == 0 */
        __u32 silence_ms;  /**< 0: no reflex */
        __u8 fallback[4];  /**< masks, tried in order; 0 ends the list */
        __u32 spare[4];
};
_Static_assert(sizeof(struct path_class) == 32, "path_class is part of the map ABI");

/**
 * path_seqs: array by class, mmapable. User space writes `next` once, when the class is made
 * (wall clock in ns; never lower than before); from then on only BPF does. 0 means "not made".
 * One cache line each: CPUs that send different classes do not disturb each other.
 */
struct path_seq {
        __u64 next;
        __u64 pad[7];
};
_Static_assert(sizeof(struct path_seq) == 64, "path_seq is part of the map ABI");

/*
 * path_subsets: array of maps, PATH_SUBSETS entries, index = subset. Each inner map is a devmap
 * (BPF_MAP_TYPE_DEVMAP, PATH_PATHS_MAX entries, value struct bpf_devmap_val) whose entry p is
 * { ifindex, egress program of path p } for every p in the subset and empty for the others.
 * Never an entry without the program: what replicate leaves in front of the header is the
 * half-made tag, and egress is what overwrites it.
 */

/** path_rules: array of 2 * rules_max (an even max_entries), user space only. First match wins. */
struct path_rule {
        __be32 src, src_mask; /**< matches when (packet & mask) == src; mask 0: any */
        __be32 dst, dst_mask;
        __u16 sport_low, sport_high; /**< host order, inclusive; 0..65535: any */
        __u16 dport_low, dport_high; /**< a packet without ports matches only 0..65535 */
        __u8 flags;                  /**< PATH_RULE_* */
        __u8 proto;
        __u8 dscp; /**< six bits */
        __u8 pad;
        __u32 klass;
};
_Static_assert(sizeof(struct path_rule) == 32, "path_rule is part of the map ABI");
#define PATH_RULE_PROTO 0x01 /* proto must match */
#define PATH_RULE_DSCP  0x02 /* dscp must match */

/** Key of path_flows (LRU hash) and of the per-CPU cache before it. Ports 0 for a fragment. */
struct path_flow_key {
        __be32 src;
        __be32 dst;
        __be16 sport;
        __be16 dport;
        __u8 proto;
        __u8 dscp;
        __be16 has_ports; /**< 1 or 0 */
};
_Static_assert(sizeof(struct path_flow_key) == 16, "path_flow_key is part of the map ABI");

/**
 * What a flow was decided to be. BPF writes entries with the generation of the rules it looked
 * at; user space writes entries with PATH_FLOW_PINNED (an application was recognised), then
 * ++settings.generation; a pinned verdict outlives rule changes until user space deletes it.
 */
struct path_flow {
        __u32 klass;
        __u32 rules; /**< settings.rules when it was decided */
        __u32 flags;
        __u32 pad;
};
_Static_assert(sizeof(struct path_flow) == 16, "path_flow is part of the map ABI");
#define PATH_FLOW_PINNED 0x01

/** path_flow_cache: per-CPU array, direct mapped, private to replicate. */
struct path_flow_slot {
        struct path_flow_key key;
        __u32 generation; /**< settings.generation when it was filled */
        __u32 klass;
        __u64 pad;
};
_Static_assert(sizeof(struct path_flow_slot) == 32, "path_flow_slot is part of the map ABI");

/** path_class_tx: per-CPU array by class. */
struct path_class_tx {
        __u64 packets;
        __u64 bytes;  /**< inner IP bytes, counted once */
        __u64 copies; /**< packets x paths */
        __u64 reflex; /**< packets that a reflex sent elsewhere than `subset` says */
};
_Static_assert(sizeof(struct path_class_tx) == 32, "path_class_tx is part of the map ABI");

/**
 * path_tx: per-CPU array by subset. What went out on path p is the sum over the subsets with bit
 * p, less path_refused[p]; on the wire each packet has PATH_OVERHEAD bytes more.
 */
struct path_tx {
        __u64 packets;
        __u64 bytes; /**< inner IP bytes */
};
_Static_assert(sizeof(struct path_tx) == 16, "path_tx is part of the map ABI");

/* path_refused: per-CPU array of u64 by path: copies that egress dropped (EGRESS_BIG). */

/* .rodata of replicate, by name:
 *   path_wire_tunnel  u32: the tunnel's number at the far end (upper half of wire.id)
 *   path_rules_max    u32: half of path_rules' max_entries
 *   path_cache_mask   u32: path_flow_cache's max_entries - 1
 *   path_class_count  u32: classes in use are below this
 *   path_rx_tunnel    u32: the tunnel's own number here: where its received traffic is counted
 *   path_cpus         u32: possible CPUs, at most PATH_CPUS_MAX
 *   path_tick_ns      u64: how often the reflex looks, 5 ms
 * The reflex listens from the first packet of a class with silence_ms on; its timer ends when
 * path_ears is neither held nor pinned. It hears data and control packets, so a far end with
 * nothing to say must send a control packet now and then.
 *
 * .rodata of egress, by name. `path_outer` is the 42 bytes of Ethernet, IPv4 and UDP as they
 * shall leave, with IPv4 length and checksum and UDP length 0, made by path_outer_ip4() of
 * path_outer.h:
 *   path_outer   u64[6]: 42 bytes and padding
 *   path_ip_sum  u32: one's complement sum of the IPv4 header, not folded, length and checksum 0
 *   path_number  u32: 0..3
 *   path_mtu     u32: the path MTU; a longer outer packet is dropped, counted
 *
 * .rodata of eliminate:
 *   path_port         u32: our UDP port, host order
 *   path_check_every  u32: the tag of a second copy is checked when it is sampled or 1 in this
 *                     many (a power of two; 1: always)
 */

/* ---- receiving side ---------------------------------------------------------------------- */

/**
 * path_rx_tunnels: array by the tunnel's number here, mmapable, written by user space only
 * (delay_base_ns: by BPF only).
 */
struct path_rx_tunnel {
        __u32 class_base;  /**< index of class 0 in path_rx_classes */
        __u32 class_count; /**< 0: there is no such tunnel */
        __u32 path_mask;   /**< paths that may speak; others: BAD_PATH */
        __u32 interval;    /**< user space adds 1 to close a measuring interval; see path_delay */
        __u8 mac_to[6];    /**< sd0's address */
        __u8 mac_from[6];  /**< sd0p's address */
        __u32 pad;
        struct path_key key[2]; /**< for receiving; a key's place is epoch & 1 */
        __s64 delay_base_ns; /**< subtracted from every delay: clocks of two hosts have nothing in common */
        __u64 spare[5];
};
_Static_assert(sizeof(struct path_rx_tunnel) == 128, "path_rx_tunnel is part of the map ABI");

/** path_out: devmap by tunnel number, no program: the far end (sd0p) of the tunnel's device. */

/**
 * path_rx_classes: array by class_base + class, mmapable. User space writes offset and mask
 * before the class is used; BPF writes newest.
 */
struct path_rx_class {
        __u32 offset;                 /**< the window is path_slots[offset .. offset + mask] */
        __u32 mask;                   /**< PATH_WINDOW_WORDS(window) - 1 */
        __u64 newest[PATH_PATHS_MAX]; /**< highest authentic sequence by path */
        __u64 spare[3];
};
_Static_assert(sizeof(struct path_rx_class) == 64, "path_rx_class is part of the map ABI");

/*
 * path_slots: flat array of u64, mmapable; 0 to begin with, then written by BPF only. One word for
 * eight sequences: slots[offset + (seq >> 3 & mask)] is the sequence of the newest such eight with
 * its low byte replaced by eight marks, one for each that was accepted. A packet is accepted when
 * the word is of older ones, or is of its own eight and its mark is not set, and the
 * compare-and-swap wins: so nothing is accepted twice, however old the replay. 4,096 sequences
 * are 512 words, one page. The index covers bits 3 to 7 (hence PATH_WINDOW_MIN), the word the rest.
 */
#define PATH_WINDOW_WORDS(window) ((window) / 8)

/** Delays of sampled packets in one interval, minus delay_base_ns. */
struct path_delay {
        __u32 interval; /**< which interval this is about; a reader ignores any other */
        __u32 count;
        __s64 sum_ns;
        __s64 min_ns;
        __s64 max_ns;
};
_Static_assert(sizeof(struct path_delay) == 32, "path_delay is part of the map ABI");

/**
 * path_rx_stats: per-CPU array, index = tunnel * PATH_PATHS_MAX + path; BPF only. Apart from
 * bad_tag, only authentic packets count (and, see path_check_every, second copies).
 *
 * Loss of path p over an interval, though packets go out on different subsets: of the packets
 * known to have been sent on p (sum of `first` of all paths over the subsets with bit p) those
 * that came on p (its own first + duplicate). A packet lost on all its paths shows as a hole in its class:
 * advance of newest minus packets delivered.
 */
struct path_rx_stats {
        __u64 received;  /**< first + duplicate + stale */
        __u64 bytes;     /**< of the outer IP packets received */
        __u64 duplicate; /**< another copy, maybe of another path, was first */
        __u64 stale;     /**< older than the window, or a replay */
        __u64 bad_tag;
        __u64 reordered; /**< older than one that came before on this path and class */
        __u64 control;   /**< passed to the daemon */
        __u64 newest_ns; /**< local monotonic time of the last sampled packet */
        __be32 peer;     /**< outer source of the last packet that raised `newest` */
        __be16 peer_port;
        __u16 pad;
        struct path_delay delay[2]; /**< by interval & 1 */
        __u64 first[PATH_SUBSETS];  /**< this path's copy won; by the subset the packet was sent on */
};
_Static_assert(sizeof(struct path_rx_stats) == 264, "path_rx_stats is part of the map ABI");

/** path_class_rx: per-CPU array by class_base + class. */
struct path_class_rx {
        __u64 packets; /**< delivered, each once */
        __u64 bytes;   /**< inner IP bytes */
};
_Static_assert(sizeof(struct path_class_rx) == 16, "path_class_rx is part of the map ABI");

/* ---- ways out ---------------------------------------------------------------------------- */

/**
 * Every way out of the three programs but the three ordinary ones, which are counted where more
 * is known: handed to the paths (path_tx), first copy delivered and second copy dropped
 * (path_rx_stats). path_drops: per-CPU array of u64, by enum path_drop.
 * X(name, text): the text is for people and metrics.
 */
#define PATH_DROPS(X)                                                                                        \
        X(TX_NOT_IP, "from the device: not IPv4, not carried")                                               \
        X(TX_SHORT, "from the device: shorter than its own headers say")                                     \
        X(TX_FRAGMENT, "from the device: a fragment, classified without ports (carried)")                    \
        X(TX_OPTIONS, "from the device: has IP options (carried)")                                           \
        X(TX_BIG, "from the device: larger than the tunnel's MTU")                                           \
        X(TX_NO_CLASS, "from the device: its class does not exist")                                          \
        X(TX_NO_PATH, "from the device: its class has no path")                                              \
        X(TX_NO_ROOM, "from the device: no headroom for the outer header")                                   \
        X(EGRESS_BIG, "at a path: larger than the path MTU")                                                 \
        X(EGRESS_SHORT, "at a path: not made by replicate")                                                  \
        X(RX_OTHER, "from a path: not for us, passed to the system")                                         \
        X(RX_SHORT, "from a path: for our port, too short or lengths do not agree")                          \
        X(RX_VERSION, "from a path: unknown version or flags")                                               \
        X(RX_NO_TUNNEL, "from a path: no such tunnel")                                                       \
        X(RX_BAD_PATH, "from a path: this tunnel has no such path, or the subset lacks it")                  \
        X(RX_NO_CLASS, "from a path: no such class")                                                         \
        X(RX_NO_KEY, "from a path: no key of this epoch")                                                    \
        X(RX_BAD_TAG, "from a path: the tag is wrong")                                                       \
        X(RX_STALE, "older than the window, or a replay")                                                    \
        X(RX_CONTENDED, "the window slot was contended too long")                                            \
        X(RX_CONTROL, "control packet, passed to the daemon")                                                \
        X(RX_NOT_IP, "authentic, but what it carries is not IPv4")

enum path_drop {
#define PATH_DROP_ENUM(name, text) PATH_DROP_##name,
        PATH_DROPS(PATH_DROP_ENUM)
#undef PATH_DROP_ENUM
                PATH_DROP_COUNT
};
