#include "kinds/instance/pair.h"

#include "base/clock.h"
#include "wire/pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        PAIR_FLIGHT = 32, /* datagrams that may wait for their acknowledgement */
        PAIR_QUEUE = 65536,
        PAIR_RETIRED = 8, /* earlier boots of the peer: a replay of theirs is none of the present one */
        PAIR_READS = 256  /* datagrams a call: the timer must have its turn */
};
#define PAIR_HELLO_NS (1000 * DOG_MS)
#define PAIR_ALIVE_NS (3 * PAIR_HELLO_NS)
/* Entries that nobody confirms are forgotten after front.idle: all are told again in time. */
#define PAIR_WALK_NS   (300 * 1000 * DOG_MS)
#define PAIR_RESEND_NS (20 * DOG_MS)
#define PAIR_SLOWEST   6 /* times the pause is doubled at most */

/* "Look at this connection again"; and perhaps: it is mine now. */
struct change {
        struct instance_flow flow;
        bool is_mine;
};

struct flight {
        uint64_t sequence; /* 0: free */
        int64_t again_ns;
        unsigned tries;
        unsigned conns;
        struct change change[DOG_PAIR_CONNS];
};

struct instance_pair {
        struct instance_pair_settings is;
        struct dog_pair_keys keys;
        uint64_t boot, sequence;
        uint64_t peer_boot; /* proved: it has told us our own */
        uint64_t retired[PAIR_RETIRED];
        unsigned retired_at;
        uint64_t newest, seen; /* replay window of the peer's sequences */
        uint64_t peer_world;
        struct flight flight[PAIR_FLIGHT];
        struct change *queue;
        uint32_t room, head, queued;
        bool must_walk;
        bool is_all;         /* a new peer: it may have lost even what we hold for it */
        int64_t hello_ns;    /* the next greeting */
        int64_t walk_ns;     /* the next time that the whole table is told */
        int64_t answered_ns; /* the last one to a stranger */
        struct instance_pair_view view;
};

uint64_t instance_pair_world(const char *text)
{
        uint8_t digest[crypto_generichash_BYTES_MIN];
        uint64_t world;
        crypto_generichash(digest, sizeof(digest), (const uint8_t *)text, strlen(text), NULL, 0);
        memcpy(&world, digest, sizeof(world));
        return world;
}

int instance_pair_open(struct instance_pair **to, const struct instance_pair_settings *settings,
                       int64_t now_ns, struct dog_err *e)
{
        struct instance_pair *p = calloc(1, sizeof(*p));
        *to = NULL;
        if (!p)
                return dog_err_set(e, -ENOMEM, "pair: memory is short");
        p->is = *settings;
        p->room = settings->queue ? settings->queue : PAIR_QUEUE;
        p->queue = calloc(p->room, sizeof(*p->queue));
        if (!p->queue) {
                free(p);
                return dog_err_set(e, -ENOMEM, "pair: memory is short");
        }
        p->keys = dog_pair_keys_of(settings->secret, settings->is_first);
        while (p->boot == 0)
                randombytes_buf(&p->boot, sizeof(p->boot));
        p->hello_ns = now_ns;
        p->walk_ns = now_ns + PAIR_WALK_NS;
        p->answered_ns = now_ns - PAIR_RESEND_NS;
        *to = p;
        return 0;
}

void instance_pair_close(struct instance_pair *p)
{
        if (!p)
                return;
        close(p->is.fd);
        sodium_memzero(&p->keys, sizeof(p->keys));
        sodium_memzero(p->is.secret, sizeof(p->is.secret));
        free(p->queue);
        free(p);
}

int instance_pair_fd(const struct instance_pair *p)
{
        return p->is.fd;
}

/* ---- sending ---- */

static void pair_send(struct instance_pair *p, struct dog_pair_message *m)
{
        uint8_t bytes[DOG_PAIR_MOST];
        m->boot = p->boot;
        m->sequence = ++p->sequence;
        m->to_boot = p->peer_boot;
        m->world = p->is.world;
        size_t n = dog_pair_write(m, &p->keys, bytes);
        /* What cannot be sent now is lost like any datagram: it is sent again. */
        (void)!sendto(p->is.fd, bytes, n, MSG_DONTWAIT, (const struct sockaddr *)&p->is.peer,
                      p->is.peer_size);
}

static void pair_queue(struct instance_pair *p, const struct instance_flow *flow, bool is_mine)
{
        if (p->queued == p->room) {
                p->must_walk = true;
                return;
        }
        p->queue[(p->head + p->queued++) % p->room] = (struct change){.flow = *flow, .is_mine = is_mine};
}

void instance_pair_changed(struct instance_pair *p, const struct instance_flow *flow, bool is_mine)
{
        pair_queue(p, flow, is_mine);
}

/* On the wire PEER says that the sender has taken it over from the receiver, and bit 15 of the shifts that
 * the standby's host gates by itself; which packets were heard where is nobody else's affair. */
