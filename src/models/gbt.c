#include "models/gbt.h"

#include "base/bytes.h"
#include "models/fastmath.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * Asking. Features and thresholds are compared as whole numbers of the same order, and the features stand
 * twice in one vector: first with the least of all numbers for what is missing, then with that of infinity. A
 * node says by the place that it looks at which way a missing feature goes, so that every step is one
 * comparison, whose carry is the way, without a jump.
 *
 * Bytes, in network byte order, floats as their 32 bits:
 *     u16 features, u16 targets
 *     per target  u32 trees, u8 depth, float base
 *     per target, per tree
 *         per node  u16 slot, float above, float mean
 *         per leaf  float
 */

/* So that a sum over all trees stays finite. */
static const float gbt_leaf_most = 1e30F;
enum { GBT_HEAD = 4, GBT_TARGET = 9, GBT_NODE = 10, GBT_LEAF = 4 };

static size_t gbt_nodes(const struct dog_gbt_ensemble *s)
{
        return (size_t)s->trees * ((1U << s->depth) - 1);
}

static size_t gbt_leaves(const struct dog_gbt_ensemble *s)
{
        return (size_t)s->trees << s->depth;
}

/* ---- making ------------------------------------------------------------------------------------ */

static int gbt_check_counts(unsigned features, unsigned targets, const struct dog_gbt_ensemble *s,
                            struct dog_err *e)
{
        if (features == 0 || features > DOG_GBT_FEATURES_MAX)
                return dog_err_set(e, -EINVAL, "trees: %u features; a model has 1..%d", features,
                                   DOG_GBT_FEATURES_MAX);
        if (targets == 0 || targets > DOG_GBT_TARGETS_MAX)
                return dog_err_set(e, -EINVAL, "trees: %u targets; a model has 1..%d", targets,
                                   DOG_GBT_TARGETS_MAX);
        for (unsigned t = 0; t < targets; t++) {
                if (s[t].trees > DOG_GBT_TREES_MAX)
                        return dog_err_set(e, -EINVAL, "trees: target %u has %u trees; at most %d", t,
                                           s[t].trees, DOG_GBT_TREES_MAX);
                if (s[t].depth == 0 || s[t].depth > DOG_GBT_DEPTH_MAX)
                        return dog_err_set(e, -EINVAL, "trees: target %u has depth %u; it is 1..%d", t,
                                           s[t].depth, DOG_GBT_DEPTH_MAX);
                if (!(fabsf(s[t].base) <= gbt_leaf_most))
                        return dog_err_set(e, -EINVAL, "trees: the base of target %u is %g", t,
                                           (double)s[t].base);
        }
        return 0;
}

static int gbt_check_values(const struct dog_gbt *m, struct dog_err *e)
{
        for (unsigned t = 0; t < m->targets; t++) {
                const struct dog_gbt_ensemble *s = &m->ensemble[t];
                for (size_t i = 0; i < gbt_nodes(s); i++) {
                        if (s->node[i].slot >= 2 * m->features)
                                return dog_err_set(e, -EINVAL,
                                                   "trees: node %zu of target %u asks feature %d of %u", i, t,
                                                   s->node[i].slot / 2, m->features);
                        if (!(s->node[i].above > -INFINITY))
                                return dog_err_set(e, -EINVAL,
                                                   "trees: node %zu of target %u compares with %g", i, t,
                                                   (double)s->node[i].above);
                        if (!(fabsf(s->mean[i]) <= gbt_leaf_most))
                                return dog_err_set(e, -EINVAL, "trees: node %zu of target %u has the mean %g",
                                                   i, t, (double)s->mean[i]);
                }
                for (size_t i = 0; i < gbt_leaves(s); i++)
                        if (!(fabsf(s->leaf[i]) <= gbt_leaf_most))
                                return dog_err_set(e, -EINVAL, "trees: leaf %zu of target %u is %g", i, t,
                                                   (double)s->leaf[i]);
        }
        return 0;
}

/* Where the arrays of a model that is being made lie. */
struct gbt_parts {
        struct dog_gbt_node *node;
        struct dog_gbt_step *step;
        float *leaf, *mean;
};

