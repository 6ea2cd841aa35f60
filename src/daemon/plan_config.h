#pragma once
/**
 * From the configuration to what the core and the path kind take: the only place that knows
 * both forms.
 */
#include "daemon/config.h"
#include "kinds/instance/service.h"
#include "kinds/path/link.h"

struct dog_promise plan_promise(const struct dog_config_profile *p);
struct dog_policy plan_policy(const struct dog_config_policy *p, const struct dog_config_class *c);

/** The network that an address with a prefix length is in. */
struct dog_hands_address plan_network(const struct dog_config_prefix *p);

/** Strings are borrowed from the configuration; free with plan_link_fini. 0, -ENOMEM, -EINVAL. */
int plan_link(const struct dog_config *c, const struct dog_config_tunnel *t, struct path_link_settings *to,
              struct dog_err *e);
void plan_link_fini(struct path_link_settings *s);

/** What the service of all vips takes; callbacks are the caller's to fill. Strings are borrowed from the
 * configuration; free with plan_service_fini. 0 or -ENOMEM. */
int plan_service(const struct dog_config *c, struct instance_service_settings *to, struct dog_err *e);
void plan_service_fini(struct instance_service_settings *s);
/** The name of an instance's key among hands' secrets. `to` holds DOG_HANDS_NAME bytes. */
const char *plan_agent_secret(size_t instance, char *to);
#define PLAN_TELL_SECRET    "front"
#define PLAN_PAIR_SECRET    "front-pair"
#define PLAN_ALIGNED_SECRET "front-aligned"
