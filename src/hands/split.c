#include "hands/split.h"

#include "base/clock.h"
#include "base/log.h"
#include "hands/pin.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPLIT_PAUSE_FIRST_MS 100
#define SPLIT_PAUSE_MOST_MS  30000
#define SPLIT_LONG_LIFE_NS   (60 * DOG_S) /* who lived this long starts with the first pause again */
#define SPLIT_DEAF_MS        1000         /* its socket is closed, it has this long to end by itself */
#define SPLIT_STOP_MS        10000

struct split_run {
        const struct dog_split *split;
        int signal_fd;
        sigset_t old_mask;
        int pid;    /* of the decider; 0: none */
        int status; /* of the last one, as waitpid gives it */
        bool is_stopping;
        bool was_ready; /* some decider has been: the configuration is good */
        int64_t born_ns;
        int64_t stop_ns; /* when we asked it to stop, or its socket closed */
};

int dog_hands_start(struct dog_hands_client *client, int *server_fd, int *pid, struct dog_err *e)
{
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return dog_err_set(e, -errno, "hands: no socketpair: %s", strerror(errno));
        *pid = fork();
        if (*pid < 0) {
                int rc = dog_err_set(e, -errno, "hands: cannot fork: %s", strerror(errno));
                close(pair[0]);
                close(pair[1]);
                return rc;
        }
        close(pair[*pid ? 1 : 0]);
        *server_fd = *pid ? pair[0] : -1;
        if (*pid == 0)
                dog_hands_client_init(client, pair[1]);
        return 0;
}

/* In the child: never returns. */
static void split_decider(struct split_run *r, struct dog_hands_client *client)
{
        struct dog_err e = {0};
        close(r->signal_fd);
        sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
        int rc = dog_privileges_drop(r->split->user, &e);
        /* After the change of user, which clears it. End-of-file says the same; this is for a hung one. */
        if (rc == 0 && prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0)
                rc = dog_err_set(&e, -errno, "prctl: %s", strerror(errno));
        if (rc == 0)
                rc = dog_seccomp_enter(r->split->seccomp, &e);
        if (rc < 0) {
                dog_log(DOG_LOG_ERROR, "decider event=not-started why=\"%s\"", e.text);
                _exit(1);
        }
        /* The socket stays open until the end: who closes it earlier looks as if it hung. */
        _exit(r->split->decider_main(client, r->split->data));
}

/* The decider, and helpers, of whose end the decider hears by itself. */
static void split_reap(struct split_run *r)
{
        int status;
        int pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                if (pid != r->pid)
                        continue;
                r->status = status;
                r->pid = 0;
        }
}

static void split_stop(struct split_run *r)
{
        if (!r->is_stopping)
                r->stop_ns = dog_clock_mono_ns();
        r->is_stopping = true;
        if (r->pid > 0)
                kill(r->pid, SIGTERM);
}

static void split_signals(struct split_run *r)
{
        struct signalfd_siginfo s;
        while (read(r->signal_fd, &s, sizeof(s)) == (ssize_t)sizeof(s)) {
                if (s.ssi_signo == SIGTERM || s.ssi_signo == SIGINT)
                        split_stop(r);
                else if (s.ssi_signo != SIGCHLD && r->pid > 0)
                        kill(r->pid, (int)s.ssi_signo);
        }
        split_reap(r);
}

/* Asked to stop, or deaf to us: first a word, then force. */
static void split_hurry(struct split_run *r)
{
        int64_t since_ns = r->stop_ns ? dog_clock_mono_ns() - r->stop_ns : 0;
        if (r->pid > 0 && since_ns > SPLIT_STOP_MS * DOG_MS)
                kill(r->pid, SIGKILL);
        else if (r->pid > 0 && since_ns > SPLIT_DEAF_MS * DOG_MS)
                kill(r->pid, SIGTERM);
}

