#pragma once
/**
 * Recorded telemetry of nodes, with the incidents that people have marked in it: read from a folder, made
 * into tables to learn from, and predicted step by step as if it came live.
 *
 * The folder: nodes.csv (dataset,node,step_s,t0_s,labelled_from_s,end_s,n_metrics,...), one DATASET.csv or
 * DATASET.csv.gz for each data set (t_s,node,<metric>,...; an empty field was not measured), and
 * incidents.csv (dataset,node,start_s,end_s,kind; [start_s, end_s)). Without incidents.csv there is nothing
 * to learn failures from, and everything can still be predicted. Rows before labelled_from_s are history:
 * they set scales and limits, and nothing is predicted or scored there.
 *
 * Two outcomes, each at 5, 15 and 60 min (dog_node_horizon_s):
 *   failure   an incident starts in (t, t+M]. Left out (DOG_LABEL_UNKNOWN): inside an incident, the M minutes
 *             after one unless the next one starts, and the last M minutes of a record
 *   overload  a metric that has been at or below its limit in [t-M, t] is above it in (t, t+M]. The limit is
 *             the 99th percentile of its history (linear interpolation; the 1st row of at least 100). Left
 *             out: every other step, and the last M minutes. A metric that is constant in its history, or
 *             has under 100 values there, has no limit
 */
#include "base/err.h"
#include "learn/gbt_jobs.h"
#include "learn/model_file.h"
#include "learn/table.h"
#include "models/node.h"
#include "models/node_grade.h"

#include <stdbool.h>
#include <stdint.h>

struct dog_node_incident {
        int64_t start_s, end_s;
        char kind[64];
};

/** One node of one data set. Rows are in time order, strictly. */
struct dog_node_record {
        char dataset[32], name[64];
        int64_t step_s, labelled_from_s, end_s;
        unsigned metrics;
        char (*metric_name)[48];
        float *limit; /**< per metric; NaN: none */
        size_t rows;
        int64_t *t_s;
        float *value; /**< rows x metrics, NaN not measured */
        size_t first; /**< the first row with t_s >= labelled_from_s */
        unsigned incidents;
        struct dog_node_incident *incident; /**< by start */
        size_t room_;                       /**< of the reader */
};

struct dog_nodes {
        unsigned count;
        struct dog_node_record *node;
        bool has_incidents;     /**< there was an incidents.csv, or a store knows of a failure */
        uint64_t dropped_clock; /**< rows whose time did not advance */
        uint64_t dropped_node;  /**< rows of nodes that nodes.csv does not name */
};

/**
 * Read a folder. Free with dog_nodes_free.
 * @return 0; a negative errno of a file that cannot be opened; -EINVAL with file and line for an empty file,
 * a missing column, what is no number, a row with too few or too many fields, a file so far out of order that
 * one row in a hundred had to be dropped; -ENODATA when a node has no row; -ENOMEM
 */
int dog_nodes_read(struct dog_nodes **to, const char *folder, struct dog_err *e);
void dog_nodes_free(struct dog_nodes *n);

/** What is predicted. */
enum dog_nodes_task { DOG_NODES_FAILURE, DOG_NODES_OVERLOAD };

/**
 * Rows to learn from. Failure: one a step, features DOG_NODE_FEATURES, targets p5 p15 p60 and inside (the
 * step lies in an incident). Overload: one a step and metric with a limit, at most every `stride`-th step,
 * features DOG_NODE_OVERLOAD_FEATURES, targets p5 p15 p60. A block is a node; rows weigh so that each data
 * set counts alike. `id` is (node number << 40 | metric << 32 | row) of the record.
 * @return 0; -ENODATA, -ENOMEM, -EINVAL
 */
int dog_nodes_table(const struct dog_nodes *n, enum dog_nodes_task task, unsigned stride,
                    struct dog_table **to, struct dog_err *e);

/** What was said at one step, and what came of it. */
struct dog_nodes_prediction {
        const struct dog_node_record *node;
        int metric; /**< overload: of which metric; failure: -1 */
        int64_t t_s;
        float p[DOG_NODE_HORIZONS];
        float raw[DOG_NODE_HORIZONS];      /**< as the trees said, before calibration */
        float health;                      /**< 0 failing .. 1 well; NaN for overload */
        bool has_skill[DOG_NODE_HORIZONS]; /**< false: p is the base rate */
        int8_t label[DOG_NODE_HORIZONS];   /**< 0, 1 or DOG_LABEL_UNKNOWN: left out of scores */
        bool is_inside;                    /**< within an incident; false when there is no incidents.csv */
};
/** Called for each prediction in order of node, time, metric. 0: go on; else the run ends with that. */
typedef int dog_nodes_sink(void *data, const struct dog_nodes_prediction *p);

struct dog_nodes_options {
        bool is_learning; /**< outcomes that are known at t teach the node's own calibration; else the model's
                           */
        unsigned stride;  /**< overload only: every so many steps is handed over; 0 or 1: each */
};

/**
 * Predict every labelled step of every node, each node from a fresh state: nothing after t is used for t.
 * @param model  of kind DOG_MODEL_NODE for failures, DOG_MODEL_OVERLOAD for overload; NULL: base rates alone
 * @return 0, what the sink gave, -EINVAL for a model with other features, -ENOMEM
 */
int dog_nodes_predict(const struct dog_nodes *n, enum dog_nodes_task task, const struct dog_model *model,
                      const struct dog_nodes_options *options, dog_nodes_sink *sink, void *data,
                      struct dog_err *e);

/**
 * The calibration that a model of one task holds, for serving it live (models/node_risk.h, and
 * instance_node_trees): m->trees and these shapes belong together.
 * @param to  DOG_NODE_HORIZONS shapes
 * @return 0; -EINVAL for a model with other features, or one without calibration
 */
int dog_nodes_serve(const struct dog_model *m, enum dog_nodes_task task, struct dog_node_shape *to,
                    struct dog_err *e);

/**
 * The header and one line of predictions as CSV, ended by a newline: "dataset,node,t_s,p5,p15,p60,health" and
 * "dataset,node,metric,t_s,p5,p15,p60". @return the length; `to` holds 512 octets
 */
int dog_nodes_csv_header(enum dog_nodes_task task, char *to);
int dog_nodes_csv_line(const struct dog_nodes_prediction *p, char *to);

/**
 * Train the model of one task on all nodes, with what calibration needs: four models, each without a quarter
 * of the nodes, say what the others' nodes look like from outside. Begun here, worked on through
 * dog_nodes_train_jobs until that is done, finished below.
 * @param n  borrowed until the end
 * @return 0; -ENODATA when there is nothing to learn from; -EINVAL, -ENOMEM
 */
struct dog_nodes_train;
int dog_nodes_train_new(struct dog_nodes_train **to, const struct dog_nodes *n, enum dog_nodes_task task,
                        unsigned threads, struct dog_err *e);
void dog_nodes_train_free(struct dog_nodes_train *t);
/** The work itself, to be stepped, saved and gone on with (learn/gbt_jobs.h). */
struct dog_gbt_jobs *dog_nodes_train_jobs(struct dog_nodes_train *t);
int dog_nodes_train_finish(struct dog_nodes_train *t, int64_t made_wall_ns, struct dog_model **to,
                           struct dog_err *e);
/** All of it at once. */
int dog_nodes_train(const struct dog_nodes *n, enum dog_nodes_task task, unsigned threads,
                    int64_t made_wall_ns, struct dog_model **to, struct dog_err *e);
