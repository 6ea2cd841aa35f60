#include "learn/judge_nodes.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const int dog_judge_minutes[DOG_JUDGE_MINUTES] = {5, 15, 60};
const double dog_judge_budget[DOG_JUDGE_BUDGETS] = {0.1, 0.25, 1, 4};

enum { CANDIDATES_INSIDE = 40, CANDIDATES_TOP = 120, CANDIDATES_HIT = 60 };
enum { CANDIDATES = CANDIDATES_INSIDE + CANDIDATES_TOP + CANDIDATES_HIT };

/* What a step is, for one horizon. */
enum step_bit { STEP_SOON = 1, STEP_INSIDE = 2, STEP_AFTER = 4, STEP_USED = 8 };

struct kept_node {
        int64_t step_s, from_s, end_s;
        struct dog_judged_incident *incident;
        size_t incidents, steps;
        double *p[DOG_JUDGE_MINUTES]; /* clipped; nothing said is 0 */
        bool *was_said[DOG_JUDGE_MINUTES];
        uint8_t *bits[DOG_JUDGE_MINUTES];
        double *health; /* NULL: none */
};

struct dog_node_judge {
        struct kept_node *node;
        size_t nodes, room;
};

int dog_node_judge_new(struct dog_node_judge **to, struct dog_err *e)
{
        *to = calloc(1, sizeof(**to));
        return *to ? 0 : dog_err_set(e, -ENOMEM, "judging forecasts: out of memory");
}

static void node_bits(const struct kept_node *n, int64_t horizon_s, uint8_t *bits)
{
        for (size_t k = 0; k < n->steps; k++) {
                int64_t t = n->from_s + (int64_t)k * n->step_s;
                bits[k] = 0;
                for (size_t i = 0; i < n->incidents; i++) {
                        const struct dog_judged_incident *c = &n->incident[i];
                        bits[k] |= t < c->start_s && t + horizon_s >= c->start_s ? STEP_SOON : 0;
                        bits[k] |= t >= c->start_s && t < c->end_s ? STEP_INSIDE : 0;
                        bits[k] |= t >= c->end_s && t < c->end_s + horizon_s ? STEP_AFTER : 0;
                }
                bool is_left_out = bits[k] & STEP_INSIDE || (bits[k] & STEP_AFTER && !(bits[k] & STEP_SOON));
                bits[k] |= !is_left_out && t + horizon_s < n->end_s ? STEP_USED : 0;
        }
}

static int node_keep(struct kept_node *n, const struct dog_judged_node *r)
{
        *n = (struct kept_node){.step_s = r->step_s,
                                .from_s = r->from_s,
                                .end_s = r->end_s,
                                .incidents = r->incidents,
                                .steps = (size_t)((r->end_s - r->from_s) / r->step_s)};
        n->incident = malloc((r->incidents + 1) * sizeof(*n->incident));
        if (!n->incident)
                return -ENOMEM;
        if (r->incidents)
                memcpy(n->incident, r->incident, r->incidents * sizeof(*n->incident));
        for (int h = 0; h < DOG_JUDGE_MINUTES; h++) {
                n->p[h] = malloc((n->steps + 1) * sizeof(double));
                n->was_said[h] = malloc(n->steps + 1);
                n->bits[h] = malloc(n->steps + 1);
                if (!n->p[h] || !n->was_said[h] || !n->bits[h])
                        return -ENOMEM;
                for (size_t k = 0; k < n->steps; k++) {
                        double p = r->p[h] ? r->p[h][k] : (double)NAN;
                        n->was_said[h][k] = !isnan(p);
                        n->p[h][k] = p > 0 ? (p < 1 ? p : 1) : 0;
                }
                node_bits(n, dog_judge_minutes[h] * 60, n->bits[h]);
        }
        if (!r->health)
                return 0;
        n->health = malloc((n->steps + 1) * sizeof(double));
        for (size_t k = 0; n->health && k < n->steps; k++)
                n->health[k] = isnan(r->health[k]) ? 1 : r->health[k];
        return n->health ? 0 : -ENOMEM;
}

