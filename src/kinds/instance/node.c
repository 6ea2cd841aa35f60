/*
 * I1, I2, I14, F5: what an instance's host says of itself, as a node: overload, failure, health. For people:
 * what decides is the promise's own risk, which vitals are part of already.
 */
#include "kinds/instance/service_inside.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* X(vital, role, limit): what is a node's load, and what ails it. NAN: the 99th percentile of its own past.
 */
#define NODE_VITALS(X)                                                                                       \
        X(CPU, DOG_NODE_DEVICE, 0.9F)                                                                        \
        X(STEAL, DOG_NODE_DEVICE, NAN)                                                                       \
        X(LOAD, DOG_NODE_DEVICE, NAN)                                                                        \
        X(MEMORY, DOG_NODE_DEVICE, 0.95F)                                                                    \
        X(STALLED_CPU, DOG_NODE_DEVICE, NAN)                                                                 \
        X(STALLED_MEMORY, DOG_NODE_DEVICE, NAN)                                                              \
        X(STALLED_IO, DOG_NODE_DEVICE, NAN)                                                                  \
        X(DISK, DOG_NODE_DEVICE, NAN)                                                                        \
        X(FILES, DOG_NODE_DEVICE, 0.9F)                                                                      \
        X(RX_RATE, DOG_NODE_TRAFFIC, NAN)                                                                    \
        X(TX_RATE, DOG_NODE_TRAFFIC, NAN)                                                                    \
        X(RETRANSMITTED, DOG_NODE_TRAFFIC, NAN)                                                              \
        X(ACCEPT, DOG_NODE_TRAFFIC, 0.8F)                                                                    \
        X(CONNS, DOG_NODE_TRAFFIC, NAN)                                                                      \
        X(CONN_RTT, DOG_NODE_TRAFFIC, NAN)                                                                   \
        X(NET_ERRORS, DOG_NODE_LINK, 0)                                                                      \
        X(NET_DROPS, DOG_NODE_LINK, 0)

static const enum dog_vital node_vital[] = {
#define X(vital, role, limit) DOG_VITAL_##vital,
        NODE_VITALS(X)
#undef X
};

enum { NODE_METRICS = sizeof(node_vital) / sizeof(node_vital[0]) };

/* Chances of a node nobody has learned anything about: a failure in a fortnight, a crossing in a day. */
static const float node_failure[DOG_NODE_HORIZONS] = {0.0003F, 0.0008F, 0.003F};
static const float node_overload[DOG_NODE_HORIZONS] = {0.004F, 0.01F, 0.04F};

int node_open(struct instance_service *s)
{
        struct dog_node_risk_metric *metric = calloc(NODE_METRICS, sizeof(*metric));
        if (!metric)
                return -ENOMEM;
        static const struct {
                enum dog_node_role role;
                float limit;
        } row[] = {
#define X(vital, role, limit) {role, limit},
                NODE_VITALS(X)
#undef X
        };
        for (unsigned k = 0; k < NODE_METRICS; k++)
                metric[k] = (struct dog_node_risk_metric){dog_vital_word(node_vital[k]), row[k].role,
                                                          row[k].limit};
        s->node_metric = metric;
        s->node = (struct dog_node_risk_config){.metrics = NODE_METRICS, .metric = metric, .period_s = 60};
        const struct instance_node_trees *trees = s->settings.trees;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                s->node.failure_shape[h] = trees && trees->failure ? trees->failure_shape[h]
                                                                   : dog_node_shape_plain(node_failure[h]);
                s->node.overload_shape[h] = trees && trees->overload ? trees->overload_shape[h]
                                                                     : dog_node_shape_plain(node_overload[h]);
        }
        s->node.failure = trees ? trees->failure : NULL;
        s->node.overload = trees ? trees->overload : NULL;
        /* What was borrowed for opening is not looked at again; the trees themselves outlive us. */
        s->settings.trees = NULL;
        return 0;
}

void node_close(struct instance_service *s)
{
        for (unsigned i = 0; s->machine && i < s->machines; i++)
                free(s->machine[i].node);
        free(s->node_metric);
        s->node_metric = NULL;
}

void node_vitals(struct machine *m, int64_t at_ns)
{
        struct instance_service *s = m->service;
        float value[NODE_METRICS];
        /* Only instances that report anything have a state: it is 200 KB. */
        if (!m->node) {
                m->node = malloc(dog_node_risk_size(NODE_METRICS));
                if (!m->node)
                        return;
                dog_node_risk_init(m->node, &s->node);
        }
        for (unsigned k = 0; k < NODE_METRICS; k++)
                value[k] = (float)m->vitals.value[node_vital[k]];
        dog_node_risk_observe(m->node, &s->node, at_ns / DOG_S, value);
}

void node_failed(struct machine *m, int64_t now_ns)
{
        if (m->node)
                dog_node_risk_failed(m->node, now_ns / DOG_S);
}

void node_view(const struct machine *m, struct instance_machine_view *v)
{
        v->has_node = m->node != NULL;
        if (!m->node)
                return;
        dog_node_risk_word(m->node, &m->service->node, &v->node);
        dog_node_word_text(&v->node, &m->service->node, v->node_text, sizeof(v->node_text));
        dog_node_word_trouble(&v->node, &m->service->node, v->node_trouble, sizeof(v->node_trouble));
}
