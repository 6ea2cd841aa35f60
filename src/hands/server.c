#include "hands/server.h"

#include "base/array.h"
#include "base/log.h"
#include "hands/device.h"
#include "hands/kernel.h"
#include "hands/secret.h"
#include "hands/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct dog_hands_server {
        int fd;
        const struct dog_hands_policy *policy;
        struct dog_bpf *bpf;
        bool is_ready;
        int helper[DOG_HANDS_HELPERS]; /* process numbers; 0: not started */
};

/* Over all sessions of this process: a decider that misbehaves is respawned, the count stays. */
static uint64_t server_refused;

int dog_hands_server_new(struct dog_hands_server **out, int fd, const struct dog_hands_policy *policy,
                         const struct dog_hands_object *objects, size_t n_objects, struct dog_err *e)
{
        struct dog_hands_server *s = calloc(1, sizeof(*s));
        if (!s)
                return dog_err_set(e, -ENOMEM, "hands: out of memory");
        int rc = dog_bpf_open(&s->bpf, policy, objects, n_objects, e);
        if (rc < 0) {
                free(s);
                return rc;
        }
        s->fd = fd;
        s->policy = policy;
        *out = s;
        return 0;
}

/* Waited for by this, or by who waits for all (split.c): either way it is known whether it is still there. */
static bool server_helper_lives(const struct dog_hands_server *s, int which)
{
        return s->helper[which] > 0 && waitpid(s->helper[which], NULL, WNOHANG) == 0;
}

void dog_hands_server_free(struct dog_hands_server *s)
{
        if (!s)
                return;
        /* Who they worked for is gone. One that was waited for already has another's number by now. */
        for (int i = 0; i < DOG_HANDS_HELPERS; i++)
                if (server_helper_lives(s, i))
                        kill(s->helper[i], SIGKILL);
        dog_bpf_close(s->bpf);
        free(s);
}

/* ------------------------------------------------------------------------------ operations */

/* What an operation gives back besides the reply. */
struct server_gift {
        int fd;
        bool is_ours; /* borrowed from the session: not closed after sending */
};

typedef int server_op(struct dog_hands_server *s, const struct dog_hands_request *q,
                      struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e);

static int server_ready(struct dog_hands_server *s, const struct dog_hands_request *q,
                        struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)q;
        (void)r;
        (void)gift;
        (void)e;
        s->is_ready = true;
        return 0;
}

static int server_kernel_probe(struct dog_hands_server *s, const struct dog_hands_request *q,
                               struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)q;
        (void)gift;
        r->as.kernel.has = dog_kernel_probe(s->policy->pin_folder);
        dog_kernel_missing(r->as.kernel.has, e->text, sizeof(e->text));
        return 0;
}

static int server_device_make(struct dog_hands_server *s, const struct dog_hands_request *q,
                              struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        struct dog_device d;
        (void)gift;
        int rc = dog_hands_policy_may_use(s->policy, q->as.device.name, DOG_DEVICE_TUNNEL, e);
        if (rc == 0 && q->as.device.address.version != 0)
                rc = dog_hands_policy_may_address(s->policy, &q->as.device.address, e);
        if (rc == 0)
                rc = dog_device_make(&d, &q->as.device, e);
        if (rc < 0)
                return rc;
        r->as.device.index = d.link.index;
        r->as.device.peer_index = d.peer.index;
        r->as.device.mtu = d.link.mtu;
        r->as.device.was_there = d.was_there;
        memcpy(r->as.device.mac, d.link.mac, 6);
        memcpy(r->as.device.peer_mac, d.peer.mac, 6);
        memcpy(r->as.device.peer, d.peer.name, sizeof(d.peer.name));
        return 0;
}

static int server_device_remove(struct dog_hands_server *s, const struct dog_hands_request *q,
                                struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        (void)gift;
        int rc = dog_hands_policy_may_use(s->policy, q->as.device.name, DOG_DEVICE_TUNNEL, e);
        return rc < 0 ? rc : dog_device_remove(q->as.device.name, e);
}

