#pragma once
/*
 * Aligned mode in the front's tc program: answer a SYN without keeping anything, make a connection of the
 * third packet. BPF only; a part of instance_tcp.h, which includes it where everything it uses is there.
 * instance_cookie.h says what a cookie is, instance_shim_abi.h what the other end does.
 */
#include "instance_cookie.h"

/** By vip's number; no key in force: the vip is translated. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, INSTANCE_VIPS_MAX);
        __type(key, __u32);
        __type(value, struct instance_cookie_vip);
} instance_cookies SEC(".maps");

/**
 * By vip's number: second (of the monotonic clock, plus one) in which a packet of a connection that has no
 * entry was let go last; 0: never. While it is recent there may be such connections, so a packet without
 * entry and cookie is forwarded without state; else it is an answer to a SYN that we did not send, and
 * dropped.
 */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, INSTANCE_VIPS_MAX);
        __type(key, __u32);
        __type(value, __u32);
} instance_loose SEC(".maps");

/* The two entries below are global functions: the verifier looks at each once, not at every place and in every
 * state in which it is called. */
#define INSTANCE_LOOSE_S 900 /* as long as a silent connection is remembered */

INSTANCE_INLINE __u32 instance_second(void)
{
        return (__u32)(bpf_ktime_get_ns() / 1000000000) + 1;
}

/* A connection of this vip goes on without an entry. */
static __noinline int instance_loosen(__u32 vip)
{
        __u32 *loose = bpf_map_lookup_elem(&instance_loose, &vip), now = instance_second();

        if (loose && *loose != now)
                *loose = now;
        return INSTANCE_GO_PLAIN;
}

INSTANCE_INLINE const struct instance_cookie_vip *instance_cookies_of(__u32 vip, __u64 *epoch)
{
        const struct instance_cookie_vip *k = bpf_map_lookup_elem(&instance_cookies, &vip);

        if (!k)
                return NULL;
        *epoch = instance_cookie_epoch(bpf_ktime_get_ns() + k->clock_ns);
        return k;
}

/* Both servers for a connection that begins now, both with a shim. @return 0, and w->primary and _standby */
static __noinline int instance_aligned_pick(struct instance_work *w, const struct instance_vip *vip)
{
        const struct instance_server *a, *b;
        struct instance_pick pick;

        if (!instance_pick_of(vip, instance_hash(&w->flow.client, w->flow.port, vip->seed), &pick))
                return -1;
        a = instance_server_of(pick.primary);
        b = instance_server_of(pick.standby);
        /* 1. Who is leaving takes nothing new; its standby does. */
        if (!a || !instance_server_is_up(a) || (a->flags & INSTANCE_SERVER_LEAVING)) {
                a = b;
                pick.primary = pick.standby;
                b = NULL;
        }
        if (!a || !instance_server_is_up(a) || !(a->flags & INSTANCE_SERVER_ALIGNED))
                return -1;
        w->primary = pick.primary;
        w->standby = INSTANCE_NOBODY;
        /* 2. A standby without a shim cannot take part, but the vip can be translated. */
        if (b && pick.primary != pick.standby && instance_server_is_up(b) &&
            !(b->flags & INSTANCE_SERVER_UNFIT) && (b->flags & INSTANCE_SERVER_ALIGNED))
                w->standby = pick.standby;
        return 0;
}

/**
 * A SYN for an aligned vip. Nothing is kept for it: whoever does not answer costs nothing.
 * @return a verdict, or INSTANCE_GO_PLAIN: it is not for us to answer
 */
