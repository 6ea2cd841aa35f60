#pragma once
/**
 * Questions to BTF, the type information of BPF objects and maps.
 */
#include <stdbool.h>
#include <stdint.h>

struct btf;

/**
 * A number for the layout of a map's key and value: the same for the same member names, offsets
 * and sizes at any depth, whatever the types are called. 0 when there is no type.
 */
uint64_t dog_btf_layout(const struct btf *btf, uint32_t key_type, uint32_t value_type);

/** Where a variable lies in a data section. False when there is none of that name. */
bool dog_btf_variable(const struct btf *btf, const char *section, const char *name, uint32_t *at,
                      uint32_t *size);
