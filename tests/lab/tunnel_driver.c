/*
 * Opens tunnels from its arguments (each --device begins one), as the daemon will from its configuration, and
 * then obeys lines on standard input, one answer line each. For the labs.
 *
 *     tunnel_driver --pins FOLDER --netns NAME --device sd0 --address 10.9.0.1/30 --number 1
 *         --far 2 --port 4754 --key FILE --path fiber,eth0,192.0.2.1,192.0.2.2 --path ...
 *
 *     tunnel N | steer CLASS SUBSET | read | class CLASS | refresh PATH | learn PATH | accept EPOCH | send
 * EPOCH | drop PATH | pid | privileges | remove | quit
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "hands/secret.h"
#include "hands/split.h"
#include "kinds/path/tunnel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One tunnel of the arguments; --device begins the next. */
struct driver_tunnel {
        struct path_tunnel_settings is;
        struct path_tunnel_path path[PATH_PATHS_MAX];
        unsigned n_paths;
        const char *key;
        struct path_tunnel *open;
};

struct driver {
        struct dog_hands_policy policy;
        struct path_host_settings host_is;
        uint32_t subset;
        const char *user;
        int wait_ms;     /* for ARP */
        bool is_patient; /* a path that cannot be used yet is no error */
        int64_t until_ns;
        struct dog_hands_client *hands;
        struct path_host *host;
        struct driver_tunnel tunnel[4];
        unsigned n_tunnels;
        struct driver_tunnel *on; /* the one that arguments and commands are about */
};

/* ------------------------------------------------------------------------------- arguments */

static int driver_fail(const struct dog_err *e)
{
        fprintf(stderr, "%s\n", e->text);
        return 2;
}

/* name,device,local,remote[,port]; local or remote may be "-". Cuts `text` up. */
static int driver_path_parse(struct driver *d, char *text, struct dog_err *e)
{
        char *field[5] = {0}, *rest = text;
        unsigned n = 0;
        int rc = 0;
        while (n < 5 && rest)
                field[n++] = strsep(&rest, ",");
        if (n < 4 || d->on->n_paths == PATH_PATHS_MAX)
                return dog_err_set(e, -EINVAL,
                                   "--path takes name,device,local,remote[,port], at most %d times",
                                   PATH_PATHS_MAX);
        struct path_tunnel_path *p = &d->on->path[d->on->n_paths++];
        p->name = field[0];
        p->device = field[1];
        p->remote_port = field[4] ? (uint16_t)atoi(field[4]) : 0;
        if (strcmp(field[2], "-") != 0)
                rc = dog_hands_address_parse(&p->local, field[2], e);
        if (rc == 0 && strcmp(field[3], "-") != 0)
                rc = dog_hands_address_parse(&p->remote, field[3], e);
        if (rc == 0)
                rc = dog_hands_policy_device(&d->policy, field[1], DOG_DEVICE_UNDERLAY, e);
        return rc;
}

