/*
 * Boosted trees: tables, training, asking. F2: history is kept and used to forecast. I1: a model learns from
 * metrics. P13: what was learned from, and that it is learned. O3, F4: what will go wrong is learned from
 * records.
 */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/rng.h"
#include "check.h"
#include "learn/gbt_train.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const ab[] = {"a", "b", "c", "d"};
static const char *const yes[] = {"yes", "also", "number"};

static struct dog_table *table_of(unsigned features, unsigned targets)
{
        struct dog_table *t;
        struct dog_err e = {0};
        NEED(dog_table_new(&t, "made", ab, features, yes, targets, &e) == 0, "%s", e.text);
        return t;
}

static void table_put(struct dog_table *t, const float *x, const int8_t *label, uint32_t block)
{
        struct dog_err e = {0};
        const struct dog_table_row row = {.x = x, .label = label, .weight = 1, .block = block};
        NEED(dog_table_add(t, &row, &e) == 0, "%s", e.text);
}

/* Everything on, so that one tree can be followed by hand. */
static struct dog_gbt_params params_plain(unsigned rounds, unsigned depth)
{
        struct dog_gbt_params p = dog_gbt_params_default();
        p.rounds = rounds;
        p.depth = depth;
        p.learn_rate = 1;
        p.lambda = 0;
        p.min_child = 0;
        p.row_share = 1;
        p.column_share = 1;
        return p;
}

static struct dog_gbt *train(const struct dog_table *t, const uint8_t *use, const struct dog_gbt_params *p)
{
        struct dog_gbt_bins *b;
        struct dog_gbt *m;
        struct dog_err e = {0};
        NEED(dog_gbt_bins_new(&b, t, use, p->threads, &e) == 0, "%s", e.text);
        NEED(dog_gbt_train(&m, b, p, false, NULL, NULL, &e) == 0, "%s", e.text);
        dog_gbt_bins_free(b);
        return m;
}

static bool models_are_alike(const struct dog_gbt *a, const struct dog_gbt *b)
{
        size_t size = dog_gbt_size(a);
        bool is_alike = size == dog_gbt_size(b);
        uint8_t *bytes = malloc(2 * size);
        NEED(bytes, "memory");
        if (is_alike) {
                dog_gbt_write(a, bytes);
                dog_gbt_write(b, bytes + size);
                is_alike = memcmp(bytes, bytes + size, size) == 0;
        }
        free(bytes);
        return is_alike;
}

/* A table with noise, gaps and two targets, from a seed. */
static struct dog_table *table_made(size_t rows, uint64_t seed)
{
        struct dog_table *t = table_of(4, 2);
        struct dog_rng rng;
        dog_rng_init(&rng, seed);
        for (size_t i = 0; i < rows; i++) {
                float x[4];
                for (unsigned f = 0; f < 4; f++)
                        x[f] = dog_rng_below(&rng, 10) == 0 ? NAN : (float)dog_rng_normal(&rng);
                double z = (x[0] > 0 ? 2 : -2) + (x[1] == x[1] ? (double)x[1] : 3) - (x[2] > 1);
                const int8_t label[2] = {dog_rng_unit(&rng) < 1 / (1 + exp(-z)),
                                         dog_rng_below(&rng, 5) == 0 ? DOG_LABEL_UNKNOWN : x[3] > 0};
                table_put(t, x, label, (uint32_t)(i / 100));
        }
        return t;
}

/* ---- tables ---- */

