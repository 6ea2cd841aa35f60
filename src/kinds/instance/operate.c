/* What an operator may ask for, and what is counted for people. */
#include "kinds/instance/service_inside.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An instance that is drained has nothing left when it has also sent nothing for so long. */
#define EMPTY_QUIET_NS (2 * DOG_S)

/* ---- counting ---- */

/* The server that serves a connection now. */
static uint16_t conn_server(const struct instance_conn *c)
{
        return c->flags & INSTANCE_CONN_PROMOTED ? c->standby : c->primary;
}

static bool conn_has_standby(const struct instance_conn *c)
{
        return !(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE | INSTANCE_CONN_CLOSED)) &&
               c->standby != INSTANCE_NOBODY;
}

static struct machine *machine_of_server(struct instance_service *s, unsigned server)
{
        unsigned vip;
        int seat = instance_service_seat_of(s, server, &vip);
        return seat < 0 ? NULL : &s->machine[s->vip[vip].plan.seat[seat].machine];
}

static bool count_one(void *user, const struct instance_flow *flow, const struct instance_conn *c)
{
        struct instance_service *s = user;
        (void)flow;
        if (c->flags & INSTANCE_CONN_CLOSED)
                return true;
        struct machine *serves = machine_of_server(s, conn_server(c));
        struct machine *stands_by = conn_has_standby(c) ? machine_of_server(s, c->standby) : NULL;
        if (serves)
                serves->serves++;
        if (stands_by)
                stands_by->stands_by++;
        return true;
}

void operate_count(struct instance_service *s, int64_t now_ns)
{
        for (unsigned i = 0; i < s->machines; i++)
                s->machine[i].serves = s->machine[i].stands_by = 0;
        instance_front_conns(s->front, count_one, s);
        s->counted_ns = now_ns;
}

/* ---- draining ---- */

/* The vip in which nobody else is alive and not drained; NULL: there is none. */
static const char *only_one_of(const struct instance_service *s, unsigned machine)
{
        for (const struct address *a = s->vip; a < s->vip + s->vips; a++) {
                bool has_it = false;
                unsigned others = 0;
                for (unsigned k = 0; k < a->plan.seats; k++) {
                        const struct machine *m = &s->machine[a->plan.seat[k].machine];
                        has_it |= m->index == machine;
                        others += m->index != machine && m->is_answering && !m->is_drained &&
                                  m->set.role != DOG_ROLE_NEVER;
                }
                if (has_it && others == 0)
                        return a->group->name;
        }
        return NULL;
}

int instance_service_drain(struct instance_service *s, const char *name, bool is_undone, int64_t now_ns,
                           struct dog_err *e)
{
        int i = instance_service_machine_of(s, name);
        if (i < 0)
                return dog_err_set(e, -ENOENT, "there is no instance \"%s\"; see: sundog instances", name);
        struct machine *m = &s->machine[i];
        const char *only = is_undone ? NULL : only_one_of(s, (unsigned)i);
        if (only)
                return dog_err_set(e, -EBUSY,
                                   "%s cannot be drained: it is the last instance alive of vip %s; bring up "
                                   "another first",
                                   name, only);
        m->is_drained = !is_undone;
        m->is_empty_told = false;
        m->drained_ns = now_ns;
        SEATS_OF(s, m->index, a, k)
        {
                dog_group_drain(a->group, k, m->is_drained);
                dog_loop_due(s->loop, a->group, now_ns);
        }
        service_tell(s, &(struct instance_news){.event = is_undone ? "undrain" : "drain", .subject = name},
                     is_undone ? "%s is used again"
                               : "%s is emptied: new connections go elsewhere, those with "
                                 "a standby are carried over",
                     name);
        s->empty_ns = now_ns;
        if (s->settings.hurry)
                s->settings.hurry(s->settings.user);
        return 0;
}

int instance_service_drain_again(struct instance_service *s, const char *name, int64_t now_ns,
                                 struct dog_err *e)
{
        int i = instance_service_machine_of(s, name);
        if (i < 0)
                return dog_err_set(e, -ENOENT, "there is no instance \"%s\" any more", name);
        struct machine *m = &s->machine[i];
        m->is_drained = true;
        m->drained_ns = now_ns;
        SEATS_OF(s, m->index, a, k)
        dog_group_drain(a->group, k, true);
        s->empty_ns = now_ns;
        return 0;
}

