#include "ctl/demo_view.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LATE_MS = 150, ROW_BYTES = 4096 };

void demo_view_open(struct demo_view *v, FILE *to)
{
        const char *term = getenv("TERM");
        memset(v, 0, sizeof(*v));
        v->out = out_open(to, OUT_TABLE);
        v->is_live = isatty(fileno(to)) && term && strcmp(term, "dumb") != 0;
        v->download_s[1] = v->download_s[2] = (double)NAN;
        for (unsigned p = 0; p < DEMO_PATHS; p++) {
                v->path[p].p_bad = v->path[p].score = (double)NAN;
                for (unsigned i = 0; i < DEMO_SPARKS; i++)
                        v->path[p].spark[i] = NAN;
        }
        /* The other screen: what was on this one is there again afterwards. */
        if (v->is_live)
                fputs("\033[?1049h\033[?25l", to);
}

void demo_view_close(struct demo_view *v)
{
        if (v->is_live)
                fputs("\033[?25h\033[?1049l", v->out.to);
        v->is_live = false;
        fflush(v->out.to);
}

void demo_view_step(struct demo_view *v, const float worst[DEMO_PATHS])
{
        for (unsigned p = 0; p < v->paths; p++) {
                float *spark = v->path[p].spark;
                memmove(spark, spark + 1, (DEMO_SPARKS - 1) * sizeof(*spark));
                spark[DEMO_SPARKS - 1] = worst[p];
        }
        size_t slot = (size_t)(v->at_s * 1000 / DEMO_SLOT_MS);
        if (v->phase == 1)
                for (; slot < DEMO_SLOTS; slot++)
                        v->then[slot] = v->call[1];
}

/* ---- one row, no wider than the terminal ---- */

struct row {
        char text[ROW_BYTES];
        size_t used, width, room; /* columns */
};

/* Escape codes take no column. */
static void row_code(struct row *r, const char *code)
{
        size_t n = strlen(code);
        if (r->used + n + 1 > sizeof(r->text))
                return;
        memcpy(r->text + r->used, code, n + 1);
        r->used += n;
}

static void row_put(struct row *r, const char *text)
{
        while (*text && r->width < r->room && r->used + 5 < sizeof(r->text)) {
                do
                        r->text[r->used++] = *text++;
                while (((unsigned char)*text & 0xc0) == 0x80);
                r->width++;
        }
        r->text[r->used] = 0;
}

