#pragma once
/**
 * One tunnel, from the decider's side: opened through hands, then steered by writing maps.
 *
 * Everything here can be said again, in any state, without losing a packet: that is what a
 * restarted decider does, which finds the tunnel running. The order:
 *     path_tunnel_open -> _path_set each -> _class_set each -> _rules_set -> _key_load
 *     -> _commit (attaches the programs, removes paths that were not set) -> _steer, as often as you like
 * With several tunnels, set up all of them before the first _commit: the programs that receive are
 * shared, and until they are swapped the earlier session's go on with the earlier maps.
 * path_tunnel_close lets go of it; it goes on forwarding. path_tunnel_remove ends it.
 *
 * Calls that ask hands take some milliseconds; _steer, _key_*, _read do not ask.
 */
#include "hands/client.h"
#include "hands/netlink.h"
#include "kinds/path/host.h"
#include "kinds/path/path_abi.h"

#include <stdbool.h>
#include <stdint.h>

struct path_tunnel_settings {
        const char *device;               /**< "sd0": at most 14 characters */
        struct dog_hands_address address; /**< of the device, with prefix; version 0: none */
        uint16_t number;                  /**< of this tunnel here, below path_host_settings.tunnels */
        uint16_t far_number;              /**< of it at the far end; must differ: it tells directions apart */
        uint32_t rules_most;              /**< 0 means 256 */
        uint32_t flows_most;              /**< remembered flows; 0 means 65536 */
};

struct path_tunnel_path {
        const char *name;                /**< for sentences */
        const char *device;              /**< the underlay */
        struct dog_hands_address local;  /**< version 0: the kernel's choice for `remote` */
        struct dog_hands_address remote; /**< IPv4; version 0: not known yet, see path_tunnel_learn */
        uint16_t remote_port;            /**< 0: the host's own port */
        uint8_t dscp;                    /**< of the outer packets, 0..63 */
        uint32_t mtu;                    /**< of the path, in bytes; 0: what route or device say */
};

/** What became of a path. */
struct path_tunnel_state {
        bool is_set;    /**< in this session */
        bool is_usable; /**< its next hop is known: packets can be sent on it */
        struct dog_next_hop hop;
        struct path_host_device device;
};

struct path_tunnel;

/**
 * Make or adopt the device and the maps.
 * @return 0; -EINVAL (numbers), -EEXIST (number taken, or a device of that name is not ours), what hands said
 */
int path_tunnel_open(struct path_tunnel **t, struct path_host *host,
                     const struct path_tunnel_settings *settings, struct dog_err *e);
void path_tunnel_close(struct path_tunnel *t);
/** Take the programs off, forget the pins, remove the device; closes t, also on failure. */
int path_tunnel_remove(struct path_tunnel *t, struct dog_err *e);

/** Maps taken over from the last run; 0 after a fresh start. */
uint32_t path_tunnel_adopted(const struct path_tunnel *t);

/**
 * Make or change path number p. The new program takes the old one's place in every subset, one
 * atomic exchange each.
 *
 * @param p        0..PATH_PATHS_MAX-1; the same number at both ends
 * @param wait_ms  how long the next hop may take to answer ARP
 * @return 0; -EINVAL, -EEXIST (another path uses the same device and addresses), what hands said;
 *         -ENODEV, -ENETUNREACH, -EHOSTUNREACH, -EAGAIN (wait_ms 0: its neighbour has been asked): what is
 * missing may still come, so the path is remembered and path_tunnel_path_refresh tries again. On failure a
 * path that is usable stays as it was.
 */
int path_tunnel_path_set(struct path_tunnel *t, unsigned p, const struct path_tunnel_path *path, int wait_ms,
                         struct dog_err *e);
/** Look at route, neighbour and MTU again and change what changed. 1: changed, 0: not, else as _path_set. */
int path_tunnel_path_refresh(struct path_tunnel *t, unsigned p, int wait_ms, struct dog_err *e);
/** -EBUSY while a class is steered over it: steer first. */
int path_tunnel_path_remove(struct path_tunnel *t, unsigned p, struct dog_err *e);
const struct path_tunnel_state *path_tunnel_path_state(const struct path_tunnel *t, unsigned p);
/**
 * For a path whose far address is not known or changes: take it from authentic packets.
 * 1: learned a new address and set the path, 0: nothing new, negative: as _path_set.
 */
