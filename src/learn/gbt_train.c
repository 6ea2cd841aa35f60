#include "base/bytes.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/siphash.h"
#include "learn/gbt_inside.h"
#include "models/fastmath.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Derivatives are whole multiples of the largest power of two that is needed, divided by this. */
static const float train_steps = 16777216.0F; /* 2^24: what a float holds exactly */
static const uint64_t train_key[2] = {0x73756e646f672074ULL, 0x7261696e696e6701ULL};
enum { TRAIN_STATE_MAGIC = 0x53444754, TRAIN_STATE_HEAD = 4 + 8 * 3 + 4 * 4 + 8, TRAIN_STATE_TAIL = 8 };

struct dog_gbt_trainer {
        const struct dog_gbt_bins *b;
        struct dog_gbt_params p;
        unsigned target;
        bool is_number;
        struct gbt_grower *grower;

        uint32_t *row; /**< rows to learn from whose outcome is known */
        size_t rows;
        uint32_t *stop_row; /**< the same of DOG_BLOCK_STOP */
        size_t stop_rows;
        float *said;      /**< per row of the table: what the model says now */
        uint16_t *usable; /**< features that can be split */
        unsigned usables;

        float base;
        struct gbt_tree *tree; /**< grown by need */
        unsigned trees, room;
        unsigned done, best, best_round;
        double stop_loss, best_loss;
        int64_t spent_ns;
};

struct dog_gbt_params dog_gbt_params_default(void)
{
        return (struct dog_gbt_params){.rounds = 300,
                                       .depth = 4,
                                       .learn_rate = 0.04F,
                                       .lambda = 5,
                                       .min_child = 30,
                                       .row_share = 0.7F,
                                       .column_share = 0.3F,
                                       .seed = 1,
                                       .threads = 1};
}

static int train_check(const struct dog_gbt_params *p, struct dog_err *e)
{
        const struct {
                const char *name;
                double value, low, high;
        } range[] = {
                {"rounds", p->rounds, 1, DOG_GBT_TREES_MAX},
                {"depth", p->depth, 1, DOG_GBT_DEPTH_MAX},
                {"learn_rate", (double)p->learn_rate, 1e-6, 1},
                {"lambda", (double)p->lambda, 0, 1e9},
                {"min_child", (double)p->min_child, 0, 1e9},
                {"min_gain", (double)p->min_gain, 0, 1e9},
                {"row_share", (double)p->row_share, 1e-6, 1},
                {"column_share", (double)p->column_share, 1e-6, 1},
                {"threads", p->threads, 1, GBT_THREADS_MAX},
        };
        for (size_t i = 0; i < sizeof(range) / sizeof(*range); i++)
                if (!(range[i].value >= range[i].low && range[i].value <= range[i].high))
                        return dog_err_set(e, -EINVAL, "training: %s is %g; it is %g..%g", range[i].name,
                                           range[i].value, range[i].low, range[i].high);
        return 0;
}

/* ---- losses: what was, what the model says ----------------------------------------------------- */

static float train_truth(const struct dog_gbt_trainer *t, size_t row)
{
        const struct dog_table *table = t->b->table;
        size_t at = row * table->targets + t->target;
        return t->is_number ? table->number[at] : (float)table->label[at];
}

static bool train_is_known(const struct dog_gbt_trainer *t, size_t row)
{
        const struct dog_table *table = t->b->table;
        size_t at = row * table->targets + t->target;
        if (!(table->weight[row] > 0))
                return false;
        return t->is_number ? table->number && table->number[at] == table->number[at]
                            : table->label[at] != DOG_LABEL_UNKNOWN;
}

static struct gbt_slope train_slope(const struct dog_gbt_trainer *t, size_t row)
{
        float w = t->b->table->weight[row];
        if (t->is_number)
                return (struct gbt_slope){.g = w * (t->said[row] - train_truth(t, row)), .h = w};
        float p = 1.0F / (1.0F + dog_fast_exp(-t->said[row]));
        return (struct gbt_slope){.g = w * (p - train_truth(t, row)), .h = w * p * (1.0F - p)};
}

