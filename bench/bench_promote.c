/*
 * How long 10,000 connections wait when their server is found dead.
 *
 * Four namespaces: client, front, servers A and B. Every client has asked and A never answers. A is said to
 * be dead. instance.promote_10k_ms           until the last of them has been woken, so that B may speak
 *     instance.promote_10k_cpu_ms       the same, in CPU time of the one who wakes, with all that the frames
 * set off instance.promote_10k_answered_ms  until the last client has read B's answer of 1,000 bytes, which
 * had been written and was held back by the gate on all of them: all four hosts' work on one machine Usage:
 * bench_promote [CONNECTIONS [RUNS]]; root.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/err.h"
#include "figure.h"
#include "hands/split.h"
#include "kinds/instance/front.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROMOTE_MOST   16000
#define PROMOTE_ANSWER 1000        /* bytes */
#define PROMOTE_VIP    0xcb007150u /* 203.0.113.80 */

static int client_netns, client_fd[PROMOTE_MOST], clients;
/* A server is a process of its own: so many descriptors are too many for one. It obeys single letters. */
static struct promote_server {
        int netns, pid, to;
} server[2];
static char pins[64];
static unsigned wanted = 10000;

static void promote_die(const char *what)
{
        fprintf(stderr, "bench_promote: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void promote_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void promote_run(const char *format, ...)
{
        char command[512];
        va_list args;
        va_start(args, format);
        vsnprintf(command, sizeof(command), format, args);
        va_end(args);
        if (system(command) != 0)
                promote_die(command);
}

static int promote_netns(const char *name)
{
        char path[64];
        snprintf(path, sizeof(path), "/run/netns/bp%d%s", getpid(), name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                promote_die(path);
        return fd;
}

static void promote_enter(int netns)
{
        if (setns(netns, CLONE_NEWNET) < 0)
                promote_die("setns");
}

static int promote_stage(void)
{
        int me = getpid();
        for (const char *n = "cgab"; *n; n++)
                promote_run("ip netns add bp%d%c && ip -n bp%d%c link set lo up", me, *n, me, *n);
        for (int i = 0; i < 3; i++)
                promote_run("ip link add %c0 netns bp%d%c type veth peer name v%c netns bp%dg && "
                            "ip -n bp%d%c addr add 10.%d.0.2/24 dev %c0 && ip -n bp%d%c link set %c0 up && "
                            "ip -n bp%dg addr add 10.%d.0.1/24 dev v%c && ip -n bp%dg link set v%c up && "
                            "ip -n bp%d%c route add default via 10.%d.0.1",
                            "cab"[i], me, "cab"[i], "cab"[i], me, me, "cab"[i], i, "cab"[i], me, "cab"[i],
                            "cab"[i], me, i, "cab"[i], me, "cab"[i], me, "cab"[i], i);
        promote_run("ip netns exec bp%dg sysctl -qw net.ipv4.ip_forward=1", me);
        client_netns = promote_netns("c");
        server[0].netns = promote_netns("a");
        server[1].netns = promote_netns("b");
        return promote_netns("g");
}

static void promote_unstage(void)
{
        for (const char *n = "cgab"; *n; n++)
                promote_run("ip netns del bp%d%c", getpid(), *n);
}

/* ---------------------------------------------------------------------------- connections */

static int promote_listen(void)
{
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(80)};
        promote_run("sysctl -qw net.core.somaxconn=32768 net.ipv4.tcp_max_syn_backlog=32768");
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (bind(fd, (const void *)&any, sizeof(any)) < 0 || listen(fd, 32768) < 0)
                promote_die("listen");
        return fd;
}

static void promote_close(int *fd, int n)
{
        struct linger now = {.l_onoff = 1};
        for (int i = 0; i < n; i++) {
                (void)setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
                close(fd[i]);
        }
}

/* "n": how many connections are there? "w": answer all. "c": reset all. Each is answered with their number.
 */
static void promote_serve(int netns, int from)
{
        static int fd[PROMOTE_MOST];
        static const char answer[PROMOTE_ANSWER];
        int n = 0;
        promote_enter(netns);
        int listener = promote_listen();
        struct pollfd p[2] = {{.fd = listener, .events = POLLIN}, {.fd = from, .events = POLLIN}};
        for (char order;;) {
                (void)poll(p, 2, -1);
                for (int got = 0; got >= 0 && n < PROMOTE_MOST;) {
                        got = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                        if (got >= 0)
                                fd[n++] = got;
                }
                if (!p[1].revents)
                        continue;
                if (read(from, &order, 1) != 1)
                        _exit(0);
                for (int i = 0; i < n && order == 'w'; i++)
                        (void)!write(fd[i], answer, sizeof(answer));
                int was = n;
                if (order == 'c') {
                        promote_close(fd, n);
                        n = 0;
                }
                (void)!write(from, &was, sizeof(was));
        }
}

static void promote_server(struct promote_server *s)
{
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                promote_die("socketpair");
        s->to = pair[0];
        s->pid = fork();
        if (s->pid == 0) {
                close(pair[0]);
                promote_serve(s->netns, pair[1]);
        }
        close(pair[1]);
}

static int promote_ask(const struct promote_server *s, char order)
{
        int n = -1;
        if (write(s->to, &order, 1) != 1 || read(s->to, &n, sizeof(n)) != sizeof(n))
                promote_die("a server is gone");
        return n;
}

static void promote_connect(void)
{
        struct sockaddr_in to = {
                .sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(PROMOTE_VIP)};
        char request[64] = "an order";
        promote_enter(client_netns);
        while ((unsigned)clients < wanted) {
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (fd < 0 || connect(fd, (const void *)&to, sizeof(to)) < 0)
                        promote_die("connect");
                (void)!write(fd, request, sizeof(request));
                (void)fcntl(fd, F_SETFL, O_NONBLOCK);
                client_fd[clients++] = fd;
        }
        for (int i = 0; i < 500; i++) {
                if (promote_ask(&server[0], 'n') == clients && promote_ask(&server[1], 'n') == clients)
                        return;
                poll(NULL, 0, 10);
        }
}

/* ------------------------------------------------------------------------------------ front */

static struct dog_hands_client hands;
static struct instance_front *front;
static unsigned woken;

static void promote_woken(void *user, unsigned number, unsigned conns, int64_t took_ns)
{
        (void)user;
        (void)number;
        (void)took_ns;
        woken = conns;
}

static void promote_hands(int pair[2])
{
        static struct dog_hands_policy policy;
        const struct dog_hands_object *objects;
        struct dog_err e = {0};
        dog_hands_policy_init(&policy);
        int rc = dog_hands_policy_folder(&policy, pins, &e);
        for (int i = 0; i < 3 && rc == 0; i++)
                rc = dog_hands_policy_device(&policy, (const char *[]){"vc", "va", "vb"}[i],
                                             DOG_DEVICE_UNDERLAY, &e);
        size_t n = instance_objects(&objects);
        close(pair[0]);
        if (rc == 0)
                rc = dog_hands_serve(pair[1], &policy, objects, n, &e);
        if (rc < 0)
                fprintf(stderr, "bench_promote: %s\n", e.text);
        _exit(rc < 0);
}

static int promote_front(struct dog_err *e)
{
        struct instance_front_settings is = {.device = {"vc", "va", "vb"},
                                             .devices = 3,
                                             .hook = INSTANCE_HOOK_TC,
                                             .hang_ns = UINT64_C(10000000000),
                                             .woken = promote_woken};
        struct instance_vip_settings vip = {
                .name = "vip", .port = 80, .proto = IPPROTO_TCP, .protect = INSTANCE_PROTECT_ALWAYS};
        struct instance_server_settings set = {.port = 80};
        /* All on A, all mirrored on B. */
        struct instance_share share[2] = {{.server = 0, .weight = 1}, {.server = 1, .standby = 1}};
        int rc = dog_hands_address_parse(&vip.address, "203.0.113.80", e);
        if (rc == 0)
                rc = instance_front_open(&front, &is, &hands, e);
        if (rc == 0)
                rc = instance_front_vip_set(front, 0, &vip, e);
        for (unsigned i = 0; i < 2 && rc == 0; i++) {
                char address[16];
                snprintf(address, sizeof(address), "10.%u.0.2", i + 1);
                (void)dog_hands_address_parse(&set.address, address, e);
                set.name = i ? "b" : "a";
                set.device = i ? "vb" : "va";
                rc = instance_front_server_set(front, i, &set, 2000, e);
        }
        if (rc == 0)
                rc = instance_front_table_set(front, 0, share, 2, e);
        return rc < 0 ? rc : instance_front_commit(front, e);
}

struct promote_count {
        unsigned protected, promoted;
};

static bool promote_visit(void *user, const struct instance_flow *flow, const struct instance_conn *c)
{
        struct promote_count *count = user;
        (void)flow;
        if (c->flags & INSTANCE_CONN_PROMOTED)
                count->promoted++;
        else if (!(c->flags & (INSTANCE_CONN_ALONE | INSTANCE_CONN_CLOSED)))
                count->protected ++;
        return true;
}

static struct promote_count promote_counted(void)
{
        struct promote_count count = {0};
        (void)instance_front_conns(front, promote_visit, &count);
        return count;
}

/* ------------------------------------------------------------------------------------- one */

/* Until every client has read its whole answer. */
static int64_t promote_answers(int64_t begun_ns)
{
        char bytes[PROMOTE_ANSWER];
        unsigned left = (unsigned)clients;
        size_t *got = calloc((size_t)clients, sizeof(*got));
        while (left > 0 && dog_clock_mono_ns() - begun_ns < 5 * DOG_S)
                for (int i = 0; i < clients; i++) {
                        if (got[i] >= PROMOTE_ANSWER)
                                continue;
                        ssize_t n = read(client_fd[i], bytes, sizeof(bytes));
                        got[i] += n > 0 ? (size_t)n : 0;
                        left -= n > 0 && got[i] >= PROMOTE_ANSWER;
                }
        free(got);
        return left ? -1 : dog_clock_mono_ns() - begun_ns;
}

/*
 * Idle: the answers are written when all have been woken, and must pass by themselves.
 * Waiting: they are written before, and may not be sent until A is found dead.
 */
static bool promote_once(bool is_waiting, double *ms, double *cpu_ms)
{
        promote_connect();
        struct promote_count before = promote_counted();
        if (is_waiting)
                (void)promote_ask(&server[1], 'w');
        int64_t cpu_ns = dog_clock_cpu_ns();
        int64_t begun_ns = dog_clock_mono_ns();
        instance_front_dead(front, 0, begun_ns);
        while (instance_front_on_timer(front, dog_clock_mono_ns()) <= dog_clock_mono_ns())
                ;
        int64_t sent_ns = dog_clock_mono_ns() - begun_ns;
        cpu_ns = dog_clock_cpu_ns() - cpu_ns;
        if (!is_waiting)
                (void)promote_ask(&server[1], 'w');
        int64_t all_ns = promote_answers(begun_ns);
        struct promote_count after = promote_counted();
        fprintf(stderr,
                "%s: %u protected, %u woken in %.1f ms (%.1f of CPU), %u promoted, answered in %.1f ms\n",
                is_waiting ? "waiting" : "idle", before.protected, woken, (double)sent_ns / (double)DOG_MS,
                (double)cpu_ns / (double)DOG_MS, after.promoted, (double)all_ns / (double)DOG_MS);
        *cpu_ms = (double)cpu_ns / (double)DOG_MS;
        *ms = (double)(is_waiting ? all_ns : sent_ns) / (double)DOG_MS;
        instance_front_back(front, 0);
        promote_close(client_fd, clients);
        clients = 0;
        (void)promote_ask(&server[0], 'c');
        (void)promote_ask(&server[1], 'c');
        /* Resets are forgotten after a second. */
        for (int64_t until_ns = dog_clock_mono_ns() + 3 * DOG_S; dog_clock_mono_ns() < until_ns;) {
                (void)instance_front_on_timer(front, dog_clock_mono_ns());
                poll(NULL, 0, 5);
        }
        return before.protected == wanted && after.promoted == wanted && all_ns > 0 &&
               (is_waiting || woken == wanted);
}

int main(int argc, char **argv)
{
        struct rlimit files;
        double woken_ms[16], answered_ms[16], cpu_ms[16], unused;
        struct dog_err e = {0};
        int pair[2], runs = argc > 2 ? atoi(argv[2]) : 5, done = 0;
        if (argc > 1)
                wanted = (unsigned)atoi(argv[1]);
        if (geteuid() != 0) {
                figure_null("instance.promote_10k_ms", "ms", "needs root");
                return 0;
        }
        if (wanted == 0 || wanted > PROMOTE_MOST || runs < 1 || runs > 16) {
                fprintf(stderr, "usage: bench_promote [CONNECTIONS [RUNS]], at most %d and 16\n",
                        PROMOTE_MOST);
                return 2;
        }
        (void)getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        snprintf(pins, sizeof(pins), "/sys/fs/bpf/bench-promote-%d", getpid());
        int gateway = promote_stage();
        promote_server(&server[0]);
        promote_server(&server[1]);
        promote_enter(client_netns);
        promote_run("sysctl -qw net.ipv4.ip_local_port_range='1024 60000'");
        promote_enter(gateway);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                promote_die("socketpair");
        int child = fork();
        if (child == 0)
                promote_hands(pair);
        close(pair[1]);
        dog_hands_client_init(&hands, pair[0]);
        int rc = promote_front(&e);
        if (rc < 0)
                fprintf(stderr, "bench_promote: %s\n", e.text);
        for (int r = 0; r < runs && rc == 0; r++)
                done += promote_once(false, &woken_ms[done], &cpu_ms[done]) &&
                        promote_once(true, &answered_ms[done], &unused);
        if (front)
                (void)instance_front_remove(front, NULL);
        dog_hands_client_fini(&hands);
        for (int i = 0; i < 2; i++) {
                kill(server[i].pid, SIGKILL);
                waitpid(server[i].pid, NULL, 0);
        }
        waitpid(child, NULL, 0);
        promote_unstage();
        (void)rmdir(pins);
        if (done < runs) {
                figure_null("instance.promote_10k_ms", "ms",
                            "not every connection was protected and promoted");
                return 1;
        }
        figure_print(wanted == 10000 ? "instance.promote_10k_ms" : "instance.promote_ms", "ms", woken_ms,
                     (size_t)done);
        figure_print(wanted == 10000 ? "instance.promote_10k_cpu_ms" : "instance.promote_cpu_ms", "ms",
                     cpu_ms, (size_t)done);
        figure_print(wanted == 10000 ? "instance.promote_10k_answered_ms" : "instance.promote_answered_ms",
                     "ms", answered_ms, (size_t)done);
        return 0;
}
