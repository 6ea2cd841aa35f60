// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What goes into the tunnel device comes out here, at the far end of its veth pair: find the
 * class, take a sequence number, put the header in front, hand one copy to every path of the
 * class's subset.
 */
#include "path_maps.bpf.h"

const volatile __u32 path_wire_tunnel = 0;
const volatile __u32 path_rules_max = 1024;
const volatile __u32 path_cache_mask = 4095;
const volatile __u32 path_class_count = 1;
const volatile __u32 path_rx_tunnel = 0;
const volatile __u32 path_cpus = 1;
const volatile __u64 path_tick_ns = 5000000;

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct path_settings);
} path_settings SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, 1024);
        __type(key, __u32);
        __type(value, struct path_class);
} path_classes SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, 1024);
        __type(key, __u32);
        __type(value, struct path_seq);
} path_seqs SEC(".maps");

struct path_subset_map {
        __uint(type, BPF_MAP_TYPE_DEVMAP);
        __uint(max_entries, PATH_PATHS_MAX);
        __uint(key_size, sizeof(__u32));
        __uint(value_size, sizeof(struct bpf_devmap_val));
};

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
        __uint(max_entries, PATH_SUBSETS);
        __type(key, __u32);
        __array(values, struct path_subset_map);
} path_subsets SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 2 * 1024);
        __type(key, __u32);
        __type(value, struct path_rule);
} path_rules SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 65536);
        __type(key, struct path_flow_key);
        __type(value, struct path_flow);
} path_flows SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 4096);
        __type(key, __u32);
        __type(value, struct path_flow_slot);
} path_flow_cache SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1024);
        __type(key, __u32);
        __type(value, struct path_class_tx);
} path_class_tx SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, PATH_SUBSETS);
        __type(key, __u32);
        __type(value, struct path_tx);
} path_tx SEC(".maps");

/* The receiving side's map: what the reflex listens to. */
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, PATH_TUNNELS_MAX *PATH_PATHS_MAX);
        __type(key, __u32);
        __type(value, struct path_rx_stats);
} path_rx_stats SEC(".maps");

struct path_ear {
        struct bpf_timer timer;
        __u64 heard[PATH_PATHS_MAX];    /* packets, when last looked */
        __u64 heard_ns[PATH_PATHS_MAX]; /* when that changed */
};

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct path_ear);
} path_ears SEC(".maps");

/* ---- which class ------------------------------------------------------------------------- */

/* A flow key in two registers: written to the stack field by field it would be read back slowly. */
struct path_words {
        __u64 a, b;
};

struct path_scan {
        struct path_flow_key key;
        __u16 sport, dport; /* host order */
        __u32 first;        /* where the bank begins */
        __u32 klass;
};

PATH_INLINE int path_rule_matches(const struct path_rule *r, const struct path_scan *scan)
{
        if ((scan->key.src & r->src_mask) != r->src || (scan->key.dst & r->dst_mask) != r->dst)
                return 0;
        if ((r->flags & PATH_RULE_PROTO) && r->proto != scan->key.proto)
                return 0;
        if ((r->flags & PATH_RULE_DSCP) && r->dscp != scan->key.dscp)
                return 0;
        if (!scan->key.has_ports)
                return !r->sport_low && r->sport_high == 0xffff && !r->dport_low && r->dport_high == 0xffff;
        return scan->sport >= r->sport_low && scan->sport <= r->sport_high && scan->dport >= r->dport_low &&
               scan->dport <= r->dport_high;
}

static long path_rule_step(__u32 index, void *context)
{
        struct path_scan *scan = context;
        __u32 at = scan->first + index;
        const struct path_rule *r = bpf_map_lookup_elem(&path_rules, &at);

        if (!r)
                return 1;
        if (!path_rule_matches(r, scan))
                return 0;
        scan->klass = r->klass;
        return 1;
}

/* The slow half: flows decided before, then the rules in order. */
static __noinline __u32 path_decide(__u64 a, __u64 b, __u32 default_class)
{
        __u32 zero = 0, bank, count;
        union {
                struct path_words words;
                struct path_flow_key key;
        } flow = {.words = {a, b}};
        const struct path_settings *set = bpf_map_lookup_elem(&path_settings, &zero);
        const struct path_flow *known = bpf_map_lookup_elem(&path_flows, &flow.key);

        if (!set)
                return default_class;
        struct path_flow decided = {.klass = default_class, .rules = set->rules};
        if (known && ((known->flags & PATH_FLOW_PINNED) || known->rules == decided.rules))
                return known->klass;

        struct path_scan scan = {.key = flow.key, .klass = default_class};
        bank = decided.rules & 1;
        scan.first = bank * path_rules_max;
        scan.sport = bpf_ntohs(flow.key.sport);
        scan.dport = bpf_ntohs(flow.key.dport);
        count = bank ? set->rule_count[1] : set->rule_count[0];
        if (count > path_rules_max)
                count = path_rules_max;
        bpf_loop(count, path_rule_step, &scan, 0);
        decided.klass = scan.klass;
        bpf_map_update_elem(&path_flows, &flow.key, &decided, BPF_ANY);
        return decided.klass;
}