static double train_loss(const struct dog_gbt_trainer *t)
{
        double loss = 0;
        double weight = 0;
        for (size_t i = 0; i < t->stop_rows; i++) {
                size_t row = t->stop_row[i];
                float said = t->said[row];
                float truth = train_truth(t, row);
                float w = t->b->table->weight[row];
                float away = said - truth;
                /* ln(1 + e^z) - truth z, without a large e^z */
                float one = t->is_number ? 0.5F * away * away
                                         : fmaxf(said, 0) + dog_fast_log(1.0F + dog_fast_exp(-fabsf(said))) -
                                                   truth * said;
                loss += (double)(w * one);
                weight += (double)w;
        }
        return weight > 0 ? loss / weight : (double)NAN;
}

/* Said with no tree: the mean, or the log-odds of it with half a row of each outcome added. */
static float train_base(const struct dog_gbt_trainer *t)
{
        double weight = 0;
        double sum = 0;
        for (size_t i = 0; i < t->rows; i++) {
                double w = (double)t->b->table->weight[t->row[i]];
                weight += w;
                sum += w * (double)train_truth(t, t->row[i]);
        }
        if (t->is_number)
                return (float)(sum / weight);
        double half = 0.5 * weight / (double)t->rows;
        return (float)log((sum + half) / (weight - sum + half));
}

/* ---- making a trainer -------------------------------------------------------------------------- */

static void train_list_rows(struct dog_gbt_trainer *t)
{
        for (size_t i = 0; i < t->b->rows; i++) {
                if (t->b->use[i] == DOG_BLOCK_SKIP || !train_is_known(t, i))
                        continue;
                if (t->b->use[i] == DOG_BLOCK_LEARN)
                        t->row[t->rows++] = (uint32_t)i;
                else
                        t->stop_row[t->stop_rows++] = (uint32_t)i;
        }
        for (unsigned f = 0; f < t->b->features; f++) {
                const struct gbt_feature *feature = &t->b->feature[f];
                if (feature->values > 1 || (feature->values == 1 && feature->has_missing))
                        t->usable[t->usables++] = (uint16_t)f;
        }
}

int dog_gbt_trainer_new(struct dog_gbt_trainer **to, const struct dog_gbt_bins *bins, unsigned target,
                        const struct dog_gbt_params *params, struct dog_err *e)
{
        *to = NULL;
        int rc = train_check(params, e);
        if (rc < 0)
                return rc;
        if (target >= bins->table->targets)
                return dog_err_set(e, -EINVAL, "training on \"%s\": there is no target %u, it has %u",
                                   bins->table->name, target, bins->table->targets);
        struct dog_gbt_trainer *t = calloc(1, sizeof(*t));
        if (!t)
                return dog_err_set(e, -ENOMEM, "training: no memory");
        t->b = bins;
        t->p = *params;
        t->target = target;
        t->is_number = bins->table->target_kind[target] == DOG_TARGET_NUMBER;
        t->row = malloc(bins->rows * sizeof(*t->row));
        t->stop_row = malloc(bins->rows * sizeof(*t->stop_row));
        t->said = malloc(bins->rows * sizeof(*t->said));
        t->usable = malloc(bins->features * sizeof(*t->usable));
        if (t->row && t->stop_row && t->said && t->usable) {
                train_list_rows(t);
                t->grower = t->rows ? gbt_grower_new(bins, &t->p, t->rows) : NULL;
        }
        if (!t->grower) {
                rc = t->usable && t->said && t->row && t->stop_row && t->rows == 0
                             ? dog_err_set(e, -ENODATA,
                                           "training on \"%s\": %s is not known in any row to learn from",
                                           bins->table->name, bins->table->target_name[target])
                             : dog_err_set(e, -ENOMEM, "training on \"%s\": no memory for %zu rows",
                                           bins->table->name, bins->rows);
                dog_gbt_trainer_free(t);
                return rc;
        }
        t->base = train_base(t);
        for (size_t i = 0; i < bins->rows; i++)
                t->said[i] = t->base;
        t->stop_loss = t->best_loss = train_loss(t);
        *to = t;
        return 0;
}

