/*
 * Connections: waking those whose server is gone, forgetting those that have ended, doubting the silent.
 *
 * Hangs. A server whose process is stopped goes on acknowledging: its kernel lives. Its standby has the
 * answer, and may not say so, because its window ends at what the client has (the gate). What is sound
 * evidence then?
 *   - Silence of one connection is none: the service may think, on both servers alike.
 *   - "B has sent more than A" never happens by itself: B was never allowed to.
 *   - B's own zero-window probe is: it has bytes that it may not send. But it comes 200 ms late
 *     (TCP_RTO_MIN), and that is what the data plane promotes by, on each connection by itself.
 *
 * So we ask, earlier. When a server has said nothing on any connection for hang_ns, it is DOUBTED for a
 * moment, and the standby of each connection whose client has all that A ever sent, and room, is shown the
 * client's whole window. A standby that thinks too, or whose client does, has nothing to send, and nothing
 * happens; if it sends while A is doubted, it has what A owes, and that very packet promotes, unless A has
 * spoken since. A server that was doubted and then spoke by itself raises its bar to twice that silence; one
 * that is slow by nature is not asked at all, but left to the probe. One silent process among several on a
 * server is found by the probe alone.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "kinds/instance/front_inside.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONN_SCAN_NS    (10 * DOG_MS)  /* between two looks, of either kind */
#define CONN_ROUND_NS   DOG_S          /* a whole background walk begins so often */
#define CONN_CLOSED_NS  (60 * DOG_S)   /* a closed connection is kept for late packets */
#define CONN_RESET_NS   DOG_S          /* ... one that was reset */
#define CONN_ASK_NS     (10 * DOG_MS)  /* a standby that is asked may answer so long */
#define CONN_ASK_MOST   (200 * DOG_MS) /* by then it speaks by itself */
#define CONN_DOUBTS     4              /* at 150, 300, 600, 1200 ms, if it is never slow */
#define CONN_ASKED_NS   (2 * DOG_S)    /* a connection that was quiet for longer waits for nothing */
#define CONN_JUST_NS    (10 * DOG_MS)  /* since A's last packet */
#define CONN_ROOM       4096           /* a client with less is what A may wait for */
#define CONN_BARE_BYTES 72             /* an acknowledgement is no longer, with Ethernet and some SACK */
#define CONN_SLOWER     2              /* than the longest silence that was none */
#define CONN_FORGIVE    512 /* of that is forgotten with each 10 ms in which it speaks: half in 4 s */

/* -------------------------------------------------------------------------------- keys */

unsigned front_key_of(uint8_t *key, const struct instance_flow *flow)
{
        bool is_four = flow->client.word[0] == 0 && flow->client.word[1] == 0 &&
                       flow->client.word[2] == htonl(0xffff);
        if (is_four) {
                struct instance_flow4 four = {
                        .client = flow->client.word[3], .port = flow->port, .vip = flow->vip};
                memcpy(key, &four, sizeof(four));
                return 0;
        }
        memcpy(key, flow, sizeof(*flow));
        return 1;
}

static struct instance_flow front_flow_of(const uint8_t *key, unsigned table)
{
        struct instance_flow flow = {0};
        struct instance_flow4 four;
        if (table == 1) {
                memcpy(&flow, key, sizeof(flow));
                return flow;
        }
        memcpy(&four, key, sizeof(four));
        flow.client.word[2] = htonl(0xffff);
        flow.client.word[3] = four.client;
        flow.port = four.port;
        flow.vip = four.vip;
        return flow;
}

static size_t front_key_size(unsigned table)
{
        return table ? sizeof(struct instance_flow) : sizeof(struct instance_flow4);
}

static uint32_t front_tick(int64_t now_ns)
{
        return (uint32_t)((uint64_t)now_ns >> INSTANCE_TICK_SHIFT);
}

static int64_t front_ticks_ns(uint32_t ticks)
{
        return (int64_t)ticks << INSTANCE_TICK_SHIFT;
}

/* -------------------------------------------------------------------------------- walks */

