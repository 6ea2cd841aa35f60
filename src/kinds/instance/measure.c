/* What is seen of instances: probes, the data plane's counters, agents and exporters; and what follows at
 * once. */
#include "kinds/instance/service_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "hands/secret.h"
#include "sources/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fewer than so many packets or connections say nothing about a share of them. */
#define COUNTED_LEAST 20
/* How often the front's own numbers are held against an agent's. */
#define MEASURED_NS (1 * DOG_S)
#define EXPORTER_NS (2 * DOG_S)
#define AGENT_MS    1000
/* Vitals older than this say nothing about now; it is also their period until they have told it. */
#define VITALS_NS (3 * DOG_S)
/* Answers are timed over windows: each is judged once, and by its mean. */
#define ANSWERS_NS (250 * DOG_MS)
/* Above so many packets a second from a server one flow in so many is timed; below, each. */
#define ANSWERS_BUSY   4000
#define ANSWERS_ONE_IN 16

/* ---- life ---- */

/* Is there another in this vip that can take over? Never the last one is called dead on a probe's word. */
static bool seat_has_another(const struct address *a, unsigned k)
{
        for (unsigned o = 0; o < a->plan.seats; o++) {
                const struct machine *m = &a->service->machine[a->plan.seat[o].machine];
                if (o != k && m->has_carrier && m->is_answering && a->seat[o].is_set && !m->is_drained &&
                    m->set.role != DOG_ROLE_NEVER)
                        return true;
        }
        return false;
}

/*
 * Bad news is acted on here and now, connections first: the loop's next step would find the same, but 20 ms
 * later. Good news waits for the loop, which believes it slowly.
 */
void machine_judge(struct machine *m, int64_t now_ns)
{
        struct instance_service *s = m->service;
        bool has_settled = now_ns >= s->settle_ns;
        SEATS_OF(s, m->index, a, k)
        {
                struct seat *seat = &a->seat[k];
                /* Until it could have answered, nothing speaks against it but a missing carrier. */
                bool is_up = m->has_carrier && seat->is_set &&
                             ((m->is_answering && !seat->is_refusing) || !has_settled);
                bool was_up = a->group->member[k].is_up;
                dog_group_member_up(a->group, k, is_up);
                if (was_up && !is_up && m->has_answered && seat->is_set && !seat->is_dead &&
                    seat_has_another(a, k)) {
                        instance_front_dead(s->front, seat->number, now_ns);
                        seat->is_dead = true;
                        s->front_ns = now_ns;
                }
                if (was_up != is_up && has_settled)
                        dog_loop_due(s->loop, a->group, now_ns);
        }
        if (s->settings.hurry)
                s->settings.hurry(s->settings.user);
}

static void machine_answers(struct machine *m, bool is_answering, int64_t now_ns)
{
        if (m->is_answering == is_answering)
                return;
        bool is_first = is_answering && !m->has_answered;
        m->is_answering = is_answering;
        m->has_answered |= is_answering;
        if (!is_answering)
                node_failed(m, now_ns);
        if (!is_first && m->service->settings.failed)
                m->service->settings.failed(m->service->settings.user, m->index, !is_answering, now_ns);
        if (is_first && now_ns < m->service->settle_ns) {
                /* A decider before us may have called it dead: it is not. */
                SEATS_OF(m->service, m->index, a, k)
                if (a->seat[k].is_set && !m->is_drained)
                        instance_front_back(m->service->front, a->seat[k].number);
        } else {
                service_tell(m->service,
                             &(struct instance_news){.event = is_answering ? "answers" : "silent",
                                                     .subject = m->set.name,
                                                     .is_warning = !is_answering},
                             is_first       ? "%s answers for the first time"
                             : is_answering ? "%s answers again"
                                            : "%s does not answer its probes",
                             m->set.name);
        }
        machine_judge(m, now_ns);
}

/* ---- samples ---- */

