#include "learn/paths.h"

#include "base/clock.h"
#include "models/quantile.h"
#include "models/risk.h"
#include "wire/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MOST = 1024, FIELDS_MOST = 32 };

/* Columns of traces.csv that are needed; others may be there. */
#define PATHS_COLUMNS(X)                                                                                     \
        X(TRACE, "trace")                                                                                    \
        X(FAMILY, "family") X(STEP, "step_ms") X(PATHS, "paths") X(NEED, "need_kbps") X(DATE, "date")
enum paths_column {
#define X(id, name) COLUMN_##id,
        PATHS_COLUMNS(X)
#undef X
                COLUMNS
};
static const char *const paths_column_name[COLUMNS] = {
#define X(id, name) name,
        PATHS_COLUMNS(X)
#undef X
};

/*
 * The list is read here, not by wire/trace.h: that one hands out no paths and date.
 * Splits in place at commas; quotes do not occur in this file.
 */
static int paths_split(char *line, char **field, int most)
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

static float paths_number(bool is_there, double value)
{
        return is_there ? (float)value : NAN;
}

static int paths_path(const struct dog_path_trace *t, const char *name)
{
        for (int p = 0; p < t->paths; p++)
                if (strcmp(t->path[p], name) == 0)
                        return p;
        return -1;
}

/* Room for one step more of every path. A trace's length is that of its rows, whatever its list says. */
static int paths_lengthen(struct dog_path_trace *t, int *room, int length)
{
        if (length > *room) {
                int more = *room ? *room : 256;
                while (more < length)
                        more *= 2;
                struct dog_path_point *point = calloc((size_t)t->paths * (size_t)more, sizeof(*point));
                if (!point)
                        return -ENOMEM;
                for (int p = 0; p < t->paths && t->length; p++)
                        memcpy(point + (size_t)p * (size_t)more, t->point + (size_t)p * (size_t)*room,
                               (size_t)t->length * sizeof(*point));
                free(t->point);
                t->point = point;
                *room = more;
        }
        if (length > t->length)
                t->length = length;
        return 0;
}

/* Put a row where it belongs. `name` and `line` are for the sentence. */
static int paths_place(struct dog_path_traces *all, struct dog_path_trace *t, int *room, const char *path,
                       const struct dog_trace_row *row, const char *name, int line, struct dog_err *e)
{
        int64_t step = row->t_ms / t->step_ms;
        int p = paths_path(t, path);
        if (p < 0)
                return dog_err_set(e, -EINVAL,
                                   "%s: line %d: path \"%s\" is not among the paths that "
                                   "traces.csv names for it",
                                   name, line, path);
        if (step >= DOG_PATH_TRACE_STEPS)
                return dog_err_set(e, -EINVAL, "%s: line %d: time %lld is over %d steps of %lld ms", name,
                                   line, (long long)row->t_ms, DOG_PATH_TRACE_STEPS, (long long)t->step_ms);
        if (paths_lengthen(t, room, (int)step + 1) < 0)
                return dog_err_set(e, -ENOMEM, "%s: out of memory", name);
        struct dog_path_point *q = &t->point[(int64_t)p * *room + step];
        if (q->is_seen) {
                all->repeated++;
                return 0;
        }
        *q = (struct dog_path_point){.is_seen = true,
                                     .margin = NAN,
                                     .rtt_ms = paths_number(row->has_rtt, row->rtt_ms),
                                     .loss = paths_number(row->has_loss, row->loss),
                                     .rate_kbps = paths_number(row->has_rate, row->rate_kbps)};
        return 0;
}

/* From rows of `room` steps to rows of exactly `length`. */
static void paths_tighten(struct dog_path_trace *t, int room)
{
        for (int p = 1; p < t->paths && room > t->length; p++)
                memmove(t->point + (size_t)p * (size_t)t->length, t->point + (size_t)p * (size_t)room,
                        (size_t)t->length * sizeof(*t->point));
}

