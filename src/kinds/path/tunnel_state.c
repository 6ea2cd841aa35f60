/* The part of a tunnel that is words in maps: classes, rules, keys, counters. Asks nobody. */
#include "base/clock.h"
#include "kinds/path/key.h"
#include "kinds/path/tunnel_inside.h"

#include "base/array.h"
#include "hands/secret.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One store that BPF sees at once; the order of two is kept. */
#define STATE_SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
#define STATE_BUMP(field)       __atomic_add_fetch(&(field), 1, __ATOMIC_ACQ_REL)
#define STATE_CLASS(t, c)       ((struct path_class *)dog_map_at(&(t)->classes, (c)))

/* --------------------------------------------------------------------------------- receive */

void path_tunnel_rx_init(struct path_tunnel *t)
{
        const struct path_host_settings *is = &t->host->is;
        uint32_t base = t->is.number * is->classes;
        struct path_rx_tunnel *rx = t->rx;
        if (rx->class_count == 0) {
                rx->key[0].epoch = PATH_KEY_NONE;
                rx->key[1].epoch = PATH_KEY_NONE;
        }
        if (t->set->hash_seed == 0) {
                t->set->key[0].epoch = PATH_KEY_NONE;
                t->set->key[1].epoch = PATH_KEY_NONE;
                randombytes_buf(&t->set->hash_seed, sizeof(t->set->hash_seed));
        }
        STATE_SET(rx->class_base, base);
        memcpy(rx->mac_to, t->mac, 6);
        memcpy(rx->mac_from, t->peer_mac, 6);
        for (uint32_t c = 0; c < is->classes; c++) {
                struct path_rx_class *k = dog_map_at(&t->host->rx_classes, base + c);
                STATE_SET(k->offset, (base + c) * PATH_WINDOW_WORDS(is->window));
                STATE_SET(k->mask, PATH_WINDOW_WORDS(is->window) - 1);
        }
}

/* --------------------------------------------------------------------------------- classes */

static int state_subset_check(const struct path_tunnel *t, unsigned c, uint32_t subset, struct dog_err *e)
{
        if (c >= t->host->is.classes)
                return dog_err_set(e, -EINVAL, "tunnel %s: class %u, where there are 0 to %u", t->device, c,
                                   t->host->is.classes - 1);
        if (subset == 0 || subset >= PATH_SUBSETS)
                return dog_err_set(e, -EINVAL, "tunnel %s: class %u: a set of paths is a mask from 1 to %d",
                                   t->device, c, PATH_SUBSETS - 1);
        for (unsigned p = 0; p < PATH_PATHS_MAX; p++)
                if (subset & 1u << p && !t->path[p].state.is_usable)
                        return dog_err_set(
                                e, -EINVAL, "tunnel %s: class %u: path %u %s", t->device, c, p,
                                t->path[p].state.is_set
                                        ? "cannot send yet: no next hop, or its far address is unknown"
                                        : "is not set");
        return 0;
}

int path_tunnel_class_set(struct path_tunnel *t, unsigned c, const struct path_tunnel_class *set,
                          struct dog_err *e)
{
        int rc = state_subset_check(t, c, set->subset, e);
        for (size_t i = 0; i < ARRAY_SIZE(set->fallback) && rc == 0 && set->fallback[i]; i++)
                rc = state_subset_check(t, c, set->fallback[i], e);
        if (rc < 0)
                return rc;
        struct path_class *k = STATE_CLASS(t, c);
        struct path_seq *seq = dog_map_at(&t->seqs, c);
        /* A sequence goes on where it was: the far end drops what it has seen. */
        uint64_t next = __atomic_load_n(&seq->next, __ATOMIC_ACQUIRE);
        /* A copy is behind: the earlier map counts on until its program goes. The wall clock is ahead of
         * both. */
        if (next == 0 || (t->is_replaced && next < (uint64_t)dog_clock_wall_ns()))
                STATE_SET(seq->next, (uint64_t)dog_clock_wall_ns());
        STATE_SET(k->sample_mask, set->sample_mask);
        STATE_SET(k->silence_ms, set->silence_ms);
        uint32_t fallback;
        memcpy(&fallback, set->fallback, sizeof(fallback));
        STATE_SET(*(uint32_t *)(void *)k->fallback, fallback);
        STATE_SET(k->subset, set->subset);
        return 0;
}

