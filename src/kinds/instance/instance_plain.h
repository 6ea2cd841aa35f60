#pragma once
/*
 * Forwarding without state, for XDP and tc: whose packet is it, which server gets it, what is written into
 * it, where does it leave. BPF only.
 *
 *   instance_find     to a vip, an answer from a server, for a served address but nobody's, or not ours
 *   instance_choose   the server of a flow: hash with the vip's seed, one look into the Maglev table
 *   instance_xdp_*    write into the frame: checksums there are always complete (RFC 1624, equation 3)
 *   instance_tc_*     write through helpers: a checksum may be partial there, and the skb may keep a sum
 *
 * A server that is DEAD or LEAVING is still in the table until user space has built the next one; its
 * entry's standby serves meanwhile.
 *
 * Hops: a front is a router. What it sends on has one hop less, and what has none left goes to the kernel.
 */
#include "instance_maps.h"

#include <stddef.h>

/* ---- whose packet ---------------------------------------------------------------------------- */

enum instance_role {
        INSTANCE_NOT_OURS,
        INSTANCE_TO_VIP,     /* found.vip */
        INSTANCE_TO_ADDRESS, /* a served address; no port or protocol of it, or found.vip and p->wrong */
        INSTANCE_FROM_SERVER /* found.back */
};

struct instance_found {
        const struct instance_vip *vip;
        const struct instance_back *back;
};

INSTANCE_INLINE const struct instance_vip *instance_vip_of(const struct instance_address *address,
                                                           __be16 port, __u8 proto)
{
        struct instance_vip_key key = {.address = *address, .port = port, .proto = proto};
        return bpf_map_lookup_elem(&instance_vips, &key);
}

INSTANCE_INLINE const struct instance_back *instance_back_of(const struct instance_address *address,
                                                             __be16 port, __u8 proto, const __u8 *mac)
{
        struct instance_back_key key = {.address = *address, .port = port, .proto = proto};
        if (mac)
                __builtin_memcpy(key.mac, mac, 6);
        return bpf_map_lookup_elem(&instance_back, &key);
}

/**
 * @param mac  the sender's, as in the frame
 */
INSTANCE_INLINE enum instance_role instance_find(const struct instance_packet *p, const __u8 *mac,
                                                 struct instance_found *f)
{
        f->vip = NULL;
        f->back = NULL;
        /* 1. What has no ports belongs to an address at most. */
        if (p->wrong || (p->proto != INSTANCE_PROTO_TCP && p->proto != INSTANCE_PROTO_UDP))
                return instance_vip_of(&p->dst, 0, 0) ? INSTANCE_TO_ADDRESS : INSTANCE_NOT_OURS;
        /* 2. The ways that most packets take. */
        f->vip = instance_vip_of(&p->dst, p->dport, p->proto);
        if (f->vip)
                return INSTANCE_TO_VIP;
        f->back = instance_back_of(&p->src, p->sport, p->proto, NULL);
        if (f->back)
                return INSTANCE_FROM_SERVER;
        /* 3. Addresses that are served on every port, and ports that nobody serves. */
        f->vip = instance_vip_of(&p->dst, 0, p->proto);
        if (f->vip)
                return INSTANCE_TO_VIP;
        if (instance_vip_of(&p->dst, 0, 0))
                return INSTANCE_TO_ADDRESS;
        /* 4. Servers that are known by their MAC address, or answer for every port. */
        f->back = instance_back_of(&p->src, p->sport, p->proto, mac);
        if (!f->back)
                f->back = instance_back_of(&p->src, 0, p->proto, NULL);
        if (!f->back)
                f->back = instance_back_of(&p->src, 0, p->proto, mac);
        return f->back ? INSTANCE_FROM_SERVER : INSTANCE_NOT_OURS;
}

/* ---- which server ---------------------------------------------------------------------------- */

INSTANCE_INLINE _Bool instance_pick_of(const struct instance_vip *vip, __u64 hash, struct instance_pick *to)
{
        __u32 at = vip->row * INSTANCE_ROW + instance_hash_entry(hash), pair = at >> 1;
        const __u32 *picks = bpf_map_lookup_elem(&instance_table, &pair);

        if (!picks)
                return 0;
        /* One load: user space may be writing them. */
        __u32 both = ((const volatile __u32 *)picks)[at & 1];
        __builtin_memcpy(to, &both, sizeof(both));
        return 1;
}

