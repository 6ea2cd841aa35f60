#include "wire/stamp.h"

#include <sodium.h>
#include <string.h>

enum {
        STAMP_TAGGED = 96, /* octets of a base packet that its HMAC covers */
        STAMP_SEQ_SIZE = 4,
        STAMP_HMAC_TLV = DOG_STAMP_TLV_HEAD + DOG_STAMP_TAG_SIZE,
};
_Static_assert(STAMP_TAGGED + DOG_STAMP_TAG_SIZE == DOG_STAMP_SEALED_SIZE, "RFC 8762, 4.4");
_Static_assert(DOG_STAMP_KEY_SIZE == crypto_auth_hmacsha256_KEYBYTES, "a key for HMAC-SHA-256");

#define STAMP_S           1000000000LL
#define STAMP_NTP_TO_UNIX 2208988800LL /* seconds from 1900 to 1970, 17 of the 70 years being leap years */

const char *dog_stamp_drop_word(enum dog_stamp_drop drop)
{
        static const char *const word[] = {[DOG_STAMP_FINE] = "fine",
#define STAMP_WORD(name, word, text) [DOG_STAMP_##name] = (word),
                                           DOG_STAMP_DROPS(STAMP_WORD)
#undef STAMP_WORD
        };
        return drop < DOG_STAMP_DROP_COUNT ? word[drop] : "?";
}

const char *dog_stamp_drop_text(enum dog_stamp_drop drop)
{
        static const char *const sentence[] = {[DOG_STAMP_FINE] = "nothing is wrong",
#define STAMP_TEXT(name, word, text) [DOG_STAMP_##name] = (text),
                                               DOG_STAMP_DROPS(STAMP_TEXT)
#undef STAMP_TEXT
        };
        return drop < DOG_STAMP_DROP_COUNT ? sentence[drop] : "?";
}

/* ---- times ---- */

uint16_t dog_stamp_clock_pack(const struct dog_stamp_clock *c)
{
        return (uint16_t)((c->is_synced ? 0x8000U : 0U) | (c->is_ptp ? 0x4000U : 0U) |
                          (c->scale & 0x3fU) << 8 | c->multiplier);
}

struct dog_stamp_clock dog_stamp_clock_unpack(uint16_t field)
{
        return (struct dog_stamp_clock){
                .is_synced = (field & 0x8000U) != 0,
                .is_ptp = (field & 0x4000U) != 0,
                .scale = (uint8_t)(field >> 8 & 0x3fU),
                .multiplier = (uint8_t)field,
        };
}

struct dog_stamp_clock dog_stamp_clock_of(int64_t error_ns, bool is_synced, bool is_ptp)
{
        /* The smallest scale whose multiplier fits into its octet; rounded up, never down to 0. */
        double units = (double)(error_ns < 0 ? 0 : error_ns) * 1e-9 * 4294967296.0;
        struct dog_stamp_clock c = {.is_synced = is_synced, .is_ptp = is_ptp};
        while (units > 255 && c.scale < 63) {
                units /= 2;
                c.scale++;
        }
        c.multiplier = units > 254 ? 255 : (uint8_t)(units + 1);
        return c;
}

int64_t dog_stamp_clock_error_ns(const struct dog_stamp_clock *c)
{
        double ns = (double)c->multiplier / 4294967296.0 * 1e9;
        for (unsigned i = 0; i < c->scale; i++)
                ns *= 2;
        return ns < 9.2e18 ? (int64_t)ns : INT64_MAX;
}

uint64_t dog_stamp_time_of(int64_t wall_ns, bool is_ptp)
{
        uint64_t s = (uint64_t)(wall_ns / STAMP_S);
        uint64_t ns = (uint64_t)(wall_ns % STAMP_S);
        if (is_ptp)
                return s << 32 | ns;
        /* Rounded up, so that reading it back gives the same nanosecond. */
        return (s + (uint64_t)STAMP_NTP_TO_UNIX) << 32 |
               ((ns << 32) + (uint64_t)STAMP_S - 1) / (uint64_t)STAMP_S;
}