static int paths_rows(struct dog_path_traces *all, struct dog_path_trace *t, const char *folder,
                      struct dog_err *e)
{
        char name[512];
        struct dog_trace *in;
        struct dog_trace_row row;
        int room = 0;
        int line = 1; /* the header's; each row is a line, the reader refuses empty ones */
        snprintf(name, sizeof(name), "%s/%s.csv.gz", folder, t->name);
        if (access(name, R_OK) < 0 && errno == ENOENT)
                snprintf(name, sizeof(name), "%s/%s.csv", folder, t->name);
        if (access(name, R_OK) < 0)
                return dog_err_set(e, -errno,
                                   "%s: %s, and traces.csv names it: bring it, or take its line out", name,
                                   strerror(errno));
        int rc = dog_trace_open(&in, name, e);
        if (rc < 0)
                return rc;
        while ((rc = dog_trace_next(in, &row, e)) > 0) {
                rc = paths_place(all, t, &room, dog_trace_path_name(in, row.path), &row, name, ++line, e);
                if (rc < 0)
                        break;
        }
        dog_trace_close(in);
        if (rc == 0 && t->length == 0)
                rc = dog_err_set(e, -ENODATA, "%s: holds no sample; take its line out of traces.csv", name);
        if (rc == 0)
                paths_tighten(t, room);
        return rc;
}

static int paths_compare(const void *a, const void *b)
{
        float x = *(const float *)a;
        float y = *(const float *)b;
        return (x > y) - (x < y);
}

static double paths_median_before(const struct dog_path_trace *t, const struct dog_path_point *row, int at)
{
        float value[700];
        int count = 0;
        int window = (int)(60000 / t->step_ms);
        for (int k = at > window ? at - window : 0; k < at; k++)
                if (row[k].is_seen && row[k].rtt_ms == row[k].rtt_ms && count < 700)
                        value[count++] = row[k].rtt_ms;
        if (count < 5)
                return NAN;
        qsort(value, (size_t)count, sizeof(value[0]), paths_compare);
        return 0.5 * ((double)value[(count - 1) / 2] + (double)value[count / 2]);
}

static double paths_rate_of_second(const struct dog_path_trace *t, const struct dog_path_point *row, int at)
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

struct dog_path_trace dog_path_trace_plain(void)
{
        return (struct dog_path_trace){.rtt_ms = 100, .rtt_factor = 2, .loss_ratio = 0.02, .pace = 1};
}

/* 0: none. */
static double paths_limit(const struct dog_path_trace *t, double median)
{
        return t->rtt_factor * median > t->rtt_ms ? t->rtt_factor * median : t->rtt_ms;
}