INSTANCE_INLINE _Bool instance_server_is_up(const struct instance_server *s)
{
        return (s->flags & (INSTANCE_SERVER_SET | INSTANCE_SERVER_DEAD)) == INSTANCE_SERVER_SET;
}

/**
 * Who serves a flow that has no state: the primary of its entry, else the standby.
 * @param number  set to the server's
 * @return NULL: nobody is left
 */
INSTANCE_INLINE const struct instance_server *instance_choose(const struct instance_vip *vip, __u64 hash,
                                                              __u32 *number)
{
        struct instance_pick pick;
        if (!instance_pick_of(vip, hash, &pick))
                return NULL;
        const struct instance_server *a = instance_server_of(pick.primary);
        *number = pick.primary;
        if (INSTANCE_LIKELY(a && (a->flags & (INSTANCE_SERVER_SET | INSTANCE_SERVER_DEAD |
                                              INSTANCE_SERVER_LEAVING)) == INSTANCE_SERVER_SET))
                return a;
        const struct instance_server *b = instance_server_of(pick.standby);
        if (b && instance_server_is_up(b)) {
                *number = pick.standby;
                return b;
        }
        /* Leaving, and nobody to take over: it still serves. */
        return a && instance_server_is_up(a) ? a : NULL;
}

/** A server of a vip of every port has every port, too. */
INSTANCE_INLINE __be16 instance_port_at(const struct instance_server *s, __be16 vip_port)
{
        return s->port ? s->port : vip_port;
}

/* ---- counters -------------------------------------------------------------------------------- */

INSTANCE_INLINE void instance_count_to_server(__u32 vip, __u32 bytes)
{
        struct instance_vip_stats *s = bpf_map_lookup_elem(&instance_vip_stats, &vip);
        if (s) {
                s->to_servers++;
                s->to_servers_bytes += bytes;
        }
}

INSTANCE_INLINE void instance_count_to_client(__u32 vip, __u32 bytes)
{
        struct instance_vip_stats *s = bpf_map_lookup_elem(&instance_vip_stats, &vip);
        if (s) {
                s->to_clients++;
                s->to_clients_bytes += bytes;
        }
}

/** May this be an answer to one of the front's own checks? Then the sockets of this host decide. */
INSTANCE_INLINE _Bool instance_may_be_check(const struct instance_packet *p)
{
        __u16 port = bpf_ntohs(p->dport);
        return p->proto == INSTANCE_PROTO_TCP && port >= INSTANCE_CHECK_PORT_LOW &&
               port <= INSTANCE_CHECK_PORT_HIGH;
}

/** A packet came from this server. heard_ns is that of the last jiffy: it is for people and for probes. */
INSTANCE_INLINE void instance_count_from(__u32 server, __u32 bytes, __u8 tcp_flags)
{
        struct instance_server_stats *s = bpf_map_lookup_elem(&instance_server_stats, &server);
        if (!s)
                return;
        s->packets++;
        s->bytes += bytes;
        s->heard_ns = bpf_ktime_get_coarse_ns();
        if (tcp_flags & INSTANCE_TCP_RST)
                s->resets++;
}

/** A new TCP connection without protection. */
INSTANCE_INLINE void instance_count_opened(const struct instance_vip *vip, __u32 server)
{
        struct instance_server_stats *s = bpf_map_lookup_elem(&instance_server_stats, &server);
        __u32 number = vip->number;

        if (s)
                s->opened++;
        if (vip->protect == INSTANCE_PROTECT_NEVER)
                return;
        struct instance_vip_stats *v = bpf_map_lookup_elem(&instance_vip_stats, &number);
        if (v)
                v->event[INSTANCE_EVENT_BARE]++;
}

/* ---- sums (RFC 1624, equation 3) --------------------------------------------------------------- */

/* 2^16 is 1 modulo 2^16 - 1, so words of any width in memory order may be added up and folded at the end. */
INSTANCE_INLINE __u64 instance_sum4(__u64 diff, __be32 from, __be32 to)
{
        return diff + (__u32)~from + to;
}

