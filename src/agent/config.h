#pragma once
/**
 * The agent's configuration: one short YAML file, a list of keys; see sundog-agent(8). Every key is a row of
 * the table in config.c. Errors are one sentence that begins with FILE:LINE:COLUMN.
 */
#include "agent/diag.h"
#include "base/err.h"
#include "hands/message.h"
#include "wire/agent.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#define AGENT_CONFIG_FILE     "/etc/sundog/agent.yaml"
#define AGENT_CONFIG_SOCKET   "/run/sundog-agent/agent.sock"
#define AGENT_CONFIG_USER     "sundog-agent" /**< when it exists; else as sundogd's decider */
#define AGENT_CONFIG_FRONTS   8
#define AGENT_CONFIG_TEXT     108
#define AGENT_CONFIG_DEVICES  8
#define AGENT_CONFIG_SERVICES 16 /**< as many as a report names */
#define AGENT_CONFIG_PINS     "/sys/fs/bpf/sundog-agent"

struct agent_front_address {
        struct sockaddr_storage address;
        socklen_t size;
        char text[64]; /**< as people write it: "10.0.0.1:7482", "[fd00::1]:7482" */
};

/** A listening socket that the front sends aligned connections to. */
struct agent_service {
        char vip[64];                     /**< its name in the front's configuration */
        struct dog_hands_address address; /**< as the socket sees it */
        uint16_t port;
};

struct agent_config {
        char name[DOG_AGENT_NAME + 1]; /**< as the fronts know this instance; the host's name unless said */
        char key[AGENT_CONFIG_TEXT];   /**< file */
        struct agent_front_address front[AGENT_CONFIG_FRONTS];
        unsigned fronts; /**< 0: answers locally only */
        uint16_t port[AGENT_DIAG_PORTS];
        unsigned ports; /**< 0: every port that something listens on */
        int64_t period_ns;
        int64_t rate;  /**< datagrams a second to all fronts together */
        int64_t conns; /**< connections kept */
        char user[AGENT_CONFIG_TEXT];
        char socket[AGENT_CONFIG_TEXT];
        char shim_device[AGENT_CONFIG_DEVICES][16];
        unsigned shim_devices; /**< 0: no shim */
        struct agent_service shim_service[AGENT_CONFIG_SERVICES];
        unsigned shim_services;
        char shim_key[AGENT_CONFIG_TEXT];  /**< file */
        char shim_pins[AGENT_CONFIG_TEXT]; /**< folder */
};

/** @return 0, or a negative errno with a sentence */
int agent_config_load(struct agent_config *c, const char *file, struct dog_err *e);
/** The same from a text, for tests and the fuzzer; `file` is only named. */
int agent_config_parse(struct agent_config *c, const char *text, size_t size, const char *file,
                       struct dog_err *e);
/** "10.0.0.1", "10.0.0.1:99", "fd00::1", "[fd00::1]:99"; without a port it is DOG_AGENT_PORT. */
int agent_address_read(struct agent_front_address *to, const char *text, struct dog_err *e);
/** All keys, for people. */
void agent_config_help(FILE *to);
