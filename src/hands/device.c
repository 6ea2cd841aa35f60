#include "hands/device.h"

#include "base/array.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The mark of a device that we may remove. */
#define DEVICE_ALIAS "sundog tunnel"

static bool device_is_ours(const struct dog_link *l)
{
        return strcmp(l->kind, "veth") == 0 && strcmp(l->alias, DEVICE_ALIAS) == 0;
}

static int device_ethtool(int fd, const char *name, uint32_t command, uint32_t *value)
{
        struct ethtool_value v = {.cmd = command, .data = *value};
        struct ifreq request = {.ifr_data = (void *)&v};
        memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
        if (ioctl(fd, SIOCETHTOOL, &request) < 0)
                return -errno;
        *value = v.data;
        return 0;
}

static int device_offload_set(const char *name, struct dog_err *e)
{
        static const struct {
                uint32_t get, set, value;
                const char *text;
        } row[] = {
                {ETHTOOL_GGRO, ETHTOOL_SGRO, 1, "generic receive offload on"},
                {ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM, 0, "transmit checksum offload off"},
                {ETHTOOL_GTSO, ETHTOOL_STSO, 0, "segmentation offload off"},
        };
        int rc = 0;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return dog_err_set(e, -errno, "device %s: no socket for ethtool: %s", name, strerror(errno));
        for (size_t i = 0; i < ARRAY_SIZE(row) && rc == 0; i++) {
                uint32_t now = 0, want = row[i].value;
                /* Asked first: where XDP is attached, off is fixed, and setting it is an error. */
                if (device_ethtool(fd, name, row[i].get, &now) == 0 && !now == !want)
                        continue;
                rc = device_ethtool(fd, name, row[i].set, &want);
                if (rc < 0)
                        dog_err_set(e, rc, "device %s: cannot turn %s: %s", name, row[i].text, strerror(-rc));
        }
        close(fd);
        return rc;
}

static int device_pair_get(struct dog_device *d, const char *name, struct dog_err *e)
{
        char peer[IFNAMSIZ];
        snprintf(peer, sizeof(peer), "%.14sp", name);
        int rc = dog_link_get(&d->link, name, e);
        if (rc < 0)
                return rc;
        rc = dog_link_get(&d->peer, peer, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "device %s has lost its other end", name);
        if (d->link.peer_index != d->peer.index)
                return dog_err_set(e, -EEXIST, "devices %s and %s exist and are no pair: remove them", name,
                                   peer);
        return 0;
}

static int device_pair_make(struct dog_device *d, const struct dog_hands_device *want, struct dog_err *e)
{
        char peer[IFNAMSIZ];
        long cpus = sysconf(_SC_NPROCESSORS_CONF);
        uint32_t queues = want->queues ? want->queues : cpus > 0 ? (uint32_t)cpus : 1;
        snprintf(peer, sizeof(peer), "%.14sp", want->name);
        int rc = dog_link_veth_make(want->name, peer, queues, want->mtu, e);
        if (rc < 0)
                return rc;
        rc = device_pair_get(d, want->name, e);
        if (rc == 0)
                rc = dog_link_alias_set(d->link.index, DEVICE_ALIAS, e);
        if (rc < 0) {
                (void)dog_link_remove(d->link.index, NULL);
                return rc;
        }
        /* A machine without IPv6 refuses, and needs it not. */
        (void)dog_link_no_auto_ipv6(d->link.index);
        (void)dog_link_no_auto_ipv6(d->peer.index);
        return 0;
}

static int device_configure(const struct dog_device *d, const struct dog_hands_device *want,
                            struct dog_err *e)
{
        int rc = device_offload_set(d->link.name, e);
        if (rc == 0)
                rc = device_offload_set(d->peer.name, e);
        if (rc == 0 && want->mtu)
                rc = dog_device_mtu(want->name, want->mtu, e);
        if (rc == 0 && want->address.version)
                rc = dog_link_address_add(d->link.index, &want->address, e);
        /* The far end first: a packet sent before it is up is lost. */
        if (rc == 0)
                rc = dog_link_up(d->peer.index, e);
        if (rc == 0)
                rc = dog_link_up(d->link.index, e);
        return rc;
}

int dog_device_make(struct dog_device *d, const struct dog_hands_device *want, struct dog_err *e)
{
        memset(d, 0, sizeof(*d));
        int rc = dog_link_get(&d->link, want->name, NULL);
        d->was_there = rc == 0;
        if (rc == 0 && !device_is_ours(&d->link))
                return dog_err_set(
                        e, -EEXIST,
                        "device %s exists and is not ours: choose another name, or remove it with \"ip "
                        "link del %s\"",
                        want->name, want->name);
        rc = rc == 0 ? device_pair_get(d, want->name, e) : device_pair_make(d, want, e);
        if (rc < 0)
                return rc;
        rc = device_configure(d, want, e);
        if (rc < 0)
                return rc;
        return device_pair_get(d, want->name, e);
}

int dog_device_remove(const char *name, struct dog_err *e)
{
        struct dog_link l;
        int rc = dog_link_get(&l, name, e);
        if (rc == -ENODEV)
                return 0;
        if (rc < 0)
                return rc;
        if (!device_is_ours(&l))
                return dog_err_set(e, -EPERM, "device %s is not ours: it stays", name);
        return dog_link_remove(l.index, e);
}

int dog_device_mtu(const char *name, uint32_t mtu, struct dog_err *e)
{
        struct dog_device d;
        int rc = device_pair_get(&d, name, e);
        if (rc < 0)
                return rc;
        if (!device_is_ours(&d.link))
                return dog_err_set(e, -EPERM, "device %s is not ours: its MTU stays", name);
        if (d.peer.mtu != mtu)
                rc = dog_link_mtu_set(d.peer.index, mtu, e);
        if (rc == 0 && d.link.mtu != mtu)
                rc = dog_link_mtu_set(d.link.index, mtu, e);
        return rc;
}
