#include "base/array.h"
#include "base/log.h"
#include "kinds/path/path_outer.h"
#include "kinds/path/tunnel_inside.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TUNNEL_RULES_PRESET 256u
#define TUNNEL_FLOWS_PRESET 65536u
#define TUNNEL_MTU_LEAST    576u

/* ------------------------------------------------------------------------------------ life */

static int tunnel_settings(struct path_tunnel *t, const struct path_tunnel_settings *s, struct dog_err *e)
{
        t->is = *s;
        int rc = dog_hands_name_set(t->device, s->device, e);
        if (rc < 0)
                return rc;
        t->is.device = t->device;
        if (strlen(t->device) > 14)
                return dog_err_set(e, -EINVAL,
                                   "at most 14 characters, so that the far end of the pair has a name");
        snprintf(t->peer, sizeof(t->peer), "%.14sp", t->device);
        snprintf(t->instance, sizeof(t->instance), "tunnel-%.14s", t->device);
        if (t->is.rules_most == 0)
                t->is.rules_most = TUNNEL_RULES_PRESET;
        if (t->is.flows_most == 0)
                t->is.flows_most = TUNNEL_FLOWS_PRESET;
        if (s->number >= t->host->is.tunnels)
                return dog_err_set(e, -EINVAL, "number %u, where this host has room for 0 to %u", s->number,
                                   t->host->is.tunnels - 1);
        if (s->number == s->far_number)
                return dog_err_set(
                        e, -EINVAL,
                        "it has number %u at both ends; give it different numbers, they tell the two "
                        "directions apart",
                        s->number);
        if (t->host->is_taken[s->number])
                return dog_err_set(e, -EEXIST, "number %u is another tunnel's", s->number);
        return 0;
}

static int tunnel_device(struct path_tunnel *t, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_DEVICE_MAKE);
        struct dog_hands_reply r;
        memcpy(q.as.device.name, t->device, sizeof(q.as.device.name));
        q.as.device.address = t->is.address;
        int rc = dog_hands_call(t->hands, &q, &r, NULL, e);
        if (rc < 0)
                return rc;
        memcpy(t->mac, r.as.device.mac, 6);
        memcpy(t->peer_mac, r.as.device.peer_mac, 6);
        t->mtu = r.as.device.mtu;
        return 0;
}

static int tunnel_maps_make(struct path_tunnel *t, struct dog_err *e)
{
        struct dog_hands_open replicate = {0}, egress = {0};
        struct dog_hands_reply r;
        uint32_t classes = t->host->is.classes;
        path_ask_kept(&replicate, "path_settings", 1, DOG_HANDS_KEEP_ALONG);
        path_ask_kept(&replicate, "path_classes", classes, DOG_HANDS_KEEP_ALONG);
        path_ask_kept(&replicate, "path_seqs", classes, DOG_HANDS_KEEP_ENTRIES);
        path_ask_size(&replicate, "path_class_tx", classes, NULL);
        path_ask_size(&replicate, "path_rules", 2 * t->is.rules_most, NULL);
        path_ask_kept(&replicate, "path_flows", t->is.flows_most, DOG_HANDS_KEEP_ENTRIES);
        path_ask_size(&replicate, "path_drops", 0, PATH_HOST_INSTANCE);
        path_ask_size(&replicate, "path_rx_stats", 0, PATH_HOST_INSTANCE);
        int rc = path_ask_open(t->hands, &replicate, "path_replicate", t->instance, &r, e);
        if (rc < 0)
                return rc;
        t->adopted = r.as.object.adopted;
        t->is_replaced = r.as.object.replaced > 0;
        rc = path_ask_open(t->hands, &egress, "path_egress", t->instance, &r, e);
        t->adopted += rc == 0 ? r.as.object.adopted : 0;
        return rc;
}

