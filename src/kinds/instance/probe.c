#include "kinds/instance/probe.h"

#include "base/array.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "hands/netlink.h"
#include "hands/policy.h"
#include "kinds/instance/instance_abi.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBE_SOCKETS   32
#define PROBE_FLYING    16 /* echoes of one server that may be under way: a power of two */
#define PROBE_MOST      2000
#define PROBE_SILENT_NS DOG_S /* so long without any answer to an echo: ICMP is not answered there */
#define PROBE_RETRY_NS  DOG_S /* a socket that could not be opened is tried again */
#define PROBE_ECHO      24    /* bytes: header, cookie, server, number */
/* Ports that TCP checks come from, so that the data plane knows the answers from those to clients. */
#define PROBE_PORT_LOW  INSTANCE_CHECK_PORT_LOW
#define PROBE_PORT_HIGH INSTANCE_CHECK_PORT_HIGH

struct probe_flight {
        uint16_t number;
        bool is_open; /* sent, neither answered nor missed */
        int64_t sent_ns;
};

struct probe_server {
        bool is_set, is_known, is_up, has_carrier, is_tcp;
        char device[DOG_HANDS_NAME];
        struct dog_hands_address address;
        uint16_t port;
        enum instance_probe_how how;
        uint32_t index; /* of the device; 0: not there */
        int socket;     /* place in p->socket; -1: none */
        int check;      /* descriptor of the TCP check under way, 0: none */
        uint16_t number;
        struct probe_flight flight[PROBE_FLYING];
        unsigned misses, goods;
        int64_t begun_ns, due_ns, check_sent_ns, retry_ns;
        double rtt_ms, vary_ms, last_ms;
        uint64_t sent, answered;
        /* Of the sample that is being made. */
        int64_t sample_ns;
        unsigned n_sent, n_missed, n_rtt, n_jitter;
        double sum_rtt, sum_jitter;
};

struct probe_socket {
        int fd; /* 0: free */
        uint32_t index;
        uint8_t version;
        bool is_raw;
        unsigned users;
};

struct instance_probe {
        struct dog_hands_client *hands;
        struct instance_probe_settings is;
        uint64_t cookie; /* ours among all who ping */
        uint16_t id, next_port;
        struct probe_socket socket[PROBE_SOCKETS];
        struct probe_server server[INSTANCE_SERVERS_MAX];
};

int instance_probe_open(struct instance_probe **out, const struct instance_probe_settings *settings,
                        struct dog_hands_client *hands, struct dog_err *e)
{
        if (!settings->change || !settings->watch)
                return dog_err_set(e, -EINVAL, "probes: somebody must listen");
        struct instance_probe *p = calloc(1, sizeof(*p));
        if (!p)
                return dog_err_set(e, -ENOMEM, "probes: out of memory");
        p->hands = hands;
        p->is = *settings;
        if (p->is.interval_ns == 0)
                p->is.interval_ns = 5 * DOG_MS;
        if (p->is.check_interval_ns == 0)
                p->is.check_interval_ns = 100 * DOG_MS;
        if (p->is.sample_ns == 0)
                p->is.sample_ns = 100 * DOG_MS;
        if (p->is.misses == 0)
                p->is.misses = 3;
        if (p->is.goods == 0)
                p->is.goods = 10;
        if (p->is.misses >= PROBE_FLYING || p->is.interval_ns < DOG_MS || p->is.check_interval_ns < DOG_MS) {
                free(p);
                return dog_err_set(e, -EINVAL, "probes: at most %d misses, and a millisecond between two",
                                   PROBE_FLYING - 1);
        }
        if (getrandom(&p->cookie, sizeof(p->cookie), 0) != sizeof(p->cookie))
                p->cookie = (uint64_t)dog_clock_wall_ns() * 0x9e3779b97f4a7c15u;
        p->id = (uint16_t)p->cookie;
        p->next_port = PROBE_PORT_LOW;
        *out = p;
        return 0;
}

