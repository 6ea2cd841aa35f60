#include "daemon/decider.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/api.h"
#include "daemon/decision.h"
#include "daemon/feeds.h"
#include "daemon/node_trees.h"
#include "daemon/plan_config.h"
#include "daemon/radios.h"
#include "daemon/trees.h"
#include "daemon/view.h"
#include "daemon/view_instance.h"
#include "hands/kernel.h"
#include "hands/netlink.h"
#include "hands/policy.h"
#include "hands/privilege.h"
#include "store/store.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { EVENTS_KEPT = 256, LINKS_MAX = 32, TOLD_KEPT = 16 };

#define DECIDER_REST_NS (DOG_MS / 10) /* between two turns, however much is due */

/* One series for each value that a radio tells, and one for handovers. */
enum {
#define X(field, word, unit, least, most, help) RADIO_SERIES_##field,
        DOG_RADIO_VALUES(X)
#undef X
                RADIO_SERIES_HANDOVER,
        RADIO_SERIES
};

/* Telemetry of one path: handles in the store. */
struct track {
        struct decider *d;
        int rtt[PATH_PATHS_MAX];
        int loss[PATH_PATHS_MAX];
        int radio[PATH_PATHS_MAX][RADIO_SERIES]; /* 0: not told yet; else the handle + 1 */
};

/* Telemetry of one instance. */
#define INSTANCE_SERIES(X)                                                                                   \
        X(RTT, "rtt_ms")                                                                                     \
        X(LOSS, "loss")                                                                                      \
        X(CPU, "cpu")                                                                                        \
        X(MEMORY, "memory")                                                                                  \
        X(PRESSURE, "pressure")                                                                              \
        X(QUEUE, "queue")

struct machine_track {
        int series[DOG_SIGNAL_COUNT]; /* -1: none */
        int64_t kept_ns;              /* of the newest point that was kept */
};

/* A descriptor of a link, or of the front, that is polled. */
struct watch {
        uv_poll_t poll;         /* first: a handle is its watch */
        struct path_link *link; /* NULL: the front's */
        struct decider *d;
        int fd;
        struct watch *next;
};

/* A change of level that was told. */
struct told {
        int64_t since_ns;
        unsigned level;
        char member[DOG_NAME_MAX];
};

struct decider {
        const struct dog_config *config;
        struct dog_hands_client *hands;
        uv_loop_t uv;
        uv_poll_t timer_poll;
        uv_timer_t store_timer;
        int timer; /* descriptor: libuv's own timers count whole milliseconds and come up to two late */
        uv_poll_t hands_poll;
        uv_poll_t netlink_poll;
        struct watch *watched; /* descriptors of the links */
        uv_signal_t term, interrupt;
        uv_work_t store_work;
        bool is_storing, is_stopping, is_running;

        uv_async_t trees_async;
        struct trees *trees;
        struct node_trees node_trees;
        struct dog_loop *loop;
        struct path_host *host;
        struct path_link *link[LINKS_MAX];
        struct track track[LINKS_MAX];
        size_t links;
        struct instance_service *service; /* NULL: no vips */
        struct machine_track *machine_track;
        struct radios *radios; /* NULL: no path has one */
        struct dog_netlink_watch *watch;
        struct feeds *feeds; /* NULL: none are configured */
        struct dog_store *store;
        struct dog_api *api;
        int64_t started_ns;
        json_t *events; /* the newest EVENTS_KEPT, oldest first */
        struct told told[TOLD_KEPT];
        size_t told_at;
        json_t *notes;
        int status;
};

/* Wall time of a monotonic one, as the clocks stand now. */
static int64_t wall_of(int64_t mono_ns)
{
        return mono_ns + dog_clock_wall_ns() - dog_clock_mono_ns();
}

/* ---- what happened: the log, the store, whoever follows ---- */

static void decider_tell(struct decider *d, int64_t at_ns, const char *event, const char *subject,
                         json_t *more, const char *text)
{
        json_t *e = json_pack("{s:I, s:s, s:s, s:s}", "at_wall_ns", (json_int_t)wall_of(at_ns), "event",
                              event, "subject", subject, "text", text);
        if (!e) {
                json_decref(more);
                return;
        }
        if (more) {
                json_object_update_missing(e, more);
                json_decref(more);
        }
        json_array_append_new(d->events, e);
        if (json_array_size(d->events) > EVENTS_KEPT)
                json_array_remove(d->events, 0);
        dog_api_publish(d->api, e);
        if (d->store)
                dog_store_event_add(d->store, &(struct dog_store_event){.at_ns = wall_of(at_ns),
                                                                        .kind = event,
                                                                        .subject = subject,
                                                                        .text = text});
}

static void set_words(const struct dog_group *g, uint16_t set, char *to, size_t room)
{
        to[0] = 0;
        for (unsigned m = 0; m < g->members; m++)
                if (set & (1U << m))
                        snprintf(to + strlen(to), room - strlen(to), "%s%s", to[0] ? "+" : "",
                                 g->member[m].name);
}

/* "a=60% b=40%" */
static void weight_words(const struct dog_group *g, const uint8_t weight[DOG_MEMBERS_MAX], char *to,
                         size_t room)
{
        double sum = dog_plan_weights(weight);
        to[0] = 0;
        for (unsigned m = 0; m < g->members; m++)
                if (weight[m])
                        snprintf(to + strlen(to), room - strlen(to), "%s%s=%.0f%%", to[0] ? " " : "",
                                 g->member[m].name, 100 * weight[m] / sum);
}

static void decision_new(struct decider *d, const struct dog_ledger_row *row, const struct dog_group *g)
{
        const struct dog_plan *p = &row->plan;
        char before[128];
        char after[128];
        char text[400];
        if (g->policy.spread) {
                weight_words(g, p->weight_was, before, sizeof(before));
                weight_words(g, p->weight, after, sizeof(after));
        } else {
                set_words(g, p->hot_was, before, sizeof(before));
                set_words(g, p->hot, after, sizeof(after));
        }
        snprintf(text, sizeof(text), "d-%llu %s: %s %s -> %s  %s  p(bad) %.0f%% -> %.0f%%",
                 (unsigned long long)p->decision, g->name, dog_act_name(p->act),
                 before[0] ? before : "nothing", after, dog_reason_name(p->why), 100 * (double)p->p_without,
                 100 * (double)p->p_with);
        if (g->policy.spread && p->about < g->members)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "  (%s)",
                         g->member[p->about].name);
        dog_log(DOG_LOG_INFO, "group=%s event=%s decision=%llu from=\"%s\" to=\"%s\" reason=%s p=%.3f",
                g->name, dog_act_name(p->act), (unsigned long long)p->decision, before[0] ? before : "-",
                after, dog_reason_name(p->why), (double)p->p_without);
        json_t *json = decision_json(row, g);
        json_object_set_new(json, "at_wall_ns", json_integer((json_int_t)wall_of(p->at_ns)));
        char *plan = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));
        if (d->store && plan)
                dog_store_decision_add(d->store,
                                       &(struct dog_store_decision){.id = p->decision,
                                                                    .at_ns = wall_of(p->at_ns),
                                                                    .group = g->name,
                                                                    .reason = dog_reason_name(p->why),
                                                                    .plan = plan,
                                                                    .plan_size = strlen(plan)});
        free(plan);
        json_decref(json);
        decider_tell(d, p->at_ns, "decision", g->name,
                     json_pack("{s:I, s:s, s:s, s:s, s:s}", "id", (json_int_t)p->decision, "act",
                               dog_act_name(p->act), "why", dog_reason_name(p->why), "carried", before,
                               "carries", after),
                     text);
}