static int tunnel_maps_open(struct path_tunnel *t, struct dog_err *e)
{
        const struct {
                struct dog_map *map;
                const char *name;
                size_t size;
        } row[] = {
                {&t->settings, "path_settings", sizeof(struct path_settings)},
                {&t->classes, "path_classes", sizeof(struct path_class)},
                {&t->seqs, "path_seqs", sizeof(struct path_seq)},
                {&t->rules, "path_rules", sizeof(struct path_rule)},
                {&t->flows, "path_flows", sizeof(struct path_flow)},
                {&t->class_tx, "path_class_tx", sizeof(struct path_class_tx)},
                {&t->tx, "path_tx", sizeof(struct path_tx)},
                {&t->refused, "path_refused", sizeof(uint64_t)},
        };
        int rc = 0;
        for (size_t i = 0; i < ARRAY_SIZE(row) && rc == 0; i++)
                rc = dog_map_open(row[i].map, t->hands, t->instance, row[i].name, row[i].size, e);
        if (rc < 0)
                return rc;
        t->set = dog_map_at(&t->settings, 0);
        t->rx = dog_map_at(&t->host->rx_tunnels, t->is.number);
        return 0;
}

int path_tunnel_open(struct path_tunnel **out, struct path_host *host,
                     const struct path_tunnel_settings *settings, struct dog_err *e)
{
        struct path_tunnel *t = calloc(1, sizeof(*t));
        if (!t)
                return dog_err_set(e, -ENOMEM, "tunnel %s: out of memory", settings->device);
        t->host = host;
        t->hands = host->hands;
        int rc = tunnel_settings(t, settings, e);
        if (rc == 0)
                rc = tunnel_device(t, e);
        if (rc == 0)
                rc = tunnel_maps_make(t, e);
        if (rc == 0)
                rc = tunnel_maps_open(t, e);
        if (rc < 0) {
                path_tunnel_close(t);
                return dog_err_prefix(e, rc, "tunnel %s", settings->device);
        }
        host->is_taken[t->is.number] = true;
        path_tunnel_rx_init(t);
        *out = t;
        return 0;
}

void path_tunnel_close(struct path_tunnel *t)
{
        if (!t)
                return;
        if (t->rx)
                t->host->is_taken[t->is.number] = false;
        dog_map_close(&t->settings);
        dog_map_close(&t->classes);
        dog_map_close(&t->seqs);
        dog_map_close(&t->rules);
        dog_map_close(&t->flows);
        dog_map_close(&t->class_tx);
        dog_map_close(&t->tx);
        dog_map_close(&t->refused);
        free(t);
}

int path_tunnel_remove(struct path_tunnel *t, struct dog_err *e)
{
        struct dog_hands_request forget = dog_hands_request_of(DOG_HANDS_OBJECT_FORGET);
        struct dog_hands_request device = dog_hands_request_of(DOG_HANDS_DEVICE_REMOVE);
        struct dog_hands_reply r;
        memcpy(forget.as.object.instance, t->instance, sizeof(forget.as.object.instance));
        memcpy(device.as.device.name, t->device, sizeof(device.as.device.name));
        /* Receive nothing more for it before its device goes. */
        __atomic_store_n(&t->rx->class_count, 0, __ATOMIC_RELEASE);
        int rc = path_ask_devmap(t->hands, PATH_HOST_INSTANCE, "path_out", DOG_HANDS_NO_INNER, t->is.number,
                                 NULL, DOG_HANDS_NO_HANDLE, e);
        if (rc == 0)
                rc = dog_hands_call(t->hands, &forget, &r, NULL, e);
        if (rc == 0)
                rc = dog_hands_call(t->hands, &device, &r, NULL, e);
        path_tunnel_close(t);
        return rc;
}

uint32_t path_tunnel_adopted(const struct path_tunnel *t)
{
        return t->adopted;
}

uint32_t path_tunnel_mtu(const struct path_tunnel *t)
{
        return t->mtu;
}

/* ----------------------------------------------------------------------------------- paths */

