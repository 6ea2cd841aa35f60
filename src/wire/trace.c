#include "wire/trace.h"

#include "wire/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)DOG_TRACE_LINE == (int)WIRE_TEXT_LINE, "what the header promises");

/* The columns; a file has every one of them. */
#define TRACE_COLUMNS(X)                                                                                     \
        X(T_MS, "t_ms")                                                                                      \
        X(PATH, "path")                                                                                      \
        X(RTT, "rtt_ms")                                                                                     \
        X(LOSS, "loss")                                                                                      \
        X(RATE, "rate_kbps")

enum trace_column {
#define TRACE_COLUMN_ENUM(id, word) TRACE_##id,
        TRACE_COLUMNS(TRACE_COLUMN_ENUM)
#undef TRACE_COLUMN_ENUM
                TRACE_COLUMN_COUNT
};

static const char *const trace_column_name[] = {
#define TRACE_COLUMN_NAME(id, word) [TRACE_##id] = (word),
        TRACE_COLUMNS(TRACE_COLUMN_NAME)
#undef TRACE_COLUMN_NAME
};

struct trace_path {
        char name[DOG_TRACE_NAME];
        int64_t last_ms;
};

struct dog_trace {
        size_t place[TRACE_COLUMN_COUNT]; /* which field of a line is this column */
        unsigned paths;
        int64_t last_ms;
        int rc; /* once it is not 1 it stays, with its sentence */
        struct dog_err err;
        struct trace_path path[DOG_TRACE_PATHS];
        struct wire_text text;
};

/* Find each wanted column once. Columns that are not wanted: refused, or left alone when `others` allows. */
static int trace_header(struct wire_text *t, const char *const *want, size_t wanted, size_t *place,
                        bool takes_others, struct dog_err *e)
{
        for (size_t c = 0; c < wanted; c++)
                place[c] = SIZE_MAX;
        for (size_t i = 0; i < t->fields; i++) {
                const struct wire_field *f = &t->field[i];
                size_t c = 0;
                while (c < wanted && strcmp(f->text, want[c]) != 0)
                        c++;
                if (c == wanted && !takes_others)
                        return wire_text_bad(t, f, e, "column \"%.32s\" is not one we know", f->text);
                if (c == wanted)
                        continue;
                if (place[c] != SIZE_MAX)
                        return wire_text_bad(t, f, e, "column \"%s\" is there twice", want[c]);
                place[c] = i;
        }
        return 0;
}

static int trace_header_read(struct wire_text *t, const char *const *want, size_t wanted, size_t *place,
                             bool takes_others, struct dog_err *e)
{
        int rc = wire_text_next(t, e);
        if (rc == 0)
                return dog_err_set(e, -EINVAL, "%s: the file is empty", t->name);
        if (rc > 0)
                rc = trace_header(t, want, wanted, place, takes_others, e);
        return rc;
}

static int trace_begin(struct dog_trace *t, struct dog_err *e)
{
        int rc = trace_header_read(&t->text, trace_column_name, TRACE_COLUMN_COUNT, t->place, false, e);
        if (rc < 0)
                return rc;
        for (size_t c = 0; c < TRACE_COLUMN_COUNT; c++) {
                if (t->place[c] == SIZE_MAX)
                        return wire_text_bad(&t->text, NULL, e, "column \"%s\" is missing",
                                             trace_column_name[c]);
        }
        t->rc = 1;
        return 0;
}

static int trace_open(struct dog_trace **out, const char *name, const void *data, size_t size,
                      struct dog_err *e)
{
        *out = NULL;
        struct dog_trace *t = calloc(1, sizeof(*t));
        if (!t)
                return dog_err_set(e, -ENOMEM, "%s: no memory to read it", name);
        int rc = 0;
        if (data)
                wire_text_open_bytes(&t->text, name, data, size);
        else
                rc = wire_text_open(&t->text, name, e);
        if (rc == 0)
                rc = trace_begin(t, e);
        if (rc < 0) {
                dog_trace_close(t);
                return rc;
        }
        *out = t;
        return 0;
}

int dog_trace_open(struct dog_trace **t, const char *file, struct dog_err *e)
{
        return trace_open(t, file, NULL, 0, e);
}

int dog_trace_open_bytes(struct dog_trace **t, const char *name, const void *data, size_t size,
                         struct dog_err *e)
{
        return trace_open(t, name, data ? data : "", data ? size : 0, e);
}

