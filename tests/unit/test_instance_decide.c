/*
 * What becomes of a protected connection's packets, with made-up endpoints: a client and two servers that
 * speak TCP as far as it matters (retransmission, windows, zero-window probes, FIN, RST), links that delay,
 * lose, double and reorder, and a primary that is killed, hung, cut off or led away at any moment.
 * Time is virtual, chance is the seed; a failure prints the seed, INSTANCE_SEED=n runs that one alone.
 *
 * Proves, short of a kernel, I3 (mirrored to another instance) and I9 (established connections carried over).
 */
#include "base/array.h"
#include "base/rng.h"
#include "check.h"
#include "kinds/instance/instance_decide.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT, A, B, FRONT, NODES };
enum failure { NOTHING, KILLED, CUT, HUNG, LED_AWAY, B_KILLED, B_CUT, FAILURES };

#define MSS       1000
#define ROUNDS    4
#define STREAM    250000
#define PACKETS   4096
#define FLIGHT    40000
#define LIMIT_US  120000000LL
#define RTO_US    200000
#define FRONT_LAG 2000 /* ticks */

struct packet {
        int64_t at_us;
        uint64_t order; /* of two at one time the older one arrives first */
        int from, to;
        uint32_t seq, ack, bytes, pos;
        uint16_t window;
        uint8_t flags;
};

struct endpoint {
        bool is_up, is_running, is_open, is_reset, has_closed;
        uint32_t isn, una, next, high, edge; /* sending */
        uint32_t wrote;                      /* bytes given by the application */
        bool will_fin;
        uint32_t peer_isn, got, read; /* receiving: bytes in order; taken by the application */
        uint8_t here[STREAM + 2];     /* what is there beyond `got` */
        uint32_t fin_pos;             /* the peer's end, or STREAM * 2 */
        uint32_t room, shift, peer_shift;
        int64_t timer_us, rto_us;
        int dups;
        int round;
        int64_t ready_us; /* the application's answer */
        int64_t challenge_us;
};

struct world {
        struct dog_rng rng;
        int64_t now_us;
        struct packet flying[PACKETS];
        int packets;
        uint64_t sent;
        struct endpoint end[3];
        struct instance_conn conn;
        struct instance_now now;
        uint32_t ask[ROUNDS], answer[ROUNDS]; /* bytes, cumulated */
        bool server_closes;
        double loss, again;
        int delay_us, jitter_us;
        enum failure failure;
        int64_t fails_us;
        bool has_failed;
        uint32_t differs_at; /* B's byte there is another */
        struct instance_sum sums[64];
        bool is_sum[64];
        int events[INSTANCE_EVENT_COUNT];
        bool was_alone_first;
        /* The other balancer of the pair: what it was told, and when it has to know (0: never). */
        struct instance_conn told;
        int64_t moves_us, nudge_us;
        uint32_t old_up, old_down; /* the numbers told are so much older */
        double moving_loss;
        bool has_moved;
        bool has_others;   /* A's process gives its word elsewhere all the time */
        uint32_t think_us; /* A takes so long for an answer, and up to twice that; 0: a few milliseconds */
        const char *wrong;
        uint64_t wrong_bytes;
};

static uint32_t pick(struct world *w, uint32_t below)
{
        return (uint32_t)(dog_rng_u64(&w->rng) >> 33) % below;
}

static bool chance(struct world *w, double p)
{
        return (double)(dog_rng_u64(&w->rng) >> 11) * 0x1p-53 < p;
}

static void broken(struct world *w, const char *what)
{
        if (!w->wrong)
                w->wrong = what;
}

static uint8_t byte_of(const struct world *w, int from, uint32_t pos)
{
        uint8_t b = (uint8_t)((pos * 2654435761u) >> 13 ^ (from == CLIENT ? 0x55 : 0));
        return from == B && pos == w->differs_at ? b ^ 0x10 : b;
}

/* ---- links ------------------------------------------------------------------------------- */

static void fly(struct world *w, struct packet p)
{
        int copies = chance(w, w->again) ? 2 : 1;
        if (chance(w, w->loss))
                copies--;
        while (copies-- > 0) {
                if (w->packets == PACKETS)
                        return;
                p.at_us = w->now_us + w->delay_us + (w->jitter_us ? (int)pick(w, (uint32_t)w->jitter_us) : 0);
                p.order = w->sent++;
                w->flying[w->packets++] = p;
        }
}

/* ---- an endpoint ------------------------------------------------------------------------- */

static uint16_t window_of(const struct endpoint *e)
{
        uint32_t used = e->got - e->read, room = e->room > used ? e->room - used : 0;
        return (uint16_t)(room >> e->shift);
}

static void emit(struct world *w, int who, uint32_t seq, uint32_t bytes, uint8_t flags)
{
        struct endpoint *e = &w->end[who];
        if (!e->is_up)
                return;
        uint32_t ack = e->peer_isn + 1 + e->got + (e->got == e->fin_pos ? 1 : 0);
        fly(w, (struct packet){.from = who,
                               .to = FRONT,
                               .seq = seq,
                               .ack = ack,
                               .bytes = bytes,
                               .pos = seq - e->isn - 1,
                               .window = window_of(e),
                               .flags = flags | INSTANCE_TCP_ACK});
}

