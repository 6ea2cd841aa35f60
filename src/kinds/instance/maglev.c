#include "kinds/instance/maglev.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAGLEV_EMPTY INSTANCE_NOBODY
/* Draws for a standby before what is left is counted out. A third in the way costs 1 in 10^15 entries that.
 */
#define MAGLEV_DRAWS 32

enum maglev_salt { MAGLEV_PRIMARY = 1, MAGLEV_STANDBY = 2, MAGLEV_DRAW = 3 };

/* One server on its walk through its permutation. */
struct maglev_walker {
        uint16_t server; /* as an index of the sorted shares */
        uint32_t place, skip;
        double weight;
        double turn; /* when it is next, in virtual time: turns taken / weight */
        uint32_t turns;
};

struct maglev {
        struct instance_share share[INSTANCE_MAGLEV_SERVERS]; /* sorted by number */
        unsigned n;
        struct maglev_walker walker[INSTANCE_MAGLEV_SERVERS];
        unsigned heap[INSTANCE_MAGLEV_SERVERS + 1]; /* of walkers, the next one at 1 */
        unsigned heaped;
        uint16_t primary[INSTANCE_TABLE], standby[INSTANCE_TABLE]; /* indices of share */
};

static double maglev_weight(double w)
{
        return isfinite(w) && w > 0 ? w : 0;
}

/* Only proportions count: with 1 as the largest weight no turn is out of a double's range. */
static void maglev_scale(struct maglev *m)
{
        double weight = 0, standby = 0;
        for (unsigned i = 0; i < m->n; i++) {
                m->share[i].weight = maglev_weight(m->share[i].weight);
                m->share[i].standby = maglev_weight(m->share[i].standby);
                weight = fmax(weight, m->share[i].weight);
                standby = fmax(standby, m->share[i].standby);
        }
        for (unsigned i = 0; i < m->n; i++) {
                m->share[i].weight /= weight > 0 ? weight : 1;
                m->share[i].standby /= standby > 0 ? standby : 1;
        }
}

/* David Stafford's mix 13: every bit of the input moves half of the output. */
static uint64_t maglev_mix(uint64_t x)
{
        x += 0x9e3779b97f4a7c15ULL;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
        x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
        return x ^ x >> 31;
}

static uint64_t maglev_hash(enum maglev_salt salt, uint32_t a, uint32_t b)
{
        return maglev_mix(maglev_mix((uint64_t)salt << 32 | a) ^ b);
}

/* ---- one table ----------------------------------------------------------------------------- */

static bool maglev_before(const struct maglev *m, unsigned a, unsigned b)
{
        const struct maglev_walker *x = &m->walker[a], *y = &m->walker[b];
        return x->turn != y->turn ? x->turn < y->turn : x->server < y->server;
}

static void maglev_sink(struct maglev *m, unsigned at)
{
        unsigned mine = m->heap[at];
        for (unsigned child; (child = at * 2) <= m->heaped; at = child) {
                if (child < m->heaped && maglev_before(m, m->heap[child + 1], m->heap[child]))
                        child++;
                if (!maglev_before(m, m->heap[child], mine))
                        break;
                m->heap[at] = m->heap[child];
        }
        m->heap[at] = mine;
}

/* Its next place that nobody has taken. The permutation reaches every place, so there is one. */
static uint32_t maglev_step(struct maglev_walker *w, const uint16_t *table)
{
        uint32_t place = w->place;
        while (table[place] != MAGLEV_EMPTY) {
                place += w->skip;
                place -= place >= INSTANCE_TABLE ? INSTANCE_TABLE : 0;
        }
        w->place = place;
        return place;
}

static void maglev_fill(struct maglev *m, enum maglev_salt salt, uint16_t *table)
{
        memset(table, 0xff, sizeof(*table) * INSTANCE_TABLE);
        m->heaped = 0;
        for (unsigned i = 0; i < m->n; i++) {
                const struct instance_share *s = &m->share[i];
                double weight = salt == MAGLEV_PRIMARY ? s->weight : s->standby;
                uint64_t hash = maglev_hash(salt, s->server, 0);
                if (weight <= 0)
                        continue;
                m->walker[m->heaped] = (struct maglev_walker){
                        .server = (uint16_t)i,
                        .place = (uint32_t)(hash >> 32) % INSTANCE_TABLE,
                        .skip = (uint32_t)hash % (INSTANCE_TABLE - 1) + 1,
                        .weight = weight,
                        .turn = 1 / weight,
                        .turns = 1,
                };
                m->heap[m->heaped + 1] = m->heaped;
                m->heaped++;
        }
        if (!m->heaped)
                return;
        for (unsigned at = m->heaped / 2; at >= 1; at--)
                maglev_sink(m, at);
        for (uint32_t filled = 0; filled < INSTANCE_TABLE; filled++) {
                struct maglev_walker *w = &m->walker[m->heap[1]];
                table[maglev_step(w, table)] = w->server;
                w->turn = ++w->turns / w->weight;
                maglev_sink(m, 1);
        }
}

