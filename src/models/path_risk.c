#include "models/path_risk.h"

#include "models/fastmath.h"

#include <string.h>

const char *dog_path_regime_name(int regime)
{
        static const char *const name[DOG_PATH_REGIMES] = {
                [DOG_PATH_PING] = "ping", [DOG_PATH_RATE] = "rate"};
        return regime >= 0 && regime < DOG_PATH_REGIMES ? name[regime] : "unknown";
}

const char *dog_path_target_name(int target)
{
        static const char *const name[DOG_RISK_TARGETS] = {
                [DOG_RISK_H0] = "1s", [DOG_RISK_H1] = "5s", [DOG_RISK_H2] = "30s", [DOG_RISK_NEXT] = "next"};
        return target >= 0 && target < DOG_RISK_TARGETS ? name[target] : "unknown";
}

/* ---- pairs --------------------------------------------------------------------------------- */

void dog_path_joint_features(const float a[DOG_PATH_FEATURES], const float b[DOG_PATH_FEATURES],
                             float out[DOG_PATH_JOINT_FEATURES])
{
        static const uint16_t feature[DOG_PATH_PAIRS] = {
#define X(id) DOG_PATH_F_##id,
                DOG_PATH_PAIR_LIST(X)
#undef X
        };
        for (int i = 0; i < DOG_PATH_PAIRS; i++) {
                out[i] = a[feature[i]];
                out[DOG_PATH_PAIRS + i] = b[feature[i]];
        }
}

const char *const *dog_path_joint_ids(void)
{
        static const char *const id[DOG_PATH_JOINT_FEATURES] = {
#define X(feature) "A_" #feature,
                DOG_PATH_PAIR_LIST(X)
#undef X
#define X(feature) "B_" #feature,
                        DOG_PATH_PAIR_LIST(X)
#undef X
        };
        return id;
}
