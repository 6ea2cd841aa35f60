#pragma once
/**
 * What becomes of one packet of a protected connection: (state, packet, circumstances) -> action, and the
 * state after it. Pure C without a helper, a map or a clock, so that the same text runs in the BPF program,
 * under the connection's spin lock, and in user space, where a test feeds it random interleavings.
 *
 * The client talks to A (the primary). B (the standby) gets a copy of all that the client says. Three ideas:
 *
 * Gate. B is never offered a byte of window beyond what the client has acknowledged of A. So B has nothing
 *     in flight when it is needed: one acknowledgement that shows it the client's whole window makes it go on
 *     at the very byte, with no loss to recover from.
 * Reflect. What B does send (bytes that the client has already) is turned into its own acknowledgement.
 *     B's sequence numbers are read as sent once seen, gaps or not: the client has those bytes, from A.
 * Vote. The client is acknowledged only what both have, and offered only what both take: its own TCP repairs
 *     whatever a copy lost. A's end of stream is held back until B agrees; when B has more to say instead, or
 *     A resets, B takes over: no health check is involved.
 *
 * Every comparison of sequence numbers is by signed difference (RFC 9293, 3.4).
 */
#include "instance_abi.h"
#include "instance_parse.h"

/** No program that waits for a zero-window probe can be faster than the prober: Linux's first one comes
 * TCP_RTO_MIN (200 ms) after the standby ran into the gate. A must have been silent for the better part. */
#define INSTANCE_QUIET_TICKS 100
/** A process that hangs does so on all of its connections: its server has not given a word on any of them for
 * so long ... */
#define INSTANCE_WORDLESS_TICKS 150
/** ... unless it is one of several, and this connection alone has been silent for so long. */
#define INSTANCE_LONELY_TICKS 950
/** The third time that a client asks for window it has waited for so long: 200 ms, 400, 800 (RFC 6298, 5.5).
 */
#define INSTANCE_THIRD_TICKS 700
/** A server that was doubted, and has spoken here since, is doubted no more. */
#define INSTANCE_DOUBT_TICKS 30
/** Bytes that follow the last packet of anybody by so much were not in the kernel's hands before. */
#define INSTANCE_LATE_TICKS 8
/** Less room than this at the client may be the reason why A is silent (RFC 9293, 3.8.6.2.1). */
#define INSTANCE_ROOM_BYTES 4096
/** A's end of stream waits so long for B's word. */
#define INSTANCE_FIN_TICKS 1900
/** Before it leaves, A waits for a standby that has more than this to catch up. */
#define INSTANCE_NEAR_BYTES 65536
#define INSTANCE_NO_SHIFT   15

enum instance_from { INSTANCE_FROM_CLIENT, INSTANCE_FROM_A, INSTANCE_FROM_B };

/** One TCP segment as it is on the wire; numbers in host order, B's sequence numbers as B wrote them. */
struct instance_segment {
        __u32 seq, ack;
        __u32 bytes;  /**< of payload */
        __u16 window; /**< not shifted */
        __u8 from;    /**< enum instance_from */
        __u8 flags;   /**< INSTANCE_TCP_* */
        __u8 has_sack;
        __u8 pad[3];
};

/** What else a decision depends on. */
struct instance_now {
        __u32 tick;
        __u32 a_flags, b_flags; /**< of struct instance_server */
        __u32 a_leave_by;
        __u32 a_word; /**< tick of the newest sign that A's process lives, on any connection; 0: never */
        __u32 lag_bytes, lag_ticks; /**< of the vip; ticks 0: never */
        __u8 order;                 /**< enum instance_order, or 0 */
        __u8 is_barred;             /**< this packet begins a request of a class that is not replayable */
        __u8 is_different;          /**< what A and B said is not the same: instance_guard_note */
        __u8 pad;
};

enum instance_to { INSTANCE_TO_NOBODY, INSTANCE_TO_CLIENT, INSTANCE_TO_A, INSTANCE_TO_B };
enum instance_sack { INSTANCE_SACK_KEEP, INSTANCE_SACK_BLANK, INSTANCE_SACK_SHIFT };

/** A packet that leaves, made of the one that came. */
struct instance_out {
        __u32 seq, ack;
        __u16 window;
        __u8 to;      /**< enum instance_to */
        __u8 flags;   /**< INSTANCE_TCP_*: these replace FIN, SYN, RST, PSH and ACK */
        __u8 is_bare; /**< without payload and options */
        __u8 sack;    /**< enum instance_sack; SHIFT: by delta */
        __u8 pad[2];
};

/**
 * `extra` leaves first, as a clone, then `main`. If extra is bare, so is main: a payload that was cut off
 * is gone.
 */
struct instance_action {
        struct instance_out main, extra;
        __u32 delta;      /**< for SACK_SHIFT: what is added */
        __u32 lag, quiet; /**< for the event */
        __u8 drop;        /**< 0, or 1 + enum instance_drop: to be counted */
        __u8 event;       /**< 0, or 1 + enum instance_event_type */
        __u8 is_released; /**< it was COUNTED among the protected and is so no more */
        __u8 is_word;     /**< the sender's process has shown that it lives: instance_is_word */
};

INSTANCE_INLINE _Bool instance_before(__u32 a, __u32 b)
{
        return (__s32)(a - b) < 0;
}

INSTANCE_INLINE __u32 instance_lower(__u32 a, __u32 b)
{
        return instance_before(a, b) ? a : b;
}

INSTANCE_INLINE __u32 instance_higher(__u32 a, __u32 b)
{
        return instance_before(a, b) ? b : a;
}

INSTANCE_INLINE __u32 instance_shift(const struct instance_conn *c, enum instance_from who)
{
        __u32 a = c->wscale >> 4 & 15, own = c->wscale >> (who * 4) & 15;
        if (who == INSTANCE_FROM_CLIENT && a == INSTANCE_NO_SHIFT)
                return 0;
        return own == INSTANCE_NO_SHIFT ? 0 : own;
}

/** How B reads the window that the client offers. A server that answers a flood of SYNs with cookies has no
 * shifts; the other one may have them, and then each is told in its own way. */
INSTANCE_INLINE __u32 instance_shift_for_b(const struct instance_conn *c)
{
        return (c->wscale >> 8 & 15) == INSTANCE_NO_SHIFT ? 0 : c->wscale & 15;
}

/** The window field for the bytes [ack, edge): rounded down, so that nobody is offered more. */
INSTANCE_INLINE __u16 instance_window(__u32 edge, __u32 ack, __u32 shift)
{
        __u32 units = instance_before(edge, ack) ? 0 : (edge - ack) >> (shift & 15);
        return (__u16)(units > 0xffff ? 0xffff : units);
}

/** Has B's word about the end of the stream been heard, and is it A's? */
INSTANCE_INLINE _Bool instance_fin_agreed(const struct instance_conn *c)
{
        return (c->flags & INSTANCE_CONN_A_FIN) && (c->flags & INSTANCE_CONN_B_FIN) &&
               c->b_high == c->a_fin + 1;
}

/** B's right edge: what the client has; or all that the client takes, when B is asked to speak up. */
INSTANCE_INLINE __u32 instance_b_edge(const struct instance_conn *c)
{
        if (c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_INVITED))
                return c->c_edge;
        if ((c->flags & INSTANCE_CONN_A_FIN) && !instance_before(c->c_ack, c->a_fin))
                return c->c_edge;
        return c->c_ack;
}

/** What B itself has been acknowledged: of what the client has, what B has sent. */
INSTANCE_INLINE __u32 instance_b_una(const struct instance_conn *c)
{
        return instance_lower(c->c_ack, c->b_high);
}

/** What a packet to B acknowledges. A shim on its host knows better than we how far B is. */
INSTANCE_INLINE __u32 instance_b_ack(const struct instance_conn *c)
{
        return c->is_gated ? c->c_ack : instance_b_una(c);
}

/** What both have, and what both take; one that is gone has no say. */
INSTANCE_INLINE __u32 instance_merged_ack(const struct instance_conn *c)
{
        if (c->flags & INSTANCE_CONN_PROMOTED)
                return c->b_ack;
        return c->flags & INSTANCE_CONN_ALONE ? c->a_ack : instance_lower(c->a_ack, c->b_ack);
}

