#pragma once
/**
 * A cursor over bytes: every parser and every encoder of this project reads and writes
 * through it, so that no parser does pointer arithmetic of its own.
 *
 * All integers are in network byte order. Reading or writing past the end sets `failed`
 * and yields 0; the caller checks once, at the end:
 *     struct dog_bytes in = dog_bytes_of(data, size);
 *     uint32_t seq = dog_read_u32(&in);
 *     if (in.failed) ...
 * The cursor borrows the memory; it never owns it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dog_bytes {
        uint8_t *data;
        size_t size;
        size_t at;   /**< next byte to read or write */
        bool failed; /**< sticky: something did not fit */
};

struct dog_bytes dog_bytes_of(void *data, size_t size);
/** The same for reading: never pass it to a dog_write_ function. */
struct dog_bytes dog_bytes_in(const void *data, size_t size);
size_t dog_bytes_left(const struct dog_bytes *b);

uint8_t dog_read_u8(struct dog_bytes *b);
uint16_t dog_read_u16(struct dog_bytes *b);
uint32_t dog_read_u32(struct dog_bytes *b);
uint64_t dog_read_u64(struct dog_bytes *b);
/** Copies n bytes out; zeroes `to` when they are not there. */
void dog_read_copy(struct dog_bytes *b, void *to, size_t n);
void dog_read_skip(struct dog_bytes *b, size_t n);

void dog_write_u8(struct dog_bytes *b, uint8_t v);
void dog_write_u16(struct dog_bytes *b, uint16_t v);
void dog_write_u32(struct dog_bytes *b, uint32_t v);
void dog_write_u64(struct dog_bytes *b, uint64_t v);
void dog_write_copy(struct dog_bytes *b, const void *from, size_t n);
void dog_write_zero(struct dog_bytes *b, size_t n);
