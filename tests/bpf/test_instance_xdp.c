/*
 * The front's XDP program on made frames, run by the kernel: both families and protocols, all three ways
 * back, and what must not get through.
 */
#include "base/array.h"
#include "base/rng.h"
#include "check.h"
#include "kinds/instance/instance_parse.h"
#include "made_frame.h"
#include "xdp_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT   0x0a000000 /* the clients' network: 10.0.0.0/16, or 2001:db8::10.0.0.0/112 */
#define VIP      0x0a010001
#define SERVERS  0x0a020000
#define OTHERS   0x0a030001
#define IFINDEX  77 /* where servers are; nothing is sent in a test run */
#define SERVED   80
#define SERVER_P 8080

static struct xdp_rig rig;
static __u32 out_ifindex; /* where clients are */

/* ---- the lab ------------------------------------------------------------------------------- */

static struct instance_address address(bool is_v6, __u32 last)
{
        struct instance_address a = {{0, 0, htonl(0xffff), htonl(last)}};
        if (is_v6)
                a = (struct instance_address){{htonl(0x20010db8), 0, 0, htonl(last)}};
        return a;
}

/* A namespace with a route to the clients, each of which has a MAC address. */
static bool private_net(void)
{
        static bool done;
        if (done)
                return true;
        if (unshare(CLONE_NEWNET) < 0)
                return false;
        int rc = system("ip link set lo up; ip link add c0 address 02:aa:00:00:00:01 type veth peer name c1;"
                        "ip link set c1 up;"
                        "ip link set c0 up; ip addr add 10.0.255.254/16 dev c0;"
                        "ip -6 addr add 2001:db8::a00:fffe/112 dev c0 nodad;"
                        "ip neigh add 10.0.0.1 lladdr 02:cc:00:00:00:01 dev c0;"
                        "ip neigh add 2001:db8::a00:1 lladdr 02:cc:00:00:00:01 dev c0;"
                        "ip route add unreachable 10.9.0.0/16;"
                        "echo 1 > /proc/sys/net/ipv4/ip_forward;"
                        "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        out_ifindex = if_nametoindex("c0");
        done = rc == 0 && out_ifindex;
        return done;
}

struct lab {
        bool is_v6;
        __u8 proto;
        enum instance_return returns;
        enum instance_protect protect;
        unsigned servers;
};

/* One vip, number 3, served by servers 20, 21, ...; the entry of a flow is known to the test. */
static void lab_up(struct lab lab)
{
        struct dog_err e = {{0}};
        if (!private_net())
                SKIP("needs CAP_SYS_ADMIN for a network namespace, and ip(8)");
        int rc = xdp_rig_open(&rig, 1024, &e);
        if (rc == -EPERM) {
                xdp_rig_close(&rig);
                SKIP("needs CAP_BPF: %s", e.text);
        }
        NEED(rc == 0, "%s", e.text);
        struct instance_address vip_address = address(lab.is_v6, VIP);
        struct instance_vip vip = {.number = 3,
                                   .row = 3,
                                   .seed = 0x5eed,
                                   .protect = (__u8)lab.protect,
                                   .returns = (__u8)lab.returns};
        struct instance_share share[8];
        NEED(!xdp_rig_vip(&rig, &vip_address, htons(SERVED), lab.proto, &vip), "the vip");
        for (unsigned i = 0; i < lab.servers; i++) {
                struct instance_server s = {.flags = INSTANCE_SERVER_SET | INSTANCE_SERVER_XDP,
                                            .ifindex = IFINDEX,
                                            .mac = {2, 0xbb, 0, 0, 0, (__u8)i},
                                            .own_mac = {2, 0xff, 0, 0, 0, 9},
                                            .address = address(lab.is_v6, SERVERS + i),
                                            .port = htons(SERVER_P),
                                            .vip = 3};
                share[i] = (struct instance_share){.server = (__u16)(20 + i), .weight = 1, .standby = 1};
                NEED(!xdp_rig_server(&rig, (__u16)(20 + i), &s, &vip_address, htons(SERVED), lab.proto,
                                     lab.returns != INSTANCE_RETURN_NAT),
                     "server %u", i);
        }
        NEED(!instance_maglev_build(rig.table + 3ul * INSTANCE_ROW, share, lab.servers, &e), "%s", e.text);
        NEED(!xdp_rig_out(&rig, out_ifindex), "the clients' device");
}

static struct made_flow request(struct lab lab)
{
        return (struct made_flow){.is_v6 = lab.is_v6,
                                  .proto = lab.proto,
                                  .ttl = 64,
                                  .tcp_flags = INSTANCE_TCP_ACK,
                                  .src = CLIENT + 1,
                                  .dst = VIP,
                                  .sport = 40000,
                                  .dport = SERVED,
                                  .seq = 0x11223344,
                                  .ack = 0x55667788,
                                  .payload = 33};
}

static int run(const struct made_frame *in, struct made_frame *out)
{
        *out = (struct made_frame){.size = MADE_FRAME_MAX};
        return xdp_rig_run(&rig, in->bytes, in->size, out->bytes, &out->size);
}

static bool same(const struct made_frame *a, const struct made_frame *b)
{
        return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

/* The pick that the table has for this flow, by what the header promises. */
static struct instance_pick pick_of(const struct made_flow *f)
{
        struct instance_address client = address(f->is_v6, f->src);
        __u64 hash = instance_hash(&client, htons(f->sport), 0x5eed);
        return rig.table[3ul * INSTANCE_ROW + instance_hash_entry(hash)];
}

static __u64 all_drops(void)
{
        __u64 sum = 0;
        for (int i = 0; i < INSTANCE_DROP_COUNT; i++)
                sum += xdp_rig_drops(&rig, (enum instance_drop)i);
        return sum;
}

/* Each of IPv4, IPv6, TCP, UDP. */
static const struct lab every[] = {{false, 6, INSTANCE_RETURN_NAT, INSTANCE_PROTECT_NEVER, 3},
                                   {false, 17, INSTANCE_RETURN_NAT, INSTANCE_PROTECT_NEVER, 3},
                                   {true, 6, INSTANCE_RETURN_NAT, INSTANCE_PROTECT_NEVER, 3},
                                   {true, 17, INSTANCE_RETURN_NAT, INSTANCE_PROTECT_NEVER, 3}};

/* ---- to servers ------------------------------------------------------------------------------ */

static void a_request_goes_to_the_server_of_its_entry(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(every); i++) {
                unsigned times[3] = {0};
                lab_up(every[i]);
                for (unsigned n = 0; n < 600; n++) {
                        struct made_flow flow = request(every[i]);
                        struct made_frame out;
                        flow.sport = (__u16)(1024 + n * 7);
                        flow.src = CLIENT + 1 + n % 50;
                        flow.payload = n % 90;
                        struct made_frame in = made_frame(&flow);
                        NEED(run(&in, &out) == XDP_REDIRECT, "flow %u", n);
                        const char *wrong = made_wrong(&out);
                        OK(!wrong, "flow %u: %s", n, wrong);
                        struct made_flow got = made_flow(&out);
                        unsigned server = got.dst - SERVERS;
                        NEED(server < 3 && server + 20 == pick_of(&flow).primary, "flow %u: to %x", n,
                             got.dst);
                        times[server]++;
                        OK(out.bytes[1] == 0xbb && out.bytes[5] == server && out.bytes[11] == 9, "MACs");
                        OK(got.dport == SERVER_P && got.sport == flow.sport && got.src == flow.src, "ports");
                        OK(got.ttl == 63 && got.payload == flow.payload, "hops, length");
                        OK(got.seq == (flow.proto == 6 ? flow.seq : 0) && in.size == out.size, "the rest");
                        OK(!memcmp(out.bytes + out.size - flow.payload, in.bytes + in.size - flow.payload,
                                   flow.payload),
                           "payload");
                }
                OK(times[0] > 120 && times[1] > 120 && times[2] > 120, "%u %u %u", times[0], times[1],
                   times[2]);
                struct instance_vip_stats s = xdp_rig_vip_stats(&rig, 3);
                OK(s.to_servers == 600 && s.to_servers_bytes > 600 * 42, "counted: %llu", s.to_servers);
                OK(all_drops() == 0, "nothing else happened");
                xdp_rig_close(&rig);
        }
}

static void without_nat_only_the_next_hop_changes(void)
{
        static const enum instance_return way[] = {INSTANCE_RETURN_L2, INSTANCE_RETURN_DIRECT};
        for (size_t i = 0; i < ARRAY_SIZE(every) * 2; i++) {
                struct lab lab = every[i / 2];
                struct made_frame out;
                lab.returns = way[i % 2];
                lab_up(lab);
                struct made_flow flow = request(lab);
                struct made_frame in = made_frame(&flow);
                NEED(run(&in, &out) == XDP_REDIRECT, "forwarded");
                OK(!made_wrong(&out), "%s", made_wrong(&out));
                OK(out.bytes[1] == 0xbb && out.bytes[11] == 9, "MACs");
                flow.ttl = 63;
                struct made_frame want = made_frame(&flow);
                OK(out.size == want.size && !memcmp(out.bytes + 12, want.bytes + 12, want.size - 12),
                   "one hop less, else untouched");
                xdp_rig_close(&rig);
        }
}

static void every_sum_comes_out_right(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 3);
        for (size_t i = 0; i < ARRAY_SIZE(every); i++) {
                int bad = 0;
                lab_up(every[i]);
                for (unsigned n = 0; n < 5000; n++) {
                        struct made_flow flow = request(every[i]);
                        struct made_frame out;
                        __u64 dice = dog_rng_u64(&rng);
                        flow.sport = (__u16)(dice | 1);
                        flow.src = CLIENT + (__u32)(dice >> 16 & 0xffff);
                        flow.seq = (__u32)(dice >> 32);
                        flow.payload = (__u32)(dice >> 20 & 63);
                        flow.ttl = (__u8)(2 + (dice >> 40) % 254);
                        struct made_frame in = made_frame(&flow);
                        /* Make the sum of what comes out 0, or that of what goes in 0xffff and 0. */
                        if (n % 3 == 0 && flow.payload >= 2) {
                                __u32 l4 = flow.is_v6 ? 54 : 34, at = l4 + (flow.proto == 6 ? 20u : 8u);
                                __u8 *check = in.bytes + l4 + (flow.proto == 6 ? 16 : 6);
                                __u32 sum = (__u32)(check[0] << 8 | check[1]), word;
                                word = (__u32)(in.bytes[at] << 8 | in.bytes[at + 1]) + sum;
                                word += n % 2 ? (flow.dst >> 16) + (flow.dst & 0xffff) + SERVED : 0;
                                word -= n % 2 ? (SERVERS >> 16) + SERVER_P + n % 5 : 0;
                                while (word >> 16)
                                        word = (word & 0xffff) + (word >> 16);
                                in.bytes[at] = (__u8)(word >> 8);
                                in.bytes[at + 1] = (__u8)word;
                                made_sign(&in);
                        }
                        NEED(run(&in, &out) == XDP_REDIRECT, "flow %u", n);
                        bad += made_wrong(&out) != NULL;
                }
                OK(bad == 0, "%d of 5000 with a wrong sum", bad);
                xdp_rig_close(&rig);
        }
}