void dog_gbt_trainer_free(struct dog_gbt_trainer *t)
{
        if (!t)
                return;
        gbt_grower_free(t->grower);
        free(t->row);
        free(t->stop_row);
        free(t->said);
        free(t->usable);
        free(t->tree);
        free(t);
}

/* ---- a round ----------------------------------------------------------------------------------- */

/* Its own random numbers, so that no round needs those before it. */
static struct dog_rng train_rng(const struct dog_gbt_trainer *t)
{
        struct dog_rng rng;
        struct dog_sip s;
        dog_sip_init(&s, t->p.seed, train_key[1]);
        dog_sip_block(&s, (uint64_t)t->target << 32 | t->done);
        dog_rng_init(&rng, dog_sip_fini(&s));
        return rng;
}

static size_t train_draw_rows(const struct dog_gbt_trainer *t, struct dog_rng *rng, uint32_t *row)
{
        uint32_t share = (uint32_t)lrintf(t->p.row_share * 65536.0F);
        uint64_t bits = 0;
        size_t n = 0;
        for (size_t i = 0; i < t->rows; i++) {
                if (i % 4 == 0)
                        bits = dog_rng_u64(rng);
                row[n] = t->row[i];
                n += (bits & 0xffff) < share;
                bits >>= 16;
        }
        return n;
}

/* The first of a shuffle (Fisher and Yates), then in rising order. */
static unsigned train_draw_columns(const struct dog_gbt_trainer *t, struct dog_rng *rng, uint16_t *column)
{
        unsigned n = (unsigned)lrintf((float)t->usables * t->p.column_share);
        bool is_drawn[DOG_GBT_FEATURES_MAX] = {false};
        uint16_t deck[DOG_GBT_FEATURES_MAX];
        unsigned rising = 0;
        n = n > 0 ? n : 1;
        memcpy(deck, t->usable, t->usables * sizeof(*deck));
        for (unsigned i = 0; i < n; i++) {
                size_t at = i + dog_rng_below(rng, t->usables - i);
                uint16_t drawn = deck[at];
                deck[at] = deck[i];
                is_drawn[drawn] = true;
        }
        for (unsigned f = 0; f < t->b->features; f++)
                if (is_drawn[f])
                        column[rising++] = (uint16_t)f;
        return rising;
}

struct train_slopes {
        const struct dog_gbt_trainer *t;
        const uint32_t *row;
        struct gbt_slope *slope;
        size_t rows;
        float most[GBT_THREADS_MAX]; /**< largest |g| that a thread has seen */
        float most_h[GBT_THREADS_MAX];
        float steps_g, steps_h;
};

static size_t train_share(size_t rows, unsigned part, unsigned parts)
{
        return rows / parts * part + (part == parts ? rows % parts : 0);
}

static void train_slopes_part(void *data, unsigned part, unsigned parts)
{
        struct train_slopes *s = data;
        float most = 0;
        float most_h = 0;
        for (size_t i = train_share(s->rows, part, parts); i < train_share(s->rows, part + 1, parts); i++) {
                struct gbt_slope slope = train_slope(s->t, s->row[i]);
                s->slope[i] = slope;
                most = fmaxf(most, fabsf(slope.g));
                most_h = fmaxf(most_h, slope.h);
        }
        s->most[part] = most;
        s->most_h[part] = most_h;
}

static float train_whole(float v)
{
        return (float)(int32_t)(v < 0 ? v - 0.5F : v + 0.5F);
}