static int driver_netns(const char *name, struct dog_err *e)
{
        char path[128];
        snprintf(path, sizeof(path), "/run/netns/%s", name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
                return dog_err_set(e, -errno, "namespace %s: %s", name, strerror(errno));
        close(fd);
        return 0;
}

static int driver_option(struct driver *d, int option, char *value, struct dog_err *e)
{
        switch (option) {
        case 'P':
                return dog_hands_policy_folder(&d->policy, value, e);
        case 'n':
                return driver_netns(value, e);
        case 'd':
                if (d->n_tunnels == 4)
                        return dog_err_set(e, -ENOSPC, "more than four tunnels");
                d->on = &d->tunnel[d->n_tunnels++];
                d->on->is.device = value;
                return dog_hands_policy_device(&d->policy, value, DOG_DEVICE_TUNNEL, e);
        case 'a':
                if (dog_hands_address_parse(&d->on->is.address, value, e) < 0)
                        return -EINVAL;
                return dog_hands_policy_prefix(&d->policy, &d->on->is.address, e);
        case 'N':
                d->on->is.number = (uint16_t)atoi(value);
                return 0;
        case 'f':
                d->on->is.far_number = (uint16_t)atoi(value);
                return 0;
        case 'p':
                d->host_is.port = (uint16_t)atoi(value);
                return dog_hands_policy_port(&d->policy, d->host_is.port, d->host_is.port, e);
        case 'k':
                d->on->key = d->on->is.device;
                return dog_hands_policy_secret(&d->policy, d->on->key, value, e);
        case 'w':
                return driver_path_parse(d, value, e);
        case 's':
                d->subset = (uint32_t)atoi(value);
                return 0;
        case 'm':
                d->host_is.mode = (uint32_t)atoi(value);
                return 0;
        case 'W':
                d->host_is.window = (uint32_t)atoi(value);
                return 0;
        case 'c':
                d->host_is.classes = (uint32_t)atoi(value);
                return 0;
        case 'q':
                d->is_patient = true;
                d->wait_ms = atoi(value);
                return 0;
        case 'u':
                d->user = value;
                return 0;
        case 't':
                d->until_ns = dog_clock_mono_ns() + atoi(value) * DOG_S;
                return 0;
        default:
                return dog_err_set(e, -EINVAL, "unknown option");
        }
}

/* ---------------------------------------------------------------------------------- decider */

static int driver_tunnel_open(struct driver *d, struct dog_err *e)
{
        struct driver_tunnel *t = d->on;
        struct path_tunnel_class class = {.subset = d->subset, .sample_mask = 15};
        int rc = path_tunnel_open(&t->open, d->host, &t->is, e);
        for (unsigned p = 0; p < t->n_paths && rc == 0; p++) {
                rc = path_tunnel_path_set(t->open, p, &t->path[p], d->wait_ms, e);
                if (rc < 0 && d->is_patient) {
                        printf("note %s\n", e->text);
                        rc = 0;
                        continue;
                }
                if (rc == 0 && path_tunnel_path_state(t->open, p)->device.note[0])
                        printf("note %s\n", path_tunnel_path_state(t->open, p)->device.note);
        }
        /* A restarted decider keeps what it was steering; a fresh one begins with --subset. */
        if (rc == 0 && path_tunnel_subset(t->open, 0))
                class.subset = path_tunnel_subset(t->open, 0);
        if (rc == 0 && class.subset != 0)
                rc = path_tunnel_class_set(t->open, 0, &class, e);
        if (rc == 0)
                rc = path_tunnel_rules_set(t->open, NULL, 0, 0, e);
        if (rc == 0 && t->key)
                rc = path_tunnel_key_load(t->open, t->key, e);
        return rc;
}

static int driver_open(struct driver *d, struct dog_err *e)
{
        struct path_host_device became = {0};
        uint32_t adopted;
        int rc = path_host_open(&d->host, d->hands, &d->host_is, e);
        for (unsigned i = 0; i < d->n_tunnels && rc == 0; i++) {
                d->on = &d->tunnel[i];
                rc = driver_tunnel_open(d, e);
        }
        for (unsigned i = 0; i < d->n_tunnels && rc == 0; i++)
                rc = path_tunnel_commit(d->tunnel[i].open, &became, e);
        if (rc == 0)
                rc = dog_hands_ready(d->hands, e);
        if (rc < 0)
                return rc;
        d->on = &d->tunnel[0];
        adopted = path_tunnel_adopted(d->on->open) + path_host_adopted(d->host);
        if (became.note[0])
                printf("note %s\n", became.note);
        printf("ready pid=%d adopted=%u mtu=%u mode=%u subset=%u\n", getpid(), adopted,
               path_tunnel_mtu(d->on->open), became.mode, path_tunnel_subset(d->on->open, 0));
        return 0;
}

static int driver_read(struct driver *d, struct dog_err *e)
{
        struct path_tunnel_counters c;
        path_tunnel_interval(d->on->open);
        int rc = path_tunnel_read(d->on->open, &c, e);
        if (rc < 0)
                return rc;
        for (unsigned p = 0; p < d->on->n_paths; p++)
                printf("path%u sent=%llu first=%llu duplicate=%llu stale=%llu bad_tag=%llu delays=%u ", p,
                       (unsigned long long)c.path[p].sent_packets, (unsigned long long)c.path[p].first,
                       (unsigned long long)c.path[p].rx.duplicate, (unsigned long long)c.path[p].rx.stale,
                       (unsigned long long)c.path[p].rx.bad_tag, c.path[p].rx.delay[0].count);
        for (unsigned w = 0; w < PATH_DROP_COUNT; w++)
                if (c.drops[w])
                        printf("[%s]=%llu ", path_drop_text((enum path_drop)w),
                               (unsigned long long)c.drops[w]);
        printf("\n");
        return 0;
}

static int driver_class(struct driver *d, unsigned class, struct dog_err *e)
{
        struct path_tunnel_class_counters c;
        int rc = path_tunnel_class_read(d->on->open, class, &c, e);
        if (rc == 0)
                printf("class%u tx=%llu copies=%llu rx=%llu next=%llu\n", class,
                       (unsigned long long)c.tx.packets, (unsigned long long)c.tx.copies,
                       (unsigned long long)c.rx.packets, (unsigned long long)c.next);
        return rc;
}

/* What a decider that was taken over would try first. */
static int driver_privileges(struct driver *d, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_DEVICE_REMOVE);
        struct dog_hands_reply r;
        int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "mine", 4, 4, 1, NULL);
        int map_errno = errno;
        int packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
        int packet_errno = errno;
        int root = setuid(0);
        int file = open("/etc/shadow", O_RDONLY | O_CLOEXEC);
        execl("/bin/true", "true", (char *)NULL);
        int exec_errno = errno;
        dog_hands_name_set(q.as.device.name, "lo", NULL);
        int lo = dog_hands_call(d->hands, &q, &r, NULL, e);
        printf("map=%d/%d packet=%d/%d root=%d shadow=%d exec=%d lo=%d uid=%d\n", map, map_errno, packet,
               packet_errno, root, file, exec_errno, lo, getuid());
        return 0;
}

