#pragma once
/* The front's part of aligned mode: answer a SYN without keeping anything, know the third packet, mark copies
 * for the standby's shim. BPF only; instance_cookie.h says what a cookie is. */
#include "instance_cookie.h"
#include "instance_parse.h"

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, INSTANCE_VIPS_MAX);
        __type(key, __u32);
        __type(value, struct instance_cookie_vip);
} instance_cookies SEC(".maps");

/** What a vip's cookies are made of; NULL: no key is in force, so no SYN can be answered here. */
INSTANCE_INLINE const struct instance_cookie_vip *instance_cookies_of(__u32 vip, __u64 *epoch)
{
        const struct instance_cookie_vip *c = bpf_map_lookup_elem(&instance_cookies, &vip);

        if (!c)
                return NULL;
        *epoch = instance_cookie_epoch(bpf_ktime_get_ns() + c->clock_ns);
        return instance_cookie_key_of(&c->keys, *epoch) ? c : NULL;
}

/* ---- the SYN's options --------------------------------------------------------------------- */

#define INSTANCE_OPTIONS_MOST 40
struct instance_cookie_walk {
        __u8 bytes[64]; /* 40 and room for reading over the end */
        __u32 at, end;
        struct instance_offer offer;
};

/* One option a call. @return 1: no more */
static long instance_cookie_option(__u32 i, struct instance_cookie_walk *w)
{
        __u32 at = w->at, left = w->end - at, length;
        const __u8 *o;

        if (at >= w->end || at >= INSTANCE_OPTIONS_MOST)
                return 1;
        o = w->bytes + at;
        if (o[0] == 0)
                return 1;
        if (o[0] == 1) {
                w->at++;
                return 0;
        }
        length = o[1];
        if (length < 2 || length > left)
                return 1;
        if (o[0] == 2 && length == 4)
                w->offer.mss = (__u16)(o[2] << 8 | o[3]);
        else if (o[0] == 3 && length == 3)
                w->offer.wscale = o[2] > 14 ? 14 : o[2]; /* RFC 7323, 2.3: more means 14 */
        else if (o[0] == 4 && length == 2)
                w->offer.has_sack = 1;
        w->at = at + length;
        return 0;
}

INSTANCE_INLINE void instance_cookie_offer(struct __sk_buff *skb, const struct instance_packet *p,
                                           struct instance_offer *offer)
{
        struct instance_cookie_walk w = {};
        __u32 bytes = p->options;

        w.offer.mss = p->is_v6 ? 1220 : 536; /* RFC 9293, 3.7.1, without the option */
        w.offer.wscale = INSTANCE_COOKIE_NO_WSCALE;
        /* So that the bounds are tested on the register that is used. */
        asm volatile("" : "+r"(bytes));
        if (bytes > 0 && bytes <= INSTANCE_OPTIONS_MOST &&
            !bpf_skb_load_bytes(skb, p->l4 + 20, w.bytes, bytes)) {
                w.end = bytes;
                bpf_loop(INSTANCE_OPTIONS_MOST, instance_cookie_option, &w, 0);
        }
        *offer = w.offer;
}

/* ---- the answer ---------------------------------------------------------------------------- */

INSTANCE_INLINE __u16 instance_cookie_fold(__s64 sum)
{
        __u64 s = (__u64)sum & 0xffffffff;

        s = (s & 0xffff) + (s >> 16);
        s = (s & 0xffff) + (s >> 16);
        return (__u16)s;
}

/** Sum of the pseudo header; the order of the two addresses does not matter to it. */
INSTANCE_INLINE __s64 instance_cookie_pseudo(const struct instance_packet *p, __u32 tcp_bytes)
{
        __be32 rest[2] = {bpf_htonl(tcp_bytes), bpf_htonl(INSTANCE_PROTO_TCP)};
        struct instance_address a = p->src, b = p->dst;
        __s64 sum;

        if (!p->is_v6)
                a.word[2] = b.word[2] = 0;
        sum = bpf_csum_diff(NULL, 0, a.word, 16, 0);
        sum = bpf_csum_diff(NULL, 0, b.word, 16, (__u32)sum);
        return bpf_csum_diff(NULL, 0, rest, 8, (__u32)sum);
}

/* MSS, SACK permitted, window scale: each in its place or no-operations there. */
struct instance_syn_ack {
        struct instance_tcp tcp;
        __u8 options[12];
} __attribute__((packed));

/**
 * Turn a SYN into its SYN-ACK, in place. The caller sends it back where it came from.
 * @param p  a SYN without ACK, RST and FIN, parsed from skb; void afterwards
 * @return 0, or -1: no room to edit (INSTANCE_DROP_NO_ROOM)
 */
