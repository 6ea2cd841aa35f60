#include "traces.h"

#include "base/clock.h"
#include "models/quantile.h"
#include "models/risk.h"
#include "wire/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MOST = 1024, FIELDS_MOST = 16 };

/*
 * The list is read here, not by wire/trace.h: that one hands out no paths, seconds and date.
 * Splits in place at commas; quotes do not occur in this file.
 */
static int traces_split(char *line, char **field, int most)
{
        int count = 0;
        line[strcspn(line, "\r\n")] = 0;
        for (char *at = line; at && count < most;) {
                field[count++] = at;
                at = strchr(at, ',');
                if (at)
                        *at++ = 0;
        }
        return count;
}

static float traces_number(bool is_there, double value)
{
        return is_there ? (float)value : NAN;
}

static int traces_path(const struct trace *t, const char *name)
{
        for (int p = 0; p < t->paths; p++)
                if (strcmp(t->path[p], name) == 0)
                        return p;
        return -1;
}

/* Put a row where it belongs. `name` and `line` are for the sentence. */
static int traces_place(struct trace *t, const char *path, const struct dog_trace_row *row, const char *name,
                        int line, struct dog_err *e)
{
        int64_t step = row->t_ms / t->step_ms;
        int p = traces_path(t, path);
        if (p < 0 || step > 10000000)
                return dog_err_set(e, -EINVAL, "%s: line %d: unknown path \"%s\" or time %lld", name, line,
                                   path, (long long)row->t_ms);
        if (step >= t->length)
                return dog_err_set(e, -EINVAL, "%s: line %d: later than the trace's seconds", name, line);
        t->point[p * t->length + step] =
                (struct trace_point){.is_seen = true,
                                     .margin = NAN,
                                     .rtt_ms = traces_number(row->has_rtt, row->rtt_ms),
                                     .loss = traces_number(row->has_loss, row->loss),
                                     .rate_kbps = traces_number(row->has_rate, row->rate_kbps)};
        return 0;
}

static int traces_rows(struct trace *t, const char *folder, struct dog_err *e)
{
        char name[512];
        struct dog_trace *in;
        struct dog_trace_row row;
        int line = 1; /* the header's; each row is a line, the reader refuses empty ones */
        snprintf(name, sizeof(name), "%s/%s.csv.gz", folder, t->name);
        int rc = dog_trace_open(&in, name, e);
        if (rc < 0)
                return rc;
        while ((rc = dog_trace_next(in, &row, e)) > 0) {
                rc = traces_place(t, dog_trace_path_name(in, row.path), &row, name, ++line, e);
                if (rc < 0)
                        break;
        }
        dog_trace_close(in);
        return rc;
}

static int traces_compare(const void *a, const void *b)
{
        float x = *(const float *)a;
        float y = *(const float *)b;
        return (x > y) - (x < y);
}

static double traces_median_before(const struct trace *t, const struct trace_point *row, int at)
{
        float value[700];
        int count = 0;
        int window = (int)(60000 / t->step_ms);
        for (int k = at > window ? at - window : 0; k < at; k++)
                if (row[k].is_seen && row[k].rtt_ms == row[k].rtt_ms && count < 700)
                        value[count++] = row[k].rtt_ms;
        if (count < 5)
                return NAN;
        qsort(value, (size_t)count, sizeof(value[0]), traces_compare);
        return 0.5 * ((double)value[(count - 1) / 2] + (double)value[count / 2]);
}

static double traces_rate_of_second(const struct trace *t, const struct trace_point *row, int at)
{
        int window = (int)(1000 / t->step_ms);
        double sum = 0;
        int count = 0;
        for (int k = at; k >= 0 && k > at - (window > 1 ? window : 1); k--)
                if (row[k].is_seen && row[k].rate_kbps == row[k].rate_kbps) {
                        sum += (double)row[k].rate_kbps;
                        count++;
                }
        return count ? sum / count : (double)NAN;
}

static double traces_limit(double median)
{
        return median == median && 2 * median > 100 ? 2 * median : 100;
}

static void traces_judge(struct traces *all, struct trace *t, int p)
{
        struct trace_point *row = t->point + (size_t)p * (size_t)t->length;
        struct dog_window window;
        dog_window_init(&window, 60 * DOG_S);
        for (int k = 0; k < t->length; k++) {
                struct trace_point *q = &row[k];
                int64_t t_ns = k * t->step_ms * DOG_MS;
                float part[3] = {NAN, NAN, NAN};
                if (!q->is_seen)
                        continue;
                bool is_lost = (double)q->loss >= 0.02;
                q->is_bad = q->is_bad_seen = is_lost;
                if (is_lost)
                        part[0] = q->loss >= 1 ? DOG_MARGIN_LOST : dog_margin_loss((double)q->loss, 0.02);
                if (q->rtt_ms == q->rtt_ms) {
                        double kept = traces_limit(dog_window_median(&window, t_ns, 5));
                        q->is_bad |= (double)q->rtt_ms > traces_limit(traces_median_before(t, row, k));
                        q->is_bad_seen |= (double)q->rtt_ms > kept;
                        part[1] = dog_margin_rtt((double)q->rtt_ms, kept);
                        dog_window_learn(&window, (double)q->rtt_ms, t_ns);
                }
                if (t->need_kbps > 0 && q->rate_kbps == q->rate_kbps) {
                        double rate = traces_rate_of_second(t, row, k);
                        bool is_slow = rate < t->need_kbps;
                        q->is_bad |= is_slow;
                        q->is_bad_seen |= is_slow;
                        part[2] = dog_margin_rate(rate, t->need_kbps);
                }
                q->margin = dog_margin_least(part, 3);
                all->points++;
                all->differing += q->is_bad != q->is_bad_seen;
        }
}

