#include "core/policy.h"

#include "base/clock.h"

struct dog_policy dog_policy_default(void)
{
        return (struct dog_policy){
                .margin = 0.01,
                .move_price = 0.01,
                .backup_price = 0.05,
                .hold_ns = 2 * DOG_S,
                .overlap_ns = 200 * DOG_MS,
                .dead_ns = 1 * DOG_S,
                .recover_ns = 2 * DOG_S,
                .mirror = DOG_MIRROR_AUTO,
                .copies = 2,
                .mirror_price = 0.02,
                .mirror_budget = 0.10,
                .mirror_burst_ns = 1 * DOG_S,
                .mirror_hold_ns = 400 * DOG_MS,
                .mirror_share = 1,
                .avoid_risk = 0.5,
                .leave_risk = 0.9,
                .leave_ns = 3 * DOG_S,
                .eject_share = 1.0 / 3,
                .panic_share = 0.5,
                .rebalance = 0.05,
                .horizon_ns = {1 * DOG_S, 5 * DOG_S, 30 * DOG_S},
                .grade_horizon = 1,
        };
}
