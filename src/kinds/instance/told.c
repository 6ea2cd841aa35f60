/*
 * A gateway tells a client's host what it knows (I5): who serves an address, and how well. The host asks once
 * a second, page by page; nothing is kept of who asks but what protects from replays.
 *
 * Datagrams are those of agents (wire/agent.h): sealed with keys derived from one secret and the asking
 * site's name, a type REPORT to ask and ANSWER to tell. An answer is never longer than what it answers.
 *
 *   ask   version u8, page u16, zeros up to the longest answer
 *   tell  version u8, page u16, pages u16, count u8, and so many times:
 *         vip 32, instance 32 (padded with zeros), health u8 (0..100; 255: not known), state u8, weight u8
 */
#include "kinds/instance/service_inside.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
        TOLD_VERSION = 1,
        TOLD_HEAD = 6,
        TOLD_ENTRY = 67,
        TOLD_PAGE = 15,
        TOLD_HOSTS = 64,
        TOLD_UNKNOWN = 255
};
enum { TOLD_BODY = TOLD_HEAD + TOLD_PAGE * TOLD_ENTRY };
_Static_assert((int)TOLD_BODY <= (int)DOG_AGENT_BODY, "a page fits into a datagram");

#define TOLD_ASK_NS     (1 * DOG_S)
#define TOLD_SKEW_NS    (300 * DOG_S)
#define TOLD_SILENCE_NS (10 * DOG_S)
#define TOLD_BATCH      32 /* datagrams a call */

/* A host that has asked, with what was heard of it. */
struct told_host {
        char name[DOG_AGENT_NAME + 1];
        struct dog_agent_ear ear;
};

struct instance_told {
        struct instance_service *service;
        int fd;
        bool is_gateway;
        uint8_t secret[32];
        struct dog_agent_keys keys; /* of a host: its own */
        struct dog_agent_ear ear;   /* of a host: the gateway */
        uint64_t boot, seq;
        struct told_host host[TOLD_HOSTS];
        uint64_t refused;
        int64_t ask_ns;
        bool is_heard;
        int64_t heard_ns;
};

/* ---- the gateway ---- */

static uint8_t told_health(const struct machine *m, const struct dog_member *member)
{
        if (!m->has_answered)
                return TOLD_UNKNOWN;
        double health = member->is_usable ? (double)member->belief.health : 0;
        return (uint8_t)lround(fmin(100, fmax(0, health)));
}

static enum dog_agent_role told_state(const struct machine *m, const struct dog_group *g, unsigned k)
{
        return !g->member[k].is_usable                  ? DOG_AGENT_ROLE_DEAD
               : m->is_drained || (g->leaving >> k & 1) ? DOG_AGENT_ROLE_LEAVING
               : g->member[k].weight > 0                ? DOG_AGENT_ROLE_SERVING
                                                        : DOG_AGENT_ROLE_STANDBY;
}

static size_t told_page(const struct instance_service *s, unsigned page, uint8_t body[TOLD_BODY])
{
        unsigned all = 0;
        unsigned count = 0;
        memset(body, 0, TOLD_BODY);
        for (const struct address *a = s->vip; a < s->vip + s->vips; a++)
                for (unsigned k = 0; k < a->plan.seats; k++, all++) {
                        const struct machine *m = &s->machine[a->plan.seat[k].machine];
                        if (all / TOLD_PAGE != page)
                                continue;
                        uint8_t *at = body + TOLD_HEAD + TOLD_ENTRY * count++;
                        memcpy(at, a->group->name, strnlen(a->group->name, 32));
                        memcpy(at + 32, m->set.name, strnlen(m->set.name, 32));
                        at[64] = told_health(m, &a->group->member[k]);
                        at[65] = (uint8_t)told_state(m, a->group, k);
                        at[66] = a->group->member[k].weight;
                }
        unsigned pages = all ? (all + TOLD_PAGE - 1) / TOLD_PAGE : 1;
        body[0] = TOLD_VERSION;
        body[1] = (uint8_t)(page >> 8);
        body[2] = (uint8_t)page;
        body[3] = (uint8_t)(pages >> 8);
        body[4] = (uint8_t)pages;
        body[5] = (uint8_t)count;
        return TOLD_HEAD + (size_t)TOLD_ENTRY * count;
}

/* The place of a host, or of the one that was heard longest ago. Only called for a datagram whose tag is
 * right. */
static struct told_host *told_host_of(struct instance_told *t, const char *name)
{
        struct told_host *oldest = &t->host[0];
        for (unsigned i = 0; i < TOLD_HOSTS; i++) {
                if (strcmp(t->host[i].name, name) == 0)
                        return &t->host[i];
                if (t->host[i].ear.heard_ns < oldest->ear.heard_ns)
                        oldest = &t->host[i];
        }
        *oldest = (struct told_host){0};
        snprintf(oldest->name, sizeof(oldest->name), "%s", name);
        return oldest;
}