INSTANCE_INLINE __u32 instance_merged_edge(const struct instance_conn *c)
{
        if (c->flags & INSTANCE_CONN_PROMOTED)
                return c->b_edge;
        return c->flags & INSTANCE_CONN_ALONE ? c->a_edge : instance_lower(c->a_edge, c->b_edge);
}

/* ---- what can be made ---------------------------------------------------------------------- */

/* The packet as it is. */
INSTANCE_INLINE struct instance_out instance_out_same(const struct instance_segment *s, enum instance_to to)
{
        return (struct instance_out){
                .seq = s->seq, .ack = s->ack, .window = s->window, .to = (__u8)to, .flags = s->flags};
}

/* The one acknowledgement that B lives on, whatever made it necessary. Its sequence number is the client's
 * highest: with an older one B would not look at the window (RFC 9293, 3.10.7.4: SND.WL1). */
INSTANCE_INLINE struct instance_out instance_out_for_b(const struct instance_conn *c)
{
        __u32 ack = instance_b_ack(c);
        return (struct instance_out){
                .seq = c->c_high,
                .ack = ack + c->delta,
                .window = instance_window(instance_b_edge(c), ack, instance_shift_for_b(c)),
                .to = INSTANCE_TO_B,
                .flags = INSTANCE_TCP_ACK,
                .is_bare = 1};
}

/* What the servers have of the client's bytes, and take. */
INSTANCE_INLINE struct instance_out instance_out_for_client(const struct instance_conn *c)
{
        __u32 ack = instance_merged_ack(c);
        return (struct instance_out){
                .seq = c->flags & INSTANCE_CONN_PROMOTED ? c->c_ack : c->a_high,
                .ack = ack,
                .window = instance_window(instance_merged_edge(c), ack, instance_shift(c, INSTANCE_FROM_A)),
                .to = INSTANCE_TO_CLIENT,
                .flags = INSTANCE_TCP_ACK,
                .is_bare = 1};
}

INSTANCE_INLINE void instance_act_drop(struct instance_action *act, enum instance_drop why)
{
        act->main.to = INSTANCE_TO_NOBODY;
        act->drop = (__u8)(why + 1);
}

/* A server whose word does not count any more is told so, that it need not wait: RFC 9293, 3.10.7.1. */
INSTANCE_INLINE void instance_act_refuse(struct instance_action *act, const struct instance_segment *s,
                                         enum instance_to to, enum instance_drop why)
{
        instance_act_drop(act, why);
        if (!(s->flags & INSTANCE_TCP_ACK) || (s->flags & INSTANCE_TCP_RST))
                return;
        act->main =
                (struct instance_out){.seq = s->ack, .to = (__u8)to, .flags = INSTANCE_TCP_RST, .is_bare = 1};
}

INSTANCE_INLINE void instance_event(struct instance_conn *c, const struct instance_now *now,
                                    struct instance_action *act, enum instance_event_type type)
{
        act->event = (__u8)(type + 1);
        act->lag = instance_before(c->b_high, c->a_high) ? c->a_high - c->b_high : 0;
        act->quiet = now->tick - c->a_seen;
        if (type != INSTANCE_EVENT_CLOSED)
                c->why = (__u8)type;
        if (c->flags & INSTANCE_CONN_COUNTED)
                act->is_released = 1;
        c->flags &= (__u16)~INSTANCE_CONN_COUNTED;
}

INSTANCE_INLINE void instance_promote(struct instance_conn *c, const struct instance_now *now,
                                      struct instance_action *act, enum instance_event_type why)
{
        instance_event(c, now, act, why);
        c->flags |= INSTANCE_CONN_PROMOTED;
        c->flags &= (__u16) ~(INSTANCE_CONN_INVITED | INSTANCE_CONN_LEAVING);
        c->a_seen = now->tick;
}

INSTANCE_INLINE void instance_evict(struct instance_conn *c, const struct instance_now *now,
                                    struct instance_action *act, enum instance_event_type why)
{
        instance_event(c, now, act, why);
        c->flags |= INSTANCE_CONN_ALONE;
        c->flags &= (__u16) ~(INSTANCE_CONN_INVITED | INSTANCE_CONN_LEAVING);
}

/* B has ended. Where the client has, too, and with all it wanted, that is no loss, and A sees to the rest. */
INSTANCE_INLINE void instance_b_ended(struct instance_conn *c, const struct instance_now *now,
                                      struct instance_action *act)
{
        if ((c->flags & INSTANCE_CONN_C_FIN) && !instance_before(c->c_ack, c->a_high))
                c->flags |= INSTANCE_CONN_ALONE;
        else
                instance_evict(c, now, act, INSTANCE_EVENT_EVICTED_RESET);
}

/* ---- who may speak ------------------------------------------------------------------------- */

/* The most that a window can hold. An endpoint may have shrunk its window, so the newest edge is no bound. */
INSTANCE_INLINE __u32 instance_reach(const struct instance_conn *c, enum instance_from who)
{
        return (0xffffu << instance_shift(c, who)) + 2;
}

INSTANCE_INLINE _Bool instance_within(__u32 x, __u32 from, __u32 below, __u32 above)
{
        __s32 d = (__s32)(x - from);
        return d >= -(__s32)below && d <= (__s32)above;
}

/**
 * Could this segment be of this connection? Whoever cannot see it would have to guess both numbers
 * (RFC 5961, 5.2). A reset must name a number that the receiver is known to be at (RFC 5961, 3.2).
 */
INSTANCE_INLINE _Bool instance_plausible(const struct instance_conn *c, const struct instance_segment *s)
{
        _Bool is_reset = s->flags & INSTANCE_TCP_RST;
        __u32 reach, end = s->seq + s->bytes;

        if (c->flags & INSTANCE_CONN_PEER)
                return 1;
        if (s->from == INSTANCE_FROM_CLIENT) {
                __u32 most = instance_higher(instance_reach(c, INSTANCE_FROM_A) + c->a_ack,
                                             instance_reach(c, INSTANCE_FROM_B) + c->b_ack);
                reach = instance_higher(instance_reach(c, INSTANCE_FROM_A),
                                        instance_reach(c, INSTANCE_FROM_B));
                if (instance_before(most, end) ||
                    !instance_within(s->seq, instance_merged_ack(c), reach, 0x7fffffff))
                        return 0;
                if (is_reset)
                        return s->seq == c->c_high || s->seq == c->a_ack || s->seq == c->b_ack;
                reach = instance_reach(c, INSTANCE_FROM_CLIENT);
                return !(s->flags & INSTANCE_TCP_ACK) ||
                       (instance_within(s->ack, c->c_ack, reach, 0x7fffffff) &&
                        !instance_before(instance_higher(c->a_high, c->b_high) + 1, s->ack));
        }
        __u32 high = s->from == INSTANCE_FROM_A ? c->a_high : c->b_high;
        if (s->from == INSTANCE_FROM_B) {
                end -= c->delta;
                /* A standby may be far behind; then its own place is what it is measured by. */
        }
        __u32 low = instance_lower(c->c_ack, high);
        /* A server's own reset stands behind all that it has sent; its answer to a client's packet, where that
         * packet's acknowledgement says. */
        if (is_reset)
                return end == high || end == high + 1 || end == c->c_ack ||
                       (s->from == INSTANCE_FROM_B && end == instance_b_ack(c));
        reach = instance_reach(c, INSTANCE_FROM_CLIENT);
        if (instance_before(end, low - reach) || instance_before(c->c_ack + reach, end))
                return 0;
        reach = instance_reach(c, s->from);
        return !(s->flags & INSTANCE_TCP_ACK) ||
               (instance_within(s->ack, s->from == INSTANCE_FROM_A ? c->a_ack : c->b_ack, reach,
                                0x7fffffff) &&
                !instance_before(c->c_high, s->ack));
}

/* ---- what is noted ------------------------------------------------------------------------- */

/* @return whether the client said something new */
INSTANCE_INLINE _Bool instance_note_client(struct instance_conn *c, const struct instance_segment *s)
{
        __u32 end = s->seq + s->bytes + (s->flags & INSTANCE_TCP_FIN ? 1 : 0);
        _Bool is_new = instance_before(c->c_high, end);

        if ((s->flags & INSTANCE_TCP_ACK) && !instance_before(s->ack, c->c_ack)) {
                c->c_ack = s->ack;
                c->c_edge = s->ack + ((__u32)s->window << instance_shift(c, INSTANCE_FROM_CLIENT));
        }
        if (s->flags & INSTANCE_TCP_FIN)
                c->flags |= INSTANCE_CONN_C_FIN;
        if (is_new) {
                c->c_high = end;
                c->flags &= (__u16)~INSTANCE_CONN_INVITED; /* a new question: A has time again */
        }
        return is_new && s->bytes;
}

