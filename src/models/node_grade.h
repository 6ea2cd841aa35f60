#pragma once
/**
 * What a model's word about one node is worth: calibration by the node's own record, and the base rate when
 * there is no skill.
 *
 * A model learned on other machines is right about when rather than about how often: the rate of incidents
 * differs between machines by factors, and that does not carry over. So
 *   - the model's log-odds go through a line fitted on nodes it had not seen (bias, slope: the slope is below
 * 1 where it is too sure of itself);
 *   - the odds are then multiplied by what this node has had against what was expected of it, (few +
 * happened) / (few + expected): nothing while there is no record, the node's own rate when there is much (the
 * posterior mean of a Poisson rate under a Gamma prior: Gelman et al., "Bayesian Data Analysis",
 * section 2.6);
 *     mean of a Poisson rate under a Gamma prior: Gelman et al., "Bayesian Data Analysis", section 2.6).
 * Until there is a record a node is taken for calmer than those that training saw;
 *   - beside it the plain base rate is kept in the same way, and what is said lies between the two: as far
 *     towards the model as its record on this node has earned (the share with the least squared error, by
 * ridge regression of what happened on where the two differ). Where it has earned nothing there is no skill:
 * the base rate is said, all but a twentieth of the way, so that moments can still be ranked.
 *
 * Outcomes of neighbouring steps overlap: sixty minutes ahead, a minute apart, one incident is sixty
 * outcomes. Each therefore weighs `step / horizon`, so that an incident counts about once. A value, no
 * pointers.
 */
#include <stdbool.h>
#include <stdint.h>

/** What training found of one target on nodes that were not learned from. */
struct dog_node_shape {
        float base;  /**< share of outcomes that happened, over all of them; (0, 1) */
        float bias;  /**< log-odds = bias + slope x what the trees say */
        float slope; /**< 0: no skill anywhere */
        float skill; /**< Brier skill against each node's own base rate; <= 0: none */
};

struct dog_node_grade {
        struct dog_node_shape shape;
        double happened;       /**< weighed outcomes that came true */
        double expected_model; /**< the same, as the shape's line had it */
        double expected_base;  /**< as the shape's base had it */
        double outcomes;       /**< weighed, all of them */
        double loss_model;     /**< weighed sum of squares of what was said */
        double loss_base;      /**< and of what the base rate would have been */
        double apart;          /**< weighed sum of (model - base)^2 */
        double earned;         /**< of (model - base) (happened - base) */
};

/** A shape that knows nothing but a rate: the base rate is said, with no skill. */
struct dog_node_shape dog_node_shape_plain(float base);
void dog_node_grade_init(struct dog_node_grade *g, const struct dog_node_shape *shape);
/** The chance when the trees say `raw` (log-odds; NaN: nothing). Within (0, 1). */
float dog_node_grade_say(const struct dog_node_grade *g, float raw);
/**
 * The same when an alarm stands (dog_node_alarm): something may have begun that no forecast saw. Raises the
 * chance to at most fifteen times the base rate, or, where the model has earned all of its say, thirty, and
 * never above a half; never lowers it.
 */
float dog_node_grade_alarmed(const struct dog_node_grade *g, float p, float alarm);
/** The node's base rate as far as it is known. */
float dog_node_grade_base(const struct dog_node_grade *g);
/** False: what is said is the base rate, all but a twentieth of the way. */
bool dog_node_grade_has_skill(const struct dog_node_grade *g);
/** A step's outcome has become known. @param weight  step / horizon, at most 1 */
void dog_node_grade_learn(struct dog_node_grade *g, float raw, bool happened, float weight);
