#pragma once
/**
 * Belief: what is expected of one member, at one moment, for three horizons.
 * A value: no pointers; safe to copy, log, replay.
 */
#include "models/ensemble.h"
#include "models/modes.h"
#include "models/shift.h"

#include <stdbool.h>
#include <stdint.h>

#define DOG_HORIZONS 3
#define DOG_DRIVERS  3

#define DOG_ANNOUNCED_MAX 120 /**< words of what somebody outside announced */

/** What one number is expected to be. */
struct dog_expect {
        float mean;
        float spread; /**< one standard deviation; 0 means "no doubt", NaN "unknown" */
};

/** A feature that moved the risk, and by how much. A value: the name is a number for dog_risk_group_name().
 */
struct dog_reason_share {
        uint8_t feature;
        float log_odds; /**< > 0 raised the risk, < 0 lowered it, against an ordinary moment */
};

/** What one forecaster says of the near horizon, and how much it counts: 0 when silent or disarmed. */
struct dog_voice {
        float p; /**< NaN: nothing */
        float weight;
};

/** The change of level that was told last; see core/level.h. */
struct dog_level_told {
        uint8_t level; /**< enum dog_level; DOG_LEVEL_COUNT: none */
        struct dog_shift shift;
};

#define DOG_HINT_NONE 0 /**< nothing but the model speaks; other numbers are the kind's: dog_kind.hint */
struct dog_belief {
        int64_t made_ns;
        struct dog_expect rtt_ms[DOG_HORIZONS];
        struct dog_expect jitter_ms[DOG_HORIZONS];
        struct dog_expect loss[DOG_HORIZONS];
        float p_breach[DOG_HORIZONS]; /**< chance, 0..1, that the promise is broken by made_ns + horizon */
        float p_next;  /**< ... that it is broken at the next sample, that is, until it can be decided again;
                          NaN: no model that was trained for that speaks of this member */
        float score;   /**< 0..100: forecast and live signals against the promise, weighted */
        float health;  /**< 0..100: dog_belief_health(), after the kind has had its say */
        bool is_armed; /**< false: the model lost against persistence, and the chances are persistence's: 1 or
                          0 */
        uint8_t hint;  /**< what a kind knew that raised the chances above the model's; DOG_HINT_NONE */
        bool is_bad;   /**< the promise is broken by the newest sample */
        float caution; /**< log-odds that an announcement added to p_breach[0]; 0: none; see core/caution.h */
        char announced[DOG_ANNOUNCED_MAX]; /**< ... what was announced; "": nothing */
        int8_t speaker; /**< enum dog_expert: the model that counts most at the near horizon, whose drivers
                           these are; -1: no model is heard */
        struct dog_reason_share driver[DOG_DRIVERS]; /**< of p_breach[0], the largest first; only in the
                                                        ledger: dog_group_explain() */
        struct dog_voice voice[DOG_EXPERTS];         /**< by enum dog_expert */
        struct dog_level_told told;                  /**< for people; nothing is decided by it */
        struct dog_mode_chance mode[DOG_MODES];      /**< at the middle horizon, by enum dog_mode */
};

/** The score times the chance that the promise is kept at the middle horizon; without a score, of 100. */
static inline float dog_belief_health(const struct dog_belief *b)
{
        float score = b->score >= 0 ? b->score : 100;
        return score * (1 - b->p_breach[1]);
}

/** For a kind's `forecast`: what it knows says that the chance is p at least, at the next sample and at every
 * horizon. Where that is more than was believed of what decides, it is the kind's hint. */
static inline void dog_belief_raise(struct dog_belief *b, float p, uint8_t hint)
{
        if (!(p > b->p_breach[0]) && !(p > b->p_next))
                return;
        b->hint = hint;
        for (int h = 0; h < DOG_HORIZONS; h++)
                b->p_breach[h] = p > b->p_breach[h] ? p : b->p_breach[h];
        b->p_next = p > b->p_next ? p : b->p_next; /* what is not known stays so */
}