static void udp_without_checksum_stays_without(void)
{
        struct made_frame out;
        lab_up(every[1]);
        struct made_flow flow = request(every[1]);
        flow.no_checksum = true;
        struct made_frame in = made_frame(&flow);
        OK(run(&in, &out) == XDP_REDIRECT && made_flow(&out).no_checksum, "still none");
        OK(!made_wrong(&out), "%s", made_wrong(&out));
        xdp_rig_close(&rig);
}

static void a_server_that_fails_is_left_for_its_standby(void) /* I8 */
{
        static const struct {
                __u32 a, b;
                int to; /* 0: primary, 1: standby, -1: dropped */
                const char *say;
        } row[] = {
                {0, 0, 0, "both sound"},
                {INSTANCE_SERVER_DEAD, 0, 1, "the primary is dead"},
                {INSTANCE_SERVER_LEAVING, 0, 1, "the primary is leaving"},
                {0, INSTANCE_SERVER_DEAD, 0, "the standby is dead"},
                {INSTANCE_SERVER_DEAD, INSTANCE_SERVER_DEAD, -1, "both are dead"},
                {INSTANCE_SERVER_LEAVING, INSTANCE_SERVER_DEAD, 0, "leaving, and nobody to take over"},
                {INSTANCE_SERVER_DEAD, INSTANCE_SERVER_LEAVING, 1, "a leaving one is better than a dead one"},
                {0, INSTANCE_SERVER_UNFIT, 0, "unfit to stand by"},
        };
        lab_up(every[0]);
        struct made_flow flow = request(every[0]);
        struct made_frame in = made_frame(&flow), out;
        struct instance_pick pick = pick_of(&flow);
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                __u32 sound = INSTANCE_SERVER_SET | INSTANCE_SERVER_XDP;
                rig.servers[pick.primary].flags = sound | row[i].a;
                rig.servers[pick.standby].flags = sound | row[i].b;
                int verdict = run(&in, &out);
                if (row[i].to < 0) {
                        OK(verdict == XDP_DROP, "%s", row[i].say);
                        continue;
                }
                __u32 want = SERVERS - 20u + (__u32)(row[i].to ? pick.standby : pick.primary);
                OK(verdict == XDP_REDIRECT && made_flow(&out).dst == want, "%s: %d, %x", row[i].say, verdict,
                   made_flow(&out).dst);
        }
        OK(xdp_rig_drops(&rig, INSTANCE_DROP_NO_SERVER) == 1, "counted");
        for (unsigned i = 0; i < INSTANCE_TABLE; i++)
                rig.table[3ul * INSTANCE_ROW + i].primary = rig.table[3ul * INSTANCE_ROW + i].standby =
                        INSTANCE_NOBODY;
        OK(run(&in, &out) == XDP_DROP, "a table of nobody");
        xdp_rig_close(&rig);
}

