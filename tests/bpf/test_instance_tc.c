/*
 * The front in traffic control: the real program on made packets. What leaves as a clone shows in counters
 * and in the connection's state; the packet itself is read back with every sum recomputed.
 * Proves I3 (all traffic to a second instance), I9 (carried over) and I13 (the map of connections).
 */
#include "base/array.h"
#include "base/rng.h"
#include "check.h"
#include "kinds/instance/instance_decide.h"
#include "made_frame.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#include "instance_tc.skel.h"
#pragma GCC diagnostic pop

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VIP      0x0a640001u
#define SERVER   0x0a640101u /* A; B is the next one */
#define PEER     0xc6336401u
#define PORT     80
#define OWN_PORT 8080
#define PASS     0
#define DROP     2
#define REDIRECT 7
#define SYNS     512
#define A_ISN    0xfffffff0u /* wraps in the first answer */
#define B_ISN    0x10000000u
#define C_ISN    0x7fffffffu

static struct {
        struct instance_tc *skel; /* loaded once for each number of connections: that takes a while */
        __u32 conns;
        int cpus;
        bool is_v6;
} rig;

static struct instance_address address(__u32 host)
{
        if (!rig.is_v6)
                return (struct instance_address){{0, 0, htonl(0xffff), htonl(host)}};
        return (struct instance_address){{htonl(0x20010db8), 0, 0, htonl(host)}};
}

static int rig_quiet(enum libbpf_print_level level, const char *format, va_list args)
{
        return level == LIBBPF_WARN && getenv("TC_RIG_LOUD") ? vfprintf(stderr, format, args) : 0;
}

static void map_clear(const struct bpf_map *map)
{
        char key[64];
        while (!bpf_map_get_next_key(bpf_map__fd(map), NULL, key))
                bpf_map_delete_elem(bpf_map__fd(map), key);
}

static void map_zero(const struct bpf_map *map, __u32 entries)
{
        char nothing[64 * 512] = {0};
        for (__u32 i = 0; i < entries; i++)
                bpf_map_update_elem(bpf_map__fd(map), &i, nothing, 0);
}

static void rig_down(void)
{
        instance_tc__destroy(rig.skel);
        rig.skel = NULL;
}

static int rig_load(__u32 conns)
{
        if (rig.skel && rig.conns == conns) {
                map_clear(rig.skel->maps.instance_vips);
                map_clear(rig.skel->maps.instance_back);
                map_clear(rig.skel->maps.instance_conns4);
                map_clear(rig.skel->maps.instance_conns6);
                map_clear(rig.skel->maps.instance_syns);
                map_zero(rig.skel->maps.instance_vip_stats, 1);
                map_zero(rig.skel->maps.instance_drops, INSTANCE_DROP_COUNT);
                map_zero(rig.skel->maps.instance_live, 1);
                return 0;
        }
        rig_down();
        rig.conns = conns;
        rig.skel = instance_tc__open();
        if (!rig.skel)
                return -errno;
        bpf_program__set_autoload(rig.skel->progs.instance_tc_egress, false); /* the same text */
        bpf_map__set_max_entries(rig.skel->maps.instance_conns4, conns);
        bpf_map__set_max_entries(rig.skel->maps.instance_conns6, conns);
        bpf_map__set_max_entries(rig.skel->maps.instance_syns, SYNS);
        bpf_map__set_max_entries(rig.skel->maps.instance_table, INSTANCE_ROW / 2);
        return instance_tc__load(rig.skel);
}

