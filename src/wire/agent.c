#include "wire/agent.h"

#include "base/clock.h"

#include <sodium.h>
#include <string.h>

_Static_assert(DOG_AGENT_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "the tag");
_Static_assert(DOG_AGENT_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the key");

enum {
        AGENT_MAGIC = 0x53444131, /* "SDA1" */
        AGENT_NONCE_AT = 8,       /* boot, sequence and time: 24 octets, as many as the nonce has */
        AGENT_V6 = 0x1,
        AGENT_CLOSED = 0x2,
        AGENT_CONNS_HEAD = 6,
};
#define AGENT_STEP_NS     (2 * DOG_S)
#define AGENT_RTT_MOST_NS (60 * DOG_S)
_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == 24, "the nonce");

static const uint8_t agent_v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

/* ---- words ---- */

const char *dog_agent_drop_word(enum dog_agent_drop d)
{
        static const char *const word[] = {[DOG_AGENT_FINE] = "fine",
#define X(name, w, text) [DOG_AGENT_##name] = (w),
                                           DOG_AGENT_DROPS(X)
#undef X
        };
        return d < DOG_AGENT_DROP_COUNT ? word[d] : "?";
}

const char *dog_agent_drop_text(enum dog_agent_drop d)
{
        static const char *const text[] = {[DOG_AGENT_FINE] = "used",
#define X(name, word, t) [DOG_AGENT_##name] = (t),
                                           DOG_AGENT_DROPS(X)
#undef X
        };
        return d < DOG_AGENT_DROP_COUNT ? text[d] : "?";
}

const char *dog_agent_status_word(enum dog_agent_status s)
{
        static const char *const word[] = {
#define X(name, w, text) [DOG_AGENT_##name] = (w),
                DOG_AGENT_STATUSES(X)
#undef X
        };
        return s < DOG_AGENT_STATUS_COUNT ? word[s] : "?";
}

const char *dog_agent_status_text(enum dog_agent_status s)
{
        static const char *const text[] = {
#define X(name, word, t) [DOG_AGENT_##name] = (t),
                DOG_AGENT_STATUSES(X)
#undef X
        };
        return s < DOG_AGENT_STATUS_COUNT ? text[s] : "?";
}

const char *dog_agent_role_word(enum dog_agent_role r)
{
        static const char *const word[] = {
#define X(name, w) [DOG_AGENT_##name] = (w),
                DOG_AGENT_ROLES(X)
#undef X
        };
        return r < DOG_AGENT_ROLE_COUNT ? word[r] : "?";
}

static const struct {
        const char *word, *text;
} agent_shim_row[] = {
#define X(name, word, text) [DOG_AGENT_##name] = {word, text},
        DOG_AGENT_SHIMS(X)
#undef X
};

const char *dog_agent_shim_word(enum dog_agent_shim_state s)
{
        return s < DOG_AGENT_SHIM_COUNT ? agent_shim_row[s].word : "?";
}

const char *dog_agent_shim_text(enum dog_agent_shim_state s)
{
        return s < DOG_AGENT_SHIM_COUNT ? agent_shim_row[s].text : "?";
}

static bool name_letter_is_good(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '-' || c == '_';
}

bool dog_agent_name_is_good(const char *name)
{
        size_t n = 0;
        while (n <= DOG_AGENT_NAME && name_letter_is_good(name[n]))
                n++;
        return n > 0 && n <= DOG_AGENT_NAME && name[n] == 0;
}

/* ---- keys and sealing ---- */

static void agent_key_derive(uint8_t key[DOG_AGENT_KEY], const uint8_t secret[32], const char *name,
                             uint8_t direction)
{
        static const char label[] = "sundog agent key 1";
        uint8_t input[64] = {0};
        struct dog_bytes in = dog_bytes_of(input, sizeof(input));
        dog_write_copy(&in, label, sizeof(label));
        dog_write_u8(&in, direction);
        dog_write_copy(&in, name, strnlen(name, DOG_AGENT_NAME));
        crypto_generichash(key, DOG_AGENT_KEY, input, sizeof(input), secret, 32);
}