/* ---- back to clients ------------------------------------------------------------------------- */

static void an_answer_comes_from_the_vip(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(every) * 2; i++) {
                struct lab lab = every[i / 2];
                struct made_frame out;
                lab.returns = i % 2 ? INSTANCE_RETURN_L2 : INSTANCE_RETURN_NAT;
                lab_up(lab);
                struct made_flow flow = request(lab);
                flow.dst = CLIENT + 1;
                flow.dport = 40000;
                flow.src = i % 2 ? VIP : SERVERS + 1;
                flow.sport = i % 2 ? SERVED : SERVER_P;
                struct made_frame in = made_frame(&flow);
                memcpy(in.bytes + 6, rig.servers[21].mac, 6);
                NEED(run(&in, &out) == XDP_REDIRECT, "sent");
                OK(!made_wrong(&out), "%s", made_wrong(&out));
                struct made_flow got = made_flow(&out);
                OK(got.src == VIP && got.sport == SERVED && got.dst == flow.dst && got.dport == 40000,
                   "names");
                OK(got.ttl == 63 && got.payload == 33, "hops");
                OK(out.bytes[1] == 0xcc && out.bytes[5] == 1 && out.bytes[7] == 0xaa, "the client's MAC");
                struct instance_server_stats s = xdp_rig_server_stats(&rig, 21);
                OK(s.packets == 1 && s.bytes == in.size && s.heard_ns > 0, "counted by server");
                OK(xdp_rig_vip_stats(&rig, 3).to_clients == 1, "counted by vip");
                /* A client whose MAC address is not known is the kernel's, which asks for it. */
                flow.dst = CLIENT + 2;
                in = made_frame(&flow);
                memcpy(in.bytes + 6, rig.servers[21].mac, 6);
                OK(run(&in, &out) == XDP_PASS && same(&in, &out), "as it came, for tc");
                if (i % 2) {
                        in.bytes[11] = 99;
                        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "of no server of ours");
                }
                xdp_rig_close(&rig);
        }
}

