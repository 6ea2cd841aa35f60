#include "daemon/view.h"

#include "base/clock.h"
#include "daemon/reasons.h"
#include "daemon/say.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *view_tunnel_of(const struct view *v, const struct dog_group *g)
{
        for (size_t i = 0; i < v->links; i++)
                for (unsigned c = 0; path_link_group(v->link[i], c); c++)
                        if (path_link_group(v->link[i], c) == g)
                                return path_link_name(v->link[i]);
        return "";
}

/* ---- paths ---- */

/* What a path does for the classes of its tunnel, in words. */
static const char *path_state(const struct path_link *l, unsigned path, char *carries, size_t room,
                              const char **why)
{
        bool is_active = false;
        bool is_hot = false;
        bool is_usable = false;
        bool is_up = false;
        bool is_bad = false;
        const char *announced = NULL;
        struct dog_group *g;
        carries[0] = 0;
        *why = "";
        for (unsigned c = 0; (g = path_link_group(l, c)); c++) {
                const struct dog_member *m = &g->member[path];
                bool carries_all = g->active == path;
                bool carries_copy = !carries_all && (g->hot & (1U << path));
                is_active |= carries_all;
                is_hot |= carries_copy;
                is_usable |= m->is_usable;
                is_up |= m->is_up;
                is_bad |= m->belief.is_bad;
                announced = m->belief.announced[0] ? m->belief.announced : announced;
                if (carries_all || carries_copy)
                        snprintf(carries + strlen(carries), room - strlen(carries), "%s%s%s",
                                 carries[0] ? " " : "", carries_copy ? "copy:" : "", g->name);
                if (m->role == DOG_ROLE_NEVER)
                        *why = "configured to carry nothing";
        }
        if (!is_up)
                *why = "its device, carrier or next hop is missing";
        else if (!is_usable)
                *why = "does not answer probes";
        else if (is_bad)
                *why = "breaks a promise now";
        else if (announced && !**why)
                *why = announced;
        return !is_usable ? "DEAD" : is_active ? "ACTIVE" : is_hot ? "HOT" : "READY";
}

/* The class that is hardest to please decides what a path's risk is; what no class takes promised little. */
static const struct dog_belief *path_belief(const struct path_link *l, unsigned path,
                                            const struct dog_outlook **outlook)
{
        const struct dog_belief *worst = NULL;
        struct dog_group *g;
        for (unsigned c = 0; (g = path_link_group(l, c)); c++) {
                if (path_link_settings(l)->classes > 1 && path_link_settings(l)->class[c].number == 0)
                        continue;
                if (worst && !(g->member[path].belief.p_breach[0] > worst->p_breach[0]))
                        continue;
                worst = &g->member[path].belief;
                *outlook = &g->member[path].outlook;
        }
        return worst;
}

/*
 * What the path's modem or dish tells, as it is known now: what is old is null, and then radio_why says what
 * is missing. Without a radio there are none of these members.
 */
static void path_radio(const struct view *v, size_t tunnel, unsigned path, int64_t now_ns, json_t *row)
{
        const struct dog_radio_stats *stats = radios_stats(v->radios, tunnel, path);
        if (!stats)
                return;
        const struct dog_radio_past *past = path_link_radio_past(v->link[tunnel], path);
        float in[DOG_RADIO_INPUTS];
        bool is_known = past && dog_radio_inputs(past, now_ns, in);
        struct dog_radio r = is_known ? past->newest : dog_radio_unknown();
        json_object_set_new(row, "technology",
                            r.technology ? json_string(dog_radio_technology_word(r.technology))
                                         : json_null());
#define X(field, word, unit, least, most, help) json_object_set_new(row, word, say_real((double)r.field));
        DOG_RADIO_VALUES(X)
#undef X
        json_object_set_new(row, "outage", r.has_outage ? json_boolean(r.is_outage) : json_null());
        json_object_set_new(row, "since_handover_s",
                            say_real(is_known ? (double)in[DOG_RADIO_I_SINCE_HANDOVER] : (double)NAN));
        json_object_set_new(row, "slot_s", say_real(is_known ? (double)in[DOG_RADIO_I_SLOT] : (double)NAN));
        json_object_set_new(row, "radio_age_s",
                            say_real(is_known ? (double)in[DOG_RADIO_I_AGE] : (double)NAN));
        json_object_set_new(row, "radio_readings", json_integer((json_int_t)stats->readings));
        json_object_set_new(row, "radio_failed", json_integer((json_int_t)stats->failed));
        json_object_set_new(row, "radio_impossible", json_integer((json_int_t)stats->impossible));
        json_object_set_new(row, "radio_malformed", json_integer((json_int_t)stats->malformed));
        json_object_set_new(row, "radio_why", json_string(is_known ? "" : stats->why));
}