static uint32_t end_of(const struct endpoint *e)
{
        return e->isn + 1 + e->wrote;
}

/* Send what may be sent: whole segments, or the last one. */
static void push(struct world *w, int who)
{
        struct endpoint *e = &w->end[who];
        uint32_t all = end_of(e);

        if (!e->is_open || e->is_reset || !e->is_up)
                return;
        while (instance_before(e->next, all)) {
                uint32_t left = all - e->next, n = left < MSS ? left : MSS;
                if (instance_before(e->edge, e->next + n) || e->next + n - e->una > FLIGHT)
                        break;
                bool is_last = n == left && e->will_fin && !instance_before(e->edge, e->next + n + 1);
                emit(w, who, e->next, n, is_last ? INSTANCE_TCP_FIN : 0);
                e->next += n + (is_last ? 1 : 0);
        }
        if (e->will_fin && e->next == all && !instance_before(e->edge, all + 1)) {
                emit(w, who, all, 0, INSTANCE_TCP_FIN);
                e->next = all + 1;
        }
        e->high = instance_higher(e->high, e->next);
        bool waits = e->una != e->next || instance_before(e->next, all + (e->will_fin ? 1 : 0));
        if (!waits)
                e->timer_us = 0;
        else if (!e->timer_us)
                e->timer_us = w->now_us + e->rto_us;
}

static void on_timer(struct world *w, int who)
{
        struct endpoint *e = &w->end[who];
        uint32_t all = end_of(e);

        e->timer_us = 0;
        e->rto_us = e->rto_us * 2 > 3000000 ? 3000000 : e->rto_us * 2;
        if (e->una == e->next && instance_before(e->next, all + (e->will_fin ? 1 : 0))) {
                /* Closed: a probe with an old number; nearly closed: what fits. */
                uint32_t fits = instance_before(e->next, e->edge) ? e->edge - e->next : 0;
                uint32_t left = all - e->next;
                fits = fits < left ? fits : left;
                if (fits) {
                        emit(w, who, e->next, fits, 0);
                        e->next += fits;
                        e->high = instance_higher(e->high, e->next);
                } else {
                        emit(w, who, e->una - 1, 0, 0);
                }
                e->timer_us = w->now_us + e->rto_us;
                return;
        }
        e->next = e->una; /* all again */
        push(w, who);
        if (!e->timer_us) { /* the window is closed below what was sent: ask */
                emit(w, who, e->una - 1, 0, 0);
                e->timer_us = w->now_us + e->rto_us;
        }
}

static void take(struct world *w, int who, const struct packet *p)
{
        struct endpoint *e = &w->end[who];
        uint32_t pos = p->seq - e->peer_isn - 1;

        if (p->bytes && pos != p->pos && (int32_t)pos >= 0)
                broken(w, "bytes were moved in the stream");
        for (uint32_t i = 0; i < p->bytes; i++) {
                uint32_t at = pos + i;
                if ((int32_t)at < 0 || at < e->got || at >= STREAM || at >= e->read + e->room + 70000)
                        continue;
                if (who == CLIENT && byte_of(w, p->from, p->pos + i) != byte_of(w, A, at) && !e->here[at])
                        w->wrong_bytes++;
                e->here[at] = 1;
        }
        if (p->flags & INSTANCE_TCP_FIN)
                e->fin_pos = pos + p->bytes;
        while (e->got < STREAM && e->here[e->got])
                e->got++;
}

static void app(struct world *w, int who);

static void receive(struct world *w, int who, const struct packet *p)
{
        struct endpoint *e = &w->end[who];
        uint32_t expects = e->peer_isn + 1 + e->got + (e->got == e->fin_pos ? 1 : 0);

        if (!e->is_up)
                return;
        if (e->is_reset || !e->is_open) { /* nobody there any more */
                if (!(p->flags & INSTANCE_TCP_RST))
                        fly(w, (struct packet){
                                       .from = who, .to = FRONT, .seq = p->ack, .flags = INSTANCE_TCP_RST});
                return;
        }
        if (p->flags & INSTANCE_TCP_RST) {
                if (p->seq == expects)
                        e->is_reset = true;
                else
                        emit(w, who, e->next, 0, 0);
                return;
        }
        if (instance_before(e->high, p->ack)) {
                /* RFC 9293, 3.10.7.4. After a balancer was lost, old numbers may look new to a server. */
                if (who != CLIENT && w->has_moved) {
                        if (w->now_us >= e->challenge_us) /* not more often: RFC 5961, 7 */
                                emit(w, who, e->next, 0, 0);
                        e->challenge_us = w->now_us + 500000;
                        return;
                }
                broken(w, "acknowledged what was never sent");
                return;
        }
        uint32_t end = p->seq + p->bytes + (p->flags & INSTANCE_TCP_FIN ? 1 : 0);
        if (e->has_closed && p->bytes && instance_before(expects, end)) { /* bytes for nobody */
                fly(w, (struct packet){.from = who, .to = FRONT, .seq = p->ack, .flags = INSTANCE_TCP_RST});
                e->is_reset = true;
                return;
        }
        bool is_old = instance_before(p->seq, expects) && !instance_before(expects, end);
        if (instance_before(e->una, p->ack)) {
                e->una = p->ack;
                if (instance_before(e->next, e->una))
                        e->next = e->una;
                e->rto_us = RTO_US;
                e->timer_us = 0;
                e->dups = 0;
        } else if (p->ack == e->una && !p->bytes && e->next != e->una && ++e->dups == 3) {
                uint32_t left = instance_lower(end_of(e), e->high) - e->una;
                if (left && instance_before(e->una, end_of(e)))
                        emit(w, who, e->una, left < MSS ? left : MSS, 0);
        }
        if (!instance_before(p->ack, e->una)) {
                uint32_t edge = p->ack + ((uint32_t)p->window << e->peer_shift);
                if (edge != e->edge && e->una == e->next)
                        e->timer_us = 0;
                e->edge = edge;
        }
        take(w, who, p);
        if (end != p->seq || (is_old && p->seq != expects))
                emit(w, who, e->next, 0, 0);
        app(w, who);
        push(w, who);
}

