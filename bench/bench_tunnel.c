/**
 * What the tunnel costs, against the least that any tunnel of this form can cost.
 *
 * Every chain of veth pairs is made beforehand, in a network namespace that only this process
 * knows, so that the things compared can take turns within one second. A chain is fed with live
 * frames on one core; its cost is the CPU time of that thread and of the core's ksoftirqd, its
 * yield what the last sink counts. bench/README.md says more.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/err.h"
#include "figure.h"
#include "path_rig.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#include "bench_tunnel.skel.h"
#pragma GCC diagnostic pop

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <jansson.h>
#include <linux/if_link.h>

#include <dirent.h>
#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLASSES 1000
#define ROUNDS  7
#define PAYLOAD 64
#define FRAME   (14 + 20 + 8 + PAYLOAD)
#define REPEAT  16384 /* frames of one burst */
#define BURSTS  256   /* of one round, at most */
#define BATCH   64

static struct bench_tunnel *plain; /* the programs we compare with */
static struct path_rig rig;
static int only = -1; /* CHAIN=n: feed this chain alone, for a profiler */

/* ---- small helpers ----------------------------------------------------------------------- */

/* Run a command with text on its standard input, in the caller's namespace. */
static int bench_command(const char *command, const char *input)
{
        FILE *to = popen(command, "w");
        if (!to)
                return -errno;
        fputs(input, to);
        return pclose(to) == 0 ? 0 : -EIO;
}

