#pragma once
/**
 * Gradient-boosted trees: what learn/gbt_train.h has learned, ready to be asked.
 *
 * A model holds one ensemble per target. An ensemble is a base and a sequence of small trees; it says
 * base + the sum of one leaf per tree. For a target that happens or not this is a log-odds; for a target that
 * is a number, the number.
 *
 * A node asks "is feature f above t?"; yes goes right. A feature that is NaN (not measured) goes the way the
 * node has learned. Trees are complete: every leaf lies at the ensemble's depth, a branch that stopped early
 * is filled up with nodes that always go left. So a tree is a fixed number of steps without a jump that
 * depends on data, and the processor walks many trees at once.
 *
 * Nothing is allocated after dog_gbt_new or dog_gbt_read; asking is pure, and safe from many threads.
 *
 * Sources: Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29:5,
 * 2001; direction of missing values: Chen and Guestrin, "XGBoost", KDD 2016, section 3.4; attribution along
 * the path: Saabas, "Interpreting random forests" (treeinterpreter), 2014.
 */
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum {
        DOG_GBT_FEATURES_MAX = 1024,
        DOG_GBT_TARGETS_MAX = 16,
        DOG_GBT_TREES_MAX = 20000, /**< per target */
        DOG_GBT_DEPTH_MAX = 8,
};

struct dog_gbt_node {
        float above;   /**< right when the feature is above this; +infinity: always left */
        uint16_t slot; /**< 2 x feature + (1 if a missing feature goes right) */
        uint16_t spare;
};

/** The same as it is walked; see gbt.c. */
struct dog_gbt_step {
        uint32_t above; /**< as a number that has the same order */
        uint32_t at;    /**< where the feature stands */
};

/** One target. Node i of a tree has the children 2i+1 and 2i+2; leaves follow on the last nodes. */
struct dog_gbt_ensemble {
        unsigned trees, depth;           /**< depth >= 1 when there are trees */
        float base;                      /**< what is said with no tree at all */
        const struct dog_gbt_node *node; /**< trees x (2^depth - 1) */
        const float *leaf;               /**< trees x 2^depth */
        const float *mean; /**< trees x (2^depth - 1): the mean below each node in training, for reasons */
        const struct dog_gbt_step *step; /**< of each node; dog_gbt_new and dog_gbt_read make them */
};

/** Read-only; everything lies in one block behind it. */
struct dog_gbt {
        unsigned features, targets;
        struct dog_gbt_ensemble ensemble[DOG_GBT_TARGETS_MAX];
};

/**
 * Make a model of ensembles: they are checked and copied. What training and joining end with.
 * Free with dog_gbt_free.
 * @return 0; -EINVAL with the first thing that is wrong, -ENOMEM
 */
int dog_gbt_new(struct dog_gbt **to, unsigned features, const struct dog_gbt_ensemble *ensemble,
                unsigned targets, struct dog_err *e);
/**
 * Make a model from bytes, whoever wrote them: counts, features, thresholds and leaves are checked, so that
 * what comes out can be asked anything without reading outside itself.
 * Free with dog_gbt_free.
 * @return 0; -EINVAL with the first thing that is wrong, -ENOMEM
 */
int dog_gbt_read(struct dog_gbt **to, const void *bytes, size_t size, struct dog_err *e);
/** How many bytes a model takes when written; and the bytes: `to` has room for so many. */
size_t dog_gbt_size(const struct dog_gbt *m);
void dog_gbt_write(const struct dog_gbt *m, void *to);
void dog_gbt_free(struct dog_gbt *m);

/**
 * What one target's ensemble says. Finite for every input.
 * @param x  `features` numbers, NaN where not measured
 */
float dog_gbt_log_odds(const struct dog_gbt *m, unsigned target, const float *x);
/** All targets at once; less work than one after the other. @param out `targets` numbers */
void dog_gbt_log_odds_all(const struct dog_gbt *m, const float *x, float *out);

/**
 * Why: what each feature adds to the log-odds. On the way from a root to its leaf each step changes the mean
 * of what training saw below it; that change belongs to the feature that was asked. Cheap and exact in its
 * sum, and not fair in the sense of Shapley: of two features that say the same, the one that was asked first
 * gets more.
 * @param out  `features` numbers; their sum is dog_gbt_log_odds minus the return value, but for rounding
 * @return what the ensemble says of an ordinary moment: the base and the means of all roots
 */
float dog_gbt_contributions(const struct dog_gbt *m, unsigned target, const float *x, float *out);
