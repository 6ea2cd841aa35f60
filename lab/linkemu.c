/**
 * linkemu: emulate links between pairs of interfaces of one network namespace, and
 * linkemu tell: send a command to a running one.
 *
 *     linkemu --control S --link dsl=a0,b0 --link lte=a1,b1 --do 'set dsl delay 8ms rate 16Mbit/s'
 *     linkemu tell S cut lte
 *
 * Commands are the same on the command line (--do, in order, before the first frame) and over the
 * control socket, one per message; every answer is one JSON object, {"error": "..."} when it failed.
 * `linkemu --help` prints them; they are the rows of `commands` and `keys` below.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/units.h"
#include "lab/emu.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX   64
#define MESSAGE_MAX 65536

struct words {
        char *word[WORDS_MAX];
        int count;
};

/* ---- keys of `set` ---- */

enum key_kind { KEY_TIME, KEY_SHARE, KEY_RATE, KEY_SIZE, KEY_SHAPE, KEY_ORDER, KEY_BURST };

struct key {
        const char *name;
        enum key_kind kind;
        size_t offset;
        const char *help;
};

#define AT(field) offsetof(struct lab_line_settings, field)
static const struct key keys[] = {
        {"delay", KEY_TIME, AT(delay_ns), "one way, 20ms"},
        {"jitter", KEY_TIME, AT(jitter_ns), "see shape"},
        {"shape", KEY_SHAPE, AT(shape),
         "uniform (half width), normal (deviation) or tail (mean of what is added)"},
        {"order", KEY_ORDER, AT(keeps_order), "keep: jitter never reorders; free: it does"},
        {"loss", KEY_SHARE, AT(loss), "each frame by itself, 1%"},
        {"burst", KEY_BURST, AT(burst_enter),
         "chances per frame to enter and to leave a burst of loss, 0.1%/20%; 0 = off"},
        {"duplicate", KEY_SHARE, AT(duplicate), "share sent twice"},
        {"reorder", KEY_SHARE, AT(reorder), "share held back and overtaken"},
        {"reorder-by", KEY_TIME, AT(reorder_by_ns), "how long those are held back, 10ms"},
        {"rate", KEY_RATE, AT(rate_bps), "of frames, 50Mbit/s, or none"},
        {"queue", KEY_SIZE, AT(queue_bytes), "limit of the queue in front of the rate, 256KiB"},
};
#undef AT

static int word_of(const char *text, const char *const *names, size_t n, int *at, const char *what,
                   struct dog_err *e)
{
        char known[96] = "";
        for (size_t i = 0; i < n; i++) {
                if (strcmp(text, names[i]) == 0) {
                        *at = (int)i;
                        return 0;
                }
                snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "",
                         names[i]);
        }
        return dog_err_set(e, -EINVAL, "\"%s\" is not a %s: %s", text, what, known);
}

static int burst_parse(const char *text, struct lab_line_settings *s, struct dog_err *e)
{
        char enter[32];
        const char *slash = strchr(text, '/');
        if (strcmp(text, "0") == 0) {
                s->burst_enter = 0;
                s->burst_leave = 1;
                return 0;
        }
        if (!slash || (size_t)(slash - text) >= sizeof(enter))
                return dog_err_set(e, -EINVAL,
                                   "\"%s\" is not a burst: write ENTER/LEAVE, like 0.1%%/20%%, or 0", text);
        memcpy(enter, text, (size_t)(slash - text));
        enter[slash - text] = 0;
        double leave = 0;
        int rc = dog_units_share(enter, &s->burst_enter, e);
        if (rc >= 0)
                rc = dog_units_share(slash + 1, &leave, e);
        if (rc >= 0 && leave <= 0)
                return dog_err_set(e, -EINVAL, "\"%s\": a burst must be left some time", text);
        if (rc >= 0)
                s->burst_leave = leave;
        return rc;
}

