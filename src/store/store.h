#pragma once
/**
 * What is remembered: telemetry, the ledger of decisions, events, and every configuration that
 * was accepted (requirements P13, F2, F9, F11, F16, P2).
 *
 * The front (store.c) keeps bounded queues in memory, a backend (backend.h) puts them on disk;
 * the embedded backend is SQLite. Nothing that forwards ever waits for either:
 *
 *   - Every function that adds something only takes a short lock and touches memory.
 *   - dog_store_step() does all the disk work: one transaction for everything queued. Call it
 *     about once a second, from uv_queue_work() or from any one thread at a time. There is no
 *     thread in here. On a healthy disk a step takes milliseconds, but a disk may take seconds
 *     over one fsync, so do not call it on a loop that decides.
 *   - Reading uses a connection of its own and does not wait for a step in progress.
 *
 * What goes wrong with the disk (full, read-only, I/O errors, damage) is never an error of a
 * function that adds. It becomes the state: DOG_STORE_DEGRADED and one sentence, told once by
 * dog_store_news(). Writing is tried again after 1, 2, 4 ... 60 seconds. What no longer fits in
 * the queue meanwhile is counted as lost: the oldest telemetry goes first, while a ledger row
 * that does not fit is refused at once with -ENOBUFS.
 *
 * A damaged file is moved aside as NAME.corrupt-TIME (the newest three are kept), a new one is
 * begun, the configuration history that can still be read is carried over, and the sentence
 * says so. Every row has a checksum of its own; one that does not match is left out and counted.
 *
 * What survives: after a step has returned 0 its rows survive kill -9 of the process (WAL). An
 * accepted configuration also survives the power failing, because its transaction is fsynced;
 * other rows of the last seconds may not (synchronous=NORMAL), and the file still opens.
 *
 * Times are wall-clock nanoseconds since 1970 unless a name says otherwise: they are read by
 * people and outlive a boot. Texts passed in are copied.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOG_STORE_BLOCK_POINTS 250

struct dog_store;

struct dog_store_options {
        const char *path;        /**< the file; its folder is made when missing (one level, 0750) */
        uint64_t size_max_bytes; /**< oldest telemetry is deleted beyond this; 0: 200 MB; at least 1 MB */
        int64_t flush_ns;        /**< an unfinished block is written this often; 0: 30 s */
        size_t queue_rows_max;   /**< ledger, grade, event and configuration rows waiting; 0: 8192 */
        bool read_only;          /**< for tools beside a running daemon: see dog_store_open() */
        size_t queue_blocks_max; /**< blocks of telemetry waiting; 0: 8192, about 16 MB at most */
};

enum dog_store_health { DOG_STORE_OK, DOG_STORE_DEGRADED };

struct dog_store_status {
        enum dog_store_health health;
        char text[512];        /**< one sentence; empty when nothing ever went wrong */
        uint64_t rows_written; /**< ledger, grade, event, configuration rows committed since the start */
        uint64_t points_written;
        uint64_t rows_lost; /**< refused or given up, since the start */
        uint64_t points_lost;
        uint64_t rows_damaged; /**< met while reading, left out: their checksum did not match */
        uint64_t rows_queued;
        uint64_t points_queued; /**< in the queue and in unfinished blocks */
        uint64_t files_moved_aside;
        uint64_t file_bytes;  /**< pages in use, without the free ones */
        int64_t step_last_ns; /**< how long the last step took */
        int64_t step_worst_ns;
        int64_t retry_in_ns; /**< 0 when not waiting to try again */
};

/**
 * Open or create the store and check all of it (0.3 s per 100 MB in the page cache, 0.7 s read from disk).
 * Trouble with the disk is not an error here: the store is then DEGRADED, collects in memory and
 * keeps trying.
 *
 * With options.read_only nothing is written, created, checked or moved aside, what is added is refused with
 * -EROFS, and a file that is missing or damaged is an error (-ENOENT, -EUCLEAN, ...) with its sentence.
 *
 * @return 0; -ENOMEM; -EINVAL when the options make no sense; -EPROTONOSUPPORT when the file was
 *         written by a newer schema (it is left as it is, and nothing is opened)
 */
int dog_store_open(const struct dog_store_options *options, struct dog_store **store, struct dog_err *e);

/** Write what is queued if the disk lets us, and free. NULL is allowed. */
void dog_store_close(struct dog_store *store);

/**
 * Do the disk work that is due: write the queue, flush old unfinished blocks, apply the size
 * limit, retry after trouble. One thread at a time.
 * @param mono_ns  monotonic now, which paces flushing and back-off
 * @return 0, also when there was nothing to do; or the error that made the store DEGRADED;
 *         -EAGAIN while waiting to try again
 */
int dog_store_step(struct dog_store *store, int64_t mono_ns);

/** A step that does not wait for its time: everything, unfinished blocks too, with an fsync. */
int dog_store_sync(struct dog_store *store, struct dog_err *e);

void dog_store_status(struct dog_store *store, struct dog_store_status *status);

/** True once after each change of health or of the sentence; then *status is filled. */
bool dog_store_news(struct dog_store *store, struct dog_store_status *status);

/* ---- telemetry: (time, value) points of named series, kept bit for bit, NaN included ---- */