/* ------------------------------------------------------------------------------- sockets */

static void probe_socket_put(struct instance_probe *p, int at)
{
        if (at < 0 || --p->socket[at].users > 0)
                return;
        p->is.watch(p->is.user, p->socket[at].fd, false);
        close(p->socket[at].fd);
        p->socket[at] = (struct probe_socket){0};
}

static int probe_socket_get(struct instance_probe *p, const char *device, uint32_t index, uint8_t version,
                            struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_SOCKET_PING);
        struct dog_hands_reply r;
        int at = -1, fd;
        for (int i = 0; i < PROBE_SOCKETS; i++) {
                struct probe_socket *s = &p->socket[i];
                if (s->fd > 0 && s->index == index && s->version == version) {
                        s->users++;
                        return i;
                }
                if (s->fd <= 0 && at < 0)
                        at = i;
        }
        if (at < 0)
                return dog_err_set(e, -ENOSPC, "device %s: servers are asked on more than %d devices", device,
                                   PROBE_SOCKETS);
        int rc = dog_hands_name_set(q.as.ping.device, device, e);
        q.as.ping.version = version;
        if (rc == 0)
                rc = dog_hands_call(p->hands, &q, &r, &fd, e);
        if (rc < 0)
                return rc;
        /* When an answer came, not when a busy owner found the time to read it. */
        (void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
        p->socket[at] = (struct probe_socket){
                .fd = fd, .index = index, .version = version, .is_raw = r.as.ping.is_raw, .users = 1};
        p->is.watch(p->is.user, fd, true);
        return at;
}

static void probe_check_close(struct instance_probe *p, struct probe_server *s)
{
        /* No farewell and no TIME-WAIT: a reset. */
        struct linger now = {.l_onoff = 1};
        if (s->check <= 0)
                return;
        p->is.watch(p->is.user, s->check, false);
        (void)setsockopt(s->check, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close(s->check);
        s->check = 0;
}

static socklen_t probe_name(struct sockaddr_in6 *to, const struct dog_hands_address *a, uint16_t port)
{
        struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
        memset(to, 0, sizeof(*to));
        if (a->version == 4) {
                memcpy(&four.sin_addr, a->bytes, 4);
                memcpy(to, &four, sizeof(four));
                return sizeof(four);
        }
        to->sin6_family = AF_INET6;
        to->sin6_port = htons(port);
        memcpy(&to->sin6_addr, a->bytes, 16);
        return sizeof(*to);
}

/* The device may be away for now: asked again every second. */
static int probe_attach(struct instance_probe *p, struct probe_server *s, int64_t now_ns, struct dog_err *e)
{
        struct dog_link link;
        s->retry_ns = now_ns + PROBE_RETRY_NS;
        int rc = dog_link_get(&link, s->device, e);
        s->index = rc < 0 ? 0 : link.index;
        s->has_carrier = rc == 0 && link.is_up;
        if (rc == 0)
                rc = probe_socket_get(p, s->device, link.index, s->address.version, e);
        if (rc >= 0)
                s->socket = rc;
        return rc < 0 ? rc : 0;
}

int instance_probe_add(struct instance_probe *p, unsigned number, const char *device,
                       const struct dog_hands_address *address, uint16_t port, enum instance_probe_how how,
                       struct dog_err *e)
{
        if (number >= INSTANCE_SERVERS_MAX || address->version == 0)
                return dog_err_set(e, -EINVAL, "probes: server %u has no address", number);
        if (how == INSTANCE_PROBE_TCP && port == 0)
                return dog_err_set(e, -EINVAL, "probes: TCP needs a port");
        struct probe_server fresh = {
                .is_set = true, .socket = -1, .how = how, .port = port, .address = *address};
        int64_t now_ns = dog_clock_mono_ns();
        int rc = dog_hands_name_set(fresh.device, device, e);
        if (rc < 0)
                return rc;
        instance_probe_remove(p, number);
        struct probe_server *s = &p->server[number];
        *s = fresh;
        s->is_tcp = how == INSTANCE_PROBE_TCP;
        s->rtt_ms = (double)NAN;
        s->last_ms = (double)NAN;
        s->begun_ns = s->due_ns = s->sample_ns = now_ns;
        rc = probe_attach(p, s, now_ns, e);
        if (rc < 0 && rc != -ENODEV)
                instance_probe_remove(p, number);
        return rc == -ENODEV ? 0 : rc;
}

void instance_probe_remove(struct instance_probe *p, unsigned number)
{
        if (number >= INSTANCE_SERVERS_MAX || !p->server[number].is_set)
                return;
        struct probe_server *s = &p->server[number];
        probe_check_close(p, s);
        probe_socket_put(p, s->socket);
        *s = (struct probe_server){.socket = -1};
}

void instance_probe_close(struct instance_probe *p)
{
        if (!p)
                return;
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++)
                instance_probe_remove(p, i);
        free(p);
}

