/**
 * judge_points --data DIR: forecast.point_mase_ratio, how our point forecasts compare with R's auto.arima
 * (Hyndman and Khandakar, Journal of Statistical Software 27:3, 2008) on windows drawn from recorded paths,
 * and forecast.point_cost_ratio, what one ARIMA fit costs of theirs.
 *
 * A window is a path's last 60 to 300 steps up to a moment drawn with a fixed seed. A series that begins
 * afresh gets them one by one and then says the value 1, 5 and 30 steps later. The error is MASE (Hyndman
 * and Koehler, International Journal of Forecasting 22, 2006): the distance from what was measured over the
 * mean change from one step to the next in the window. The figure is the mean over the families of our MASE
 * (mean of the three horizons) over theirs. Costs are CPU times on this machine, ours and theirs.
 *
 *     judge_points --data DIR --export W                  writes the windows
 *     Rscript tools/reference_points.R W F                R's forecasts of them, with the time of each fit
 *     judge_points --data DIR --reference F               compares; --half 0 or 1: only every other trace
 *     judge_points --data DIR --reference F --record      prints rows for reference_points.inc
 *
 * Without --reference, R's errors are those recorded in reference_points.inc for the very same windows,
 * known by their fingerprint; for other data R has to be asked.
 */
#include "learn/paths.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "models/arima.h"
#include "models/ets.h"
#include "models/series.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
        AHEAD = DOG_SERIES_HORIZONS,
        MODELS = DOG_SERIES_MODEL_COUNT + 1,
        LONGEST = 300,
        SHORTEST = 60,
        FAR = 30
};
static const int points_steps[AHEAD] = {1, 5, FAR};
enum { FAMILIES = 5, WINDOWS_MOST = 928, TRIES = 20000 };

/* Which families, with how many windows; the numbers keep the shares of the data at hand. */
static const struct {
        const char *name;
        int windows;
} points_family[FAMILIES] = {{"svc", 240}, {"mainetcp", 240}, {"pam", 240}, {"maineping", 160}, {"dish", 48}};

struct window {
        int id, family, length, half;
        int64_t step_ns;
        bool is_rtt;
        double scale; /**< mean change from one step to the next */
        double truth[AHEAD];
        float value[LONGEST]; /**< NaN: not measured */
};

struct windows {
        struct window *list;
        int count;
        uint64_t fingerprint; /**< of all values: FNV-1a */
};

/* What R had said when it was asked about the same windows: the mean MASE and seconds of CPU a fit. */
struct recorded {
        uint64_t fingerprint;
        const char *family;
        double arima[AHEAD], ets[AHEAD], arima_s, ets_s;
};
static const struct recorded points_recorded[] = {
#include "reference_points.inc"
};

/* What R said about one window. */
struct reference {
        double arima[AHEAD], ets[AHEAD];
        double arima_s, ets_s;
        bool is_there;
};

static float points_value(const struct dog_path_point *q, bool is_rtt)
{
        return !q->is_seen ? NAN : is_rtt ? q->rtt_ms : q->rate_kbps;
}

/* One window that ends at step `last` of path p; false when it cannot be judged. */
static bool window_cut(struct window *w, const struct dog_path_trace *t, int p, int last)
{
        const struct dog_path_point *row = t->point + (size_t)p * (size_t)t->length;
        int first = last - LONGEST + 1 > 0 ? last - LONGEST + 1 : 0;
        double sum = 0;
        int changes = 0;
        int values = 0;
        w->length = last - first + 1;
        for (int k = 0; k < w->length; k++) {
                w->value[k] = points_value(&row[first + k], w->is_rtt);
                values += !isnan(w->value[k]);
                double d = k > 0 ? fabs((double)w->value[k] - (double)w->value[k - 1]) : (double)NAN;
                if (!isnan(d)) {
                        sum += d;
                        changes++;
                }
        }
        for (int h = 0; h < AHEAD; h++) {
                w->truth[h] = (double)points_value(&row[last + points_steps[h]], w->is_rtt);
                if (isnan(w->truth[h]))
                        return false;
        }
        w->scale = changes ? sum / changes : 0;
        return values >= SHORTEST * 3 / 4 && w->scale > 0;
}

static void points_mix(uint64_t *hash, const void *bytes, size_t size)
{
        for (const unsigned char *at = bytes; size--; at++)
                *hash = (*hash ^ *at) * UINT64_C(0x100000001b3);
}