/* ---- applications ------------------------------------------------------------------------ */

static void app(struct world *w, int who)
{
        struct endpoint *e = &w->end[who];
        uint16_t before = window_of(e);

        if (!e->is_open || !e->is_running)
                return;
        e->read = e->got;
        if (who == CLIENT) {
                while (e->round < ROUNDS && (e->round == 0 || e->got >= w->answer[e->round - 1]))
                        e->wrote = w->ask[e->round++];
                bool is_done = e->got >= w->answer[ROUNDS - 1];
                if (is_done && (!w->server_closes || e->got == e->fin_pos))
                        e->will_fin = true;
        } else {
                while (e->round < ROUNDS && e->got >= w->ask[e->round]) {
                        if (!e->ready_us)
                                e->ready_us = w->now_us + 1 +
                                              (who == A && w->think_us ? w->think_us + pick(w, w->think_us)
                                                                       : pick(w, 3000));
                        if (w->now_us < e->ready_us)
                                break;
                        e->ready_us = 0;
                        e->wrote = w->answer[e->round++];
                }
                if ((w->server_closes && e->round == ROUNDS) || e->got == e->fin_pos)
                        e->will_fin = true;
        }
        /* Tell of a window that has opened. */
        if (before < MSS >> e->shift && window_of(e) >= 2 * MSS >> e->shift)
                emit(w, who, e->next, 0, 0);
}

/* ---- the front --------------------------------------------------------------------------- */

static void front_send(struct world *w, const struct packet *p, const struct instance_out *o)
{
        struct packet out = *p;

        if (!o->to)
                return;
        out.to = o->to == INSTANCE_TO_CLIENT ? CLIENT : o->to == INSTANCE_TO_A ? A : B;
        out.seq = o->seq;
        out.ack = o->ack;
        out.window = o->window;
        out.flags = o->flags;
        if (o->is_bare)
                out.bytes = 0;
        if (out.to == CLIENT && (o->flags & INSTANCE_TCP_ACK)) {
                const struct endpoint *a = &w->end[A], *b = &w->end[B];
                uint32_t ack = o->ack - a->peer_isn - 1, fin = w->end[CLIENT].wrote + 1;
                bool is_b = !(w->conn.flags & INSTANCE_CONN_ALONE);
                bool is_a = !(w->conn.flags & INSTANCE_CONN_PROMOTED);
                if (ack <= fin && is_b && ack > b->got + (b->got == b->fin_pos))
                        broken(w, "the client was acknowledged a byte that B lacks");
                if (ack <= fin && is_a && ack > a->got + (a->got == a->fin_pos))
                        broken(w, "the client was acknowledged a byte that A lacks");
        }
        fly(w, out);
}

static void front_guard(struct world *w, const struct packet *p, struct instance_span *s)
{
        struct instance_conn *c = &w->conn;
        bool is_b = p->from == B;
        uint32_t seq = p->seq - (is_b ? c->delta : 0);
        uint64_t sum;

        instance_span_of(s, instance_summed(c, is_b), is_b ? c->b_sum : c->a_sum, instance_is_blind(c, is_b),
                         seq, p->bytes);
        if (!s->is_any || s->is_blind)
                return;
        uint32_t at = s->from, block = at >> INSTANCE_BLOCK_SHIFT & 63;
        sum = s->sum;
        for (uint32_t i = 0; i < s->first + s->second; i++, at++) {
                uint8_t b = byte_of(w, p->from, p->pos + (at - seq));
                if (i == s->first) {
                        s->closed = sum;
                        sum = 0;
                }
                sum = instance_sum_bytes(sum, at, &b, 1);
        }
        if (s->has_block && !s->second) {
                s->closed = sum;
                sum = 0;
        }
        s->sum = sum;
        if (s->has_block && is_b) {
                s->has_theirs = w->is_sum[block];
                s->theirs = w->sums[block].sum;
        } else if (s->has_block) {
                w->is_sum[block] = true;
                w->sums[block].sum = s->closed;
        }
}

