/*
 * Who serves and who stands by (I4: mirrors are chosen when an address is assigned; I8, I12: new flows follow
 * health, and the others stay where they are).
 */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "kinds/instance/maglev.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N INSTANCE_TABLE

static struct instance_pick table[N], other[N];

/* n servers numbered from 10, all alike. */
static void alike(struct instance_share *share, unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                share[i] = (struct instance_share){.server = (uint16_t)(10 + i), .weight = 1, .standby = 1};
}

static void build(struct instance_pick *row, const struct instance_share *share, unsigned n)
{
        struct dog_err e = {{0}};
        int rc = instance_maglev_build(row, share, n, &e);
        NEED(rc == 0, "%s", e.text);
}

static double part_primary(uint16_t server)
{
        unsigned count = 0;
        for (unsigned i = 0; i < N; i++)
                count += table[i].primary == server;
        return count / (double)N;
}

/* Of the entries of this primary (NOBODY: of all), the part that this one stands by for. */
static double part_standby(uint16_t primary, uint16_t server)
{
        unsigned all = 0, count = 0;
        for (unsigned i = 0; i < N; i++) {
                if (primary != INSTANCE_NOBODY && table[i].primary != primary)
                        continue;
                all++;
                count += table[i].standby == server;
        }
        return all ? count / (double)all : 0;
}

static void shares_are_as_the_weights_say(void) /* I4, I11 */
{
        static const double weight[] = {1, 1, 2, 0.5, 0, 3.5};
        struct instance_share share[6];
        alike(share, 6);
        for (unsigned i = 0; i < 6; i++)
                share[i].weight = weight[i];
        build(table, share, 6);
        for (unsigned i = 0; i < 6; i++)
                OK(fabs(part_primary(share[i].server) - weight[i] / 8) < 1e-4, "weight %g of 8: %.5f",
                   weight[i], part_primary(share[i].server));
        OK(part_primary(share[4].server) == 0, "weight 0 serves nobody");
        OK(part_standby(INSTANCE_NOBODY, share[4].server) > 0.1, "... and may stand by");
}

static void standbys_are_as_their_weights_say_under_every_primary(void) /* I4 */
{
        static const double standby[] = {1, 2, 0, 4, 1};
        struct instance_share share[5];
        alike(share, 5);
        for (unsigned i = 0; i < 5; i++)
                share[i].standby = standby[i];
        build(table, share, 5);
        for (unsigned p = 0; p < 5; p++)
                for (unsigned s = 0; s < 5; s++) {
                        double want = p == s ? 0 : standby[s] / (8 - standby[p]);
                        double is = part_standby(share[p].server, share[s].server);
                        OK(fabs(is - want) < 0.02, "primary %u, standby %u: %.3f, not %.3f", p, s, is, want);
                }
}

static void servers_with_a_common_fate_are_no_mirror_of_each_other(void) /* I4 */
{
        struct instance_share share[6];
        alike(share, 6);
        for (unsigned i = 0; i < 6; i++)
                share[i].fate = 1u << i / 2; /* two racks... */
        share[5].fate |= 1;                  /* ... and one that hangs on two */
        build(table, share, 6);
        for (unsigned i = 0; i < N; i++) {
                unsigned a = table[i].primary - 10u, b = table[i].standby - 10u;
                NEED(a < 6 && b < 6 && a != b, "entry %u: %u and %u", i, a, b);
                NEED(!(share[a].fate & share[b].fate), "entry %u: %u and %u fall together", i, a, b);
        }
        /* All in one rack: better no standby than one that dies with its primary. */
        for (unsigned i = 0; i < 6; i++)
                share[i].fate = 8;
        build(table, share, 6);
        for (unsigned i = 0; i < N; i++)
                NEED(table[i].standby == INSTANCE_NOBODY && table[i].primary != INSTANCE_NOBODY, "alone");
}

static void a_rare_standby_is_found_for_every_entry(void)
{
        struct instance_share share[4];
        alike(share, 4);
        for (unsigned i = 0; i < 3; i++)
                share[i].fate = 1;
        share[3].standby = 1e-6; /* the only one that fits the other three */
        build(table, share, 4);
        for (unsigned i = 0; i < N; i++) {
                bool is_last = table[i].primary == share[3].server;
                NEED(is_last ? table[i].standby < share[3].server : table[i].standby == share[3].server,
                     "entry %u: %u and %u", i, table[i].primary, table[i].standby);
        }
}

