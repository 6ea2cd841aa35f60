/* Several forecasters weighed by their record (P8, P13, I14), and how a member fails (F5). */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "models/ensemble.h"
#include "models/modes.h"

#include <math.h>
#include <string.h>

/* To be said: the chance as it is. */
#define RIGHT (-7.0F)

/* A member whose promise breaks by a known chance, and two models that say something about it. */
struct world {
        struct dog_ensemble e;
        struct dog_ensemble_config c;
        struct dog_ensemble_belief b;
        struct dog_rng rng;
        int64_t t_ns;
        double square, square_worse;
        long graded;
        unsigned disarmed, rearmed;
};

static void world_open(struct world *w, uint64_t seed)
{
        memset(w, 0, sizeof(*w));
        w->c = dog_ensemble_config_default();
        dog_ensemble_init(&w->e);
        dog_rng_init(&w->rng, seed);
}

/* The weather of this second: the chance that the next one is bad. */
static float world_chance(const struct world *w)
{
        return (w->t_ns / DOG_S) % 20 < 4 ? 0.7F : 0.02F;
}

static void world_second(struct world *w, float logistic, float trees)
{
        struct dog_ensemble_news news;
        bool is_bad = dog_rng_unit(&w->rng) < (double)world_chance(w);
        w->t_ns += DOG_S;
        dog_ensemble_observe(&w->e, &w->c, w->t_ns, is_bad, &news);
        for (int i = 0; i < news.outcomes; i++) {
                if (news.outcome[i].target != 0)
                        continue;
                double y = news.outcome[i].is_bad;
                w->square += ((double)news.outcome[i].p - y) * ((double)news.outcome[i].p - y);
                w->graded++;
        }
        w->disarmed |= news.disarmed;
        w->rearmed |= news.rearmed;
        float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS];
        for (int h = 0; h < DOG_ENSEMBLE_TARGETS; h++) {
                said[DOG_EXPERT_LOGISTIC][h] = logistic == RIGHT ? world_chance(w) : logistic;
                said[DOG_EXPERT_TREES][h] = trees == RIGHT ? world_chance(w) : trees;
        }
        dog_ensemble_step(&w->e, &w->c, said, w->t_ns, &w->b);
}

/* P8, P13: the one that is right is heard more and more, whichever it is. */
static void weights_move_to_the_better_one(void)
{
        for (int better = 0; better < DOG_EXPERT_MODELS; better++) {
                struct world w;
                world_open(&w, 7);
                world_second(&w, 0.1F, 0.1F);
                float before = w.b.weight[0][better];
                for (int i = 0; i < 1000; i++)
                        world_second(&w, better == 0 ? RIGHT : 0.16F, better == 1 ? RIGHT : 0.16F);
                OK(w.b.weight[0][better] > 0.8F && w.b.weight[0][better] > before, "%s: from %.2f to %.2f",
                   dog_expert_name(better), (double)before, (double)w.b.weight[0][better]);
                OK(dog_ensemble_speaker(&w.b, 0) == better, "and it is asked for reasons");
                float sum = 0;
                for (int i = 0; i < DOG_EXPERTS; i++)
                        sum += w.b.weight[0][i];
                OK(NEAR((double)sum, 1, 1e-5), "weights sum to 1: %g", (double)sum);
                OK(w.square / (double)w.graded < 0.075, "as good as the right one (.0577): %.4f",
                   w.square / (double)w.graded);
        }
}

/* P13: and back, when the other one becomes the better; a weight never dies. */
static void who_was_wrong_for_long_is_heard_again(void)
{
        struct world w;
        world_open(&w, 9);
        for (int i = 0; i < 3000; i++)
                world_second(&w, RIGHT, 0.16F);
        float low = w.b.weight[0][DOG_EXPERT_TREES];
        OK(low > 0.001F && low < 0.2F, "the trees count little: %.3f", (double)low);
        int took = 0;
        while (took < 400 && !(w.b.weight[0][DOG_EXPERT_TREES] > w.b.weight[0][DOG_EXPERT_LOGISTIC])) {
                world_second(&w, 0.16F, RIGHT);
                took++;
        }
        OK(took < 100, "and most after %d seconds", took);
}

