#pragma once
/**
 * The stages of the loop, one call each. Only loop.c calls them.
 */
#include "core/loop.h"

struct dog_loop {
        struct dog_loop_options options;
        struct dog_ledger *ledger;
        struct dog_group **group; /* by number; NULL where one was removed */
        size_t groups, group_room;
        struct dog_fate *fate;
        size_t fates;

        struct dog_group **heap; /* by due_ns, then number */
        size_t heap_count;

        struct dog_group **due; /* those of this step */
        struct dog_plan *plan;  /* one for each */
        uint32_t *order;
        size_t due_count;
        int64_t stage_ns[DOG_STAGE_COUNT];
};

void dog_stage_observe(struct dog_loop *l, int64_t now_ns);
void dog_stage_forecast(struct dog_loop *l, int64_t now_ns);
void dog_stage_propose(struct dog_loop *l, int64_t now_ns);
void dog_stage_arbitrate(struct dog_loop *l, int64_t now_ns);
void dog_stage_mirror(struct dog_loop *l, int64_t now_ns);
void dog_stage_steer(struct dog_loop *l, int64_t now_ns);
void dog_stage_learn(struct dog_loop *l, int64_t now_ns);

void dog_stage_event(struct dog_loop *l, struct dog_group *g, enum dog_event_type type, uint16_t member,
                     const char *text, int64_t now_ns);
/** The move is done: PROVING begins, the hold begins. */
void dog_stage_moved(struct dog_group *g, int64_t now_ns);