INSTANCE_INLINE void instance_note_a(struct instance_conn *c, const struct instance_segment *s, __u32 tick)
{
        __u32 end = s->seq + s->bytes;

        /* Bytes only: what follows a FIN is numbered one higher. */
        if (s->bytes && instance_before(c->a_high, end))
                c->a_high = end;
        if ((s->flags & INSTANCE_TCP_ACK) && !instance_before(s->ack, c->a_ack)) {
                c->a_ack = s->ack;
                c->a_edge = s->ack + ((__u32)s->window << instance_shift(c, INSTANCE_FROM_A));
        }
        if (s->bytes)
                c->flags &= (__u16)~INSTANCE_CONN_INVITED;
        /* Saying goodbye again is no sign of life. */
        if (!(s->flags & INSTANCE_TCP_FIN) || !(c->flags & INSTANCE_CONN_A_FIN))
                c->a_seen = tick;
}

/* In wscale: b_high is of a packet without bytes, from a B that was not known before: perhaps one too low. */
#define INSTANCE_UNSURE 0x8000

INSTANCE_INLINE void instance_note_b(struct instance_conn *c, const struct instance_segment *s, __u32 tick)
{
        __u32 end = s->seq - c->delta + s->bytes + (s->flags & INSTANCE_TCP_FIN ? 1 : 0);

        if (instance_before(c->b_high, end)) {
                c->b_high = end;
                c->wscale &= (__u16)~INSTANCE_UNSURE;
        }
        if (s->flags & INSTANCE_TCP_FIN)
                c->flags |= INSTANCE_CONN_B_FIN;
        if ((s->flags & INSTANCE_TCP_ACK) && !instance_before(s->ack, c->b_ack)) {
                c->b_ack = s->ack;
                c->b_edge = s->ack + ((__u32)s->window << instance_shift(c, INSTANCE_FROM_B));
        }
        if (c->flags & INSTANCE_CONN_PROMOTED)
                c->a_seen = tick;
}

/**
 * Does this packet prove that a process wrote or read, and not only its kernel lives? A kernel that has bytes
 * and room sends them at once. So bytes that begin just where a client with room has been waiting are the
 * process's own if they answer what was said, or come late; and so is room where there was none.
 * Before the packet is noted.
 * @param high  up to where the sender had sent, in A's numbers
 */
INSTANCE_INLINE _Bool instance_is_word(const struct instance_conn *c, const struct instance_segment *s,
                                       __u32 tick)
{
        _Bool is_b = s->from == INSTANCE_FROM_B;
        __u32 at = is_b ? s->seq - c->delta : s->seq, high = is_b ? c->b_high : c->a_high;
        __u32 heard = is_b ? c->b_ack : c->a_ack, edge = is_b ? c->b_edge : c->a_edge;

        if (s->flags & INSTANCE_TCP_RST)
                return 0;
        if (s->bytes && at == c->c_ack && instance_before(high, at + s->bytes) &&
            !instance_before(c->c_edge, c->c_ack + INSTANCE_ROOM_BYTES))
                return instance_before(heard, s->ack) || tick - c->seen >= INSTANCE_LATE_TICKS;
        return instance_before(edge, c->c_high + 1) &&
               !instance_before(s->ack + ((__u32)s->window << instance_shift(c, s->from)),
                                c->c_high + INSTANCE_ROOM_BYTES);
}

/* Has A's process given no word for so long, to anybody? */
INSTANCE_INLINE _Bool instance_is_wordless(const struct instance_now *now)
{
        return now->tick - now->a_word >= INSTANCE_WORDLESS_TICKS;
}

/* ---- what the other balancer knew ------------------------------------------------------------- */

#define INSTANCE_HEARD_SHIFT 12 /* of wscale: a bit for each of client, A and B */
#define INSTANCE_HEARD_MASK  0x7000
/** No window is trusted to span more than this when numbers of two senders are compared. */
#define INSTANCE_REACH_MOST (1u << 29)
/** A standby may be so far behind what the client has, and its own number still be told. */
#define INSTANCE_BEHIND_MOST (1u << 30)
/** So long after its first packet came, a connection goes on being adopted: packets overtake each other. */
#define INSTANCE_ADOPT_TICKS 256

INSTANCE_INLINE __u32 instance_reach_least(__u32 reach)
{
        return reach < INSTANCE_REACH_MOST ? reach : INSTANCE_REACH_MOST;
}

/* A bound from below for a number that lies in [at - reach, ...): the one told, unless that is older still
 * (then it may also look newer, when it is more than 2^31 behind). */
INSTANCE_INLINE __u32 instance_told_below(__u32 told, __u32 at, __u32 reach)
{
        return at - told <= reach ? told : at - reach;
}

/* All three know two numbers: the client's and A's. Bounds for who was not heard, from the first that is. */
INSTANCE_INLINE void instance_adopt_bounds(struct instance_conn *c, enum instance_from from, __u32 down,
                                           __u32 up)
{
        __u32 reach_down = instance_reach_least(instance_reach(c, INSTANCE_FROM_CLIENT));
        __u32 reach_up = instance_reach_least(
                instance_higher(instance_reach(c, INSTANCE_FROM_A), instance_reach(c, INSTANCE_FROM_B)));

        if (from != INSTANCE_FROM_CLIENT) {
                c->c_high = up;
                c->c_ack = instance_told_below(c->c_ack, down, reach_down);
                c->c_edge = c->c_ack;
        }
        if (from != INSTANCE_FROM_A) {
                c->a_high = from == INSTANCE_FROM_CLIENT ? down : c->c_ack;
                c->a_ack = instance_told_below(c->a_ack, up, reach_up);
                c->a_edge = c->a_ack;
        }
        if (from != INSTANCE_FROM_B) {
                c->b_high = instance_told_below(c->b_high, down, INSTANCE_BEHIND_MOST);
                c->b_ack = instance_told_below(c->b_ack, up, reach_up);
                c->b_edge = c->b_ack;
        }
        c->flags |= INSTANCE_CONN_A_BLIND | INSTANCE_CONN_B_BLIND;
}

/* Do this sender's numbers go with what the others have said? B may be far behind in what it sends. */
INSTANCE_INLINE _Bool instance_adopt_fits(const struct instance_conn *c, enum instance_from from, __u32 heard,
                                          __u32 down, __u32 up)
{
        __u32 reach_down = 2 * instance_reach_least(instance_reach(c, INSTANCE_FROM_CLIENT));
        __u32 reach_up = 2 * instance_reach_least(instance_higher(instance_reach(c, INSTANCE_FROM_A),
                                                                  instance_reach(c, INSTANCE_FROM_B)));

        if (!instance_within(up, c->c_high, reach_up, reach_up))
                return 0;
        if (from == INSTANCE_FROM_CLIENT && (heard & (1u << INSTANCE_FROM_A)))
                return instance_within(down, c->a_high, reach_down, reach_down);
        if (from == INSTANCE_FROM_A && (heard & (1u << INSTANCE_FROM_CLIENT)))
                return instance_within(down, c->c_ack, reach_down, reach_down);
        return 1;
}

/* What the sender says of itself. */
INSTANCE_INLINE void instance_adopt_own(struct instance_conn *c, const struct instance_segment *s,
                                        _Bool is_first, __u32 end)
{
        __u32 edge = s->ack + ((__u32)s->window << instance_shift(c, s->from));

        if (s->from == INSTANCE_FROM_CLIENT) {
                c->c_ack = s->ack;
                c->c_edge = edge;
                c->c_high = is_first ? end : instance_higher(end, c->c_high);
        } else if (s->from == INSTANCE_FROM_A) {
                c->a_high = instance_higher(end, c->c_ack);
                c->a_ack = s->ack;
                c->a_edge = edge;
                c->flags |= INSTANCE_CONN_A_BLIND;
        } else {
                c->b_high = end;
                c->b_ack = s->ack;
                c->b_edge = edge;
                c->flags |= INSTANCE_CONN_B_BLIND;
                if (!s->bytes && !(s->flags & INSTANCE_TCP_FIN))
                        c->wscale |= INSTANCE_UNSURE;
        }
}