/* P8, P13: of each sample it was said before what it would be; that record is its own. */
static void the_next_sample_is_graded_by_the_next_sample(void)
{
        struct world w;
        struct dog_ensemble_news news;
        float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS];
        int graded = 0;
        world_open(&w, 21);
        for (int i = 0; i < 1000; i++) {
                /* Five a second, each fourth is bad: one second always is, which sample it is the trees know.
                 */
                bool is_bad = i % 4 == 0;
                dog_ensemble_observe(&w.e, &w.c, i * (DOG_S / 5), is_bad, &news);
                for (int k = 0; k < news.outcomes; k++)
                        if (news.outcome[k].target == DOG_ENSEMBLE_NEXT) {
                                graded++;
                                OK(news.outcome[k].is_bad == is_bad &&
                                           news.outcome[k].t_ns == (i - 1) * (DOG_S / 5),
                                   "the one before spoke of this one");
                        }
                for (int t = 0; t < DOG_ENSEMBLE_TARGETS; t++) {
                        said[DOG_EXPERT_LOGISTIC][t] = t == DOG_ENSEMBLE_NEXT ? 0.25F : 0.97F;
                        said[DOG_EXPERT_TREES][t] = t != DOG_ENSEMBLE_NEXT ? 0.97F
                                                    : i % 4 == 3           ? 0.95F
                                                                           : 0.05F;
                }
                dog_ensemble_step(&w.e, &w.c, said, i * (DOG_S / 5), &w.b);
        }
        OK(graded == 999, "each but the first: %d", graded);
        OK(w.b.weight[DOG_ENSEMBLE_NEXT][DOG_EXPERT_TREES] > 0.9F && w.b.p[DOG_ENSEMBLE_NEXT] > 0.9F,
           "who knows the beat is heard: %.2f, and says %.2f",
           (double)w.b.weight[DOG_ENSEMBLE_NEXT][DOG_EXPERT_TREES], (double)w.b.p[DOG_ENSEMBLE_NEXT]);
}

static void the_same_outcomes_give_the_same_bits(void)
{
        struct world a;
        struct world b;
        world_open(&a, 3);
        world_open(&b, 3);
        for (int i = 0; i < 500; i++) {
                world_second(&a, 0.1F, i % 3 ? 0.2F : NAN);
                world_second(&b, 0.1F, i % 3 ? 0.2F : NAN);
        }
        OK(memcmp(a.b.p, b.b.p, sizeof(a.b.p)) == 0 &&
                   memcmp(a.b.weight, b.b.weight, sizeof(a.b.weight)) == 0,
           "bit for bit");
        /* A copy is as good, and what comes later changes nothing that was said. */
        struct world c = a;
        struct dog_ensemble_belief then = a.b;
        world_second(&a, 0.1F, 0.2F);
        world_second(&c, 0.1F, 0.2F);
        OK(memcmp(a.b.p, c.b.p, sizeof(a.b.p)) == 0, "a copy thinks the same");
        OK(memcmp(&then, &b.b, sizeof(then.p)) == 0, "and said what it said");
}

/* P13: one model is disarmed by its own record; the other is heard on. */
static void a_model_that_loses_to_persistence_is_not_heard(void)
{
        struct world w;
        int at = 0;
        world_open(&w, 5);
        for (int i = 0; i < 600 && !w.disarmed; i++, at = i)
                world_second(&w, 0.9F, RIGHT);
        OK(w.disarmed == 1U << DOG_EXPERT_LOGISTIC && at >= 190, "the logistic, after %d outcomes", at);
        world_second(&w, 0.9F, 0.02F);
        OK(!(w.b.weight[0][DOG_EXPERT_LOGISTIC] > 0) && w.b.weight[0][DOG_EXPERT_TREES] > 0.5F,
           "it counts nothing, the trees %.2f", (double)w.b.weight[0][DOG_EXPERT_TREES]);
        for (int i = 0; i < 600 && !w.rearmed; i++)
                world_second(&w, RIGHT, RIGHT);
        OK(w.rearmed == 1U << DOG_EXPERT_LOGISTIC, "good again, it is heard again");
        /* Saying 2 % two hundred times in a calm is no proof of being wrong. */
        struct dog_brier calm;
        dog_brier_init(&calm);
        for (int i = 0; i < 200; i++)
                OK(dog_brier_learn(&calm, 0.015, 0, false) == DOG_BRIER_SAME, "calm %d", i);
        dog_ensemble_renew(&w.e, DOG_EXPERT_TREES);
        float sum = 0;
        for (int i = 0; i < DOG_EXPERTS; i++)
                sum += w.e.weight[1][i];
        OK(NEAR((double)sum, 1, 1e-5) && !w.e.is_disarmed[DOG_EXPERT_TREES], "a new model begins anew: %g",
           (double)sum);
}