/* ------------------------------------------------------------------------------- verdicts */

static void probe_say(struct instance_probe *p, unsigned number, bool is_up, enum instance_probe_why why,
                      int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        if (s->is_known && s->is_up == is_up)
                return;
        s->is_known = true;
        s->is_up = is_up;
        s->goods = s->misses = 0;
        p->is.change(p->is.user, number, is_up, why, now_ns);
}

static void probe_good(struct instance_probe *p, unsigned number, double rtt_ms, int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        s->answered++;
        s->misses = 0;
        s->goods++;
        /* RFC 6298, 2.2 and 2.3 */
        if (isnan(s->rtt_ms)) {
                s->rtt_ms = rtt_ms;
                s->vary_ms = rtt_ms / 2;
        } else {
                s->vary_ms += (fabs(s->rtt_ms - rtt_ms) - s->vary_ms) / 4;
                s->rtt_ms += (rtt_ms - s->rtt_ms) / 8;
        }
        s->sum_rtt += rtt_ms;
        s->n_rtt++;
        if (!isnan(s->last_ms)) {
                s->sum_jitter += fabs(rtt_ms - s->last_ms);
                s->n_jitter++;
        }
        s->last_ms = rtt_ms;
        /* One that was never down is up with its first word; one that was must be steady. */
        if (s->has_carrier && (!s->is_known || (!s->is_up && s->goods >= p->is.goods)))
                probe_say(p, number, true, INSTANCE_PROBE_ANSWERS, now_ns);
}

/* An answer may take so long: what this server's answers take (RFC 6298, 2.3), at least half the interval
 * (a whole one as long as nothing is known of it), and for a connection its own slower interval. */
static int64_t probe_patience(const struct instance_probe *p, const struct probe_server *s)
{
        bool is_known = !isnan(s->rtt_ms);
        int64_t usual_ns = is_known ? (int64_t)((s->rtt_ms + 4 * s->vary_ms) * (double)DOG_MS) : 0;
        int64_t patience_ns = s->is_tcp  ? p->is.check_interval_ns
                              : is_known ? p->is.interval_ns / 2
                                         : p->is.interval_ns;
        return usual_ns > patience_ns ? usual_ns : patience_ns;
}

/*
 * Does another living server owe an answer, too? Then this host is more likely late than both are dead: where
 * softirqs wait for a busy processor, all of them fall silent at once.
 */
static bool probe_in_company(const struct instance_probe *p, unsigned number, int64_t now_ns)
{
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                const struct probe_server *s = &p->server[i];
                if (i == number || !s->is_set || s->is_tcp || !s->is_up || s->socket < 0)
                        continue;
                if (s->misses > 0)
                        return true;
                for (unsigned k = 0; k < PROBE_FLYING; k++)
                        if (s->flight[k].is_open && now_ns - s->flight[k].sent_ns > probe_patience(p, s))
                                return true;
        }
        return false;
}