static void front_walk_begin(struct front_walk *w)
{
        *w = (struct front_walk){.is_on = true};
}

/*
 * The next batch into f->keys and f->values. The walk ends with the last of the second table.
 * @return how many; 0 may also be an empty stretch: ask w->is_on
 */
static unsigned front_walk_next(struct instance_front *f, struct front_walk *w, unsigned *table)
{
        LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = BPF_F_LOCK);
        uint32_t n = FRONT_BATCH, next = 0;
        *table = w->table;
        int rc = bpf_map_lookup_batch(f->conns[w->table].fd, w->is_begun ? &w->token : NULL, &next, f->keys,
                                      f->values, &n, &options);
        int why = rc < 0 ? errno : 0;
        w->is_begun = true;
        w->token = next;
        /* ENOENT is the end, with what was found before it; any other failure ends this table too: it is
         * looked at again by the next walk. */
        if (rc < 0) {
                if (why != ENOENT)
                        n = 0;
                w->is_begun = false;
                w->is_on = ++w->table < ARRAY_SIZE(f->conns);
        }
        return n;
}

static void front_value(const struct instance_front *f, unsigned i, unsigned table,
                        struct instance_flow *flow, const struct instance_conn **c)
{
        *flow = front_flow_of(f->keys + i * front_key_size(table), table);
        *c = &f->values[i];
}

/* -------------------------------------------------------------------------------- frames */

int front_frames_need(struct instance_front *f, const char *device, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_SOCKET_FRAMES);
        struct dog_hands_reply r;
        struct dog_link link;
        struct front_frames *at = NULL;
        int fd;
        int rc = dog_link_get(&link, device, e);
        if (rc < 0)
                return rc;
        for (size_t i = 0; i < ARRAY_SIZE(f->frames); i++) {
                if (f->frames[i].fd > 0 && f->frames[i].index == link.index)
                        return 0;
                if (f->frames[i].fd <= 0 && !at)
                        at = &f->frames[i];
        }
        if (!at)
                return dog_err_set(e, -ENOSPC, "device %s: servers are on more than %d devices", device,
                                   INSTANCE_FRONT_DEVICES);
        rc = dog_hands_name_set(q.as.frames.device, device, e);
        if (rc == 0)
                rc = dog_hands_call(f->hands, &q, &r, &fd, e);
        if (rc < 0)
                return rc;
        *at = (struct front_frames){.index = r.as.frames.index, .fd = fd};
        return 0;
}

static int front_frames_fd(const struct instance_front *f, uint32_t index)
{
        for (size_t i = 0; i < ARRAY_SIZE(f->frames); i++)
                if (f->frames[i].fd > 0 && f->frames[i].index == index)
                        return f->frames[i].fd;
        return -1;
}

/* Frames of one batch, by the socket that each leaves through. */
struct front_sending {
        unsigned n;
        int fd[FRONT_BATCH * 2];
        struct iovec io[FRONT_BATCH * 2];
};

static void front_sending_add(struct instance_front *f, struct front_sending *s, int fd,
                              const struct instance_kick_way *way, uint32_t seq, uint32_t ack,
                              uint16_t window)
{
        uint8_t *frame = f->frame[s->n];
        size_t size = instance_kick_write(frame, way, seq, ack, window);
        s->fd[s->n] = fd;
        s->io[s->n++] = (struct iovec){.iov_base = frame, .iov_len = size};
}

/* Everything that goes out of one socket in as few calls as may be. A full device loses frames as any sender
 * does; the client's and the standby's own timers are the last resort. */
static unsigned front_sending_flush(struct front_sending *s)
{
        struct mmsghdr message[256];
        unsigned sent = 0;
        for (unsigned i = 0; i < s->n;) {
                unsigned n = 0;
                int fd = s->fd[i];
                while (n < ARRAY_SIZE(message) && i + n < s->n && s->fd[i + n] == fd) {
                        message[n] = (struct mmsghdr){.msg_hdr = {.msg_iov = &s->io[i + n], .msg_iovlen = 1}};
                        n++;
                }
                int done = sendmmsg(fd, message, n, 0);
                if (done > 0)
                        sent += (unsigned)done;
                /* One that fails (device down, no room) is passed over; the rest may still go. */
                i += done > 0 ? (unsigned)done : 1;
        }
        s->n = 0;
        return sent;
}