INSTANCE_INLINE __u64 instance_sum2(__u64 diff, __be16 from, __be16 to)
{
        return diff + (__u16)~from + to;
}

INSTANCE_INLINE __u64 instance_sum_address(__u64 diff, const struct instance_address *from,
                                           const struct instance_address *to, _Bool is_v6)
{
        if (is_v6) {
                diff = instance_sum4(diff, from->word[0], to->word[0]);
                diff = instance_sum4(diff, from->word[1], to->word[1]);
                diff = instance_sum4(diff, from->word[2], to->word[2]);
        }
        return instance_sum4(diff, from->word[3], to->word[3]);
}

INSTANCE_INLINE __u32 instance_sum_fold(__u64 diff)
{
        diff = (diff & 0xffffffff) + (diff >> 32);
        diff = (diff & 0xffff) + (diff >> 16);
        diff = (diff & 0xffff) + (diff >> 16);
        return (__u32)((diff & 0xffff) + (diff >> 16));
}

INSTANCE_INLINE void instance_sum_apply(__be16 *check, __u64 diff)
{
        *check = (__be16)~instance_sum_fold(diff + (__u16) ~*check);
}

/* UDP: 0 means "no checksum" and stays; a sum that comes out as 0 is written as its other form. */
INSTANCE_INLINE void instance_sum_apply_udp(__be16 *check, __u64 diff)
{
        if (!*check)
                return;
        instance_sum_apply(check, diff);
        if (!*check)
                *check = 0xffff;
}

/* ---- writing: XDP ---------------------------------------------------------------------------- */

/** One hop less. @return false when there is none left: to the kernel, untouched */
INSTANCE_INLINE _Bool instance_xdp_hop(void *data, void *end, const struct instance_packet *p)
{
        if (p->ttl <= 1)
                return 0;
        if (p->is_v6) {
                struct instance_ip6 *ip = data + INSTANCE_L2;
                if ((void *)(ip + 1) > end)
                        return 0;
                ip->ttl = (__u8)(p->ttl - 1);
                return 1;
        }
        struct instance_ip4 *ip = data + INSTANCE_L2;
        if ((void *)(ip + 1) > end)
                return 0;
        ip->ttl = (__u8)(p->ttl - 1);
        /* The hops are the upper byte of their word: 0x100 less there is 0x100 more in the sum. */
        __u32 sum = (__u32)ip->check + bpf_htons(0x0100);
        ip->check = (__be16)(sum + (sum >= 0xffff));
        return 1;
}

INSTANCE_INLINE _Bool instance_xdp_ports(void *l4, void *end, __u8 proto, _Bool is_dst, __be16 port,
                                         __u64 diff)
{
        if (proto == INSTANCE_PROTO_TCP) {
                struct instance_tcp *tcp = l4;
                if ((void *)(tcp + 1) > end)
                        return 0;
                if (is_dst)
                        tcp->dport = port;
                else
                        tcp->sport = port;
                instance_sum_apply(&tcp->check, diff);
                return 1;
        }
        struct instance_udp *udp = l4;
        if ((void *)(udp + 1) > end)
                return 0;
        if (is_dst)
                udp->dport = port;
        else
                udp->sport = port;
        instance_sum_apply_udp(&udp->check, diff);
        return 1;
}

/** TCP or UDP: another destination, or another source. */
INSTANCE_INLINE _Bool instance_xdp_rewrite(void *data, void *end, const struct instance_packet *p,
                                           _Bool is_dst, const struct instance_address *to, __be16 port)
{
        const struct instance_address *from = is_dst ? &p->dst : &p->src;
        __u64 diff = instance_sum_address(0, from, to, p->is_v6);
        __u64 with_port = instance_sum2(diff, is_dst ? p->dport : p->sport, port);

        if (p->is_v6) {
                struct instance_ip6 *ip = data + INSTANCE_L2;
                if ((void *)(ip + 1) > end)
                        return 0;
                __be32 *at = is_dst ? ip->dst : ip->src;
                at[0] = to->word[0];
                at[1] = to->word[1];
                at[2] = to->word[2];
                at[3] = to->word[3];
                return instance_xdp_ports(ip + 1, end, p->proto, is_dst, port, with_port);
        }
        struct instance_ip4 *ip = data + INSTANCE_L2;
        if ((void *)(ip + 1) > end)
                return 0;
        if (is_dst)
                ip->dst = to->word[3];
        else
                ip->src = to->word[3];
        instance_sum_apply(&ip->check, diff);
        return instance_xdp_ports(ip + 1, end, p->proto, is_dst, port, with_port);
}

