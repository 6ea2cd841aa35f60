/**
 * judge_risk --data DIR [--out FILE]: replay recorded paths through models/risk.h and say how good it was.
 *
 * Every trace is played once, forwards, in the order of the file; what was learned from earlier traces
 * of the family stays in the shared weights, as it would in a running system. With --cross-validate the
 * starting weights of a day are fitted on the family's other days (for judging only, never shipped).
 * The table goes to standard error, one JSON object a figure to standard output; the predictions, with
 * --out, as CSV: trace,t_ms,path,horizon_s,p.
 */
#include "risk_fit.h"

#include "base/array.h"
#include "base/clock.h"
#include "models/brier.h"
#include "models/ensemble.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char judge_usage[] =
        "usage: judge_risk --data DIR [--family NAME]... [--out FILE] [--cross-validate] [--cold] [--next]\n"
        "                  [--power X] [--learn-rate X] [--ridge X] [--no-calibration] [--ensemble]\n"
        "  --cross-validate  start each day from weights fitted on the family's other days\n"
        "  --cold            no learning: the starting weights as they are\n"
        "  --next            write the chance for the next sample in the place of the 1 s horizon\n"
        "  --ensemble        what the daemon uses: mixed with persistence and the base rate "
        "(models/ensemble.h)\n"
        "  --power X         write p to the power X (0.5: steering needs a finer scale near 0)\n";

/* One stated chance and what came of it. */
struct judge_point {
        float p;
        bool is_bad;
};

struct judge_points {
        struct judge_point *list;
        size_t count, room;
};

struct judge {
        struct dog_risk_config config;
        struct dog_risk_model model;
        FILE *out;
        double power;
        bool is_next, is_mixed;
        struct dog_ensemble_config mix;
        double weight[DOG_ENSEMBLE_TARGETS][DOG_EXPERTS]; /* sums over steps */
        struct judge_points onset[DOG_RISK_HORIZONS];
        double square[DOG_RISK_TARGETS], square_persistence[DOG_RISK_TARGETS];
        uint64_t graded[DOG_RISK_TARGETS];
        struct dog_brier brier;
        uint32_t disarmed;
        uint64_t steps;
        int64_t cpu_ns;
};

