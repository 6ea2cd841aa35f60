/**
 * drawhold: the picture of one failure, from series of `holdclient --series`: what all connections together
 * received, and how many of them lived, before and after the moment at which something was broken.
 *
 *     drawhold --run 'plain NAT=plain.csv' --run 'Sundog=sundog.csv' --event 'kill -9' --title '...' --svg
 * out.svg
 *
 * Prints it for a terminal as well, a line of blocks for every run; --columns (76) is how wide.
 */
#include "base/array.h"
#include "base/err.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS   4
#define POINTS 4096

#define WIDTH  900.0
#define LEFT   80.0
#define RIGHT  860.0
#define TOP    80.0
#define MIDDLE 300.0
#define LOWER  340.0
#define BOTTOM 440.0

/* Colours by Okabe and Ito ("Color Universal Design", 2008), lightened for a dark ground. */
static const struct {
        const char *light, *dark;
} colour[RUNS] = {
        {"#b3261e", "#ff8a80"}, {"#0072b2", "#5cb8f0"}, {"#00815e", "#3fcfa5"}, {"#c77d00", "#f2b33d"}};

static const char *const block[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

struct point {
        double t_ms, bytes;
        unsigned alive;
};

struct run {
        char name[64];
        struct point point[POINTS];
        size_t points;
};

struct picture {
        const char *title, *event, *svg;
        int columns;
        struct run run[RUNS];
        size_t runs;
        double from_ms, to_ms, slot_ms;
        double most_bytes; /* in one slot */
        unsigned most_alive;
};

static int run_read(struct picture *p, const char *text, struct dog_err *e)
{
        char row[128];
        const char *equals = strrchr(text, '=');
        size_t n = equals ? (size_t)(equals - text) : 0;
        struct run *r = &p->run[p->runs];
        if (p->runs == RUNS || n == 0 || n >= sizeof(r->name))
                return dog_err_set(e, -EINVAL, "--run \"%s\": NAME=FILE, at most %d of them", text, RUNS);
        memcpy(r->name, text, n);
        FILE *in = fopen(equals + 1, "re");
        if (!in)
                return dog_err_set(e, -errno, "cannot open %s: %s", equals + 1, strerror(errno));
        while (r->points < POINTS && fgets(row, sizeof(row), in)) {
                struct point *q = &r->point[r->points];
                if (sscanf(row, "%lf,%lf,%u", &q->t_ms, &q->bytes, &q->alive) == 3)
                        r->points++;
        }
        fclose(in);
        if (r->points < 2)
                return dog_err_set(e, -EINVAL, "%s is no series of holdclient", equals + 1);
        p->runs++;
        return 0;
}

/* All runs on the same axes. */
static void ranges_find(struct picture *p)
{
        p->slot_ms = p->run[0].point[1].t_ms - p->run[0].point[0].t_ms;
        for (size_t i = 0; i < p->runs; i++) {
                const struct run *r = &p->run[i];
                p->from_ms = fmin(p->from_ms, r->point[0].t_ms);
                p->to_ms = fmax(p->to_ms, r->point[r->points - 1].t_ms + p->slot_ms);
                for (size_t k = 0; k < r->points; k++) {
                        p->most_bytes = fmax(p->most_bytes, r->point[k].bytes);
                        if (r->point[k].alive > p->most_alive)
                                p->most_alive = r->point[k].alive;
                }
        }
}

/* ---- terminal -------------------------------------------------------------------------------- */

/* The mean of what lies in one column; below 0 when the run has nothing there. */
static double column_bytes(const struct run *r, double from_ms, double to_ms)
{
        double sum = 0;
        unsigned n = 0;
        for (size_t k = 0; k < r->points; k++) {
                if (r->point[k].t_ms < from_ms || r->point[k].t_ms >= to_ms)
                        continue;
                sum += r->point[k].bytes;
                n++;
        }
        return n ? sum / n : -1;
}

static void terminal_draw(const struct picture *p)
{
        int columns = (int)fmin(p->columns, ceil((p->to_ms - p->from_ms) / p->slot_ms));
        double step = (p->to_ms - p->from_ms) / columns;
        int at = (int)(-p->from_ms / step);
        for (size_t i = 0; i < p->runs; i++) {
                const struct run *r = &p->run[i];
                printf("  %s\n  ", r->name);
                for (int x = 0; x < columns; x++) {
                        double v = column_bytes(r, p->from_ms + x * step, p->from_ms + (x + 1) * step);
                        int level = v <= 0 ? 0 : 1 + (int)(v / p->most_bytes * 7.49);
                        fputs(block[level > 8 ? 8 : level], stdout);
                }
                putchar('\n');
        }
        printf("  %*s^ %s\n", at, "", p->event);
}

/* ---- SVG --------------------------------------------------------------------------------------- */

static double at_x(const struct picture *p, double t_ms)
{
        return LEFT + (RIGHT - LEFT) * (t_ms - p->from_ms) / (p->to_ms - p->from_ms);
}

static void text_put(FILE *out, const char *text)
{
        for (; *text; text++) {
                if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
                        fprintf(out, "&#%d;", *text);
                else
                        fputc((unsigned char)*text < 0x20 ? ' ' : *text, out);
        }
}

static void label(FILE *out, const char *class, const char *anchor, double x, double y, const char *text)
{
        fprintf(out, "<text class=\"%s\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, anchor, x, y);
        text_put(out, text);
        fputs("</text>\n", out);
}

static void line(FILE *out, const char *class, double x1, double y1, double x2, double y2)
{
        fprintf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1,
                x2, y2);
}

static void style_put(FILE *out)
{
        fputs("<style>\n"
              "text{font:13px system-ui,\"DejaVu Sans\",sans-serif;fill:#1d2733}\n"
              ".ground{fill:#ffffff}.title{font-size:18px;font-weight:600}.dim{fill:#5a6672;font-size:12px}\n"
              ".grid{stroke:#d8dee5;stroke-width:1}.event{stroke:#5a6672;stroke-width:1;stroke-dasharray:5 "
              "4}\n"
              ".thin{fill:none;stroke-width:1.6;stroke-linejoin:round}\n",
              out);
        for (size_t i = 0; i < RUNS; i++)
                fprintf(out, ".s%zu{stroke:%s}\n", i, colour[i].light);
        fputs("@media (prefers-color-scheme:dark){\n"
              "text{fill:#e6ebf0}.ground{fill:#12181f}.dim{fill:#9aa7b4}.grid{stroke:#2b3541}.event{stroke:#"
              "9aa7b4}\n",
              out);
        for (size_t i = 0; i < RUNS; i++)
                fprintf(out, ".s%zu{stroke:%s}\n", i, colour[i].dark);
        fputs("}\n</style>\n", out);
}

/* A round step that gives four to ten lines. */
static double step_of(double range)
{
        double step = pow(10, floor(log10(range / 4)));
        return step * (range / step > 20 ? 5 : range / step > 10 ? 2 : 1);
}

static void axes_draw(const struct picture *p, FILE *out)
{
        char text[64];
        double most = p->most_bytes / p->slot_ms / 1e3; /* MB/s */
        for (double v = 0; v <= most; v += step_of(most)) {
                double y = MIDDLE - (MIDDLE - TOP) * v / (most * 1.05);
                line(out, "grid", LEFT, y, RIGHT, y);
                snprintf(text, sizeof(text), "%g MB/s", v);
                label(out, "dim", "end", LEFT - 8, y + 4, text);
        }
        for (unsigned i = 0; i <= 2; i++) {
                double y = BOTTOM - (BOTTOM - LOWER) * i / 2;
                line(out, "grid", LEFT, y, RIGHT, y);
                snprintf(text, sizeof(text), "%u", p->most_alive * i / 2);
                label(out, "dim", "end", LEFT - 8, y + 4, text);
        }
        label(out, "dim", "start", LEFT, LOWER - 8, "connections that live");
        double step = step_of((p->to_ms - p->from_ms) / 1e3) * 1e3;
        for (double t = ceil(p->from_ms / step) * step; t <= p->to_ms; t += step) {
                snprintf(text, sizeof(text), "%g s", t / 1e3);
                label(out, "dim", "middle", at_x(p, t), BOTTOM + 18, text);
        }
        line(out, "event", at_x(p, 0), TOP, at_x(p, 0), BOTTOM);
        label(out, "dim", "middle", at_x(p, 0), TOP - 6, p->event);
}

static void run_draw(const struct picture *p, size_t i, FILE *out)
{
        const struct run *r = &p->run[i];
        fprintf(out, "<polyline class=\"thin s%zu\" points=\"", i);
        /* The last slot is cut short by the end of the run: it would look like a fall. */
        for (size_t k = 0; k + 1 < r->points; k++)
                fprintf(out, "%.1f,%.1f ", at_x(p, r->point[k].t_ms + p->slot_ms / 2),
                        MIDDLE - (MIDDLE - TOP) * r->point[k].bytes / (p->most_bytes * 1.05));
        fprintf(out, "\"/>\n<polyline class=\"thin s%zu\" points=\"", i);
        for (size_t k = 0; k < r->points; k++)
                fprintf(out, "%.1f,%.1f ", at_x(p, r->point[k].t_ms + p->slot_ms),
                        BOTTOM - (BOTTOM - LOWER) * r->point[k].alive / p->most_alive);
        fputs("\"/>\n", out);
        double x = LEFT + 220 * (double)i;
        char class[16];
        snprintf(class, sizeof(class), "thin s%zu", i);
        line(out, class, x, 52, x + 18, 52);
        label(out, "name", "start", x + 24, 56, r->name);
}

static int svg_write(const struct picture *p, struct dog_err *e)
{
        FILE *out = fopen(p->svg, "we");
        if (!out)
                return dog_err_set(e, -errno, "cannot write %s: %s", p->svg, strerror(errno));
        fprintf(out,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
                "viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\">\n<title>",
                WIDTH, BOTTOM + 40, WIDTH, BOTTOM + 40);
        text_put(out, p->title);
        fputs("</title>\n", out);
        style_put(out);
        fprintf(out, "<rect class=\"ground\" x=\"0\" y=\"0\" width=\"%.0f\" height=\"%.0f\"/>\n", WIDTH,
                BOTTOM + 40);
        label(out, "title", "start", LEFT, 30, p->title);
        axes_draw(p, out);
        for (size_t i = 0; i < p->runs; i++)
                run_draw(p, i, out);
        fputs("</svg>\n", out);
        int is_bad = ferror(out);
        if (fclose(out) != 0 || is_bad)
                return dog_err_set(e, -EIO, "cannot write %s", p->svg);
        return 0;
}

static const struct option options[] = {{"run", 1, NULL, 'r'},     {"event", 1, NULL, 'e'},
                                        {"title", 1, NULL, 't'},   {"svg", 1, NULL, 's'},
                                        {"columns", 1, NULL, 'c'}, {NULL, 0, NULL, 0}};

static int draw(struct picture *p, int argc, char **argv, struct dog_err *e)
{
        int rc = 0;
        p->title = "One failure";
        p->event = "broken here";
        p->columns = 76;
        for (int id; rc >= 0 && (id = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
                if (id == 'r')
                        rc = run_read(p, optarg, e);
                else if (id == 'e')
                        p->event = optarg;
                else if (id == 't')
                        p->title = optarg;
                else if (id == 's')
                        p->svg = optarg;
                else if (id != 'c' || (p->columns = atoi(optarg)) < 10 || p->columns > 400)
                        rc = dog_err_set(e, -EINVAL, "see the head of lab/drawhold.c for the options");
        }
        if (rc >= 0 && (p->runs == 0 || optind < argc))
                rc = dog_err_set(e, -EINVAL,
                                 "usage: drawhold --run NAME=SERIES... [--event TEXT] [--title TEXT] "
                                 "[--svg FILE] [--columns N]");
        if (rc < 0)
                return rc;
        ranges_find(p);
        if (p->most_bytes <= 0 || p->most_alive == 0)
                return dog_err_set(e, -EINVAL, "nothing was received: there is nothing to draw");
        terminal_draw(p);
        return p->svg ? svg_write(p, e) : 0;
}

int main(int argc, char **argv)
{
        static struct picture p;
        struct dog_err e = {0};
        int rc = draw(&p, argc, argv, &e);
        if (rc < 0)
                fprintf(stderr, "drawhold: %s\n", e.text);
        return rc >= 0 ? 0 : rc == -EINVAL ? 2 : 1;
}