static void few_servers_are_few_choices(void)
{
        struct instance_share share[2];
        alike(share, 2);
        build(table, share, 0);
        for (unsigned i = 0; i < N; i++)
                NEED(table[i].primary == INSTANCE_NOBODY && table[i].standby == INSTANCE_NOBODY, "nobody");
        build(table, share, 1);
        for (unsigned i = 0; i < N; i++)
                NEED(table[i].primary == 10 && table[i].standby == INSTANCE_NOBODY, "one, alone");
        build(table, share, 2);
        for (unsigned i = 0; i < N; i++)
                NEED(table[i].primary + table[i].standby == 21, "each the other's");
        OK(fabs(part_primary(10) - 0.5) < 1e-4, "half and half");
        share[0].weight = 0;
        build(table, share, 2);
        for (unsigned i = 0; i < N; i++)
                NEED(table[i].primary == 11 && table[i].standby == 10, "all on one, the other stands by");
        share[1].weight = share[0].standby = 0;
        build(table, share, 2);
        for (unsigned i = 0; i < N; i++)
                NEED(table[i].primary == INSTANCE_NOBODY, "nobody is to serve");
}

/*
 * One of n servers goes or comes. Its own 1/n must move; of the rest, some few (the paper's figure 12: the
 * larger the table, the fewer).
 */
static void one_of_many_moves_its_own_share_and_a_few_more(void) /* I8, I12 */
{
        static const struct {
                unsigned n;
                double primaries, standbys;
        } row[] = {{3, 0.01, 0.01}, {4, 0.01, 0.01}, {10, 0.01, 0.02}, {50, 0.02, 0.02}, {100, 0.02, 0.02}};
        for (size_t r = 0; r < ARRAY_SIZE(row); r++) {
                struct instance_share share[101];
                unsigned n = row[r].n, moved = 0, kept = 0, pairs_moved = 0, own = 0, mine = 0;
                alike(share, n);
                build(table, share, n);
                uint16_t gone = share[n / 2].server;
                memmove(&share[n / 2], &share[n / 2 + 1], (n - n / 2 - 1) * sizeof(*share));
                build(other, share, n - 1);
                for (unsigned i = 0; i < N; i++) {
                        if (table[i].primary == gone) {
                                own++;
                                continue;
                        }
                        moved += other[i].primary != table[i].primary;
                        if (other[i].primary != table[i].primary)
                                continue;
                        mine += table[i].standby == gone;
                        if (table[i].standby == gone)
                                continue;
                        kept++;
                        pairs_moved += other[i].standby != table[i].standby;
                }
                printf("# %3u servers, one goes: its %.4f of the entries, %.4f of the others, "
                       "%.4f of their standbys\n",
                       n, own / (double)N, moved / (double)(N - own), pairs_moved / (double)kept);
                OK(fabs(own / (double)N - 1.0 / n) < 1e-3, "its own");
                OK(moved < row[r].primaries * (N - own), "%u of %u others moved", moved, N - own);
                OK(pairs_moved < row[r].standbys * kept, "%u of %u standbys moved", pairs_moved, kept);
                OK(mine > 0, "the standbys it was had to move");
        }
}

static void a_weight_that_falls_moves_about_what_it_gives_up(void) /* I8, I14 */
{
        struct instance_share share[5];
        alike(share, 5);
        build(other, share, 5);
        for (double w = 0.95; w > 0; w -= 0.1) {
                unsigned moved = 0;
                share[2].weight = w;
                build(table, share, 5);
                for (unsigned i = 0; i < N; i++)
                        moved += table[i].primary != other[i].primary;
                double gives_up = 0.2 - w / (4 + w);
                printf("# weight 1 to %.2f: %.4f given up, %.4f moved\n", w, gives_up, moved / (double)N);
                OK(moved / (double)N < gives_up + 0.03, "%.4f given up, %.4f moved", gives_up,
                   moved / (double)N);
        }
}

static void the_order_of_the_servers_does_not_matter(void)
{
        struct instance_share share[9], shuffled[9];
        alike(share, 9);
        for (unsigned i = 0; i < 9; i++) {
                share[i].weight = 1 + i % 4;
                share[i].standby = 1 + i % 3;
                share[i].fate = 1u << i % 5;
                shuffled[(i * 5) % 9] = share[i];
        }
        build(table, share, 9);
        build(other, shuffled, 9);
        OK(!memcmp(table, other, sizeof(table)), "the same table");
        for (unsigned i = 0; i < 9; i++) {
                share[i].weight *= 1e-30;
                share[i].standby *= 1024;
        }
        build(other, share, 9);
        unsigned moved = 0;
        for (unsigned i = 0; i < N; i++)
                moved += memcmp(&table[i], &other[i], sizeof(*table)) != 0;
        OK(moved < N / 1000, "only proportions count: %u entries differ by rounding", moved);
}

