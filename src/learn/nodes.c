#include "learn/nodes_inside.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- lines of a CSV file, plain or gzip ---------------------------------------------------------- */

enum { NODES_LINE = 1 << 16, NODES_FIELDS = DOG_NODE_METRICS_MAX + 16, NODES_MOST = 100000 };

struct csv {
        gzFile file;
        char path[512];
        long line;
        char *text; /* NODES_LINE octets */
        char *field[NODES_FIELDS];
        unsigned fields, columns;
};

static int csv_fail(const struct csv *c, struct dog_err *e, const char *what)
{
        return dog_err_set(e, -EINVAL, "%s:%ld: %s", c->path, c->line, what);
}

static void csv_close(struct csv *c)
{
        if (c->file)
                gzclose(c->file);
        free(c->text);
        c->file = NULL;
        c->text = NULL;
}

/* The next line cut into fields. 1: there is one; 0: the end; negative: bad. */
static int csv_next(struct csv *c, struct dog_err *e)
{
        do {
                if (!gzgets(c->file, c->text, NODES_LINE)) {
                        int zrc = Z_OK;
                        const char *why = gzerror(c->file, &zrc);
                        c->line++;
                        return zrc == Z_OK || zrc == Z_STREAM_END
                                       ? 0
                                       : csv_fail(c, e, zrc == Z_ERRNO ? "cannot be read" : why);
                }
                c->line++;
                size_t size = strlen(c->text);
                if (size + 1 >= NODES_LINE)
                        return csv_fail(c, e, "a line longer than 65534 characters: this is no telemetry");
                while (size > 0 && (c->text[size - 1] == '\n' || c->text[size - 1] == '\r'))
                        c->text[--size] = 0;
        } while (c->text[0] == 0);
        c->fields = 0;
        char *at = c->text;
        for (;;) {
                if (c->fields == NODES_FIELDS)
                        return csv_fail(c, e, "more than 271 columns");
                c->field[c->fields++] = at;
                char *comma = strchr(at, ',');
                if (!comma)
                        break;
                *comma = 0;
                at = comma + 1;
        }
        return 1;
}

/* Open PATH or PATH.gz and read the header. */
static int csv_open(struct csv *c, const char *folder, const char *name, struct dog_err *e)
{
        memset(c, 0, sizeof(*c));
        int room = snprintf(c->path, sizeof(c->path), "%s/%s.csv", folder, name);
        if (room < 0 || (size_t)room + 4 > sizeof(c->path))
                return dog_err_set(e, -ENAMETOOLONG, "%s: the folder's name is too long", folder);
        c->file = gzopen(c->path, "rb");
        if (!c->file && errno == ENOENT) {
                strcat(c->path, ".gz");
                c->file = gzopen(c->path, "rb");
        }
        if (!c->file) {
                int rc = errno ? -errno : -ENOMEM;
                return dog_err_set(
                        e, rc,
                        "cannot open %s/%s.csv or .csv.gz: %s; give the folder of recorded nodes with --data",
                        folder, name, strerror(-rc));
        }
        gzbuffer(c->file, 1 << 17);
        c->text = malloc(NODES_LINE);
        if (!c->text) {
                csv_close(c);
                return dog_err_set(e, -ENOMEM, "%s: no memory for a line", c->path);
        }
        int rc = csv_next(c, e);
        if (rc == 0)
                rc = dog_err_set(e, -EINVAL, "%s: empty; its first line must name the columns", c->path);
        if (rc < 0) {
                csv_close(c);
                return rc;
        }
        c->columns = c->fields;
        return 0;
}

/* The place of a column in the header just read. */
static int csv_column(const struct csv *c, const char *name, struct dog_err *e)
{
        for (unsigned i = 0; i < c->columns; i++)
                if (strcmp(c->field[i], name) == 0)
                        return (int)i;
        return dog_err_set(e, -EINVAL, "%s: no column %s in its first line", c->path, name);
}

static int csv_row(struct csv *c, struct dog_err *e)
{
        int rc = csv_next(c, e);
        if (rc > 0 && c->fields != c->columns) {
                char what[96];
                snprintf(what, sizeof(what), "%u fields where the first line names %u", c->fields,
                         c->columns);
                return csv_fail(c, e, what);
        }
        return rc;
}

static int csv_seconds(const struct csv *c, int column, int64_t *to, struct dog_err *e)
{
        const char *text = c->field[column];
        char *end;
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v) || fabs(v) > 1e12 || v != floor(v)) {
                char what[160];
                snprintf(what, sizeof(what), "\"%.40s\" is no time in whole seconds", text);
                return csv_fail(c, e, what);
        }
        *to = (int64_t)v;
        return 0;
}

