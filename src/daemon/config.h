#pragma once
/**
 * The configuration: sundog.conf(5). One YAML file, then conf.d/NAME.yaml beside it in name order.
 *
 * In a drop-in a single value replaces the one before it; profiles, tunnels, classes, instances, vips
 * and feeds are added to the lists. A name may be defined once over all files.
 *
 * Everything that can be written is a row of config_keys.c: its type, default, limits and help.
 * The parser, the printer, the manual page and the "did you mean" all read that table.
 *
 * The reader walks the document tree of libyaml itself and does not use libcyaml. libcyaml
 * reports an unknown key through a log callback, as a text with the line but without knowing the
 * other keys of the mapping; it has no type of our own (80ms, 0.1%, 10.0.0.0/8), and after
 * loading it keeps no positions, so "two paths on one device" or "no such profile" could not name
 * their lines. Walking the tree costs about 200 lines and gives file, line and column to all of them.
 *
 * An error is one sentence that begins with FILE:LINE:COLUMN and says what to write instead:
 *     /etc/sundog/sundog.yaml:14:5: unknown key "latncy" in a profile; did you mean "latency"?
 * Nothing is changed by a configuration that has one.
 *
 * Memory: a configuration is one pool; everything in it lives until dog_config_free().
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define DOG_CONFIG_FILE "/etc/sundog/sundog.yaml"

/** Where a thing was written; file is never NULL. */
struct dog_config_where {
        const char *file;
        unsigned line, column; /**< from 1 */
};

/** An IPv4 address in host byte order, and how many of its leading bits count. */
struct dog_config_prefix {
        uint32_t address;
        uint8_t bits;
};

/** IPv4 or IPv6, in network order; IPv4 uses the first four bytes, the rest is zero. */
struct dog_config_address {
        uint8_t version; /**< 4, 6, or 0: not given */
        uint8_t bytes[16];
};

/** A name in a list of names. */
struct dog_config_word {
        char text[32];
};

/** Both ends included. */
struct dog_config_range {
        uint16_t first, last;
};

/** A promise; see core/promise.h. A limit of 0 is not promised. */
struct dog_config_profile {
        struct dog_config_where where;
        const char *name;
        int64_t latency_ns;
        double latency_factor; /**< ... or so many medians of the last minute, whichever is more; 0: not used
                                */
        int64_t jitter_ns;
        double loss_share;
        double rate_bps;
        int64_t response_ns;
        struct {
                double latency, jitter, loss, rate, response;
        } weight;
        int64_t priority;    /**< 0..7, 7 first */
        double breach_price; /**< of one second of broken promise */
};

enum dog_config_role { DOG_CONFIG_PRIMARY, DOG_CONFIG_BACKUP, DOG_CONFIG_NEVER };

enum dog_config_radio_source {
        DOG_CONFIG_RADIO_NONE,
        DOG_CONFIG_RADIO_MODEM,
        DOG_CONFIG_RADIO_DISH,
        DOG_CONFIG_RADIO_FILE
};

/** Who tells of a path's signal; see sources/radio.h. */
struct dog_config_radio {
        int64_t source;    /**< enum dog_config_radio_source */
        const char *modem; /**< modem: its index, its IMEI, or "auto": the one that has the path's device */
        const char *bus;   /**< modem: socket of the D-Bus that ModemManager is on */
        const char *url;   /**< dish: NULL: none */
        const char *file;  /**< dish, file: NULL: none */
        int64_t interval_ns;
        int64_t stale_ns;
        struct dog_config_where source_at, modem_at, url_at, file_at, stale_at;
};

struct dog_config_path {
        struct dog_config_where where;
        const char *name;
        int64_t id; /**< 0..3, the same at both ends; its place in the list unless written */
        const char *device;
        uint32_t local;      /**< IPv4, host byte order */
        uint32_t remote;     /**< 0: learnt from authenticated packets */
        uint32_t gateway;    /**< 0: as the routing table says */
        double price_per_gb; /**< in the unit of breach_price */
        int64_t role;        /**< enum dog_config_role */
        struct dog_config_radio radio;
};