static int key_parse(const struct key *k, const char *text, struct lab_line_settings *s, struct dog_err *e)
{
        static const char *const shapes[] = {"uniform", "normal", "tail"};
        static const char *const orders[] = {"free", "keep"};
        char *field = (char *)s + k->offset;
        int at = 0;
        int rc = 0;
        switch (k->kind) {
        case KEY_TIME:
                return dog_units_time(text, (int64_t *)(void *)field, e);
        case KEY_SHARE:
                return dog_units_share(text, (double *)(void *)field, e);
        case KEY_RATE:
                if (strcmp(text, "none") == 0) {
                        s->rate_bps = 0;
                        return 0;
                }
                return dog_units_rate(text, (double *)(void *)field, e);
        case KEY_SIZE:
                return dog_units_size(text, (uint64_t *)(void *)field, e);
        case KEY_SHAPE:
                rc = word_of(text, shapes, ARRAY_SIZE(shapes), &at, "shape", e);
                s->shape = rc < 0 ? s->shape : (enum lab_shape)at;
                return rc;
        case KEY_ORDER:
                rc = word_of(text, orders, ARRAY_SIZE(orders), &at, "kind of order", e);
                s->keeps_order = rc < 0 ? s->keeps_order : at == 1;
                return rc;
        case KEY_BURST:
                return burst_parse(text, s, e);
        default:
                return dog_err_set(e, -EINVAL, "unknown kind of key");
        }
}

static const struct key *key_find(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (strcmp(keys[i].name, name) == 0)
                        return &keys[i];
        return NULL;
}

/* ---- commands ---- */

/* The link of word 1 and, when word *at says ab or ba, one of its directions; else both. */
static int link_of(struct lab_emu *m, const struct words *w, int *at, struct lab_link **k, int *first,
                   int *last, struct dog_err *e)
{
        *first = 0;
        *last = 1;
        *at = 2;
        if (w->count < 2)
                return dog_err_set(e, -EINVAL, "%s: which link?", w->word[0]);
        *k = lab_emu_link(m, w->word[1]);
        if (!*k)
                return dog_err_set(e, -ENOENT, "%s: there is no link \"%s\"", w->word[0], w->word[1]);
        if (w->count > 2 && (strcmp(w->word[2], "ab") == 0 || strcmp(w->word[2], "ba") == 0)) {
                *first = *last = strcmp(w->word[2], "ba") == 0;
                *at = 3;
        }
        return 0;
}

static int do_set(struct lab_emu *m, const struct words *w, json_t *answer, struct dog_err *e)
{
        struct lab_link *k = NULL;
        struct lab_line_settings s[2];
        int at = 0;
        int first = 0;
        int last = 0;
        (void)answer;
        int rc = link_of(m, w, &at, &k, &first, &last, e);
        if (rc < 0)
                return rc;
        if (at >= w->count || (w->count - at) % 2)
                return dog_err_set(e, -EINVAL, "set %s: keys and values come in pairs", k->name);
        /* All or nothing: a mistake in the last pair changes nothing. */
        for (int i = first; i <= last; i++) {
                s[i] = k->way[i].fixed;
                for (int j = at; j < w->count; j += 2) {
                        const struct key *key = key_find(w->word[j]);
                        if (!key)
                                return dog_err_set(e, -EINVAL,
                                                   "set %s: \"%s\" is not a key; see linkemu --help", k->name,
                                                   w->word[j]);
                        rc = key_parse(key, w->word[j + 1], &s[i], e);
                        if (rc < 0)
                                return dog_err_prefix(e, rc, "set %s: %s", k->name, key->name);
                }
        }
        for (int i = first; i <= last; i++)
                k->way[i].fixed = s[i];
        lab_emu_apply(m, dog_clock_mono_ns());
        return 0;
}

static int do_cut_or_heal(struct lab_emu *m, const struct words *w, struct dog_err *e)
{
        struct lab_link *k = NULL;
        int at = 0;
        int first = 0;
        int last = 0;
        int rc = link_of(m, w, &at, &k, &first, &last, e);
        if (rc < 0)
                return rc;
        if (at != w->count)
                return dog_err_set(e, -EINVAL, "%s %s: \"%s\" is one word too many", w->word[0], k->name,
                                   w->word[at]);
        for (int i = first; i <= last; i++)
                k->way[i].fixed.is_cut = strcmp(w->word[0], "cut") == 0;
        lab_emu_apply(m, dog_clock_mono_ns());
        return 0;
}