/* Where this server of the connection is reached. False: nowhere, or there is none. */
static bool front_way(const struct instance_front *f, const struct instance_flow *flow, unsigned server,
                      struct instance_kick_way *way, int *fd)
{
        if (server >= INSTANCE_SERVERS_MAX || flow->vip >= INSTANCE_VIPS_MAX)
                return false;
        const struct instance_server *s = front_server_at(f, server);
        const struct front_vip *vip = &f->vip[flow->vip];
        if (!(s->flags & INSTANCE_SERVER_SET) || !vip->is_set)
                return false;
        bool is_nat = vip->is.returns == INSTANCE_RETURN_NAT;
        *way = (struct instance_kick_way){.server = s,
                                          .from = flow->client,
                                          .to = is_nat ? s->address : vip->key.address,
                                          .port_from = flow->port,
                                          .port_to = is_nat ? s->port : vip->key.port,
                                          .is_v6 = vip->is.address.version == 6};
        *fd = front_frames_fd(f, s->ifindex);
        return *fd >= 0;
}

/* -------------------------------------------------------------------------------- waking */

static bool front_is_served_by_a(const struct instance_conn *c)
{
        return !(c->flags & (INSTANCE_CONN_PROMOTED | INSTANCE_CONN_ALONE | INSTANCE_CONN_CLOSED));
}

/* One connection of a dead or leaving server. @return whether it was woken */
static bool front_wake_one(struct instance_front *f, const struct instance_flow *flow,
                           const struct instance_conn *c, bool is_planned, struct front_sending *s)
{
        struct instance_kick_way way;
        struct instance_kick k = instance_kick_of(c);
        int fd;
        if (!front_way(f, flow, c->standby, &way, &fd))
                return false;
        /* Planned: one whose client still waits for bytes of A changes over with its own next packet. */
        if (is_planned && !k.is_settled)
                return false;
        front_sending_add(f, s, fd, &way, k.seq, k.ack, k.window);
        if (is_planned || k.is_uploading)
                front_sending_add(f, s, fd, &way, k.nudge_seq, k.ack, k.window);
        return true;
}

int instance_front_nudge(struct instance_front *f, const struct instance_flow *flow)
{
        static struct front_sending sending; /* as above */
        struct instance_kick_way way;
        struct instance_conn c;
        int fd, rc = instance_front_conn_get(f, flow, &c);
        if (rc < 0)
                return rc;
        struct instance_kick k = instance_kick_of(&c);
        if (!(c.flags & INSTANCE_CONN_ALONE) && front_way(f, flow, c.standby, &way, &fd))
                front_sending_add(f, &sending, fd, &way, k.nudge_seq, k.ack, k.window);
        if (!(c.flags & INSTANCE_CONN_PROMOTED) && front_way(f, flow, c.primary, &way, &fd))
                front_sending_add(f, &sending, fd, &way, c.a_ack - 1, c.c_ack, k.window);
        return front_sending_flush(&sending) > 0 ? 0 : -EHOSTUNREACH;
}

static bool front_wake_wanted(const struct instance_front *f)
{
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++)
                if (f->server[i].is_wanted)
                        return true;
        return false;
}

static void front_wake_begin(struct instance_front *f)
{
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                f->in_wake[i] = f->server[i].is_wanted;
                f->server[i].is_wanted = false;
                f->server[i].woken = 0;
        }
        front_walk_begin(&f->wake);
}

static void front_wake_end(struct instance_front *f)
{
        int64_t now_ns = dog_clock_mono_ns();
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                const struct front_server *s = &f->server[i];
                if (f->in_wake[i] && f->is.woken)
                        f->is.woken(f->is.user, i, s->woken, now_ns - s->told_ns);
                f->in_wake[i] = false;
        }
}

