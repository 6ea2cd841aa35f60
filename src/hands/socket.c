#include "hands/socket.h"

#include "base/array.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/if_packet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whoever gets the socket could bind it anew and listen to everything: the filter is locked first. */
static int socket_deafen(int fd)
{
        struct sock_filter nothing[] = {{.code = BPF_RET | BPF_K, .k = 0}};
        struct sock_fprog filter = {.len = ARRAY_SIZE(nothing), .filter = nothing};
        int on = 1;
        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0)
                return -errno;
        return 0;
}

static int socket_frames_prepare(int fd, const struct dog_link *link)
{
        struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_ifindex = (int)link->index};
        int on = 1, room = 4 << 20;
        int rc = socket_deafen(fd);
        if (rc < 0)
                return rc;
        if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0)
                return -errno;
        /* Room for a batch; less only makes it wait more often. */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
        return bind(fd, (const void *)&name, sizeof(name)) < 0 ? -errno : 0;
}

int dog_socket_frames(const struct dog_link *link, struct dog_err *e)
{
        int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int rc = fd < 0 ? -errno : socket_frames_prepare(fd, link);
        if (rc == 0)
                return fd;
        if (fd >= 0)
                close(fd);
        return dog_err_set(e, rc, "device %s: no socket for frames: %s", link->name, strerror(-rc));
}

static int socket_ping_filter(int fd, bool is_four)
{
        struct icmp_filter four = {.data = ~(1u << ICMP_ECHOREPLY)};
        struct icmp6_filter six;
        ICMP6_FILTER_SETBLOCKALL(&six);
        ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &six);
        int rc = is_four ? setsockopt(fd, SOL_RAW, ICMP_FILTER, &four, sizeof(four))
                         : setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &six, sizeof(six));
        return rc < 0 ? -errno : 0;
}

int dog_socket_ping(const struct dog_link *link, uint32_t version, bool *is_raw, struct dog_err *e)
{
        bool is_four = version == 4;
        int family = is_four ? AF_INET : AF_INET6, protocol = is_four ? IPPROTO_ICMP : IPPROTO_ICMPV6;
        int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
        *is_raw = fd < 0 && (errno == EACCES || errno == EPERM || errno == EPROTONOSUPPORT);
        if (*is_raw)
                fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
        int rc = fd < 0 ? -errno : 0;
        if (rc == 0 && *is_raw)
                rc = socket_ping_filter(fd, is_four);
        if (rc == 0 &&
            setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, link->name, (socklen_t)strlen(link->name)) < 0)
                rc = -errno;
        if (rc == 0)
                return fd;
        if (fd >= 0)
                close(fd);
        return dog_err_set(e, rc, "device %s: no socket for ICMP%s: %s", link->name, is_four ? "" : "v6",
                           strerror(-rc));
}
