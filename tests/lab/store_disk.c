/* T12 on a real file system: a small tmpfs of our own that fills up, and one that turns read-only. */
#include "base/clock.h"
#include "check.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static char folder[64];
static char path[96];
static int64_t now_ns;

/* A mount namespace of our own: nothing is left behind, however this ends. */
static void disk_make(const char *options)
{
        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
                SKIP("needs root, to mount a small tmpfs");
        NEED(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts: %s", strerror(errno));
        snprintf(folder, sizeof(folder), "/tmp/sundog-disk-XXXXXX");
        NEED(mkdtemp(folder), "folder");
        NEED(mount("sundog", folder, "tmpfs", 0, options) == 0, "tmpfs: %s", strerror(errno));
        snprintf(path, sizeof(path), "%s/store.db", folder);
        now_ns = dog_clock_mono_ns();
}

static void disk_remove(void)
{
        umount2(folder, MNT_DETACH);
        rmdir(folder);
}

static int step(struct dog_store *s)
{
        now_ns += DOG_S;
        return dog_store_step(s, now_ns);
}

static int count_decision(void *context, const struct dog_store_decision *d)
{
        size_t *n = context;
        if (d->plan_size == 2000 && d->id == *n + 1)
                ++*n;
        return 0;
}

static size_t decisions(struct dog_store *s)
{
        size_t n = 0;
        struct dog_err e = {0};
        OK(dog_store_decision_each(s, &(struct dog_store_decision_query){0}, count_decision, &n, &e) == 0,
           "%s", e.text);
        return n;
}

static uint64_t add(struct dog_store *s, uint64_t id, unsigned rows)
{
        static char plan[2000];
        memset(plan, 'p', sizeof(plan));
        for (; rows; rows--, id++)
                OK(dog_store_decision_add(s, &(struct dog_store_decision){.id = id,
                                                                          .group = "voice",
                                                                          .reason = "breach-forecast",
                                                                          .plan = plan,
                                                                          .plan_size = sizeof(plan)}) == 0,
                   "adding never fails for the disk");
        return id;
}

static struct dog_store *open_store(void)
{
        struct dog_store *s = NULL;
        struct dog_err e = {0};
        NEED(dog_store_open(&(struct dog_store_options){.path = path}, &s, &e) == 0, "%s", e.text);
        return s;
}

static void a_full_disk_is_told_and_nothing_is_lost_when_room_comes_back(void)
{
        disk_make("size=3m");
        struct dog_store *s = open_store();
        char filler[96];
        snprintf(filler, sizeof(filler), "%s/filler", folder);
        int fd = open(filler, O_WRONLY | O_CREAT, 0600);
        NEED(fd >= 0 && posix_fallocate(fd, 0, 2 << 20) == 0, "2 MB of somebody else's");
        close(fd);
        struct dog_store_status status = {0};
        uint64_t id = 1;
        unsigned told = 0;
        for (int i = 0; i < 100; i++) {
                id = add(s, id, 20);
                step(s);
                if (dog_store_news(s, &status)) {
                        told++;
                        fprintf(stderr, "# %s\n", status.text);
                        OK(status.health == DOG_STORE_DEGRADED && strstr(status.text, "no space"), "%s",
                           status.text);
                }
        }
        OK(told == 1, "told %u times", told);
        unlink(filler);
        /* 4 MB of rows: 3 MB are still not enough for all of them. */
        NEED(mount(NULL, folder, NULL, MS_REMOUNT, "size=30m") == 0, "a larger disk: %s", strerror(errno));
        for (int i = 0; i < 61; i++)
                step(s);
        OK(dog_store_news(s, &status) && status.health == DOG_STORE_OK, "%s", status.text);
        OK(decisions(s) == id - 1, "%zu of %llu rows", decisions(s), (unsigned long long)id - 1);
        OK(status.files_moved_aside == 0 && status.rows_lost == 0, "nothing was damaged, nothing was lost");
        dog_store_close(s);
        disk_remove();
}

static void a_disk_that_turns_read_only_is_told_and_waited_for(void)
{
        disk_make("size=20m");
        struct dog_store *s = open_store();
        uint64_t id = add(s, 1, 10);
        OK(step(s) == 0, "a good start");
        dog_store_close(s);
        NEED(mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0, "read-only: %s", strerror(errno));
        s = open_store();
        struct dog_store_status status = {0};
        OK(dog_store_news(s, &status) && status.health == DOG_STORE_DEGRADED, "%s", status.text);
        fprintf(stderr, "# %s\n", status.text);
        OK(strcasestr(status.text, "read-only"), "%s", status.text);
        /* Numbers begin far away, because the ledger could not be asked for its last one. */
        OK(dog_store_decision_last(s) > id, "%llu", (unsigned long long)dog_store_decision_last(s));
        OK(dog_store_event_add(s, &(struct dog_store_event){1, "alert", "voice", "kept"}) == 0, "an event");
        for (int i = 0; i < 10; i++)
                OK(step(s) != 0, "still read-only");
        NEED(mount(NULL, folder, NULL, MS_REMOUNT, "size=20m") == 0, "writable: %s", strerror(errno));
        for (int i = 0; i < 61; i++)
                step(s);
        OK(dog_store_news(s, &status) && status.health == DOG_STORE_OK && status.rows_written == 1, "%s",
           status.text);
        OK(decisions(s) == 10, "the old rows are there");
        dog_store_close(s);
        disk_remove();
}

int main(void)
{
        return CHECK_RUN(TEST(a_full_disk_is_told_and_nothing_is_lost_when_room_comes_back),
                         TEST(a_disk_that_turns_read_only_is_told_and_waited_for));
}
