// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The shim on a server: see instance_shim_abi.h for what it does and for the agreement with the front.
 *
 * The state of a connection is written without a lock: `high`, `ack` and `told_*` on the way out, the rest on
 * the way in. When the two read each other's stale value, a packet goes to the front whole, and the front
 * does what it does for a standby without a shim.
 */
#include "instance_shim_abi.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stddef.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Of the kernel, 6.9 and later (net/core/filter.c); uapi headers do not have it. */
struct bpf_tcp_req_attrs {
        __u32 rcv_tsval;
        __u32 rcv_tsecr;
        __u16 mss;
        __u8 rcv_wscale;
        __u8 snd_wscale;
        __u8 ecn_ok;
        __u8 wscale_ok;
        __u8 sack_ok;
        __u8 tstamp_ok;
        __u8 usec_ts_ok;
        __u8 reserved[3];
};
struct sock {
};
struct sock_common {
        __u32 skc_tw_rcv_nxt;
} __attribute__((preserve_access_index));
struct inet_timewait_sock {
        struct sock_common __tw_common;
} __attribute__((preserve_access_index));
struct tcp_timewait_sock {
        struct inet_timewait_sock tw_sk;
} __attribute__((preserve_access_index));
extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *listener,
                                   struct bpf_tcp_req_attrs *attrs, int attrs__sz) __ksym;

#define SHIM_STATE_LISTEN    10 /* BPF_TCP_LISTEN */
#define SHIM_STATE_TIME_WAIT 6

/* Of skb->mark: packets that we sent to ourselves. */
#define SHIM_MARK_LET_IN INSTANCE_MARK       /* made here, not to be looked at */
#define SHIM_MARK_AGAIN  (INSTANCE_MARK | 1) /* a third packet for the second time */
#define SHIM_MARK_COPY   (INSTANCE_MARK | 3) /* ... which bore the front's mark */

#define SHIM_FIN 0x01
#define SHIM_SYN 0x02
#define SHIM_RST 0x04
#define SHIM_PSH 0x08
#define SHIM_ACK 0x10

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct instance_shim_settings);
} shim_settings SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, INSTANCE_SHIM_SERVICES);
        __type(key, struct instance_shim_key);
        __type(value, struct instance_shim_service);
} shim_services SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 65536);
        __type(key, struct instance_flow);
        __type(value, struct instance_standby);
} shim_standbys SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, INSTANCE_SHIM_COUNTS_ALL);
        __type(key, __u32);
        __type(value, __u64);
} shim_counts SEC(".maps");

/** A TCP packet, as numbers. */
struct shim_packet {
        struct instance_address from, to;
        __be16 from_port, to_port;
        __u32 seq, ack;
        __u32 payload; /**< bytes */
        __u16 window;
        __u8 flags;
        __u8 is_v6;
        __u8 tos;    /**< DSCP and ECN */
        __u8 tcp_at; /**< offset of the TCP header */
        __u8 tcp_bytes;
        __u8 pad;
        __u16 check;
};

static __always_inline void shim_count(__u32 what, __u64 n)
{
        __u64 *count = bpf_map_lookup_elem(&shim_counts, &what);

        if (count)
                *count += n;
}

/** a behind b, in sequence space. */
static __always_inline bool shim_after(__u32 a, __u32 b)
{
        return (__s32)(a - b) > 0;
}

static __always_inline __u32 shim_earlier(__u32 a, __u32 b)
{
        return shim_after(a, b) ? b : a;
}

static __always_inline void shim_v4(struct instance_address *a, __be32 v4)
{
        a->word[0] = 0;
        a->word[1] = 0;
        a->word[2] = bpf_htonl(0xffff);
        a->word[3] = v4;
}

