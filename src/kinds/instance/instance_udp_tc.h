#pragma once
/*
 * Mirrored UDP in traffic control: what instance_udp.h decides, done. BPF only. Called with headers pulled
 * and parsed, for a vip whose protection is not NEVER.
 */
#include "instance_plain.h"
#include "instance_udp.h"

#define INSTANCE_UDP_CHUNKS 64 /* so much of a payload is hashed, 4 KiB; of the rest the length counts */

/* Bounded, and the oldest go: a flood of flows costs mirrored flows their memory, not their answers. */
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 16384);
        __type(key, struct instance_flow);
        __type(value, struct instance_talk);
} instance_talks SEC(".maps");

/* A new flow's value is too large for the stack. */
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct instance_talk);
} instance_talk_blank SEC(".maps");

INSTANCE_INLINE __u32 instance_udp_tick(void)
{
        return (__u32)(bpf_ktime_get_ns() >> INSTANCE_TICK_SHIFT);
}

/** Hash of `bytes` of payload at `at`; the sum of what could be read when the skb is shorter than it says. */
static __noinline __u64 instance_udp_hash(struct __sk_buff *skb, __u32 at, __u32 bytes)
{
        __u64 words[INSTANCE_UDP_CHUNK / 8], hash = (__u64)bytes * 0x9e3779b97f4a7c15ULL;
        __u32 left = bytes;

        for (int i = 0; i < INSTANCE_UDP_CHUNKS && left >= INSTANCE_UDP_CHUNK; i++) {
                if (bpf_skb_load_bytes(skb, at, words, INSTANCE_UDP_CHUNK))
                        return hash;
                hash = instance_udp_mix(hash, words);
                at += INSTANCE_UDP_CHUNK;
                left -= INSTANCE_UDP_CHUNK;
        }
        if (!left || left >= INSTANCE_UDP_CHUNK)
                return hash;
        __builtin_memset(words, 0, sizeof(words));
        left &= INSTANCE_UDP_CHUNK - 1;
        if (left && !bpf_skb_load_bytes(skb, at, words, left))
                hash = instance_udp_mix(hash, words);
        return hash;
}

INSTANCE_INLINE _Bool instance_udp_is_up(__u32 number)
{
        const struct instance_server *s = instance_server_of(number);
        return s && instance_server_is_up(s);
}

INSTANCE_INLINE _Bool instance_udp_is_fit(__u32 number)
{
        const struct instance_server *s = instance_server_of(number);
        return s && instance_server_is_up(s) && !(s->flags & INSTANCE_SERVER_UNFIT);
}

/** The flow's state, made if it is new; its servers those of the table when its primary is gone. NULL: none
 */
INSTANCE_INLINE struct instance_talk *instance_udp_open(const struct instance_flow *flow,
                                                        const struct instance_vip *vip)
{
        struct instance_talk *u = bpf_map_lookup_elem(&instance_talks, flow);
        struct instance_pick pick;
        __u32 zero = 0;

        if (INSTANCE_LIKELY(u && instance_udp_is_up(u->primary)))
                return u;
        __u64 hash = instance_hash(&flow->client, flow->port, vip->seed);
        if (!instance_pick_of(vip, hash, &pick))
                return u;
        if (u) {
                /* A long-lived flow gets a standby again as soon as the table has one without the dead. */
                if (instance_udp_is_up(pick.primary)) {
                        u->primary = pick.primary;
                        u->standby = pick.standby;
                        u->flags = 0;
                        u->asks = 0;
                }
                return u;
        }
        if (vip->protect == INSTANCE_PROTECT_SHARE && (__u32)hash >= vip->share && ~vip->share)
                return NULL;
        if (!instance_udp_is_up(pick.primary) || !instance_udp_is_fit(pick.standby))
                return NULL;
        struct instance_talk *blank = bpf_map_lookup_elem(&instance_talk_blank, &zero);
        if (!blank)
                return NULL;
        blank->primary = pick.primary;
        blank->standby = pick.standby;
        if (bpf_map_update_elem(&instance_talks, flow, blank, BPF_NOEXIST))
                return NULL;
        struct instance_vip_stats *stats;
        __u32 number = vip->number;
        stats = bpf_map_lookup_elem(&instance_vip_stats, &number);
        if (stats)
                stats->event[INSTANCE_EVENT_OPENED]++;
        return bpf_map_lookup_elem(&instance_talks, flow);
}

/** The same frame, for another server than the one that it was just made for. */
INSTANCE_INLINE int instance_udp_turn(struct __sk_buff *skb, const struct instance_packet *p,
                                      const struct instance_vip *vip, const struct instance_server *from,
                                      const struct instance_server *to)
{
        struct instance_packet now = *p;

        if (vip->returns != INSTANCE_RETURN_NAT)
                return 0;
        now.dst = from->address;
        now.dport = instance_port_at(from, p->dport);
        return instance_tc_rewrite(skb, &now, 1, &to->address, instance_port_at(to, p->dport));
}

