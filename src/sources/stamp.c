#include "sources/stamp.h"

#include "base/clock.h"
#include "base/rng.h"
#include "sources/stamp_socket.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum {
        STAMP_SLOTS = 512, /* probes remembered; a power of two */
        STAMP_IP4 = 28,    /* IPv4 and UDP headers */
        STAMP_IP6 = 48,
};
#define STAMP_INTERVAL      (10 * DOG_S)
#define STAMP_INTERVAL_MIN  (5 * DOG_MS)
#define STAMP_INTERVAL_MAX  (3600 * DOG_S)
#define STAMP_SPARSE        (30 * DOG_S)
#define STAMP_TIMEOUT_MIN   (1 * DOG_S)
#define STAMP_TIMEOUT_MAX   (10 * DOG_S)
#define STAMP_AGE_MAX       (60 * DOG_S) /* longest that a packet may have waited for us */
#define STAMP_REPORT_EVERY  (60 * DOG_S)
#define STAMP_REPORT_PAUSE  (600 * DOG_S) /* after a peer did not know what a report is */
#define STAMP_MEASURED_HOLD (2 * DOG_S)
#define STAMP_MONTH         (30LL * 86400 * DOG_S)
#define STAMP_CLOCK_ERROR   DOG_MS /* what we claim for our own clock */

enum stamp_slot_state { STAMP_FREE, STAMP_WAITING, STAMP_GONE, STAMP_ANSWERED };

struct stamp_slot {
        uint32_t seq;
        uint8_t state;
        bool asks_report;
        int64_t sent_ns;
        uint64_t sent_wire; /* as it stood in the probe: an answer must bring it back */
};

struct dog_stamp_session {
        struct dog_stamp_session_conf conf;
        uint8_t key[DOG_STAMP_KEY_SIZE];
        struct dog_rng rng;
        uint32_t next_seq;
        uint32_t oldest_seq; /* no probe before it is waited for */
        struct stamp_slot slot[STAMP_SLOTS];
        bool has_sent;
        int64_t base_ns; /* when the last probe was due, or was sent if that was much later */
        double dither;   /* 0.95 .. 1.05, drawn for each probe */
        int64_t measured_until_ns;
        int64_t report_due_ns;
        bool has_notice; /* goes out with the next probe, which is then due at once */
        struct dog_stamp_notice notice;
        bool has_rtt;
        double last_rtt_ms;
        bool has_jitter;
        double jitter_ms;
        bool has_offset;
        int32_t offset; /* probe numbers less the reflector's, at the newest answer */
        struct dog_stamp_session_stats stats;
};

static int stamp_session_check(const struct dog_stamp_session_conf *c, struct dog_err *e)
{
        if (!c->seen)
                return dog_err_set(e, -EINVAL, "STAMP session: nobody takes the samples");
        if (c->interval_ns && (c->interval_ns < STAMP_INTERVAL_MIN || c->interval_ns > STAMP_INTERVAL_MAX))
                return dog_err_set(e, -EINVAL, "STAMP session: an interval of %.3f ms is not in 5 ms .. 1 h",
                                   (double)c->interval_ns * 1e-6);
        if (c->sparse_ns && (c->sparse_ns < STAMP_INTERVAL_MIN || c->sparse_ns > STAMP_INTERVAL_MAX))
                return dog_err_set(e, -EINVAL,
                                   "STAMP session: a sparse interval of %.3f ms is not in 5 ms .. 1 h",
                                   (double)c->sparse_ns * 1e-6);
        if (c->timeout_ns < 0 || c->timeout_ns > 60 * DOG_S)
                return dog_err_set(e, -EINVAL, "STAMP session: a timeout of %.3f ms is not in 0 .. 60 s",
                                   (double)c->timeout_ns * 1e-6);
        if (c->report_groups > DOG_STAMP_REPORT_GROUPS)
                return dog_err_set(e, -EINVAL, "STAMP session: %u class groups asked for, a report holds %d",
                                   c->report_groups, DOG_STAMP_REPORT_GROUPS);
        return 0;
}

