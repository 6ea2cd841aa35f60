#include "hands/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dog_hands_policy_init(struct dog_hands_policy *p)
{
        memset(p, 0, sizeof(*p));
        memcpy(p->pin_folder, DOG_HANDS_PIN_FOLDER, sizeof(DOG_HANDS_PIN_FOLDER));
        p->map_bytes_most = UINT64_C(512) << 20;
}

int dog_hands_policy_folder(struct dog_hands_policy *p, const char *folder, struct dog_err *e)
{
        size_t n = strlen(folder);
        if (n < 2 || n >= sizeof(p->pin_folder) || folder[0] != '/' || strstr(folder, ".."))
                return dog_err_set(
                        e, -EINVAL,
                        "pin folder \"%s\": give an absolute path of at most %zu characters without ..",
                        folder, sizeof(p->pin_folder) - 1);
        memset(p->pin_folder, 0, sizeof(p->pin_folder));
        memcpy(p->pin_folder, folder, n);
        while (n > 1 && p->pin_folder[n - 1] == '/')
                p->pin_folder[--n] = 0;
        return 0;
}

int dog_hands_policy_device(struct dog_hands_policy *p, const char *name, enum dog_hands_role role,
                            struct dog_err *e)
{
        size_t longest = role == DOG_DEVICE_TUNNEL ? 14 : 15;
        if (strlen(name) > longest)
                return dog_err_set(e, -EINVAL, "device %s: at most %zu characters", name, longest);
        for (unsigned i = 0; i < p->n_devices; i++)
                if (strcmp(p->device[i].name, name) == 0) {
                        if (p->device[i].role == role)
                                return 0;
                        return dog_err_set(e, -EINVAL, "device %s is named as underlay and as tunnel", name);
                }
        if (p->n_devices == DOG_HANDS_DEVICES)
                return dog_err_set(e, -ENOSPC, "device %s: more than %d devices", name, DOG_HANDS_DEVICES);
        int rc = dog_hands_name_set(p->device[p->n_devices].name, name, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "device");
        p->device[p->n_devices++].role = role;
        return 0;
}

int dog_hands_policy_port(struct dog_hands_policy *p, uint16_t low, uint16_t high, struct dog_err *e)
{
        if (low > high)
                return dog_err_set(e, -EINVAL, "ports %u to %u: the first is above the last", low, high);
        if (p->n_ports == DOG_HANDS_PORTS)
                return dog_err_set(e, -ENOSPC, "more than %d ranges of ports", DOG_HANDS_PORTS);
        p->port[p->n_ports].low = low;
        p->port[p->n_ports++].high = high;
        return 0;
}

int dog_hands_policy_prefix(struct dog_hands_policy *p, const struct dog_hands_address *prefix,
                            struct dog_err *e)
{
        if (p->n_prefixes == DOG_HANDS_PREFIXES)
                return dog_err_set(e, -ENOSPC, "more than %d routed prefixes", DOG_HANDS_PREFIXES);
        p->prefix[p->n_prefixes++] = *prefix;
        return 0;
}

int dog_hands_policy_secret(struct dog_hands_policy *p, const char *name, const char *path, struct dog_err *e)
{
        if (p->n_secrets == DOG_HANDS_SECRETS)
                return dog_err_set(e, -ENOSPC, "more than %d secrets", DOG_HANDS_SECRETS);
        if (path[0] != '/' || strlen(path) >= sizeof(p->secret[0].path))
                return dog_err_set(e, -EINVAL,
                                   "secret %s: \"%s\" is not an absolute path of at most %zu characters",
                                   name, path, sizeof(p->secret[0].path) - 1);
        int rc = dog_hands_name_set(p->secret[p->n_secrets].name, name, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "secret");
        snprintf(p->secret[p->n_secrets].path, sizeof(p->secret[0].path), "%s", path);
        p->n_secrets++;
        return 0;
}

static bool policy_is_peer(const char *device, const char *tunnel)
{
        size_t n = strlen(tunnel);
        return strncmp(device, tunnel, n) == 0 && strcmp(device + n, "p") == 0;
}

int dog_hands_policy_may_use(const struct dog_hands_policy *p, const char *device, enum dog_hands_role role,
                             struct dog_err *e)
{
        for (unsigned i = 0; i < p->n_devices; i++) {
                if (p->device[i].role != role)
                        continue;
                if (strcmp(p->device[i].name, device) == 0 ||
                    (role == DOG_DEVICE_TUNNEL && policy_is_peer(device, p->device[i].name)))
                        return 0;
        }
        return dog_err_set(e, -EACCES,
                           "device %s is not ours to use as %s: name it in the configuration and restart",
                           device, role == DOG_DEVICE_TUNNEL ? "a tunnel" : "an underlay");
}

