/* The store: F2 (history kept and used), P13 (what all paths did is kept), F9, F11, F16 (decisions logged).
 */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "fault_vfs.h"
#include "store/block.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define T0 (INT64_C(1700000000) * DOG_S)

static char folder[300];
static char path[320];

/* ---- a folder per test, and small helpers ---- */

static void folder_empty(const char *name)
{
        DIR *d = opendir(name);
        for (struct dirent *f; d && (f = readdir(d));)
                if (f->d_name[0] != '.')
                        unlinkat(dirfd(d), f->d_name, 0);
        if (d)
                closedir(d);
}

static void folder_make(void)
{
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof(folder), "%s/sundog-store-XXXXXX", base ? base : "/tmp");
        NEED(mkdtemp(folder), "no temporary folder: %s", strerror(errno));
        snprintf(path, sizeof(path), "%s/store.db", folder);
        fault_vfs = (struct fault_vfs){0};
}

static void folder_remove(void)
{
        fault_vfs = (struct fault_vfs){0};
        folder_empty(folder);
        rmdir(folder);
}

static unsigned files_called(const char *part)
{
        unsigned n = 0;
        DIR *d = opendir(folder);
        for (struct dirent *f; d && (f = readdir(d));)
                n += strstr(f->d_name, part) != NULL && strstr(f->d_name, "-wal") == NULL;
        if (d)
                closedir(d);
        return n;
}

static struct dog_store *store_at(const char *file)
{
        struct dog_store *s = NULL;
        struct dog_err e = {0};
        int rc = dog_store_open(&(struct dog_store_options){.path = file}, &s, &e);
        NEED(rc == 0 && s, "open: %s", e.text);
        return s;
}

static struct dog_store_status status_of(struct dog_store *s)
{
        struct dog_store_status status;
        dog_store_status(s, &status);
        return status;
}

static int decide(struct dog_store *s, uint64_t id, const char *plan)
{
        return dog_store_decision_add(s, &(struct dog_store_decision){.id = id,
                                                                      .at_ns = T0 + (int64_t)id,
                                                                      .group = id % 2 ? "voice" : "bulk",
                                                                      .reason = "breach-forecast",
                                                                      .plan = plan,
                                                                      .plan_size = strlen(plan)});
}

/* The virtual clock of the steps. */
static int64_t now_ns;

static int step(struct dog_store *s)
{
        now_ns += DOG_S;
        return dog_store_step(s, now_ns);
}

struct seen {
        struct dog_point point[100000];
        size_t n;
        uint64_t last_id;
        size_t rows, graded, wrong;
        bool id[70000];
        char text[4096];
};
static struct seen seen;

static int see_point(void *context, int64_t t_ns, double value)
{
        struct seen *to = context;
        if (to->n < ARRAY_SIZE(to->point))
                to->point[to->n++] = (struct dog_point){.t_ns = t_ns, .value = value};
        return 0;
}

static int see_decision(void *context, const struct dog_store_decision *d)
{
        struct seen *to = context;
        char want[64];
        snprintf(want, sizeof(want), "plan %llu", (unsigned long long)d->id);
        to->rows++;
        to->graded += d->grade[0] != 0;
        if (d->id < ARRAY_SIZE(to->id))
                to->id[d->id] = true;
        if (d->plan_size != strlen(want) || memcmp(d->plan, want, d->plan_size) != 0 ||
            d->at_ns != T0 + (int64_t)d->id || strcmp(d->group, d->id % 2 ? "voice" : "bulk") != 0 ||
            (d->grade[0] && (strcmp(d->grade, "HELPED") != 0 || d->outcome_size != 2)))
                to->wrong++;
        to->last_id = d->id;
        return 0;
}

static int see_event(void *context, const struct dog_store_event *event)
{
        struct seen *to = context;
        to->rows++;
        if (strcmp(event->kind, "alert") != 0 || strcmp(event->subject, "voice") != 0 ||
            strncmp(event->text, "all paths are bad ", 18) != 0)
                to->wrong++;
        return 0;
}

static int see_config(void *context, const struct dog_store_config *c)
{
        struct seen *to = context;
        if (to->rows++ == 0)
                snprintf(to->text, sizeof(to->text), "%.*s", (int)c->text_size, c->text);
        return 0;
}

static int see_hour(void *context, const struct dog_store_hour *h)
{
        struct seen *to = context;
        to->rows++;
        to->n += h->n;
        snprintf(to->text, sizeof(to->text), "%g %g %g", h->min, h->mean, h->max);
        return 0;
}

static size_t decisions(struct dog_store *s)
{
        memset(&seen, 0, sizeof(seen));
        struct dog_err e = {0};
        int rc = dog_store_decision_each(s, &(struct dog_store_decision_query){0}, see_decision, &seen, &e);
        OK(rc == 0, "reading the ledger: %s", e.text);
        return seen.rows;
}

static size_t points(struct dog_store *s, const char *name)
{
        memset(&seen, 0, sizeof(seen));
        struct dog_err e = {0};
        int rc = dog_store_range(s, name, INT64_MIN, INT64_MAX, see_point, &seen, &e);
        OK(rc == 0, "reading %s: %s", name, e.text);
        return seen.n;
}

static size_t configs(struct dog_store *s)
{
        memset(&seen, 0, sizeof(seen));
        struct dog_err e = {0};
        OK(dog_store_config_each(s, 0, see_config, &seen, &e) == 0, "%s", e.text);
        return seen.rows;
}

/* ---- blocks ---- */

static void block_round_trip(const char *what, const struct dog_point *in, size_t n, size_t at_most)
{
        uint8_t bytes[DOG_BLOCK_SIZE_MAX];
        struct dog_point out[DOG_STORE_BLOCK_POINTS];
        size_t size = dog_block_encode("rtt", in, n, bytes);
        int got = dog_block_decode("rtt", bytes, size, out);
        OK(got == (int)n, "%s: %zu points gave %d", what, n, got);
        for (size_t i = 0; i < n && got == (int)n; i++)
                OK(in[i].t_ns == out[i].t_ns && memcmp(&in[i].value, &out[i].value, 8) == 0, "%s: point %zu",
                   what, i);
        OK(size <= at_most, "%s: %zu points took %zu bytes, at most %zu wanted", what, n, size, at_most);
        OK(dog_block_decode("jitter", bytes, size, out) == -EUCLEAN, "%s: a block belongs to its series",
           what);
        fprintf(stderr, "# %s: %.2f bytes a point\n", what, (double)size / (double)n);
}