/** Fill p from an Ethernet frame with TCP in plain IPv4 or IPv6. @return false: something else, not ours */
static __always_inline bool shim_parse(struct __sk_buff *skb, struct shim_packet *p)
{
        struct tcphdr th;
        __u32 bytes;

        __builtin_memset(p, 0, sizeof(*p));
        if (skb->protocol == bpf_htons(ETH_P_IP)) {
                struct iphdr ip;

                if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.ihl != 5 ||
                    ip.protocol != IPPROTO_TCP || (ip.frag_off & bpf_htons(0x3fff)))
                        return false;
                shim_v4(&p->from, ip.saddr);
                shim_v4(&p->to, ip.daddr);
                p->tos = ip.tos;
                p->tcp_at = ETH_HLEN + sizeof(ip);
                bytes = bpf_ntohs(ip.tot_len) - sizeof(ip);
        } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
                struct ipv6hdr ip;

                if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.nexthdr != IPPROTO_TCP)
                        return false;
                __builtin_memcpy(&p->from, &ip.saddr, 16);
                __builtin_memcpy(&p->to, &ip.daddr, 16);
                p->is_v6 = 1;
                p->tos = (__u8)(ip.priority << 4 | ip.flow_lbl[0] >> 4);
                p->tcp_at = ETH_HLEN + sizeof(ip);
                bytes = bpf_ntohs(ip.payload_len);
        } else {
                return false;
        }
        if (bpf_skb_load_bytes(skb, p->tcp_at, &th, sizeof(th)) || th.doff < 5)
                return false;
        /* Over 64 KiB (segmentation of IPv6) the length field says nothing; a short frame may be padded. */
        if (!bytes || bytes > skb->len - p->tcp_at)
                bytes = skb->len - p->tcp_at;
        p->tcp_bytes = (__u8)(th.doff * 4);
        if (bytes < p->tcp_bytes)
                return false;
        p->payload = bytes - p->tcp_bytes;
        p->from_port = th.source;
        p->to_port = th.dest;
        p->seq = bpf_ntohl(th.seq);
        p->ack = bpf_ntohl(th.ack_seq);
        p->window = bpf_ntohs(th.window);
        p->flags = ((__u8 *)&th)[13];
        p->check = th.check;
        return true;
}

static __always_inline struct instance_shim_service *shim_service(const struct instance_address *address,
                                                                  __be16 port)
{
        struct instance_shim_key key = {.address = *address, .port = port};

        return bpf_map_lookup_elem(&shim_services, &key);
}

/* ---- in ------------------------------------------------------------------------------------ */

/** The front's mark is between it and us: the socket does not see it. */
static __always_inline void shim_unmark(struct __sk_buff *skb, struct shim_packet *p)
{
        __u8 tos = p->tos & 3;

        if (!p->is_v6) {
                bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), bpf_htons(p->tos),
                                    bpf_htons(tos), 2);
                bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, tos), &tos, 1, 0);
        } else {
                __u8 first[2];

                if (bpf_skb_load_bytes(skb, ETH_HLEN, first, 2))
                        return;
                first[0] = (first[0] & 0xf0) | tos >> 4;
                first[1] = (first[1] & 0x0f) | (__u8)(tos << 4);
                /* A hardware sum over the frame (CHECKSUM_COMPLETE) must follow. */
                bpf_skb_store_bytes(skb, ETH_HLEN, first, 2, BPF_F_RECOMPUTE_CSUM);
        }
        p->tos = tos;
}

/** SACK blocks are about the primary's bytes: to the standby they may name what it has not sent. */
static __always_inline void shim_blank_options(struct __sk_buff *skb, const struct shim_packet *p)
{
        __be32 nops = bpf_htonl(0x01010101), word;

        for (__u32 i = 0; i < 10; i++) {
                __u32 at = sizeof(struct tcphdr) + i * 4;

                if (at + 4 > p->tcp_bytes || bpf_skb_load_bytes(skb, p->tcp_at + at, &word, 4))
                        break;
                bpf_l4_csum_replace(skb, p->tcp_at + offsetof(struct tcphdr, check), word, nops, 4);
                bpf_skb_store_bytes(skb, p->tcp_at + at, &nops, 4, 0);
        }
}

static __always_inline __u16 shim_window(const struct instance_standby *s, __u32 ack)
{
        __u32 open = s->edge - ack;

        if ((__s32)open <= 0)
                return 0;
        open >>= s->wscale & 15;
        return open > 65535 ? 65535 : (__u16)open;
}

/** A packet of the client for a standby: acknowledge no more than it has sent, end the window where the front
 * ended it. */
