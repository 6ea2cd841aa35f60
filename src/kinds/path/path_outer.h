#pragma once
/**
 * The outer headers of one path, as path_egress wants them in its .rodata. User space only.
 */
#include <linux/types.h>

struct path_outer4 {
        __u8 mac_to[6];   /**< next hop on this path */
        __u8 mac_from[6]; /**< the underlay device */
        __be32 from, to;  /**< IPv4 addresses, network order */
        __u16 port_from;  /**< UDP ports, host order */
        __u16 port_to;
        __u8 dscp; /**< 0..63; ECN stays 0 (RFC 6040, compatibility mode) */
        __u8 ttl;  /**< 0 means 64 */
        __u16 pad;
};

/**
 * Make the 42 bytes in front of the tunnel header, and the checksum base.
 * IPv4 with DF set; an atomic packet, so its identification is 0 (RFC 6864, section 4.1).
 *
 * @param words  6 words, filled; the last 6 bytes are 0
 * @return what .rodata calls path_ip_sum
 */
__u32 path_outer_ip4(const struct path_outer4 *o, __u64 words[6]);
