/* The shim's programs on made packets, in a network namespace of the test's own. What needs a real socket
 * from a real packet (the kernel function wants tc ingress of a device) is lab/aligned. */
#include "check.h"

#include "base/clock.h"
#include "kinds/instance/shim.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#include "instance_shim.skel.h"
#pragma GCC diagnostic pop

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))
#define PORT          80
#define CLIENT_PORT   40000
#define NUMBER        3
#define PASSED        TC_ACT_UNSPEC

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static struct instance_shim *shim;
static const struct instance_cookie_keys keys = {.key = {{11, 22, 0}, {0, 0, ~0ULL}}};

/* One made segment and, after a run, what became of it. */
struct segment {
        bool is_v6, from_server;
        __u8 flags, tos, option_words;
        __u32 seq, ack, bytes;
        __u16 window;
};

struct result {
        int verdict;
        __u32 size, mark;
        __u8 frame[4096];
        struct segment is;
        bool sums_are_right;
        bool macs_fit;
};

static const __u8 client_mac[6] = {2, 0, 0, 0, 0, 1}, server_mac[6] = {2, 0, 0, 0, 0, 2};

static struct instance_address address_of(bool is_v6, __u8 last)
{
        if (is_v6)
                return (struct instance_address){{htonl(0x20010db8), 0, 0, htonl(last)}};
        return (struct instance_address){{0, 0, htonl(0xffff), htonl(0xc0000200U + last)}};
}

static void put16(__u8 *at, unsigned v)
{
        at[0] = (__u8)(v >> 8);
        at[1] = (__u8)v;
}
static void put32(__u8 *at, __u32 v)
{
        put16(at, v >> 16);
        put16(at + 2, v & 0xffff);
}
static __u32 get16(const __u8 *at)
{
        return (__u32)at[0] << 8 | at[1];
}
static __u32 get32(const __u8 *at)
{
        return get16(at) << 16 | get16(at + 2);
}

static __u32 sum_of(const __u8 *at, __u32 bytes, __u32 sum)
{
        for (__u32 i = 0; i < bytes; i++)
                sum += i & 1 ? at[i] : (__u32)at[i] << 8;
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return sum;
}

/* Over pseudo header and TCP: 0xffff when the checksum in it is right, its complement is the one to write. */
static __u32 tcp_sum(const __u8 *frame, bool is_v6, __u32 tcp_bytes)
{
        __u32 sum = is_v6 ? sum_of(frame + 22, 32, 6) : sum_of(frame + 26, 8, 6);

        return sum_of(frame + (is_v6 ? 54 : 34), tcp_bytes, sum + tcp_bytes);
}

static __u32 frame_make(const struct segment *s, __u8 *f)
{
        __u32 l4 = s->is_v6 ? 54 : 34, tcp = 20U + s->option_words * 4U + s->bytes;
        struct instance_address client = address_of(s->is_v6, 7), server = address_of(s->is_v6, 9);
        const struct instance_address *from = s->from_server ? &server : &client;
        const struct instance_address *to = s->from_server ? &client : &server;

        memset(f, 0, l4 + tcp);
        memcpy(f, s->from_server ? client_mac : server_mac, 6);
        memcpy(f + 6, s->from_server ? server_mac : client_mac, 6);
        put16(f + 12, s->is_v6 ? 0x86dd : 0x0800);
        if (s->is_v6) {
                f[14] = (__u8)(0x60 | s->tos >> 4);
                f[15] = (__u8)(s->tos << 4 | 5);
                put16(f + 18, tcp);
                f[20] = 6;
                f[21] = 64;
                memcpy(f + 22, from, 16);
                memcpy(f + 38, to, 16);
        } else {
                f[14] = 0x45;
                f[15] = s->tos;
                put16(f + 16, 20 + tcp);
                f[22] = 64;
                f[23] = 6;
                memcpy(f + 26, &from->word[3], 4);
                memcpy(f + 30, &to->word[3], 4);
                put16(f + 24, ~sum_of(f + 14, 20, 0));
        }
        put16(f + l4, s->from_server ? PORT : CLIENT_PORT);
        put16(f + l4 + 2, s->from_server ? CLIENT_PORT : PORT);
        put32(f + l4 + 4, s->seq);
        put32(f + l4 + 8, s->ack);
        f[l4 + 12] = (__u8)((5 + s->option_words) << 4);
        f[l4 + 13] = s->flags;
        put16(f + l4 + 14, s->window);
        for (__u32 i = 0; i < s->option_words * 4U; i++)
                f[l4 + 20 + i] = (__u8)(i == 0 ? 5 : i == 1 ? s->option_words * 4 : 0x77);
        for (__u32 i = 0; i < s->bytes; i++)
                f[l4 + 20 + s->option_words * 4U + i] = (__u8)(i * 7);
        put16(f + l4 + 16, ~tcp_sum(f, s->is_v6, tcp));
        return l4 + tcp;
}

