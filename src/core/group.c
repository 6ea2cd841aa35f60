#include "core/group.h"

#include "base/words.h"
#include "core/kind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

DOG_WORDS(dog_state_name, enum dog_state, DOG_STATES, DOG_COLUMN_2)

const char *dog_hint_text(const struct dog_group *g, uint8_t hint)
{
        return hint == DOG_HINT_NONE ? "" : hint < g->kind->hints ? g->kind->hint[hint] : "?";
}

DOG_WORDS(dog_warmth_name, enum dog_warmth, DOG_WARMTHS, DOG_COLUMN_2)

DOG_WORDS(dog_act_name, enum dog_act, DOG_ACTS, DOG_COLUMN_2)

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

int dog_group_trees(struct dog_group *g, const struct dog_path_model *trees)
{
        struct dog_path_track *track = g->track;
        bool is_other = trees != g->insight.risk.model;
        if (trees && !track) {
                track = calloc(g->members ? g->members : 1, sizeof(*track));
                if (!track)
                        return -ENOMEM;
                for (unsigned m = 0; m < g->members; m++)
                        dog_path_track_init(&track[m]);
        }
        if (!trees) {
                free(track);
                track = NULL;
        }
        g->track = track;
        g->insight.risk.model = trees;
        for (unsigned m = 0; m < g->members; m++) {
                if (is_other)
                        dog_path_risk_renew(&g->member[m].outlook.risk, track ? &track[m] : NULL);
        }
        return 0;
}

void dog_group_explain(const struct dog_group *g, unsigned member, int horizon, int64_t now_ns,
                       struct dog_outlook_reasons *out)
{
        struct dog_path_group peers = {0};
        for (unsigned m = 0; m < g->members; m++)
                dog_path_group_add(&peers, &g->member[m].outlook.risk);
        dog_outlook_explain(&g->member[member].outlook, &g->insight, &peers, horizon, now_ns, out);
}
