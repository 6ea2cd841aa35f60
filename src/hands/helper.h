#pragma once
/**
 * Processes that the decider needs and cannot start itself: it may not fork. Hands starts them, from a list
 * that was made before the split; each gives up all privileges first and talks to the decider by one socket.
 */
#include "base/err.h"

/** One kind of helper. The texts and `data` are borrowed. */
struct dog_hands_helper {
        const char *name; /**< what the decider asks for */
        const char *user; /**< it becomes; NULL: see dog_privileges_drop */
        /**
         * All it does, with nothing open but standard output, errors and fd. Enters a filter of system calls
         * of its own, and returns, with the exit status, when fd is closed at the other end.
         */
        int (*run)(int fd, const void *data);
        const void *data;
};

/**
 * Start it. It dies with this process.
 * @param fd   the decider's end: SOCK_SEQPACKET, not blocking; the caller's to close
 * @param pid  the caller's to wait for
 * @return 0 or a negative errno
 */
int dog_helper_start(const struct dog_hands_helper *h, int *fd, int *pid, struct dog_err *e);
