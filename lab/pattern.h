#pragma once
/**
 * Bytes that everybody can make by himself: byte n of a pattern is a function of its seed and n. A file of
 * it, a range of that file or a body that was sent needs no copy to be compared with. Nothing repeats, so
 * bytes in the wrong place are wrong bytes.
 */
#include <stddef.h>
#include <stdint.h>

/** Write bytes offset .. offset + n - 1. */
void lab_pattern_fill(uint64_t seed, uint64_t offset, uint8_t *to, size_t n);
/** @return how many of the n bytes at `offset` are right, from the first on; n when all are */
size_t lab_pattern_match(uint64_t seed, uint64_t offset, const uint8_t *bytes, size_t n);

/** A sum over a stream, in order. Starts from 0; not for strangers: it is fast, not safe. */
uint64_t lab_pattern_sum(uint64_t sum, const uint8_t *bytes, size_t n);
