#include "ctl/demo_stage.h"

#include "base/array.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the script and its libraries call, and the Debian package that has it. */
static const struct {
        const char *tool, *package;
} tools[] = {{"bash", "bash"},     {"ip", "iproute2"},
             {"ss", "iproute2"},   {"ethtool", "ethtool"},
             {"iperf3", "iperf3"}, {"ping", "iputils-ping"},
             {"sysctl", "procps"}, {"python3", "python3-minimal"},
             {"mount", "mount"},   {"mountpoint", "util-linux"},
             {"awk", "mawk"}};

/* ---- finding ---- */

static bool file_is(int mode, const char *folder, const char *name)
{
        char path[PATH_MAX];
        return snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path) &&
               access(path, mode) == 0;
}

static bool tool_is_there(const char *name)
{
        const char *list = getenv("PATH");
        char folder[PATH_MAX];
        while (list && *list) {
                size_t n = strcspn(list, ":");
                if (n > 0 && n < sizeof(folder)) {
                        memcpy(folder, list, n);
                        folder[n] = 0;
                        if (file_is(X_OK, folder, name))
                                return true;
                }
                list += n + (list[n] == ':');
        }
        return false;
}

static int tools_check(struct dog_err *e)
{
        char missing[200] = "";
        char packages[200] = "";
        for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
                if (tool_is_there(tools[i].tool))
                        continue;
                snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), "%s%s",
                         missing[0] ? ", " : "", tools[i].tool);
                if (!strstr(packages, tools[i].package))
                        snprintf(packages + strlen(packages), sizeof(packages) - strlen(packages), " %s",
                                 tools[i].package);
        }
        return missing[0] ? dog_err_set(e, -ENOENT, "the demo needs %s, not found in PATH: apt-get install%s",
                                        missing, packages)
                          : 0;
}

/* Copies folder/tail, as far as it fits: what is cut does not exist, and is refused by files_check. */
static void join(char to[PATH_MAX], const char *folder, const char *tail)
{
        if (snprintf(to, PATH_MAX, "%s%s", folder, tail) >= PATH_MAX)
                to[0] = 0;
}

static int files_check(const struct demo_stage *s, struct dog_err *e)
{
        const struct {
                const char *folder, *name;
        } file[] = {{s->source, "lab/demo.sh"},      {s->source, "lab/topology.sh"},
                    {s->source, "tests/lab/lab.sh"}, {s->source, "bench/gateway.sh"},
                    {s->build, "lab/linkemu"},       {s->build, "lab/voice"},
                    {s->build, "lab/tracestat"},     {s->build, "lab/drawrun"},
                    {s->paths, "demo.playlist"},     {"", s->sundogd[0] ? s->sundogd + 1 : ""}};
        for (size_t i = 0; i < ARRAY_SIZE(file); i++)
                if (!file_is(R_OK, file[i].folder, file[i].name))
                        return dog_err_set(
                                e, -ENOENT,
                                "the demo's file %s/%s is not there; build or install Sundog whole, or name "
                                "its source with SUNDOG_SOURCE and its build folder with SUNDOG_BUILD",
                                file[i].folder, file[i].name);
        return 0;
}