static void blocks_come_back_bit_for_bit_nan_included(void)
{
        struct dog_point p[DOG_STORE_BLOCK_POINTS];
        struct dog_rng r;
        dog_rng_init(&r, 7);
        size_t n = ARRAY_SIZE(p);
        for (size_t i = 0; i < n; i++)
                p[i] = (struct dog_point){.t_ns = T0 + (int64_t)i * DOG_S, .value = 0};
        block_round_trip("nothing lost, once a second", p, n, 550);
        for (size_t i = 0; i < n; i++)
                p[i].value = round(2e4 + 1e3 * dog_rng_normal(&r)) / 1000;
        block_round_trip("delays in ms with microseconds", p, n, 1000);
        for (size_t i = 0; i < n; i++)
                p[i] = (struct dog_point){.t_ns = T0 + (int64_t)(dog_rng_unit(&r) * 1e9) + (int64_t)i * DOG_S,
                                          .value = dog_rng_normal(&r)};
        block_round_trip("any numbers at any times", p, n, DOG_BLOCK_SIZE_MAX);
        static const double odd[] = {
                NAN,    -NAN,    INFINITY, -INFINITY, 0.0,  -0.0, 5e-324,  1.7976931348623157e308,
                0x1p53, -0x1p53, 0.1,      1e-9,      1e22, 0.3,  1.0 / 3, 9007199254740993.0};
        for (size_t i = 0; i < n; i++)
                p[i] = (struct dog_point){.t_ns = (int64_t)dog_rng_u64(&r),
                                          .value = odd[i % ARRAY_SIZE(odd)]};
        p[3].t_ns = INT64_MIN;
        p[4].t_ns = INT64_MAX;
        block_round_trip("odd values, wild times", p, n, DOG_BLOCK_SIZE_MAX);
        for (size_t count = 1; count <= n; count++) {
                uint8_t bytes[DOG_BLOCK_SIZE_MAX];
                struct dog_point out[DOG_STORE_BLOCK_POINTS];
                size_t size = dog_block_encode("x", p, count, bytes);
                OK(dog_block_decode("x", bytes, size, out) == (int)count, "%zu points", count);
        }
        /* What is decimal up to a point, and then is not. */
        for (size_t i = 0; i < n; i++)
                p[i].value = i < 200 ? 1e15 + (double)i : 0.001 * (double)i;
        block_round_trip("large integers, then thousandths", p, n, DOG_BLOCK_SIZE_MAX);
}

