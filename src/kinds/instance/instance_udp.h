#pragma once
/**
 * Mirrored UDP: each request goes to two servers, one answer goes back. Pure; for BPF and for tests.
 *
 * UDP has no numbers, and services have their own, so an answer is known by its bytes: packets of A and B are
 * the same packet when a 46-bit hash of their payload is. Each payload that went to the client is remembered
 * in a slot of its hash until its twin has come, or for half a second. A slot is one word and changes by
 * compare-and-swap: A's and B's packet may be in the hands of two CPUs.
 *
 * INSTANCE_ANSWER_FIRST: what comes first goes, its twin does not, packet by packet: any number of requests
 * may be under way, an answer may have many packets, and what one server (or its path) lost comes from the
 * other. That is for services whose answers are equal. Where they are not, nothing tells a second opinion
 * from a second answer, except that a flow with one request under way has one answer: if the other server
 * then says something else, the flow *differs* and listens to the one that spoke first, as below. A client
 * that has several requests under way from the start gets both opinions until it has had one under way;
 * so does one whose answers are now equal and now not. Such services want INSTANCE_ANSWER_PRIMARY.
 *
 * INSTANCE_ANSWER_PRIMARY, and flows that differ: one server is listened to. The other one's packets are
 * dropped, unless the first is dead, or *overdue*: the client has asked again, it is INSTANCE_UDP_PATIENCE
 * since the oldest request that it left unanswered, and it has said nothing since. So a primary that dies
 * without anybody noticing costs the client one request; its next is answered by the standby at once. A late
 * twin is dropped there, too.
 *
 * A client's identical requests are as many requests; the servers see them all.
 */
#include "instance_parse.h"

#define INSTANCE_UDP_SLOTS    64
#define INSTANCE_UDP_PATIENCE 48  /* ticks, 50 ms */
#define INSTANCE_UDP_TWIN     512 /* ticks that a twin may come later, half a second */

#define INSTANCE_UDP_ALIKE   0x1 /* twins were seen: what is not equal is another answer */
#define INSTANCE_UDP_DIFFERS 0x2 /* FIRST: its servers' answers are not equal */
#define INSTANCE_UDP_LEAD_B  0x4 /* DIFFERS: it listens to B */
#define INSTANCE_UDP_SAID_A  0x8 /* something of A's has been sent on since the newest request */
#define INSTANCE_UDP_SAID_B  0x10
#define INSTANCE_UDP_MANY    0x20 /* more than one request is under way, perhaps */

/** One flow: the value of instance_talks, an LRU hash by struct instance_flow. */
struct instance_talk {
        __u16 primary, standby; /**< servers */
        __u32 flags;            /**< INSTANCE_UDP_* */
        __u32 asked;            /**< tick of the newest request */
        __u32 waits; /**< tick of the oldest request since the one listened to last spoke; valid with asks */
        __u32 asks;  /**< requests since then */
        __u32 pad;
        /** 0, or: hash 40 bits, tick 16, from B 1, how many 7; the low bits of the hash are its place
         */
        __u64 slot[INSTANCE_UDP_SLOTS];
};
_Static_assert(sizeof(struct instance_talk) == 24 + 8 * INSTANCE_UDP_SLOTS, "instance_talk is a map's value");

/** What is known besides the flow. */
struct instance_udp_now {
        __u64 hash; /**< of an answer's payload */
        __u32 tick;
        __u8 answer;      /**< enum instance_answer */
        _Bool a_up, b_up; /**< neither dead nor gone */
        _Bool b_copy;     /**< B may be sent copies: it is fit */
};

/** To whom a request goes. */
#define INSTANCE_UDP_TO_A 0x1
#define INSTANCE_UDP_TO_B 0x2

