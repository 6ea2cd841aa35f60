#include "learn/gbt_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * One tree, level by level. The rows of a node lie next to each other in `row`; a histogram holds the sums
 * of both derivatives per bin of a feature. Of two children the one with fewer rows is counted, the other is
 * the parent minus it, in the parent's place. Since all sums are of whole numbers, that difference is exact.
 */

/* g in the first half, h in the second: one addition for both. */
typedef double gbt_sum __attribute__((vector_size(16)));
typedef float gbt_pair __attribute__((vector_size(8)));

/* Splits whose gain is below this share of what the node has reached are rounding. */
static const double tree_gain_least = 1e-10;
/* Sides without any second derivative would divide by nothing when lambda is 0. */
static const double tree_child_least = 1e-6;

struct tree_split {
        double gain; /**< 0: none was found */
        double left_g, left_h;
        uint16_t feature;
        uint8_t bin;
        bool is_missing_right;
};

struct tree_node {
        size_t start, end; /**< its rows */
        double g, h;
        int sums;    /**< number of its histograms; -1: none, it is not split any more */
        int sibling; /**< its histograms are its parent's, minus those of this node; -1: count its rows */
};

struct gbt_grower {
        const struct dog_gbt_bins *b;
        const struct dog_gbt_params *p;
        uint32_t *row, *row_spare;
        struct gbt_slope *slope, *slope_spare;
        gbt_sum *sums; /**< 2^(depth-1) x columns x GBT_BINS */
        unsigned columns_most;

        /* of the tree that is being grown */
        const uint16_t *column;
        unsigned columns;
        double unit_g, unit_h;
        struct tree_node node[1 << (DOG_GBT_DEPTH_MAX - 1)]; /**< of this level */
        unsigned nodes;
        struct tree_split best[GBT_THREADS_MAX][1 << (DOG_GBT_DEPTH_MAX - 1)];
};

struct gbt_grower *gbt_grower_new(const struct dog_gbt_bins *b, const struct dog_gbt_params *p, size_t rows)
{
        struct gbt_grower *g = calloc(1, sizeof(*g));
        if (!g)
                return NULL;
        g->b = b;
        g->p = p;
        float most = ceilf((float)b->features * p->column_share) + 1;
        g->columns_most = most < (float)b->features ? (unsigned)most : b->features;
        g->row = malloc(rows * sizeof(*g->row));
        g->row_spare = malloc(rows * sizeof(*g->row));
        g->slope = malloc(rows * sizeof(*g->slope));
        g->slope_spare = malloc(rows * sizeof(*g->slope));
        size_t sums = ((size_t)1 << (p->depth - 1)) * g->columns_most * GBT_BINS;
        g->sums = aligned_alloc(64, sums * sizeof(*g->sums));
        if (g->row && g->row_spare && g->slope && g->slope_spare && g->sums)
                return g;
        gbt_grower_free(g);
        return NULL;
}

void gbt_grower_free(struct gbt_grower *g)
{
        if (!g)
                return;
        free(g->row);
        free(g->row_spare);
        free(g->slope);
        free(g->slope_spare);
        free(g->sums);
        free(g);
}

uint32_t *gbt_grower_row(struct gbt_grower *g)
{
        return g->row;
}

struct gbt_slope *gbt_grower_slope(struct gbt_grower *g)
{
        return g->slope;
}

/* ---- sums per bin ------------------------------------------------------------------------------ */

static gbt_sum *tree_sums(const struct gbt_grower *g, int sums, unsigned column)
{
        return g->sums + ((size_t)sums * g->columns_most + column) * GBT_BINS;
}

static gbt_sum tree_slope(const struct gbt_slope *s)
{
        gbt_pair pair;
        memcpy(&pair, s, sizeof(pair));
        return __builtin_convertvector(pair, gbt_sum);
}

/* Four features in one pass: a derivative is loaded once, and additions to one bin wait for each other less.
 */