int path_tunnel_learn(struct path_tunnel *t, unsigned p, int wait_ms, struct dog_err *e);

/** How a class is sent. `subset` is a mask of paths. */
struct path_tunnel_class {
        uint32_t subset;
        uint32_t sample_mask; /**< a packet is time-stamped when (sequence & this) is 0; 0: every one */
        uint32_t silence_ms;  /**< reflex: a path unheard for longer counts as dead; 0: none */
        uint8_t fallback[4];  /**< subsets to try then, in order; 0 ends the list */
};

/** Make or change class c (below path_host_settings.classes). -EINVAL: a path that is not set. */
int path_tunnel_class_set(struct path_tunnel *t, unsigned c, const struct path_tunnel_class *set,
                          struct dog_err *e);
/** Send class c on these paths from the next packet on: one store. */
int path_tunnel_steer(struct path_tunnel *t, unsigned c, uint32_t subset, struct dog_err *e);
/** What class c is steered to now. */
uint32_t path_tunnel_subset(const struct path_tunnel *t, unsigned c);

/** Replace all rules; the first that matches names the class. Nothing happens when they are the same. */
int path_tunnel_rules_set(struct path_tunnel *t, const struct path_rule *rules, uint32_t n,
                          uint32_t default_class, struct dog_err *e);
/** Put one flow into a class whatever the rules say, until path_tunnel_flow_free. */
int path_tunnel_flow_pin(struct path_tunnel *t, const struct path_flow_key *flow, unsigned c,
                         struct dog_err *e);
int path_tunnel_flow_free(struct path_tunnel *t, const struct path_flow_key *flow, struct dog_err *e);

/**
 * Read the secret that the policy calls `secret` and use it for both directions. The epoch in use
 * is kept, so a restart changes nothing; a fresh tunnel begins with epoch 0.
 */
int path_tunnel_key_load(struct path_tunnel *t, const char *secret, struct dog_err *e);
/** To rotate: both ends accept the next epoch, then each end sends it. */
int path_tunnel_key_accept(struct path_tunnel *t, const uint8_t secret[32], uint8_t epoch, struct dog_err *e);
int path_tunnel_key_send(struct path_tunnel *t, const uint8_t secret[32], uint8_t epoch, struct dog_err *e);
/** The epoch that is sent. */
uint8_t path_tunnel_key_epoch(const struct path_tunnel *t);

/**
 * Put it to work: set the MTU (the smallest path's less the header), remove what an earlier
 * session left and this one did not set, attach the programs.
 * @param became  NULL, or what became of the tunnel device
 */
int path_tunnel_commit(struct path_tunnel *t, struct path_host_device *became, struct dog_err *e);
uint32_t path_tunnel_mtu(const struct path_tunnel *t);

struct path_tunnel_counters {
        struct {
                uint64_t sent_packets;
                uint64_t sent_bytes; /**< outer IP bytes, those the path refused included */
                uint64_t first;      /**< packets of which this path's copy came first: the sum of rx.first */
                struct path_rx_stats rx; /**< summed over CPUs; delay[] of the last closed interval in [0] */
        } path[PATH_PATHS_MAX];
        uint64_t subset[PATH_SUBSETS];   /**< delivered packets by the subset they were sent on */
        uint64_t drops[PATH_DROP_COUNT]; /**< of the host: all tunnels */
};

struct path_tunnel_class_counters {
        struct path_class_tx tx;
        struct path_class_rx rx;
        uint64_t newest[PATH_PATHS_MAX]; /**< highest sequence received, by path */
        uint64_t next;                   /**< the sequence that we send next */
};

/** Close the measuring interval of delays, so that the next _read tells about it. */
void path_tunnel_interval(struct path_tunnel *t);
int path_tunnel_read(struct path_tunnel *t, struct path_tunnel_counters *to, struct dog_err *e);
int path_tunnel_class_read(struct path_tunnel *t, unsigned c, struct path_tunnel_class_counters *to,
                           struct dog_err *e);
/** The text of a way out: "from a path: the tag is wrong". */
const char *path_drop_text(enum path_drop why);