static void front(struct world *w, const struct packet *p)
{
        struct instance_segment s = {.seq = p->seq,
                                     .ack = p->ack,
                                     .bytes = p->bytes,
                                     .window = p->window,
                                     .from = (uint8_t)p->from,
                                     .flags = p->flags};
        struct instance_conn *c = &w->conn;
        struct instance_action act;
        struct instance_span span;

        memset(&act, 0, sizeof(act));
        memset(&span, 0, sizeof(span));
        w->now.tick = (uint32_t)(w->now_us >> 10) + 1;
        if (p->from != CLIENT && !(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE)) &&
            instance_plausible(c, &s))
                front_guard(w, p, &span);
        w->now.is_different = instance_guard_note(c, &s, &span);
        if (w->has_others)
                w->now.a_word = w->now.tick;
        instance_decide(c, &s, &w->now, &act);
        if (act.is_word && p->from == A)
                w->now.a_word = w->now.tick;
        if (act.event) {
                w->events[act.event - 1]++;
                if ((c->flags & INSTANCE_CONN_ALONE) && !w->has_failed)
                        w->was_alone_first = true;
        }
        if (act.event && act.event != INSTANCE_EVENT_TAKEN + 1)
                w->told = *c;
        if (act.event && (c->flags & INSTANCE_CONN_PEER))
                w->nudge_us = w->now_us + 50 + pick(w, 5000);
        front_send(w, p, &act.extra);
        front_send(w, p, &act.main);
}

/* Both servers are made to say where they are, as instance_front_nudge does. */
static void front_nudge(struct world *w)
{
        struct instance_conn *c = &w->conn;
        struct packet p = {.from = CLIENT};
        struct instance_out o = instance_out_for_b(c);
        w->nudge_us = 0;
        o.seq = c->b_ack - 1;
        /* A server that has just sent such an answer does not send another. */
        if (!(c->flags & INSTANCE_CONN_ALONE) && !chance(w, 0.2))
                front_send(w, &p, &o);
        o = (struct instance_out){
                .seq = c->a_ack - 1,
                .ack = c->c_ack,
                .window = instance_window(c->c_edge, c->c_ack, instance_shift(c, INSTANCE_FROM_CLIENT)),
                .to = INSTANCE_TO_A,
                .flags = INSTANCE_TCP_ACK,
                .is_bare = 1};
        if (!(c->flags & INSTANCE_CONN_PROMOTED))
                front_send(w, &p, &o);
}

/* The balancer is lost, with what was on its way to it; the other one knows what it was told. */
static void front_moves(struct world *w)
{
        const struct instance_conn *t = &w->told;
        bool is_ending = t->flags & (INSTANCE_CONN_A_FIN | INSTANCE_CONN_B_FIN | INSTANCE_CONN_C_FIN);
        uint32_t up = is_ending ? 0 : w->old_up, down = is_ending ? 0 : w->old_down;
        for (int i = 0; i < w->packets; i++) {
                if (w->flying[i].to == FRONT && chance(w, w->moving_loss))
                        w->flying[i--] = w->flying[--w->packets];
        }
        w->moves_us = 0;
        w->has_moved = true;
        memset(w->is_sum, 0, sizeof(w->is_sum));
        w->conn = (struct instance_conn){
                .flags = (uint16_t)((t->flags & ~INSTANCE_CONN_COUNTED) | INSTANCE_CONN_PEER),
                .primary = t->primary,
                .standby = t->standby,
                .wscale = t->wscale & 0xfff,
                .delta = t->delta,
                .c_ack = t->c_ack - down,
                .c_edge = t->c_edge - down,
                .a_high = t->a_high - down,
                .b_high = t->b_high - down,
                .a_fin = t->a_fin,
                .c_high = t->c_high - up,
                .a_ack = t->a_ack - up,
                .a_edge = t->a_edge - up,
                .b_ack = t->b_ack - up,
                .b_edge = t->b_edge - up,
                .seen = w->now.tick,
                .a_seen = w->now.tick,
        };
}

/* User space's part: what would wait is woken. */
static void front_wake(struct world *w)
{
        struct instance_out o = instance_out_for_b(&w->conn);
        o.window = instance_window(w->conn.c_edge, instance_b_ack(&w->conn), instance_shift_for_b(&w->conn));
        if (!(w->conn.flags & INSTANCE_CONN_ALONE))
                front_send(w, &(struct packet){.from = CLIENT}, &o);
}

/* ---- failures ---------------------------------------------------------------------------- */

/* Its kernel closes the sockets of a process that was killed. */
static void kill_process(struct world *w, int who)
{
        struct endpoint *e = &w->end[who];

        e->is_running = false;
        if (e->got != e->read) {
                fly(w, (struct packet){.from = who, .to = FRONT, .seq = e->next, .flags = INSTANCE_TCP_RST});
                e->is_reset = true;
                return;
        }
        if (e->wrote > 60000 + (e->una - e->isn - 1)) /* no more than its buffer holds */
                e->wrote = 60000 + (e->una - e->isn - 1);
        e->will_fin = e->has_closed = true;
        push(w, who);
}