static void stamp_session_presets(struct dog_stamp_session_conf *c)
{
        if (!c->interval_ns)
                c->interval_ns = STAMP_INTERVAL;
        if (!c->sparse_ns)
                c->sparse_ns = STAMP_SPARSE;
        if (!c->report_every_ns)
                c->report_every_ns = STAMP_REPORT_EVERY;
        if (!c->report || !c->key)
                c->report_every_ns = -1;
}

static int64_t stamp_session_timeout(const struct dog_stamp_session *s)
{
        if (s->conf.timeout_ns)
                return s->conf.timeout_ns;
        int64_t t = 4 * s->stats.rtt_ns;
        if (t < STAMP_TIMEOUT_MIN)
                return STAMP_TIMEOUT_MIN;
        return t < STAMP_TIMEOUT_MAX ? t : STAMP_TIMEOUT_MAX;
}

int dog_stamp_session_new(struct dog_stamp_session **out, const struct dog_stamp_session_conf *conf,
                          struct dog_err *e)
{
        *out = NULL;
        int rc = stamp_session_check(conf, e);
        if (rc < 0)
                return rc;
        /* fd -1: a session without a socket, which only _probe and _take move. */
        if (conf->fd >= 0 && (rc = dog_stamp_socket_prepare(conf->fd, e)) < 0)
                return rc;
        struct dog_stamp_session *s = calloc(1, sizeof(*s));
        if (!s)
                return dog_err_set(e, -ENOMEM, "STAMP session: no memory");
        s->conf = *conf;
        if (conf->key) {
                memcpy(s->key, conf->key, sizeof(s->key));
                s->conf.key = s->key;
        }
        stamp_session_presets(&s->conf);
        dog_rng_init(&s->rng, conf->seed);
        s->dither = 1;
        s->stats.timeout_ns = stamp_session_timeout(s);
        *out = s;
        return 0;
}

void dog_stamp_session_free(struct dog_stamp_session *s)
{
        if (!s)
                return;
        sodium_memzero(s->key, sizeof(s->key));
        free(s);
}

int dog_stamp_session_fd_set(struct dog_stamp_session *s, int fd, struct dog_err *e)
{
        int rc = dog_stamp_socket_prepare(fd, e);
        if (rc == 0)
                s->conf.fd = fd;
        return rc;
}

int dog_stamp_session_fd(const struct dog_stamp_session *s)
{
        return s->conf.fd;
}

const struct dog_stamp_session_stats *dog_stamp_session_stats(const struct dog_stamp_session *s)
{
        return &s->stats;
}

/* What was lost and did reach the reflector, was lost on the way back. */
static void stamp_session_ways(struct dog_stamp_session *s)
{
        uint64_t gone = s->stats.lost - s->stats.late;
        if (s->stats.is_stateful)
                s->stats.lost_back = gone > s->stats.lost_out ? gone - s->stats.lost_out : 0;
}

static void stamp_session_lose(struct dog_stamp_session *s, struct stamp_slot *slot)
{
        slot->state = STAMP_GONE;
        s->stats.lost++;
        stamp_session_ways(s);
        struct dog_stamp_seen seen = {.sample = dog_sample_at(slot->sent_ns), .out_ms = NAN, .back_ms = NAN};
        seen.sample.value[DOG_SIGNAL_LOSS] = 1;
        s->conf.seen(s->conf.user, &seen);
}

void dog_stamp_session_expire(struct dog_stamp_session *s, int64_t now_ns)
{
        for (; s->oldest_seq != s->next_seq; s->oldest_seq++) {
                struct stamp_slot *slot = &s->slot[s->oldest_seq % STAMP_SLOTS];
                if (slot->state != STAMP_WAITING)
                        continue;
                if (now_ns - slot->sent_ns < s->stats.timeout_ns)
                        return;
                stamp_session_lose(s, slot);
        }
}

int64_t dog_stamp_session_waiting_ns(const struct dog_stamp_session *s, int64_t now_ns)
{
        for (uint32_t seq = s->oldest_seq; seq != s->next_seq; seq++) {
                const struct stamp_slot *slot = &s->slot[seq % STAMP_SLOTS];
                if (slot->state == STAMP_WAITING)
                        return now_ns - slot->sent_ns;
        }
        return 0;
}

