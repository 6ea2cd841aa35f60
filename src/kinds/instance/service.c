/* The service: its life, its clock, and what happened in words. */
#include "kinds/instance/service_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "hands/netlink.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often servers without a next hop are tried again, and what the kernel knows is read anew. */
#define RETRY_NS (1 * DOG_S)
/* Nothing is decided before every instance could have answered. */
#define SETTLE_LEAST_NS (150 * DOG_MS)
#define SETTLE_MOST_NS  (2 * DOG_S)

/* ---- words ---- */

static bool event_is_promotion(uint8_t type)
{
        return type >= INSTANCE_EVENT_PROMOTED_FIN && type <= INSTANCE_EVENT_PROMOTED_PLAN;
}

/* "42 connections of web promoted from a to b: its server was found dead; longest quiet 12 ms" */
static void service_digested(void *user, const struct instance_digest_row *row)
{
        struct instance_service *s = user;
        int i = instance_service_vip_of(s, row->vip);
        const char *vip = i < 0 ? "a vip that is gone" : s->vip[i].group->name;
        const char *from = service_server_name(s, row->from);
        const char *to = service_server_name(s, row->to);
        bool is_promotion = event_is_promotion(row->type);
        double quiet_ms = (double)row->quiet_ticks * (double)(1 << INSTANCE_TICK_SHIFT) / (double)DOG_MS;
        struct instance_news n = {.at_ns = row->last_ns,
                                  .event = instance_event_word((enum instance_event_type)row->type),
                                  .subject = vip,
                                  .vip = i < 0 ? NULL : vip,
                                  .from = from,
                                  .to = to,
                                  .count = row->count,
                                  .quiet_ms = is_promotion ? quiet_ms : (double)NAN,
                                  .is_warning = row->type != INSTANCE_EVENT_PROMOTED_PLAN};
        const char *why = instance_event_help((enum instance_event_type)row->type);
        const char *many = row->count == 1 ? "" : "s";
        struct instance_class class;
        char request[80] = "";
        if ((row->type == INSTANCE_EVENT_EVICTED_CONTENT || row->type == INSTANCE_EVENT_EVICTED_CLASS) &&
            row->class && instance_front_class_get(s->front, row->class, &class) == 0)
                snprintf(request, sizeof(request), ": \"%.*s\"",
                         (int)(class.length < sizeof(class.text) ? class.length : sizeof(class.text)),
                         class.text);
        if (is_promotion)
                service_tell(s, &n, "%u connection%s of %s promoted from %s to %s: %s; longest quiet %.0f ms",
                             row->count, many, vip, from ? from : "?", to ? to : "?", why, quiet_ms);
        else
                service_tell(s, &n, "%u connection%s of %s on %s, standby %s: %s%s", row->count, many, vip,
                             from ? from : "?", to ? to : "none", why, request);
}

/* What the data plane saw says something about an instance before any probe does. */
static void service_event(void *user, const struct instance_event *ev)
{
        struct instance_service *s = user;
        unsigned vip;
        int k = instance_service_seat_of(s, ev->primary, &vip);
        struct seat *seat = k < 0 ? NULL : &s->vip[vip].seat[k];
        if (seat && ev->type == INSTANCE_EVENT_PROMOTED_HANG) {
                seat->hangs++;
                seat->hang_ns = (int64_t)ev->at_ns;
        }
        if (seat && (ev->type == INSTANCE_EVENT_PROMOTED_RST || ev->type == INSTANCE_EVENT_PROMOTED_FIN))
                seat->reset_ns = (int64_t)ev->at_ns;
        pairing_event(s, ev);
        instance_digest_add(&s->digest, ev);
}

static void service_woken(void *user, unsigned server, unsigned conns, int64_t took_ns)
{
        struct instance_service *s = user;
        const char *name = service_server_name(s, server);
        if (conns)
                service_tell(
                        s,
                        &(struct instance_news){
                                .event = "woken", .subject = name ? name : "?", .from = name, .count = conns},
                        "%u connections of %s were woken on their standbys within %.1f ms", conns,
                        name ? name : "?", (double)took_ns / (double)DOG_MS);
}

/* ---- copying what was said ---- */

