#pragma once
/**
 * One frame, read once: what XDP, tc and the tests all look at. Pure, no map, no allocation; the same text is
 * compiled into BPF and into user space.
 *
 * Ethernet, then IPv4 without options or IPv6 without extension headers, then TCP, UDP, ICMP or ICMPv6: every
 * header so has a fixed place by family, which is what lets the verifier follow it and the JIT read it
 * without arithmetic. Whatever else there is, is named, not guessed: `wrong` tells what is to be counted if
 * the packet turns out to be for a served address. A frame with a VLAN tag is not IP here: the tag belongs to
 * a VLAN device, which brings the packet back without it.
 *
 * Headers and numbers are written out here, because linux/in.h and netinet/in.h cannot be included together
 * and this text must not care who includes it.
 *
 * Sources: RFC 791, 8200, 9293, 768, 792, 4443; the registries of IANA.
 */
#include <bpf/bpf_endian.h>

#include "instance_abi.h"

#define INSTANCE_INLINE      static inline __attribute__((always_inline))
#define INSTANCE_LIKELY(x)   __builtin_expect(!!(x), 1)
#define INSTANCE_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define INSTANCE_L2     14 /* Ethernet without a tag: where IP begins */
#define INSTANCE_L4_IP4 (INSTANCE_L2 + 20)
#define INSTANCE_L4_IP6 (INSTANCE_L2 + 40)
/** So many bytes hold all headers that are ever read; an skb is made linear so far before it is parsed. */
#define INSTANCE_HEADERS (INSTANCE_L4_IP6 + 60)

#define INSTANCE_TCP_FIN 0x01
#define INSTANCE_TCP_SYN 0x02
#define INSTANCE_TCP_RST 0x04
#define INSTANCE_TCP_PSH 0x08
#define INSTANCE_TCP_ACK 0x10

enum {
        INSTANCE_ETHER_IP4 = 0x0800,
        INSTANCE_ETHER_IP6 = 0x86dd,
        INSTANCE_PROTO_ICMP = 1,
        INSTANCE_PROTO_TCP = 6,
        INSTANCE_PROTO_UDP = 17,
        INSTANCE_PROTO_FRAGMENT = 44,
        INSTANCE_PROTO_ICMP6 = 58,
        INSTANCE_ICMP_UNREACHABLE = 3,
        INSTANCE_ICMP_NO_PORT = 3, /* its codes */
        INSTANCE_ICMP_TOO_BIG = 4,
        INSTANCE_ICMP_EXCEEDED = 11,
        INSTANCE_ICMP_PROBLEM = 12,
        INSTANCE_ICMP6_UNREACHABLE = 1,
        INSTANCE_ICMP6_NO_PORT = 4, /* its code */
        INSTANCE_ICMP6_TOO_BIG = 2,
        INSTANCE_ICMP6_PROBLEM = 4
};

struct instance_ether {
        __u8 to[6], from[6];
        __be16 type;
};
struct instance_ip4 {
        __u8 first, tos; /* version and length in words: 0x45 without options */
        __be16 length, id, fragment;
        __u8 ttl, proto;
        __be16 check;
        __be32 src, dst;
};
struct instance_ip6 {
        __be32 first; /* version, class, flow label */
        __be16 payload;
        __u8 next, ttl;
        __be32 src[4], dst[4];
};
struct instance_tcp {
        __be16 sport, dport;
        __be32 seq, ack;
        __u8 words, flags; /* header length in words, in the upper half */
        __be16 window, check, urgent;
};
struct instance_udp {
        __be16 sport, dport, length, check;
};
struct instance_icmp {
        __u8 type, code;
        __be16 check;
        __be32 rest; /* MTU of "too big", identifier and sequence of an echo */
};

/** A parsed frame. Offsets are from the start of the frame; numbers are in host order unless __be. */
struct instance_packet {
        struct instance_address src, dst;
        __be16 sport, dport; /**< TCP, UDP; ICMP: 0 */
        __u8 proto;          /**< IPPROTO_*; IPv6: the next header */
        __u8 is_v6;
        __u8 wrong;     /**< 0, or 1 + enum instance_drop: nothing behind the IP header was read then */
        __u8 tcp_flags; /**< INSTANCE_TCP_* and the others of that byte */
        __u8 ttl;       /**< or hop limit */
        __u8 icmp_type, icmp_code;
        __u8 tos;            /**< or traffic class */
        __u16 l4;            /**< where TCP, UDP or ICMP begins: INSTANCE_L4_IP4 or _IP6 */
        __u16 payload;       /**< where their payload begins */
        __u32 payload_bytes; /**< by the IP header (UDP: by its own): padding of a short frame is none */
        __u32 seq, ack;      /**< TCP */
        __u16 window;        /**< TCP, unscaled */
        __u16 options;       /**< TCP: bytes of options; they begin at l4 + 20 and end at payload */
};