int64_t dog_stamp_time_wall_ns(uint64_t time, bool is_ptp)
{
        uint64_t high = time >> 32;
        uint64_t low = time & 0xffffffffU;
        if (is_ptp)
                return (int64_t)(high * (uint64_t)STAMP_S + low);
        if (high < (uint64_t)STAMP_NTP_TO_UNIX)
                high += UINT64_C(1) << 32; /* the era that begins in 2036 */
        return (int64_t)((high - (uint64_t)STAMP_NTP_TO_UNIX) * (uint64_t)STAMP_S +
                         (low * (uint64_t)STAMP_S >> 32));
}

/* ---- base packets ---- */

size_t dog_stamp_base_size(const uint8_t *key)
{
        return key ? DOG_STAMP_SEALED_SIZE : DOG_STAMP_PLAIN_SIZE;
}

static void stamp_hmac(uint8_t tag[DOG_STAMP_TAG_SIZE], const uint8_t *key, const uint8_t *a, size_t a_size,
                       const uint8_t *b, size_t b_size)
{
        crypto_auth_hmacsha256_state state;
        uint8_t full[crypto_auth_hmacsha256_BYTES];
        crypto_auth_hmacsha256_init(&state, key, DOG_STAMP_KEY_SIZE);
        crypto_auth_hmacsha256_update(&state, a, a_size);
        crypto_auth_hmacsha256_update(&state, b, b_size);
        crypto_auth_hmacsha256_final(&state, full);
        memcpy(tag, full, DOG_STAMP_TAG_SIZE);
}

/* Close an authenticated base packet, which is everything written so far. */
static void stamp_base_seal(struct dog_bytes *out, const uint8_t *key)
{
        uint8_t tag[DOG_STAMP_TAG_SIZE] = {0};
        if (!out->failed)
                stamp_hmac(tag, key, out->data, STAMP_TAGGED, NULL, 0);
        dog_write_copy(out, tag, sizeof(tag));
}

static enum dog_stamp_drop stamp_base_check(const void *packet, size_t size, const uint8_t *key)
{
        if (size < dog_stamp_base_size(key))
                return DOG_STAMP_SHORT;
        if (!key)
                return DOG_STAMP_FINE;
        uint8_t tag[DOG_STAMP_TAG_SIZE];
        const uint8_t *octets = packet;
        stamp_hmac(tag, key, octets, STAMP_TAGGED, NULL, 0);
        if (sodium_memcmp(tag, octets + STAMP_TAGGED, sizeof(tag)) != 0)
                return DOG_STAMP_BAD_TAG;
        return DOG_STAMP_FINE;
}

void dog_stamp_probe_write(struct dog_bytes *out, const struct dog_stamp_probe *p, const uint8_t *key)
{
        dog_write_u32(out, p->seq);
        if (key)
                dog_write_zero(out, 12);
        dog_write_u64(out, p->sent);
        dog_write_u16(out, dog_stamp_clock_pack(&p->clock));
        dog_write_u16(out, p->ssid);
        dog_write_zero(out, key ? 68 : 28);
        if (key)
                stamp_base_seal(out, key);
}

enum dog_stamp_drop dog_stamp_probe_read(const void *packet, size_t size, const uint8_t *key,
                                         struct dog_stamp_probe *p)
{
        enum dog_stamp_drop drop = stamp_base_check(packet, size, key);
        if (drop != DOG_STAMP_FINE)
                return drop;
        struct dog_bytes in = dog_bytes_in(packet, size);
        p->seq = dog_read_u32(&in);
        if (key)
                dog_read_skip(&in, 12);
        p->sent = dog_read_u64(&in);
        p->clock = dog_stamp_clock_unpack(dog_read_u16(&in));
        p->ssid = dog_read_u16(&in);
        return DOG_STAMP_FINE;
}

