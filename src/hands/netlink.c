#include "hands/netlink.h"

#include "base/clock.h"
#include "hands/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NETLINK_BUFFER 16384

/* libmnl's own loops and MNL_ALIGN mix signs, which our warnings refuse. */
#define NETLINK_ALIGN(n) (((size_t)(n) + 3u) & ~(size_t)3u)
#define NETLINK_ATTRS(attr, first, end)                                                                      \
        for ((attr) = (first); mnl_attr_ok((attr), (int)((const char *)(end) - (const char *)(attr)));       \
             (attr) = mnl_attr_next(attr))
#define NETLINK_IN(attr, h, head)                                                                            \
        NETLINK_ATTRS(attr, mnl_nlmsg_get_payload_offset((h), (head)), mnl_nlmsg_get_payload_tail(h))
#define NETLINK_NESTED(attr, nest)                                                                           \
        NETLINK_ATTRS(attr, mnl_attr_get_payload(nest),                                                      \
                      (const char *)mnl_attr_get_payload(nest) + mnl_attr_get_payload_len(nest))

struct netlink_ask {
        struct mnl_socket *socket;
        uint32_t sequence;
        char *buffer; /* NETLINK_BUFFER bytes: the request, then the answers */
};

static int netlink_ask_open(struct netlink_ask *a, struct dog_err *e)
{
        int on = 1;
        a->sequence = 1;
        a->buffer = malloc(NETLINK_BUFFER);
        if (!a->buffer)
                return dog_err_set(e, -ENOMEM, "netlink: out of memory");
        a->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
        if (!a->socket || mnl_socket_bind(a->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
                int rc = -errno;
                if (a->socket)
                        mnl_socket_close(a->socket);
                free(a->buffer);
                return dog_err_set(e, rc, "cannot open a netlink socket: %s", strerror(-rc));
        }
        /* Best effort: both only make sentences better and answers shorter. */
        mnl_socket_setsockopt(a->socket, NETLINK_EXT_ACK, &on, sizeof(on));
        mnl_socket_setsockopt(a->socket, NETLINK_CAP_ACK, &on, sizeof(on));
        return 0;
}

static void netlink_ask_close(struct netlink_ask *a)
{
        mnl_socket_close(a->socket);
        free(a->buffer);
}

static struct nlmsghdr *netlink_ask_begin(struct netlink_ask *a, uint16_t type, uint16_t flags)
{
        struct nlmsghdr *h = mnl_nlmsg_put_header(a->buffer);
        h->nlmsg_type = type;
        h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
        h->nlmsg_seq = ++a->sequence;
        return h;
}

/* The sentence that the kernel put into its error message, or NULL. */
static const char *netlink_ext_ack(const struct nlmsghdr *h)
{
        if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
                return NULL;
        const struct nlmsgerr *error = mnl_nlmsg_get_payload(h);
        size_t head = sizeof(*error);
        if (!(h->nlmsg_flags & NLM_F_CAPPED))
                head += error->msg.nlmsg_len - sizeof(error->msg);
        const struct nlattr *attr;
        NETLINK_IN(attr, h, NETLINK_ALIGN(head))
        {
                if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
                    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
                        return mnl_attr_get_str(attr);
        }
        return NULL;
}

typedef void netlink_answer(const struct nlmsghdr *h, void *data);

/* Send what was begun; hand each answer to `answer`; end at the acknowledgement or the error. */
static int netlink_ask_send(struct netlink_ask *a, struct nlmsghdr *request, netlink_answer *answer,
                            void *data, struct dog_err *e)
{
        request->nlmsg_flags |= NLM_F_ACK;
        uint32_t sequence = request->nlmsg_seq;
        if (mnl_socket_sendto(a->socket, request, request->nlmsg_len) < 0)
                return dog_err_set(e, -errno, "netlink: cannot send: %s", strerror(errno));
        for (;;) {
                ssize_t got = mnl_socket_recvfrom(a->socket, a->buffer, NETLINK_BUFFER);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return dog_err_set(e, -errno, "netlink: cannot receive: %s", strerror(errno));
                int left = (int)got;
                const struct nlmsghdr *h = (const void *)a->buffer;
                for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
                        if (h->nlmsg_seq != sequence)
                                continue;
                        if (h->nlmsg_type == NLMSG_DONE)
                                return 0;
                        if (h->nlmsg_type == NLMSG_ERROR) {
                                const struct nlmsgerr *error = mnl_nlmsg_get_payload(h);
                                if (error->error == 0)
                                        return 0;
                                const char *why = netlink_ext_ack(h);
                                return dog_err_set(e, error->error, "%s%s%s%s", strerror(-error->error),
                                                   why ? " (" : "", why ? why : "", why ? ")" : "");
                        }
                        if (answer)
                                answer(h, data);
                }
        }
}

