/*
 * The risk model. P13: accuracy improves with feedback. I2: a graded risk, not up or down.
 * O3, F4: what will go wrong is predicted from history and the live state.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "models/brier.h"
#include "models/risk.h"

#include <math.h>
#include <string.h>

/*
 * A made path: a margin that wanders about a level, sometimes slides under the limit and comes back.
 * `surprise` turns the world over: then it is the thick margin that goes bad.
 */
struct world {
        struct dog_rng rng;
        double margin;
        bool is_odd;
        int bad_left;
};

static struct dog_risk_sample world_step(struct world *w, int64_t t_ns)
{
        w->margin += 0.05 * (0.6 - w->margin) + 0.12 * dog_rng_normal(&w->rng);
        struct dog_risk_sample s = {.t_ns = t_ns, .margin = (float)w->margin};
        s.is_bad = w->margin < 0;
        if (w->is_odd) {
                if (w->bad_left == 0 && w->margin > 1.0 && dog_rng_unit(&w->rng) < 0.5)
                        w->bad_left = 3;
                s.is_bad = w->bad_left > 0;
                w->bad_left -= w->bad_left > 0;
        }
        return s;
}

struct member_run {
        struct dog_risk risk;
        struct dog_risk_model model;
        struct dog_risk_config config;
};

static void run_init(struct member_run *r)
{
        r->config = dog_risk_config_default();
        dog_risk_model_init(&r->model, &r->config);
        dog_risk_init(&r->risk);
}

/* Brier score of one target over `steps` seconds; persistence's in *other when wanted. */
static double run_brier(struct member_run *r, struct world *w, int64_t *t_ns, int steps, int target,
                        double *other)
{
        double sum = 0;
        double persistence = 0;
        int count = 0;
        for (int i = 0; i < steps; i++) {
                struct dog_risk_outcome outcome[DOG_RISK_PENDING + 1];
                struct dog_risk_belief belief;
                *t_ns += DOG_S;
                struct dog_risk_sample s = world_step(w, *t_ns);
                int n = dog_risk_observe(&r->risk, &r->model, &r->config, &s, outcome);
                for (int k = 0; k < n; k++) {
                        if (outcome[k].target != target)
                                continue;
                        double y = outcome[k].is_bad ? 1 : 0;
                        sum += ((double)outcome[k].p - y) * ((double)outcome[k].p - y);
                        persistence += ((double)outcome[k].p_persistence - y) *
                                       ((double)outcome[k].p_persistence - y);
                        count++;
                }
                dog_risk_step(&r->risk, &r->model, &r->config, NULL, *t_ns, &belief);
        }
        if (other)
                *other = persistence / count;
        return sum / count;
}

/* P13 */
static void the_brier_score_falls_as_outcomes_come_in(void)
{
        /* A world that behaves unlike the prior: what it starts with is wrong, so it has to learn. */
        for (int target = DOG_RISK_H0; target <= DOG_RISK_H1; target++) {
                struct member_run learning;
                struct member_run cold;
                struct world w = {.margin = 0.6, .is_odd = true};
                int64_t t_ns = 0;
                int64_t cold_ns = 0;
                run_init(&learning);
                run_init(&cold);
                cold.config.learn_rate = 0;
                cold.config.is_calibrating = false;
                dog_rng_init(&w.rng, 31);
                struct world same = w;
                double first = run_brier(&learning, &w, &t_ns, 1000, target, NULL);
                run_brier(&learning, &w, &t_ns, 8000, target, NULL);
                double last = run_brier(&learning, &w, &t_ns, 3000, target, NULL);
                run_brier(&cold, &same, &cold_ns, 9000, target, NULL);
                double unlearned = run_brier(&cold, &same, &cold_ns, 3000, target, NULL);
                OK(last < 0.95 * first, "target %d: %g at first, %g later", target, first, last);
                OK(last < 0.9 * unlearned, "target %d: the same weather without learning %g, with %g", target,
                   unlearned, last);
        }
}

