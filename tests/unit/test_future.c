/*
 * F2, P7, P13, O3, I2: deleting everything after t changes nothing that was said at t, in every model. Each
 * plays the same past three times: with its own future, with one of nonsense and clocks that go back, and
 * beside another of its kind that is already there. What was said in the past has to be the same bits.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "core/loop.h"
#include "kinds/twin/twin.h"
#include "models/arima.h"
#include "models/ets.h"
#include "models/modes.h"
#include "models/node_risk.h"
#include "models/path_features.h"
#include "models/path_risk.h"
#include "models/quantile.h"
#include "models/radio_features.h"
#include "models/series.h"
#include "models/shift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 900, CUT = 600, AHEAD = 150, METRICS = 4 };

/* What a model may see of one moment; each takes its own part. */
struct moment {
        int64_t t_ns;
        float rtt_ms, loss, rate_kbps, margin, rsrp_dbm;
        float metric[METRICS];
        bool is_bad;
};

static struct moment past[STEPS + AHEAD];

/* Calm, then a creeping delay and a loss now and then; the metrics follow it. */
static void world_make(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 11);
        for (int i = 0; i < STEPS + AHEAD; i++) {
                struct moment *m = &past[i];
                float creep = i % 70 < 55 ? 0 : 10.0F * (float)(i % 70 - 54);
                m->t_ns = (i + 1) * DOG_S;
                m->loss = dog_rng_below(&rng, 30) == 0;
                m->rtt_ms = m->loss > 0 ? NAN : 30 + creep + 5 * (float)dog_rng_unit(&rng);
                m->rate_kbps = 1000 - 5 * creep + 50 * (float)dog_rng_normal(&rng);
                m->margin = m->loss > 0 ? -2.5F : logf(100 / m->rtt_ms);
                m->is_bad = m->margin < 0;
                m->rsrp_dbm = -90 - creep / 5 + (float)dog_rng_normal(&rng);
                for (int k = 0; k < METRICS; k++)
                        m->metric[k] = 0.3F + creep / 200 + 0.02F * (float)dog_rng_normal(&rng);
        }
}

/* Nothing that a careless reader would survive. */
static struct moment nonsense(int i)
{
        static const float value[] = {NAN, INFINITY, -INFINITY, 3e38F, -1, 0, 1e-40F};
        struct moment m = past[i];
        float x = value[i % (int)ARRAY_SIZE(value)];
        m.rtt_ms = m.loss = m.rate_kbps = m.margin = m.rsrp_dbm = x;
        for (int k = 0; k < METRICS; k++)
                m.metric[k] = x;
        m.is_bad = i % 2;
        if (i % 5 == 0)
                m.t_ns = past[i - 3].t_ns;
        return m;
}

/* ---- what was said, as one number ---- */

static uint64_t told(uint64_t sum, const float *said, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                uint32_t bits = 0x7fc00000; /* no number is no number */
                if (said[i] == said[i])
                        memcpy(&bits, &said[i], sizeof(bits));
                sum = (sum ^ bits) * UINT64_C(1099511628211);
        }
        return sum;
}

/* ---- the models: a state, and what it says after a moment ---- */

struct model {
        const char *name;
        void *(*begin)(void);
        uint64_t (*step)(void *state, const struct moment *m);
        void (*end)(void *state);
};

static void *room(size_t size)
{
        void *state = calloc(1, size);
        if (!state)
                abort();
        return state;
}

struct series_pair {
        struct dog_series_config config;
        struct dog_series of;
};

static void *series_begin(void)
{
        struct series_pair *s = room(sizeof(*s));
        s->config = dog_series_config_of(DOG_SERIES_OF_LATENCY);
        dog_series_init(&s->of, &s->config);
        return s;
}

static uint64_t series_step(void *state, const struct moment *m)
{
        struct series_pair *s = state;
        struct dog_forecast f[DOG_SERIES_HORIZONS];
        uint64_t sum = 1;
        dog_series_update(&s->of, &s->config, (double)m->rtt_ms, m->t_ns);
        for (int k = 0; k <= DOG_SERIES_MODEL_COUNT; k++) {
                dog_series_forecast_by(&s->of, &s->config, m->t_ns, (enum dog_series_model_id)k, f);
                for (int h = 0; h < DOG_SERIES_HORIZONS; h++)
                        sum = told(told(sum, &f[h].mean, 1), &f[h].spread, 1);
        }
        return sum;
}

struct fitted {
        float value[CUT + STEPS];
        int count;
};

static void *fitted_begin(void)
{
        return room(sizeof(struct fitted));
}

