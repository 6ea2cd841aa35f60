#pragma once
/**
 * The chance that a path breaks its promise: trees that were trained on recorded paths, beside the logistic
 * of models/risk.h, which learns online. One code for the daemon, replay and backtest.
 *
 * A trained model holds, per regime (what is measured: rates, or round trips and losses), trees for the
 * targets of risk.h (1, 5, 30 s and the next sample) and one for pairs: "bad here and good there", which is
 * what a copy is worth. What trees say is corrected by the model's isotonic table; then they, the logistic,
 * persistence and the base rate are mixed by their record on this very member (models/ensemble.h), beginning
 * with the share that was chosen when the model was trained. Without a model, or in a regime it does not
 * know, the others speak.
 *
 * One step of a group:
 *
 *     for each member:  dog_path_risk_observe(&m->risk, &shared, &sample, &news);
 *     struct dog_path_group group = {0};
 *     for each member:  dog_path_group_add(&group, &m->risk);
 *     for each member:  dog_path_risk_step(&m->risk, &shared, &group, now_ns, &belief);
 *     for pairs:        dog_path_risk_joint(&shared, &belief_a, &belief_b);
 *
 * Pure; no allocation; the state is a value, except that its track lies beside. A prediction at t uses
 * nothing later than t.
 */
#include "models/ensemble.h"
#include "models/gbt.h"
#include "models/path_features.h"
#include "models/risk.h"

/** Which trees are asked: by what a path measures, never by its name. */
enum dog_path_regime {
        DOG_PATH_PING, /**< round trips and losses */
        DOG_PATH_RATE, /**< rates */
        DOG_PATH_REGIMES
};
const char *dog_path_regime_name(int regime); /**< "ping", "rate" */
enum dog_path_regime dog_path_regime_of(const struct dog_path_track *t);

/** "1s", "5s", "30s", "next" for enum dog_risk_target: names of a table's labels and of a model's targets. */
const char *dog_path_target_name(int target);

enum { DOG_PATH_ISO_POINTS = 32 };
/** What a stated log-odds has meant: a rising polygon. No points: as it is. */
struct dog_path_iso {
        uint32_t points;
        float at[DOG_PATH_ISO_POINTS], to[DOG_PATH_ISO_POINTS]; /**< log-odds */
};

/** A trained model, ready to be asked. A value; the trees are borrowed and outlive its use. */
struct dog_path_model {
        struct dog_path_expert {
                const struct dog_gbt *trees;     /**< of DOG_PATH_FEATURES; NULL: left to the logistic */
                int8_t target[DOG_RISK_TARGETS]; /**< which of their targets; -1: left to the logistic */
                float share[DOG_RISK_TARGETS]; /**< of the trees, against the logistic, at the start: 0..1 */
                struct dog_path_iso iso[DOG_RISK_TARGETS];
                const struct dog_gbt *pairs; /**< of DOG_PATH_JOINT_FEATURES, one target; NULL: the product */
                struct dog_path_iso pairs_iso;
        } expert[DOG_PATH_REGIMES];
};
/** No trees at all. */
void dog_path_model_init(struct dog_path_model *m);
float dog_path_iso_apply(const struct dog_path_iso *iso, float log_odds);

/** Shared by the members that learn together; the model is borrowed. */
struct dog_path_shared {
        const struct dog_path_model *model; /**< NULL: no trees */
        struct dog_risk_config config;
        struct dog_ensemble_config mix;
        struct dog_risk_model logistic;
};
/** @param c  its horizons are the mixture's, too; what calibrates is the mixture, not the logistic */
void dog_path_shared_init(struct dog_path_shared *s, const struct dog_risk_config *c,
                          const struct dog_path_model *model);

/** One member's state. */
struct dog_path_risk {
        struct dog_risk risk;
        struct dog_ensemble mix;       /**< of enum dog_risk_target */
        struct dog_path_track *track;  /**< what trees look at, 9 KB; NULL: they are not asked; borrowed */
        float trees[DOG_RISK_TARGETS]; /**< what they said at the newest sample; NaN: nothing */
        int8_t regime;                 /**< whose trees the mixture began with; -1: none yet */
};
void dog_path_risk_init(struct dog_path_risk *r, struct dog_path_track *track);
/**
 * The shared model is another one now, or none, or the first. What the trees before it said is not its to
 * answer for: it begins with the starting weight and a clean record.
 */
