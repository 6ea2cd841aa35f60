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
#include "base/siphash.h"

/** A word as it lies in memory, as the number SipHash means; and back. */
DOG_SIP_INLINE __u64 path_tag_word(__u64 raw)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return raw;
#else
        return __builtin_bswap64(raw);
#endif
}

/** The part that all copies share: seq and sent_ns as they lie in the header. */
DOG_SIP_INLINE void path_tag_begin(struct dog_sip *s, __u64 k0, __u64 k1, __u64 raw_seq, __u64 raw_sent)
{
        dog_sip_init(s, k0, k1);
        dog_sip_block(s, path_tag_word(raw_seq));
        dog_sip_block(s, path_tag_word(raw_sent));
}

/**
 * The part of one copy: the first eight bytes of the header as they lie there. The version goes
 * out at the bottom, the length of the message comes in at the top.
 * @return the tag as it shall lie in the header
 */
DOG_SIP_INLINE __u64 path_tag_end(struct dog_sip *s, __u64 raw_first)
{
        dog_sip_block(s, path_tag_word(raw_first) >> 8 | 23ULL << 56);
        return path_tag_word(dog_sip_fini(s));
}
