/*
 * Traffic control's part that keeps no TCP state: plain forwarding, mirrored UDP, ICMP errors; the real
 * object, sharing its maps with the XDP program as on a front, on made frames. A copy really leaves: it is
 * caught at the far end of a veth pair.
 */
#include "base/array.h"
#include "check.h"
#include "kinds/instance/instance_parse.h"
#include "made_frame.h"
#include "xdp_rig.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#include "instance_tc.skel.h"
#pragma GCC diagnostic pop

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT   0x0a000001
#define VIP      0x0a010001
#define SERVERS  0x0a025500 /* no sum of VIP's, by chance or else */
#define SERVED   80
#define SERVER_P 8080
#define PASS     0
#define DROP     2
#define REDIRECT 7

static struct xdp_rig rig;
static struct instance_tc *tc;
static __u32 clients, servers; /* devices */
static int catcher = -1;

/* ---- the lab ------------------------------------------------------------------------------- */

static struct instance_address address(bool is_v6, __u32 last)
{
        struct instance_address a = {{0, 0, htonl(0xffff), htonl(last)}};
        if (is_v6)
                a = (struct instance_address){{htonl(0x20010db8), 0, 0, htonl(last)}};
        return a;
}

static bool private_net(void)
{
        static bool done;
        if (done)
                return true;
        if (unshare(CLONE_NEWNET) < 0)
                return false;
        int rc = system("ip link set lo up; ip link add c0 address 02:0f:00:00:00:01 type veth peer name c1;"
                        "ip link add s0 type veth peer name s1;"
                        "for d in c0 c1 s0 s1; do ip link set $d up; done;"
                        "ip addr add 10.0.255.254/16 dev c0;"
                        "ip -6 addr add 2001:db8::a00:fffe/112 dev c0 nodad;"
                        "ip neigh add 10.0.0.1 lladdr 02:cc:00:00:00:01 dev c0;"
                        "ip neigh add 2001:db8::a00:1 lladdr 02:cc:00:00:00:01 dev c0;"
                        "ip route add unreachable 10.9.0.0/16;"
                        "ip route add 10.8.0.0/16 via 10.0.0.1 dev c0 mtu lock 600;"
                        "echo 1 > /proc/sys/net/ipv4/ip_forward;"
                        "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        clients = if_nametoindex("c0");
        servers = if_nametoindex("s0");
        struct sockaddr_ll at = {.sll_family = AF_PACKET,
                                 .sll_protocol = htons(ETH_P_ALL),
                                 .sll_ifindex = (int)if_nametoindex("s1")};
        catcher = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
        done = rc == 0 && clients && servers && catcher >= 0 &&
               bind(catcher, (struct sockaddr *)&at, sizeof(at)) == 0;
        return done;
}

struct lab {
        bool is_v6;
        __u8 proto;
        enum instance_return returns;
        enum instance_protect protect;
        enum instance_answer answer;
};

/* The verifier takes a second for these: they are loaded once. */
static void objects_load(void)
{
        struct dog_err e = {{0}};
        int rc = xdp_rig_open(&rig, 1024, &e);
        if (rc == -EPERM) {
                xdp_rig_close(&rig);
                SKIP("needs CAP_BPF: %s", e.text);
        }
        NEED(rc == 0, "%s", e.text);
        tc = instance_tc__open();
        struct bpf_map *map;
        NEED(tc, "the object");
        bpf_object__for_each_map (map, tc->obj) {
                struct bpf_map *same = bpf_object__find_map_by_name(rig.skel->obj, bpf_map__name(map));
                if (same && !strstr(bpf_map__name(map), "."))
                        NEED(!bpf_map__reuse_fd(map, bpf_map__fd(same)), "share %s", bpf_map__name(map));
        }
        NEED(!instance_tc__load(tc), "load instance_tc: %s", strerror(errno));
}

static void map_clear(const struct bpf_map *map)
{
        char key[64], value[4096] = {0};
        size_t key_bytes = bpf_map__key_size(map), value_bytes = bpf_map__value_size(map);
        switch ((int)bpf_map__type(map)) {
        case BPF_MAP_TYPE_HASH:
        case BPF_MAP_TYPE_LRU_HASH:
                while (!bpf_map__get_next_key(map, NULL, key, key_bytes))
                        NEED(!bpf_map__delete_elem(map, key, key_bytes, 0), "%s", bpf_map__name(map));
                break;
        case BPF_MAP_TYPE_PERCPU_ARRAY:
                value_bytes = (value_bytes + 7) / 8 * 8 * (size_t)rig.cpus;
                if (value_bytes > sizeof(value)) /* a scratch pad, no counter */
                        break;
                for (__u32 i = 0; i < bpf_map__max_entries(map) && i < 64; i++)
                        NEED(!bpf_map__update_elem(map, &i, 4, value, value_bytes, 0), "%s",
                             bpf_map__name(map));
                break;
        default:
                break;
        }
}

/* Servers 20 (A) and 21 (B); every entry of the table has this order. */
static void lab_up(struct lab lab)
{
        struct bpf_map *map;
        if (!private_net())
                SKIP("needs CAP_SYS_ADMIN for a network namespace, and ip(8)");
        if (!tc)
                objects_load();
        bpf_object__for_each_map (map, tc->obj)
                map_clear(map);
        bpf_object__for_each_map (map, rig.skel->obj)
                map_clear(map);

        struct instance_address vip_address = address(lab.is_v6, VIP);
        struct instance_vip vip = {.number = 3,
                                   .row = 3,
                                   .seed = 0x5eed,
                                   .protect = (__u8)lab.protect,
                                   .answer = (__u8)lab.answer,
                                   .returns = (__u8)lab.returns};
        NEED(!xdp_rig_vip(&rig, &vip_address, htons(SERVED), lab.proto, &vip), "the vip");
        for (unsigned i = 0; i < 2; i++) {
                struct instance_server s = {.flags = INSTANCE_SERVER_SET | INSTANCE_SERVER_XDP,
                                            .ifindex = servers,
                                            .mac = {2, 0xbb, 0, 0, 0, (__u8)i},
                                            .own_mac = {2, 0xff, 0, 0, 0, 9},
                                            .address = address(lab.is_v6, SERVERS + i),
                                            .port = htons(SERVER_P),
                                            .vip = 3};
                NEED(!xdp_rig_server(&rig, (__u16)(20 + i), &s, &vip_address, htons(SERVED), lab.proto,
                                     lab.returns != INSTANCE_RETURN_NAT),
                     "server %u", i);
        }
        for (unsigned i = 0; i < INSTANCE_TABLE; i++)
                rig.table[3ul * INSTANCE_ROW + i] = (struct instance_pick){20, 21};
        struct made_frame drain;
        while (recv(catcher, drain.bytes, sizeof(drain.bytes), 0) > 0)
                ;
}

static int run(const struct made_frame *in, struct made_frame *out)
{
        struct __sk_buff ctx = {.ifindex = clients, .ingress_ifindex = clients};
        *out = (struct made_frame){0};
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->bytes, .data_size_in = in->size,
                    .data_out = out->bytes, .data_size_out = MADE_FRAME_MAX, .ctx_in = &ctx,
                    .ctx_size_in = sizeof(ctx), .repeat = 1);
        int rc = bpf_prog_test_run_opts(bpf_program__fd(tc->progs.instance_tc_ingress), &o);
        out->size = o.data_size_out;
        return rc < 0 ? rc : (int)o.retval;
}

