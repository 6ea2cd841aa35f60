#pragma once
/**
 * The tunnel header as user space reads and writes it: for dissection, tests and fuzzing. The data plane
 * has its own view of the same 32 octets (struct path_wire); a test holds the two against each other.
 *
 * After the outer IP and UDP headers, in network byte order:
 *
 *      0 version   1 flags   2 path   3 epoch   4 tunnel (16)   6 class (16)
 *      8 sequence (64)
 *     16 send time, the sender's monotonic clock in ns (64), 0: not sampled
 *     24 tag (64, the octets of a little-endian number)
 *     32 the inner IP packet, or a control message
 */
#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum {
        DOG_TUNNEL_SIZE = 32,
        DOG_TUNNEL_VERSION = 1,
        DOG_TUNNEL_PATHS = 4,      /**< path is 0..3 */
        DOG_TUNNEL_SUBSET = 0x0f,  /**< of flags: the paths this packet was sent on; never 0 */
        DOG_TUNNEL_CONTROL = 0x80, /**< of flags: for the far daemon, not for the device */
        DOG_TUNNEL_KEY_SIZE = 16,  /**< octets of a SipHash key */
        DOG_TUNNEL_TAG_SIZE = 8,
};

struct dog_tunnel_header {
        uint8_t subset; /**< mask of paths, 1..15 */
        bool is_control;
        uint8_t path;  /**< whose copy this is; a member of subset unless it is a control message */
        uint8_t epoch; /**< which key */
        uint16_t tunnel;
        uint16_t klass;
        uint64_t seq;
        uint64_t sent_ns; /**< 0: not sampled */
        uint8_t tag[DOG_TUNNEL_TAG_SIZE];
};

/** Why octets are not a header that the data plane would take: word and sentence. */
#define DOG_TUNNEL_FLAWS(X)                                                                                  \
        X(SHORT, "short", "shorter than a tunnel header")                                                    \
        X(VERSION, "version", "a version we do not know")                                                    \
        X(FLAGS, "flags", "a flag we do not know, or no path in the subset")                                 \
        X(PATH, "path", "a path that is not of its own subset")

enum dog_tunnel_flaw {
        DOG_TUNNEL_FINE,
#define DOG_TUNNEL_FLAW_ENUM(name, word, text) DOG_TUNNEL_FLAW_##name,
        DOG_TUNNEL_FLAWS(DOG_TUNNEL_FLAW_ENUM)
#undef DOG_TUNNEL_FLAW_ENUM
                DOG_TUNNEL_FLAW_COUNT
};

const char *dog_tunnel_flaw_word(enum dog_tunnel_flaw flaw);
const char *dog_tunnel_flaw_text(enum dog_tunnel_flaw flaw);

/** Read a header; the cursor ends at the inner packet. The tag is not checked: that needs the key. */
enum dog_tunnel_flaw dog_tunnel_read(struct dog_bytes *in, struct dog_tunnel_header *h);
/** Write a header with h->tag as it stands; out->failed when it does not fit. */
void dog_tunnel_write(struct dog_bytes *out, const struct dog_tunnel_header *h);

/**
 * The tag: SipHash-2-4 (Aumasson and Bernstein, 2012) over sequence, send time, flags, path, epoch, tunnel
 * and class as they stand on the wire, 23 octets. The inner packet is not covered.
 */
void dog_tunnel_tag(const struct dog_tunnel_header *h, const uint8_t key[DOG_TUNNEL_KEY_SIZE],
                    uint8_t tag[DOG_TUNNEL_TAG_SIZE]);
/** In constant time. */
bool dog_tunnel_tag_is_right(const struct dog_tunnel_header *h, const uint8_t key[DOG_TUNNEL_KEY_SIZE]);
/** One line for people: "tunnel 7 class 2 path 1 of {0,1} seq 42 sent 0.001500s epoch 0". */
int dog_tunnel_text(const struct dog_tunnel_header *h, char *to, size_t size);
