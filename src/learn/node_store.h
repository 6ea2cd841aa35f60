#pragma once
/**
 * Telemetry of nodes in the store: how a daemon keeps it, and how it is read back to learn from.
 *
 * A node is an instance whose host tells vitals. Kept is one point a vital and minute, the mean of what was
 * told in it, because a minute is what models of nodes are asked about: "node/NAME/VITAL", at the end of the
 * minute; 17 vitals are at most 200 KB a node and day before the store packs them. And "node/NAME/failed": 1
 * when it fell silent, 0 when it answered again.
 *
 * Read back, all nodes are one data set. Of each node's time the first quarter, 6 h at least, is its history:
 * it sets scales and limits (learn/nodes.h); a minute in which nothing was told is no row. A failure is an
 * incident from the silence to the answer.
 */
#include "learn/nodes.h"
#include "store/store.h"
#include "wire/vitals.h"

#define DOG_NODE_STORE_DATASET "own"

/** What one node told in the minute that has begun. A value; all zero is a node that has told nothing. */
struct dog_node_log {
        int64_t minute; /**< since 1970 */
        double sum[DOG_VITAL_COUNT];
        unsigned count[DOG_VITAL_COUNT];
        int series[DOG_VITAL_COUNT]; /**< 0: not asked for yet; else the store's handle + 1 */
};

/**
 * Take vitals; when they begin another minute, the one before goes to the store.
 * @param keep     the vitals that are kept
 * @param wall_ns  when they were told; a time before the minute that has begun is dropped
 */
void dog_node_log_take(struct dog_node_log *l, struct dog_store *store, const char *name,
                       const struct dog_vitals *v, const enum dog_vital *keep, unsigned kept,
                       int64_t wall_ns);
/** The node fell silent, or answers again. */
void dog_node_log_failed(struct dog_store *store, const char *name, bool is_failed, int64_t wall_ns);

/**
 * Read it back. Free with dog_nodes_free.
 * @param from_ns, to_ns  wall clock; at most 31 days
 * @return 0; -ENODATA when no node told anything in that time; -EINVAL, -ENOMEM, or what the store says
 */
int dog_node_store_read(struct dog_nodes **to, struct dog_store *store, int64_t from_ns, int64_t to_ns,
                        struct dog_err *e);