/* Fitted anew to all that has been seen. */
static uint64_t fitted_step(void *state, const struct moment *m)
{
        struct fitted *s = state;
        struct dog_arima arima;
        struct dog_ets ets;
        float said[5];
        s->value[s->count++] = m->rate_kbps;
        if (s->count % 10)
                return 0;
        dog_arima_fit(&arima, s->value, s->count);
        dog_arima_forecast(&arima, 4, said);
        dog_ets_fit(&ets, s->value, s->count);
        said[4] = dog_ets_forecast(&ets, 5);
        return told(1, said, ARRAY_SIZE(said));
}

static void *change_begin(void)
{
        struct dog_changepoint *c = room(sizeof(*c));
        dog_changepoint_init(c);
        return c;
}

static uint64_t change_step(void *state, const struct moment *m)
{
        struct dog_changepoint *c = state;
        struct dog_level_change change = {0};
        bool is_change = dog_changepoint_learn(c, (double)m->rate_kbps, m->t_ns, &change);
        float said[] = {(float)is_change, change.from_level, change.to_level, c->told_level};
        return told(1, said, ARRAY_SIZE(said));
}

static void *shift_begin(void)
{
        struct dog_shift_watch *w = room(sizeof(*w));
        dog_shift_init(w);
        return w;
}

static uint64_t shift_step(void *state, const struct moment *m)
{
        static const struct dog_shift_config c = {.block_ns = DOG_S, .last_ns = 5 * DOG_S, .is_floor = true};
        struct dog_shift_watch *w = state;
        struct dog_shift shift = {0};
        bool is_told = dog_shift_learn(w, &c, m->rate_kbps, 2000, m->t_ns, &shift);
        float said[] = {(float)is_told, shift.from, shift.to, w->known, w->level.told_level};
        return told(1, said, ARRAY_SIZE(said));
}

struct quantiles {
        struct dog_quantile middle;
        struct dog_window minute;
};

static void *quantile_begin(void)
{
        struct quantiles *q = room(sizeof(*q));
        dog_quantile_init(&q->middle, 0.5);
        dog_window_init(&q->minute, 60 * DOG_S);
        return q;
}

static uint64_t quantile_step(void *state, const struct moment *m)
{
        struct quantiles *q = state;
        dog_quantile_learn(&q->middle, (double)m->rtt_ms);
        dog_window_learn(&q->minute, (double)m->rtt_ms, m->t_ns);
        float said[] = {(float)dog_quantile_get(&q->middle),
                        (float)dog_window_median(&q->minute, m->t_ns, 5)};
        return told(1, said, ARRAY_SIZE(said));
}

struct modes {
        struct dog_modes of;
        struct dog_mode_records records;
};

static void *modes_begin(void)
{
        struct modes *s = room(sizeof(*s));
        dog_modes_init(&s->of);
        dog_mode_records_init(&s->records);
        return s;
}

static uint64_t modes_step(void *state, const struct moment *m)
{
        struct modes *s = state;
        struct dog_mode_chance said[DOG_MODES];
        struct dog_mode_sample in = {.t_ns = m->t_ns,
                                     .is_bad = m->is_bad,
                                     .rtt_ms = m->rtt_ms,
                                     .loss = m->loss,
                                     .load = m->metric[0]};
        dog_modes_observe(&s->of, &s->records, &in, 5 * DOG_S);
        dog_modes_step(&s->of, &s->records, m->is_bad ? 0.8F : 0.1F, m->t_ns, said);
        uint64_t sum = 1;
        for (int i = 0; i < DOG_MODES; i++)
                sum = told(sum, &said[i].p, 1) + said[i].has_skill;
        return sum;
}

static void *radio_begin(void)
{
        struct dog_radio_past *p = room(sizeof(*p));
        dog_radio_past_init(p, 5 * DOG_S);
        return p;
}

static uint64_t radio_step(void *state, const struct moment *m)
{
        struct dog_radio_past *p = state;
        struct dog_radio r = dog_radio_unknown();
        float in[DOG_RADIO_INPUTS], hint[DOG_RADIO_HINTS];
        r.at_ns = m->t_ns;
        r.rsrp_dbm = m->rsrp_dbm;
        dog_radio_past_take(p, &r);
        dog_radio_inputs(p, m->t_ns, in);
        dog_radio_hints(in, hint);
        return told(told(1, in, DOG_RADIO_INPUTS), hint, DOG_RADIO_HINTS);
}

