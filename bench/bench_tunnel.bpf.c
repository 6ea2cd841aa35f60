// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the tunnel bench compares with: a generator, bare hops, broadcasts and sinks. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define BENCH_IFS  4096
#define BENCH_SEEN (1 << 22)

__u32 gen_ifindex = 0; /* where the generator sends */
__u32 gen_flows = 64;
__u32 gen_stride = 1; /* flow n belongs to rule n * stride */

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, __u64);
} gen_count SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, BENCH_IFS);
        __type(key, __u32);
        __type(value, __u64);
} sink_count SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, BENCH_SEEN);
        __type(key, __u32);
        __type(value, __u32);
} seen SEC(".maps");

/* Where a bare hop forwards to, by the interface it came in on. */
struct {
        __uint(type, BPF_MAP_TYPE_DEVMAP);
        __uint(max_entries, BENCH_IFS);
        __uint(key_size, 4);
        __uint(value_size, 4);
} hop_to SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_DEVMAP);
        __uint(max_entries, 4);
        __uint(key_size, 4);
        __uint(value_size, 4);
} copies_2 SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_DEVMAP);
        __uint(max_entries, 4);
        __uint(key_size, 4);
        __uint(value_size, 4);
} copies_3 SEC(".maps");

/* A page comes back with what the last round wrote into it: write every header byte again. */
SEC("xdp")
int gen(struct xdp_md *ctx)
{
        void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
        struct ethhdr *eth = data;
        struct iphdr *ip = data + sizeof(*eth);
        struct udphdr *udp = (void *)(ip + 1);
        __u32 zero = 0, flow;
        __u64 *count = bpf_map_lookup_elem(&gen_count, &zero);

        if (!count || (void *)(udp + 1) + 8 > end)
                return XDP_DROP;
        flow = (__u32)(*count & (gen_flows - 1)) * gen_stride;
        ((__u64 *)data)[0] = 0x0202010101010102ULL;
        *(__u32 *)(data + 8) = 0x02020202;
        eth->h_proto = bpf_htons(ETH_P_IP);
        *(__u32 *)ip = bpf_htonl(0x45000000 | (__u32)(end - data - sizeof(*eth)));
        *((__u32 *)ip + 1) = bpf_htonl(0x4000);
        *((__u32 *)ip + 2) = bpf_htonl(64 << 24 | IPPROTO_UDP << 16);
        ip->saddr = bpf_htonl(0x0a000001);
        ip->daddr = bpf_htonl(0x0a010000 + flow);
        udp->source = bpf_htons(5000);
        udp->dest = bpf_htons((__u16)(1000 + flow));
        udp->len = bpf_htons((__u16)(end - (void *)udp));
        udp->check = 0;
        *(__u64 *)(udp + 1) = *count << 8 | bpf_get_smp_processor_id();
        ++*count;
        return (int)bpf_redirect(gen_ifindex, 0);
}

SEC("xdp")
int hop(struct xdp_md *ctx)
{
        return (int)bpf_redirect_map(&hop_to, ctx->ingress_ifindex, XDP_DROP);
}

SEC("xdp")
int broadcast_2(struct xdp_md *ctx)
{
        return (int)bpf_redirect_map(&copies_2, 0, BPF_F_BROADCAST);
}

SEC("xdp")
int broadcast_3(struct xdp_md *ctx)
{
        return (int)bpf_redirect_map(&copies_3, 0, BPF_F_BROADCAST);
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
        __u32 at = ctx->ingress_ifindex;
        __u64 *count = bpf_map_lookup_elem(&sink_count, &at);

        if (count)
                ++*count;
        return XDP_DROP;
}

/* The same, and every packet is known by name: how often did each one come? */
SEC("xdp")
int sink_seen(struct xdp_md *ctx)
{
        void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
        __u64 name;
        __u32 at;

        if (data + 42 + 8 <= end) {
                name = *(__u64 *)(data + 42);
                at = (__u32)(name >> 8) * 2 + (name & 1);
                __u32 *times = bpf_map_lookup_elem(&seen, &at);
                if (times)
                        __sync_fetch_and_add(times, 1);
        }
        return sink(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
