#include "models/node.h"

#include <math.h>
#include <string.h>

static const double node_tau_s[DOG_NODE_MEMORIES] = {600, 3600, 6 * 3600, 86400};

/* What is as rare as one moment in 500 is called rare. */
#define NODE_RARE 2.7F
/* A rank forgets over so many days. */
#define NODE_RANK_S (10 * 86400.0)
/* Values enter the components within so many spreads, or one spike would turn them. */
#define NODE_CLIP 8.0F
#define NODE_DAYS 6.0F

size_t dog_node_size(unsigned metrics)
{
        if (metrics == 0 || metrics > DOG_NODE_METRICS_MAX)
                return 0;
        return sizeof(struct dog_node) + metrics * sizeof(struct dog_node_metric);
}

void dog_node_init(struct dog_node *n, unsigned metrics)
{
        memset(n, 0, sizeof(*n));
        n->metrics = metrics;
        n->t_s = n->odd_s = n->slot = INT64_MIN;
        for (int i = 0; i < DOG_NODE_SLOTS; i++)
                n->slot_odd[i] = n->usual_odd[i] = n->usual_rare[i] = NAN;
        for (unsigned i = 0; i < DOG_NODE_FEATURE_COUNT; i++)
                n->feature[i] = NAN;
        for (unsigned k = 0; k < metrics; k++)
                dog_node_metric_init(&n->metric[k]);
}

void dog_node_limit(struct dog_node *n, unsigned metric, float limit)
{
        if (metric < n->metrics)
                dog_node_metric_limit(&n->metric[metric], limit);
}

/* ---- ranks ------------------------------------------------------------------------------------ */

/* -log10 of the share of its past that was at least so large; learns afterwards. */
static float rank_take(struct dog_node_rank *r, float log_value, float fade)
{
        int bin = (int)(log_value * 12.0F);
        if (bin < 0)
                bin = 0;
        if (bin > DOG_NODE_RANK_BINS - 1)
                bin = DOG_NODE_RANK_BINS - 1;
        float above = 0.5F + 0.5F * r->count[bin];
        for (int i = bin + 1; i < DOG_NODE_RANK_BINS; i++)
                above += r->count[i];
        float rank = -log10f(above / (r->total + 1));
        for (int i = 0; i < DOG_NODE_RANK_BINS; i++)
                r->count[i] *= fade;
        r->count[bin] += 1;
        r->total = r->total * fade + 1;
        return rank > 0 ? rank : 0;
}

/* ---- what metrics do together ------------------------------------------------------------------ */

/*
 * The length of what the components do not explain of z, over the root of the number of metrics. The
 * components learn from z afterwards: each takes what those before it left.
 */
static float node_together(struct dog_node *n, const float *z)
{
        float rest[DOG_NODE_METRICS_MAX];
        unsigned d = n->metrics, known = d > DOG_NODE_COMPONENTS + 1 ? DOG_NODE_COMPONENTS : d > 2 ? 1 : 0;
        memcpy(rest, z, d * sizeof(*rest));
        n->seen += n->seen < 20000;
        float share = 1.0F / (float)n->seen;
        for (unsigned c = 0; c < known; c++) {
                float *v = n->component[c];
                float length2 = 0, along = 0, learned[DOG_NODE_METRICS_MAX];
                for (unsigned k = 0; k < d; k++) {
                        length2 += v[k] * v[k];
                        along += v[k] * rest[k];
                }
                float length = sqrtf(length2);
                if (!(length > 1e-6F)) {
                        memcpy(v, rest, d * sizeof(*v));
                        memset(rest, 0, d * sizeof(*rest));
                        break;
                }
                for (unsigned k = 0; k < d; k++)
                        learned[k] = v[k] + share * (along / length * rest[k] - v[k]);
                for (unsigned k = 0; k < d; k++)
                        rest[k] -= along / length2 * v[k];
                memcpy(v, learned, d * sizeof(*v));
        }
        float sum = 0;
        for (unsigned k = 0; k < d; k++)
                sum += rest[k] * rest[k];
        return sqrtf(sum / (float)d);
}

/* ---- one observation --------------------------------------------------------------------------- */

