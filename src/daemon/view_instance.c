#include "daemon/view_instance.h"

#include "base/clock.h"
#include "daemon/say.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNS_MOST = 10000, CONNS_PRESET = 50 };

/* ---- vips ---- */

static uint64_t events_of(const struct instance_vip_counters *c, enum instance_event_type first,
                          enum instance_event_type last)
{
        uint64_t sum = 0;
        for (unsigned i = first; i <= (unsigned)last; i++)
                sum += c->sum.event[i];
        return sum;
}

/* The lag that a share of protected connections does not exceed, in bytes. */
static double lag_quantile(const struct instance_vip_counters *c, double share)
{
        uint64_t all = 0;
        uint64_t below = 0;
        for (int i = 0; i < 24; i++)
                all += c->lag_bytes[i];
        for (int i = 0; i < 24 && all; i++) {
                below += c->lag_bytes[i];
                if ((double)below >= share * (double)all)
                        return i ? (double)((1U << i) - 1) : 0;
        }
        return (double)NAN;
}

static const char *vip_state(const struct dog_group *g)
{
        bool is_any = false;
        bool is_all = true;
        for (unsigned m = 0; m < g->members; m++) {
                is_any |= g->member[m].weight > 0;
                is_all &= g->member[m].weight > 0 || g->member[m].role != DOG_ROLE_PRIMARY;
        }
        return !is_any ? "DOWN" : g->is_alerting ? "ALERT" : is_all ? "FINE" : "REDUCED";
}

static json_t *weights_row(const struct dog_group *g, char *words, size_t room)
{
        json_t *o = json_object();
        double sum = 0;
        words[0] = 0;
        for (unsigned m = 0; m < g->members; m++)
                sum += g->member[m].weight;
        for (unsigned m = 0; m < g->members; m++) {
                double part = sum > 0 ? g->member[m].weight / sum : 0;
                json_object_set_new(o, g->member[m].name, json_real(part));
                if (part > 0)
                        say_append(words, room, "%s%s %.0f%%", words[0] ? " " : "", g->member[m].name,
                                   100 * part);
        }
        if (!words[0])
                snprintf(words, room, "nobody");
        return o;
}

static json_t *events_row(const struct instance_vip_counters *c)
{
        json_t *o = json_object();
        for (int i = 0; i < INSTANCE_EVENT_COUNT; i++)
                json_object_set_new(o, instance_event_word((enum instance_event_type)i),
                                    json_integer((json_int_t)c->sum.event[i]));
        return o;
}

struct barred {
        uint16_t vip;
        json_int_t n;
};

static bool barred_one(void *user, uint32_t id, const struct instance_class *c)
{
        struct barred *b = user;
        (void)id;
        b->n += c->vip == b->vip && instance_front_class_is_barred(c);
        return true;
}

static json_int_t barred_count(const struct view_instance *v, unsigned i)
{
        struct barred b = {.vip = (uint16_t)instance_service_vip_number(v->service, i)};
        if (v->config->vip[i].has_classes)
                instance_front_classes(instance_service_front(v->service), barred_one, &b);
        return b.n;
}