/* What left by the servers' device, apart from the kernel's own; size 0: nothing did. */
static struct made_frame caught(void)
{
        struct made_frame f;
        struct pollfd p = {.fd = catcher, .events = POLLIN};
        for (int tries = 0; tries < 50; tries++) {
                f = (struct made_frame){0};
                ssize_t n = recv(catcher, f.bytes, sizeof(f.bytes), 0);
                if (n > 0 && f.bytes[1] == 0xbb) {
                        f.size = (__u32)n;
                        return f;
                }
                if (n <= 0 && poll(&p, 1, 100) == 0)
                        break;
        }
        f.size = 0;
        return f;
}

static bool same(const struct made_frame *a, const struct made_frame *b)
{
        return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

static struct made_flow request(struct lab lab)
{
        return (struct made_flow){.is_v6 = lab.is_v6,
                                  .proto = lab.proto,
                                  .ttl = 64,
                                  .tcp_flags = INSTANCE_TCP_ACK,
                                  .src = CLIENT,
                                  .dst = VIP,
                                  .sport = 40000,
                                  .dport = SERVED,
                                  .seq = 0x11223344,
                                  .ack = 0x55667788,
                                  .payload = 33};
}

/* The frame that server `i` answers with. */
static struct made_frame answer(struct lab lab, unsigned i, __u32 payload)
{
        struct made_flow flow = request(lab);
        bool is_nat = lab.returns == INSTANCE_RETURN_NAT;
        flow.src = is_nat ? SERVERS + i : VIP;
        flow.sport = is_nat ? SERVER_P : SERVED;
        flow.dst = CLIENT;
        flow.dport = 40000;
        flow.payload = payload;
        struct made_frame f = made_frame(&flow);
        memcpy(f.bytes + 6, rig.servers[20 + i].mac, 6);
        return f;
}

static const struct lab every[] = {{.is_v6 = false, .proto = 6},
                                   {.is_v6 = false, .proto = 17},
                                   {.is_v6 = true, .proto = 6},
                                   {.is_v6 = true, .proto = 17},
                                   {.is_v6 = false, .proto = 6, .returns = INSTANCE_RETURN_L2},
                                   {.is_v6 = true, .proto = 17, .returns = INSTANCE_RETURN_L2}};

/* ---- sums ----------------------------------------------------------------------------------- */

static __u32 word(const struct made_frame *f, unsigned at, unsigned bytes)
{
        __u32 v = 0;
        for (unsigned i = 0; i < bytes; i++)
                v = v << 8 | f->bytes[at + i];
        return v;
}

static __u32 sum(const struct made_frame *f, unsigned at, unsigned bytes, __u32 start)
{
        for (unsigned i = 0; i + 1 < bytes; i += 2)
                start += word(f, at + i, 2);
        if (bytes & 1)
                start += (__u32)f->bytes[at + bytes - 1] << 8;
        while (start >> 16)
                start = (start & 0xffff) + (start >> 16);
        return start;
}

/* ---- plain ------------------------------------------------------------------------------------- */

static void both_programs_write_the_same(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(every); i++) {
                lab_up(every[i]);
                for (__u16 n = 0; n < 200; n++) {
                        struct made_flow flow = request(every[i]);
                        flow.sport = (__u16)(5 + n * 321);
                        flow.payload = n;
                        flow.no_checksum = n % 7 == 0 && !flow.is_v6 && flow.proto == 17;
                        struct made_frame in = made_frame(&flow), by_tc, by_xdp = {.size = MADE_FRAME_MAX};
                        NEED(run(&in, &by_tc) == REDIRECT, "row %zu, flow %u", i, n);
                        OK(!made_wrong(&by_tc), "row %zu, flow %u: %s", i, n, made_wrong(&by_tc));
                        NEED(xdp_rig_run(&rig, in.bytes, in.size, by_xdp.bytes, &by_xdp.size) == XDP_REDIRECT,
                             "XDP");
                        OK(same(&by_tc, &by_xdp), "row %zu, flow %u: tc and XDP differ", i, n);
                }
                OK(xdp_rig_vip_stats(&rig, 3).to_servers == 400, "both count in one place");
                NEED(!xdp_rig_out(&rig, clients), "the clients' device");
                for (__u32 n = 0; n < 100; n++) {
                        struct made_frame in = answer(every[i], 1, n), by_tc,
                                          by_xdp = {.size = MADE_FRAME_MAX};
                        NEED(run(&in, &by_tc) == REDIRECT, "row %zu, answer %u", i, n);
                        OK(!made_wrong(&by_tc), "row %zu, answer %u: %s", i, n, made_wrong(&by_tc));
                        OK(made_flow(&by_tc).src == VIP && made_flow(&by_tc).sport == SERVED, "from the vip");
                        NEED(xdp_rig_run(&rig, in.bytes, in.size, by_xdp.bytes, &by_xdp.size) == XDP_REDIRECT,
                             "XDP");
                        OK(same(&by_tc, &by_xdp), "row %zu, answer %u: tc and XDP differ", i, n);
                }
        }
}

