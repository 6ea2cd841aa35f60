/* The commands about vips: vips, instances, conns, drain, promote. */
#include "base/array.h"
#include "ctl/client.h"
#include "ctl/command.h"
#include "daemon/say.h"

#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- vips ---- */

void ctl_vips_print(const struct ctl *ctl, const json_t *rows)
{
        static const struct out_column column[] = {{.key = "vip"},
                                                   {.key = "address"},
                                                   {.key = "state"},
                                                   {.key = "mode"},
                                                   {.key = "new_to", .title = "NEW TO"},
                                                   {.key = "connections", .title = "CONNS", .is_right = true},
                                                   {.key = "safe", .unit = "%", .is_right = true},
                                                   {.key = "promoted", .is_right = true},
                                                   {.key = "evicted", .is_right = true},
                                                   {.key = "unprotected", .title = "BARE", .is_right = true},
                                                   {.key = NULL}};
        out_rows(&ctl->out, rows, column);
        size_t i;
        const json_t *row;
        json_array_foreach(rows, i, row) if (ctl->out.format == OUT_TABLE && say_word(row, "mode_why")[0])
                fprintf(ctl->out.to, "%s is not aligned with all: %s\n", say_word(row, "vip"),
                        say_word(row, "mode_why"));
}

struct vips_args {
        bool is_classes;
        const char *vip;
};

