#include "sources/agent.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "sources/stamp.h"
#include "sources/stamp_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum {
        AGENTS_BATCH = 256,   /* datagrams taken in one call */
        AGENTS_SOURCES = 256, /* buckets by source address */
        AGENTS_RATE = 500,
        AGENTS_CONNS = 65536,
        AGENTS_DOUBT_AFTER = 3,    /* reports in a row that differ, before the whole is doubted */
        AGENTS_BELIEVE_AFTER = 10, /* ... that agree, before it is believed again */
        AGENTS_SILENT_PERIODS = 3,
};

#define AGENTS_SKEW      (300 * DOG_S)
#define AGENTS_PERIOD    (1 * DOG_S) /* as long as the agent has not said another */
#define AGENTS_PERIOD_LO (100 * DOG_MS)
#define AGENTS_PERIOD_HI (60 * DOG_S)
#define AGENTS_SAY       (60 * DOG_S) /* one sentence in so long */
#define AGENTS_ROUNDS    3 /* a connection that so many passes over the table did not name is gone */
#define AGENTS_CLOSED    (10 * DOG_S) /* a closed one is shown for so long */

/* A token bucket of one second. */
struct agents_bucket {
        int64_t at_ns;
        double tokens;
};

struct agents_doubt {
        unsigned apart, agreed; /* reports in a row */
        bool is_doubted;
};

/* The address without the port: a flood that changes ports is one flood. */
struct agents_address {
        uint8_t octet[16];
};

struct agents_one {
        char name[DOG_AGENT_NAME + 1];
        void *tag;
        struct dog_agent_keys keys;
        struct dog_agent_ear ear;
        struct agents_bucket bucket, unverified;
        struct agents_address from; /* where it was verified last */
        bool has_from;
        struct dog_conn_map *conns;
        struct dog_agent_state state;
        struct agents_doubt doubt[DOG_VITAL_COUNT];
        struct dog_agent_measured measured;
        int64_t measured_ns;
        int64_t period_ns;
        int64_t swept_ns;
        enum dog_agent_role role;
        double score;
        uint32_t round; /* of the newest page */
};

struct dog_agents {
        struct dog_agents_conf conf;
        struct agents_one *one[DOG_AGENTS_MOST];
        unsigned n;
        struct dog_agent_voice voice;
        int64_t said_ns[DOG_AGENT_DROP_COUNT];
        uint64_t said_dropped[DOG_AGENT_DROP_COUNT];
        struct agents_bucket source[AGENTS_SOURCES];
        uint8_t seed[crypto_shorthash_KEYBYTES];
        struct dog_agents_stats stats;
};

const char *dog_agents_event_word(enum dog_agents_event ev)
{
        static const char *const word[] = {"heard", "silent", "restarted", "doubted", "believed"};
        return ev < ARRAY_SIZE(word) ? word[ev] : "?";
}

/* ---- making and changing ---- */

