#pragma once
/**
 * A block: up to DOG_STORE_BLOCK_POINTS points of one series as compact bytes with a checksum.
 *
 * Layout, integers in network byte order, "vi" a variable-length integer of seven bits a byte,
 * low group first, signed ones zigzag-folded:
 *     u8  version (1)
 *     u8  time unit: all differences are multiples of 1000^unit nanoseconds, unit 0..3
 *     u8  values: 0..9 = decimal, the value is an integer / 10^this; 255 = bits
 *     u16 points, 1..250
 *     i64 time of the first point
 *     vi  per further point: change of the difference to the one before, in time units
 *     decimal: vi per point: change of the integer.  bits: per point one byte (zero bytes in
 *         front << 4 | bytes that follow), then these bytes of value XOR the value before
 *     u32 CRC-32 of the series' name and of everything above
 *
 * Values come back bit for bit: the decimal form is used only when dividing gives every value
 * of the block exactly, else the XOR form (after Pelkonen and others, "Gorilla", VLDB 2015,
 * section 4.1, on whole bytes). Measurements are mostly short decimals, hence the first form.
 */
#include "store/store.h"

struct dog_point {
        int64_t t_ns;
        double value;
};

/** The most bytes a block can need. */
#define DOG_BLOCK_SIZE_MAX (13 + DOG_STORE_BLOCK_POINTS * (10 + 10) + 4)

/**
 * @param to  at least DOG_BLOCK_SIZE_MAX bytes
 * @param n   1..DOG_STORE_BLOCK_POINTS
 * @return bytes written
 */
size_t dog_block_encode(const char *name, const struct dog_point *point, size_t n, uint8_t *to);

/**
 * @param point  room for DOG_STORE_BLOCK_POINTS
 * @return how many points; -EUCLEAN when the checksum or anything inside does not hold
 */
int dog_block_decode(const char *name, const uint8_t *from, size_t size, struct dog_point *point);