/* ------------------------------------------------------------------------------- addresses */

static uint8_t netlink_family(const struct dog_hands_address *a)
{
        return a->version == 4 ? AF_INET : AF_INET6;
}

static void netlink_address_put(struct nlmsghdr *h, uint16_t type, const struct dog_hands_address *a)
{
        mnl_attr_put(h, type, a->version == 4 ? 4 : 16, a->bytes);
}

static void netlink_address_read(struct dog_hands_address *a, const struct nlattr *attr)
{
        uint16_t n = mnl_attr_get_payload_len(attr);
        if (n != 4 && n != 16)
                return;
        memset(a, 0, sizeof(*a));
        a->version = n == 4 ? 4 : 6;
        a->prefix = n == 4 ? 32 : 128;
        memcpy(a->bytes, mnl_attr_get_payload(attr), n);
}

/* ----------------------------------------------------------------------------------- links */

static void netlink_text(char *to, size_t room, const struct nlattr *attr)
{
        size_t n = mnl_attr_get_payload_len(attr);
        if (n >= room)
                n = room - 1;
        memcpy(to, mnl_attr_get_payload(attr), n);
        to[n] = 0;
}

static void netlink_link_nested(struct dog_link *l, const struct nlattr *attr)
{
        const struct nlattr *in;
        NETLINK_NESTED(in, attr)
        {
                if (mnl_attr_get_type(attr) == IFLA_LINKINFO && mnl_attr_get_type(in) == IFLA_INFO_KIND)
                        netlink_text(l->kind, sizeof(l->kind), in);
                if (mnl_attr_get_type(attr) == IFLA_XDP && mnl_attr_get_type(in) == IFLA_XDP_PROG_ID)
                        l->xdp_id = mnl_attr_get_u32(in);
        }
}

static void netlink_link_read(const struct nlmsghdr *h, void *data)
{
        struct dog_link *l = data;
        const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
        const struct nlattr *attr;
        if (h->nlmsg_type != RTM_NEWLINK)
                return;
        l->index = (uint32_t)info->ifi_index;
        l->flags = info->ifi_flags;
        l->is_up = (info->ifi_flags & IFF_UP) && (info->ifi_flags & IFF_RUNNING);
        NETLINK_IN(attr, h, sizeof(*info))
        {
                switch (mnl_attr_get_type(attr)) {
                case IFLA_IFNAME:
                        netlink_text(l->name, sizeof(l->name), attr);
                        break;
                case IFLA_IFALIAS:
                        netlink_text(l->alias, sizeof(l->alias), attr);
                        break;
                case IFLA_MTU:
                        l->mtu = mnl_attr_get_u32(attr);
                        break;
                case IFLA_LINK:
                        l->peer_index = mnl_attr_get_u32(attr);
                        break;
                case IFLA_ADDRESS:
                        if (mnl_attr_get_payload_len(attr) == 6)
                                memcpy(l->mac, mnl_attr_get_payload(attr), 6);
                        break;
                case IFLA_LINKINFO:
                case IFLA_XDP:
                        netlink_link_nested(l, attr);
                        break;
                default:
                        break;
                }
        }
}

static int netlink_link_get(struct dog_link *to, const char *name, uint32_t index, struct dog_err *e)
{
        struct netlink_ask a;
        memset(to, 0, sizeof(*to));
        int rc = netlink_ask_open(&a, e);
        if (rc < 0)
                return rc;
        struct nlmsghdr *h = netlink_ask_begin(&a, RTM_GETLINK, 0);
        struct ifinfomsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
        info->ifi_family = AF_UNSPEC;
        info->ifi_index = (int)index;
        if (name)
                mnl_attr_put_strz(h, IFLA_IFNAME, name);
        rc = netlink_ask_send(&a, h, netlink_link_read, to, e);
        netlink_ask_close(&a);
        return rc;
}

