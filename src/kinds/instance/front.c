#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "kinds/instance/front_inside.h"
#include "kinds/instance/maglev.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------- asking */

static int front_ask_open(struct instance_front *f, const char *object, const struct dog_hands_open *sizes,
                          uint32_t *adopted, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_OBJECT_OPEN);
        struct dog_hands_reply r;
        q.as.object = *sizes;
        int rc = dog_hands_name_set(q.as.object.object, object, e);
        if (rc == 0)
                rc = dog_hands_name_set(q.as.object.instance, INSTANCE_FRONT, e);
        if (rc == 0)
                rc = dog_hands_call(f->hands, &q, &r, NULL, e);
        if (rc == 0 && adopted)
                *adopted += r.as.object.adopted;
        return rc;
}

static void front_ask_size(struct dog_hands_open *open, const char *map, uint32_t entries,
                           enum dog_hands_keep keep)
{
        struct dog_hands_map_size *s = &open->size[open->n_sizes++];
        dog_hands_name_set(s->map, map, NULL);
        s->entries = entries;
        s->keep = keep;
}

static int front_ask_load(struct instance_front *f, const char *object, const char *program, uint32_t *handle,
                          struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_PROGRAM_LOAD);
        struct dog_hands_reply r;
        uint32_t is_host = f->is.is_host;
        dog_hands_name_set(q.as.program.object, object, NULL);
        dog_hands_name_set(q.as.program.instance, INSTANCE_FRONT, NULL);
        dog_hands_name_set(q.as.program.program, program, NULL);
        if (handle != &f->xdp) {
                struct dog_hands_setting *s = &q.as.program.setting[q.as.program.n_settings++];
                dog_hands_name_set(s->name, "instance_is_host", NULL);
                s->n_bytes = sizeof(is_host);
                memcpy(s->bytes, &is_host, sizeof(is_host));
        }
        int rc = dog_hands_call(f->hands, &q, &r, NULL, e);
        *handle = rc < 0 ? DOG_HANDS_NO_HANDLE : r.as.program.handle;
        return rc;
}

static void front_ask_drop(struct instance_front *f, uint32_t *handle)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_PROGRAM_DROP);
        struct dog_hands_reply r;
        q.as.program.handle = *handle;
        if (*handle != DOG_HANDS_NO_HANDLE)
                (void)dog_hands_call(f->hands, &q, &r, NULL, NULL);
        *handle = DOG_HANDS_NO_HANDLE;
}

static int front_ask_tc(struct instance_front *f, const char *device, bool is_egress, uint32_t handle,
                        struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_TC_ATTACH);
        struct dog_hands_reply r;
        dog_hands_name_set(q.as.tc.instance, INSTANCE_FRONT, NULL);
        dog_hands_name_set(q.as.tc.device, device, NULL);
        q.as.tc.is_egress = is_egress;
        q.as.tc.handle = handle;
        int rc = dog_hands_call(f->hands, &q, &r, NULL, e);
        if (rc == 0 && !r.as.tc.was_there)
                dog_log(DOG_LOG_INFO, "front event=attached device=%s hook=tc-%s by=%s", device,
                        is_egress ? "egress" : "ingress",
                        r.as.tc.how == DOG_HANDS_TC_LINK ? "link" : "filter");
        return rc;
}

static int front_ask_xdp(struct instance_front *f, const char *device, uint32_t op, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(op);
        struct dog_hands_reply r;
        dog_hands_name_set(q.as.attach.instance, INSTANCE_FRONT, NULL);
        dog_hands_name_set(q.as.attach.device, device, NULL);
        if (op == DOG_HANDS_XDP_ATTACH) {
                q.as.attach.handle = f->xdp;
                /* Generic XDP runs behind what it was to spare: then tc alone does as well. */
                q.as.attach.mode =
                        f->is.hook == INSTANCE_HOOK_AUTO ? DOG_HANDS_MODE_NATIVE : DOG_HANDS_MODE_AUTO;
        }
        int rc = dog_hands_call(f->hands, &q, &r, NULL, e);
        if (rc == 0 && op == DOG_HANDS_XDP_ATTACH && !r.as.attach.was_there)
                dog_log(DOG_LOG_INFO, "front event=attached device=%s hook=xdp by=%s", device,
                        r.as.attach.mode == DOG_HANDS_MODE_NATIVE ? "native" : "generic");
        return rc;
}

/* ------------------------------------------------------------------------------------ open */

static int front_settings(struct instance_front *f, const struct instance_front_settings *settings,
                          struct dog_err *e)
{
        f->is = *settings;
        if (f->is.conns_most == 0)
                f->is.conns_most = 65536;
        if (f->is.syns_most == 0)
                f->is.syns_most = 16384;
        if (f->is.idle_ns == 0)
                f->is.idle_ns = UINT64_C(900000000000);
        if (f->is.hang_ns == 0)
                f->is.hang_ns = UINT64_C(150000000);
        if (f->is.devices == 0 || f->is.devices > INSTANCE_FRONT_DEVICES)
                return dog_err_set(e, -EINVAL, "front: %u devices, where 1 to %d are possible", f->is.devices,
                                   INSTANCE_FRONT_DEVICES);
        if (f->is.conns_most & (f->is.conns_most - 1))
                return dog_err_set(e, -EINVAL, "front: %u connections: give a power of two",
                                   f->is.conns_most);
        for (unsigned i = 0; i < f->is.devices; i++) {
                int rc = dog_hands_name_set(f->device[i], settings->device[i], e);
                if (rc < 0)
                        return dog_err_prefix(e, rc, "front: device");
                f->is.device[i] = f->device[i];
        }
        return 0;
}