/**
 * A connection that the other balancer of the pair told of comes here. Its numbers are those of the moment it
 * was told, perhaps gigabytes ago, so each of the three is believed once; from then on the usual checks hold.
 * A server is believed more than a client: what a forged segment said is forgotten when a server contradicts
 * it. User space hears of it and makes both servers say where they are. Until they have, nobody is promoted
 * or evicted for what only old numbers say.
 *
 * @return false: it does not fit what a server has said
 */
INSTANCE_INLINE _Bool instance_adopt(struct instance_conn *c, const struct instance_segment *s,
                                     const struct instance_now *now, struct instance_action *act)
{
        __u32 all = c->flags & INSTANCE_CONN_PROMOTED ? 5 : c->flags & INSTANCE_CONN_ALONE ? 3 : 7;
        __u32 heard = (c->wscale >> INSTANCE_HEARD_SHIFT) & 7, mark = 1u << s->from;
        _Bool is_client = s->from == INSTANCE_FROM_CLIENT;
        __u32 at = s->from == INSTANCE_FROM_B ? s->seq - c->delta : s->seq;
        __u32 down = is_client ? s->ack : at + s->bytes, up = is_client ? s->seq + s->bytes : s->ack;

        /* Whoever does not acknowledge says too little; whoever has no part in it any more, too much. */
        if ((s->flags & (INSTANCE_TCP_RST | INSTANCE_TCP_SYN)) || !(s->flags & INSTANCE_TCP_ACK) ||
            !(all & mark))
                return 1;
        if (heard && !instance_adopt_fits(c, s->from, heard, down, up)) {
                if (is_client)
                        return 0;
                if (heard & (1u << INSTANCE_FROM_CLIENT))
                        heard = 0;
        }
        if (!(heard & mark)) {
                if (!heard) {
                        act->event = INSTANCE_EVENT_TAKEN + 1;
                        c->a_seen = now->tick;
                        c->lag_since = (__u16)(now->tick | 1);
                        instance_adopt_bounds(c, s->from, down, up);
                }
                instance_adopt_own(c, s, !heard, at + s->bytes);
                heard |= mark;
        }
        /* What a server acknowledges, the client has sent, even if that came through the other balancer. */
        if (!is_client)
                c->c_high = instance_higher(c->c_high, s->ack);
        c->wscale = (__u16)((c->wscale & 0x8fffu) | heard << INSTANCE_HEARD_SHIFT);
        __u16 age = (__u16)(now->tick - c->lag_since);
        if ((heard & all) == all && age <= 0xff00 && age >= INSTANCE_ADOPT_TICKS) {
                c->flags &= (__u16)~INSTANCE_CONN_PEER;
                c->wscale &= (__u16)~INSTANCE_HEARD_MASK;
                c->lag_since = 0;
        }
        return 1;
}

/* A bare packet for a client that was not heard: with an old number, which it has to answer (RFC
 * 9293, 3.10.7.4). */
INSTANCE_INLINE void instance_adopt_ask(const struct instance_conn *c, const struct instance_segment *s,
                                        struct instance_action *act)
{
        if ((c->flags & INSTANCE_CONN_PEER) && !(c->wscale & (1u << INSTANCE_HEARD_SHIFT)) &&
            act->main.to == INSTANCE_TO_CLIENT && !s->bytes &&
            !(act->main.flags & (INSTANCE_TCP_FIN | INSTANCE_TCP_SYN | INSTANCE_TCP_RST)))
                act->main.seq--;
}

/* ---- who serves ---------------------------------------------------------------------------- */

/* Since when B lacks client bytes that A has acknowledged. @return whether it has lacked them too long */
INSTANCE_INLINE _Bool instance_lags(struct instance_conn *c, const struct instance_now *now)
{
        __u32 lacks = instance_before(c->b_ack, c->a_ack) ? c->a_ack - c->b_ack : 0;
        __u32 most = now->lag_ticks;
        __u16 age;

        if (!most || !lacks) {
                c->lag_since = 0;
                return 0;
        }
        if (!c->lag_since) {
                c->lag_since = (__u16)(now->tick | 1);
                return 0;
        }
        age = (__u16)(now->tick - c->lag_since);
        if (age > 0xff00) /* the odd bit: it began this very tick */
                return 0;
        /* A few bytes may be on their way for longer; but whoever does not answer at all is gone. Where A has
         * ended the stream, the standby may be all there is. */
        if (lacks <= now->lag_bytes)
                most *= 4;
        if (c->flags & INSTANCE_CONN_A_FIN)
                most *= 4;
        return age > most;
}

/* A and the client go on, and the standby, asked where it is, says nothing for as long as it might lag. */
INSTANCE_INLINE _Bool instance_adopt_lacks_b(const struct instance_conn *c, const struct instance_now *now)
{
        __u32 heard = (c->wscale >> INSTANCE_HEARD_SHIFT) & 7, most = now->lag_ticks * 4;

        if (!now->lag_ticks || heard != (1u << INSTANCE_FROM_CLIENT | 1u << INSTANCE_FROM_A))
                return 0;
        __u16 age = (__u16)(now->tick - c->lag_since);
        return age <= 0xff00 && age > most;
}

/**
 * Who serves this connection from here on, by all that is not in the packet itself.
 */
INSTANCE_INLINE void instance_judge(struct instance_conn *c, const struct instance_now *now,
                                    struct instance_action *act)
{
        _Bool is_through = !instance_before(c->c_ack, c->a_high);

        /* 0. What differs must not serve, least of all now. */
        if (now->is_different)
                return instance_evict(c, now, act, INSTANCE_EVENT_EVICTED_CONTENT);
        /* 1. A copy on a server that is not fit to hold one protects nobody. */
        if ((now->b_flags & INSTANCE_SERVER_DEAD) || now->order == INSTANCE_ORDER_EVICT ||
            ((now->b_flags & INSTANCE_SERVER_UNFIT) && !(now->a_flags & INSTANCE_SERVER_DEAD)))
                return instance_evict(c, now, act, INSTANCE_EVENT_EVICTED_UNFIT);
        /* 2. A dead server serves nobody. */
        if (now->a_flags & INSTANCE_SERVER_DEAD)
                return instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_DEAD);
        if (now->order == INSTANCE_ORDER_PROMOTE)
                return instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_PLAN);
        /* What follows goes by numbers: a connection that was taken over has its own first. */
        if (c->flags & INSTANCE_CONN_PEER) {
                if (instance_adopt_lacks_b(c, now))
                        instance_evict(c, now, act, INSTANCE_EVENT_EVICTED_LAG);
                return;
        }
        /* 3. Planned: when the client has all of A's bytes and B all of the client's; or time is up. */
        if ((now->a_flags & INSTANCE_SERVER_LEAVING) || now->order == INSTANCE_ORDER_LEAVE)
                c->flags |= INSTANCE_CONN_LEAVING;
        if (c->flags & INSTANCE_CONN_LEAVING) {
                if (now->a_leave_by && !instance_before(now->tick, now->a_leave_by))
                        return instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_PLAN);
                if (is_through && !instance_before(c->b_ack, c->a_ack) &&
                    !instance_before(c->b_high + INSTANCE_NEAR_BYTES, c->c_ack))
                        return instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_PLAN);
        }
        /* 4. A standby that holds the client up is none. */
        if (instance_lags(c, now))
                instance_evict(c, now, act, INSTANCE_EVENT_EVICTED_LAG);
}

/* Are both directions finished? RFC 9293, 3.6. */
INSTANCE_INLINE void instance_finish(struct instance_conn *c, const struct instance_now *now,
                                     struct instance_action *act)
{
        _Bool is_b = c->flags & INSTANCE_CONN_PROMOTED;
        __u32 end = is_b ? c->b_high : c->a_fin + 1;
        _Bool has_fin = c->flags & (is_b ? INSTANCE_CONN_B_FIN : INSTANCE_CONN_A_FIN);

        if ((c->flags & INSTANCE_CONN_CLOSED) || act->event || !has_fin ||
            !(c->flags & INSTANCE_CONN_C_FIN) || instance_before(c->c_ack, end) ||
            instance_before(instance_merged_ack(c), c->c_high))
                return;
        c->flags |= INSTANCE_CONN_CLOSED;
        instance_event(c, now, act, INSTANCE_EVENT_CLOSED);
}

