#pragma once
/*
 * Protected TCP in tc: from a packet to a segment, instance_decide() under the connection's lock, and from
 * its action back to packets. BPF only.
 *
 * A packet that is made is one that came, cut down to its headers and written anew; a copy for the standby
 * is a clone. `extra` leaves first, so `main` always owns what it writes to.
 */
#include "instance_decide.h"
#include "instance_plain.h"
#include "instance_response.h"
#include "instance_shim_abi.h"

#define INSTANCE_ECN         0xc0 /* ECE and CWR: two servers cannot share one state of congestion marks */
#define INSTANCE_SYN_WORDS   3    /* MSS, SACK permitted, window shift: all that two servers can share */
#define INSTANCE_STALE_SHIFT 6    /* a connection without a packet for 2^6 s gives way to a new SYN */
#define INSTANCE_HEAD        512  /* bytes of an answer in which its dates are looked for */
#define INSTANCE_DATE        29   /* an HTTP date: RFC 9110, 5.6.7 */
#define INSTANCE_DATES       8    /* of a connection, remembered until the standby has said them, too */
#define INSTANCE_LINE        56   /* of a request's first line, as much as is looked at */

/** On the client's own host: its sockets are the clients, and the stack of this host is where they are. */
const volatile __u32 instance_is_host = 0;

/** Code point of copies for a standby that gates by itself; its shim must be told the same. */
const volatile __u8 instance_dscp = INSTANCE_SHIM_DSCP;

struct instance_ends {
        struct instance_address src, dst;
        __be16 sport, dport;
};

#define INSTANCE_MAIN_ONLY 2 /* of has_options: a reset goes before a SYN */

/* Where A's newest answers have their dates, in the stream: what is nobody's fault if it differs. */
struct instance_dates {
        __u32 delta; /* of the connection, as in struct instance_sum */
        __u32 next;
        __u32 at[INSTANCE_DATES];
};

/* Everything about the packet in hand; too much for the stack. */
struct instance_work {
        struct instance_packet p;
        struct instance_flow flow;
        struct instance_segment s;
        struct instance_now now;
        struct instance_action act;
        struct instance_address vip_address;
        __be16 vip_port;
        __u8 is_nat, is_cut, is_partial;
        __u8 is_gated, is_marked; /* B's host gates by itself; and B is the standby */
        __u8 has_dates;           /* some of `dates` are in the packet in hand */
        __u32 vip, vip_flags, seed;
        __u32 primary, standby;
        __u32 class;
        struct instance_span span;
        struct instance_sum_key sum_key;
        struct instance_sum sum;
        __u32 sum_at, sum_left, sum_offset; /* while bytes are added up */
        __u32 sum_b;                        /* where B's sum stands */
        struct instance_dates dates;
        __u32 options[INSTANCE_SYN_WORDS]; /* for packets of a handshake */
        __u32 has_options;
        __u64 conn[sizeof(struct instance_conn) / 8]; /* a lock may not be in a map of this type */
        struct instance_syn syn;
        struct instance_event event;
        struct bpf_fib_lookup route;
        struct instance_ends ends; /* of the packet being written */
        struct instance_ip4 ip4;
        struct instance_ip6 ip6;
        struct instance_tcp tcp;
        __u32 sack_was[10], sack_is[10];
        __u8 line[64];
        __u32 at, end; /* in `line`, while options are read */
        __u16 mss;
        __u8 shift, sack;
        struct instance_class about;
};

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct instance_work);
} instance_works SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 16384);
        __type(key, struct instance_flow);
        __type(value, struct instance_syn);
} instance_syns SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 4096);
        __type(key, struct instance_flow);
        __type(value, __u32); /* enum instance_order */
} instance_orders SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, 1 << 20);
} instance_events SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 65536);
        __type(key, struct instance_sum_key);
        __type(value, struct instance_sum);
} instance_sums SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 65536);
        __type(key, struct instance_flow);
        __type(value, struct instance_dates);
} instance_dates SEC(".maps");

/* A piece of a packet, aligned as it is in the stream, with some room behind. It stays in the nearest cache.
 */
#define INSTANCE_PIECE       4096
#define INSTANCE_PIECE_WORDS (INSTANCE_PIECE / 8)
struct instance_piece {
        __u64 word[INSTANCE_PIECE_WORDS + 8];
};
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct instance_piece);
} instance_pieces SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 4096);
        __type(key, __u32);
        __type(value, struct instance_class);
} instance_classes SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, INSTANCE_VIPS_MAX);
        __type(key, __u32);
        __type(value, __u32);
} instance_live SEC(".maps");

/* ---- telling ------------------------------------------------------------------------------- */

INSTANCE_INLINE void instance_count_event(__u32 vip, __u32 type)
{
        struct instance_vip_stats *s = bpf_map_lookup_elem(&instance_vip_stats, &vip);
        if (s && type < 32)
                s->event[type]++;
}

INSTANCE_INLINE void instance_live_add(__u32 vip, __s32 n)
{
        __u32 *live = bpf_map_lookup_elem(&instance_live, &vip);
        if (live)
                __sync_fetch_and_add(live, n);
}

/* One event of one connection. Only for those whose client has proved that it is there: a flood of SYNs
 * must not drown the others. */