static int traces_header(struct trace *t, char **field, int fields)
{
        char *save = NULL;
        if (fields < 11)
                return -EINVAL;
        memset(t, 0, sizeof(*t));
        if (strlen(field[0]) >= sizeof(t->name) || strlen(field[1]) >= sizeof(t->family) ||
            strlen(field[10]) >= sizeof(t->date))
                return -EINVAL;
        memcpy(t->name, field[0], strlen(field[0]) + 1);
        memcpy(t->family, field[1], strlen(field[1]) + 1);
        memcpy(t->date, field[10], strlen(field[10]) + 1);
        t->step_ms = strtol(field[2], NULL, 10);
        t->need_kbps = *field[7] ? strtod(field[7], NULL) : 0;
        t->length = t->step_ms > 0 ? (int)(strtod(field[5], NULL) * 1000 / (double)t->step_ms) + 2 : 0;
        for (char *p = strtok_r(field[3], "+", &save); p && t->paths < TRACE_PATHS;
             p = strtok_r(NULL, "+", &save))
                snprintf(t->path[t->paths++], sizeof(t->path[0]), "%s", p);
        return t->step_ms > 0 && t->paths > 0 && t->length > 0 ? 0 : -EINVAL;
}

static bool traces_is_wanted(const char *family, const char *const *families)
{
        if (!families)
                return true;
        for (; *families; families++)
                if (strcmp(*families, family) == 0)
                        return true;
        return false;
}

static int traces_append(struct traces *t, const struct trace *one, struct dog_err *e)
{
        if (t->count == t->room) {
                int room = t->room ? 2 * t->room : 64;
                struct trace *more = realloc(t->list, (size_t)room * sizeof(*more));
                if (!more)
                        return dog_err_set(e, -ENOMEM, "%s: out of memory", one->name);
                t->list = more;
                t->room = room;
        }
        t->list[t->count] = *one;
        t->list[t->count].point = calloc((size_t)one->paths * (size_t)one->length, sizeof(*one->point));
        if (!t->list[t->count].point)
                return dog_err_set(e, -ENOMEM, "%s: out of memory", one->name);
        t->count++;
        return 0;
}

int traces_thin(struct traces *t, int stride, struct dog_err *e)
{
        int whole = t->count;
        for (int i = 0; i < whole * stride; i++) {
                struct trace thin = t->list[i / stride];
                int phase = i % stride;
                int length = thin.length;
                thin.step_ms *= stride;
                thin.length = (length - phase + stride - 1) / stride;
                if (thin.length <= 0)
                        continue;
                int rc = traces_append(t, &thin, e);
                if (rc < 0)
                        return rc;
                struct trace *to = &t->list[t->count - 1];
                const struct trace *from = &t->list[i / stride];
                for (int p = 0; p < to->paths; p++) {
                        for (int k = 0; k < to->length; k++)
                                to->point[p * to->length + k] = from->point[p * length + k * stride + phase];
                        traces_judge(t, to, p);
                }
        }
        return 0;
}

int traces_load(struct traces *t, const char *folder, const char *const *families, struct dog_err *e)
{
        char name[512];
        char line[LINE_MOST];
        char *field[FIELDS_MOST];
        int rc = 0;
        memset(t, 0, sizeof(*t));
        snprintf(name, sizeof(name), "%s/traces.csv", folder);
        FILE *f = fopen(name, "r");
        if (!f)
                return dog_err_set(e, -ENOENT,
                                   "%s: cannot be opened: %s; give the folder of recorded paths with --data",
                                   name, strerror(errno));
        for (int row = 0; rc == 0 && fgets(line, sizeof(line), f); row++) {
                struct trace one;
                int fields = traces_split(line, field, FIELDS_MOST);
                if (row == 0)
                        continue;
                if (traces_header(&one, field, fields) < 0) {
                        rc = dog_err_set(e, -EINVAL, "%s: line %d: not a description of a trace", name,
                                         row + 1);
                        break;
                }
                if (!traces_is_wanted(one.family, families))
                        continue;
                rc = traces_append(t, &one, e);
                if (rc < 0)
                        break;
                rc = traces_rows(&t->list[t->count - 1], folder, e);
                for (int p = 0; rc == 0 && p < one.paths; p++)
                        traces_judge(t, &t->list[t->count - 1], p);
        }
        fclose(f);
        if (rc == 0 && t->count == 0)
                rc = dog_err_set(e, -ENODATA, "%s: holds no trace of the families asked for", name);
        if (rc < 0)
                traces_free(t);
        return rc;
}

void traces_free(struct traces *t)
{
        for (int i = 0; i < t->count; i++)
                free(t->list[i].point);
        free(t->list);
        memset(t, 0, sizeof(*t));
}