static __always_inline int shim_gate(struct __sk_buff *skb, struct shim_packet *p, struct instance_standby *s)
{
        __u32 next = p->seq + p->payload + (p->flags & SHIM_FIN), ack;
        __u32 edge = p->ack + ((__u32)p->window << (s->wscale & 15));
        __be32 word, old_word;
        __be16 window, old_window;

        if (!(p->flags & SHIM_ACK))
                return TC_ACT_UNSPEC;
        if (!shim_after(s->c_ack, p->ack)) {
                s->c_ack = p->ack;
                s->edge = edge;
        } else if (shim_after(edge, s->edge)) {
                /* The front may know less than we how far we are, but not less about the window. */
                s->edge = edge;
        }
        if (shim_after(next, s->c_next))
                s->c_next = next;
        ack = shim_earlier(p->ack, s->high);
        /* Once we serve, the client's blocks are about what we sent ourselves. */
        if (p->tcp_bytes > sizeof(struct tcphdr) &&
            (!(s->flags & INSTANCE_SHIM_IS_PROMOTED) || ack != p->ack))
                shim_blank_options(skb, p);
        if (ack == p->ack)
                return TC_ACT_UNSPEC;
        old_word = bpf_htonl(p->ack);
        word = bpf_htonl(ack);
        old_window = bpf_htons(p->window);
        window = bpf_htons(shim_window(s, ack));
        bpf_l4_csum_replace(skb, p->tcp_at + offsetof(struct tcphdr, check), old_word, word, 4);
        bpf_l4_csum_replace(skb, p->tcp_at + offsetof(struct tcphdr, check), old_window, window, 2);
        bpf_skb_store_bytes(skb, p->tcp_at + offsetof(struct tcphdr, ack_seq), &word, 4, 0);
        bpf_skb_store_bytes(skb, p->tcp_at + offsetof(struct tcphdr, window), &window, 2, 0);
        return TC_ACT_UNSPEC;
}

/** A packet of a connection that we are the standby of. */
static __always_inline int shim_standby_in(struct __sk_buff *skb, struct shim_packet *p,
                                           struct instance_flow *flow, struct instance_standby *s,
                                           bool is_copy)
{
        /* 1. The front gave this standby up, or the client is gone: so is what we held back. The socket
         * judges the reset by itself. */
        if (p->flags & SHIM_RST) {
                bpf_map_delete_elem(&shim_standbys, flow);
                return TC_ACT_UNSPEC;
        }
        if (is_copy) {
                shim_count(INSTANCE_SHIM_COPIES_COUNT, 1);
                s->flags &= ~INSTANCE_SHIM_IS_PROMOTED;
                return shim_gate(skb, p, s);
        }
        /* 2. Promotion is told by the absence of a mark, so whoever can send here could tell it: it must fit.
         */
        if (p->seq - (s->ack - 65536) > 65536 + (1U << 22) ||
            p->ack - (s->c_ack - (1U << 22)) > (1U << 22) + (1U << 26)) {
                shim_count(INSTANCE_SHIM_FORGED_COUNT, 1);
                return TC_ACT_SHOT;
        }
        /* 3. The window is the client's own now. What it has from A and we have not sent yet must be
         *    acknowledged step by step as before, and it may have been but a question of the front's: so the
         *    state is kept, and the next copy makes us the standby again. */
        if (!(s->flags & INSTANCE_SHIM_IS_PROMOTED)) {
                s->flags |= INSTANCE_SHIM_IS_PROMOTED;
                shim_count(INSTANCE_SHIM_PROMOTED_COUNT, 1);
        }
        return shim_gate(skb, p, s);
}