#define PAIR_SHIFTS 0xfff
#define PAIR_GATED  0x8000

static struct dog_pair_conn conn_out(const struct change *change, const struct instance_conn *c)
{
        const struct instance_flow *flow = &change->flow;
        struct dog_pair_conn out = {.port = ntohs(flow->port), .vip = flow->vip};
        memcpy(out.client, &flow->client, sizeof(out.client));
        if (!c) {
                out.is_gone = true;
                return out;
        }
        out.flags = (uint16_t)((c->flags & ~INSTANCE_CONN_PEER) | (change->is_mine ? INSTANCE_CONN_PEER : 0));
        out.primary = c->primary;
        out.standby = c->standby;
        out.wscale = (uint16_t)((c->wscale & PAIR_SHIFTS) | (c->is_gated ? PAIR_GATED : 0));
        out.delta = c->delta;
        const uint32_t number[DOG_PAIR_NUMBERS] = {c->c_ack,  c->c_edge, c->c_high, c->a_ack,  c->a_edge,
                                                   c->a_high, c->b_ack,  c->b_edge, c->b_high, c->a_fin};
        memcpy(out.number, number, sizeof(out.number));
        return out;
}

static struct instance_conn conn_in(const struct dog_pair_conn *in, struct instance_flow *flow)
{
        *flow = (struct instance_flow){.port = htons(in->port), .vip = in->vip};
        memcpy(&flow->client, in->client, sizeof(flow->client));
        const uint32_t *n = in->number;
        struct instance_conn c = {
                .flags = (uint16_t)(in->flags | INSTANCE_CONN_PEER),
                .primary = in->primary,
                .standby = in->standby,
                .wscale = in->wscale & PAIR_SHIFTS,
                .is_gated = (in->wscale & PAIR_GATED) != 0,
                .delta = in->delta,
                .c_ack = n[0],
                .c_edge = n[1],
                .c_high = n[2],
                .a_ack = n[3],
                .a_edge = n[4],
                .a_high = n[5],
                .b_ack = n[6],
                .b_edge = n[7],
                .b_high = n[8],
                .a_fin = n[9],
        };
        return c;
}

/* The state of these connections as it is now, in a new datagram. */
static void flight_send(struct instance_pair *p, struct flight *f, int64_t now_ns)
{
        static struct dog_pair_message m;
        m = (struct dog_pair_message){.type = DOG_PAIR_CHANGES, .conns = f->conns};
        for (unsigned i = 0; i < f->conns; i++) {
                struct instance_conn c;
                bool is_there = p->is.get(p->is.user, &f->change[i].flow, &c) == 0;
                m.conn[i] = conn_out(&f->change[i], is_there ? &c : NULL);
        }
        pair_send(p, &m);
        f->sequence = p->sequence;
        unsigned doubled = f->tries < PAIR_SLOWEST ? f->tries : PAIR_SLOWEST;
        f->again_ns = now_ns + (PAIR_RESEND_NS << doubled);
        f->tries++;
}

static bool walk_one(void *to, const struct instance_flow *flow, const struct instance_conn *c)
{
        struct instance_pair *p = to;
        /* What we only hold for the peer, it has itself, unless it begins anew. */
        if (p->is_all || !(c->flags & INSTANCE_CONN_PEER))
                pair_queue(p, flow, false);
        return !p->must_walk;
}

static void pair_flush(struct instance_pair *p, int64_t now_ns)
{
        if (!p->peer_boot || p->peer_world != p->is.world)
                return;
        if (p->must_walk && p->queued == 0) {
                p->must_walk = false;
                p->view.walks++;
                p->is.walk(p->is.user, walk_one, p);
                p->is_all = p->is_all && p->must_walk; /* the queue was too short: once more */
        }
        for (unsigned i = 0; i < PAIR_FLIGHT && p->queued > 0; i++) {
                struct flight *f = &p->flight[i];
                if (f->sequence != 0)
                        continue;
                f->tries = 0;
                for (f->conns = 0; f->conns < DOG_PAIR_CONNS && p->queued > 0; f->conns++, p->queued--) {
                        f->change[f->conns] = p->queue[p->head];
                        p->head = (p->head + 1) % p->room;
                }
                p->view.sent += f->conns;
                flight_send(p, f, now_ns);
        }
}

/* ---- receiving ---- */

/* Everything that waits belongs to a peer that is gone; the new one gets the whole table. */
static void pair_new_peer(struct instance_pair *p, uint64_t boot)
{
        if (p->peer_boot) {
                p->retired[p->retired_at++ % PAIR_RETIRED] = p->peer_boot;
                p->view.boots++;
        }
        p->peer_boot = boot;
        p->newest = p->seen = 0;
        memset(p->flight, 0, sizeof(p->flight));
        p->head = p->queued = 0;
        p->must_walk = p->is_all = true;
}

