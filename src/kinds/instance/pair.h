#pragma once
/**
 * The pair: two fronts that know each other's protected connections, so that losing one loses none.
 *
 * What crosses is one small entry when a connection is made, promoted, loses its standby, or ends; nothing
 * per packet. Entries are not a log: a change says "look at this connection again", and what is sent is the
 * table's state at that moment, until the other end has acknowledged it. So a lost datagram, a restart of
 * either end, or a full queue (then the whole table is walked) all end in the same table.
 *
 * An entry taken over has INSTANCE_CONN_PEER set. Its numbers are those of the moment it was sent; the data
 * plane takes the newest from the first packets that come, and says so (INSTANCE_EVENT_TAKEN).
 *
 * Which front receives the clients' packets is not decided here: VRRP, BGP, or whoever moves the address.
 * No event loop, no clock: the owner polls _fd and calls _on_timer.
 */
#include "base/err.h"
#include "kinds/instance/instance_abi.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct instance_pair_settings {
        int fd; /**< a bound UDP socket; closed by _close, by the caller when _open fails */
        struct sockaddr_storage peer;
        socklen_t peer_size;
        bool is_first; /**< of the two; one end says true, the other false */
        uint8_t secret[32];
        uint64_t world; /**< instance_pair_world of what both serve: must be equal */
        uint32_t queue; /**< changes that may wait; at least as many as the table holds; 0: 65536 */
        /** The table: read one (-ENOENT), put one, forget one, walk until visit says false. */
        int (*get)(void *user, const struct instance_flow *flow, struct instance_conn *to);
        /** @param is_theirs  its packets go through the peer now: what is known here is old */
        int (*put)(void *user, const struct instance_flow *flow, const struct instance_conn *c,
                   bool is_theirs);
        void (*forget)(void *user, const struct instance_flow *flow);
        int (*walk)(void *user,
                    bool (*visit)(void *to, const struct instance_flow *f, const struct instance_conn *c),
                    void *to);
        void *user;
};

struct instance_pair;

/** @return 0, -ENOMEM */
int instance_pair_open(struct instance_pair **p, const struct instance_pair_settings *settings,
                       int64_t now_ns, struct dog_err *e);
void instance_pair_close(struct instance_pair *p);

/** A digest of a text that describes what is served: addresses and servers in the order of their numbers. */
uint64_t instance_pair_world(const char *text);

/**
 * This connection was made, promoted, evicted, or has ended: the other end should know.
 * @param is_mine  it was the other end's, and has been taken over from it: the other end's numbers age from
 * now on
 */
void instance_pair_changed(struct instance_pair *p, const struct instance_flow *flow, bool is_mine);

int instance_pair_fd(const struct instance_pair *p);
void instance_pair_on_readable(struct instance_pair *p, int64_t now_ns);
/** @return when to call again */
int64_t instance_pair_on_timer(struct instance_pair *p, int64_t now_ns);

struct instance_pair_view {
        bool is_alive;        /**< heard within three seconds */
        bool is_equal;        /**< the same world; entries are taken over only then */
        int64_t heard_ns;     /**< 0: never */
        uint64_t boots;       /**< how often the peer has started anew */
        uint64_t sent, taken; /**< connections */
        uint64_t resent;      /**< datagrams */
        uint64_t walks;       /**< whole tables sent */
        uint64_t waiting;     /**< changes not yet acknowledged */
        uint64_t refused[4];  /**< by enum dog_pair_flaw of wire/pair.h; [0]: replayed, or for another boot */
        uint64_t failed;      /**< entries that the table did not take */
};
struct instance_pair_view instance_pair_view(const struct instance_pair *p, int64_t now_ns);
