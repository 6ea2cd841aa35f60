#include "core/stage.h"

#include "base/words.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the loop, read aloud ---- */

static void loop_take_due(struct dog_loop *l, int64_t now_ns);
static void loop_put_back(struct dog_loop *l, int64_t now_ns);

int64_t dog_loop_step(struct dog_loop *l, int64_t now_ns)
{
        static void (*const stage[DOG_STAGE_COUNT])(struct dog_loop *, int64_t) = {
                [DOG_STAGE_OBSERVE] = dog_stage_observe, [DOG_STAGE_FORECAST] = dog_stage_forecast,
                [DOG_STAGE_PROPOSE] = dog_stage_propose, [DOG_STAGE_ARBITRATE] = dog_stage_arbitrate,
                [DOG_STAGE_MIRROR] = dog_stage_mirror,   [DOG_STAGE_STEER] = dog_stage_steer,
                [DOG_STAGE_LEARN] = dog_stage_learn,
        };
        loop_take_due(l, now_ns);
        for (int s = 0; s < DOG_STAGE_COUNT && l->due_count > 0; s++) {
                int64_t from_ns = l->options.stage_clock ? l->options.stage_clock() : 0;
                stage[s](l, now_ns);
                if (l->options.stage_clock)
                        l->stage_ns[s] += l->options.stage_clock() - from_ns;
        }
        loop_put_back(l, now_ns);
        return l->heap_count > 0 ? l->heap[0]->due_ns : INT64_MAX;
}

/* ---- who is due: a binary heap ---- */

static bool group_is_before(const struct dog_group *a, const struct dog_group *b)
{
        return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void heap_push(struct dog_loop *l, struct dog_group *g)
{
        size_t at = l->heap_count++;
        for (; at > 0; at = (at - 1) / 2) {
                struct dog_group *up = l->heap[(at - 1) / 2];
                if (!group_is_before(g, up))
                        break;
                l->heap[at] = up;
        }
        l->heap[at] = g;
}

static void heap_fill(struct dog_loop *l, size_t at, struct dog_group *g)
{
        for (;;) {
                size_t child = 2 * at + 1;
                if (child >= l->heap_count)
                        break;
                if (child + 1 < l->heap_count && group_is_before(l->heap[child + 1], l->heap[child]))
                        child++;
                if (!group_is_before(l->heap[child], g))
                        break;
                l->heap[at] = l->heap[child];
                at = child;
        }
        l->heap[at] = g;
}

static struct dog_group *heap_pop(struct dog_loop *l)
{
        struct dog_group *top = l->heap[0];
        struct dog_group *last = l->heap[--l->heap_count];
        if (l->heap_count > 0)
                heap_fill(l, 0, last);
        return top;
}

void dog_loop_due(struct dog_loop *l, struct dog_group *g, int64_t at_ns)
{
        size_t at = 0;
        while (at < l->heap_count && l->heap[at] != g)
                at++;
        /* One that is being stepped is put back with its beat. */
        if (at == l->heap_count)
                return;
        /* To the top by the earliest of times, out, and in again with its own. */
        g->due_ns = INT64_MIN;
        for (; at > 0; at = (at - 1) / 2)
                l->heap[at] = l->heap[(at - 1) / 2];
        l->heap[0] = g;
        heap_pop(l);
        g->due_ns = at_ns;
        heap_push(l, g);
}

static void loop_take_due(struct dog_loop *l, int64_t now_ns)
{
        l->due_count = 0;
        while (l->heap_count > 0 && l->heap[0]->due_ns <= now_ns)
                l->due[l->due_count++] = heap_pop(l);
}

static void loop_put_back(struct dog_loop *l, int64_t now_ns)
{
        for (size_t i = 0; i < l->due_count; i++) {
                struct dog_group *g = l->due[i];
                g->stepped_ns = now_ns;
                /* Keep the beat; but after a stall do not run the missed steps one after another. */
                g->due_ns += g->kind->period_ns;
                if (g->due_ns <= now_ns)
                        g->due_ns = now_ns + g->kind->period_ns;
                heap_push(l, g);
        }
        l->due_count = 0;
}

/* ---- life and death ---- */

struct dog_loop *dog_loop_new(const struct dog_loop_options *o)
{
        struct dog_loop *l = calloc(1, sizeof(*l));
        if (!l)
                return NULL;
        l->options = *o;
        l->ledger = dog_ledger_new(o->ledger_rows ? o->ledger_rows : 4096);
        if (!l->ledger) {
                free(l);
                return NULL;
        }
        return l;
}

void dog_loop_free(struct dog_loop *l)
{
        if (!l)
                return;
        for (size_t i = 0; i < l->groups; i++)
                if (l->group[i])
                        dog_loop_remove(l, l->group[i]);
        free(l->group);
        free(l->heap);
        free(l->due);
        free(l->plan);
        free(l->order);
        free(l->fate);
        dog_ledger_free(l->ledger);
        free(l);
}

struct dog_group *dog_group_new(const char *name, const struct dog_kind *kind, unsigned members)
{
        if (members > DOG_MEMBERS_MAX)
                return NULL;
        struct dog_group *g = calloc(1, sizeof(*g));
        if (!g)
                return NULL;
        g->member = calloc(members ? members : 1, sizeof(*g->member));
        if (!g->member) {
                free(g);
                return NULL;
        }
        snprintf(g->name, sizeof(g->name), "%s", name);
        g->kind = kind;
        g->members = members;
        g->promise = dog_promise_default();
        g->policy = dog_policy_default();
        for (unsigned i = 0; i < members; i++) {
                struct dog_member *m = &g->member[i];
                m->is_up = true;
                m->base_weight = 1;
                m->joined_ns = INT64_MIN;
                m->well_ns = m->avoided_ns = INT64_MAX;
                m->steady = m->busy = NAN;
                for (int f = 0; f < DOG_FATES_MAX; f++)
                        g->member[i].fate[f] = DOG_FATE_NONE;
        }
        return g;
}

void dog_group_free(struct dog_group *g)
{
        if (!g)
                return;
        if (g->kind->close)
                g->kind->close(g);
        free(g->track);
        free(g->member);
        free(g);
}

/* Room for one more group in everything that is as long as there are groups. */
static int loop_grow(struct dog_loop *l)
{
        if (l->groups < l->group_room)
                return 0;
        size_t room = l->group_room ? 2 * l->group_room : 16;
        struct {
                void **array;
                size_t size;
        } part[] = {{(void **)&l->group, sizeof(*l->group)},
                    {(void **)&l->heap, sizeof(*l->heap)},
                    {(void **)&l->due, sizeof(*l->due)},
                    {(void **)&l->plan, sizeof(*l->plan)},
                    {(void **)&l->order, sizeof(*l->order)}};
        for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
                void *more = realloc(*part[i].array, room * part[i].size);
                if (!more)
                        return -ENOMEM;
                *part[i].array = more;
        }
        l->group_room = room;
        return 0;
}