static int tunnel_path_fail(const struct path_tunnel *t, const char *path, int rc, struct dog_err *e)
{
        return dog_err_prefix(e, rc, "tunnel %s: path %s", t->device, path);
}

static int tunnel_path_check(const struct path_tunnel *t, unsigned p, const struct path_tunnel_path *path,
                             struct dog_err *e)
{
        if (p >= PATH_PATHS_MAX)
                return dog_err_set(e, -EINVAL, "number %u, where a tunnel has paths 0 to %d", p,
                                   PATH_PATHS_MAX - 1);
        if (path->local.version == 6 || path->remote.version == 6)
                return dog_err_set(e, -EAFNOSUPPORT, "the outer packets are IPv4: give IPv4 addresses");
        if (path->dscp > 63)
                return dog_err_set(e, -EINVAL, "DSCP %u: give 0 to 63", path->dscp);
        if (path->mtu != 0 && path->mtu < TUNNEL_MTU_LEAST + PATH_OVERHEAD)
                return dog_err_set(e, -EINVAL, "MTU %u: at least %u is needed", path->mtu,
                                   TUNNEL_MTU_LEAST + PATH_OVERHEAD);
        for (unsigned i = 0; i < PATH_PATHS_MAX; i++) {
                const struct path_tunnel_slot *o = &t->path[i];
                if (i == p || !o->state.is_set || strcmp(o->device, path->device) != 0)
                        continue;
                if (dog_hands_address_same(&o->is.local, &path->local) &&
                    dog_hands_address_same(&o->is.remote, &path->remote))
                        return dog_err_set(
                                e, -EEXIST,
                                "device %s with these addresses is path %s already: two copies on one way "
                                "protect from nothing; give one of them another device or address",
                                path->device, o->name);
        }
        return 0;
}

/* Load the path's own program and let it take the old one's place in every subset. */
static int tunnel_path_install(struct path_tunnel *t, unsigned p, const struct path_tunnel_path *path,
                               const struct dog_next_hop *hop, uint32_t mtu, struct dog_err *e)
{
        struct dog_hands_program program = {.object = "path_egress", .program = "path_egress"};
        struct path_outer4 outer = {.port_from = t->host->is.port, .dscp = path->dscp};
        uint64_t words[6];
        uint32_t sum, handle, number = p;
        memcpy(program.instance, t->instance, sizeof(program.instance));
        outer.port_to = path->remote_port ? path->remote_port : t->host->is.port;
        memcpy(outer.mac_to, hop->mac, 6);
        memcpy(outer.mac_from, hop->own_mac, 6);
        memcpy(&outer.from, hop->source.bytes, 4);
        memcpy(&outer.to, path->remote.bytes, 4);
        sum = path_outer_ip4(&outer, (__u64 *)(void *)words);
        path_ask_constant(&program, "path_outer", words, sizeof(words));
        path_ask_constant(&program, "path_ip_sum", &sum, sizeof(sum));
        path_ask_constant(&program, "path_number", &number, sizeof(number));
        path_ask_constant(&program, "path_mtu", &mtu, sizeof(mtu));
        int rc = path_ask_load(t->hands, &program, &handle, e);
        for (uint32_t s = 1; s < PATH_SUBSETS && rc == 0; s++)
                if (s & 1u << p)
                        rc = path_ask_devmap(t->hands, t->instance, "path_subsets", s, p, path->device,
                                             handle, e);
        (void)path_ask_drop(t->hands, handle, NULL); /* the device maps hold it now */
        return rc;
}

static int tunnel_path_apply(struct path_tunnel *t, unsigned p, const struct path_tunnel_path *path,
                             const struct dog_next_hop *hop, struct dog_err *e)
{
        struct path_tunnel_slot *slot = &t->path[p];
        uint32_t mtu = path->mtu && path->mtu < hop->mtu ? path->mtu : hop->mtu;
        if (hop->source.version != 4)
                return dog_err_set(e, -EADDRNOTAVAIL, "device %s has no IPv4 address to send from",
                                   path->device);
        int rc = path_host_put(t->host, path->device, !t->is_attached, &slot->state.device, e);
        if (rc == 0)
                rc = tunnel_path_install(t, p, path, hop, mtu, e);
        if (rc < 0)
                return rc;
        slot->state.hop = *hop;
        slot->state.hop.mtu = mtu;
        slot->state.is_usable = true;
        return 0;
}