static __always_inline struct bpf_sock *shim_lookup(struct __sk_buff *skb, const struct shim_packet *p)
{
        struct bpf_sock_tuple t = {};

        if (p->is_v6) {
                __builtin_memcpy(t.ipv6.saddr, &p->from, 16);
                t.ipv6.sport = p->from_port;
                __builtin_memcpy(t.ipv6.daddr, &p->to, 16);
                t.ipv6.dport = p->to_port;
                return bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
        }
        t.ipv4.saddr = p->from.word[3];
        t.ipv4.sport = p->from_port;
        t.ipv4.daddr = p->to.word[3];
        t.ipv4.dport = p->to_port;
        return bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/** Make a socket of a listener for this packet. @return 0 or the kernel's error */
static __always_inline int shim_assign(struct __sk_buff *skb, const struct shim_packet *p,
                                       struct bpf_sock *found, const struct instance_offer *offer)
{
        struct bpf_tcp_req_attrs attrs = {};
        struct tcp_sock *listener = bpf_skc_to_tcp_sock(found);

        if (!listener)
                return -1;
        attrs.mss = offer->mss;
        if (p->is_v6 && attrs.mss < 1220)
                attrs.mss = 1220; /* IPv6's least MTU less headers; the kernel takes no less */
        if (offer->wscale != INSTANCE_COOKIE_NO_WSCALE) {
                attrs.wscale_ok = 1;
                attrs.snd_wscale = offer->wscale;
                attrs.rcv_wscale = INSTANCE_COOKIE_WSCALE;
        }
        attrs.sack_ok = offer->has_sack;
        return bpf_sk_assign_tcp_reqsk(skb, (struct sock *)listener, &attrs, sizeof(attrs));
}

enum shim_found { SHIM_NOBODY, SHIM_LISTENS, SHIM_EXISTS, SHIM_BUILT, SHIM_REFUSED, SHIM_WAITS };

/** Is there a socket for this packet? With an offer, make one where there is not. @param next  of WAITS: the
 * number that it takes next */
static __always_inline enum shim_found shim_socket(struct __sk_buff *skb, const struct shim_packet *p,
                                                   const struct instance_offer *offer, __u32 *next)
{
        struct bpf_sock *found = shim_lookup(skb, p);
        enum shim_found is = SHIM_EXISTS;

        if (!found)
                return SHIM_NOBODY;
        if (found->state == SHIM_STATE_LISTEN) {
                is = SHIM_LISTENS;
                if (offer)
                        is = shim_assign(skb, p, found, offer) ? SHIM_REFUSED : SHIM_BUILT;
        } else if (found->state == SHIM_STATE_TIME_WAIT) {
                struct tcp_timewait_sock *tw = bpf_skc_to_tcp_timewait_sock(found);

                if (tw) {
                        *next = tw->tw_sk.__tw_common.skc_tw_rcv_nxt;
                        is = SHIM_WAITS;
                }
        }
        bpf_sk_release(found);
        return is;
}

/**
 * The client comes again from a port whose last connection we closed: what is left of that one holds the
 * place. A SYN would have taken it away; here a reset does (as long as net.ipv4.tcp_rfc1337 is 0), which goes
 * in first, and then the packet comes in again.
 */
static __always_inline int shim_make_room(struct __sk_buff *skb, const struct shim_packet *p, __u32 next,
                                          bool is_copy)
{
        __u32 check = p->tcp_at + offsetof(struct tcphdr, check),
              at = p->tcp_at + offsetof(struct tcphdr, seq);
        __be32 was = bpf_htonl(p->seq), is = bpf_htonl(next);
        __be16 flags, reset;

        if (bpf_skb_load_bytes(skb, p->tcp_at + 12, &flags, 2))
                return TC_ACT_SHOT;
        reset = (flags & bpf_htons(0xff00)) | bpf_htons(SHIM_RST);
        bpf_l4_csum_replace(skb, check, was, is, 4);
        bpf_l4_csum_replace(skb, check, flags, reset, 2);
        bpf_skb_store_bytes(skb, at, &is, 4, 0);
        bpf_skb_store_bytes(skb, p->tcp_at + 12, &reset, 2, 0);
        skb->mark = SHIM_MARK_LET_IN;
        bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
        bpf_l4_csum_replace(skb, check, is, was, 4);
        bpf_l4_csum_replace(skb, check, reset, flags, 2);
        bpf_skb_store_bytes(skb, at, &was, 4, 0);
        bpf_skb_store_bytes(skb, p->tcp_at + 12, &flags, 2, 0);
        skb->mark = is_copy ? SHIM_MARK_COPY : SHIM_MARK_AGAIN;
        return (int)bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/** A third packet with a number that a front gave. */
static __always_inline int shim_third(struct __sk_buff *skb, struct shim_packet *p,
                                      struct instance_flow *flow, const struct instance_offer *offer,
                                      bool is_copy, bool is_again)
{
        __u32 next = 0;
        struct instance_standby fresh = {
                .wscale = offer->wscale == INSTANCE_COOKIE_NO_WSCALE ? 0 : offer->wscale,
                .c_ack = p->ack,
                .edge = p->ack,
                .high = p->ack,
                .ack = p->seq,
                .c_next = p->seq,
        };
        struct instance_standby *s;

        switch (shim_socket(skb, p, offer, &next)) {
        case SHIM_BUILT:
                shim_count(INSTANCE_SHIM_BUILT_COUNT, 1);
                /* What we know under this name is of an earlier connection. */
                if (!is_copy) {
                        bpf_map_delete_elem(&shim_standbys, flow);
                        return TC_ACT_UNSPEC;
                }
                if (!bpf_map_update_elem(&shim_standbys, flow, &fresh, BPF_ANY))
                        shim_count(INSTANCE_SHIM_STANDBY_COUNT, 1);
                break;
        case SHIM_WAITS:
                if (!is_again)
                        return shim_make_room(skb, p, next, is_copy);
                shim_count(INSTANCE_SHIM_REFUSED_COUNT, 1);
                return TC_ACT_SHOT;
        case SHIM_REFUSED:
                shim_count(INSTANCE_SHIM_REFUSED_COUNT, 1);
                return TC_ACT_SHOT;
        case SHIM_NOBODY:
        case SHIM_LISTENS:
                shim_count(INSTANCE_SHIM_NO_LISTENER_COUNT, 1);
                return TC_ACT_UNSPEC;
        case SHIM_EXISTS:
                break;
        }
        s = bpf_map_lookup_elem(&shim_standbys, flow);
        return s ? shim_standby_in(skb, p, flow, s, is_copy) : TC_ACT_UNSPEC;
}

SEC("tc")
int instance_shim_in(struct __sk_buff *skb)
{
        struct instance_shim_settings *settings;
        struct instance_shim_service *service;
        struct instance_standby *s;
        struct instance_flow flow = {};
        struct instance_offer offer;
        struct shim_packet p;
        __u32 zero = 0, mark = skb->mark, next;
        bool is_copy, is_again = mark == SHIM_MARK_AGAIN || mark == SHIM_MARK_COPY;

        /* 1. What we turned back ourselves. */
        if (mark == SHIM_MARK_LET_IN || is_again)
                skb->mark = 0;
        if (mark == SHIM_MARK_LET_IN)
                return TC_ACT_UNSPEC;
        settings = bpf_map_lookup_elem(&shim_settings, &zero);
        if (!settings || !shim_parse(skb, &p))
                return TC_ACT_UNSPEC;
        service = shim_service(&p.to, p.to_port);
        if (!service)
                return TC_ACT_UNSPEC;
        is_copy = p.tos >> 2 == settings->dscp;
        if (is_copy)
                shim_unmark(skb, &p);
        is_copy |= mark == SHIM_MARK_COPY;
        flow.client = p.from;
        flow.port = p.from_port;
        flow.vip = service->number;

        /* 2. It brings a front's number back: the first packet, or one of the first again. Asked before the
         *    table of standbys, which may hold an earlier connection from the same port. */
        if ((p.flags & (SHIM_SYN | SHIM_RST | SHIM_ACK)) == SHIM_ACK &&
            instance_cookie_read(&service->keys, &p.from, p.from_port, p.seq - 1,
                                 instance_cookie_epoch(bpf_ktime_get_ns() + settings->clock_ns),
                                 INSTANCE_COOKIE_SHIM_BACK, INSTANCE_COOKIE_SHIM_AHEAD, p.ack - 1, &offer))
                return shim_third(skb, &p, &flow, &offer, is_copy, is_again);

        /* 3. Of a connection that we stand by for. */
        s = bpf_map_lookup_elem(&shim_standbys, &flow);
        if (s)
                return shim_standby_in(skb, &p, &flow, s, is_copy);

        /* 4. A copy of what we do not know. Answering it with a reset would only cost the front: the client
         *    sends its first bytes again, and they bring the number back. */
        if (is_copy) {
                if (shim_socket(skb, &p, NULL, &next) != SHIM_EXISTS) {
                        shim_count(INSTANCE_SHIM_LOST_COUNT, 1);
                        return TC_ACT_SHOT;
                }
                shim_count(INSTANCE_SHIM_UNKEPT_COUNT, 1);
        }
        return TC_ACT_UNSPEC;
}

/* ---- out ----------------------------------------------------------------------------------- */

static __always_inline __u16 shim_fold(__s64 sum)
{
        __u64 s = (__u64)sum & 0xffffffff;

        s = (s & 0xffff) + (s >> 16);
        s = (s & 0xffff) + (s >> 16);
        return (__u16)s;
}

/** Sum of the pseudo header (RFC 9293, 3.1), not folded. */
static __always_inline __s64 shim_pseudo(const struct shim_packet *p, __u32 tcp_bytes)
{
        __be32 rest[2] = {bpf_htonl(tcp_bytes), bpf_htonl(IPPROTO_TCP)};
        struct instance_address from = p->from, to = p->to;
        __s64 sum;

        /* An IPv4 address is the last word; what stands before it in ours is not summed. */
        if (!p->is_v6)
                from.word[2] = to.word[2] = 0;
        sum = bpf_csum_diff(NULL, 0, from.word, 16, 0);
        sum = bpf_csum_diff(NULL, 0, to.word, 16, (__u32)sum);
        return bpf_csum_diff(NULL, 0, rest, 8, (__u32)sum);
}

/** A TCP header without options, and its two ways of being summed. */
struct shim_header {
        __be16 source, dest;
        __be32 seq, ack;
        __u8 offset, flags;
        __be16 window;
        __u16 check;
        __u16 urgent;
};

/** Write one over the packet's, which has been cut to 20 bytes of TCP. */
static __always_inline void shim_header_put(struct __sk_buff *skb, const struct shim_packet *p,
                                            struct shim_header *h, bool is_partial)
{
        __s64 sum = shim_pseudo(p, sizeof(*h));

        h->check = 0;
        if (is_partial)
                h->check = shim_fold(sum);
        else
                h->check = (__u16)~shim_fold(bpf_csum_diff(NULL, 0, (__be32 *)h, sizeof(*h), (__u32)sum));
        bpf_skb_store_bytes(skb, p->tcp_at, h, sizeof(*h), 0);
}

/** Cut to the headers and say so in the IP header. */
static __always_inline bool shim_cut(struct __sk_buff *skb, const struct shim_packet *p)
{
        __be16 length, was;

        if (bpf_skb_change_tail(skb, p->tcp_at + sizeof(struct tcphdr), 0))
                return false;
        if (p->is_v6) {
                length = bpf_htons(sizeof(struct tcphdr));
                bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &length, 2, 0);
                return true;
        }
        length = bpf_htons(sizeof(struct iphdr) + sizeof(struct tcphdr));
        if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, tot_len), &was, 2))
                return false;
        bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), was, length, 2);
        bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, tot_len), &length, 2, 0);
        return true;
}