/* Trees that ask all over the place: what they say is of no worth, and of no other past. */
static struct dog_gbt *trees_of(unsigned features, unsigned targets)
{
        enum { TREES = 12, DEPTH = 3, NODES = 7 };
        static struct dog_gbt_node node[TREES * NODES];
        static float leaf[TREES * (NODES + 1)], mean[TREES * NODES];
        struct dog_gbt_ensemble s[DOG_GBT_TARGETS_MAX];
        struct dog_gbt *trees;
        struct dog_rng rng;
        struct dog_err e;
        dog_rng_init(&rng, 5);
        for (int i = 0; i < TREES * NODES; i++)
                node[i] = (struct dog_gbt_node){.above = (float)dog_rng_normal(&rng),
                                                .slot = (uint16_t)dog_rng_below(&rng, 2 * features)};
        for (int i = 0; i < TREES * (NODES + 1); i++)
                leaf[i] = 0.3F * (float)dog_rng_normal(&rng);
        for (unsigned t = 0; t < targets; t++)
                s[t] = (struct dog_gbt_ensemble){
                        .trees = TREES, .depth = DEPTH, .node = node, .leaf = leaf, .mean = mean};
        if (dog_gbt_new(&trees, features, s, targets, &e) < 0)
                abort();
        return trees;
}

static struct dog_gbt *path_trees;

static void *track_begin(void)
{
        struct dog_path_track *t = room(sizeof(*t));
        dog_path_track_init(t);
        return t;
}

static uint64_t track_step(void *state, const struct moment *m)
{
        struct dog_path_track *t = state;
        float feature[DOG_PATH_FEATURES];
        struct dog_path_sample s = {.t_ns = m->t_ns,
                                    .margin = m->margin,
                                    .is_bad = m->is_bad,
                                    .rtt_ms = m->rtt_ms,
                                    .loss = m->loss,
                                    .rate_kbps = NAN};
        dog_path_track_observe(t, &s);
        dog_path_features(t, NULL, feature);
        float said = dog_gbt_log_odds(path_trees, 0, feature);
        return told(told(1, feature, DOG_PATH_FEATURES), &said, 1);
}

/* The whole of a group: logistic, trees, their mixture, failure modes, score. */
struct whole {
        struct dog_loop *loop;
        struct dog_group *g;
        struct dog_path_model trees;
};

static void *whole_begin(void)
{
        struct whole *w = room(sizeof(*w));
        w->loop = dog_loop_new(&(struct dog_loop_options){.budget = {.copies_share = 1}});
        w->g = twin_group_new("g", 2, NULL, 0);
        dog_path_model_init(&w->trees);
        w->trees.expert[DOG_PATH_PING].trees = path_trees;
        for (int t = 0; t < DOG_RISK_TARGETS; t++)
                w->trees.expert[DOG_PATH_PING].target[t] = (int8_t)t;
        if (!w->loop || !w->g || dog_loop_add(w->loop, w->g, 0, NULL) < 0 ||
            dog_group_trees(w->g, &w->trees) < 0)
                abort();
        w->g->promise.rtt_ms = 100;
        w->g->promise.loss_ratio = 0.02;
        return w;
}

static uint64_t whole_step(void *state, const struct moment *m)
{
        struct whole *w = state;
        uint64_t sum = 1;
        for (unsigned i = 0; i < 2; i++) {
                struct dog_sample s = dog_sample_at(m->t_ns);
                s.value[DOG_SIGNAL_RTT] = (double)(m->rtt_ms + 10 * (float)i);
                s.value[DOG_SIGNAL_LOSS] = i ? 0 : (double)m->loss;
                s.value[DOG_SIGNAL_CPU] = (double)m->metric[0];
                dog_group_sample(w->g, i, &s);
        }
        dog_loop_step(w->loop, m->t_ns);
        for (unsigned i = 0; i < 2; i++) {
                const struct dog_belief *b = &w->g->member[i].belief;
                sum = told(told(told(sum, b->p_breach, DOG_HORIZONS), &b->score, 1), &b->health, 1);
                for (int h = 0; h < DOG_HORIZONS; h++)
                        sum = told(told(sum, &b->rtt_ms[h].mean, 1), &b->loss[h].mean, 1);
        }
        return sum;
}

static void whole_end(void *state)
{
        struct whole *w = state;
        dog_loop_free(w->loop);
        free(w);
}

static const struct dog_node_risk_metric node_metric[METRICS] = {{"cpu", DOG_NODE_DEVICE, 0.5F},
                                                                 {"rate", DOG_NODE_TRAFFIC, NAN},
                                                                 {"errors", DOG_NODE_LINK, NAN},
                                                                 {"disk", DOG_NODE_DEVICE, NAN}};
