/* The front without a kernel: the frames that wake a standby, and the words of the interface. */
#include "check.h"

#include "base/array.h"
#include "kinds/instance/front.h"
#include "kinds/instance/kick.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* The client has acknowledged 5000 of A, which has sent 5000; it offers 10,000 more; delta 1,000,000. */
static struct instance_conn conn_idle(void)
{
        return (struct instance_conn){.primary = 0,
                                      .standby = 1,
                                      .wscale = 0x077,
                                      .delta = 1000000,
                                      .c_ack = 5000,
                                      .c_edge = 15000,
                                      .c_high = 300,
                                      .a_ack = 300,
                                      .a_edge = 60300,
                                      .a_high = 5000,
                                      .b_ack = 300,
                                      .b_edge = 60300,
                                      .b_high = 5000};
}

/* I9: numbers are B's own, the sequence number is the client's highest, the window what it really offers. */
static void an_idle_standby_is_shown_the_clients_window(void)
{
        struct instance_conn c = conn_idle();
        struct instance_kick k = instance_kick_of(&c);
        OK(k.seq == 300, "the client's highest byte: %u", k.seq);
        OK(k.ack == 1005000, "in B's numbers: %u", k.ack);
        OK(k.window == 10000 >> 7, "shifted as the client said: %u", k.window);
        OK(k.nudge_seq == 299, "one before what B has");
        OK(!k.is_uploading && k.is_settled, "nobody waits for a word of B");
}

static void a_standby_is_never_acknowledged_what_it_has_not_sent(void)
{
        struct instance_conn c = conn_idle();
        c.b_high = 4000;
        struct instance_kick k = instance_kick_of(&c);
        OK(k.ack == 1004000, "what it sent: %u", k.ack);
        OK(k.window == 11000 >> 7, "the right edge stays where it was: %u", k.window);
}

static void windows_are_cut_to_what_a_packet_can_say(void)
{
        struct instance_conn c = conn_idle();
        c.c_edge = c.c_ack + (65535u << 7) + 5000;
        OK(instance_kick_of(&c).window == 65535, "the largest");
        c.c_edge = c.c_ack;
        OK(instance_kick_of(&c).window == 0, "a client that takes nothing");
        c.c_edge = c.c_ack - 100;
        OK(instance_kick_of(&c).window == 0, "one that took its window back");
}

/* Everything again with numbers about to wrap: nothing may be compared as if they did not. */
static void sequence_numbers_wrap(void)
{
        for (uint32_t i = 0; i < 80; i++) {
                uint32_t at = 0xffffffff - 20000 + i * 500;
                struct instance_conn c = conn_idle();
                c.c_ack += at;
                c.c_edge += at;
                c.a_high += at;
                c.b_high += at;
                struct instance_kick k = instance_kick_of(&c);
                OK(k.ack == 1005000 + at && k.window == 10000 >> 7 && k.is_settled, "at %u", at);
                c = conn_idle();
                c.c_high += at;
                c.a_ack += at;
                c.b_ack += at;
                c.a_edge += at;
                c.b_edge += at;
                k = instance_kick_of(&c);
                OK(k.seq == 300 + at && k.nudge_seq == 299 + at && !k.is_uploading, "the client's at %u", at);
        }
}