/* One protected vip, number 0, with server 0 as the primary of every flow and server 1 behind it. */
static void rig_up(bool is_v6, __u32 conns)
{
        static bool is_private;

        if (!is_private && (unshare(CLONE_NEWNET) < 0 || system("ip link set lo up") != 0))
                SKIP("needs CAP_SYS_ADMIN for a network namespace, and ip(8)");
        is_private = true;
        libbpf_set_print(rig_quiet);
        rig.is_v6 = is_v6;
        rig.cpus = libbpf_num_possible_cpus();
        int rc = rig_load(conns);
        if (rc == -EPERM) {
                rig_down();
                SKIP("needs CAP_BPF");
        }
        NEED(rc == 0, "the object loads: %s", strerror(-rc));
        struct instance_vip vip = {
                .protect = INSTANCE_PROTECT_ALWAYS, .seed = 5, .returns = INSTANCE_RETURN_NAT};
        struct instance_vip_key key = {.address = address(VIP), .port = htons(PORT), .proto = 6};
        bpf_map__update_elem(rig.skel->maps.instance_vips, &key, sizeof(key), &vip, sizeof(vip), 0);
        key.port = key.proto = 0;
        bpf_map__update_elem(rig.skel->maps.instance_vips, &key, sizeof(key), &vip, sizeof(vip), 0);
        for (__u32 i = 0; i < 2; i++) {
                struct instance_server s = {.flags = INSTANCE_SERVER_SET,
                                            .ifindex = 1,
                                            .mac = {2, 0, 0, 0, 1, (__u8)i},
                                            .own_mac = {2, 0, 0, 0, 9, 9},
                                            .address = address(SERVER + i),
                                            .port = htons(OWN_PORT)};
                struct instance_back_key from = {.address = s.address, .port = s.port, .proto = 6};
                struct instance_back back = {
                        .server = (__u16)i, .port = htons(PORT), .address = address(VIP)};
                bpf_map__update_elem(rig.skel->maps.instance_servers, &i, 4, &s, sizeof(s), 0);
                bpf_map__update_elem(rig.skel->maps.instance_back, &from, sizeof(from), &back, sizeof(back),
                                     0);
        }
        struct instance_pick pair[2] = {{0, 1}, {0, 1}};
        for (__u32 i = 0; i < INSTANCE_ROW / 2; i++)
                bpf_map__update_elem(rig.skel->maps.instance_table, &i, 4, pair, sizeof(pair), 0);
}

static int rig_run(const struct made_frame *made, struct made_frame *out)
{
        struct made_frame in = *made;

        memset(in.bytes, 0, 6); /* the device of a test run is "lo": others' frames are only overheard */
        *out = (struct made_frame){.size = MADE_FRAME_MAX};
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in.bytes, .data_size_in = in.size,
                    .data_out = out->bytes, .data_size_out = out->size, .repeat = 1);
        int rc = bpf_prog_test_run_opts(bpf_program__fd(rig.skel->progs.instance_tc_ingress), &o);
        out->size = o.data_size_out;
        return rc < 0 ? rc : (int)o.retval;
}

static __u64 drops(enum instance_drop why)
{
        __u64 each[256], sum = 0;
        __u32 key = why;
        if (bpf_map_lookup_elem(bpf_map__fd(rig.skel->maps.instance_drops), &key, each))
                return 0;
        for (int i = 0; i < rig.cpus; i++)
                sum += each[i];
        return sum;
}

static __u64 events(enum instance_event_type type)
{
        struct instance_vip_stats each[64];
        __u64 sum = 0;
        __u32 key = 0;
        if (rig.cpus > 64 || bpf_map_lookup_elem(bpf_map__fd(rig.skel->maps.instance_vip_stats), &key, each))
                return 0;
        for (int i = 0; i < rig.cpus; i++)
                sum += each[i].event[type];
        return sum;
}

static int count(const struct bpf_map *map)
{
        char key[64], next[64];
        int n = 0, fd = bpf_map__fd(map);
        for (void *at = NULL; !bpf_map_get_next_key(fd, at, next); at = key, n++)
                memcpy(key, next, sizeof(key));
        return n;
}

static bool conn_of(__u16 port, struct instance_conn *c)
{
        struct instance_flow six = {.client = address(PEER), .port = htons(port)};
        struct instance_flow4 four = {.client = htonl(PEER), .port = htons(port)};
        const struct bpf_map *map =
                rig.is_v6 ? rig.skel->maps.instance_conns6 : rig.skel->maps.instance_conns4;
        return !bpf_map__lookup_elem(map, rig.is_v6 ? (void *)&six : (void *)&four,
                                     rig.is_v6 ? sizeof(six) : sizeof(four), c, sizeof(*c), BPF_F_LOCK);
}

/* ---- what the three say ------------------------------------------------------------------ */

enum { CLIENT, A, B };