INSTANCE_INLINE void instance_xdp_macs(void *data, const void *to, const void *from)
{
        __builtin_memcpy(data, to, 6);
        __builtin_memcpy(data + 6, from, 6);
}

/* ---- writing: tc ----------------------------------------------------------------------------- */

/** Whether the skb keeps a sum over everything matters to what a change of an address must also change. */
INSTANCE_INLINE int instance_tc_address(struct __sk_buff *skb, const struct instance_packet *p, _Bool is_dst,
                                        const struct instance_address *from,
                                        const struct instance_address *to)
{
        if (p->is_v6) /* no checksum of the IP header makes up for it: the skb's sum is to be told */
                return (int)bpf_skb_store_bytes(skb, INSTANCE_L2 + (is_dst ? 24 : 8), to->word, 16,
                                                BPF_F_RECOMPUTE_CSUM);
        int rc = (int)bpf_skb_store_bytes(skb, INSTANCE_L2 + (is_dst ? 16 : 12), &to->word[3], 4, 0);
        return rc ? rc
                  : (int)bpf_l3_csum_replace(skb, INSTANCE_L2 + offsetof(struct instance_ip4, check),
                                             from->word[3], to->word[3], 4);
}

/** TCP or UDP: another destination, or another source. @return 0, or negative: nothing to go on with */
INSTANCE_INLINE int instance_tc_rewrite(struct __sk_buff *skb, const struct instance_packet *p, _Bool is_dst,
                                        const struct instance_address *to, __be16 port)
{
        const struct instance_address *from = is_dst ? &p->dst : &p->src;
        __be16 old = is_dst ? p->dport : p->sport;
        _Bool is_udp = p->proto == INSTANCE_PROTO_UDP;
        __u32 check = p->l4 +
                      (is_udp ? offsetof(struct instance_udp, check) : offsetof(struct instance_tcp, check));
        __u64 mangled = is_udp ? BPF_F_MARK_MANGLED_0 : 0;
        __u32 diff = instance_sum_fold(instance_sum_address(0, from, to, p->is_v6));
        int rc = instance_tc_address(skb, p, is_dst, from, to);

        if (!rc)
                rc = (int)bpf_l4_csum_replace(skb, check, 0, diff, BPF_F_PSEUDO_HDR | mangled);
        if (rc || port == old)
                return rc;
        rc = (int)bpf_l4_csum_replace(skb, check, old, port, 2 | mangled);
        return rc ? rc : (int)bpf_skb_store_bytes(skb, p->l4 + (is_dst ? 2 : 0), &port, 2, 0);
}

/** One hop less. @return negative when there is none left: to the kernel, untouched */
INSTANCE_INLINE int instance_tc_hop(struct __sk_buff *skb, const struct instance_packet *p)
{
        if (p->ttl <= 1)
                return -1;
        __u8 ttl = (__u8)(p->ttl - 1);
        if (p->is_v6)
                return (int)bpf_skb_store_bytes(skb, INSTANCE_L2 + offsetof(struct instance_ip6, ttl), &ttl,
                                                1, BPF_F_RECOMPUTE_CSUM);
        __be16 from = bpf_htons((__u16)(p->ttl << 8 | p->proto)),
               to = bpf_htons((__u16)(ttl << 8 | p->proto));
        int rc = (int)bpf_skb_store_bytes(skb, INSTANCE_L2 + offsetof(struct instance_ip4, ttl), &ttl, 1, 0);
        return rc ? rc
                  : (int)bpf_l3_csum_replace(skb, INSTANCE_L2 + offsetof(struct instance_ip4, check), from,
                                             to, 2);
}

INSTANCE_INLINE int instance_tc_macs(struct __sk_buff *skb, const void *to, const void *from)
{
        __u8 macs[12];
        __builtin_memcpy(macs, to, 6);
        __builtin_memcpy(macs + 6, from, 6);
        skb->mark = INSTANCE_MARK; /* decided: the same program may sit where it leaves */
        return (int)bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0);
}

