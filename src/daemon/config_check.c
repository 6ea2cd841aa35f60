#include "daemon/config_impl.h"

#include "base/array.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
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
        return rc;
}

int dog_config_check_files(const struct dog_config *c, struct dog_err *e)
{
        for (size_t i = 0; i < c->tunnels; i++) {
                const struct dog_config_tunnel *t = &c->tunnel[i];
                struct stat st;
                if (stat(t->key_file, &st) < 0) {
                        int error = errno;
                        return dog_config_fail(&t->key_file_at, e, -error,
                                               "tunnel \"%s\": cannot read key file %s: %s", t->name,
                                               t->key_file, strerror(error));
                }
                if (!S_ISREG(st.st_mode))
                        return dog_config_fail(&t->key_file_at, e, -EINVAL,
                                               "tunnel \"%s\": key file %s is not a file", t->name,
                                               t->key_file);
                if (st.st_mode & (S_IRWXG | S_IRWXO))
                        return dog_config_fail(
                                &t->key_file_at, e, -EPERM,
                                "tunnel \"%s\": key file %s is open to others (mode %04o); run: chmod 600 %s",
                                t->name, t->key_file, (unsigned)st.st_mode & 07777U, t->key_file);
                if (st.st_size < KEY_FILE_LEAST)
                        return dog_config_fail(&t->key_file_at, e, -EINVAL,
                                               "tunnel \"%s\": key file %s is %s; a key has 64 hexadecimal "
                                               "digits, like those of: openssl rand -hex 32",
                                               t->name, t->key_file, st.st_size == 0 ? "empty" : "too short");
        }
        return 0;
}
