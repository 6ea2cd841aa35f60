/*
 * The data plane of the path kind: the real programs on made packets, run by the kernel with
 * BPF_PROG_RUN. Proves O8 (the agent duplicates as directed), O9 (the encapsulation), O10 (paths
 * are chosen per class), O11 (the copies are compared), P10 (several paths at once) and P11
 * (measured while mirroring).
 */
#include "base/array.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "check.h"
#include "kinds/path/path_siphash.h"
#include "path_rig.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <sched.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME_MAX        2048
#define SEQ0             1700000000000000000ULL
#define VERDICT_DROP     1
#define VERDICT_PASS     2
#define VERDICT_REDIRECT 4

/* ---- made packets ------------------------------------------------------------------------ */

struct frame {
        __u32 size;
        __u8 bytes[FRAME_MAX];
};

struct flow {
        __u32 src, dst; /* host order */
        __u16 sport, dport;
        __u8 proto, dscp;
};
static const struct flow plain_flow = {0x0a000001, 0x0a010001, 5000, 1000, IPPROTO_UDP, 0};

static struct frame frame_of(const struct flow *f, __u32 payload)
{
        struct frame frame = {.size = 14 + 20 + 8 + payload};
        struct dog_bytes out = dog_bytes_of(frame.bytes, sizeof(frame.bytes));

        dog_write_copy(&out, (__u8[]){2, 9, 9, 9, 9, 1, 2, 9, 9, 9, 9, 2, 8, 0}, 14);
        dog_write_u8(&out, 0x45);
        dog_write_u8(&out, (__u8)(f->dscp << 2));
        dog_write_u16(&out, (__u16)(28 + payload));
        dog_write_u32(&out, 0x12344000);
        dog_write_u8(&out, 64);
        dog_write_u8(&out, f->proto);
        dog_write_u16(&out, 0);
        dog_write_u32(&out, f->src);
        dog_write_u32(&out, f->dst);
        dog_write_u16(&out, f->sport);
        dog_write_u16(&out, f->dport);
        dog_write_u32(&out, (8 + payload) << 16);
        for (__u32 i = 0; i < payload; i++)
                dog_write_u8(&out, (__u8)(i * 7));
        return frame;
}

/* ---- the two ends ------------------------------------------------------------------------ */

static struct path_rig rig;

/* Open the rig in a namespace of its own, where "lo" stands for every device; or skip. */
static void rig_up(struct path_rig_setup setup)
{
        struct dog_err e = {{0}};
        static int private_net;

        if (!private_net && unshare(CLONE_NEWNET) < 0)
                SKIP("needs CAP_SYS_ADMIN for a network namespace");
        private_net = 1;
        setup.runnable = true;
        int rc = path_rig_open(&rig, &setup, &e);
        if (rc == -EPERM) {
                path_rig_close(&rig);
                SKIP("needs CAP_BPF: %s", e.text);
        }
        NEED(rc == 0, "%s", e.text);
        rc = path_rig_paths(&rig, (const int[]){1, 1, 1, 1}, &e);
        NEED(rc == 0, "%s", e.text);
        rc = path_rig_out(&rig, 1, &e);
        NEED(rc == 0, "%s", e.text);
}

static int prog_replicate(void)
{
        return bpf_program__fd(rig.replicate->progs.path_replicate);
}

static int prog_eliminate(void)
{
        return bpf_program__fd(rig.eliminate->progs.path_eliminate);
}

/* Send one frame: copies[p] is what leaves on path p, size 0 where nothing does. */
static int send_frame(const struct frame *in, struct frame copies[PATH_PATHS_MAX])
{
        struct frame half = {.size = FRAME_MAX};
        int verdict = path_rig_run(prog_replicate(), in->bytes, in->size, half.bytes, &half.size);

        for (int p = 0; p < PATH_PATHS_MAX; p++)
                copies[p].size = 0;
        if (verdict != VERDICT_REDIRECT)
                return verdict;
        for (int p = 0; p < PATH_PATHS_MAX; p++) {
                if (!(half.bytes[43] >> p & 1))
                        continue;
                copies[p].size = FRAME_MAX;
                int rc = path_rig_run(bpf_program__fd(rig.egress[p]->progs.path_egress), half.bytes,
                                      half.size, copies[p].bytes, &copies[p].size);
                if (rc != VERDICT_PASS)
                        copies[p].size = 0;
        }
        return verdict;
}

static int receive_frame(const struct frame *copy, struct frame *out)
{
        struct frame scratch;
        out = out ? out : &scratch;
        out->size = FRAME_MAX;
        return path_rig_run(prog_eliminate(), copy->bytes, copy->size, out->bytes, &out->size);
}

static bool is_delivered(const struct frame *copy)
{
        return receive_frame(copy, NULL) == VERDICT_REDIRECT;
}

static __u64 frame_seq(const struct frame *f)
{
        struct dog_bytes in = dog_bytes_in(f->bytes + 50, 8);
        return dog_read_u64(&in);
}

/* Make the tag again, after a test has changed the header: what a holder of the key can do. */
static void frame_sign(struct frame *f)
{
        struct dog_sip s;
        __u64 word[3], tag;
        memcpy(word, f->bytes + 42, 24);
        path_tag_begin(&s, rig.settings->key[0].k0, rig.settings->key[0].k1, word[1], word[2]);
        tag = path_tag_end(&s, word[0]);
        memcpy(f->bytes + 66, &tag, 8);
}

static __u64 all_drops(void)
{
        __u64 sum = 0;
        for (int i = 0; i < PATH_DROP_COUNT; i++)
                sum += path_rig_drops(&rig, (enum path_drop)i);
        return sum;
}

/* ---- the tag ----------------------------------------------------------------------------- */

/* Aumasson and Bernstein, appendix A: key 00..0f, message 00..0e. */
static void the_tag_is_siphash_2_4_as_the_paper_prints_it(void)
{
        struct dog_sip s;
        dog_sip_init(&s, 0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL);
        dog_sip_block(&s, 0x0706050403020100ULL);
        dog_sip_block(&s, 0x0f0e0d0c0b0a0908ULL);
        OK(dog_sip_fini(&s) == 0xa129ca6149be45e5ULL, "the paper's vector");
}

