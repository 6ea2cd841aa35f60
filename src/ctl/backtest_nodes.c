/* sundog backtest of nodes and of overload: see learn/judge_nodes.h and learn/nodes.h for what is measured.
 */
#include "ctl/backtest.h"

#include "ctl/progress.h"
#include "daemon/say.h"
#include "learn/judge_nodes.h"
#include "learn/nodes.h"
#include "learn/plot.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SETS = 32 };

/* What was said about one node, a slot for each of its steps. */
struct heard_node {
        size_t steps;
        double *p[DOG_NODE_HORIZONS], *health;
};

struct nodes_run {
        struct ctl *ctl;
        const struct backtest_args *args;
        enum dog_nodes_task task;
        struct dog_nodes *nodes;
        const char *set[SETS];
        int sets;
        char name[DOG_PLOT_SERIES][256];          /* of the models */
        struct dog_model *model[DOG_PLOT_SERIES]; /* NULL: base rates */
        int models, now;
        struct heard_node *heard;                           /* one a node */
        struct dog_said_list said[SETS][DOG_NODE_HORIZONS]; /* overload */
        FILE *predictions;
        struct progress progress;
        uint64_t done, of;
        json_t *scores, *health;
};

/* ---- who runs, and on what ---- */

static int run_enter(struct nodes_run *r, const char *name)
{
        struct dog_err e = {0};
        struct stat there;
        int i = r->models;
        if (i == DOG_PLOT_SERIES)
                return ctl_fail(EXIT_USAGE, "--model: at most %d at once", DOG_PLOT_SERIES);
        const char *base = strrchr(name, '/');
        snprintf(r->name[i], sizeof(r->name[i]), "%s", base ? base + 1 : name);
        r->models++;
        if (strcmp(name, "base") == 0 || strcmp(name, "default") == 0)
                return EXIT_FINE;
        if (strcmp(name, "persistence") == 0 || strcmp(name, "ewma") == 0 || strcmp(name, "logistic") == 0)
                return ctl_fail(EXIT_USAGE,
                                "--model %s is a forecaster of paths; for nodes there is base, the base rate",
                                name);
        if (stat(name, &there) < 0)
                return ctl_fail(EXIT_FAILED, "--model %s: %s, and it is not base", name, strerror(errno));
        if (dog_model_read(&r->model[i], name, &e) < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        enum dog_model_kind kind = r->task == DOG_NODES_OVERLOAD ? DOG_MODEL_OVERLOAD : DOG_MODEL_NODE;
        if (r->model[i]->kind != kind)
                return ctl_fail(EXIT_FAILED, "%s: the model is for the kind %s, not for %s", name,
                                dog_model_kind_name(r->model[i]->kind), dog_model_kind_name(kind));
        return EXIT_FINE;
}

static int run_enter_all(struct nodes_run *r)
{
        char list[4096];
        char *save = NULL;
        int code = EXIT_FINE;
        snprintf(list, sizeof(list), "%s", r->args->model);
        for (char *name = strtok_r(list, ",", &save); name && code == EXIT_FINE;
             name = strtok_r(NULL, ",", &save))
                code = run_enter(r, name);
        return code == EXIT_FINE && r->models == 0 ? ctl_fail(EXIT_USAGE, "--model names nothing") : code;
}

static int run_set(const struct nodes_run *r, const char *dataset)
{
        for (int i = 0; i < r->sets; i++)
                if (strcmp(r->set[i], dataset) == 0)
                        return i;
        return -1;
}

static int run_sets(struct nodes_run *r)
{
        for (unsigned i = 0; i < r->nodes->count; i++) {
                const char *set = r->nodes->node[i].dataset;
                if ((r->args->family && strcmp(set, r->args->family) != 0) || run_set(r, set) >= 0)
                        continue;
                if (r->sets == SETS)
                        return ctl_fail(EXIT_FAILED, "%s: more than %d data sets; name one with --family",
                                        r->args->data, SETS);
                r->set[r->sets++] = set;
        }
        if (r->sets == 0)
                return ctl_fail(EXIT_FAILED, "%s: there is no data set \"%s\"", r->args->data,
                                r->args->family);
        return EXIT_FINE;
}

/* ---- listening ---- */

static double *nothing_said(size_t steps)
{
        double *p = malloc((steps + 1) * sizeof(*p));
        for (size_t k = 0; p && k < steps; k++)
                p[k] = (double)NAN;
        return p;
}

static void heard_free(struct nodes_run *r)
{
        for (unsigned i = 0; r->heard && i < r->nodes->count; i++) {
                for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                        free(r->heard[i].p[h]);
                free(r->heard[i].health);
        }
        free(r->heard);
        r->heard = NULL;
        for (int s = 0; s < SETS; s++)
                for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                        dog_said_free(&r->said[s][h]);
}

static int heard_make(struct nodes_run *r)
{
        r->heard = calloc(r->nodes->count, sizeof(*r->heard));
        for (unsigned i = 0; r->heard && i < r->nodes->count; i++) {
                const struct dog_node_record *n = &r->nodes->node[i];
                struct heard_node *to = &r->heard[i];
                bool is_enough = true;
                to->steps = n->end_s > n->labelled_from_s
                                    ? (size_t)((n->end_s - n->labelled_from_s) / n->step_s)
                                    : 0;
                for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                        to->p[h] = nothing_said(to->steps);
                        is_enough &= to->p[h] != NULL;
                }
                to->health = nothing_said(to->steps);
                if (!is_enough || !to->health)
                        return ctl_fail(EXIT_FAILED, "%s: out of memory", r->args->data);
        }
        return r->heard ? EXIT_FINE : ctl_fail(EXIT_FAILED, "%s: out of memory", r->args->data);
}