static size_t words_room(const struct instance_service_settings *s)
{
        size_t room = 2;
        room += (s->site ? strlen(s->site) : 0) + 1 + (s->tell_secret ? strlen(s->tell_secret) : 0) + 1;
        room += (s->pair_secret ? strlen(s->pair_secret) : 0) + 1;
        room += (s->aligned_secret ? strlen(s->aligned_secret) : 0) + 1;
        for (unsigned d = 0; d < s->front.devices; d++)
                room += strlen(s->front.device[d]) + 1;
        for (unsigned i = 0; i < s->machines; i++) {
                const struct instance_machine *m = &s->machine[i];
                room += strlen(m->name) + strlen(m->device) + (m->secret ? strlen(m->secret) : 0) +
                        (m->exporter ? strlen(m->exporter) : 0) + 4;
                for (unsigned f = 0; f < m->fates; f++)
                        room += strlen(m->fate[f]) + 1;
        }
        for (unsigned i = 0; i < s->vips; i++)
                room += strlen(s->vip[i].set.name) + 1;
        return room;
}

static const char *words_keep(char **at, const char *word)
{
        if (!word)
                return NULL;
        char *kept = *at;
        size_t size = strlen(word) + 1;
        memcpy(kept, word, size);
        *at += size;
        return kept;
}

static int service_copy(struct instance_service *s, const struct instance_service_settings *set)
{
        s->settings = *set;
        s->machines = set->machines;
        s->vips = set->vips;
        s->machine = calloc(set->machines + 1, sizeof(*s->machine));
        s->vip = calloc(set->vips + 1, sizeof(*s->vip));
        s->words = calloc(1, words_room(set));
        if (!s->machine || !s->vip || !s->words)
                return -ENOMEM;
        char *at = s->words;
        s->settings.site = words_keep(&at, set->site);
        s->settings.tell_secret = words_keep(&at, set->tell_secret);
        s->settings.pair_secret = words_keep(&at, set->pair_secret);
        s->settings.aligned_secret = words_keep(&at, set->aligned_secret);
        for (unsigned d = 0; d < set->front.devices; d++)
                s->settings.front.device[d] = words_keep(&at, set->front.device[d]);
        for (unsigned i = 0; i < set->machines; i++) {
                struct machine *m = &s->machine[i];
                *m = (struct machine){.service = s,
                                      .index = i,
                                      .set = set->machine[i],
                                      .agent = -1,
                                      .exporter_fd = -1,
                                      .exporter_due_ns = INT64_MAX,
                                      .has_carrier = true,
                                      .newest = dog_sample_at(INT64_MIN),
                                      .vitals = dog_vitals_unknown()};
                m->set.name = words_keep(&at, set->machine[i].name);
                m->set.device = words_keep(&at, set->machine[i].device);
                m->set.secret = words_keep(&at, set->machine[i].secret);
                m->set.exporter = words_keep(&at, set->machine[i].exporter);
                for (unsigned f = 0; f < m->set.fates; f++)
                        m->set.fate[f] = words_keep(&at, set->machine[i].fate[f]);
        }
        for (unsigned i = 0; i < set->vips; i++) {
                s->vip[i] = (struct address){
                        .service = s, .index = i, .plan = set->vip[i], .share = set->vip[i].set.share};
                s->vip[i].plan.set.name = words_keep(&at, set->vip[i].set.name);
                for (unsigned k = 0; k < set->vip[i].seats; k++)
                        s->vip[i].seat[k] = (struct seat){.retrans = (double)NAN,
                                                          .errors = (double)NAN,
                                                          .rate_kbps = (double)NAN,
                                                          .response_ms = (double)NAN,
                                                          .response_last_ms = (double)NAN,
                                                          .number = INSTANCE_NOBODY};
        }
        /* What was borrowed is not looked at again. */
        s->settings.machine = NULL;
        s->settings.vip = NULL;
        return 0;
}

/* ---- the front ---- */

/* A next hop that is not known yet may still come; what cannot be is an error. */
static bool may_come(int rc)
{
        return rc == -EAGAIN || rc == -EHOSTUNREACH || rc == -ENETUNREACH || rc == -ENODEV;
}

static struct instance_server_settings seat_settings(const struct instance_service *s,
                                                     const struct address *a, unsigned k)
{
        const struct instance_machine *m = &s->machine[a->plan.seat[k].machine].set;
        return (struct instance_server_settings){.name = m->name,
                                                 .vip = a->number,
                                                 .device = m->device,
                                                 .address = m->address,
                                                 .port = a->plan.seat[k].port};
}

