#include "machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Run a command with text on its standard input, in the caller's namespace. */
int bench_command(const char *command, const char *input)
{
        FILE *to = popen(command, "w");
        if (!to)
                return -errno;
        fputs(input, to);
        return pclose(to) == 0 ? 0 : -EIO;
}

void bench_write(const char *file, const char *text)
{
        int fd = open(file, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return;
        if (write(fd, text, strlen(text)) < 0)
                fprintf(stderr, "cannot write %s: %s\n", file, strerror(errno));
        close(fd);
}

void bench_pin(size_t cpu)
{
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        sched_setaffinity(0, sizeof(set), &set);
}

/* The process that runs softirqs of one CPU when they are too many for the interrupted task. */
int bench_ksoftirqd(int cpu)
{
        char want[32], name[300], comm[32];
        int found = 0;
        DIR *proc = opendir("/proc");

        snprintf(want, sizeof(want), "ksoftirqd/%d\n", cpu);
        for (struct dirent *d; proc && !found && (d = readdir(proc));) {
                snprintf(name, sizeof(name), "/proc/%s/comm", d->d_name);
                FILE *f = atoi(d->d_name) ? fopen(name, "r") : NULL;
                if (!f)
                        continue;
                if (fgets(comm, sizeof(comm), f) && !strcmp(comm, want))
                        found = atoi(d->d_name);
                fclose(f);
        }
        if (proc)
                closedir(proc);
        return found;
}

int64_t bench_run_ns(int pid)
{
        char name[64];
        long long ns = 0;
        snprintf(name, sizeof(name), "/proc/%d/schedstat", pid);
        FILE *f = fopen(name, "r");
        if (f) {
                if (fscanf(f, "%lld", &ns) != 1)
                        ns = 0;
                fclose(f);
        }
        return ns;
}
