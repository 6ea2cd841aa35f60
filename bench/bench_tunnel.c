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
#include "base/rng.h"
#include "chain.h"
#include "figure.h"
#include "machine.h"
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
#define PAYLOAD 64
#define FRAME   (14 + 20 + 8 + PAYLOAD)

static struct bench_tunnel *plain; /* the programs we compare with */
static struct path_rig rig;
static int only = -1; /* CHAIN=n: feed this chain alone, for a profiler */

/* ---- chains ------------------------------------------------------------------------------ */

enum { HOP, FLOOR2, FLOOR3, SINGLE, MIRROR2, MIRROR3, CHAINS };
static struct chain chains[CHAINS] = {
        [HOP] = {.name = "bare hop", .in = "h0a", .sink = "h1b"},
        [FLOOR2] = {.name = "floor, 2 copies", .in = "f0a", .sink = "f3b"},
        [FLOOR3] = {.name = "floor, 3 copies", .in = "g0a", .sink = "g4b"},
        [SINGLE] = {.name = "tunnel, 1 path", .in = "t0a", .sink = "t5b"},
        [MIRROR2] = {.name = "tunnel, 2 paths", .in = "t0a", .sink = "t5b"},
        [MIRROR3] = {.name = "tunnel, 3 paths", .in = "t0a", .sink = "t5b"},
};
/* What the tunnel's classes are steered to before a burst; 0: no tunnel. */
static const __u32 subset_of[CHAINS] = {[SINGLE] = 1, [MIRROR2] = 3, [MIRROR3] = 7};

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

static int bench_hop(const char *from, const char *to, struct dog_err *e)
{
        __u32 key = if_nametoindex(from), value = if_nametoindex(to);
        int rc = bpf_map__update_elem(plain->maps.hop_to, &key, 4, &value, 4, BPF_ANY);
        if (rc < 0)
                return dog_err_set(e, rc, "cannot forward %s to %s: %s", from, to, strerror(-rc));
        return chain_attach(from, plain->progs.hop, e);
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
                rc = chain_attach(row[i].device, row[i].prog, e);
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

static void bench_steer(__u32 subset)
{
        for (__u32 i = 0; i < CLASSES; i++)
                __atomic_store_n(&rig.classes[i].subset, subset, __ATOMIC_RELAXED);
}

static void bench_turn(int i, __u32 ifindex)
{
        if (subset_of[i])
                bench_steer(subset_of[i]);
        plain->bss->gen_ifindex = ifindex;
}

static struct chain_feed bench_feed(void)
{
        return (struct chain_feed){.generator = bpf_program__fd(plain->progs.gen),
                                   .frame_bytes = FRAME,
                                   .sinks = bpf_map__fd(plain->maps.sink_count),
                                   .cpus = rig.cpus,
                                   .turn = bench_turn};
}

static int bench_chains(struct dog_err *e)
{
        struct chain_feed feed = bench_feed();
        int bursts[CHAIN_ROUNDS] = {0}, rc = chain_run(chains, CHAINS, only, &feed, bursts, e);
        if (rc < 0 || only >= 0)
                return rc;
        /* Packets for the same CPU: the inverse of what one costs. */
        chain_ratio("tunnel.mirror2_of_floor", &chains[FLOOR2], &chains[MIRROR2], bursts);
        chain_ratio("tunnel.mirror3_of_floor", &chains[FLOOR3], &chains[MIRROR3], bursts);
        chain_ratio("tunnel.single_of_hop", &chains[HOP], &chains[SINGLE], bursts);
        chain_ratio("tunnel.mirror2_of_hop", &chains[HOP], &chains[MIRROR2], bursts);
        return 0;
}

/* ---- one flow, two CPUs ------------------------------------------------------------------ */

#define PAIR_FRAMES (12 * CHAIN_FRAMES) /* of each CPU, in one run */
#define PAIR_RUNS   5

struct pair {
        size_t cpu;
        pthread_barrier_t *start;
        int rc;
};

static void *pair_feed(void *arg)
{
        struct pair *p = arg;
        bench_pin(p->cpu);
        pthread_barrier_wait(p->start);
        struct chain_feed feed = bench_feed();
        for (int i = 0; i < PAIR_FRAMES / CHAIN_FRAMES && p->rc >= 0; i++)
                p->rc = chain_send(&feed, CHAIN_FRAMES);
        return NULL;
}

/* Both CPUs feed the same flow at once; every packet has a name, and the sink counts names. */
static int pair_run(__u32 *seen, size_t seen_bytes, double *delivered, __u64 *twice, struct dog_err *e)
{
        pthread_barrier_t start;
        pthread_t thread[2];
        struct pair pair[2] = {{0, &start, 0}, {1, &start, 0}};
        __u64 zero[PATH_CPUS_MAX] = {0};
        __u32 key = 0, came = 0;

        memset(seen, 0, seen_bytes);
        bpf_map__update_elem(plain->maps.gen_count, &key, 4, zero, sizeof(__u64) * (size_t)rig.cpus, BPF_ANY);
        pthread_barrier_init(&start, NULL, 2);
        for (int i = 0; i < 2; i++)
                if (pthread_create(&thread[i], NULL, pair_feed, &pair[i]))
                        return dog_err_set(e, -EAGAIN, "cannot start a thread");
        for (int i = 0; i < 2; i++)
                pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&start);
        if (pair[0].rc < 0 || pair[1].rc < 0)
                return dog_err_set(e, -EIO, "cannot feed live frames on two CPUs");
        usleep(50000);
        for (size_t i = 0; i < seen_bytes / sizeof(*seen); i++) {
                came += seen[i] > 0;
                *twice += seen[i] > 1;
        }
        *delivered = (double)came / (2.0 * PAIR_FRAMES);
        return 0;
}

