/*
 * Blocks of telemetry. As they are; with the checksum set right, so that what lies behind it is reached; and
 * taken as points, which must come back bit for bit.
 */
#include "fuzz.h"
#include "store/block.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

static void fuzz_bytes(const uint8_t *data, size_t size)
{
        struct dog_point point[DOG_STORE_BLOCK_POINTS];
        struct dog_point again[DOG_STORE_BLOCK_POINTS];
        uint8_t bytes[DOG_BLOCK_SIZE_MAX];
        int n = dog_block_decode("x", data, size, point);
        FUZZ_NEED(n == -EUCLEAN || (n > 0 && n <= DOG_STORE_BLOCK_POINTS));
        if (n < 0)
                return;
        size_t written = dog_block_encode("x", point, (size_t)n, bytes);
        FUZZ_NEED(dog_block_decode("x", bytes, written, again) == n);
        FUZZ_NEED(memcmp(point, again, (size_t)n * sizeof(*point)) == 0);
}

static void fuzz_points(const uint8_t *data, size_t size)
{
        struct dog_point point[DOG_STORE_BLOCK_POINTS];
        struct dog_point again[DOG_STORE_BLOCK_POINTS];
        uint8_t bytes[DOG_BLOCK_SIZE_MAX];
        size_t n = size / sizeof(*point);
        if (n > DOG_STORE_BLOCK_POINTS)
                n = DOG_STORE_BLOCK_POINTS;
        if (n == 0)
                return;
        memcpy(point, data, n * sizeof(*point));
        size_t written = dog_block_encode("x", point, n, bytes);
        FUZZ_NEED(written <= DOG_BLOCK_SIZE_MAX && dog_block_decode("x", bytes, written, again) == (int)n);
        FUZZ_NEED(memcmp(point, again, n * sizeof(*point)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uint8_t bytes[DOG_BLOCK_SIZE_MAX];
        fuzz_bytes(data, size);
        fuzz_points(data, size);
        if (size < 4 || size > sizeof(bytes))
                return 0;
        memcpy(bytes, data, size);
        uLong crc = crc32(crc32(0, (const Bytef *)"x", 2), bytes, (uInt)(size - 4));
        for (size_t i = 0; i < 4; i++)
                bytes[size - 4 + i] = (uint8_t)(crc >> (8 * (3 - i)));
        fuzz_bytes(bytes, size);
        return 0;
}
