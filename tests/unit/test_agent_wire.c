/* What agents and fronts say to each other, octet by octet; replay; what is possible. I1: the vitals of an
 * instance. I7, I13: its connections and their status on the wire. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "wire/agent.h"
#include "wire/exposition.h"

#include <sodium.h>
#include <string.h>

static const uint8_t secret[32] = {1, 2, 3};
static const int64_t wall_ns = 1700000000 * DOG_S;
static struct dog_agent_keys keys;

static struct dog_agent_head the_head(void)
{
        return (struct dog_agent_head){.type = DOG_AGENT_REPORT,
                                       .boot = 0x1122334455667788,
                                       .seq = 42,
                                       .sent_wall_ns = wall_ns,
                                       .name = "web-1.example"};
}

static struct dog_agent_conn conn_of(unsigned n, bool is_v6)
{
        struct dog_agent_conn c = {.state = 1,
                                   .age_ms = n,
                                   .acked = UINT64_C(1) << 40 | n,
                                   .received = n * 3,
                                   .rtt_us = 1000 + n,
                                   .resent = n % 7,
                                   .unsent_bytes = n * 5};
        c.flow.local_port = 80;
        c.flow.remote_port = (uint16_t)(1024 + n);
        if (!is_v6)
                c.flow.local[10] = c.flow.local[11] = c.flow.remote[10] = c.flow.remote[11] = 0xff;
        c.flow.local[15] = 1;
        c.flow.remote[15] = (uint8_t)n;
        return c;
}

static void a_datagram_is_laid_out_as_its_header_says(void)
{
        uint8_t packet[DOG_AGENT_MOST], plain[DOG_AGENT_BODY];
        struct dog_agent_head head = the_head();
        dog_agent_keys_derive(&keys, secret, head.name);
        size_t size = dog_agent_seal(packet, &head, "body", 4, keys.to_front);
        OK(size == 64 + 4 + 16, "head, body, tag: %zu", size);
        OK(memcmp(packet, "SDA1\1\0\0\0\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\0\0\x2a", 24) == 0,
           "magic, type, boot, sequence");
        OK(memcmp(packet + 32, "web-1.example\0\0\0", 16) == 0, "the name");
        /* Sealed as libsodium's one-shot call seals it, with octets 8 to 31 as the nonce. */
        unsigned long long n = 0;
        OK(crypto_aead_xchacha20poly1305_ietf_decrypt(plain, &n, NULL, packet + 64, size - 64, packet, 64,
                                                      packet + 8, keys.to_front) == 0 &&
                   n == 4 && memcmp(plain, "body", 4) == 0,
           "the body");
        struct dog_agent_head back;
        OK(dog_agent_open(packet, size, keys.to_front, &back, plain, &(size_t){0}) == DOG_AGENT_FINE &&
                   back.boot == head.boot && back.seq == 42 && back.sent_wall_ns == wall_ns &&
                   strcmp(back.name, head.name) == 0,
           "and back");
}

static void one_changed_bit_anywhere_is_noticed(void)
{
        uint8_t packet[DOG_AGENT_MOST], body[DOG_AGENT_BODY] = "untouched";
        struct dog_agent_head head = the_head(), back;
        dog_agent_keys_derive(&keys, secret, head.name);
        size_t size = dog_agent_seal(packet, &head, "body", 4, keys.to_front), n = 77;
        for (size_t bit = 0; bit < size * 8; bit++) {
                packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
                OK(dog_agent_open(packet, size, keys.to_front, &back, body, &n) != DOG_AGENT_FINE, "bit %zu",
                   bit);
                packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t cut = 0; cut < size; cut++)
                OK(dog_agent_open(packet, cut, keys.to_front, &back, body, &n) != DOG_AGENT_FINE,
                   "cut at %zu", cut);
        OK(strcmp((char *)body, "untouched") == 0 && n == 77, "nothing of it was handed out");
}

