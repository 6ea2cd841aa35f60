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
        struct dog_risk_config config = dog_risk_config_default();
        memcpy(config.horizon_ns, policy->horizon_ns, sizeof(config.horizon_ns));
        dog_path_shared_init(&shared->risk, &config, NULL);
        dog_risk_pair_init(&shared->pair);
        dog_mode_records_init(&shared->modes);
        for (int h = 0; h < DOG_HORIZONS; h++)
                dog_reliability_init(&shared->reliability[h]);
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
        dog_path_risk_init(&o->risk, NULL);
        dog_modes_init(&o->modes);
        dog_brier_init(&o->brier);
        dog_levels_init(&o->levels);
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

static void outlook_modes(struct dog_outlook *o, struct dog_insight *shared, const struct dog_policy *policy,
                          const struct dog_sample *s)
{
        struct dog_mode_sample in = {
                .t_ns = s->at_ns,
                .is_bad = o->verdict.is_bad,
                .is_network_good = o->verdict.is_bad && o->verdict.worst == DOG_SIGNAL_RESPONSE,
                .rtt_ms = (float)s->value[DOG_SIGNAL_RTT],
                .loss = (float)s->value[DOG_SIGNAL_LOSS],
                .load = fmaxf(fmaxf((float)s->value[DOG_SIGNAL_CPU], (float)s->value[DOG_SIGNAL_MEMORY]),
                              (float)s->value[DOG_SIGNAL_QUEUE])};
        dog_modes_observe(&o->modes, &shared->modes, &in, policy->horizon_ns[1]);
}

#define X(id) _Static_assert((int)DOG_RADIO_X_##id == (int)DOG_PATH_X_##id, "one order of extras");
DOG_RADIO_EXTRA_LIST(X)
#undef X

void dog_outlook_radio(struct dog_outlook *o, const float *in, int64_t at_ns)
{
        o->radio_ns = in ? at_ns : 0;
        if (in)
                memcpy(o->radio, in, sizeof(o->radio));
}

/* What all models take of a sample. */
static void outlook_take(struct dog_outlook *o, struct dog_insight *shared, const struct dog_sample *s,
                         struct dog_ensemble_news *news)
{
        float load[DOG_RISK_LOAD_SIGNALS];
        float hint[DOG_RADIO_HINTS];
        float extra[DOG_PATH_EXTRAS];
        /* What the radio told belongs to the sample of exactly its time. */
        bool has_radio = o->radio_ns && o->radio_ns == s->at_ns;
        struct dog_path_sample in = {.t_ns = s->at_ns,
                                     .margin = (float)o->verdict.margin,
                                     .is_bad = o->verdict.is_bad,
                                     .rtt_ms = (float)s->value[DOG_SIGNAL_RTT],
                                     .loss = (float)s->value[DOG_SIGNAL_LOSS],
                                     .rate_kbps = (float)s->value[DOG_SIGNAL_RATE],
                                     .load = outlook_load(s, load),
                                     .radio = has_radio ? hint : NULL,
                                     .extra = has_radio ? extra : NULL};
        if (has_radio) {
                dog_radio_hints(o->radio, hint);
                /* Trees have a place for the first of these. */
                for (int i = 0; i < DOG_PATH_EXTRAS; i++)
                        extra[i] = NAN;
                dog_radio_extras(o->radio, extra);
        }
        dog_path_risk_observe(&o->risk, &shared->risk, &in, news);
}