int dog_agents_new(struct dog_agents **a, const struct dog_agents_conf *conf, struct dog_err *e)
{
        if ((conf->factor != 0 && !(conf->factor >= 1.5)) || conf->skew_ns < 0)
                return dog_err_set(e, -EINVAL, "agents: the factor is at least 1.5, the skew not negative");
        if (sodium_init() < 0)
                return dog_err_set(e, -EINVAL, "agents: libsodium cannot be used");
        int rc = conf->fd >= 0 ? dog_stamp_socket_prepare(conf->fd, e) : 0;
        if (rc < 0)
                return dog_err_prefix(e, rc, "agents");
        struct dog_agents *made = calloc(1, sizeof(*made));
        if (!made)
                return dog_err_set(e, -ENOMEM, "agents: no memory");
        made->conf = *conf;
        /* Many agents report in the same instant. What the kernel does not grant, it does not: best effort.
         */
        static const int room = 4 << 20;
        if (conf->fd >= 0)
                setsockopt(conf->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
        if (conf->skew_ns == 0)
                made->conf.skew_ns = AGENTS_SKEW;
        if (conf->factor == 0)
                made->conf.factor = 4;
        if (conf->rate_per_s == 0)
                made->conf.rate_per_s = AGENTS_RATE;
        if (conf->conns_most == 0)
                made->conf.conns_most = AGENTS_CONNS;
        randombytes_buf(made->seed, sizeof(made->seed));
        *a = made;
        return 0;
}

void dog_agents_free(struct dog_agents *a)
{
        if (!a)
                return;
        for (unsigned i = 0; i < a->n; i++) {
                dog_conn_map_free(a->one[i]->conns);
                sodium_memzero(&a->one[i]->keys, sizeof(a->one[i]->keys));
                free(a->one[i]);
        }
        free(a);
}

static struct agents_one *agents_find(const struct dog_agents *a, const char *name)
{
        for (unsigned i = 0; i < a->n; i++)
                if (strcmp(a->one[i]->name, name) == 0)
                        return a->one[i];
        return NULL;
}

int dog_agents_add(struct dog_agents *a, const char *name, const uint8_t secret[32], void *tag,
                   struct dog_err *e)
{
        if (!dog_agent_name_is_good(name))
                return dog_err_set(e, -EINVAL,
                                   "agent \"%.40s\": a name is 1 to %d letters, digits, '.', '-' or '_'",
                                   name, DOG_AGENT_NAME);
        if (agents_find(a, name))
                return dog_err_set(e, -EEXIST, "agent %s: two instances have this name", name);
        if (a->n == DOG_AGENTS_MOST)
                return dog_err_set(e, -ENOSPC, "agent %s: more than %d instances", name, DOG_AGENTS_MOST);
        struct agents_one *one = calloc(1, sizeof(*one));
        if (!one)
                return dog_err_set(e, -ENOMEM, "agent %s: no memory", name);
        int rc = dog_conn_map_new(&one->conns, a->conf.conns_most, e);
        if (rc < 0) {
                free(one);
                return rc;
        }
        memcpy(one->name, name, strlen(name) + 1);
        one->tag = tag;
        one->period_ns = AGENTS_PERIOD;
        one->score = (double)NAN;
        one->state.vitals = dog_vitals_unknown();
        dog_agent_keys_derive(&one->keys, secret, name);
        a->one[a->n] = one;
        return (int)a->n++;
}

void dog_agents_role_set(struct dog_agents *a, unsigned number, enum dog_agent_role role, double score)
{
        if (number >= a->n)
                return;
        a->one[number]->role = role;
        a->one[number]->score = score;
}

void dog_agents_measured(struct dog_agents *a, unsigned number, const struct dog_agent_measured *m,
                         int64_t now_ns)
{
        if (number >= a->n)
                return;
        a->one[number]->measured = *m;
        a->one[number]->measured_ns = now_ns;
}

/* ---- limits and sentences ---- */

static bool bucket_take(struct agents_bucket *b, unsigned per_s, int64_t now_ns)
{
        if (b->at_ns == 0) {
                b->tokens = per_s;
        } else if (now_ns > b->at_ns) {
                b->tokens += (double)(now_ns - b->at_ns) / (double)DOG_S * per_s;
                if (b->tokens > per_s)
                        b->tokens = per_s;
        }
        b->at_ns = now_ns;
        if (b->tokens < 1)
                return false;
        b->tokens -= 1;
        return true;
}

static struct agents_address agents_address_of(const struct sockaddr *from)
{
        struct agents_address address = {{0}};
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        if (from && from->sa_family == AF_INET) {
                memcpy(&v4, from, sizeof(v4));
                memcpy(address.octet, &v4.sin_addr, 4);
        } else if (from && from->sa_family == AF_INET6) {
                memcpy(&v6, from, sizeof(v6));
                memcpy(address.octet, &v6.sin6_addr, 16);
        }
        return address;
}

/*
 * The bucket for a datagram whose tag has not been looked at: verifying is what a flood would cost. Where an
 * agent was verified last it has one of its own, so that nobody who sends from elsewhere can use it up.
 */
static struct agents_bucket *agents_unverified(struct dog_agents *a, struct agents_one *one,
                                               const struct agents_address *from)
{
        uint8_t hash[crypto_shorthash_BYTES];
        if (one->has_from && memcmp(&one->from, from, sizeof(*from)) == 0)
                return &one->unverified;
        crypto_shorthash(hash, from->octet, sizeof(from->octet), a->seed);
        return &a->source[hash[0]];
}

static enum dog_agent_drop agents_drop(struct dog_agents *a, struct agents_one *one, enum dog_agent_drop drop,
                                       int64_t now_ns, const char *name)
{
        a->stats.dropped[drop]++;
        if (one)
                one->state.dropped[drop]++;
        bool is_told = drop == DOG_AGENT_BAD_TAG || drop == DOG_AGENT_UNKNOWN_NAME ||
                       drop == DOG_AGENT_BAD_TIME || drop == DOG_AGENT_OVER_RATE;
        if (!is_told || (a->said_ns[drop] && now_ns - a->said_ns[drop] < AGENTS_SAY))
                return drop;
        dog_log(DOG_LOG_WARN, "agent=%s event=refused reason=%s count=%llu: %s", name,
                dog_agent_drop_word(drop),
                (unsigned long long)(a->stats.dropped[drop] - a->said_dropped[drop]),
                dog_agent_drop_text(drop));
        a->said_ns[drop] = now_ns;
        a->said_dropped[drop] = a->stats.dropped[drop];
        return drop;
}

static void agents_event(const struct dog_agents *a, const struct agents_one *one, enum dog_agents_event ev)
{
        if (a->conf.event)
                a->conf.event(a->conf.user, one->name, one->tag, ev);
}

/* ---- what is said against what is seen ---- */

/* What the front sees of a vital, and from where on a difference means something: connections come and go
 * between two readings, a share of retransmissions needs packets. */
struct agents_check {
        size_t measured; /* offset in struct dog_agent_measured */
        double least;    /* differences below are never doubted */
        enum dog_vital vital;
        /* Only too little is doubted: a host has other traffic beside ours, and a standby may gate its own.
         */
        bool is_lower;
};

#define AGENTS_SEES(field) offsetof(struct dog_agent_measured, field)
static const struct agents_check agents_checks[] = {
        {AGENTS_SEES(conns), 16, DOG_VITAL_CONNS, true},
        {AGENTS_SEES(from_rate), 100e3, DOG_VITAL_TX_RATE, true},
        {AGENTS_SEES(from_rate), 100e3, DOG_VITAL_SERVED_RATE, true},
        {AGENTS_SEES(to_rate), 100e3, DOG_VITAL_RX_RATE, true},
        {AGENTS_SEES(retransmitted), .02, DOG_VITAL_RETRANSMITTED, true},
        {AGENTS_SEES(retransmitted), .02, DOG_VITAL_CONN_RESENT, true},
};
#undef AGENTS_SEES

static double agents_seen(const struct agents_one *one, const struct agents_check *check)
{
        double seen;
        const uint8_t *from = (const uint8_t *)&one->measured;
        memcpy(&seen, from + check->measured, sizeof(seen));
        return seen;
}

static bool agents_is_apart(const struct agents_check *check, double said, double seen, double factor)
{
        if (isnan(said) || isnan(seen) || fabs(said - seen) < check->least)
                return false;
        if (said * factor < seen)
                return true;
        return !check->is_lower && said > seen * factor;
}

/* Replace what is not believed, and say so. */
static void agents_check_all(struct dog_agents *a, struct agents_one *one, struct dog_agent_word *w,
                             int64_t now_ns)
{
        bool was_doubted = one->state.is_doubted;
        bool has_seen = one->measured_ns && now_ns - one->measured_ns < 10 * DOG_S + 3 * one->period_ns;
        w->is_doubted = w->impossible > 0;
        for (size_t i = 0; i < ARRAY_SIZE(agents_checks); i++) {
                const struct agents_check *check = &agents_checks[i];
                struct agents_doubt *d = &one->doubt[check->vital];
                double *said = &w->vitals.value[check->vital];
                double seen = has_seen ? agents_seen(one, check) : (double)NAN;
                bool is_apart = agents_is_apart(check, *said, seen, a->conf.factor);
                d->apart = is_apart ? d->apart + 1 : 0;
                d->agreed = is_apart ? 0 : d->agreed + 1;
                if (d->apart >= AGENTS_DOUBT_AFTER)
                        d->is_doubted = true;
                if (d->agreed >= AGENTS_BELIEVE_AFTER)
                        d->is_doubted = false;
                if (!d->is_doubted)
                        continue;
                w->is_doubted = true;
                w->doubted |= UINT64_C(1) << check->vital;
                /* What is doubted and not measured now is not known. */
                *said = seen;
        }
        one->state.is_doubted = w->is_doubted;
        if (w->is_doubted != was_doubted)
                agents_event(a, one, w->is_doubted ? DOG_AGENTS_DOUBTED : DOG_AGENTS_BELIEVED);
}

/* 0 below `from`, rising to 1 at `to`. */
static double caution_ramp(double value, double from, double to)
{
        if (isnan(value))
                return 0;
        double x = (value - from) / (to - from);
        return x < 0 ? 0 : x > 1 ? 1 : x;
}

double dog_agent_caution(const struct dog_vitals *v, double risk)
{
        static const struct {
                enum dog_vital vital;
                double from, to, weight; /* where it begins to hurt, where it cannot go on */
        } row[] = {
                /* Busy is not failing: a processor's own part stays below what makes traffic avoid a host
                   (policy, avoid_risk). Its lack of room lowers the weight; what it does to answers is
                   measured. */
                {DOG_VITAL_CPU, .85, 1, .45},           {DOG_VITAL_STEAL, .1, .5, .45},
                {DOG_VITAL_MEMORY, .9, 1, .8},          {DOG_VITAL_STALLED_CPU, .5, 1, .45},
                {DOG_VITAL_STALLED_MEMORY, .1, .6, .9}, {DOG_VITAL_STALLED_IO, .5, 1, .5},
                {DOG_VITAL_DISK_LEFT, .05, 0, .7},      {DOG_VITAL_FILES, .8, 1, .9},
                {DOG_VITAL_ACCEPT, .3, 1, .95},         {DOG_VITAL_OVERFLOWS, 0, 10, .95},
                {DOG_VITAL_NET_ERRORS, 1, 100, .6},
        };
        double worst = risk;
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                double one = row[i].weight * caution_ramp(v->value[row[i].vital], row[i].from, row[i].to);
                if (one > worst)
                        worst = one;
        }
        return worst;
}

