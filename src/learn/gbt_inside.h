#pragma once
/**
 * Shared by the files of training: bins (gbt_bins.c), one tree (gbt_tree.c), rounds (gbt_train.c).
 */
#include "learn/gbt_train.h"

enum {
        GBT_BINS = 256,
        GBT_MISSING = 255, /**< the bin of what was not measured */
        GBT_THREADS_MAX = 16,
        GBT_ABREAST = 4, /**< features whose histograms are filled in one pass over the rows */
};

struct gbt_feature {
        unsigned values;      /**< bins of measured values: 1..255; 0 when it was never measured */
        bool has_missing;     /**< in the rows to learn from */
        float edge[GBT_BINS]; /**< value bin b holds what is above edge[b-1] and not above edge[b] */
};

struct dog_gbt_bins {
        const struct dog_table *table;
        size_t rows;
        unsigned features;
        uint64_t fingerprint; /**< of the table and of what its blocks are used for */
        uint8_t *use;         /**< per row */
        uint8_t *bin;         /**< a feature after the other, rows each */
        struct gbt_feature *feature;
};

/** First and second derivative of the loss at a drawn row: whole numbers, see gbt_train.h. */
struct gbt_slope {
        float g, h;
};

/** A split as training knows it. right = (uint8_t)(bin + turn) > cut, see gbt_goes_right. */
struct gbt_cut {
        uint16_t feature;
        uint8_t cut, turn;
};

/** One tree: nodes and leaves as in models/gbt.h, and the same on bins. */
struct gbt_tree {
        struct dog_gbt_node node[1 << DOG_GBT_DEPTH_MAX];
        struct gbt_cut cut[1 << DOG_GBT_DEPTH_MAX];
        float leaf[1 << DOG_GBT_DEPTH_MAX];
        float mean[1 << DOG_GBT_DEPTH_MAX];
};

/** The missing bin is the last, so it goes right; turned by one it is the first, and goes left. */
static inline bool gbt_goes_right(const struct gbt_cut *c, uint8_t bin)
{
        return (uint8_t)(bin + c->turn) > c->cut;
}

/** The bin of a value: bins below whose edge it does not lie. */
uint8_t gbt_bin_of(const struct gbt_feature *f, float x);
/** What a model's node is on bins. -ENOENT when its threshold is no edge of its feature. */
int gbt_cut_of(const struct dog_gbt_bins *b, const struct dog_gbt_node *node, struct gbt_cut *cut);

/** Memory to grow trees in, for one trainer. */
struct gbt_grower;
struct gbt_grower *gbt_grower_new(const struct dog_gbt_bins *b, const struct dog_gbt_params *p, size_t rows);
void gbt_grower_free(struct gbt_grower *g);
/** Room for the rows drawn for a tree, and their derivatives, to be filled before gbt_grow. */
uint32_t *gbt_grower_row(struct gbt_grower *g);
struct gbt_slope *gbt_grower_slope(struct gbt_grower *g);
/**
 * Grow one tree; its means are left to the caller.
 * @param column  the features drawn, rising
 * @param unit_g, unit_h  what 1 means in the derivatives
 * @return whether there was anything to split
 */
bool gbt_grow(struct gbt_grower *g, size_t rows, const uint16_t *column, unsigned columns, double unit_g,
              double unit_h, struct gbt_tree *tree);

/** Do fn(data, 0..parts-1), on so many threads if they can be had. */
void gbt_parallel(unsigned parts, void (*fn)(void *data, unsigned part, unsigned parts), void *data);
