#include "agent/proc.h"

#include "base/array.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PROC_TEXT = 1 << 20 };

/* The number at `at`; NaN when there is none. Moves behind it. */
static double proc_number(const char **at)
{
        char *end;
        while (**at == ' ' || **at == '\t')
                ++*at;
        if (!isdigit((unsigned char)**at))
                return (double)NAN;
        double v = strtod(*at, &end);
        *at = end;
        return v;
}

static const char *proc_next_line(const char *text)
{
        const char *end = strchr(text, '\n');
        return end ? end + 1 : NULL;
}

/* Behind `word` at the start of a line; NULL: no line begins so. */
static const char *proc_line(const char *text, const char *word)
{
        size_t n = strlen(word);
        for (; text && *text; text = proc_next_line(text))
                if (strncmp(text, word, n) == 0)
                        return text + n;
        return NULL;
}

void agent_proc_stat(const char *text, struct dog_counters *c)
{
        /* user nice system idle iowait irq softirq steal; guest is in user already */
        enum { IDLE = 3, IOWAIT = 4, STEAL = 7, FIELDS = 8 };
        const char *at = proc_line(text, "cpu ");
        double field[FIELDS], total = 0, tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
        if (!at)
                return;
        for (int i = 0; i < FIELDS; i++) {
                field[i] = proc_number(&at);
                total += field[i];
        }
        c->cpu_total_s = total * tick_s;
        c->cpu_busy_s = (total - field[IDLE] - field[IOWAIT]) * tick_s;
        c->cpu_steal_s = field[STEAL] * tick_s;
        unsigned processors = 0;
        for (const char *line = text; line && *line; line = proc_next_line(line))
                processors += strncmp(line, "cpu", 3) == 0 && isdigit((unsigned char)line[3]);
        if (processors)
                c->processors = processors;
}

void agent_proc_meminfo(const char *text, struct dog_counters *c)
{
        const char *total = proc_line(text, "MemTotal:");
        const char *left = proc_line(text, "MemAvailable:");
        if (total)
                c->memory_total = proc_number(&total) * 1024;
        if (left)
                c->memory_left = proc_number(&left) * 1024;
}

void agent_proc_loadavg(const char *text, struct dog_counters *c)
{
        c->load1 = proc_number(&text);
}

void agent_proc_pressure(const char *text, double *average, double *total_s)
{
        const char *some = proc_line(text, "some ");
        if (!some)
                return;
        const char *line_end = some + strcspn(some, "\n");
        const char *avg = strstr(some, "avg10="), *total = strstr(some, "total=");
        if (avg && avg < line_end) {
                avg += strlen("avg10=");
                *average = proc_number(&avg) / 100;
        }
        if (total && total < line_end) {
                total += strlen("total=");
                *total_s = proc_number(&total) / 1e6;
        }
}

void agent_proc_diskstats(const char *text, struct dog_counters *c)
{
        static const char *const unreal[] = {"loop", "ram", "zram", "fd", "sr"};
        enum { BUSY = 9 }; /* Documentation/admin-guide/iostats.rst: field 10 after the name */
        for (; text && *text; text = proc_next_line(text)) {
                const char *at = text;
                proc_number(&at);
                proc_number(&at);
                at += strspn(at, " ");
                size_t n = strcspn(at, " \n");
                bool is_real = n > 0;
                for (size_t i = 0; i < ARRAY_SIZE(unreal); i++)
                        is_real &= strncmp(at, unreal[i], strlen(unreal[i])) != 0;
                if (!is_real)
                        continue;
                const char *name = at;
                double busy = (double)NAN;
                at += n;
                for (int i = 0; i <= BUSY; i++)
                        busy = proc_number(&at);
                struct dog_counters_disk *disk = isnan(busy) ? NULL : dog_counters_disk(c, name, n);
                if (disk)
                        disk->busy_ms = busy;
        }
}

static void proc_add(double *to, double v)
{
        *to = isnan(*to) ? v : *to + v;
}