/* ---- taking ---- */

static struct dog_agent_echo agents_echo(const struct dog_agent_head *head)
{
        /* Answered within the same call: nothing was held. */
        return (struct dog_agent_echo){.sent_wall_ns = head->sent_wall_ns, .seq = head->seq};
}

static size_t agents_reply(struct dog_agents *a, const struct agents_one *one, enum dog_agent_type type,
                           const uint8_t *body, size_t size, int64_t wall_ns, uint8_t *reply)
{
        struct dog_agent_head head = {.type = type};
        dog_agent_voice_stamp(&a->voice, &head, wall_ns);
        memcpy(head.name, one->name, sizeof(head.name));
        a->stats.answered++;
        return dog_agent_seal(reply, &head, body, size, one->keys.to_agent);
}

/* The echo is of our own time, so the difference of the clocks is not in it. */
static void agents_round_trip(struct agents_one *one, const struct dog_agent_report *r,
                              const struct dog_agent_head *head, int64_t wall_ns, struct dog_agent_word *w)
{
        int64_t rtt_ns = dog_agent_echo_rtt_ns(&r->echo, wall_ns);
        if (rtt_ns)
                one->state.rtt_ns = rtt_ns;
        w->rtt_ns = one->state.rtt_ns;
        w->ahead_ns = head->sent_wall_ns + w->rtt_ns / 2 - wall_ns;
}

