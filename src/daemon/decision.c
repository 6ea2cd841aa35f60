#include "daemon/decision.h"

#include "base/clock.h"
#include "daemon/reasons.h"
#include "daemon/say.h"

#include <stdlib.h>
#include <string.h>

static const char *member_name(const struct dog_group *g, unsigned m)
{
        return m < g->members ? g->member[m].name : "?";
}

static json_t *set_json(const struct dog_group *g, uint16_t set)
{
        json_t *list = json_array();
        for (unsigned m = 0; m < g->members; m++)
                if (set & (1U << m))
                        json_array_append_new(list, json_string(g->member[m].name));
        return list;
}

/* A spread group: each member's part of new traffic. */
static json_t *weights_json(const struct dog_group *g, const uint8_t weight[DOG_MEMBERS_MAX])
{
        json_t *o = json_object();
        double sum = dog_plan_weights(weight);
        for (unsigned m = 0; m < g->members; m++)
                json_object_set_new(o, g->member[m].name, json_real(weight[m] / sum));
        return o;
}

static json_t *belief_json(const struct dog_group *g, const struct dog_belief *b)
{
        return json_pack(
                "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o}",
                "p_next", say_real((double)b->p_next), "p_near", say_real((double)b->p_breach[0]), "p_middle",
                say_real((double)b->p_breach[1]), "p_far", say_real((double)b->p_breach[2]), "rtt_ms",
                say_real((double)b->rtt_ms[0].mean), "rtt_spread_ms", say_real((double)b->rtt_ms[0].spread),
                "loss", say_real((double)b->loss[0].mean), "score", say_real((double)b->score), "is_bad",
                (int)b->is_bad, "is_armed", (int)b->is_armed, "hint", dog_hint_text(g, b->hint), "announced",
                b->announced, "caution", say_real((double)b->caution), "model", reasons_model(b->speaker),
                "drivers", reasons_drivers(b->driver), "voices", reasons_voices(b->voice), "modes",
                reasons_modes(g, b), "changed", reasons_change(b, b->made_ns, "before"));
}

/* What such chances have meant so far, at each horizon. */
static json_t *calibrations_json(const struct dog_group *g, const struct dog_belief *b)
{
        json_t *list = json_array();
        for (int h = 0; h < DOG_HORIZONS; h++) {
                json_t *row = reasons_calibration(&g->insight.reliability[h], (double)b->p_breach[h]);
                if (json_is_object(row)) {
                        json_object_set_new(row, "horizon_s",
                                            json_real((double)g->policy.horizon_ns[h] / 1e9));
                        json_object_set_new(row, "p", json_real((double)b->p_breach[h]));
                }
                json_array_append_new(list, row);
        }
        return list;
}

json_t *decision_json(const struct dog_ledger_row *row, const struct dog_group *g)
{
        const struct dog_plan *p = &row->plan;
        json_t *others = json_array();
        for (unsigned m = 0; m < g->members; m++)
                json_array_append_new(others, json_pack("{s:s, s:o, s:b}", "member", g->member[m].name,
                                                        "p_near", say_real((double)row->p_member[m]),
                                                        "is_usable", (int)(row->usable >> m & 1)));
        json_t *d = json_pack("{s:I, s:s, s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:f, s:f, s:f, s:b}", "id",
                              (json_int_t)p->decision, "group", g->name, "at_ns", (json_int_t)p->at_ns, "act",
                              dog_act_name(p->act), "why", dog_reason_name(p->why), "from",
                              member_name(g, p->active_was), "to", member_name(g, p->active), "carried",
                              set_json(g, p->hot_was), "carries", set_json(g, p->hot), "p_without",
                              (double)p->p_without, "p_with", (double)p->p_with, "gain", (double)p->gain,
                              "is_alert", (int)p->is_alert);
        if (!d)
                return json_object();
        json_object_set_new(d, "chosen", json_string(member_name(g, row->chosen_member)));
        json_object_set_new(d, "belief_before", belief_json(g, &row->active_was));
        json_object_set_new(d, "belief_chosen", belief_json(g, &row->chosen));
        json_object_set_new(d, "members", others);
        if (g->policy.spread) {
                json_object_set_new(d, "weights_was", weights_json(g, p->weight_was));
                json_object_set_new(d, "weights", weights_json(g, p->weight));
                json_object_set_new(d, "leaves", set_json(g, p->leave & (uint16_t)~p->leave_was));
                json_object_set_new(d, "leaving", set_json(g, p->leave));
                json_object_set_new(d, "dies", set_json(g, p->dead & (uint16_t)~p->dead_was));
                json_object_set_new(
                        d, "returns",
                        set_json(g, (p->leave_was | p->dead_was) & (uint16_t) ~(p->leave | p->dead)));
                json_object_set_new(d, "protected_share", json_real((double)p->share / DOG_SHARE_ONE));
                json_object_set_new(d, "protected_share_was",
                                    json_real((double)p->share_was / DOG_SHARE_ONE));
                if (p->about < g->members) {
                        json_object_set_new(d, "about", json_string(g->member[p->about].name));
                        json_object_set_new(d, "from", json_string(g->member[p->about].name));
                }
        }
        if (p->refused != DOG_WHY_NONE)
                json_object_set_new(d, "refused", json_string(dog_reason_name(p->refused)));
        json_object_set_new(d, "grade", json_string(dog_grade_name(row->grade)));
        if (row->grade != DOG_GRADE_OPEN) {
                json_object_set_new(d, "bad_with_ms", json_integer(row->bad_with_ns / DOG_MS));
                json_object_set_new(d, "bad_without_ms", json_integer(row->bad_without_ns / DOG_MS));
                json_object_set_new(d, "seen_ms", json_integer(row->seen_ns / DOG_MS));
        }
        json_t *record = calibrations_json(g, &row->active_was);
        const json_t *text = json_object_get(json_array_get(record, 0), "text");
        if (text)
                json_object_set(d, "calibration", (json_t *)(uintptr_t)text);
        json_object_set_new(d, "calibrations", record);
        return d;
}