static void train_round_part(void *data, unsigned part, unsigned parts)
{
        struct train_slopes *s = data;
        for (size_t i = train_share(s->rows, part, parts); i < train_share(s->rows, part + 1, parts); i++) {
                s->slope[i].g = train_whole(s->slope[i].g * s->steps_g);
                s->slope[i].h = train_whole(s->slope[i].h * s->steps_h);
        }
}

/*
 * How many steps 1 has, when the largest value has at most train_steps of them: a power of two. Derivatives
 * that are all below 2^-36 are those of a model without any doubt left; they may round to nothing.
 */
static float train_steps_of(const float *most, unsigned parts)
{
        float all = 0;
        int exponent;
        for (unsigned i = 0; i < parts; i++)
                all = fmaxf(all, most[i]);
        frexpf(all, &exponent);
        return all > 0 ? ldexpf(train_steps, exponent > -36 ? -exponent : 36) : 1;
}

static void train_make_slopes(const struct dog_gbt_trainer *t, size_t rows, double *unit_g, double *unit_h)
{
        struct train_slopes s = {
                .t = t, .row = gbt_grower_row(t->grower), .slope = gbt_grower_slope(t->grower), .rows = rows};
        gbt_parallel(t->p.threads, train_slopes_part, &s);
        s.steps_g = train_steps_of(s.most, t->p.threads);
        s.steps_h = train_steps_of(s.most_h, t->p.threads);
        gbt_parallel(t->p.threads, train_round_part, &s);
        *unit_g = 1 / (double)s.steps_g;
        *unit_h = 1 / (double)s.steps_h;
}

struct train_apply {
        struct dog_gbt_trainer *t;
        const struct gbt_tree *tree;
        uint32_t count[GBT_THREADS_MAX][1 << DOG_GBT_DEPTH_MAX]; /**< rows to learn from, per leaf */
};

static void train_apply_part(void *data, unsigned part, unsigned parts)
{
        struct train_apply *a = data;
        const struct dog_gbt_bins *b = a->t->b;
        const unsigned nodes = (1U << a->t->p.depth) - 1;
        uint32_t *count = a->count[part];
        for (size_t row = train_share(b->rows, part, parts); row < train_share(b->rows, part + 1, parts);
             row++) {
                unsigned i = 0;
                for (unsigned d = 0; d < a->t->p.depth; d++) {
                        const struct gbt_cut *cut = &a->tree->cut[i];
                        i = 2 * i + 1 + gbt_goes_right(cut, b->bin[cut->feature * b->rows + row]);
                }
                a->t->said[row] += a->tree->leaf[i - nodes];
                count[i - nodes] += b->use[row] == DOG_BLOCK_LEARN;
        }
}

/* Means below each node, weighed by rows, from the leaves up. */
static void train_means(unsigned depth, const uint32_t *count, struct gbt_tree *tree)
{
        const unsigned nodes = (1U << depth) - 1;
        double rows[2 << DOG_GBT_DEPTH_MAX];
        double sum[2 << DOG_GBT_DEPTH_MAX];
        for (unsigned i = 0; i <= nodes; i++) {
                rows[nodes + i] = count[i];
                sum[nodes + i] = (double)count[i] * (double)tree->leaf[i];
        }
        for (unsigned i = nodes; i-- > 0;) {
                const unsigned l = 2 * i + 1;
                const unsigned r = 2 * i + 2;
                rows[i] = rows[l] + rows[r];
                sum[i] = sum[l] + sum[r];
                /* Where no row came by, the plain mean: nothing of the training says which side is likelier.
                 */
                float left = l < nodes ? tree->mean[l] : tree->leaf[l - nodes];
                float right = r < nodes ? tree->mean[r] : tree->leaf[r - nodes];
                tree->mean[i] = rows[i] > 0 ? (float)(sum[i] / rows[i]) : left / 2 + right / 2;
        }
}