static void tunnel_path_remember(struct path_tunnel_slot *slot, const struct path_tunnel_path *path)
{
        char name[DOG_HANDS_NAME], device[DOG_HANDS_NAME];
        /* By way of copies: `path` may be this very slot's. */
        snprintf(name, sizeof(name), "%s", path->name);
        snprintf(device, sizeof(device), "%s", path->device);
        slot->is = *path;
        memcpy(slot->name, name, sizeof(name));
        memcpy(slot->device, device, sizeof(device));
        slot->is.name = slot->name;
        slot->is.device = slot->device;
        slot->state.is_set = true;
}

/* Our own packets need not carry `local` for the kernel to route them as it would its own. */
static int tunnel_path_hop(struct dog_next_hop *hop, const struct path_tunnel_path *path, int wait_ms,
                           struct dog_err *e)
{
        return dog_next_hop_find(hop, path->device, path->local.version ? &path->local : NULL, &path->remote,
                                 wait_ms, e);
}

/* The smallest path decides what fits into the device. */
static int tunnel_mtu_apply(struct path_tunnel *t, struct dog_err *e)
{
        uint32_t least = UINT32_MAX;
        for (unsigned p = 0; p < PATH_PATHS_MAX; p++)
                if (t->path[p].state.is_usable && t->path[p].state.hop.mtu < least)
                        least = t->path[p].state.hop.mtu;
        if (least == UINT32_MAX)
                return 0;
        if (least < TUNNEL_MTU_LEAST + PATH_OVERHEAD)
                return dog_err_set(e, -EMSGSIZE, "tunnel %s: a path carries %u bytes, at least %u are needed",
                                   t->device, least, TUNNEL_MTU_LEAST + PATH_OVERHEAD);
        uint32_t mtu = least - PATH_OVERHEAD;
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_DEVICE_MTU);
        struct dog_hands_reply r;
        memcpy(q.as.device.name, t->device, sizeof(q.as.device.name));
        q.as.device.mtu = mtu;
        int rc = dog_hands_call(t->hands, &q, &r, NULL, e);
        if (rc < 0)
                return rc;
        t->mtu = mtu;
        __atomic_store_n(&t->set->mtu, mtu, __ATOMIC_RELAXED);
        return 0;
}

/* A device that is not plugged in, a route or a neighbour that is not there yet. */
static bool tunnel_may_come(int rc)
{
        return rc == -ENODEV || rc == -EAGAIN || rc == -EHOSTUNREACH || rc == -ENETUNREACH;
}

int path_tunnel_path_set(struct path_tunnel *t, unsigned p, const struct path_tunnel_path *path, int wait_ms,
                         struct dog_err *e)
{
        struct dog_next_hop hop;
        int rc = tunnel_path_check(t, p, path, e);
        if (rc < 0)
                return tunnel_path_fail(t, path->name, rc, e);
        if (path->remote.version == 0) {
                /* We can only listen until the far end has spoken. */
                rc = path_host_put(t->host, path->device, !t->is_attached, &t->path[p].state.device, e);
                if (rc < 0)
                        return tunnel_path_fail(t, path->name, rc, e);
                tunnel_path_remember(&t->path[p], path);
                return 0;
        }
        rc = tunnel_path_hop(&hop, path, wait_ms, e);
        if (rc == 0)
                rc = tunnel_path_apply(t, p, path, &hop, e);
        /* What may still come is remembered, for a refresh to find; a path that works is not given up for it.
         */
        if (rc == 0 || (tunnel_may_come(rc) && !t->path[p].state.is_usable))
                tunnel_path_remember(&t->path[p], path);
        if (rc < 0)
                return tunnel_path_fail(t, path->name, rc, e);
        return t->is_attached ? tunnel_mtu_apply(t, e) : 0;
}