const struct option_row option_vips[] = {
        {"classes", NULL, OPTION_FLAG, offsetof(struct vips_args, is_classes),
         "classes of requests instead, and which are not replayable"},
        {"vip", "NAME", OPTION_TEXT, offsetof(struct vips_args, vip), "classes of this vip only"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

static int vips_classes(struct ctl *ctl, const char *vip)
{
        static const struct out_column column[] = {{.key = "class"},
                                                   {.key = "vip"},
                                                   {.key = "state"},
                                                   {.key = "seen", .is_right = true},
                                                   {.key = "diverged", .is_right = true},
                                                   {.key = "request"},
                                                   {.key = NULL}};
        json_t *question = json_pack("{s:s}", "ask", "requests");
        if (vip)
                json_object_set_new(question, "vip", json_string(vip));
        int code;
        json_t *rows = ctl_ask(ctl, question, &code);
        if (rows && json_array_size(rows) == 0 && ctl->out.format == OUT_TABLE)
                fputs("no requests seen; a vip with \"classes: yes\" tells them apart\n", ctl->out.to);
        else if (rows)
                out_rows(&ctl->out, rows, column);
        json_decref(rows);
        return code;
}

int command_vips(struct ctl *ctl, int argc, char **argv)
{
        struct vips_args a = {0};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words > 0 || (a.vip && !a.is_classes))
                return ctl_fail(EXIT_USAGE, "vips takes --classes, and then --vip NAME; nothing else");
        if (a.is_classes)
                return vips_classes(ctl, a.vip);
        int code;
        json_t *rows = ctl_ask(ctl, json_pack("{s:s}", "ask", "vips"), &code);
        if (rows)
                ctl_vips_print(ctl, rows);
        json_decref(rows);
        return code;
}

/* ---- instances ---- */

const struct out_word words_instances[] = {
        {"HEALTH", "100 is well: the score, times the chance that the promise is kept within 5 s"},
        {"RISK", "the chance that the promise breaks within 1, 5 and 30 s"},
        {"SERVES", "connections that it carries; STANDBY: connections for which it is the live copy"},
        {"OVER/FAIL",
         "the chances that a metric of the host crosses its limit, and that it fails, within 15 min; "
         "~: no forecast that is better than how often that happens, which is said instead"},
        {"WHY", "what speaks against it: sundog explain INSTANCE says more"},
        {NULL, NULL},
};

/* "34%", "~0.1%" */
static void node_chance(char *to, size_t room, const json_t *node, const char *what, const char *skill,
                        size_t h)
{
        double p = json_number_value(json_array_get(json_object_get(node, what), h));
        bool has_skill = json_is_true(json_array_get(json_object_get(node, skill), h));
        bool is_known = json_is_number(json_array_get(json_object_get(node, what), h));
        if (!is_known)
                say_append(to, room, "-");
        else
                say_append(to, room, "%s%.*f%%", has_skill || p >= 1 ? "" : "~", p < 0.0995 ? 1 : 0, 100 * p);
}

/* Both within 15 min; "-" without anything that the host told lately. */
static void node_cell(const json_t *row, char *to, size_t room)
{
        const json_t *node = json_object_get(row, "node");
        to[0] = 0;
        if (!json_is_object(node) || isnan(say_number(row, "vitals_age_s"))) {
                snprintf(to, room, "-");
                return;
        }
        node_chance(to, room, node, "overload", "overload_has_skill", 1);
        say_append(to, room, "/");
        node_chance(to, room, node, "failure", "failure_has_skill", 1);
}

/* Columns that join several numbers, for the table only. */
static json_t *instances_for_people(const json_t *rows)
{
        json_t *list = json_array();
        size_t i;
        const json_t *row;
        json_array_foreach(rows, i, row)
        {
                char path[48] = "";
                char host[48] = "";
                char risk[64];
                double rtt = say_number(row, "rtt_ms");
                double loss = say_number(row, "loss");
                double answer = say_number(row, "response_ms");
                char answers[16] = "-";
                out_risk_bars(row, risk, sizeof(risk));
                /* All three in digits, too: a grade, not up or down. */
                char *space = strchr(risk, ' ');
                if (space) {
                        *space = 0;
                        say_append(risk, sizeof(risk), " %.0f/%.0f/%.0f%%", 100 * say_number(row, "p_near"),
                                   100 * say_number(row, "p_middle"), 100 * say_number(row, "p_far"));
                }
                if (!isnan(answer))
                        snprintf(answers, sizeof(answers), answer < 10 ? "%.1fms" : "%.0fms", answer);
                if (isnan(rtt))
                        say_append(path, sizeof(path), "-");
                else
                        say_append(path, sizeof(path), rtt < 10 ? "%.1fms" : "%.0fms", rtt);
                if (loss > 0)
                        say_append(path, sizeof(path), " %.0f%%", 100 * loss);
                if (isnan(say_number(row, "cpu")))
                        say_append(host, sizeof(host), "-");
                else
                        say_append(host, sizeof(host), "%.0f/%.0f/%.0f%%", 100 * say_number(row, "cpu"),
                                   100 * say_number(row, "memory"), 100 * fmax(0, say_number(row, "stall")));
                json_t *copy = json_copy((json_t *)(uintptr_t)row);
                json_object_set_new(copy, "path", json_string(path));
                json_object_set_new(copy, "answer", json_string(answers));
                char node[32];
                node_cell(row, node, sizeof(node));
                json_object_set_new(copy, "node", json_string(node));
                json_object_set_new(copy, "host", json_string(host));
                json_object_set_new(copy, "risk", json_string(risk));
                json_array_append_new(list, copy);
        }
        return list;
}

void ctl_instances_print(const struct ctl *ctl, const json_t *rows)
{
        static const struct out_column column[] = {{.key = "instance"},
                                                   {.key = "state"},
                                                   {.key = "health", .is_right = true},
                                                   {.key = "risk", .title = "RISK 1/5/30s"},
                                                   {.key = "path", .title = "RTT", .spare = 2},
                                                   {.key = "answer", .is_right = true, .spare = 3},
                                                   {.key = "serves", .is_right = true},
                                                   {.key = "stands_by", .title = "STANDBY", .is_right = true},
                                                   {.key = "host", .title = "CPU/MEM/STALL", .spare = 1},
                                                   {.key = "node", .title = "OVER/FAIL", .spare = 2},
                                                   {.key = "why"},
                                                   {.key = NULL}};
        /* Without agents there is nothing to say of hosts, and a terminal is only so wide. */
        struct out_column shown[ARRAY_SIZE(column)];
        size_t columns = 0;
        bool is_host = false;
        size_t k;
        const json_t *one;
        json_array_foreach(rows, k, one) is_host |= !isnan(say_number(one, "cpu"));
        for (size_t i = 0; i < ARRAY_SIZE(column); i++)
                if (is_host || !column[i].key ||
                    (strcmp(column[i].key, "host") != 0 && strcmp(column[i].key, "node") != 0))
                        shown[columns++] = column[i];
        if (ctl->out.format != OUT_TABLE) {
                out_rows(&ctl->out, rows, column);
                return;
        }
        json_t *list = instances_for_people(rows);
        out_rows(&ctl->out, list, shown);
        json_decref(list);
}

int command_instances(struct ctl *ctl, int argc, char **argv)
{
        if (options_take_few(ctl, NULL, argc, argv, 0) < 0)
                return EXIT_USAGE;
        int code;
        json_t *rows = ctl_ask(ctl, json_pack("{s:s}", "ask", "instances"), &code);
        if (rows)
                ctl_instances_print(ctl, rows);
        json_decref(rows);
        return code;
}

static void explain_line(const struct out *o, const char *label, const char *text)
{
        fprintf(o->to, "%-9s ", label);
        out_wrapped(o, text, 10);
}

/* "5 min 1.2%, 15 min 2.0%, 60 min 6%", with a ~ and a word where that is no forecast. */
static void explain_chances(const struct out *o, const json_t *node, const char *what, const char *skill)
{
        static const char *const horizon[] = {"5 min", "15 min", "60 min"};
        char text[200] = "";
        bool is_base = false;
        for (size_t h = 0; h < ARRAY_SIZE(horizon); h++) {
                say_append(text, sizeof(text), "%s%s ", h ? ", " : "", horizon[h]);
                node_chance(text, sizeof(text), node, what, skill, h);
        }
        is_base = strchr(text, '~') != NULL;
        say_append(text, sizeof(text), "%s", is_base ? " (~: no skill here, how often it happens)" : "");
        explain_line(o, what, text);
}

static void explain_print(const struct out *o, const json_t *row)
{
        char text[300];
        const json_t *node = json_object_get(row, "node");
        fprintf(o->to, "%s%s%s %s   health %.0f\n", out_colour(o, "bold"), say_word(row, "instance"),
                out_colour(o, "plain"), say_word(row, "state"), say_number(row, "health"));
        snprintf(text, sizeof(text),
                 "to break its promise: 1 s %.1f%%, 5 s %.1f%%, 30 s %.1f%%; what drives that: "
                 "sundog forecast %s",
                 100 * say_number(row, "p_near"), 100 * say_number(row, "p_middle"),
                 100 * say_number(row, "p_far"), say_word(row, "instance"));
        explain_line(o, "risk", text);
        snprintf(text, sizeof(text),
                 "%.0f%% of new connections where it gets most; serves %.0f, stands by for %.0f",
                 100 * say_number(row, "weight"), say_number(row, "serves"), say_number(row, "stands_by"));
        explain_line(o, "weight", text);
        if (say_word(row, "why")[0])
                explain_line(o, "why", say_word(row, "why"));
        if (!json_is_object(node)) {
                explain_line(o, "host", "nothing is known of it: no agent and no exporter has told anything");
                return;
        }
        if (isnan(say_number(row, "vitals_age_s")))
                explain_line(o, "host", "it has told nothing lately; what follows is old");
        explain_line(o, "host", say_word(node, "text"));
        explain_chances(o, node, "overload", "overload_has_skill");
        explain_chances(o, node, "failure", "failure_has_skill");
        size_t i;
        const json_t *mode;
        text[0] = 0;
        json_array_foreach(json_object_get(node, "modes"), i, mode)
        {
                double p = say_number(mode, "p_15min");
                say_append(text, sizeof(text), "%s%s ", i ? ", " : "", say_word(mode, "mode"));
                if (isnan(p))
                        say_append(text, sizeof(text), "not measured");
                else
                        say_append(text, sizeof(text), "%s%.*f%%",
                                   json_is_true(json_object_get(mode, "has_skill")) || p >= 1 ? "" : "~",
                                   p < 0.0995 ? 1 : 0, 100 * p);
        }
        say_append(text, sizeof(text), ", within 15 min");
        explain_line(o, "how", text);
}

int ctl_instance_explain(struct ctl *ctl, const char *name)
{
        int code;
        json_t *rows = ctl_ask(ctl, json_pack("{s:s}", "ask", "instances"), &code);
        if (!rows)
                return code;
        size_t i;
        const json_t *row, *found = NULL;
        json_array_foreach(rows, i, row) if (strcmp(say_word(row, "instance"), name) == 0) found = row;
        if (!found)
                code = ctl_fail(EXIT_USAGE,
                                "\"%s\" is neither a decision (d-12, as events shows them) nor an instance; "
                                "of a path: "
                                "sundog forecast %s",
                                name, name);
        else if (ctl->out.format != OUT_TABLE)
                out_object(&ctl->out, found);
        else
                explain_print(&ctl->out, found);
        json_decref(rows);
        return code;
}

/* ---- conns ---- */

struct conns_args {
        const char *vip, *instance;
        unsigned most;
};

const struct option_row option_conns[] = {
        {"vip", "NAME", OPTION_TEXT, offsetof(struct conns_args, vip), "only of this vip"},
        {"instance", "NAME", OPTION_TEXT, offsetof(struct conns_args, instance),
         "only those that it serves or stands by for"},
        {"n", "N", OPTION_COUNT, offsetof(struct conns_args, most), "at most N (50)"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

int command_conns(struct ctl *ctl, int argc, char **argv)
{
        static const struct out_column column[] = {
                {.key = "vip"},
                {.key = "client"},
                {.key = "served_by", .title = "SERVED BY"},
                {.key = "standby"},
                {.key = "state"},
                {.key = "lag_bytes", .title = "LAG", .unit = "bytes", .is_right = true},
                {.key = "quiet_ms", .title = "QUIET", .unit = "ms", .is_right = true},
                {.key = "why"},
                {.key = NULL}};
        struct conns_args a = {.most = 50};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words > 0)
                return ctl_fail(EXIT_USAGE, "conns takes options only: --vip %s or --instance %s", argv[0],
                                argv[0]);
        if (a.most == 0)
                return ctl_fail(EXIT_USAGE, "-n 0: none would be shown; write 1 or more");
        json_t *question = json_pack("{s:s, s:i}", "ask", "conns", "most", (int)a.most);
        if (a.vip)
                json_object_set_new(question, "vip", json_string(a.vip));
        if (a.instance)
                json_object_set_new(question, "instance", json_string(a.instance));
        int code;
        json_t *rows = ctl_ask(ctl, question, &code);
        if (!rows)
                return code;
        out_rows(&ctl->out, rows, column);
        if (ctl->out.format == OUT_TABLE && json_array_size(rows) >= a.most)
                fprintf(ctl->out.to, "the first %u; -n shows more\n", a.most);
        json_decref(rows);
        return code;
}

/* ---- drain ---- */

struct drain_args {
        bool is_undone, has_no_patience;
        int64_t limit_ns;
};

const struct option_row option_drain[] = {
        {"undo", NULL, OPTION_FLAG, offsetof(struct drain_args, is_undone), "use it again"},
        {"no-wait", NULL, OPTION_FLAG, offsetof(struct drain_args, has_no_patience),
         "do not wait until it is empty"},
        {"limit", "TIME", OPTION_TIME, offsetof(struct drain_args, limit_ns),
         "wait at most so long until it is empty (1min)"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* Follow the daemon's events until it says that the instance is empty. */
static int drain_wait(struct ctl *ctl, struct client *c, const char *name, int64_t limit_ns)
{
        const enum out_format format = ctl->out.format;
        json_t *event;
        int code = EXIT_DEGRADED;
        alarm((unsigned)((limit_ns + 999999999) / 1000000000));
        while (code == EXIT_DEGRADED && (event = client_next(c))) {
                bool is_ours = strcmp(say_word(event, "subject"), name) == 0;
                if (is_ours && strcmp(say_word(event, "event"), "drained") == 0)
                        code = EXIT_FINE;
                else if (is_ours && strcmp(say_word(event, "event"), "undrain") == 0)
                        code = EXIT_REFUSED;
                bool is_worth_telling = is_ours || strcmp(say_word(event, "from"), name) == 0;
                /* As one document of JSON it is the last word that counts. */
                bool is_last = code != EXIT_DEGRADED;
                if (is_worth_telling && format == OUT_TABLE)
                        fprintf(ctl->out.to, "%s\n", say_word(event, "text"));
                else if (is_worth_telling && (format == OUT_JSONL || is_last))
                        out_object(&ctl->out, event);
                fflush(ctl->out.to);
                json_decref(event);
        }
        alarm(0);
        return code;
}

static void drain_too_long(int signal)
{
        (void)signal;
        static const char text[] =
                "sundog: it is not empty yet; it goes on being emptied: sundog instances\n";
        ssize_t unused = write(STDERR_FILENO, text, sizeof(text) - 1);
        (void)unused;
        _exit(EXIT_DEGRADED);
}

int command_drain(struct ctl *ctl, int argc, char **argv)
{
        struct drain_args a = {.limit_ns = 60 * INT64_C(1000000000)};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words != 1)
                return ctl_fail(EXIT_USAGE,
                                "name one instance: sundog drain INSTANCE; see: sundog instances");
        struct dog_err e = {0};
        struct client *c = NULL;
        if (client_open(&c, ctl->socket, &e) < 0)
                return ctl_fail(EXIT_UNREACHABLE, "%s", e.text);
        int code;
        json_t *question = json_pack("{s:s, s:s, s:b, s:b}", "ask", "drain", "instance", argv[0], "undo",
                                     (int)a.is_undone, "follow", !a.is_undone && !a.has_no_patience);
        json_t *answer = client_ask(c, question, &code, &e);
        json_decref(question);
        if (!answer) {
                client_close(c);
                return ctl_fail(code == EXIT_FAILED && strstr(e.text, "cannot be drained") ? EXIT_REFUSED
                                                                                           : code,
                                "%s", e.text);
        }
        bool is_waiting = !a.is_undone && !a.has_no_patience;
        bool is_table = ctl->out.format == OUT_TABLE;
        /* As JSON, who waits gets the end and not the beginning. */
        if (!is_table && !is_waiting)
                out_object(&ctl->out, answer);
        if (is_table && a.is_undone)
                fprintf(ctl->out.to, "%s is used again, once it has been well for a while\n", argv[0]);
        if (is_table && !a.is_undone)
                fprintf(ctl->out.to, "%s serves %.0f protected connections; they are carried over%s\n",
                        argv[0], say_number(answer, "serves"), is_waiting ? " ..." : "");
        fflush(ctl->out.to);
        json_decref(answer);
        if (is_waiting) {
                signal(SIGALRM, drain_too_long);
                code = drain_wait(ctl, c, argv[0], a.limit_ns);
                if (code == EXIT_DEGRADED)
                        code = ctl_fail(EXIT_UNREACHABLE, "sundogd has gone before %s was empty", argv[0]);
        }
        client_close(c);
        return code;
}

/* ---- forgive ---- */

struct forgive_args {
        const char *vip;
};

const struct option_row option_forgive[] = {
        {"vip", "NAME", OPTION_TEXT, offsetof(struct forgive_args, vip),
         "where several vips have such requests"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

int command_forgive(struct ctl *ctl, int argc, char **argv)
{
        struct forgive_args a = {0};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words != 1)
                return ctl_fail(EXIT_USAGE,
                                "name one class, by number or as \"GET /path\"; see: sundog vips --classes");
        json_t *question = json_pack("{s:s, s:s}", "ask", "forgive", "class", argv[0]);
        if (a.vip)
                json_object_set_new(question, "vip", json_string(a.vip));
        int code;
        json_t *row = ctl_ask(ctl, question, &code);
        if (!row)
                return code;
        if (ctl->out.format != OUT_TABLE)
                out_object(&ctl->out, row);
        else if (json_is_true(json_object_get(row, "was_barred")))
                fprintf(ctl->out.to,
                        "requests \"%s\" of %s are protected again from the next connection on\n",
                        say_word(row, "request"), say_word(row, "vip"));
        else
                fprintf(ctl->out.to, "requests \"%s\" of %s were protected all the time\n",
                        say_word(row, "request"), say_word(row, "vip"));
        json_decref(row);
        return code;
}

/* ---- promote ---- */

struct promote_args {
        const char *vip;
        bool is_sure, is_dry;
};

const struct option_row option_promote[] = {
        {"vip", "NAME", OPTION_TEXT, offsetof(struct promote_args, vip),
         "of a client that has connections to several"},
        {"yes", NULL, OPTION_FLAG, offsetof(struct promote_args, is_sure), "do not ask"},
        {"dry", NULL, OPTION_FLAG, offsetof(struct promote_args, is_dry), "only say what would be done"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

static json_t *promote_question(const struct promote_args *a, const char *what, bool is_dry)
{
        json_t *question = json_pack("{s:s, s:s, s:b}", "ask", "promote", "what", what, "dry", (int)is_dry);
        if (a->vip)
                json_object_set_new(question, "vip", json_string(a->vip));
        return question;
}

static void promote_say(const struct ctl *ctl, const json_t *p, bool is_done)
{
        double movable = say_number(p, "movable");
        double bound = say_number(p, "bound");
        const char *verb = is_done ? "moved" : "would be moved";
        if (json_object_get(p, "client"))
                fprintf(ctl->out.to, "the connection of %s to %s %s from %s to %s\n", say_word(p, "client"),
                        say_word(p, "vip"), is_done ? "was moved" : "would be moved", say_word(p, "from"),
                        say_word(p, "to"));
        else
                fprintf(ctl->out.to, "%.0f connection%s of %s %s to their standbys now",
                        movable - say_number(p, "failed"), movable == 1 ? "" : "s", say_word(p, "instance"),
                        verb);
        if (json_object_get(p, "instance"))
                fprintf(ctl->out.to, bound > 0 ? "; %.0f without a standby stay\n" : "\n", bound);
        if (say_number(p, "failed") > 0)
                fprintf(ctl->out.to, "%.0f ended, or lost their standby, meanwhile\n",
                        say_number(p, "failed"));
}

int command_promote(struct ctl *ctl, int argc, char **argv)
{
        struct promote_args a = {0};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words != 1)
                return ctl_fail(
                        EXIT_USAGE,
                        "name an instance, or a client as ADDRESS:PORT: sundog promote a; see: sundog conns");
        int code;
        bool is_asking = !a.is_sure && !a.is_dry;
        if (is_asking && !isatty(STDIN_FILENO))
                return ctl_fail(EXIT_USAGE,
                                "nobody is there to ask: add --yes, or --dry to see what would be done");
        if (a.is_dry || is_asking) {
                json_t *would = ctl_ask(ctl, promote_question(&a, argv[0], true), &code);
                if (!would)
                        return code;
                if (ctl->out.format == OUT_TABLE || is_asking)
                        promote_say(ctl, would, false);
                else
                        out_object(&ctl->out, would);
                json_decref(would);
                if (a.is_dry)
                        return code;
                fputs("go on? [y/N] ", ctl->out.to);
                fflush(ctl->out.to);
                char answer[8];
                if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
                        return ctl_fail(EXIT_REFUSED, "nothing was done");
        }
        json_t *done = ctl_ask(ctl, promote_question(&a, argv[0], false), &code);
        if (!done)
                return code;
        if (ctl->out.format == OUT_TABLE)
                promote_say(ctl, done, true);
        else
                out_object(&ctl->out, done);
        if (say_number(done, "failed") > 0)
                code = EXIT_DEGRADED;
        json_decref(done);
        return code;
}
