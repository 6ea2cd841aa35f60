#include "kinds/instance/digest.h"

#include "base/clock.h"

#include <stdbool.h>
#include <string.h>

/* A row is told when nothing has been added for so long, or at the latest after the second. */
#define DIGEST_REST_NS (150 * DOG_MS)
#define DIGEST_MOST_NS (1 * DOG_S)
#define DIGEST_MUTE_NS (10 * DOG_S)

static bool digest_is_promotion(uint8_t type)
{
        return type >= INSTANCE_EVENT_PROMOTED_FIN && type <= INSTANCE_EVENT_PROMOTED_PLAN;
}

static void digest_drop(struct instance_digest *d, unsigned i)
{
        d->rows--;
        memmove(&d->row[i], &d->row[i + 1], (d->rows - i) * sizeof(d->row[0]));
}

static void digest_tell(struct instance_digest *d, unsigned i, bool is_muted_then)
{
        struct instance_digest_row row = d->row[i];
        if (is_muted_then && !digest_is_promotion(row.type)) {
                d->row[i].count = d->row[i].lag_most = 0;
                d->row[i].muted_ns = row.last_ns + DIGEST_MUTE_NS;
                d->row[i].first_ns = d->row[i].last_ns = INT64_MAX;
        } else {
                digest_drop(d, i);
        }
        if (d->told && row.count)
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
                        digest_tell(d, 0, false);
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
        if (row->count == 1)
                row->first_ns = row->last_ns = (int64_t)ev->at_ns;
        row->last_ns = (int64_t)ev->at_ns > row->last_ns ? (int64_t)ev->at_ns : row->last_ns;
}

int64_t instance_digest_on_timer(struct instance_digest *d, int64_t now_ns)
{
        int64_t due_ns = INT64_MAX;
        for (unsigned i = 0; i < d->rows;) {
                const struct instance_digest_row *r = &d->row[i];
                if (r->count == 0) {
                        if (now_ns >= r->muted_ns)
                                digest_drop(d, i);
                        else
                                i++;
                        continue;
                }
                int64_t rest_ns = r->last_ns + DIGEST_REST_NS;
                int64_t most_ns = r->first_ns + DIGEST_MOST_NS;
                int64_t row_ns = rest_ns < most_ns ? rest_ns : most_ns;
                row_ns = row_ns > r->muted_ns ? row_ns : r->muted_ns;
                if (now_ns >= row_ns) {
                        bool is_kept = !digest_is_promotion(r->type);
                        digest_tell(d, i, true);
                        i += is_kept;
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
                digest_tell(d, 0, false);
}