static int front_maps(struct instance_front *f, struct dog_err *e)
{
        struct dog_hands_open open = {0}, none = {0};
        front_ask_size(&open, "instance_conns4", f->is.conns_most, DOG_HANDS_KEEP_ENTRIES);
        front_ask_size(&open, "instance_conns6", f->is.conns_most, DOG_HANDS_KEEP_ENTRIES);
        front_ask_size(&open, "instance_syns", f->is.syns_most, DOG_HANDS_KEEP_ENTRIES);
        int rc = front_ask_open(f, "instance_tc", &open, &f->adopted, e);
        if (rc == 0 && f->is.hook != INSTANCE_HOOK_TC && !f->is.is_host)
                rc = front_ask_open(f, "instance_xdp", &none, NULL, e);
        const struct {
                struct dog_map *map;
                const char *name;
                size_t size;
        } row[] = {
                {&f->vips, "instance_vips", sizeof(struct instance_vip)},
                {&f->table, "instance_table", sizeof(struct instance_pick_pair)},
                {&f->servers, "instance_servers", sizeof(struct instance_server)},
                {&f->back, "instance_back", sizeof(struct instance_back)},
                {&f->conns[0], "instance_conns4", sizeof(struct instance_conn)},
                {&f->conns[1], "instance_conns6", sizeof(struct instance_conn)},
                {&f->orders, "instance_orders", sizeof(uint32_t)},
                {&f->events, "instance_events", 0},
                {&f->vip_stats, "instance_vip_stats", sizeof(struct instance_vip_stats)},
                {&f->server_stats, "instance_server_stats", sizeof(struct instance_server_stats)},
                {&f->responses, "instance_responses", sizeof(struct instance_response)},
                {&f->classes, "instance_classes", sizeof(struct instance_class)},
                {&f->live, "instance_live", sizeof(uint32_t)},
                {&f->words, "instance_words", sizeof(struct instance_word)},
                {&f->cookies, "instance_cookies", sizeof(struct instance_cookie_vip)},
                {&f->loose, "instance_loose", sizeof(uint32_t)},
                {&f->drops, "instance_drops", sizeof(uint64_t)},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row) && rc == 0; i++)
                rc = dog_map_open(row[i].map, f->hands, INSTANCE_FRONT, row[i].name, row[i].size, e);
        if (rc == 0 && f->is.hook != INSTANCE_HOOK_TC && !f->is.is_host)
                rc = dog_map_open(&f->xdp_out, f->hands, INSTANCE_FRONT, "instance_xdp_out", sizeof(uint32_t),
                                  e);
        if (rc == 0 && (!f->table.memory || !f->servers.memory))
                rc = dog_err_set(e, -EPROTO, "front: the maps of tables and servers cannot be mapped");
        return rc;
}

static int front_programs(struct instance_front *f, struct dog_err *e)
{
        int rc = front_ask_load(f, "instance_tc", "instance_tc_ingress", &f->tc_ingress, e);
        if (rc == 0 && f->is.is_host)
                rc = front_ask_load(f, "instance_tc", "instance_tc_egress", &f->tc_egress, e);
        if (rc == 0 && f->is.hook != INSTANCE_HOOK_TC && !f->is.is_host)
                rc = front_ask_load(f, "instance_xdp", "instance_xdp", &f->xdp, e);
        return rc;
}

int instance_front_open(struct instance_front **out, const struct instance_front_settings *settings,
                        struct dog_hands_client *hands, struct dog_err *e)
{
        struct instance_front *f = calloc(1, sizeof(*f));
        if (!f)
                return dog_err_set(e, -ENOMEM, "front: out of memory");
        f->hands = hands;
        int rc = front_settings(f, settings, e);
        if (rc == 0)
                rc = front_maps(f, e);
        if (rc == 0)
                rc = front_programs(f, e);
        if (rc == 0)
                rc = front_conn_init(f, e);
        if (rc < 0) {
                instance_front_close(f);
                return dog_err_prefix(e, rc, "front");
        }
        *out = f;
        return 0;
}

void instance_front_close(struct instance_front *f)
{
        if (!f)
                return;
        front_ask_drop(f, &f->tc_ingress);
        front_ask_drop(f, &f->tc_egress);
        front_ask_drop(f, &f->xdp);
        front_conn_fini(f);
        struct dog_map *const map[] = {
                &f->vips,         &f->table,   &f->servers, &f->back,      &f->conns[0],  &f->conns[1],
                &f->orders,       &f->events,  &f->live,    &f->xdp_out,   &f->vip_stats, &f->drops,
                &f->server_stats, &f->cookies, &f->loose,   &f->responses, &f->classes,   &f->words};
        for (size_t i = 0; i < ARRAY_SIZE(map); i++)
                dog_map_close(map[i]);
        for (size_t i = 0; i < ARRAY_SIZE(f->frames); i++)
                if (f->frames[i].fd > 0)
                        close(f->frames[i].fd);
        free(f);
}

