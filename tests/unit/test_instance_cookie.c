/* The number that a front answers a SYN with in aligned mode: what it carries, and what it refuses. */
#include "check.h"

#include "base/rng.h"
#include "kinds/instance/instance_cookie.h"

#include <arpa/inet.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

static const struct instance_cookie_keys keys = {
        .key = {{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL, 0}, {0, 0, ~0ULL}}};

#define EPOCH 24000000ULL /* some time in 2022 */

static struct instance_address client4(void)
{
        struct instance_address a = {{0}};

        a.word[2] = htonl(0xffff);
        a.word[3] = htonl(0xc0000207);
        return a;
}

static struct instance_address client6(void)
{
        return (struct instance_address){{htonl(0x20010db8), 0, htonl(7), htonl(0x1234)}};
}

static int front_reads(const struct instance_address *a, __u16 port, __u32 isn, __u64 epoch, __u32 cookie,
                       struct instance_offer *offer)
{
        return instance_cookie_read(&keys, a, htons(port), isn, epoch, INSTANCE_COOKIE_FRONT_BACK,
                                    INSTANCE_COOKIE_FRONT_AHEAD, cookie, offer);
}

static void siphash_is_the_one_of_the_paper(void)
{
        /* Key and message of the paper's reference code: bytes 0, 1, 2, ...; its vector for 32 bytes. */
        __u64 got = instance_sip(0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL, 0x0706050403020100ULL,
                                 0x0f0e0d0c0b0a0908ULL, 0x1716151413121110ULL, 0x1f1e1d1c1b1a1918ULL);

        OK(got == 0x7127512f72f27cceULL, "got %016llx", (unsigned long long)got);
}

/* I3: what both servers build from the third packet is what the client's SYN offered. */
static void every_class_and_shift_comes_back(void)
{
        const struct instance_address from[] = {client4(), client6()};

        for (unsigned f = 0; f < ARRAY_SIZE(from); f++)
                for (unsigned class = 0; class < INSTANCE_COOKIE_MSS_CLASSES; class ++)
                        for (unsigned shift = 0; shift <= INSTANCE_COOKIE_NO_WSCALE; shift++)
                                for (unsigned sack = 0; sack < 2; sack++) {
                                        struct instance_offer in = {instance_cookie_mss(class), (__u8)shift,
                                                                    (__u8)sack},
                                                              out = {0};
                                        __u32 c = instance_cookie_make(&keys.key[0], &from[f], htons(4711),
                                                                       0xfffffff0, EPOCH, &in);
                                        OK(front_reads(&from[f], 4711, 0xfffffff0, EPOCH, c, &out),
                                           "class %u shift %u", class, shift);
                                        OK(!memcmp(&in, &out, sizeof(in)), "class %u shift %u sack %u", class,
                                           shift, sack);
                                }
}

static void an_mss_becomes_the_largest_class_that_is_not_above_it(void)
{
        for (unsigned mss = 0; mss <= 65535; mss++) {
                __u32 class = instance_cookie_class((__u16)mss);
                if (class > 0 && instance_cookie_mss(class) > mss)
                        OK(0, "MSS %u became %u", mss, instance_cookie_mss(class));
                if (class < 7 && instance_cookie_mss(class + 1) <= mss)
                        OK(0, "MSS %u became only %u", mss, instance_cookie_mss(class));
        }
        OK(instance_cookie_mss(instance_cookie_class(100)) == 536, "nothing smaller than 536 is built");
}

static void a_cookie_lives_two_epochs(void)
{
        static const struct {
                __s64 later;
                int front, shim;
                const char *say;
        } row[] = {
                {-2, 0, 0, "two epochs in the future"},
                {-1, 0, 1, "a shim whose clock is behind by one takes it"},
                {0, 1, 1, "at once"},
                {1, 1, 1, "in the next epoch"},
                {2, 0, 1, "two epochs old: a shim whose clock is ahead by one takes it"},
                {3, 0, 0, "three epochs old"},
                {4, 0, 0, "four epochs old: the same two bits"},
                {5, 0, 0, "five"},
                {1024, 0, 0, "very old"},
        };
        const struct instance_address a = client4();
        struct instance_offer in = {1460, 7, 1}, out;
        __u32 c = instance_cookie_make(&keys.key[0], &a, htons(80), 1, EPOCH, &in);

        for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
                __u64 now = EPOCH + (__u64)row[i].later;
                OK(front_reads(&a, 80, 1, now, c, &out) == row[i].front, "front: %s", row[i].say);
                OK(instance_cookie_read(&keys, &a, htons(80), 1, now, INSTANCE_COOKIE_SHIM_BACK,
                                        INSTANCE_COOKIE_SHIM_AHEAD, c, &out) == row[i].shim,
                   "shim: %s", row[i].say);
        }
}

