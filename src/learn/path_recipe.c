#include "learn/path_recipe.h"

struct dog_gbt_params dog_path_recipe_trees(int regime, int target)
{
        struct dog_gbt_params p = dog_gbt_params_default();
        bool is_near = target == DOG_RISK_H0 || target == DOG_RISK_H1;
        p.rounds = is_near ? 150 : 100;
        p.learn_rate = is_near ? 0.08F : 0.1F;
        p.depth = 4;
        p.min_child = 30;
        p.lambda = 5;
        p.row_share = 0.7F;
        p.column_share = 0.3F;
        if (regime == DOG_PATH_PING && target < DOG_RISK_NEXT) {
                p.rounds = 200;
                p.learn_rate = 0.04F;
                p.depth = 3;
                p.min_child = 100;
                p.lambda = 20;
                p.row_share = 0.6F;
                p.column_share = 0.2F;
        } else if (regime == DOG_PATH_PING && target == DOG_RISK_NEXT) {
                p.rounds = 200;
                p.learn_rate = 0.04F;
        }
        return p;
}

float dog_path_recipe_copy_weight(int regime)
{
        return regime == DOG_PATH_RATE ? 0.3F : 1.0F;
}

float dog_path_recipe_pair_copy_weight(int regime)
{
        return regime == DOG_PATH_RATE ? 0.3F : 0;
}

float dog_path_recipe_lone_weight(int regime)
{
        return regime == DOG_PATH_RATE ? 0.1F : 0.5F;
}

int dog_path_recipe_pair_every(int regime)
{
        return regime == DOG_PATH_RATE ? 1 : 2;
}

int dog_path_recipe_copies(struct dog_path_traces *t, struct dog_err *e)
{
        int rc = dog_path_traces_shift(t, 0.4, 1, e);
        if (rc == 0)
                rc = dog_path_traces_shift(t, 2.5, 1, e);
        if (rc == 0)
                rc = dog_path_traces_slow(t, 400, e);
        if (rc == 0)
                rc = dog_path_traces_slow(t, 1000, e);
        return rc;
}