/* Add the tree to what the model says. */
static void train_apply(struct dog_gbt_trainer *t, struct gbt_tree *tree, bool is_new)
{
        struct train_apply a = {.t = t, .tree = tree};
        gbt_parallel(t->p.threads, train_apply_part, &a);
        for (unsigned k = 1; k < t->p.threads; k++)
                for (unsigned i = 0; i < 1U << t->p.depth; i++)
                        a.count[0][i] += a.count[k][i];
        if (is_new)
                train_means(t->p.depth, a.count[0], tree);
}

static void train_note_loss(struct dog_gbt_trainer *t)
{
        t->stop_loss = train_loss(t);
        if (t->stop_rows == 0 || t->stop_loss < t->best_loss) {
                t->best = t->trees;
                t->best_round = t->done;
                t->best_loss = t->stop_loss;
        }
}

static bool train_is_finished(const struct dog_gbt_trainer *t)
{
        bool is_patient = t->p.patience == 0 || t->stop_rows == 0 || t->done - t->best_round < t->p.patience;
        return t->usables == 0 || t->done >= t->p.rounds || !is_patient;
}

static int train_make_room(struct dog_gbt_trainer *t)
{
        if (t->trees < t->room)
                return 0;
        unsigned room = t->room ? 2 * t->room : 64;
        struct gbt_tree *tree = reallocarray(t->tree, room, sizeof(*tree));
        if (!tree)
                return -ENOMEM;
        t->tree = tree;
        t->room = room;
        return 0;
}

int dog_gbt_trainer_round(struct dog_gbt_trainer *t, struct dog_err *e)
{
        if (train_is_finished(t))
                return 0;
        if (train_make_room(t) < 0)
                return dog_err_set(e, -ENOMEM, "training: no memory for %u trees", t->trees + 1);
        int64_t start_ns = dog_clock_mono_ns();
        uint16_t column[DOG_GBT_FEATURES_MAX];
        struct dog_rng rng = train_rng(t);
        struct gbt_tree *tree = &t->tree[t->trees];
        double unit_g;
        double unit_h;
        size_t rows = train_draw_rows(t, &rng, gbt_grower_row(t->grower));
        unsigned columns = train_draw_columns(t, &rng, column);
        train_make_slopes(t, rows, &unit_g, &unit_h);
        t->done++;
        /* A round in which nothing is worth a split adds no tree; the next one draws other features. */
        if (gbt_grow(t->grower, rows, column, columns, unit_g, unit_h, tree)) {
                train_apply(t, tree, true);
                t->trees++;
        }
        train_note_loss(t);
        t->spent_ns += dog_clock_mono_ns() - start_ns;
        return !train_is_finished(t);
}

struct dog_gbt_progress dog_gbt_trainer_progress(const struct dog_gbt_trainer *t)
{
        return (struct dog_gbt_progress){.target = t->target,
                                         .done = t->done,
                                         .rounds = t->p.rounds,
                                         .best = t->best,
                                         .stop_loss = t->stop_loss,
                                         .best_loss = t->best_loss,
                                         .seconds = (double)t->spent_ns * 1e-9};
}

/* ---- models ------------------------------------------------------------------------------------ */