static size_t agents_report(struct dog_agents *a, struct agents_one *one, const struct dog_agent_head *head,
                            const struct dog_agent_report *r, int64_t now_ns, int64_t wall_ns, uint8_t *reply)
{
        struct dog_agent_word w = {
                .instance = one->name,
                .tag = one->tag,
                .at_ns = now_ns,
                .vitals = r->vitals,
                .period_ms = r->period_ms,
                .processors = r->processors,
                .conns = r->conns,
                .shim = r->shim,
        };
        w.impossible = dog_vitals_cleanse(&w.vitals);
        one->state.impossible += w.impossible;
        a->stats.impossible += w.impossible;
        int64_t period_ns = (int64_t)r->period_ms * DOG_MS;
        one->period_ns = period_ns < AGENTS_PERIOD_LO   ? AGENTS_PERIOD_LO
                         : period_ns > AGENTS_PERIOD_HI ? AGENTS_PERIOD_HI
                                                        : period_ns;
        agents_round_trip(one, r, head, wall_ns, &w);
        one->state.reports++;
        one->state.heard_ns = now_ns;
        if (!one->state.is_heard) {
                one->state.is_heard = true;
                agents_event(a, one, DOG_AGENTS_HEARD);
        }
        agents_check_all(a, one, &w, now_ns);
        one->state.vitals = w.vitals;
        if (a->conf.word)
                a->conf.word(a->conf.user, &w);
        struct dog_agent_answer answer = {
                .echo = agents_echo(head),
                .wants = a->conf.wants_conns ? DOG_AGENT_WANTS_CONNS : 0,
                .role = one->role,
                .period_ms = a->conf.period_ms,
                /* Half of what we take: two bursts may meet. */
                .datagrams_per_s = a->conf.rate_per_s / 2,
                .score = one->score,
        };
        uint8_t body[DOG_AGENT_BODY];
        size_t size = dog_agent_answer_write(body, &answer);
        return agents_reply(a, one, DOG_AGENT_ANSWER, body, size, wall_ns, reply);
}