static void what_xdp_cannot_send_it_leaves_as_it_came(void)
{
        struct made_frame out;
        lab_up(every[0]);
        struct made_flow flow = request(every[0]);
        flow.ttl = 1;
        struct made_frame in = made_frame(&flow);
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "no hop left");
        flow.ttl = 64;
        in = made_frame(&flow);
        for (unsigned i = 20; i < 23; i++)
                rig.servers[i].flags = INSTANCE_SERVER_SET;
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "a device without XDP");
        OK(xdp_rig_vip_stats(&rig, 3).to_servers == 0, "not counted: tc will");
        flow.src = SERVERS;
        flow.sport = SERVER_P;
        flow.dst = CLIENT + 1;
        __u32 key = out_ifindex;
        bpf_map__delete_elem(rig.skel->maps.instance_xdp_out, &key, 4, 0);
        in = made_frame(&flow);
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "the clients' device neither");
        xdp_rig_close(&rig);
}

/* ---- what is not to get through ---------------------------------------------------------------- */

static void what_is_no_sound_packet_is_dropped_by_reason(void) /* bad input */
{
        static const struct {
                unsigned at;
                __u8 value;
                int size; /* change of it */
                enum instance_drop why;
                const char *say;
        } row[] = {
                {20, 0x20, 0, INSTANCE_DROP_FRAGMENT, "a first fragment"},
                {21, 1, 0, INSTANCE_DROP_FRAGMENT, "a later one"},
                {14, 0x46, 0, INSTANCE_DROP_OPTIONS, "IP options"},
                {14, 0x44, 0, INSTANCE_DROP_SHORT, "an IP header of 16 bytes"},
                {16, 1, 0, INSTANCE_DROP_SHORT, "longer than it is"},
                {0, 2, -1, INSTANCE_DROP_SHORT, "cut"},
                {46, 0x40, 0, INSTANCE_DROP_SHORT, "a TCP header of 16 bytes"},
                {46, 0xf0, 0, INSTANCE_DROP_SHORT, "TCP options behind the end"},
                {37, 81, 0, INSTANCE_DROP_NO_SERVICE, "another port"},
                {23, 17, 0, INSTANCE_DROP_SHORT, "read as UDP, it is too short"},
                {23, 132, 0, INSTANCE_DROP_NO_SERVICE, "SCTP"},
        };
        lab_up(every[0]);
        struct made_flow flow = request(every[0]);
        flow.payload = 12;
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct made_frame in = made_frame(&flow), out;
                __u64 before = xdp_rig_drops(&rig, row[i].why);
                in.bytes[row[i].at] = row[i].value;
                if (row[i].value == 17)
                        memset(in.bytes + 38, 0, 2);
                in.size = (__u32)((int)in.size + row[i].size);
                OK(run(&in, &out) == XDP_DROP, "%s", row[i].say);
                OK(xdp_rig_drops(&rig, row[i].why) == before + 1, "%s is counted", row[i].say);
        }
        xdp_rig_close(&rig);

        lab_up(every[2]);
        flow = request(every[2]);
        static const struct {
                __u8 next;
                enum instance_drop why;
        } header[] = {{0, INSTANCE_DROP_OPTIONS},
                      {43, INSTANCE_DROP_OPTIONS},
                      {44, INSTANCE_DROP_FRAGMENT},
                      {60, INSTANCE_DROP_OPTIONS},
                      {132, INSTANCE_DROP_NO_SERVICE}};
        for (size_t i = 0; i < ARRAY_SIZE(header); i++) {
                struct made_frame in = made_frame(&flow), out;
                __u64 before = xdp_rig_drops(&rig, header[i].why);
                in.bytes[20] = header[i].next;
                OK(run(&in, &out) == XDP_DROP && xdp_rig_drops(&rig, header[i].why) == before + 1,
                   "next header %u", header[i].next);
        }
        xdp_rig_close(&rig);
}

