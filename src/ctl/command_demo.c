/* The demo: lab/demo.sh does it, demo_stage keeps it apart from this machine, demo_view shows it, this asks
 * and counts. */
#include "ctl/client.h"
#include "ctl/command.h"
#include "ctl/demo_stage.h"
#include "ctl/demo_view.h"

#include "base/clock.h"
#include "base/units.h"
#include "core/reason.h"
#include "daemon/decision.h"
#include "daemon/say.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* On the wire: Ethernet 14, IPv4 20, UDP 8, 160 of voice; the tunnel puts 60 around, and its Ethernet header.
 */
enum { CALL_FRAME = 202, CALL_INNER = 188, TUNNEL_AROUND = 74, DECISIONS_MAX = 4096, TICK_MS = 250 };
#define OUT_FOLDER     "demo-out"
#define DOWNLOAD_RATE  "12Mbit/s"
#define DOWNLOAD_BYTES 12000000.0 /* in a whole run; less in a shorter one */
#define WHOLE_S        32

struct demo_args {
        unsigned seconds;
};

const struct option_row option_demo[] = {
        {"seconds", "N", OPTION_COUNT, offsetof(struct demo_args, seconds),
         "only the first N seconds of the recording, 5 at least; all 32 by default"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

struct demo {
        struct ctl *ctl;
        struct demo_stage stage;
        struct demo_view view;
        char folder[PATH_MAX]; /* what the script writes */
        char emulator[108], api[108];
        int64_t zero_ns[3]; /* of the trace, by phase */
        float worst[DEMO_PATHS];
        unsigned ticks;
        char why[400];   /* the newest words that were not a step: they explain a failure */
        char void_[200]; /* not "": the emulator lost packets by itself */
        bool is_measured;
        json_t *decisions;
};

static volatile sig_atomic_t is_interrupted;

static void interrupted(int signal_number)
{
        (void)signal_number;
        is_interrupted = 1;
}

static const char *word_at(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

/* ---- asking ---- */

/* One question to the emulator; NULL when it does not answer. */
static json_t *emulator_ask(const char *socket_path, const char *question)
{
        static char answer[65536];
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        struct timeval limit = {.tv_sec = 1};
        json_t *j = NULL;
        snprintf(to.sun_path, sizeof(to.sun_path), "%s", socket_path);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return NULL;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 &&
            send(fd, question, strlen(question), MSG_NOSIGNAL) > 0) {
                ssize_t n = recv(fd, answer, sizeof(answer), 0);
                j = n > 0 ? json_loadb(answer, (size_t)n, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
        }
        close(fd);
        return j;
}

/* Takes the question. */
static json_t *daemon_ask(const struct demo *d, json_t *question)
{
        struct dog_err e = {0};
        struct client *c = NULL;
        json_t *answer = NULL;
        int code;
        if (client_open(&c, d->api, &e) == 0)
                answer = client_ask(c, question, &code, &e);
        client_close(c);
        json_decref(question);
        return answer;
}

static json_t *file_json(const struct demo *d, const char *name)
{
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%.4000s/%.60s", d->folder, name);
        return json_load_file(path, 0, NULL);
}

/* ---- news ---- */

static void weather_update(struct demo *d)
{
        struct demo_view *v = &d->view;
        json_t *stats = d->emulator[0] ? emulator_ask(d->emulator, "stats") : NULL;
        if (!stats)
                return;
        if (json_is_true(json_object_get(stats, "is_playing")) && !v->doing[0])
                v->at_s = say_number(stats, "t_ms") / 1e3;
        for (unsigned p = 0; p < v->paths; p++) {
                char link[8];
                snprintf(link, sizeof(link), "p%u", p);
                const json_t *ab =
                        json_object_get(json_object_get(json_object_get(stats, "links"), link), "ab");
                v->path[p].delay_ms = say_number(ab, "delay_ms");
                v->path[p].loss = say_number(ab, "loss");
                float now = (float)(v->path[p].loss >= 0.5 ? -1 : v->path[p].delay_ms);
                bool is_worse = now < 0 || (d->worst[p] >= 0 && now > d->worst[p]);
                if (isnan(d->worst[p]) || is_worse)
                        d->worst[p] = now;
        }
        json_decref(stats);
}

/* The last whole line that the receiver of the call has written. */
static void call_update(struct demo *d)
{
        char path[PATH_MAX];
        char tail[1024];
        struct demo_view *v = &d->view;
        snprintf(path, sizeof(path), "%.4000s/recv%u.err", d->folder, v->phase);
        FILE *in = fopen(path, "re");
        if (!in)
                return;
        if (fseek(in, -(long)sizeof(tail) + 1, SEEK_END) < 0)
                rewind(in);
        size_t n = fread(tail, 1, sizeof(tail) - 1, in);
        fclose(in);
        tail[n] = 0;
        char *end = strrchr(tail, '\n');
        if (!end)
                return;
        *end = 0;
        char *begin = strrchr(tail, '\n');
        json_t *j = json_loads(begin ? begin + 1 : tail, 0, NULL);
        double received = say_number(j, "received");
        double late = say_number(j, "late");
        if (received > 0) {
                double lost = say_number(j, "highest") + 1 - received;
                v->call[v->phase] =
                        (struct demo_call){(unsigned)(received - late), (unsigned)late, (unsigned)lost};
        }
        json_decref(j);
}

static void carriers_update(struct demo *d)
{
        struct demo_view *v = &d->view;
        size_t i;
        const json_t *row;
        json_t *rows = daemon_ask(d, json_pack("{s:s}", "ask", "paths"));
        json_array_foreach(rows, i, row)
        {
                if (i >= v->paths)
                        break;
                struct demo_path *p = &v->path[i];
                char text[256];
                char *rest = NULL;
                p->p_bad = say_number(row, "p_near");
                p->score = say_number(row, "score");
                p->carries_call = p->copies_call = p->carries_download = false;
                snprintf(text, sizeof(text), "%s", word_at(row, "carries"));
                for (char *w = strtok_r(text, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
                        p->carries_call |= strcmp(w, "call") == 0;
                        p->copies_call |= strcmp(w, "copy:call") == 0;
                        p->carries_download |= strcmp(w, "download") == 0;
                }
        }
        json_decref(rows);
}

static void decision_update(struct demo *d)
{
        struct demo_view *v = &d->view;
        json_t *events = daemon_ask(d, json_pack("{s:s, s:i}", "ask", "events", "most", 40));
        for (size_t i = json_array_size(events); i-- > 0;) {
                const json_t *e = json_array_get(events, i);
                if (strcmp(word_at(e, "event"), "decision") != 0)
                        continue;
                unsigned id = (unsigned)say_number(e, "id");
                v->decisions = id > v->decisions ? id : v->decisions;
                if (strcmp(word_at(e, "subject"), "call") != 0)
                        continue;
                snprintf(v->decision, sizeof(v->decision), "%s", word_at(e, "text"));
                v->reason[0] = 0;
                for (int r = 0; r < DOG_WHY_COUNT; r++)
                        if (strcmp(dog_reason_name((enum dog_reason)r), word_at(e, "why")) == 0)
                                snprintf(v->reason, sizeof(v->reason), "%s",
                                         dog_reason_help((enum dog_reason)r));
                break;
        }
        json_decref(events);
}

static void tick(struct demo *d)
{
        struct demo_view *v = &d->view;
        weather_update(d);
        if (d->ticks++ % (DEMO_SLOT_MS / TICK_MS) != 0)
                return;
        if (v->phase > 0 && !v->doing[0])
                call_update(d);
        if (v->phase == 2 && d->api[0]) {
                carriers_update(d);
                decision_update(d);
        }
        demo_view_step(v, d->worst);
        for (unsigned p = 0; p < DEMO_PATHS; p++)
                d->worst[p] = NAN;
        demo_view_draw(v);
}

/* ---- the script's steps ---- */

static void phase_begin(struct demo *d, unsigned phase, int64_t zero_ns)
{
        struct demo_view *v = &d->view;
        if (phase < 1 || phase > 2)
                return;
        v->phase = phase;
        v->doing[0] = 0;
        v->at_s = 0;
        d->zero_ns[phase] = zero_ns;
        for (unsigned p = 0; p < v->paths; p++) {
                v->path[p].carries_call = v->path[p].carries_download = phase == 1 && p == v->best;
                v->path[p].copies_call = false;
                for (unsigned i = 0; i < DEMO_SPARKS; i++)
                        v->path[p].spark[i] = NAN;
        }
}

static void download_end(struct demo *d, unsigned phase)
{
        struct demo_view *v = &d->view;
        char name[32];
        if (phase < 1 || phase > 2)
                return;
        snprintf(name, sizeof(name), "download%u.json", phase);
        json_t *j = file_json(d, name);
        const json_t *sum = json_object_get(json_object_get(j, "end"), "sum_received");
        if (!json_object_get(j, "error") && say_number(sum, "bytes") >= (double)v->download_bytes)
                v->download_s[phase] = say_number(sum, "seconds");
        json_decref(j);
        for (unsigned p = 0; p < v->paths && phase == 1; p++)
                v->path[p].carries_download = false;
}

static void step(struct demo *d, const char *line)
{
        struct demo_view *v = &d->view;
        unsigned phase = 0;
        unsigned seconds = 0;
        long long zero_ns = 0;
        if (strncmp(line, "say ", 4) == 0) {
                snprintf(v->doing, sizeof(v->doing), "%s", line + 4);
                demo_view_draw(v);
        } else if (sscanf(line, "lab %4095s %107s", d->folder, d->emulator) == 2) {
        } else if (sscanf(line, "paths %31s %31s %31s %31s", v->path[0].name, v->path[1].name,
                          v->path[2].name, v->path[3].name) >= 1) {
                while (v->paths < DEMO_PATHS && v->path[v->paths].name[0])
                        v->paths++;
        } else if (sscanf(line, "best %u %u", &v->best, &seconds) == 2) {
                v->best = v->best < v->paths ? v->best : 0;
                v->length_s = seconds;
        } else if (sscanf(line, "phase %u %lld", &phase, &zero_ns) == 2) {
                phase_begin(d, phase, zero_ns);
        } else if (sscanf(line, "api %107s", d->api) == 1) {
        } else if (sscanf(line, "download %u", &phase) == 1) {
                download_end(d, phase);
        } else if (strncmp(line, "void", 4) == 0) {
                snprintf(d->void_, sizeof(d->void_), "%s", line + 4);
        } else if (strcmp(line, "end") == 0) {
                d->is_measured = true;
        } else if (line[0] && strncmp(line, "1..", 3) != 0) {
                snprintf(d->why, sizeof(d->why), "%s", line + (strncmp(line, "# ", 2) == 0 ? 2 : 0));
        } else if (strstr(line, "# SKIP ")) {
                snprintf(d->why, sizeof(d->why), "%s", strstr(line, "# SKIP ") + 7);
        }
}

static int play(struct demo *d)
{
        int64_t next_ns = dog_clock_mono_ns();
        while (!d->is_measured && !is_interrupted) {
                const char *line;
                int64_t left_ms = (next_ns - dog_clock_mono_ns()) / DOG_MS;
                int rc = demo_stage_line(&d->stage, left_ms > 0 ? (int)left_ms : 0, &line);
                if (rc > 0)
                        step(d, line);
                if (rc < 0)
                        break;
                if (dog_clock_mono_ns() < next_ns)
                        continue;
                tick(d);
                next_ns += TICK_MS * DOG_MS;
                if (next_ns < dog_clock_mono_ns())
                        next_ns = dog_clock_mono_ns() + TICK_MS * DOG_MS;
        }
        return d->is_measured ? 0 : -1;
}

/* ---- what was decided ---- */

static double at_s(const struct demo *d, const json_t *decision)
{
        return (say_number(decision, "at_ns") - (double)d->zero_ns[2]) / 1e9;
}

static double saved_ms(const json_t *decision)
{
        double saved = say_number(decision, "bad_without_ms") - say_number(decision, "bad_with_ms");
        return isnan(saved) ? 0 : saved;
}

static void decisions_ask(struct demo *d)
{
        json_t *newest = daemon_ask(d, json_pack("{s:s}", "ask", "explain"));
        json_int_t last = json_integer_value(json_object_get(newest, "id"));
        json_decref(newest);
        d->decisions = json_array();
        for (json_int_t id = 1; id <= last && id <= DECISIONS_MAX; id++) {
                json_t *one = daemon_ask(d, json_pack("{s:s, s:I}", "ask", "explain", "id", id));
                if (!one)
                        continue;
                char when[40];
                double at = at_s(d, one);
                snprintf(when, sizeof(when), at < 0 ? "before the call" : "at %.1f s", at);
                json_object_set_new(one, "time", json_string(when));
                json_array_append_new(d->decisions, one);
        }
}

static unsigned decisions_graded(const struct demo *d, const char *grade)
{
        size_t i;
        const json_t *one;
        unsigned n = 0;
        json_array_foreach(d->decisions, i, one) n +=
                strcmp(word_at(one, "grade"), grade) == 0 && strcmp(word_at(one, "group"), "call") == 0;
        return n;
}

static bool act_fits(const json_t *one, const char *act)
{
        return !act || strcmp(word_at(one, "act"), act) == 0;
}

/* About the call, not yet chosen: what saved most, or, saving the same, what had the most to fear. */
static const json_t *telling(const struct demo *d, const char *act, const json_t *const chosen[3])
{
        size_t i;
        const json_t *one;
        const json_t *best = NULL;
        json_array_foreach(d->decisions, i, one)
        {
                if (one == chosen[0] || one == chosen[1] || strcmp(word_at(one, "group"), "call") != 0 ||
                    !act_fits(one, act) || at_s(d, one) < 0)
                        continue;
                double more = best ? saved_ms(one) - saved_ms(best) : 1;
                if (more > 0 || (more >= 0 && say_number(one, "p_without") > say_number(best, "p_without")))
                        best = one;
        }
        return best;
}

static int decisions_write(const struct demo *d)
{
        size_t i;
        const json_t *one;
        FILE *out = fopen(OUT_FOLDER "/decisions.txt", "we");
        if (!out)
                return -errno;
        fprintf(out, "Every decision of the run with Sundog, as \"sundog explain d-N\" says it.\n");
        json_array_foreach(d->decisions, i, one)
        {
                char *text = decision_text(one);
                fprintf(out, "\n%s", text ? text : "");
                free(text);
        }
        return fclose(out) == 0 ? 0 : -EIO;
}

/* ---- the picture ---- */

static int carried_write(const struct demo *d, const char *path)
{
        char before[128] = "";
        size_t i;
        const json_t *one;
        FILE *out = fopen(path, "we");
        if (!out)
                return -errno;
        fputs("t_ms,paths\n", out);
        json_array_foreach(d->decisions, i, one)
        {
                char set[128] = "";
                size_t k;
                const json_t *name;
                if (strcmp(word_at(one, "group"), "call") != 0)
                        continue;
                json_array_foreach(json_object_get(one, "carries"), k, name)
                        snprintf(set + strlen(set), sizeof(set) - strlen(set), "%s%s", k ? "+" : "",
                                 json_string_value(name));
                double t_ms = 1e3 * at_s(d, one);
                /* What was in force when the call began is its first row. */
                if (t_ms > 0 && before[0]) {
                        fprintf(out, "0,%s\n", before);
                        before[0] = 0;
                }
                if (t_ms > 0)
                        fprintf(out, "%.1f,%s\n", t_ms, set);
                else
                        snprintf(before, sizeof(before), "%s", set);
        }
        if (before[0])
                fprintf(out, "0,%s\n", before);
        return fclose(out) == 0 ? 0 : -EIO;
}

static int picture_draw(const struct demo *d, struct dog_err *e)
{
        char carried[PATH_MAX];
        char trace[PATH_MAX];
        char length[24];
        char alone[PATH_MAX];
        char with[PATH_MAX];
        char title[120];
        snprintf(carried, sizeof(carried), "%.4000s/carried.csv", d->folder);
        snprintf(trace, sizeof(trace), "%.4000s/demo.playlist", d->stage.paths);
        snprintf(length, sizeof(length), "%.0fs", d->view.length_s);
        snprintf(alone, sizeof(alone), "%s alone=%.3900s/call1.csv", d->view.path[d->view.best].name,
                 d->folder);
        snprintf(with, sizeof(with), "with Sundog=%.4000s/call2.csv", d->folder);
        snprintf(title, sizeof(title), "A call over %u recorded operators", d->view.paths);
        int rc = carried_write(d, carried);
        if (rc < 0)
                return dog_err_set(e, rc, "cannot write %s: %s", carried, strerror(-rc));
        char *argv[] = {"drawrun",
                        "--trace",
                        trace,
                        "--for",
                        length,
                        "--run",
                        alone,
                        "--run",
                        with,
                        "--carried",
                        carried,
                        "--title",
                        title,
                        "--subtitle",
                        "The best single path, as hindsight knows it, and Sundog, in the same instants",
                        NULL};
        return demo_stage_run(&d->stage, "drawrun", argv, OUT_FOLDER "/demo.svg", e);
}

/* ---- the table ---- */

static void row_add(json_t *rows, const char *key, const char *what, const char *unit, double alone,
                    double with)
{
        json_t *row = json_pack("{s:s, s:s, s:s}", "figure", key, "what", what, "unit", unit);
        json_object_set_new(row, "alone", isfinite(alone) ? json_real(alone) : json_null());
        json_object_set_new(row, "sundog", isfinite(with) ? json_real(with) : json_null());
        json_object_set_new(row, "ratio",
                            isfinite(alone) && isfinite(with) && alone > 0 ? json_real(with / alone)
                                                                           : json_null());
        json_array_append_new(rows, row);
}

static const json_t *class_of(const json_t *status, const char *name)
{
        size_t i;
        const json_t *row;
        json_array_foreach(json_object_get(status, "classes"), i,
                           row) if (strcmp(word_at(row, "class"), name) == 0) return row;
        return NULL;
}

/* Bytes that went out towards site B for the call: all that was put on the three links, less the download's
 * share. */
static double call_bytes(const struct demo *d)
{
        json_t *stats = file_json(d, "emu2.json");
        json_t *first = file_json(d, "status1.json");
        json_t *last = file_json(d, "status2.json");
        const json_t *was = class_of(first, "download");
        const json_t *is = class_of(last, "download");
        const char *name;
        json_t *link;
        double bytes = 0;
        json_object_foreach(json_object_get(stats, "links"), name, link) bytes +=
                say_number(json_object_get(link, "ab"), "in_bytes");
        bytes -= say_number(is, "inner_bytes") - say_number(was, "inner_bytes") +
                 TUNNEL_AROUND * (say_number(is, "sent_copies") - say_number(was, "sent_copies"));
        json_decref(stats);
        json_decref(first);
        json_decref(last);
        return bytes;
}

static json_t *table_make(const struct demo *d)
{
        json_t *alone = file_json(d, "call1.json");
        json_t *with = file_json(d, "call2.json");
        json_t *rows = json_array();
        double sent = say_number(with, "sent");
        double bytes = call_bytes(d);
        char what[64];
        row_add(rows, "packets", "packets of the call", "packets", say_number(alone, "sent"), sent);
        row_add(rows, "bad_packets", "late or lost", "packets",
                say_number(alone, "late") + say_number(alone, "lost"),
                say_number(with, "late") + say_number(with, "lost"));
        row_add(rows, "bad_share", "late or lost", "share", say_number(alone, "bad_share"),
                say_number(with, "bad_share"));
        row_add(rows, "lost_packets", "  of them lost", "packets", say_number(alone, "lost"),
                say_number(with, "lost"));
        row_add(rows, "longest_gap_ms", "longest gap", "ms", say_number(alone, "longest_gap_ms"),
                say_number(with, "longest_gap_ms"));
        snprintf(what, sizeof(what), "download of %.1f MB", (double)d->view.download_bytes / 1e6);
        row_add(rows, "download_s", what, "s", d->view.download_s[1], d->view.download_s[2]);
        row_add(rows, "call_bytes", "bytes sent for the call", "bytes",
                say_number(alone, "sent") * CALL_FRAME, bytes);
        row_add(rows, "call_copies", "  in copies of one, with probes", "copies", 1,
                bytes / (sent * (CALL_INNER + TUNNEL_AROUND)));
        static const char *const grade[][3] = {
                {"helped", "decisions_helped", "decisions for the call that helped"},
                {"neutral", "decisions_neutral", "  made no difference"},
                {"hurt", "decisions_hurt", "  hurt"},
                {"open", "decisions_open", "  not judged yet"}};
        for (int i = 0; i < 4; i++)
                row_add(rows, grade[i][1], grade[i][2], "decisions", (double)NAN,
                        decisions_graded(d, grade[i][0]));
        json_decref(alone);
        json_decref(with);
        return rows;
}

static json_t *cell_make(const json_t *row, const char *key)
{
        const json_t *v = json_object_get(row, key);
        const char *unit = word_at(row, "unit");
        double x = json_is_number(v) ? json_number_value(v) : (double)NAN;
        char size[24];
        if (isnan(x))
                return json_string("-");
        if (strcmp(unit, "share") == 0)
                return json_sprintf("%.2f %%", 100 * x);
        if (strcmp(unit, "ms") == 0)
                return json_sprintf("%.0f ms", x);
        if (strcmp(unit, "s") == 0)
                return json_sprintf("%.1f s", x);
        if (strcmp(unit, "bytes") == 0)
                return json_string(dog_units_size_text((uint64_t)fmax(0, x), size));
        return json_sprintf(strcmp(unit, "copies") == 0 ? "%.2f" : "%.0f", x);
}

static void table_print(const struct demo *d, const json_t *rows)
{
        char alone[48];
        snprintf(alone, sizeof(alone), "%s ALONE", d->view.path[d->view.best].name);
        const struct out_column column[] = {{.key = "what", .title = ""},
                                            {.key = "alone", .title = alone, .is_right = true},
                                            {.key = "sundog", .title = "WITH SUNDOG", .is_right = true},
                                            {.key = "ratio", .title = "RATIO", .is_right = true, .digits = 2},
                                            {.key = NULL}};
        if (d->ctl->out.format != OUT_TABLE) {
                out_rows(&d->ctl->out, rows, column);
                return;
        }
        json_t *list = json_array();
        size_t i;
        const json_t *row;
        json_array_foreach(rows, i, row)
        {
                json_t *copy = json_object();
                json_object_set(copy, "what", json_object_get(row, "what"));
                json_object_set_new(copy, "alone", cell_make(row, "alone"));
                json_object_set_new(copy, "sundog", cell_make(row, "sundog"));
                json_object_set(copy, "ratio", json_object_get(row, "ratio"));
                json_array_append_new(list, copy);
        }
        out_rows(&d->ctl->out, list, column);
        json_decref(list);
}

/* Text in lines no wider than the terminal; what continues a line stands below column `indent`. */
static void text_print(const struct demo *d, const char *text, unsigned indent)
{
        FILE *to = d->view.out.to;
        unsigned room = demo_view_columns(&d->view);
        unsigned column = 0;
        while (*text) {
                /* Spaces belong to the word behind them: they make the columns of an explanation. */
                size_t spaces = strspn(text, " ");
                size_t bytes = strcspn(text + spaces, " \n");
                char word[200];
                snprintf(word, sizeof(word), "%.*s", (int)bytes, text + spaces);
                unsigned width = (unsigned)out_width(word);
                if (column > indent && column + spaces + width >= room) {
                        fprintf(to, "\n%*s%s", (int)indent, "", word);
                        column = indent + width;
                } else {
                        fprintf(to, "%*s%s", (int)spaces, "", word);
                        column += (unsigned)spaces + width;
                }
                text += spaces + bytes;
                if (*text == '\n') {
                        fputc(*text++, to);
                        column = 0;
                }
        }
}

static void words_print(const struct demo *d)
{
        FILE *to = d->view.out.to;
        const json_t *chosen[3] = {NULL, NULL, NULL};
        static const char *const act[3] = {NULL, "mirror", "move"};
        char text[600];
        snprintf(text, sizeof(text),
                 "\nBoth runs had the same %.0f s of the recordings. That %s was the best single path is "
                 "known only "
                 "afterwards. Late is later than 150 ms, site A to site B.\n"
                 "The picture: " OUT_FOLDER
                 "/demo.svg. Every decision, as \"sundog explain\" says it while the daemon "
                 "runs: " OUT_FOLDER "/decisions.txt. These three tell most:\n",
                 d->view.length_s, d->view.path[d->view.best].name);
        text_print(d, text, 0);
        for (int i = 0; i < 3; i++) {
                chosen[i] = telling(d, act[i], chosen);
                char *explained = chosen[i] ? decision_text(chosen[i]) : NULL;
                if (explained) {
                        fprintf(to, "\n%ssundog explain d-%lld%s\n", out_colour(&d->view.out, "bold"),
                                (long long)json_integer_value(json_object_get(chosen[i], "id")),
                                out_colour(&d->view.out, "plain"));
                        text_print(d, explained, 10);
                }
                free(explained);
        }
}

static int report(struct demo *d)
{
        struct dog_err e = {0};
        decisions_ask(d);
        json_t *rows = table_make(d);
        int rc = picture_draw(d, &e);
        int rc_decisions = decisions_write(d);
        demo_view_close(&d->view);
        table_print(d, rows);
        json_decref(rows);
        words_print(d);
        if (rc < 0)
                return ctl_fail(EXIT_FAILED, "the picture: %s", e.text);
        if (rc_decisions < 0)
                return ctl_fail(EXIT_FAILED, "cannot write " OUT_FOLDER "/decisions.txt: %s",
                                strerror(-rc_decisions));
        if (d->void_[0])
                return ctl_fail(
                        EXIT_DEGRADED,
                        "this machine was too busy: the emulator lost packets by itself (%s); the figures "
                        "above do not count, run it again",
                        d->void_);
        return EXIT_FINE;
}

int command_demo(struct ctl *ctl, int argc, char **argv)
{
        static struct demo d;
        struct demo_args a = {0};
        struct dog_err e = {0};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words > 0)
                return ctl_fail(EXIT_USAGE, "demo takes no \"%s\"", argv[0]);
        if (a.seconds > 0 && a.seconds < 5)
                return ctl_fail(EXIT_USAGE, "--seconds %u: 5 at least", a.seconds);
        d.ctl = ctl;
        if (demo_stage_find(&d.stage, &e) < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        if (mkdir(OUT_FOLDER, 0755) < 0 && errno != EEXIST)
                return ctl_fail(EXIT_FAILED, "cannot make the folder " OUT_FOLDER " here: %s",
                                strerror(errno));
        const struct sigaction on_stop = {.sa_handler = interrupted};
        const struct sigaction ignored = {.sa_handler = SIG_IGN};
        sigaction(SIGINT, &on_stop, NULL);
        sigaction(SIGTERM, &on_stop, NULL);
        sigaction(SIGHUP, &on_stop, NULL);
        sigaction(SIGPIPE, &ignored, NULL);
        double share = a.seconds > 0 && a.seconds < WHOLE_S ? (double)a.seconds / WHOLE_S : 1;
        demo_view_open(&d.view, ctl->out.format == OUT_TABLE ? stdout : stderr);
        d.view.download_bytes = (uint64_t)(share * DOWNLOAD_BYTES);
        int rc = demo_stage_start(&d.stage, a.seconds, DOWNLOAD_RATE, d.view.download_bytes, &e);
        int code = EXIT_FAILED;
        if (rc == 0 && play(&d) == 0)
                code = report(&d);
        demo_view_close(&d.view);
        demo_stage_stop(&d.stage);
        json_decref(d.decisions);
        if (rc < 0)
                ctl_fail(code, "%s", e.text);
        else if (is_interrupted)
                ctl_fail(code, "interrupted; nothing of the demo is left running");
        else if (!d.is_measured)
                ctl_fail(code, "the demo could not go on: %s",
                         d.why[0] ? d.why : "its script ended without a word");
        return code;
}