static void what_is_for_another_host_is_not_touched(void)
{
        lab_up(every[0]);
        struct made_flow flow = request(every[0]);
        struct made_frame in = made_frame(&flow), out;
        in.bytes[5] = 99;
        OK(run(&in, &out) == PASS && same(&in, &out), "overheard: another balancer's");
}

static void what_the_kernel_does_better_is_left_to_it(void)
{
        lab_up(every[0]);
        struct made_flow flow = request(every[0]);
        struct made_frame in, out;
        flow.src = SERVERS;
        flow.sport = SERVER_P;
        flow.dport = 40000;

        flow.dst = CLIENT + 7; /* its MAC address is not known */
        in = made_frame(&flow);
        OK(run(&in, &out) == PASS && !made_wrong(&out) && made_flow(&out).src == VIP,
           "a neighbour to ask for");
        OK(made_flow(&out).ttl == 64, "the kernel takes the hop");
        flow.dst = 0x0a00fffe; /* this host */
        in = made_frame(&flow);
        OK(run(&in, &out) == PASS && !made_wrong(&out) && made_flow(&out).src == VIP,
           "a socket of this host");
        flow.dst = 0x0a080001;
        flow.payload = 900;
        in = made_frame(&flow);
        OK(run(&in, &out) == PASS && same(&in, &out), "too long for the way: the server is to be told");
        flow.payload = 400;
        in = made_frame(&flow);
        OK(run(&in, &out) == REDIRECT, "not too long");
        flow.dst = 0x0a090001;
        in = made_frame(&flow);
        OK(run(&in, &out) == DROP && xdp_rig_drops(&rig, INSTANCE_DROP_NO_ROUTE) == 1, "no way");
        flow.dst = CLIENT;
        flow.ttl = 1;
        in = made_frame(&flow);
        OK(run(&in, &out) == PASS && same(&in, &out), "no hop left: the server is to be told");
}

