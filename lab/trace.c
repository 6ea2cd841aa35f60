#include "lab/trace.h"

#include "base/array.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define LINE_MAX_BYTES 512

enum column { T_MS, PATH, RTT_MS, LOSS, RATE_KBPS, COLUMNS };
static const char *const column_name[COLUMNS] = {"t_ms", "path", "rtt_ms", "loss", "rate_kbps"};

void lab_trace_free(struct lab_trace *t)
{
        if (!t)
                return;
        for (size_t i = 0; i < t->paths; i++)
                free(t->path[i].sample);
        memset(t, 0, sizeof(*t));
}

int lab_trace_find(const struct lab_trace *t, const char *name)
{
        for (size_t i = 0; i < t->paths; i++)
                if (strcmp(t->path[i].name, name) == 0)
                        return (int)i;
        return -1;
}

int lab_split_parse(const char *text, enum lab_split *split, struct dog_err *e)
{
        static const char *const names[] = {"half", "ab", "ba"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (strcmp(text, names[i]) == 0) {
                        *split = (enum lab_split)i;
                        return 0;
                }
        }
        return dog_err_set(e, -EINVAL, "\"%s\" is not a way to split a round trip: half, ab or ba", text);
}

static int path_named(struct lab_trace *t, const char *name, struct dog_err *e)
{
        int at = lab_trace_find(t, name);
        if (at >= 0)
                return at;
        if (t->paths == LAB_TRACE_PATHS)
                return dog_err_set(e, -EINVAL, "path \"%s\" is one too many: at most %d paths", name,
                                   LAB_TRACE_PATHS);
        struct lab_trace_path *p = &t->path[t->paths];
        if (!name[0] || strlen(name) >= sizeof(p->name))
                return dog_err_set(e, -EINVAL, "\"%s\" is not a path name: 1 to %zu characters", name,
                                   sizeof(p->name) - 1);
        memcpy(p->name, name, strlen(name) + 1);
        return (int)t->paths++;
}

static int sample_add(struct lab_trace_path *p, const struct lab_sample *s, struct dog_err *e)
{
        if (p->count && s->t_ms <= p->sample[p->count - 1].t_ms)
                return dog_err_set(e, -EINVAL, "t_ms %lld of path %s does not come after %lld",
                                   (long long)s->t_ms, p->name, (long long)p->sample[p->count - 1].t_ms);
        if (p->count == p->room) {
                size_t room = p->room ? p->room * 2 : 64;
                struct lab_sample *grown = realloc(p->sample, room * sizeof(*grown));
                if (!grown)
                        return dog_err_set(e, -ENOMEM, "no memory for %zu samples", room);
                p->sample = grown;
                p->room = room;
        }
        p->sample[p->count++] = *s;
        return 0;
}

/* Split at commas, in place. Returns the number of fields, at most `most`. */
static size_t fields_split(char *line, char **field, size_t most)
{
        size_t n = 0;
        line[strcspn(line, "\r\n")] = 0;
        for (char *at = line; at && n < most;) {
                field[n++] = at;
                at = strchr(at, ',');
                if (at)
                        *at++ = 0;
        }
        return n;
}

static int header_read(char *line, int *where, struct dog_err *e)
{
        char *field[32];
        size_t n = fields_split(line, field, ARRAY_SIZE(field));
        for (int c = 0; c < COLUMNS; c++) {
                where[c] = -1;
                for (size_t i = 0; i < n; i++)
                        if (strcmp(field[i], column_name[c]) == 0)
                                where[c] = (int)i;
        }
        for (int c = 0; c <= PATH; c++)
                if (where[c] < 0)
                        return dog_err_set(e, -EINVAL, "the first line has no column \"%s\"", column_name[c]);
        return 0;
}