static void front_wake_step(struct instance_front *f, int64_t now_ns)
{
        static struct front_sending sending; /* 50 kB: not for the stack; one front works at a time */
        unsigned table, n = front_walk_next(f, &f->wake, &table);
        sending.n = 0;
        for (unsigned i = 0; i < n; i++) {
                struct instance_flow flow;
                const struct instance_conn *c;
                front_value(f, i, table, &flow, &c);
                if (c->primary >= INSTANCE_SERVERS_MAX || !f->in_wake[c->primary] || !front_is_served_by_a(c))
                        continue;
                const struct instance_server *a = front_server_at(f, c->primary);
                bool is_late =
                        f->server[c->primary].leave_by_ns == 0 || now_ns >= f->server[c->primary].leave_by_ns;
                bool is_planned = !(a->flags & INSTANCE_SERVER_DEAD) && !is_late;
                f->server[c->primary].woken += front_wake_one(f, &flow, c, is_planned, &sending);
        }
        (void)front_sending_flush(&sending);
        if (!f->wake.is_on)
                front_wake_end(f);
}

static void front_flag(struct instance_front *f, unsigned server, uint32_t set, uint32_t clear)
{
        struct instance_server *s = front_server_at(f, server);
        __atomic_store_n(&s->flags, (s->flags & ~clear) | set, __ATOMIC_RELEASE);
}

void instance_front_dead(struct instance_front *f, unsigned server, int64_t now_ns)
{
        if (server >= INSTANCE_SERVERS_MAX || !f->server[server].is_set)
                return;
        front_flag(f, server, INSTANCE_SERVER_DEAD, 0);
        f->server[server].told_ns = now_ns;
        f->server[server].leave_by_ns = 0;
        f->server[server].is_wanted = true;
}

void instance_front_leave(struct instance_front *f, unsigned server, int64_t patience_ns, int64_t now_ns)
{
        if (server >= INSTANCE_SERVERS_MAX || !f->server[server].is_set)
                return;
        struct instance_server *s = front_server_at(f, server);
        struct front_server *is = &f->server[server];
        uint32_t by = front_tick(now_ns + patience_ns);
        s->leave_by = by ? by : 1; /* 0 is "never" */
        is->told_ns = now_ns;
        is->leave_by_ns = now_ns + patience_ns;
        is->is_wanted = true;
        front_flag(f, server, INSTANCE_SERVER_LEAVING, 0);
}

void instance_front_back(struct instance_front *f, unsigned server)
{
        if (server >= INSTANCE_SERVERS_MAX || !f->server[server].is_set)
                return;
        f->server[server].is_wanted = false;
        f->server[server].leave_by_ns = 0;
        front_flag(f, server, 0, INSTANCE_SERVER_DEAD | INSTANCE_SERVER_LEAVING);
}

void instance_front_unfit(struct instance_front *f, unsigned server, bool is_unfit)
{
        if (server >= INSTANCE_SERVERS_MAX || !f->server[server].is_set)
                return;
        front_flag(f, server, is_unfit ? INSTANCE_SERVER_UNFIT : 0, is_unfit ? 0 : INSTANCE_SERVER_UNFIT);
}

/* -------------------------------------------------------------------------------- orders */

static void front_orders_flag(struct instance_front *f, unsigned vip, int change)
{
        struct front_vip *v = &f->vip[vip];
        bool had = v->orders > 0;
        v->orders = (unsigned)((int)v->orders + change);
        if (had == (v->orders > 0))
                return;
        v->value.flags ^= INSTANCE_VIP_HAS_ORDERS;
        (void)front_vip_write(f, v, NULL);
}

