#include "learn/table.h"

#include "base/siphash.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* "sundog tables", so that a fingerprint is not the hash of the same bytes made for something else. */
static const uint64_t table_key[2] = {0x73756e646f672074ULL, 0x61626c6573000001ULL};

static int table_names(char (*to)[DOG_TABLE_NAME_SIZE], const char *const *from, unsigned count,
                       const char *what, struct dog_err *e)
{
        for (unsigned i = 0; i < count; i++) {
                size_t length = strlen(from[i]);
                if (length == 0 || length >= DOG_TABLE_NAME_SIZE)
                        return dog_err_set(e, -EINVAL,
                                           "table: the name of %s %u has %zu characters; it needs 1..%d",
                                           what, i, length, DOG_TABLE_NAME_SIZE - 1);
                memcpy(to[i], from[i], length);
                for (unsigned k = 0; k < i; k++)
                        if (strcmp(to[k], to[i]) == 0)
                                return dog_err_set(e, -EINVAL, "table: two of the %ss are called \"%s\"",
                                                   what, to[i]);
        }
        return 0;
}

int dog_table_new(struct dog_table **to, const char *name, const char *const *feature, unsigned features,
                  const char *const *target, unsigned targets, struct dog_err *e)
{
        *to = NULL;
        if (features == 0 || features > DOG_TABLE_FEATURES_MAX)
                return dog_err_set(e, -EINVAL, "table \"%s\": %u features; it needs 1..%d", name, features,
                                   DOG_TABLE_FEATURES_MAX);
        if (targets == 0 || targets > DOG_TABLE_TARGETS_MAX)
                return dog_err_set(e, -EINVAL, "table \"%s\": %u targets; it needs 1..%d", name, targets,
                                   DOG_TABLE_TARGETS_MAX);
        struct dog_table *t = calloc(1, sizeof(*t));
        if (!t)
                return dog_err_set(e, -ENOMEM, "table \"%s\": no memory", name);
        strncpy(t->name, name, sizeof(t->name) - 1);
        t->features = features;
        t->targets = targets;
        t->feature_name = calloc(features, sizeof(*t->feature_name));
        t->target_name = calloc(targets, sizeof(*t->target_name));
        int rc = t->feature_name && t->target_name
                         ? 0
                         : dog_err_set(e, -ENOMEM, "table \"%s\": no memory for its names", name);
        if (rc == 0)
                rc = table_names(t->feature_name, feature, features, "feature", e);
        if (rc == 0)
                rc = table_names(t->target_name, target, targets, "target", e);
        if (rc < 0) {
                dog_table_free(t);
                return rc;
        }
        *to = t;
        return 0;
}

void dog_table_free(struct dog_table *t)
{
        if (!t)
                return;
        free(t->feature_name);
        free(t->target_name);
        free(t->x);
        free(t->label);
        free(t->number);
        free(t->weight);
        free(t->block);
        free(t->id);
        free(t);
}

static int table_grow(void **array, size_t rows, size_t each)
{
        void *bigger = reallocarray(*array, rows, each);
        if (!bigger)
                return -ENOMEM;
        *array = bigger;
        return 0;
}

static bool table_has_numbers(const struct dog_table *t)
{
        for (unsigned i = 0; i < t->targets; i++)
                if (t->target_kind[i] == DOG_TARGET_NUMBER)
                        return true;
        return false;
}

int dog_table_reserve(struct dog_table *t, size_t rows, struct dog_err *e)
{
        if (rows <= t->room)
                return 0;
        /* An array that has grown while the next could not is only larger than it says: `room` comes last. */
        if (rows > SIZE_MAX / t->features / sizeof(float) ||
            table_grow((void **)&t->x, rows, t->features * sizeof(float)) < 0 ||
            table_grow((void **)&t->label, rows, t->targets) < 0 ||
            (table_has_numbers(t) && table_grow((void **)&t->number, rows, t->targets * sizeof(float)) < 0) ||
            table_grow((void **)&t->weight, rows, sizeof(float)) < 0 ||
            table_grow((void **)&t->block, rows, sizeof(uint32_t)) < 0 ||
            table_grow((void **)&t->id, rows, sizeof(uint64_t)) < 0)
                return dog_err_set(e, -ENOMEM, "table \"%s\": no memory for %zu rows of %u features", t->name,
                                   rows, t->features);
        t->room = rows;
        return 0;
}

