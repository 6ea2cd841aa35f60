/* Every allocation of the core and of the twin fails once: what was made before it is let go, and what is
 * left works. */
#include "alloc_fail.h"
#include "base/clock.h"
#include "check.h"
#include "core/loop.h"
#include "kinds/twin/twin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 40, STEPS = 20 };

static int out_of_memory(struct dog_err *e, const char *what)
{
        return dog_err_set(e, -ENOMEM, "no memory for %s", what);
}

/* A group is the caller's until the loop took it. */
static int group_add(struct dog_loop *l, unsigned n, uint16_t fate, struct dog_err *e)
{
        char name[32];
        snprintf(name, sizeof(name), "g%u", n);
        struct dog_group *g = twin_group_new(name, 3, NULL, 0);
        if (!g)
                return out_of_memory(e, name);
        g->member[0].fate[0] = fate;
        int rc = dog_loop_add(l, g, DOG_S, e);
        if (rc < 0)
                dog_group_free(g);
        return rc;
}

/* Enough groups that every array of the loop grows more than once. */
static int loop_fill(struct dog_loop *l, struct dog_err *e)
{
        for (unsigned n = 0; n < GROUPS; n++) {
                uint16_t fate = dog_loop_fate_add(l, "conduit", 1e6);
                if (fate == DOG_FATE_NONE)
                        return out_of_memory(e, "a fate");
                int rc = group_add(l, n, fate, e);
                if (rc < 0)
                        return rc;
        }
        return 0;
}

static void loop_drive(struct dog_loop *l)
{
        int64_t now_ns = DOG_S;
        for (int step = 0; step < STEPS; step++) {
                struct dog_sample s = dog_sample_at(now_ns);
                s.value[DOG_SIGNAL_RTT] = 20;
                s.value[DOG_SIGNAL_LOSS] = 0;
                for (size_t n = 0; n < dog_loop_groups(l); n++)
                        for (unsigned m = 0; m < 3; m++)
                                dog_group_sample(dog_loop_group(l, n), m, &s);
                now_ns += 100 * DOG_MS;
                dog_loop_step(l, now_ns);
        }
}

static int make_and_drive(void *user, struct dog_err *e)
{
        (void)user;
        struct dog_loop *l = dog_loop_new(&(struct dog_loop_options){.ledger_rows = 64});
        if (!l)
                return out_of_memory(e, "the loop");
        int rc = loop_fill(l, e);
        /* Whatever got in is served, also when the next one did not. */
        loop_drive(l);
        dog_loop_free(l);
        return rc;
}

static void each_allocation_of_the_loop_may_fail(void)
{
        size_t n = alloc_fail_each(make_and_drive, NULL);
        /* loop, ledger; 40 x (group, members, twin); five arrays that grow to 16, 32, 64; fates to 1, 2, 4
         * .. 64. */
        OK(n == 2 + GROUPS * 3 + 3 * 5 + 7, "%zu allocations, each failed once", n);
}

static int one_more(void *user, struct dog_err *e)
{
        struct dog_loop *l = user;
        return group_add(l, (unsigned)dog_loop_groups(l), DOG_FATE_NONE, e);
}

static void a_loop_that_was_refused_memory_goes_on_and_takes_the_next(void)
{
        struct dog_err e = {0};
        struct dog_loop *l = dog_loop_new(&(struct dog_loop_options){0});
        NEED(l, "a loop");
        /* The first sixteen fill the arrays: the next one must grow all of them. */
        for (int i = 0; i < 16; i++)
                NEED(one_more(l, &e) == 0, "%s", e.text);
        size_t n = alloc_fail_each(one_more, l);
        OK(n == 3 + 5, "%zu allocations: group, members, twin, five arrays", n);
        OK(dog_loop_groups(l) == 17, "only the last try was taken: %zu", dog_loop_groups(l));
        loop_drive(l);
        for (size_t i = 0; i < dog_loop_groups(l); i++)
                OK(dog_loop_group(l, i)->stepped_ns > 0, "group %zu is served", i);
        dog_loop_free(l);
}

static void the_last_fate_that_fits_is_the_last_one_given(void)
{
        struct dog_loop *l = dog_loop_new(&(struct dog_loop_options){0});
        NEED(l, "a loop");
        for (unsigned i = 0; i < DOG_FATE_NONE; i++)
                NEED(dog_loop_fate_add(l, "f", i) == i, "fate %u", i);
        for (int i = 0; i < 3; i++)
                OK(dog_loop_fate_add(l, "f", 1) == DOG_FATE_NONE, "there are no more numbers");
        struct dog_fate *last = dog_loop_fate(l, DOG_FATE_NONE - 1);
        OK(last && last->capacity_kbps > DOG_FATE_NONE - 2, "and those given are as they were");
        dog_loop_free(l);
}

int main(void)
{
        return CHECK_RUN(TEST(each_allocation_of_the_loop_may_fail),
                         TEST(a_loop_that_was_refused_memory_goes_on_and_takes_the_next),
                         TEST(the_last_fate_that_fits_is_the_last_one_given));
}
