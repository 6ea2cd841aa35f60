#include "base/clock.h"
#include "sources/stamp.h"
#include "sources/stamp_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum {
        REFLECTOR_RATE = 250,
        REFLECTOR_RATE_MAX = 1000000,
        REFLECTOR_SESSIONS = 1024,
        REFLECTOR_SESSIONS_MAX = 1 << 20,
        REFLECTOR_WAYS = 8,      /* places where one session may stand */
        REFLECTOR_LIMITS = 4096, /* rate limits; sources that hash alike share one */
};
#define REFLECTOR_SILENCE     (900 * DOG_S)
#define REFLECTOR_SWEEP       (60 * DOG_S)
#define REFLECTOR_CLOCK_ERROR DOG_MS

/* Who sends: padding spelled out, because it is hashed and compared as octets. */
struct reflector_source {
        uint8_t address[16];
        uint16_t port;
        uint16_t family;
        uint16_t ssid;
        uint16_t zero;
};
_Static_assert(sizeof(struct reflector_source) == 24, "no hidden padding");

struct reflector_session {
        struct reflector_source source;
        bool is_used;
        uint32_t rx;
        uint32_t tx;
        int64_t seen_ns;
};

struct dog_stamp_reflector {
        struct dog_stamp_reflector_conf conf;
        uint8_t key[DOG_STAMP_KEY_SIZE];
        uint8_t hash_key[crypto_shorthash_KEYBYTES];
        uint16_t port; /* our own, network order; 0: not known */
        int64_t step_ns;
        int64_t burst_ns;
        size_t sets; /* a power of two; 0 when stateless */
        int64_t limit[REFLECTOR_LIMITS];
        struct dog_stamp_reflector_stats stats;
        struct reflector_session session[];
};

static uint16_t reflector_own_port(int fd)
{
        struct sockaddr_storage own = {0};
        socklen_t size = sizeof(own);
        if (fd < 0 || getsockname(fd, (struct sockaddr *)&own, &size) < 0)
                return 0;
        if (own.ss_family == AF_INET6)
                return ((const struct sockaddr_in6 *)&own)->sin6_port;
        return own.ss_family == AF_INET ? ((const struct sockaddr_in *)&own)->sin_port : 0;
}

int dog_stamp_reflector_new(struct dog_stamp_reflector **out, const struct dog_stamp_reflector_conf *conf,
                            struct dog_err *e)
{
        *out = NULL;
        unsigned rate = conf->rate_per_s ? conf->rate_per_s : REFLECTOR_RATE;
        unsigned sessions = conf->sessions ? conf->sessions : REFLECTOR_SESSIONS;
        if (rate > REFLECTOR_RATE_MAX)
                return dog_err_set(e, -EINVAL, "STAMP reflector: %u answers a second are more than %d", rate,
                                   REFLECTOR_RATE_MAX);
        if (sessions > REFLECTOR_SESSIONS_MAX)
                return dog_err_set(e, -EINVAL, "STAMP reflector: %u sessions are more than %d", sessions,
                                   REFLECTOR_SESSIONS_MAX);
        if (sodium_init() < 0)
                return dog_err_set(e, -EIO, "STAMP reflector: libsodium finds no randomness");
        int rc = conf->fd >= 0 ? dog_stamp_socket_prepare(conf->fd, e) : 0;
        if (rc < 0)
                return rc;
        size_t sets = 0;
        if (conf->is_stateful)
                for (sets = 1; sets * REFLECTOR_WAYS < sessions;)
                        sets *= 2;
        struct dog_stamp_reflector *r = calloc(1, sizeof(*r) + sets * REFLECTOR_WAYS * sizeof(r->session[0]));
        if (!r)
                return dog_err_set(e, -ENOMEM, "STAMP reflector: no memory for %u sessions", sessions);
        r->conf = *conf;
        if (conf->key) {
                memcpy(r->key, conf->key, sizeof(r->key));
                r->conf.key = r->key;
        }
        /* A stranger who knew the hash could make others share his limit. */
        randombytes_buf(r->hash_key, sizeof(r->hash_key));
        r->port = reflector_own_port(conf->fd);
        r->step_ns = DOG_S / rate;
        r->burst_ns = DOG_S;
        r->sets = sets;
        *out = r;
        return 0;
}

