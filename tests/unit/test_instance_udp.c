/*
 * What of a mirrored service's answers goes to the client: rows that tell the rule, then random orders of
 * A's, B's and the client's packets, with loss. (I3: traffic duplicated to several healthy instances.)
 */
#include "base/array.h"
#include "base/rng.h"
#include "check.h"
#include "kinds/instance/instance_udp.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- a flow and its time --------------------------------------------------------------------- */

static struct instance_talk talk;
static struct instance_udp_now now;

static void begin(enum instance_answer answer)
{
        memset(&talk, 0, sizeof(talk));
        now = (struct instance_udp_now){
                .tick = 0xfffffff0, .answer = (__u8)answer, .a_up = 1, .b_up = 1, .b_copy = 1};
}

/* The payload that is number n: any two have another hash. */
static __u64 payload(__u64 n)
{
        __u64 words[INSTANCE_UDP_CHUNK / 8] = {n};
        return instance_udp_mix(1, words);
}

static __u32 asks(__u32 after_ticks)
{
        now.tick += after_ticks;
        return instance_udp_ask(&talk, &now);
}

static bool answers(char who, __u64 what)
{
        now.hash = payload(what);
        return instance_udp_answer(&talk, &now, who == 'B');
}

/* ---- to whom --------------------------------------------------------------------------------- */

