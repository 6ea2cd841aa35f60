#include "sources/stamp_socket.h"

#include "base/array.h"
#include "base/clock.h"
#include "sources/stamp.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

int dog_stamp_socket_prepare(int fd, struct dog_err *e)
{
        int family = 0;
        socklen_t size = sizeof(family);
        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0)
                return dog_err_set(e, -errno, "STAMP: descriptor %d is not a socket: %s", fd,
                                   strerror(errno));
        bool is_ipv6 = family == AF_INET6;
        const struct {
                int level, option;
                const char *what;
                bool is_wanted;
        } row[] = {
                {SOL_SOCKET, SO_TIMESTAMPNS, "arrival times", true},
                {IPPROTO_IP, IP_RECVTTL, "TTL", !is_ipv6},
                {IPPROTO_IP, IP_PKTINFO, "local addresses", !is_ipv6},
                {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, "hop limits", is_ipv6},
                {IPPROTO_IPV6, IPV6_RECVPKTINFO, "local addresses", is_ipv6},
        };
        static const int on = 1;
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                if (row[i].is_wanted && setsockopt(fd, row[i].level, row[i].option, &on, sizeof(on)) < 0)
                        return dog_err_set(e, -errno,
                                           "STAMP: the kernel does not tell %s on descriptor %d: %s",
                                           row[i].what, fd, strerror(errno));
        }
        return 0;
}

union socket_control {
        char room[256];
        struct cmsghdr align;
};

static void socket_note(struct stamp_arrival *a, struct cmsghdr *c)
{
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
                struct timespec t;
                memcpy(&t, CMSG_DATA(c), sizeof(t));
                a->wall_ns = (int64_t)t.tv_sec * DOG_S + t.tv_nsec;
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
                   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
                int ttl;
                memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
                a->ttl = (uint8_t)ttl;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
                memcpy(&a->local4, CMSG_DATA(c), sizeof(a->local4));
                a->has_local4 = true;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
                memcpy(&a->local6, CMSG_DATA(c), sizeof(a->local6));
                a->has_local6 = true;
        }
}

bool stamp_receive(int fd, uint8_t *to, size_t room, struct stamp_arrival *a)
{
        union socket_control control;
        struct iovec iov = {.iov_base = to, .iov_len = room};
        *a = (struct stamp_arrival){.ttl = STAMP_TTL_UNKNOWN};
        struct msghdr m = {
                .msg_name = &a->from,
                .msg_namelen = sizeof(a->from),
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t n;
        /* A refused port is told once through the socket, in place of a packet: look again. */
        for (int attempt = 0; (n = recvmsg(fd, &m, MSG_DONTWAIT)) < 0; attempt++) {
                if (attempt == 4 || (errno != EINTR && errno != ECONNREFUSED && errno != EHOSTUNREACH &&
                                     errno != ENETUNREACH))
                        return false;
        }
        a->size = (size_t)n;
        a->is_cut = (m.msg_flags & MSG_TRUNC) != 0;
        a->from_size = m.msg_namelen;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
                socket_note(a, c);
        return true;
}

ssize_t stamp_answer(int fd, const void *packet, size_t size, const struct stamp_arrival *a)
{
        union socket_control control = {0};
        struct sockaddr_storage to = a->from;
        /* The cursor's union drops const for us: sendmsg does not write what it sends. */
        struct dog_bytes out = dog_bytes_in(packet, size);
        struct iovec iov = {.iov_base = out.data, .iov_len = size};
        struct msghdr m = {
                .msg_name = &to,
                .msg_namelen = a->from_size,
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
        };
        struct cmsghdr *c = &control.align;
        if (a->has_local4) {
                struct in_pktinfo info = {.ipi_spec_dst = a->local4.ipi_addr};
                *c = (struct cmsghdr){CMSG_LEN(sizeof(info)), IPPROTO_IP, IP_PKTINFO};
                memcpy(CMSG_DATA(c), &info, sizeof(info));
                m.msg_controllen = CMSG_SPACE(sizeof(info));
        } else if (a->has_local6) {
                *c = (struct cmsghdr){CMSG_LEN(sizeof(a->local6)), IPPROTO_IPV6, IPV6_PKTINFO};
                memcpy(CMSG_DATA(c), &a->local6, sizeof(a->local6));
                m.msg_controllen = CMSG_SPACE(sizeof(a->local6));
        } else {
                m.msg_control = NULL;
        }
        return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}