/**
 * The handle of a series, the same for the same name: "path/backhaul/fiber/rtt_ms".
 * @return >= 0; -EINVAL for a name that is empty or longer than 200 bytes; -ENOMEM
 */
int dog_store_series(struct dog_store *store, const char *name);

/** Remember one point. A negative handle is counted as a lost point, so callers need not check. */
void dog_store_sample(struct dog_store *store, int series, int64_t t_ns, double value);

/** Return a non-zero value to stop reading; it becomes the result. */
typedef int dog_store_point_fn(void *context, int64_t t_ns, double value);

/**
 * Every point of a series in from_ns..to_ns, both included, those still in memory too. Oldest
 * block first; within the order they were added.
 * @return 0; -ENOENT for a series never seen; -EIO and a sentence when the disk part could not
 *         be read (what memory holds was still given)
 */
int dog_store_range(struct dog_store *store, const char *name, int64_t from_ns, int64_t to_ns,
                    dog_store_point_fn *each, void *context, struct dog_err *e);

/** One hour of a series. Outlives the points. NaN points are not in it. */
struct dog_store_hour {
        int64_t start_ns;
        uint64_t n;
        double min, mean, max;
};
typedef int dog_store_hour_fn(void *context, const struct dog_store_hour *hour);
/** The hours that begin in from_ns..to_ns; written points only. Errors as dog_store_range(). */
int dog_store_hours(struct dog_store *store, const char *name, int64_t from_ns, int64_t to_ns,
                    dog_store_hour_fn *each, void *context, struct dog_err *e);

typedef int dog_store_name_fn(void *context, const char *name);
/** The names of all series, in memory or on disk; sorted. */
int dog_store_series_each(struct dog_store *store, dog_store_name_fn *each, void *context, struct dog_err *e);

/* ---- ledger: one row per decision; only its grade is ever added to ---- */

struct dog_store_decision {
        uint64_t id; /**< the ledger's number; 0 is refused */
        int64_t at_ns;
        const char *group;
        const char *reason; /**< the reason's word */
        const void *plan;   /**< the plan and the belief behind it, as its writer encodes them (JSON) */
        size_t plan_size;
        const char *grade;   /**< reading: HELPED, NEUTRAL, HURT or "" while unknown; adding: ignored */
        const void *outcome; /**< reading: what happened, as given to the grade; adding: ignored */
        size_t outcome_size;
        int64_t graded_at_ns;
};

/**
 * The largest number a decision has had, 0 for an empty store: dog_ledger_number_from() takes it.
 * When the file could not be read it is the wall clock in seconds, so that new numbers do not
 * meet earlier ones.
 */
uint64_t dog_store_decision_last(struct dog_store *store);

/** @return 0; -ENOBUFS when the queue is full (counted); -EINVAL without an id; -E2BIG over 1 MB; -ENOMEM */
int dog_store_decision_add(struct dog_store *store, const struct dog_store_decision *row);

/** Grade a decision. A second grade replaces the first. Errors as dog_store_decision_add(). */
int dog_store_decision_grade(struct dog_store *store, uint64_t id, int64_t at_ns, const char *grade,
                             const void *outcome, size_t outcome_size);

typedef int dog_store_decision_fn(void *context, const struct dog_store_decision *row);
struct dog_store_decision_query {
        uint64_t first_id; /**< this id and later; 0: from the start */
        uint64_t last_id;  /**< 0: to the end */
        const char *group; /**< NULL: all */
        uint64_t limit;    /**< 0: no limit */
        bool newest_first;
};
/** Read written rows; a row appears after the step that wrote it. Its texts live during the call. */
int dog_store_decision_each(struct dog_store *store, const struct dog_store_decision_query *query,
                            dog_store_decision_fn *each, void *context, struct dog_err *e);

/* ---- events: what changed, one row a change ---- */

struct dog_store_event {
        int64_t at_ns;
        const char *kind;    /**< one word: "alert", "reload", "reflex" */
        const char *subject; /**< what it is about; may be "" */
        const char *text;    /**< one sentence */
};
int dog_store_event_add(struct dog_store *store, const struct dog_store_event *event);
typedef int dog_store_event_fn(void *context, const struct dog_store_event *event);
/** The newest `limit` events (0: all) in from_ns..to_ns, newest first; written rows. */
int dog_store_event_each(struct dog_store *store, int64_t from_ns, int64_t to_ns, uint64_t limit,
                         dog_store_event_fn *each, void *context, struct dog_err *e);

/* ---- configuration history ---- */

#define DOG_STORE_HASH_SIZE 32

struct dog_store_config {
        int64_t at_ns;
        const char *who; /**< "file", "api:uid=1000", "undo" */
        const char *text;
        size_t text_size;
        uint8_t hash[DOG_STORE_HASH_SIZE]; /**< BLAKE2b-256 of the text; adding: ignored, computed here */
};
/** Remember an accepted configuration; the step that writes it fsyncs. Up to 4 MB. */
int dog_store_config_add(struct dog_store *store, const struct dog_store_config *config);
typedef int dog_store_config_fn(void *context, const struct dog_store_config *config);
/** Newest first, only those whose hash and checksum hold: the first one is the last good one. */
int dog_store_config_each(struct dog_store *store, uint64_t limit, dog_store_config_fn *each, void *context,
                          struct dog_err *e);
