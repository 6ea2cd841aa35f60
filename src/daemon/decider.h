#pragma once
/**
 * The process that decides: the core's loop on a real clock, the kinds, the store and the
 * socket, on one libuv loop. It has no privilege; what needs one it asks of hands.
 */
#include "daemon/config.h"
#include "hands/client.h"

struct decider_options {
        const struct dog_config *config;
        const char *config_text; /**< remembered in the store as what is in force */
};

/**
 * Run until SIGTERM or SIGINT, or until hands is gone.
 * @param data  struct decider_options; the shape is that of dog_split.decider_main
 * @return the exit status of the process
 */
int decider_main(struct dog_hands_client *hands, void *data);

/** Take the data plane of the configuration off instead: devices, programs and pins; then it forwards no
 * more. */
int decider_remove(struct dog_hands_client *hands, void *data);

/** What hands may touch for this configuration: its devices, ports and key files. */
struct dog_hands_policy;
int decider_policy(const struct dog_config *config, struct dog_hands_policy *policy, struct dog_err *e);
/** Create what root must: the folders of the socket and the store, owned by the decider's user. */
int decider_folders(const struct dog_config *config, struct dog_err *e);