/* ---- words ---- */

struct text {
        char *at;
        size_t used, room;
};

static void say(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *t, const char *format, ...)
{
        if (t->used >= t->room)
                return;
        va_list args;
        va_start(args, format);
        int n = vsnprintf(t->at + t->used, t->room - t->used, format, args);
        va_end(args);
        t->used += n > 0 ? (size_t)n : 0;
}

static void say_set(struct text *t, const json_t *set)
{
        size_t i;
        const json_t *name;
        json_array_foreach(set, i, name) say(t, "%s%s", i ? "+" : "", json_string_value(name));
        if (json_array_size(set) == 0)
                say(t, "nothing");
}

/* "a 60% b 40%", those without a part left out. */
static void say_weights(struct text *t, const json_t *weights)
{
        const char *name;
        json_t *part;
        unsigned said = 0;
        json_object_foreach((json_t *)(uintptr_t)weights, name, part) if (json_number_value(part) > 0)
                say(t, "%s%s %.0f%%", said++ ? " " : "", name, 100 * json_number_value(part));
        if (!said)
                say(t, "nobody");
}

/* What happens to the connections that exist. */
static void say_existing(struct text *t, const json_t *d)
{
        static const struct {
                const char *key, *words;
        } row[] = {{"dies", "connections of %s are their standbys' at once"},
                   {"leaves", "connections of %s are carried over as clients have their bytes"},
                   {"returns", "%s serves again"}};
        unsigned said = 0;
        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
                const json_t *set = json_object_get(d, row[i].key);
                size_t k;
                const json_t *name;
                json_array_foreach(set, k, name)
                {
                        say(t, "%s", said++ ? "; " : "\nexisting  ");
                        const char *at = strstr(row[i].words, "%s");
                        say(t, "%.*s%s%s", (int)(at - row[i].words), row[i].words, json_string_value(name),
                            at + 2);
                }
        }
        double was = say_number(d, "protected_share_was");
        double is = say_number(d, "protected_share");
        if (isfinite(is) && isfinite(was) && fabs(is - was) > 0.005)
                say(t, "%sof new connections %.0f%% are protected, %.0f%% before",
                    said ? "; " : "\nexisting  ", 100 * is, 100 * was);
}

/* "1 s"; a decision that an earlier release wrote down does not say how far the near horizon was. */
static void say_near(struct text *t, const json_t *d)
{
        double s = say_number(json_array_get(json_object_get(d, "calibrations"), 0), "horizon_s");
        if (isfinite(s))
                say(t, "%.3g s", s);
        else
                say(t, "the near horizon");
}

static void say_belief(struct text *t, const char *who, const json_t *d, const json_t *b)
{
        say(t, "%s: %.0f%% to break the promise within ", who, 100 * say_number(b, "p_near"));
        say_near(t, d);
        if (isfinite(say_number(b, "p_next")))
                say(t, " (%.0f%% at the next sample)", 100 * say_number(b, "p_next"));
        if (isfinite(say_number(b, "rtt_ms")))
                say(t, ", rtt %.1f ±%.1f ms", say_number(b, "rtt_ms"), say_number(b, "rtt_spread_ms"));
        if (isfinite(say_number(b, "loss")))
                say(t, ", loss %.2f%%", 100 * say_number(b, "loss"));
        if (isfinite(say_number(b, "score")))
                say(t, ", score %.0f", say_number(b, "score"));
        if (json_is_true(json_object_get(b, "is_bad")))
                say(t, ", broken now");
        if (!json_is_true(json_object_get(b, "is_armed")))
                say(t, " (model disarmed: persistence decides)");
}

