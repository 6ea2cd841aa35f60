#pragma once
/**
 * The two processes. The caller starts as root; this process becomes hands and the parent, its
 * child becomes the decider, without privileges, and is started again (with growing pauses) when
 * it dies. If hands dies, the decider reads end-of-file and exits, and the service manager
 * starts both. Nothing that forwards depends on either.
 */
#include "hands/client.h"
#include "hands/privilege.h"
#include "hands/server.h"

struct dog_split {
        const struct dog_hands_policy *policy;
        const struct dog_hands_object *objects;
        size_t n_objects;
        const char *user;         /**< of the decider; NULL: see dog_privileges_drop */
        enum dog_seccomp seccomp; /**< what the decider may do */
        /**
         * The decider; runs without privileges. Polls dog_hands_client_fd and returns when that is
         * readable between calls, or on SIGTERM. Its return value is the exit status.
         */
        int (*decider_main)(struct dog_hands_client *hands, void *data);
        void *data;
};

/**
 * Run until SIGTERM or SIGINT, or until the decider ends by itself with status 0. A first decider
 * that ends by itself before dog_hands_ready is not restarted: its configuration will not get better
 * by trying. SIGHUP, SIGUSR1 and SIGUSR2 are handed to the decider.
 *
 * @return the exit status for main: the decider's own, or 1 with a sentence in e
 */
int dog_split_run(const struct dog_split *split, struct dog_err *e);

/**
 * How long to wait before something that died is started again: 100 ms, then twice as long each time, 30 s at
 * most; who lived for a minute begins anew.
 * @param last_ms  the last pause; 0: none yet
 */
int dog_split_pause_ms(int last_ms, int64_t lived_ns);

/** fork and socketpair alone: 0 in the parent with *server_fd and *pid set; in the child *client is set and
 * *pid is 0. */
int dog_hands_start(struct dog_hands_client *client, int *server_fd, int *pid, struct dog_err *e);