static void weights_that_are_no_numbers_are_none(void) /* bad input */
{
        struct instance_share share[6];
        alike(share, 6);
        share[0].weight = NAN;
        share[1].weight = -1;
        share[2].weight = INFINITY;
        share[3].standby = NAN;
        share[4].standby = -INFINITY;
        build(table, share, 6);
        for (unsigned i = 0; i < 3; i++)
                OK(part_primary(share[i].server) == 0, "server %u", i);
        OK(part_standby(INSTANCE_NOBODY, share[3].server) == 0, "no number");
        OK(part_standby(INSTANCE_NOBODY, share[4].server) == 0, "negative");
        share[3].weight = 1e-308;
        share[4].weight = 1e308;
        share[5].weight = 0x1p-1074;
        build(table, share, 6);
        OK(part_primary(share[4].server) > 0.9999, "as large as they come: %f",
           part_primary(share[4].server));
}

static void servers_that_cannot_be_are_refused(void) /* bad input */
{
        static struct instance_share share[INSTANCE_MAGLEV_SERVERS + 1];
        struct dog_err e = {{0}};
        alike(share, INSTANCE_MAGLEV_SERVERS + 1);
        memset(table, 0x5a, sizeof(table));
        OK(instance_maglev_build(table, share, INSTANCE_MAGLEV_SERVERS + 1, &e) == -E2BIG, "%s", e.text);
        share[1].server = share[0].server;
        OK(instance_maglev_build(table, share, 3, &e) == -EINVAL, "%s", e.text);
        share[1].server = INSTANCE_NOBODY;
        OK(instance_maglev_build(table, share, 3, &e) == -EINVAL, "%s", e.text);
        OK(table[0].primary == 0x5a5a && table[N - 1].standby == 0x5a5a, "the row is as it was");
}

static int build_of_three(void *user, struct dog_err *e)
{
        struct instance_share share[3];
        alike(share, 3);
        table[7].primary = 77;
        int rc = instance_maglev_build(table, share, 3, e);
        *(bool *)user &= (table[7].primary == 77) == (rc < 0);
        return rc;
}

static void without_memory_the_row_stays(void)
{
        bool is_sound = true;
        size_t n = alloc_fail_each(build_of_three, &is_sound);
        OK(n >= 1 && is_sound, "%zu allocations", n);
}

static void the_largest_takes_milliseconds(void)
{
        static struct instance_share share[INSTANCE_MAGLEV_SERVERS];
        static const unsigned row[] = {2, 10, 100, INSTANCE_MAGLEV_SERVERS};
        struct dog_rng rng;
        dog_rng_init(&rng, 5);
        for (size_t r = 0; r < ARRAY_SIZE(row); r++) {
                int64_t best_ns = INT64_MAX;
                for (unsigned i = 0; i < row[r]; i++)
                        share[i] = (struct instance_share){.server = (uint16_t)i,
                                                           .weight = dog_rng_unit(&rng) + 0.01,
                                                           .standby = dog_rng_unit(&rng) + 0.01,
                                                           .fate = 1u << i % 32};
                for (int n = 0; n < 5; n++) {
                        int64_t ns = dog_clock_cpu_ns();
                        build(table, share, row[r]);
                        ns = dog_clock_cpu_ns() - ns;
                        best_ns = ns < best_ns ? ns : best_ns;
                }
                printf("# %3u servers: %.2f ms\n", row[r], (double)best_ns / 1e6);
                OK(best_ns < 200 * DOG_MS, "%u servers: %.1f ms", row[r], (double)best_ns / 1e6);
        }
        for (unsigned i = 0; i < row[3]; i++)
                NEED(part_primary((uint16_t)i) > 0, "every one has a part");
}

int main(void)
{
        return CHECK_RUN(TEST(shares_are_as_the_weights_say),
                         TEST(standbys_are_as_their_weights_say_under_every_primary),
                         TEST(servers_with_a_common_fate_are_no_mirror_of_each_other),
                         TEST(a_rare_standby_is_found_for_every_entry), TEST(few_servers_are_few_choices),
                         TEST(one_of_many_moves_its_own_share_and_a_few_more),
                         TEST(a_weight_that_falls_moves_about_what_it_gives_up),
                         TEST(the_order_of_the_servers_does_not_matter),
                         TEST(weights_that_are_no_numbers_are_none), TEST(servers_that_cannot_be_are_refused),
                         TEST(without_memory_the_row_stays), TEST(the_largest_takes_milliseconds));
}