static void a_key_is_for_one_name_and_one_direction(void)
{
        struct dog_agent_keys a, b;
        dog_agent_keys_derive(&a, secret, "web-1");
        dog_agent_keys_derive(&b, secret, "web-2");
        OK(memcmp(a.to_front, a.to_agent, 32) != 0, "directions differ: nothing can be sent back");
        OK(memcmp(a.to_front, b.to_front, 32) != 0, "names differ");
        uint8_t packet[DOG_AGENT_MOST], body[DOG_AGENT_BODY];
        struct dog_agent_head head = the_head(), back;
        size_t n, size = dog_agent_seal(packet, &head, NULL, 0, a.to_front);
        OK(dog_agent_open(packet, size, a.to_agent, &back, body, &n) == DOG_AGENT_BAD_TAG, "reflected");
        OK(dog_agent_open(packet, size, b.to_front, &back, body, &n) == DOG_AGENT_BAD_TAG, "for another");
}

static void names_are_plain(void)
{
        static const struct {
                const char *name;
                bool is_good;
        } row[] = {{"a", true},
                   {"Web_1.example-2", true},
                   {"12345678901234567890123456789012", true},
                   {"123456789012345678901234567890123", false},
                   {"", false},
                   {"a b", false},
                   {"a/b", false},
                   {"\xc3\xa9", false}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++)
                OK(dog_agent_name_is_good(row[i].name) == row[i].is_good, "\"%s\"", row[i].name);
}

/* I1 */
static void a_report_comes_back_as_it_was(void)
{
        uint8_t body[DOG_AGENT_BODY];
        struct dog_agent_report r = {
                .period_ms = 1000, .processors = 8, .conns = 12, .vitals = dog_vitals_unknown()};
        r.echo = (struct dog_agent_echo){.sent_wall_ns = wall_ns, .held_ns = 5 * DOG_MS, .seq = 9};
        for (int i = 0; i < DOG_VITAL_COUNT; i += 2)
                r.vitals.value[i] = i / 100.0;
        size_t size = dog_agent_report_write(body, &r);
        struct dog_agent_report back;
        NEED(size > 0 && dog_agent_report_read(body, size, &back), "%zu octets", size);
        OK(back.period_ms == 1000 && back.processors == 8 && back.conns == 12 && back.echo.seq == 9 &&
                   back.echo.held_ns == 5 * DOG_MS,
           "its numbers");
        for (int i = 0; i < DOG_VITAL_COUNT; i++)
                OK(i % 2 ? isnan(back.vitals.value[i]) : back.vitals.value[i] == i / 100.0, "vital %d", i);
        for (size_t cut = 0; cut < size; cut++)
                OK(!dog_agent_report_read(body, cut, &back), "cut at %zu", cut);
        /* A vital of a later version is passed over. */
        body[34] = (uint8_t)(body[34] + 1);
        memset(body + size, 0, 9);
        body[size] = 255;
        OK(dog_agent_report_read(body, size + 9, &back) && back.vitals.value[2] == .02, "an unknown vital");
        OK(!dog_agent_report_read(body, size + 10, &back), "an octet too many");
        for (int i = 0; i < DOG_VITAL_COUNT; i++)
                r.vitals.value[i] = 1;
        OK(dog_agent_report_write(body, &r) <= DOG_AGENT_BODY && dog_agent_report_write(body, &r) > 0,
           "all vitals fit into one datagram");
}

