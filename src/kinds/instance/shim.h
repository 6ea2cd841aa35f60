#pragma once
/**
 * The shim's loader, for the agent on a server: see instance_shim_abi.h for what the programs do.
 *
 * Needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (or root) in _open, _service_set and _remove; everything else
 * goes through descriptors that are open then. The programs stay on their devices when the process ends, and
 * so do the maps when a pin folder is given: a new process that opens the same one adopts the maps and swaps
 * the programs, and no connection notices. Without a folder a new process starts with an empty table, and the
 * connections that this server stands by for lose their standby.
 *
 * Clocks: front and servers must agree on the wall clock within a minute (instance_cookie.h, epochs).
 */
#include "base/err.h"
#include "hands/message.h"
#include "kinds/instance/instance_shim_abi.h"

#include <stdbool.h>
#include <stdint.h>

#define INSTANCE_SHIM_DEVICES 8

struct instance_shim_setup {
        const char *device[INSTANCE_SHIM_DEVICES]; /**< Ethernet devices towards the front */
        unsigned devices;
        const char *pin_folder; /**< on a BPF file system, made if missing; NULL: not pinned */
        uint8_t dscp;           /**< code point of the front's copies, 0..63; 0 means INSTANCE_SHIM_DSCP */
        uint32_t standbys_most; /**< connections to stand by for; 0 means 65536 */
};

struct instance_shim_loader;

/**
 * Can this kernel build sockets from a packet (6.9 and later), and does this network namespace let it?
 * @return 0; -ENOSYS: the kernel, -EOPNOTSUPP: its setting; the sentence says what is missing. Such a server
 *         is used in translated mode
 */
int instance_shim_probe(struct dog_err *e);
/** The setting alone, which somebody may change at any time. Needs no privilege. @return 0 or -EOPNOTSUPP */
int instance_shim_allowed(struct dog_err *e);

/**
 * Load and attach. Probes first.
 * @param setup  borrowed for the call
 * @return 0; -ENOSYS, -EOPNOTSUPP as _probe; -ENODEV; -EINVAL (not Ethernet, too many devices, DSCP); or the
 * kernel's
 */
int instance_shim_open(struct instance_shim_loader **s, const struct instance_shim_setup *setup,
                       struct dog_err *e);
/** Let go; the programs go on. NULL is allowed. */
void instance_shim_close(struct instance_shim_loader *s);
/** Take the programs off and forget the pins; closes s. Aligned connections then live on as any other; those
 * that we stand by for are reset when their next copy comes. */
int instance_shim_remove(struct instance_shim_loader *s, struct dog_err *e);
/** The same for what another process has left behind, without loading anything: works where _open refuses. A
 * device that is gone has no program on it. */
int instance_shim_take_off(const struct instance_shim_setup *setup, struct dog_err *e);

/**
 * Make or change service `number`: a listening socket of this server that protected connections come to.
 * @param address  as the socket sees it: the server's own (NAT), or the vip's (L2)
 * @param keys     of that vip; the same on the front
 */
int instance_shim_service_set(struct instance_shim_loader *s, unsigned number,
                              const struct dog_hands_address *address, uint16_t port,
                              const struct instance_cookie_keys *keys, struct dog_err *e);
/** -ENOENT: there is none. */
int instance_shim_service_remove(struct instance_shim_loader *s, const struct dog_hands_address *address,
                                 uint16_t port, struct dog_err *e);

/** Set wall clock minus monotonic. _open does it once; call it now and then, and after a step of the clock.
 */
int instance_shim_clock_set(struct instance_shim_loader *s, int64_t wall_ns, int64_t mono_ns,
                            struct dog_err *e);

/** Sums over all CPUs since the maps were made. */
int instance_shim_counts_read(struct instance_shim_loader *s, uint64_t count[INSTANCE_SHIM_COUNTS_ALL]);
const char *instance_shim_count_word(enum instance_shim_count c);
const char *instance_shim_count_help(enum instance_shim_count c);
