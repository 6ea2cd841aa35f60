#include "learn/judge_paths.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One path at one horizon, kept until the threshold is known. */
struct kept_line {
        double *p;
        uint8_t *bits;
        size_t steps;
        int64_t step_ms;
        int horizon;
};

struct dog_path_judge {
        int64_t horizon_ms[DOG_JUDGE_HORIZONS];
        struct kept_line *line;
        size_t lines, room;
        struct dog_tradeoff tradeoff;
        size_t recordings, samples;
};

int dog_path_judge_new(struct dog_path_judge **to, struct dog_err *e)
{
        struct dog_path_judge *j = calloc(1, sizeof(*j));
        *to = j;
        if (!j)
                return dog_err_set(e, -ENOMEM, "judging forecasts: out of memory");
        static const int64_t horizon_ms[DOG_JUDGE_HORIZONS] = {1000, 5000, 30000};
        memcpy(j->horizon_ms, horizon_ms, sizeof(horizon_ms));
        j->tradeoff = dog_tradeoff_begin();
        return 0;
}

void dog_path_judge_steering(struct dog_path_judge *j, double hysteresis, int64_t delay_ms)
{
        j->tradeoff.hysteresis = hysteresis;
        j->tradeoff.delay_ms = delay_ms;
}

void dog_path_outcomes(const bool *is_seen, const bool *is_bad, size_t steps, int64_t step_ms,
                       int64_t horizon_ms, int pace, uint8_t *bits)
{
        size_t every = pace > 1 ? (size_t)pace : 1;
        size_t horizon = (size_t)(horizon_ms / step_ms);
        size_t second = step_ms < 1000 ? (size_t)(1000 / step_ms) : 1;
        size_t settle = (size_t)(2000 / step_ms);
        size_t first = SIZE_MAX;
        size_t bad_last = SIZE_MAX;
        size_t seen_ahead = 0;
        size_t bad_ahead = 0;
        memset(bits, 0, steps);
        /* The window (k, k + horizon] slides along; what is beyond the end is neither seen nor bad. */
        for (size_t k = 1; k <= horizon && k < steps; k++) {
                seen_ahead += is_seen[k];
                bad_ahead += is_seen[k] && is_bad[k];
        }
        for (size_t k = 0; k < steps; k++) {
                first = first == SIZE_MAX && is_seen[k] ? k : first;
                if (is_seen[k] && is_bad[k]) {
                        bits[k] |= DOG_LINE_BAD;
                        bad_last = k;
                }
                if (is_seen[k] && (bad_last == SIZE_MAX || k - bad_last >= second))
                        bits[k] |= DOG_LINE_ONSET;
                if (bad_ahead > 0)
                        bits[k] |= DOG_LINE_SOON;
                if (is_seen[k] && horizon > 0 && k + horizon < steps && steps >= 3 * horizon &&
                    k >= first + settle && 10 * seen_ahead * every >= 8 * horizon)
                        bits[k] |= DOG_LINE_JUDGED;
                if (k + 1 < steps) {
                        seen_ahead -= is_seen[k + 1];
                        bad_ahead -= is_seen[k + 1] && is_bad[k + 1];
                }
                if (k + 1 + horizon < steps) {
                        seen_ahead += is_seen[k + 1 + horizon];
                        bad_ahead += is_seen[k + 1 + horizon] && is_bad[k + 1 + horizon];
                }
        }
}

