#pragma once
/**
 * A node (a server, a router, an instance) seen through whatever numbers it reports: one to some dozens of
 * metrics, their names and units unknown. Turns each observation into two vectors of features, one for the
 * node (is it failing, will it) and one for each metric (will it cross its limit), which learn/ trains on and
 * models/node_risk.h judges by.
 *
 * All features are in each metric's own spread, or are ranks within the node's own past, so that a model
 * learned on some machines can be asked about another. Constant time an observation: about 0.3 us a metric.
 *
 * State: dog_node_size(metrics) octets that the caller allocates once and owns; nothing is allocated here,
 * and there is no pointer in it: it may be copied. Same observations in the same order, same bits. A feature
 * at t depends on nothing later than t.
 *
 * Sources: components: Weng, Zhang, Hwang, "Candid covariance-free incremental principal component analysis",
 * IEEE PAMI 25:8, 2003; the distance from the subspace as the sign of an anomaly: Jackson and Mudholkar,
 * Technometrics 21:3, 1979; what single metrics contribute: models/node_metric.h.
 */
#include "models/node_metric.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        DOG_NODE_METRICS_MAX = 256,
        DOG_NODE_COMPONENTS = 4,
        DOG_NODE_RANK_BINS = 64,
};

/** The ways to be unusual: those of a metric (struct dog_node_surprise), and the distance from what metrics
 * do together. X(NAME, words) */
#define DOG_NODE_WAYS(X)                                                                                     \
        X(LEVEL, "far from its history")                                                                     \
        X(ADAPTIVE, "far from the last hours")                                                               \
        X(RESIDUAL, "far from the last hour")                                                                \
        X(ORDER, "a step that its past does not explain")                                                    \
        X(DRIFT, "drifting away")                                                                            \
        X(YESTERDAY, "unlike this time yesterday")                                                           \
        X(DAILY, "unlike this time of other days")                                                           \
        X(TOGETHER, "metrics that no longer go together")

enum dog_node_way {
#define X(name, words) DOG_NODE_WAY_##name,
        DOG_NODE_WAYS(X)
#undef X
                DOG_NODE_WAY_COUNT
};

/** Features of a node. X(NAME, "words for people") */
#define DOG_NODE_FEATURES(X)                                                                                 \
        X(LEVEL_MAX, "one metric far from its history")                                                      \
        X(LEVEL_TOP, "some metrics far from their history")                                                  \
        X(LEVEL_MEAN, "most metrics far from their history")                                                 \
        X(LEVEL_RANK, "rarely so far from its history")                                                      \
        X(ADAPTIVE_MAX, "one metric far from the last hours")                                                \
        X(ADAPTIVE_TOP, "some metrics far from the last hours")                                              \
        X(ADAPTIVE_MEAN, "most metrics far from the last hours")                                             \
        X(ADAPTIVE_RANK, "rarely so far from the last hours")                                                \
        X(RESIDUAL_MAX, "one metric far from the last hour")                                                 \
        X(RESIDUAL_TOP, "some metrics far from the last hour")                                               \
        X(RESIDUAL_MEAN, "most metrics far from the last hour")                                              \
        X(RESIDUAL_RANK, "rarely so far from the last hour")                                                 \
        X(ORDER_MAX, "one metric made an unexplained step")                                                  \
        X(ORDER_TOP, "some metrics made an unexplained step")                                                \
        X(ORDER_MEAN, "most metrics made an unexplained step")                                               \
        X(ORDER_RANK, "rarely such an unexplained step")                                                     \
        X(DRIFT_MAX, "one metric drifts")                                                                    \
        X(DRIFT_TOP, "some metrics drift")                                                                   \
        X(DRIFT_MEAN, "most metrics drift")                                                                  \
        X(DRIFT_RANK, "rarely such a drift")                                                                 \
        X(YESTERDAY_MAX, "one metric unlike yesterday")                                                      \
        X(YESTERDAY_TOP, "some metrics unlike yesterday")                                                    \
        X(YESTERDAY_MEAN, "most metrics unlike yesterday")                                                   \
        X(YESTERDAY_RANK, "rarely so unlike yesterday")                                                      \
        X(DAILY_MAX, "one metric unlike this time of other days")                                            \
        X(DAILY_TOP, "some metrics unlike this time of other days")                                          \
        X(DAILY_MEAN, "most metrics unlike this time of other days")                                         \
        X(DAILY_RANK, "rarely so unlike this time of other days")                                            \
        X(TOGETHER, "metrics no longer go together")                                                         \
        X(TOGETHER_RANK, "rarely so little together")                                                        \
        X(ABOVE, "metrics above their limits")                                                               \
        X(ABOVE_NEW, "metrics above their limits since minutes")                                             \
        X(ABOVE_24H, "metrics often above their limits today")                                               \
        X(SLOPE_SHORT, "moving within the hour")                                                             \
        X(SLOPE_LONG, "moving over hours")                                                                   \
        X(ODD, "unusual in all ways")                                                                        \
        X(ODD_10MIN, "unusual for minutes")                                                                  \
        X(ODD_1H, "unusual for an hour")                                                                     \
        X(ODD_6H, "unusual for hours")                                                                       \
        X(ODD_24H, "unusual all day")                                                                        \
        X(ODD_BEFORE, "more unusual than just before")                                                       \
        X(ODD_FOR_TIME, "unusual for this time of day")                                                      \
        X(ODD_SINCE, "time since it was last unusual")                                                       \
        X(ODD_AHEAD_5, "unusual yesterday at the time of the next 5 min")                                    \
        X(ODD_AHEAD_15, "unusual yesterday at the time of the next 15 min")                                  \
        X(ODD_AHEAD_60, "unusual yesterday at the time of the next hour")                                    \
        X(USUAL_AHEAD_5, "often unusual at the time of the next 5 min")                                      \
        X(USUAL_AHEAD_15, "often unusual at the time of the next 15 min")                                    \
        X(USUAL_AHEAD_60, "often unusual at the time of the next hour")                                      \
        X(RARE_AHEAD_5, "days with something rare in the next 5 min")                                        \
        X(RARE_AHEAD_15, "days with something rare in the next 15 min")                                      \
        X(RARE_AHEAD_60, "days with something rare in the next hour")                                        \
        X(METRICS, "how many metrics it reports")

