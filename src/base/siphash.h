#pragma once
/**
 * SipHash-2-4, on both sides of the kernel boundary: BPF programs include this too, so it needs nothing but
 * fixed-width types and is inlined whole.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (INDOCRYPT 2012), section 2.
 *
 * A message is dog_sip_init, dog_sip_block for every eight bytes (the number that they spell, little-endian;
 * the last one holds what is left and, in its top byte, the length), dog_sip_fini.
 */
#include <linux/types.h>

#define DOG_SIP_INLINE static inline __attribute__((always_inline, unused))

struct dog_sip {
        __u64 v0, v1, v2, v3;
};

DOG_SIP_INLINE __u64 dog_sip_rotate(__u64 x, int bits)
{
        return x << bits | x >> (64 - bits);
}

DOG_SIP_INLINE void dog_sip_round(struct dog_sip *s)
{
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = dog_sip_rotate(s->v1, 13) ^ s->v0;
        s->v3 = dog_sip_rotate(s->v3, 16) ^ s->v2;
        s->v0 = dog_sip_rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = dog_sip_rotate(s->v1, 17) ^ s->v2;
        s->v3 = dog_sip_rotate(s->v3, 21) ^ s->v0;
        s->v2 = dog_sip_rotate(s->v2, 32);
}

DOG_SIP_INLINE void dog_sip_init(struct dog_sip *s, __u64 k0, __u64 k1)
{
        s->v0 = k0 ^ 0x736f6d6570736575ULL;
        s->v1 = k1 ^ 0x646f72616e646f6dULL;
        s->v2 = k0 ^ 0x6c7967656e657261ULL;
        s->v3 = k1 ^ 0x7465646279746573ULL;
}

/** Two compression rounds: one block of eight bytes. */
DOG_SIP_INLINE void dog_sip_block(struct dog_sip *s, __u64 block)
{
        s->v3 ^= block;
        dog_sip_round(s);
        dog_sip_round(s);
        s->v0 ^= block;
}

/** Four finalisation rounds. */
DOG_SIP_INLINE __u64 dog_sip_fini(struct dog_sip *s)
{
        s->v2 ^= 0xff;
        dog_sip_round(s);
        dog_sip_round(s);
        dog_sip_round(s);
        dog_sip_round(s);
        return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}