void dog_stamp_reply_write(struct dog_bytes *out, const struct dog_stamp_reply *r, const uint8_t *key)
{
        /* The authenticated form spreads the same fields over blocks of 16 octets. */
        dog_write_u32(out, r->seq);
        if (key)
                dog_write_zero(out, 12);
        dog_write_u64(out, r->sent);
        dog_write_u16(out, dog_stamp_clock_pack(&r->clock));
        dog_write_u16(out, r->ssid);
        if (key)
                dog_write_zero(out, 4);
        dog_write_u64(out, r->received);
        if (key)
                dog_write_zero(out, 8);
        dog_write_u32(out, r->probe_seq);
        if (key)
                dog_write_zero(out, 12);
        dog_write_u64(out, r->probe_sent);
        dog_write_u16(out, dog_stamp_clock_pack(&r->probe_clock));
        dog_write_zero(out, key ? 6 : 2);
        dog_write_u8(out, r->probe_ttl);
        dog_write_zero(out, key ? 15 : 3);
        if (key)
                stamp_base_seal(out, key);
}

enum dog_stamp_drop dog_stamp_reply_read(const void *packet, size_t size, const uint8_t *key,
                                         struct dog_stamp_reply *r)
{
        enum dog_stamp_drop drop = stamp_base_check(packet, size, key);
        if (drop != DOG_STAMP_FINE)
                return drop;
        struct dog_bytes in = dog_bytes_in(packet, size);
        r->seq = dog_read_u32(&in);
        if (key)
                dog_read_skip(&in, 12);
        r->sent = dog_read_u64(&in);
        r->clock = dog_stamp_clock_unpack(dog_read_u16(&in));
        r->ssid = dog_read_u16(&in);
        if (key)
                dog_read_skip(&in, 4);
        r->received = dog_read_u64(&in);
        if (key)
                dog_read_skip(&in, 8);
        r->probe_seq = dog_read_u32(&in);
        if (key)
                dog_read_skip(&in, 12);
        r->probe_sent = dog_read_u64(&in);
        r->probe_clock = dog_stamp_clock_unpack(dog_read_u16(&in));
        dog_read_skip(&in, key ? 6 : 2);
        r->probe_ttl = dog_read_u8(&in);
        return DOG_STAMP_FINE;
}

/* ---- TLVs ---- */

void dog_stamp_tlv_write(struct dog_bytes *out, uint8_t flags, uint8_t type, const void *value, size_t size)
{
        if (size > UINT16_MAX) {
                out->failed = true;
                return;
        }
        dog_write_u8(out, flags);
        dog_write_u8(out, type);
        dog_write_u16(out, (uint16_t)size);
        if (value)
                dog_write_copy(out, value, size);
        else
                dog_write_zero(out, size);
}

void dog_stamp_tlv_seal(struct dog_bytes *out, size_t base, const uint8_t *key)
{
        uint8_t tag[DOG_STAMP_TAG_SIZE] = {0};
        if (!out->failed && base <= out->at)
                stamp_hmac(tag, key, out->data, STAMP_SEQ_SIZE, out->data + base, out->at - base);
        dog_stamp_tlv_write(out, DOG_STAMP_TLV_UNRECOGNISED, DOG_STAMP_TLV_HMAC, tag, sizeof(tag));
}

bool dog_stamp_tlv_next(struct dog_bytes *in, struct dog_stamp_tlv *tlv)
{
        if (dog_bytes_left(in) == 0)
                return false;
        tlv->at = in->at;
        tlv->flags = dog_read_u8(in);
        tlv->type = dog_read_u8(in);
        tlv->size = dog_read_u16(in);
        tlv->value = in->data + in->at;
        dog_read_skip(in, tlv->size);
        return !in->failed;
}

static struct dog_bytes stamp_tlvs_of(const void *packet, size_t size, const uint8_t *key)
{
        struct dog_bytes in = dog_bytes_in(packet, size);
        dog_read_skip(&in, dog_stamp_base_size(key));
        return in;
}

