#include "daemon/config_impl.h"

#include "base/array.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PROTOCOL_TCP  6
#define PROTOCOL_UDP  17
#define PROTOCOL_SCTP 132
/* 32 bytes in base64. */
#define KEY_FILE_LEAST 44

int dog_config_fail(const struct dog_config_where *where, struct dog_err *e, int rc, const char *format, ...)
{
        struct dog_err say = {0};
        va_list args;
        va_start(args, format);
        vsnprintf(say.text, sizeof(say.text), format, args);
        va_end(args);
        return dog_err_set(e, rc, "%.200s:%u:%u: %.250s", where->file, where->line, where->column, say.text);
}

/* "sundog.yaml:3:1", for the other place of two that clash. */
struct place {
        char text[160];
};

static struct place place_of(const struct dog_config_where *w)
{
        struct place p;
        const char *slash = strrchr(w->file, '/');
        snprintf(p.text, sizeof(p.text), "%.120s:%u:%u", slash ? slash + 1 : w->file, w->line, w->column);
        return p;
}

/* ---- names and numbers ---- */

/*
 * Every list that has names and numbers begins its structs with `where` and `name`; the number's
 * offset differs. Numbers not given become `first` + place.
 */
struct named {
        struct dog_config_where where;
        const char *name;
};
_Static_assert(offsetof(struct dog_config_profile, name) == offsetof(struct named, name),
               "a profile begins as named");
_Static_assert(offsetof(struct dog_config_path, name) == offsetof(struct named, name),
               "a path begins as named");
_Static_assert(offsetof(struct dog_config_tunnel, name) == offsetof(struct named, name),
               "a tunnel begins as named");
_Static_assert(offsetof(struct dog_config_class, name) == offsetof(struct named, name),
               "a class begins as named");
_Static_assert(offsetof(struct dog_config_instance, name) == offsetof(struct named, name),
               "an instance begins as named");
_Static_assert(offsetof(struct dog_config_feed, name) == offsetof(struct named, name),
               "a feed begins as named");
_Static_assert(offsetof(struct dog_config_vip, name) == offsetof(struct named, name),
               "a vip begins as named");

struct list {
        const char *what;
        void *first;
        size_t count, size;
        size_t id_offset; /**< 0: no numbers */
        int64_t first_id;
};

static char *list_at(const struct list *l, size_t i)
{
        return (char *)l->first + i * l->size;
}

/* Copies, because the structs are of different types. */
static struct named list_named(const struct list *l, size_t i)
{
        struct named n;
        memcpy(&n, list_at(l, i), sizeof(n));
        return n;
}

static int64_t list_id(const struct list *l, size_t i)
{
        int64_t id = (int64_t)i;
        if (l->id_offset)
                memcpy(&id, list_at(l, i) + l->id_offset, sizeof(id));
        return id;
}

static int list_check(const struct list *l, struct dog_err *e)
{
        for (size_t i = 0; i < l->count; i++) {
                struct named a = list_named(l, i);
                int64_t id = list_id(l, i);
                if (id < 0) {
                        id = l->first_id + (int64_t)i;
                        memcpy(list_at(l, i) + l->id_offset, &id, sizeof(id));
                }
                for (size_t j = 0; j < i; j++) {
                        struct named b = list_named(l, j);
                        if (strcmp(a.name, b.name) == 0)
                                return dog_config_fail(&a.where, e, -EINVAL,
                                                       "%s \"%s\" is defined already at %s; rename one",
                                                       l->what, a.name, place_of(&b.where).text);
                        if (id == list_id(l, j))
                                return dog_config_fail(
                                        &a.where, e, -EINVAL,
                                        "%s \"%s\" has the number %lld of \"%s\" at %s; set another \"id\"",
                                        l->what, a.name, (long long)id, b.name, place_of(&b.where).text);
                }
        }
        return 0;
}

/* ---- paths ---- */

static const char *address_text(uint32_t address, char *to)
{
        struct in_addr a = {.s_addr = htonl(address)};
        return inet_ntop(AF_INET, &a, to, INET_ADDRSTRLEN);
}

static bool address_is_host(uint32_t a)
{
        return a >> 24 != 0 && !IN_MULTICAST(a) && !IN_BADCLASS(a);
}

static bool prefix_has(const struct dog_config_prefix *p, uint32_t address)
{
        uint32_t mask = p->bits ? UINT32_MAX << (32 - p->bits) : 0;
        return ((p->address ^ address) & mask) == 0;
}

/* Each source has its own keys; one that would be ignored is a mistake. */
static int radio_check(const struct dog_config_path *p, struct dog_err *e)
{
        const struct dog_config_radio *r = &p->radio;
        static const char *const source[] = {"none", "modem", "dish", "file"};
        const char *is = source[r->source];
        bool is_modem = r->source == DOG_CONFIG_RADIO_MODEM;
        bool is_dish = r->source == DOG_CONFIG_RADIO_DISH;
        bool is_file = r->source == DOG_CONFIG_RADIO_FILE;
        if (r->url && !is_dish)
                return dog_config_fail(
                        &r->url_at, e, -EINVAL,
                        "path \"%s\": a radio with \"source: %s\" has no \"url\"; that is for dish", p->name,
                        is);
        if (r->file && !is_dish && !is_file)
                return dog_config_fail(
                        &r->file_at, e, -EINVAL,
                        "path \"%s\": a radio with \"source: %s\" has no \"file\"; that is for dish "
                        "and file",
                        p->name, is);
        if (!is_modem && strcmp(r->modem, "auto") != 0)
                return dog_config_fail(
                        &r->modem_at, e, -EINVAL,
                        "path \"%s\": a radio with \"source: %s\" has no \"modem\"; say \"source: "
                        "modem\"",
                        p->name, is);
        if (is_dish && !r->url == !r->file)
                return dog_config_fail(
                        &r->source_at, e, -EINVAL,
                        "path \"%s\": a dish is read from a \"url\" or from a \"file\"; give one of "
                        "them",
                        p->name);
        if (is_file && !r->file)
                return dog_config_fail(&r->source_at, e, -EINVAL,
                                       "path \"%s\": \"source: file\" needs a \"file\"", p->name);
        if (r->source != DOG_CONFIG_RADIO_NONE && r->stale_ns < 2 * r->interval_ns)
                return dog_config_fail(r->stale_at.file ? &r->stale_at : &p->where, e, -EINVAL,
                                       "path \"%s\": \"stale_after\" of its radio must be at least twice its "
                                       "\"interval\", or it would be forgotten between two readings",
                                       p->name);
        return 0;
}