/* Send a segment through the front; *got is what came out. @return the verdict */
static int say(int who, __u16 port, __u8 flags, __u32 seq, __u32 ack, __u32 bytes, struct made_flow *got)
{
        struct made_flow flow = {.is_v6 = rig.is_v6,
                                 .proto = 6,
                                 .ttl = 64,
                                 .tcp_flags = flags,
                                 .src = who == CLIENT ? PEER : SERVER + (__u32)(who - A),
                                 .dst = who == CLIENT ? VIP : PEER,
                                 .sport = who == CLIENT ? port : OWN_PORT,
                                 .dport = who == CLIENT ? PORT : port,
                                 .seq = seq,
                                 .ack = ack,
                                 .payload = bytes};
        struct made_frame in = made_frame(&flow), out;
        int verdict = rig_run(&in, &out);

        *got = made_flow(&out);
        if (verdict != DROP) {
                const char *wrong = made_wrong(&out);
                OK(!wrong, "a packet of %d: %s", who, wrong);
        }
        return verdict;
}

static bool is_to_server(const struct made_flow *f, int who)
{
        return f->dst == SERVER + (__u32)(who - A) && f->dport == OWN_PORT && f->src == PEER;
}

static bool is_to_client(const struct made_flow *f)
{
        return f->src == VIP && f->sport == PORT && f->dst == PEER;
}

/* A handshake; the standby answers first when `is_late` is false. */
static void shake(__u16 port, bool is_b_first)
{
        struct made_flow got;
        int first = is_b_first ? B : A, second = is_b_first ? A : B;

        NEED(say(CLIENT, port, INSTANCE_TCP_SYN, C_ISN, 0, 0, &got) == REDIRECT, "the SYN");
        OK(is_to_server(&got, A) && got.tcp_flags == INSTANCE_TCP_SYN && got.seq == C_ISN, "goes to A");
        OK(say(first, port, INSTANCE_TCP_SYN | INSTANCE_TCP_ACK, first == A ? A_ISN : B_ISN, C_ISN + 1, 0,
               &got) == DROP,
           "the first answer waits for the other");
        OK(say(second, port, INSTANCE_TCP_SYN | INSTANCE_TCP_ACK, second == A ? A_ISN : B_ISN, C_ISN + 1, 0,
               &got) != DROP,
           "the second one releases it");
        OK(is_to_client(&got) && got.seq == A_ISN && got.ack == C_ISN + 1, "with A's number");
        OK(got.tcp_flags == (INSTANCE_TCP_SYN | INSTANCE_TCP_ACK), "flags %x", got.tcp_flags);
        OK(say(CLIENT, port, INSTANCE_TCP_ACK, C_ISN + 1, A_ISN + 1, 0, &got) == REDIRECT,
           "the third packet");
        OK(is_to_server(&got, A), "goes to A");
}

#define EVERY(is_v6) for (int is_v6 = 0; is_v6 < 2; is_v6++)

static void a_handshake_makes_a_connection_by_its_third_packet(void) /* I3, I13 */
{
        EVERY(is_v6)
        {
                struct instance_conn c;
                struct made_flow got;
                rig_up(is_v6, 16);
                NEED(say(CLIENT, 999, INSTANCE_TCP_SYN, 1, 0, 0, &got) == REDIRECT, "a SYN");
                OK(!conn_of(999, &c) && count(rig.skel->maps.instance_syns) == 1, "no connection by a SYN");
                shake(1000, false);
                shake(1001, true);
                for (__u16 port = 1000; port < 1002; port++) {
                        NEED(conn_of(port, &c), "port %u", port);
                        OK(c.delta == B_ISN - A_ISN && c.primary == 0 && c.standby == 1, "the pair");
                        OK(c.c_high == C_ISN + 1 && c.c_ack == A_ISN + 1, "the numbers");
                        OK(!(c.flags & INSTANCE_CONN_ALONE) && (c.flags & INSTANCE_CONN_COUNTED),
                           "protected");
                }
                OK(events(INSTANCE_EVENT_OPENED) == 2 && count(rig.skel->maps.instance_syns) == 1,
                   "two opened");
        }
}