static void result_read(struct result *r)
{
        const __u8 *f = r->frame;
        bool is_v6 = get16(f + 12) == 0x86dd;
        __u32 l4 = is_v6 ? 54 : 34, tcp = is_v6 ? get16(f + 18) : get16(f + 16) - 20;

        r->is.is_v6 = is_v6;
        r->is.tos = is_v6 ? (__u8)(f[14] << 4 | f[15] >> 4) : f[15];
        r->is.seq = get32(f + l4 + 4);
        r->is.ack = get32(f + l4 + 8);
        r->is.option_words = (__u8)((f[l4 + 12] >> 4) - 5);
        r->is.flags = f[l4 + 13];
        r->is.window = (__u16)get16(f + l4 + 14);
        r->is.bytes = tcp - 20 - r->is.option_words * 4U;
        r->is.from_server = get16(f + l4) == PORT;
        r->sums_are_right = l4 + tcp == r->size && tcp_sum(f, is_v6, tcp) == 0xffff &&
                            (is_v6 || sum_of(f + 14, 20, 0) == 0xffff);
        r->macs_fit = !memcmp(f, r->is.from_server ? client_mac : server_mac, 6);
}

static struct result run(const struct bpf_program *program, const struct segment *s, __u32 mark)
{
        __u8 frame[2048];
        struct result r = {.size = 0};
        struct __sk_buff ctx = {.mark = mark, .ifindex = 1, .ingress_ifindex = 1};
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = frame_make(s, frame),
                    .data_out = r.frame, .data_size_out = sizeof(r.frame), .ctx_in = &ctx,
                    .ctx_size_in = sizeof(ctx), .ctx_out = &ctx, .ctx_size_out = sizeof(ctx), .repeat = 1);
        int rc = bpf_prog_test_run_opts(bpf_program__fd(program), &o);

        NEED(rc == 0, "test run: %s", strerror(-rc));
        r.verdict = (int)o.retval;
        r.size = o.data_size_out;
        r.mark = ctx.mark;
        result_read(&r);
        return r;
}

static struct result in(const struct segment *s)
{
        return run(shim->progs.instance_shim_in, s, 0);
}
static struct result out(const struct segment *s)
{
        return run(shim->progs.instance_shim_out, s, 0);
}

static uint64_t count(enum instance_shim_count what)
{
        __u32 key = what;
        uint64_t each[256] = {0}, sum = 0;
        int cpus = libbpf_num_possible_cpus();

        NEED(cpus <= 256, "%d CPUs", cpus);
        bpf_map__lookup_elem(shim->maps.shim_counts, &key, 4, each, (size_t)cpus * 8, 0);
        for (int i = 0; i < cpus; i++)
                sum += each[i];
        return sum;
}

static struct instance_flow flow_of(bool is_v6)
{
        return (struct instance_flow){
                .client = address_of(is_v6, 7), .port = htons(CLIENT_PORT), .vip = NUMBER};
}

static bool standby(bool is_v6, struct instance_standby *s)
{
        struct instance_flow f = flow_of(is_v6);
        return bpf_map__lookup_elem(shim->maps.shim_standbys, &f, sizeof(f), s, sizeof(*s), 0) == 0;
}

/* A connection that we stand by for: the client has bytes up to 5000 of A's, we have sent up to 4000. */
static void standby_set(bool is_v6, __u32 high, __u32 c_ack, __u32 flags)
{
        struct instance_flow f = flow_of(is_v6);
        struct instance_standby s = {.flags = flags,
                                     .wscale = 7,
                                     .c_ack = c_ack,
                                     .edge = c_ack,
                                     .high = high,
                                     .ack = 700,
                                     .c_next = 700};
        int rc = bpf_map__update_elem(shim->maps.shim_standbys, &f, sizeof(f), &s, sizeof(s), 0);
        NEED(rc == 0, "%s", strerror(-rc));
}