static void go_wrong(struct world *w)
{
        w->has_failed = true;
        switch (w->failure) {
        case KILLED:
                kill_process(w, A);
                break;
        case HUNG:
                w->end[A].is_running = false;
                break;
        case CUT:
                w->end[A].is_up = false;
                break;
        case LED_AWAY:
                w->now.a_flags |= INSTANCE_SERVER_LEAVING;
                w->now.a_leave_by = (uint32_t)(w->now_us >> 10) + 30;
                break;
        case B_KILLED:
                kill_process(w, B);
                break;
        case B_CUT:
                w->end[B].is_up = false;
                break;
        case NOTHING:
        case FAILURES:
                break;
        }
}

/* ---- a run ------------------------------------------------------------------------------- */

static void begin(struct world *w, uint64_t seed, enum failure failure, double loss)
{
        memset(w, 0, sizeof(*w));
        dog_rng_init(&w->rng, seed);
        w->failure = failure;
        w->loss = loss;
        w->again = loss / 2;
        w->delay_us = 20 + (int)pick(w, 400);
        w->jitter_us = loss > 0 ? (int)pick(w, 1000) : 0;
        w->server_closes = chance(w, 0.5);
        w->differs_at = STREAM * 2;
        uint32_t ask = 0, answer = 0;
        for (int i = 0; i < ROUNDS; i++) {
                ask += 1 + pick(w, chance(w, 0.2) ? 60000 : 500);
                answer += 1 + pick(w, chance(w, 0.4) ? 60000 : 3000);
                w->ask[i] = ask;
                w->answer[i] = answer;
        }
        struct instance_syn y = {.flags = INSTANCE_SYN_A | INSTANCE_SYN_B | INSTANCE_SYN_RELEASED,
                                 .standby = 1};
        y.c_isn = chance(w, 0.5) ? (uint32_t) - (int)pick(w, 30000) : (uint32_t)dog_rng_u64(&w->rng);
        y.a_isn = chance(w, 0.5) ? (uint32_t) - (int)pick(w, 30000) : (uint32_t)dog_rng_u64(&w->rng);
        y.b_isn = chance(w, 0.5) ? (uint32_t) - (int)pick(w, 30000) : (uint32_t)dog_rng_u64(&w->rng);
        y.c_shift = (uint8_t)pick(w, 8);
        /* A server that answers with a cookie has no shift, and neither has the client towards it. */
        y.a_shift = chance(w, 0.15) ? INSTANCE_NO_SHIFT : (uint8_t)pick(w, 8);
        y.b_shift = chance(w, 0.15) ? INSTANCE_NO_SHIFT : (uint8_t)pick(w, 8);
        bool a_has = y.a_shift != INSTANCE_NO_SHIFT, b_has = y.b_shift != INSTANCE_NO_SHIFT;
        for (int i = 0; i < 3; i++) {
                struct endpoint *e = &w->end[i];
                e->is_up = e->is_running = e->is_open = true;
                e->isn = i == CLIENT ? y.c_isn : i == A ? y.a_isn : y.b_isn;
                e->peer_isn = i == CLIENT ? y.a_isn : y.c_isn;
                e->una = e->next = e->high = e->isn + 1;
                if (i == B ? b_has : a_has) {
                        e->shift = i == CLIENT ? y.c_shift : i == A ? y.a_shift : y.b_shift;
                        e->peer_shift = i == CLIENT ? y.a_shift : y.c_shift;
                }
                e->room = 20000 + pick(w, 45000);
                e->fin_pos = STREAM * 2;
                e->rto_us = RTO_US;
        }
        y.c_window = (uint16_t)w->end[CLIENT].room;
        y.a_window = (uint16_t)w->end[A].room;
        y.b_window = (uint16_t)w->end[B].room;
        w->end[CLIENT].edge = y.c_isn + 1 + (y.a_window < y.b_window ? y.a_window : y.b_window);
        w->end[A].edge = y.a_isn + 1 + y.c_window;
        w->end[B].edge = y.b_isn + 1; /* the gate is shut until the third packet */
        w->now.tick = 1;
        instance_conn_begin(&w->conn, &y, 1);
        w->conn.flags |= INSTANCE_CONN_COUNTED;
        w->told = w->conn;
        w->now.lag_ticks = FRONT_LAG;
        w->now.lag_bytes = 20000;
        w->fails_us = failure == NOTHING ? LIMIT_US * 2 : pick(w, 40000);
        emit(w, CLIENT, w->end[CLIENT].next, 0, 0);
        app(w, CLIENT);
        push(w, CLIENT);
}

/* The client has all, and was told the end if the server is the one to tell. */
static bool is_done(const struct world *w)
{
        const struct endpoint *c = &w->end[CLIENT];
        return c->got >= w->answer[ROUNDS - 1] && (!w->server_closes || c->got == c->fin_pos);
}

