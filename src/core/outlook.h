#pragma once
/**
 * Outlook: what one member's past says about its future. Samples go in, a belief comes out.
 * Holds the models' state as plain values: no allocation; a copy thinks the same. What trees need to know of
 * a member's past is ten times the rest, so it lies beside, and only where there are trees.
 */
#include "core/belief.h"
#include "core/level.h"
#include "core/policy.h"
#include "core/promise.h"

#include "models/brier.h"
#include "models/path_risk.h"
#include "models/quantile.h"
#include "models/series.h"

#define DOG_RATE_RING 16

/** One member's. */
struct dog_outlook {
        struct dog_sample newest;
        struct dog_verdict verdict; /**< of the newest sample */
        bool has_sample;
        bool is_fresh;   /**< a sample came since the last belief */
        bool has_news;   /**< the whole was disarmed or re-armed, and nobody has been told */
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
        struct dog_path_risk risk;     /**< all models' chances; its track is the group's */
        struct dog_modes modes;        /**< how it fails */
        struct dog_brier brier;        /**< the near risk, as it was said, against persistence */
        uint8_t disarmed, rearmed;     /**< bit per model: news that nobody has taken yet */
        int64_t radio_ns;              /**< time of `radio`; 0: the member's radio told nothing */
        float radio[DOG_RADIO_INPUTS]; /**< what its modem or dish tells; see models/radio_features.h */
        struct dog_levels levels;      /**< which changes people hear of */
};

/** What members of one group learn together: the risk model's weights, and how failures go together. */
struct dog_insight {
        struct dog_path_shared risk; /**< its trees are borrowed of the group's owner */
        struct dog_risk_pair pair;
        struct dog_mode_records modes;
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
 * What the member's modem or dish tells at the time of the sample that comes next: DOG_RADIO_INPUTS inputs,
 * which are copied; NULL: nothing. They belong to the sample of exactly that time, so each sample needs its
 * own.
 */
void dog_outlook_radio(struct dog_outlook *o, const float *in, int64_t at_ns);

/**
 * What is expected now. Uses nothing later than the newest sample. The drivers are left empty.
 * @param peers  all members of the group, this one included: dog_path_group_add()
 */
struct dog_belief dog_outlook_believe(struct dog_outlook *o, const struct dog_insight *shared,
                                      const struct dog_promise *promise, const struct dog_policy *policy,
                                      const struct dog_path_group *peers, int64_t now_ns);

/** Behind what is believed of one horizon: everybody's voice, and the reasons of the model that counts most.
 */
struct dog_outlook_reasons {
        int speaker; /**< enum dog_expert; -1: no model is heard */
        struct dog_voice voice[DOG_EXPERTS];
        struct dog_reason_share driver[DOG_DRIVERS]; /**< the largest first; 0 log-odds fill up */
};
/** Pure; takes about as long as ten steps, so it is asked for decisions and by people. */
void dog_outlook_explain(const struct dog_outlook *o, const struct dog_insight *shared,
                         const struct dog_path_group *peers, int horizon, int64_t now_ns,
                         struct dog_outlook_reasons *out);
