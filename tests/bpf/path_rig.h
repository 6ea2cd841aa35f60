#pragma once
/**
 * A whole tunnel for tests and benches: the three real objects loaded and sharing their maps the
 * way a daemon does it, without any device attached. One tunnel in each direction of the same
 * rig: what it replicates, it can eliminate.
 */
#include "kinds/path/path_abi.h"
#include "kinds/path/path_outer.h"

#include "base/err.h"
#include "path_bpf.h"

#include <stdbool.h>

struct path_rig_setup {
        __u32 classes;     /**< default 1 */
        __u32 rules_max;   /**< default 64 */
        __u32 window;      /**< sequences a class; default PATH_WINDOW */
        __u32 sample_mask; /**< as struct path_class; default 15 */
        __u32 subset;      /**< of every class; default 3 */
        __u32 tunnel;      /**< the tunnel's number at the receiver; default 0 */
        __u32 mtu;         /**< of a path; default 1500 */
        __u32 check_every; /**< default: what the program is built with */
        __u32 flows;       /**< size of the flow table; default 65536 */
        bool runnable;     /**< load egress so that BPF_PROG_RUN takes it: not as a devmap program */
};

struct path_rig {
        struct path_rig_setup is;
        struct path_replicate *replicate;
        struct path_eliminate *eliminate;
        struct path_egress *egress[PATH_PATHS_MAX];
        struct path_settings *settings; /* mapped */
        struct path_class *classes;
        struct path_seq *seqs;
        struct path_rx_tunnel *tunnels;
        struct path_rx_class *rx_classes;
        __u64 *slots;
        int subset_fd[PATH_SUBSETS];
        int cpus;
};

#define PATH_RIG_PORT 4754

/** @return 0; -EPERM without CAP_BPF; another errno with a sentence. Close it in any case. */
int path_rig_open(struct path_rig *rig, const struct path_rig_setup *setup, struct dog_err *e);
void path_rig_close(struct path_rig *rig);

/** Fill the subset maps: path p leaves through ifindex[p] (0: no such path). In the caller's netns. */
int path_rig_paths(struct path_rig *rig, const int ifindex[PATH_PATHS_MAX], struct dog_err *e);
/** Where the receiver delivers: the far end of the tunnel's device. */
int path_rig_out(struct path_rig *rig, int ifindex, struct dog_err *e);
/** Put rules into the bank not in force and switch to it. */
int path_rig_rules(struct path_rig *rig, const struct path_rule *rules, __u32 count, struct dog_err *e);

/** Sums over CPUs. */
__u64 path_rig_drops(struct path_rig *rig, enum path_drop why);
struct path_rx_stats path_rig_rx(struct path_rig *rig, __u32 path);
/** Copies handed to a path and not refused there. */
__u64 path_rig_sent(struct path_rig *rig, __u32 path);
struct path_class_tx path_rig_class_tx(struct path_rig *rig, __u32 klass);
struct path_class_rx path_rig_class_rx(struct path_rig *rig, __u32 klass);
/** Packets delivered that were sent on this subset, whichever path won. */
__u64 path_rig_by_subset(struct path_rig *rig, __u32 subset);
/** Packets of which this path's copy won. */
__u64 path_rig_won(struct path_rig *rig, __u32 path);
/** Forget every counter. */
void path_rig_zero(struct path_rig *rig);

/** Run one program on one frame. @return the XDP verdict or a negative errno; *size is in and out. */
int path_rig_run(int prog_fd, const void *frame, __u32 bytes, void *out, __u32 *size);
