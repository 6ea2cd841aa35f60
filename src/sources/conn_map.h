#pragma once
/**
 * A connection map (requirement I13): the established connections of an instance with what is known of each,
 * and what became of those that have ended. The agent keeps one of its own host, the front one of each agent.
 * Bounded; open addressing; no clock.
 */
#include "base/err.h"
#include "wire/agent.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dog_conn_entry {
        struct dog_agent_conn conn;
        enum dog_agent_status status;
        int64_t opened_ns; /**< when it was first seen */
        int64_t closed_ns; /**< 0: it is open */
        int64_t status_ns; /**< when the status last changed; 0: never told */
        uint32_t round;    /**< of the owner's last pass that had it */
        uint32_t segments; /**< owner's: sent in all, those sent again included */
        uint8_t teller;    /**< owner's: who said the status */
        bool is_told;      /**< owner's: it was passed on since it changed */
        bool is_used;      /**< the map's own */
};

struct dog_conn_map;

/** @param most entries, closed ones included. @return 0 or -ENOMEM */
int dog_conn_map_new(struct dog_conn_map **m, uint32_t most, struct dog_err *e);
void dog_conn_map_free(struct dog_conn_map *m);
uint32_t dog_conn_map_count(const struct dog_conn_map *m);
/** Connections that did not fit. */
uint64_t dog_conn_map_refused(const struct dog_conn_map *m);
struct dog_conn_entry *dog_conn_map_find(const struct dog_conn_map *m, const struct dog_agent_flow *flow);
/** Find or make; NULL: full, counted, or out of memory. A new one is zero but for its flow. Pointers hold
 * until the next _make or _remove. */
struct dog_conn_entry *dog_conn_map_make(struct dog_conn_map *m, const struct dog_agent_flow *flow);
bool dog_conn_map_remove(struct dog_conn_map *m, const struct dog_agent_flow *flow);
/** Remove those for which `is_over` says so. @return how many */
uint32_t dog_conn_map_sweep(struct dog_conn_map *m,
                            bool (*is_over)(void *user, const struct dog_conn_entry *entry), void *user);
/** Entry number *at or the next used one, *at moved behind it; NULL at the end. Start with 0. */
struct dog_conn_entry *dog_conn_map_next(const struct dog_conn_map *m, uint32_t *at);
