/*
 * Judge the models of nodes on recorded telemetry, each node by a model that has not seen it:
 *
 *     judge_nodes DATA node|overload OUT.csv [STRIDE]     leave nodes out, write predictions, print scores
 *
 * One line a data set and horizon, "asd p15 steps 24370 base 0.00467 ...": a word and its number in turn,
 * over all nodes of the set at once (learn/judge_nodes.h, learn/metrics.h). The outcomes of a node teach its
 * own calibration as they become known, unless SUNDOG_DEAF is set. Overload is asked at every STRIDE-th step.
 */
#include "learn/judge_nodes.h"
#include "learn/nodes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JUDGE_FOLDS = 6, JUDGE_SETS = 16, JUDGE_BUDGET = 2 /* one false alarm a node and day */ };

struct judge {
        FILE *out;
        enum dog_nodes_task task;
        const char *set[JUDGE_SETS];
        unsigned sets;
        struct dog_node_judge *failure[JUDGE_SETS];
        struct dog_said_list overload[JUDGE_SETS][DOG_NODE_HORIZONS];
        /* Of the node that is being predicted, a slot for each of its steps. */
        const struct dog_node_record *node;
        double *p[DOG_NODE_HORIZONS], *health;
        size_t said, without;
        struct dog_err e;
};

static int judge_set(struct judge *j, const char *name, unsigned *to)
{
        for (*to = 0; *to < j->sets; (*to)++)
                if (strcmp(j->set[*to], name) == 0)
                        return 0;
        if (j->sets == JUDGE_SETS)
                return dog_err_set(&j->e, -E2BIG, "more than %d data sets", JUDGE_SETS);
        j->set[j->sets++] = name;
        return j->task == DOG_NODES_OVERLOAD ? 0 : dog_node_judge_new(&j->failure[*to], &j->e);
}

/* The node before is complete. */
static int judge_node_end(struct judge *j)
{
        const struct dog_node_record *n = j->node;
        unsigned set;
        if (!n)
                return 0;
        j->node = NULL;
        struct dog_judged_incident *incident = calloc(n->incidents + 1, sizeof(*incident));
        int rc = incident ? judge_set(j, n->dataset, &set) : -ENOMEM;
        for (unsigned i = 0; incident && i < n->incidents; i++)
                incident[i] = (struct dog_judged_incident){n->incident[i].start_s, n->incident[i].end_s};
        struct dog_judged_node one = {n->step_s, n->labelled_from_s, n->end_s, incident, n->incidents,
                                      {NULL},    j->health};
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                one.p[h] = j->p[h];
        if (rc == 0)
                rc = dog_node_judge_add(j->failure[set], &one, &j->e);
        free(incident);
        return rc;
}

static size_t judge_steps(const struct dog_node_record *n)
{
        return (size_t)((n->end_s - n->labelled_from_s) / n->step_s);
}

static int judge_node_begin(struct judge *j, const struct dog_node_record *n)
{
        int rc = judge_node_end(j);
        double **column[] = {&j->p[0], &j->p[1], &j->p[2], &j->health};
        for (int i = 0; rc == 0 && i < 4; i++) {
                free(*column[i]);
                *column[i] = malloc((judge_steps(n) + 1) * sizeof(double));
                if (!*column[i])
                        return -ENOMEM;
                for (size_t k = 0; k < judge_steps(n); k++)
                        (*column[i])[k] = (double)NAN;
        }
        j->node = n;
        return rc;
}

static int judge_take(void *data, const struct dog_nodes_prediction *p)
{
        struct judge *j = data;
        char line[512];
        unsigned set;
        int rc = judge_set(j, p->node->dataset, &set);
        if (rc == 0 && fwrite(line, 1, (size_t)dog_nodes_csv_line(p, line), j->out) == 0)
                rc = -EIO;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                j->said++;
                j->without += !p->has_skill[h];
                if (rc == 0 && j->task == DOG_NODES_OVERLOAD && p->label[h] != DOG_LABEL_UNKNOWN)
                        rc = dog_said_add(&j->overload[set][h], (double)p->p[h], p->label[h] == 1);
        }
        if (rc < 0 || j->task == DOG_NODES_OVERLOAD)
                return rc;
        if (j->node != p->node && (rc = judge_node_begin(j, p->node)) < 0)
                return rc;
        size_t k = (size_t)((p->t_s - p->node->labelled_from_s) / p->node->step_s);
        if (k >= judge_steps(p->node))
                return 0;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                j->p[h][k] = (double)p->p[h];
        j->health[k] = (double)p->health;
        return 0;
}

static void judge_row(const char *set, int h, const struct dog_scores *s)
{
        printf("%s p%d steps %zu base %.5f auroc %.4f ap %.4f skill %+.5f ece %.4f", set,
               dog_judge_minutes[h], s->count, s->base, s->auroc, s->ap, s->skill, s->ece);
}