int path_tunnel_path_refresh(struct path_tunnel *t, unsigned p, int wait_ms, struct dog_err *e)
{
        struct dog_next_hop hop;
        if (p >= PATH_PATHS_MAX || !t->path[p].state.is_set)
                return dog_err_set(e, -ENOENT, "tunnel %s has no path %u", t->device, p);
        struct path_tunnel_slot *slot = &t->path[p];
        if (slot->is.remote.version == 0)
                return 0;
        int rc = tunnel_path_hop(&hop, &slot->is, wait_ms, e);
        if (rc < 0)
                return tunnel_path_fail(t, slot->name, rc, e);
        if (slot->is.mtu && slot->is.mtu < hop.mtu)
                hop.mtu = slot->is.mtu;
        const struct dog_next_hop *old = &slot->state.hop;
        if (slot->state.is_usable && hop.index == old->index && hop.mtu == old->mtu &&
            memcmp(hop.mac, old->mac, 6) == 0 && memcmp(hop.own_mac, old->own_mac, 6) == 0 &&
            dog_hands_address_same(&hop.source, &old->source))
                return 0;
        rc = tunnel_path_apply(t, p, &slot->is, &hop, e);
        if (rc == 0 && t->is_attached)
                rc = tunnel_mtu_apply(t, e);
        return rc < 0 ? tunnel_path_fail(t, slot->name, rc, e) : 1;
}

static int tunnel_path_clear(struct path_tunnel *t, unsigned p, struct dog_err *e)
{
        int rc = 0;
        for (uint32_t s = 1; s < PATH_SUBSETS && rc == 0; s++)
                if (s & 1u << p)
                        rc = path_ask_devmap(t->hands, t->instance, "path_subsets", s, p, NULL,
                                             DOG_HANDS_NO_HANDLE, e);
        return rc;
}

int path_tunnel_path_remove(struct path_tunnel *t, unsigned p, struct dog_err *e)
{
        if (p >= PATH_PATHS_MAX || !t->path[p].state.is_set)
                return 0;
        for (unsigned c = 0; c < t->host->is.classes; c++)
                if (path_tunnel_subset(t, c) & 1u << p)
                        return dog_err_set(e, -EBUSY,
                                           "tunnel %s: class %u is sent on path %s: steer it away first",
                                           t->device, c, t->path[p].name);
        int rc = tunnel_path_clear(t, p, e);
        if (rc < 0)
                return rc;
        __atomic_and_fetch(&t->rx->path_mask, ~(1u << p), __ATOMIC_RELAXED);
        t->path[p] = (struct path_tunnel_slot){0};
        return tunnel_mtu_apply(t, e);
}

const struct path_tunnel_state *path_tunnel_path_state(const struct path_tunnel *t, unsigned p)
{
        return p < PATH_PATHS_MAX ? &t->path[p].state : NULL;
}

int path_tunnel_learn(struct path_tunnel *t, unsigned p, int wait_ms, struct dog_err *e)
{
        struct path_tunnel_counters now;
        if (p >= PATH_PATHS_MAX || !t->path[p].state.is_set)
                return dog_err_set(e, -ENOENT, "tunnel %s has no path %u", t->device, p);
        struct path_tunnel_path path = t->path[p].is;
        int rc = path_tunnel_read(t, &now, e);
        if (rc < 0)
                return rc;
        const struct path_rx_stats *rx = &now.path[p].rx;
        if (rx->peer == 0)
                return 0;
        uint16_t port = (uint16_t)(rx->peer_port << 8 | rx->peer_port >> 8);
        uint16_t old_port = path.remote_port ? path.remote_port : t->host->is.port;
        if (path.remote.version == 4 && memcmp(path.remote.bytes, &rx->peer, 4) == 0 && old_port == port)
                return 0;
        path.remote = (struct dog_hands_address){.version = 4, .prefix = 32};
        memcpy(path.remote.bytes, &rx->peer, 4);
        path.remote_port = port;
        rc = path_tunnel_path_set(t, p, &path, wait_ms, e);
        return rc < 0 ? rc : 1;
}

