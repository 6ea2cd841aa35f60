/* The commands that ask the daemon: status, paths, forecast, explain, events. */
#include "ctl/client.h"
#include "ctl/command.h"

#include "base/units.h"
#include "daemon/decision.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *word(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "-";
}

static double number(const json_t *o, const char *key)
{
        const json_t *v = json_object_get(o, key);
        return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/* ---- paths ---- */

static const char *cell_ms(double v, char *to)
{
        if (isnan(v))
                snprintf(to, 16, "-");
        else
                snprintf(to, 16, v < 10 ? "%.1fms" : "%.0fms", v);
        return to;
}

void ctl_risk_bars(const json_t *row, char *to, size_t room)
{
        static const char *const bar[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
        static const char *const key[] = {"p_near", "p_middle", "p_far"};
        to[0] = 0;
        for (int i = 0; i < 3; i++) {
                double p = number(row, key[i]);
                int at = isnan(p) ? 0 : (int)(p * 7.999);
                snprintf(to + strlen(to), room - strlen(to), "%s", bar[at < 0 ? 0 : at > 7 ? 7 : at]);
        }
        double p = number(row, "p_near");
        if (!isnan(p))
                snprintf(to + strlen(to), room - strlen(to), " %.0f%%", 100 * p);
}

/* "lte -97 dBm 4.5 dB", "satellite obstructed 1.2%"; "-" when a radio that is configured tells nothing. */
static void radio_words(const json_t *row, char *to, size_t room)
{
        static const struct {
                const char *key, *format;
                double times;
        } part[] = {{"rsrp_dbm", " %.0f dBm", 1},   {"rssi_dbm", " %.0f dBm", 1},
                    {"sinr_db", " %.1f dB", 1},     {"signal", " %.0f%%", 100},
                    {"drop", " drops %.0f%%", 100}, {"obstruction", " obstructed %.1f%%", 100}};
        const char *technology = json_string_value(json_object_get(row, "technology"));
        snprintf(to, room, "%s", technology ? technology : "");
        bool has_power = false;
        for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
                double value = number(row, part[i].key);
                if (isnan(value) || (i == 1 && has_power))
                        continue;
                has_power |= i == 0;
                snprintf(to + strlen(to), room - strlen(to), part[i].format, part[i].times * value);
        }
        if (json_is_true(json_object_get(row, "outage")))
                snprintf(to + strlen(to), room - strlen(to), " OUTAGE");
        if (!to[0])
                snprintf(to, room, "%s", json_object_get(row, "radio_why") ? "-" : "");
}

/* Columns that join several numbers, for the table only. */
static json_t *paths_for_people(const json_t *rows)
{
        json_t *list = json_array();
        size_t i;
        const json_t *row;
        json_array_foreach(rows, i, row)
        {
                char now[80];
                char next[24];
                char a[16];
                char b[16];
                double loss = number(row, "loss");
                snprintf(now, sizeof(now), "%s %s %.*f%%", cell_ms(number(row, "rtt_ms"), a),
                         cell_ms(number(row, "jitter_ms"), b), loss > 0 && loss < .1 ? 2 : 0,
                         isnan(loss) ? 0 : 100 * loss);
                char risk[64];
                ctl_risk_bars(row, risk, sizeof(risk));
                snprintf(next, sizeof(next), "%s", cell_ms(number(row, "rtt_next_ms"), a));
                json_t *copy = json_copy((json_t *)(uintptr_t)row);
                json_object_set_new(copy, "now", json_string(now));
                json_object_set_new(copy, "next", json_string(next));
                json_object_set_new(copy, "risk", json_string(risk));
                char radio[120];
                radio_words(row, radio, sizeof(radio));
                json_object_set_new(copy, "radio", json_string(radio));
                json_array_append_new(list, copy);
        }
        return list;
}

/* Without a radio there is nothing to say of one, and a terminal is only so wide. */
static bool is_radio_told(const json_t *rows)
{
        size_t i;
        const json_t *row;
        json_array_foreach(rows, i, row) if (json_object_get(row, "radio_why")) return true;
        return false;
}

static void paths_print(const struct ctl *ctl, const json_t *rows)
{
        struct out_column column[] = {
                {.key = "path"},
                {.key = "tunnel"},
                {.key = "state"},
                {.key = "now", .title = "NOW rtt/jitter/loss"},
                {.key = "next", .title = "NEXT", .is_right = true},
                {.key = "risk", .title = "p(bad) 1/5/30 s"},
                {.key = "score", .digits = 0, .is_right = true},
                {.key = "carries"},
                {.key = "sent_bytes", .title = "SENT", .unit = "bytes", .is_right = true},
                {.key = "why"},
                {.key = NULL},
                {.key = NULL}};
        const size_t why = sizeof(column) / sizeof(column[0]) - 3;
        if (is_radio_told(rows)) {
                column[why + 1] = column[why];
                column[why] = (struct out_column){.key = "radio"};
        }
        if (ctl->out.format != OUT_TABLE) {
                out_rows(&ctl->out, rows, column);
                return;
        }
        json_t *list = paths_for_people(rows);
        out_rows(&ctl->out, list, column);
        json_decref(list);
}

int command_paths(struct ctl *ctl, int argc, char **argv)
{
        int words = options_take(ctl, NULL, argc, argv);
        if (words)
                return words < 0 ? EXIT_USAGE : ctl_fail(EXIT_USAGE, "paths shows all; it takes no words");
        int code;
        json_t *rows = ctl_ask(ctl, json_pack("{s:s}", "ask", "paths"), &code);
        if (rows)
                paths_print(ctl, rows);
        json_decref(rows);
        return code;
}

/* ---- status ---- */

struct status_args {
        bool is_watching;
};

const struct option_row option_status[] = {
        {"w", NULL, OPTION_FLAG, offsetof(struct status_args, is_watching),
         "again every second, until interrupted"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* The other balancer: is it there, does it serve the same, what does each know of the other? */
static void pair_print(const struct ctl *ctl, const json_t *p)
{
        const struct out *o = &ctl->out;
        bool is_alive = json_is_true(json_object_get(p, "alive"));
        bool is_equal = json_is_true(json_object_get(p, "equal"));
        const char *how = !is_alive ? "silent" : is_equal ? "alive, equal" : "alive, serves something else";
        fprintf(o->to, "\npair %s  %s%s%s  changes told %.0f, waiting %.0f, taken %.0f\n", word(p, "peer"),
                out_colour(o, is_alive && is_equal ? "green" : "yellow"), how, out_colour(o, "plain"),
                number(p, "told"), number(p, "waiting"), number(p, "taken"));
}

static void status_print(const struct ctl *ctl, const json_t *s)
{
        static const struct out_column class_column[] = {
                {.key = "class"},
                {.key = "tunnel"},
                {.key = "state"},
                {.key = "carried_by", .title = "CARRIED BY"},
                {.key = "promise"},
                {.key = "kept", .unit = "%", .digits = 2, .is_right = true},
                {.key = "copies", .title = "COPIES", .unit = "%", .digits = 1, .is_right = true},
                {.key = "helped", .is_right = true},
                {.key = "neutral", .is_right = true},
                {.key = "hurt", .is_right = true},
                {.key = "model"},
                {.key = NULL}};
        const struct out *o = &ctl->out;
        if (o->format != OUT_TABLE) {
                out_object(o, s);
                return;
        }
        char up[16];
        char saved[16];
        fprintf(o->to,
                "%ssundog %s%s  %s  up %s  decisions %.0f (%.0f helped, %.0f neutral, %.0f hurt)   saved %s "
                "of broken promise\n\n",
                out_colour(o, "bold"), word(s, "version"), out_colour(o, "plain"), word(s, "site"),
                dog_units_time_text((int64_t)(number(s, "up_s") * 1e9), up), number(s, "decisions"),
                number(s, "helped"), number(s, "neutral"), number(s, "hurt"),
                dog_units_time_text((int64_t)(fmax(0, number(s, "saved_ms")) * 1e6), saved));
        const json_t *vips = json_object_get(s, "vips");
        bool has_paths = json_array_size(json_object_get(s, "paths")) > 0;
        if (has_paths || !vips) {
                paths_print(ctl, json_object_get(s, "paths"));
                fputc('\n', o->to);
                out_rows(o, json_object_get(s, "classes"), class_column);
        }
        if (vips) {
                if (has_paths)
                        fputc('\n', o->to);
                ctl_vips_print(ctl, vips);
                fputc('\n', o->to);
                ctl_instances_print(ctl, json_object_get(s, "instances"));
        }
        if (json_object_get(s, "pair"))
                pair_print(ctl, json_object_get(s, "pair"));
        size_t i;
        const json_t *note;
        json_array_foreach(json_object_get(s, "notes"), i, note)
                fprintf(o->to, "%s!%s %s\n", out_colour(o, "yellow"), out_colour(o, "plain"),
                        json_string_value(note));
}

int command_status(struct ctl *ctl, int argc, char **argv)
{
        struct status_args a = {0};
        if (options_take(ctl, &a, argc, argv) < 0)
                return EXIT_USAGE;
        int code;
        do {
                json_t *s = ctl_ask(ctl, json_pack("{s:s}", "ask", "status"), &code);
                if (!s)
                        return code;
                if (a.is_watching && ctl->out.format == OUT_TABLE)
                        fputs("\033[H\033[2J", ctl->out.to);
                status_print(ctl, s);
                fflush(ctl->out.to);
                if (json_is_true(json_object_get(s, "is_degraded")))
                        code = EXIT_DEGRADED;
                json_decref(s);
                if (a.is_watching)
                        sleep(1);
        } while (a.is_watching);
        return code;
}

/* ---- forecast ---- */

const struct option_row option_forecast[] = {{NULL, NULL, OPTION_FLAG, 0, NULL}};

int command_forecast(struct ctl *ctl, int argc, char **argv)
{
        static const struct out_column column[] = {
                {.key = "path", .title = "PATH/INSTANCE"},
                {.key = "class", .title = "CLASS/VIP"},
                {.key = "horizon", .is_right = true},
                {.key = "rtt", .title = "RTT", .is_right = true},
                {.key = "jitter", .is_right = true},
                {.key = "loss", .is_right = true},
                {.key = "p_breach", .title = "P(BAD)", .unit = "%", .digits = 1, .is_right = true},
                {.key = "drivers", .title = "DRIVEN BY"},
                {.key = NULL}};
        int words = options_take(ctl, NULL, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        int code;
        json_t *question = json_pack("{s:s}", "ask", "forecast");
        if (words > 0)
                json_object_set_new(question, "path", json_string(argv[0]));
        json_t *rows = ctl_ask(ctl, question, &code);
        if (rows && words > 0 && json_array_size(rows) == 0)
                code = ctl_fail(EXIT_FAILED, "no path and no instance is called \"%s\"; see: sundog status",
                                argv[0]);
        else if (rows)
                out_rows(&ctl->out, rows, column);
        json_decref(rows);
        return code;
}

/* ---- explain ---- */

int command_explain(struct ctl *ctl, int argc, char **argv)
{
        int words = options_take(ctl, NULL, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        json_t *question = json_pack("{s:s}", "ask", "explain");
        if (words > 0) {
                const char *digits = strncmp(argv[0], "d-", 2) == 0 ? argv[0] + 2 : argv[0];
                char *end = NULL;
                unsigned long long id = strtoull(digits, &end, 10);
                if (*end || end == digits) {
                        json_decref(question);
                        return ctl_fail(EXIT_USAGE,
                                        "\"%s\" is not a decision: write d-12, as events shows them",
                                        argv[0]);
                }
                json_object_set_new(question, "id", json_integer((json_int_t)id));
        }
        int code;
        json_t *d = ctl_ask(ctl, question, &code);
        if (!d)
                return code;
        if (ctl->out.format != OUT_TABLE) {
                out_object(&ctl->out, d);
        } else {
                char time[32];
                json_object_set_new(
                        d, "time",
                        json_string(ctl_time_text(
                                (int64_t)json_integer_value(json_object_get(d, "at_wall_ns")), time)));
                char *text = decision_text(d);
                /* Each line is a word and, from its tenth column, a sentence. */
                for (char *line = text, *next; line && *line; line = next) {
                        next = strchr(line, '\n');
                        if (next)
                                *next++ = 0;
                        else
                                next = line + strlen(line);
                        bool has_label = strlen(line) > 10 && line[9] == ' ';
                        fprintf(ctl->out.to, "%.*s", has_label ? 10 : 0, line);
                        out_wrapped(&ctl->out, line + (has_label ? 10 : 0), has_label ? 10 : 0);
                }
                if (!text)
                        fputs("out of memory\n", ctl->out.to);
                free(text);
        }
        json_decref(d);
        return code;
}

/* ---- events ---- */

struct events_args {
        bool is_following;
        unsigned most;
};

const struct option_row option_events[] = {
        {"f", NULL, OPTION_FLAG, offsetof(struct events_args, is_following), "go on as they happen"},
        {"n", "N", OPTION_COUNT, offsetof(struct events_args, most), "the newest N (20)"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

static void event_print(const struct ctl *ctl, const json_t *e)
{
        const struct out *o = &ctl->out;
        if (o->format != OUT_TABLE) {
                json_dumpf(e, o->to, JSON_COMPACT | JSON_REAL_PRECISION(10));
                fputc('\n', o->to);
                fflush(o->to);
                return;
        }
        char time[32];
        const char *grade = word(e, "grade");
        const char *colour = strcmp(grade, "helped") == 0 ? "green"
                             : strcmp(grade, "hurt") == 0 ? "red"
                                                          : "plain";
        if (strcmp(word(e, "event"), "alert") == 0 || strcmp(word(e, "event"), "dead") == 0 ||
            strcmp(word(e, "event"), "silent") == 0 || strncmp(word(e, "event"), "evicted", 7) == 0)
                colour = "yellow";
        ctl_time_text((int64_t)json_integer_value(json_object_get(e, "at_wall_ns")), time);
        int begin = fprintf(o->to, "%s %-13s ", time, word(e, "event"));
        fputs(out_colour(o, colour), o->to);
        out_wrapped(o, word(e, "text"), begin > 0 ? (size_t)begin : 0);
        fputs(out_colour(o, "plain"), o->to);
        fflush(o->to);
}

int command_events(struct ctl *ctl, int argc, char **argv)
{
        struct events_args a = {.most = 20};
        if (options_take(ctl, &a, argc, argv) < 0)
                return EXIT_USAGE;
        struct dog_err e = {0};
        struct client *c = NULL;
        if (client_open(&c, ctl->socket, &e) < 0)
                return ctl_fail(EXIT_UNREACHABLE, "%s", e.text);
        int code;
        json_t *question = json_pack("{s:s, s:i, s:b}", "ask", "events", "most", (int)a.most, "follow",
                                     (int)a.is_following);
        json_t *list = client_ask(c, question, &code, &e);
        json_decref(question);
        if (!list) {
                client_close(c);
                return ctl_fail(code, "%s", e.text);
        }
        size_t i;
        const json_t *event;
        if (ctl->out.format == OUT_JSON && !a.is_following) {
                out_object(&ctl->out, list);
        } else {
                json_array_foreach(list, i, event) event_print(ctl, event);
        }
        json_decref(list);
        while (a.is_following) {
                json_t *next = client_next(c);
                if (!next) {
                        client_close(c);
                        return ctl_fail(EXIT_UNREACHABLE, "sundogd has gone");
                }
                event_print(ctl, next);
                json_decref(next);
        }
        client_close(c);
        return EXIT_FINE;
}
