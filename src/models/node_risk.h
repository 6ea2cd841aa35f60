#pragma once
/**
 * What may become of one node in the next 5, 15 and 60 minutes, from whatever it reports, live: the chance of
 * an overload, the chance of a failure, a health from 0 to 1, a chance per failure mode, and the reason in
 * words.
 *
 * Values come at any rate; they are averaged over a period (a minute) and judged once a period, so that what
 * was learned on recordings of servers at that pace can be asked. Overload means that a metric crosses its
 * limit: the one that is given, or the 99th percentile of its own past. Every period's word is kept for an
 * hour and held against what came; a metric's crossings are seen here, failures must be told
 * (dog_node_risk_failed). Where trees are missing, or their record on this node is worse than the base
 * rate's, the base rate is said, and has_..._skill says so.
 *
 * State: dog_node_risk_size(metrics) octets that the caller allocates once and owns, with no pointer in it:
 * about 40 KB and 9 KB a metric. Configuration, names and trees are borrowed at each call. Same calls, same
 * bits.
 */
#include "models/gbt.h"
#include "models/node.h"
#include "models/node_grade.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DOG_NODE_ABOVE_S = 10 };

/** What a metric is about; decides which failure mode it counts for. */
enum dog_node_role {
        DOG_NODE_DEVICE,  /**< processor, memory, disk, files: the device is overloaded */
        DOG_NODE_TRAFFIC, /**< rates, queues, retransmissions: congestion */
        DOG_NODE_LINK,    /**< errors and drops of the interface: the link fails */
};

/** F5. X(NAME, "word") */
#define DOG_NODE_MODES(X)                                                                                    \
        X(DEVICE_OVERLOAD, "device overload")                                                                \
        X(CONGESTION, "congestion")                                                                          \
        X(LINK_FAILURE, "link failure")
enum dog_node_mode {
#define X(name, word) DOG_NODE_MODE_##name,
        DOG_NODE_MODES(X)
#undef X
                DOG_NODE_MODE_COUNT
};
const char *dog_node_mode_word(enum dog_node_mode m);

struct dog_node_risk_metric {
        const char *name; /**< for people: "memory" */
        enum dog_node_role role;
        float limit; /**< NaN: by its own past */
};

struct dog_node_risk_config {
        unsigned metrics;
        const struct dog_node_risk_metric *metric;
        int64_t period_s;               /**< 60 is what the trees know; 10..300 */
        const struct dog_gbt *failure;  /**< features DOG_NODE_FEATURES, targets p5 p15 p60; NULL: none */
        const struct dog_gbt *overload; /**< features DOG_NODE_OVERLOAD_FEATURES, the same; NULL: none */
        struct dog_node_shape failure_shape[DOG_NODE_HORIZONS];
        struct dog_node_shape overload_shape[DOG_NODE_HORIZONS];
};

/** What is believed. The pointers are into the config and into static text. */
struct dog_node_word {
        int64_t t_s;                       /**< of the period it was said for; INT64_MIN: nothing yet */
        float overload[DOG_NODE_HORIZONS]; /**< some metric crosses its limit; NaN: none has a limit yet */
        float failure[DOG_NODE_HORIZONS];
        bool has_overload_skill[DOG_NODE_HORIZONS], has_failure_skill[DOG_NODE_HORIZONS];
        float health;                    /**< 0..1; 1 while there is no history */
        float unusual;                   /**< 0..1: dog_node_unusual() of the newest period */
        float mode[DOG_NODE_MODE_COUNT]; /**< chance within 15 min; NaN: nothing of the kind is measured */
        bool has_mode_skill[DOG_NODE_MODE_COUNT]; /**< link failure never has any: there is nothing to learn
                                                     it from */
        int nearest;        /**< the metric most likely to cross within 15 min; -1: none */
        const char *driver; /**< what is most unusual: "drifting away"; NULL: nothing is */
        int driver_metric;  /**< in which metric; -1: in all of them together */
};

struct dog_node_risk;

size_t dog_node_risk_size(unsigned metrics); /**< 0: too many or none */
/** `r` holds dog_node_risk_size(config->metrics) octets, aligned as malloc does. */
void dog_node_risk_init(struct dog_node_risk *r, const struct dog_node_risk_config *config);
/**
 * Values as they were measured, NaN where not. When a period is full it is judged.
 * @param value  config->metrics numbers
 * @return true: dog_node_risk_word has something new. A time that does not advance is dropped and counted.
 */
bool dog_node_risk_observe(struct dog_node_risk *r, const struct dog_node_risk_config *config, int64_t t_s,
                           const float *value);
/** The node has failed now, or a promise was broken by it: what its calibration learns from. */
void dog_node_risk_failed(struct dog_node_risk *r, int64_t t_s);
/**
 * The newest word. What has been above the limit that was given for it for DOG_NODE_ABOVE_S without a break
 * is said at once, and does not wait for the period to end.
 */
void dog_node_risk_word(const struct dog_node_risk *r, const struct dog_node_risk_config *config,
                        struct dog_node_word *to);
/** Observations whose time did not advance. */
uint64_t dog_node_risk_dropped(const struct dog_node_risk *r);
/**
 * What speaks against the node, in a few words: "cpu is above its limit", "unusual: memory: drifting away";
 * "" when nothing does. @return as snprintf
 */
int dog_node_word_trouble(const struct dog_node_word *w, const struct dog_node_risk_config *config, char *to,
                          size_t size);
/** One sentence for people about a word: "memory may cross its limit within 15 min (34 %); ...". */
int dog_node_word_text(const struct dog_node_word *w, const struct dog_node_risk_config *config, char *to,
                       size_t size);