static int run_hear(void *data, const struct dog_nodes_prediction *p)
{
        struct nodes_run *r = data;
        struct heard_node *to = &r->heard[p->node - r->nodes->node];
        int set = run_set(r, p->node->dataset);
        char line[512];
        int rc = 0;
        if (++r->done % 1024 == 0)
                progress_show(&r->progress, (double)r->done, (double)r->of, r->name[r->now]);
        if (set < 0)
                return 0;
        if (r->predictions) {
                dog_nodes_csv_line(p, line);
                fputs(line, r->predictions);
        }
        for (int h = 0; r->task == DOG_NODES_OVERLOAD && h < DOG_NODE_HORIZONS && rc == 0; h++)
                if (p->label[h] != DOG_LABEL_UNKNOWN)
                        rc = dog_said_add(&r->said[set][h], (double)p->p[h], p->label[h] == 1);
        size_t k = (size_t)((p->t_s - p->node->labelled_from_s) / p->node->step_s);
        if (r->task == DOG_NODES_OVERLOAD || p->t_s < p->node->labelled_from_s || k >= to->steps)
                return rc;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                to->p[h][k] = (double)p->p[h];
        to->health[k] = (double)p->health;
        return 0;
}

/* ---- the report ---- */

static json_t *row_scores(const struct nodes_run *r, const char *set, int h, const struct dog_scores *s)
{
        json_t *bins = json_array();
        for (int b = 0; b < DOG_BINS; b++)
                if (s->bin[b].count)
                        json_array_append_new(bins, json_pack("{s:f, s:f, s:I}", "said", s->bin[b].said,
                                                              "happened", s->bin[b].happened, "n",
                                                              (json_int_t)s->bin[b].count));
        return json_pack("{s:s, s:s, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "dataset", set,
                         "model", r->name[r->now], "ahead_min", dog_judge_minutes[h], "n",
                         (json_int_t)s->count, "cover", say_real(s->cover), "base", say_real(s->base),
                         "auroc", say_real(s->auroc), "ap", say_real(s->ap), "brier", say_real(s->brier),
                         "skill", say_real(s->skill), "ece", say_real(s->ece), "reliability", bins);
}

static int plot_bins(const struct nodes_run *r, const char *set,
                     const struct dog_scores scores[DOG_NODE_HORIZONS])
{
        static const char *const label[DOG_NODE_HORIZONS] = {"5 min ahead", "15 min ahead", "60 min ahead"};
        struct dog_plot_bins series[DOG_NODE_HORIZONS];
        char name[4600];
        char title[512];
        FILE *to;
        int count = 0;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                if (scores[h].count)
                        series[count++] = (struct dog_plot_bins){.name = label[h], .bin = scores[h].bin};
        snprintf(name, sizeof(name), "%s/%s-calibration-%s.svg", r->args->plot, set, r->name[r->now]);
        int code = ctl_file_open(&to, name, "a picture");
        if (code != EXIT_FINE)
                return code;
        snprintf(title, sizeof(title), "%s, %s: is a chance what it says?", set, r->name[r->now]);
        dog_plot_calibration(to, title, series, count);
        return ctl_file_close(to, name, "a picture", EXIT_FINE);
}

