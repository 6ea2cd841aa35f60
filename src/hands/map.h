#pragma once
/**
 * Maps of the data plane as the decider holds them: a descriptor that hands gave, and where the kernel allows
 * it, the memory itself, so that steering is one store.
 */
#include "hands/client.h"

#include <stddef.h>
#include <stdint.h>

struct dog_map {
        int fd; /**< 0: not open */
        uint32_t entries, value_size;
        void *memory; /**< the values of a mmapable array, or NULL */
        size_t mapped;
};

/**
 * Get a map of an instance from hands; map its memory when it is mmapable.
 * @return 0; -EPROTO when its values are not value_size bytes; what hands or mmap said
 */
int dog_map_open(struct dog_map *m, struct dog_hands_client *hands, const char *instance, const char *name,
                 size_t value_size, struct dog_err *e);
/** Also of one that is all zero: not open. */
void dog_map_close(struct dog_map *m);

/** The value at `index` of a mapped array; index < entries. */
void *dog_map_at(const struct dog_map *m, uint32_t index);
/** Read one entry of a per-CPU array: `to` holds dog_map_cpus() values of value_size rounded up to 8. */
int dog_map_per_cpu(const struct dog_map *m, uint32_t index, void *to);
/** Add up `words` u64 words of one entry of a per-CPU array over all CPUs into `sum`. -ENOMEM, or of bpf(2)
 */
int dog_map_sum(const struct dog_map *m, uint32_t index, uint64_t *sum, size_t words);
/** The same, but word `newest` is the largest instead. */
int dog_map_sum_newest(const struct dog_map *m, uint32_t index, uint64_t *sum, size_t words, size_t newest);
/** As many as a per-CPU map has values. */
unsigned dog_map_cpus(void);