int dog_link_get(struct dog_link *to, const char *name, struct dog_err *e)
{
        int rc = netlink_link_get(to, name, 0, e);
        if (rc == -ENODEV)
                return dog_err_set(e, rc, "device %s does not exist: check its name with \"ip link\"", name);
        return rc < 0 ? dog_err_prefix(e, rc, "device %s", name) : 0;
}

int dog_link_get_index(struct dog_link *to, uint32_t index, struct dog_err *e)
{
        int rc = netlink_link_get(to, NULL, index, e);
        return rc < 0 ? dog_err_prefix(e, rc, "device number %u", index) : 0;
}

/* ------------------------------------------------------------------------------- next hops */

struct netlink_route_answer {
        struct dog_next_hop *hop;
        bool has_gateway;
        uint8_t type;
};

static void netlink_route_metrics(struct dog_next_hop *hop, const struct nlattr *attr)
{
        const struct nlattr *in;
        NETLINK_NESTED(in, attr)
        {
                if (mnl_attr_get_type(in) == RTAX_MTU)
                        hop->mtu = mnl_attr_get_u32(in);
        }
}

static void netlink_route_read(const struct nlmsghdr *h, void *data)
{
        struct netlink_route_answer *answer = data;
        const struct rtmsg *info = mnl_nlmsg_get_payload(h);
        const struct nlattr *attr;
        if (h->nlmsg_type != RTM_NEWROUTE)
                return;
        answer->type = info->rtm_type;
        NETLINK_IN(attr, h, sizeof(*info))
        {
                switch (mnl_attr_get_type(attr)) {
                case RTA_OIF:
                        answer->hop->index = mnl_attr_get_u32(attr);
                        break;
                case RTA_GATEWAY:
                        netlink_address_read(&answer->hop->gateway, attr);
                        answer->has_gateway = true;
                        break;
                case RTA_PREFSRC:
                        netlink_address_read(&answer->hop->source, attr);
                        break;
                case RTA_METRICS:
                        netlink_route_metrics(answer->hop, attr);
                        break;
                case RTA_VIA: /* an IPv6 router for an IPv4 destination (RFC 5549): family, then address */
                        if (mnl_attr_get_payload_len(attr) == 18) {
                                answer->hop->gateway.version = 6;
                                answer->hop->gateway.prefix = 128;
                                memcpy(answer->hop->gateway.bytes,
                                       (const uint8_t *)mnl_attr_get_payload(attr) + 2, 16);
                                answer->has_gateway = true;
                        }
                        break;
                default:
                        break;
                }
        }
}

static int netlink_route_get(struct netlink_route_answer *answer, const struct dog_link *link,
                             const struct dog_hands_address *from, const struct dog_hands_address *to,
                             struct dog_err *e)
{
        struct netlink_ask a;
        int rc = netlink_ask_open(&a, e);
        if (rc < 0)
                return rc;
        struct nlmsghdr *h = netlink_ask_begin(&a, RTM_GETROUTE, 0);
        struct rtmsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
        info->rtm_family = netlink_family(to);
        info->rtm_dst_len = to->version == 4 ? 32 : 128;
        netlink_address_put(h, RTA_DST, to);
        mnl_attr_put_u32(h, RTA_OIF, link->index);
        if (from && from->version == to->version) {
                info->rtm_src_len = info->rtm_dst_len;
                netlink_address_put(h, RTA_SRC, from);
        }
        rc = netlink_ask_send(&a, h, netlink_route_read, answer, e);
        netlink_ask_close(&a);
        return rc;
}

struct netlink_neighbour {
        uint16_t state;
        bool has_mac;
        uint8_t mac[6];
};

static void netlink_neighbour_read(const struct nlmsghdr *h, void *data)
{
        struct netlink_neighbour *n = data;
        const struct ndmsg *info = mnl_nlmsg_get_payload(h);
        const struct nlattr *attr;
        if (h->nlmsg_type != RTM_NEWNEIGH)
                return;
        n->state = info->ndm_state;
        NETLINK_IN(attr, h, sizeof(*info))
        {
                if (mnl_attr_get_type(attr) == NDA_LLADDR && mnl_attr_get_payload_len(attr) == 6) {
                        memcpy(n->mac, mnl_attr_get_payload(attr), 6);
                        n->has_mac = true;
                }
        }
}