int path_tunnel_steer(struct path_tunnel *t, unsigned c, uint32_t subset, struct dog_err *e)
{
        int rc = state_subset_check(t, c, subset, e);
        if (rc < 0)
                return rc;
        STATE_SET(STATE_CLASS(t, c)->subset, subset);
        return 0;
}

uint32_t path_tunnel_subset(const struct path_tunnel *t, unsigned c)
{
        return c < t->host->is.classes ? __atomic_load_n(&STATE_CLASS(t, c)->subset, __ATOMIC_ACQUIRE) : 0;
}

/* ----------------------------------------------------------------------------------- rules */

static bool state_rules_same(const struct path_tunnel *t, const struct path_rule *rules, uint32_t n,
                             uint32_t bank)
{
        if (t->set->rule_count[bank] != n)
                return false;
        for (uint32_t i = 0; i < n; i++) {
                struct path_rule old;
                uint32_t at = bank * t->is.rules_most + i;
                if (bpf_map_lookup_elem(t->rules.fd, &at, &old) < 0 ||
                    memcmp(&old, &rules[i], sizeof(old)) != 0)
                        return false;
        }
        return true;
}

int path_tunnel_rules_set(struct path_tunnel *t, const struct path_rule *rules, uint32_t n,
                          uint32_t default_class, struct dog_err *e)
{
        uint32_t bank = t->set->rules & 1;
        if (n > t->is.rules_most)
                return dog_err_set(e, -E2BIG, "tunnel %s: %u rules, where %u fit", t->device, n,
                                   t->is.rules_most);
        if (default_class >= t->host->is.classes)
                return dog_err_set(e, -EINVAL, "tunnel %s: default class %u, where there are 0 to %u",
                                   t->device, default_class, t->host->is.classes - 1);
        for (uint32_t i = 0; i < n; i++)
                if (rules[i].klass >= t->host->is.classes)
                        return dog_err_set(e, -EINVAL,
                                           "tunnel %s: rule %u names class %u, where there are 0 to %u",
                                           t->device, i, rules[i].klass, t->host->is.classes - 1);
        if (t->set->default_class == default_class && state_rules_same(t, rules, n, bank))
                return 0;
        /* The bank that nobody reads; then the switch; then the caches of old verdicts. */
        bank ^= 1;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t at = bank * t->is.rules_most + i;
                if (bpf_map_update_elem(t->rules.fd, &at, &rules[i], BPF_ANY) < 0)
                        return dog_err_set(e, -errno, "tunnel %s: rule %u: %s", t->device, i,
                                           strerror(errno));
        }
        STATE_SET(t->set->rule_count[bank], n);
        STATE_SET(t->set->default_class, default_class);
        STATE_BUMP(t->set->rules);
        STATE_BUMP(t->set->generation);
        return 0;
}

int path_tunnel_flow_pin(struct path_tunnel *t, const struct path_flow_key *flow, unsigned c,
                         struct dog_err *e)
{
        struct path_flow verdict = {.klass = c, .flags = PATH_FLOW_PINNED};
        if (c >= t->host->is.classes)
                return dog_err_set(e, -EINVAL, "tunnel %s: class %u, where there are 0 to %u", t->device, c,
                                   t->host->is.classes - 1);
        if (bpf_map_update_elem(t->flows.fd, flow, &verdict, BPF_ANY) < 0)
                return dog_err_set(e, -errno, "tunnel %s: the flow cannot be remembered: %s", t->device,
                                   strerror(errno));
        STATE_BUMP(t->set->generation);
        return 0;
}

int path_tunnel_flow_free(struct path_tunnel *t, const struct path_flow_key *flow, struct dog_err *e)
{
        if (bpf_map_delete_elem(t->flows.fd, flow) < 0 && errno != ENOENT)
                return dog_err_set(e, -errno, "tunnel %s: the flow cannot be forgotten: %s", t->device,
                                   strerror(errno));
        STATE_BUMP(t->set->generation);
        return 0;
}

/* ------------------------------------------------------------------------------------ keys */