void dog_trace_close(struct dog_trace *t)
{
        if (!t)
                return;
        wire_text_close(&t->text);
        free(t);
}

unsigned dog_trace_paths(const struct dog_trace *t)
{
        return t->paths;
}

const char *dog_trace_path_name(const struct dog_trace *t, unsigned path)
{
        return path < t->paths ? t->path[path].name : "";
}

/* ---- rows ---- */

static int trace_path(struct dog_trace *t, const struct wire_field *f, unsigned *path, struct dog_err *e)
{
        for (*path = 0; *path < t->paths; ++*path) {
                if (strcmp(t->path[*path].name, f->text) == 0)
                        return 0;
        }
        size_t size = strlen(f->text);
        if (size == 0)
                return wire_text_bad(&t->text, f, e, "a path needs a name");
        if (size >= DOG_TRACE_NAME)
                return wire_text_bad(&t->text, f, e, "the name of a path is longer than %d octets",
                                     DOG_TRACE_NAME - 1);
        for (const char *c = f->text; *c; c++) {
                if (*c <= ' ' || *c > '~')
                        return wire_text_bad(&t->text, f, e,
                                             "a path is named in printable ASCII without spaces");
        }
        if (t->paths == DOG_TRACE_PATHS)
                return wire_text_bad(&t->text, f, e, "more than %d paths in one trace", DOG_TRACE_PATHS);
        memcpy(t->path[t->paths].name, f->text, size + 1);
        t->path[t->paths++].last_ms = -1;
        return 0;
}

static int trace_time(struct dog_trace *t, struct dog_trace_row *row, struct dog_err *e)
{
        const struct wire_field *f = &t->text.field[t->place[TRACE_T_MS]];
        int rc = wire_text_integer(&t->text, f, "t_ms", &row->t_ms, e);
        if (rc < 0)
                return rc;
        if (row->t_ms < t->last_ms)
                return wire_text_bad(&t->text, f, e,
                                     "time goes back from %lld to %lld ms: rows are sorted by time",
                                     (long long)t->last_ms, (long long)row->t_ms);
        t->last_ms = row->t_ms;
        return 0;
}

static int trace_value(struct dog_trace *t, enum trace_column c, double high, bool *has, double *value,
                       struct dog_err *e)
{
        const struct wire_field *f = &t->text.field[t->place[c]];
        *value = 0;
        *has = f->text[0] != 0;
        if (!*has)
                return 0;
        return wire_text_number(&t->text, f, trace_column_name[c], 0, high, value, e);
}

static int trace_row(struct dog_trace *t, struct dog_trace_row *row, struct dog_err *e)
{
        if (t->text.fields != TRACE_COLUMN_COUNT)
                return wire_text_bad(&t->text, NULL, e, "%zu fields where the header has %d", t->text.fields,
                                     TRACE_COLUMN_COUNT);
        const struct wire_field *name = &t->text.field[t->place[TRACE_PATH]];
        int rc = trace_time(t, row, e);
        if (rc == 0)
                rc = trace_path(t, name, &row->path, e);
        if (rc == 0)
                rc = trace_value(t, TRACE_RTT, (double)INFINITY, &row->has_rtt, &row->rtt_ms, e);
        if (rc == 0)
                rc = trace_value(t, TRACE_LOSS, 1, &row->has_loss, &row->loss, e);
        if (rc == 0)
                rc = trace_value(t, TRACE_RATE, (double)INFINITY, &row->has_rate, &row->rate_kbps, e);
        if (rc < 0)
                return rc;
        if (t->path[row->path].last_ms == row->t_ms)
                return wire_text_bad(&t->text, name, e, "path \"%s\" has a row at %lld ms already",
                                     name->text, (long long)row->t_ms);
        t->path[row->path].last_ms = row->t_ms;
        return 1;
}

int dog_trace_next(struct dog_trace *t, struct dog_trace_row *row, struct dog_err *e)
{
        *row = (struct dog_trace_row){0};
        if (t->rc == 1)
                t->rc = wire_text_next(&t->text, &t->err);
        if (t->rc == 1)
                t->rc = trace_row(t, row, &t->err);
        if (t->rc < 0 && e)
                *e = t->err;
        return t->rc;
}

/* ---- index ---- */

