#include "store/block.h"

#include "base/array.h"
#include "base/bytes.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <zlib.h>

#define BLOCK_VERSION 1
#define BLOCK_BITS    255

static const int64_t time_units[] = {1, 1000, 1000000, 1000000000};
static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

static uint64_t bits_of(double v)
{
        uint64_t u;
        memcpy(&u, &v, sizeof(u));
        return u;
}

static uint64_t zigzag(uint64_t v)
{
        return v << 1 ^ (0 - (v >> 63));
}

static uint64_t unzigzag(uint64_t v)
{
        return v >> 1 ^ (0 - (v & 1));
}

static void block_put(struct dog_bytes *to, uint64_t difference)
{
        uint64_t v = zigzag(difference);
        for (; v >= 0x80; v >>= 7)
                dog_write_u8(to, (uint8_t)(v | 0x80));
        dog_write_u8(to, (uint8_t)v);
}

static uint64_t block_get(struct dog_bytes *from)
{
        uint64_t v = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
                uint8_t b = dog_read_u8(from);
                v |= (uint64_t)(b & 0x7f) << shift;
                if (!(b & 0x80))
                        return unzigzag(v);
        }
        from->failed = true; /* more than ten bytes */
        return 0;
}

/* All arithmetic on times is modulo 2^64, so that no time overflows. */
static int64_t block_step(const struct dog_point *p)
{
        return (int64_t)((uint64_t)p[0].t_ns - (uint64_t)p[-1].t_ns);
}

static uint8_t block_time_unit(const struct dog_point *point, size_t n)
{
        uint8_t unit = ARRAY_SIZE(time_units) - 1;
        for (size_t i = 1; i < n && unit > 0; i++)
                while (unit > 0 && block_step(&point[i]) % time_units[unit] != 0)
                        unit--;
        return unit;
}

static bool block_is_decimal(double v, uint8_t power)
{
        double scaled = v * powers[power];
        if (!(fabs(scaled) < 0x1p53)) /* NaN too */
                return false;
        return bits_of((double)llround(scaled) / powers[power]) == bits_of(v);
}

/* The least power of ten that gives every value exactly, or BLOCK_BITS. */
static uint8_t block_power(const struct dog_point *point, size_t n)
{
        uint8_t power = 0;
        for (size_t i = 0; i < n; i++)
                while (!block_is_decimal(point[i].value, power))
                        if (++power == ARRAY_SIZE(powers))
                                return BLOCK_BITS;
        /* What held for a smaller power holds for a larger one, unless it became too large. */
        for (size_t i = 0; i < n; i++)
                if (!block_is_decimal(point[i].value, power))
                        return BLOCK_BITS;
        return power;
}

static void block_put_bits(struct dog_bytes *to, uint64_t changed)
{
        unsigned front = changed ? (unsigned)__builtin_clzll(changed) / 8 : 8;
        unsigned back = changed ? (unsigned)__builtin_ctzll(changed) / 8 : 0;
        unsigned count = changed ? 8 - front - back : 0;
        dog_write_u8(to, (uint8_t)(front << 4 | count));
        for (unsigned i = 0; i < count; i++)
                dog_write_u8(to, (uint8_t)(changed >> (8 * (7 - front - i))));
}

static uint64_t block_get_bits(struct dog_bytes *from)
{
        uint8_t head = dog_read_u8(from);
        unsigned front = head >> 4;
        unsigned count = head & 15;
        uint64_t changed = 0;
        if (front + count > 8) {
                from->failed = true;
                return 0;
        }
        for (unsigned i = 0; i < count; i++)
                changed |= (uint64_t)dog_read_u8(from) << (8 * (7 - front - i));
        return changed;
}

static uint32_t block_crc(const char *name, const uint8_t *from, size_t size)
{
        uLong crc = crc32(0, (const Bytef *)name, (uInt)strlen(name) + 1);
        return (uint32_t)crc32(crc, from, (uInt)size);
}

size_t dog_block_encode(const char *name, const struct dog_point *point, size_t n, uint8_t *bytes)
{
        struct dog_bytes to = dog_bytes_of(bytes, DOG_BLOCK_SIZE_MAX);
        uint8_t unit = block_time_unit(point, n);
        uint8_t power = block_power(point, n);
        dog_write_u8(&to, BLOCK_VERSION);
        dog_write_u8(&to, unit);
        dog_write_u8(&to, power);
        dog_write_u16(&to, (uint16_t)n);
        dog_write_u64(&to, (uint64_t)point[0].t_ns);
        uint64_t step_before = 0;
        for (size_t i = 1; i < n; i++) {
                uint64_t step = (uint64_t)(block_step(&point[i]) / time_units[unit]);
                block_put(&to, step - step_before);
                step_before = step;
        }
        uint64_t before = 0;
        for (size_t i = 0; i < n; i++) {
                if (power == BLOCK_BITS) {
                        uint64_t bits = bits_of(point[i].value);
                        block_put_bits(&to, bits ^ before);
                        before = bits;
                } else {
                        uint64_t scaled = (uint64_t)llround(point[i].value * powers[power]);
                        block_put(&to, scaled - before);
                        before = scaled;
                }
        }
        dog_write_u32(&to, block_crc(name, bytes, to.at));
        return to.at;
}

int dog_block_decode(const char *name, const uint8_t *bytes, size_t size, struct dog_point *point)
{
        if (size < 4 + 13 || size > DOG_BLOCK_SIZE_MAX)
                return -EUCLEAN;
        struct dog_bytes tail = dog_bytes_in(bytes + size - 4, 4);
        if (dog_read_u32(&tail) != block_crc(name, bytes, size - 4))
                return -EUCLEAN;
        struct dog_bytes from = dog_bytes_in(bytes, size - 4);
        uint8_t version = dog_read_u8(&from);
        uint8_t unit = dog_read_u8(&from);
        uint8_t power = dog_read_u8(&from);
        size_t n = dog_read_u16(&from);
        /* A checksum only guards against accidents; what follows must hold for any bytes. */
        if (version != BLOCK_VERSION || unit >= ARRAY_SIZE(time_units) || n == 0 ||
            n > DOG_STORE_BLOCK_POINTS || (power >= ARRAY_SIZE(powers) && power != BLOCK_BITS))
                return -EUCLEAN;
        uint64_t t = dog_read_u64(&from);
        uint64_t step = 0;
        point[0].t_ns = (int64_t)t;
        for (size_t i = 1; i < n; i++) {
                step += block_get(&from);
                t += step * (uint64_t)time_units[unit];
                point[i].t_ns = (int64_t)t;
        }
        uint64_t before = 0;
        for (size_t i = 0; i < n; i++) {
                if (power == BLOCK_BITS) {
                        before ^= block_get_bits(&from);
                        memcpy(&point[i].value, &before, sizeof(before));
                } else {
                        before += block_get(&from);
                        point[i].value = (double)(int64_t)before / powers[power];
                }
        }
        return from.failed || dog_bytes_left(&from) != 0 ? -EUCLEAN : (int)n;
}