static int netlink_neighbour_get(struct netlink_neighbour *n, uint32_t index,
                                 const struct dog_hands_address *of)
{
        struct netlink_ask a;
        memset(n, 0, sizeof(*n));
        int rc = netlink_ask_open(&a, NULL);
        if (rc < 0)
                return rc;
        struct nlmsghdr *h = netlink_ask_begin(&a, RTM_GETNEIGH, 0);
        struct ndmsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
        info->ndm_family = netlink_family(of);
        info->ndm_ifindex = (int)index;
        netlink_address_put(h, NDA_DST, of);
        rc = netlink_ask_send(&a, h, netlink_neighbour_read, n, NULL);
        netlink_ask_close(&a);
        const uint16_t valid = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
        return rc == 0 && n->has_mac && (n->state & valid) ? 0 : -ENOENT;
}

/* One empty datagram makes the kernel resolve the neighbour; discard (RFC 863) is its port. */
static void netlink_neighbour_wake(const struct dog_link *link, const struct dog_hands_address *of)
{
        struct sockaddr_in6 six = {
                .sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_scope_id = link->index};
        struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(9)};
        int fd = socket(netlink_family(of), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return;
        /* Without binding to the device the datagram may leave by another one that has a better route. */
        (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, link->name, (socklen_t)strlen(link->name));
        memcpy(&six.sin6_addr, of->bytes, 16);
        memcpy(&four.sin_addr, of->bytes, 4);
        if (of->version == 4)
                (void)sendto(fd, "", 0, MSG_NOSIGNAL, (const void *)&four, sizeof(four));
        else
                (void)sendto(fd, "", 0, MSG_NOSIGNAL, (const void *)&six, sizeof(six));
        close(fd);
}

static int netlink_neighbour_await(struct dog_next_hop *hop, const struct dog_link *link, int wait_ms,
                                   struct dog_err *e)
{
        struct netlink_neighbour n;
        char text[64];
        int64_t until_ns = dog_clock_mono_ns() + wait_ms * DOG_MS;
        bool woken = false;
        for (;;) {
                if (netlink_neighbour_get(&n, link->index, &hop->gateway) == 0) {
                        memcpy(hop->mac, n.mac, 6);
                        return 0;
                }
                if (!woken)
                        netlink_neighbour_wake(link, &hop->gateway);
                woken = true;
                if (dog_clock_mono_ns() >= until_ns)
                        break;
                poll(NULL, 0, 10);
        }
        dog_hands_address_text(&hop->gateway, text);
        if (wait_ms == 0)
                return dog_err_set(e, -EAGAIN, "device %s: neighbour %s has been asked for its MAC address",
                                   link->name, text);
        return dog_err_set(
                e, -EHOSTUNREACH,
                "device %s: neighbour %s does not answer ARP or neighbour discovery within %d ms; is the "
                "cable in and the address right?",
                link->name, text, wait_ms);
}

int dog_next_hop_find(struct dog_next_hop *hop, const char *device, const struct dog_hands_address *from,
                      const struct dog_hands_address *to, int wait_ms, struct dog_err *e)
{
        struct dog_link link;
        struct netlink_route_answer answer = {.hop = hop};
        char text[64];
        memset(hop, 0, sizeof(*hop));
        int rc = dog_link_get(&link, device, e);
        if (rc < 0)
                return rc;
        rc = netlink_route_get(&answer, &link, from, to, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "no route to %s through %s", dog_hands_address_text(to, text),
                                      device);
        if (answer.type == RTN_LOCAL || answer.type == RTN_BROADCAST || answer.type == RTN_MULTICAST)
                return dog_err_set(e, -EINVAL, "%s is %s: give the address of the far gateway",
                                   dog_hands_address_text(to, text),
                                   answer.type == RTN_LOCAL ? "this machine's own address"
                                                            : "not one machine's address");
        if (!answer.has_gateway)
                hop->gateway = *to;
        if (from && from->version != 0)
                hop->source = *from;
        if (hop->mtu == 0)
                hop->mtu = link.mtu;
        hop->index = link.index;
        memcpy(hop->own_mac, link.mac, 6);
        /* A device without neighbours (point to point, loopback) takes frames for anyone. */
        if (link.flags & (IFF_NOARP | IFF_LOOPBACK)) {
                memcpy(hop->mac, link.mac, 6);
                return 0;
        }
        return netlink_neighbour_await(hop, &link, wait_ms, e);
}

