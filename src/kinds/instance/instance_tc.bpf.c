// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The front in traffic control: every packet of a served address, whichever way it goes.
 *
 *   instance_tc_ingress  of every device of a gateway; of the uplink on a client's own host
 *   instance_tc_egress   of the uplink on a client's own host
 *
 * Both do the same: whose packet it is shows in its addresses. What they made or decided on carries a mark,
 * so that it is not decided on again where it leaves.
 */
#include "instance_tcp.h"
#include "instance_udp_tc.h"

#include <linux/if_packet.h>

/* Frames of their own: the stack is 512 bytes, all callers included. Global: verified once, not per caller.
 */
__noinline int instance_tc_plainly(struct __sk_buff *skb, const struct instance_packet *p,
                                   const struct instance_vip *vip)
{
        return p && vip ? instance_tc_plain(skb, p, vip) : INSTANCE_TC_DROP;
}

__noinline int instance_tc_back(struct __sk_buff *skb, const struct instance_packet *p,
                                const struct instance_back *back)
{
        return p && back ? instance_tc_answer(skb, p, back) : INSTANCE_TC_DROP;
}

/*
 * Is there a socket of this host that has asked for it? A client behind us may have a port like ours. A
 * global function, so that it is verified once and by itself: what it does adds no states to its caller.
 */
__noinline int instance_tc_is_check(struct __sk_buff *skb)
{
        struct instance_packet p;
        struct bpf_sock_tuple tuple = {};
        const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
        if (!instance_parse(data, end, skb->len, &p))
                return 0;
        if (p.is_v6) {
                __builtin_memcpy(tuple.ipv6.saddr, p.src.word, sizeof(tuple.ipv6.saddr));
                __builtin_memcpy(tuple.ipv6.daddr, p.dst.word, sizeof(tuple.ipv6.daddr));
                tuple.ipv6.sport = p.sport;
                tuple.ipv6.dport = p.dport;
        } else {
                tuple.ipv4.saddr = p.src.word[3];
                tuple.ipv4.daddr = p.dst.word[3];
                tuple.ipv4.sport = p.sport;
                tuple.ipv4.dport = p.dport;
        }
        struct bpf_sock *sk = bpf_skc_lookup_tcp(
                skb, &tuple, p.is_v6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
        if (!sk)
                return 0;
        bpf_sk_release(sk);
        return 1;
}

/* Without a connection to look at, whoever answers is the one who was asked. `server` NOBODY: a question. */
__noinline int instance_tc_time(const struct instance_packet *p, const struct instance_vip *vip, __u32 server)
{
        struct instance_flow flow = {};
        _Bool is_answer = server != INSTANCE_NOBODY;

        if (!p || !vip || !p->payload_bytes)
                return 0;
        flow.client = is_answer ? p->dst : p->src;
        flow.port = is_answer ? p->dport : p->sport;
        flow.vip = (__u16)vip->number;
        if (!instance_is_sampled(&flow, vip->ask_mask))
                return 0;
        return is_answer ? instance_response_note(&flow, server) : instance_response_ask(&flow, server);
}

INSTANCE_INLINE int instance_tc(struct __sk_buff *skb)
{
        struct instance_packet p;
        struct instance_found f;
        const struct instance_vip *vip;
        int rc;

        if (skb->mark == INSTANCE_MARK || skb->pkt_type == PACKET_OTHERHOST) /* overheard: another's */
                return INSTANCE_TC_PASS;
        if (skb->data_end - skb->data < INSTANCE_HEADERS && skb->len > skb->data_end - skb->data &&
            bpf_skb_pull_data(skb, skb->len < INSTANCE_HEADERS ? skb->len : INSTANCE_HEADERS))
                return INSTANCE_TC_PASS;
        const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
        if (!instance_parse(data, end, skb->len, &p))
                return INSTANCE_TC_PASS;
        if (data + INSTANCE_L2 > end)
                return INSTANCE_TC_PASS;
        __u8 mac[6];
        __builtin_memcpy(mac, data + 6, 6);
        switch (instance_find(&p, mac, &f)) {
        case INSTANCE_TO_VIP:
                if (p.proto == INSTANCE_PROTO_TCP && f.vip->protect != INSTANCE_PROTECT_NEVER) {
                        rc = instance_tcp_client(skb, &p, f.vip);
                        if (rc == INSTANCE_GO_DECIDE)
                                rc = instance_conn_packet(skb, f.vip);
                        if (rc == INSTANCE_GO_ON)
                                return instance_go_on(skb);
                        if (rc != INSTANCE_GO_PLAIN)
                                return rc;
                }
                if (p.proto == INSTANCE_PROTO_UDP && f.vip->protect != INSTANCE_PROTECT_NEVER)
                        return instance_udp_request(skb, &p, f.vip);
                instance_tc_time(&p, f.vip, INSTANCE_NOBODY);
                return instance_tc_plainly(skb, &p, f.vip);
        case INSTANCE_FROM_SERVER:
                if (INSTANCE_UNLIKELY(instance_may_be_check(&p)) && instance_tc_is_check(skb))
                        return INSTANCE_TC_PASS;
                instance_count_from(f.back->server, skb->len, p.tcp_flags);
                vip = instance_vip_of(&f.back->address, f.back->port, p.proto);
                if (vip && vip->protect != INSTANCE_PROTECT_NEVER) {
                        if (p.proto == INSTANCE_PROTO_UDP)
                                return instance_udp_reply(skb, &p, vip, f.back);
                        rc = instance_tcp_server(skb, &p, vip, f.back);
                        if (rc == INSTANCE_GO_DECIDE)
                                rc = instance_conn_packet(skb, vip);
                        if (rc == INSTANCE_GO_ON)
                                return instance_go_on(skb);
                        if (rc != INSTANCE_GO_PLAIN)
                                return rc;
                }
                if (vip)
                        instance_tc_time(&p, vip, f.back->server);
                return instance_tc_back(skb, &p, f.back);
        case INSTANCE_TO_ADDRESS:
                if (instance_is_icmp_error(&p))
                        return instance_tc_icmp(skb);
                if (p.wrong)
                        return instance_leave((enum instance_drop)(p.wrong - 1), INSTANCE_TC_DROP);
                if (p.proto == INSTANCE_PROTO_ICMP || p.proto == INSTANCE_PROTO_ICMP6)
                        return INSTANCE_TC_PASS; /* echo: whoever has the address answers */
                return instance_leave(INSTANCE_DROP_NO_SERVICE, INSTANCE_TC_DROP);
        case INSTANCE_NOT_OURS:
                break;
        }
        if (!instance_is_icmp_error(&p))
                return INSTANCE_TC_PASS;
        if (instance_udp_is_refusal(skb))
                return instance_leave(INSTANCE_DROP_STANDBY, INSTANCE_TC_DROP);
        return instance_tc_icmp(skb);
}

SEC("tc")
int instance_tc_ingress(struct __sk_buff *skb)
{
        return instance_tc(skb);
}

SEC("tc")
int instance_tc_egress(struct __sk_buff *skb)
{
        return instance_tc(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