int instance_front_remove(struct instance_front *f, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_OBJECT_FORGET);
        struct dog_hands_reply r;
        dog_hands_name_set(q.as.object.instance, INSTANCE_FRONT, NULL);
        int rc = dog_hands_call(f->hands, &q, &r, NULL, e);
        instance_front_close(f);
        return rc;
}

uint32_t instance_front_adopted(const struct instance_front *f)
{
        return f->adopted;
}

/* ------------------------------------------------------------------------------------ vips */

static struct instance_address front_address(const struct dog_hands_address *a)
{
        struct instance_address to = {0};
        if (a->version == 6) {
                memcpy(&to, a->bytes, 16);
                return to;
        }
        to.word[2] = htonl(0xffff);
        memcpy(&to.word[3], a->bytes, 4);
        return to;
}

/* Is it an address of this machine? The kernel lets one bind to no other. */
static bool front_is_own(const struct dog_hands_address *a)
{
        struct sockaddr_in six_or_four = {.sin_family = AF_INET};
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        bool is_four = a->version == 4;
        memcpy(&six_or_four.sin_addr, a->bytes, 4);
        memcpy(&six.sin6_addr, a->bytes, 16);
        int fd = socket(is_four ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return false;
        int rc = is_four ? bind(fd, (const void *)&six_or_four, sizeof(six_or_four))
                         : bind(fd, (const void *)&six, sizeof(six));
        close(fd);
        return rc == 0;
}

static int front_vip_check(const struct instance_front *f, unsigned number,
                           const struct instance_vip_settings *set, struct dog_err *e)
{
        if (number >= INSTANCE_VIPS_MAX)
                return dog_err_set(e, -EINVAL, "more than %d vips", INSTANCE_VIPS_MAX);
        if (set->address.version == 0)
                return dog_err_set(e, -EINVAL, "it has no address");
        if (set->proto != IPPROTO_TCP && set->proto != IPPROTO_UDP)
                return dog_err_set(e, -EINVAL, "protocol %u: TCP and UDP are served", set->proto);
        if (set->protect != INSTANCE_PROTECT_NEVER && set->port == 0)
                return dog_err_set(
                        e, -EINVAL,
                        "every port of an address cannot be protected: give the port, once for each");
        if (set->protect != INSTANCE_PROTECT_NEVER && set->returns == INSTANCE_RETURN_DIRECT)
                return dog_err_set(
                        e, -EINVAL,
                        "answers that do not come back this way cannot be protected: set \"protect: "
                        "never\" or another way to return");
        if (set->share < 0 || set->share > 1)
                return dog_err_set(e, -EINVAL, "share %g: give 0 to 1", set->share);
        for (unsigned i = 0; i < INSTANCE_VIPS_MAX; i++) {
                const struct front_vip *other = &f->vip[i];
                if (i != number && other->is_set && other->is.port == set->port &&
                    other->is.proto == set->proto &&
                    dog_hands_address_same(&other->is.address, &set->address))
                        return dog_err_set(e, -EEXIST, "%s has this address, protocol and port already",
                                           other->name);
        }
        return 0;
}

static struct instance_vip_key front_vip_key(const struct instance_vip_settings *set)
{
        return (struct instance_vip_key){
                .address = front_address(&set->address), .port = htons(set->port), .proto = set->proto};
}

static uint32_t front_share(double share)
{
        return share >= 1 ? UINT32_MAX : share <= 0 ? 0 : (uint32_t)(share * 4294967296.0);
}

int front_vip_write(struct instance_front *f, struct front_vip *vip, struct dog_err *e)
{
        if (bpf_map_update_elem(f->vips.fd, &vip->key, &vip->value, BPF_ANY) < 0)
                return dog_err_set(e, -errno, "vip %s: its entry cannot be written: %s", vip->name,
                                   strerror(errno));
        struct instance_vip_key rest = {.address = vip->key.address};
        /* On an address that is served nothing else is let through; on one of our own, ssh may listen. */
        if (!vip->is_address_ours && bpf_map_update_elem(f->vips.fd, &rest, &vip->value, BPF_ANY) < 0)
                return dog_err_set(e, -errno, "vip %s: the entry of its address cannot be written: %s",
                                   vip->name, strerror(errno));
        return 0;
}

int instance_front_vip_find(struct instance_front *f, const struct instance_vip_settings *set)
{
        struct instance_vip_key key = front_vip_key(set);
        struct instance_vip value;
        if (bpf_map_lookup_elem(f->vips.fd, &key, &value) < 0)
                return -ENOENT;
        return value.number < INSTANCE_VIPS_MAX ? (int)value.number : -ENOENT;
}

static void front_vip_fill(struct front_vip *vip, unsigned number)
{
        const struct instance_vip_settings *is = &vip->is;
        struct instance_vip *v = &vip->value;
        v->number = number;
        v->flags = (v->flags & INSTANCE_VIP_HAS_ORDERS) | (is->is_aligned ? INSTANCE_VIP_ALIGNED : 0) |
                   (is->has_guard ? INSTANCE_VIP_GUARD : 0) | (is->has_classes ? INSTANCE_VIP_CLASSES : 0);
        v->share = front_share(is->share);
        v->most = is->most;
        v->protect = (uint8_t)is->protect;
        v->returns = (uint8_t)is->returns;
        v->answer = (uint8_t)is->answer;
        v->lag_bytes = is->lag_bytes;
        v->lag_ticks = (uint32_t)(((uint64_t)is->lag_ms * 1000000) >> INSTANCE_TICK_SHIFT);
}

static struct instance_pick *front_row(const struct instance_front *f, uint32_t row)
{
        return (struct instance_pick *)f->table.memory + (size_t)row * INSTANCE_ROW;
}

/* A vip that an earlier session made goes on where it is: its table, and the seed that chose the servers. */
static void front_vip_adopt(struct instance_front *f, struct front_vip *vip, unsigned number)
{
        struct instance_vip old;
        if (bpf_map_lookup_elem(f->vips.fd, &vip->key, &old) == 0 && old.number == number &&
            old.row / 2 == number) {
                vip->value.row = old.row;
                vip->value.seed = old.seed;
                return;
        }
        struct instance_pick *row = front_row(f, number * 2);
        for (uint32_t i = 0; i < INSTANCE_TABLE; i++)
                row[i] = (struct instance_pick){INSTANCE_NOBODY, INSTANCE_NOBODY};
        vip->value.row = number * 2;
        if (getrandom(&vip->value.seed, sizeof(vip->value.seed), 0) != sizeof(vip->value.seed))
                vip->value.seed = (uint32_t)number * 2654435761u;
}

static void front_vip_forget(struct instance_front *f, struct front_vip *vip)
{
        struct instance_vip_key rest = {.address = vip->key.address};
        bool is_alone = true;
        for (unsigned i = 0; i < INSTANCE_VIPS_MAX; i++)
                if (&f->vip[i] != vip && f->vip[i].is_set &&
                    memcmp(&f->vip[i].key.address, &vip->key.address, sizeof(rest.address)) == 0)
                        is_alone = false;
        (void)bpf_map_delete_elem(f->vips.fd, &vip->key);
        if (is_alone)
                (void)bpf_map_delete_elem(f->vips.fd, &rest);
}

int instance_front_vip_set(struct instance_front *f, unsigned number, const struct instance_vip_settings *set,
                           struct dog_err *e)
{
        int rc = front_vip_check(f, number, set, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "vip %s", set->name);
        struct front_vip *vip = &f->vip[number];
        struct instance_vip_key key = front_vip_key(set);
        bool is_same = vip->is_set && memcmp(&key, &vip->key, sizeof(key)) == 0;
        if (vip->is_set && !is_same)
                front_vip_forget(f, vip);
        snprintf(vip->name, sizeof(vip->name), "%s", set->name);
        vip->is = *set;
        vip->is.name = vip->name;
        vip->key = key;
        vip->is_address_ours = !f->is.is_host && front_is_own(&set->address);
        if (!is_same) {
                vip->value = (struct instance_vip){0};
                front_vip_adopt(f, vip, number);
        }
        if (set->seed)
                vip->value.seed = set->seed;
        front_vip_fill(vip, number);
        vip->is_set = true;
        return front_vip_write(f, vip, e);
}

void instance_front_share_set(struct instance_front *f, unsigned vip, double share)
{
        if (vip >= INSTANCE_VIPS_MAX || !f->vip[vip].is_set)
                return;
        f->vip[vip].is.share = share;
        f->vip[vip].value.share = front_share(share);
        (void)front_vip_write(f, &f->vip[vip], NULL);
}

/* --------------------------------------------------------------------------------- servers */

struct instance_server *front_server_at(const struct instance_front *f, unsigned server)
{
        return dog_map_at(&f->servers, server);
}

int instance_front_server_find(struct instance_front *f, const struct instance_server_settings *set)
{
        struct instance_address address = front_address(&set->address);
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                const struct instance_server *s = front_server_at(f, i);
                uint16_t port = set->port;
                if (port == 0 && set->vip < INSTANCE_VIPS_MAX)
                        port = f->vip[set->vip].is.port;
                if (s->flags & INSTANCE_SERVER_SET && s->vip == set->vip && s->port == htons(port) &&
                    memcmp(&s->address, &address, sizeof(address)) == 0)
                        return (int)i;
        }
        return -ENOENT;
}