int dog_node_judge_add(struct dog_node_judge *j, const struct dog_judged_node *r, struct dog_err *e)
{
        if (r->step_s <= 0 || r->end_s < r->from_s)
                return dog_err_set(e, -EINVAL, "a node with a step of %lld s from %lld to %lld s",
                                   (long long)r->step_s, (long long)r->from_s, (long long)r->end_s);
        if (j->nodes == j->room) {
                size_t room = j->room ? 2 * j->room : 16;
                struct kept_node *more = realloc(j->node, room * sizeof(*more));
                if (!more)
                        return dog_err_set(e, -ENOMEM, "judging forecasts: out of memory");
                j->node = more;
                j->room = room;
        }
        if (node_keep(&j->node[j->nodes++], r) < 0)
                return dog_err_set(e, -ENOMEM, "judging forecasts: out of memory");
        return 0;
}

/* ---- incidents at one threshold ---- */

struct count {
        double hits, detected, false_alarms;
        double *lead, *delay; /* room for every incident; NULL: not wanted */
        size_t leads, delays;
};

static bool node_alarms(const struct kept_node *n, int h, double threshold, size_t k)
{
        return n->p[h][k] >= threshold;
}

/* The first step at or after t. */
static size_t node_step_at(const struct kept_node *n, int64_t t)
{
        if (t <= n->from_s)
                return 0;
        size_t k = (size_t)((t - n->from_s + n->step_s - 1) / n->step_s);
        return k < n->steps ? k : n->steps;
}

static void count_incident(const struct kept_node *n, int h, double threshold,
                           const struct dog_judged_incident *c, struct count *to)
{
        int64_t horizon_s = dog_judge_minutes[h] * 60;
        size_t start = node_step_at(n, c->start_s);
        bool is_hit = false;
        for (size_t k = node_step_at(n, c->start_s - horizon_s); k < start && !is_hit; k++)
                is_hit = !(n->bits[h][k] & STEP_INSIDE) && node_alarms(n, h, threshold, k);
        if (is_hit) {
                size_t k = start;
                while (k > 0 && !node_alarms(n, h, threshold, k - 1))
                        k--;
                while (k > 1 && node_alarms(n, h, threshold, k - 2))
                        k--;
                int64_t lead_s = c->start_s - (n->from_s + (int64_t)(k > 0 ? k - 1 : 0) * n->step_s);
                to->hits++;
                if (to->lead)
                        to->lead[to->leads++] = (double)(lead_s < horizon_s ? lead_s : horizon_s);
        }
        size_t end = node_step_at(n, c->start_s + horizon_s + 1);
        for (size_t k = node_step_at(n, c->start_s - horizon_s); k < end; k++) {
                if (!node_alarms(n, h, threshold, k))
                        continue;
                int64_t delay_s = n->from_s + (int64_t)k * n->step_s - c->start_s;
                to->detected++;
                if (to->delay)
                        to->delay[to->delays++] = (double)(delay_s > 0 ? delay_s : 0);
                return;
        }
}

static void count_false(const struct kept_node *n, int h, double threshold, struct count *to)
{
        int64_t horizon_s = dog_judge_minutes[h] * 60;
        int64_t start = 0;
        int64_t end = INT64_MIN;
        for (size_t k = 0; k < n->steps; k++) {
                if (!node_alarms(n, h, threshold, k) ||
                    n->bits[h][k] & (STEP_INSIDE | STEP_SOON | STEP_AFTER))
                        continue;
                int64_t t = n->from_s + (int64_t)k * n->step_s;
                if (end == INT64_MIN || t - end > horizon_s) {
                        to->false_alarms += end == INT64_MIN ? 0 : ceil((double)(end - start) / 3600);
                        start = t;
                }
                end = t + n->step_s;
        }
        to->false_alarms += end == INT64_MIN ? 0 : ceil((double)(end - start) / 3600);
}

