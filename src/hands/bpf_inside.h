#pragma once
/** What the files of BPF work share: bpf.c (maps, programs, XDP) and tc.c. */
#include "hands/bpf.h"

const struct dog_hands_policy *dog_bpf_policy(const struct dog_bpf *b);
/** The descriptor of a loaded program, which stays ours; -ENOENT. */
int dog_bpf_program_fd(const struct dog_bpf *b, uint32_t handle, struct dog_err *e);
/** Its id, or 0; `name` may be NULL, else it has room for BPF_OBJ_NAME_LEN bytes. */
uint32_t dog_bpf_program_id(int fd, char *name);

/** Take off every filter that an instance has on a device of the policy. */
void dog_bpf_tc_forget(const struct dog_hands_policy *policy, const char *instance);