/* A name goes into other CSV files and onto terminals: printable, no comma (the cutting sees to that). */
static int csv_name(const struct csv *c, int column, char *to, size_t size, struct dog_err *e)
{
        const char *text = c->field[column];
        size_t length = strlen(text);
        bool is_good = length > 0 && length < size;
        for (size_t i = 0; i < length && is_good; i++)
                is_good = isgraph((unsigned char)text[i]) && text[i] != '"' && text[i] != '/';
        if (!is_good) {
                char what[160];
                snprintf(what, sizeof(what),
                         "\"%.40s\" is no name: 1 to %zu printable characters without blanks", text,
                         size - 1);
                return csv_fail(c, e, what);
        }
        memcpy(to, text, length + 1);
        return 0;
}

/* ---- nodes.csv ----------------------------------------------------------------------------------- */

static struct dog_node_record *nodes_find(const struct dog_nodes *n, const char *dataset, const char *name)
{
        for (unsigned i = 0; i < n->count; i++)
                if (strcmp(n->node[i].name, name) == 0 && strcmp(n->node[i].dataset, dataset) == 0)
                        return &n->node[i];
        return NULL;
}

static int nodes_list_row(struct dog_nodes *n, struct csv *c, const int *column, struct dog_err *e)
{
        struct dog_node_record r = {0};
        int rc = csv_name(c, column[0], r.dataset, sizeof(r.dataset), e);
        if (rc == 0)
                rc = csv_name(c, column[1], r.name, sizeof(r.name), e);
        if (rc == 0)
                rc = csv_seconds(c, column[2], &r.step_s, e);
        if (rc == 0)
                rc = csv_seconds(c, column[3], &r.labelled_from_s, e);
        if (rc == 0)
                rc = csv_seconds(c, column[4], &r.end_s, e);
        if (rc < 0)
                return rc;
        if (r.step_s <= 0 || r.end_s <= r.labelled_from_s)
                return csv_fail(c, e, "step_s must be above 0 and end_s above labelled_from_s");
        if (nodes_find(n, r.dataset, r.name))
                return csv_fail(c, e, "this node was named before");
        if (n->count >= NODES_MOST)
                return csv_fail(c, e, "more than 100000 nodes");
        if ((n->count & (n->count - 1)) == 0) {
                struct dog_node_record *more =
                        realloc(n->node, (n->count ? 2 * n->count : 1) * sizeof(*more));
                if (!more)
                        return dog_err_set(e, -ENOMEM, "%s: no memory for %u nodes", c->path, n->count);
                n->node = more;
        }
        n->node[n->count++] = r;
        return 0;
}

static int nodes_list(struct dog_nodes *n, const char *folder, struct dog_err *e)
{
        static const char *const name[] = {"dataset", "node", "step_s", "labelled_from_s", "end_s"};
        struct csv c;
        int column[5], rc = csv_open(&c, folder, "nodes", e);
        if (rc < 0)
                return rc;
        for (int i = 0; i < 5 && rc == 0; i++) {
                column[i] = csv_column(&c, name[i], e);
                rc = column[i] < 0 ? column[i] : 0;
        }
        while (rc == 0) {
                rc = csv_row(&c, e);
                if (rc <= 0)
                        break;
                rc = nodes_list_row(n, &c, column, e);
        }
        if (rc == 0 && n->count == 0)
                rc = dog_err_set(e, -EINVAL, "%s: names no node", c.path);
        csv_close(&c);
        return rc;
}

/* ---- incidents.csv ------------------------------------------------------------------------------- */

static int incident_order(const void *a, const void *b)
{
        const struct dog_node_incident *x = a, *y = b;
        return x->start_s < y->start_s ? -1 : x->start_s > y->start_s;
}

static int nodes_incident_row(struct dog_nodes *n, struct csv *c, const int *column, struct dog_err *e)
{
        char dataset[32], name[64];
        struct dog_node_incident in = {0};
        int rc = csv_name(c, column[0], dataset, sizeof(dataset), e);
        if (rc == 0)
                rc = csv_name(c, column[1], name, sizeof(name), e);
        if (rc == 0)
                rc = csv_seconds(c, column[2], &in.start_s, e);
        if (rc == 0)
                rc = csv_seconds(c, column[3], &in.end_s, e);
        if (rc < 0)
                return rc;
        if (in.end_s <= in.start_s)
                return csv_fail(c, e, "an incident must end after its start");
        snprintf(in.kind, sizeof(in.kind), "%s", column[4] >= 0 ? c->field[column[4]] : "");
        struct dog_node_record *r = nodes_find(n, dataset, name);
        if (!r) {
                n->dropped_node++;
                return 0;
        }
        struct dog_node_incident *more = realloc(r->incident, (r->incidents + 1) * sizeof(*more));
        if (!more)
                return dog_err_set(e, -ENOMEM, "%s: no memory for incidents", c->path);
        r->incident = more;
        r->incident[r->incidents++] = in;
        return 0;
}