static json_t *vip_row(const struct view_instance *v, unsigned i)
{
        static const char *const protect[] = {"auto", "always", "never", "share"};
        const struct dog_config_vip *set = &v->config->vip[i];
        const struct dog_group *g = instance_service_group(v->service, i);
        struct instance_vip_counters c;
        memset(&c, 0, sizeof(c));
        instance_front_vip_read(instance_service_front(v->service),
                                instance_service_vip_number(v->service, i), &c);
        char address[INET6_ADDRSTRLEN];
        char at[INET6_ADDRSTRLEN + 16];
        char words[200];
        inet_ntop(set->address.version == 6 ? AF_INET6 : AF_INET, set->address.bytes, address,
                  sizeof(address));
        snprintf(at, sizeof(at), set->address.version == 6 ? "[%s]" : "%s", address);
        if (set->port)
                say_append(at, sizeof(at), ":%lld", (long long)set->port);
        else
                say_append(at, sizeof(at), ":any");
        if (set->protocol)
                say_append(at, sizeof(at), "/udp");
        json_t *weights = weights_row(g, words, sizeof(words));
        double served = (double)g->tally.served_ns;
        uint64_t kept = c.protected_now + c.alone_now;
        json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "vip", set->name, "address", at, "state",
                                vip_state(g), "protect", protect[set->protect], "new_to", words, "weights",
                                weights);
        static const char *const mode[] = {[INSTANCE_MODE_TRANSLATED] = "translated",
                                           [INSTANCE_MODE_PARTLY] = "partly",
                                           [INSTANCE_MODE_ALIGNED] = "aligned"};
        const char *why = "";
        enum instance_mode now = instance_service_mode(v->service, i, &why);
        bool is_protected_tcp = !set->protocol && set->protect != DOG_CONFIG_PROTECT_NEVER;
        json_object_set_new(row, "mode", json_string(is_protected_tcp ? mode[now] : "-"));
        json_object_set_new(row, "mode_why", json_string(why));
        json_object_set_new(row, "connections", json_integer((json_int_t)kept));
        json_object_set_new(row, "protected", json_integer((json_int_t)c.protected_now));
        json_object_set_new(row, "alone", json_integer((json_int_t)c.alone_now));
        json_object_set_new(row, "safe",
                            say_real(kept ? (double)c.protected_now / (double)kept : (double)NAN));
        json_object_set_new(row, "promoted",
                            json_integer((json_int_t)events_of(&c, INSTANCE_EVENT_PROMOTED_FIN,
                                                               INSTANCE_EVENT_PROMOTED_PLAN)));
        json_object_set_new(row, "evicted",
                            json_integer((json_int_t)events_of(&c, INSTANCE_EVENT_EVICTED_LATE,
                                                               INSTANCE_EVENT_EVICTED_UNFIT)));
        json_object_set_new(row, "unprotected",
                            json_integer((json_int_t)(c.sum.event[INSTANCE_EVENT_BARE] +
                                                      c.sum.event[INSTANCE_EVENT_TABLE_FULL])));
        json_object_set_new(row, "lag_p50_bytes", say_real(lag_quantile(&c, 0.5)));
        json_object_set_new(row, "lag_p99_bytes", say_real(lag_quantile(&c, 0.99)));
        json_object_set_new(row, "to_servers_packets", json_integer((json_int_t)c.sum.to_servers));
        json_object_set_new(row, "to_clients_packets", json_integer((json_int_t)c.sum.to_clients));
        json_object_set_new(row, "to_servers_bytes", json_integer((json_int_t)c.sum.to_servers_bytes));
        json_object_set_new(row, "to_clients_bytes", json_integer((json_int_t)c.sum.to_clients_bytes));
        json_object_set_new(row, "copies", json_integer((json_int_t)c.sum.copies));
        json_object_set_new(row, "reflected", json_integer((json_int_t)c.sum.reflected));
        json_object_set_new(row, "protected_share", json_real((double)g->share / DOG_SHARE_ONE));
        json_object_set_new(row, "kept",
                            say_real(served > 0 ? 1 - (double)g->tally.bad_ns / served : (double)NAN));
        json_object_set_new(row, "not_replayable", json_integer(barred_count(v, i)));
        json_object_set_new(row, "decisions", json_integer((json_int_t)g->tally.decisions));
        json_object_set_new(row, "helped", json_integer((json_int_t)g->tally.helped));
        json_object_set_new(row, "neutral", json_integer((json_int_t)g->tally.neutral));
        json_object_set_new(row, "hurt", json_integer((json_int_t)g->tally.hurt));
        json_object_set_new(row, "events", events_row(&c));
        return row;
}

json_t *view_vips(const struct view_instance *v, int64_t now_ns)
{
        (void)now_ns;
        json_t *rows = json_array();
        for (unsigned i = 0; v->service && i < v->config->vips; i++)
                json_array_append_new(rows, vip_row(v, i));
        return rows;
}

/* ---- instances ---- */

/* Over the vips that it serves: the worst risk, and what it does for any of them. */
struct seen {
        const struct dog_member *worst;
        const struct dog_group *group;
        unsigned seats, serving, standing, leaving;
        double weight; /* of the new connections of the vip where it has most */
        uint64_t packets, bytes, resets, retransmitted, opened;
};

static struct seen instance_seen(const struct view_instance *v, unsigned i)
{
        struct seen s = {0};
        for (unsigned a = 0; a < v->config->vips; a++) {
                const struct dog_group *g = instance_service_group(v->service, a);
                double sum = 0;
                for (unsigned k = 0; k < g->members; k++)
                        sum += g->member[k].weight;
                for (unsigned k = 0; k < v->config->vip[a].seats; k++) {
                        const struct dog_member *m = &g->member[k];
                        struct instance_server_stats stats;
                        if (v->config->vip[a].seat[k].instance != i)
                                continue;
                        s.seats++;
                        s.serving += m->weight > 0;
                        s.standing += m->standby > 0;
                        s.leaving += g->leaving >> k & 1;
                        s.weight = sum > 0 ? fmax(s.weight, m->weight / sum) : s.weight;
                        bool is_worse =
                                s.worst && s.worst->is_usable &&
                                (!m->is_usable || m->belief.p_breach[0] > s.worst->belief.p_breach[0]);
                        if (!s.worst || is_worse) {
                                s.worst = m;
                                s.group = g;
                        }
                        if (instance_front_server_read(instance_service_front(v->service),
                                                       instance_service_server_number(v->service, a, k),
                                                       &stats) < 0)
                                continue;
                        s.packets += stats.packets;
                        s.bytes += stats.bytes;
                        s.resets += stats.resets;
                        s.retransmitted += stats.retransmitted;
                        s.opened += stats.opened;
                }
        }
        return s;
}

