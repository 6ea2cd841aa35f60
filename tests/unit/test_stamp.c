/* The STAMP codec against octets laid out by hand from RFC 8762 and RFC 8972; the HMACs in them come from
 * another implementation (Python's hmac). P4, P6: what the probes of every path are made of. O12: the report.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "hex.h"
#include "wire/stamp.h"

#include <string.h>

static const char probe_plain[] = "00000007e9fef440800000009643beef00000000000000000000000000000000"
                                  "000000000000000000000000";
static const char probe_sealed[] = "00000007000000000000000000000000e9fef440800000009643beef00000000"
                                   "0000000000000000000000000000000000000000000000000000000000000000"
                                   "0000000000000000000000000000000000000000000000000000000000000000"
                                   "6144591e0f921b5ac987459d8fb06e5c";
static const char reply_plain[] = "00000003665475c0257c590a4501beef665475c02540be4000000007e9fef440"
                                  "800000009643000039000000";
static const char reply_sealed[] = "00000003000000000000000000000000665475c0257c590a4501beef00000000"
                                   "665475c02540be40000000000000000000000007000000000000000000000000"
                                   "e9fef44080000000964300000000000039000000000000000000000000000000"
                                   "0574ffdc4b423bb216f0afc42febeb6b";
/* probe_sealed, Direct Measurement of 1000 packets, HMAC TLV, four octets of padding */
static const char probe_extended[] = "00000007000000000000000000000000e9fef440800000009643beef00000000"
                                     "0000000000000000000000000000000000000000000000000000000000000000"
                                     "0000000000000000000000000000000000000000000000000000000000000000"
                                     "6144591e0f921b5ac987459d8fb06e5c8005000c000003e80000000000000000"
                                     "80080010808908cc61697dc306b0e8c2aa44349480010004a55a33cc";

enum { ROOM = DOG_STAMP_MOST };

static uint8_t key[DOG_STAMP_KEY_SIZE];

static const int64_t t1_ns = 1716811200 * DOG_S + 500 * DOG_MS;

static struct dog_stamp_probe the_probe(void)
{
        return (struct dog_stamp_probe){
                .seq = 7,
                .sent = dog_stamp_time_of(t1_ns, false),
                .clock = {.is_synced = true, .scale = 22, .multiplier = 67},
                .ssid = 0xbeef,
        };
}

static struct dog_stamp_reply the_reply(void)
{
        struct dog_stamp_probe p = the_probe();
        return (struct dog_stamp_reply){
                .seq = 3,
                .sent = dog_stamp_time_of(t1_ns + 128906250, true),
                .clock = {.is_ptp = true, .scale = 5, .multiplier = 1},
                .ssid = 0xbeef,
                .received = dog_stamp_time_of(t1_ns + 125 * DOG_MS, true),
                .probe_seq = 7,
                .probe_sent = p.sent,
                .probe_clock = p.clock,
                .probe_ttl = 57,
        };
}

static void packets_are_laid_out_as_the_rfc_says(void)
{
        static const struct {
                const char *vector, *say;
                bool is_reply, is_sealed;
                size_t size;
        } row[] = {
                {probe_plain, "sender, unauthenticated", false, false, 44},
                {probe_sealed, "sender, authenticated", false, true, 112},
                {reply_plain, "reflector, unauthenticated", true, false, 44},
                {reply_sealed, "reflector, authenticated", true, true, 112},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                uint8_t want[ROOM];
                uint8_t got[ROOM];
                size_t size = hex_read(row[i].vector, want, sizeof(want));
                const uint8_t *k = row[i].is_sealed ? key : NULL;
                struct dog_bytes out = dog_bytes_of(got, sizeof(got));
                struct dog_stamp_probe p = the_probe();
                struct dog_stamp_reply r = the_reply();
                if (row[i].is_reply)
                        dog_stamp_reply_write(&out, &r, k);
                else
                        dog_stamp_probe_write(&out, &p, k);
                OK(size == row[i].size && out.at == size && memcmp(got, want, size) == 0, "%s: written",
                   row[i].say);
                struct dog_stamp_probe p2;
                struct dog_stamp_reply r2;
                if (row[i].is_reply) {
                        OK(dog_stamp_reply_read(want, size, k, &r2) == DOG_STAMP_FINE, "%s: read",
                           row[i].say);
                        OK(r2.seq == 3 && r2.probe_seq == 7 && r2.probe_ttl == 57 && r2.ssid == 0xbeef &&
                                   r2.sent == r.sent && r2.received == r.received &&
                                   r2.probe_sent == r.probe_sent && r2.clock.is_ptp && !r2.clock.is_synced &&
                                   r2.probe_clock.multiplier == 67 && r2.probe_clock.scale == 22,
                           "%s: every field", row[i].say);
                } else {
                        OK(dog_stamp_probe_read(want, size, k, &p2) == DOG_STAMP_FINE, "%s: read",
                           row[i].say);
                        OK(p2.seq == 7 && p2.sent == p.sent && p2.ssid == 0xbeef && p2.clock.is_synced &&
                                   !p2.clock.is_ptp && p2.clock.scale == 22,
                           "%s: every field", row[i].say);
                }
                OK(dog_stamp_probe_read(want, size - 1, k, &p2) == DOG_STAMP_SHORT, "%s: one octet less",
                   row[i].say);
        }
}

