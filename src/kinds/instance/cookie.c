#include "kinds/instance/cookie.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

int instance_cookie_key_derive(struct instance_cookie_key *key, const void *secret, size_t bytes,
                               const char *vip_name, uint64_t from_epoch, struct dog_err *e)
{
        unsigned char out[16];

        if (bytes < crypto_generichash_KEYBYTES_MIN || bytes > crypto_generichash_KEYBYTES_MAX)
                return dog_err_set(
                        e, -EINVAL, "the secret of aligned addresses has %zu bytes; %d to %d will do", bytes,
                        (int)crypto_generichash_KEYBYTES_MIN, (int)crypto_generichash_KEYBYTES_MAX);
        crypto_generichash(out, sizeof(out), (const unsigned char *)vip_name, strlen(vip_name), secret,
                           bytes);
        memset(key, 0, sizeof(*key));
        /* Spelled little-endian, so that hosts of either byte order have the same numbers. */
        for (unsigned i = 0; i < 8; i++) {
                key->k0 |= (__u64)out[i] << (8 * i);
                key->k1 |= (__u64)out[8 + i] << (8 * i);
        }
        key->from = from_epoch;
        sodium_memzero(out, sizeof(out));
        return 0;
}

uint64_t instance_cookie_tag(const void *secret, size_t bytes, const char *vip_name,
                             const struct dog_hands_address *address, uint16_t port)
{
        const unsigned char where[] = {(unsigned char)(port >> 8), (unsigned char)port, address->version};
        crypto_generichash_state state;
        unsigned char out[crypto_generichash_BYTES_MIN];
        uint64_t tag = 0;

        /* Another length of digest than a key's is another function: the key is not told. */
        if (crypto_generichash_init(&state, secret, bytes, sizeof(out)) < 0)
                return 0;
        crypto_generichash_update(&state, where, sizeof(where));
        crypto_generichash_update(&state, address->bytes, address->version == 6 ? 16 : 4);
        crypto_generichash_update(&state, (const unsigned char *)vip_name, strlen(vip_name));
        crypto_generichash_final(&state, out, sizeof(out));
        for (unsigned i = 0; i < 8; i++)
                tag = tag << 8 | out[i];
        sodium_memzero(&state, sizeof(state));
        sodium_memzero(out, sizeof(out));
        return tag;
}