static int front_order_put(struct instance_front *f, const struct instance_flow *flow, uint32_t order,
                           int64_t until_ns)
{
        unsigned i = 0;
        while (i < FRONT_ORDERS && f->order[i].until_ns != 0 &&
               memcmp(&f->order[i].flow, flow, sizeof(*flow)) != 0)
                i++;
        if (i == FRONT_ORDERS)
                return -ENOSPC;
        if (bpf_map_update_elem(f->orders.fd, flow, &order, BPF_ANY) < 0)
                return -errno;
        if (f->order[i].until_ns == 0) {
                f->n_orders++;
                front_orders_flag(f, flow->vip, 1);
        }
        f->order[i] = (struct front_order){.flow = *flow, .until_ns = until_ns};
        return 0;
}

static void front_orders_expire(struct instance_front *f, int64_t now_ns)
{
        for (unsigned i = 0; i < FRONT_ORDERS && f->n_orders; i++) {
                struct front_order *o = &f->order[i];
                if (o->until_ns == 0 || now_ns < o->until_ns)
                        continue;
                (void)bpf_map_delete_elem(f->orders.fd, &o->flow);
                f->n_orders--;
                o->until_ns = 0;
                front_orders_flag(f, o->flow.vip, -1);
        }
}

int instance_front_order(struct instance_front *f, const struct instance_flow *flow,
                         enum instance_order order, struct dog_err *e)
{
        struct front_sending *s;
        struct instance_conn c;
        struct instance_kick_way way;
        int fd;
        int rc = instance_front_conn_get(f, flow, &c);
        if (rc < 0 || !front_is_served_by_a(&c) || !front_way(f, flow, c.standby, &way, &fd))
                return dog_err_set(e, -ENOENT, "the connection is not protected, or has no standby any more");
        rc = front_order_put(f, flow, order, dog_clock_mono_ns() + FRONT_ORDER_NS);
        if (rc < 0)
                return dog_err_set(e, rc, "the order cannot be given: %s", strerror(-rc));
        if (order == INSTANCE_ORDER_EVICT)
                return 0;
        s = calloc(1, sizeof(*s));
        if (!s)
                return 0; /* its own next packet does as well */
        struct instance_kick k = instance_kick_of(&c);
        if (order == INSTANCE_ORDER_PROMOTE || k.is_settled) {
                front_sending_add(f, s, fd, &way, k.seq, k.ack, k.window);
                front_sending_add(f, s, fd, &way, k.nudge_seq, k.ack, k.window);
        }
        (void)front_sending_flush(s);
        free(s);
        return 0;
}

/* -------------------------------------------------------------------------------- hangs */

/* Does this connection's client have every byte of A, and room for more? Then A's silence may be a hang. */
static bool front_may_hang(const struct instance_front *f, const struct instance_conn *c, int64_t now_ns)
{
        if (c->primary >= INSTANCE_SERVERS_MAX || !f->in_hang[c->primary] || !front_is_served_by_a(c))
                return false;
        if (c->flags & (INSTANCE_CONN_LEAVING | INSTANCE_CONN_A_FIN) || c->c_ack != c->a_high ||
            (int32_t)(c->c_edge - c->c_ack) < CONN_ROOM)
                return false;
        /* Its kernel acknowledges up to 40 ms late. One that just did is asked the next time: a standby whose
         * answer does not count says it again only 200 ms later. */
        return front_ticks_ns(front_tick(now_ns) - c->seen) < CONN_ASKED_NS &&
               front_ticks_ns(front_tick(now_ns) - c->a_seen) > CONN_JUST_NS;
}

static void front_hang_step(struct instance_front *f, int64_t now_ns)
{
        static struct front_sending sending;
        unsigned table, n = front_walk_next(f, &f->hang, &table);
        sending.n = 0;
        for (unsigned i = 0; i < n; i++) {
                struct instance_flow flow;
                const struct instance_conn *c;
                struct instance_kick_way way;
                int fd;
                front_value(f, i, table, &flow, &c);
                if (!front_may_hang(f, c, now_ns) || !front_way(f, &flow, c->standby, &way, &fd))
                        continue;
                struct instance_kick k = instance_kick_of(c);
                front_sending_add(f, &sending, fd, &way, k.seq, k.ack, k.window);
        }
        (void)front_sending_flush(&sending);
        f->doubt_until_ns = now_ns + CONN_ASK_NS;
}

