#pragma once
/**
 * The radios of a configuration's paths in the daemon's event loop: opens a source for each path that has
 * one, polls it, and hands readings over.
 */
#include "daemon/config.h"
#include "sources/radio.h"

#include <uv.h>

struct radios;

struct radios_calls {
        /** A reading of path `path` of tunnel `tunnel`, both by their place in the configuration. */
        void (*reading)(void *user, size_t tunnel, size_t path, const struct dog_radio *r);
        /** A source fell silent, or tells again. */
        void (*news)(void *user, size_t tunnel, size_t path, bool is_warning, const char *text);
        void *user;
};

/**
 * @return 0, also when no path has a radio (then *r is NULL); -ENOMEM, -EINVAL
 */
int radios_open(struct radios **r, const struct dog_config *config, uv_loop_t *loop,
                const struct radios_calls *calls, struct dog_err *e);
/** The sources are let go; the handles are the loop's until it has run once more. NULL is allowed. */
void radios_close(struct radios *r);
/** NULL: this path has none. */
const struct dog_radio_stats *radios_stats(const struct radios *r, size_t tunnel, size_t path);
