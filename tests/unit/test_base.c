#include "base/array.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/units.h"
#include "check.h"

#include <errno.h>
#include <string.h>

static void quantities_carry_units(void)
{
        static const struct {
                const char *text;
                int rc;
                int64_t ns;
        } row[] = {
                {"80ms", 0, 80 * DOG_MS},  {"1.5s", 0, 1500 * DOG_MS},
                {"2 min", 0, 120 * DOG_S}, {"0s", 0, 0},
                {"80", -EINVAL, 0},        {"ms", -EINVAL, 0},
                {"80mb", -EINVAL, 0},      {"-1s", -ERANGE, 0},
                {"", -EINVAL, 0},          {"nan", -EINVAL, 0},
                {"1e30s", -ERANGE, 0},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                int64_t ns = 0;
                struct dog_err e = {0};
                int rc = dog_units_time(row[i].text, &ns, &e);
                OK(rc == row[i].rc && ns == row[i].ns, "\"%s\" gave %d, %lld ns: %s", row[i].text, rc,
                   (long long)ns, e.text);
                OK((rc == 0) == (e.text[0] == 0), "\"%s\": a failure has a sentence", row[i].text);
        }
        double share = 0;
        uint64_t bytes = 0;
        double rate = 0;
        OK(dog_units_share("0.1%", &share, NULL) == 0 && NEAR(share, 0.001, 1e-12), "0.1%% is %g", share);
        OK(dog_units_share("101%", &share, NULL) == -ERANGE, "no share is over 100%%");
        OK(dog_units_size("20GB", &bytes, NULL) == 0 && bytes == 20000000000U, "20GB");
        OK(dog_units_rate("5Mbit/s", &rate, NULL) == 0 && NEAR(rate, 5e6, 1), "5Mbit/s");
}

static void reading_past_the_end_is_noticed_and_gives_zero(void)
{
        uint8_t data[6] = {1, 2, 3, 4, 5, 6};
        struct dog_bytes in = dog_bytes_in(data, sizeof(data));
        OK(dog_read_u32(&in) == 0x01020304U, "network byte order");
        OK(dog_read_u32(&in) == 0 && in.failed, "two bytes are not four");
        OK(dog_read_u8(&in) == 0, "a failure sticks");
        OK(dog_bytes_left(&in) == 0, "nothing is left after a failure");
}

static void writing_and_reading_agree(void)
{
        uint8_t data[32];
        struct dog_bytes out = dog_bytes_of(data, sizeof(data));
        dog_write_u8(&out, 7);
        dog_write_u16(&out, 0xabcd);
        dog_write_u64(&out, UINT64_C(0x1122334455667788));
        dog_write_zero(&out, 3);
        dog_write_copy(&out, "hi", 2);
        struct dog_bytes in = dog_bytes_in(data, out.at);
        OK(dog_read_u8(&in) == 7, "u8");
        OK(dog_read_u16(&in) == 0xabcd, "u16");
        OK(dog_read_u64(&in) == UINT64_C(0x1122334455667788), "u64");
        dog_read_skip(&in, 3);
        char text[3] = "";
        dog_read_copy(&in, text, 2);
        OK(strcmp(text, "hi") == 0 && !in.failed && dog_bytes_left(&in) == 0, "all of it");
        dog_write_zero(&out, 32);
        OK(out.failed, "a full buffer is noticed");
}

static void the_same_seed_gives_the_same_numbers(void)
{
        struct dog_rng a;
        struct dog_rng b;
        dog_rng_init(&a, 42);
        dog_rng_init(&b, 42);
        double sum = 0;
        for (int i = 0; i < 10000; i++) {
                OK(dog_rng_u64(&a) == dog_rng_u64(&b), "number %d", i);
                sum += dog_rng_normal(&a);
                dog_rng_normal(&b);
        }
        OK(NEAR(sum / 10000, 0, 0.05), "normal numbers have mean %g", sum / 10000);
}

static void a_sentence_grows_from_the_front_and_never_overflows(void)
{
        struct dog_err e = {0};
        OK(dog_err_set(&e, -EIO, "disk %d is gone", 3) == -EIO, "rc comes back");
        OK(dog_err_prefix(&e, -EIO, "store") == -EIO, "rc comes back");
        OK(strcmp(e.text, "store: disk 3 is gone") == 0, "%s", e.text);
        for (int i = 0; i < 200; i++)
                dog_err_prefix(&e, -1, "a long word");
        OK(strlen(e.text) < sizeof(e.text), "%zu", strlen(e.text));
        dog_err_set(NULL, -1, "nobody listens");
}

int main(void)
{
        return CHECK_RUN(TEST(quantities_carry_units), TEST(reading_past_the_end_is_noticed_and_gives_zero),
                         TEST(writing_and_reading_agree), TEST(the_same_seed_gives_the_same_numbers),
                         TEST(a_sentence_grows_from_the_front_and_never_overflows));
}