/* The same 23 bytes through another implementation, 10,000 times. */
static void the_tag_agrees_with_libsodium(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 1);
        int wrong = 0;
        for (int n = 0; n < 10000; n++) {
                __u64 word[3] = {dog_rng_u64(&rng), dog_rng_u64(&rng), dog_rng_u64(&rng)};
                __u64 key[2] = {dog_rng_u64(&rng), dog_rng_u64(&rng)}, tag, theirs;
                __u8 message[PATH_TAG_BYTES], raw_key[16];
                struct dog_sip s;
                memcpy(message, &word[1], 16);
                memcpy(message + 16, (const __u8 *)word + 1, 7);
                memcpy(raw_key, key, 16);
                crypto_shorthash_siphash24((unsigned char *)&theirs, message, sizeof(message), raw_key);
                path_tag_begin(&s, path_tag_word(key[0]), path_tag_word(key[1]), word[1], word[2]);
                tag = path_tag_end(&s, word[0]);
                wrong += tag != theirs;
        }
        OK(wrong == 0, "%d of 10000 differ", wrong);
}

/* ---- the encapsulation (O9) -------------------------------------------------------------- */

static __u16 ip_sum(const __u8 *header)
{
        __u32 sum = 0;
        for (int i = 0; i < 20; i += 2)
                sum += (__u32)(header[i] << 8 | header[i + 1]);
        sum = (sum & 0xffff) + (sum >> 16);
        return (__u16)((sum & 0xffff) + (sum >> 16));
}

static void a_copy_is_the_packet_behind_sixty_bytes(void) /* O9 */
{
        rig_up((struct path_rig_setup){.subset = 15, .tunnel = 9, .sample_mask = 1});
        for (__u32 payload = 0; payload < 1300; payload += 13) {
                struct frame in = frame_of(&plain_flow, payload), copies[PATH_PATHS_MAX];
                NEED(send_frame(&in, copies) == VERDICT_REDIRECT, "%u bytes go out", payload);
                for (__u32 p = 0; p < PATH_PATHS_MAX; p++) {
                        const struct frame *c = &copies[p];
                        struct dog_bytes b = dog_bytes_in(c->bytes, c->size);
                        NEED(c->size == in.size + PATH_OVERHEAD, "60 bytes more");
                        OK(c->bytes[4] == 1 && c->bytes[5] == p, "next hop of path %u", p);
                        dog_read_skip(&b, 12);
                        OK(dog_read_u16(&b) == 0x0800, "IPv4");
                        OK(dog_read_u16(&b) == 0x4500, "no options, best effort");
                        OK(dog_read_u16(&b) == in.size - 14 + PATH_OVERHEAD, "outer length");
                        OK(dog_read_u32(&b) == 0x4000, "DF, identification 0");
                        OK(dog_read_u16(&b) == (64 << 8 | 17), "UDP, 64 hops");
                        OK(ip_sum(c->bytes + 14) == 0xffff, "outer checksum, %u bytes", payload);
                        dog_read_skip(&b, 2);
                        OK(dog_read_u32(&b) == 0xc0000201 + p * 4, "source");
                        OK(dog_read_u32(&b) == 0xc6336401 + p * 4, "destination");
                        OK(dog_read_u16(&b) == PATH_RIG_PORT + p, "source port");
                        OK(dog_read_u16(&b) == PATH_RIG_PORT, "destination port");
                        OK(dog_read_u16(&b) == c->size - 34, "UDP length");
                        OK(dog_read_u16(&b) == 0, "UDP checksum absent");
                        OK(dog_read_u8(&b) == PATH_WIRE_VERSION, "version");
                        OK(dog_read_u8(&b) == 15, "sent on all four");
                        OK(dog_read_u8(&b) == p, "path");
                        OK(dog_read_u8(&b) == 4, "epoch");
                        OK(dog_read_u32(&b) == PATH_ID(9, 0), "tunnel and class");
                        __u64 seq = dog_read_u64(&b);
                        OK(seq == SEQ0 + payload / 13, "sequence");
                        OK((dog_read_u64(&b) != 0) == !(seq & 1), "every second one carries its time");
                        struct frame again = *c;
                        frame_sign(&again);
                        OK(!memcmp(again.bytes, c->bytes, c->size), "the tag, made in two halves");
                        OK(!memcmp(c->bytes + 74, in.bytes + 14, in.size - 14), "the packet itself");
                }
        }
        path_rig_close(&rig);
}

static void what_goes_in_comes_out_once_and_unchanged(void) /* O8, O11 */
{
        rig_up((struct path_rig_setup){.subset = 7});
        for (__u32 n = 0; n < 500; n++) {
                struct frame in = frame_of(&plain_flow, n), copies[PATH_PATHS_MAX], out;
                NEED(send_frame(&in, copies) == VERDICT_REDIRECT, "packet %u goes out", n);
                int winner = (int)(n % 3);
                NEED(receive_frame(&copies[winner], &out) == VERDICT_REDIRECT, "the first copy of %u", n);
                OK(out.size == in.size && !memcmp(out.bytes + 14, in.bytes + 14, in.size - 14), "unchanged");
                OK(!memcmp(out.bytes, (__u8[]){2, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0}, 14),
                   "to the device");
                OK(!is_delivered(&copies[(winner + 1) % 3]), "the second copy of %u", n);
                OK(!is_delivered(&copies[(winner + 2) % 3]), "the third copy of %u", n);
        }
        for (__u32 p = 0; p < 3; p++) {
                struct path_rx_stats s = path_rig_rx(&rig, p);
                __u64 won = path_rig_won(&rig, p);
                OK(s.received == 500 && won + s.duplicate == 500 && !s.stale && !s.bad_tag, "path %u", p);
                OK(won == (p == 2 ? 166 : 167), "path %u won %llu times", p, won);
                OK(path_rig_sent(&rig, p) == 500, "sent on %u", p);
                OK(s.bytes == path_rig_class_tx(&rig, 0).bytes + 500 * PATH_OVERHEAD, "bytes on %u", p);
        }
        OK(path_rig_class_tx(&rig, 0).packets == 500 && path_rig_class_tx(&rig, 0).copies == 1500,
           "class, sent");
        OK(path_rig_class_rx(&rig, 0).packets == 500, "class, delivered");
        OK(path_rig_class_rx(&rig, 0).bytes == path_rig_class_tx(&rig, 0).bytes, "class, bytes");
        OK(all_drops() == 0, "nothing else happened");
        path_rig_close(&rig);
}

/* ---- the window -------------------------------------------------------------------------- */

#define MANY 3000
static struct frame (*sent)[PATH_PATHS_MAX];