/*
 * A sender that leaves the checksum to its device: the field holds the sum of the pseudo header alone, not
 * complemented, and must hold that of the new one afterwards. The frame goes over a real device for this.
 */
static void a_sum_that_a_device_is_to_make_is_kept_so(void)
{
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = 0, .attach_point = BPF_TC_INGRESS);
        int one = 1, out = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
        for (size_t i = 0; i < 4; i++) {
                bool v6 = every[i].is_v6;
                __u8 proto = every[i].proto;
                unsigned l4 = v6 ? 54 : 34, field = l4 + (proto == 6 ? 16 : 6), header = proto == 6 ? 20 : 8;
                struct made_flow flow = request(every[i]);
                struct made_frame f = made_frame(&flow), got;
                struct {
                        struct virtio_net_hdr v;
                        __u8 bytes[256];
                } __attribute__((packed)) wire = {{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                                   .csum_start = (__u16)l4,
                                                   .csum_offset = (__u16)(field - l4)},
                                                  {0}};
                lab_up(every[i]);
                LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(tc->progs.instance_tc_ingress));
                hook.ifindex = (int)clients;
                bpf_tc_hook_create(&hook);
                int rc = bpf_tc_attach(&hook, &opts);
                NEED(rc == 0, "attach: %d", rc);
                memcpy(wire.bytes, f.bytes, f.size);
                __u32 want = 0;
                for (int side = 0; side < 2; side++) {
                        /* The pseudo header's sum, first of what is sent, then of what is to come out. */
                        want = v6 ? sum(&f, 22, 32, header + 33 + proto)
                                  : sum(&f, 26, 8, header + 33 + proto);
                        if (side)
                                break;
                        wire.bytes[field] = (__u8)(want >> 8);
                        wire.bytes[field + 1] = (__u8)want;
                        struct instance_address to = address(v6, SERVERS);
                        memcpy(f.bytes + (v6 ? 38 : 30), v6 ? &to.word[0] : &to.word[3], v6 ? 16 : 4);
                }
                struct sockaddr_ll at = {.sll_family = AF_PACKET,
                                         .sll_protocol = htons(v6 ? ETH_P_IPV6 : ETH_P_IP),
                                         .sll_ifindex = (int)if_nametoindex("c1")};
                NEED(!setsockopt(out, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), "virtio headers");
                NEED(sendto(out, &wire, sizeof(wire.v) + f.size, 0, (struct sockaddr *)&at, sizeof(at)) > 0,
                     "sent: %s", strerror(errno));
                got = caught();
                opts.prog_fd = 0;
                opts.flags = opts.prog_id = 0;
                NEED(!bpf_tc_detach(&hook, &opts), "detach");
                NEED(got.size == f.size, "row %zu: %u bytes came", i, got.size);
                OK(made_flow(&got).dst == SERVERS && made_flow(&got).dport == SERVER_P, "rewritten");
                OK(word(&got, field, 2) == want, "row %zu: %04x, not %04x", i, word(&got, field, 2), want);
        }
        close(out);
}