/** A request to a mirrored vip. @return a tc verdict */
static __noinline __attribute__((unused)) int
instance_udp_request(struct __sk_buff *skb, const struct instance_packet *p, const struct instance_vip *vip)
{
        if (!p || !vip)
                return INSTANCE_TC_PASS;
        struct instance_flow flow = {.client = p->src, .port = p->sport, .vip = (__u16)vip->number};
        struct instance_talk *u = instance_udp_open(&flow, vip);

        if (!u)
                return instance_tc_plain(skb, p, vip);
        const struct instance_server *a = instance_server_of(u->primary), *b = instance_server_of(u->standby);
        struct instance_udp_now now = {.tick = instance_udp_tick(),
                                       .answer = vip->answer,
                                       .a_up = a && instance_server_is_up(a),
                                       .b_up = b && instance_server_is_up(b),
                                       .b_copy = b && !(b->flags & INSTANCE_SERVER_UNFIT)};
        __u32 to = instance_udp_ask(u, &now);
        if (!a || to == INSTANCE_UDP_TO_B)
                a = b;
        if (!to || !a)
                return instance_leave(INSTANCE_DROP_NO_SERVER, INSTANCE_TC_DROP);
        if (to != (INSTANCE_UDP_TO_A | INSTANCE_UDP_TO_B) || !b)
                return instance_tc_to(skb, p, vip, a);

        __u32 bytes = skb->len, number = vip->number;
        if (instance_tc_hop(skb, p))
                return INSTANCE_TC_PASS;
        if (vip->returns == INSTANCE_RETURN_NAT &&
            instance_tc_rewrite(skb, p, 1, &a->address, instance_port_at(a, p->dport)))
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        if (!instance_tc_macs(skb, a->mac, a->own_mac))
                bpf_clone_redirect(skb, a->ifindex, 0);
        instance_count_to_server(number, bytes);
        struct instance_vip_stats *stats = bpf_map_lookup_elem(&instance_vip_stats, &number);
        if (stats)
                stats->copies++;
        if (instance_udp_turn(skb, p, vip, a, b))
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        return instance_tc_send(skb, b->mac, b->own_mac, b->ifindex);
}

/** An answer of one of a mirrored vip's servers, which is counted as from there. @return a tc verdict */
static __noinline __attribute__((unused)) int instance_udp_reply(struct __sk_buff *skb,
                                                                 const struct instance_packet *p,
                                                                 const struct instance_vip *vip,
                                                                 const struct instance_back *back)
{
        if (!p || !vip || !back)
                return INSTANCE_TC_PASS;
        struct instance_flow flow = {.client = p->dst, .port = p->dport, .vip = back->vip};
        struct instance_talk *u = bpf_map_lookup_elem(&instance_talks, &flow);
        __u32 server = back->server;

        if (u && (server == u->primary || server == u->standby)) {
                struct instance_udp_now now = {.hash = instance_udp_hash(skb, p->payload, p->payload_bytes),
                                               .tick = instance_udp_tick(),
                                               .answer = vip->answer,
                                               .a_up = instance_udp_is_up(u->primary),
                                               .b_up = instance_udp_is_up(u->standby)};
                if (!instance_udp_answer(u, &now, server == u->standby))
                        return instance_leave(INSTANCE_DROP_STANDBY, INSTANCE_TC_DROP);
        }
        return instance_tc_answer(skb, p, back);
}

/**
 * Does a server of a mirrored vip refuse a request (nobody listens on the port) that its twin has too? That is
 * between it and us: a client that heard it would give up, though the other one answers.
 */
static __noinline __attribute__((unused)) int instance_udp_is_refusal(struct __sk_buff *skb)
{
        const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
        struct instance_packet p;
        struct instance_quote q;
        struct instance_found f;

        if (!instance_parse(data, end, skb->len, &p) || !instance_is_icmp_error(&p) ||
            p.icmp_type != (p.is_v6 ? INSTANCE_ICMP6_UNREACHABLE : INSTANCE_ICMP_UNREACHABLE) ||
            p.icmp_code != (p.is_v6 ? INSTANCE_ICMP6_NO_PORT : INSTANCE_ICMP_NO_PORT) ||
            !instance_parse_quote(data, end, &p, &q) || q.proto != INSTANCE_PROTO_UDP ||
            instance_find_quoted(&p, &q, &f) != INSTANCE_FROM_SERVER)
                return 0;
        struct instance_flow flow = {.client = q.src, .port = q.sport, .vip = f.back->vip};
        const struct instance_talk *u = bpf_map_lookup_elem(&instance_talks, &flow);
        if (!u)
                return 0;
        return (f.back->server == u->primary && instance_udp_is_up(u->standby)) ||
               (f.back->server == u->standby && instance_udp_is_up(u->primary));
}