static int do_cut(struct lab_emu *m, const struct words *w, json_t *answer, struct dog_err *e)
{
        json_object_set_new(answer, "at_ns", json_integer(dog_clock_mono_ns()));
        return do_cut_or_heal(m, w, e);
}

static int do_trace(struct lab_emu *m, const struct words *w, json_t *answer, struct dog_err *e)
{
        struct lab_link *k = NULL;
        int at = 0;
        int first = 0;
        int last = 0;
        int rc = link_of(m, w, &at, &k, &first, &last, e);
        if (rc < 0)
                return rc;
        if (w->count == 3 && strcmp(w->word[2], "none") == 0) {
                lab_trace_free(&k->trace);
                lab_emu_apply(m, dog_clock_mono_ns());
                return 0;
        }
        if (w->count < 4 || w->count > 5)
                return dog_err_set(e, -EINVAL,
                                   "trace %s: which FILE, which PATH of it, and perhaps which split?",
                                   k->name);
        struct lab_trace t;
        enum lab_split split = LAB_SPLIT_HALF;
        if (w->count == 5 && (rc = lab_split_parse(w->word[4], &split, e)) < 0)
                return dog_err_prefix(e, rc, "trace %s", k->name);
        rc = lab_trace_load(&t, w->word[2], e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "trace %s", k->name);
        int path = lab_trace_find(&t, w->word[3]);
        if (path < 0) {
                lab_trace_free(&t);
                return dog_err_set(e, -ENOENT, "trace %s: %s has no path \"%s\"", k->name, w->word[2],
                                   w->word[3]);
        }
        lab_trace_free(&k->trace);
        k->trace = t;
        k->path = (size_t)path;
        k->split = split;
        json_object_set_new(answer, "length_ms", json_integer(t.length_ms));
        lab_emu_apply(m, dog_clock_mono_ns());
        return 0;
}

static int do_start(struct lab_emu *m, const struct words *w, json_t *answer, struct dog_err *e)
{
        int64_t from_ns = 0;
        bool loops = false;
        for (int i = 1; i < w->count; i++) {
                int rc = 0;
                if (strcmp(w->word[i], "loop") == 0)
                        loops = true;
                else
                        rc = dog_units_time(w->word[i], &from_ns, e);
                if (rc < 0)
                        return dog_err_prefix(e, rc, "start");
        }
        int64_t now_ns = dog_clock_mono_ns();
        m->loops = loops;
        m->trace_zero_ns = now_ns - from_ns;
        m->is_playing = true;
        lab_emu_apply(m, now_ns);
        json_object_set_new(answer, "zero_ns", json_integer(m->trace_zero_ns));
        return 0;
}

static int do_stop(struct lab_emu *m, const struct words *w, json_t *answer, struct dog_err *e)
{
        (void)w;
        (void)e;
        int64_t now_ns = dog_clock_mono_ns();
        m->paused_ms = lab_emu_trace_ms(m, now_ns);
        m->is_playing = false;
        lab_emu_apply(m, now_ns);
        json_object_set_new(answer, "t_ms", json_integer(m->paused_ms));
        return 0;
}

static json_t *times_json(const struct lab_hist *h)
{
        return json_pack("{s:I,s:f,s:f,s:f,s:f}", "count", (json_int_t)h->count, "p50",
                         (double)lab_hist_at(h, 0.5) / 1e3, "p90", (double)lab_hist_at(h, 0.9) / 1e3, "p99",
                         (double)lab_hist_at(h, 0.99) / 1e3, "max", (double)h->max_ns / 1e3);
}

