#pragma once
/**
 * The connection state manager (requirement I7): the active connections of the served ports, what the fronts
 * say each of them is (primary here, standby here, unprotected, promoted), and those that ended lately. Works
 * without any front: then the status is "untold". No clock, no socket.
 */
#include "agent/diag.h"
#include "sources/conn_map.h"
#include "wire/agent.h"

#include <stdint.h>

struct agent_table;

struct agent_table_counts {
        uint32_t open, closed; /**< now; closed: still remembered */
        uint64_t opened_ever, closed_ever;
        uint32_t by_status[DOG_AGENT_STATUS_COUNT]; /**< of the open ones */
};

/** @param most connections. @return 0 or -ENOMEM */
int agent_table_new(struct agent_table **t, uint32_t most, struct dog_err *e);
void agent_table_free(struct agent_table *t);

/* One reading: _begin, every socket through _see, _end. */
void agent_table_begin(struct agent_table *t, int64_t now_ns);
void agent_table_see(void *table, const struct agent_diag_socket *s);
/**
 * Close what was not seen, forget what closed long ago, and fill the socket vitals: accept queues, numbers by
 * state, rates, the median round trip, the share sent again.
 * @param is_whole  false: the listing broke off, so that what is missing is not closed
 */
void agent_table_end(struct agent_table *t, bool is_whole, struct dog_vitals *v);

/** A front's word on a connection. FOREIGN from one front does not undo what another one said; when a front
 * goes away its last word stands, with its age. */
void agent_table_tell(struct agent_table *t, const struct dog_agent_told *told, unsigned front,
                      int64_t now_ns);
/**
 * The next page to send: first what changed, then one pass over the whole table after the other.
 * @return false when there is nothing more to send before the next reading
 */
bool agent_table_page(struct agent_table *t, struct dog_agent_conns *page, int64_t now_ns);

void agent_table_count(const struct agent_table *t, struct agent_table_counts *to);
const struct dog_conn_map *agent_table_map(const struct agent_table *t);