static void a_standby_is_gated_and_its_bytes_are_reflected(void) /* I3 */
{
        EVERY(is_v6)
        {
                struct instance_conn c;
                struct made_flow got;
                rig_up(is_v6, 16);
                shake(1000, false);
                NEED(say(CLIENT, 1000, INSTANCE_TCP_ACK, C_ISN + 1, A_ISN + 1, 100, &got) == REDIRECT,
                     "asked");
                OK(is_to_server(&got, A) && got.payload == 100, "A is asked");
                OK(say(A, 1000, INSTANCE_TCP_ACK, A_ISN + 1, C_ISN + 101, 0, &got) == DROP,
                   "what B has not acknowledged, the client is not told");
                OK(say(B, 1000, INSTANCE_TCP_ACK, B_ISN + 1, C_ISN + 101, 0, &got) != DROP &&
                           is_to_client(&got) && got.ack == C_ISN + 101,
                   "now both have it");
                OK(say(A, 1000, INSTANCE_TCP_ACK, A_ISN + 1, C_ISN + 101, 500, &got) != DROP &&
                           is_to_client(&got) && got.payload == 500 && got.seq == A_ISN + 1,
                   "A's answer is the client's");
                say(CLIENT, 1000, INSTANCE_TCP_ACK, C_ISN + 101, A_ISN + 501, 0, &got);
                OK(say(B, 1000, INSTANCE_TCP_ACK, B_ISN + 1, C_ISN + 101, 500, &got) == REDIRECT,
                   "B's answer");
                OK(is_to_server(&got, B) && got.payload == 0 && got.ack == B_ISN + 501 &&
                           got.seq == C_ISN + 101 && got.tcp_flags == INSTANCE_TCP_ACK,
                   "comes back to it as an acknowledgement");
                NEED(conn_of(1000, &c), "it is there");
                OK(c.b_high == A_ISN + 501 && c.a_high == A_ISN + 501, "both have said as much");
        }
}

static void a_reset_of_the_primary_promotes_the_standby(void) /* I9 */
{
        EVERY(is_v6)
        {
                struct instance_conn c;
                struct made_flow got;
                rig_up(is_v6, 16);
                shake(1000, false);
                say(CLIENT, 1000, INSTANCE_TCP_ACK, C_ISN + 1, A_ISN + 1, 100, &got);
                say(B, 1000, INSTANCE_TCP_ACK, B_ISN + 1, C_ISN + 101, 0, &got);
                OK(say(A, 1000, INSTANCE_TCP_RST | INSTANCE_TCP_ACK, A_ISN + 7777, C_ISN + 101, 0, &got) ==
                                   DROP &&
                           drops(INSTANCE_DROP_BAD_SEQUENCE) == 1,
                   "a forged one does nothing");
                OK(say(A, 1000, INSTANCE_TCP_RST, A_ISN + 1, 0, 0, &got) == REDIRECT, "a real one");
                OK(is_to_server(&got, B) && got.tcp_flags == INSTANCE_TCP_ACK && got.seq == C_ISN + 101 &&
                           got.ack == B_ISN + 1,
                   "wakes B");
                OK(events(INSTANCE_EVENT_PROMOTED_RST) == 1, "counted");
                OK(say(B, 1000, INSTANCE_TCP_ACK, B_ISN + 1, C_ISN + 101, 300, &got) != DROP &&
                           is_to_client(&got) && got.seq == A_ISN + 1 && got.payload == 300,
                   "and B's bytes are the client's, in A's numbers");
                OK(say(CLIENT, 1000, INSTANCE_TCP_ACK, C_ISN + 101, A_ISN + 301, 10, &got) == REDIRECT &&
                           is_to_server(&got, B) && got.ack == B_ISN + 301 && got.payload == 10,
                   "the client talks to B");
                OK(say(A, 1000, INSTANCE_TCP_ACK, A_ISN + 1, C_ISN + 101, 300, &got) == REDIRECT &&
                           is_to_server(&got, A) && (got.tcp_flags & INSTANCE_TCP_RST),
                   "A is told that it is over");
                NEED(conn_of(1000, &c), "it is there");
                OK((c.flags & INSTANCE_CONN_PROMOTED) && c.why == INSTANCE_EVENT_PROMOTED_RST, "promoted");
        }
}