/* What the data plane counted of this server since the last sample. */
static void seat_count(struct instance_service *s, struct seat *seat, int64_t now_ns)
{
        struct instance_server_stats now;
        if (!seat->is_set || instance_front_server_read(s->front, seat->number, &now) < 0)
                return;
        uint64_t packets = now.packets - seat->seen.packets;
        uint64_t opened = now.opened - seat->seen.opened;
        double spent_s = (double)(now_ns - seat->seen_ns) / 1e9;
        bool is_first = seat->seen_ns == 0;
        /* Shares need enough to count: they are taken over a second at least. */
        if (!is_first && spent_s < 1 && packets < COUNTED_LEAST)
                return;
        seat->retrans = !is_first && packets >= COUNTED_LEAST
                                ? (double)(now.retransmitted - seat->seen.retransmitted) / (double)packets
                                : (double)NAN;
        seat->errors = !is_first && opened >= COUNTED_LEAST
                               ? fmin(1, (double)(now.resets - seat->seen.resets) / (double)opened)
                               : (double)NAN;
        seat->rate_kbps = is_first ? (double)NAN : (double)(now.bytes - seat->seen.bytes) * 8 / 1e3 / spent_s;
        seat->packets_s = is_first ? 0 : (double)packets / spent_s;
        seat->seen = now;
        seat->seen_ns = now_ns;
}

/* I1: how long its answers took: the mean of the window before this one, NaN when nothing was answered. */
static double seat_response(struct instance_service *s, struct seat *seat, int64_t now_ns)
{
        struct instance_response now;
        if (!seat->is_set)
                return (double)NAN;
        if (now_ns - seat->answered_ns < ANSWERS_NS ||
            instance_front_response_read(s->front, seat->number, &now) < 0)
                return seat->response_ms;
        uint64_t answers = now.answers - seat->answered.answers;
        bool is_first = seat->answered_ns == 0;
        seat->response_ms = is_first || answers == 0 ? (double)NAN
                                                     : (double)(now.sum_ns - seat->answered.sum_ns) /
                                                               (double)answers / (double)DOG_MS;
        if (!isnan(seat->response_ms))
                seat->response_last_ms = seat->response_ms;
        seat->answered = now;
        seat->answered_ns = now_ns;
        return seat->response_ms;
}

/* Where little is asked every answer counts; where much is, a sample is enough and cheaper. */
static void vip_sample(struct instance_service *s, const struct address *a)
{
        double most = 0;
        for (unsigned k = 0; k < a->plan.seats; k++)
                most = fmax(most, a->seat[k].packets_s);
        instance_front_sample_set(s->front, a->number, most > ANSWERS_BUSY ? ANSWERS_ONE_IN : 1);
}

static double vital_worst(const struct dog_vitals *v, const enum dog_vital *of, unsigned n)
{
        double worst = (double)NAN;
        for (unsigned i = 0; i < n; i++)
                if (!isnan(v->value[of[i]]) && !(v->value[of[i]] <= worst))
                        worst = v->value[of[i]];
        return worst;
}

static void sample_vitals(const struct machine *m, struct dog_sample *sample, int64_t now_ns)
{
        static const enum dog_vital stalls[] = {DOG_VITAL_STALLED_CPU,  DOG_VITAL_STALLED_MEMORY,
                                                DOG_VITAL_STALLED_IO,   DOG_VITAL_STALL_CPU,
                                                DOG_VITAL_STALL_MEMORY, DOG_VITAL_STALL_IO};
        if (!m->vitals_ns || now_ns - m->vitals_ns > 3 * m->vitals_period_ns)
                return;
        const struct dog_vitals *v = &m->vitals;
        sample->value[DOG_SIGNAL_CPU] = v->value[DOG_VITAL_CPU];
        sample->value[DOG_SIGNAL_MEMORY] = v->value[DOG_VITAL_MEMORY];
        sample->value[DOG_SIGNAL_PRESSURE] = vital_worst(v, stalls, sizeof(stalls) / sizeof(stalls[0]));
        sample->value[DOG_SIGNAL_QUEUE] = v->value[DOG_VITAL_ACCEPT];
        if (isnan(sample->value[DOG_SIGNAL_RETRANS]))
                sample->value[DOG_SIGNAL_RETRANS] = v->value[DOG_VITAL_CONN_RESENT];
}