static void a_scan_of_all_ports_finds_one(void) /* bad input: port scan */
{
        unsigned answered = 0;
        lab_up(every[0]);
        struct made_flow flow = request(every[0]);
        flow.tcp_flags = INSTANCE_TCP_SYN;
        for (unsigned port = 0; port < 65536; port += 1 + (port > 200 ? port % 17 : 0)) {
                struct made_frame out;
                flow.dport = (__u16)port;
                struct made_frame in = made_frame(&flow);
                int verdict = run(&in, &out);
                answered += verdict == XDP_REDIRECT;
                OK(verdict == (port == SERVED ? XDP_REDIRECT : XDP_DROP), "port %u", port);
        }
        OK(answered == 1 && xdp_rig_drops(&rig, INSTANCE_DROP_NO_SERVICE) > 7000, "the rest is counted");
        struct instance_server_stats s = {0};
        for (__u32 i = 20; i < 23; i++)
                s.opened += xdp_rig_server_stats(&rig, i).opened;
        OK(s.opened == 1, "one connection: %llu", s.opened);
        xdp_rig_close(&rig);
}

static void what_is_not_ours_passes_untouched(void)
{
        lab_up(every[0]);
        struct made_flow flow = request(every[0]);
        struct made_frame in, out;
        flow.dst = OTHERS;
        in = made_frame(&flow);
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "another address");
        in.bytes[20] = 0x20;
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "a fragment to it");
        in.bytes[14] = 0x4f;
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "with options");
        flow = request(every[0]);
        in = made_frame(&flow);
        in.bytes[12] = 0x81;
        in.bytes[13] = 0;
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "a tagged frame");
        in = made_frame(&flow);
        in.bytes[23] = 1;
        in.bytes[34] = 8;
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "an echo request to the vip is the host's");
        in.bytes[34] = 3;
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "an ICMP error is tc's");
        in.size = 33;
        OK(run(&in, &out) == XDP_PASS && same(&in, &out), "not even an IP header");
        OK(all_drops() == 0, "nothing counted");
        xdp_rig_close(&rig);
}