static __noinline int instance_tell(struct instance_work *w, __u32 type, __u32 flags)
{
        struct instance_event *ev = &w->event;

        instance_count_event(w->vip, type);
        ev->at_ns = bpf_ktime_get_ns();
        ev->flow = w->flow;
        ev->primary = (__u16)w->primary;
        ev->standby = (__u16)w->standby;
        ev->type = (__u8)type;
        ev->flags = (__u8)flags;
        ev->pad = 0;
        ev->class = w->class;
        ev->lag = w->act.lag;
        ev->quiet = w->act.quiet;
        bpf_ringbuf_output(&instance_events, ev, sizeof(*ev), 0);
        return 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

INSTANCE_INLINE __u64 instance_sum_words(const void *at, __u32 n)
{
        const __u32 *word = at;
        __u64 sum = 0;
        for (__u32 i = 0; i < n; i++)
                sum += word[i];
        return sum;
}

/* The sum over the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1): IPv4 addresses have zeros and ffff in
 * front of them here, which is nothing modulo 2^16 - 1. */
INSTANCE_INLINE __u64 instance_sum_pseudo(const struct instance_address *src,
                                          const struct instance_address *dst, __u32 l4_bytes)
{
        return instance_sum_words(src, 4) + instance_sum_words(dst, 4) + bpf_htonl(INSTANCE_PROTO_TCP) +
               bpf_htonl(l4_bytes);
}

INSTANCE_INLINE void instance_ends_of(struct instance_work *w, const struct instance_out *o,
                                      const struct instance_server *server)
{
        struct instance_ends *e = &w->ends;

        if (o->to == INSTANCE_TO_CLIENT) {
                e->src = w->vip_address;
                e->sport = w->vip_port;
                e->dst = w->flow.client;
                e->dport = w->flow.port;
                return;
        }
        e->src = w->flow.client;
        e->sport = w->flow.port;
        e->dst = w->vip_address;
        e->dport = w->vip_port;
        if (w->is_nat && server) {
                e->dst = server->address;
                e->dport = instance_port_at(server, w->vip_port);
        }
}

/*
 * Cut the packet to its headers and write all of them. An skb whose checksum the device is to finish has the
 * sum of the pseudo header in the field; there is no other way to ask.
 */
static __noinline int instance_write_bare(struct __sk_buff *skb, struct instance_work *w,
                                          const struct instance_out *o)
{
        const struct instance_ends *e = &w->ends;
        __u32 l4 = w->p.is_v6 ? INSTANCE_L4_IP6 : INSTANCE_L4_IP4;
        _Bool has_options = w->has_options && (w->has_options != INSTANCE_MAIN_ONLY || o == &w->act.main);
        __u32 words = has_options ? INSTANCE_SYN_WORDS : 0;
        __u32 bytes = sizeof(struct instance_tcp) + words * 4;
        struct instance_tcp *tcp = &w->tcp;
        __u64 sum;

        __builtin_memset(tcp, 0, sizeof(*tcp));
        if (!w->is_cut) {
                __be16 check;
                if (bpf_skb_load_bytes(skb, l4 + offsetof(struct instance_tcp, check), &check, 2))
                        return -1;
                sum = instance_sum_pseudo(&w->p.src, &w->p.dst, w->p.payload - w->p.l4 + w->p.payload_bytes);
                w->is_partial = check == (__be16)instance_sum_fold(sum);
                w->is_cut = 1;
        }
        if (skb->len != l4 + bytes && bpf_skb_change_tail(skb, l4 + bytes, 0))
                return -1;
        tcp->sport = e->sport;
        tcp->dport = e->dport;
        tcp->seq = bpf_htonl(o->seq);
        tcp->ack = bpf_htonl(o->ack);
        tcp->words = (__u8)(bytes << 2);
        tcp->flags = o->flags;
        tcp->window = bpf_htons(o->window);
        sum = instance_sum_pseudo(&e->src, &e->dst, bytes);
        if (w->is_partial) {
                tcp->check = (__be16)instance_sum_fold(sum);
        } else {
                sum += instance_sum_words(tcp, sizeof(*tcp) / 4);
                if (words)
                        sum += instance_sum_words(w->options, INSTANCE_SYN_WORDS);
                tcp->check = (__be16)~instance_sum_fold(sum);
        }
        if (bpf_skb_store_bytes(skb, l4, tcp, sizeof(*tcp), BPF_F_INVALIDATE_HASH))
                return -1;
        if (words && bpf_skb_store_bytes(skb, l4 + sizeof(*tcp), w->options, sizeof(w->options), 0))
                return -1;
        if (w->p.is_v6) {
                struct instance_ip6 *ip = &w->ip6;
                ip->first = bpf_htonl(6u << 28 | (__u32)(w->p.tos & 0xfc) << 20);
                ip->payload = bpf_htons((__u16)bytes);
                ip->next = INSTANCE_PROTO_TCP;
                ip->ttl = 64;
                __builtin_memcpy(ip->src, &e->src, 16);
                __builtin_memcpy(ip->dst, &e->dst, 16);
                return (int)bpf_skb_store_bytes(skb, INSTANCE_L2, ip, sizeof(*ip), 0);
        }
        struct instance_ip4 *ip = &w->ip4;
        __builtin_memset(ip, 0, sizeof(*ip));
        ip->first = 0x45;
        ip->tos = w->p.tos & 0xfc;
        ip->length = bpf_htons((__u16)(20 + bytes));
        ip->fragment = bpf_htons(0x4000);
        ip->ttl = 64;
        ip->proto = INSTANCE_PROTO_TCP;
        ip->src = e->src.word[3];
        ip->dst = e->dst.word[3];
        ip->check = (__be16)~instance_sum_fold(instance_sum_words(ip, sizeof(*ip) / 4));
        return (int)bpf_skb_store_bytes(skb, INSTANCE_L2, ip, sizeof(*ip), 0);
}

/*
 * The client's SACK blocks, which after the handshake are all the options there are: taken out, or moved
 * into B's numbers. In the layout that every known sender uses; another is taken out, for they are advice.
 * @return by how much the sum of the packet changes
 */
static __noinline __u32 instance_write_sack(struct __sk_buff *skb, struct instance_work *w, __u32 how)
{
        __u32 *was = w->sack_was, *is = w->sack_is, n = w->p.options;

        __builtin_memset(w->sack_was, 0, sizeof(w->sack_was));
        if (n == 0 || n > 40 || bpf_skb_load_bytes(skb, w->p.l4 + 20u, was, n))
                return 0;
        _Bool is_usual = (was[0] & bpf_htonl(0xffffff00)) == bpf_htonl(0x01010500);
        for (__u32 i = 0; i < 10; i++) {
                is[i] = i * 4 < n ? bpf_htonl(0x01010101) : 0;
                if (how == INSTANCE_SACK_SHIFT && is_usual && i * 4 < n)
                        is[i] = i ? bpf_htonl(bpf_ntohl(was[i]) + w->act.delta) : was[0];
        }
        if (bpf_skb_store_bytes(skb, w->p.l4 + 20u, is, n, 0))
                return 0;
        __u64 diff = 0;
        for (__u32 i = 0; i < 10; i++)
                diff = instance_sum4(diff, was[i], is[i]);
        return instance_sum_fold(diff);
}

/* Write other numbers and addresses over the headers that are there; what follows them stays. */
static __noinline int instance_write_over(struct __sk_buff *skb, struct instance_work *w,
                                          const struct instance_out *o)
{
        const struct instance_ends *e = &w->ends;
        __u32 l4 = w->p.is_v6 ? INSTANCE_L4_IP6 : INSTANCE_L4_IP4;
        __u32 check = l4 + offsetof(struct instance_tcp, check);
        struct instance_tcp *tcp = &w->tcp;
        __u64 outer = 0, inner = 0;

        if (w->p.is_v6) {
                struct instance_ip6 *ip = &w->ip6;
                if (bpf_skb_load_bytes(skb, INSTANCE_L2, ip, sizeof(*ip)))
                        return -1;
                outer += instance_sum_words(&e->src, 4) + instance_sum_words(&e->dst, 4);
                for (int i = 0; i < 4; i++)
                        outer += (__u64)(__u32)~ip->src[i] + (__u32)~ip->dst[i];
                __builtin_memcpy(ip->src, &e->src, 16);
                __builtin_memcpy(ip->dst, &e->dst, 16);
                ip->ttl = (__u8)(w->p.ttl - 1);
                if (bpf_skb_store_bytes(skb, INSTANCE_L2, ip, sizeof(*ip), BPF_F_RECOMPUTE_CSUM))
                        return -1;
        } else {
                struct instance_ip4 *ip = &w->ip4;
                if (bpf_skb_load_bytes(skb, INSTANCE_L2, ip, sizeof(*ip)))
                        return -1;
                outer = instance_sum4(0, ip->src, e->src.word[3]);
                outer = instance_sum4(outer, ip->dst, e->dst.word[3]);
                __u8 ttl = (__u8)(w->p.ttl - 1);
                instance_sum_apply(&ip->check, instance_sum2(outer, bpf_htons((__u16)(ip->ttl << 8)),
                                                             bpf_htons((__u16)(ttl << 8))));
                ip->src = e->src.word[3];
                ip->dst = e->dst.word[3];
                ip->ttl = ttl;
                if (bpf_skb_store_bytes(skb, INSTANCE_L2, ip, sizeof(*ip), 0))
                        return -1;
        }
        if (bpf_skb_load_bytes(skb, l4, tcp, sizeof(*tcp)))
                return -1;
        __u32 *word = (__u32 *)tcp;
        for (int i = 0; i < 4; i++)
                inner += (__u32)~word[i];
        tcp->sport = e->sport;
        tcp->dport = e->dport;
        tcp->seq = bpf_htonl(o->seq);
        tcp->ack = bpf_htonl(o->ack);
        tcp->flags = o->flags;
        tcp->window = bpf_htons(o->window);
        for (int i = 0; i < 4; i++)
                inner += word[i];
        if (bpf_skb_store_bytes(skb, l4, tcp, sizeof(*tcp), BPF_F_INVALIDATE_HASH))
                return -1;
        if (o->sack != INSTANCE_SACK_KEEP && w->p.options)
                inner += instance_write_sack(skb, w, o->sack);
        if (bpf_l4_csum_replace(skb, check, 0, instance_sum_fold(outer), BPF_F_PSEUDO_HDR))
                return -1;
        return (int)bpf_l4_csum_replace(skb, check, 0, instance_sum_fold(inner), 0);
}

/*
 * DSCP of a packet of a connection whose standby gates by itself: the mark for the standby, and the client's
 * own for all others; an earlier clone may have changed it. No client may choose the mark.
 */
static __noinline int instance_write_mark(struct __sk_buff *skb, struct instance_work *w, __u32 is_marked)
{
        __u8 own = w->p.tos >> 2 == instance_dscp ? 0 : w->p.tos & 0xfc, now;

        now = (__u8)((is_marked ? instance_dscp << 2 : own) | (w->is_cut ? 0 : w->p.tos & 3));
        if (w->p.is_v6) {
                __u8 first[2];

                if (bpf_skb_load_bytes(skb, INSTANCE_L2, first, 2))
                        return -1;
                first[0] = (first[0] & 0xf0) | now >> 4;
                first[1] = (first[1] & 0x0f) | (__u8)(now << 4);
                return (int)bpf_skb_store_bytes(skb, INSTANCE_L2, first, 2, BPF_F_RECOMPUTE_CSUM);
        }
        __u8 was;
        if (bpf_skb_load_bytes(skb, INSTANCE_L2 + offsetof(struct instance_ip4, tos), &was, 1))
                return -1;
        if (was == now)
                return 0;
        bpf_l3_csum_replace(skb, INSTANCE_L2 + offsetof(struct instance_ip4, check), bpf_htons(was),
                            bpf_htons(now), 2);
        return (int)bpf_skb_store_bytes(skb, INSTANCE_L2 + offsetof(struct instance_ip4, tos), &now, 1, 0);
}

/* ---- sending ------------------------------------------------------------------------------- */

INSTANCE_INLINE int instance_out_client(struct __sk_buff *skb, struct instance_work *w, __u32 clone)
{
        if (clone) {
                if (instance_is_host) {
                        skb->mark = INSTANCE_MARK;
                        return (int)bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
                }
                if (w->route.ifindex == 0 || instance_tc_macs(skb, w->route.dmac, w->route.smac))
                        return instance_leave(INSTANCE_DROP_NO_ROUTE, INSTANCE_TC_DROP);
                return (int)bpf_clone_redirect(skb, w->route.ifindex, 0);
        }
        skb->mark = INSTANCE_MARK;
        if (w->route.ifindex == 0) /* to a socket of this host, or a neighbour to be resolved */
                return INSTANCE_TC_PASS;
        return instance_tc_send(skb, w->route.dmac, w->route.smac, w->route.ifindex);
}

/* Write and send one packet of the action. @return a tc verdict, which means nothing for a clone */
static __noinline int instance_send(struct __sk_buff *skb, struct instance_work *w, __u32 is_extra)
{
        struct instance_out *o = is_extra ? &w->act.extra : &w->act.main;
        const struct instance_server *server = NULL;
        __u32 bytes = skb->len;
        int rc;

        if (o->to != INSTANCE_TO_CLIENT) {
                server = instance_server_of(o->to == INSTANCE_TO_A ? w->primary : w->standby);
                if (!server || !server->ifindex)
                        return instance_leave(INSTANCE_DROP_NO_ROUTE, INSTANCE_TC_DROP);
        }
        instance_ends_of(w, o, server);
        rc = o->is_bare ? instance_write_bare(skb, w, o) : instance_write_over(skb, w, o);
        if (!rc && w->is_gated)
                rc = instance_write_mark(skb, w, o->to == INSTANCE_TO_B && w->is_marked);
        if (rc)
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        struct instance_vip_stats *stats = bpf_map_lookup_elem(&instance_vip_stats, &w->vip);
        if (stats && server) {
                stats->to_servers++;
                stats->to_servers_bytes += bytes;
                if (is_extra)
                        stats->copies++;
                if (o->to == INSTANCE_TO_B && w->s.from == INSTANCE_FROM_B)
                        stats->reflected++;
        } else if (stats) {
                stats->to_clients++;
                stats->to_clients_bytes += bytes;
        }
        if (!server)
                return instance_out_client(skb, w, is_extra);
        if (!is_extra)
                return instance_tc_send(skb, server->mac, server->own_mac, server->ifindex);
        if (instance_tc_macs(skb, server->mac, server->own_mac))
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        return (int)bpf_clone_redirect(skb, server->ifindex, 0);
}

/* Where the client is, if anything of this action goes there. */
static __noinline int instance_find_client(struct __sk_buff *skb, struct instance_work *w)
{
        __u32 bytes = skb->gso_segs > 1 || w->act.main.is_bare ? 0 : skb->len - INSTANCE_L2;
        int rc;

        w->route.ifindex = 0;
        if (instance_is_host)
                return 0;
        rc = instance_route(skb, &w->p, &w->vip_address, skb->ingress_ifindex, bytes, &w->route);
        if (rc != BPF_FIB_LKUP_RET_SUCCESS)
                w->route.ifindex = 0;
        return rc;
}

/* Do what was decided. */
static __noinline int instance_act(struct __sk_buff *skb, struct instance_work *w)
{
        struct instance_action *act = &w->act;

        if (act->drop)
                instance_leave((enum instance_drop)(act->drop - 1), 0);
        if (act->is_released)
                instance_live_add(w->vip, -1);
        if (act->event)
                instance_tell(w, act->event - 1u, 0);
        if (act->main.to == INSTANCE_TO_CLIENT || act->extra.to == INSTANCE_TO_CLIENT) {
                int rc = instance_find_client(skb, w);
                /* Too long: the server is to be told, by the kernel, about the packet as it came. */
                if (rc == BPF_FIB_LKUP_RET_FRAG_NEEDED && w->s.from != INSTANCE_FROM_CLIENT)
                        return INSTANCE_TC_PASS;
                if (rc > 0 && instance_route_is_none(rc))
                        return instance_leave(INSTANCE_DROP_NO_ROUTE, INSTANCE_TC_DROP);
        }
        if (act->extra.to)
                instance_send(skb, w, 1);
        if (!act->main.to)
                return INSTANCE_TC_DROP;
        return instance_send(skb, w, 0);
}

#define INSTANCE_GO_PLAIN  (-100) /* without state */
#define INSTANCE_GO_ON     (-101) /* work.act says how */
#define INSTANCE_GO_DECIDE (-102) /* a connection's packet: instance_conn_packet */

/* ---- the decision -------------------------------------------------------------------------- */

INSTANCE_INLINE void instance_segment_of(struct instance_work *w, enum instance_from from)
{
        w->s.seq = w->p.seq;
        w->s.ack = w->p.ack;
        w->s.bytes = w->p.payload_bytes;
        w->s.window = w->p.window;
        w->s.from = (__u8)from;
        w->s.flags = w->p.tcp_flags;
        w->s.has_sack = w->p.options >= 12;
}

INSTANCE_INLINE __u32 instance_tick(void)
{
        return (__u32)(bpf_ktime_get_ns() >> INSTANCE_TICK_SHIFT);
}

INSTANCE_INLINE void instance_circumstances(struct instance_work *w, const struct instance_vip *vip)
{
        const struct instance_server *a = instance_server_of(w->primary), *b = instance_server_of(w->standby);
        const struct instance_word *word;

        w->now.tick = instance_tick();
        w->now.a_flags = a ? a->flags : 0;
        w->now.b_flags = b ? b->flags : 0;
        w->now.a_leave_by = a ? a->leave_by : 0;
        word = bpf_map_lookup_elem(&instance_words, &w->primary);
        w->now.a_word = word ? word->tick : 0;
        w->now.lag_bytes = vip->lag_bytes;
        w->now.lag_ticks = vip->lag_ticks;
        w->now.order = 0;
        w->now.is_barred = 0;
        if (vip->flags & INSTANCE_VIP_HAS_ORDERS) {
                __u32 *order = bpf_map_lookup_elem(&instance_orders, &w->flow);
                if (order)
                        w->now.order = (__u8)*order;
        }
}

/* ---- the guard ----------------------------------------------------------------------------- */

struct instance_summing {
        struct __sk_buff *skb;
        struct instance_work *w;
        __u32 lead, bytes;
};

/* One character of one of the dates, if it is in this piece. */
static long instance_date_blank(__u32 i, void *ctx)
{
        struct instance_summing *is = ctx;
        __u32 zero = 0, k = i & 31;
        __u32 pos = is->w->dates.at[i >> 5 & (INSTANCE_DATES - 1)] + k - is->w->sum_at;
        struct instance_piece *b = bpf_map_lookup_elem(&instance_pieces, &zero);

        if (i >> 5 >= is->w->dates.next)
                return 1;
        if (b && k < INSTANCE_DATE && pos < is->bytes)
                ((__u8 *)b->word)[(is->lead + pos) & (INSTANCE_PIECE - 1)] = 0;
        return 0;
}

/* Is any of them among the n bytes from `from` on? */
INSTANCE_INLINE _Bool instance_date_is_in(const struct instance_work *w, __u32 from, __u32 n)
{
        _Bool has_date = 0;
        for (__u32 d = 0; d < INSTANCE_DATES; d++)
                has_date |= d < w->dates.next && w->dates.at[d] - from + INSTANCE_DATE < n + INSTANCE_DATE;
        return has_date;
}

/*
 * Sum the words of a piece: four sums side by side, each of every fourth word, so that no multiplication
 * waits for the one before. The last of them begins with what is there already.
 */
INSTANCE_INLINE __u64 instance_sum_long(const struct instance_piece *b, __u64 sum, __u32 words)
{
        __u64 s0 = 0, s1 = 0, s2 = 0;
        __u32 k;

        for (k = 0; k < INSTANCE_PIECE_WORDS / 8; k++) {
                if ((k + 1) * 8 > words)
                        break;
#pragma unroll
                for (__u32 j = 0; j < 8; j += 4) {
                        s0 = s0 * INSTANCE_SUM_R4 + b->word[k * 8 + j];
                        s1 = s1 * INSTANCE_SUM_R4 + b->word[k * 8 + j + 1];
                        s2 = s2 * INSTANCE_SUM_R4 + b->word[k * 8 + j + 2];
                        sum = sum * INSTANCE_SUM_R4 + b->word[k * 8 + j + 3];
                }
        }
        sum += s0 * INSTANCE_SUM_R3 + s1 * INSTANCE_SUM_R2 + s2 * INSTANCE_SUM_R;
        for (__u32 j = 0; j < 7; j++) {
                __u32 at = k * 8 + j;
                if (at >= words)
                        break;
                sum = sum * INSTANCE_SUM_R + b->word[at & (INSTANCE_PIECE_WORDS - 1)];
        }
        return sum;
}

/*
 * Up to 4 KiB more: copied out of the packet, whose pages cannot be read in place, and summed. Words of the
 * copy lie as they do in the stream. instance_sum_bytes() says the same in one line.
 */
static long instance_sum_piece(__u32 i, void *ctx)
{
        struct instance_summing *is = ctx;
        struct instance_work *w = is->w;
        __u32 zero = 0, lead = w->sum_at & 7, n = w->sum_left, words;
        __u64 sum = w->span.sum;
        struct instance_piece *b = bpf_map_lookup_elem(&instance_pieces, &zero);

        if (!b || !n)
                return 1;
        if (n > INSTANCE_PIECE - lead)
                n = INSTANCE_PIECE - lead;
        words = (lead + n + 7) >> 3;
        b->word[0] = 0;
        b->word[(words - 1) & (INSTANCE_PIECE_WORDS - 1)] = 0;
        if (n > INSTANCE_PIECE || bpf_skb_load_bytes(is->skb, w->sum_offset, (__u8 *)b->word + lead, n)) {
                w->span.is_blind = 1;
                return 1;
        }
        if (w->has_dates && instance_date_is_in(w, w->sum_at, n)) {
                is->lead = lead;
                is->bytes = n;
                bpf_loop(INSTANCE_DATES * 32, instance_date_blank, is, 0);
        }
        w->sum_at += n;
        w->sum_left -= n;
        w->sum_offset += n;
        if (lead) /* the rest of a word whose beginning is in the sum already */
                sum *= INSTANCE_SUM_INVERSE;
        w->span.sum = instance_sum_long(b, sum, words);
        return 0;
}

/* Remember a date of A's. One that the standby has not said yet and that is forgotten now would be compared.
 */
INSTANCE_INLINE void instance_date_note(struct instance_work *w, __u32 at)
{
        __u32 *place = &w->dates.at[w->dates.next++ & (INSTANCE_DATES - 1)];

        if (w->dates.next > INSTANCE_DATES && instance_before(w->sum_b, *place + INSTANCE_DATE))
                w->span.is_blind = 1;
        *place = at;
}

/* "date:" or "expires:" at the beginning of a line, and a date behind; up to the empty line. */
static long instance_date_letter(__u32 i, void *ctx)
{
        struct instance_summing *is = ctx;
        __u32 zero = 0, at = i & (INSTANCE_HEAD - 1), n;
        struct instance_piece *b = bpf_map_lookup_elem(&instance_pieces, &zero);

        if (!b)
                return 1;
        const __u8 *c = (const __u8 *)b->word + at;
        if (c[0] != '\n')
                return 0;
        if (c[1] == '\r')
                return 1;
        if ((c[1] | 32) == 'd' && (c[2] | 32) == 'a' && (c[3] | 32) == 't' && (c[4] | 32) == 'e' &&
            c[5] == ':' && c[6] == ' ' && c[10] == ',')
                n = 7;
        else if ((c[1] | 32) == 'e' && (c[2] | 32) == 'x' && (c[3] | 32) == 'p' && (c[4] | 32) == 'i' &&
                 (c[5] | 32) == 'r' && (c[6] | 32) == 'e' && (c[7] | 32) == 's' && c[8] == ':' &&
                 c[9] == ' ' && c[13] == ',')
                n = 10;
        else
                return 0;
        instance_date_note(is->w, is->w->s.seq + at + n);
        is->bytes++;
        return 0;
}

/*
 * Two servers answer the same request in two different seconds, now and then. An answer's dates (RFC
 * 9110, 5.6.7: when it was made, when it expires) have a fixed length, so they may be either's: they are
 * summed as zeros. They are looked for where an answer of A's begins with its packet, as it does unless
 * requests are pipelined; B's are in the same places.
 */
static __noinline int instance_date_find(struct __sk_buff *skb, struct instance_work *w)
{
        struct instance_summing is = {.skb = skb, .w = w};
        __u32 zero = 0, n = w->s.bytes;
        struct instance_piece *b = bpf_map_lookup_elem(&instance_pieces, &zero);

        if (!b || n < 64)
                return 0;
        if (n > INSTANCE_HEAD)
                n = INSTANCE_HEAD;
        if (bpf_skb_load_bytes(skb, w->p.payload, b->word, 8))
                return 0;
        if (*(__u32 *)b->word != bpf_htonl(0x48545450) /* HTTP */)
                return 0;
        if (bpf_skb_load_bytes(skb, w->p.payload, b->word, n))
                return 0;
        bpf_loop(n - 16, instance_date_letter, &is, 0);
        if (!is.bytes)
                return 0;
        /* In place: an element that was replaced may be another connection's while B's packet reads it. */
        struct instance_dates *known = bpf_map_lookup_elem(&instance_dates, &w->flow);
        if (known)
                *known = w->dates;
        else
                bpf_map_update_elem(&instance_dates, &w->flow, &w->dates, BPF_ANY);
        return 0;
}

/* The dates that this packet has; global, as what follows. */
__noinline int instance_dates_of(struct __sk_buff *skb)
{
        __u32 zero = 0;
        struct instance_work *w = bpf_map_lookup_elem(&instance_works, &zero);

        if (!w)
                return 0;
        struct instance_dates *known = bpf_map_lookup_elem(&instance_dates, &w->flow);

        if (known)
                w->dates = *known;
        if (!known || w->dates.delta != w->act.delta) {
                __builtin_memset(&w->dates, 0, sizeof(w->dates));
                w->dates.delta = w->act.delta;
        }
        /* A's newest bytes, from the packet's first on. */
        if (w->s.from == INSTANCE_FROM_A && !instance_before(w->s.seq, w->span.was))
                instance_date_find(skb, w);
        w->has_dates = instance_date_is_in(w, w->span.from, w->span.first + w->span.second);
        return 0;
}

/* A global function: the verifier looks at it once, not in every state in which it is called. */
__noinline int instance_sum_add(struct __sk_buff *skb, struct instance_work *w, __u32 at, __u32 bytes)
{
        struct instance_summing is = {.skb = skb, .w = w};

        if (!w)
                return 0;
        w->sum_at = at;
        w->sum_left = bytes;
        w->sum_offset =
                w->p.payload + (at - (w->s.from == INSTANCE_FROM_B ? w->s.seq - w->act.delta : w->s.seq));
        if (bytes)
                bpf_loop(INSTANCE_BLOCK / INSTANCE_PIECE + 1, instance_sum_piece, &is, 0);
        return 0;
}

/* Has this packet bytes to be added to its sender's sum? */
__noinline int instance_guard_begin(void)
{
        __u32 zero = 0, summed, a_high;
        struct instance_work *w = bpf_map_lookup_elem(&instance_works, &zero);
        struct instance_conn *c;
        _Bool is_b, is_blind;
        __u64 sum;

        if (!w)
                return 0;
        c = instance_conn_of(&w->flow.client, w->flow.port, w->vip, w->p.is_v6);
        if (!c || !instance_plausible(c, &w->s))
                return 0;
        is_b = w->s.from == INSTANCE_FROM_B;
        bpf_spin_lock(&c->lock);
        summed = instance_summed(c, is_b);
        sum = is_b ? c->b_sum : c->a_sum;
        is_blind = instance_is_blind(c, is_b);
        w->sum_b = instance_summed(c, 1);
        a_high = c->a_high;
        w->act.delta = c->delta;
        bpf_spin_unlock(&c->lock);
        instance_span_of(&w->span, summed, sum, is_blind, is_b ? w->s.seq - w->act.delta : w->s.seq,
                         w->s.bytes);
        /* What A has not said yet, its dates included, cannot be compared: a standby that was invited. */
        if (is_b && w->span.is_any && instance_before(a_high, w->span.end))
                w->span.is_blind = 1;
        return w->span.is_any && !w->span.is_blind;
}

/* What it adds; before the lock is taken, as it needs helpers. In three steps, since all callers share one
 * stack. Global: see instance_conn_packet. */
__noinline int instance_guard(struct __sk_buff *skb)
{
        __u32 zero = 0, block;
        struct instance_work *w = bpf_map_lookup_elem(&instance_works, &zero);
        struct instance_span *p;
        struct instance_sum *theirs;
        _Bool is_b;

        if (!w)
                return 0;
        p = &w->span;
        is_b = w->s.from == INSTANCE_FROM_B;
        block = p->from >> INSTANCE_BLOCK_SHIFT;
        instance_sum_add(skb, w, p->from, p->first);
        if (!p->has_block || p->is_blind)
                return 0;
        p->closed = p->sum;
        p->sum = 0;
        __builtin_memset(&w->sum_key, 0, sizeof(w->sum_key));
        w->sum_key.flow = w->flow;
        w->sum_key.block = block;
        if (is_b) {
                theirs = bpf_map_lookup_elem(&instance_sums, &w->sum_key);
                p->has_theirs = theirs && theirs->delta == w->act.delta;
                if (p->has_theirs) {
                        p->theirs = theirs->sum;
                        bpf_map_delete_elem(&instance_sums, &w->sum_key);
                }
        } else {
                w->sum.sum = p->closed;
                w->sum.delta = w->act.delta;
                bpf_map_update_elem(&instance_sums, &w->sum_key, &w->sum, BPF_ANY);
        }
        instance_sum_add(skb, w, p->from + p->first, p->second);
        return 0;
}

/* ---- classes of requests ------------------------------------------------------------------- */

struct instance_reading {
        struct instance_work *w;
        __u32 hash, bytes, spaces;
};

/* One character of a request's first line: method, space, path, up to what varies. */
static long instance_class_letter(__u32 i, void *ctx)
{
        struct instance_reading *r = ctx;
        __u32 at = i & 63;
        __u8 letter = r->w->line[at];

        if (i >= r->bytes || letter < 32 || letter > 126)
                return 1;
        if (letter == ' ' && r->spaces++)
                return 1;
        if (letter == '?' || letter == '#')
                return 1;
        r->hash = (r->hash ^ letter) * 16777619u; /* FNV-1a (Fowler, Noll, Vo) */
        if (at < 64 - 16) {                       /* sizeof(text), as the verifier sees it */
                r->w->about.text[at] = (char)letter;
                r->w->about.length = (__u16)(at + 1);
        }
        return 0;
}

/*
 * Does a request begin here, and of which class? Methods of RFC 9110 and 5789 by their first letters.
 * @return 1: of one that must not be asked twice
 */
static __noinline int instance_class_read(struct __sk_buff *skb, struct instance_work *w)
{
        struct instance_reading r = {.w = w, .hash = 2166136261u ^ w->vip};
        struct instance_class *known;
        __u32 n = w->s.bytes;

        w->class = 0;
        if (n < 8)
                return 0;
        if (n > INSTANCE_LINE)
                n = INSTANCE_LINE;
        if (bpf_skb_load_bytes(skb, w->p.payload, w->line, n))
                return 0;
        __u32 first = (__u32)w->line[0] << 24 | (__u32)w->line[1] << 16 | (__u32)w->line[2] << 8 | w->line[3];
        if (first != 0x47455420 /* GET */ && first != 0x504f5354 /* POST */ &&
            first != 0x50555420 /* PUT */ && first != 0x48454144 /* HEAD */ &&
            first != 0x44454c45 /* DELE */ && first != 0x50415443 /* PATC */ &&
            first != 0x4f505449 /* OPTI */)
                return 0;
        __builtin_memset(&w->about, 0, sizeof(w->about));
        r.bytes = n;
        bpf_loop(INSTANCE_LINE, instance_class_letter, &r, 0);
        w->class = r.hash ? r.hash : 1;
        known = bpf_map_lookup_elem(&instance_classes, &w->class);
        if (known) {
                __sync_fetch_and_add(&known->seen, 1);
                if (!known->barred_until)
                        return 0;
                if ((__s32)(known->barred_until - instance_tick()) > 0)
                        return 1;
                known->barred_until = 0;
                return 0;
        }
        w->about.seen = 1;
        w->about.vip = (__u16)w->vip;
        bpf_map_update_elem(&instance_classes, &w->class, &w->about, BPF_NOEXIST);
        return 0;
}

/* The standby's answer was another one: for a time nobody of this class is protected by a copy. */
INSTANCE_INLINE void instance_class_bar(__u32 class)
{
        struct instance_class *known = bpf_map_lookup_elem(&instance_classes, &class);
        if (!known)
                return;
        __u32 times = known->diverged;
        __sync_fetch_and_add(&known->diverged, 1);
        if (times > INSTANCE_BAR_MOST)
                times = INSTANCE_BAR_MOST;
        times = instance_tick() + ((__u32)INSTANCE_BAR_TICKS << times);
        known->barred_until = times ? times : 1;
}

/*
 * Time the answers of a connection's server. By itself and before anything is decided: what the verifier
 * must follow here is not multiplied by what comes after.
 */
__noinline int instance_conn_time(const struct instance_work *w, __u32 mask, __u32 flags, __u32 c_high,
                                  __u32 servers)
{
        if (!w || !w->s.bytes || !instance_is_sampled(&w->flow, mask))
                return 0;
        _Bool is_promoted = flags & INSTANCE_CONN_PROMOTED;
        __u32 serves = is_promoted ? servers >> 16 : servers & 0xffff;
        /* Bytes that nobody has seen yet: sent again, they would make the answer look fast. */
        if (w->s.from == INSTANCE_FROM_CLIENT)
                return (__s32)(w->s.seq + w->s.bytes - c_high) > 0 ? instance_response_ask(&w->flow, serves)
                                                                   : 0;
        /* A standby that was asked to speak answers a question that its primary has left open too long. */
        _Bool is_answer = w->s.from == INSTANCE_FROM_B
                                  ? flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_INVITED)
                                  : !is_promoted;
        return is_answer ? instance_response_note(&w->flow, serves) : 0;
}