static void send_many(void)
{
        struct frame in = frame_of(&plain_flow, 18);
        sent = calloc(MANY, sizeof(*sent));
        NEED(sent, "memory for %d packets", MANY);
        for (int n = 0; n < MANY; n++)
                NEED(send_frame(&in, sent[n]) == VERDICT_REDIRECT, "packet %d goes out", n);
}

static void a_replay_is_never_accepted_whatever_its_age(void)
{
        rig_up((struct path_rig_setup){.window = PATH_WINDOW_MIN});
        send_many();
        int first = 0, second = 0, replayed = 0;
        for (int n = 0; n < MANY; n++)
                first += is_delivered(&sent[n][0]);
        for (int n = 0; n < MANY; n++)
                second += is_delivered(&sent[n][0]) + is_delivered(&sent[n][1]);
        for (int n = MANY - 1; n >= 0; n--)
                replayed += is_delivered(&sent[n][n & 1]);
        OK(first == MANY, "%d of %d first copies", first, MANY);
        OK(second == 0 && replayed == 0, "%d and %d replays accepted", second, replayed);
        free(sent);
        path_rig_close(&rig);
}

static void shuffled_copies_come_out_once_each(void)
{
        rig_up((struct path_rig_setup){.window = 1024});
        send_many();
        struct dog_rng rng;
        dog_rng_init(&rng, 7);
        int order[2 * MANY], delivered[MANY] = {0};
        for (int n = 0; n < 2 * MANY; n++)
                order[n] = n;
        for (int block = 0; block < 2 * MANY; block += 1000)
                for (int i = 999; i > 0; i--) {
                        int j = (int)(dog_rng_u64(&rng) % (__u64)(i + 1)), t = order[block + i];
                        order[block + i] = order[block + j];
                        order[block + j] = t;
                }
        for (int n = 0; n < 2 * MANY; n++)
                delivered[order[n] / 2] += is_delivered(&sent[order[n] / 2][order[n] & 1]);
        int wrong = 0;
        for (int n = 0; n < MANY; n++)
                wrong += delivered[n] != 1;
        OK(wrong == 0, "%d packets not delivered exactly once", wrong);
        OK(path_rig_rx(&rig, 0).reordered > 0, "the disorder was seen");
        free(sent);
        path_rig_close(&rig);
}

static void a_window_reaches_as_far_back_as_it_says(void)
{
        static const __u32 row[] = {256, 4096, 65536, 1u << 20};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                rig_up((struct path_rig_setup){.window = row[i]});
                struct frame in = frame_of(&plain_flow, 18), old[PATH_PATHS_MAX], older[PATH_PATHS_MAX];
                struct frame now[PATH_PATHS_MAX];
                rig.seqs[0].next = SEQ0 & ~7ULL; /* a block begins */
                NEED(send_frame(&in, older) == VERDICT_REDIRECT, "send");
                rig.seqs[0].next = (SEQ0 & ~7ULL) + 8;
                NEED(send_frame(&in, old) == VERDICT_REDIRECT, "send");
                rig.seqs[0].next = (SEQ0 & ~7ULL) + row[i];
                NEED(send_frame(&in, now) == VERDICT_REDIRECT, "send");
                OK(is_delivered(&now[0]), "the newest");
                OK(is_delivered(&old[0]), "window %u: %u older", row[i], row[i] - 8);
                OK(!is_delivered(&older[0]), "window %u: %u older", row[i], row[i]);
                OK(path_rig_rx(&rig, 0).stale == 1, "counted as stale");
                OK(!is_delivered(&old[1]) && !is_delivered(&now[1]), "and none twice");
                path_rig_close(&rig);
        }
}

static void a_restarted_sender_is_heard_because_it_starts_at_the_clock(void)
{
        rig_up((struct path_rig_setup){.window = 256});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        for (int n = 0; n < 300; n++) {
                send_frame(&in, copies);
                OK(is_delivered(&copies[0]), "before");
        }
        rig.seqs[0].next = SEQ0 - 1000000; /* what must not be done */
        send_frame(&in, copies);
        OK(!is_delivered(&copies[0]), "lower than before: refused as a replay");
        rig.seqs[0].next = SEQ0 + 5000000000ULL; /* five seconds later, at the wall clock */
        send_frame(&in, copies);
        OK(is_delivered(&copies[0]), "heard at once");
        rig.seqs[0].next = 0;
        OK(send_frame(&in, copies) == VERDICT_DROP, "a class without a sequence sends nothing");
        OK(path_rig_drops(&rig, PATH_DROP_TX_NO_CLASS) == 1, "and says so");
        path_rig_close(&rig);
}

/* ---- authenticity ------------------------------------------------------------------------ */

static void a_packet_with_any_header_bit_changed_is_refused(void)
{
        rig_up((struct path_rig_setup){.subset = 15, .sample_mask = 1});
        struct frame in = frame_of(&plain_flow, 64), copies[PATH_PATHS_MAX];
        int accepted = 0;
        for (int n = 0; n < 2; n++) {
                __u64 before = all_drops();
                send_frame(&in, copies);
                for (int p = 0; p < PATH_PATHS_MAX; p++)
                        for (int bit = 0; bit < 256; bit++) {
                                struct frame bad = copies[p];
                                bad.bytes[42 + bit / 8] ^= (__u8)(1 << bit % 8);
                                int verdict = receive_frame(&bad, NULL);
                                accepted += verdict != VERDICT_DROP;
                        }
                OK(all_drops() - before == 4 * 256, "each counted once");
                OK(is_delivered(&copies[2]), "the true one is still welcome");
        }
        OK(accepted == 0, "%d of 2048 accepted", accepted);
        path_rig_close(&rig);
}