static void every_flipped_bit_of_a_block_is_noticed(void)
{
        struct dog_point p[50];
        struct dog_point out[DOG_STORE_BLOCK_POINTS];
        for (size_t i = 0; i < ARRAY_SIZE(p); i++)
                p[i] = (struct dog_point){.t_ns = T0 + (int64_t)i * DOG_S, .value = 20 + sin((double)i)};
        uint8_t bytes[DOG_BLOCK_SIZE_MAX];
        size_t size = dog_block_encode("rtt", p, ARRAY_SIZE(p), bytes);
        size_t missed = 0;
        for (size_t bit = 0; bit < size * 8; bit++) {
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                missed += dog_block_decode("rtt", bytes, size, out) != -EUCLEAN;
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        OK(missed == 0, "%zu of %zu flipped bits went unnoticed", missed, size * 8);
        for (size_t cut = 0; cut < size; cut++)
                OK(dog_block_decode("rtt", bytes, cut, out) == -EUCLEAN, "cut to %zu bytes", cut);
}

static uint32_t crc_of(const char *name, const uint8_t *from, size_t size)
{
        uint32_t crc = 0xffffffffU;
        for (size_t i = 0; i < strlen(name) + 1 + size; i++) {
                crc ^= i <= strlen(name) ? (uint8_t)name[i] : from[i - strlen(name) - 1];
                for (int k = 0; k < 8; k++)
                        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
        }
        return ~crc;
}

static void a_block_with_a_right_checksum_and_wrong_contents_is_refused_or_sane(void)
{
        struct dog_rng r;
        dog_rng_init(&r, 11);
        size_t accepted = 0;
        for (int round = 0; round < 20000; round++) {
                uint8_t bytes[256];
                size_t size = 17 + dog_rng_below(&r, 200);
                for (size_t i = 0; i < size; i++)
                        bytes[i] = (uint8_t)dog_rng_below(&r, round % 2 ? 256 : 12);
                bytes[0] = 1;
                if (round % 3 == 0)
                        bytes[2] = 255;
                bytes[3] = 0;
                uint32_t crc = crc_of("x", bytes, size - 4);
                for (size_t i = 0; i < 4; i++)
                        bytes[size - 4 + i] = (uint8_t)(crc >> (8 * (3 - i)));
                struct dog_point out[DOG_STORE_BLOCK_POINTS];
                int n = dog_block_decode("x", bytes, size, out);
                OK(n == -EUCLEAN || (n > 0 && n <= DOG_STORE_BLOCK_POINTS), "%d", n);
                accepted += n > 0;
        }
        OK(accepted > 0, "some random blocks are valid ones, else the checksum of this test is wrong");
}

/* ---- keeping ---- */

static void what_is_added_is_read_back_after_a_restart(void) /* F2, P13, F11, F16 */
{
        folder_make();
        struct dog_store *s = store_at(path);
        OK(dog_store_decision_last(s) == 0, "an empty ledger has no last number");
        for (uint64_t id = 1; id <= 100; id++) {
                char plan[32];
                snprintf(plan, sizeof(plan), "plan %llu", (unsigned long long)id);
                OK(decide(s, id, plan) == 0, "row %llu", (unsigned long long)id);
                if (id % 2)
                        OK(dog_store_decision_grade(s, id, T0 + 5, "HELPED", "{}", 2) == 0, "grade");
        }
        OK(dog_store_decision_last(s) == 100, "numbers go on before anything is written");
        for (int i = 0; i < 10; i++) {
                char text[64];
                snprintf(text, sizeof(text), "all paths are bad %d", i);
                OK(dog_store_event_add(s, &(struct dog_store_event){T0 + i, "alert", "voice", text}) == 0,
                   "event");
        }
        static const char *const texts[] = {"site: a\n", "site: b\n", ""};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                OK(dog_store_config_add(s, &(struct dog_store_config){.at_ns = T0,
                                                                      .who = "file",
                                                                      .text = texts[i],
                                                                      .text_size = strlen(texts[i])}) == 0,
                   "configuration");
        int rtt = dog_store_series(s, "path/fiber/rtt_ms");
        int loss = dog_store_series(s, "path/fiber/loss_ratio");
        OK(rtt >= 0 && loss >= 0 && rtt != loss, "two series");
        OK(dog_store_series(s, "path/fiber/rtt_ms") == rtt, "one name, one handle");
        for (int i = 0; i < 1000; i++) {
                dog_store_sample(s, rtt, T0 + i * DOG_S, i == 500 ? (double)NAN : 20 + i % 7);
                dog_store_sample(s, loss, T0 + i * DOG_S, 0);
        }
        OK(points(s, "path/fiber/rtt_ms") == 1000, "points can be read before they are written: %zu", seen.n);
        OK(step(s) == 0, "a step");
        OK(points(s, "path/fiber/rtt_ms") == 1000, "and while the last block is unfinished: %zu", seen.n);
        OK(status_of(s).rows_written == 100 + 50 + 10 + 3, "%llu rows",
           (unsigned long long)status_of(s).rows_written);
        dog_store_close(s);

        s = store_at(path);
        OK(dog_store_decision_last(s) == 100, "the ledger goes on after 100");
        OK(decisions(s) == 100 && seen.wrong == 0 && seen.graded == 50, "%zu rows, %zu wrong, %zu graded",
           seen.rows, seen.wrong, seen.graded);
        memset(&seen, 0, sizeof(seen));
        struct dog_store_decision_query q = {
                .group = "voice", .newest_first = true, .limit = 5, .last_id = 90};
        OK(dog_store_decision_each(s, &q, see_decision, &seen, NULL) == 0 && seen.rows == 5 &&
                   seen.last_id == 81,
           "the newest five of voice up to 90 end at 81: %zu rows, %llu", seen.rows,
           (unsigned long long)seen.last_id);
        memset(&seen, 0, sizeof(seen));
        OK(dog_store_event_each(s, T0, T0 + 4, 0, see_event, &seen, NULL) == 0 && seen.rows == 5 &&
                   !seen.wrong,
           "%zu events", seen.rows);
        OK(configs(s) == 3 && strcmp(seen.text, "") == 0, "the empty text is the newest of %zu", seen.rows);
        OK(points(s, "path/fiber/rtt_ms") == 1000, "%zu points", seen.n);
        for (int i = 0; i < 1000; i++)
                OK(seen.point[i].t_ns == T0 + i * DOG_S &&
                           (i == 500 ? isnan(seen.point[i].value) != 0
                                     : NEAR(seen.point[i].value, 20 + i % 7, 1e-12)),
                   "point %d", i);
        memset(&seen, 0, sizeof(seen));
        OK(dog_store_range(s, "path/fiber/rtt_ms", T0 + 300 * DOG_S, T0 + 309 * DOG_S, see_point, &seen,
                           NULL) == 0 &&
                   seen.n == 10,
           "a range in the middle of a block has both its ends: %zu", seen.n);
        struct dog_err e = {0};
        OK(dog_store_range(s, "no such", 0, 1, see_point, &seen, &e) == -ENOENT && strstr(e.text, "no such"),
           "%s", e.text);
        memset(&seen, 0, sizeof(seen));
        OK(dog_store_hours(s, "path/fiber/rtt_ms", 0, INT64_MAX, see_hour, &seen, NULL) == 0 && seen.n == 999,
           "the hours hold 999 points, the NaN is not one: %zu", seen.n);
        dog_store_close(s);
        folder_remove();
}

static int count_name(void *context, const char *name)
{
        (void)name;
        ++*(size_t *)context;
        return 0;
}

static void an_unfinished_block_grows_in_place(void)
{
        folder_make();
        struct dog_store *s = NULL;
        now_ns = dog_clock_mono_ns();
        NEED(dog_store_open(&(struct dog_store_options){.path = path, .flush_ns = DOG_S}, &s, NULL) == 0,
             "open");
        int series = dog_store_series(s, "slow");
        /* One point a second and a flush each second: 400 transactions, two rows in the end. */
        for (int i = 0; i < 400; i++) {
                dog_store_sample(s, series, T0 + i * DOG_S, i);
                OK(step(s) == 0, "step %d", i);
                step(s);
        }
        struct dog_store_status status = status_of(s);
        OK(status.points_written == 400 && status.points_lost == 0, "%llu points written",
           (unsigned long long)status.points_written);
        memset(&seen, 0, sizeof(seen));
        OK(dog_store_hours(s, "slow", 0, INT64_MAX, see_hour, &seen, NULL) == 0 && seen.n == 400,
           "no point is in an hour twice: %zu", seen.n);
        OK(points(s, "slow") == 400, "no point is read twice: %zu", seen.n);
        size_t names = 0;
        OK(dog_store_series_each(s, count_name, &names, NULL) == 0 && names == 1,
           "one series, known twice: %zu", names);
        dog_store_close(s);
        sqlite3 *db = NULL;
        sqlite3_stmt *st = NULL;
        NEED(sqlite3_open(path, &db) == SQLITE_OK, "open by hand");
        NEED(sqlite3_prepare_v2(db, "SELECT count(*) FROM block", -1, &st, NULL) == SQLITE_OK, "prepare");
        sqlite3_step(st);
        OK(sqlite3_column_int(st, 0) == 2, "%d rows", sqlite3_column_int(st, 0));
        sqlite3_finalize(st);
        sqlite3_close(db);
        folder_remove();
}

static void a_clock_that_is_set_back_loses_no_point(void)
{
        folder_make();
        struct dog_store *s = store_at(path);
        int series = dog_store_series(s, "x");
        for (int i = 0; i < 100; i++)
                dog_store_sample(s, series, T0 + i * DOG_S, i);
        for (int i = 0; i < 100; i++)
                dog_store_sample(s, series, T0 - 1000 * DOG_S + i * DOG_S, i);
        dog_store_sample(s, series, INT64_MAX, 1);
        dog_store_sample(s, series, INT64_MIN, 2);
        OK(dog_store_sync(s, NULL) == 0, "sync");
        OK(points(s, "x") == 202, "%zu points", seen.n);
        OK(status_of(s).points_written == 202, "written");
        dog_store_close(s);
        folder_remove();
}

static void the_size_limit_deletes_the_oldest_telemetry_and_keeps_its_hours(void) /* W16 */
{
        folder_make();
        struct dog_store *s = NULL;
        NEED(dog_store_open(&(struct dog_store_options){.path = path, .size_max_bytes = 2000000}, &s, NULL) ==
                     0,
             "open");
        decide(s, 1, "plan 1");
        int series = dog_store_series(s, "x");
        struct dog_rng r;
        dog_rng_init(&r, 3);
        uint64_t most = 0;
        int64_t t = T0;
        for (int i = 0; i < 600; i++) {
                for (int k = 0; k < 1000; k++, t += DOG_S)
                        dog_store_sample(s, series, t, dog_rng_normal(&r));
                OK(step(s) == 0, "step");
                if (status_of(s).file_bytes > most)
                        most = status_of(s).file_bytes;
        }
        struct stat st;
        OK(stat(path, &st) == 0 && st.st_size < 2500000, "600,000 points took a file of %lld bytes",
           (long long)st.st_size);
        OK(most <= 2000000, "%llu bytes in use", (unsigned long long)most);
        memset(&seen, 0, sizeof(seen));
        OK(dog_store_range(s, "x", t - 1000 * DOG_S, INT64_MAX, see_point, &seen, NULL) == 0 &&
                   seen.n == 1000,
           "the newest are there: %zu", seen.n);
        memset(&seen, 0, sizeof(seen));
        OK(dog_store_range(s, "x", 0, T0 + 1000 * DOG_S, see_point, &seen, NULL) == 0 && seen.n == 0,
           "the oldest are gone: %zu", seen.n);
        memset(&seen, 0, sizeof(seen));
        OK(dog_store_hours(s, "x", 0, INT64_MAX, see_hour, &seen, NULL) == 0 && seen.n == 600000,
           "the hours know all: %zu", seen.n);
        OK(decisions(s) == 1, "the ledger stays");
        dog_store_close(s);
        folder_remove();
}

static void a_row_that_cannot_be_is_refused_and_counted(void)
{
        folder_make();
        struct dog_store *s = store_at(path);
        OK(decide(s, 0, "plan 0") == -EINVAL, "no number");
        OK(decide(s, UINT64_MAX, "plan") == -EINVAL, "a number that the file cannot hold");
        static char long_name[300];
        memset(long_name, 'x', sizeof(long_name) - 1);
        OK(dog_store_series(s, "") == -EINVAL && dog_store_series(s, long_name) == -EINVAL, "bad names");
        dog_store_sample(s, -EINVAL, T0, 1);
        dog_store_sample(s, 99, T0, 1);
        OK(dog_store_event_add(s, &(struct dog_store_event){T0, "alert", NULL, NULL}) == -EINVAL, "no text");
        /* The number of a decision that is there: the second row is not it, and takes nobody down. */
        OK(decide(s, 7, "plan 7") == 0 && step(s) == 0, "7");
        OK(decide(s, 7, "another") == 0 && decide(s, 8, "plan 8") == 0 && step(s) == 0, "7 again");
        OK(dog_store_decision_grade(s, 12345, T0, "HURT", NULL, 0) == 0 && step(s) == 0,
           "a grade for nothing");
        OK(decisions(s) == 2 && seen.wrong == 0, "%zu rows", seen.rows);
        struct dog_store_status status = status_of(s);
        OK(status.rows_lost == 3 + 2 && status.points_lost == 2, "%llu rows, %llu points lost",
           (unsigned long long)status.rows_lost, (unsigned long long)status.points_lost);
        OK(status.health == DOG_STORE_OK, "a bad row is no trouble with the disk: %s", status.text);
        dog_store_close(s);
        folder_remove();
}

/* ---- trouble with the disk (T12) ---- */

static void trouble_is_told_once_and_ends_by_itself(void) /* T12 */
{
        static const struct {
                const char *what;
                int write_rc, sync_rc, open_rc;
                const char *say;
        } row[] = {
                {"a full disk", SQLITE_FULL, 0, 0, "no space is left"},
                {"failing writes", SQLITE_IOERR_WRITE, 0, 0, "cannot"},
                {"a read-only disk", SQLITE_READONLY, 0, 0, "read-only"},
                {"failing fsyncs", 0, SQLITE_IOERR_FSYNC, 0, "cannot"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                folder_make();
                struct dog_store *s = store_at(path);
                struct dog_store_status status = {0};
                now_ns = dog_clock_mono_ns();
                OK(decide(s, 1, "plan 1") == 0 && step(s) == 0, "a good start");
                OK(!dog_store_news(s, &status), "no news is good news");
                fault_vfs.write_rc = row[i].write_rc;
                fault_vfs.sync_rc = row[i].sync_rc;
                int told = 0;
                int tries = 0;
                for (uint64_t id = 2; id <= 201; id++) {
                        char plan[32];
                        snprintf(plan, sizeof(plan), "plan %llu", (unsigned long long)id);
                        OK(decide(s, id, plan) == 0, "%s: adding never fails for the disk", row[i].what);
                        /* A configuration is fsynced, so that a failing fsync is met. */
                        if (id == 2)
                                dog_store_config_add(s, &(struct dog_store_config){
                                                                .who = "x", .text = "a", .text_size = 1});
                        tries += step(s) != -EAGAIN;
                        if (dog_store_news(s, &status)) {
                                told++;
                                OK(status.health == DOG_STORE_DEGRADED && strstr(status.text, row[i].say),
                                   "%s: \"%s\"", row[i].what, status.text);
                                fprintf(stderr, "# %s: %s\n", row[i].what, status.text);
                        }
                }
                OK(told == 1, "%s was told %d times", row[i].what, told);
                OK(tries >= 6 && tries <= 12, "%s: %d tries in 200 s: 1, 2, 4 ... 60 s apart", row[i].what,
                   tries);
                fault_vfs.write_rc = fault_vfs.sync_rc = 0;
                for (int k = 0; k < 61; k++)
                        step(s);
                OK(dog_store_news(s, &status) && status.health == DOG_STORE_OK,
                   "%s ended, and that was told: %s", row[i].what, status.text);
                OK(decisions(s) == 201 && seen.wrong == 0, "%s: nothing was lost: %zu rows", row[i].what,
                   seen.rows);
                OK(configs(s) >= 1, "the configuration is there");
                OK(status_of(s).files_moved_aside == 0, "the file was good");
                dog_store_close(s);
                folder_remove();
        }
}

static void the_queue_is_bounded_and_what_is_lost_is_counted(void) /* T12 */
{
        folder_make();
        struct dog_store *s = NULL;
        NEED(dog_store_open(
                     &(struct dog_store_options){.path = path, .queue_rows_max = 100, .queue_blocks_max = 10},
                     &s, NULL) == 0,
             "open");
        fault_vfs.write_rc = SQLITE_IOERR_WRITE;
        int refused = 0;
        int series = dog_store_series(s, "x");
        for (uint64_t id = 1; id <= 300; id++) {
                char plan[32];
                snprintf(plan, sizeof(plan), "plan %llu", (unsigned long long)id);
                refused += decide(s, id, plan) == -ENOBUFS;
                step(s);
        }
        for (int i = 0; i < 20 * DOG_STORE_BLOCK_POINTS; i++)
                dog_store_sample(s, series, T0 + i * DOG_S, i);
        struct dog_store_status status = status_of(s);
        OK(refused == 200 && status.rows_lost == 200, "%d refused, %llu lost", refused,
           (unsigned long long)status.rows_lost);
        OK(status.points_lost == 10 * DOG_STORE_BLOCK_POINTS, "%llu points",
           (unsigned long long)status.points_lost);
        fault_vfs.write_rc = 0;
        OK(dog_store_sync(s, NULL) == 0, "it works again");
        OK(decisions(s) == 100 && seen.wrong == 0, "%zu rows", seen.rows);
        OK(points(s, "x") == 10 * DOG_STORE_BLOCK_POINTS && seen.point[0].t_ns == T0 + 2500 * DOG_S,
           "the newest points were kept: %zu", seen.n);
        OK(status_of(s).points_queued == 0, "%llu left", (unsigned long long)status_of(s).points_queued);
        dog_store_close(s);
        folder_remove();
}

static void each_operation_of_the_disk_may_fail_once(void) /* T12 */
{
        static const int codes[] = {SQLITE_IOERR_WRITE, SQLITE_FULL};
        size_t struck = 0;
        for (size_t kind = 0; kind < 4; kind++)
                for (long nth = 0; nth < 60; nth++) {
                        folder_make();
                        fault_vfs.after = nth;
                        fault_vfs.once = true;
                        fault_vfs.write_rc = kind < 2 ? codes[kind] : 0;
                        fault_vfs.sync_rc = kind == 2 ? SQLITE_IOERR_FSYNC : 0;
                        fault_vfs.read_rc = kind == 3 ? SQLITE_IOERR_READ : 0;
                        struct dog_store *s = store_at(path);
                        int series = dog_store_series(s, "x");
                        for (uint64_t id = 1; id <= 5; id++) {
                                char plan[32];
                                snprintf(plan, sizeof(plan), "plan %llu", (unsigned long long)id);
                                decide(s, id, plan);
                                dog_store_sample(s, series, T0 + (int64_t)id, 1);
                                dog_store_config_add(s, &(struct dog_store_config){
                                                                .who = "x", .text = "a", .text_size = 1});
                                dog_store_sync(s, NULL);
                        }
                        struck += !fault_vfs.write_rc && !fault_vfs.sync_rc && !fault_vfs.read_rc;
                        fault_vfs.write_rc = fault_vfs.sync_rc = fault_vfs.read_rc = 0;
                        dog_store_sync(s, NULL);
                        OK(decisions(s) == 5 && seen.wrong == 0, "kind %zu, operation %ld: %zu rows; %s",
                           kind, nth, seen.rows, status_of(s).text);
                        OK(points(s, "x") == 5, "kind %zu, operation %ld: %zu points", kind, nth, seen.n);
                        OK(status_of(s).rows_lost == 0 && status_of(s).points_lost == 0,
                           "nothing is counted as lost");
                        dog_store_close(s);
                        folder_remove();
                }
        OK(struck > 60, "%zu faults were met", struck);
}

static void a_store_that_cannot_be_opened_collects_and_goes_on_later(void) /* T12 */
{
        folder_make();
        fault_vfs.open_rc = SQLITE_CANTOPEN;
        struct dog_store *s = NULL;
        struct dog_err e = {0};
        struct dog_store_status status = {0};
        NEED(dog_store_open(&(struct dog_store_options){.path = path}, &s, &e) == 0, "%s", e.text);
        OK(dog_store_news(s, &status) && status.health == DOG_STORE_DEGRADED, "%s", status.text);
        uint64_t first = dog_store_decision_last(s) + 1;
        OK(first > 1700000000, "numbers that no earlier run has used: %llu", (unsigned long long)first);
        OK(dog_store_decision_each(s, &(struct dog_store_decision_query){0}, see_decision, &seen, &e) ==
                           -EIO &&
                   e.text[0],
           "reading says so: %s", e.text);
        OK(decide(s, first, "x") == 0, "adding works");
        fault_vfs.open_rc = 0;
        OK(dog_store_sync(s, NULL) == 0 && status_of(s).rows_written == 1, "written after all");
        dog_store_close(s);
        folder_remove();
}

static void a_file_that_disappears_is_begun_anew(void)
{
        folder_make();
        struct dog_store *s = store_at(path);
        decide(s, 1, "plan 1");
        step(s);
        folder_empty(folder);
        decide(s, 2, "plan 2");
        OK(step(s) == 0, "a step");
        struct dog_store_status status = {0};
        OK(dog_store_news(s, &status) && strstr(status.text, "deleted or replaced"), "%s", status.text);
        OK(decisions(s) == 1 && seen.last_id == 2, "%zu rows", seen.rows);
        dog_store_close(s);
        folder_remove();
}

static bool stepper_ends;

static void *stepper(void *context)
{
        struct dog_store *s = context;
        while (!__atomic_load_n(&stepper_ends, __ATOMIC_ACQUIRE))
                dog_store_sync(s, NULL);
        return NULL;
}

static void a_slow_disk_does_not_make_anyone_wait(void) /* T12 */
{
        folder_make();
        struct dog_store *s = store_at(path);
        int series = dog_store_series(s, "x");
        dog_store_sample(s, series, T0, 1);
        decide(s, 1, "plan 1");
        dog_store_sync(s, NULL);
        /* Long beside what a busy machine makes a thread wait. */
        fault_vfs.sync_ms = 200;
        stepper_ends = false;
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, stepper, s) == 0, "a thread");
        int64_t worst_add = 0;
        int64_t worst_read = 0;
        int64_t end = dog_clock_mono_ns() + 900 * DOG_MS;
        uint64_t id = 1;
        int64_t t = T0;
        while (dog_clock_mono_ns() < end) {
                char plan[32];
                snprintf(plan, sizeof(plan), "plan %llu", (unsigned long long)++id);
                int64_t wall = dog_clock_mono_ns();
                decide(s, id, plan);
                dog_store_sample(s, series, t += DOG_S, 1);
                int64_t took = dog_clock_mono_ns() - wall;
                worst_add = took > worst_add ? took : worst_add;
                wall = dog_clock_mono_ns();
                memset(&seen.n, 0, sizeof(seen.n));
                dog_store_range(s, "x", t - 100 * DOG_S, t, see_point, &seen, NULL);
                took = dog_clock_mono_ns() - wall;
                worst_read = took > worst_read ? took : worst_read;
                OK(seen.n >= 1, "the newest point is there");
                usleep(1000);
        }
        __atomic_store_n(&stepper_ends, true, __ATOMIC_RELEASE);
        pthread_join(thread, NULL);
        struct dog_store_status status = status_of(s);
        fprintf(stderr, "# fsync of 200 ms: worst step %.1f ms, worst add %.3f ms, worst read %.3f ms\n",
                (double)status.step_worst_ns / 1e6, (double)worst_add / 1e6, (double)worst_read / 1e6);
        OK(status.step_worst_ns >= 200 * DOG_MS, "the disk was slow");
        OK(worst_add < 150 * DOG_MS, "adding did not wait for an fsync: %.1f ms", (double)worst_add / 1e6);
        OK(worst_read < 150 * DOG_MS, "nor did reading: %.1f ms", (double)worst_read / 1e6);
        fault_vfs.sync_ms = 0;
        dog_store_sync(s, NULL);
        OK(decisions(s) == id && seen.wrong == 0, "%zu of %llu rows", seen.rows, (unsigned long long)id);
        OK(points(s, "x") == id, "%zu points", seen.n);
        dog_store_close(s);
        folder_remove();
}

