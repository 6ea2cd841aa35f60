#include "lab/emu.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH        64  /* frames per system call */
#define ROUNDS       4   /* batches read from one port before the others get their turn */
#define CHUNK        256 /* packets allocated at once */
#define DOWN_LOOK_NS (200 * DOG_MS)
#define BUFFER_BYTES (256 << 20) /* a frame that XDP redirected weighs a page and more */

struct chunk {
        struct chunk *next;
        struct lab_packet packet[CHUNK];
        uint8_t frames[];
};

struct io {
        struct chunk *chunks;
        size_t packets; /* allocated, in flight or free */
        struct lab_packet *free;
        uint32_t frame_max;
        struct lab_packet *spare[BATCH]; /* what the next frames are read into */
        struct mmsghdr in[BATCH], out[BATCH];
        struct iovec in_vec[BATCH], out_vec[BATCH];
        uint8_t control[BATCH][CMSG_SPACE(sizeof(struct timespec))];
        int64_t wall_minus_mono_ns; /* time stamps are wall time */
};

/* ---- packets ---- */

static int pool_grow(struct lab_emu *m, struct io *io)
{
        if (io->packets >= m->packets_max)
                return -1;
        struct chunk *c = malloc(sizeof(*c) + (size_t)CHUNK * io->frame_max);
        if (!c)
                return -1;
        c->next = io->chunks;
        io->chunks = c;
        for (unsigned i = 0; i < CHUNK; i++) {
                c->packet[i].frame = c->frames + (size_t)i * io->frame_max;
                c->packet[i].next_free = io->free;
                io->free = &c->packet[i];
        }
        io->packets += CHUNK;
        return 0;
}

static struct lab_packet *packet_get(struct lab_emu *m, struct io *io)
{
        if (!io->free && pool_grow(m, io) < 0)
                return NULL;
        struct lab_packet *p = io->free;
        io->free = p->next_free;
        p->refs = 1;
        return p;
}

static void packet_put(void *owner, struct lab_packet *p)
{
        struct io *io = owner;
        if (--p->refs)
                return;
        p->next_free = io->free;
        io->free = p;
}

/* ---- set-up ---- */

int lab_emu_init(struct lab_emu *m, struct dog_err *e)
{
        memset(m, 0, sizeof(*m));
        m->seed = 1;
        m->packets_max = 131072;
        m->frame_max = 2048;
        m->next_change_ns = INT64_MAX;
        struct io *io = calloc(1, sizeof(*io));
        if (!io)
                return dog_err_set(e, -ENOMEM, "no memory for the emulator");
        m->io = io;
        /* The default slack of 50 us would add itself to every delay. */
        prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
        return 0;
}

static void link_free(struct lab_link *k)
{
        for (int i = 0; i < 2; i++) {
                if (k->port[i].fd >= 0)
                        close(k->port[i].fd);
                lab_line_free(k->way[i].line);
        }
        lab_trace_free(&k->trace);
        free(k);
}

void lab_emu_fini(struct lab_emu *m)
{
        struct io *io = m->io;
        for (size_t i = 0; i < m->links; i++)
                link_free(m->link[i]);
        while (io && io->chunks) {
                struct chunk *c = io->chunks;
                io->chunks = c->next;
                free(c);
        }
        free(io);
        memset(m, 0, sizeof(*m));
}

/* Sizes beyond the system's limits need CAP_NET_ADMIN, which a raw socket user usually has. */
static void buffer_size(int fd, int forced, int plain)
{
        int bytes = BUFFER_BYTES;
        if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof(bytes)) < 0)
                setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof(bytes));
}