static void keys_rotate_without_a_gap(void)
{
        rig_up((struct path_rig_setup){0});
        struct frame in = frame_of(&plain_flow, 18), old[PATH_PATHS_MAX], new[PATH_PATHS_MAX];
        const struct path_key next = {.k0 = 11, .k1 = 12, .epoch = 5}, other = {.k0 = 1, .k1 = 2, .epoch = 5};
        const struct path_key after = {.k0 = 21, .k1 = 22, .epoch = 6};

        send_frame(&in, old);
        rig.settings->key[1] = next;
        rig.settings->epoch = 5;
        send_frame(&in, new);
        OK(!is_delivered(&new[0]) && path_rig_drops(&rig, PATH_DROP_RX_NO_KEY) == 1, "not known yet");
        rig.tunnels[0].key[1] = other;
        OK(!is_delivered(&new[0]) && path_rig_drops(&rig, PATH_DROP_RX_BAD_TAG) == 1, "another key");
        rig.tunnels[0].key[1] = next;
        OK(is_delivered(&new[0]), "the current key");
        OK(is_delivered(&old[0]), "the previous key, still");
        send_frame(&in, old);
        rig.tunnels[0].key[0] = after;
        rig.settings->epoch = 4;
        rig.settings->key[0].epoch = 4;
        send_frame(&in, old);
        OK(!is_delivered(&old[0]) && path_rig_drops(&rig, PATH_DROP_RX_NO_KEY) == 2, "two back is over");
        path_rig_close(&rig);
}

static void a_wrong_second_copy_is_found_out_too(void)
{
        rig_up((struct path_rig_setup){.check_every = 4, .sample_mask = 0xffff});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        for (int n = 0; n < 64; n++) {
                send_frame(&in, copies);
                OK(is_delivered(&copies[0]), "first");
                copies[1].bytes[70] ^= 1;
                OK(!is_delivered(&copies[1]), "never delivered");
        }
        OK(path_rig_rx(&rig, 1).bad_tag == 16, "one in four is looked at");
        path_rig_close(&rig);
}

static void the_far_address_is_learned_from_authentic_packets_only(void)
{
        rig_up((struct path_rig_setup){0});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        send_frame(&in, copies);
        struct frame forged = copies[0];
        forged.bytes[29] = 77;
        forged.bytes[70] ^= 1;
        OK(!is_delivered(&forged) && path_rig_rx(&rig, 0).peer == 0, "a forger teaches nothing");
        OK(is_delivered(&copies[0]), "the true one");
        OK(path_rig_rx(&rig, 0).peer == htonl(0xc0000201), "its source");
        OK(path_rig_rx(&rig, 0).peer_port == htons(PATH_RIG_PORT), "its port");
        forged = copies[0];
        forged.bytes[29] = 78;
        OK(!is_delivered(&forged) && path_rig_rx(&rig, 0).peer == htonl(0xc0000201),
           "a replay teaches nothing");
        path_rig_close(&rig);
}

static void a_control_packet_is_checked_and_goes_to_the_daemon(void)
{
        rig_up((struct path_rig_setup){0});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        send_frame(&in, copies);
        copies[0].bytes[43] |= PATH_WIRE_CONTROL;
        OK(receive_frame(&copies[0], NULL) == VERDICT_DROP, "with a wrong tag: dropped");
        frame_sign(&copies[0]);
        OK(receive_frame(&copies[0], NULL) == VERDICT_PASS, "with the right one: passed");
        OK(path_rig_rx(&rig, 0).control == 1 && path_rig_drops(&rig, PATH_DROP_RX_CONTROL) == 1, "counted");
        path_rig_close(&rig);
}

/* ---- classes ----------------------------------------------------------------------------- */

#define ANY_PORT .sport_high = 0xffff, .dport_high = 0xffff

/* The class a flow gets, told by the header that leaves. */
static int class_of(const struct flow *f)
{
        struct frame in = frame_of(f, 18), copies[PATH_PATHS_MAX];
        if (send_frame(&in, copies) != VERDICT_REDIRECT)
                return -1;
        return copies[0].bytes[48] << 8 | copies[0].bytes[49];
}

static void rules_pick_by_prefix_protocol_port_and_dscp_in_order(void) /* O10 */
{
        rig_up((struct path_rig_setup){.classes = 16});
        struct path_rule rules[] = {
                {.dst = htonl(0x0a020000), .dst_mask = htonl(0xffff0000), ANY_PORT, .klass = 1},
                {.src = htonl(0x0a000063), .src_mask = 0xffffffff, ANY_PORT, .klass = 2},
                {.sport_high = 0xffff,
                 .dport_low = 80,
                 .dport_high = 90,
                 .flags = PATH_RULE_PROTO,
                 .proto = IPPROTO_TCP,
                 .klass = 3},
                {.dport_high = 0xffff, .sport_low = 7000, .sport_high = 7000, .klass = 4},
                {ANY_PORT, .flags = PATH_RULE_DSCP, .dscp = 46, .klass = 5},
                {ANY_PORT, .flags = PATH_RULE_PROTO, .proto = IPPROTO_ICMP, .klass = 6},
                {.dst = htonl(0x0a020000), .dst_mask = htonl(0xffff0000), ANY_PORT, .klass = 7},
        };
        static const struct {
                struct flow f;
                int want;
                const char *say;
        } row[] = {
                {{0x0a000001, 0x0a02ffff, 1, 1, 17, 0}, 1, "in the prefix"},
                {{0x0a000001, 0x0a030000, 1, 1, 17, 0}, 0, "beside it: the default class"},
                {{0x0a000063, 0x0a030000, 1, 1, 17, 0}, 2, "by source"},
                {{0x0a000063, 0x0a020001, 1, 1, 17, 0}, 1, "two match: the first wins"},
                {{0x0a000001, 0x0a030000, 1, 80, 6, 0}, 3, "lowest port of the range"},
                {{0x0a000001, 0x0a030000, 1, 90, 6, 0}, 3, "highest port"},
                {{0x0a000001, 0x0a030000, 1, 91, 6, 0}, 0, "one above"},
                {{0x0a000001, 0x0a030000, 1, 79, 6, 0}, 0, "one below"},
                {{0x0a000001, 0x0a030000, 1, 80, 17, 0}, 0, "another protocol"},
                {{0x0a000001, 0x0a030000, 7000, 1, 17, 0}, 4, "by source port"},
                {{0x0a000001, 0x0a030000, 1, 1, 17, 46}, 5, "by DSCP"},
                {{0x0a000001, 0x0a030000, 0, 0, 1, 0}, 6, "ICMP has no ports"},
                {{0x0a000001, 0x0a030000, 1, 80, 132, 46}, 5, "SCTP"},
        };
        struct dog_err e;
        NEED(path_rig_rules(&rig, rules, ARRAY_SIZE(rules), &e) == 0, "%s", e.text);
        for (int pass = 0; pass < 2; pass++)
                for (size_t i = 0; i < ARRAY_SIZE(row); i++)
                        OK(class_of(&row[i].f) == row[i].want, "%s (%s)", row[i].say,
                           pass ? "remembered" : "decided");
        path_rig_close(&rig);
}

