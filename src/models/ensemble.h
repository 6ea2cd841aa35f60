#pragma once
/**
 * Several forecasters of one thing, weighed by their own record.
 *
 * Each horizon, and the next sample, has its own weights. When an outcome is known, each forecaster's weight
 * is multiplied by what it had given to what happened, to the power `rate` (exponentially weighted average
 * forecaster under the logarithmic loss: Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006, 2.1
 * and 9.2), and a small share of all weight goes back to where it started, so that who was bad yesterday can
 * be heard today (fixed share: Herbster and Warmuth, Machine Learning 32, 1998). One that says nothing (NaN)
 * neither gains nor loses, and the others share out its part (specialists: Freund, Schapire, Singer, Warmuth,
 * STOC 1997).
 *
 * Two of the forecasters need no model and live here: persistence, which has counted what followed a broken
 * and what followed a kept promise, and the base rate. The mixture is therefore never much worse than they
 * are. What it says is calibrated on the member's own outcomes (calib.h).
 *
 * A model whose chances at the near horizon lose against "as it was" over 200 outcomes is disarmed: it
 * is graded on, and not heard, until it is better again (brier.h).
 *
 * Same calls, same bits. Values: no pointers, no allocation. A prediction at t uses nothing later than t.
 */
#include "models/brier.h"
#include "models/calib.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/** Three horizons, and the very next sample: what is still to come before anybody can decide again. */
enum {
        DOG_ENSEMBLE_HORIZONS = 3,
        DOG_ENSEMBLE_NEXT = DOG_ENSEMBLE_HORIZONS,
        DOG_ENSEMBLE_TARGETS,
        DOG_ENSEMBLE_PENDING = 8 /**< 1 + 2 + 4 under way, and the next sample */
};

/* name, words, weight at the start; see dog_ensemble_trust() */
#define DOG_EXPERT_LIST(X)                                                                                   \
        X(LOGISTIC, "online logistic", 0.57F)                                                                \
        X(TREES, "trees", 0.40F)                                                                             \
        X(PERSISTENCE, "persistence", 0.02F)                                                                 \
        X(BASE, "base rate", 0.01F)

/** Who speaks. Those before DOG_EXPERT_MODELS are models, asked by the caller; the others live here. */
enum dog_expert {
#define X(id, words, start) DOG_EXPERT_##id,
        DOG_EXPERT_LIST(X)
#undef X
                DOG_EXPERTS,
        DOG_EXPERT_MODELS = DOG_EXPERT_PERSISTENCE
};

/** "online logistic" */
const char *dog_expert_name(int expert);

struct dog_ensemble_config {
        int64_t horizon_ns[DOG_ENSEMBLE_HORIZONS]; /**< rising */
        float gap_s;                               /**< silence after which outcomes are not graded */
        float rate;                                /**< how fast weights move: 0 never .. 1 Bayes' rule */
        float share; /**< of the weight that goes back to the start with each outcome */
        bool is_calibrating;
};

/** What was said and waits for its outcome. */
struct dog_ensemble_pending {
        int64_t t_ns;         /**< INT64_MIN: free */
        float p[DOG_EXPERTS]; /**< NaN: was silent */
        float mixed, said;    /**< before and after calibration */
        uint16_t seen;
        bool was_bad, is_bad;
};

/** One member's. */
struct dog_ensemble {
        int64_t last_ns; /**< INT64_MIN: no sample yet */
        int64_t taken_ns[DOG_ENSEMBLE_TARGETS];
        float step_s; /**< typical distance of samples */
        uint32_t count;
        bool is_bad;
        bool is_disarmed[DOG_EXPERT_MODELS];             /**< silenced by its record at the near horizon */
        float start[DOG_ENSEMBLE_TARGETS][DOG_EXPERTS];  /**< where weights begin, and return to */
        float weight[DOG_ENSEMBLE_TARGETS][DOG_EXPERTS]; /**< each row sums to 1 */
        float happened[DOG_ENSEMBLE_TARGETS][2];         /**< after a kept, after a broken promise; fading */
        float counted[DOG_ENSEMBLE_TARGETS][2];
        struct dog_calib calib[DOG_ENSEMBLE_TARGETS];
        struct dog_brier record[DOG_EXPERT_MODELS];
        struct dog_ensemble_pending pending[DOG_ENSEMBLE_PENDING];
};

/** One outcome that has just become known. */
struct dog_ensemble_outcome {
        int64_t t_ns;          /**< when it was predicted */
        float p;               /**< what was said */
        float p_persistence;   /**< 1 if it was bad then, else 0 */
        float of[DOG_EXPERTS]; /**< what each had said; NaN: was silent */
        bool is_bad;           /**< what happened */
        uint8_t target;        /**< a horizon, or DOG_ENSEMBLE_NEXT */
};

/** What a step brought besides outcomes. */
struct dog_ensemble_news {
        int outcomes;
        struct dog_ensemble_outcome outcome[DOG_ENSEMBLE_PENDING];
        uint8_t disarmed, rearmed; /**< bit per model */
};

struct dog_ensemble_belief {
        float p[DOG_ENSEMBLE_TARGETS];                   /**< calibrated */
        float of[DOG_ENSEMBLE_TARGETS][DOG_EXPERTS];     /**< what each says; NaN: nothing */
        float weight[DOG_ENSEMBLE_TARGETS][DOG_EXPERTS]; /**< what counts now: 0 when silent or disarmed */
        float mixed[DOG_ENSEMBLE_TARGETS];               /**< before calibration */
};

struct dog_ensemble_config dog_ensemble_config_default(void);
void dog_ensemble_init(struct dog_ensemble *e);

/**
 * Take one sample: grade what was said about this time, move the weights, learn.
 * A sample whose time does not advance is dropped.
 * @param news  filled
 */
void dog_ensemble_observe(struct dog_ensemble *e, const struct dog_ensemble_config *c, int64_t t_ns,
                          bool is_bad, struct dog_ensemble_news *news);

/**
 * Believe. Pure.
 * @param said  what the models say for each horizon and the next sample, chances in 0..1; NaN: nothing
 */
void dog_ensemble_predict(const struct dog_ensemble *e, const struct dog_ensemble_config *c,
                          const float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS],
                          struct dog_ensemble_belief *out);

/** dog_ensemble_predict, and keep what was said until its outcome is known. Once after each observe. */
void dog_ensemble_step(struct dog_ensemble *e, const struct dog_ensemble_config *c,
                       const float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS], int64_t now_ns,
                       struct dog_ensemble_belief *out);

/** The model that counts most for a target, for explanations; -1: none is heard. */
int dog_ensemble_speaker(const struct dog_ensemble_belief *b, int target);

/**
 * How the models' part of the weight begins, and where it returns to: `share` of it is the trees', the rest
 * the logistic's. Takes effect with the next dog_ensemble_renew().
 * @param share  0..1; kept within .05 .. .95, so that neither is ever beyond being heard
 */
void dog_ensemble_trust(struct dog_ensemble *e, int target, float share);
/** A model was exchanged for another: it begins with the starting weight and a clean record. */
void dog_ensemble_renew(struct dog_ensemble *e, enum dog_expert model);