/* ---- kill, power cut, damage (T13, T14) ---- */

static void writer(int to)
{
        struct dog_store *s = NULL;
        if (dog_store_open(&(struct dog_store_options){.path = path}, &s, NULL) < 0)
                _exit(1);
        int series = dog_store_series(s, "x");
        for (uint64_t id = dog_store_decision_last(s) + 1;; id++) {
                char plan[32];
                snprintf(plan, sizeof(plan), "plan %llu", (unsigned long long)id);
                decide(s, id, plan);
                for (int i = 0; i < 100; i++)
                        dog_store_sample(s, series, T0 + (int64_t)(id * 100 + (uint64_t)i) * DOG_MS,
                                         (double)id);
                if (id % 3 == 0 && dog_store_step(s, dog_clock_mono_ns()) == 0 &&
                    write(to, &id, sizeof(id)) < 0)
                        _exit(2);
        }
}

static void no_acknowledged_row_is_lost_to_kill_9(void) /* T13 */
{
        folder_make();
        struct dog_rng r;
        uint64_t seed = (uint64_t)time(NULL);
        dog_rng_init(&r, seed);
        fprintf(stderr, "# seed %llu\n", (unsigned long long)seed);
        uint64_t acked = 0;
        for (int round = 0; round < 20; round++) {
                int fd[2];
                NEED(pipe(fd) == 0, "pipe");
                pid_t child = fork();
                NEED(child >= 0, "fork");
                if (child == 0)
                        writer(fd[1]);
                close(fd[1]);
                usleep((useconds_t)(5000 + dog_rng_below(&r, 60000)));
                kill(child, SIGKILL);
                waitpid(child, NULL, 0);
                uint64_t id = 0;
                while (read(fd[0], &id, sizeof(id)) == sizeof(id))
                        acked = id;
                close(fd[0]);
                struct dog_store *s = store_at(path);
                OK(status_of(s).health == DOG_STORE_OK && status_of(s).files_moved_aside == 0, "round %d: %s",
                   round, status_of(s).text);
                decisions(s);
                size_t missing = 0;
                for (uint64_t i = 1; i <= acked && i < ARRAY_SIZE(seen.id); i++)
                        missing += !seen.id[i];
                OK(missing == 0 && seen.wrong == 0,
                   "round %d: %zu of %llu acknowledged rows missing, %zu wrong", round, missing,
                   (unsigned long long)acked, seen.wrong);
                dog_store_close(s);
        }
        OK(acked > 100, "%llu rows were acknowledged", (unsigned long long)acked);
        fprintf(stderr, "# %llu acknowledged rows over 20 kills\n", (unsigned long long)acked);
        folder_remove();
}