static int table_check(const struct dog_table *t, const struct dog_table_row *row, struct dog_err *e)
{
        for (unsigned f = 0; f < t->features; f++)
                if (isinf(row->x[f]))
                        return dog_err_set(
                                e, -EINVAL,
                                "table \"%s\", row %zu: feature %s is infinite; say NaN for what is "
                                "not known",
                                t->name, t->rows, t->feature_name[f]);
        for (unsigned i = 0; row->label && i < t->targets; i++)
                if (row->label[i] < DOG_LABEL_UNKNOWN || row->label[i] > 1)
                        return dog_err_set(e, -EINVAL,
                                           "table \"%s\", row %zu: %s is %d; a label is -1, 0 or 1", t->name,
                                           t->rows, t->target_name[i], row->label[i]);
        for (unsigned i = 0; row->number && i < t->targets; i++)
                if (t->target_kind[i] == DOG_TARGET_NUMBER && fabsf(row->number[i]) > DOG_TABLE_NUMBER_MAX)
                        return dog_err_set(e, -EINVAL, "table \"%s\", row %zu: %s is %g; at most %g", t->name,
                                           t->rows, t->target_name[i], (double)row->number[i],
                                           (double)DOG_TABLE_NUMBER_MAX);
        if (!(row->weight >= 0 && row->weight <= DOG_TABLE_WEIGHT_MAX))
                return dog_err_set(e, -EINVAL, "table \"%s\", row %zu: a weight of %g; it is 0..%g", t->name,
                                   t->rows, (double)row->weight, (double)DOG_TABLE_WEIGHT_MAX);
        return 0;
}

int dog_table_add(struct dog_table *t, const struct dog_table_row *row, struct dog_err *e)
{
        int rc = table_check(t, row, e);
        if (rc == 0 && t->rows == t->room)
                rc = dog_table_reserve(t, t->room ? t->room + t->room / 2 + 1 : 256, e);
        if (rc < 0)
                return rc;
        size_t at = t->rows++;
        memcpy(t->x + at * t->features, row->x, t->features * sizeof(float));
        for (unsigned i = 0; i < t->targets; i++) {
                bool is_number = t->target_kind[i] == DOG_TARGET_NUMBER;
                t->label[at * t->targets + i] =
                        row->label && !is_number ? row->label[i] : (int8_t)DOG_LABEL_UNKNOWN;
                if (t->number)
                        t->number[at * t->targets + i] = row->number && is_number ? row->number[i] : NAN;
        }
        t->weight[at] = row->weight;
        t->block[at] = row->block;
        t->id[at] = row->id;
        return 0;
}

uint32_t dog_table_blocks(const struct dog_table *t)
{
        uint32_t blocks = 0;
        for (size_t i = 0; i < t->rows; i++)
                if (t->block[i] >= blocks)
                        blocks = t->block[i] + 1;
        return blocks;
}

/* ---- fingerprints: SipHash over the numbers' values, not over memory, so that machines agree ---- */

static uint64_t table_bits(float v)
{
        uint32_t bits = 0x7fc00000; /* every NaN is the same */
        if (v == v)
                memcpy(&bits, &v, sizeof(bits));
        return bits;
}

static void table_hash_floats(struct dog_sip *s, const float *v, size_t n)
{
        for (size_t i = 0; i + 1 < n; i += 2)
                dog_sip_block(s, table_bits(v[i]) | table_bits(v[i + 1]) << 32);
        if (n % 2)
                dog_sip_block(s, table_bits(v[n - 1]));
}

static void table_hash_name(struct dog_sip *s, const char *name)
{
        size_t length = strlen(name);
        dog_sip_block(s, length);
        for (size_t at = 0; at < length; at += 8) {
                uint64_t block = 0;
                for (size_t k = 0; k < 8 && at + k < length; k++)
                        block |= (uint64_t)(uint8_t)name[at + k] << (8 * k);
                dog_sip_block(s, block);
        }
}

uint64_t dog_table_fingerprint(const struct dog_table *t)
{
        struct dog_sip s;
        dog_sip_init(&s, table_key[0], table_key[1]);
        dog_sip_block(&s, t->rows);
        dog_sip_block(&s, (uint64_t)t->features << 32 | t->targets);
        for (unsigned f = 0; f < t->features; f++)
                table_hash_name(&s, t->feature_name[f]);
        for (unsigned i = 0; i < t->targets; i++) {
                table_hash_name(&s, t->target_name[i]);
                dog_sip_block(&s, (uint64_t)t->target_kind[i]);
        }
        for (size_t i = 0; i < t->rows; i++) {
                table_hash_floats(&s, dog_table_x(t, i), t->features);
                for (unsigned k = 0; k < t->targets; k++)
                        dog_sip_block(&s, (uint64_t)(uint8_t)dog_table_label(t, i, k));
                if (t->number)
                        table_hash_floats(&s, t->number + i * t->targets, t->targets);
                dog_sip_block(&s, table_bits(t->weight[i]) | (uint64_t)t->block[i] << 32);
        }
        return dog_sip_fini(&s);
}

uint64_t dog_feature_set_hash(const char *const *name, unsigned count)
{
        struct dog_sip s;
        dog_sip_init(&s, table_key[0], ~table_key[1]);
        dog_sip_block(&s, count);
        for (unsigned i = 0; i < count; i++)
                table_hash_name(&s, name[i]);
        return dog_sip_fini(&s);
}