/* A model with room for its trees, in one block. The counts have been checked. */
static struct dog_gbt *gbt_room(unsigned features, unsigned targets, const struct dog_gbt_ensemble *s,
                                struct gbt_parts *part)
{
        size_t nodes = 0;
        size_t leaves = 0;
        for (unsigned t = 0; t < targets; t++) {
                nodes += gbt_nodes(&s[t]);
                leaves += gbt_leaves(&s[t]);
        }
        size_t head = (sizeof(struct dog_gbt) + 63) & ~(size_t)63;
        size_t size = head + leaves * sizeof(float) +
                      nodes * (sizeof(struct dog_gbt_node) + sizeof(struct dog_gbt_step) + sizeof(float));
        struct dog_gbt *m = aligned_alloc(64, (size + 63) & ~(size_t)63);
        if (!m)
                return NULL;
        memset(m, 0, head);
        m->features = features;
        m->targets = targets;
        struct dog_gbt_step *step = (struct dog_gbt_step *)((char *)m + head);
        struct dog_gbt_node *node = (struct dog_gbt_node *)(step + nodes);
        float *leaf = (float *)(node + nodes);
        float *mean = leaf + leaves;
        for (unsigned t = 0; t < targets; t++) {
                part[t] = (struct gbt_parts){.node = node, .step = step, .leaf = leaf, .mean = mean};
                m->ensemble[t] = (struct dog_gbt_ensemble){.trees = s[t].trees,
                                                           .depth = s[t].depth,
                                                           .base = s[t].base,
                                                           .node = node,
                                                           .leaf = leaf,
                                                           .mean = mean,
                                                           .step = step};
                node += gbt_nodes(&s[t]);
                step += gbt_nodes(&s[t]);
                leaf += gbt_leaves(&s[t]);
                mean += gbt_nodes(&s[t]);
        }
        return m;
}

static int gbt_finish(struct dog_gbt **to, struct dog_gbt *m, const struct gbt_parts *part, struct dog_err *e)
{
        int rc = gbt_check_values(m, e);
        if (rc < 0) {
                dog_gbt_free(m);
                return rc;
        }
        for (unsigned t = 0; t < m->targets; t++)
                for (size_t i = 0; i < gbt_nodes(&m->ensemble[t]); i++) {
                        const struct dog_gbt_node *n = &part[t].node[i];
                        part[t].step[i] =
                                (struct dog_gbt_step){.above = dog_fast_order(n->above),
                                                      .at = n->slot / 2U + (n->slot % 2U) * m->features};
                }
        *to = m;
        return 0;
}

int dog_gbt_new(struct dog_gbt **to, unsigned features, const struct dog_gbt_ensemble *ensemble,
                unsigned targets, struct dog_err *e)
{
        struct gbt_parts part[DOG_GBT_TARGETS_MAX];
        *to = NULL;
        int rc = gbt_check_counts(features, targets, ensemble, e);
        if (rc < 0)
                return rc;
        struct dog_gbt *m = gbt_room(features, targets, ensemble, part);
        if (!m)
                return dog_err_set(e, -ENOMEM, "trees: no memory for a model of %u targets", targets);
        for (unsigned t = 0; t < targets; t++) {
                const struct dog_gbt_ensemble *s = &ensemble[t];
                if (s->trees == 0)
                        continue;
                memcpy(part[t].node, s->node, gbt_nodes(s) * sizeof(*s->node));
                memcpy(part[t].leaf, s->leaf, gbt_leaves(s) * sizeof(*s->leaf));
                memcpy(part[t].mean, s->mean, gbt_nodes(s) * sizeof(*s->mean));
        }
        return gbt_finish(to, m, part, e);
}

void dog_gbt_free(struct dog_gbt *m)
{
        free(m);
}

/* ---- bytes ------------------------------------------------------------------------------------- */

static float gbt_read_float(struct dog_bytes *b)
{
        uint32_t bits = dog_read_u32(b);
        float v;
        memcpy(&v, &bits, sizeof(v));
        return v;
}

static void gbt_write_float(struct dog_bytes *b, float v)
{
        uint32_t bits;
        memcpy(&bits, &v, sizeof(bits));
        dog_write_u32(b, bits);
}