static int64_t stamp_session_after(const struct dog_stamp_session *s, int64_t interval_ns)
{
        return s->base_ns + (int64_t)((double)interval_ns * s->dither);
}

void dog_stamp_session_notify(struct dog_stamp_session *s, const struct dog_stamp_notice *n)
{
        s->has_notice = s->conf.key != NULL;
        s->notice = *n;
}

int64_t dog_stamp_session_due(const struct dog_stamp_session *s, int64_t now_ns)
{
        if (!s->has_sent || s->has_notice)
                return now_ns;
        int64_t due = stamp_session_after(s, s->conf.interval_ns);
        if (s->conf.sparse_ns <= s->conf.interval_ns || due >= s->measured_until_ns)
                return due;
        int64_t sparse = stamp_session_after(s, s->conf.sparse_ns);
        return sparse < s->measured_until_ns ? sparse : s->measured_until_ns;
}

size_t dog_stamp_session_probe(struct dog_stamp_session *s, int64_t now_ns, int64_t wall_ns, uint8_t *to)
{
        const struct dog_stamp_session_conf *c = &s->conf;
        struct stamp_slot *slot = &s->slot[s->next_seq % STAMP_SLOTS];
        /* Probes go out faster than they time out, and the memory is full: the oldest is given up. */
        if (slot->state == STAMP_WAITING)
                stamp_session_lose(s, slot);
        if (s->next_seq - s->oldest_seq >= STAMP_SLOTS)
                s->oldest_seq = s->next_seq - STAMP_SLOTS + 1;

        struct dog_stamp_probe p = {
                .seq = s->next_seq,
                .sent = dog_stamp_time_of(wall_ns, c->is_ptp),
                .clock = dog_stamp_clock_of(STAMP_CLOCK_ERROR, c->is_synced, c->is_ptp),
                .ssid = c->ssid,
        };
        *slot = (struct stamp_slot){
                .seq = p.seq,
                .state = STAMP_WAITING,
                .asks_report = c->report_every_ns >= 0 && now_ns >= s->report_due_ns,
                .sent_ns = now_ns,
                .sent_wire = p.sent,
        };
        struct dog_bytes out = dog_bytes_of(to, DOG_STAMP_MOST);
        dog_stamp_probe_write(&out, &p, c->key);
        if (slot->asks_report) {
                struct dog_stamp_report ask = {.tunnel = c->tunnel, .path = c->path};
                uint8_t value[DOG_STAMP_REPORT_SIZE + DOG_STAMP_REPORT_GROUPS * DOG_STAMP_REPORT_GROUP_SIZE];
                size_t size = dog_stamp_report_size(c->report_groups);
                dog_stamp_report_write(value, size, &ask);
                dog_stamp_tlv_write(&out, DOG_STAMP_TLV_UNRECOGNISED, DOG_STAMP_TLV_REPORT, value, size);
                s->report_due_ns = now_ns + c->report_every_ns;
        }
        if (s->has_notice) {
                uint8_t value[DOG_STAMP_NOTICE_SIZE];
                dog_stamp_notice_write(value, &s->notice);
                dog_stamp_tlv_write(&out, DOG_STAMP_TLV_UNRECOGNISED, DOG_STAMP_TLV_NOTICE, value,
                                    sizeof(value));
        }
        if (slot->asks_report || s->has_notice)
                dog_stamp_tlv_seal(&out, dog_stamp_base_size(c->key), c->key);
        s->has_notice = false;
        /* From due time to due time, so that being late a little does not make the interval longer. */
        int64_t due_ns = dog_stamp_session_due(s, now_ns);
        s->base_ns = due_ns <= now_ns && now_ns - due_ns < c->interval_ns ? due_ns : now_ns;
        s->next_seq++;
        s->has_sent = true;
        s->dither = 0.95 + 0.1 * dog_rng_unit(&s->rng);
        s->stats.sent++;
        return out.at;
}

/* ---- taking an answer ---- */