/* Under which key do its answers come back? False: they do not come this way. */
static bool front_back_key(struct instance_back_key *key, const struct front_vip *vip,
                           const struct instance_server *s)
{
        *key = (struct instance_back_key){.proto = vip->is.proto};
        switch (vip->is.returns) {
        case INSTANCE_RETURN_NAT:
                key->address = s->address;
                key->port = s->port;
                return true;
        case INSTANCE_RETURN_L2:
                key->address = vip->key.address;
                key->port = vip->key.port;
                memcpy(key->mac, s->mac, 6);
                return true;
        case INSTANCE_RETURN_DIRECT:
                break;
        }
        return false;
}

static int front_back_write(struct instance_front *f, unsigned number, const struct instance_server *s,
                            struct dog_err *e)
{
        struct front_server *server = &f->server[number];
        const struct front_vip *vip = &f->vip[server->is.vip];
        struct instance_back_key key;
        struct instance_back value = {.server = (uint16_t)number,
                                      .vip = server->is.vip,
                                      .port = vip->key.port,
                                      .address = vip->key.address};
        bool has = front_back_key(&key, vip, s);
        if (has && bpf_map_update_elem(f->back.fd, &key, &value, BPF_ANY) < 0)
                return dog_err_set(e, -errno, "its way back cannot be written: %s", strerror(errno));
        if (server->has_back && (!has || memcmp(&key, &server->back, sizeof(key)) != 0))
                (void)bpf_map_delete_elem(f->back.fd, &server->back);
        server->has_back = has;
        server->back = key;
        return 0;
}

