#pragma once
/**
 * A table to learn from: rows of features, what came of each, and which rows belong together.
 *
 * A row is one moment of one path, node or server. Its features are single-precision numbers, NaN where
 * nothing was measured. Its labels say for each target what happened later: 0, 1, or DOG_LABEL_UNKNOWN when
 * the record ends before that is known; such a row is skipped for that target alone. A target may instead be
 * a number (DOG_TARGET_NUMBER): then `number` holds it, NaN is unknown and the labels are not read.
 *
 * Rows of one block (a trace, a day, a node: `block`) are alike, so whoever splits a table to judge a model
 * keeps a block whole: two neighbouring seconds on both sides of the split would be a test of memory.
 *
 * The table owns everything in it. Filling is for one thread; reading for any number.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        DOG_TABLE_FEATURES_MAX = 1024,
        DOG_TABLE_TARGETS_MAX = 16,
        DOG_TABLE_NAME_SIZE = 64, /**< of a table, a feature or a target, with its final zero */
};

/** So that a weight times a number stays a number. */
#define DOG_TABLE_WEIGHT_MAX 1e6F
#define DOG_TABLE_NUMBER_MAX 1e30F

/** The record ends, or has a gap, before it is known what happened. */
#define DOG_LABEL_UNKNOWN (-1)

enum dog_target_kind {
        DOG_TARGET_YES_NO, /**< it happens or not: logistic loss, the model says log-odds */
        DOG_TARGET_NUMBER, /**< a quantity: squared loss, the model says the quantity */
};

struct dog_table {
        char name[DOG_TABLE_NAME_SIZE]; /**< of the data: "paths", "health/msl" */
        unsigned features, targets;
        size_t rows;
        char (*feature_name)[DOG_TABLE_NAME_SIZE];
        char (*target_name)[DOG_TABLE_NAME_SIZE];
        enum dog_target_kind target_kind[DOG_TABLE_TARGETS_MAX];

        float *x;        /**< rows x features, a row after the other */
        int8_t *label;   /**< rows x targets: 0, 1 or DOG_LABEL_UNKNOWN */
        float *number;   /**< rows x targets; NULL while no target is a number */
        float *weight;   /**< per row, 0..DOG_TABLE_WEIGHT_MAX */
        uint32_t *block; /**< per row */
        uint64_t *id;    /**< per row: free for the reader of the data, to find the row's origin again */
        size_t room;     /**< rows that fit before the table grows */
};

/** One row to add; everything is borrowed and copied. */
struct dog_table_row {
        const float *x;      /**< `features` numbers; an infinite one is refused */
        const int8_t *label; /**< `targets` labels; NULL: all unknown */
        const float *number; /**< `targets` numbers, read for targets of that kind; NULL: all unknown */
        float weight;        /**< 0..DOG_TABLE_WEIGHT_MAX; 1 is ordinary */
        uint32_t block;
        uint64_t id;
};

/**
 * An empty table.
 * @param feature  names, each shorter than DOG_TABLE_NAME_SIZE, no two alike
 * @param target   the same, 1..DOG_TABLE_TARGETS_MAX; all of them DOG_TARGET_YES_NO until the caller sets
 *                 target_kind before the first row
 * @return 0; -EINVAL for a bad count or name, -ENOMEM
 */
int dog_table_new(struct dog_table **to, const char *name, const char *const *feature, unsigned features,
                  const char *const *target, unsigned targets, struct dog_err *e);
/** NULL is allowed. */
void dog_table_free(struct dog_table *t);

/** Make room for so many rows in all, so that adding them cannot fail for want of memory. -ENOMEM. */
int dog_table_reserve(struct dog_table *t, size_t rows, struct dog_err *e);
/** Add one row. -EINVAL for an infinite feature, a label or a weight that cannot be; -ENOMEM. */
int dog_table_add(struct dog_table *t, const struct dog_table_row *row, struct dog_err *e);
static inline const float *dog_table_x(const struct dog_table *t, size_t row)
{
        return t->x + row * t->features;
}

static inline int8_t dog_table_label(const struct dog_table *t, size_t row, unsigned target)
{
        return t->label[row * t->targets + target];
}

/** One more than the highest block number; 0 for an empty table. */
uint32_t dog_table_blocks(const struct dog_table *t);

/**
 * A number that tells this data from other data: SipHash-2-4, with a fixed key, of names, features, labels,
 * numbers, weights and blocks in their order. Every NaN counts as the same. Not the name of the table, not
 * the ids. The same on every machine.
 */
uint64_t dog_table_fingerprint(const struct dog_table *t);
/** The same for a set of features alone: their names in their order. What a model was made for. */
uint64_t dog_feature_set_hash(const char *const *name, unsigned count);