/* O3, F4 */
static void the_prior_alone_beats_persistence(void)
{
        struct member_run r;
        struct world w = {.margin = 0.6};
        int64_t t_ns = 0;
        double persistence = 0;
        run_init(&r);
        r.config.learn_rate = 0;
        dog_rng_init(&w.rng, 37);
        for (int target = 0; target < DOG_RISK_H2; target++) {
                double model = run_brier(&r, &w, &t_ns, 4000, target, &persistence);
                OK(model < 0.9 * persistence, "target %d: %g against %g", target, model, persistence);
        }
}

/* I2 */
static void risk_is_graded_by_margin_trouble_and_time(void)
{
        static const struct {
                double margin, slope;
                const char *say;
        } row[] = {{1.5, 0, "far inside"},
                   {0.5, 0, "inside"},
                   {0.15, 0, "thin"},
                   {0.15, -0.01, "thin and falling"}};
        double before = 0;
        for (size_t k = 0; k < ARRAY_SIZE(row); k++) {
                struct member_run r;
                struct dog_risk_belief b;
                struct dog_rng rng;
                run_init(&r);
                dog_rng_init(&rng, 41);
                for (int i = 0; i <= 60; i++) {
                        double margin = row[k].margin - row[k].slope * (60 - i) + 0.04 * dog_rng_normal(&rng);
                        struct dog_risk_sample s = {.t_ns = i * DOG_S, .margin = (float)margin};
                        dog_risk_observe(&r.risk, &r.model, &r.config, &s, NULL);
                }
                dog_risk_predict(&r.risk, &r.model, &r.config, NULL, 60 * DOG_S, &b);
                OK((double)b.p[0] > before, "%s: %g is more than %g", row[k].say, (double)b.p[0], before);
                OK(b.p[0] < b.p[1] && b.p[1] < b.p[2], "%s: longer is riskier: %g %g %g", row[k].say,
                   (double)b.p[0], (double)b.p[1], (double)b.p[2]);
                before = (double)b.p[0];
        }
}

static void a_prediction_is_graded_by_what_came_in_its_time(void)
{
        struct member_run r;
        struct dog_risk_outcome o[DOG_RISK_PENDING + 1];
        int graded[DOG_RISK_TARGETS] = {0};
        int bad[DOG_RISK_TARGETS] = {0};
        run_init(&r);
        for (int i = 0; i <= 300; i++) {
                /* Bad at 60, 120, 180, 240, 300 seconds, one sample each. */
                struct dog_risk_sample s = {
                        .t_ns = i * DOG_S, .margin = i % 60 ? 0.8F : -0.2F, .is_bad = i && i % 60 == 0};
                struct dog_risk_belief b;
                int n = dog_risk_observe(&r.risk, &r.model, &r.config, &s, o);
                for (int k = 0; k < n; k++) {
                        int64_t horizon =
                                o[k].target == DOG_RISK_NEXT ? DOG_S : r.config.horizon_ns[o[k].target];
                        int64_t from = o[k].t_ns / DOG_S;
                        int64_t to = from + horizon / DOG_S;
                        OK(to == i, "graded when its time has come: said at %lld, graded at %d",
                           (long long)from, i);
                        OK(o[k].is_bad == (to / 60 > from / 60), "(%lld, %lld] holds a multiple of 60 or not",
                           (long long)from, (long long)to);
                        graded[o[k].target]++;
                        bad[o[k].target] += o[k].is_bad;
                }
                dog_risk_step(&r.risk, &r.model, &r.config, NULL, s.t_ns, &b);
        }
        OK(graded[DOG_RISK_H0] == 300 && graded[DOG_RISK_NEXT] == 300, "every second at 1 s: %d", graded[0]);
        OK(bad[DOG_RISK_H0] == 5 && bad[DOG_RISK_NEXT] == 5, "each bad second once: %d", bad[0]);
        OK(graded[DOG_RISK_H1] > 90 && graded[DOG_RISK_H2] > 30, "%d at 5 s, %d at 30 s", graded[1],
           graded[2]);
        OK(NEAR((double)bad[DOG_RISK_H2] / graded[DOG_RISK_H2], 0.5, 0.1),
           "evenly sampled: half of 30 s hold one");
}