/* Ten thousand requests that are none, past our own client; hands must answer each and live. */
static int driver_garbage(struct driver *d, struct dog_err *e)
{
        struct dog_hands_request q;
        struct dog_hands_reply r;
        struct dog_rng rng;
        unsigned answered = 0, accepted = 0;
        dog_rng_init(&rng, 1);
        for (unsigned i = 0; i < 10000; i++) {
                size_t size = i % 3 ? sizeof(q) : 1 + dog_rng_below(&rng, sizeof(q) - 1);
                uint64_t *word = (uint64_t *)(void *)&q;
                for (size_t w = 0; w < sizeof(q) / sizeof(*word); w++)
                        word[w] = dog_rng_u64(&rng);
                if (i % 2)
                        q.version = DOG_HANDS_VERSION;
                if (i % 5)
                        q.op = 1 + (uint32_t)dog_rng_below(&rng, DOG_HANDS_OPS_END - 1);
                if (send(d->hands->fd, &q, size, MSG_NOSIGNAL) < 0 ||
                    recv(d->hands->fd, &r, sizeof(r), 0) <= 0)
                        return dog_err_set(e, -EPIPE, "hands is gone after %u", i);
                answered++;
                accepted += r.rc == 0;
        }
        q = dog_hands_request_of(DOG_HANDS_KERNEL_PROBE);
        int rc = dog_hands_call(d->hands, &q, &r, NULL, e);
        if (rc == 0)
                printf("answered=%u accepted=%u refused=%llu has=%u missing=\"%s\"\n", answered, accepted,
                       (unsigned long long)r.refused, r.as.kernel.has, r.text);
        return rc;
}

