/*
 * Aligned vips: the front's keys and clock, and which servers have a shim that knows the vip.
 *
 * A server whose agent is not heard counts as one without a shim: its host may have been started anew, and a
 * connection that is sent to a host without the shim is refused there. What is aligned already is not
 * touched.
 */
#include "kinds/instance/service_inside.h"

#include "base/clock.h"
#include "hands/netlink.h"
#include "kinds/instance/cookie.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define LOOK_NS    (1 * DOG_S)
#define COOKIES_NS (60 * DOG_S)
#define MTU_MOST   9000

/* What fits every device of the front, towards clients as well as towards servers. */
static uint32_t aligning_mtu(const struct instance_service *s)
{
        uint32_t least = MTU_MOST;
        for (unsigned d = 0; d < s->settings.front.devices; d++) {
                struct dog_link link;
                if (dog_link_get(&link, s->settings.front.device[d], NULL) == 0 && link.mtu &&
                    link.mtu < least)
                        least = link.mtu;
        }
        return least;
}

static int aligning_cookies(struct instance_service *s, struct address *a, struct dog_err *e)
{
        struct instance_cookie_keys keys = {.key[1].from = ~0ULL};
        uint32_t mtu = aligning_mtu(s);
        int rc = instance_cookie_key_derive(&keys.key[0], s->aligned_secret, sizeof(s->aligned_secret),
                                            a->plan.set.name, 0, e);
        if (rc == 0)
                rc = instance_front_cookies_set(s->front, a->number, &keys, (uint16_t)(mtu - 40),
                                                (uint16_t)(mtu - 60), e);
        sodium_memzero(&keys, sizeof(keys));
        a->has_keys = rc == 0;
        return rc;
}

/* ---- which servers ---- */

static bool aligning_is_served(const struct instance_service *s, const struct address *a, unsigned k)
{
        const struct machine *m = &s->machine[a->plan.seat[k].machine];
        const struct instance_vip_settings *v = &a->plan.set;
        uint64_t want = instance_cookie_tag(s->aligned_secret, sizeof(s->aligned_secret), v->name,
                                            v->returns == INSTANCE_RETURN_NAT ? &m->set.address : &v->address,
                                            a->plan.seat[k].port ? a->plan.seat[k].port : v->port);
        for (unsigned i = 0; i < m->shim.tags; i++)
                if (m->shim.tag[i] == want)
                        return true;
        return false;
}

/** @return NULL: its shim takes this vip's connections; else why not */
static const char *aligning_why(const struct instance_service *s, const struct address *a, unsigned k,
                                bool *is_gated)
{
        const struct machine *m = &s->machine[a->plan.seat[k].machine];
        *is_gated = m->set.shim != INSTANCE_SHIM_UNGATED;
        if (m->set.shim == INSTANCE_SHIM_GATED || m->set.shim == INSTANCE_SHIM_UNGATED)
                return NULL;
        if (m->set.shim == INSTANCE_SHIM_NONE)
                return "the configuration says that it has no shim";
        if (m->agent < 0)
                return "it has no agent that could tell of a shim; \"shim\" in its configuration can";
        if (m->is_agent_silent)
                return "its agent has fallen silent";
        if (!m->has_shim_word)
                return "its agent has not been heard yet";
        if (m->shim.state != DOG_AGENT_SHIM_GATED)
                return dog_agent_shim_text(m->shim.state);
        return aligning_is_served(s, a, k) ? NULL
                                           : "its shim knows no such service by this key: compare its "
                                             "shim_services and shim_key_file";
}

static const char *const mode_word[] = {[INSTANCE_MODE_TRANSLATED] = "translated",
                                        [INSTANCE_MODE_PARTLY] = "partly-aligned",
                                        [INSTANCE_MODE_ALIGNED] = "aligned"};

