/**
 * What the front's XDP program adds to a packet, against a bare redirect that does nothing else.
 *
 * Three chains of veth pairs in a network namespace that only this process knows are fed in turn, some
 * milliseconds each, with live frames of 65,536 flows drawn at random: see chain.h. bench/README.md says
 * more.
 */
#include "base/array.h"
#include "base/err.h"
#include "chain.h"
#include "figure.h"
#include "machine.h"
#include "xdp_rig.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#include "bench_front.skel.h"
#pragma GCC diagnostic pop

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME     64
#define FLOWS     65536
#define SERVERS   4
#define HOT_CALLS 1001 /* of 250 runs on one frame */

static struct bench_front *plain;
static struct xdp_rig rig;

enum { HOP, NAT, CONN, BACK, CHAINS };
static struct chain chains[CHAINS] = {
        [HOP] = {.name = "bare redirect", .in = "h0a", .sink = "h1b"},
        [NAT] = {.name = "NAT by the table", .in = "n0a", .sink = "n1b"},
        [CONN] = {.name = "NAT by the connection", .in = "n0a", .sink = "n1b"},
        [BACK] = {.name = "answer, kernel's route", .in = "n0a", .sink = "n2b"},
};

/* ---- set up ------------------------------------------------------------------------------------ */

static int bench_devices(struct dog_err *e)
{
        static const char *const pairs[] = {"h0", "h1", "n0", "n1", "n2"};
        char text[2048];
        size_t n = 0;

        bench_write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        bench_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
        bench_write("/proc/sys/net/ipv4/ip_forward", "1");
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
                n += (size_t)snprintf(
                        text + n, sizeof(text) - n,
                        "link add %sa type veth peer name %sb\nlink set %sa up\nlink set %sb up\n", pairs[i],
                        pairs[i], pairs[i], pairs[i]);
        /* All clients behind one router: one neighbour, one route. */
        snprintf(text + n, sizeof(text) - n,
                 "addr add 10.3.0.1/24 dev n2a\nneigh add 10.3.0.2 lladdr 02:03:03:03:03:03 dev n2a\n"
                 "route add 10.1.0.0/16 via 10.3.0.2\n");
        if (bench_command("ip -batch -", text) < 0)
                return dog_err_set(e, -EIO, "ip(8) could not make the veth pairs");
        return 0;
}

static struct instance_address bench_address(__u32 host)
{
        return (struct instance_address){{0, 0, htonl(0xffff), htonl(host)}};
}

/*
 * Port 80 is unprotected; of port 81 every flow is a connection with one server left. 82 and 83 are the same,
 * but their servers have the vip's address and port.
 */
static int bench_vips(struct dog_err *e)
{
        struct instance_address vip_address = bench_address(0x0a000001);
        struct instance_share share[SERVERS];
        int rc = 0;

        for (__u32 v = 0; v < 4; v++) {
                struct instance_vip vip = {
                        .number = v, .row = v, .seed = 0x5eed1234, .returns = INSTANCE_RETURN_NAT};
                vip.protect = v & 1 ? INSTANCE_PROTECT_ALWAYS : INSTANCE_PROTECT_NEVER;
                rc |= xdp_rig_vip(&rig, &vip_address, htons((__u16)(80 + v)), 6, &vip);
                for (__u32 i = 0; i < SERVERS; i++) {
                        struct instance_server s = {
                                .flags = INSTANCE_SERVER_SET | INSTANCE_SERVER_XDP,
                                .ifindex = if_nametoindex("n1a"),
                                .mac = {2, 1, 1, 1, 1, (__u8)i},
                                .own_mac = {2, 2, 2, 2, 2, 2},
                                .address = bench_address(v < 2 ? 0x0a020000 + i : 0x0a000001),
                                .port = htons((__u16)(v < 2 ? 8080 + v : 80 + v)),
                                .vip = (__u16)v};
                        share[i] = (struct instance_share){.server = (__u16)(v * SERVERS + i), .weight = 1};
                        rc |= xdp_rig_server(&rig, share[i].server, &s, &vip_address, htons((__u16)(80 + v)),
                                             6, false);
                }
                rc |= instance_maglev_build(rig.table + (size_t)v * INSTANCE_ROW, share, SERVERS, e);
        }
        for (__u32 n = 0; n < FLOWS && !rc; n++) {
                struct instance_flow flow = {bench_address(0x0a010000 + n), htons((__u16)(1024 + n % 60000)),
                                             1};
                struct instance_conn c = {.flags = INSTANCE_CONN_ALONE,
                                          .primary = (__u16)(SERVERS + n % SERVERS)};
                rc |= xdp_rig_conn(&rig, &flow, false, &c);
        }
        rc |= xdp_rig_out(&rig, if_nametoindex("n2a"));
        return rc ? dog_err_set(e, -EIO, "cannot fill the front's maps") : 0;
}

