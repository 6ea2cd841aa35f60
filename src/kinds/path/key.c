#include "kinds/path/key.h"

#include "base/bytes.h"

#include <sodium.h>

static uint64_t key_little_endian(const uint8_t *p)
{
        uint64_t word = 0;
        for (unsigned i = 8; i-- > 0;)
                word = word << 8 | p[i];
        return word;
}

struct path_key path_key_derive(const uint8_t secret[32], uint16_t sender, uint16_t receiver, uint8_t epoch)
{
        static const char label[] = "sundog path tag 1";
        uint8_t input[64], output[16];
        struct dog_bytes in = dog_bytes_of(input, sizeof(input));
        dog_write_copy(&in, label, sizeof(label) - 1);
        dog_write_u16(&in, sender);
        dog_write_u16(&in, receiver);
        dog_write_u8(&in, epoch);
        crypto_generichash(output, sizeof(output), input, in.at, secret, 32);
        struct path_key key = {
                .k0 = key_little_endian(output), .k1 = key_little_endian(output + 8), .epoch = epoch};
        sodium_memzero(output, sizeof(output));
        return key;
}
