#pragma once
/**
 * Training the model of path risk (models/path_risk.h) from recorded traces, with its own examination.
 *
 * For each regime that the traces hold (round trips, rates) and each target (1, 5, 30 s, the next sample, and
 * pairs: "bad here and good there") boosted trees are trained: one set on everything, which is what ships,
 * and one for each fold without the days of that fold. What the latter say about the days they never saw
 * decides how much the trees weigh against the logistic, corrects what a stated log-odds means (isotonic, by
 * pooling adjacent violators: Ayer et al., Ann. Math. Stat. 26, 1955), and gives the model's scores, by the
 * same backtest that judges any other model. Share and correction are chosen on all folds together: of a few
 * dozen numbers the scores know a little, of the trees nothing.
 *
 * Same traces, same options, same bytes, on any number of threads, stopped and resumed or not. One thread at
 * a time.
 */
#include "learn/backtest_paths.h"
#include "learn/gbt_jobs.h"
#include "learn/model_file.h"

struct dog_path_train_options {
        unsigned threads; /**< 1..16 */
        unsigned folds;   /**< at most so many; of days, or of traces when all are of one day; 0 or 1: none */
        double effort;    /**< rounds of boosting, as a share of the recipe's: 1; tests take less */
        uint64_t seed;
        /** Called between pieces of work, each a small part of a second, also while rows are made and while
         * the model is examined: to keep a pace. Non-zero stops with -ECANCELED; NULL: not called. */
        int (*wait)(void *data);
        void *wait_data;
};
/** One thread, 4 folds, effort 1. */
struct dog_path_train_options dog_path_train_default(void);

struct dog_path_train;
/**
 * Begin. Rows are made at once, training waits for dog_gbt_jobs_step.
 * @param traces  borrowed until the end; the copies of the recipe (learn/path_recipe.h) are added to it
 * @return 0; -ENODATA when there is too little to learn from: under 200 samples, or under 10 that were
 * followed by a broken promise; -EINVAL, -ENOMEM, -ECANCELED
 */
int dog_path_train_new(struct dog_path_train **to, struct dog_path_traces *traces,
                       const struct dog_path_train_options *o, struct dog_err *e);
void dog_path_train_free(struct dog_path_train *t);
/** The work itself, to be stepped, saved and gone on with until it is done (learn/gbt_jobs.h). */
struct dog_gbt_jobs *dog_path_train_jobs(struct dog_path_train *t);
/** What is at work, in words: "examination 2 of 4: ping 5s". */
void dog_path_train_note(const struct dog_path_train *t, char *to, size_t room);

/** After the last step: examine, and make the model. Its scores are named "FAMILY onset auroc 1s", "FAMILY
 * V(0)"; those of what slower probes would have seen, "FAMILY 1/s onset auroc 1s". */
int dog_path_train_finish(struct dog_path_train *t, int64_t made_wall_ns, struct dog_model **to,
                          struct dog_err *e);

/** A model file made ready to be asked. It holds a copy of all that it needs. */
struct dog_path_trained;
/** @return 0; -EINVAL for a model of another kind, with other features, or whose sections make no sense;
 * -ENOMEM */
int dog_path_trained_new(struct dog_path_trained **to, const struct dog_model *file, struct dog_err *e);
const struct dog_path_model *dog_path_trained_model(const struct dog_path_trained *t);
void dog_path_trained_free(struct dog_path_trained *t);