static void bench_write(const char *file, const char *text)
{
        int fd = open(file, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return;
        if (write(fd, text, strlen(text)) < 0)
                fprintf(stderr, "cannot write %s: %s\n", file, strerror(errno));
        close(fd);
}

static void bench_pin(size_t cpu)
{
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        sched_setaffinity(0, sizeof(set), &set);
}

/* The process that runs softirqs of one CPU when they are too many for the interrupted task. */
static int bench_ksoftirqd(int cpu)
{
        char want[32], name[300], comm[32];
        int found = 0;
        DIR *proc = opendir("/proc");

        snprintf(want, sizeof(want), "ksoftirqd/%d\n", cpu);
        for (struct dirent *d; proc && !found && (d = readdir(proc));) {
                snprintf(name, sizeof(name), "/proc/%s/comm", d->d_name);
                FILE *f = atoi(d->d_name) ? fopen(name, "r") : NULL;
                if (!f)
                        continue;
                if (fgets(comm, sizeof(comm), f) && !strcmp(comm, want))
                        found = atoi(d->d_name);
                fclose(f);
        }
        if (proc)
                closedir(proc);
        return found;
}

static int64_t bench_run_ns(int pid)
{
        char name[64];
        long long ns = 0;
        snprintf(name, sizeof(name), "/proc/%d/schedstat", pid);
        FILE *f = fopen(name, "r");
        if (f) {
                if (fscanf(f, "%lld", &ns) != 1)
                        ns = 0;
                fclose(f);
        }
        return ns;
}

/* ---- chains ------------------------------------------------------------------------------ */

struct chain {
        const char *name;
        const char *in;              /* the generator sends into this device */
        const char *sink;            /* what arrives here was delivered */
        __u32 subset;                /* steer the tunnel's classes to this before running; 0: not a tunnel */
        double rate[ROUNDS][BURSTS]; /* delivered packets per second of CPU */
        __u64 offered, delivered;
};

enum { HOP, FLOOR2, FLOOR3, SINGLE, MIRROR2, MIRROR3, CHAINS };
static struct chain chains[CHAINS] = {
        [HOP] = {.name = "bare hop", .in = "h0a", .sink = "h1b", .subset = 0},
        [FLOOR2] = {.name = "floor, 2 copies", .in = "f0a", .sink = "f3b", .subset = 0},
        [FLOOR3] = {.name = "floor, 3 copies", .in = "g0a", .sink = "g4b", .subset = 0},
        [SINGLE] = {.name = "tunnel, 1 path", .in = "t0a", .sink = "t5b", .subset = 1},
        [MIRROR2] = {.name = "tunnel, 2 paths", .in = "t0a", .sink = "t5b", .subset = 3},
        [MIRROR3] = {.name = "tunnel, 3 paths", .in = "t0a", .sink = "t5b", .subset = 7},
};

static const char *const pairs[] = {"h0", "h1", "f0", "f1", "f2", "f3", "g0", "g1", "g2",
                                    "g3", "g4", "t0", "t1", "t2", "t3", "t4", "t5"};

static int bench_devices(struct dog_err *e)
{
        char text[8192];
        size_t n = 0;

        bench_write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        bench_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
                n += (size_t)snprintf(text + n, sizeof(text) - n,
                                      "link add %sa numtxqueues 2 numrxqueues 2 type veth peer name %sb "
                                      "numtxqueues 2 numrxqueues 2\nlink set %sa up\nlink set %sb up\n",
                                      pairs[i], pairs[i], pairs[i], pairs[i]);
        if (bench_command("ip -batch -", text) < 0)
                return dog_err_set(e, -EIO, "ip(8) could not make the veth pairs");
        return 0;
}

static int bench_attach(const char *device, const struct bpf_program *prog, struct dog_err *e)
{
        int rc = bpf_xdp_attach((int)if_nametoindex(device), bpf_program__fd(prog), XDP_FLAGS_DRV_MODE, NULL);
        return rc < 0 ? dog_err_set(e, rc, "cannot attach %s to %s: %s", bpf_program__name(prog), device,
                                    strerror(-rc))
                      : 0;
}

static int bench_hop(const char *from, const char *to, struct dog_err *e)
{
        __u32 key = if_nametoindex(from), value = if_nametoindex(to);
        int rc = bpf_map__update_elem(plain->maps.hop_to, &key, 4, &value, 4, BPF_ANY);
        if (rc < 0)
                return dog_err_set(e, rc, "cannot forward %s to %s: %s", from, to, strerror(-rc));
        return bench_attach(from, plain->progs.hop, e);
}

static int bench_copies(const struct bpf_map *map, const char *const *to, __u32 count, struct dog_err *e)
{
        for (__u32 i = 0; i < count; i++) {
                __u32 value = if_nametoindex(to[i]);
                int rc = bpf_map__update_elem(map, &i, 4, &value, 4, BPF_ANY);
                if (rc < 0)
                        return dog_err_set(e, rc, "cannot copy to %s: %s", to[i], strerror(-rc));
        }
        return 0;
}

/* Each row: where, which program. The order does not matter; nothing flows yet. */
static int bench_wire(struct dog_err *e)
{
        const struct {
                const char *device;
                const struct bpf_program *prog;
        } row[] = {
                {"h1b", plain->progs.sink},
                {"f0b", plain->progs.broadcast_2},
                {"f2b", plain->progs.sink},
                {"f3b", plain->progs.sink},
                {"g0b", plain->progs.broadcast_3},
                {"g2b", plain->progs.sink},
                {"g3b", plain->progs.sink},
                {"g4b", plain->progs.sink},
                {"t5b", plain->progs.sink},
                {"t0b", rig.replicate->progs.path_replicate},
                {"t1b", rig.eliminate->progs.path_eliminate},
                {"t2b", rig.eliminate->progs.path_eliminate},
                {"t3b", rig.eliminate->progs.path_eliminate},
                {"t4b", rig.eliminate->progs.path_eliminate},
        };
        const int paths[PATH_PATHS_MAX] = {(int)if_nametoindex("t1a"), (int)if_nametoindex("t2a"),
                                           (int)if_nametoindex("t3a"), (int)if_nametoindex("t4a")};
        int rc = 0;
        for (size_t i = 0; !rc && i < ARRAY_SIZE(row); i++)
                rc = bench_attach(row[i].device, row[i].prog, e);
        if (!rc)
                rc = bench_hop("h0b", "h1a", e);
        if (!rc)
                rc = bench_hop("f1b", "f3a", e);
        if (!rc)
                rc = bench_hop("g1b", "g4a", e);
        if (!rc)
                rc = bench_copies(plain->maps.copies_2, (const char *const[]){"f1a", "f2a"}, 2, e);
        if (!rc)
                rc = bench_copies(plain->maps.copies_3, (const char *const[]){"g1a", "g2a", "g3a"}, 3, e);
        if (!rc)
                rc = path_rig_paths(&rig, paths, e);
        if (!rc)
                rc = path_rig_out(&rig, (int)if_nametoindex("t5a"), e);
        return rc;
}

static int bench_rules(struct dog_err *e)
{
        static struct path_rule rules[CLASSES];
        for (__u32 i = 0; i < CLASSES; i++)
                rules[i] = (struct path_rule){.dst = htonl(0x0a010000 + i),
                                              .dst_mask = 0xffffffff,
                                              .sport_high = 0xffff,
                                              .dport_low = (__u16)(1000 + i),
                                              .dport_high = (__u16)(1000 + i),
                                              .flags = PATH_RULE_PROTO,
                                              .proto = IPPROTO_UDP,
                                              .klass = i};
        return path_rig_rules(&rig, rules, CLASSES, e);
}

/* Flows that exist but do not speak now: the table the fast ones are found in is not empty. */
static int bench_flows(struct dog_err *e)
{
        for (__u32 i = 0; i < 1000; i++) {
                struct path_flow_key key = {.src = htonl(0x0a000001),
                                            .dst = htonl(0x0a010000 + i),
                                            .sport = htons(5000),
                                            .dport = htons((__u16)(1000 + i)),
                                            .proto = IPPROTO_UDP,
                                            .has_ports = htons(1)};
                struct path_flow flow = {.klass = i, .rules = rig.settings->rules};
                int rc = bpf_map__update_elem(rig.replicate->maps.path_flows, &key, sizeof(key), &flow,
                                              sizeof(flow), BPF_ANY);
                if (rc < 0)
                        return dog_err_set(e, rc, "cannot install flow %u: %s", i, strerror(-rc));
        }
        return 0;
}

static __u64 bench_sink(const char *device)
{
        __u64 all[PATH_CPUS_MAX] = {0}, sum = 0;
        __u32 at = if_nametoindex(device);
        if (bpf_map__lookup_elem(plain->maps.sink_count, &at, 4, all, sizeof(__u64) * (size_t)rig.cpus, 0) <
            0)
                return 0;
        for (int i = 0; i < rig.cpus; i++)
                sum += all[i];
        return sum;
}

static int bench_feed(__u32 frames)
{
        __u8 frame[FRAME] = {0};
        struct xdp_md ctx = {.data_end = FRAME};
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = FRAME, .ctx_in = &ctx,
                    .ctx_size_in = sizeof(ctx), .repeat = (int)frames, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                    .batch_size = BATCH);
        return bpf_prog_test_run_opts(bpf_program__fd(plain->progs.gen), &o);
}