static float way_of(const struct dog_node_surprise *s, int way)
{
        switch (way) {
        case DOG_NODE_WAY_LEVEL:
                return fabsf(s->level);
        case DOG_NODE_WAY_ADAPTIVE:
                return s->adaptive;
        case DOG_NODE_WAY_RESIDUAL:
                return s->residual;
        case DOG_NODE_WAY_ORDER:
                return s->order;
        case DOG_NODE_WAY_DRIFT:
                return s->drift;
        case DOG_NODE_WAY_YESTERDAY:
                return s->yesterday;
        default:
                return s->daily;
        }
}

static int node_slot_index(int64_t slot)
{
        int64_t i = slot % DOG_NODE_SLOTS;
        return (int)(i < 0 ? i + DOG_NODE_SLOTS : i);
}

static int64_t node_slot_of(int64_t t_s)
{
        return t_s >= 0 ? t_s / DOG_NODE_SLOT_S : -((-t_s + DOG_NODE_SLOT_S - 1) / DOG_NODE_SLOT_S);
}

static float node_usual(float usual, float value)
{
        return isnan(usual) ? value : usual + (value - usual) / NODE_DAYS;
}

static void node_day(struct dog_node *n, int64_t t_s)
{
        int64_t slot = node_slot_of(t_s);
        if (slot != n->slot) {
                if (n->slot != INT64_MIN) {
                        int i = node_slot_index(n->slot);
                        n->slot_odd[i] = n->filling;
                        n->usual_odd[i] = node_usual(n->usual_odd[i], n->filling);
                        n->usual_rare[i] = node_usual(n->usual_rare[i], n->filling > NODE_RARE ? 1 : 0);
                        int64_t skipped = slot - n->slot - 1;
                        for (int64_t k = 1; k <= skipped && k <= DOG_NODE_SLOTS; k++)
                                n->slot_odd[node_slot_index(n->slot + k)] = NAN;
                }
                n->slot = slot;
                n->filling = 0;
        }
        n->filling = fmaxf(n->filling, n->odd);
}

static void node_ahead(const float *ring, int64_t t_s, float *to)
{
        int64_t first = node_slot_of(t_s) + 1;
        int at = 0;
        float most = NAN;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                int last = (int)(node_slot_of(t_s + dog_node_horizon_s[h]) - first);
                for (; at <= last; at++)
                        most = fmaxf(most, ring[node_slot_index(first + at)]);
                to[h] = most;
        }
}

/* The largest, the mean of the three largest, and the mean of one way over the metrics, as logarithms. */
static void node_gather(struct dog_node *n, int way, float *to)
{
        float top[3] = {0, 0, 0}, sum = 0;
        unsigned fresh = 0;
        n->worst[way] = 0;
        for (unsigned k = 0; k < n->metrics; k++) {
                const struct dog_node_metric *m = &n->metric[k];
                if (m->t_s != n->t_s)
                        continue;
                float v = log1pf(fminf(way_of(&m->surprise, way), 1e6F));
                fresh++;
                sum += v;
                if (v > top[0])
                        n->worst[way] = k;
                for (int i = 0; i < 3; i++)
                        if (v > top[i]) {
                                float was = top[i];
                                top[i] = v;
                                v = was;
                        }
        }
        if (fresh == 0) {
                to[0] = to[1] = to[2] = NAN;
                return;
        }
        to[0] = top[0];
        to[1] = (top[0] + top[1] + top[2]) / (float)(fresh < 3 ? fresh : 3);
        to[2] = sum / (float)fresh;
}