/* ---- mirrored UDP ------------------------------------------------------------------------------- */

static const struct lab mirrored[] = {
        {false, 17, INSTANCE_RETURN_NAT, INSTANCE_PROTECT_ALWAYS, INSTANCE_ANSWER_FIRST},
        {true, 17, INSTANCE_RETURN_NAT, INSTANCE_PROTECT_ALWAYS, INSTANCE_ANSWER_PRIMARY},
        {false, 17, INSTANCE_RETURN_L2, INSTANCE_PROTECT_ALWAYS, INSTANCE_ANSWER_PRIMARY},
        {true, 17, INSTANCE_RETURN_L2, INSTANCE_PROTECT_ALWAYS, INSTANCE_ANSWER_FIRST},
};

static void a_udp_request_reaches_both_and_one_answer_returns(void) /* I3 */
{
        for (size_t i = 0; i < ARRAY_SIZE(mirrored); i++) {
                bool is_first = mirrored[i].answer == INSTANCE_ANSWER_FIRST;
                lab_up(mirrored[i]);
                for (__u32 n = 0; n < 60; n++) {
                        struct made_flow flow = request(mirrored[i]);
                        flow.payload = n * 24;
                        struct made_frame in = made_frame(&flow), to_b, out;
                        NEED(run(&in, &to_b) == REDIRECT, "row %zu, request %u", i, n);
                        struct made_frame to_a = caught();
                        NEED(to_a.size == in.size && to_a.bytes[5] == 0, "row %zu, request %u: A's", i, n);
                        OK(to_b.bytes[5] == 1, "B's");
                        OK(!made_wrong(&to_a) && !made_wrong(&to_b), "%s, %s", made_wrong(&to_a),
                           made_wrong(&to_b));
                        OK(made_flow(&to_a).ttl == 63 && made_flow(&to_b).ttl == 63, "one hop each");
                        bool is_nat = mirrored[i].returns == INSTANCE_RETURN_NAT;
                        OK(made_flow(&to_a).dst == (is_nat ? SERVERS : VIP) &&
                                   made_flow(&to_b).dst == (is_nat ? SERVERS + 1 : VIP),
                           "addresses");
                        /* B is first in every second round. */
                        for (unsigned k = 0; k < 2; k++) {
                                unsigned who = (k + n) & 1;
                                struct made_frame back = answer(mirrored[i], who, 3 + n * 20);
                                bool goes = is_first ? k == 0 : who == 0;
                                OK(run(&back, &out) == (goes ? REDIRECT : DROP), "row %zu, request %u, %c", i,
                                   n, "AB"[who]);
                                if (goes)
                                        OK(!made_wrong(&out) && made_flow(&out).src == VIP, "row %zu", i);
                        }
                }
                OK(xdp_rig_drops(&rig, INSTANCE_DROP_STANDBY) == 60, "counted");
                struct instance_vip_stats s = xdp_rig_vip_stats(&rig, 3);
                OK(s.copies == 60 && s.to_servers == 60 && s.to_clients == 60, "%llu copies", s.copies);
        }
}

static void a_dead_primary_costs_udp_nothing(void) /* I9 */
{
        lab_up(mirrored[1]);
        struct made_flow flow = request(mirrored[1]);
        struct made_frame in = made_frame(&flow), out, back = answer(mirrored[1], 1, 9);
        OK(run(&in, &out) == REDIRECT && caught().size > 0, "both have the request");
        rig.servers[20].flags |= INSTANCE_SERVER_DEAD;
        OK(run(&back, &out) == REDIRECT, "the standby's answer is let through");
        OK(run(&in, &out) == REDIRECT && out.bytes[5] == 1 && caught().size == 0, "the next request is B's");
        for (unsigned i = 0; i < INSTANCE_TABLE; i++)
                rig.table[3ul * INSTANCE_ROW + i] = (struct instance_pick){21, INSTANCE_NOBODY};
        OK(run(&in, &out) == REDIRECT && out.bytes[5] == 1 && caught().size == 0,
           "so it is with the next table");
        back = answer(mirrored[1], 1, 10);
        OK(run(&back, &out) == REDIRECT, "and its answers");
        rig.servers[21].flags |= INSTANCE_SERVER_DEAD;
        OK(run(&in, &out) == DROP && xdp_rig_drops(&rig, INSTANCE_DROP_NO_SERVER) == 1, "nobody is left");
}