/* ----------------------------------------------------------------------------------- watch */

struct dog_netlink_watch {
        struct mnl_socket *socket;
        int left; /* bytes of the batch not yet read */
        const struct nlmsghdr *next;
        char buffer[NETLINK_BUFFER];
};

int dog_netlink_watch_open(struct dog_netlink_watch **out, struct dog_err *e)
{
        struct dog_netlink_watch *w = calloc(1, sizeof(*w));
        if (!w)
                return dog_err_set(e, -ENOMEM, "netlink watch: out of memory");
        w->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
        unsigned groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                          RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
        if (!w->socket || mnl_socket_bind(w->socket, groups, MNL_SOCKET_AUTOPID) < 0) {
                int rc = -errno;
                dog_netlink_watch_close(w);
                return dog_err_set(e, rc, "cannot watch the network by netlink: %s", strerror(-rc));
        }
        *out = w;
        return 0;
}

void dog_netlink_watch_close(struct dog_netlink_watch *w)
{
        if (!w)
                return;
        if (w->socket)
                mnl_socket_close(w->socket);
        free(w);
}

int dog_netlink_watch_fd(const struct dog_netlink_watch *w)
{
        return mnl_socket_get_fd(w->socket);
}

static void netlink_change_attrs(struct dog_netlink_change *c, const struct nlmsghdr *h, size_t head,
                                 uint16_t address, uint16_t device)
{
        const struct nlattr *attr;
        NETLINK_IN(attr, h, head)
        {
                if (address && mnl_attr_get_type(attr) == address)
                        netlink_address_read(&c->address, attr);
                if (device && mnl_attr_get_type(attr) == device)
                        c->index = mnl_attr_get_u32(attr);
        }
}

/* False for a message that is none of ours. */
static bool netlink_change_read(struct dog_netlink_change *c, const struct nlmsghdr *h)
{
        memset(c, 0, sizeof(*c));
        const void *payload = mnl_nlmsg_get_payload(h);
        size_t size = mnl_nlmsg_get_payload_len(h);
        switch (h->nlmsg_type) {
        case RTM_NEWLINK:
        case RTM_DELLINK: {
                const struct ifinfomsg *info = payload;
                if (size < sizeof(*info))
                        return false;
                c->what = DOG_CHANGE_LINK;
                c->index = (uint32_t)info->ifi_index;
                c->is_gone = h->nlmsg_type == RTM_DELLINK;
                return true;
        }
        case RTM_NEWADDR:
        case RTM_DELADDR: {
                const struct ifaddrmsg *info = payload;
                if (size < sizeof(*info))
                        return false;
                c->what = DOG_CHANGE_ADDRESS;
                c->index = info->ifa_index;
                c->is_gone = h->nlmsg_type == RTM_DELADDR;
                netlink_change_attrs(c, h, sizeof(*info),
                                     info->ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS, 0);
                c->address.prefix = info->ifa_prefixlen;
                return true;
        }
        case RTM_NEWROUTE:
        case RTM_DELROUTE: {
                const struct rtmsg *info = payload;
                if (size < sizeof(*info))
                        return false;
                c->what = DOG_CHANGE_ROUTE;
                c->is_gone = h->nlmsg_type == RTM_DELROUTE;
                netlink_change_attrs(c, h, sizeof(*info), RTA_DST, RTA_OIF);
                c->address.version = info->rtm_family == AF_INET ? 4 : 6;
                c->address.prefix = info->rtm_dst_len;
                return true;
        }
        case RTM_NEWNEIGH:
        case RTM_DELNEIGH: {
                const struct ndmsg *info = payload;
                if (size < sizeof(*info))
                        return false;
                c->what = DOG_CHANGE_NEIGHBOUR;
                c->index = (uint32_t)info->ndm_ifindex;
                c->is_gone = h->nlmsg_type == RTM_DELNEIGH || (info->ndm_state & NUD_FAILED);
                netlink_change_attrs(c, h, sizeof(*info), NDA_DST, 0);
                return true;
        }
        default:
                return false;
        }
}

