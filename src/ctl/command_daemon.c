/* The commands that ask the daemon: status, paths, forecast, explain, events. */
#include "ctl/client.h"
#include "ctl/command.h"

#include "base/units.h"
#include "daemon/decision.h"
#include "daemon/reasons.h"
#include "daemon/say.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- paths ---- */

const struct out_word words_paths[] = {
        {"STATE", "ACTIVE carries traffic; READY could; DEAD does not answer"},
        {"NOW", "round trip, its restlessness, and loss, as measured lately"},
        {"NEXT", "the round trip that is expected within a second"},
        {"p(bad) 1/5/30 s",
         "the chance that the promise breaks within 1, 5 and 30 s, as bars; in digits the first; for "
         "the class for which it is highest"},
        {"SCORE", "100 is as good as it can be, 0 useless, from what is expected and how sure that is"},
        {"CARRIES", "classes of traffic; copy: the second packet of each that it sends twice"},
        {NULL, NULL},
};

static const char *cell_ms(double v, char *to)
{
        if (isnan(v))
                snprintf(to, 16, "-");
        else
                snprintf(to, 16, v < 10 ? "%.1fms" : "%.0fms", v);
        return to;
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
                double value = say_number(row, part[i].key);
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
                double loss = say_number(row, "loss");
                snprintf(now, sizeof(now), "%s %s %.*f%%", cell_ms(say_number(row, "rtt_ms"), a),
                         cell_ms(say_number(row, "jitter_ms"), b), loss > 0 && loss < .1 ? 2 : 0,
                         isnan(loss) ? 0 : 100 * loss);
                char risk[64];
                out_risk_bars(row, risk, sizeof(risk));
                snprintf(next, sizeof(next), "%s", cell_ms(say_number(row, "rtt_next_ms"), a));
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

/* What a person should look at, below a table. */
static void note_print(const struct out *o, const char *text)
{
        fprintf(o->to, "%s!%s ", out_colour(o, "yellow"), out_colour(o, "plain"));
        out_wrapped(o, text, 2);
}

static void paths_print(const struct ctl *ctl, const json_t *rows)
{
        struct out_column column[] = {
                {.key = "path"},
                {.key = "tunnel", .spare = 4},
                {.key = "state"},
                {.key = "now", .title = "NOW rtt/jitter/loss"},
                {.key = "next", .title = "NEXT", .is_right = true, .spare = 2},
                {.key = "risk", .title = "p(bad) 1/5/30 s"},
                {.key = "score", .digits = 0, .is_right = true, .spare = 1},
                {.key = "carries"},
                {.key = "sent_bytes", .title = "SENT", .unit = "bytes", .is_right = true, .spare = 3},
                {.key = "why"},
                {.key = NULL},
                {.key = NULL}};
        const size_t why = sizeof(column) / sizeof(column[0]) - 3;
        if (is_radio_told(rows)) {
                column[why + 1] = column[why];
                column[why] = (struct out_column){.key = "radio", .spare = 5};
        }
        if (ctl->out.format != OUT_TABLE) {
                out_rows(&ctl->out, rows, column);
                return;
        }
        json_t *list = paths_for_people(rows);
        out_rows(&ctl->out, list, column);
        json_decref(list);
        size_t i;
        const json_t *row;
        json_array_foreach(rows, i, row)
        {
                const char *why_silent = json_string_value(json_object_get(row, "radio_why"));
                if (!why_silent || !*why_silent || json_is_number(json_object_get(row, "radio_age_s")))
                        continue;
                char text[400];
                snprintf(text, sizeof(text), "%s: nothing is known of its radio: %s", say_word(row, "path"),
                         why_silent);
                note_print(&ctl->out, text);
        }
}

int command_paths(struct ctl *ctl, int argc, char **argv)
{
        if (options_take_few(ctl, NULL, argc, argv, 0) < 0)
                return EXIT_USAGE;
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
        fprintf(o->to, "\npair %s  %s%s%s  changes told %.0f, waiting %.0f, taken %.0f\n",
                say_word(p, "peer"), out_colour(o, is_alive && is_equal ? "green" : "yellow"), how,
                out_colour(o, "plain"), say_number(p, "told"), say_number(p, "waiting"),
                say_number(p, "taken"));
}

/* "2026-11-21 12:24" */
static const char *date_text(const json_t *o, const char *key, char to[32])
{
        time_t at = (time_t)(json_integer_value(json_object_get(o, key)) / 1000000000);
        struct tm local;
        localtime_r(&at, &local);
        strftime(to, 32, "%Y-%m-%d %H:%M", &local);
        return to;
}

/* Who forecasts, whose data it learned from, and what the last training came to. */
static void forecasters_print(const struct out *o, const json_t *f)
{
        char text[900];
        char time[32];
        if (!json_is_object(f))
                return;
        snprintf(text, sizeof(text), "%s", say_word(f, "in_force"));
        if (json_object_get(f, "made_wall_ns"))
                snprintf(text + strlen(text), sizeof(text) - strlen(text), " (learned from %s, %s)",
                         say_word(f, "data"), date_text(f, "made_wall_ns", time));
        fputs("\nforecast  ", o->to);
        out_wrapped(o, text, 10);
        if (!json_is_true(json_object_get(f, "retrains")))
                return;
        fputs("training  ", o->to);
        if (json_is_true(json_object_get(f, "is_training")))
                snprintf(text, sizeof(text), "going on, in the background");
        else if (json_object_get(f, "last"))
                snprintf(text, sizeof(text), "%s: %s", date_text(f, "last_wall_ns", time),
                         say_word(f, "last"));
        else
                snprintf(text, sizeof(text), "not yet, on what is measured here");
        out_wrapped(o, text, 10);
}

static void status_print(const struct ctl *ctl, const json_t *s)
{
        static const struct out_column class_column[] = {
                {.key = "class"},
                {.key = "tunnel", .spare = 4},
                {.key = "state"},
                {.key = "carried_by", .title = "CARRIED BY"},
                {.key = "promise"},
                {.key = "kept", .unit = "%", .digits = 2, .is_right = true},
                {.key = "copies", .title = "COPIES", .unit = "%", .digits = 1, .is_right = true},
                {.key = "helped", .is_right = true},
                {.key = "neutral", .is_right = true, .spare = 2},
                {.key = "hurt", .is_right = true, .spare = 1},
                {.key = "model", .spare = 3},
                {.key = NULL}};
        const struct out *o = &ctl->out;
        if (o->format != OUT_TABLE) {
                out_object(o, s);
                return;
        }
        char up[16];
        char saved[16];
        char text[300];
        int begin = fprintf(o->to, "sundog %s  ", say_word(s, "version"));
        snprintf(text, sizeof(text),
                 "%s  up %s  decisions %.0f (%.0f helped, %.0f neutral, %.0f hurt)  saved %s of broken "
                 "promise",
                 say_word(s, "site"), dog_units_time_text((int64_t)(say_number(s, "up_s") * 1e9), up),
                 say_number(s, "decisions"), say_number(s, "helped"), say_number(s, "neutral"),
                 say_number(s, "hurt"),
                 dog_units_time_text((int64_t)(fmax(0, say_number(s, "saved_ms")) * 1e6), saved));
        out_wrapped(o, text, (size_t)begin);
        fputc('\n', o->to);
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
        if (has_paths)
                forecasters_print(o, json_object_get(s, "forecasters"));
        size_t i;
        const json_t *note;
        json_array_foreach(json_object_get(s, "notes"), i, note) note_print(o, json_string_value(note));
}

int command_status(struct ctl *ctl, int argc, char **argv)
{
        struct status_args a = {0};
        if (options_take_few(ctl, &a, argc, argv, 0) < 0)
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

#define WORDS_RISK                                                                                           \
        {"voices",                                                                                           \
         "how much each forecaster counts, by its record here: trees (trained before, on recordings), "      \
         "online logistic (learns here), persistence (what is goes on), base rate (as often as ever)"},      \
        {                                                                                                    \
                "how", "by what it would fail; \"base rate\" where nothing says more than how often it "     \
                       "happens"                                                                             \
        }

const struct out_word words_forecast[] = {
        {"P(BAD)", "the chance that the promise of the class breaks within the time AHEAD"},
        {"SUCH CHANCES SO FAR",
         "what was said on this path when about that much was said, how often it then happened, and "
         "of how many outcomes that is"},
        {"RTT, LOSS", "what is expected then, ± one standard deviation"},
        {"score", "100 is as good as it can be, 0 useless"},
        {"because",
         "what raises (+) or lowers (-) the chance most, in log-odds: +0.7 doubles the odds, +2.3 makes them "
         "ten times as high; behind it the forecaster that counts most"},
        WORDS_RISK,
        {NULL, NULL},
};
const struct out_word words_explain[] = {
        {"why", "the reason for the decision, by its name in events and in words"},
        {"because", "what was expected of the member that had the traffic"},
        {"drivers", "what raised (+) or lowered (-) that chance most, in log-odds: +0.7 doubles the odds"},
        WORDS_RISK,
        {"chosen, copy", "what was expected of the member that got the traffic, or a copy of it"},
        {"instead", "what was expected of the others"},
        {"happened",
         "once its time has passed: how long the promise was broken, and how long it would have been "
         "without the decision, as probes and copies show"},
        {"record", "when about that much was said here before, how often it happened, out of n"},
        {NULL, NULL},
};

const struct option_row option_forecast[] = {{NULL, NULL, OPTION_FLAG, 0, NULL}};

/* A sentence under its label, which is as wide as explain's. */
static void forecast_line(const struct out *o, const char *label, const char *text)
{
        if (!text[0])
                return;
        fprintf(o->to, "  %-9s ", label);
        out_wrapped(o, text, 12);
}

static const char *risk_colour(const struct out *o, double p)
{
        return out_colour(o, p >= 0.5 ? "red" : p >= 0.1 ? "yellow" : "plain");
}

/* A text in a column of so many places: a character is not a byte. */
static void forecast_cell(const struct out *o, const char *text, int places)
{
        fprintf(o->to, "%s%*s", text, places - (int)out_width(text), "");
}

/* One path for some classes: its horizons as rows, and below them why. */
static void forecast_block(const struct out *o, const json_t *rows, size_t at, size_t horizons,
                           const char *classes)
{
        const json_t *near = json_array_get(rows, at);
        char text[500];
        fprintf(o->to, "%s%s%s for %s", out_colour(o, "bold"), say_word(near, "path"), out_colour(o, "plain"),
                classes);
        if (isfinite(say_number(near, "score")))
                fprintf(o->to, "   score %.0f", say_number(near, "score"));
        fprintf(o->to, "%s%s%s\n", json_is_true(json_object_get(near, "is_bad")) ? "   broken now" : "",
                say_word(near, "hint")[0] ? "   " : "", say_word(near, "hint"));
        fprintf(o->to, "  %s%5s %7s  %-33s  %-13s  %s%s\n", out_colour(o, "dim"), "AHEAD", "P(BAD)",
                "SUCH CHANCES SO FAR", "RTT", "LOSS", out_colour(o, "plain"));
        for (size_t h = at; h < at + horizons; h++) {
                const json_t *row = json_array_get(rows, h);
                double p = say_number(row, "p_breach");
                fprintf(o->to, "  %5s %s%6.1f%%%s  ", say_word(row, "horizon"), risk_colour(o, p), 100 * p,
                        out_colour(o, "plain"));
                forecast_cell(o, say_word(json_object_get(row, "calibration"), "text"), 35);
                forecast_cell(o, say_word(row, "rtt"), 15);
                fprintf(o->to, "%s\n", say_word(row, "loss"));
        }
        snprintf(text, sizeof(text), "%s", say_word(near, "drivers"));
        if (text[0] && strcmp(say_word(near, "model"), "none") != 0)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), " (%s)", say_word(near, "model"));
        forecast_line(o, "because", text);
        if (json_is_string(json_object_get(near, "changed")))
                forecast_line(o, "changed", say_word(near, "changed"));
        if (json_is_object(json_object_get(near, "node")))
                forecast_line(o, "host", say_word(json_object_get(near, "node"), "text"));
        reasons_voices_text(json_object_get(near, "voices"), text, sizeof(text));
        if (!json_is_true(json_object_get(near, "is_armed")))
                snprintf(text, sizeof(text), "disarmed: what is, is taken for what will be");
        forecast_line(o, "voices", text);
        for (size_t h = at; h < at + horizons; h++) {
                const json_t *modes = json_object_get(json_array_get(rows, h), "modes");
                if (!modes)
                        continue;
                reasons_modes_text(modes, text, sizeof(text));
                forecast_line(o, "how", text);
        }
}