static int judge_keep(struct dog_path_judge *j, const struct dog_judged_path *r, int path, int h,
                      size_t steps)
{
        if (j->lines == j->room) {
                size_t room = j->room ? 2 * j->room : 256;
                struct kept_line *more = realloc(j->line, room * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                j->line = more;
                j->room = room;
        }
        struct kept_line *line = &j->line[j->lines++];
        size_t at = (size_t)path * r->steps;
        *line = (struct kept_line){.p = malloc(steps * sizeof(double)),
                                   .bits = malloc(steps),
                                   .steps = steps,
                                   .step_ms = r->step_ms,
                                   .horizon = h};
        if (!line->p || !line->bits)
                return -ENOMEM;
        for (size_t k = 0; k < steps; k++)
                line->p[k] = r->p[h] ? r->p[h][at + k] : (double)NAN;
        dog_path_outcomes(r->is_seen + at, r->is_bad + at, steps, r->step_ms, j->horizon_ms[h], r->pace,
                          line->bits);
        return 0;
}

/* Steps after the last sample of any path are no part of the recording. */
static size_t record_end(const struct dog_judged_path *r)
{
        for (size_t k = r->steps; k > 0; k--)
                for (int p = 0; p < r->paths; p++)
                        if (r->is_seen[(size_t)p * r->steps + k - 1])
                                return k;
        return 0;
}

/*
 * Paths with paces of their own hardly ever have a sample in the same step. As for whoever steers by them,
 * what was measured and said of one holds until its next sample, or until that is overdue.
 */
static int judge_held(struct dog_path_judge *j, const struct dog_alternatives *a, int pace, struct dog_err *e)
{
        size_t points = (size_t)a->count * a->steps;
        struct dog_alternatives held = *a;
        bool *is_seen = malloc(points);
        bool *is_bad = malloc(points);
        double *p = malloc(points * sizeof(double));
        double *p_copy = malloc(points * sizeof(double));
        int rc = is_seen && is_bad && p && p_copy ? 0 : -ENOMEM;
        for (size_t i = 0; i < points && rc == 0; i++) {
                size_t from = i;
                size_t first = i - i % a->steps;
                while (!a->is_seen[from] && from > first && i - from <= (size_t)pace)
                        from--;
                is_seen[i] = a->is_seen[from] && i - from <= (size_t)pace;
                is_bad[i] = a->is_bad[from];
                p[i] = a->p[from];
                p_copy[i] = a->p_copy[from];
        }
        held.is_seen = is_seen;
        held.is_bad = is_bad;
        held.p = p;
        held.p_copy = p_copy;
        held.joint = NULL;
        rc = rc < 0 ? dog_err_set(e, rc, "judging %zu steps: out of memory", a->steps)
                    : dog_tradeoff_add(&j->tradeoff, &held, e);
        free(is_seen);
        free(is_bad);
        free(p);
        free(p_copy);
        return rc;
}

int dog_path_judge_add(struct dog_path_judge *j, const struct dog_judged_path *r, struct dog_err *e)
{
        if (r->step_ms <= 0)
                return dog_err_set(e, -EINVAL, "a recording with a step of %lld ms", (long long)r->step_ms);
        size_t steps = record_end(r);
        int rc = 0;
        j->recordings++;
        for (size_t k = 0; k < (size_t)r->paths * r->steps; k++)
                j->samples += r->is_seen[k];
        for (int p = 0; p < r->paths && steps > 0; p++)
                for (int h = 0; h < DOG_JUDGE_HORIZONS && rc == 0; h++)
                        rc = judge_keep(j, r, p, h, steps);
        if (rc < 0)
                return dog_err_set(e, rc, "judging %zu steps: out of memory", steps);
        const double *p_copy = r->p_copy ? r->p_copy : r->p[0];
        const double *p = r->p_steer ? r->p_steer : p_copy;
        if (!p)
                return 0;
        struct dog_alternatives a = {.count = r->paths,
                                     .steps = r->steps,
                                     .step_ms = r->step_ms,
                                     .p = p,
                                     .p_copy = p_copy,
                                     .joint = r->joint,
                                     .is_seen = r->is_seen,
                                     .is_bad = r->is_bad};
        return r->pace > 1 ? judge_held(j, &a, r->pace, e) : dog_tradeoff_add(&j->tradeoff, &a, e);
}

static int judge_said(const struct dog_path_judge *j, int h, uint8_t need, struct dog_said_list *said)
{
        for (size_t i = 0; i < j->lines; i++) {
                const struct kept_line *line = &j->line[i];
                for (size_t k = 0; line->horizon == h && k < line->steps; k++)
                        if ((line->bits[k] & need) == need &&
                            dog_said_add(said, line->p[k], line->bits[k] & DOG_LINE_SOON) < 0)
                                return -ENOMEM;
        }
        return 0;
}

static int judge_row(const struct dog_path_judge *j, int h, enum dog_judge_subset subset,
                     struct dog_path_row *row, struct dog_err *e)
{
        struct dog_said_list said = {0};
        struct dog_alarms alarms = {0};
        uint8_t need = (uint8_t)(DOG_LINE_JUDGED | (subset == DOG_JUDGE_ONSET ? DOG_LINE_ONSET : 0));
        int rc = judge_said(j, h, need, &said);
        if (rc == 0)
                rc = dog_metrics_score(&said, DOG_BINS_WIDTH, &row->scores, e);
        dog_said_free(&said);
        for (size_t i = 0; i < j->lines && rc == 0; i++) {
                const struct kept_line *k = &j->line[i];
                struct dog_line line = {.p = k->p, .bits = k->bits, .steps = k->steps, .step_ms = k->step_ms};
                if (k->horizon == h)
                        rc = dog_alarms_add(&alarms, &line, j->horizon_ms[h], row->scores.threshold_50,
                                            subset == DOG_JUDGE_ONSET);
        }
        row->episodes = alarms.episodes;
        row->detected = alarms.episodes ? (double)alarms.detected / (double)alarms.episodes : (double)NAN;
        row->lead_s = dog_alarms_lead_s(&alarms);
        row->false_alarms_h = alarms.hours > 0 ? (double)alarms.false_alarms / alarms.hours : (double)NAN;
        dog_alarms_free(&alarms);
        return rc < 0 ? dog_err_set(e, rc, "judging forecasts: out of memory") : 0;
}

int dog_path_judge_end(struct dog_path_judge *j, struct dog_path_report *report, struct dog_err *e)
{
        int rc = 0;
        memset(report, 0, sizeof(*report));
        memcpy(report->horizon_ms, j->horizon_ms, sizeof(j->horizon_ms));
        report->recordings = j->recordings;
        report->samples = j->samples;
        for (int h = 0; h < DOG_JUDGE_HORIZONS; h++) {
                for (int s = 0; s < DOG_JUDGE_SUBSETS && rc == 0; s++)
                        rc = judge_row(j, h, (enum dog_judge_subset)s, &report->row[h][s], e);
                report->is_judged[h] = report->row[h][DOG_JUDGE_ALL].scores.count > 0;
        }
        if (rc == 0)
                rc = dog_tradeoff_end(&j->tradeoff, e);
        if (rc < 0)
                return rc;
        report->tradeoff = j->tradeoff;
        j->tradeoff = dog_tradeoff_begin();
        return 0;
}

void dog_path_judge_free(struct dog_path_judge *j)
{
        if (!j)
                return;
        for (size_t i = 0; i < j->lines; i++) {
                free(j->line[i].p);
                free(j->line[i].bits);
        }
        free(j->line);
        dog_tradeoff_free(&j->tradeoff);
        free(j);
}

void dog_path_report_free(struct dog_path_report *report)
{
        dog_tradeoff_free(&report->tradeoff);
}