static void say_reasons(struct text *t, const json_t *b)
{
        char text[400];
        if (say_word(b, "hint")[0] && strcmp(say_word(b, "hint"), "-") != 0)
                say(t, "; %s", say_word(b, "hint"));
        if (say_word(b, "announced")[0] && strcmp(say_word(b, "announced"), "-") != 0)
                say(t, "; %s: log-odds %+.1f", say_word(b, "announced"), say_number(b, "caution"));
        reasons_drivers_text(json_object_get(b, "drivers"), text, sizeof(text));
        if (text[0])
                say(t, "\ndrivers   %s (%s, in log-odds)", text, say_word(b, "model"));
        if (json_is_string(json_object_get(b, "changed")))
                say(t, "\nchanged   %s", say_word(b, "changed"));
        reasons_voices_text(json_object_get(b, "voices"), text, sizeof(text));
        if (text[0])
                say(t, "\nvoices    %s", text);
        reasons_modes_text(json_object_get(b, "modes"), text, sizeof(text));
        if (text[0])
                say(t, "\nhow       %s", text);
}

/* "1 s: says 70 %, happens 68 %, n = 431; 5 s: ..." */
static void say_record(struct text *t, const json_t *d)
{
        size_t i;
        const json_t *row;
        unsigned said = 0;
        json_array_foreach(json_object_get(d, "calibrations"), i, row)
        {
                if (json_is_object(row))
                        say(t, "%s%.3g s: %s", said++ ? "; " : "\nrecord    at such a risk, ",
                            say_number(row, "horizon_s"), say_word(row, "text"));
        }
        /* Of a decision that an earlier release wrote down. */
        if (!said && json_object_get(d, "calibration"))
                say(t, "\nrecord    at such a risk, %s", say_word(d, "calibration"));
}

static enum dog_reason reason_of(const char *name)
{
        for (int r = 0; r < DOG_WHY_COUNT; r++)
                if (strcmp(dog_reason_name((enum dog_reason)r), name) == 0)
                        return (enum dog_reason)r;
        return DOG_WHY_NONE;
}

char *decision_text(const json_t *d)
{
        enum { ROOM = 4096 };
        struct text t = {.at = calloc(1, ROOM), .room = ROOM};
        if (!t.at)
                return NULL;
        const json_t *before = json_object_get(d, "belief_before");
        const json_t *chosen = json_object_get(d, "belief_chosen");
        bool has_moved = strcmp(say_word(d, "act"), "move") == 0;
        const json_t *weights = json_object_get(d, "weights");
        say(&t, "d-%lld %s %s %s: %s ", (long long)json_integer_value(json_object_get(d, "id")),
            json_object_get(d, "time") ? say_word(d, "time") : "", weights ? "vip" : "class",
            say_word(d, "group"), say_word(d, "act"));
        if (weights) {
                say_weights(&t, json_object_get(d, "weights_was"));
                say(&t, " -> ");
                say_weights(&t, weights);
                say_existing(&t, d);
        } else {
                say_set(&t, json_object_get(d, "carried"));
                say(&t, " -> ");
                say_set(&t, json_object_get(d, "carries"));
        }
        say(&t, "\nwhy       %s: %s\nbecause   ", say_word(d, "why"),
            dog_reason_help(reason_of(say_word(d, "why"))));
        say_belief(&t, say_word(d, "from"), d, before);
        say_reasons(&t, before);
        if (strcmp(say_word(d, "chosen"), say_word(d, "from")) != 0) {
                say(&t, "\n%s ", weights ? "instead of" : has_moved ? "chosen   " : "copy     ");
                say_belief(&t, say_word(d, "chosen"), d, chosen);
        }
        say(&t, "\ninstead  ");
        size_t i;
        size_t others = 0;
        const json_t *m;
        json_array_foreach(json_object_get(d, "members"), i, m)
        {
                if (strcmp(say_word(m, "member"), say_word(d, "from")) == 0 ||
                    strcmp(say_word(m, "member"), say_word(d, "chosen")) == 0)
                        continue;
                if (json_is_true(json_object_get(m, "is_usable")))
                        say(&t, "%s %s was forecast at %.0f%%", others ? ";" : "", say_word(m, "member"),
                            100 * say_number(m, "p_near"));
                else
                        say(&t, "%s %s did not answer", others ? ";" : "", say_word(m, "member"));
                others++;
        }
        say(&t, "%s\nhappened  ", others ? "" : " there was no other member");
        if (strcmp(say_word(d, "grade"), "open") == 0)
                say(&t, "the horizon has not passed");
        else
                say(&t, "%.0f ms of broken promise, %.0f ms without the decision, of %.0f ms judged -> %s",
                    say_number(d, "bad_with_ms"), say_number(d, "bad_without_ms"), say_number(d, "seen_ms"),
                    say_word(d, "grade"));
        say_record(&t, d);
        if (json_object_get(d, "refused"))
                say(&t, "\nrefused   %s: %s", say_word(d, "refused"),
                    dog_reason_help(reason_of(say_word(d, "refused"))));
        say(&t, "\n");
        return t.at;
}