int dog_netlink_watch_next(struct dog_netlink_watch *w, struct dog_netlink_change *c)
{
        for (;;) {
                while (w->next && mnl_nlmsg_ok(w->next, w->left)) {
                        const struct nlmsghdr *h = w->next;
                        w->next = mnl_nlmsg_next(h, &w->left);
                        if (netlink_change_read(c, h))
                                return 1;
                }
                ssize_t got = mnl_socket_recvfrom(w->socket, w->buffer, sizeof(w->buffer));
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0 && errno == ENOBUFS) {
                        memset(c, 0, sizeof(*c));
                        c->what = DOG_CHANGE_LOST;
                        return 1;
                }
                if (got <= 0)
                        return 0;
                w->next = (const void *)w->buffer;
                w->left = (int)got;
        }
}

/* --------------------------------------------------------------------------------- changes */

int dog_link_no_auto_ipv6(uint32_t index)
{
        struct netlink_ask a;
        int rc = netlink_ask_open(&a, NULL);
        if (rc < 0)
                return rc;
        struct nlmsghdr *h = netlink_ask_begin(&a, RTM_NEWLINK, 0);
        struct ifinfomsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
        info->ifi_family = AF_UNSPEC;
        info->ifi_index = (int)index;
        struct nlattr *spec = mnl_attr_nest_start(h, IFLA_AF_SPEC);
        struct nlattr *six = mnl_attr_nest_start(h, AF_INET6);
        mnl_attr_put_u8(h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
        mnl_attr_nest_end(h, six);
        mnl_attr_nest_end(h, spec);
        rc = netlink_ask_send(&a, h, NULL, NULL, NULL);
        netlink_ask_close(&a);
        return rc;
}

int dog_link_veth_make(const char *name, const char *peer, uint32_t queues, uint32_t mtu, struct dog_err *e)
{
        struct netlink_ask a;
        int rc = netlink_ask_open(&a, e);
        if (rc < 0)
                return rc;
        struct nlmsghdr *h = netlink_ask_begin(&a, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        struct ifinfomsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
        info->ifi_family = AF_UNSPEC;
        info->ifi_flags = IFF_NOARP;
        info->ifi_change = IFF_NOARP;
        mnl_attr_put_strz(h, IFLA_IFNAME, name);
        if (mtu)
                mnl_attr_put_u32(h, IFLA_MTU, mtu);
        mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, queues);
        mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, queues);
        struct nlattr *linkinfo = mnl_attr_nest_start(h, IFLA_LINKINFO);
        mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
        struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
        struct nlattr *other = mnl_attr_nest_start(h, VETH_INFO_PEER);
        /* The peer's own ifinfomsg comes bare, before its attributes. */
        struct ifinfomsg *peer_info = mnl_nlmsg_get_payload_tail(h);
        memset(peer_info, 0, sizeof(*peer_info));
        peer_info->ifi_flags = IFF_NOARP;
        peer_info->ifi_change = IFF_NOARP;
        h->nlmsg_len += (uint32_t)NETLINK_ALIGN(sizeof(*peer_info));
        mnl_attr_put_strz(h, IFLA_IFNAME, peer);
        if (mtu)
                mnl_attr_put_u32(h, IFLA_MTU, mtu);
        mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, queues);
        mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, queues);
        mnl_attr_nest_end(h, other);
        mnl_attr_nest_end(h, data);
        mnl_attr_nest_end(h, linkinfo);
        rc = netlink_ask_send(&a, h, NULL, NULL, e);
        netlink_ask_close(&a);
        return rc < 0 ? dog_err_prefix(e, rc, "cannot make the device pair %s and %s", name, peer) : 0;
}

