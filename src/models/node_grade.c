#include "models/node_grade.h"

#include <math.h>
#include <string.h>

/* So many incidents of its own move a node half way from the others' rate to its own. */
#define GRADE_FEW 2.0
/* Before so many weighed outcomes happened (or should have) a record is chance. */
#define GRADE_LEAST 2.0

/* What an alarm may make of the base rate, and never more than a half. */
#define GRADE_ALARM_TIMES 30.0F
#define GRADE_ALARM_MOST  0.5F

static double grade_squash(double log_odds)
{
        return 1 / (1 + exp(-fmax(-20, fmin(20, log_odds))));
}

static double grade_odds_times(double p, double factor)
{
        double q = p * factor / (p * factor + 1 - p);
        return fmax(1e-7, fmin(1 - 1e-7, q));
}

struct dog_node_shape dog_node_shape_plain(float base)
{
        return (struct dog_node_shape){.base = base > 0 && base < 1 ? base : 0.01F, .skill = 0};
}

void dog_node_grade_init(struct dog_node_grade *g, const struct dog_node_shape *shape)
{
        memset(g, 0, sizeof(*g));
        g->shape = *shape;
        if (!(shape->base > 0 && shape->base < 1) || !isfinite(shape->bias) || !isfinite(shape->slope))
                g->shape = dog_node_shape_plain(shape->base);
}

static double grade_line(const struct dog_node_grade *g, float raw)
{
        return grade_squash((double)g->shape.bias + (double)g->shape.slope * (double)raw);
}

static double grade_model(const struct dog_node_grade *g, float raw)
{
        return grade_odds_times(grade_line(g, raw),
                                (GRADE_FEW + g->happened) / (GRADE_FEW + g->expected_model));
}

float dog_node_grade_base(const struct dog_node_grade *g)
{
        return (float)grade_odds_times((double)g->shape.base,
                                       (GRADE_FEW + g->happened) / (GRADE_FEW + g->expected_base));
}

bool dog_node_grade_has_skill(const struct dog_node_grade *g)
{
        return g->shape.slope > 0 && g->shape.skill > 0 && !g->is_without;
}

float dog_node_grade_say(const struct dog_node_grade *g, float raw)
{
        return dog_node_grade_has_skill(g) && isfinite(raw) ? (float)grade_model(g, raw)
                                                            : dog_node_grade_base(g);
}

float dog_node_grade_alarmed(const struct dog_node_grade *g, float p, float alarm)
{
        float most = fminf(GRADE_ALARM_MOST, GRADE_ALARM_TIMES * dog_node_grade_base(g));
        return fmaxf(p, most * alarm);
}

void dog_node_grade_learn(struct dog_node_grade *g, float raw, bool happened, float weight)
{
        if (!isfinite(raw) || !(weight > 0))
                return;
        double w = weight < 1 ? (double)weight : 1, y = happened ? 1 : 0;
        double model = grade_model(g, raw), base = (double)dog_node_grade_base(g);
        g->loss_model += w * (model - y) * (model - y);
        g->loss_base += w * (base - y) * (base - y);
        g->outcomes += w;
        g->happened += w * y;
        g->expected_model += w * grade_line(g, raw);
        g->expected_base += w * (double)g->shape.base;
        /* Losing must be clear before the word is taken away, and winning before it is given back. */
        if (fmax(g->happened, g->expected_base) < GRADE_LEAST)
                return;
        if (!g->is_without)
                g->is_without = g->loss_model > g->loss_base * 1.005;
        else
                g->is_without = g->loss_model > g->loss_base * 0.995;
}