static void probe_missed(struct instance_probe *p, unsigned number, int64_t sent_ns, int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        s->n_missed++;
        s->goods = 0;
        /* It spoke after it was asked: whatever became of the echo, it lives. */
        if (p->is.heard_ns && p->is.heard_ns(p->is.user, number) > sent_ns) {
                s->misses = 0;
                return;
        }
        if (++s->misses >= 2 * p->is.misses ||
            (s->misses >= p->is.misses && !probe_in_company(p, number, now_ns)))
                probe_say(p, number, false, INSTANCE_PROBE_SILENT, now_ns);
}

static void probe_sample(struct instance_probe *p, unsigned number, int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        if (now_ns - s->sample_ns < p->is.sample_ns)
                return;
        struct dog_sample sample = dog_sample_at(s->sample_ns);
        unsigned judged = s->n_rtt + s->n_missed;
        if (s->n_rtt > 0)
                sample.value[DOG_SIGNAL_RTT] = s->sum_rtt / s->n_rtt;
        if (s->n_jitter > 0)
                sample.value[DOG_SIGNAL_JITTER] = s->sum_jitter / s->n_jitter;
        if (judged > 0)
                sample.value[DOG_SIGNAL_LOSS] = (double)s->n_missed / judged;
        if (p->is.sample && judged > 0)
                p->is.sample(p->is.user, number, &sample);
        s->sample_ns = now_ns;
        s->n_sent = s->n_missed = s->n_rtt = s->n_jitter = 0;
        s->sum_rtt = s->sum_jitter = 0;
}

/* ------------------------------------------------------------------------------- ICMP */

static uint16_t probe_checksum(const uint8_t *bytes, size_t n)
{
        uint32_t sum = 0;
        for (size_t i = 0; i + 1 < n; i += 2)
                sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)~sum;
}

static void probe_echo_send(struct instance_probe *p, unsigned number, int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        const struct probe_socket *via = &p->socket[s->socket];
        struct sockaddr_in6 to;
        uint8_t echo[PROBE_ECHO];
        struct dog_bytes b = dog_bytes_of(echo, sizeof(echo));
        uint16_t seq = ++s->number;
        dog_write_u16(&b, via->version == 4 ? 0x0800 : 0x8000); /* type 8, or 128 of ICMPv6; code 0 */
        dog_write_u16(&b, 0);
        dog_write_u16(&b, p->id); /* a ping socket puts its own here, and both checksums in order */
        dog_write_u16(&b, seq);
        dog_write_u64(&b, p->cookie);
        dog_write_u32(&b, number);
        dog_write_u32(&b, seq);
        struct dog_bytes sum = dog_bytes_of(echo + 2, 2);
        dog_write_u16(&sum, via->version == 4 ? probe_checksum(echo, sizeof(echo)) : 0);
        socklen_t size = probe_name(&to, &s->address, 0);
        ssize_t n = sendto(via->fd, echo, sizeof(echo), MSG_NOSIGNAL, (const void *)&to, size);
        /* No room is our own trouble; any other refusal is as good as silence. */
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == EINTR))
                return;
        s->flight[seq % PROBE_FLYING] =
                (struct probe_flight){.number = seq, .is_open = true, .sent_ns = now_ns};
        s->sent++;
        s->n_sent++;
}

