#include "path_rig.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define OR(value, preset) ((value) ? (value) : (preset))

static int rig_quiet(enum libbpf_print_level level, const char *format, va_list args)
{
        if (level == LIBBPF_WARN && getenv("PATH_RIG_LOUD"))
                return vfprintf(stderr, format, args);
        return 0;
}

/* The bytes of a map, mapped for reading and writing; libbpf maps .rodata itself, not these. */
static void *rig_map(const struct bpf_map *map)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        size_t value = ((size_t)bpf_map__value_size(map) + 7) & ~(size_t)7;
        size_t bytes = (value * bpf_map__max_entries(map) + page - 1) & ~(page - 1);
        void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
        return at == MAP_FAILED ? NULL : at;
}

static void rig_unmap(void *at, const struct bpf_map *map)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        size_t value = ((size_t)bpf_map__value_size(map) + 7) & ~(size_t)7;
        if (at)
                munmap(at, (value * bpf_map__max_entries(map) + page - 1) & ~(page - 1));
}

static int rig_eliminate(struct path_rig *rig)
{
        struct path_eliminate *o = rig->eliminate = path_eliminate__open();
        if (!o)
                return -errno;
        o->rodata->path_port = PATH_RIG_PORT;
        if (rig->is.check_every)
                o->rodata->path_check_every = rig->is.check_every;
        bpf_map__set_max_entries(o->maps.path_rx_classes, rig->is.classes);
        bpf_map__set_max_entries(o->maps.path_class_rx, rig->is.classes);
        bpf_map__set_max_entries(o->maps.path_slots, rig->is.classes * PATH_WINDOW_WORDS(rig->is.window));
        return path_eliminate__load(o);
}

static int rig_replicate(struct path_rig *rig)
{
        struct path_replicate *o = rig->replicate = path_replicate__open();
        if (!o)
                return -errno;
        o->rodata->path_wire_tunnel = rig->is.tunnel;
        o->rodata->path_rules_max = rig->is.rules_max;
        o->rodata->path_class_count = rig->is.classes;
        bpf_map__set_max_entries(o->maps.path_classes, rig->is.classes);
        bpf_map__set_max_entries(o->maps.path_seqs, rig->is.classes);
        bpf_map__set_max_entries(o->maps.path_class_tx, rig->is.classes);
        bpf_map__set_max_entries(o->maps.path_rules, rig->is.rules_max * 2);
        bpf_map__set_max_entries(o->maps.path_flows, rig->is.flows);
        o->rodata->path_rx_tunnel = rig->is.tunnel;
        o->rodata->path_cpus = (__u32)rig->cpus;
        o->rodata->path_tick_ns = 1000000;
        int rc = bpf_map__reuse_fd(o->maps.path_drops, bpf_map__fd(rig->eliminate->maps.path_drops));
        if (!rc)
                rc = bpf_map__reuse_fd(o->maps.path_rx_stats,
                                       bpf_map__fd(rig->eliminate->maps.path_rx_stats));
        return rc ? rc : path_replicate__load(o);
}

static int rig_egress(struct path_rig *rig, __u32 path)
{
        struct path_egress *o = rig->egress[path] = path_egress__open();
        if (!o)
                return -errno;
        /* Test networks (RFC 5737), one pair of addresses a path. */
        struct path_outer4 outer = {.mac_to = {2, 0, 0, 0, 1, (__u8)path},
                                    .mac_from = {2, 0, 0, 0, 0, (__u8)path},
                                    .from = htonl(0xc0000201 + path * 4),
                                    .to = htonl(0xc6336401 + path * 4),
                                    .port_from = (__u16)(PATH_RIG_PORT + path),
                                    .port_to = PATH_RIG_PORT};
        __u64 words[6];
        o->rodata->path_ip_sum = path_outer_ip4(&outer, words);
        for (int i = 0; i < 6; i++)
                o->rodata->path_outer[i] = words[i];
        o->rodata->path_number = path;
        o->rodata->path_mtu = rig->is.mtu;
        if (rig->is.runnable)
                bpf_program__set_expected_attach_type(o->progs.path_egress, 0);
        int rc = bpf_map__reuse_fd(o->maps.path_drops, bpf_map__fd(rig->eliminate->maps.path_drops));
        if (!rc && path)
                rc = bpf_map__reuse_fd(o->maps.path_refused, bpf_map__fd(rig->egress[0]->maps.path_refused));
        return rc ? rc : path_egress__load(o);
}