static int server_device_mtu(struct dog_hands_server *s, const struct dog_hands_request *q,
                             struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        (void)gift;
        int rc = dog_hands_policy_may_use(s->policy, q->as.device.name, DOG_DEVICE_TUNNEL, e);
        return rc < 0 ? rc : dog_device_mtu(q->as.device.name, q->as.device.mtu, e);
}

static int server_object_open(struct dog_hands_server *s, const struct dog_hands_request *q,
                              struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)gift;
        return dog_bpf_instance_open(s->bpf, &q->as.object, r, e);
}

static int server_object_forget(struct dog_hands_server *s, const struct dog_hands_request *q,
                                struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        (void)gift;
        return dog_bpf_instance_forget(s->bpf, q->as.object.instance, e);
}

static int server_map_fd(struct dog_hands_server *s, const struct dog_hands_request *q,
                         struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        int fd = dog_bpf_map_fd(s->bpf, &q->as.map, r, e);
        if (fd < 0)
                return fd;
        *gift = (struct server_gift){.fd = fd, .is_ours = true};
        return 0;
}

static int server_program_load(struct dog_hands_server *s, const struct dog_hands_request *q,
                               struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)gift;
        return dog_bpf_program_load(s->bpf, &q->as.program, r, e);
}

static int server_program_drop(struct dog_hands_server *s, const struct dog_hands_request *q,
                               struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        (void)gift;
        return dog_bpf_program_drop(s->bpf, q->as.program.handle, e);
}

static int server_devmap_set(struct dog_hands_server *s, const struct dog_hands_request *q,
                             struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        (void)gift;
        return dog_bpf_devmap_set(s->bpf, &q->as.devmap, e);
}

static int server_xdp_attach(struct dog_hands_server *s, const struct dog_hands_request *q,
                             struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)gift;
        return dog_bpf_attach(s->bpf, &q->as.attach, r, e);
}

static int server_xdp_detach(struct dog_hands_server *s, const struct dog_hands_request *q,
                             struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        (void)gift;
        return dog_bpf_detach(s->bpf, &q->as.attach, e);
}

static int server_tc_attach(struct dog_hands_server *s, const struct dog_hands_request *q,
                            struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)gift;
        return dog_bpf_tc_attach(s->bpf, &q->as.tc, r, e);
}

static int server_tc_detach(struct dog_hands_server *s, const struct dog_hands_request *q,
                            struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        (void)gift;
        return dog_bpf_tc_detach(s->bpf, &q->as.tc, e);
}

static int server_socket_frames(struct dog_hands_server *s, const struct dog_hands_request *q,
                                struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        struct dog_link link;
        int rc = dog_hands_policy_may_use(s->policy, q->as.frames.device, DOG_DEVICE_UNDERLAY, e);
        if (rc == 0)
                rc = dog_link_get(&link, q->as.frames.device, e);
        if (rc < 0)
                return rc;
        int fd = dog_socket_frames(&link, e);
        if (fd < 0)
                return fd;
        r->as.frames.index = link.index;
        memcpy(r->as.frames.mac, link.mac, 6);
        *gift = (struct server_gift){.fd = fd};
        return 0;
}

static int server_socket_ping(struct dog_hands_server *s, const struct dog_hands_request *q,
                              struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        struct dog_link link;
        bool is_raw = false;
        int rc = dog_hands_policy_may_use(s->policy, q->as.ping.device, DOG_DEVICE_UNDERLAY, e);
        if (rc == 0)
                rc = dog_link_get(&link, q->as.ping.device, e);
        if (rc < 0)
                return rc;
        int fd = dog_socket_ping(&link, q->as.ping.version, &is_raw, e);
        if (fd < 0)
                return fd;
        r->as.ping.index = link.index;
        r->as.ping.is_raw = is_raw;
        *gift = (struct server_gift){.fd = fd};
        return 0;
}

