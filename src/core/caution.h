#pragma once
/**
 * Caution: what somebody outside announced about a member, as a shift of its risk. A kind that learns of one
 * applies it in its `forecast` hook, after all it knows itself.
 *
 * What a caution can do is bounded, so that a source that lies can cost copies and moves but no traffic:
 *   - it only raises the chance of a broken promise, in log-odds, by DOG_CAUTION_MOST at most; it never makes
 * a member usable or unusable;
 *   - a promise that is broken now weighs more than one that may be: no member that keeps its promise is
 * raised above one that breaks it;
 *   - in a group that spreads, announcements alone never take so many members out that health would be
 * ignored (policy.panic_share), nor the last one that is well.
 */
#include "core/group.h"

#define DOG_CAUTION_MOST 10.0F

struct dog_caution {
        float log_odds[DOG_HORIZONS];  /**< >= 0; 0: nothing is announced */
        char words[DOG_ANNOUNCED_MAX]; /**< what is announced, for people */
};

/** The chance `p`, raised. Never less than p; NaN stays NaN. What is not > 0 changes nothing. */
float dog_caution_raise(float p, float log_odds);

/** Raise the beliefs of the group's members. @param c  one for each member */
void dog_caution_apply(struct dog_group *g, const struct dog_caution c[]);