static int path_check(const struct dog_config_tunnel *t, const struct dog_config_path *p, struct dog_err *e)
{
        const struct {
                const char *key;
                uint32_t address;
                bool may_be_open;
        } row[] = {{"local", p->local, false}, {"remote", p->remote, true}};
        char text[INET_ADDRSTRLEN];
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                if (row[i].may_be_open && row[i].address == 0)
                        continue;
                if (!address_is_host(row[i].address))
                        return dog_config_fail(&p->where, e, -EINVAL,
                                               "path \"%s\": \"%s\" is %s, which is no host's address",
                                               p->name, row[i].key, address_text(row[i].address, text));
                if (prefix_has(&t->address, row[i].address))
                        return dog_config_fail(&p->where, e, -EINVAL,
                                               "path \"%s\": \"%s\" %s is inside the tunnel's own net; the "
                                               "tunnel would carry itself",
                                               p->name, row[i].key, address_text(row[i].address, text));
        }
        if (p->local == p->remote)
                return dog_config_fail(&p->where, e, -EINVAL,
                                       "path \"%s\": \"local\" and \"remote\" are the same address %s",
                                       p->name, address_text(p->local, text));
        return 0;
}

static int paths_check(const struct dog_config *c, const struct dog_config_tunnel *t, struct dog_err *e)
{
        if (t->paths == 0)
                return dog_config_fail(&t->where, e, -EINVAL,
                                       "tunnel \"%s\" has no path; give it at least one, two to mirror",
                                       t->name);
        struct list l = {"path", t->path, t->paths, sizeof(*t->path), offsetof(struct dog_config_path, id),
                         0};
        int rc = list_check(&l, e);
        for (size_t i = 0; i < t->paths && rc == 0; i++) {
                const struct dog_config_path *p = &t->path[i];
                rc = path_check(t, p, e);
                if (rc == 0)
                        rc = radio_check(p, e);
                for (size_t j = 0; j < c->tunnels && rc == 0; j++)
                        if (strcmp(p->device, c->tunnel[j].device) == 0)
                                rc = dog_config_fail(&p->where, e, -EINVAL,
                                                     "path \"%s\" runs over \"%s\", which is the device of "
                                                     "tunnel \"%s\"; name the uplink",
                                                     p->name, p->device, c->tunnel[j].name);
                for (size_t j = 0; j < i && rc == 0; j++) {
                        const struct dog_config_path *q = &t->path[j];
                        if (strcmp(p->device, q->device) == 0 && p->local == q->local &&
                            p->remote == q->remote)
                                rc = dog_config_fail(&p->where, e, -EINVAL,
                                                     "path \"%s\" has the device and the addresses of path "
                                                     "\"%s\" at %s; a copy on it would share every fault",
                                                     p->name, q->name, place_of(&q->where).text);
                }
        }
        return rc;
}

/* ---- tunnels ---- */

static int tunnel_pair_check(const struct dog_config_tunnel *a, const struct dog_config_tunnel *b,
                             struct dog_err *e)
{
        if (strcmp(a->device, b->device) == 0)
                return dog_config_fail(&a->device_at, e, -EINVAL,
                                       "tunnel \"%s\" and tunnel \"%s\" at %s both make the device \"%s\"; "
                                       "set another \"device\"",
                                       a->name, b->name, place_of(&b->device_at).text, a->device);
        if (prefix_has(&a->address, b->address.address) || prefix_has(&b->address, a->address.address))
                return dog_config_fail(&a->address_at, e, -EINVAL,
                                       "the net of tunnel \"%s\" overlaps the one of tunnel \"%s\" at %s",
                                       a->name, b->name, place_of(&b->address_at).text);
        if (a->udp_port == b->udp_port)
                return dog_config_fail(&a->udp_port_at, e, -EINVAL,
                                       "tunnel \"%s\" and tunnel \"%s\" at %s both use UDP port %lld; set "
                                       "another \"udp_port\"",
                                       a->name, b->name, place_of(&b->udp_port_at).text,
                                       (long long)a->udp_port);
        return 0;
}