/* One observation of the way to an instance is one for every vip, with what each of its servers did. */
static void machine_sample(struct machine *m, const struct dog_sample *from, int64_t now_ns)
{
        struct instance_service *s = m->service;
        /* One that has never answered is not there yet: that says nothing about how it serves. */
        if (!m->has_answered)
                return;
        struct dog_sample sample = *from;
        if (sample.at_ns <= m->newest.at_ns)
                sample.at_ns = m->newest.at_ns + 1;
        m->newest = sample;
        sample_vitals(m, &m->newest, now_ns);
        if (s->settings.sample)
                s->settings.sample(s->settings.user, m->index, &m->newest);
        SEATS_OF(s, m->index, a, k)
        {
                struct dog_sample mine = sample;
                seat_count(s, &a->seat[k], now_ns);
                mine.value[DOG_SIGNAL_RETRANS] = a->seat[k].retrans;
                mine.value[DOG_SIGNAL_ERRORS] = a->seat[k].errors;
                mine.value[DOG_SIGNAL_RESPONSE] = seat_response(s, &a->seat[k], now_ns);
                sample_vitals(m, &mine, now_ns);
                dog_group_sample(a->group, k, &mine);
        }
}

/* ---- probes ---- */

int check_number(const struct instance_service *s, const struct address *a, unsigned k)
{
        unsigned n = s->machines;
        for (const struct address *b = s->vip; b < a; b++)
                n += b->plan.seats;
        return n + k < INSTANCE_SERVERS_MAX ? (int)(n + k) : -1;
}

/* A port that is asked: the machine may live and nobody serve there. */
static void check_change(struct instance_service *s, unsigned number, bool is_up, int64_t now_ns)
{
        for (struct address *a = s->vip; a < s->vip + s->vips; a++)
                for (unsigned k = 0; k < a->plan.seats; k++) {
                        struct seat *seat = &a->seat[k];
                        struct machine *m = &s->machine[a->plan.seat[k].machine];
                        if (check_number(s, a, k) != (int)number || seat->is_refusing == !is_up)
                                continue;
                        seat->is_refusing = !is_up;
                        /* One whose machine is silent has been told of. */
                        if (m->is_answering && m->has_answered)
                                service_tell(s,
                                             &(struct instance_news){.event = is_up ? "accepts" : "refuses",
                                                                     .subject = m->set.name,
                                                                     .vip = a->group->name,
                                                                     .is_warning = !is_up},
                                             is_up ? "%s takes connections for %s again"
                                                   : "%s answers, but takes no connections for %s",
                                             m->set.name, a->group->name);
                        machine_judge(m, now_ns);
                }
}

static void probe_change(void *user, unsigned machine, bool is_up, enum instance_probe_why why,
                         int64_t now_ns)
{
        struct instance_service *s = user;
        if (machine >= s->machines) {
                check_change(s, machine, is_up, now_ns);
                return;
        }
        struct machine *m = &s->machine[machine];
        if (why == INSTANCE_PROBE_NO_CARRIER)
                m->has_carrier = false;
        machine_answers(m, is_up, now_ns);
}

static void probe_sample(void *user, unsigned machine, const struct dog_sample *sample)
{
        struct instance_service *s = user;
        if (machine < s->machines)
                machine_sample(&s->machine[machine], sample, dog_clock_mono_ns());
}

/* One that speaks to clients lives, whether it answers probes or not. */
static int64_t probe_heard_ns(void *user, unsigned machine)
{
        struct instance_service *s = user;
        return machine < s->machines ? machine_heard_ns(s, &s->machine[machine]) : 0;
}

static void probe_watch(void *user, int fd, bool is_on)
{
        struct instance_service *s = user;
        if (s->settings.watch)
                s->settings.watch(s->settings.user, fd, is_on ? POLLIN : 0);
        for (unsigned i = 0; i < PROBE_FDS; i++) {
                if (s->probe_fd[i] == (is_on ? -1 : fd)) {
                        s->probe_fd[i] = is_on ? fd : -1;
                        return;
                }
        }
}

static const enum instance_probe_how probe_how[] = {[INSTANCE_CHECK_AUTO] = INSTANCE_PROBE_AUTO,
                                                    [INSTANCE_CHECK_ICMP] = INSTANCE_PROBE_ICMP,
                                                    [INSTANCE_CHECK_TCP] = INSTANCE_PROBE_TCP};

