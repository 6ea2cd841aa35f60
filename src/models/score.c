#include "models/score.h"

#include <math.h>
#include <stdbool.h>

/* Beyond 2^-20 or 2^20 of its limit a metric says nothing new. */
static const double score_headroom_most = 20;

const char *dog_metric_name(enum dog_metric metric)
{
        static const char *const name[DOG_METRIC_COUNT] = {"latency", "jitter", "loss", "rate", "response"};
        return (unsigned)metric < DOG_METRIC_COUNT ? name[metric] : "unknown";
}

struct dog_score_promise dog_score_promise_default(void)
{
        return (struct dog_score_promise){.limit = {NAN, NAN, NAN, NAN, NAN},
                                          .weight = {4, 2, 3, 2, 4},
                                          .forecast_share = 0.5,
                                          .doubt = 0.5};
}

/* What is measured and what is expected, the doubt on the side that hurts; NaN when neither is known. */
static double score_blend(const struct dog_score_promise *promise, const struct dog_score_input *in,
                          int metric)
{
        double side = metric == DOG_METRIC_RATE ? -1 : 1;
        double spread = in->spread[metric] > 0 ? in->spread[metric] : 0;
        double expected = in->mean[metric] + side * promise->doubt * spread;
        double share = promise->forecast_share;
        share = share > 0 ? (share < 1 ? share : 1) : 0;
        if (isnan(expected))
                return in->live[metric];
        if (isnan(in->live[metric]))
                return expected;
        return (1 - share) * in->live[metric] + share * expected;
}

static double score_metric(double value, double limit, int metric)
{
        value = value > 0 ? value : 0;
        double headroom = metric == DOG_METRIC_RATE ? log2(value / limit) : log2(limit / value);
        headroom = headroom > score_headroom_most ? score_headroom_most : headroom;
        headroom = headroom < -score_headroom_most ? -score_headroom_most : headroom;
        return 100 / (1 + exp2(-2 * headroom));
}

struct dog_score dog_score_of(const struct dog_score_promise *promise, const struct dog_score_input *in)
{
        struct dog_score s = {.quality = NAN};
        double weights = 0;
        double sum = 0;
        for (int m = 0; m < DOG_METRIC_COUNT; m++) {
                s.metric[m] = NAN;
                if (!(promise->limit[m] > 0))
                        continue;
                double value = score_blend(promise, in, m);
                if (isnan(value)) {
                        s.missing |= 1U << m;
                        continue;
                }
                s.metric[m] = score_metric(value, promise->limit[m], m);
                if (promise->weight[m] > 0) {
                        weights += promise->weight[m];
                        sum += promise->weight[m] / s.metric[m];
                }
        }
        if (weights > 0)
                s.quality = weights / sum;
        return s;
}
