// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * On every underlay device: a packet to our port is checked, the first copy is stripped and
 * given to the tunnel's device, the others are counted and dropped. All else passes untouched.
 * A packet that fails a check is never answered.
 */
#include "path_maps.bpf.h"

const volatile __u32 path_port = 0;
const volatile __u32 path_check_every = 16;

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, PATH_TUNNELS_MAX);
        __type(key, __u32);
        __type(value, struct path_rx_tunnel);
} path_rx_tunnels SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, 1024);
        __type(key, __u32);
        __type(value, struct path_rx_class);
} path_rx_classes SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, PATH_WINDOW);
        __type(key, __u32);
        __type(value, __u64);
} path_slots SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, PATH_TUNNELS_MAX *PATH_PATHS_MAX);
        __type(key, __u32);
        __type(value, struct path_rx_stats);
} path_rx_stats SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1024);
        __type(key, __u32);
        __type(value, struct path_class_rx);
} path_class_rx SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_DEVMAP);
        __uint(max_entries, PATH_TUNNELS_MAX);
        __uint(key_size, sizeof(__u32));
        __uint(value_size, sizeof(struct bpf_devmap_val));
} path_out SEC(".maps");

/* What the window says, beside the reasons of enum path_drop. */
#define PATH_FIRST     PATH_DROP_COUNT
#define PATH_DUPLICATE (PATH_DROP_COUNT + 1)

#define PATH_REBASE_NS (1LL << 36) /* 69 s: no path is that slow; the far end has restarted */

static __noinline void path_sample(struct path_rx_stats *stats, struct path_rx_tunnel *t, __u64 sent_ns)
{
        __u64 now_ns;
        __s64 delay_ns;
        struct path_delay *d;

        if (!stats || !t)
                return;
        now_ns = bpf_ktime_get_ns();
        delay_ns = (__s64)(now_ns - sent_ns) - t->delay_base_ns;
        if (!t->delay_base_ns || delay_ns > PATH_REBASE_NS || delay_ns < -PATH_REBASE_NS) {
                t->delay_base_ns = (__s64)(now_ns - sent_ns) | 1;
                delay_ns = 0;
        }
        d = t->interval & 1 ? &stats->delay[1] : &stats->delay[0];
        if (d->interval != t->interval || !d->count) {
                d->interval = t->interval;
                d->count = 0;
                d->sum_ns = 0;
                d->min_ns = delay_ns;
                d->max_ns = delay_ns;
        }
        d->count++;
        d->sum_ns += delay_ns;
        if (delay_ns < d->min_ns)
                d->min_ns = delay_ns;
        if (delay_ns > d->max_ns)
                d->max_ns = delay_ns;
        stats->newest_ns = now_ns;
}

/* What a packet of a known flow tells about its path, whether it was first or not. */
PATH_INLINE void path_note(struct path_rx_stats *stats, __u64 *newest, __u64 seq, __u32 outer_bytes)
{
        stats->received++;
        stats->bytes += outer_bytes;
        if (likely(seq > *newest))
                *newest = seq;
        else if (seq < *newest)
                stats->reordered++;
}

/* Without touching the window: is this sequence new to its word? See path_slots in path_abi.h. */
PATH_INLINE int path_window_look(__u64 word, __u64 block, __u64 bit)
{
        if ((word & ~0xffULL) == block)
                return word & bit ? PATH_DUPLICATE : PATH_FIRST;
        return (word & ~0xffULL) > block ? PATH_DROP_RX_STALE : PATH_FIRST;
}

/*
 * Take the sequence: it is ours when the compare-and-swap wins. Losing means that another CPU
 * has just taken one of the same eight: look again. A CPU can lose at most once to each of the
 * others' packets in hand, so eight tries are for machines larger than we have met.
 */
PATH_INLINE int path_window_take(__u64 *at, __u64 word, __u64 block, __u64 bit)
{
        for (int i = 0; i < 8; i++) {
                int way = path_window_look(word, block, bit);
                if (way != PATH_FIRST)
                        return way;
                __u64 next = (word & ~0xffULL) == block ? word | bit : block | bit;
                __u64 was = __sync_val_compare_and_swap(at, word, next);
                if (was == word)
                        return PATH_FIRST;
                word = was;
        }
        return PATH_DROP_RX_CONTENDED;
}