static json_t *way_json(const struct lab_way *w, uint64_t missed)
{
        const struct lab_line_counts *c = lab_line_counts_of(w->line);
        const struct lab_line_settings *s = lab_line_settings_of(w->line);
        uint64_t queued = 0;
        size_t inside = lab_line_inside(w->line, &queued);
        json_t *drops = json_object();
        for (unsigned i = 0; i < LAB_DROP_COUNT; i++)
                json_object_set_new(drops, lab_drop_name((enum lab_drop)i),
                                    json_integer((json_int_t)c->dropped[i]));
        json_object_set_new(drops, "missed", json_integer((json_int_t)missed));
        return json_pack("{s:f,s:f,s:f,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "delay_ms",
                         (double)s->delay_ns / 1e6, "loss", s->loss, "rate_kbps",
                         s->is_stalled ? 0 : s->rate_bps / 1e3, "is_cut", s->is_cut, "in_packets",
                         (json_int_t)c->in_packets, "in_bytes", (json_int_t)c->in_bytes, "out_packets",
                         (json_int_t)c->out_packets, "out_bytes", (json_int_t)c->out_bytes, "duplicated",
                         (json_int_t)c->duplicated, "reordered", (json_int_t)c->reordered, "inside",
                         (json_int_t)inside, "queued_bytes", (json_int_t)queued, "dropped", drops, "late_us",
                         times_json(&w->late), "delay_us", times_json(&w->delay));
}

static int do_stats(struct lab_emu *m, const struct words *w, json_t *answer, struct dog_err *e)
{
        bool resets = w->count == 2 && strcmp(w->word[1], "reset") == 0;
        if (w->count > 1 && !resets)
                return dog_err_set(e, -EINVAL, "stats: \"%s\" is not \"reset\"", w->word[1]);
        lab_emu_missed_update(m);
        int64_t now_ns = dog_clock_mono_ns();
        json_t *links = json_object();
        for (size_t i = 0; i < m->links; i++) {
                struct lab_link *k = m->link[i];
                json_object_set_new(links, k->name,
                                    json_pack("{s:o,s:o}", "ab", way_json(&k->way[0], k->port[0].missed),
                                              "ba", way_json(&k->way[1], k->port[1].missed)));
                for (int j = 0; j < 2 && resets; j++) {
                        *lab_line_counts_of(k->way[j].line) = (struct lab_line_counts){0};
                        k->way[j].late = k->way[j].delay = (struct lab_hist){0};
                        k->port[j].missed = 0;
                }
        }
        json_object_set_new(answer, "now_ns", json_integer(now_ns));
        json_object_set_new(answer, "is_playing", json_boolean(m->is_playing));
        json_object_set_new(answer, "t_ms", json_integer(lab_emu_trace_ms(m, now_ns)));
        json_object_set_new(answer, "links", links);
        return 0;
}

static int do_quit(struct lab_emu *m, const struct words *w, json_t *answer, struct dog_err *e)
{
        (void)w;
        (void)answer;
        (void)e;
        m->is_over = true;
        return 0;
}

static const struct command {
        const char *name, *arguments, *help;
        int (*run)(struct lab_emu *m, const struct words *w, json_t *answer, struct dog_err *e);
} commands[] = {
        {"set", "LINK [ab|ba] KEY VALUE...", "change one or both directions", do_set},
        {"cut", "LINK [ab|ba]", "lose everything, what is on its way too", do_cut},
        {"heal", "LINK [ab|ba]", "end of the cut", do_cut},
        {"trace", "LINK FILE PATH [half|ab|ba] | LINK none", "play a recorded path on top of what is set",
         do_trace},
        {"start", "[FROM] [loop]", "start the trace clock, at FROM (5s); answers zero_ns", do_start},
        {"stop", "", "hold the trace clock", do_stop},
        {"stats", "[reset]", "counters, drops by reason, how late frames left", do_stats},
        {"quit", "", "end the emulator", do_quit},
};