static void what_nobody_saw_is_not_graded(void)
{
        struct member_run r;
        struct dog_risk_belief b;
        run_init(&r);
        for (int i = 0; i < 20; i++) {
                struct dog_risk_sample s = {.t_ns = i * DOG_S, .margin = 0.5F};
                dog_risk_observe(&r.risk, &r.model, &r.config, &s, NULL);
                dog_risk_step(&r.risk, &r.model, &r.config, NULL, s.t_ns, &b);
        }
        struct dog_risk_sample late = {.t_ns = 600 * DOG_S, .margin = -1, .is_bad = true};
        OK(dog_risk_observe(&r.risk, &r.model, &r.config, &late, NULL) == 0,
           "ten minutes of silence grade nothing");
        struct dog_risk before = r.risk;
        struct dog_risk_sample again = {.t_ns = 600 * DOG_S, .margin = 1};
        OK(dog_risk_observe(&r.risk, &r.model, &r.config, &again, NULL) == 0 &&
                   memcmp(&before, &r.risk, sizeof(before)) == 0,
           "time that stands still changes nothing");
}

static void a_member_nobody_has_measured_has_the_prior_base_rate(void)
{
        struct member_run r;
        struct dog_risk_belief b;
        run_init(&r);
        dog_risk_predict(&r.risk, &r.model, &r.config, NULL, 0, &b);
        for (int t = 0; t < DOG_RISK_TARGETS; t++)
                OK(b.p[t] > 0.001F && b.p[t] < 0.7F, "target %d: %g", t, (double)b.p[t]);
        struct dog_risk_sample s = {.t_ns = 1, .margin = NAN, .is_bad = false};
        dog_risk_observe(&r.risk, &r.model, &r.config, &s, NULL);
        s.t_ns = INT64_MAX;
        s.margin = -1e30F;
        dog_risk_observe(&r.risk, &r.model, &r.config, &s, NULL);
        dog_risk_step(&r.risk, &r.model, &r.config, NULL, INT64_MAX, &b);
        for (int t = 0; t < DOG_RISK_TARGETS; t++)
                OK(b.p[t] >= 0 && b.p[t] <= 1, "whatever it is fed, a chance is a chance: %g",
                   (double)b.p[t]);
}

/* Two members, so that peers are in it; everything after the cut is missing in the second run. */
static void no_prediction_knows_the_future_and_the_same_calls_give_the_same_bits(void)
{
        enum { STEPS = 400 };
        static struct dog_risk_belief whole[STEPS][2];
        for (int cut = STEPS; cut > 0; cut -= 97) {
                struct member_run r;
                struct dog_risk two[2];
                struct world w[2] = {{.margin = 0.5}, {.margin = 0.3}};
                run_init(&r);
                for (int m = 0; m < 2; m++) {
                        dog_risk_init(&two[m]);
                        dog_rng_init(&w[m].rng, (uint64_t)(51 + m));
                }
                for (int i = 0; i < cut; i++) {
                        struct dog_risk_peers peers = {0};
                        struct dog_risk_belief b[2];
                        memset(b, 0, sizeof(b));
                        for (int m = 0; m < 2; m++) {
                                struct dog_risk_sample s = world_step(&w[m], i * DOG_S / 5);
                                dog_risk_observe(&two[m], &r.model, &r.config, &s, NULL);
                                dog_risk_peers_add(&peers, &two[m]);
                        }
                        for (int m = 0; m < 2; m++) {
                                dog_risk_step(&two[m], &r.model, &r.config, &peers, i * DOG_S / 5, &b[m]);
                                if (cut == STEPS)
                                        whole[i][m] = b[m];
                                else
                                        OK(memcmp(&whole[i][m], &b[m], sizeof(b[m])) == 0, "cut %d, step %d",
                                           cut, i);
                        }
                }
        }
}