enum dog_stamp_drop dog_stamp_tlvs_check(const void *packet, size_t size, const uint8_t *key)
{
        const uint8_t *octets = packet;
        size_t base = dog_stamp_base_size(key);
        struct dog_bytes in = stamp_tlvs_of(packet, size, key);
        struct dog_stamp_tlv tlv;
        bool is_verified = false;
        size_t padding = 0;
        size_t others = 0;
        while (dog_stamp_tlv_next(&in, &tlv)) {
                if (tlv.type == DOG_STAMP_TLV_PADDING) {
                        padding++;
                        continue;
                }
                /* Behind the HMAC TLV only padding may stand: anything else is not covered. */
                if (is_verified)
                        return DOG_STAMP_BAD_TLV_TAG;
                others++;
                if (tlv.type != DOG_STAMP_TLV_HMAC || !key)
                        continue;
                uint8_t tag[DOG_STAMP_TAG_SIZE];
                if (tlv.size != sizeof(tag))
                        return DOG_STAMP_BAD_TLV_TAG;
                stamp_hmac(tag, key, octets, STAMP_SEQ_SIZE, octets + base, tlv.at - base);
                if (sodium_memcmp(tag, tlv.value, sizeof(tag)) != 0)
                        return DOG_STAMP_BAD_TLV_TAG;
                is_verified = true;
        }
        if (in.failed)
                return DOG_STAMP_BAD_TLV;
        if (key && !is_verified && (others > 0 || padding > 1))
                return DOG_STAMP_BAD_TLV_TAG;
        return DOG_STAMP_FINE;
}

void dog_stamp_direct_write(uint8_t to[DOG_STAMP_DIRECT_SIZE], const struct dog_stamp_direct *d)
{
        struct dog_bytes out = dog_bytes_of(to, DOG_STAMP_DIRECT_SIZE);
        dog_write_u32(&out, d->sender_tx);
        dog_write_u32(&out, d->reflector_rx);
        dog_write_u32(&out, d->reflector_tx);
}

bool dog_stamp_direct_read(const struct dog_stamp_tlv *tlv, struct dog_stamp_direct *d)
{
        struct dog_bytes in = dog_bytes_in(tlv->value, tlv->size);
        d->sender_tx = dog_read_u32(&in);
        d->reflector_rx = dog_read_u32(&in);
        d->reflector_tx = dog_read_u32(&in);
        return !in.failed && dog_bytes_left(&in) == 0;
}

/* ---- our report ---- */

size_t dog_stamp_report_size(unsigned groups)
{
        if (groups > DOG_STAMP_REPORT_GROUPS)
                groups = DOG_STAMP_REPORT_GROUPS;
        return DOG_STAMP_REPORT_SIZE + (size_t)groups * DOG_STAMP_REPORT_GROUP_SIZE;
}

/* The counters of a report, in the order they have on the wire. */
#define STAMP_REPORT_FIELDS(X)                                                                               \
        X(at_ns)                                                                                             \
        X(received)                                                                                          \
        X(bytes)                                                                                             \
        X(first)                                                                                             \
        X(duplicate)                                                                                         \
        X(late)                                                                                              \
        X(reordered)                                                                                         \
        X(expected)                                                                                          \
        X(bad_tag)                                                                                           \
        X(delay_count)

bool dog_stamp_report_write(uint8_t *to, size_t size, const struct dog_stamp_report *r)
{
        if (size < DOG_STAMP_REPORT_SIZE)
                return false;
        size_t room = (size - DOG_STAMP_REPORT_SIZE) / DOG_STAMP_REPORT_GROUP_SIZE;
        uint8_t groups = r->groups < DOG_STAMP_REPORT_GROUPS ? r->groups : DOG_STAMP_REPORT_GROUPS;
        if (groups > room)
                groups = (uint8_t)room;
        struct dog_bytes out = dog_bytes_of(to, size);
        dog_write_u32(&out, DOG_STAMP_REPORT_MAGIC);
        dog_write_u16(&out, r->tunnel);
        dog_write_u8(&out, r->path);
        dog_write_u8(&out, groups);
        dog_write_u32(&out, r->epoch);
        dog_write_zero(&out, 4);
#define STAMP_REPORT_PUT(field) dog_write_u64(&out, r->field);
        STAMP_REPORT_FIELDS(STAMP_REPORT_PUT)
#undef STAMP_REPORT_PUT
        dog_write_u64(&out, (uint64_t)r->delay_sum_ns);
        dog_write_u64(&out, (uint64_t)r->delay_min_ns);
        for (unsigned i = 0; i < groups; i++) {
                dog_write_u16(&out, r->group[i].group);
                dog_write_zero(&out, 2);
                dog_write_u64(&out, r->group[i].packets);
                dog_write_u64(&out, r->group[i].bytes);
                dog_write_u64(&out, r->group[i].newest_seq);
        }
        dog_write_zero(&out, dog_bytes_left(&out));
        return !out.failed;
}