static void aligning_vip(struct instance_service *s, struct address *a)
{
        unsigned shims = 0;
        char why[sizeof(a->why)] = "";
        for (unsigned k = 0; k < a->plan.seats; k++) {
                bool is_gated;
                const char *missing = aligning_why(s, a, k, &is_gated);
                instance_front_shim_set(s->front, a->seat[k].number, !missing, is_gated);
                shims += !missing;
                if (missing && !why[0])
                        snprintf(why, sizeof(why), "%s: %s", s->machine[a->plan.seat[k].machine].set.name,
                                 missing);
        }
        /* A pair is needed: one shim alone helps nobody. */
        enum instance_mode mode = !a->has_keys || shims < 2 ? INSTANCE_MODE_TRANSLATED
                                  : shims < a->plan.seats   ? INSTANCE_MODE_PARTLY
                                                            : INSTANCE_MODE_ALIGNED;
        if (!a->has_keys)
                snprintf(why, sizeof(why), "its keys are not in the front");
        else if (shims < 2 && !why[0])
                snprintf(why, sizeof(why), "it has one instance, and nobody stands by");
        bool is_news = !a->has_mode || mode != a->mode || strcmp(why, a->why) != 0;
        a->has_mode = true;
        a->mode = mode;
        memcpy(a->why, why, sizeof(why));
        if (!is_news)
                return;
        service_tell(
                s,
                &(struct instance_news){.event = mode_word[mode],
                                        .subject = a->plan.set.name,
                                        .vip = a->plan.set.name,
                                        .is_warning = mode != INSTANCE_MODE_ALIGNED},
                mode == INSTANCE_MODE_ALIGNED ? "new connections of %s are aligned on all instances%s"
                : mode == INSTANCE_MODE_PARTLY
                        ? "new connections of %s are aligned where both of their instances have a shim; %s"
                        : "new connections of %s are translated; %s",
                a->plan.set.name, why);
}

void aligning_look(struct instance_service *s)
{
        for (struct address *a = s->vip; a < s->vip + s->vips; a++)
                if (a->plan.set.is_aligned)
                        aligning_vip(s, a);
}

/* ---- life ---- */

int aligning_open(struct instance_service *s, struct dog_err *e)
{
        int rc = s->settings.aligned_secret
                         ? dog_hands_secret(s->hands, s->settings.aligned_secret, s->aligned_secret, e)
                         : 0;
        s->aligned_ns = s->cookies_ns = INT64_MAX;
        for (struct address *a = s->vip; rc == 0 && a < s->vip + s->vips; a++) {
                /* Left from an earlier configuration: what begins from now on has no cookie. */
                if (!a->plan.set.is_aligned) {
                        instance_front_cookies_clear(s->front, a->number);
                        continue;
                }
                rc = aligning_cookies(s, a, e);
                s->aligned_ns = s->cookies_ns = 0;
        }
        return rc;
}

void aligning_close(struct instance_service *s)
{
        sodium_memzero(s->aligned_secret, sizeof(s->aligned_secret));
}

int64_t aligning_on_timer(struct instance_service *s, int64_t now_ns)
{
        if (s->aligned_ns == INT64_MAX)
                return INT64_MAX;
        if (now_ns >= s->cookies_ns) {
                s->cookies_ns = now_ns + COOKIES_NS;
                for (struct address *a = s->vip; a < s->vip + s->vips; a++) {
                        struct dog_err e = {0};
                        if (a->plan.set.is_aligned && aligning_cookies(s, a, &e) < 0)
                                service_tell(s,
                                             &(struct instance_news){.event = "keys",
                                                                     .subject = a->plan.set.name,
                                                                     .is_warning = true},
                                             "%s", e.text);
                }
        }
        if (now_ns >= s->aligned_ns && now_ns >= s->settle_ns) {
                s->aligned_ns = now_ns + LOOK_NS;
                aligning_look(s);
        }
        return s->aligned_ns > now_ns ? s->aligned_ns : s->settle_ns;
}

enum instance_mode instance_service_mode(const struct instance_service *s, unsigned vip, const char **why)
{
        if (why)
                *why = s->vip[vip].plan.set.is_aligned ? s->vip[vip].why : "";
        return s->vip[vip].mode;
}
