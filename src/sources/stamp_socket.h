#pragma once
/**
 * Receiving with what the kernel knows about a packet: when it came, with which TTL, to which of our
 * addresses. Private to the two ends of STAMP and to the agents' listener.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

enum {
        STAMP_BATCH = 64, /**< packets taken in one call */
        STAMP_BUFFER = 2048,
        STAMP_TTL_UNKNOWN = 255,
};

/* What the kernel told about one packet. */
struct stamp_arrival {
        size_t size;
        bool is_cut; /* longer than the buffer */
        int64_t wall_ns;
        uint8_t ttl;
        bool has_local4, has_local6;
        struct in_pktinfo local4;
        struct in6_pktinfo local6;
        struct sockaddr_storage from;
        socklen_t from_size;
};

/** Take one packet. @return false when there is none now */
bool stamp_receive(int fd, uint8_t *to, size_t room, struct stamp_arrival *a);
/** Send back to where a packet came from, from the address it was sent to. @return as sendmsg(2) */
ssize_t stamp_answer(int fd, const void *packet, size_t size, const struct stamp_arrival *a);
