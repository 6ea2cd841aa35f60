#pragma once
/**
 * Rows to learn path risk from: recorded traces, played to models/path_features.h one after the other, each
 * from a fresh state, as models/path_risk.h will see them live.
 *
 * dog_path_rows_make:  a row per path and step. Columns: dog_path_feature_ids. Labels: the targets of
 *                      enum dog_risk_target, "any bad sample in the next 1, 5, 30 s" and "the next sample".
 * dog_path_joint_make: a row per ordered pair of paths and step. Columns: dog_path_joint_ids. One label:
 *                      the next sample breaks a's promise and not b's.
 *
 * A path's first two seconds give no row; an outcome of which under 80 % was seen is unknown. The block of a
 * row is its trace, a copy's that of its original, so that copies are never on the other side of a split.
 */
#include "learn/paths.h"
#include "learn/table.h"

struct dog_path_rows_options {
        int regime;         /**< enum dog_path_regime: only traces that measure so; -1: all */
        float copy_weight;  /**< of rows of thinned or shifted copies; recorded ones weigh 1. 0: no rows */
        const char *family; /**< NULL, or the family whose rows weigh 1 and all others `other_weight` */
        float other_weight;
        float lone_weight; /**< of rows of a trace with one path: nobody stands beside it to be compared with
                            */
        int pair_every;    /**< dog_path_joint_make: each so-many-th step alone; 1: all */
        int (*wait)(void *data); /**< called before each trace; non-zero stops with -ECANCELED; NULL: not
                                    called */
        void *wait_data;
};
struct dog_path_rows_options dog_path_rows_default(void);

/** What a row's id says. */
struct dog_path_row_id {
        int trace, path, other, step; /**< `other` is -1 but for pairs */
};
struct dog_path_row_id dog_path_row_id(uint64_t id);

/**
 * Free with dog_table_free.
 * @return 0; -ENODATA when no trace fits or none gave a row; -ENOMEM, -ECANCELED
 */
int dog_path_rows_make(struct dog_table **to, const struct dog_path_traces *t,
                       const struct dog_path_rows_options *o, struct dog_err *e);
int dog_path_joint_make(struct dog_table **to, const struct dog_path_traces *t,
                        const struct dog_path_rows_options *o, struct dog_err *e);