/*
 * A connection's packet; whose it is stands in the work. Global, like the other long functions here: those
 * the verifier looks at once, not at each call.
 */
__noinline int instance_conn_packet(struct __sk_buff *skb, const struct instance_vip *vip)
{
        __u32 zero = 0;
        struct instance_work *w = bpf_map_lookup_elem(&instance_works, &zero);
        struct instance_conn *c;

        if (!w || !vip)
                return INSTANCE_TC_DROP;
        c = instance_conn_of(&w->flow.client, w->flow.port, w->vip, w->p.is_v6);
        if (!c)
                return INSTANCE_TC_DROP;
        _Bool is_client = w->s.from == INSTANCE_FROM_CLIENT;
        _Bool is_mirrored =
                w->s.bytes && !(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE)); /* or soon not */

        _Bool is_guarded = 0;

        w->span.is_any = 0;
        instance_conn_time(w, vip->ask_mask, c->flags, c->c_high, c->primary | (__u32)c->standby << 16);
        instance_circumstances(w, vip);
        if (is_mirrored && is_client && (vip->flags & INSTANCE_VIP_CLASSES) && w->s.seq == c->c_high)
                w->now.is_barred = (__u8)instance_class_read(skb, w);
        else if (is_mirrored && !is_client && (vip->flags & INSTANCE_VIP_GUARD))
                is_guarded = instance_guard_begin();
        if (is_guarded) {
                instance_dates_of(skb);
                instance_guard(skb);
        }
        bpf_spin_lock(&c->lock);
        w->now.is_different = instance_guard_note(c, &w->s, &w->span);
        if (w->class)
                c->class = w->class;
        instance_decide(c, &w->s, &w->now, &w->act);
        w->class = c->class;
        w->is_gated = c->is_gated;
        w->is_marked = !(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE));
        bpf_spin_unlock(&c->lock);
        if (w->act.is_word) {
                __u32 server = w->s.from == INSTANCE_FROM_A ? w->primary : w->standby;
                struct instance_word *word = bpf_map_lookup_elem(&instance_words, &server);
                /* A line that all CPUs read: written once a tick. */
                if (word && word->tick != w->now.tick)
                        word->tick = w->now.tick;
        }
        if (w->act.event == INSTANCE_EVENT_EVICTED_CONTENT + 1 && w->class)
                instance_class_bar(w->class);
        return INSTANCE_GO_ON;
}