static int netlink_link_change(uint32_t index, uint16_t type, const uint32_t *mtu, const char *alias,
                               uint32_t flags, struct dog_err *e)
{
        struct netlink_ask a;
        int rc = netlink_ask_open(&a, e);
        if (rc < 0)
                return rc;
        struct nlmsghdr *h = netlink_ask_begin(&a, type, 0);
        struct ifinfomsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
        info->ifi_family = AF_UNSPEC;
        info->ifi_index = (int)index;
        info->ifi_flags = flags;
        info->ifi_change = flags;
        if (mtu)
                mnl_attr_put_u32(h, IFLA_MTU, *mtu);
        if (alias)
                mnl_attr_put_str(h, IFLA_IFALIAS, alias);
        rc = netlink_ask_send(&a, h, NULL, NULL, e);
        netlink_ask_close(&a);
        return rc;
}

int dog_link_remove(uint32_t index, struct dog_err *e)
{
        int rc = netlink_link_change(index, RTM_DELLINK, NULL, NULL, 0, e);
        return rc < 0 ? dog_err_prefix(e, rc, "cannot remove device number %u", index) : 0;
}

int dog_link_mtu_set(uint32_t index, uint32_t mtu, struct dog_err *e)
{
        int rc = netlink_link_change(index, RTM_NEWLINK, &mtu, NULL, 0, e);
        return rc < 0 ? dog_err_prefix(e, rc, "cannot set MTU %u on device number %u", mtu, index) : 0;
}

int dog_link_up(uint32_t index, struct dog_err *e)
{
        int rc = netlink_link_change(index, RTM_NEWLINK, NULL, NULL, IFF_UP, e);
        return rc < 0 ? dog_err_prefix(e, rc, "cannot bring device number %u up", index) : 0;
}

int dog_link_alias_set(uint32_t index, const char *alias, struct dog_err *e)
{
        int rc = netlink_link_change(index, RTM_NEWLINK, NULL, alias, 0, e);
        return rc < 0 ? dog_err_prefix(e, rc, "cannot mark device number %u as ours", index) : 0;
}

int dog_link_address_add(uint32_t index, const struct dog_hands_address *address, struct dog_err *e)
{
        struct netlink_ask a;
        char text[64];
        int rc = netlink_ask_open(&a, e);
        if (rc < 0)
                return rc;
        struct nlmsghdr *h = netlink_ask_begin(&a, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
        struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
        info->ifa_family = netlink_family(address);
        info->ifa_prefixlen = address->prefix;
        info->ifa_index = index;
        /* Duplicate address detection would send into the tunnel and hold the address back. */
        if (address->version == 6)
                info->ifa_flags = IFA_F_NODAD;
        netlink_address_put(h, IFA_LOCAL, address);
        netlink_address_put(h, IFA_ADDRESS, address);
        rc = netlink_ask_send(&a, h, NULL, NULL, e);
        netlink_ask_close(&a);
        return rc < 0 && rc != -EEXIST
                       ? dog_err_prefix(e, rc, "cannot add address %s", dog_hands_address_text(address, text))
                       : 0;
}

int dog_route_set(const struct dog_hands_address *to, uint32_t index, uint32_t metric, bool remove,
                  struct dog_err *e)
{
        struct netlink_ask a;
        char text[64];
        int rc = netlink_ask_open(&a, e);
        if (rc < 0)
                return rc;
        struct nlmsghdr *h = netlink_ask_begin(&a, remove ? RTM_DELROUTE : RTM_NEWROUTE,
                                               remove ? 0 : NLM_F_CREATE | NLM_F_REPLACE);
        struct rtmsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
        info->rtm_family = netlink_family(to);
        info->rtm_dst_len = to->prefix;
        info->rtm_table = RT_TABLE_MAIN;
        info->rtm_protocol = remove ? RTPROT_UNSPEC : RTPROT_STATIC;
        info->rtm_scope = remove ? RT_SCOPE_NOWHERE : to->version == 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
        info->rtm_type = remove ? RTN_UNSPEC : RTN_UNICAST;
        netlink_address_put(h, RTA_DST, to);
        mnl_attr_put_u32(h, RTA_OIF, index);
        if (metric)
                mnl_attr_put_u32(h, RTA_PRIORITY, metric);
        rc = netlink_ask_send(&a, h, NULL, NULL, e);
        netlink_ask_close(&a);
        if (rc == -ESRCH && remove)
                return 0;
        return rc < 0 ? dog_err_prefix(e, rc, "cannot %s the route to %s", remove ? "remove" : "set",
                                       dog_hands_address_text(to, text))
                      : 0;
}