static void tree_count_four(const struct gbt_grower *g, const struct tree_node *n, unsigned column)
{
        const uint8_t *bin[GBT_ABREAST];
        gbt_sum *sum[GBT_ABREAST];
        for (unsigned k = 0; k < GBT_ABREAST; k++) {
                bin[k] = g->b->bin + (size_t)g->column[column + k] * g->b->rows;
                sum[k] = tree_sums(g, n->sums, column + k);
        }
        for (size_t i = n->start; i < n->end; i++) {
                size_t row = g->row[i];
                gbt_sum s = tree_slope(&g->slope[i]);
                sum[0][bin[0][row]] += s;
                sum[1][bin[1][row]] += s;
                sum[2][bin[2][row]] += s;
                sum[3][bin[3][row]] += s;
        }
}

static void tree_count_one(const struct gbt_grower *g, const struct tree_node *n, unsigned column)
{
        const uint8_t *bin = g->b->bin + (size_t)g->column[column] * g->b->rows;
        gbt_sum *sum = tree_sums(g, n->sums, column);
        for (size_t i = n->start; i < n->end; i++)
                sum[bin[g->row[i]]] += tree_slope(&g->slope[i]);
}

static void tree_count(const struct gbt_grower *g, const struct tree_node *n, unsigned column, unsigned count)
{
        memset(tree_sums(g, n->sums, column), 0, count * GBT_BINS * sizeof(gbt_sum));
        if (count == GBT_ABREAST) {
                tree_count_four(g, n, column);
                return;
        }
        for (unsigned k = 0; k < count; k++)
                tree_count_one(g, n, column + k);
}

static void tree_subtract(const struct gbt_grower *g, int from, int what, unsigned column, unsigned count)
{
        gbt_sum *a = tree_sums(g, from, column);
        const gbt_sum *b = tree_sums(g, what, column);
        for (size_t i = 0; i < (size_t)count * GBT_BINS; i++)
                a[i] -= b[i];
}

/* ---- the best split ---------------------------------------------------------------------------- */

/* How much loss a leaf with these sums takes away, times two. */
static double tree_worth(double g, double h, double lambda)
{
        return g * g / (h + lambda);
}

struct tree_scan {
        const struct gbt_grower *g;
        double node_g, node_h, missing_g, missing_h; /**< in real units */
        double child, lambda;
        unsigned column;
        bool has_missing;
};

static void tree_try(const struct tree_scan *s, double left_g, double left_h, unsigned bin,
                     bool is_missing_right, struct tree_split *best)
{
        double right_h = s->node_h - left_h;
        if (left_h < s->child || right_h < s->child)
                return;
        double gain =
                tree_worth(left_g, left_h, s->lambda) + tree_worth(s->node_g - left_g, right_h, s->lambda);
        if (gain <= best->gain)
                return;
        *best = (struct tree_split){.gain = gain,
                                    .left_g = left_g,
                                    .left_h = left_h,
                                    .feature = s->g->column[s->column],
                                    .bin = (uint8_t)bin,
                                    .is_missing_right = is_missing_right};
}

static void tree_scan_column(const struct tree_scan *s, const gbt_sum *sum, struct tree_split *best)
{
        const struct gbt_feature *f = &s->g->b->feature[s->g->column[s->column]];
        double g = 0;
        double h = 0;
        /* After the last bin: everything that was measured against what was not. */
        unsigned last = s->has_missing ? f->values : f->values - 1;
        for (unsigned bin = 0; bin < last; bin++) {
                if (sum[bin][0] == 0 && sum[bin][1] == 0 && bin > 0)
                        continue; /* the same rows as before */
                g += sum[bin][0] * s->g->unit_g;
                h += sum[bin][1] * s->g->unit_h;
                if (!s->has_missing) {
                        tree_try(s, g, h, bin, h < s->node_h - h, best);
                        continue;
                }
                tree_try(s, g, h, bin, true, best);
                if (bin + 1 < f->values)
                        tree_try(s, g + s->missing_g, h + s->missing_h, bin, false, best);
        }
}

static void tree_scan_node(const struct gbt_grower *g, const struct tree_node *n, unsigned column,
                           unsigned count, struct tree_split *best)
{
        for (unsigned k = column; k < column + count; k++) {
                const gbt_sum *sum = tree_sums(g, n->sums, k);
                struct tree_scan s = {
                        .g = g,
                        .node_g = n->g,
                        .node_h = n->h,
                        .missing_g = sum[GBT_MISSING][0] * g->unit_g,
                        .missing_h = sum[GBT_MISSING][1] * g->unit_h,
                        .child = fmax((double)g->p->min_child, tree_child_least),
                        .lambda = (double)g->p->lambda,
                        .column = k,
                };
                s.has_missing = s.missing_h > 0;
                if (g->b->feature[g->column[k]].values > 0)
                        tree_scan_column(&s, sum, best);
        }
}