/* ---- handshakes ---------------------------------------------------------------------------- */

/* One option of a SYN: RFC 9293, 3.1; RFC 7323, 2.2; RFC 2018, 2. */
static long instance_option(__u32 i, void *ctx)
{
        struct instance_work *w = *(struct instance_work **)ctx; /* it must be on the stack, this need not */
        __u32 at = w->at, kind = w->line[at & 63], bytes;

        if (at >= w->end || kind == 0)
                return 1;
        if (kind == 1) {
                w->at = at + 1;
                return 0;
        }
        bytes = w->line[(at + 1) & 63];
        if (bytes < 2 || at + bytes > w->end)
                return 1;
        if (kind == 2 && bytes == 4)
                w->mss = (__u16)(w->line[(at + 2) & 63] << 8 | w->line[(at + 3) & 63]);
        else if (kind == 3 && bytes == 3)
                w->shift = w->line[(at + 2) & 63] > 14 ? 14 : w->line[(at + 2) & 63];
        else if (kind == 4 && bytes == 2)
                w->sack = 1;
        w->at = at + bytes;
        return 0;
}

static __noinline int instance_options_read(struct __sk_buff *skb, struct instance_work *w)
{
        __u32 n = w->p.options;

        w->mss = 0;
        w->shift = INSTANCE_NO_SHIFT;
        w->sack = 0;
        w->at = 0;
        w->end = n;
        if (n == 0 || n > 40)
                return 0;
        if (bpf_skb_load_bytes(skb, w->p.l4 + 20u, w->line, n))
                return -1;
        bpf_loop(40, instance_option, &w, 0);
        return 0;
}