/* What else a decider that was taken over might ask: all memory, somebody else's network. */
static int driver_greed(struct driver *d, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_OBJECT_OPEN);
        struct dog_hands_reply r;
        dog_hands_name_set(q.as.object.object, "path_eliminate", NULL);
        dog_hands_name_set(q.as.object.instance, "greedy", NULL);
        q.as.object.n_sizes = 1;
        dog_hands_name_set(q.as.object.size[0].map, "path_slots", NULL);
        q.as.object.size[0].entries = UINT32_MAX;
        int memory = dog_hands_call(d->hands, &q, &r, NULL, e);
        q = dog_hands_request_of(DOG_HANDS_DEVICE_MAKE);
        dog_hands_name_set(q.as.device.name, d->on->is.device, NULL);
        q.as.device.address = d->on->is.address;
        q.as.device.address.prefix = 0;
        int network = dog_hands_call(d->hands, &q, &r, NULL, NULL);
        q = dog_hands_request_of(DOG_HANDS_ROUTE_SET);
        dog_hands_name_set(q.as.route.device, d->on->is.device, NULL);
        dog_hands_address_parse(&q.as.route.to, "0.0.0.0/0", NULL);
        int route = dog_hands_call(d->hands, &q, &r, NULL, NULL);
        q = dog_hands_request_of(DOG_HANDS_SOCKET_UDP);
        dog_hands_address_parse(&q.as.socket.address, "0.0.0.0", NULL);
        q.as.socket.port = 53;
        int port = dog_hands_call(d->hands, &q, &r, NULL, NULL);
        q = dog_hands_request_of(DOG_HANDS_MAP_FD);
        dog_hands_name_set(q.as.map.instance, PATH_HOST_INSTANCE, NULL);
        dog_hands_name_set(q.as.map.map, "path_out", NULL);
        int map = dog_hands_call(d->hands, &q, &r, NULL, NULL);
        printf("memory=%d network=%d route=%d port=%d devices=%d %s\n", memory, network, route, port, map,
               e->text);
        return 0;
}

/* Rotation in its two steps: "accept" at both ends, then "send" at each. */
static int driver_rotate(struct driver *d, uint8_t epoch, bool is_send, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_SECRET_OPEN);
        struct dog_hands_reply r;
        uint8_t key[DOG_SECRET_KEY];
        int fd;
        dog_hands_name_set(q.as.secret.name, d->on->key, NULL);
        int rc = dog_hands_call(d->hands, &q, &r, &fd, e);
        if (rc < 0)
                return rc;
        rc = dog_secret_key_read(key, fd, e);
        close(fd);
        if (rc == 0)
                rc = (is_send ? path_tunnel_key_send : path_tunnel_key_accept)(d->on->open, key, epoch, e);
        if (rc == 0)
                printf("%s %u\n", is_send ? "sending" : "accepting", epoch);
        return rc;
}

/* 1: go on, 0: leave. Errors are told and do not end it. */
static int driver_obey(struct driver *d, const char *line)
{
        struct dog_err e = {0};
        unsigned a = 0, b = 0;
        int rc = 0;
        if (sscanf(line, "steer %u %u", &a, &b) == 2) {
                rc = path_tunnel_steer(d->on->open, a, b, &e);
                if (rc == 0)
                        printf("steered %u\n", path_tunnel_subset(d->on->open, a));
        } else if (strcmp(line, "read") == 0) {
                rc = driver_read(d, &e);
        } else if (sscanf(line, "class %u", &a) == 1) {
                rc = driver_class(d, a, &e);
        } else if (sscanf(line, "refresh %u", &a) == 1) {
                rc = path_tunnel_path_refresh(d->on->open, a, 1000, &e);
                if (rc >= 0)
                        printf("refreshed %d mtu=%u\n", rc, path_tunnel_mtu(d->on->open));
        } else if (sscanf(line, "learn %u", &a) == 1) {
                rc = path_tunnel_learn(d->on->open, a, 1000, &e);
                if (rc >= 0)
                        printf("learned %d\n", rc);
        } else if (sscanf(line, "accept %u", &a) == 1) {
                rc = driver_rotate(d, (uint8_t)a, false, &e);
        } else if (sscanf(line, "send %u", &a) == 1) {
                rc = driver_rotate(d, (uint8_t)a, true, &e);
        } else if (sscanf(line, "drop %u", &a) == 1) {
                rc = path_tunnel_path_remove(d->on->open, a, &e);
                if (rc == 0)
                        printf("dropped %u\n", a);
        } else if (strcmp(line, "privileges") == 0) {
                rc = driver_privileges(d, &e);
        } else if (strcmp(line, "remove") == 0) {
                rc = path_tunnel_remove(d->on->open, &e);
                d->on->open = NULL;
                if (rc == 0)
                        printf("removed\n");
        } else if (sscanf(line, "tunnel %u", &a) == 1 && a < d->n_tunnels) {
                d->on = &d->tunnel[a];
                printf("tunnel %s\n", d->on->is.device);
        } else if (strcmp(line, "garbage") == 0) {
                rc = driver_garbage(d, &e);
        } else if (strcmp(line, "greed") == 0) {
                rc = driver_greed(d, &e);
        } else if (strcmp(line, "pid") == 0) {
                printf("pid %d hands %d\n", getpid(), getppid());
        } else if (strcmp(line, "quit") == 0) {
                printf("bye\n");
                return 0;
        } else {
                printf("unknown: %s\n", line);
        }
        if (rc < 0)
                printf("error %s\n", e.text);
        return 1;
}