/* RFC 6298, 2: the smoothed round trip, from which the timeout follows. */
static void stamp_session_smooth(struct dog_stamp_session *s, int64_t rtt_ns)
{
        if (s->stats.rtt_ns == 0)
                s->stats.rtt_ns = rtt_ns > 0 ? rtt_ns : 1;
        else
                s->stats.rtt_ns += (rtt_ns - s->stats.rtt_ns) / 8;
        s->stats.timeout_ns = stamp_session_timeout(s);
}

/*
 * Where were packets lost? The reflector numbers what it answers: each probe that did not reach it makes
 * our numbers run ahead of its numbers by one more. A lower lead means that it began to count anew.
 */
static void stamp_session_direction(struct dog_stamp_session *s, const struct dog_stamp_reply *r)
{
        int32_t offset = (int32_t)(r->probe_seq - r->seq);
        if (offset != 0)
                s->stats.is_stateful = true;
        if (s->has_offset && offset > s->offset)
                s->stats.lost_out += (uint64_t)((int64_t)offset - s->offset);
        s->offset = offset;
        s->has_offset = true;
        stamp_session_ways(s);
}

static void stamp_session_report(struct dog_stamp_session *s, const struct stamp_slot *slot,
                                 const void *packet, size_t size)
{
        struct dog_bytes in = dog_bytes_in(packet, size);
        dog_read_skip(&in, dog_stamp_base_size(s->conf.key));
        struct dog_stamp_tlv tlv;
        struct dog_stamp_report r;
        while (dog_stamp_tlv_next(&in, &tlv)) {
                if (tlv.type != DOG_STAMP_TLV_REPORT || tlv.flags != 0)
                        continue;
                if (!dog_stamp_report_read(&tlv, &r) || r.tunnel != s->conf.tunnel || r.path != s->conf.path)
                        continue;
                s->stats.reports++;
                s->conf.report(s->conf.user, slot->sent_ns, &r);
                return;
        }
        s->stats.unreported++;
        s->report_due_ns = slot->sent_ns + STAMP_REPORT_PAUSE;
}

/* RFC 3550, 6.4.1, on round trips. @return the jitter in ms, NaN before the second answer */
static double stamp_session_jitter(struct dog_stamp_session *s, double rtt_ms)
{
        if (s->has_rtt) {
                double change = fabs(rtt_ms - s->last_rtt_ms);
                s->jitter_ms = s->has_jitter ? s->jitter_ms + (change - s->jitter_ms) / 16 : change;
                s->has_jitter = true;
        }
        s->has_rtt = true;
        s->last_rtt_ms = rtt_ms;
        return s->has_jitter ? s->jitter_ms : (double)NAN;
}

static void stamp_session_answered(struct dog_stamp_session *s, struct stamp_slot *slot,
                                   const struct dog_stamp_reply *r, int64_t arrived_ns,
                                   int64_t arrived_wall_ns)
{
        int64_t t1 = dog_stamp_time_wall_ns(r->probe_sent, r->probe_clock.is_ptp);
        int64_t t2 = dog_stamp_time_wall_ns(r->received, r->clock.is_ptp);
        int64_t t3 = dog_stamp_time_wall_ns(r->sent, r->clock.is_ptp);
        int64_t whole_ns = arrived_ns > slot->sent_ns ? arrived_ns - slot->sent_ns : 0;
        /* Time inside the reflector, unless its clock was set meanwhile or it does not tell the truth. */
        int64_t inside_ns = t3 - t2;
        if (inside_ns < 0 || inside_ns > whole_ns)
                inside_ns = 0;
        int64_t rtt_ns = whole_ns - inside_ns;
        stamp_session_smooth(s, rtt_ns);
        if (slot->state == STAMP_GONE) {
                s->stats.late++;
                return;
        }
        double rtt_ms = (double)rtt_ns * 1e-6;
        struct dog_stamp_seen seen = {
                .sample = dog_sample_at(slot->sent_ns),
                .out_ms = (double)(t2 - t1) * 1e-6,
                .back_ms = (double)(arrived_wall_ns - t3) * 1e-6,
        };
        seen.sample.value[DOG_SIGNAL_RTT] = rtt_ms;
        seen.sample.value[DOG_SIGNAL_JITTER] = stamp_session_jitter(s, rtt_ms);
        seen.sample.value[DOG_SIGNAL_LOSS] = 0;
        s->stats.answered++;
        s->conf.seen(s->conf.user, &seen);
}

