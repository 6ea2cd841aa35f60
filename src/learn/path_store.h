#pragma once
/**
 * A daemon's own telemetry as recorded traces, to learn from and to judge by: for its training in the
 * background, for `sundog train --store` and for `sundog backtest --store` alike.
 *
 * Each tunnel is cut at every ten minutes of the clock, so that the same telemetry is cut alike tomorrow, in
 * steps of a quarter of a second, the pace at which a path that carries traffic is probed; of several probes
 * in one step the worst counts. The other paths are probed a quarter as often and stay at their own pace,
 * because it is at that pace that a model is asked about them. Ten minutes in which no path was measured for
 * two, once a second, teach little and are left out: probes are that frequent only while traffic flows.
 *
 * Each trace is judged by a promise; a tunnel with two promises gives two sets of traces. A trace's date is
 * its day, or its hour when there are less than four days of telemetry: so folds are whole days, or hours. Of
 * much telemetry whole traces are left out, evenly in time, so that memory and time are bounded.
 *
 * Round trips and losses are all there is: probes measure no rate, so these traces never are of rates.
 */
#include "core/promise.h"
#include "learn/paths.h"
#include "store/store.h"

#define DOG_PATH_STORE_FAMILY "own"

/** One promise on one tunnel: its limits of round trips and losses. */
struct dog_path_wanted {
        const char *tunnel;
        struct dog_promise promise;
};

/**
 * @param wanted          NULL: every tunnel in the store, by the limits of recordings (learn/paths.h)
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