static void row_say(struct row *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void row_say(struct row *r, const char *format, ...)
{
        char text[512];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        row_put(r, text);
}

static void row_to(struct row *r, size_t column)
{
        while (r->width < column && r->width < r->room)
                row_put(r, " ");
}

static void row_end(struct demo_view *v, struct row *r)
{
        fprintf(v->out.to, "%s%s\033[K\r\n", r->text, out_colour(&v->out, "plain"));
        r->used = r->width = 0;
        r->text[0] = 0;
}

static const char *colour(const struct demo_view *v, const char *name)
{
        return out_colour(&v->out, name);
}

/* ---- the picture ---- */

static const char *phase_words(const struct demo_view *v)
{
        static char text[96];
        if (v->phase == 0)
                return "getting ready";
        if (v->phase == 2)
                return "2 of 2: with Sundog";
        snprintf(text, sizeof(text), "1 of 2: %s alone, the best single path", v->path[v->best].name);
        return text;
}

static void draw_head(struct demo_view *v, struct row *r)
{
        row_code(r, colour(v, "bold"));
        row_say(r, "Sundog demo  %s", phase_words(v));
        row_code(r, colour(v, "plain"));
        row_end(v, r);
        size_t bar = r->room > 60 ? 40 : r->room > 30 ? r->room - 22 : 8;
        size_t full = v->length_s > 0 ? (size_t)(fmin(1, v->at_s / v->length_s) * (double)bar + 0.5) : 0;
        row_code(r, colour(v, "cyan"));
        for (size_t i = 0; i < bar; i++)
                row_put(r, i < full ? "█" : "░");
        row_code(r, colour(v, "plain"));
        if (v->doing[0])
                row_say(r, "  %s", v->doing);
        else
                row_say(r, "  %.1f of %.0f s", fmin(v->at_s, v->length_s), v->length_s);
        row_end(v, r);
        row_end(v, r);
}

static void draw_sparks(struct demo_view *v, struct row *r, const struct demo_path *p, size_t sparks)
{
        static const char *const bar[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
        for (size_t i = DEMO_SPARKS - sparks; i < DEMO_SPARKS; i++) {
                double d = (double)p->spark[i];
                if (isnan(d)) {
                        row_put(r, " ");
                } else if (d < 0 || d > LATE_MS) {
                        row_code(r, colour(v, d < 0 ? "red" : "yellow"));
                        row_put(r, d < 0 ? "×" : "█");
                        row_code(r, colour(v, "plain"));
                } else {
                        row_put(r, bar[(int)(d / LATE_MS * 6.999)]);
                }
        }
}

static void draw_path(struct demo_view *v, struct row *r, const struct demo_path *p, size_t sparks)
{
        bool is_bad = p->loss >= 0.5 || p->delay_ms > LATE_MS;
        row_code(r, colour(v, p->carries_call || p->copies_call ? "green" : "plain"));
        row_put(r, p->carries_call || p->copies_call ? "▶ " : "  ");
        row_code(r, colour(v, "bold"));
        row_say(r, "%-9.9s", p->name);
        row_code(r, colour(v, "plain"));
        row_code(r, is_bad ? colour(v, p->loss >= 0.5 ? "red" : "yellow") : "");
        row_say(r, "%4.0f ms ", p->delay_ms);
        row_say(r, "%3.0f %%  ", 100 * p->loss);
        row_code(r, colour(v, "plain"));
        draw_sparks(v, r, p, sparks);
        row_to(r, 27 + sparks);
        if (isnan(p->p_bad)) {
                row_say(r, "     -     -  ");
        } else {
                row_code(r, p->p_bad > 0.5 ? colour(v, "red") : p->p_bad > 0.2 ? colour(v, "yellow") : "");
                row_say(r, "%4.0f %%", 100 * p->p_bad);
                row_code(r, colour(v, "plain"));
                row_say(r, " %5.0f  ", p->score);
        }
        row_code(r, colour(v, "green"));
        row_say(r, "%s%s",
                p->carries_call  ? "call"
                : p->copies_call ? "call (copy)"
                                 : "",
                p->carries_download ? p->carries_call || p->copies_call ? ", download" : "download" : "");
        row_end(v, r);
}

static void draw_call(struct demo_view *v, struct row *r, unsigned phase, struct demo_call c, bool is_now)
{
        bool is_bad = c.late + c.lost > 0;
        if (phase == 1)
                row_say(r, "%s alone", v->path[v->best].name);
        else
                row_put(r, "with Sundog");
        row_to(r, 16);
        row_say(r, "%5u ok ", c.ok);
        row_code(r, is_bad ? colour(v, "yellow") : "");
        row_say(r, "%5u late ", c.late);
        row_code(r, is_bad ? colour(v, "red") : "");
        row_say(r, "%5u lost", c.lost);
        row_code(r, colour(v, "plain"));
        row_put(r, "   ");
        if (!is_now)
                row_put(r, "by this instant");
        else if (isnan(v->download_s[phase]))
                row_say(r, "download %s", v->at_s < v->length_s ? "running" : "not finished");
        else
                row_say(r, "download done in %.1f s", v->download_s[phase]);
        row_end(v, r);
}

static struct demo_call call_then(const struct demo_view *v)
{
        size_t slot = (size_t)(v->at_s * 1000 / DEMO_SLOT_MS);
        return v->then[slot < DEMO_SLOTS ? slot : DEMO_SLOTS - 1];
}

unsigned demo_view_columns(const struct demo_view *v)
{
        struct winsize w = {0};
        return ioctl(fileno(v->out.to), TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : 100;
}

static void draw_all(struct demo_view *v)
{
        struct row r = {0};
        /* One column stays free: some terminals wrap when the last one is written. */
        r.room = demo_view_columns(v) - 1U;
        size_t sparks = r.room > 64 ? r.room - 60 : 4;
        sparks = sparks > 56 ? 56 : sparks;
        fputs("\033[H", v->out.to);
        draw_head(v, &r);
        row_code(&r, colour(v, "dim"));
        row_say(&r, "  %-9s%7s %5s  ", "operator", "delay", "loss");
        if (sparks >= 10)
                row_say(&r, "last %zu s", sparks * DEMO_SLOT_MS / 1000);
        row_to(&r, 27 + sparks);
        row_say(&r, "p(bad) score  %s", "carries");
        row_end(v, &r);
        for (unsigned p = 0; p < v->paths; p++)
                draw_path(v, &r, &v->path[p], sparks);
        row_end(v, &r);
        row_code(&r, colour(v, "dim"));
        row_put(&r, "a call, 50 packets a second, late after 150 ms");
        row_end(v, &r);
        if (v->phase >= 1)
                draw_call(v, &r, 1, v->phase == 1 ? v->call[1] : call_then(v), v->phase == 1);
        if (v->phase == 2)
                draw_call(v, &r, 2, v->call[2], true);
        row_end(v, &r);
        if (v->decision[0]) {
                row_code(&r, colour(v, "dim"));
                row_say(&r, "the newest decision for the call (%u so far, with the download's)",
                        v->decisions);
                row_end(v, &r);
                row_put(&r, v->decision);
                row_end(v, &r);
                row_put(&r, v->reason);
                row_end(v, &r);
        }
        fputs("\033[J", v->out.to);
        fflush(v->out.to);
}

/* ---- for a pipe or a log ---- */

static void draw_line(struct demo_view *v)
{
        char line[512] = "";
        if (v->doing[0]) {
                if (strcmp(v->doing, v->told) == 0)
                        return;
                snprintf(v->told, sizeof(v->told), "%s", v->doing);
                fprintf(v->out.to, "%s\n", v->doing);
        } else if (v->phase > 0 && (v->told[0] || v->at_s < v->told_s || v->at_s - v->told_s >= 5)) {
                const struct demo_call *c = &v->call[v->phase];
                for (unsigned p = 0; p < v->paths; p++)
                        if (v->path[p].carries_call || v->path[p].copies_call)
                                snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s%s",
                                         line[0] ? "+" : "", v->path[p].name);
                fprintf(v->out.to, "%s  %4.1f of %.0f s  %u ok, %u late, %u lost  on %s  %s\n",
                        v->phase == 1 ? "alone      " : "with Sundog", v->at_s, v->length_s, c->ok, c->late,
                        c->lost, line[0] ? line : "-", v->phase == 2 ? v->decision : "");
                v->told_s = v->at_s;
                v->told[0] = 0;
        }
        fflush(v->out.to);
}

void demo_view_draw(struct demo_view *v)
{
        if (v->is_live)
                draw_all(v);
        else
                draw_line(v);
}