/* An empty or missing field is NAN. */
static int number_read(char **field, size_t n, const int *where, enum column c, double *value,
                       struct dog_err *e)
{
        *value = (double)NAN;
        if (where[c] < 0 || (size_t)where[c] >= n || !field[where[c]][0])
                return 0;
        char *end = NULL;
        const char *text = field[where[c]];
        *value = strtod(text, &end);
        if (*end || !isfinite(*value) || *value < 0 || (c == LOSS && *value > 1))
                return dog_err_set(e, -EINVAL, "%s \"%s\" is not %s", column_name[c], text,
                                   c == LOSS ? "a share of 0 to 1" : "a number of 0 or more");
        return 0;
}

static int row_read(struct lab_trace *t, char *line, const int *where, struct dog_err *e)
{
        char *field[32];
        struct lab_sample s = {0};
        double t_ms = 0;
        size_t n = fields_split(line, field, ARRAY_SIZE(field));
        if ((size_t)where[PATH] >= n || (size_t)where[T_MS] >= n)
                return dog_err_set(e, -EINVAL, "%zu fields are too few", n);
        int rc = number_read(field, n, where, T_MS, &t_ms, e);
        if (rc < 0)
                return rc;
        if (isnan(t_ms) || t_ms > 1e15)
                return dog_err_set(e, -EINVAL, "t_ms \"%s\" is not a time", field[where[T_MS]]);
        s.t_ms = (int64_t)t_ms;
        if ((rc = number_read(field, n, where, RTT_MS, &s.rtt_ms, e)) < 0 ||
            (rc = number_read(field, n, where, LOSS, &s.loss, e)) < 0 ||
            (rc = number_read(field, n, where, RATE_KBPS, &s.rate_kbps, e)) < 0)
                return rc;
        int path = path_named(t, field[where[PATH]], e);
        return path < 0 ? path : sample_add(&t->path[path], &s, e);
}

/* What follows from the samples of one file: what to play where the rtt is missing, and the least rtt. */
static void path_settle(struct lab_trace_path *p)
{
        double base = (double)INFINITY;
        double held = (double)NAN;
        for (size_t i = 0; i < p->count; i++)
                base = fmin(base, p->sample[i].rtt_ms);
        for (size_t i = 0; i < p->count && isnan(held); i++)
                held = p->sample[i].rtt_ms;
        if (isnan(held))
                held = 0; /* never answered: the loss says it all */
        for (size_t i = 0; i < p->count; i++) {
                struct lab_sample *s = &p->sample[i];
                held = isnan(s->rtt_ms) ? held : s->rtt_ms;
                s->held_ms = held;
                s->base_ms = isfinite(base) ? base : held;
        }
}

static int path_compare(const void *a, const void *b)
{
        const struct lab_trace_path *p = a;
        const struct lab_trace_path *q = b;
        return strcmp(p->name, q->name);
}

static void trace_measure(struct lab_trace *t)
{
        int64_t last_ms = 0;
        t->step_ms = 0;
        for (size_t p = 0; p < t->paths; p++) {
                const struct lab_trace_path *q = &t->path[p];
                for (size_t i = 1; i < q->count; i++) {
                        int64_t step = q->sample[i].t_ms - q->sample[i - 1].t_ms;
                        if (t->step_ms == 0 || step < t->step_ms)
                                t->step_ms = step;
                }
                if (q->sample[q->count - 1].t_ms > last_ms)
                        last_ms = q->sample[q->count - 1].t_ms;
        }
        if (t->step_ms == 0)
                t->step_ms = 1000;
        t->length_ms = last_ms + t->step_ms;
}