/* Ask the machine, and with a check that may use TCP every port on which it serves. */
static int machine_probe(struct machine *m, struct dog_err *e)
{
        struct instance_service *s = m->service;
        if (m->set.check == INSTANCE_CHECK_AGENT)
                return 0;
        int rc = instance_probe_add(s->probe, m->index, m->set.device, &m->set.address, m->set.check_port,
                                    probe_how[m->set.check], e);
        if (m->set.check == INSTANCE_CHECK_ICMP)
                return rc;
        SEATS_OF(s, m->index, a, k)
        {
                uint16_t port = a->plan.seat[k].port ? a->plan.seat[k].port : a->plan.set.port;
                int number = check_number(s, a, k);
                /* With l2 and direct return the server may listen on the vip's address alone. */
                if (rc < 0 || number < 0 || port == 0 || a->plan.set.proto != IPPROTO_TCP ||
                    a->plan.set.returns != INSTANCE_RETURN_NAT)
                        continue;
                rc = instance_probe_add(s->probe, (unsigned)number, m->set.device, &m->set.address, port,
                                        INSTANCE_PROBE_TCP, e);
                a->seat[k].is_checked = rc == 0;
        }
        return rc;
}

static int probes_open(struct instance_service *s, struct dog_err *e)
{
        struct instance_probe_settings set = {.interval_ns = s->settings.probe_interval_ns,
                                              .misses = s->settings.probe_misses,
                                              .change = probe_change,
                                              .sample = probe_sample,
                                              .heard_ns = probe_heard_ns,
                                              .watch = probe_watch,
                                              .user = s};
        int rc = instance_probe_open(&s->probe, &set, s->hands, e);
        for (unsigned i = 0; i < s->machines && rc == 0; i++) {
                struct machine *m = &s->machine[i];
                rc = machine_probe(m, e);
                /* A device that is not there may still come. */
                if (rc == -ENODEV) {
                        dog_log(DOG_LOG_WARN, "instance=%s event=not-probed error=\"%s\"", m->set.name,
                                e->text);
                        m->is_unprobed = true;
                        rc = 0;
                }
                if (rc < 0)
                        return dog_err_prefix(e, rc, "instance %s", m->set.name);
        }
        return rc;
}

/* Those whose device was missing are tried again. */
void measure_refresh(struct instance_service *s)
{
        for (unsigned i = 0; i < s->machines; i++)
                if (s->machine[i].is_unprobed && s->machine[i].has_carrier)
                        s->machine[i].is_unprobed = machine_probe(&s->machine[i], NULL) < 0;
}

/* ---- agents ---- */

static void agent_word(void *user, const struct dog_agent_word *w)
{
        struct machine *m = w->tag;
        struct instance_service *s = user;
        bool is_other =
                !m->has_shim_word || m->is_agent_silent || memcmp(&m->shim, &w->shim, sizeof(w->shim)) != 0;
        m->vitals = w->vitals;
        m->vitals_ns = w->at_ns;
        m->vitals_period_ns = w->period_ms ? (int64_t)w->period_ms * DOG_MS : VITALS_NS;
        m->is_doubted = w->is_doubted;
        node_vitals(m, w->at_ns);
        m->shim = w->shim;
        m->has_shim_word = true;
        if (is_other && s->aligned_ns != INT64_MAX)
                s->aligned_ns = 0;
        if (m->set.check == INSTANCE_CHECK_AGENT) {
                struct dog_sample sample = dog_sample_at(w->at_ns);
                sample.value[DOG_SIGNAL_LOSS] = 0;
                if (w->rtt_ns > 0)
                        sample.value[DOG_SIGNAL_RTT] = (double)w->rtt_ns / (double)DOG_MS;
                machine_answers(m, true, w->at_ns);
                machine_sample(m, &sample, w->at_ns);
        }
}