static json_t *path_row(const struct view *v, struct path_link *l, unsigned path)
{
        const struct path_link_settings *s = path_link_settings(l);
        struct path_link_view seen = path_link_view(l, path);
        const struct dog_outlook *o = NULL;
        const struct dog_belief *b = path_belief(l, path, &o);
        struct path_tunnel_counters counted;
        memset(&counted, 0, sizeof(counted));
        path_tunnel_read(path_link_tunnel(l), &counted, NULL);
        char carries[256];
        const char *why;
        const char *state = path_state(l, path, carries, sizeof(carries), &why);
        (void)v;
        json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s}", "path", s->path[path].path.name, "tunnel",
                                s->name, "state", state, "carries", carries, "why", why);
        if (!row || !b || !o)
                return row;
        const double *now = o->newest.value;
        json_object_set_new(row, "rtt_ms", say_real(o->has_sample ? now[DOG_SIGNAL_RTT] : (double)NAN));
        json_object_set_new(row, "jitter_ms", say_real(o->has_sample ? now[DOG_SIGNAL_JITTER] : (double)NAN));
        json_object_set_new(row, "loss", say_real(o->has_sample ? now[DOG_SIGNAL_LOSS] : (double)NAN));
        json_object_set_new(row, "delay_ms", say_real(seen.delay_ms));
        json_object_set_new(row, "rtt_next_ms", say_real((double)b->rtt_ms[0].mean));
        json_object_set_new(row, "p_next", say_real((double)b->p_next));
        json_object_set_new(row, "p_near", say_real((double)b->p_breach[0]));
        json_object_set_new(row, "p_middle", say_real((double)b->p_breach[1]));
        json_object_set_new(row, "p_far", say_real((double)b->p_breach[2]));
        json_object_set_new(row, "score", say_real((double)b->score));
        json_object_set_new(row, "is_armed", json_boolean(b->is_armed));
        json_object_set_new(row, "sent_packets", json_integer((json_int_t)counted.path[path].sent_packets));
        json_object_set_new(row, "sent_bytes", json_integer((json_int_t)counted.path[path].sent_bytes));
        json_object_set_new(row, "received_packets",
                            json_integer((json_int_t)counted.path[path].rx.received));
        json_object_set_new(row, "first", json_integer((json_int_t)counted.path[path].first));
        json_object_set_new(row, "duplicate", json_integer((json_int_t)counted.path[path].rx.duplicate));
        json_object_set_new(row, "stale", json_integer((json_int_t)counted.path[path].rx.stale));
        json_object_set_new(row, "bad_tag", json_integer((json_int_t)counted.path[path].rx.bad_tag));
        json_object_set_new(row, "user_loss", say_real(seen.passive_loss));
        if (seen.probe) {
                json_object_set_new(row, "probes_sent", json_integer((json_int_t)seen.probe->sent));
                json_object_set_new(row, "probes_lost", json_integer((json_int_t)seen.probe->lost));
        }
        return row;
}

json_t *view_paths(const struct view *v, int64_t now_ns)
{
        json_t *rows = json_array();
        for (size_t i = 0; i < v->links; i++)
                for (unsigned p = 0; p < path_link_settings(v->link[i])->paths; p++) {
                        json_t *row = path_row(v, v->link[i], p);
                        path_radio(v, i, p, now_ns, row);
                        json_array_append_new(rows, row);
                }
        return rows;
}

/* ---- status ---- */