static void the_power_may_fail_after_any_write(void) /* T13 */
{
        folder_make();
        char again[310];
        snprintf(again, sizeof(again), "%s/cut", folder);
        struct {
                size_t changes;
                uint64_t configs;
        } ack[64];
        size_t acks = 0;
        fault_vfs.is_recording = true;
        struct dog_store *s = store_at(path);
        int series = dog_store_series(s, "x");
        for (uint64_t id = 1; id <= 40; id++) {
                char plan[32];
                snprintf(plan, sizeof(plan), "plan %llu", (unsigned long long)id);
                decide(s, id, plan);
                for (int i = 0; i < 400; i++)
                        dog_store_sample(s, series, T0 + (int64_t)(id * 1000 + (uint64_t)i) * DOG_MS, sin(i));
                char text[64];
                snprintf(text, sizeof(text), "site: number%llu\n", (unsigned long long)id);
                if (id % 4 == 0)
                        dog_store_config_add(s, &(struct dog_store_config){
                                                        .who = "x", .text = text, .text_size = strlen(text)});
                OK(step(s) == 0, "step");
                if (id % 4 == 0) {
                        ack[acks].changes = fault_vfs_recorded();
                        ack[acks++].configs = id / 4;
                }
        }
        dog_store_close(s);
        fault_vfs.is_recording = false;
        size_t changes = fault_vfs_recorded();
        size_t opened = 0;
        size_t begun = 0;
        char *kept = strdup(folder);
        for (size_t cut = 0; cut <= changes; cut += cut < 60 ? 1 : 7)
                for (int lost = 0; lost < 2; lost++) {
                        mkdir(again, 0700);
                        NEED(fault_vfs_replay(again, cut, lost) == 0, "replay");
                        snprintf(folder, sizeof(folder), "%.290s", again);
                        char file[400];
                        snprintf(file, sizeof(file), "%s/store.db", again);
                        s = store_at(file);
                        uint64_t want = 0;
                        for (size_t i = 0; i < acks; i++)
                                if (ack[i].changes <= cut)
                                        want = ack[i].configs;
                        size_t have = configs(s);
                        OK(have >= want,
                           "cut after %zu of %zu changes%s: %zu of %llu accepted configurations", cut,
                           changes, lost ? ", nothing unsynced" : "", have, (unsigned long long)want);
                        /* A file cut off while it is first made may look damaged; nothing was in it. */
                        begun += status_of(s).files_moved_aside;
                        OK(status_of(s).files_moved_aside == 0 || want == 0, "cut after %zu: %s", cut,
                           status_of(s).text);
                        OK(status_of(s).health == DOG_STORE_OK, "cut after %zu: %s", cut, status_of(s).text);
                        decisions(s);
                        OK(seen.wrong == 0 && status_of(s).rows_damaged == 0,
                           "cut after %zu: no row is half a row", cut);
                        decide(s, 60000, "plan 60000");
                        OK(dog_store_sync(s, NULL) == 0, "it can be written to");
                        dog_store_close(s);
                        folder_empty(again);
                        rmdir(again);
                        opened++;
                }
        snprintf(folder, sizeof(folder), "%s", kept);
        free(kept);
        fprintf(stderr, "# %zu power cuts over %zu changes; %zu of them while the file was first made\n",
                opened, changes, begun);
        fault_vfs_forget();
        folder_remove();
}