static int set_failure(struct nodes_run *r, const char *set, struct dog_scores scores[DOG_NODE_HORIZONS],
                       struct dog_err *e)
{
        struct dog_node_judge *judge;
        struct dog_node_report report;
        int rc = dog_node_judge_new(&judge, e);
        for (unsigned i = 0; i < r->nodes->count && rc == 0; i++) {
                const struct dog_node_record *n = &r->nodes->node[i];
                if (strcmp(n->dataset, set) != 0)
                        continue;
                struct dog_judged_incident *incident = calloc(n->incidents + 1, sizeof(*incident));
                if (!incident)
                        rc = dog_err_set(e, -ENOMEM, "%s: out of memory", n->name);
                for (unsigned k = 0; incident && k < n->incidents; k++)
                        incident[k] = (struct dog_judged_incident){.start_s = n->incident[k].start_s,
                                                                   .end_s = n->incident[k].end_s};
                struct dog_judged_node one = {.step_s = n->step_s,
                                              .from_s = n->labelled_from_s,
                                              .end_s = n->end_s,
                                              .incident = incident,
                                              .incidents = n->incidents,
                                              .health = r->heard[i].health};
                for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                        one.p[h] = r->heard[i].p[h];
                if (rc == 0)
                        rc = dog_node_judge_add(judge, &one, e);
                free(incident);
        }
        if (rc == 0)
                rc = dog_node_judge_end(judge, &report, e);
        dog_node_judge_free(judge);
        for (int h = 0; h < DOG_NODE_HORIZONS && rc == 0; h++) {
                const struct dog_judged_event *one =
                        &report.row[h].event[2]; /* one false alarm a node and day */
                scores[h] = report.row[h].scores;
                if (!report.row[h].is_judged)
                        continue;
                json_t *row = row_scores(r, set, h, &scores[h]);
                json_object_set_new(row, "recall", say_real(one->recall));
                json_object_set_new(row, "lead_s", say_real(one->lead_s));
                json_object_set_new(row, "detect", say_real(one->detect));
                json_object_set_new(row, "delay_s", say_real(one->delay_s));
                json_object_set_new(row, "false_alarms_day", say_real(one->false_alarms));
                json_array_append_new(r->scores, row);
        }
        if (rc == 0)
                json_array_append_new(r->health,
                                      json_pack("{s:s, s:s, s:I, s:I, s:o}", "dataset", set, "model",
                                                r->name[r->now], "nodes", (json_int_t)report.nodes,
                                                "incidents", (json_int_t)report.incidents, "auroc",
                                                say_real(report.health_auroc)));
        return rc;
}

static int set_overload(struct nodes_run *r, int set, struct dog_scores scores[DOG_NODE_HORIZONS],
                        struct dog_err *e)
{
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                int rc = dog_metrics_score(&r->said[set][h], DOG_BINS_COUNT, &scores[h], e);
                if (rc < 0)
                        return rc;
                if (scores[h].count)
                        json_array_append_new(r->scores, row_scores(r, r->set[set], h, &scores[h]));
        }
        return 0;
}

static int run_model(struct nodes_run *r)
{
        struct dog_nodes_options o = {.is_learning = true};
        struct dog_err e = {0};
        int code = heard_make(r);
        if (code != EXIT_FINE)
                return code;
        int rc = dog_nodes_predict(r->nodes, r->task, r->model[r->now], &o, run_hear, r, &e);
        for (int s = 0; s < r->sets && rc == 0 && code == EXIT_FINE; s++) {
                struct dog_scores scores[DOG_NODE_HORIZONS] = {0};
                rc = r->task == DOG_NODES_OVERLOAD ? set_overload(r, s, scores, &e)
                                                   : set_failure(r, r->set[s], scores, &e);
                if (rc == 0 && r->args->plot)
                        code = plot_bins(r, r->set[s], scores);
        }
        heard_free(r);
        return rc < 0 ? ctl_fail(EXIT_FAILED, "%s", *e.text ? e.text : "out of memory") : code;
}

/* Columns that failures and overloads have in common. */
#define NODES_SCORES                                                                                         \
        {.key = "dataset"}, {.key = "model"}, {.key = "ahead_min", .title = "AHEAD min", .is_right = true},  \
                {.key = "n", .is_right = true}, {.key = "base", .unit = "%", .digits = 2, .is_right = true}, \
                {.key = "auroc", .digits = 4, .is_right = true},                                             \
                {.key = "ap", .digits = 4, .is_right = true},                                                \
                {.key = "brier", .digits = 5, .is_right = true},                                             \
                {.key = "skill", .digits = 4, .is_right = true},                                             \
        {                                                                                                    \
                .key = "ece", .digits = 4, .is_right = true                                                  \
        }

