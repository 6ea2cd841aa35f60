#pragma once
/**
 * Outside feeds in the daemon: from the configuration to sources/feed.h, the socket to the process that
 * fetches on libuv's loop, and who a feed's names are among paths and instances.
 */
#include "core/caution.h"
#include "daemon/config.h"
#include "hands/client.h"
#include "sources/feed.h"

#include <jansson.h>
#include <uv.h>

struct feeds;

/** The name of the helper that fetches, and all it does: for hands' list. data is the configuration. */
#define FEEDS_HELPER "feeds"
int feeds_fetch(int fd, const void *data);

/**
 * Begin to fetch: hands starts the process that does, and another one when it dies.
 * @param hands  borrowed
 * @param tell   gets every sentence: "feed" events; `feed` is "" where it is about all
 * @return 0, and *f NULL when the configuration has no feeds; a negative errno
 */
int feeds_open(struct feeds **f, const struct dog_config *config, struct dog_hands_client *hands,
               uv_loop_t *uv, void (*tell)(void *user, const char *feed, bool is_warning, const char *text),
               void *user, struct dog_err *e);
/** Stop the handles; free with feeds_free() after the loop has ended. NULL is allowed, in both. */
void feeds_close(struct feeds *f);
void feeds_free(struct feeds *f);

/** What is announced for the paths of tunnel `tunnel`, in their order. */
void feeds_caution_paths(const struct feeds *f, size_t tunnel, const struct dog_group *g,
                         struct dog_caution c[]);
/** ... for the instances of a vip, by the members' names. */
void feeds_caution_instances(const struct feeds *f, const struct dog_group *g, struct dog_caution c[]);

/** The answer to `sundog feeds`: an array, a feed an entry. NULL f: an empty one. */
json_t *feeds_view(const struct feeds *f);

/** The settings of one feed; texts are borrowed, but *affects is the caller's to free. 0 or -ENOMEM. */
int feeds_plan(const struct dog_config_feed *from, struct dog_feed_settings *to, const char ***affects);
