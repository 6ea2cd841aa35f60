#pragma once
/**
 * The sequence number with which a front answers a SYN in aligned mode, so that it need not remember it.
 * Used unchanged by the front, by the shim on every server, and by tests: pure.
 *
 * The client's third packet brings the number back (plus one). Whoever holds the key then knows that this
 * client, at this address and port, was answered by a front within the last two epochs, and what its SYN
 * offered. Front and shims rebuild the same connection from it, so the servers' numbers need no translation.
 *
 *     31                    10 9     8 7            4   3   2         0
 *     tag (22 bits)           | epoch | window shift | SACK | MSS class
 *
 * tag    SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012) of the client's address, port and first
 *        sequence number, the whole epoch, and the ten bits below. The served address is not in it: in NAT
 *        mode a server does not see it. What keeps services apart is that each may have a key of its own.
 * epoch  the two lowest bits of the epoch's number, so that one candidate is tried, not several
 * shift  of the client's window (RFC 7323, 2.2): 0..14; 15: it offered none
 * MSS    of instance_cookie_mss, the largest that is not above the client's; RFC 9293, 3.7.1
 *
 * Of 2^32 numbers 512 are valid for one client and moment: blind guessing takes 8 million packets for one
 * connection. Kernels keep options in timestamps instead; those would differ between two servers.
 */
#include "instance_abi.h"

#include <linux/types.h>

#define INSTANCE_COOKIE_INLINE static inline __attribute__((always_inline, unused))

#define INSTANCE_COOKIE_EPOCH_SHIFT 36 /* an epoch is 2^36 ns of wall clock: 69 seconds */
#define INSTANCE_COOKIE_NO_WSCALE   15
#define INSTANCE_COOKIE_MSS_CLASSES 8
/** What the front offers in its answer, and so what the servers' sockets have. Fixed: both must agree. */
#define INSTANCE_COOKIE_WSCALE 7
/** Of the answer itself, never shifted (RFC 7323, 2.2); no more than a fresh socket takes. */
#define INSTANCE_COOKIE_WINDOW 64240

/** A front accepts this epoch and the last. A shim's clock may be off by one either way. */
#define INSTANCE_COOKIE_FRONT_BACK  1
#define INSTANCE_COOKIE_FRONT_AHEAD 0
#define INSTANCE_COOKIE_SHIM_BACK   2
#define INSTANCE_COOKIE_SHIM_AHEAD  1

/**
 * Two keys and from which epoch on each is used: a cookie names its epoch, so front and shims pick the same
 * one. To rotate, put the new key in the place of the older one with `from` two epochs ahead, everywhere.
 */
struct instance_cookie_key {
        __u64 k0, k1;
        __u64 from; /**< number of its first epoch; ~0: not in use */
};
struct instance_cookie_keys {
        struct instance_cookie_key key[2];
};
_Static_assert(sizeof(struct instance_cookie_keys) == 48, "instance_cookie_keys is part of the map ABI");

/** instance_cookies: array by vip's number, on the front. By user space. */
struct instance_cookie_vip {
        struct instance_cookie_keys keys;
        __u64 clock_ns;   /**< wall clock = monotonic + this */
        __u16 mss4, mss6; /**< what the client may send in one segment, as it will fit the servers' devices */
        __u32 pad;
};
_Static_assert(sizeof(struct instance_cookie_vip) == 64, "instance_cookie_vip is part of the map ABI");

/** What a client's SYN offered. */
struct instance_offer {
        __u16 mss;
        __u8 wscale; /**< or INSTANCE_COOKIE_NO_WSCALE */
        __u8 has_sack;
};

INSTANCE_COOKIE_INLINE __u64 instance_sip_rotate(__u64 x, int bits)
{
        return x << bits | x >> (64 - bits);
}

INSTANCE_COOKIE_INLINE void instance_sip_round(__u64 v[4])
{
        v[0] += v[1];
        v[2] += v[3];
        v[1] = instance_sip_rotate(v[1], 13) ^ v[0];
        v[3] = instance_sip_rotate(v[3], 16) ^ v[2];
        v[0] = instance_sip_rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = instance_sip_rotate(v[1], 17) ^ v[2];
        v[3] = instance_sip_rotate(v[3], 21) ^ v[0];
        v[2] = instance_sip_rotate(v[2], 32);
}

INSTANCE_COOKIE_INLINE void instance_sip_block(__u64 v[4], __u64 block)
{
        v[3] ^= block;
        instance_sip_round(v);
        instance_sip_round(v);
        v[0] ^= block;
}

/** SipHash-2-4 of four words: the paper's construction over 32 bytes, whose last block is the length alone.
 */
INSTANCE_COOKIE_INLINE __u64 instance_sip(__u64 k0, __u64 k1, __u64 a, __u64 b, __u64 c, __u64 d)
{
        __u64 v[4] = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL, k0 ^ 0x6c7967656e657261ULL,
                      k1 ^ 0x7465646279746573ULL};

        instance_sip_block(v, a);
        instance_sip_block(v, b);
        instance_sip_block(v, c);
        instance_sip_block(v, d);
        instance_sip_block(v, 32ULL << 56);
        v[2] ^= 0xff;
        instance_sip_round(v);
        instance_sip_round(v);
        instance_sip_round(v);
        instance_sip_round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/** MSS of a class, 0..7. The steps are where real links are: IPv6's minimum, tunnels, Ethernet, jumbo frames.
 * Below 536 (RFC 1122, 4.2.2.6) there is no class: the kernel would refuse one. */