/* The moment is over: what a standby says from here on may just be faster than A. */
static void front_hang_end(struct instance_front *f, int64_t now_ns)
{
        if (f->doubt_until_ns == 0 || now_ns < f->doubt_until_ns || f->hang.is_on)
                return;
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++)
                if (f->in_hang[i])
                        front_flag(f, i, 0, INSTANCE_SERVER_DOUBTED);
        f->doubt_until_ns = 0;
}

/* Is it time to doubt this server? Looks at counters only. */
static bool front_doubt(struct instance_front *f, unsigned number, int64_t now_ns)
{
        struct front_server *s = &f->server[number];
        struct instance_server_stats stats;
        const struct instance_server *at = front_server_at(f, number);
        if (at->flags & (INSTANCE_SERVER_DEAD | INSTANCE_SERVER_LEAVING) ||
            instance_front_server_read(f, number, &stats) < 0)
                return false;
        /* A bare acknowledgement says nothing: the kernel of a hung process sends them too. */
        bool is_said = stats.bytes - s->bytes > (stats.packets - s->packets) * CONN_BARE_BYTES;
        s->bytes = stats.bytes;
        s->packets = stats.packets;
        if (is_said) {
                int64_t silent_ns = now_ns - s->said_ns;
                /* It was doubted and spoke by itself soon after: it thinks, or its clients do. */
                if (s->doubts > 0 && silent_ns < 2 * CONN_ASK_MOST && silent_ns > s->slow_ns)
                        s->slow_ns = silent_ns;
                else
                        s->slow_ns -= s->slow_ns / CONN_FORGIVE;
                s->said_ns = now_ns;
                s->doubts = 0;
                return false;
        }
        int64_t bar_ns = s->slow_ns * CONN_SLOWER;
        if (bar_ns < (int64_t)f->is.hang_ns)
                bar_ns = (int64_t)f->is.hang_ns;
        /* Asked again at twice the time, and so on: a kernel goes on sending what it was handed, so not every
         * connection of a hung process waits from the beginning. */
        if (s->said_ns == 0 || bar_ns > CONN_ASK_MOST || s->doubts == CONN_DOUBTS ||
            now_ns - s->said_ns < bar_ns << s->doubts)
                return false;
        s->doubts++;
        return true;
}

static void front_hang_look(struct instance_front *f, int64_t now_ns)
{
        bool any = false;
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                const struct front_server *s = &f->server[i];
                f->in_hang[i] = s->is_set && f->vip[s->is.vip].is.protect != INSTANCE_PROTECT_NEVER &&
                                front_doubt(f, i, now_ns);
                any |= f->in_hang[i];
                if (f->in_hang[i])
                        front_flag(f, i, INSTANCE_SERVER_DOUBTED, 0);
        }
        if (any)
                front_walk_begin(&f->hang);
}

/* ---------------------------------------------------------------------- ends, and counts */

static void front_count(struct instance_front *f, const struct instance_flow *flow,
                        const struct instance_conn *c)
{
        if (flow->vip >= INSTANCE_VIPS_MAX || c->flags & INSTANCE_CONN_CLOSED)
                return;
        struct front_count *count = &f->counting[flow->vip];
        if (!front_is_served_by_a(c)) {
                count->alone_now++;
                return;
        }
        uint32_t lag = c->a_high - c->b_high, bits = 0;
        for (lag = (int32_t)lag < 0 ? 0 : lag; lag; lag >>= 1)
                bits++;
        count->protected_now++;
        count->lag_bytes[bits < ARRAY_SIZE(count->lag_bytes) ? bits : ARRAY_SIZE(count->lag_bytes) - 1]++;
}

