#pragma once
/**
 * Outlook: what one member's past says about its future. Samples go in, a belief comes out.
 * Holds the models' state as plain values: no pointers, no allocation; a copy thinks the same.
 */
#include "core/belief.h"
#include "core/policy.h"
#include "core/promise.h"

#include "models/brier.h"
#include "models/ensemble.h"
#include "models/quantile.h"
#include "models/risk.h"
#include "models/series.h"

#define DOG_RATE_RING 16

/** One member's. */
struct dog_outlook {
        struct dog_sample newest;
        struct dog_verdict verdict; /**< of the newest sample */
        bool has_sample;
        bool is_fresh;   /**< a sample came since the last belief */
        bool is_judged;  /**< a near forecast has come true, or not, since the last step */
        bool was_bad;    /**< which of the two */
        float said_near; /**< the chance it had given */
        uint8_t rates;   /**< filled entries of the ring of rates */
        uint8_t rate_at;
        float jitter_ms; /**< RFC 3550 6.4.1, kept when nobody measures jitter; NaN: none yet */
        float rtt_before_ms;
        float rate_kbps[DOG_RATE_RING]; /**< of the last second, for its mean */
        int64_t rate_ns[DOG_RATE_RING];
        struct dog_window median; /**< of the round-trip times of the last minute */
        struct dog_series rtt, jitter, loss, rate;
        struct dog_risk risk;
        struct dog_ensemble mix; /**< logistic, trees, persistence, base rate: each by its record */
        struct dog_brier brier;  /**< the near risk, as it was said, against persistence */
        uint8_t disarmed, rearmed; /**< bit per model: news that nobody has taken yet */
};

/** What members of one group learn together: the risk model's weights, and how failures go together. */
struct dog_insight {
        struct dog_risk_config config;
        struct dog_ensemble_config mix;
        struct dog_risk_model model;
        struct dog_risk_pair pair;
        struct dog_reliability reliability[DOG_HORIZONS]; /**< of what was said: says 70 %, happens ... */
};

void dog_insight_init(struct dog_insight *shared, const struct dog_policy *policy);
void dog_outlook_init(struct dog_outlook *o, const struct dog_policy *policy);

enum dog_outlook_news {
        DOG_OUTLOOK_LATE, /**< not newer than the last sample: dropped, nothing changed */
        DOG_OUTLOOK_TAKEN,
        DOG_OUTLOOK_DISARMED, /**< taken; the model has just lost against persistence */
        DOG_OUTLOOK_REARMED   /**< taken; the model is used again */
};

/** Take in one sample: judge it, grade what was said about this moment, learn. */
enum dog_outlook_news dog_outlook_observe(struct dog_outlook *o, struct dog_insight *shared,
                                          const struct dog_promise *promise, const struct dog_policy *policy,
                                          const struct dog_sample *s);

/**
 * What is expected now. Uses nothing later than the newest sample.
 * @param peers  sums over all members of the group, this one included
 */
struct dog_belief dog_outlook_believe(struct dog_outlook *o, const struct dog_insight *shared,
                                      const struct dog_promise *promise, const struct dog_policy *policy,
                                      const struct dog_risk_peers *peers, int64_t now_ns);
