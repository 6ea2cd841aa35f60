// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The last step of one path: runs on every copy as the program of a devmap entry, finishes the
 * tag with the path's number and writes the outer headers over what replicate left there.
 * All it knows about the path is fixed at load; a change is a new load and new devmap entries.
 */
#include "path_maps.bpf.h"

const volatile __u64 path_outer[6] = {0};
const volatile __u32 path_ip_sum = 0;
const volatile __u32 path_number = 0;
const volatile __u32 path_mtu = 0;

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, PATH_PATHS_MAX);
        __type(key, __u32);
        __type(value, __u64);
} path_refused SEC(".maps");

static __noinline int path_refuse(void)
{
        __u32 key = path_number;
        __u64 *refused = bpf_map_lookup_elem(&path_refused, &key);

        if (refused)
                ++*refused;
        return path_leave(PATH_DROP_EGRESS_BIG, XDP_DROP);
}

SEC("xdp/devmap")
int path_egress(struct xdp_md *ctx)
{
        void *data = (void *)(long)ctx->data;
        void *end = (void *)(long)ctx->data_end;
        __u64 size = end - data;
        struct dog_sip s;
        __u32 ip_bytes, sum;

        if (data + PATH_INNER_AT > end)
                return path_leave(PATH_DROP_EGRESS_SHORT, XDP_DROP);
        ip_bytes = (__u32)size - PATH_L2;
        if (ip_bytes > path_mtu)
                return path_refuse();

        /* 1. The tag: the other copies have done the first half already. */
        s.v0 = path_word(data);
        s.v1 = path_word(data + 8);
        s.v2 = path_word(data + 16);
        s.v3 = path_word(data + 24);
        __u64 first = path_word(data + PATH_WIRE_AT) | path_tag_word((__u64)path_number << 16);
        path_word_set(data + PATH_WIRE_AT, first);
        path_word_set(data + PATH_WIRE_AT + 24, path_tag_end(&s, first));

        /* 2. The outer headers: constant but for two lengths and one checksum. */
        sum = path_ip_sum + ip_bytes;
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        path_word_set(data, path_outer[0]);
        path_word_set(data + 8, path_outer[1]);
        path_word_set(data + 16, path_outer[2] | path_to_net((__u64)ip_bytes << 48));
        path_word_set(data + 24, path_outer[3] | path_to_net((__u64)(~sum & 0xffff) << 48));
        path_word_set(data + 32, path_outer[4] | path_to_net(ip_bytes - sizeof(struct iphdr)));
        *(__u16 *)(data + 40) = 0;
        return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