/* Classes, windows and keys as a daemon would fill them in. */
static void rig_fill(struct path_rig *rig)
{
        const struct path_key key = {.k0 = 0x0706050403020100ULL, .k1 = 0x0f0e0d0c0b0a0908ULL, .epoch = 4};
        const struct path_key none = {.epoch = PATH_KEY_NONE};
        struct path_settings *s = rig->settings;
        struct path_rx_tunnel *t = &rig->tunnels[rig->is.tunnel];

        s->mtu = rig->is.mtu - PATH_OVERHEAD;
        s->hash_seed = 0x243f6a8885a308d3ULL;
        s->epoch = key.epoch;
        s->key[0] = key;
        s->key[1] = none;
        t->class_count = rig->is.classes;
        t->path_mask = 15;
        t->key[0] = key;
        t->key[1] = none;
        memcpy(t->mac_to, (__u8[]){2, 1, 1, 1, 1, 1}, 6);
        memcpy(t->mac_from, (__u8[]){2, 2, 2, 2, 2, 2}, 6);
        for (__u32 i = 0; i < rig->is.classes; i++) {
                rig->rx_classes[i].offset = i * PATH_WINDOW_WORDS(rig->is.window);
                rig->rx_classes[i].mask = PATH_WINDOW_WORDS(rig->is.window) - 1;
                rig->classes[i].subset = rig->is.subset;
                rig->classes[i].sample_mask = rig->is.sample_mask;
                rig->seqs[i].next = 1700000000000000000ULL;
        }
}

int path_rig_open(struct path_rig *rig, const struct path_rig_setup *setup, struct dog_err *e)
{
        int rc;

        memset(rig, 0, sizeof(*rig));
        libbpf_set_print(rig_quiet);
        rig->cpus = libbpf_num_possible_cpus();
        rig->is = *setup;
        rig->is.classes = OR(setup->classes, 1);
        rig->is.rules_max = OR(setup->rules_max, 64);
        rig->is.window = OR(setup->window, PATH_WINDOW);
        rig->is.sample_mask = OR(setup->sample_mask, 15);
        rig->is.subset = OR(setup->subset, 3);
        rig->is.mtu = OR(setup->mtu, 1500);
        rig->is.flows = OR(setup->flows, 65536);
        rc = rig_eliminate(rig);
        if (rc < 0)
                return dog_err_set(e, rc, "cannot load path_eliminate: %s", strerror(-rc));
        rc = rig_replicate(rig);
        if (rc < 0)
                return dog_err_set(e, rc, "cannot load path_replicate: %s", strerror(-rc));
        for (__u32 p = 0; p < PATH_PATHS_MAX; p++) {
                rc = rig_egress(rig, p);
                if (rc < 0)
                        return dog_err_set(e, rc, "cannot load path_egress: %s", strerror(-rc));
        }
        rig->settings = rig_map(rig->replicate->maps.path_settings);
        rig->classes = rig_map(rig->replicate->maps.path_classes);
        rig->seqs = rig_map(rig->replicate->maps.path_seqs);
        rig->tunnels = rig_map(rig->eliminate->maps.path_rx_tunnels);
        rig->rx_classes = rig_map(rig->eliminate->maps.path_rx_classes);
        rig->slots = rig_map(rig->eliminate->maps.path_slots);
        if (!rig->settings || !rig->classes || !rig->seqs || !rig->tunnels || !rig->rx_classes || !rig->slots)
                return dog_err_set(e, -ENOMEM, "cannot map the tunnel's maps");
        rig_fill(rig);
        return 0;
}

void path_rig_close(struct path_rig *rig)
{
        if (rig->replicate && rig->eliminate) {
                rig_unmap(rig->settings, rig->replicate->maps.path_settings);
                rig_unmap(rig->classes, rig->replicate->maps.path_classes);
                rig_unmap(rig->seqs, rig->replicate->maps.path_seqs);
                rig_unmap(rig->tunnels, rig->eliminate->maps.path_rx_tunnels);
                rig_unmap(rig->rx_classes, rig->eliminate->maps.path_rx_classes);
                rig_unmap(rig->slots, rig->eliminate->maps.path_slots);
        }
        for (int s = 1; s < PATH_SUBSETS; s++)
                if (rig->subset_fd[s] > 0)
                        close(rig->subset_fd[s]);
        path_replicate__destroy(rig->replicate);
        path_eliminate__destroy(rig->eliminate);
        for (int p = 0; p < PATH_PATHS_MAX; p++)
                path_egress__destroy(rig->egress[p]);
        memset(rig, 0, sizeof(*rig));
}

