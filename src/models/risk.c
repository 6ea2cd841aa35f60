#include "models/risk.h"

#include "models/fastmath.h"
#include "models/risk_prior.inc"

#include <string.h>

static const float risk_feature_most = 4.0F;
static const float risk_margin_most = 2.5F;
static const float risk_pending_step = 1.0F / 31.0F;
/* Never so sure that one surprise would be infinitely surprising. */
static const float risk_log_odds_most = 9.0F;
/* Where the first seven pending predictions belong: one, two and four under way per horizon. */
static const uint8_t risk_pending_target[DOG_RISK_PENDING] = {
        DOG_RISK_H0, DOG_RISK_H1, DOG_RISK_H1, DOG_RISK_H2, DOG_RISK_H2, DOG_RISK_H2, DOG_RISK_H2};
static const uint8_t risk_pending_count[DOG_RISK_HORIZONS] = {1, 2, 4};
/* Lower edges of the bins of falls of margin. Bin 0 is "no fall". */
static const float risk_jump_edge[DOG_RISK_JUMPS] = {-8.0F, 0.02F, 0.05F, 0.1F, 0.17F, 0.27F,
                                                     0.4F,  0.57F, 0.8F,  1.1F, 1.5F,  2.0F};
static const float risk_jump_memory = 120.0F; /* falls that count */
static const float risk_since_most_s = 120.0F;

/* ---- small mathematics --------------------------------------------------------------------- */

static float risk_clamp(float x, float most)
{
        if (!(x > -most))
                return x == x ? -most : 0;
        return x < most ? x : most;
}

static float risk_sigmoid(float z)
{
        return 1.0F / (1.0F + dog_fast_exp(-z));
}

static float risk_logit(float p)
{
        return dog_fast_log(p / (1.0F - p));
}

static float risk_seconds(int64_t later_ns, int64_t earlier_ns)
{
        return (float)((double)((uint64_t)later_ns - (uint64_t)earlier_ns) * 1e-9);
}

float dog_margin_rtt(double rtt_ms, double limit_ms)
{
        if (!(rtt_ms >= 0) || !(limit_ms > 0))
                return NAN;
        return risk_clamp((float)-log((rtt_ms + 1e-6) / limit_ms), risk_margin_most);
}

float dog_margin_rate(double rate_kbps, double need_kbps)
{
        if (!(rate_kbps >= 0) || !(need_kbps > 0))
                return NAN;
        return risk_clamp((float)log10((rate_kbps + 50) / need_kbps), risk_margin_most);
}

float dog_margin_loss(double loss, double limit)
{
        if (!(loss >= 0 && loss <= 1) || !(limit >= 0 && limit < 1))
                return NAN;
        if (loss < limit)
                return (float)(1 - loss / limit);
        return (float)((double)DOG_MARGIN_LOST * loss);
}

float dog_margin_least(const float *margin, int count)
{
        float least = NAN;
        for (int i = 0; i < count; i++)
                if (!(margin[i] >= least) && margin[i] == margin[i])
                        least = margin[i];
        return least;
}

/* ---- the model ----------------------------------------------------------------------------- */

struct dog_risk_config dog_risk_config_default(void)
{
        return (struct dog_risk_config){
                .horizon_ns = {INT64_C(1000000000), INT64_C(5000000000), INT64_C(30000000000)},
                .learn_rate = 0.02F,
                .load_rate = 0.25F,
                .prior_pull = 1e-4F,
                .gap_s = 5.0F,
                .is_calibrating = true};
}

static const float risk_loaded_prior[DOG_RISK_LOADED] = {
#define X(id, words, prior) prior,
        DOG_RISK_LOADED_LIST(X)
#undef X
};

void dog_risk_model_init(struct dog_risk_model *m, const struct dog_risk_config *c)
{
        memset(m, 0, sizeof(*m));
        for (int t = 0; t < DOG_RISK_TARGETS; t++) {
                /* Between two horizons of the prior the weights go with the logarithm of time. */
                int low = 0;
                float share = 0;
                for (int i = 0; i < DOG_RISK_LOADED; i++) {
                        m->loaded[t][i] = risk_loaded_prior[i];
                        m->loaded_slope2[t][i] = 1.0F;
                }
                for (int i = 0; i < DOG_RADIO_HINTS; i++)
                        m->radio_slope2[t][i] = 1.0F;
                if (t < DOG_RISK_HORIZONS) {
                        float at = logf((float)((double)c->horizon_ns[t] * 1e-9));
                        low = DOG_RISK_H0;
                        while (low < DOG_RISK_H2 - 1 && at > logf(risk_prior_horizon_s[low + 1]))
                                low++;
                        float from = logf(risk_prior_horizon_s[low]);
                        share = (at - from) / (logf(risk_prior_horizon_s[low + 1]) - from);
                        share = share > 0 ? (share < 1 ? share : 1) : 0;
                } else
                        low = DOG_RISK_NEXT;
                for (int i = 0; i < DOG_RISK_FEATURES; i++) {
                        float a = risk_prior_weight[low][i];
                        float b = share > 0 ? risk_prior_weight[low + 1][i] : a;
                        m->prior[t][i] = m->weight[t][i] = a + share * (b - a);
                        m->slope2[t][i] = 1.0F;
                }
        }
}

