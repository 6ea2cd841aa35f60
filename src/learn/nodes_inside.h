#pragma once
/** What the files of this folder that deal with nodes share: outcomes, calibration. Not for others. */
#include "learn/nodes.h"

/** Where history ends (`first`), and the 99th percentile of each metric in it. -ENOMEM */
int nodes_limits(struct dog_node_record *r, struct dog_err *e);
/** What the record owns. */
void nodes_record_fini(struct dog_node_record *r);

/** A fresh state with the limits of the record, to be freed. NULL: no memory. */
struct dog_node *nodes_state(const struct dog_node_record *r, struct dog_err *e);

/** What came of a step, per horizon: 0, 1, DOG_LABEL_UNKNOWN. */
void nodes_failure_labels(const struct dog_node_record *r, int64_t t_s, int8_t *label, bool *is_inside);

/** The overload outcomes of one metric at each row: rows x DOG_NODE_HORIZONS labels. Rows of history too. */
void nodes_overload_labels(const struct dog_node_record *r, unsigned metric, int8_t *label);

/** Has the metric been at or below its limit for five minutes? Else there is nothing to foresee. */
bool nodes_is_open(const struct dog_node *state, unsigned metric);

/** The names of a task's features. @return how many */
unsigned nodes_features(enum dog_nodes_task task, const char **to);

/** The calibration that a model holds for one target. -EINVAL: it holds none. */
int nodes_shape(const struct dog_model *m, const char *target, struct dog_node_shape *to);

/**
 * The calibration of target h from what models that had not seen the nodes said of them.
 * @param raw  rows x targets of `t`, log-odds; NaN: nothing was said
 */
void nodes_calibrate(const struct dog_nodes *n, const struct dog_table *t, unsigned h, const float *raw,
                     unsigned stride, bool is_overload, struct dog_node_shape *to);
