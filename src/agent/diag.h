#pragma once
/**
 * The TCP sockets of the served ports, by the kernel's sock_diag (sock_diag(7), inet_diag). Needs no
 * privilege. One netlink socket is kept; a reading is one dump of listeners and one of connections an
 * address family and, with ports named, a port: the kernel filters, so other sockets cost nothing.
 */
#include "base/err.h"
#include "wire/agent.h"

#include <stdbool.h>
#include <stdint.h>

#define AGENT_DIAG_PORTS 64

struct agent_diag_socket {
        struct dog_agent_flow flow;
        uint8_t state;             /**< TCP_LISTEN, TCP_ESTABLISHED, ...: netinet/tcp.h */
        uint32_t in_queue, unsent; /**< of a listener: waiting to be accepted, and how many may */
        uint64_t acked, received;
        uint32_t rtt_us, resent, segments;
};

struct agent_diag;

/** @param port  the served ones; n of 0: every port that something listens on */
int agent_diag_open(struct agent_diag **d, const uint16_t *port, unsigned n, struct dog_err *e);
void agent_diag_close(struct agent_diag *d);
/** All sockets, one by one. @return 0; -EPROTONOSUPPORT (no tcp_diag in this kernel) or another errno: what
 * was seen then is not all */
int agent_diag_walk(struct agent_diag *d, void (*seen)(void *user, const struct agent_diag_socket *s),
                    void *user, struct dog_err *e);
