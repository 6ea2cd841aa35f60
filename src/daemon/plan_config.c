#include "daemon/plan_config.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dog_promise plan_promise(const struct dog_config_profile *p)
{
        struct dog_promise to = dog_promise_default();
        to.rtt_ms = (double)p->latency_ns / (double)DOG_MS;
        to.rtt_factor = p->latency_factor;
        to.jitter_ms = (double)p->jitter_ns / (double)DOG_MS;
        to.loss_ratio = p->loss_share;
        to.rate_kbps = p->rate_bps / 1e3;
        to.response_ms = (double)p->response_ns / (double)DOG_MS;
        to.weight[DOG_SIGNAL_RTT] = p->weight.latency;
        to.weight[DOG_SIGNAL_JITTER] = p->weight.jitter;
        to.weight[DOG_SIGNAL_LOSS] = p->weight.loss;
        to.weight[DOG_SIGNAL_RATE] = p->weight.rate;
        to.weight[DOG_SIGNAL_RESPONSE] = p->weight.response;
        to.breach_price = p->breach_price;
        to.priority = (int)p->priority;
        return to;
}

struct dog_policy plan_policy(const struct dog_config_policy *p, const struct dog_config_class *c)
{
        struct dog_policy to = dog_policy_default();
        to.margin = p->margin;
        to.move_price = p->move_price;
        to.backup_price = p->backup_price;
        to.hold_ns = p->hold_ns;
        to.overlap_ns = p->overlap_ns;
        to.dead_ns = p->dead_ns;
        to.recover_ns = p->recover_ns;
        to.copies = (unsigned)p->copies;
        to.mirror_price = p->mirror_price;
        to.mirror_budget = p->mirror_budget;
        to.mirror_burst_ns = p->mirror_burst_ns;
        to.mirror_hold_ns = p->mirror_hold_ns;
        to.horizon_ns[0] = p->horizon_near_ns;
        to.horizon_ns[1] = p->horizon_middle_ns;
        to.horizon_ns[2] = p->horizon_far_ns;
        if (!c)
                return to;
        static const enum dog_mirror_mode mode[] = {[DOG_CONFIG_MIRROR_AUTO] = DOG_MIRROR_AUTO,
                                                    [DOG_CONFIG_MIRROR_ALWAYS] = DOG_MIRROR_ALWAYS,
                                                    [DOG_CONFIG_MIRROR_NEVER] = DOG_MIRROR_NEVER};
        to.mirror = mode[c->mirror];
        if (c->mirror_budget >= 0)
                to.mirror_budget = c->mirror_budget;
        return to;
}

static struct dog_hands_address address_of(uint32_t host_order, uint8_t prefix)
{
        struct dog_hands_address a = {.version = host_order ? 4 : 0, .prefix = host_order ? prefix : 0};
        uint32_t network = htonl(host_order);
        memcpy(a.bytes, &network, sizeof(network));
        return a;
}

struct dog_hands_address plan_network(const struct dog_config_prefix *p)
{
        return address_of(p->bits ? p->address & (~UINT32_C(0) << (32 - p->bits)) : 0, p->bits);
}

/* ---- rules: every combination of the lists of a match is one rule ---- */

static uint32_t mask_of(uint8_t bits)
{
        return bits ? htonl(~UINT32_C(0) << (32 - bits)) : 0;
}

