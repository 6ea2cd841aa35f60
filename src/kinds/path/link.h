#pragma once
/**
 * One tunnel at work: its data plane, a STAMP session and a reflector for every path, and the
 * groups of its classes. What a path's probes see is a sample for every class, because each
 * class judges it by its own promise.
 *
 * The link does not know an event loop. Its owner polls the descriptors that it is told of by `watch` and
 * calls path_link_on_readable for each, and path_link_on_timer at the time that was returned.
 */
#include "core/caution.h"
#include "core/loop.h"
#include "kinds/path/tunnel.h"
#include "sources/stamp.h"

extern const struct dog_kind path_kind;

struct path_link_path {
        struct path_tunnel_path path;
        double price_per_gb;
        enum dog_role role;
};

/** A class of traffic: which packets, what was promised, how eagerly to copy. */
struct path_link_class {
        const char *name;
        unsigned number; /**< 0: everything that no rule matches */
        struct dog_promise promise;
        struct dog_policy policy;
        uint32_t silence_ms; /**< reflex of the data plane; 0: none */
};

struct path_link;

struct path_link_settings {
        const char *name;   /**< of the tunnel */
        const char *secret; /**< name of the key among hands' secrets */
        struct path_tunnel_settings tunnel;
        struct path_link_path path[PATH_PATHS_MAX];
        unsigned paths;
        struct path_link_class *class;
        unsigned classes;
        struct path_rule *rule;
        uint32_t rules;
        uint16_t stamp_port;
        int64_t stamp_interval_ns; /**< between probes while no class sends */
        int64_t stamp_busy_ns;     /**< on a path that carries traffic; four times that on the others, then */
        /** Every sample, as the groups get it; may be NULL. For whoever keeps telemetry. */
        void (*sample)(void *user, unsigned path, const struct dog_sample *s);
        /**
         * Start or stop polling a descriptor for reading, then call path_link_on_readable(). Sockets
         * come and go with their devices; a descriptor is closed right after it was told off.
         */
        void (*watch)(void *user, struct path_link *l, int fd, bool is_on);
        /**
         * What is announced for the members of this group from outside: fill c, one for each, all zero
         * before. Asked in `forecast`; may be NULL.
         */
        void (*caution)(void *user, const struct dog_group *g, int64_t now_ns, struct dog_caution c[]);
        void *user;
};

/**
 * Open or adopt the tunnel, prepare measuring, and add one group a class to the loop. Everything
 * in `settings` is copied. path_link_commit() then puts it to work.
 * @return 0, or what the tunnel, hands or the sockets said; then nothing is left but what was pinned before
 */
int path_link_open(struct path_link **l, const struct path_link_settings *settings, struct path_host *host,
                   struct dog_hands_client *hands, struct dog_loop *loop, int64_t now_ns, struct dog_err *e);
/** Put it to work. With several links, open all of them first: they share the program that receives. */
int path_link_commit(struct path_link *l, struct dog_err *e);
/** Let go. The groups must have left the loop. What forwards goes on forwarding. NULL is allowed. */
void path_link_close(struct path_link *l);

void path_link_on_readable(struct path_link *l, int fd, int64_t now_ns);
/** Send what is due. @return when to call again */
int64_t path_link_on_timer(struct path_link *l, int64_t now_ns);
/** Devices, routes or neighbours changed: look at every path again. */
void path_link_refresh(struct path_link *l, int64_t now_ns);

/**
 * What a path's modem or dish says. It counts from the next probe on, in every class; older than stale_ns it says
 * nothing any more.
 */
void path_link_radio(struct path_link *l, unsigned path, const struct dog_radio *r, int64_t stale_ns);
/** What it has said so far; NULL: nothing yet. */
const struct dog_radio_past *path_link_radio_past(const struct path_link *l, unsigned path);

const char *path_link_name(const struct path_link *l);
const struct path_link_settings *path_link_settings(const struct path_link *l);
struct path_tunnel *path_link_tunnel(struct path_link *l);
/** The group of class i of the settings. */
struct dog_group *path_link_group(const struct path_link *l, unsigned i);

/** What is known of one path besides what groups believe. */
struct path_link_view {
        const struct dog_stamp_session_stats *probe; /**< NULL: not probed, its far address is unknown */
        struct dog_stamp_report report;              /**< the far end's newest counters */
        int64_t report_ns;                           /**< when they came; 0: never */
        double passive_loss; /**< of user traffic since the report before; NaN: too little */
        double delay_ms;     /**< above the fastest path, one way; NaN: unknown */
};

struct path_link_view path_link_view(const struct path_link *l, unsigned path);