void dog_agent_keys_derive(struct dog_agent_keys *keys, const uint8_t secret[32], const char *name)
{
        agent_key_derive(keys->to_front, secret, name, 'f');
        agent_key_derive(keys->to_agent, secret, name, 'a');
}

enum dog_agent_drop dog_agent_head_read(const void *packet, size_t size, struct dog_agent_head *head)
{
        if (size > DOG_AGENT_MOST)
                return DOG_AGENT_LONG;
        if (size < DOG_AGENT_HEAD + DOG_AGENT_TAG)
                return DOG_AGENT_SHORT;
        struct dog_bytes in = dog_bytes_in(packet, size);
        uint32_t magic = dog_read_u32(&in);
        uint8_t type = dog_read_u8(&in);
        unsigned zero = dog_read_u8(&in);
        zero |= dog_read_u16(&in);
        *head = (struct dog_agent_head){.boot = dog_read_u64(&in)};
        head->seq = dog_read_u64(&in);
        uint64_t sent = dog_read_u64(&in);
        dog_read_copy(&in, head->name, DOG_AGENT_NAME);
        if (magic != AGENT_MAGIC || type < DOG_AGENT_REPORT || type > DOG_AGENT_STATUS || zero ||
            sent > INT64_MAX)
                return DOG_AGENT_NOT_OURS;
        head->type = (enum dog_agent_type)type;
        head->sent_wall_ns = (int64_t)sent;
        /* One spelling only: after the name nothing but zeros. */
        for (size_t i = strlen(head->name); i < DOG_AGENT_NAME; i++)
                if (head->name[i])
                        return DOG_AGENT_NOT_OURS;
        return dog_agent_name_is_good(head->name) ? DOG_AGENT_FINE : DOG_AGENT_NOT_OURS;
}

enum dog_agent_drop dog_agent_open(const void *packet, size_t size, const uint8_t key[DOG_AGENT_KEY],
                                   struct dog_agent_head *head, uint8_t body[DOG_AGENT_BODY],
                                   size_t *body_size)
{
        enum dog_agent_drop drop = dog_agent_head_read(packet, size, head);
        if (drop != DOG_AGENT_FINE)
                return drop;
        const uint8_t *at = packet;
        uint8_t plain[DOG_AGENT_BODY];
        unsigned long long n = 0;
        if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, &n, NULL, at + DOG_AGENT_HEAD,
                                                       size - DOG_AGENT_HEAD, at, DOG_AGENT_HEAD,
                                                       at + AGENT_NONCE_AT, key) != 0)
                return DOG_AGENT_BAD_TAG;
        memcpy(body, plain, (size_t)n);
        *body_size = (size_t)n;
        return DOG_AGENT_FINE;
}

size_t dog_agent_seal(uint8_t packet[DOG_AGENT_MOST], const struct dog_agent_head *head, const void *body,
                      size_t body_size, const uint8_t key[DOG_AGENT_KEY])
{
        struct dog_bytes out = dog_bytes_of(packet, DOG_AGENT_MOST);
        dog_write_u32(&out, AGENT_MAGIC);
        dog_write_u8(&out, (uint8_t)head->type);
        dog_write_zero(&out, 3);
        dog_write_u64(&out, head->boot);
        dog_write_u64(&out, head->seq);
        dog_write_u64(&out, (uint64_t)head->sent_wall_ns);
        size_t length = strnlen(head->name, DOG_AGENT_NAME);
        dog_write_copy(&out, head->name, length);
        dog_write_zero(&out, DOG_AGENT_NAME - length);
        unsigned long long sealed = 0;
        crypto_aead_xchacha20poly1305_ietf_encrypt(packet + DOG_AGENT_HEAD, &sealed, body, body_size, packet,
                                                   DOG_AGENT_HEAD, NULL, packet + AGENT_NONCE_AT, key);
        return DOG_AGENT_HEAD + (size_t)sealed;
}