INSTANCE_INLINE int instance_tc_send(struct __sk_buff *skb, const void *to, const void *from, __u32 ifindex)
{
        if (instance_tc_macs(skb, to, from))
                return instance_leave(INSTANCE_DROP_NO_ROOM, 2 /* TC_ACT_SHOT */);
        return (int)bpf_redirect(ifindex, 0);
}

/* ---- ICMP errors -------------------------------------------------------------------------------- */

/**
 * An error about a packet that a server sent comes to the vip and goes on to that server; one about a packet
 * that a client sent comes from the server (or a router before it) and goes on to the client. NAT changes
 * the address it is sent to or from, and what it quotes. The checksum of the quoted TCP or UDP header is
 * left: the quote is cut, so nobody can check it.
 */
struct instance_icmp_edit {
        struct instance_address outer, inner; /* the new ones */
        __u32 seq;                            /* the new quoted one, TCP */
        __be16 port;                          /* the new inner one */
        _Bool is_to_server; /* outer destination and inner source change; else the other two */
};

/** @return INSTANCE_TO_VIP: about a packet of a server's, found.vip; INSTANCE_FROM_SERVER: of a client's */
INSTANCE_INLINE enum instance_role instance_find_quoted(const struct instance_packet *p,
                                                        const struct instance_quote *q,
                                                        struct instance_found *f)
{
        f->back = NULL;
        f->vip = instance_vip_of(&q->src, q->sport, q->proto);
        if (!f->vip)
                f->vip = instance_vip_of(&q->src, 0, q->proto);
        if (f->vip)
                return instance_address_equal(&p->dst, &q->src) ? INSTANCE_TO_VIP : INSTANCE_NOT_OURS;
        f->back = instance_back_of(&q->dst, q->dport, q->proto, NULL);
        if (!f->back)
                f->back = instance_back_of(&q->dst, 0, q->proto, NULL);
        return f->back && instance_address_equal(&p->dst, &q->src) ? INSTANCE_FROM_SERVER : INSTANCE_NOT_OURS;
}

INSTANCE_INLINE struct instance_icmp_edit instance_icmp_to(const struct instance_quote *q,
                                                           const struct instance_server *s)
{
        return (struct instance_icmp_edit){.outer = s->address,
                                           .inner = s->address,
                                           .seq = q->seq,
                                           .port = instance_port_at(s, q->sport),
                                           .is_to_server = 1};
}

INSTANCE_INLINE struct instance_icmp_edit instance_icmp_back(const struct instance_packet *p,
                                                             const struct instance_quote *q,
                                                             const struct instance_back *back)
{
        return (struct instance_icmp_edit){.outer = instance_address_equal(&p->src, &q->dst) ? back->address
                                                                                             : p->src,
                                           .inner = back->address,
                                           .seq = q->seq,
                                           .port = back->port ? back->port : q->dport};
}

/*
 * By how much the ICMP checksum changes. IPv4: the quoted address and the checksum of its header make up
 * for each other. IPv6: that sum covers the outer addresses as well.
 */
INSTANCE_INLINE __u64 instance_icmp_sum(const struct instance_packet *p, const struct instance_quote *q,
                                        const struct instance_icmp_edit *e)
{
        __u64 diff = instance_sum2(0, e->is_to_server ? q->sport : q->dport, e->port);
        diff = instance_sum4(diff, bpf_htonl(q->seq), bpf_htonl(e->seq));
        if (!p->is_v6)
                return diff;
        diff = instance_sum_address(diff, e->is_to_server ? &q->src : &q->dst, &e->inner, 1);
        return instance_sum_address(diff, e->is_to_server ? &p->dst : &p->src, &e->outer, 1);
}