static const char *instance_state(const struct instance_machine_view *m, const struct seen *s)
{
        if (!m->has_answered)
                return s->group && !s->group->is_started ? "STARTING" : "WAITING";
        if (!m->has_carrier || !m->is_answering)
                return "DEAD";
        if (m->is_drained)
                return m->serves ? "DRAINING" : "DRAINED";
        if (m->is_refusing)
                return "REFUSING";
        if (s->group && !s->group->is_started)
                return "STARTING";
        return s->seats == 0                         ? "UNUSED"
               : s->serving && s->leaving < s->seats ? "SERVING"
               : s->leaving                          ? "LEAVING"
               : s->worst->role == DOG_ROLE_NEVER    ? "WATCHED"
               : s->standing                         ? "STANDBY"
                                                     : "AVOIDED";
}

static void instance_vitals(json_t *row, const struct instance_machine_view *m)
{
        static const struct {
                const char *key;
                enum dog_vital vital;
        } map[] = {{"cpu", DOG_VITAL_CPU},
                   {"memory", DOG_VITAL_MEMORY},
                   {"stall_cpu", DOG_VITAL_STALL_CPU},
                   {"stall_memory", DOG_VITAL_STALL_MEMORY},
                   {"stall_io", DOG_VITAL_STALL_IO},
                   {"disk", DOG_VITAL_DISK},
                   {"load", DOG_VITAL_LOAD},
                   {"accept_queue", DOG_VITAL_ACCEPT},
                   {"host_connections", DOG_VITAL_CONNS}};
        double stall = (double)NAN;
        for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
                double value = m->has_vitals ? m->vitals.value[map[i].vital] : (double)NAN;
                json_object_set_new(row, map[i].key, say_real(value));
                bool is_stall = map[i].vital >= DOG_VITAL_STALL_CPU && map[i].vital <= DOG_VITAL_STALL_IO;
                if (is_stall && !(value <= stall))
                        stall = isnan(value) ? stall : value;
        }
        json_object_set_new(row, "stall", say_real(stall));
        json_object_set_new(row, "vitals_age_s",
                            say_real(m->has_vitals ? (double)m->vitals_age_ns / 1e9 : (double)NAN));
        json_object_set_new(row, "is_doubted", json_boolean(m->is_doubted));
        json_object_set_new(row, "source", json_string(m->source));
        if (strcmp(m->source, "agent") == 0)
                json_object_set_new(row, "agent",
                                    json_pack("{s:b, s:I, s:I, s:I, s:I}", "is_heard", (int)m->agent.is_heard,
                                              "reports", (json_int_t)m->agent.reports, "connections",
                                              (json_int_t)m->agent.conns, "impossible",
                                              (json_int_t)m->agent.impossible, "bad_tag",
                                              (json_int_t)m->agent.dropped[DOG_AGENT_BAD_TAG]));
}

/* I2, F5: what may become of the host, from what it reports; chances at 5, 15 and 60 min. */
static json_t *instance_node(const struct instance_machine_view *m)
{
        const struct dog_node_word *w = &m->node;
        if (!m->has_node)
                return json_null();
        json_t *overload = json_array(), *failure = json_array(), *overload_skill = json_array(),
               *failure_skill = json_array();
        json_t *modes = json_array();
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                json_array_append_new(overload, say_real((double)w->overload[h]));
                json_array_append_new(failure, say_real((double)w->failure[h]));
                json_array_append_new(overload_skill, json_boolean(w->has_overload_skill[h]));
                json_array_append_new(failure_skill, json_boolean(w->has_failure_skill[h]));
        }
        for (int i = 0; i < DOG_NODE_MODE_COUNT; i++)
                json_array_append_new(modes, json_pack("{s:s, s:o, s:b}", "mode",
                                                       dog_node_mode_word((enum dog_node_mode)i), "p_15min",
                                                       say_real((double)w->mode[i]), "has_skill",
                                                       (int)w->has_mode_skill[i]));
        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "overload", overload,
                         "overload_has_skill", overload_skill, "failure", failure, "failure_has_skill",
                         failure_skill, "health", say_real((double)w->health), "unusual",
                         say_real((double)w->unusual), "modes", modes, "text", m->node_text);
}

