#include "hands/privilege.h"

#include "base/array.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

/* ------------------------------------------------------------------------------ user, caps */

static const struct passwd *privilege_user(const char *user)
{
        if (user)
                return getpwnam(user);
        const struct passwd *p = getpwnam(DOG_PRIVILEGE_USER);
        return p ? p : getpwnam("nobody");
}

static int privilege_become(const struct passwd *p, struct dog_err *e)
{
        uid_t uid = p->pw_uid;
        gid_t gid = p->pw_gid;
        if (uid == 0)
                return dog_err_set(e, -EPERM, "user %s is root: give the decider a user of its own",
                                   p->pw_name);
        if (initgroups(p->pw_name, gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
                return dog_err_set(e, -errno, "cannot become user %s: %s", p->pw_name, strerror(errno));
        return 0;
}

static int privilege_check(bool was_root, struct dog_err *e)
{
        uid_t real, effective, saved;
        capng_get_caps_process();
        /* Who never was root cannot empty the bounding set; no_new_privs keeps what is in it out of reach. */
        if (capng_have_capabilities(was_root ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != CAPNG_NONE)
                return dog_err_set(e, -EPERM, "capabilities remained after they were given up: not starting");
        if (getresuid(&real, &effective, &saved) < 0 || real != effective || real != saved || real == 0)
                return dog_err_set(e, -EPERM, "the process is still root after giving that up: not starting");
        if (setuid(0) == 0)
                return dog_err_set(e, -EPERM, "the process could become root again: not starting");
        if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
                return dog_err_set(e, -EPERM, "no_new_privs is not set: not starting");
        return 0;
}

int dog_privileges_drop(const char *user, struct dog_err *e)
{
        int rc = 0;
        bool is_root = geteuid() == 0;
        const struct passwd *p = is_root ? privilege_user(user) : NULL;
        if (is_root && !p)
                return dog_err_set(e, -ENOENT, "there is no user %s: run \"adduser --system --group %s\"",
                                   user ? user : "nobody", user ? user : DOG_PRIVILEGE_USER);
        /* The bounding set first: it takes a capability to give it up. */
        capng_clear(CAPNG_SELECT_BOTH);
        if (is_root && capng_apply(CAPNG_SELECT_BOUNDS) < 0)
                return dog_err_set(e, -EPERM, "cannot give up the capability bounding set: %s",
                                   strerror(errno));
        if (is_root)
                rc = privilege_become(p, e);
        if (rc < 0)
                return rc;
        capng_clear(CAPNG_SELECT_BOTH);
        if (capng_apply(CAPNG_SELECT_CAPS) < 0)
                return dog_err_set(e, -EPERM, "cannot give up capabilities: %s", strerror(errno));
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return dog_err_set(e, -errno, "cannot set no_new_privs: %s", strerror(errno));
        return privilege_check(is_root, e);
}

int dog_privileges_keep_hands(struct dog_err *e)
{
        static const unsigned keep[] = {
                CAP_BPF,
                CAP_PERFMON,   /* programs and maps */
                CAP_SYS_ADMIN, /* mounting the BPF file system; maps by id */
                CAP_NET_ADMIN, /* devices, routes, XDP */
                CAP_NET_BIND_SERVICE,
                CAP_NET_RAW,      /* low ports, sockets bound to a device */
                CAP_DAC_OVERRIDE, /* key files of another user */
                CAP_SETUID,
                CAP_SETGID, /* each decider that is started drops them itself */
                CAP_SETPCAP,
                CAP_KILL,
        };
        if (geteuid() != 0)
                return 0;
        capng_get_caps_process();
        bool has[CAP_LAST_CAP + 1] = {false};
        for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
                has[keep[i]] = capng_have_capability(CAPNG_PERMITTED, keep[i]) == 1;
        capng_clear(CAPNG_SELECT_BOTH);
        for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
                if (has[keep[i]])
                        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
                                     keep[i]);
        if (capng_apply(CAPNG_SELECT_BOTH) < 0)
                return dog_err_set(e, -EPERM, "cannot give up the capabilities that hands does not need: %s",
                                   strerror(errno));
        return 0;
}

/* --------------------------------------------------------------------------------- seccomp */

/* Calls allowed with any arguments. One row a purpose. */
static const char *const privilege_calls[] = {
        /* event loop, timers, signals */
        "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select",
        "pselect6", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4",
        "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time",
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigpending", "rt_sigsuspend",
        "sigaltstack", "restart_syscall", "pause", "alarm", "setitimer", "getitimer",
        /* reading and writing what is open */
        "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "lseek", "close",
        "close_range", "dup", "dup2", "dup3", "fcntl", "pipe", "pipe2", "sendfile", "copy_file_range",
        /* sockets; socket() itself is below */
        "socketpair", "bind", "listen", "connect", "accept", "accept4", "shutdown", "getsockname",
        "getpeername", "getsockopt", "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg",
        "recvmmsg",
        /* files: the store, configuration, models */
        "open", "openat", "openat2", "creat", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs",
        "fstatfs", "access", "faccessat", "faccessat2", "getdents64", "getcwd", "chdir", "fchdir", "mkdir",
        "mkdirat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat",
        "symlink", "readlink", "readlinkat", "chmod", "fchmod", "fchmodat", "umask", "utimensat", "truncate",
        "ftruncate", "fallocate", "fadvise64", "fsync", "fdatasync", "sync_file_range", "flock",
        "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "memfd_create",
        /* memory; mmap and mprotect are below */
        "brk", "munmap", "mremap", "madvise", "msync", "mincore", "mlock", "mlock2", "munlock", "membarrier",
        /* threads and this process */
        "futex", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "gettid", "getpid",
        "getppid", "getpgrp", "getpgid", "getsid", "setsid", "getuid", "geteuid", "getgid", "getegid",
        "getresuid", "getresgid", "getgroups", "capget", "sched_yield", "sched_getaffinity",
        "sched_setaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max",
        "sched_get_priority_min", "getcpu", "getpriority", "getrlimit", "prlimit64", "getrusage", "times",
        "sysinfo", "uname", "arch_prctl", "tgkill", "tkill", "kill", "wait4", "waitid", "exit", "exit_group",
        "getrandom"};

struct privilege_rule {
        const char *call;
        unsigned argument;
        enum scmp_compare compare;
        scmp_datum_t a, b;
};

static const struct privilege_rule privilege_rules[] = {
        {"socket", 0, SCMP_CMP_EQ, AF_UNIX, 0},
        {"socket", 0, SCMP_CMP_EQ, AF_INET, 0},
        {"socket", 0, SCMP_CMP_EQ, AF_INET6, 0},
        {"socket", 0, SCMP_CMP_EQ, AF_NETLINK, 0},
        /* Maps that one was given, never new ones, whatever the kernel's own rule is today. */
        {"bpf", 0, SCMP_CMP_EQ, BPF_MAP_LOOKUP_ELEM, 0},
        {"bpf", 0, SCMP_CMP_EQ, BPF_MAP_UPDATE_ELEM, 0},
        {"bpf", 0, SCMP_CMP_EQ, BPF_MAP_DELETE_ELEM, 0},
        {"bpf", 0, SCMP_CMP_EQ, BPF_MAP_GET_NEXT_KEY, 0},
        {"bpf", 0, SCMP_CMP_EQ, BPF_MAP_LOOKUP_BATCH, 0},
        {"bpf", 0, SCMP_CMP_EQ, BPF_MAP_UPDATE_BATCH, 0},
        {"bpf", 0, SCMP_CMP_EQ, BPF_MAP_LOOKUP_AND_DELETE_ELEM, 0},
        {"bpf", 0, SCMP_CMP_EQ, BPF_OBJ_GET_INFO_BY_FD, 0},
        /* Executable memory only from a file (a library), never from what we wrote. */
        {"mmap", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0},
        {"mmap", 3, SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0},
        {"mprotect", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_SET_NAME, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_GET_NAME, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_SET_PDEATHSIG, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_SET_DUMPABLE, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_GET_DUMPABLE, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_GET_NO_NEW_PRIVS, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_CAPBSET_READ, 0},
        {"prctl", 0, SCMP_CMP_EQ, 0x53564d41 /* PR_SET_VMA: malloc names its arenas */, 0},
        /* Background work may step back, never forward. */
        {"sched_setscheduler", 1, SCMP_CMP_EQ, SCHED_IDLE, 0},
        {"setpriority", 2, SCMP_CMP_EQ, 19, 0},
        {"ioctl", 1, SCMP_CMP_EQ, FIONREAD, 0},
        {"ioctl", 1, SCMP_CMP_EQ, FIONBIO, 0},
        {"ioctl", 1, SCMP_CMP_EQ, FIOCLEX, 0},
        {"ioctl", 1, SCMP_CMP_EQ, TCGETS, 0},
        {"ioctl", 1, SCMP_CMP_EQ, TIOCGWINSZ, 0},
        {"ioctl", 1, SCMP_CMP_EQ, SIOCGIFINDEX, 0},
        {"ioctl", 1, SCMP_CMP_EQ, SIOCGIFNAME, 0},
        /* Threads, not processes. */
        {"clone", 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD},
};

static const char *const privilege_exec_calls[] = {"execve", "execveat", "clone", "vfork", "fork", "setpgid"};

/*
 * The process that fetches feeds (sources/feed_fetch.h), and its children. What TLS, name look-ups in a
 * thread and fork need; libraries of the resolver are opened by it while it runs.
 */
static const char *const privilege_fetch_calls[] = {
        "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "poll", "ppoll", "select", "pselect6",
        "eventfd2", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time",
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "alarm",
        "setitimer", "read", "write", "readv", "writev", "pread64", "lseek", "close", "dup", "fcntl", "pipe",
        "pipe2", "socketpair",
        /* bind: the resolver's netlink socket, which asks which addresses this machine has */
        "bind", "connect", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt", "sendto",
        "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "stat", "fstat", "lstat", "newfstatat",
        "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2", "getdents64", "getcwd", "readlink",
        "readlinkat", "brk", "munmap", "mremap", "madvise", "mincore", "membarrier", "futex",
        "set_robust_list", "rseq", "set_tid_address", "gettid", "getpid", "getppid", "getuid", "geteuid",
        "getgid", "getegid", "getresuid", "getresgid", "sched_yield", "sched_getaffinity", "getcpu",
        "getrlimit", "setrlimit", "prlimit64", "getrusage", "sysinfo", "uname", "arch_prctl", "tgkill",
        "kill", "wait4", "waitid", "exit", "exit_group", "getrandom"};

#define PRIVILEGE_NAMESPACES                                                                                 \
        (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |        \
         CLONE_NEWNET)

static const struct privilege_rule privilege_fetch_rules[] = {
        {"socket", 0, SCMP_CMP_EQ, AF_UNIX, 0},
        {"socket", 0, SCMP_CMP_EQ, AF_INET, 0},
        {"socket", 0, SCMP_CMP_EQ, AF_INET6, 0},
        {"socket", 0, SCMP_CMP_EQ, AF_NETLINK, 0},
        {"open", 1, SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
        {"openat", 2, SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
        {"mmap", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0},
        {"mmap", 3, SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0},
        {"mprotect", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_SET_NAME, 0},
        {"prctl", 0, SCMP_CMP_EQ, PR_SET_PDEATHSIG, 0},
        {"prctl", 0, SCMP_CMP_EQ, 0x53564d41, 0},
        {"ioctl", 1, SCMP_CMP_EQ, FIONREAD, 0},
        {"ioctl", 1, SCMP_CMP_EQ, FIONBIO, 0},
        {"ioctl", 1, SCMP_CMP_EQ, TCGETS, 0},
        {"clone", 0, SCMP_CMP_MASKED_EQ, PRIVILEGE_NAMESPACES, 0},
};

static int privilege_allow(scmp_filter_ctx filter, const char *call, unsigned n, struct scmp_arg_cmp compare)
{
        int number = seccomp_syscall_resolve_name(call);
        /* Not every machine has every call (open, time): one that does not exist needs no rule. */
        if (number == __NR_SCMP_ERROR)
                return 0;
        int rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, n, &compare);
        return rc == -EEXIST || rc == -EDOM ? 0 : rc;
}

static int privilege_filter_fill(scmp_filter_ctx filter, enum dog_seccomp how)
{
        const struct scmp_arg_cmp any = {0};
        int rc = 0;
        bool fetches = how == DOG_SECCOMP_FETCH;
        const char *const *call = fetches ? privilege_fetch_calls : privilege_calls;
        size_t calls = fetches ? ARRAY_SIZE(privilege_fetch_calls) : ARRAY_SIZE(privilege_calls);
        const struct privilege_rule *rule = fetches ? privilege_fetch_rules : privilege_rules;
        size_t rules = fetches ? ARRAY_SIZE(privilege_fetch_rules) : ARRAY_SIZE(privilege_rules);
        for (size_t i = 0; i < calls && rc == 0; i++)
                rc = privilege_allow(filter, call[i], 0, any);
        for (size_t i = 0; i < rules && rc == 0; i++) {
                const struct privilege_rule *r = &rule[i];
                struct scmp_arg_cmp compare = {r->argument, r->compare, r->a, r->b};
                rc = privilege_allow(filter, r->call, 1, compare);
        }
        for (size_t i = 0; i < ARRAY_SIZE(privilege_exec_calls) && rc == 0 && how == DOG_SECCOMP_EXEC; i++)
                rc = privilege_allow(filter, privilege_exec_calls[i], 0, any);
        /* Its flags lie in memory, where a filter cannot look; on ENOSYS the C library takes clone. */
        if (rc == 0)
                rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        return rc;
}

int dog_seccomp_enter(enum dog_seccomp how, struct dog_err *e)
{
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        if (!filter)
                return dog_err_set(e, -ENOMEM, "system call filter: out of memory");
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: the list is long */
        int rc = privilege_filter_fill(filter, how);
        if (rc == 0)
                rc = seccomp_load(filter);
        seccomp_release(filter);
        return rc < 0 ? dog_err_set(e, rc, "system call filter cannot be set: %s", strerror(-rc)) : 0;
}
