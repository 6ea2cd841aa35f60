#include "models/node_grade.h"

#include <math.h>
#include <string.h>

/* How far the timid voice goes: log-odds above the base rate, ln 2. */
#define GRADE_TIMID 0.6931472
/* Expected incidents after which what the trees say of this node on average is its own rather than usual. */
#define GRADE_CENTRE 0.2
/* Incidents that what a voice begins with is worth. */
#define GRADE_PROOF 4.0
#define GRADE_LEAST 0.05
/* What an alarm may make of the base rate: so much in proportion, so much when there is no doubt; never more
 * than a half. */
#define GRADE_ALARM_TIMES 12.0F
#define GRADE_ALARM_FULL  13.0F
#define GRADE_ALARM_MOST  0.5F
/* For a rate that nobody has fitted. */
#define GRADE_FEW 4.0F

static double grade_squash(double log_odds)
{
        return 1 / (1 + exp(-fmax(-16, fmin(16, log_odds))));
}

static double grade_log_odds(double p)
{
        return log(p / (1 - p));
}

struct dog_node_shape dog_node_shape_plain(float base)
{
        return (struct dog_node_shape){.base = base > 0 && base < 1 ? base : 0.01F, .few = GRADE_FEW};
}

static bool grade_is_sound(const struct dog_node_shape *s)
{
#define X(name)                                                                                              \
        if (!isfinite(s->name))                                                                              \
                return false;
        DOG_NODE_SHAPE(X)
#undef X
        return s->base > 0 && s->base < 1 && s->few > 1;
}

void dog_node_grade_init(struct dog_node_grade *g, const struct dog_node_shape *shape, unsigned metrics)
{
        memset(g, 0, sizeof(*g));
        g->shape = grade_is_sound(shape) ? *shape : dog_node_shape_plain(shape->base);
        double times = metrics ? pow((double)metrics / DOG_NODE_SHAPE_METRICS, (double)g->shape.growth) : 1;
        g->common = fmin(0.5, (double)g->shape.base * times);
}

static double grade_line(const struct dog_node_grade *g, float raw)
{
        return (double)g->shape.bias + (double)g->shape.slope * (double)raw;
}

static double grade_share(const struct dog_node_proof *proof, double first, double least)
{
        double share = (first * GRADE_PROOF + proof->earned) / (GRADE_PROOF + proof->apart);
        return fmax(least, fmin(1, share));
}

/* What is said without the trees, with the timid voice alone, with the bold one alone. */
struct grade_voices {
        double base, timid, bold;
};

static struct grade_voices grade_voices(const struct dog_node_grade *g, float raw)
{
        double few = (double)g->shape.few;
        double base = grade_log_odds(g->common) + log((few - 1 + g->happened) / (few + g->expected));
        double mean = log((GRADE_CENTRE + g->expected_model) / (GRADE_CENTRE + g->expected));
        double above = grade_line(g, raw) - grade_log_odds(g->common) - mean;
        return (struct grade_voices){grade_squash(base), grade_squash(base + fmin(GRADE_TIMID, above)),
                                     grade_squash(base + above)};
}

float dog_node_grade_base(const struct dog_node_grade *g)
{
        return (float)grade_voices(g, 0).base;
}

static double grade_timid(const struct dog_node_grade *g)
{
        bool is_able = g->shape.slope > 0 && g->shape.skill > 0;
        return is_able ? grade_share(&g->timid, 1, GRADE_LEAST) : g->shape.slope > 0 ? GRADE_LEAST : 0;
}

float dog_node_grade_boldness(const struct dog_node_grade *g)
{
        bool is_able = g->shape.slope > 0 && g->shape.skill > 0;
        return is_able ? (float)grade_share(&g->bold, (double)g->shape.bold, 0) : 0;
}

bool dog_node_grade_has_skill(const struct dog_node_grade *g)
{
        return grade_timid(g) > 2 * GRADE_LEAST;
}

static double grade_mix(const struct dog_node_grade *g, const struct grade_voices *v)
{
        double word = v->timid + (double)dog_node_grade_boldness(g) * (v->bold - v->timid);
        return v->base + grade_timid(g) * (word - v->base);
}

float dog_node_grade_say(const struct dog_node_grade *g, float raw)
{
        struct grade_voices v = grade_voices(g, isfinite(raw) ? raw : 0);
        return (float)(isfinite(raw) ? grade_mix(g, &v) : v.base);
}

float dog_node_grade_alarmed(const struct dog_node_grade *g, float p, float alarm)
{
        float square = alarm * alarm;
        float times = alarm * (GRADE_ALARM_TIMES + GRADE_ALARM_FULL * square * square);
        return fmaxf(p, fminf(GRADE_ALARM_MOST, times * dog_node_grade_base(g)));
}

static void grade_prove(struct dog_node_proof *proof, double voice, double without, double y, double weight)
{
        double d = voice - without, variance = fmax(voice, without);
        proof->apart += weight * d * d / variance;
        proof->earned += weight * d * (y - without) / variance;
}

void dog_node_grade_learn(struct dog_node_grade *g, float raw, bool happened, float weight)
{
        if (!isfinite(raw) || !(weight > 0))
                return;
        double w = weight < 1 ? (double)weight : 1, y = happened ? 1 : 0;
        struct grade_voices v = grade_voices(g, raw);
        grade_prove(&g->timid, v.timid, v.base, y, w);
        grade_prove(&g->bold, v.bold, v.timid, y, w);
        g->happened += w * y;
        g->expected += w * g->common;
        g->expected_model += w * grade_squash(grade_line(g, raw));
}
