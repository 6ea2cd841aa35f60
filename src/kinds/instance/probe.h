#pragma once
/**
 * Do the servers live? Asked from the front, often, so that one that falls silent without a word (a black
 * hole, a power cut behind a switch) is known within a few intervals.
 *
 * ICMP echo by default (RFC 792, 4443); where it is never answered, a TCP connection that is reset as soon as
 * it stands, at its own slower pace. A probe that is lost is no proof by itself: `heard_ns` tells when the
 * server was last heard by the data plane, and one that speaks lives. Devices without a carrier are told by
 * _on_link, and count at once.
 *
 * Knows no event loop: the owner polls the descriptors that it is told by `watch`, calls _on_readable for
 * each, and _on_timer when it is due. Answers that wait are read before anybody is judged, so that an owner
 * who comes late takes nobody for dead.
 */
#include "core/sample.h"
#include "hands/client.h"

#include <stdbool.h>
#include <stdint.h>

enum instance_probe_how {
        INSTANCE_PROBE_AUTO, /**< ICMP; TCP once a second has passed without any answer, if there is a port */
        INSTANCE_PROBE_ICMP,
        INSTANCE_PROBE_TCP
};

/** Why a server counts as down or up. X(code, word) */
#define INSTANCE_PROBE_WHY(X)                                                                                \
        X(ANSWERS, "answers")                                                                                \
        X(SILENT, "silent")                                                                                  \
        X(NO_CARRIER, "no-carrier")

enum instance_probe_why {
#define X(code, word) INSTANCE_PROBE_##code,
        INSTANCE_PROBE_WHY(X)
#undef X
};

struct instance_probe;

struct instance_probe_settings {
        int64_t interval_ns;       /**< between echoes to one server; 0: 5 ms */
        int64_t check_interval_ns; /**< between TCP connections to one; 0: 100 ms */
        int64_t sample_ns;         /**< a sample sums up so long; 0: 100 ms */
        /** In a row: down; 0: 3. Twice as many while another living server owes an answer as well. */
        unsigned misses;
        unsigned goods; /**< in a row, of one that was down: up; 0: 10 */
        /** It is down, or up; the first verdict on each is told too. */
        void (*change)(void *user, unsigned server, bool is_up, enum instance_probe_why why, int64_t now_ns);
        /** RTT, jitter and loss of the last sample_ns; RTT is NaN when nothing came back. May be NULL. */
        void (*sample)(void *user, unsigned server, const struct dog_sample *s);
        /** Monotonic time of the newest packet from it, 0 for never. May be NULL. */
        int64_t (*heard_ns)(void *user, unsigned server);
        /** Start or stop polling a descriptor for reading; right before it is closed. */
        void (*watch)(void *user, int fd, bool is_on);
        void *user;
};

/** Everything in `settings` is copied. @return 0, -EINVAL, -ENOMEM */
int instance_probe_open(struct instance_probe **p, const struct instance_probe_settings *settings,
                        struct dog_hands_client *hands, struct dog_err *e);
void instance_probe_close(struct instance_probe *p);

/**
 * Begin to ask server `number`, or change how. More than 2,000 echoes a second in all, or as many
 * connections, are spread out: with many servers the interval grows.
 * @param port  for TCP; 0: none, then only ICMP is possible
 * @return 0; -EINVAL; or what hands said of the socket
 */
int instance_probe_add(struct instance_probe *p, unsigned number, const char *device,
                       const struct dog_hands_address *address, uint16_t port, enum instance_probe_how how,
                       struct dog_err *e);
void instance_probe_remove(struct instance_probe *p, unsigned number);

void instance_probe_on_readable(struct instance_probe *p, int fd, int64_t now_ns);
/** Judge and ask. @return when to call again */
int64_t instance_probe_on_timer(struct instance_probe *p, int64_t now_ns);
/** A device got or lost its carrier (or came and went): what DOG_CHANGE_LINK of hands/netlink.h tells. */
void instance_probe_on_link(struct instance_probe *p, uint32_t index, int64_t now_ns);

/** What is known of one server. */
struct instance_probe_view {
        bool is_known, is_up; /**< false, false: nothing has come back yet, nor been missed often enough */
        bool has_carrier;
        bool is_tcp; /**< asked by TCP */
        uint64_t sent, answered;
        double rtt_ms; /**< smoothed (RFC 6298, 2.3); NaN: none yet */
};
struct instance_probe_view instance_probe_view(const struct instance_probe *p, unsigned number);

const char *instance_probe_why_word(enum instance_probe_why why);