static void lo_up(void)
{
        struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        ioctl(fd, SIOCSIFFLAGS, &r);
        close(fd);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
        (void)level;
        (void)format;
        (void)args;
        return 0;
}

static void begin(void)
{
        struct instance_shim_settings settings = {
                .clock_ns = (__u64)(dog_clock_wall_ns() - dog_clock_mono_ns()), .dscp = INSTANCE_SHIM_DSCP};
        struct instance_shim_service service = {.keys = keys, .number = NUMBER};
        struct dog_err e = {0};
        __u32 zero = 0;

        if (shim)
                return;
        if (geteuid() != 0)
                SKIP("loading programs needs root");
        if (instance_shim_probe(&e) < 0)
                SKIP("%s", e.text);
        if (unshare(CLONE_NEWNET) < 0)
                SKIP("no network namespace: %s", strerror(errno));
        lo_up();
        libbpf_set_print(quiet);
        shim = instance_shim__open_and_load();
        NEED(shim, "the shim loads: %s", strerror(errno));
        bpf_map__update_elem(shim->maps.shim_settings, &zero, 4, &settings, sizeof(settings), 0);
        for (int v6 = 0; v6 < 2; v6++) {
                struct instance_shim_key key = {.address = address_of(v6, 9), .port = htons(PORT)};
                bpf_map__update_elem(shim->maps.shim_services, &key, sizeof(key), &service, sizeof(service),
                                     0);
        }
}

#define MARKED (INSTANCE_SHIM_DSCP << 2)

static void what_is_not_for_a_service_is_left_alone(void)
{
        begin();
        for (int v6 = 0; v6 < 2; v6++) {
                struct segment s = {
                        .is_v6 = v6, .flags = SYN, .seq = 1, .tos = 2, .window = 100, .option_words = 2};
                struct result r = in(&s);
                OK(r.verdict == PASSED && r.is.flags == SYN && r.sums_are_right, "a SYN is the kernel's");
                s = (struct segment){.is_v6 = v6, .flags = ACK, .seq = 1, .ack = 1, .bytes = 50};
                r = in(&s);
                OK(r.verdict == PASSED && r.is.ack == 1, "so is a packet without mark and cookie");
                s.from_server = true;
                r = out(&s);
                OK(r.verdict == PASSED && r.is.bytes == 50, "and what we answer");
        }
}

/* I9: the standby's host gates by itself. */
static void a_copy_acknowledges_no_more_than_we_sent(void)
{
        static const struct {
                __u32 high, c_ack, ack;
                __u16 window;
                __u32 want_ack;
                __u16 want_window;
                const char *say;
        } row[] = {
                {4000, 5000, 5000, 0, 4000, 1000 >> 7,
                 "behind: what we have sent, up to what the client has"},
                {5000, 5000, 5000, 0, 5000, 0, "caught up: as it came"},
                {4000, 4000, 6000, 0, 4000, 2000 >> 7, "the client has more now"},
                {4000, 4000, 6000, 10, 4000, (2000 + 1280) >> 7, "the front asks for more: its edge"},
                {0xfffffff0, 0xfffffff0, 0x300, 0, 0xfffffff0, 0x310 >> 7, "over the end of the numbers"},
        };

        begin();
        for (unsigned i = 0; i < ARRAY_SIZE(row) * 2; i++) {
                bool v6 = i & 1;
                unsigned k = i / 2;
                struct segment s = {.is_v6 = v6,
                                    .flags = ACK,
                                    .tos = MARKED | 2,
                                    .seq = 700,
                                    .ack = row[k].ack,
                                    .window = row[k].window,
                                    .bytes = k == 2 ? 33 : 0,
                                    .option_words = k == 0 ? 3 : 0};
                standby_set(v6, row[k].high, row[k].c_ack, 0);
                struct result r = in(&s);
                OK(r.verdict == PASSED, "%s: passed", row[k].say);
                OK(r.is.ack == row[k].want_ack && r.is.window == row[k].want_window, "%s: ack %u window %u",
                   row[k].say, r.is.ack, r.is.window);
                OK(r.is.tos == 2, "the mark is gone, ECN is as it was: %u", r.is.tos);
                OK(r.sums_are_right, "%s: checksums", row[k].say);
                OK(r.is.bytes == s.bytes, "its bytes are there");
                if (k == 0)
                        OK(get32(r.frame + (v6 ? 74 : 54)) == 0x01010101, "no SACK block about A's bytes");
        }
}