static void a_request_goes_to_both_that_are_there(void) /* I3 */
{
        static const struct {
                bool a_up, b_up, b_copy;
                __u32 to;
                const char *say;
        } row[] = {
                {1, 1, 1, INSTANCE_UDP_TO_A | INSTANCE_UDP_TO_B, "both"},
                {1, 1, 0, INSTANCE_UDP_TO_A, "the standby is not fit for copies"},
                {1, 0, 1, INSTANCE_UDP_TO_A, "the standby is dead"},
                {0, 1, 1, INSTANCE_UDP_TO_B, "the primary is dead"},
                {0, 1, 0, INSTANCE_UDP_TO_B, "and what is not fit for copies is better than nobody"},
                {0, 0, 1, 0, "nobody"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                begin(INSTANCE_ANSWER_PRIMARY);
                now.a_up = row[i].a_up;
                now.b_up = row[i].b_up;
                now.b_copy = row[i].b_copy;
                OK(asks(1) == row[i].to, "%s", row[i].say);
        }
}

/* ---- the primary's answer -------------------------------------------------------------------- */

static void the_primary_is_listened_to_while_it_answers(void)
{
        begin(INSTANCE_ANSWER_PRIMARY);
        for (__u64 n = 0; n < 1000; n++) {
                asks(100);
                if (n & 1)
                        OK(!answers('B', n * 2), "request %llu: the standby is first, and not needed", n);
                OK(answers('A', n * 2), "request %llu: the primary's", n);
                OK(answers('A', n * 2 + 1), "its second packet");
                if (!(n & 1))
                        OK(!answers('B', n * 2) && !answers('B', n * 2 + 1), "the standby's");
        }
}

static void a_primary_that_is_known_to_be_dead_is_not_waited_for(void) /* I9 */
{
        begin(INSTANCE_ANSWER_PRIMARY);
        asks(1);
        now.a_up = 0;
        OK(answers('B', 1), "at once, though nobody asked again");
        OK(!answers('A', 1), "what the dead one still said is a twin");
        asks(1);
        OK(answers('B', 2), "and so on");
}

static void a_primary_that_is_silent_costs_one_request(void) /* I9 */
{
        begin(INSTANCE_ANSWER_PRIMARY);
        asks(1);
        OK(answers('A', 1) && !answers('B', 1), "it answers, and dies");
        asks(1000);
        OK(!answers('B', 2), "the first request after that is lost: it could still answer");
        asks(1000);
        OK(answers('B', 3), "the next one is not");
        for (__u64 n = 4; n < 50; n++) {
                asks(1000);
                OK(answers('B', n), "nor is any other");
        }
        OK(answers('A', 100), "it is back: listened to");
        asks(1000);
        OK(!answers('B', 101) && answers('A', 101), "and alone");
}

static void a_client_that_asks_quickly_does_not_make_the_primary_late(void)
{
        begin(INSTANCE_ANSWER_PRIMARY);
        for (int n = 0; n < 40; n++)
                asks(1);
        for (__u64 n = 0; n < 40; n++)
                OK(!answers('B', n), "request %llu is 40 ms old at most", n);
        for (__u64 n = 0; n < 40; n++)
                OK(answers('A', n), "and answered in order");
        asks(1);
        asks(INSTANCE_UDP_PATIENCE);
        OK(answers('B', 50), "now it is late");
        OK(!answers('A', 50), "its own comes, and has been said");
        OK(answers('A', 51), "not this");
        OK(!answers('B', 51), "and it is listened to again");
}

/* ---- the first answer ------------------------------------------------------------------------ */

static void the_first_of_two_equal_packets_goes(void)
{
        begin(INSTANCE_ANSWER_FIRST);
        asks(1);
        OK(answers('A', 1) && !answers('B', 1), "A is first");
        asks(1);
        OK(answers('B', 2) && !answers('A', 2), "B is first");
        asks(1);
        OK(answers('A', 3) && answers('A', 4) && !answers('B', 3) && answers('B', 5) && !answers('A', 5) &&
                   !answers('B', 4),
           "three packets, each from whoever has it first");
        asks(1);
        OK(answers('B', 7), "A lost this one");
        OK(answers('A', 6) && !answers('B', 6), "and it overtook that one");
        asks(1);
        OK(answers('A', 8) && answers('A', 8) && !answers('B', 8) && !answers('B', 8) && answers('B', 8),
           "the same packet twice is two packets, thrice is three");
}

static void a_twin_that_is_too_late_is_an_answer(void)
{
        begin(INSTANCE_ANSWER_FIRST);
        asks(1);
        OK(answers('A', 1) && !answers('B', 1), "they are alike");
        OK(answers('A', 2), "B loses this one");
        now.tick += INSTANCE_UDP_TWIN + 1;
        asks(0);
        OK(answers('B', 2) && !answers('A', 2), "the same bytes, a second later: another answer");
        OK(answers('A', 3), "B is slow");
        now.tick += INSTANCE_UDP_TWIN;
        OK(!answers('B', 3), "but not too slow");
}

static void of_answers_that_differ_one_goes(void)
{
        for (int first = 0; first < 2; first++) {
                char x = first ? 'B' : 'A', y = first ? 'A' : 'B';
                __u64 n = 10;
                begin(INSTANCE_ANSWER_FIRST);
                asks(1);
                OK(answers(x, n) && !answers(y, n + 1), "%c spoke first", x);
                for (n = 20; n < 200; n += 2) {
                        asks(10);
                        OK(!answers(y, n + 1) && answers(x, n), "it goes on with %c, whoever is first", x);
                }
                asks(10);
                asks(INSTANCE_UDP_PATIENCE);
                OK(answers(y, n + 1), "%c did not answer: %c does", x, y);
                asks(10);
                OK(!answers(x, n + 2) && answers(y, n + 3), "and is kept");
        }
}

static void one_that_only_seemed_to_differ_is_listened_to_again(void)
{
        begin(INSTANCE_ANSWER_FIRST);
        asks(1);
        OK(answers('A', 1), "the first of two packets, of which B lost this one");
        OK(!answers('B', 2), "so B's second one looks like another answer");
        OK(answers('A', 2), "A goes on");
        asks(1);
        OK(answers('A', 3) && !answers('B', 3), "twins");
        asks(1);
        OK(answers('B', 4) && !answers('A', 4), "so they are alike, and the first one counts");
}

/* ---- random orders --------------------------------------------------------------------------- */

#define FLIGHT 48

struct said {
        char who;
        __u64 what;
        __u32 at; /* when it arrives */
};

static int by_time(const void *a, const void *b)
{
        const struct said *x = a, *y = b;
        return x->at < y->at ? -1 : x->at > y->at;
}

/*
 * FIRST, answers alike: bursts of requests, answers of up to four packets, each server's packets late by up
 * to 60 ms and lost at random. Whatever arrives from at least one server goes to the client exactly once.
 */
static void every_packet_of_equal_answers_goes_exactly_once(void)
{
        struct dog_rng rng;
        unsigned came = 0, twice = 0, never = 0;
        for (__u64 seed = 1; seed <= 400; seed++) {
                struct said list[FLIGHT * 4];
                __u64 next = seed << 32;
                dog_rng_init(&rng, seed);
                begin(INSTANCE_ANSWER_FIRST);
                double loss = dog_rng_unit(&rng) * 0.3;
                /* They are known to be alike from the first request on, as two orders in the rows above are.
                 */
                asks(1);
                answers('A', next);
                answers('B', next++);
                for (int burst = 0; burst < 20; burst++) {
                        size_t n = 0;
                        __u64 first = next;
                        unsigned requests = 1 + (unsigned)dog_rng_below(&rng, 6);
                        __u32 start = 200;
                        for (unsigned r = 0; r < requests; r++) {
                                unsigned packets = 1 + (unsigned)dog_rng_below(&rng, 4);
                                asks(r ? (__u32)dog_rng_below(&rng, 5) : start);
                                for (unsigned k = 0; k < packets; k++, next++)
                                        for (char who = 'A'; who <= 'B'; who++)
                                                if (dog_rng_unit(&rng) >= loss)
                                                        list[n++] = (struct said){
                                                                who, next, (__u32)dog_rng_below(&rng, 60)};
                        }
                        qsort(list, n, sizeof(*list), by_time);
                        unsigned went[FLIGHT] = {0}, there[FLIGHT] = {0};
                        __u32 base = now.tick;
                        for (size_t i = 0; i < n; i++) {
                                now.tick = base + list[i].at;
                                there[list[i].what - first]++;
                                went[list[i].what - first] += answers(list[i].who, list[i].what);
                        }
                        for (__u64 w = 0; w < next - first; w++) {
                                came += there[w] > 0;
                                twice += went[w] > 1;
                                never += there[w] && !went[w];
                        }
                }
        }
        printf("# %u packets, %u went twice (their places were taken), %u not at all\n", came, twice, never);
        OK(never == 0, "%u of %u were lost by us", never, came);
        /* Up to 24 payloads wait in 64 places: some are pushed out before their twin has come. */
        OK(twice < came / 50, "%u of %u went twice", twice, came);
}

/* PRIMARY, random faults of A: never two answers to one request, never an answer of B while A is in time. */
static void random_primaries_never_let_two_answers_through(void)
{
        struct dog_rng rng;
        unsigned both = 0, none = 0, avoidable = 0, requests = 0;
        for (__u64 seed = 1; seed <= 300; seed++) {
                bool a_answers = true, b_answers = true;
                unsigned silent = 0;
                dog_rng_init(&rng, seed);
                begin(INSTANCE_ANSWER_PRIMARY);
                for (__u64 n = 0; n < 200; n++, requests++) {
                        if (dog_rng_below(&rng, 20) == 0)
                                a_answers = !a_answers;
                        if (dog_rng_below(&rng, 40) == 0)
                                b_answers = !b_answers;
                        now.a_up = a_answers || dog_rng_below(&rng, 2);
                        asks(60 + (__u32)dog_rng_below(&rng, 500));
                        bool a_first = dog_rng_below(&rng, 2) > 0, went_a = false, went_b = false;
                        if (a_answers && a_first)
                                went_a = answers('A', n);
                        if (b_answers)
                                went_b = answers('B', n);
                        if (a_answers && !a_first)
                                went_a = answers('A', n);
                        both += went_a && went_b;
                        none += !went_a && !went_b;
                        /* Only the first request that a silent A leaves may be lost while B has it. */
                        silent = a_answers ? 0 : silent + 1;
                        if (!went_a && !went_b && (a_answers || (b_answers && (silent > 1 || !now.a_up))))
                                avoidable++;
                }
        }
        printf("# %u requests, %u without an answer\n", requests, none);
        OK(both == 0, "%u requests had two answers", both);
        OK(avoidable == 0, "%u were lost without need", avoidable);
        OK(none > 0 && none < requests / 2, "faults were made: %u", none);
}

/* ---- two CPUs -------------------------------------------------------------------------------- */

#define RACES 400000

static pthread_barrier_t both_ready;
static unsigned char went[2][RACES];

/* A's packets on one CPU, B's on the other, in step: whoever is first goes, the other does not. */
static void *race(void *arg)
{
        bool is_b = arg != NULL;
        struct instance_udp_now mine = now;

        for (__u64 block = 0; block < RACES; block += 32) {
                pthread_barrier_wait(&both_ready);
                for (__u64 n = block; n < block + 32; n++) {
                        mine.hash = (n & 31) | n << 24; /* 32 places, nobody else's */
                        went[is_b][n] = instance_udp_answer(&talk, &mine, is_b);
                }
        }
        return NULL;
}

static void of_twins_on_two_cpus_one_goes(void)
{
        pthread_t thread[2];
        unsigned once = 0, by_b = 0;
        begin(INSTANCE_ANSWER_FIRST);
        asks(1);
        talk.flags |= INSTANCE_UDP_ALIKE;
        pthread_barrier_init(&both_ready, NULL, 2);
        for (int i = 0; i < 2; i++)
                NEED(!pthread_create(&thread[i], NULL, race, i ? &both_ready : NULL), "a thread");
        for (int i = 0; i < 2; i++)
                pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&both_ready);
        for (unsigned n = 0; n < RACES; n++) {
                once += went[0][n] + went[1][n] == 1;
                by_b += went[1][n];
        }
        printf("# %d pairs, B was first in %u\n", RACES, by_b);
        OK(once == RACES, "%u of %d pairs went once", once, RACES);
}

