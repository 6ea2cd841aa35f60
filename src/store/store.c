/*
 * The front of the store: bounded queues in memory, and the state machine that empties them.
 *
 * Locks, always taken in this order:
 *   step   held during a step: one writer at a time, also against close and sync
 *   read   held while the backend is read, and while it is replaced
 *   queue  held for moments only: everything that is added, and the state
 * Adding takes only the last one, so it never waits for the disk.
 */
#include "store/backend.h"

#include "base/array.h"
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORE_SIZE_DEFAULT   UINT64_C(200000000)
#define STORE_SIZE_LEAST     UINT64_C(1000000)
#define STORE_FLUSH_DEFAULT  (30 * DOG_S)
#define STORE_QUEUE_DEFAULT  8192
#define STORE_SERIES_MAX     65536
#define STORE_NAME_MAX       200
#define STORE_ROW_MAX        (1u << 20)
#define STORE_CONFIG_MAX     (4u << 20)
#define STORE_RETRY_FIRST_NS DOG_S
#define STORE_RETRY_MOST_NS  (60 * DOG_S)
#define STORE_BATCH_ITEMS    16384 /* per transaction, so that a step ends */

struct store_list {
        struct store_item *first;
        struct store_item **end; /**< where the next one is hung */
        size_t count;
};

struct store_series {
        char *name;
        uint32_t hash;
        int next;                /**< of the same bucket, -1 ends */
        struct dog_point *point; /**< the unfinished block, grown on demand */
        unsigned room, points;
        unsigned saved;   /**< so many of them are on disk */
        int64_t since_ns; /**< monotonic: the oldest point that is not on disk; 0 none */
};

struct dog_store {
        struct dog_store_options options;
        char *path;
        const struct store_backend_ops *ops;

        pthread_mutex_t step;
        pthread_mutex_t read;
        struct store_backend *backend; /**< changes under step and read; NULL while it cannot be opened */
        uint64_t damaged_told;         /**< rows_damaged that was last told as news */

        pthread_mutex_t queue;
        struct store_list rows, blocks;               /**< waiting */
        struct store_list rows_flying, blocks_flying; /**< being written by the step */
        struct store_series *series;
        int series_count, series_room;
        int bucket[1024];
        uint64_t points_waiting; /**< of the two lists of blocks, without partial ones */
        uint64_t decision_last;
        bool is_damaged;  /**< met damage: the next step moves the file aside */
        int64_t mono_ns;  /**< the newest time a step was given */
        int64_t retry_ns; /**< monotonic: not before this; 0: no trouble */
        int64_t backoff_ns;
        bool is_news;
        uint64_t rows_lost_before, points_lost_before; /**< when the trouble began */
        struct dog_store_status status;
};

/* ---- lists ---- */

static void list_clear(struct store_list *l)
{
        l->first = NULL;
        l->end = &l->first;
        l->count = 0;
}

static void list_append(struct store_list *l, struct store_item *item)
{
        item->next = NULL;
        *l->end = item;
        l->end = &item->next;
        l->count++;
}

static struct store_item *list_take(struct store_list *l)
{
        struct store_item *item = l->first;
        if (!item)
                return NULL;
        l->first = item->next;
        if (!l->first)
                l->end = &l->first;
        l->count--;
        return item;
}

/* Put all of `front` before what is in `l`. */
static void list_return(struct store_list *front, struct store_list *l)
{
        struct store_item *item;
        while ((item = list_take(l)))
                list_append(front, item);
        list_clear(l);
        while ((item = list_take(front)))
                list_append(l, item);
        list_clear(front);
}

static void list_free(struct store_list *l)
{
        struct store_item *item;
        while ((item = list_take(l)))
                free(item);
}

/* ---- items ---- */

/* An item with copies of its words and bytes behind it. NULL when memory is short. */
static struct store_item *item_new(enum store_item_kind kind, const char *const word[3], const void *data,
                                   size_t size)
{
        size_t length[3] = {0};
        size_t all = size;
        for (int i = 0; i < 3; i++) {
                length[i] = word[i] ? strlen(word[i]) + 1 : 0;
                all += length[i];
        }
        struct store_item *item = calloc(1, sizeof(*item) + all);
        if (!item)
                return NULL;
        item->kind = kind;
        item->size = size;
        uint8_t *to = item->bytes;
        for (int i = 0; i < 3; i++) {
                if (!word[i])
                        continue;
                item->word[i] = memcpy(to, word[i], length[i]);
                to += length[i];
        }
        item->data = to;
        if (size)
                memcpy(to, data, size);
        return item;
}

/* ---- state; all of it under the queue lock ---- */

static void state_set(struct dog_store *s, enum dog_store_health health, const char *text)
{
        if (s->status.health == health && strcmp(s->status.text, text) == 0)
                return;
        s->status.health = health;
        snprintf(s->status.text, sizeof(s->status.text), "%s", text);
        s->is_news = true;
}