static void step(struct world *w)
{
        int64_t at = LIMIT_US + 1;
        int next = -1, who = -1;

        for (int i = 0; i < w->packets; i++)
                if (w->flying[i].at_us < at ||
                    (next >= 0 && w->flying[i].at_us == at && w->flying[i].order < w->flying[next].order)) {
                        at = w->flying[i].at_us;
                        next = i;
                }
        for (int i = 0; i < 3; i++) {
                struct endpoint *e = &w->end[i];
                if (!e->is_up || e->is_reset)
                        continue;
                if (e->timer_us && e->timer_us < at) {
                        at = e->timer_us;
                        who = i;
                        next = -1;
                }
                if (e->is_running && e->ready_us && e->ready_us < at) {
                        at = e->ready_us;
                        who = i + 10;
                        next = -1;
                }
        }
        if (!w->has_failed && w->fails_us <= at && (!w->moves_us || w->fails_us <= w->moves_us)) {
                w->now_us = w->fails_us;
                go_wrong(w);
                return;
        }
        if (w->moves_us && w->moves_us <= at) {
                w->now_us = w->moves_us;
                front_moves(w);
                return;
        }
        if (w->nudge_us && w->nudge_us <= at) {
                w->now_us = w->nudge_us;
                front_nudge(w);
                return;
        }
        /* Found out after 25 ms, by a probe. */
        if (w->failure == CUT && w->has_failed && !(w->now.a_flags & INSTANCE_SERVER_DEAD) &&
            at >= w->fails_us + 25000) {
                w->now_us = w->fails_us + 25000;
                w->now.a_flags |= INSTANCE_SERVER_DEAD;
                front_wake(w);
                return;
        }
        w->now_us = at;
        if (next >= 0) {
                struct packet p = w->flying[next];
                w->flying[next] = w->flying[--w->packets];
                if (p.to == FRONT)
                        front(w, &p);
                else
                        receive(w, p.to, &p);
        } else if (who >= 10) {
                app(w, who - 10);
                push(w, who - 10);
        } else if (who >= 0) {
                on_timer(w, who);
        }
}

static int promotions(const struct world *w)
{
        int n = 0;
        for (int i = INSTANCE_EVENT_PROMOTED_FIN; i <= INSTANCE_EVENT_PROMOTED_PLAN; i++)
                n += w->events[i];
        return n;
}

static struct world world;

static void run(struct world *w)
{
        for (int n = 0; n < 400000 && w->now_us < LIMIT_US && !w->wrong && !is_done(w); n++)
                step(w);
        if (!w->wrong && !is_done(w))
                w->wrong = w->end[CLIENT].is_reset ? "the client was reset" : "it came to a stop";
}

static void tell(const struct world *w, uint64_t seed)
{
        const struct instance_conn *c = &w->conn;
        fprintf(stderr,
                "# seed %llu failure %d loss %g at %lld us (failed %lld): %s; client has %u of %u, flags %x, "
                "why %u\n"
                "#   a ack %d high %d, b ack %d high %d, c_ack %u edge +%d\n",
                (unsigned long long)seed, (int)w->failure, w->loss, (long long)w->now_us,
                (long long)w->fails_us, w->wrong ? w->wrong : "well", w->end[CLIENT].got,
                w->answer[ROUNDS - 1], c->flags, c->why, (int)(c->a_ack - c->c_high),
                (int)(c->a_high - c->c_ack), (int)(c->b_ack - c->c_high), (int)(c->b_high - c->c_ack),
                c->c_ack - w->end[A].isn - 1, (int)(c->c_edge - c->c_ack));
}

/* Runs `n` seeds. Seeds in which the standby was lost before the failure are counted apart. */
static void all_come_through(enum failure failure, double loss, int n, int *unprotected, int *promoted)
{
        const char *only = getenv("INSTANCE_SEED");
        int wrong = 0;

        n = CHECK_ROUNDS(n);
        *unprotected = *promoted = 0;
        for (int i = 0; i < n; i++) {
                uint64_t seed = (uint64_t)i * 100 + (uint64_t)failure;
                if (only && strtoull(only, NULL, 0) != seed)
                        continue;
                begin(&world, seed, failure, loss);
                run(&world);
                *promoted += promotions(&world);
                if (world.was_alone_first && failure != NOTHING && failure != LED_AWAY) {
                        if (++*unprotected < 3)
                                tell(&world, seed);
                        continue;
                }
                if (world.wrong && wrong++ < 3)
                        tell(&world, seed);
        }
        OK(wrong == 0, "%d of %d seeds, failure %d, loss %g", wrong, n, (int)failure, loss);
}

/* ---- tests ------------------------------------------------------------------------------- */

static void nobody_is_promoted_where_nothing_fails(void)
{
        int unprotected, promoted;
        all_come_through(NOTHING, 0, 1500, &unprotected, &promoted);
        OK(promoted == 0, "%d promotions", promoted);
        all_come_through(NOTHING, 0.01, 1000, &unprotected, &promoted);
        fprintf(stderr, "# at 1 %% loss: %d promotions in 1000 connections\n", promoted);
}