static int seat_set(struct instance_service *s, struct address *a, unsigned k, int wait_ms, struct dog_err *e)
{
        struct instance_server_settings set = seat_settings(s, a, k);
        int rc = instance_front_server_set(s->front, a->seat[k].number, &set, wait_ms, e);
        a->seat[k].is_set = rc == 0;
        return rc;
}

/*
 * Connections are kept under the numbers of their vip and servers, so whoever was there before keeps its
 * number, whatever the order in the configuration. New ones get numbers behind all of those: a number that
 * was somebody's a moment ago may still stand in a connection.
 */
struct numbers {
        bool is_taken[INSTANCE_SERVERS_MAX];
        unsigned room, next;
};

static void numbers_take(struct numbers *n, int number)
{
        if (number < 0)
                return;
        n->is_taken[number] = true;
        n->next = (unsigned)number + 1 > n->next ? (unsigned)number + 1 : n->next;
}

static int numbers_new(struct numbers *n)
{
        for (unsigned i = 0; i < n->room; i++) {
                unsigned at = (n->next + i) % n->room;
                if (!n->is_taken[at]) {
                        numbers_take(n, (int)at);
                        return (int)at;
                }
        }
        return -ENOSPC;
}

static int vips_set(struct instance_service *s, struct dog_err *e)
{
        struct numbers numbers = {.room = INSTANCE_VIPS_MAX};
        int found[INSTANCE_VIPS_MAX];
        for (unsigned i = 0; i < s->vips; i++)
                numbers_take(&numbers, found[i] = instance_front_vip_find(s->front, &s->vip[i].plan.set));
        for (unsigned i = 0; i < s->vips; i++) {
                int number = found[i] >= 0 ? found[i] : numbers_new(&numbers);
                if (number < 0)
                        return dog_err_set(e, number, "vip %s: more than %d vips", s->vip[i].plan.set.name,
                                           INSTANCE_VIPS_MAX);
                s->vip[i].number = (uint16_t)number;
                s->vip[i].plan.set.seed = pairing_seed(s, i);
                s->vip[i].is_adopted = found[i] >= 0;
                int rc = instance_front_vip_set(s->front, (unsigned)number, &s->vip[i].plan.set, e);
                if (rc < 0)
                        return dog_err_prefix(e, rc, "vip %s", s->vip[i].plan.set.name);
        }
        return 0;
}

static int servers_set(struct instance_service *s, struct dog_err *e)
{
        struct numbers numbers = {.room = INSTANCE_SERVERS_MAX};
        for (struct address *a = s->vip; a < s->vip + s->vips; a++)
                for (unsigned k = 0; k < a->plan.seats; k++) {
                        struct instance_server_settings set = seat_settings(s, a, k);
                        int found = instance_front_server_find(s->front, &set);
                        numbers_take(&numbers, found);
                        a->seat[k].number = found < 0 ? INSTANCE_NOBODY : (uint16_t)found;
                }
        for (struct address *a = s->vip; a < s->vip + s->vips; a++)
                for (unsigned k = 0; k < a->plan.seats; k++) {
                        const char *name = s->machine[a->plan.seat[k].machine].set.name;
                        int number = a->seat[k].number;
                        if (number == INSTANCE_NOBODY)
                                number = numbers_new(&numbers);
                        if (number < 0)
                                return dog_err_set(e, number, "vip %s: more than %d servers in all",
                                                   a->plan.set.name, INSTANCE_SERVERS_MAX);
                        a->seat[k].number = (uint16_t)number;
                        int rc = seat_set(s, a, k, 300, e);
                        if (may_come(rc))
                                dog_log(DOG_LOG_WARN, "vip=%s event=not-usable instance=%s error=\"%s\"",
                                        a->plan.set.name, name, e->text);
                        else if (rc < 0)
                                return dog_err_prefix(e, rc, "vip %s, instance %s", a->plan.set.name, name);
                }
        return 0;
}

static int service_front(struct instance_service *s, struct dog_err *e)
{
        s->settings.front.event = service_event;
        s->settings.front.woken = service_woken;
        s->settings.front.user = s;
        int rc = instance_front_open(&s->front, &s->settings.front, s->hands, e);
        if (rc == 0)
                rc = vips_set(s, e);
        if (rc == 0)
                rc = servers_set(s, e);
        return rc == 0 ? instance_front_commit(s->front, e) : rc;
}

/* ---- groups ---- */