/*
 * May frames be sent to this device from XDP? A veth drops them unless its far end, which is none of ours to
 * look at, receives by NAPI: so only where it was asked for in so many words.
 */
static bool front_xdp_takes(const struct instance_front *f, const char *device)
{
        struct dog_link link;
        if (f->xdp == DOG_HANDS_NO_HANDLE || dog_link_get(&link, device, NULL) < 0)
                return false;
        return f->is.hook == INSTANCE_HOOK_XDP || strcmp(link.kind, "veth") != 0;
}

/* Into the mapped entry; the flags last, for they make it valid. */
static int front_server_write(struct instance_front *f, unsigned number, struct dog_err *e)
{
        struct front_server *server = &f->server[number];
        const struct front_vip *vip = &f->vip[server->is.vip];
        struct instance_server *to = front_server_at(f, number);
        uint16_t port = server->is.port ? server->is.port : vip->is.port;
        struct instance_server s = *to;
        s.ifindex = server->hop.index;
        memcpy(s.mac, server->hop.mac, 6);
        memcpy(s.own_mac, server->hop.own_mac, 6);
        s.address = front_address(&server->is.address);
        s.port = htons(port);
        s.vip = server->is.vip;
        /* Of another server before: nothing that was said of that one holds. */
        bool is_other = s.vip != to->vip || s.port != to->port ||
                        memcmp(&s.address, &to->address, sizeof(s.address)) != 0;
        s.flags = INSTANCE_SERVER_SET | (is_other ? 0 : to->flags & ~(uint32_t)INSTANCE_SERVER_XDP) |
                  (front_xdp_takes(f, server->device) ? INSTANCE_SERVER_XDP : 0);
        int rc = front_back_write(f, number, &s, e);
        if (rc < 0)
                return rc;
        if (is_other)
                __atomic_store_n(&to->flags, 0, __ATOMIC_RELEASE);
        uint32_t flags = s.flags;
        s.flags = to->flags;
        memcpy(to, &s, sizeof(s));
        __atomic_store_n(&to->flags, flags, __ATOMIC_RELEASE);
        return 0;
}

/* What may come by itself: a device, a route, a neighbour. */
static bool front_may_come(int rc)
{
        return rc == -ENODEV || rc == -EAGAIN || rc == -EHOSTUNREACH || rc == -ENETUNREACH;
}

static int front_server_hop(struct front_server *s, int wait_ms, struct dog_err *e)
{
        struct dog_next_hop hop;
        int rc = dog_next_hop_find(&hop, s->device, NULL, &s->is.address, wait_ms, e);
        if (rc < 0)
                return rc;
        bool is_same = s->has_hop && hop.index == s->hop.index && memcmp(hop.mac, s->hop.mac, 6) == 0 &&
                       memcmp(hop.own_mac, s->hop.own_mac, 6) == 0;
        s->hop = hop;
        s->has_hop = true;
        return !is_same;
}

static int front_server_check(const struct instance_front *f, unsigned number,
                              const struct instance_server_settings *set, struct dog_err *e)
{
        if (number >= INSTANCE_SERVERS_MAX)
                return dog_err_set(e, -EINVAL, "more than %d servers", INSTANCE_SERVERS_MAX);
        if (set->vip >= INSTANCE_VIPS_MAX || !f->vip[set->vip].is_set)
                return dog_err_set(e, -ENOENT, "there is no vip %u", set->vip);
        const struct front_vip *vip = &f->vip[set->vip];
        if (set->address.version != vip->is.address.version)
                return dog_err_set(e, -EINVAL, "its address is of another version of IP than %s", vip->name);
        bool has_device = false;
        for (unsigned i = 0; i < f->is.devices; i++)
                has_device |= strcmp(f->device[i], set->device) == 0;
        if (!has_device)
                return dog_err_set(e, -EINVAL, "device %s is none of the front's", set->device);
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX && vip->is.returns == INSTANCE_RETURN_NAT; i++) {
                const struct front_server *other = &f->server[i];
                uint16_t port = set->port ? set->port : vip->is.port;
                if (i == number || !other->is_set || f->vip[other->is.vip].is.proto != vip->is.proto ||
                    !dog_hands_address_same(&other->is.address, &set->address))
                        continue;
                uint16_t its = other->is.port ? other->is.port : f->vip[other->is.vip].is.port;
                if (its == port && f->vip[other->is.vip].is.returns == INSTANCE_RETURN_NAT)
                        return dog_err_set(e, -EEXIST,
                                           "server %s has this address and port already: whose answer is it?",
                                           other->name);
        }
        return 0;
}

