/* STAMP, both ends. The first octet: bit 0 with a key, bit 1 the HMACs are put right first (else a fuzzer
 * never gets behind them), bit 2 answers to what does not verify, bit 3 stateful. The rest is the packet. */
#include "base/clock.h"
#include "fuzz.h"
#include "sources/stamp.h"

#include <math.h>
#include <sodium.h>
#include <string.h>

static const uint8_t key[DOG_STAMP_KEY_SIZE] = {7};

static bool fuzz_counters(void *user, uint16_t tunnel, uint8_t path, struct dog_stamp_report *r)
{
        (void)user;
        r->groups = path;
        return tunnel & 1;
}

static void fuzz_hmac(uint8_t *to, const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
        uint8_t full[crypto_auth_hmacsha256_BYTES];
        crypto_auth_hmacsha256_state s;
        crypto_auth_hmacsha256_init(&s, key, sizeof(key));
        crypto_auth_hmacsha256_update(&s, a, a_size);
        crypto_auth_hmacsha256_update(&s, b, b_size);
        crypto_auth_hmacsha256_final(&s, full);
        memcpy(to, full, DOG_STAMP_TAG_SIZE);
}

static void fuzz_put_right(uint8_t *packet, size_t size)
{
        const size_t covered = DOG_STAMP_SEALED_SIZE - DOG_STAMP_TAG_SIZE;
        if (size < DOG_STAMP_SEALED_SIZE)
                return;
        fuzz_hmac(packet + covered, packet, covered, NULL, 0);
        struct dog_bytes in = dog_bytes_in(packet, size);
        struct dog_stamp_tlv tlv;
        dog_read_skip(&in, DOG_STAMP_SEALED_SIZE);
        while (dog_stamp_tlv_next(&in, &tlv)) {
                if (tlv.type == DOG_STAMP_TLV_HMAC && tlv.size == DOG_STAMP_TAG_SIZE)
                        fuzz_hmac(packet + tlv.at + DOG_STAMP_TLV_HEAD, packet, 4,
                                  packet + DOG_STAMP_SEALED_SIZE, tlv.at - DOG_STAMP_SEALED_SIZE);
        }
}

static void fuzz_reflect(uint8_t mode, const uint8_t *packet, size_t size)
{
        struct dog_stamp_reflect how = {
                .key = mode & 1 ? key : NULL,
                .answers_unverified = mode & 4,
                .is_stateful = mode & 8,
                .has_counts = mode & 8,
                .report = fuzz_counters,
        };
        uint8_t *reply = malloc(size ? size : 1);
        FUZZ_NEED(reply);
        enum dog_stamp_drop drop = dog_stamp_reflect(&how, packet, size, reply);
        struct dog_stamp_reply r;
        if (drop == DOG_STAMP_FINE) {
                FUZZ_NEED(size <= DOG_STAMP_MOST &&
                          dog_stamp_reply_read(reply, size, how.key, &r) == DOG_STAMP_FINE);
                FUZZ_NEED(how.is_stateful || r.seq == r.probe_seq);
                /* What verified in the request verifies in the answer. */
                if (dog_stamp_tlvs_check(packet, size, how.key) == DOG_STAMP_FINE)
                        FUZZ_NEED(dog_stamp_tlvs_check(reply, size, how.key) == DOG_STAMP_FINE);
        } else {
                FUZZ_NEED(dog_stamp_drop_text(drop)[0] && dog_stamp_drop_word(drop)[0]);
        }
        free(reply);
}

static void fuzz_seen(void *user, const struct dog_stamp_seen *seen)
{
        ++*(size_t *)user;
        double rtt = seen->sample.value[DOG_SIGNAL_RTT];
        double loss = seen->sample.value[DOG_SIGNAL_LOSS];
        FUZZ_NEED(loss == 0 ? isfinite(rtt) && rtt >= 0 && rtt <= 5000 : loss == 1 && isnan(rtt));
}

static void fuzz_report(void *user, int64_t at_ns, const struct dog_stamp_report *r)
{
        (void)user;
        FUZZ_NEED(at_ns == DOG_S && r->groups <= DOG_STAMP_REPORT_GROUPS);
}

/* One probe is out: the packet is taken as its answer. */
static void fuzz_answer(uint8_t mode, const uint8_t *packet, size_t size)
{
        size_t seen = 0;
        struct dog_stamp_session *s;
        struct dog_stamp_session_conf conf = {
                .fd = -1,
                .key = mode & 1 ? key : NULL,
                .seen = fuzz_seen,
                .report = fuzz_report,
                .user = &seen,
        };
        uint8_t probe[DOG_STAMP_MOST];
        FUZZ_NEED(dog_stamp_session_new(&s, &conf, NULL) == 0);
        dog_stamp_session_probe(s, DOG_S, 0, probe);
        dog_stamp_session_take(s, packet, size, DOG_S + 5 * DOG_MS, 5 * DOG_MS);
        dog_stamp_session_take(s, packet, size, DOG_S + 6 * DOG_MS, 6 * DOG_MS);
        dog_stamp_session_expire(s, 100 * DOG_S);
        FUZZ_NEED(seen == 1);
        dog_stamp_session_free(s);
}

static void fuzz_reports(const uint8_t *packet, size_t size)
{
        struct dog_bytes in = dog_bytes_in(packet, size);
        struct dog_stamp_tlv tlv;
        struct dog_stamp_report r;
        uint8_t back[DOG_STAMP_REPORT_SIZE + DOG_STAMP_REPORT_GROUPS * DOG_STAMP_REPORT_GROUP_SIZE];
        while (dog_stamp_tlv_next(&in, &tlv)) {
                if (!dog_stamp_report_read(&tlv, &r))
                        continue;
                struct dog_stamp_report again;
                FUZZ_NEED(dog_stamp_report_write(back, sizeof(back), &r));
                struct dog_stamp_tlv same = {
                        .type = DOG_STAMP_TLV_REPORT, .size = sizeof(back), .value = back};
                FUZZ_NEED(dog_stamp_report_read(&same, &again) && again.groups == r.groups &&
                          again.delay_min_ns == r.delay_min_ns);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        uint8_t mode = data[0];
        uint8_t *packet = malloc(size);
        FUZZ_NEED(packet);
        memcpy(packet, data + 1, size - 1);
        if (mode & 2)
                fuzz_put_right(packet, size - 1);
        fuzz_reflect(mode, packet, size - 1);
        fuzz_answer(mode, packet, size - 1);
        fuzz_reports(packet, size - 1);
        free(packet);
        return 0;
}
