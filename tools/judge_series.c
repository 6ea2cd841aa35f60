/**
 * judge_series --data DIR: how well models/series.h forecasts recorded round trips (families that ping)
 * and rates (the others), 1, 5 and 30 steps ahead.
 *
 * The error is MASE (Hyndman and Koehler, International Journal of Forecasting 22, 2006): the mean
 * absolute error over that of the last value one step ahead, per series, averaged over the series.
 */
#include "learn/paths.h"

#include "base/clock.h"
#include "models/series.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { AHEAD = DOG_SERIES_HORIZONS, MODELS = DOG_SERIES_MODEL_COUNT + 1, LEAST = 60, SKIP = 20 };
static const int judge_steps[AHEAD] = {1, 5, 30};

struct judge_sums {
        double mase[AHEAD][MODELS], covered[AHEAD], seen[AHEAD];
        int series;
        int64_t cpu_ns, updates;
};

static double judge_value(const struct dog_path_point *q, bool is_rtt)
{
        return !q->is_seen ? (double)NAN : (double)(is_rtt ? q->rtt_ms : q->rate_kbps);
}

/* One path of one trace; only steps that were measured count. */
static void judge_path(struct judge_sums *sums, const struct dog_path_trace *t, int p, bool is_rtt)
{
        const struct dog_path_point *row = t->point + (size_t)p * (size_t)t->length;
        struct dog_series_config c =
                dog_series_config_of(is_rtt ? DOG_SERIES_OF_LATENCY : DOG_SERIES_OF_RATE);
        struct dog_series s;
        double error[AHEAD][MODELS] = {{0}};
        double count[AHEAD] = {0};
        double naive = 0;
        double naives = 0;
        int values = 0;
        for (int h = 0; h < AHEAD; h++)
                c.horizon_ns[h] = judge_steps[h] * t->step_ms * DOG_MS;
        for (int k = 1; k < t->length; k++) {
                double d = fabs(judge_value(&row[k], is_rtt) - judge_value(&row[k - 1], is_rtt));
                values += judge_value(&row[k], is_rtt) == judge_value(&row[k], is_rtt);
                if (d == d) {
                        naive += d;
                        naives++;
                }
        }
        if (values < LEAST || !(naive > 0))
                return;
        naive /= naives;
        dog_series_init(&s, &c);
        for (int k = 0; k < t->length; k++) {
                int64_t t_ns = k * t->step_ms * DOG_MS;
                struct dog_forecast f[AHEAD];
                int64_t began_ns = dog_clock_cpu_ns();
                dog_series_update(&s, &c, judge_value(&row[k], is_rtt), t_ns);
                dog_series_forecast(&s, &c, t_ns, f);
                sums->cpu_ns += dog_clock_cpu_ns() - began_ns;
                sums->updates++;
                if (s.count < SKIP)
                        continue;
                for (int m = 0; m < MODELS; m++) {
                        dog_series_forecast_by(&s, &c, t_ns, (enum dog_series_model_id)m, f);
                        for (int h = 0; h < AHEAD; h++) {
                                int at = k + judge_steps[h];
                                double truth = at < t->length ? judge_value(&row[at], is_rtt) : (double)NAN;
                                double e = fabs(truth - (double)f[h].mean);
                                if (!(e == e))
                                        continue;
                                error[h][m] += e;
                                if (m == DOG_SERIES_ENSEMBLE) {
                                        count[h]++;
                                        sums->seen[h]++;
                                        sums->covered[h] += e <= (double)f[h].spread;
                                }
                        }
                }
        }
        for (int h = 0; h < AHEAD; h++)
                if (count[h] < 1)
                        return;
        sums->series++;
        for (int h = 0; h < AHEAD; h++)
                for (int m = 0; m < MODELS; m++)
                        sums->mase[h][m] += error[h][m] / count[h] / naive;
}

static void judge_print(const struct judge_sums *sums, const char *family)
{
        fprintf(stderr, "%s: %d series; MASE at 1, 5, 30 steps\n", family, sums->series);
        for (int m = 0; m < MODELS; m++) {
                const char *name = m < DOG_SERIES_MODEL_COUNT ? dog_series_models[m].name : "ensemble";
                fprintf(stderr, "  %-14s", name);
                for (int h = 0; h < AHEAD; h++)
                        fprintf(stderr, " %7.3f", sums->mase[h][m] / sums->series);
                fprintf(stderr, "\n");
        }
        fprintf(stderr, "  one spread holds");
        for (int h = 0; h < AHEAD; h++)
                fprintf(stderr, " %.0f %%", 100 * sums->covered[h] / sums->seen[h]);
        fprintf(stderr, "; %.0f ns per value (update and forecast)\n",
                (double)sums->cpu_ns / (double)sums->updates);
        for (int h = 0; h < AHEAD; h++)
                printf("{\"figure\":\"forecast.%s_point_of_naive_%d\",\"value\":%.4g,\"unit\":\"ratio\"}\n",
                       family, judge_steps[h],
                       sums->mase[h][DOG_SERIES_ENSEMBLE] / sums->mase[h][DOG_SERIES_LAST]);
}

int main(int argc, char **argv)
{
        static const struct option option[] = {
                {"data", required_argument, NULL, 'd'}, {"family", required_argument, NULL, 'f'}, {0}};
        const char *family[8] = {"pam", "svc"};
        const char *data = NULL;
        int families = 0;
        int c;
        while ((c = getopt_long(argc, argv, "", option, NULL)) != -1) {
                if (c == 'd')
                        data = optarg;
                else if (c == 'f' && families < 7) {
                        family[families++] = optarg;
                        family[families] = NULL;
                } else {
                        data = NULL;
                        break;
                }
        }
        if (!data || optind < argc) {
                fputs("usage: judge_series --data DIR [--family NAME]...\n", stderr);
                return 2;
        }
        struct stat there;
        if (stat(data, &there) < 0) {
                fprintf(stderr,
                        "judge_series: %s: the folder of recorded paths is not here; nothing was judged\n",
                        data);
                for (int i = 0; i < 8 && family[i]; i++)
                        printf("{\"figure\":\"forecast.%s_point_of_naive_1\",\"value\":null,"
                               "\"why\":\"no recorded paths\"}\n",
                               family[i]);
                return 0;
        }
        for (int i = 0; i < 8 && family[i]; i++) {
                const char *const only[] = {family[i], NULL};
                struct judge_sums sums = {.series = 0};
                struct dog_err e = {0};
                struct dog_path_traces traces;
                if (dog_path_traces_load(&traces, data, only, &e) < 0) {
                        fprintf(stderr, "judge_series: %s\n", e.text);
                        return 1;
                }
                bool is_rtt = !(traces.list[0].need_kbps > 0);
                for (int k = 0; k < traces.count; k++)
                        for (int p = 0; p < traces.list[k].paths; p++)
                                judge_path(&sums, &traces.list[k], p, is_rtt);
                if (sums.series > 0)
                        judge_print(&sums, family[i]);
                else
                        fprintf(stderr, "%s: no series is long enough\n", family[i]);
                dog_path_traces_free(&traces);
        }
        return 0;
}