/** Exchange the two ends in the Ethernet and IP headers. */
static __always_inline void shim_turn(struct __sk_buff *skb, const struct shim_packet *p)
{
        __u8 mac[12], turned[12];

        if (bpf_skb_load_bytes(skb, 0, mac, 12))
                return;
        __builtin_memcpy(turned, mac + 6, 6);
        __builtin_memcpy(turned + 6, mac, 6);
        bpf_skb_store_bytes(skb, 0, turned, 12, 0);
        if (p->is_v6) {
                struct instance_address both[2] = {p->to, p->from};

                bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), both, 32, 0);
        } else {
                __be32 both[2] = {p->to.word[3], p->from.word[3]};

                bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, saddr), both, 8, 0);
        }
}

/** Is it time to tell the front how far we are? */
static __always_inline bool shim_is_news(const struct instance_standby *s, const struct shim_packet *p,
                                         __u32 end, __u64 now_ns)
{
        return !(s->flags & INSTANCE_SHIM_TOLD) || p->ack != s->told_ack || p->window != s->told_window ||
               (p->flags & SHIM_FIN) || (p->flags & SHIM_PSH) ||
               end - s->told_high >= INSTANCE_SHIM_REPORT_BYTES ||
               now_ns - s->told_ns >= INSTANCE_SHIM_REPORT_NS;
}