static void bench_steer(__u32 subset)
{
        for (__u32 i = 0; i < CLASSES; i++)
                __atomic_store_n(&rig.classes[i].subset, subset, __ATOMIC_RELAXED);
}

/* Feed one chain with one burst. What came out per second of CPU, or 0 when it could not be fed. */
static double chain_burst(struct chain *c, int softirqd)
{
        __u64 before = bench_sink(c->sink), delivered;
        int64_t cpu_ns, soft_ns;

        if (c->subset)
                bench_steer(c->subset);
        plain->bss->gen_ifindex = if_nametoindex(c->in);
        cpu_ns = dog_clock_cpu_ns();
        soft_ns = bench_run_ns(softirqd);
        if (bench_feed(REPEAT) < 0)
                return 0;
        cpu_ns = dog_clock_cpu_ns() - cpu_ns;
        usleep(1000); /* what ksoftirqd still has in hand */
        soft_ns = bench_run_ns(softirqd) - soft_ns;
        delivered = bench_sink(c->sink) - before;
        c->offered += REPEAT;
        c->delivered += delivered;
        return (double)delivered * 1e9 / (double)(cpu_ns + soft_ns);
}

/*
 * One round: all chains in turn, burst by burst, until the time is over. Bursts are short (some
 * milliseconds) because neighbours on the machine are not: they then disturb all chains alike.
 * @return bursts made, 0 when the generator failed
 */