INSTANCE_INLINE int instance_tc_icmp_edit(struct __sk_buff *skb, const struct instance_packet *p,
                                          const struct instance_quote *q, const struct instance_icmp_edit *e)
{
        _Bool up = e->is_to_server;
        __u32 check = p->l4 + offsetof(struct instance_icmp, check);
        __u32 sum = instance_sum_fold(instance_icmp_sum(p, q, e));
        __u32 quoted = q->ip + (p->is_v6 ? (up ? 8 : 24) : (up ? 12 : 16));
        const struct instance_address *was = up ? &q->src : &q->dst;
        int rc = instance_tc_address(skb, p, up, up ? &p->dst : &p->src, &e->outer);

        /* What is quoted and its sum cancel out in an skb's own sum, so neither is told. */
        if (!rc && p->is_v6)
                rc = (int)bpf_skb_store_bytes(skb, quoted, e->inner.word, 16, 0);
        if (!rc && !p->is_v6)
                rc = (int)bpf_skb_store_bytes(skb, quoted, &e->inner.word[3], 4, 0);
        if (!rc && !p->is_v6)
                rc = (int)bpf_l3_csum_replace(skb, q->ip + offsetof(struct instance_ip4, check), was->word[3],
                                              e->inner.word[3], 4);
        if (!rc)
                rc = (int)bpf_skb_store_bytes(skb, q->l4 + (up ? 0 : 2), &e->port, 2, 0);
        if (!rc && e->seq != q->seq) {
                __be32 seq = bpf_htonl(e->seq);
                rc = (int)bpf_skb_store_bytes(skb, q->l4 + 4, &seq, 4, 0);
        }
        /* As the sum of IPv6 covers the outer address, too, the skb's is told of that part by "pseudo". */
        return rc ? rc : (int)bpf_l4_csum_replace(skb, check, 0, sum, p->is_v6 ? BPF_F_PSEUDO_HDR : 0);
}

/* ---- where to: the client -------------------------------------------------------------------- */

#define INSTANCE_AF_INET  2
#define INSTANCE_AF_INET6 10

/**
 * The kernel's next hop towards p->dst for a packet that will come from `src`.
 * @param bytes  of the IP packet, to be held against the route's MTU; 0 in tc for what will be segmented
 * @return BPF_FIB_LKUP_RET_*, negative on a mistake of ours
 */
INSTANCE_INLINE int instance_route(void *ctx, const struct instance_packet *p,
                                   const struct instance_address *src, __u32 ingress, __u32 bytes,
                                   struct bpf_fib_lookup *to)
{
        __builtin_memset(to, 0, sizeof(*to));
        to->l4_protocol = p->proto;
        to->sport = p->sport;
        to->dport = p->dport;
        to->tot_len = (__u16)bytes;
        to->ifindex = ingress;
        if (p->is_v6) {
                to->family = INSTANCE_AF_INET6;
                to->flowinfo = bpf_htonl((__u32)p->tos << 20);
                __builtin_memcpy(to->ipv6_src, src->word, 16);
                __builtin_memcpy(to->ipv6_dst, p->dst.word, 16);
        } else {
                to->family = INSTANCE_AF_INET;
                to->tos = p->tos & 0xfc;
                to->ipv4_src = src->word[3];
                to->ipv4_dst = p->dst.word[3];
        }
        return (int)bpf_fib_lookup(ctx, to, sizeof(*to), 0);
}

/** Has the kernel a reason to refuse it, of which it would tell nobody? */
INSTANCE_INLINE _Bool instance_route_is_none(int rc)
{
        return rc == BPF_FIB_LKUP_RET_BLACKHOLE || rc == BPF_FIB_LKUP_RET_UNREACHABLE ||
               rc == BPF_FIB_LKUP_RET_PROHIBIT;
}

/* ---- the whole way, tc ----------------------------------------------------------------------- */

#define INSTANCE_TC_PASS 0 /* TC_ACT_OK */
#define INSTANCE_TC_DROP 2 /* TC_ACT_SHOT */

/** To one server, whoever chose it. */
INSTANCE_INLINE int instance_tc_to(struct __sk_buff *skb, const struct instance_packet *p,
                                   const struct instance_vip *vip, const struct instance_server *s)
{
        __u32 bytes = skb->len;

        if (instance_tc_hop(skb, p))
                return INSTANCE_TC_PASS;
        if (vip->returns == INSTANCE_RETURN_NAT &&
            instance_tc_rewrite(skb, p, 1, &s->address, instance_port_at(s, p->dport)))
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        instance_count_to_server(vip->number, bytes);
        return instance_tc_send(skb, s->mac, s->own_mac, s->ifindex);
}

