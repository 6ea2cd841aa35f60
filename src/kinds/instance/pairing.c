/*
 * The service's part in a pair of balancers. Numbers of vips and servers are each front's own and depend on
 * its history; what crosses is the place in the configuration, which both ends share.
 */
#include "kinds/instance/pair.h"
#include "kinds/instance/service_inside.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- from numbers to places, and back ---- */

static int place_of_server(const struct address *a, uint16_t number)
{
        for (unsigned k = 0; k < a->plan.seats; k++)
                if (a->seat[k].number == number)
                        return (int)k;
        return INSTANCE_NOBODY;
}

static uint16_t server_at(const struct address *a, uint16_t place)
{
        return place < a->plan.seats ? a->seat[place].number : INSTANCE_NOBODY;
}

static int flow_in(const struct instance_service *s, const struct instance_flow *told,
                   struct instance_flow *flow)
{
        if (told->vip >= s->vips)
                return -ENOENT;
        *flow = *told;
        flow->vip = s->vip[told->vip].number;
        return 0;
}

static int pairing_get(void *user, const struct instance_flow *told, struct instance_conn *to)
{
        struct instance_service *s = user;
        struct instance_flow flow;
        int rc = flow_in(s, told, &flow);
        if (rc == 0)
                rc = instance_front_conn_get(s->front, &flow, to);
        if (rc < 0)
                return rc;
        const struct address *a = &s->vip[told->vip];
        to->primary = (uint16_t)place_of_server(a, to->primary);
        to->standby = (uint16_t)place_of_server(a, to->standby);
        return 0;
}

static int pairing_put(void *user, const struct instance_flow *told, const struct instance_conn *c,
                       bool is_theirs)
{
        struct instance_service *s = user;
        struct instance_flow flow;
        int rc = flow_in(s, told, &flow);
        if (rc < 0)
                return rc;
        struct instance_conn put = *c;
        put.primary = server_at(&s->vip[told->vip], c->primary);
        put.standby = server_at(&s->vip[told->vip], c->standby);
        if (put.primary == INSTANCE_NOBODY)
                return -ENOENT;
        rc = instance_front_conn_put(s->front, &flow, &put, is_theirs);
        return rc == -EEXIST ? 0 : rc; /* we have seen it ourselves, and know better */
}

static void pairing_forget(void *user, const struct instance_flow *told)
{
        struct instance_service *s = user;
        struct instance_flow flow;
        if (flow_in(s, told, &flow) == 0)
                instance_front_conn_forget(s->front, &flow);
}

struct walk {
        struct instance_service *service;
        bool (*visit)(void *to, const struct instance_flow *f, const struct instance_conn *c);
        void *to;
};

static bool walk_one(void *user, const struct instance_flow *flow, const struct instance_conn *c)
{
        struct walk *w = user;
        int vip = instance_service_vip_of(w->service, flow->vip);
        struct instance_flow told = *flow;
        if (vip < 0)
                return true;
        told.vip = (uint16_t)vip;
        return w->visit(w->to, &told, c);
}

static int pairing_walk(void *user,
                        bool (*visit)(void *to, const struct instance_flow *f, const struct instance_conn *c),
                        void *to)
{
        struct instance_service *s = user;
        struct walk w = {.service = s, .visit = visit, .to = to};
        return instance_front_conns(s->front, walk_one, &w);
}

/* ---- life ---- */

/* All that the entries' meaning depends on, in the order of the places. */
static uint64_t pairing_world(const struct instance_service *s)
{
        char *text = NULL, address[64];
        size_t size = 0;
        FILE *to = open_memstream(&text, &size);
        if (!to)
                return 0;
        for (const struct address *a = s->vip; a < s->vip + s->vips; a++) {
                const struct instance_vip_settings *v = &a->plan.set;
                fprintf(to, "%s %u %u %d\n", dog_hands_address_text(&v->address, address), v->port, v->proto,
                        (int)v->returns);
                for (unsigned k = 0; k < a->plan.seats; k++) {
                        const struct machine *m = &s->machine[a->plan.seat[k].machine];
                        fprintf(to, " %s %u\n", dog_hands_address_text(&m->set.address, address),
                                a->plan.seat[k].port);
                }
        }
        uint64_t world = fclose(to) == 0 ? instance_pair_world(text) : 0;
        free(text);
        return world;
}