static int tunnel_check(const struct dog_config *c, size_t i, struct dog_err *e)
{
        const struct dog_config_tunnel *t = &c->tunnel[i];
        if (!address_is_host(t->address.address) || t->address.bits < 1)
                return dog_config_fail(&t->address_at, e, -EINVAL,
                                       "tunnel \"%s\": its address is no host's address", t->name);
        if (strcmp(t->peer, c->site) == 0)
                return dog_config_fail(&t->where, e, -EINVAL,
                                       "tunnel \"%s\": its peer \"%s\" is this site; name the far one",
                                       t->name, t->peer);
        for (size_t j = 0; j < i; j++) {
                int rc = tunnel_pair_check(t, &c->tunnel[j], e);
                if (rc < 0)
                        return rc;
        }
        /* One reflector serves the probes of all tunnels, so tunnels may share its port, but not with data.
         */
        for (size_t j = 0; j < c->tunnels; j++)
                if (t->stamp_port == c->tunnel[j].udp_port)
                        return dog_config_fail(
                                &t->stamp_port_at, e, -EINVAL,
                                "tunnel \"%s\": \"stamp_port\" %lld is the \"udp_port\" of tunnel \"%s\"",
                                t->name, (long long)t->stamp_port, c->tunnel[j].name);
        return paths_check(c, t, e);
}

/* ---- classes ---- */

static bool match_is_all(const struct dog_config_match *m)
{
        return m->prefixes == 0 && m->protocol == 0 && m->ports == 0 && m->dscps == 0;
}

static int class_check(const struct dog_config *c, size_t i, struct dog_err *e)
{
        struct dog_config_class *k = &c->class[i];
        for (size_t j = 0; j < c->profiles && !k->promise; j++)
                if (strcmp(c->profile[j].name, k->profile) == 0)
                        k->promise = &c->profile[j];
        if (!k->promise)
                return dog_config_fail(&k->profile_at, e, -EINVAL, "class \"%s\": there is no profile \"%s\"",
                                       k->name, k->profile);
        bool is_known = k->tunnel == NULL;
        for (size_t j = 0; j < c->tunnels && !is_known; j++)
                is_known = strcmp(c->tunnel[j].name, k->tunnel) == 0;
        if (!is_known)
                return dog_config_fail(&k->tunnel_at, e, -EINVAL, "class \"%s\": there is no tunnel \"%s\"",
                                       k->name, k->tunnel);
        int64_t p = k->match.protocol;
        if (k->match.ports && p != PROTOCOL_TCP && p != PROTOCOL_UDP && p != PROTOCOL_SCTP)
                return dog_config_fail(&k->where, e, -EINVAL,
                                       "class \"%s\": \"ports\" need \"protocol\" tcp, udp or sctp", k->name);
        for (size_t j = 0; j < i; j++) {
                const struct dog_config_class *before = &c->class[j];
                if (match_is_all(&before->match) &&
                    (!before->tunnel || (k->tunnel && strcmp(before->tunnel, k->tunnel) == 0)))
                        return dog_config_fail(&k->where, e, -EINVAL,
                                               "class \"%s\" can never match: \"%s\" at %s takes everything "
                                               "before it; put it last",
                                               k->name, before->name, place_of(&before->where).text);
        }
        return 0;
}

/* ---- the front, its instances and vips ---- */

/* The data plane's tables; kinds/instance/instance_abi.h, which is a floor of its own, asserts the same. */
#define SERVERS_MAX 512

static const char *either_text(const struct dog_config_address *a, char *to)
{
        return inet_ntop(a->version == 6 ? AF_INET6 : AF_INET, a->bytes, to, INET6_ADDRSTRLEN);
}