enum { INDEX_TRACE, INDEX_STEP, INDEX_NEED, INDEX_FAMILY, INDEX_COUNT };
static const char *const index_column_name[] = {"trace", "step_ms", "need_kbps", "family"};

struct dog_trace_index {
        size_t place[INDEX_COUNT];
        size_t columns;
        int rc;
        struct dog_err err;
        struct wire_text text;
};

static int index_begin(struct dog_trace_index *x, struct dog_err *e)
{
        int rc = trace_header_read(&x->text, index_column_name, INDEX_COUNT, x->place, true, e);
        if (rc < 0)
                return rc;
        for (size_t c = 0; c < INDEX_FAMILY; c++) {
                if (x->place[c] == SIZE_MAX)
                        return wire_text_bad(&x->text, NULL, e, "column \"%s\" is missing",
                                             index_column_name[c]);
        }
        x->columns = x->text.fields;
        x->rc = 1;
        return 0;
}

static int index_open(struct dog_trace_index **out, const char *name, const void *data, size_t size,
                      struct dog_err *e)
{
        *out = NULL;
        struct dog_trace_index *x = calloc(1, sizeof(*x));
        if (!x)
                return dog_err_set(e, -ENOMEM, "%s: no memory to read it", name);
        int rc = 0;
        if (data)
                wire_text_open_bytes(&x->text, name, data, size);
        else
                rc = wire_text_open(&x->text, name, e);
        if (rc == 0)
                rc = index_begin(x, e);
        if (rc < 0) {
                dog_trace_index_close(x);
                return rc;
        }
        *out = x;
        return 0;
}

int dog_trace_index_open(struct dog_trace_index **x, const char *file, struct dog_err *e)
{
        return index_open(x, file, NULL, 0, e);
}

int dog_trace_index_open_bytes(struct dog_trace_index **x, const char *name, const void *data, size_t size,
                               struct dog_err *e)
{
        return index_open(x, name, data ? data : "", data ? size : 0, e);
}

void dog_trace_index_close(struct dog_trace_index *x)
{
        if (!x)
                return;
        wire_text_close(&x->text);
        free(x);
}

static int index_word(const struct wire_text *t, const struct wire_field *f, char *to, size_t room,
                      const char *what, struct dog_err *e)
{
        size_t size = strlen(f->text);
        if (size >= room)
                return wire_text_bad(t, f, e, "%s is longer than %zu octets", what, room - 1);
        memcpy(to, f->text, size + 1);
        return 0;
}

static int index_row(struct dog_trace_index *x, struct dog_trace_about *about, struct dog_err *e)
{
        const struct wire_text *t = &x->text;
        if (t->fields != x->columns)
                return wire_text_bad(t, NULL, e, "%zu fields where the header has %zu", t->fields,
                                     x->columns);
        const struct wire_field *name = &t->field[x->place[INDEX_TRACE]];
        const struct wire_field *step = &t->field[x->place[INDEX_STEP]];
        const struct wire_field *need = &t->field[x->place[INDEX_NEED]];
        /* The name becomes a file beside the index: it must not lead anywhere else. */
        if (name->text[0] == 0 || name->text[0] == '.' || strchr(name->text, '/'))
                return wire_text_bad(t, name, e, "\"%.64s\" cannot be the name of a trace", name->text);
        int rc = index_word(t, name, about->name, sizeof(about->name), "the name of a trace", e);
        if (rc == 0)
                rc = wire_text_integer(t, step, "step_ms", &about->step_ms, e);
        if (rc == 0 && about->step_ms == 0)
                rc = wire_text_bad(t, step, e, "step_ms 0: samples need a distance");
        if (rc == 0 && need->text[0])
                rc = wire_text_number(t, need, "need_kbps", 0, (double)INFINITY, &about->need_kbps, e);
        if (rc == 0 && x->place[INDEX_FAMILY] != SIZE_MAX)
                rc = index_word(t, &t->field[x->place[INDEX_FAMILY]], about->family, sizeof(about->family),
                                "the name of a family", e);
        return rc < 0 ? rc : 1;
}

int dog_trace_index_next(struct dog_trace_index *x, struct dog_trace_about *about, struct dog_err *e)
{
        *about = (struct dog_trace_about){0};
        if (x->rc == 1)
                x->rc = wire_text_next(&x->text, &x->err);
        if (x->rc == 1)
                x->rc = index_row(x, about, &x->err);
        if (x->rc < 0 && e)
                *e = x->err;
        return x->rc;
}