enum dog_node_feature {
#define X(name, words) DOG_NODE_##name,
        DOG_NODE_FEATURES(X)
#undef X
                DOG_NODE_FEATURE_COUNT
};

/** Features of one metric of a node, for its limit. */
#define DOG_NODE_OVERLOAD_FEATURES(X)                                                                        \
        X(NEAR, "level against the limit")                                                                   \
        X(NEAR_BEFORE, "level a step ago against the limit")                                                 \
        X(NEAR_10MIN, "mean of 10 min against the limit")                                                    \
        X(NEAR_1H, "mean of an hour against the limit")                                                      \
        X(NEAR_6H, "mean of 6 h against the limit")                                                          \
        X(NEAR_24H, "mean of a day against the limit")                                                       \
        X(RISE_STEP, "the last step")                                                                        \
        X(RISE_10MIN, "rise within the hour")                                                                \
        X(RISE_1H, "rise over hours")                                                                        \
        X(RISE_6H, "rise over the day")                                                                      \
        X(NOISE_1H, "unrest of the last hour")                                                               \
        X(NOISE_6H, "unrest of the last hours")                                                              \
        X(ROOM, "how far the limit is from the median")                                                      \
        X(WIDTH, "width of its history")                                                                     \
        X(PEAK_15MIN, "highest of a quarter of an hour")                                                     \
        X(PEAK_1H, "highest of an hour")                                                                     \
        X(PEAK_6H, "highest of 6 hours")                                                                     \
        X(YESTERDAY_NOW, "yesterday at this time")                                                           \
        X(YESTERDAY_5, "yesterday's highest in the next 5 min")                                              \
        X(YESTERDAY_15, "yesterday's highest in the next 15 min")                                            \
        X(YESTERDAY_60, "yesterday's highest in the next hour")                                              \
        X(YESTERDAY_AROUND, "yesterday's highest from half an hour ago to 90 min ahead")                     \
        X(USUAL_5, "usual highest of the next 5 min")                                                        \
        X(USUAL_15, "usual highest of the next 15 min")                                                      \
        X(USUAL_60, "usual highest of the next hour")                                                        \
        X(CROSS_5, "days with a crossing in the next 5 min")                                                 \
        X(CROSS_15, "days with a crossing in the next 15 min")                                               \
        X(CROSS_60, "days with a crossing in the next hour")                                                 \
        X(AGAINST_YESTERDAY, "level against yesterday's")                                                    \
        X(SINCE_ABOVE, "time since it was above")                                                            \
        X(SINCE_CROSSED, "time since it last crossed")                                                       \
        X(ABOVE_1H, "share of the hour above")                                                               \
        X(ABOVE_24H, "share of the day above")                                                               \
        X(ABOVE_LONG, "share of its history above")                                                          \
        X(CROSSED_24H, "crossings today")                                                                    \
        X(CROSSED_LONG, "crossings in its history")                                                          \
        X(SINCE_EVEN, "time since the last crossing in its usual gaps")                                      \
        X(ADAPTIVE, "far from the last hours")                                                               \
        X(ORDER, "an unexplained step")                                                                      \
        X(DRIFT_UP, "drifting up")                                                                           \
        X(DRIFT_DOWN, "drifting down")                                                                       \
        X(OTHERS_ABOVE, "other metrics above their limits")                                                  \
        X(OTHERS_NEAR, "how near other metrics are to their limits")                                         \
        X(OTHERS_CROSSED, "other metrics that crossed lately")                                               \
        X(OTHERS_YESTERDAY, "other metrics that were above yesterday in the next hour")                      \
        X(NODE_ODD, "the node is unusual")                                                                   \
        X(NODE_ODD_1H, "the node was unusual for an hour")                                                   \
        X(STEP, "time between observations")