static void state_fail(struct dog_store *s, int rc, const char *text)
{
        /* Told once per trouble: the words of a retry (another errno text) are not news by themselves. */
        if (s->status.health == DOG_STORE_OK || rc == -EPROTONOSUPPORT) {
                struct dog_err all = {0};
                dog_err_set(&all, rc, "%s; what happens is kept in memory and writing is tried again", text);
                state_set(s, DOG_STORE_DEGRADED, all.text);
                s->rows_lost_before = s->status.rows_lost;
                s->points_lost_before = s->status.points_lost;
        } else {
                snprintf(s->status.text, sizeof(s->status.text),
                         "%s; what happens is kept in memory and writing is tried again", text);
        }
        s->backoff_ns = s->backoff_ns ? s->backoff_ns * 2 : STORE_RETRY_FIRST_NS;
        if (s->backoff_ns > STORE_RETRY_MOST_NS)
                s->backoff_ns = STORE_RETRY_MOST_NS;
        s->retry_ns = s->mono_ns + s->backoff_ns;
}

static void state_well(struct dog_store *s)
{
        s->retry_ns = 0;
        s->backoff_ns = 0;
        if (s->status.health == DOG_STORE_OK)
                return;
        char text[160];
        snprintf(text, sizeof(text), "writing works again; lost while it did not: %llu rows, %llu points",
                 (unsigned long long)(s->status.rows_lost - s->rows_lost_before),
                 (unsigned long long)(s->status.points_lost - s->points_lost_before));
        state_set(s, DOG_STORE_OK, text);
}

/* ---- queues ---- */

static int row_queue(struct dog_store *s, struct store_item *item)
{
        int rc = 0;
        pthread_mutex_lock(&s->queue);
        if (!item) {
                rc = -ENOMEM;
        } else if (s->options.read_only) {
                rc = -EROFS;
        } else if (s->rows.count + s->rows_flying.count >= s->options.queue_rows_max) {
                rc = -ENOBUFS;
        } else {
                list_append(&s->rows, item);
                if (item->kind == STORE_DECISION && item->id > s->decision_last)
                        s->decision_last = item->id;
        }
        if (rc < 0)
                s->status.rows_lost++;
        pthread_mutex_unlock(&s->queue);
        if (rc < 0)
                free(item);
        return rc;
}

static int row_refuse(struct dog_store *s, int rc)
{
        pthread_mutex_lock(&s->queue);
        s->status.rows_lost++;
        pthread_mutex_unlock(&s->queue);
        return rc;
}

/* Points of a block that will be new to the disk, as far as we know. */
static unsigned block_fresh(const struct store_item *item)
{
        return item->points - item->points_saved;
}

/* The unfinished block of a series as an item. Under the queue lock. */
static struct store_item *block_item(const struct dog_store *s, int at, bool is_partial)
{
        const struct store_series *series = &s->series[at];
        uint8_t bytes[DOG_BLOCK_SIZE_MAX];
        size_t size = dog_block_encode(series->name, series->point, series->points, bytes);
        const char *word[3] = {series->name};
        struct store_item *item = item_new(STORE_BLOCK, word, bytes, size);
        if (!item)
                return NULL;
        item->series = at;
        item->is_partial = is_partial;
        item->points = series->points;
        item->points_saved = series->saved;
        item->at_ns = series->point[0].t_ns;
        return item;
}

static void block_drop_oldest(struct dog_store *s)
{
        struct store_item *oldest = list_take(&s->blocks);
        if (!oldest)
                return;
        s->status.points_lost += block_fresh(oldest);
        s->points_waiting -= block_fresh(oldest);
        free(oldest);
}

/* The block is complete: queue it and begin the next. */
static void series_finish(struct dog_store *s, int at)
{
        struct store_series *series = &s->series[at];
        if (series->points > series->saved) {
                struct store_item *item = block_item(s, at, false);
                if (item) {
                        while (s->blocks.first &&
                               s->blocks.count + s->blocks_flying.count >= s->options.queue_blocks_max)
                                block_drop_oldest(s);
                        list_append(&s->blocks, item);
                        s->points_waiting += block_fresh(item);
                } else {
                        s->status.points_lost += series->points - series->saved;
                }
        }
        series->points = 0;
        series->saved = 0;
        series->since_ns = 0;
}

static bool series_grow(struct store_series *series)
{
        unsigned room = series->room ? series->room * 2 : 16;
        if (room > DOG_STORE_BLOCK_POINTS)
                room = DOG_STORE_BLOCK_POINTS;
        struct dog_point *more = realloc(series->point, room * sizeof(*more));
        if (!more)
                return false;
        series->point = more;
        series->room = room;
        return true;
}