static void long_answers_are_compared_to_their_end(void)
{
        lab_up(mirrored[0]);
        struct made_flow flow = request(mirrored[0]);
        struct made_frame in = made_frame(&flow), out, back;
        for (__u32 bytes = 0; bytes < 1450; bytes += 7) {
                OK(run(&in, &out) == REDIRECT, "a request");
                back = answer(mirrored[0], 0, bytes);
                OK(run(&back, &out) == REDIRECT, "%u bytes of A's", bytes);
                if (bytes) {
                        /* Known to be alike since the first round, so another last byte is another answer. */
                        back = answer(mirrored[0], 1, bytes);
                        back.bytes[back.size - 1] ^= 1;
                        made_sign(&back);
                        OK(run(&back, &out) == REDIRECT, "%u bytes, another last one", bytes);
                        memcpy(back.bytes + 26, (const __u8[]){SERVERS >> 24, SERVERS >> 16 & 255}, 2);
                        back.bytes[29] = SERVERS & 255;
                        made_sign(&back);
                        OK(run(&back, &out) == DROP, "%u bytes, its twin", bytes);
                }
                back = answer(mirrored[0], 1, bytes);
                OK(run(&back, &out) == DROP, "%u bytes of B's", bytes);
        }
        while (caught().size)
                ;
}

/* ---- ICMP errors ----------------------------------------------------------------------------- */

/* "Too big", from `from` to `to`, quoting the first 28 (48) bytes of `about`. */
static struct made_frame icmp_error(const struct made_frame *about, bool is_v6, __u32 from, __u32 to)
{
        struct made_flow outer = {.is_v6 = is_v6, .proto = 17, .ttl = 64, .src = from, .dst = to};
        unsigned quote = is_v6 ? 48 : 28, l4 = is_v6 ? 54 : 34;
        outer.payload = quote; /* a UDP header is as long as ICMP's */
        struct made_frame f = made_frame(&outer);
        f.bytes[is_v6 ? 20 : 23] = is_v6 ? 58 : 1;
        memset(f.bytes + l4, 0, 8);
        f.bytes[l4] = is_v6 ? 2 : 3;
        f.bytes[l4 + 1] = is_v6 ? 0 : 4;
        f.bytes[l4 + 6] = 5;
        memcpy(f.bytes + l4 + 8, about->bytes + 14, quote);
        if (!is_v6) {
                f.bytes[24] = f.bytes[25] = 0;
                __u32 s = ~sum(&f, 14, 20, 0);
                f.bytes[24] = (__u8)(s >> 8);
                f.bytes[25] = (__u8)s;
        }
        __u32 s = ~(is_v6 ? sum(&f, 22, 32 + 8 + quote, 8 + quote + 58) : sum(&f, l4, 8 + quote, 0));
        f.bytes[l4 + 2] = (__u8)(s >> 8);
        f.bytes[l4 + 3] = (__u8)s;
        return f;
}

static bool icmp_is_sound(const struct made_frame *f, bool is_v6)
{
        if (is_v6)
                return sum(f, 22, 32 + 56, 56 + 58) == 0xffff;
        return sum(f, 14, 20, 0) == 0xffff && sum(f, 34, 36, 0) == 0xffff && sum(f, 42, 20, 0) == 0xffff;
}

/* The same as "nobody listens on that port". */
static struct made_frame icmp_refusal(const struct made_frame *about, bool is_v6, __u32 from, __u32 to)
{
        struct made_frame f = icmp_error(about, is_v6, from, to);
        unsigned l4 = is_v6 ? 54 : 34, quote = is_v6 ? 48 : 28;
        f.bytes[l4] = is_v6 ? 1 : 3;
        f.bytes[l4 + 1] = is_v6 ? 4 : 3;
        memset(f.bytes + l4 + 2, 0, 6);
        __u32 s = ~(is_v6 ? sum(&f, 22, 32 + 8 + quote, 8 + quote + 58) : sum(&f, l4, 8 + quote, 0));
        f.bytes[l4 + 2] = (__u8)(s >> 8);
        f.bytes[l4 + 3] = (__u8)s;
        return f;
}

