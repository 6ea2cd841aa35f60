#pragma once
/**
 * The front's XDP program for tests and benches: loaded, its maps filled as a front would, no device
 * attached.
 */
#include "base/err.h"
#include "kinds/instance/maglev.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#include "instance_xdp.skel.h"
#pragma GCC diagnostic pop

#include <stdbool.h>

#define XDP_RIG_VIPS 8

struct xdp_rig {
        struct instance_xdp *skel;
        struct instance_pick *table; /* mapped: row n of XDP_RIG_VIPS begins at n * INSTANCE_ROW */
        struct instance_server *servers;
        int cpus;
};

/**
 * @param conns  room for protected connections, IPv4 and IPv6 each
 * @return 0; -EPERM without CAP_BPF; another errno with a sentence. Close it in any case
 */
int xdp_rig_open(struct xdp_rig *rig, __u32 conns, struct dog_err *e);
void xdp_rig_close(struct xdp_rig *rig);

/** A vip whose number and row are `vip->number`, and the entry that claims the rest of its address. */
int xdp_rig_vip(struct xdp_rig *rig, const struct instance_address *address, __be16 port, __u8 proto,
                const struct instance_vip *vip);
/** Server `number` with its way back: by its own address, or with `is_l2` by the vip's and s->mac. */
int xdp_rig_server(struct xdp_rig *rig, __u16 number, const struct instance_server *s,
                   const struct instance_address *vip, __be16 vip_port, __u8 proto, bool is_l2);
/** Frames may leave by this device. */
int xdp_rig_out(struct xdp_rig *rig, __u32 ifindex);
int xdp_rig_conn(struct xdp_rig *rig, const struct instance_flow *flow, bool is_v6,
                 const struct instance_conn *conn);

/** Sums over CPUs. */
__u64 xdp_rig_drops(struct xdp_rig *rig, enum instance_drop why);
struct instance_vip_stats xdp_rig_vip_stats(struct xdp_rig *rig, __u32 vip);
struct instance_server_stats xdp_rig_server_stats(struct xdp_rig *rig, __u32 server);

/** Run the program once. @return its verdict or a negative errno; *size is in and out */
int xdp_rig_run(struct xdp_rig *rig, const void *frame, __u32 bytes, void *out, __u32 *size);