/* ---- the client's packets ------------------------------------------------------------------ */

INSTANCE_INLINE void instance_client_reset(struct instance_conn *c, const struct instance_segment *s,
                                           const struct instance_now *now, struct instance_action *act)
{
        /* Each server must find its own number in it. */
        act->main = instance_out_same(s, INSTANCE_TO_A);
        act->extra = instance_out_same(s, INSTANCE_TO_B);
        act->extra.ack = instance_b_ack(c) + c->delta;
        act->extra.sack = INSTANCE_SACK_BLANK;
        if (s->seq != c->c_high) {
                act->main.seq = c->a_ack;
                act->extra.seq = c->b_ack;
        }
        if (c->flags & INSTANCE_CONN_PROMOTED) {
                act->main = act->extra;
                act->extra.to = INSTANCE_TO_NOBODY;
        } else if (c->flags & INSTANCE_CONN_ALONE) {
                act->extra.to = INSTANCE_TO_NOBODY;
        }
        if (!(c->flags & INSTANCE_CONN_CLOSED) && !act->event)
                instance_event(c, now, act, INSTANCE_EVENT_CLOSED);
        c->flags |= INSTANCE_CONN_CLOSED;
}

/* Of a client whose numbers are old: the servers know whether it is a reset or a forgery (RFC 5961, 3.2). */
INSTANCE_INLINE void instance_peer_reset(const struct instance_conn *c, const struct instance_segment *s,
                                         struct instance_action *act)
{
        act->main = instance_out_same(s, c->flags & INSTANCE_CONN_PROMOTED ? INSTANCE_TO_B : INSTANCE_TO_A);
        if (c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE))
                return;
        act->extra = instance_out_same(s, INSTANCE_TO_B);
        act->extra.ack = s->ack + c->delta;
        act->extra.sack = INSTANCE_SACK_BLANK;
}

/* A copy for B: the client's packet, acknowledging what B has sent of what the client has. */
INSTANCE_INLINE struct instance_out instance_client_copy(const struct instance_conn *c,
                                                         const struct instance_segment *s)
{
        struct instance_out out = instance_out_for_b(c);

        out.seq = s->seq;
        out.flags = s->flags;
        out.is_bare = 0;
        /* The client's blocks are about A's bytes: B, as a standby, has none in flight. */
        out.sack = c->flags & INSTANCE_CONN_PROMOTED ? INSTANCE_SACK_SHIFT : INSTANCE_SACK_BLANK;
        return out;
}

/* It has all, and no room for more; it has all, and room. */
INSTANCE_INLINE _Bool instance_is_shut(const struct instance_conn *c, __u32 ack, __u32 edge,
                                       enum instance_from who)
{
        return ack == c->c_high && instance_before(edge, c->c_high + (1u << instance_shift(c, who)));
}

INSTANCE_INLINE _Bool instance_is_wide(const struct instance_conn *c, __u32 ack, __u32 edge)
{
        return ack == c->c_high && !instance_before(edge, c->c_high + INSTANCE_ROOM_BYTES);
}

INSTANCE_INLINE void instance_from_client(struct instance_conn *c, const struct instance_segment *s,
                                          const struct instance_now *now, struct instance_action *act,
                                          _Bool is_new, __u32 idle)
{
        _Bool is_standby = !(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE));

        /* 1. A question that must not be asked twice goes to A alone, before B has heard of it. */
        if (is_standby && now->is_barred) {
                instance_evict(c, now, act, INSTANCE_EVENT_EVICTED_CLASS);
                is_standby = 0;
        }
        /* 2. A has ended the stream, B was asked and has not; and the client goes on: so does B. */
        if (is_standby && is_new && (c->flags & INSTANCE_CONN_A_FIN) && !instance_fin_agreed(c) &&
            !instance_before(c->c_ack, c->a_fin)) {
                instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_FIN);
                is_standby = 0;
        }
        /* 3. The client asks whether its window is still closed: one of the two takes nothing any more. */
        if (is_standby && !s->bytes && s->seq == c->c_high - 1 &&
            !(c->flags & (INSTANCE_CONN_C_FIN | INSTANCE_CONN_PEER))) {
                _Bool is_a = instance_is_shut(c, c->a_ack, c->a_edge, INSTANCE_FROM_A);
                _Bool is_b = instance_is_shut(c, c->b_ack, c->b_edge, INSTANCE_FROM_B);
                if (is_a && instance_is_wide(c, c->b_ack, c->b_edge) &&
                    (instance_is_wordless(now) || idle >= INSTANCE_THIRD_TICKS)) {
                        instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_HANG);
                        is_standby = 0;
                } else if (is_b && instance_is_wide(c, c->a_ack, c->a_edge)) {
                        instance_evict(c, now, act, INSTANCE_EVENT_EVICTED_LAG);
                        is_standby = 0;
                }
        }
        if (c->flags & INSTANCE_CONN_PROMOTED) {
                act->main = instance_client_copy(c, s);
                return;
        }
        act->main = instance_out_same(s, INSTANCE_TO_A);
        if (!is_standby)
                return;
        /* 4. Leaving: nothing new from A, so that what is in flight is all there is. Rounded up: never less
         * than A has used already. */
        if (c->flags & INSTANCE_CONN_LEAVING) {
                __u32 shift = instance_shift(c, INSTANCE_FROM_CLIENT);
                __u16 gate = instance_window(c->a_high + (1u << shift) - 1, s->ack, shift);
                if (gate < act->main.window)
                        act->main.window = gate;
        }
        act->extra = instance_client_copy(c, s);
}

/* ---- A's packets --------------------------------------------------------------------------- */

INSTANCE_INLINE void instance_a_fin(struct instance_conn *c, const struct instance_segment *s,
                                    const struct instance_now *now, struct instance_action *act)
{
        _Bool was_told = c->flags & INSTANCE_CONN_A_FIN;

        c->flags |= INSTANCE_CONN_A_FIN;
        c->a_fin = s->seq + s->bytes;
        /* 1. Both say so: it is the end. */
        if (instance_fin_agreed(c))
                return;
        /* 2. B has ended elsewhere: before A, it is the one that differs; after A, it knows more. */
        if (c->flags & INSTANCE_CONN_B_FIN) {
                if (instance_before(c->b_high, c->a_fin + 1))
                        instance_b_ended(c, now, act);
                else
                        instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_FIN);
                return;
        }
        /* 3. B does not answer the question: it lags, if it has not even all of A's bytes; else it goes on.
         */
        if (was_told && now->tick - c->a_seen > INSTANCE_FIN_TICKS) {
                if (instance_before(c->b_high, c->a_fin))
                        instance_evict(c, now, act, INSTANCE_EVENT_EVICTED_LAG);
                else
                        instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_FIN);
                return;
        }
        /* 4. Hold it back. The client has all else: its packet becomes the question to B. */
        act->main.flags &= (__u8)~INSTANCE_TCP_FIN;
        if (!s->bytes && !instance_before(c->c_ack, c->a_fin))
                act->main = instance_out_for_b(c);
}

INSTANCE_INLINE void instance_from_a(struct instance_conn *c, const struct instance_segment *s,
                                     const struct instance_now *now, struct instance_action *act,
                                     __u32 ack_before, __u32 edge_before, _Bool is_repeat)
{
        __u32 ack = instance_merged_ack(c), edge = instance_merged_edge(c);

        if (s->flags & INSTANCE_TCP_RST) {
                /* B's word is awaited no longer: whatever it says is what the client gets. */
                if (!(c->flags & INSTANCE_CONN_CLOSED) && !instance_fin_agreed(c)) {
                        c->flags |= INSTANCE_CONN_A_RST;
                        instance_promote(c, now, act, INSTANCE_EVENT_PROMOTED_RST);
                        return;
                }
                act->main = instance_out_same(s, INSTANCE_TO_CLIENT);
                c->flags |= INSTANCE_CONN_CLOSED;
                return;
        }
        act->main = instance_out_same(s, INSTANCE_TO_CLIENT);
        act->main.ack = ack;
        act->main.window = instance_window(edge, ack, instance_shift(c, INSTANCE_FROM_A));
        /* What A has beyond a hole may be what B lacks: only who is at the common number may tell. */
        act->main.sack = c->a_ack == ack ? INSTANCE_SACK_KEEP : INSTANCE_SACK_BLANK;
        if (s->flags & INSTANCE_TCP_FIN) {
                instance_a_fin(c, s, now, act);
                return;
        }
        /* B had ended the stream, A has more. */
        if (s->bytes && (c->flags & INSTANCE_CONN_B_FIN) && !instance_before(c->a_high, c->b_high)) {
                instance_b_ended(c, now, act);
                return;
        }
        /* A bare acknowledgement that brings the client nothing would look like a duplicate. */
        if (!s->bytes && !(s->flags & INSTANCE_TCP_SYN) && ack == ack_before && edge == edge_before &&
            !(is_repeat && c->a_ack == ack) && !(c->flags & INSTANCE_CONN_PEER))
                instance_act_drop(act, INSTANCE_DROP_STANDBY);
}