static void a_client_that_uploads_hears_of_b(void)
{
        static const struct {
                uint32_t a_ack, b_ack, b_edge;
                bool is_uploading;
                const char *say;
        } row[] = {
                {300, 300, 60300, false, "all has arrived and there is room"},
                {200, 300, 60300, true, "A had not acknowledged all"},
                {300, 200, 60300, true, "the standby has not"},
                {300, 300, 300, true, "the standby took nothing more: the client waits for its window"},
                {300, 300, 1700, true, "less than a segment of room"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct instance_conn c = conn_idle();
                c.a_ack = row[i].a_ack;
                c.b_ack = row[i].b_ack;
                c.b_edge = row[i].b_edge;
                struct instance_kick k = instance_kick_of(&c);
                OK(k.is_uploading == row[i].is_uploading, "%s", row[i].say);
                OK(k.nudge_seq == row[i].b_ack - 1, "before what B itself has: %s", row[i].say);
        }
}

/* A second way to the same sum: bytes of the pseudo header and the segment laid end to end. */
static uint16_t sum_of(const uint8_t *p, size_t n)
{
        uint64_t sum = 0;
        for (size_t i = 0; i < n; i++)
                sum += i % 2 ? p[i] : (uint64_t)p[i] << 8;
        return (uint16_t)(sum % 65535);
}

static void a_frame_is_whole_and_its_checksums_are_right(void)
{
        static const struct instance_server server = {.mac = {2, 0, 0, 0, 0, 9},
                                                      .own_mac = {2, 0, 0, 0, 0, 8}};
        for (int is_v6 = 0; is_v6 <= 1; is_v6++) {
                uint8_t frame[INSTANCE_KICK_FRAME + 1], pseudo[40 + 20] = {0};
                struct instance_kick_way way = {
                        .server = &server, .port_from = htons(40000), .port_to = htons(80), .is_v6 = is_v6};
                memset(frame, 0xaa, sizeof(frame));
                inet_pton(AF_INET6, is_v6 ? "2001:db8::7" : "::ffff:198.51.100.7", &way.from);
                inet_pton(AF_INET6, is_v6 ? "fd00::2" : "::ffff:10.1.0.2", &way.to);
                size_t n = instance_kick_write(frame, &way, 0x01020304, 0xfffffffe, 4711);
                size_t head = is_v6 ? 40 : 20, size = is_v6 ? 16 : 4;
                OK(n == 14 + head + 20 && frame[n] == 0xaa, "IPv%d: %zu bytes and none behind", is_v6 ? 6 : 4,
                   n);
                OK(memcmp(frame, "\2\0\0\0\0\11\2\0\0\0\0\10", 12) == 0, "to the next hop, from our device");
                OK(frame[12] == (is_v6 ? 0x86 : 0x08) && frame[14] >> 4 == (is_v6 ? 6 : 4), "its version");
                OK(is_v6 || sum_of(frame + 14, 20) == 0, "IPv4's header sums up to nothing");
                const uint8_t *tcp = frame + 14 + head;
                OK(memcmp(tcp + 4, "\1\2\3\4\xff\xff\xff\xfe", 8) == 0 && tcp[12] == 0x50 && tcp[13] == 0x10,
                   "numbers, five words, ACK alone");
                OK(tcp[14] << 8 == (4711 & 0xff00) && tcp[15] == (4711 & 0xff), "the window");
                memcpy(pseudo, frame + 14 + (is_v6 ? 8 : 12), 2 * size);
                pseudo[2 * size + 1] = IPPROTO_TCP;
                pseudo[2 * size + 3] = 20;
                memcpy(pseudo + 2 * size + 4, tcp, 20);
                OK(sum_of(pseudo, 2 * size + 4 + 20) == 0, "IPv%d: TCP sums up to nothing", is_v6 ? 6 : 4);
        }
}

static void every_event_and_drop_has_its_word(void)
{
        for (int i = 0; i < INSTANCE_EVENT_COUNT; i++) {
                const char *word = instance_event_word((enum instance_event_type)i);
                OK(word[0] && instance_event_help((enum instance_event_type)i)[0], "event %d", i);
                for (int other = 0; other < i; other++)
                        OK(strcmp(word, instance_event_word((enum instance_event_type)other)) != 0,
                           "%s is said of two", word);
        }
        for (int i = 0; i < INSTANCE_DROP_COUNT; i++)
                OK(instance_drop_text((enum instance_drop)i)[0], "drop %d", i);
        OK(strcmp(instance_event_word(INSTANCE_EVENT_COUNT), "unknown") == 0, "and nothing beyond");
}

int main(void)
{
        return CHECK_RUN(TEST(an_idle_standby_is_shown_the_clients_window),
                         TEST(a_standby_is_never_acknowledged_what_it_has_not_sent),
                         TEST(windows_are_cut_to_what_a_packet_can_say), TEST(sequence_numbers_wrap),
                         TEST(a_client_that_uploads_hears_of_b),
                         TEST(a_frame_is_whole_and_its_checksums_are_right),
                         TEST(every_event_and_drop_has_its_word));
}