static json_t *instance_row(const struct view_instance *v, unsigned i, int64_t now_ns)
{
        const struct dog_config_instance *set = &v->config->instance[i];
        struct instance_machine_view m = instance_service_machine(v->service, i, now_ns);
        struct seen s = instance_seen(v, i);
        char address[INET6_ADDRSTRLEN];
        inet_ntop(set->address.version == 6 ? AF_INET6 : AF_INET, set->address.bytes, address,
                  sizeof(address));
        const struct dog_belief *b = s.worst ? &s.worst->belief : NULL;
        const char *why = m.trouble;
        if (!*why && b && b->hint != DOG_HINT_NONE)
                why = dog_hint_text(s.group, b->hint);
        if (!*why && b && b->is_bad)
                why = "breaks a promise now";
        if (!*why && b && b->announced[0])
                why = b->announced;
        if (!*why && s.leaving)
                why = "its connections are carried over";
        if (!*why && strcmp(m.source, "agent") == 0 && !m.agent.is_heard)
                why = m.agent.dropped[DOG_AGENT_BAD_TAG] ? "its agent has another key"
                                                         : "its agent is not heard";
        /* What the front suspects, and what the host says of itself. */
        char both[400];
        if (m.has_vitals && m.node_trouble[0]) {
                snprintf(both, sizeof(both), "%s%s%s", why, *why ? "; " : "", m.node_trouble);
                why = both;
        }
        bool is_there = b && m.has_answered;
        json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s}", "instance", set->name, "address", address,
                                "device", set->device, "state", instance_state(&m, &s), "why", why);
        /* Who cannot be reached has no health, whatever was believed a moment ago. */
        double health = is_there && s.worst->is_usable ? (double)b->health : is_there ? 0 : (double)NAN;
        json_object_set_new(row, "health", say_real(health));
        json_object_set_new(row, "score", say_real(is_there ? (double)b->score : (double)NAN));
        static const char *const p[] = {"p_near", "p_middle", "p_far"};
        for (int h = 0; h < DOG_HORIZONS; h++)
                json_object_set_new(row, p[h],
                                    say_real(!is_there            ? (double)NAN
                                             : s.worst->is_usable ? (double)b->p_breach[h]
                                                                  : 1));
        json_object_set_new(row, "rtt_ms", say_real(m.rtt_ms));
        json_object_set_new(row, "loss", say_real(m.loss));
        json_object_set_new(row, "response_ms", say_real(m.response_ms));
        json_object_set_new(row, "response_most_ms", say_real(m.response_most_ms));
        json_object_set_new(row, "answers", json_integer((json_int_t)m.answers));
        json_object_set_new(row, "weight", json_real(s.weight));
        json_object_set_new(row, "serves", json_integer(m.serves));
        json_object_set_new(row, "stands_by", json_integer(m.stands_by));
        json_object_set_new(row, "serving", json_integer(s.serving));
        json_object_set_new(row, "standing", json_integer(s.standing));
        json_object_set_new(row, "opened", json_integer((json_int_t)s.opened));
        json_object_set_new(row, "packets", json_integer((json_int_t)s.packets));
        json_object_set_new(row, "bytes", json_integer((json_int_t)s.bytes));
        json_object_set_new(row, "resets", json_integer((json_int_t)s.resets));
        json_object_set_new(row, "retransmitted", json_integer((json_int_t)s.retransmitted));
        json_object_set_new(row, "probes_sent", json_integer((json_int_t)m.probes_sent));
        json_object_set_new(row, "probes_lost", json_integer((json_int_t)m.probes_lost));
        json_object_set_new(row, "told_health", say_real(m.told_health));
        instance_vitals(row, &m);
        json_object_set_new(row, "node", instance_node(&m));
        return row;
}

json_t *view_instances(const struct view_instance *v, int64_t now_ns)
{
        json_t *rows = json_array();
        for (unsigned i = 0; v->service && i < v->config->instances; i++)
                json_array_append_new(rows, instance_row(v, i, now_ns));
        return rows;
}