/* ---- connections ------------------------------------------------------------------------------- */

static void of_a_protected_connection_xdp_does_what_needs_no_clone(void) /* I9 */
{
        static const struct {
                __u16 flags;
                __u8 tcp;
                bool is_forwarded;
                const char *say;
        } row[] = {
                {0, INSTANCE_TCP_ACK, false, "two servers: a copy is needed"},
                {INSTANCE_CONN_ALONE, INSTANCE_TCP_ACK, true, "one left: as any other"},
                {INSTANCE_CONN_ALONE, INSTANCE_TCP_ACK | INSTANCE_TCP_PSH, true, "the same"},
                {INSTANCE_CONN_ALONE, INSTANCE_TCP_ACK | INSTANCE_TCP_FIN, false, "its end is tc's"},
                {INSTANCE_CONN_ALONE, INSTANCE_TCP_RST, false, "so is this one"},
                {INSTANCE_CONN_ALONE, INSTANCE_TCP_SYN, false, "and a new one"},
                {INSTANCE_CONN_ALONE | INSTANCE_CONN_CLOSED, INSTANCE_TCP_ACK, false, "ended"},
                {INSTANCE_CONN_PROMOTED, INSTANCE_TCP_ACK, false, "other numbers: tc's"},
        };
        for (int v6 = 0; v6 < 2; v6++) {
                struct lab lab = {v6 == 1, 6, INSTANCE_RETURN_NAT, INSTANCE_PROTECT_ALWAYS, 3};
                lab_up(lab);
                struct made_flow up = request(lab), down = up;
                down.src = SERVERS + 2;
                down.sport = SERVER_P;
                down.dst = CLIENT + 1;
                down.dport = up.sport;
                struct made_frame in = made_frame(&up), back = made_frame(&down), out;
                OK(run(&in, &out) == XDP_PASS && same(&in, &out), "not known: tc decides");
                OK(run(&back, &out) == XDP_PASS && same(&back, &out), "back neither");
                for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                        struct instance_flow flow = {address(lab.is_v6, up.src), htons(up.sport), 3};
                        struct instance_conn c = {.flags = row[i].flags, .primary = 22, .standby = 20};
                        NEED(!xdp_rig_conn(&rig, &flow, lab.is_v6, &c), "the connection");
                        up.tcp_flags = down.tcp_flags = row[i].tcp;
                        in = made_frame(&up);
                        back = made_frame(&down);
                        bool went = run(&in, &out) == XDP_REDIRECT;
                        OK(went == row[i].is_forwarded, "%s", row[i].say);
                        OK(went ? !made_wrong(&out) && made_flow(&out).dst == SERVERS + 2 : same(&in, &out),
                           "%s", row[i].say);
                        went = run(&back, &out) == XDP_REDIRECT;
                        OK(went == row[i].is_forwarded, "back: %s", row[i].say);
                        OK(went ? !made_wrong(&out) && made_flow(&out).src == VIP : same(&back, &out),
                           "back: %s", row[i].say);
                }
                /* The standby of one that is alone has nothing to say. */
                struct instance_flow flow = {address(lab.is_v6, up.src), htons(up.sport), 3};
                struct instance_conn c = {.flags = INSTANCE_CONN_ALONE, .primary = 22, .standby = 20};
                NEED(!xdp_rig_conn(&rig, &flow, lab.is_v6, &c), "the connection");
                down.src = SERVERS;
                down.tcp_flags = INSTANCE_TCP_ACK;
                back = made_frame(&down);
                OK(run(&back, &out) == XDP_PASS && same(&back, &out), "tc drops it");
                OK(all_drops() == 0, "XDP drops none of it");
                xdp_rig_close(&rig);
        }
}

