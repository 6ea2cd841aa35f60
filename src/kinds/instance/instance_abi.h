#pragma once
/**
 * What the data plane of the instance kind and its loader agree on: keys, values, counters and the settings
 * fixed at load. Included unchanged by BPF and by user space; nothing here knows which side it is on.
 *
 * The front is the balancer: at a gateway, or on the client's own host. Objects:
 *   instance_tc.bpf.o   everything: plain forwarding, protected TCP, mirrored UDP. tc ingress of every
 *                       device of a gateway; egress and ingress of the uplink on a client's own host
 *   instance_xdp.bpf.o  the part that needs no clone (unprotected addresses, connections with one server
 *                       left), on the same devices, before tc; what it does not handle it passes on
 * Both use the same maps, by name.
 *
 * A *vip* is one (address, protocol, port) that is served. A *server* is one (vip, instance): it has its own
 * number, flags, address and port. Sequence numbers the client sees are those of the server that answered
 * first as primary: "A". The standby is "B"; B's numbers are A's plus delta.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#define INSTANCE_VIPS_MAX    64
#define INSTANCE_SERVERS_MAX 512
#define INSTANCE_TABLE       65537 /* entries of one Maglev table, a prime (Eisenbud et al., NSDI 2016, 3.4) */
#define INSTANCE_NOBODY      0xffff
/** Ports that the front's own TCP checks come from: answers to them are this host's. */
#define INSTANCE_CHECK_PORT_LOW  61000
#define INSTANCE_CHECK_PORT_HIGH 61999
#define INSTANCE_TICK_SHIFT      20 /* a tick is 2^20 ns of the monotonic clock, a little over a millisecond */
#define INSTANCE_BLOCK_SHIFT     16         /* content is compared in blocks of 64 KiB of the stream */
#define INSTANCE_MARK            0x5d060000 /* of skb->mark: made by us, already decided on */

/* ---- addresses ----------------------------------------------------------------------------- */

/** IPv6, or IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). Network byte order. */
struct instance_address {
        __be32 word[4];
};

/** instance_vips: hash. port 0 with proto 0: the address is ours; what no other entry matches is dropped. */
struct instance_vip_key {
        struct instance_address address;
        __be16 port;
        __u8 proto; /**< IPPROTO_TCP or IPPROTO_UDP */
        __u8 pad;
};

enum instance_protect {
        INSTANCE_PROTECT_NEVER,  /**< stateless: the table alone says where a packet goes */
        INSTANCE_PROTECT_ALWAYS, /**< every new connection that has a standby */
        INSTANCE_PROTECT_SHARE,  /**< those whose hash is below `share`: by a share, or by budget, which moves
                                    it */
};

enum instance_return {
        INSTANCE_RETURN_NAT, /**< the server has its own address; answers come back through the front */
        INSTANCE_RETURN_L2,  /**< the server has the vip's address itself; answers come through the front */
        INSTANCE_RETURN_DIRECT, /**< the same, and it answers the client itself: unprotected only */
};

/** For UDP: what of a mirrored request's answers goes back. */
enum instance_answer { INSTANCE_ANSWER_PRIMARY, INSTANCE_ANSWER_FIRST };

#define INSTANCE_VIP_HAS_ORDERS 0x1 /* look into instance_orders */
#define INSTANCE_VIP_ALIGNED    0x2 /* the front answers the SYN; servers run the shim */
#define INSTANCE_VIP_GUARD      0x4 /* compare the contents of A's and B's answers */
#define INSTANCE_VIP_CLASSES    0x8 /* the first line of a request names its class: HTTP/1 and the like */