static bool pair_is_new(struct instance_pair *p, uint64_t sequence)
{
        if (sequence > p->newest) {
                uint64_t step = sequence - p->newest;
                p->seen = step >= 64 ? 0 : p->seen << step;
                p->newest = sequence;
        } else if (p->newest - sequence >= 64) {
                return false;
        }
        uint64_t mark = 1ULL << (p->newest - sequence);
        if (p->seen & mark)
                return false;
        p->seen |= mark;
        return true;
}

static void pair_hello(struct instance_pair *p)
{
        pair_send(p, &(struct dog_pair_message){.type = DOG_PAIR_HELLO});
}

static void pair_take(struct instance_pair *p, const struct dog_pair_message *m)
{
        for (unsigned i = 0; i < m->conns; i++) {
                struct instance_flow flow;
                struct instance_conn c = conn_in(&m->conn[i], &flow);
                if (m->conn[i].is_gone)
                        p->is.forget(p->is.user, &flow);
                else if (p->is.put(p->is.user, &flow, &c, m->conn[i].flags & INSTANCE_CONN_PEER) < 0)
                        p->view.failed++;
                p->view.taken++;
        }
        pair_send(p, &(struct dog_pair_message){.type = DOG_PAIR_ACK, .acked = m->sequence});
}

static void pair_acked(struct instance_pair *p, uint64_t sequence)
{
        for (unsigned i = 0; i < PAIR_FLIGHT; i++)
                if (p->flight[i].sequence == sequence)
                        p->flight[i].sequence = 0;
}

static void pair_read(struct instance_pair *p, const struct dog_pair_message *m, int64_t now_ns)
{
        for (unsigned i = 0; i < PAIR_RETIRED; i++) {
                if (m->boot == p->retired[i]) {
                        p->view.refused[0]++;
                        return;
                }
        }
        if (m->to_boot != p->boot) {
                /* A greeting from one who does not know us yet, or knows our last life: tell it who we are.
                 */
                if (m->type == DOG_PAIR_HELLO && now_ns - p->answered_ns >= PAIR_RESEND_NS) {
                        uint64_t known = p->peer_boot;
                        p->peer_boot = m->boot; /* only to be named in the answer */
                        pair_hello(p);
                        p->peer_boot = known;
                        p->answered_ns = now_ns;
                } else {
                        p->view.refused[0]++;
                }
                return;
        }
        if (m->boot != p->peer_boot)
                pair_new_peer(p, m->boot);
        if (!pair_is_new(p, m->sequence)) {
                p->view.refused[0]++;
                return;
        }
        p->peer_world = m->world;
        p->view.heard_ns = now_ns;
        if (m->type == DOG_PAIR_ACK)
                pair_acked(p, m->acked);
        else if (m->type == DOG_PAIR_CHANGES && m->world == p->is.world)
                pair_take(p, m);
}

void instance_pair_on_readable(struct instance_pair *p, int64_t now_ns)
{
        static struct dog_pair_message m;
        uint8_t bytes[DOG_PAIR_MOST + 1];
        for (unsigned i = 0; i < PAIR_READS; i++) {
                ssize_t n = recv(p->is.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                        break;
                if (n < 0)
                        continue; /* an ICMP error of an earlier datagram: the peer is away */
                enum dog_pair_flaw flaw = dog_pair_read(&m, &p->keys, bytes, (size_t)n);
                if (flaw == DOG_PAIR_FINE)
                        pair_read(p, &m, now_ns);
                else
                        p->view.refused[flaw]++;
        }
        pair_flush(p, now_ns);
}

int64_t instance_pair_on_timer(struct instance_pair *p, int64_t now_ns)
{
        if (now_ns >= p->hello_ns) {
                pair_hello(p);
                p->hello_ns = now_ns + PAIR_HELLO_NS;
        }
        if (now_ns >= p->walk_ns) {
                p->walk_ns = now_ns + PAIR_WALK_NS;
                p->must_walk = true;
        }
        pair_flush(p, now_ns);
        int64_t next = p->hello_ns;
        for (unsigned i = 0; i < PAIR_FLIGHT; i++) {
                struct flight *f = &p->flight[i];
                if (f->sequence == 0)
                        continue;
                if (now_ns >= f->again_ns) {
                        p->view.resent++;
                        flight_send(p, f, now_ns);
                }
                if (f->again_ns < next)
                        next = f->again_ns;
        }
        return next;
}

struct instance_pair_view instance_pair_view(const struct instance_pair *p, int64_t now_ns)
{
        struct instance_pair_view v = p->view;
        v.is_alive = v.heard_ns != 0 && now_ns - v.heard_ns < PAIR_ALIVE_NS;
        v.is_equal = v.heard_ns != 0 && p->peer_world == p->is.world;
        v.waiting = p->queued;
        for (unsigned i = 0; i < PAIR_FLIGHT; i++)
                v.waiting += p->flight[i].sequence ? p->flight[i].conns : 0;
        return v;
}