INSTANCE_INLINE void instance_options_make(struct instance_work *w, __u16 mss, __u8 shift, _Bool sack)
{
        if (!mss) /* not said: RFC 9293, 3.7.1 */
                mss = w->p.is_v6 ? 1220 : 536;
        w->options[0] = bpf_htonl(0x02040000u | mss);
        w->options[1] = bpf_htonl(sack ? 0x04020101 : 0x01010101);
        w->options[2] = bpf_htonl(shift == INSTANCE_NO_SHIFT ? 0x01010101 : 0x01030300u | shift);
        w->has_options = 1;
}

/* A client's SYN. @return a verdict, INSTANCE_GO_ON, or _PLAIN: goes without protection */
static __noinline int instance_syn_client(struct __sk_buff *skb, struct instance_work *w,
                                          const struct instance_vip *vip)
{
        __u64 hash = instance_hash(&w->flow.client, w->flow.port, vip->seed);
        struct instance_syn *y = bpf_map_lookup_elem(&instance_syns, &w->flow), *new = &w->syn;
        __u32 tick = instance_tick();

        if (instance_options_read(skb, w))
                return instance_leave(INSTANCE_DROP_SHORT, INSTANCE_TC_DROP);
        if (!y || y->c_isn != w->p.seq) {
                const struct instance_server *a, *b;
                struct instance_pick pick;
                __u32 *live = bpf_map_lookup_elem(&instance_live, &w->vip);
                if (vip->protect == INSTANCE_PROTECT_SHARE && (__u32)hash > vip->share)
                        return INSTANCE_GO_PLAIN;
                if (!instance_pick_of(vip, hash, &pick) || pick.primary == pick.standby)
                        return INSTANCE_GO_PLAIN;
                a = instance_server_of(pick.primary);
                b = instance_server_of(pick.standby);
                if (!a || !b || !instance_server_is_up(a) || !instance_server_is_up(b) ||
                    (a->flags & INSTANCE_SERVER_LEAVING) || (b->flags & INSTANCE_SERVER_UNFIT))
                        return INSTANCE_GO_PLAIN;
                if (vip->most && live && *live >= vip->most) {
                        instance_count_event(w->vip, INSTANCE_EVENT_TABLE_FULL);
                        return INSTANCE_GO_PLAIN;
                }
                __builtin_memset(new, 0, sizeof(*new));
                new->primary = pick.primary;
                new->standby = pick.standby;
                new->c_isn = w->p.seq;
                new->first = tick;
                new->newest = tick;
                new->c_shift = w->shift;
                new->a_shift = new->b_shift = INSTANCE_NO_SHIFT;
                new->sack = w->sack;
                new->c_window = w->p.window;
                new->c_mss = w->mss;
                if (bpf_map_update_elem(&instance_syns, &w->flow, new, BPF_ANY)) {
                        instance_leave(INSTANCE_DROP_SYN_FLOOD, 0);
                        return INSTANCE_GO_PLAIN;
                }
                w->primary = pick.primary;
                w->standby = pick.standby;
        } else {
                y->newest = tick;
                w->primary = y->primary;
                w->standby = y->standby;
        }
        instance_options_make(w, w->mss, w->shift, w->sack);
        w->act.main = instance_out_same(&w->s, INSTANCE_TO_A);
        w->act.main.flags = INSTANCE_TCP_SYN;
        w->act.main.is_bare = 1;
        w->act.extra = w->act.main;
        w->act.extra.to = INSTANCE_TO_B;
        if (y && (y->flags & INSTANCE_SYN_ALONE))
                w->act.extra.to = INSTANCE_TO_NOBODY;
        return INSTANCE_GO_ON;
}

