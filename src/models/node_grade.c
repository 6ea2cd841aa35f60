#include "models/node_grade.h"

#include <math.h>
#include <string.h>

/* So many incidents of its own move a node half way from the others' rate to its own. */
#define GRADE_FEW 4.0
/* A node that nothing is known of has so much of the others' rate: most machines are calmer than recorded
 * ones. */
#define GRADE_CALM 0.15
/* How far towards the model a node begins, and what that is worth in squares of differences. */
#define GRADE_SHARE_FIRST 0.4
#define GRADE_SHARE_WORTH 0.02
#define GRADE_SHARE_LEAST 0.05
/* What an alarm may make of the base rate, and never more than a half. */
#define GRADE_ALARM_TIMES 15.0F
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

static double grade_factor(double happened, double expected)
{
        return (GRADE_CALM * GRADE_FEW + happened) / (GRADE_FEW + expected);
}

static double grade_model(const struct dog_node_grade *g, float raw)
{
        return grade_odds_times(grade_line(g, raw), grade_factor(g->happened, g->expected_model));
}

float dog_node_grade_base(const struct dog_node_grade *g)
{
        return (float)grade_odds_times((double)g->shape.base, grade_factor(g->happened, g->expected_base));
}

/* The share of the way from the base rate to the model. */
static double grade_share(const struct dog_node_grade *g)
{
        if (!(g->shape.slope > 0 && g->shape.skill > 0))
                return g->shape.slope > 0 ? GRADE_SHARE_LEAST : 0;
        double share = (GRADE_SHARE_FIRST * GRADE_SHARE_WORTH + g->earned) / (GRADE_SHARE_WORTH + g->apart);
        return fmax(GRADE_SHARE_LEAST, fmin(1, share));
}

bool dog_node_grade_has_skill(const struct dog_node_grade *g)
{
        return grade_share(g) > 2 * GRADE_SHARE_LEAST;
}

float dog_node_grade_say(const struct dog_node_grade *g, float raw)
{
        double base = (double)dog_node_grade_base(g);
        return isfinite(raw) ? (float)(base + grade_share(g) * (grade_model(g, raw) - base)) : (float)base;
}

float dog_node_grade_alarmed(const struct dog_node_grade *g, float p, float alarm)
{
        /* Where forecasts are bold, because they have earned it, an alarm must not drown among them. */
        float share = (float)grade_share(g), bold = share * share * share * share;
        float most = fminf(GRADE_ALARM_MOST, GRADE_ALARM_TIMES * dog_node_grade_base(g) * (1 + bold));
        return fmaxf(p, most * alarm);
}

void dog_node_grade_learn(struct dog_node_grade *g, float raw, bool happened, float weight)
{
        if (!isfinite(raw) || !(weight > 0))
                return;
        double w = weight < 1 ? (double)weight : 1, y = happened ? 1 : 0;
        double model = grade_model(g, raw), base = (double)dog_node_grade_base(g);
        double said = (double)dog_node_grade_say(g, raw);
        g->loss_model += w * (said - y) * (said - y);
        g->loss_base += w * (base - y) * (base - y);
        g->apart += w * (model - base) * (model - base);
        g->earned += w * (model - base) * (y - base);
        g->outcomes += w;
        g->happened += w * y;
        g->expected_model += w * grade_line(g, raw);
        g->expected_base += w * (double)g->shape.base;
}
