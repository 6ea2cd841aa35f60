#pragma once
/** Where `sundog train` and `sundog backtest` get recordings from: a folder, or the daemon's own store. */
#include "ctl/command.h"
#include "learn/nodes.h"
#include "learn/paths.h"

struct learn_source {
        const char *data;   /**< folder with traces.csv; NULL: the store */
        const char *store;  /**< file of the daemon's telemetry, or the folder that holds it */
        int64_t since_ns;   /**< of the store: only the newest so much */
        const char *family; /**< of the folder: only these, with commas between; NULL: all */
};

/** @return an exit code, after a sentence when it is not EXIT_FINE. Free with dog_path_traces_free. */
int learn_paths_load(const struct learn_source *s, struct dog_path_traces *to);
/** The same of nodes; family is not looked at. Free with dog_nodes_free. */
int learn_nodes_load(const struct learn_source *s, struct dog_nodes **to);