int demo_stage_find(struct demo_stage *s, struct dog_err *e)
{
        memset(s, 0, sizeof(*s));
        s->from_fd = s->to_fd = -1;
        if (geteuid() != 0)
                return dog_err_set(
                        e, -EPERM,
                        "the demo makes network namespaces and loads BPF programs, which needs root: run it "
                        "with sudo; it changes nothing outside its own namespaces and ./demo-out");
        char beside[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", s->sundog, sizeof(s->sundog) - 1);
        if (n <= 0)
                return dog_err_set(e, -ENOENT, "cannot tell where this program is: %s", strerror(errno));
        s->sundog[n] = 0;
        join(beside, s->sundog, "");
        *strrchr(beside, '/') = 0;
        const char *source = getenv("SUNDOG_SOURCE");
        const char *build = getenv("SUNDOG_BUILD");
        bool is_built_here = file_is(X_OK, beside, "lab/linkemu");
        bool is_installed = !is_built_here && !source && !build;
        join(s->build, build ? build : beside, build || is_built_here ? "" : "/../libexec/sundog");
        join(s->source, source ? source : beside, source ? "" : is_installed ? "/../libexec/sundog" : "/..");
        join(s->paths, is_installed ? beside : s->source,
             is_installed ? "/../share/sundog/paths" : "/data/paths");
        join(s->sundogd, is_installed ? beside : s->build, is_installed ? "/../sbin/sundogd" : "/sundogd");
        int rc = files_check(s, e);
        return rc < 0 ? rc : tools_check(e);
}

/* ---- starting ---- */

static int world_make(struct dog_err *e)
{
        if (unshare(CLONE_NEWNS | CLONE_NEWPID) < 0)
                return dog_err_set(e, -errno, "this machine lets nobody make namespaces: %s",
                                   strerror(errno));
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("sundog-demo", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0)
                return dog_err_set(e, -errno, "cannot make a private /run: %s", strerror(errno));
        return 0;
}

/* In the child: never returns. A failure is a line that the script could have written. */
static void script_exec(const struct demo_stage *s, int in_fd, int out_fd)
{
        char script[PATH_MAX];
        join(script, s->source, "/lab/demo.sh");
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* Its own session: Ctrl-C is for us alone, and we end it whole. */
        setsid();
        int ok = dup2(in_fd, 0) >= 0 && dup2(out_fd, 1) >= 0 && dup2(out_fd, 2) >= 0;
        /* /proc of this PID namespace, in mounts that only the script sees. */
        ok = ok && unshare(CLONE_NEWNS) == 0 && mount("proc", "/proc", "proc", 0, NULL) == 0;
        if (ok)
                execlp("bash", "bash", script, (char *)NULL);
        dprintf(out_fd, "cannot start %s: %s\n", script, strerror(errno));
        _exit(1);
}

int demo_stage_start(struct demo_stage *s, unsigned seconds, const char *rate, uint64_t download_bytes,
                     struct dog_err *e)
{
        int in[2] = {-1, -1};
        int out[2] = {-1, -1};
        char text[32];
        int rc = world_make(e);
        if (rc < 0)
                return rc;
        if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
                return dog_err_set(e, -errno, "cannot make a pipe: %s", strerror(errno));
        setenv("SUNDOG_SOURCE", s->source, 1);
        setenv("SUNDOG_BUILD", s->build, 1);
        setenv("DEMO_PATHS", s->paths, 1);
        setenv("SUNDOG", s->sundog, 1);
        setenv("SUNDOGD", s->sundogd, 1);
        setenv("TMPDIR", "/run", 1);
        setenv("LC_ALL", "C", 1);
        unsetenv("LINKEMU");
        unsetenv("LAB_PREFIX");
        setenv("DEMO_RATE", rate, 1);
        snprintf(text, sizeof(text), "%u", seconds);
        setenv("DEMO_SECONDS", text, 1);
        snprintf(text, sizeof(text), "%llu", (unsigned long long)download_bytes);
        setenv("DEMO_BYTES", text, 1);
        pid_t pid = fork();
        if (pid == 0)
                script_exec(s, in[0], out[1]);
        close(in[0]);
        close(out[1]);
        s->to_fd = in[1];
        s->from_fd = out[0];
        if (pid < 0)
                return dog_err_set(e, -errno, "cannot start a process: %s", strerror(errno));
        s->pid = pid;
        return 0;
}

int demo_stage_line(struct demo_stage *s, int wait_ms, const char **line)
{
        /* What was handed out last time goes now: it ends at the first zero. */
        if (s->used && memchr(s->line, 0, s->used)) {
                size_t n = strlen(s->line) + 1;
                s->used -= n;
                memmove(s->line, s->line + n, s->used);
        }
        for (;;) {
                char *end = memchr(s->line, '\n', s->used);
                /* A line longer than the buffer is handed out in pieces. */
                if (!end && s->used == sizeof(s->line) - 1)
                        end = &s->line[s->used - 1];
                if (end) {
                        *end = 0;
                        *line = s->line;
                        return 1;
                }
                struct pollfd p = {.fd = s->from_fd, .events = POLLIN};
                if (poll(&p, 1, wait_ms) <= 0)
                        return 0;
                ssize_t n = read(s->from_fd, s->line + s->used, sizeof(s->line) - 1 - s->used);
                if (n == 0 || (n < 0 && errno != EINTR))
                        return -EPIPE;
                s->used += n > 0 ? (size_t)n : 0;
        }
}

int demo_stage_run(const struct demo_stage *s, const char *tool, char *const argv[], const char *into,
                   struct dog_err *e)
{
        char path[PATH_MAX];
        int status = 0;
        snprintf(path, sizeof(path), "%.4000s/lab/%.60s", s->build, tool);
        pid_t pid = fork();
        if (pid == 0) {
                int fd = open(into, O_WRONLY | O_CREAT | O_TRUNC, 0644);
                if (fd >= 0 && dup2(fd, 1) >= 0)
                        execv(path, argv);
                fprintf(stderr, "cannot run %s > %s: %s\n", path, into, strerror(errno));
                _exit(1);
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
                return dog_err_set(e, -EIO, "%s failed", tool);
        return 0;
}

void demo_stage_stop(struct demo_stage *s)
{
        if (s->pid > 0) {
                kill(s->pid, SIGKILL);
                while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        s->pid = 0;
        if (s->from_fd >= 0)
                close(s->from_fd);
        if (s->to_fd >= 0)
                close(s->to_fd);
        s->from_fd = s->to_fd = -1;
}