/* ---- the hash -------------------------------------------------------------------------------- */

static void payloads_of_one_bit_less_have_another_hash(void)
{
        __u64 words[INSTANCE_UDP_CHUNK / 8] = {0}, base = instance_udp_mix(7, words);
        for (unsigned bit = 0; bit < INSTANCE_UDP_CHUNK * 8; bit++) {
                words[bit / 64] ^= UINT64_C(1) << bit % 64;
                __u64 other = instance_udp_mix(7, words);
                OK(other >> 24 != base >> 24, "bit %u", bit);
                words[bit / 64] ^= UINT64_C(1) << bit % 64;
        }
        unsigned taken[INSTANCE_UDP_SLOTS] = {0};
        for (__u64 n = 0; n < 6400; n++)
                taken[payload(n) & (INSTANCE_UDP_SLOTS - 1)]++;
        for (unsigned i = 0; i < INSTANCE_UDP_SLOTS; i++)
                OK(taken[i] > 50 && taken[i] < 150, "place %u has %u of 6400", i, taken[i]);
}

int main(void)
{
        return CHECK_RUN(TEST(a_request_goes_to_both_that_are_there),
                         TEST(the_primary_is_listened_to_while_it_answers),
                         TEST(a_primary_that_is_known_to_be_dead_is_not_waited_for),
                         TEST(a_primary_that_is_silent_costs_one_request),
                         TEST(a_client_that_asks_quickly_does_not_make_the_primary_late),
                         TEST(the_first_of_two_equal_packets_goes),
                         TEST(a_twin_that_is_too_late_is_an_answer), TEST(of_answers_that_differ_one_goes),
                         TEST(one_that_only_seemed_to_differ_is_listened_to_again),
                         TEST(every_packet_of_equal_answers_goes_exactly_once),
                         TEST(random_primaries_never_let_two_answers_through),
                         TEST(of_twins_on_two_cpus_one_goes),
                         TEST(payloads_of_one_bit_less_have_another_hash));
}
