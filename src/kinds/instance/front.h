#pragma once
/**
 * The front, from the decider's side: opened through hands, then told by writing maps which addresses are
 * served, by whom, and how warm the others are kept. The data plane forwards without it.
 *
 * Order: instance_front_open -> _vip_set, _server_set each -> _table_set each vip -> _commit (attaches the
 * programs, forgets vips and servers of an earlier session that were not set again) -> anything, as often as
 * you like. Everything can be said again in any state without losing a packet: that is what a restarted
 * decider does, which finds the front running and adopts it. _close lets go; _remove ends it.
 *
 * No call but _open, _vip_set, _server_set and _commit asks hands.
 */
#include "hands/client.h"
#include "hands/policy.h"
#include "hands/server.h"
#include "kinds/instance/instance_abi.h"
#include "kinds/instance/instance_cookie.h"

#include <stdbool.h>
#include <stdint.h>

#define INSTANCE_FRONT_DEVICES 16
#define INSTANCE_FRONT         "front" /* the instance's name among hands' pins */

/** The BPF objects to register with hands. @return how many; *objects is static */
size_t instance_objects(const struct dog_hands_object **objects);

enum instance_hook {
        INSTANCE_HOOK_AUTO, /**< tc, and XDP before it where the driver has it natively */
        INSTANCE_HOOK_TC,
        INSTANCE_HOOK_XDP
};

struct instance_front_settings {
        const char *device[INSTANCE_FRONT_DEVICES]; /**< where clients and servers are */
        unsigned devices;
        bool is_host; /**< on the client's own host: clients are this host's sockets */
        enum instance_hook hook;
        uint32_t conns_most; /**< protected connections kept, IPv4 and IPv6 each; 0 means 65536; a power of
                                two */
        uint32_t syns_most;  /**< half-open ones; 0 means 16384 */
        uint64_t idle_ns; /**< a connection without a packet for so long is forgotten; 0 means 15 minutes */
        uint64_t hang_ns; /**< a server that says nothing for so long while clients wait is doubted; 0: 150 ms
                           */
        /** What happened to a connection; called from _on_readable. May be NULL. */
        void (*event)(void *user, const struct instance_event *ev);
        /** All connections of a dead or leaving server were woken: how many, and how long after it was told.
         * May be NULL. */
        void (*woken)(void *user, unsigned server, unsigned conns, int64_t took_ns);
        void *user;
};

struct instance_vip_settings {
        const char *name;
        struct dog_hands_address address; /**< no prefix */
        uint16_t port;                    /**< 0: every port */
        uint8_t proto;                    /**< IPPROTO_TCP, IPPROTO_UDP */
        enum instance_protect protect;
        enum instance_return returns;
        enum instance_answer answer;
        double share;  /**< SHARE: 0..1 of the new connections */
        uint32_t most; /**< protected connections at one time; 0: as many as the table holds */
        bool is_aligned, has_guard, has_classes;
        uint32_t lag_bytes, lag_ms; /**< see struct instance_vip */
        uint32_t seed; /**< of the flows' places in the table: the same at both of a pair; 0: drawn */
};

struct instance_server_settings {
        const char *name;
        uint16_t vip;                     /**< its vip's number */
        const char *device;               /**< where it is */
        struct dog_hands_address address; /**< its own: NAT's target, and what is asked for its MAC address */
        uint16_t port;                    /**< NAT; 0: the vip's */
};

struct instance_front;

int instance_front_open(struct instance_front **f, const struct instance_front_settings *settings,
                        struct dog_hands_client *hands, struct dog_err *e);
void instance_front_close(struct instance_front *f);
/** Take the programs off and forget the pins; closes f. */
int instance_front_remove(struct instance_front *f, struct dog_err *e);
int instance_front_commit(struct instance_front *f, struct dog_err *e);

/** Why XDP was refused on settings.device[device], where it was wanted; "": it was not. NULL: no such device
 */
const char *instance_front_no_xdp(const struct instance_front *f, unsigned device);

/** How many maps of an earlier session were taken over: 0 on a first start. */
uint32_t instance_front_adopted(const struct instance_front *f);

/**
 * The number that a vip or a server has in the maps of an earlier session, or -ENOENT. Connections are kept
 * under these numbers: whoever starts again asks first, and gives each the number that it had.
 */
int instance_front_vip_find(struct instance_front *f, const struct instance_vip_settings *set);
/** settings->vip is the number of a vip that has been set. */
int instance_front_server_find(struct instance_front *f, const struct instance_server_settings *set);

/** Make or change vip `number`, below INSTANCE_VIPS_MAX. */
int instance_front_vip_set(struct instance_front *f, unsigned number, const struct instance_vip_settings *set,
                           struct dog_err *e);
/** Make or change server `number`, below INSTANCE_SERVERS_MAX. -EAGAIN etc. as dog_next_hop_find: told again
 * by _refresh. */
int instance_front_server_set(struct instance_front *f, unsigned number,
                              const struct instance_server_settings *set, int wait_ms, struct dog_err *e);
/** Routes or neighbours changed: look at all servers' next hops again. @return how many changed */
unsigned instance_front_refresh(struct instance_front *f, int wait_ms);

/** One server's part in its vip's table. */
struct instance_share {
        uint16_t server;
        double weight;  /**< of new connections; 0: none */
        double standby; /**< as a standby; 0: not fit to be one */
        uint32_t fate;  /**< servers with a common bit are no mirror of each other */
};
/** New connections from now on: one table built and put in force with one store. n of 0: nobody, packets are
 * dropped. */