static void a_rule_change_holds_for_the_next_packet(void)
{
        rig_up((struct path_rig_setup){.classes = 4});
        struct path_rule rule = {ANY_PORT, .klass = 1};
        struct dog_err e;
        OK(class_of(&plain_flow) == 0, "no rule");
        for (__u32 n = 1; n < 12; n++) {
                rule.klass = n % 3;
                NEED(path_rig_rules(&rig, &rule, 1, &e) == 0, "%s", e.text);
                OK(class_of(&plain_flow) == (int)(n % 3), "change %u", n);
                OK(class_of(&plain_flow) == (int)(n % 3), "change %u, again", n);
        }
        rule.klass = 9;
        NEED(path_rig_rules(&rig, &rule, 1, &e) == 0, "%s", e.text);
        OK(class_of(&plain_flow) == -1, "a class that does not exist");
        OK(path_rig_drops(&rig, PATH_DROP_TX_NO_CLASS) == 1, "is counted");
        path_rig_close(&rig);
}

static void a_recognised_application_keeps_its_class(void)
{
        rig_up((struct path_rig_setup){.classes = 4});
        const struct path_rule rule = {ANY_PORT, .klass = 1};
        const struct path_flow_key key = {.src = htonl(plain_flow.src),
                                          .dst = htonl(plain_flow.dst),
                                          .sport = htons(plain_flow.sport),
                                          .dport = htons(plain_flow.dport),
                                          .proto = plain_flow.proto,
                                          .has_ports = htons(1)};
        const struct path_flow pinned = {.klass = 3, .flags = PATH_FLOW_PINNED};
        struct dog_err e;
        NEED(path_rig_rules(&rig, &rule, 1, &e) == 0, "%s", e.text);
        OK(class_of(&plain_flow) == 1, "by rule");
        NEED(bpf_map__update_elem(rig.replicate->maps.path_flows, &key, sizeof(key), &pinned, sizeof(pinned),
                                  BPF_ANY) == 0,
             "pin");
        rig.settings->generation++;
        OK(class_of(&plain_flow) == 3, "by verdict");
        NEED(path_rig_rules(&rig, &rule, 1, &e) == 0, "%s", e.text);
        OK(class_of(&plain_flow) == 3, "a rule change does not undo it");
        bpf_map__delete_elem(rig.replicate->maps.path_flows, &key, sizeof(key), 0);
        rig.settings->generation++;
        OK(class_of(&plain_flow) == 1, "taken back");
        path_rig_close(&rig);
}

static void of_four_thousand_rules_the_last_is_found(void)
{
        enum { N = 4000 };
        rig_up((struct path_rig_setup){.classes = N, .rules_max = N, .window = 256});
        static struct path_rule rules[N];
        struct dog_err e;
        for (__u32 i = 0; i < N; i++)
                rules[i] = (struct path_rule){
                        .dst = htonl(0x0b000000 + i), .dst_mask = 0xffffffff, ANY_PORT, .klass = i};
        NEED(path_rig_rules(&rig, rules, N, &e) == 0, "%s", e.text);
        for (__u32 i = 0; i < N; i += 7) {
                struct flow f = plain_flow;
                f.dst = 0x0b000000 + i;
                OK(class_of(&f) == (int)i, "rule %u", i);
        }
        struct flow last = plain_flow;
        last.dst = 0x0b000000 + N - 1;
        OK(class_of(&last) == N - 1, "the last rule");
        path_rig_close(&rig);
}

/* ---- paths of a class (P10) -------------------------------------------------------------- */

static void a_packet_leaves_on_the_paths_of_its_subset(void) /* P10, O8 */
{
        rig_up((struct path_rig_setup){.classes = 2});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        __u64 copies_sent = 0;
        for (__u32 subset = 1; subset < PATH_SUBSETS; subset++) {
                rig.classes[0].subset = subset;
                NEED(send_frame(&in, copies) == VERDICT_REDIRECT, "subset %u", subset);
                copies_sent += (__u64)__builtin_popcount(subset);
                OK(path_rig_class_tx(&rig, 0).copies == copies_sent, "copies of subset %u", subset);
                for (__u32 p = 0; p < PATH_PATHS_MAX; p++)
                        OK((copies[p].size > 0) == (subset >> p & 1), "subset %u, path %u", subset, p);
                int got = 0;
                for (__u32 p = 0; p < PATH_PATHS_MAX; p++)
                        got += copies[p].size && is_delivered(&copies[p]);
                OK(got == 1, "subset %u: delivered %d times", subset, got);
                OK(path_rig_by_subset(&rig, subset) == 1, "counted under its subset");
        }
        rig.classes[0].subset = 0;
        OK(send_frame(&in, copies) == VERDICT_DROP, "no path");
        OK(path_rig_drops(&rig, PATH_DROP_TX_NO_PATH) == 1, "counted");
        path_rig_close(&rig);
}

static void a_reflex_leaves_a_silent_path_by_itself(void)
{
        static const struct {
                __u32 subset, limit_ms, fallback;
                __u32 silent[4];
                int want;
                const char *say;
        } row[] = {
                {1, 0, 0, {900, 0, 0, 0}, 1, "no reflex wanted"},
                {1, 50, 0x02, {50, 0, 0, 0}, 1, "not yet longer than the limit"},
                {1, 50, 0x02, {51, 0, 0, 0}, 2, "the fallback"},
                {3, 50, 0x04, {51, 0, 0, 0}, 2, "what is left of the subset comes first"},
                {1, 50, 0x0402, {51, 51, 0, 0}, 4, "the second fallback"},
                {1, 50, 0x0e, {51, 51, 0, 0}, 12, "a fallback loses its dead paths too"},
                {1, 50, 0x0402, {51, 51, 51, 51}, 1, "all dead: stay"},
        };
        rig_up((struct path_rig_setup){0});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                rig.classes[0].subset = row[i].subset;
                rig.classes[0].silence_ms = row[i].limit_ms;
                for (int k = 0; k < 4; k++)
                        rig.classes[0].fallback[k] = (__u8)(row[i].fallback >> 8 * k);
                rig.settings->silent_max_ms = 0;
                for (int p = 0; p < 4; p++) {
                        rig.settings->silent_ms[p] = row[i].silent[p];
                        if (row[i].silent[p] > rig.settings->silent_max_ms)
                                rig.settings->silent_max_ms = row[i].silent[p];
                }
                send_frame(&in, copies);
                int left = 0;
                for (int p = 0; p < 4; p++)
                        left |= (copies[p].size > 0) << p;
                OK(left == row[i].want, "%s: left on %d", row[i].say, left);
        }
        OK(path_rig_class_tx(&rig, 0).reflex == 4, "reflexes counted");
        path_rig_close(&rig);
}