enum dog_node_overload_feature {
#define X(name, words) DOG_NODE_O_##name,
        DOG_NODE_OVERLOAD_FEATURES(X)
#undef X
                DOG_NODE_OVERLOAD_COUNT
};

/** How rare a number is in its own past: counts in bins of its logarithm, which fade over days. */
struct dog_node_rank {
        float count[DOG_NODE_RANK_BINS], total;
};

struct dog_node {
        unsigned metrics;
        int64_t t_s;  /**< of the newest observation; INT64_MIN: none */
        float step_s; /**< time between the last two, smoothed */
        uint32_t count;
        uint64_t dropped; /**< observations whose time did not advance */
        struct dog_node_rank rank[DOG_NODE_WAY_COUNT];
        float component[DOG_NODE_COMPONENTS][DOG_NODE_METRICS_MAX];
        uint32_t seen; /**< vectors that the components have learned */
        float odd, odd_before, odd_mean[DOG_NODE_MEMORIES];
        int64_t odd_s; /**< when it was last rare; INT64_MIN: never */
        int64_t slot;
        float filling;
        float slot_odd[DOG_NODE_SLOTS], usual_odd[DOG_NODE_SLOTS], usual_rare[DOG_NODE_SLOTS];
        float feature[DOG_NODE_FEATURE_COUNT];
        float above_share, near_mean, crossed_share, yesterday_share; /**< of all metrics */
        unsigned worst[DOG_NODE_WAY_COUNT]; /**< the metric that is furthest out in each way */
        struct dog_node_metric metric[];
};

/** Octets of the state for so many metrics; 0 for none or more than DOG_NODE_METRICS_MAX. */
size_t dog_node_size(unsigned metrics);
/** `n` holds dog_node_size(metrics) octets, aligned as malloc does. */
void dog_node_init(struct dog_node *n, unsigned metrics);
/** The limit of one metric; NaN: by its own history. */
void dog_node_limit(struct dog_node *n, unsigned metric, float limit);
/**
 * One observation of all metrics at once.
 * @param value  `metrics` numbers, NaN where not measured
 * @return false when the time does not advance: dropped and counted
 */
bool dog_node_observe(struct dog_node *n, int64_t t_s, const float *value);
/** The node's features after the last observation: DOG_NODE_FEATURE_COUNT numbers, NaN where not known. */
const float *dog_node_features(const struct dog_node *n);
/** The features of one metric: DOG_NODE_OVERLOAD_COUNT numbers to `x`. All NaN before its first value. */
void dog_node_overload_features(const struct dog_node *n, unsigned metric, float *x);
/**
 * How well it is, 1 well .. 0 failing: how unusual the last hours were in all ways, and how unlike yesterday.
 * Made for telling a node that is failing now from one that is not; it needs no training. 1 before there is a
 * history of a hundred observations.
 */
float dog_node_health(const struct dog_node *n);
/**
 * How much the newest observation looks like the beginning of something, 0..1: steps of metrics that neither
 * their own past nor the last hour explains. Near 0 in all but about one minute of a day.
 */
float dog_node_alarm(const struct dog_node *n);
/**
 * How unusual the newest observation is in all ways, 0..1: a half as rare as one in a hundred outside
 * incidents, 0.9 as one in a thousand, on recorded servers of three kinds alike. 0 before there is a history.
 */
float dog_node_unusual(const struct dog_node *n);
/** Short names, for tables and model files: "odd_ahead_15". */
const char *dog_node_feature_name(unsigned i);
const char *dog_node_overload_name(unsigned i);