static void the_first_packet_without_mark_promotes(void)
{
        struct instance_standby now;
        uint64_t before;

        begin();
        before = count(INSTANCE_SHIM_PROMOTED_COUNT);
        standby_set(false, 4000, 5000, 0);
        struct segment s = {.flags = ACK, .seq = 700, .ack = 5000, .window = 100};
        struct result r = in(&s);
        OK(r.is.ack == 4000 && r.is.window == (1000 + 12800) >> 7,
           "the client's window; but we still lack 1000 of its bytes: ack %u window %u", r.is.ack,
           r.is.window);
        OK(standby(false, &now) && (now.flags & INSTANCE_SHIM_IS_PROMOTED), "so it is kept");
        OK(count(INSTANCE_SHIM_PROMOTED_COUNT) == before + 1, "counted once");
        standby_set(false, 5000, 5000, now.flags);
        r = in(&s);
        OK(r.is.ack == 5000 && r.is.window == 100, "caught up: as it came");
        OK(count(INSTANCE_SHIM_PROMOTED_COUNT) == before + 1, "counted once");
        s.tos = MARKED;
        in(&s);
        OK(standby(false, &now) && !(now.flags & INSTANCE_SHIM_IS_PROMOTED),
           "it was but a question: standby again");
        standby_set(false, 4500, 5000, 0);
        s = (struct segment){.flags = ACK, .seq = 700, .ack = 4000, .window = 100};
        r = in(&s);
        OK(r.is.ack == 4000 && r.is.window == 100 && standby(false, &now) && now.edge == 4000 + 12800,
           "the front may not know how far we are: the window counts all the same");
}

static void nobody_else_can_promote(void)
{
        static const struct segment forged[] = {
                {.flags = ACK, .seq = 700U - 70000, .ack = 5000},
                {.flags = ACK, .seq = 700 + (1 << 23), .ack = 5000},
                {.flags = ACK, .seq = 700, .ack = 5000 + (1 << 27)},
                {.flags = ACK, .seq = 700, .ack = 5000U - (1U << 23)},
        };
        struct instance_standby now;

        begin();
        for (unsigned i = 0; i < ARRAY_SIZE(forged); i++) {
                uint64_t before = count(INSTANCE_SHIM_FORGED_COUNT);
                standby_set(false, 4000, 5000, 0);
                struct result r = in(&forged[i]);
                OK(r.verdict == TC_ACT_SHOT, "row %u is dropped", i);
                OK(count(INSTANCE_SHIM_FORGED_COUNT) == before + 1, "and counted");
                OK(standby(false, &now) && !(now.flags & INSTANCE_SHIM_IS_PROMOTED), "and changes nothing");
        }
}

static void a_reset_ends_it(void)
{
        struct instance_standby now;

        begin();
        standby_set(false, 4000, 5000, 0);
        struct segment s = {.flags = RST, .seq = 700};
        OK(in(&s).verdict == PASSED && !standby(false, &now), "the front's");
        standby_set(false, 4000, 5000, 0);
        s = (struct segment){.from_server = true, .flags = RST | ACK, .seq = 4000, .ack = 700};
        OK(out(&s).verdict == PASSED && !standby(false, &now),
           "our own process's, which the front shall see");
}

static void a_copy_of_what_nobody_knows_is_dropped(void)
{
        begin();
        for (int v6 = 0; v6 < 2; v6++) {
                struct instance_flow f = flow_of(v6);
                struct segment s = {.is_v6 = v6, .flags = ACK, .tos = MARKED, .seq = 9, .ack = 9};
                uint64_t before = count(INSTANCE_SHIM_LOST_COUNT);
                bpf_map__delete_elem(shim->maps.shim_standbys, &f, sizeof(f), 0);
                OK(in(&s).verdict == TC_ACT_SHOT && count(INSTANCE_SHIM_LOST_COUNT) == before + 1,
                   "no reset goes to the front for it");
        }
}

