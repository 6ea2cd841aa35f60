/* A file that another program rewrites, or a pipe that it writes into. */
#include "base/clock.h"
#include "sources/radio_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        FILE_TAIL = 64 << 10, /* read of a longer file */
        FILE_ONCE = 64 << 10, /* read of a pipe in one interval */
};

void radio_file_begin(struct dog_radio_source *s)
{
        s->file.fd = -1;
        dog_radio_read_init(&s->file.read);
}

static void file_watch(struct dog_radio_source *s, bool is_on)
{
        if (s->file.is_watched != is_on)
                s->conf.watch(s->conf.user, s->file.fd, is_on ? POLLIN : 0);
        s->file.is_watched = is_on;
}

void radio_file_end(struct dog_radio_source *s)
{
        if (s->file.fd < 0)
                return;
        file_watch(s, false);
        close(s->file.fd);
        s->file.fd = -1;
        s->file.kept = 0;
        s->file.is_cut = false;
}

/* ---- a regular file ---- */

/* All of it, or its end from the beginning of a line on. @return octets, or negative errno */
static ssize_t file_read(int fd, off_t whole, char **text)
{
        size_t want = (size_t)(whole > DOG_RADIO_TEXT ? FILE_TAIL : whole);
        off_t from = whole - (off_t)want;
        size_t size = 0;
        char *to = malloc(want + 1);
        if (!to)
                return -ENOMEM;
        while (size < want) {
                ssize_t n = pread(fd, to + size, want - size, from + (off_t)size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        int rc = -errno;
                        free(to);
                        return rc;
                }
                if (n == 0)
                        break; /* it became shorter meanwhile */
                size += (size_t)n;
        }
        if (from > 0) {
                const char *end = memchr(to, '\n', size);
                size_t skip = end ? (size_t)(end - to) + 1 : size;
                memmove(to, to + skip, size - skip);
                size -= skip;
        }
        *text = to;
        return (ssize_t)size;
}

static void file_parse(struct dog_radio_source *s, int fd, const struct stat *st, int64_t now_ns)
{
        char *text = NULL;
        ssize_t size = file_read(fd, st->st_size, &text);
        if (size < 0) {
                radio_fail(s, "cannot read %s: %s", s->conf.file, strerror((int)-size));
                return;
        }
        struct dog_radio_read r;
        dog_radio_read_init(&r);
        dog_radio_read_text(&r, text, (size_t)size, now_ns);
        free(text);
        /* Half written, perhaps: look again even if nothing shows that it has changed. */
        if (r.malformed)
                s->file.is_seen = false;
        radio_take(s, &r, now_ns);
}

static bool file_is_new(struct radio_file *f, const struct stat *st)
{
        bool is_same = f->is_seen && f->inode == st->st_ino && f->size == st->st_size &&
                       f->changed.tv_sec == st->st_mtim.tv_sec && f->changed.tv_nsec == st->st_mtim.tv_nsec;
        f->is_seen = true;
        f->inode = st->st_ino;
        f->size = st->st_size;
        f->changed = st->st_mtim;
        return !is_same;
}

static void file_look(struct dog_radio_source *s, int fd, const struct stat *st, int64_t now_ns)
{
        int64_t written_wall_ns = (int64_t)st->st_mtim.tv_sec * DOG_S + st->st_mtim.tv_nsec;
        bool is_new = file_is_new(&s->file, st);
        /* A time that is yet to come is a clock that was set back: then only a change counts. */
        if (dog_clock_wall_ns() - written_wall_ns > s->conf.stale_ns) {
                s->stats.old += is_new;
                radio_fail(s, "%s was not written for %.0f s", s->conf.file,
                           (double)(dog_clock_wall_ns() - written_wall_ns) / 1e9);
        } else if (is_new) {
                file_parse(s, fd, st, now_ns);
        }
}

/* ---- a pipe ---- */

/* Octets that came: whole lines are read, the beginning of the next is kept. */
static void pipe_take(struct dog_radio_source *s, const char *text, size_t size, int64_t now_ns)
{
        struct radio_file *f = &s->file;
        for (size_t from = 0; from < size;) {
                const char *end = memchr(text + from, '\n', size - from);
                size_t length = (end ? (size_t)(end - text) : size) - from;
                if (f->kept + length >= sizeof(f->line)) {
                        f->is_cut = true;
                        f->kept = 0;
                } else if (!f->is_cut) {
                        memcpy(f->line + f->kept, text + from, length);
                        f->kept += length;
                }
                from += length + 1;
                if (!end)
                        return;
                if (f->is_cut)
                        f->read.malformed++;
                else
                        dog_radio_read_line(&f->read, f->line, f->kept, now_ns);
                f->kept = 0;
                f->is_cut = false;
        }
}

void radio_file_ready(struct dog_radio_source *s, int64_t now_ns)
{
        struct radio_file *f = &s->file;
        char text[8192];
        if (f->fd < 0)
                return;
        /* What was said long ago is not repeated with what is said now. */
        if (now_ns - s->told_ns > s->conf.stale_ns)
                f->read.reading = dog_radio_unknown();
        bool is_over = false;
        f->read.values = 0;
        while (f->taken < FILE_ONCE) {
                ssize_t n = read(f->fd, text, sizeof(text));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        break;
                is_over = n <= 0;
                if (is_over)
                        break;
                f->taken += (size_t)n;
                pipe_take(s, text, (size_t)n, now_ns);
        }
        if (f->read.values || f->read.malformed || f->read.impossible)
                radio_take(s, &f->read, now_ns);
        f->read.malformed = f->read.impossible = 0;
        if (is_over)
                radio_file_end(s); /* whoever wrote has gone; the next look opens it again */
        else if (f->taken >= FILE_ONCE)
                file_watch(s, false); /* enough for this interval */
}

static void pipe_open(struct dog_radio_source *s)
{
        s->file.fd = open(s->conf.file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (s->file.fd < 0)
                radio_fail(s, "cannot open the pipe %s: %s", s->conf.file, strerror(errno));
        else
                file_watch(s, true);
}

/* ---- which of both ---- */

void radio_file_look(struct dog_radio_source *s, int64_t now_ns)
{
        struct stat st;
        s->file.taken = 0;
        if (s->file.fd >= 0) {
                struct stat named;
                /* Another pipe may stand in its place by now. */
                bool is_same = fstat(s->file.fd, &st) == 0 && stat(s->conf.file, &named) == 0 &&
                               st.st_ino == named.st_ino && st.st_dev == named.st_dev;
                if (is_same) {
                        file_watch(s, true);
                        if (now_ns - s->told_ns > s->conf.stale_ns)
                                radio_fail(s, "nothing came out of the pipe %s for %.0f s", s->conf.file,
                                           (double)s->conf.stale_ns / 1e9);
                        return;
                }
                radio_file_end(s);
        }
        /* Looked at before it is opened: opening a device can do things. */
        if (stat(s->conf.file, &st) < 0) {
                s->file.is_seen = false;
                radio_fail(s, "cannot find %s: %s", s->conf.file, strerror(errno));
                return;
        }
        if (S_ISFIFO(st.st_mode)) {
                pipe_open(s);
                return;
        }
        if (!S_ISREG(st.st_mode)) {
                radio_fail(s, "%s is neither a file nor a pipe", s->conf.file);
                return;
        }
        int fd = open(s->conf.file, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd < 0) {
                radio_fail(s, "cannot open %s: %s; the user of the daemon must be able to", s->conf.file,
                           strerror(errno));
                return;
        }
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                file_look(s, fd, &st, now_ns);
        close(fd);
}