/* ---- B's packets --------------------------------------------------------------------------- */

/* Nothing but a question whether the window is open: Linux sends an old number and no byte, others one byte
 * behind the edge. */
INSTANCE_INLINE _Bool instance_is_probe(const struct instance_conn *c, const struct instance_segment *s)
{
        __u32 at = s->seq - c->delta;
        return (!s->bytes && instance_before(at, instance_b_una(c))) || (s->bytes == 1 && at == c->c_ack);
}

/* Is A silent where it owes bytes, for longer than one that lives would be? To be asked when B shows that it
 * has them. An A that lacks what B has may only wait for the client to say it again. */
INSTANCE_INLINE _Bool instance_is_hung(const struct instance_conn *c, const struct instance_now *now)
{
        __u32 quiet = now->tick - c->a_seen;

        if (instance_before(c->c_ack, c->a_high) ||
            instance_before(c->c_edge, c->c_ack + INSTANCE_ROOM_BYTES))
                return 0;
        /* What was in flight when a balancer was lost is sent again after a timeout of A's. */
        if (instance_before(c->a_ack, c->b_ack) || (c->flags & INSTANCE_CONN_PEER))
                return quiet >= INSTANCE_QUIET_TICKS * 10;
        return quiet >= INSTANCE_LONELY_TICKS || (quiet >= INSTANCE_QUIET_TICKS && instance_is_wordless(now));
}

/* Bytes that the client lacks, and has reason to want from B. @return 0, or 1 + the event */
INSTANCE_INLINE __u8 instance_b_has_more(const struct instance_conn *c, const struct instance_segment *s,
                                         const struct instance_now *now)
{
        __u32 end = s->seq - c->delta + s->bytes;

        if (!s->bytes || !instance_before(c->c_ack, end))
                return 0;
        if ((c->flags & INSTANCE_CONN_A_FIN) && instance_before(c->a_fin, end))
                return INSTANCE_EVENT_PROMOTED_FIN + 1;
        if (instance_before(c->c_ack, c->a_high))
                return 0;
        /* It was asked: by its own probe, or by user space because A says nothing on any connection. Or its
         * answer to an earlier question went unheard, and it says it again. */
        if ((c->flags & INSTANCE_CONN_INVITED) || instance_is_hung(c, now) ||
            ((now->a_flags & INSTANCE_SERVER_DOUBTED) && now->tick - c->a_seen >= INSTANCE_LATE_TICKS &&
             now->tick - now->a_word >= INSTANCE_DOUBT_TICKS))
                return INSTANCE_EVENT_PROMOTED_HANG + 1;
        return 0;
}

/*
 * B, whom we know since a balancer was lost, says nothing new, and at its highest number so far, while the
 * client has more. That number may be its probe's, one below what it has sent: it would believe no window
 * with that.
 */
INSTANCE_INLINE _Bool instance_is_unsure(const struct instance_conn *c, const struct instance_segment *s)
{
        __u32 at = s->seq - c->delta;

        return s->from == INSTANCE_FROM_B && (c->wscale & INSTANCE_UNSURE) && !s->bytes &&
               !(s->flags & (INSTANCE_TCP_FIN | INSTANCE_TCP_SYN | INSTANCE_TCP_RST)) && at == c->b_high &&
               instance_before(at, c->c_ack) && s->ack == c->b_ack &&
               s->ack + ((__u32)s->window << instance_shift(c, INSTANCE_FROM_B)) == c->b_edge;
}

/* The same as instance_out_for_b, one further. If that is too far, B answers with its number (RFC
 * 9293, 3.10.7.4). */
INSTANCE_INLINE struct instance_out instance_out_past(const struct instance_conn *c, __u32 at)
{
        struct instance_out out = instance_out_for_b(c);

        out.ack = at + 1 + c->delta;
        out.window = instance_window(instance_b_edge(c), at + 1, instance_shift_for_b(c));
        return out;
}

INSTANCE_INLINE void instance_b_serves(struct instance_conn *c, const struct instance_segment *s,
                                       const struct instance_now *now, struct instance_action *act,
                                       _Bool is_first, _Bool is_unsure)
{
        __u32 at = s->seq - c->delta;
        __u32 end = at + s->bytes + (s->flags & INSTANCE_TCP_FIN ? 1 : 0);

        /* The client has these bytes already, from A: acknowledged here. The same shows B the whole window
         * when it has just become the one that serves. */
        if (!(s->flags & INSTANCE_TCP_RST) &&
            ((end != at && !instance_before(c->c_ack, end) && instance_before(at, c->a_high)) ||
             (is_first && !instance_before(c->c_ack, end)))) {
                act->main = instance_out_for_b(c);
                if (is_first)
                        act->extra = instance_out_for_client(c);
                return;
        }
        if (!is_first && is_unsure)
                act->extra = instance_out_past(c, at);
        act->main = instance_out_same(s, INSTANCE_TO_CLIENT);
        act->main.seq = at;
        act->main.window = instance_window(s->ack + ((__u32)s->window << instance_shift(c, INSTANCE_FROM_B)),
                                           s->ack, instance_shift(c, INSTANCE_FROM_A));
        if (s->flags & INSTANCE_TCP_RST) {
                if (!(c->flags & INSTANCE_CONN_CLOSED) && !act->event)
                        instance_event(c, now, act, INSTANCE_EVENT_CLOSED);
                c->flags |= INSTANCE_CONN_CLOSED;
        }
}

INSTANCE_INLINE void instance_from_b(struct instance_conn *c, const struct instance_segment *s,
                                     const struct instance_now *now, struct instance_action *act,
                                     __u32 ack_before, __u32 edge_before, _Bool is_unsure)
{
        __u32 ack = instance_merged_ack(c), edge = instance_merged_edge(c);
        __u8 more = instance_b_has_more(c, s, now);

        if (s->flags & INSTANCE_TCP_RST) {
                if (!(c->flags & INSTANCE_CONN_CLOSED))
                        instance_b_ended(c, now, act);
                return instance_act_drop(act, INSTANCE_DROP_STANDBY);
        }
        /* 1. The vote: it has what the client waits for. */
        if (more) {
                instance_promote(c, now, act, (enum instance_event_type)(more - 1));
                return instance_b_serves(c, s, now, act, 0, 0);
        }
        if (s->flags & INSTANCE_TCP_FIN) {
                /* 2. It ends before A did: it has crashed, or knows less. */
                if (instance_before(c->b_high, c->a_high + 1)) {
                        instance_b_ended(c, now, act);
                        return instance_act_refuse(act, s, INSTANCE_TO_B, INSTANCE_DROP_STANDBY);
                }
                /* 3. It ends where A did: the end that was held back. */
                if (instance_fin_agreed(c) && instance_before(c->c_ack, c->b_high)) {
                        struct instance_out fin = instance_out_for_client(c);
                        fin.seq = c->a_fin;
                        fin.flags |= INSTANCE_TCP_FIN;
                        if (s->bytes) {
                                act->extra = fin;
                                act->main = instance_out_for_b(c);
                        } else {
                                act->main = fin;
                        }
                        return;
                }
        }
        /* 4. It asks for window; the client has all that A ever said, and A is silent: let B prove it. */
        _Bool is_probe = is_unsure || instance_is_probe(c, s);
        if (is_probe && instance_is_hung(c, now))
                c->flags |= INSTANCE_CONN_INVITED;
        /* 5. Upstream: what both have has grown, or what both take. */
        if (instance_before(ack_before, ack) || instance_before(edge_before, edge))
                act->extra = instance_out_for_client(c);
        /* 6. Its bytes are acknowledged to it; a bare acknowledgement is not answered. */
        if (s->bytes || is_probe || (s->flags & (INSTANCE_TCP_FIN | INSTANCE_TCP_SYN))) {
                act->main = is_unsure ? instance_out_past(c, s->seq - c->delta) : instance_out_for_b(c);
                return;
        }
        if (act->extra.to) {
                act->main = act->extra;
                act->extra.to = INSTANCE_TO_NOBODY;
                return;
        }
        /* 7. It says again that it lacks something which A has: the client may help. */
        if (s->has_sack && s->ack == c->b_ack && instance_before(c->b_ack, c->a_ack)) {
                act->main = instance_out_for_client(c);
                act->main.is_bare = 0;
                return;
        }
        instance_act_drop(act, INSTANCE_DROP_STANDBY);
}