/* The fast half: a direct-mapped cache of this CPU, valid while the generation stands. */
PATH_INLINE __u32 path_classify(struct path_words key, const struct path_settings *set)
{
        __u64 mix = (key.a ^ set->hash_seed) * 0x9e3779b97f4a7c15ULL;
        __u32 generation = set->generation;

        mix = (mix ^ mix >> 32 ^ key.b) * 0xd6e8feb86659fd93ULL;
        __u32 at = (__u32)(mix >> 40) & path_cache_mask;
        struct path_flow_slot *slot = bpf_map_lookup_elem(&path_flow_cache, &at);
        if (!slot)
                return set->default_class;
        struct path_words *have = (struct path_words *)&slot->key;
        if (likely(have->a == key.a && have->b == key.b && slot->generation == generation))
                return slot->klass;

        __u32 klass = path_decide(key.a, key.b, set->default_class);
        *have = key;
        slot->klass = klass;
        slot->generation = generation;
        return klass;
}

/* ---- which paths ------------------------------------------------------------------------- */

PATH_INLINE __u32 path_alive_mask(const struct path_settings *set, __u32 limit_ms)
{
        return (__u32)(set->silent_ms[0] <= limit_ms) | (__u32)(set->silent_ms[1] <= limit_ms) << 1 |
               (__u32)(set->silent_ms[2] <= limit_ms) << 2 | (__u32)(set->silent_ms[3] <= limit_ms) << 3;
}

/* The reflex: what is left of the subset, else the first fallback that is left, else no change. */
PATH_INLINE __u32 path_reflex(const struct path_class *c, const struct path_settings *set, __u32 subset)
{
        __u32 alive = path_alive_mask(set, c->silence_ms);

        if (subset & alive)
                return subset & alive;
        for (int i = 0; i < 4; i++) {
                __u32 other = c->fallback[i] & (PATH_SUBSETS - 1);
                if (other & alive)
                        return other & alive;
        }
        return subset;
}

PATH_INLINE __u32 path_copies(__u32 subset)
{
        return (__u32)(0x4332322132212110ULL >> subset * 4) & 15;
}

/* ---- the reflex: how long has each path been silent ---------------------------------------- */

static __noinline __u64 path_heard(__u32 path)
{
        __u32 at = path_rx_tunnel * PATH_PATHS_MAX + path;
        __u64 sum = 0;

        for (__u32 cpu = 0; cpu < PATH_CPUS_MAX && cpu < path_cpus; cpu++) {
                const struct path_rx_stats *s = bpf_map_lookup_percpu_elem(&path_rx_stats, &at, cpu);
                if (s)
                        sum += s->received + s->control;
        }
        return sum;
}

/* Looking at counters every few milliseconds spares the receiver a clock on every packet. */
static int path_listen(void *map, __u32 *key, struct path_ear *ear)
{
        __u64 now_ns = bpf_ktime_get_ns();
        struct path_settings *set = bpf_map_lookup_elem(&path_settings, key);
        __u32 longest_ms = 0;

        if (!set)
                return 0;
        for (__u32 p = 0; p < PATH_PATHS_MAX; p++) {
                __u64 heard = path_heard(p);
                if (heard != ear->heard[p] || !ear->heard_ns[p]) {
                        ear->heard[p] = heard;
                        ear->heard_ns[p] = now_ns;
                }
                __u32 silent_ms = (__u32)((now_ns - ear->heard_ns[p]) / 1000000);
                set->silent_ms[p] = silent_ms;
                if (silent_ms > longest_ms)
                        longest_ms = silent_ms;
        }
        set->silent_max_ms = longest_ms;
        bpf_timer_start(&ear->timer, path_tick_ns, 0);
        return 0;
}

/*
 * Started by the first packet, so that no one has to. The timer lives as long as path_ears is held
 * or pinned; -EBUSY means that it still does, from before a restart.
 */
static __noinline int path_listen_begin(struct path_settings *set)
{
        __u32 zero = 0;
        struct path_ear *ear = bpf_map_lookup_elem(&path_ears, &zero);

        if (!ear || !set)
                return 0;
        set->listens = 1;
        if (bpf_timer_init(&ear->timer, &path_ears, 1 /* CLOCK_MONOTONIC */))
                return 0;
        bpf_timer_set_callback(&ear->timer, path_listen);
        return (int)bpf_timer_start(&ear->timer, path_tick_ns, 0);
}

/* ---- the program ------------------------------------------------------------------------- */