/* Serve this decider until it is gone. */
static void split_serve(struct split_run *r, struct dog_hands_server *server, int fd)
{
        struct pollfd p[2] = {{.fd = r->signal_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        while (r->pid > 0) {
                int n = poll(p, 2, r->stop_ns ? 100 : -1);
                if (n < 0 && errno != EINTR)
                        break;
                split_signals(r);
                if (n > 0 && p[1].revents && !dog_hands_server_step(server)) {
                        p[1].fd = -1;
                        if (r->stop_ns == 0)
                                r->stop_ns = dog_clock_mono_ns();
                }
                split_hurry(r);
        }
}

/* One life of the decider. */
static int split_life(struct split_run *r, struct dog_err *e)
{
        struct dog_hands_client client;
        struct dog_hands_server *server;
        int fd;
        int rc = dog_hands_start(&client, &fd, &r->pid, e);
        if (rc < 0)
                return rc;
        if (r->pid == 0)
                split_decider(r, &client);
        r->born_ns = dog_clock_mono_ns();
        r->stop_ns = 0;
        rc = dog_hands_server_new(&server, fd, r->split->policy, r->split->objects, r->split->n_objects, e);
        if (rc < 0) {
                kill(r->pid, SIGKILL);
                waitpid(r->pid, &r->status, 0);
                r->pid = 0;
        } else {
                split_serve(r, server, fd);
                r->was_ready |= dog_hands_server_is_ready(server);
                dog_hands_server_free(server);
        }
        close(fd);
        return rc;
}

/* Wait before the next life; a signal to stop ends the wait. */
static void split_pause(struct split_run *r, int pause_ms)
{
        struct pollfd p = {.fd = r->signal_fd, .events = POLLIN};
        int64_t until_ns = dog_clock_mono_ns() + pause_ms * DOG_MS;
        while (!r->is_stopping) {
                int64_t left_ms = (until_ns - dog_clock_mono_ns()) / DOG_MS;
                if (left_ms <= 0)
                        return;
                (void)poll(&p, 1, (int)left_ms);
                split_signals(r);
        }
}

int dog_split_pause_ms(int last_ms, int64_t lived_ns)
{
        if (last_ms <= 0 || lived_ns > SPLIT_LONG_LIFE_NS)
                return SPLIT_PAUSE_FIRST_MS;
        return last_ms * 2 > SPLIT_PAUSE_MOST_MS ? SPLIT_PAUSE_MOST_MS : last_ms * 2;
}

static int split_lives(struct split_run *r, struct dog_err *e)
{
        int pause_ms = 0;
        for (;;) {
                if (split_life(r, e) < 0)
                        return 1;
                int64_t lived_ns = dog_clock_mono_ns() - r->born_ns;
                bool by_itself = WIFEXITED(r->status);
                if (by_itself && (r->is_stopping || WEXITSTATUS(r->status) == 0))
                        return WEXITSTATUS(r->status);
                if (r->is_stopping)
                        return !by_itself && WTERMSIG(r->status) == SIGTERM ? 0 : 1;
                if (by_itself && !r->was_ready)
                        return WEXITSTATUS(r->status);
                pause_ms = dog_split_pause_ms(pause_ms, lived_ns);
                dog_log(DOG_LOG_ERROR, "decider event=died %s=%d lived_ms=%lld restart_in_ms=%d",
                        by_itself ? "status" : "signal",
                        by_itself ? WEXITSTATUS(r->status) : WTERMSIG(r->status),
                        (long long)(lived_ns / DOG_MS), pause_ms);
                split_pause(r, pause_ms);
                if (r->is_stopping)
                        return 0;
        }
}

int dog_split_run(const struct dog_split *split, struct dog_err *e)
{
        struct split_run r = {.split = split};
        sigset_t mask;
        if (dog_pin_folder_make(split->policy->pin_folder, e) < 0 || dog_privileges_keep_hands(e) < 0)
                return 1;
        sigemptyset(&mask);
        sigaddset(&mask, SIGCHLD);
        sigaddset(&mask, SIGTERM);
        sigaddset(&mask, SIGINT);
        sigaddset(&mask, SIGHUP);
        sigaddset(&mask, SIGUSR1);
        sigaddset(&mask, SIGUSR2);
        sigprocmask(SIG_BLOCK, &mask, &r.old_mask);
        r.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        if (r.signal_fd < 0) {
                dog_err_set(e, -errno, "hands: no signalfd: %s", strerror(errno));
                return 1;
        }
        int status = split_lives(&r, e);
        close(r.signal_fd);
        sigprocmask(SIG_SETMASK, &r.old_mask, NULL);
        return status;
}
