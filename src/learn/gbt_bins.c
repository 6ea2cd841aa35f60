#include "base/siphash.h"
#include "learn/gbt_inside.h"
#include "models/fastmath.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- threads ----------------------------------------------------------------------------------- */

struct gbt_part {
        void (*fn)(void *data, unsigned part, unsigned parts);
        void *data;
        unsigned part, parts;
};

static void *gbt_part_run(void *data)
{
        const struct gbt_part *p = data;
        p->fn(p->data, p->part, p->parts);
        return NULL;
}

void gbt_parallel(unsigned parts, void (*fn)(void *data, unsigned part, unsigned parts), void *data)
{
        struct gbt_part part[GBT_THREADS_MAX];
        pthread_t thread[GBT_THREADS_MAX];
        bool is_running[GBT_THREADS_MAX] = {false};
        for (unsigned i = 0; i < parts; i++) {
                part[i] = (struct gbt_part){.fn = fn, .data = data, .part = i, .parts = parts};
                is_running[i] = i > 0 && pthread_create(&thread[i], NULL, gbt_part_run, &part[i]) == 0;
        }
        /* A thread that could not be had is no error: its part is done here. */
        for (unsigned i = 0; i < parts; i++)
                if (!is_running[i])
                        gbt_part_run(&part[i]);
        for (unsigned i = 1; i < parts; i++)
                if (is_running[i])
                        pthread_join(thread[i], NULL);
}

/* ---- edges: quantiles of one feature --------------------------------------------------------------- */

/* dog_fast_order() backwards. */
static float bins_unkey(uint32_t key)
{
        float x;
        key = key & 0x80000000U ? key & 0x7fffffffU : ~key;
        memcpy(&x, &key, sizeof(x));
        return x;
}

/* Radix sort, 11 bits at a time; the result is in `key`. */
static void bins_sort(uint32_t *key, uint32_t *spare, size_t n)
{
        uint32_t *from = key;
        uint32_t *to = spare;
        for (unsigned shift = 0; shift < 33; shift += 11) {
                size_t at[2048] = {0};
                size_t sum = 0;
                for (size_t i = 0; i < n; i++)
                        at[from[i] >> shift & 2047]++;
                for (size_t k = 0; k < 2048; k++) {
                        size_t count = at[k];
                        at[k] = sum;
                        sum += count;
                }
                for (size_t i = 0; i < n; i++)
                        to[at[from[i] >> shift & 2047]++] = from[i];
                uint32_t *swap = from;
                from = to;
                to = swap;
        }
        memcpy(key, spare, n * sizeof(*key)); /* three passes end in the spare one */
}

/* Between two values, so that neither side depends on the last bit of a measurement. */
static float bins_between(float low, float high)
{
        float middle = low / 2 + high / 2;
        return middle >= low && middle < high ? middle : low;
}

/*
 * Walk the distinct values; a bin is full when it has its share of the rows that are left for the bins that
 * are left, so that a value which many rows have does not starve the others. With few distinct values each
 * gets its own.
 */
static void bins_edges(struct gbt_feature *f, const uint32_t *key, size_t n)
{
        size_t distinct = n > 0;
        for (size_t i = 1; i < n; i++)
                distinct += key[i] != key[i - 1];
        f->values = n > 0;
        size_t in_bin = 0;
        size_t left = n;
        for (size_t i = 0; i < n;) {
                size_t end = i + 1;
                while (end < n && key[end] == key[i])
                        end++;
                in_bin += end - i;
                unsigned bins_left = GBT_MISSING - f->values + 1;
                bool is_full = distinct <= GBT_MISSING || in_bin * bins_left >= left;
                if (end < n && is_full && f->values < GBT_MISSING) {
                        f->edge[f->values - 1] = bins_between(bins_unkey(key[i]), bins_unkey(key[end]));
                        f->values++;
                        left -= in_bin;
                        in_bin = 0;
                }
                i = end;
        }
        /* The last bin has no edge above; the one that stands there parts measured from missing. */
        if (f->values)
                f->edge[f->values - 1] = FLT_MAX;
}

uint8_t gbt_bin_of(const struct gbt_feature *f, float x)
{
        if (x != x)
                return GBT_MISSING;
        if (f->values == 0)
                return 0;
        unsigned low = 0;
        unsigned count = f->values - 1; /* edges that part values */
        while (count > 0) {
                unsigned half = count / 2;
                bool is_above = x > f->edge[low + half];
                low = is_above ? low + half + 1 : low;
                count = is_above ? count - half - 1 : half;
        }
        return (uint8_t)low;
}

int gbt_cut_of(const struct dog_gbt_bins *b, const struct dog_gbt_node *node, struct gbt_cut *cut)
{
        unsigned feature = node->slot / 2;
        uint8_t turn = node->slot % 2 ? 0 : 1;
        *cut = (struct gbt_cut){.feature = (uint16_t)feature, .cut = GBT_MISSING, .turn = 0};
        if (isinf(node->above))
                return 0;
        const struct gbt_feature *f = &b->feature[feature];
        for (unsigned v = 0; v < f->values; v++)
                if (f->edge[v] == node->above) {
                        cut->cut = (uint8_t)(v + turn);
                        cut->turn = turn;
                        return 0;
                }
        return -ENOENT;
}