static int driver_loop(struct driver *d)
{
        struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                              {.fd = dog_hands_client_fd(d->hands), .events = POLLIN}};
        char line[256];
        for (;;) {
                fflush(stdout);
                int64_t left_ms = (d->until_ns - dog_clock_mono_ns()) / DOG_MS;
                if (left_ms <= 0)
                        return 0;
                (void)poll(p, 2, (int)left_ms);
                if (p[1].revents) {
                        dog_log(DOG_LOG_WARN, "decider event=hands-gone");
                        return 1;
                }
                if (!p[0].revents)
                        continue;
                /* One byte at a time: what is left in the pipe belongs to the next decider. */
                size_t n = 0;
                while (n < sizeof(line) - 1 && read(STDIN_FILENO, line + n, 1) == 1 && line[n] != '\n')
                        n++;
                line[n] = 0;
                if (n == 0 && p[0].revents & POLLHUP)
                        return 0;
                if (n > 0 && !driver_obey(d, line))
                        return 0;
        }
}

static int driver_decider(struct dog_hands_client *hands, void *data)
{
        struct driver *d = data;
        struct dog_err e = {0};
        d->hands = hands;
        int status = 0;
        if (driver_open(d, &e) < 0) {
                printf("error %s\n", e.text);
                status = 1;
        } else {
                status = driver_loop(d);
        }
        fflush(stdout);
        for (unsigned i = 0; i < d->n_tunnels; i++)
                path_tunnel_close(d->tunnel[i].open);
        path_host_close(d->host);
        return status;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"pins", 1, NULL, 'P'},
                {"netns", 1, NULL, 'n'},
                {"device", 1, NULL, 'd'},
                {"address", 1, NULL, 'a'},
                {"number", 1, NULL, 'N'},
                {"far", 1, NULL, 'f'},
                {"port", 1, NULL, 'p'},
                {"key", 1, NULL, 'k'},
                {"path", 1, NULL, 'w'},
                {"subset", 1, NULL, 's'},
                {"mode", 1, NULL, 'm'},
                {"user", 1, NULL, 'u'},
                {"seconds", 1, NULL, 't'},
                {"window", 1, NULL, 'W'},
                {"patient", 1, NULL, 'q'},
                {"classes", 1, NULL, 'c'},
                {0},
        };
        static struct driver d;
        struct dog_err e = {0};
        int option;
        d.on = &d.tunnel[0];
        dog_hands_policy_init(&d.policy);
        d.subset = 1;
        d.wait_ms = 2000;
        d.until_ns = dog_clock_mono_ns() + 120 * DOG_S;
        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (driver_option(&d, option, optarg, &e) < 0)
                        return driver_fail(&e);
        if (d.n_tunnels == 0 || d.on->n_paths == 0)
                return driver_fail(&(struct dog_err){"--device and at least one --path are needed"});
        struct dog_split split = {
                .policy = &d.policy, .user = d.user, .decider_main = driver_decider, .data = &d};
        split.n_objects = path_objects(&split.objects);
        int status = dog_split_run(&split, &e);
        if (e.text[0])
                fprintf(stderr, "%s\n", e.text);
        return status;
}