void agent_proc_net_dev(const char *text, struct dog_counters *c)
{
        enum { BYTES, PACKETS, ERRORS, DROPS, TX = 8, FIELDS = 12 };
        for (; text && *text; text = proc_next_line(text)) {
                const char *name = text + strspn(text, " ");
                size_t n = strcspn(name, ":\n");
                /* The two lines of headings have a '|' before any ':'. */
                if (name[n] != ':' || memchr(name, '|', n) || (n == 2 && memcmp(name, "lo", 2) == 0))
                        continue;
                const char *at = name + n + 1;
                double field[FIELDS];
                for (int i = 0; i < FIELDS; i++)
                        field[i] = proc_number(&at);
                if (isnan(field[FIELDS - 1]))
                        continue;
                proc_add(&c->rx_bytes, field[BYTES]);
                proc_add(&c->tx_bytes, field[TX + BYTES]);
                proc_add(&c->rx_packets, field[PACKETS]);
                proc_add(&c->tx_packets, field[TX + PACKETS]);
                proc_add(&c->net_errors, field[ERRORS] + field[TX + ERRORS]);
                proc_add(&c->net_drops, field[DROPS] + field[TX + DROPS]);
        }
}

double agent_proc_mib(const char *text, const char *table, const char *name)
{
        /* "Tcp: Name Name\nTcp: 1 2\n": the names in one line, the numbers in the next. */
        const char *names = proc_line(text, table);
        const char *numbers = names ? proc_line(names, table) : NULL;
        size_t n = strlen(name);
        while (names && numbers && *names != '\n' && *names) {
                names += strspn(names, " ");
                numbers += strspn(numbers, " ");
                size_t word = strcspn(names, " \n");
                if (word == 0)
                        break;
                if (word == n && memcmp(names, name, n) == 0)
                        return proc_number(&numbers);
                names += word;
                numbers += strcspn(numbers, " \n");
        }
        return (double)NAN;
}

void agent_proc_file_nr(const char *text, struct dog_counters *c)
{
        c->files = proc_number(&text);
        proc_number(&text);
        c->files_most = proc_number(&text);
}

/* A field of mountinfo with its escapes resolved: a backslash and three octal digits. */
static void proc_unescape(const char *from, size_t n, char *to, size_t room)
{
        size_t used = 0;
        for (size_t i = 0; i < n && used + 1 < room; i++) {
                char c = from[i];
                if (c == '\\' && i + 3 < n && strspn(from + i + 1, "01234567") >= 3) {
                        c = (char)((from[i + 1] - '0') << 6 | (from[i + 2] - '0') << 3 | (from[i + 3] - '0'));
                        i += 3;
                }
                to[used++] = c;
        }
        to[used] = 0;
}

/* Local file systems on a device: what fills up and then fails a server. */
static bool proc_is_real(const char *type, size_t n)
{
        static const char *const real[] = {"ext2", "ext3",     "ext4", "xfs",  "btrfs",   "f2fs",
                                           "zfs",  "bcachefs", "jfs",  "vfat", "reiserfs"};
        for (size_t i = 0; i < ARRAY_SIZE(real); i++)
                if (strlen(real[i]) == n && memcmp(type, real[i], n) == 0)
                        return true;
        return false;
}

bool agent_proc_mount_next(const char **text, char *to, size_t room)
{
        while (*text && **text) {
                /* 36 35 98:0 /root /mount/point options - type source options-of-the-file-system */
                const char *at = *text;
                *text = proc_next_line(at);
                for (int i = 0; i < 4; i++) {
                        at += strcspn(at, " \n");
                        at += *at == ' ';
                }
                const char *where = at, *line_end = at + strcspn(at, "\n");
                size_t n = strcspn(where, " \n");
                const char *type = strstr(where + n, " - ");
                if (!type || type + 3 > line_end)
                        continue;
                type += 3;
                const char *source = type + strcspn(type, " \n");
                source += *source == ' ';
                const char *options = source + strcspn(source, " \n");
                /* Of the file system, not of this mount: a service's sandbox mounts everything read-only. */
                if (strncmp(options, " rw", 3) != 0 || !proc_is_real(type, strcspn(type, " \n")))
                        continue;
                proc_unescape(where, n, to, room);
                return true;
        }
        return false;
}