/*
 * The whole reflex, no hand of user space in it: path 0 falls silent, path 1 goes on; the class
 * leaves path 0 by itself, and comes back when it is heard again.
 */
static void the_kernel_notices_silence_and_leaves(void)
{
        rig_up((struct path_rig_setup){.tunnel = 3});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX], heard[PATH_PATHS_MAX];
        rig.classes[0].subset = 1;
        rig.classes[0].silence_ms = 30;
        rig.classes[0].fallback[0] = 2;
        static const struct {
                __u32 speaks;
                int want;
                const char *say;
        } row[] = {{3, 1, "both are heard: where it was told"},
                   {2, 2, "path 0 is silent: the fallback"},
                   {3, 1, "path 0 is back"}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                int left = 0, held = 0;
                /* The wanted path for 20 packets in a row, within two seconds. */
                for (int n = 0; n < 2000 && held < 20; n++) {
                        rig.classes[0].subset = 3; /* what the far end would send: on both */
                        rig.classes[0].silence_ms = 0;
                        send_frame(&in, heard);
                        for (int p = 0; p < 2; p++)
                                if (row[i].speaks >> p & 1)
                                        receive_frame(&heard[p], NULL);
                        rig.classes[0].subset = 1;
                        rig.classes[0].silence_ms = 30;
                        send_frame(&in, copies);
                        left = (copies[0].size > 0) | (copies[1].size > 0) << 1;
                        held = left == row[i].want ? held + 1 : 0;
                        usleep(1000);
                }
                OK(held == 20, "%s: left on %d", row[i].say, left);
        }
        path_rig_close(&rig);
}

/* ---- measuring while mirroring (P11, O11) ------------------------------------------------ */

/*
 * Half of the packets go on paths 0 and 1, half on 0 alone; path 1 loses every tenth of its
 * copies, path 0 nothing. A count that forgot the subsets would see path 1 lose more than half.
 */
static void loss_of_a_path_is_known_though_not_all_went_on_it(void) /* O11, P11 */
{
        rig_up((struct path_rig_setup){0});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        for (int n = 0; n < 1000; n++) {
                rig.classes[0].subset = n & 1 ? 1 : 3;
                send_frame(&in, copies);
                receive_frame(&copies[0], NULL);
                if (copies[1].size && n % 20)
                        receive_frame(&copies[1], NULL);
        }
        __u64 sent_on[2] = {path_rig_by_subset(&rig, 1) + path_rig_by_subset(&rig, 3),
                            path_rig_by_subset(&rig, 3)};
        for (__u32 p = 0; p < 2; p++) {
                struct path_rx_stats s = path_rig_rx(&rig, p);
                __u64 lost = sent_on[p] - path_rig_won(&rig, p) - s.duplicate;
                OK(lost == (p ? 50 : 0), "path %u lost %llu of %llu", p, lost, sent_on[p]);
                OK(path_rig_sent(&rig, p) == sent_on[p], "and the sender says the same");
        }
        path_rig_close(&rig);
}

static void sampled_packets_measure_the_delay_of_each_path(void) /* P11 */
{
        rig_up((struct path_rig_setup){.sample_mask = 15});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        for (int n = 0; n < 320; n++) {
                send_frame(&in, copies);
                /* Path 1 is 5 ms slower: sent that much earlier, by one who has the key. */
                struct dog_bytes b = dog_bytes_of(copies[1].bytes + 58, 8);
                __u64 sent_ns = dog_read_u64(&b);
                if (sent_ns) {
                        b.at = 0;
                        dog_write_u64(&b, sent_ns - 5000000);
                        frame_sign(&copies[1]);
                }
                receive_frame(&copies[0], NULL);
                receive_frame(&copies[1], NULL);
        }
        struct path_rx_stats a = path_rig_rx(&rig, 0), b = path_rig_rx(&rig, 1);
        OK(a.delay[0].count == 20 && b.delay[0].count == 20, "1 in 16 on both paths");
        double mean_us = (double)(b.delay[0].sum_ns - a.delay[0].sum_ns) / 20e3;
        OK(mean_us > 4500 && mean_us < 9000, "5 ms apart, measured %.0f us", mean_us);
        OK(b.delay[0].min_ns - a.delay[0].min_ns > 4500000, "the least as well");
        OK(a.delay[0].max_ns >= a.delay[0].min_ns, "in order");

        rig.tunnels[0].interval++;
        for (int n = 0; n < 16; n++) {
                send_frame(&in, copies);
                receive_frame(&copies[0], NULL);
        }
        a = path_rig_rx(&rig, 0);
        OK(a.delay[0].count == 20, "the closed interval stands");
        OK(a.delay[1].count == 1 && a.delay[1].interval == 1, "the new one counts");
        path_rig_close(&rig);
}

static void disorder_is_counted_by_path_and_class(void) /* O11 */
{
        rig_up((struct path_rig_setup){0});
        struct frame in = frame_of(&plain_flow, 18), a[PATH_PATHS_MAX], b[PATH_PATHS_MAX], c[PATH_PATHS_MAX];
        send_frame(&in, a);
        send_frame(&in, b);
        send_frame(&in, c);
        OK(is_delivered(&c[0]) && is_delivered(&a[0]) && is_delivered(&b[0]), "c a b on path 0");
        OK(!is_delivered(&a[1]) && !is_delivered(&b[1]) && !is_delivered(&c[1]), "a b c on path 1");
        OK(path_rig_rx(&rig, 0).reordered == 2, "two came after a newer one");
        OK(path_rig_rx(&rig, 1).reordered == 0, "none here");
        path_rig_close(&rig);
}