/** A request of the client's. @return INSTANCE_UDP_TO_*; 0: nobody is left */
INSTANCE_INLINE __u32 instance_udp_ask(struct instance_talk *u, const struct instance_udp_now *now)
{
        __u32 flags = u->flags;
        _Bool is_answered = flags & (INSTANCE_UDP_SAID_A | INSTANCE_UDP_SAID_B);

        /* 1. Is it the only one under way? The first one is, and the next one after an answer. */
        if (u->asked && !is_answered)
                flags |= INSTANCE_UDP_MANY;
        else
                flags &= ~(__u32)INSTANCE_UDP_MANY;
        u->flags = flags & ~(__u32)(INSTANCE_UDP_SAID_A | INSTANCE_UDP_SAID_B);
        u->asked = now->tick | 1;

        /* 2. From now on the one listened to owes an answer, if it did not before. */
        if (!u->asks)
                u->waits = now->tick;
        if (u->asks < 0xffff)
                u->asks++;

        /* 3. Both, if both are there. */
        if (now->a_up && now->b_up && now->b_copy)
                return INSTANCE_UDP_TO_A | INSTANCE_UDP_TO_B;
        if (now->a_up)
                return INSTANCE_UDP_TO_A;
        return now->b_up ? INSTANCE_UDP_TO_B : 0;
}

/* ---- twins ----------------------------------------------------------------------------------- */

enum instance_udp_twin {
        INSTANCE_UDP_NEW,      /* nobody has said this (lately): remembered as this server's */
        INSTANCE_UDP_TWIN_CAME /* the other one has, and it was sent on: both are forgotten */
};

INSTANCE_INLINE __u64 instance_udp_word(__u64 hash, __u32 tick, _Bool from_b, __u32 count)
{
        return hash >> 24 << 24 | (__u64)(tick & 0xffff) << 8 | (__u64)from_b << 7 | count;
}

/* Does this slot hold it? */
INSTANCE_INLINE _Bool instance_udp_holds(__u64 word, __u64 hash, __u32 tick)
{
        return (word & 0x7f) && word >> 24 == hash >> 24 &&
               (__u16)(tick - (__u32)(word >> 8)) <= INSTANCE_UDP_TWIN;
}

INSTANCE_INLINE _Bool instance_udp_is_free(__u64 word, __u32 tick)
{
        return !(word & 0x7f) || (__u16)(tick - (__u32)(word >> 8)) > INSTANCE_UDP_TWIN;
}

/**
 * Look a packet up in the two slots of its hash and leave them as they are to be. A payload that finds both
 * taken pushes another one out of its first, whose twin is then taken for an answer.
 * @param remember  false: only look for a twin
 */
INSTANCE_INLINE enum instance_udp_twin instance_udp_twin(struct instance_talk *u, __u64 hash, __u32 tick,
                                                         _Bool from_b, _Bool remember)
{
        __u64 *first = &u->slot[hash & (INSTANCE_UDP_SLOTS - 1)];
        __u64 *second = &u->slot[hash >> 6 & (INSTANCE_UDP_SLOTS - 1)];

        for (int try = 0; try < 4; try++) {
                __u64 one = *(volatile __u64 *)first, two = *(volatile __u64 *)second;
                _Bool in_one = instance_udp_holds(one, hash, tick);
                _Bool in_two = !in_one && instance_udp_holds(two, hash, tick);
                _Bool at_two = in_two || (!in_one && !instance_udp_is_free(one, tick) &&
                                          instance_udp_is_free(two, tick));
                __u64 is = at_two ? two : one, want = instance_udp_word(hash, tick, from_b, 1);
                __u32 count = (__u32)is & 0x7f;
                enum instance_udp_twin found = INSTANCE_UDP_NEW;

                if ((in_one || in_two) && (is >> 7 & 1) != from_b) {
                        found = INSTANCE_UDP_TWIN_CAME;
                        want = count > 1 ? is - 1 : 0;
                } else if (in_one || in_two) {
                        /* It says the same again: that many twins are to come. */
                        want = instance_udp_word(hash, tick, from_b, count + (count < 0x7f));
                }
                if (found == INSTANCE_UDP_NEW && !remember)
                        return found;
                if (__sync_val_compare_and_swap(at_two ? second : first, is, want) == is)
                        return found;
        }
        return INSTANCE_UDP_NEW;
}

/* ---- answers --------------------------------------------------------------------------------- */

INSTANCE_INLINE _Bool instance_udp_is_overdue(const struct instance_talk *u, __u32 tick)
{
        return u->asks > 1 && tick - u->waits >= INSTANCE_UDP_PATIENCE;
}