static uint16_t fate_of(struct instance_service *s, const char *name)
{
        uint16_t n = 0;
        for (struct dog_fate *f; (f = dog_loop_fate(s->loop, n)); n++)
                if (strcmp(f->name, name) == 0)
                        return n;
        return dog_loop_fate_add(s->loop, name, 0);
}

/* What forwarded while nobody decided goes on: a restart is no reason to move anything. */
static void service_resume(struct instance_service *s, struct address *a)
{
        uint32_t picks[INSTANCE_SEATS_MAX] = {0};
        uint8_t weight[INSTANCE_SEATS_MAX] = {0};
        uint32_t most = 0;
        uint16_t leave = 0;
        uint16_t dead = 0;
        if (!a->is_adopted)
                return;
        for (unsigned k = 0; k < a->plan.seats; k++) {
                uint32_t flags = instance_front_server_flags(s->front, a->seat[k].number);
                picks[k] = instance_front_picks(s->front, a->number, a->seat[k].number);
                most = picks[k] > most ? picks[k] : most;
                dead |= (uint16_t)(flags & INSTANCE_SERVER_DEAD ? 1U << k : 0);
                leave |= (uint16_t)(flags & INSTANCE_SERVER_LEAVING ? 1U << k : 0);
        }
        if (most == 0)
                return;
        for (unsigned k = 0; k < a->plan.seats; k++) {
                double part = (double)picks[k] / most * DOG_WEIGHT_ONE;
                weight[k] = picks[k] == 0 ? 0 : part < 1 ? 1 : (uint8_t)rint(part);
        }
        dog_group_resume(a->group, weight, leave & (uint16_t)~dead, dead);
}

static int service_group(struct instance_service *s, struct address *a, int64_t now_ns, struct dog_err *e)
{
        struct dog_group *g = dog_group_new(a->plan.set.name, &instance_kind, a->plan.seats);
        if (!g)
                return dog_err_set(e, -ENOMEM, "vip %s: out of memory", a->plan.set.name);
        g->priv = a;
        g->promise = a->plan.promise;
        g->policy = a->plan.policy;
        g->policy.spread = true;
        for (unsigned k = 0; k < a->plan.seats; k++) {
                const struct instance_machine *m = &s->machine[a->plan.seat[k].machine].set;
                struct dog_member *member = &g->member[k];
                snprintf(member->name, sizeof(member->name), "%s", m->name);
                member->role = m->role;
                member->price = m->price;
                member->base_weight = m->weight;
                member->patience_ns = (int64_t)(s->settings.probe_misses + 2) * s->settings.probe_interval_ns;
                for (unsigned f = 0; f < m->fates; f++)
                        member->fate[f] = fate_of(s, m->fate[f]);
        }
        int rc = dog_loop_add(s->loop, g, now_ns, e);
        if (rc < 0) {
                dog_group_free(g);
                return rc;
        }
        a->group = g;
        service_resume(s, a);
        dog_loop_due(s->loop, g, s->settle_ns);
        return 0;
}

/* ---- life ---- */

static int64_t settle_time(const struct instance_service_settings *set)
{
        int64_t ns = (int64_t)(set->probe_misses + 2) * set->probe_interval_ns;
        for (unsigned i = 0; i < set->machines; i++)
                if (set->machine[i].check == INSTANCE_CHECK_AGENT && ns < SETTLE_MOST_NS)
                        ns = SETTLE_MOST_NS;
        return ns < SETTLE_LEAST_NS ? SETTLE_LEAST_NS : ns > SETTLE_MOST_NS ? SETTLE_MOST_NS : ns;
}

int instance_service_open(struct instance_service **service, const struct instance_service_settings *settings,
                          struct dog_hands_client *hands, struct dog_loop *loop, int64_t now_ns,
                          struct dog_err *e)
{
        struct instance_service *s = calloc(1, sizeof(*s));
        *service = NULL;
        if (!s)
                return dog_err_set(e, -ENOMEM, "the front: out of memory");
        s->hands = hands;
        s->loop = loop;
        s->agent_fd = -1;
        s->opened_ns = now_ns;
        s->empty_ns = INT64_MAX;
        s->digest.told = service_digested;
        s->digest.user = s;
        int rc = service_copy(s, settings);
        if (rc == 0)
                rc = node_open(s);
        if (rc < 0)
                dog_err_set(e, rc, "the front: out of memory");
        if (rc == 0)
                rc = service_front(s, e);
        /* Loading programs takes its time; what counts begins now. */
        now_ns = dog_clock_mono_ns();
        s->settle_ns = now_ns + settle_time(settings);
        for (struct address *a = s->vip; rc == 0 && a < s->vip + s->vips; a++)
                rc = service_group(s, a, now_ns, e);
        if (rc == 0)
                rc = measure_open(s, now_ns, e);
        if (rc == 0)
                rc = pairing_open(s, now_ns, e);
        if (rc == 0)
                rc = aligning_open(s, e);
        if (rc < 0) {
                for (struct address *a = s->vip; a && a < s->vip + s->vips; a++)
                        if (a->group)
                                dog_loop_remove(loop, a->group);
                instance_service_close(s);
                return rc;
        }
        int fd = instance_front_fd(s->front);
        if (fd >= 0 && s->settings.watch)
                s->settings.watch(s->settings.user, fd, 1);
        instance_service_refresh(s, now_ns);
        *service = s;
        return 0;
}