struct dog_config_tunnel {
        struct dog_config_where where;
        const char *name;
        int64_t id; /**< 1..255, the same at both ends; its place in the list, from 1, unless written */
        const char *device;
        const char *peer;                 /**< the far site's name */
        struct dog_config_prefix address; /**< of the device, with the prefix length of its net */
        int64_t mtu;                      /**< 0: found per path */
        const char *key_file;
        struct dog_config_where device_at, address_at, key_file_at, udp_port_at, stamp_port_at;
        int64_t udp_port;
        int64_t stamp_port;
        int64_t stamp_interval_ns;
        int64_t stamp_busy_ns;
        struct dog_config_path *path;
        size_t paths; /**< 1..4 */
};

enum dog_config_mirror { DOG_CONFIG_MIRROR_AUTO, DOG_CONFIG_MIRROR_ALWAYS, DOG_CONFIG_MIRROR_NEVER };

/** A class picks packets; within a list any entry does, over the lists all must. Empty: any. */
struct dog_config_match {
        struct dog_config_prefix *prefix; /**< of either address, source or destination */
        size_t prefixes;
        int64_t protocol;              /**< IP protocol number; 0: any */
        struct dog_config_range *port; /**< of either port; only with tcp, udp, sctp */
        size_t ports;
        uint8_t *dscp;
        size_t dscps;
};

struct dog_config_class {
        struct dog_config_where where;
        const char *name;
        int64_t id; /**< 1..255, the same at both ends; its place in the list, from 1, unless written */
        const char *tunnel; /**< NULL: every tunnel */
        const char *profile;
        struct dog_config_where tunnel_at, profile_at;
        const struct dog_config_profile *promise; /**< the profile of that name */
        struct dog_config_match match;
        int64_t mirror;       /**< enum dog_config_mirror */
        double mirror_budget; /**< extra copies as a share of the time; < 0: policy.mirror_budget */
};

enum dog_config_front_role { DOG_CONFIG_GATEWAY, DOG_CONFIG_HOST };
enum dog_config_hook { DOG_CONFIG_HOOK_AUTO, DOG_CONFIG_HOOK_TC, DOG_CONFIG_HOOK_XDP };

/** The front: where virtual addresses are served. */
struct dog_config_front {
        struct dog_config_word *device; /**< where clients and instances are; on a host: its uplinks */
        size_t devices;                 /**< 1..16 when there are vips */
        int64_t role;                   /**< enum dog_config_front_role */
        int64_t hook;                   /**< enum dog_config_hook */
        int64_t connections, half_open; /**< how many are kept */
        int64_t idle_ns;
        int64_t probe_interval_ns;
        int64_t probe_misses;
        int64_t patience_ns;               /**< of a planned promotion */
        int64_t agent_port;                /**< UDP, where agents' reports come in */
        int64_t tell_port;                 /**< UDP, where clients' hosts ask a gateway; 0: not told */
        const char *key_file;              /**< shared by a gateway and the hosts that it tells; NULL: none */
        struct dog_config_address told_by; /**< on a host: the gateway that tells; version 0: nobody */
        struct dog_config_address pair;    /**< the other balancer; version 0: there is none */
        int64_t pair_port;                 /**< UDP, of both */
        const char *pair_key_file;         /**< the secret of both; NULL: none */
        struct dog_config_where devices_at, role_at, key_file_at, told_by_at, tell_port_at, agent_port_at;
        const char *aligned_key_file; /**< the secret of aligned vips; NULL: none */
        struct dog_config_where pair_at, pair_port_at, pair_key_file_at, aligned_key_file_at;
};

enum dog_config_check {
        DOG_CONFIG_CHECK_AUTO,
        DOG_CONFIG_CHECK_ICMP,
        DOG_CONFIG_CHECK_TCP,
        DOG_CONFIG_CHECK_AGENT
};

