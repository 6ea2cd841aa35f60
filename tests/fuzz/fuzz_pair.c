/* What balancers of a pair say: what is taken is written back the same. The input's tag would never be right,
   so the fuzzer's bytes are also sealed and read as the body of a good datagram. */
#include "fuzz.h"
#include "wire/pair.h"

#include <sodium.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint8_t secret[DOG_PAIR_KEY] = {7};
        struct dog_pair_keys ours = dog_pair_keys_of(secret, true), theirs = dog_pair_keys_of(secret, false);
        static struct dog_pair_message m, again;
        FUZZ_NEED(dog_pair_read(&m, &ours, data, size) != DOG_PAIR_FINE ||
                  size >= DOG_PAIR_HEAD + DOG_PAIR_TAG);
        if (size < DOG_PAIR_HEAD || size > DOG_PAIR_MOST - DOG_PAIR_TAG)
                return 0;
        uint8_t sealed[DOG_PAIR_MOST], back[DOG_PAIR_MOST];
        unsigned long long n = 0;
        memcpy(sealed, data, DOG_PAIR_HEAD);
        crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + DOG_PAIR_HEAD, &n, data + DOG_PAIR_HEAD,
                                                   size - DOG_PAIR_HEAD, data, DOG_PAIR_HEAD, NULL, data + 8,
                                                   theirs.send);
        if (dog_pair_read(&m, &ours, sealed, DOG_PAIR_HEAD + (size_t)n) != DOG_PAIR_FINE)
                return 0;
        FUZZ_NEED(m.conns <= DOG_PAIR_CONNS);
        size_t length = dog_pair_write(&m, &theirs, back);
        FUZZ_NEED(length == DOG_PAIR_HEAD + (size_t)n);
        FUZZ_NEED(dog_pair_read(&again, &ours, back, length) == DOG_PAIR_FINE &&
                  memcmp(&m, &again, sizeof(m)) == 0);
        return 0;
}
