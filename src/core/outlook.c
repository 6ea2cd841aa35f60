#include "core/outlook.h"

#include "base/clock.h"
#include "models/score.h"

#include <string.h>

_Static_assert(DOG_HORIZONS == (int)DOG_SERIES_HORIZONS && DOG_HORIZONS == (int)DOG_RISK_HORIZONS,
               "core and models look equally far");

static struct dog_series_config series_config(enum dog_series_signal signal, const struct dog_policy *policy)
{
        struct dog_series_config c = dog_series_config_of(signal);
        memcpy(c.horizon_ns, policy->horizon_ns, sizeof(c.horizon_ns));
        return c;
}

/* The configurations depend on the horizons only; policies seldom differ, so the last one is kept. */
struct series_configs {
        int64_t horizon_ns[DOG_HORIZONS];
        struct dog_series_config rtt, jitter, loss, rate;
};

static const struct series_configs *configs_for(const struct dog_policy *policy)
{
        static _Thread_local struct series_configs kept;
        if (memcmp(kept.horizon_ns, policy->horizon_ns, sizeof(kept.horizon_ns)) != 0) {
                memcpy(kept.horizon_ns, policy->horizon_ns, sizeof(kept.horizon_ns));
                kept.rtt = series_config(DOG_SERIES_OF_LATENCY, policy);
                kept.jitter = series_config(DOG_SERIES_OF_JITTER, policy);
                kept.loss = series_config(DOG_SERIES_OF_LOSS, policy);
                kept.rate = series_config(DOG_SERIES_OF_RATE, policy);
        }
        return &kept;
}

void dog_insight_init(struct dog_insight *shared, const struct dog_policy *policy)
{
        shared->config = dog_risk_config_default();
        memcpy(shared->config.horizon_ns, policy->horizon_ns, sizeof(shared->config.horizon_ns));
        dog_risk_model_init(&shared->model, &shared->config);
        dog_risk_pair_init(&shared->pair);
        dog_reliability_init(&shared->reliability);
}

void dog_outlook_init(struct dog_outlook *o, const struct dog_policy *policy)
{
        const struct series_configs *c = configs_for(policy);
        memset(o, 0, sizeof(*o));
        o->newest = dog_sample_at(INT64_MIN);
        o->verdict.margin = (double)NAN;
        o->jitter_ms = NAN;
        o->rtt_before_ms = NAN;
        dog_window_init(&o->median, 60 * DOG_S);
        dog_series_init(&o->rtt, &c->rtt);
        dog_series_init(&o->jitter, &c->jitter);
        dog_series_init(&o->loss, &c->loss);
        dog_series_init(&o->rate, &c->rate);
        dog_risk_init(&o->risk);
        dog_brier_init(&o->brier);
}

/* RFC 3550, 6.4.1: J += (|D| - J) / 16. */
static void outlook_jitter(struct dog_outlook *o, struct dog_sample *s)
{
        double rtt = s->value[DOG_SIGNAL_RTT];
        if (isnan(rtt))
                return;
        if (!isnan(o->rtt_before_ms)) {
                float d = fabsf((float)rtt - o->rtt_before_ms);
                o->jitter_ms = isnan(o->jitter_ms) ? d : o->jitter_ms + (d - o->jitter_ms) / 16;
        }
        o->rtt_before_ms = (float)rtt;
        if (isnan(s->value[DOG_SIGNAL_JITTER]))
                s->value[DOG_SIGNAL_JITTER] = (double)o->jitter_ms;
}

/* Mean of the rates of the last second, the newest included; NaN when this sample has none. */
static double outlook_rate(struct dog_outlook *o, const struct dog_sample *s)
{
        double rate = s->value[DOG_SIGNAL_RATE];
        if (isnan(rate))
                return (double)NAN;
        o->rate_ns[o->rate_at] = s->at_ns;
        o->rate_kbps[o->rate_at] = (float)rate;
        o->rate_at = (uint8_t)((o->rate_at + 1) % DOG_RATE_RING);
        if (o->rates < DOG_RATE_RING)
                o->rates++;
        double sum = 0;
        int count = 0;
        for (int i = 0; i < o->rates; i++) {
                if (s->at_ns - o->rate_ns[i] < DOG_S) {
                        sum += (double)o->rate_kbps[i];
                        count++;
                }
        }
        return sum / count;
}

