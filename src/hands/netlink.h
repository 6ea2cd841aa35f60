#pragma once
/**
 * The kernel's network state, by rtnetlink (libmnl): devices, addresses, routes, neighbours.
 *
 * Reading and watching need no privilege, so the decider does that itself; only the functions
 * under "changes" need CAP_NET_ADMIN and are called by hands. Each call opens its own socket:
 * they are rare, and nothing is shared that could get out of step.
 *
 * Errors: a negative errno as the kernel gave it, with the kernel's own sentence (extended
 * acknowledgement) where it sent one. -ENODEV for a device that does not exist.
 */
#include "base/err.h"
#include "hands/message.h"

#include <stdbool.h>
#include <stdint.h>

struct dog_link {
        char name[16];
        char kind[16];  /**< "veth", ... ; empty for hardware */
        char alias[64]; /**< free text; ours start with "sundog" */
        uint32_t index;
        uint32_t peer_index; /**< the other end of a veth, 0 otherwise */
        uint32_t mtu;
        uint32_t flags;  /**< IFF_ */
        uint32_t xdp_id; /**< program id of an XDP program on it, 0: none */
        uint8_t mac[6];
        bool is_up; /**< administratively up and has a carrier */
};

int dog_link_get(struct dog_link *to, const char *name, struct dog_err *e);
int dog_link_get_index(struct dog_link *to, uint32_t index, struct dog_err *e);

/** How a far address is reached through one device. */
struct dog_next_hop {
        struct dog_hands_address source;  /**< our address for it; version 0 if the kernel gave none */
        struct dog_hands_address gateway; /**< the router, or the far address itself when on the link */
        uint32_t index;                   /**< the device */
        uint32_t mtu;                     /**< of the route if it has one, else of the device */
        uint8_t mac[6];                   /**< of the next hop */
        uint8_t own_mac[6];               /**< of the device */
};

/**
 * Find the next hop for `to` through `device`, with its MAC address.
 *
 * A neighbour that the kernel does not know is woken by one empty UDP datagram to port 9
 * (discard), and awaited for at most wait_ms.
 *
 * @param from     source address to use, or NULL
 * @return 0; -ENODEV, -ENETUNREACH (no route), -EHOSTUNREACH (the neighbour does not answer),
 *         -EAGAIN when wait_ms is 0 and it has been asked: look again on a watch event
 */
int dog_next_hop_find(struct dog_next_hop *to_fill, const char *device, const struct dog_hands_address *from,
                      const struct dog_hands_address *to, int wait_ms, struct dog_err *e);

/** One change, as read from a watch. */
struct dog_netlink_change {
        enum {
                DOG_CHANGE_LINK,
                DOG_CHANGE_ADDRESS,
                DOG_CHANGE_ROUTE,
                DOG_CHANGE_NEIGHBOUR,
                DOG_CHANGE_LOST
        } what;
        uint32_t index;                   /**< the device; 0 for a route without one */
        bool is_gone;                     /**< removed, rather than made or changed */
        struct dog_hands_address address; /**< of the address, route (with prefix) or neighbour */
};

struct dog_netlink_watch;

/** Watch links, addresses, routes and neighbours of this namespace. The caller frees it. */
int dog_netlink_watch_open(struct dog_netlink_watch **w, struct dog_err *e);
void dog_netlink_watch_close(struct dog_netlink_watch *w);
/** Readable when dog_netlink_watch_next has something. */
int dog_netlink_watch_fd(const struct dog_netlink_watch *w);
/** 1: a change was filled; 0: nothing more now. DOG_CHANGE_LOST: the kernel dropped some, read everything
 * anew. */
int dog_netlink_watch_next(struct dog_netlink_watch *w, struct dog_netlink_change *c);

/* Changes: CAP_NET_ADMIN. */

/** Make a veth pair, down and NOARP. */
int dog_link_veth_make(const char *name, const char *peer, uint32_t queues, uint32_t mtu, struct dog_err *e);
int dog_link_remove(uint32_t index, struct dog_err *e);
int dog_link_mtu_set(uint32_t index, uint32_t mtu, struct dog_err *e);
int dog_link_up(uint32_t index, struct dog_err *e);
/** No link-local address by itself: its chatter would go through the tunnel. Fails where there is no IPv6. */
int dog_link_no_auto_ipv6(uint32_t index);
int dog_link_alias_set(uint32_t index, const char *alias, struct dog_err *e);
/** Succeeds when it is there already. */
int dog_link_address_add(uint32_t index, const struct dog_hands_address *address, struct dog_err *e);
/** Make or replace; with `remove`, remove, and succeed when it is not there. */
int dog_route_set(const struct dog_hands_address *to, uint32_t index, uint32_t metric, bool remove,
                  struct dog_err *e);
