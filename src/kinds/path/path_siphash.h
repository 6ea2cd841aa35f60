#pragma once
/**
 * The tag of a tunnel packet: SipHash-2-4 over 23 bytes, on both sides of the kernel boundary.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (INDOCRYPT 2012), section 2.
 * It is cut in two where the copies of one packet begin to differ: path_tag_begin() takes the 16
 * bytes that all copies share, path_tag_end() the seven of one copy. 23 bytes and not 24, because
 * the paper's last block holds seven bytes beside the length: two rounds less on every tag.
 *
 * Words are the little-endian numbers that the bytes of the packet spell; on a big-endian host
 * path_tag_word() turns them.
 */
#include <linux/types.h>

#define PATH_SIP_INLINE static inline __attribute__((always_inline, unused))

struct path_sip {
        __u64 v0, v1, v2, v3;
};

PATH_SIP_INLINE __u64 path_sip_rotate(__u64 x, int bits)
{
        return x << bits | x >> (64 - bits);
}

PATH_SIP_INLINE void path_sip_round(struct path_sip *s)
{
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = path_sip_rotate(s->v1, 13) ^ s->v0;
        s->v3 = path_sip_rotate(s->v3, 16) ^ s->v2;
        s->v0 = path_sip_rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = path_sip_rotate(s->v1, 17) ^ s->v2;
        s->v3 = path_sip_rotate(s->v3, 21) ^ s->v0;
        s->v2 = path_sip_rotate(s->v2, 32);
}

PATH_SIP_INLINE void path_sip_init(struct path_sip *s, __u64 k0, __u64 k1)
{
        s->v0 = k0 ^ 0x736f6d6570736575ULL;
        s->v1 = k1 ^ 0x646f72616e646f6dULL;
        s->v2 = k0 ^ 0x6c7967656e657261ULL;
        s->v3 = k1 ^ 0x7465646279746573ULL;
}

/** Two compression rounds: one block of eight bytes. */
PATH_SIP_INLINE void path_sip_block(struct path_sip *s, __u64 block)
{
        s->v3 ^= block;
        path_sip_round(s);
        path_sip_round(s);
        s->v0 ^= block;
}

/** Four finalisation rounds. */
PATH_SIP_INLINE __u64 path_sip_fini(struct path_sip *s)
{
        s->v2 ^= 0xff;
        path_sip_round(s);
        path_sip_round(s);
        path_sip_round(s);
        path_sip_round(s);
        return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/** A word as it lies in memory, as the number SipHash means; and back. */
PATH_SIP_INLINE __u64 path_tag_word(__u64 raw)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return raw;
#else
        return __builtin_bswap64(raw);
#endif
}

/** The part that all copies share: seq and sent_ns as they lie in the header. */
PATH_SIP_INLINE void path_tag_begin(struct path_sip *s, __u64 k0, __u64 k1, __u64 raw_seq, __u64 raw_sent)
{
        path_sip_init(s, k0, k1);
        path_sip_block(s, path_tag_word(raw_seq));
        path_sip_block(s, path_tag_word(raw_sent));
}

/**
 * The part of one copy: the first eight bytes of the header as they lie there. The version goes
 * out at the bottom, the length of the message comes in at the top.
 * @return the tag as it shall lie in the header
 */
PATH_SIP_INLINE __u64 path_tag_end(struct path_sip *s, __u64 raw_first)
{
        path_sip_block(s, path_tag_word(raw_first) >> 8 | 23ULL << 56);
        return path_tag_word(path_sip_fini(s));
}