static void paths_judge(struct dog_path_traces *all, struct dog_path_trace *t, int p)
{
        struct dog_path_point *row = t->point + (size_t)p * (size_t)t->length;
        struct dog_window window;
        dog_window_init(&window, 60 * DOG_S);
        for (int k = 0; k < t->length; k++) {
                struct dog_path_point *q = &row[k];
                int64_t t_ns = k * t->step_ms * DOG_MS;
                float part[3] = {NAN, NAN, NAN};
                if (!q->is_seen)
                        continue;
                bool is_lost = t->loss_ratio > 0 && (double)q->loss >= t->loss_ratio;
                q->is_bad = q->is_bad_seen = is_lost;
                if (t->loss_ratio > 0 && q->loss > 0)
                        part[0] = dog_margin_loss((double)q->loss, t->loss_ratio);
                if (q->rtt_ms == q->rtt_ms) {
                        double kept = paths_limit(t, dog_window_median(&window, t_ns, 5));
                        double exact = paths_limit(t, paths_median_before(t, row, k));
                        q->is_bad |= exact > 0 && (double)q->rtt_ms > exact;
                        q->is_bad_seen |= kept > 0 && (double)q->rtt_ms > kept;
                        if (kept > 0)
                                part[1] = dog_margin_rtt((double)q->rtt_ms, kept);
                        dog_window_learn(&window, (double)q->rtt_ms, t_ns);
                }
                if (t->need_kbps > 0 && q->rate_kbps == q->rate_kbps) {
                        double rate = paths_rate_of_second(t, row, k);
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

/* Which field holds which column. */
static int paths_columns(int place[COLUMNS], char **field, int fields, const char *name, struct dog_err *e)
{
        for (int c = 0; c < COLUMNS; c++) {
                place[c] = -1;
                for (int i = 0; i < fields; i++) {
                        if (strcmp(field[i], paths_column_name[c]) != 0)
                                continue;
                        if (place[c] >= 0)
                                return dog_err_set(e, -EINVAL, "%s: column \"%s\" stands there twice", name,
                                                   paths_column_name[c]);
                        place[c] = i;
                }
                if (place[c] < 0)
                        return dog_err_set(e, -EINVAL,
                                           "%s: has no column \"%s\"; its first line must name the columns "
                                           "trace,family,step_ms,paths,need_kbps,date",
                                           name, paths_column_name[c]);
        }
        return 0;
}

/* Nothing that cannot be printed: what is read here goes onto terminals. */
static int paths_text(char *to, size_t size, const char *from)
{
        size_t length = strlen(from);
        if (length >= size)
                return -EINVAL;
        for (size_t i = 0; i < length; i++)
                if ((unsigned char)from[i] < 0x20 || from[i] == 0x7f)
                        return -EINVAL;
        memcpy(to, from, length + 1);
        return 0;
}

/* Names become names of files, too: no '/'. */
static int paths_word(char *to, size_t size, const char *from)
{
        return strchr(from, '/') ? -EINVAL : paths_text(to, size, from);
}

/* @return NULL, or what is wrong */
static const char *paths_header(struct dog_path_trace *t, char **field, int fields, const int place[COLUMNS])
{
        char *save = NULL;
        char *end;
        *t = dog_path_trace_plain();
        for (int c = 0; c < COLUMNS; c++)
                if (place[c] >= fields)
                        return "the line has fewer fields than the first";
        if (paths_word(t->name, sizeof(t->name), field[place[COLUMN_TRACE]]) < 0 || !*t->name)
                return "the name of the trace is empty, too long, or holds a '/' or what cannot be printed";
        if (paths_word(t->family, sizeof(t->family), field[place[COLUMN_FAMILY]]) < 0 ||
            paths_text(t->date, sizeof(t->date), field[place[COLUMN_DATE]]) < 0)
                return "family or date is longer than 15 letters, or holds what cannot be printed, or the "
                       "family "
                       "a '/'";
        t->step_ms = strtol(field[place[COLUMN_STEP]], &end, 10);
        if (*end || end == field[place[COLUMN_STEP]] || t->step_ms < 1 || t->step_ms > 3600000)
                return "step_ms is no whole number of 1 to 3600000";
        const char *need = field[place[COLUMN_NEED]];
        t->need_kbps = *need ? strtod(need, &end) : 0;
        if (*need && (*end || !(t->need_kbps >= 0 && t->need_kbps < 1e12)))
                return "need_kbps is no number >= 0";
        for (char *p = strtok_r(field[place[COLUMN_PATHS]], "+", &save); p; p = strtok_r(NULL, "+", &save)) {
                if (t->paths == DOG_PATH_TRACE_PATHS)
                        return "more than 8 paths";
                if (paths_path(t, p) >= 0)
                        return "a path is named twice";
                if (paths_word(t->path[t->paths++], sizeof(t->path[0]), p) < 0)
                        return "a path's name is longer than 31 letters, or holds a '/' or what cannot be "
                               "printed";
        }
        return t->paths ? NULL : "names no path";
}

static bool paths_is_wanted(const char *family, const char *const *families)
{
        if (!families)
                return true;
        for (; *families; families++)
                if (strcmp(*families, family) == 0)
                        return true;
        return false;
}

/* Takes over one->point. */
static int paths_append(struct dog_path_traces *t, const struct dog_path_trace *one, struct dog_err *e)
{
        if (t->count == t->room) {
                int room = t->room ? 2 * t->room : 64;
                struct dog_path_trace *more = realloc(t->list, (size_t)room * sizeof(*more));
                if (!more) {
                        free(one->point);
                        return dog_err_set(e, -ENOMEM, "%s: out of memory", one->name);
                }
                t->list = more;
                t->room = room;
        }
        t->list[t->count++] = *one;
        return 0;
}

int dog_path_traces_add(struct dog_path_traces *t, const struct dog_path_trace *one, struct dog_err *e)
{
        struct dog_path_trace own = *one;
        if (own.step_ms <= 0 || own.paths < 1 || own.paths > DOG_PATH_TRACE_PATHS || own.length < 1 ||
            own.pace < 1) {
                free(own.point);
                return dog_err_set(e, -EINVAL, "%s: a recording of %d paths and %d steps of %lld ms",
                                   own.name, own.paths, own.length, (long long)own.step_ms);
        }
        own.origin = t->count;
        for (int p = 0; p < own.paths; p++)
                paths_judge(t, &own, p);
        return paths_append(t, &own, e);
}

/* A copy of trace i with every stride-th step from a phase on; its promise may be changed before judging. */
static int paths_copy(struct dog_path_traces *t, int i, int stride, int phase, double need, double rtt,
                      struct dog_err *e)
{
        struct dog_path_trace copy = t->list[i];
        const struct dog_path_point *from = copy.point;
        int length = copy.length;
        copy.step_ms *= stride;
        copy.length = (length - phase + stride - 1) / stride;
        copy.need_kbps *= need;
        copy.rtt_ms *= rtt;
        copy.rtt_factor *= rtt;
        if (copy.length <= 0)
                return 0;
        copy.point = calloc((size_t)copy.paths * (size_t)copy.length, sizeof(*copy.point));
        if (!copy.point)
                return dog_err_set(e, -ENOMEM, "%s: out of memory for a copy of it", copy.name);
        for (int p = 0; p < copy.paths; p++) {
                for (int k = 0; k < copy.length; k++)
                        copy.point[p * copy.length + k] = from[p * length + k * stride + phase];
                paths_judge(t, &copy, p);
        }
        return paths_append(t, &copy, e);
}

int dog_path_traces_thin(struct dog_path_traces *t, int stride, struct dog_err *e)
{
        int whole = t->count;
        if (stride < 2)
                return dog_err_set(e, -EINVAL, "a trace cannot be thinned to each %d-th step", stride);
        for (int i = 0; i < whole; i++)
                for (int phase = 0; phase < stride && t->list[i].origin == i; phase++) {
                        int rc = paths_copy(t, i, stride, phase, 1, 1, e);
                        if (rc < 0)
                                return rc;
                }
        return 0;
}

int dog_path_traces_slow(struct dog_path_traces *t, int64_t step_ms, struct dog_err *e)
{
        int whole = t->count;
        for (int i = 0; i < whole; i++) {
                int64_t stride = step_ms / t->list[i].step_ms;
                if (stride < 2 || t->list[i].origin != i || t->list[i].pace > 1 ||
                    dog_path_trace_is_rate(&t->list[i]))
                        continue;
                for (int phase = 0; phase < (int)stride; phase++) {
                        int rc = paths_copy(t, i, (int)stride, phase, 1, 1, e);
                        if (rc < 0)
                                return rc;
                }
        }
        return 0;
}

int dog_path_traces_shift(struct dog_path_traces *t, double need, double rtt, struct dog_err *e)
{
        int whole = t->count;
        if (!(need > 0 && rtt > 0))
                return dog_err_set(e, -EINVAL, "a promise cannot be moved by the factors %g and %g", need,
                                   rtt);
        for (int i = 0; i < whole; i++) {
                bool is_rate = dog_path_trace_is_rate(&t->list[i]);
                if (t->list[i].origin != i || (is_rate ? need : rtt) == 1)
                        continue;
                int rc = paths_copy(t, i, 1, 0, need, rtt, e);
                if (rc < 0)
                        return rc;
        }
        return 0;
}

bool dog_path_trace_is_rate(const struct dog_path_trace *t)
{
        if (!(t->need_kbps > 0))
                return false;
        for (int64_t i = 0; i < (int64_t)t->paths * t->length; i++)
                if (t->point[i].is_seen && t->point[i].rate_kbps == t->point[i].rate_kbps)
                        return true;
        return false;
}

int dog_path_trace_outcome(const struct dog_path_trace *t, int path, int k, int steps)
{
        const struct dog_path_point *row = t->point + (int64_t)path * t->length;
        int seen = 0;
        bool is_bad = false;
        if (steps < 1 || k < 0 || steps > t->length || k + steps >= t->length)
                return -1;
        for (int i = k + 1; i <= k + steps; i++) {
                seen += row[i].is_seen;
                is_bad |= row[i].is_bad;
        }
        return seen * t->pace * 10 < steps * 8 ? -1 : is_bad;
}

int dog_path_trace_next(const struct dog_path_trace *t, int path, int k)
{
        const struct dog_path_point *row = t->point + (int64_t)path * t->length;
        /* Probes are not on the grid: a slower pace may be a step late. */
        int reach = t->pace > 1 ? t->pace + 1 : 1;
        for (int i = k + 1; k >= 0 && i < t->length && i <= k + reach; i++)
                if (row[i].is_seen)
                        return row[i].is_bad;
        return -1;
}

static bool paths_is_lone(const struct dog_path_trace *t)
{
        for (int p = 0; p < t->paths; p++) {
                int seen = 0;
                for (int k = 0; k < t->length; k++)
                        seen += t->point[(int64_t)p * t->length + k].is_seen;
                if (seen > 1)
                        return false;
        }
        return true;
}

static int paths_take(struct dog_path_traces *t, struct dog_path_trace *one, const char *folder,
                      struct dog_err *e)
{
        int rc = paths_rows(t, one, folder, e);
        if (rc < 0) {
                free(one->point);
                return rc;
        }
        if (paths_is_lone(one)) {
                t->lone++;
                free(one->point);
                return 0;
        }
        one->origin = t->count;
        for (int p = 0; p < one->paths; p++)
                paths_judge(t, one, p);
        return paths_append(t, one, e);
}

/* The lines of traces.csv; `name` is the file's. */
static int paths_list(struct dog_path_traces *t, FILE *f, const char *name, const char *folder,
                      const char *const *families, struct dog_err *e)
{
        char line[LINE_MOST];
        char *field[FIELDS_MOST];
        int place[COLUMNS];
        int number = 1;
        for (; fgets(line, sizeof(line), f); number++) {
                struct dog_path_trace one;
                if (!strchr(line, '\n') && !feof(f))
                        return dog_err_set(e, -EINVAL, "%s: line %d is longer than %d letters", name, number,
                                           LINE_MOST - 2);
                int fields = paths_split(line, field, FIELDS_MOST);
                if (number == 1) {
                        int rc = paths_columns(place, field, fields, name, e);
                        if (rc < 0)
                                return rc;
                        continue;
                }
                const char *wrong = paths_header(&one, field, fields, place);
                if (wrong)
                        return dog_err_set(e, -EINVAL, "%s: line %d: not a description of a trace: %s", name,
                                           number, wrong);
                for (int i = 0; i < t->count; i++)
                        if (strcmp(t->list[i].name, one.name) == 0)
                                return dog_err_set(e, -EINVAL, "%s: line %d: trace %s stands there twice",
                                                   name, number, one.name);
                if (!paths_is_wanted(one.family, families))
                        continue;
                int rc = paths_take(t, &one, folder, e);
                if (rc < 0)
                        return rc;
        }
        if (number == 1 && !ferror(f))
                return dog_err_set(e, -EINVAL, "%s: is empty; its first line must name the columns", name);
        return 0;
}

int dog_path_traces_load(struct dog_path_traces *t, const char *folder, const char *const *families,
                         struct dog_err *e)
{
        char name[512];
        memset(t, 0, sizeof(*t));
        if (snprintf(name, sizeof(name), "%s/traces.csv", folder) >= (int)sizeof(name) - 128)
                return dog_err_set(e, -ENAMETOOLONG, "%s: the folder's name is too long", folder);
        FILE *f = fopen(name, "r");
        if (!f) {
                int rc = -errno;
                return dog_err_set(e, rc,
                                   "%s: cannot be opened: %s; give the folder of recorded paths with "
                                   "--data",
                                   name, strerror(-rc));
        }
        int rc = paths_list(t, f, name, folder, families, e);
        if (rc == 0 && ferror(f))
                rc = dog_err_set(e, -EIO, "%s: cannot be read", name);
        fclose(f);
        if (rc == 0 && t->count == 0)
                rc = dog_err_set(e, -ENODATA, "%s: holds no trace with two samples of a path%s", name,
                                 families ? " among the families asked for" : "");
        if (rc < 0)
                dog_path_traces_free(t);
        return rc;
}

void dog_path_traces_free(struct dog_path_traces *t)
{
        for (int i = 0; i < t->count; i++)
                free(t->list[i].point);
        free(t->list);
        memset(t, 0, sizeof(*t));
}