/* ---- the guard: do both say the same? ------------------------------------------------------ */

/*
 * The stream is summed in blocks that are aligned by A's sequence numbers, each word of eight bytes (in that
 * alignment, too) with a weight by its place: sum = sum * R + word, modulo 2^64. R is odd, so one changed
 * byte always shows, and so does a change of order. A word that is cut in two by packets is its parts' sum.
 *
 * Only new bytes in order are added: a sum stands where its sender's highest byte does. After a gap the
 * sender is "blind" until its next block begins.
 */
#define INSTANCE_SUM_R       0x9e3779b97f4a7c15ull /* 2^64 over the golden ratio: Knuth, TAOCP 3, 6.4 */
#define INSTANCE_SUM_R2      0xdf442d22ce4859b9ull /* its powers */
#define INSTANCE_SUM_R3      0x604a5ce3addef82dull
#define INSTANCE_SUM_R4      0xd94363fc538227b1ull
#define INSTANCE_SUM_INVERSE 0xf1de83e19937733dull /* R * INVERSE = 1 */
#define INSTANCE_BLOCK       (1u << INSTANCE_BLOCK_SHIFT)

/** Which bytes of a packet are to be added: `first` from `from` on, and `second` behind, of the next block.
 */
struct instance_span {
        __u32 was;   /**< where the sum stood */
        __u32 end;   /**< where it stands afterwards */
        __u32 from;  /**< the first byte to add */
        __u32 first; /**< bytes of the block that `from` is in */
        __u32 second;
        __u64 sum;    /**< to begin with; then, of all that was added */
        __u64 closed; /**< has_block: the sum of the block that `first` completes */
        __u64 theirs; /**< has_theirs: A's sum of that block */
        __u8 is_any, is_blind, has_block, has_theirs;
};

/** Where a sender's sum stands: the next byte to add. Of B's highest, the end of its stream is no byte. */
INSTANCE_INLINE __u32 instance_summed(const struct instance_conn *c, _Bool is_b)
{
        if (!is_b)
                return c->a_high;
        return c->b_high - (c->flags & INSTANCE_CONN_B_FIN ? 1 : 0);
}

/** Is there nothing that this sender's next bytes could be added to? */
INSTANCE_INLINE _Bool instance_is_blind(const struct instance_conn *c, _Bool is_b)
{
        return c->flags & (INSTANCE_CONN_PEER | (is_b ? INSTANCE_CONN_B_BLIND : INSTANCE_CONN_A_BLIND));
}

/**
 * @param summed,sum,is_blind  of the sender, as they stand: instance_summed, and its sum
 * @param seq                  in A's numbers
 */
INSTANCE_INLINE void instance_span_of(struct instance_span *p, __u32 summed, __u64 sum, _Bool is_blind,
                                      __u32 seq, __u32 bytes)
{
        __u32 end = seq + bytes, begins = (seq + INSTANCE_BLOCK - 1) & ~(INSTANCE_BLOCK - 1);

        __builtin_memset(p, 0, sizeof(*p));
        p->was = summed;
        if (!bytes || !instance_before(summed, end))
                return;
        p->is_any = 1;
        p->end = end;
        p->from = summed;
        p->sum = sum;
        if (is_blind || instance_before(summed, seq)) {
                p->from = begins;
                p->sum = 0;
        }
        if (bytes > INSTANCE_BLOCK || instance_before(end, p->from)) {
                p->is_blind = 1;
                p->from = end;
                return;
        }
        p->first = INSTANCE_BLOCK - (p->from & (INSTANCE_BLOCK - 1));
        if (p->first > end - p->from)
                p->first = end - p->from;
        p->second = end - p->from - p->first;
        /* A block that was begun in its middle is one only if its sender saw its beginning: it did. */
        p->has_block = p->first && !((p->from + p->first) & (INSTANCE_BLOCK - 1));
}

/** The sum of bytes that begin at `at`. The BPF program does the same, four words at a time. */
INSTANCE_INLINE __u64 instance_sum_bytes(__u64 sum, __u32 at, const __u8 *bytes, __u32 n)
{
        for (__u32 i = 0; i < n; i++, at++) {
                if (!(at & 7))
                        sum *= INSTANCE_SUM_R;
                sum += (__u64)bytes[i] << (at & 7) * 8;
        }
        return sum;
}

/**
 * Note what a packet added; under the lock, and before instance_decide() moves the sender's highest byte on.
 * If another CPU was faster, or nobody looked at new bytes, the sender is blind for this block.
 * @return whether A and B have been seen to differ
 */
INSTANCE_INLINE _Bool instance_guard_note(struct instance_conn *c, const struct instance_segment *s,
                                          const struct instance_span *p)
{
        _Bool is_b = s->from == INSTANCE_FROM_B;
        __u16 blind = is_b ? INSTANCE_CONN_B_BLIND : INSTANCE_CONN_A_BLIND;
        __u32 summed = instance_summed(c, is_b), end = s->seq - (is_b ? c->delta : 0) + s->bytes;

        /* A packet without bytes moves B's highest byte on, too, when it is behind a gap. */
        if (s->from == INSTANCE_FROM_CLIENT || (!is_b && !s->bytes) || !instance_before(summed, end))
                return 0;
        if (!p->is_any || p->is_blind || summed != p->was) {
                c->flags |= blind;
                return 0;
        }
        c->flags &= (__u16)~blind;
        if (is_b)
                c->b_sum = p->sum;
        else
                c->a_sum = p->sum;
        if (p->has_theirs && p->theirs != p->closed)
                return 1;
        /* Both at the same byte, in the middle of a block: the end of an answer, as a rule. */
        return p->end == instance_summed(c, !is_b) &&
               !(c->flags & (INSTANCE_CONN_A_BLIND | INSTANCE_CONN_B_BLIND)) && c->a_sum != c->b_sum;
}

/* ---- all together -------------------------------------------------------------------------- */

/**
 * Decide on one packet.
 * @param c    the connection; changed
 * @param s    the packet; a SYN of the client is not decided on here
 * @param act  zero; filled in
 */
