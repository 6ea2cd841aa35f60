// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the front's bench feeds and compares with: a generator of random flows, a bare hop and sinks. */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define BENCH_IFS 4096

__u32 gen_ifindex = 0;  /* where the generator sends */
__u32 gen_mask = 65535; /* of the number of a flow */
__u32 gen_port = 80;
__u32 gen_back = 0; /* answers of servers instead of requests */

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, __u64);
} gen_state SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, BENCH_IFS);
        __type(key, __u32);
        __type(value, __u64);
} sink_count SEC(".maps");

/* Where a bare hop forwards to, by the interface it came in on. */
struct {
        __uint(type, BPF_MAP_TYPE_DEVMAP);
        __uint(max_entries, BENCH_IFS);
        __uint(key_size, 4);
        __uint(value_size, 4);
} hop_to SEC(".maps");

/*
 * A TCP segment of flow n: from 10.1.x.y, port 1024 + n % 60000, to 10.0.0.1. A page comes back with what the
 * last round wrote into it, so every byte that anybody changes is written again. The TCP checksum is not
 * right: to update it costs the same, and the sink does not look.
 */
SEC("xdp")
int gen(struct xdp_md *ctx)
{
        void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
        __u32 zero = 0, n;
        __u64 *state = bpf_map_lookup_elem(&gen_state, &zero);

        if (!state || data + 54 > end)
                return XDP_DROP;
        *state = *state * 6364136223846793005ULL + 1442695040888963407ULL; /* Knuth's MMIX */
        n = (__u32)(*state >> 40) & gen_mask;
        __u32 client = bpf_htonl(0x0a010000 + n), port = bpf_htons((__u16)(1024 + n % 60000));
        __u32 total = (__u32)(end - data) - 14;
        __u32 from = gen_back ? bpf_htonl(0x0a020000 + (n & 3)) : client;
        __u32 to = gen_back ? client : bpf_htonl(0x0a000001);
        __u32 *w = data;
        w[0] = 0x01010102;
        w[1] = 0x02020101;
        w[2] = 0x02020202;
        *(__u16 *)(data + 12) = bpf_htons(0x0800);
        /* The sum of the IP header, so that what leaves is a sound one. */
        __u32 sum = 0x4500 + total + 0x4000 + 0x4006;
        sum += (bpf_ntohl(from) >> 16) + (bpf_ntohl(from) & 0xffff);
        sum += (bpf_ntohl(to) >> 16) + (bpf_ntohl(to) & 0xffff);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        __u32 *ip = data + 14;
        ip[0] = bpf_htonl(0x45000000 | total);
        ip[1] = bpf_htonl(0x4000);
        ip[2] = bpf_htonl(64 << 24 | 6 << 16 | (~sum & 0xffff));
        ip[3] = from;
        ip[4] = to;
        __u16 *ports = data + 34;
        ports[0] = gen_back ? bpf_htons(8080) : (__u16)port;
        ports[1] = gen_back ? (__u16)port : bpf_htons((__u16)gen_port);
        __u32 *tcp = data + 38;
        tcp[0] = bpf_htonl(n);
        tcp[1] = 0;
        tcp[2] = bpf_htonl(0x50100200);
        tcp[3] = 0;
        return (int)bpf_redirect(gen_ifindex, 0);
}

SEC("xdp")
int hop(struct xdp_md *ctx)
{
        return (int)bpf_redirect_map(&hop_to, ctx->ingress_ifindex, XDP_DROP);
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

char LICENSE[] SEC("license") = "Dual BSD/GPL";