/** A packet to a vip, without state. @return a tc verdict */
INSTANCE_INLINE int instance_tc_plain(struct __sk_buff *skb, const struct instance_packet *p,
                                      const struct instance_vip *vip)
{
        __u32 number = 0;
        const struct instance_server *s =
                instance_choose(vip, instance_hash(&p->src, p->sport, vip->seed), &number);

        if (!s)
                return instance_leave(INSTANCE_DROP_NO_SERVER, INSTANCE_TC_DROP);
        if (p->proto == INSTANCE_PROTO_TCP &&
            (p->tcp_flags & (INSTANCE_TCP_SYN | INSTANCE_TCP_ACK)) == INSTANCE_TCP_SYN)
                instance_count_opened(vip, number);
        return instance_tc_to(skb, p, vip, s);
}

/**
 * An answer of a server to its client: the vip's address on it, and off. Whatever the kernel can do better
 * (resolve a neighbour, deliver to a socket of this host, refuse a size) is left to it.
 * @return a tc verdict
 */
INSTANCE_INLINE int instance_tc_answer(struct __sk_buff *skb, const struct instance_packet *p,
                                       const struct instance_back *back)
{
        struct bpf_fib_lookup to;
        __u32 bytes = skb->len, ip_bytes = skb->gso_segs > 1 ? 0 : bytes - INSTANCE_L2;
        _Bool is_nat = !instance_address_equal(&back->address, &p->src) || back->port != p->sport;
        /* A vip of every port has its answers from any. */
        __be16 port = back->port ? back->port : p->sport;
        int rc = instance_route(skb, p, &back->address, skb->ingress_ifindex, ip_bytes, &to);

        /* Too long: the server is to be told, so the kernel must see the server's address. */
        if (rc == BPF_FIB_LKUP_RET_FRAG_NEEDED)
                return INSTANCE_TC_PASS;
        if (instance_route_is_none(rc))
                return instance_leave(INSTANCE_DROP_NO_ROUTE, INSTANCE_TC_DROP);
        if (rc == BPF_FIB_LKUP_RET_SUCCESS && instance_tc_hop(skb, p))
                return INSTANCE_TC_PASS;
        if (is_nat && instance_tc_rewrite(skb, p, 0, &back->address, port))
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        instance_count_to_client(back->vip, bytes);
        if (rc != BPF_FIB_LKUP_RET_SUCCESS)
                return INSTANCE_TC_PASS;
        return instance_tc_send(skb, to.dmac, to.smac, to.ifindex);
}

/* Whom an ICMP error about a served flow concerns. */
struct instance_concerned {
        const struct instance_server *a, *b; /* NULL: nobody */
        __u32 a_delta, b_seq;                /* added to the sequence number; put in its place */
        _Bool b_has_seq;
};

INSTANCE_INLINE _Bool instance_is_between(__u32 seq, __u32 from, __u32 to)
{
        return (__s32)(seq - from) >= 0 && (__s32)(seq - to) < 0;
}

/*
 * A protected flow has two servers. A standby has nothing on its way, so it would take no number for one of
 * its own but that of the next byte; told of that one, it learns a smaller MTU before it needs it.
 */
INSTANCE_INLINE struct instance_concerned instance_concerned_of(const struct instance_vip *vip,
                                                                const struct instance_packet *p,
                                                                const struct instance_quote *q)
{
        struct instance_concerned who = {};
        __u64 hash = instance_hash(&q->dst, q->dport, vip->seed);
        __u32 number = 0;

        if (vip->protect != INSTANCE_PROTECT_NEVER && q->proto == INSTANCE_PROTO_TCP) {
                const struct instance_conn *c = instance_conn_of(&q->dst, q->dport, vip->number, p->is_v6);
                /* About a byte that is on its way, or forged (RFC 5927, 4.1). */
                if (c && !instance_is_between(q->seq, c->c_ack,
                                              c->flags & INSTANCE_CONN_PROMOTED ? c->b_high : c->a_high))
                        return who;
                if (c && (c->flags & INSTANCE_CONN_PROMOTED)) {
                        who.a = instance_server_of(c->standby);
                        who.a_delta = c->delta;
                        return who;
                }
                if (c) {
                        who.a = instance_server_of(c->primary);
                        if (!(c->flags & INSTANCE_CONN_ALONE))
                                who.b = instance_server_of(c->standby);
                        who.b_seq = c->c_ack + c->delta;
                        who.b_has_seq = 1;
                        return who;
                }
        }
        who.a = instance_choose(vip, hash, &number);
        if (vip->protect != INSTANCE_PROTECT_NEVER && q->proto == INSTANCE_PROTO_UDP) {
                struct instance_pick pick;
                if (instance_pick_of(vip, hash, &pick) && pick.standby != number)
                        who.b = instance_server_of(pick.standby);
        }
        return who;
}