/* Draws windows of one family. Even and odd traces are the two halves. */
static int windows_draw(struct windows *all, const char *folder, int family, struct dog_err *e)
{
        const char *const only[] = {points_family[family].name, NULL};
        struct dog_path_traces traces;
        struct dog_rng rng;
        int rc = dog_path_traces_load(&traces, folder, only, e);
        if (rc < 0)
                return rc;
        dog_rng_init(&rng, 1 + (uint64_t)family);
        for (int tries = 0, drawn = 0;
             drawn < points_family[family].windows && tries < TRIES && traces.count > 0; tries++) {
                int k = (int)dog_rng_below(&rng, (uint64_t)traces.count);
                const struct dog_path_trace *t = &traces.list[k];
                int p = (int)dog_rng_below(&rng, (uint64_t)t->paths);
                int room = t->length - FAR - SHORTEST;
                struct window w = {.id = all->count,
                                   .family = family,
                                   .half = k % 2,
                                   .step_ns = t->step_ms * DOG_MS,
                                   .is_rtt = !(t->need_kbps > 0)};
                if (room < 1)
                        continue;
                if (!window_cut(&w, t, p, SHORTEST - 1 + (int)dog_rng_below(&rng, (uint64_t)room)))
                        continue;
                points_mix(&all->fingerprint, w.value, (size_t)w.length * sizeof(w.value[0]));
                points_mix(&all->fingerprint, w.truth, sizeof(w.truth));
                all->list[all->count++] = w;
                drawn++;
        }
        dog_path_traces_free(&traces);
        return 0;
}

static int windows_export(const struct windows *all, const char *name, struct dog_err *e)
{
        FILE *f = fopen(name, "w");
        if (!f)
                return dog_err_set(e, -errno, "cannot write %s: %s", name, strerror(errno));
        for (int i = 0; i < all->count; i++) {
                const struct window *w = &all->list[i];
                fprintf(f, "%d %s", w->id, points_family[w->family].name);
                for (int k = 0; k < w->length; k++) {
                        if (isnan(w->value[k]))
                                fputs(" NA", f);
                        else
                                fprintf(f, " %.6g", (double)w->value[k]);
                }
                fputc('\n', f);
        }
        bool is_bad = ferror(f);
        if (fclose(f) != 0 || is_bad)
                return dog_err_set(e, -EIO, "cannot write all of %s: is the disk full?", name);
        return 0;
}

/* A window for which R found no model stays out, for both. */
static int reference_read(struct reference *r, int count, const char *name, struct dog_err *e)
{
        char line[512];
        int seen = 0;
        FILE *f = fopen(name, "r");
        if (!f)
                return dog_err_set(e, -errno, "cannot read %s (%s): tools/reference_points.R writes it", name,
                                   strerror(errno));
        while (fgets(line, sizeof(line), f)) {
                struct reference one = {.is_there = true};
                int id;
                if (sscanf(line, "%d %lf %lf %lf %lf %lf %lf %lf %lf", &id, &one.arima[0], &one.arima[1],
                           &one.arima[2], &one.arima_s, &one.ets[0], &one.ets[1], &one.ets[2],
                           &one.ets_s) != 9 ||
                    id < 0 || id >= count)
                        continue;
                r[id] = one;
                seen++;
        }
        fclose(f);
        return seen ? 0 : dog_err_set(e, -EINVAL, "%s: no forecast in it", name);
}

/* Sums over the windows of one family. */
struct points_sums {
        double ours[MODELS][AHEAD], arima[AHEAD], ets[AHEAD], whole[2][AHEAD];
        double fit_s[2], arima_s, ets_s;
        int windows;
};

/* What is fitted once to all of a window, as R does. */
static void points_whole(struct points_sums *sums, const struct window *w)
{
        struct dog_arima arima;
        struct dog_ets ets;
        float path[FAR];
        int64_t began_ns = dog_clock_cpu_ns();
        dog_arima_fit(&arima, w->value, w->length);
        dog_arima_forecast(&arima, FAR, path);
        int64_t then_ns = dog_clock_cpu_ns();
        dog_ets_fit(&ets, w->value, w->length);
        sums->fit_s[1] += 1e-9 * (double)(dog_clock_cpu_ns() - then_ns);
        sums->fit_s[0] += 1e-9 * (double)(then_ns - began_ns);
        for (int h = 0; h < AHEAD; h++) {
                double by_ets = (double)dog_ets_forecast(&ets, (float)points_steps[h]);
                sums->whole[0][h] += fabs(w->truth[h] - (double)path[points_steps[h] - 1]) / w->scale;
                sums->whole[1][h] += fabs(w->truth[h] - by_ets) / w->scale;
        }
}

