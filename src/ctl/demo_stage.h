#pragma once
/**
 * The stage of `sundog demo`: finds what the demo stands on, makes a world of its own for it, and ends that
 * world.
 *
 * The world is a mount namespace with a private /run and a PID namespace whose first process is lab/demo.sh.
 * Killing that process ends every process, mount and network namespace made under it, however far it had
 * come; nothing has to be undone, so nothing can be forgotten. It also dies with us.
 */
#include "base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct demo_stage {
        char source[PATH_MAX];  /**< holds lab/demo.sh, tests/lab/lab.sh, bench/gateway.sh */
        char build[PATH_MAX];   /**< holds lab/linkemu and the other tools */
        char paths[PATH_MAX];   /**< holds demo.playlist */
        char sundog[PATH_MAX];  /**< this program */
        char sundogd[PATH_MAX]; /**< the daemon */
        pid_t pid;              /**< of the first process; 0: none */
        int from_fd, to_fd;     /**< its standard output and input; -1: closed */
        char line[1024];
        size_t used;
};

/**
 * Look beside this program: the build folder inside its source, or the folders of an installation.
 * SUNDOG_SOURCE and SUNDOG_BUILD name others.
 * @return 0; -EPERM without root, -ENOENT when a file or a tool is missing: the sentence says which, and the
 * package
 */
int demo_stage_find(struct demo_stage *s, struct dog_err *e);

/**
 * Leave the mount and PID namespaces of whoever called (for good: this process sees the private /run) and
 * start lab/demo.sh there. The settings are its environment.
 * @param seconds  of the recording; 0: all
 */
int demo_stage_start(struct demo_stage *s, unsigned seconds, const char *rate, uint64_t download_bytes,
                     struct dog_err *e);

/**
 * The next whole line the script has written, waiting at most so long.
 * @return 1 and the line, which stays until the next call; 0: none yet; -EPIPE: the script has ended
 */
int demo_stage_line(struct demo_stage *s, int wait_ms, const char **line);

/** Run a tool of the lab with its output into a file, and wait. @return 0, or -EIO with its exit code */
int demo_stage_run(const struct demo_stage *s, const char *tool, char *const argv[], const char *into,
                   struct dog_err *e);

/** End everything that was started. May be called twice. */
void demo_stage_stop(struct demo_stage *s);
