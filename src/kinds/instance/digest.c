#include "kinds/instance/digest.h"

#include "base/clock.h"

#include <stdbool.h>
#include <string.h>

/* A row is told when nothing has been added for so long, or at the latest after the second. */
#define DIGEST_REST_NS (150 * DOG_MS)
#define DIGEST_MOST_NS (1 * DOG_S)

static void digest_tell(struct instance_digest *d, unsigned i)
{
        struct instance_digest_row row = d->row[i];
        d->rows--;
        memmove(&d->row[i], &d->row[i + 1], (d->rows - i) * sizeof(row));
        if (d->told)
                d->told(d->user, &row);
}

static bool digest_is_news(uint8_t type)
{
        return type != INSTANCE_EVENT_OPENED && type != INSTANCE_EVENT_CLOSED && type < INSTANCE_EVENT_COUNT;
}

void instance_digest_add(struct instance_digest *d, const struct instance_event *ev)
{
        if (!digest_is_news(ev->type))
                return;
        struct instance_digest_row *row = NULL;
        for (unsigned i = 0; i < d->rows && !row; i++) {
                struct instance_digest_row *r = &d->row[i];
                if (r->vip == ev->flow.vip && r->from == ev->primary && r->to == ev->standby &&
                    r->type == ev->type)
                        row = r;
        }
        if (!row) {
                if (d->rows == INSTANCE_DIGEST_ROWS)
                        digest_tell(d, 0);
                row = &d->row[d->rows++];
                *row = (struct instance_digest_row){.vip = ev->flow.vip,
                                                    .from = ev->primary,
                                                    .to = ev->standby,
                                                    .type = ev->type,
                                                    .first_ns = (int64_t)ev->at_ns};
        }
        row->count++;
        row->quiet_ticks = ev->quiet > row->quiet_ticks ? ev->quiet : row->quiet_ticks;
        row->lag_most = ev->lag > row->lag_most ? ev->lag : row->lag_most;
        row->class = ev->class ? ev->class : row->class;
        row->last_ns = (int64_t)ev->at_ns > row->last_ns ? (int64_t)ev->at_ns : row->last_ns;
}

int64_t instance_digest_on_timer(struct instance_digest *d, int64_t now_ns)
{
        int64_t due_ns = INT64_MAX;
        for (unsigned i = 0; i < d->rows;) {
                const struct instance_digest_row *r = &d->row[i];
                int64_t rest_ns = r->last_ns + DIGEST_REST_NS;
                int64_t most_ns = r->first_ns + DIGEST_MOST_NS;
                int64_t row_ns = rest_ns < most_ns ? rest_ns : most_ns;
                if (now_ns >= row_ns) {
                        digest_tell(d, i);
                        continue;
                }
                due_ns = row_ns < due_ns ? row_ns : due_ns;
                i++;
        }
        return due_ns;
}

void instance_digest_flush(struct instance_digest *d)
{
        while (d->rows)
                digest_tell(d, 0);
}