static void the_end_is_held_back_until_both_say_so(void) /* I9 */
{
        EVERY(is_v6)
        {
                struct made_flow got;
                rig_up(is_v6, 16);
                for (__u16 port = 1000; port < 1002; port++) {
                        shake(port, false);
                        OK(say(A, port, INSTANCE_TCP_FIN | INSTANCE_TCP_ACK, A_ISN + 1, C_ISN + 1, 200,
                               &got) != DROP &&
                                   is_to_client(&got) && got.tcp_flags == INSTANCE_TCP_ACK &&
                                   got.payload == 200,
                           "A's last bytes come without the end");
                        say(CLIENT, port, INSTANCE_TCP_ACK, C_ISN + 1, A_ISN + 201, 0, &got);
                }
                OK(say(B, 1000, INSTANCE_TCP_FIN | INSTANCE_TCP_ACK, B_ISN + 201, C_ISN + 1, 0, &got) !=
                                   DROP &&
                           is_to_client(&got) && (got.tcp_flags & INSTANCE_TCP_FIN) && got.seq == A_ISN + 201,
                   "B agrees: it is the end");
                OK(say(B, 1001, INSTANCE_TCP_ACK, B_ISN + 201, C_ISN + 1, 50, &got) != DROP &&
                           is_to_client(&got) && got.payload == 50 && got.seq == A_ISN + 201,
                   "B has more: it is not");
                OK(events(INSTANCE_EVENT_PROMOTED_FIN) == 1, "one promotion");
        }
}

/* ---- bad input --------------------------------------------------------------------------- */

static void a_flood_of_syns_has_a_bounded_place_of_its_own(void)
{
        struct instance_conn c;
        struct made_flow got;
        rig_up(false, 16);
        shake(1000, false);
        for (unsigned i = 0; i < 5000; i++)
                NEED(say(CLIENT, (__u16)(2000 + i), INSTANCE_TCP_SYN, i, 0, 0, &got) == REDIRECT, "SYN %u",
                     i);
        OK(count(rig.skel->maps.instance_syns) <= SYNS, "%d kept", count(rig.skel->maps.instance_syns));
        OK(count(rig.skel->maps.instance_conns4) == 1 && conn_of(1000, &c), "the connection is untouched");
        OK(say(CLIENT, 1000, INSTANCE_TCP_ACK, C_ISN + 1, A_ISN + 1, 9, &got) == REDIRECT && got.payload == 9,
           "and served");
}

static void a_full_table_means_unprotected_not_refused(void)
{
        struct made_flow got;
        rig_up(false, 4);
        for (__u16 port = 1000; port < 1010; port++)
                shake(port, false);
        int kept = count(rig.skel->maps.instance_conns4);
        OK(kept >= 4 && kept < 10, "%d kept", kept);
        OK(events(INSTANCE_EVENT_TABLE_FULL) == 10u - (unsigned)kept, "the others are counted");
        OK(say(CLIENT, 1009, INSTANCE_TCP_ACK, C_ISN + 1, A_ISN + 1, 9, &got) == REDIRECT &&
                   is_to_server(&got, A) && got.payload == 9,
           "and served by A");
        OK(say(A, 1009, INSTANCE_TCP_ACK, A_ISN + 1, C_ISN + 10, 20, &got) != DROP && is_to_client(&got),
           "back");
        OK(say(B, 1009, INSTANCE_TCP_ACK, B_ISN + 1, C_ISN + 10, 20, &got) == DROP, "B has no say");
}

static void what_cannot_be_read_is_counted_and_dropped(void)
{
        struct made_flow flow = {.proto = 6,
                                 .ttl = 64,
                                 .tcp_flags = INSTANCE_TCP_ACK,
                                 .src = PEER,
                                 .dst = VIP,
                                 .sport = 1000,
                                 .dport = PORT,
                                 .payload = 64};
        struct made_frame f, out;
        rig_up(false, 16);
        f = made_frame(&flow);
        f.bytes[20] = 0x20; /* more fragments */
        made_sign(&f);
        OK(rig_run(&f, &out) == DROP && drops(INSTANCE_DROP_FRAGMENT) == 1, "a fragment");
        f = made_frame(&flow);
        f.bytes[14] = 0x46;
        OK(rig_run(&f, &out) == DROP && drops(INSTANCE_DROP_OPTIONS) == 1, "IP options");
        f = made_frame(&flow);
        f.bytes[46] = 0xf0; /* 60 bytes of TCP header: 40 are payload, as options they are nonsense */
        f.bytes[47] = INSTANCE_TCP_SYN;
        int verdict = rig_run(&f, &out);
        OK(verdict == REDIRECT || verdict == DROP, "nonsense as options: %d", verdict);
        for (__u32 cut = 34; cut < f.size; cut++) { /* whatever the length, never an error of the program */
                struct made_frame g = f;
                g.size = cut;
                verdict = rig_run(&g, &out);
                OK(verdict == DROP || verdict == PASS || verdict == REDIRECT, "cut to %u: %d", cut, verdict);
        }
        flow.dport = 81;
        f = made_frame(&flow);
        OK(rig_run(&f, &out) == DROP && drops(INSTANCE_DROP_NO_SERVICE) == 1, "a port that nobody serves");
}