static int chain_round(int round, double seconds, int softirqd)
{
        int64_t stop_ns = dog_clock_mono_ns() + (int64_t)(seconds * 1e9);
        int n = 0;

        do {
                for (int i = 0; i < CHAINS; i++) {
                        if (only >= 0 && only != i)
                                continue;
                        chains[i].rate[round][n] = chain_burst(&chains[i], softirqd);
                        if (chains[i].rate[round][n] <= 0)
                                return 0;
                }
        } while (++n < BURSTS && dog_clock_mono_ns() < stop_ns);
        return n;
}

/* In each round the median over the pairs of bursts; of the rounds, again the median. */
static void chain_ratio(const char *name, const struct chain *a, const struct chain *b,
                        const int bursts[ROUNDS])
{
        double ratio[ROUNDS], pair[BURSTS];
        for (int r = 0; r < ROUNDS; r++) {
                for (int i = 0; i < bursts[r]; i++)
                        pair[i] = a->rate[r][i] / b->rate[r][i];
                ratio[r] = figure_median(pair, (size_t)bursts[r]);
        }
        figure_print(name, "ratio", ratio, ROUNDS);
}

static int bench_chains(struct dog_err *e)
{
        double seconds = figure_seconds(1.5);
        int softirqd = bench_ksoftirqd(0), bursts[ROUNDS] = {0};

        bench_pin(0);
        chain_round(0, seconds / 3, softirqd); /* warm up */
        for (int i = 0; i < CHAINS; i++)
                chains[i].offered = chains[i].delivered = 0;
        for (int round = 0; round < ROUNDS; round++) {
                bursts[round] = chain_round(round, seconds, softirqd);
                if (!bursts[round])
                        return dog_err_set(e, -EIO, "cannot feed live frames (needs kernel 5.18 or later)");
        }
        fprintf(stderr, "%-20s %14s %10s %10s\n", "chain, 64 B payload", "M/cpu-s", "ns/packet", "delivered");
        for (int i = 0; i < CHAINS; i++) {
                double all[ROUNDS * BURSTS];
                size_t n = 0;
                if (only >= 0 && only != i)
                        continue;
                for (int r = 0; r < ROUNDS; r++)
                        for (int k = 0; k < bursts[r]; k++)
                                all[n++] = chains[i].rate[r][k];
                double median = figure_median(all, n);
                fprintf(stderr, "%-20s %14.3f %10.0f %10.6f\n", chains[i].name, median / 1e6, 1e9 / median,
                        (double)chains[i].delivered / (double)chains[i].offered);
        }
        if (only >= 0)
                return 0;
        chain_ratio("tunnel.mirror2_of_floor", &chains[MIRROR2], &chains[FLOOR2], bursts);
        chain_ratio("tunnel.mirror3_of_floor", &chains[MIRROR3], &chains[FLOOR3], bursts);
        chain_ratio("tunnel.single_of_hop", &chains[SINGLE], &chains[HOP], bursts);
        chain_ratio("tunnel.mirror2_of_hop", &chains[MIRROR2], &chains[HOP], bursts);
        return 0;
}

int main(void)
{
        struct dog_err err = {{0}}, *e = &err;
        const struct path_rig_setup setup = {.classes = CLASSES, .rules_max = 1024};
        int rc;

        if (getenv("CHAIN"))
                only = atoi(getenv("CHAIN"));
        if (unshare(CLONE_NEWNET) < 0) {
                figure_null("tunnel.mirror2_of_floor", "ratio", "needs root: no network namespace");
                return 0;
        }
        rc = path_rig_open(&rig, &setup, e);
        plain = bench_tunnel__open_and_load();
        if (!rc && !plain)
                rc = dog_err_set(e, -errno, "cannot load the bench's own programs: %s", strerror(errno));
        if (!rc)
                rc = bench_devices(e);
        if (!rc)
                rc = bench_wire(e);
        if (!rc)
                rc = bench_rules(e);
        if (!rc)
                rc = bench_flows(e);
        if (!rc) {
                plain->data->gen_stride = CLASSES / 64;
                rc = bench_chains(e);
        }
        if (rc)
                fprintf(stderr, "bench_tunnel: %s\n", err.text);
        bench_tunnel__destroy(plain);
        path_rig_close(&rig);
        return rc ? 1 : 0;
}