int dog_hands_policy_may_attach(const struct dog_hands_policy *p, const char *device, struct dog_err *e)
{
        if (dog_hands_policy_may_use(p, device, DOG_DEVICE_TUNNEL, NULL) == 0)
                return 0;
        return dog_hands_policy_may_use(p, device, DOG_DEVICE_UNDERLAY, e);
}

int dog_hands_policy_may_bind(const struct dog_hands_policy *p, uint32_t port, struct dog_err *e)
{
        for (unsigned i = 0; i < p->n_ports; i++)
                if (port >= p->port[i].low && port <= p->port[i].high)
                        return 0;
        return dog_err_set(e, -EACCES, "UDP port %u is not ours: name it in the configuration and restart",
                           port);
}

int dog_hands_policy_may_route(const struct dog_hands_policy *p, const struct dog_hands_address *to,
                               struct dog_err *e)
{
        char text[64];
        for (unsigned i = 0; i < p->n_prefixes; i++)
                if (to->prefix >= p->prefix[i].prefix && dog_hands_address_within(to, &p->prefix[i]))
                        return 0;
        return dog_err_set(e, -EACCES,
                           "route to %s is not ours to set: name the prefix in the configuration and restart",
                           dog_hands_address_text(to, text));
}

int dog_hands_policy_may_address(const struct dog_hands_policy *p, const struct dog_hands_address *address,
                                 struct dog_err *e)
{
        char text[64];
        if (dog_hands_policy_may_route(p, address, NULL) == 0)
                return 0;
        return dog_err_set(e, -EACCES,
                           "address %s is not ours to set: name its network in the configuration and restart",
                           dog_hands_address_text(address, text));
}

int dog_hands_policy_helper(struct dog_hands_policy *p, const struct dog_hands_helper *helper,
                            struct dog_err *e)
{
        char name[DOG_HANDS_NAME];
        if (p->n_helpers == DOG_HANDS_HELPERS)
                return dog_err_set(e, -ENOSPC, "more than %d helpers", DOG_HANDS_HELPERS);
        int rc = dog_hands_name_set(name, helper->name, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "helper");
        p->helper[p->n_helpers++] = *helper;
        return 0;
}

int dog_hands_policy_helper_of(const struct dog_hands_policy *p, const char *name)
{
        for (unsigned i = 0; i < p->n_helpers; i++)
                if (strcmp(p->helper[i].name, name) == 0)
                        return (int)i;
        return -1;
}

const char *dog_hands_policy_secret_path(const struct dog_hands_policy *p, const char *name)
{
        for (unsigned i = 0; i < p->n_secrets; i++)
                if (strcmp(p->secret[i].name, name) == 0)
                        return p->secret[i].path;
        return NULL;
}

int dog_hands_address_parse(struct dog_hands_address *a, const char *text, struct dog_err *e)
{
        char host[64];
        const char *slash = strchr(text, '/');
        size_t n = slash ? (size_t)(slash - text) : strlen(text);
        memset(a, 0, sizeof(*a));
        if (n == 0 || n >= sizeof(host))
                goto bad;
        memcpy(host, text, n);
        host[n] = 0;
        if (inet_pton(AF_INET, host, a->bytes) == 1)
                a->version = 4;
        else if (inet_pton(AF_INET6, host, a->bytes) == 1)
                a->version = 6;
        else
                goto bad;
        a->prefix = a->version == 4 ? 32 : 128;
        if (slash) {
                char *end;
                unsigned long bits = strtoul(slash + 1, &end, 10);
                if (slash[1] < '0' || slash[1] > '9' || *end || bits > a->prefix)
                        goto bad;
                a->prefix = (uint8_t)bits;
        }
        return 0;
bad:
        memset(a, 0, sizeof(*a));
        return dog_err_set(e, -EINVAL,
                           "\"%.64s\" is no address: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::1/64", text);
}

const char *dog_hands_address_text(const struct dog_hands_address *a, char *to)
{
        char host[INET6_ADDRSTRLEN] = "none";
        if (a->version != 0)
                inet_ntop(a->version == 4 ? AF_INET : AF_INET6, a->bytes, host, sizeof(host));
        if (a->version == 0 || a->prefix == (a->version == 4 ? 32 : 128))
                snprintf(to, 64, "%s", host);
        else
                snprintf(to, 64, "%s/%u", host, a->prefix);
        return to;
}

bool dog_hands_address_same(const struct dog_hands_address *a, const struct dog_hands_address *b)
{
        return a->version == b->version && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool dog_hands_address_within(const struct dog_hands_address *a, const struct dog_hands_address *prefix)
{
        if (a->version != prefix->version)
                return false;
        unsigned whole = prefix->prefix / 8u, rest = prefix->prefix % 8u;
        if (whole > 16 || memcmp(a->bytes, prefix->bytes, whole) != 0)
                return false;
        if (rest == 0 || whole == 16)
                return true;
        unsigned mask = 0xffu << (8 - rest) & 0xffu;
        return (a->bytes[whole] & mask) == (prefix->bytes[whole] & mask);
}