void dog_agent_voice_stamp(struct dog_agent_voice *v, struct dog_agent_head *head, int64_t wall_ns)
{
        if (v->boot == 0 || v->sent_wall_ns - wall_ns > AGENT_STEP_NS) {
                *v = (struct dog_agent_voice){.seq = 0};
                while (v->boot == 0)
                        randombytes_buf(&v->boot, sizeof(v->boot));
        }
        v->sent_wall_ns = wall_ns > v->sent_wall_ns ? wall_ns : v->sent_wall_ns + 1;
        head->boot = v->boot;
        head->seq = ++v->seq;
        head->sent_wall_ns = v->sent_wall_ns;
}

/* ---- replay ---- */

static bool ear_was_before(const struct dog_agent_ear *ear, uint64_t boot)
{
        unsigned n = ear->befores < DOG_AGENT_BOOTS ? ear->befores : DOG_AGENT_BOOTS;
        for (unsigned i = 0; i < n; i++)
                if (ear->before[i] == boot)
                        return true;
        return false;
}

static void ear_note(struct dog_agent_ear *ear, const struct dog_agent_head *head, int64_t now_ns)
{
        uint64_t ahead = head->seq - ear->newest_seq;
        if (head->seq > ear->newest_seq) {
                ear->seen = (ahead < 64 ? ear->seen << ahead : 0) | 1;
                ear->newest_seq = head->seq;
        } else {
                ear->seen |= UINT64_C(1) << (ear->newest_seq - head->seq);
        }
        if (head->sent_wall_ns > ear->newest_sent_wall_ns)
                ear->newest_sent_wall_ns = head->sent_wall_ns;
        ear->heard_ns = now_ns;
}

/* A boot that is not the present one. */
static enum dog_agent_drop ear_boot(struct dog_agent_ear *ear, const struct dog_agent_head *head,
                                    int64_t now_ns, int64_t silence_ns)
{
        if (ear_was_before(ear, head->boot))
                return DOG_AGENT_OLD_BOOT;
        bool is_silent = now_ns - ear->heard_ns > silence_ns;
        if (ear->newest_seq && head->sent_wall_ns <= ear->newest_sent_wall_ns && !is_silent)
                return DOG_AGENT_OLD_BOOT;
        if (ear->newest_seq)
                ear->before[ear->befores++ % DOG_AGENT_BOOTS] = ear->boot;
        ear->boot = head->boot;
        ear->newest_seq = ear->seen = 0;
        ear->newest_sent_wall_ns = 0;
        return DOG_AGENT_FINE;
}

enum dog_agent_drop dog_agent_ear_take(struct dog_agent_ear *ear, const struct dog_agent_head *head,
                                       int64_t now_ns, int64_t wall_ns, int64_t skew_ns, int64_t silence_ns)
{
        /* Both are 0 .. INT64_MAX: no overflow. */
        int64_t apart_ns = head->sent_wall_ns - wall_ns;
        if (apart_ns > skew_ns || apart_ns < -skew_ns)
                return DOG_AGENT_BAD_TIME;
        if (head->seq == 0)
                return DOG_AGENT_REPLAYED;
        if (ear->newest_seq == 0 || head->boot != ear->boot) {
                enum dog_agent_drop drop = ear_boot(ear, head, now_ns, silence_ns);
                if (drop == DOG_AGENT_FINE)
                        ear_note(ear, head, now_ns);
                return drop;
        }
        if (head->seq <= ear->newest_seq) {
                uint64_t behind = ear->newest_seq - head->seq;
                if (behind >= 64 || (ear->seen >> behind & 1))
                        return DOG_AGENT_REPLAYED;
        } else if (head->sent_wall_ns < ear->newest_sent_wall_ns) {
                return DOG_AGENT_BAD_TIME;
        }
        ear_note(ear, head, now_ns);
        return DOG_AGENT_FINE;
}

