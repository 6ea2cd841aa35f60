#include "wire/pair.h"

#include "base/bytes.h"

#include <sodium.h>
#include <string.h>

_Static_assert(DOG_PAIR_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the key's size");
_Static_assert(DOG_PAIR_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "the tag's size");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == 24, "the nonce is boot, sequence and to_boot");
_Static_assert(DOG_PAIR_HEAD + DOG_PAIR_CONNS * DOG_PAIR_CONN + DOG_PAIR_TAG <= DOG_PAIR_MOST, "all fit");

static const uint8_t pair_magic[4] = {'S', 'D', 'P', '1'};
enum { PAIR_NONCE_AT = 8 };

static void pair_key(uint8_t key[DOG_PAIR_KEY], const uint8_t secret[DOG_PAIR_KEY], uint8_t direction)
{
        uint8_t label[] = "sundog balancer pair 0";
        label[sizeof(label) - 2] = direction;
        crypto_generichash(key, DOG_PAIR_KEY, label, sizeof(label) - 1, secret, DOG_PAIR_KEY);
}

struct dog_pair_keys dog_pair_keys_of(const uint8_t secret[DOG_PAIR_KEY], bool is_first)
{
        struct dog_pair_keys k;
        pair_key(k.send, secret, is_first ? '1' : '2');
        pair_key(k.receive, secret, is_first ? '2' : '1');
        return k;
}

static void conn_write(struct dog_bytes *out, const struct dog_pair_conn *c)
{
        dog_write_copy(out, c->client, sizeof(c->client));
        dog_write_u16(out, c->port);
        dog_write_u16(out, c->vip);
        dog_write_u16(out, c->flags);
        dog_write_u16(out, c->primary);
        dog_write_u16(out, c->standby);
        dog_write_u16(out, c->wscale);
        dog_write_u32(out, c->delta);
        for (unsigned i = 0; i < DOG_PAIR_NUMBERS; i++)
                dog_write_u32(out, c->number[i]);
}

static void conn_read(struct dog_bytes *in, struct dog_pair_conn *c)
{
        dog_read_copy(in, c->client, sizeof(c->client));
        c->port = dog_read_u16(in);
        c->vip = dog_read_u16(in);
        c->flags = dog_read_u16(in);
        c->primary = dog_read_u16(in);
        c->standby = dog_read_u16(in);
        c->wscale = dog_read_u16(in);
        c->delta = dog_read_u32(in);
        for (unsigned i = 0; i < DOG_PAIR_NUMBERS; i++)
                c->number[i] = dog_read_u32(in);
}

size_t dog_pair_write(const struct dog_pair_message *m, const struct dog_pair_keys *keys, uint8_t *to)
{
        if (m->type < DOG_PAIR_HELLO || m->type > DOG_PAIR_ACK || m->conns > DOG_PAIR_CONNS ||
            (m->conns > 0) != (m->type == DOG_PAIR_CHANGES))
                return 0;
        uint16_t gone = 0;
        uint8_t plain[DOG_PAIR_CONNS * DOG_PAIR_CONN];
        struct dog_bytes body = dog_bytes_of(plain, sizeof(plain));
        for (unsigned i = 0; i < m->conns; i++) {
                gone |= (uint16_t)((unsigned)m->conn[i].is_gone << i);
                conn_write(&body, &m->conn[i]);
        }
        struct dog_bytes out = dog_bytes_of(to, DOG_PAIR_MOST);
        dog_write_copy(&out, pair_magic, sizeof(pair_magic));
        dog_write_u8(&out, (uint8_t)m->type);
        dog_write_u8(&out, (uint8_t)m->conns);
        dog_write_u16(&out, gone);
        dog_write_u64(&out, m->boot);
        dog_write_u64(&out, m->sequence);
        dog_write_u64(&out, m->to_boot);
        dog_write_u64(&out, m->world);
        dog_write_u64(&out, m->acked);
        unsigned long long sealed = 0;
        crypto_aead_xchacha20poly1305_ietf_encrypt(to + DOG_PAIR_HEAD, &sealed, plain, body.at, to,
                                                   DOG_PAIR_HEAD, NULL, to + PAIR_NONCE_AT, keys->send);
        return body.failed || out.failed ? 0 : DOG_PAIR_HEAD + (size_t)sealed;
}

enum dog_pair_flaw dog_pair_read(struct dog_pair_message *m, const struct dog_pair_keys *keys,
                                 const void *bytes, size_t size)
{
        struct dog_bytes in = dog_bytes_in(bytes, size);
        uint8_t magic[4];
        dog_read_copy(&in, magic, sizeof(magic));
        unsigned type = dog_read_u8(&in);
        unsigned conns = dog_read_u8(&in);
        uint16_t gone = dog_read_u16(&in);
        if (size < DOG_PAIR_HEAD + DOG_PAIR_TAG)
                return DOG_PAIR_SHORT;
        if (memcmp(magic, pair_magic, sizeof(magic)) != 0 || type < DOG_PAIR_HELLO || type > DOG_PAIR_ACK)
                return DOG_PAIR_VERSION;
        if (conns > DOG_PAIR_CONNS || (conns > 0) != (type == DOG_PAIR_CHANGES) || gone >> conns != 0 ||
            size != DOG_PAIR_HEAD + conns * DOG_PAIR_CONN + DOG_PAIR_TAG)
                return DOG_PAIR_SHORT;
        uint8_t plain[DOG_PAIR_CONNS * DOG_PAIR_CONN];
        const uint8_t *head = bytes;
        if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, head + DOG_PAIR_HEAD,
                                                       size - DOG_PAIR_HEAD, head, DOG_PAIR_HEAD,
                                                       head + PAIR_NONCE_AT, keys->receive) != 0)
                return DOG_PAIR_FORGED;
        *m = (struct dog_pair_message){.type = (enum dog_pair_type)type, .conns = conns};
        m->boot = dog_read_u64(&in);
        m->sequence = dog_read_u64(&in);
        m->to_boot = dog_read_u64(&in);
        m->world = dog_read_u64(&in);
        m->acked = dog_read_u64(&in);
        struct dog_bytes body = dog_bytes_in(plain, (size_t)conns * DOG_PAIR_CONN);
        for (unsigned i = 0; i < conns; i++) {
                conn_read(&body, &m->conn[i]);
                m->conn[i].is_gone = gone >> i & 1;
        }
        return DOG_PAIR_FINE;
}