json_t *view_forecast_hosts(const struct view_instance *v, json_t *rows, int64_t now_ns)
{
        for (unsigned i = 0; v->service && i < v->config->instances; i++) {
                struct instance_machine_view m = instance_service_machine(v->service, i, now_ns);
                const char *vip = "";
                size_t k;
                json_t *row;
                json_array_foreach(rows, k, row)
                {
                        if (!m.has_node || strcmp(say_word(row, "path"), v->config->instance[i].name) != 0 ||
                            strcmp(say_word(row, "class"), vip) == 0)
                                continue;
                        vip = say_word(row, "class");
                        json_object_set_new(row, "node", instance_node(&m));
                }
        }
        return rows;
}

/* ---- classes of requests ---- */

static int vip_named(const struct view_instance *v, const char *name)
{
        for (size_t i = 0; i < v->config->vips; i++)
                if (strcmp(v->config->vip[i].name, name) == 0)
                        return (int)i;
        return -1;
}

struct requests {
        const struct view_instance *v;
        json_t *rows;
        int vip;          /* -1: any */
        const char *name; /* NULL: any; its number or its text */
        uint32_t id;
        unsigned found;
};

static void request_name(uint32_t id, char name[16])
{
        snprintf(name, 16, "%08x", id);
}

static bool request_one(void *user, uint32_t id, const struct instance_class *c)
{
        struct requests *r = user;
        char name[16];
        char text[sizeof(c->text) + 1];
        int vip = instance_service_vip_of(r->v->service, c->vip);
        request_name(id, name);
        snprintf(text, sizeof(text), "%.*s", (int)(c->length < sizeof(c->text) ? c->length : sizeof(c->text)),
                 c->text);
        if ((r->vip >= 0 && vip != r->vip) ||
            (r->name && strcmp(r->name, name) != 0 && strcmp(r->name, text) != 0))
                return true;
        r->id = id;
        r->found++;
        json_array_append_new(r->rows,
                              json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "class", name, "request", text,
                                        "vip", vip < 0 ? "-" : r->v->config->vip[vip].name, "seen",
                                        (json_int_t)c->seen, "diverged", (json_int_t)c->diverged, "state",
                                        instance_front_class_is_barred(c) ? "NOT REPLAYABLE" : "protected"));
        return true;
}

static json_t *requests_of(const struct view_instance *v, const json_t *question, const char *name,
                           uint32_t *id, struct dog_err *e)
{
        const char *vip = json_string_value(json_object_get(question, "vip"));
        struct requests r = {.v = v, .vip = vip ? vip_named(v, vip) : -1, .name = name};
        if (vip && r.vip < 0) {
                dog_err_set(e, -ENOENT, "there is no vip \"%s\"; see: sundog vips", vip);
                return NULL;
        }
        r.rows = json_array();
        int rc = instance_front_classes(instance_service_front(v->service), request_one, &r);
        if (rc < 0)
                dog_err_set(e, rc, "cannot read the classes of requests: %s", strerror(-rc));
        else if (name && r.found == 0)
                rc = dog_err_set(e, -ENOENT,
                                 "no class of requests is called \"%s\"; see: sundog vips --classes", name);
        else if (name && r.found > 1)
                rc = dog_err_set(e, -EINVAL,
                                 "%u vips have requests \"%s\": give the class's number or add --vip; see: "
                                 "sundog vips --classes",
                                 r.found, name);
        *id = r.id;
        if (rc < 0) {
                json_decref(r.rows);
                return NULL;
        }
        return r.rows;
}

json_t *view_requests(const struct view_instance *v, const json_t *question, struct dog_err *e)
{
        uint32_t id;
        return requests_of(v, question, NULL, &id, e);
}

json_t *view_forgive(const struct view_instance *v, const json_t *question, struct dog_err *e)
{
        const char *name = json_string_value(json_object_get(question, "class"));
        uint32_t id;
        if (!name) {
                dog_err_set(e, -EINVAL, "name the class: {\"ask\":\"forgive\",\"class\":\"GET /news\"}");
                return NULL;
        }
        json_t *rows = requests_of(v, question, name, &id, e);
        if (!rows)
                return NULL;
        json_t *row = json_incref(json_array_get(rows, 0));
        json_decref(rows);
        bool was_barred = strcmp(json_string_value(json_object_get(row, "state")), "protected") != 0;
        if (instance_service_forgive(v->service, id, json_string_value(json_object_get(row, "request")),
                                     was_barred, e) < 0) {
                json_decref(row);
                return NULL;
        }
        json_object_set_new(row, "was_barred", json_boolean(was_barred));
        json_object_set_new(row, "state", json_string("protected"));
        return row;
}

/* ---- connections ---- */

struct listing {
        const struct view_instance *v;
        json_t *rows;
        int vip, machine; /* -1: any */
        size_t most;
        uint32_t now_tick;
};

