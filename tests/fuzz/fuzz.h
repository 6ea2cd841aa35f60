#pragma once
/**
 * A fuzz target is one file, fuzz_NAME.c, that defines LLVMFuzzerTestOneInput, and one line in meson.build.
 * Its kept inputs lie in corpus/NAME/. What must hold is said with FUZZ_NEED, not only "does not crash".
 *
 *     -Dfuzz=true with clang   libFuzzer runs each target for fuzz_seconds, beginning with the kept inputs
 *     any other build          the kept inputs, their prefixes and their one-bit changes are replayed
 *
 * An input that libFuzzer found lies in the build folder as crash-*; copy it to corpus/NAME/ with the fix.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_NEED(condition)                                                                                 \
        do {                                                                                                 \
                if (!(condition)) {                                                                          \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);              \
                        abort();                                                                             \
                }                                                                                            \
        } while (0)