static void run_print(const struct nodes_run *r)
{
        static const struct out_column failure[] = {
                NODES_SCORES,
                {.key = "recall", .unit = "%", .digits = 0, .is_right = true},
                {.key = "lead_s", .title = "LEAD", .unit = "s", .digits = 0, .is_right = true},
                {.key = "detect", .unit = "%", .digits = 0, .is_right = true},
                {.key = "delay_s", .title = "DELAY", .unit = "s", .digits = 0, .is_right = true},
                {.key = NULL}};
        static const struct out_column overload[] = {NODES_SCORES, {.key = NULL}};
        static const struct out_column health[] = {
                {.key = "dataset"},
                {.key = "model"},
                {.key = "nodes", .is_right = true},
                {.key = "incidents", .is_right = true},
                {.key = "auroc", .title = "HEALTH AUROC", .digits = 4, .is_right = true},
                {.key = NULL}};
        const struct out *o = &r->ctl->out;
        bool is_failure = r->task == DOG_NODES_FAILURE;
        if (o->format == OUT_JSON) {
                json_t *report =
                        json_pack("{s:s, s:s, s:i, s:I, s:I, s:O}", "kind", is_failure ? "node" : "overload",
                                  "data", r->args->data, "nodes", (int)r->nodes->count, "dropped_clock",
                                  (json_int_t)r->nodes->dropped_clock, "dropped_node",
                                  (json_int_t)r->nodes->dropped_node, "scores", r->scores);
                if (is_failure)
                        json_object_set(report, "health", r->health);
                out_object(o, report);
                json_decref(report);
                return;
        }
        out_rows(o, r->scores, is_failure ? failure : overload);
        if (is_failure) {
                if (o->format == OUT_TABLE)
                        fputc('\n', o->to);
                out_rows(o, r->health, health);
        }
        if (o->format != OUT_TABLE)
                return;
        fprintf(o->to, "\n%u node%s", r->nodes->count, r->nodes->count == 1 ? "" : "s");
        if (r->nodes->dropped_clock || r->nodes->dropped_node)
                fprintf(o->to, "; left out: %llu rows whose time did not advance, %llu of unknown nodes",
                        (unsigned long long)r->nodes->dropped_clock,
                        (unsigned long long)r->nodes->dropped_node);
        fputs("\n\n", o->to);
        if (!is_failure)
                out_wrapped(o,
                            "Asked of metrics that were below their limit for the whole horizon before: will "
                            "it be "
                            "crossed?",
                            0);
        backtest_end_tell(o, r->args);
}

int backtest_nodes(struct ctl *ctl, const struct backtest_args *a, int kind)
{
        struct nodes_run *r = calloc(1, sizeof(*r));
        struct dog_err e = {0};
        char header[512];
        if (!r)
                return ctl_fail(EXIT_FAILED, "out of memory");
        r->ctl = ctl;
        r->args = a;
        r->task = kind == DOG_MODEL_OVERLOAD ? DOG_NODES_OVERLOAD : DOG_NODES_FAILURE;
        r->scores = json_array();
        r->health = json_array();
        int code = run_enter_all(r);
        r->progress = progress_begin("backtest");
        if (code == EXIT_FINE)
                progress_wait(&r->progress, "reading what was recorded");
        if (code == EXIT_FINE && dog_nodes_read(&r->nodes, a->data, &e) < 0)
                code = ctl_fail(EXIT_FAILED, "%s", e.text);
        if (code == EXIT_FINE)
                code = run_sets(r);
        if (code == EXIT_FINE && r->task == DOG_NODES_FAILURE && !r->nodes->has_incidents)
                code = ctl_fail(EXIT_FAILED, "%s: there is no incidents.csv to judge by; overload needs none",
                                a->data);
        if (code == EXIT_FINE && a->plot && mkdir(a->plot, 0777) < 0 && errno != EEXIST)
                code = ctl_fail(EXIT_FAILED, "cannot make the folder %s for pictures: %s", a->plot,
                                strerror(errno));
        if (code == EXIT_FINE && a->predictions)
                code = ctl_file_open(&r->predictions, a->predictions, "the predictions");
        if (r->predictions) {
                dog_nodes_csv_header(r->task, header);
                fputs(header, r->predictions);
        }
        for (unsigned i = 0; r->nodes && i < r->nodes->count; i++) {
                const struct dog_node_record *n = &r->nodes->node[i];
                uint64_t rows = n->rows - n->first;
                r->of += rows * (r->task == DOG_NODES_OVERLOAD ? n->metrics : 1) * (uint64_t)r->models;
        }
        FILE *predictions = r->predictions;
        for (r->now = 0; r->now < r->models && code == EXIT_FINE; r->now++) {
                r->predictions = r->now == 0 ? predictions : NULL;
                code = run_model(r);
        }
        progress_end(&r->progress);
        if (predictions)
                code = ctl_file_close(predictions, a->predictions, "the predictions", code);
        if (code == EXIT_FINE)
                run_print(r);
        for (int i = 0; i < r->models; i++)
                dog_model_free(r->model[i]);
        json_decref(r->scores);
        json_decref(r->health);
        dog_nodes_free(r->nodes);
        free(r);
        return code;
}
