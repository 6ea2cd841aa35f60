/* What a radio tells as text: a whole file, then the same line by line as from a pipe. */
#include "base/clock.h"
#include "fuzz.h"
#include "models/radio_features.h"
#include "sources/radio_read.h"

#include <string.h>

static void fuzz_check(const struct dog_radio_read *r)
{
        const struct dog_radio *v = &r->reading;
#define X(field, word, unit, least, most, help)                                                              \
        FUZZ_NEED(isnan(v->field) || (v->field >= (float)(least) && v->field <= (float)(most)));
        DOG_RADIO_VALUES(X)
#undef X
        FUZZ_NEED(v->technology < DOG_RADIO_TECHNOLOGY_COUNT);
        FUZZ_NEED(v->handover_ns >= 0 && v->handover_ns <= DOG_S);
        FUZZ_NEED(!v->is_outage || v->has_outage);
        FUZZ_NEED(!dog_radio_is_known(v) || r->values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        /* As it arrives: not terminated, and not a byte more may be touched. */
        char *text = malloc(size ? size : 1);
        FUZZ_NEED(text);
        memcpy(text, data, size);
        struct dog_radio_read whole, lines;
        dog_radio_read_init(&whole);
        dog_radio_read_text(&whole, text, size, DOG_S);
        fuzz_check(&whole);
        dog_radio_read_init(&lines);
        for (size_t from = 0; from < size;) {
                const char *end = memchr(text + from, '\n', size - from);
                size_t length = end ? (size_t)(end - (text + from)) : size - from;
                dog_radio_read_line(&lines, text + from, length, DOG_S);
                fuzz_check(&lines);
                from += length + 1;
        }
        struct dog_radio_past past;
        float in[DOG_RADIO_INPUTS];
        float hint[DOG_RADIO_HINTS];
        dog_radio_past_init(&past, 5 * DOG_S);
        whole.reading.at_ns = lines.reading.at_ns = 2 * DOG_S;
        dog_radio_past_take(&past, &whole.reading);
        lines.reading.at_ns++;
        dog_radio_past_take(&past, &lines.reading);
        dog_radio_inputs(&past, 3 * DOG_S, in);
        dog_radio_hints(in, hint);
        for (int i = 0; i < DOG_RADIO_HINTS; i++)
                FUZZ_NEED(hint[i] >= 0 && hint[i] <= 4);
        free(text);
        return 0;
}
