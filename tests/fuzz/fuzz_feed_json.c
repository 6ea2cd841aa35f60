/* A weather forecast or a schedule: the first byte chooses the form. What is taken keeps its limits. */
#include "fuzz.h"
#include "wire/feed_json.h"

#include <string.h>

#define NOW INT64_C(1795262400)

static void fuzz_take(void *user, const struct dog_feed_entry *e)
{
        uint32_t *n = user;
        FUZZ_NEED(e->start_s < e->end_s && e->end_s > NOW && e->start_s < NOW + 31 * 86400);
        FUZZ_NEED(e->severity > 0 && e->severity <= 1);
        FUZZ_NEED(memchr(e->words, 0, sizeof(e->words)) && memchr(e->where, 0, sizeof(e->where)));
        for (const char *c = e->words; *c; c++)
                FUZZ_NEED((unsigned char)*c >= ' ');
        ++*n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct dog_feed_map map;
        struct dog_err e = {0};
        uint32_t n = 0;
        if (size == 0)
                return 0;
        enum dog_feed_format format = (enum dog_feed_format)(data[0] % DOG_FEED_FORMAT_COUNT);
        enum dog_feed_measure measure = (enum dog_feed_measure)(data[0] / 4 % DOG_FEED_MEASURE_COUNT);
        if (!dog_feed_map_of(format, measure, &map))
                return 0;
        char *text = malloc(size);
        FUZZ_NEED(text);
        memcpy(text, data + 1, size - 1);
        struct dog_feed_reader r = {
                .now_s = NOW, .until_s = NOW + 31 * 86400, .most = 200, .take = fuzz_take, .user = &n};
        int rc = dog_feed_json_read(text, size - 1, &map, &r, &e);
        FUZZ_NEED(rc == 0 || e.text[0]);
        FUZZ_NEED(r.taken == n && n <= 200);
        free(text);
        return 0;
}
