#include "base/bytes.h"

#include <string.h>

struct dog_bytes dog_bytes_of(void *data, size_t size)
{
        return (struct dog_bytes){.data = data, .size = size};
}

struct dog_bytes dog_bytes_in(const void *data, size_t size)
{
        /* The read functions never write through the pointer, so dropping const here is safe. */
        union {
                const void *in;
                uint8_t *out;
        } same = {.in = data};
        return (struct dog_bytes){.data = same.out, .size = size};
}

size_t dog_bytes_left(const struct dog_bytes *b)
{
        return b->failed ? 0 : b->size - b->at;
}

/* The place of the next n bytes, or NULL (and `failed`) when they are not there. */
static uint8_t *bytes_take(struct dog_bytes *b, size_t n)
{
        if (b->failed || n > b->size - b->at) {
                b->failed = true;
                return NULL;
        }
        uint8_t *here = b->data + b->at;
        b->at += n;
        return here;
}

static uint64_t bytes_read(struct dog_bytes *b, size_t n)
{
        const uint8_t *from = bytes_take(b, n);
        uint64_t v = 0;
        for (size_t i = 0; from && i < n; i++)
                v = v << 8 | from[i];
        return v;
}

static void bytes_write(struct dog_bytes *b, uint64_t v, size_t n)
{
        uint8_t *to = bytes_take(b, n);
        for (size_t i = 0; to && i < n; i++)
                to[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

uint8_t dog_read_u8(struct dog_bytes *b)
{
        return (uint8_t)bytes_read(b, 1);
}

uint16_t dog_read_u16(struct dog_bytes *b)
{
        return (uint16_t)bytes_read(b, 2);
}

uint32_t dog_read_u32(struct dog_bytes *b)
{
        return (uint32_t)bytes_read(b, 4);
}

uint64_t dog_read_u64(struct dog_bytes *b)
{
        return bytes_read(b, 8);
}

void dog_read_copy(struct dog_bytes *b, void *to, size_t n)
{
        const uint8_t *from = bytes_take(b, n);
        if (from)
                memcpy(to, from, n);
        else
                memset(to, 0, n);
}

void dog_read_skip(struct dog_bytes *b, size_t n)
{
        bytes_take(b, n);
}

void dog_write_u8(struct dog_bytes *b, uint8_t v)
{
        bytes_write(b, v, 1);
}

void dog_write_u16(struct dog_bytes *b, uint16_t v)
{
        bytes_write(b, v, 2);
}

void dog_write_u32(struct dog_bytes *b, uint32_t v)
{
        bytes_write(b, v, 4);
}

void dog_write_u64(struct dog_bytes *b, uint64_t v)
{
        bytes_write(b, v, 8);
}

void dog_write_copy(struct dog_bytes *b, const void *from, size_t n)
{
        uint8_t *to = bytes_take(b, n);
        if (to)
                memcpy(to, from, n);
}

void dog_write_zero(struct dog_bytes *b, size_t n)
{
        uint8_t *to = bytes_take(b, n);
        if (to)
                memset(to, 0, n);
}
