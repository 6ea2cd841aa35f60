#pragma once
/**
 * What the two balancers of a pair say to each other, over UDP, so that either can carry on the protected
 * connections of the other. Bytes in, struct out; no socket, no clock, no allocation.
 *
 * Every datagram, at most 1200 octets, all integers in network byte order:
 *
 *      0  4  magic "SDP1", the layout's version in it
 *      4  1  type, enum dog_pair_type
 *      5  1  number of connections that follow, 0 to 15; only in CHANGES
 *      6  2  which of them ended: bit i for connection i
 *      8  8  boot: a random number that the sender drew when it started
 *     16  8  sequence, from 1, one higher with each datagram of that boot
 *     24  8  the boot of the receiver, as far as the sender knows it; 0 only in HELLO
 *     32  8  world: a digest of the addresses and servers served; pairs agree on it
 *     40  8  in ACK: the sequence that has been taken over; else 0
 *     48  n  connections of 72 octets each, encrypted
 *         16 tag
 *
 * Sealed by XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03; libsodium's crypto_aead_xchacha20poly1305_ietf):
 * octets 0 to 47 are the associated data, octets 8 to 31 the nonce, which never repeats: the boot is random
 * and the sequence counts. The key is derived from the shared secret for one direction, so that nothing can
 * be sent back to its sender. A datagram for another boot of the receiver is old, or a replay.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        DOG_PAIR_PORT = 7867,
        DOG_PAIR_MOST = 1200,
        DOG_PAIR_HEAD = 48,
        DOG_PAIR_TAG = 16,
        DOG_PAIR_CONN = 72,
        DOG_PAIR_CONNS = 15, /**< in one datagram */
        DOG_PAIR_KEY = 32,
        DOG_PAIR_NUMBERS = 10
};

enum dog_pair_type {
        DOG_PAIR_HELLO = 1, /**< once a second: I am here, this is my boot and my world */
        DOG_PAIR_CHANGES,   /**< connections that were made, changed or ended */
        DOG_PAIR_ACK        /**< these changes are in my table */
};

/** One connection. What the numbers mean is the sender's and receiver's affair. */
struct dog_pair_conn {
        uint8_t client[16]; /**< IPv6, or IPv4 as ::ffff:a.b.c.d */
        uint16_t port;      /**< of the client, host order */
        uint16_t vip;
        uint16_t flags;
        uint16_t primary, standby;
        uint16_t wscale;
        bool is_gone; /**< it ended: forget it */
        uint32_t delta;
        uint32_t number[DOG_PAIR_NUMBERS];
};

struct dog_pair_message {
        enum dog_pair_type type;
        uint64_t boot, sequence, to_boot, world, acked;
        unsigned conns;
        struct dog_pair_conn conn[DOG_PAIR_CONNS];
};

/** The two keys of one secret: what one end sends with, the other receives with. */
struct dog_pair_keys {
        uint8_t send[DOG_PAIR_KEY], receive[DOG_PAIR_KEY];
};

/** @param is_first  true at one end, false at the other */
struct dog_pair_keys dog_pair_keys_of(const uint8_t secret[DOG_PAIR_KEY], bool is_first);

/** @return how many octets of `to` (of DOG_PAIR_MOST) were filled; 0 when the message is none */
size_t dog_pair_write(const struct dog_pair_message *m, const struct dog_pair_keys *keys, uint8_t *to);

enum dog_pair_flaw {
        DOG_PAIR_FINE,
        DOG_PAIR_SHORT,   /**< length and number of connections do not agree */
        DOG_PAIR_VERSION, /**< not this layout, or an unknown type */
        DOG_PAIR_FORGED   /**< the tag is wrong */
};

/** *m is filled only on DOG_PAIR_FINE. */
enum dog_pair_flaw dog_pair_read(struct dog_pair_message *m, const struct dog_pair_keys *keys,
                                 const void *bytes, size_t size);
