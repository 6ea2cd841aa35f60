#pragma once
/**
 * The chance that a member breaks the promise within the next seconds.
 *
 * Three horizons (1, 5, 30 s by default) and the next sample: P(at least one bad sample in (t, t+H]).
 * A logistic regression on cheap features of the member's own past and of its peers, started from a
 * prior (risk_prior.inc, fitted by tools/fit_risk_prior), updated online when a horizon has passed,
 * then calibrated per member. Constant time and memory per step; no pointers in any state.
 *
 * Who owns what: the weights (struct dog_risk_model) are shared by the members that should learn
 * from each other, a group or a kind; each member has its own struct dog_risk. One step of a group:
 *
 *     for each member:  dog_risk_observe(&m->risk, &model, &config, &sample);
 *     struct dog_risk_peers peers = {0};
 *     for each member:  dog_risk_peers_add(&peers, &m->risk);
 *     for each member:  dog_risk_step(&m->risk, &model, &config, &peers, now_ns, &belief);
 *
 * A sample may carry the member's own load (CPU, memory ...): ten more features in the same regression,
 * that join it when load is first measured. A member without load is computed as if there were none. In the
 * same way it may carry what a modem or a dish hints at (models/radio_features.h). Those weights begin at 0:
 * a radio says nothing until this group's own outcomes have taught what it means here.
 *
 * Same calls in the same order, same bits. A prediction at t uses nothing later than t.
 * Method: path-degradation features by margin and history; online logistic regression with
 * per-weight step sizes (Duchi, Hazan, Singer, JMLR 12, 2011) pulled towards the prior.
 */
#include "models/calib.h"
#include "models/radio_features.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum { DOG_RISK_HORIZONS = 3 };

/** What is predicted: the three horizons of the config, and the very next sample. */
enum dog_risk_target { DOG_RISK_H0, DOG_RISK_H1, DOG_RISK_H2, DOG_RISK_NEXT, DOG_RISK_TARGETS };

/** The margin of a lost probe. */
#define DOG_MARGIN_LOST (-2.5F)
/**
 * How far a sample is inside its promise: > 0 inside, 0 at the limit, < 0 broken, within [-2.5, 2.5].
 * A member with several promises has the smallest of its margins (dog_margin_least; NaN is skipped).
 */
float dog_margin_rtt(double rtt_ms, double limit_ms);      /**< -ln(rtt / limit); also for jitter */
float dog_margin_rate(double rate_kbps, double need_kbps); /**< log10((rate + 50) / need) */
/** Nothing lost: 1, falling to 0 below the limit; from the limit on broken: -2.5 times what is lost. Beside
 * other promises no loss says nothing about how near the limit is, so ask only when something was lost. */
float dog_margin_loss(double loss, double limit);
float dog_margin_least(const float *margin, int count);

#define DOG_RISK_LAGS    16
#define DOG_RISK_JUMPS   12
#define DOG_RISK_PENDING 7 /**< vectors waiting for their outcome: 1 + 2 + 4 for the horizons */

#include "models/risk_features.h"

struct dog_risk_sample {
        int64_t t_ns;
        float margin; /**< NaN: not measured this time */
        bool is_bad;  /**< the promise is broken at this sample */
        const float
                *load; /**< DOG_RISK_LOAD_SIGNALS shares, NaN where not measured; or NULL: none; borrowed */
        const float *radio; /**< DOG_RADIO_HINTS hints; NULL: none; borrowed */
};

struct dog_risk_config {
        int64_t horizon_ns[DOG_RISK_HORIZONS]; /**< rising */
        float learn_rate;                      /**< 0: the weights never change */
        float load_rate;     /**< learn_rate of the weights of load and radio: there are few of them */
        float prior_pull;    /**< share of the way back to the prior per outcome */
        float gap_s;         /**< silence after which outcomes are not graded */
        bool is_calibrating; /**< per-member calibration on */
};

/** Shared weights. About 3.3 KB; a value. */
struct dog_risk_model {
        float weight[DOG_RISK_TARGETS][DOG_RISK_FEATURES];
        float prior[DOG_RISK_TARGETS][DOG_RISK_FEATURES];
        float slope2[DOG_RISK_TARGETS][DOG_RISK_FEATURES]; /**< sums of squared gradients */
        uint32_t outcomes[DOG_RISK_TARGETS];               /**< graded so far */
        float loaded[DOG_RISK_TARGETS][DOG_RISK_LOADED];   /**< weights of load */
        float loaded_slope2[DOG_RISK_TARGETS][DOG_RISK_LOADED];
        float radio[DOG_RISK_TARGETS][DOG_RADIO_HINTS]; /**< weights of a radio's hints */
        float radio_slope2[DOG_RISK_TARGETS][DOG_RADIO_HINTS];
};