/* Run one line; *answer is a new object, with "error" after a failure. */
static int command_run(struct lab_emu *m, const char *line, json_t **answer, struct dog_err *e)
{
        char text[2048];
        char *rest = NULL;
        struct words w = {0};
        int rc = 0;
        *answer = json_object();
        if (strlen(line) >= sizeof(text))
                rc = dog_err_set(e, -EINVAL, "a command has at most %zu characters", sizeof(text) - 1);
        else
                memcpy(text, line, strlen(line) + 1);
        for (char *word = rc < 0 ? NULL : strtok_r(text, " \t\r\n", &rest); word && rc >= 0;
             word = strtok_r(NULL, " \t\r\n", &rest)) {
                if (w.count == WORDS_MAX)
                        rc = dog_err_set(e, -EINVAL, "a command has at most %d words", WORDS_MAX);
                else
                        w.word[w.count++] = word;
        }
        if (rc >= 0 && w.count == 0)
                rc = dog_err_set(e, -EINVAL, "an empty command");
        if (rc >= 0) {
                rc = dog_err_set(e, -EINVAL, "\"%s\" is not a command; see linkemu --help", w.word[0]);
                for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                        if (strcmp(commands[i].name, w.word[0]) == 0) {
                                rc = commands[i].run(m, &w, *answer, e);
                                break;
                        }
                }
        }
        if (rc < 0)
                json_object_set_new(*answer, "error", json_string(e->text));
        else
                json_object_set_new(*answer, "ok", json_true());
        return rc;
}

/* ---- the control socket ---- */

static int address_make(struct sockaddr_un *a, const char *path, struct dog_err *e)
{
        *a = (struct sockaddr_un){.sun_family = AF_UNIX};
        if (strlen(path) >= sizeof(a->sun_path))
                return dog_err_set(e, -ENAMETOOLONG, "control socket %s: at most %zu characters", path,
                                   sizeof(a->sun_path) - 1);
        memcpy(a->sun_path, path, strlen(path) + 1);
        return 0;
}

static int control_open(const char *path, struct dog_err *e)
{
        struct sockaddr_un a;
        int rc = address_make(&a, path, e);
        if (rc < 0)
                return rc;
        struct stat st;
        /* Only ever remove a socket that nobody listens on any more. */
        if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
                int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
                bool is_taken = probe >= 0 && connect(probe, (struct sockaddr *)&a, sizeof(a)) == 0;
                if (probe >= 0)
                        close(probe);
                if (is_taken)
                        return dog_err_set(e, -EADDRINUSE,
                                           "control socket %s: another emulator listens there", path);
                unlink(path);
        }
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0) {
                rc = -errno;
                if (fd >= 0)
                        close(fd);
                return dog_err_set(e, rc, "cannot listen on control socket %s: %s", path, strerror(-rc));
        }
        return fd;
}

/* One connection, one command, one answer: the sender is local and sends at once. */
static void control_serve(struct lab_emu *m, int listen_fd)
{
        char line[2048];
        struct dog_err e = {0};
        json_t *answer = NULL;
        struct timeval limit = {.tv_usec = 100000};
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
                return;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        ssize_t n = recv(fd, line, sizeof(line) - 1, 0);
        if (n > 0) {
                line[n] = 0;
                command_run(m, line, &answer, &e);
                char *text = json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(9));
                if (text)
                        send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
                free(text);
                json_decref(answer);
        }
        close(fd);
}

/* Connect, for up to five seconds: the emulator may still be starting. */
static int control_connect(const char *path, struct dog_err *e)
{
        struct sockaddr_un a;
        int rc = address_make(&a, path, e);
        if (rc < 0)
                return rc;
        int64_t until_ns = dog_clock_mono_ns() + 5 * DOG_S;
        for (;;) {
                int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
                if (fd < 0)
                        return dog_err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
                if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
                        return fd;
                rc = -errno;
                close(fd);
                if (dog_clock_mono_ns() > until_ns)
                        return dog_err_set(e, rc, "no emulator answers on %s: %s", path, strerror(-rc));
                nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        }
}

