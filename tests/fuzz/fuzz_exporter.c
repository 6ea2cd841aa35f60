/* A node_exporter's answer: the head of HTTP, then the text format of metrics. */
#include "base/clock.h"
#include "fuzz.h"
#include "sources/exporter.h"
#include "wire/exposition.h"

#include <string.h>

static void fuzz_samples(const char *text, size_t size)
{
        struct dog_exposition x = dog_exposition_of(text, size);
        struct dog_exposition_sample s;
        char value[8];
        while (dog_exposition_next(&x, &s)) {
                FUZZ_NEED(s.name.size > 0 && s.name.text >= text && s.name.text + s.name.size <= text + size);
                FUZZ_NEED(s.labels.text >= text && s.labels.text + s.labels.size <= text + size);
                if (dog_exposition_label(&s, "a", value, sizeof(value)))
                        FUZZ_NEED(s.labels.size >= 4);
                FUZZ_NEED(memchr(value, 0, sizeof(value)));
        }
        FUZZ_NEED(x.is_broken || x.at == text + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        /* As it arrives: not terminated, and not a byte more may be touched. */
        char *text = malloc(size ? size : 1);
        FUZZ_NEED(text);
        memcpy(text, data, size);
        const char *body = text;
        size_t left = size;
        enum dog_exporter_fault fault = dog_exporter_head(text, size, &body, &left);
        FUZZ_NEED(fault != DOG_EXPORTER_FINE || body + left == text + size);
        struct dog_counters before = dog_counters_unknown(DOG_S), now = dog_counters_unknown(2 * DOG_S);
        before.cpu_total_s = before.cpu_busy_s = before.rx_bytes = before.segments = 1;
        fuzz_samples(body, left);
        dog_exporter_read(body, left, &now);
        struct dog_vitals v;
        dog_vitals_derive(&v, &before, &now);
        dog_vitals_cleanse(&v);
        for (unsigned i = 0; i < DOG_VITAL_COUNT; i++)
                FUZZ_NEED(dog_vital_is_possible((enum dog_vital)i, v.value[i]));
        free(text);
        return 0;
}