static int bench_open(struct dog_err *e)
{
        int rc = xdp_rig_open(&rig, FLOWS, e); /* full to the last place */

        if (rc)
                return rc;
        plain = bench_front__open_and_load();
        if (!plain)
                return dog_err_set(e, -errno, "cannot load the bench's own programs: %s", strerror(errno));
        rc = bench_devices(e);
        if (!rc)
                rc = bench_vips(e);
        __u32 key = if_nametoindex("h0b"), value = if_nametoindex("h1a");
        if (!rc && bpf_map__update_elem(plain->maps.hop_to, &key, 4, &value, 4, BPF_ANY) < 0)
                rc = dog_err_set(e, -EIO, "cannot forward h0b to h1a");
        if (!rc)
                rc = chain_attach("h0b", plain->progs.hop, e);
        if (!rc)
                rc = chain_attach("n0b", rig.skel->progs.instance_xdp, e);
        static const char *const sinks[] = {"h1b", "n1b", "n2b"};
        for (size_t i = 0; i < ARRAY_SIZE(sinks) && !rc; i++)
                rc = chain_attach(sinks[i], plain->progs.sink, e);
        return rc;
}

/* ---- feeding ----------------------------------------------------------------------------------- */

static void bench_turn(int i, __u32 ifindex)
{
        plain->bss->gen_ifindex = ifindex;
        plain->data->gen_port = i == CONN ? 81 : 80;
        plain->bss->gen_back = i == BACK;
}

static int bench_chains(struct dog_err *e)
{
        const struct chain_feed feed = {.generator = bpf_program__fd(plain->progs.gen),
                                        .frame_bytes = FRAME,
                                        .sinks = bpf_map__fd(plain->maps.sink_count),
                                        .cpus = rig.cpus,
                                        .turn = bench_turn};
        int bursts[CHAIN_ROUNDS] = {0}, rc = chain_run(chains, CHAINS, -1, &feed, bursts, e);
        if (rc < 0)
                return rc;
        chain_ratio("instance.rewrite_of_hop", &chains[NAT], &chains[HOP], bursts);
        chain_ratio("instance.rewrite_of_hop_conn", &chains[CONN], &chains[HOP], bursts);
        chain_ratio("instance.rewrite_of_hop_back", &chains[BACK], &chains[HOP], bursts);
        return 0;
}

/* ---- the program alone --------------------------------------------------------------------------- */

/*
 * One frame again and again: what the figures above have beside memory and the device. A run works on what
 * the one before left, so these vips are NATted to themselves; hops last for 250 runs.
 */
static int bench_hot(struct dog_err *e)
{
        static const __u8 ip[] = {0x45, 0, 0, 50, 0, 0, 0x40, 0, 255, 6, 0, 0, 10, 1, 0, 7, 10, 0, 0, 1};
        struct instance_flow4 gone = {.client = htonl(0x0a010007), .port = htons(1024 + 7), .vip = 1};
        struct instance_flow hot = {bench_address(0x0a010007), htons(1024 + 7), 3};
        struct instance_conn alone = {.flags = INSTANCE_CONN_ALONE, .primary = 3 * SERVERS};
        double ns[HOT_CALLS];

        /* The table is full: this flow moves over to the fourth vip. */
        if (bpf_map__delete_elem(rig.skel->maps.instance_conns4, &gone, sizeof(gone), 0) ||
            xdp_rig_conn(&rig, &hot, false, &alone))
                return dog_err_set(e, -EIO, "cannot put a connection into the table");
        for (__u8 v = 0; v < 2; v++) {
                __u8 frame[FRAME] = {2, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0};
                memcpy(frame + 14, ip, sizeof(ip));
                memcpy(frame + 34, (const __u8[]){1024 >> 8, 7, 0, (__u8)(82 + v)}, 4);
                frame[46] = 0x50;
                frame[47] = 0x10;
                for (int n = 0; n < HOT_CALLS; n++) {
                        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = FRAME,
                                    .repeat = 250);
                        int rc = bpf_prog_test_run_opts(bpf_program__fd(rig.skel->progs.instance_xdp), &o);
                        if (rc < 0 || o.retval != XDP_REDIRECT)
                                return dog_err_set(e, -EIO, "the program does not forward: %d, %u", rc,
                                                   o.retval);
                        ns[n] = o.duration;
                }
                figure_print(v ? "instance.program_conn_ns" : "instance.program_ns", "ns", ns, HOT_CALLS);
        }
        return 0;
}

static const struct part {
        int (*run)(struct dog_err *e);
        const char *unit, *figures[4];
} parts[] = {
        {bench_chains,
         "ratio",
         {"instance.rewrite_of_hop", "instance.rewrite_of_hop_conn", "instance.rewrite_of_hop_back"}},
        {bench_hot, "ns", {"instance.program_ns", "instance.program_conn_ns"}},
};

int main(void)
{
        struct dog_err err = {{0}};
        int rc = 0, failed = 0;

        if (unshare(CLONE_NEWNET) < 0)
                rc = dog_err_set(&err, -errno, "needs root: cannot make a network namespace");
        if (!rc)
                rc = bench_open(&err);
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                int part = rc ? rc : parts[i].run(&err);
                for (const char *const *f = parts[i].figures; part && *f; f++)
                        figure_null(*f, parts[i].unit, err.text);
                failed |= part;
        }
        bench_front__destroy(plain);
        xdp_rig_close(&rig);
        return failed ? 1 : 0;
}
