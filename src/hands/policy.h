#pragma once
/**
 * What hands may touch, whatever the decider asks. Filled by root from the configuration before
 * the split and never changed by a message. Ask of every operation: what would a decider do with
 * it that has been taken over? So a device must be named here (and as what), a UDP port, a routed
 * prefix, a secret and a helper process too; pins stay below one folder; the memory of maps is bounded.
 *
 * The struct holds copies; it owns nothing and can be copied.
 */
#include "base/err.h"
#include "hands/helper.h"
#include "hands/message.h"

#include <stdbool.h>
#include <stdint.h>

#define DOG_HANDS_PIN_FOLDER "/sys/fs/bpf/sundog"
#define DOG_HANDS_DEVICES    64
#define DOG_HANDS_PORTS      64
#define DOG_HANDS_PREFIXES   64
#define DOG_HANDS_SECRETS    192
#define DOG_HANDS_HELPERS    4

enum dog_hands_role {
        /**
         * Exists already: programs may go on it, copies may leave by it, servers may be asked through it, and
         * frames be sent. The last is much: whoever holds such a socket can send in any name, on any device.
         */
        DOG_DEVICE_UNDERLAY,
        DOG_DEVICE_TUNNEL, /**< ours: a veth pair NAME + NAMEp; may be made, removed and routed to */
};

struct dog_hands_policy {
        char pin_folder[128];    /**< absolute; made with mode 0700, a BPF file system is mounted if needed */
        uint64_t map_bytes_most; /**< all pinned maps together */
        unsigned n_devices, n_ports, n_prefixes, n_secrets, n_helpers;
        struct {
                char name[DOG_HANDS_NAME];
                enum dog_hands_role role;
        } device[DOG_HANDS_DEVICES];
        struct {
                uint16_t low, high;
        } port[DOG_HANDS_PORTS];
        struct dog_hands_address prefix[DOG_HANDS_PREFIXES];
        struct {
                char name[DOG_HANDS_NAME];
                char path[256];
        } secret[DOG_HANDS_SECRETS];
        struct dog_hands_helper helper[DOG_HANDS_HELPERS];
};

/** Nothing allowed; the preset folder; 512 MiB of maps. */
void dog_hands_policy_init(struct dog_hands_policy *p);

/** All: 0, -EINVAL for something that cannot be meant, -ENOSPC when the table is full. */
int dog_hands_policy_folder(struct dog_hands_policy *p, const char *folder, struct dog_err *e);
int dog_hands_policy_device(struct dog_hands_policy *p, const char *name, enum dog_hands_role role,
                            struct dog_err *e);
int dog_hands_policy_port(struct dog_hands_policy *p, uint16_t low, uint16_t high, struct dog_err *e);
int dog_hands_policy_prefix(struct dog_hands_policy *p, const struct dog_hands_address *prefix,
                            struct dog_err *e);
int dog_hands_policy_secret(struct dog_hands_policy *p, const char *name, const char *path,
                            struct dog_err *e);
int dog_hands_policy_helper(struct dog_hands_policy *p, const struct dog_hands_helper *helper,
                            struct dog_err *e);

/** May this device be used as `role`? A tunnel's peer NAMEp counts as the tunnel. -EACCES says how to allow
 * it. */
int dog_hands_policy_may_use(const struct dog_hands_policy *p, const char *device, enum dog_hands_role role,
                             struct dog_err *e);
/** Underlay or tunnel, either end. */
int dog_hands_policy_may_attach(const struct dog_hands_policy *p, const char *device, struct dog_err *e);
int dog_hands_policy_may_bind(const struct dog_hands_policy *p, uint32_t port, struct dog_err *e);
int dog_hands_policy_may_route(const struct dog_hands_policy *p, const struct dog_hands_address *to,
                               struct dog_err *e);
/**
 * May a tunnel device have this address? Only where its whole network is inside an allowed prefix:
 * the kernel makes a route to the network, and 10.0.0.1/0 would draw in everything.
 */
int dog_hands_policy_may_address(const struct dog_hands_policy *p, const struct dog_hands_address *address,
                                 struct dog_err *e);
/** The path of a secret, or NULL. */
const char *dog_hands_policy_secret_path(const struct dog_hands_policy *p, const char *name);
/** Which of the helpers has this name; -1: none. */
int dog_hands_policy_helper_of(const struct dog_hands_policy *p, const char *name);

/** Read "10.0.0.1", "10.0.0.0/8", "fd00::1/64". A missing prefix means all bits. -EINVAL. */
int dog_hands_address_parse(struct dog_hands_address *a, const char *text, struct dog_err *e);
/** Write it for people, with its prefix unless that is all bits. `to` holds at least 64 bytes. */
const char *dog_hands_address_text(const struct dog_hands_address *a, char *to);
bool dog_hands_address_same(const struct dog_hands_address *a, const struct dog_hands_address *b);
/** Is `a` inside `prefix`? */
bool dog_hands_address_within(const struct dog_hands_address *a, const struct dog_hands_address *prefix);
