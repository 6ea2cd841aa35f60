#include "kinds/instance/kick.h"

#include "base/bytes.h"

#include <string.h>

#define KICK_ETHER    14
#define KICK_TTL      64
#define KICK_SHUT     1460 /* a client with less room than a segment sends no more */
#define KICK_TCP      6
#define KICK_TCP_SIZE 20

/* Sequence numbers wrap: RFC 9293, 3.4. */
static bool kick_before(uint32_t a, uint32_t b)
{
        return (int32_t)(a - b) < 0;
}

static uint32_t kick_least(uint32_t a, uint32_t b)
{
        return kick_before(a, b) ? a : b;
}

/* How B reads the client's window: not shifted when B has no shift, whatever A has. */
static unsigned kick_shift(const struct instance_conn *c)
{
        return (c->wscale >> 8 & 15) == 15 ? 0 : c->wscale & 15;
}

struct instance_kick instance_kick_of(const struct instance_conn *c)
{
        /* Never more than B has sent: it would take that for a forgery. */
        uint32_t ack = kick_least(c->c_ack, c->b_high);
        uint32_t room = kick_before(ack, c->c_edge) ? (c->c_edge - ack) >> kick_shift(c) : 0;
        uint32_t told = kick_least(c->a_ack, c->b_ack), edge = kick_least(c->a_edge, c->b_edge);
        return (struct instance_kick){
                .seq = c->c_high,
                .ack = ack + c->delta,
                .window = room > 65535 ? 65535 : (uint16_t)room,
                .nudge_seq = c->b_ack - 1,
                .is_uploading = told != c->c_high || kick_before(edge, c->c_high + KICK_SHUT),
                .is_settled = c->c_ack == c->a_high,
        };
}

/* The Internet checksum (RFC 1071) over whole 16-bit words, not folded. */
static uint32_t kick_sum(const void *bytes, size_t n, uint32_t sum)
{
        const uint8_t *p = bytes;
        for (size_t i = 0; i < n; i += 2)
                sum += (uint32_t)p[i] << 8 | p[i + 1];
        return sum;
}

static uint16_t kick_fold(uint32_t sum)
{
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)~sum;
}

static void kick_ip4(struct dog_bytes *b, const struct instance_kick_way *way)
{
        uint8_t *head = b->data + b->at;
        dog_write_u16(b, 0x4500);
        dog_write_u16(b, 20 + KICK_TCP_SIZE);
        dog_write_u32(b, 0x4000); /* one piece, so it needs no number of its own: RFC 6864 */
        dog_write_u8(b, KICK_TTL);
        dog_write_u8(b, KICK_TCP);
        dog_write_u16(b, 0);
        dog_write_copy(b, &way->from.word[3], 4);
        dog_write_copy(b, &way->to.word[3], 4);
        struct dog_bytes sum = dog_bytes_of(head + 10, 2);
        dog_write_u16(&sum, kick_fold(kick_sum(head, 20, 0)));
}

static void kick_ip6(struct dog_bytes *b, const struct instance_kick_way *way)
{
        dog_write_u32(b, 0x60000000);
        dog_write_u16(b, KICK_TCP_SIZE);
        dog_write_u8(b, KICK_TCP);
        dog_write_u8(b, KICK_TTL);
        dog_write_copy(b, &way->from, 16);
        dog_write_copy(b, &way->to, 16);
}

size_t instance_kick_write(uint8_t *frame, const struct instance_kick_way *way, uint32_t seq, uint32_t ack,
                           uint16_t window)
{
        struct dog_bytes b = dog_bytes_of(frame, INSTANCE_KICK_FRAME);
        dog_write_copy(&b, way->server->mac, 6);
        dog_write_copy(&b, way->server->own_mac, 6);
        dog_write_u16(&b, way->is_v6 ? 0x86dd : 0x0800);
        if (way->is_v6)
                kick_ip6(&b, way);
        else
                kick_ip4(&b, way);
        uint8_t *tcp = b.data + b.at;
        dog_write_copy(&b, &way->port_from, 2);
        dog_write_copy(&b, &way->port_to, 2);
        dog_write_u32(&b, seq);
        dog_write_u32(&b, ack);
        dog_write_u16(&b, 0x5010); /* five words, ACK */
        dog_write_u16(&b, window);
        dog_write_u32(&b, 0);
        /* The pseudo header is the addresses, the protocol and the length, in either version of IP. */
        size_t skip = way->is_v6 ? 0 : 12;
        uint32_t sum = kick_sum((const uint8_t *)&way->from + skip, 16 - skip, KICK_TCP + KICK_TCP_SIZE);
        sum = kick_sum((const uint8_t *)&way->to + skip, 16 - skip, sum);
        struct dog_bytes field = dog_bytes_of(tcp + 16, 2);
        dog_write_u16(&field, kick_fold(kick_sum(tcp, KICK_TCP_SIZE, sum)));
        return b.at;
}