int dog_loop_add(struct dog_loop *l, struct dog_group *g, int64_t now_ns, struct dog_err *e)
{
        if (loop_grow(l) < 0)
                return dog_err_set(e, -ENOMEM, "group %s: out of memory for one more group", g->name);
        g->number = (uint32_t)l->groups;
        dog_insight_init(&g->insight, &g->policy);
        g->mirror_bar = g->policy.mirror_price;
        g->mirror_tokens_ns = (double)g->policy.mirror_burst_ns;
        for (unsigned i = 0; i < g->members; i++) {
                dog_outlook_init(&g->member[i].outlook, &g->policy);
                g->member[i].answered_ns = now_ns;
        }
        int rc = g->kind->open ? g->kind->open(g, e) : 0;
        if (rc < 0)
                return rc;
        g->due_ns = now_ns + g->kind->period_ns;
        l->group[l->groups++] = g;
        heap_push(l, g);
        return 0;
}

void dog_loop_remove(struct dog_loop *l, struct dog_group *g)
{
        for (size_t i = 0; i < l->heap_count; i++) {
                if (l->heap[i] != g)
                        continue;
                /* Make it the first, whatever its time, and take it off the top. */
                for (size_t at = i; at > 0; at = (at - 1) / 2) {
                        l->heap[at] = l->heap[(at - 1) / 2];
                        l->heap[(at - 1) / 2] = g;
                }
                heap_pop(l);
                break;
        }
        l->group[g->number] = NULL;
        dog_group_free(g);
}