static void only_a_right_cookie_reaches_the_listener(void)
{
        __u64 epoch = instance_cookie_epoch((__u64)dog_clock_wall_ns());
        struct instance_address client = address_of(false, 7), other = address_of(false, 8);
        struct instance_offer offer = {1460, 7, 1};
        __u32 right = instance_cookie_make(&keys.key[0], &client, htons(CLIENT_PORT), 99, epoch, &offer);
        const struct {
                __u32 isn;
                int want;
                const char *say;
        } row[] = {
                {right, 1, "right"},
                {right ^ 1U << 20, 0, "another tag"},
                {right ^ 1, 0, "another MSS"},
                {instance_cookie_make(&keys.key[0], &client, htons(CLIENT_PORT), 99, epoch - 3, &offer), 0,
                 "too old"},
                {instance_cookie_make(&keys.key[0], &other, htons(CLIENT_PORT), 99, epoch, &offer), 0,
                 "another client's"},
        };

        begin();
        struct instance_flow f = flow_of(false);
        bpf_map__delete_elem(shim->maps.shim_standbys, &f, sizeof(f), 0);
        for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
                struct segment s = {.flags = ACK, .seq = 100, .ack = row[i].isn + 1, .window = 500};
                uint64_t before = count(INSTANCE_SHIM_NO_LISTENER_COUNT);
                OK(in(&s).verdict == PASSED, "%s", row[i].say);
                /* Nobody listens in this namespace: that the shim looked says that it took the cookie. */
                OK(count(INSTANCE_SHIM_NO_LISTENER_COUNT) == before + (uint64_t)row[i].want, "%s",
                   row[i].say);
                s.flags = RST | ACK;
                before = count(INSTANCE_SHIM_NO_LISTENER_COUNT);
                in(&s);
                OK(count(INSTANCE_SHIM_NO_LISTENER_COUNT) == before, "never by a reset");
        }
}

/* I9: the standby's bytes stay on its host. */
static void bytes_that_the_client_has_are_answered_here(void)
{
        struct instance_standby now;

        begin();
        for (int v6 = 0; v6 < 2; v6++) {
                struct segment s = {.is_v6 = v6,
                                    .from_server = true,
                                    .flags = ACK,
                                    .seq = 4000,
                                    .ack = 700,
                                    .window = 300,
                                    .bytes = 600,
                                    .option_words = v6 ? 0 : 3};
                uint64_t reported = count(INSTANCE_SHIM_REPORTED_COUNT);
                standby_set(v6, 4000, 5000, 0);
                struct result r = out(&s);
                OK(r.verdict == PASSED && r.is.bytes == 0 && r.is.from_server && r.macs_fit,
                   "the first one goes out as a report, without bytes");
                OK(r.is.seq == 4600 && r.is.ack == 700 && r.is.window == 300 && r.is.flags == ACK,
                   "which says how far we are: seq %u", r.is.seq);
                OK(r.sums_are_right && r.is.option_words == 0 && r.mark == 0, "and is a whole packet");
                OK(count(INSTANCE_SHIM_REPORTED_COUNT) == reported + 1, "counted");
                OK(standby(v6, &now) && now.high == 4600 && now.told_high == 4600, "noted");
        }
}

/* As if the front had been told just now. @return whether no report was due: a slow machine may need a second
 * try
 */
static bool reflected(const struct segment *s, struct result *r)
{
        struct instance_flow f = flow_of(s->is_v6);
        struct instance_standby now;

        standby_set(s->is_v6, 4000, 5000, INSTANCE_SHIM_TOLD);
        NEED(standby(s->is_v6, &now), "set");
        now.told_high = 4000;
        now.told_ack = s->ack;
        now.told_window = s->window;
        now.told_ns = (__u64)dog_clock_mono_ns();
        bpf_map__update_elem(shim->maps.shim_standbys, &f, sizeof(f), &now, sizeof(now), 0);
        *r = out(s);
        return !r->is.from_server;
}