static void series_add(struct dog_store *s, int at, int64_t t_ns, double value)
{
        struct store_series *series = &s->series[at];
        if (series->points) {
                int64_t first = series->point[0].t_ns;
                int64_t last = series->point[series->points - 1].t_ns;
                /* Within a block time goes forward and spans little, so that a range read can find it. */
                if (t_ns < last || (uint64_t)t_ns - (uint64_t)first > (uint64_t)STORE_BLOCK_SPAN_NS)
                        series_finish(s, at);
        }
        if (series->points == series->room && !series_grow(series)) {
                s->status.points_lost++;
                return;
        }
        series->point[series->points++] = (struct dog_point){.t_ns = t_ns, .value = value};
        if (!series->since_ns)
                series->since_ns = s->mono_ns > 0 ? s->mono_ns : 1;
        if (series->points == DOG_STORE_BLOCK_POINTS)
                series_finish(s, at);
}

static uint32_t name_hash(const char *name)
{
        uint32_t h = 2166136261U; /* FNV-1a */
        for (; *name; name++)
                h = (h ^ (uint8_t)*name) * 16777619U;
        return h;
}

static int series_find(const struct dog_store *s, const char *name, uint32_t hash)
{
        for (int i = s->bucket[hash % ARRAY_SIZE(s->bucket)]; i >= 0; i = s->series[i].next)
                if (s->series[i].hash == hash && strcmp(s->series[i].name, name) == 0)
                        return i;
        return -1;
}