static int nodes_incidents(struct dog_nodes *n, const char *folder, struct dog_err *e)
{
        static const char *const name[] = {"dataset", "node", "start_s", "end_s"};
        struct csv c;
        struct dog_err quiet;
        int column[5], rc = csv_open(&c, folder, "incidents", &quiet);
        if (rc == -ENOENT)
                return 0;
        if (rc < 0)
                return dog_err_set(e, rc, "%s", quiet.text);
        for (int i = 0; i < 4 && rc == 0; i++) {
                column[i] = csv_column(&c, name[i], e);
                rc = column[i] < 0 ? column[i] : 0;
        }
        column[4] = csv_column(&c, "kind", NULL);
        while (rc == 0) {
                rc = csv_row(&c, e);
                if (rc <= 0)
                        break;
                rc = nodes_incident_row(n, &c, column, e);
        }
        csv_close(&c);
        for (unsigned i = 0; i < n->count; i++)
                if (n->node[i].incidents > 1)
                        qsort(n->node[i].incident, n->node[i].incidents, sizeof(struct dog_node_incident),
                              incident_order);
        n->has_incidents = rc == 0;
        return rc;
}

/* ---- DATASET.csv --------------------------------------------------------------------------------- */

static int nodes_begin(struct dog_node_record *r, const struct csv *c, unsigned metrics, char (*name)[48],
                       struct dog_err *e)
{
        r->metrics = metrics;
        r->metric_name = malloc(metrics * sizeof(*name));
        r->limit = malloc(metrics * sizeof(*r->limit));
        if (!r->metric_name || !r->limit)
                return dog_err_set(e, -ENOMEM, "%s: no memory for %s", c->path, r->name);
        memcpy(r->metric_name, name, metrics * sizeof(*name));
        return 0;
}

static int nodes_room(struct dog_node_record *r, struct dog_err *e)
{
        if (r->rows < r->room_)
                return 0;
        size_t room = r->room_ ? 2 * r->room_ : 1024;
        int64_t *t_s = realloc(r->t_s, room * sizeof(*t_s));
        if (t_s)
                r->t_s = t_s;
        float *value = realloc(r->value, room * r->metrics * sizeof(*value));
        if (value)
                r->value = value;
        if (!t_s || !value)
                return dog_err_set(e, -ENOMEM, "%s: no memory for %zu rows", r->name, room);
        r->room_ = room;
        return 0;
}

static int nodes_values(const struct csv *c, const int *column, unsigned metrics, float *to,
                        struct dog_err *e)
{
        for (unsigned k = 0; k < metrics; k++) {
                const char *text = c->field[column[k]];
                if (*text == 0) {
                        to[k] = NAN;
                        continue;
                }
                char *end;
                double v = strtod(text, &end);
                if (*end || isinf(v) || fabs(v) > 1e30) {
                        char what[160];
                        snprintf(what, sizeof(what),
                                 "\"%.40s\" is no number; leave the field empty where nothing was measured",
                                 text);
                        return csv_fail(c, e, what);
                }
                to[k] = (float)v;
        }
        return 0;
}

