/**
 * fit_risk_prior --data DIR --out FILE: learn the prior weights of models/risk.h from recorded paths.
 * By default from family pam only, whose licence (CC0) allows a fitted model to be shipped.
 */
#include "risk_fit.h"

#include "base/clock.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No burst of family pam is long enough for 30 s: this stretch of it stands for the long horizon. */
static const int64_t fit_long_ns = 12 * DOG_S;
static const double fit_long_claims_s = 30;

static const char fit_usage[] =
        "usage: fit_risk_prior --data DIR --out FILE [--family NAME]... [--skip-date DATE]... [--ridge X] "
        "[--thin N] [--dump FILE]\n"
        "  --data DIR    folder of recorded paths (traces.csv and TRACE.csv.gz)\n"
        "  --out FILE    where the table goes, as C; - for standard output\n"
        "  --family      may be repeated; pam when left out (only pam may be shipped)\n"
        "  --skip-date   leave a day out; may be repeated\n"
        "  --ridge X     penalty per squared standardised weight (default 3000)\n"
        "  --thin N      also learn from every N-th sample (default 5; 1: no)\n"
        "  --dump FILE   also write the rows (features, outcomes) as CSV\n";

static int fit_dump(const struct risk_rows *rows, const struct dog_path_traces *t, const char *name)
{
        FILE *f = fopen(name, "w");
        if (!f) {
                perror(name);
                return -1;
        }
        fprintf(f, "trace,date,path,t_ms,onset,y0,y1,y2,ynext");
        static const char *const id[] = {
#define X(feature, group, words) #feature,
                DOG_RISK_FEATURE_LIST(X)
#undef X
        };
        for (int i = 0; i < DOG_RISK_FEATURES; i++)
                fprintf(f, ",%s", id[i]);
        fputc('\n', f);
        for (size_t r = 0; r < rows->count; r++) {
                const struct risk_row *row = &rows->list[r];
                const struct dog_path_trace *one = &t->list[row->trace];
                fprintf(f, "%s,%s,%s,%lld,%d,%d,%d,%d,%d", one->name, one->date, one->path[row->path],
                        (long long)(row->step * one->step_ms), row->is_onset, row->outcome[0],
                        row->outcome[1], row->outcome[2], row->outcome[3]);
                for (int i = 0; i < DOG_RISK_FEATURES; i++)
                        fprintf(f, ",%.4g", (double)row->feature[i]);
                fputc('\n', f);
        }
        return fclose(f);
}

/* P(bad in 30 s) from P(bad in 12 s): as if the rest went on at the same, but half as independent, rate. */
static void fit_stretch(struct risk_prior *prior)
{
        double stretch = (double)fit_long_ns * 1e-9;
        double base = prior->base[DOG_RISK_H2];
        double longer = 1 - pow(1 - base, pow(fit_long_claims_s / stretch, 0.75));
        prior->weight[DOG_RISK_H2][DOG_RISK_F_ONE] += log(longer / (1 - longer)) - log(base / (1 - base));
}

static int fit_write(const struct risk_prior *prior, const char *family, double ridge, int thin,
                     const char *name)
{
        static const char *const target[DOG_RISK_TARGETS] = {"1 s", "5 s", "30 s (from 12 s)", "next sample"};
        static const char *const id[] = {
#define X(feature, group, words) #feature,
                DOG_RISK_FEATURE_LIST(X)
#undef X
        };
        FILE *f = strcmp(name, "-") == 0 ? stdout : fopen(name, "w");
        if (!f) {
                perror(name);
                return -1;
        }
        fprintf(f, "/*\n * Made by tools/fit_risk_prior; do not edit. Prior weights of models/risk.h.\n");
        if (strcmp(family, "pam") == 0)
                fprintf(f, " * Learned from family pam: ping, 5 a second, of several mobile operators while "
                           "driving\n"
                           " * (\"A Large-Scale Study of the Potential of Multi-Carrier Access in the 5G "
                           "Era\", PAM 2025,\n"
                           " * data set NUWiNS/pam2025-multi-carrier-dataset at 782b712, CC0-1.0),\n");
        else
                fprintf(f,
                        " * Learned from %s: for judging only. NOT TO BE SHIPPED unless its licence allows "
                        "it;\n",
                        family);
        fprintf(f,
                " * every sample and every %d-th alone; ridge %g.\n"
                " * No burst lasts 30 s beyond a moment: that column is learned at 12 s and its level "
                "raised.\n",
                thin, ridge);
        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                fprintf(f, " * %s: %zu moments, %.2f %% bad.\n", target[g], prior->rows[g],
                        100 * prior->base[g]);
        fprintf(f,
                " */\n/* clang-format off */\n"
                "static const float risk_prior_horizon_s[DOG_RISK_HORIZONS] = {1.0F, 5.0F, %.1fF};\n",
                fit_long_claims_s);
        fprintf(f, "static const float risk_prior_mean[DOG_RISK_FEATURES] = {\n");
        for (int i = 0; i < DOG_RISK_FEATURES; i++)
                fprintf(f, "        [DOG_RISK_F_%s] = %.6fF,\n", id[i], prior->mean[i]);
        fprintf(f, "};\nstatic const float risk_prior_weight[DOG_RISK_TARGETS][DOG_RISK_FEATURES] = {\n");
        for (int g = 0; g < DOG_RISK_TARGETS; g++) {
                fprintf(f, "        { /* %s */\n", target[g]);
                for (int i = 0; i < DOG_RISK_FEATURES; i++)
                        fprintf(f, "                [DOG_RISK_F_%s] = %.6fF,\n", id[i], prior->weight[g][i]);
                fprintf(f, "        },\n");
        }
        fprintf(f, "};\n/* clang-format on */\n");
        return f == stdout ? fflush(f) : fclose(f);
}