static size_t gbt_bytes(unsigned targets, const struct dog_gbt_ensemble *s)
{
        size_t size = GBT_HEAD + (size_t)targets * GBT_TARGET;
        for (unsigned t = 0; t < targets; t++)
                size += gbt_nodes(&s[t]) * GBT_NODE + gbt_leaves(&s[t]) * GBT_LEAF;
        return size;
}

size_t dog_gbt_size(const struct dog_gbt *m)
{
        return gbt_bytes(m->targets, m->ensemble);
}

int dog_gbt_read(struct dog_gbt **to, const void *bytes, size_t size, struct dog_err *e)
{
        struct dog_gbt_ensemble head[DOG_GBT_TARGETS_MAX] = {{.depth = 1}};
        struct gbt_parts part[DOG_GBT_TARGETS_MAX];
        struct dog_bytes in = dog_bytes_in(bytes, size);
        *to = NULL;
        unsigned features = dog_read_u16(&in);
        unsigned targets = dog_read_u16(&in);
        for (unsigned t = 0; t < targets && t < DOG_GBT_TARGETS_MAX; t++) {
                head[t].trees = dog_read_u32(&in);
                head[t].depth = dog_read_u8(&in);
                head[t].base = gbt_read_float(&in);
        }
        if (in.failed)
                return dog_err_set(e, -EINVAL, "trees: %zu bytes end within the counts", size);
        int rc = gbt_check_counts(features, targets, head, e);
        if (rc < 0)
                return rc;
        /* Before memory is asked for: a count that lies is not worth its own size. */
        size_t right = gbt_bytes(targets, head);
        if (size != right)
                return dog_err_set(e, -EINVAL, "trees: %zu bytes, where the counts say %zu", size, right);
        struct dog_gbt *m = gbt_room(features, targets, head, part);
        if (!m)
                return dog_err_set(e, -ENOMEM, "trees: no memory for a model of %zu bytes", size);
        for (unsigned t = 0; t < targets; t++) {
                size_t nodes = (1U << head[t].depth) - 1;
                for (size_t tree = 0; tree < head[t].trees; tree++) {
                        for (size_t i = tree * nodes; i < (tree + 1) * nodes; i++) {
                                part[t].node[i].spare = 0;
                                part[t].node[i].slot = dog_read_u16(&in);
                                part[t].node[i].above = gbt_read_float(&in);
                                part[t].mean[i] = gbt_read_float(&in);
                        }
                        for (size_t i = tree * (nodes + 1); i < (tree + 1) * (nodes + 1); i++)
                                part[t].leaf[i] = gbt_read_float(&in);
                }
        }
        return gbt_finish(to, m, part, e);
}

void dog_gbt_write(const struct dog_gbt *m, void *to)
{
        struct dog_bytes out = dog_bytes_of(to, dog_gbt_size(m));
        dog_write_u16(&out, (uint16_t)m->features);
        dog_write_u16(&out, (uint16_t)m->targets);
        for (unsigned t = 0; t < m->targets; t++) {
                dog_write_u32(&out, m->ensemble[t].trees);
                dog_write_u8(&out, (uint8_t)m->ensemble[t].depth);
                gbt_write_float(&out, m->ensemble[t].base);
        }
        for (unsigned t = 0; t < m->targets; t++) {
                const struct dog_gbt_ensemble *s = &m->ensemble[t];
                size_t nodes = (1U << s->depth) - 1;
                for (size_t tree = 0; tree < s->trees; tree++) {
                        for (size_t i = tree * nodes; i < (tree + 1) * nodes; i++) {
                                dog_write_u16(&out, s->node[i].slot);
                                gbt_write_float(&out, s->node[i].above);
                                gbt_write_float(&out, s->mean[i]);
                        }
                        for (size_t i = tree * (nodes + 1); i < (tree + 1) * (nodes + 1); i++)
                                gbt_write_float(&out, s->leaf[i]);
                }
        }
}

/* ---- asking ------------------------------------------------------------------------------------ */

static void gbt_double(const float *restrict x, unsigned features, uint32_t *restrict both)
{
        const uint32_t highest = dog_fast_order(INFINITY);
        uint32_t *restrict second = both + features;
        for (size_t f = 0; f < features; f++) {
                uint32_t order = dog_fast_order(x[f]);
                bool is_known = x[f] == x[f];
                both[f] = is_known ? order : 0;
                second[f] = is_known ? order : highest;
        }
}

