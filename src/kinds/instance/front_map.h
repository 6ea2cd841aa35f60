#pragma once
/** Maps of the front as the decider holds them: a descriptor from hands and, of a mmapable array, its memory.
 */
#include "hands/client.h"

#include <stddef.h>
#include <stdint.h>

struct instance_map {
        int fd; /**< 0: not open */
        uint32_t entries, value_size;
        void *memory; /**< the values of a mmapable array, or NULL */
        size_t mapped;
};

/** Get it from hands, map its memory when it is mmapable; value_size is checked (-EPROTO). */
int instance_map_open(struct instance_map *m, struct dog_hands_client *hands, const char *name,
                      size_t value_size, struct dog_err *e);
void instance_map_close(struct instance_map *m);
/** The value at `index` of a mapped array; index < entries. */
void *instance_map_at(const struct instance_map *m, uint32_t index);
/** Add up `words` u64 words of one entry of a per-CPU array over all CPUs. */
int instance_map_sum(const struct instance_map *m, uint32_t index, uint64_t *sum, size_t words);
/** The same, but word `newest` is the largest instead. */
int instance_map_sum_newest(const struct instance_map *m, uint32_t index, uint64_t *sum, size_t words,
                            size_t newest);