static void probe_echo_read(struct instance_probe *p, const struct probe_socket *via, uint8_t *bytes,
                            size_t n, const struct sockaddr_in6 *from, int64_t came_ns)
{
        struct dog_bytes b = dog_bytes_in(bytes, n);
        if (via->is_raw && via->version == 4)
                dog_read_skip(&b, n > 0 ? (bytes[0] & 15u) * 4u : 0);
        uint8_t type = dog_read_u8(&b), code = dog_read_u8(&b);
        dog_read_skip(&b, 6);
        uint64_t cookie = dog_read_u64(&b);
        uint32_t number = dog_read_u32(&b), seq = dog_read_u32(&b);
        if (b.failed || type != (via->version == 4 ? 0 : 129) || code != 0 || cookie != p->cookie ||
            number >= INSTANCE_SERVERS_MAX || !p->server[number].is_set)
                return;
        struct probe_server *s = &p->server[number];
        const struct sockaddr_in *four = (const void *)from;
        const void *is = via->version == 4 ? (const void *)&four->sin_addr : (const void *)&from->sin6_addr;
        if (memcmp(is, s->address.bytes, via->version == 4 ? 4 : 16) != 0)
                return;
        struct probe_flight *fl = &s->flight[seq % PROBE_FLYING];
        if (fl->number != (uint16_t)seq || fl->sent_ns == 0)
                return;
        /* One that was given up already still tells how long it took: so patience grows. */
        bool was_missed = !fl->is_open;
        double rtt_ms = (double)(came_ns > fl->sent_ns ? came_ns - fl->sent_ns : 0) / (double)DOG_MS;
        fl->is_open = false;
        fl->sent_ns = 0;
        if (was_missed && s->n_missed > 0)
                s->n_missed--;
        probe_good(p, number, rtt_ms, came_ns);
}

/* Arrival by the monotonic clock; now, if the kernel has not said. */
static int64_t probe_arrived_ns(struct msghdr *m)
{
        int64_t now_ns = dog_clock_mono_ns(), ago_ns = 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
                        struct timespec at;
                        memcpy(&at, CMSG_DATA(c), sizeof(at));
                        ago_ns = dog_clock_wall_ns() - ((int64_t)at.tv_sec * DOG_S + at.tv_nsec);
                }
        /* The wall clock may have been set in between. */
        return ago_ns > 0 && ago_ns < DOG_S ? now_ns - ago_ns : now_ns;
}

static void probe_drain(struct instance_probe *p, const struct probe_socket *via)
{
        uint8_t bytes[256];
        struct sockaddr_in6 from;
        union {
                struct cmsghdr align;
                uint8_t bytes[CMSG_SPACE(sizeof(struct timespec))];
        } control;
        for (unsigned i = 0; i < 4096; i++) {
                struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
                struct msghdr m = {.msg_name = &from,
                                   .msg_namelen = sizeof(from),
                                   .msg_iov = &iov,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof(control)};
                memset(&from, 0, sizeof(from));
                ssize_t n = recvmsg(via->fd, &m, MSG_DONTWAIT);
                if (n < 0)
                        return; /* nothing more, or an error that the next echo tells again */
                probe_echo_read(p, via, bytes, (size_t)n, &from, probe_arrived_ns(&m));
        }
}

static void probe_echo_judge(struct instance_probe *p, unsigned number, int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        int64_t patience_ns = probe_patience(p, s);
        for (unsigned back = PROBE_FLYING - 1; back < PROBE_FLYING; back--) {
                struct probe_flight *fl = &s->flight[(uint16_t)(s->number - back) % PROBE_FLYING];
                if (!fl->is_open || now_ns - fl->sent_ns < patience_ns)
                        continue;
                fl->is_open = false;
                probe_missed(p, number, fl->sent_ns, now_ns);
        }
        if (s->how == INSTANCE_PROBE_AUTO && s->answered == 0 && s->port != 0 &&
            now_ns - s->begun_ns > PROBE_SILENT_NS) {
                s->is_tcp = true;
                memset(s->flight, 0, sizeof(s->flight));
                dog_log(DOG_LOG_INFO, "probe server=%u event=tcp why=\"ICMP is not answered\"", number);
        }
}

/* When the echo that may be the last straw will have been waited for; all others can wait for the next
 * one to be sent. INT64_MAX: none. */