void dog_stamp_reflector_free(struct dog_stamp_reflector *r)
{
        if (!r)
                return;
        sodium_memzero(r->key, sizeof(r->key));
        free(r);
}

int dog_stamp_reflector_fd(const struct dog_stamp_reflector *r)
{
        return r->conf.fd;
}

const struct dog_stamp_reflector_stats *dog_stamp_reflector_stats(const struct dog_stamp_reflector *r)
{
        return &r->stats;
}

static struct reflector_source reflector_source_of(const struct sockaddr *from, socklen_t size)
{
        struct reflector_source s = {0};
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        if (from->sa_family == AF_INET && size >= sizeof(v4)) {
                memcpy(&v4, from, sizeof(v4));
                memcpy(s.address, &v4.sin_addr, sizeof(v4.sin_addr));
                s.port = v4.sin_port;
                s.family = AF_INET;
        } else if (from->sa_family == AF_INET6 && size >= sizeof(v6)) {
                memcpy(&v6, from, sizeof(v6));
                memcpy(s.address, &v6.sin6_addr, sizeof(v6.sin6_addr));
                s.port = v6.sin6_port;
                s.family = AF_INET6;
        }
        return s;
}

static uint64_t reflector_hash(const struct dog_stamp_reflector *r, const void *data, size_t size)
{
        uint64_t hash = 0;
        _Static_assert(sizeof(hash) == crypto_shorthash_BYTES, "a SipHash");
        crypto_shorthash((uint8_t *)&hash, data, size, r->hash_key);
        return hash;
}

/*
 * The generic cell rate algorithm (ITU-T I.371): each answer takes step_ns of credit, of which a source
 * may run up burst_ns. By address only: a port is free to invent. Fixed memory, whoever sends.
 */
static bool reflector_is_over_rate(struct dog_stamp_reflector *r, const struct reflector_source *source,
                                   int64_t now_ns)
{
        int64_t *due =
                &r->limit[reflector_hash(r, source->address, sizeof(source->address)) % REFLECTOR_LIMITS];
        if (*due < now_ns)
                *due = now_ns;
        if (*due - now_ns > r->burst_ns - r->step_ns)
                return true;
        *due += r->step_ns;
        return false;
}

/* The session of this source, begun if there is room. @return NULL: not counted */
static struct reflector_session *reflector_session_of(struct dog_stamp_reflector *r,
                                                      const struct reflector_source *source, int64_t now_ns)
{
        if (r->sets == 0)
                return NULL;
        size_t set = reflector_hash(r, source, sizeof(*source)) & (r->sets - 1);
        struct reflector_session *vacant = NULL;
        for (size_t i = 0; i < REFLECTOR_WAYS; i++) {
                struct reflector_session *s = &r->session[set * REFLECTOR_WAYS + i];
                if (s->is_used && memcmp(&s->source, source, sizeof(*source)) == 0)
                        return s;
                if (!s->is_used && !vacant)
                        vacant = s;
        }
        if (!vacant) {
                r->stats.uncounted++;
                return NULL;
        }
        *vacant = (struct reflector_session){.source = *source, .is_used = true, .seen_ns = now_ns};
        r->stats.sessions++;
        return vacant;
}

static enum dog_stamp_drop reflector_admit(struct dog_stamp_reflector *r,
                                           const struct reflector_source *source, int64_t now_ns)
{
        if (source->port == htons(DOG_STAMP_PORT) || (r->port && source->port == r->port))
                return DOG_STAMP_LOOP;
        /* Before any HMAC, so that a flood of forgeries costs little. */
        if (reflector_is_over_rate(r, source, now_ns))
                return DOG_STAMP_OVER_RATE;
        return DOG_STAMP_FINE;
}