/** One server. */
struct dog_config_instance {
        struct dog_config_where where;
        const char *name;
        struct dog_config_address address;
        const char *device;           /**< one of front.devices */
        double weight;                /**< of new connections, against the others */
        double price;                 /**< of one second of serving, in the unit of breach_price */
        int64_t role;                 /**< enum dog_config_role */
        struct dog_config_word *fate; /**< what it rests on: a host, a rack, a power line */
        size_t fates;
        int64_t check;              /**< enum dog_config_check */
        int64_t check_port;         /**< TCP; 0: the port of the first vip that it serves */
        const char *agent_key_file; /**< NULL: no agent */
        const char *exporter;       /**< URL of a node_exporter; NULL: none */
        int64_t shim;               /**< enum dog_config_shim */
        struct dog_config_where address_at, device_at, check_at, agent_key_file_at, exporter_at, shim_at;
};

/** An instance's place behind a vip. */
struct dog_config_seat {
        char name[32];
        uint16_t port;     /**< 0: the vip's */
        uint16_t instance; /**< index in dog_config.instance; set by the check */
};

enum dog_config_shim {
        DOG_CONFIG_SHIM_AUTO,
        DOG_CONFIG_SHIM_NONE,
        DOG_CONFIG_SHIM_UNGATED,
        DOG_CONFIG_SHIM_GATED
};
enum dog_config_protect {
        DOG_CONFIG_PROTECT_AUTO,
        DOG_CONFIG_PROTECT_ALWAYS,
        DOG_CONFIG_PROTECT_NEVER,
        DOG_CONFIG_PROTECT_SHARE
};
enum dog_config_return { DOG_CONFIG_RETURN_NAT, DOG_CONFIG_RETURN_L2, DOG_CONFIG_RETURN_DIRECT };
enum dog_config_answer { DOG_CONFIG_ANSWER_PRIMARY, DOG_CONFIG_ANSWER_FIRST };
enum dog_config_mode { DOG_CONFIG_TRANSLATED, DOG_CONFIG_ALIGNED };

/** A virtual address, a port, and who serves it. */
struct dog_config_vip {
        struct dog_config_where where;
        const char *name;
        struct dog_config_address address;
        int64_t port;     /**< 0: every port */
        int64_t protocol; /**< 0: tcp, 1: udp */
        struct dog_config_seat *seat;
        size_t seats; /**< 1..16 */
        const char *profile;
        const struct dog_config_profile *promise; /**< the profile of that name */
        int64_t protect;                          /**< enum dog_config_protect */
        double share;                             /**< < 0: not given */
        double budget;                            /**< < 0: policy.mirror_budget */
        int64_t returns;                          /**< enum dog_config_return */
        int64_t answer;                           /**< enum dog_config_answer */
        int64_t has_guard, has_classes;           /**< 0 or 1 */
        int64_t most;                             /**< protected at one time; 0: as the table has room */
        int64_t mode;                             /**< enum dog_config_mode */
        int64_t priority;                         /**< < 0: the profile's */
        uint64_t lag_bytes;
        int64_t lag_ns;
        struct dog_config_where address_at, port_at, seats_at, profile_at, protect_at, share_at, budget_at,
                returns_at, answer_at, mode_at;
};

enum dog_config_feed_kind { DOG_CONFIG_CALENDAR, DOG_CONFIG_WEATHER, DOG_CONFIG_EVENTS };