static void decision_graded(struct decider *d, const struct dog_ledger_row *row, const struct dog_group *g)
{
        char text[200];
        double with_ms = (double)row->bad_with_ns / (double)DOG_MS;
        double without_ms = (double)row->bad_without_ns / (double)DOG_MS;
        snprintf(text, sizeof(text), "d-%llu %s: %.0f ms of broken promise, %.0f ms without it",
                 (unsigned long long)row->plan.decision, dog_grade_name(row->grade), with_ms, without_ms);
        json_t *more = json_pack("{s:I, s:s, s:f, s:f, s:f}", "id", (json_int_t)row->plan.decision, "grade",
                                 dog_grade_name(row->grade), "bad_with_ms", with_ms, "bad_without_ms",
                                 without_ms, "seen_ms", (double)row->seen_ns / (double)DOG_MS);
        char *outcome = json_dumps(more, JSON_COMPACT | JSON_REAL_PRECISION(6));
        if (d->store && outcome)
                dog_store_decision_grade(d->store, row->plan.decision, wall_of(row->graded_ns),
                                         dog_grade_name(row->grade), outcome, strlen(outcome));
        free(outcome);
        decider_tell(d, row->graded_ns, "grade", g->name, more, text);
}

static void decider_ledger(void *user, const struct dog_ledger_row *row, bool is_graded)
{
        struct decider *d = user;
        const struct dog_group *g = dog_loop_group(d->loop, row->plan.group);
        if (g && is_graded)
                decision_graded(d, row, g);
        else if (g)
                decision_new(d, row, g);
}

/* What has changed, since when: the sentence gets a time of day, the object its numbers. */
static void event_told(const struct dog_event *e, json_t *more, char *text, size_t room)
{
        const struct dog_level_told *t = e->told;
        double scale = dog_level_scale(t->level);
        int64_t since_ns = wall_of(t->shift.since_ns);
        time_t since_s = (time_t)(since_ns / DOG_S);
        struct tm tm;
        char time[16] = "";
        if (localtime_r(&since_s, &tm))
                strftime(time, sizeof(time), "%H:%M:%S", &tm);
        snprintf(text + strlen(text), room - strlen(text), " (since %s)", time);
        json_object_update_new(
                more, json_pack("{s:s, s:s, s:f, s:f, s:f, s:I}", "signal", dog_level_name(t->level), "unit",
                                dog_level_unit(t->level), "level_was", scale * (double)t->shift.from, "level",
                                scale * (double)t->shift.to, "promise", scale * (double)t->shift.limit,
                                "since_wall_ns", (json_int_t)since_ns));
}

/* Every class of a tunnel sees the same change of a path: people need it once, by the first that it matters
 * to. */
static bool event_is_told(struct decider *d, const struct dog_event *e)
{
        struct told now = {.level = e->told->level, .since_ns = e->told->shift.since_ns};
        snprintf(now.member, sizeof(now.member), "%s", e->group->member[e->member].name);
        for (size_t i = 0; i < TOLD_KEPT; i++)
                if (d->told[i].since_ns == now.since_ns && d->told[i].level == now.level &&
                    strcmp(d->told[i].member, now.member) == 0)
                        return true;
        d->told[d->told_at++ % TOLD_KEPT] = now;
        return false;
}

static void decider_event(void *user, const struct dog_event *e)
{
        struct decider *d = user;
        char text[400];
        const char *member = e->member < e->group->members ? e->group->member[e->member].name : NULL;
        if (e->told && event_is_told(d, e))
                return;
        json_t *more = member ? json_pack("{s:s}", "member", member) : NULL;
        /* What a level did says that it changed. */
        const char *help = e->told ? "" : dog_event_help(e->type);
        snprintf(text, sizeof(text), "%s%s%s: %s%s%s", e->group->name, member ? " on " : "",
                 member ? member : "", help, *help && e->text ? ": " : "", e->text ? e->text : "");
        dog_log(e->type == DOG_EVENT_FAILED || e->type == DOG_EVENT_ALERT ? DOG_LOG_WARN : DOG_LOG_INFO,
                "group=%s event=%s%s%s%s%s", e->group->name, dog_event_name(e->type),
                member ? " member=" : "", member ? member : "", e->text ? " text=" : "",
                e->text ? e->text : "");
        if (e->told && more)
                event_told(e, more, text, sizeof(text));
        decider_tell(d, e->at_ns, dog_event_name(e->type), e->group->name, more, text);
}

static void decider_sample(void *user, unsigned path, const struct dog_sample *s)
{
        struct track *t = user;
        if (!t->d->store)
                return;
        int64_t at_ns = wall_of(s->at_ns);
        if (!isnan(s->value[DOG_SIGNAL_RTT]))
                dog_store_sample(t->d->store, t->rtt[path], at_ns, s->value[DOG_SIGNAL_RTT]);
        if (!isnan(s->value[DOG_SIGNAL_LOSS]))
                dog_store_sample(t->d->store, t->loss[path], at_ns, s->value[DOG_SIGNAL_LOSS]);
}

/* ---- what others announce ---- */

static void decider_feed_tell(void *user, const char *feed, bool is_warning, const char *text)
{
        dog_log(is_warning ? DOG_LOG_WARN : DOG_LOG_INFO, "feed=%s event=feed text=\"%s\"", feed, text);
        decider_tell(user, dog_clock_mono_ns(), "feed", feed, NULL, text);
}

static void link_caution(void *user, const struct dog_group *g, int64_t now_ns, struct dog_caution c[])
{
        const struct track *t = user;
        (void)now_ns;
        feeds_caution_paths(t->d->feeds, (size_t)(t - t->d->track), g, c);
}

static void service_caution(void *user, const struct dog_group *g, int64_t now_ns, struct dog_caution c[])
{
        const struct decider *d = user;
        (void)now_ns;
        feeds_caution_instances(d->feeds, g, c);
}

/* ---- what radios tell ---- */