static void agent_event(void *user, const char *instance, void *tag, enum dog_agents_event ev)
{
        struct instance_service *s = user;
        struct machine *m = tag;
        static const char *const text[] = {
                [DOG_AGENTS_HEARD] = "the agent of %s is heard",
                [DOG_AGENTS_SILENT] = "the agent of %s has fallen silent",
                [DOG_AGENTS_RESTARTED] = "the agent of %s, or its host, was restarted",
                [DOG_AGENTS_DOUBTED] = "the agent of %s says what is not so; our own numbers count",
                [DOG_AGENTS_BELIEVED] = "the agent of %s is believed again"};
        service_tell(
                s,
                &(struct instance_news){.event = "agent",
                                        .subject = instance,
                                        .is_warning = ev == DOG_AGENTS_SILENT || ev == DOG_AGENTS_DOUBTED},
                text[ev], instance);
        m->is_agent_silent = ev == DOG_AGENTS_SILENT;
        if (m->is_agent_silent || ev == DOG_AGENTS_RESTARTED)
                m->has_shim_word = false;
        if (m->is_agent_silent && s->aligned_ns != INT64_MAX)
                aligning_look(s);
        if (m->set.check == INSTANCE_CHECK_AGENT && ev == DOG_AGENTS_SILENT)
                machine_answers(m, false, dog_clock_mono_ns());
}

static bool flow_is_at(const struct dog_agent_flow *flow, const struct dog_hands_address *a)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        if (a->version == 6)
                return memcmp(flow->local, a->bytes, 16) == 0;
        return memcmp(flow->local, mapped, 12) == 0 && memcmp(flow->local + 12, a->bytes, 4) == 0;
}

/* I7: what a connection that the agent sees is to its instance. */
static enum dog_agent_status agent_status(void *user, const char *instance, void *tag,
                                          const struct dog_agent_flow *flow)
{
        struct instance_service *s = user;
        const struct machine *m = tag;
        (void)instance;
        SEATS_OF(s, m->index, a, k)
        {
                uint16_t port = a->plan.seat[k].port ? a->plan.seat[k].port : a->plan.set.port;
                bool is_nat = a->plan.set.returns == INSTANCE_RETURN_NAT;
                struct instance_flow key = {.port = htons(flow->remote_port), .vip = a->number};
                struct instance_conn c;
                if ((port && port != flow->local_port) ||
                    !flow_is_at(flow, is_nat ? &m->set.address : &a->plan.set.address))
                        continue;
                memcpy(&key.client, flow->remote, sizeof(key.client));
                if (a->plan.set.protect == INSTANCE_PROTECT_NEVER ||
                    instance_front_conn_get(s->front, &key, &c) < 0)
                        return DOG_AGENT_UNPROTECTED;
                bool is_primary = c.primary == a->seat[k].number;
                if (c.flags & INSTANCE_CONN_PROMOTED)
                        return is_primary ? DOG_AGENT_PROMOTED_AWAY : DOG_AGENT_PROMOTED_HERE;
                if (c.flags & INSTANCE_CONN_ALONE)
                        return is_primary ? DOG_AGENT_UNPROTECTED : DOG_AGENT_PROMOTED_AWAY;
                return is_primary ? DOG_AGENT_PRIMARY : DOG_AGENT_STANDBY;
        }
        return DOG_AGENT_FOREIGN;
}

/* What we measure ourselves, for the listener to hold agents against; and what they are told of themselves.
 */
static void agents_measure(struct instance_service *s, int64_t now_ns)
{
        for (unsigned i = 0; i < s->machines; i++) {
                struct machine *m = &s->machine[i];
                if (m->agent < 0)
                        continue;
                double rate = 0;
                bool is_all = true;
                double score = (double)NAN;
                double retrans = (double)NAN;
                bool is_direct = false;
                bool is_leaving = m->is_drained;
                SEATS_OF(s, m->index, a, k)
                {
                        const struct dog_member *member = &a->group->member[k];
                        is_direct |= a->plan.set.returns == INSTANCE_RETURN_DIRECT;
                        /* Without protection nobody counts connections here, and with UDP there are none. */
                        is_all &= a->plan.set.protect == INSTANCE_PROTECT_ALWAYS &&
                                  a->plan.set.proto == IPPROTO_TCP && a->plan.set.most == 0;
                        rate += isnan(a->seat[k].rate_kbps) ? 0 : a->seat[k].rate_kbps * 125;
                        if (!isnan(a->seat[k].retrans))
                                retrans = a->seat[k].retrans;
                        if (!((double)member->belief.health / 100 >= score))
                                score = (double)member->belief.health / 100;
                        is_leaving |= a->group->leaving >> k & 1;
                }
                if (now_ns - s->counted_ns > DOG_S)
                        operate_count(s, now_ns);
                double conns = m->serves + m->stands_by;
                dog_agents_measured(s->agents, (unsigned)m->agent,
                                    &(struct dog_agent_measured){.conns = is_all ? conns : (double)NAN,
                                                                 .from_rate = is_direct ? (double)NAN : rate,
                                                                 .to_rate = (double)NAN,
                                                                 .retransmitted = retrans},
                                    now_ns);
                dog_agents_role_set(s->agents, (unsigned)m->agent,
                                    !m->is_answering ? DOG_AGENT_ROLE_DEAD
                                    : is_leaving     ? DOG_AGENT_ROLE_LEAVING
                                                     : DOG_AGENT_ROLE_SERVING,
                                    score);
        }
        s->measured_ns = now_ns + MEASURED_NS;
}