static void peers_are_the_others_and_not_oneself(void)
{
        struct member_run r;
        struct dog_risk three[3];
        struct dog_risk_belief b;
        struct dog_risk_peers peers = {0};
        run_init(&r);
        for (int m = 0; m < 3; m++) {
                dog_risk_init(&three[m]);
                for (int i = 0; i < 30; i++) {
                        struct dog_risk_sample s = {
                                .t_ns = i * DOG_S, .margin = 0.2F * (float)(m + 1), .is_bad = m == 0};
                        dog_risk_observe(&three[m], &r.model, &r.config, &s, NULL);
                }
                dog_risk_peers_add(&peers, &three[m]);
        }
        dog_risk_predict(&three[2], &r.model, &r.config, &peers, 30 * DOG_S, &b);
        OK(NEAR((double)b.feature[DOG_RISK_F_PEERS_BAD_1S], 1.0, 0.01), "one of two others is bad");
        OK(NEAR((double)b.feature[DOG_RISK_F_PEERS_MARGIN], 1.5 * 0.3, 0.01), "their mean margin is 0.3");
        OK(NEAR((double)b.feature[DOG_RISK_F_PEERS_BEHIND], 1.5 * (0.4 - 0.6), 0.01),
           "the best of them is behind");
        dog_risk_predict(&three[0], &r.model, &r.config, &peers, 30 * DOG_S, &b);
        OK(NEAR((double)b.feature[DOG_RISK_F_PEERS_BAD_1S], 0, 0.01), "the bad one has good peers");
        dog_risk_predict(&three[0], &r.model, &r.config, NULL, 30 * DOG_S, &b);
        OK(b.feature[DOG_RISK_F_PEERS] == 0, "alone is alone");
}

static void drivers_tell_why_and_add_up(void)
{
        struct member_run r;
        struct dog_risk_belief b;
        struct dog_driver all[DOG_RISK_GROUPS];
        struct dog_driver few[5];
        run_init(&r);
        for (int i = 0; i < 30; i++) {
                struct dog_risk_sample s = {
                        .t_ns = i * DOG_S, .margin = i > 25 ? -0.3F : 0.8F, .is_bad = i > 25};
                dog_risk_observe(&r.risk, &r.model, &r.config, &s, NULL);
        }
        dog_risk_predict(&r.risk, &r.model, &r.config, NULL, 30 * DOG_S, &b);
        int n = dog_risk_drivers(&r.model, &b, DOG_RISK_H0, all, DOG_RISK_GROUPS);
        NEED(n == DOG_RISK_G_LOAD, "all of them but load, which is not measured: %d", n);
        struct dog_risk nobody;
        struct dog_risk_belief ordinary;
        dog_risk_init(&nobody);
        dog_risk_predict(&nobody, &r.model, &r.config, NULL, 0, &ordinary);
        double sum = (double)ordinary.raw[0];
        for (int i = 0; i < n; i++) {
                sum += (double)all[i].log_odds;
                OK(i == 0 || fabs((double)all[i].log_odds) <= fabs((double)all[i - 1].log_odds),
                   "sorted at %d", i);
        }
        OK(NEAR(sum, (double)b.raw[0], 0.01) || fabs(sum) > 8.9, "ordinary log-odds and drivers make %g: %g",
           (double)b.raw[0], sum);
        n = dog_risk_drivers(&r.model, &b, DOG_RISK_H0, few, 5);
        OK(n == 5, "the first five of them");
        for (int i = 0; i < n; i++)
                OK(few[i].name == all[i].name, "place %d: \"%s\"", i, few[i].name);
        OK(few[0].log_odds > 0, "\"%s\" %+.2f", few[0].name, (double)few[0].log_odds);
        OK(dog_risk_drivers(&r.model, &b, (enum dog_risk_target)9, few, 5) == 0, "no such target");
}

static void horizons_between_those_of_the_prior_lie_between(void)
{
        struct dog_risk_config c = dog_risk_config_default();
        struct dog_risk_model usual;
        struct dog_risk_model other;
        dog_risk_model_init(&usual, &c);
        c.horizon_ns[0] = 2 * DOG_S;
        c.horizon_ns[1] = 12 * DOG_S;
        c.horizon_ns[2] = 300 * DOG_S;
        dog_risk_model_init(&other, &c);
        for (int i = 0; i < DOG_RISK_FEATURES; i++) {
                float low = fminf(usual.weight[0][i], usual.weight[1][i]);
                float high = fmaxf(usual.weight[0][i], usual.weight[1][i]);
                OK(other.weight[0][i] >= low - 1e-6F && other.weight[0][i] <= high + 1e-6F, "%s at 2 s",
                   dog_risk_feature_name(i));
                OK(NEAR((double)other.weight[2][i], (double)usual.weight[2][i], 1e-6),
                   "beyond 30 s it is 30 s");
        }
}