/* What the member told of its load; NULL when nothing: then it costs nothing. */
static const float *outlook_load(const struct dog_sample *s, float to[DOG_RISK_LOAD_SIGNALS])
{
        static const enum dog_signal signal[DOG_RISK_LOAD_SIGNALS] = {
#define X(id) [DOG_RISK_LOAD_##id] = DOG_SIGNAL_##id,
                DOG_RISK_LOAD_LIST(X)
#undef X
        };
        int first = 0;
        while (first < DOG_RISK_LOAD_SIGNALS && isnan(s->value[signal[first]]))
                first++;
        if (first == DOG_RISK_LOAD_SIGNALS)
                return NULL;
        for (int i = 0; i < DOG_RISK_LOAD_SIGNALS; i++)
                to[i] = (float)s->value[signal[i]];
        return to;
}

void dog_outlook_radio(struct dog_outlook *o, const float *in, int64_t at_ns)
{
        o->radio_ns = in ? at_ns : 0;
        if (in)
                memcpy(o->radio, in, sizeof(o->radio));
}

/* What the radio hints at, at the time of this sample; NULL when it is silent, or there is none. */
static const float *outlook_hints(const struct dog_outlook *o, int64_t at_ns, float to[DOG_RADIO_HINTS])
{
        if (!o->radio_ns || o->radio_ns != at_ns)
                return NULL;
        dog_radio_hints(o->radio, to);
        return to;
}

static enum dog_outlook_news outlook_grade(struct dog_outlook *o, struct dog_insight *shared,
                                           const struct dog_risk_outcome *out, int outcomes)
{
        enum dog_outlook_news news = DOG_OUTLOOK_TAKEN;
        for (int i = 0; i < outcomes; i++) {
                if (out[i].target != DOG_RISK_H0)
                        continue;
                o->said_near = out[i].p;
                o->was_bad = out[i].is_bad;
                o->is_judged = true;
                dog_reliability_learn(&shared->reliability, (double)out[i].p, out[i].is_bad);
                switch (dog_brier_learn(&o->brier, (double)out[i].p, (double)out[i].p_persistence,
                                        out[i].is_bad)) {
                case DOG_BRIER_DISARMED:
                        news = DOG_OUTLOOK_DISARMED;
                        break;
                case DOG_BRIER_REARMED:
                        news = DOG_OUTLOOK_REARMED;
                        break;
                case DOG_BRIER_SAME:
                        break;
                }
        }
        return news;
}

enum dog_outlook_news dog_outlook_observe(struct dog_outlook *o, struct dog_insight *shared,
                                          const struct dog_promise *promise, const struct dog_policy *policy,
                                          const struct dog_sample *s)
{
        if (o->has_sample && s->at_ns <= o->newest.at_ns)
                return DOG_OUTLOOK_LATE;
        o->newest = *s;
        struct dog_sample *now = &o->newest;
        outlook_jitter(o, now);
        double rate_1s_kbps = outlook_rate(o, now);
        /* The limit comes from the minute before this sample: a spike does not raise its own limit. */
        double median_ms =
                promise->rtt_factor > 0 ? dog_window_median(&o->median, now->at_ns, 5) : (double)NAN;
        o->verdict = dog_promise_judge(promise, now, median_ms, rate_1s_kbps);
        if (promise->rtt_factor > 0)
                dog_window_learn(&o->median, now->value[DOG_SIGNAL_RTT], now->at_ns);

        const struct series_configs *c = configs_for(policy);
        dog_series_update(&o->rtt, &c->rtt, now->value[DOG_SIGNAL_RTT], now->at_ns);
        dog_series_update(&o->jitter, &c->jitter, now->value[DOG_SIGNAL_JITTER], now->at_ns);
        dog_series_update(&o->loss, &c->loss, now->value[DOG_SIGNAL_LOSS], now->at_ns);
        if (!isnan(now->value[DOG_SIGNAL_RATE]))
                dog_series_update(&o->rate, &c->rate, now->value[DOG_SIGNAL_RATE], now->at_ns);

        float load[DOG_RISK_LOAD_SIGNALS];
        float hint[DOG_RADIO_HINTS];
        struct dog_risk_sample risk = {.t_ns = now->at_ns,
                                       .margin = (float)o->verdict.margin,
                                       .is_bad = o->verdict.is_bad,
                                       .load = outlook_load(now, load),
                                       .radio = outlook_hints(o, now->at_ns, hint)};
        struct dog_risk_outcome out[DOG_RISK_PENDING + 1];
        int outcomes = dog_risk_observe(&o->risk, &shared->model, &shared->config, &risk, out);
        o->has_sample = true;
        o->is_fresh = true;
        return outlook_grade(o, shared, out, outcomes);
}

