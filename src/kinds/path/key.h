#pragma once
/**
 * The keys of a tunnel. From one secret of 32 bytes, known to both ends, each direction and epoch
 * gets its own SipHash key: keyed BLAKE2b (RFC 7693) of a label, the sender's number of the
 * tunnel, the receiver's number, and the epoch. The two numbers differ, which is what tells the
 * directions apart: a packet sent back to its sender fails the tag.
 *
 * One secret per pair of gateways: with one secret for several pairs that use the same two
 * numbers, a packet for one would be taken by the other.
 */
#include "kinds/path/path_abi.h"

#include <stdint.h>

struct path_key path_key_derive(const uint8_t secret[32], uint16_t sender, uint16_t receiver, uint8_t epoch);