INSTANCE_INLINE __u8 instance_wrong(enum instance_drop why)
{
        return (__u8)(why + 1);
}

INSTANCE_INLINE struct instance_address instance_address_of4(__be32 ip)
{
        return (struct instance_address){{0, 0, bpf_htonl(0xffff), ip}};
}

INSTANCE_INLINE _Bool instance_address_is4(const struct instance_address *a)
{
        return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == bpf_htonl(0xffff);
}

INSTANCE_INLINE _Bool instance_address_equal(const struct instance_address *a,
                                             const struct instance_address *b)
{
        return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) |
                (a->word[3] ^ b->word[3])) == 0;
}

INSTANCE_INLINE struct instance_address instance_address_of6(const void *at)
{
        const __be32 *w = at;
        return (struct instance_address){{w[0], w[1], w[2], w[3]}};
}

/** Is this next header an extension (RFC 8200, 4; the registry of IANA) that a front does not carry? */
INSTANCE_INLINE _Bool instance_is_extension(__u8 next)
{
        return next == 0 /* hop by hop */ || next == 43 /* routing */ || next == 60 /* destination */ ||
               next == 51 /* AH */ || next == 135 /* mobility */ || next == 139 /* HIP */ ||
               next == 140 /* shim6 */;
}

/**
 * TCP, UDP, ICMP or ICMPv6 at `at`.
 * @param at     the transport header; p->l4 is its place in the frame
 * @param end    behind the last byte that may be read
 * @param bytes  what the IP header says there is from `at` on; not more than the frame has
 */
INSTANCE_INLINE void instance_parse_l4(const void *at, const void *end, __u32 bytes,
                                       struct instance_packet *p)
{
        if (p->proto == INSTANCE_PROTO_TCP) {
                const struct instance_tcp *tcp = at;
                const __u32 *words = at;
                if (INSTANCE_UNLIKELY((const void *)(tcp + 1) > end))
                        goto too_short;
                __u32 first = bpf_ntohl(words[3]), header = first >> 28 << 2;
                if (INSTANCE_UNLIKELY(header < sizeof(*tcp) || header > bytes))
                        goto too_short;
                p->sport = tcp->sport;
                p->dport = tcp->dport;
                p->seq = bpf_ntohl(tcp->seq);
                p->ack = bpf_ntohl(tcp->ack);
                p->window = (__u16)first;
                p->tcp_flags = (__u8)(first >> 16);
                p->options = (__u16)(header - sizeof(*tcp));
                p->payload = (__u16)(p->l4 + header);
                p->payload_bytes = bytes - header;
        } else if (p->proto == INSTANCE_PROTO_UDP) {
                const struct instance_udp *udp = at;
                if (INSTANCE_UNLIKELY((const void *)(udp + 1) > end))
                        goto too_short;
                __u32 own = bpf_ntohs(udp->length);
                if (INSTANCE_UNLIKELY(own < sizeof(*udp) || own > bytes))
                        goto too_short;
                p->sport = udp->sport;
                p->dport = udp->dport;
                p->payload = (__u16)(p->l4 + sizeof(*udp));
                p->payload_bytes = own - (__u32)sizeof(*udp);
        } else if (p->proto == (p->is_v6 ? INSTANCE_PROTO_ICMP6 : INSTANCE_PROTO_ICMP)) {
                const __u8 *icmp = at;
                if (INSTANCE_UNLIKELY(at + 8 > end || bytes < 8))
                        goto too_short;
                p->icmp_type = icmp[0];
                p->icmp_code = icmp[1];
                p->payload = (__u16)(p->l4 + 8);
                p->payload_bytes = bytes - 8;
        }
        return;
too_short:
        p->wrong = instance_wrong(INSTANCE_DROP_SHORT);
}

/** IPv4 at `ip`, which is known to be readable. @param room  bytes of the frame from `ip` on */
INSTANCE_INLINE void instance_parse_ip4(const struct instance_ip4 *ip, const void *end, __u32 room,
                                        struct instance_packet *p)
{
        __u32 bytes = bpf_ntohs(ip->length);