static void belief_expect(struct dog_expect to[DOG_HORIZONS], const struct dog_series *s,
                          const struct dog_series_config *c, int64_t now_ns)
{
        struct dog_forecast f[DOG_SERIES_HORIZONS];
        dog_series_forecast(s, c, now_ns, f);
        for (int h = 0; h < DOG_HORIZONS; h++)
                to[h] = (struct dog_expect){.mean = f[h].mean, .spread = f[h].spread};
}

/* The score people see: the promise's limits and weights, live values blended with the near forecast. */
static float belief_score(const struct dog_outlook *o, const struct dog_belief *b,
                          const struct dog_promise *promise, const struct dog_expect *rate)
{
        struct dog_score_promise p = dog_score_promise_default();
        struct dog_score_input in;
        const struct {
                enum dog_metric metric;
                enum dog_signal signal;
                double limit;
                struct dog_expect expect;
        } row[] = {
                {DOG_METRIC_LATENCY, DOG_SIGNAL_RTT, promise->rtt_ms, b->rtt_ms[0]},
                {DOG_METRIC_JITTER, DOG_SIGNAL_JITTER, promise->jitter_ms, b->jitter_ms[0]},
                {DOG_METRIC_LOSS, DOG_SIGNAL_LOSS, promise->loss_ratio, b->loss[0]},
                {DOG_METRIC_RATE, DOG_SIGNAL_RATE, promise->rate_kbps, *rate},
                /* No series of its own: the chance says what is ahead. */
                {DOG_METRIC_RESPONSE, DOG_SIGNAL_RESPONSE, promise->response_ms, {NAN, NAN}},
        };
        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
                p.limit[row[i].metric] = row[i].limit;
                p.weight[row[i].metric] = promise->weight[row[i].signal];
                in.live[row[i].metric] = o->newest.value[row[i].signal];
                in.mean[row[i].metric] = (double)row[i].expect.mean;
                in.spread[row[i].metric] = (double)row[i].expect.spread;
        }
        return (float)dog_score_of(&p, &in).quality;
}

struct dog_belief dog_outlook_believe(struct dog_outlook *o, const struct dog_insight *shared,
                                      const struct dog_promise *promise, const struct dog_policy *policy,
                                      const struct dog_risk_peers *peers, int64_t now_ns)
{
        const struct series_configs *c = configs_for(policy);
        struct dog_belief b = {.made_ns = now_ns, .is_bad = o->verdict.is_bad};
        struct dog_expect rate[DOG_HORIZONS];
        belief_expect(b.rtt_ms, &o->rtt, &c->rtt, now_ns);
        belief_expect(b.jitter_ms, &o->jitter, &c->jitter, now_ns);
        belief_expect(b.loss, &o->loss, &c->loss, now_ns);
        belief_expect(rate, &o->rate, &c->rate, now_ns);

        /* A prediction is graded only if it was made right after a sample; others are looks. */
        struct dog_risk_belief risk;
        if (o->is_fresh)
                dog_risk_step(&o->risk, &shared->model, &shared->config, peers, now_ns, &risk);
        else
                dog_risk_predict(&o->risk, &shared->model, &shared->config, peers, now_ns, &risk);
        o->is_fresh = false;

        b.is_armed = dog_brier_is_armed(&o->brier);
        for (int h = 0; h < DOG_HORIZONS; h++)
                b.p_breach[h] = b.is_armed ? risk.p[h] : (float)b.is_bad;
        struct dog_driver driver[DOG_DRIVERS];
        int drivers = dog_risk_drivers(&shared->model, &risk, DOG_RISK_H0, driver, DOG_DRIVERS);
        for (int i = 0; i < drivers; i++)
                b.driver[i] =
                        (struct dog_reason_share){.feature = driver[i].group, .log_odds = driver[i].log_odds};
        b.score = belief_score(o, &b, promise, &rate[0]);
        b.health = dog_belief_health(&b);
        return b;
}
