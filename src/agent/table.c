#include "agent/table.h"

#include "base/clock.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_FRONTS = 8, TABLE_RTTS = 4096 };
#define TABLE_REMEMBER (60 * DOG_S) /* a closed connection */

struct agent_table {
        struct dog_conn_map *map;
        int64_t now_ns, before_ns; /* of this reading and the one before */
        uint32_t reading;          /* counts them */
        uint32_t round;            /* counts the passes of pages */
        uint32_t cursor;           /* of the pass */
        uint32_t changes;          /* entries to be told */
        uint32_t change_cursor;
        bool is_pass_done; /* one pass a reading at most */
        /* sums of a reading */
        double acked, received, segments, resent;
        uint32_t established, half_open, closing, waiting;
        double accept_share;
        bool has_listener;
        uint32_t rtt_us[TABLE_RTTS];
        uint32_t rtts;
        uint64_t opened_ever, closed_ever;
};

int agent_table_new(struct agent_table **to, uint32_t most, struct dog_err *e)
{
        struct agent_table *t = calloc(1, sizeof(*t));
        if (!t)
                return dog_err_set(e, -ENOMEM, "connections: no memory for the table");
        int rc = dog_conn_map_new(&t->map, most, e);
        if (rc < 0) {
                free(t);
                return rc;
        }
        *to = t;
        return 0;
}

void agent_table_free(struct agent_table *t)
{
        if (!t)
                return;
        dog_conn_map_free(t->map);
        free(t);
}

void agent_table_begin(struct agent_table *t, int64_t now_ns)
{
        t->before_ns = t->now_ns;
        t->now_ns = now_ns;
        t->reading++;
        t->acked = t->received = t->segments = t->resent = 0;
        t->established = t->half_open = t->closing = t->waiting = 0;
        t->accept_share = 0;
        t->has_listener = false;
        t->rtts = 0;
        t->is_pass_done = false;
}

static void table_listener(struct agent_table *t, const struct agent_diag_socket *s)
{
        t->has_listener = true;
        t->waiting += s->in_queue;
        double share = s->unsent ? (double)s->in_queue / s->unsent : 0;
        /* The kernel lets one more in than the backlog says. */
        share = share > 1 ? 1 : share;
        if (share > t->accept_share)
                t->accept_share = share;
}

/* A counter of one socket: one that runs back is another socket with the same address. */
static double table_gain(uint64_t before, uint64_t now)
{
        return now >= before ? (double)(now - before) : 0;
}

static void table_changed(struct agent_table *t, struct dog_conn_entry *entry)
{
        if (!entry->is_told)
                return;
        entry->is_told = false;
        t->changes++;
}

void agent_table_see(void *table, const struct agent_diag_socket *s)
{
        struct agent_table *t = table;
        if (s->state == TCP_LISTEN) {
                table_listener(t, s);
                return;
        }
        t->established += s->state == TCP_ESTABLISHED;
        t->half_open += s->state == TCP_SYN_RECV;
        t->closing += s->state == TCP_CLOSE_WAIT || s->state == TCP_LAST_ACK;
        /* Half-open ones are counted, not kept: a flood of them is nobody's connection. */
        if (s->state == TCP_SYN_RECV)
                return;
        struct dog_conn_entry *entry = dog_conn_map_make(t->map, &s->flow);
        if (!entry)
                return;
        bool is_new = entry->opened_ns == 0 || entry->closed_ns;
        if (is_new) {
                struct dog_agent_flow flow = entry->conn.flow;
                uint32_t was_told = entry->is_told || entry->opened_ns == 0;
                *entry = (struct dog_conn_entry){
                        .conn.flow = flow, .opened_ns = t->now_ns, .is_used = true, .is_told = was_told};
                table_changed(t, entry);
                t->opened_ever++;
        } else {
                t->acked += table_gain(entry->conn.acked, s->acked);
                t->received += table_gain(entry->conn.received, s->received);
                t->segments += table_gain(entry->segments, s->segments);
                t->resent += table_gain(entry->conn.resent, s->resent);
                if (entry->conn.state != s->state)
                        table_changed(t, entry);
        }
        entry->conn.state = s->state;
        entry->conn.acked = s->acked;
        entry->conn.received = s->received;
        entry->conn.rtt_us = s->rtt_us;
        entry->conn.resent = s->resent;
        entry->conn.unsent_bytes = s->unsent;
        entry->segments = s->segments;
        entry->round = t->reading;
        if (s->state == TCP_ESTABLISHED && s->rtt_us && t->rtts < TABLE_RTTS)
                t->rtt_us[t->rtts++] = s->rtt_us;
}

static int table_compare(const void *a, const void *b)
{
        uint32_t x, y;
        memcpy(&x, a, sizeof(x));
        memcpy(&y, b, sizeof(y));
        return (x > y) - (x < y);
}

/* Asked once of each that then goes. */
static bool table_is_over(void *user, const struct dog_conn_entry *entry)
{
        struct agent_table *t = user;
        bool is_over = entry->closed_ns && t->now_ns - entry->closed_ns > TABLE_REMEMBER;
        t->changes -= is_over && !entry->is_told;
        return is_over;
}