static void state_key_put(struct path_key *place, const struct path_key *key)
{
        if (place->epoch == key->epoch && place->k0 == key->k0 && place->k1 == key->k1)
                return;
        /* Never half a key under a valid epoch. */
        STATE_SET(place->epoch, PATH_KEY_NONE);
        STATE_SET(place->k0, key->k0);
        STATE_SET(place->k1, key->k1);
        STATE_SET(place->epoch, key->epoch);
}

int path_tunnel_key_accept(struct path_tunnel *t, const uint8_t secret[32], uint8_t epoch, struct dog_err *e)
{
        struct path_key key = path_key_derive(secret, t->is.far_number, t->is.number, epoch);
        (void)e;
        state_key_put(&t->rx->key[epoch & 1], &key);
        sodium_memzero(&key, sizeof(key));
        return 0;
}

int path_tunnel_key_send(struct path_tunnel *t, const uint8_t secret[32], uint8_t epoch, struct dog_err *e)
{
        struct path_key key = path_key_derive(secret, t->is.number, t->is.far_number, epoch);
        struct path_key *place = &t->set->key[epoch & 1];
        uint8_t now = (uint8_t)t->set->epoch;
        bool is_other = place->epoch != key.epoch || place->k0 != key.k0 || place->k1 != key.k1;
        /* The place in use may only be rewritten when the tunnel has no valid key yet, or the secret changed.
         */
        if (is_other && place->epoch <= 255 && (now & 1) == (epoch & 1) && now != epoch)
                return dog_err_set(e, -EBUSY, "tunnel %s: epoch %u cannot follow epoch %u: go by ones",
                                   t->device, epoch, now);
        state_key_put(place, &key);
        sodium_memzero(&key, sizeof(key));
        STATE_SET(t->set->epoch, epoch);
        return 0;
}

uint8_t path_tunnel_key_epoch(const struct path_tunnel *t)
{
        return (uint8_t)__atomic_load_n(&t->set->epoch, __ATOMIC_ACQUIRE);
}

int path_tunnel_key_load(struct path_tunnel *t, const char *secret, struct dog_err *e)
{
        uint8_t key[DOG_SECRET_KEY];
        uint8_t epoch = path_tunnel_key_epoch(t);
        int rc = dog_hands_secret(t->hands, secret, key, e);
        if (rc == 0)
                rc = path_tunnel_key_accept(t, key, epoch, e);
        if (rc == 0)
                rc = path_tunnel_key_send(t, key, epoch, e);
        sodium_memzero(key, sizeof(key));
        return rc < 0 ? dog_err_prefix(e, rc, "tunnel %s: secret %s", t->device, secret) : 0;
}

/* -------------------------------------------------------------------------------- counters */

void path_tunnel_interval(struct path_tunnel *t)
{
        STATE_BUMP(t->rx->interval);
}

static void state_delay_add(struct path_delay *sum, const struct path_delay *one, uint32_t interval)
{
        if (one->count == 0 || one->interval != interval)
                return;
        sum->min_ns = sum->count == 0 || one->min_ns < sum->min_ns ? one->min_ns : sum->min_ns;
        sum->max_ns = sum->count == 0 || one->max_ns > sum->max_ns ? one->max_ns : sum->max_ns;
        sum->interval = interval;
        sum->count += one->count;
        sum->sum_ns += one->sum_ns;
}

static void state_rx_add(struct path_rx_stats *sum, const struct path_rx_stats *one, uint32_t interval)
{
        sum->received += one->received;
        sum->bytes += one->bytes;
        for (unsigned s = 0; s < PATH_SUBSETS; s++)
                sum->first[s] += one->first[s];
        sum->duplicate += one->duplicate;
        sum->stale += one->stale;
        sum->bad_tag += one->bad_tag;
        sum->reordered += one->reordered;
        sum->control += one->control;
        /* The address of the CPU that heard it last; without time stamps any CPU's will do. */
        if (one->peer && (sum->peer == 0 || one->newest_ns >= sum->newest_ns)) {
                sum->peer = one->peer;
                sum->peer_port = one->peer_port;
        }
        if (one->newest_ns > sum->newest_ns)
                sum->newest_ns = one->newest_ns;
        state_delay_add(&sum->delay[0], &one->delay[interval & 1], interval);
}