static enum dog_outlook_news outlook_grade(struct dog_outlook *o, struct dog_insight *shared,
                                           const struct dog_ensemble_news *n)
{
        enum dog_outlook_news news = DOG_OUTLOOK_TAKEN;
        o->disarmed |= n->disarmed;
        o->rearmed |= n->rearmed;
        for (int i = 0; i < n->outcomes; i++) {
                const struct dog_ensemble_outcome *out = &n->outcome[i];
                if (out->target < DOG_HORIZONS)
                        dog_reliability_learn(&shared->reliability[out->target], (double)out->p, out->is_bad);
                if (out->target != 0)
                        continue;
                o->said_near = out->p;
                o->was_bad = out->is_bad;
                o->is_judged = true;
                switch (dog_brier_learn(&o->brier, (double)out->p, (double)out->p_persistence, out->is_bad)) {
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
        dog_levels_observe(&o->levels, promise, now, fmax(promise->rtt_ms, promise->rtt_factor * median_ms),
                           rate_1s_kbps);
        if (promise->rtt_factor > 0)
                dog_window_learn(&o->median, now->value[DOG_SIGNAL_RTT], now->at_ns);

        const struct series_configs *c = configs_for(policy);
        dog_series_update(&o->rtt, &c->rtt, now->value[DOG_SIGNAL_RTT], now->at_ns);
        dog_series_update(&o->jitter, &c->jitter, now->value[DOG_SIGNAL_JITTER], now->at_ns);
        dog_series_update(&o->loss, &c->loss, now->value[DOG_SIGNAL_LOSS], now->at_ns);
        if (!isnan(now->value[DOG_SIGNAL_RATE]))
                dog_series_update(&o->rate, &c->rate, now->value[DOG_SIGNAL_RATE], now->at_ns);

        struct dog_ensemble_news news;
        outlook_modes(o, shared, policy, now);
        outlook_take(o, shared, now, &news);
        o->has_sample = true;
        o->is_fresh = true;
        return outlook_grade(o, shared, &news);
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
                                      const struct dog_path_group *peers, int64_t now_ns)
{
        const struct series_configs *c = configs_for(policy);
        struct dog_belief b = {.made_ns = now_ns, .is_bad = o->verdict.is_bad};
        struct dog_expect rate[DOG_HORIZONS];
        belief_expect(b.rtt_ms, &o->rtt, &c->rtt, now_ns);
        belief_expect(b.jitter_ms, &o->jitter, &c->jitter, now_ns);
        belief_expect(b.loss, &o->loss, &c->loss, now_ns);
        belief_expect(rate, &o->rate, &c->rate, now_ns);

        /* A prediction is graded only if it was made right after a sample; others are looks. */
        struct dog_path_belief all;
        bool was_fresh = o->is_fresh;
        if (was_fresh)
                dog_path_risk_step(&o->risk, &shared->risk, peers, now_ns, &all);
        else
                dog_path_risk_predict(&o->risk, &shared->risk, peers, now_ns, &all);
        const struct dog_ensemble_belief *mixed = &all.mix;
        o->is_fresh = false;

        b.is_armed = dog_brier_is_armed(&o->brier);
        for (int h = 0; h < DOG_HORIZONS; h++)
                b.p_breach[h] = b.is_armed ? mixed->p[h] : (float)b.is_bad;
        /* Of who has not been measured yet the trees know as little as of the near horizon: no reason to give
         * up on the others. */
        bool is_next_known =
                mixed->weight[DOG_RISK_NEXT][DOG_EXPERT_TREES] > 0 || (shared->risk.model && !o->has_sample);
        b.p_next = !is_next_known ? NAN : b.is_armed ? mixed->p[DOG_RISK_NEXT] : (float)b.is_bad;
        b.speaker = (int8_t)dog_ensemble_speaker(mixed, 0);
        for (int i = 0; i < DOG_EXPERTS; i++)
                b.voice[i] = (struct dog_voice){.p = mixed->of[0][i], .weight = mixed->weight[0][i]};
        if (was_fresh)
                dog_modes_step(&o->modes, &shared->modes, b.p_breach[1], now_ns, b.mode);
        else
                dog_modes_predict(&o->modes, &shared->modes, b.p_breach[1], b.mode);
        b.told = dog_levels_told(&o->levels);
        b.score = belief_score(o, &b, promise, &rate[0]);
        b.health = dog_belief_health(&b);
        return b;
}

/* ---- why ---- */

void dog_outlook_explain(const struct dog_outlook *o, const struct dog_insight *shared,
                         const struct dog_path_group *peers, int horizon, int64_t now_ns,
                         struct dog_outlook_reasons *out)
{
        struct dog_path_belief all;
        struct dog_driver driver[DOG_DRIVERS];
        *out = (struct dog_outlook_reasons){.speaker = -1};
        dog_path_risk_predict(&o->risk, &shared->risk, peers, now_ns, &all);
        for (int i = 0; i < DOG_EXPERTS; i++)
                out->voice[i] =
                        (struct dog_voice){.p = all.mix.of[horizon][i], .weight = all.mix.weight[horizon][i]};
        out->speaker = dog_ensemble_speaker(&all.mix, horizon);
        int drivers = dog_path_drivers(&o->risk, &shared->risk, peers, &all, (enum dog_risk_target)horizon,
                                       driver, DOG_DRIVERS);
        for (int i = 0; i < drivers; i++)
                out->driver[i] =
                        (struct dog_reason_share){.feature = driver[i].group, .log_odds = driver[i].log_odds};
}
