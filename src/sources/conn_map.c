#include "sources/conn_map.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { MAP_FIRST = 256 };

struct dog_conn_map {
        struct dog_conn_entry *entry;
        uint32_t slots; /* a power of two; at most three quarters are used */
        uint32_t used, most;
        uint64_t refused;
        uint8_t seed[crypto_shorthash_KEYBYTES]; /* ports and addresses are the clients' choice */
};

int dog_conn_map_new(struct dog_conn_map **m, uint32_t most, struct dog_err *e)
{
        struct dog_conn_map *map = calloc(1, sizeof(*map));
        struct dog_conn_entry *entry = calloc(MAP_FIRST, sizeof(*entry));
        if (!map || !entry) {
                free(map);
                free(entry);
                return dog_err_set(e, -ENOMEM, "no memory for a connection map");
        }
        randombytes_buf(map->seed, sizeof(map->seed));
        map->entry = entry;
        map->slots = MAP_FIRST;
        map->most = most ? most : 1;
        *m = map;
        return 0;
}

void dog_conn_map_free(struct dog_conn_map *m)
{
        if (!m)
                return;
        free(m->entry);
        free(m);
}

uint32_t dog_conn_map_count(const struct dog_conn_map *m)
{
        return m->used;
}

uint64_t dog_conn_map_refused(const struct dog_conn_map *m)
{
        return m->refused;
}

_Static_assert(sizeof(struct dog_agent_flow) == 36, "a flow has no padding: it is hashed and compared whole");

static uint32_t map_place(const struct dog_conn_map *m, const struct dog_agent_flow *flow)
{
        uint8_t hash[crypto_shorthash_BYTES];
        uint32_t place;
        crypto_shorthash(hash, (const uint8_t *)flow, sizeof(*flow), m->seed);
        memcpy(&place, hash, sizeof(place));
        return place & (m->slots - 1);
}

/* The slot of that flow, or the free one where it belongs. There always is a free one. */
static uint32_t map_slot(const struct dog_conn_map *m, const struct dog_agent_flow *flow)
{
        uint32_t at = map_place(m, flow);
        while (m->entry[at].is_used && memcmp(&m->entry[at].conn.flow, flow, sizeof(*flow)) != 0)
                at = (at + 1) & (m->slots - 1);
        return at;
}

struct dog_conn_entry *dog_conn_map_find(const struct dog_conn_map *m, const struct dog_agent_flow *flow)
{
        struct dog_conn_entry *entry = &m->entry[map_slot(m, flow)];
        return entry->is_used ? entry : NULL;
}

static bool map_grow(struct dog_conn_map *m)
{
        struct dog_conn_map wider = *m;
        wider.slots = m->slots * 2;
        wider.entry = calloc(wider.slots, sizeof(*wider.entry));
        if (!wider.entry)
                return false;
        for (uint32_t i = 0; i < m->slots; i++)
                if (m->entry[i].is_used)
                        wider.entry[map_slot(&wider, &m->entry[i].conn.flow)] = m->entry[i];
        free(m->entry);
        *m = wider;
        return true;
}

struct dog_conn_entry *dog_conn_map_make(struct dog_conn_map *m, const struct dog_agent_flow *flow)
{
        struct dog_conn_entry *entry = dog_conn_map_find(m, flow);
        if (entry)
                return entry;
        bool has_room =
                m->used < m->most && ((uint64_t)(m->used + 1) * 4 <= (uint64_t)m->slots * 3 || map_grow(m));
        if (!has_room) {
                m->refused++;
                return NULL;
        }
        entry = &m->entry[map_slot(m, flow)];
        *entry = (struct dog_conn_entry){.conn.flow = *flow, .is_used = true};
        m->used++;
        return entry;
}

/* Free a slot and move up what was pushed behind it (Knuth, TAOCP 3, 6.4, algorithm R). */
static void map_free_slot(struct dog_conn_map *m, uint32_t hole)
{
        uint32_t mask = m->slots - 1;
        for (uint32_t at = (hole + 1) & mask; m->entry[at].is_used; at = (at + 1) & mask) {
                uint32_t home = map_place(m, &m->entry[at].conn.flow);
                /* It may move to the hole unless its home lies between the hole and itself. */
                if (((at - home) & mask) < ((at - hole) & mask))
                        continue;
                m->entry[hole] = m->entry[at];
                hole = at;
        }
        m->entry[hole] = (struct dog_conn_entry){0};
        m->used--;
}

bool dog_conn_map_remove(struct dog_conn_map *m, const struct dog_agent_flow *flow)
{
        uint32_t at = map_slot(m, flow);
        if (!m->entry[at].is_used)
                return false;
        map_free_slot(m, at);
        return true;
}

uint32_t dog_conn_map_sweep(struct dog_conn_map *m,
                            bool (*is_over)(void *user, const struct dog_conn_entry *entry), void *user)
{
        uint32_t removed = 0;
        for (uint32_t i = 0; i < m->slots;) {
                /* After a removal another entry may stand in this slot. One that moved from the table's start
                 * to its end is looked at twice, never not at all. */
                if (m->entry[i].is_used && is_over(user, &m->entry[i])) {
                        map_free_slot(m, i);
                        removed++;
                } else {
                        i++;
                }
        }
        return removed;
}

struct dog_conn_entry *dog_conn_map_next(const struct dog_conn_map *m, uint32_t *at)
{
        while (*at < m->slots) {
                struct dog_conn_entry *entry = &m->entry[(*at)++];
                if (entry->is_used)
                        return entry;
        }
        return NULL;
}
