#include "models/node_metric.h"

#include <math.h>
#include <string.h>

const int64_t dog_node_horizon_s[DOG_NODE_HORIZONS] = {300, 900, 3600};

static const double metric_tau_s[DOG_NODE_MEMORIES] = {600, 3600, 6 * 3600, 86400};

#define METRIC_LONG_S  (7 * 86400.0)
#define METRIC_ORDER_S (12 * 3600.0)
/* A gap longer than this is no step: slopes and orders begin anew after it. */
#define METRIC_GAP_S 7200
/* A value further out than this teaches the spread no more than one that is so far. */
#define METRIC_CLIP 6.0
/* What a cumulative sum forgives each step, and where it ends. */
#define METRIC_DRIFT_SLACK 0.75F
#define METRIC_DRIFT_MOST  60.0F
/* Days that a usual value looks back on, about. */
#define METRIC_DAYS 6.0F

/* The share of a new value in a mean of memory tau after dt; the mean of all while that is more. */
static double metric_share(double dt, double tau, uint32_t count)
{
        double share = 1 - exp(-dt / tau);
        double all = 1.0 / ((double)count + 1);
        return share > all ? share : all;
}

void dog_node_metric_init(struct dog_node_metric *m)
{
        memset(m, 0, sizeof(*m));
        dog_quantile_init(&m->low, 0.05);
        dog_quantile_init(&m->middle, 0.5);
        dog_quantile_init(&m->high, 0.95);
        dog_quantile_init(&m->top, 0.99);
        for (int i = 0; i < 4; i++)
                m->order_inverse[i][i] = 10;
        m->order_weight[1] = 1;
        m->limit = NAN;
        m->value = m->value_before = NAN;
        m->t_s = m->first_s = m->above_s = m->crossed_s = m->below_s = INT64_MIN;
        m->slot = INT64_MIN;
        for (int i = 0; i < DOG_NODE_SLOTS; i++)
                m->slot_mean[i] = m->slot_max[i] = m->usual_mean[i] = m->usual_max[i] = m->usual_cross[i] =
                        NAN;
}

void dog_node_metric_limit(struct dog_node_metric *m, float limit)
{
        m->limit = limit;
}

float dog_node_metric_limit_now(const struct dog_node_metric *m)
{
        /* A 99th percentile of a few values is their maximum and no limit. */
        return !isnan(m->limit) ? m->limit : m->count < 100 ? NAN : (float)dog_quantile_get(&m->top);
}

float dog_node_metric_spread(const struct dog_node_metric *m)
{
        double low = dog_quantile_get(&m->low), high = dog_quantile_get(&m->high);
        double middle = dog_quantile_get(&m->middle);
        double robust = (high - low) / 3.29, long_run = sqrt(m->var_long);
        /* A metric that is mostly one value has no range between quantiles: its rare values count then. */
        double spread = robust > 0.25 * long_run ? robust : 0.25 * long_run;
        double least = 1e-4 * fabs(middle);
        if (!(spread > least))
                spread = least;
        return spread > 1e-6 ? (float)spread : 1e-6F;
}

static int metric_slot_index(int64_t slot)
{
        int64_t i = slot % DOG_NODE_SLOTS;
        return (int)(i < 0 ? i + DOG_NODE_SLOTS : i);
}

static int64_t metric_slot_of(int64_t t_s)
{
        return t_s >= 0 ? t_s / DOG_NODE_SLOT_S : -((-t_s + DOG_NODE_SLOT_S - 1) / DOG_NODE_SLOT_S);
}

static float metric_usual(float usual, float value)
{
        return isnan(usual) ? value : usual + (value - usual) / METRIC_DAYS;
}

/* The slot that was being filled is over: it becomes part of the day. */
static void metric_slot_close(struct dog_node_metric *m)
{
        int i = metric_slot_index(m->slot);
        if (m->filling_count == 0)
                return;
        m->slot_mean[i] = m->filling_sum / (float)m->filling_count;
        m->slot_max[i] = m->filling_max;
        m->usual_mean[i] = metric_usual(m->usual_mean[i], m->slot_mean[i]);
        m->usual_max[i] = metric_usual(m->usual_max[i], m->filling_max);
        m->usual_cross[i] = metric_usual(m->usual_cross[i], m->has_crossed ? 1 : 0);
}