__noinline int instance_aligned_syn(struct __sk_buff *skb, struct instance_work *w,
                                    const struct instance_vip *vip)
{
        const struct instance_cookie_vip *k;
        const struct instance_cookie_key *key;
        struct instance_offer offer;
        __u8 mac[12];
        __u64 epoch;

        if (!w || !vip)
                return INSTANCE_GO_PLAIN;
        k = instance_cookies_of(w->vip, &epoch);
        if (!k)
                return instance_loosen(w->vip);
        key = instance_cookie_key_of(&k->keys, epoch);
        if (!key ||
            (vip->protect == INSTANCE_PROTECT_SHARE &&
             (__u32)instance_hash(&w->flow.client, w->flow.port, vip->seed) > vip->share) ||
            instance_aligned_pick(w, vip) || w->standby == INSTANCE_NOBODY)
                return instance_loosen(w->vip);
        if (instance_options_read(skb, w))
                return instance_leave(INSTANCE_DROP_SHORT, INSTANCE_TC_DROP);
        offer.mss = w->mss ? w->mss : w->p.is_v6 ? 1220 : 536; /* not said: RFC 9293, 3.7.1 */
        offer.wscale = w->shift;
        offer.has_sack = w->sack;
        w->act.main = instance_out_same(&w->s, INSTANCE_TO_CLIENT);
        w->act.main.seq = instance_cookie_make(key, &w->flow.client, w->flow.port, w->p.seq, epoch, &offer);
        w->act.main.ack = w->p.seq + 1;
        w->act.main.flags = INSTANCE_TCP_SYN | INSTANCE_TCP_ACK;
        w->act.main.window = INSTANCE_COOKIE_WINDOW;
        w->act.main.is_bare = 1;
        instance_options_make(w, w->p.is_v6 ? k->mss6 : k->mss4,
                              w->shift == INSTANCE_NO_SHIFT ? INSTANCE_NO_SHIFT : INSTANCE_COOKIE_WSCALE,
                              w->sack);
        instance_ends_of(w, &w->act.main, NULL);
        if (instance_write_bare(skb, w, &w->act.main) || bpf_skb_load_bytes(skb, 0, mac, 12) ||
            instance_tc_macs(skb, mac + 6, mac))
                return instance_leave(INSTANCE_DROP_NO_ROOM, INSTANCE_TC_DROP);
        /* Back to whoever brought it: a route need not be looked up for a sender who may not exist. */
        skb->mark = INSTANCE_MARK;
        return (int)bpf_redirect(skb->ifindex, instance_is_host ? BPF_F_INGRESS : 0);
}

/**
 * A packet of an aligned vip that belongs to no connection. With one of our numbers it makes one.
 * @return 0: there is one now; a verdict; or INSTANCE_GO_PLAIN
 */
__noinline int instance_aligned_open(struct instance_work *w, const struct instance_vip *vip)
{
        struct instance_conn *c = (void *)w->conn;
        const struct instance_cookie_vip *k;
        const struct instance_server *b;
        struct instance_offer offer;
        __u32 *loose, *live;
        __u64 epoch;

        if (!w || !vip)
                return INSTANCE_GO_PLAIN;
        k = instance_cookies_of(w->vip, &epoch);
        if (!k || (w->s.flags & (INSTANCE_TCP_SYN | INSTANCE_TCP_RST | INSTANCE_TCP_ACK)) != INSTANCE_TCP_ACK)
                return INSTANCE_GO_PLAIN;
        if (!instance_cookie_read(&k->keys, &w->flow.client, w->flow.port, w->s.seq - 1, epoch,
                                  INSTANCE_COOKIE_FRONT_BACK, INSTANCE_COOKIE_FRONT_AHEAD, w->s.ack - 1,
                                  &offer)) {
                loose = bpf_map_lookup_elem(&instance_loose, &w->vip);
                if (!loose || !*loose || instance_second() - *loose > INSTANCE_LOOSE_S)
                        return instance_leave(INSTANCE_DROP_COOKIE, INSTANCE_TC_DROP);
                return instance_loosen(w->vip);
        }
        if (instance_aligned_pick(w, vip))
                return instance_leave(INSTANCE_DROP_NO_SERVER, INSTANCE_TC_DROP);
        b = instance_server_of(w->standby);
        live = bpf_map_lookup_elem(&instance_live, &w->vip);
        if (b && vip->most && live && *live >= vip->most) {
                instance_count_event(w->vip, INSTANCE_EVENT_TABLE_FULL);
                b = NULL;
        }
        if (!b)
                w->standby = INSTANCE_NOBODY;
        /* Contents can be compared only if they come here. */
        instance_cookie_begin(c, (__u16)w->primary, (__u16)w->standby,
                              b && (b->flags & INSTANCE_SERVER_GATED) && !(vip->flags & INSTANCE_VIP_GUARD),
                              &offer, w->s.seq, w->s.ack, instance_tick());
        if (w->p.is_v6)
                c->flags |= INSTANCE_CONN_V6;
        if (b)
                c->flags |= INSTANCE_CONN_COUNTED;
        w->act.lag = w->act.quiet = 0;
        /* No room: the numbers are the same without us, so it goes on without state. */
        if (instance_conn_put(w)) {
                instance_tell(w, INSTANCE_EVENT_TABLE_FULL, 0);
                return instance_loosen(w->vip);
        }
        struct instance_server_stats *s = bpf_map_lookup_elem(&instance_server_stats, &w->primary);
        if (s)
                s->opened++;
        if (!b) {
                instance_tell(w, INSTANCE_EVENT_BARE, 0);
                return 0;
        }
        s = bpf_map_lookup_elem(&instance_server_stats, &w->standby);
        if (s)
                s->standby++;
        instance_live_add(w->vip, 1);
        instance_tell(w, INSTANCE_EVENT_OPENED, 0);
        return 0;
}