static bool front_is_over(const struct instance_front *f, const struct instance_conn *c, int64_t now_ns)
{
        int64_t quiet_ns = front_ticks_ns(front_tick(now_ns) - c->seen);
        bool in_order =
                c->flags & INSTANCE_CONN_C_FIN && c->flags & (INSTANCE_CONN_A_FIN | INSTANCE_CONN_B_FIN);
        /* A packet that came between the look-up and the clock is newer than now. */
        if ((int32_t)(front_tick(now_ns) - c->seen) < 0)
                return false;
        if (c->flags & INSTANCE_CONN_CLOSED)
                return quiet_ns > (in_order ? CONN_CLOSED_NS : CONN_RESET_NS);
        return (uint64_t)quiet_ns > f->is.idle_ns;
}

static void front_forget(struct instance_front *f, const uint8_t *key, unsigned table, unsigned vip,
                         int64_t now_ns)
{
        struct instance_conn c;
        if (bpf_map_lookup_and_delete_elem_flags(f->conns[table].fd, key, &c, BPF_F_LOCK) < 0)
                return;
        /* A new connection of the same ports began in between: it goes on. */
        if (!front_is_over(f, &c, now_ns)) {
                (void)bpf_map_update_elem(f->conns[table].fd, key, &c, BPF_NOEXIST | BPF_F_LOCK);
                return;
        }
        if (c.flags & INSTANCE_CONN_COUNTED && vip < INSTANCE_VIPS_MAX && f->live.memory)
                __atomic_fetch_sub((uint32_t *)dog_map_at(&f->live, vip), 1, __ATOMIC_RELAXED);
}

static void front_scan_step(struct instance_front *f, int64_t now_ns)
{
        unsigned table, n = front_walk_next(f, &f->scan, &table);
        for (unsigned i = 0; i < n; i++) {
                struct instance_flow flow;
                const struct instance_conn *c;
                front_value(f, i, table, &flow, &c);
                if (front_is_over(f, c, now_ns))
                        front_forget(f, f->keys + i * front_key_size(table), table, flow.vip, now_ns);
                else
                        front_count(f, &flow, c);
        }
        if (f->scan.is_on)
                return;
        memcpy(f->count, f->counting, sizeof(f->count));
        memset(f->counting, 0, sizeof(f->counting));
}

/* -------------------------------------------------------------------------------- timer */

/* Those that leave and were not through in time. */
static void front_leave_look(struct instance_front *f, int64_t now_ns)
{
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                struct front_server *s = &f->server[i];
                if (!s->is_set || s->leave_by_ns == 0 || now_ns < s->leave_by_ns || s->is_wanted)
                        continue;
                s->leave_by_ns = 0;
                s->is_wanted = true;
        }
}

int64_t instance_front_on_timer(struct instance_front *f, int64_t now_ns)
{
        /* 1. Clients wait: before anything else. */
        if (!f->wake.is_on && front_wake_wanted(f))
                front_wake_begin(f);
        if (f->wake.is_on)
                front_wake_step(f, now_ns);
        if (f->wake.is_on || front_wake_wanted(f))
                return now_ns;
        /* 2. Who may be hanging? */
        front_orders_expire(f, now_ns);
        if (f->hang.is_on)
                front_hang_step(f, now_ns);
        front_hang_end(f, now_ns);
        if (now_ns >= f->hang_due_ns) {
                f->hang_due_ns = now_ns + CONN_SCAN_NS;
                front_leave_look(f, now_ns);
                if (!f->hang.is_on && f->doubt_until_ns == 0)
                        front_hang_look(f, now_ns);
        }
        /* 3. The round: a batch at a time, the whole once a second if it takes no longer. */
        if (!f->scan.is_on && now_ns >= f->scan_due_ns) {
                f->scan_due_ns = now_ns + CONN_ROUND_NS;
                front_walk_begin(&f->scan);
        }
        if (f->scan.is_on)
                front_scan_step(f, now_ns);
        return f->hang.is_on || front_wake_wanted(f) ? now_ns
                                                     : now_ns + (f->scan.is_on ? DOG_MS : CONN_SCAN_NS);
}

/* -------------------------------------------------------------------------------- events */

static int front_event(void *user, void *data, size_t size)
{
        struct instance_front *f = user;
        if (size >= sizeof(struct instance_event) && f->is.event)
                f->is.event(f->is.user, data);
        return 0;
}