bool dog_stamp_report_read(const struct dog_stamp_tlv *tlv, struct dog_stamp_report *r)
{
        *r = (struct dog_stamp_report){0};
        if (tlv->type != DOG_STAMP_TLV_REPORT)
                return false;
        struct dog_bytes in = dog_bytes_in(tlv->value, tlv->size);
        uint32_t magic = dog_read_u32(&in);
        r->tunnel = dog_read_u16(&in);
        r->path = dog_read_u8(&in);
        r->groups = dog_read_u8(&in);
        r->epoch = dog_read_u32(&in);
        dog_read_skip(&in, 4);
#define STAMP_REPORT_GET(field) r->field = dog_read_u64(&in);
        STAMP_REPORT_FIELDS(STAMP_REPORT_GET)
#undef STAMP_REPORT_GET
        r->delay_sum_ns = (int64_t)dog_read_u64(&in);
        r->delay_min_ns = (int64_t)dog_read_u64(&in);
        if (in.failed || magic != DOG_STAMP_REPORT_MAGIC || r->groups > DOG_STAMP_REPORT_GROUPS)
                return false;
        for (unsigned i = 0; i < r->groups; i++) {
                r->group[i].group = dog_read_u16(&in);
                dog_read_skip(&in, 2);
                r->group[i].packets = dog_read_u64(&in);
                r->group[i].bytes = dog_read_u64(&in);
                r->group[i].newest_seq = dog_read_u64(&in);
        }
        return !in.failed;
}

void dog_stamp_notice_write(uint8_t to[DOG_STAMP_NOTICE_SIZE], const struct dog_stamp_notice *n)
{
        struct dog_bytes out = dog_bytes_of(to, DOG_STAMP_NOTICE_SIZE);
        dog_write_u32(&out, DOG_STAMP_NOTICE_MAGIC);
        dog_write_u16(&out, n->tunnel);
        dog_write_u16(&out, n->class);
        dog_write_u32(&out, n->silent_ms);
        dog_write_u64(&out, n->newest_seq);
}

bool dog_stamp_notice_read(const struct dog_stamp_tlv *tlv, struct dog_stamp_notice *n)
{
        struct dog_bytes in = dog_bytes_in(tlv->value, tlv->size);
        if (tlv->size != DOG_STAMP_NOTICE_SIZE || dog_read_u32(&in) != DOG_STAMP_NOTICE_MAGIC)
                return false;
        n->tunnel = dog_read_u16(&in);
        n->class = dog_read_u16(&in);
        n->silent_ms = dog_read_u32(&in);
        n->newest_seq = dog_read_u64(&in);
        return !in.failed;
}

/* ---- reflecting ---- */