static int agents_socket(struct instance_service *s, struct dog_err *e)
{
        struct dog_hands_request ask = dog_hands_request_of(DOG_HANDS_SOCKET_UDP);
        struct dog_hands_reply reply;
        /* IPv6 of any address takes both families, unless the host has none. */
        ask.as.socket.address = (struct dog_hands_address){.version = 6, .prefix = 128};
        ask.as.socket.port = s->settings.agent_port;
        int rc = dog_hands_call(s->hands, &ask, &reply, &s->agent_fd, NULL);
        if (rc < 0) {
                ask.as.socket.address = (struct dog_hands_address){.version = 4, .prefix = 32};
                rc = dog_hands_call(s->hands, &ask, &reply, &s->agent_fd, e);
        }
        return rc < 0 ? dog_err_prefix(e, rc, "no socket for agents on port %u", s->settings.agent_port) : 0;
}

static int agents_open(struct instance_service *s, struct dog_err *e)
{
        unsigned wanted = 0;
        for (unsigned i = 0; i < s->machines; i++)
                wanted += s->machine[i].set.secret != NULL;
        if (wanted == 0)
                return 0;
        int rc = agents_socket(s, e);
        struct dog_agents_conf conf = {.fd = s->agent_fd,
                                       .wants_conns = true,
                                       .period_ms = AGENT_MS,
                                       .word = agent_word,
                                       .event = agent_event,
                                       .status = agent_status,
                                       .user = s};
        if (rc == 0)
                rc = dog_agents_new(&s->agents, &conf, e);
        for (unsigned i = 0; i < s->machines && rc == 0; i++) {
                struct machine *m = &s->machine[i];
                uint8_t secret[DOG_SECRET_KEY];
                if (!m->set.secret)
                        continue;
                rc = dog_hands_secret(s->hands, m->set.secret, secret, e);
                if (rc == 0)
                        rc = dog_agents_add(s->agents, m->set.name, secret, m, e);
                sodium_memzero(secret, sizeof(secret));
                if (rc < 0)
                        return dog_err_prefix(e, rc, "instance %s", m->set.name);
                m->agent = rc;
                rc = 0;
        }
        if (rc == 0 && s->settings.watch)
                s->settings.watch(s->settings.user, s->agent_fd, POLLIN);
        return rc;
}

/* ---- exporters ---- */

static void exporter_watch(void *user, int fd, short events)
{
        struct machine *m = user;
        struct instance_service *s = m->service;
        if (s->settings.watch)
                s->settings.watch(s->settings.user, fd, events);
        m->exporter_fd = events ? fd : -1;
}

static void exporter_vitals(void *user, int64_t at_ns, const struct dog_vitals *v)
{
        struct machine *m = user;
        if (m->is_agent_silent)
                service_tell(m->service, &(struct instance_news){.event = "exporter", .subject = m->set.name},
                             "the exporter of %s answers again", m->set.name);
        m->is_agent_silent = false;
        m->vitals = *v;
        m->vitals_ns = at_ns;
        m->vitals_period_ns = EXPORTER_NS;
        node_vitals(m, at_ns);
}

static void exporter_failed(void *user, enum dog_exporter_fault fault, bool is_silent)
{
        struct machine *m = user;
        if (is_silent && !m->is_agent_silent)
                service_tell(m->service,
                             &(struct instance_news){
                                     .event = "exporter", .subject = m->set.name, .is_warning = true},
                             "the exporter of %s says nothing: %s", m->set.name,
                             dog_exporter_fault_text(fault));
        m->is_agent_silent |= is_silent;
}

