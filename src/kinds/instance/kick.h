#pragma once
/**
 * Frames that wake a standby whose time has come, made from what is known of a connection. Pure.
 *
 * While A serves, the window that B is shown ends at what the client has acknowledged: B is caught up and may
 * say nothing. When A is gone nobody speaks until a timer of the client or of B runs out, 200 ms at the
 * soonest (TCP_RTO_MIN of Linux). Two empty segments in the client's name end the wait:
 *
 *   open   an acknowledgement with the window that the client really offers: B sends what it has.
 *          Its sequence number is the client's highest byte, or B takes it for an old one and leaves its
 *          window as it is (RFC 9293, 3.10.7.4: SND.WL1)
 *   nudge  a keep-alive: one byte before what B has acknowledged, so that B must acknowledge at once
 *          (RFC 9293, 3.10.7.4, first check), and the client hears how much B has and where its window is
 */
#include "kinds/instance/instance_abi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSTANCE_KICK_FRAME 74 /**< bytes of the longest frame: Ethernet, IPv6, TCP */

struct instance_kick {
        uint32_t seq, ack; /**< of `open`, in B's numbers */
        uint16_t window;   /**< as it stands in the packet */
        uint32_t nudge_seq;
        bool is_uploading; /**< the client has sent what it was not told to have arrived, or may send no more:
                              it waits for a word of B, so nudge */
        bool is_settled;   /**< the client has every byte that A ever sent */
};

struct instance_kick instance_kick_of(const struct instance_conn *c);

/** Where a frame goes. Addresses as in the ABI; ports in network order. */
struct instance_kick_way {
        const struct instance_server *server; /**< MAC addresses */
        struct instance_address from, to;
        __be16 port_from, port_to;
        bool is_v6;
};

/** Write one empty segment with the ACK bit. @return its length; `frame` has room for INSTANCE_KICK_FRAME */
size_t instance_kick_write(uint8_t *frame, const struct instance_kick_way *way, uint32_t seq, uint32_t ack,
                           uint16_t window);