void instance_service_close(struct instance_service *s)
{
        if (!s)
                return;
        aligning_close(s);
        pairing_close(s);
        measure_close(s);
        int fd = s->front ? instance_front_fd(s->front) : -1;
        if (fd >= 0 && s->settings.watch)
                s->settings.watch(s->settings.user, fd, 0);
        instance_front_close(s->front);
        node_close(s);
        free(s->machine);
        free(s->vip);
        free(s->words);
        free(s);
}

/* ---- time and change ---- */

void instance_service_on_ready(struct instance_service *s, int fd, int64_t now_ns)
{
        if (fd == instance_front_fd(s->front)) {
                instance_front_on_readable(s->front, now_ns);
                instance_digest_on_timer(&s->digest, now_ns);
        } else if (!pairing_on_ready(s, fd, now_ns)) {
                measure_on_ready(s, fd, now_ns);
        }
}

static int64_t earlier(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

int64_t instance_service_on_timer(struct instance_service *s, int64_t now_ns)
{
        /* The front first: its connections may be waiting to be woken. */
        if (now_ns >= s->front_ns)
                s->front_ns = instance_front_on_timer(s->front, now_ns);
        int64_t front_ns = s->front_ns;
        int64_t due_ns = measure_on_timer(s, now_ns);
        if (s->front_ns != front_ns) /* one was found dead just now */
                s->front_ns = instance_front_on_timer(s->front, now_ns);
        due_ns = earlier(due_ns, instance_digest_on_timer(&s->digest, now_ns));
        due_ns = earlier(due_ns, pairing_on_timer(s, now_ns));
        due_ns = earlier(due_ns, aligning_on_timer(s, now_ns));
        if (now_ns >= s->retry_ns)
                instance_service_refresh(s, now_ns);
        if (now_ns >= s->empty_ns)
                operate_on_timer(s, now_ns);
        return earlier(earlier(due_ns, s->front_ns), earlier(s->retry_ns, s->empty_ns));
}

/* One look a device, not one an instance. */
static void carriers_look(struct instance_service *s, int64_t now_ns)
{
        for (unsigned d = 0; d < s->settings.front.devices; d++) {
                const char *device = s->settings.front.device[d];
                struct dog_link link;
                bool is_up = dog_link_get(&link, device, NULL) == 0 && link.is_up;
                for (unsigned i = 0; i < s->machines; i++) {
                        struct machine *m = &s->machine[i];
                        if (strcmp(m->set.device, device) != 0 || m->has_carrier == is_up)
                                continue;
                        m->has_carrier = is_up;
                        machine_judge(m, now_ns);
                }
        }
}

void instance_service_refresh(struct instance_service *s, int64_t now_ns)
{
        s->retry_ns = now_ns + RETRY_NS;
        carriers_look(s, now_ns);
        instance_front_refresh(s->front, 0);
        measure_refresh(s);
        for (struct address *a = s->vip; a < s->vip + s->vips; a++)
                for (unsigned k = 0; k < a->plan.seats; k++) {
                        struct machine *m = &s->machine[a->plan.seat[k].machine];
                        struct dog_err e = {0};
                        if (a->seat[k].is_set || !m->has_carrier || seat_set(s, a, k, 0, &e) < 0)
                                continue;
                        machine_judge(m, now_ns);
                        dog_loop_due(s->loop, a->group, now_ns > s->settle_ns ? now_ns : s->settle_ns);
                }
}

void instance_service_on_link(struct instance_service *s, uint32_t index, int64_t now_ns)
{
        instance_probe_on_link(s->probe, index, now_ns);
}