static void one_flipped_bit_breaks_an_authenticated_packet(void)
{
        uint8_t packet[ROOM];
        size_t size = hex_read(reply_sealed, packet, sizeof(packet));
        struct dog_stamp_reply r;
        for (size_t bit = 0; bit < size * 8; bit++) {
                packet[bit / 8] ^= (uint8_t)(1U << bit % 8);
                OK(dog_stamp_reply_read(packet, size, key, &r) == DOG_STAMP_BAD_TAG, "bit %zu", bit);
                packet[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        uint8_t other[DOG_STAMP_KEY_SIZE] = {1};
        OK(dog_stamp_reply_read(packet, size, other, &r) == DOG_STAMP_BAD_TAG, "another key");
        OK(dog_stamp_reply_read(packet, size, key, &r) == DOG_STAMP_FINE, "and whole again");
}

static void times_survive_both_formats(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 8762);
        for (int i = 0; i < 20000; i++) {
                int64_t wall_ns = (int64_t)dog_rng_below(&rng, UINT64_C(4102444800) * DOG_S); /* to 2100 */
                for (int ptp = 0; ptp < 2; ptp++) {
                        int64_t back = dog_stamp_time_wall_ns(dog_stamp_time_of(wall_ns, ptp), ptp);
                        OK(back == wall_ns, "%lld came back as %lld (ptp %d)", (long long)wall_ns,
                           (long long)back, ptp);
                }
        }
        OK(dog_stamp_time_of(0, false) == UINT64_C(2208988800) << 32, "1970 in NTP");
        OK(dog_stamp_time_of(INT64_C(2085978496) * DOG_S, false) >> 32 == 0, "NTP begins anew in 2036");
        OK(dog_stamp_time_of(3 * DOG_S + 5, true) == ((uint64_t)3 << 32 | 5), "PTP counts nanoseconds");
}

static void an_error_estimate_covers_the_error_and_is_never_zero(void)
{
        static const int64_t error_ns[] = {0, 1, 100, DOG_US, DOG_MS, DOG_S, 3600 * DOG_S};
        for (size_t i = 0; i < ARRAY_SIZE(error_ns); i++) {
                struct dog_stamp_clock c = dog_stamp_clock_of(error_ns[i], true, false);
                int64_t told = dog_stamp_clock_error_ns(&c);
                OK(c.multiplier > 0, "RFC 4656, 4.1.2: a multiplier of 0 is a corrupt packet");
                OK(told >= error_ns[i] - 1 && (error_ns[i] < 100 || told <= error_ns[i] + error_ns[i] / 50),
                   "%lld ns told as %lld", (long long)error_ns[i], (long long)told);
                struct dog_stamp_clock back = dog_stamp_clock_unpack(dog_stamp_clock_pack(&c));
                OK(back.scale == c.scale && back.multiplier == c.multiplier && back.is_synced && !back.is_ptp,
                   "packed and unpacked");
        }
        struct dog_stamp_clock widest = {.scale = 63, .multiplier = 255};
        OK(dog_stamp_clock_error_ns(&widest) == INT64_MAX, "5e11 s are more than we can say");
}

static void tlvs_are_used_only_when_their_hmac_verifies(void)
{
        uint8_t packet[ROOM];
        size_t size = hex_read(probe_extended, packet, sizeof(packet));
        OK(dog_stamp_tlvs_check(packet, size, key) == DOG_STAMP_FINE, "as Python sealed it");
        uint8_t mine[ROOM];
        struct dog_bytes out = dog_bytes_of(mine, sizeof(mine));
        struct dog_stamp_probe p = the_probe();
        dog_stamp_probe_write(&out, &p, key);
        uint8_t value[DOG_STAMP_DIRECT_SIZE];
        dog_stamp_direct_write(value, &(struct dog_stamp_direct){.sender_tx = 1000});
        dog_stamp_tlv_write(&out, DOG_STAMP_TLV_UNRECOGNISED, DOG_STAMP_TLV_DIRECT, value, sizeof(value));
        dog_stamp_tlv_seal(&out, DOG_STAMP_SEALED_SIZE, key);
        dog_stamp_tlv_write(&out, DOG_STAMP_TLV_UNRECOGNISED, DOG_STAMP_TLV_PADDING, "\xa5\x5a\x33\xcc", 4);
        OK(out.at == size && memcmp(mine, packet, size) == 0, "and as we seal it");

        /* Not covered: the flags of the HMAC TLV, and the padding behind it. Everything else is. */
        for (size_t at = DOG_STAMP_SEALED_SIZE; at < size - 8; at++) {
                if (at == DOG_STAMP_SEALED_SIZE + 16)
                        continue;
                packet[at] ^= 1;
                OK(dog_stamp_tlvs_check(packet, size, key) != DOG_STAMP_FINE, "octet %zu changed", at);
                packet[at] ^= 1;
        }
        packet[3] ^= 1;
        OK(dog_stamp_tlvs_check(packet, size, key) == DOG_STAMP_BAD_TLV_TAG,
           "the sequence number is covered");
        packet[3] ^= 1;
        OK(dog_stamp_tlvs_check(packet, DOG_STAMP_SEALED_SIZE, key) == DOG_STAMP_FINE,
           "no TLV needs no HMAC");
        OK(dog_stamp_tlvs_check(packet, DOG_STAMP_SEALED_SIZE + 16, key) == DOG_STAMP_BAD_TLV_TAG,
           "Direct Measurement without an HMAC TLV");
        OK(dog_stamp_tlvs_check(packet, size - 1, key) == DOG_STAMP_BAD_TLV, "cut short");

        out.at = DOG_STAMP_SEALED_SIZE;
        dog_stamp_tlv_write(&out, 0x80, DOG_STAMP_TLV_PADDING, NULL, 8);
        OK(dog_stamp_tlvs_check(mine, out.at, key) == DOG_STAMP_FINE, "a single padding needs no HMAC");
        out.at = DOG_STAMP_SEALED_SIZE;
        dog_stamp_tlv_seal(&out, DOG_STAMP_SEALED_SIZE, key);
        dog_stamp_tlv_write(&out, 0x80, DOG_STAMP_TLV_DIRECT, value, sizeof(value));
        OK(dog_stamp_tlvs_check(mine, out.at, key) == DOG_STAMP_BAD_TLV_TAG,
           "only padding after the HMAC TLV");
}

static struct dog_stamp_report a_report(void)
{
        struct dog_stamp_report r = {
                .tunnel = 300,
                .path = 2,
                .groups = 2,
                .epoch = 0xdeadbeef,
                .at_ns = 1,
                .received = 2,
                .bytes = 3,
                .first = 4,
                .duplicate = 5,
                .late = 6,
                .reordered = 7,
                .expected = 8,
                .bad_tag = 9,
                .delay_count = 10,
                .delay_sum_ns = -11,
                .delay_min_ns = INT64_MIN,
                .group = {{.group = 1, .packets = 12, .bytes = 13, .newest_seq = UINT64_MAX},
                          {.group = 65535, .packets = 14, .bytes = 15, .newest_seq = 16}},
        };
        return r;
}

static bool report_is_same(const struct dog_stamp_report *a, const struct dog_stamp_report *b)
{
        uint8_t one[DOG_STAMP_REPORT_SIZE + 8 * DOG_STAMP_REPORT_GROUP_SIZE];
        uint8_t two[sizeof(one)];
        return dog_stamp_report_write(one, sizeof(one), a) && dog_stamp_report_write(two, sizeof(two), b) &&
               memcmp(one, two, sizeof(one)) == 0;
}

static void O12_the_report_of_the_far_end_survives_the_wire(void)
{
        struct dog_stamp_report r = a_report();
        uint8_t value[DOG_STAMP_REPORT_SIZE + 3 * DOG_STAMP_REPORT_GROUP_SIZE];
        struct dog_stamp_report back;
        OK(dog_stamp_report_write(value, sizeof(value), &r), "three groups of room for two");
        struct dog_stamp_tlv tlv = {.type = DOG_STAMP_TLV_REPORT, .size = sizeof(value), .value = value};
        OK(dog_stamp_report_read(&tlv, &back) && report_is_same(&r, &back), "read back");
        OK(back.delay_min_ns == INT64_MIN && back.group[1].newest_seq == 16, "signs and the last field");
        tlv.size = DOG_STAMP_REPORT_SIZE + DOG_STAMP_REPORT_GROUP_SIZE;
        OK(!dog_stamp_report_read(&tlv, &back), "it says two groups and holds one");
        OK(dog_stamp_report_write(value, tlv.size, &r) && dog_stamp_report_read(&tlv, &back) &&
                   back.groups == 1,
           "what does not fit is left out");
        value[0] ^= 1;
        OK(!dog_stamp_report_read(&tlv, &back), "somebody else's experiment with the same number");
        OK(!dog_stamp_report_write(value, DOG_STAMP_REPORT_SIZE - 1, &r), "no room");
}

/* ---- reflecting ---- */

static bool report_for_300(void *user, uint16_t tunnel, uint8_t path, struct dog_stamp_report *r)
{
        ++*(int *)user;
        *r = a_report();
        return tunnel == 300 && path == 2;
}

static size_t request_with_report(uint8_t *to, const uint8_t *k, uint16_t tunnel)
{
        struct dog_bytes out = dog_bytes_of(to, ROOM);
        struct dog_stamp_probe p = the_probe();
        dog_stamp_probe_write(&out, &p, k);
        uint8_t value[DOG_STAMP_REPORT_SIZE + 2 * DOG_STAMP_REPORT_GROUP_SIZE];
        struct dog_stamp_report ask = {.tunnel = tunnel, .path = 2};
        dog_stamp_report_write(value, sizeof(value), &ask);
        dog_stamp_tlv_write(&out, DOG_STAMP_TLV_UNRECOGNISED, DOG_STAMP_TLV_REPORT, value, sizeof(value));
        if (k)
                dog_stamp_tlv_seal(&out, dog_stamp_base_size(k), k);
        return out.at;
}

static struct dog_stamp_tlv first_tlv(const uint8_t *packet, size_t size, const uint8_t *k)
{
        struct dog_bytes in = dog_bytes_in(packet, size);
        struct dog_stamp_tlv tlv = {0};
        dog_read_skip(&in, dog_stamp_base_size(k));
        dog_stamp_tlv_next(&in, &tlv);
        return tlv;
}

static void O12_a_reflector_answers_with_the_counters_and_seals_them(void)
{
        int asked = 0;
        struct dog_stamp_reflect how = {.key = key, .ttl = 61, .report = report_for_300, .user = &asked};
        uint8_t request[ROOM];
        uint8_t reply[ROOM];
        size_t size = request_with_report(request, key, 300);
        NEED(dog_stamp_reflect(&how, request, size, reply) == DOG_STAMP_FINE, "answered");
        struct dog_stamp_reply r;
        NEED(dog_stamp_reply_read(reply, size, key, &r) == DOG_STAMP_FINE, "the base verifies");
        OK(r.seq == 7 && r.probe_seq == 7 && r.probe_ttl == 61, "stateless: the probe's number");
        OK(dog_stamp_tlvs_check(reply, size, key) == DOG_STAMP_FINE, "the TLVs verify");
        struct dog_stamp_tlv tlv = first_tlv(reply, size, key);
        struct dog_stamp_report got;
        struct dog_stamp_report want = a_report();
        OK(tlv.flags == 0 && dog_stamp_report_read(&tlv, &got) && report_is_same(&got, &want) && asked == 1,
           "the counters came back, U cleared");

        size = request_with_report(request, key, 301);
        OK(dog_stamp_reflect(&how, request, size, reply) == DOG_STAMP_FINE &&
                   first_tlv(reply, size, key).flags == DOG_STAMP_TLV_UNRECOGNISED &&
                   dog_stamp_tlvs_check(reply, size, key) == DOG_STAMP_FINE,
           "a tunnel it does not have: U stays");
        how.report = NULL;
        OK(dog_stamp_reflect(&how, request, size, reply) == DOG_STAMP_FINE &&
                   first_tlv(reply, size, key).flags == DOG_STAMP_TLV_UNRECOGNISED,
           "a reflector without a tunnel: U stays");
        how.report = report_for_300;
        how.key = NULL;
        size = request_with_report(request, NULL, 300);
        OK(dog_stamp_reflect(&how, request, size, reply) == DOG_STAMP_FINE &&
                   first_tlv(reply, size, NULL).flags == DOG_STAMP_TLV_UNRECOGNISED,
           "counters are not for strangers");
}

static void nothing_is_answered_to_what_does_not_verify(void)
{
        struct dog_stamp_reflect how = {.key = key};
        uint8_t request[ROOM + 1];
        uint8_t reply[ROOM];
        size_t size = request_with_report(request, key, 300);
        request[20] ^= 1;
        OK(dog_stamp_reflect(&how, request, size, reply) == DOG_STAMP_BAD_TAG, "the base");
        request[20] ^= 1;
        request[size - 1] ^= 1;
        OK(dog_stamp_reflect(&how, request, size, reply) == DOG_STAMP_BAD_TLV_TAG, "the HMAC TLV");
        how.answers_unverified = true;
        OK(dog_stamp_reflect(&how, request, size, reply) == DOG_STAMP_FINE, "answered when so configured,");
        OK(first_tlv(reply, size, key).flags == (DOG_STAMP_TLV_UNRECOGNISED | DOG_STAMP_TLV_INTEGRITY),
           "with the I flag (RFC 8972, 4.8) and nothing filled in");
        how.answers_unverified = false;
        OK(dog_stamp_reflect(&how, request, DOG_STAMP_SEALED_SIZE - 1, reply) == DOG_STAMP_SHORT,
           "too short");
        OK(dog_stamp_reflect(&how, request, ROOM + 1, reply) == DOG_STAMP_LONG, "too long");
}

static void a_reflector_without_a_key_marks_what_it_cannot_read(void)
{
        struct dog_stamp_reflect how = {.has_counts = true, .rx = 5, .tx = 4, .is_stateful = true, .seq = 3};
        uint8_t request[ROOM] = {0};
        uint8_t reply[ROOM];
        struct dog_bytes out = dog_bytes_of(request, sizeof(request));
        struct dog_stamp_probe p = the_probe();
        dog_stamp_probe_write(&out, &p, NULL);
        uint8_t value[DOG_STAMP_DIRECT_SIZE] = {0, 0, 0, 9};
        size_t direct = out.at;
        dog_stamp_tlv_write(&out, 0x80, DOG_STAMP_TLV_DIRECT, value, sizeof(value));
        size_t wrong = out.at;
        dog_stamp_tlv_write(&out, 0x80, DOG_STAMP_TLV_DIRECT, value, 5);
        size_t unknown = out.at;
        dog_stamp_tlv_write(&out, 0x80, 99, "what", 4);
        size_t cut = out.at;
        dog_stamp_tlv_write(&out, 0x80, DOG_STAMP_TLV_PADDING, NULL, 100);
        size_t size = out.at - 1;
        NEED(dog_stamp_reflect(&how, request, size, reply) == DOG_STAMP_FINE, "answered");
        struct dog_stamp_reply r;
        OK(dog_stamp_reply_read(reply, size, NULL, &r) == DOG_STAMP_FINE && r.seq == 3 && r.probe_seq == 7,
           "stateful: the reflector's own number");
        static const uint8_t want[DOG_STAMP_DIRECT_SIZE] = {0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 4};
        OK(reply[direct] == 0 && memcmp(reply + direct + 4, want, sizeof(want)) == 0, "Direct Measurement");
        OK(reply[wrong] == DOG_STAMP_TLV_MALFORMED, "one of the wrong size: M");
        OK(reply[unknown] == DOG_STAMP_TLV_UNRECOGNISED && memcmp(reply + unknown + 4, "what", 4) == 0,
           "an unknown type: U, and back as it came");
        OK(reply[cut] & DOG_STAMP_TLV_MALFORMED, "one that does not fit: M");
}

int main(void)
{
        for (uint8_t i = 0; i < sizeof(key); i++)
                key[i] = i;
        return CHECK_RUN(TEST(packets_are_laid_out_as_the_rfc_says),
                         TEST(one_flipped_bit_breaks_an_authenticated_packet),
                         TEST(times_survive_both_formats),
                         TEST(an_error_estimate_covers_the_error_and_is_never_zero),
                         TEST(tlvs_are_used_only_when_their_hmac_verifies),
                         TEST(O12_the_report_of_the_far_end_survives_the_wire),
                         TEST(O12_a_reflector_answers_with_the_counters_and_seals_them),
                         TEST(nothing_is_answered_to_what_does_not_verify),
                         TEST(a_reflector_without_a_key_marks_what_it_cannot_read));
}