/* P13: whatever the models say, the mixture is hardly worse than what has always happened. */
static void without_models_it_says_what_has_happened(void)
{
        struct world w;
        world_open(&w, 11);
        for (int i = 0; i < 4000; i++)
                world_second(&w, NAN, NAN);
        OK(dog_ensemble_speaker(&w.b, 0) == -1, "no model speaks");
        double p = (double)w.b.p[0];
        OK(p > 0.02 && p < 0.9, "a chance all the same: %g", p);
        OK(w.square / (double)w.graded < 0.16 * 0.84 * 1.05, "not worse than the base rate (.134): %.4f",
           w.square / (double)w.graded);
        struct dog_ensemble_news news;
        dog_ensemble_observe(&w.e, &w.c, w.t_ns, true, &news);
        OK(news.outcomes == 0 && w.e.last_ns == w.t_ns, "a clock that stands still brings nothing");
        dog_ensemble_observe(&w.e, &w.c, w.t_ns + 60 * DOG_S, true, &news);
        OK(news.outcomes == 0, "after a silence nothing is graded");
        for (int k = 0; k < DOG_ENSEMBLE_PENDING; k++)
                OK(w.e.pending[k].t_ns == INT64_MIN, "and nothing waits");
        const float wrong[] = {NAN, -1, 2, INFINITY};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                world_second(&w, wrong[i], wrong[i]);
                OK(w.b.p[0] > 0 && w.b.p[0] < 1 && dog_ensemble_speaker(&w.b, 0) == -1, "%g is no chance",
                   (double)wrong[i]);
        }
}

/* Thin evidence in one range is shrunk towards what the overall record says, and that towards nothing. */
static void calibration_shrinks_to_the_base_rate_while_thin(void)
{
        struct dog_calib c;
        dog_calib_init(&c);
        dog_calib_learn(&c, 0.5, true);
        OK(NEAR(dog_calib_apply(&c, 0.5), 0.5, 0.02), "one outcome moves little: %g",
           dog_calib_apply(&c, 0.5));
        for (int i = 0; i < 4000; i++)
                dog_calib_learn(&c, 0.1, i % 50 == 0);
        double rare = dog_calib_apply(&c, 0.7);
        OK(dog_calib_apply(&c, 0.1) < 0.04, "says 10 %%, happens 2 %%: %g", dog_calib_apply(&c, 0.1));
        OK(rare < 0.6 && rare > 0.2, "70 %%, hardly ever said, is lowered by the record of the others: %g",
           rare);
}

/* ---- how it fails ---- */

struct failing {
        struct dog_modes m;
        struct dog_mode_records r;
        struct dog_mode_chance p[DOG_MODES];
        int64_t t_ns;
};

static void failing_open(struct failing *f)
{
        memset(f, 0, sizeof(*f));
        dog_modes_init(&f->m);
        dog_mode_records_init(&f->r);
}

static void failing_sample(struct failing *f, float rtt_ms, float loss, float load, bool is_late,
                           float p_breach)
{
        f->t_ns += DOG_S;
        struct dog_mode_sample s = {.t_ns = f->t_ns,
                                    .rtt_ms = loss >= 1 ? NAN : rtt_ms,
                                    .loss = loss,
                                    .load = load,
                                    .is_bad = loss >= 1 || rtt_ms > 100 || is_late,
                                    .is_network_good = is_late && rtt_ms < 100};
        dog_modes_observe(&f->m, &f->r, &s, 5 * DOG_S);
        dog_modes_step(&f->m, &f->r, p_breach, f->t_ns, f->p);
}

