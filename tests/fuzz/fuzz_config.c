/* The configuration from memory. What is taken must print as something that is taken again, and equal. */
#include "daemon/config.h"
#include "fuzz.h"

#include <string.h>

static char *printed(const struct dog_config *c, size_t *size)
{
        char *text = NULL;
        FILE *to = open_memstream(&text, size);
        FUZZ_NEED(to && dog_config_write_effective(c, to) == 0);
        fclose(to);
        return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct dog_config *c = NULL;
        struct dog_config *again = NULL;
        struct dog_err e = {0};
        int rc = dog_config_parse((const char *)data, size, "x", &c, &e);
        FUZZ_NEED(rc == 0 ? c != NULL && e.text[0] == 0 : c == NULL && strncmp(e.text, "x:", 2) == 0);
        if (rc < 0)
                return 0;
        size_t first_size = 0;
        size_t second_size = 0;
        char *first = printed(c, &first_size);
        FUZZ_NEED(dog_config_parse(first, first_size, "y", &again, &e) == 0);
        char *second = printed(again, &second_size);
        FUZZ_NEED(first_size == second_size && memcmp(first, second, first_size) == 0);
        free(first);
        free(second);
        dog_config_free(c);
        dog_config_free(again);
        return 0;
}