/** Written by user space only; `number` is its place in arrays by vip. */
struct instance_vip {
        __u32 flags;  /**< INSTANCE_VIP_* */
        __u32 number; /**< below INSTANCE_VIPS_MAX */
        __u32 row;    /**< the Maglev table in force begins at pick row * INSTANCE_ROW of instance_table */
        __u32 seed;   /**< of the hash of a flow; random, kept over restarts */
        __u32 share;  /**< SHARE: protect when hash < share; 2^32-1 is all */
        __u32 most;   /**< protected connections at one time; more are forwarded unprotected, counted; 0: as
                         many as the table holds */
        __u8 protect; /**< enum instance_protect */
        __u8 returns; /**< enum instance_return */
        __u8 answer;  /**< enum instance_answer */
        __u8 pad;
        __u32 lag_bytes; /**< a standby that lacks more acknowledged client bytes than this ... */
        __u32 lag_ticks; /**< ... for longer than this is evicted; 0: never */
        __u32 ask_mask;  /**< response times are taken of flows whose hash has none of these bits */
        __u32 spare[2];
};
_Static_assert(sizeof(struct instance_vip) == 48, "instance_vip is part of the map ABI");

/**
 * instance_table: array, mmapable, two rows a vip (one in force, one being built). By user space, which sees
 * picks one after the other: the map's values are pairs of them, since a mapped array has its values at
 * multiples of eight bytes.
 */
struct instance_pick {
        __u16 primary, standby; /**< servers; standby NOBODY: nothing to mirror on */
};
#define INSTANCE_ROW (INSTANCE_TABLE + 1) /* picks from one row to the next: whole pairs */
struct instance_pick_pair {
        struct instance_pick pick[2];
};
_Static_assert(sizeof(struct instance_pick_pair) == 8, "instance_pick_pair is part of the map ABI");

#define INSTANCE_SERVER_SET  0x1 /* the entry is in use */
#define INSTANCE_SERVER_DEAD 0x2 /* its connections are their standby's from the next packet on */
#define INSTANCE_SERVER_LEAVING                                                                              \
        0x4 /* planned: a connection changes over when the client has all of its bytes */
#define INSTANCE_SERVER_UNFIT   0x8  /* as a standby: it is to hold nobody's copy any more; evict */
#define INSTANCE_SERVER_ALIGNED 0x10 /* its host runs the shim */
#define INSTANCE_SERVER_GATED   0x20 /* ... and gates and reflects by itself */
#define INSTANCE_SERVER_XDP     0x40 /* its device takes frames from XDP: ndo_xdp_xmit, and a peer that can */
#define INSTANCE_SERVER_DOUBTED 0x80 /* silent on all connections: what a standby says now is proof */

/** instance_servers: array, mmapable. By user space; flags change by one aligned store. */
struct instance_server {
        __u32 flags;   /**< INSTANCE_SERVER_* */
        __u32 ifindex; /**< where packets for it leave */
        __u8 mac[6];   /**< of the next hop towards it */
        __u8 own_mac[6];
        struct instance_address address; /**< its own; RETURN_NAT puts it in the place of the vip's */
        __be16 port;
        __u16 vip;      /**< its vip's number */
        __u32 leave_by; /**< LEAVING: promote whatever is left at this tick */
        __u32 spare[5];
};
_Static_assert(sizeof(struct instance_server) == 64, "instance_server is part of the map ABI");

/** instance_back: hash. Who sent this answer: RETURN_NAT by address and port, RETURN_L2 by its MAC address.
 */
struct instance_back_key {
        struct instance_address address; /**< the server's; RETURN_L2: the vip's */
        __be16 port;
        __u8 proto;
        __u8 mac[6]; /**< RETURN_L2; else zero */
        __u8 pad[3];
};
_Static_assert(sizeof(struct instance_back_key) == 28, "instance_back_key is part of the map ABI");
struct instance_back {
        __u16 server;
        __u16 vip;
        __be16 port; /**< of the vip */
        __u16 pad;
        struct instance_address address; /**< of the vip */
};

/* ---- protected TCP ------------------------------------------------------------------------- */

/** Key of instance_conns4. */
struct instance_flow4 {
        __be32 client;
        __be16 port; /**< of the client */
        __u16 vip;
};
/** Key of instance_conns6, and of everything that need not be small. */
struct instance_flow {
        struct instance_address client;
        __be16 port;
        __u16 vip;
};