static void node_limits(struct dog_node *n)
{
        float *f = n->feature;
        float above = 0, fresh_above = 0, above_24h = 0, near_sum = 0, crossed = 0, yesterday = 0, count = 0;
        float slope_short = 0, slope_long = 0;
        for (unsigned k = 0; k < n->metrics; k++) {
                const struct dog_node_metric *m = &n->metric[k];
                float limit = dog_node_metric_limit_now(m);
                if (m->count == 0)
                        continue;
                double spread = (double)dog_node_metric_spread(m);
                slope_short = fmaxf(slope_short,
                                    (float)(fabs(m->mean[DOG_NODE_10MIN] - m->mean[DOG_NODE_1H]) / spread));
                slope_long = fmaxf(slope_long,
                                   (float)(fabs(m->mean[DOG_NODE_1H] - m->mean[DOG_NODE_6H]) / spread));
                if (isnan(limit))
                        continue;
                count++;
                above += m->above_s == n->t_s;
                /* Above since its limit is known, and nobody saw it cross: new. */
                bool is_crossing_seen = m->crossed_s != INT64_MIN;
                fresh_above += m->above_s == n->t_s && (!is_crossing_seen || n->t_s - m->crossed_s < 900);
                crossed += is_crossing_seen && n->t_s - m->crossed_s < 900;
                above_24h += m->above_24h;
                near_sum += fmaxf(-5, fminf(5, (m->value - limit) / (float)spread));
                yesterday += dog_node_metric_yesterday(m, n->t_s, 3600) > limit;
        }
        float share = count > 0 ? 1 / count : 0;
        f[DOG_NODE_ABOVE] = n->above_share = above * share;
        f[DOG_NODE_ABOVE_NEW] = fresh_above * share;
        f[DOG_NODE_ABOVE_24H] = above_24h * share;
        n->near_mean = near_sum * share;
        n->crossed_share = crossed * share;
        n->yesterday_share = yesterday * share;
        f[DOG_NODE_SLOPE_SHORT] = log1pf(slope_short);
        f[DOG_NODE_SLOPE_LONG] = log1pf(slope_long);
}

bool dog_node_observe(struct dog_node *n, int64_t t_s, const float *value)
{
        if (n->t_s != INT64_MIN && t_s <= n->t_s) {
                n->dropped++;
                return false;
        }
        double dt = n->t_s == INT64_MIN ? 60 : (double)(t_s - n->t_s);
        n->step_s = n->count < 2 ? (float)dt : n->step_s + 0.1F * ((float)dt - n->step_s);
        n->t_s = t_s;
        n->count += n->count < UINT32_MAX;

        /* 1. Each metric on its own, and all of them together. */
        float z[DOG_NODE_METRICS_MAX];
        for (unsigned k = 0; k < n->metrics; k++) {
                struct dog_node_metric *m = &n->metric[k];
                dog_node_metric_observe(m, t_s, value[k]);
                z[k] = m->t_s == t_s ? fmaxf(-NODE_CLIP, fminf(NODE_CLIP, m->surprise.level)) : 0;
        }
        float *f = n->feature;
        float fade = (float)exp(-dt / NODE_RANK_S), odd = 0;
        for (int way = 0; way < DOG_NODE_WAY_TOGETHER; way++) {
                float *to = f + DOG_NODE_LEVEL_MAX + 4 * way;
                node_gather(n, way, to);
                to[3] = isnan(to[1]) ? NAN : rank_take(&n->rank[way], to[1], fade);
                odd += isnan(to[3]) ? 0 : to[3];
        }
        f[DOG_NODE_TOGETHER] = log1pf(node_together(n, z));
        f[DOG_NODE_TOGETHER_RANK] =
                rank_take(&n->rank[DOG_NODE_WAY_TOGETHER], f[DOG_NODE_TOGETHER] * 2, fade);
        odd = (odd + f[DOG_NODE_TOGETHER_RANK]) / DOG_NODE_WAY_COUNT;
        node_limits(n);

        /* 2. How odd it is in all, and how that went. */
        n->odd_before = n->odd;
        n->odd = odd;
        f[DOG_NODE_ODD] = odd;
        for (int i = 0; i < DOG_NODE_MEMORIES; i++) {
                n->odd_mean[i] += (float)(1 - exp(-dt / node_tau_s[i])) * (odd - n->odd_mean[i]);
                f[DOG_NODE_ODD_10MIN + i] = n->odd_mean[i];
        }
        f[DOG_NODE_ODD_BEFORE] = odd - n->odd_before;
        int here = node_slot_index(node_slot_of(t_s));
        f[DOG_NODE_ODD_FOR_TIME] = odd - n->usual_odd[here];
        f[DOG_NODE_ODD_SINCE] = n->odd_s == INT64_MIN ? NAN : log1pf((float)(t_s - n->odd_s) / 60);
        if (odd > NODE_RARE)
                n->odd_s = t_s;
        node_day(n, t_s);
        node_ahead(n->slot_odd, t_s, f + DOG_NODE_ODD_AHEAD_5);
        node_ahead(n->usual_odd, t_s, f + DOG_NODE_USUAL_AHEAD_5);
        node_ahead(n->usual_rare, t_s, f + DOG_NODE_RARE_AHEAD_5);
        f[DOG_NODE_METRICS] = logf((float)n->metrics);
        return true;
}