static struct count count_all(const struct dog_node_judge *j, int h, double threshold, double *lead,
                              double *delay)
{
        struct count c = {.lead = lead, .delay = delay};
        for (size_t i = 0; i < j->nodes; i++) {
                for (size_t k = 0; k < j->node[i].incidents; k++)
                        count_incident(&j->node[i], h, threshold, &j->node[i].incident[k], &c);
                count_false(&j->node[i], h, threshold, &c);
        }
        return c;
}

/* ---- thresholds worth trying ---- */

static int value_compare(const void *a, const void *b)
{
        double x = *(const double *)a;
        double y = *(const double *)b;
        return (x > y) - (x < y);
}

/* Quantile of sorted values, linear between them. */
static double value_quantile(const double *value, size_t count, double share)
{
        double at = share * (double)(count - 1);
        size_t low = (size_t)at;
        if (low + 1 >= count)
                return value[count - 1];
        return value[low] + (value[low + 1] - value[low]) * (at - (double)low);
}

/* Sorted values of the steps that have any of these bits; NULL without memory, *count 0 for none. */
static double *values_of(const struct dog_node_judge *j, int h, uint8_t need, size_t *count)
{
        size_t room = 1;
        for (size_t i = 0; i < j->nodes; i++)
                room += j->node[i].steps;
        double *value = malloc(room * sizeof(*value));
        *count = 0;
        for (size_t i = 0; value && i < j->nodes; i++)
                for (size_t k = 0; k < j->node[i].steps; k++)
                        if ((j->node[i].bits[h][k] & need) == need)
                                value[(*count)++] = j->node[i].p[h][k];
        if (value)
                qsort(value, *count, sizeof(*value), value_compare);
        return value;
}

/* Where incidents are, where the highest values are, and where something was about to start. Rising. */
static int thresholds_make(const struct dog_node_judge *j, int h, double to[CANDIDATES], size_t *count)
{
        static const struct {
                uint8_t need;
                int points;
        } part[] = {{STEP_INSIDE, CANDIDATES_INSIDE},
                    {STEP_USED, CANDIDATES_TOP},
                    {STEP_USED | STEP_SOON, CANDIDATES_HIT}};
        *count = 0;
        for (size_t i = 0; i < 3; i++) {
                size_t values;
                double *value = values_of(j, h, part[i].need, &values);
                if (!value)
                        return -ENOMEM;
                for (int q = 0; values > 0 && q < part[i].points; q++) {
                        double share = (double)q / (part[i].points - 1);
                        if (part[i].points == CANDIDATES_TOP)
                                share = 1 - 1e-5 * pow(0.5 / 1e-5, share);
                        to[(*count)++] = value_quantile(value, values, share);
                }
                free(value);
        }
        qsort(to, *count, sizeof(*to), value_compare);
        return 0;
}

static int events_find(const struct dog_node_judge *j, int h, size_t incidents, struct dog_node_row *row)
{
        double threshold[CANDIDATES];
        struct count count[CANDIDATES];
        size_t candidates;
        double *lead = malloc((incidents + 1) * sizeof(*lead));
        double *delay = malloc((incidents + 1) * sizeof(*delay));
        int rc = lead && delay ? thresholds_make(j, h, threshold, &candidates) : -ENOMEM;
        for (size_t i = 0; rc == 0 && i < candidates; i++)
                if (threshold[i] > 0)
                        count[i] = count_all(j, h, threshold[i], NULL, NULL);
        for (int b = 0; rc == 0 && b < DOG_JUDGE_BUDGETS; b++) {
                size_t best = SIZE_MAX;
                size_t seen = SIZE_MAX;
                struct dog_judged_event *v = &row->event[b];
                *v = (struct dog_judged_event){.threshold = 1, .lead_s = (double)NAN, .delay_s = (double)NAN};
                for (size_t i = 0; i < candidates; i++) {
                        const struct count *c = &count[i];
                        if (!(threshold[i] > 0) || c->false_alarms / row->node_days > dog_judge_budget[b])
                                continue;
                        if (best == SIZE_MAX || c->hits > count[best].hits ||
                            (c->hits >= count[best].hits && c->false_alarms < count[best].false_alarms))
                                best = i;
                        if (seen == SIZE_MAX || c->detected > count[seen].detected ||
                            (c->detected >= count[seen].detected &&
                             c->false_alarms < count[seen].false_alarms))
                                seen = i;
                }
                if (best == SIZE_MAX || incidents == 0)
                        continue;
                struct count hit = count_all(j, h, threshold[best], lead, NULL);
                struct count detected = count_all(j, h, threshold[seen], NULL, delay);
                *v = (struct dog_judged_event){.threshold = threshold[best],
                                               .false_alarms = hit.false_alarms / row->node_days,
                                               .recall = hit.hits / (double)incidents,
                                               .lead_s = dog_metrics_median(lead, hit.leads),
                                               .detect = detected.detected / (double)incidents,
                                               .delay_s = dog_metrics_median(delay, detected.delays)};
        }
        free(lead);
        free(delay);
        return rc;
}