static void metric_slot(struct dog_node_metric *m, int64_t t_s, float value)
{
        int64_t slot = metric_slot_of(t_s);
        if (slot != m->slot) {
                if (m->slot != INT64_MIN) {
                        metric_slot_close(m);
                        /* What was passed over without a value is not known, and not what was a day before.
                         */
                        int64_t skipped = slot - m->slot - 1;
                        if (skipped > DOG_NODE_SLOTS)
                                skipped = DOG_NODE_SLOTS;
                        for (int64_t k = 1; k <= skipped; k++) {
                                int i = metric_slot_index(m->slot + k);
                                m->slot_mean[i] = m->slot_max[i] = NAN;
                        }
                }
                m->slot = slot;
                m->filling_sum = 0;
                m->filling_count = 0;
                m->filling_max = -INFINITY;
                m->has_crossed = false;
        }
        m->filling_sum += value;
        m->filling_count++;
        if (value > m->filling_max)
                m->filling_max = value;
}

float dog_node_metric_yesterday(const struct dog_node_metric *m, int64_t t_s, int64_t ahead_s)
{
        if (m->slot == INT64_MIN)
                return NAN;
        int64_t first = metric_slot_of(t_s) + 1, last = metric_slot_of(t_s + ahead_s);
        float most = NAN;
        for (int64_t s = first; s <= last && s < first + DOG_NODE_SLOTS - 1; s++) {
                float v = m->slot_max[metric_slot_index(s)];
                if (!isnan(v) && !(most >= v))
                        most = v;
        }
        return most;
}

/* One step of an autoregression of order three by recursive least squares. @return its error */
static double metric_order(struct dog_node_metric *m, double z, double dt)
{
        double x[4] = {1, (double)m->before[0], (double)m->before[1], (double)m->before[2]};
        double gain[4], said = 0, scale = exp(-dt / METRIC_ORDER_S);
        double forget = scale > 0.9 ? scale : 0.9;
        double denominator = forget;
        for (int i = 0; i < 4; i++) {
                said += m->order_weight[i] * x[i];
                gain[i] = 0;
                for (int k = 0; k < 4; k++)
                        gain[i] += m->order_inverse[i][k] * x[k];
        }
        for (int i = 0; i < 4; i++)
                denominator += x[i] * gain[i];
        double miss = z - said;
        for (int i = 0; i < 4; i++)
                m->order_weight[i] += gain[i] / denominator * miss;
        for (int i = 0; i < 4; i++)
                for (int k = i; k < 4; k++) {
                        double p = (m->order_inverse[i][k] - gain[i] * gain[k] / denominator) / forget;
                        /* A constant series teaches nothing: its matrix must not grow without end. */
                        m->order_inverse[i][k] = m->order_inverse[k][i] = fmax(-1e4, fmin(1e4, p));
                }
        for (int i = 0; i < 4; i++)
                if (m->order_inverse[i][i] <= 0 || !isfinite(m->order_weight[i])) {
                        memset(m->order_inverse, 0, sizeof(m->order_inverse));
                        memset(m->order_weight, 0, sizeof(m->order_weight));
                        for (int k = 0; k < 4; k++)
                                m->order_inverse[k][k] = 10;
                        m->order_weight[1] = 1;
                        break;
                }
        return miss;
}

static void metric_above(struct dog_node_metric *m, int64_t t_s, float value, double dt)
{
        float limit = dog_node_metric_limit_now(m);
        bool is_above = value > limit;
        bool was_above = m->above_s != INT64_MIN && m->above_s == m->t_s;
        float crossed = is_above && !was_above && m->count > 0 ? (float)(3600 / dt) : 0;
        if (is_above) {
                m->above_s = t_s;
                m->has_crossed = true;
                if (crossed > 0)
                        m->crossed_s = t_s;
        } else if (was_above || m->below_s == INT64_MIN) {
                m->below_s = t_s;
        }
        float yes = is_above ? 1 : 0;
        m->above_1h += (float)(1 - exp(-dt / 3600)) * (yes - m->above_1h);
        m->above_24h += (float)(1 - exp(-dt / 86400)) * (yes - m->above_24h);
        m->above_long += (float)metric_share(dt, METRIC_LONG_S, m->count) * (yes - m->above_long);
        m->crossed_24h += (float)(1 - exp(-dt / 86400)) * (crossed - m->crossed_24h);
        m->crossed_long += (float)metric_share(dt, METRIC_LONG_S, m->count) * (crossed - m->crossed_long);
}

/* How far x is from what earlier days had at this time: the nearest of yesterday's and the usual. */
static double metric_daily(const struct dog_node_metric *m, int64_t t_s, double x)
{
        int here = metric_slot_index(metric_slot_of(t_s));
        double usual = fabs(x - (double)m->usual_mean[here]);
        double yesterday = fabs(x - (double)m->slot_mean[here]);
        if (isnan(usual))
                return 0;
        return yesterday < usual ? yesterday : usual;
}

