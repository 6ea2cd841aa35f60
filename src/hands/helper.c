#include "hands/helper.h"

#include "base/log.h"
#include "hands/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELPER_FD = 3 };

/* Signals as a program finds them: what hands blocks and handles is its own. */
static void helper_signals(void)
{
        static const int back[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGPIPE};
        sigset_t none;
        for (size_t i = 0; i < sizeof(back) / sizeof(back[0]); i++)
                signal(back[i], SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: never returns. */
static void helper_become(const struct dog_hands_helper *h, int fd, pid_t parent)
{
        struct dog_err e = {0};
        helper_signals();
        int rc = dog_privileges_drop(h->user, &e);
        /* After the change of user, which clears it. */
        if (rc == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent))
                rc = dog_err_set(&e, -EPERM, "who started it is gone");
        /* Maps, pins and keys of hands stay with hands. */
        if (rc == 0 && ((fd != HELPER_FD && dup2(fd, HELPER_FD) < 0) ||
                        fcntl(HELPER_FD, F_SETFD, FD_CLOEXEC) < 0 || close_range(HELPER_FD + 1, ~0U, 0) < 0))
                rc = dog_err_set(&e, -errno, "cannot close what is open: %s", strerror(errno));
        if (rc < 0) {
                dog_log(DOG_LOG_ERROR, "helper=%s event=not-started why=\"%s\"", h->name, e.text);
                _exit(1);
        }
        _exit(h->run(HELPER_FD, h->data));
}

int dog_helper_start(const struct dog_hands_helper *h, int *fd, int *pid, struct dog_err *e)
{
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return dog_err_set(e, -errno, "helper %s: no socketpair: %s", h->name, strerror(errno));
        pid_t parent = getpid();
        pid_t child = fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0 ? -1 : fork();
        if (child < 0) {
                int rc = dog_err_set(e, -errno, "helper %s: cannot be started: %s", h->name, strerror(errno));
                close(pair[0]);
                close(pair[1]);
                return rc;
        }
        if (child == 0)
                helper_become(h, pair[1], parent);
        close(pair[1]);
        *fd = pair[0];
        *pid = child;
        return 0;
}