int main(int argc, char **argv)
{
        static const struct option option[] = {{"data", required_argument, NULL, 'd'},
                                               {"out", required_argument, NULL, 'o'},
                                               {"family", required_argument, NULL, 'f'},
                                               {"skip-date", required_argument, NULL, 's'},
                                               {"ridge", required_argument, NULL, 'r'},
                                               {"thin", required_argument, NULL, 't'},
                                               {"dump", required_argument, NULL, 'u'},
                                               {"help", no_argument, NULL, 'h'},
                                               {0}};
        const char *data = NULL;
        const char *to = NULL;
        const char *dump = NULL;
        const char *family[8] = {0};
        const char *skip[32] = {0};
        int families = 0;
        int skips = 0;
        int thin = 5;
        struct risk_fit_options o = {
                .skip_dates = skip, .horizon_ns = {DOG_S, 5 * DOG_S, fit_long_ns}, .ridge = 3000};
        struct dog_err e = {0};
        struct dog_path_traces traces;
        struct risk_rows rows;
        struct risk_prior prior;
        int c;
        while ((c = getopt_long(argc, argv, "", option, NULL)) != -1) {
                if (c == 'd')
                        data = optarg;
                else if (c == 'o')
                        to = optarg;
                else if (c == 'u')
                        dump = optarg;
                else if (c == 'f' && families < 7)
                        family[families++] = optarg;
                else if (c == 's' && skips < 31)
                        skip[skips++] = optarg;
                else if (c == 't')
                        thin = atoi(optarg);
                else if (c == 'r')
                        o.ridge = strtod(optarg, NULL);
                else {
                        fputs(fit_usage, c == 'h' ? stdout : stderr);
                        return c == 'h' ? 0 : 2;
                }
        }
        if (!data || !to || optind < argc || thin < 1 || !(o.ridge >= 0)) {
                fputs(fit_usage, stderr);
                return 2;
        }
        if (families == 0)
                family[0] = "pam";
        if (dog_path_traces_load(&traces, data, family, &e) < 0 || (thin > 1 && dog_path_traces_thin(&traces, thin, &e) < 0) ||
            risk_rows_make(&rows, &traces, &o, &e) < 0) {
                fprintf(stderr, "fit_risk_prior: %s\n", e.text);
                return 1;
        }
        fprintf(stderr, "%d traces, %ld samples, %zu moments; the kept median judges %ld samples otherwise\n",
                traces.count, traces.points, rows.count, traces.differing);
        int rc = dump ? fit_dump(&rows, &traces, dump) : 0;
        if (rc == 0 && risk_fit(&prior, &rows, &traces, &o, &e) < 0) {
                fprintf(stderr, "fit_risk_prior: %s\n", e.text);
                rc = 1;
        }
        if (rc == 0) {
                fit_stretch(&prior);
                rc = fit_write(&prior, families > 1 ? "several families" : family[0], o.ridge, thin, to);
        }
        risk_rows_free(&rows);
        dog_path_traces_free(&traces);
        return rc ? 1 : 0;
}