SEC("xdp")
int path_eliminate(struct xdp_md *ctx)
{
        void *data = (void *)(long)ctx->data;
        void *end = (void *)(long)ctx->data_end;
        struct ethhdr *eth = data;
        struct iphdr *ip = data + PATH_L2;
        struct udphdr *udp = (void *)(ip + 1);
        struct path_wire *w = (void *)(udp + 1);

        /* 1. Ours? IPv4 without options, whole, UDP, our port. */
        if ((void *)w > end)
                return path_leave(PATH_DROP_RX_OTHER, XDP_PASS);
        if (eth->h_proto != bpf_htons(ETH_P_IP) || *(__u8 *)ip != 0x45 || ip->protocol != IPPROTO_UDP ||
            (ip->frag_off & bpf_htons(0x3fff)) || udp->dest != bpf_htons((__u16)path_port))
                return path_leave(PATH_DROP_RX_OTHER, XDP_PASS);

        /* 2. Complete, and of a form that we know. */
        if (unlikely(data + PATH_INNER_AT + PATH_INNER_MIN > end))
                return path_leave(PATH_DROP_RX_SHORT, XDP_DROP);
        __u32 outer_bytes = bpf_ntohs(ip->tot_len);
        if (unlikely(outer_bytes > (__u32)(end - data) - PATH_L2 ||
                     outer_bytes < PATH_OVERHEAD + PATH_INNER_MIN ||
                     bpf_ntohs(udp->len) != outer_bytes - sizeof(*ip)))
                return path_leave(PATH_DROP_RX_SHORT, XDP_DROP);
        __u64 raw_first = path_word(w), first = bpf_be64_to_cpu(raw_first);
        __u32 flags = (__u32)(first >> 48) & 0xff, path = (__u32)(first >> 40) & 0xff;
        __u32 epoch = (__u32)(first >> 32) & 0xff, tunnel = (__u32)first >> 16;
        if (unlikely(first >> 56 != PATH_WIRE_VERSION || (flags & ~PATH_WIRE_KNOWN)))
                return path_leave(PATH_DROP_RX_VERSION, XDP_DROP);

        /* 3. A tunnel, path, class and key that we have. */
        struct path_rx_tunnel *t = bpf_map_lookup_elem(&path_rx_tunnels, &tunnel);
        if (unlikely(!t || !t->class_count))
                return path_leave(PATH_DROP_RX_NO_TUNNEL, XDP_DROP);
        if (unlikely(path >= PATH_PATHS_MAX || !((t->path_mask & flags) >> path & 1)))
                return path_leave(PATH_DROP_RX_BAD_PATH, XDP_DROP);
        __u32 at = (__u32)first & 0xffff;
        if (unlikely(at >= t->class_count))
                return path_leave(PATH_DROP_RX_NO_CLASS, XDP_DROP);
        at += t->class_base;
        __u32 stats_at = tunnel * PATH_PATHS_MAX + path;
        struct path_rx_class *c = bpf_map_lookup_elem(&path_rx_classes, &at);
        struct path_rx_stats *stats = bpf_map_lookup_elem(&path_rx_stats, &stats_at);
        if (unlikely(!c || !stats))
                return path_leave(PATH_DROP_RX_NO_CLASS, XDP_DROP);
        __u64 raw_seq = path_word(&w->seq), raw_sent = path_word(&w->sent_ns);
        __u64 seq = bpf_be64_to_cpu(raw_seq), bit = 1ULL << (seq & 7);
        __u64 block = seq & ~0xffULL;
        __u32 word_at = c->offset + ((__u32)(seq >> 3) & c->mask);
        __u64 *word = bpf_map_lookup_elem(&path_slots, &word_at);
        if (unlikely(!word))
                return path_leave(PATH_DROP_RX_NO_CLASS, XDP_DROP);
        const struct path_key *k = epoch & 1 ? &t->key[1] : &t->key[0];
        if (unlikely(k->epoch != epoch))
                return path_leave(PATH_DROP_RX_NO_KEY, XDP_DROP);

        /*
         * 4. Authentic? The second copy of a packet in the window is dropped in any case, and who
         * can name its sequence could as well replay it: of those, some are checked.
         */
        __u64 seen = *(volatile __u64 *)word;
        int way = path_window_look(seen, block, bit);
        if (way != PATH_DUPLICATE || raw_sent || !(seq & (path_check_every - 1)) ||
            (flags & PATH_WIRE_CONTROL)) {
                struct dog_sip s;
                path_tag_begin(&s, k->k0, k->k1, raw_seq, raw_sent);
                if (unlikely(path_tag_end(&s, raw_first) != path_word(&w->tag))) {
                        stats->bad_tag++;
                        return path_leave(PATH_DROP_RX_BAD_TAG, XDP_DROP);
                }
                if (unlikely(flags & PATH_WIRE_CONTROL)) {
                        stats->control++;
                        return path_leave(PATH_DROP_RX_CONTROL, XDP_PASS);
                }
                if (raw_sent)
                        path_sample(stats, t, bpf_be64_to_cpu(raw_sent));
                if (seq > c->newest[path]) {
                        stats->peer = ip->saddr;
                        stats->peer_port = udp->source;
                }
        }

        /* 5. First? */
        path_note(stats, &c->newest[path], seq, outer_bytes);
        if (way == PATH_FIRST)
                way = path_window_take(word, seen, block, bit);
        if (way == PATH_DUPLICATE) {
                stats->duplicate++;
                return XDP_DROP;
        }
        if (unlikely(way != PATH_FIRST)) {
                stats->stale += way == PATH_DROP_RX_STALE;
                return path_leave(way, XDP_DROP);
        }
        if (unlikely(*(__u8 *)(w + 1) >> 4 != 4))
                return path_leave(PATH_DROP_RX_NOT_IP, XDP_DROP);

        /* 6. Deliver. */
        struct path_class_rx *rx = bpf_map_lookup_elem(&path_class_rx, &at);
        stats->first[flags & PATH_WIRE_SUBSET]++;
        if (rx) {
                rx->packets++;
                rx->bytes += outer_bytes - PATH_OVERHEAD;
        }
        if (unlikely(bpf_xdp_adjust_head(ctx, PATH_OVERHEAD)))
                return path_leave(PATH_DROP_RX_SHORT, XDP_DROP);
        data = (void *)(long)ctx->data;
        end = (void *)(long)ctx->data_end;
        eth = data;
        if (unlikely((void *)(eth + 1) > end))
                return path_leave(PATH_DROP_RX_SHORT, XDP_DROP);
        __builtin_memcpy(data, t->mac_to, 12);
        eth->h_proto = bpf_htons(ETH_P_IP);
        return (int)bpf_redirect_map(&path_out, tunnel, XDP_DROP);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