static void table_close_unseen(struct agent_table *t)
{
        struct dog_conn_entry *entry;
        for (uint32_t at = 0; (entry = dog_conn_map_next(t->map, &at));) {
                if (entry->closed_ns || entry->round == t->reading)
                        continue;
                entry->closed_ns = t->now_ns;
                entry->conn.is_closed = true;
                table_changed(t, entry);
                t->closed_ever++;
        }
        dog_conn_map_sweep(t->map, table_is_over, t);
}

void agent_table_end(struct agent_table *t, bool is_whole, struct dog_vitals *v)
{
        if (!is_whole)
                return;
        table_close_unseen(t);
        v->value[DOG_VITAL_ACCEPT] = t->has_listener ? t->accept_share : (double)NAN;
        v->value[DOG_VITAL_WAITING] = t->waiting;
        v->value[DOG_VITAL_CONNS] = t->established;
        v->value[DOG_VITAL_HALF_OPEN] = t->half_open;
        v->value[DOG_VITAL_CLOSING] = t->closing;
        if (t->rtts) {
                qsort(t->rtt_us, t->rtts, sizeof(t->rtt_us[0]), table_compare);
                uint32_t middle = t->rtts / 2;
                v->value[DOG_VITAL_CONN_RTT] = (double)t->rtt_us[middle] / 1000;
        }
        double passed_s = t->before_ns ? (double)(t->now_ns - t->before_ns) / (double)DOG_S : 0;
        if (!(passed_s > 0))
                return;
        v->value[DOG_VITAL_SERVED_RATE] = t->acked / passed_s;
        v->value[DOG_VITAL_TAKEN_RATE] = t->received / passed_s;
        if (t->segments > 0)
                v->value[DOG_VITAL_CONN_RESENT] = t->resent < t->segments ? t->resent / t->segments : 1;
}

/* ---- what fronts say ---- */

void agent_table_tell(struct agent_table *t, const struct dog_agent_told *told, unsigned front,
                      int64_t now_ns)
{
        struct dog_conn_entry *entry = dog_conn_map_find(t->map, &told->flow);
        if (!entry || entry->closed_ns || told->status >= DOG_AGENT_STATUS_COUNT)
                return;
        bool is_weak = told->status == DOG_AGENT_FOREIGN || told->status == DOG_AGENT_UNTOLD;
        bool is_other = entry->status_ns && entry->teller != front;
        if (is_weak && is_other && entry->status != DOG_AGENT_UNTOLD)
                return;
        if (entry->status != told->status || !entry->status_ns)
                entry->status_ns = now_ns;
        entry->status = told->status;
        entry->teller = (uint8_t)front;
}

/* ---- pages ---- */

static void table_put(struct agent_table *t, struct dog_agent_conns *page, struct dog_conn_entry *entry,
                      int64_t now_ns)
{
        int64_t age_ms = (now_ns - entry->opened_ns) / DOG_MS;
        entry->conn.age_ms = age_ms < 0 ? 0 : age_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)age_ms;
        page->conn[page->count++] = entry->conn;
        if (!entry->is_told) {
                entry->is_told = true;
                t->changes--;
        }
}

/* Fill from *cursor on; false when the table is through. */
static bool table_fill(struct agent_table *t, struct dog_agent_conns *page, uint32_t *cursor, bool is_changes,
                       int64_t now_ns)
{
        for (;;) {
                uint32_t before = *cursor;
                struct dog_conn_entry *entry = dog_conn_map_next(t->map, cursor);
                if (!entry)
                        return false;
                if (is_changes ? entry->is_told : entry->closed_ns != 0)
                        continue;
                page->conn[page->count] = entry->conn;
                if (page->count == DOG_AGENT_PAGE ||
                    dog_agent_conns_fit(page->conn, page->count + 1u) <= page->count) {
                        *cursor = before;
                        return true;
                }
                table_put(t, page, entry, now_ns);
        }
}

bool agent_table_page(struct agent_table *t, struct dog_agent_conns *page, int64_t now_ns)
{
        page->count = 0;
        page->round = t->round;
        if (t->changes > 0) {
                if (!table_fill(t, page, &t->change_cursor, true, now_ns))
                        t->change_cursor = 0;
                if (page->count)
                        return true;
        }
        if (t->is_pass_done)
                return false;
        if (!table_fill(t, page, &t->cursor, false, now_ns)) {
                t->cursor = 0;
                t->round++;
                t->is_pass_done = true;
        }
        return page->count > 0;
}

/* ---- asking ---- */

void agent_table_count(const struct agent_table *t, struct agent_table_counts *to)
{
        *to = (struct agent_table_counts){.opened_ever = t->opened_ever, .closed_ever = t->closed_ever};
        struct dog_conn_entry *entry;
        for (uint32_t at = 0; (entry = dog_conn_map_next(t->map, &at));) {
                if (entry->closed_ns) {
                        to->closed++;
                        continue;
                }
                to->open++;
                to->by_status[entry->status]++;
        }
}

const struct dog_conn_map *agent_table_map(const struct agent_table *t)
{
        return t->map;
}