SEC("xdp")
int path_replicate(struct xdp_md *ctx)
{
        void *data = (void *)(long)ctx->data;
        void *end = (void *)(long)ctx->data_end;
        __u32 zero = 0;
        struct path_settings *set = bpf_map_lookup_elem(&path_settings, &zero);
        struct path_words key;
        __u32 ip_bytes;

        /* 1. IPv4, and as long as it says. */
        struct ethhdr *eth = data;
        struct iphdr *ip = data + PATH_L2;
        if (unlikely(!set || data + PATH_L2 + sizeof(*ip) > end))
                return path_leave(PATH_DROP_TX_SHORT, XDP_DROP);
        if (unlikely(eth->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4))
                return path_leave(PATH_DROP_TX_NOT_IP, XDP_DROP);
        ip_bytes = (__u32)(end - data) - PATH_L2;
        __u32 own_bytes = bpf_ntohs(ip->tot_len), header_bytes = ip->ihl * 4;
        if (unlikely(own_bytes > ip_bytes || own_bytes < header_bytes || header_bytes < sizeof(*ip)))
                return path_leave(PATH_DROP_TX_SHORT, XDP_DROP);
        if (unlikely(ip_bytes > set->mtu))
                return path_leave(PATH_DROP_TX_BIG, XDP_DROP);

        /* 2. The flow it belongs to, laid out as struct path_flow_key. */
        __u32 proto = ip->protocol;
        key.a = path_word(&ip->saddr);
        key.b = (__u64)proto << 24 | (__u64)(ip->tos >> 2) << 16;
        if (unlikely(ip->frag_off & bpf_htons(0x3fff))) {
                path_leave(PATH_DROP_TX_FRAGMENT, 0);
        } else if (proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
                   proto == IPPROTO_DCCP || proto == IPPROTO_UDPLITE) {
                __u32 *ports = (void *)ip + header_bytes;
                if (unlikely((void *)(ports + 1) > end))
                        return path_leave(PATH_DROP_TX_SHORT, XDP_DROP);
                key.b |= (__u64)bpf_ntohl(*ports) << 32 | 1;
        }
        if (unlikely(header_bytes != sizeof(*ip)))
                path_leave(PATH_DROP_TX_OPTIONS, 0);
        key.b = path_to_net(key.b);

        /* 3. Its class, and the paths of it. */
        __u32 klass = path_classify(key, set);
        const struct path_class *c = bpf_map_lookup_elem(&path_classes, &klass);
        struct path_seq *seqs = bpf_map_lookup_elem(&path_seqs, &klass);
        struct path_class_tx *tx = bpf_map_lookup_elem(&path_class_tx, &klass);
        if (unlikely(!c || !seqs || !tx || klass >= path_class_count || !seqs->next))
                return path_leave(PATH_DROP_TX_NO_CLASS, XDP_DROP);
        __u32 wanted = c->subset & (PATH_SUBSETS - 1), subset = wanted;
        if (unlikely(c->silence_ms)) {
                if (unlikely(!set->listens))
                        path_listen_begin(set);
                if (set->silent_max_ms > c->silence_ms)
                        subset = path_reflex(c, set, subset);
        }
        void *paths = bpf_map_lookup_elem(&path_subsets, &subset);
        if (unlikely(!subset || !paths))
                return path_leave(PATH_DROP_TX_NO_PATH, XDP_DROP);

        /* 4. The header, and the half of the tag that all copies share in front of it. */
        if (unlikely(bpf_xdp_adjust_head(ctx, -PATH_OVERHEAD)))
                return path_leave(PATH_DROP_TX_NO_ROOM, XDP_DROP);
        data = (void *)(long)ctx->data;
        end = (void *)(long)ctx->data_end;
        if (unlikely(data + PATH_INNER_AT > end))
                return path_leave(PATH_DROP_TX_NO_ROOM, XDP_DROP);
        __u64 seq = __sync_fetch_and_add(&seqs->next, 1);
        __u64 raw_seq = path_to_net(seq), raw_sent = 0;
        if ((seq & c->sample_mask) == 0)
                raw_sent = path_to_net(bpf_ktime_get_ns());
        __u32 epoch = set->epoch & 0xff;
        const struct path_key *k = epoch & 1 ? &set->key[1] : &set->key[0];
        struct path_wire *w = data + PATH_WIRE_AT;
        struct dog_sip s;
        path_tag_begin(&s, k->k0, k->k1, raw_seq, raw_sent);
        path_word_set(data, s.v0);
        path_word_set(data + 8, s.v1);
        path_word_set(data + 16, s.v2);
        path_word_set(data + 24, s.v3);
        path_word_set(w, path_to_net((__u64)PATH_WIRE_VERSION << 56 | (__u64)subset << 48 |
                                     (__u64)epoch << 32 | PATH_ID(path_wire_tunnel, klass)));
        path_word_set(&w->seq, raw_seq);
        path_word_set(&w->sent_ns, raw_sent);

        /* 5. Off it goes: one path needs no copying, and no path leads back to where it came from. */
        __u32 copies = path_copies(subset);
        struct path_tx *sent = bpf_map_lookup_elem(&path_tx, &subset);
        if (sent) {
                sent->packets++;
                sent->bytes += ip_bytes;
        }
        tx->packets++;
        tx->bytes += ip_bytes;
        tx->copies += copies;
        if (unlikely(subset != wanted))
                tx->reflex++;
        if (copies == 1)
                return (int)bpf_redirect_map(paths, (subset >> 1) - (subset >> 3), XDP_DROP);
        return (int)bpf_redirect_map(paths, 0, BPF_F_BROADCAST);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