bool instance_service_is_drained(const struct instance_service *s, unsigned machine)
{
        return machine < s->machines && s->machine[machine].is_drained;
}

int64_t machine_heard_ns(struct instance_service *s, const struct machine *m)
{
        int64_t heard_ns = 0;
        SEATS_OF(s, m->index, a, k)
        {
                struct instance_server_stats stats;
                if (a->seat[k].is_set &&
                    instance_front_server_read(s->front, a->seat[k].number, &stats) == 0 &&
                    (int64_t)stats.heard_ns > heard_ns)
                        heard_ns = (int64_t)stats.heard_ns;
        }
        return heard_ns;
}

void operate_on_timer(struct instance_service *s, int64_t now_ns)
{
        bool is_any = false;
        for (unsigned i = 0; i < s->machines; i++)
                is_any |= s->machine[i].is_drained && !s->machine[i].is_empty_told;
        s->empty_ns = is_any ? now_ns + DOG_S / 4 : INT64_MAX;
        if (!is_any)
                return;
        operate_count(s, now_ns);
        for (unsigned i = 0; i < s->machines; i++) {
                struct machine *m = &s->machine[i];
                int64_t heard_ns = machine_heard_ns(s, m);
                if (!m->is_drained || m->is_empty_told || m->serves > 0 ||
                    (heard_ns > m->drained_ns && now_ns - heard_ns < EMPTY_QUIET_NS) ||
                    now_ns - m->drained_ns < DOG_S / 2)
                        continue;
                m->is_empty_told = true;
                service_tell(s, &(struct instance_news){.event = "drained", .subject = m->set.name},
                             "%s carries nothing any more, %.1f s after it was asked to: it may be stopped",
                             m->set.name, (double)(now_ns - m->drained_ns) / 1e9);
        }
}

/* ---- promoting ---- */

struct movable {
        struct instance_service *s;
        unsigned machine;
        struct instance_promotion *to;
        struct instance_flow *flow; /* NULL: count only */
        unsigned room;
};

static bool movable_one(void *user, const struct instance_flow *flow, const struct instance_conn *c)
{
        struct movable *m = user;
        const struct machine *serves = machine_of_server(m->s, conn_server(c));
        if ((c->flags & INSTANCE_CONN_CLOSED) || !serves || serves->index != m->machine)
                return true;
        if (!conn_has_standby(c)) {
                m->to->bound++;
                return true;
        }
        if (m->flow && m->to->movable == m->room) {
                /* Grown one step at a time: how many there are is not known before the walk. */
                unsigned more = m->room ? 2 * m->room : 256;
                struct instance_flow *grown = realloc(m->flow, more * sizeof(*grown));
                if (!grown)
                        return false;
                m->flow = grown;
                m->room = more;
        }
        if (m->flow)
                m->flow[m->to->movable] = *flow;
        m->to->movable++;
        return true;
}

int instance_service_promote(struct instance_service *s, unsigned machine, bool is_dry,
                             struct instance_promotion *to, struct dog_err *e)
{
        memset(to, 0, sizeof(*to));
        struct movable m = {.s = s, .machine = machine, .to = to, .room = 256};
        if (!is_dry && !(m.flow = calloc(m.room, sizeof(*m.flow))))
                return dog_err_set(e, -ENOMEM, "out of memory");
        int rc = instance_front_conns(s->front, movable_one, &m);
        for (unsigned i = 0; i < to->movable && !is_dry; i++)
                to->failed += instance_front_order(s->front, &m.flow[i], INSTANCE_ORDER_PROMOTE, NULL) < 0;
        free(m.flow);
        if (rc < 0)
                return dog_err_set(e, rc, "cannot read the connections: %s", strerror(-rc));
        if (!is_dry)
                service_tell(s,
                             &(struct instance_news){.event = "promote",
                                                     .subject = s->machine[machine].set.name,
                                                     .count = to->movable - to->failed},
                             "%u connections of %s are moved to their standbys: an operator asked for it",
                             to->movable - to->failed, s->machine[machine].set.name);
        return 0;
}