static int machine_of(const struct listing *l, unsigned server)
{
        unsigned vip;
        int seat = instance_service_seat_of(l->v->service, server, &vip);
        return seat < 0 ? -1 : l->v->config->vip[vip].seat[seat].instance;
}

static const char *instance_name(const struct listing *l, int machine)
{
        return machine < 0 ? "-" : l->v->config->instance[machine].name;
}

/* IPv4 dressed as IPv6 is shown as what it is. */
static void client_text(const struct instance_flow *f, char *to, size_t room)
{
        char address[INET6_ADDRSTRLEN];
        struct in6_addr six;
        memcpy(&six, &f->client, sizeof(six));
        bool is_four = IN6_IS_ADDR_V4MAPPED(&six);
        inet_ntop(is_four ? AF_INET : AF_INET6, is_four ? (const void *)&f->client.word[3] : &six, address,
                  sizeof(address));
        snprintf(to, room, is_four ? "%s:%u" : "[%s]:%u", address, ntohs(f->port));
}

static const char *conn_state(const struct instance_conn *c)
{
        return c->flags & INSTANCE_CONN_CLOSED     ? "closed"
               : c->flags & INSTANCE_CONN_PROMOTED ? "promoted"
               : c->flags & INSTANCE_CONN_ALONE    ? "alone"
               : c->flags & INSTANCE_CONN_LEAVING  ? "leaving"
                                                   : "protected";
}

static bool listing_one(void *user, const struct instance_flow *flow, const struct instance_conn *c)
{
        struct listing *l = user;
        int vip = instance_service_vip_of(l->v->service, flow->vip);
        int primary = machine_of(l, c->primary);
        int standby = machine_of(l, c->standby);
        if ((l->vip >= 0 && vip != l->vip) ||
            (l->machine >= 0 && primary != l->machine && standby != l->machine))
                return true;
        char client[INET6_ADDRSTRLEN + 16];
        client_text(flow, client, sizeof(client));
        bool is_promoted = c->flags & INSTANCE_CONN_PROMOTED;
        bool has_standby = !(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE));
        uint32_t lag = c->a_high - c->b_high;
        double tick_ms = (double)(1 << INSTANCE_TICK_SHIFT) / (double)DOG_MS;
        json_t *row =
                json_pack("{s:s, s:s, s:s, s:s, s:s}", "vip", vip < 0 ? "-" : l->v->config->vip[vip].name,
                          "client", client, "served_by", instance_name(l, is_promoted ? standby : primary),
                          "standby", has_standby ? instance_name(l, standby) : "-", "state", conn_state(c));
        json_object_set_new(row, "why",
                            json_string(c->why && c->why < INSTANCE_EVENT_COUNT
                                                ? instance_event_word((enum instance_event_type)c->why)
                                                : ""));
        json_object_set_new(row, "lag_bytes",
                            has_standby ? json_integer((int32_t)lag > 0 ? (json_int_t)lag : 0) : json_null());
        json_object_set_new(row, "quiet_ms", json_real((double)(uint32_t)(l->now_tick - c->seen) * tick_ms));
        json_object_set_new(row, "is_aligned", json_boolean(c->flags & INSTANCE_CONN_ALIGNED));
        json_object_set_new(row, "is_of_peer", json_boolean(c->flags & INSTANCE_CONN_PEER));
        json_array_append_new(l->rows, row);
        return json_array_size(l->rows) < l->most;
}

json_t *view_conns(const struct view_instance *v, const json_t *question, int64_t now_ns, struct dog_err *e)
{
        const char *vip = json_string_value(json_object_get(question, "vip"));
        const char *instance = json_string_value(json_object_get(question, "instance"));
        json_int_t most = json_integer_value(json_object_get(question, "most"));
        struct listing l = {.v = v,
                            .vip = vip ? vip_named(v, vip) : -1,
                            .machine = instance ? instance_service_machine_of(v->service, instance) : -1,
                            .most = most <= 0           ? CONNS_PRESET
                                    : most > CONNS_MOST ? CONNS_MOST
                                                        : (size_t)most,
                            .now_tick = (uint32_t)(now_ns >> INSTANCE_TICK_SHIFT)};
        if (vip && l.vip < 0) {
                dog_err_set(e, -ENOENT, "there is no vip \"%s\"; see: sundog vips", vip);
                return NULL;
        }
        if (instance && l.machine < 0) {
                dog_err_set(e, -ENOENT, "there is no instance \"%s\"; see: sundog instances", instance);
                return NULL;
        }
        l.rows = json_array();
        int rc = instance_front_conns(instance_service_front(v->service), listing_one, &l);
        if (rc < 0) {
                json_decref(l.rows);
                dog_err_set(e, rc, "cannot read the connections: %s", strerror(-rc));
                return NULL;
        }
        return l.rows;
}