const float *dog_node_features(const struct dog_node *n)
{
        return n->feature;
}

static float node_squash(float x)
{
        return 1 / (1 + expf(-x));
}

/*
 * Where health is a half, and how steep: over the recorded servers nine of ten steps outside incidents lie
 * above 0.8, and half of those inside under 0.7.
 */
#define NODE_ILL_AT    1.9F
#define NODE_ILL_WIDTH 0.25F
/* An alarm is a half where recorded servers come about once a day. */
#define NODE_ALARM_AT    1.65F
#define NODE_ALARM_WIDTH 0.3F
/* Outside incidents one step in a hundred is odder: 1.46 to 1.52 on the three kinds; one in a thousand 2.1
 * to 2.4. */
#define NODE_UNUSUAL_AT    1.5F
#define NODE_UNUSUAL_WIDTH 0.3F
enum { NODE_HISTORY = 100 };

float dog_node_health(const struct dog_node *n)
{
        const float *f = n->feature;
        if (n->count < NODE_HISTORY || isnan(f[DOG_NODE_YESTERDAY_MEAN]))
                return 1;
        float ill = f[DOG_NODE_ODD_1H] + f[DOG_NODE_ODD_6H] + f[DOG_NODE_YESTERDAY_MEAN];
        return 1 - node_squash((ill - NODE_ILL_AT) / NODE_ILL_WIDTH);
}

float dog_node_unusual(const struct dog_node *n)
{
        return n->count < NODE_HISTORY ? 0 : node_squash((n->odd - NODE_UNUSUAL_AT) / NODE_UNUSUAL_WIDTH);
}

float dog_node_alarm(const struct dog_node *n)
{
        const float *f = n->feature;
        if (n->count < NODE_HISTORY || isnan(f[DOG_NODE_ORDER_TOP]))
                return 0;
        float step = (f[DOG_NODE_ORDER_TOP] + f[DOG_NODE_RESIDUAL_TOP] + f[DOG_NODE_ORDER_MEAN]) / 3;
        return node_squash((step - NODE_ALARM_AT) / NODE_ALARM_WIDTH);
}

/* ---- one metric's way to its limit -------------------------------------------------------------- */

static float metric_highest(const struct dog_node_metric *m, const float *ring, int64_t from_slot,
                            int64_t to_slot)
{
        float most = NAN;
        for (int64_t s = from_slot; s <= to_slot; s++)
                if (s != m->slot)
                        most = fmaxf(most, ring[node_slot_index(s)]);
        return most;
}

static float log_minutes(int64_t now_s, int64_t then_s)
{
        return then_s == INT64_MIN ? NAN : log1pf((float)(now_s - then_s) / 60);
}