static int bench_pair(struct dog_err *e)
{
        size_t bytes = sizeof(__u32) * bpf_map__max_entries(plain->maps.seen);
        double delivered[PAIR_RUNS];
        __u64 twice = 0;
        int rc;

        if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
                figure_null("tunnel.two_cpu_delivered", "ratio", "one CPU");
                return 0;
        }
        __u32 *seen = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(plain->maps.seen), 0);
        if (seen == MAP_FAILED)
                return dog_err_set(e, -errno, "cannot map the names seen");
        rc = chain_attach("t5b", plain->progs.sink_seen, e);
        bench_steer(3);
        plain->data->gen_flows = 1;
        plain->bss->gen_ifindex = if_nametoindex("t0a");
        for (int run = -1; !rc && run < PAIR_RUNS; run++)
                rc = pair_run(seen, bytes, &delivered[run < 0 ? 0 : run], &twice, e);
        munmap(seen, bytes);
        if (rc)
                return rc;
        figure_print("tunnel.two_cpu_delivered", "ratio", delivered, PAIR_RUNS);
        double duplicates = (double)twice;
        figure_print("tunnel.two_cpu_duplicates", "packets", &duplicates, 1);
        return 0;
}

/* ---- replayed, flipped, forged ----------------------------------------------------------- */

#define ATTACKS 1000000
#define STOCK   10000 /* true packets to begin with */

struct attack {
        struct path_rig *rig;
        __u8 (*copies)[FRAME + PATH_OVERHEAD];
        int half; /* 0 or 1 */
        __u64 replays, flips, forgeries, failed;
};

static bool attack_accepted(struct attack *a, const __u8 *frame)
{
        int rc = path_rig_run(bpf_program__fd(a->rig->eliminate->progs.path_eliminate), frame,
                              FRAME + PATH_OVERHEAD, NULL, NULL);
        a->failed += rc < 0;
        return rc != XDP_DROP;
}

/*
 * The first half of the stock was delivered: its packets are replayed, over and over, in changing
 * order. The second half was not: whatever is done to them is new to the window, and only the tag
 * stands between them and the device.
 */
static void *attack_run(void *arg)
{
        struct attack *a = arg;
        struct dog_rng rng;
        __u8 frame[FRAME + PATH_OVERHEAD];

        dog_rng_init(&rng, (uint64_t)a->half + 1);
        for (int i = 0; i < ATTACKS / 2; i++) {
                size_t old = dog_rng_below(&rng, STOCK), new = STOCK + dog_rng_below(&rng, STOCK);
                a->replays += attack_accepted(a, a->copies[old]);

                memcpy(frame, a->copies[new], sizeof(frame));
                for (uint64_t n = 1 + dog_rng_below(&rng, 3), bit, last = 256; n; n--, last = bit) {
                        bit = dog_rng_below(&rng, 256);
                        if (bit != last) /* twice the same bit would be no change */
                                frame[42 + bit / 8] ^= (__u8)(1u << bit % 8);
                }
                if (memcmp(frame, a->copies[new], sizeof(frame)))
                        a->flips += attack_accepted(a, frame);
                else
                        i--;

                memcpy(frame, a->copies[new], sizeof(frame));
                uint64_t seq = dog_rng_u64(&rng), tag = dog_rng_u64(&rng);
                memcpy(frame + 50, &seq, 8);
                memcpy(frame + 66, &tag, 8);
                a->forgeries += attack_accepted(a, frame);
        }
        return NULL;
}

