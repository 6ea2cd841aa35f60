#pragma once
/**
 * Virtual addresses at work: the front, a probe and perhaps an agent or an exporter for every instance, and
 * a group for every vip. What is seen of an instance is a sample for every vip that it serves, because each
 * vip judges by its own promise.
 *
 * The service knows no event loop. Its owner polls the descriptors that it is told of by `watch` and calls
 * instance_service_on_ready for each, and instance_service_on_timer at the time that was returned.
 */
#include "core/caution.h"
#include "core/loop.h"
#include "kinds/instance/front.h"
#include "kinds/instance/pair.h"
#include "models/node_risk.h"
#include "sources/agent.h"
#include "sources/exporter.h"

#include <stddef.h>

extern const struct dog_kind instance_kind;

#define INSTANCE_MACHINES_MAX 128
#define INSTANCE_SEATS_MAX    DOG_MEMBERS_MAX

/** AUTO: by echo, or by TCP where nothing comes back. */
enum instance_check { INSTANCE_CHECK_AUTO, INSTANCE_CHECK_ICMP, INSTANCE_CHECK_TCP, INSTANCE_CHECK_AGENT };

/** Does the host run the shim of aligned mode? AUTO: as its agent says. UNGATED: it builds sockets, and the
 * front holds the standby's bytes back. */
enum instance_shim_word {
        INSTANCE_SHIM_AUTO,
        INSTANCE_SHIM_NONE,
        INSTANCE_SHIM_UNGATED,
        INSTANCE_SHIM_GATED
};

/** An instance: one server machine, which may serve several vips. */
struct instance_machine {
        const char *name;
        struct dog_hands_address address; /**< its own, without prefix */
        const char *device;
        double weight, price;
        enum dog_role role;
        const char *fate[DOG_FATES_MAX];
        unsigned fates;
        enum instance_check check;
        uint16_t check_port;
        const char *secret;   /**< of its agent, among hands' secrets; NULL: no agent */
        const char *exporter; /**< http://ADDRESS:PORT/PATH; NULL: none */
        enum instance_shim_word shim;
};

/** A vip: the front's part of it, what was promised, and who serves it. */
struct instance_address_plan {
        struct instance_vip_settings set;
        struct dog_promise promise;
        struct dog_policy policy;
        struct {
                uint16_t machine; /**< index */
                uint16_t port;    /**< 0: the vip's */
        } seat[INSTANCE_SEATS_MAX];
        unsigned seats;
};

struct instance_service;

/** Something that an operator should know. Strings live only during the call. */
struct instance_news {
        int64_t at_ns;
        const char *event;     /**< a word: "promoted-dead", "agent", "drained" ... */
        const char *subject;   /**< vip or instance */
        const char *text;      /**< a sentence */
        const char *from, *to; /**< instances; NULL: none */
        const char *vip;       /**< NULL: none */
        uint32_t count;        /**< connections; 0: it is about none */
        double quiet_ms;       /**< NaN: not known */
        bool is_warning;
};

/** Trees that judge the hosts as nodes, with their calibration; see models/node_risk.h. */
struct instance_node_trees {
        const struct dog_gbt *failure, *overload; /**< NULL: none */
        struct dog_node_shape failure_shape[DOG_NODE_HORIZONS], overload_shape[DOG_NODE_HORIZONS];
};

struct instance_service_settings {
        struct instance_front_settings front; /**< event, woken and user are the service's own */
        const struct instance_machine *machine;
        unsigned machines;
        const struct instance_address_plan *vip;
        unsigned vips;
        int64_t probe_interval_ns;
        unsigned probe_misses;
        int64_t patience_ns; /**< of a planned promotion */
        uint16_t agent_port;
        uint16_t tell_port;               /**< gateway: answer hosts here; host: ask there; 0: neither */
        struct dog_hands_address told_by; /**< host: the gateway; version 0: nobody */
        const char *tell_secret;          /**< among hands' secrets */
        const char *site;                 /**< our name towards the other end */
        struct dog_hands_address pair;    /**< the other balancer of a pair; version 0: there is none */
        uint16_t pair_port;
        const char *pair_secret;                 /**< among hands' secrets */
        const struct instance_node_trees *trees; /**< NULL: base rates. The trees outlive the service */
        const char *aligned_secret; /**< of all aligned vips, among hands' secrets; NULL: there are none */

        /** Every sample of an instance, before vips judge it; may be NULL. For whoever keeps telemetry. */
        void (*sample)(void *user, unsigned machine, const struct dog_sample *s);
        /** Poll this descriptor for POLLIN and/or POLLOUT; 0: no more, it is closed right after. */
        void (*watch)(void *user, int fd, short events);
        void (*news)(void *user, const struct instance_news *n);
        /** Call _on_timer, and the loop, at once: something has happened that should not wait. */
        void (*hurry)(void *user);
        /**
         * What is announced for the members of this group from outside: fill c, one for each, all zero
         * before. Asked in `forecast`; may be NULL.
         */
        void (*caution)(void *user, const struct dog_group *g, int64_t now_ns, struct dog_caution c[]);
        void *user;
};

/**
 * Open or adopt the front, begin to measure, and add one group a vip to the loop. Everything in `settings` is
 * copied. An instance that cannot be reached is waited for and told of; what cannot be is an error.
 */
int instance_service_open(struct instance_service **s, const struct instance_service_settings *settings,
                          struct dog_hands_client *hands, struct dog_loop *loop, int64_t now_ns,
                          struct dog_err *e);
