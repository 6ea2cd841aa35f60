#pragma once
/**
 * Training of gradient-boosted trees (models/gbt.h) from a table.
 *
 * Each round draws rows and features, computes for every drawn row how wrong the model is (gradient) and how
 * quickly that would change (second derivative), and grows one tree of fixed depth whose leaves correct it.
 * Features are cut into at most 255 bins of about equally many rows, and a 256th for "not measured"; a split
 * is found from sums per bin. Missing values go to the side that was better in training; where none was
 * missing, to the side with more weight.
 *
 * Same table, same parameters, same bits: on any number of threads, and after a stop and a resume. Gradients
 * are rounded to whole multiples of 2^-24 of the largest, so that sums of them in double precision are exact
 * and no order of adding matters; each round has its own random numbers, made of seed and round.
 *
 * Sources: Friedman 2001 and 2002 ("Stochastic gradient boosting"); second order and lambda: Chen and
 * Guestrin, "XGBoost", KDD 2016, section 2; histograms and the smaller child: Ke and others, "LightGBM", NIPS
 * 2017.
 */
#include "base/err.h"
#include "learn/table.h"
#include "models/gbt.h"

#include <stdbool.h>

/** What a block of the table is for. */
enum dog_block_use {
        DOG_BLOCK_LEARN, /**< trees are grown on it */
        DOG_BLOCK_STOP,  /**< the loss on it says when to stop (`patience`) */
        DOG_BLOCK_SKIP,  /**< not looked at: kept for judging */
};

struct dog_gbt_params {
        unsigned rounds;    /**< 1..DOG_GBT_TREES_MAX */
        unsigned depth;     /**< 1..DOG_GBT_DEPTH_MAX */
        float learn_rate;   /**< (0, 1]: share of each correction that is taken */
        float lambda;       /**< >= 0: pulls leaves towards 0, as so much second derivative more */
        float min_child;    /**< >= 0: least sum of second derivatives (p (1-p) x weight) on each side */
        float min_gain;     /**< >= 0: what a split must gain in loss, as XGBoost's gamma */
        float row_share;    /**< (0, 1]: rows drawn per tree */
        float column_share; /**< (0, 1]: features drawn per tree */
        unsigned patience; /**< stop after so many rounds without a better loss on DOG_BLOCK_STOP; 0: never */
        uint64_t seed;
        unsigned threads; /**< 1..16; does not change the result */
};

/** 300 rounds, depth 4, rate .04, lambda 5, min_child 30, rows .7, columns .3, no patience, one thread. */
struct dog_gbt_params dog_gbt_params_default(void);

/**
 * A table cut into bins. One serves all targets. About one byte per row and feature.
 * @param t    borrowed; must outlive the bins and stay as it is
 * @param use  one enum dog_block_use per block (dog_table_blocks(t) of them), or NULL: all DOG_BLOCK_LEARN;
 * copied. Bins are made of the rows to learn from alone.
 * @return 0; -ENODATA when there is no row to learn from, -EINVAL, -ENOMEM
 */
struct dog_gbt_bins;
int dog_gbt_bins_new(struct dog_gbt_bins **to, const struct dog_table *t, const uint8_t *use,
                     unsigned threads, struct dog_err *e);
void dog_gbt_bins_free(struct dog_gbt_bins *b);

/** How far a training is. */
struct dog_gbt_progress {
        unsigned target;       /**< of the table */
        unsigned done, rounds; /**< rounds made, and to make at most */
        unsigned best;         /**< trees at the best loss so far; all of them without DOG_BLOCK_STOP rows */
        double stop_loss;      /**< mean loss on DOG_BLOCK_STOP now; NaN when there are no such rows */
        double best_loss;      /**< the least of it */
        double seconds;        /**< spent in rounds since the trainer was made */
};

/** The training of one target, round by round. */
struct dog_gbt_trainer;
/**
 * @param bins  borrowed; must outlive the trainer
 * @return 0; -ENODATA when the target is not known in any row to learn from, -EINVAL for parameters out of
 *         their range, -ENOMEM
 */
int dog_gbt_trainer_new(struct dog_gbt_trainer **to, const struct dog_gbt_bins *bins, unsigned target,
                        const struct dog_gbt_params *params, struct dog_err *e);
void dog_gbt_trainer_free(struct dog_gbt_trainer *t);
/** Make one round. @return 1: there is more to do; 0: finished; -ENOMEM, as if the round had not been. */
int dog_gbt_trainer_round(struct dog_gbt_trainer *t, struct dog_err *e);
struct dog_gbt_progress dog_gbt_trainer_progress(const struct dog_gbt_trainer *t);
/**
 * The model so far, of one target, up to its best round. Free with dog_gbt_free.
 */
int dog_gbt_trainer_model(const struct dog_gbt_trainer *t, struct dog_gbt **to, struct dog_err *e);

/**
 * Write down where the training stands; free(*bytes). And go on from there, in a new trainer made of the same
 * data, target and parameters (`threads`, `rounds` and `patience` may differ): what follows is bit for bit
 * what would have followed.
 * @return 0; -EINVAL when the state is damaged or belongs to another training, with a sentence that says what
 *         differs; -ENOMEM
 */
int dog_gbt_trainer_save(const struct dog_gbt_trainer *t, uint8_t **bytes, size_t *size, struct dog_err *e);
int dog_gbt_trainer_resume(struct dog_gbt_trainer *t, const uint8_t *bytes, size_t size, struct dog_err *e);
/** The checksum of a state's first `size` bytes: all but its last eight. */
uint64_t dog_gbt_state_checksum(const uint8_t *bytes, size_t size);

/** Called after each round; false stops the training with -ECANCELED. */
typedef bool dog_gbt_watch_fn(void *data, const struct dog_gbt_progress *progress);
/**
 * All of it at once: one model with an ensemble for every target of the table.
 * @param params  one per target, or one for all when `is_each` is false
 * @param watch   may be NULL
 */
int dog_gbt_train(struct dog_gbt **to, const struct dog_gbt_bins *bins, const struct dog_gbt_params *params,
                  bool is_each, dog_gbt_watch_fn *watch, void *data, struct dog_err *e);
/** One model of several with the same features: their targets, one after the other. The parts stay as they
 * are. */
int dog_gbt_join(struct dog_gbt **to, const struct dog_gbt *const *part, unsigned parts, struct dog_err *e);