static void agents_conn(struct agents_one *one, const struct dog_agent_conn *c, uint32_t round,
                        enum dog_agent_status status, int64_t now_ns)
{
        struct dog_conn_entry *entry = dog_conn_map_make(one->conns, &c->flow);
        if (!entry)
                return;
        if (entry->opened_ns == 0)
                entry->opened_ns = now_ns - (int64_t)c->age_ms * DOG_MS;
        if (entry->status != status) {
                entry->status = status;
                entry->status_ns = now_ns;
        }
        entry->conn = *c;
        entry->round = round;
        entry->closed_ns = !c->is_closed ? 0 : entry->closed_ns ? entry->closed_ns : now_ns;
}

static size_t agents_page(struct dog_agents *a, struct agents_one *one, const struct dog_agent_conns *c,
                          int64_t now_ns, int64_t wall_ns, uint8_t *reply)
{
        struct dog_agent_page page = {.count = 0};
        one->state.pages++;
        one->round = c->round;
        for (unsigned i = 0; i < c->count; i++) {
                enum dog_agent_status status =
                        a->conf.status ? a->conf.status(a->conf.user, one->name, one->tag, &c->conn[i].flow)
                                       : DOG_AGENT_UNTOLD;
                agents_conn(one, &c->conn[i], c->round, status, now_ns);
                if (!c->conn[i].is_closed)
                        page.told[page.count++] =
                                (struct dog_agent_told){.flow = c->conn[i].flow, .status = status};
        }
        if (!a->conf.status || page.count == 0)
                return 0;
        uint8_t body[DOG_AGENT_BODY];
        size_t size = dog_agent_page_write(body, &page);
        return agents_reply(a, one, DOG_AGENT_STATUS, body, size, wall_ns, reply);
}

struct agents_sweep {
        int64_t now_ns;
        uint32_t round;
        bool is_all;
};

static bool agents_is_over(void *user, const struct dog_conn_entry *entry)
{
        const struct agents_sweep *s = user;
        if (s->is_all || (entry->closed_ns && s->now_ns - entry->closed_ns > AGENTS_CLOSED))
                return true;
        uint32_t missed = s->round - entry->round;
        return missed > AGENTS_ROUNDS && missed < UINT32_MAX / 2;
}

/* Its table starts anew, and so do the passes over it. */
static void agents_restarted(struct dog_agents *a, struct agents_one *one)
{
        struct agents_sweep all = {.is_all = true};
        dog_conn_map_sweep(one->conns, agents_is_over, &all);
        agents_event(a, one, DOG_AGENTS_RESTARTED);
}

/* A verified body. */
static enum dog_agent_drop agents_body(struct dog_agents *a, struct agents_one *one,
                                       const struct dog_agent_head *head, const uint8_t *body, size_t size,
                                       int64_t now_ns, int64_t wall_ns, uint8_t *reply, size_t *reply_size)
{
        struct dog_agent_report report;
        struct dog_agent_conns conns;
        if (head->type == DOG_AGENT_REPORT) {
                if (!dog_agent_report_read(body, size, &report))
                        return DOG_AGENT_MALFORMED;
                *reply_size = agents_report(a, one, head, &report, now_ns, wall_ns, reply);
        } else {
                if (!dog_agent_conns_read(body, size, &conns))
                        return DOG_AGENT_MALFORMED;
                *reply_size = agents_page(a, one, &conns, now_ns, wall_ns, reply);
        }
        return DOG_AGENT_FINE;
}

/* Is this what the agent sent, now, once, and not too much? Fills head and body. */
static enum dog_agent_drop agents_verify(struct dog_agents *a, struct agents_one *one,
                                         const struct agents_address *from, const void *packet, size_t size,
                                         int64_t now_ns, int64_t wall_ns, struct dog_agent_head *head,
                                         uint8_t body[DOG_AGENT_BODY], size_t *body_size)
{
        if (!bucket_take(agents_unverified(a, one, from), 2 * a->conf.rate_per_s, now_ns))
                return DOG_AGENT_OVER_RATE;
        enum dog_agent_drop drop = dog_agent_open(packet, size, one->keys.to_front, head, body, body_size);
        if (drop != DOG_AGENT_FINE)
                return drop;
        if (head->type != DOG_AGENT_REPORT && head->type != DOG_AGENT_CONNS)
                return DOG_AGENT_WRONG_TYPE;
        drop = dog_agent_ear_take(&one->ear, head, now_ns, wall_ns, a->conf.skew_ns,
                                  AGENTS_SILENT_PERIODS * one->period_ns);
        if (drop != DOG_AGENT_FINE)
                return drop;
        one->from = *from;
        one->has_from = true;
        return bucket_take(&one->bucket, a->conf.rate_per_s, now_ns) ? DOG_AGENT_FINE : DOG_AGENT_OVER_RATE;
}