/* ---- promote and drain ---- */

/* "10.0.0.1:4711" or "[fd00::1]:4711". */
static bool client_read(const char *text, struct instance_flow *flow)
{
        char host[INET6_ADDRSTRLEN];
        struct in_addr four;
        bool is_six = *text == '[';
        const char *at = text + is_six;
        size_t length = strcspn(at, is_six ? "]" : ":");
        if (length == 0 || length >= sizeof(host))
                return false;
        memcpy(host, at, length);
        host[length] = 0;
        at += length;
        if ((is_six && *at++ != ']') || *at++ != ':')
                return false;
        char *end = NULL;
        unsigned long port = strtoul(at, &end, 10);
        if (end == at || *end || port == 0 || port > 65535)
                return false;
        flow->port = htons((uint16_t)port);
        if (is_six)
                return inet_pton(AF_INET6, host, &flow->client) == 1;
        if (inet_pton(AF_INET, host, &four) != 1)
                return false;
        flow->client.word[2] = htonl(0xffff);
        flow->client.word[3] = four.s_addr;
        return true;
}

/* A client's port may have a connection to several vips: without --vip it must be one. */
static json_t *promote_client(const struct view_instance *v, const json_t *question, const char *client,
                              struct dog_err *e)
{
        const char *vip = json_string_value(json_object_get(question, "vip"));
        bool is_dry = json_is_true(json_object_get(question, "dry"));
        struct instance_flow flow = {0};
        struct instance_conn c;
        int found = -1;
        if (!client_read(client, &flow)) {
                dog_err_set(e, -EINVAL,
                            "\"%s\" is neither an instance nor a client: write ADDRESS:PORT as sundog conns "
                            "shows it",
                            client);
                return NULL;
        }
        if (vip && vip_named(v, vip) < 0) {
                dog_err_set(e, -ENOENT, "there is no vip \"%s\"; see: sundog vips", vip);
                return NULL;
        }
        for (unsigned i = 0; i < v->config->vips; i++) {
                flow.vip = (uint16_t)instance_service_vip_number(v->service, i);
                if ((vip && strcmp(v->config->vip[i].name, vip) != 0) ||
                    instance_front_conn_get(instance_service_front(v->service), &flow, &c) < 0)
                        continue;
                if (found >= 0) {
                        dog_err_set(e, -EINVAL, "%s has connections to %s and to %s: add --vip", client,
                                    v->config->vip[found].name, v->config->vip[i].name);
                        return NULL;
                }
                found = (int)i;
        }
        if (found < 0) {
                dog_err_set(e, -ENOENT, "%s has no protected connection; see: sundog conns", client);
                return NULL;
        }
        flow.vip = (uint16_t)instance_service_vip_number(v->service, (unsigned)found);
        instance_front_conn_get(instance_service_front(v->service), &flow, &c);
        bool is_movable = !(c.flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE | INSTANCE_CONN_CLOSED));
        if (!is_movable) {
                dog_err_set(e, -ENOENT, "the connection of %s to %s has no standby: it is %s", client,
                            v->config->vip[found].name, conn_state(&c));
                return NULL;
        }
        struct listing l = {.v = v};
        if (!is_dry && instance_service_promote_one(v->service, &flow, e) < 0)
                return NULL;
        return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:b}", "client", client, "vip",
                         v->config->vip[found].name, "from", instance_name(&l, machine_of(&l, c.primary)),
                         "to", instance_name(&l, machine_of(&l, c.standby)), "movable", 1, "bound", 0,
                         "failed", 0, "dry", (int)is_dry);
}

json_t *view_promote(const struct view_instance *v, const json_t *question, struct dog_err *e)
{
        const char *name = json_string_value(json_object_get(question, "what"));
        if (!name) {
                dog_err_set(e, -EINVAL, "name an instance or a client: {\"ask\":\"promote\",\"what\":\"a\"}");
                return NULL;
        }
        int i = instance_service_machine_of(v->service, name);
        if (i < 0)
                return promote_client(v, question, name, e);
        bool is_dry = json_is_true(json_object_get(question, "dry"));
        struct instance_promotion done;
        if (instance_service_promote(v->service, (unsigned)i, is_dry, &done, e) < 0)
                return NULL;
        return json_pack("{s:s, s:i, s:i, s:i, s:b}", "instance", name, "movable", (int)done.movable, "bound",
                         (int)done.bound, "failed", (int)done.failed, "dry", (int)is_dry);
}