/* I13 */
static void pages_of_connections_are_full_but_fit(void)
{
        static struct dog_agent_conns page, back;
        struct dog_agent_conn all[DOG_AGENT_PAGE];
        uint8_t body[DOG_AGENT_BODY], again[DOG_AGENT_BODY];
        for (int v6 = 0; v6 < 2; v6++) {
                for (unsigned i = 0; i < DOG_AGENT_PAGE; i++)
                        all[i] = conn_of(i, v6);
                unsigned fit = dog_agent_conns_fit(all, DOG_AGENT_PAGE);
                OK(fit == (v6 ? 15 : 24), "%u IPv%d connections in a datagram", fit, v6 ? 6 : 4);
                page = (struct dog_agent_conns){.round = 3, .count = (uint16_t)fit};
                memcpy(page.conn, all, fit * sizeof(all[0]));
                page.conn[2].is_closed = true;
                size_t size = dog_agent_conns_write(body, &page);
                NEED(size > 0 && dog_agent_conns_read(body, size, &back), "%zu octets", size);
                OK(back.count == fit && back.round == 3 && back.conn[2].is_closed && !back.conn[3].is_closed,
                   "%u of them", back.count);
                OK(back.conn[5].acked == all[5].acked && back.conn[5].rtt_us == 1005 &&
                           memcmp(&back.conn[5].flow, &all[5].flow, sizeof(all[5].flow)) == 0,
                   "as they were");
                OK(dog_agent_conns_write(again, &back) == size && memcmp(again, body, size) == 0,
                   "all of it");
                for (size_t cut = 0; cut < size; cut += 3)
                        OK(!dog_agent_conns_read(body, cut, &back), "cut at %zu", cut);
                page.count++;
                OK(dog_agent_conns_write(body, &page) == 0, "one more does not fit");
        }
}

/* I7 */
static void answers_and_status_come_back_as_they_were(void)
{
        uint8_t body[DOG_AGENT_BODY];
        struct dog_agent_answer a = {.wants = DOG_AGENT_WANTS_CONNS,
                                     .role = DOG_AGENT_ROLE_LEAVING,
                                     .period_ms = 2000,
                                     .datagrams_per_s = 50,
                                     .score = .25},
                                b;
        size_t size = dog_agent_answer_write(body, &a);
        OK(dog_agent_answer_read(body, size, &b) && b.role == a.role && b.score == .25 &&
                   b.period_ms == 2000 && b.datagrams_per_s == 50,
           "an answer");
        a.score = 7;
        size = dog_agent_answer_write(body, &a);
        OK(dog_agent_answer_read(body, size, &b) && isnan(b.score), "a score above 1 is none");
        static struct dog_agent_page page = {.count = DOG_AGENT_PAGE}, back;
        for (unsigned i = 0; i < DOG_AGENT_PAGE; i++)
                page.told[i] = (struct dog_agent_told){conn_of(i, false).flow,
                                                       (enum dog_agent_status)(i % DOG_AGENT_STATUS_COUNT)};
        size = dog_agent_page_write(body, &page);
        NEED(size > 0 && dog_agent_page_read(body, size, &back), "%zu octets", size);
        for (unsigned i = 0; i < DOG_AGENT_PAGE; i++)
                OK(back.told[i].status == page.told[i].status &&
                           memcmp(&back.told[i].flow, &page.told[i].flow, sizeof(page.told[i].flow)) == 0,
                   "entry %u", i);
        OK(size <= DOG_AGENT_BODY, "the largest page of status fits: %zu", size);
}

/* ---- replay ---- */

struct heard {
        uint64_t boot, seq;
        int64_t sent_s, now_s;
        enum dog_agent_drop want;
        const char *say;
};

static void hear(struct dog_agent_ear *ear, const struct heard *h)
{
        struct dog_agent_head head = {
                .boot = h->boot, .seq = h->seq, .sent_wall_ns = wall_ns + h->sent_s * DOG_S};
        enum dog_agent_drop got = dog_agent_ear_take(ear, &head, 1000 * DOG_S + h->now_s * DOG_S,
                                                     wall_ns + h->now_s * DOG_S, 300 * DOG_S, 3 * DOG_S);
        OK(got == h->want, "%s: %s", h->say, dog_agent_drop_word(got));
}