/* F5: link failure, device overload, congestion: each when it is its turn. */
static void each_way_to_fail_has_its_own_chance(void)
{
        struct failing f;
        failing_open(&f);
        failing_sample(&f, 30, 0, NAN, false, 0.01F);
        for (int i = 0; i < DOG_MODES; i++)
                OK(!f.p[i].has_skill, "%s: nobody knows yet", dog_mode_name(i));
        OK(isnan(f.p[DOG_MODE_OVERLOAD].p), "load is not measured, and nothing is said of it");
        /* A minute of queues, a minute of silence, and calm between; the risk is forecast well. */
        for (int k = 0; k < 60; k++) {
                for (int i = 0; i < 30; i++)
                        failing_sample(&f, 30, 0, 0.2F, false, 0.01F);
                for (int i = 0; i < 20; i++)
                        failing_sample(&f, k % 2 ? 150 : 30, k % 2 ? 0 : 1, 0.2F, false, 0.95F);
        }
        OK(f.p[DOG_MODE_CONGESTION].has_skill && f.p[DOG_MODE_LINK].has_skill,
           "both were learned: %.2f, %.2f", dog_mode_skill(&f.r.of[DOG_MODE_CONGESTION]),
           dog_mode_skill(&f.r.of[DOG_MODE_LINK]));
        OK(!f.p[DOG_MODE_OVERLOAD].has_skill && f.p[DOG_MODE_OVERLOAD].p < 0.02F,
           "overload never came: its base rate, %.3f", (double)f.p[DOG_MODE_OVERLOAD].p);
        for (int i = 0; i < 10; i++)
                failing_sample(&f, 30 + 20 * (float)i, 0, 0.2F, false, 0.9F);
        OK(f.p[DOG_MODE_CONGESTION].p > 2 * f.p[DOG_MODE_LINK].p, "delay grows: congestion %.2f, link %.2f",
           (double)f.p[DOG_MODE_CONGESTION].p, (double)f.p[DOG_MODE_LINK].p);
        for (int i = 0; i < 60; i++)
                failing_sample(&f, 30, 0, 0.2F, false, 0.01F);
        for (int i = 0; i < 2; i++)
                failing_sample(&f, 0, 1, 0.2F, false, 0.9F);
        OK(f.p[DOG_MODE_LINK].p > 2 * f.p[DOG_MODE_CONGESTION].p,
           "answers are missing: link %.2f, congestion %.2f", (double)f.p[DOG_MODE_LINK].p,
           (double)f.p[DOG_MODE_CONGESTION].p);
        for (int i = 0; i < DOG_MODES; i++)
                OK(f.p[i].p >= 0 && f.p[i].p <= 1, "%s is a chance", dog_mode_name(i));
}

/* F5: an overloaded server over a quick network. */
static void a_late_answer_over_a_quick_network_is_overload(void)
{
        struct failing f;
        failing_open(&f);
        for (int k = 0; k < 40; k++) {
                for (int i = 0; i < 20; i++)
                        failing_sample(&f, 10, 0, 0.3F, false, 0.02F);
                for (int i = 0; i < 15; i++)
                        failing_sample(&f, 10, 0, 0.97F, true, 0.9F);
        }
        OK(f.p[DOG_MODE_OVERLOAD].has_skill && f.p[DOG_MODE_OVERLOAD].p > 0.6F, "overload %.2f, skill %.2f",
           (double)f.p[DOG_MODE_OVERLOAD].p, dog_mode_skill(&f.r.of[DOG_MODE_OVERLOAD]));
        OK(f.p[DOG_MODE_CONGESTION].p < 0.1F, "and no congestion: %.2f", (double)f.p[DOG_MODE_CONGESTION].p);
}

int main(void)
{
        return CHECK_RUN(TEST(weights_move_to_the_better_one), TEST(who_was_wrong_for_long_is_heard_again),
                         TEST(the_next_sample_is_graded_by_the_next_sample),
                         TEST(the_same_outcomes_give_the_same_bits),
                         TEST(a_model_that_loses_to_persistence_is_not_heard),
                         TEST(without_models_it_says_what_has_happened),
                         TEST(calibration_shrinks_to_the_base_rate_while_thin),
                         TEST(each_way_to_fail_has_its_own_chance),
                         TEST(a_late_answer_over_a_quick_network_is_overload));
}
