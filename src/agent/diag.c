#include "agent/diag.h"

#include "base/array.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* linux/tcp.h has struct tcp_info with all its fields, netinet/tcp.h the states; both cannot be included. */
enum { DIAG_ESTABLISHED = 1, DIAG_TIME_WAIT = 6, DIAG_CLOSED = 7, DIAG_LISTEN = 10, DIAG_STATES = 12 };
enum { DIAG_BUFFER = 64 << 10 };

struct agent_diag {
        struct mnl_socket *nl;
        uint16_t port[AGENT_DIAG_PORTS];
        unsigned ports;
        uint32_t seq;
        uint8_t listened[65536 / 8]; /* ports that something listens on */
        uint8_t buffer[DIAG_BUFFER];
        void (*seen)(void *user, const struct agent_diag_socket *s);
        void *user;
};

int agent_diag_open(struct agent_diag **to, const uint16_t *port, unsigned n, struct dog_err *e)
{
        struct agent_diag *d = calloc(1, sizeof(*d));
        if (!d)
                return dog_err_set(e, -ENOMEM, "sockets: no memory");
        if (n > AGENT_DIAG_PORTS)
                n = AGENT_DIAG_PORTS;
        if (n)
                memcpy(d->port, port, n * sizeof(*port));
        d->ports = n;
        d->nl = mnl_socket_open(NETLINK_SOCK_DIAG);
        if (!d->nl || mnl_socket_bind(d->nl, 0, MNL_SOCKET_AUTOPID) < 0) {
                int rc = dog_err_set(e, -errno, "sockets: no netlink socket for sock_diag: %s",
                                     strerror(errno));
                agent_diag_close(d);
                return rc;
        }
        /* A dump is answered at once; a kernel that does not must not hang us. */
        struct timeval limit = {.tv_sec = 2};
        setsockopt(mnl_socket_get_fd(d->nl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        *to = d;
        return 0;
}

void agent_diag_close(struct agent_diag *d)
{
        if (!d)
                return;
        if (d->nl)
                mnl_socket_close(d->nl);
        free(d);
}

static void diag_address(uint8_t to[16], const __be32 from[4], uint8_t family)
{
        if (family == AF_INET6) {
                memcpy(to, from, 16);
                return;
        }
        memset(to, 0, 10);
        to[10] = to[11] = 0xff;
        memcpy(to + 12, from, 4);
}

static int diag_info(const struct nlattr *attr, void *user)
{
        struct agent_diag_socket *s = user;
        if (mnl_attr_get_type(attr) != INET_DIAG_INFO)
                return MNL_CB_OK;
        /* Older kernels give less, newer ones more. */
        struct tcp_info info = {0};
        size_t n = mnl_attr_get_payload_len(attr);
        memcpy(&info, mnl_attr_get_payload(attr), n < sizeof(info) ? n : sizeof(info));
        s->acked = info.tcpi_bytes_acked;
        s->received = info.tcpi_bytes_received;
        s->rtt_us = info.tcpi_rtt;
        s->resent = info.tcpi_total_retrans;
        s->segments = info.tcpi_segs_out;
        return MNL_CB_OK;
}

static int diag_message(const struct nlmsghdr *nlh, void *user)
{
        struct agent_diag *d = user;
        const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
        if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*m))
                return MNL_CB_OK;
        struct agent_diag_socket s = {
                .state = m->idiag_state, .in_queue = m->idiag_rqueue, .unsent = m->idiag_wqueue};
        s.flow.local_port = ntohs(m->id.idiag_sport);
        s.flow.remote_port = ntohs(m->id.idiag_dport);
        uint8_t bit = (uint8_t)(1u << (s.flow.local_port & 7));
        if (s.state == DIAG_LISTEN)
                d->listened[s.flow.local_port / 8] |= bit;
        else if (d->ports == 0 && !(d->listened[s.flow.local_port / 8] & bit))
                return MNL_CB_OK;
        diag_address(s.flow.local, m->id.idiag_src, m->idiag_family);
        diag_address(s.flow.remote, m->id.idiag_dst, m->idiag_family);
        if (s.state != DIAG_LISTEN)
                mnl_attr_parse(nlh, sizeof(*m), diag_info, &s);
        d->seen(d->user, &s);
        return MNL_CB_OK;
}