static enum dog_stamp_drop stamp_session_judge(const struct dog_stamp_session *s, const void *packet,
                                               size_t size, struct dog_stamp_reply *r)
{
        if (size > DOG_STAMP_MOST)
                return DOG_STAMP_LONG;
        enum dog_stamp_drop drop = dog_stamp_reply_read(packet, size, s->conf.key, r);
        if (drop != DOG_STAMP_FINE)
                return drop;
        /* A reflector that knows only RFC 8762 sends zero here. */
        if (r->ssid != s->conf.ssid && r->ssid != 0)
                return DOG_STAMP_WRONG_SESSION;
        const struct stamp_slot *slot = &s->slot[r->probe_seq % STAMP_SLOTS];
        if (slot->state == STAMP_FREE || slot->seq != r->probe_seq || slot->sent_wire != r->probe_sent)
                return DOG_STAMP_NOT_SENT;
        if (slot->state == STAMP_ANSWERED)
                return DOG_STAMP_DUPLICATE;
        return DOG_STAMP_FINE;
}

enum dog_stamp_drop dog_stamp_session_take(struct dog_stamp_session *s, const void *packet, size_t size,
                                           int64_t arrived_ns, int64_t arrived_wall_ns)
{
        struct dog_stamp_reply r;
        enum dog_stamp_drop drop = stamp_session_judge(s, packet, size, &r);
        if (drop != DOG_STAMP_FINE) {
                s->stats.dropped[drop]++;
                return drop;
        }
        struct stamp_slot *slot = &s->slot[r.probe_seq % STAMP_SLOTS];
        if (slot->state == STAMP_WAITING && arrived_ns - slot->sent_ns >= s->stats.timeout_ns)
                stamp_session_lose(s, slot); /* and so it is late, whenever we look */
        stamp_session_answered(s, slot, &r, arrived_ns, arrived_wall_ns);
        slot->state = STAMP_ANSWERED;
        stamp_session_direction(s, &r);
        drop = dog_stamp_tlvs_check(packet, size, s->conf.key);
        if (drop != DOG_STAMP_FINE)
                s->stats.dropped[drop]++;
        if (slot->asks_report)
                stamp_session_report(s, slot, packet,
                                     drop == DOG_STAMP_FINE ? size : dog_stamp_base_size(s->conf.key));
        return drop;
}

/* ---- time and the socket ---- */

static int64_t stamp_session_deadline(const struct dog_stamp_session *s, int64_t now_ns)
{
        int64_t next = dog_stamp_session_due(s, now_ns);
        if (s->oldest_seq == s->next_seq)
                return next;
        const struct stamp_slot *slot = &s->slot[s->oldest_seq % STAMP_SLOTS];
        int64_t overdue = slot->sent_ns + s->stats.timeout_ns;
        return overdue < next ? overdue : next;
}

static void stamp_session_drain(struct dog_stamp_session *s)
{
        uint8_t packet[STAMP_BUFFER];
        struct stamp_arrival a;
        for (int i = 0; i < STAMP_BATCH && stamp_receive(s->conf.fd, packet, sizeof(packet), &a); i++) {
                if (a.is_cut) {
                        s->stats.dropped[DOG_STAMP_LONG]++;
                        continue;
                }
                /* The kernel tells wall time; its age carries it over to the monotonic clock. */
                int64_t mono_ns = dog_clock_mono_ns();
                int64_t wall_ns = dog_clock_wall_ns();
                int64_t age_ns = a.wall_ns ? wall_ns - a.wall_ns : 0;
                if (age_ns < 0 || age_ns > STAMP_AGE_MAX)
                        age_ns = 0; /* the wall clock was set in between */
                dog_stamp_session_take(s, packet, a.size, mono_ns - age_ns, wall_ns - age_ns);
        }
}