enum dog_agent_drop dog_agents_take(struct dog_agents *a, const struct sockaddr *from, const void *packet,
                                    size_t size, int64_t now_ns, int64_t wall_ns,
                                    uint8_t reply[DOG_AGENT_MOST], size_t *reply_size)
{
        struct dog_agent_head head;
        struct agents_address address = agents_address_of(from);
        uint8_t body[DOG_AGENT_BODY];
        size_t body_size = 0;
        *reply_size = 0;
        a->stats.received++;
        enum dog_agent_drop drop = dog_agent_head_read(packet, size, &head);
        if (drop != DOG_AGENT_FINE)
                return agents_drop(a, NULL, drop, now_ns, "-");
        struct agents_one *one = agents_find(a, head.name);
        if (!one)
                return agents_drop(a, NULL, DOG_AGENT_UNKNOWN_NAME, now_ns, head.name);
        bool is_known = one->ear.newest_seq > 0;
        uint64_t boot = one->ear.boot;
        drop = agents_verify(a, one, &address, packet, size, now_ns, wall_ns, &head, body, &body_size);
        if (drop == DOG_AGENT_FINE) {
                if (is_known && boot != head.boot)
                        agents_restarted(a, one);
                drop = agents_body(a, one, &head, body, body_size, now_ns, wall_ns, reply, reply_size);
        }
        return drop == DOG_AGENT_FINE ? drop : agents_drop(a, one, drop, now_ns, head.name);
}

/* ---- the socket ---- */

int64_t dog_agents_on_readable(struct dog_agents *a, int64_t now_ns)
{
        uint8_t packet[STAMP_BUFFER], reply[DOG_AGENT_MOST];
        for (unsigned i = 0; i < AGENTS_BATCH; i++) {
                struct stamp_arrival from;
                size_t reply_size = 0;
                if (!stamp_receive(a->conf.fd, packet, sizeof(packet), &from))
                        break;
                dog_agents_take(a, (const struct sockaddr *)&from.from, packet, from.size, now_ns,
                                dog_clock_wall_ns(), reply, &reply_size);
                /* From the address that was asked: an agent listens to no other. An answer that the kernel
                 * does not take is lost like any other: the next report asks again. */
                if (reply_size > 0 && stamp_answer(a->conf.fd, reply, reply_size, &from) < 0)
                        a->stats.answered--;
        }
        return dog_agents_on_timer(a, now_ns);
}

int64_t dog_agents_on_timer(struct dog_agents *a, int64_t now_ns)
{
        int64_t due_ns = now_ns + DOG_S;
        for (unsigned i = 0; i < a->n; i++) {
                struct agents_one *one = a->one[i];
                if (now_ns - one->swept_ns > DOG_S) {
                        struct agents_sweep s = {.now_ns = now_ns, .round = one->round};
                        one->swept_ns = now_ns;
                        dog_conn_map_sweep(one->conns, agents_is_over, &s);
                }
                if (!one->state.is_heard)
                        continue;
                int64_t silent_ns = one->state.heard_ns + AGENTS_SILENT_PERIODS * one->period_ns;
                if (now_ns >= silent_ns) {
                        one->state.is_heard = false;
                        agents_event(a, one, DOG_AGENTS_SILENT);
                } else if (silent_ns < due_ns) {
                        due_ns = silent_ns;
                }
        }
        return due_ns;
}

/* ---- asking ---- */

const struct dog_agents_stats *dog_agents_stats(const struct dog_agents *a)
{
        return &a->stats;
}

bool dog_agents_state(const struct dog_agents *a, unsigned number, struct dog_agent_state *to)
{
        if (number >= a->n)
                return false;
        *to = a->one[number]->state;
        to->conns = dog_conn_map_count(a->one[number]->conns);
        return true;
}

const struct dog_conn_map *dog_agents_conns(const struct dog_agents *a, unsigned number)
{
        return number < a->n ? a->one[number]->conns : NULL;
}
