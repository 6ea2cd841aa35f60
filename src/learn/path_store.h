#pragma once
/**
 * The daemon's own telemetry as recorded traces, to learn from and to judge by.
 *
 * Each tunnel is cut into traces of ten minutes, in steps of a second (of several probes in one the worst
 * counts), and judged by a promise that was given on it; a tunnel with two promises gives two sets of traces.
 * Of much telemetry whole traces are left out, evenly in time, so that memory and time are bounded. A trace's
 * date is its hour, so that folds are whole hours.
 */
#include "core/promise.h"
#include "learn/paths.h"
#include "store/store.h"

#define DOG_PATH_STORE_FAMILY "own"

/** One promise on one tunnel. */
struct dog_path_wanted {
        const char *tunnel;
        struct dog_promise promise;
};

/**
 * @param from_ns, to_ns  wall clock; at most 31 days
 * @param samples_most    leave traces out until at most so many samples remain
 * @param to              free with dog_path_traces_free(); nothing to free after a failure
 * @return 0; -ENODATA when there is no trace with enough samples in that time, -EINVAL, -ENOMEM, or what the
 * store says
 */
int dog_path_store_traces(struct dog_path_traces *to, struct dog_store *store,
                          const struct dog_path_wanted *wanted, size_t count, int64_t from_ns, int64_t to_ns,
                          long samples_most, struct dog_err *e);

/** The time of the oldest sample of any path in a time; INT64_MAX: there is none. */
int64_t dog_path_store_oldest(struct dog_store *store, int64_t from_ns, int64_t to_ns);