static void a_client_gets_every_byte_once_whatever_becomes_of_a(void)
{
        static const enum failure list[] = {KILLED, CUT, HUNG, LED_AWAY};
        for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
                int unprotected, promoted;
                all_come_through(list[i], 0, 1500, &unprotected, &promoted);
                OK(unprotected == 0, "%d without a standby, with nothing lost", unprotected);
                all_come_through(list[i], 0.01, 1000, &unprotected, &promoted);
                OK(unprotected < 20, "%d of 1000 lost their standby first", unprotected);
        }
}

/* On a busy machine the one is a second late, and the other is not. */
static void a_slow_server_that_speaks_to_others_is_not_hung(void)
{
        int wrong = 0, promoted = 0, n = CHECK_ROUNDS(500);
        for (int i = 0; i < n; i++) {
                begin(&world, (uint64_t)i + 700000, NOTHING, 0);
                world.has_others = true;
                world.think_us = 460000;
                run(&world);
                wrong += world.wrong != NULL;
                promoted += promotions(&world);
        }
        OK(wrong == 0, "%d clients noticed", wrong);
        OK(promoted == 0, "%d promotions", promoted);
}

static void one_hung_process_of_several_is_found(void)
{
        int wrong = 0, promoted = 0, n = CHECK_ROUNDS(1000);
        for (int i = 0; i < n; i++) {
                begin(&world, (uint64_t)i + 800000, HUNG, 0);
                world.has_others = true;
                run(&world);
                promoted += promotions(&world);
                if (world.wrong && wrong++ < 3)
                        tell(&world, (uint64_t)i + 800000);
        }
        OK(wrong == 0, "%d of %d clients were left alone", wrong, n);
        OK(promoted > n / 5, "%d promotions", promoted);
}

static void a_client_does_not_notice_the_end_of_a_standby(void)
{
        static const enum failure list[] = {B_KILLED, B_CUT};
        for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
                int unprotected, promoted;
                all_come_through(list[i], 0, 1000, &unprotected, &promoted);
                all_come_through(list[i], 0.01, 500, &unprotected, &promoted);
        }
}

/* The figure instance.diverged_caught_kib: within 64 KiB, or at the end of the answer. */
static void a_standby_that_differs_goes_before_it_could_serve(void)
{
        int caught = 0, wrong = 0, n = CHECK_ROUNDS(1000);
        for (int i = 0; i < n; i++) {
                begin(&world, (uint64_t)i + 500000, NOTHING, 0);
                world.server_closes = true; /* else the client may leave before B has said all */
                world.differs_at = pick(&world, world.answer[ROUNDS - 1]);
                run(&world);
                caught += world.events[INSTANCE_EVENT_EVICTED_CONTENT] == 1;
                wrong += world.wrong || world.wrong_bytes;
                OK(promotions(&world) == 0, "seed %d promoted a standby that differs", i);
        }
        OK(wrong == 0, "%d clients noticed", wrong);
        OK(caught == n, "%d of %d were caught", caught, n);
}

static void a_sum_does_not_care_how_the_stream_was_cut_but_for_every_byte(void)
{
        struct dog_rng rng;
        int same = 0, other = 0, swapped = 0;
        dog_rng_init(&rng, 7);
        for (int n = 0; n < 2000; n++) {
                uint8_t bytes[300];
                uint32_t at = (uint32_t)dog_rng_u64(&rng), cut = (uint32_t)dog_rng_below(&rng, 301);
                for (size_t i = 0; i < sizeof(bytes); i++)
                        bytes[i] = (uint8_t)dog_rng_u64(&rng);
                uint64_t whole = instance_sum_bytes(0, at, bytes, sizeof(bytes));
                uint64_t first = instance_sum_bytes(0, at, bytes, cut);
                same += instance_sum_bytes(first, at + cut, bytes + cut, (uint32_t)sizeof(bytes) - cut) ==
                        whole;
                size_t i = dog_rng_below(&rng, sizeof(bytes) - 4);
                uint8_t was = bytes[i], next = bytes[i + 4];
                bytes[i] ^= (uint8_t)(1 + dog_rng_below(&rng, 255));
                other += instance_sum_bytes(0, at, bytes, sizeof(bytes)) != whole;
                bytes[i] = next;
                bytes[i + 4] = was;
                swapped += was == next || instance_sum_bytes(0, at, bytes, sizeof(bytes)) != whole;
        }
        OK(same == 2000, "%d of 2000 cuts", same);
        OK(other == 2000, "%d of 2000 changed bytes", other);
        OK(swapped >= 1990, "%d of 2000 swapped bytes", swapped);
        OK(INSTANCE_SUM_R * INSTANCE_SUM_INVERSE == 1u, "the inverse");
        OK(INSTANCE_SUM_R2 == INSTANCE_SUM_R * INSTANCE_SUM_R &&
                   INSTANCE_SUM_R3 == INSTANCE_SUM_R2 * INSTANCE_SUM_R &&
                   INSTANCE_SUM_R4 == INSTANCE_SUM_R3 * INSTANCE_SUM_R,
           "the powers");
}