uint16_t dog_loop_fate_add(struct dog_loop *l, const char *name, double capacity_kbps)
{
        if (l->fates >= DOG_FATE_NONE)
                return DOG_FATE_NONE;
        struct dog_fate *more = l->fate;
        /* There is room up to the next power of two. */
        if ((l->fates & (l->fates - 1)) == 0)
                more = realloc(l->fate, (l->fates ? 2 * l->fates : 1) * sizeof(*more));
        if (!more)
                return DOG_FATE_NONE;
        l->fate = more;
        more[l->fates] = (struct dog_fate){.capacity_kbps = capacity_kbps};
        snprintf(more[l->fates].name, sizeof(more->name), "%s", name);
        return (uint16_t)l->fates++;
}

struct dog_fate *dog_loop_fate(struct dog_loop *l, uint16_t number)
{
        return number < l->fates ? &l->fate[number] : NULL;
}

void dog_loop_moved(struct dog_loop *l, struct dog_group *g, int rc, int64_t now_ns)
{
        if (g->state != DOG_MOVING)
                return;
        if (rc < 0) {
                dog_stage_event(l, g, DOG_EVENT_FAILED, UINT16_MAX, strerror(-rc), now_ns);
                g->active = g->previous;
                g->state = DOG_SETTLED;
                return;
        }
        dog_stage_moved(g, now_ns);
}

void dog_loop_reflex(struct dog_loop *l, struct dog_group *g, uint16_t active, int64_t now_ns)
{
        if (active >= g->members || active == g->active || g->policy.spread)
                return;
        struct dog_ledger_row row = {
                .plan = {.at_ns = now_ns,
                         .group = g->number,
                         .active_was = g->active,
                         .active = active,
                         .hot_was = g->hot,
                         .hot = (uint16_t)(1U << active),
                         .act = DOG_ACT_MOVE,
                         .why = DOG_WHY_REFLEX,
                         .members = (uint8_t)g->members},
                .active_was = g->member[g->active].belief,
                .chosen = g->member[active].belief,
                .chosen_member = active,
        };
        dog_ledger_append(l->ledger, &row);
        g->tally.decisions++;
        g->previous = g->active;
        g->active = active;
        g->hot = row.plan.hot;
        dog_stage_moved(g, now_ns);
        dog_stage_event(l, g, DOG_EVENT_REFLEX, active, NULL, now_ns);
}

void dog_group_freeze(struct dog_group *g, bool is_frozen)
{
        g->is_frozen = is_frozen;
        g->state = is_frozen ? DOG_FROZEN : DOG_SETTLED;
}

void dog_group_resume(struct dog_group *g, const uint8_t *weight, uint16_t leave, uint16_t dead)
{
        uint8_t padded[DOG_MEMBERS_MAX] = {0};
        memcpy(padded, weight, g->members);
        float sum = (float)dog_plan_weights(padded);
        g->hot = 0;
        for (unsigned i = 0; i < g->members; i++) {
                struct dog_member *m = &g->member[i];
                m->weight = weight[i];
                m->is_well = weight[i] > 0;
                m->carried = (float)weight[i] / sum;
                g->hot |= (uint16_t)(weight[i] ? 1U << i : 0);
                if (weight[i] > g->member[g->active].weight)
                        g->active = (uint16_t)i;
        }
        g->leaving = leave;
        g->gone = dead;
        g->is_started = g->hot != 0;
}

void dog_group_drain(struct dog_group *g, unsigned member, bool is_drained)
{
        if (member < g->members)
                g->member[member].is_drained = is_drained;
}

/* ---- looking in ---- */

struct dog_ledger *dog_loop_ledger(struct dog_loop *l)
{
        return l->ledger;
}

size_t dog_loop_groups(const struct dog_loop *l)
{
        return l->groups;
}

struct dog_group *dog_loop_group(struct dog_loop *l, size_t number)
{
        return number < l->groups ? l->group[number] : NULL;
}

int64_t dog_loop_stage_ns(const struct dog_loop *l, enum dog_stage s)
{
        return l->stage_ns[s];
}

DOG_WORDS(dog_stage_name, enum dog_stage, DOG_STAGES, DOG_COLUMN_2)

DOG_WORDS(dog_event_name, enum dog_event_type, DOG_EVENTS, DOG_COLUMN_2)

DOG_WORDS(dog_event_help, enum dog_event_type, DOG_EVENTS, DOG_COLUMN_3)