static int series_new(struct dog_store *s, const char *name, uint32_t hash)
{
        if (s->series_count == STORE_SERIES_MAX)
                return -ENOMEM;
        if (s->series_count == s->series_room) {
                int room = s->series_room ? s->series_room * 2 : 64;
                struct store_series *more = realloc(s->series, (size_t)room * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                s->series = more;
                s->series_room = room;
        }
        char *copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        int at = s->series_count++;
        int *bucket = &s->bucket[hash % ARRAY_SIZE(s->bucket)];
        s->series[at] = (struct store_series){.name = copy, .hash = hash, .next = *bucket};
        *bucket = at;
        return at;
}

int dog_store_series(struct dog_store *s, const char *name)
{
        if (!name || !*name || strlen(name) > STORE_NAME_MAX)
                return -EINVAL;
        uint32_t hash = name_hash(name);
        pthread_mutex_lock(&s->queue);
        int at = series_find(s, name, hash);
        if (at < 0)
                at = series_new(s, name, hash);
        pthread_mutex_unlock(&s->queue);
        return at;
}

void dog_store_sample(struct dog_store *s, int series, int64_t t_ns, double value)
{
        pthread_mutex_lock(&s->queue);
        if (series < 0 || series >= s->series_count || s->options.read_only)
                s->status.points_lost++;
        else
                series_add(s, series, t_ns, value);
        pthread_mutex_unlock(&s->queue);
}

int dog_store_decision_add(struct dog_store *s, const struct dog_store_decision *row)
{
        /* Above INT64_MAX the file could not tell it from a negative number. */
        if (row->id == 0 || row->id > INT64_MAX || !row->group || !row->reason)
                return row_refuse(s, -EINVAL);
        if (row->plan_size > STORE_ROW_MAX)
                return row_refuse(s, -E2BIG);
        const char *word[3] = {row->group, row->reason};
        struct store_item *item = item_new(STORE_DECISION, word, row->plan, row->plan_size);
        if (item) {
                item->id = row->id;
                item->at_ns = row->at_ns;
        }
        return row_queue(s, item);
}

int dog_store_decision_grade(struct dog_store *s, uint64_t id, int64_t at_ns, const char *grade,
                             const void *outcome, size_t outcome_size)
{
        if (id == 0 || id > INT64_MAX || !grade)
                return row_refuse(s, -EINVAL);
        if (outcome_size > STORE_ROW_MAX)
                return row_refuse(s, -E2BIG);
        const char *word[3] = {grade};
        struct store_item *item = item_new(STORE_GRADE, word, outcome, outcome_size);
        if (item) {
                item->id = id;
                item->at_ns = at_ns;
        }
        return row_queue(s, item);
}

int dog_store_event_add(struct dog_store *s, const struct dog_store_event *event)
{
        if (!event->kind || !event->text)
                return row_refuse(s, -EINVAL);
        if (strlen(event->text) > STORE_ROW_MAX)
                return row_refuse(s, -E2BIG);
        const char *word[3] = {event->kind, event->subject ? event->subject : "", event->text};
        struct store_item *item = item_new(STORE_EVENT, word, NULL, 0);
        if (item)
                item->at_ns = event->at_ns;
        return row_queue(s, item);
}

static struct store_item *config_item(const struct dog_store_config *config)
{
        const char *word[3] = {config->who ? config->who : ""};
        struct store_item *item = item_new(STORE_CONFIG, word, config->text, config->text_size);
        if (item) {
                item->at_ns = config->at_ns;
                crypto_generichash(item->hash, sizeof(item->hash), item->data, item->size, NULL, 0);
        }
        return item;
}

int dog_store_config_add(struct dog_store *s, const struct dog_store_config *config)
{
        if (!config->text)
                return row_refuse(s, -EINVAL);
        if (config->text_size > STORE_CONFIG_MAX)
                return row_refuse(s, -E2BIG);
        return row_queue(s, config_item(config));
}

uint64_t dog_store_decision_last(struct dog_store *s)
{
        pthread_mutex_lock(&s->queue);
        uint64_t last = s->decision_last;
        pthread_mutex_unlock(&s->queue);
        return last;
}

/* ---- the step ---- */

static void store_backend_drop(struct dog_store *s)
{
        pthread_mutex_lock(&s->read);
        s->ops->close(s->backend);
        s->backend = NULL;
        pthread_mutex_unlock(&s->read);
}

static int store_salvaged(void *context, const struct dog_store_config *config)
{
        struct store_list *newest_first = context;
        struct store_item *item = config_item(config);
        if (item) {
                item->next = newest_first->first;
                newest_first->first = item;
                newest_first->count++;
        }
        return 0;
}

/* Damage: put the file out of the way. What it still holds of the configuration goes first in the queue. */
static int store_aside(struct dog_store *s, const char *why, struct dog_err *e)
{
        char to[4096];
        struct store_list salvaged = {0};
        store_backend_drop(s);
        int rc = s->ops->move_aside(s->path, to, sizeof(to), store_salvaged, &salvaged, e);
        pthread_mutex_lock(&s->queue);
        struct store_list front;
        list_clear(&front);
        for (struct store_item *item = salvaged.first, *next; item; item = next) {
                next = item->next;
                if (rc == 0)
                        list_append(&front, item);
                else
                        free(item);
        }
        list_return(&front, &s->rows);
        if (rc == 0) {
                char text[sizeof(s->status.text)];
                snprintf(text, sizeof(text), "%.200s; moved aside to %.200s, a new one is begun", why, to);
                s->is_damaged = false;
                s->status.files_moved_aside++;
                /* The new file has nothing of the blocks that are still growing, nor of our numbers. */
                for (int i = 0; i < s->series_count; i++)
                        s->series[i].saved = 0;
                uint64_t now_s = (uint64_t)(dog_clock_wall_ns() / DOG_S);
                if (s->decision_last == 0)
                        s->decision_last = now_s;
                state_set(s, DOG_STORE_OK, text);
        }
        pthread_mutex_unlock(&s->queue);
        return rc;
}

static int store_attach(struct dog_store *s, bool check, struct dog_err *e)
{
        struct store_backend *fresh = NULL;
        int rc = s->options.read_only ? s->ops->open_read(s->path, &fresh, e)
                                      : s->ops->open(s->path, check, &fresh, e);
        if (rc == -EUCLEAN && !s->options.read_only) {
                struct dog_err why = *e;
                rc = store_aside(s, why.text, e);
                if (rc == 0)
                        rc = s->ops->open(s->path, true, &fresh, e);
        }
        if (rc < 0)
                return rc;
        pthread_mutex_lock(&s->read);
        s->backend = fresh;
        pthread_mutex_unlock(&s->read);
        pthread_mutex_lock(&s->queue);
        uint64_t last = s->ops->decision_last(fresh);
        if (last > s->decision_last)
                s->decision_last = last;
        pthread_mutex_unlock(&s->queue);
        return 0;
}

/* Everything that is due moves to the flying lists; the queue lock is held for moments. */
static void store_collect(struct dog_store *s, bool all, bool *durable)
{
        pthread_mutex_lock(&s->queue);
        for (size_t n = 0; n < STORE_BATCH_ITEMS && s->rows.first; n++) {
                struct store_item *item = list_take(&s->rows);
                *durable = *durable || item->kind == STORE_CONFIG;
                list_append(&s->rows_flying, item);
        }
        for (size_t n = 0; n < STORE_BATCH_ITEMS && s->blocks.first; n++)
                list_append(&s->blocks_flying, list_take(&s->blocks));
        for (int i = 0; i < s->series_count; i++) {
                struct store_series *series = &s->series[i];
                bool is_due = series->points > series->saved &&
                              (all || s->mono_ns - series->since_ns >= s->options.flush_ns);
                struct store_item *item = is_due ? block_item(s, i, true) : NULL;
                if (item)
                        list_append(&s->blocks_flying, item);
        }
        pthread_mutex_unlock(&s->queue);
}

/* A partial block was written: the series needs not write these points again. */
static void series_saved(struct dog_store *s, const struct store_item *item)
{
        struct store_series *series = &s->series[item->series];
        if (series->points < item->points || series->point[0].t_ns != item->at_ns)
                return; /* finished meanwhile: its last form is in the queue */
        series->saved = item->points;
        series->since_ns = series->points > series->saved ? s->mono_ns : 0;
}

/* The transaction is in: count, and forget the items. Under the queue lock. */
static void store_written(struct dog_store *s)
{
        struct store_item *item;
        while ((item = list_take(&s->rows_flying))) {
                if (item->was_written)
                        s->status.rows_written++;
                else
                        s->status.rows_lost++;
                free(item);
        }
        while ((item = list_take(&s->blocks_flying))) {
                s->status.points_written += item->points_new;
                if (item->is_partial)
                        series_saved(s, item);
                else
                        s->points_waiting -= block_fresh(item);
                free(item);
        }
}

/* The transaction is not in: everything waits again. Under the queue lock. */
static void store_unwritten(struct dog_store *s)
{
        struct store_list keep;
        list_clear(&keep);
        struct store_item *item;
        while ((item = list_take(&s->blocks_flying))) {
                if (item->is_partial)
                        free(item); /* its points are still in the series */
                else
                        list_append(&keep, item);
        }
        list_return(&keep, &s->blocks);
        list_return(&s->rows_flying, &s->rows);
}

static int store_write(struct dog_store *s, bool all, struct dog_err *e)
{
        bool durable = all;
        store_collect(s, all, &durable);
        struct store_item *rows = s->rows_flying.first;
        struct store_item *blocks = s->blocks_flying.first;
        if (!rows && !blocks)
                return 0;
        /* The lists are ours alone to change now; others only read them, under the lock, by count and next.
         */
        int rc = rows ? s->ops->write(s->backend, rows, durable, e) : 0;
        if (rc == 0) {
                pthread_mutex_lock(&s->queue);
                struct store_list left = s->blocks_flying;
                list_clear(&s->blocks_flying);
                store_written(s);
                s->blocks_flying = left;
                if (!left.first)
                        s->blocks_flying.end = &s->blocks_flying.first;
                pthread_mutex_unlock(&s->queue);
                rc = blocks ? s->ops->write(s->backend, blocks, all, e) : 0;
        }
        pthread_mutex_lock(&s->queue);
        if (rc == 0)
                store_written(s);
        else
                store_unwritten(s);
        pthread_mutex_unlock(&s->queue);
        return rc;
}

static int store_upkeep(struct dog_store *s, struct dog_err *e)
{
        uint64_t used = 0;
        uint64_t dropped = 0;
        int rc = s->ops->upkeep(s->backend, s->options.size_max_bytes, &used, &dropped, e);
        pthread_mutex_lock(&s->queue);
        s->status.file_bytes = used;
        pthread_mutex_unlock(&s->queue);
        return rc;
}

static int store_work(struct dog_store *s, bool all, struct dog_err *e)
{
        pthread_mutex_lock(&s->queue);
        bool is_damaged = s->is_damaged;
        pthread_mutex_unlock(&s->queue);
        int rc = 0;
        if (is_damaged && (rc = store_aside(s, "the store's file is damaged", e)) < 0)
                return rc;
        if (s->backend && s->ops->is_gone(s->backend)) {
                store_backend_drop(s);
                pthread_mutex_lock(&s->queue);
                for (int i = 0; i < s->series_count; i++)
                        s->series[i].saved = 0;
                state_set(s, s->status.health,
                          "the store's file was deleted or replaced; a new one is begun");
                pthread_mutex_unlock(&s->queue);
        }
        if (!s->backend && (rc = store_attach(s, false, e)) < 0)
                return rc;
        rc = store_write(s, all, e);
        if (rc == 0)
                rc = store_upkeep(s, e);
        if (rc == -EUCLEAN) {
                /* Again at once with a new file: what was queued is still there. */
                struct dog_err why = *e;
                rc = store_aside(s, why.text, e);
                if (rc == 0)
                        rc = store_attach(s, true, e);
                if (rc == 0)
                        rc = store_write(s, all, e);
        }
        return rc;
}

/* Rows left out while reading are told once, then each time their number has doubled. */
static void store_tell_damage(struct dog_store *s)
{
        if (s->status.rows_damaged < 1 || s->status.rows_damaged < s->damaged_told * 2)
                return;
        s->damaged_told = s->status.rows_damaged;
        char text[160];
        snprintf(text, sizeof(text), "%llu rows of the store do not match their checksum; they were left out",
                 (unsigned long long)s->status.rows_damaged);
        state_set(s, s->status.health, text);
}

static int store_step(struct dog_store *s, int64_t mono_ns, bool all, struct dog_err *e)
{
        struct dog_err err = {0};
        if (s->options.read_only)
                return 0;
        pthread_mutex_lock(&s->step);
        pthread_mutex_lock(&s->queue);
        if (mono_ns > s->mono_ns)
                s->mono_ns = mono_ns;
        bool must_wait = !all && s->retry_ns > s->mono_ns;
        store_tell_damage(s);
        pthread_mutex_unlock(&s->queue);
        if (must_wait) {
                pthread_mutex_unlock(&s->step);
                return -EAGAIN;
        }
        int64_t began_ns = dog_clock_mono_ns();
        int rc = store_work(s, all, &err);
        /* A connection that has seen an error of the disk starts afresh the next time. */
        if (rc < 0 && s->backend)
                store_backend_drop(s);
        int64_t took_ns = dog_clock_mono_ns() - began_ns;
        pthread_mutex_lock(&s->queue);
        s->status.step_last_ns = took_ns;
        if (took_ns > s->status.step_worst_ns)
                s->status.step_worst_ns = took_ns;
        if (rc < 0)
                state_fail(s, rc, err.text);
        else
                state_well(s);
        pthread_mutex_unlock(&s->queue);
        pthread_mutex_unlock(&s->step);
        if (rc < 0 && e)
                *e = err;
        return rc;
}

int dog_store_step(struct dog_store *s, int64_t mono_ns)
{
        return store_step(s, mono_ns, false, NULL);
}

int dog_store_sync(struct dog_store *s, struct dog_err *e)
{
        int rc = 0;
        bool is_more = true;
        /* A long queue takes several batches. */
        while (rc == 0 && is_more) {
                rc = store_step(s, 0, true, e);
                pthread_mutex_lock(&s->queue);
                is_more = s->rows.first || s->blocks.first;
                pthread_mutex_unlock(&s->queue);
        }
        return rc;
}

/* ---- opening and closing ---- */

static int options_check(const struct dog_store_options *o, struct dog_err *e)
{
        if (!o->path || !*o->path)
                return dog_err_set(e, -EINVAL, "store: no file is named; set \"store: path:\"");
        if (strlen(o->path) > 3500)
                return dog_err_set(e, -EINVAL, "store: the name of the file is too long");
        if (o->size_max_bytes && o->size_max_bytes < STORE_SIZE_LEAST)
                return dog_err_set(e, -EINVAL,
                                   "store %s: a size limit of %llu bytes is too small; use at least 1MB",
                                   o->path, (unsigned long long)o->size_max_bytes);
        if (o->flush_ns < 0)
                return dog_err_set(e, -EINVAL, "store %s: the time between flushes is negative", o->path);
        return 0;
}

static struct dog_store *store_new(const struct dog_store_options *o)
{
        struct dog_store *s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        s->options = *o;
        s->path = strdup(o->path);
        if (!s->path) {
                free(s);
                return NULL;
        }
        s->options.path = s->path;
        if (!o->size_max_bytes)
                s->options.size_max_bytes = STORE_SIZE_DEFAULT;
        if (!o->flush_ns)
                s->options.flush_ns = STORE_FLUSH_DEFAULT;
        if (!o->queue_rows_max)
                s->options.queue_rows_max = STORE_QUEUE_DEFAULT;
        if (!o->queue_blocks_max)
                s->options.queue_blocks_max = STORE_QUEUE_DEFAULT;
        s->ops = &dog_store_sqlite;
        s->mono_ns = dog_clock_mono_ns();
        list_clear(&s->rows);
        list_clear(&s->blocks);
        list_clear(&s->rows_flying);
        list_clear(&s->blocks_flying);
        for (size_t i = 0; i < ARRAY_SIZE(s->bucket); i++)
                s->bucket[i] = -1;
        pthread_mutex_init(&s->step, NULL);
        pthread_mutex_init(&s->read, NULL);
        pthread_mutex_init(&s->queue, NULL);
        return s;
}

static void store_free(struct dog_store *s)
{
        s->ops->close(s->backend);
        list_free(&s->rows);
        list_free(&s->blocks);
        list_free(&s->rows_flying);
        list_free(&s->blocks_flying);
        for (int i = 0; i < s->series_count; i++) {
                free(s->series[i].name);
                free(s->series[i].point);
        }
        free(s->series);
        pthread_mutex_destroy(&s->step);
        pthread_mutex_destroy(&s->read);
        pthread_mutex_destroy(&s->queue);
        free(s->path);
        free(s);
}

int dog_store_open(const struct dog_store_options *options, struct dog_store **out, struct dog_err *e)
{
        *out = NULL;
        int rc = options_check(options, e);
        if (rc < 0)
                return rc;
        if (sodium_init() < 0)
                return dog_err_set(e, -EIO, "store %s: libsodium cannot start", options->path);
        struct dog_store *s = store_new(options);
        if (!s)
                return dog_err_set(e, -ENOMEM, "store %s: out of memory", options->path);
        struct dog_err why = {0};
        rc = store_attach(s, true, &why);
        if (rc == -EPROTONOSUPPORT || rc == -ENOMEM || (rc < 0 && s->options.read_only)) {
                store_free(s);
                return dog_err_set(e, rc, "%s", why.text);
        }
        if (rc < 0) {
                state_fail(s, rc, why.text);
                s->decision_last = (uint64_t)(dog_clock_wall_ns() / DOG_S);
        }
        *out = s;
        return 0;
}

void dog_store_close(struct dog_store *s)
{
        if (!s)
                return;
        dog_store_sync(s, NULL);
        store_free(s);
}

/* ---- state, for others ---- */

static void status_fill(struct dog_store *s, struct dog_store_status *status)
{
        *status = s->status;
        status->rows_queued = s->rows.count + s->rows_flying.count;
        status->points_queued = s->points_waiting;
        for (int i = 0; i < s->series_count; i++)
                status->points_queued += s->series[i].points - s->series[i].saved;
        int64_t wait_ns = s->retry_ns ? s->retry_ns - dog_clock_mono_ns() : 0;
        status->retry_in_ns = wait_ns > 0 ? wait_ns : 0;
}

void dog_store_status(struct dog_store *s, struct dog_store_status *status)
{
        pthread_mutex_lock(&s->queue);
        status_fill(s, status);
        pthread_mutex_unlock(&s->queue);
}

bool dog_store_news(struct dog_store *s, struct dog_store_status *status)
{
        pthread_mutex_lock(&s->queue);
        bool is_news = s->is_news;
        s->is_news = false;
        if (is_news)
                status_fill(s, status);
        pthread_mutex_unlock(&s->queue);
        return is_news;
}

/* ---- reading ---- */

/* After a read: note damage for the step. Returns the caller's result. */
static int read_done(struct dog_store *s, int rc, uint64_t damaged)
{
        if (damaged || rc == -EUCLEAN) {
                pthread_mutex_lock(&s->queue);
                s->status.rows_damaged += damaged;
                s->is_damaged = s->is_damaged || rc == -EUCLEAN;
                pthread_mutex_unlock(&s->queue);
        }
        return rc;
}

static int read_refuse(const struct dog_store *s, struct dog_err *e)
{
        return dog_err_set(e, -EIO, "store %s: not open at the moment; see \"sundog status\"", s->path);
}

/* Blocks that are in memory, copied out so that the callback runs without the lock. */
struct memory_block {
        int64_t start_ns;
        unsigned n;
        struct dog_point *point;
};

struct range {
        int64_t from_ns, to_ns;
        dog_store_point_fn *each;
        void *context;
        struct memory_block *block;
        size_t blocks, room;
        struct dog_point *points; /**< one allocation for all of them */
};

static int range_points(const struct range *r, const struct dog_point *point, size_t n)
{
        int stop = 0;
        for (size_t i = 0; i < n && !stop; i++)
                if (point[i].t_ns >= r->from_ns && point[i].t_ns <= r->to_ns)
                        stop = r->each(r->context, point[i].t_ns, point[i].value);
        return stop;
}

static int range_from_disk(void *context, const struct dog_point *point, size_t n)
{
        const struct range *r = context;
        /* A block that was in memory when we looked may have been written since, or be a shorter form. */
        for (size_t i = 0; i < r->blocks; i++)
                if (r->block[i].start_ns == point[0].t_ns && r->block[i].n >= n)
                        return 0;
        return range_points(r, point, n);
}

static void range_memory_item(struct range *r, const struct store_item *item, struct dog_point *to)
{
        struct memory_block *m = &r->block[r->blocks];
        int n = dog_block_decode(item->word[0], item->data, item->size, to);
        if (n > 0)
                *m = (struct memory_block){.start_ns = item->at_ns, .n = (unsigned)n, .point = to};
        r->blocks += n > 0;
}

/* Copy the blocks of the series that are in memory; under the queue lock. -ENOENT: no such series in memory.
 */
static int range_memory(struct dog_store *s, const char *name, struct range *r)
{
        int at = series_find(s, name, name_hash(name));
        if (at < 0)
                return -ENOENT;
        const struct store_item *const lists[] = {s->blocks_flying.first, s->blocks.first};
        size_t count = 1;
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                for (const struct store_item *i = lists[l]; i; i = i->next)
                        count += i->series == at && !i->is_partial;
        r->block = calloc(count, sizeof(*r->block));
        r->points = malloc(count * DOG_STORE_BLOCK_POINTS * sizeof(*r->points));
        if (!r->block || !r->points)
                return -ENOMEM;
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                for (const struct store_item *i = lists[l]; i; i = i->next)
                        if (i->series == at && !i->is_partial)
                                range_memory_item(r, i, r->points + r->blocks * DOG_STORE_BLOCK_POINTS);
        const struct store_series *series = &s->series[at];
        if (series->points) {
                struct dog_point *to = r->points + r->blocks * DOG_STORE_BLOCK_POINTS;
                memcpy(to, series->point, series->points * sizeof(*to));
                r->block[r->blocks++] =
                        (struct memory_block){.start_ns = to[0].t_ns, .n = series->points, .point = to};
        }
        return 0;
}

static int name_is(void *context, const char *name)
{
        return strcmp(context, name) == 0;
}

/* 0 when the series is on disk, -ENOENT when not. Under the read lock. */
static int range_known(struct dog_store *s, const char *name)
{
        union {
                const char *in;
                void *out;
        } same = {.in = name};
        int rc = s->ops->names(s->backend, name_is, same.out, NULL);
        return rc == 1 ? 0 : -ENOENT;
}

int dog_store_range(struct dog_store *s, const char *name, int64_t from_ns, int64_t to_ns,
                    dog_store_point_fn *each, void *context, struct dog_err *e)
{
        struct range r = {.from_ns = from_ns, .to_ns = to_ns, .each = each, .context = context};
        uint64_t damaged = 0;
        pthread_mutex_lock(&s->read);
        pthread_mutex_lock(&s->queue);
        int in_memory = range_memory(s, name, &r);
        pthread_mutex_unlock(&s->queue);
        int rc;
        if (in_memory == -ENOMEM)
                rc = dog_err_set(e, -ENOMEM, "store %s: out of memory", s->path);
        else if (!s->backend)
                rc = read_refuse(s, e);
        else if (in_memory == -ENOENT && range_known(s, name) < 0)
                rc = dog_err_set(e, -ENOENT, "no series is called \"%s\"; \"sundog series\" lists them",
                                 name);
        else
                rc = s->ops->blocks(s->backend, name, from_ns, to_ns, range_from_disk, &r, &damaged, e);
        pthread_mutex_unlock(&s->read);
        int stop = 0;
        for (size_t i = 0; i < r.blocks && rc <= 0 && !stop; i++)
                stop = range_points(&r, r.block[i].point, r.block[i].n);
        free(r.block);
        free(r.points);
        rc = read_done(s, rc, damaged);
        return stop ? stop : rc;
}

int dog_store_hours(struct dog_store *s, const char *name, int64_t from_ns, int64_t to_ns,
                    dog_store_hour_fn *each, void *context, struct dog_err *e)
{
        uint64_t damaged = 0;
        pthread_mutex_lock(&s->read);
        int rc;
        if (!s->backend)
                rc = read_refuse(s, e);
        else if (range_known(s, name) < 0)
                rc = dog_err_set(e, -ENOENT, "no series is called \"%s\"; \"sundog series\" lists them",
                                 name);
        else
                rc = s->ops->hours(s->backend, name, from_ns, to_ns, each, context, &damaged, e);
        pthread_mutex_unlock(&s->read);
        return read_done(s, rc, damaged);
}

struct names {
        char **name;
        size_t count, room;
        bool is_short; /**< of memory */
};

static int names_add(void *context, const char *name)
{
        struct names *n = context;
        if (n->count == n->room) {
                size_t room = n->room ? n->room * 2 : 64;
                char **more = realloc(n->name, room * sizeof(*more));
                if (!more) {
                        n->is_short = true;
                        return -ENOMEM;
                }
                n->name = more;
                n->room = room;
        }
        n->name[n->count] = strdup(name);
        n->is_short = n->name[n->count] == NULL;
        n->count += !n->is_short;
        return n->is_short ? -ENOMEM : 0;
}

static int names_compare(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

int dog_store_series_each(struct dog_store *s, dog_store_name_fn *each, void *context, struct dog_err *e)
{
        struct names n = {0};
        pthread_mutex_lock(&s->read);
        int rc = s->backend ? s->ops->names(s->backend, names_add, &n, e) : read_refuse(s, e);
        pthread_mutex_unlock(&s->read);
        pthread_mutex_lock(&s->queue);
        for (int i = 0; i < s->series_count && !n.is_short; i++)
                names_add(&n, s->series[i].name);
        pthread_mutex_unlock(&s->queue);
        if (n.is_short)
                rc = dog_err_set(e, -ENOMEM, "store %s: out of memory", s->path);
        if (n.count)
                qsort(n.name, n.count, sizeof(*n.name), names_compare);
        int stop = 0;
        for (size_t i = 0; i < n.count && !stop && !n.is_short; i++)
                if (i == 0 || strcmp(n.name[i], n.name[i - 1]) != 0)
                        stop = each(context, n.name[i]);
        for (size_t i = 0; i < n.count; i++)
                free(n.name[i]);
        free(n.name);
        rc = read_done(s, rc, 0);
        return stop ? stop : rc;
}

int dog_store_decision_each(struct dog_store *s, const struct dog_store_decision_query *query,
                            dog_store_decision_fn *each, void *context, struct dog_err *e)
{
        uint64_t damaged = 0;
        pthread_mutex_lock(&s->read);
        int rc = s->backend ? s->ops->decisions(s->backend, query, each, context, &damaged, e)
                            : read_refuse(s, e);
        pthread_mutex_unlock(&s->read);
        return read_done(s, rc, damaged);
}

int dog_store_event_each(struct dog_store *s, int64_t from_ns, int64_t to_ns, uint64_t limit,
                         dog_store_event_fn *each, void *context, struct dog_err *e)
{
        uint64_t damaged = 0;
        pthread_mutex_lock(&s->read);
        int rc = s->backend ? s->ops->events(s->backend, from_ns, to_ns, limit, each, context, &damaged, e)
                            : read_refuse(s, e);
        pthread_mutex_unlock(&s->read);
        return read_done(s, rc, damaged);
}

int dog_store_config_each(struct dog_store *s, uint64_t limit, dog_store_config_fn *each, void *context,
                          struct dog_err *e)
{
        uint64_t damaged = 0;
        pthread_mutex_lock(&s->read);
        int rc = s->backend ? s->ops->configs(s->backend, limit, each, context, &damaged, e)
                            : read_refuse(s, e);
        pthread_mutex_unlock(&s->read);
        return read_done(s, rc, damaged);
}
