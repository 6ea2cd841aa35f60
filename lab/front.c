/*
 * The front by itself: hands, the data plane and the probes in one program, obeying lines on standard input
 * and on a socket, one answer each. For the laboratory and for trying out; the daemon does the same from its
 * configuration, and decides better.
 *
 *     front --device vc --device va --device vb --vip 10.0.0.80:80 --return nat --protect always
 *           --server a,10.1.0.2,va --server b,10.2.0.2,vb
 *
 * Lines:
 *     dead NAME | leave NAME [MS] | back NAME | unfit NAME | fit NAME     what is known of a server, said by
 * hand weight NAME W | share X                                             for new connections promote CLIENT
 * PORT | evict CLIENT PORT                             one connection conns [N] | counters | servers | drops
 * | events on|off | pid | upgrade | remove | quit
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "hands/netlink.h"
#include "hands/split.h"
#include "kinds/instance/cookie.h"
#include "kinds/instance/front.h"
#include "kinds/instance/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRONT_SERVERS 32
#define FRONT_FDS     128

struct front_one {
        char name[DOG_HANDS_NAME], device[DOG_HANDS_NAME];
        struct dog_hands_address address;
        uint16_t port;
        unsigned number; /* in the front */
        double weight;
        bool is_dead, is_leaving, is_unfit, by_hand;
        uint32_t index; /* of the device */
};

struct front_lab {
        struct dog_hands_policy policy;
        struct instance_front_settings is;
        struct instance_vip_settings vip;
        struct instance_cookie_keys keys; /* with vip.is_aligned */
        bool is_ungated;
        struct instance_probe_settings probing;
        enum instance_probe_how how;
        bool is_probing;
        const char *user, *control;
        struct front_one server[FRONT_SERVERS];
        unsigned n_servers;
        int64_t until_ns;

        struct dog_hands_client *hands;
        struct instance_front *front;
        struct instance_probe *probe;
        struct dog_netlink_watch *watch;
        struct pollfd fd[FRONT_FDS];
        unsigned n_fds;
        FILE *out; /* where the answer goes */
        bool tells_events;
        unsigned long long events[INSTANCE_EVENT_COUNT];
};

/* Standard input, hands, events, netlink, the control socket, its client: then come the probes'. */
enum { FD_STDIN, FD_HANDS, FD_EVENTS, FD_NETLINK, FD_CONTROL, FD_CLIENT, FD_FIRST };

/* ------------------------------------------------------------------------------- arguments */

static int lab_device(struct front_lab *l, const char *name, struct dog_err *e)
{
        if (l->is.devices == INSTANCE_FRONT_DEVICES)
                return dog_err_set(e, -ENOSPC, "more than %d devices", INSTANCE_FRONT_DEVICES);
        l->is.device[l->is.devices++] = name;
        return dog_hands_policy_device(&l->policy, name, DOG_DEVICE_UNDERLAY, e);
}

/* ADDRESS:PORT or [ADDRESS]:PORT */
static int lab_vip(struct front_lab *l, char *text, struct dog_err *e)
{
        char *colon = strrchr(text, ':'), *host = text;
        if (!colon)
                return dog_err_set(e, -EINVAL, "--vip %s: give ADDRESS:PORT", text);
        *colon = 0;
        if (host[0] == '[' && colon > host && colon[-1] == ']') {
                colon[-1] = 0;
                host++;
        }
        l->vip.port = (uint16_t)atoi(colon + 1);
        return dog_hands_address_parse(&l->vip.address, host, e);
}

/* NAME,ADDRESS,DEVICE[,PORT[,WEIGHT]] */
static int lab_server(struct front_lab *l, char *text, struct dog_err *e)
{
        char *field[5] = {0}, *rest = text;
        unsigned n = 0;
        while (n < ARRAY_SIZE(field) && rest)
                field[n++] = strsep(&rest, ",");
        if (n < 3 || l->n_servers == FRONT_SERVERS)
                return dog_err_set(e, -EINVAL,
                                   "--server takes NAME,ADDRESS,DEVICE[,PORT[,WEIGHT]], at most %d times",
                                   FRONT_SERVERS);
        struct front_one *s = &l->server[l->n_servers++];
        int rc = dog_hands_name_set(s->name, field[0], e);
        if (rc == 0)
                rc = dog_hands_address_parse(&s->address, field[1], e);
        if (rc == 0)
                rc = dog_hands_name_set(s->device, field[2], e);
        s->port = field[3] ? (uint16_t)atoi(field[3]) : 0;
        s->weight = field[4] ? atof(field[4]) : 1;
        return rc;
}