enum dog_stamp_drop dog_stamp_reflector_answer(struct dog_stamp_reflector *r, const struct sockaddr *from,
                                               socklen_t from_size, const void *request, size_t size,
                                               uint8_t ttl, int64_t now_ns, int64_t arrived_wall_ns,
                                               int64_t wall_ns, uint8_t *to)
{
        const struct dog_stamp_reflector_conf *c = &r->conf;
        struct reflector_source source = reflector_source_of(from, from_size);
        r->stats.received++;
        enum dog_stamp_drop drop = reflector_admit(r, &source, now_ns);
        struct dog_stamp_probe p = {0};
        if (drop == DOG_STAMP_FINE)
                drop = dog_stamp_probe_read(request, size, c->key, &p);
        if (drop != DOG_STAMP_FINE) {
                r->stats.dropped[drop]++;
                return drop;
        }
        source.ssid = p.ssid;
        struct reflector_session *session = reflector_session_of(r, &source, now_ns);
        struct dog_stamp_reflect how = {
                .key = c->key,
                .answers_unverified = c->answers_unverified,
                .received = dog_stamp_time_of(arrived_wall_ns, c->is_ptp),
                .sent = dog_stamp_time_of(wall_ns, c->is_ptp),
                .clock = dog_stamp_clock_of(REFLECTOR_CLOCK_ERROR, c->is_synced, c->is_ptp),
                .ttl = ttl,
                .report = c->report,
                .notice = c->notice,
                .user = c->user,
        };
        if (session) {
                session->seen_ns = now_ns;
                session->rx++;
                how.is_stateful = true;
                how.seq = session->tx;
                how.has_counts = true;
                how.rx = session->rx;
                how.tx = session->tx + 1;
        }
        drop = dog_stamp_reflect(&how, request, size, to);
        if (drop != DOG_STAMP_FINE) {
                r->stats.dropped[drop]++;
                return drop;
        }
        if (session)
                session->tx++;
        r->stats.answered++;
        return DOG_STAMP_FINE;
}

void dog_stamp_reflector_on_readable(struct dog_stamp_reflector *r, int64_t now_ns)
{
        uint8_t request[STAMP_BUFFER];
        uint8_t reply[STAMP_BUFFER];
        struct stamp_arrival a;
        for (int i = 0; i < STAMP_BATCH && stamp_receive(r->conf.fd, request, sizeof(request), &a); i++) {
                if (a.is_cut) {
                        r->stats.received++;
                        r->stats.dropped[DOG_STAMP_LONG]++;
                        continue;
                }
                int64_t wall_ns = dog_clock_wall_ns();
                int64_t arrived_ns = a.wall_ns && a.wall_ns <= wall_ns ? a.wall_ns : wall_ns;
                if (dog_stamp_reflector_answer(r, (const struct sockaddr *)&a.from, a.from_size, request,
                                               a.size, a.ttl, now_ns, arrived_ns, wall_ns,
                                               reply) != DOG_STAMP_FINE)
                        continue;
                if (stamp_answer(r->conf.fd, reply, a.size, &a) < 0) {
                        r->stats.answered--;
                        r->stats.dropped[DOG_STAMP_NOT_ANSWERED]++;
                }
        }
}

int64_t dog_stamp_reflector_on_timer(struct dog_stamp_reflector *r, int64_t now_ns)
{
        for (size_t i = 0; i < r->sets * REFLECTOR_WAYS; i++) {
                if (!r->session[i].is_used || now_ns - r->session[i].seen_ns < REFLECTOR_SILENCE)
                        continue;
                r->session[i].is_used = false;
                r->stats.sessions--;
        }
        return now_ns + REFLECTOR_SWEEP;
}
