#pragma once
/* The maps that both programs of the front use, by name; instance_abi.h says what is in them. BPF only. */
#include "instance_parse.h"

#include <bpf/bpf_helpers.h>

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, INSTANCE_VIPS_MAX * 2); /* each with an entry for the rest of its address */
        __type(key, struct instance_vip_key);
        __type(value, struct instance_vip);
} instance_vips SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, INSTANCE_VIPS_MAX * 2 * INSTANCE_ROW / 2);
        __type(key, __u32);
        __type(value, struct instance_pick_pair);
} instance_table SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, INSTANCE_SERVERS_MAX);
        __type(key, __u32);
        __type(value, struct instance_server);
} instance_servers SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, INSTANCE_SERVERS_MAX);
        __type(key, struct instance_back_key);
        __type(value, struct instance_back);
} instance_back SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 65536);
        __type(key, struct instance_flow4);
        __type(value, struct instance_conn);
} instance_conns4 SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 65536);
        __type(key, struct instance_flow);
        __type(value, struct instance_conn);
} instance_conns6 SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, INSTANCE_VIPS_MAX);
        __type(key, __u32);
        __type(value, struct instance_vip_stats);
} instance_vip_stats SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, INSTANCE_SERVERS_MAX);
        __type(key, __u32);
        __type(value, struct instance_server_stats);
} instance_server_stats SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, INSTANCE_SERVERS_MAX);
        __type(key, __u32);
        __type(value, struct instance_word);
} instance_words SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, INSTANCE_DROP_COUNT);
        __type(key, __u32);
        __type(value, __u64);
} instance_drops SEC(".maps");

/* Count a way out and hand back its verdict, so that leaving is one line. */
INSTANCE_INLINE int instance_leave(enum instance_drop why, int verdict)
{
        __u32 key = why;
        __u64 *count = bpf_map_lookup_elem(&instance_drops, &key);

        if (count)
                ++*count;
        return verdict;
}

INSTANCE_INLINE struct instance_server *instance_server_of(__u32 number)
{
        return bpf_map_lookup_elem(&instance_servers, &number);
}

/* A vip that is protected or not says so in one place: is there anything for tc to do? */
INSTANCE_INLINE struct instance_conn *instance_conn_of(const struct instance_address *client, __be16 port,
                                                       __u32 vip, _Bool is_v6)
{
        if (is_v6) {
                struct instance_flow key = {.client = *client, .port = port, .vip = (__u16)vip};
                return bpf_map_lookup_elem(&instance_conns6, &key);
        }
        struct instance_flow4 key = {.client = client->word[3], .port = port, .vip = (__u16)vip};
        return bpf_map_lookup_elem(&instance_conns4, &key);
}