static int train_make_model(const struct dog_gbt_trainer *t, unsigned trees, struct dog_gbt **to,
                            struct dog_err *e)
{
        const size_t nodes = (1U << t->p.depth) - 1;
        struct dog_gbt_node *node = malloc((trees * nodes + 1) * sizeof(*node));
        float *mean = malloc((trees * nodes + 1) * sizeof(*mean));
        float *leaf = malloc((trees * (nodes + 1) + 1) * sizeof(*leaf));
        int rc = -ENOMEM;
        if (node && mean && leaf) {
                for (size_t i = 0; i < trees; i++) {
                        memcpy(node + i * nodes, t->tree[i].node, nodes * sizeof(*node));
                        memcpy(mean + i * nodes, t->tree[i].mean, nodes * sizeof(*mean));
                        memcpy(leaf + i * (nodes + 1), t->tree[i].leaf, (nodes + 1) * sizeof(*leaf));
                }
                const struct dog_gbt_ensemble ensemble = {.trees = trees,
                                                          .depth = t->p.depth,
                                                          .base = t->base,
                                                          .node = node,
                                                          .leaf = leaf,
                                                          .mean = mean};
                rc = dog_gbt_new(to, t->b->features, &ensemble, 1, e);
        } else {
                dog_err_set(e, rc, "training: no memory for a model of %u trees", trees);
        }
        free(node);
        free(mean);
        free(leaf);
        return rc;
}

int dog_gbt_trainer_model(const struct dog_gbt_trainer *t, struct dog_gbt **to, struct dog_err *e)
{
        *to = NULL;
        return train_make_model(t, t->best, to, e);
}

int dog_gbt_join(struct dog_gbt **to, const struct dog_gbt *const *part, unsigned parts, struct dog_err *e)
{
        struct dog_gbt_ensemble ensemble[DOG_GBT_TARGETS_MAX];
        unsigned targets = 0;
        *to = NULL;
        for (unsigned i = 0; i < parts; i++) {
                if (part[i]->features != part[0]->features)
                        return dog_err_set(e, -EINVAL, "trees: a model of %u features cannot join one of %u",
                                           part[i]->features, part[0]->features);
                for (unsigned k = 0; k < part[i]->targets; k++) {
                        if (targets == DOG_GBT_TARGETS_MAX)
                                return dog_err_set(e, -EINVAL, "trees: more than %d targets in one model",
                                                   DOG_GBT_TARGETS_MAX);
                        ensemble[targets++] = part[i]->ensemble[k];
                }
        }
        return dog_gbt_new(to, parts ? part[0]->features : 0, ensemble, targets, e);
}

/* ---- stopping and going on --------------------------------------------------------------------- */

/*
 * A state, in network byte order:
 *     u32 magic, u64 fingerprint of data and use, u64 hash of the parameters, u64 hash of what is here,
 *     u32 target, u32 rounds done, u32 best trees, u32 best round, u64 best loss, the trees (dog_gbt_write)
 * What the model says is not kept: the trees say it again.
 */
static uint64_t train_float_bits(float v)
{
        uint32_t bits;
        memcpy(&bits, &v, sizeof(bits));
        return bits;
}

/* What decides the outcome: not the number of threads, and not the rounds and the patience, which only end
 * it. */
static uint64_t train_params_hash(const struct dog_gbt_params *p)
{
        struct dog_sip s;
        dog_sip_init(&s, train_key[0], train_key[1]);
        dog_sip_block(&s, p->seed);
        dog_sip_block(&s, p->depth);
        dog_sip_block(&s, train_float_bits(p->learn_rate) | train_float_bits(p->lambda) << 32);
        dog_sip_block(&s, train_float_bits(p->min_child) | train_float_bits(p->min_gain) << 32);
        dog_sip_block(&s, train_float_bits(p->row_share) | train_float_bits(p->column_share) << 32);
        return dog_sip_fini(&s);
}

uint64_t dog_gbt_state_checksum(const uint8_t *bytes, size_t size)
{
        struct dog_sip s;
        dog_sip_init(&s, train_key[0], ~train_key[1]);
        dog_sip_block(&s, size);
        for (size_t at = 0; at < size; at += 8) {
                uint64_t block = 0;
                for (size_t k = 0; k < 8 && at + k < size; k++)
                        block |= (uint64_t)bytes[at + k] << (8 * k);
                dog_sip_block(&s, block);
        }
        return dog_sip_fini(&s);
}

