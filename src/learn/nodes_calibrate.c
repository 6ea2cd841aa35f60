/* What a trained model's word is worth on nodes it has not seen: struct dog_node_shape from held-out words.
 */
#include "learn/nodes_inside.h"

#include <math.h>
#include <stdlib.h>

/*
 * A model of failures is surer of other machines than it should be: it never gets more of its word than this.
 * Crossings of limits are many and alike.
 */
#define CALIBRATE_SLOPE_FAILURE  0.8
#define CALIBRATE_SLOPE_OVERLOAD 1.2
/* A shorter record tells no rate: faults were put into it. */
#define CALIBRATE_DAY_S 86400.0
/* The likeness of nodes is looked for between these. */
#define CALIBRATE_FEW_LEAST 2.0
#define CALIBRATE_FEW_MOST  40.0
enum { CALIBRATE_FEW_STEPS = 60, CALIBRATE_ROUNDS = 40 };

struct calibrate {
        const struct dog_nodes *n;
        const struct dog_table *t;
        const float *raw;
        unsigned h, stride;
        bool is_overload;
};

/* What a row counts: its step over the horizon, so that an incident counts about once on every node. */
static double calibrate_weight(const struct calibrate *c, size_t row)
{
        double step_s = (double)c->n->node[c->t->block[row]].step_s * c->stride;
        return fmin(1, step_s / (double)dog_node_horizon_s[c->h]);
}

static int64_t calibrate_time(const struct calibrate *c, size_t row)
{
        return c->n->node[c->t->block[row]].t_s[c->t->id[row] & 0xffffffff];
}

/* The row after the last one of this row's node. */
static size_t calibrate_end(const struct calibrate *c, size_t row)
{
        size_t end = row;
        while (end < c->t->rows && c->t->block[end] == c->t->block[row])
                end++;
        return end;
}

/* ---- how often: a rate by the number of metrics, and how alike nodes are ---- */

/* One node's outcomes: how many came true of how many, as incidents. */
struct calibrate_count {
        double happened, known, size; /* size: ln(metrics / DOG_NODE_SHAPE_METRICS) */
};

static size_t calibrate_counts(const struct calibrate *c, double least_s, struct calibrate_count *to)
{
        size_t count = 0;
        for (size_t i = 0, end; i < c->t->rows; i = end) {
                struct calibrate_count *k = &to[count];
                end = calibrate_end(c, i);
                unsigned metrics = c->n->node[c->t->block[i]].metrics;
                /* A crossing is one metric's: it does not grow with their number. */
                *k = (struct calibrate_count){
                        .size = c->is_overload ? 0 : log((double)metrics / DOG_NODE_SHAPE_METRICS)};
                for (size_t row = i; row < end; row++) {
                        int8_t label = dog_table_label(c->t, row, c->h);
                        k->known += label >= 0 ? calibrate_weight(c, row) : 0;
                        k->happened += label > 0 ? calibrate_weight(c, row) : 0;
                }
                count += k->known > 0 && k->known * (double)dog_node_horizon_s[c->h] >= least_s;
        }
        return count;
}

static double calibrate_expected(const struct calibrate_count *k, const double rate[2])
{
        return k->known * exp(rate[0] + rate[1] * k->size);
}

/* Likelihood of the counts when nodes differ from their rate by a Gamma factor of this shape. */
static double calibrate_likelihood(const struct calibrate_count *list, size_t count, const double rate[2],
                                   double few)
{
        double sum = 0;
        for (size_t i = 0; i < count; i++) {
                double mean = calibrate_expected(&list[i], rate), y = list[i].happened;
                sum += lgamma(y + few) - lgamma(few) + few * log(few / (few + mean)) +
                       y * log(mean / (few + mean));
        }
        return sum;
}

static double calibrate_few(const struct calibrate_count *list, size_t count, const double rate[2])
{
        double best = CALIBRATE_FEW_LEAST, most = -INFINITY;
        for (int i = 0; i <= CALIBRATE_FEW_STEPS; i++) {
                double few = CALIBRATE_FEW_LEAST *
                             pow(CALIBRATE_FEW_MOST / CALIBRATE_FEW_LEAST, (double)i / CALIBRATE_FEW_STEPS);
                double likelihood = calibrate_likelihood(list, count, rate, few);
                if (likelihood > most) {
                        most = likelihood;
                        best = few;
                }
        }
        return best;
}

/* Negative binomial regression by turns: the rate given how alike nodes are, and the reverse. */
static void calibrate_rate(const struct calibrate *c, struct dog_node_shape *s)
{
        double rate[2] = {log(0.01), 0}, few = CALIBRATE_FEW_LEAST, happened = 0, known = 0;
        struct calibrate_count *list = calloc(c->n->count, sizeof(*list));
        size_t count = list ? calibrate_counts(c, CALIBRATE_DAY_S, list) : 0;
        if (list && count == 0)
                count = calibrate_counts(c, 0, list);
        for (size_t i = 0; i < count; i++) {
                happened += list[i].happened;
                known += list[i].known;
        }
        if (known > 0)
                rate[0] = log((happened + 0.5) / (known + 1));
        for (int round = 0; round < CALIBRATE_ROUNDS && happened > 0; round++) {
                /* The growth is held at 0 by an incident's worth where all nodes are of one size. */
                double g0 = 0, g1 = -rate[1], h00 = 1e-6, h01 = 0, h11 = 1;
                for (size_t i = 0; i < count; i++) {
                        double mean = calibrate_expected(&list[i], rate), w = 1 / (1 + mean / few);
                        g0 += w * (list[i].happened - mean);
                        g1 += w * (list[i].happened - mean) * list[i].size;
                        h00 += w * mean;
                        h01 += w * mean * list[i].size;
                        h11 += w * mean * list[i].size * list[i].size;
                }
                double det = h00 * h11 - h01 * h01;
                rate[0] += fmax(-1, fmin(1, (h11 * g0 - h01 * g1) / det));
                rate[1] += fmax(-1, fmin(1, (h00 * g1 - h01 * g0) / det));
                rate[1] = fmax(0, fmin(1, rate[1]));
                few = calibrate_few(list, count, rate);
        }
        free(list);
        s->base = (float)fmax(1e-5, fmin(0.5, exp(rate[0])));
        s->growth = (float)rate[1];
        s->few = (float)few;
}