/* A server's SYN-ACK or reset for a handshake under way. @return a verdict or INSTANCE_GO_* */
static __noinline int instance_syn_server(struct __sk_buff *skb, struct instance_work *w,
                                          const struct instance_vip *vip, __u32 number)
{
        struct instance_syn *y = bpf_map_lookup_elem(&instance_syns, &w->flow);
        __u8 flags = w->p.tcp_flags & (INSTANCE_TCP_SYN | INSTANCE_TCP_RST | INSTANCE_TCP_ACK);
        const struct instance_server *other;
        _Bool is_b, is_reset = flags & INSTANCE_TCP_RST;
        __u32 set = 0, before;

        if (!y)
                return INSTANCE_GO_PLAIN;
        is_b = number == y->standby;
        if (!is_b && number != y->primary)
                return instance_leave(INSTANCE_DROP_AFTER, INSTANCE_TC_DROP);
        if ((y->flags & INSTANCE_SYN_ALONE) && is_b != !!(y->flags & INSTANCE_SYN_OTHER))
                return instance_leave(INSTANCE_DROP_STANDBY, INSTANCE_TC_DROP);
        /* A connection of before still lives there: it is told that nobody knows it (RFC 9293, 3.5.2), and
         * asked again, as its client would a second later. */
        if (flags == INSTANCE_TCP_ACK && w->p.ack != y->c_isn + 1) {
                w->primary = y->primary;
                w->standby = y->standby;
                w->act.extra = instance_out_same(&w->s, is_b ? INSTANCE_TO_B : INSTANCE_TO_A);
                w->act.extra.seq = w->p.ack;
                w->act.extra.ack = 0;
                w->act.extra.flags = INSTANCE_TCP_RST;
                w->act.extra.is_bare = 1;
                w->act.main = w->act.extra;
                w->act.main.seq = y->c_isn;
                w->act.main.flags = INSTANCE_TCP_SYN;
                w->act.main.window = y->c_window;
                instance_options_make(w, y->c_mss, y->c_shift, y->sack & 1);
                w->has_options = INSTANCE_MAIN_ONLY;
                return INSTANCE_GO_ON;
        }
        /* Only an answer to this SYN: RFC 9293, 3.10.7.3. */
        if (w->p.ack != y->c_isn + 1 || (!is_reset && flags != (INSTANCE_TCP_SYN | INSTANCE_TCP_ACK)))
                return instance_leave(INSTANCE_DROP_BAD_SEQUENCE, INSTANCE_TC_DROP);
        if (instance_options_read(skb, w))
                return instance_leave(INSTANCE_DROP_SHORT, INSTANCE_TC_DROP);
        if (!is_reset && is_b && !(y->flags & INSTANCE_SYN_RELEASED)) {
                y->b_isn = w->p.seq;
                y->b_mss = w->mss;
                y->b_shift = w->shift;
                y->b_window = w->p.window;
                if (w->sack)
                        y->sack |= 4;
        } else if (!is_reset && !(y->flags & INSTANCE_SYN_RELEASED)) {
                y->a_isn = w->p.seq;
                y->a_mss = w->mss;
                y->a_shift = w->shift;
                y->a_window = w->p.window;
                if (w->sack)
                        y->sack |= 2;
        }
        /* Store mine, then read the other's: whoever comes second sees both. */
        before = __sync_fetch_and_or(&y->flags, is_reset ? 0 : is_b ? INSTANCE_SYN_B : INSTANCE_SYN_A);
        other = instance_server_of(is_b ? y->primary : y->standby);
        enum instance_syn_verdict verdict = instance_syn_answer(y, before, is_b, is_reset, instance_tick(),
                                                                other ? other->flags : 0, &set);
        if ((set & INSTANCE_SYN_ALONE) && !y->why)
                y->why = INSTANCE_EVENT_EVICTED_LATE;
        if (set)
                before = __sync_fetch_and_or(&y->flags, set) | set;
        else
                before = y->flags;
        w->primary = y->primary;
        w->standby = y->standby;
        if (verdict == INSTANCE_SYN_HOLD)
                return INSTANCE_TC_DROP;
        if (verdict == INSTANCE_SYN_REFUSE) {
                w->act.main = instance_out_same(&w->s, INSTANCE_TO_CLIENT);
                w->act.main.is_bare = 1;
                bpf_map_delete_elem(&instance_syns, &w->flow);
                return INSTANCE_GO_ON;
        }
        /* The answer: A's numbers; of the rest, what holds for both. */
        _Bool is_other = before & INSTANCE_SYN_OTHER, is_alone = before & INSTANCE_SYN_ALONE;
        __u16 mss = is_other ? y->b_mss : y->a_mss, window = is_other ? y->b_window : y->a_window;
        if (!is_alone && y->b_mss && (!mss || y->b_mss < mss))
                mss = y->b_mss;
        if (!is_alone && y->b_window < window)
                window = y->b_window;
        instance_options_make(w, mss, is_other ? y->b_shift : y->a_shift, y->sack & (is_other ? 4 : 2));
        w->act.main = instance_out_same(&w->s, INSTANCE_TO_CLIENT);
        w->act.main.seq = is_other ? y->b_isn : y->a_isn;
        w->act.main.flags = INSTANCE_TCP_SYN | INSTANCE_TCP_ACK;
        w->act.main.window = window;
        w->act.main.is_bare = 1;
        return INSTANCE_GO_ON;
}

