/* The tunnel header: what is taken is written back the same. */
#include "fuzz.h"
#include "wire/tunnel.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct dog_tunnel_header h;
        struct dog_bytes in = dog_bytes_in(data, size);
        enum dog_tunnel_flaw flaw = dog_tunnel_read(&in, &h);
        FUZZ_NEED((flaw == DOG_TUNNEL_FLAW_SHORT) == (size < DOG_TUNNEL_SIZE));
        FUZZ_NEED(dog_tunnel_flaw_text(flaw)[0] && dog_tunnel_flaw_word(flaw)[0]);
        if (flaw != DOG_TUNNEL_FINE)
                return 0;
        uint8_t back[DOG_TUNNEL_SIZE];
        struct dog_bytes out = dog_bytes_of(back, sizeof(back));
        dog_tunnel_write(&out, &h);
        FUZZ_NEED(!out.failed && out.at == DOG_TUNNEL_SIZE && memcmp(back, data, sizeof(back)) == 0);
        FUZZ_NEED(dog_bytes_left(&in) == size - DOG_TUNNEL_SIZE);
        char text[200];
        int n = dog_tunnel_text(&h, text, sizeof(text));
        FUZZ_NEED(n > 0 && (size_t)n < sizeof(text));
        static const uint8_t key[DOG_TUNNEL_KEY_SIZE] = {1};
        dog_tunnel_tag(&h, key, h.tag);
        FUZZ_NEED(dog_tunnel_tag_is_right(&h, key));
        return 0;
}