static void promise_words(const struct dog_promise *p, char *to, size_t room)
{
        const struct {
                const char *format;
                double value;
        } part[] = {{"rtt<=%gms ", p->rtt_ms},
                    {"rtt<=%gx median ", p->rtt_factor},
                    {"jitter<=%gms ", p->jitter_ms},
                    {"loss<%g%% ", 100 * p->loss_ratio},
                    {"rate>=%gMbit/s ", p->rate_kbps / 1e3}};
        to[0] = 0;
        for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
                if (part[i].value > 0)
                        snprintf(to + strlen(to), room - strlen(to), part[i].format, part[i].value);
        if (to[0])
                to[strlen(to) - 1] = 0;
}

/* What a class gave to its tunnel: packets, their bytes once, and copies sent; all 0 when it cannot be read.
 */
static struct path_class_tx class_sent(const struct view *v, const struct dog_group *g)
{
        struct path_tunnel_class_counters counted;
        memset(&counted, 0, sizeof(counted));
        for (size_t i = 0; i < v->links; i++)
                for (unsigned c = 0; path_link_group(v->link[i], c); c++)
                        if (path_link_group(v->link[i], c) == g)
                                path_tunnel_class_read(path_link_tunnel(v->link[i]),
                                                       path_link_settings(v->link[i])->class[c].number,
                                                       &counted, NULL);
        return counted.tx;
}

/* Who forecasts, and what was disarmed on how many members: "trees+logistic", "logistic; disarmed on 1". */
static void model_words(const struct dog_group *g, char *to, size_t room)
{
        unsigned disarmed = 0;
        for (unsigned m = 0; m < g->members; m++) {
                const struct dog_outlook *o = &g->member[m].outlook;
                bool is_any = !dog_brier_is_armed(&o->brier);
                for (int i = 0; i < DOG_EXPERT_MODELS; i++)
                        is_any |= o->risk.mix.is_disarmed[i];
                disarmed += is_any;
        }
        snprintf(to, room, "%s", g->insight.risk.model ? "trees+logistic" : "logistic");
        if (disarmed)
                snprintf(to + strlen(to), room - strlen(to), ", disarmed on %u", disarmed);
}

static json_t *class_row(const struct view *v, const struct dog_group *g)
{
        char promise[96];
        char carried[128] = "";
        promise_words(&g->promise, promise, sizeof(promise));
        snprintf(carried, sizeof(carried), "%s", g->members ? g->member[g->active].name : "-");
        for (unsigned m = 0; m < g->members; m++)
                if (m != g->active && (g->hot & (1U << m)))
                        snprintf(carried + strlen(carried), sizeof(carried) - strlen(carried), "+%s",
                                 g->member[m].name);
        char model[64];
        model_words(g, model, sizeof(model));
        const struct dog_tally *t = &g->tally;
        double served = (double)t->served_ns;
        struct path_class_tx sent = class_sent(v, g);
        return json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:s}",
                         "packets", (json_int_t)sent.packets, "inner_bytes", (json_int_t)sent.bytes,
                         "sent_copies", (json_int_t)sent.copies, "class", g->name, "tunnel",
                         view_tunnel_of(v, g), "state", dog_state_name(g->state), "carried_by", carried,
                         "promise", promise, "kept",
                         say_real(served > 0 ? 1 - (double)t->bad_ns / served : (double)NAN), "copies",
                         say_real(served > 0 ? (double)t->copied_ns / served : (double)NAN), "decisions",
                         (json_int_t)t->decisions, "helped", (json_int_t)t->helped, "neutral",
                         (json_int_t)t->neutral, "hurt", (json_int_t)t->hurt, "saved_ms",
                         (json_int_t)(t->bad_saved_ns / DOG_MS), "model", model);
}

static json_t *drop_rows(const struct view *v)
{
        json_t *drops = json_object();
        struct path_tunnel_counters counted;
        if (v->links == 0 || path_tunnel_read(path_link_tunnel(v->link[0]), &counted, NULL) < 0)
                return drops;
        static const char *const name[] = {
#define X(id, text) #id,
                PATH_DROPS(X)
#undef X
        };
        for (int i = 0; i < PATH_DROP_COUNT; i++)
                if (counted.drops[i])
                        json_object_set_new(drops, name[i], json_integer((json_int_t)counted.drops[i]));
        return drops;
}