static void a_table_refuses_what_is_no_number_no_label_and_no_weight(void)
{
        struct dog_table *t = table_of(2, 1);
        const struct {
                float x[2], weight;
                int8_t label;
                const char *say;
        } row[] = {
                {{1, INFINITY}, 1, 0, "feature b is infinite"},
                {{1, 2}, 1, 2, "yes is 2"},
                {{1, 2}, 1, -2, "yes is -2"},
                {{1, 2}, -1, 0, "a weight of -1"},
                {{1, 2}, NAN, 0, "a weight of"},
                {{1, 2}, INFINITY, 0, "a weight of inf"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_err e = {0};
                const struct dog_table_row r = {
                        .x = row[i].x, .label = &row[i].label, .weight = row[i].weight};
                OK(dog_table_add(t, &r, &e) == -EINVAL && strstr(e.text, row[i].say), "%s: %s", row[i].say,
                   e.text);
        }
        OK(t->rows == 0, "none was added");
        const struct dog_table_row nan_row = {.x = (const float[]){NAN, 1}, .weight = 0};
        OK(dog_table_add(t, &nan_row, NULL) == 0 && dog_table_label(t, 0, 0) == DOG_LABEL_UNKNOWN,
           "what was not measured and is not known is welcome");
        dog_table_free(t);

        const char *const twice[] = {"a", "a"};
        const char *const empty[] = {""};
        char longest[DOG_TABLE_NAME_SIZE + 1];
        memset(longest, 'x', sizeof(longest));
        longest[sizeof(longest) - 1] = 0;
        const char *const too_long[] = {longest};
        OK(dog_table_new(&t, "t", twice, 2, yes, 1, NULL) == -EINVAL, "two features of one name");
        OK(dog_table_new(&t, "t", empty, 1, yes, 1, NULL) == -EINVAL, "a feature without a name");
        OK(dog_table_new(&t, "t", too_long, 1, yes, 1, NULL) == -EINVAL, "a name that does not fit");
        OK(dog_table_new(&t, "t", ab, 0, yes, 1, NULL) == -EINVAL, "no feature");
        OK(dog_table_new(&t, "t", ab, DOG_TABLE_FEATURES_MAX + 1, yes, 1, NULL) == -EINVAL, "too many");
        OK(dog_table_new(&t, "t", ab, 1, yes, 0, NULL) == -EINVAL, "no target");
}

static void a_fingerprint_sees_every_change_and_no_copy(void)
{
        struct dog_table *t = table_made(300, 1);
        uint64_t print = dog_table_fingerprint(t);
        struct dog_table *same = table_made(300, 1);
        OK(dog_table_fingerprint(same) == print, "the same data");
        same->id[7] = 99;
        OK(dog_table_fingerprint(same) == print, "ids are not content");
        dog_table_free(same);

        float x = t->x[500];
        t->x[500] = x == x ? NAN : 1;
        OK(dog_table_fingerprint(t) != print, "a number");
        t->x[500] = x;
        t->label[3] ^= 1;
        OK(dog_table_fingerprint(t) != print, "a label");
        t->label[3] ^= 1;
        t->weight[9] = 2;
        OK(dog_table_fingerprint(t) != print, "a weight");
        t->weight[9] = 1;
        t->block[9] = 77;
        OK(dog_table_fingerprint(t) != print, "a block");
        t->block[9] = 0;
        t->feature_name[1][0] = 'z';
        OK(dog_table_fingerprint(t) != print, "a name");
        t->feature_name[1][0] = 'b';
        OK(dog_table_fingerprint(t) == print, "and back");
        t->rows--;
        OK(dog_table_fingerprint(t) != print, "a row less");
        dog_table_free(t);

        const char *const swapped[] = {"b", "a", "c", "d"};
        const char *const joined[] = {"ab", "c", "d"};
        const char *const other[] = {"a", "bc", "d"};
        OK(dog_feature_set_hash(ab, 4) == dog_feature_set_hash(ab, 4), "a set of features");
        OK(dog_feature_set_hash(ab, 4) != dog_feature_set_hash(swapped, 4), "their order counts");
        OK(dog_feature_set_hash(joined, 3) != dog_feature_set_hash(other, 3), "their borders count");
}

/* ---- trees by hand ---- */

/* Four rows, two of them yes: base 0, p = 1/2 everywhere, g = -+1/2, h = 1/4. */
static void one_split_is_what_it_is_by_hand(void)
{
        struct dog_table *t = table_of(1, 1);
        const struct {
                float x;
                int8_t label;
        } row[] = {{1, 0}, {2, 0}, {5, 1}, {6, 1}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++)
                table_put(t, &row[i].x, &row[i].label, 0);
        struct dog_gbt_params p = params_plain(1, 1);
        p.lambda = 1;
        p.learn_rate = 0.5F;
        struct dog_gbt *m = train(t, NULL, &p);
        const struct dog_gbt_ensemble *s = &m->ensemble[0];
        NEED(s->trees == 1 && s->depth == 1, "one tree of one split");
        OK(NEAR(s->base, 0, 1e-6F), "log-odds of a half: %g", (double)s->base);
        OK(NEAR(s->node[0].above, 3.5F, 1e-6F), "in the middle between 2 and 5: %g",
           (double)s->node[0].above);
        /* -rate x G / (H + lambda) = -0.5 x (+-1) / (0.5 + 1) */
        OK(NEAR(s->leaf[0], -1.0F / 3, 1e-5F) && NEAR(s->leaf[1], 1.0F / 3, 1e-5F), "leaves: %g and %g",
           (double)s->leaf[0], (double)s->leaf[1]);
        OK(NEAR(s->mean[0], 0, 1e-6F), "the mean of the root: %g", (double)s->mean[0]);
        const float low = 3.5F;
        const float high = 3.5001F;
        OK(NEAR(dog_gbt_log_odds(m, 0, &low), -1.0F / 3, 1e-5F), "at the threshold: left");
        OK(NEAR(dog_gbt_log_odds(m, 0, &high), 1.0F / 3, 1e-5F), "above it: right");
        dog_gbt_free(m);
        dog_table_free(t);
}

/* The weight of a row counts as so many rows: x = 1 has g = 3 x 1/4, x = 2 has g = -3/4. */
static void a_weight_counts_as_so_many_rows(void)
{
        struct dog_table *weighed = table_of(1, 1);
        struct dog_table *repeated = table_of(1, 1);
        struct dog_rng rng;
        dog_rng_init(&rng, 5);
        for (int i = 0; i < 400; i++) {
                float x = (float)dog_rng_unit(&rng);
                int8_t label = (double)x + 0.3 * dog_rng_normal(&rng) > 0.5;
                unsigned times = 1 + (unsigned)dog_rng_below(&rng, 3);
                const struct dog_table_row row = {.x = &x, .label = &label, .weight = (float)times};
                NEED(dog_table_add(weighed, &row, NULL) == 0, "a row");
                for (unsigned k = 0; k < times; k++)
                        table_put(repeated, &x, &label, 0);
        }
        /* Few distinct values, so that the bins are the same. */
        for (size_t i = 0; i < weighed->rows; i++)
                weighed->x[i] = rintf(weighed->x[i] * 50);
        for (size_t i = 0; i < repeated->rows; i++)
                repeated->x[i] = rintf(repeated->x[i] * 50);
        struct dog_gbt_params p = params_plain(20, 2);
        p.lambda = 1;
        struct dog_gbt *a = train(weighed, NULL, &p);
        struct dog_gbt *b = train(repeated, NULL, &p);
        float worst = 0;
        for (size_t i = 0; i < weighed->rows; i++)
                worst = fmaxf(worst, fabsf(dog_gbt_log_odds(a, 0, dog_table_x(weighed, i)) -
                                           dog_gbt_log_odds(b, 0, dog_table_x(weighed, i))));
        /* The base differs by its half row. */
        OK(worst < 0.02F, "the same model, but for %g", (double)worst);
        dog_gbt_free(a);
        dog_gbt_free(b);
        dog_table_free(weighed);
        dog_table_free(repeated);
}

/* What is missing goes where it was better off in training; where none was missing, to the heavier side. */
static void what_was_not_measured_goes_where_training_says(void)
{
        static const struct {
                int8_t missing_is;
                bool has_missing;
                const char *say;
                bool goes_right;
        } row[] = {
                {1, true, "missing is like above: right", true},
                {0, true, "missing is like below: left", false},
                {0, false, "none was missing, most rows are above: right", true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_table *t = table_of(1, 1);
                for (int k = 0; k < 30; k++) {
                        float x = (float)k;
                        int8_t label = k >= 10;
                        const float missing = NAN;
                        table_put(t, &x, &label, 0);
                        if (row[i].has_missing)
                                table_put(t, &missing, &row[i].missing_is, 0);
                }
                struct dog_gbt_params p = params_plain(1, 1);
                p.lambda = 1;
                struct dog_gbt *m = train(t, NULL, &p);
                const float nothing = NAN;
                float said = dog_gbt_log_odds(m, 0, &nothing);
                const struct dog_gbt_ensemble *s = &m->ensemble[0];
                OK(NEAR(s->node[0].above, 9.5F, 1e-5F), "split at %g", (double)s->node[0].above);
                OK(NEAR(said, s->base + s->leaf[row[i].goes_right], 1e-6F), "%s", row[i].say);
                dog_gbt_free(m);
                dog_table_free(t);
        }
}

/* Only whether it was measured tells anything: measured rows are all alike. */
static void that_nothing_was_measured_can_be_the_news(void)
{
        struct dog_table *t = table_of(1, 1);
        for (int k = 0; k < 40; k++) {
                const float x[2] = {7, NAN};
                int8_t label = (k & 1) != 0;
                table_put(t, &x[k % 2], &label, 0);
        }
        struct dog_gbt_params p = params_plain(3, 2);
        p.lambda = 1;
        struct dog_gbt *m = train(t, NULL, &p);
        const float there = 7;
        const float other = -1000;
        const float nothing = NAN;
        OK(dog_gbt_log_odds(m, 0, &nothing) > 1 && dog_gbt_log_odds(m, 0, &there) < -1, "%g and %g",
           (double)dog_gbt_log_odds(m, 0, &nothing), (double)dog_gbt_log_odds(m, 0, &there));
        OK(dog_gbt_log_odds(m, 0, &other) < -1, "any measured value is measured");
        dog_gbt_free(m);
        dog_table_free(t);
}

/* ---- learning ---- */

static void xor_is_learned(void)
{
        struct dog_table *t = table_of(2, 1);
        struct dog_rng rng;
        dog_rng_init(&rng, 3);
        for (int i = 0; i < 2000; i++) {
                const float x[2] = {(float)dog_rng_unit(&rng), (float)dog_rng_unit(&rng)};
                int8_t label = (x[0] > 0.5F) != (x[1] > 0.5F);
                table_put(t, x, &label, 0);
        }
        struct dog_gbt_params p = dog_gbt_params_default();
        p.learn_rate = 0.3F;
        p.column_share = 1;
        p.min_child = 1;
        struct dog_gbt *m = train(t, NULL, &p);
        unsigned wrong = 0;
        for (int i = 0; i < 1000; i++) {
                const float x[2] = {(float)dog_rng_unit(&rng), (float)dog_rng_unit(&rng)};
                wrong += (dog_gbt_log_odds(m, 0, x) > 0) != ((x[0] > 0.5F) != (x[1] > 0.5F));
        }
        OK(wrong <= 10, "%u of 1000 wrong", wrong);
        dog_gbt_free(m);
        dog_table_free(t);
}

static void a_smooth_number_is_learned(void)
{
        struct dog_table *t = table_of(2, 1);
        struct dog_rng rng;
        t->target_kind[0] = DOG_TARGET_NUMBER;
        dog_rng_init(&rng, 4);
        for (int i = 0; i < 4000; i++) {
                const float x[2] = {(float)dog_rng_unit(&rng), (float)dog_rng_unit(&rng)};
                float number = (float)(100 + 10 * sin(6 * (double)x[0]) + 5 * (double)x[1]);
                if (i % 50 == 0)
                        number = NAN; /* not known: not learned from */
                const struct dog_table_row row = {.x = x, .number = &number, .weight = 1};
                NEED(dog_table_add(t, &row, NULL) == 0, "a row");
        }
        struct dog_gbt_params p = dog_gbt_params_default();
        p.learn_rate = 0.1F;
        p.column_share = 1;
        struct dog_gbt *m = train(t, NULL, &p);
        double square = 0;
        for (int i = 0; i < 1000; i++) {
                const float x[2] = {(float)dog_rng_unit(&rng), (float)dog_rng_unit(&rng)};
                double away = (double)dog_gbt_log_odds(m, 0, x) -
                              (100 + 10 * sin(6 * (double)x[0]) + 5 * (double)x[1]);
                square += away * away;
        }
        double rms = sqrt(square / 1000);
        OK(rms < 0.4, "root mean square error %.3f of a spread of about 7", rms);
        dog_gbt_free(m);
        dog_table_free(t);
}

/* The chances that were put in come out. */
static void chances_are_learned_not_only_an_order(void)
{
        struct dog_table *t = table_made(20000, 7);
        struct dog_gbt_params p = dog_gbt_params_default();
        p.column_share = 1;
        struct dog_gbt *m = train(t, NULL, &p);
        double said[10] = {0};
        double was[10] = {0};
        unsigned n[10] = {0};
        for (size_t i = 0; i < t->rows; i++) {
                double chance = 1 / (1 + exp((double)-dog_gbt_log_odds(m, 0, dog_table_x(t, i))));
                unsigned k = chance < 1 ? (unsigned)(chance * 10) : 9;
                said[k] += chance;
                was[k] += dog_table_label(t, i, 0);
                n[k]++;
        }
        for (unsigned k = 0; k < 10; k++)
                if (n[k] > 200)
                        OK(NEAR(said[k] / n[k], was[k] / n[k], 0.04), "says %.3f, happens %.3f of %u",
                           said[k] / n[k], was[k] / n[k], n[k]);
        dog_gbt_free(m);
        dog_table_free(t);
}

static void training_on_noise_stops_early_and_is_cut_to_its_best(void)
{
        struct dog_table *t = table_of(4, 1);
        struct dog_rng rng;
        uint8_t use[20];
        dog_rng_init(&rng, 9);
        for (unsigned i = 0; i < 2000; i++) {
                float x[4];
                int8_t label = dog_rng_below(&rng, 2) == 1;
                for (unsigned f = 0; f < 4; f++)
                        x[f] = (float)dog_rng_unit(&rng);
                table_put(t, x, &label, i / 100);
        }
        for (unsigned i = 0; i < 20; i++)
                use[i] = i % 3 == 0 ? DOG_BLOCK_STOP : DOG_BLOCK_LEARN;
        struct dog_gbt_params p = dog_gbt_params_default();
        p.learn_rate = 0.3F;
        p.min_child = 1;
        p.patience = 10;
        struct dog_gbt_bins *b;
        struct dog_gbt_trainer *tr;
        struct dog_gbt *m;
        NEED(dog_gbt_bins_new(&b, t, use, 1, NULL) == 0, "bins");
        NEED(dog_gbt_trainer_new(&tr, b, 0, &p, NULL) == 0, "a trainer");
        double least = dog_gbt_trainer_progress(tr).stop_loss;
        OK(NEAR(least, log(2), 0.01), "the loss of knowing nothing: %.4f", least);
        while (dog_gbt_trainer_round(tr, NULL) > 0)
                least = fmin(least, dog_gbt_trainer_progress(tr).stop_loss);
        struct dog_gbt_progress at = dog_gbt_trainer_progress(tr);
        OK(at.done < 60, "noise: stopped after %u of 300 rounds", at.done);
        OK(at.best_loss <= least && at.best + p.patience <= at.done + 1, "best: %u trees, %.4f", at.best,
           at.best_loss);
        NEED(dog_gbt_trainer_model(tr, &m, NULL) == 0, "a model");
        OK(m->ensemble[0].trees == at.best, "the model has the trees of the best round");
        dog_gbt_free(m);
        dog_gbt_trainer_free(tr);
        dog_gbt_bins_free(b);
        dog_table_free(t);
}

/* Blocks that are skipped must not matter at all: not for bins, base or trees. */
static void what_is_kept_for_judging_is_not_looked_at(void)
{
        struct dog_table *t = table_made(2000, 11);
        struct dog_table *other = table_made(2000, 11);
        uint8_t use[20] = {DOG_BLOCK_LEARN};
        for (unsigned i = 15; i < 20; i++)
                use[i] = DOG_BLOCK_SKIP;
        for (size_t i = 1500; i < 2000; i++) {
                other->x[i * 4] = 1e6F;
                other->label[i * 2] ^= 1;
        }
        struct dog_gbt_params p = dog_gbt_params_default();
        p.rounds = 30;
        struct dog_gbt *a = train(t, use, &p);
        struct dog_gbt *b = train(other, use, &p);
        OK(models_are_alike(a, b), "the same model, whatever is in the blocks that are skipped");
        dog_gbt_free(a);
        dog_gbt_free(b);
        dog_table_free(t);
        dog_table_free(other);
}

static void any_number_of_threads_gives_the_same_bits(void)
{
        struct dog_table *t = table_made(3000, 12);
        struct dog_gbt_params p = dog_gbt_params_default();
        p.rounds = 40;
        p.min_child = 2;
        p.column_share = 0.8F;
        struct dog_gbt *one = train(t, NULL, &p);
        for (unsigned threads = 2; threads <= 16; threads += 7) {
                p.threads = threads;
                struct dog_gbt *many = train(t, NULL, &p);
                OK(models_are_alike(one, many), "%u threads", threads);
                dog_gbt_free(many);
        }
        p.seed = 2;
        struct dog_gbt *other = train(t, NULL, &p);
        OK(!models_are_alike(one, other), "another seed is another model");
        dog_gbt_free(other);
        dog_gbt_free(one);
        dog_table_free(t);
}

/* What training believes of its rows is bit for bit what the model says of them. */
static void the_model_says_what_training_saw(void)
{
        struct dog_table *t = table_made(1000, 13);
        struct dog_gbt_params p = dog_gbt_params_default();
        p.rounds = 25;
        p.min_child = 1;
        uint8_t use[10] = {0};
        for (unsigned i = 0; i < 10; i += 2)
                use[i] = DOG_BLOCK_STOP;
        struct dog_gbt_bins *b;
        struct dog_gbt_trainer *tr;
        struct dog_gbt *m;
        NEED(dog_gbt_bins_new(&b, t, use, 1, NULL) == 0 && dog_gbt_trainer_new(&tr, b, 0, &p, NULL) == 0,
             "trainer");
        double loss = 0;
        unsigned n = 0;
        while (dog_gbt_trainer_round(tr, NULL) > 0)
                ;
        NEED(dog_gbt_trainer_model(tr, &m, NULL) == 0, "a model");
        for (size_t i = 0; i < t->rows; i++)
                if (use[t->block[i]] == DOG_BLOCK_STOP) {
                        double z = (double)dog_gbt_log_odds(m, 0, dog_table_x(t, i));
                        loss += log1p(exp(-fabs(z))) + fmax(z, 0) - z * dog_table_label(t, i, 0);
                        n++;
                }
        OK(NEAR(loss / n, dog_gbt_trainer_progress(tr).best_loss, 1e-5), "loss %.6f, training said %.6f",
           loss / n, dog_gbt_trainer_progress(tr).best_loss);
        dog_gbt_free(m);
        dog_gbt_trainer_free(tr);
        dog_gbt_bins_free(b);
        dog_table_free(t);
}

/* ---- stopping and going on ---- */

static void a_training_that_was_stopped_goes_on_bit_for_bit(void)
{
        struct dog_table *t = table_made(1500, 14);
        uint8_t use[15] = {0};
        use[3] = use[9] = DOG_BLOCK_STOP;
        struct dog_gbt_params p = dog_gbt_params_default();
        p.rounds = 30;
        p.min_child = 1;
        p.patience = 5;
        p.learn_rate = 0.7F; /* soon it learns by heart, and patience ends it */
        p.lambda = 1;
        p.column_share = 1;
        struct dog_gbt_bins *b;
        struct dog_gbt_trainer *tr;
        struct dog_gbt *straight;
        struct dog_err e = {0};
        NEED(dog_gbt_bins_new(&b, t, use, 1, &e) == 0 && dog_gbt_trainer_new(&tr, b, 0, &p, &e) == 0, "%s",
             e.text);
        while (dog_gbt_trainer_round(tr, &e) > 0)
                ;
        NEED(dog_gbt_trainer_model(tr, &straight, &e) == 0, "%s", e.text);
        const struct dog_gbt_progress end = dog_gbt_trainer_progress(tr);
        dog_gbt_trainer_free(tr);
        OK(end.best > 0 && end.done > end.best + 2 && end.done < p.rounds,
           "ended by patience: round %u, best %u", end.done, end.best);
        for (unsigned stop = 0; stop <= end.done; stop += 2) {
                uint8_t *state;
                size_t size;
                struct dog_gbt *m;
                NEED(dog_gbt_trainer_new(&tr, b, 0, &p, &e) == 0, "%s", e.text);
                for (unsigned i = 0; i < stop; i++)
                        dog_gbt_trainer_round(tr, &e);
                NEED(dog_gbt_trainer_save(tr, &state, &size, &e) == 0, "%s", e.text);
                dog_gbt_trainer_free(tr);
                p.threads = stop % 4 ? 2 : 1;
                NEED(dog_gbt_trainer_new(&tr, b, 0, &p, &e) == 0, "%s", e.text);
                NEED(dog_gbt_trainer_resume(tr, state, size, &e) == 0, "%s", e.text);
                while (dog_gbt_trainer_round(tr, &e) > 0)
                        ;
                NEED(dog_gbt_trainer_model(tr, &m, &e) == 0, "%s", e.text);
                const struct dog_gbt_progress at = dog_gbt_trainer_progress(tr);
                OK(models_are_alike(m, straight) && at.done == end.done && at.best == end.best &&
                           at.best_loss == end.best_loss,
                   "stopped after %u rounds", stop);
                dog_gbt_free(m);
                free(state);
                dog_gbt_trainer_free(tr);
        }
        dog_gbt_free(straight);
        dog_gbt_bins_free(b);
        dog_table_free(t);
}

static void a_state_is_taken_only_by_the_training_that_it_belongs_to(void)
{
        struct dog_table *t = table_made(600, 15);
        struct dog_table *other = table_made(600, 16);
        struct dog_gbt_params p = dog_gbt_params_default();
        struct dog_gbt_params deeper = p;
        deeper.depth = 3;
        struct dog_gbt_bins *b;
        struct dog_gbt_bins *other_b;
        struct dog_gbt_trainer *tr;
        uint8_t *state;
        size_t size;
        struct dog_err e = {0};
        p.min_child = deeper.min_child = 1;
        NEED(dog_gbt_bins_new(&b, t, NULL, 1, &e) == 0, "%s", e.text);
        NEED(dog_gbt_bins_new(&other_b, other, NULL, 1, &e) == 0, "%s", e.text);
        NEED(dog_gbt_trainer_new(&tr, b, 0, &p, &e) == 0, "%s", e.text);
        for (int i = 0; i < 3; i++)
                dog_gbt_trainer_round(tr, &e);
        NEED(dog_gbt_trainer_save(tr, &state, &size, &e) == 0, "%s", e.text);
        OK(dog_gbt_trainer_resume(tr, state, size, &e) == -EINVAL && strstr(e.text, "only a new trainer"),
           "%s", e.text);
        dog_gbt_trainer_free(tr);
        const struct {
                const struct dog_gbt_bins *bins;
                unsigned target;
                const struct dog_gbt_params *params;
                const char *say;
        } row[] = {{other_b, 0, &p, "other data"},
                   {b, 1, &p, "target 0, not of 1"},
                   {b, 0, &deeper, "other parameters"}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                NEED(dog_gbt_trainer_new(&tr, row[i].bins, row[i].target, row[i].params, &e) == 0, "%s",
                     e.text);
                OK(dog_gbt_trainer_resume(tr, state, size, &e) == -EINVAL && strstr(e.text, row[i].say),
                   "%s: %s", row[i].say, e.text);
                dog_gbt_trainer_free(tr);
        }
        NEED(dog_gbt_trainer_new(&tr, b, 0, &p, &e) == 0, "%s", e.text);
        for (size_t n = 0; n < size; n++)
                OK(dog_gbt_trainer_resume(tr, state, n, &e) == -EINVAL, "cut off after %zu bytes", n);
        for (size_t bit = 0; bit < size * 8; bit += 7) {
                state[bit / 8] ^= (uint8_t)(1U << bit % 8);
                OK(dog_gbt_trainer_resume(tr, state, size, &e) == -EINVAL, "bit %zu is wrong", bit);
                state[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        OK(dog_gbt_trainer_resume(tr, state, size, &e) == 0, "after all that, the right one: %s", e.text);
        dog_gbt_trainer_free(tr);
        free(state);
        dog_gbt_bins_free(b);
        dog_gbt_bins_free(other_b);
        dog_table_free(t);
        dog_table_free(other);
}

struct watched {
        unsigned calls, stop_after, last_done, rounds;
        double last_seconds;
};

static bool watched_tell(void *data, const struct dog_gbt_progress *p)
{
        struct watched *w = data;
        OK(p->done == w->last_done + 1 || p->done == 1, "round %u after %u", p->done, w->last_done);
        OK(p->seconds >= 0 && (p->done == 1 || p->seconds >= w->last_seconds), "time goes on");
        w->last_done = p->done;
        w->last_seconds = p->seconds;
        w->rounds = p->rounds;
        return ++w->calls != w->stop_after;
}

static void who_watches_is_told_each_round_and_can_stop(void)
{
        struct dog_table *t = table_made(300, 17);
        struct dog_gbt_params p = dog_gbt_params_default();
        struct dog_gbt_bins *b;
        struct dog_gbt *m;
        struct dog_err e = {0};
        struct watched w = {0};
        p.rounds = 8;
        NEED(dog_gbt_bins_new(&b, t, NULL, 1, &e) == 0, "%s", e.text);
        OK(dog_gbt_train(&m, b, &p, false, watched_tell, &w, &e) == 0, "%s", e.text);
        OK(w.calls == 16 && w.last_done == 8 && w.rounds == 8, "8 rounds for each of two targets: %u",
           w.calls);
        OK(m && m->targets == 2, "one model of both");
        dog_gbt_free(m);
        w = (struct watched){.stop_after = 3};
        OK(dog_gbt_train(&m, b, &p, false, watched_tell, &w, &e) == -ECANCELED && !m && w.calls == 3, "%s",
           e.text);
        dog_gbt_bins_free(b);
        dog_table_free(t);
}

/* ---- hardly any data ---- */

static void hardly_any_data_gives_a_sentence_or_the_base_rate(void)
{
        struct dog_table *t = table_of(2, 1);
        struct dog_gbt_bins *b;
        struct dog_gbt_trainer *tr;
        struct dog_err e = {0};
        struct dog_gbt_params p = dog_gbt_params_default();
        OK(dog_gbt_bins_new(&b, t, NULL, 1, &e) == -ENODATA, "an empty table: %s", e.text);

        const float x[2] = {1, NAN};
        const int8_t unknown = DOG_LABEL_UNKNOWN;
        const int8_t no = 0;
        table_put(t, x, &unknown, 0);
        NEED(dog_gbt_bins_new(&b, t, NULL, 1, &e) == 0, "%s", e.text);
        OK(dog_gbt_trainer_new(&tr, b, 0, &p, &e) == -ENODATA && strstr(e.text, "yes is not known"), "%s",
           e.text);
        dog_gbt_bins_free(b);

        table_put(t, x, &no, 0);
        struct dog_gbt *m = train(t, NULL, &p);
        /* One row, of "no": half a row of each is added, 0.5 to 1.5. */
        OK(m->ensemble[0].trees == 0 && NEAR(dog_gbt_log_odds(m, 0, x), -logf(3), 1e-5F), "one row: %g",
           (double)dog_gbt_log_odds(m, 0, x));
        dog_gbt_free(m);

        for (int i = 0; i < 500; i++) {
                const float any[2] = {(float)(i % 17), (float)(i % 5)};
                table_put(t, any, &no, 0);
        }
        p.min_child = 0;
        m = train(t, NULL, &p);
        OK(dog_gbt_log_odds(m, 0, x) < -6 && dog_gbt_log_odds(m, 0, x) > -30, "one class: %g",
           (double)dog_gbt_log_odds(m, 0, x));
        dog_gbt_free(m);

        for (size_t i = 0; i < t->rows; i++) {
                t->x[2 * i] = 4;
                t->x[2 * i + 1] = NAN;
                t->label[i] = i % 2;
        }
        m = train(t, NULL, &p);
        OK(m->ensemble[0].trees == 0 && NEAR(dog_gbt_log_odds(m, 0, x), 0, 0.01F), "all rows alike: %g",
           (double)dog_gbt_log_odds(m, 0, x));
        dog_gbt_free(m);

        const uint8_t skip = DOG_BLOCK_SKIP;
        OK(dog_gbt_bins_new(&b, t, &skip, 1, &e) == -ENODATA, "all kept for judging: %s", e.text);
        for (size_t i = 0; i < t->rows; i++)
                t->weight[i] = 0;
        NEED(dog_gbt_bins_new(&b, t, NULL, 1, &e) == 0, "%s", e.text);
        OK(dog_gbt_trainer_new(&tr, b, 0, &p, &e) == -ENODATA, "no weight anywhere: %s", e.text);
        dog_gbt_bins_free(b);
        dog_table_free(t);
}

static void parameters_out_of_their_range_are_named(void)
{
        struct dog_table *t = table_made(50, 18);
        struct dog_gbt_bins *b;
        struct dog_gbt_trainer *tr;
        NEED(dog_gbt_bins_new(&b, t, NULL, 1, NULL) == 0, "bins");
        struct {
                const char *name;
                struct dog_gbt_params p;
        } row[10] = {{"rounds", dog_gbt_params_default()}};
        for (size_t i = 1; i < ARRAY_SIZE(row); i++)
                row[i].p = row[0].p;
        row[0].p.rounds = 0;
        row[1].name = "depth", row[1].p.depth = DOG_GBT_DEPTH_MAX + 1;
        row[2].name = "depth", row[2].p.depth = 0;
        row[3].name = "learn_rate", row[3].p.learn_rate = NAN;
        row[4].name = "lambda", row[4].p.lambda = -1;
        row[5].name = "min_child", row[5].p.min_child = -1;
        row[6].name = "row_share", row[6].p.row_share = 0;
        row[7].name = "column_share", row[7].p.column_share = 1.1F;
        row[8].name = "threads", row[8].p.threads = 17;
        row[9].name = "min_gain", row[9].p.min_gain = INFINITY;
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_err e = {0};
                OK(dog_gbt_trainer_new(&tr, b, 0, &row[i].p, &e) == -EINVAL && strstr(e.text, row[i].name),
                   "%s: %s", row[i].name, e.text);
        }
        struct dog_gbt_params p = dog_gbt_params_default();
        OK(dog_gbt_trainer_new(&tr, b, 2, &p, NULL) == -EINVAL, "a target that is not there");
        dog_gbt_bins_free(b);
        dog_table_free(t);
}

/* Largest, smallest and nearly equal numbers: a threshold always lies where its bins part. */
static void numbers_of_any_size_are_split_where_they_part(void)
{
        static const float pair[][2] = {{1, 1 + FLT_EPSILON}, {-FLT_MAX, FLT_MAX}, {0, FLT_TRUE_MIN},
                                        {-FLT_TRUE_MIN, 0},   {1e38F, 3e38F},      {-3e38F, -1e38F},
                                        {16777216, 16777218}};
        for (size_t k = 0; k < ARRAY_SIZE(pair); k++) {
                struct dog_table *t = table_of(1, 1);
                for (int i = 0; i < 20; i++) {
                        int8_t label = (i & 1) != 0;
                        table_put(t, &pair[k][i % 2], &label, 0);
                }
                struct dog_gbt_params p = params_plain(1, 1);
                struct dog_gbt *m = train(t, NULL, &p);
                OK(dog_gbt_log_odds(m, 0, &pair[k][0]) < -1 && dog_gbt_log_odds(m, 0, &pair[k][1]) > 1,
                   "%g and %g are parted at %g", (double)pair[k][0], (double)pair[k][1],
                   (double)m->ensemble[0].node[0].above);
                dog_gbt_free(m);
                dog_table_free(t);
        }
}

/* A value that most rows have, and many others: the others still get bins enough. */
static void a_common_value_does_not_take_the_bins_of_the_others(void)
{
        struct dog_table *t = table_of(1, 1);
        for (int i = 0; i < 20000; i++) {
                float x = i % 2 ? 0 : (float)i / 100; /* half of all are 0 */
                int8_t label = x > 150.5F;
                table_put(t, &x, &label, 0);
        }
        struct dog_gbt_params p = params_plain(1, 1);
        struct dog_gbt *m = train(t, NULL, &p);
        /* 255 bins, one for 0: the others have about 40 rows, which is 0.8 wide. */
        OK(NEAR(m->ensemble[0].node[0].above, 150.5F, 0.9F), "split at %g",
           (double)m->ensemble[0].node[0].above);
        dog_gbt_free(m);
        dog_table_free(t);
}

/* ---- why ---- */

static void contributions_add_up_and_belong_to_what_matters(void)
{
        struct dog_table *t = table_made(5000, 19);
        struct dog_gbt_params p = dog_gbt_params_default();
        p.rounds = 60;
        p.learn_rate = 0.2F;
        struct dog_gbt *m = train(t, NULL, &p);
        double mean = 0;
        double moved[4] = {0};
        float ordinary = 0;
        for (size_t i = 0; i < t->rows; i++) {
                float part[4];
                float said = dog_gbt_log_odds(m, 0, dog_table_x(t, i));
                float sum = ordinary = dog_gbt_contributions(m, 0, dog_table_x(t, i), part);
                for (unsigned f = 0; f < 4; f++) {
                        sum += part[f];
                        moved[f] += fabs((double)part[f]);
                }
                mean += (double)said / (double)t->rows;
                OK(NEAR(sum, said, 2e-5F), "row %zu: %g of %g", i, (double)sum, (double)said);
        }
        OK(NEAR(mean, (double)ordinary, 1e-4), "an ordinary moment is the mean of all rows: %g, %g",
           (double)ordinary, mean);
        OK(moved[0] > 5 * moved[3] && moved[1] > 5 * moved[3], "a and b matter, d does not: %g %g %g",
           moved[0], moved[1], moved[3]);
        float both[2];
        dog_gbt_log_odds_all(m, dog_table_x(t, 5), both);
        OK(both[0] == dog_gbt_log_odds(m, 0, dog_table_x(t, 5)) &&
                   both[1] == dog_gbt_log_odds(m, 1, dog_table_x(t, 5)),
           "all at once is one after the other");
        dog_gbt_free(m);
        dog_table_free(t);
}

/* ---- bytes ---- */

/* Trees that nobody trained, in every depth and number around the four that are walked together. */
static void the_quick_walk_is_the_slow_walk(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 20);
        for (unsigned depth = 1; depth <= DOG_GBT_DEPTH_MAX; depth++)
                for (unsigned trees = 0; trees < 10; trees++) {
                        struct dog_gbt_node node[10 * 255];
                        float leaf[10 * 256];
                        float mean[10 * 255] = {0};
                        const unsigned nodes = (1U << depth) - 1;
                        struct dog_gbt *m;
                        struct dog_err e = {0};
                        for (unsigned i = 0; i < trees * nodes; i++)
                                node[i] = (struct dog_gbt_node){.above = dog_rng_below(&rng, 9)
                                                                                 ? (float)dog_rng_normal(&rng)
                                                                                 : INFINITY,
                                                                .slot = (uint16_t)dog_rng_below(&rng, 8)};
                        for (unsigned i = 0; i < trees * (nodes + 1); i++)
                                leaf[i] = (float)dog_rng_normal(&rng);
                        const struct dog_gbt_ensemble s = {.trees = trees,
                                                           .depth = depth,
                                                           .base = 0.25F,
                                                           .node = node,
                                                           .leaf = leaf,
                                                           .mean = mean};
                        NEED(dog_gbt_new(&m, 4, &s, 1, &e) == 0, "%s", e.text);
                        for (int k = 0; k < 50; k++) {
                                float x[4];
                                float sum = s.base;
                                for (unsigned f = 0; f < 4; f++)
                                        x[f] = dog_rng_below(&rng, 5) ? (float)dog_rng_normal(&rng) : NAN;
                                x[0] = k == 7 ? INFINITY : k == 8 ? -INFINITY : x[0];
                                for (unsigned tree = 0; tree < trees; tree++) {
                                        unsigned i = 0;
                                        while (i < nodes) {
                                                const struct dog_gbt_node *n = &node[tree * nodes + i];
                                                float v = x[n->slot / 2];
                                                bool right = isnan(v) ? n->slot % 2 && !isinf(n->above)
                                                                      : v > n->above;
                                                i = 2 * i + 1 + right;
                                        }
                                        sum += leaf[tree * (nodes + 1) + i - nodes];
                                }
                                OK(dog_gbt_log_odds(m, 0, x) == sum, "depth %u, %u trees: %g, not %g", depth,
                                   trees, (double)dog_gbt_log_odds(m, 0, x), (double)sum);
                        }
                        dog_gbt_free(m);
                }
}

static void bytes_come_back_as_the_same_model(void)
{
        struct dog_table *t = table_made(500, 21);
        struct dog_gbt_params p = dog_gbt_params_default();
        p.rounds = 5;
        p.depth = 2;
        p.min_child = 1;
        struct dog_gbt *m = train(t, NULL, &p);
        struct dog_gbt *again;
        struct dog_err e = {0};
        size_t size = dog_gbt_size(m);
        uint8_t *bytes = malloc(size + 1);
        NEED(bytes, "memory");
        dog_gbt_write(m, bytes);
        NEED(dog_gbt_read(&again, bytes, size, &e) == 0, "%s", e.text);
        OK(models_are_alike(m, again), "the same");
        dog_gbt_free(again);
        for (size_t n = 0; n <= size + 1; n++)
                if (n != size)
                        OK(dog_gbt_read(&again, bytes, n, &e) == -EINVAL && !again, "%zu bytes of %zu", n,
                           size);
        free(bytes);
        dog_gbt_free(m);
        dog_table_free(t);
}

static void a_model_that_could_read_outside_is_refused(void)
{
        static const struct {
                unsigned features, targets, trees, depth;
                float base, above, leaf, mean;
                uint16_t slot;
                const char *say;
        } row[] = {
                {2, 1, 1, 1, 0, 1, 1, 0, 3, NULL},
                {2, 1, 1, 1, 0, INFINITY, 1, 0, 3, NULL},
                {0, 1, 1, 1, 0, 1, 1, 0, 0, "0 features"},
                {DOG_GBT_FEATURES_MAX + 1, 1, 1, 1, 0, 1, 1, 0, 0, "1025 features"},
                {2, 0, 1, 1, 0, 1, 1, 0, 0, "0 targets"},
                {2, DOG_GBT_TARGETS_MAX + 1, 1, 1, 0, 1, 1, 0, 0, "17 targets"},
                {2, 1, DOG_GBT_TREES_MAX + 1, 1, 0, 1, 1, 0, 0, "20001 trees"},
                {2, 1, 1, 0, 0, 1, 1, 0, 0, "depth 0"},
                {2, 1, 1, 9, 0, 1, 1, 0, 0, "depth 9"},
                {2, 1, 1, 1, NAN, 1, 1, 0, 0, "the base"},
                {2, 1, 1, 1, 0, NAN, 1, 0, 0, "compares with nan"},
                {2, 1, 1, 1, 0, -INFINITY, 1, 0, 0, "compares with -inf"},
                {2, 1, 1, 1, 0, 1, INFINITY, 0, 0, "leaf 0 of target 0 is inf"},
                {2, 1, 1, 1, 0, 1, 1e31F, 0, 0, "leaf 0"},
                {2, 1, 1, 1, 0, 1, 1, NAN, 0, "the mean nan"},
                {2, 1, 1, 1, 0, 1, 1, 0, 4, "asks feature 2 of 2"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                const struct dog_gbt_node node = {.above = row[i].above, .slot = row[i].slot};
                const float leaf[2] = {row[i].leaf, 0};
                struct dog_gbt_ensemble s[DOG_GBT_TARGETS_MAX + 1];
                struct dog_gbt *m;
                struct dog_err e = {0};
                for (size_t k = 0; k < ARRAY_SIZE(s); k++)
                        s[k] = (struct dog_gbt_ensemble){.trees = row[i].trees,
                                                         .depth = row[i].depth,
                                                         .base = row[i].base,
                                                         .node = &node,
                                                         .leaf = leaf,
                                                         .mean = &row[i].mean};
                int rc = dog_gbt_new(&m, row[i].features, s, row[i].targets, &e);
                if (row[i].say)
                        OK(rc == -EINVAL && !m && strstr(e.text, row[i].say), "%s: %s", row[i].say, e.text);
                else
                        OK(rc == 0, "this one is right: %s", e.text);
                dog_gbt_free(m);
        }
        const struct dog_gbt_ensemble none = {.depth = 1, .base = 0.5F};
        struct dog_gbt *two;
        struct dog_gbt *three;
        struct dog_gbt *joined;
        struct dog_err e = {0};
        NEED(dog_gbt_new(&two, 2, &none, 1, &e) == 0 && dog_gbt_new(&three, 3, &none, 1, &e) == 0, "%s",
             e.text);
        OK(dog_gbt_join(&joined, (const struct dog_gbt *const[]){two, three}, 2, &e) == -EINVAL, "%s",
           e.text);
        OK(dog_gbt_join(&joined, (const struct dog_gbt *const[]){two, two}, 2, &e) == 0 &&
                   joined->targets == 2,
           "%s", e.text);
        dog_gbt_free(joined);
        dog_gbt_free(two);
        dog_gbt_free(three);
}

/* ---- every allocation fails once ---- */

static int train_once(void *user, struct dog_err *e)
{
        struct dog_table *t = NULL;
        struct dog_gbt_bins *b = NULL;
        struct dog_gbt_trainer *tr = NULL;
        struct dog_gbt *m = NULL;
        uint8_t *state = NULL;
        size_t size;
        struct dog_gbt_params p = params_plain(3, 2);
        (void)user;
        int rc = dog_table_new(&t, "made", ab, 1, yes, 1, e);
        for (int i = 0; rc == 0 && i < 300; i++) {
                float x = (float)i;
                int8_t label = i > 100;
                rc = dog_table_add(t, &(struct dog_table_row){.x = &x, .label = &label, .weight = 1}, e);
        }
        if (rc == 0)
                rc = dog_gbt_bins_new(&b, t, NULL, 1, e);
        if (rc == 0)
                rc = dog_gbt_trainer_new(&tr, b, 0, &p, e);
        while (rc == 0 && (rc = dog_gbt_trainer_round(tr, e)) > 0)
                rc = 0;
        if (rc == 0)
                rc = dog_gbt_trainer_save(tr, &state, &size, e);
        if (rc == 0)
                rc = dog_gbt_trainer_model(tr, &m, e);
        free(state);
        dog_gbt_free(m);
        dog_gbt_trainer_free(tr);
        dog_gbt_bins_free(b);
        dog_table_free(t);
        return rc;
}

static void training_survives_every_refusal_of_memory(void)
{
        size_t n = alloc_fail_each(train_once, NULL);
        OK(n >= 25, "%zu allocations, each survived", n);
}

int main(void)
{
        return CHECK_RUN(
                TEST(a_table_refuses_what_is_no_number_no_label_and_no_weight),
                TEST(a_fingerprint_sees_every_change_and_no_copy), TEST(one_split_is_what_it_is_by_hand),
                TEST(a_weight_counts_as_so_many_rows), TEST(what_was_not_measured_goes_where_training_says),
                TEST(that_nothing_was_measured_can_be_the_news), TEST(xor_is_learned),
                TEST(a_smooth_number_is_learned), TEST(chances_are_learned_not_only_an_order),
                TEST(training_on_noise_stops_early_and_is_cut_to_its_best),
                TEST(what_is_kept_for_judging_is_not_looked_at),
                TEST(any_number_of_threads_gives_the_same_bits), TEST(the_model_says_what_training_saw),
                TEST(a_training_that_was_stopped_goes_on_bit_for_bit),
                TEST(a_state_is_taken_only_by_the_training_that_it_belongs_to),
                TEST(who_watches_is_told_each_round_and_can_stop),
                TEST(hardly_any_data_gives_a_sentence_or_the_base_rate),
                TEST(parameters_out_of_their_range_are_named),
                TEST(numbers_of_any_size_are_split_where_they_part),
                TEST(a_common_value_does_not_take_the_bins_of_the_others),
                TEST(contributions_add_up_and_belong_to_what_matters), TEST(the_quick_walk_is_the_slow_walk),
                TEST(bytes_come_back_as_the_same_model), TEST(a_model_that_could_read_outside_is_refused),
                TEST(training_survives_every_refusal_of_memory));
}