static void a_refusal_of_one_server_is_kept_from_the_client_while_the_other_lives(void) /* I3, bad input */
{
        for (size_t i = 0; i < 2; i++) {
                bool v6 = mirrored[i].is_v6;
                lab_up(mirrored[i]);
                struct made_flow flow = request(mirrored[i]), there = flow;
                struct made_frame in = made_frame(&flow), out, about;
                NEED(run(&in, &out) == REDIRECT && caught().size > 0, "row %zu: both have the request", i);
                for (unsigned who = 0; who < 2; who++) {
                        there.dst = SERVERS + who;
                        there.dport = SERVER_P;
                        about = made_frame(&there);
                        in = icmp_refusal(&about, v6, SERVERS + who, CLIENT);
                        OK(run(&in, &out) == DROP, "row %zu: the one of %c", i, "AB"[who]);
                        in = icmp_error(&about, v6, SERVERS + who, CLIENT);
                        OK(run(&in, &out) == PASS, "row %zu: too big is for the client", i);
                }
                rig.servers[20].flags |= INSTANCE_SERVER_DEAD;
                in = icmp_refusal(&about, v6, SERVERS + 1, CLIENT);
                OK(run(&in, &out) == PASS && icmp_is_sound(&out, v6), "row %zu: of the last one it is true",
                   i);
        }
}

static void an_icmp_error_reaches_who_sent_what_it_quotes(void) /* bad input */
{
        for (size_t i = 0; i < ARRAY_SIZE(every); i++) {
                bool v6 = every[i].is_v6, is_nat = every[i].returns == INSTANCE_RETURN_NAT;
                unsigned quoted = v6 ? 62 : 42, ports = quoted + (v6 ? 40 : 20);
                struct made_frame out, about;
                lab_up(every[i]);
                /* A router near the client, about an answer: the client saw it come from the vip. */
                struct made_flow sent = request(every[i]);
                sent.src = VIP;
                sent.sport = SERVED;
                sent.dst = CLIENT;
                sent.dport = 40000;
                about = made_frame(&sent);
                struct made_frame in = icmp_error(&about, v6, CLIENT + 99, VIP);
                NEED(run(&in, &out) == REDIRECT, "row %zu", i);
                OK(icmp_is_sound(&out, v6), "row %zu: sums", i);
                __u32 server = is_nat ? SERVERS : VIP;
                OK(word(&out, v6 ? 50 : 30, 4) == server, "to the server");
                OK(word(&out, quoted + (v6 ? 20 : 12), 4) == server, "about its own");
                OK(word(&out, ports, 2) == (is_nat ? SERVER_P : SERVED) && word(&out, ports + 2, 2) == 40000,
                   "ports");
                OK(out.bytes[1] == 0xbb && out.bytes[5] == 0, "its MAC");
                /* The server's host, about a request: it saw its own address there. */
                if (is_nat) {
                        sent = request(every[i]);
                        sent.dst = SERVERS + 1;
                        sent.dport = SERVER_P;
                        about = made_frame(&sent);
                        in = icmp_error(&about, v6, SERVERS + 1, CLIENT);
                        OK(run(&in, &out) == PASS && icmp_is_sound(&out, v6), "row %zu: back", i);
                        OK(word(&out, v6 ? 34 : 26, 4) == VIP, "from the vip");
                        OK(word(&out, quoted + (v6 ? 36 : 16), 4) == VIP &&
                                   word(&out, ports + 2, 2) == SERVED && word(&out, ports, 2) == 40000,
                           "about what the client sent");
                        in = icmp_error(&about, v6, SERVERS + 77, CLIENT);
                        OK(run(&in, &out) == PASS && word(&out, v6 ? 34 : 26, 4) == SERVERS + 77,
                           "a router on the way keeps its name");
                }
                /* About nothing of ours. */
                sent.src = VIP + 5;
                sent.dst = CLIENT;
                about = made_frame(&sent);
                in = icmp_error(&about, v6, CLIENT + 99, VIP);
                OK(run(&in, &out) == PASS && same(&in, &out), "the host's own, perhaps");
                rig.servers[20].flags |= INSTANCE_SERVER_DEAD;
                rig.servers[21].flags |= INSTANCE_SERVER_DEAD;
                sent.src = VIP;
                sent.sport = SERVED;
                about = made_frame(&sent);
                in = icmp_error(&about, v6, CLIENT + 99, VIP);
                OK(run(&in, &out) == DROP && xdp_rig_drops(&rig, INSTANCE_DROP_ICMP) == 1, "nobody's");
        }
}

