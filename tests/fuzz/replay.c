/* In place of libFuzzer: each kept input, each of its prefixes, and each with one bit changed. */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>

enum { REPLAY_SIZE = 1 << 16, REPLAY_CHANGED = 1024 /* octets of an input that are cut and changed */ };

static void replay_input(const uint8_t *data, size_t size)
{
        /* A block of exactly this size, so that a sanitizer sees one octet too far. */
        uint8_t *copy = malloc(size ? size : 1);
        FUZZ_NEED(copy);
        if (size)
                memcpy(copy, data, size);
        LLVMFuzzerTestOneInput(copy, size);
        free(copy);
}

static size_t replay_file(const char *name)
{
        static uint8_t data[REPLAY_SIZE];
        FILE *f = fopen(name, "rb");
        if (!f) {
                fprintf(stderr, "%s: cannot open\n", name);
                exit(1);
        }
        size_t size = fread(data, 1, sizeof(data), f);
        fclose(f);
        replay_input(data, size);
        size_t changed = size < REPLAY_CHANGED ? size : REPLAY_CHANGED;
        for (size_t n = 0; n < changed; n++)
                replay_input(data, n);
        for (size_t bit = 0; bit < changed * 8; bit++) {
                data[bit / 8] ^= (uint8_t)(1U << bit % 8);
                replay_input(data, size);
                data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        return 1 + 9 * changed;
}

int main(int argc, char **argv)
{
        size_t files = 0;
        size_t inputs = 0;
        for (int i = 1; i < argc; i++) {
                DIR *d = opendir(argv[i]);
                if (!d) {
                        fprintf(stderr, "%s: cannot open the folder of kept inputs\n", argv[i]);
                        return 1;
                }
                for (struct dirent *entry; (entry = readdir(d));) {
                        char name[4096];
                        if (entry->d_name[0] == '.')
                                continue;
                        snprintf(name, sizeof(name), "%s/%s", argv[i], entry->d_name);
                        inputs += replay_file(name);
                        files++;
                }
                closedir(d);
        }
        printf("%zu inputs from %zu files\n", inputs, files);
        if (files == 0)
                fprintf(stderr, "no kept inputs: a target without a corpus proves nothing\n");
        return files == 0;
}