/** Let go. The groups must have left the loop. What forwards goes on forwarding. NULL is allowed. */
void instance_service_close(struct instance_service *s);

void instance_service_on_ready(struct instance_service *s, int fd, int64_t now_ns);
/** @return when to call again */
int64_t instance_service_on_timer(struct instance_service *s, int64_t now_ns);
/** Devices, routes or neighbours changed: a lost carrier is acted on before this returns. */
void instance_service_refresh(struct instance_service *s, int64_t now_ns);
/** One device may have lost its carrier: the fastest way to say so. */
void instance_service_on_link(struct instance_service *s, uint32_t index, int64_t now_ns);

/* ---- what an operator may ask for ---- */

/**
 * Empty an instance, or use it again. New connections go elsewhere from the next step on; those that have a
 * standby are carried over. News "drained" says when it carries nothing any more.
 * @return 0; -ENOENT: no such instance; -EBUSY: it is the last one alive of a vip, which the sentence names
 */
int instance_service_drain(struct instance_service *s, const char *name, bool is_undone, int64_t now_ns,
                           struct dog_err *e);
/** The same after a restart: without looking whether another is alive, which is not known yet, and without
 * saying it again. -ENOENT: no such instance. */
int instance_service_drain_again(struct instance_service *s, const char *name, int64_t now_ns,
                                 struct dog_err *e);
bool instance_service_is_drained(const struct instance_service *s, unsigned machine);
/** What a promotion would do, or has done. */
struct instance_promotion {
        unsigned movable; /**< protected connections that it serves and that have a standby */
        unsigned bound;   /**< in the table, without a standby: they stay */
        unsigned failed;
};
/**
 * Move the connections that `machine` serves to their standbys now.
 * @param is_dry  count only
 */
int instance_service_promote(struct instance_service *s, unsigned machine, bool is_dry,
                             struct instance_promotion *to, struct dog_err *e);
/** One connection; -ENOENT when it is not protected or has no standby. */
int instance_service_promote_one(struct instance_service *s, const struct instance_flow *flow,
                                 struct dog_err *e);

/** Protect a class of requests again that was found not to be replayable. -ENOENT: it is not known any more
 */
int instance_service_forgive(struct instance_service *s, uint32_t class, const char *text, bool was_barred,
                             struct dog_err *e);

/* ---- looking in ---- */

/** False: there is no pair. */
bool instance_service_pair(const struct instance_service *s, struct instance_pair_view *to, int64_t now_ns);

/** How new connections of a vip are protected now. PARTLY: aligned when both of their servers have a shim. */
enum instance_mode { INSTANCE_MODE_TRANSLATED, INSTANCE_MODE_PARTLY, INSTANCE_MODE_ALIGNED };
/** @param why  NULL, or filled: what keeps the rest translated; "" when nothing does or nothing was asked for
 */
enum instance_mode instance_service_mode(const struct instance_service *s, unsigned vip, const char **why);

/** As it was given, but for `machine` and `vip`, which are the next two. */
const struct instance_service_settings *instance_service_settings(const struct instance_service *s);
const struct instance_machine *instance_service_machine_set(const struct instance_service *s, unsigned i);
const struct instance_address_plan *instance_service_vip_set(const struct instance_service *s, unsigned i);
struct instance_front *instance_service_front(struct instance_service *s);
struct dog_group *instance_service_group(const struct instance_service *s, unsigned vip);
/** The vip with the front's number, or -1; the seat of a server's number, and its vip. */
int instance_service_vip_of(const struct instance_service *s, unsigned number);
int instance_service_seat_of(const struct instance_service *s, unsigned server, unsigned *vip);
/** The front's numbers. */
unsigned instance_service_vip_number(const struct instance_service *s, unsigned vip);
unsigned instance_service_server_number(const struct instance_service *s, unsigned vip, unsigned seat);
/** The instance with that name, or -1. */
int instance_service_machine_of(const struct instance_service *s, const char *name);

/** What is known of one instance besides what groups believe. */
struct instance_machine_view {
        bool has_answered, is_answering; /**< ever; now */
        bool has_carrier, has_next_hop;
        bool is_drained;
        bool is_refusing;    /**< it answers, but a port of its takes no connections */
        double rtt_ms, loss; /**< of the newest window; NaN: unknown */
        /** From a client's question to the first byte of its answer, the slowest of its vips: mean of the
         * newest quarter of a second with answers, and the largest of the newest second or two. NaN: nothing
         * answered */
        double response_ms, response_most_ms;
        uint64_t answers; /**< so many were timed */
        uint64_t probes_sent, probes_lost;
        bool is_tcp;     /**< probed by TCP */
        bool has_vitals; /**< recent ones */
        int64_t vitals_age_ns;
        bool is_doubted; /**< its agent says what is not so */
        struct dog_vitals vitals;
        struct dog_agent_state agent; /**< all zero without one */
        const char *source;           /**< "agent", "exporter", "" */
        char trouble[160];            /**< why it is not used, for people; "" when all is well */
        unsigned serves, stands_by;   /**< protected connections, at the last count */
        int64_t counted_ns;           /**< when that was; 0: never */
        double told_health;           /**< host: what the gateway says, 0..100; NaN: nothing */
        int64_t told_age_ns;
        bool has_node;             /**< the host has told vitals */
        struct dog_node_word node; /**< I2, F5: overload, failure, health, modes */
        char node_text[400];       /**< the same as one sentence */
        char node_trouble[200];    /**< what speaks against it; "" when nothing does */
};
struct instance_machine_view instance_service_machine(struct instance_service *s, unsigned machine,
                                                      int64_t now_ns);