/** One outcome that has just become known, for the ledger, for Brier scores and for pairs. */
struct dog_risk_outcome {
        int64_t t_ns;        /**< when it was predicted */
        float p;             /**< what was said */
        float p_persistence; /**< what "as it was" would have said: 1 if that sample was bad, else 0 */
        bool is_bad;         /**< what happened */
        uint8_t target;      /**< enum dog_risk_target */
};

/** One member's state; a value. Read it through the functions. */
struct dog_risk;

struct dog_risk_peers {
        float bad_1s, bad_16s, margin, best, second;
        uint32_t count;
};

/** What is believed at one time. Holds its features, so that it can be explained later. */
struct dog_risk_belief {
        int64_t t_ns;
        float p[DOG_RISK_TARGETS];   /**< 0..1, calibrated */
        float raw[DOG_RISK_TARGETS]; /**< log-odds before calibration */
        float feature[DOG_RISK_FEATURES];
        float loaded[DOG_RISK_LOADED]; /**< only when has_load */
        float hint[DOG_RADIO_HINTS];   /**< only when has_radio */
        bool has_load;                 /**< load was measured lately */
        bool has_radio;                /**< a radio has told something lately */
};

/** One reason behind a prediction. */
struct dog_driver {
        const char *name; /**< static text, words for people */
        uint8_t group;    /**< its number, for records: dog_risk_group_name() */
        float log_odds;   /**< what it adds to (or takes from) the log-odds, against an ordinary moment */
};

struct dog_risk_config dog_risk_config_default(void);
/** Weights from the prior, interpolated in log time to the config's horizons. */
void dog_risk_model_init(struct dog_risk_model *m, const struct dog_risk_config *c);
void dog_risk_init(struct dog_risk *r);

/**
 * Take one sample. First grades predictions whose horizon has passed, teaching the model and the
 * member's calibration; `out`, if not NULL, receives up to DOG_RISK_PENDING + 1 outcomes.
 * A sample whose time does not advance is dropped.
 * @return the number of outcomes
 */
int dog_risk_observe(struct dog_risk *r, struct dog_risk_model *m, const struct dog_risk_config *c,
                     const struct dog_risk_sample *sample, struct dog_risk_outcome *out);

/** Add one member of the group to the sums that dog_risk_step reads. Members add themselves too. */
void dog_risk_peers_add(struct dog_risk_peers *peers, const struct dog_risk *r);

/** Believe. Pure. `peers` may be NULL: alone. Before the first sample all p are the prior's base rate. */
void dog_risk_predict(const struct dog_risk *r, const struct dog_risk_model *m,
                      const struct dog_risk_config *c, const struct dog_risk_peers *peers, int64_t now_ns,
                      struct dog_risk_belief *out);

/** dog_risk_predict, and keep what was said until its outcome is known. Once after each observe. */
void dog_risk_step(struct dog_risk *r, const struct dog_risk_model *m, const struct dog_risk_config *c,
                   const struct dog_risk_peers *peers, int64_t now_ns, struct dog_risk_belief *out);

/**
 * Why: the contributions of the groups of features to one prediction, largest magnitude first.
 * Together they are its log-odds (before calibration) minus those of an ordinary moment.
 * @return how many were written, at most `most` and at most DOG_RISK_GROUPS
 */
int dog_risk_drivers(const struct dog_risk_model *m, const struct dog_risk_belief *belief,
                     enum dog_risk_target target, struct dog_driver *out, int most);

/** Names of the groups that drivers speak of: 0 <= g < DOG_RISK_GROUPS. */
const char *dog_risk_group_name(int g);
/** Names of features, for tables: 0 <= i < DOG_RISK_FEATURES. */
const char *dog_risk_feature_name(int i);

/**
 * P(bad here and bad there) for two chances whose outcomes correlate by rho (-1..1), within the
 * Frechet bounds max(0, a+b-1) <= joint <= min(a, b).
 */
double dog_risk_joint(double p_a, double p_b, double rho);

/**
 * How two members' surprises go together: the correlation of what happened beyond what was forecast.
 * Shrunk towards a small positive value (things share fates that nobody wrote down) while thin.
 */
struct dog_risk_pair {
        float product, square_a, square_b, weight;
};
void dog_risk_pair_init(struct dog_risk_pair *pair);
/** Both predictions were made for the same time and have come true. */
void dog_risk_pair_learn(struct dog_risk_pair *pair, double p_a, bool was_a_bad, double p_b, bool was_b_bad);
double dog_risk_pair_rho(const struct dog_risk_pair *pair);