int path_rig_paths(struct path_rig *rig, const int ifindex[PATH_PATHS_MAX], struct dog_err *e)
{
        for (__u32 s = 1; s < PATH_SUBSETS; s++) {
                int fd = bpf_map_create(BPF_MAP_TYPE_DEVMAP, "path_subset", 4, 8, PATH_PATHS_MAX, NULL);
                if (fd < 0)
                        return dog_err_set(e, fd, "cannot make a devmap: %s", strerror(-fd));
                for (__u32 p = 0; p < PATH_PATHS_MAX; p++) {
                        if (!(s >> p & 1) || !ifindex[p])
                                continue;
                        struct bpf_devmap_val v = {
                                .ifindex = (__u32)ifindex[p],
                                .bpf_prog.fd = rig->is.runnable
                                                       ? -1
                                                       : bpf_program__fd(rig->egress[p]->progs.path_egress)};
                        int rc = bpf_map_update_elem(fd, &p, &v, BPF_ANY);
                        if (rc < 0) {
                                close(fd);
                                return dog_err_set(e, rc, "cannot add path %u to a devmap: %s", p,
                                                   strerror(-rc));
                        }
                }
                int rc =
                        bpf_map_update_elem(bpf_map__fd(rig->replicate->maps.path_subsets), &s, &fd, BPF_ANY);
                if (rig->subset_fd[s] > 0)
                        close(rig->subset_fd[s]);
                rig->subset_fd[s] = fd;
                if (rc < 0)
                        return dog_err_set(e, rc, "cannot install subset %u: %s", s, strerror(-rc));
        }
        return 0;
}

int path_rig_out(struct path_rig *rig, int ifindex, struct dog_err *e)
{
        struct bpf_devmap_val v = {.ifindex = (__u32)ifindex, .bpf_prog.fd = -1};
        int rc = bpf_map__update_elem(rig->eliminate->maps.path_out, &rig->is.tunnel, sizeof(__u32), &v,
                                      sizeof(v), BPF_ANY);
        return rc < 0 ? dog_err_set(e, rc, "cannot set the device of the tunnel: %s", strerror(-rc)) : 0;
}

int path_rig_rules(struct path_rig *rig, const struct path_rule *rules, __u32 count, struct dog_err *e)
{
        __u32 bank = (rig->settings->rules + 1) & 1;

        if (count > rig->is.rules_max)
                return dog_err_set(e, -E2BIG, "%u rules do not fit in %u", count, rig->is.rules_max);
        for (__u32 i = 0; i < count; i++) {
                __u32 at = bank * rig->is.rules_max + i;
                int rc = bpf_map__update_elem(rig->replicate->maps.path_rules, &at, sizeof(at), &rules[i],
                                              sizeof(rules[i]), BPF_ANY);
                if (rc < 0)
                        return dog_err_set(e, rc, "cannot write rule %u: %s", i, strerror(-rc));
        }
        rig->settings->rule_count[bank] = count;
        __atomic_add_fetch(&rig->settings->rules, 1, __ATOMIC_RELEASE);
        __atomic_add_fetch(&rig->settings->generation, 1, __ATOMIC_RELEASE);
        return 0;
}

/* The values of all CPUs of one entry; the caller frees. Stops the program when memory is out. */
static void *rig_percpu(struct path_rig *rig, const struct bpf_map *map, __u32 at)
{
        size_t one = ((size_t)bpf_map__value_size(map) + 7) & ~(size_t)7;
        void *all = calloc((size_t)rig->cpus, one);
        if (!all)
                abort();
        if (bpf_map__lookup_elem(map, &at, sizeof(at), all, one * (size_t)rig->cpus, 0) < 0)
                memset(all, 0, one * (size_t)rig->cpus);
        return all;
}

/* Sum structs made of nothing but u64. */
static void rig_sum(struct path_rig *rig, const struct bpf_map *map, __u32 at, __u64 *to, size_t words)
{
        __u64 *all = rig_percpu(rig, map, at);
        memset(to, 0, words * 8);
        for (size_t i = 0; i < words * (size_t)rig->cpus; i++)
                to[i % words] += all[i];
        free(all);
}

__u64 path_rig_drops(struct path_rig *rig, enum path_drop why)
{
        __u64 sum;
        rig_sum(rig, rig->eliminate->maps.path_drops, why, &sum, 1);
        return sum;
}

