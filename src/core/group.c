#include "core/group.h"

#include <string.h>

const char *dog_state_name(enum dog_state s)
{
        static const char *const name[] = {
#define X(id, word, help) word,
                DOG_STATES(X)
#undef X
        };
        return (unsigned)s < DOG_STATE_COUNT ? name[s] : "?";
}

const char *dog_hint_text(enum dog_hint h)
{
        static const char *const text[] = {
#define X(id, words) words,
                DOG_HINTS(X)
#undef X
        };
        return (unsigned)h < DOG_HINT_COUNT ? text[h] : "?";
}

const char *dog_warmth_name(enum dog_warmth w)
{
        static const char *const name[] = {
#define X(id, word, help) word,
                DOG_WARMTHS(X)
#undef X
        };
        return (unsigned)w < DOG_WARMTH_COUNT ? name[w] : "?";
}

const char *dog_act_name(enum dog_act a)
{
        static const char *const name[] = {
#define X(id, word) word,
                DOG_ACTS(X)
#undef X
        };
        return (unsigned)a < DOG_ACT_COUNT ? name[a] : "?";
}

void dog_group_fate_bits(const struct dog_group *g, uint32_t bits[DOG_MEMBERS_MAX])
{
        unsigned used = 0;
        memset(bits, 0, DOG_MEMBERS_MAX * sizeof(*bits));
        for (unsigned i = 0; i < g->members; i++) {
                for (int f = 0; f < DOG_FATES_MAX; f++) {
                        uint16_t fate = g->member[i].fate[f];
                        uint32_t sharers = 0;
                        for (unsigned k = 0; k < g->members && fate != DOG_FATE_NONE; k++)
                                for (int h = 0; h < DOG_FATES_MAX; h++)
                                        if (g->member[k].fate[h] == fate)
                                                sharers |= 1U << k;
                        /* The first of its sharers gives out the bit: two or more of at most 64 entries. */
                        if ((sharers & (sharers - 1)) == 0 || (sharers & ((1U << i) - 1)))
                                continue;
                        for (unsigned k = 0; k < g->members; k++)
                                if (sharers & (1U << k))
                                        bits[k] |= 1U << used;
                        used++;
                }
        }
}

bool dog_members_share_fate(const struct dog_member *a, const struct dog_member *b)
{
        for (int i = 0; i < DOG_FATES_MAX; i++)
                for (int j = 0; j < DOG_FATES_MAX; j++)
                        if (a->fate[i] != DOG_FATE_NONE && a->fate[i] == b->fate[j])
                                return true;
        return false;
}