static int csv_load(struct lab_trace *t, const char *file, struct dog_err *e)
{
        char line[LINE_MAX_BYTES];
        int where[COLUMNS];
        unsigned number = 0;
        int rc = 0;
        gzFile in = gzopen(file, "rb");
        if (!in) {
                rc = errno ? -errno : -ENOMEM;
                return dog_err_set(e, rc, "cannot open trace %s: %s", file, strerror(-rc));
        }
        while (rc >= 0 && gzgets(in, line, sizeof(line))) {
                number++;
                if (!strchr(line, '\n') && !gzeof(in))
                        rc = dog_err_set(e, -EINVAL, "longer than %d characters", LINE_MAX_BYTES - 2);
                else if (number == 1)
                        rc = header_read(line, where, e);
                else if (line[0] != '\n')
                        rc = row_read(t, line, where, e);
        }
        if (rc < 0) {
                dog_err_prefix(e, rc, "%s, line %u", file, number);
        } else {
                int zrc = Z_OK;
                const char *say = gzerror(in, &zrc);
                if (zrc != Z_OK && zrc != Z_STREAM_END)
                        rc = dog_err_set(e, -EINVAL, "cannot read trace %s: %s", file, say);
                else if (t->paths == 0)
                        rc = dog_err_set(e, -EINVAL, "trace %s has no samples", file);
        }
        gzclose(in);
        if (rc < 0)
                return rc;
        for (size_t i = 0; i < t->paths; i++)
                path_settle(&t->path[i]);
        qsort(t->path, t->paths, sizeof(t->path[0]), path_compare);
        trace_measure(t);
        return 0;
}

/* ---- playlists ---- */

/* The window in which every path was measured. */
static void window_common(const struct lab_trace *t, int64_t *from_ms, int64_t *to_ms)
{
        *from_ms = 0;
        *to_ms = INT64_MAX;
        for (size_t p = 0; p < t->paths; p++) {
                const struct lab_trace_path *q = &t->path[p];
                if (q->sample[0].t_ms > *from_ms)
                        *from_ms = q->sample[0].t_ms;
                if (q->sample[q->count - 1].t_ms + t->step_ms < *to_ms)
                        *to_ms = q->sample[q->count - 1].t_ms + t->step_ms;
        }
}

static int trace_append(struct lab_trace *t, const struct lab_trace *more, int64_t from_ms, int64_t to_ms,
                        struct dog_err *e)
{
        if (from_ms >= to_ms)
                return dog_err_set(e, -EINVAL, "nothing between %lld and %lld ms", (long long)from_ms,
                                   (long long)to_ms);
        if (t->paths && more->paths != t->paths)
                return dog_err_set(e, -EINVAL, "it has %zu paths, the ones before have %zu", more->paths,
                                   t->paths);
        for (size_t p = 0; p < more->paths; p++) {
                const struct lab_trace_path *q = &more->path[p];
                if (t->length_ms && lab_trace_find(t, q->name) < 0)
                        return dog_err_set(e, -EINVAL, "its path \"%s\" is not in the ones before", q->name);
                int at = path_named(t, q->name, e);
                if (at < 0)
                        return at;
                size_t before = t->path[at].count;
                for (size_t i = 0; i < q->count; i++) {
                        struct lab_sample s = q->sample[i];
                        if (s.t_ms < from_ms || s.t_ms >= to_ms)
                                continue;
                        s.t_ms += t->length_ms - from_ms;
                        int rc = sample_add(&t->path[at], &s, e);
                        if (rc < 0)
                                return rc;
                }
                if (t->path[at].count == before)
                        return dog_err_set(e, -EINVAL, "path \"%s\" has no sample between %lld and %lld ms",
                                           q->name, (long long)from_ms, (long long)to_ms);
        }
        t->length_ms += to_ms - from_ms;
        return 0;
}