/* ---- the guard --------------------------------------------------------------------------- */

#define STREAM 200000
#define CUT    1400

static struct {
        __u8 bytes[3][STREAM]; /* by who says them */
        __u32 said[3];
} talk;

static void guard_up(bool is_v6)
{
        struct made_flow got;
        rig_up(is_v6, 16);
        struct instance_vip vip = {.protect = INSTANCE_PROTECT_ALWAYS,
                                   .seed = 5,
                                   .returns = INSTANCE_RETURN_NAT,
                                   .flags = INSTANCE_VIP_GUARD};
        struct instance_vip_key key = {.address = address(VIP), .port = htons(PORT), .proto = 6};
        bpf_map__update_elem(rig.skel->maps.instance_vips, &key, sizeof(key), &vip, sizeof(vip), 0);
        memset(talk.said, 0, sizeof(talk.said));
        shake(1000, false);
        say(CLIENT, 1000, INSTANCE_TCP_ACK, C_ISN + 1, A_ISN + 1, 100, &got);
}

/* The next n bytes of what it has to say; the client acknowledges A's. */
static void goes_on(int who, __u32 n)
{
        struct made_flow got, flow = {.is_v6 = rig.is_v6,
                                      .proto = 6,
                                      .ttl = 64,
                                      .tcp_flags = INSTANCE_TCP_ACK,
                                      .src = SERVER + (__u32)(who - A),
                                      .dst = PEER,
                                      .sport = OWN_PORT,
                                      .dport = 1000,
                                      .seq = (who == A ? A_ISN : B_ISN) + 1 + talk.said[who],
                                      .ack = C_ISN + 101,
                                      .payload = n};
        struct made_frame in = made_frame(&flow), out;

        memcpy(in.bytes + in.size - n, talk.bytes[who] + talk.said[who], n);
        made_sign(&in);
        rig_run(&in, &out);
        talk.said[who] += n;
        if (who == A)
                say(CLIENT, 1000, INSTANCE_TCP_ACK, C_ISN + 101, A_ISN + 1 + talk.said[A], 0, &got);
}

/* What the sum has to be, by the one line that says so. */
static __u64 sum_of(int who)
{
        __u32 end = A_ISN + 1 + talk.said[who], n = end & (INSTANCE_BLOCK - 1);
        if (n > talk.said[who])
                n = talk.said[who];
        return instance_sum_bytes(0, end - n, talk.bytes[who] + talk.said[who] - n, n);
}

static __u32 some(struct dog_rng *rng, __u32 left)
{
        __u32 n = 1 + (__u32)dog_rng_below(rng, dog_rng_below(rng, 4) ? CUT : 9);
        return n < left ? n : left;
}

static void a_stream_is_summed_as_user_space_says_however_it_is_cut(void) /* I3 */
{
        struct dog_rng rng;
        struct instance_conn c;
        int wrong = 0;

        dog_rng_init(&rng, 5);
        EVERY(is_v6)
        {
                for (__u32 i = 0; i < STREAM; i++)
                        talk.bytes[A][i] = talk.bytes[B][i] = (__u8)dog_rng_u64(&rng);
                guard_up(is_v6);
                while (talk.said[B] < STREAM) {
                        if (talk.said[A] < STREAM)
                                goes_on(A, some(&rng, STREAM - talk.said[A]));
                        if (talk.said[A] == STREAM || dog_rng_below(&rng, 3))
                                goes_on(B, some(&rng, talk.said[A] - talk.said[B]));
                        if (!conn_of(1000, &c) || c.a_sum != sum_of(A) || c.b_sum != sum_of(B))
                                wrong++;
                }
                OK(wrong == 0, "%d sums", wrong);
                OK(events(INSTANCE_EVENT_EVICTED_CONTENT) == 0, "the same is the same");
                OK(!(c.flags & (INSTANCE_CONN_A_BLIND | INSTANCE_CONN_B_BLIND)), "and all of it was seen");
        }
}