INSTANCE_INLINE int instance_cookie_answer(struct __sk_buff *skb, const struct instance_packet *p,
                                           const struct instance_cookie_vip *c, __u64 epoch)
{
        const struct instance_cookie_key *key = instance_cookie_key_of(&c->keys, epoch);
        struct instance_offer offer;
        struct instance_syn_ack a;
        __u16 mss = p->is_v6 ? c->mss6 : c->mss4, was_check;
        __u8 mac[12], turned[12];
        bool is_partial;
        __s64 sum;

        if (!key)
                return -1;
        instance_cookie_offer(skb, p, &offer);
        if (bpf_skb_load_bytes(skb, p->l4 + offsetof(struct instance_tcp, check), &was_check, 2) ||
            bpf_skb_load_bytes(skb, 0, mac, 12))
                return -1;
        /* A SYN from this machine (a veth) holds only the pseudo header's sum; the rest is added on its way
         * out, to the answer as well. */
        is_partial = was_check ==
                     instance_cookie_fold(instance_cookie_pseudo(p, 20U + p->options + p->payload_bytes));
        if (bpf_skb_change_tail(skb, p->l4 + sizeof(a), 0))
                return -1;

        __builtin_memcpy(turned, mac + 6, 6);
        __builtin_memcpy(turned + 6, mac, 6);
        bpf_skb_store_bytes(skb, 0, turned, 12, 0);
        if (p->is_v6) {
                struct instance_ip6 ip = {.first = bpf_htonl(6U << 28),
                                          .payload = bpf_htons(sizeof(a)),
                                          .next = INSTANCE_PROTO_TCP,
                                          .ttl = 64};
                __builtin_memcpy(ip.src, &p->dst, 16);
                __builtin_memcpy(ip.dst, &p->src, 16);
                bpf_skb_store_bytes(skb, INSTANCE_L2, &ip, sizeof(ip), 0);
        } else {
                struct instance_ip4 ip = {.first = 0x45,
                                          .length = bpf_htons(sizeof(ip) + sizeof(a)),
                                          .fragment = bpf_htons(0x4000),
                                          .ttl = 64,
                                          .proto = INSTANCE_PROTO_TCP,
                                          .src = p->dst.word[3],
                                          .dst = p->src.word[3]};
                ip.check = (__u16)~instance_cookie_fold(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
                bpf_skb_store_bytes(skb, INSTANCE_L2, &ip, sizeof(ip), 0);
        }

        __builtin_memset(&a, 0, sizeof(a));
        a.tcp.sport = p->dport;
        a.tcp.dport = p->sport;
        a.tcp.seq = bpf_htonl(instance_cookie_make(key, &p->src, p->sport, p->seq, epoch, &offer));
        a.tcp.ack = bpf_htonl(p->seq + 1);
        a.tcp.words = sizeof(a) / 4 << 4;
        a.tcp.flags = INSTANCE_TCP_SYN | INSTANCE_TCP_ACK;
        a.tcp.window = bpf_htons(INSTANCE_COOKIE_WINDOW);
        __builtin_memset(a.options, 1, sizeof(a.options));
        a.options[0] = 2;
        a.options[1] = 4;
        a.options[2] = (__u8)(mss >> 8);
        a.options[3] = (__u8)mss;
        if (offer.has_sack) {
                a.options[6] = 4;
                a.options[7] = 2;
        }
        if (offer.wscale != INSTANCE_COOKIE_NO_WSCALE) {
                a.options[9] = 3;
                a.options[10] = 3;
                a.options[11] = INSTANCE_COOKIE_WSCALE;
        }
        sum = instance_cookie_pseudo(p, sizeof(a));
        if (is_partial)
                a.tcp.check = instance_cookie_fold(sum);
        else
                a.tcp.check = (__u16)~instance_cookie_fold(
                        bpf_csum_diff(NULL, 0, (__be32 *)&a, sizeof(a), (__u32)sum));
        bpf_skb_store_bytes(skb, p->l4, &a, sizeof(a), 0);
        return 0;
}

/** Is this a third packet, or the first with bytes in its place, that brings one of our numbers back? */
INSTANCE_INLINE bool instance_cookie_third(const struct instance_packet *p,
                                           const struct instance_cookie_vip *c, __u64 epoch,
                                           struct instance_offer *offer)
{
        return (p->tcp_flags & (INSTANCE_TCP_SYN | INSTANCE_TCP_RST | INSTANCE_TCP_ACK)) ==
                       INSTANCE_TCP_ACK &&
               instance_cookie_read(&c->keys, &p->src, p->sport, p->seq - 1, epoch,
                                    INSTANCE_COOKIE_FRONT_BACK, INSTANCE_COOKIE_FRONT_AHEAD, p->ack - 1,
                                    offer);
}

/* ---- the mark ------------------------------------------------------------------------------ */

/** Set DSCP, leaving ECN. Every packet to a server with a shim gets one or the other, so that no client can
 * choose. @param tos  of the packet now */
INSTANCE_INLINE void instance_dscp_set(struct __sk_buff *skb, bool is_v6, __u8 tos, __u8 dscp)
{
        __u8 now = (__u8)(dscp << 2 | (tos & 3));

        if (now == tos)
                return;
        if (is_v6) {
                __u8 first[2];

                if (bpf_skb_load_bytes(skb, INSTANCE_L2, first, 2))
                        return;
                first[0] = (first[0] & 0xf0) | now >> 4;
                first[1] = (first[1] & 0x0f) | (__u8)(now << 4);
                bpf_skb_store_bytes(skb, INSTANCE_L2, first, 2, BPF_F_RECOMPUTE_CSUM);
                return;
        }
        bpf_l3_csum_replace(skb, INSTANCE_L2 + offsetof(struct instance_ip4, check), bpf_htons(tos),
                            bpf_htons(now), 2);
        bpf_skb_store_bytes(skb, INSTANCE_L2 + offsetof(struct instance_ip4, tos), &now, 1, 0);
}
