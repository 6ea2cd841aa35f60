#pragma once
/**
 * How trees of path risk are grown, per regime and target: what cross-validation by day found best on
 * recorded drives (docs/forecasting.md has the trials, the lost ones too). A regime is what a path measures.
 *
 * Rates: trees of depth 4, and copies of each trace whose promise asks for 0.4 and 2.5 times the rate, of
 * weight 0.3: so trees learn what a margin means and not what 5 Mbit/s means. 150 trees at twice the step
 * lose .0005 of AUROC against 300, and half of the time. Pings: shallow trees, strongly pulled to nothing,
 * because days differ more than samples do; for the next sample deeper ones, because the periodic dips are an
 * interaction of lags. They are taught with copies that are thinned to 2.5 and to one probe a second, of full
 * weight: a path that stands by is probed at that pace, and trees that have only seen five a second read
 * twice the chance there. Traces of one path alone count less: a group is what is served, and of
 * rates a download with pauses looks like breaches.
 */
#include "learn/gbt_train.h"
#include "learn/paths.h"
#include "models/path_risk.h"

/** A target of the recipe: enum dog_risk_target, or this one for pairs. */
enum { DOG_PATH_RECIPE_PAIRS = DOG_RISK_TARGETS };

/** Parameters of the trees of one target; threads 1. */
struct dog_gbt_params dog_path_recipe_trees(int regime, int target);
/** What dog_path_rows_make should weigh the copies with. */
float dog_path_recipe_copy_weight(int regime);
/** The same for pairs: their few features do not tell at which pace the next sample comes, so none of pings.
 */
float dog_path_recipe_pair_copy_weight(int regime);
/** What it should weigh traces of one path with. */
float dog_path_recipe_lone_weight(int regime);
/** Pairs are many and alike: each so-many-th step of a trace gives rows. */
int dog_path_recipe_pair_every(int regime);
/**
 * Add the copies that the recipe wants to the traces: of rates, other promises; of pings, what 2.5 and what
 * one probe a second would have seen.
 * @return 0; -ENOMEM
 */
int dog_path_recipe_copies(struct dog_path_traces *t, struct dog_err *e);