static void one_other_byte_is_seen_within_its_block(void) /* I3 */
{
        struct dog_rng rng;

        dog_rng_init(&rng, 6);
        for (int n = 0; n < 20; n++) {
                __u32 at = (__u32)dog_rng_below(&rng, STREAM - INSTANCE_BLOCK);
                memset(talk.bytes, n, sizeof(talk.bytes));
                talk.bytes[B][at] ^= (__u8)(1u << n % 8);
                guard_up(n & 1);
                while (talk.said[B] < STREAM && !events(INSTANCE_EVENT_EVICTED_CONTENT)) {
                        for (int i = 0; i < 50 && talk.said[A] < STREAM; i++)
                                goes_on(A, some(&rng, STREAM - talk.said[A]));
                        while (talk.said[B] < talk.said[A] && !events(INSTANCE_EVENT_EVICTED_CONTENT))
                                goes_on(B, some(&rng, talk.said[A] - talk.said[B]));
                }
                OK(events(INSTANCE_EVENT_EVICTED_CONTENT) == 1 && talk.said[B] > at &&
                           talk.said[B] <= at + INSTANCE_BLOCK + CUT,
                   "the byte %u was seen at %u", at, talk.said[B]);
        }
}

static void an_answer_of_another_second_is_the_same_answer(void) /* I3 */
{
        static const char *const head[2] = {"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Sun, 06 Nov 1994 08:49:37 "
                                            "GMT\r\nExpires: Mon, 07 Nov 1994 "
                                            "08:49:37 GMT\r\nETag: \"1\"\r\n\r\n",
                                            "HTTP/1.1 200 OK\r\nServer: x\r\nDate: Mon, 07 Nov 1994 00:00:00 "
                                            "GMT\r\nExpires: Tue, 08 Nov 1994 "
                                            "00:00:00 GMT\r\nETag: \"1\"\r\n\r\n"};
        __u32 bytes = (__u32)strlen(head[0]), body = 700, all = (bytes + body) * 60;
        struct instance_conn c;
        struct dog_rng rng;

        dog_rng_init(&rng, 7);
        NEED(strlen(head[1]) == bytes && all <= STREAM, "as long");
        for (int n = 0; n < 12; n++) {
                int late = n % 4 == 3 ? 20 : n % 4; /* answers that the standby is behind */
                bool is_other = n >= 8;             /* ... and says another thing in its head */
                memset(talk.bytes, 'x', sizeof(talk.bytes));
                for (__u32 at = 0; at < all; at += bytes + body) {
                        memcpy(talk.bytes[A] + at, head[0], bytes);
                        memcpy(talk.bytes[B] + at, head[1], bytes);
                }
                if (is_other)
                        talk.bytes[B][25] ^= 1;
                guard_up(n & 1);
                for (int i = 0; i < 60 + late; i++) {
                        if (talk.said[A] < all) /* an answer begins with its packet */
                                goes_on(A, bytes + body);
                        while (i >= late && talk.said[B] < (bytes + body) * (__u32)(i - late + 1))
                                goes_on(B, some(&rng, (bytes + body) * (__u32)(i - late + 1) - talk.said[B]));
                }
                NEED(conn_of(1000, &c), "it is there");
                /* Far behind, dates are forgotten: then nothing is said rather than something wrong. */
                if (is_other && late <= 2)
                        OK(events(INSTANCE_EVENT_EVICTED_CONTENT) == 1, "%d behind: a header differs", late);
                else if (!is_other)
                        OK(events(INSTANCE_EVENT_EVICTED_CONTENT) == 0 && !(c.flags & INSTANCE_CONN_ALONE),
                           "%d behind: only the second differs", late);
        }
}

int main(void)
{
        int rc = CHECK_RUN(TEST(a_handshake_makes_a_connection_by_its_third_packet),
                           TEST(a_standby_is_gated_and_its_bytes_are_reflected),
                           TEST(a_reset_of_the_primary_promotes_the_standby),
                           TEST(the_end_is_held_back_until_both_say_so),
                           TEST(a_flood_of_syns_has_a_bounded_place_of_its_own),
                           TEST(a_full_table_means_unprotected_not_refused),
                           TEST(what_cannot_be_read_is_counted_and_dropped),
                           TEST(a_stream_is_summed_as_user_space_says_however_it_is_cut),
                           TEST(one_other_byte_is_seen_within_its_block),
                           TEST(an_answer_of_another_second_is_the_same_answer));
        rig_down();
        return rc;
}