static void points_judge(struct points_sums *sums, const struct window *w, const struct reference *r)
{
        struct dog_series_config c =
                dog_series_config_of(w->is_rtt ? DOG_SERIES_OF_LATENCY : DOG_SERIES_OF_RATE);
        struct dog_series s;
        struct dog_forecast f[AHEAD];
        int64_t end_ns = (w->length - 1) * w->step_ns;
        for (int h = 0; h < AHEAD; h++)
                c.horizon_ns[h] = points_steps[h] * w->step_ns;
        dog_series_init(&s, &c);
        for (int k = 0; k < w->length; k++)
                dog_series_update(&s, &c, (double)w->value[k], k * w->step_ns);
        for (int m = 0; m < MODELS; m++) {
                dog_series_forecast_by(&s, &c, end_ns, (enum dog_series_model_id)m, f);
                for (int h = 0; h < AHEAD; h++)
                        sums->ours[m][h] += fabs(w->truth[h] - (double)f[h].mean) / w->scale;
        }
        points_whole(sums, w);
        for (int h = 0; h < AHEAD; h++) {
                sums->arima[h] += fabs(w->truth[h] - r->arima[h]) / w->scale;
                sums->ets[h] += fabs(w->truth[h] - r->ets[h]) / w->scale;
        }
        sums->arima_s += r->arima_s;
        sums->ets_s += r->ets_s;
        sums->windows++;
}

/* R's side of a family from the record; false when these windows were never shown to it. */
static bool points_recall(struct points_sums *sums, uint64_t fingerprint, const char *family)
{
        for (size_t i = 0; i < ARRAY_SIZE(points_recorded); i++) {
                const struct recorded *r = &points_recorded[i];
                if (r->fingerprint != fingerprint || strcmp(r->family, family) != 0)
                        continue;
                for (int h = 0; h < AHEAD; h++) {
                        sums->arima[h] = r->arima[h] * sums->windows;
                        sums->ets[h] = r->ets[h] * sums->windows;
                }
                sums->arima_s = r->arima_s * sums->windows;
                sums->ets_s = r->ets_s * sums->windows;
                return true;
        }
        return false;
}

static double points_line(const char *name, const double sum[AHEAD], int windows, double seconds)
{
        double mean = 0;
        fprintf(stderr, "  %-20s", name);
        for (int h = 0; h < AHEAD; h++) {
                mean += sum[h] / windows / AHEAD;
                fprintf(stderr, " %7.3f", sum[h] / windows);
        }
        fprintf(stderr, "   mean %7.3f", mean);
        if (seconds > 0)
                fprintf(stderr, "   %.3g ms a fit", 1e3 * seconds / windows);
        fputc('\n', stderr);
        return mean;
}

/* One family's table; the ratio of the means, NaN when R's side is unknown. */
static double points_print(const struct points_sums *sums, const char *family, bool has_theirs)
{
        double ours = 0;
        fprintf(stderr, "%s: %d windows; MASE 1, 5, 30 steps ahead\n", family, sums->windows);
        for (int m = 0; m < MODELS; m++)
                ours = points_line(m < DOG_SERIES_MODEL_COUNT ? dog_series_models[m].name : "ensemble",
                                   sums->ours[m], sums->windows, 0);
        points_line("ARIMA, whole window", sums->whole[0], sums->windows, sums->fit_s[0]);
        points_line("ETS, whole window", sums->whole[1], sums->windows, sums->fit_s[1]);
        if (!has_theirs)
                return (double)NAN;
        double theirs = points_line("R auto.arima", sums->arima, sums->windows, sums->arima_s);
        points_line("R ets", sums->ets, sums->windows, sums->ets_s);
        fprintf(stderr, "  ratio of the means   %.3f\n", ours / theirs);
        return ours / theirs;
}

static void points_record(const struct points_sums *s, uint64_t fingerprint, const char *family)
{
        double n = s->windows;
        printf("{UINT64_C(0x%016llx), \"%s\", {%.4f, %.4f, %.4f}, {%.4f, %.4f, %.4f}, %.4f, %.4f},\n",
               (unsigned long long)fingerprint, family, s->arima[0] / n, s->arima[1] / n, s->arima[2] / n,
               s->ets[0] / n, s->ets[1] / n, s->ets[2] / n, s->arima_s / n, s->ets_s / n);
}

static void points_null(const char *why)
{
        fprintf(stderr, "judge_points: %s\n", why);
        printf("{\"figure\":\"forecast.point_mase_ratio\",\"value\":null,\"unit\":\"ratio\",\"why\":\"%s\"}"
               "\n",
               why);
}

