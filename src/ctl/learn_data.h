#pragma once
/** Where `sundog train` and `sundog backtest` get recordings from: a folder, or the daemon's own store. */
#include "ctl/command.h"
#include "learn/paths.h"
#include "store/store.h"

struct learn_source {
        const char *data;   /**< folder with traces.csv; NULL: the store */
        const char *store;  /**< file of the daemon's telemetry, or the folder that holds it */
        int64_t since_ns;   /**< of the store: only the newest so much */
        const char *family; /**< of the folder: only these, with commas between; NULL: all */
};

/** @return an exit code, after a sentence when it is not EXIT_FINE. Free with dog_path_traces_free. */
int learn_paths_load(const struct learn_source *s, struct dog_path_traces *to);
/** Open a store for reading; `store` is its file, or the folder that holds it. Errors as dog_store_open. */
int learn_store_open(const char *store, struct dog_store **to, struct dog_err *e);