static void the_joint_risk_keeps_the_frechet_bounds(void)
{
        static const double p[] = {0, 0.001, 0.1, 0.5, 0.9, 1, 7, -1};
        static const double rho[] = {-2, -1, -0.3, 0, 0.3, 1, 2};
        for (size_t a = 0; a < ARRAY_SIZE(p); a++)
                for (size_t b = 0; b < ARRAY_SIZE(p); b++)
                        for (size_t r = 0; r < ARRAY_SIZE(rho); r++) {
                                double pa = fmin(fmax(p[a], 0), 1);
                                double pb = fmin(fmax(p[b], 0), 1);
                                double j = dog_risk_joint(p[a], p[b], rho[r]);
                                OK(j >= fmax(0, pa + pb - 1) - 1e-12 && j <= fmin(pa, pb) + 1e-12,
                                   "%g, %g, %g gives %g", p[a], p[b], rho[r], j);
                        }
        OK(NEAR(dog_risk_joint(0.2, 0.3, 0), 0.06, 1e-12), "independent is the product");
        OK(NEAR(dog_risk_joint(0.3, 0.3, 1), 0.3, 1e-12), "the same fate is the same chance");
}

static void two_members_of_one_fate_are_found_out(void)
{
        for (int kind = 0; kind < 2; kind++) {
                struct dog_risk_pair pair;
                struct dog_rng rng;
                dog_rng_init(&rng, 61);
                dog_risk_pair_init(&pair);
                OK(NEAR(dog_risk_pair_rho(&pair), 0.05, 1e-6), "a little is assumed before evidence");
                for (int i = 0; i < 20000; i++) {
                        double p = 0.02 + 0.2 * dog_rng_unit(&rng);
                        double u = dog_rng_unit(&rng);
                        double v =
                                kind == 1 && i % 2 ? u : dog_rng_unit(&rng); /* half of the time one fate */
                        dog_risk_pair_learn(&pair, p, u < p, p, v < p);
                }
                double want = kind == 1 ? 0.5 : 0;
                OK(NEAR(dog_risk_pair_rho(&pair), want, 0.12), "dependence %g, found %g", want,
                   dog_risk_pair_rho(&pair));
        }
}

static void margins_are_zero_at_the_limit(void)
{
        float two[] = {0.5F, NAN, -0.25F};
        OK(NEAR((double)dog_margin_rtt(100, 100), 0, 1e-5) && dog_margin_rtt(50, 100) > 0 &&
                   dog_margin_rtt(200, 100) < 0,
           "a round trip");
        OK(NEAR((double)dog_margin_rate(4950, 5000), 0, 1e-6) && dog_margin_rate(0, 5000) < -1.9F, "a rate");
        OK(dog_margin_loss(0, 0.02) == 1 && dog_margin_loss(0.02, 0.02) <= 0 &&
                   dog_margin_loss(1, 0.02) == DOG_MARGIN_LOST,
           "a loss");
        OK(isnan(dog_margin_rtt((double)NAN, 100)) && isnan(dog_margin_rtt(10, 0)), "no measure, no margin");
        OK(dog_margin_least(two, 3) == -0.25F && isnan(dog_margin_least(two + 1, 1)),
           "the smallest that is known");
}