struct points_options {
        const char *data, *export, *reference;
        int half; /* -1: both */
        bool is_recording;
};

static int points_compare(const struct windows *all, const struct reference *r,
                          const struct points_options *o)
{
        double ratio = 0;
        double worst = 0;
        double our_s = 0;
        double their_s = 0;
        int families = 0;
        for (int f = 0; f < FAMILIES; f++) {
                struct points_sums sums = {.windows = 0};
                const char *name = points_family[f].name;
                for (int i = 0; i < all->count; i++) {
                        const struct window *w = &all->list[i];
                        if (w->family == f && (o->half < 0 || w->half == o->half) &&
                            (!o->reference || r[i].is_there))
                                points_judge(&sums, w, &r[i]);
                }
                if (!sums.windows)
                        continue;
                bool has_theirs =
                        o->reference || (o->half < 0 && points_recall(&sums, all->fingerprint, name));
                double one = points_print(&sums, name, has_theirs);
                if (o->is_recording)
                        points_record(&sums, all->fingerprint, name);
                if (!has_theirs)
                        continue;
                ratio += one;
                worst = one > worst ? one : worst;
                our_s += sums.fit_s[0];
                their_s += sums.arima_s;
                families++;
        }
        if (o->is_recording)
                return 0;
        if (!families) {
                points_null("R was never shown these windows: --export them, tools/reference_points.R, "
                            "--reference");
                return 0;
        }
        fprintf(stderr,
                "mean ratio over %d families %.3f, the worst %.3f; one ARIMA fit costs 1/%.0f of R's\n",
                families, ratio / families, worst, their_s / our_s);
        printf("{\"figure\":\"forecast.point_mase_ratio\",\"value\":%.4g,\"unit\":\"ratio\",\"worst\":%.4g,"
               "\"cost_ratio\":%.3g,\"families\":%d,\"reference\":\"%s\"}\n",
               ratio / families, worst, our_s / their_s, families,
               o->reference ? "R, run now" : "R, recorded for these windows");
        return 0;
}

static bool points_parse(struct points_options *o, int argc, char **argv)
{
        static const struct option option[] = {
                {"data", required_argument, NULL, 'd'},      {"export", required_argument, NULL, 'e'},
                {"reference", required_argument, NULL, 'r'}, {"half", required_argument, NULL, 'h'},
                {"record", no_argument, NULL, 'w'},          {0}};
        int c;
        *o = (struct points_options){.half = -1};
        while ((c = getopt_long(argc, argv, "", option, NULL)) != -1) {
                if (c == 'd')
                        o->data = optarg;
                else if (c == 'e')
                        o->export = optarg;
                else if (c == 'r')
                        o->reference = optarg;
                else if (c == 'w')
                        o->is_recording = true;
                else if (c == 'h' && (optarg[0] == '0' || optarg[0] == '1') && !optarg[1])
                        o->half = optarg[0] - '0';
                else
                        return false;
        }
        return o->data && optind == argc && (!o->is_recording || o->reference);
}

int main(int argc, char **argv)
{
        struct points_options o;
        struct stat there;
        struct dog_err e = {0};
        if (!points_parse(&o, argc, argv)) {
                fputs("usage: judge_points --data DIR [--export FILE | --reference FILE [--record]] [--half "
                      "0|1]\n",
                      stderr);
                return 2;
        }
        if (stat(o.data, &there) < 0) {
                points_null("no recorded paths: nothing was judged");
                return 0;
        }
        struct windows all = {.list = calloc(WINDOWS_MOST, sizeof(struct window)),
                              .fingerprint = UINT64_C(0xcbf29ce484222325)};
        struct reference *r = calloc(WINDOWS_MOST, sizeof(*r));
        int rc = all.list && r ? 0 : dog_err_set(&e, -ENOMEM, "no memory for %d windows", WINDOWS_MOST);
        for (int f = 0; rc == 0 && f < FAMILIES; f++)
                rc = windows_draw(&all, o.data, f, &e);
        if (rc == 0 && o.export)
                rc = windows_export(&all, o.export, &e);
        else if (rc == 0 && o.reference)
                rc = reference_read(r, all.count, o.reference, &e);
        if (rc == 0 && !o.export)
                rc = points_compare(&all, r, &o);
        if (rc < 0)
                fprintf(stderr, "judge_points: %s\n", e.text);
        free(r);
        free(all.list);
        return rc < 0;
}