static float risk_dot(const float *a, const float *b)
{
        /* Four sums in a fixed order: quick, and the same bits on every machine. */
        float sum[4] = {0, 0, 0, 0};
        int i = 0;
        for (; i + 4 <= DOG_RISK_FEATURES; i += 4)
                for (int k = 0; k < 4; k++)
                        sum[k] += a[i + k] * b[i + k];
        for (; i < DOG_RISK_FEATURES; i++)
                sum[0] += a[i] * b[i];
        return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* What only members with load need is out of the way of the others. */
__attribute__((cold, noinline)) static float risk_loaded_dot(const float *weight, const float *loaded)
{
        float sum = 0;
        for (int i = 0; i < DOG_RISK_LOADED; i++)
                sum += weight[i] * loaded[i];
        return sum;
}

__attribute__((cold, noinline)) static void risk_load_unpack(const int8_t *packed,
                                                             float loaded[DOG_RISK_LOADED])
{
        for (int i = 0; i < DOG_RISK_LOADED; i++)
                loaded[i] = (float)packed[i] * risk_pending_step;
}

__attribute__((cold, noinline)) static void risk_load_learn(struct dog_risk_model *m,
                                                            const struct dog_risk_config *c, int target,
                                                            const float loaded[DOG_RISK_LOADED], float error)
{
        for (int i = 0; i < DOG_RISK_LOADED; i++) {
                float slope = error * loaded[i];
                float *sum = &m->loaded_slope2[target][i];
                *sum += slope * slope;
                m->loaded[target][i] += c->load_rate * slope / sqrtf(*sum) +
                                        c->prior_pull * (risk_loaded_prior[i] - m->loaded[target][i]);
        }
}

/* The same for a radio's hints: their prior is 0. */
__attribute__((cold, noinline)) static float risk_radio_dot(const float *weight, const float *hint)
{
        float sum = 0;
        for (int i = 0; i < DOG_RADIO_HINTS; i++)
                sum += weight[i] * hint[i];
        return sum;
}

__attribute__((cold, noinline)) static void risk_radio_unpack(const int8_t *packed,
                                                              float hint[DOG_RADIO_HINTS])
{
        for (int i = 0; i < DOG_RADIO_HINTS; i++)
                hint[i] = (float)packed[i] * risk_pending_step;
}

__attribute__((cold, noinline)) static void risk_radio_learn(struct dog_risk_model *m,
                                                             const struct dog_risk_config *c, int target,
                                                             const float hint[DOG_RADIO_HINTS], float error)
{
        for (int i = 0; i < DOG_RADIO_HINTS; i++) {
                float slope = error * hint[i];
                float *sum = &m->radio_slope2[target][i];
                *sum += slope * slope;
                m->radio[target][i] +=
                        c->load_rate * slope / sqrtf(*sum) - c->prior_pull * m->radio[target][i];
        }
}

/* `packed_loaded` is NULL for a member that has never told its load, `packed_hint` without a radio. */
static void risk_learn(struct dog_risk_model *m, const struct dog_risk_config *c, int target,
                       const int8_t *packed, const int8_t *packed_loaded, const int8_t *packed_hint,
                       bool happened)
{
        float feature[DOG_RISK_FEATURES];
        m->outcomes[target] += m->outcomes[target] < UINT32_MAX;
        if (!(c->learn_rate > 0))
                return;
        for (int i = 0; i < DOG_RISK_FEATURES; i++)
                feature[i] = (float)packed[i] * risk_pending_step;
        float *weight = m->weight[target];
        float *slope2 = m->slope2[target];
        const float *prior = m->prior[target];
        float odds = risk_dot(weight, feature);
        float loaded[DOG_RISK_LOADED];
        if (packed_loaded) {
                risk_load_unpack(packed_loaded, loaded);
                odds += risk_loaded_dot(m->loaded[target], loaded);
        }
        float hint[DOG_RADIO_HINTS];
        if (packed_hint) {
                risk_radio_unpack(packed_hint, hint);
                odds += risk_radio_dot(m->radio[target], hint);
        }
        float z = risk_clamp(odds, risk_log_odds_most);
        float error = (happened ? 1.0F : 0.0F) - risk_sigmoid(z);
        for (int i = 0; i < DOG_RISK_FEATURES; i++) {
                float slope = error * feature[i];
                slope2[i] += slope * slope;
                weight[i] +=
                        c->learn_rate * slope / sqrtf(slope2[i]) + c->prior_pull * (prior[i] - weight[i]);
        }
        if (packed_loaded)
                risk_load_learn(m, c, target, loaded, error);
        if (packed_hint)
                risk_radio_learn(m, c, target, hint, error);
}

/* ---- one member: taking samples ------------------------------------------------------------ */

void dog_risk_init(struct dog_risk *r)
{
        memset(r, 0, sizeof(*r));
        r->first_ns = r->last_ns = r->bad_ns = r->run_ns = INT64_MIN;
        for (int h = 0; h < DOG_RISK_HORIZONS; h++)
                r->taken_ns[h] = INT64_MIN;
        for (int k = 0; k < DOG_RISK_JUMP_SPANS; k++)
                r->jump_ns[k] = INT64_MIN;
        for (int k = 0; k <= DOG_RISK_PENDING; k++)
                r->pending[k].t_ns = INT64_MIN;
        for (int t = 0; t < DOG_RISK_TARGETS; t++)
                dog_calib_init(&r->calib[t]);
}

static struct dog_risk_outcome risk_grade(struct dog_risk *r, struct dog_risk_model *m,
                                          const struct dog_risk_config *c, struct dog_risk_pending *q,
                                          int target)
{
        struct dog_risk_outcome out = {.t_ns = q->t_ns,
                                       .p = q->p,
                                       .p_persistence = q->was_bad ? 1.0F : 0.0F,
                                       .is_bad = q->is_bad,
                                       .target = (uint8_t)target};
        risk_learn(m, c, target, q->feature, r->loads.has_load ? r->pending_loaded[q - r->pending] : NULL,
                   r->radios.has_radio ? r->radios.pending[q - r->pending] : NULL, q->is_bad);
        if (c->is_calibrating)
                dog_calib_learn(&r->calib[target], (double)risk_sigmoid(q->raw), q->is_bad);
        q->t_ns = INT64_MIN;
        return out;
}

/* Which predictions does this sample belong to, and which has it made due? */
static int risk_settle(struct dog_risk *r, struct dog_risk_model *m, const struct dog_risk_config *c,
                       const struct dog_risk_sample *sample, bool is_gap, struct dog_risk_outcome *out)
{
        int count = 0;
        /* Clocks jitter: half a step after its end a sample still belongs to a horizon. */
        float slack_s = 0.5F * r->step_s;
        struct dog_risk_pending *next = &r->pending[DOG_RISK_PENDING];
        if (next->t_ns != INT64_MIN) {
                next->is_bad = sample->is_bad;
                if (!is_gap) {
                        struct dog_risk_outcome o = risk_grade(r, m, c, next, DOG_RISK_NEXT);
                        if (out)
                                out[count] = o;
                        count++;
                }
                next->t_ns = INT64_MIN;
        }
        for (int k = 0; k < DOG_RISK_PENDING; k++) {
                struct dog_risk_pending *q = &r->pending[k];
                int target = risk_pending_target[k];
                if (q->t_ns == INT64_MIN)
                        continue;
                float age_s = risk_seconds(sample->t_ns, q->t_ns);
                float horizon_s = risk_seconds(c->horizon_ns[target], 0);
                if (is_gap) {
                        q->t_ns = INT64_MIN; /* nobody knows what happened meanwhile */
                        continue;
                }
                if (age_s <= horizon_s + slack_s) {
                        q->seen = (uint16_t)(q->seen + (q->seen < UINT16_MAX));
                        q->is_bad |= sample->is_bad;
                }
                if (age_s < horizon_s - slack_s)
                        continue;
                float expected = r->step_s > 0 ? horizon_s / r->step_s : 1.0F;
                if (q->seen == 0 || (float)q->seen < 0.5F * expected) {
                        q->t_ns = INT64_MIN;
                        continue;
                }
                struct dog_risk_outcome o = risk_grade(r, m, c, q, target);
                if (out)
                        out[count] = o;
                count++;
        }
        return count;
}

static void risk_take_bad(struct dog_risk *r, bool is_bad, int64_t t_ns, float dt_s,
                          const float decay[DOG_RISK_SCALES])
{
        float value = is_bad ? 1.0F : 0.0F;
        for (int k = 0; k < DOG_RISK_SCALES; k++)
                r->bad[k] += (1.0F - decay[k]) * (value - r->bad[k]);
        r->runs *= decay[DOG_RISK_SCALES - 1];
        if (is_bad) {
                if (r->run == 0) {
                        r->run_ns = t_ns;
                        r->runs += 1.0F;
                }
                r->run += r->run < UINT32_MAX;
                r->bad_s += dt_s < 1.0F ? dt_s : 1.0F;
                r->bad_ns = t_ns;
        } else if (r->run) {
                r->last_run = r->run;
                r->run = 0;
        }
        r->is_bad = is_bad;
}

/* Falls of margin over a horizon, one after the other, into a fading histogram. */
static void risk_take_jump(struct dog_risk *r, const struct dog_risk_config *c, int k, float x, int64_t t_ns)
{
        if (r->jump_ns[k] != INT64_MIN) {
                r->jump_low[k] = x < r->jump_low[k] ? x : r->jump_low[k];
                if (risk_seconds(t_ns, r->jump_ns[k]) < risk_seconds(c->horizon_ns[k], 0) - 0.5F * r->step_s)
                        return;
                float fall = r->jump_from[k] - r->jump_low[k];
                int bin = 0;
                while (bin < DOG_RISK_JUMPS - 1 && fall >= risk_jump_edge[bin + 1])
                        bin++;
                for (int i = 0; i < DOG_RISK_JUMPS; i++)
                        r->jumps[k][i] *= 1.0F - 1.0F / risk_jump_memory;
                r->jumps[k][bin] += 1.0F;
        }
        r->jump_ns[k] = t_ns;
        r->jump_from[k] = x;
        r->jump_low[k] = INFINITY;
}

static void risk_take_margin(struct dog_risk *r, float x, const float decay[DOG_RISK_SCALES])
{
        float before = r->lag[r->at];
        float first = 1.0F / (float)r->count;
        float old_mean = r->margin[5];
        for (int k = 0; k < DOG_RISK_SCALES; k++) {
                float gain = 1.0F - decay[k];
                r->margin[k] += (gain > first ? gain : first) * (x - r->margin[k]);
        }
        if (r->count == 1) {
                r->lowest = r->lowest_long = x;
                before = x;
                for (int i = 0; i < DOG_RISK_LAGS; i++)
                        r->lag[i] = x;
        }
        float move = x - before;
        float fast = 1.0F - decay[2] > first ? 1.0F - decay[2] : first;
        float slow = 1.0F - decay[4] > first ? 1.0F - decay[4] : first;
        r->move2_4s += fast * (move * move - r->move2_4s);
        r->move2_16s += slow * (move * move - r->move2_16s);
        /* An AR(1) about the 32 s mean, with its own error: what the next margin may be. */
        float d = x - old_mean;
        float d_before = before - old_mean;
        float a = r->var > 1e-6F ? risk_clamp(r->cov / r->var, 1.0F) : 0;
        float residual = d - a * d_before;
        r->var += slow * (d_before * d_before - r->var);
        r->cov += slow * (d * d_before - r->cov);
        r->var_residual += slow * (residual * residual - r->var_residual);
        /* Minima that forget: they creep back to the mean. */
        r->lowest += (1.0F - decay[1]) * (r->margin[1] - r->lowest);
        r->lowest_long += (1.0F - decay[4]) * (r->margin[4] - r->lowest_long);
        r->lowest = x < r->lowest ? x : r->lowest;
        r->lowest_long = x < r->lowest_long ? x : r->lowest_long;
        /* Does it beat? At each distance: how much it differs from itself so many samples before. */
        float beat_gain = 1.0F - decay[1] > first ? 1.0F - decay[1] : first;
        for (unsigned k = 0; k < DOG_RISK_BEATS; k++) {
                float then = r->lag[(r->at - k) % DOG_RISK_LAGS];
                r->beat[k] += beat_gain * (fabsf(x - then) - r->beat[k]);
        }
        r->at = (uint8_t)((r->at + 1) % DOG_RISK_LAGS);
        r->lag[r->at] = x;
}

/* A mean that forgets half in so many seconds. */
static void risk_load_mean(float *mean, float value, float dt_s, float half_s)
{
        *mean += (1.0F - dog_fast_exp2(-dt_s / half_s)) * (value - *mean);
}

/* 0 up to `from`, 4 at 1. */
static float risk_load_high(float value, float from)
{
        float high = (value - from) / (1.0F - from);
        return high > 0 ? (high < 1 ? 4.0F * high : 4.0F) : 0;
}

__attribute__((cold, noinline)) static void risk_take_load(struct dog_risk_loads *l, const float *load,
                                                           int64_t t_ns)
{
        bool is_any = false;
        for (int i = 0; i < DOG_RISK_LOAD_SIGNALS; i++) {
                if (load[i] != load[i])
                        continue;
                l->value[i] = load[i] > 0 ? (load[i] < 1 ? load[i] : 1) : 0;
                is_any = true;
        }
        if (!is_any)
                return;
        float cpu = l->value[DOG_RISK_LOAD_CPU];
        float memory = l->value[DOG_RISK_LOAD_MEMORY];
        if (!l->has_load) {
                l->cpu_1s = l->cpu_8s = cpu;
                l->memory_4s = l->memory_32s = memory;
        } else {
                float dt_s = risk_seconds(t_ns, l->seen_ns);
                risk_load_mean(&l->cpu_1s, cpu, dt_s, 1);
                risk_load_mean(&l->cpu_8s, cpu, dt_s, 8);
                risk_load_mean(&l->full_4s, risk_load_high(cpu, 0.85F), dt_s, 4);
                risk_load_mean(&l->memory_4s, memory, dt_s, 4);
                risk_load_mean(&l->memory_32s, memory, dt_s, 32);
        }
        l->has_load = true;
        l->seen_ns = t_ns;
}

__attribute__((cold, noinline)) static void risk_take_radio(struct dog_risk_radios *o, const float *hint,
                                                            int64_t t_ns)
{
        for (int i = 0; i < DOG_RADIO_HINTS; i++)
                o->hint[i] = hint[i] > 0 ? (hint[i] < risk_feature_most ? hint[i] : risk_feature_most) : 0;
        o->has_radio = true;
        o->seen_ns = t_ns;
}

int dog_risk_observe(struct dog_risk *r, struct dog_risk_model *m, const struct dog_risk_config *c,
                     const struct dog_risk_sample *sample, struct dog_risk_outcome *out)
{
        float decay[DOG_RISK_SCALES];
        bool is_first = r->last_ns == INT64_MIN;
        if (!is_first && sample->t_ns <= r->last_ns)
                return 0;
        float dt_s = is_first ? 0 : risk_seconds(sample->t_ns, r->last_ns);
        bool is_gap = dt_s > c->gap_s && dt_s > 2.5F * r->step_s;
        /* 1. What was said about this time is graded before this time teaches anything. */
        int graded = risk_settle(r, m, c, sample, is_gap, out);
        /* 2. Learn to know the member. */
        r->count += r->count < UINT32_MAX;
        if (is_first)
                r->first_ns = sample->t_ns;
        else if (r->count == 2)
                r->step_s = dt_s;
        else
                r->step_s += 0.05F * ((dt_s < 2.0F * r->step_s ? dt_s : 2.0F * r->step_s) - r->step_s);
        decay[DOG_RISK_SCALES - 1] = dog_fast_exp2(-dt_s / 64.0F);
        for (int k = DOG_RISK_SCALES - 2; k >= 0; k--)
                decay[k] = decay[k + 1] * decay[k + 1];
        risk_take_bad(r, sample->is_bad, sample->t_ns, dt_s, decay);
        r->is_measured = sample->margin == sample->margin;
        if (is_gap)
                for (int k = 0; k < DOG_RISK_JUMP_SPANS; k++)
                        r->jump_ns[k] = INT64_MIN;
        float x = r->is_measured ? risk_clamp(sample->margin, risk_margin_most)
                                 : (r->count > 1 ? r->lag[r->at] : 0.5F);
        risk_take_margin(r, x, decay);
        for (int k = 0; k < DOG_RISK_JUMP_SPANS; k++)
                risk_take_jump(r, c, k, x, sample->t_ns);
        if (sample->load)
                risk_take_load(&r->loads, sample->load, sample->t_ns);
        if (sample->radio)
                risk_take_radio(&r->radios, sample->radio, sample->t_ns);
        r->last_ns = sample->t_ns;
        return graded;
}

/* ---- one member: features ------------------------------------------------------------------ */

/* Log-odds that the margin falls by x or more within the span, from the falls seen; a stranger's before. */
static float risk_jump_odds(const struct dog_risk *r, int k, float x)
{
        float above = 0;
        float all = 0;
        for (int i = 0; i < DOG_RISK_JUMPS; i++) {
                float top = i < DOG_RISK_JUMPS - 1 ? risk_jump_edge[i + 1] : 4.0F;
                float bottom = i ? risk_jump_edge[i] : 0;
                float share = (top - x) / (top - bottom);
                share = share > 0 ? (share < 1 ? share : 1) : 0;
                above += share * r->jumps[k][i];
                all += r->jumps[k][i];
        }
        float stranger = x > 0 ? 0.3F * dog_fast_exp(-x * 3.0F) : 0.5F;
        return risk_logit((above + 2.0F * stranger + 0.001F) / (all + 2.002F));
}

static void risk_beat_features(const struct dog_risk *r, float f[DOG_RISK_FEATURES])
{
        float sum = 1e-6F;
        float chance = 0;
        float least = INFINITY;
        for (unsigned k = 1; k < DOG_RISK_BEATS; k++) {
                /* If it repeats after k + 1 samples, the next one is like the one k samples back. */
                float then = r->lag[(r->at - k) % DOG_RISK_LAGS];
                float weight = dog_fast_exp(-r->beat[k] * (1.0F / 0.06F));
                sum += weight;
                chance += weight * risk_sigmoid(-then * (1.0F / 0.08F));
                least = r->beat[k] < least ? r->beat[k] : least;
        }
        f[DOG_RISK_F_BEAT] = 2.0F * chance / sum;
        f[DOG_RISK_F_BEAT_DOUBT] = least * 3.0F;
}

static void risk_bad_features(const struct dog_risk *r, int64_t now_ns, float f[DOG_RISK_FEATURES])
{
        float since_s = r->bad_ns == INT64_MIN ? risk_since_most_s : risk_seconds(now_ns, r->bad_ns);
        float age_s = risk_seconds(now_ns, r->first_ns);
        since_s = since_s < risk_since_most_s ? since_s : risk_since_most_s;
        f[DOG_RISK_F_BAD_NOW] = r->is_bad ? 1 : 0;
        f[DOG_RISK_F_BAD_1S] = 2.0F * r->bad[0];
        f[DOG_RISK_F_BAD_4S] = 2.0F * r->bad[2];
        f[DOG_RISK_F_BAD_16S] = 2.0F * r->bad[4];
        f[DOG_RISK_F_BAD_64S] = 2.0F * r->bad[6];
        f[DOG_RISK_F_LOG_BAD_2S] = 0.7F * dog_fast_log(1.0F + 50.0F * r->bad[1]);
        f[DOG_RISK_F_LOG_BAD_8S] = 0.7F * dog_fast_log(1.0F + 100.0F * r->bad[3]);
        f[DOG_RISK_F_LOG_BAD_32S] = 0.7F * dog_fast_log(1.0F + 200.0F * r->bad[5]);
        f[DOG_RISK_F_LOG_BAD_EVER] = 0.7F * (risk_logit((r->bad_s + 1.0F) / (age_s + 22.0F)) + 3.0F);
        f[DOG_RISK_F_SINCE] = 0.8F * dog_fast_log(1.0F + since_s);
        f[DOG_RISK_F_SINCE_1S] = 2.0F * dog_fast_exp(-since_s);
        f[DOG_RISK_F_SINCE_5S] = 2.0F * dog_fast_exp(-0.2F * since_s);
        f[DOG_RISK_F_RUN] = dog_fast_log(1.0F + (float)r->run);
        f[DOG_RISK_F_LAST_RUN] = dog_fast_log(1.0F + (float)r->last_run);
        f[DOG_RISK_F_RUNS] = dog_fast_log(1.0F + r->runs);
}

static void risk_margin_features(const struct dog_risk *r, const struct dog_risk_config *c,
                                 float f[DOG_RISK_FEATURES])
{
        float x = r->lag[r->at];
        float before = r->lag[(r->at - 1U) % DOG_RISK_LAGS];
        float before2 = r->lag[(r->at - 2U) % DOG_RISK_LAGS];
        float rms = sqrtf(r->move2_16s);
        float a = r->var > 1e-6F ? risk_clamp(r->cov / r->var, 1.0F) : 0;
        float mean = r->margin[5];
        float z = (mean + a * (x - mean)) / (sqrtf(r->var_residual) + 0.02F);
        (void)c;
        f[DOG_RISK_F_MARGIN] = 1.5F * x;
        f[DOG_RISK_F_MARGIN_LOW] = 10.0F * (x < 0.2F ? 0.2F - (x > 0 ? x : 0) : 0);
        f[DOG_RISK_F_MARGIN_MID] = 4.0F * (x < 0.6F ? 0.6F - (x > 0 ? x : 0) : 0);
        f[DOG_RISK_F_MARGIN_1S] = 1.5F * r->margin[0];
        f[DOG_RISK_F_MARGIN_4S] = 1.5F * r->margin[2];
        f[DOG_RISK_F_MARGIN_16S] = 1.5F * r->margin[4];
        f[DOG_RISK_F_MARGIN_64S] = 1.5F * r->margin[6];
        f[DOG_RISK_F_FALL_1_4] = 4.0F * (r->margin[0] - r->margin[2]);
        f[DOG_RISK_F_FALL_2_16] = 3.0F * (r->margin[1] - r->margin[4]);
        f[DOG_RISK_F_FALL_8_64] = 3.0F * (r->margin[3] - r->margin[6]);
        f[DOG_RISK_F_STEP] = 3.0F * (x - before);
        f[DOG_RISK_F_STEP_BEFORE] = 3.0F * (before - before2);
        f[DOG_RISK_F_LOWEST] = 1.5F * r->lowest;
        f[DOG_RISK_F_LOWEST_LONG] = 1.5F * r->lowest_long;
        f[DOG_RISK_F_LOWEST_LOW] =
                4.0F * (r->lowest_long < 0.4F ? 0.4F - (r->lowest_long > 0 ? r->lowest_long : 0) : 0);
        f[DOG_RISK_F_RESTLESS_4S] = dog_fast_log(sqrtf(r->move2_4s) + 0.02F) + 2.0F;
        f[DOG_RISK_F_RESTLESS_16S] = dog_fast_log(rms + 0.02F) + 2.0F;
        f[DOG_RISK_F_SPREAD] = dog_fast_log(sqrtf(r->var) + 0.02F) + 2.0F;
        f[DOG_RISK_F_NEXT_Z] = 0.5F * z;
        f[DOG_RISK_F_NEXT_Z_LOW] = 4.0F * risk_sigmoid(-1.7F * z);
        f[DOG_RISK_F_STEP_Z] = 0.5F * x / (rms + 0.02F);
        f[DOG_RISK_F_JUMP_SHORT] = 0.7F * (risk_jump_odds(r, 0, x) + 2.0F);
        f[DOG_RISK_F_JUMP_LONG] = 0.7F * (risk_jump_odds(r, 1, x) + 2.0F);
        f[DOG_RISK_F_UNMEASURED] = r->is_measured ? 0 : 1;
        f[DOG_RISK_F_CADENCE] = dog_fast_log(r->step_s + 0.01F);
}

void dog_risk_peers_add(struct dog_risk_peers *peers, const struct dog_risk *r)
{
        if (r->count == 0)
                return;
        float margin = r->margin[2];
        if (peers->count == 0)
                peers->best = peers->second = -risk_margin_most;
        peers->count++;
        peers->bad_1s += r->bad[0];
        peers->bad_16s += r->bad[4];
        peers->margin += margin;
        if (margin > peers->best) {
                peers->second = peers->best;
                peers->best = margin;
        } else if (margin > peers->second)
                peers->second = margin;
}

static void risk_peer_features(const struct dog_risk *r, const struct dog_risk_peers *peers,
                               float f[DOG_RISK_FEATURES])
{
        f[DOG_RISK_F_PEERS] = f[DOG_RISK_F_PEERS_BAD_1S] = f[DOG_RISK_F_PEERS_BAD_16S] = 0;
        f[DOG_RISK_F_PEERS_MARGIN] = f[DOG_RISK_F_PEERS_BEHIND] = 0;
        if (!peers || peers->count < 2)
                return;
        float others = (float)(peers->count - 1);
        float own = r->margin[2];
        float best = own >= peers->best ? peers->second : peers->best;
        f[DOG_RISK_F_PEERS] = 1;
        f[DOG_RISK_F_PEERS_BAD_1S] = 2.0F * (peers->bad_1s - r->bad[0]) / others;
        f[DOG_RISK_F_PEERS_BAD_16S] = 2.0F * (peers->bad_16s - r->bad[4]) / others;
        f[DOG_RISK_F_PEERS_MARGIN] = 1.5F * (peers->margin - own) / others;
        f[DOG_RISK_F_PEERS_BEHIND] = 1.5F * (best - own);
}

/* Load that is no longer told says nothing. */
__attribute__((cold, noinline)) static bool risk_load_features(const struct dog_risk *r,
                                                               const struct dog_risk_config *c,
                                                               int64_t now_ns, float f[DOG_RISK_LOADED])
{
        const struct dog_risk_loads *l = &r->loads;
        if (!l->has_load || (now_ns > l->seen_ns && risk_seconds(now_ns, l->seen_ns) > c->gap_s))
                return false;
        float cpu = l->value[DOG_RISK_LOAD_CPU];
        float memory = l->value[DOG_RISK_LOAD_MEMORY];
        f[DOG_RISK_L_CPU_HIGH] = risk_load_high(cpu, 0.6F);
        f[DOG_RISK_L_CPU_FULL] = risk_load_high(cpu, 0.85F);
        f[DOG_RISK_L_CPU_LONG] = l->full_4s;
        f[DOG_RISK_L_CPU_AHEAD] = risk_load_high(cpu + l->cpu_1s - l->cpu_8s, 0.85F);
        f[DOG_RISK_L_MEMORY_FULL] = risk_load_high(memory, 0.85F);
        f[DOG_RISK_L_MEMORY_AHEAD] = risk_load_high(memory + 2 * (l->memory_4s - l->memory_32s), 0.85F);
        f[DOG_RISK_L_PRESSURE] = 4.0F * l->value[DOG_RISK_LOAD_PRESSURE];
        /* One in a hundred is little, one in ten is much: 0.6 and 2.1 of 4. */
        f[DOG_RISK_L_RETRANS] = 0.867F * dog_fast_log(1.0F + 100.0F * l->value[DOG_RISK_LOAD_RETRANS]);
        f[DOG_RISK_L_QUEUE] = 4.0F * l->value[DOG_RISK_LOAD_QUEUE];
        f[DOG_RISK_L_ERRORS] = 4.0F * sqrtf(l->value[DOG_RISK_LOAD_ERRORS]);
        for (int i = 0; i < DOG_RISK_LOADED; i++)
                f[i] = risk_clamp(f[i], risk_feature_most);
        return true;
}

/* As of the newest sample, and of no older one: each sample with a radio behind it carries its hints. */
__attribute__((cold, noinline)) static bool risk_radio_hints(const struct dog_risk *r,
                                                             float hint[DOG_RADIO_HINTS])
{
        if (r->radios.seen_ns != r->last_ns)
                return false;
        memcpy(hint, r->radios.hint, sizeof(r->radios.hint));
        return true;
}

/* ---- believing ----------------------------------------------------------------------------- */

void dog_risk_predict(const struct dog_risk *r, const struct dog_risk_model *m,
                      const struct dog_risk_config *c, const struct dog_risk_peers *peers, int64_t now_ns,
                      struct dog_risk_belief *out)
{
        float *f = out->feature;
        out->t_ns = now_ns;
        out->has_load = r->loads.has_load && risk_load_features(r, c, now_ns, out->loaded);
        out->has_radio = r->radios.has_radio && risk_radio_hints(r, out->hint);
        if (r->count == 0) {
                memcpy(f, risk_prior_mean, sizeof(out->feature));
        } else {
                int64_t at_ns = now_ns > r->last_ns ? now_ns : r->last_ns;
                f[DOG_RISK_F_ONE] = 1;
                risk_bad_features(r, at_ns, f);
                risk_margin_features(r, c, f);
                risk_beat_features(r, f);
                risk_peer_features(r, peers, f);
                for (int i = 0; i < DOG_RISK_FEATURES; i++)
                        f[i] = risk_clamp(f[i], risk_feature_most);
        }
        for (int t = 0; t < DOG_RISK_TARGETS; t++) {
                float odds = risk_dot(m->weight[t], f);
                if (out->has_load)
                        odds += risk_loaded_dot(m->loaded[t], out->loaded);
                if (out->has_radio)
                        odds += risk_radio_dot(m->radio[t], out->hint);
                out->raw[t] = risk_clamp(odds, risk_log_odds_most);
                double p = (double)risk_sigmoid(out->raw[t]);
                out->p[t] = (float)(c->is_calibrating ? dog_calib_apply(&r->calib[t], p) : p);
        }
}

__attribute__((cold, noinline)) static void risk_keep_load(struct dog_risk *r,
                                                           const struct dog_risk_belief *belief, int slot)
{
        for (int i = 0; i < DOG_RISK_LOADED; i++)
                r->pending_loaded[slot][i] =
                        belief->has_load ? (int8_t)rintf(belief->loaded[i] / risk_pending_step) : 0;
}

__attribute__((cold, noinline)) static void risk_keep_radio(struct dog_risk *r,
                                                            const struct dog_risk_belief *belief, int slot)
{
        for (int i = 0; i < DOG_RADIO_HINTS; i++)
                r->radios.pending[slot][i] =
                        belief->has_radio ? (int8_t)rintf(belief->hint[i] / risk_pending_step) : 0;
}

static void risk_keep(struct dog_risk *r, const struct dog_risk_belief *belief, int slot, int target)
{
        struct dog_risk_pending *q = &r->pending[slot];
        q->t_ns = belief->t_ns;
        q->raw = belief->raw[target];
        q->p = belief->p[target];
        q->seen = 0;
        q->was_bad = r->is_bad;
        q->is_bad = false;
        for (int i = 0; i < DOG_RISK_FEATURES; i++)
                q->feature[i] =
                        (int8_t)((int)(belief->feature[i] * (1.0F / risk_pending_step) + 128.5F) - 128);
        if (r->loads.has_load)
                risk_keep_load(r, belief, slot);
        if (r->radios.has_radio)
                risk_keep_radio(r, belief, slot);
}

void dog_risk_step(struct dog_risk *r, const struct dog_risk_model *m, const struct dog_risk_config *c,
                   const struct dog_risk_peers *peers, int64_t now_ns, struct dog_risk_belief *out)
{
        dog_risk_predict(r, m, c, peers, now_ns, out);
        if (r->count == 0)
                return;
        risk_keep(r, out, DOG_RISK_PENDING, DOG_RISK_NEXT);
        /*
         * One vector per horizon and slot is kept, at even distances: not "as soon as one is free",
         * because bad outcomes are known sooner and would be counted too often.
         */
        for (int k = 0; k < DOG_RISK_PENDING; k++) {
                int h = risk_pending_target[k];
                float apart_s = risk_seconds(c->horizon_ns[h], 0) / (float)risk_pending_count[h];
                if (r->pending[k].t_ns != INT64_MIN ||
                    (r->taken_ns[h] != INT64_MIN &&
                     (now_ns <= r->taken_ns[h] ||
                      risk_seconds(now_ns, r->taken_ns[h]) < apart_s - 0.5F * r->step_s)))
                        continue;
                risk_keep(r, out, k, h);
                r->taken_ns[h] = now_ns;
        }
}

/* ---- explaining ---------------------------------------------------------------------------- */

const char *dog_risk_feature_name(int i)
{
        static const char *const name[DOG_RISK_FEATURES] = {
#define X(id, group, words) words,
                DOG_RISK_FEATURE_LIST(X)
#undef X
        };
        return i >= 0 && i < DOG_RISK_FEATURES ? name[i] : "unknown";
}

const char *dog_risk_group_name(int g)
{
        static const char *const name[DOG_RISK_GROUPS] = {
#define X(id, words) words,
                DOG_RISK_GROUP_LIST(X)
#undef X
        };
        return g >= 0 && g < DOG_RISK_GROUPS ? name[g] : "unknown";
}

/* Into the list of the largest so far, which holds `count`; returns how many it holds then. */
static int drivers_take(struct dog_driver *out, int count, int most, int group, float log_odds)
{
        int at = count;
        while (at > 0 && fabsf(out[at - 1].log_odds) < fabsf(log_odds))
                at--;
        if (at >= most)
                return count;
        int last = count < most ? count : most - 1;
        for (int i = last; i > at; i--)
                out[i] = out[i - 1];
        out[at] = (struct dog_driver){
                .name = dog_risk_group_name(group), .group = (uint8_t)group, .log_odds = log_odds};
        return last + 1;
}

int dog_risk_drivers(const struct dog_risk_model *m, const struct dog_risk_belief *belief,
                     enum dog_risk_target target, struct dog_driver *out, int most)
{
        static const uint8_t group[DOG_RISK_FEATURES] = {
#define X(id, g, words) DOG_RISK_G_##g,
                DOG_RISK_FEATURE_LIST(X)
#undef X
        };
        float sum[DOG_RISK_GROUPS] = {0};
        int count = 0;
        if ((unsigned)target >= DOG_RISK_TARGETS || most <= 0)
                return 0;
        for (int i = 0; i < DOG_RISK_FEATURES; i++)
                sum[group[i]] += m->weight[target][i] * (belief->feature[i] - risk_prior_mean[i]);
        for (int g = 0; g < DOG_RISK_G_LOAD; g++)
                count = drivers_take(out, count, most, g, sum[g]);
        if (belief->has_load)
                count = drivers_take(out, count, most, DOG_RISK_G_LOAD,
                                     risk_loaded_dot(m->loaded[target], belief->loaded));
        if (belief->has_radio)
                count = drivers_take(out, count, most, DOG_RISK_G_RADIO,
                                     risk_radio_dot(m->radio[target], belief->hint));
        return count;
}

/* ---- two at once --------------------------------------------------------------------------- */

double dog_risk_joint(double a, double b, double rho)
{
        a = a > 0 ? (a < 1 ? a : 1) : 0;
        b = b > 0 ? (b < 1 ? b : 1) : 0;
        rho = rho > -1 ? (rho < 1 ? rho : 1) : -1;
        double joint = a * b + rho * sqrt(a * (1 - a) * b * (1 - b));
        double least = a + b > 1 ? a + b - 1 : 0;
        double most = a < b ? a : b;
        return joint < least ? least : (joint > most ? most : joint);
}

/* What is assumed before evidence, and how much evidence that is worth, in units of sum sqrt(pq pq). */
static const float risk_pair_start = 0.05F;
static const float risk_pair_doubt = 2.0F;
static const float risk_pair_memory = 2000.0F;

void dog_risk_pair_init(struct dog_risk_pair *pair)
{
        *pair = (struct dog_risk_pair){.weight = 0};
}

void dog_risk_pair_learn(struct dog_risk_pair *pair, double p_a, bool was_a_bad, double p_b, bool was_b_bad)
{
        if (!(p_a >= 0 && p_a <= 1) || !(p_b >= 0 && p_b <= 1))
                return;
        float keep = pair->weight >= risk_pair_memory ? 1.0F - 1.0F / risk_pair_memory : 1.0F;
        float a = (was_a_bad ? 1.0F : 0.0F) - (float)p_a;
        float b = (was_b_bad ? 1.0F : 0.0F) - (float)p_b;
        pair->product = pair->product * keep + a * b;
        pair->square_a = pair->square_a * keep + a * a;
        pair->square_b = pair->square_b * keep + b * b;
        pair->weight = pair->weight * keep + 1.0F;
}

double dog_risk_pair_rho(const struct dog_risk_pair *pair)
{
        float rho = (pair->product + risk_pair_doubt * risk_pair_start) /
                    (sqrtf(pair->square_a * pair->square_b) + risk_pair_doubt);
        return (double)risk_clamp(rho, 1.0F);
}