static int lab_protect(struct front_lab *l, const char *text, struct dog_err *e)
{
        l->vip.protect = INSTANCE_PROTECT_ALWAYS;
        if (strcmp(text, "always") == 0)
                return 0;
        l->vip.protect = INSTANCE_PROTECT_NEVER;
        if (strcmp(text, "never") == 0)
                return 0;
        l->vip.protect = INSTANCE_PROTECT_SHARE;
        if (sscanf(text, "share=%lf", &l->vip.share) == 1)
                return 0;
        return dog_err_set(e, -EINVAL, "--protect %s: give always, never or share=0.3", text);
}

/* One of a list of words, by its place. */
static int lab_word(const char *option, const char *text, const char *const *words, struct dog_err *e)
{
        for (int i = 0; words[i]; i++)
                if (strcmp(text, words[i]) == 0)
                        return i;
        return dog_err_set(e, -EINVAL, "--%s %s: there is no such thing", option, text);
}

static int lab_netns(const char *name, struct dog_err *e)
{
        char path[128];
        snprintf(path, sizeof(path), "/run/netns/%s", name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
                return dog_err_set(e, -errno, "namespace %s: %s", name, strerror(errno));
        close(fd);
        return 0;
}

/* What the servers' shims were given too, in hexadecimal. */
static int lab_keys(struct front_lab *l, const char *text, struct dog_err *e)
{
        unsigned char secret[64];
        size_t bytes = 0;
        if (sodium_hex2bin(secret, sizeof(secret), text, strlen(text), NULL, &bytes, NULL) != 0)
                return dog_err_set(e, -EINVAL, "--aligned %s: give a secret of 16 to 64 bytes in hexadecimal",
                                   text);
        l->keys.key[1].from = UINT64_MAX;
        return instance_cookie_key_derive(&l->keys.key[0], secret, bytes, "vip", 0, e);
}

static int lab_option(struct front_lab *l, int option, char *value, struct dog_err *e)
{
        static const char *const hooks[] = {"auto", "tc", "xdp", NULL};
        static const char *const returns[] = {"nat", "l2", "direct", NULL};
        static const char *const hows[] = {"auto", "icmp", "tcp", "none", NULL};
        int word;
        switch (option) {
        case 'P':
                return dog_hands_policy_folder(&l->policy, value, e);
        case 'n':
                return lab_netns(value, e);
        case 'd':
                return lab_device(l, value, e);
        case 'v':
                return lab_vip(l, value, e);
        case 's':
                return lab_server(l, value, e);
        case 'p':
                return lab_protect(l, value, e);
        case 'k':
                word = lab_word("hook", value, hooks, e);
                l->is.hook = word < 0 ? INSTANCE_HOOK_AUTO : (enum instance_hook)word;
                return word;
        case 'r':
                word = lab_word("return", value, returns, e);
                l->vip.returns = word < 0 ? INSTANCE_RETURN_NAT : (enum instance_return)word;
                return word;
        case 'b':
                word = lab_word("probe", value, hows, e);
                l->is_probing = word != 3;
                l->how = word < 0 || word == 3 ? INSTANCE_PROBE_AUTO : (enum instance_probe_how)word;
                return word;
        case 'H':
                l->is.is_host = true;
                return 0;
        case 'g':
                l->vip.has_guard = true;
                return 0;
        case 'c':
                l->vip.has_classes = true;
                return 0;
        case 'A':
                l->vip.is_aligned = true;
                return lab_keys(l, value, e);
        case 'G':
                l->is_ungated = true;
                return 0;
        case 'U':
                l->vip.proto = IPPROTO_UDP;
                return 0;
        case 'F':
                l->vip.answer = INSTANCE_ANSWER_FIRST;
                return 0;
        case 'm':
                l->vip.most = (uint32_t)strtoul(value, NULL, 10);
                return 0;
        case 'M':
                l->is.conns_most = (uint32_t)strtoul(value, NULL, 10);
                return 0;
        case 'l':
                if (sscanf(value, "%u,%u", &l->vip.lag_bytes, &l->vip.lag_ms) == 2)
                        return 0;
                return dog_err_set(e, -EINVAL, "--lag %s: give BYTES,MS", value);
        case 'i':
                l->probing.interval_ns = (int64_t)(atof(value) * (double)DOG_MS);
                return 0;
        case 'y':
                l->is.hang_ns = (uint64_t)(atof(value) * (double)DOG_MS);
                return 0;
        case 'I':
                l->is.idle_ns = (uint64_t)(atof(value) * (double)DOG_S);
                return 0;
        case 'S':
                l->control = value;
                return 0;
        case 'u':
                l->user = value;
                return 0;
        case 't':
                l->until_ns = dog_clock_mono_ns() + atoi(value) * DOG_S;
                return 0;
        default:
                return dog_err_set(e, -EINVAL, "see the head of lab/front.c for what can be said");
        }
}

/* -------------------------------------------------------------------------------- table */

static struct front_one *lab_find(struct front_lab *l, const char *name)
{
        for (unsigned i = 0; i < l->n_servers; i++)
                if (strcmp(l->server[i].name, name) == 0)
                        return &l->server[i];
        return NULL;
}

static const char *lab_name(const struct front_lab *l, unsigned number)
{
        for (unsigned i = 0; i < l->n_servers; i++)
                if (l->server[i].number == number)
                        return l->server[i].name;
        return "-";
}

static int lab_table(struct front_lab *l, struct dog_err *e)
{
        struct instance_share share[FRONT_SERVERS];
        for (unsigned i = 0; i < l->n_servers; i++) {
                const struct front_one *s = &l->server[i];
                bool is_in = !s->is_dead && !s->is_leaving;
                share[i] = (struct instance_share){.server = (uint16_t)s->number,
                                                   .weight = is_in ? s->weight : 0,
                                                   .standby = is_in && !s->is_unfit ? 1 : 0};
        }
        return instance_front_table_set(l->front, 0, share, l->n_servers, e);
}

static void lab_table_or_tell(struct front_lab *l)
{
        struct dog_err e = {0};
        if (lab_table(l, &e) < 0)
                dog_log(DOG_LOG_WARN, "front event=no-table why=\"%s\"", e.text);
}

static void lab_dead(struct front_lab *l, struct front_one *s, const char *why, int64_t now_ns)
{
        if (s->is_dead)
                return;
        s->is_dead = true;
        /* The connections that stand are in a hurry; those to come are not. */
        instance_front_dead(l->front, s->number, now_ns);
        while (instance_front_on_timer(l->front, now_ns) <= now_ns)
                now_ns = dog_clock_mono_ns();
        lab_table_or_tell(l);
        dog_log(DOG_LOG_INFO, "server=%s event=dead why=%s", s->name, why);
}

static void lab_back(struct front_lab *l, struct front_one *s, const char *why)
{
        s->is_dead = s->is_leaving = false;
        instance_front_back(l->front, s->number);
        lab_table_or_tell(l);
        dog_log(DOG_LOG_INFO, "server=%s event=back why=%s", s->name, why);
}

/* ------------------------------------------------------------------------------- hearing */

static void lab_probe_change(void *user, unsigned server, bool is_up, enum instance_probe_why why,
                             int64_t now_ns)
{
        struct front_lab *l = user;
        struct front_one *s = &l->server[server];
        if (s->by_hand)
                return;
        if (!is_up)
                lab_dead(l, s, instance_probe_why_word(why), now_ns);
        else if (s->is_dead)
                lab_back(l, s, instance_probe_why_word(why));
}

static int64_t lab_heard(void *user, unsigned server)
{
        struct front_lab *l = user;
        struct instance_server_stats stats;
        if (instance_front_server_read(l->front, l->server[server].number, &stats) < 0)
                return 0;
        return (int64_t)stats.heard_ns;
}

static void lab_watch(void *user, int fd, bool is_on)
{
        struct front_lab *l = user;
        for (unsigned i = FD_FIRST; i < l->n_fds; i++)
                if (l->fd[i].fd == fd)
                        l->fd[i] = l->fd[--l->n_fds];
        if (is_on && l->n_fds < FRONT_FDS)
                l->fd[l->n_fds++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static const char *lab_client(const struct instance_flow *flow, char *to)
{
        bool is_four = flow->client.word[0] == 0 && flow->client.word[1] == 0 &&
                       flow->client.word[2] == htonl(0xffff);
        inet_ntop(is_four ? AF_INET : AF_INET6,
                  is_four ? (const void *)&flow->client.word[3] : (const void *)&flow->client, to,
                  INET6_ADDRSTRLEN);
        return to;
}

static void lab_event(void *user, const struct instance_event *ev)
{
        struct front_lab *l = user;
        char client[INET6_ADDRSTRLEN];
        if (ev->type < INSTANCE_EVENT_COUNT)
                l->events[ev->type]++;
        if (l->tells_events)
                printf("event %s client=%s:%u primary=%s standby=%s lag=%u quiet=%u\n",
                       instance_event_word((enum instance_event_type)ev->type), lab_client(&ev->flow, client),
                       ntohs(ev->flow.port), lab_name(l, ev->primary), lab_name(l, ev->standby), ev->lag,
                       ev->quiet);
}

static void lab_woken(void *user, unsigned server, unsigned conns, int64_t took_ns)
{
        const struct front_lab *l = user;
        dog_log(DOG_LOG_INFO, "server=%s event=woken conns=%u took_ms=%.3f", lab_name(l, server), conns,
                (double)took_ns / (double)DOG_MS);
}

/* -------------------------------------------------------------------------------- telling */

struct lab_list {
        struct front_lab *l;
        unsigned left;
};

static bool lab_conn(void *user, const struct instance_flow *flow, const struct instance_conn *c)
{
        struct lab_list *list = user;
        char client[INET6_ADDRSTRLEN];
        const char *state = c->flags & INSTANCE_CONN_CLOSED     ? "closed"
                            : c->flags & INSTANCE_CONN_PROMOTED ? "promoted"
                            : c->flags & INSTANCE_CONN_ALONE    ? "alone"
                                                                : "protected";
        if (list->left-- == 0)
                return false;
        fprintf(list->l->out,
                "conn %s:%u %s primary=%s standby=%s flags=%03x why=%s c_ack=%u c_edge=%u c_high=%u "
                "a=%u/%u/%u b=%u/%u/%u "
                "delta=%u\n",
                lab_client(flow, client), ntohs(flow->port), state, lab_name(list->l, c->primary),
                lab_name(list->l, c->standby), c->flags,
                c->why ? instance_event_word((enum instance_event_type)c->why) : "-", c->c_ack, c->c_edge,
                c->c_high, c->a_ack, c->a_edge, c->a_high, c->b_ack, c->b_edge, c->b_high, c->delta);
        return true;
}

static void lab_counters(struct front_lab *l)
{
        struct instance_vip_counters c;
        if (instance_front_vip_read(l->front, 0, &c) < 0)
                return;
        fprintf(l->out,
                "counters protected=%llu alone=%llu to_servers=%llu to_clients=%llu copies=%llu "
                "reflected=%llu",
                (unsigned long long)c.protected_now, (unsigned long long)c.alone_now,
                (unsigned long long)c.sum.to_servers, (unsigned long long)c.sum.to_clients,
                (unsigned long long)c.sum.copies, (unsigned long long)c.sum.reflected);
        for (unsigned i = 0; i < INSTANCE_EVENT_COUNT; i++)
                fprintf(l->out, " %s=%llu", instance_event_word((enum instance_event_type)i),
                        (unsigned long long)c.sum.event[i]);
        fprintf(l->out, "\n");
}

static void lab_servers(struct front_lab *l)
{
        for (unsigned i = 0; i < l->n_servers; i++) {
                const struct front_one *s = &l->server[i];
                struct instance_server_stats stats = {0};
                struct instance_probe_view v = {0};
                (void)instance_front_server_read(l->front, s->number, &stats);
                if (l->probe)
                        v = instance_probe_view(l->probe, i);
                fprintf(l->out,
                        "server %s number=%u%s%s%s opened=%llu standby=%llu packets=%llu bytes=%llu "
                        "resets=%llu "
                        "probe=%s answered=%llu/%llu rtt_ms=%.3f\n",
                        s->name, s->number, s->is_dead ? " dead" : "", s->is_leaving ? " leaving" : "",
                        s->is_unfit ? " unfit" : "", (unsigned long long)stats.opened,
                        (unsigned long long)stats.standby, (unsigned long long)stats.packets,
                        (unsigned long long)stats.bytes, (unsigned long long)stats.resets,
                        !v.is_known ? "unknown"
                        : v.is_up   ? "up"
                                    : "down",
                        (unsigned long long)v.answered, (unsigned long long)v.sent, v.rtt_ms);
        }
        fprintf(l->out, "servers %u\n", l->n_servers);
}

static void lab_drops(struct front_lab *l)
{
        uint64_t drops[INSTANCE_DROP_COUNT];
        if (instance_front_drops_read(l->front, drops) < 0)
                return;
        for (unsigned i = 0; i < INSTANCE_DROP_COUNT; i++)
                if (drops[i])
                        fprintf(l->out, "drop %llu %s\n", (unsigned long long)drops[i],
                                instance_drop_text((enum instance_drop)i));
        fprintf(l->out, "drops\n");
}

/* ------------------------------------------------------------------------------- obeying */

static int lab_order(struct front_lab *l, const char *client, unsigned port, enum instance_order order,
                     struct dog_err *e)
{
        struct instance_flow flow = {.port = htons((uint16_t)port)};
        struct dog_hands_address a;
        int rc = dog_hands_address_parse(&a, client, e);
        if (rc < 0)
                return rc;
        if (a.version == 6) {
                memcpy(&flow.client, a.bytes, 16);
        } else {
                flow.client.word[2] = htonl(0xffff);
                memcpy(&flow.client.word[3], a.bytes, 4);
        }
        return instance_front_order(l->front, &flow, order, e);
}

/* What is said of one server. False: no such word. */
static bool lab_obey_server(struct front_lab *l, const char *word, struct front_one *s, double number)
{
        int64_t now_ns = dog_clock_mono_ns();
        bool is_unfit = strcmp(word, "unfit") == 0;
        if (strcmp(word, "dead") == 0) {
                s->by_hand = true;
                lab_dead(l, s, "told", now_ns);
        } else if (strcmp(word, "leave") == 0) {
                s->by_hand = s->is_leaving = true;
                instance_front_leave(l->front, s->number,
                                     (int64_t)((number > 0 ? number : 20) * (double)DOG_MS), now_ns);
                lab_table_or_tell(l);
        } else if (strcmp(word, "back") == 0) {
                s->by_hand = false;
                lab_back(l, s, "told");
        } else if (is_unfit || strcmp(word, "fit") == 0) {
                s->is_unfit = is_unfit;
                instance_front_unfit(l->front, s->number, is_unfit);
                lab_table_or_tell(l);
        } else if (strcmp(word, "weight") == 0) {
                s->weight = number;
                lab_table_or_tell(l);
        } else {
                return false;
        }
        fprintf(l->out, "ok %s %s\n", word, s->name);
        return true;
}

static int lab_attach(struct front_lab *l, struct dog_err *e);

/* 1: go on, 0: leave. Errors are told and do not end it. */
static int lab_obey(struct front_lab *l, const char *line)
{
        struct dog_err e = {0};
        char word[32] = "", name[64] = "";
        double number = 0;
        unsigned port;
        int rc = 0;
        struct front_one *s;
        if (sscanf(line, "%31s %63s %lf", word, name, &number) < 1)
                return 1;
        s = lab_find(l, name);
        if (s && lab_obey_server(l, word, s, number))
                return 1;
        if (strcmp(word, "conns") == 0) {
                struct lab_list list = {.l = l, .left = name[0] ? (unsigned)atoi(name) : 1000000};
                (void)instance_front_conns(l->front, lab_conn, &list);
                fprintf(l->out, "conns\n");
        } else if (strcmp(word, "counters") == 0) {
                lab_counters(l);
        } else if (strcmp(word, "servers") == 0) {
                lab_servers(l);
        } else if (strcmp(word, "drops") == 0) {
                lab_drops(l);
        } else if (sscanf(line, "promote %63s %u", name, &port) == 2) {
                rc = lab_order(l, name, port, INSTANCE_ORDER_PROMOTE, &e);
        } else if (sscanf(line, "evict %63s %u", name, &port) == 2) {
                rc = lab_order(l, name, port, INSTANCE_ORDER_EVICT, &e);
        } else if (sscanf(line, "share %lf", &number) == 1) {
                instance_front_share_set(l->front, 0, number);
                fprintf(l->out, "ok share %g\n", number);
        } else if (strcmp(word, "events") == 0) {
                l->tells_events = strcmp(name, "on") == 0;
                fprintf(l->out, "ok events %s\n", l->tells_events ? "on" : "off");
        } else if (strcmp(word, "upgrade") == 0) {
                /* As a new version of the program would: open on the same maps, exchange the programs. */
                instance_front_close(l->front);
                l->front = NULL;
                rc = lab_attach(l, &e);
                if (rc == 0)
                        fprintf(l->out, "ok upgrade adopted=%u\n", instance_front_adopted(l->front));
        } else if (strcmp(word, "pid") == 0) {
                fprintf(l->out, "pid %d hands %d\n", getpid(), getppid());
        } else if (strcmp(word, "remove") == 0) {
                rc = instance_front_remove(l->front, &e);
                l->front = NULL;
                fprintf(l->out, rc < 0 ? "error %s\n" : "ok removed\n", e.text);
                return 0;
        } else if (strcmp(word, "quit") == 0) {
                fprintf(l->out, "ok bye\n");
                return 0;
        } else {
                rc = dog_err_set(&e, -EINVAL, "not understood: %s", line);
        }
        if (rc < 0)
                fprintf(l->out, "error %s\n", e.text);
        return rc < 0 && !l->front ? 0 : 1;
}

/* --------------------------------------------------------------------------------- life */

static int lab_attach(struct front_lab *l, struct dog_err *e)
{
        int rc = instance_front_open(&l->front, &l->is, l->hands, e);
        if (rc == 0)
                rc = instance_front_vip_set(l->front, 0, &l->vip, e);
        for (unsigned i = 0; i < l->n_servers && rc == 0; i++) {
                struct front_one *s = &l->server[i];
                struct instance_server_settings set = {.name = s->name,
                                                       .vip = 0,
                                                       .device = s->device,
                                                       .address = s->address,
                                                       .port = s->port};
                s->number = i;
                rc = instance_front_server_set(l->front, i, &set, 1000, e);
                if (rc == -EHOSTUNREACH || rc == -ENETUNREACH || rc == -ENODEV) {
                        dog_log(DOG_LOG_WARN, "server=%s event=no-next-hop why=\"%s\"", s->name, e->text);
                        rc = 0;
                }
                if (rc == 0 && l->vip.is_aligned)
                        instance_front_shim_set(l->front, i, true, !l->is_ungated);
                if (rc == 0 && s->is_dead)
                        instance_front_dead(l->front, i, dog_clock_mono_ns());
        }
        if (rc == 0)
                rc = lab_table(l, e);
        if (rc == 0 && l->vip.is_aligned)
                rc = instance_front_cookies_set(l->front, 0, &l->keys, 1460, 1440, e);
        if (rc == 0)
                rc = instance_front_commit(l->front, e);
        if (rc == 0)
                l->fd[FD_EVENTS] = (struct pollfd){.fd = instance_front_fd(l->front), .events = POLLIN};
        return rc;
}

static int lab_probes(struct front_lab *l, struct dog_err *e)
{
        l->probing.change = lab_probe_change;
        l->probing.heard_ns = lab_heard;
        l->probing.watch = lab_watch;
        l->probing.user = l;
        int rc = instance_probe_open(&l->probe, &l->probing, l->hands, e);
        for (unsigned i = 0; i < l->n_servers && rc == 0; i++) {
                const struct front_one *s = &l->server[i];
                uint16_t port = l->vip.proto != IPPROTO_TCP ? 0 : s->port ? s->port : l->vip.port;
                rc = instance_probe_add(l->probe, i, s->device, &s->address, port, l->how, e);
        }
        return rc;
}

static int lab_control(struct front_lab *l, struct dog_err *e)
{
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        if (!l->control)
                return 0;
        snprintf(name.sun_path, sizeof(name.sun_path), "%s", l->control);
        (void)unlink(l->control);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (const void *)&name, sizeof(name)) < 0 || listen(fd, 8) < 0)
                return dog_err_set(e, -errno, "control socket %s: %s", l->control, strerror(errno));
        l->fd[FD_CONTROL] = (struct pollfd){.fd = fd, .events = POLLIN};
        return 0;
}

static void lab_netlink(struct front_lab *l)
{
        struct dog_netlink_change c;
        bool moved = false;
        while (dog_netlink_watch_next(l->watch, &c) == 1) {
                int64_t now_ns = dog_clock_mono_ns();
                if (c.what == DOG_CHANGE_LINK && l->probe)
                        instance_probe_on_link(l->probe, c.index, now_ns);
                moved |= c.what != DOG_CHANGE_ADDRESS;
        }
        if (moved)
                (void)instance_front_refresh(l->front, 0);
}

/* A line from either place; false when it is time to go. */
static bool lab_line(struct front_lab *l, int from, FILE *to)
{
        char line[256];
        size_t n = 0;
        /* One byte at a time: what is left in the pipe belongs to the next decider. */
        while (n < sizeof(line) - 1 && read(from, line + n, 1) == 1 && line[n] != '\n')
                n++;
        line[n] = 0;
        l->out = to;
        bool goes_on = n == 0 || lab_obey(l, line);
        fflush(to);
        return goes_on;
}

static bool lab_client_line(struct front_lab *l)
{
        struct pollfd *p = &l->fd[FD_CLIENT];
        if (l->fd[FD_CONTROL].revents & POLLIN && p->fd < 0)
                p->fd = accept4(l->fd[FD_CONTROL].fd, NULL, NULL, SOCK_CLOEXEC);
        if (!(p->revents & (POLLIN | POLLHUP)) || p->fd < 0)
                return true;
        /* One line a connection. */
        FILE *to = fdopen(p->fd, "r+");
        bool goes_on = true;
        if (to) {
                goes_on = lab_line(l, p->fd, to);
                fclose(to);
        } else {
                close(p->fd);
        }
        *p = (struct pollfd){.fd = -1, .events = POLLIN};
        return goes_on;
}

static int lab_loop(struct front_lab *l)
{
        int64_t front_ns = 0, probe_ns = 0;
        for (;;) {
                int64_t now_ns = dog_clock_mono_ns();
                if (now_ns >= l->until_ns)
                        return 0;
                if (now_ns >= front_ns)
                        front_ns = instance_front_on_timer(l->front, now_ns);
                if (l->probe && now_ns >= probe_ns)
                        probe_ns = instance_probe_on_timer(l->probe, now_ns);
                int64_t next_ns = l->probe && probe_ns < front_ns ? probe_ns : front_ns;
                int64_t wait_ns = next_ns - dog_clock_mono_ns();
                struct timespec wait = {.tv_nsec = wait_ns < 0           ? 0
                                                   : wait_ns > DOG_S - 1 ? DOG_S - 1
                                                                         : wait_ns};
                if (ppoll(l->fd, l->n_fds, &wait, NULL) < 0)
                        continue;
                now_ns = dog_clock_mono_ns();
                if (l->fd[FD_NETLINK].revents) {
                        lab_netlink(l);
                        front_ns = now_ns;
                }
                if (l->fd[FD_HANDS].revents) {
                        dog_log(DOG_LOG_WARN, "decider event=hands-gone");
                        return 1;
                }
                /* From the end: a descriptor that is told off is replaced by the last. */
                for (unsigned i = l->n_fds; i-- > FD_FIRST;)
                        if (i < l->n_fds && l->fd[i].revents)
                                instance_probe_on_readable(l->probe, l->fd[i].fd, now_ns);
                if (l->fd[FD_EVENTS].revents)
                        instance_front_on_readable(l->front, now_ns);
                bool goes_on = true;
                if (l->fd[FD_STDIN].revents & (POLLIN | POLLHUP)) {
                        goes_on = lab_line(l, STDIN_FILENO, stdout);
                        front_ns = 0;
                        if (l->fd[FD_STDIN].revents == POLLHUP)
                                l->fd[FD_STDIN].fd = -1;
                }
                goes_on = lab_client_line(l) && goes_on;
                if (!goes_on || !l->front)
                        return 0;
                fflush(stdout);
        }
}

static int lab_decider(struct dog_hands_client *hands, void *data)
{
        struct front_lab *l = data;
        struct dog_err e = {0};
        int status = 1;
        l->hands = hands;
        l->n_fds = FD_FIRST;
        for (unsigned i = 0; i < FD_FIRST; i++)
                l->fd[i] = (struct pollfd){.fd = -1, .events = POLLIN};
        l->fd[FD_STDIN].fd = STDIN_FILENO;
        l->fd[FD_HANDS].fd = dog_hands_client_fd(hands);
        int rc = lab_control(l, &e);
        if (rc == 0)
                rc = dog_netlink_watch_open(&l->watch, &e);
        if (rc == 0)
                rc = lab_attach(l, &e);
        if (rc == 0 && l->is_probing)
                rc = lab_probes(l, &e);
        if (rc == 0)
                rc = dog_hands_ready(hands, &e);
        if (rc == 0) {
                l->fd[FD_NETLINK].fd = dog_netlink_watch_fd(l->watch);
                printf("ready adopted=%u\n", instance_front_adopted(l->front));
                fflush(stdout);
                status = lab_loop(l);
        } else {
                printf("error %s\n", e.text);
        }
        fflush(stdout);
        instance_probe_close(l->probe);
        instance_front_close(l->front);
        dog_netlink_watch_close(l->watch);
        return status;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"pins", 1, NULL, 'P'},
                {"netns", 1, NULL, 'n'},
                {"device", 1, NULL, 'd'},
                {"vip", 1, NULL, 'v'},
                {"server", 1, NULL, 's'},
                {"protect", 1, NULL, 'p'},
                {"hook", 1, NULL, 'k'},
                {"return", 1, NULL, 'r'},
                {"host", 0, NULL, 'H'},
                {"guard", 0, NULL, 'g'},
                {"classes", 0, NULL, 'c'},
                {"aligned", 1, NULL, 'A'},
                {"ungated", 0, NULL, 'G'},
                {"udp", 0, NULL, 'U'},
                {"first", 0, NULL, 'F'},
                {"most", 1, NULL, 'm'},
                {"conns", 1, NULL, 'M'},
                {"lag", 1, NULL, 'l'},
                {"probe", 1, NULL, 'b'},
                {"interval", 1, NULL, 'i'},
                {"hang", 1, NULL, 'y'},
                {"idle", 1, NULL, 'I'},
                {"socket", 1, NULL, 'S'},
                {"user", 1, NULL, 'u'},
                {"seconds", 1, NULL, 't'},
                {0},
        };
        static struct front_lab l;
        struct dog_err e = {0};
        int option;
        dog_hands_policy_init(&l.policy);
        l.vip.name = "vip";
        l.vip.proto = IPPROTO_TCP;
        l.vip.protect = INSTANCE_PROTECT_ALWAYS;
        l.is_probing = true;
        l.until_ns = INT64_MAX;
        l.is.event = lab_event;
        l.is.woken = lab_woken;
        l.is.user = &l;
        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (lab_option(&l, option, optarg, &e) < 0)
                        goto fail;
        if (l.is.devices == 0 || l.vip.address.version == 0 || l.n_servers == 0) {
                dog_err_set(&e, -EINVAL, "--device, --vip and --server are needed");
                goto fail;
        }
        struct dog_split split = {
                .policy = &l.policy, .user = l.user, .decider_main = lab_decider, .data = &l};
        split.n_objects = instance_objects(&split.objects);
        int status = dog_split_run(&split, &e);
        if (e.text[0])
                fprintf(stderr, "%s\n", e.text);
        return status;
fail:
        fprintf(stderr, "front: %s\n", e.text);
        return 2;
}