/** What others announce; see sources/feed.h and wire/feed_json.h. */
struct dog_config_feed {
        struct dog_config_where where;
        const char *name;
        int64_t kind;           /**< enum dog_config_feed_kind */
        const char *url, *file; /**< one of them */
        struct dog_config_word *affect;
        size_t affects;    /**< 1..32 */
        const char *match; /**< NULL: everything */
        int64_t interval_ns, stale_ns, timeout_ns, lead_ns;
        uint64_t max_bytes;
        int64_t redirects;
        double adds;  /**< log-odds; < 0: as usual for the kind */
        double times; /**< the same as a multiple of the odds; 0: not given */
        const char *timezone;
        const char *contact; /**< NULL: none */
        int64_t format,
                measure;   /**< enum dog_feed_format; enum dog_feed_measure or -1: as usual for the kind */
        double from, full; /**< < 0: as usual for the measure */
        struct {
                const char *entries, *start, *end, *value, *place, *words; /**< NULL: as the format says */
        } map;
        struct dog_config_where url_at, file_at, affects_at, stale_at, adds_at, times_at, timezone_at,
                format_at, measure_at, from_at, full_at;
};

/** See core/policy.h, which says what each of them does. */
struct dog_config_policy {
        double margin;
        double move_price;
        double backup_price;
        int64_t hold_ns;
        int64_t overlap_ns;
        int64_t dead_ns;
        int64_t recover_ns;
        int64_t copies;
        double mirror_price;
        double mirror_budget;
        int64_t mirror_burst_ns;
        int64_t mirror_hold_ns;
        int64_t horizon_near_ns, horizon_middle_ns, horizon_far_ns;
        int64_t moves_per_step;
        double copies_share;
};

/** Who forecasts, and whether it is trained on what is measured here. */
struct dog_config_forecast {
        const char *model;   /**< a model file; NULL: the installed one */
        int64_t has_trees;   /**< 0: the online logistic alone */
        int64_t has_retrain; /**< 0 or 1 */
        int64_t retrain_every_ns;
        int64_t retrain_from_ns; /**< telemetry of so long */
        double retrain_cpu;      /**< share of one processor, at most */
};

struct dog_config {
        const char *site;
        const char *user; /**< the decider's account */
        struct {
                const char *path;
                uint64_t size_bytes;
        } store;
        struct {
                const char *socket;
        } api;
        struct dog_config_policy policy;
        struct dog_config_forecast forecast;
        struct dog_config_profile *profile;
        size_t profiles;
        struct dog_config_tunnel *tunnel;
        size_t tunnels; /**< 0..32 */
        struct dog_config_class *class;
        size_t classes; /**< 0..255, in the order of matching */
        struct dog_config_front front;
        struct dog_config_instance *instance;
        size_t instances; /**< 0..128 */
        struct dog_config_vip *vip;
        size_t vips; /**< 0..64 */
        struct dog_config_feed *feed;
        size_t feeds; /**< 0..16 */

        struct dog_config_where site_at; /**< file NULL: not given */
        struct dog_config_pool *pool;    /**< private */
};

/**
 * Read `path` and the drop-ins of conf.d beside it, and check everything, key files included: each must
 * be there, be a file, and be readable by its owner alone.
 * @return 0; -EINVAL: something written is wrong; -ENOENT, -EACCES, ...: a file cannot be read;
 *         -EPERM: others may read a key file; -ENOMEM. *config is NULL unless 0.
 */
int dog_config_load(const char *path, struct dog_config **config, struct dog_err *e);

/**
 * The same from memory: one text, no drop-ins, and no look at key files. `name` stands for the
 * file in sentences.
 */
int dog_config_parse(const char *text, size_t size, const char *name, struct dog_config **config,
                     struct dog_err *e);

void dog_config_free(struct dog_config *config);

/**
 * What is allowed but may not be meant: protection with nobody to stand by, for example. `note` is called
 * with one sentence each, which begins with its place. @return how many
 */
size_t dog_config_notes(const struct dog_config *config, void (*note)(void *user, const char *text),
                        void *user);

/**
 * Print the configuration in effect as YAML, defaults included. Reading it back gives an equal
 * configuration. @return 0 or -EIO
 */
int dog_config_write_effective(const struct dog_config *config, FILE *to);

/** Print the key reference of sundog.conf(5) in scdoc. @return 0 or -EIO */
int dog_config_write_manual(FILE *to);