INSTANCE_INLINE long instance_conn_put(struct instance_work *w)
{
        if (w->vip_flags & INSTANCE_VIP_GUARD) /* an earlier one of the same port */
                bpf_map_delete_elem(&instance_dates, &w->flow);
        if (w->p.is_v6)
                return bpf_map_update_elem(&instance_conns6, &w->flow, w->conn, BPF_NOEXIST);
        struct instance_flow4 key = {
                .client = w->flow.client.word[3], .port = w->flow.port, .vip = w->flow.vip};
        return bpf_map_update_elem(&instance_conns4, &key, w->conn, BPF_NOEXIST);
}

INSTANCE_INLINE void instance_conn_forget(struct instance_work *w)
{
        if (w->p.is_v6) {
                bpf_map_delete_elem(&instance_conns6, &w->flow);
                return;
        }
        struct instance_flow4 key = {
                .client = w->flow.client.word[3], .port = w->flow.port, .vip = w->flow.vip};
        bpf_map_delete_elem(&instance_conns4, &key);
}

/* The client's third packet makes a connection of a handshake. @return 0: there is one now */
static __noinline int instance_conn_open(struct instance_work *w)
{
        struct instance_syn *y = bpf_map_lookup_elem(&instance_syns, &w->flow);

        if (!y || !instance_syn_third(y, &w->s))
                return -1;
        struct instance_conn *c = (void *)w->conn;
        w->syn = *y;
        instance_conn_begin(c, &w->syn, instance_tick());
        w->primary = c->primary;
        w->standby = c->standby;
        _Bool is_alone = c->flags & INSTANCE_CONN_ALONE;
        if (w->p.is_v6)
                c->flags |= INSTANCE_CONN_V6;
        if (!is_alone)
                c->flags |= INSTANCE_CONN_COUNTED;
        long rc = instance_conn_put(w);
        bpf_map_delete_elem(&instance_syns, &w->flow);
        w->act.lag = w->act.quiet = 0;
        if (rc) {
                instance_tell(w, INSTANCE_EVENT_TABLE_FULL, 0);
                return -1;
        }
        struct instance_server_stats *s = bpf_map_lookup_elem(&instance_server_stats, &w->primary);
        if (s)
                s->opened++;
        if (is_alone) {
                w->standby = w->syn.flags & INSTANCE_SYN_OTHER ? w->syn.primary : w->syn.standby;
                instance_tell(w, w->syn.why, 0);
                instance_count_event(w->vip, INSTANCE_EVENT_BARE);
                w->standby = INSTANCE_NOBODY;
                return 0;
        }
        s = bpf_map_lookup_elem(&instance_server_stats, &w->standby);
        if (s)
                s->standby++;
        instance_live_add(w->vip, 1);
        instance_tell(w, INSTANCE_EVENT_OPENED, 0);
        return 0;
}