static int64_t probe_echo_judge_ns(const struct instance_probe *p, const struct probe_server *s)
{
        int64_t oldest_ns = INT64_MAX;
        if (s->is_tcp || s->socket < 0 || s->misses + 1 < p->is.misses || !s->is_up)
                return INT64_MAX;
        for (unsigned i = 0; i < PROBE_FLYING; i++)
                if (s->flight[i].is_open && s->flight[i].sent_ns < oldest_ns)
                        oldest_ns = s->flight[i].sent_ns;
        return oldest_ns == INT64_MAX ? INT64_MAX : oldest_ns + probe_patience(p, s);
}

/* ------------------------------------------------------------------------------- TCP */

static int probe_check_socket(struct instance_probe *p, const struct probe_server *s)
{
        struct sockaddr_in6 name;
        struct dog_hands_address any = {.version = s->address.version};
        int fd = socket(s->address.version == 4 ? AF_INET : AF_INET6,
                        SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, s->device, (socklen_t)strlen(s->device));
        for (unsigned i = 0; i <= PROBE_PORT_HIGH - PROBE_PORT_LOW; i++) {
                socklen_t size = probe_name(&name, &any, p->next_port);
                p->next_port =
                        p->next_port == PROBE_PORT_HIGH ? PROBE_PORT_LOW : (uint16_t)(p->next_port + 1);
                if (bind(fd, (const void *)&name, size) == 0)
                        return fd;
        }
        close(fd);
        return -EADDRINUSE;
}

static void probe_check_send(struct instance_probe *p, unsigned number, int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        struct sockaddr_in6 to;
        int fd = probe_check_socket(p, s);
        if (fd < 0)
                return;
        socklen_t size = probe_name(&to, &s->address, s->port);
        int rc = connect(fd, (const void *)&to, size) < 0 ? -errno : 0;
        s->check = fd;
        s->check_sent_ns = now_ns;
        s->sent++;
        s->n_sent++;
        p->is.watch(p->is.user, fd, true);
        if (rc == 0 || rc == -EINPROGRESS)
                return;
        probe_check_close(p, s);
        probe_missed(p, number, now_ns, now_ns);
}

/* Has it answered? A refusal is an answer of the machine, but nobody serves there. */
static void probe_check_judge(struct instance_probe *p, unsigned number, int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        struct sockaddr_in6 peer;
        socklen_t peer_size = sizeof(peer), size = sizeof(int);
        int why = 0;
        if (s->check <= 0)
                return;
        if (getsockopt(s->check, SOL_SOCKET, SO_ERROR, &why, &size) < 0)
                why = errno;
        bool stands = why == 0 && getpeername(s->check, (void *)&peer, &peer_size) == 0;
        int64_t sent_ns = s->check_sent_ns;
        if (!stands && why == 0 && now_ns - sent_ns < probe_patience(p, s))
                return;
        probe_check_close(p, s);
        if (stands)
                probe_good(p, number, (double)(now_ns - sent_ns) / (double)DOG_MS, now_ns);
        else
                probe_missed(p, number, why ? now_ns : sent_ns, now_ns);
}

/* ------------------------------------------------------------------------------- owner */

void instance_probe_on_readable(struct instance_probe *p, int fd, int64_t now_ns)
{
        for (unsigned i = 0; i < PROBE_SOCKETS; i++)
                if (p->socket[i].fd == fd) {
                        probe_drain(p, &p->socket[i]);
                        return;
                }
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++)
                if (p->server[i].is_set && p->server[i].check == fd)
                        probe_check_judge(p, i, now_ns);
}

static void probe_tend(struct instance_probe *p, unsigned number, int64_t interval_ns, int64_t now_ns)
{
        struct probe_server *s = &p->server[number];
        if (s->socket < 0 && !s->is_tcp) {
                struct dog_err e = {0};
                if (now_ns >= s->retry_ns && probe_attach(p, s, now_ns, &e) < 0)
                        probe_say(p, number, false, INSTANCE_PROBE_NO_CARRIER, now_ns);
                s->due_ns = now_ns + interval_ns;
                return;
        }
        if (s->is_tcp) {
                probe_check_judge(p, number, now_ns);
                if (s->check <= 0)
                        probe_check_send(p, number, now_ns);
        } else {
                probe_echo_send(p, number, now_ns);
        }
        /* One that comes late asks once, not for each time it missed. */
        s->due_ns = s->due_ns + interval_ns > now_ns ? s->due_ns + interval_ns : now_ns + interval_ns;
        probe_sample(p, number, now_ns);
}

