#include "kinds/twin/twin.h"

#include "base/clock.h"
#include "core/loop.h"

#include <stdlib.h>

struct twin {
        const struct twin_row *row;
        size_t rows;
        size_t next; /* the first row that has not been handed over */
};

static void twin_observe(struct dog_group *g, int64_t now_ns)
{
        struct twin *t = g->priv;
        for (; t->next < t->rows && t->row[t->next].sample.at_ns <= now_ns; t->next++)
                dog_group_sample(g, t->row[t->next].member, &t->row[t->next].sample);
}

static void twin_close(struct dog_group *g)
{
        free(g->priv);
}

const struct dog_kind twin_kind = {
        .name = "twin",
        .summary = "scripted members; nothing outside the process happens",
        .grain = DOG_GRAIN_PACKET,
        .levels = 1U << DOG_COLD | 1U << DOG_READY | 1U << DOG_HOT,
        .period_ns = 100 * DOG_MS,
        .observe = twin_observe,
        .close = twin_close,
};

struct dog_group *twin_group_new(const char *name, unsigned members, const struct twin_row *row, size_t rows)
{
        struct twin *t = calloc(1, sizeof(*t));
        struct dog_group *g = t ? dog_group_new(name, &twin_kind, members) : NULL;
        if (!g) {
                free(t);
                return NULL;
        }
        *t = (struct twin){.row = row, .rows = rows};
        g->priv = t;
        return g;
}