static int judge_print(struct judge *j)
{
        int rc = judge_node_end(j);
        for (unsigned s = 0; s < j->sets && rc == 0; s++) {
                struct dog_node_report report = {0};
                if (j->task == DOG_NODES_FAILURE)
                        rc = dog_node_judge_end(j->failure[s], &report, &j->e);
                for (int h = 0; h < DOG_NODE_HORIZONS && rc == 0; h++) {
                        const struct dog_node_row *row = &report.row[h];
                        const struct dog_judged_event *v = &row->event[JUDGE_BUDGET];
                        if (j->task == DOG_NODES_OVERLOAD)
                                rc = dog_metrics_score(&j->overload[s][h], DOG_BINS_COUNT,
                                                       &report.row[h].scores, &j->e);
                        else if (!row->is_judged)
                                continue;
                        judge_row(j->set[s], h, &row->scores);
                        if (j->task == DOG_NODES_FAILURE)
                                printf(" foreseen %.3f detect %.3f delay_s %.0f", v->recall, v->detect,
                                       v->delay_s);
                        printf("\n");
                }
                if (j->task == DOG_NODES_FAILURE && rc == 0)
                        printf("%s health auroc %.4f\n", j->set[s], report.health_auroc);
        }
        printf("without skill %.4f\n", (double)j->without / (double)(j->said ? j->said : 1));
        return rc;
}

/* The nodes of a fold, or all others; a shallow copy. */
static struct dog_nodes judge_part(const struct dog_nodes *n, unsigned fold, bool is_inside)
{
        struct dog_nodes part = *n;
        part.node = malloc(n->count * sizeof(*part.node));
        part.count = 0;
        for (unsigned i = 0; i < n->count && part.node; i++) {
                unsigned before = 0;
                for (unsigned k = 0; k < i; k++)
                        before += strcmp(n->node[k].dataset, n->node[i].dataset) == 0;
                if ((before % JUDGE_FOLDS == fold) == is_inside)
                        part.node[part.count++] = n->node[i];
        }
        return part;
}

static int judge_fold(struct judge *j, const struct dog_nodes *n, unsigned fold, unsigned stride)
{
        struct dog_nodes others = judge_part(n, fold, false), held = judge_part(n, fold, true);
        struct dog_model *m = NULL;
        struct dog_nodes_options options = {.is_learning = !getenv("SUNDOG_DEAF"), .stride = stride};
        int rc = others.node && held.node ? 0 : -ENOMEM;
        /* With few nodes some folds hold none. */
        if (rc == 0 && held.count > 0)
                rc = dog_nodes_train(&others, j->task, 2, 0, &m, &j->e);
        for (unsigned i = 0; rc == 0 && m && i < m->scores; i++)
                fprintf(stderr, "%s %.4f%s", m->score[i].name, m->score[i].value,
                        i + 1 == m->scores ? "\n" : ", ");
        if (rc == 0 && m)
                rc = dog_nodes_predict(&held, j->task, m, &options, judge_take, j, &j->e);
        /* What was heard points into the copy. */
        if (rc == 0)
                rc = judge_node_end(j);
        dog_model_free(m);
        free(others.node);
        free(held.node);
        return rc;
}

int main(int argc, char **argv)
{
        struct dog_nodes *n = NULL;
        struct judge j = {0};
        char line[512];
        if (argc < 4 || (strcmp(argv[2], "node") != 0 && strcmp(argv[2], "overload") != 0)) {
                fprintf(stderr, "usage: judge_nodes DATA node|overload OUT.csv [STRIDE]\n");
                return 2;
        }
        j.task = strcmp(argv[2], "node") == 0 ? DOG_NODES_FAILURE : DOG_NODES_OVERLOAD;
        unsigned stride = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
        int rc = dog_nodes_read(&n, argv[1], &j.e);
        if (rc == 0 && !(j.out = fopen(argv[3], "w")))
                rc = dog_err_set(&j.e, -errno, "cannot write %s: %s", argv[3], strerror(errno));
        if (rc == 0)
                fwrite(line, 1, (size_t)dog_nodes_csv_header(j.task, line), j.out);
        /* The names of sets outlive the folds: they are those of the record. */
        for (unsigned i = 0, set; i < (n ? n->count : 0) && rc == 0; i++)
                rc = judge_set(&j, n->node[i].dataset, &set);
        for (unsigned f = 0; f < JUDGE_FOLDS && rc == 0; f++)
                rc = judge_fold(&j, n, f, stride);
        if (rc == 0)
                rc = judge_print(&j);
        if (j.out && fclose(j.out) != 0 && rc == 0)
                rc = dog_err_set(&j.e, -EIO, "cannot write %s", argv[3]);
        if (rc < 0)
                fprintf(stderr, "judge_nodes: %s\n", *j.e.text ? j.e.text : strerror(-rc));
        for (unsigned s = 0; s < JUDGE_SETS; s++) {
                dog_node_judge_free(j.failure[s]);
                for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                        dog_said_free(&j.overload[s][h]);
        }
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                free(j.p[h]);
        free(j.health);
        dog_nodes_free(n);
        return rc < 0;
}