static int judge_add(struct judge_points *to, float p, bool is_bad)
{
        if (to->count == to->room) {
                size_t room = to->room ? 2 * to->room : 4096;
                struct judge_point *more = realloc(to->list, room * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                to->list = more;
                to->room = room;
        }
        to->list[to->count++] = (struct judge_point){.p = p, .is_bad = is_bad};
        return 0;
}

static int judge_compare(const void *a, const void *b)
{
        float x = ((const struct judge_point *)a)->p;
        float y = ((const struct judge_point *)b)->p;
        return (x > y) - (x < y);
}

/* Area under the ROC curve by rank sums, ties at half. Sorts the points. */
static double judge_auroc(struct judge_points *points)
{
        double ranks = 0;
        double bad = 0;
        qsort(points->list, points->count, sizeof(*points->list), judge_compare);
        for (size_t i = 0; i < points->count;) {
                size_t end = i;
                double bad_here = 0;
                while (end < points->count && !(points->list[end].p > points->list[i].p))
                        bad_here += points->list[end++].is_bad;
                ranks += bad_here * (double)(i + 1 + end) / 2;
                bad += bad_here;
                i = end;
        }
        double good = (double)points->count - bad;
        return bad > 0 && good > 0 ? (ranks - bad * (bad + 1) / 2) / (bad * good) : (double)NAN;
}

/* Expected calibration error over 15 bins, and the base rate. */
static double judge_ece(const struct judge_points *points, double *base)
{
        double said[15] = {0};
        double happened[15] = {0};
        double error = 0;
        *base = 0;
        for (size_t i = 0; i < points->count; i++) {
                int bin = (int)(points->list[i].p * 15);
                bin = bin < 15 ? bin : 14;
                said[bin] += (double)points->list[i].p;
                happened[bin] += points->list[i].is_bad;
                *base += points->list[i].is_bad;
        }
        for (int b = 0; b < 15; b++)
                error += fabs(said[b] - happened[b]);
        *base /= points->count ? (double)points->count : 1;
        return points->count ? error / (double)points->count : (double)NAN;
}

static void judge_outcomes(struct judge *j, const struct dog_risk_outcome *o, int count)
{
        for (int i = 0; i < count; i++) {
                double y = o[i].is_bad ? 1 : 0;
                double d = (double)o[i].p - y;
                double e = (double)o[i].p_persistence - y;
                j->square[o[i].target] += d * d;
                j->square_persistence[o[i].target] += e * e;
                j->graded[o[i].target]++;
                if (o[i].target == DOG_RISK_H0)
                        j->disarmed += dog_brier_learn(&j->brier, (double)o[i].p, (double)o[i].p_persistence,
                                                       o[i].is_bad) == DOG_BRIER_DISARMED;
        }
}

static int8_t judge_truth(const struct dog_path_trace *t, int p, int k, int64_t horizon_ns)
{
        const struct dog_path_point *row = t->point + (size_t)p * (size_t)t->length;
        int steps = (int)(horizon_ns / (t->step_ms * DOG_MS));
        int seen = 0;
        bool is_bad = false;
        if (k + steps >= t->length || steps < 1 || t->length - 1 < 3 * steps)
                return -1;
        for (int i = k + 1; i <= k + steps; i++) {
                seen += row[i].is_seen;
                is_bad |= row[i].is_bad;
        }
        return seen * 10 < steps * 8 ? -1 : (is_bad ? 1 : 0);
}

static int judge_report(struct judge *j, const struct dog_path_trace *t, int p, int k,
                        const struct dog_risk_belief *b, const struct dog_risk *r)
{
        bool is_onset = r->bad_ns == INT64_MIN || b->t_ns - r->bad_ns >= DOG_S;
        for (int h = 0; h < DOG_RISK_HORIZONS; h++) {
                double said = (double)b->p[h == 0 && j->is_next ? DOG_RISK_NEXT : h];
                int8_t truth = judge_truth(t, p, k, j->config.horizon_ns[h]);
                if (j->out)
                        fprintf(j->out, "%s,%lld,%s,%lld,%.7g\n", t->name, (long long)(k * t->step_ms),
                                t->path[p], (long long)(j->config.horizon_ns[h] / DOG_S),
                                pow(said, j->power));
                if (truth >= 0 && is_onset && b->t_ns - r->first_ns >= 2 * DOG_S &&
                    judge_add(&j->onset[h], b->p[h], truth) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* Outcomes of the mixture in the place of the logistic's. */
static int judge_mixed(const struct dog_ensemble_news *news, struct dog_risk_outcome *out)
{
        for (int i = 0; i < news->outcomes; i++)
                out[i] = (struct dog_risk_outcome){.t_ns = news->outcome[i].t_ns,
                                                   .p = news->outcome[i].p,
                                                   .p_persistence = news->outcome[i].p_persistence,
                                                   .is_bad = news->outcome[i].is_bad,
                                                   .target = news->outcome[i].target};
        return news->outcomes;
}

static void judge_mix(struct judge *j, struct dog_ensemble *mix, int64_t t_ns, struct dog_risk_belief *b)
{
        float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS];
        struct dog_ensemble_belief m;
        for (int h = 0; h < DOG_ENSEMBLE_TARGETS; h++) {
                said[DOG_EXPERT_LOGISTIC][h] = b->p[h];
                said[DOG_EXPERT_TREES][h] = NAN;
        }
        dog_ensemble_step(mix, &j->mix, said, t_ns, &m);
        for (int h = 0; h < DOG_ENSEMBLE_TARGETS; h++) {
                b->p[h] = m.p[h];
                for (int i = 0; i < DOG_EXPERTS; i++)
                        j->weight[h][i] += (double)m.weight[h][i];
        }
}

static int judge_trace(struct judge *j, const struct dog_path_trace *t)
{
        struct dog_risk member[DOG_PATH_TRACE_PATHS];
        struct dog_risk_belief belief[DOG_PATH_TRACE_PATHS];
        struct dog_ensemble mix[DOG_PATH_TRACE_PATHS];
        struct dog_ensemble_news news;
        for (int p = 0; p < t->paths; p++) {
                dog_risk_init(&member[p]);
                dog_ensemble_init(&mix[p]);
        }
        for (int k = 0; k < t->length; k++) {
                struct dog_risk_peers peers = {0};
                struct dog_risk_outcome outcome[DOG_PATH_TRACE_PATHS][DOG_RISK_PENDING + 1];
                int outcomes[DOG_PATH_TRACE_PATHS] = {0};
                int64_t t_ns = k * t->step_ms * DOG_MS;
                int64_t began_ns = dog_clock_cpu_ns();
                for (int p = 0; p < t->paths; p++) {
                        const struct dog_path_point *q = &t->point[p * t->length + k];
                        struct dog_risk_sample s = {
                                .t_ns = t_ns, .margin = q->margin, .is_bad = q->is_bad_seen};
                        if (q->is_seen)
                                outcomes[p] =
                                        dog_risk_observe(&member[p], &j->model, &j->config, &s, outcome[p]);
                        if (q->is_seen && j->is_mixed) {
                                dog_ensemble_observe(&mix[p], &j->mix, t_ns, q->is_bad_seen, &news);
                                outcomes[p] = judge_mixed(&news, outcome[p]);
                        }
                        dog_risk_peers_add(&peers, &member[p]);
                }
                for (int p = 0; p < t->paths; p++)
                        if (t->point[p * t->length + k].is_seen) {
                                dog_risk_step(&member[p], &j->model, &j->config, &peers, t_ns, &belief[p]);
                                if (j->is_mixed)
                                        judge_mix(j, &mix[p], t_ns, &belief[p]);
                                j->steps++;
                        }
                j->cpu_ns += dog_clock_cpu_ns() - began_ns;
                for (int p = 0; p < t->paths; p++) {
                        judge_outcomes(j, outcome[p], outcomes[p]);
                        if (t->point[p * t->length + k].is_seen &&
                            judge_report(j, t, p, k, &belief[p], &member[p]) < 0)
                                return -ENOMEM;
                }
        }
        return 0;
}

static void judge_figure(const char *family, const char *name, double value)
{
        if (value == value)
                printf("{\"figure\":\"forecast.%s_%s\",\"value\":%.5g}\n", family, name, value);
        else
                printf("{\"figure\":\"forecast.%s_%s\",\"value\":null,\"why\":\"no outcome of both "
                       "kinds\"}\n",
                       family, name);
}

static void judge_print(struct judge *j, const char *family)
{
        static const char *const target[DOG_RISK_TARGETS] = {"1 s", "5 s", "30 s", "next"};
        static const char *const auroc_name[] = {"onset_auroc_1s", "onset_auroc_5s", "onset_auroc_30s"};
        static const char *const ece_name[] = {"onset_ece_1s", "onset_ece_5s", "onset_ece_30s"};
        for (int h = 0; h < DOG_RISK_HORIZONS; h++) {
                double base;
                double ece = judge_ece(&j->onset[h], &base);
                double auroc = judge_auroc(&j->onset[h]);
                fprintf(stderr, "%-9s %-4s onset: n %7zu  base %.3f  AUROC %.4f  ECE %.4f\n", family,
                        target[h], j->onset[h].count, base, auroc, ece);
                judge_figure(family, auroc_name[h], auroc);
                judge_figure(family, ece_name[h], ece);
                free(j->onset[h].list);
        }
        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                if (j->graded[g])
                        fprintf(stderr, "%-9s %-4s graded online: n %7llu  Brier %.4f  persistence %.4f\n",
                                family, target[g], (unsigned long long)j->graded[g],
                                j->square[g] / (double)j->graded[g],
                                j->square_persistence[g] / (double)j->graded[g]);
        for (int h = 0; h < DOG_ENSEMBLE_TARGETS && j->is_mixed && j->steps; h++)
                for (int i = 0; i < DOG_EXPERTS; i++)
                        fprintf(stderr, "%s%s %.0f %%%s", i ? ", " : family,
                                i ? dog_expert_name(i) : " weights: online logistic",
                                100 * j->weight[h][i] / (double)j->steps, i == DOG_EXPERTS - 1 ? "\n" : "");
        double step_ns = j->steps ? (double)j->cpu_ns / (double)j->steps : (double)NAN;
        fprintf(stderr,
                "%-9s disarmed %u times at 1 s; %.0f ns per path and step (observe, learn, believe)\n",
                family, j->disarmed, step_ns);
        judge_figure(family, "step_us", step_ns * 1e-3);
}

static int judge_family(struct judge *j, const char *data, const char *family, double ridge, bool is_cross,
                        struct dog_err *e)
{
        const char *const only[] = {family, NULL};
        struct dog_path_traces traces;
        struct risk_rows rows = {0};
        const char *fitted_for = "";
        struct risk_fit_options o = {.horizon_ns = {DOG_S, 5 * DOG_S, 30 * DOG_S}, .ridge = ridge};
        int rc = dog_path_traces_load(&traces, data, only, e);
        if (rc < 0)
                return rc;
        /* A family of short bursts has no outcome at 30 s: the fit needs some. */
        for (int i = 0, longest = 0; i < traces.count; i++) {
                int seconds = (int)((int64_t)traces.list[i].length * traces.list[i].step_ms / 1000);
                longest = seconds > longest ? seconds : longest;
                if (i == traces.count - 1 && longest < 90)
                        o.horizon_ns[DOG_RISK_H2] = 12 * DOG_S;
        }
        dog_risk_model_init(&j->model, &j->config);
        if (is_cross)
                rc = risk_rows_make(&rows, &traces, &o, e);
        for (int i = 0; rc == 0 && i < traces.count; i++) {
                const struct dog_path_trace *t = &traces.list[i];
                if (is_cross && strcmp(fitted_for, t->date) != 0) {
                        const char *skip[] = {t->date, NULL};
                        struct risk_prior prior;
                        o.skip_dates = skip;
                        rc = risk_fit(&prior, &rows, &traces, &o, e);
                        if (rc < 0)
                                break;
                        dog_risk_model_init(&j->model, &j->config);
                        risk_prior_use(&prior, &j->model);
                        fitted_for = t->date;
                }
                if (judge_trace(j, t) < 0)
                        rc = dog_err_set(e, -ENOMEM, "%s: out of memory", t->name);
        }
        if (rc == 0)
                judge_print(j, family);
        risk_rows_free(&rows);
        dog_path_traces_free(&traces);
        return rc;
}

int main(int argc, char **argv)
{
        static const struct option option[] = {
                {"data", required_argument, NULL, 'd'},     {"family", required_argument, NULL, 'f'},
                {"out", required_argument, NULL, 'o'},      {"cross-validate", no_argument, NULL, 'x'},
                {"cold", no_argument, NULL, 'c'},           {"next", no_argument, NULL, 'n'},
                {"power", required_argument, NULL, 'p'},    {"learn-rate", required_argument, NULL, 'l'},
                {"pull", required_argument, NULL, 'u'},     {"ridge", required_argument, NULL, 'r'},
                {"no-calibration", no_argument, NULL, 'q'}, {"ensemble", no_argument, NULL, 'e'},
                {"rate", required_argument, NULL, 'a'},     {"share", required_argument, NULL, 's'},
                {"help", no_argument, NULL, 'h'},           {0}};
        struct judge options = {
                .config = dog_risk_config_default(), .mix = dog_ensemble_config_default(), .power = 1};
        const char *family[8] = {"pam", "svc"};
        const char *data = NULL;
        double ridge = 100;
        bool is_cross = false;
        bool is_cold = false;
        int families = 0;
        int c;
        while ((c = getopt_long(argc, argv, "", option, NULL)) != -1) {
                switch (c) {
                case 'd':
                        data = optarg;
                        break;
                case 'f':
                        if (families < 7) {
                                family[families++] = optarg;
                                family[families] = NULL;
                        }
                        break;
                case 'o':
                        options.out = fopen(optarg, "w");
                        if (!options.out) {
                                perror(optarg);
                                return 1;
                        }
                        fputs("trace,t_ms,path,horizon_s,p\n", options.out);
                        break;
                case 'x':
                        is_cross = true;
                        break;
                case 'c':
                        is_cold = true;
                        break;
                case 'n':
                        options.is_next = true;
                        break;
                case 'p':
                        options.power = strtod(optarg, NULL);
                        break;
                case 'l':
                        options.config.learn_rate = strtof(optarg, NULL);
                        break;
                case 'u':
                        options.config.prior_pull = strtof(optarg, NULL);
                        break;
                case 'r':
                        ridge = strtod(optarg, NULL);
                        break;
                case 'e':
                        options.is_mixed = true;
                        options.config.is_calibrating = false; /* the mixture is, once */
                        break;
                case 'a':
                        options.mix.rate = strtof(optarg, NULL);
                        break;
                case 's':
                        options.mix.share = strtof(optarg, NULL);
                        break;
                case 'q':
                        options.config.is_calibrating = false;
                        break;
                default:
                        fputs(judge_usage, c == 'h' ? stdout : stderr);
                        return c == 'h' ? 0 : 2;
                }
        }
        if (!data || optind < argc) {
                fputs(judge_usage, stderr);
                return 2;
        }
        if (is_cold) {
                options.config.learn_rate = 0;
                options.config.is_calibrating = false;
        }
        struct stat there;
        if (stat(data, &there) < 0) {
                fprintf(stderr,
                        "judge_risk: %s: the folder of recorded paths is not here; nothing was judged\n",
                        data);
                for (int i = 0; i < 8 && family[i]; i++)
                        printf("{\"figure\":\"forecast.%s_onset_auroc_1s\",\"value\":null,"
                               "\"why\":\"no recorded paths\"}\n",
                               family[i]);
                return 0;
        }
        for (int i = 0; i < 8 && family[i]; i++) {
                struct judge j = options;
                struct dog_err e = {0};
                dog_brier_init(&j.brier);
                if (judge_family(&j, data, family[i], ridge, is_cross, &e) < 0) {
                        fprintf(stderr, "judge_risk: %s\n", e.text);
                        return 1;
                }
        }
        if (options.out && fclose(options.out) != 0) {
                perror("judge_risk: writing the predictions");
                return 1;
        }
        return 0;
}