void dog_node_metric_observe(struct dog_node_metric *m, int64_t t_s, float value)
{
        if (!isfinite(value))
                return;
        double x = (double)value;
        struct dog_node_surprise *s = &m->surprise;
        if (m->count == 0) {
                for (int i = 0; i < DOG_NODE_MEMORIES; i++)
                        m->mean[i] = x;
                m->mean_long = x;
                m->first_s = t_s;
        }
        double dt = m->count == 0 ? 60 : (double)(t_s - m->t_s);
        bool is_gap = dt > METRIC_GAP_S;
        double spread = (double)dog_node_metric_spread(m);
        double middle = m->count > 0 ? dog_quantile_get(&m->middle) : x;
        double z = (x - middle) / spread;

        /* 1. How unusual, by what was known before. */
        double spread_6h = sqrt(m->var_6h) + 0.1 * spread;
        s->level = (float)z;
        s->adaptive = (float)(fabs(x - m->mean[DOG_NODE_6H]) / spread_6h);
        double miss_1h = (x - m->mean[DOG_NODE_1H]) / spread;
        s->residual = (float)(fabs(miss_1h) / (sqrt(m->miss_1h) + 0.1));
        double clipped = fmax(-20, fmin(20, z));
        double miss_order = is_gap ? 0 : metric_order(m, clipped, dt);
        s->order = (float)(fabs(miss_order) / (sqrt(m->miss_order) + 0.1));
        float step = (float)fmax(-METRIC_CLIP, fmin(METRIC_CLIP, (x - m->mean[DOG_NODE_6H]) / spread_6h));
        m->up = fminf(METRIC_DRIFT_MOST, fmaxf(0, m->up + step - METRIC_DRIFT_SLACK));
        m->down = fminf(METRIC_DRIFT_MOST, fmaxf(0, m->down - step - METRIC_DRIFT_SLACK));
        s->drift = fmaxf(m->up, m->down);
        s->yesterday = fabsf(value - m->slot_mean[metric_slot_index(metric_slot_of(t_s))]) / (float)spread;
        if (isnan(s->yesterday))
                s->yesterday = 0;
        double miss_daily = metric_daily(m, t_s, x) / spread;
        s->daily = (float)(miss_daily / (sqrt(m->miss_daily) + 0.1));

        /* 2. Learn from it. What is far out is learned from as if it were less far. */
        double near_6h =
                m->mean[DOG_NODE_6H] +
                fmax(-METRIC_CLIP, fmin(METRIC_CLIP, (x - m->mean[DOG_NODE_6H]) / spread_6h)) * spread_6h;
        double share_6h = metric_share(dt, metric_tau_s[DOG_NODE_6H], m->count);
        double off = near_6h - m->mean[DOG_NODE_6H];
        m->var_6h = (1 - share_6h) * (m->var_6h + share_6h * off * off);
        double share_1h = metric_share(dt, metric_tau_s[DOG_NODE_1H], m->count);
        m->var_1h += (float)share_1h *
                     ((float)((x - m->mean[DOG_NODE_1H]) * (x - m->mean[DOG_NODE_1H])) - m->var_1h);
        for (int i = 0; i < DOG_NODE_MEMORIES; i++)
                m->mean[i] += metric_share(dt, metric_tau_s[i], m->count) *
                              ((i == DOG_NODE_6H ? near_6h : x) - m->mean[i]);
        double share_long = metric_share(dt, METRIC_LONG_S, m->count);
        double off_long = x - m->mean_long;
        m->mean_long += share_long * off_long;
        m->var_long = (1 - share_long) * (m->var_long + share_long * off_long * off_long);
        double share_24h = metric_share(dt, metric_tau_s[DOG_NODE_24H], m->count);
        m->miss_1h += share_24h * (fmin(miss_1h * miss_1h, 100) - m->miss_1h);
        m->miss_daily += share_24h * (fmin(miss_daily * miss_daily, 100) - m->miss_daily);
        m->miss_order += share_24h * (fmin(miss_order * miss_order, 100) - m->miss_order);
        m->before[2] = m->before[1];
        m->before[1] = m->before[0];
        m->before[0] = (float)clipped;
        metric_slot(m, t_s, value);
        metric_above(m, t_s, value, dt);
        dog_quantile_learn(&m->low, x);
        dog_quantile_learn(&m->middle, x);
        dog_quantile_learn(&m->high, x);
        dog_quantile_learn(&m->top, x);
        m->value_before = is_gap ? value : m->value;
        m->value = value;
        m->t_s = t_s;
        m->count += m->count < UINT32_MAX;
}
