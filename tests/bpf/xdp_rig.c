#include "xdp_rig.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int rig_quiet(enum libbpf_print_level level, const char *format, va_list args)
{
        if (level == LIBBPF_WARN && getenv("XDP_RIG_LOUD"))
                return vfprintf(stderr, format, args);
        return 0;
}

static size_t rig_bytes(const struct bpf_map *map)
{
        size_t bytes = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
        return (bytes + 4095) & ~(size_t)4095;
}

static void *rig_map(const struct bpf_map *map)
{
        void *at = mmap(NULL, rig_bytes(map), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
        return at == MAP_FAILED ? NULL : at;
}

int xdp_rig_open(struct xdp_rig *rig, __u32 conns, struct dog_err *e)
{
        memset(rig, 0, sizeof(*rig));
        libbpf_set_print(rig_quiet);
        rig->cpus = libbpf_num_possible_cpus();
        rig->skel = instance_xdp__open();
        if (!rig->skel)
                return dog_err_set(e, -errno, "cannot open the object: %s", strerror(errno));
        bpf_map__set_max_entries(rig->skel->maps.instance_table, XDP_RIG_VIPS * INSTANCE_ROW / 2);
        bpf_map__set_max_entries(rig->skel->maps.instance_conns4, conns);
        bpf_map__set_max_entries(rig->skel->maps.instance_conns6, conns);
        int rc = instance_xdp__load(rig->skel);
        if (rc < 0)
                return dog_err_set(e, rc, "cannot load instance_xdp: %s", strerror(-rc));
        rig->table = rig_map(rig->skel->maps.instance_table);
        rig->servers = rig_map(rig->skel->maps.instance_servers);
        if (!rig->table || !rig->servers)
                return dog_err_set(e, -ENOMEM, "cannot map the table");
        return 0;
}

void xdp_rig_close(struct xdp_rig *rig)
{
        if (rig->table)
                munmap(rig->table, rig_bytes(rig->skel->maps.instance_table));
        if (rig->servers)
                munmap(rig->servers, rig_bytes(rig->skel->maps.instance_servers));
        instance_xdp__destroy(rig->skel);
        memset(rig, 0, sizeof(*rig));
}

int xdp_rig_vip(struct xdp_rig *rig, const struct instance_address *address, __be16 port, __u8 proto,
                const struct instance_vip *vip)
{
        const struct bpf_map *map = rig->skel->maps.instance_vips;
        struct instance_vip_key key = {.address = *address, .port = port, .proto = proto};
        int rc = bpf_map__update_elem(map, &key, sizeof(key), vip, sizeof(*vip), BPF_ANY);
        key.port = key.proto = 0;
        return rc ? rc : bpf_map__update_elem(map, &key, sizeof(key), vip, sizeof(*vip), BPF_ANY);
}

int xdp_rig_server(struct xdp_rig *rig, __u16 number, const struct instance_server *s,
                   const struct instance_address *vip, __be16 vip_port, __u8 proto, bool is_l2)
{
        struct instance_back_key key = {
                .address = is_l2 ? *vip : s->address, .port = is_l2 ? vip_port : s->port, .proto = proto};
        struct instance_back back = {.server = number, .vip = s->vip, .port = vip_port, .address = *vip};

        rig->servers[number] = *s;
        if (is_l2)
                memcpy(key.mac, s->mac, 6);
        return bpf_map__update_elem(rig->skel->maps.instance_back, &key, sizeof(key), &back, sizeof(back),
                                    BPF_ANY);
}

int xdp_rig_out(struct xdp_rig *rig, __u32 ifindex)
{
        __u32 one = 1;
        return bpf_map__update_elem(rig->skel->maps.instance_xdp_out, &ifindex, 4, &one, 4, BPF_ANY);
}

int xdp_rig_conn(struct xdp_rig *rig, const struct instance_flow *flow, bool is_v6,
                 const struct instance_conn *conn)
{
        struct instance_flow4 four = {.client = flow->client.word[3], .port = flow->port, .vip = flow->vip};
        if (is_v6)
                return bpf_map__update_elem(rig->skel->maps.instance_conns6, flow, sizeof(*flow), conn,
                                            sizeof(*conn), BPF_ANY);
        return bpf_map__update_elem(rig->skel->maps.instance_conns4, &four, sizeof(four), conn, sizeof(*conn),
                                    BPF_ANY);
}

/* A per-CPU value is an array of u64 for whoever only adds. */
static void rig_sum(struct xdp_rig *rig, const struct bpf_map *map, __u32 key, __u64 *sum, size_t words)
{
        size_t bytes = words * sizeof(__u64);
        __u64 *all = calloc((size_t)rig->cpus, bytes);
        memset(sum, 0, bytes);
        if (all && !bpf_map__lookup_elem(map, &key, 4, all, bytes * (size_t)rig->cpus, 0))
                for (size_t i = 0; i < words * (size_t)rig->cpus; i++)
                        sum[i % words] += all[i];
        free(all);
}

__u64 xdp_rig_drops(struct xdp_rig *rig, enum instance_drop why)
{
        __u64 sum;
        rig_sum(rig, rig->skel->maps.instance_drops, why, &sum, 1);
        return sum;
}

struct instance_vip_stats xdp_rig_vip_stats(struct xdp_rig *rig, __u32 vip)
{
        struct instance_vip_stats s;
        rig_sum(rig, rig->skel->maps.instance_vip_stats, vip, (__u64 *)&s, sizeof(s) / 8);
        return s;
}

struct instance_server_stats xdp_rig_server_stats(struct xdp_rig *rig, __u32 server)
{
        struct instance_server_stats s;
        rig_sum(rig, rig->skel->maps.instance_server_stats, server, (__u64 *)&s, sizeof(s) / 8);
        return s;
}

int xdp_rig_run(struct xdp_rig *rig, const void *frame, __u32 bytes, void *out, __u32 *size)
{
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = bytes, .data_out = out,
                    .data_size_out = *size, .repeat = 1);
        int rc = bpf_prog_test_run_opts(bpf_program__fd(rig->skel->progs.instance_xdp), &o);
        *size = o.data_size_out;
        return rc < 0 ? rc : (int)o.retval;
}
