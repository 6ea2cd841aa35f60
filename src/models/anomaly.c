#include "models/anomaly.h"

#include "models/fastmath.h"

#include <math.h>
#include <string.h>

enum { PARTS = DOG_ANOMALY_PARTS, MOST = DOG_ANOMALY_METRICS };
static const float anomaly_normal = 1.4826F; /* deviation of normal noise over its median distance */
static const float anomaly_ewma_gain = 0.15F;

void dog_anomaly_init(struct dog_anomaly *a, int metrics, float memory)
{
        memset(a, 0, sizeof(*a));
        a->metrics = (uint8_t)(metrics < 1 ? 1 : metrics > MOST ? MOST : metrics);
        a->memory = memory > 50 ? memory : 50;
}

static float anomaly_gain(const struct dog_anomaly *a, uint32_t nth)
{
        float first = 1.0F / (float)(nth ? nth : 1);
        float least = 1.0F / a->memory;
        return first > least ? first : least;
}

/* Below this a distance is rounding. */
static float anomaly_least(float about)
{
        return 1e-4F * fabsf(about) + 1e-9F;
}

static float anomaly_clip(float z)
{
        return z > DOG_ANOMALY_CLIP ? DOG_ANOMALY_CLIP : z < -DOG_ANOMALY_CLIP ? -DOG_ANOMALY_CLIP : z;
}

/* Signed distance from the median; the distance from the recent mean goes to *jump. */
static float anomaly_metric_score(const struct dog_anomaly_metric *m, float x, float *jump)
{
        *jump = fabsf(x - m->ewma) / (1.2533F * m->residual + anomaly_least(m->ewma));
        return (x - m->median) / (anomaly_normal * m->distance + anomaly_least(m->median));
}

static void anomaly_metric_learn(struct dog_anomaly_metric *m, float x, float gain)
{
        m->count += m->count < UINT32_MAX;
        if (m->count == 1) {
                m->median = m->ewma = x;
                return;
        }
        float d = x - m->median;
        float away = fabsf(d);
        /* Up or down by a share of the distance between quartiles, more boldly at the beginning. */
        float first = m->count < 20 ? 1.0F / (float)m->count : 0;
        if (first > 0) {
                m->median += first * d;
                m->distance += first * (away - m->distance);
        } else {
                float step = 4 * gain * (m->distance + anomaly_least(m->median));
                m->median += d > step ? step : d < -step ? -step : d;
                m->distance += away > m->distance ? step : -step;
                m->distance = m->distance > 0 ? m->distance : 0;
        }
        float miss = fabsf(x - m->ewma);
        float most = DOG_ANOMALY_CLIP * (m->residual + anomaly_least(m->ewma));
        miss = m->count > 20 && miss > most ? most : miss;
        gain = gain > 0.01F ? gain : 0.01F;
        m->residual += (m->count < 20 ? 1.0F / (float)m->count : gain) * (miss - m->residual);
        m->ewma += anomaly_ewma_gain * (x - m->ewma);
}

static float anomaly_dot(const float *x, const float *y, int n)
{
        float sum = 0;
        for (int i = 0; i < n; i++)
                sum += x[i] * y[i];
        return sum;
}

/*
 * One pass over the components: what lies within them goes to *t, what is left of z to *q; when `gain` is
 * positive each component turns towards what the ones before it left over.
 */
static void anomaly_parts(struct dog_anomaly *a, float z[MOST], float gain, float *q, float *t)
{
        int n = a->metrics;
        *t = 0;
        for (int k = 0; k < PARTS && k < n - 1; k++) {
                float *v = a->part[k];
                float size2 = anomaly_dot(v, v, n);
                float size = sqrtf(size2);
                float along = size2 > 1e-12F ? anomaly_dot(v, z, n) / size : 0;
                /* The length of v is the variance along it. */
                *t += size > 1e-6F ? along * along / (size + 0.05F) : 0;
                if (gain > 0) {
                        if (size2 <= 1e-12F)
                                memcpy(v, z, (size_t)n * sizeof(v[0]));
                        for (int i = 0; i < n && size2 > 1e-12F; i++)
                                v[i] += gain * (along * z[i] - v[i]);
                }
                for (int i = 0; i < n && size2 > 1e-12F; i++)
                        z[i] -= along / size * v[i] * (gain > 0 ? 0 : 1);
                if (gain > 0 && size2 > 1e-12F) {
                        float now2 = anomaly_dot(v, v, n);
                        float share = now2 > 1e-12F ? anomaly_dot(v, z, n) / now2 : 0;
                        for (int i = 0; i < n; i++)
                                z[i] -= share * v[i];
                }
        }
        *q = anomaly_dot(z, z, n);
}

/* How far a logarithm is above its usual one, in its usual distances; learned within the clip. */
static float anomaly_above(float *usual, float *spread, float value, float gain)
{
        float z = (value - *usual) / (1.2533F * *spread + 0.05F);
        float cut = anomaly_clip(z) * (1.2533F * *spread + 0.05F);
        *usual += gain * cut;
        *spread += gain * (fabsf(cut) - *spread);
        return z > 0 ? z : 0;
}

struct dog_anomaly_score dog_anomaly_learn(struct dog_anomaly *a, const float value[])
{
        struct dog_anomaly_score s = {.level = 0};
        float z[MOST] = {0};
        float again[MOST];
        float q;
        float t;
        float oddest = -1;
        bool is_warm = a->count >= DOG_ANOMALY_WARM;
        a->count += a->count < UINT32_MAX;
        /* 1. Each metric on its own. */
        for (int i = 0; i < a->metrics; i++) {
                struct dog_anomaly_metric *m = &a->metric[i];
                float x = value[i];
                float jump = 0;
                z[i] = 0;
                if (!isfinite(x) || fabsf(x) > 1e15F)
                        continue;
                if (m->count >= DOG_ANOMALY_WARM / 2) {
                        float level = anomaly_metric_score(m, x, &jump);
                        z[i] = anomaly_clip(level);
                        level = fabsf(level);
                        s.level = level > s.level ? level : s.level;
                        s.jump = jump > s.jump ? jump : s.jump;
                        float odd = level > jump ? level : jump;
                        if (odd > oddest) {
                                oddest = odd;
                                s.metric = (uint8_t)i;
                        }
                }
                anomaly_metric_learn(m, x, anomaly_gain(a, m->count));
        }
        /* 2. All of them together: scored by the components as they were, then learned. */
        memcpy(again, z, sizeof(again));
        anomaly_parts(a, z, 0, &q, &t);
        float gain = anomaly_gain(a, a->count);
        float above_q = anomaly_above(&a->log_q, &a->log_q_spread, dog_fast_log(q + 0.01F), gain);
        float above_t = anomaly_above(&a->log_t, &a->log_t_spread, dog_fast_log(t + 0.01F), gain);
        s.together = above_q > above_t ? above_q : above_t;
        float ignored;
        anomaly_parts(a, again, a->count > DOG_ANOMALY_WARM / 2 ? gain : 0, &ignored, &ignored);
        if (!is_warm)
                return (struct dog_anomaly_score){.level = NAN, .jump = NAN, .together = NAN, .score = NAN};
        /* 3. One number. One of many metrics is far off often enough; that all of them agree is rare. */
        float sum = s.together + 0.5F * dog_fast_log(1 + s.level) + 0.5F * dog_fast_log(1 + s.jump);
        s.score = 1.0F / (1.0F + dog_fast_exp(5.0F - sum));
        return s;
}
