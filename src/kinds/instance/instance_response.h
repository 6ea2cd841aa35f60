#pragma once
/*
 * How long a server takes to answer: from a client's newest bytes to the first byte that comes back. Of a
 * sample of the flows, beside the state of connections, so that a flow that is not sampled pays for a
 * multiplication. BPF only.
 */
#include "instance_maps.h"

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 8192);
        __type(key, struct instance_flow);
        __type(value, struct instance_question);
} instance_questions SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, INSTANCE_SERVERS_MAX);
        __type(key, __u32);
        __type(value, struct instance_response);
} instance_responses SEC(".maps");

/* Is this flow one of those that are asked about? Not the hash of the table: who serves must not matter. */
INSTANCE_INLINE _Bool instance_is_sampled(const struct instance_flow *flow, __u32 mask)
{
        __u32 h = (flow->client.word[3] ^ (__u32)flow->port << 16 ^ flow->client.word[1]) * 0x9e3779b1u;
        return !(h >> 24 & mask);
}

/* Global, both: verified once, and their frames are no part of the caller's. */
__noinline int instance_response_ask(const struct instance_flow *flow, __u32 server)
{
        if (!flow)
                return 0;
        struct instance_flow key = *flow;
        struct instance_question q = {.at_ns = bpf_ktime_get_ns(), .server = server};
        struct instance_question *was = bpf_map_lookup_elem(&instance_questions, &key);
        if (was) {
                was->at_ns = q.at_ns;
                was->server = server;
                return 0;
        }
        return (int)bpf_map_update_elem(&instance_questions, &key, &q, BPF_ANY);
}

__noinline int instance_response_note(const struct instance_flow *flow, __u32 server)
{
        if (!flow)
                return 0;
        struct instance_flow key = *flow;
        struct instance_question *q = bpf_map_lookup_elem(&instance_questions, &key);
        if (!q)
                return 0;
        __u64 at_ns = q->at_ns;
        __u32 asked = q->server;
        bpf_map_delete_elem(&instance_questions, &key);
        /* Whoever was asked took so long, at least: one that took over is not to blame for it. */
        if (asked == INSTANCE_NOBODY)
                asked = server;
        struct instance_response *r = bpf_map_lookup_elem(&instance_responses, &asked);
        if (!r)
                return 0;
        __u64 now_ns = bpf_ktime_get_ns(), span = now_ns >> INSTANCE_SPAN_SHIFT;
        __u64 took_ns = now_ns > at_ns ? now_ns - at_ns : 0;
        r->answers++;
        r->sum_ns += took_ns;
        __u32 slot = span & 1;
        if (r->span[slot] != span) {
                r->span[slot] = span;
                r->most_ns[slot] = 0;
        }
        if (took_ns > r->most_ns[slot])
                r->most_ns[slot] = took_ns;
        return 0;
}
