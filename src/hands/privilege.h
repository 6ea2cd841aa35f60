#pragma once
/**
 * Giving privileges up. After dog_privileges_drop and dog_seccomp_enter a process has its own
 * uid, no capability in any set, cannot gain one by executing a file, and can make only the
 * system calls it needs. Neither can be undone.
 */
#include "base/err.h"

#include <stdbool.h>

/** The user of the decider when the configuration names none: this one if it exists, else nobody. */
#define DOG_PRIVILEGE_USER "sundog"

/**
 * Become `user`: its uid, gid and groups; drop all capabilities and the bounding set; set
 * no_new_privs. A process that is not root keeps its uid and gives up the rest. The result is
 * checked, not assumed.
 *
 * @param user  a name, or NULL for DOG_PRIVILEGE_USER or nobody
 * @return 0; -ENOENT (no such user), -EPERM (something remained, and the sentence says what)
 */
int dog_privileges_drop(const char *user, struct dog_err *e);

/**
 * Keep, in the privileged process, only the capabilities that its operations need: BPF, network
 * administration, low ports, mounting the BPF file system, key files of others, and what
 * starting and stopping the decider takes.
 */
int dog_privileges_keep_hands(struct dog_err *e);

enum dog_seccomp {
        DOG_SECCOMP_STRICT = 0,
        DOG_SECCOMP_EXEC = 1,  /**< may also start other programs: operator's hooks */
        DOG_SECCOMP_FETCH = 2, /**< a client of the network that reads files, and forks: no bpf, no writing of
                                  files, no listening, no programs */
};

/**
 * Allow this process the system calls of an event loop with sockets, files, threads and a data
 * base, and no others; those fail with EPERM. bpf() is limited to reading and writing maps one
 * has, socket() to UNIX, IPv4, IPv6 and netlink; memory that is anonymous or was writable cannot
 * become executable. DOG_SECCOMP_FETCH has a list of its own, and a shorter one. Requires no_new_privs
 * (dog_privileges_drop).
 */
int dog_seccomp_enter(enum dog_seccomp how, struct dog_err *e);