static void each_datagram_is_taken_once_and_no_old_life_comes_back(void)
{
        static const struct heard row[] = {
                {1, 0, 0, 0, DOG_AGENT_REPLAYED, "there is no number 0"},
                {1, 5, 0, 0, DOG_AGENT_FINE, "the first"},
                {1, 5, 0, 0, DOG_AGENT_REPLAYED, "again"},
                {1, 4, 0, 0, DOG_AGENT_FINE, "late"},
                {1, 4, 0, 0, DOG_AGENT_REPLAYED, "late again"},
                {1, 100, 1, 1, DOG_AGENT_FINE, "a jump"},
                {1, 36, 1, 1, DOG_AGENT_REPLAYED, "64 behind: too old to tell"},
                {1, 37, 1, 1, DOG_AGENT_FINE, "63 behind"},
                {1, 101, 0, 1, DOG_AGENT_BAD_TIME, "time running back"},
                {1, 101, 301, 0, DOG_AGENT_BAD_TIME, "from the future"},
                {1, 101, -301, 2, DOG_AGENT_BAD_TIME, "from long ago"},
                {2, 1, 0, 2, DOG_AGENT_OLD_BOOT, "an unheard life, recorded before the present one spoke"},
                {3, 1, 2, 2, DOG_AGENT_FINE, "a restart"},
                {1, 102, 3, 3, DOG_AGENT_OLD_BOOT, "the life before it"},
                {3, 2, 3, 3, DOG_AGENT_FINE, "goes on"},
                {4, 1, -100, 5, DOG_AGENT_OLD_BOOT, "a clock set back: not while the other still speaks"},
                {4, 1, -100, 7, DOG_AGENT_FINE, "but after silence"},
                {3, 3, 8, 8, DOG_AGENT_OLD_BOOT, "and the one before is over"},
        };
        struct dog_agent_ear ear = {0};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++)
                hear(&ear, &row[i]);
}

static void random_orders_are_taken_once_each(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 7);
        struct dog_agent_ear ear = {0};
        uint8_t taken[2000] = {0};
        for (unsigned i = 0; i < 20000; i++) {
                uint64_t base = i / 12;
                struct dog_agent_head head = {
                        .boot = 9, .seq = 1 + base + dog_rng_below(&rng, 60), .sent_wall_ns = wall_ns};
                if (dog_agent_ear_take(&ear, &head, DOG_S, wall_ns, DOG_S, DOG_S) == DOG_AGENT_FINE)
                        taken[head.seq]++;
        }
        for (unsigned i = 0; i < ARRAY_SIZE(taken); i++)
                OK(taken[i] <= 1, "number %u was taken %u times", i, taken[i]);
        OK(taken[800] == 1, "and they are taken");
}

static void a_voice_never_repeats_itself_and_never_runs_back(void)
{
        struct dog_agent_voice v = {0};
        struct dog_agent_head a = {0}, b = {0};
        dog_agent_voice_stamp(&v, &a, wall_ns);
        dog_agent_voice_stamp(&v, &b, wall_ns - DOG_S);
        OK(a.boot && b.boot == a.boot && b.seq == a.seq + 1 && b.sent_wall_ns > a.sent_wall_ns,
           "a small step");
        dog_agent_voice_stamp(&v, &b, wall_ns - 100 * DOG_S);
        OK(b.boot != a.boot && b.seq == 1 && b.sent_wall_ns == wall_ns - 100 * DOG_S, "a clock set back");
}

static void impossible_vitals_are_refused_one_by_one(void)
{
        struct dog_vitals v = dog_vitals_unknown();
        OK(dog_vitals_cleanse(&v) == 0, "unknown is possible");
        v.value[DOG_VITAL_CPU] = 1.01;
        v.value[DOG_VITAL_MEMORY] = -.01;
        v.value[DOG_VITAL_CONNS] = (double)INFINITY;
        v.value[DOG_VITAL_LOAD] = 3;
        OK(dog_vitals_cleanse(&v) == 3 && isnan(v.value[DOG_VITAL_CPU]) && isnan(v.value[DOG_VITAL_MEMORY]) &&
                   isnan(v.value[DOG_VITAL_CONNS]) && v.value[DOG_VITAL_LOAD] == 3,
           "more than all, less than nothing, and infinity");
}

