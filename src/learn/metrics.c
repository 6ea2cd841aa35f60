#include "learn/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int dog_said_add(struct dog_said_list *to, double p, bool happened)
{
        if (to->count == to->room) {
                size_t room = to->room ? 2 * to->room : 4096;
                struct dog_said *more = realloc(to->list, room * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                to->list = more;
                to->room = room;
        }
        to->list[to->count++] = (struct dog_said){.p = p, .happened = happened};
        return 0;
}

void dog_said_free(struct dog_said_list *list)
{
        free(list->list);
        *list = (struct dog_said_list){0};
}

/* A pair on its way through the sorting: the place in the list breaks ties, so that the order is one. */
struct pair {
        double p;
        uint32_t place;
        bool happened;
};

static double pair_chance(double p)
{
        if (!(p > 0)) /* NaN too: nothing was said */
                return 0;
        return p < 1 ? p : 1;
}

static int pair_compare(const void *a, const void *b)
{
        const struct pair *x = a;
        const struct pair *y = b;
        if (x->p < y->p || x->p > y->p)
                return x->p < y->p ? -1 : 1;
        return (x->place > y->place) - (x->place < y->place);
}

/* Rising p. NULL for none or without memory. */
static struct pair *pairs_sorted(const struct dog_said_list *said)
{
        struct pair *pair =
                said->count && said->count <= UINT32_MAX ? malloc(said->count * sizeof(*pair)) : NULL;
        if (!pair)
                return NULL;
        for (size_t i = 0; i < said->count; i++)
                pair[i] = (struct pair){.p = pair_chance(said->list[i].p),
                                        .place = (uint32_t)i,
                                        .happened = said->list[i].happened};
        qsort(pair, said->count, sizeof(*pair), pair_compare);
        return pair;
}

/* By rank sums (Mann and Whitney); a block of ties shares its middle rank. */
static double pairs_auroc(const struct pair *pair, size_t count, double happened)
{
        double ranks = 0;
        for (size_t i = 0; i < count;) {
                size_t end = i;
                double here = 0;
                while (end < count && !(pair[end].p > pair[i].p))
                        here += pair[end++].happened;
                ranks += here * (double)(i + 1 + end) / 2;
                i = end;
        }
        double not = (double)count - happened;
        return happened > 0 && not > 0 ? (ranks - happened * (happened + 1) / 2) / (happened * not )
                                       : (double)NAN;
}

/* Thresholds from the top down; ties move together. */
static void pairs_precision(const struct pair *pair, size_t count, double happened, struct dog_scores *s)
{
        double hits = 0;
        double recall_before = 0;
        s->ap = happened > 0 ? 0 : (double)NAN;
        s->recall_50 = 0;
        s->threshold_50 = (double)INFINITY;
        for (size_t i = count; i > 0;) {
                double p = pair[i - 1].p;
                while (i > 0 && !(pair[i - 1].p < p))
                        hits += pair[--i].happened;
                double precision = hits / (double)(count - i);
                double recall = happened > 0 ? hits / happened : 0;
                s->ap += (recall - recall_before) * precision;
                recall_before = recall;
                if (precision >= 0.5 && (recall > s->recall_50 || isinf(s->threshold_50))) {
                        s->recall_50 = recall;
                        s->threshold_50 = p;
                }
        }
}

static void bin_add(struct dog_bin *bin, const struct pair *pair)
{
        bin->count++;
        bin->said += pair->p;
        bin->happened += pair->happened;
}

static void pairs_bins(const struct pair *pair, size_t count, enum dog_binning binning, struct dog_scores *s)
{
        /* Of equal count: the first `rest` bins hold one more. */
        size_t size = count / DOG_BINS;
        size_t rest = count % DOG_BINS;
        size_t bin = 0;
        size_t room = size + (rest > 0);
        for (size_t i = 0; i < count; i++) {
                if (binning == DOG_BINS_WIDTH) {
                        bin = (size_t)(pair[i].p * DOG_BINS);
                        bin = bin < DOG_BINS ? bin : DOG_BINS - 1;
                } else {
                        while (room == 0) {
                                bin++;
                                room = size + (bin < rest);
                        }
                        room--;
                }
                bin_add(&s->bin[bin], &pair[i]);
        }
        s->ece = 0;
        for (size_t b = 0; b < DOG_BINS; b++) {
                double n = (double)s->bin[b].count;
                s->ece += fabs(s->bin[b].said - s->bin[b].happened) / (double)count;
                s->bin[b].said = n > 0 ? s->bin[b].said / n : (double)NAN;
                s->bin[b].happened = n > 0 ? s->bin[b].happened / n : (double)NAN;
        }
}

int dog_metrics_score(const struct dog_said_list *said, enum dog_binning binning, struct dog_scores *out,
                      struct dog_err *e)
{
        double none = (double)NAN;
        *out = (struct dog_scores){.count = said->count,
                                   .cover = none,
                                   .base = none,
                                   .auroc = none,
                                   .ap = none,
                                   .brier = none,
                                   .skill = none,
                                   .ece = none,
                                   .recall_50 = none,
                                   .threshold_50 = none};
        if (said->count == 0)
                return 0;
        struct pair *pair = pairs_sorted(said);
        if (!pair)
                return dog_err_set(e, -ENOMEM, "scoring %zu forecasts: out of memory", said->count);
        double happened = 0;
        double square = 0;
        double cover = 0;
        double n = (double)said->count;
        for (size_t i = 0; i < said->count; i++) {
                double y = pair[i].happened ? 1 : 0;
                happened += y;
                square += (pair[i].p - y) * (pair[i].p - y);
                cover += !isnan(said->list[i].p);
        }
        out->cover = cover / n;
        out->base = happened / n;
        out->brier = square / n;
        if (happened > 0 && happened < n)
                out->skill = 1 - out->brier / (out->base * (1 - out->base));
        out->auroc = pairs_auroc(pair, said->count, happened);
        pairs_precision(pair, said->count, happened, out);
        pairs_bins(pair, said->count, binning, out);
        free(pair);
        return 0;
}

double dog_metrics_auroc(const struct dog_said_list *said)
{
        struct pair *pair = pairs_sorted(said);
        double happened = 0;
        for (size_t i = 0; pair && i < said->count; i++)
                happened += pair[i].happened;
        double auroc = pair ? pairs_auroc(pair, said->count, happened) : (double)NAN;
        free(pair);
        return auroc;
}

static int value_compare(const void *a, const void *b)
{
        double x = *(const double *)a;
        double y = *(const double *)b;
        return (x > y) - (x < y);
}

double dog_metrics_median(double *value, size_t count)
{
        if (count == 0)
                return (double)NAN;
        qsort(value, count, sizeof(*value), value_compare);
        return 0.5 * (value[(count - 1) / 2] + value[count / 2]);
}

/* ---- alarms ---- */

static int alarms_lead(struct dog_alarms *a, double lead_s)
{
        if (a->leads == a->room) {
                size_t room = a->room ? 2 * a->room : 256;
                double *more = realloc(a->lead_s, room * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                a->lead_s = more;
                a->room = room;
        }
        a->lead_s[a->leads++] = lead_s;
        return 0;
}

struct alarm_rule {
        double threshold;
        uint8_t need; /* bits a step must have to alarm */
};

static bool alarm_at(const struct dog_line *line, const struct alarm_rule *rule, size_t k)
{
        return (line->bits[k] & rule->need) == rule->need && pair_chance(line->p[k]) >= rule->threshold;
}

int dog_alarms_add(struct dog_alarms *a, const struct dog_line *line, int64_t horizon_ms, double threshold,
                   bool is_onset)
{
        struct alarm_rule rule = {.threshold = threshold,
                                  .need = (uint8_t)(DOG_LINE_JUDGED | (is_onset ? DOG_LINE_ONSET : 0))};
        size_t horizon = (size_t)(horizon_ms / line->step_ms);
        size_t second = line->step_ms < 1000 ? (size_t)(1000 / line->step_ms) : 1;
        size_t bad_before = SIZE_MAX;
        bool was_alarm = false;
        for (size_t k = 0; k < line->steps; k++) {
                bool is_alarm = alarm_at(line, &rule, k);
                a->hours += line->bits[k] & DOG_LINE_JUDGED ? (double)line->step_ms / 3.6e6 : 0;
                a->false_alarms += is_alarm && !was_alarm && !(line->bits[k] & DOG_LINE_SOON);
                was_alarm = is_alarm;
                if (!(line->bits[k] & DOG_LINE_BAD))
                        continue;
                bool is_start = bad_before == SIZE_MAX || k - bad_before > second;
                bad_before = k;
                if (!is_start)
                        continue;
                /* Only episodes that could have been foreseen: something was judged in the horizon before. */
                size_t from = k > horizon ? k - horizon : 0;
                size_t first = k;
                bool is_known = false;
                for (size_t i = k; i > from; i--) {
                        is_known |= (line->bits[i - 1] & DOG_LINE_JUDGED) != 0;
                        if (alarm_at(line, &rule, i - 1))
                                first = i - 1;
                }
                a->episodes += is_known;
                if (first == k)
                        continue;
                a->detected++;
                if (alarms_lead(a, (double)(k - first) * (double)line->step_ms / 1000) < 0)
                        return -ENOMEM;
        }
        return 0;
}

double dog_alarms_lead_s(struct dog_alarms *a)
{
        return dog_metrics_median(a->lead_s, a->leads);
}

void dog_alarms_free(struct dog_alarms *a)
{
        free(a->lead_s);
        *a = (struct dog_alarms){0};
}
