#pragma once
/**
 * Sockets that take a privilege to make and none to use. Called by hands; the decider gets the descriptor.
 * All are non-blocking and close on exec. Errors: a negative errno with a sentence.
 */
#include "hands/netlink.h"

/** Sends Ethernet frames on a device past its queueing discipline; receives nothing, ever: packet(7). */
int dog_socket_frames(const struct dog_link *link, struct dog_err *e);

/**
 * Sends ICMP or ICMPv6 echo requests through a device, receives the answers: the kernel's ping socket, or,
 * where net.ipv4.ping_group_range forbids it, a raw one whose filter lets nothing but echo replies in.
 * @param version  4 or 6
 */
int dog_socket_ping(const struct dog_link *link, uint32_t version, bool *is_raw, struct dog_err *e);