/* Local port == port, in inet_diag's byte code: one comparison of two words; falling off the end by exactly
 * the program's length accepts, by four more refuses. */
static void diag_filter(struct nlmsghdr *nlh, uint16_t port)
{
        const struct inet_diag_bc_op code[] = {
                {.code = INET_DIAG_BC_S_EQ, .yes = 2 * sizeof(code[0]), .no = 3 * sizeof(code[0])},
                {.no = port},
        };
        mnl_attr_put(nlh, INET_DIAG_REQ_BYTECODE, sizeof(code), code);
}

static int diag_dump(struct agent_diag *d, uint8_t family, uint32_t states, const uint16_t *port)
{
        struct nlmsghdr *nlh = mnl_nlmsg_put_header(d->buffer);
        nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
        nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        nlh->nlmsg_seq = ++d->seq;
        struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(nlh, sizeof(*request));
        request->sdiag_family = family;
        request->sdiag_protocol = IPPROTO_TCP;
        request->idiag_ext = 1u << (INET_DIAG_INFO - 1);
        request->idiag_states = states;
        if (port)
                diag_filter(nlh, *port);
        unsigned self = mnl_socket_get_portid(d->nl);
        if (mnl_socket_sendto(d->nl, nlh, nlh->nlmsg_len) < 0)
                return -errno;
        for (;;) {
                ssize_t n = mnl_socket_recvfrom(d->nl, d->buffer, sizeof(d->buffer));
                if (n < 0 && errno == EINTR)
                        continue;
                int more = n < 0 ? -1 : mnl_cb_run(d->buffer, (size_t)n, d->seq, self, diag_message, d);
                /* What an abandoned dump still sends has an older number. */
                if (more < 0 && errno == EPROTO)
                        continue;
                if (more <= MNL_CB_STOP)
                        return more < 0 ? -errno : 0;
        }
}

int agent_diag_walk(struct agent_diag *d, void (*seen)(void *user, const struct agent_diag_socket *s),
                    void *user, struct dog_err *e)
{
        static const uint8_t family[] = {AF_INET, AF_INET6};
        const uint32_t listen = 1u << DIAG_LISTEN;
        /* TIME_WAIT is the kernel's own and no work of the server's any more. */
        const uint32_t conns =
                ((1u << DIAG_STATES) - 2) & ~(listen | 1u << DIAG_TIME_WAIT | 1u << DIAG_CLOSED);
        int rc = 0;
        d->seen = seen;
        d->user = user;
        memset(d->listened, 0, sizeof(d->listened));
        for (unsigned pass = 0; pass < 2 && rc == 0; pass++) {
                uint32_t states = pass == 0 ? listen : conns;
                for (size_t f = 0; f < ARRAY_SIZE(family) && rc == 0; f++) {
                        if (d->ports == 0)
                                rc = diag_dump(d, family[f], states, NULL);
                        for (unsigned p = 0; p < d->ports && rc == 0; p++)
                                rc = diag_dump(d, family[f], states, &d->port[p]);
                        /* A kernel without IPv6 has no such sockets. */
                        if (rc == -ENOENT && family[f] == AF_INET6)
                                rc = 0;
                }
        }
        if (rc == -ENOENT)
                return dog_err_set(e, -EPROTONOSUPPORT,
                                   "sockets: this kernel has no tcp_diag: run \"modprobe tcp_diag\"");
        if (rc < 0)
                return dog_err_set(e, rc, "sockets: the kernel did not list them: %s", strerror(-rc));
        return 0;
}