static __always_inline void shim_told(struct instance_standby *s, const struct shim_packet *p, __u32 end,
                                      __u64 now_ns)
{
        s->told_high = end;
        s->told_ack = p->ack;
        s->told_window = p->window;
        s->told_ns = now_ns;
        s->flags |= INSTANCE_SHIM_TOLD;
}

/** Bytes that the client has already: acknowledge them to our own socket, in the client's name. */
static __always_inline int shim_reflect(struct __sk_buff *skb, const struct shim_packet *p,
                                        struct instance_standby *s, __u32 end)
{
        bool is_partial = p->check == shim_fold(shim_pseudo(p, p->tcp_bytes + p->payload));
        __u32 ack = shim_earlier(s->c_ack, s->high), mark = skb->mark;
        __u64 now_ns = bpf_ktime_get_ns();
        struct shim_header h = {
                .source = p->to_port,
                .dest = p->from_port,
                .seq = bpf_htonl(p->ack),
                .ack = bpf_htonl(ack),
                .offset = 5 << 4,
                .flags = SHIM_ACK,
                .window = bpf_htons(shim_window(s, ack)),
        };

        if (!shim_cut(skb, p))
                return TC_ACT_UNSPEC;
        shim_turn(skb, p);
        shim_header_put(skb, p, &h, is_partial);
        shim_count(INSTANCE_SHIM_REFLECTED_COUNT, 1);
        shim_count(INSTANCE_SHIM_REFLECTED_BYTES_COUNT, p->payload);
        skb->mark = SHIM_MARK_LET_IN;
        if (!shim_is_news(s, p, end, now_ns))
                return (int)bpf_redirect(skb->ifindex, BPF_F_INGRESS);

        bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
        skb->mark = mark;
        shim_told(s, p, end, now_ns);
        struct shim_packet back = *p;
        back.from = p->to;
        back.to = p->from;
        shim_turn(skb, &back);
        h.source = p->from_port;
        h.dest = p->to_port;
        h.seq = bpf_htonl(end);
        h.ack = bpf_htonl(p->ack);
        h.flags = SHIM_ACK | (p->flags & SHIM_FIN);
        h.window = bpf_htons(p->window);
        shim_header_put(skb, p, &h, is_partial);
        shim_count(INSTANCE_SHIM_REPORTED_COUNT, 1);
        return TC_ACT_UNSPEC;
}

SEC("tc")
int instance_shim_out(struct __sk_buff *skb)
{
        struct instance_shim_service *service;
        struct instance_standby *s;
        struct instance_flow flow = {};
        struct shim_packet p;
        __u32 end, high;

        if (!shim_parse(skb, &p))
                return TC_ACT_UNSPEC;
        service = shim_service(&p.from, p.from_port);
        if (!service)
                return TC_ACT_UNSPEC;
        flow.client = p.to;
        flow.port = p.to_port;
        flow.vip = service->number;
        s = bpf_map_lookup_elem(&shim_standbys, &flow);
        if (!s)
                return TC_ACT_UNSPEC;

        /* 1. How far we are. A FIN takes a number too, and what acknowledges it must pass the gate. */
        end = p.seq + p.payload;
        high = end + (p.flags & SHIM_FIN);
        if (shim_after(high, s->high))
                s->high = high;
        if (p.flags & SHIM_ACK)
                s->ack = p.ack;
        /* 2. Our own process gave up: the front shall know, and there is nothing to hold back. */
        if (p.flags & SHIM_RST) {
                bpf_map_delete_elem(&shim_standbys, &flow);
                return TC_ACT_UNSPEC;
        }
        /* 3. Bare packets are what the front needs, zero-window probes among them. */
        if (!p.payload) {
                shim_told(s, &p, end, bpf_ktime_get_ns());
                return TC_ACT_UNSPEC;
        }
        /* 4. Bytes that the client lacks: the front has asked for them, or we serve now. */
        if (shim_after(end, s->c_ack)) {
                if (!(s->flags & INSTANCE_SHIM_IS_PROMOTED))
                        shim_count(INSTANCE_SHIM_WHOLE_COUNT, 1);
                shim_told(s, &p, end, bpf_ktime_get_ns());
                return TC_ACT_UNSPEC;
        }
        return shim_reflect(skb, &p, s, end);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