static int playlist_line(struct lab_trace *t, const char *folder, const char *line, struct dog_err *e)
{
        char name[256];
        char file[512];
        long long from = -1;
        long long to = -1;
        int n = sscanf(line, "%255s %lld %lld", name, &from, &to);
        if (n < 1 || name[0] == '#')
                return 0;
        if (n == 2 || (n == 3 && from < 0))
                return dog_err_set(e, -EINVAL, "a line is a trace, or a trace, FROM_MS and TO_MS");
        if ((size_t)snprintf(file, sizeof(file), "%s%s", folder, name) >= sizeof(file))
                return dog_err_set(e, -ENAMETOOLONG, "the name of the trace is too long");
        struct lab_trace one = {0};
        int64_t from_ms = from;
        int64_t to_ms = to;
        int rc = csv_load(&one, file, e);
        if (rc >= 0 && n == 1)
                window_common(&one, &from_ms, &to_ms);
        if (rc >= 0)
                rc = trace_append(t, &one, from_ms, to_ms, e);
        if (rc < 0)
                dog_err_prefix(e, rc, "%s", name);
        if (rc >= 0 && (t->step_ms == 0 || one.step_ms < t->step_ms))
                t->step_ms = one.step_ms;
        lab_trace_free(&one);
        return rc;
}

static int playlist_load(struct lab_trace *t, const char *file, struct dog_err *e)
{
        char folder[256] = "";
        char line[LINE_MAX_BYTES];
        unsigned number = 0;
        int rc = 0;
        const char *slash = strrchr(file, '/');
        if (slash && (size_t)(slash + 1 - file) < sizeof(folder))
                memcpy(folder, file, (size_t)(slash + 1 - file));
        else if (slash)
                return dog_err_set(e, -ENAMETOOLONG, "playlist %s: the name is too long", file);
        FILE *in = fopen(file, "re");
        if (!in) {
                rc = -errno;
                return dog_err_set(e, rc, "cannot open playlist %s: %s", file, strerror(-rc));
        }
        while (rc >= 0 && fgets(line, sizeof(line), in)) {
                number++;
                rc = playlist_line(t, folder, line, e);
        }
        fclose(in);
        if (rc < 0)
                return dog_err_prefix(e, rc, "%s, line %u", file, number);
        if (t->paths == 0)
                return dog_err_set(e, -EINVAL, "playlist %s names no trace", file);
        return 0;
}

int lab_trace_load(struct lab_trace *t, const char *file, struct dog_err *e)
{
        static const char ending[] = ".playlist";
        size_t n = strlen(file);
        memset(t, 0, sizeof(*t));
        bool is_list = n > sizeof(ending) && strcmp(file + n - (sizeof(ending) - 1), ending) == 0;
        int rc = is_list ? playlist_load(t, file, e) : csv_load(t, file, e);
        if (rc < 0)
                lab_trace_free(t);
        return rc;
}

/* ---- playing ---- */

static size_t sample_index(const struct lab_trace_path *p, int64_t t_ms)
{
        size_t low = 0;
        size_t high = p->count;
        while (high - low > 1) {
                size_t middle = low + (high - low) / 2;
                if (p->sample[middle].t_ms <= t_ms)
                        low = middle;
                else
                        high = middle;
        }
        return low;
}

const struct lab_sample *lab_trace_at(const struct lab_trace *t, size_t path, int64_t t_ms)
{
        return &t->path[path].sample[sample_index(&t->path[path], t_ms)];
}

struct lab_weather lab_trace_weather(const struct lab_trace *t, size_t path, enum lab_split split, bool is_ab,
                                     int64_t t_ms)
{
        const struct lab_trace_path *p = &t->path[path];
        size_t at = sample_index(p, t_ms);
        const struct lab_sample *s = &p->sample[at];
        double loss = isnan(s->loss) ? 0 : s->loss;
        struct lab_weather w = {.rate_kbps = (double)NAN,
                                .until_ms = at + 1 < p->count ? p->sample[at + 1].t_ms : INT64_MAX};
        if (split == LAB_SPLIT_HALF) {
                w.delay_ms = s->held_ms / 2;
                w.loss = 1 - sqrt(1 - loss);
                w.rate_kbps = s->rate_kbps;
        } else if ((split == LAB_SPLIT_AB) == is_ab) {
                w.delay_ms = s->base_ms / 2 + (s->held_ms - s->base_ms);
                w.loss = loss;
                w.rate_kbps = s->rate_kbps;
        } else {
                w.delay_ms = s->base_ms / 2;
        }
        return w;
}
