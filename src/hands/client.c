#include "hands/client.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_WAIT_MS 60000 /* the verifier takes seconds for a large program on a busy machine */

void dog_hands_client_init(struct dog_hands_client *c, int fd)
{
        *c = (struct dog_hands_client){.fd = fd, .next_id = 1};
}

void dog_hands_client_fini(struct dog_hands_client *c)
{
        if (c->fd >= 0)
                close(c->fd);
        c->fd = -1;
        c->is_lost = true;
}

int dog_hands_client_fd(const struct dog_hands_client *c)
{
        return c->fd;
}

struct dog_hands_request dog_hands_request_of(enum dog_hands_op op)
{
        struct dog_hands_request r;
        memset(&r, 0, sizeof(r)); /* padding too: hands refuses anything that is not zero */
        r.version = DOG_HANDS_VERSION;
        r.op = op;
        return r;
}

static int client_lose(struct dog_hands_client *c, int rc, const char *why, struct dog_err *e)
{
        c->is_lost = true;
        return dog_err_set(e, rc, "the privileged process %s; what is forwarded goes on, restart the daemon",
                           why);
}

static int client_wait(struct dog_hands_client *c, struct dog_err *e)
{
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int64_t until_ns = dog_clock_mono_ns() + CLIENT_WAIT_MS * DOG_MS;
        for (;;) {
                int64_t left_ms = (until_ns - dog_clock_mono_ns()) / DOG_MS;
                int n = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
                if (n > 0)
                        return 0;
                if (n == 0)
                        return client_lose(c, -ETIMEDOUT, "does not answer", e);
                if (errno != EINTR)
                        return client_lose(c, -errno, strerror(errno), e);
        }
}

/* One datagram and at most one descriptor; more than one would have been closed by the kernel. */
static ssize_t client_receive(int from, void *buffer, size_t size, int *fd)
{
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec io = {.iov_base = buffer, .iov_len = size};
        struct msghdr m = {
                .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t got;
        *fd = -1;
        do
                got = recvmsg(from, &m, MSG_CMSG_CLOEXEC | MSG_TRUNC);
        while (got < 0 && errno == EINTR);
        const struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&m) : NULL;
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len == CMSG_LEN(sizeof(int)))
                memcpy(fd, CMSG_DATA(c), sizeof(int));
        return got;
}

int dog_hands_call(struct dog_hands_client *c, struct dog_hands_request *request,
                   struct dog_hands_reply *reply, int *fd, struct dog_err *e)
{
        struct dog_hands_reply raw;
        ssize_t n;
        int came = -1;
        memset(reply, 0, sizeof(*reply));
        if (fd)
                *fd = -1;
        if (c->is_lost)
                return dog_err_set(e, -EPIPE, "the privileged process is gone; restart the daemon");
        request->version = DOG_HANDS_VERSION;
        request->id = c->next_id++;
        do
                n = send(c->fd, request, sizeof(*request), MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return client_lose(c, -EPIPE, "is gone", e);
        int rc = client_wait(c, e);
        if (rc < 0)
                return rc;
        n = client_receive(c->fd, &raw, sizeof(raw), &came);
        if (n <= 0)
                return client_lose(c, -EPIPE, "is gone", e);
        rc = dog_hands_reply_read(reply, &raw, (size_t)n, request, e);
        if (rc == 0 && reply->rc < 0)
                rc = dog_err_set(e, reply->rc, "%s", reply->text);
        if (rc == 0 && fd)
                *fd = came;
        else if (came >= 0)
                close(came);
        return rc;
}

int dog_hands_ready(struct dog_hands_client *c, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_READY);
        struct dog_hands_reply r;
        return dog_hands_call(c, &q, &r, NULL, e);
}

int dog_hands_secret(struct dog_hands_client *c, const char *name, uint8_t key[DOG_SECRET_KEY],
                     struct dog_err *e)
{
        struct dog_hands_request ask = dog_hands_request_of(DOG_HANDS_SECRET_OPEN);
        struct dog_hands_reply reply;
        int fd = -1;
        int rc = dog_hands_name_set(ask.as.secret.name, name, e);
        if (rc == 0)
                rc = dog_hands_call(c, &ask, &reply, &fd, e);
        if (rc == 0)
                rc = dog_secret_key_read(key, fd, e);
        if (fd >= 0)
                close(fd);
        return rc;
}