/* What was left for later, so that the stack is not as deep as the whole way. */
__noinline int instance_go_on(struct __sk_buff *skb)
{
        __u32 zero = 0;
        struct instance_work *w = bpf_map_lookup_elem(&instance_works, &zero);
        return w ? instance_act(skb, w) : INSTANCE_TC_DROP;
}

#include "instance_aligned.h"

/* ---- the two ways in ----------------------------------------------------------------------- */

INSTANCE_INLINE struct instance_work *instance_work_of(const struct instance_packet *p)
{
        __u32 zero = 0;
        struct instance_work *w = bpf_map_lookup_elem(&instance_works, &zero);

        if (!w)
                return NULL;
        w->p = *p;
        w->is_cut = 0;
        w->is_gated = 0;
        w->has_options = 0;
        w->class = 0;
        __builtin_memset(&w->act, 0, sizeof(w->act));
        return w;
}

/* A client's TCP packet to a protected vip. @return a verdict or INSTANCE_GO_* */
__noinline int instance_tcp_client(struct __sk_buff *skb, const struct instance_packet *p,
                                   const struct instance_vip *vip)
{
        struct instance_work *w;
        struct instance_conn *c;

        if (!p || !vip)
                return INSTANCE_TC_DROP;
        w = instance_work_of(p);
        if (!w || p->ttl <= 1)
                return INSTANCE_GO_PLAIN;
        w->flow.client = p->src;
        w->flow.port = p->sport;
        w->flow.vip = (__u16)vip->number;
        w->vip = vip->number;
        w->vip_flags = vip->flags;
        w->is_nat = vip->returns == INSTANCE_RETURN_NAT;
        w->vip_address = p->dst;
        w->vip_port = p->dport;
        instance_segment_of(w, INSTANCE_FROM_CLIENT);
        c = instance_conn_of(&w->flow.client, w->flow.port, w->vip, p->is_v6);
        if ((p->tcp_flags & (INSTANCE_TCP_SYN | INSTANCE_TCP_ACK | INSTANCE_TCP_RST)) == INSTANCE_TCP_SYN) {
                if (c) {
                        __u32 age = instance_tick() - c->seen;
                        /* Of a living connection: the server will say so (RFC 9293, 3.10.7.4). */
                        if (!(c->flags & INSTANCE_CONN_CLOSED) &&
                            age >> (30 - INSTANCE_TICK_SHIFT + INSTANCE_STALE_SHIFT) == 0) {
                                w->primary = c->flags & INSTANCE_CONN_PROMOTED ? c->standby : c->primary;
                                w->act.main = instance_out_same(&w->s, INSTANCE_TO_A);
                                return INSTANCE_GO_ON;
                        }
                        if (c->flags & INSTANCE_CONN_COUNTED)
                                instance_live_add(w->vip, -1);
                        instance_conn_forget(w);
                }
                if (vip->flags & INSTANCE_VIP_ALIGNED) {
                        int rc = instance_aligned_syn(skb, w, vip);
                        if (rc != INSTANCE_GO_PLAIN)
                                return rc;
                }
                return instance_syn_client(skb, w, vip);
        }
        if (!c) {
                int rc = instance_conn_open(w);
                if (rc && (vip->flags & INSTANCE_VIP_ALIGNED))
                        rc = instance_aligned_open(w, vip);
                if (rc)
                        return rc < 0 ? INSTANCE_GO_PLAIN : rc;
                c = instance_conn_of(&w->flow.client, w->flow.port, w->vip, p->is_v6);
                if (!c)
                        return INSTANCE_GO_PLAIN;
        }
        w->primary = c->primary;
        w->standby = c->standby;
        return INSTANCE_GO_DECIDE;
}

/* A server's. */
__noinline int instance_tcp_server(struct __sk_buff *skb, const struct instance_packet *p,
                                   const struct instance_vip *vip, const struct instance_back *back)
{
        struct instance_work *w;
        struct instance_conn *c;
        enum instance_from from;
        struct instance_pick pick;

        if (!p || !vip || !back)
                return INSTANCE_TC_DROP;
        w = instance_work_of(p);
        if (!w || p->ttl <= 1)
                return INSTANCE_GO_PLAIN;
        w->flow.client = p->dst;
        w->flow.port = p->dport;
        w->flow.vip = back->vip;
        w->vip = back->vip;
        w->vip_flags = vip->flags;
        w->is_nat = vip->returns == INSTANCE_RETURN_NAT;
        w->vip_address = back->address;
        w->vip_port = back->port ? back->port : p->sport;
        c = instance_conn_of(&w->flow.client, w->flow.port, w->vip, p->is_v6);
        if (c) {
                if (back->server == c->primary)
                        from = INSTANCE_FROM_A;
                else if (back->server == c->standby)
                        from = INSTANCE_FROM_B;
                else if (c->flags & INSTANCE_CONN_ALONE)
                        from = INSTANCE_FROM_B; /* a standby that was given up during the handshake */
                else
                        return instance_leave(INSTANCE_DROP_AFTER, INSTANCE_TC_DROP);
                instance_segment_of(w, from);
                w->primary = c->primary;
                w->standby = from == INSTANCE_FROM_B ? back->server : c->standby;
                return INSTANCE_GO_DECIDE;
        }
        instance_segment_of(w, INSTANCE_FROM_A);
        if (!p->payload_bytes) {
                int rc = instance_syn_server(skb, w, vip, back->server);
                if (rc != INSTANCE_GO_PLAIN)
                        return rc;
        }
        /* No state: whoever serves this flow by the table alone may speak, nobody's standby. */
        if (instance_pick_of(vip, instance_hash(&w->flow.client, w->flow.port, vip->seed), &pick) &&
            back->server == pick.standby && back->server != pick.primary) {
                const struct instance_server *a = instance_server_of(pick.primary);
                if (a && instance_server_is_up(a) && !(a->flags & INSTANCE_SERVER_LEAVING))
                        return instance_leave(INSTANCE_DROP_STANDBY, INSTANCE_TC_DROP);
        }
        return INSTANCE_GO_PLAIN;
}
