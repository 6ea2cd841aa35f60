#pragma once
/** What the agent answers locally, as JSON, and how the command shows it. */
#include "agent/link.h"
#include "agent/table.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

struct agent_view {
        const struct agent_config *config;
        const struct agent_link *link;
        const struct agent_table *table;
        const struct dog_vitals *vitals;
        int64_t now_ns, started_ns, read_ns; /**< read: the last reading */
        uint64_t readings;
        const char *missing; /**< what the kernel does not tell; "" */
        const char *sockets; /**< why connections are not known; "" */
        const struct dog_agent_shim *shim;
};

/** The answer as one line of JSON. Connections are written one by one: a tree of 65,536 would take 100 MB. */
void agent_view_write(const struct agent_view *v, const char *ask, FILE *to);
void agent_view_status_print(const json_t *status, FILE *to);
void agent_view_conns_print(const json_t *conns, FILE *to);