static int port_open(struct lab_port *p, const char *ifname, struct dog_err *e)
{
        int on = 1;
        unsigned index = if_nametoindex(ifname);
        if (index == 0 || strlen(ifname) >= sizeof(p->ifname))
                return dog_err_set(e, -ENODEV, "there is no interface \"%s\" in this network namespace",
                                   ifname);
        memcpy(p->ifname, ifname, strlen(ifname) + 1);
        /* Protocol 0: hear nothing before the socket is bound to its one interface. */
        p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (p->fd < 0)
                return dog_err_set(e, -errno, "cannot open a packet socket on %s: %s; this needs CAP_NET_RAW",
                                   ifname, strerror(errno));
        buffer_size(p->fd, SO_RCVBUFFORCE, SO_RCVBUF);
        buffer_size(p->fd, SO_SNDBUFFORCE, SO_SNDBUF);
        if (setsockopt(p->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
            setsockopt(p->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0 ||
            setsockopt(p->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
                return dog_err_set(e, -errno, "cannot set up the packet socket on %s: %s", ifname,
                                   strerror(errno));
        struct sockaddr_ll to = {
                .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)index};
        if (bind(p->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
                return dog_err_set(e, -errno, "cannot bind to %s: %s", ifname, strerror(errno));
        return 0;
}

/* Every line has its own chance, which does not depend on how many others there are. */
static uint64_t way_seed(uint64_t seed, const char *name, int way)
{
        uint64_t h = 0xcbf29ce484222325U ^ seed;
        for (; *name; name++)
                h = (h ^ (uint8_t)*name) * 0x100000001b3U;
        return (h ^ (uint64_t)way) * 0x100000001b3U;
}

struct lab_link *lab_emu_link(struct lab_emu *m, const char *name)
{
        for (size_t i = 0; i < m->links; i++)
                if (strcmp(m->link[i]->name, name) == 0)
                        return m->link[i];
        return NULL;
}

int lab_emu_link_add(struct lab_emu *m, const char *name, const char *if_a, const char *if_b,
                     struct dog_err *e)
{
        if (m->links == LAB_LINKS)
                return dog_err_set(e, -ENOSPC, "link %s is one too many: at most %d", name, LAB_LINKS);
        if (lab_emu_link(m, name))
                return dog_err_set(e, -EEXIST, "there is already a link %s", name);
        struct lab_link *k = calloc(1, sizeof(*k));
        if (!k)
                return dog_err_set(e, -ENOMEM, "no memory for link %s", name);
        k->port[0].fd = k->port[1].fd = -1;
        int rc = 0;
        if (!name[0] || strlen(name) >= sizeof(k->name)) {
                rc = dog_err_set(e, -EINVAL, "\"%s\" is not a link name: 1 to %zu characters", name,
                                 sizeof(k->name) - 1);
                goto fail;
        }
        memcpy(k->name, name, strlen(name) + 1);
        for (int i = 0; i < 2; i++) {
                k->way[i].fixed = lab_line_defaults();
                k->way[i].line = lab_line_new(way_seed(m->seed, name, i), packet_put, m->io);
                if (!k->way[i].line) {
                        rc = dog_err_set(e, -ENOMEM, "no memory for link %s", name);
                        goto fail;
                }
        }
        rc = port_open(&k->port[0], if_a, e);
        if (rc >= 0)
                rc = port_open(&k->port[1], if_b, e);
        if (rc < 0) {
                dog_err_prefix(e, rc, "link %s", name);
                goto fail;
        }
        m->link[m->links++] = k;
        return 0;
fail:
        link_free(k);
        return rc;
}

/* ---- traces ---- */

static int64_t trace_length_ms(const struct lab_emu *m)
{
        int64_t longest = 0;
        for (size_t i = 0; i < m->links; i++)
                if (m->link[i]->trace.length_ms > longest)
                        longest = m->link[i]->trace.length_ms;
        return longest;
}

int64_t lab_emu_trace_ms(const struct lab_emu *m, int64_t now_ns)
{
        if (!m->is_playing)
                return m->paused_ms;
        int64_t t = (now_ns - m->trace_zero_ns) / DOG_MS;
        int64_t length = trace_length_ms(m);
        return m->loops && length > 0 ? t % length : t;
}

static void way_apply(struct lab_link *k, int i, int64_t t_ms, int64_t now_ns, int64_t *until_ms)
{
        struct lab_line_settings s = k->way[i].fixed;
        if (k->trace.paths) {
                struct lab_weather w = lab_trace_weather(&k->trace, k->path, k->split, i == 0, t_ms);
                s.delay_ns += (int64_t)(w.delay_ms * 1e6);
                s.loss = 1 - (1 - s.loss) * (1 - w.loss);
                if (!isnan(w.rate_kbps)) {
                        s.rate_bps = w.rate_kbps * 1e3;
                        s.is_stalled = w.rate_kbps <= 0;
                }
                if (w.until_ms < *until_ms)
                        *until_ms = w.until_ms;
        }
        lab_line_change(k->way[i].line, &s, now_ns);
}

void lab_emu_apply(struct lab_emu *m, int64_t now_ns)
{
        int64_t t_ms = lab_emu_trace_ms(m, now_ns);
        int64_t until_ms = INT64_MAX;
        for (size_t i = 0; i < m->links; i++)
                for (int w = 0; w < 2; w++)
                        way_apply(m->link[i], w, t_ms, now_ns, &until_ms);
        if (m->loops && m->is_playing && trace_length_ms(m) < until_ms)
                until_ms = trace_length_ms(m);
        m->next_change_ns = INT64_MAX;
        if (m->is_playing && until_ms < INT64_MAX / DOG_MS) {
                int64_t into_ms = (now_ns - m->trace_zero_ns) / DOG_MS;
                m->next_change_ns = m->trace_zero_ns + (into_ms - t_ms + until_ms) * DOG_MS;
        }
}

/* ---- frames in ---- */

static int64_t frame_time_ns(const struct io *io, struct msghdr *h, int64_t now_ns)
{
        for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS)
                        continue;
                struct timespec ts;
                memcpy(&ts, CMSG_DATA(c), sizeof(ts));
                int64_t at = ts.tv_sec * DOG_S + ts.tv_nsec - io->wall_minus_mono_ns;
                /* A step of the wall clock must not become a step of the delay. */
                return at <= now_ns && at > now_ns - DOG_S ? at : now_ns;
        }
        return now_ns;
}

static int spares_fill(struct lab_emu *m, struct io *io)
{
        for (int i = 0; i < BATCH; i++) {
                if (!io->spare[i] && !(io->spare[i] = packet_get(m, io)))
                        return -1;
                io->in_vec[i] = (struct iovec){io->spare[i]->frame, io->frame_max};
                io->in[i].msg_hdr = (struct msghdr){.msg_iov = &io->in_vec[i],
                                                    .msg_iovlen = 1,
                                                    .msg_control = io->control[i],
                                                    .msg_controllen = sizeof(io->control[i])};
        }
        return 0;
}

static void frame_in(struct lab_emu *m, struct io *io, struct lab_way *way, int i, int64_t now_ns)
{
        struct lab_packet *p = io->spare[i];
        struct lab_line_counts *c = lab_line_counts_of(way->line);
        p->bytes = io->in[i].msg_len;
        p->in_ns = frame_time_ns(io, &io->in[i].msg_hdr, now_ns);
        if (io->in[i].msg_hdr.msg_flags & MSG_TRUNC) {
                c->dropped[LAB_DROP_SIZE]++;
                return;
        }
        struct lab_packet *next = packet_get(m, io);
        if (!next) {
                c->dropped[LAB_DROP_POOL]++;
                return;
        }
        io->spare[i] = next;
        lab_line_offer(way->line, p);
}

/* Returns whether anything may be left to read. */
static bool port_read(struct lab_emu *m, struct lab_link *k, int side)
{
        struct io *io = m->io;
        if (spares_fill(m, io) < 0)
                return false;
        int n = recvmmsg(k->port[side].fd, io->in, BATCH, MSG_DONTWAIT, NULL);
        if (n >= 0 || errno == ENETDOWN)
                k->port[side].is_down = n < 0;
        int64_t now_ns = dog_clock_mono_ns();
        for (int i = 0; i < n; i++)
                frame_in(m, io, &k->way[side], i, now_ns);
        return n == BATCH;
}

/* ---- frames out ---- */

static void batch_send(struct io *io, struct lab_way *way, int fd, struct lab_packet **batch, int n)
{
        struct lab_line_counts *c = lab_line_counts_of(way->line);
        for (int i = 0; i < n; i++) {
                io->out_vec[i] = (struct iovec){batch[i]->frame, batch[i]->bytes};
                io->out[i].msg_hdr = (struct msghdr){.msg_iov = &io->out_vec[i], .msg_iovlen = 1};
        }
        for (int at = 0; at < n;) {
                int sent = sendmmsg(fd, io->out + at, (unsigned)(n - at), MSG_DONTWAIT);
                for (int i = at; i < at + sent; i++) {
                        c->out_packets++;
                        c->out_bytes += batch[i]->bytes;
                }
                if (sent <= 0)
                        c->dropped[LAB_DROP_SEND]++;
                at += sent > 0 ? sent : 1;
        }
        for (int i = 0; i < n; i++)
                packet_put(io, batch[i]);
}

/* Everything that is due on one line. */
static void way_flush(struct lab_emu *m, struct lab_way *way, int fd)
{
        struct lab_packet *batch[BATCH];
        int n = 0;
        do {
                int64_t now_ns = dog_clock_mono_ns();
                int64_t due_ns = 0;
                for (n = 0; n < BATCH; n++) {
                        batch[n] = lab_line_take(way->line, now_ns + m->lead_ns, &due_ns);
                        if (!batch[n])
                                break;
                        lab_hist_add(&way->late, now_ns - due_ns);
                        lab_hist_add(&way->delay, now_ns - batch[n]->in_ns);
                }
                batch_send(m->io, way, fd, batch, n);
        } while (n == BATCH);
}

static void emu_flush(struct lab_emu *m)
{
        for (size_t i = 0; i < m->links; i++)
                for (int w = 0; w < 2; w++)
                        way_flush(m, &m->link[i]->way[w], m->link[i]->port[!w].fd);
}

static int64_t emu_next_ns(const struct lab_emu *m)
{
        int64_t next = m->next_change_ns;
        int64_t look_ns = dog_clock_mono_ns() + DOWN_LOOK_NS;
        for (size_t i = 0; i < m->links; i++) {
                for (int w = 0; w < 2; w++) {
                        if (m->link[i]->port[w].is_down && look_ns < next)
                                next = look_ns;
                        int64_t due = lab_line_next_ns(m->link[i]->way[w].line);
                        if (due != INT64_MAX && due - m->lead_ns < next)
                                next = due - m->lead_ns;
                }
        }
        return next;
}

static int emu_sleep(struct lab_emu *m, struct pollfd *fds, nfds_t n, struct dog_err *e)
{
        struct timespec wait = {0};
        struct timespec *limit = NULL;
        int64_t next_ns = emu_next_ns(m);
        if (next_ns != INT64_MAX) {
                int64_t left_ns = next_ns - dog_clock_mono_ns();
                if (left_ns > 0)
                        wait = (struct timespec){left_ns / DOG_S, left_ns % DOG_S};
                limit = &wait;
        }
        sigset_t none;
        sigemptyset(&none);
        if (ppoll(fds, n, limit, &none) < 0 && errno != EINTR)
                return dog_err_set(e, -errno, "cannot wait for frames: %s", strerror(errno));
        return 0;
}

/*
 * An interface that is down may come up again; one that is gone never does, nor does its namespace. The
 * kernel tells of going down only, so those that are down are looked at again and again.
 */
static int ports_check(struct lab_emu *m, struct dog_err *e)
{
        for (size_t i = 0; i < m->links; i++) {
                for (int side = 0; side < 2; side++) {
                        struct lab_port *p = &m->link[i]->port[side];
                        if (!p->is_down)
                                continue;
                        if (if_nametoindex(p->ifname) == 0)
                                return dog_err_set(e, -ENODEV, "link %s: interface %s is gone",
                                                   m->link[i]->name, p->ifname);
                }
        }
        return 0;
}

int lab_emu_turn(struct lab_emu *m, int extra_fd, bool *extra_ready, struct dog_err *e)
{
        struct pollfd fds[2 * LAB_LINKS + 1];
        nfds_t n = 0;
        struct io *io = m->io;
        io->frame_max = io->frame_max ? io->frame_max : m->frame_max;
        for (size_t i = 0; i < m->links; i++)
                for (int side = 0; side < 2; side++)
                        fds[n++] = (struct pollfd){.fd = m->link[i]->port[side].fd, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = extra_fd, .events = POLLIN};
        int rc = emu_sleep(m, fds, n, e);
        if (rc < 0)
                return rc;
        int64_t now_ns = dog_clock_mono_ns();
        io->wall_minus_mono_ns = dog_clock_wall_ns() - now_ns;
        if (now_ns >= m->next_change_ns)
                lab_emu_apply(m, now_ns);
        bool more = true;
        for (int round = 0; round < ROUNDS && more; round++) {
                more = false;
                for (nfds_t f = 0; f + 1 < n; f++) {
                        if (!(fds[f].revents & (POLLIN | POLLERR)))
                                continue;
                        if (port_read(m, m->link[f / 2], (int)(f % 2)))
                                more = true;
                        else
                                fds[f].revents = 0;
                }
                emu_flush(m);
        }
        *extra_ready = fds[n - 1].revents != 0;
        return ports_check(m, e);
}

void lab_emu_missed_update(struct lab_emu *m)
{
        for (size_t i = 0; i < m->links; i++) {
                for (int side = 0; side < 2; side++) {
                        struct lab_port *p = &m->link[i]->port[side];
                        struct tpacket_stats s = {0};
                        socklen_t size = sizeof(s);
                        /* Reading resets the kernel's counter. */
                        if (getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &s, &size) == 0)
                                p->missed += s.tp_drops;
                }
        }
}