/* ---- parts of bodies ---- */

static void agent_write_double(struct dog_bytes *out, double v)
{
        uint64_t bits;
        memcpy(&bits, &v, sizeof(bits));
        dog_write_u64(out, bits);
}

static double agent_read_double(struct dog_bytes *in)
{
        uint64_t bits = dog_read_u64(in);
        double v;
        memcpy(&v, &bits, sizeof(v));
        return v;
}

/* A time or a length that must not be negative once read. */
static int64_t agent_read_positive(struct dog_bytes *in)
{
        uint64_t v = dog_read_u64(in);
        if (v > INT64_MAX)
                in->failed = true;
        return in->failed ? 0 : (int64_t)v;
}

int64_t dog_agent_echo_rtt_ns(const struct dog_agent_echo *e, int64_t wall_ns)
{
        /* All three are 0 .. INT64_MAX; the order keeps every difference within that. */
        if (e->sent_wall_ns <= 0 || e->sent_wall_ns >= wall_ns || e->held_ns >= wall_ns - e->sent_wall_ns)
                return 0;
        int64_t rtt_ns = wall_ns - e->sent_wall_ns - e->held_ns;
        return rtt_ns < AGENT_RTT_MOST_NS ? rtt_ns : 0;
}

static void agent_write_echo(struct dog_bytes *out, const struct dog_agent_echo *e)
{
        dog_write_u64(out, (uint64_t)e->sent_wall_ns);
        dog_write_u64(out, (uint64_t)e->held_ns);
        dog_write_u64(out, e->seq);
}

static struct dog_agent_echo agent_read_echo(struct dog_bytes *in)
{
        struct dog_agent_echo e = {.sent_wall_ns = agent_read_positive(in)};
        e.held_ns = agent_read_positive(in);
        e.seq = dog_read_u64(in);
        return e;
}

static bool agent_flow_is_v4(const struct dog_agent_flow *f)
{
        return memcmp(f->local, agent_v4_mapped, 12) == 0 && memcmp(f->remote, agent_v4_mapped, 12) == 0;
}

static void agent_write_flow(struct dog_bytes *out, const struct dog_agent_flow *f)
{
        size_t skip = agent_flow_is_v4(f) ? 12 : 0;
        dog_write_u16(out, f->local_port);
        dog_write_u16(out, f->remote_port);
        dog_write_copy(out, f->local + skip, 16 - skip);
        dog_write_copy(out, f->remote + skip, 16 - skip);
}

static void agent_read_flow(struct dog_bytes *in, struct dog_agent_flow *f, bool is_v6)
{
        size_t skip = is_v6 ? 0 : 12;
        *f = (struct dog_agent_flow){0};
        f->local_port = dog_read_u16(in);
        f->remote_port = dog_read_u16(in);
        if (!is_v6) {
                memcpy(f->local, agent_v4_mapped, 12);
                memcpy(f->remote, agent_v4_mapped, 12);
        }
        dog_read_copy(in, f->local + skip, 16 - skip);
        dog_read_copy(in, f->remote + skip, 16 - skip);
        /* One spelling only: IPv4 in sixteen octets would be the same connection written differently. */
        if (is_v6 && agent_flow_is_v4(f))
                in->failed = true;
}

/* Read to the end, and nothing left over. */
static bool agent_is_whole(const struct dog_bytes *in)
{
        return !in->failed && in->at == in->size;
}

static size_t agent_written(const struct dog_bytes *out)
{
        return out->failed ? 0 : out->at;
}

/* ---- report ---- */