/* Read the frame again (it may have been written to) and make it one for this server. */
INSTANCE_INLINE int instance_tc_icmp_one(struct __sk_buff *skb, const struct instance_vip *vip,
                                         const struct instance_server *s, __u32 delta, _Bool has_seq,
                                         __u32 seq)
{
        const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
        struct instance_packet p;
        struct instance_quote q;

        if (!instance_parse(data, end, skb->len, &p) || !instance_parse_quote(data, end, &p, &q))
                return -1;
        struct instance_icmp_edit e = instance_icmp_to(&q, s);
        if (vip->returns != INSTANCE_RETURN_NAT) {
                e.outer = p.dst;
                e.inner = q.src;
                e.port = q.sport;
        }
        if (q.proto == INSTANCE_PROTO_TCP)
                e.seq = has_seq ? seq : q.seq + delta;
        return instance_tc_icmp_edit(skb, &p, &q, &e);
}

/**
 * An ICMP error, about a packet of a server's or of a client's: to who sent that one. Of a protected flow
 * both servers get it: the client's side of the path is the same for both.
 * @return a tc verdict; INSTANCE_TC_PASS for what is none of ours
 */
static __noinline __attribute__((unused)) int instance_tc_icmp(struct __sk_buff *skb)
{
        const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
        struct instance_packet p;
        struct instance_quote q;
        struct instance_found f;

        if (!instance_parse(data, end, skb->len, &p) || !instance_is_icmp_error(&p))
                return INSTANCE_TC_PASS;
        enum instance_role role = instance_parse_quote(data, end, &p, &q) ? instance_find_quoted(&p, &q, &f)
                                                                          : INSTANCE_NOT_OURS;
        if (role == INSTANCE_FROM_SERVER) {
                struct instance_icmp_edit e = instance_icmp_back(&p, &q, f.back);
                if (instance_tc_icmp_edit(skb, &p, &q, &e))
                        return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
                return INSTANCE_TC_PASS; /* rare: the kernel finds the way */
        }
        /* About this host's own packets, or nobody's: its stack knows. */
        if (role != INSTANCE_TO_VIP)
                return INSTANCE_TC_PASS;
        /* A server that believes in less would send fragments, which nobody here could translate. */
        if (instance_icmp_mtu(data, end, &p) < (p.is_v6 ? INSTANCE_MTU_LEAST6 : INSTANCE_MTU_LEAST4))
                return instance_leave(INSTANCE_DROP_ICMP, INSTANCE_TC_DROP);
        struct instance_concerned who = instance_concerned_of(f.vip, &p, &q);
        if (!who.a)
                return instance_leave(INSTANCE_DROP_ICMP, INSTANCE_TC_DROP);
        if (instance_tc_hop(skb, &p))
                return INSTANCE_TC_PASS;
        if (instance_tc_icmp_one(skb, f.vip, who.a, who.a_delta, 0, 0))
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        instance_count_to_server(f.vip->number, skb->len);
        if (!who.b || !instance_server_is_up(who.b))
                return instance_tc_send(skb, who.a->mac, who.a->own_mac, who.a->ifindex);
        if (!instance_tc_macs(skb, who.a->mac, who.a->own_mac))
                bpf_clone_redirect(skb, who.a->ifindex, 0);
        if (instance_tc_icmp_one(skb, f.vip, who.b, 0, who.b_has_seq, who.b_seq))
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        return instance_tc_send(skb, who.b->mac, who.b->own_mac, who.b->ifindex);
}
