/* A calendar. What is taken keeps its limits, and reading it again gives the same. */
#include "fuzz.h"
#include "wire/ical.h"

#include <string.h>

#define NOW INT64_C(1795262400)

struct found {
        uint32_t n;
        uint64_t sum;
};

static void fuzz_take(void *user, const struct dog_feed_entry *e)
{
        struct found *f = user;
        FUZZ_NEED(e->start_s < e->end_s && e->end_s > NOW && e->start_s < NOW + 31 * 86400);
        FUZZ_NEED(e->severity >= 0 && e->severity <= 1);
        FUZZ_NEED(memchr(e->words, 0, sizeof(e->words)) && memchr(e->where, 0, sizeof(e->where)));
        for (const char *c = e->words; *c; c++)
                FUZZ_NEED((unsigned char)*c >= ' ');
        f->n++;
        f->sum = f->sum * 31 + (uint64_t)e->start_s + (uint64_t)e->end_s;
}

static struct found fuzz_read(const char *text, size_t size)
{
        struct found f = {0};
        struct dog_err e = {0};
        struct dog_feed_reader r = {
                .now_s = NOW, .until_s = NOW + 31 * 86400, .most = 200, .take = fuzz_take, .user = &f};
        int rc = dog_ical_read(text, size, "Europe/Vienna", &r, &e);
        FUZZ_NEED(rc == 0 || e.text[0]);
        FUZZ_NEED(r.taken == f.n && f.n <= 200);
        return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        /* Not terminated, and not a byte more may be touched. */
        char *text = malloc(size ? size : 1);
        FUZZ_NEED(text);
        memcpy(text, data, size);
        struct found one = fuzz_read(text, size);
        struct found two = fuzz_read(text, size);
        FUZZ_NEED(one.n == two.n && one.sum == two.sum);
        free(text);
        return 0;
}