static struct dog_node_risk_config node_config = {.metrics = METRICS, .metric = node_metric, .period_s = 10};
static struct dog_gbt *node_failure, *node_overload;

struct node {
        struct dog_node *of;
        struct dog_node_risk *risk;
};

static void *node_begin(void)
{
        struct node *n = room(sizeof(*n));
        n->of = room(dog_node_size(METRICS));
        n->risk = room(dog_node_risk_size(METRICS));
        dog_node_init(n->of, METRICS);
        dog_node_risk_init(n->risk, &node_config);
        return n;
}

/* A moment is ten seconds here. */
static uint64_t node_step(void *state, const struct moment *m)
{
        struct node *n = state;
        struct dog_node_word w;
        int64_t t_s = 10 * (m->t_ns / DOG_S);
        float x[DOG_NODE_OVERLOAD_COUNT];
        dog_node_observe(n->of, t_s, m->metric);
        dog_node_overload_features(n->of, 0, x);
        float said[] = {dog_node_health(n->of), dog_node_alarm(n->of),
                        dog_gbt_log_odds(node_failure, 0, dog_node_features(n->of)),
                        dog_gbt_log_odds(node_overload, 0, x)};
        if (m->is_bad)
                dog_node_risk_failed(n->risk, t_s);
        dog_node_risk_observe(n->risk, &node_config, t_s, m->metric);
        dog_node_risk_word(n->risk, &node_config, &w);
        uint64_t sum = told(told(1, said, ARRAY_SIZE(said)), w.overload, DOG_NODE_HORIZONS);
        sum = told(told(sum, w.failure, DOG_NODE_HORIZONS), w.mode, DOG_NODE_MODE_COUNT);
        return told(told(sum, &w.health, 1), &w.unusual, 1);
}

static void node_end(void *state)
{
        struct node *n = state;
        free(n->of);
        free(n->risk);
        free(n);
}

static const struct model models[] = {
        {"series: all eight rows and their ensemble", series_begin, series_step, free},
        {"ARIMA and ETS, fitted to what was seen", fitted_begin, fitted_step, free},
        {"change points", change_begin, change_step, free},
        {"changes that are told", shift_begin, shift_step, free},
        {"a quantile and the median of a minute", quantile_begin, quantile_step, free},
        {"modes of failure", modes_begin, modes_step, free},
        {"what a radio tells", radio_begin, radio_step, free},
        {"features of a path, and trees", track_begin, track_step, free},
        {"the whole of a group", whole_begin, whole_step, whole_end},
        {"a node: overload, failure, health", node_begin, node_step, node_end},
};

static void nothing_that_was_said_depends_on_what_came_later(void)
{
        static uint64_t said[STEPS];
        for (size_t k = 0; k < ARRAY_SIZE(models); k++) {
                const struct model *m = &models[k];
                void *own = m->begin();
                for (int i = 0; i < STEPS; i++)
                        said[i] = m->step(own, &past[i]);
                m->end(own);
                void *again = m->begin();
                void *ahead = m->begin();
                int same = 0, other = 0;
                for (int i = 0; i < STEPS; i++) {
                        struct moment wrong = i < CUT ? past[i] : nonsense(i);
                        /* Its twin has seen what comes; nothing of that may leak. */
                        m->step(ahead, &past[i + AHEAD]);
                        bool is_same = m->step(again, &wrong) == said[i];
                        same += i < CUT && is_same;
                        other += i >= CUT && !is_same;
                }
                m->end(again);
                m->end(ahead);
                OK(same == CUT, "%s: %d of %d are the same bits without the future", m->name, same, CUT);
                OK(other > (STEPS - CUT) / 20, "%s: and a different future is noticed, %d times", m->name,
                   other);
        }
}

int main(void)
{
        world_make();
        path_trees = trees_of(DOG_PATH_FEATURES, DOG_RISK_TARGETS);
        node_failure = trees_of(DOG_NODE_FEATURE_COUNT, DOG_NODE_HORIZONS);
        node_overload = trees_of(DOG_NODE_OVERLOAD_COUNT, DOG_NODE_HORIZONS);
        node_config.failure = node_failure;
        node_config.overload = node_overload;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                node_config.failure_shape[h] = node_config.overload_shape[h] = dog_node_shape_plain(0.01F);
        int rc = CHECK_RUN(TEST(nothing_that_was_said_depends_on_what_came_later));
        dog_gbt_free(path_trees);
        dog_gbt_free(node_failure);
        dog_gbt_free(node_overload);
        return rc;
}
