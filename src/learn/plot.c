#include "learn/plot.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* A rectangle of the picture and what its edges mean. */
struct panel {
        double left, top, width, height; /* pixels */
        double x_most, y_least, y_most;  /* x begins at 0 */
        bool is_log;                     /* y */
};

static double panel_x(const struct panel *p, double x)
{
        return p->left + p->width * x / p->x_most;
}

static double panel_y(const struct panel *p, double y)
{
        double share = p->is_log ? (log(y) - log(p->y_least)) / (log(p->y_most) - log(p->y_least))
                                 : (y - p->y_least) / (p->y_most - p->y_least);
        return p->top + p->height * (1 - (share < 0 ? 0 : share));
}

static void plot_text(FILE *to, const char *text)
{
        for (; *text; text++) {
                if (*text == '<')
                        fputs("&lt;", to);
                else if (*text == '>')
                        fputs("&gt;", to);
                else if (*text == '&')
                        fputs("&amp;", to);
                else if ((unsigned char)*text >= 32 || *text == '\t')
                        fputc(*text, to);
        }
}

static void plot_label(FILE *to, const char *class, double x, double y, const char *anchor, const char *text)
{
        fprintf(to, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x, y, anchor);
        plot_text(to, text);
        fputs("</text>\n", to);
}

static void plot_line(FILE *to, const char *class, double x1, double y1, double x2, double y2)
{
        fprintf(to, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", class, x1, y1, x2, y2);
}

/* Light first: what does not know of dark (printers, old viewers) is light. */
static void plot_begin(FILE *to, int width, int height, const char *title)
{
        fprintf(to,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                "font-family=\"system-ui,'DejaVu Sans',sans-serif\" font-size=\"12\">\n<title>",
                width, height, width, height);
        plot_text(to, title);
        fputs("</title>\n<style>\n"
              ".paper{fill:#ffffff}.ink{fill:#1f2328}.soft{fill:#59636e}\n"
              ".head{fill:#1f2328;font-size:15px;font-weight:600}\n"
              ".grid{stroke:#d8dee4;stroke-width:1;fill:none}.axis{stroke:#59636e;stroke-width:1;fill:none}\n"
              ".ideal{stroke:#59636e;stroke-width:1.2;stroke-dasharray:5 4;fill:none}\n"
              ".l0,.l1,.l2,.l3,.l4,.l5{fill:none;stroke-width:2;stroke-linejoin:round}\n"
              ".l0{stroke:#0b62c4}.l1{stroke:#c2410c}.l2{stroke:#0f7b5f}.l3{stroke:#8b3fb5}.l4{stroke:#"
              "8a6d00}"
              ".l5{stroke:#59636e}\n"
              ".f0{fill:#0b62c4}.f1{fill:#c2410c}.f2{fill:#0f7b5f}.f3{fill:#8b3fb5}.f4{fill:#8a6d00}"
              ".f5{fill:#59636e}\n"
              ".dot{fill-opacity:.75}\n"
              "@media (prefers-color-scheme:dark){\n"
              ".paper{fill:#0d1117}.ink,.head{fill:#e6edf3}.soft{fill:#9da7b1}\n"
              ".grid{stroke:#2a313a}.axis,.ideal{stroke:#9da7b1}\n"
              ".l0{stroke:#6cb2ff}.l1{stroke:#ff9d5c}.l2{stroke:#4fd1a5}.l3{stroke:#d2a8ff}.l4{stroke:#"
              "e3c34b}"
              ".l5{stroke:#9da7b1}\n"
              ".f0{fill:#6cb2ff}.f1{fill:#ff9d5c}.f2{fill:#4fd1a5}.f3{fill:#d2a8ff}.f4{fill:#e3c34b}"
              ".f5{fill:#9da7b1}\n"
              "}\n</style>\n",
              to);
        fprintf(to, "<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", width, height);
        plot_label(to, "head", 24, 30, "start", title);
}

static int plot_end(FILE *to)
{
        fputs("</svg>\n", to);
        return fflush(to) != 0 || ferror(to) ? -EIO : 0;
}

static void plot_legend(FILE *to, int i, double x, double y, const char *name)
{
        fprintf(to, "<rect class=\"f%d\" x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"4\" rx=\"2\"/>\n", i, x,
                y - 6);
        plot_label(to, "ink", x + 20, y, "start", name);
}

/* A distance of ticks that people like: 1, 2 or 5 of some power of ten; four to eight of them. */
static double ticks_of(double most)
{
        double power = pow(10, floor(log10(most / 4)));
        double part = most / 4 / power;
        return power * (part >= 5 ? 5 : part >= 2 ? 2 : 1);
}

/* The number of a tick in percent, with as many digits as the distance of ticks needs. */
static void tick_text(char *to, size_t room, double value, double step)
{
        int digits = step >= 0.01 ? 0 : step >= 0.001 ? 1 : 2;
        snprintf(to, room, "%.*f %%", digits, value * 100);
}

static void panel_grid(FILE *to, const struct panel *p, const char *x_title, const char *y_title)
{
        char text[32];
        double step = ticks_of(p->x_most);
        for (int i = 0; i * step <= p->x_most * 1.0001; i++) {
                double x = panel_x(p, i * step);
                plot_line(to, "grid", x, p->top, x, p->top + p->height);
                tick_text(text, sizeof(text), i * step, step);
                plot_label(to, "soft", x, p->top + p->height + 17, "middle", text);
        }
        step = ticks_of(p->y_most - p->y_least);
        for (int i = 0; p->y_least + i * step <= p->y_most * 1.0001; i++) {
                double y = panel_y(p, p->y_least + i * step);
                plot_line(to, i ? "grid" : "axis", p->left, y, p->left + p->width, y);
                tick_text(text, sizeof(text), p->y_least + i * step, step);
                plot_label(to, "soft", p->left - 8, y + 4, "end", text);
        }
        plot_label(to, "soft", p->left + p->width / 2, p->top + p->height + 36, "middle", x_title);
        plot_label(to, "ink", p->left - 44, p->top - 12, "start", y_title);
}

/* ---- reliability ---- */

static double bins_most(const struct dog_plot_bins *series, int count)
{
        double most = 0;
        for (int i = 0; i < count; i++)
                for (int b = 0; b < DOG_BINS; b++) {
                        const struct dog_bin *bin = &series[i].bin[b];
                        most = bin->count && bin->said > most ? bin->said : most;
                        /* One case of one decides no scale. */
                        most = bin->count >= 20 && bin->happened > most ? bin->happened : most;
                }
        double step = most > 0 ? ticks_of(most) : 0.25;
        most = ceil(most / step) * step;
        return most > 0 && most < 1 ? most : 1;
}

static void plot_bins(FILE *to, const struct panel *p, const struct dog_plot_bins *s, int index,
                      double largest)
{
        bool is_first = true;
        fprintf(to, "<path class=\"l%d\" d=\"", index);
        for (int b = 0; b < DOG_BINS; b++) {
                if (s->bin[b].count == 0 || s->bin[b].happened > p->y_most)
                        continue;
                fprintf(to, "%c%.1f %.1f", is_first ? 'M' : 'L', panel_x(p, s->bin[b].said),
                        panel_y(p, s->bin[b].happened));
                is_first = false;
        }
        fputs("\"/>\n", to);
        for (int b = 0; b < DOG_BINS; b++) {
                const struct dog_bin *bin = &s->bin[b];
                if (bin->count == 0 || bin->happened > p->y_most)
                        continue;
                fprintf(to,
                        "<circle class=\"f%d dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>says %.1f %%, "
                        "happens "
                        "%.1f %%, n = %zu</title></circle>\n",
                        index, panel_x(p, bin->said), panel_y(p, bin->happened),
                        3 + 9 * sqrt((double)bin->count / largest), 100 * bin->said, 100 * bin->happened,
                        bin->count);
        }
}

/* Columns of all series beside each other, in the place of what was said. */
static void plot_counts(FILE *to, const struct panel *p, const struct dog_plot_bins *series, int count)
{
        for (double n = 1; n <= p->y_most; n *= 10) {
                char text[32];
                plot_line(to, n > 1 ? "grid" : "axis", p->left, panel_y(p, n), p->left + p->width,
                          panel_y(p, n));
                snprintf(text, sizeof(text), "%.0f", n);
                if (log10(n) < 1 || (int)lround(log10(n)) % 2 == 0)
                        plot_label(to, "soft", p->left - 8, panel_y(p, n) + 4, "end", text);
        }
        for (int i = 0; i < count; i++)
                for (int b = 0; b < DOG_BINS; b++) {
                        const struct dog_bin *bin = &series[i].bin[b];
                        if (bin->count == 0)
                                continue;
                        double y = panel_y(p, (double)bin->count);
                        double floor_y = panel_y(p, p->y_least);
                        fprintf(to,
                                "<rect class=\"f%d\" x=\"%.1f\" y=\"%.1f\" width=\"5\" "
                                "height=\"%.1f\"><title>%zu "
                                "times</title></rect>\n",
                                i, panel_x(p, bin->said) - 3 * count + 6 * i, y, floor_y - y, bin->count);
                }
}

int dog_plot_calibration(FILE *to, const char *title, const struct dog_plot_bins *series, int count)
{
        double largest = 1;
        if (count > DOG_PLOT_SERIES)
                return -E2BIG;
        for (int i = 0; i < count; i++)
                for (int b = 0; b < DOG_BINS; b++)
                        largest = (double)series[i].bin[b].count > largest ? (double)series[i].bin[b].count
                                                                           : largest;
        double most = bins_most(series, count);
        struct panel p = {.left = 76,
                          .top = 112,
                          .width = 420,
                          .height = 400,
                          .x_most = most,
                          .y_least = 0,
                          .y_most = most};
        struct panel below = {.left = 76,
                              .top = 588,
                              .width = 420,
                              .height = 80,
                              .x_most = most,
                              .y_least = 0.8,
                              .y_most = largest * 1.2,
                              .is_log = true};
        plot_begin(to, 540, 700, title);
        plot_label(to, "soft", 24, 50, "start", "on the dashed line a chance means what it says");
        double x = 76;
        for (int i = 0; i < count; i++) {
                plot_legend(to, i, x, 76, series[i].name);
                x += 44 + 7 * (double)strlen(series[i].name);
        }
        panel_grid(to, &p, "said", "happened");
        plot_line(to, "ideal", panel_x(&p, 0), panel_y(&p, 0), panel_x(&p, most), panel_y(&p, most));
        for (int i = 0; i < count; i++)
                plot_bins(to, &p, &series[i], i, largest);
        plot_label(to, "ink", below.left - 44, below.top - 12, "start", "how often it was said");
        plot_counts(to, &below, series, count);
        return plot_end(to);
}

/* ---- trade-off ---- */

enum { CURVE_POINTS = 240 };
/* Copies beyond a third of the traffic are nobody's question. */
#define OVERHEAD_MOST 0.3

static const struct dog_policy_sum *policy_of(const struct dog_plot_tradeoff *s, bool is_steer)
{
        return is_steer ? &s->tradeoff->steer : &s->tradeoff->pairs;
}

static void plot_policy(FILE *to, const struct panel *p, const struct dog_policy_sum *policy, int index)
{
        fprintf(to, "<path class=\"l%d\" d=\"", index);
        for (int i = 0; i <= CURVE_POINTS; i++) {
                double overhead = p->x_most * i / CURVE_POINTS;
                double left = dog_policy_left(policy, overhead);
                fprintf(to, "%c%.1f %.1f", i ? 'L' : 'M', panel_x(p, overhead), panel_y(p, left));
        }
        fputs("\"/>\n", to);
}

static int plot_panel(FILE *to, const struct dog_plot_tradeoff *series, int count, bool is_steer,
                      double left_edge)
{
        double most = 0;
        double floor_share = (double)NAN;
        for (int i = 0; i < count; i++) {
                const struct dog_policy_sum *policy = policy_of(&series[i], is_steer);
                double share = policy->steps > 0 ? policy->bad / policy->steps : 0;
                most = share > most ? share : most;
        }
        if (!(most > 0))
                return -ENODATA;
        const struct dog_tradeoff *first = series[0].tradeoff;
        if (is_steer && first->steer.steps > 0)
                floor_share = first->all_bad / first->steer.steps;
        else if (first->pairs.steps > 0)
                floor_share = first->pairs.bad_both / first->pairs.steps;
        double step = ticks_of(most);
        struct panel p = {.left = left_edge + 76,
                          .top = 112,
                          .width = 380,
                          .height = 320,
                          .x_most = OVERHEAD_MOST,
                          .y_least = 0,
                          .y_most = ceil(most * 1.02 / step) * step};
        panel_grid(to, &p, "share of the traffic that is sent twice",
                   is_steer ? "still broken: steered to the least risk, a copy on the second best"
                            : "still broken: kept on one, a copy on another (all pairs)");
        if (!isnan(floor_share)) {
                double y = panel_y(&p, floor_share);
                plot_line(to, "ideal", p.left, y, p.left + p.width, y);
                plot_label(to, "soft", p.left + p.width, y - 6, "end",
                           is_steer ? "every path is bad" : "both are bad");
        }
        for (int i = 0; i < count; i++)
                if (policy_of(&series[i], is_steer)->steps > 0)
                        plot_policy(to, &p, policy_of(&series[i], is_steer), i);
        return 0;
}

int dog_plot_tradeoff(FILE *to, const char *title, const struct dog_plot_tradeoff *series, int count)
{
        bool has_step = false;
        if (count > DOG_PLOT_SERIES)
                return -E2BIG;
        for (int i = 0; i < count; i++)
                has_step |= series[i].tradeoff->steer.bad > 0 || series[i].tradeoff->pairs.bad > 0;
        if (!has_step)
                return -ENODATA;
        plot_begin(to, 1000, 490, title);
        plot_label(to, "soft", 24, 50, "start",
                   "lower is better; what lies under a dashed line no second path can change");
        double x = 76;
        for (int i = 0; i < count; i++) {
                plot_legend(to, i, x, 76, series[i].name);
                x += 44 + 7 * (double)strlen(series[i].name);
        }
        if (plot_panel(to, series, count, true, 0) < 0)
                plot_label(to, "soft", 76, 140, "start", "nothing was broken while steering");
        if (plot_panel(to, series, count, false, 500) < 0)
                plot_label(to, "soft", 576, 140, "start", "no two alternatives were measured together");
        return plot_end(to);
}