#define INSTANCE_CONN_PROMOTED 0x001 /* B serves; A is not heard any more */
#define INSTANCE_CONN_ALONE    0x002 /* the standby is gone: plain forwarding to A, numbers untouched */
#define INSTANCE_CONN_ALIGNED  0x004 /* delta is 0, both built from the front's answer */
#define INSTANCE_CONN_A_FIN    0x008
#define INSTANCE_CONN_B_FIN    0x010
#define INSTANCE_CONN_C_FIN    0x020
#define INSTANCE_CONN_A_RST    0x040 /* swallowed, waiting for B's word */
#define INSTANCE_CONN_CLOSED   0x080 /* both directions are finished, or reset */
#define INSTANCE_CONN_LEAVING  0x100 /* A's window is closed: when the client has its bytes, B takes over */
#define INSTANCE_CONN_PEER     0x200 /* made by the other balancer of the pair */
#define INSTANCE_CONN_V6       0x400
#define INSTANCE_CONN_TOLD     0x800 /* user space: its end was reported */
#define INSTANCE_CONN_INVITED                                                                                \
        0x1000                       /* A is silent: B was shown the whole window, its next bytes are proof  \
                                      */
#define INSTANCE_CONN_A_BLIND 0x2000 /* a gap: nothing to compare until A's next block begins */
#define INSTANCE_CONN_B_BLIND 0x4000
#define INSTANCE_CONN_COUNTED 0x8000 /* it is one of instance_live's */

/**
 * One protected connection, the value of instance_conns4 and _conns6 (hash, preallocated). Written by BPF
 * under `lock`; user space reads with BPF_F_LOCK and deletes. Sequence numbers of A are as the client sees
 * them.
 */
struct instance_conn {
        struct bpf_spin_lock lock;
        __u16 flags;            /**< INSTANCE_CONN_* */
        __u16 primary, standby; /**< servers, as chosen at the SYN */
        __u16 wscale; /**< window shift of the client, A and B: 4 bits each from the lowest, 15: none; then,
                         with PEER, a bit for each of them that was heard here; the highest:
                         INSTANCE_UNSURE of instance_decide.h */
        __u32 delta;  /**< B's sequence number = A's + delta */
        __u32 c_ack;  /**< the newest the client has acknowledged */
        __u32 c_edge; /**< right edge of the window that it offered last (the newest, not the largest) */
        __u32 c_high; /**< one behind the last byte it sent */
        __u32 a_ack, a_edge, a_high; /**< what A acknowledged, offered, sent */
        __u32 b_ack, b_edge, b_high; /**< the same of B; b_high in A's numbers */
        __u32 a_fin;                 /**< where A's FIN stands; valid with A_FIN */
        __u64 a_sum, b_sum;          /**< of what each has sent, so far, of the block that it is in */
        __u32 class;                 /**< of the newest request: key of instance_classes; 0: none */
        __u32 seen;                  /**< tick of the last packet from anybody but a standby */
        __u32 a_seen;                /**< ... from the server that serves */
        __u8 why;                    /**< enum instance_event_type of the promotion or eviction; 0: none */
        __u8 is_gated;   /**< B's host holds acknowledgements back by itself: instance_shim_abi.h */
        __u16 lag_since; /**< low bits of the tick since when B lacks acknowledged client bytes; 0: it does
                            not */
};
_Static_assert(sizeof(struct instance_conn) == 88,
               "a connection's state is 88 bytes: 160 in all with an 8-byte key");

/**
 * A handshake under way, the value of instance_syns (LRU hash by struct instance_flow, without a lock: each
 * field has one writer, and who sets the last of ANSWERED_A and ANSWERED_B by an atomic OR goes on). The
 * client's third packet makes a connection of it, so whoever only sends SYNs has no place in instance_conns.
 */