static int state_read_rx(struct path_tunnel *t, unsigned p, struct path_rx_stats *to)
{
        unsigned cpus = dog_map_cpus();
        uint32_t last = __atomic_load_n(&t->rx->interval, __ATOMIC_ACQUIRE) - 1;
        struct path_rx_stats *all = calloc(cpus, sizeof(*all));
        memset(to, 0, sizeof(*to));
        if (!all)
                return -ENOMEM;
        int rc = dog_map_per_cpu(&t->host->rx_stats, t->is.number * PATH_PATHS_MAX + p, all);
        for (unsigned c = 0; c < cpus && rc == 0; c++)
                state_rx_add(to, &all[c], last);
        free(all);
        return rc;
}

/* Sent on a path: what went out on the subsets with it, less what the path itself refused. */
static int state_read_sent(struct path_tunnel *t, struct path_tunnel_counters *to)
{
        uint64_t pair[2], refused;
        int rc = 0;
        for (uint32_t s = 1; s < PATH_SUBSETS && rc == 0; s++) {
                rc = dog_map_sum(&t->tx, s, pair, 2);
                for (unsigned p = 0; p < PATH_PATHS_MAX; p++) {
                        if (!(s >> p & 1))
                                continue;
                        to->path[p].sent_packets += pair[0];
                        to->path[p].sent_bytes += pair[1] + pair[0] * PATH_OVERHEAD;
                }
        }
        for (uint32_t p = 0; p < PATH_PATHS_MAX && rc == 0; p++) {
                rc = dog_map_sum(&t->refused, p, &refused, 1);
                to->path[p].sent_packets -= refused;
        }
        return rc;
}

int path_tunnel_read(struct path_tunnel *t, struct path_tunnel_counters *to, struct dog_err *e)
{
        memset(to, 0, sizeof(*to));
        int rc = state_read_sent(t, to);
        for (unsigned p = 0; p < PATH_PATHS_MAX && rc == 0; p++) {
                rc = state_read_rx(t, p, &to->path[p].rx);
                for (unsigned s = 0; s < PATH_SUBSETS; s++) {
                        to->path[p].first += to->path[p].rx.first[s];
                        to->subset[s] += to->path[p].rx.first[s];
                }
        }
        for (uint32_t d = 0; d < PATH_DROP_COUNT && rc == 0; d++)
                rc = dog_map_sum(&t->host->drops, d, &to->drops[d], 1);
        return rc < 0 ? dog_err_set(e, rc, "tunnel %s: counters cannot be read: %s", t->device, strerror(-rc))
                      : 0;
}

int path_tunnel_class_read(struct path_tunnel *t, unsigned c, struct path_tunnel_class_counters *to,
                           struct dog_err *e)
{
        uint64_t four[4], two[2];
        memset(to, 0, sizeof(*to));
        if (c >= t->host->is.classes)
                return dog_err_set(e, -EINVAL, "tunnel %s has no class %u", t->device, c);
        uint32_t at = t->is.number * t->host->is.classes + c;
        int rc = dog_map_sum(&t->class_tx, c, four, 4);
        if (rc == 0)
                rc = dog_map_sum(&t->host->class_rx, at, two, 2);
        if (rc < 0)
                return dog_err_set(e, rc, "tunnel %s: counters cannot be read: %s", t->device, strerror(-rc));
        to->tx = (struct path_class_tx){four[0], four[1], four[2], four[3]};
        to->rx = (struct path_class_rx){two[0], two[1]};
        const struct path_rx_class *k = dog_map_at(&t->host->rx_classes, at);
        for (unsigned p = 0; p < PATH_PATHS_MAX; p++)
                to->newest[p] = __atomic_load_n(&k->newest[p], __ATOMIC_RELAXED);
        to->next =
                __atomic_load_n(&((const struct path_seq *)dog_map_at(&t->seqs, c))->next, __ATOMIC_RELAXED);
        return 0;
}

const char *path_drop_text(enum path_drop why)
{
        static const char *const text[] = {
#define X(name, words) [PATH_DROP_##name] = words,
                PATH_DROPS(X)
#undef X
        };
        return (size_t)why < ARRAY_SIZE(text) ? text[why] : "unknown";
}