/* One atomic: of two CPUs with A's and B's answer, one sees that it is the second. @return the flags before
 */
INSTANCE_INLINE __u32 instance_udp_said(struct instance_talk *u, _Bool from_b)
{
        return __sync_fetch_and_or(&u->flags, from_b ? INSTANCE_UDP_SAID_B : INSTANCE_UDP_SAID_A);
}

/* One server is listened to. */
INSTANCE_INLINE _Bool instance_udp_hear_one(struct instance_talk *u, const struct instance_udp_now *now,
                                            _Bool from_b, _Bool leads_b)
{
        _Bool leader_up = leads_b ? now->b_up : now->a_up;

        if (from_b == leads_b) {
                /* 1. It speaks: it owes nothing. What the other one was heard with meanwhile is not repeated.
                 */
                u->asks = 0;
                if (instance_udp_twin(u, now->hash, now->tick, from_b, 1) == INSTANCE_UDP_TWIN_CAME)
                        return 0;
                instance_udp_said(u, from_b);
                return 1;
        }
        /* 2. The other one, while the first is there and in time: not needed. */
        if (leader_up && !instance_udp_is_overdue(u, now->tick)) {
                if (instance_udp_twin(u, now->hash, now->tick, from_b, 0) == INSTANCE_UDP_TWIN_CAME &&
                    (u->flags & INSTANCE_UDP_DIFFERS))
                        u->flags = (u->flags | INSTANCE_UDP_ALIKE) & ~(__u32)INSTANCE_UDP_DIFFERS;
                return 0;
        }
        /* 3. It is needed. */
        if (instance_udp_twin(u, now->hash, now->tick, from_b, 1) == INSTANCE_UDP_TWIN_CAME)
                return 0;
        instance_udp_said(u, from_b);
        if (u->flags & INSTANCE_UDP_DIFFERS) {
                u->flags ^= INSTANCE_UDP_LEAD_B;
                u->asks = 0;
        }
        return 1;
}

/** A packet from A or B. @return whether it goes to the client */
INSTANCE_INLINE _Bool instance_udp_answer(struct instance_talk *u, const struct instance_udp_now *now,
                                          _Bool from_b)
{
        if (now->answer == INSTANCE_ANSWER_PRIMARY)
                return instance_udp_hear_one(u, now, from_b, 0);
        if (u->flags & INSTANCE_UDP_DIFFERS)
                return instance_udp_hear_one(u, now, from_b, !!(u->flags & INSTANCE_UDP_LEAD_B));

        /* 1. The other one has spoken to the only request: the same, or a second opinion. */
        __u32 was = instance_udp_said(u, from_b);
        _Bool is_second = (was & (from_b ? INSTANCE_UDP_SAID_A : INSTANCE_UDP_SAID_B)) &&
                          !(was & (INSTANCE_UDP_ALIKE | INSTANCE_UDP_MANY));
        if (instance_udp_twin(u, now->hash, now->tick, from_b, !is_second) == INSTANCE_UDP_TWIN_CAME) {
                __sync_fetch_and_or(&u->flags, INSTANCE_UDP_ALIKE);
                return 0;
        }
        if (!is_second)
                return 1;
        was &= ~(__u32)INSTANCE_UDP_LEAD_B;
        u->flags = was | INSTANCE_UDP_DIFFERS | (from_b ? 0 : INSTANCE_UDP_LEAD_B);
        u->asks = 0;
        return 0;
}

/* ---- the hash of a payload ------------------------------------------------------------------- */

#define INSTANCE_UDP_CHUNK 64

/** Eight words more. Multiply and fold: each bit of the payload reaches every bit of the hash. */
INSTANCE_INLINE __u64 instance_udp_mix(__u64 hash, const __u64 words[INSTANCE_UDP_CHUNK / 8])
{
        for (int i = 0; i < INSTANCE_UDP_CHUNK / 8; i++) {
                hash = (hash ^ words[i]) * 0xd6e8feb86659fd93ULL;
                hash ^= hash >> 32;
        }
        return hash;
}
