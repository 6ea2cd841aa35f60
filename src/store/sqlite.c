/*
 * The embedded backend: one SQLite file in WAL mode.
 *
 * Two connections: the writer, used by the front's step, and a read-only one, so that a reader
 * never waits for a transaction. Checkpoints are made here and not inside a COMMIT: their
 * failure must not be mistaken for the failure of a transaction that is in the log already.
 */
#include "store/backend.h"

#include "base/array.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define SCHEMA_VERSION 1
#define APPLICATION_ID 0x53444f47 /* "SDOG", for file(1) */
#define HOUR_NS        (INT64_C(3600) * DOG_S)
#define CORRUPT_KEPT   3
#define WAL_FRAMES_MAX 1000 /* 4 MB: checkpoint when the log is longer */
#define DELETE_ROWS    256
#define DELETE_ROUNDS  64 /* per step: 16,384 rows, some 30 MB */
#define CONFIGS_KEPT   10 /* however small the size limit is */

static const char schema_sql[] =
        "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE series(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
        "CREATE TABLE block(id INTEGER PRIMARY KEY, series INTEGER NOT NULL, start_ns INTEGER NOT NULL,"
        "  points INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE(series, start_ns));"
        "CREATE TABLE hour(series INTEGER NOT NULL, start_ns INTEGER NOT NULL, n INTEGER NOT NULL,"
        "  sum REAL NOT NULL, min REAL NOT NULL, max REAL NOT NULL, crc INTEGER NOT NULL,"
        "  PRIMARY KEY(series, start_ns)) WITHOUT ROWID;"
        "CREATE TABLE decision(id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, grp TEXT NOT NULL,"
        "  reason TEXT NOT NULL, plan BLOB NOT NULL, crc INTEGER NOT NULL,"
        "  graded_at_ns INTEGER, grade TEXT, outcome BLOB, grade_crc INTEGER);"
        "CREATE TABLE event(id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, kind TEXT NOT NULL,"
        "  subject TEXT NOT NULL, text TEXT NOT NULL, crc INTEGER NOT NULL);"
        "CREATE INDEX event_at ON event(at_ns);"
        "CREATE TABLE config(id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, who TEXT NOT NULL,"
        "  text BLOB NOT NULL, hash BLOB NOT NULL, crc INTEGER NOT NULL);";

/* Every statement, by the name it is used with. R: prepared on the reading connection. */
#define STATEMENTS(X)                                                                                        \
        X(SERIES_FIND, "SELECT id FROM series WHERE name = ?")                                               \
        X(SERIES_ADD, "INSERT INTO series(name) VALUES (?)")                                                 \
        X(BLOCK_FIND, "SELECT id, points FROM block WHERE series = ? AND start_ns = ?")                      \
        X(BLOCK_ADD, "INSERT INTO block(series, start_ns, points, data) VALUES (?, ?, ?, ?)")                \
        X(BLOCK_GROW, "UPDATE block SET points = ?, data = ? WHERE id = ?")                                  \
        X(HOUR_FIND, "SELECT n, sum, min, max, crc FROM hour WHERE series = ? AND start_ns = ?")             \
        X(HOUR_PUT, "INSERT OR REPLACE INTO hour(series, start_ns, n, sum, min, max, crc)"                   \
                    " VALUES (?, ?, ?, ?, ?, ?, ?)")                                                         \
        X(DECISION_ADD, "INSERT OR IGNORE INTO decision(id, at_ns, grp, reason, plan, crc)"                  \
                        " VALUES (?, ?, ?, ?, ?, ?)")                                                        \
        X(DECISION_CRC, "SELECT crc FROM decision WHERE id = ?")                                             \
        X(DECISION_GRADE, "UPDATE decision SET graded_at_ns = ?2, grade = ?3, outcome = ?4, grade_crc = ?5"  \
                          " WHERE id = ?1")                                                                  \
        X(DECISION_LAST, "SELECT max(id) FROM decision")                                                     \
        X(EVENT_ADD, "INSERT INTO event(at_ns, kind, subject, text, crc) VALUES (?, ?, ?, ?, ?)")            \
        X(CONFIG_ADD, "INSERT INTO config(at_ns, who, text, hash, crc) VALUES (?, ?, ?, ?, ?)")              \
        X(BLOCKS_OLDEST, "SELECT sum(points) FROM (SELECT points FROM block ORDER BY id LIMIT ?)")           \
        X(DELETE_BLOCKS, "DELETE FROM block WHERE id IN (SELECT id FROM block ORDER BY id LIMIT ?)")         \
        X(DELETE_EVENTS, "DELETE FROM event WHERE id IN (SELECT id FROM event ORDER BY id LIMIT ?)")         \
        X(DELETE_CONFIGS, "DELETE FROM config WHERE id IN (SELECT id FROM config WHERE id <="                \
                          " (SELECT max(id) FROM config) - 10 ORDER BY id LIMIT ?)")                         \
        X(DELETE_DECISIONS,                                                                                  \
          "DELETE FROM decision WHERE id IN (SELECT id FROM decision ORDER BY id LIMIT ?)")                  \
        X(DELETE_HOURS, "DELETE FROM hour WHERE (series, start_ns) IN"                                       \
                        " (SELECT series, start_ns FROM hour ORDER BY start_ns LIMIT ?)")

enum {
#define X(id, sql) SQL_##id,
        STATEMENTS(X)
#undef X
                SQL_COUNT
};

static const char *const statement_sql[] = {
#define X(id, sql) sql,
        STATEMENTS(X)
#undef X
};

struct store_backend {
        char *path;
        sqlite3 *db;
        sqlite3 *reader;
        sqlite3_stmt *statement[SQL_COUNT];
        sqlite3_int64 *series; /**< by the front's handle: the row in table series; 0 unknown */
        size_t series_size;
        uint64_t decision_last;
        int wal_frames;
        dev_t device;
        ino_t inode;
};

/* ---- errors ---- */

/*
 * What a result of SQLite means for the front. SQLITE_ERROR in a prepared statement of ours means a
 * missing table or column, and constraint failures mean rows that cannot be: damage, both.
 */
static int sqlite_errno(sqlite3 *db, int rc)
{
        switch (rc & 0xff) {
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_ERROR:
        case SQLITE_CONSTRAINT:
        case SQLITE_MISMATCH:
        case SQLITE_FORMAT:
                return -EUCLEAN;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_READONLY:
                return -EROFS;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL:
                return -EBUSY;
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return -EACCES;
        case SQLITE_TOOBIG:
                return -E2BIG;
        default:
                break;
        }
        int system = db ? sqlite3_system_errno(db) : 0;
        return system > 0 ? -system : -EIO;
}