/* ---- the text format of metrics ---- */

static void lines_of_metrics_are_read_strictly(void)
{
        static const struct {
                const char *line;
                double value; /* NaN: broken */
        } row[] = {
                {"a 1", 1},
                {"a_b:c 1.5e3", 1500},
                {"a{} 2", 2},
                {"a{x=\"1\"} 3", 3},
                {"a{x=\"1\",} 3", 3},
                {"a { x = \"1\" , y=\"}\\\"\\\\\\n\" } 4 1395066363000", 4},
                {"\ta\t5\r", 5},
                {"a +Inf", (double)INFINITY},
                {"a -5", -5},
                {"1a 1", (double)NAN},
                {"a", (double)NAN},
                {"a 1 2 3", (double)NAN},
                {"a 0x10", (double)NAN},
                {"a infinity", (double)NAN},
                {"a 1e", (double)NAN},
                {"a{x=1} 1", (double)NAN},
                {"a{x=\"1} 1", (double)NAN},
                {"a{x=\"\\q\"} 1", (double)NAN},
                {"a{x=\"1\"y=\"2\"} 1", (double)NAN},
                {"a{,} 1", (double)NAN},
                {"{x=\"1\"} 1", (double)NAN},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_exposition x = dog_exposition_of(row[i].line, strlen(row[i].line));
                struct dog_exposition_sample s;
                bool is_read = dog_exposition_next(&x, &s);
                OK(is_read == !isnan(row[i].value) && x.is_broken == isnan(row[i].value), "%s", row[i].line);
                OK(!is_read || s.value == row[i].value, "%s: %g", row[i].line, s.value);
        }
}

static void labels_are_found_and_their_escapes_resolved(void)
{
        static const char text[] = "# HELP a b\n\na{x=\"1\",long=\"a\\\\b\\\"c\\nd\"} NaN\n b 2";
        struct dog_exposition x = dog_exposition_of(text, sizeof(text) - 1);
        struct dog_exposition_sample s;
        char value[8];
        NEED(dog_exposition_next(&x, &s), "the first");
        OK(x.line == 3 && isnan(s.value) && dog_span_is(s.name, "a"), "line %u", x.line);
        OK(dog_exposition_label(&s, "long", value, sizeof(value)) && strcmp(value, "a\\b\"c\nd") == 0, "%s",
           value);
        OK(dog_exposition_label(&s, "x", value, sizeof(value)) && strcmp(value, "1") == 0, "%s", value);
        OK(!dog_exposition_label(&s, "y", value, sizeof(value)) && value[0] == 0, "none");
        OK(dog_exposition_label(&s, "long", value, 3) && strcmp(value, "a\\") == 0, "cut: %s", value);
        OK(dog_exposition_next(&x, &s) && s.value == 2 && !dog_exposition_next(&x, &s) && !x.is_broken,
           "the last");
}

int main(void)
{
        if (sodium_init() < 0)
                return 1;
        return CHECK_RUN(
                TEST(a_datagram_is_laid_out_as_its_header_says), TEST(one_changed_bit_anywhere_is_noticed),
                TEST(a_key_is_for_one_name_and_one_direction), TEST(names_are_plain),
                TEST(a_report_comes_back_as_it_was), TEST(pages_of_connections_are_full_but_fit),
                TEST(answers_and_status_come_back_as_they_were),
                TEST(each_datagram_is_taken_once_and_no_old_life_comes_back),
                TEST(random_orders_are_taken_once_each),
                TEST(a_voice_never_repeats_itself_and_never_runs_back),
                TEST(impossible_vitals_are_refused_one_by_one), TEST(lines_of_metrics_are_read_strictly),
                TEST(labels_are_found_and_their_escapes_resolved));
}
