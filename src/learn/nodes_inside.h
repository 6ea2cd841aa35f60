#pragma once
/** What the files of this folder that deal with nodes share: outcomes. Not for others. */
#include "learn/nodes.h"

/** What came of a step, per horizon: 0, 1, DOG_LABEL_UNKNOWN. */
void nodes_failure_labels(const struct dog_node_record *r, int64_t t_s, int8_t *label, bool *is_inside);

/** The overload outcomes of one metric at each row: rows x DOG_NODE_HORIZONS labels. Rows of history too. */
void nodes_overload_labels(const struct dog_node_record *r, unsigned metric, int8_t *label);
