#pragma once
/**
 * What the daemon shows: the answers to `sundog status`, `paths`, `forecast` and `explain`, as
 * JSON. Reads the loop and the links; changes nothing.
 */
#include "core/loop.h"
#include "daemon/config.h"
#include "daemon/radios.h"
#include "daemon/trees.h"
#include "kinds/path/link.h"
#include "store/store.h"

#include <jansson.h>

struct view {
        const struct dog_config *config;
        struct dog_loop *loop;
        struct path_link *const *link;
        size_t links;
        struct dog_store *store;     /**< may be NULL */
        const struct radios *radios; /**< NULL: no path has one */
        const struct trees *trees;   /**< may be NULL */
        int64_t started_ns;          /**< monotonic */
        json_t *notes;               /**< array of sentences that an operator should see; borrowed */
};

json_t *view_status(const struct view *v, int64_t now_ns);
json_t *view_paths(const struct view *v, int64_t now_ns);
/** @param path  NULL: all */
json_t *view_forecast(const struct view *v, const char *path, int64_t now_ns);
/** "class/tunnel" only when there are several tunnels, else the class. The group's own name otherwise. */
const char *view_tunnel_of(const struct view *v, const struct dog_group *g);