static int tell(int argc, char **argv, struct dog_err *e)
{
        static char answer[MESSAGE_MAX];
        char line[2048] = "";
        if (argc < 4)
                return dog_err_set(e, -EINVAL, "usage: linkemu tell SOCKET COMMAND...");
        for (int i = 3; i < argc; i++) {
                if (strlen(line) + strlen(argv[i]) + 2 > sizeof(line))
                        return dog_err_set(e, -EINVAL, "the command is too long");
                strcat(line, argv[i]);
                strcat(line, " ");
        }
        int fd = control_connect(argv[2], e);
        if (fd < 0)
                return fd;
        ssize_t n = -1;
        if (send(fd, line, strlen(line), MSG_NOSIGNAL) > 0)
                n = recv(fd, answer, sizeof(answer) - 1, 0);
        close(fd);
        if (n <= 0)
                return dog_err_set(e, -EIO, "the emulator did not answer");
        answer[n] = 0;
        json_t *j = json_loads(answer, 0, NULL);
        const char *why = json_string_value(json_object_get(j, "error"));
        int rc = why ? dog_err_set(e, -EINVAL, "%s", why) : 0;
        json_decref(j);
        if (rc >= 0)
                puts(answer);
        return rc;
}

/* ---- main ---- */

static volatile sig_atomic_t is_told_to_stop;

static void stop(int signal_number)
{
        (void)signal_number;
        is_told_to_stop = 1;
}

