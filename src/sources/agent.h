#pragma once
/**
 * The front's end of the agents: a UDP socket on which the instances' agents report how their hosts are
 * doing and which connections they have (requirements I1, I7, I13). Knows no loop: give it the socket, call
 * it when the socket is readable and when its time has come.
 *
 * What an agent says may add caution; it never overrules what was measured. An agent is a program on the
 * host it speaks about: when that host is ill or taken over it may say anything. Therefore
 *   - what is physically impossible is refused, value by value, and counted;
 *   - what the front measures itself (dog_agents_measured) is held against what the agent says; where they
 *     are apart by more than a factor for several reports, the front's own number stands in its place, and
 *     the whole report is marked is_doubted;
 *   - is_doubted and silence are reasons to lower a score. No value here is a reason to raise one above what
 *     the front's own response times, losses and resets say: use dog_agent_caution() or the worse of the two.
 *
 * Nothing is answered to a datagram whose tag is wrong, and answers are never longer than what they answer.
 * Nothing is allocated for a sender that is not verified.
 */
#include "base/err.h"
#include "sources/conn_map.h"
#include "wire/agent.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define DOG_AGENTS_MOST 512 /**< instances in one listener */

/** What the front itself measured of an instance since it last said so. NaN: not measured. */
struct dog_agent_measured {
        double conns;         /**< connections that are open, as primary and as standby */
        double from_rate;     /**< bytes a second that came from it; NaN with direct return */
        double to_rate;       /**< bytes a second sent to it, copies included */
        double retransmitted; /**< share of the segments from it that were sent again */
};

/** One report, after all checks. Borrowed for the call. */
struct dog_agent_word {
        const char *instance;
        void *tag;                /**< as given to dog_agents_add */
        int64_t at_ns;            /**< when it came, monotonic */
        struct dog_vitals vitals; /**< impossible ones NaN, doubted ones replaced by what was measured */
        bool is_doubted;          /**< something in it is not what the front sees */
        uint64_t doubted;         /**< bit 1 << enum dog_vital of each of them */
        unsigned impossible;      /**< values refused in this report */
        int64_t rtt_ns;           /**< to the agent and back, by its echo; 0: not known yet */
        int64_t ahead_ns;         /**< its clock less ours, at best half a round trip exact */
        uint32_t period_ms;
        uint16_t processors;
        uint32_t conns; /**< in its table */
        struct dog_agent_shim shim;
};

enum dog_agents_event {
        DOG_AGENTS_HEARD,     /**< its first word, or the first after silence */
        DOG_AGENTS_SILENT,    /**< nothing for three periods */
        DOG_AGENTS_RESTARTED, /**< its agent or its host was started anew */
        DOG_AGENTS_DOUBTED,   /**< what it says and what we see differ */
        DOG_AGENTS_BELIEVED,  /**< ... no longer */
};
/** "heard", "silent", ... */
const char *dog_agents_event_word(enum dog_agents_event ev);

struct dog_agents_conf {
        int fd;          /**< UDP, bound, non-blocking; stays the caller's; -1: none, only _take is used */
        int64_t skew_ns; /**< clocks may differ by so much; 0: 5 min */
        double factor;   /**< what differs by more is doubted; 0: 4. At least 1.5 */
        unsigned rate_per_s; /**< datagrams of one agent and of one source address; 0: 500 */
        uint32_t conns_most; /**< connections kept of one agent, 128 to 256 octets each; 0: 65536 */
        bool wants_conns;    /**< ask for pages of connections; without, only reports */
        uint32_t period_ms;  /**< ask for reports no more often; 0: as the agent is configured */
        void (*word)(void *user, const struct dog_agent_word *w);
        void (*event)(void *user, const char *instance, void *tag, enum dog_agents_event ev);
        /** What a connection is to this instance. NULL: nothing is told to agents. */
        enum dog_agent_status (*status)(void *user, const char *instance, void *tag,
                                        const struct dog_agent_flow *flow);
        void *user;
};

struct dog_agents_stats {
        uint64_t received, answered;
        uint64_t impossible; /**< values refused */
        uint64_t dropped[DOG_AGENT_DROP_COUNT];
};

/** How one instance's agent is doing. */
struct dog_agent_state {
        bool is_heard, is_doubted; /**< heard: at least once, and not silent now */
        int64_t heard_ns;          /**< monotonic, of its last report; 0: never */
        int64_t rtt_ns;
        uint32_t conns; /**< known here */
        uint64_t reports, pages;
        uint64_t impossible;
        uint64_t dropped[DOG_AGENT_DROP_COUNT];
        struct dog_vitals vitals; /**< of the last report, as handed over */
};

struct dog_agents;

/** @return 0, -EINVAL (a setting out of range), -ENOMEM, or the errno of setsockopt(2) */
int dog_agents_new(struct dog_agents **a, const struct dog_agents_conf *conf, struct dog_err *e);
void dog_agents_free(struct dog_agents *a);
/** @param secret 32 octets as dog_secret_key_read gives them, copied. Several may have the same; then each of
 * them could speak for the others. @return its number from 0, or -EEXIST, -ENOSPC, -EINVAL (the name),
 * -ENOMEM */
int dog_agents_add(struct dog_agents *a, const char *name, const uint8_t secret[32], void *tag,
                   struct dog_err *e);
/** What we are to tell it with the next answer. */
void dog_agents_role_set(struct dog_agents *a, unsigned number, enum dog_agent_role role, double score);
/** What the front saw of it in the last seconds; say it about once a period. */
void dog_agents_measured(struct dog_agents *a, unsigned number, const struct dog_agent_measured *m,
                         int64_t now_ns);

/** Take datagrams, a bounded number a call. @return when to call _on_timer */
int64_t dog_agents_on_readable(struct dog_agents *a, int64_t now_ns);
/** Find out who has fallen silent. @return when to call again */
int64_t dog_agents_on_timer(struct dog_agents *a, int64_t now_ns);

const struct dog_agents_stats *dog_agents_stats(const struct dog_agents *a);
/** False: no such number. */
bool dog_agents_state(const struct dog_agents *a, unsigned number, struct dog_agent_state *to);
/** The connection map of one instance as its agent tells it; NULL: no such number. Borrowed. */
const struct dog_conn_map *dog_agents_conns(const struct dog_agents *a, unsigned number);

/**
 * How much worse than `risk` (0..1, from what was measured) the host's own state makes it: never less than
 * `risk`, whatever the agent says. The worst of processor, memory, pressure, disk space, files and accept
 * queue, each counted from where it begins to hurt.
 */
double dog_agent_caution(const struct dog_vitals *v, double risk);

/** One datagram without the socket; `from` may be NULL. The answer, if any, goes to `reply`, its size to
 * *reply_size (0: none). */
enum dog_agent_drop dog_agents_take(struct dog_agents *a, const struct sockaddr *from, const void *packet,
                                    size_t size, int64_t now_ns, int64_t wall_ns,
                                    uint8_t reply[DOG_AGENT_MOST], size_t *reply_size);