/* ---- noise ------------------------------------------------------------------------------------- */

/* Good frames with a few bytes changed or cut off: what still goes to a server is sound, or was so broken. */
static void noise_never_reaches_a_server_as_something_else(void) /* bad input */
{
        struct dog_rng rng;
        dog_rng_init(&rng, 17);
        for (size_t i = 0; i < ARRAY_SIZE(every); i++) {
                unsigned forwarded = 0, dropped = 0, passed = 0, bad = 0;
                lab_up(every[i]);
                for (unsigned n = 0; n < 20000; n++) {
                        struct made_flow flow = request(every[i]);
                        struct made_frame out;
                        flow.payload = (__u32)dog_rng_below(&rng, 100);
                        struct made_frame in = made_frame(&flow);
                        for (__u64 k = dog_rng_below(&rng, 4); k-- > 0;)
                                in.bytes[dog_rng_below(&rng, 75)] = (__u8)dog_rng_u64(&rng);
                        if (dog_rng_below(&rng, 4) == 0)
                                in.size = 14 + (__u32)dog_rng_below(&rng, in.size - 13);
                        const char *sick = made_wrong(&in);
                        if (sick && strstr(sick, "checksum") && dog_rng_below(&rng, 2))
                                made_sign(&in);
                        int verdict = run(&in, &out);
                        NEED(verdict >= 0, "frame %u of %u bytes: %d", n, in.size, verdict);
                        passed += verdict == XDP_PASS;
                        dropped += verdict == XDP_DROP;
                        if (verdict == XDP_PASS)
                                OK(same(&in, &out), "frame %u passed, but changed", n);
                        if (verdict != XDP_REDIRECT)
                                continue;
                        forwarded++;
                        /* A sum that was wrong stays wrong: the server is to see it. Nothing else is. */
                        const char *was = made_wrong(&in), *is = made_wrong(&out);
                        bad += (was == NULL) != (is == NULL) || (was && strcmp(was, is) != 0) ||
                               (is && !strstr(is, "checksum"));
                }
                OK(bad == 0, "%u of %u forwarded frames", bad, forwarded);
                OK(forwarded > 3000 && dropped > 3000 && passed > 500, "%u forwarded, %u dropped, %u passed",
                   forwarded, dropped, passed);
                xdp_rig_close(&rig);
        }
}

int main(void)
{
        return CHECK_RUN(TEST(a_request_goes_to_the_server_of_its_entry),
                         TEST(without_nat_only_the_next_hop_changes), TEST(every_sum_comes_out_right),
                         TEST(udp_without_checksum_stays_without),
                         TEST(a_server_that_fails_is_left_for_its_standby),
                         TEST(an_answer_comes_from_the_vip), TEST(what_xdp_cannot_send_it_leaves_as_it_came),
                         TEST(what_is_no_sound_packet_is_dropped_by_reason),
                         TEST(a_scan_of_all_ports_finds_one), TEST(what_is_not_ours_passes_untouched),
                         TEST(of_a_protected_connection_xdp_does_what_needs_no_clone),
                         TEST(noise_never_reaches_a_server_as_something_else));
}