#define INSTANCE_SYN_A        0x01 /* A has answered: its numbers are valid */
#define INSTANCE_SYN_B        0x02
#define INSTANCE_SYN_A_RST    0x04 /* A refused */
#define INSTANCE_SYN_B_RST    0x08
#define INSTANCE_SYN_RELEASED 0x10 /* the client has got its answer: what it is to be is settled */
#define INSTANCE_SYN_ALONE    0x20 /* with `primary` alone */
#define INSTANCE_SYN_OTHER    0x40 /* B has become the only server: it is to be read as the primary */
struct instance_syn {
        __u32 flags; /**< INSTANCE_SYN_* */
        __u32 c_isn, a_isn, b_isn;
        __u16 primary, standby;
        __u32 first, newest;            /**< ticks of the client's SYNs */
        __u16 a_mss, b_mss;             /**< 0: not said */
        __u8 c_shift, a_shift, b_shift; /**< window shifts; 15: no such option */
        __u8 sack;                      /**< bits C 1, A 2, B 4: selective acknowledgements are permitted */
        __u16 c_window, a_window, b_window; /**< of the handshake's packets, not shifted */
        __u16 c_mss;
        __u8 why; /**< enum instance_event_type: why it is alone */
        __u8 pad[3];
};
_Static_assert(sizeof(struct instance_syn) == 48, "instance_syn is part of the map ABI");

/** instance_sums: LRU hash. Sum of a block of A's that is finished, until B has reached it. */
struct instance_sum_key {
        struct instance_flow flow;
        __u32 block; /**< sequence number (A's) >> INSTANCE_BLOCK_SHIFT */
};
/** `delta` tells this connection from an earlier one of the same ports. */
struct instance_sum {
        __u64 sum;
        __u32 delta, pad;
};

/** instance_orders: hash by struct instance_flow, by user space, looked at only with VIP_HAS_ORDERS. */
enum instance_order { INSTANCE_ORDER_PROMOTE = 1, INSTANCE_ORDER_LEAVE, INSTANCE_ORDER_EVICT };

/* ---- what happened ------------------------------------------------------------------------- */

/**
 * What happens to connections: the types of instance_events (ring buffer) and the counters by vip.
 * X(name, word, what it is)
 */
#define INSTANCE_EVENTS(X)                                                                                   \
        X(OPENED, "opened", "a connection is protected")                                                     \
        X(BARE, "unprotected", "a connection of a protected address goes without a standby")                 \
        X(CLOSED, "closed", "a protected connection ended in order")                                         \
        X(PROMOTED_FIN, "promoted-vote-fin", "A ended the stream, and the standby has more to say")          \
        X(PROMOTED_RST, "promoted-vote-reset", "A reset the connection, and the standby goes on")            \
        X(PROMOTED_DEAD, "promoted-dead", "its server was found dead (carrier, probe)")                      \
        X(PROMOTED_HANG, "promoted-hang", "the client waits, A is silent, the standby has the answer")       \
        X(PROMOTED_PLAN, "promoted-planned", "its server was forecast to fail, or is drained")               \
        X(EVICTED_LATE, "evicted-late", "the standby did not answer the SYN in time")                        \
        X(EVICTED_LAG, "evicted-lag", "the standby acknowledges less than A for too long")                   \
        X(EVICTED_CONTENT, "evicted-content", "the standby's answer differs")                                \
        X(EVICTED_RESET, "evicted-reset", "the standby ended or reset the connection, A goes on")            \
        X(EVICTED_CLASS, "evicted-class", "requests of this class are known not to be replayable")           \
        X(EVICTED_UNFIT, "evicted-unfit", "the standby is dead, or is to be empty")                             \
        X(TAKEN, "taken-over", "the other balancer's connection goes on through this one")                   \
        X(TABLE_FULL, "table-full", "no room for another protected connection")

enum instance_event_type {
#define X(name, word, help) INSTANCE_EVENT_##name,
        INSTANCE_EVENTS(X)
#undef X
                INSTANCE_EVENT_COUNT
};

struct instance_event {
        __u64 at_ns; /**< monotonic */
        struct instance_flow flow;
        __u16 primary, standby;
        __u8 type; /**< enum instance_event_type */
        __u8 flags;
        __u16 pad;
        __u32 class;
        __u32 lag;   /**< bytes that B was behind A then */
        __u32 quiet; /**< promoted: ticks since A's last packet */
};
_Static_assert(sizeof(struct instance_event) == 48, "instance_event is part of the ring's ABI");