int instance_front_server_set(struct instance_front *f, unsigned number,
                              const struct instance_server_settings *set, int wait_ms, struct dog_err *e)
{
        int rc = front_server_check(f, number, set, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "server %s", set->name);
        struct front_server *s = &f->server[number];
        if (s->is_set && s->is.vip == set->vip && strcmp(s->device, set->device) == 0 &&
            dog_hands_address_same(&s->is.address, &set->address) && s->is.port == set->port) {
                snprintf(s->name, sizeof(s->name), "%s", set->name);
                rc = front_server_hop(s, wait_ms, e);
        } else {
                struct instance_back_key back = s->back;
                bool had_back = s->has_back;
                *s = (struct front_server){.is = *set, .is_set = true, .back = back, .has_back = had_back};
                snprintf(s->name, sizeof(s->name), "%s", set->name);
                snprintf(s->device, sizeof(s->device), "%s", set->device);
                s->is.name = s->name;
                s->is.device = s->device;
                rc = front_server_hop(s, wait_ms, e);
        }
        if (rc >= 0)
                rc = front_server_write(f, number, e);
        if (rc == 0)
                rc = front_frames_need(f, s->device, e);
        if (rc < 0 && !front_may_come(rc))
                s->is_set = false;
        return rc < 0 ? dog_err_prefix(e, rc, "server %s", set->name) : 0;
}

unsigned instance_front_refresh(struct instance_front *f, int wait_ms)
{
        unsigned changed = 0;
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++) {
                struct front_server *s = &f->server[i];
                struct dog_err e = {0};
                if (!s->is_set)
                        continue;
                int rc = front_server_hop(s, wait_ms, &e);
                if (rc <= 0)
                        continue;
                rc = front_server_write(f, i, &e);
                if (rc == 0)
                        rc = front_frames_need(f, s->device, &e);
                if (rc < 0)
                        dog_log(DOG_LOG_WARN, "front server=%s event=no-next-hop why=\"%s\"", s->name,
                                e.text);
                changed += rc == 0;
        }
        return changed;
}

/* ----------------------------------------------------------------------------------- table */