static bool forecast_is_of(const json_t *row, const json_t *first, const char *key)
{
        return strcmp(say_word(row, key), say_word(first, key)) == 0;
}

/* Rows from `at` that are about one path and one class. */
static size_t forecast_horizons(const json_t *rows, size_t at)
{
        const json_t *first = json_array_get(rows, at);
        size_t end = at + 1;
        while (end < json_array_size(rows) && forecast_is_of(json_array_get(rows, end), first, "path") &&
               forecast_is_of(json_array_get(rows, end), first, "class"))
                end++;
        return end - at;
}

/* Do both blocks say the same, whatever class they are for? Classes with one promise do. */
static bool forecast_is_same(const json_t *rows, size_t one, size_t other, size_t horizons)
{
        bool is_same = forecast_horizons(rows, other) == horizons;
        for (size_t h = 0; h < horizons && is_same; h++) {
                json_t *a = json_copy(json_array_get(rows, one + h));
                json_t *b = json_copy(json_array_get(rows, other + h));
                json_object_del(a, "class");
                json_object_del(b, "class");
                is_same = json_equal(a, b);
                json_decref(a);
                json_decref(b);
        }
        return is_same;
}

static void forecast_print(const struct ctl *ctl, const json_t *rows)
{
        const struct out *o = &ctl->out;
        size_t count = json_array_size(rows);
        for (size_t at = 0; at < count;) {
                char classes[200];
                size_t horizons = forecast_horizons(rows, at);
                size_t next = at + horizons;
                snprintf(classes, sizeof(classes), "%s", say_word(json_array_get(rows, at), "class"));
                for (; next < count && forecast_is_same(rows, at, next, horizons); next += horizons)
                        say_append(classes, sizeof(classes), ", %s",
                                   say_word(json_array_get(rows, next), "class"));
                if (at)
                        fputc('\n', o->to);
                forecast_block(o, rows, at, horizons, classes);
                at = next;
        }
}