static int rule_add(struct path_link_settings *s, size_t *room, const struct path_rule *r)
{
        if (s->rules == *room) {
                size_t more = *room ? 2 * *room : 16;
                struct path_rule *grown = realloc(s->rule, more * sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                s->rule = grown;
                *room = more;
        }
        s->rule[s->rules++] = *r;
        return 0;
}

static int rules_of(struct path_link_settings *s, size_t *room, const struct dog_config_class *c)
{
        const struct dog_config_match *m = &c->match;
        for (size_t x = 0; x < (m->prefixes ? m->prefixes : 1); x++) {
                for (size_t y = 0; y < (m->ports ? m->ports : 1); y++) {
                        for (size_t z = 0; z < (m->dscps ? m->dscps : 1); z++) {
                                struct path_rule r = {.sport_high = UINT16_MAX,
                                                      .dport_high = UINT16_MAX,
                                                      .klass = (uint32_t)c->id};
                                if (m->prefixes) {
                                        r.dst_mask = mask_of(m->prefix[x].bits);
                                        r.dst = htonl(m->prefix[x].address) & r.dst_mask;
                                }
                                if (m->protocol) {
                                        r.flags |= PATH_RULE_PROTO;
                                        r.proto = (uint8_t)m->protocol;
                                }
                                if (m->ports) {
                                        r.dport_low = m->port[y].first;
                                        r.dport_high = m->port[y].last;
                                }
                                if (m->dscps) {
                                        r.flags |= PATH_RULE_DSCP;
                                        r.dscp = m->dscp[z];
                                }
                                if (rule_add(s, room, &r) < 0)
                                        return -ENOMEM;
                                /* Answers come back from the port that was asked: they belong to the class
                                 * too. */
                                if (m->ports) {
                                        r.sport_low = r.dport_low;
                                        r.sport_high = r.dport_high;
                                        r.dport_low = 0;
                                        r.dport_high = UINT16_MAX;
                                        r.src = r.dst;
                                        r.src_mask = r.dst_mask;
                                        r.dst = r.dst_mask = 0;
                                        if (rule_add(s, room, &r) < 0)
                                                return -ENOMEM;
                                }
                        }
                }
        }
        return 0;
}

int plan_link(const struct dog_config *c, const struct dog_config_tunnel *t, struct path_link_settings *to,
              struct dog_err *e)
{
        memset(to, 0, sizeof(*to));
        if (t->paths > PATH_PATHS_MAX)
                return dog_err_set(e, -EINVAL, "%s:%u: tunnel %s has %zu paths; at most %d are supported",
                                   t->where.file, t->where.line, t->name, t->paths, PATH_PATHS_MAX);
        if (!t->peer || strcmp(c->site, t->peer) == 0)
                return dog_err_set(e, -EINVAL,
                                   "%s:%u: tunnel %s: its peer must have another name than this site, \"%s\"",
                                   t->where.file, t->where.line, t->name, c->site);
        to->name = t->name;
        to->secret = t->name;
        to->stamp_port = (uint16_t)t->stamp_port;
        to->stamp_interval_ns = t->stamp_interval_ns;
        to->stamp_busy_ns = t->stamp_busy_ns < t->stamp_interval_ns ? t->stamp_busy_ns : t->stamp_interval_ns;
        /* The ends tell their directions apart by number: the site whose name comes first takes the even one.
         */
        bool is_first = strcmp(c->site, t->peer) < 0;
        uint16_t even = (uint16_t)(2 * t->id);
        to->tunnel = (struct path_tunnel_settings){
                .device = t->device,
                .address = address_of(t->address.address, t->address.bits),
                .number = is_first ? even : (uint16_t)(even + 1),
                .far_number = is_first ? (uint16_t)(even + 1) : even,
        };
        for (size_t p = 0; p < t->paths; p++) {
                const struct dog_config_path *from = &t->path[p];
                if (from->id < 0 || from->id >= (int64_t)t->paths || to->path[from->id].path.name)
                        return dog_err_set(e, -EINVAL, "%s:%u: path %s: ids must be 0 to %zu, each once",
                                           from->where.file, from->where.line, from->name, t->paths - 1);
                static const enum dog_role role[] = {[DOG_CONFIG_PRIMARY] = DOG_ROLE_PRIMARY,
                                                     [DOG_CONFIG_BACKUP] = DOG_ROLE_BACKUP,
                                                     [DOG_CONFIG_NEVER] = DOG_ROLE_NEVER};
                to->path[from->id] = (struct path_link_path){
                        .path = {.name = from->name,
                                 .device = from->device,
                                 .local = address_of(from->local, 32),
                                 .remote = address_of(from->remote, 32),
                                 .mtu = (uint32_t)t->mtu},
                        .price_per_gb = from->price_per_gb,
                        .role = role[from->role],
                };
        }
        to->paths = (unsigned)t->paths;
        to->class = calloc(c->classes + 1, sizeof(*to->class));
        size_t room = 0;
        if (!to->class)
                return dog_err_set(e, -ENOMEM, "out of memory");
        for (size_t i = 0; i < c->classes; i++) {
                const struct dog_config_class *k = &c->class[i];
                if (k->tunnel && strcmp(k->tunnel, t->name) != 0)
                        continue;
                to->class[to->classes++] = (struct path_link_class){.name = k->name,
                                                                    .number = (unsigned)k->id,
                                                                    .promise = plan_promise(k->promise),
                                                                    .policy = plan_policy(&c->policy, k)};
                if (rules_of(to, &room, k) < 0) {
                        plan_link_fini(to);
                        return dog_err_set(e, -ENOMEM, "out of memory");
                }
        }
        /* What no class takes still has to go somewhere. */
        struct dog_policy plain = plan_policy(&c->policy, NULL);
        plain.mirror = DOG_MIRROR_NEVER;
        to->class[to->classes++] =
                (struct path_link_class){.name = "other", .promise = dog_promise_default(), .policy = plain};
        return 0;
}

void plan_link_fini(struct path_link_settings *s)
{
        free(s->class);
        free(s->rule);
        s->class = NULL;
        s->rule = NULL;
}

/* ---- vips ---- */

const char *plan_agent_secret(size_t instance, char *to)
{
        snprintf(to, DOG_HANDS_NAME, "agent.%zu", instance);
        return to;
}

static struct dog_hands_address either_of(const struct dog_config_address *a)
{
        struct dog_hands_address to = {.version = a->version,
                                       .prefix = a->version == 6   ? 128
                                                 : a->version == 4 ? 32
                                                                   : 0};
        memcpy(to.bytes, a->bytes, sizeof(to.bytes));
        return to;
}

static const enum dog_role roles[] = {[DOG_CONFIG_PRIMARY] = DOG_ROLE_PRIMARY,
                                      [DOG_CONFIG_BACKUP] = DOG_ROLE_BACKUP,
                                      [DOG_CONFIG_NEVER] = DOG_ROLE_NEVER};

static struct dog_promise vip_promise(const struct dog_config_vip *v)
{
        struct dog_promise to = v->promise ? plan_promise(v->promise) : dog_promise_default();
        if (v->priority >= 0)
                to.priority = (int)v->priority;
        return to;
}

static struct dog_policy vip_policy(const struct dog_config *c, const struct dog_config_vip *v)
{
        static const enum dog_mirror_mode mode[] = {[DOG_CONFIG_PROTECT_AUTO] = DOG_MIRROR_AUTO,
                                                    [DOG_CONFIG_PROTECT_ALWAYS] = DOG_MIRROR_ALWAYS,
                                                    [DOG_CONFIG_PROTECT_NEVER] = DOG_MIRROR_NEVER,
                                                    [DOG_CONFIG_PROTECT_SHARE] = DOG_MIRROR_SHARE};
        struct dog_policy to = plan_policy(&c->policy, NULL);
        to.spread = true;
        to.mirror = mode[v->protect];
        if (v->protect == DOG_CONFIG_PROTECT_SHARE)
                to.mirror_share = v->share;
        if (v->budget >= 0)
                to.mirror_budget = v->budget;
        return to;
}

static struct instance_vip_settings vip_settings(const struct dog_config_vip *v)
{
        static const enum instance_protect protect[] = {[DOG_CONFIG_PROTECT_AUTO] = INSTANCE_PROTECT_SHARE,
                                                        [DOG_CONFIG_PROTECT_ALWAYS] = INSTANCE_PROTECT_ALWAYS,
                                                        [DOG_CONFIG_PROTECT_NEVER] = INSTANCE_PROTECT_NEVER,
                                                        [DOG_CONFIG_PROTECT_SHARE] = INSTANCE_PROTECT_SHARE};
        static const enum instance_return returns[] = {[DOG_CONFIG_RETURN_NAT] = INSTANCE_RETURN_NAT,
                                                       [DOG_CONFIG_RETURN_L2] = INSTANCE_RETURN_L2,
                                                       [DOG_CONFIG_RETURN_DIRECT] = INSTANCE_RETURN_DIRECT};
        return (struct instance_vip_settings){.name = v->name,
                                              .address = either_of(&v->address),
                                              .port = (uint16_t)v->port,
                                              .proto = v->protocol ? IPPROTO_UDP : IPPROTO_TCP,
                                              .protect = protect[v->protect],
                                              .returns = returns[v->returns],
                                              .answer = v->answer == DOG_CONFIG_ANSWER_FIRST
                                                                ? INSTANCE_ANSWER_FIRST
                                                                : INSTANCE_ANSWER_PRIMARY,
                                              .share = v->share >= 0                           ? v->share
                                                       : v->protect == DOG_CONFIG_PROTECT_AUTO ? 0
                                                                                               : 1,
                                              .most = (uint32_t)v->most,
                                              .is_aligned = v->mode == DOG_CONFIG_ALIGNED,
                                              .has_guard = v->has_guard == 1,
                                              .has_classes = v->has_classes == 1,
                                              .lag_bytes = (uint32_t)v->lag_bytes,
                                              .lag_ms = (uint32_t)(v->lag_ns / DOG_MS)};
}

static uint32_t power_of_two(int64_t least)
{
        uint32_t n = 1;
        while (n < least)
                n *= 2;
        return n;
}

static void plan_machines(const struct dog_config *c, struct instance_machine *machine, char *secrets)
{
        static const enum instance_check check[] = {[DOG_CONFIG_CHECK_AUTO] = INSTANCE_CHECK_AUTO,
                                                    [DOG_CONFIG_CHECK_ICMP] = INSTANCE_CHECK_ICMP,
                                                    [DOG_CONFIG_CHECK_TCP] = INSTANCE_CHECK_TCP,
                                                    [DOG_CONFIG_CHECK_AGENT] = INSTANCE_CHECK_AGENT};
        static const enum instance_shim_word shim[] = {[DOG_CONFIG_SHIM_AUTO] = INSTANCE_SHIM_AUTO,
                                                       [DOG_CONFIG_SHIM_NONE] = INSTANCE_SHIM_NONE,
                                                       [DOG_CONFIG_SHIM_UNGATED] = INSTANCE_SHIM_UNGATED,
                                                       [DOG_CONFIG_SHIM_GATED] = INSTANCE_SHIM_GATED};
        for (size_t i = 0; i < c->instances; i++) {
                const struct dog_config_instance *n = &c->instance[i];
                machine[i] = (struct instance_machine){
                        .name = n->name,
                        .address = either_of(&n->address),
                        .device = n->device,
                        .weight = n->weight,
                        .price = n->price,
                        .role = roles[n->role],
                        .fates = (unsigned)n->fates,
                        .check = check[n->check],
                        .check_port = (uint16_t)n->check_port,
                        .secret =
                                n->agent_key_file ? plan_agent_secret(i, secrets + i * DOG_HANDS_NAME) : NULL,
                        .exporter = n->exporter,
                        .shim = shim[n->shim]};
                for (size_t f = 0; f < n->fates; f++)
                        machine[i].fate[f] = n->fate[f].text;
        }
}

int plan_service(const struct dog_config *c, struct instance_service_settings *to, struct dog_err *e)
{
        static const enum instance_hook hook[] = {[DOG_CONFIG_HOOK_AUTO] = INSTANCE_HOOK_AUTO,
                                                  [DOG_CONFIG_HOOK_TC] = INSTANCE_HOOK_TC,
                                                  [DOG_CONFIG_HOOK_XDP] = INSTANCE_HOOK_XDP};
        const struct dog_config_front *f = &c->front;
        /* One piece: the instances, and behind them the names of their keys. */
        struct instance_machine *machine = calloc(c->instances + 1, sizeof(*machine) + DOG_HANDS_NAME);
        struct instance_address_plan *vip = calloc(c->vips + 1, sizeof(*vip));
        *to = (struct instance_service_settings){.machine = machine, .vip = vip};
        if (!machine || !vip) {
                plan_service_fini(to);
                return dog_err_set(e, -ENOMEM, "out of memory");
        }
        plan_machines(c, machine, (char *)(machine + c->instances + 1));
        for (size_t i = 0; i < c->vips; i++) {
                const struct dog_config_vip *v = &c->vip[i];
                vip[i] = (struct instance_address_plan){.set = vip_settings(v),
                                                        .promise = vip_promise(v),
                                                        .policy = vip_policy(c, v),
                                                        .seats = (unsigned)v->seats};
                for (size_t k = 0; k < v->seats; k++) {
                        vip[i].seat[k].machine = v->seat[k].instance;
                        vip[i].seat[k].port = v->seat[k].port;
                }
        }
        to->machines = (unsigned)c->instances;
        to->vips = (unsigned)c->vips;
        to->front = (struct instance_front_settings){.devices = (unsigned)f->devices,
                                                     .is_host = f->role == DOG_CONFIG_HOST,
                                                     .hook = hook[f->hook],
                                                     .conns_most = power_of_two(f->connections),
                                                     .syns_most = power_of_two(f->half_open),
                                                     .idle_ns = (uint64_t)f->idle_ns};
        for (size_t d = 0; d < f->devices; d++)
                to->front.device[d] = f->device[d].text;
        to->probe_interval_ns = f->probe_interval_ns;
        to->probe_misses = (unsigned)f->probe_misses;
        to->patience_ns = f->patience_ns;
        to->agent_port = (uint16_t)f->agent_port;
        to->tell_port = (uint16_t)f->tell_port;
        to->told_by = either_of(&f->told_by);
        to->tell_secret = f->tell_port ? PLAN_TELL_SECRET : NULL;
        to->site = c->site;
        to->pair = either_of(&f->pair);
        to->pair_port = (uint16_t)f->pair_port;
        to->pair_secret = f->pair.version ? PLAN_PAIR_SECRET : NULL;
        to->aligned_secret = f->aligned_key_file ? PLAN_ALIGNED_SECRET : NULL;
        return 0;
}

void plan_service_fini(struct instance_service_settings *s)
{
        free((void *)(uintptr_t)s->machine);
        free((void *)(uintptr_t)s->vip);
        s->machine = NULL;
        s->vip = NULL;
}