static size_t file_read(const char *from, uint8_t **to)
{
        struct stat st;
        int fd = open(from, O_RDONLY);
        NEED(fd >= 0 && fstat(fd, &st) == 0, "%s", from);
        *to = malloc((size_t)st.st_size);
        NEED(*to && read(fd, *to, (size_t)st.st_size) == st.st_size, "read");
        close(fd);
        return (size_t)st.st_size;
}

static void file_write(const char *to, const uint8_t *from, size_t size)
{
        int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        NEED(fd >= 0 && write(fd, from, size) == (ssize_t)size, "write");
        close(fd);
}

static void a_flipped_bit_is_detected_or_harmless(void) /* T14 */
{
        folder_make();
        struct dog_store *s = store_at(path);
        int series = dog_store_series(s, "x");
        struct dog_rng r;
        dog_rng_init(&r, 5);
        for (uint64_t id = 1; id <= 300; id++) {
                char plan[32];
                char text[64];
                snprintf(plan, sizeof(plan), "plan %llu", (unsigned long long)id);
                snprintf(text, sizeof(text), "all paths are bad %d", (int)id);
                decide(s, id, plan);
                if (id % 2)
                        dog_store_decision_grade(s, id, T0 + 5, "HELPED", "{}", 2);
                dog_store_event_add(s, &(struct dog_store_event){T0 + (int64_t)id, "alert", "voice", text});
                for (int i = 0; i < 100; i++)
                        dog_store_sample(s, series, T0 + (int64_t)(id * 100 + (uint64_t)i) * DOG_S,
                                         dog_rng_normal(&r));
        }
        for (int i = 0; i < 5; i++)
                dog_store_config_add(
                        s, &(struct dog_store_config){.who = "x", .text = "site: a\n", .text_size = 8});
        dog_store_close(s);
        uint8_t *good = NULL;
        size_t size = file_read(path, &good);
        size_t flips = 0;
        size_t aside = 0;
        size_t left_out = 0;
        size_t refused = 0;
        size_t harmless = 0;
        size_t salvaged = 0;
        const char *rounds = getenv("FLIP_ROUNDS");
        for (int round = 0; round < (rounds ? atoi(rounds) : 2); round++)
                for (size_t page = 0; page < size / 4096; page++) {
                        /* Once anywhere in the page, once in its header, where most can go wrong. */
                        size_t bit = page * 32768 + dog_rng_below(&r, round % 2 ? 32 * 8 : 32768);
                        folder_empty(folder);
                        good[bit / 8] ^= (uint8_t)(1 << bit % 8);
                        file_write(path, good, size);
                        good[bit / 8] ^= (uint8_t)(1 << bit % 8);
                        flips++;
                        struct dog_err e = {0};
                        int rc = dog_store_open(&(struct dog_store_options){.path = path}, &s, &e);
                        if (rc < 0) {
                                OK(rc == -EPROTONOSUPPORT && e.text[0], "bit %zu: %d %s", bit, rc, e.text);
                                refused++;
                                continue;
                        }
                        size_t d = decisions(s);
                        size_t graded = seen.graded;
                        size_t wrong = seen.wrong;
                        memset(&seen, 0, sizeof(seen));
                        dog_store_event_each(s, 0, INT64_MAX, 0, see_event, &seen, NULL);
                        size_t events = seen.rows;
                        wrong += seen.wrong;
                        size_t c = configs(s);
                        memset(&seen, 0, sizeof(seen));
                        int got = dog_store_range(s, "x", INT64_MIN, INT64_MAX, see_point, &seen, NULL);
                        size_t p = seen.n;
                        bool is_whole = d == 300 && graded == 150 && events == 300 && c == 5 && p == 30000 &&
                                        got == 0;
                        struct dog_store_status status = status_of(s);
                        bool is_known = status.files_moved_aside || status.rows_damaged ||
                                        status.health != DOG_STORE_OK;
                        OK(wrong == 0, "bit %zu of page %zu gave %zu wrong rows", bit % 32768, page, wrong);
                        OK(is_whole || is_known,
                           "bit %zu of page %zu: %zu decisions, %zu grades, %zu events, %zu points, %zu "
                           "configurations, and nobody noticed",
                           bit % 32768, page, d, graded, events, p, c);
                        aside += status.files_moved_aside;
                        left_out += status.rows_damaged > 0;
                        harmless += is_whole && !is_known;
                        decide(s, 60000, "plan 60000");
                        OK(dog_store_sync(s, &e) == 0 || status_of(s).health == DOG_STORE_DEGRADED, "%s",
                           e.text);
                        salvaged += status.files_moved_aside && configs(s) == 5;
                        dog_store_close(s);
                }
        fprintf(stderr,
                "# %zu flips over %zu pages: %zu files moved aside (%zu with all configurations saved), %zu "
                "with rows left "
                "out, %zu refused, %zu harmless\n",
                flips, size / 4096, aside, salvaged, left_out, refused, harmless);
        OK(aside > 0 && left_out > 0, "both kinds of damage were met");
        free(good);
        folder_remove();
}