/*
 * With the same seed, and weights that are nearly the same, both choose the same server for a flow. So one
 * that was opened in the last moment before the other balancer was lost, and that nobody told us of, goes on
 * with its primary: without a standby, but its numbers are the client's. Where they chose differently, its
 * server resets it.
 */
uint32_t pairing_seed(struct instance_service *s, unsigned place)
{
        const struct dog_hands_address *a = &s->vip[place].plan.set.address;
        uint8_t what[64] = "pair seed", digest[crypto_generichash_BYTES_MIN];
        uint8_t secret[32];
        uint32_t seed;
        /* A secret that cannot be read is what pairing_open tells of. */
        if (s->settings.pair.version == 0 ||
            dog_hands_secret(s->hands, s->settings.pair_secret, secret, NULL) < 0)
                return 0;
        memcpy(what + 16, a->bytes, sizeof(a->bytes));
        memcpy(what + 40, &s->vip[place].plan.set.port, sizeof(uint16_t));
        what[48] = s->vip[place].plan.set.proto;
        crypto_generichash(digest, sizeof(digest), what, sizeof(what), secret, sizeof(secret));
        sodium_memzero(secret, sizeof(secret));
        memcpy(&seed, digest, sizeof(seed));
        return seed ? seed : 1;
}

static socklen_t pairing_peer(const struct instance_service *s, struct sockaddr_storage *to)
{
        const struct dog_hands_address *peer = &s->settings.pair;
        if (peer->version == 4) {
                struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(s->settings.pair_port)};
                memcpy(&in.sin_addr, peer->bytes, sizeof(in.sin_addr));
                memcpy(to, &in, sizeof(in));
                return sizeof(in);
        }
        struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(s->settings.pair_port)};
        memcpy(&in.sin6_addr, peer->bytes, sizeof(in.sin6_addr));
        memcpy(to, &in, sizeof(in));
        return sizeof(in);
}