static void help(void)
{
        puts("linkemu [--seed N] [--packets N] [--frame BYTES] [--lead TIME] --control SOCKET\n"
             "        --link NAME=IF_A,IF_B ... [--do COMMAND] ...\n"
             "linkemu tell SOCKET COMMAND...\n\n"
             "  --link     emulate a link between two interfaces of this network namespace\n"
             "  --do       a command to start with; may be given many times\n"
             "  --control  UNIX socket that takes commands (SOCK_SEQPACKET, one a connection)\n"
             "  --seed     of every chance (1)\n"
             "  --packets  in flight over all links, at most (131072)\n"
             "  --frame    longest frame in bytes, Ethernet header included (2048)\n"
             "  --lead     let frames go so much before they are due, against waking late (0us)\n\n"
             "Commands");
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                printf("  %-6s%-42s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
        puts("\nKeys of set");
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                printf("  %-12s%s\n", keys[i].name, keys[i].help);
        puts("\nReasons for drops");
#define HELP_DROP(id, name, why) printf("  %-12s%s\n", name, why);
        LAB_DROPS(HELP_DROP)
#undef HELP_DROP
        puts("  missed      the kernel's, before we could read: this machine is too busy for the test");
}

static int link_option(struct lab_emu *m, const char *text, struct dog_err *e)
{
        char name[32];
        char a[32];
        char b[32];
        int end = 0;
        if (sscanf(text, "%31[^=]=%31[^,],%31s%n", name, a, b, &end) != 3 || text[end])
                return dog_err_set(e, -EINVAL, "--link \"%s\": write NAME=IF_A,IF_B", text);
        return lab_emu_link_add(m, name, a, b, e);
}

static int number_option(const char *what, const char *text, uint64_t low, uint64_t high, uint64_t *value,
                         struct dog_err *e)
{
        char *end = NULL;
        errno = 0;
        *value = strtoull(text, &end, 10);
        if (errno || *end || end == text || text[0] == '-' || *value < low || *value > high)
                return dog_err_set(e, -EINVAL, "--%s \"%s\" is not a number of %llu to %llu", what, text,
                                   (unsigned long long)low, (unsigned long long)high);
        return 0;
}

static int serve(struct lab_emu *m, int control_fd, struct dog_err *e)
{
        while (!m->is_over && !is_told_to_stop) {
                bool is_asked = false;
                int rc = lab_emu_turn(m, control_fd, &is_asked, e);
                if (rc < 0)
                        return rc;
                if (is_asked)
                        control_serve(m, control_fd);
        }
        return 0;
}

enum option_id { OPT_LINK = 1, OPT_DO, OPT_CONTROL, OPT_SEED, OPT_PACKETS, OPT_FRAME, OPT_LEAD, OPT_HELP };
static const struct option options[] = {
        {"link", 1, NULL, OPT_LINK}, {"do", 1, NULL, OPT_DO},           {"control", 1, NULL, OPT_CONTROL},
        {"seed", 1, NULL, OPT_SEED}, {"packets", 1, NULL, OPT_PACKETS}, {"frame", 1, NULL, OPT_FRAME},
        {"lead", 1, NULL, OPT_LEAD}, {"help", 0, NULL, OPT_HELP},       {NULL, 0, NULL, 0}};

/* Settings come before links whatever their order on the line, links before commands: three passes. */
static int options_pass(struct lab_emu *m, int argc, char **argv, int pass, const char **control,
                        struct dog_err *e)
{
        int rc = 0;
        uint64_t v = 0;
        optind = 1;
        opterr = pass == 0;
        for (int id; rc >= 0 && (id = getopt_long(argc, argv, "h", options, NULL)) >= 0;) {
                if (id == OPT_SEED && pass == 0) {
                        rc = number_option("seed", optarg, 0, UINT64_MAX, &m->seed, e);
                } else if (id == OPT_PACKETS && pass == 0) {
                        rc = number_option("packets", optarg, 256, 10000000, &v, e);
                        m->packets_max = v;
                } else if (id == OPT_FRAME && pass == 0) {
                        rc = number_option("frame", optarg, 64, 65536, &v, e);
                        m->frame_max = (uint32_t)v;
                } else if (id == OPT_LEAD && pass == 0) {
                        rc = dog_units_time(optarg, &m->lead_ns, e);
                } else if (id == OPT_CONTROL) {
                        *control = optarg;
                } else if (id == OPT_LINK && pass == 1) {
                        rc = link_option(m, optarg, e);
                } else if (id == OPT_DO && pass == 2) {
                        json_t *answer = NULL;
                        rc = command_run(m, optarg, &answer, e);
                        json_decref(answer);
                } else if (id == '?') {
                        rc = dog_err_set(e, -EINVAL, "see linkemu --help");
                }
        }
        if (rc >= 0 && optind < argc)
                rc = dog_err_set(e, -EINVAL, "\"%s\" is one word too many; see linkemu --help", argv[optind]);
        return rc;
}

static int emulate(int argc, char **argv, struct dog_err *e)
{
        struct lab_emu m;
        const char *control = NULL;
        int fd = -1;
        int rc = lab_emu_init(&m, e);
        for (int pass = 0; pass < 3 && rc >= 0; pass++)
                rc = options_pass(&m, argc, argv, pass, &control, e);
        if (rc >= 0 && (m.links == 0 || !control))
                rc = dog_err_set(e, -EINVAL,
                                 "--control and at least one --link are needed; see linkemu --help");
        if (rc >= 0)
                rc = fd = control_open(control, e);
        if (rc >= 0) {
                rc = serve(&m, fd, e);
                close(fd);
                unlink(control);
        }
        lab_emu_fini(&m);
        return rc;
}

int main(int argc, char **argv)
{
        struct dog_err e = {0};
        struct sigaction on_stop = {.sa_handler = stop};
        sigaction(SIGINT, &on_stop, NULL);
        sigaction(SIGTERM, &on_stop, NULL);
        /* Delivered only while lab_emu_turn sleeps: no wake-up can be lost in between. */
        sigset_t stops;
        sigemptyset(&stops);
        sigaddset(&stops, SIGINT);
        sigaddset(&stops, SIGTERM);
        sigprocmask(SIG_BLOCK, &stops, NULL);
        if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
                help();
                return 0;
        }
        int rc = argc > 1 && strcmp(argv[1], "tell") == 0 ? tell(argc, argv, &e) : emulate(argc, argv, &e);
        if (rc < 0)
                fprintf(stderr, "linkemu: %s\n", e.text);
        return rc >= 0 ? 0 : rc == -EINVAL ? 2 : 1;
}