static void a_file_of_rubbish_is_moved_aside_and_three_are_kept(void) /* T14 */
{
        folder_make();
        uint8_t rubbish[8192];
        for (size_t i = 0; i < sizeof(rubbish); i++)
                rubbish[i] = (uint8_t)(i * 37);
        for (int i = 0; i < 5; i++) {
                file_write(path, rubbish, sizeof(rubbish));
                struct dog_store *s = store_at(path);
                struct dog_store_status status = {0};
                OK(dog_store_news(s, &status) && status.health == DOG_STORE_OK &&
                           strstr(status.text, "moved aside"),
                   "%s", status.text);
                if (i == 0)
                        fprintf(stderr, "# %s\n", status.text);
                decide(s, 1, "plan 1");
                OK(dog_store_sync(s, NULL) == 0 && decisions(s) == 1, "a new one works");
                dog_store_close(s);
        }
        OK(files_called(".corrupt-") == 3, "%u kept", files_called(".corrupt-"));
        folder_remove();
}

static void a_newer_schema_is_refused_and_left_alone(void)
{
        folder_make();
        dog_store_close(store_at(path));
        sqlite3 *db = NULL;
        NEED(sqlite3_open(path, &db) == SQLITE_OK, "open by hand");
        NEED(sqlite3_exec(db, "PRAGMA user_version=2; UPDATE meta SET value=2", NULL, NULL, NULL) ==
                     SQLITE_OK,
             "make it newer");
        sqlite3_close(db);
        uint8_t *before = NULL;
        uint8_t *after = NULL;
        size_t size = file_read(path, &before);
        struct dog_store *s = NULL;
        struct dog_err e = {0};
        OK(dog_store_open(&(struct dog_store_options){.path = path}, &s, &e) == -EPROTONOSUPPORT && !s,
           "refused");
        OK(strstr(e.text, "newer") && strstr(e.text, path), "%s", e.text);
        OK(file_read(path, &after) == size && memcmp(before, after, size) == 0, "left as it was");
        free(before);
        free(after);
        NEED(unlink(path) == 0 && sqlite3_open(path, &db) == SQLITE_OK, "another program's database");
        sqlite3_exec(db, "CREATE TABLE mine(a)", NULL, NULL, NULL);
        sqlite3_close(db);
        OK(dog_store_open(&(struct dog_store_options){.path = path}, &s, &e) == -EPROTONOSUPPORT &&
                   strstr(e.text, "another program"),
           "%s", e.text);
        folder_remove();
}

static void a_tool_may_read_beside_the_daemon_and_changes_nothing(void)
{
        folder_make();
        struct dog_store *tool = NULL;
        struct dog_err e = {0};
        const struct dog_store_options reading = {.path = path, .read_only = true};
        OK(dog_store_open(&reading, &tool, &e) == -ENOENT && !tool && e.text[0], "nothing there: %s", e.text);
        OK(files_called("store") == 0, "and nothing was made");
        struct dog_store *s = store_at(path);
        decide(s, 1, "plan 1");
        dog_store_sample(s, dog_store_series(s, "x"), T0, 1);
        OK(dog_store_sync(s, NULL) == 0, "the daemon writes");
        NEED(dog_store_open(&reading, &tool, &e) == 0, "%s", e.text);
        OK(dog_store_decision_last(tool) == 1 && decisions(tool) == 1 && seen.wrong == 0, "the ledger");
        OK(points(tool, "x") == 1, "and the points");
        OK(decide(tool, 2, "plan 2") == -EROFS && dog_store_sync(tool, NULL) == 0, "it cannot add");
        decide(s, 2, "plan 2");
        OK(dog_store_sync(s, NULL) == 0 && decisions(tool) == 2, "it sees what the daemon writes later");
        dog_store_close(tool);
        OK(decide(s, 3, "plan 3") == 0 && dog_store_sync(s, NULL) == 0 && decisions(s) == 3,
           "the daemon goes on");
        dog_store_close(s);
        file_write(
                path,
                (const uint8_t
                         *)"this is no database, and long enough to be looked at as one. ...................",
                80);
        OK(dog_store_open(&reading, &tool, &e) == -EUCLEAN && files_called("corrupt") == 0,
           "damage is left alone: %s", e.text);
        folder_remove();
}