__u64 path_rig_sent(struct path_rig *rig, __u32 path)
{
        __u64 refused, sum = 0;
        for (__u32 subset = 1; subset < PATH_SUBSETS; subset++) {
                struct path_tx tx;
                rig_sum(rig, rig->replicate->maps.path_tx, subset, (__u64 *)&tx, sizeof(tx) / 8);
                sum += subset >> path & 1 ? tx.packets : 0;
        }
        rig_sum(rig, rig->egress[0]->maps.path_refused, path, &refused, 1);
        return sum - refused;
}

struct path_class_tx path_rig_class_tx(struct path_rig *rig, __u32 klass)
{
        struct path_class_tx sum;
        rig_sum(rig, rig->replicate->maps.path_class_tx, klass, (__u64 *)&sum, sizeof(sum) / 8);
        return sum;
}

struct path_class_rx path_rig_class_rx(struct path_rig *rig, __u32 klass)
{
        struct path_class_rx sum;
        rig_sum(rig, rig->eliminate->maps.path_class_rx, klass, (__u64 *)&sum, sizeof(sum) / 8);
        return sum;
}

__u64 path_rig_by_subset(struct path_rig *rig, __u32 subset)
{
        __u64 sum = 0;
        for (__u32 p = 0; p < PATH_PATHS_MAX; p++)
                sum += path_rig_rx(rig, p).first[subset];
        return sum;
}

__u64 path_rig_won(struct path_rig *rig, __u32 path)
{
        struct path_rx_stats s = path_rig_rx(rig, path);
        __u64 sum = 0;
        for (int subset = 0; subset < PATH_SUBSETS; subset++)
                sum += s.first[subset];
        return sum;
}

struct path_rx_stats path_rig_rx(struct path_rig *rig, __u32 path)
{
        const struct bpf_map *map = rig->eliminate->maps.path_rx_stats;
        struct path_rx_stats *all = rig_percpu(rig, map, rig->is.tunnel * PATH_PATHS_MAX + path);
        struct path_rx_stats sum = all[0];

        for (int i = 1; i < rig->cpus; i++) {
                const struct path_rx_stats *s = &all[i];
                sum.received += s->received;
                sum.bytes += s->bytes;
                for (int k = 0; k < PATH_SUBSETS; k++)
                        sum.first[k] += s->first[k];
                sum.duplicate += s->duplicate;
                sum.stale += s->stale;
                sum.bad_tag += s->bad_tag;
                sum.reordered += s->reordered;
                sum.control += s->control;
                for (int d = 0; d < 2; d++) {
                        if (!s->delay[d].count)
                                continue;
                        if (!sum.delay[d].count || s->delay[d].min_ns < sum.delay[d].min_ns)
                                sum.delay[d].min_ns = s->delay[d].min_ns;
                        if (!sum.delay[d].count || s->delay[d].max_ns > sum.delay[d].max_ns)
                                sum.delay[d].max_ns = s->delay[d].max_ns;
                        sum.delay[d].count += s->delay[d].count;
                        sum.delay[d].sum_ns += s->delay[d].sum_ns;
                        sum.delay[d].interval = s->delay[d].interval;
                }
                if (s->peer) {
                        sum.peer = s->peer;
                        sum.peer_port = s->peer_port;
                }
        }
        free(all);
        return sum;
}

static void rig_zero(struct path_rig *rig, const struct bpf_map *map)
{
        size_t one = ((size_t)bpf_map__value_size(map) + 7) & ~(size_t)7;
        void *all = calloc((size_t)rig->cpus, one);
        if (!all)
                abort();
        for (__u32 i = 0; i < bpf_map__max_entries(map); i++)
                bpf_map__update_elem(map, &i, sizeof(i), all, one * (size_t)rig->cpus, BPF_ANY);
        free(all);
}

void path_rig_zero(struct path_rig *rig)
{
        rig_zero(rig, rig->eliminate->maps.path_drops);
        rig_zero(rig, rig->eliminate->maps.path_rx_stats);
        rig_zero(rig, rig->eliminate->maps.path_class_rx);
        rig_zero(rig, rig->replicate->maps.path_class_tx);
        rig_zero(rig, rig->egress[0]->maps.path_refused);
        rig_zero(rig, rig->replicate->maps.path_tx);
}

int path_rig_run(int prog_fd, const void *frame, __u32 bytes, void *out, __u32 *size)
{
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = bytes, .data_out = out,
                    .data_size_out = size ? *size : 0, .repeat = 1);
        int rc = bpf_prog_test_run_opts(prog_fd, &o);
        if (rc < 0)
                return rc;
        if (size)
                *size = o.data_size_out;
        return (int)o.retval;
}