INSTANCE_INLINE void instance_decide(struct instance_conn *c, const struct instance_segment *s,
                                     const struct instance_now *now, struct instance_action *act)
{
        __u32 ack_before = instance_merged_ack(c), edge_before = instance_merged_edge(c);
        _Bool is_new = 0, is_repeat;
        _Bool was_promoted = c->flags & INSTANCE_CONN_PROMOTED, is_unsure;
        __u32 idle;

        act->delta = c->delta;
        if (c->flags & INSTANCE_CONN_PEER) {
                if (!instance_adopt(c, s, now, act))
                        return instance_act_drop(act, INSTANCE_DROP_BAD_SEQUENCE);
                if (s->from == INSTANCE_FROM_CLIENT && (s->flags & INSTANCE_TCP_RST))
                        return instance_peer_reset(c, s, act);
                ack_before = instance_merged_ack(c);
                edge_before = instance_merged_edge(c);
        }
        /* 1. Nobody but the three has a say. With one server left the servers' own checks are enough. */
        if (!instance_plausible(c, s)) {
                if (!(c->flags & INSTANCE_CONN_ALONE) || s->from == INSTANCE_FROM_B)
                        return instance_act_drop(act, INSTANCE_DROP_BAD_SEQUENCE);
                act->main =
                        instance_out_same(s, s->from == INSTANCE_FROM_A ? INSTANCE_TO_CLIENT : INSTANCE_TO_A);
                return;
        }
        /* 2. Note what it says; not what those say who have no part in it any more. */
        idle = now->tick - c->seen;
        if (s->from == (was_promoted ? INSTANCE_FROM_B : INSTANCE_FROM_A))
                act->is_word = instance_is_word(c, s, now->tick);
        /* A standby is no sign of anything: it may have been asked. */
        if (s->from != INSTANCE_FROM_B || was_promoted)
                c->seen = now->tick;
        is_repeat = s->ack == c->a_ack &&
                    s->ack + ((__u32)s->window << instance_shift(c, INSTANCE_FROM_A)) == c->a_edge;
        is_unsure = instance_is_unsure(c, s);
        if (!(s->flags & INSTANCE_TCP_RST)) {
                if (s->from == INSTANCE_FROM_CLIENT)
                        is_new = instance_note_client(c, s);
                else if (s->from == INSTANCE_FROM_A && !was_promoted)
                        instance_note_a(c, s, now->tick);
                else if (s->from == INSTANCE_FROM_B && !(c->flags & INSTANCE_CONN_ALONE))
                        instance_note_b(c, s, now->tick);
        }
        /* 3. Who serves? */
        if (!(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE | INSTANCE_CONN_CLOSED)))
                instance_judge(c, now, act);
        /* 4. So what becomes of the packet? */
        if (s->from == INSTANCE_FROM_CLIENT) {
                if (s->flags & INSTANCE_TCP_RST)
                        instance_client_reset(c, s, now, act);
                else
                        instance_from_client(c, s, now, act, is_new, idle);
        } else if (s->from == INSTANCE_FROM_A) {
                if (was_promoted)
                        return instance_act_refuse(act, s, INSTANCE_TO_A, INSTANCE_DROP_AFTER);
                if (!(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE)))
                        instance_from_a(c, s, now, act, ack_before, edge_before, is_repeat);
                if (c->flags & INSTANCE_CONN_ALONE) {
                        if (s->flags & INSTANCE_TCP_FIN) {
                                c->flags |= INSTANCE_CONN_A_FIN;
                                c->a_fin = s->seq + s->bytes;
                        }
                        act->main = instance_out_same(s, INSTANCE_TO_CLIENT);
                        if ((s->flags & INSTANCE_TCP_RST) && !act->event) {
                                if (!(c->flags & INSTANCE_CONN_CLOSED))
                                        instance_event(c, now, act, INSTANCE_EVENT_CLOSED);
                                c->flags |= INSTANCE_CONN_CLOSED;
                        }
                } else if (c->flags & INSTANCE_CONN_PROMOTED) {
                        /* Its last packet is what wakes the other, and tells the client where that one is.
                         */
                        act->main = instance_out_for_b(c);
                        act->extra = instance_out_for_client(c);
                        act->drop = INSTANCE_DROP_AFTER + 1;
                }
        } else {
                if (c->flags & INSTANCE_CONN_ALONE)
                        return instance_act_refuse(act, s, INSTANCE_TO_B, INSTANCE_DROP_STANDBY);
                if (c->flags & INSTANCE_CONN_PROMOTED)
                        instance_b_serves(c, s, now, act, !was_promoted, is_unsure);
                else
                        instance_from_b(c, s, now, act, ack_before, edge_before, is_unsure);
        }
        instance_adopt_ask(c, s, act);
        instance_finish(c, now, act);
}

/* ---- before there is a connection ---------------------------------------------------------- */

enum instance_syn_verdict {
        INSTANCE_SYN_HOLD,    /**< the other one has not answered yet: nothing goes back */
        INSTANCE_SYN_RELEASE, /**< the client gets its answer, with the numbers of the one that serves */
        INSTANCE_SYN_REFUSE   /**< nobody wants it: the client gets this reset */
};
/** The other one has so long after the newest, and after the first SYN; then one answers alone. */
#define INSTANCE_SYN_NEWEST_TICKS 60
#define INSTANCE_SYN_FIRST_TICKS  480

/**
 * What a server's answer means, the answer itself being noted in *y. `flags` are those of before it was.
 * Pure; the caller sets what it returns in *set with an atomic OR.
 *
 * @param is_b     the answer is B's
 * @param is_reset it refused
 * @param other    flags of the other server
 */
INSTANCE_INLINE enum instance_syn_verdict instance_syn_answer(const struct instance_syn *y, __u32 flags,
                                                              _Bool is_b, _Bool is_reset, __u32 tick,
                                                              __u32 other, __u32 *set)
{
        __u32 mine = is_b ? INSTANCE_SYN_B : INSTANCE_SYN_A;
        __u32 theirs = is_b ? INSTANCE_SYN_A : INSTANCE_SYN_B;
        __u32 their_rst = is_b ? INSTANCE_SYN_A_RST : INSTANCE_SYN_B_RST;
        _Bool is_repeat = flags & mine;

        *set = 0;
        if (flags & INSTANCE_SYN_RELEASED)
                return is_reset ? INSTANCE_SYN_HOLD : INSTANCE_SYN_RELEASE;
        if (is_reset) {
                *set = is_b ? INSTANCE_SYN_B_RST : INSTANCE_SYN_A_RST;
                /* The other one has answered, or still may. Both refuse: so do we. */
                if (flags & their_rst)
                        return INSTANCE_SYN_REFUSE;
                return INSTANCE_SYN_HOLD;
        }
        *set = mine;
        if (flags & theirs) {
                *set |= INSTANCE_SYN_RELEASED;
                return INSTANCE_SYN_RELEASE;
        }
        if ((flags & their_rst) || (other & (INSTANCE_SERVER_DEAD | (is_b ? 0 : INSTANCE_SERVER_UNFIT))) ||
            (is_repeat && tick - y->first >= INSTANCE_SYN_FIRST_TICKS &&
             tick - y->newest >= INSTANCE_SYN_NEWEST_TICKS)) {
                *set |= INSTANCE_SYN_RELEASED | INSTANCE_SYN_ALONE | (is_b ? INSTANCE_SYN_OTHER : 0);
                return INSTANCE_SYN_RELEASE;
        }
        return INSTANCE_SYN_HOLD;
}

/** Is this the packet with which a client proves that it has got the answer? RFC 9293, 3.5. */
INSTANCE_INLINE _Bool instance_syn_third(const struct instance_syn *y, const struct instance_segment *s)
{
        __u32 isn = y->flags & INSTANCE_SYN_OTHER ? y->b_isn : y->a_isn;
        return (y->flags & INSTANCE_SYN_RELEASED) && (s->flags & INSTANCE_TCP_ACK) &&
               !(s->flags & (INSTANCE_TCP_SYN | INSTANCE_TCP_RST)) && s->ack == isn + 1 &&
               instance_within(s->seq, y->c_isn + 1, 0, 0xffff);
}

/** The connection that a finished handshake makes. */
INSTANCE_INLINE void instance_conn_begin(struct instance_conn *c, const struct instance_syn *y, __u32 tick)
{
        _Bool is_other = y->flags & INSTANCE_SYN_OTHER;
        __u32 isn = is_other ? y->b_isn : y->a_isn;
        __u8 a = is_other ? y->b_shift : y->a_shift;

        __builtin_memset(c, 0, sizeof(*c));
        c->primary = is_other ? y->standby : y->primary;
        c->standby = y->flags & INSTANCE_SYN_ALONE ? INSTANCE_NOBODY : y->standby;
        c->flags = y->flags & INSTANCE_SYN_ALONE ? INSTANCE_CONN_ALONE : 0;
        c->why = y->flags & INSTANCE_SYN_ALONE ? y->why : 0;
        /* Shifts are used only when both ends have them: RFC 7323, 2.2. */
        if (y->c_shift != INSTANCE_NO_SHIFT)
                c->wscale = (__u16)(y->c_shift | a << 4 | y->b_shift << 8);
        c->delta = y->flags & INSTANCE_SYN_ALONE ? 0 : y->b_isn - y->a_isn;
        c->c_ack = c->a_high = c->b_high = isn + 1;
        c->c_edge = c->c_ack + y->c_window;
        c->c_high = c->a_ack = c->b_ack = y->c_isn + 1;
        c->a_edge = c->a_ack + (is_other ? y->b_window : y->a_window);
        c->b_edge = c->b_ack + y->b_window;
        c->seen = c->a_seen = tick;
}