static void classes_have_their_own_sequence_and_window(void)
{
        rig_up((struct path_rig_setup){.classes = 2});
        const struct path_rule rule = {
                .sport_high = 0xffff, .dport_low = 2000, .dport_high = 2000, .klass = 1};
        struct flow other = plain_flow;
        struct dog_err e;
        other.dport = 2000;
        NEED(path_rig_rules(&rig, &rule, 1, &e) == 0, "%s", e.text);
        struct frame x = frame_of(&plain_flow, 18), y = frame_of(&other, 18);
        struct frame a[PATH_PATHS_MAX], b[PATH_PATHS_MAX];
        rig.seqs[1].next = SEQ0; /* the same numbers in both */
        for (int n = 0; n < 100; n++) {
                send_frame(&x, a);
                send_frame(&y, b);
                OK(frame_seq(&a[0]) == SEQ0 + (__u64)n && frame_seq(&b[0]) == SEQ0 + (__u64)n, "sequence %d",
                   n);
                OK(is_delivered(&a[0]) && is_delivered(&b[1]), "both delivered");
                OK(!is_delivered(&a[1]) && !is_delivered(&b[0]), "both once");
        }
        path_rig_close(&rig);
}

/* ---- what is not ours, not whole, not allowed -------------------------------------------- */

enum edit { KEEP, BYTE, CUT, GROW };
struct bad {
        enum edit edit;
        __u32 at, value;
        int verdict;
        enum path_drop why;
        const char *say;
};

static struct frame frame_edit(struct frame f, const struct bad *b)
{
        if (b->edit == BYTE)
                f.bytes[b->at] = (__u8)b->value;
        if (b->edit == CUT || b->edit == GROW)
                f.size = b->value;
        return f;
}

static void what_cannot_be_carried_is_counted_by_reason(void)
{
        static const struct bad row[] = {
                {BYTE, 12, 0x86, VERDICT_DROP, PATH_DROP_TX_NOT_IP, "not IPv4"},
                {BYTE, 12, 0x81, VERDICT_DROP, PATH_DROP_TX_NOT_IP, "VLAN"},
                {BYTE, 14, 0x65, VERDICT_DROP, PATH_DROP_TX_NOT_IP, "version 6"},
                {BYTE, 14, 0x44, VERDICT_DROP, PATH_DROP_TX_SHORT, "header of 16 bytes"},
                {BYTE, 14, 0x4f, VERDICT_DROP, PATH_DROP_TX_SHORT, "60 bytes of header, 46 there"},
                {BYTE, 16, 0x10, VERDICT_DROP, PATH_DROP_TX_SHORT, "longer than the frame"},
                {BYTE, 17, 19, VERDICT_DROP, PATH_DROP_TX_SHORT, "shorter than its header"},
                {CUT, 0, 33, VERDICT_DROP, PATH_DROP_TX_SHORT, "cut in the IP header"},
                {CUT, 0, 36, VERDICT_DROP, PATH_DROP_TX_SHORT, "cut in the UDP header"},
                {CUT, 0, 14, VERDICT_DROP, PATH_DROP_TX_SHORT, "nothing but Ethernet"},
                {GROW, 0, 1500, VERDICT_DROP, PATH_DROP_TX_BIG, "larger than the tunnel"},
                {BYTE, 20, 0x60, VERDICT_REDIRECT, PATH_DROP_TX_FRAGMENT, "a first fragment is carried"},
                {BYTE, 21, 0x08, VERDICT_REDIRECT, PATH_DROP_TX_FRAGMENT, "a later fragment is carried"},
                {BYTE, 14, 0x46, VERDICT_REDIRECT, PATH_DROP_TX_OPTIONS, "IP options are carried"},
        };
        rig_up((struct path_rig_setup){0});
        struct frame whole = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct frame f = frame_edit(whole, &row[i]);
                path_rig_zero(&rig);
                OK(send_frame(&f, copies) == row[i].verdict, "%s", row[i].say);
                OK(path_rig_drops(&rig, row[i].why) == 1 && all_drops() == 1, "%s: one count", row[i].say);
        }
        path_rig_close(&rig);
}

static void a_path_with_a_smaller_mtu_refuses_alone(void)
{
        rig_up((struct path_rig_setup){.mtu = 600});
        struct frame in = frame_of(&plain_flow, 512), copies[PATH_PATHS_MAX];
        rig.settings->mtu = 1440; /* someone set the tunnel too large */
        OK(send_frame(&in, copies) == VERDICT_REDIRECT, "600 fit");
        OK(copies[0].size == 614, "and leave");
        in = frame_of(&plain_flow, 513);
        send_frame(&in, copies);
        OK(copies[0].size == 0 && path_rig_drops(&rig, PATH_DROP_EGRESS_BIG) == 2, "601 do not");
        OK(path_rig_sent(&rig, 0) == 1 && path_rig_sent(&rig, 1) == 1, "and do not count as sent");
        struct frame tiny = {.size = 60};
        OK(path_rig_run(bpf_program__fd(rig.egress[0]->progs.path_egress), tiny.bytes, tiny.size, NULL,
                        NULL) == VERDICT_DROP,
           "what replicate did not make");
        OK(path_rig_drops(&rig, PATH_DROP_EGRESS_SHORT) == 1, "counted");
        path_rig_close(&rig);
}