int command_forecast(struct ctl *ctl, int argc, char **argv)
{
        int words = options_take_few(ctl, NULL, argc, argv, 1);
        if (words < 0)
                return EXIT_USAGE;
        int code;
        json_t *question = json_pack("{s:s}", "ask", "forecast");
        if (words > 0)
                json_object_set_new(question, "path", json_string(argv[0]));
        json_t *rows = ctl_ask(ctl, question, &code);
        /* For people, what is announced stands first among what drives a risk. */
        size_t i;
        json_t *row;
        json_array_foreach(rows, i, row)
        {
                const char *announced = json_string_value(json_object_get(row, "announced"));
                char text[400];
                if (ctl->out.format != OUT_TABLE || !announced || !*announced)
                        continue;
                snprintf(text, sizeof(text), "%s %+.1f%s%s", announced, say_number(row, "caution"),
                         say_word(row, "drivers")[0] ? ", " : "", say_word(row, "drivers"));
                json_object_set_new(row, "drivers", json_string(text));
        }
        if (rows && words > 0 && json_array_size(rows) == 0)
                code = ctl_fail(EXIT_FAILED, "no path and no instance is called \"%s\"; see: sundog status",
                                argv[0]);
        else if (rows && ctl->out.format == OUT_TABLE)
                forecast_print(ctl, rows);
        else if (rows)
                out_rows(&ctl->out, rows, NULL);
        json_decref(rows);
        return code;
}