int instance_service_promote_one(struct instance_service *s, const struct instance_flow *flow,
                                 struct dog_err *e)
{
        return instance_front_order(s->front, flow, INSTANCE_ORDER_PROMOTE, e);
}

/* ---- forgiving ---- */

int instance_service_forgive(struct instance_service *s, uint32_t class, const char *text, bool was_barred,
                             struct dog_err *e)
{
        int rc = instance_front_class_forgive(s->front, class, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "%s", text);
        if (was_barred)
                service_tell(s, &(struct instance_news){.event = "forgiven", .subject = text},
                             "requests \"%s\" are protected again: an operator asked for it", text);
        return 0;
}

/* ---- looking in ---- */

static const char *machine_trouble(const struct instance_service *s, const struct machine *m)
{
        bool is_set = true;
        bool is_refusing = false;
        SEATS_OF(s, m->index, a, k)
        {
                is_set &= a->seat[k].is_set;
                is_refusing |= a->seat[k].is_refusing;
        }
        return !m->has_carrier    ? "its device or its carrier is down"
               : !is_set          ? "no next hop is known for it: nobody answers for its address"
               : !m->has_answered ? "it has not answered yet"
               : !m->is_answering ? "it does not answer"
               : is_refusing      ? "it answers, but takes no connections"
               : m->is_drained    ? "drained by the operator"
                                  : "";
}

static void seat_answers(struct instance_service *s, const struct seat *seat, int64_t now_ns,
                         struct instance_machine_view *v)
{
        struct instance_response r;
        if (!seat->is_set || instance_front_response_read(s->front, seat->number, &r) < 0)
                return;
        uint64_t span = (uint64_t)now_ns >> INSTANCE_SPAN_SHIFT;
        v->answers += r.answers;
        if (!(seat->response_last_ms <= v->response_ms) && !isnan(seat->response_last_ms))
                v->response_ms = seat->response_last_ms;
        for (int i = 0; i < 2; i++)
                if (r.span[i] + 1 >= span && r.most_ns[i] &&
                    !((double)r.most_ns[i] / (double)DOG_MS <= v->response_most_ms))
                        v->response_most_ms = (double)r.most_ns[i] / (double)DOG_MS;
}

struct instance_machine_view instance_service_machine(struct instance_service *s, unsigned machine,
                                                      int64_t now_ns)
{
        struct machine *m = &s->machine[machine];
        if (now_ns - s->counted_ns > DOG_S)
                operate_count(s, now_ns);
        struct instance_machine_view v = {.has_answered = m->has_answered,
                                          .is_answering = m->is_answering,
                                          .has_carrier = m->has_carrier,
                                          .has_next_hop = true,
                                          .is_drained = m->is_drained,
                                          .rtt_ms = m->newest.value[DOG_SIGNAL_RTT],
                                          .loss = m->newest.value[DOG_SIGNAL_LOSS],
                                          .response_ms = (double)NAN,
                                          .response_most_ms = (double)NAN,
                                          .has_vitals = m->vitals_ns > 0,
                                          .vitals_age_ns = m->vitals_ns ? now_ns - m->vitals_ns : 0,
                                          .is_doubted = m->is_doubted,
                                          .vitals = m->vitals,
                                          .source = m->agent >= 0 ? "agent"
                                                    : m->exporter ? "exporter"
                                                                  : "",
                                          .serves = m->serves,
                                          .stands_by = m->stands_by,
                                          .counted_ns = s->counted_ns,
                                          .told_health = m->told_ns ? m->told_health : (double)NAN,
                                          .told_age_ns = m->told_ns ? now_ns - m->told_ns : 0};
        SEATS_OF(s, m->index, a, k)
        {
                v.has_next_hop &= a->seat[k].is_set;
                v.is_refusing |= a->seat[k].is_refusing;
                seat_answers(s, &a->seat[k], now_ns, &v);
        }
        if (m->agent >= 0)
                dog_agents_state(s->agents, (unsigned)m->agent, &v.agent);
        node_view(m, &v);
        struct instance_probe_view probe = instance_probe_view(s->probe, machine);
        v.probes_sent = probe.sent;
        v.probes_lost = probe.sent - probe.answered;
        v.is_tcp = probe.is_tcp;
        snprintf(v.trouble, sizeof(v.trouble), "%s", machine_trouble(s, m));
        return v;
}