/** instance_vip_stats: per-CPU array by vip. */
struct instance_vip_stats {
        __u64 event[32];              /**< by enum instance_event_type */
        __u64 to_servers, to_clients; /**< packets that left */
        __u64 to_servers_bytes, to_clients_bytes;
        __u64 copies;    /**< packets cloned for a standby */
        __u64 reflected; /**< the standby's packets turned into acknowledgements */
};
_Static_assert(INSTANCE_EVENT_COUNT <= 32, "a counter for every event");

/**
 * instance_live: array of u32 by vip: protected connections at this moment, for `most`. Counted by BPF
 * (atomic) when one begins and when it loses its standby or ends; user space takes one off for each it
 * deletes that is COUNTED still, by an atomic too.
 */

/** instance_server_stats: per-CPU array by server. */
struct instance_server_stats {
        __u64 opened;         /**< connections for which it is the primary */
        __u64 standby;        /**< ... the standby */
        __u64 packets, bytes; /**< from it */
        __u64 resets;         /**< RST from it */
        __u64 retransmitted;  /**< segments that it sent again */
        __u64 heard_ns;       /**< monotonic time of its newest packet */
};

/**
 * instance_words: array, mmapable, by server. The newest sign that its process lives, not only its kernel:
 * see instance_is_word(). A cache line each. Written by BPF, read by both.
 */
struct instance_word {
        __u32 tick; /**< 0: never */
        __u32 pad[15];
};
_Static_assert(sizeof(struct instance_word) == 64, "instance_word is part of the map ABI");

/**
 * instance_questions: LRU hash by struct instance_flow. The newest bytes of a client that its server has not
 * answered yet; of a sample of all flows, ask_mask says which. The entry goes with the answer's first byte.
 */
struct instance_question {
        __u64 at_ns;
        __u32 server; /**< who has to answer; INSTANCE_NOBODY: whoever does */
        __u32 pad;
};

/**
 * instance_responses: per-CPU array by server: times from a client's question to its first byte of answer.
 * The largest is kept for the span of 2^30 ns that runs and for the one before, in the slot of its last bit.
 */
#define INSTANCE_SPAN_SHIFT 30
struct instance_response {
        __u64 answers, sum_ns;
        __u64 span[2], most_ns[2];
};
_Static_assert(sizeof(struct instance_response) == 48, "instance_response is part of the map ABI");

/**
 * instance_classes: LRU hash by u32: what is known of one kind of request. One difference is no proof: a file
 * may just have been replaced on one server. So the first bars it for a minute, each further one for twice as
 * long.
 */
#define INSTANCE_BAR_TICKS 65536 /* 69 s */
#define INSTANCE_BAR_MOST  10    /* times it is doubled: 19 hours */
struct instance_class {
        __u32 seen, diverged;
        __u32 barred_until; /**< tick: not replayable until then, so not mirrored; 0: mirrored */
        __u16 vip;
        __u16 length;
        char text[48]; /**< method and path, cut at '?'; for people */
};

/**
 * Ways out of the programs that are no forwarding, per-CPU array of u64 by enum instance_drop.
 * X(name, text): the text is for people and metrics.
 */
#define INSTANCE_DROPS(X)                                                                                    \
        X(SHORT, "shorter than its own headers say")                                                         \
        X(FRAGMENT, "a fragment for a served address")                                                       \
        X(OPTIONS, "IP options or extension headers that are not carried")                                   \
        X(NO_SERVICE, "to a served address, on a port or protocol that is not")                              \
        X(NO_SERVER, "no server is left")                                                                    \
        X(NO_FLOW, "of a connection that is not known")                                                      \
        X(BAD_SEQUENCE, "outside the window: a forged or very old segment")                                  \
        X(STANDBY, "the standby's own, which nobody needs")                                                  \
        X(AFTER, "from a server that does not serve this connection any more")                               \
        X(NO_ROUTE, "no next hop is known")                                                                  \
        X(NO_ROOM, "no room to edit the packet")                                                             \
        X(SYN_FLOOD, "more half-open connections than are kept")                                             \
        X(COOKIE, "an answer to a SYN that we did not send")                                                 \
        X(ICMP, "an ICMP error that fits no connection")

enum instance_drop {
#define X(name, text) INSTANCE_DROP_##name,
        INSTANCE_DROPS(X)
#undef X
                INSTANCE_DROP_COUNT
};
