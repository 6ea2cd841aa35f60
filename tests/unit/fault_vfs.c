#include "fault_vfs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fault_vfs fault_vfs;

struct fault_file {
        sqlite3_file base;
        char name[64]; /* last part of the path */
        sqlite3_file *real;
};

enum change_kind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_SYNC, CHANGE_DELETE };

struct change {
        enum change_kind kind;
        char name[64];
        sqlite3_int64 at;
        int size;
        void *data;
};

static struct change *changes;
static size_t change_count, change_room;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sqlite3_vfs *real_vfs;
static sqlite3_vfs vfs;
static sqlite3_io_methods methods;

static void change_add(enum change_kind kind, const char *name, sqlite3_int64 at, const void *data, int size)
{
        if (!fault_vfs.is_recording)
                return;
        pthread_mutex_lock(&lock);
        if (change_count == change_room) {
                change_room = change_room ? change_room * 2 : 256;
                changes = realloc(changes, change_room * sizeof(*changes));
        }
        struct change *c = &changes[change_count++];
        *c = (struct change){.kind = kind, .at = at, .size = size};
        snprintf(c->name, sizeof(c->name), "%s", name);
        if (size) {
                c->data = malloc((size_t)size);
                memcpy(c->data, data, (size_t)size);
        }
        pthread_mutex_unlock(&lock);
}

size_t fault_vfs_recorded(void)
{
        return change_count;
}

void fault_vfs_forget(void)
{
        for (size_t i = 0; i < change_count; i++)
                free(changes[i].data);
        free(changes);
        changes = NULL;
        change_count = change_room = 0;
}

int fault_vfs_replay(const char *to, size_t count, bool lost_unsynced)
{
        for (size_t i = 0; i < count && i < change_count; i++) {
                const struct change *c = &changes[i];
                bool is_synced = !lost_unsynced || c->kind == CHANGE_DELETE;
                for (size_t j = i + 1; j < count && !is_synced; j++)
                        is_synced = changes[j].kind == CHANGE_SYNC && strcmp(changes[j].name, c->name) == 0;
                if (!is_synced || c->kind == CHANGE_SYNC)
                        continue;
                char path[512];
                snprintf(path, sizeof(path), "%s/%s", to, c->name);
                if (c->kind == CHANGE_DELETE) {
                        unlink(path);
                        continue;
                }
                int fd = open(path, O_RDWR | O_CREAT, 0600);
                if (fd < 0)
                        return -1;
                int rc = c->kind == CHANGE_TRUNCATE                               ? ftruncate(fd, c->at)
                         : pwrite(fd, c->data, (size_t)c->size, c->at) == c->size ? 0
                                                                                  : -1;
                close(fd);
                if (rc < 0)
                        return -1;
        }
        return 0;
}

/* The code a fault asks for now; 0 to go on. */
static int strike(int *code)
{
        pthread_mutex_lock(&lock);
        int rc = 0;
        fault_vfs.operations++;
        if (*code) {
                if (fault_vfs.after > 0) {
                        fault_vfs.after--;
                } else {
                        rc = *code;
                        if (fault_vfs.once)
                                *code = 0;
                }
        }
        pthread_mutex_unlock(&lock);
        return rc;
}

static struct fault_file *file_of(sqlite3_file *f)
{
        return (struct fault_file *)f;
}

#define REAL(f) (file_of(f)->real)

static int f_close(sqlite3_file *f)
{
        return REAL(f)->pMethods ? REAL(f)->pMethods->xClose(REAL(f)) : SQLITE_OK;
}

static int f_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
        int rc = strike(&fault_vfs.read_rc);
        return rc ? rc : REAL(f)->pMethods->xRead(REAL(f), to, n, at);
}

