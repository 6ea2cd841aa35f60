/* sundog backtest of paths: see learn/backtest_paths.h for what is measured. */
#include "ctl/backtest.h"

#include "base/array.h"
#include "base/clock.h"
#include "ctl/learn_data.h"
#include "ctl/progress.h"
#include "daemon/say.h"
#include "daemon/trees.h"
#include "learn/path_train.h"
#include "learn/plot.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FAMILIES = 32 };

/* One forecaster in the race. */
struct entrant {
        char name[256];
        struct dog_forecaster forecaster;
        struct dog_model *file;           /* NULL: not of a file */
        struct dog_path_trained *trained; /* of that file */
};

struct race {
        struct ctl *ctl;
        const struct backtest_args *args;
        struct entrant entrant[DOG_PLOT_SERIES];
        int entrants;
        const char *family[FAMILIES];
        int families;
        struct dog_path_traces traces;
        struct dog_path_report report[FAMILIES][DOG_PLOT_SERIES];
        FILE *predictions, *policy;
        struct progress progress;
        int runs, runs_done;
};

/* ---- who runs ---- */

static int entrant_read(struct entrant *n, const char *name)
{
        struct stat there;
        struct dog_err e = {0};
        if (stat(name, &there) < 0)
                return ctl_fail(EXIT_FAILED,
                                "--model %s: %s, and it is not default, logistic, persistence or ewma", name,
                                strerror(errno));
        int rc = dog_model_read(&n->file, name, &e);
        if (rc == 0) {
                rc = dog_path_trained_new(&n->trained, n->file, &e);
                if (rc < 0)
                        dog_err_prefix(&e, rc, "%s", name);
        }
        if (rc < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        n->forecaster = (struct dog_forecaster){.kind = DOG_FORECASTER_MODEL,
                                                .model = dog_path_trained_model(n->trained)};
        const char *base = strrchr(name, '/');
        snprintf(n->name, sizeof(n->name), "%s", base ? base + 1 : name);
        return EXIT_FINE;
}

static int race_enter(struct race *r, const char *name)
{
        struct entrant *n = &r->entrant[r->entrants];
        if (r->entrants == DOG_PLOT_SERIES)
                return ctl_fail(EXIT_USAGE, "--model: at most %d at once", DOG_PLOT_SERIES);
        *n = (struct entrant){.forecaster = {.kind = DOG_FORECASTER_COUNT}};
        snprintf(n->name, sizeof(n->name), "%s", name);
        for (int k = DOG_FORECASTER_LOGISTIC; k < DOG_FORECASTER_COUNT; k++)
                if (strcmp(name, dog_forecaster_word((enum dog_forecaster_kind)k)) == 0)
                        n->forecaster.kind = (enum dog_forecaster_kind)k;
        r->entrants++;
        if (strcmp(name, "default") == 0) {
                /* What the daemon starts with: the model that is installed, or the logistic where there is
                 * none. */
                char installed[PATH_MAX];
                trees_installed("path.model", installed, sizeof(installed));
                if (*installed) {
                        int code = entrant_read(n, installed);
                        snprintf(n->name, sizeof(n->name), "%s", name);
                        return code;
                }
                n->forecaster.kind = DOG_FORECASTER_LOGISTIC;
        }
        return n->forecaster.kind == DOG_FORECASTER_COUNT ? entrant_read(n, name) : EXIT_FINE;
}

static int race_enter_all(struct race *r)
{
        char list[4096];
        char *save = NULL;
        int code = EXIT_FINE;
        if ((size_t)snprintf(list, sizeof(list), "%s", r->args->model) >= sizeof(list))
                return ctl_fail(EXIT_USAGE, "--model: too long a list");
        for (char *name = strtok_r(list, ",", &save); name && code == EXIT_FINE;
             name = strtok_r(NULL, ",", &save))
                code = race_enter(r, name);
        if (code == EXIT_FINE && r->entrants == 0)
                code = ctl_fail(EXIT_USAGE, "--model names nothing");
        return code;
}

static int race_families(struct race *r)
{
        for (int i = 0; i < r->traces.count; i++) {
                int f = 0;
                while (f < r->families && strcmp(r->family[f], r->traces.list[i].family) != 0)
                        f++;
                if (f == FAMILIES)
                        return ctl_fail(EXIT_FAILED, "%s: more than %d families; name one with --family",
                                        r->args->data ? r->args->data : r->args->store, FAMILIES);
                if (f == r->families)
                        r->family[r->families++] = r->traces.list[i].family;
        }
        return EXIT_FINE;
}

/* ---- the run ---- */

static void race_write(FILE *to, const struct dog_path_trace *t, const double *const p[DOG_JUDGE_HORIZONS])
{
        static const int horizon_s[DOG_JUDGE_HORIZONS] = {1, 5, 30};
        for (int k = 0; k < t->length; k++)
                for (int path = 0; path < t->paths; path++)
                        for (int h = 0; h < DOG_JUDGE_HORIZONS; h++) {
                                double said = p[h][path * t->length + k];
                                if (!isnan(said))
                                        fprintf(to, "%s,%lld,%s,%d,%.7g\n", t->name,
                                                (long long)(k * t->step_ms), t->path[path], horizon_s[h],
                                                said);
                        }
}

static int race_each(void *data, const struct dog_path_trace *t, const struct dog_trace_said *said, int done,
                     int of, struct dog_err *e)
{
        struct race *r = data;
        const double *p[DOG_JUDGE_HORIZONS] = {said->p[DOG_RISK_H0], said->p[DOG_RISK_H1],
                                               said->p[DOG_RISK_H2]};
        char note[160];
        if (r->predictions)
                race_write(r->predictions, t, p);
        if (r->policy) {
                size_t points = (size_t)t->paths * (size_t)t->length;
                double *steer = malloc(points * sizeof(*steer));
                if (!steer)
                        return dog_err_set(e, -ENOMEM, "%s: out of memory", t->name);
                const double *by = strcmp(r->args->steer_by, "next") == 0 ? said->p[DOG_RISK_NEXT] : p[0];
                for (size_t i = 0; i < points; i++)
                        steer[i] = pow(by[i], r->args->power);
                p[0] = steer;
                race_write(r->policy, t, p);
                free(steer);
        }
        snprintf(note, sizeof(note), "%s, %s", r->entrant[r->runs_done % r->entrants].name, t->name);
        progress_show(&r->progress, r->runs_done + (double)done / of, r->runs, note);
        return 0;
}

static int race_run(struct race *r)
{
        struct dog_backtest_options o = dog_backtest_default();
        struct dog_err e = {0};
        FILE *predictions = r->predictions;
        FILE *policy = r->policy;
        int rc = 0;
        o.is_next = strcmp(r->args->steer_by, "next") == 0;
        o.power = r->args->power;
        o.hysteresis = r->args->hysteresis;
        o.delay_ms = r->args->delay_ns / DOG_MS;
        o.each = race_each;
        o.each_data = r;
        r->runs = r->families * r->entrants;
        r->progress = progress_begin("backtest");
        for (int f = 0; f < r->families && rc >= 0; f++)
                for (int n = 0; n < r->entrants && rc >= 0; n++) {
                        /* The file holds what the first model said. */
                        r->predictions = n == 0 ? predictions : NULL;
                        r->policy = n == 0 ? policy : NULL;
                        o.forecaster = r->entrant[n].forecaster;
                        rc = dog_backtest_paths(&r->traces, r->family[f], &o, &r->report[f][n], &e);
                        r->runs_done++;
                }
        progress_end(&r->progress);
        r->predictions = predictions;
        r->policy = policy;
        return rc < 0 ? ctl_fail(EXIT_FAILED, "%s", e.text) : EXIT_FINE;
}

/* ---- the report ---- */

static json_t *row_score(const char *family, const char *model, int64_t horizon_ms, const char *of,
                         const struct dog_path_row *row)
{
        const struct dog_scores *s = &row->scores;
        json_t *bins = json_array();
        for (int b = 0; b < DOG_BINS; b++)
                if (s->bin[b].count)
                        json_array_append_new(bins, json_pack("{s:f, s:f, s:I}", "said", s->bin[b].said,
                                                              "happened", s->bin[b].happened, "n",
                                                              (json_int_t)s->bin[b].count));
        return json_pack(
                "{s:s, s:s, s:f, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o}",
                "family", family, "model", model, "horizon_s", (double)horizon_ms / 1000, "of", of, "n",
                (json_int_t)s->count, "base", say_real(s->base), "auroc", say_real(s->auroc), "ap",
                say_real(s->ap), "brier", say_real(s->brier), "skill", say_real(s->skill), "ece",
                say_real(s->ece), "recall_50", say_real(s->recall_50), "threshold_50",
                say_real(s->threshold_50), "episodes", (json_int_t)row->episodes, "detected",
                say_real(row->detected), "lead_s", say_real(row->lead_s), "false_alarms_h",
                say_real(row->false_alarms_h), "reliability", bins);
}

static json_t *curve_points(const struct dog_policy_sum *p)
{
        static const double overhead[] = {0, .01, .02, .05, .1, .2, .3, .5, 1};
        json_t *points = json_array();
        for (size_t i = 0; p->steps > 0 && i < ARRAY_SIZE(overhead); i++)
                json_array_append_new(points, json_pack("{s:f, s:o}", "overhead", overhead[i], "left",
                                                        say_real(dog_policy_left(p, overhead[i]))));
        return points;
}

static json_t *row_worth(const char *family, const char *model, const struct dog_tradeoff *t)
{
        double none = (double)NAN;
        bool has_steps = t->steer.steps > 0;
        json_t *row = json_pack("{s:s, s:s, s:I}", "family", family, "model", model, "steps",
                                (json_int_t)t->steer.steps);
        static const struct {
                const char *key;
                double overhead;
        } left[] = {{"left_0", 0}, {"left_1", .01}, {"left_5", .05}, {"left_10", .1}, {"left_20", .2}};
        for (size_t i = 0; i < ARRAY_SIZE(left); i++)
                json_object_set_new(row, left[i].key, say_real(dog_policy_left(&t->steer, left[i].overhead)));
        const struct {
                const char *key;
                double value;
        } more[] = {
                {"floor", has_steps ? t->all_bad / t->steer.steps : none},
                {"blind", has_steps ? t->any_bad / t->steer.steps : none},
                {"switches_step", has_steps ? t->switches / t->steer.steps : none},
                {"switches_h", t->switch_hours > 0 ? t->switches / t->switch_hours : none},
                {"pairs_o90", t->pairs.steps > 0 ? dog_curve_overhead(&t->pairs.curve, .9) : none},
                {"pairs_o99", t->pairs.steps > 0 ? dog_curve_overhead(&t->pairs.curve, .99) : none},
                {"joint_o90", t->joint.steps > 0 ? dog_curve_overhead(&t->joint.curve, .9) : none},
        };
        for (size_t i = 0; i < ARRAY_SIZE(more); i++)
                json_object_set_new(row, more[i].key, say_real(more[i].value));
        json_object_set_new(row, "curve", curve_points(&t->steer));
        json_object_set_new(row, "pairs_curve", curve_points(&t->pairs));
        return row;
}

static const struct out_column score_column[] = {
        {.key = "family"},
        {.key = "model"},
        {.key = "horizon_s", .title = "AHEAD", .unit = "s", .is_right = true},
        {.key = "of"},
        {.key = "n", .is_right = true, .spare = 7},
        {.key = "base", .unit = "%", .digits = 1, .is_right = true},
        {.key = "auroc", .digits = 4, .is_right = true},
        {.key = "ap", .digits = 4, .is_right = true, .spare = 2},
        {.key = "brier", .digits = 4, .is_right = true, .spare = 6},
        {.key = "skill", .digits = 3, .is_right = true},
        {.key = "ece", .digits = 4, .is_right = true},
        {.key = "recall_50", .title = "RECALL", .unit = "%", .digits = 1, .is_right = true, .spare = 3},
        {.key = "lead_s", .title = "LEAD", .unit = "s", .digits = 1, .is_right = true},
        {.key = "false_alarms_h", .title = "FALSE/h", .digits = 0, .is_right = true, .spare = 4},
        {.key = NULL}};
static const struct out_column worth_column[] = {
        {.key = "family"},
        {.key = "model"},
        {.key = "blind", .title = "BLIND", .unit = "%", .digits = 2, .is_right = true},
        {.key = "left_0", .title = "V(0)", .unit = "%", .digits = 3, .is_right = true},
        {.key = "left_5", .title = "V(.05)", .unit = "%", .digits = 3, .is_right = true},
        {.key = "left_10", .title = "V(.10)", .unit = "%", .digits = 3, .is_right = true},
        {.key = "left_20", .title = "V(.20)", .unit = "%", .digits = 3, .is_right = true, .spare = 4},
        {.key = "floor", .title = "FLOOR", .unit = "%", .digits = 3, .is_right = true},
        {.key = "switches_h", .title = "MOVES/h", .digits = 0, .is_right = true, .spare = 3},
        {.key = "pairs_o90", .title = "PAIRS o90", .digits = 3, .is_right = true},
        {.key = "joint_o90", .title = "JOINT o90", .digits = 3, .is_right = true, .spare = 5},
        {.key = NULL}};

static void race_rows(const struct race *r, json_t *scores, json_t *worth)
{
        static const char *const subset[DOG_JUDGE_SUBSETS] = {"all", "onset"};
        for (int f = 0; f < r->families; f++) {
                for (int h = 0; h < DOG_JUDGE_HORIZONS; h++)
                        for (int s = DOG_JUDGE_SUBSETS - 1; s >= 0; s--)
                                for (int n = 0; n < r->entrants; n++)
                                        if (r->report[f][n].is_judged[h])
                                                json_array_append_new(
                                                        scores,
                                                        row_score(r->family[f], r->entrant[n].name,
                                                                  r->report[f][n].horizon_ms[h], subset[s],
                                                                  &r->report[f][n].row[h][s]));
                for (int n = 0; n < r->entrants; n++)
                        if (r->report[f][n].tradeoff.recordings > 0)
                                json_array_append_new(worth, row_worth(r->family[f], r->entrant[n].name,
                                                                       &r->report[f][n].tradeoff));
        }
}

/* The one thing to take home. */
static void worth_say(const struct out *o, const json_t *worth)
{
        size_t i;
        const json_t *row;
        json_array_foreach(worth, i, row)
        {
                char text[400];
                double blind = say_number(row, "blind");
                if (!isfinite(say_number(row, "left_10")))
                        continue;
                if (!(blind > 0)) {
                        fprintf(o->to, "%s: no promise was broken: this tells nothing about a forecaster.\n",
                                say_word(row, "family"));
                        continue;
                }
                snprintf(text, sizeof(text),
                         "%s: %.2f %% of the time the promise is broken on any one path, %.2f %% when %s "
                         "steers, %.2f %% "
                         "when a tenth of the traffic is sent twice as well; %.2f %% nobody can avoid.",
                         say_word(row, "family"), 100 * blind, 100 * say_number(row, "left_0"),
                         say_word(row, "model"), 100 * say_number(row, "left_10"),
                         100 * say_number(row, "floor"));
                out_wrapped(o, text, 0);
        }
}

static double own_score(const struct dog_model *m, const char *family, const char *what)
{
        char name[128];
        snprintf(name, sizeof(name), "%s %s", family, what);
        return m ? dog_model_score(m, name) : (double)NAN;
}

/* Whoever judges a model on what it has learned from should see that. */
static void race_say_own(const struct race *r)
{
        for (int f = 0; f < r->families; f++)
                for (int n = 0; n < r->entrants; n++) {
                        const struct dog_model *m = r->entrant[n].file;
                        char text[400];
                        double auroc = own_score(m, r->family[f], "onset auroc 5s");
                        double left = own_score(m, r->family[f], "V(0)");
                        if (!isfinite(auroc))
                                continue;
                        snprintf(text, sizeof(text),
                                 "%s: when %s was trained, it scored an AUROC of %.4f (5 s, onset) on days "
                                 "that it had "
                                 "not seen%s",
                                 r->family[f], r->entrant[n].name, auroc, isfinite(left) ? "" : ".");
                        if (isfinite(left))
                                say_append(text, sizeof(text), ", and %.3f %% for V(0).", 100 * left);
                        say_append(text, sizeof(text),
                                   " Much better here: it has learned from these recordings.");
                        out_wrapped(&r->ctl->out, text, 0);
                }
}

static int race_print(const struct race *r)
{
        const struct out *o = &r->ctl->out;
        json_t *scores = json_array();
        json_t *worth = json_array();
        race_rows(r, scores, worth);
        if (json_array_size(scores) == 0) {
                json_decref(scores);
                json_decref(worth);
                return ctl_fail(
                        EXIT_FAILED,
                        "nothing could be judged: no trace is 3 s long with samples in four of five steps");
        }
        if (o->format == OUT_JSON) {
                json_t *report =
                        json_pack("{s:s, s:s, s:i, s:I, s:O, s:O}", "kind", "path", "data",
                                  r->args->data ? r->args->data : r->args->store, "traces", r->traces.count,
                                  "samples", (json_int_t)r->traces.points, "scores", scores, "worth", worth);
                out_object(o, report);
                json_decref(report);
        } else {
                out_rows(o, scores, score_column);
                if (o->format == OUT_TABLE && json_array_size(worth) > 0)
                        fputc('\n', o->to);
                if (o->format != OUT_TABLE || json_array_size(worth) > 0)
                        out_rows(o, worth, worth_column);
        }
        if (o->format == OUT_TABLE) {
                fprintf(o->to, "\n%d trace%s, %ld samples", r->traces.count, r->traces.count == 1 ? "" : "s",
                        r->traces.points);
                if (r->traces.repeated)
                        fprintf(o->to, "; %ld second rows of a path in one step left out",
                                r->traces.repeated);
                fputs("\n\n", o->to);
                worth_say(o, worth);
                if (json_array_size(worth) == 0)
                        fputs("No trace has two paths: there was nothing to steer.\n", o->to);
                race_say_own(r);
                backtest_end_tell(o, r->args);
        }
        json_decref(scores);
        json_decref(worth);
        return EXIT_FINE;
}

/* ---- pictures ---- */

static int plot_file(const struct race *r, const char *family, const char *what, FILE **to, char *name,
                     size_t room)
{
        snprintf(name, room, "%s/%s-%s.svg", r->args->plot, family, what);
        return ctl_file_open(to, name, "a picture");
}

static int race_plot_family(const struct race *r, int f)
{
        char name[4200];
        char title[400];
        FILE *to;
        for (int n = 0; n < r->entrants; n++) {
                static const char *const label[DOG_JUDGE_HORIZONS] = {"1 s ahead", "5 s ahead", "30 s ahead"};
                struct dog_plot_bins series[DOG_JUDGE_HORIZONS];
                char what[300];
                int count = 0;
                for (int h = 0; h < DOG_JUDGE_HORIZONS; h++)
                        if (r->report[f][n].row[h][DOG_JUDGE_ONSET].scores.count)
                                series[count++] = (struct dog_plot_bins){
                                        .name = label[h],
                                        .bin = r->report[f][n].row[h][DOG_JUDGE_ONSET].scores.bin};
                snprintf(what, sizeof(what), "calibration-%s", r->entrant[n].name);
                int code = plot_file(r, r->family[f], what, &to, name, sizeof(name));
                if (code != EXIT_FINE)
                        return code;
                snprintf(title, sizeof(title), "%s, %s: is a chance what it says?", r->family[f],
                         r->entrant[n].name);
                dog_plot_calibration(to, title, series, count);
                code = ctl_file_close(to, name, "a picture", EXIT_FINE);
                if (code != EXIT_FINE)
                        return code;
        }
        struct dog_plot_tradeoff series[DOG_PLOT_SERIES];
        for (int n = 0; n < r->entrants; n++)
                series[n] = (struct dog_plot_tradeoff){.name = r->entrant[n].name,
                                                       .tradeoff = &r->report[f][n].tradeoff};
        if (r->report[f][0].tradeoff.recordings == 0)
                return EXIT_FINE;
        int code = plot_file(r, r->family[f], "tradeoff", &to, name, sizeof(name));
        if (code != EXIT_FINE)
                return code;
        snprintf(title, sizeof(title), "%s: broken promises left, over traffic sent twice", r->family[f]);
        dog_plot_tradeoff(to, title, series, r->entrants);
        return ctl_file_close(to, name, "a picture", EXIT_FINE);
}

static int race_plot(const struct race *r)
{
        int code = EXIT_FINE;
        if (mkdir(r->args->plot, 0777) < 0 && errno != EEXIST)
                return ctl_fail(EXIT_FAILED, "cannot make the folder %s for pictures: %s", r->args->plot,
                                strerror(errno));
        for (int f = 0; f < r->families && code == EXIT_FINE; f++)
                code = race_plot_family(r, f);
        return code;
}

static int race_outputs(struct race *r)
{
        const char *header = "trace,t_ms,path,horizon_s,p\n";
        int code = EXIT_FINE;
        if (r->args->predictions)
                code = ctl_file_open(&r->predictions, r->args->predictions, "the predictions");
        if (code == EXIT_FINE && r->args->policy_predictions)
                code = ctl_file_open(&r->policy, r->args->policy_predictions, "the predictions");
        if (r->predictions)
                fputs(header, r->predictions);
        if (r->policy)
                fputs(header, r->policy);
        return code;
}

static void race_free(struct race *r)
{
        for (int f = 0; f < r->families; f++)
                for (int n = 0; n < r->entrants; n++)
                        dog_path_report_free(&r->report[f][n]);
        for (int n = 0; n < r->entrants; n++) {
                dog_path_trained_free(r->entrant[n].trained);
                dog_model_free(r->entrant[n].file);
        }
        dog_path_traces_free(&r->traces);
        free(r);
}

int backtest_paths(struct ctl *ctl, const struct backtest_args *a)
{
        struct race *r = calloc(1, sizeof(*r));
        struct learn_source source = {
                .data = a->data, .store = a->store, .since_ns = a->since_ns, .family = a->family};
        if (!r)
                return ctl_fail(EXIT_FAILED, "out of memory");
        r->ctl = ctl;
        r->args = a;
        int code = race_enter_all(r);
        if (code == EXIT_FINE) {
                r->progress = progress_begin("backtest");
                progress_wait(&r->progress, "reading what was recorded");
                code = learn_paths_load(&source, &r->traces);
                progress_end(&r->progress);
        }
        if (code == EXIT_FINE)
                code = race_families(r);
        if (code == EXIT_FINE)
                code = race_outputs(r);
        if (code == EXIT_FINE)
                code = race_run(r);
        if (r->predictions)
                code = ctl_file_close(r->predictions, a->predictions, "the predictions", code);
        if (r->policy)
                code = ctl_file_close(r->policy, a->policy_predictions, "the predictions", code);
        if (code == EXIT_FINE && a->plot)
                code = race_plot(r);
        if (code == EXIT_FINE)
                code = race_print(r);
        race_free(r);
        return code;
}