/* One thread's features at one level: sums of every node, and the best split of each among them. */
static void tree_level_part(void *data, unsigned part, unsigned parts)
{
        struct gbt_grower *g = data;
        for (unsigned i = 0; i < g->nodes; i++)
                g->best[part][i] = (struct tree_split){.gain = 0};
        for (unsigned column = part * GBT_ABREAST; column < g->columns; column += parts * GBT_ABREAST) {
                unsigned count = g->columns - column < GBT_ABREAST ? g->columns - column : GBT_ABREAST;
                for (unsigned i = 0; i < g->nodes; i++)
                        if (g->node[i].sums >= 0 && g->node[i].sibling < 0)
                                tree_count(g, &g->node[i], column, count);
                for (unsigned i = 0; i < g->nodes; i++)
                        if (g->node[i].sums >= 0 && g->node[i].sibling >= 0)
                                tree_subtract(g, g->node[i].sums, g->node[g->node[i].sibling].sums, column,
                                              count);
                for (unsigned i = 0; i < g->nodes; i++)
                        if (g->node[i].sums >= 0)
                                tree_scan_node(g, &g->node[i], column, count, &g->best[part][i]);
        }
}

/* Of equal gains the lowest feature wins, so that the number of threads does not matter. */
static struct tree_split tree_best(const struct gbt_grower *g, unsigned node)
{
        struct tree_split best = g->best[0][node];
        for (unsigned k = 1; k < g->p->threads; k++) {
                const struct tree_split *s = &g->best[k][node];
                if (s->gain > best.gain || (s->gain == best.gain && s->gain > 0 && s->feature < best.feature))
                        best = *s;
        }
        double has = tree_worth(g->node[node].g, g->node[node].h, (double)g->p->lambda);
        double gain = (best.gain - has) / 2;
        if (!(gain > (double)g->p->min_gain && best.gain - has > tree_gain_least * has))
                best.gain = 0;
        return best;
}

/* ---- growing ----------------------------------------------------------------------------------- */

/* Rows that go left first, in their order; @return where the right ones begin. */
static size_t tree_part_rows(struct gbt_grower *g, const struct tree_node *n, const struct gbt_cut *cut)
{
        const uint8_t *bin = g->b->bin + (size_t)cut->feature * g->b->rows;
        size_t left = n->start;
        size_t right = 0;
        for (size_t i = n->start; i < n->end; i++) {
                uint32_t row = g->row[i];
                struct gbt_slope slope = g->slope[i];
                bool is_right = gbt_goes_right(cut, bin[row]);
                /* Both are written, one place moves on: which way a row goes cannot be guessed. */
                g->row_spare[right] = row;
                g->slope_spare[right] = slope;
                g->row[left] = row;
                g->slope[left] = slope;
                right += is_right;
                left += !is_right;
        }
        memcpy(g->row + left, g->row_spare, right * sizeof(*g->row));
        memcpy(g->slope + left, g->slope_spare, right * sizeof(*g->slope));
        return left;
}

static void tree_write_node(const struct gbt_grower *g, const struct tree_split *s, unsigned at,
                            struct gbt_tree *tree)
{
        if (s->gain <= 0) {
                tree->node[at] = (struct dog_gbt_node){.above = INFINITY};
                tree->cut[at] = (struct gbt_cut){.cut = GBT_MISSING};
                return;
        }
        uint8_t turn = s->is_missing_right ? 0 : 1;
        tree->node[at] = (struct dog_gbt_node){.above = g->b->feature[s->feature].edge[s->bin],
                                               .slot = (uint16_t)(2 * s->feature + !turn)};
        tree->cut[at] =
                (struct gbt_cut){.feature = s->feature, .cut = (uint8_t)(s->bin + turn), .turn = turn};
}

