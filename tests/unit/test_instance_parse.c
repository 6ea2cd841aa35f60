/*
 * What XDP and tc take a frame for. Rows of made frames, then random ones under a guard page: the parser
 * reads nothing behind the end, and names nothing a TCP segment whose lengths contradict each other.
 */
#include "base/array.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "check.h"
#include "kinds/instance/instance_parse.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* IP begins two bytes behind a word, as in the kernel: the words of its header are aligned. */
struct frame {
        __u16 pad;
        __u8 bytes[254];
        __u32 size;
} __attribute__((aligned(4)));

struct tcp {
        __u32 seq, ack;
        __u8 words, flags; /* length of the header in words */
        __u16 window;
};

static void put_ethernet(struct dog_bytes *out, __u16 type)
{
        dog_write_copy(out, (__u8[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, 12);
        dog_write_u16(out, type);
}

static void put_ip4(struct dog_bytes *out, __u8 first, __u16 total, __u16 fragment, __u8 proto)
{
        put_ethernet(out, ETH_P_IP);
        dog_write_u8(out, first);
        dog_write_u8(out, 0x28);
        dog_write_u16(out, total);
        dog_write_u16(out, 7);
        dog_write_u16(out, fragment);
        dog_write_u8(out, 64);
        dog_write_u8(out, proto);
        dog_write_u16(out, 0);
        dog_write_u32(out, 0x0a000001);
        dog_write_u32(out, 0x0a000002);
}

static void put_ip6(struct dog_bytes *out, __u16 payload, __u8 next)
{
        put_ethernet(out, ETH_P_IPV6);
        dog_write_u32(out, 0x62800000);
        dog_write_u16(out, payload);
        dog_write_u8(out, next);
        dog_write_u8(out, 63);
        dog_write_copy(out, (__u8[]){0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16);
        dog_write_copy(out, (__u8[]){0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, 16);
}

static void put_tcp(struct dog_bytes *out, struct tcp t, unsigned options, unsigned payload)
{
        dog_write_u16(out, 40000);
        dog_write_u16(out, 80);
        dog_write_u32(out, t.seq);
        dog_write_u32(out, t.ack);
        dog_write_u8(out, (__u8)(t.words << 4));
        dog_write_u8(out, t.flags);
        dog_write_u16(out, t.window);
        dog_write_u32(out, 0);
        for (unsigned i = 0; i < options; i++)
                dog_write_u8(out, 1);
        for (unsigned i = 0; i < payload; i++)
                dog_write_u8(out, (__u8)i);
}

static void put_udp(struct dog_bytes *out, __u16 length, unsigned payload)
{
        dog_write_u16(out, 40000);
        dog_write_u16(out, 53);
        dog_write_u16(out, length);
        dog_write_u16(out, 0);
        for (unsigned i = 0; i < payload; i++)
                dog_write_u8(out, (__u8)i);
}

static struct instance_packet parsed(const struct dog_bytes *out, const struct frame *f, bool *is_ip)
{
        struct instance_packet p;
        *is_ip = instance_parse(f->bytes, f->bytes + out->at, (__u32)out->at, &p);
        return p;
}

#define FRAME(name, out)                                                                                     \
        struct frame name = {0};                                                                             \
        struct dog_bytes out = dog_bytes_of(name.bytes, sizeof(name.bytes))

static void a_tcp_segment_is_read_whole(void)
{
        const struct tcp t = {0x01020304, 0xfffefdfc, 8, INSTANCE_TCP_ACK | INSTANCE_TCP_PSH, 513};
        bool is_ip;
        FRAME(f4, o4);
        put_ip4(&o4, 0x45, 20 + 32 + 5, 0x4000, IPPROTO_TCP);
        put_tcp(&o4, t, 12, 5);
        FRAME(f6, o6);
        put_ip6(&o6, 32 + 5, IPPROTO_TCP);
        put_tcp(&o6, t, 12, 5);
        for (int v6 = 0; v6 < 2; v6++) {
                struct instance_packet p = parsed(v6 ? &o6 : &o4, v6 ? &f6 : &f4, &is_ip);
                OK(is_ip && !p.wrong && p.is_v6 == v6 && p.proto == IPPROTO_TCP, "TCP over IPv%d",
                   v6 ? 6 : 4);
                OK(p.sport == htons(40000) && p.dport == htons(80), "ports");
                OK(p.seq == t.seq && p.ack == t.ack && p.window == 513, "numbers");
                OK(p.tcp_flags == t.flags, "flags");
                OK(p.l4 == (v6 ? 54 : 34) && p.options == 12 && p.payload == p.l4 + 32, "offsets");
                OK(p.payload_bytes == 5, "payload");
                OK(p.ttl == (v6 ? 63 : 64) && p.tos == 0x28, "hops and class");
        }
        struct instance_packet p = parsed(&o4, &f4, &is_ip);
        OK(instance_address_is4(&p.src) && p.src.word[3] == htonl(0x0a000001), "mapped source");
        OK(p.dst.word[3] == htonl(0x0a000002), "mapped destination");
}

static void what_is_behind_the_ip_packet_is_no_payload(void)
{
        bool is_ip;
        FRAME(f, out);
        put_ip4(&out, 0x45, 40, 0, IPPROTO_TCP);
        put_tcp(&out, (struct tcp){1, 2, 5, INSTANCE_TCP_ACK, 1}, 0, 6);
        struct instance_packet p = parsed(&out, &f, &is_ip);
        OK(!p.wrong && p.payload_bytes == 0, "padding to 60 bytes is not the client's");

        FRAME(g, udp);
        put_ip4(&udp, 0x45, 20 + 8 + 9, 0, IPPROTO_UDP);
        put_udp(&udp, 8 + 4, 9);
        p = parsed(&udp, &g, &is_ip);
        OK(!p.wrong && p.payload_bytes == 4 && p.payload == 42, "UDP says its own length");
}

static void what_contradicts_itself_is_named(void) /* bad input */
{
        static const struct {
                __u8 first;
                __u16 total, fragment;
                __u8 proto, words;
                __u16 udp;
                int is_ip, wrong;
                const char *say;
        } row[] = {
                {0x45, 60, 0, IPPROTO_TCP, 5, 0, 1, -1, "sound"},
                {0x45, 60, 0x4000, IPPROTO_TCP, 10, 0, 1, -1, "sound, all of it options"},
                {0x46, 60, 0, IPPROTO_TCP, 5, 0, 1, INSTANCE_DROP_OPTIONS, "IP options"},
                {0x4f, 60, 0, IPPROTO_UDP, 5, 8, 1, INSTANCE_DROP_OPTIONS, "forty bytes of them"},
                {0x44, 60, 0, IPPROTO_TCP, 5, 0, 1, INSTANCE_DROP_SHORT, "a header of 16 bytes"},
                {0x40, 60, 0, IPPROTO_TCP, 5, 0, 1, INSTANCE_DROP_SHORT, "a header of none"},
                {0x65, 60, 0, IPPROTO_TCP, 5, 0, 0, -1, "not version 4: not ours to judge"},
                {0x45, 61, 0, IPPROTO_TCP, 5, 0, 1, INSTANCE_DROP_SHORT, "longer than the frame"},
                {0x45, 19, 0, IPPROTO_TCP, 5, 0, 1, INSTANCE_DROP_SHORT, "shorter than its header"},
                {0x45, 0, 0, IPPROTO_TCP, 5, 0, 1, INSTANCE_DROP_SHORT, "length 0"},
                {0x45, 39, 0, IPPROTO_TCP, 5, 0, 1, INSTANCE_DROP_SHORT, "no room for TCP"},
                {0x45, 60, 0x2000, IPPROTO_TCP, 5, 0, 1, INSTANCE_DROP_FRAGMENT, "the first fragment"},
                {0x45, 60, 0x0001, IPPROTO_UDP, 5, 8, 1, INSTANCE_DROP_FRAGMENT, "the last"},
                {0x45, 60, 0, IPPROTO_TCP, 4, 0, 1, INSTANCE_DROP_SHORT, "a TCP header of 16 bytes"},
                {0x45, 60, 0, IPPROTO_TCP, 11, 0, 1, INSTANCE_DROP_SHORT, "TCP options behind the end"},
                {0x45, 60, 0, IPPROTO_UDP, 0, 7, 1, INSTANCE_DROP_SHORT, "UDP length below its header"},
                {0x45, 60, 0, IPPROTO_UDP, 0, 41, 1, INSTANCE_DROP_SHORT, "UDP length behind the end"},
                {0x45, 60, 0, IPPROTO_UDP, 0, 8, 1, -1, "UDP without payload"},
                {0x45, 27, 0, IPPROTO_UDP, 0, 8, 1, INSTANCE_DROP_SHORT, "no room for UDP"},
                {0x45, 27, 0, IPPROTO_ICMP, 0, 0, 1, INSTANCE_DROP_SHORT, "no room for ICMP"},
                {0x45, 60, 0, IPPROTO_SCTP, 0, 0, 1, -1, "another protocol: sound, without ports"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                bool is_ip;
                FRAME(f, out);
                put_ip4(&out, row[i].first, row[i].total, row[i].fragment, row[i].proto);
                if (row[i].proto == IPPROTO_UDP)
                        put_udp(&out, row[i].udp, 32);
                else
                        put_tcp(&out, (struct tcp){1, 2, row[i].words, 0, 1}, 0, 20);
                struct instance_packet p = parsed(&out, &f, &is_ip);
                OK(is_ip == row[i].is_ip && p.wrong == row[i].wrong + 1, "%s (%d, %d)", row[i].say, is_ip,
                   p.wrong);
        }
}

static void extension_headers_are_named(void) /* bad input */
{
        static const struct {
                __u8 next;
                __u16 payload;
                int wrong;
                const char *say;
        } row[] = {
                {IPPROTO_TCP, 40, -1, "sound"},
                {IPPROTO_TCP, 41, INSTANCE_DROP_SHORT, "longer than the frame"},
                {IPPROTO_TCP, 19, INSTANCE_DROP_SHORT, "no room for TCP"},
                {IPPROTO_TCP, 0, INSTANCE_DROP_SHORT, "nothing"},
                {IPPROTO_HOPOPTS, 40, INSTANCE_DROP_OPTIONS, "hop by hop"},
                {IPPROTO_ROUTING, 40, INSTANCE_DROP_OPTIONS, "routing"},
                {IPPROTO_DSTOPTS, 40, INSTANCE_DROP_OPTIONS, "destination options"},
                {IPPROTO_AH, 40, INSTANCE_DROP_OPTIONS, "authentication"},
                {IPPROTO_FRAGMENT, 40, INSTANCE_DROP_FRAGMENT, "fragment"},
                {IPPROTO_ICMP, 4, -1, "IPv4's ICMP is a protocol like any other here"},
                {IPPROTO_ICMPV6, 4, INSTANCE_DROP_SHORT, "IPv6's is read"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                bool is_ip;
                FRAME(f, out);
                put_ip6(&out, row[i].payload, row[i].next);
                put_tcp(&out, (struct tcp){1, 2, 5, 0, 1}, 0, 20);
                struct instance_packet p = parsed(&out, &f, &is_ip);
                OK(is_ip && p.wrong == row[i].wrong + 1, "%s (%d)", row[i].say, p.wrong);
        }
}

static void an_icmp_error_names_the_flow_it_is_about(void)
{
        bool is_ip;
        struct instance_quote q;
        FRAME(f, out);
        put_ip4(&out, 0x45, 20 + 8 + 28, 0, IPPROTO_ICMP);
        dog_write_copy(&out, (__u8[]){INSTANCE_ICMP_UNREACHABLE, 4, 0, 0, 0, 0, 5, 0}, 8);
        __u8 *inner = f.bytes + out.at;
        dog_write_copy(&out, f.bytes + 14, 20);
        inner[9] = IPPROTO_TCP;
        put_udp(&out, 9, 0);
        struct instance_packet p = parsed(&out, &f, &is_ip);
        OK(!p.wrong && instance_is_icmp_error(&p), "an error");
        NEED(instance_parse_quote(f.bytes, f.bytes + out.at, &p, &q), "its quote");
        OK(q.sport == htons(40000) && q.dport == htons(53) && q.proto == IPPROTO_TCP, "ports");
        OK(q.src.word[3] == htonl(0x0a000001) && q.ip == 42 && q.l4 == 62, "addresses");
        OK(!instance_parse_quote(f.bytes, f.bytes + out.at - 1, &p, &q), "one byte short");
        inner[0] = 0x46;
        OK(!instance_parse_quote(f.bytes, f.bytes + out.at, &p, &q), "a quote with options");
        inner[0] = 0x45;
        inner[7] = 1;
        OK(!instance_parse_quote(f.bytes, f.bytes + out.at, &p, &q), "of a later fragment");
        f.bytes[34] = 8;
        p = parsed(&out, &f, &is_ip);
        OK(!instance_is_icmp_error(&p) && p.icmp_type == 8, "an echo is none");

        FRAME(g, o6);
        put_ip6(&o6, 8 + 48, IPPROTO_ICMPV6);
        dog_write_copy(&o6, (__u8[]){INSTANCE_ICMP6_TOO_BIG, 0, 0, 0, 0, 0, 5, 0}, 8);
        size_t at = o6.at;
        dog_write_copy(&o6, g.bytes + 14, 40);
        g.bytes[at + 6] = IPPROTO_UDP;
        put_udp(&o6, 9, 0);
        p = parsed(&o6, &g, &is_ip);
        NEED(instance_is_icmp_error(&p) && instance_parse_quote(g.bytes, g.bytes + o6.at, &p, &q), "ICMPv6");
        OK(q.dport == htons(53) && q.l4 == 102 && q.proto == IPPROTO_UDP, "its flow");
}

static void other_frames_are_nothing_to_a_front(void)
{
        static const __u16 type[] = {ETH_P_ARP, ETH_P_8021Q, ETH_P_8021AD, 0x88cc, 46};
        for (size_t i = 0; i < ARRAY_SIZE(type); i++) {
                struct instance_packet p;
                FRAME(f, out);
                put_ip4(&out, 0x45, 60, 0, IPPROTO_TCP);
                f.bytes[12] = (__u8)(type[i] >> 8);
                f.bytes[13] = (__u8)type[i];
                OK(!instance_parse(f.bytes, f.bytes + 74, 74, &p), "type %04x", type[i]);
        }
}

/* Every length of a frame against a page that must not be touched; random bytes behind plausible starts. */
static void random_frames_are_read_within_their_bounds(void)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        __u8 *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(two != MAP_FAILED && mprotect(two + page, page, PROT_NONE) == 0, "a guard page");
        struct dog_rng rng;
        dog_rng_init(&rng, 11);
        int sound = 0, wrong = 0;
        for (int n = 0; n < 400000; n++) {
                __u32 size = (__u32)(dog_rng_u64(&rng) % 40) * 4 + 2;
                __u8 *f = two + page - size;
                for (__u32 i = 0; i < size; i++)
                        f[i] = (__u8)dog_rng_u64(&rng);
                __u64 pick = dog_rng_u64(&rng);
                if (size >= 34 && pick % 8) {
                        int v6 = (int)(pick >> 8 & 1);
                        f[12] = v6 ? 0x86 : 8;
                        f[13] = v6 ? 0xdd : 0;
                        f[14] = v6 ? 0x60 : 0x45;
                        f[v6 ? 18 : 16] = 0;
                        static const __u8 protos[] = {6, 17, 1, 58};
                        f[v6 ? 20 : 23] = protos[pick >> 10 & 3];
                        if (!v6)
                                f[20] &= 0x40, f[21] = 0;
                }
                struct instance_packet p;
                struct instance_quote q;
                if (!instance_parse(f, f + size, size, &p))
                        continue;
                wrong += p.wrong != 0;
                if (p.wrong)
                        continue;
                sound++;
                if (p.proto == IPPROTO_TCP || p.proto == IPPROTO_UDP)
                        NEED((__u32)p.payload + p.payload_bytes <= size, "a payload inside the frame");
                if (instance_is_icmp_error(&p) && instance_parse_quote(f, f + size, &p, &q))
                        NEED(q.l4 + 8u <= size, "a quote inside the frame");
        }
        OK(sound > 1000 && wrong > 1000, "%d sound, %d wrong", sound, wrong);
        munmap(two, 2 * page);
}

int main(void)
{
        return CHECK_RUN(TEST(a_tcp_segment_is_read_whole), TEST(what_is_behind_the_ip_packet_is_no_payload),
                         TEST(what_contradicts_itself_is_named), TEST(extension_headers_are_named),
                         TEST(an_icmp_error_names_the_flow_it_is_about),
                         TEST(other_frames_are_nothing_to_a_front),
                         TEST(random_frames_are_read_within_their_bounds));
}