/*
 * Inlined with a fixed depth, so that the steps of a tree are unrolled. Counted from one, the children of
 * node i are 2i and 2i+1. Four trees take a step together: one tree's steps wait for each other, those of
 * four do not. Leaves are added in the order of trees, so that the sum is the one that training has seen.
 */
static inline __attribute__((always_inline)) float gbt_sum(const struct dog_gbt_ensemble *s,
                                                           const uint32_t *both, unsigned depth)
{
        const size_t leaves = (size_t)1 << depth;
        const size_t nodes = leaves - 1;
        const struct dog_gbt_step *step = s->step;
        const float *leaf = s->leaf;
        float sum = s->base;
        unsigned tree = 0;
        for (; tree + 4 <= s->trees; tree += 4) {
                size_t at[4] = {1, 1, 1, 1};
                for (unsigned d = 0; d < depth; d++)
                        for (unsigned k = 0; k < 4; k++) {
                                const struct dog_gbt_step *n = step + at[k] + k * nodes - 1;
                                at[k] = at[k] + at[k] + (n->above < both[n->at]);
                        }
                for (unsigned k = 0; k < 4; k++)
                        sum += leaf[at[k] + k * leaves - leaves];
                step += 4 * nodes;
                leaf += 4 * leaves;
        }
        for (; tree < s->trees; tree++) {
                size_t at = 1;
                for (unsigned d = 0; d < depth; d++) {
                        const struct dog_gbt_step *n = step + at - 1;
                        at = at + at + (n->above < both[n->at]);
                }
                sum += leaf[at - leaves];
                step += nodes;
                leaf += leaves;
        }
        return sum;
}

static float gbt_ask(const struct dog_gbt_ensemble *s, const uint32_t *both)
{
        switch (s->depth) {
        case 2:
                return gbt_sum(s, both, 2);
        case 3:
                return gbt_sum(s, both, 3);
        case 4:
                return gbt_sum(s, both, 4);
        case 5:
                return gbt_sum(s, both, 5);
        case 6:
                return gbt_sum(s, both, 6);
        default:
                return gbt_sum(s, both, s->depth);
        }
}

float dog_gbt_log_odds(const struct dog_gbt *m, unsigned target, const float *x)
{
        uint32_t both[2 * DOG_GBT_FEATURES_MAX];
        gbt_double(x, m->features, both);
        return gbt_ask(&m->ensemble[target], both);
}

void dog_gbt_log_odds_all(const struct dog_gbt *m, const float *x, float *out)
{
        uint32_t both[2 * DOG_GBT_FEATURES_MAX];
        gbt_double(x, m->features, both);
        for (unsigned t = 0; t < m->targets; t++)
                out[t] = gbt_ask(&m->ensemble[t], both);
}

float dog_gbt_contributions(const struct dog_gbt *m, unsigned target, const float *x, float *out)
{
        const struct dog_gbt_ensemble *s = &m->ensemble[target];
        const unsigned nodes = (1U << s->depth) - 1;
        uint32_t both[2 * DOG_GBT_FEATURES_MAX];
        double added[DOG_GBT_FEATURES_MAX] = {0};
        double ordinary = (double)s->base;
        gbt_double(x, m->features, both);
        for (unsigned tree = 0; tree < s->trees; tree++) {
                const struct dog_gbt_node *node = s->node + (size_t)tree * nodes;
                const struct dog_gbt_step *step = s->step + (size_t)tree * nodes;
                const float *mean = s->mean + (size_t)tree * nodes;
                const float *leaf = s->leaf + (size_t)tree * (nodes + 1);
                ordinary += (double)mean[0];
                for (unsigned i = 0; i < nodes;) {
                        unsigned next = 2 * i + 1 + (step[i].above < both[step[i].at]);
                        float then = next < nodes ? mean[next] : leaf[next - nodes];
                        added[node[i].slot / 2] += (double)then - (double)mean[i];
                        i = next;
                }
        }
        for (unsigned f = 0; f < m->features; f++)
                out[f] = (float)added[f];
        return (float)ordinary;
}
