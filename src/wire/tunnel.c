#include "wire/tunnel.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { TUNNEL_TAGGED = 23 };
_Static_assert(DOG_TUNNEL_KEY_SIZE == crypto_shorthash_siphash24_KEYBYTES, "a SipHash key");
_Static_assert(DOG_TUNNEL_TAG_SIZE == crypto_shorthash_siphash24_BYTES, "a SipHash tag");

const char *dog_tunnel_flaw_word(enum dog_tunnel_flaw flaw)
{
        static const char *const word[] = {[DOG_TUNNEL_FINE] = "fine",
#define TUNNEL_WORD(name, word, text) [DOG_TUNNEL_FLAW_##name] = (word),
                                           DOG_TUNNEL_FLAWS(TUNNEL_WORD)
#undef TUNNEL_WORD
        };
        return flaw < DOG_TUNNEL_FLAW_COUNT ? word[flaw] : "?";
}

const char *dog_tunnel_flaw_text(enum dog_tunnel_flaw flaw)
{
        static const char *const sentence[] = {[DOG_TUNNEL_FINE] = "nothing is wrong",
#define TUNNEL_TEXT(name, word, text) [DOG_TUNNEL_FLAW_##name] = (text),
                                               DOG_TUNNEL_FLAWS(TUNNEL_TEXT)
#undef TUNNEL_TEXT
        };
        return flaw < DOG_TUNNEL_FLAW_COUNT ? sentence[flaw] : "?";
}

static uint8_t tunnel_flags(const struct dog_tunnel_header *h)
{
        return (uint8_t)((h->subset & DOG_TUNNEL_SUBSET) | (h->is_control ? DOG_TUNNEL_CONTROL : 0));
}

enum dog_tunnel_flaw dog_tunnel_read(struct dog_bytes *in, struct dog_tunnel_header *h)
{
        uint8_t version = dog_read_u8(in);
        uint8_t flags = dog_read_u8(in);
        h->path = dog_read_u8(in);
        h->epoch = dog_read_u8(in);
        h->tunnel = dog_read_u16(in);
        h->klass = dog_read_u16(in);
        h->seq = dog_read_u64(in);
        h->sent_ns = dog_read_u64(in);
        dog_read_copy(in, h->tag, sizeof(h->tag));
        h->subset = flags & DOG_TUNNEL_SUBSET;
        h->is_control = (flags & DOG_TUNNEL_CONTROL) != 0;
        if (in->failed)
                return DOG_TUNNEL_FLAW_SHORT;
        if (version != DOG_TUNNEL_VERSION)
                return DOG_TUNNEL_FLAW_VERSION;
        if ((flags & ~(DOG_TUNNEL_SUBSET | DOG_TUNNEL_CONTROL)) || h->subset == 0)
                return DOG_TUNNEL_FLAW_FLAGS;
        if (h->path >= DOG_TUNNEL_PATHS || !(h->subset >> h->path & 1))
                return DOG_TUNNEL_FLAW_PATH;
        return DOG_TUNNEL_FINE;
}

void dog_tunnel_write(struct dog_bytes *out, const struct dog_tunnel_header *h)
{
        dog_write_u8(out, DOG_TUNNEL_VERSION);
        dog_write_u8(out, tunnel_flags(h));
        dog_write_u8(out, h->path);
        dog_write_u8(out, h->epoch);
        dog_write_u16(out, h->tunnel);
        dog_write_u16(out, h->klass);
        dog_write_u64(out, h->seq);
        dog_write_u64(out, h->sent_ns);
        dog_write_copy(out, h->tag, sizeof(h->tag));
}

void dog_tunnel_tag(const struct dog_tunnel_header *h, const uint8_t key[DOG_TUNNEL_KEY_SIZE],
                    uint8_t tag[DOG_TUNNEL_TAG_SIZE])
{
        uint8_t text[TUNNEL_TAGGED];
        struct dog_bytes out = dog_bytes_of(text, sizeof(text));
        dog_write_u64(&out, h->seq);
        dog_write_u64(&out, h->sent_ns);
        dog_write_u8(&out, tunnel_flags(h));
        dog_write_u8(&out, h->path);
        dog_write_u8(&out, h->epoch);
        dog_write_u16(&out, h->tunnel);
        dog_write_u16(&out, h->klass);
        crypto_shorthash_siphash24(tag, text, sizeof(text), key);
}

bool dog_tunnel_tag_is_right(const struct dog_tunnel_header *h, const uint8_t key[DOG_TUNNEL_KEY_SIZE])
{
        uint8_t want[DOG_TUNNEL_TAG_SIZE];
        dog_tunnel_tag(h, key, want);
        return sodium_memcmp(want, h->tag, sizeof(want)) == 0;
}

int dog_tunnel_text(const struct dog_tunnel_header *h, char *to, size_t size)
{
        char subset[2 * DOG_TUNNEL_PATHS + 1] = "";
        size_t used = 0;
        for (unsigned p = 0; p < DOG_TUNNEL_PATHS; p++) {
                if (!(h->subset >> p & 1))
                        continue;
                if (used)
                        subset[used++] = ',';
                subset[used++] = (char)('0' + p);
        }
        char sent[40] = "not sampled";
        if (h->sent_ns)
                snprintf(sent, sizeof(sent), "%.6fs", (double)h->sent_ns * 1e-9);
        return snprintf(to, size, "tunnel %u class %u path %u of {%s} seq %llu sent %s epoch %u%s", h->tunnel,
                        h->klass, h->path, subset, (unsigned long long)h->seq, sent, h->epoch,
                        h->is_control ? " control" : "");
}
