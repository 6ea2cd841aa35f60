// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The front's fast half: what needs neither a clone nor a decision about a connection, before an skb is made.
 * Unprotected TCP and UDP both ways, and protected connections that have one server left, with the client's
 * numbers. Everything else goes on to tc as it came, and so does whatever would leave by a device that does
 * not take frames from XDP: they would be lost there without a trace.
 *
 * That is also why it needs no settings: without instance_xdp_out and INSTANCE_SERVER_XDP it forwards
 * nothing. Frames to another host's MAC address must not arrive: a device in promiscuous mode behind a hub
 * needs tc.
 */
#include "instance_plain.h"

/* Devices that take frames from XDP, by ifindex. By user space; the value says nothing. */
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 256);
        __type(key, __u32);
        __type(value, __u32);
} instance_xdp_out SEC(".maps");

/*
 * The server of a protected connection that goes without its standby: A's, if nothing is left to decide.
 * SYN, FIN and RST change what the connection is, so they are tc's.
 */
INSTANCE_INLINE struct instance_conn *instance_xdp_alone(const struct instance_address *client, __be16 port,
                                                         __u32 vip, const struct instance_packet *p)
{
        if (p->proto != INSTANCE_PROTO_TCP ||
            (p->tcp_flags & (INSTANCE_TCP_SYN | INSTANCE_TCP_FIN | INSTANCE_TCP_RST)))
                return NULL;
        struct instance_conn *c = instance_conn_of(client, port, vip, p->is_v6);
        if (!c || (c->flags & (INSTANCE_CONN_ALONE | INSTANCE_CONN_PROMOTED | INSTANCE_CONN_CLOSED)) !=
                          INSTANCE_CONN_ALONE)
                return NULL;
        return c;
}

INSTANCE_INLINE __u32 instance_xdp_tick(void)
{
        return (__u32)(bpf_ktime_get_coarse_ns() >> INSTANCE_TICK_SHIFT);
}

INSTANCE_INLINE int instance_xdp_to(void *data, void *end, const struct instance_packet *p,
                                    const struct instance_vip *vip, const struct instance_server *s)
{
        if (INSTANCE_UNLIKELY(!(s->flags & INSTANCE_SERVER_XDP) || !instance_xdp_hop(data, end, p)))
                return XDP_PASS;
        if (vip->returns == INSTANCE_RETURN_NAT &&
            !instance_xdp_rewrite(data, end, p, 1, &s->address, instance_port_at(s, p->dport)))
                return instance_leave(INSTANCE_DROP_NO_ROOM, XDP_DROP);
        instance_xdp_macs(data, s->mac, s->own_mac);
        instance_count_to_server(vip->number, (__u32)(end - data));
        return (int)bpf_redirect(s->ifindex, 0);
}

INSTANCE_INLINE int instance_xdp_request(void *data, void *end, const struct instance_packet *p,
                                         const struct instance_vip *vip)
{
        __u32 number = 0;

        if (vip->protect != INSTANCE_PROTECT_NEVER) {
                struct instance_conn *c = instance_xdp_alone(&p->src, p->sport, vip->number, p);
                const struct instance_server *s = c ? instance_server_of(c->primary) : NULL;
                if (!s || !instance_server_is_up(s))
                        return XDP_PASS;
                c->seen = instance_xdp_tick();
                return instance_xdp_to(data, end, p, vip, s);
        }
        const struct instance_server *s =
                instance_choose(vip, instance_hash(&p->src, p->sport, vip->seed), &number);
        if (INSTANCE_UNLIKELY(!s))
                return instance_leave(INSTANCE_DROP_NO_SERVER, XDP_DROP);
        int verdict = instance_xdp_to(data, end, p, vip, s);
        if (p->proto == INSTANCE_PROTO_TCP && verdict == XDP_REDIRECT &&
            (p->tcp_flags & (INSTANCE_TCP_SYN | INSTANCE_TCP_ACK)) == INSTANCE_TCP_SYN)
                instance_count_opened(vip, number);
        return verdict;
}

INSTANCE_INLINE int instance_xdp_answer(struct xdp_md *ctx, void *data, void *end,
                                        const struct instance_packet *p, const struct instance_back *back)
{
        const struct instance_vip *vip = instance_vip_of(&back->address, back->port, p->proto);
        __be16 port = back->port ? back->port : p->sport;
        __u32 bytes = (__u32)(end - data);
        struct bpf_fib_lookup to;

        if (!vip)
                return XDP_PASS;
        if (vip->protect != INSTANCE_PROTECT_NEVER) {
                struct instance_conn *c = instance_xdp_alone(&p->dst, p->dport, back->vip, p);
                if (!c || c->primary != back->server)
                        return XDP_PASS;
                c->seen = c->a_seen = instance_xdp_tick();
        }
        /* The kernel resolves neighbours, delivers to this host, refuses what is too long: all before tc. */
        if (instance_route(ctx, p, &back->address, ctx->ingress_ifindex, bytes - INSTANCE_L2, &to) !=
            BPF_FIB_LKUP_RET_SUCCESS)
                return XDP_PASS;
        __u32 out = to.ifindex;
        if (!bpf_map_lookup_elem(&instance_xdp_out, &out) || !instance_xdp_hop(data, end, p))
                return XDP_PASS;
        if (vip->returns == INSTANCE_RETURN_NAT &&
            !instance_xdp_rewrite(data, end, p, 0, &back->address, port))
                return instance_leave(INSTANCE_DROP_NO_ROOM, XDP_DROP);
        instance_xdp_macs(data, to.dmac, to.smac);
        instance_count_from(back->server, bytes, p->tcp_flags);
        instance_count_to_client(back->vip, bytes);
        return (int)bpf_redirect(out, 0);
}

SEC("xdp")
int instance_xdp(struct xdp_md *ctx)
{
        void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
        struct instance_packet p;
        struct instance_found found;

        if (INSTANCE_UNLIKELY(!instance_parse(data, end, (__u32)(end - data), &p)))
                return XDP_PASS;
        switch (instance_find(&p, data + 6, &found)) {
        case INSTANCE_TO_VIP:
                return instance_xdp_request(data, end, &p, found.vip);
        case INSTANCE_FROM_SERVER:
                if (INSTANCE_UNLIKELY(instance_may_be_check(&p)))
                        return XDP_PASS; /* tc looks whether we have asked */
                return instance_xdp_answer(ctx, data, end, &p, found.back);
        case INSTANCE_TO_ADDRESS:
                if (p.wrong)
                        return instance_leave(p.wrong - 1, XDP_DROP);
                /* Echoes and neighbours are the host's; errors may concern two servers. */
                if (p.proto == INSTANCE_PROTO_ICMP || p.proto == INSTANCE_PROTO_ICMP6)
                        return XDP_PASS;
                return instance_leave(INSTANCE_DROP_NO_SERVICE, XDP_DROP);
        case INSTANCE_NOT_OURS:
        default:
                return XDP_PASS;
        }
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