json_t *view_drained(const struct view_instance *v, const char *name, int64_t now_ns)
{
        int i = instance_service_machine_of(v->service, name);
        struct instance_machine_view m = instance_service_machine(v->service, (unsigned)i, now_ns);
        return json_pack("{s:s, s:b, s:i, s:i}", "instance", name, "drained", (int)m.is_drained, "serves",
                         (int)m.serves, "stands_by", (int)m.stands_by);
}

/* ---- status ---- */

/* The other balancer of the pair, and a note when it knows nothing of our connections. @return NULL: none */
static json_t *view_pair(const struct view_instance *v, json_t *notes, bool *is_degraded, int64_t now_ns)
{
        struct instance_pair_view p;
        char peer[INET6_ADDRSTRLEN] = "";
        const struct dog_config_address *a = &v->config->front.pair;
        if (!instance_service_pair(v->service, &p, now_ns))
                return NULL;
        inet_ntop(a->version == 4 ? AF_INET : AF_INET6, a->bytes, peer, sizeof(peer));
        uint64_t refused = 0;
        for (size_t i = 0; i < sizeof(p.refused) / sizeof(p.refused[0]); i++)
                refused += p.refused[i];
        json_t *pair = json_pack(
                "{s:s, s:b, s:b, s:o}", "peer", peer, "alive", p.is_alive, "equal", p.is_equal, "silent_s",
                p.heard_ns ? json_real((double)(now_ns - p.heard_ns) / (double)DOG_S) : json_null());
        const struct {
                const char *key;
                uint64_t value;
        } count[] = {{"waiting", p.waiting}, {"told", p.sent},    {"taken", p.taken},
                     {"resent", p.resent},   {"tables", p.walks}, {"restarts", p.boots},
                     {"refused", refused},   {"failed", p.failed}};
        for (size_t i = 0; i < sizeof(count) / sizeof(count[0]); i++)
                json_object_set_new(pair, count[i].key, json_integer((json_int_t)count[i].value));
        if (!p.is_alive || !p.is_equal) {
                *is_degraded = true;
                json_array_append_new(
                        notes,
                        json_string(!p.is_alive ? "pair: the other balancer is silent: nobody else knows "
                                                  "the connections"
                                                : "pair: the other balancer serves other addresses or "
                                                  "instances: nothing is shared"));
        }
        return pair;
}

json_t *view_instance_status(const struct view_instance *v, json_t *status, int64_t now_ns)
{
        if (!v->service || !status)
                return status;
        json_t *vips = view_vips(v, now_ns);
        json_t *instances = view_instances(v, now_ns);
        json_t *notes = json_object_get(status, "notes");
        bool is_degraded = json_is_true(json_object_get(status, "is_degraded"));
        size_t i;
        const json_t *row;
        char text[300];
        json_array_foreach(instances, i, row)
        {
                const char *state = json_string_value(json_object_get(row, "state"));
                if (strcmp(state, "DEAD") != 0 && strcmp(state, "WAITING") != 0)
                        continue;
                is_degraded = true;
                snprintf(text, sizeof(text), "instance %s: %s",
                         json_string_value(json_object_get(row, "instance")),
                         json_string_value(json_object_get(row, "why")));
                json_array_append_new(notes, json_string(text));
        }
        json_array_foreach(vips, i, row)
        {
                const char *state = json_string_value(json_object_get(row, "state"));
                const char *name = json_string_value(json_object_get(row, "vip"));
                if (strcmp(state, "DOWN") != 0)
                        continue;
                is_degraded = true;
                snprintf(text, sizeof(text), "vip %s: nobody serves it", name);
                json_array_append_new(notes, json_string(text));
        }
        json_t *pair = view_pair(v, notes, &is_degraded, now_ns);
        json_object_set_new(status, "is_degraded", json_boolean(is_degraded));
        json_object_set_new(status, "vips", vips);
        json_object_set_new(status, "instances", instances);
        if (pair)
                json_object_set_new(status, "pair", pair);
        json_t *drops = json_object();
        uint64_t counted[INSTANCE_DROP_COUNT] = {0};
        static const char *const word[] = {
#define X(name, help) #name,
                INSTANCE_DROPS(X)
#undef X
        };
        if (instance_front_drops_read(instance_service_front(v->service), counted) == 0)
                for (int k = 0; k < INSTANCE_DROP_COUNT; k++)
                        if (counted[k])
                                json_object_set_new(drops, word[k], json_integer((json_int_t)counted[k]));
        json_object_set_new(status, "front_drops", drops);
        return status;
}