/* Which of two children is counted and which subtracted; a child that cannot be split needs no sums. */
static void tree_plan_children(const struct gbt_grower *g, struct tree_node *child, int at, int parent_sums,
                               int *next_sums)
{
        double least = 2 * fmax((double)g->p->min_child, tree_child_least);
        bool is_left_small = child[0].end - child[0].start <= child[1].end - child[1].start;
        int small = is_left_small ? 0 : 1;
        int large = 1 - small;
        if (child[large].h >= least) {
                child[small].sums = (*next_sums)++;
                child[large].sums = parent_sums;
                child[large].sibling = at + small;
        } else if (child[small].h >= least) {
                child[small].sums = parent_sums;
        }
}

static double tree_leaf(const struct gbt_grower *g, double sum_g, double sum_h)
{
        double below = sum_h + (double)g->p->lambda;
        return below > 0 ? -(double)g->p->learn_rate * sum_g / below : 0;
}

/* The last level: its splits give the leaves, and no row needs to move any more. */
static void tree_write_leaves(const struct gbt_grower *g, const struct tree_split *s, unsigned i,
                              struct gbt_tree *tree)
{
        const struct tree_node *n = &g->node[i];
        bool is_split = s->gain > 0;
        double left_g = is_split ? s->left_g : n->g;
        double left_h = is_split ? s->left_h : n->h;
        tree->leaf[2 * i] = (float)tree_leaf(g, left_g, left_h);
        tree->leaf[2 * i + 1] = is_split ? (float)tree_leaf(g, n->g - left_g, n->h - left_h) : 0;
}

/* Two nodes of the next level from one of this: child[0], child[1]; `at` is the first one's place there. */
static void tree_descend(struct gbt_grower *g, unsigned i, const struct tree_split *s,
                         const struct gbt_cut *cut, struct tree_node *child, int at, int *next_sums)
{
        const struct tree_node *n = &g->node[i];
        child[0] = *n;
        child[0].sums = child[0].sibling = -1;
        child[1] = (struct tree_node){.start = n->end, .end = n->end, .sums = -1, .sibling = -1};
        if (s->gain <= 0)
                return;
        size_t middle = tree_part_rows(g, n, cut);
        child[0].end = child[1].start = middle;
        child[0].g = s->left_g;
        child[0].h = s->left_h;
        child[1].g = n->g - s->left_g;
        child[1].h = n->h - s->left_h;
        tree_plan_children(g, child, at, n->sums, next_sums);
}

static void tree_root(struct gbt_grower *g, size_t rows)
{
        gbt_sum all = {0, 0};
        for (size_t i = 0; i < rows; i++)
                all += tree_slope(&g->slope[i]);
        g->node[0] = (struct tree_node){
                .end = rows, .g = all[0] * g->unit_g, .h = all[1] * g->unit_h, .sums = 0, .sibling = -1};
        g->nodes = 1;
}

bool gbt_grow(struct gbt_grower *g, size_t rows, const uint16_t *column, unsigned columns, double unit_g,
              double unit_h, struct gbt_tree *tree)
{
        struct tree_node child[1 << (DOG_GBT_DEPTH_MAX - 1)];
        int next_sums = 1;
        bool is_split = false;
        g->column = column;
        g->columns = columns < g->columns_most ? columns : g->columns_most;
        g->unit_g = unit_g;
        g->unit_h = unit_h;
        tree_root(g, rows);
        for (unsigned level = 0; level < g->p->depth; level++) {
                bool is_last = level + 1 == g->p->depth;
                gbt_parallel(g->p->threads, tree_level_part, g);
                for (unsigned i = 0; i < g->nodes; i++) {
                        const unsigned at = (1U << level) - 1 + i;
                        const struct tree_split s = tree_best(g, i);
                        is_split = is_split || s.gain > 0;
                        tree_write_node(g, &s, at, tree);
                        if (is_last)
                                tree_write_leaves(g, &s, i, tree);
                        else
                                tree_descend(g, i, &s, &tree->cut[at], &child[(size_t)2 * i], (int)(2 * i),
                                             &next_sums);
                }
                if (is_last)
                        break;
                g->nodes *= 2;
                memcpy(g->node, child, g->nodes * sizeof(*child));
        }
        return is_split;
}