static size_t told_seal(struct instance_told *t, enum dog_agent_type type, const char *name,
                        const uint8_t *body, size_t size, const uint8_t key[DOG_AGENT_KEY],
                        uint8_t packet[DOG_AGENT_MOST])
{
        struct dog_agent_head head = {
                .type = type, .boot = t->boot, .seq = ++t->seq, .sent_wall_ns = dog_clock_wall_ns()};
        snprintf(head.name, sizeof(head.name), "%s", name);
        return dog_agent_seal(packet, &head, body, size, key);
}

static void told_answer(struct instance_told *t, const uint8_t *packet, size_t size,
                        const struct sockaddr *from, socklen_t from_size, int64_t now_ns)
{
        struct dog_agent_head head;
        struct dog_agent_keys keys;
        uint8_t body[DOG_AGENT_BODY];
        size_t body_size = 0;
        t->refused++;
        if (dog_agent_head_read(packet, size, &head) != DOG_AGENT_FINE || head.type != DOG_AGENT_REPORT ||
            !dog_agent_name_is_good(head.name))
                return;
        dog_agent_keys_derive(&keys, t->secret, head.name);
        bool is_ours =
                dog_agent_open(packet, size, keys.to_front, &head, body, &body_size) == DOG_AGENT_FINE &&
                body_size == TOLD_BODY && body[0] == TOLD_VERSION &&
                dog_agent_ear_take(&told_host_of(t, head.name)->ear, &head, now_ns, dog_clock_wall_ns(),
                                   TOLD_SKEW_NS, TOLD_SILENCE_NS) == DOG_AGENT_FINE;
        if (is_ours) {
                uint8_t page[TOLD_BODY];
                uint8_t reply[DOG_AGENT_MOST];
                size_t page_size = told_page(t->service, (unsigned)(body[1] << 8 | body[2]), page);
                size_t reply_size =
                        told_seal(t, DOG_AGENT_ANSWER, head.name, page, page_size, keys.to_agent, reply);
                t->refused--;
                sendto(t->fd, reply, reply_size, MSG_DONTWAIT, from, from_size);
        }
        sodium_memzero(&keys, sizeof(keys));
}

/* ---- the host ---- */

static void told_ask(struct instance_told *t, unsigned page)
{
        uint8_t body[TOLD_BODY] = {TOLD_VERSION, (uint8_t)(page >> 8), (uint8_t)page};
        uint8_t packet[DOG_AGENT_MOST];
        size_t size = told_seal(t, DOG_AGENT_REPORT, t->service->settings.site, body, sizeof(body),
                                t->keys.to_front, packet);
        send(t->fd, packet, size, MSG_DONTWAIT);
}

static void told_take_entry(struct instance_service *s, const uint8_t *at, int64_t now_ns)
{
        char name[33] = "";
        memcpy(name, at + 32, 32);
        int i = instance_service_machine_of(s, name);
        if (i < 0 || at[64] == TOLD_UNKNOWN || at[64] > 100)
                return;
        struct machine *m = &s->machine[i];
        /* A machine serves several vips: the worst word of this round counts. */
        double health = at[65] == DOG_AGENT_ROLE_DEAD ? 0 : at[64];
        bool is_of_this_round = m->told_ns && now_ns - m->told_ns < TOLD_ASK_NS / 2;
        m->told_health = is_of_this_round ? fmin(m->told_health, health) : health;
        m->told_ns = now_ns;
}

static void told_take(struct instance_told *t, const uint8_t *packet, size_t size, int64_t now_ns)
{
        struct instance_service *s = t->service;
        struct dog_agent_head head;
        uint8_t body[DOG_AGENT_BODY];
        size_t body_size = 0;
        t->refused++;
        if (dog_agent_head_read(packet, size, &head) != DOG_AGENT_FINE || head.type != DOG_AGENT_ANSWER ||
            dog_agent_open(packet, size, t->keys.to_agent, &head, body, &body_size) != DOG_AGENT_FINE ||
            dog_agent_ear_take(&t->ear, &head, now_ns, dog_clock_wall_ns(), TOLD_SKEW_NS, TOLD_SILENCE_NS) !=
                    DOG_AGENT_FINE ||
            body_size < TOLD_HEAD || body[0] != TOLD_VERSION || body[5] > TOLD_PAGE ||
            body_size != TOLD_HEAD + (size_t)TOLD_ENTRY * body[5])
                return;
        t->refused--;
        t->heard_ns = now_ns;
        if (!t->is_heard)
                service_tell(s, &(struct instance_news){.event = "gateway", .subject = s->settings.site},
                             "the gateway tells how the instances are");
        t->is_heard = true;
        for (unsigned i = 0; i < body[5]; i++)
                told_take_entry(s, body + TOLD_HEAD + (size_t)TOLD_ENTRY * i, now_ns);
        unsigned page = (unsigned)(body[1] << 8 | body[2]);
        if (page + 1 < (unsigned)(body[3] << 8 | body[4]))
                told_ask(t, page + 1);
}