static bool either_is_same(const struct dog_config_address *a, const struct dog_config_address *b)
{
        return a->version == b->version && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* One that a packet can be sent to, beyond this host. */
static bool either_is_host(const struct dog_config_address *a)
{
        uint32_t four;
        struct in6_addr six;
        memcpy(&four, a->bytes, sizeof(four));
        memcpy(&six, a->bytes, sizeof(six));
        if (a->version == 4)
                return address_is_host(ntohl(four)) && ntohl(four) >> 24 != IN_LOOPBACKNET;
        return !IN6_IS_ADDR_UNSPECIFIED(&six) && !IN6_IS_ADDR_LOOPBACK(&six) &&
               !IN6_IS_ADDR_MULTICAST(&six) && !IN6_IS_ADDR_LINKLOCAL(&six);
}

/* A value of the front that was not written stands where the site does. */
static const struct dog_config_where *front_where(const struct dog_config *c,
                                                  const struct dog_config_where *at)
{
        return at->file ? at : &c->site_at;
}

static bool front_has(const struct dog_config *c, const char *device)
{
        for (size_t i = 0; i < c->front.devices; i++)
                if (strcmp(c->front.device[i].text, device) == 0)
                        return true;
        return false;
}

/* Keys of aligned mode and vips that ask for it come together. */
static int aligned_check(const struct dog_config *c, struct dog_err *e)
{
        bool is_any = false;
        for (size_t i = 0; i < c->vips; i++) {
                const struct dog_config_vip *v = &c->vip[i];
                if (v->mode != DOG_CONFIG_ALIGNED)
                        continue;
                is_any = true;
                if (!c->front.aligned_key_file)
                        return dog_config_fail(&v->mode_at, e, -EINVAL,
                                               "vip \"%s\": \"mode: aligned\" needs an \"aligned_key_file\" "
                                               "of the front, the same as on the instances; make one with: "
                                               "openssl rand -hex 32",
                                               v->name);
        }
        if (!is_any && c->front.aligned_key_file)
                return dog_config_fail(front_where(c, &c->front.aligned_key_file_at), e, -EINVAL,
                                       "the front: \"aligned_key_file\" does nothing without a vip that has "
                                       "\"mode: aligned\"");
        for (size_t i = 0; i < c->instances; i++)
                if (!is_any && c->instance[i].shim != DOG_CONFIG_SHIM_AUTO)
                        return dog_config_fail(&c->instance[i].shim_at, e, -EINVAL,
                                               "instance \"%s\": \"shim\" does nothing without a vip that "
                                               "has \"mode: aligned\"",
                                               c->instance[i].name);
        return 0;
}

static int pair_check(const struct dog_config *c, struct dog_err *e)
{
        const struct dog_config_front *f = &c->front;
        if (f->pair.version == 0)
                return 0;
        if (f->role != DOG_CONFIG_GATEWAY)
                return dog_config_fail(
                        front_where(c, &f->pair_at), e, -EINVAL,
                        "the front: \"pair\" is for \"role: gateway\"; a host balances for itself");
        if (!either_is_host(&f->pair))
                return dog_config_fail(front_where(c, &f->pair_at), e, -EINVAL,
                                       "the front: \"pair\" is no host's address");
        if (!f->pair_key_file)
                return dog_config_fail(
                        front_where(c, &f->pair_at), e, -EINVAL,
                        "the front: \"pair\" needs a \"pair_key_file\", the same at both; make one with: "
                        "openssl rand -hex 32");
        if (f->pair_port == f->agent_port || f->pair_port == f->tell_port)
                return dog_config_fail(front_where(c, &f->pair_port_at), e, -EINVAL,
                                       "the front: \"pair_port\" %lld is another's already",
                                       (long long)f->pair_port);
        return 0;
}

static int front_check(const struct dog_config *c, struct dog_err *e)
{
        const struct dog_config_front *f = &c->front;
        const struct dog_config_where *devices_at = front_where(c, &f->devices_at);
        if (c->vips && f->devices == 0)
                return dog_config_fail(
                        &c->vip[0].where, e, -EINVAL,
                        "vip \"%s\" needs a front: write under \"front\" the \"devices\" where "
                        "clients and instances are",
                        c->vip[0].name);
        for (size_t i = 0; i < f->devices; i++) {
                for (size_t j = 0; j < i; j++)
                        if (strcmp(f->device[i].text, f->device[j].text) == 0)
                                return dog_config_fail(devices_at, e, -EINVAL,
                                                       "the front: the device \"%s\" is named twice",
                                                       f->device[i].text);
                for (size_t j = 0; j < c->tunnels; j++)
                        if (strcmp(f->device[i].text, c->tunnel[j].device) == 0)
                                return dog_config_fail(devices_at, e, -EINVAL,
                                                       "the front: \"%s\" is the device of tunnel \"%s\"",
                                                       f->device[i].text, c->tunnel[j].name);
        }
        bool is_told = f->told_by.version != 0;
        if (is_told && f->role != DOG_CONFIG_HOST)
                return dog_config_fail(front_where(c, &f->told_by_at), e, -EINVAL,
                                       "the front: \"told_by\" is for \"role: host\"; a gateway measures for "
                                       "itself");
        if (is_told && !either_is_host(&f->told_by))
                return dog_config_fail(front_where(c, &f->told_by_at), e, -EINVAL,
                                       "the front: \"told_by\" is no host's address");
        if (is_told && f->tell_port == 0)
                return dog_config_fail(front_where(c, &f->told_by_at), e, -EINVAL,
                                       "the front: \"told_by\" needs the gateway's \"tell_port\"");
        if (f->tell_port && f->role == DOG_CONFIG_HOST && !is_told)
                return dog_config_fail(front_where(c, &f->tell_port_at), e, -EINVAL,
                                       "the front: on a host \"tell_port\" needs \"told_by\", the gateway's "
                                       "address");
        if (f->tell_port && !f->key_file)
                return dog_config_fail(
                        front_where(c, &f->tell_port_at), e, -EINVAL,
                        "the front: \"tell_port\" needs a \"key_file\"; make one with: openssl "
                        "rand -hex 32");
        if (f->tell_port && f->tell_port == f->agent_port && f->role == DOG_CONFIG_GATEWAY)
                return dog_config_fail(front_where(c, &f->tell_port_at), e, -EINVAL,
                                       "the front: \"tell_port\" and \"agent_port\" are both %lld",
                                       (long long)f->tell_port);
        return pair_check(c, e);
}

static int instance_check(struct dog_config *c, size_t i, struct dog_err *e)
{
        struct dog_config_instance *n = &c->instance[i];
        char text[INET6_ADDRSTRLEN];
        if (!either_is_host(&n->address))
                return dog_config_fail(&n->address_at, e, -EINVAL, "instance \"%s\": %s is no host's address",
                                       n->name, either_text(&n->address, text));
        for (size_t j = 0; j < i; j++)
                if (either_is_same(&n->address, &c->instance[j].address))
                        return dog_config_fail(
                                &n->address_at, e, -EINVAL,
                                "instance \"%s\" has the address %s of instance \"%s\" at %s; "
                                "a server on another port is the same instance: write NAME:PORT "
                                "in the vip",
                                n->name, either_text(&n->address, text), c->instance[j].name,
                                place_of(&c->instance[j].where).text);
        if (!n->device && c->front.devices == 1)
                n->device = c->front.device[0].text;
        if (!n->device)
                return dog_config_fail(
                        &n->where, e, -EINVAL,
                        "instance \"%s\" has no \"device\": the front has %zu devices, so write "
                        "which",
                        n->name, c->front.devices);
        if (!front_has(c, n->device))
                return dog_config_fail(&n->device_at, e, -EINVAL,
                                       "instance \"%s\": \"%s\" is none of the front's \"devices\"", n->name,
                                       n->device);
        for (size_t a = 0; a < n->fates; a++)
                for (size_t b = 0; b < a; b++)
                        if (strcmp(n->fate[a].text, n->fate[b].text) == 0)
                                return dog_config_fail(&n->where, e, -EINVAL,
                                                       "instance \"%s\": the fate \"%s\" is named twice",
                                                       n->name, n->fate[a].text);
        if (n->check == DOG_CONFIG_CHECK_AGENT && !n->agent_key_file)
                return dog_config_fail(&n->check_at, e, -EINVAL,
                                       "instance \"%s\": \"check: agent\" needs an \"agent_key_file\"",
                                       n->name);
        if (n->agent_key_file && n->exporter)
                return dog_config_fail(&n->exporter_at, e, -EINVAL,
                                       "instance \"%s\" has an agent and an exporter; keep one of them",
                                       n->name);
        bool is_tcp = n->check == DOG_CONFIG_CHECK_TCP || n->check == DOG_CONFIG_CHECK_AUTO;
        if (!is_tcp && n->check_port)
                return dog_config_fail(&n->check_at, e, -EINVAL,
                                       "instance \"%s\": \"check_port\" needs \"check: tcp\" or auto",
                                       n->name);
        /* Without a port of its own it is asked on the first one that it serves. */
        for (size_t v = 0; v < c->vips && is_tcp && !n->check_port; v++)
                for (size_t s = 0; s < c->vip[v].seats && !n->check_port; s++)
                        if (strcmp(c->vip[v].seat[s].name, n->name) == 0 && c->vip[v].protocol == 0)
                                n->check_port =
                                        c->vip[v].seat[s].port ? c->vip[v].seat[s].port : c->vip[v].port;
        if (n->check == DOG_CONFIG_CHECK_TCP && !n->check_port)
                return dog_config_fail(
                        &n->check_at, e, -EINVAL,
                        "instance \"%s\": \"check: tcp\" needs a \"check_port\": no vip of one "
                        "TCP port has it",
                        n->name);
        return 0;
}

static int seats_check(struct dog_config *c, struct dog_config_vip *v, struct dog_err *e)
{
        for (size_t i = 0; i < v->seats; i++) {
                struct dog_config_seat *s = &v->seat[i];
                size_t n = 0;
                while (n < c->instances && strcmp(c->instance[n].name, s->name) != 0)
                        n++;
                if (n == c->instances)
                        return dog_config_fail(&v->seats_at, e, -EINVAL,
                                               "vip \"%s\": there is no instance \"%s\"", v->name, s->name);
                s->instance = (uint16_t)n;
                for (size_t j = 0; j < i; j++)
                        if (strcmp(v->seat[j].name, s->name) == 0)
                                return dog_config_fail(&v->seats_at, e, -EINVAL,
                                                       "vip \"%s\" names instance \"%s\" twice", v->name,
                                                       s->name);
                if (c->instance[n].address.version != v->address.version)
                        return dog_config_fail(
                                &v->seats_at, e, -EINVAL,
                                "vip \"%s\" is IPv%u and instance \"%s\" is IPv%u; a connection "
                                "keeps its family",
                                v->name, v->address.version, s->name, c->instance[n].address.version);
                if (s->port && v->returns != DOG_CONFIG_RETURN_NAT && s->port != v->port)
                        return dog_config_fail(&v->seats_at, e, -EINVAL,
                                               "vip \"%s\": instance \"%s\" cannot have another port; only "
                                               "\"return: nat\" rewrites it",
                                               v->name, s->name);
                if (s->port && v->port == 0)
                        return dog_config_fail(
                                &v->seats_at, e, -EINVAL,
                                "vip \"%s\" serves every port; leave the one of instance \"%s\" "
                                "out",
                                v->name, s->name);
        }
        return 0;
}

/* Keys that do nothing beside what was chosen are refused: whoever wrote them expects something of them. */
static int vip_fit_check(const struct dog_config_vip *v, struct dog_err *e)
{
        bool is_udp = v->protocol == 1;
        bool is_protected = v->protect != DOG_CONFIG_PROTECT_NEVER;
        if (v->returns == DOG_CONFIG_RETURN_DIRECT && is_protected)
                return dog_config_fail(
                        &v->returns_at, e, -EINVAL,
                        "vip \"%s\": with \"return: direct\" answers do not pass the front, so "
                        "nothing can be protected; write \"protect: never\" or \"return: l2\"",
                        v->name);
        if (v->protect == DOG_CONFIG_PROTECT_SHARE && v->share < 0)
                return dog_config_fail(&v->protect_at, e, -EINVAL,
                                       "vip \"%s\": \"protect: share\" needs a \"share\", such as 20%%",
                                       v->name);
        if (v->protect != DOG_CONFIG_PROTECT_SHARE && v->share >= 0)
                return dog_config_fail(&v->share_at, e, -EINVAL,
                                       "vip \"%s\": \"share\" needs \"protect: share\"", v->name);
        if (v->protect != DOG_CONFIG_PROTECT_AUTO && v->budget >= 0)
                return dog_config_fail(&v->budget_at, e, -EINVAL,
                                       "vip \"%s\": \"budget\" needs \"protect: auto\"", v->name);
        if (!is_udp && v->answer != DOG_CONFIG_ANSWER_PRIMARY)
                return dog_config_fail(&v->answer_at, e, -EINVAL,
                                       "vip \"%s\": \"answer\" is for UDP; of TCP the client gets one stream",
                                       v->name);
        if (v->mode == DOG_CONFIG_ALIGNED && (is_udp || !is_protected))
                return dog_config_fail(&v->mode_at, e, -EINVAL,
                                       "vip \"%s\": \"mode: aligned\" is for protected TCP", v->name);
        if (v->mode == DOG_CONFIG_ALIGNED && v->port == 0)
                return dog_config_fail(&v->mode_at, e, -EINVAL,
                                       "vip \"%s\": \"mode: aligned\" needs a port: a shim knows listening "
                                       "sockets",
                                       v->name);
        return 0;
}

static int vip_check(struct dog_config *c, size_t i, struct dog_err *e)
{
        struct dog_config_vip *v = &c->vip[i];
        char text[INET6_ADDRSTRLEN];
        if (!either_is_host(&v->address))
                return dog_config_fail(&v->address_at, e, -EINVAL, "vip \"%s\": %s is no host's address",
                                       v->name, either_text(&v->address, text));
        for (size_t j = 0; j < i; j++) {
                const struct dog_config_vip *w = &c->vip[j];
                if (either_is_same(&v->address, &w->address) && v->protocol == w->protocol &&
                    v->port == w->port)
                        return dog_config_fail(
                                &v->address_at, e, -EINVAL,
                                "vip \"%s\" has the address, protocol and port of vip \"%s\" at "
                                "%s",
                                v->name, w->name, place_of(&w->where).text);
        }
        for (size_t j = 0; j < c->instances; j++)
                if (either_is_same(&v->address, &c->instance[j].address))
                        return dog_config_fail(
                                &v->address_at, e, -EINVAL,
                                "vip \"%s\": %s is the own address of instance \"%s\"; a virtual "
                                "one belongs to nobody",
                                v->name, either_text(&v->address, text), c->instance[j].name);
        for (size_t j = 0; j < c->profiles && v->profile && !v->promise; j++)
                if (strcmp(c->profile[j].name, v->profile) == 0)
                        v->promise = &c->profile[j];
        if (v->profile && !v->promise)
                return dog_config_fail(&v->profile_at, e, -EINVAL, "vip \"%s\": there is no profile \"%s\"",
                                       v->name, v->profile);
        int rc = vip_fit_check(v, e);
        return rc == 0 ? seats_check(c, v, e) : rc;
}

static int vips_check(struct dog_config *c, struct dog_err *e)
{
        struct list instances = {"instance", c->instance, c->instances, sizeof(*c->instance), 0, 0};
        struct list vips = {"vip", c->vip, c->vips, sizeof(*c->vip), 0, 0};
        int rc = front_check(c, e);
        if (rc == 0)
                rc = list_check(&instances, e);
        if (rc == 0)
                rc = list_check(&vips, e);
        for (size_t i = 0; i < c->instances && rc == 0; i++)
                rc = instance_check(c, i, e);
        size_t servers = 0;
        for (size_t i = 0; i < c->vips && rc == 0; i++) {
                rc = vip_check(c, i, e);
                servers += c->vip[i].seats;
                if (rc == 0 && servers > SERVERS_MAX)
                        rc = dog_config_fail(
                                &c->vip[i].where, e, -E2BIG,
                                "vip \"%s\": with it the vips name %zu instances, at most %d are "
                                "possible",
                                c->vip[i].name, servers, SERVERS_MAX);
                /* Traffic classes of tunnels and vips are told apart by name everywhere. */
                for (size_t k = 0; k < c->classes && rc == 0; k++)
                        if (strcmp(c->class[k].name, c->vip[i].name) == 0)
                                rc = dog_config_fail(&c->vip[i].where, e, -EINVAL,
                                                     "vip \"%s\" has the name of the class at %s; rename one",
                                                     c->vip[i].name, place_of(&c->class[k].where).text);
        }
        return rc == 0 ? aligned_check(c, e) : rc;
}

/* Could instance b stand by for a? Not one that shares a fate. */
static bool instances_are_apart(const struct dog_config_instance *a, const struct dog_config_instance *b)
{
        for (size_t i = 0; i < a->fates; i++)
                for (size_t j = 0; j < b->fates; j++)
                        if (strcmp(a->fate[i].text, b->fate[j].text) == 0)
                                return false;
        return true;
}

static bool vip_has_a_pair(const struct dog_config *c, const struct dog_config_vip *v)
{
        for (size_t i = 0; i < v->seats; i++)
                for (size_t j = 0; j < i; j++) {
                        const struct dog_config_instance *a = &c->instance[v->seat[i].instance];
                        const struct dog_config_instance *b = &c->instance[v->seat[j].instance];
                        if (a->role != DOG_CONFIG_NEVER && b->role != DOG_CONFIG_NEVER &&
                            instances_are_apart(a, b))
                                return true;
                }
        return false;
}

struct notes {
        void (*note)(void *user, const char *text);
        void *user;
        size_t count;
};

static void note_tell(struct notes *n, const struct dog_config_where *where, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void note_tell(struct notes *n, const struct dog_config_where *where, const char *format, ...)
{
        char text[700];
        va_list args;
        int used = snprintf(text, sizeof(text), "%.200s:%u:%u: ", where->file, where->line, where->column);
        va_start(args, format);
        vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
        va_end(args);
        n->count++;
        if (n->note)
                n->note(n->user, text);
}

size_t dog_config_notes(const struct dog_config *c, void (*note)(void *user, const char *text), void *user)
{
        struct notes n = {.note = note, .user = user};
        for (size_t i = 0; i < c->vips; i++) {
                const struct dog_config_vip *v = &c->vip[i];
                if (v->protect == DOG_CONFIG_PROTECT_NEVER)
                        continue;
                if (v->seats == 1)
                        note_tell(&n, &v->seats_at,
                                  "vip \"%s\" is to be protected but has one instance: nobody can stand by; "
                                  "add "
                                  "another or write \"protect: never\"",
                                  v->name);
                else if (!vip_has_a_pair(c, v))
                        note_tell(&n, &v->seats_at,
                                  "vip \"%s\" is to be protected but all its instances share a fate or never "
                                  "serve: nobody can stand by",
                                  v->name);
        }
        for (size_t i = 0; i < c->instances; i++) {
                bool is_used = false;
                for (size_t v = 0; v < c->vips; v++)
                        for (size_t s = 0; s < c->vip[v].seats; s++)
                                is_used |= c->vip[v].seat[s].instance == i;
                if (!is_used)
                        note_tell(&n, &c->instance[i].where, "instance \"%s\" serves no vip",
                                  c->instance[i].name);
        }
        for (size_t i = 0; i < c->feeds; i++) {
                const struct dog_config_feed *f = &c->feed[i];
                struct stat st;
                if (f->file && stat(f->file, &st) < 0)
                        note_tell(&n, &f->file_at, "feed \"%s\": there is no file %s yet", f->name, f->file);
                if (f->url && strncasecmp(f->url, "http:", 5) == 0)
                        note_tell(&n, &f->url_at,
                                  "feed \"%s\" is fetched without TLS: whoever is on the way can add caution",
                                  f->name);
        }
        return n.count;
}

/* ---- feeds ---- */

static bool feed_knows(const struct dog_config *c, const char *name)
{
        for (size_t i = 0; i < c->tunnels; i++) {
                if (strcmp(c->tunnel[i].name, name) == 0)
                        return true;
                for (size_t p = 0; p < c->tunnel[i].paths; p++)
                        if (strcmp(c->tunnel[i].path[p].name, name) == 0)
                                return true;
        }
        for (size_t i = 0; i < c->instances; i++) {
                if (strcmp(c->instance[i].name, name) == 0)
                        return true;
                for (size_t f = 0; f < c->instance[i].fates; f++)
                        if (strcmp(c->instance[i].fate[f].text, name) == 0)
                                return true;
        }
        return false;
}

/* What the formats tell: the rows of dog_feed_map_of(), which a test compares with this. */
static bool feed_format_tells(int64_t format, int64_t measure)
{
        enum { SUNDOG, MET_NORWAY, NWS, OPEN_METEO };
        enum { RAIN, SNOW, WIND };
        return format == SUNDOG || measure == RAIN || measure == WIND ||
               (format == OPEN_METEO && measure == SNOW);
}

static int feed_json_check(const struct dog_config_feed *f, struct dog_err *e)
{
        static const char *const format[] = {"sundog", "met-norway", "nws", "open-meteo"};
        static const char *const measure[] = {"rain", "snow", "wind", "attendance"};
        bool has_map =
                f->map.entries || f->map.start || f->map.end || f->map.value || f->map.place || f->map.words;
        bool is_said = f->format || f->measure >= 0 || f->from >= 0 || f->full >= 0 || has_map;
        int64_t judged = f->measure >= 0 ? f->measure : f->kind == DOG_CONFIG_EVENTS ? 3 : 0;
        if (f->kind == DOG_CONFIG_CALENDAR && is_said)
                return dog_config_fail(
                        &f->where, e, -EINVAL,
                        "feed \"%s\": \"format\", \"measure\", \"from\", \"full\" and \"map\" are for "
                        "weather and events; a calendar has them all from RFC 5545",
                        f->name);
        if (f->kind != DOG_CONFIG_CALENDAR && !f->map.value && !feed_format_tells(f->format, judged))
                return dog_config_fail(
                        &f->format_at, e, -EINVAL,
                        "feed \"%s\": the format %s does not tell %s; choose another \"measure\" or "
                        "\"format\", or say where it stands by \"map: {value: ...}\"",
                        f->name, format[f->format], measure[judged]);
        if (f->from >= 0 && f->full >= 0 && f->full <= f->from)
                return dog_config_fail(&f->full_at, e, -EINVAL,
                                       "feed \"%s\": \"full\" must be more than \"from\"", f->name);
        return 0;
}

static int feed_check(const struct dog_config *c, const struct dog_config_feed *f, struct dog_err *e)
{
        if (!f->url == !f->file)
                return dog_config_fail(f->url ? &f->file_at : &f->where, e, -EINVAL,
                                       "feed \"%s\" needs one source: \"url\" or \"file\", not %s", f->name,
                                       f->url ? "both" : "neither");
        if (f->stale_ns < f->interval_ns)
                return dog_config_fail(
                        &f->stale_at, e, -EINVAL,
                        "feed \"%s\" would be stale before it is fetched again: \"stale_after\" is less "
                        "than \"interval\"",
                        f->name);
        if (f->adds >= 0 && f->times > 0)
                return dog_config_fail(
                        &f->times_at, e, -EINVAL,
                        "feed \"%s\": \"adds\" and \"times\" say the same thing; give one of them", f->name);
        for (size_t i = 0; i < f->affects; i++) {
                if (!feed_knows(c, f->affect[i].text))
                        return dog_config_fail(
                                &f->affects_at, e, -EINVAL,
                                "feed \"%s\": there is no path, tunnel, instance or fate \"%s\"", f->name,
                                f->affect[i].text);
                for (size_t k = 0; k < i; k++)
                        if (strcmp(f->affect[i].text, f->affect[k].text) == 0)
                                return dog_config_fail(&f->affects_at, e, -EINVAL,
                                                       "feed \"%s\" names \"%s\" twice", f->name,
                                                       f->affect[i].text);
        }
        return feed_json_check(f, e);
}

static int feeds_check(struct dog_config *c, struct dog_err *e)
{
        struct list feeds = {"feed", c->feed, c->feeds, sizeof(*c->feed), 0, 0};
        int rc = list_check(&feeds, e);
        for (size_t i = 0; i < c->feeds && rc == 0; i++)
                rc = feed_check(c, &c->feed[i], e);
        return rc;
}

/* ---- all of it ---- */

static int policy_check(const struct dog_config *c, struct dog_err *e)
{
        const struct dog_config_policy *p = &c->policy;
        if (p->horizon_near_ns >= p->horizon_middle_ns || p->horizon_middle_ns >= p->horizon_far_ns)
                return dog_err_set(e, -EINVAL,
                                   "%.200s: policy: horizon_near, horizon_middle and horizon_far must grow "
                                   "in this order",
                                   c->site_at.file);
        return 0;
}

int dog_config_check(struct dog_config *c, struct dog_err *e)
{
        struct list profiles = {"profile", c->profile, c->profiles, sizeof(*c->profile), 0, 0};
        struct list tunnels = {
                "tunnel", c->tunnel, c->tunnels, sizeof(*c->tunnel), offsetof(struct dog_config_tunnel, id),
                1};
        struct list classes = {
                "class", c->class, c->classes, sizeof(*c->class), offsetof(struct dog_config_class, id), 1};
        int rc = policy_check(c, e);
        if (rc == 0)
                rc = list_check(&profiles, e);
        if (rc == 0)
                rc = list_check(&tunnels, e);
        if (rc == 0)
                rc = list_check(&classes, e);
        for (size_t i = 0; i < c->tunnels && rc == 0; i++)
                rc = tunnel_check(c, i, e);
        for (size_t i = 0; i < c->classes && rc == 0; i++)
                rc = class_check(c, i, e);
        if (rc == 0)
                rc = vips_check(c, e);
        return rc == 0 ? feeds_check(c, e) : rc;
}

/* "tunnel "t": key file /x is ..." */
static int key_file_check(const char *what, const char *name, const char *file,
                          const struct dog_config_where *at, struct dog_err *e)
{
        struct stat st;
        if (stat(file, &st) < 0) {
                int error = errno;
                return dog_config_fail(at, e, -error, "%s%s%s: cannot read key file %s: %s", what,
                                       *name ? " " : "", name, file, strerror(error));
        }
        if (!S_ISREG(st.st_mode))
                return dog_config_fail(at, e, -EINVAL, "%s%s%s: key file %s is not a file", what,
                                       *name ? " " : "", name, file);
        if (st.st_mode & (S_IRWXG | S_IRWXO))
                return dog_config_fail(
                        at, e, -EPERM, "%s%s%s: key file %s is open to others (mode %04o); run: chmod 600 %s",
                        what, *name ? " " : "", name, file, (unsigned)st.st_mode & 07777U, file);
        if (st.st_size < KEY_FILE_LEAST)
                return dog_config_fail(
                        at, e, -EINVAL,
                        "%s%s%s: key file %s is %s; a key has 64 hexadecimal digits, like those "
                        "of: openssl rand -hex 32",
                        what, *name ? " " : "", name, file, st.st_size == 0 ? "empty" : "too short");
        return 0;
}

/* The time zones of this system are files. */
static int feed_zone_check(const struct dog_config_feed *f, struct dog_err *e)
{
        char file[400];
        struct stat st;
        if (strcmp(f->timezone, "UTC") == 0)
                return 0;
        snprintf(file, sizeof(file), "/usr/share/zoneinfo/%s", f->timezone);
        if (strstr(f->timezone, "..") || stat(file, &st) < 0 || !S_ISREG(st.st_mode))
                return dog_config_fail(
                        &f->timezone_at, e, -EINVAL,
                        "feed \"%s\": there is no time zone \"%s\" on this system; write one such as "
                        "Europe/Vienna (see: timedatectl list-timezones)",
                        f->name, f->timezone);
        return 0;
}

int dog_config_check_files(const struct dog_config *c, struct dog_err *e)
{
        char quoted[40];
        int rc = 0;
        for (size_t i = 0; i < c->tunnels && rc == 0; i++) {
                const struct dog_config_tunnel *t = &c->tunnel[i];
                snprintf(quoted, sizeof(quoted), "\"%s\"", t->name);
                rc = key_file_check("tunnel", quoted, t->key_file, &t->key_file_at, e);
        }
        for (size_t i = 0; i < c->instances && rc == 0; i++) {
                const struct dog_config_instance *n = &c->instance[i];
                snprintf(quoted, sizeof(quoted), "\"%s\"", n->name);
                if (n->agent_key_file)
                        rc = key_file_check("instance", quoted, n->agent_key_file, &n->agent_key_file_at, e);
        }
        if (rc == 0 && c->front.key_file)
                rc = key_file_check("the front", "", c->front.key_file, &c->front.key_file_at, e);
        if (rc == 0 && c->front.pair_key_file)
                rc = key_file_check("the front", "", c->front.pair_key_file, &c->front.pair_key_file_at, e);
        if (rc == 0 && c->front.aligned_key_file)
                rc = key_file_check("the front", "", c->front.aligned_key_file, &c->front.aligned_key_file_at,
                                    e);
        for (size_t i = 0; i < c->feeds && rc == 0; i++)
                rc = feed_zone_check(&c->feed[i], e);
        return rc;
}