static void radio_keep(struct decider *d, size_t tunnel, size_t path, unsigned series, const char *word,
                       double value)
{
        int *handle = &d->track[tunnel].radio[path][series];
        if (isnan(value) || !d->store)
                return;
        if (!*handle) {
                char name[200];
                snprintf(name, sizeof(name), "path/%s/%s/%s", d->config->tunnel[tunnel].name,
                         d->config->tunnel[tunnel].path[path].name, word);
                *handle = dog_store_series(d->store, name) + 1;
        }
        if (*handle > 0)
                dog_store_sample(d->store, *handle - 1, dog_clock_wall_ns(), value);
}

static void decider_radio(void *user, size_t tunnel, size_t path, const struct dog_radio *r)
{
        struct decider *d = user;
        if (tunnel >= d->links)
                return;
        const struct dog_radio_past *past = path_link_radio_past(d->link[tunnel], (unsigned)path);
        int64_t moved_ns = past ? past->newest.handover_ns : 0;
        path_link_radio(d->link[tunnel], (unsigned)path, r,
                        d->config->tunnel[tunnel].path[path].radio.stale_ns);
#define X(field, word, unit, least, most, help)                                                              \
        radio_keep(d, tunnel, path, RADIO_SERIES_##field, word, (double)r->field);
        DOG_RADIO_VALUES(X)
#undef X
        past = path_link_radio_past(d->link[tunnel], (unsigned)path);
        if (past && past->newest.handover_ns > moved_ns)
                radio_keep(d, tunnel, path, RADIO_SERIES_HANDOVER, "handover", 1);
}

static void decider_radio_news(void *user, size_t tunnel, size_t path, bool is_warning, const char *text)
{
        struct decider *d = user;
        const struct dog_config_tunnel *t = &d->config->tunnel[tunnel];
        dog_log(is_warning ? DOG_LOG_WARN : DOG_LOG_INFO, "tunnel=%s path=%s event=radio text=\"%s\"",
                t->name, t->path[path].name, text);
        decider_tell(d, dog_clock_mono_ns(), "radio", t->name, json_pack("{s:s}", "path", t->path[path].name),
                     text);
}

/* ---- what the front tells ---- */

static void service_news(void *user, const struct instance_news *n)
{
        struct decider *d = user;
        json_t *more = json_object();
        if (n->vip)
                json_object_set_new(more, "vip", json_string(n->vip));
        if (n->from)
                json_object_set_new(more, "from", json_string(n->from));
        if (n->to)
                json_object_set_new(more, "to", json_string(n->to));
        if (n->count)
                json_object_set_new(more, "connections", json_integer(n->count));
        if (isfinite(n->quiet_ms))
                json_object_set_new(more, "quiet_ms", json_real(n->quiet_ms));
        dog_log(n->is_warning ? DOG_LOG_WARN : DOG_LOG_INFO, "subject=%s event=%s text=\"%s\"", n->subject,
                n->event, n->text);
        decider_tell(d, n->at_ns, n->event, n->subject, more, n->text);
}

/* Probes come every few milliseconds; what is kept of them is one point in a quarter of a second. */
static void service_sample(void *user, unsigned machine, const struct dog_sample *s)
{
        struct decider *d = user;
        struct machine_track *t = &d->machine_track[machine];
        if (!d->store || s->at_ns - t->kept_ns < 250 * DOG_MS)
                return;
        t->kept_ns = s->at_ns;
        for (int i = 0; i < DOG_SIGNAL_COUNT; i++)
                if (t->series[i] >= 0 && !isnan(s->value[i]))
                        dog_store_sample(d->store, t->series[i], wall_of(s->at_ns), s->value[i]);
}

/* ---- answering ---- */

static json_t *answer_events(const struct decider *d, const json_t *question)
{
        json_int_t most = json_integer_value(json_object_get(question, "most"));
        size_t have = json_array_size(d->events);
        size_t from = most > 0 && (size_t)most < have ? have - (size_t)most : 0;
        json_t *list = json_array();
        for (size_t i = from; i < have; i++)
                json_array_append(list, json_array_get(d->events, i));
        return list;
}

static int explain_found(void *context, const struct dog_store_decision *row)
{
        json_t **found = context;
        *found = json_loadb(row->plan, row->plan_size, 0, NULL);
        json_t *outcome = row->outcome_size ? json_loadb(row->outcome, row->outcome_size, 0, NULL) : NULL;
        if (*found && outcome)
                json_object_update(*found, outcome);
        json_decref(outcome);
        return 1;
}

static json_t *answer_explain(struct decider *d, const json_t *question, struct dog_err *e)
{
        struct dog_ledger *l = dog_loop_ledger(d->loop);
        json_int_t asked = json_integer_value(json_object_get(question, "id"));
        uint64_t id = asked > 0 ? (uint64_t)asked : dog_ledger_newest(l);
        const struct dog_ledger_row *row = dog_ledger_find(l, id);
        const struct dog_group *g = row ? dog_loop_group(d->loop, row->plan.group) : NULL;
        if (g) {
                json_t *json = decision_json(row, g);
                json_object_set_new(json, "at_wall_ns", json_integer((json_int_t)wall_of(row->plan.at_ns)));
                return json;
        }
        json_t *found = NULL;
        if (d->store && id > 0) {
                struct dog_store_decision_query q = {.first_id = id, .last_id = id, .limit = 1};
                dog_store_decision_each(d->store, &q, explain_found, &found, e);
        }
        if (!found)
                dog_err_set(e, -ENOENT, "there is no decision d-%llu; sundog events lists them",
                            (unsigned long long)id);
        return found;
}

/* ---- drained instances outlive a restart ---- */

/* Beside the store: one name a line. The flags in the data plane cannot tell a drain from a forecast. */
static const char *drained_file(const struct decider *d, char *to, size_t room)
{
        snprintf(to, room, "%s.drained", d->config->store.path);
        return to;
}

static void drained_keep(struct decider *d)
{
        char path[4200];
        FILE *to = fopen(drained_file(d, path, sizeof(path)), "we");
        for (size_t i = 0; to && i < d->config->instances; i++)
                if (instance_service_is_drained(d->service, (unsigned)i))
                        fprintf(to, "%s\n", d->config->instance[i].name);
        if (!to || fclose(to) != 0)
                dog_log(DOG_LOG_WARN, "event=drained-not-kept file=%s text=\"a restart will use them again\"",
                        path);
}

static void drained_recall(struct decider *d)
{
        char path[4200];
        char name[DOG_NAME_MAX + 2];
        FILE *from = fopen(drained_file(d, path, sizeof(path)), "re");
        while (from && fgets(name, sizeof(name), from)) {
                struct dog_err e = {0};
                name[strcspn(name, "\n")] = 0;
                if (instance_service_drain_again(d->service, name, dog_clock_mono_ns(), &e) < 0)
                        dog_log(DOG_LOG_WARN, "event=not-drained instance=%s text=\"%s\"", name, e.text);
        }
        if (from)
                fclose(from);
}

/* What only a daemon with vips knows. *is_known: the question is one of these. */
static json_t *answer_instance(struct decider *d, const struct view_instance *v, const char *ask,
                               const json_t *question, int64_t now_ns, bool *is_known, struct dog_err *e)
{
        static const char *const asks[] = {"vips",  "instances", "conns",  "requests",
                                           "drain", "promote",   "forgive"};
        for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
                *is_known |= strcmp(ask, asks[i]) == 0;
        if (!*is_known)
                return NULL;
        bool is_order =
                strcmp(ask, "drain") == 0 || strcmp(ask, "promote") == 0 || strcmp(ask, "forgive") == 0;
        if (!d->service && !is_order)
                return json_array();
        if (!d->service) {
                dog_err_set(e, -ENOENT, "this daemon serves no vips");
                return NULL;
        }
        if (strcmp(ask, "vips") == 0)
                return view_vips(v, now_ns);
        if (strcmp(ask, "instances") == 0)
                return view_instances(v, now_ns);
        if (strcmp(ask, "conns") == 0)
                return view_conns(v, question, now_ns, e);
        if (strcmp(ask, "promote") == 0)
                return view_promote(v, question, e);
        if (strcmp(ask, "requests") == 0)
                return view_requests(v, question, e);
        if (strcmp(ask, "forgive") == 0)
                return view_forgive(v, question, e);
        const char *name = json_string_value(json_object_get(question, "instance"));
        bool is_undone = json_is_true(json_object_get(question, "undo"));
        if (!name) {
                dog_err_set(e, -EINVAL, "name the instance: {\"ask\":\"drain\",\"instance\":\"a\"}");
                return NULL;
        }
        if (instance_service_drain(d->service, name, is_undone, now_ns, e) < 0)
                return NULL;
        drained_keep(d);
        return view_drained(v, name, now_ns);
}

static json_t *decider_answer(void *user, const json_t *question, struct dog_err *e)
{
        struct decider *d = user;
        const char *ask = json_string_value(json_object_get(question, "ask"));
        struct view v = {.config = d->config,
                         .loop = d->loop,
                         .link = d->link,
                         .links = d->links,
                         .store = d->store,
                         .radios = d->radios,
                         .started_ns = d->started_ns,
                         .notes = d->notes,
                         .trees = d->trees};
        int64_t now_ns = dog_clock_mono_ns();
        struct view_instance vi = {.config = d->config, .loop = d->loop, .service = d->service};
        if (strcmp(ask, "status") == 0)
                return view_instance_status(&vi, view_status(&v, now_ns), now_ns);
        if (strcmp(ask, "paths") == 0)
                return view_paths(&v, now_ns);
        if (strcmp(ask, "forecast") == 0)
                return view_forecast_hosts(
                        &vi, view_forecast(&v, json_string_value(json_object_get(question, "path")), now_ns),
                        now_ns);
        if (strcmp(ask, "events") == 0)
                return answer_events(d, question);
        if (strcmp(ask, "explain") == 0)
                return answer_explain(d, question, e);
        if (strcmp(ask, "feeds") == 0)
                return feeds_view(d->feeds);
        bool is_known = false;
        json_t *answer = answer_instance(d, &vi, ask, question, now_ns, &is_known, e);
        if (!is_known)
                dog_err_set(e, -EINVAL,
                            "nobody here knows \"%s\"; ask status, paths, forecast, events, explain, feeds, "
                            "vips, "
                            "instances, conns, requests, drain, promote or forgive",
                            ask);
        return answer;
}

/* ---- the clock ---- */

/* The next turn of the loop. */
static void decider_arm(struct decider *d, int64_t wait_ns)
{
        struct itimerspec in = {.it_value = {.tv_sec = wait_ns / DOG_S, .tv_nsec = wait_ns % DOG_S}};
        (void)timerfd_settime(d->timer, 0, &in, NULL);
}

static void decider_tick(uv_poll_t *poll, int status, int events)
{
        struct decider *d = poll->data;
        uint64_t expired;
        (void)status;
        (void)events;
        if (read(d->timer, &expired, sizeof(expired)) < 0)
                return; /* hurried since: it will be due again */
        int64_t now_ns = dog_clock_mono_ns();
        int64_t due_ns = now_ns + DOG_S;
        for (size_t i = 0; i < d->links; i++) {
                int64_t link_ns = path_link_on_timer(d->link[i], now_ns);
                due_ns = link_ns < due_ns ? link_ns : due_ns;
        }
        int64_t loop_ns = dog_loop_step(d->loop, now_ns);
        due_ns = loop_ns < due_ns ? loop_ns : due_ns;
        /* After the loop: what a plan has just made leave is woken in the same turn. */
        if (d->service) {
                int64_t service_ns = instance_service_on_timer(d->service, now_ns);
                due_ns = service_ns < due_ns ? service_ns : due_ns;
        }
        int64_t wait_ns = due_ns - dog_clock_mono_ns();
        decider_arm(d, wait_ns > DECIDER_REST_NS ? wait_ns : DECIDER_REST_NS);
}

static void decider_readable(uv_poll_t *poll, int status, int events)
{
        (void)events;
        const struct watch *w = (const struct watch *)poll;
        path_link_on_readable(w->link, w->fd, dog_clock_mono_ns());
        /*
         * A far end that is not there yet answers a probe with "port unreachable", which epoll tells as an
         * error, and libuv then stops watching. The read above has taken the error; go on.
         */
        if (status < 0)
                uv_poll_start(poll, UV_READABLE, decider_readable);
}

static void service_hurry(void *user);

static void service_ready(uv_poll_t *poll, int status, int events)
{
        struct watch *w = (struct watch *)poll;
        (void)events;
        /* An error is read like anything else; the owner then lets the descriptor go, or goes on. */
        if (status < 0)
                uv_poll_start(poll, UV_READABLE, service_ready);
        struct decider *d = w->d;
        instance_service_on_ready(d->service, w->fd, dog_clock_mono_ns());
        service_hurry(d);
}

static void watch_closed(uv_handle_t *handle)
{
        free(handle);
}

static void decider_watch(void *user, struct path_link *l, int fd, bool is_on)
{
        struct decider *d = ((struct track *)user)->d;
        struct watch **at = &d->watched;
        if (is_on) {
                struct watch *w = calloc(1, sizeof(*w));
                if (!w || uv_poll_init(&d->uv, &w->poll, fd) < 0) {
                        dog_log(DOG_LOG_ERROR,
                                "event=not-polled text=\"answers to probes will not be seen\"");
                        free(w);
                        return;
                }
                w->link = l;
                w->fd = fd;
                w->next = d->watched;
                d->watched = w;
                uv_poll_start(&w->poll, UV_READABLE, decider_readable);
                return;
        }
        while (*at && (*at)->fd != fd)
                at = &(*at)->next;
        if (!*at)
                return;
        struct watch *gone = *at;
        *at = gone->next;
        uv_poll_stop(&gone->poll);
        uv_close((uv_handle_t *)&gone->poll, watch_closed);
}

/* The front's descriptors; one may be polled for reading, then for writing. */
static void service_watch(void *user, int fd, short events)
{
        struct decider *d = user;
        struct watch **at = &d->watched;
        while (*at && ((*at)->fd != fd || (*at)->link))
                at = &(*at)->next;
        struct watch *w = *at;
        if (!events) {
                if (!w)
                        return;
                *at = w->next;
                uv_poll_stop(&w->poll);
                uv_close((uv_handle_t *)&w->poll, watch_closed);
                return;
        }
        if (!w) {
                w = calloc(1, sizeof(*w));
                if (!w || uv_poll_init(&d->uv, &w->poll, fd) < 0) {
                        dog_log(DOG_LOG_ERROR,
                                "event=not-polled text=\"what comes in on it will not be seen\"");
                        free(w);
                        return;
                }
                *w = (struct watch){.poll = w->poll, .d = d, .fd = fd, .next = d->watched};
                d->watched = w;
        }
        uv_poll_start(&w->poll, (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0),
                      service_ready);
}

/* Something should not wait for its time. */
static void service_hurry(void *user)
{
        struct decider *d = user;
        if (d->is_running)
                decider_arm(d, 1);
}

static void netlink_readable(uv_poll_t *poll, int status, int events)
{
        struct decider *d = poll->data;
        struct dog_netlink_change change;
        bool has_changed = false;
        (void)status, (void)events;
        while (dog_netlink_watch_next(d->watch, &change) > 0) {
                has_changed = true;
                if (d->service && change.what == DOG_CHANGE_LINK)
                        instance_service_on_link(d->service, change.index, dog_clock_mono_ns());
        }
        /* Connections first: a lost carrier ends them, a path is one of several. */
        if (has_changed && d->service)
                instance_service_refresh(d->service, dog_clock_mono_ns());
        for (size_t i = 0; has_changed && i < d->links; i++)
                path_link_refresh(d->link[i], dog_clock_mono_ns());
}

/* ---- the store, off the loop ---- */

static void store_step(uv_work_t *work)
{
        struct decider *d = work->data;
        dog_store_step(d->store, dog_clock_mono_ns());
}

static void store_stepped(uv_work_t *work, int status)
{
        struct decider *d = work->data;
        struct dog_store_status s;
        (void)status;
        d->is_storing = false;
        if (dog_store_news(d->store, &s)) {
                dog_log(s.health == DOG_STORE_OK ? DOG_LOG_INFO : DOG_LOG_WARN,
                        "event=store health=%s text=\"%s\"", s.health == DOG_STORE_OK ? "ok" : "degraded",
                        s.text);
                decider_tell(d, dog_clock_mono_ns(), "store", d->config->store.path, NULL, s.text);
        }
}

static void store_tick(uv_timer_t *timer)
{
        struct decider *d = timer->data;
        if (d->is_storing || d->is_stopping || !d->store)
                return;
        d->store_work.data = d;
        d->is_storing = uv_queue_work(&d->uv, &d->store_work, store_step, store_stepped) == 0;
}

/* ---- trees ---- */

static void note_add(struct decider *d, const char *text)
{
        json_array_append_new(d->notes, json_string(text));
        dog_log(DOG_LOG_WARN, "event=note text=\"%s\"", text);
}

/* Every class of every tunnel forecasts with the trees in force. */
static void trees_give(struct decider *d)
{
        struct dog_group *g;
        for (size_t i = 0; i < d->links; i++)
                for (unsigned c = 0; (g = path_link_group(d->link[i], c)); c++)
                        if (dog_group_trees(g, trees_model(d->trees)) < 0)
                                dog_log(DOG_LOG_ERROR, "group=%s event=trees error=\"out of memory\"",
                                        g->name);
}

static void trees_told(uv_async_t *async)
{
        struct decider *d = async->data;
        char text[700];
        bool is_new;
        if (d->is_stopping || !trees_news(d->trees, text, sizeof(text), &is_new))
                return;
        if (is_new) {
                trees_give(d);
                trees_release(d->trees);
        }
        dog_log(DOG_LOG_INFO, "event=retrained text=\"%s\"", text);
        decider_tell(d, dog_clock_mono_ns(), "retrained", "trees", trees_json(d->trees), text);
}

static void trees_wake(void *user)
{
        struct decider *d = user;
        uv_async_send(&d->trees_async);
}

static void trees_note(void *user, const char *text)
{
        note_add(user, text);
}

static int trees_begin(struct decider *d, struct dog_err *e)
{
        struct dog_err why = {0};
        int rc = trees_open(&d->trees, d->config, trees_note, d, e);
        if (rc < 0)
                return rc;
        trees_give(d);
        d->trees_async.data = d;
        uv_async_init(&d->uv, &d->trees_async, trees_told);
        if (trees_train(d->trees, trees_wake, d, &why) < 0)
                note_add(d, why.text);
        return 0;
}

/* ---- stopping ---- */

static void close_any(uv_handle_t *handle, void *unused)
{
        (void)unused;
        if (!uv_is_closing(handle))
                uv_close(handle, NULL);
}

static void decider_stop(struct decider *d, int status)
{
        if (d->is_stopping)
                return;
        d->is_stopping = true;
        d->status = status;
        dog_api_close(d->api);
        d->api = NULL;
        uv_stop(&d->uv);
}

static void decider_signal(uv_signal_t *handle, int signal)
{
        (void)signal;
        decider_stop(handle->data, 0);
}

static void hands_readable(uv_poll_t *poll, int status, int events)
{
        (void)status, (void)events;
        dog_log(DOG_LOG_ERROR,
                "event=hands-gone text=\"the privileged process has died; forwarding goes on, deciding "
                "stops until the service is started again\"");
        decider_stop(poll->data, 1);
}

/* ---- starting ---- */

static void store_begin(struct decider *d, const char *config_text)
{
        struct dog_store_options o = {.path = d->config->store.path,
                                      .size_max_bytes = d->config->store.size_bytes};
        struct dog_err e = {0};
        if (dog_store_open(&o, &d->store, &e) < 0) {
                char text[600];
                snprintf(text, sizeof(text), "nothing is remembered: %s", e.text);
                note_add(d, text);
                return;
        }
        struct dog_store_status s;
        if (dog_store_news(d->store, &s) && s.text[0])
                note_add(d, s.text);
        dog_ledger_number_from(dog_loop_ledger(d->loop), dog_store_decision_last(d->store));
        if (config_text)
                dog_store_config_add(d->store, &(struct dog_store_config){.at_ns = dog_clock_wall_ns(),
                                                                          .who = "file",
                                                                          .text = config_text,
                                                                          .text_size = strlen(config_text)});
}

static void track_begin(struct decider *d, size_t i, const struct dog_config_tunnel *t,
                        struct path_link_settings *s)
{
        struct track *track = &d->track[i];
        track->d = d;
        for (unsigned p = 0; p < s->paths; p++) {
                char name[200];
                snprintf(name, sizeof(name), "path/%s/%s/rtt_ms", t->name, s->path[p].path.name);
                track->rtt[p] = d->store ? dog_store_series(d->store, name) : -1;
                snprintf(name, sizeof(name), "path/%s/%s/loss", t->name, s->path[p].path.name);
                track->loss[p] = d->store ? dog_store_series(d->store, name) : -1;
        }
        s->sample = decider_sample;
        s->watch = decider_watch;
        s->caution = d->feeds ? link_caution : NULL;
        s->user = track;
}

/* What the data plane cannot do without; the sentence says which. */
static int kernel_check(struct decider *d, struct dog_err *e)
{
        struct dog_hands_request ask = dog_hands_request_of(DOG_HANDS_KERNEL_PROBE);
        struct dog_hands_reply reply;
        int rc = dog_hands_call(d->hands, &ask, &reply, NULL, e);
        uint32_t needed = DOG_KERNEL_ALL & ~DOG_KERNEL_BTF;
        if (rc == 0 && (reply.as.kernel.has & needed) != needed)
                rc = dog_err_set(e, -EOPNOTSUPP, "this kernel cannot carry a tunnel: %s", reply.text);
        return rc;
}

static int host_begin(struct decider *d, struct dog_err *e)
{
        int rc = kernel_check(d, e);
        if (rc < 0)
                return rc;
        uint32_t numbers = 0;
        uint32_t classes = 0;
        for (size_t i = 0; i < d->config->tunnels; i++)
                numbers = 2 * d->config->tunnel[i].id + 2 > numbers
                                  ? (uint32_t)(2 * d->config->tunnel[i].id + 2)
                                  : numbers;
        for (size_t i = 0; i < d->config->classes; i++)
                classes = d->config->class[i].id + 1 > classes ? (uint32_t)(d->config->class[i].id + 1)
                                                               : classes;
        struct path_host_settings s = {.port = (uint16_t)d->config->tunnel[0].udp_port,
                                       .tunnels = numbers < 16 ? 16 : numbers,
                                       .classes = classes < 16 ? 16 : classes};
        rc = path_host_open(&d->host, d->hands, &s, e);
        for (size_t i = 0; rc == 0 && i < d->config->tunnels; i++) {
                for (size_t p = 0; rc == 0 && p < d->config->tunnel[i].paths; p++) {
                        struct path_host_device became;
                        rc = path_host_attach(d->host, d->config->tunnel[i].path[p].device, &became, e);
                        if (rc == 0 && became.note[0])
                                note_add(d, became.note);
                        /* It may still come; the link looks again and again, and says that it misses it. */
                        if (rc == -ENODEV)
                                rc = 0;
                }
        }
        return rc;
}

static int links_begin(struct decider *d, struct dog_err *e)
{
        int64_t now_ns = dog_clock_mono_ns();
        for (size_t i = 0; i < d->config->tunnels; i++) {
                const struct dog_config_tunnel *t = &d->config->tunnel[i];
                struct path_link_settings s;
                int rc = plan_link(d->config, t, &s, e);
                if (rc < 0)
                        return rc;
                track_begin(d, i, t, &s);
                rc = path_link_open(&d->link[d->links], &s, d->host, d->hands, d->loop, now_ns, e);
                plan_link_fini(&s);
                if (rc < 0)
                        return rc;
                dog_log(DOG_LOG_INFO, "tunnel=%s event=open device=%s mtu=%u paths=%zu adopted=%u", t->name,
                        t->device, path_tunnel_mtu(path_link_tunnel(d->link[d->links])), t->paths,
                        path_tunnel_adopted(path_link_tunnel(d->link[d->links])));
                d->links++;
        }
        /* The programs that receive are shared: they are exchanged once everything they need is there. */
        int rc = 0;
        for (size_t i = 0; i < d->links && rc == 0; i++)
                rc = path_link_commit(d->link[i], e);
        return rc;
}

static void note_config(void *user, const char *text)
{
        note_add(user, text);
}

static void machine_track_begin(struct decider *d)
{
        for (size_t i = 0; i < d->config->instances; i++) {
                struct machine_track *t = &d->machine_track[i];
                char name[100];
                for (int k = 0; k < DOG_SIGNAL_COUNT; k++)
                        t->series[k] = -1;
#define X(signal, word)                                                                                      \
        snprintf(name, sizeof(name), "instance/%s/" word, d->config->instance[i].name);                      \
        t->series[DOG_SIGNAL_##signal] = d->store ? dog_store_series(d->store, name) : -1;
                INSTANCE_SERIES(X)
#undef X
        }
}

/*
 * What the front cannot do without: one object carries plain forwarding and protection, so a kernel that
 * lacks a part of it is refused. XDP is the faster way before it, and tc does all that XDP does.
 */
static int front_kernel_check(struct decider *d, struct instance_service_settings *s, struct dog_err *e)
{
        struct dog_hands_request ask = dog_hands_request_of(DOG_HANDS_KERNEL_PROBE);
        struct dog_hands_reply reply;
        uint32_t needed = DOG_KERNEL_BPFFS | DOG_KERNEL_TC | DOG_KERNEL_SPIN_LOCK | DOG_KERNEL_RINGBUF;
        char text[200];
        int rc = dog_hands_call(d->hands, &ask, &reply, NULL, e);
        if (rc < 0)
                return rc;
        if ((reply.as.kernel.has & needed) != needed)
                return dog_err_set(e, -EOPNOTSUPP, "the front: %s; vips need Linux 6.1 or later",
                                   dog_kernel_missing(reply.as.kernel.has | ~needed, text, sizeof(text)));
        if (reply.as.kernel.has & DOG_KERNEL_XDP || s->front.hook == INSTANCE_HOOK_TC)
                return 0;
        if (s->front.hook == INSTANCE_HOOK_XDP)
                return dog_err_set(
                        e, -EOPNOTSUPP, "the front: \"hook: xdp\", but %s",
                        dog_kernel_missing(reply.as.kernel.has | ~DOG_KERNEL_XDP, text, sizeof(text)));
        s->front.hook = INSTANCE_HOOK_TC;
        note_add(d, "this kernel has no XDP: the front uses tc alone, which is slower for unprotected vips");
        return 0;
}

/* Where the driver has no native XDP; a veth is tc by choice, and no news. */
static void front_hooks_note(struct decider *d)
{
        const struct instance_front *front = instance_service_front(d->service);
        char text[300];
        for (unsigned i = 0; i < d->config->front.devices; i++) {
                const char *why = instance_front_no_xdp(front, i);
                if (!why || !*why)
                        continue;
                snprintf(text, sizeof(text), "device %s is served by tc, XDP was refused: %s",
                         d->config->front.device[i].text, why);
                note_add(d, text);
        }
}

static int service_begin(struct decider *d, struct dog_err *e)
{
        struct instance_service_settings s;
        int rc = plan_service(d->config, &s, e);
        if (rc < 0)
                return rc;
        rc = front_kernel_check(d, &s, e);
        if (rc < 0) {
                plan_service_fini(&s);
                return rc;
        }
        d->machine_track = calloc(d->config->instances + 1, sizeof(*d->machine_track));
        if (!d->machine_track) {
                plan_service_fini(&s);
                return dog_err_set(e, -ENOMEM, "out of memory");
        }
        machine_track_begin(d);
        dog_config_notes(d->config, note_config, d);
        s.sample = service_sample;
        s.watch = service_watch;
        s.news = service_news;
        s.hurry = service_hurry;
        s.caution = d->feeds ? service_caution : NULL;
        s.user = d;
        if (d->config->forecast.has_trees)
                node_trees_open(&d->node_trees, trees_note, d);
        s.trees = &d->node_trees.trees;
        rc = instance_service_open(&d->service, &s, d->hands, d->loop, dog_clock_mono_ns(), e);
        plan_service_fini(&s);
        if (rc < 0)
                return rc;
        front_hooks_note(d);
        drained_recall(d);
        dog_log(DOG_LOG_INFO, "event=front-open vips=%zu instances=%zu adopted=%u", d->config->vips,
                d->config->instances, instance_front_adopted(instance_service_front(d->service)));
        return 0;
}

static int decider_begin(struct decider *d, const struct decider_options *o, struct dog_err *e)
{
        struct dog_loop_options options = {
                .budget = {.moves_per_step = (unsigned)d->config->policy.moves_per_step,
                           .copies_share = d->config->policy.copies_share},
                .event = decider_event,
                .user = d,
                .stage_clock = dog_clock_cpu_ns};
        d->loop = dog_loop_new(&options);
        d->events = json_array();
        d->notes = json_array();
        if (!d->loop || !d->events || !d->notes)
                return dog_err_set(e, -ENOMEM, "out of memory");
        store_begin(d, o->config_text);
        dog_ledger_listen(dog_loop_ledger(d->loop), decider_ledger, d);
        /* The socket before the data plane: a second sundogd is refused before it has touched anything. */
        int rc = dog_api_open(&d->api, &d->uv, d->config->api.socket, decider_answer, d, e);
        if (rc == 0)
                rc = feeds_open(&d->feeds, d->config, d->hands, &d->uv, decider_feed_tell, d, e);
        if (rc == 0 && d->config->tunnels)
                rc = host_begin(d, e);
        if (rc == 0)
                rc = links_begin(d, e);
        if (rc == 0)
                rc = radios_open(&d->radios, d->config, &d->uv,
                                 &(struct radios_calls){
                                         .reading = decider_radio, .news = decider_radio_news, .user = d},
                                 e);
        if (rc == 0 && d->config->vips)
                rc = service_begin(d, e);
        if (rc == 0)
                rc = trees_begin(d, e);
        if (rc == 0)
                rc = dog_netlink_watch_open(&d->watch, e);
        if (rc < 0)
                return rc;
        d->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (d->timer < 0)
                return dog_err_set(e, -errno, "timer: %s", strerror(errno));
        uv_poll_init(&d->uv, &d->timer_poll, d->timer);
        uv_timer_init(&d->uv, &d->store_timer);
        uv_poll_init(&d->uv, &d->hands_poll, dog_hands_client_fd(d->hands));
        uv_poll_init(&d->uv, &d->netlink_poll, dog_netlink_watch_fd(d->watch));
        uv_signal_init(&d->uv, &d->term);
        uv_signal_init(&d->uv, &d->interrupt);
        d->timer_poll.data = d->store_timer.data = d->hands_poll.data = d->netlink_poll.data = d;
        d->term.data = d->interrupt.data = d;
        d->is_running = true;
        uv_poll_start(&d->timer_poll, UV_READABLE, decider_tick);
        decider_arm(d, 1);
        uv_timer_start(&d->store_timer, store_tick, 1000, 1000);
        uv_poll_start(&d->hands_poll, UV_READABLE | UV_DISCONNECT, hands_readable);
        uv_poll_start(&d->netlink_poll, UV_READABLE, netlink_readable);
        uv_signal_start(&d->term, decider_signal, SIGTERM);
        uv_signal_start(&d->interrupt, decider_signal, SIGINT);
        return 0;
}

static void decider_end(struct decider *d)
{
        /* Groups first: closing them lets go of links. What forwards is pinned and goes on. */
        d->is_running = false;
        feeds_close(d->feeds);
        radios_close(d->radios);
        dog_loop_free(d->loop);
        trees_close(d->trees);
        node_trees_close(&d->node_trees);
        instance_service_close(d->service);
        free(d->machine_track);
        for (size_t i = 0; i < d->links; i++)
                path_link_close(d->link[i]);
        path_host_close(d->host);
        dog_api_close(d->api);
        uv_walk(&d->uv, close_any, NULL);
        while (uv_run(&d->uv, UV_RUN_DEFAULT) != 0)
                ;
        uv_loop_close(&d->uv);
        feeds_free(d->feeds);
        if (d->timer >= 0)
                close(d->timer);
        dog_netlink_watch_close(d->watch);
        dog_store_close(d->store);
        json_decref(d->events);
        json_decref(d->notes);
}

int decider_main(struct dog_hands_client *hands, void *data)
{
        const struct decider_options *o = data;
        struct decider *d = calloc(1, sizeof(*d));
        struct dog_err e = {0};
        if (!d || uv_loop_init(&d->uv) < 0) {
                free(d);
                dog_log(DOG_LOG_ERROR, "event=start error=\"out of memory\"");
                return 1;
        }
        /* Who asks may hang up before the answer. */
        signal(SIGPIPE, SIG_IGN);
        d->config = o->config;
        d->hands = hands;
        d->started_ns = dog_clock_mono_ns();
        d->timer = -1;
        if (decider_begin(d, o, &e) < 0) {
                dog_log(DOG_LOG_ERROR, "cannot start: %s", e.text);
                d->status = 1;
        } else {
                if (dog_hands_ready(hands, &e) < 0)
                        dog_log(DOG_LOG_WARN, "%s", e.text);
                dog_log(DOG_LOG_INFO, "event=started site=%s version=%s socket=%s", d->config->site,
                        SUNDOG_VERSION, d->config->api.socket);
                uv_run(&d->uv, UV_RUN_DEFAULT);
        }
        int status = d->status;
        decider_end(d);
        free(d);
        return status;
}

/* ---- undoing it ---- */

static int front_remove(const struct dog_config *config, struct dog_hands_client *hands, struct dog_err *e)
{
        struct instance_service_settings s;
        struct instance_front *front = NULL;
        int rc = plan_service(config, &s, e);
        if (rc < 0)
                return rc;
        rc = instance_front_open(&front, &s.front, hands, e);
        if (rc == 0)
                rc = instance_front_remove(front, e);
        plan_service_fini(&s);
        if (rc == 0)
                dog_log(DOG_LOG_INFO, "event=front-removed devices=%zu vips=%zu", config->front.devices,
                        config->vips);
        return rc;
}

int decider_remove(struct dog_hands_client *hands, void *data)
{
        const struct dog_config *config = ((const struct decider_options *)data)->config;
        struct decider d = {.config = config, .hands = hands};
        struct dog_err e = {0};
        int rc = config->tunnels ? host_begin(&d, &e) : 0;
        for (size_t i = 0; rc == 0 && i < config->tunnels; i++) {
                struct path_link_settings s;
                struct path_tunnel *tunnel = NULL;
                rc = plan_link(config, &config->tunnel[i], &s, &e);
                if (rc == 0)
                        rc = path_tunnel_open(&tunnel, d.host, &s.tunnel, &e);
                if (rc == 0)
                        rc = path_tunnel_remove(tunnel, &e);
                plan_link_fini(&s);
                if (rc == 0)
                        dog_log(DOG_LOG_INFO, "tunnel=%s event=removed device=%s", config->tunnel[i].name,
                                config->tunnel[i].device);
                for (size_t p = 0; rc == 0 && p < config->tunnel[i].paths; p++)
                        rc = path_host_detach(d.host, config->tunnel[i].path[p].device, &e);
        }
        path_host_close(d.host);
        if (rc == 0 && config->vips)
                rc = front_remove(config, hands, &e);
        json_decref(d.notes);
        if (rc < 0)
                dog_log(DOG_LOG_ERROR, "cannot remove: %s", e.text);
        return rc < 0;
}

/* ---- what root prepares ---- */

static int front_policy(const struct dog_config *config, struct dog_hands_policy *policy, struct dog_err *e)
{
        const struct dog_config_front *f = &config->front;
        int rc = 0;
        bool has_agent = false;
        for (size_t i = 0; rc == 0 && config->vips && i < f->devices; i++)
                rc = dog_hands_policy_device(policy, f->device[i].text, DOG_DEVICE_UNDERLAY, e);
        for (size_t i = 0; rc == 0 && config->vips && i < config->instances; i++) {
                char name[DOG_HANDS_NAME];
                if (!config->instance[i].agent_key_file)
                        continue;
                has_agent = true;
                rc = dog_hands_policy_secret(policy, plan_agent_secret(i, name),
                                             config->instance[i].agent_key_file, e);
        }
        if (rc == 0 && has_agent)
                rc = dog_hands_policy_port(policy, (uint16_t)f->agent_port, (uint16_t)f->agent_port, e);
        if (rc == 0 && config->vips && f->tell_port)
                rc = dog_hands_policy_secret(policy, PLAN_TELL_SECRET, f->key_file, e);
        if (rc == 0 && config->vips && f->tell_port && f->role == DOG_CONFIG_GATEWAY)
                rc = dog_hands_policy_port(policy, (uint16_t)f->tell_port, (uint16_t)f->tell_port, e);
        if (rc == 0 && config->vips && f->pair.version)
                rc = dog_hands_policy_secret(policy, PLAN_PAIR_SECRET, f->pair_key_file, e);
        if (rc == 0 && config->vips && f->aligned_key_file)
                rc = dog_hands_policy_secret(policy, PLAN_ALIGNED_SECRET, f->aligned_key_file, e);
        if (rc == 0 && config->vips && f->pair.version)
                rc = dog_hands_policy_port(policy, (uint16_t)f->pair_port, (uint16_t)f->pair_port, e);
        return rc;
}

int decider_policy(const struct dog_config *config, struct dog_hands_policy *policy, struct dog_err *e)
{
        for (size_t i = 0; i < config->tunnels; i++) {
                const struct dog_config_tunnel *t = &config->tunnel[i];
                uint16_t stamp = (uint16_t)t->stamp_port;
                int rc = dog_hands_policy_device(policy, t->device, DOG_DEVICE_TUNNEL, e);
                if (rc == 0)
                        rc = dog_hands_policy_secret(policy, t->name, t->key_file, e);
                if (rc == 0)
                        rc = dog_hands_policy_port(policy, stamp, stamp, e);
                struct dog_hands_address network = plan_network(&t->address);
                if (rc == 0)
                        rc = dog_hands_policy_prefix(policy, &network, e);
                for (size_t p = 0; rc == 0 && p < t->paths; p++)
                        rc = dog_hands_policy_device(policy, t->path[p].device, DOG_DEVICE_UNDERLAY, e);
                if (rc < 0)
                        return rc;
        }
        int rc = config->feeds
                         ? dog_hands_policy_helper(
                                   policy,
                                   &(struct dog_hands_helper){
                                           .name = FEEDS_HELPER,
                                           .user = config->user && config->user[0] ? config->user : NULL,
                                           .run = feeds_fetch,
                                           .data = config},
                                   e)
                         : 0;
        return rc < 0 ? rc : front_policy(config, policy, e);
}

/* Make the folder a file is in, if it is missing, and give it to the user. */
static int folder_for(const char *file, const struct passwd *user, struct dog_err *e)
{
        char folder[4096];
        snprintf(folder, sizeof(folder), "%s", file);
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder)
                return 0;
        *slash = 0;
        if (mkdir(folder, 0750) == 0) {
                if (chown(folder, user->pw_uid, user->pw_gid) < 0)
                        return dog_err_set(e, -errno, "cannot give %s to %s: %s", folder, user->pw_name,
                                           strerror(errno));
        } else if (errno != EEXIST) {
                return dog_err_set(e, -errno, "cannot make %s: %s; does the folder above it exist?", folder,
                                   strerror(errno));
        }
        return 0;
}

int decider_folders(const struct dog_config *config, struct dog_err *e)
{
        const struct passwd *user = config->user ? getpwnam(config->user) : getpwnam(DOG_PRIVILEGE_USER);
        if (!user && !config->user)
                user = getpwnam("nobody");
        if (!user)
                return dog_err_set(e, -ENOENT,
                                   "there is no user \"%s\" to run the decider as; create it or set \"user\"",
                                   config->user ? config->user : "nobody");
        int rc = folder_for(config->api.socket, user, e);
        return rc == 0 ? folder_for(config->store.path, user, e) : rc;
}
