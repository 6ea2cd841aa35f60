/* Many connections, one sentence. */
#include "base/clock.h"
#include "check.h"
#include "kinds/instance/digest.h"

#include <string.h>

#define T0 (100 * DOG_S)

static struct instance_digest_row told[200];
static unsigned tolds;

static void keep(void *user, const struct instance_digest_row *row)
{
        (void)user;
        if (tolds < 200)
                told[tolds] = *row;
        tolds++;
}

static struct instance_digest fresh(void)
{
        tolds = 0;
        return (struct instance_digest){.told = keep};
}

static struct instance_event event(enum instance_event_type type, unsigned from, unsigned to, int64_t at_ns,
                                   uint32_t quiet)
{
        return (struct instance_event){.at_ns = (__u64)at_ns,
                                       .flow = {.vip = 3},
                                       .primary = (__u16)from,
                                       .standby = (__u16)to,
                                       .type = (__u8)type,
                                       .quiet = quiet};
}

static void a_thousand_promotions_are_one_line(void)
{
        struct instance_digest d = fresh();
        for (int i = 0; i < 1000; i++) {
                struct instance_event ev =
                        event(INSTANCE_EVENT_PROMOTED_DEAD, 1, 2, T0 + i * DOG_US, (uint32_t)i % 50);
                instance_digest_add(&d, &ev);
        }
        int64_t due_ns = instance_digest_on_timer(&d, T0 + 2 * DOG_MS);
        OK(tolds == 0 && due_ns > T0 + 2 * DOG_MS && due_ns < T0 + DOG_S, "it has not come to rest");
        OK(instance_digest_on_timer(&d, due_ns) == INT64_MAX && tolds == 1, "%u lines", tolds);
        OK(told[0].count == 1000 && told[0].quiet_ticks == 49 && told[0].from == 1 && told[0].to == 2 &&
                   told[0].vip == 3,
           "%u connections, longest quiet %u", told[0].count, told[0].quiet_ticks);
}

static void what_goes_on_is_told_after_a_second(void)
{
        struct instance_digest d = fresh();
        for (int64_t at_ns = T0; at_ns < T0 + 3 * DOG_S; at_ns += 50 * DOG_MS) {
                struct instance_event ev = event(INSTANCE_EVENT_PROMOTED_RST, 1, 2, at_ns, 0);
                instance_digest_add(&d, &ev);
                instance_digest_on_timer(&d, at_ns);
        }
        OK(tolds == 2, "once a second, not at the end: %u", tolds);
        instance_digest_flush(&d);
        unsigned sum = 0;
        for (unsigned i = 0; i < tolds; i++)
                sum += told[i].count;
        OK(tolds == 3 && sum == 60, "nothing is lost: %u in %u lines", sum, tolds);
}

static void reasons_and_servers_are_told_apart(void)
{
        struct instance_digest d = fresh();
        struct instance_event ev[] = {event(INSTANCE_EVENT_PROMOTED_DEAD, 1, 2, T0, 0),
                                      event(INSTANCE_EVENT_PROMOTED_DEAD, 2, 1, T0, 0),
                                      event(INSTANCE_EVENT_PROMOTED_HANG, 1, 2, T0, 0),
                                      event(INSTANCE_EVENT_OPENED, 1, 2, T0, 0),
                                      event(INSTANCE_EVENT_CLOSED, 1, 2, T0, 0)};
        for (unsigned i = 0; i < 5; i++)
                instance_digest_add(&d, &ev[i]);
        instance_digest_on_timer(&d, T0 + DOG_S);
        OK(tolds == 3, "opened and closed are counted elsewhere: %u", tolds);
}

static void what_lasts_for_hours_is_told_every_ten_seconds(void)
{
        struct instance_digest d = fresh();
        for (int64_t at_ns = T0; at_ns < T0 + 60 * DOG_S; at_ns += 100 * DOG_MS) {
                struct instance_event ev = event(INSTANCE_EVENT_BARE, 1, INSTANCE_NOBODY, at_ns, 0);
                instance_digest_add(&d, &ev);
                instance_digest_on_timer(&d, at_ns);
        }
        OK(tolds >= 5 && tolds <= 7, "%u lines in a minute", tolds);
        instance_digest_flush(&d);
        unsigned sum = 0;
        for (unsigned i = 0; i < tolds; i++)
                sum += told[i].count;
        OK(sum == 600, "and each connection is in one of them: %u", sum);
}

static void more_kinds_than_rows_are_told_early(void)
{
        struct instance_digest d = fresh();
        for (unsigned i = 0; i < 3 * INSTANCE_DIGEST_ROWS; i++) {
                struct instance_event ev = event(INSTANCE_EVENT_EVICTED_LAG, i, 2, T0, 0);
                instance_digest_add(&d, &ev);
        }
        OK(tolds == 2 * INSTANCE_DIGEST_ROWS && d.rows == INSTANCE_DIGEST_ROWS, "%u told, %u kept", tolds,
           d.rows);
        OK(told[0].from == 0, "the oldest first");
}

int main(void)
{
        return CHECK_RUN(TEST(a_thousand_promotions_are_one_line), TEST(what_goes_on_is_told_after_a_second),
                         TEST(reasons_and_servers_are_told_apart),
                         TEST(what_lasts_for_hours_is_told_every_ten_seconds),
                         TEST(more_kinds_than_rows_are_told_early));
}