int dog_gbt_trainer_save(const struct dog_gbt_trainer *t, uint8_t **bytes, size_t *size, struct dog_err *e)
{
        struct dog_gbt *m;
        uint64_t loss;
        int rc = train_make_model(t, t->trees, &m, e);
        if (rc < 0)
                return rc;
        *size = TRAIN_STATE_HEAD + dog_gbt_size(m) + TRAIN_STATE_TAIL;
        *bytes = malloc(*size);
        if (*bytes) {
                struct dog_bytes out = dog_bytes_of(*bytes, *size);
                dog_write_u32(&out, TRAIN_STATE_MAGIC);
                dog_write_u64(&out, t->b->fingerprint);
                dog_write_u64(&out, train_params_hash(&t->p));
                dog_write_u64(&out, dog_gbt_size(m));
                dog_write_u32(&out, t->target);
                dog_write_u32(&out, t->done);
                dog_write_u32(&out, t->best);
                dog_write_u32(&out, t->best_round);
                memcpy(&loss, &t->best_loss, sizeof(loss));
                dog_write_u64(&out, loss);
                dog_gbt_write(m, *bytes + TRAIN_STATE_HEAD);
                out.at = *size - TRAIN_STATE_TAIL;
                dog_write_u64(&out, dog_gbt_state_checksum(*bytes, out.at));
        } else {
                rc = dog_err_set(e, -ENOMEM, "training: no memory for a state of %zu bytes", *size);
        }
        dog_gbt_free(m);
        return rc;
}

/* The trees of a state, on bins again, and what they say. */
static int train_replay(struct dog_gbt_trainer *t, const struct dog_gbt *m, struct dog_err *e)
{
        const struct dog_gbt_ensemble *s = &m->ensemble[0];
        const size_t nodes = (1U << t->p.depth) - 1;
        if (m->features != t->b->features || m->targets != 1 || s->depth != t->p.depth || s->base != t->base)
                return dog_err_set(e, -EINVAL, "training: the trees of the state are of another training");
        for (size_t i = 0; i < s->trees; i++) {
                if (train_make_room(t) < 0)
                        return dog_err_set(e, -ENOMEM, "training: no memory for %u trees", s->trees);
                struct gbt_tree *tree = &t->tree[t->trees];
                memcpy(tree->node, s->node + i * nodes, nodes * sizeof(*tree->node));
                memcpy(tree->mean, s->mean + i * nodes, nodes * sizeof(*tree->mean));
                memcpy(tree->leaf, s->leaf + i * (nodes + 1), (nodes + 1) * sizeof(*tree->leaf));
                for (size_t k = 0; k < nodes; k++)
                        if (gbt_cut_of(t->b, &tree->node[k], &tree->cut[k]) < 0)
                                return dog_err_set(
                                        e, -EINVAL,
                                        "training: the trees of the state split where this data cannot");
                train_apply(t, tree, false);
                t->trees++;
        }
        return 0;
}

static int train_read_state(struct dog_gbt_trainer *t, struct dog_bytes *in, const uint8_t *bytes,
                            size_t size, struct dog_err *e)
{
        uint32_t magic = dog_read_u32(in);
        if (size < TRAIN_STATE_HEAD + TRAIN_STATE_TAIL || magic != TRAIN_STATE_MAGIC)
                return dog_err_set(e, -EINVAL, "training: this is not the state of a training; begin anew");
        struct dog_bytes tail = dog_bytes_in(bytes, size);
        tail.at = size - TRAIN_STATE_TAIL;
        if (dog_read_u64(&tail) != dog_gbt_state_checksum(bytes, size - TRAIN_STATE_TAIL))
                return dog_err_set(e, -EINVAL, "training: the state is damaged or cut off; begin anew");
        if (dog_read_u64(in) != t->b->fingerprint)
                return dog_err_set(e, -EINVAL, "training: the state is of other data; begin anew");
        if (dog_read_u64(in) != train_params_hash(&t->p))
                return dog_err_set(
                        e, -EINVAL,
                        "training: the state was made with other parameters; use those, or begin anew");
        if (dog_read_u64(in) != size - TRAIN_STATE_HEAD - TRAIN_STATE_TAIL)
                return dog_err_set(e, -EINVAL, "training: the state has a wrong size; begin anew");
        uint32_t target = dog_read_u32(in);
        if (target != t->target)
                return dog_err_set(e, -EINVAL, "training: the state is of target %u, not of %u", target,
                                   t->target);
        return 0;
}