/* Fill in the value of one TLV of the answer. @return its flags */
static uint8_t stamp_reflect_tlv(const struct dog_stamp_reflect *how, const struct dog_stamp_tlv *tlv,
                                 uint8_t *value)
{
        switch (tlv->type) {
        case DOG_STAMP_TLV_PADDING:
                return 0;
        case DOG_STAMP_TLV_DIRECT: {
                struct dog_stamp_direct d;
                if (!how->has_counts)
                        return DOG_STAMP_TLV_UNRECOGNISED;
                if (!dog_stamp_direct_read(tlv, &d))
                        return DOG_STAMP_TLV_MALFORMED;
                d.reflector_rx = how->rx;
                d.reflector_tx = how->tx;
                dog_stamp_direct_write(value, &d);
                return 0;
        }
        case DOG_STAMP_TLV_HMAC:
                /* Without a key there is nothing to check it with; with one it has been checked. */
                if (!how->key)
                        return DOG_STAMP_TLV_UNRECOGNISED;
                return tlv->size == DOG_STAMP_TAG_SIZE ? 0 : DOG_STAMP_TLV_MALFORMED;
        case DOG_STAMP_TLV_REPORT: {
                struct dog_stamp_report asked;
                struct dog_stamp_report r = {0};
                /* Counters are for those who have the key. */
                if (!how->key || !how->report || !dog_stamp_report_read(tlv, &asked) ||
                    !how->report(how->user, asked.tunnel, asked.path, &r))
                        return DOG_STAMP_TLV_UNRECOGNISED;
                r.tunnel = asked.tunnel;
                r.path = asked.path;
                dog_stamp_report_write(value, tlv->size, &r);
                return 0;
        }
        case DOG_STAMP_TLV_NOTICE: {
                struct dog_stamp_notice n;
                if (!how->key || !how->notice || !dog_stamp_notice_read(tlv, &n) ||
                    !how->notice(how->user, &n))
                        return DOG_STAMP_TLV_UNRECOGNISED;
                return 0;
        }
        default:
                return DOG_STAMP_TLV_UNRECOGNISED;
        }
}

static void stamp_reflect_tlvs(const struct dog_stamp_reflect *how, const void *request, size_t size,
                               uint8_t *reply, bool is_verified)
{
        size_t base = dog_stamp_base_size(how->key);
        struct dog_bytes in = stamp_tlvs_of(request, size, how->key);
        struct dog_stamp_tlv tlv = {0};
        while (dog_stamp_tlv_next(&in, &tlv)) {
                if (!is_verified) {
                        reply[tlv.at] = (uint8_t)(tlv.flags | DOG_STAMP_TLV_INTEGRITY);
                        continue;
                }
                uint8_t *value = reply + tlv.at + DOG_STAMP_TLV_HEAD;
                reply[tlv.at] = stamp_reflect_tlv(how, &tlv, value);
                if (how->key && tlv.type == DOG_STAMP_TLV_HMAC)
                        stamp_hmac(value, how->key, reply, STAMP_SEQ_SIZE, reply + base, tlv.at - base);
        }
        /* The rest is not a TLV: it goes back as it came, marked if there is an octet for the mark. */
        if (in.failed)
                reply[tlv.at] |= DOG_STAMP_TLV_MALFORMED;
}

enum dog_stamp_drop dog_stamp_reflect(const struct dog_stamp_reflect *how, const void *request, size_t size,
                                      uint8_t *reply)
{
        if (size > DOG_STAMP_MOST)
                return DOG_STAMP_LONG;
        struct dog_stamp_probe p;
        enum dog_stamp_drop drop = dog_stamp_probe_read(request, size, how->key, &p);
        if (drop != DOG_STAMP_FINE)
                return drop;
        drop = dog_stamp_tlvs_check(request, size, how->key);
        bool is_verified = drop == DOG_STAMP_FINE || !how->key;
        if (!is_verified && !how->answers_unverified)
                return drop;
        struct dog_stamp_reply r = {
                .seq = how->is_stateful ? how->seq : p.seq,
                .sent = how->sent,
                .clock = how->clock,
                .ssid = p.ssid,
                .received = how->received,
                .probe_seq = p.seq,
                .probe_sent = p.sent,
                .probe_clock = p.clock,
                .probe_ttl = how->ttl,
        };
        memcpy(reply, request, size);
        struct dog_bytes out = dog_bytes_of(reply, size);
        dog_stamp_reply_write(&out, &r, how->key);
        stamp_reflect_tlvs(how, request, size, reply, is_verified);
        return DOG_STAMP_FINE;
}