/* ---- feeds ---- */

/* "in 12 min: storm", "now: maintenance of p2, until 23:00" */
static void feed_next_words(const json_t *row, char *to, size_t room)
{
        char in[16];
        double start = say_number(row, "next_start_s"), end = say_number(row, "next_end_s");
        double now = (double)time(NULL);
        if (isnan(start))
                snprintf(to, room, "-");
        else if (start <= now)
                snprintf(to, room, "now, for %s: %s", dog_units_time_text((int64_t)((end - now) * 1e9), in),
                         say_word(row, "next"));
        else
                snprintf(to, room, "in %s: %s", dog_units_time_text((int64_t)((start - now) * 1e9), in),
                         say_word(row, "next"));
}

/* What is wrong with a feed, and what was left out of it; each row knows of the one process that fetches all.
 */
static void feeds_notes_print(const struct out *o, const json_t *rows)
{
        char text[600];
        size_t i;
        const json_t *row;
        json_array_foreach(rows, i, row)
        {
                const char *trouble = say_word(row, "trouble"), *left_out = say_word(row, "left_out");
                snprintf(text, sizeof(text), "%s: %s", say_word(row, "feed"), trouble);
                if (*trouble)
                        note_print(o, text);
                snprintf(text, sizeof(text), "%s: not taken: %s", say_word(row, "feed"), left_out);
                if (*left_out)
                        note_print(o, text);
        }
        double deaths = say_number(json_array_get(rows, 0), "fetcher_deaths");
        snprintf(text, sizeof(text),
                 "the process that fetches feeds has died %.0f time%s and was started again", deaths,
                 deaths > 1 ? "s" : "");
        if (deaths > 0)
                note_print(o, text);
}