/* Paths that cannot carry anything because something of theirs is not there: a person must look. */
static bool note_missing(const struct view *v, json_t *notes)
{
        bool is_any = false;
        char text[200];
        for (size_t i = 0; i < v->links; i++) {
                const struct path_link_settings *s = path_link_settings(v->link[i]);
                const struct dog_group *g = path_link_group(v->link[i], 0);
                for (unsigned p = 0; g && p < s->paths; p++) {
                        if (g->member[p].is_up)
                                continue;
                        snprintf(
                                text, sizeof(text),
                                "path %s of tunnel %s: the device %s, its carrier or its next hop is missing",
                                s->path[p].path.name, s->name, s->path[p].path.device);
                        json_array_append_new(notes, json_string(text));
                        is_any = true;
                }
        }
        return is_any;
}

/* Which model is not heard, and who speaks instead. */
static void note_disarmed(const struct dog_group *g, const struct dog_member *m, json_t *notes)
{
        char text[300];
        const struct dog_outlook *o = &m->outlook;
        if (!dog_brier_is_armed(&o->brier)) {
                snprintf(text, sizeof(text),
                         "%s on %s: the forecast lost against persistence over 200 outcomes and is disarmed: "
                         "what "
                         "is, is taken for what will be",
                         g->name, m->name);
                json_array_append_new(notes, json_string(text));
        }
        for (int i = 0; i < DOG_EXPERT_MODELS; i++) {
                if (!o->risk.mix.is_disarmed[i])
                        continue;
                snprintf(text, sizeof(text),
                         "%s on %s: %s disarmed until better: over 200 outcomes the squared error was %.4f, "
                         "that of "
                         "persistence (it stays as it is) %.4f",
                         g->name, m->name, dog_expert_name(i), dog_brier_model(&o->risk.mix.record[i]),
                         dog_brier_persistence(&o->risk.mix.record[i]));
                json_array_append_new(notes, json_string(text));
        }
}

json_t *view_status(const struct view *v, int64_t now_ns)
{
        struct dog_tally all = {0};
        json_t *classes = json_array();
        bool is_degraded = false;
        json_t *notes = v->notes ? json_copy(v->notes) : json_array();
        char text[700];
        for (size_t i = 0; i < dog_loop_groups(v->loop); i++) {
                const struct dog_group *g = dog_loop_group(v->loop, i);
                if (!g)
                        continue;
                /* A vip is shown with the vips. */
                if (!g->policy.spread)
                        json_array_append_new(classes, class_row(v, g));
                all.decisions += g->tally.decisions;
                all.helped += g->tally.helped;
                all.neutral += g->tally.neutral;
                all.hurt += g->tally.hurt;
                all.bad_saved_ns += g->tally.bad_saved_ns;
                if (g->is_alerting) {
                        is_degraded = true;
                        snprintf(text, sizeof(text),
                                 g->policy.spread ? "vip %s: too few of its instances are healthy; health is "
                                                    "ignored if any lives"
                                                  : "class %s: every path breaks its promise or is dead",
                                 g->name);
                        json_array_append_new(notes, json_string(text));
                }
                for (unsigned m = 0; m < g->members; m++)
                        note_disarmed(g, &g->member[m], notes);
        }
        is_degraded |= note_missing(v, notes);
        json_t *store = json_null();
        if (v->store) {
                struct dog_store_status s;
                dog_store_status(v->store, &s);
                store = json_pack(
                        "{s:s, s:s, s:I, s:I, s:I}", "health", s.health == DOG_STORE_OK ? "ok" : "degraded",
                        "text", s.text, "rows_written", (json_int_t)s.rows_written, "points_written",
                        (json_int_t)s.points_written, "lost", (json_int_t)(s.rows_lost + s.points_lost));
                if (s.health != DOG_STORE_OK) {
                        is_degraded = true;
                        snprintf(text, sizeof(text), "store: %s (forwarding goes on)", s.text);
                        json_array_append_new(notes, json_string(text));
                }
        }
        json_t *model = v->trees ? trees_json(v->trees) : json_null();
        return json_pack("{s:s, s:s, s:f, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:o, s:o, s:o, s:o}",
                         "version", SUNDOG_VERSION, "site", v->config->site, "up_s",
                         (double)(now_ns - v->started_ns) / 1e9, "decisions", (json_int_t)all.decisions,
                         "helped", (json_int_t)all.helped, "neutral", (json_int_t)all.neutral, "hurt",
                         (json_int_t)all.hurt, "saved_ms", (json_int_t)(all.bad_saved_ns / DOG_MS),
                         "is_degraded", (int)is_degraded, "paths", view_paths(v, now_ns), "classes", classes,
                         "packets", drop_rows(v), "store", store, "notes", notes, "forecasters", model);
}

