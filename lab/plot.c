#include "lab/plot.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define WIDTH        1000.0
#define LEFT         130.0
#define RIGHT        880.0
#define DELAY_TOP    96.0
#define DELAY_BOTTOM 330.0
#define TICK_ROW     7.0
#define ROW          20.0

/* Colours by Okabe and Ito ("Color Universal Design", 2008), lightened for a dark ground. */
static const struct {
        const char *light, *dark;
} colour[LAB_PLOT_PATHS] = {
        {"#0072b2", "#5cb8f0"}, {"#c77d00", "#f2b33d"}, {"#00815e", "#3fcfa5"}, {"#a94f85", "#e08fbe"},
        {"#7a6f00", "#e6dc4a"}, {"#3d5a80", "#98b4d8"}, {"#a0522d", "#d99a78"}, {"#5f5f5f", "#b5b5b5"},
};

struct canvas {
        FILE *out;
        const struct lab_plot *p;
        double low_ms, high_ms; /* the range of the delay axis */
};

static double at_x(const struct canvas *c, double t_ms)
{
        double share = (t_ms - c->p->from_ms) / (c->p->to_ms - c->p->from_ms);
        return LEFT + (RIGHT - LEFT) * fmin(fmax(share, 0), 1);
}

static double at_y(const struct canvas *c, double delay_ms)
{
        double share = log(fmax(delay_ms, c->low_ms) / c->low_ms) / log(c->high_ms / c->low_ms);
        return DELAY_BOTTOM - (DELAY_BOTTOM - DELAY_TOP) * fmin(share, 1);
}

/* Text of other people: names may hold anything. Control characters have no place in XML. */
static void text_put(FILE *out, const char *text)
{
        for (; *text; text++) {
                switch (*text) {
                case '<':
                        fputs("&lt;", out);
                        break;
                case '>':
                        fputs("&gt;", out);
                        break;
                case '&':
                        fputs("&amp;", out);
                        break;
                case '"':
                        fputs("&quot;", out);
                        break;
                default:
                        fputc((unsigned char)*text < 0x20 ? ' ' : *text, out);
                }
        }
}