static const char *sqlite_why(int rc)
{
        switch (-rc) {
        case EUCLEAN:
                return "the file is damaged";
        case ENOSPC:
                return "no space is left on the file system";
        case EROFS:
                return "the file or its folder is read-only";
        case EBUSY:
                return "another process is writing to it";
        default:
                return strerror(-rc);
        }
}

static int sqlite_fail(const struct store_backend *b, sqlite3 *db, int sqlite_rc, const char *what,
                       struct dog_err *e)
{
        int rc = sqlite_errno(db, sqlite_rc);
        if (rc == 0)
                rc = -EIO;
        /* SQLite's own words add something only when they are not the general ones. */
        return dog_err_set(e, rc, "store %s: cannot %s: %s (SQLite: %s)", b->path, what, sqlite_why(rc),
                           db ? sqlite3_errmsg(db) : sqlite3_errstr(sqlite_rc));
}

/* ---- small helpers over statements ---- */

static int sqlite_exec(sqlite3 *db, const char *sql)
{
        return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int sqlite_text_is(sqlite3 *db, const char *sql, const char *want, bool *is)
{
        sqlite3_stmt *s = NULL;
        *is = false;
        int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
        if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
                const unsigned char *text = sqlite3_column_text(s, 0);
                *is = text && strcmp((const char *)text, want) == 0;
                rc = text ? SQLITE_OK : SQLITE_NOMEM;
        }
        sqlite3_finalize(s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* One number; 0 when there is no row or it is NULL. */
static int sqlite_number(sqlite3 *db, const char *sql, int64_t *value)
{
        sqlite3_stmt *s = NULL;
        *value = 0;
        int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
        if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
                *value = sqlite3_column_int64(s, 0);
                rc = SQLITE_OK;
        }
        sqlite3_finalize(s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A statement of the list, prepared on first use; NULL and *rc set when that fails. */
static sqlite3_stmt *sqlite_ready(struct store_backend *b, int which, int *rc)
{
        *rc = SQLITE_OK;
        if (!b->statement[which])
                *rc = sqlite3_prepare_v3(b->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                                         &b->statement[which], NULL);
        return *rc == SQLITE_OK ? b->statement[which] : NULL;
}

/* Run a statement that gives no rows, and make it ready for the next use. */
static int sqlite_run(sqlite3_stmt *s)
{
        int rc = sqlite3_step(s);
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static void sqlite_bind_text(sqlite3_stmt *s, int at, const char *text)
{
        sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

static void sqlite_bind_bytes(sqlite3_stmt *s, int at, const void *data, size_t size)
{
        /* A NULL pointer would bind NULL, which is not an empty blob. */
        sqlite3_bind_blob64(s, at, size ? data : "", size, SQLITE_STATIC);
}

static const char *sqlite_column(sqlite3_stmt *s, int at)
{
        const unsigned char *text = sqlite3_column_text(s, at);
        return text ? (const char *)text : "";
}

/* ---- checksums ---- */

struct row_crc {
        uLong crc;
};

static struct row_crc crc_start(uint64_t a, int64_t b)
{
        uint8_t bytes[16];
        struct dog_bytes to = dog_bytes_of(bytes, sizeof(bytes));
        dog_write_u64(&to, a);
        dog_write_u64(&to, (uint64_t)b);
        return (struct row_crc){.crc = crc32(crc32(0, NULL, 0), bytes, sizeof(bytes))};
}

/* The length goes in too: "ab","c" is not "a","bc". */
static void crc_bytes(struct row_crc *c, const void *data, size_t size)
{
        uint8_t length[8];
        struct dog_bytes to = dog_bytes_of(length, sizeof(length));
        dog_write_u64(&to, size);
        c->crc = crc32(c->crc, length, sizeof(length));
        if (size)
                c->crc = crc32(c->crc, data, (uInt)size);
}

static void crc_text(struct row_crc *c, const char *text)
{
        crc_bytes(c, text, strlen(text));
}

static void crc_double(struct row_crc *c, double v)
{
        crc_bytes(c, &v, sizeof(v));
}

static sqlite3_int64 decision_crc(uint64_t id, int64_t at_ns, const char *group, const char *reason,
                                  const void *plan, size_t size)
{
        struct row_crc c = crc_start(id, at_ns);
        crc_text(&c, group);
        crc_text(&c, reason);
        crc_bytes(&c, plan, size);
        return (sqlite3_int64)c.crc;
}

static sqlite3_int64 grade_crc(uint64_t id, int64_t at_ns, const char *grade, const void *outcome,
                               size_t size)
{
        struct row_crc c = crc_start(id, at_ns);
        crc_text(&c, grade);
        crc_bytes(&c, outcome, size);
        return (sqlite3_int64)c.crc;
}

static sqlite3_int64 event_crc(int64_t at_ns, const char *kind, const char *subject, const char *text)
{
        struct row_crc c = crc_start(0, at_ns);
        crc_text(&c, kind);
        crc_text(&c, subject);
        crc_text(&c, text);
        return (sqlite3_int64)c.crc;
}

static sqlite3_int64 config_crc(int64_t at_ns, const char *who, const void *text, size_t size,
                                const void *hash)
{
        struct row_crc c = crc_start(0, at_ns);
        crc_text(&c, who);
        crc_bytes(&c, text, size);
        crc_bytes(&c, hash, DOG_STORE_HASH_SIZE);
        return (sqlite3_int64)c.crc;
}

struct hour_row {
        int64_t start_ns, n;
        double sum, min, max;
};

static sqlite3_int64 hour_crc(const char *name, const struct hour_row *h)
{
        struct row_crc c = crc_start((uint64_t)h->n, h->start_ns);
        crc_text(&c, name);
        crc_double(&c, h->sum);
        crc_double(&c, h->min);
        crc_double(&c, h->max);
        return (sqlite3_int64)c.crc;
}

/* ---- opening ---- */

static int sqlite_folder_make(const char *path, struct dog_err *e)
{
        const char *slash = strrchr(path, '/');
        if (!slash || slash == path)
                return 0;
        char *folder = strndup(path, (size_t)(slash - path));
        if (!folder)
                return dog_err_set(e, -ENOMEM, "store %s: out of memory", path);
        int rc = 0;
        if (mkdir(folder, 0750) < 0 && errno != EEXIST)
                rc = dog_err_set(e, -errno, "store %s: cannot make the folder %s: %s", path, folder,
                                 strerror(errno));
        free(folder);
        return rc;
}

/* SQLite would make the file readable by everyone. */
static int sqlite_file_make(struct store_backend *b, struct dog_err *e)
{
        int fd = open(b->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
        int error = fd < 0 ? errno : 0;
        struct stat st = {0};
        if (fd >= 0 && fstat(fd, &st) < 0)
                error = errno;
        if (fd >= 0)
                close(fd);
        if (error == 0 && !S_ISREG(st.st_mode))
                return dog_err_set(e, -EISDIR, "store %s: this is not a file", b->path);
        if (error)
                return dog_err_set(e, -error, "store %s: cannot open: %s", b->path, strerror(error));
        b->device = st.st_dev;
        b->inode = st.st_ino;
        return 0;
}

static int sqlite_connect(const struct store_backend *b, int flags, sqlite3 **db, struct dog_err *e)
{
        int rc = sqlite3_open_v2(b->path, db, flags | SQLITE_OPEN_NOMUTEX, NULL);
        if (rc == SQLITE_OK) {
                sqlite3_extended_result_codes(*db, 1);
                /* The file is data, not a program: nothing in its schema may call or write more than we ask.
                 */
                sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
                sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
                sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
                sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
                sqlite3_limit(*db, SQLITE_LIMIT_LENGTH, 16 << 20);
                rc = sqlite_exec(*db,
                                 "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;"
                                 "PRAGMA cache_size=-2000;");
        }
        if (rc == SQLITE_OK)
                return 0;
        int failed = sqlite_fail(b, *db, rc, "open", e);
        sqlite3_close(*db);
        *db = NULL;
        return failed;
}

/* The version stands twice, in the header and in a row, so that a flipped bit is not taken for a newer one.
 */
static int sqlite_schema_check(const struct store_backend *b, sqlite3 *db, bool *is_empty, struct dog_err *e)
{
        int64_t tables = 0;
        int64_t version = 0;
        int64_t version_row = 0;
        int64_t application = 0;
        *is_empty = false;
        int rc = sqlite_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
        if (rc == SQLITE_OK)
                rc = sqlite_number(db, "PRAGMA user_version", &version);
        if (rc == SQLITE_OK)
                rc = sqlite_number(db, "PRAGMA application_id", &application);
        if (rc != SQLITE_OK)
                return sqlite_fail(b, db, rc, "read", e);
        if (tables == 0 && version == 0) {
                *is_empty = true;
                return 0;
        }
        if (application == 0 && version == 0)
                return dog_err_set(e, -EPROTONOSUPPORT,
                                   "store %s: this is a database of another program; name another file",
                                   b->path);
        rc = sqlite_number(db, "SELECT value FROM meta WHERE key = 'schema'", &version_row);
        if (rc != SQLITE_OK)
                return sqlite_fail(b, db, rc, "read", e);
        if (version != version_row || application != APPLICATION_ID || version < 1)
                return dog_err_set(
                        e, -EUCLEAN,
                        "store %s: the file is damaged: its header says schema %lld, its table %lld", b->path,
                        (long long)version, (long long)version_row);
        if (version > SCHEMA_VERSION)
                return dog_err_set(e, -EPROTONOSUPPORT,
                                   "store %s: written by a newer sundog (schema %lld, this one knows %d); "
                                   "install that version again or name another file",
                                   b->path, (long long)version, SCHEMA_VERSION);
        return 0;
}

static int sqlite_schema_make(struct store_backend *b, struct dog_err *e)
{
        char more[200];
        snprintf(more, sizeof(more),
                 "INSERT INTO meta VALUES ('schema', %d); PRAGMA application_id=%d; PRAGMA user_version=%d; "
                 "COMMIT",
                 SCHEMA_VERSION, APPLICATION_ID, SCHEMA_VERSION);
        int rc = sqlite_exec(b->db, "BEGIN IMMEDIATE");
        if (rc == SQLITE_OK)
                rc = sqlite_exec(b->db, schema_sql);
        if (rc == SQLITE_OK)
                rc = sqlite_exec(b->db, more);
        if (rc == SQLITE_OK)
                return 0;
        int failed = sqlite_fail(b, b->db, rc, "create the tables", e);
        sqlite_exec(b->db, "ROLLBACK");
        return failed;
}

static int sqlite_check(struct store_backend *b, struct dog_err *e)
{
        bool is_well = false;
        int rc = sqlite_text_is(b->db, "PRAGMA integrity_check(1)", "ok", &is_well);
        if (rc != SQLITE_OK)
                return sqlite_fail(b, b->db, rc, "check", e);
        if (!is_well)
                return dog_err_set(e, -EUCLEAN, "store %s: the file is damaged: its integrity check failed",
                                   b->path);
        return 0;
}

static int sqlite_wal_hook(void *context, sqlite3 *db, const char *name, int frames)
{
        (void)db;
        (void)name;
        ((struct store_backend *)context)->wal_frames = frames;
        return SQLITE_OK;
}

static void store_sqlite_close(struct store_backend *b)
{
        if (!b)
                return;
        for (size_t i = 0; i < SQL_COUNT; i++)
                sqlite3_finalize(b->statement[i]);
        sqlite3_close(b->reader);
        sqlite3_close(b->db);
        free(b->series);
        free(b->path);
        free(b);
}

static int sqlite_begin(struct store_backend *b, bool check, struct dog_err *e)
{
        bool is_empty = false;
        bool is_wal = false;
        int rc = sqlite_connect(b, SQLITE_OPEN_READWRITE, &b->db, e);
        if (rc == 0)
                rc = sqlite_schema_check(b, b->db, &is_empty, e);
        if (rc == 0 && check && !is_empty)
                rc = sqlite_check(b, e);
        if (rc < 0)
                return rc;
        int answer = sqlite_text_is(b->db, "PRAGMA journal_mode=WAL", "wal", &is_wal);
        if (answer != SQLITE_OK || !is_wal)
                return sqlite_fail(b, b->db, answer == SQLITE_OK ? SQLITE_READONLY : answer,
                                   "begin a write-ahead log", e);
        answer = sqlite_exec(b->db, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;"
                                    "PRAGMA journal_size_limit=8388608;");
        if (answer != SQLITE_OK)
                return sqlite_fail(b, b->db, answer, "set up", e);
        sqlite3_wal_hook(b->db, sqlite_wal_hook, b);
        if (is_empty && (rc = sqlite_schema_make(b, e)) < 0)
                return rc;
        int64_t last = 0;
        answer = sqlite_number(b->db, statement_sql[SQL_DECISION_LAST], &last);
        if (answer != SQLITE_OK)
                return sqlite_fail(b, b->db, answer, "read the ledger", e);
        b->decision_last = last > 0 ? (uint64_t)last : 0;
        return sqlite_connect(b, SQLITE_OPEN_READONLY, &b->reader, e);
}

static int store_sqlite_open(const char *path, bool check, struct store_backend **out, struct dog_err *e)
{
        *out = NULL;
        int rc = sqlite_folder_make(path, e);
        if (rc < 0)
                return rc;
        struct store_backend *b = calloc(1, sizeof(*b));
        if (!b || !(b->path = strdup(path))) {
                store_sqlite_close(b);
                return dog_err_set(e, -ENOMEM, "store %s: out of memory", path);
        }
        rc = sqlite_file_make(b, e);
        if (rc == 0)
                rc = sqlite_begin(b, check, e);
        if (rc < 0) {
                store_sqlite_close(b);
                return rc;
        }
        *out = b;
        return 0;
}

static int store_sqlite_open_read(const char *path, struct store_backend **out, struct dog_err *e)
{
        bool is_empty = false;
        *out = NULL;
        if (access(path, R_OK) < 0)
                return dog_err_set(e, -errno, "store %s: cannot open: %s", path, strerror(errno));
        struct store_backend *b = calloc(1, sizeof(*b));
        if (!b || !(b->path = strdup(path))) {
                store_sqlite_close(b);
                return dog_err_set(e, -ENOMEM, "store %s: out of memory", path);
        }
        int rc = sqlite_connect(b, SQLITE_OPEN_READONLY, &b->reader, e);
        if (rc == 0)
                rc = sqlite_schema_check(b, b->reader, &is_empty, e);
        if (rc == 0 && is_empty)
                rc = dog_err_set(e, -ENODATA, "store %s: there is nothing in it yet", path);
        int64_t last = 0;
        int answer = rc == 0 ? sqlite_number(b->reader, statement_sql[SQL_DECISION_LAST], &last) : SQLITE_OK;
        if (answer != SQLITE_OK)
                rc = sqlite_fail(b, b->reader, answer, "read the ledger", e);
        b->decision_last = last > 0 ? (uint64_t)last : 0;
        if (rc < 0)
                store_sqlite_close(b);
        else
                *out = b;
        return rc;
}

static bool store_sqlite_is_gone(const struct store_backend *b)
{
        struct stat st;
        /* Only a plain "not there" counts: a failing stat on a sick disk is no reason to begin anew. */
        if (stat(b->path, &st) < 0)
                return errno == ENOENT;
        return st.st_dev != b->device || st.st_ino != b->inode;
}

static uint64_t store_sqlite_decision_last(const struct store_backend *b)
{
        return b->decision_last;
}

/* ---- writing ---- */

/* The row of a series in the file, made when missing. 0 and *rc set on failure. */
static sqlite3_int64 sqlite_series(struct store_backend *b, const struct store_item *item, int *rc)
{
        size_t at = (size_t)item->series;
        *rc = SQLITE_OK;
        if (at >= b->series_size) {
                size_t size = at < 32 ? 64 : at * 2;
                sqlite3_int64 *more = realloc(b->series, size * sizeof(*more));
                if (!more) {
                        *rc = SQLITE_NOMEM;
                        return 0;
                }
                memset(more + b->series_size, 0, (size - b->series_size) * sizeof(*more));
                b->series = more;
                b->series_size = size;
        }
        if (b->series[at])
                return b->series[at];
        sqlite3_stmt *find = sqlite_ready(b, SQL_SERIES_FIND, rc);
        if (!find)
                return 0;
        sqlite_bind_text(find, 1, item->word[0]);
        sqlite3_int64 id = 0;
        *rc = sqlite3_step(find);
        if (*rc == SQLITE_ROW)
                id = sqlite3_column_int64(find, 0);
        bool is_missing = *rc == SQLITE_DONE;
        *rc = *rc == SQLITE_ROW || is_missing ? SQLITE_OK : *rc;
        sqlite3_reset(find);
        sqlite3_clear_bindings(find);
        if (is_missing) {
                sqlite3_stmt *add = sqlite_ready(b, SQL_SERIES_ADD, rc);
                if (!add)
                        return 0;
                sqlite_bind_text(add, 1, item->word[0]);
                *rc = sqlite_run(add);
                id = *rc == SQLITE_OK ? sqlite3_last_insert_rowid(b->db) : 0;
        }
        /* Remembered only once the transaction is in: a rollback takes a new row away again. */
        if (!is_missing)
                b->series[at] = id;
        return id;
}

static int sqlite_hour_add(struct store_backend *b, sqlite3_int64 series, const char *name,
                           const struct hour_row *more)
{
        int rc = 0;
        struct hour_row h = *more;
        sqlite3_stmt *find = sqlite_ready(b, SQL_HOUR_FIND, &rc);
        if (!find)
                return rc;
        sqlite3_bind_int64(find, 1, series);
        sqlite3_bind_int64(find, 2, h.start_ns);
        rc = sqlite3_step(find);
        if (rc == SQLITE_ROW) {
                struct hour_row old = {.start_ns = h.start_ns,
                                       .n = sqlite3_column_int64(find, 0),
                                       .sum = sqlite3_column_double(find, 1),
                                       .min = sqlite3_column_double(find, 2),
                                       .max = sqlite3_column_double(find, 3)};
                /* An hour that was damaged starts again with what is known to be right. */
                if (hour_crc(name, &old) == sqlite3_column_int64(find, 4)) {
                        h.n += old.n;
                        h.sum += old.sum;
                        h.min = fmin(h.min, old.min);
                        h.max = fmax(h.max, old.max);
                }
        }
        sqlite3_reset(find);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                return rc;
        sqlite3_stmt *put = sqlite_ready(b, SQL_HOUR_PUT, &rc);
        if (!put)
                return rc;
        sqlite3_bind_int64(put, 1, series);
        sqlite3_bind_int64(put, 2, h.start_ns);
        sqlite3_bind_int64(put, 3, h.n);
        sqlite3_bind_double(put, 4, h.sum);
        sqlite3_bind_double(put, 5, h.min);
        sqlite3_bind_double(put, 6, h.max);
        sqlite3_bind_int64(put, 7, hour_crc(name, &h));
        return sqlite_run(put);
}

static int64_t hour_of(int64_t t_ns)
{
        int64_t into = t_ns % HOUR_NS;
        if (into < 0)
                into += HOUR_NS;
        return t_ns < INT64_MIN + into ? INT64_MIN : t_ns - into;
}

/* Add points first..n of a block to the hours they fall into. */
static int sqlite_hours_add(struct store_backend *b, sqlite3_int64 series, const struct store_item *item,
                            unsigned first)
{
        struct dog_point point[DOG_STORE_BLOCK_POINTS];
        int n = dog_block_decode(item->word[0], item->data, item->size, point);
        struct hour_row h = {0};
        for (int i = (int)first; i < n; i++) {
                double v = point[i].value;
                /* SQLite stores no NaN, and one infinite point would make the mean of an hour useless. */
                if (!isfinite(v))
                        continue;
                int64_t start = hour_of(point[i].t_ns);
                if (h.n && start != h.start_ns) {
                        int rc = sqlite_hour_add(b, series, item->word[0], &h);
                        if (rc != SQLITE_OK)
                                return rc;
                        h.n = 0;
                }
                if (h.n == 0)
                        h = (struct hour_row){.start_ns = start, .min = v, .max = v};
                h.n++;
                h.sum += v;
                h.min = fmin(h.min, v);
                h.max = fmax(h.max, v);
        }
        /* A sum of finite values can still overflow; such an hour is not kept. */
        return h.n && isfinite(h.sum) ? sqlite_hour_add(b, series, item->word[0], &h) : SQLITE_OK;
}

static int sqlite_write_block(struct store_backend *b, struct store_item *item)
{
        int rc = SQLITE_OK;
        sqlite3_int64 series = sqlite_series(b, item, &rc);
        sqlite3_stmt *find = rc == SQLITE_OK ? sqlite_ready(b, SQL_BLOCK_FIND, &rc) : NULL;
        if (!find)
                return rc;
        sqlite3_bind_int64(find, 1, series);
        sqlite3_bind_int64(find, 2, item->at_ns);
        sqlite3_int64 id = 0;
        int64_t before = 0;
        rc = sqlite3_step(find);
        if (rc == SQLITE_ROW) {
                id = sqlite3_column_int64(find, 0);
                before = sqlite3_column_int64(find, 1);
        }
        sqlite3_reset(find);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                return rc;
        item->was_written = true;
        item->points_new = 0;
        /* Written already, by a transaction of which we only heard that it failed. */
        if (before >= (int64_t)item->points)
                return SQLITE_OK;
        sqlite3_stmt *put = sqlite_ready(b, id ? SQL_BLOCK_GROW : SQL_BLOCK_ADD, &rc);
        if (!put)
                return rc;
        int at = 1;
        if (!id) {
                sqlite3_bind_int64(put, at++, series);
                sqlite3_bind_int64(put, at++, item->at_ns);
        }
        sqlite3_bind_int64(put, at++, item->points);
        sqlite_bind_bytes(put, at++, item->data, item->size);
        if (id)
                sqlite3_bind_int64(put, at, id);
        rc = sqlite_run(put);
        if (rc != SQLITE_OK)
                return rc;
        /* A block that the size limit deleted while it grew must not enter its hours twice. */
        unsigned first = before > (int64_t)item->points_saved ? (unsigned)before : item->points_saved;
        item->points_new = item->points - first;
        return sqlite_hours_add(b, series, item, first);
}

static int sqlite_write_decision(struct store_backend *b, struct store_item *item)
{
        int rc = 0;
        sqlite3_stmt *s = sqlite_ready(b, SQL_DECISION_ADD, &rc);
        if (!s)
                return rc;
        sqlite3_int64 crc =
                decision_crc(item->id, item->at_ns, item->word[0], item->word[1], item->data, item->size);
        sqlite3_bind_int64(s, 1, (sqlite3_int64)item->id);
        sqlite3_bind_int64(s, 2, item->at_ns);
        sqlite_bind_text(s, 3, item->word[0]);
        sqlite_bind_text(s, 4, item->word[1]);
        sqlite_bind_bytes(s, 5, item->data, item->size);
        sqlite3_bind_int64(s, 6, crc);
        rc = sqlite_run(s);
        item->was_written = sqlite3_changes(b->db) > 0;
        if (rc != SQLITE_OK || item->was_written)
                return rc;
        /* The number is taken: by this very row (a commit we were told had failed), or by another one. */
        if (!(s = sqlite_ready(b, SQL_DECISION_CRC, &rc)))
                return rc;
        sqlite3_bind_int64(s, 1, (sqlite3_int64)item->id);
        rc = sqlite3_step(s);
        item->was_written = rc == SQLITE_ROW && sqlite3_column_int64(s, 0) == crc;
        sqlite3_reset(s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int sqlite_write_grade(struct store_backend *b, struct store_item *item)
{
        int rc = 0;
        sqlite3_stmt *s = sqlite_ready(b, SQL_DECISION_GRADE, &rc);
        if (!s)
                return rc;
        sqlite3_bind_int64(s, 1, (sqlite3_int64)item->id);
        sqlite3_bind_int64(s, 2, item->at_ns);
        sqlite_bind_text(s, 3, item->word[0]);
        sqlite_bind_bytes(s, 4, item->data, item->size);
        sqlite3_bind_int64(s, 5, grade_crc(item->id, item->at_ns, item->word[0], item->data, item->size));
        rc = sqlite_run(s);
        item->was_written = sqlite3_changes(b->db) > 0;
        return rc;
}

static int sqlite_write_event(struct store_backend *b, struct store_item *item)
{
        int rc = 0;
        sqlite3_stmt *s = sqlite_ready(b, SQL_EVENT_ADD, &rc);
        if (!s)
                return rc;
        sqlite3_bind_int64(s, 1, item->at_ns);
        for (int i = 0; i < 3; i++)
                sqlite_bind_text(s, 2 + i, item->word[i]);
        sqlite3_bind_int64(s, 5, event_crc(item->at_ns, item->word[0], item->word[1], item->word[2]));
        item->was_written = true;
        return sqlite_run(s);
}

static int sqlite_write_config(struct store_backend *b, struct store_item *item)
{
        int rc = 0;
        sqlite3_stmt *s = sqlite_ready(b, SQL_CONFIG_ADD, &rc);
        if (!s)
                return rc;
        sqlite3_bind_int64(s, 1, item->at_ns);
        sqlite_bind_text(s, 2, item->word[0]);
        sqlite_bind_bytes(s, 3, item->data, item->size);
        sqlite_bind_bytes(s, 4, item->hash, sizeof(item->hash));
        sqlite3_bind_int64(s, 5, config_crc(item->at_ns, item->word[0], item->data, item->size, item->hash));
        item->was_written = true;
        return sqlite_run(s);
}

static int sqlite_write_item(struct store_backend *b, struct store_item *item)
{
        switch (item->kind) {
        case STORE_DECISION:
                return sqlite_write_decision(b, item);
        case STORE_GRADE:
                return sqlite_write_grade(b, item);
        case STORE_EVENT:
                return sqlite_write_event(b, item);
        case STORE_CONFIG:
                return sqlite_write_config(b, item);
        case STORE_BLOCK:
                return sqlite_write_block(b, item);
        }
        return SQLITE_MISUSE;
}

static int store_sqlite_write(struct store_backend *b, struct store_item *first, bool durable,
                              struct dog_err *e)
{
        int rc = sqlite_exec(b->db, durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
        if (rc == SQLITE_OK)
                rc = sqlite_exec(b->db, "BEGIN IMMEDIATE");
        uint64_t last = b->decision_last;
        for (struct store_item *i = first; i && rc == SQLITE_OK; i = i->next) {
                rc = sqlite_write_item(b, i);
                if (i->kind == STORE_DECISION && i->id > last)
                        last = i->id;
        }
        if (rc == SQLITE_OK)
                rc = sqlite_exec(b->db, "COMMIT");
        if (rc == SQLITE_OK) {
                b->decision_last = last;
                return 0;
        }
        int failed = sqlite_fail(b, b->db, rc, "write", e);
        /* SQLite may have rolled back by itself, on a full disk for example. */
        if (!sqlite3_get_autocommit(b->db))
                sqlite_exec(b->db, "ROLLBACK");
        return failed;
}

/* ---- upkeep ---- */

static int sqlite_used(struct store_backend *b, uint64_t *used)
{
        int64_t pages = 0;
        int64_t unused = 0;
        int64_t size = 0;
        int rc = sqlite_number(b->db, "PRAGMA page_count", &pages);
        if (rc == SQLITE_OK)
                rc = sqlite_number(b->db, "PRAGMA freelist_count", &unused);
        if (rc == SQLITE_OK)
                rc = sqlite_number(b->db, "PRAGMA page_size", &size);
        *used = pages > unused ? (uint64_t)((pages - unused) * size) : 0;
        return rc;
}

/* Delete up to DELETE_ROWS of the least valuable rows there are; *any tells whether there were any. */
static int sqlite_delete_oldest(struct store_backend *b, uint64_t *points_dropped, bool *any)
{
        static const int order[] = {SQL_DELETE_BLOCKS, SQL_DELETE_EVENTS, SQL_DELETE_CONFIGS,
                                    SQL_DELETE_DECISIONS, SQL_DELETE_HOURS};
        int rc = SQLITE_OK;
        sqlite3_stmt *count = sqlite_ready(b, SQL_BLOCKS_OLDEST, &rc);
        if (!count)
                return rc;
        sqlite3_bind_int(count, 1, DELETE_ROWS);
        rc = sqlite3_step(count);
        int64_t points = rc == SQLITE_ROW ? sqlite3_column_int64(count, 0) : 0;
        sqlite3_reset(count);
        *any = false;
        rc = SQLITE_OK;
        for (size_t i = 0; i < ARRAY_SIZE(order) && rc == SQLITE_OK && !*any; i++) {
                sqlite3_stmt *s = sqlite_ready(b, order[i], &rc);
                if (!s)
                        return rc;
                sqlite3_bind_int(s, 1, DELETE_ROWS);
                rc = sqlite_run(s);
                *any = rc == SQLITE_OK && sqlite3_changes(b->db) > 0;
                if (*any && order[i] == SQL_DELETE_BLOCKS)
                        *points_dropped += points > 0 ? (uint64_t)points : 0;
        }
        return rc;
}

static int store_sqlite_upkeep(struct store_backend *b, uint64_t size_max, uint64_t *used,
                               uint64_t *points_dropped, struct dog_err *e)
{
        int rc = sqlite_used(b, used);
        if (rc == SQLITE_OK && *used > size_max) {
                /* Some room at once, so that it is not again as far in the next second. */
                uint64_t goal = size_max - size_max / 32;
                bool any = true;
                rc = sqlite_exec(b->db, "PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE");
                for (int i = 0; i < DELETE_ROUNDS && any && *used > goal && rc == SQLITE_OK; i++) {
                        rc = sqlite_delete_oldest(b, points_dropped, &any);
                        if (rc == SQLITE_OK)
                                rc = sqlite_used(b, used);
                }
                if (rc == SQLITE_OK)
                        rc = sqlite_exec(b->db, "COMMIT");
                if (rc != SQLITE_OK) {
                        int failed = sqlite_fail(b, b->db, rc, "delete the oldest telemetry", e);
                        if (!sqlite3_get_autocommit(b->db))
                                sqlite_exec(b->db, "ROLLBACK");
                        return failed;
                }
        }
        if (rc == SQLITE_OK && b->wal_frames >= WAL_FRAMES_MAX) {
                rc = sqlite3_wal_checkpoint_v2(b->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
                /* A reader in the middle of a long read: next time. */
                if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
                        rc = SQLITE_OK;
                if (rc == SQLITE_OK)
                        b->wal_frames = 0;
        }
        return rc == SQLITE_OK ? 0 : sqlite_fail(b, b->db, rc, "tidy up", e);
}

/* ---- reading ---- */

/* A SELECT on the reading connection. */
static sqlite3_stmt *sqlite_select(struct store_backend *b, const char *sql, int *failed, struct dog_err *e)
{
        sqlite3_stmt *s = NULL;
        int rc = sqlite3_prepare_v2(b->reader, sql, -1, &s, NULL);
        *failed = rc == SQLITE_OK ? 0 : sqlite_fail(b, b->reader, rc, "read", e);
        return s;
}

/* The end of a loop over rows: `stopped` is what a callback returned, `rc` what SQLite did. */
static int sqlite_selected(struct store_backend *b, sqlite3_stmt *s, int rc, int stopped, struct dog_err *e)
{
        int failed = 0;
        if (!stopped && rc != SQLITE_DONE)
                failed = sqlite_fail(b, b->reader, rc, "read", e);
        sqlite3_finalize(s);
        return stopped ? stopped : failed;
}

static int store_sqlite_blocks(struct store_backend *b, const char *name, int64_t from_ns, int64_t to_ns,
                               int (*each)(void *, const struct dog_point *, size_t), void *context,
                               uint64_t *damaged, struct dog_err *e)
{
        int failed = 0;
        sqlite3_stmt *s = sqlite_select(b,
                                        "SELECT start_ns, points, data FROM block"
                                        " WHERE series = (SELECT id FROM series WHERE name = ?)"
                                        " AND start_ns BETWEEN ? AND ? ORDER BY start_ns",
                                        &failed, e);
        if (!s)
                return failed;
        int64_t first = from_ns < INT64_MIN + STORE_BLOCK_SPAN_NS ? INT64_MIN : from_ns - STORE_BLOCK_SPAN_NS;
        sqlite_bind_text(s, 1, name);
        sqlite3_bind_int64(s, 2, first);
        sqlite3_bind_int64(s, 3, to_ns);
        int stopped = 0;
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW && !stopped) {
                struct dog_point point[DOG_STORE_BLOCK_POINTS];
                const void *data = sqlite3_column_blob(s, 2);
                int n = data ? dog_block_decode(name, data, (size_t)sqlite3_column_bytes(s, 2), point)
                             : -EUCLEAN;
                if (n < 0 || n != sqlite3_column_int(s, 1) || point[0].t_ns != sqlite3_column_int64(s, 0))
                        ++*damaged;
                else
                        stopped = each(context, point, (size_t)n);
        }
        return sqlite_selected(b, s, rc, stopped, e);
}

static int store_sqlite_hours(struct store_backend *b, const char *name, int64_t from_ns, int64_t to_ns,
                              dog_store_hour_fn *each, void *context, uint64_t *damaged, struct dog_err *e)
{
        int failed = 0;
        sqlite3_stmt *s = sqlite_select(b,
                                        "SELECT start_ns, n, sum, min, max, crc FROM hour"
                                        " WHERE series = (SELECT id FROM series WHERE name = ?)"
                                        " AND start_ns BETWEEN ? AND ? ORDER BY start_ns",
                                        &failed, e);
        if (!s)
                return failed;
        sqlite_bind_text(s, 1, name);
        sqlite3_bind_int64(s, 2, from_ns);
        sqlite3_bind_int64(s, 3, to_ns);
        int stopped = 0;
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW && !stopped) {
                struct hour_row h = {.start_ns = sqlite3_column_int64(s, 0),
                                     .n = sqlite3_column_int64(s, 1),
                                     .sum = sqlite3_column_double(s, 2),
                                     .min = sqlite3_column_double(s, 3),
                                     .max = sqlite3_column_double(s, 4)};
                if (h.n <= 0 || hour_crc(name, &h) != sqlite3_column_int64(s, 5)) {
                        ++*damaged;
                        continue;
                }
                struct dog_store_hour hour = {.start_ns = h.start_ns,
                                              .n = (uint64_t)h.n,
                                              .min = h.min,
                                              .mean = h.sum / (double)h.n,
                                              .max = h.max};
                stopped = each(context, &hour);
        }
        return sqlite_selected(b, s, rc, stopped, e);
}

static int store_sqlite_names(struct store_backend *b, dog_store_name_fn *each, void *context,
                              struct dog_err *e)
{
        int failed = 0;
        sqlite3_stmt *s = sqlite_select(b, "SELECT name FROM series ORDER BY name", &failed, e);
        if (!s)
                return failed;
        int stopped = 0;
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW && !stopped)
                stopped = each(context, sqlite_column(s, 0));
        return sqlite_selected(b, s, rc, stopped, e);
}

/* Columns id, at_ns, grp, reason, plan, crc, graded_at_ns, grade, outcome, grade_crc. */
static bool sqlite_decision(sqlite3_stmt *s, struct dog_store_decision *d, uint64_t *damaged)
{
        *d = (struct dog_store_decision){.id = (uint64_t)sqlite3_column_int64(s, 0),
                                         .at_ns = sqlite3_column_int64(s, 1),
                                         .group = sqlite_column(s, 2),
                                         .reason = sqlite_column(s, 3),
                                         .plan = sqlite3_column_blob(s, 4),
                                         .grade = "",
                                         .outcome = ""};
        d->plan_size = (size_t)sqlite3_column_bytes(s, 4);
        if (decision_crc(d->id, d->at_ns, d->group, d->reason, d->plan, d->plan_size) !=
            sqlite3_column_int64(s, 5)) {
                ++*damaged;
                return false;
        }
        bool is_graded = false;
        for (int i = 6; i < 10; i++)
                is_graded = is_graded || sqlite3_column_type(s, i) != SQLITE_NULL;
        if (!is_graded)
                return true;
        const char *grade = sqlite_column(s, 7);
        const void *outcome = sqlite3_column_blob(s, 8);
        size_t size = (size_t)sqlite3_column_bytes(s, 8);
        int64_t at_ns = sqlite3_column_int64(s, 6);
        /* The decision stands when only its grade is damaged. */
        if (grade_crc(d->id, at_ns, grade, outcome, size) != sqlite3_column_int64(s, 9)) {
                ++*damaged;
                return true;
        }
        d->grade = grade;
        d->outcome = outcome ? outcome : "";
        d->outcome_size = size;
        d->graded_at_ns = at_ns;
        return true;
}

static int store_sqlite_decisions(struct store_backend *b, const struct dog_store_decision_query *query,
                                  dog_store_decision_fn *each, void *context, uint64_t *damaged,
                                  struct dog_err *e)
{
#define DECISIONS                                                                                            \
        "SELECT id, at_ns, grp, reason, plan, crc, graded_at_ns, grade, outcome, grade_crc FROM decision"    \
        " WHERE id BETWEEN ?1 AND ?2 AND (?3 IS NULL OR grp = ?3) ORDER BY id "
        int failed = 0;
        sqlite3_stmt *s = sqlite_select(
                b, query->newest_first ? DECISIONS "DESC LIMIT ?4" : DECISIONS "LIMIT ?4", &failed, e);
#undef DECISIONS
        if (!s)
                return failed;
        sqlite3_int64 last =
                query->last_id && query->last_id < INT64_MAX ? (sqlite3_int64)query->last_id : INT64_MAX;
        sqlite3_int64 first = query->first_id < INT64_MAX ? (sqlite3_int64)query->first_id : INT64_MAX;
        sqlite3_bind_int64(s, 1, first);
        sqlite3_bind_int64(s, 2, last);
        if (query->group)
                sqlite_bind_text(s, 3, query->group);
        sqlite3_bind_int64(s, 4, query->limit && query->limit < INT64_MAX ? (sqlite3_int64)query->limit : -1);
        int stopped = 0;
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW && !stopped) {
                struct dog_store_decision d;
                if (sqlite_decision(s, &d, damaged))
                        stopped = each(context, &d);
        }
        return sqlite_selected(b, s, rc, stopped, e);
}

static int store_sqlite_events(struct store_backend *b, int64_t from_ns, int64_t to_ns, uint64_t limit,
                               dog_store_event_fn *each, void *context, uint64_t *damaged, struct dog_err *e)
{
        int failed = 0;
        sqlite3_stmt *s = sqlite_select(b,
                                        "SELECT at_ns, kind, subject, text, crc FROM event"
                                        " WHERE at_ns BETWEEN ? AND ? ORDER BY at_ns DESC, id DESC LIMIT ?",
                                        &failed, e);
        if (!s)
                return failed;
        sqlite3_bind_int64(s, 1, from_ns);
        sqlite3_bind_int64(s, 2, to_ns);
        sqlite3_bind_int64(s, 3, limit && limit < INT64_MAX ? (sqlite3_int64)limit : -1);
        int stopped = 0;
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW && !stopped) {
                struct dog_store_event event = {.at_ns = sqlite3_column_int64(s, 0),
                                                .kind = sqlite_column(s, 1),
                                                .subject = sqlite_column(s, 2),
                                                .text = sqlite_column(s, 3)};
                if (event_crc(event.at_ns, event.kind, event.subject, event.text) !=
                    sqlite3_column_int64(s, 4))
                        ++*damaged;
                else
                        stopped = each(context, &event);
        }
        return sqlite_selected(b, s, rc, stopped, e);
}

static int store_sqlite_configs(struct store_backend *b, uint64_t limit, dog_store_config_fn *each,
                                void *context, uint64_t *damaged, struct dog_err *e)
{
        int failed = 0;
        sqlite3_stmt *s = sqlite_select(b, "SELECT at_ns, who, text, hash, crc FROM config ORDER BY id DESC",
                                        &failed, e);
        if (!s)
                return failed;
        int stopped = 0;
        int rc;
        uint64_t given = 0;
        while ((!limit || given < limit) && (rc = sqlite3_step(s)) == SQLITE_ROW && !stopped) {
                struct dog_store_config c = {.at_ns = sqlite3_column_int64(s, 0), .who = sqlite_column(s, 1)};
                const void *text = sqlite3_column_blob(s, 2);
                c.text_size = (size_t)sqlite3_column_bytes(s, 2);
                c.text = text ? text : "";
                const void *hash = sqlite3_column_blob(s, 3);
                if (hash && sqlite3_column_bytes(s, 3) == DOG_STORE_HASH_SIZE)
                        memcpy(c.hash, hash, sizeof(c.hash));
                uint8_t again[DOG_STORE_HASH_SIZE];
                crypto_generichash(again, sizeof(again), (const uint8_t *)c.text, c.text_size, NULL, 0);
                if (memcmp(again, c.hash, sizeof(again)) != 0 ||
                    config_crc(c.at_ns, c.who, c.text, c.text_size, c.hash) != sqlite3_column_int64(s, 4)) {
                        ++*damaged;
                        continue;
                }
                given++;
                stopped = each(context, &c);
        }
        if (limit && given >= limit && !stopped)
                rc = SQLITE_DONE;
        return sqlite_selected(b, s, rc, stopped, e);
}

/* ---- damage ---- */

static int name_compare(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Delete all but the newest CORRUPT_KEPT of what was moved aside. Best effort: it only saves space. */
static void sqlite_prune(const char *path)
{
        char *copy = strdup(path);
        if (!copy)
                return;
        char *slash = strrchr(copy, '/');
        const char *folder = slash ? copy : ".";
        const char *base = slash ? slash + 1 : copy;
        if (slash)
                *slash = 0;
        DIR *dir = opendir(slash && !*copy ? "/" : folder);
        char *name[64];
        size_t names = 0;
        char prefix[300];
        snprintf(prefix, sizeof(prefix), "%s.corrupt-", base);
        for (struct dirent *d; dir && (d = readdir(dir)) != NULL && names < ARRAY_SIZE(name);) {
                size_t length = strlen(d->d_name);
                if (strncmp(d->d_name, prefix, strlen(prefix)) == 0 &&
                    (length < 4 || strcmp(d->d_name + length - 4, "-wal") != 0) &&
                    (name[names] = strdup(d->d_name)) != NULL)
                        names++;
        }
        qsort(name, names, sizeof(*name), name_compare);
        for (size_t i = 0; i < names; i++) {
                if (dir && i + CORRUPT_KEPT < names) {
                        char wal[300];
                        snprintf(wal, sizeof(wal), "%s-wal", name[i]);
                        unlinkat(dirfd(dir), name[i], 0);
                        unlinkat(dirfd(dir), wal, 0);
                }
                free(name[i]);
        }
        if (dir)
                closedir(dir);
        free(copy);
}

/* Give what configuration history can still be read. Failure is expected: the file is damaged. */
static void sqlite_salvage(char *path, dog_store_config_fn *each, void *context)
{
        struct store_backend old = {.path = path};
        uint64_t damaged = 0;
        if (sqlite_connect(&old, SQLITE_OPEN_READWRITE, &old.reader, NULL) == 0)
                store_sqlite_configs(&old, CONFIGS_KEPT, each, context, &damaged, NULL);
        sqlite3_close(old.reader);
        char side[4096];
        snprintf(side, sizeof(side), "%s-shm", path);
        unlink(side);
}

static int store_sqlite_move_aside(const char *path, char *to, size_t to_size, dog_store_config_fn *each,
                                   void *context, struct dog_err *e)
{
        char stamp[32];
        time_t now = (time_t)(dog_clock_wall_ns() / DOG_S);
        struct tm tm;
        strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
        struct stat st;
        for (int i = 0; i < 1000; i++) {
                snprintf(to, to_size, i ? "%s.corrupt-%s-%d" : "%s.corrupt-%s", path, stamp, i);
                if (lstat(to, &st) < 0)
                        break;
        }
        char from_side[4096];
        char to_side[4096 + 64];
        if (rename(path, to) < 0 && errno != ENOENT)
                return dog_err_set(e, -errno, "store %s: damaged, and cannot be moved aside to %s: %s", path,
                                   to, strerror(errno));
        snprintf(from_side, sizeof(from_side), "%s-wal", path);
        snprintf(to_side, sizeof(to_side), "%s-wal", to);
        /* The log belongs to the old file; left behind it would be played into the new one. */
        if (rename(from_side, to_side) < 0 && errno != ENOENT)
                return dog_err_set(e, -errno, "store %s: cannot move its log aside: %s", path,
                                   strerror(errno));
        snprintf(from_side, sizeof(from_side), "%s-shm", path);
        unlink(from_side);
        sqlite_salvage(to, each, context);
        sqlite_prune(path);
        return 0;
}

const struct store_backend_ops dog_store_sqlite = {
        .open = store_sqlite_open,
        .open_read = store_sqlite_open_read,
        .close = store_sqlite_close,
        .is_gone = store_sqlite_is_gone,
        .decision_last = store_sqlite_decision_last,
        .write = store_sqlite_write,
        .upkeep = store_sqlite_upkeep,
        .blocks = store_sqlite_blocks,
        .hours = store_sqlite_hours,
        .names = store_sqlite_names,
        .decisions = store_sqlite_decisions,
        .events = store_sqlite_events,
        .configs = store_sqlite_configs,
        .move_aside = store_sqlite_move_aside,
};