/* ---- standbys ------------------------------------------------------------------------------ */

static bool maglev_may_stand_by(const struct maglev *m, unsigned primary, unsigned other)
{
        const struct instance_share *p = &m->share[primary], *o = &m->share[other];
        return primary != other && o->standby > 0 && !(p->fate & o->fate);
}

/* The weights of all that may, one after the other: where does a number between 0 and their sum fall? */
static unsigned maglev_count_out(const struct maglev *m, uint32_t entry, unsigned primary)
{
        double sum = 0, at, u = (double)(maglev_hash(MAGLEV_DRAW, entry, MAGLEV_DRAWS) >> 11) * 0x1p-53;
        unsigned last = MAGLEV_EMPTY;

        for (unsigned i = 0; i < m->n; i++)
                if (maglev_may_stand_by(m, primary, i))
                        sum += m->share[i].standby;
        at = u * sum;
        for (unsigned i = 0; i < m->n; i++) {
                if (!maglev_may_stand_by(m, primary, i))
                        continue;
                last = i;
                at -= m->share[i].standby;
                if (at < 0)
                        break;
        }
        return last;
}

static unsigned maglev_stand_by(const struct maglev *m, uint32_t entry, unsigned primary)
{
        for (uint32_t draw = 0; draw < MAGLEV_DRAWS; draw++) {
                uint64_t hash = maglev_hash(MAGLEV_DRAW, entry, draw);
                unsigned other = m->standby[(hash >> 32) * INSTANCE_TABLE >> 32];
                if (other != MAGLEV_EMPTY && maglev_may_stand_by(m, primary, other))
                        return other;
        }
        return maglev_count_out(m, entry, primary);
}

static bool maglev_has_standby(const struct maglev *m, unsigned primary)
{
        for (unsigned i = 0; i < m->n; i++)
                if (maglev_may_stand_by(m, primary, i))
                        return true;
        return false;
}

static void maglev_write(const struct maglev *m, struct instance_pick *row)
{
        bool has_standby[INSTANCE_MAGLEV_SERVERS];

        for (unsigned i = 0; i < m->n; i++)
                has_standby[i] = maglev_has_standby(m, i);
        for (uint32_t entry = 0; entry < INSTANCE_TABLE; entry++) {
                unsigned a = m->primary[entry], b = MAGLEV_EMPTY;
                if (a != MAGLEV_EMPTY && has_standby[a])
                        b = maglev_stand_by(m, entry, a);
                row[entry].primary = a == MAGLEV_EMPTY ? INSTANCE_NOBODY : m->share[a].server;
                row[entry].standby = b == MAGLEV_EMPTY ? INSTANCE_NOBODY : m->share[b].server;
        }
}

/* ---- the whole ----------------------------------------------------------------------------- */

static int maglev_by_number(const void *a, const void *b)
{
        const struct instance_share *x = a, *y = b;
        return x->server < y->server ? -1 : x->server > y->server;
}

int instance_maglev_build(struct instance_pick row[INSTANCE_TABLE], const struct instance_share *share,
                          unsigned n, struct dog_err *e)
{
        if (n > INSTANCE_MAGLEV_SERVERS)
                return dog_err_set(e, -E2BIG, "%u servers of one address: %d are the most", n,
                                   INSTANCE_MAGLEV_SERVERS);
        struct maglev *m = malloc(sizeof(*m));
        if (!m)
                return dog_err_set(e, -ENOMEM, "no memory for a table of %u servers", n);
        m->n = n;
        if (n)
                memcpy(m->share, share, n * sizeof(*share));
        qsort(m->share, n, sizeof(*share), maglev_by_number);
        for (unsigned i = 0; i < n; i++) {
                struct instance_share *s = &m->share[i];
                if (s->server >= INSTANCE_SERVERS_MAX || (i && s[-1].server == s->server)) {
                        int rc = dog_err_set(e, -EINVAL, "server %u %s", s->server,
                                             s->server >= INSTANCE_SERVERS_MAX ? "cannot be"
                                                                               : "is named twice");
                        free(m);
                        return rc;
                }
        }
        maglev_scale(m);
        maglev_fill(m, MAGLEV_PRIMARY, m->primary);
        maglev_fill(m, MAGLEV_STANDBY, m->standby);
        maglev_write(m, row);
        free(m);
        return 0;
}