int64_t dog_stamp_session_on_timer(struct dog_stamp_session *s, int64_t now_ns)
{
        /* First take what waits in the socket: an answer is not lost because we were busy. */
        stamp_session_drain(s);
        dog_stamp_session_expire(s, now_ns);
        if (now_ns >= dog_stamp_session_due(s, now_ns)) {
                uint8_t packet[DOG_STAMP_MOST];
                /* The loop's idea of now may be old by the time we get here; a send time must not be. */
                size_t size = dog_stamp_session_probe(s, dog_clock_mono_ns(), dog_clock_wall_ns(), packet);
                ssize_t n = send(s->conf.fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == ECONNREFUSED) /* about an earlier probe; the call has cleared it */
                        n = send(s->conf.fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0)
                        s->stats.send_failed++;
        }
        return stamp_session_deadline(s, now_ns);
}

int64_t dog_stamp_session_on_readable(struct dog_stamp_session *s, int64_t now_ns)
{
        stamp_session_drain(s);
        dog_stamp_session_expire(s, now_ns);
        return stamp_session_deadline(s, now_ns);
}

int64_t dog_stamp_session_interval_set(struct dog_stamp_session *s, int64_t interval_ns, int64_t now_ns)
{
        if (interval_ns == 0)
                interval_ns = STAMP_INTERVAL;
        if (interval_ns < STAMP_INTERVAL_MIN)
                interval_ns = STAMP_INTERVAL_MIN;
        if (interval_ns > STAMP_INTERVAL_MAX)
                interval_ns = STAMP_INTERVAL_MAX;
        s->conf.interval_ns = interval_ns;
        return stamp_session_deadline(s, now_ns);
}

void dog_stamp_session_measured(struct dog_stamp_session *s, int64_t now_ns)
{
        s->measured_until_ns = now_ns + STAMP_MEASURED_HOLD;
}

static uint64_t stamp_month_bytes(const struct dog_stamp_session_conf *c, int64_t interval_ns)
{
        uint64_t ip = c->is_ipv6 ? STAMP_IP6 : STAMP_IP4;
        uint64_t bytes = (uint64_t)(STAMP_MONTH / interval_ns) * 2 * (ip + dog_stamp_base_size(c->key));
        if (c->report_every_ns < 0)
                return bytes;
        int64_t every = c->report_every_ns > interval_ns ? c->report_every_ns : interval_ns;
        uint64_t more = 2 * DOG_STAMP_TLV_HEAD + DOG_STAMP_TAG_SIZE + dog_stamp_report_size(c->report_groups);
        return bytes + (uint64_t)(STAMP_MONTH / every) * 2 * more;
}

uint64_t dog_stamp_session_month_bytes(const struct dog_stamp_session_conf *conf)
{
        struct dog_stamp_session_conf c = *conf;
        stamp_session_presets(&c);
        return stamp_month_bytes(&c, c.interval_ns);
}

int64_t dog_stamp_session_interval_for(const struct dog_stamp_session_conf *conf, uint64_t month_bytes)
{
        struct dog_stamp_session_conf c = *conf;
        stamp_session_presets(&c);
        int64_t low = STAMP_INTERVAL_MIN;
        int64_t high = STAMP_INTERVAL_MAX;
        while (high - low > DOG_MS) {
                int64_t middle = low + (high - low) / 2;
                if (stamp_month_bytes(&c, middle) > month_bytes)
                        low = middle;
                else
                        high = middle;
        }
        return high;
}

double dog_stamp_race_note(struct dog_stamp_race *race, unsigned path, int64_t at_ns, double out_ms,
                           int64_t age_ns)
{
        if (path >= DOG_STAMP_RACERS)
                return 0;
        race->at_ns[path] = at_ns;
        race->out_ms[path] = out_ms;
        double fastest_ms = out_ms;
        for (unsigned p = 0; p < DOG_STAMP_RACERS; p++) {
                if (race->at_ns[p] != 0 && at_ns - race->at_ns[p] <= age_ns && race->out_ms[p] < fastest_ms)
                        fastest_ms = race->out_ms[p];
        }
        return out_ms - fastest_ms;
}