/* Load that is never told, or told and nothing, changes no bit of what is said. */
static void load_that_says_nothing_changes_nothing(void)
{
        static const float unknown[DOG_RISK_LOAD_SIGNALS] = {NAN, NAN, NAN, NAN, NAN, NAN};
        static const float idle[DOG_RISK_LOAD_SIGNALS] = {.3F, .5F, 0, 0, 0, 0};
        static const float *const load[3] = {NULL, unknown, idle};
        static struct member_run r[3];
        struct world w[3];
        memset(w, 0, sizeof(w));
        for (int k = 0; k < 3; k++) {
                run_init(&r[k]);
                dog_rng_init(&w[k].rng, 5);
        }
        for (int i = 0; i < 2000; i++) {
                struct dog_risk_belief b[3];
                memset(b, 0, sizeof(b));
                for (int k = 0; k < 3; k++) {
                        struct dog_risk_sample s = world_step(&w[k], i * DOG_S / 5);
                        s.load = load[k];
                        dog_risk_observe(&r[k].risk, &r[k].model, &r[k].config, &s, NULL);
                        dog_risk_step(&r[k].risk, &r[k].model, &r[k].config, NULL, i * DOG_S / 5, &b[k]);
                }
                OK(memcmp(&b[0], &b[1], sizeof(b[0])) == 0, "step %d: never told", i);
                OK(memcmp(b[0].p, b[2].p, sizeof(b[0].p)) == 0, "step %d: told, and idle", i);
        }
        OK(memcmp(&r[0].model, &r[1].model, sizeof(r[0].model)) == 0 &&
                   memcmp(r[0].model.loaded, r[2].model.loaded, sizeof(r[0].model.loaded)) == 0,
           "nor is anything learned from it");
}

/* Before experience load is a hint, not an alarm; and when it is no longer told it says nothing. */
static void load_by_itself_is_a_hint_and_grows_old(void)
{
        static const struct {
                float load[DOG_RISK_LOAD_SIGNALS]; /* cpu, memory, pressure, retransmissions, queue, errors */
                double least, most;                /* factor in the odds, near */
                const char *say;
        } row[] = {
                {{.8F, .7F, .1F, 0, 0, 0}, 1, 1.6, "busy"},
                {{1, .7F, .3F, 0, 0, 0}, 1.5, 3.5, "full"},
                {{1, .7F, .8F, .02F, 1, 0}, 4, 12, "full, and connections wait"},
                {{.2F, .4F, 0, 0, 0, .25F}, 1.5, 3, "a quarter of the requests fails"},
        };
        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
                struct member_run r;
                struct dog_risk_belief with, without;
                run_init(&r);
                for (int k = 0; k < 50; k++) {
                        struct dog_risk_sample s = {.t_ns = k * DOG_S / 5, .margin = 1, .load = row[i].load};
                        dog_risk_observe(&r.risk, &r.model, &r.config, &s, NULL);
                }
                dog_risk_predict(&r.risk, &r.model, &r.config, NULL, 10 * DOG_S, &with);
                dog_risk_predict(&r.risk, &r.model, &r.config, NULL, 16 * DOG_S, &without);
                OK(with.has_load && !without.has_load, "after 6 s it is old");
                double factor = exp((double)(with.raw[0] - without.raw[0]));
                OK(factor >= row[i].least && factor <= row[i].most, "%s: the odds times %.2f", row[i].say,
                   factor);
                struct dog_driver all[DOG_RISK_GROUPS];
                OK(dog_risk_drivers(&r.model, &with, DOG_RISK_H0, all, DOG_RISK_GROUPS) == DOG_RISK_G_LOAD + 1,
                   "and it can be named as a reason");
        }
}

static void a_member_fits_into_memory_a_million_times(void)
{
        OK(sizeof(struct dog_risk) <= 1824, "%zu bytes", sizeof(struct dog_risk));
}

int main(void)
{
        return CHECK_RUN(
                TEST(the_brier_score_falls_as_outcomes_come_in), TEST(the_prior_alone_beats_persistence),
                TEST(risk_is_graded_by_margin_trouble_and_time),
                TEST(a_prediction_is_graded_by_what_came_in_its_time), TEST(what_nobody_saw_is_not_graded),
                TEST(a_member_nobody_has_measured_has_the_prior_base_rate),
                TEST(no_prediction_knows_the_future_and_the_same_calls_give_the_same_bits),
                TEST(peers_are_the_others_and_not_oneself), TEST(drivers_tell_why_and_add_up),
                TEST(horizons_between_those_of_the_prior_lie_between),
                TEST(the_joint_risk_keeps_the_frechet_bounds), TEST(two_members_of_one_fate_are_found_out),
                TEST(margins_are_zero_at_the_limit), TEST(load_that_says_nothing_changes_nothing),
                TEST(load_by_itself_is_a_hint_and_grows_old),
                TEST(a_member_fits_into_memory_a_million_times));
}