INSTANCE_COOKIE_INLINE __u16 instance_cookie_mss(__u32 class)
{
        switch (class) {
        case 0:
                return 536;
        case 1:
                return 1220;
        case 2:
                return 1340;
        case 3:
                return 1380;
        case 4:
                return 1400;
        case 5:
                return 1440;
        case 6:
                return 1460;
        default:
                return 8940;
        }
}

INSTANCE_COOKIE_INLINE __u32 instance_cookie_class(__u16 mss)
{
        return mss >= 8940   ? 7
               : mss >= 1460 ? 6
               : mss >= 1440 ? 5
               : mss >= 1400 ? 4
               : mss >= 1380 ? 3
               : mss >= 1340 ? 2
               : mss >= 1220 ? 1
                             : 0;
}

/** A word in network order as the number it means. */
INSTANCE_COOKIE_INLINE __u64 instance_cookie_host(__be32 word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return __builtin_bswap32(word);
#else
        return word;
#endif
}

INSTANCE_COOKIE_INLINE __u64 instance_cookie_epoch(__u64 wall_ns)
{
        return wall_ns >> INSTANCE_COOKIE_EPOCH_SHIFT;
}

/** The key in force in an epoch: of those that have begun, the one that began last. NULL: none has. */
INSTANCE_COOKIE_INLINE const struct instance_cookie_key *
instance_cookie_key_of(const struct instance_cookie_keys *keys, __u64 epoch)
{
        const struct instance_cookie_key *a = &keys->key[0], *b = &keys->key[1];

        if (a->from > epoch)
                return b->from > epoch ? (void *)0 : b;
        return b->from > epoch || b->from <= a->from ? a : b;
}

/** The whole cookie for ten given low bits. Everything is hashed as the number it means, so hosts of either
 * byte order agree. */
INSTANCE_COOKIE_INLINE __u32 instance_cookie_of(const struct instance_cookie_key *key,
                                                const struct instance_address *client, __be16 port,
                                                __u32 client_isn, __u64 epoch, __u32 low)
{
        __u64 a = instance_cookie_host(client->word[0]) << 32 | instance_cookie_host(client->word[1]);
        __u64 b = instance_cookie_host(client->word[2]) << 32 | instance_cookie_host(client->word[3]);
        __u64 c = (__u64)client_isn << 32 | instance_cookie_host(port);

        low |= (__u32)(epoch & 3) << 8;
        return (__u32)instance_sip(key->k0, key->k1, a, b, c | low, epoch) << 10 | low;
}

/**
 * The number to answer a SYN with.
 * @param client_isn  the SYN's sequence number, host order
 * @param epoch       now; there must be a key for it (instance_cookie_key_of)
 */
INSTANCE_COOKIE_INLINE __u32 instance_cookie_make(const struct instance_cookie_key *key,
                                                  const struct instance_address *client, __be16 port,
                                                  __u32 client_isn, __u64 epoch,
                                                  const struct instance_offer *offer)
{
        __u32 low = (__u32)(offer->wscale & 15) << 4 | (offer->has_sack ? 8U : 0U) |
                    instance_cookie_class(offer->mss);

        return instance_cookie_of(key, client, port, client_isn, epoch, low);
}

/**
 * Is this a number that a front gave to this client lately, and for what offer?
 * @param back, ahead  epochs before and after `epoch` that are accepted; together at most 3
 * @return 1 and *offer filled (mss: the class's), or 0
 */
INSTANCE_COOKIE_INLINE int instance_cookie_read(const struct instance_cookie_keys *keys,
                                                const struct instance_address *client, __be16 port,
                                                __u32 client_isn, __u64 epoch, __u32 back, __u32 ahead,
                                                __u32 cookie, struct instance_offer *offer)
{
        /* The one epoch of epoch - back .. epoch - back + 3 that has these two low bits. */
        __u64 of = epoch - back + (((cookie >> 8) - (epoch - back)) & 3);
        const struct instance_cookie_key *key;

        if (of > epoch + ahead)
                return 0;
        key = instance_cookie_key_of(keys, of);
        if (!key || instance_cookie_of(key, client, port, client_isn, of, cookie & 0xff) != cookie)
                return 0;
        offer->mss = instance_cookie_mss(cookie & 7);
        offer->has_sack = cookie >> 3 & 1;
        offer->wscale = cookie >> 4 & 15;
        return 1;
}

/**
 * The connection that a third packet makes: both servers build it from the same packet, so B's numbers are
 * A's. Window fields of later packets are shifted; the third one is decided on after this like any other.
 * @param standby   or INSTANCE_NOBODY
 * @param is_gated  the standby's shim holds acknowledgements back by itself
 * @param seq, ack  of the third packet
 */
INSTANCE_COOKIE_INLINE void instance_cookie_begin(struct instance_conn *c, __u16 primary, __u16 standby,
                                                  int is_gated, const struct instance_offer *offer, __u32 seq,
                                                  __u32 ack, __u32 tick)
{
        __builtin_memset(c, 0, sizeof(*c));
        c->flags = standby == INSTANCE_NOBODY ? INSTANCE_CONN_ALIGNED | INSTANCE_CONN_ALONE
                                              : INSTANCE_CONN_ALIGNED;
        c->primary = primary;
        c->standby = standby;
        c->is_gated = is_gated && standby != INSTANCE_NOBODY;
        if (offer->wscale != INSTANCE_COOKIE_NO_WSCALE)
                c->wscale =
                        (__u16)(offer->wscale | INSTANCE_COOKIE_WSCALE << 4 | INSTANCE_COOKIE_WSCALE << 8);
        c->c_ack = c->c_edge = c->a_high = c->b_high = ack;
        c->c_high = c->a_ack = c->b_ack = seq;
        c->a_edge = c->b_edge = seq + INSTANCE_COOKIE_WINDOW;
        c->seen = c->a_seen = tick;
}
