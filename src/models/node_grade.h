#pragma once
/**
 * What a model's word about one node is worth: calibration by the node's own record, and the base rate when
 * there is no skill.
 *
 * A model learned on other machines is right about when rather than about how often. So
 *   - how often is a rate of its own: what nodes with so many metrics have had in training (who reports more
 * has more that can go wrong: a power of their number), times what this node has had against what was
 * expected of it, (few - 1 + happened) / (few + expected). `few` is how alike nodes are, fitted to their
 * counts as a negative binomial (Lawless, Canadian Journal of Statistics 15:3, 1987). Less one, because that
 * is the posterior's harmonic mean, and skill divides each error by the rate: to think a calm node busy costs
 * more than the reverse;
 *   - when is what the trees say through a line fitted on nodes they had not seen, less what they say of this
 * node on average;
 *   - two voices say it: a timid one, which never goes beyond twice the odds of the base rate, and a bold
 * one without a bound. A node is given to the timid one at once and to the bold one hardly at all; each
 * earns or loses its share by the least squares of what happened on where it differs, every difference in
 * units of its own variance, so that proof is counted in incidents: one that was foreseen is one, however
 * many steps saw it coming and however loudly. Where even the timid voice has earned nothing the base rate is
 * said, all but a twentieth of the way, so that moments can still be ranked.
 *
 * Outcomes of neighbouring steps overlap: sixty minutes ahead, a minute apart, one incident is sixty
 * outcomes. Each therefore weighs `step / horizon`, so that an incident counts about once. A value, no
 * pointers.
 */
#include <stdbool.h>
#include <stdint.h>

/** What training found of one target on nodes that were not learned from. X(name) */
#define DOG_NODE_SHAPE(X)                                                                                    \
        X(base)   /**< share of outcomes that happen on a node of DOG_NODE_SHAPE_METRICS metrics; (0, 1) */  \
        X(growth) /**< times (metrics / DOG_NODE_SHAPE_METRICS) to this power, on others */                  \
        X(few)    /**< incidents of its own that move a node half way to its own rate; 2 or more */          \
        X(bias)   /**< log-odds = bias + slope x what the trees say */                                       \
        X(slope)  /**< 0: no skill anywhere */                                                               \
        X(skill)  /**< Brier skill against each node's own base rate; <= 0: none */                          \
        X(bold)   /**< share of its say that the bold voice has on a new node, 0..1 */
enum { DOG_NODE_SHAPE_METRICS = 16 };

struct dog_node_shape {
#define X(name) float name;
        DOG_NODE_SHAPE(X)
#undef X
};

/** How much of its say a voice has earned. */
struct dog_node_proof {
        double apart;  /**< weighed sum of (voice - what is said without it)^2 / voice */
        double earned; /**< of (voice - without) (happened - without) / voice */
};

struct dog_node_grade {
        struct dog_node_shape shape;
        double common;         /**< the rate of nodes with so many metrics */
        double happened;       /**< weighed outcomes that came true */
        double expected;       /**< the same, as the common rate had it */
        double expected_model; /**< and as the shape's line had it */
        struct dog_node_proof timid, bold;
};

/** A shape that knows nothing but a rate: the base rate is said, with no skill. */
struct dog_node_shape dog_node_shape_plain(float base);
/** @param metrics  how many the node reports; 0: not known, the shape's base as it is */
void dog_node_grade_init(struct dog_node_grade *g, const struct dog_node_shape *shape, unsigned metrics);
/** The chance when the trees say `raw` (log-odds; NaN: nothing). Within (0, 1). */
float dog_node_grade_say(const struct dog_node_grade *g, float raw);
/**
 * The same when an alarm stands (dog_node_alarm): something may have begun that no forecast saw. It raises the
 * chance to twelve times the base rate in proportion to the alarm, and to twenty-five times where there is no
 * doubt about it, at most a half; it never lowers it. So a weak alarm stands above the timid voice, which is
 * what finds incidents, a full one above most bold words, and what is doubtful costs little.
 */
float dog_node_grade_alarmed(const struct dog_node_grade *g, float p, float alarm);
/** The node's base rate as far as it is known. */
float dog_node_grade_base(const struct dog_node_grade *g);
/** False: what is said is the base rate, all but a twentieth of the way. */
bool dog_node_grade_has_skill(const struct dog_node_grade *g);
/** The share of its say that the bold voice has by now, 0..1. */
float dog_node_grade_boldness(const struct dog_node_grade *g);
/** A step's outcome has become known. @param weight  step / horizon, at most 1 */
void dog_node_grade_learn(struct dog_node_grade *g, float raw, bool happened, float weight);