size_t dog_agent_report_write(uint8_t body[DOG_AGENT_BODY], const struct dog_agent_report *r)
{
        struct dog_bytes out = dog_bytes_of(body, DOG_AGENT_BODY);
        uint8_t known = 0;
        for (int i = 0; i < DOG_VITAL_COUNT; i++)
                known = (uint8_t)(known + !isnan(r->vitals.value[i]));
        dog_write_u32(&out, r->period_ms);
        dog_write_u16(&out, r->processors);
        dog_write_u32(&out, r->conns);
        agent_write_echo(&out, &r->echo);
        dog_write_u8(&out, known);
        for (int i = 0; i < DOG_VITAL_COUNT; i++) {
                if (isnan(r->vitals.value[i]))
                        continue;
                dog_write_u8(&out, (uint8_t)i);
                agent_write_double(&out, r->vitals.value[i]);
        }
        dog_write_u8(&out, (uint8_t)r->shim.state);
        dog_write_u8(&out, r->shim.tags);
        for (unsigned i = 0; i < r->shim.tags && i < DOG_AGENT_SHIM_TAGS; i++)
                dog_write_u64(&out, r->shim.tag[i]);
        return agent_written(&out);
}

bool dog_agent_report_read(const uint8_t *body, size_t size, struct dog_agent_report *r)
{
        struct dog_bytes in = dog_bytes_in(body, size);
        *r = (struct dog_agent_report){.vitals = dog_vitals_unknown()};
        r->period_ms = dog_read_u32(&in);
        r->processors = dog_read_u16(&in);
        r->conns = dog_read_u32(&in);
        r->echo = agent_read_echo(&in);
        unsigned n = dog_read_u8(&in);
        for (unsigned i = 0; i < n && !in.failed; i++) {
                uint8_t vital = dog_read_u8(&in);
                double value = agent_read_double(&in);
                if (vital < DOG_VITAL_COUNT)
                        r->vitals.value[vital] = value;
        }
        uint8_t state = dog_read_u8(&in);
        r->shim.state = state < DOG_AGENT_SHIM_COUNT ? (enum dog_agent_shim_state)state : DOG_AGENT_SHIM_NONE;
        r->shim.tags = dog_read_u8(&in);
        if (r->shim.tags > DOG_AGENT_SHIM_TAGS)
                return false;
        for (unsigned i = 0; i < r->shim.tags; i++)
                r->shim.tag[i] = dog_read_u64(&in);
        return agent_is_whole(&in);
}

/* ---- connections ---- */

static size_t agent_conn_size(const struct dog_agent_conn *c)
{
        return agent_flow_is_v4(&c->flow) ? 46 : 70;
}

unsigned dog_agent_conns_fit(const struct dog_agent_conn *conn, unsigned n)
{
        size_t used = AGENT_CONNS_HEAD;
        unsigned fit = 0;
        for (; fit < n && fit < DOG_AGENT_PAGE; fit++) {
                used += agent_conn_size(&conn[fit]);
                if (used > DOG_AGENT_BODY)
                        break;
        }
        return fit;
}

size_t dog_agent_conns_write(uint8_t body[DOG_AGENT_BODY], const struct dog_agent_conns *c)
{
        struct dog_bytes out = dog_bytes_of(body, DOG_AGENT_BODY);
        if (c->count > DOG_AGENT_PAGE)
                return 0;
        dog_write_u32(&out, c->round);
        dog_write_u16(&out, c->count);
        for (unsigned i = 0; i < c->count; i++) {
                const struct dog_agent_conn *one = &c->conn[i];
                unsigned v6 = agent_flow_is_v4(&one->flow) ? 0 : AGENT_V6;
                dog_write_u8(&out, (uint8_t)(v6 | (one->is_closed ? AGENT_CLOSED : 0)));
                dog_write_u8(&out, one->state);
                agent_write_flow(&out, &one->flow);
                dog_write_u32(&out, one->age_ms);
                dog_write_u64(&out, one->acked);
                dog_write_u64(&out, one->received);
                dog_write_u32(&out, one->rtt_us);
                dog_write_u32(&out, one->resent);
                dog_write_u32(&out, one->unsent_bytes);
        }
        return agent_written(&out);
}