/* ---- all features ------------------------------------------------------------------------------ */

/* A cache line of a row: so many features are taken out of the table in one pass. */
enum { BINS_ABREAST = 16 };

struct bins_work {
        struct dog_gbt_bins *b;
        bool has_no_memory[GBT_THREADS_MAX];
};

/* One feature after another, rows each. */
static void bins_columns(const struct dog_gbt_bins *b, unsigned first, unsigned count, float *column)
{
        for (size_t i = 0; i < b->rows; i++) {
                const float *x = dog_table_x(b->table, i) + first;
                for (unsigned k = 0; k < count; k++)
                        column[k * b->rows + i] = x[k];
        }
}

static void bins_feature(struct dog_gbt_bins *b, unsigned feature, const float *x, uint32_t *key,
                         uint32_t *spare)
{
        struct gbt_feature *f = &b->feature[feature];
        size_t n = 0;
        for (size_t i = 0; i < b->rows; i++) {
                if (b->use[i] != DOG_BLOCK_LEARN)
                        continue;
                if (x[i] != x[i])
                        f->has_missing = true;
                else
                        key[n++] = dog_fast_order(x[i]);
        }
        bins_sort(key, spare, n);
        bins_edges(f, key, n);
        uint8_t *bin = b->bin + (size_t)feature * b->rows;
        for (size_t i = 0; i < b->rows; i++)
                bin[i] = gbt_bin_of(f, x[i]);
}

static void bins_part(void *data, unsigned part, unsigned parts)
{
        struct bins_work *w = data;
        struct dog_gbt_bins *b = w->b;
        uint32_t *key = malloc(b->rows * 2 * sizeof(*key));
        float *column = malloc(b->rows * BINS_ABREAST * sizeof(*column));
        w->has_no_memory[part] = !key || !column;
        for (unsigned first = part * BINS_ABREAST; !w->has_no_memory[part] && first < b->features;
             first += parts * BINS_ABREAST) {
                unsigned count = b->features - first < BINS_ABREAST ? b->features - first : BINS_ABREAST;
                bins_columns(b, first, count, column);
                for (unsigned k = 0; k < count; k++)
                        bins_feature(b, first + k, column + k * b->rows, key, key + b->rows);
        }
        free(key);
        free(column);
}

static uint64_t bins_fingerprint(const struct dog_gbt_bins *b)
{
        struct dog_sip s;
        dog_sip_init(&s, dog_table_fingerprint(b->table), 0);
        for (size_t i = 0; i < b->rows; i++)
                dog_sip_block(&s, b->use[i]);
        return dog_sip_fini(&s);
}

int dog_gbt_bins_new(struct dog_gbt_bins **to, const struct dog_table *t, const uint8_t *use,
                     unsigned threads, struct dog_err *e)
{
        *to = NULL;
        if (threads == 0 || threads > GBT_THREADS_MAX)
                return dog_err_set(e, -EINVAL, "training: %u threads; it is 1..%d", threads, GBT_THREADS_MAX);
        if (t->features > DOG_GBT_FEATURES_MAX || t->rows > UINT32_MAX)
                return dog_err_set(e, -EINVAL, "training on \"%s\": %zu rows of %u features are too many",
                                   t->name, t->rows, t->features);
        size_t rows = 0;
        for (size_t i = 0; i < t->rows; i++)
                rows += !use || use[t->block[i]] == DOG_BLOCK_LEARN;
        if (rows == 0)
                return dog_err_set(e, -ENODATA,
                                   "training on \"%s\": of its %zu rows none is there to learn from", t->name,
                                   t->rows);
        struct bins_work work = {.b = calloc(1, sizeof(*work.b))};
        struct dog_gbt_bins *b = work.b;
        if (!b)
                return dog_err_set(e, -ENOMEM, "training on \"%s\": no memory", t->name);
        b->table = t;
        b->rows = t->rows;
        b->features = t->features;
        b->use = malloc(b->rows);
        b->bin = malloc(b->rows * b->features);
        b->feature = calloc(b->features, sizeof(*b->feature));
        bool has_memory = b->use && b->bin && b->feature;
        for (size_t i = 0; has_memory && i < b->rows; i++)
                b->use[i] = use ? use[t->block[i]] : (uint8_t)DOG_BLOCK_LEARN;
        if (has_memory)
                gbt_parallel(threads, bins_part, &work);
        for (unsigned i = 0; i < threads; i++)
                has_memory = has_memory && !work.has_no_memory[i];
        if (!has_memory) {
                dog_gbt_bins_free(b);
                return dog_err_set(e, -ENOMEM, "training on \"%s\": no memory for %zu rows of %u features",
                                   t->name, t->rows, t->features);
        }
        b->fingerprint = bins_fingerprint(b);
        *to = b;
        return 0;
}

void dog_gbt_bins_free(struct dog_gbt_bins *b)
{
        if (!b)
                return;
        free(b->use);
        free(b->bin);
        free(b->feature);
        free(b);
}
