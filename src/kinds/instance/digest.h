#pragma once
/**
 * Many connections, one sentence: what happens to connections at the same moment, for the same reason and
 * between the same servers is told once. A crash moves a thousand of them; an operator wants one line.
 *
 * Promotions are told as they come to rest. What may go on for hours (connections without a standby, a table
 * that is full) is told when it begins and then every ten seconds.
 *
 * Knows no clock. Bounded: when more kinds of news arrive at once than there are rows, the oldest is told
 * early.
 */
#include "kinds/instance/instance_abi.h"

#include <stdint.h>

#define INSTANCE_DIGEST_ROWS 64

/** What is told: `count` connections of one vip, from one server to another. */
struct instance_digest_row {
        uint16_t vip;      /**< number */
        uint16_t from, to; /**< servers: the primary and the standby; INSTANCE_NOBODY: none */
        uint8_t type;      /**< enum instance_event_type */
        uint32_t count;
        uint32_t quiet_ticks; /**< promoted: longest silence since the primary's last packet */
        uint32_t lag_most;    /**< bytes the standby was behind, at most */
        uint32_t class;       /**< of the newest; 0: none */
        int64_t first_ns, last_ns;
        int64_t muted_ns; /**< told already; more of the same is collected until then */
};

struct instance_digest {
        struct instance_digest_row row[INSTANCE_DIGEST_ROWS];
        unsigned rows;
        void (*told)(void *user, const struct instance_digest_row *row);
        void *user;
};

/** Take in one event. Those that an operator need not see (opened, closed) are passed over. */
void instance_digest_add(struct instance_digest *d, const struct instance_event *ev);
/** Tell what has come to rest. @return when to call again; INT64_MAX: nothing is kept */
int64_t instance_digest_on_timer(struct instance_digest *d, int64_t now_ns);
/** Tell everything now. */
void instance_digest_flush(struct instance_digest *d);