/* The whole file, terminated; NULL: not there. */
static const char *proc_file(const char *path, char *to)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t used = 0;
        if (fd < 0)
                return NULL;
        while (used < PROC_TEXT - 1) {
                ssize_t n = read(fd, to + used, PROC_TEXT - 1 - used);
                if (n <= 0)
                        break;
                used += (size_t)n;
        }
        close(fd);
        to[used] = 0;
        return used ? to : NULL;
}

static void proc_file_systems(const char *text, struct dog_counters *c)
{
        char where[256];
        while (agent_proc_mount_next(&text, where, sizeof(where))) {
                struct statvfs st;
                if (statvfs(where, &st) < 0 || st.f_blocks == 0)
                        continue;
                double left = (double)st.f_bavail / (double)st.f_blocks;
                if (!(left >= c->disk_left))
                        c->disk_left = left;
        }
}

void agent_proc_read(struct dog_counters *c, int64_t now_ns)
{
        static char room[PROC_TEXT];
        static const struct {
                const char *path;
                void (*read)(const char *text, struct dog_counters *c);
        } file[] = {
                {"/proc/stat", agent_proc_stat},
                {"/proc/meminfo", agent_proc_meminfo},
                {"/proc/loadavg", agent_proc_loadavg},
                {"/proc/diskstats", agent_proc_diskstats},
                {"/proc/net/dev", agent_proc_net_dev},
                {"/proc/sys/fs/file-nr", agent_proc_file_nr},
                {"/proc/self/mountinfo", proc_file_systems},
        };
        *c = dog_counters_unknown(now_ns);
        for (size_t i = 0; i < ARRAY_SIZE(file); i++) {
                const char *text = proc_file(file[i].path, room);
                if (text)
                        file[i].read(text, c);
        }
        const char *text = proc_file("/proc/pressure/cpu", room);
        if (text)
                agent_proc_pressure(text, &c->stall_cpu, &c->stalled_cpu_s);
        text = proc_file("/proc/pressure/memory", room);
        if (text)
                agent_proc_pressure(text, &c->stall_memory, &c->stalled_memory_s);
        text = proc_file("/proc/pressure/io", room);
        if (text)
                agent_proc_pressure(text, &c->stall_io, &c->stalled_io_s);
        text = proc_file("/proc/net/snmp", room);
        if (text) {
                c->segments = agent_proc_mib(text, "Tcp:", "OutSegs");
                c->retransmitted = agent_proc_mib(text, "Tcp:", "RetransSegs");
        }
        text = proc_file("/proc/net/netstat", room);
        if (text)
                c->overflows = agent_proc_mib(text, "TcpExt:", "ListenOverflows");
}

void agent_proc_missing(const struct dog_counters *c, char *to, size_t room)
{
        const struct {
                const char *what;
                bool is_missing;
        } row[] = {
                {"processor times", isnan(c->cpu_total_s)},
                {"memory", isnan(c->memory_left)},
                {"pressure (a kernel with CONFIG_PSI, not started with psi=0)", isnan(c->stall_cpu)},
                {"disks", c->disks == 0},
                {"free space of a local file system", isnan(c->disk_left)},
                {"network devices", isnan(c->rx_bytes)},
                {"TCP counters", isnan(c->segments)},
                {"open files", isnan(c->files)},
        };
        size_t used = 0;
        to[0] = 0;
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                if (!row[i].is_missing || used >= room)
                        continue;
                int n = snprintf(to + used, room - used, "%s%s", used ? ", " : "", row[i].what);
                used += n > 0 ? (size_t)n : 0;
        }
}