/* ---- both ---- */

static int told_socket_gateway(struct instance_told *t, struct dog_err *e)
{
        struct dog_hands_request ask = dog_hands_request_of(DOG_HANDS_SOCKET_UDP);
        struct dog_hands_reply reply;
        ask.as.socket.address = (struct dog_hands_address){.version = 6, .prefix = 128};
        ask.as.socket.port = t->service->settings.tell_port;
        int rc = dog_hands_call(t->service->hands, &ask, &reply, &t->fd, NULL);
        if (rc < 0) {
                ask.as.socket.address = (struct dog_hands_address){.version = 4, .prefix = 32};
                rc = dog_hands_call(t->service->hands, &ask, &reply, &t->fd, e);
        }
        return rc < 0 ? dog_err_prefix(e, rc, "no socket for hosts that ask on port %u",
                                       t->service->settings.tell_port)
                      : 0;
}

static int told_socket_host(struct instance_told *t, struct dog_err *e)
{
        const struct dog_hands_address *a = &t->service->settings.told_by;
        struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(t->service->settings.tell_port)};
        struct sockaddr_in6 six = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(t->service->settings.tell_port)};
        memcpy(&four.sin_addr, a->bytes, sizeof(four.sin_addr));
        memcpy(&six.sin6_addr, a->bytes, sizeof(six.sin6_addr));
        bool is_six = a->version == 6;
        t->fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (t->fd < 0 || connect(t->fd, is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four,
                                 is_six ? sizeof(six) : sizeof(four)) < 0)
                return dog_err_set(e, -errno, "cannot ask the gateway that tells: %s", strerror(errno));
        return 0;
}

int told_open(struct instance_service *s, struct dog_err *e)
{
        if (!s->settings.tell_port || !s->settings.tell_secret)
                return 0;
        struct instance_told *t = calloc(1, sizeof(*t));
        if (!t)
                return dog_err_set(e, -ENOMEM, "out of memory");
        s->told = t;
        t->service = s;
        t->fd = -1;
        t->is_gateway = s->settings.told_by.version == 0;
        int rc = dog_hands_secret(s->hands, s->settings.tell_secret, t->secret, e);
        if (rc == 0 && getrandom(&t->boot, sizeof(t->boot), 0) != sizeof(t->boot))
                rc = dog_err_set(e, -EIO, "no random numbers");
        if (rc == 0 && !dog_agent_name_is_good(s->settings.site))
                rc = dog_err_set(e, -EINVAL, "the site's name \"%s\" cannot be told", s->settings.site);
        if (rc == 0)
                dog_agent_keys_derive(&t->keys, t->secret, s->settings.site);
        if (rc == 0)
                rc = t->is_gateway ? told_socket_gateway(t, e) : told_socket_host(t, e);
        if (rc == 0 && s->settings.watch)
                s->settings.watch(s->settings.user, t->fd, POLLIN);
        return rc;
}

void told_close(struct instance_service *s)
{
        struct instance_told *t = s->told;
        if (!t)
                return;
        if (t->fd >= 0) {
                if (s->settings.watch)
                        s->settings.watch(s->settings.user, t->fd, 0);
                close(t->fd);
        }
        sodium_memzero(t, sizeof(*t));
        free(t);
        s->told = NULL;
}

bool told_on_ready(struct instance_service *s, int fd, int64_t now_ns)
{
        struct instance_told *t = s->told;
        if (!t || fd != t->fd)
                return false;
        for (int i = 0; i < TOLD_BATCH; i++) {
                uint8_t packet[DOG_AGENT_MOST + 1];
                struct sockaddr_storage from;
                socklen_t from_size = sizeof(from);
                ssize_t size = recvfrom(t->fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&from,
                                        &from_size);
                if (size < 0)
                        break;
                if (t->is_gateway)
                        told_answer(t, packet, (size_t)size, (struct sockaddr *)&from, from_size, now_ns);
                else
                        told_take(t, packet, (size_t)size, now_ns);
        }
        return true;
}

int64_t told_on_timer(struct instance_service *s, int64_t now_ns)
{
        struct instance_told *t = s->told;
        if (!t || t->is_gateway)
                return INT64_MAX;
        if (now_ns >= t->ask_ns) {
                told_ask(t, 0);
                t->ask_ns = now_ns + TOLD_ASK_NS;
                if (t->is_heard && now_ns - t->heard_ns > 3 * TOLD_ASK_NS) {
                        t->is_heard = false;
                        service_tell(s,
                                     &(struct instance_news){.event = "gateway",
                                                             .subject = s->settings.site,
                                                             .is_warning = true},
                                     "the gateway says nothing any more: what this host sees itself counts");
                }
        }
        return t->ask_ns;
}