bool dog_agent_conns_read(const uint8_t *body, size_t size, struct dog_agent_conns *c)
{
        struct dog_bytes in = dog_bytes_in(body, size);
        c->round = dog_read_u32(&in);
        c->count = dog_read_u16(&in);
        if (c->count > DOG_AGENT_PAGE)
                return false;
        for (unsigned i = 0; i < c->count && !in.failed; i++) {
                struct dog_agent_conn *one = &c->conn[i];
                uint8_t flags = dog_read_u8(&in);
                if (flags & ~(AGENT_V6 | AGENT_CLOSED))
                        return false;
                *one = (struct dog_agent_conn){.is_closed = flags & AGENT_CLOSED};
                one->state = dog_read_u8(&in);
                agent_read_flow(&in, &one->flow, flags & AGENT_V6);
                one->age_ms = dog_read_u32(&in);
                one->acked = dog_read_u64(&in);
                one->received = dog_read_u64(&in);
                one->rtt_us = dog_read_u32(&in);
                one->resent = dog_read_u32(&in);
                one->unsent_bytes = dog_read_u32(&in);
        }
        return agent_is_whole(&in);
}

/* ---- answer ---- */

size_t dog_agent_answer_write(uint8_t body[DOG_AGENT_BODY], const struct dog_agent_answer *a)
{
        struct dog_bytes out = dog_bytes_of(body, DOG_AGENT_BODY);
        agent_write_echo(&out, &a->echo);
        dog_write_u8(&out, a->wants);
        dog_write_u8(&out, (uint8_t)a->role);
        dog_write_u32(&out, a->period_ms);
        dog_write_u32(&out, a->datagrams_per_s);
        agent_write_double(&out, a->score);
        return agent_written(&out);
}

bool dog_agent_answer_read(const uint8_t *body, size_t size, struct dog_agent_answer *a)
{
        struct dog_bytes in = dog_bytes_in(body, size);
        *a = (struct dog_agent_answer){.echo = agent_read_echo(&in)};
        a->wants = dog_read_u8(&in);
        uint8_t role = dog_read_u8(&in);
        a->role = role < DOG_AGENT_ROLE_COUNT ? (enum dog_agent_role)role : DOG_AGENT_ROLE_UNKNOWN;
        a->period_ms = dog_read_u32(&in);
        a->datagrams_per_s = dog_read_u32(&in);
        a->score = agent_read_double(&in);
        if (!(a->score >= 0 && a->score <= 1))
                a->score = (double)NAN;
        return agent_is_whole(&in);
}

/* ---- status ---- */

size_t dog_agent_page_write(uint8_t body[DOG_AGENT_BODY], const struct dog_agent_page *p)
{
        struct dog_bytes out = dog_bytes_of(body, DOG_AGENT_BODY);
        if (p->count > DOG_AGENT_PAGE)
                return 0;
        dog_write_u16(&out, p->count);
        for (unsigned i = 0; i < p->count; i++) {
                dog_write_u8(&out, agent_flow_is_v4(&p->told[i].flow) ? 0 : AGENT_V6);
                dog_write_u8(&out, (uint8_t)p->told[i].status);
                agent_write_flow(&out, &p->told[i].flow);
        }
        return agent_written(&out);
}

bool dog_agent_page_read(const uint8_t *body, size_t size, struct dog_agent_page *p)
{
        struct dog_bytes in = dog_bytes_in(body, size);
        p->count = dog_read_u16(&in);
        if (p->count > DOG_AGENT_PAGE)
                return false;
        for (unsigned i = 0; i < p->count && !in.failed; i++) {
                uint8_t flags = dog_read_u8(&in);
                uint8_t status = dog_read_u8(&in);
                if (flags & ~AGENT_V6)
                        return false;
                /* A status of a later version is one that we were not told. */
                p->told[i].status =
                        status < DOG_AGENT_STATUS_COUNT ? (enum dog_agent_status)status : DOG_AGENT_UNTOLD;
                agent_read_flow(&in, &p->told[i].flow, flags & AGENT_V6);
        }
        return agent_is_whole(&in);
}
