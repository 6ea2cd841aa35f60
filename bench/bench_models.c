/**
 * forecast.step_us: what one member costs in one step of forecasting, on one core: three series
 * (latency, jitter, loss) through all forecasters with a forecast asked of each, the window median, and
 * the risk with its learning. 10,000 members, so that the state comes from memory as it does in a
 * gateway; the clock is invented, the CPU time is the thread's.
 */
#include "base/clock.h"
#include "base/rng.h"
#include "figure.h"
#include "models/quantile.h"
#include "models/risk.h"
#include "models/series.h"

#include <stdio.h>
#include <stdlib.h>

enum { MEMBERS = 10000, PER_GROUP = 4, ROUNDS = 5, SIGNALS = 3 };

struct bench_member {
        struct dog_series series[SIGNALS];
        struct dog_window window;
        struct dog_risk risk;
        double rtt_ms, jitter_ms;
        bool is_lost;
};

struct bench_world {
        struct bench_member *member;
        struct dog_series_config config[SIGNALS];
        struct dog_risk_config risk_config;
        struct dog_risk_model model;
        struct dog_rng rng;
        double sink; /* so that nothing is optimised away */
};

static void bench_weather(struct bench_world *w, int64_t step)
{
        for (int m = 0; m < MEMBERS; m++) {
                struct bench_member *b = &w->member[m];
                bool is_creeping = (step + m * 13) % 60 < 6;
                double before = b->rtt_ms;
                b->rtt_ms = 40 + (is_creeping ? 80 : 0) + 8 * dog_rng_unit(&w->rng);
                b->jitter_ms = 0.9 * b->jitter_ms +
                               0.1 * (b->rtt_ms > before ? b->rtt_ms - before : before - b->rtt_ms);
                b->is_lost = dog_rng_below(&w->rng, 50) == 0;
        }
}

static void bench_series(struct bench_world *w, struct bench_member *b, int64_t t_ns)
{
        struct dog_forecast f[DOG_SERIES_HORIZONS];
        double value[SIGNALS] = {b->is_lost ? (double)NAN : b->rtt_ms, b->jitter_ms, b->is_lost};
        for (int k = 0; k < SIGNALS; k++) {
                dog_series_update(&b->series[k], &w->config[k], value[k], t_ns);
                dog_series_forecast(&b->series[k], &w->config[k], t_ns, f);
                if (f[1].count)
                        w->sink += (double)f[1].mean;
        }
}

static void bench_risk(struct bench_world *w, struct bench_member *group, int64_t t_ns)
{
        struct dog_risk_peers peers = {0};
        for (int m = 0; m < PER_GROUP; m++) {
                struct bench_member *b = &group[m];
                double median = dog_window_median(&b->window, t_ns, 5);
                double limit = 2 * median > 100 ? 2 * median : 100;
                struct dog_risk_sample s = {.t_ns = t_ns,
                                            .margin = b->is_lost ? DOG_MARGIN_LOST
                                                                 : dog_margin_rtt(b->rtt_ms, limit),
                                            .is_bad = b->is_lost || b->rtt_ms > limit};
                if (!b->is_lost)
                        dog_window_learn(&b->window, b->rtt_ms, t_ns);
                dog_risk_observe(&b->risk, &w->model, &w->risk_config, &s, NULL);
                dog_risk_peers_add(&peers, &b->risk);
        }
        for (int m = 0; m < PER_GROUP; m++) {
                struct dog_risk_belief belief;
                dog_risk_step(&group[m].risk, &w->model, &w->risk_config, &peers, t_ns, &belief);
                w->sink += (double)belief.p[0];
        }
}

int main(void)
{
        static struct bench_world w;
        double series_us[ROUNDS];
        double risk_us[ROUNDS];
        double both_us[ROUNDS];
        int64_t limit_ns = (int64_t)(figure_seconds(1.0) * 1e9);
        w.member = calloc(MEMBERS, sizeof(*w.member));
        if (!w.member) {
                figure_null("forecast.step_us", "us", "out of memory");
                return 1;
        }
        dog_rng_init(&w.rng, 1);
        w.risk_config = dog_risk_config_default();
        dog_risk_model_init(&w.model, &w.risk_config);
        w.config[0] = dog_series_config_of(DOG_SERIES_OF_LATENCY);
        w.config[1] = dog_series_config_of(DOG_SERIES_OF_JITTER);
        w.config[2] = dog_series_config_of(DOG_SERIES_OF_LOSS);
        for (int m = 0; m < MEMBERS; m++) {
                for (int k = 0; k < SIGNALS; k++)
                        dog_series_init(&w.member[m].series[k], &w.config[k]);
                dog_window_init(&w.member[m].window, 60 * DOG_S);
                dog_risk_init(&w.member[m].risk);
        }
        int64_t step = 0;
        for (int round = -1; round < ROUNDS; round++) { /* the first one only warms up */
                int64_t series_ns = 0;
                int64_t risk_ns = 0;
                int64_t steps = 0;
                do {
                        int64_t t_ns = ++step * DOG_S;
                        bench_weather(&w, step);
                        int64_t at_ns = dog_clock_cpu_ns();
                        for (int m = 0; m < MEMBERS; m++)
                                bench_series(&w, &w.member[m], t_ns);
                        int64_t then_ns = dog_clock_cpu_ns();
                        for (int m = 0; m < MEMBERS; m += PER_GROUP)
                                bench_risk(&w, &w.member[m], t_ns);
                        risk_ns += dog_clock_cpu_ns() - then_ns;
                        series_ns += then_ns - at_ns;
                        steps += MEMBERS;
                } while (series_ns + risk_ns < limit_ns);
                if (round < 0)
                        continue;
                series_us[round] = (double)series_ns * 1e-3 / (double)steps;
                risk_us[round] = (double)risk_ns * 1e-3 / (double)steps;
                both_us[round] = series_us[round] + risk_us[round];
        }
        figure_print("forecast.series_us", "us", series_us, ROUNDS);
        figure_print("forecast.risk_us", "us", risk_us, ROUNDS);
        figure_print("forecast.step_us", "us", both_us, ROUNDS);
        fprintf(stderr, "one member: %zu bytes (three series, window, risk); check %g\n",
                sizeof(struct bench_member), w.sink);
        free(w.member);
        return 0;
}