/* ---- forecast ---- */

static int digits_for(double v)
{
        return fabs(v) < 10 ? 2 : 0;
}

static void expect_words(const struct dog_expect *x, const char *unit, double scale, char *to, size_t room)
{
        double mean = scale * (double)x->mean;
        double spread = scale * (double)x->spread;
        if (isnan(mean))
                snprintf(to, room, "-");
        else
                snprintf(to, room, "%.*f ±%.*f %s", digits_for(mean), mean, digits_for(spread), spread, unit);
}

static json_t *forecast_row(const struct dog_group *g, unsigned m, int h, int64_t now_ns)
{
        const struct dog_belief *b = &g->member[m].belief;
        struct dog_outlook_reasons r;
        char rtt[32];
        char jitter[32];
        char loss[32];
        char ahead[16];
        char text[400];
        dog_group_explain(g, m, h, now_ns, &r);
        expect_words(&b->rtt_ms[h], "ms", 1, rtt, sizeof(rtt));
        expect_words(&b->jitter_ms[h], "ms", 1, jitter, sizeof(jitter));
        expect_words(&b->loss[h], "%", 100, loss, sizeof(loss));
        snprintf(ahead, sizeof(ahead), "%.3gs", (double)g->policy.horizon_ns[h] / 1e9);
        json_t *row = json_pack(
                "{s:s, s:s, s:s, s:f, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:s, "
                "s:s, s:f}",
                "path", g->member[m].name, "class", g->name, "horizon", ahead, "horizon_s",
                (double)g->policy.horizon_ns[h] / 1e9, "rtt", rtt, "jitter", jitter, "loss", loss, "rtt_ms",
                say_real((double)b->rtt_ms[h].mean), "rtt_spread_ms", say_real((double)b->rtt_ms[h].spread),
                "jitter_ms", say_real((double)b->jitter_ms[h].mean), "jitter_spread_ms",
                say_real((double)b->jitter_ms[h].spread), "loss_ratio", say_real((double)b->loss[h].mean),
                "loss_spread", say_real((double)b->loss[h].spread), "p_breach",
                say_real((double)b->p_breach[h]), "score", say_real((double)b->score), "is_armed",
                (int)b->is_armed, "is_bad", (int)b->is_bad, "hint", dog_hint_text(g, b->hint), "announced",
                h == 0 ? b->announced : "", "caution", (double)b->caution);
        if (!row)
                return NULL;
        json_t *drivers = reasons_drivers(r.driver);
        reasons_drivers_text(drivers, text, sizeof(text));
        json_object_set_new(row, "drivers", json_string(text));
        json_object_set_new(row, "reasons", drivers);
        json_object_set_new(row, "model", json_string(reasons_model(r.speaker)));
        json_object_set_new(row, "voices", reasons_voices(r.voice));
        json_object_set_new(row, "calibration",
                            reasons_calibration(&g->insight.reliability[h], (double)b->p_breach[h]));
        /* How it fails is said for the middle horizon alone, what changed once. */
        if (h == 1)
                json_object_set_new(row, "modes", reasons_modes(g, b));
        if (h == 0)
                json_object_set_new(row, "changed", reasons_change(b, now_ns, "ago"));
        return row;
}

static void forecast_rows(json_t *rows, const struct dog_group *g, unsigned m, int64_t now_ns)
{
        for (int h = 0; h < DOG_HORIZONS; h++) {
                json_t *row = forecast_row(g, m, h, now_ns);
                if (row)
                        json_array_append_new(rows, row);
        }
}

json_t *view_forecast(const struct view *v, const char *path, int64_t now_ns)
{
        json_t *rows = json_array();
        for (size_t i = 0; i < dog_loop_groups(v->loop); i++) {
                const struct dog_group *g = dog_loop_group(v->loop, i);
                for (unsigned m = 0; g && m < g->members; m++)
                        if (!path || strcmp(path, g->member[m].name) == 0)
                                forecast_rows(rows, g, m, now_ns);
        }
        return rows;
}