static int attack_stock(struct path_rig *r, __u8 (*copies)[FRAME + PATH_OVERHEAD], struct dog_err *e)
{
        __u8 in[FRAME] = {0}, half[FRAME + PATH_OVERHEAD];
        __u8 head[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, FRAME - 14, 0, 0, 64, 0, 64, 17};

        memcpy(in, head, sizeof(head));
        for (int i = 0; i < 2 * STOCK; i++) {
                __u32 size = sizeof(half);
                int rc = path_rig_run(bpf_program__fd(r->replicate->progs.path_replicate), in, FRAME, half,
                                      &size);
                size = sizeof(half);
                if (rc == XDP_REDIRECT)
                        rc = path_rig_run(bpf_program__fd(r->egress[i & 1]->progs.path_egress), half, size,
                                          copies[i], &size);
                if (rc == XDP_PASS && i < STOCK)
                        rc = path_rig_run(bpf_program__fd(r->eliminate->progs.path_eliminate), copies[i],
                                          sizeof(half), NULL, NULL) == XDP_REDIRECT
                                     ? XDP_PASS
                                     : -EIO;
                if (rc != XDP_PASS)
                        return dog_err_set(e, -EIO, "a true packet was not accepted");
        }
        return 0;
}

static int bench_attacks(struct dog_err *e)
{
        static struct path_rig target;
        const struct path_rig_setup setup = {.runnable = true};
        struct attack a[2] = {{&target, NULL, 0, 0, 0, 0, 0}, {&target, NULL, 1, 0, 0, 0, 0}};
        pthread_t thread[2];
        __u8(*copies)[FRAME + PATH_OVERHEAD] = calloc(2 * STOCK, sizeof(*copies));
        int rc = copies ? path_rig_open(&target, &setup, e) : dog_err_set(e, -ENOMEM, "no memory");

        if (!rc)
                rc = path_rig_paths(&target, (const int[]){1, 1, 1, 1}, e);
        if (!rc)
                rc = path_rig_out(&target, 1, e);
        if (!rc)
                rc = attack_stock(&target, copies, e);
        for (int i = 0; !rc && i < 2; i++) {
                a[i].copies = copies;
                if (pthread_create(&thread[i], NULL, attack_run, &a[i]))
                        rc = dog_err_set(e, -EAGAIN, "cannot start a thread");
        }
        for (int i = 0; !rc && i < 2; i++)
                pthread_join(thread[i], NULL);
        if (!rc && a[0].failed + a[1].failed)
                rc = dog_err_set(e, -EIO, "the kernel refused to run the program");
        if (!rc) {
                double replays = (double)(a[0].replays + a[1].replays);
                double flips = (double)(a[0].flips + a[1].flips);
                double forged = (double)(a[0].forgeries + a[1].forgeries);
                fprintf(stderr, "of %d each: replayed %.0f, flipped %.0f, forged %.0f accepted\n", ATTACKS,
                        replays, flips, forged);
                forged += flips;
                figure_print("tunnel.replays_accepted", "packets", &replays, 1);
                figure_print("tunnel.forged_accepted", "packets", &forged, 1);
        }
        path_rig_close(&target);
        free(copies);
        return rc;
}

/* ---- TCP through the device -------------------------------------------------------------- */

#define TCP_ROUNDS 5

struct end {
        int net; /* the namespace */
        struct path_rig rig;
};
static struct end ends[2];

