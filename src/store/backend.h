#pragma once
/**
 * What a backend of the store must be able to do. Private to src/store; the front is store.c.
 *
 * A backend writes from one thread at a time and may be read from another at the same time.
 * It never retries and never waits: it returns what happened and the front decides.
 *
 * Errors that mean something to the front:
 *     -EUCLEAN          the file is damaged: the front moves it aside and begins a new one
 *     -EPROTONOSUPPORT  written by a newer schema: the front leaves it alone
 * All others are trouble with the disk: the front keeps the rows and tries again later.
 */
#include "store/block.h"

enum store_item_kind { STORE_DECISION, STORE_GRADE, STORE_EVENT, STORE_CONFIG, STORE_BLOCK };

/** One thing to write. The texts point into the item itself. */
struct store_item {
        struct store_item *next;
        enum store_item_kind kind;
        bool is_partial;       /**< block: the series still adds to it */
        unsigned points;       /**< block */
        unsigned points_saved; /**< block: so many of them were written before */
        int series;            /**< block: the front's handle, a key for the backend's cache */
        uint64_t id;           /**< decision, grade */
        int64_t at_ns;         /**< block: time of the first point */
        const char *word[3];   /**< decision: group, reason; grade: grade; event: kind, subject, text;
                                    configuration: who; block: name of the series */
        const uint8_t *data;   /**< plan, outcome, configuration text, encoded block */
        size_t size;
        uint8_t hash[DOG_STORE_HASH_SIZE];

        bool was_written;    /**< out: false when it turned out to be impossible for this row alone */
        unsigned points_new; /**< out, block: points that were not on disk before */
        uint8_t bytes[];
};

struct store_backend;

struct store_backend_ops {
        /** Open or create, and check when `check` is set. NULL in *b unless 0. */
        int (*open)(const char *path, bool check, struct store_backend **b, struct dog_err *e);
        /** Open for reading alone: nothing is created or changed. */
        int (*open_read)(const char *path, struct store_backend **b, struct dog_err *e);
        void (*close)(struct store_backend *b);
        /** True when the file is no longer the one that was opened (deleted, replaced). */
        bool (*is_gone)(const struct store_backend *b);
        uint64_t (*decision_last)(const struct store_backend *b);
        /** All items in one transaction, or none. `durable`: it must survive the power failing. */
        int (*write)(struct store_backend *b, struct store_item *first, bool durable, struct dog_err *e);
        /** Keep below the size limit, checkpoint. *used is set to the bytes in use. */
        int (*upkeep)(struct store_backend *b, uint64_t size_max, uint64_t *used, uint64_t *points_dropped,
                      struct dog_err *e);

        /* Reading. `damaged` counts rows left out because their checksum did not match. */
        int (*blocks)(struct store_backend *b, const char *name, int64_t from_ns, int64_t to_ns,
                      int (*each)(void *context, const struct dog_point *point, size_t n), void *context,
                      uint64_t *damaged, struct dog_err *e);
        int (*hours)(struct store_backend *b, const char *name, int64_t from_ns, int64_t to_ns,
                     dog_store_hour_fn *each, void *context, uint64_t *damaged, struct dog_err *e);
        int (*names)(struct store_backend *b, dog_store_name_fn *each, void *context, struct dog_err *e);
        int (*decisions)(struct store_backend *b, const struct dog_store_decision_query *query,
                         dog_store_decision_fn *each, void *context, uint64_t *damaged, struct dog_err *e);
        int (*events)(struct store_backend *b, int64_t from_ns, int64_t to_ns, uint64_t limit,
                      dog_store_event_fn *each, void *context, uint64_t *damaged, struct dog_err *e);
        int (*configs)(struct store_backend *b, uint64_t limit, dog_store_config_fn *each, void *context,
                       uint64_t *damaged, struct dog_err *e);

        /**
         * Move a damaged file aside as PATH.corrupt-TIME; the newest three are kept. `to` is told the
         * new name. The configurations it still holds are given to `each`, newest first.
         */
        int (*move_aside)(const char *path, char *to, size_t to_size, dog_store_config_fn *each,
                          void *context, struct dog_err *e);
};

extern const struct store_backend_ops dog_store_sqlite;

/** No block spans more than this, so that a range read knows where to begin. */
#define STORE_BLOCK_SPAN_NS (INT64_C(3600) * 1000000000)
