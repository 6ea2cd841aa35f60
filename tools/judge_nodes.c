/*
 * Judge the models of nodes on recorded telemetry, each node by a model that has not seen it:
 *
 *     judge_nodes DATA node|overload OUT.csv [STRIDE]     leave nodes out, write predictions, print scores
 *
 * For failures the outcomes of a node teach its own calibration as they become known, unless SUNDOG_DEAF is
 * set.
 */
#include "base/clock.h"
#include "learn/nodes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JUDGE_FOLDS = 6, JUDGE_SETS = 16 };

struct judged {
        float p, health;
        int8_t label;
        bool is_inside;
};

/* What was said at one horizon in one data set. */
struct pile {
        struct judged *list;
        size_t count, room;
};

struct judge {
        FILE *out;
        struct pile pile[JUDGE_SETS][DOG_NODE_HORIZONS];
        char set[JUDGE_SETS][32];
        unsigned sets;
        size_t said, without;
};

static unsigned judge_set(struct judge *j, const char *name)
{
        for (unsigned i = 0; i < j->sets; i++)
                if (strcmp(j->set[i], name) == 0)
                        return i;
        if (j->sets == JUDGE_SETS)
                return JUDGE_SETS - 1;
        snprintf(j->set[j->sets], sizeof(j->set[0]), "%s", name);
        return j->sets++;
}

static int judge_take(void *data, const struct dog_nodes_prediction *p)
{
        struct judge *j = data;
        char line[512];
        unsigned set = judge_set(j, p->node->dataset);
        if (j->out && fwrite(line, 1, (size_t)dog_nodes_csv_line(p, line), j->out) == 0)
                return -EIO;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                struct pile *pile = &j->pile[set][h];
                if (pile->count == pile->room) {
                        size_t room = pile->room ? 2 * pile->room : 4096;
                        struct judged *more = realloc(pile->list, room * sizeof(*more));
                        if (!more)
                                return -ENOMEM;
                        pile->list = more;
                        pile->room = room;
                }
                pile->list[pile->count++] = (struct judged){p->p[h], p->health, p->label[h], p->is_inside};
                j->said++;
                j->without += !p->has_skill[h];
        }
        return 0;
}

static int judged_order(const void *a, const void *b)
{
        float x = ((const struct judged *)a)->p, y = ((const struct judged *)b)->p;
        return x < y ? -1 : x > y;
}

/* Area under the curve with ties counted half; the list is sorted by p. NaN: one class only. */
static double judge_area(struct judged *list, size_t count)
{
        double low = 0, pairs = 0, yes = 0, no = 0;
        qsort(list, count, sizeof(*list), judged_order);
        for (size_t i = 0; i < count;) {
                size_t k = i;
                double y = 0, n = 0;
                while (k < count && list[k].p == list[i].p) {
                        y += list[k].label > 0;
                        n += list[k].label == 0;
                        k++;
                }
                pairs += y * (low + n / 2);
                low += n;
                yes += y;
                no += n;
                i = k;
        }
        return yes > 0 && no > 0 ? pairs / yes / no : (double)NAN;
}

static void judge_print(struct judge *j, enum dog_nodes_task task)
{
        for (unsigned s = 0; s < j->sets; s++)
                for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                        struct pile *pile = &j->pile[s][h];
                        size_t count = 0;
                        double loss = 0, base = 0, error = 0;
                        if (h == 0 && task == DOG_NODES_FAILURE) {
                                struct judged *health = malloc(pile->count * sizeof(*health));
                                for (size_t i = 0; health && i < pile->count; i++)
                                        health[i] = (struct judged){1 - pile->list[i].health, 0,
                                                                    pile->list[i].is_inside, false};
                                printf("%-5s health, inside incidents: AUROC %.3f\n", j->set[s],
                                       health ? judge_area(health, pile->count) : (double)NAN);
                                free(health);
                        }
                        for (size_t i = 0; i < pile->count; i++)
                                if (pile->list[i].label >= 0)
                                        pile->list[count++] = pile->list[i];
                        double area = judge_area(pile->list, count);
                        for (size_t i = 0; i < count; i++) {
                                loss += (pile->list[i].p - pile->list[i].label) *
                                        (double)(pile->list[i].p - pile->list[i].label);
                                base += pile->list[i].label;
                        }
                        for (int b = 0; b < 15; b++) {
                                size_t from = count * (size_t)b / 15, to = count * (size_t)(b + 1) / 15;
                                double gap = 0;
                                for (size_t i = from; i < to; i++)
                                        gap += (double)pile->list[i].p - pile->list[i].label;
                                error += fabs(gap);
                        }
                        base /= (double)(count ? count : 1);
                        printf("%-5s p%-2d steps %8zu base %.4f AUROC %.3f Brier skill %+.3f ECE %.4f\n",
                               j->set[s], (int)(dog_node_horizon_s[h] / 60), count, base, area,
                               1 - loss / (double)count / base / (1 - base), error / (double)count);
                }
        printf("said without skill (base rate): %.1f %%\n",
               100.0 * (double)j->without / (double)(j->said ? j->said : 1));
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

static int judge_fold(struct judge *j, const struct dog_nodes *n, enum dog_nodes_task task, unsigned fold,
                      unsigned stride, struct dog_err *e)
{
        struct dog_nodes others = judge_part(n, fold, false), held = judge_part(n, fold, true);
        struct dog_model *m = NULL;
        struct dog_nodes_options options = {.is_learning = !getenv("SUNDOG_DEAF"), .stride = stride};
        int rc = others.node && held.node ? dog_nodes_train(&others, task, 2, 0, &m, e) : -ENOMEM;
        for (unsigned i = 0; rc == 0 && i < m->scores; i++)
                fprintf(stderr, "%s %.4f%s", m->score[i].name, m->score[i].value, i % 4 == 3 ? "\n" : ", ");
        if (rc == 0)
                rc = dog_nodes_predict(&held, task, m, &options, judge_take, j, e);
        dog_model_free(m);
        free(others.node);
        free(held.node);
        return rc;
}

int main(int argc, char **argv)
{
        struct dog_err e = {0};
        struct dog_nodes *n = NULL;
        struct judge j = {0};
        if (argc < 4 || (strcmp(argv[2], "node") != 0 && strcmp(argv[2], "overload") != 0)) {
                fprintf(stderr, "usage: judge_nodes DATA node|overload OUT.csv [STRIDE]\n");
                return 2;
        }
        enum dog_nodes_task task = strcmp(argv[2], "node") == 0 ? DOG_NODES_FAILURE : DOG_NODES_OVERLOAD;
        unsigned stride = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
        int rc = dog_nodes_read(&n, argv[1], &e);
        if (rc == 0) {
                char line[512];
                j.out = fopen(argv[3], "w");
                if (!j.out)
                        rc = dog_err_set(&e, -errno, "cannot write %s: %s", argv[3], strerror(errno));
                else
                        fwrite(line, 1, (size_t)dog_nodes_csv_header(task, line), j.out);
        }
        for (unsigned f = 0; f < JUDGE_FOLDS && rc == 0; f++)
                rc = judge_fold(&j, n, task, f, stride, &e);
        if (rc == 0)
                judge_print(&j, task);
        else
                fprintf(stderr, "judge_nodes: %s\n", e.text);
        if (j.out && fclose(j.out) != 0 && rc == 0)
                rc = -EIO;
        for (unsigned s = 0; s < JUDGE_SETS; s++)
                for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                        free(j.pile[s][h].list);
        dog_nodes_free(n);
        return rc < 0;
}