/* A second namespace: it lives as long as this child, and the child as long as we do. */
static pid_t tcp_other_side(struct dog_err *e)
{
        int ready[2];
        char byte = 0;
        if (pipe(ready) < 0)
                return dog_err_set(e, -errno, "no pipe");
        pid_t pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (unshare(CLONE_NEWNET) < 0 || write(ready[1], &byte, 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        close(ready[1]);
        if (pid < 0 || read(ready[0], &byte, 1) != 1)
                pid = dog_err_set(e, -EPERM, "cannot make a second network namespace");
        close(ready[0]);
        return pid;
}

static int tcp_devices(pid_t other, struct dog_err *e)
{
        char text[2048];
        const char *const queues = "numtxqueues 2 numrxqueues 2";

        snprintf(text, sizeof(text),
                 "link add va %s type veth peer name va netns %d %s\n"
                 "link add p1 %s type veth peer name p1 netns %d %s\n"
                 "link add p2 %s type veth peer name p2 netns %d %s\n",
                 queues, other, queues, queues, other, queues, queues, other, queues);
        if (bench_command("ip -batch -", text) < 0)
                return dog_err_set(e, -EIO, "ip(8) could not make the veth pairs for TCP");
        for (int side = 0; side < 2; side++) {
                if (setns(ends[side].net, CLONE_NEWNET) < 0)
                        return dog_err_set(e, -errno, "cannot enter a namespace");
                bench_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
                snprintf(
                        text, sizeof(text),
                        "link add sd0 address 02:01:01:01:01:01 %s type veth peer name sd0p %s\n"
                        "link set sd0 mtu 1440 arp off\nlink set va mtu 1440\n"
                        "addr add 10.99.1.%d/24 dev va\naddr add 10.99.2.%d/24 dev sd0\n"
                        "link set va up\nlink set p1 up\nlink set p2 up\nlink set sd0p up\nlink set sd0 up\n",
                        queues, queues, side + 1, side + 1);
                if (bench_command("ip -batch -", text) < 0 ||
                    bench_command("sh", "ethtool -K va tso off tx off gro on >/dev/null 2>&1\n"
                                        "ethtool -K sd0 tx off gro on >/dev/null 2>&1\n") < 0)
                        return dog_err_set(e, -EIO, "ip(8) or ethtool(8) could not set up the TCP devices");
        }
        return 0;
}

/* In each namespace its own load of everything, as on two hosts. */
static int tcp_tunnel(struct dog_err *e)
{
        const struct path_rig_setup setup = {.classes = 4};
        int rc = 0;
        for (int side = 0; !rc && side < 2; side++) {
                struct path_rig *r = &ends[side].rig;
                if (setns(ends[side].net, CLONE_NEWNET) < 0)
                        return dog_err_set(e, -errno, "cannot enter a namespace");
                const int paths[PATH_PATHS_MAX] = {(int)if_nametoindex("p1"), (int)if_nametoindex("p2")};
                rc = path_rig_open(r, &setup, e);
                if (!rc)
                        rc = path_rig_paths(r, paths, e);
                if (!rc)
                        rc = path_rig_out(r, (int)if_nametoindex("sd0p"), e);
                if (!rc)
                        rc = chain_attach("sd0p", r->replicate->progs.path_replicate, e);
                if (!rc)
                        rc = chain_attach("p1", r->eliminate->progs.path_eliminate, e);
                if (!rc)
                        rc = chain_attach("p2", r->eliminate->progs.path_eliminate, e);
        }
        return rc;
}

/* One iperf3 run from side 0 to an address of side 1: bits per second received, or 0. */
static double tcp_run(const char *address, double seconds)
{
        char command[128];
        double rate = 0;

        setns(ends[1].net, CLONE_NEWNET);
        pid_t server = fork();
        if (server == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                int null = open("/dev/null", O_RDWR);
                dup2(null, 1);
                dup2(null, 2);
                execlp("iperf3", "iperf3", "-s", "-1", (char *)NULL);
                _exit(127);
        }
        setns(ends[0].net, CLONE_NEWNET);
        snprintf(command, sizeof(command), "iperf3 -c %s -J -t %.0f 2>/dev/null", address, seconds);
        for (int attempt = 0; attempt < 20 && rate <= 0; attempt++) {
                usleep(50000); /* until the server listens */
                FILE *from = popen(command, "r");
                json_t *root = from ? json_loadf(from, 0, NULL) : NULL;
                json_t *end = json_object_get(json_object_get(root, "end"), "sum_received");
                rate = json_number_value(json_object_get(end, "bits_per_second"));
                json_decref(root);
                if (from)
                        pclose(from);
        }
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        return rate;
}

static int bench_tcp(struct dog_err *e)
{
        double veth[TCP_ROUNDS], tunnel[TCP_ROUNDS], ratio[TCP_ROUNDS];
        double seconds = figure_seconds(1) < 1 ? 1 : figure_seconds(1);
        int rc;

        if (system("command -v iperf3 ethtool >/dev/null")) {
                figure_null("tunnel.tcp_of_veth", "ratio", "iperf3 and ethtool are not both installed");
                return 0;
        }
        pid_t other = tcp_other_side(e);
        if (other < 0)
                return other;
        char name[64];
        snprintf(name, sizeof(name), "/proc/%d/ns/net", other);
        ends[0].net = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        ends[1].net = open(name, O_RDONLY | O_CLOEXEC);
        rc = tcp_devices(other, e);
        if (!rc)
                rc = tcp_tunnel(e);
        for (int i = 0; !rc && i < TCP_ROUNDS; i++) {
                veth[i] = tcp_run("10.99.1.2", seconds);
                tunnel[i] = tcp_run("10.99.2.2", seconds);
                if (veth[i] <= 0 || tunnel[i] <= 0)
                        rc = dog_err_set(e, -EIO, "iperf3 measured nothing in round %d", i);
                ratio[i] = tunnel[i] / veth[i];
        }
        if (!rc) {
                __u64 mirrored = path_rig_sent(&ends[0].rig, 1),
                      all = path_rig_class_tx(&ends[0].rig, 0).packets;
                if (!all || mirrored != all)
                        rc = dog_err_set(e, -EIO, "TCP was not mirrored: %llu of %llu", mirrored, all);
        }
        if (!rc) {
                fprintf(stderr, "TCP, Gbit/s: veth %.2f, tunnel over 2 paths %.2f\n",
                        figure_median(veth, TCP_ROUNDS) / 1e9, figure_median(tunnel, TCP_ROUNDS) / 1e9);
                figure_print("tunnel.tcp_of_veth", "ratio", ratio, TCP_ROUNDS);
        }
        setns(ends[0].net, CLONE_NEWNET);
        path_rig_close(&ends[0].rig);
        path_rig_close(&ends[1].rig);
        kill(other, SIGKILL);
        waitpid(other, NULL, 0);
        return rc;
}

/* ---- all of it --------------------------------------------------------------------------- */

static int bench_open(struct dog_err *e)
{
        const struct path_rig_setup setup = {.classes = CLASSES, .rules_max = 1024};
        int rc = path_rig_open(&rig, &setup, e);

        if (rc)
                return rc;
        plain = bench_tunnel__open_and_load();
        if (!plain)
                return dog_err_set(e, -errno, "cannot load the bench's own programs: %s", strerror(errno));
        plain->data->gen_stride = CLASSES / 64;
        rc = bench_devices(e);
        if (!rc)
                rc = bench_wire(e);
        if (!rc)
                rc = bench_rules(e);
        return rc ? rc : bench_flows(e);
}

/* Each part with the figures it owes, so that none is missing when a part fails. */
static const struct part {
        int (*run)(struct dog_err *e);
        const char *figures[5];
} parts[] = {
        {bench_chains,
         {"tunnel.mirror2_of_floor", "tunnel.mirror3_of_floor", "tunnel.single_of_hop",
          "tunnel.mirror2_of_hop"}},
        {bench_pair, {"tunnel.two_cpu_delivered", "tunnel.two_cpu_duplicates"}},
        {bench_attacks, {"tunnel.replays_accepted", "tunnel.forged_accepted"}},
        {bench_tcp, {"tunnel.tcp_of_veth"}},
};

int main(void)
{
        struct dog_err err = {{0}};
        cpu_set_t all;
        int rc = 0, failed = 0;

        if (getenv("CHAIN"))
                only = atoi(getenv("CHAIN"));
        sched_getaffinity(0, sizeof(all), &all);
        if (unshare(CLONE_NEWNET) < 0)
                rc = dog_err_set(&err, -errno, "needs root: cannot make a network namespace");
        if (!rc)
                rc = bench_open(&err);
        for (size_t i = 0; i < ARRAY_SIZE(parts) && (only < 0 || i == 0); i++) {
                int part = rc ? rc : parts[i].run(&err);
                for (const char *const *f = parts[i].figures; part && *f; f++)
                        figure_null(*f, "ratio", err.text);
                failed |= part;
                sched_setaffinity(0, sizeof(all), &all);
        }
        bench_tunnel__destroy(plain);
        path_rig_close(&rig);
        return failed ? 1 : 0;
}
