/* Aligned mode, the decider's side: keys for the front's cookies, and which servers run the shim. */
#include "base/clock.h"
#include "kinds/instance/front_inside.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#define COOKIE_MSS_LEAST 536

int instance_front_cookies_set(struct instance_front *f, unsigned vip,
                               const struct instance_cookie_keys *keys, uint16_t mss4, uint16_t mss6,
                               struct dog_err *e)
{
        struct instance_cookie_vip c = {.keys = *keys, .mss4 = mss4, .mss6 = mss6}, was;
        uint32_t number = vip, second = (uint32_t)(dog_clock_mono_ns() / DOG_S) + 1;

        if (vip >= INSTANCE_VIPS_MAX || !f->vip[vip].is_set)
                return dog_err_set(e, -EINVAL, "cookies for vip %u, which is not set", vip);
        if (mss4 < COOKIE_MSS_LEAST || mss6 < COOKIE_MSS_LEAST)
                return dog_err_set(e, -EINVAL, "vip %s: segments of %u and %u bytes; %d is the least",
                                   f->vip[vip].name, mss4, mss6, COOKIE_MSS_LEAST);
        c.clock_ns = (uint64_t)(dog_clock_wall_ns() - dog_clock_mono_ns());
        /* Connections that began before the address was aligned have no entry and no cookie. */
        if (bpf_map_lookup_elem(f->cookies.fd, &number, &was) < 0 || was.mss4 == 0)
                if (bpf_map_update_elem(f->loose.fd, &number, &second, BPF_ANY) < 0)
                        return dog_err_set(e, -errno, "vip %s: %s", f->vip[vip].name, strerror(errno));
        if (bpf_map_update_elem(f->cookies.fd, &number, &c, BPF_ANY) < 0)
                return dog_err_set(e, -errno, "vip %s: its keys cannot be written: %s", f->vip[vip].name,
                                   strerror(errno));
        return 0;
}

void instance_front_cookies_clear(struct instance_front *f, unsigned vip)
{
        struct instance_cookie_vip none = {.keys.key = {{.from = ~0ULL}, {.from = ~0ULL}}};
        uint32_t number = vip;

        if (vip < INSTANCE_VIPS_MAX)
                bpf_map_update_elem(f->cookies.fd, &number, &none, BPF_ANY);
}

void instance_front_shim_set(struct instance_front *f, unsigned server, bool has_shim, bool is_gated)
{
        uint32_t set = (has_shim ? INSTANCE_SERVER_ALIGNED : 0U) |
                       (has_shim && is_gated ? INSTANCE_SERVER_GATED : 0U);

        if (server >= INSTANCE_SERVERS_MAX || !f->server[server].is_set)
                return;
        uint32_t *flags = &front_server_at(f, server)->flags;
        __atomic_fetch_and(flags, ~(uint32_t)(INSTANCE_SERVER_ALIGNED | INSTANCE_SERVER_GATED) | set,
                           __ATOMIC_RELEASE);
        __atomic_fetch_or(flags, set, __ATOMIC_RELEASE);
}