/* ---------------------------------------------------------------------------------- commit */

static int tunnel_replicate_attach(struct path_tunnel *t, struct path_host_device *became, struct dog_err *e)
{
        struct dog_hands_program program = {.object = "path_replicate", .program = "path_replicate"};
        uint32_t handle, mask = 4095, far = t->is.far_number, mode = t->host->is.mode;
        uint32_t own = t->is.number, cpus = dog_map_cpus();
        memcpy(program.instance, t->instance, sizeof(program.instance));
        path_ask_constant(&program, "path_wire_tunnel", &far, sizeof(far));
        path_ask_constant(&program, "path_rules_max", &t->is.rules_most, sizeof(t->is.rules_most));
        path_ask_constant(&program, "path_cache_mask", &mask, sizeof(mask));
        path_ask_constant(&program, "path_class_count", &t->host->is.classes, sizeof(t->host->is.classes));
        path_ask_constant(&program, "path_rx_tunnel", &own, sizeof(own));
        path_ask_constant(&program, "path_cpus", &cpus, sizeof(cpus));
        /* Native XDP can only redirect to a device whose driver can send such frames. */
        for (unsigned p = 0; p < PATH_PATHS_MAX; p++)
                if (t->path[p].state.is_set && t->path[p].state.device.mode == DOG_HANDS_MODE_GENERIC)
                        mode = DOG_HANDS_MODE_GENERIC;
        int rc = path_ask_load(t->hands, &program, &handle, e);
        /* The reflex: its timer may be gone with an earlier map; the next packet sees to it. */
        __atomic_store_n(&t->set->listens, 0, __ATOMIC_RELAXED);
        if (rc == 0)
                rc = path_ask_attach(t->hands, t->instance, t->peer, handle, mode, false, became, e);
        (void)path_ask_drop(t->hands, handle, NULL);
        return rc;
}

int path_tunnel_commit(struct path_tunnel *t, struct path_host_device *became, struct dog_err *e)
{
        struct path_host_device device = {0};
        uint32_t mask = 0;
        int rc = 0;
        for (unsigned p = 0; p < PATH_PATHS_MAX && rc == 0; p++) {
                if (t->path[p].state.is_set)
                        mask |= 1u << p;
                else
                        rc = tunnel_path_clear(t, p, e);
        }
        if (rc == 0)
                rc = tunnel_mtu_apply(t, e);
        if (rc == 0)
                rc = path_ask_devmap(t->hands, PATH_HOST_INSTANCE, "path_out", DOG_HANDS_NO_INNER,
                                     t->is.number, t->peer, DOG_HANDS_NO_HANDLE, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "tunnel %s", t->device);
        __atomic_store_n(&t->rx->path_mask, mask, __ATOMIC_RELAXED);
        __atomic_store_n(&t->rx->class_count, t->host->is.classes, __ATOMIC_RELEASE);
        /* Everything they look at is in place: now the programs of this session. */
        for (unsigned p = 0; p < PATH_PATHS_MAX && rc == 0; p++) {
                struct path_tunnel_slot *slot = &t->path[p];
                if (slot->state.is_set)
                        rc = path_host_put(t->host, slot->device, false, &slot->state.device, e);
                if (rc == -ENODEV && !slot->state.is_usable)
                        rc = 0;
        }
        if (rc == 0)
                rc = tunnel_replicate_attach(t, &device, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "tunnel %s", t->device);
        t->is_attached = true;
        t->is_replaced = false;
        if (became)
                *became = device;
        return 0;
}