void dog_node_overload_features(const struct dog_node *n, unsigned metric, float *x)
{
        for (unsigned i = 0; i < DOG_NODE_OVERLOAD_COUNT; i++)
                x[i] = NAN;
        if (metric >= n->metrics || n->metric[metric].count == 0)
                return;
        const struct dog_node_metric *m = &n->metric[metric];
        float limit = dog_node_metric_limit_now(m), spread = dog_node_metric_spread(m);
        if (isnan(limit))
                return;
        int64_t now = n->t_s, slot = node_slot_of(now);
#define NEAR_LIMIT(v) (((float)(v)-limit) / spread)
        x[DOG_NODE_O_NEAR] = NEAR_LIMIT(m->value);
        x[DOG_NODE_O_NEAR_BEFORE] = NEAR_LIMIT(m->value_before);
        for (int i = 0; i < DOG_NODE_MEMORIES; i++)
                x[DOG_NODE_O_NEAR_10MIN + i] = NEAR_LIMIT(m->mean[i]);
        x[DOG_NODE_O_RISE_STEP] = (m->value - m->value_before) / spread;
        for (int i = 0; i < 3; i++)
                x[DOG_NODE_O_RISE_10MIN + i] = (float)(m->mean[i] - m->mean[i + 1]) / spread;
        x[DOG_NODE_O_NOISE_1H] = log1pf(sqrtf(m->var_1h) / spread);
        x[DOG_NODE_O_NOISE_6H] = log1pf((float)sqrt(m->var_6h) / spread);
        x[DOG_NODE_O_ROOM] = NEAR_LIMIT(dog_quantile_get(&m->middle));
        x[DOG_NODE_O_WIDTH] = log1pf((float)sqrt(m->var_long) / spread);

        float peak = m->filling_max;
        peak = fmaxf(peak, metric_highest(m, m->slot_max, slot - 3, slot - 1));
        x[DOG_NODE_O_PEAK_15MIN] = NEAR_LIMIT(peak);
        peak = fmaxf(peak, metric_highest(m, m->slot_max, slot - 12, slot - 4));
        x[DOG_NODE_O_PEAK_1H] = NEAR_LIMIT(peak);
        peak = fmaxf(peak, metric_highest(m, m->slot_max, slot - 72, slot - 13));
        x[DOG_NODE_O_PEAK_6H] = NEAR_LIMIT(peak);

        float yesterday = m->slot_mean[node_slot_index(slot + 1)];
        x[DOG_NODE_O_YESTERDAY_NOW] = NEAR_LIMIT(yesterday);
        x[DOG_NODE_O_AGAINST_YESTERDAY] = ((float)m->mean[DOG_NODE_10MIN] - yesterday) / spread;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                int64_t last = node_slot_of(now + dog_node_horizon_s[h]);
                x[DOG_NODE_O_YESTERDAY_5 + h] = NEAR_LIMIT(metric_highest(m, m->slot_max, slot + 1, last));
                x[DOG_NODE_O_USUAL_5 + h] = NEAR_LIMIT(metric_highest(m, m->usual_max, slot + 1, last));
                x[DOG_NODE_O_CROSS_5 + h] = metric_highest(m, m->usual_cross, slot + 1, last);
        }
        /* The slots of half an hour ago were yesterday's until then; only what is ahead is still of
         * yesterday. */
        x[DOG_NODE_O_YESTERDAY_AROUND] = NEAR_LIMIT(metric_highest(m, m->slot_max, slot + 1, slot + 18));

        x[DOG_NODE_O_SINCE_ABOVE] = log_minutes(now, m->above_s);
        x[DOG_NODE_O_SINCE_CROSSED] = log_minutes(now, m->crossed_s);
        x[DOG_NODE_O_ABOVE_1H] = m->above_1h;
        x[DOG_NODE_O_ABOVE_24H] = m->above_24h;
        x[DOG_NODE_O_ABOVE_LONG] = m->above_long;
        x[DOG_NODE_O_CROSSED_24H] = m->crossed_24h;
        x[DOG_NODE_O_CROSSED_LONG] = m->crossed_long;
        if (m->crossed_s != INT64_MIN)
                x[DOG_NODE_O_SINCE_EVEN] = (float)(now - m->crossed_s) / 3600 * m->crossed_long;
        x[DOG_NODE_O_ADAPTIVE] = log1pf(m->surprise.adaptive);
        x[DOG_NODE_O_ORDER] = log1pf(m->surprise.order);
        x[DOG_NODE_O_DRIFT_UP] = log1pf(m->up);
        x[DOG_NODE_O_DRIFT_DOWN] = log1pf(m->down);
        x[DOG_NODE_O_OTHERS_ABOVE] = n->above_share;
        x[DOG_NODE_O_OTHERS_NEAR] = n->near_mean;
        x[DOG_NODE_O_OTHERS_CROSSED] = n->crossed_share;
        x[DOG_NODE_O_OTHERS_YESTERDAY] = n->yesterday_share;
        x[DOG_NODE_O_NODE_ODD] = n->odd;
        x[DOG_NODE_O_NODE_ODD_1H] = n->odd_mean[DOG_NODE_1H];
        x[DOG_NODE_O_STEP] = logf(n->step_s);
        for (unsigned i = 0; i < DOG_NODE_OVERLOAD_COUNT; i++)
                if (isinf(x[i]))
                        x[i] = NAN;
#undef NEAR_LIMIT
}

/* ---- names -------------------------------------------------------------------------------------- */

const char *dog_node_feature_name(unsigned i)
{
        static const char *const name[] = {
#define X(id, text) #id,
                DOG_NODE_FEATURES(X)
#undef X
        };
        return i < DOG_NODE_FEATURE_COUNT ? name[i] : "?";
}

const char *dog_node_overload_name(unsigned i)
{
        static const char *const name[] = {
#define X(id, text) #id,
                DOG_NODE_OVERLOAD_FEATURES(X)
#undef X
        };
        return i < DOG_NODE_OVERLOAD_COUNT ? name[i] : "?";
}