/* One data set's file. Each of its rows belongs to the node it names. */
static int nodes_telemetry(struct dog_nodes *n, const char *folder, const char *dataset, struct dog_err *e)
{
        struct csv c;
        int rc = csv_open(&c, folder, dataset, e);
        if (rc < 0)
                return rc;
        int column[DOG_NODE_METRICS_MAX], t_column = csv_column(&c, "t_s", e);
        int node_column = t_column < 0 ? t_column : csv_column(&c, "node", e);
        unsigned metrics = 0;
        char(*name)[48] = calloc(DOG_NODE_METRICS_MAX, sizeof(*name));
        rc = !name ? dog_err_set(e, -ENOMEM, "%s: no memory", c.path) : node_column < 0 ? node_column : 0;
        for (unsigned i = 0; i < c.columns && rc == 0; i++) {
                if ((int)i == t_column || (int)i == node_column)
                        continue;
                if (metrics == DOG_NODE_METRICS_MAX)
                        rc = csv_fail(&c, e, "more than 256 metrics");
                else
                        rc = csv_name(&c, (int)i, name[metrics], sizeof(name[0]), e);
                for (unsigned k = 0; k < metrics && rc == 0; k++)
                        if (strcmp(name[k], name[metrics]) == 0)
                                rc = csv_fail(&c, e, "two columns of one name");
                if (rc == 0)
                        column[metrics++] = (int)i;
        }
        if (rc == 0 && metrics == 0)
                rc = csv_fail(&c, e, "no metric: there must be a column beside t_s and node");
        uint64_t taken = 0, clock_before = n->dropped_clock;
        struct dog_node_record *r = NULL;
        while (rc == 0) {
                int64_t t_s;
                rc = csv_row(&c, e);
                if (rc <= 0)
                        break;
                rc = csv_seconds(&c, t_column, &t_s, e);
                if (rc < 0)
                        break;
                if (!r || strcmp(r->name, c.field[node_column]) != 0)
                        r = nodes_find(n, dataset, c.field[node_column]);
                if (!r) {
                        n->dropped_node++;
                        continue;
                }
                if (r->metrics == 0)
                        rc = nodes_begin(r, &c, metrics, name, e);
                taken++;
                if (rc == 0 && r->rows > 0 && t_s <= r->t_s[r->rows - 1]) {
                        n->dropped_clock++;
                        continue;
                }
                if (rc == 0)
                        rc = nodes_room(r, e);
                if (rc == 0)
                        rc = nodes_values(&c, column, metrics, r->value + r->rows * metrics, e);
                if (rc == 0)
                        r->t_s[r->rows++] = t_s;
        }
        uint64_t dropped = n->dropped_clock - clock_before;
        if (rc == 0 && dropped > 10 && dropped > taken / 100)
                rc = dog_err_set(
                        e, -EINVAL,
                        "%s: in %llu of %llu rows the time does not advance: sort it by node and t_s", c.path,
                        (unsigned long long)dropped, (unsigned long long)taken);
        free(name);
        csv_close(&c);
        return rc;
}

/* ---- limits -------------------------------------------------------------------------------------- */

static int float_order(const void *a, const void *b)
{
        float x = *(const float *)a, y = *(const float *)b;
        return x < y ? -1 : x > y;
}

/* The 99th percentile of each metric's history. */
int nodes_limits(struct dog_node_record *r, struct dog_err *e)
{
        r->first = 0;
        while (r->first < r->rows && r->t_s[r->first] < r->labelled_from_s)
                r->first++;
        float *sorted = malloc((r->first + 1) * sizeof(*sorted));
        if (!sorted)
                return dog_err_set(e, -ENOMEM, "%s: no memory for its limits", r->name);
        for (unsigned k = 0; k < r->metrics; k++) {
                size_t count = 0;
                for (size_t i = 0; i < r->first; i++)
                        if (!isnan(r->value[i * r->metrics + k]))
                                sorted[count++] = r->value[i * r->metrics + k];
                r->limit[k] = NAN;
                if (count < 100)
                        continue;
                qsort(sorted, count, sizeof(*sorted), float_order);
                if (sorted[0] == sorted[count - 1])
                        continue;
                double at = 0.99 * (double)(count - 1);
                size_t low = (size_t)at;
                double rest = at - (double)low;
                r->limit[k] = (float)((double)sorted[low] * (1 - rest) +
                                      (double)sorted[low + 1 < count ? low + 1 : low] * rest);
        }
        free(sorted);
        return 0;
}

int dog_nodes_read(struct dog_nodes **to, const char *folder, struct dog_err *e)
{
        struct dog_nodes *n = calloc(1, sizeof(*n));
        *to = NULL;
        if (!n)
                return dog_err_set(e, -ENOMEM, "%s: no memory", folder);
        int rc = nodes_list(n, folder, e);
        for (unsigned i = 0; i < n->count && rc == 0; i++) {
                bool is_read = false;
                for (unsigned k = 0; k < i; k++)
                        is_read |= strcmp(n->node[k].dataset, n->node[i].dataset) == 0;
                if (!is_read)
                        rc = nodes_telemetry(n, folder, n->node[i].dataset, e);
        }
        for (unsigned i = 0; i < n->count && rc == 0; i++)
                rc = n->node[i].rows == 0
                             ? dog_err_set(e, -ENODATA, "%s/%s.csv: no row of node %s, which nodes.csv names",
                                           folder, n->node[i].dataset, n->node[i].name)
                             : nodes_limits(&n->node[i], e);
        if (rc == 0)
                rc = nodes_incidents(n, folder, e);
        if (rc < 0) {
                dog_nodes_free(n);
                return rc;
        }
        *to = n;
        return 0;
}

void nodes_record_fini(struct dog_node_record *r)
{
        free(r->metric_name);
        free(r->limit);
        free(r->t_s);
        free(r->value);
        free(r->incident);
}

void dog_nodes_free(struct dog_nodes *n)
{
        if (!n)
                return;
        for (unsigned i = 0; i < n->count; i++)
                nodes_record_fini(&n->node[i]);
        free(n->node);
        free(n);
}