/* Both ends must agree on who is first: the one with the lower address, as the peer sees it. */
static int pairing_order(const struct instance_pair_settings *set, bool *is_first, struct dog_err *e)
{
        struct sockaddr_storage own = {0};
        socklen_t size = sizeof(own);
        int fd = socket(set->peer.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int rc = fd < 0 || connect(fd, (const struct sockaddr *)&set->peer, set->peer_size) < 0 ||
                                 getsockname(fd, (struct sockaddr *)&own, &size) < 0
                         ? -errno
                         : 0;
        if (fd >= 0)
                close(fd);
        if (rc < 0)
                return dog_err_set(
                        e, rc,
                        "the other balancer of the pair cannot be reached: %s; is there a route to it?",
                        strerror(-rc));
        const struct sockaddr_in *four[2] = {(const void *)&own, (const void *)&set->peer};
        const struct sockaddr_in6 *six[2] = {(const void *)&own, (const void *)&set->peer};
        int order = set->peer.ss_family == AF_INET
                            ? memcmp(&four[0]->sin_addr, &four[1]->sin_addr, sizeof(four[0]->sin_addr))
                            : memcmp(&six[0]->sin6_addr, &six[1]->sin6_addr, sizeof(six[0]->sin6_addr));
        if (order == 0)
                return dog_err_set(e, -EINVAL,
                                   "the other balancer of the pair has our own address: give the other's");
        *is_first = order < 0;
        return 0;
}

static int pairing_socket(struct instance_service *s, int *fd, struct dog_err *e)
{
        struct dog_hands_request ask = dog_hands_request_of(DOG_HANDS_SOCKET_UDP);
        struct dog_hands_reply reply;
        bool is_4 = s->settings.pair.version == 4;
        ask.as.socket.address =
                (struct dog_hands_address){.version = is_4 ? 4 : 6, .prefix = is_4 ? 32 : 128};
        ask.as.socket.port = s->settings.pair_port;
        int rc = dog_hands_call(s->hands, &ask, &reply, fd, e);
        return rc < 0 ? dog_err_prefix(e, rc, "no socket for the pair on port %u", s->settings.pair_port) : 0;
}

int pairing_open(struct instance_service *s, int64_t now_ns, struct dog_err *e)
{
        if (s->settings.pair.version == 0)
                return 0;
        struct instance_pair_settings set = {.fd = -1,
                                             .world = pairing_world(s),
                                             .queue = s->settings.front.conns_most * 2,
                                             .get = pairing_get,
                                             .put = pairing_put,
                                             .forget = pairing_forget,
                                             .walk = pairing_walk,
                                             .user = s};
        set.peer_size = pairing_peer(s, &set.peer);
        int rc = pairing_order(&set, &set.is_first, e);
        if (rc == 0)
                rc = dog_hands_secret(s->hands, s->settings.pair_secret, set.secret, e);
        if (rc == 0)
                rc = pairing_socket(s, &set.fd, e);
        if (rc == 0)
                rc = instance_pair_open(&s->pair, &set, now_ns, e);
        sodium_memzero(set.secret, sizeof(set.secret));
        if (rc < 0) {
                if (set.fd >= 0)
                        close(set.fd);
                return rc;
        }
        if (s->settings.watch)
                s->settings.watch(s->settings.user, set.fd, POLLIN);
        return 0;
}

void pairing_close(struct instance_service *s)
{
        if (!s->pair)
                return;
        if (s->settings.watch)
                s->settings.watch(s->settings.user, instance_pair_fd(s->pair), 0);
        instance_pair_close(s->pair);
        s->pair = NULL;
}

/* ---- at work ---- */

/* What the other end should know of. Openings in the thousands a second are gathered into few datagrams. */
void pairing_event(struct instance_service *s, const struct instance_event *ev)
{
        int vip = instance_service_vip_of(s, ev->flow.vip);
        struct instance_flow told = ev->flow;
        if (!s->pair || vip < 0 || ev->type == INSTANCE_EVENT_BARE || ev->type == INSTANCE_EVENT_TABLE_FULL)
                return;
        told.vip = (uint16_t)vip;
        /* One that is being taken over, even if the first thing to happen to it is a promotion. */
        struct instance_conn c;
        bool is_taken =
                ev->type != INSTANCE_EVENT_OPENED &&
                (ev->type == INSTANCE_EVENT_TAKEN ||
                 (instance_front_conn_get(s->front, &ev->flow, &c) == 0 && c.flags & INSTANCE_CONN_PEER));
        if (is_taken)
                (void)instance_front_nudge(s->front, &ev->flow);
        instance_pair_changed(s->pair, &told, is_taken);
}

bool pairing_on_ready(struct instance_service *s, int fd, int64_t now_ns)
{
        if (!s->pair || fd != instance_pair_fd(s->pair))
                return false;
        instance_pair_on_readable(s->pair, now_ns);
        return true;
}

static void pairing_say(struct instance_service *s, bool is_alive, bool is_equal)
{
        struct instance_news n = {.event = "pair", .subject = "pair", .is_warning = !is_alive || !is_equal};
        if (!is_alive)
                service_tell(s, &n,
                             "the other balancer of the pair is silent: nobody else knows the connections");
        else if (!is_equal)
                service_tell(s, &n,
                             "the other balancer serves other addresses or instances: nothing is shared "
                             "until both "
                             "configurations agree");
        else
                service_tell(s, &n, "the other balancer of the pair is there and knows the connections");
}

int64_t pairing_on_timer(struct instance_service *s, int64_t now_ns)
{
        if (!s->pair)
                return INT64_MAX;
        int64_t due_ns = instance_pair_on_timer(s->pair, now_ns);
        struct instance_pair_view v = instance_pair_view(s->pair, now_ns);
        bool is_young = v.heard_ns == 0 && now_ns - s->opened_ns < 3 * DOG_S;
        bool is_equal = v.is_equal || !v.is_alive;
        if (!is_young &&
            (!s->has_pair_news || s->is_pair_alive != v.is_alive || s->is_pair_equal != is_equal)) {
                s->has_pair_news = true;
                s->is_pair_alive = v.is_alive;
                s->is_pair_equal = is_equal;
                pairing_say(s, v.is_alive, is_equal);
        }
        return due_ns;
}

bool instance_service_pair(const struct instance_service *s, struct instance_pair_view *to, int64_t now_ns)
{
        if (!s->pair)
                return false;
        *to = instance_pair_view(s->pair, now_ns);
        return true;
}