/* Who does not see the packets guesses: RFC 5961. */
static void a_blind_attacker_neither_ends_nor_moves_a_connection(void)
{
        int moved = 0, ended = 0;
        begin(&world, 42, NOTHING, 0);
        for (int i = 0; i < 3000 && world.end[CLIENT].got < 5000; i++)
                step(&world);
        struct instance_conn is = world.conn;
        for (int i = 0; i < 1000000; i++) {
                uint64_t r = dog_rng_u64(&world.rng), t = dog_rng_u64(&world.rng);
                struct instance_segment s = {.seq = (uint32_t)r,
                                             .ack = (uint32_t)(r >> 32),
                                             .bytes = t & 1 ? 1000 : 0,
                                             .window = (uint16_t)(t >> 8),
                                             .from = (uint8_t)((t >> 32) % 3),
                                             .flags = t & 2 ? INSTANCE_TCP_RST : INSTANCE_TCP_ACK};
                struct instance_action act = {0};
                struct instance_conn c = is;
                instance_decide(&c, &s, &world.now, &act);
                ended += (c.flags ^ is.flags) != 0;
                moved += c.c_ack != is.c_ack || c.c_high != is.c_high || c.a_high != is.a_high;
        }
        OK(ended == 0, "%d of a million ended it", ended);
        OK(moved < 100, "%d of a million moved it", moved);
}

/*
 * The pair (I9): at any moment the state becomes what the other balancer was told when the connection began
 * or last changed hands. With numbers 2^31 and more behind, too: those of a connection that has moved
 * gigabytes since.
 */
static void a_balancer_is_lost(enum failure failure, double loss, int n, uint32_t up, uint32_t down,
                               int *unprotected, int *promoted)
{
        const char *only = getenv("INSTANCE_SEED");
        int wrong = 0, taken = 0;
        *unprotected = *promoted = 0;
        for (int i = 0; i < n; i++) {
                uint64_t seed = (uint64_t)i * 100 + (uint64_t)failure + 7000000;
                if (only && strtoull(only, NULL, 0) != seed)
                        continue;
                begin(&world, seed, failure, loss);
                world.moves_us = 1 + pick(&world, 30000);
                world.moving_loss = pick(&world, 3) * 0.5;
                world.old_up = up;
                world.old_down = down;
                run(&world);
                taken += world.events[INSTANCE_EVENT_TAKEN] > 0;
                *promoted += promotions(&world);
                if (world.was_alone_first && failure != NOTHING && failure != LED_AWAY) {
                        if (++*unprotected < 3)
                                tell(&world, seed);
                        continue;
                }
                if ((world.wrong || world.wrong_bytes) && wrong++ < 3)
                        tell(&world, seed);
        }
        fprintf(stderr,
                "# failure %d, loss %g, numbers %u and %u older: %d of %d taken over, %d promoted, %d "
                "alone\n",
                (int)failure, loss, up, down, taken, n, *promoted, *unprotected);
        OK(wrong == 0, "%d of %d seeds, failure %d, loss %g, older by %u and %u", wrong, n, (int)failure,
           loss, up, down);
        OK(only || taken > n / 4, "only %d of %d were taken over", taken, n);
}

static void the_other_balancer_goes_on_with_what_it_was_told(void)
{
        static const uint32_t older[][2] = {{0, 0},
                                            {0, 0x90000000u},
                                            {0x80000000u, 0x80000001u},
                                            {0xfff00000u, 0},
                                            {0x7fffffffu, 0xfffff000u}};
        static const enum failure list[] = {KILLED, CUT, HUNG, LED_AWAY, B_KILLED, B_CUT};
        int unprotected, promoted;
        for (size_t k = 0; k < ARRAY_SIZE(older); k++) {
                a_balancer_is_lost(NOTHING, 0, 600, older[k][0], older[k][1], &unprotected, &promoted);
                OK(promoted == 0, "%d promotions where no server fails", promoted);
                a_balancer_is_lost(NOTHING, 0.01, 300, older[k][0], older[k][1], &unprotected, &promoted);
                for (size_t i = 0; i < ARRAY_SIZE(list); i++)
                        a_balancer_is_lost(list[i], 0, 200, older[k][0], older[k][1], &unprotected,
                                           &promoted);
        }
}

int main(void)
{
        return CHECK_RUN(TEST(nobody_is_promoted_where_nothing_fails),
                         TEST(a_client_gets_every_byte_once_whatever_becomes_of_a),
                         TEST(a_slow_server_that_speaks_to_others_is_not_hung),
                         TEST(one_hung_process_of_several_is_found),
                         TEST(a_client_does_not_notice_the_end_of_a_standby),
                         TEST(a_standby_that_differs_goes_before_it_could_serve),
                         TEST(a_sum_does_not_care_how_the_stream_was_cut_but_for_every_byte),
                         TEST(the_other_balancer_goes_on_with_what_it_was_told),
                         TEST(a_blind_attacker_neither_ends_nor_moves_a_connection));
}