/* The interval, or a longer one that keeps all echoes, or all connections, within PROBE_MOST a second. */
static int64_t probe_spread(const struct instance_probe *p, int64_t interval_ns, bool is_tcp)
{
        int64_t n = 0;
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++)
                n += p->server[i].is_set && p->server[i].is_tcp == is_tcp;
        int64_t least_ns = n * DOG_S / PROBE_MOST;
        return interval_ns > least_ns ? interval_ns : least_ns;
}

int64_t instance_probe_on_timer(struct instance_probe *p, int64_t now_ns)
{
        int64_t next_ns = now_ns + 100 * DOG_MS;
        int64_t interval_ns = probe_spread(p, p->is.interval_ns, false);
        int64_t check_interval_ns = probe_spread(p, p->is.check_interval_ns, true);
        for (unsigned i = 0; i < PROBE_SOCKETS; i++)
                if (p->socket[i].fd > 0)
                        probe_drain(p, &p->socket[i]);
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                struct probe_server *s = &p->server[i];
                if (!s->is_set)
                        continue;
                if (!s->is_tcp && s->socket >= 0)
                        probe_echo_judge(p, i, now_ns);
                if (now_ns >= s->due_ns)
                        probe_tend(p, i, s->is_tcp ? check_interval_ns : interval_ns, now_ns);
                if (s->due_ns < next_ns)
                        next_ns = s->due_ns;
                int64_t judge_ns = probe_echo_judge_ns(p, s);
                if (judge_ns < next_ns)
                        next_ns = judge_ns;
        }
        return next_ns;
}

void instance_probe_on_link(struct instance_probe *p, uint32_t index, int64_t now_ns)
{
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                struct probe_server *s = &p->server[i];
                struct dog_link link = {0};
                if (!s->is_set)
                        continue;
                bool is_mine = s->index == index;
                if (!is_mine && s->index != 0)
                        continue;
                int rc = dog_link_get(&link, s->device, NULL);
                bool has = rc == 0 && link.is_up;
                /* Made anew under its name: the socket is still bound to the old one. */
                if (s->socket >= 0 && (rc < 0 || link.index != s->index)) {
                        probe_socket_put(p, s->socket);
                        s->socket = -1;
                        s->index = 0;
                        s->retry_ns = 0;
                }
                if (s->has_carrier == has)
                        continue;
                s->has_carrier = has;
                s->goods = 0;
                if (!has)
                        probe_say(p, i, false, INSTANCE_PROBE_NO_CARRIER, now_ns);
        }
}

struct instance_probe_view instance_probe_view(const struct instance_probe *p, unsigned number)
{
        struct instance_probe_view v = {.rtt_ms = (double)NAN};
        if (number >= INSTANCE_SERVERS_MAX || !p->server[number].is_set)
                return v;
        const struct probe_server *s = &p->server[number];
        return (struct instance_probe_view){.is_known = s->is_known,
                                            .is_up = s->is_up,
                                            .has_carrier = s->has_carrier,
                                            .is_tcp = s->is_tcp,
                                            .sent = s->sent,
                                            .answered = s->answered,
                                            .rtt_ms = s->rtt_ms};
}

const char *instance_probe_why_word(enum instance_probe_why why)
{
        static const char *const word[] = {
#define X(code, text) text,
                INSTANCE_PROBE_WHY(X)
#undef X
        };
        return (size_t)why < ARRAY_SIZE(word) ? word[why] : "unknown";
}
