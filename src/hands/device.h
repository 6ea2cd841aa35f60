#pragma once
/**
 * A tunnel device: a veth pair NAME (routed to) and NAMEp (where the programs are).
 *
 * What a packet loses without each setting (measured): queues = CPUs, or two CPUs that share one
 * ring drop 40 %; GRO on, or nothing comes out of a redirect; checksum and segmentation offload
 * off, or TCP through an XDP redirect has wrong checksums and hangs.
 * Needs CAP_NET_ADMIN: called by hands.
 */
#include "hands/netlink.h"

struct dog_device {
        struct dog_link link; /**< NAME */
        struct dog_link peer; /**< NAMEp */
        bool was_there;
};

/** Make it, or adopt one of ours of the same name. -EEXIST: a device of that name is not ours. */
int dog_device_make(struct dog_device *d, const struct dog_hands_device *want, struct dog_err *e);
/** -EPERM when the device is not ours; 0 when there is none. */
int dog_device_remove(const char *name, struct dog_err *e);
/** On both ends. */
int dog_device_mtu(const char *name, uint32_t mtu, struct dog_err *e);
