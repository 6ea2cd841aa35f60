#pragma once
/**
 * Maps of the data plane as the decider holds them: a descriptor that hands gave, and where the
 * kernel allows it, the memory itself, so that steering is one store.
 */
#include "hands/client.h"

#include <stddef.h>
#include <stdint.h>

struct path_map {
        int fd;
        uint32_t entries;
        uint32_t value_size;
        void *memory; /**< the values of a mmapable array, or NULL */
        size_t mapped;
};

/** Get a map of an instance from hands; map its memory when it is mmapable. value_size is checked. */
int path_map_open(struct path_map *m, struct dog_hands_client *hands, const char *instance, const char *name,
                  size_t value_size, struct dog_err *e);
void path_map_close(struct path_map *m);

/** The value at `index` of a mapped array; index < entries. */
void *path_map_at(const struct path_map *m, uint32_t index);
/** Read one entry of a per-CPU array and add its u64 words over all CPUs into `sum`. */
int path_map_sum(const struct path_map *m, uint32_t index, uint64_t *sum, size_t words);
/** Read one entry of a per-CPU array: `to` holds path_map_cpus() values of value_size rounded up to 8. */
int path_map_per_cpu(const struct path_map *m, uint32_t index, void *to);
unsigned path_map_cpus(void);