int front_conn_init(struct instance_front *f, struct dog_err *e)
{
        f->keys = calloc(FRONT_BATCH, sizeof(struct instance_flow));
        f->values = calloc(FRONT_BATCH, sizeof(*f->values));
        f->frame = calloc((size_t)FRONT_BATCH * 2, sizeof(*f->frame));
        if (!f->keys || !f->values || !f->frame)
                return dog_err_set(e, -ENOMEM, "out of memory");
        f->ring = ring_buffer__new(f->events.fd, front_event, f, NULL);
        if (!f->ring)
                return dog_err_set(e, -errno, "the ring of events cannot be read: %s", strerror(errno));
        return 0;
}

void front_conn_fini(struct instance_front *f)
{
        ring_buffer__free(f->ring);
        free(f->keys);
        free(f->values);
        free(f->frame);
}

int instance_front_fd(const struct instance_front *f)
{
        return ring_buffer__epoll_fd(f->ring);
}

void instance_front_on_readable(struct instance_front *f, int64_t now_ns)
{
        (void)now_ns;
        (void)ring_buffer__consume(f->ring);
}

/* -------------------------------------------------------------------------- single ones */

int instance_front_conns(struct instance_front *f,
                         bool (*visit)(void *user, const struct instance_flow *flow,
                                       const struct instance_conn *c),
                         void *user)
{
        struct front_walk walk;
        front_walk_begin(&walk);
        while (walk.is_on) {
                unsigned table, n = front_walk_next(f, &walk, &table);
                for (unsigned i = 0; i < n; i++) {
                        struct instance_flow flow;
                        const struct instance_conn *c;
                        front_value(f, i, table, &flow, &c);
                        if (!visit(user, &flow, c))
                                return 0;
                }
        }
        return 0;
}

int instance_front_conn_get(struct instance_front *f, const struct instance_flow *flow,
                            struct instance_conn *to)
{
        uint8_t key[sizeof(*flow)];
        unsigned table = front_key_of(key, flow);
        return bpf_map_lookup_elem_flags(f->conns[table].fd, key, to, BPF_F_LOCK) < 0 ? -errno : 0;
}

int instance_front_conn_put(struct instance_front *f, const struct instance_flow *flow,
                            const struct instance_conn *c, bool is_theirs)
{
        uint8_t key[sizeof(*flow)];
        struct instance_conn now, put = *c;
        unsigned table = front_key_of(key, flow);
        bool is_there = bpf_map_lookup_elem_flags(f->conns[table].fd, key, &now, BPF_F_LOCK) == 0;
        /* What we have seen with our own eyes is newer than what was told, unless it has ended. */
        if (is_there && !is_theirs && !(now.flags & (INSTANCE_CONN_PEER | INSTANCE_CONN_CLOSED)))
                return -EEXIST;
        if (is_there && now.flags & INSTANCE_CONN_COUNTED && flow->vip < INSTANCE_VIPS_MAX && f->live.memory)
                __atomic_fetch_sub((uint32_t *)dog_map_at(&f->live, flow->vip), 1, __ATOMIC_RELAXED);
        put.flags = (uint16_t)((put.flags & ~INSTANCE_CONN_COUNTED) | INSTANCE_CONN_PEER);
        /* Ticks are this machine's own clock. */
        put.seen = put.a_seen = front_tick(dog_clock_mono_ns());
        put.lag_since = 0;
        return bpf_map_update_elem(f->conns[table].fd, key, &put,
                                   (is_there ? BPF_EXIST : BPF_NOEXIST) | BPF_F_LOCK) < 0
                       ? -errno
                       : 0;
}

void instance_front_conn_forget(struct instance_front *f, const struct instance_flow *flow)
{
        uint8_t key[sizeof(*flow)];
        struct instance_conn c;
        unsigned table = front_key_of(key, flow);
        if (instance_front_conn_get(f, flow, &c) == 0 && c.flags & INSTANCE_CONN_PEER)
                (void)bpf_map_delete_elem(f->conns[table].fd, key);
}
