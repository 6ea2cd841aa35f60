#pragma once
/* What the three programs of the tunnel share: headers, the counter of ways out, byte order. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "path_abi.h"
#include "path_siphash.h"

#define PATH_INLINE   static __always_inline
#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)
#define PATH_L2       14                         /* Ethernet without tags */
#define PATH_WIRE_AT  (PATH_L2 + PATH_OUTER_IP4) /* 42 */
#define PATH_INNER_AT (PATH_L2 + PATH_OVERHEAD)  /* 74 */

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, PATH_DROP_COUNT);
        __type(key, __u32);
        __type(value, __u64);
} path_drops SEC(".maps");

/* Count a way out and hand back its verdict, so that leaving is one line. */
PATH_INLINE int path_leave(enum path_drop why, int verdict)
{
        __u32 key = why;
        __u64 *count = bpf_map_lookup_elem(&path_drops, &key);

        if (count)
                ++*count;
        return verdict;
}

/* Packets lie two bytes off a word; every machine with a BPF JIT reads such words at once. */
PATH_INLINE __u64 path_word(const void *at)
{
        return *(const __u64 *)at;
}

PATH_INLINE void path_word_set(void *at, __u64 word)
{
        *(__u64 *)at = word;
}

PATH_INLINE __u64 path_to_net(__u64 host)
{
        return bpf_cpu_to_be64(host);
}
