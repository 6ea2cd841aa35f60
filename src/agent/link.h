#pragma once
/**
 * The agent's end of the protocol, with every front it was told of: when to report, what to send, whom to
 * believe. Without socket and clock, so that tests drive it.
 *
 * A front that does not answer three reports is away: it then gets fewer and fewer, down to one in 30 s, and
 * no pages; with its first answer everything is as before. Nothing else of the agent depends on a front.
 */
#include "agent/config.h"
#include "agent/table.h"
#include "wire/agent.h"

#include <stdbool.h>
#include <stdint.h>

struct agent_link_front {
        char text[64];
        bool is_away;        /**< has not answered, or never did */
        int64_t answered_ns; /**< 0: never */
        int64_t due_ns;      /**< of the next report */
        int64_t period_ns;
        uint32_t unanswered; /**< reports since the last answer */
        int64_t rtt_ns;      /**< 0: not known */
        enum dog_agent_role role;
        double score; /**< NaN: not told */
        bool wants_conns;
        uint32_t rate; /**< its limit; 0: none */
        uint64_t sent, unsent, taken;
        uint64_t dropped[DOG_AGENT_DROP_COUNT];
        /* the link's own */
        struct dog_agent_ear ear;
        struct dog_agent_echo echo;
        int64_t echo_ns;
        double tokens;
};

struct agent_link;

struct agent_link_conf {
        const struct agent_config *config; /**< borrowed */
        const uint8_t *secret;             /**< 32 octets, not kept */
        const struct dog_agent_shim *shim; /**< told with each report; borrowed, may change; NULL: none */
        /** @return false: the kernel did not take it */
        bool (*send)(void *user, unsigned front, const void *packet, size_t size);
        void *user;
};

/** @return 0 or -ENOMEM */
int agent_link_new(struct agent_link **l, const struct agent_link_conf *conf, struct dog_err *e);
void agent_link_free(struct agent_link *l);
/** After each reading: report to whom it is due, and begin to send pages to who wants them. */
void agent_link_tick(struct agent_link *l, struct agent_table *table, const struct dog_vitals *v,
                     unsigned processors, int64_t now_ns, int64_t wall_ns);
/** Between readings, ten times a second: send more pages, within the limits. Spread like this they do not
 * overrun a front's socket. */
void agent_link_more(struct agent_link *l, struct agent_table *table, int64_t now_ns, int64_t wall_ns);
/** One datagram from a front. */
enum dog_agent_drop agent_link_take(struct agent_link *l, unsigned front, struct agent_table *table,
                                    const void *packet, size_t size, int64_t now_ns, int64_t wall_ns);
const struct agent_link_front *agent_link_front(const struct agent_link *l, unsigned front);
