#pragma once
/** What the two files of path training share: how a trained model lies in a model file. */
#include "learn/path_train.h"

/** The trees of one regime as training leaves them; NULL where there are none. */
struct path_trees {
        struct dog_gbt *trees; /* one target for each that was learned, in their order */
        struct dog_gbt *pairs;
};

/** Sections for a model whose main trees are those of `main_regime`. The model borrows the trees of `m`. */
int path_model_store(struct dog_model *file, const struct dog_path_model *m, int main_regime,
                     struct dog_err *e);
