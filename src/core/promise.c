#include "core/promise.h"

#include "base/words.h"
#include "models/risk.h"

DOG_WORDS(dog_signal_name, enum dog_signal, DOG_SIGNALS, DOG_COLUMN_2)

DOG_WORDS(dog_signal_unit, enum dog_signal, DOG_SIGNALS, DOG_COLUMN_3)

static void verdict_take(struct dog_verdict *v, enum dog_signal signal, double margin, bool is_bad)
{
        if (isnan(v->margin) || margin < v->margin) {
                v->margin = margin;
                v->worst = signal;
        }
        v->is_bad |= is_bad;
}

static void verdict_most(struct dog_verdict *v, enum dog_signal signal, double value, double limit)
{
        if (limit > 0 && !isnan(value))
                verdict_take(v, signal, (double)dog_margin_rtt(value, limit), value > limit);
}

struct dog_verdict dog_promise_judge(const struct dog_promise *p, const struct dog_sample *s,
                                     double median_rtt_ms, double rate_1s_kbps)
{
        struct dog_verdict v = {.margin = (double)NAN, .worst = DOG_SIGNAL_COUNT};
        double rtt_limit_ms = p->rtt_ms;
        if (p->rtt_factor > 0 && p->rtt_factor * median_rtt_ms > rtt_limit_ms)
                rtt_limit_ms = p->rtt_factor * median_rtt_ms;
        verdict_most(&v, DOG_SIGNAL_RTT, s->value[DOG_SIGNAL_RTT], rtt_limit_ms);
        verdict_most(&v, DOG_SIGNAL_JITTER, s->value[DOG_SIGNAL_JITTER], p->jitter_ms);
        verdict_most(&v, DOG_SIGNAL_RESPONSE, s->value[DOG_SIGNAL_RESPONSE], p->response_ms);

        double loss = s->value[DOG_SIGNAL_LOSS];
        if (p->loss_ratio > 0 && !isnan(loss)) {
                /* None lost counts only where loss is all that is promised. */
                if (loss > 0 || isnan(v.margin))
                        verdict_take(&v, DOG_SIGNAL_LOSS, (double)dog_margin_loss(loss, p->loss_ratio),
                                     loss >= p->loss_ratio);
        }
        if (p->rate_kbps > 0 && !isnan(rate_1s_kbps))
                verdict_take(&v, DOG_SIGNAL_RATE, (double)dog_margin_rate(rate_1s_kbps, p->rate_kbps),
                             rate_1s_kbps < p->rate_kbps);
        return v;
}

struct dog_promise dog_promise_default(void)
{
        struct dog_promise p = {.rtt_ms = 1000, .loss_ratio = 0.05, .breach_price = 1};
        for (int i = 0; i < DOG_SIGNAL_COUNT; i++)
                p.weight[i] = 1;
        return p;
}