static int server_socket_bind(int fd, const struct dog_hands_socket *want, struct dog_hands_reply *r)
{
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)want->port)};
        struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)want->port)};
        memcpy(&six.sin6_addr, want->address.bytes, 16);
        /* Any address means of both families; a certain one is of its own. */
        int on = !IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr);
        memcpy(&four.sin_addr, want->address.bytes, 4);
        bool is_four = want->address.version == 4;
        const void *name = is_four ? (const void *)&four : (const void *)&six;
        socklen_t size = is_four ? sizeof(four) : sizeof(six);
        if (!is_four && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
                return -errno;
        if (want->device[0] &&
            setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, want->device, (socklen_t)strlen(want->device)) < 0)
                return -errno;
        if (bind(fd, name, size) < 0)
                return -errno;
        r->as.socket.port = want->port;
        return 0;
}

static int server_socket_udp(struct dog_hands_server *s, const struct dog_hands_request *q,
                             struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        const struct dog_hands_socket *want = &q->as.socket;
        char text[64];
        int rc = dog_hands_policy_may_bind(s->policy, want->port, e);
        if (rc == 0 && want->device[0])
                rc = dog_hands_policy_may_attach(s->policy, want->device, e);
        if (rc < 0)
                return rc;
        int fd = socket(want->address.version == 4 ? AF_INET : AF_INET6,
                        SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        rc = fd < 0 ? -errno : server_socket_bind(fd, want, r);
        if (rc < 0) {
                if (fd >= 0)
                        close(fd);
                return dog_err_set(e, rc, "cannot bind UDP %s port %u%s%s: %s",
                                   dog_hands_address_text(&want->address, text), want->port,
                                   want->device[0] ? " on " : "", want->device, strerror(-rc));
        }
        *gift = (struct server_gift){.fd = fd};
        return 0;
}

static int server_route_set(struct dog_hands_server *s, const struct dog_hands_request *q,
                            struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        struct dog_link link;
        (void)r;
        (void)gift;
        int rc = dog_hands_policy_may_use(s->policy, q->as.route.device, DOG_DEVICE_TUNNEL, e);
        if (rc == 0)
                rc = dog_hands_policy_may_route(s->policy, &q->as.route.to, e);
        if (rc == 0)
                rc = dog_link_get(&link, q->as.route.device, e);
        return rc < 0 ? rc
                      : dog_route_set(&q->as.route.to, link.index, q->as.route.metric,
                                      q->as.route.is_removed != 0, e);
}

static int server_secret_open(struct dog_hands_server *s, const struct dog_hands_request *q,
                              struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        const char *path = dog_hands_policy_secret_path(s->policy, q->as.secret.name);
        if (!path)
                return dog_err_set(e, -EACCES, "secret %s is not named in the configuration",
                                   q->as.secret.name);
        int fd = dog_secret_open(path, e);
        if (fd < 0)
                return fd;
        *gift = (struct server_gift){.fd = fd};
        return 0;
}

static int server_helper_start(struct dog_hands_server *s, const struct dog_hands_request *q,
                               struct dog_hands_reply *r, struct server_gift *gift, struct dog_err *e)
{
        (void)r;
        int which = dog_hands_policy_helper_of(s->policy, q->as.helper.name);
        if (which < 0)
                return dog_err_set(e, -EACCES, "helper %s: there is none in this configuration",
                                   q->as.helper.name);
        if (server_helper_lives(s, which))
                return dog_err_set(e, -EBUSY, "helper %s: it is running", q->as.helper.name);
        int fd = -1;
        int rc = dog_helper_start(&s->policy->helper[which], &fd, &s->helper[which], e);
        if (rc == 0)
                *gift = (struct server_gift){.fd = fd};
        return rc;
}

static server_op *const server_ops[] = {
        [DOG_HANDS_READY] = server_ready,
        [DOG_HANDS_KERNEL_PROBE] = server_kernel_probe,
        [DOG_HANDS_DEVICE_MAKE] = server_device_make,
        [DOG_HANDS_DEVICE_REMOVE] = server_device_remove,
        [DOG_HANDS_DEVICE_MTU] = server_device_mtu,
        [DOG_HANDS_OBJECT_OPEN] = server_object_open,
        [DOG_HANDS_OBJECT_FORGET] = server_object_forget,
        [DOG_HANDS_MAP_FD] = server_map_fd,
        [DOG_HANDS_PROGRAM_LOAD] = server_program_load,
        [DOG_HANDS_PROGRAM_DROP] = server_program_drop,
        [DOG_HANDS_DEVMAP_SET] = server_devmap_set,
        [DOG_HANDS_XDP_ATTACH] = server_xdp_attach,
        [DOG_HANDS_XDP_DETACH] = server_xdp_detach,
        [DOG_HANDS_TC_ATTACH] = server_tc_attach,
        [DOG_HANDS_TC_DETACH] = server_tc_detach,
        [DOG_HANDS_SOCKET_FRAMES] = server_socket_frames,
        [DOG_HANDS_SOCKET_PING] = server_socket_ping,
        [DOG_HANDS_SOCKET_UDP] = server_socket_udp,
        [DOG_HANDS_ROUTE_SET] = server_route_set,
        [DOG_HANDS_SECRET_OPEN] = server_secret_open,
        [DOG_HANDS_HELPER_START] = server_helper_start,
};
_Static_assert(ARRAY_SIZE(server_ops) == DOG_HANDS_OPS_END, "every operation has its function");

/* ------------------------------------------------------------------------------------ loop */

/* The n-th is told when n is a power of two: a flood of bad requests fills no disk. */
static void server_refuse(const struct dog_err *e)
{
        server_refused++;
        if ((server_refused & (server_refused - 1)) == 0)
                dog_log(DOG_LOG_WARN, "hands event=refused count=%llu why=\"%s\"",
                        (unsigned long long)server_refused, e->text);
}

static bool server_reply(int to, const struct dog_hands_reply *r, int fd)
{
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = {0};
        struct iovec io = {.iov_base = (void *)(uintptr_t)r, .iov_len = sizeof(*r)};
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
        if (fd >= 0) {
                m.msg_control = &control;
                m.msg_controllen = sizeof(control);
                struct cmsghdr *c = CMSG_FIRSTHDR(&m);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &fd, sizeof(int));
        }
        ssize_t n;
        do
                n = sendmsg(to, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        return n == (ssize_t)sizeof(*r);
}

bool dog_hands_server_step(struct dog_hands_server *s)
{
        char raw[sizeof(struct dog_hands_request)];
        struct dog_hands_request q;
        struct dog_hands_reply r = {.version = DOG_HANDS_VERSION};
        struct server_gift gift = {.fd = -1};
        struct dog_err e = {0};
        ssize_t n;
        memset(&q, 0, sizeof(q));
        /* No room for control data: descriptors that someone sends us are closed by the kernel. */
        do
                n = recv(s->fd, raw, sizeof(raw), MSG_TRUNC);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
                return false;
        int rc = dog_hands_request_read(&q, raw, (size_t)n, &e);
        if (rc < 0)
                server_refuse(&e);
        else
                rc = server_ops[q.op](s, &q, &r, &gift, &e);
        r.op = q.op;
        r.id = q.id;
        r.rc = rc;
        r.n_fds = gift.fd >= 0;
        r.refused = server_refused;
        snprintf(r.text, sizeof(r.text), "%.*s", (int)sizeof(r.text) - 1, e.text);
        bool is_sent = server_reply(s->fd, &r, gift.fd);
        if (gift.fd >= 0 && !gift.is_ours)
                close(gift.fd);
        return is_sent;
}

bool dog_hands_server_is_ready(const struct dog_hands_server *s)
{
        return s->is_ready;
}

int dog_hands_serve(int fd, const struct dog_hands_policy *policy, const struct dog_hands_object *objects,
                    size_t n_objects, struct dog_err *e)
{
        struct dog_hands_server *s = NULL;
        int rc = dog_hands_server_new(&s, fd, policy, objects, n_objects, e);
        if (rc < 0)
                return rc;
        while (dog_hands_server_step(s))
                ;
        dog_hands_server_free(s);
        return 0;
}