static void label(const struct canvas *c, const char *class, const char *anchor, double x, double y,
                  const char *text)
{
        fprintf(c->out, "<text class=\"%s\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, anchor, x, y);
        text_put(c->out, text);
        fputs("</text>\n", c->out);
}

static void rect(const struct canvas *c, const char *class, double x, double y, double w, double h)
{
        fprintf(c->out, "<rect class=\"%s\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\"/>\n", class,
                x, y, w, h);
}

static void line(const struct canvas *c, const char *class, double x1, double y1, double x2, double y2)
{
        fprintf(c->out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1,
                y1, x2, y2);
}

static void style_put(const struct canvas *c)
{
        fputs("<style>\n"
              "text{font:13px system-ui,\"DejaVu Sans\",sans-serif;fill:#1d2733}\n"
              ".ground{fill:#ffffff}.title{font-size:18px;font-weight:600}.dim{fill:#5a6672;font-size:12px}\n"
              ".grid{stroke:#d8dee5;stroke-width:1}.limit{stroke:#b3261e;stroke-width:1;stroke-dasharray:5 "
              "4}\n"
              ".row{fill:#eef1f4}.late{fill:#d68a00}.lost{fill:#b3261e}.bad{fill:#b3261e}\n"
              ".smoke{fill:none;stroke-width:6;opacity:.13;stroke-linejoin:round}\n"
              ".thin{fill:none;stroke-width:1.3;stroke-linejoin:round}\n",
              c->out);
        for (size_t i = 0; i < c->p->paths; i++)
                fprintf(c->out, ".s%zu{stroke:%s}.f%zu{fill:%s}\n", i, colour[i].light, i, colour[i].light);
        fputs("@media (prefers-color-scheme:dark){\n"
              "text{fill:#e6ebf0}.ground{fill:#12181f}.dim{fill:#9aa7b4}.grid{stroke:#2b3541}\n"
              ".limit{stroke:#ff8a80}.row{fill:#1c2530}.late{fill:#ffb74d}.lost,.bad{fill:#ff6e63}\n",
              c->out);
        for (size_t i = 0; i < c->p->paths; i++)
                fprintf(c->out, ".s%zu{stroke:%s}.f%zu{fill:%s}\n", i, colour[i].dark, i, colour[i].dark);
        fputs("}\n</style>\n", c->out);
}

/* The delay axis ends at the largest delay, within reason: a stall of ten seconds must not flatten the rest.
 */
static void range_find(struct canvas *c)
{
        double low = c->p->late_ms;
        double high = c->p->late_ms * 2;
        for (size_t i = 0; i < c->p->paths; i++) {
                for (size_t k = 0; k < c->p->path[i].points; k++) {
                        const struct lab_plot_point *q = &c->p->path[i].point[k];
                        if (isnan(q->delay_ms) || q->t_ms < c->p->from_ms || q->t_ms > c->p->to_ms)
                                continue;
                        low = fmin(low, q->delay_ms);
                        high = fmax(high, q->delay_ms);
                }
        }
        c->low_ms = fmax(low * 0.8, 0.1);
        c->high_ms = fmin(high * 1.15, c->p->late_ms * 20);
}

static void axes_draw(const struct canvas *c)
{
        char text[64];
        static const double mark_ms[] = {0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000};
        for (size_t i = 0; i < sizeof(mark_ms) / sizeof(mark_ms[0]); i++) {
                if (mark_ms[i] < c->low_ms || mark_ms[i] > c->high_ms)
                        continue;
                double y = at_y(c, mark_ms[i]);
                line(c, "grid", LEFT, y, RIGHT, y);
                snprintf(text, sizeof(text), "%g ms", mark_ms[i]);
                label(c, "dim", "end", LEFT - 8, y + 4, text);
        }
        double seconds = (c->p->to_ms - c->p->from_ms) / 1e3;
        double step = pow(10, floor(log10(seconds / 4)));
        step *= seconds / step > 20 ? 5 : seconds / step > 10 ? 2 : 1;
        for (double t = 0; t <= seconds * 1.0001; t += step) {
                double x = at_x(c, c->p->from_ms + t * 1e3);
                line(c, "grid", x, DELAY_TOP, x, DELAY_BOTTOM);
                snprintf(text, sizeof(text), "%g s", t);
                label(c, "dim", "middle", x, DELAY_BOTTOM + 16, text);
        }
        double y = at_y(c, c->p->late_ms);
        line(c, "limit", LEFT, y, RIGHT, y);
        snprintf(text, sizeof(text), "late: %g ms", c->p->late_ms);
        label(c, "dim", "start", RIGHT + 8, y + 4, text);
}

/* One polyline a stretch without gaps; a sample holds until the next one, so it is drawn in steps. */
static void path_line(const struct canvas *c, size_t index, const char *class)
{
        const struct lab_plot_path *q = &c->p->path[index];
        bool is_open = false;
        double last_y = 0;
        for (size_t k = 0; k < q->points; k++) {
                const struct lab_plot_point *s = &q->point[k];
                if (s->t_ms > c->p->to_ms)
                        break;
                if (isnan(s->delay_ms) || s->t_ms < c->p->from_ms) {
                        fputs(is_open ? "\"/>\n" : "", c->out);
                        is_open = false;
                        continue;
                }
                double x = at_x(c, s->t_ms);
                double y = at_y(c, s->delay_ms);
                if (is_open)
                        fprintf(c->out, " %.1f,%.1f", x, last_y);
                else
                        fprintf(c->out, "<polyline class=\"%s s%zu\" points=\"", class, index);
                fprintf(c->out, " %.1f,%.1f", x, y);
                is_open = true;
                last_y = y;
        }
        fputs(is_open ? "\"/>\n" : "", c->out);
}

static void paths_draw(const struct canvas *c)
{
        char class[24];
        double width = fmax((RIGHT - LEFT) * c->p->slot_ms / (c->p->to_ms - c->p->from_ms), 1.5);
        for (size_t i = 0; i < c->p->paths; i++) {
                const struct lab_plot_path *q = &c->p->path[i];
                double y = DELAY_TOP - TICK_ROW * (double)(c->p->paths - i) - 2;
                path_line(c, i, "smoke");
                path_line(c, i, "thin");
                snprintf(class, sizeof(class), "f%zu", i);
                for (size_t k = 0; k < q->points; k++)
                        if (q->point[k].is_lost && q->point[k].t_ms >= c->p->from_ms &&
                            q->point[k].t_ms < c->p->to_ms)
                                rect(c, class, at_x(c, q->point[k].t_ms), y, width, TICK_ROW - 2);
        }
        label(c, "dim", "end", LEFT - 8, DELAY_TOP - 6, "lost");
}

static void legend_draw(const struct canvas *c)
{
        char class[24];
        double x = RIGHT + 8;
        for (size_t i = 0; i < c->p->paths; i++) {
                double y = DELAY_TOP + 14 + 18 * (double)i;
                snprintf(class, sizeof(class), "thin s%zu", i);
                line(c, class, x, y - 4, x + 16, y - 4);
                label(c, "name", "start", x + 22, y, c->p->path[i].name);
        }
}

static double carried_draw(const struct canvas *c, double y)
{
        char class[24];
        if (c->p->carried_count == 0)
                return y;
        label(c, "dim", "start", LEFT, y + 2, "carried by");
        y += 8;
        for (size_t i = 0; i < c->p->paths; i++, y += ROW - 4) {
                rect(c, "row", LEFT, y, RIGHT - LEFT, ROW - 8);
                label(c, "name", "end", LEFT - 8, y + 11, c->p->path[i].name);
                snprintf(class, sizeof(class), "f%zu", i);
                for (size_t k = 0; k < c->p->carried_count; k++) {
                        double until = k + 1 < c->p->carried_count ? c->p->carried[k + 1].t_ms : c->p->to_ms;
                        double x = at_x(c, c->p->carried[k].t_ms);
                        if (c->p->carried[k].paths >> i & 1 && at_x(c, until) > x)
                                rect(c, class, x, y, at_x(c, until) - x, ROW - 8);
                }
        }
        return y + 20;
}

static double run_draw(const struct canvas *c, const struct lab_plot_run *r, double y)
{
        char text[64];
        double expected = 0;
        double bad = 0;
        double width = fmax((RIGHT - LEFT) * c->p->slot_ms / (c->p->to_ms - c->p->from_ms), 1.5);
        rect(c, "row", LEFT, y, RIGHT - LEFT, ROW);
        label(c, "name", "end", LEFT - 8, y + 14, r->name);
        for (size_t k = 0; k < r->marks; k++) {
                const struct lab_plot_mark *m = &r->mark[k];
                if (m->t_ms < c->p->from_ms || m->t_ms >= c->p->to_ms)
                        continue;
                expected += m->expected;
                bad += m->late + m->lost;
                if (m->lost)
                        rect(c, "lost", at_x(c, m->t_ms), y, width, ROW);
                else if (m->late)
                        rect(c, "late", at_x(c, m->t_ms), y + ROW / 2, width, ROW / 2);
        }
        snprintf(text, sizeof(text), "%.2f %% bad", expected > 0 ? 100 * bad / expected : 0.0);
        label(c, bad > 0 ? "bad" : "name", "start", RIGHT + 8, y + 14, expected > 0 ? text : "not run");
        return y + ROW + 6;
}

static void marks_legend(const struct canvas *c, double y)
{
        rect(c, "lost", LEFT, y - 11, 5, 13);
        label(c, "dim", "start", LEFT + 10, y, "packets lost");
        rect(c, "late", LEFT + 100, y - 4, 5, 6);
        label(c, "dim", "start", LEFT + 110, y, "packets late");
}

int lab_plot_write(const struct lab_plot *p, FILE *out, struct dog_err *e)
{
        struct canvas c = {.out = out, .p = p};
        if (!(p->to_ms > p->from_ms) || !(p->late_ms > 0) || !(p->slot_ms > 0))
                return dog_err_set(e, -EINVAL, "nothing to draw: from %g to %g ms, slots of %g ms",
                                   p->from_ms, p->to_ms, p->slot_ms);
        if (p->paths > LAB_PLOT_PATHS || p->runs > LAB_PLOT_RUNS)
                return dog_err_set(e, -EINVAL, "%zu paths and %zu runs are more than %d and %d", p->paths,
                                   p->runs, LAB_PLOT_PATHS, LAB_PLOT_RUNS);
        range_find(&c);
        double height = DELAY_BOTTOM + 40 + (p->carried_count ? 28 + (ROW - 4) * (double)p->paths : 0) +
                        (ROW + 6) * (double)p->runs + 34;
        fprintf(out,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
                "viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\">\n<title>",
                WIDTH, height, WIDTH, height);
        text_put(out, p->title);
        fputs("</title>\n", out);
        style_put(&c);
        rect(&c, "ground", 0, 0, WIDTH, height);
        label(&c, "title", "start", LEFT, 30, p->title);
        label(&c, "dim", "start", LEFT, 50, p->subtitle);
        axes_draw(&c);
        paths_draw(&c);
        legend_draw(&c);
        double y = carried_draw(&c, DELAY_BOTTOM + 40);
        for (size_t i = 0; i < p->runs; i++)
                y = run_draw(&c, &p->run[i], y);
        marks_legend(&c, y + 16);
        fputs("</svg>\n", out);
        if (fflush(out) != 0 || ferror(out))
                return dog_err_set(e, -EIO, "cannot write the picture: %s", strerror(errno));
        return 0;
}
