#include "agent/shim.h"

#include "base/clock.h"
#include "base/log.h"
#include "hands/secret.h"
#include "kinds/instance/cookie.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#define SHIM_TICK_NS (10 * DOG_S)

static struct instance_shim_setup shim_setup(const struct agent_config *c)
{
        struct instance_shim_setup set = {.devices = c->shim_devices, .pin_folder = c->shim_pins};
        for (unsigned i = 0; i < c->shim_devices; i++)
                set.device[i] = c->shim_device[i];
        return set;
}

static int shim_key_read(const char *file, uint8_t key[DOG_SECRET_KEY], struct dog_err *e)
{
        int fd = dog_secret_open(file, e);
        int rc = fd < 0 ? fd : dog_secret_key_read(key, fd, e);
        if (fd >= 0)
                close(fd);
        return rc < 0 ? dog_err_prefix(e, rc, "shim_key_file: %s", file) : 0;
}

static int shim_services(struct agent_shim *s, const struct agent_config *c,
                         const uint8_t key[DOG_SECRET_KEY], struct dog_err *e)
{
        int rc = 0;
        for (unsigned i = 0; rc == 0 && i < c->shim_services; i++) {
                const struct agent_service *v = &c->shim_service[i];
                struct instance_cookie_keys keys = {.key[1].from = ~0ULL};
                rc = instance_cookie_key_derive(&keys.key[0], key, DOG_SECRET_KEY, v->vip, 0, e);
                if (rc == 0)
                        rc = instance_shim_service_set(s->loader, i, &v->address, v->port, &keys, e);
                if (rc == 0)
                        s->told.tag[s->told.tags++] =
                                instance_cookie_tag(key, DOG_SECRET_KEY, v->vip, &v->address, v->port);
                sodium_memzero(&keys, sizeof(keys));
        }
        return rc;
}

int agent_shim_open(struct agent_shim *s, const struct agent_config *c, struct dog_err *e)
{
        uint8_t key[DOG_SECRET_KEY];
        struct dog_err why = {0};
        *s = (struct agent_shim){.told.state = DOG_AGENT_SHIM_NONE};
        if (!c->shim_devices)
                return 0;
        int rc = shim_key_read(c->shim_key, key, e);
        if (rc < 0)
                return rc;
        struct instance_shim_setup set = shim_setup(c);
        rc = instance_shim_open(&s->loader, &set, &why);
        if (rc == 0)
                rc = shim_services(s, c, key, &why);
        sodium_memzero(key, sizeof(key));
        s->told.state = rc == 0             ? DOG_AGENT_SHIM_GATED
                        : rc == -ENOSYS     ? DOG_AGENT_SHIM_OLD_KERNEL
                        : rc == -EOPNOTSUPP ? DOG_AGENT_SHIM_NO_COOKIES
                                            : DOG_AGENT_SHIM_FAILED;
        if (rc == 0) {
                dog_log(DOG_LOG_INFO, "event=shim devices=%u services=%u", c->shim_devices, c->shim_services);
                return 0;
        }
        dog_log(DOG_LOG_WARN, "event=no-shim: %s", why.text);
        s->told.tags = 0;
        agent_shim_close(s);
        return 0;
}

void agent_shim_close(struct agent_shim *s)
{
        instance_shim_close(s->loader);
        s->loader = NULL;
}

void agent_shim_tick(struct agent_shim *s, int64_t now_ns, int64_t wall_ns)
{
        struct dog_err e = {0};
        if (!s->loader || now_ns < s->due_ns)
                return;
        s->due_ns = now_ns + SHIM_TICK_NS;
        enum dog_agent_shim_state was = s->told.state;
        s->told.state = instance_shim_clock_set(s->loader, wall_ns, now_ns, &e) < 0 ? DOG_AGENT_SHIM_FAILED
                        : instance_shim_allowed(&e) < 0 ? DOG_AGENT_SHIM_NO_COOKIES
                                                        : DOG_AGENT_SHIM_GATED;
        if (s->told.state == was)
                return;
        if (e.text[0])
                dog_log(DOG_LOG_WARN, "event=no-shim: %s", e.text);
        else
                dog_log(DOG_LOG_INFO, "event=shim: it works again");
}

int agent_shim_remove(const struct agent_config *c, struct dog_err *e)
{
        struct instance_shim_setup set = shim_setup(c);
        if (!c->shim_devices)
                return dog_err_set(e, -EINVAL,
                                   "the configuration names no shim_devices, so there is no shim to remove");
        return instance_shim_take_off(&set, e);
}