static void of_a_protected_flow_both_servers_learn_of_it(void)
{
        for (int v6 = 0; v6 < 2; v6++) {
                struct lab lab = {.is_v6 = v6 == 1, .proto = 6, .protect = INSTANCE_PROTECT_ALWAYS};
                unsigned ports = v6 ? 102 : 62;
                lab_up(lab);
                struct instance_flow flow = {address(lab.is_v6, CLIENT), htons(40000), 3};
                struct instance_conn c = {.primary = 20,
                                          .standby = 21,
                                          .delta = 0x01000000,
                                          .c_ack = 0x11220000,
                                          .a_high = 0x11224000,
                                          .b_high = 0x11224000};
                NEED(!xdp_rig_conn(&rig, &flow, lab.is_v6, &c), "the connection");
                struct made_flow sent = request(lab);
                sent.src = VIP;
                sent.sport = SERVED;
                sent.dst = CLIENT;
                sent.dport = 40000;
                struct made_frame about = made_frame(&sent), in = icmp_error(&about, v6, CLIENT + 99, VIP),
                                  out;
                NEED(run(&in, &out) == REDIRECT, "forwarded");
                struct made_frame to_a = caught();
                NEED(to_a.size == in.size, "A's");
                OK(icmp_is_sound(&to_a, v6) && icmp_is_sound(&out, v6), "sums");
                OK(word(&to_a, v6 ? 50 : 30, 4) == SERVERS && word(&out, v6 ? 50 : 30, 4) == SERVERS + 1,
                   "to both");
                OK(word(&to_a, ports + 4, 4) == 0x11223344, "A's own number");
                OK(word(&out, ports + 4, 4) == 0x12220000, "B's next one, which it takes");
                c.flags = INSTANCE_CONN_PROMOTED;
                NEED(!xdp_rig_conn(&rig, &flow, lab.is_v6, &c), "the connection");
                NEED(run(&in, &out) == REDIRECT && caught().size == 0, "promoted: to one");
                OK(icmp_is_sound(&out, v6) && word(&out, v6 ? 50 : 30, 4) == SERVERS + 1, "to B");
                OK(word(&out, ports + 4, 4) == 0x12223344, "in B's numbers");
                c.b_high = 0x11223344;
                NEED(!xdp_rig_conn(&rig, &flow, lab.is_v6, &c), "the connection");
                OK(run(&in, &out) == DROP, "about a byte that was never sent: forged");
                c.flags = 0;
                c.c_ack = 0x11223345;
                NEED(!xdp_rig_conn(&rig, &flow, lab.is_v6, &c), "the connection");
                OK(run(&in, &out) == DROP, "about one that has arrived: forged");
                c.c_ack = 0x11220000;
                NEED(!xdp_rig_conn(&rig, &flow, lab.is_v6, &c), "the connection");
                in.bytes[(v6 ? 54 : 34) + 6] = 1;
                OK(run(&in, &out) == DROP, "an MTU of 256: nobody is made to send fragments");
        }
}

int main(void)
{
        int failed = CHECK_RUN(
                TEST(both_programs_write_the_same), TEST(what_is_for_another_host_is_not_touched),
                TEST(what_the_kernel_does_better_is_left_to_it),
                TEST(a_sum_that_a_device_is_to_make_is_kept_so),
                TEST(a_udp_request_reaches_both_and_one_answer_returns),
                TEST(a_dead_primary_costs_udp_nothing), TEST(long_answers_are_compared_to_their_end),
                TEST(an_icmp_error_reaches_who_sent_what_it_quotes),
                TEST(a_refusal_of_one_server_is_kept_from_the_client_while_the_other_lives),
                TEST(of_a_protected_flow_both_servers_learn_of_it));
        instance_tc__destroy(tc);
        xdp_rig_close(&rig);
        return failed;
}