static void what_comes_from_a_path_is_sorted_by_reason(void)
{
        static const struct bad row[] = {
                {KEEP, 0, 0, VERDICT_REDIRECT, PATH_DROP_COUNT, "a good one"},
                {BYTE, 12, 0x86, VERDICT_PASS, PATH_DROP_RX_OTHER, "not IPv4"},
                {BYTE, 12, 0x81, VERDICT_PASS, PATH_DROP_RX_OTHER, "VLAN"},
                {BYTE, 14, 0x46, VERDICT_PASS, PATH_DROP_RX_OTHER, "outer IP options"},
                {BYTE, 20, 0x20, VERDICT_PASS, PATH_DROP_RX_OTHER, "outer fragment"},
                {BYTE, 23, 6, VERDICT_PASS, PATH_DROP_RX_OTHER, "TCP"},
                {BYTE, 37, 1, VERDICT_PASS, PATH_DROP_RX_OTHER, "another port"},
                {CUT, 0, 41, VERDICT_PASS, PATH_DROP_RX_OTHER, "too short for UDP"},
                {CUT, 0, 14, VERDICT_PASS, PATH_DROP_RX_OTHER, "nothing but Ethernet"},
                {CUT, 0, 42, VERDICT_DROP, PATH_DROP_RX_SHORT, "our port, nothing more"},
                {CUT, 0, 93, VERDICT_DROP, PATH_DROP_RX_SHORT, "no inner header"},
                {CUT, 0, 119, VERDICT_DROP, PATH_DROP_RX_SHORT, "one byte missing"},
                {BYTE, 39, 0, VERDICT_DROP, PATH_DROP_RX_SHORT, "UDP length does not agree"},
                {BYTE, 42, 2, VERDICT_DROP, PATH_DROP_RX_VERSION, "version 2"},
                {BYTE, 43, 0x43, VERDICT_DROP, PATH_DROP_RX_VERSION, "a flag of the future"},
                {BYTE, 44, 2, VERDICT_DROP, PATH_DROP_RX_BAD_PATH, "a path that is not in the subset"},
                {BYTE, 44, 4, VERDICT_DROP, PATH_DROP_RX_BAD_PATH, "a path that cannot be"},
                {BYTE, 44, 200, VERDICT_DROP, PATH_DROP_RX_BAD_PATH, "far out"},
                {BYTE, 45, 6, VERDICT_DROP, PATH_DROP_RX_NO_KEY, "an epoch without a key"},
                {BYTE, 45, 5, VERDICT_DROP, PATH_DROP_RX_NO_KEY, "an odd one"},
                {BYTE, 47, 6, VERDICT_DROP, PATH_DROP_RX_NO_TUNNEL, "a tunnel we do not have"},
                {BYTE, 46, 200, VERDICT_DROP, PATH_DROP_RX_NO_TUNNEL, "a tunnel beyond the table"},
                {BYTE, 49, 1, VERDICT_DROP, PATH_DROP_RX_NO_CLASS, "a class we do not have"},
                {BYTE, 50, 0xff, VERDICT_DROP, PATH_DROP_RX_BAD_TAG, "a sequence of the future"},
                {BYTE, 66, 0, VERDICT_DROP, PATH_DROP_RX_BAD_TAG, "a wrong tag"},
                {GROW, 0, 126, VERDICT_REDIRECT, PATH_DROP_COUNT, "padding by a switch does no harm"},
                {BYTE, 76, 0xff, VERDICT_REDIRECT, PATH_DROP_COUNT,
                 "the payload is not covered: as documented"},
                {BYTE, 74, 0x65, VERDICT_DROP, PATH_DROP_RX_NOT_IP, "authentic, but not IPv4"},
        };
        rig_up((struct path_rig_setup){.tunnel = 5});
        struct frame in = frame_of(&plain_flow, 18), copies[PATH_PATHS_MAX];
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                send_frame(&in, copies);
                copies[0].bytes[66] |= 1; /* never what the row writes there */
                frame_sign(&copies[0]);
                while (copies[0].bytes[66] == 0) {
                        send_frame(&in, copies);
                        frame_sign(&copies[0]);
                }
                struct frame f = frame_edit(copies[0], &row[i]);
                path_rig_zero(&rig);
                OK(receive_frame(&f, NULL) == row[i].verdict, "%s", row[i].say);
                if (row[i].why == PATH_DROP_COUNT)
                        OK(all_drops() == 0 && path_rig_won(&rig, 0) == 1, "%s: first", row[i].say);
                else
                        OK(path_rig_drops(&rig, row[i].why) == 1 && all_drops() == 1, "%s: one count",
                           row[i].say);
        }
        path_rig_close(&rig);
}

/* Noise, and noise that begins like a packet of ours: nothing of it may come out of the device. */
static void noise_is_never_delivered(void)
{
        rig_up((struct path_rig_setup){0});
        struct frame in = frame_of(&plain_flow, 64), copies[PATH_PATHS_MAX];
        struct dog_rng rng;
        int delivered = 0, strange = 0;
        dog_rng_init(&rng, 42);
        send_frame(&in, copies);
        for (int n = 0; n < 30000; n++) {
                struct frame f = copies[n & 1];
                __u32 from = (__u32[]){0, 14, 42, 43}[n % 4];
                for (__u32 i = from; i < f.size; i++)
                        f.bytes[i] = (__u8)dog_rng_u64(&rng);
                if (n % 3 == 0)
                        f.size = 14 + (__u32)(dog_rng_u64(&rng) % (f.size - 13));
                int verdict = receive_frame(&f, NULL);
                delivered += verdict == VERDICT_REDIRECT;
                strange += verdict != VERDICT_PASS && verdict != VERDICT_DROP && verdict != VERDICT_REDIRECT;
                verdict = path_rig_run(prog_replicate(), f.bytes, f.size, NULL, NULL);
                strange += verdict != VERDICT_DROP && verdict != VERDICT_REDIRECT;
        }
        OK(delivered == 0 && strange == 0, "%d delivered, %d strange verdicts", delivered, strange);
        path_rig_close(&rig);
}

int main(void)
{
        if (sodium_init() < 0)
                return 1;
        return CHECK_RUN(
                TEST(the_tag_is_siphash_2_4_as_the_paper_prints_it), TEST(the_tag_agrees_with_libsodium),
                TEST(a_copy_is_the_packet_behind_sixty_bytes),
                TEST(what_goes_in_comes_out_once_and_unchanged),
                TEST(a_replay_is_never_accepted_whatever_its_age), TEST(shuffled_copies_come_out_once_each),
                TEST(a_window_reaches_as_far_back_as_it_says),
                TEST(a_restarted_sender_is_heard_because_it_starts_at_the_clock),
                TEST(a_packet_with_any_header_bit_changed_is_refused), TEST(keys_rotate_without_a_gap),
                TEST(a_wrong_second_copy_is_found_out_too),
                TEST(the_far_address_is_learned_from_authentic_packets_only),
                TEST(a_control_packet_is_checked_and_goes_to_the_daemon),
                TEST(rules_pick_by_prefix_protocol_port_and_dscp_in_order),
                TEST(a_rule_change_holds_for_the_next_packet), TEST(a_recognised_application_keeps_its_class),
                TEST(of_four_thousand_rules_the_last_is_found),
                TEST(a_packet_leaves_on_the_paths_of_its_subset),
                TEST(a_reflex_leaves_a_silent_path_by_itself), TEST(the_kernel_notices_silence_and_leaves),
                TEST(loss_of_a_path_is_known_though_not_all_went_on_it),
                TEST(sampled_packets_measure_the_delay_of_each_path),
                TEST(disorder_is_counted_by_path_and_class), TEST(classes_have_their_own_sequence_and_window),
                TEST(what_cannot_be_carried_is_counted_by_reason),
                TEST(a_path_with_a_smaller_mtu_refuses_alone),
                TEST(what_comes_from_a_path_is_sorted_by_reason), TEST(noise_is_never_delivered));
}