static int f_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
        int rc = strike(&fault_vfs.write_rc);
        if (rc)
                return rc;
        change_add(CHANGE_WRITE, file_of(f)->name, at, from, n);
        return REAL(f)->pMethods->xWrite(REAL(f), from, n, at);
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
        int rc = strike(&fault_vfs.write_rc);
        if (rc)
                return rc;
        change_add(CHANGE_TRUNCATE, file_of(f)->name, size, NULL, 0);
        return REAL(f)->pMethods->xTruncate(REAL(f), size);
}

static int f_sync(sqlite3_file *f, int flags)
{
        if (fault_vfs.sync_ms)
                usleep((useconds_t)fault_vfs.sync_ms * 1000);
        int rc = strike(&fault_vfs.sync_rc);
        if (rc)
                return rc;
        change_add(CHANGE_SYNC, file_of(f)->name, 0, NULL, 0);
        return REAL(f)->pMethods->xSync(REAL(f), flags);
}

static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
        return REAL(f)->pMethods->xFileSize(REAL(f), size);
}

static int f_lock(sqlite3_file *f, int level)
{
        return REAL(f)->pMethods->xLock(REAL(f), level);
}

static int f_unlock(sqlite3_file *f, int level)
{
        return REAL(f)->pMethods->xUnlock(REAL(f), level);
}

static int f_check(sqlite3_file *f, int *out)
{
        return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
        return REAL(f)->pMethods->xFileControl(REAL(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
        return REAL(f)->pMethods->xSectorSize(REAL(f));
}

/* Promise nothing, so that SQLite makes every sync that some disk may need. */
static int f_traits(sqlite3_file *f)
{
        (void)f;
        return 0;
}

static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **to)
{
        return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, to);
}

static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
        return REAL(f)->pMethods->xShmLock(REAL(f), offset, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
        REAL(f)->pMethods->xShmBarrier(REAL(f));
}

static int f_shm_unmap(sqlite3_file *f, int remove_it)
{
        return REAL(f)->pMethods->xShmUnmap(REAL(f), remove_it);
}

static const char *last_part(const char *path)
{
        const char *slash = path ? strrchr(path, '/') : NULL;
        return slash ? slash + 1 : path ? path : "temporary";
}

static int v_open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *out)
{
        (void)v;
        struct fault_file *file = file_of(f);
        memset(file, 0, sizeof(*file));
        file->real = (sqlite3_file *)(file + 1);
        snprintf(file->name, sizeof(file->name), "%s", last_part(path));
        int rc = strike(&fault_vfs.open_rc);
        if (!rc)
                rc = real_vfs->xOpen(real_vfs, path, file->real, flags, out);
        if (rc == SQLITE_OK)
                file->base.pMethods = &methods;
        return rc;
}

static int v_delete(sqlite3_vfs *v, const char *path, int sync_folder)
{
        (void)v;
        change_add(CHANGE_DELETE, last_part(path), 0, NULL, 0);
        return real_vfs->xDelete(real_vfs, path, sync_folder);
}

void fault_vfs_install(void)
{
        if (real_vfs)
                return;
        sqlite3_initialize();
        real_vfs = sqlite3_vfs_find(NULL);
        methods = (sqlite3_io_methods){.iVersion = 2,
                                       .xClose = f_close,
                                       .xRead = f_read,
                                       .xWrite = f_write,
                                       .xTruncate = f_truncate,
                                       .xSync = f_sync,
                                       .xFileSize = f_size,
                                       .xLock = f_lock,
                                       .xUnlock = f_unlock,
                                       .xCheckReservedLock = f_check,
                                       .xFileControl = f_control,
                                       .xSectorSize = f_sector,
                                       .xDeviceCharacteristics = f_traits,
                                       .xShmMap = f_shm_map,
                                       .xShmLock = f_shm_lock,
                                       .xShmBarrier = f_shm_barrier,
                                       .xShmUnmap = f_shm_unmap};
        vfs = *real_vfs;
        vfs.zName = "fault";
        vfs.pNext = NULL;
        vfs.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
        vfs.xOpen = v_open;
        vfs.xDelete = v_delete;
        sqlite3_vfs_register(&vfs, 1);
}