int dog_gbt_trainer_resume(struct dog_gbt_trainer *t, const uint8_t *bytes, size_t size, struct dog_err *e)
{
        struct dog_bytes in = dog_bytes_in(bytes, size);
        struct dog_gbt *m;
        if (t->done > 0)
                return dog_err_set(e, -EINVAL, "training: only a new trainer can take a state");
        int rc = train_read_state(t, &in, bytes, size, e);
        if (rc < 0)
                return rc;
        unsigned done = dog_read_u32(&in);
        unsigned best = dog_read_u32(&in);
        unsigned best_round = dog_read_u32(&in);
        uint64_t loss = dog_read_u64(&in);
        rc = dog_gbt_read(&m, bytes + TRAIN_STATE_HEAD, size - TRAIN_STATE_HEAD - TRAIN_STATE_TAIL, e);
        if (rc < 0)
                return rc;
        if (best > m->ensemble[0].trees || m->ensemble[0].trees > done || best_round > done)
                rc = dog_err_set(e, -EINVAL, "training: the counts of the state contradict each other");
        else
                rc = train_replay(t, m, e);
        dog_gbt_free(m);
        if (rc < 0) {
                /* As new. */
                t->trees = 0;
                for (size_t i = 0; i < t->b->rows; i++)
                        t->said[i] = t->base;
                return rc;
        }
        t->done = done;
        t->best = best;
        t->best_round = best_round;
        memcpy(&t->best_loss, &loss, sizeof(loss));
        t->stop_loss = train_loss(t);
        return 0;
}

/* ---- all at once ------------------------------------------------------------------------------- */

static int train_target(struct dog_gbt **to, const struct dog_gbt_bins *bins, unsigned target,
                        const struct dog_gbt_params *params, dog_gbt_watch_fn *watch, void *data,
                        struct dog_err *e)
{
        struct dog_gbt_trainer *t;
        int rc = dog_gbt_trainer_new(&t, bins, target, params, e);
        if (rc < 0)
                return rc;
        while ((rc = dog_gbt_trainer_round(t, e)) >= 0) {
                const struct dog_gbt_progress progress = dog_gbt_trainer_progress(t);
                if (watch && !watch(data, &progress)) {
                        rc = dog_err_set(e, -ECANCELED, "training: stopped after %u of %u rounds",
                                         progress.done, progress.rounds);
                        break;
                }
                if (rc == 0) {
                        rc = dog_gbt_trainer_model(t, to, e);
                        break;
                }
        }
        dog_gbt_trainer_free(t);
        return rc;
}

int dog_gbt_train(struct dog_gbt **to, const struct dog_gbt_bins *bins, const struct dog_gbt_params *params,
                  bool is_each, dog_gbt_watch_fn *watch, void *data, struct dog_err *e)
{
        struct dog_gbt *part[DOG_TABLE_TARGETS_MAX] = {NULL};
        const unsigned targets = bins->table->targets;
        int rc = 0;
        *to = NULL;
        for (unsigned i = 0; rc == 0 && i < targets; i++)
                rc = train_target(&part[i], bins, i, &params[is_each ? i : 0], watch, data, e);
        if (rc == 0)
                rc = dog_gbt_join(to, (const struct dog_gbt *const *)part, targets, e);
        for (unsigned i = 0; i < targets; i++)
                dog_gbt_free(part[i]);
        return rc;
}