int instance_front_table_set(struct instance_front *f, unsigned number, const struct instance_share *share,
                             unsigned n, struct dog_err *e)
{
        if (number >= INSTANCE_VIPS_MAX || !f->vip[number].is_set)
                return dog_err_set(e, -ENOENT, "there is no vip %u", number);
        struct front_vip *vip = &f->vip[number];
        for (unsigned i = 0; i < n; i++)
                if (share[i].server >= INSTANCE_SERVERS_MAX || !f->server[share[i].server].is_set ||
                    f->server[share[i].server].is.vip != number)
                        return dog_err_set(e, -EINVAL, "vip %s: server %u is none of its own", vip->name,
                                           share[i].server);
        uint32_t row = number * 2 + !(vip->value.row & 1);
        int rc = instance_maglev_build(front_row(f, row), share, n, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "vip %s", vip->name);
        /* The row is whole before its number is: a packet reads one table or the other. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        vip->value.row = row;
        return front_vip_write(f, vip, e);
}

uint32_t instance_front_picks(const struct instance_front *f, unsigned vip, unsigned server)
{
        uint32_t n = 0;
        if (vip >= INSTANCE_VIPS_MAX || !f->vip[vip].is_set)
                return 0;
        const struct instance_pick *row = front_row(f, f->vip[vip].value.row);
        for (uint32_t i = 0; i < INSTANCE_TABLE; i++)
                n += row[i].primary == server;
        return n;
}

uint32_t instance_front_server_flags(const struct instance_front *f, unsigned server)
{
        return server < INSTANCE_SERVERS_MAX
                       ? __atomic_load_n(&front_server_at(f, server)->flags, __ATOMIC_ACQUIRE)
                       : 0;
}

/* ---------------------------------------------------------------------------------- commit */

/* What an earlier session served and this one does not. */
static void front_forget_vips(struct instance_front *f)
{
        struct instance_vip_key key, next;
        struct instance_vip_key gone[INSTANCE_VIPS_MAX * 2];
        unsigned n = 0;
        for (bool first = true; bpf_map_get_next_key(f->vips.fd, first ? NULL : &key, &next) == 0;
             first = false) {
                bool is_ours = false;
                key = next;
                for (unsigned i = 0; i < INSTANCE_VIPS_MAX; i++) {
                        const struct front_vip *vip = &f->vip[i];
                        struct instance_vip_key rest = {.address = vip->key.address};
                        is_ours |= vip->is_set &&
                                   (memcmp(&key, &vip->key, sizeof(key)) == 0 ||
                                    (!vip->is_address_ours && memcmp(&key, &rest, sizeof(key)) == 0));
                }
                if (!is_ours && n < ARRAY_SIZE(gone))
                        gone[n++] = key;
        }
        for (unsigned i = 0; i < n; i++)
                (void)bpf_map_delete_elem(f->vips.fd, &gone[i]);
}

static void front_forget_servers(struct instance_front *f)
{
        struct instance_back_key key, next;
        struct instance_back value;
        struct instance_back_key gone[INSTANCE_SERVERS_MAX];
        unsigned n = 0;
        for (unsigned i = 0; i < INSTANCE_SERVERS_MAX; i++)
                if (!f->server[i].is_set)
                        __atomic_store_n(&front_server_at(f, i)->flags, 0, __ATOMIC_RELEASE);
        for (bool first = true; bpf_map_get_next_key(f->back.fd, first ? NULL : &key, &next) == 0;
             first = false) {
                key = next;
                if (bpf_map_lookup_elem(f->back.fd, &key, &value) < 0 || value.server >= INSTANCE_SERVERS_MAX)
                        continue;
                const struct front_server *s = &f->server[value.server];
                /* One that has no next hop yet keeps what was known of it. */
                bool is_ours = s->is_set && (!s->has_hop || memcmp(&key, &s->back, sizeof(key)) == 0);
                if (!is_ours && n < ARRAY_SIZE(gone))
                        gone[n++] = key;
        }
        for (unsigned i = 0; i < n; i++)
                (void)bpf_map_delete_elem(f->back.fd, &gone[i]);
}

/* Which devices answers may be redirected to; servers have a flag of their own. */
static void front_xdp_devices(struct instance_front *f)
{
        struct dog_link link;
        uint32_t one = 1;
        for (unsigned i = 0; i < f->is.devices && f->xdp != DOG_HANDS_NO_HANDLE; i++)
                if (front_xdp_takes(f, f->device[i]) && dog_link_get(&link, f->device[i], NULL) == 0)
                        (void)bpf_map_update_elem(f->xdp_out.fd, &link.index, &one, BPF_ANY);
}

static int front_attach(struct instance_front *f, const char *device, struct dog_err *e)
{
        struct dog_err why = {0};
        int rc = front_ask_tc(f, device, false, f->tc_ingress, e);
        if (rc == 0 && f->is.is_host)
                rc = front_ask_tc(f, device, true, f->tc_egress, e);
        if (rc < 0)
                return rc;
        if (f->xdp == DOG_HANDS_NO_HANDLE)
                return front_ask_xdp(f, device, DOG_HANDS_XDP_DETACH, e);
        if (!front_xdp_takes(f, device))
                return front_ask_xdp(f, device, DOG_HANDS_XDP_DETACH, e);
        rc = front_ask_xdp(f, device, DOG_HANDS_XDP_ATTACH, &why);
        if (rc < 0 && f->is.hook == INSTANCE_HOOK_XDP)
                return dog_err_set(e, rc, "%s", why.text);
        for (unsigned i = 0; i < f->is.devices; i++)
                if (strcmp(f->device[i], device) == 0)
                        snprintf(f->no_xdp[i], sizeof(f->no_xdp[i]), "%.*s", (int)sizeof(f->no_xdp[i]) - 1,
                                 rc < 0 ? why.text : "");
        if (rc < 0)
                dog_log(DOG_LOG_INFO, "front event=no-xdp device=%s why=\"%s\"", device, why.text);
        return 0;
}

const char *instance_front_no_xdp(const struct instance_front *f, unsigned device)
{
        return device < f->is.devices ? f->no_xdp[device] : NULL;
}

/* The way to a client is asked of the kernel's routes, which answer only where it forwards. */
static int front_forwards(const struct instance_front *f, const char *device, struct dog_err *e)
{
        static const char *const version[] = {"ipv4", "ipv6"};
        bool needs[2] = {false, false};
        for (unsigned i = 0; i < INSTANCE_VIPS_MAX; i++)
                if (f->vip[i].is_set && f->vip[i].is.returns != INSTANCE_RETURN_DIRECT)
                        needs[f->vip[i].is.address.version == 6] = true;
        for (unsigned v = 0; v < 2; v++) {
                char path[96], is[4] = "";
                snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/forwarding", version[v], device);
                FILE *file = needs[v] ? fopen(path, "re") : NULL;
                if (!file)
                        continue;
                bool is_off = fgets(is, sizeof(is), file) && is[0] == '0';
                fclose(file);
                if (is_off)
                        return dog_err_set(
                                e, -ENETUNREACH,
                                "device %s does not forward %s, so no answer finds its way to a client: "
                                "sysctl -w net.%s.conf.%s.forwarding=1",
                                device, v ? "IPv6" : "IPv4", version[v], device);
        }
        return 0;
}

int instance_front_commit(struct instance_front *f, struct dog_err *e)
{
        for (unsigned i = 0; i < f->is.devices && !f->is.is_host; i++) {
                int rc = front_forwards(f, f->device[i], e);
                if (rc < 0)
                        return dog_err_prefix(e, rc, "front");
        }
        front_forget_vips(f);
        front_forget_servers(f);
        for (unsigned i = 0; i < f->is.devices; i++) {
                int rc = front_attach(f, f->device[i], e);
                if (rc < 0)
                        return dog_err_prefix(e, rc, "front");
        }
        front_xdp_devices(f);
        return 0;
}

/* -------------------------------------------------------------------------------- counters */

int instance_front_server_read(struct instance_front *f, unsigned server, struct instance_server_stats *to)
{
        if (server >= INSTANCE_SERVERS_MAX)
                return -EINVAL;
        return dog_map_sum_newest(&f->server_stats, server, (uint64_t *)(void *)to, sizeof(*to) / 8,
                                  offsetof(struct instance_server_stats, heard_ns) / 8);
}

int instance_front_vip_read(struct instance_front *f, unsigned vip, struct instance_vip_counters *to)
{
        if (vip >= INSTANCE_VIPS_MAX)
                return -EINVAL;
        to->protected_now = f->count[vip].protected_now;
        to->alone_now = f->count[vip].alone_now;
        memcpy(to->lag_bytes, f->count[vip].lag_bytes, sizeof(to->lag_bytes));
        return dog_map_sum(&f->vip_stats, vip, (uint64_t *)(void *)&to->sum, sizeof(to->sum) / 8);
}

int instance_front_drops_read(struct instance_front *f, uint64_t drops[INSTANCE_DROP_COUNT])
{
        int rc = 0;
        for (uint32_t i = 0; i < INSTANCE_DROP_COUNT && rc == 0; i++)
                rc = dog_map_sum(&f->drops, i, &drops[i], 1);
        return rc;
}

int instance_front_response_read(struct instance_front *f, unsigned server, struct instance_response *to)
{
        int cpus = libbpf_num_possible_cpus();
        uint32_t key = server;
        memset(to, 0, sizeof(*to));
        if (server >= INSTANCE_SERVERS_MAX || cpus < 1)
                return -EINVAL;
        struct instance_response *cpu = calloc((size_t)cpus, sizeof(*cpu));
        if (!cpu)
                return -ENOMEM;
        int rc = bpf_map_lookup_elem(f->responses.fd, &key, cpu) < 0 ? -errno : 0;
        for (int i = 0; i < cpus && rc == 0; i++) {
                to->answers += cpu[i].answers;
                to->sum_ns += cpu[i].sum_ns;
                for (int s = 0; s < 2; s++) {
                        if (cpu[i].span[s] > to->span[s]) {
                                to->span[s] = cpu[i].span[s];
                                to->most_ns[s] = 0;
                        }
                        if (cpu[i].span[s] == to->span[s] && cpu[i].most_ns[s] > to->most_ns[s])
                                to->most_ns[s] = cpu[i].most_ns[s];
                }
        }
        free(cpu);
        return rc;
}

void instance_front_sample_set(struct instance_front *f, unsigned number, unsigned one_in)
{
        struct front_vip *vip = number < INSTANCE_VIPS_MAX ? &f->vip[number] : NULL;
        uint32_t mask = one_in > 1 ? one_in - 1 : 0;
        if (!vip || !vip->is_set || vip->value.ask_mask == mask)
                return;
        vip->value.ask_mask = mask;
        (void)front_vip_write(f, vip, NULL);
}

/* ---------------------------------------------------------------------------------- classes */

int instance_front_classes(struct instance_front *f,
                           bool (*visit)(void *user, uint32_t id, const struct instance_class *c), void *user)
{
        uint32_t key, next;
        struct instance_class c;
        /* One that goes while we walk begins the walk anew: so many steps at most. */
        unsigned steps = 2 * f->classes.entries;
        int rc = bpf_map_get_next_key(f->classes.fd, NULL, &next);
        while (rc == 0 && steps--) {
                key = next;
                if (bpf_map_lookup_elem(f->classes.fd, &key, &c) == 0 && !visit(user, key, &c))
                        return 0;
                rc = bpf_map_get_next_key(f->classes.fd, &key, &next);
        }
        return rc < 0 && errno != ENOENT ? -errno : 0;
}

int instance_front_class_get(struct instance_front *f, uint32_t id, struct instance_class *to)
{
        return bpf_map_lookup_elem(f->classes.fd, &id, to) < 0 ? -errno : 0;
}

bool instance_front_class_is_barred(const struct instance_class *c)
{
        uint32_t tick = (uint32_t)((uint64_t)dog_clock_mono_ns() >> INSTANCE_TICK_SHIFT);
        return c->barred_until && (int32_t)(c->barred_until - tick) > 0;
}

int instance_front_class_forgive(struct instance_front *f, uint32_t id, struct dog_err *e)
{
        struct instance_class c;
        if (bpf_map_lookup_elem(f->classes.fd, &id, &c) < 0)
                return dog_err_set(e, -ENOENT, "it is not known any more");
        c.barred_until = 0;
        c.diverged = 0;
        if (bpf_map_update_elem(f->classes.fd, &id, &c, BPF_EXIST) < 0)
                return dog_err_set(e, -errno, "its entry cannot be written: %s", strerror(errno));
        return 0;
}

/* ----------------------------------------------------------------------------------- words */

const char *instance_event_word(enum instance_event_type t)
{
        static const char *const word[] = {
#define X(name, word, help) word,
                INSTANCE_EVENTS(X)
#undef X
        };
        return (size_t)t < ARRAY_SIZE(word) ? word[t] : "unknown";
}

const char *instance_event_help(enum instance_event_type t)
{
        static const char *const help[] = {
#define X(name, word, help) help,
                INSTANCE_EVENTS(X)
#undef X
        };
        return (size_t)t < ARRAY_SIZE(help) ? help[t] : "";
}

const char *instance_drop_text(enum instance_drop d)
{
        static const char *const text[] = {
#define X(name, text) text,
                INSTANCE_DROPS(X)
#undef X
        };
        return (size_t)d < ARRAY_SIZE(text) ? text[d] : "unknown";
}