static void options_that_make_no_sense_get_a_sentence(void)
{
        struct dog_store *s = NULL;
        struct dog_err e = {0};
        OK(dog_store_open(&(struct dog_store_options){0}, &s, &e) == -EINVAL && e.text[0], "%s", e.text);
        OK(dog_store_open(&(struct dog_store_options){.path = "/tmp/x", .size_max_bytes = 1000}, &s, &e) ==
                           -EINVAL &&
                   strstr(e.text, "1MB"),
           "%s", e.text);
        dog_store_close(NULL);
}

static int no_memory(int rc, struct dog_err *e)
{
        return rc == -ENOMEM && !e->text[0] ? dog_err_set(e, rc, "a row was refused") : rc;
}

static int use_all(void *user, struct dog_err *e)
{
        (void)user;
        struct dog_store *s = NULL;
        folder_empty(folder);
        int rc = dog_store_open(&(struct dog_store_options){.path = path}, &s, e);
        if (rc < 0)
                return rc;
        int series = dog_store_series(s, "x");
        for (int i = 0; i < 300; i++)
                dog_store_sample(s, series, T0 + i, i);
        rc = no_memory(decide(s, 1, "plan 1"), e);
        if (rc == 0)
                rc = no_memory(
                        dog_store_config_add(
                                s, &(struct dog_store_config){.who = "x", .text = "a", .text_size = 1}),
                        e);
        if (rc == 0)
                rc = dog_store_sync(s, e);
        struct dog_store_status status = status_of(s);
        /* Whatever memory was refused: every point and row is somewhere, or counted as lost. */
        OK(status.points_written + status.points_queued + status.points_lost == 300,
           "%llu written, %llu queued, %llu lost", (unsigned long long)status.points_written,
           (unsigned long long)status.points_queued, (unsigned long long)status.points_lost);
        seen.n = 0;
        if (rc == 0 && series >= 0)
                rc = dog_store_range(s, "x", 0, INT64_MAX, see_point, &seen, e);
        size_t names = 0;
        if (rc == 0)
                rc = dog_store_series_each(s, count_name, &names, e);
        dog_store_close(s);
        return rc;
}

static void every_allocation_may_fail(void)
{
        folder_make();
        size_t n = alloc_fail_tolerated(use_all, NULL);
        OK(n > 15, "%zu allocations, each survived", n);
        folder_remove();
}

static void throughput_is_printed(void)
{
        folder_make();
        struct dog_store *s = store_at(path);
        int series[16];
        for (int i = 0; i < 16; i++) {
                char name[32];
                snprintf(name, sizeof(name), "path/%d/rtt_ms", i);
                series[i] = dog_store_series(s, name);
        }
        struct dog_rng r;
        dog_rng_init(&r, 1);
        double value[1024];
        for (size_t i = 0; i < ARRAY_SIZE(value); i++)
                value[i] = round((20 + dog_rng_normal(&r)) * 1e3) / 1e3;
        const int n = 2000000;
        int64_t began = dog_clock_mono_ns();
        int64_t cpu = dog_clock_cpu_ns();
        int64_t adding = 0;
        for (int i = 0; i < n;) {
                int64_t a = dog_clock_mono_ns();
                for (int k = 0; k < 200000; k++, i++)
                        dog_store_sample(s, series[i % 16], T0 + i / 16 * 100 * DOG_MS,
                                         value[(size_t)i % ARRAY_SIZE(value)]);
                adding += dog_clock_mono_ns() - a;
                OK(dog_store_sync(s, NULL) == 0, "sync");
        }
        double took = (double)(dog_clock_mono_ns() - began) / 1e9;
        double used = (double)(dog_clock_cpu_ns() - cpu) / 1e9;
        struct dog_store_status status = status_of(s);
        OK(status.points_written == (uint64_t)n && status.points_lost == 0, "all are written");
        began = dog_clock_mono_ns();
        seen.n = 0;
        dog_store_range(s, "path/3/rtt_ms", T0 + 1000 * DOG_S, T0 + 1250 * DOG_S - 1, see_point, &seen, NULL);
        double range = (double)(dog_clock_mono_ns() - began) / 1e6;
        fprintf(stderr,
                "# %d points: %.2f million/s of wall clock, %.2f of CPU; adding alone %.0f ns a point; %.2f "
                "bytes a point; "
                "worst step %.1f ms; a range of %zu points in %.2f ms\n",
                n, n / took / 1e6, n / used / 1e6, (double)adding / n, (double)status.file_bytes / n,
                (double)status.step_worst_ns / 1e6, seen.n, range);
        OK(seen.n == 2500, "%zu", seen.n);
        began = dog_clock_mono_ns();
        dog_store_close(s);
        s = store_at(path);
        fprintf(stderr, "# closing and opening %.1f MB with its check: %.0f ms\n",
                (double)status.file_bytes / 1e6, (double)(dog_clock_mono_ns() - began) / 1e6);
        dog_store_close(s);
        folder_remove();
}

int main(void)
{
        fault_vfs_install();
        now_ns = dog_clock_mono_ns();
        return CHECK_RUN(
                TEST(blocks_come_back_bit_for_bit_nan_included),
                TEST(every_flipped_bit_of_a_block_is_noticed),
                TEST(a_block_with_a_right_checksum_and_wrong_contents_is_refused_or_sane),
                TEST(what_is_added_is_read_back_after_a_restart), TEST(an_unfinished_block_grows_in_place),
                TEST(a_clock_that_is_set_back_loses_no_point),
                TEST(the_size_limit_deletes_the_oldest_telemetry_and_keeps_its_hours),
                TEST(a_row_that_cannot_be_is_refused_and_counted),
                TEST(trouble_is_told_once_and_ends_by_itself),
                TEST(the_queue_is_bounded_and_what_is_lost_is_counted),
                TEST(each_operation_of_the_disk_may_fail_once),
                TEST(a_store_that_cannot_be_opened_collects_and_goes_on_later),
                TEST(a_file_that_disappears_is_begun_anew), TEST(a_slow_disk_does_not_make_anyone_wait),
                TEST(no_acknowledged_row_is_lost_to_kill_9), TEST(the_power_may_fail_after_any_write),
                TEST(a_flipped_bit_is_detected_or_harmless),
                TEST(a_file_of_rubbish_is_moved_aside_and_three_are_kept),
                TEST(a_newer_schema_is_refused_and_left_alone),
                TEST(a_tool_may_read_beside_the_daemon_and_changes_nothing),
                TEST(options_that_make_no_sense_get_a_sentence), TEST(every_allocation_may_fail),
                TEST(throughput_is_printed));
}