void dog_path_risk_renew(struct dog_path_risk *r, struct dog_path_track *track);

/**
 * Take one sample, first grading what was said about this moment. One whose time does not advance is
 * dropped, and counted in track->dropped.
 * @param news  filled with the outcomes of what was said
 */
void dog_path_risk_observe(struct dog_path_risk *r, struct dog_path_shared *s,
                           const struct dog_path_sample *sample, struct dog_ensemble_news *news);

/** What the members of a group show each other. Start from {0}; members add themselves too. */
struct dog_path_group {
        struct dog_risk_peers peers;
        struct dog_path_peers faces;
};
void dog_path_group_add(struct dog_path_group *g, const struct dog_path_risk *r);

/** What is believed at one time; holds what is needed to explain it. A value. */
struct dog_path_belief {
        struct dog_ensemble_belief mix;   /**< mix.p[enum dog_risk_target] is the result */
        struct dog_risk_belief risk;      /**< what the logistic says */
        int regime;                       /**< enum dog_path_regime; only when has_trees */
        bool has_trees;                   /**< a trained model spoke */
        float feature[DOG_PATH_FEATURES]; /**< only when has_trees, and only after dog_path_risk_step */
};

/** Believe, with what trees said at the newest sample. Pure. @param g  NULL: alone */
void dog_path_risk_predict(const struct dog_path_risk *r, const struct dog_path_shared *s,
                           const struct dog_path_group *g, int64_t now_ns, struct dog_path_belief *out);
/** Ask the trees, believe, and keep what was said until its outcome is known. Once after each observe. */
void dog_path_risk_step(struct dog_path_risk *r, const struct dog_path_shared *s,
                        const struct dog_path_group *g, int64_t now_ns, struct dog_path_belief *out);

/**
 * P(the next sample breaks a's promise and not b's): what a copy on b is worth to a. Half (in log-odds) by
 * the trees that learned it, half by p_a (1 - p_b); that alone where there are no trees. Never above p_a nor
 * above 1 - p_b.
 */
double dog_path_risk_joint(const struct dog_path_shared *s, const struct dog_path_belief *a,
                           const struct dog_path_belief *b);

/**
 * Why: groups of features (enum dog_risk_group) of the model that counts most, and what they add to its
 * log-odds, against an ordinary moment, largest first. Takes about as long as ten steps.
 * @param b  of the same moment, from dog_path_risk_predict or _step
 * @return how many were written, at most `most` and at most DOG_RISK_GROUPS; 0 when no model is heard
 */
int dog_path_drivers(const struct dog_path_risk *r, const struct dog_path_shared *s,
                     const struct dog_path_group *g, const struct dog_path_belief *b,
                     enum dog_risk_target target, struct dog_driver *out, int most);

/** What the trees of pairs look at: these features of the one path, then of the other. */
#define DOG_PATH_PAIR_LIST(X)                                                                                \
        X(BAD_NOW)                                                                                           \
        X(BAD_1S)                                                                                            \
        X(BAD_8S)                                                                                            \
        X(BAD_64S)                                                                                           \
        X(BAD_EVER) X(SINCE) X(RUN) X(RUNS) X(MARGIN) X(LAG_1) X(LEAST_5) X(LEAST_30) X(MEAN_5) X(MEAN_30)   \
                X(SPREAD_10) X(SPREAD_60) X(NEXT_Z) X(CHANGE) X(SLOPE_5) X(FALL_NEXT) X(FALL_1S) X(FALL_5S)  \
                        X(BEAT_1) X(BEAT_MOST) X(AGE)
enum dog_path_pair_feature {
#define X(id) DOG_PATH_P_##id,
        DOG_PATH_PAIR_LIST(X)
#undef X
                DOG_PATH_PAIRS
};
enum { DOG_PATH_JOINT_FEATURES = 2 * DOG_PATH_PAIRS };
void dog_path_joint_features(const float a[DOG_PATH_FEATURES], const float b[DOG_PATH_FEATURES],
                             float out[DOG_PATH_JOINT_FEATURES]);
/** "A_MARGIN", "B_MARGIN" ...: DOG_PATH_JOINT_FEATURES of them. */
const char *const *dog_path_joint_ids(void);