static void the_low_bits_of_an_epoch_wrap(void)
{
        const struct instance_address a = client4();
        struct instance_offer in = {1460, 7, 1}, out;

        for (__u64 epoch = EPOCH; epoch < EPOCH + 8; epoch++) {
                __u32 c = instance_cookie_make(&keys.key[0], &a, htons(80), 1, epoch, &in);
                OK(front_reads(&a, 80, 1, epoch, c, &out), "made and read in %llu",
                   (unsigned long long)epoch);
                OK(front_reads(&a, 80, 1, epoch + 1, c, &out), "read one later");
                OK(!front_reads(&a, 80, 1, epoch + 2, c, &out), "not two later");
        }
}

static void a_flipped_bit_anywhere_is_refused(void)
{
        struct instance_address a = client6();
        struct instance_offer in = {1400, 9, 0}, out;
        __u32 c = instance_cookie_make(&keys.key[0], &a, htons(33000), 99, EPOCH, &in);

        NEED(front_reads(&a, 33000, 99, EPOCH, c, &out), "the cookie itself");
        for (unsigned bit = 0; bit < 32; bit++)
                OK(!front_reads(&a, 33000, 99, EPOCH, c ^ 1U << bit, &out), "cookie bit %u", bit);
        for (unsigned bit = 0; bit < 32; bit++)
                OK(!front_reads(&a, 33000, 99 ^ 1U << bit, EPOCH, c, &out), "client's number, bit %u", bit);
        for (unsigned bit = 0; bit < 16; bit++)
                OK(!front_reads(&a, (__u16)(33000 ^ 1U << bit), 99, EPOCH, c, &out), "port bit %u", bit);
        for (unsigned bit = 0; bit < 128; bit++) {
                struct instance_address other = a;
                other.word[bit / 32] ^= 1U << bit % 32;
                OK(!front_reads(&other, 33000, 99, EPOCH, c, &out), "address bit %u", bit);
        }
}

static void a_wrong_key_is_refused(void)
{
        const struct instance_address a = client4();
        struct instance_offer in = {1460, 7, 1}, out;
        __u32 c = instance_cookie_make(&keys.key[0], &a, htons(80), 1, EPOCH, &in);

        for (unsigned bit = 0; bit < 128; bit++) {
                struct instance_cookie_keys other = keys;
                (bit < 64 ? &other.key[0].k0 : &other.key[0].k1)[0] ^= 1ULL << bit % 64;
                OK(!instance_cookie_read(&other, &a, htons(80), 1, EPOCH, 1, 0, c, &out), "key bit %u", bit);
        }
}

static void guesses_are_valid_as_rarely_as_said(void)
{
        /* 512 of 2^32: of 2^24 guesses 2 are expected; over 12 is a chance of 1e-6, and the seed is fixed. */
        const struct instance_address a = client4();
        struct dog_rng rng;
        struct instance_offer out;
        unsigned hits = 0;

        dog_rng_init(&rng, 20260101);
        for (unsigned i = 0; i < 1U << 24; i++)
                hits += (unsigned)front_reads(&a, 80, 1, EPOCH, (__u32)dog_rng_u64(&rng), &out);
        OK(hits <= 12, "%u of 2^24 guesses were valid; 2 are expected", hits);
}

static void keys_rotate_by_the_epoch_and_both_ends_agree(void)
{
        const struct instance_address a = client4();
        struct instance_cookie_keys both = {.key = {{1, 2, EPOCH - 100}, {3, 4, EPOCH + 1}}};
        struct instance_offer in = {1460, 7, 1}, out;
        const struct instance_cookie_key *old = &both.key[0], *new = &both.key[1];
        __u32 c;

        OK(instance_cookie_key_of(&both, EPOCH) == old, "the new key waits");
        OK(instance_cookie_key_of(&both, EPOCH + 1) == new, "and is in force from its epoch on");
        OK(instance_cookie_key_of(&both, EPOCH - 101) == NULL, "before the first there is none");
        c = instance_cookie_make(old, &a, htons(80), 1, EPOCH, &in);
        OK(instance_cookie_read(&both, &a, htons(80), 1, EPOCH + 1, 1, 0, c, &out),
           "a cookie of the last epoch is read with the key of the last epoch");
        c = instance_cookie_make(old, &a, htons(80), 1, EPOCH + 1, &in);
        OK(!instance_cookie_read(&both, &a, htons(80), 1, EPOCH + 1, 1, 0, c, &out),
           "the old key makes nothing valid in the new one's time");
        both.key[0] = (struct instance_cookie_key){5, 6, EPOCH + 50};
        OK(instance_cookie_key_of(&both, EPOCH + 49) == &both.key[1], "the next takes the older one's place");
        OK(instance_cookie_key_of(&both, EPOCH + 50) == &both.key[0], "and goes on in turn");
}

int main(void)
{
        return CHECK_RUN(TEST(siphash_is_the_one_of_the_paper), TEST(every_class_and_shift_comes_back),
                         TEST(an_mss_becomes_the_largest_class_that_is_not_above_it),
                         TEST(a_cookie_lives_two_epochs), TEST(the_low_bits_of_an_epoch_wrap),
                         TEST(a_flipped_bit_anywhere_is_refused), TEST(a_wrong_key_is_refused),
                         TEST(guesses_are_valid_as_rarely_as_said),
                         TEST(keys_rotate_by_the_epoch_and_both_ends_agree));
}