static int exporter_open(struct machine *m, int64_t now_ns, struct dog_err *e)
{
        struct sockaddr_storage address;
        struct dog_exporter_conf conf = {.address = (struct sockaddr *)&address,
                                         .period_ns = EXPORTER_NS,
                                         .watch = exporter_watch,
                                         .vitals = exporter_vitals,
                                         .failed = exporter_failed,
                                         .user = m};
        int rc = dog_http_address(m->set.exporter, &address, &conf.address_size, &conf.path, e);
        if (rc == 0)
                rc = dog_exporter_new(&m->exporter, &conf, e);
        m->exporter_due_ns = now_ns;
        return rc < 0 ? dog_err_prefix(e, rc, "instance %s", m->set.name) : 0;
}

/* ---- all of it ---- */

int measure_open(struct instance_service *s, int64_t now_ns, struct dog_err *e)
{
        for (unsigned i = 0; i < PROBE_FDS; i++)
                s->probe_fd[i] = -1;
        int rc = probes_open(s, e);
        if (rc == 0)
                rc = agents_open(s, e);
        if (rc == 0)
                rc = told_open(s, e);
        for (unsigned i = 0; i < s->machines && rc == 0; i++) {
                struct machine *m = &s->machine[i];
                if (m->set.exporter)
                        rc = exporter_open(m, now_ns, e);
        }
        return rc;
}

void measure_close(struct instance_service *s)
{
        for (unsigned i = 0; s->machine && i < s->machines; i++)
                dog_exporter_free(s->machine[i].exporter);
        instance_probe_close(s->probe);
        told_close(s);
        dog_agents_free(s->agents);
        if (s->agent_fd >= 0) {
                if (s->agents && s->settings.watch)
                        s->settings.watch(s->settings.user, s->agent_fd, 0);
                close(s->agent_fd);
        }
}

bool measure_on_ready(struct instance_service *s, int fd, int64_t now_ns)
{
        if (told_on_ready(s, fd, now_ns))
                return true;
        if (fd == s->agent_fd && s->agents) {
                s->agents_ns = dog_agents_on_readable(s->agents, now_ns);
                return true;
        }
        for (unsigned i = 0; i < PROBE_FDS; i++)
                if (s->probe_fd[i] == fd) {
                        instance_probe_on_readable(s->probe, fd, now_ns);
                        return true;
                }
        for (unsigned i = 0; i < s->machines; i++) {
                struct machine *m = &s->machine[i];
                if (m->exporter && fd == m->exporter_fd) {
                        m->exporter_due_ns = dog_exporter_on_ready(m->exporter, now_ns);
                        return true;
                }
        }
        return false;
}

static int64_t earlier(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

int64_t measure_on_timer(struct instance_service *s, int64_t now_ns)
{
        int64_t due_ns = INT64_MAX;
        if (s->agents) {
                if (now_ns >= s->agents_ns)
                        s->agents_ns = dog_agents_on_timer(s->agents, now_ns);
                if (now_ns >= s->measured_ns)
                        agents_measure(s, now_ns);
                due_ns = earlier(s->agents_ns, s->measured_ns);
        }
        if (now_ns >= s->sample_ns) {
                for (const struct address *a = s->vip; a < s->vip + s->vips; a++)
                        vip_sample(s, a);
                s->sample_ns = now_ns + MEASURED_NS;
        }
        bool has_settled = now_ns >= s->settle_ns;
        for (unsigned i = 0; i < s->machines; i++) {
                struct machine *m = &s->machine[i];
                if (m->exporter) {
                        if (now_ns >= m->exporter_due_ns)
                                m->exporter_due_ns = dog_exporter_on_timer(m->exporter, now_ns);
                        due_ns = earlier(due_ns, m->exporter_due_ns);
                }
                /* Whoever has not answered by now is not there. */
                if (has_settled && !m->has_settled) {
                        m->has_settled = true;
                        machine_judge(m, now_ns);
                }
        }
        if (now_ns >= s->probe_ns)
                s->probe_ns = instance_probe_on_timer(s->probe, now_ns);
        return earlier(earlier(due_ns, s->probe_ns), told_on_timer(s, now_ns));
}