        p->src = instance_address_of4(ip->src);
        p->dst = instance_address_of4(ip->dst);
        p->proto = ip->proto;
        p->ttl = ip->ttl;
        p->tos = ip->tos;
        p->l4 = INSTANCE_L4_IP4;
        if (INSTANCE_UNLIKELY(ip->first != 0x45)) {
                p->wrong = instance_wrong((ip->first & 15) > 5 ? INSTANCE_DROP_OPTIONS : INSTANCE_DROP_SHORT);
                return;
        }
        /* More than 64 KiB in one piece (BIG TCP) cannot be written there: the field is 0 then. */
        if (INSTANCE_UNLIKELY(bytes == 0 && room > 0xffff))
                bytes = room;
        if (INSTANCE_UNLIKELY(bytes > room || bytes < sizeof(*ip)))
                p->wrong = instance_wrong(INSTANCE_DROP_SHORT);
        else if (INSTANCE_UNLIKELY(ip->fragment & bpf_htons(0x3fff)))
                p->wrong = instance_wrong(INSTANCE_DROP_FRAGMENT);
        else
                instance_parse_l4(ip + 1, end, bytes - (__u32)sizeof(*ip), p);
}

/** IPv6 at `ip`, which is known to be readable. */
INSTANCE_INLINE void instance_parse_ip6(const struct instance_ip6 *ip, const void *end, __u32 room,
                                        struct instance_packet *p)
{
        __u32 bytes = bpf_ntohs(ip->payload);

        p->is_v6 = 1;
        p->src = instance_address_of6(ip->src);
        p->dst = instance_address_of6(ip->dst);
        p->proto = ip->next;
        p->ttl = ip->ttl;
        p->tos = (__u8)(bpf_ntohl(ip->first) >> 20);
        p->l4 = INSTANCE_L4_IP6;
        if (INSTANCE_UNLIKELY(bytes == 0 && room > 0xffff + (__u32)sizeof(*ip)))
                bytes = room - (__u32)sizeof(*ip);
        if (INSTANCE_UNLIKELY(bytes + sizeof(*ip) > room))
                p->wrong = instance_wrong(INSTANCE_DROP_SHORT);
        else if (INSTANCE_UNLIKELY(ip->next == INSTANCE_PROTO_FRAGMENT))
                p->wrong = instance_wrong(INSTANCE_DROP_FRAGMENT);
        else if (INSTANCE_UNLIKELY(instance_is_extension(ip->next)))
                p->wrong = instance_wrong(INSTANCE_DROP_OPTIONS);
        else
                instance_parse_l4(ip + 1, end, bytes, p);
}

/**
 * Parse one frame.
 * @param data,end  what may be read; in tc the linear part, at least INSTANCE_HEADERS of it or all
 * @param bytes     length of the whole frame: end - data in XDP, skb->len in tc
 * @param p         filled in; all zero where it does not apply
 * @return false when it is not IP, or has not even an IP header: it is nothing to a front
 */
INSTANCE_INLINE _Bool instance_parse(const void *data, const void *end, __u32 bytes,
                                     struct instance_packet *p)
{
        const struct instance_ether *eth = data;

        __builtin_memset(p, 0, sizeof(*p));
        if (INSTANCE_UNLIKELY(data + INSTANCE_L4_IP4 > end || bytes < INSTANCE_L4_IP4))
                return 0;
        if (eth->type == bpf_htons(INSTANCE_ETHER_IP4)) {
                const struct instance_ip4 *ip = data + INSTANCE_L2;
                if (INSTANCE_UNLIKELY(*(const __u8 *)ip >> 4 != 4))
                        return 0;
                instance_parse_ip4(ip, end, bytes - INSTANCE_L2, p);
                return 1;
        }
        if (eth->type == bpf_htons(INSTANCE_ETHER_IP6)) {
                const struct instance_ip6 *ip = data + INSTANCE_L2;
                if (INSTANCE_UNLIKELY(data + INSTANCE_L4_IP6 > end || bytes < INSTANCE_L4_IP6 ||
                                      *(const __u8 *)ip >> 4 != 6))
                        return 0;
                instance_parse_ip6(ip, end, bytes - INSTANCE_L2, p);
                return 1;
        }
        return 0;
}

/* ---- the hash of a flow ---------------------------------------------------------------------- */

/**
 * The upper half picks the entry of the table, the lower one is for whoever needs another choice by flow
 * (the share that is protected). Two rounds of multiply and fold over client, port and the vip's secret seed.
 */
INSTANCE_INLINE __u64 instance_hash(const struct instance_address *client, __be16 port, __u32 seed)
{
        const __u64 k = 0xd6e8feb86659fd93ULL;
        __u64 h = ((__u64)client->word[3] << 32 | (__u64)port << 16) ^ (__u64)seed * 0x9e3779b97f4a7c15ULL;

        if (!instance_address_is4(client)) {
                h = (h ^ ((__u64)client->word[0] << 32 | client->word[1])) * k;
                h = (h ^ h >> 32 ^ client->word[2]) * k;
        }
        h = (h ^ h >> 32) * k;
        h = (h ^ h >> 32) * k;
        return h ^ h >> 32;
}