static void a_reflected_packet_is_an_acknowledgement_in_the_clients_name(void)
{
        begin();
        for (int v6 = 0; v6 < 2; v6++) {
                struct segment s = {.is_v6 = v6,
                                    .from_server = true,
                                    .flags = ACK,
                                    .seq = 4000,
                                    .ack = 700,
                                    .window = 300,
                                    .bytes = 600};
                struct result r;
                uint64_t bytes = 0;
                bool done = false;

                for (int i = 0; i < 100 && !done; i++) {
                        bytes = count(INSTANCE_SHIM_REFLECTED_BYTES_COUNT);
                        done = reflected(&s, &r);
                }
                NEED(done, "within a millisecond of a report there is no other");
                OK(r.verdict == TC_ACT_REDIRECT && r.mark == INSTANCE_MARK, "verdict %d", r.verdict);
                OK(r.is.seq == 700 && r.is.ack == 4600 && r.is.flags == ACK && r.is.bytes == 0,
                   "seq %u ack %u", r.is.seq, r.is.ack);
                OK(r.is.window == 400 >> 7, "up to what the client has: window %u", r.is.window);
                OK(r.sums_are_right && r.macs_fit, "whole, and addressed to us");
                OK(count(INSTANCE_SHIM_REFLECTED_BYTES_COUNT) == bytes + 600, "600 bytes stayed here");
                struct segment back = r.is;
                r = run(shim->progs.instance_shim_in, &back, INSTANCE_MARK);
                OK(r.verdict == PASSED && r.mark == 0 && r.is.ack == 4600, "it is let in as it is, unmarked");
        }
}

static void bytes_that_the_client_lacks_go_whole(void)
{
        begin();
        for (int v6 = 0; v6 < 2; v6++) {
                struct segment s = {.is_v6 = v6,
                                    .from_server = true,
                                    .flags = ACK | PSH,
                                    .seq = 4900,
                                    .ack = 700,
                                    .window = 300,
                                    .bytes = 200};
                standby_set(v6, 4900, 5000, 0);
                struct result r = out(&s);
                OK(r.verdict == PASSED && r.is.bytes == 200 && r.is.seq == 4900 && r.sums_are_right,
                   "the front decides on them");
        }
}

static void an_end_of_stream_is_reported(void)
{
        struct instance_standby now;

        begin();
        struct segment s = {
                .from_server = true, .flags = ACK | FIN | PSH, .seq = 4000, .ack = 700, .bytes = 1000};
        standby_set(false, 4000, 5000, INSTANCE_SHIM_TOLD);
        struct result r = out(&s);
        OK(r.verdict == PASSED && r.is.flags == (ACK | FIN) && r.is.seq == 5000 && r.is.bytes == 0,
           "with its bytes gone, and its number where it was: %u", r.is.seq);
        OK(standby(false, &now) && now.high == 5001, "it takes a number: %u", now.high);
        struct segment copy = {.flags = ACK, .tos = MARKED, .seq = 700, .ack = 5001, .window = 0};
        r = in(&copy);
        OK(r.is.ack == 5001, "so it is acknowledged when the client has A's");
}

static void cut_short_and_malformed_frames_are_left_alone(void)
{
        __u8 frame[256];
        struct segment s = {.flags = ACK, .tos = MARKED, .seq = 700, .ack = 5000, .bytes = 100};
        __u32 size = frame_make(&s, frame);

        begin();
        standby_set(false, 4000, 5000, 0);
        for (__u32 n = 14; n < size; n++) {
                __u8 made[256];
                LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = n, .data_out = made,
                            .data_size_out = sizeof(made), .repeat = 1);
                int rc = bpf_prog_test_run_opts(bpf_program__fd(shim->progs.instance_shim_in), &o);
                OK(rc == 0 || rc == -EINVAL, "%u bytes: %d", n, rc);
                if (rc == 0 && n < 54)
                        OK((int)o.retval == PASSED && !memcmp(frame, made, n), "%u bytes: as it came", n);
        }
        frame_make(&s, frame);
        frame[46] = 0x40; /* a TCP header of 16 bytes */
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = size, .repeat = 1);
        OK(bpf_prog_test_run_opts(bpf_program__fd(shim->progs.instance_shim_in), &o) == 0 &&
                   (int)o.retval == PASSED,
           "a header shorter than a header");
}

int main(void)
{
        return CHECK_RUN(TEST(what_is_not_for_a_service_is_left_alone),
                         TEST(a_copy_acknowledges_no_more_than_we_sent),
                         TEST(the_first_packet_without_mark_promotes), TEST(nobody_else_can_promote),
                         TEST(a_reset_ends_it), TEST(a_copy_of_what_nobody_knows_is_dropped),
                         TEST(only_a_right_cookie_reaches_the_listener),
                         TEST(bytes_that_the_client_has_are_answered_here),
                         TEST(a_reflected_packet_is_an_acknowledgement_in_the_clients_name),
                         TEST(bytes_that_the_client_lacks_go_whole), TEST(an_end_of_stream_is_reported),
                         TEST(cut_short_and_malformed_frames_are_left_alone));
}