int command_feeds(struct ctl *ctl, int argc, char **argv)
{
        static const struct out_column column[] = {{.key = "feed"},
                                                   {.key = "kind"},
                                                   {.key = "state"},
                                                   {.key = "age", .is_right = true},
                                                   {.key = "entries", .is_right = true},
                                                   {.key = "fetches", .is_right = true},
                                                   {.key = "failures", .title = "FAILED", .is_right = true},
                                                   {.key = "dropped", .is_right = true},
                                                   {.key = "coming", .title = "NEXT"},
                                                   {.key = NULL}};
        if (options_take_few(ctl, NULL, argc, argv, 0) < 0)
                return EXIT_USAGE;
        int code;
        json_t *rows = ctl_ask(ctl, json_pack("{s:s}", "ask", "feeds"), &code);
        if (!rows)
                return code;
        size_t i;
        json_t *row;
        json_array_foreach(rows, i, row)
        {
                char text[200];
                double age = say_number(row, "age_s");
                if (strcmp(say_word(row, "state"), "fresh") != 0 &&
                    strcmp(say_word(row, "state"), "new") != 0)
                        code = EXIT_DEGRADED;
                feed_next_words(row, text, sizeof(text));
                json_object_set_new(row, "coming", json_string(text));
                json_object_set_new(
                        row, "age",
                        json_string(isnan(age) ? "never" : dog_units_time_text((int64_t)(age * 1e9), text)));
        }
        if (ctl->out.format == OUT_TABLE && json_array_size(rows) == 0)
                fprintf(ctl->out.to, "no feeds are configured; see \"feeds\" in sundog.conf(5)\n");
        else
                out_rows(&ctl->out, rows, column);
        if (ctl->out.format == OUT_TABLE)
                feeds_notes_print(&ctl->out, rows);
        json_decref(rows);
        return code;
}

/* ---- explain ---- */

int command_explain(struct ctl *ctl, int argc, char **argv)
{
        int words = options_take_few(ctl, NULL, argc, argv, 1);
        if (words < 0)
                return EXIT_USAGE;
        json_t *question = json_pack("{s:s}", "ask", "explain");
        if (words > 0) {
                const char *digits = strncmp(argv[0], "d-", 2) == 0 ? argv[0] + 2 : argv[0];
                char *end = NULL;
                unsigned long long id = strtoull(digits, &end, 10);
                if (*end || end == digits) {
                        json_decref(question);
                        return ctl_instance_explain(ctl, argv[0]);
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
        const char *grade = say_word(e, "grade");
        const char *colour = strcmp(grade, "helped") == 0 ? "green"
                             : strcmp(grade, "hurt") == 0 ? "red"
                                                          : "plain";
        if (strcmp(say_word(e, "event"), "alert") == 0 || strcmp(say_word(e, "event"), "dead") == 0 ||
            strcmp(say_word(e, "event"), "silent") == 0 || strncmp(say_word(e, "event"), "evicted", 7) == 0)
                colour = "yellow";
        ctl_time_text((int64_t)json_integer_value(json_object_get(e, "at_wall_ns")), time);
        int begin = fprintf(o->to, "%s %-13s ", time, say_word(e, "event"));
        fputs(out_colour(o, colour), o->to);
        out_wrapped(o, say_word(e, "text"), begin > 0 ? (size_t)begin : 0);
        fputs(out_colour(o, "plain"), o->to);
        fflush(o->to);
}

int command_events(struct ctl *ctl, int argc, char **argv)
{
        struct events_args a = {.most = 20};
        if (options_take_few(ctl, &a, argc, argv, 0) < 0)
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