/** Where in its vip's row of the Maglev table. */
INSTANCE_INLINE __u32 instance_hash_entry(__u64 hash)
{
        return (__u32)((hash >> 32) * INSTANCE_TABLE >> 32);
}

/* ---- ICMP errors --------------------------------------------------------------------------- */

/** Destination unreachable (and "too big"), time exceeded, parameter problem: they quote a packet. */
INSTANCE_INLINE _Bool instance_is_icmp_error(const struct instance_packet *p)
{
        if (p->wrong)
                return 0;
        if (p->is_v6)
                return p->proto == INSTANCE_PROTO_ICMP6 && p->icmp_type >= INSTANCE_ICMP6_UNREACHABLE &&
                       p->icmp_type <= INSTANCE_ICMP6_PROBLEM;
        return p->proto == INSTANCE_PROTO_ICMP &&
               (p->icmp_type == INSTANCE_ICMP_UNREACHABLE || p->icmp_type == INSTANCE_ICMP_EXCEEDED ||
                p->icmp_type == INSTANCE_ICMP_PROBLEM);
}

/** The least MTU that a path may have: of IPv6 (RFC 8200, 5); below that of IPv4, Linux fragments (ip-sysctl,
 * min_pmtu). */
#define INSTANCE_MTU_LEAST4 552
#define INSTANCE_MTU_LEAST6 1280

/** The MTU that a "too big" tells (RFC 1191, 4; RFC 4443, 3.2). All ones: it is another error. */
INSTANCE_INLINE __u32 instance_icmp_mtu(const void *data, const void *end, const struct instance_packet *p)
{
        const __u8 *at = data + (p->is_v6 ? INSTANCE_L4_IP6 : INSTANCE_L4_IP4);

        if ((const void *)(at + 8) > end)
                return 0xffffffff;
        if (p->is_v6)
                return p->icmp_type == INSTANCE_ICMP6_TOO_BIG ? bpf_ntohl(*(const __be32 *)(at + 4))
                                                              : 0xffffffff;
        if (p->icmp_type != INSTANCE_ICMP_UNREACHABLE || p->icmp_code != INSTANCE_ICMP_TOO_BIG)
                return 0xffffffff;
        return bpf_ntohs(*(const __be16 *)(at + 6));
}

/** The head of the packet that an ICMP error quotes. */
struct instance_quote {
        struct instance_address src, dst;
        __be16 sport, dport;
        __u8 proto;
        __u8 pad;
        __u16 ip, l4; /**< offsets from the start of the frame */
        __u32 seq;    /**< TCP */
};

/**
 * Read what an ICMP error quotes. IP header and ports, which is all that RFC 792 promises.
 * @param p  the error itself: instance_is_icmp_error
 * @return false when it quotes no whole TCP or UDP head
 */
INSTANCE_INLINE _Bool instance_parse_quote(const void *data, const void *end, const struct instance_packet *p,
                                           struct instance_quote *q)
{
        const __be16 *ports;

        __builtin_memset(q, 0, sizeof(*q));
        if (p->is_v6) {
                const struct instance_ip6 *ip = data + INSTANCE_L4_IP6 + 8;
                if ((const void *)(ip + 1) + 8 > end || p->payload_bytes < sizeof(*ip) + 8 ||
                    *(const __u8 *)ip >> 4 != 6)
                        return 0;
                q->src = instance_address_of6(ip->src);
                q->dst = instance_address_of6(ip->dst);
                q->proto = ip->next;
                q->ip = INSTANCE_L4_IP6 + 8;
                q->l4 = INSTANCE_L4_IP6 + 8 + 40;
                ports = (const void *)(ip + 1);
        } else {
                const struct instance_ip4 *ip = data + INSTANCE_L4_IP4 + 8;
                if ((const void *)(ip + 1) + 8 > end || p->payload_bytes < sizeof(*ip) + 8 ||
                    ip->first != 0x45 || (ip->fragment & bpf_htons(0x1fff)))
                        return 0;
                q->src = instance_address_of4(ip->src);
                q->dst = instance_address_of4(ip->dst);
                q->proto = ip->proto;
                q->ip = INSTANCE_L4_IP4 + 8;
                q->l4 = INSTANCE_L4_IP4 + 8 + 20;
                ports = (const void *)(ip + 1);
        }
        if (q->proto != INSTANCE_PROTO_TCP && q->proto != INSTANCE_PROTO_UDP)
                return 0;
        q->sport = ports[0];
        q->dport = ports[1];
        if (q->proto == INSTANCE_PROTO_TCP)
                q->seq = bpf_ntohl(*(const __be32 *)(ports + 2));
        return 1;
}