/* ---- the report ---- */

static int row_make(const struct dog_node_judge *j, int h, size_t incidents, struct dog_node_row *row,
                    struct dog_err *e)
{
        struct dog_said_list said = {0};
        double steps = 0;
        double was_said = 0;
        int rc = 0;
        for (size_t i = 0; i < j->nodes && rc == 0; i++) {
                const struct kept_node *n = &j->node[i];
                for (size_t k = 0; k < n->steps && rc == 0; k++) {
                        steps++;
                        was_said += n->was_said[h][k];
                        if (!(n->bits[h][k] & STEP_USED))
                                continue;
                        row->node_days += (double)n->step_s / 86400;
                        rc = dog_said_add(&said, n->p[h][k], n->bits[h][k] & STEP_SOON);
                }
        }
        if (rc == 0)
                rc = dog_metrics_score(&said, DOG_BINS_COUNT, &row->scores, e);
        dog_said_free(&said);
        if (rc < 0)
                return dog_err_set(e, rc, "judging forecasts: out of memory");
        /* Over all steps, not only those that count: a forecaster may not choose where to speak. */
        row->scores.cover = steps > 0 ? was_said / steps : (double)NAN;
        row->is_judged = row->scores.base > 0 && row->scores.base < 0.5;
        rc = row->is_judged ? events_find(j, h, incidents, row) : 0;
        return rc < 0 ? dog_err_set(e, rc, "judging forecasts: out of memory") : 0;
}

static int health_make(const struct dog_node_judge *j, double *auroc)
{
        struct dog_said_list said = {0};
        int rc = 0;
        *auroc = (double)NAN;
        for (size_t i = 0; i < j->nodes && rc == 0; i++) {
                const struct kept_node *n = &j->node[i];
                for (size_t k = 0; n->health && k < n->steps && rc == 0; k++)
                        rc = dog_said_add(&said, 1 - n->health[k], n->bits[0][k] & STEP_INSIDE);
        }
        if (rc == 0 && said.count > 0)
                *auroc = dog_metrics_auroc(&said);
        dog_said_free(&said);
        return rc;
}

int dog_node_judge_end(struct dog_node_judge *j, struct dog_node_report *report, struct dog_err *e)
{
        int rc = 0;
        *report = (struct dog_node_report){.nodes = j->nodes};
        for (size_t i = 0; i < j->nodes; i++)
                report->incidents += j->node[i].incidents;
        for (int h = 0; h < DOG_JUDGE_MINUTES && rc == 0; h++)
                rc = row_make(j, h, report->incidents, &report->row[h], e);
        if (rc == 0 && health_make(j, &report->health_auroc) < 0)
                rc = dog_err_set(e, -ENOMEM, "judging forecasts: out of memory");
        return rc;
}

void dog_node_judge_free(struct dog_node_judge *j)
{
        for (size_t i = 0; j && i < j->nodes; i++) {
                struct kept_node *n = &j->node[i];
                for (int h = 0; h < DOG_JUDGE_MINUTES; h++) {
                        free(n->p[h]);
                        free(n->was_said[h]);
                        free(n->bits[h]);
                }
                free(n->incident);
                free(n->health);
        }
        if (j)
                free(j->node);
        free(j);
}