/* ---- when ---- */

/* The line log-odds = bias + slope x raw with the least logistic loss: Newton's method (Platt, 1999). */
static void calibrate_line(const struct calibrate *c, double most, struct dog_node_shape *s)
{
        double bias = 0, slope = 0.5;
        for (int round = 0; round < CALIBRATE_ROUNDS; round++) {
                double g0 = 0, g1 = 0, h00 = 1e-3, h01 = 0, h11 = 1e-3;
                for (size_t i = 0; i < c->t->rows; i++) {
                        int8_t label = dog_table_label(c->t, i, c->h);
                        double x = (double)c->raw[i * c->t->targets + c->h], w = calibrate_weight(c, i);
                        if (label < 0 || isnan(x))
                                continue;
                        double p = 1 / (1 + exp(-(bias + slope * x))), v = w * p * (1 - p);
                        g0 += w * (label - p);
                        g1 += w * (label - p) * x;
                        h00 += v;
                        h01 += v * x;
                        h11 += v * x * x;
                }
                double det = h00 * h11 - h01 * h01;
                if (!(fabs(det) > 1e-12))
                        break;
                double d0 = (h11 * g0 - h01 * g1) / det, d1 = (h00 * g1 - h01 * g0) / det;
                if (slope + d1 >= most) {
                        /* At the edge only the bias is left to move. */
                        d0 = g0 / h00;
                        d1 = most - slope;
                }
                bias += fmax(-2, fmin(2, d0));
                slope += fmax(-0.5, fmin(0.5, d1));
                if (fabs(d0) + fabs(d1) < 1e-7)
                        break;
        }
        s->bias = (float)bias;
        s->slope = (float)slope;
        /* A forecast that is right when turned round is not skill but chance. */
        if (!isfinite(bias) || !isfinite(slope) || slope <= 0)
                s->bias = s->slope = 0;
}

/* ---- what came of it, node by node, as it would live ---- */

/*
 * Run a grade over each node's rows in their order, each outcome learned when its horizon has passed.
 * @param boldness  NULL, or the mean share that the bold voice had earned by the end of each node
 * @return Brier skill against each node's own base rate
 */
static double calibrate_run(const struct calibrate *c, const struct dog_node_shape *s, double *boldness)
{
        double loss = 0, loss_base = 0, bold = 0, nodes = 0;
        for (size_t i = 0, end; i < c->t->rows; i = end) {
                struct dog_node_grade g;
                size_t known = i;
                dog_node_grade_init(&g, s, c->n->node[c->t->block[i]].metrics);
                for (end = calibrate_end(c, i); i < end; i++) {
                        int8_t label = dog_table_label(c->t, i, c->h);
                        int64_t now_s = calibrate_time(c, i);
                        for (; calibrate_time(c, known) + dog_node_horizon_s[c->h] <= now_s; known++) {
                                int8_t came = dog_table_label(c->t, known, c->h);
                                if (came >= 0)
                                        dog_node_grade_learn(&g, c->raw[known * c->t->targets + c->h], came,
                                                             (float)calibrate_weight(c, known));
                        }
                        float raw = c->raw[i * c->t->targets + c->h];
                        if (label < 0 || isnan(raw))
                                continue;
                        double p = (double)dog_node_grade_say(&g, raw),
                               base = (double)dog_node_grade_base(&g);
                        loss += calibrate_weight(c, i) * (p - label) * (p - label);
                        loss_base += calibrate_weight(c, i) * (base - label) * (base - label);
                }
                bold += (double)dog_node_grade_boldness(&g);
                nodes++;
        }
        if (boldness)
                *boldness = nodes > 0 ? bold / nodes : 0;
        return loss_base > 0 ? 1 - loss / loss_base : 0;
}

void nodes_calibrate(const struct dog_nodes *n, const struct dog_table *t, unsigned h, const float *raw,
                     unsigned stride, bool is_overload, struct dog_node_shape *to)
{
        struct calibrate c = {n, t, raw, h, stride, is_overload};
        double bold = 0;
        *to = (struct dog_node_shape){0};
        calibrate_rate(&c, to);
        calibrate_line(&c, is_overload ? CALIBRATE_SLOPE_OVERLOAD : CALIBRATE_SLOPE_FAILURE, to);
        if (to->slope <= 0)
                return;
        /* Given the benefit of the doubt while it is judged. */
        to->skill = 1;
        calibrate_run(&c, to, &bold);
        to->bold = (float)bold;
        to->skill = (float)calibrate_run(&c, to, NULL);
}