int instance_front_table_set(struct instance_front *f, unsigned vip, const struct instance_share *share,
                             unsigned n, struct dog_err *e);
/** How many of the picks in force have this server as their primary: what an earlier session left. */
uint32_t instance_front_picks(const struct instance_front *f, unsigned vip, unsigned server);
/** INSTANCE_SERVER_* in force. */
uint32_t instance_front_server_flags(const struct instance_front *f, unsigned server);
/** SHARE: the share of new connections that is protected from now on. */
void instance_front_share_set(struct instance_front *f, unsigned vip, double share);

/**
 * Its connections are their standbys' from now on. One store; then the connections that would wait are woken,
 * a batch at each call of _on_timer: call that at once, and as long as it says so. How many were woken comes
 * with `woken`.
 */
void instance_front_dead(struct instance_front *f, unsigned server, int64_t now_ns);
/** The same, planned: every connection when the client has all of its bytes, at the latest after
 * `patience_ns`. */
void instance_front_leave(struct instance_front *f, unsigned server, int64_t patience_ns, int64_t now_ns);
/** It serves again (new connections as the table says); what was promoted stays where it is. */
void instance_front_back(struct instance_front *f, unsigned server);
/** No copies on it any more: the connections that it stands by for go on without. */
void instance_front_unfit(struct instance_front *f, unsigned server, bool is_unfit);
/** One connection. -ENOENT: it is not protected, or has no standby. */
int instance_front_order(struct instance_front *f, const struct instance_flow *flow,
                         enum instance_order order, struct dog_err *e);

/**
 * Keys of an aligned vip, the same as its servers' shims have (cookie.h). Until they are set the vip is
 * translated. Call again now and then, and after a step of the clock: it notes the wall clock.
 * @param mss4, mss6  what clients may send in one segment, as it fits the servers' devices: MTU less 40 and
 * 60
 */
int instance_front_cookies_set(struct instance_front *f, unsigned vip,
                               const struct instance_cookie_keys *keys, uint16_t mss4, uint16_t mss6,
                               struct dog_err *e);
/** The vip is translated from now on; connections that it has go on as they are. */
void instance_front_cookies_clear(struct instance_front *f, unsigned vip);
/** This server's host runs the shim, or no longer; is_gated: its filters keep a standby's bytes there. New
 * connections of an aligned vip are aligned when both of their servers have one. One store. */
void instance_front_shim_set(struct instance_front *f, unsigned server, bool has_shim, bool is_gated);

/**
 * Make both servers of a connection say where they are: for one that the other balancer of a pair knew and
 * that comes here now (INSTANCE_EVENT_TAKEN). @return 0, -ENOENT, -EHOSTUNREACH
 */
int instance_front_nudge(struct instance_front *f, const struct instance_flow *flow);

/** The ring of events. */
int instance_front_fd(const struct instance_front *f);
void instance_front_on_readable(struct instance_front *f, int64_t now_ns);
/** Scan for the hung, the closed and the idle; wake the promoted. @return when to call again */
int64_t instance_front_on_timer(struct instance_front *f, int64_t now_ns);

struct instance_vip_counters {
        struct instance_vip_stats sum;
        uint64_t protected_now; /**< connections with a live standby */
        uint64_t alone_now;     /**< in the table, but without one: evicted or promoted */
        uint64_t lag_bytes[24]; /**< protected connections by the standby's lag: index = bit length */
};
/** Counts are those of the last scan, at most a second old. */
int instance_front_vip_read(struct instance_front *f, unsigned vip, struct instance_vip_counters *to);
int instance_front_server_read(struct instance_front *f, unsigned server, struct instance_server_stats *to);
int instance_front_drops_read(struct instance_front *f, uint64_t drops[INSTANCE_DROP_COUNT]);
/** Times to the first byte of an answer, of the sampled flows, since the front was first opened. */
int instance_front_response_read(struct instance_front *f, unsigned server, struct instance_response *to);
/** Take those times of one flow in `one_in`, a power of two; 1: of all. */
void instance_front_sample_set(struct instance_front *f, unsigned vip, unsigned one_in);

/** Walk what is known of classes of requests; stops when `visit` returns false. */
int instance_front_classes(struct instance_front *f,
                           bool (*visit)(void *user, uint32_t id, const struct instance_class *c),
                           void *user);
int instance_front_class_get(struct instance_front *f, uint32_t id, struct instance_class *to);
/** Are its requests not mirrored, now? */
bool instance_front_class_is_barred(const struct instance_class *c);
/** Protect requests of this class again. -ENOENT */
int instance_front_class_forgive(struct instance_front *f, uint32_t id, struct dog_err *e);

/** Walk the protected connections; stops when `visit` returns false. A copy each, consistent in itself. */
int instance_front_conns(struct instance_front *f,
                         bool (*visit)(void *user, const struct instance_flow *flow,
                                       const struct instance_conn *c),
                         void *user);
/** For the other balancer of a pair: read one, put one: never over one of our own that is newer, which it is
 * unless the other has taken it over (is_theirs). */
int instance_front_conn_get(struct instance_front *f, const struct instance_flow *flow,
                            struct instance_conn *to);
int instance_front_conn_put(struct instance_front *f, const struct instance_flow *flow,
                            const struct instance_conn *c, bool is_theirs);

/** The other balancer says that it has ended. One that has come here meanwhile is our own, and stays. */
void instance_front_conn_forget(struct instance_front *f, const struct instance_flow *flow);

/** "promoted-dead" */
const char *instance_event_word(enum instance_event_type t);
const char *instance_event_help(enum instance_event_type t);
const char *instance_drop_text(enum instance_drop d);
