#pragma once
/**
 * BPF objects on behalf of the decider: maps that outlive every process, programs with constants,
 * device maps, XDP links. Needs root; called by hands only.
 *
 * What is pinned (below policy->pin_folder, mode 0700):
 *     INSTANCE/MAP          every map of an object opened in that instance
 *     INSTANCE/xdp-DEVICE   the link that holds a program on a device
 *     INSTANCE/tcx-in-DEVICE, tcx-out-DEVICE   the same on its traffic control hooks
 *     INSTANCE/cls-in-DEVICE, cls-out-DEVICE   the program itself, where a filter holds it
 * Other programs are not pinned: a link or a device map holds those that are in use, and a new session
 * loads its own and swaps them in, one atomic update each. That makes a restart and an upgrade
 * the same thing.
 */
#include "hands/message.h"
#include "hands/policy.h"

#include <stddef.h>
#include <stdint.h>

/** An object file in memory, registered by the top floor; hands knows no kind. Borrowed. */
struct dog_hands_object {
        const char *name;
        const void *bytes;
        size_t length;
};

struct dog_bpf;

/**
 * Prepare the pin folder, mounting a BPF file system if there is none.
 * @param policy, objects  borrowed until dog_bpf_close
 */
int dog_bpf_open(struct dog_bpf **b, const struct dog_hands_policy *policy,
                 const struct dog_hands_object *objects, size_t n_objects, struct dog_err *e);
/** Closes descriptors; what is pinned or attached stays. */
void dog_bpf_close(struct dog_bpf *b);

/**
 * Make or adopt the maps of an object. A pinned map is adopted when type, sizes, flags and the
 * layout of key and value (BTF) agree with the object; otherwise it is replaced by a new one,
 * which gets the old entries if only the number of entries differs and the request says so. The old one goes
 * on serving the attached programs until they are swapped.
 * @return 0; -ENOENT (object or `from`), -ENOSPC (policy's memory), -ENOTUNIQ (a map of that name and
 *         another shape is open in this instance), or the kernel's error
 */
int dog_bpf_instance_open(struct dog_bpf *b, const struct dog_hands_open *want, struct dog_hands_reply *r,
                          struct dog_err *e);
/** Unpin and close everything of an instance; its programs leave their devices. 0 if there is none. */
int dog_bpf_instance_forget(struct dog_bpf *b, const char *instance, struct dog_err *e);

/**
 * The descriptor of a map, which stays ours. Device maps and arrays of maps are refused (-EACCES):
 * they name devices, and devices are for the policy to allow.
 */
int dog_bpf_map_fd(struct dog_bpf *b, const struct dog_hands_map *want, struct dog_hands_reply *r,
                   struct dog_err *e);

int dog_bpf_program_load(struct dog_bpf *b, const struct dog_hands_program *want, struct dog_hands_reply *r,
                         struct dog_err *e);
int dog_bpf_program_drop(struct dog_bpf *b, uint32_t handle, struct dog_err *e);

int dog_bpf_devmap_set(struct dog_bpf *b, const struct dog_hands_devmap *want, struct dog_err *e);

/**
 * Put a program on a device, or swap the one of ours that is there without a gap.
 * AUTO falls back to generic XDP when the driver refuses, and says so in e->text with a return of 0.
 * @return 0; -EBUSY: a program that is not ours is there, and the sentence names it
 */
int dog_bpf_attach(struct dog_bpf *b, const struct dog_hands_attach *want, struct dog_hands_reply *r,
                   struct dog_err *e);
int dog_bpf_detach(struct dog_bpf *b, const struct dog_hands_attach *want, struct dog_err *e);

/**
 * Put a program on a device's ingress or egress, behind whatever is there, or exchange ours without a gap.
 * A filter of somebody else is never touched.
 * @return 0 (r->as.tc says what it became); -EBUSY: the filter's place is taken by a stranger;
 *         -EOPNOTSUPP: LINK was asked for and the kernel has none
 */
int dog_bpf_tc_attach(struct dog_bpf *b, const struct dog_hands_tc *want, struct dog_hands_reply *r,
                      struct dog_err *e);
/** 0 also when there was none. The empty clsact stays: another may have come to use it. */
int dog_bpf_tc_detach(struct dog_bpf *b, const struct dog_hands_tc *want, struct dog_err *e);
