#pragma once
/**
 * What all tunnels of one host share: the program that receives, on every underlay device, and
 * its maps. Open it once, before the tunnels. Closing lets go: what is pinned goes on forwarding.
 */
#include "hands/client.h"
#include "hands/policy.h"
#include "hands/server.h"

#include <stdint.h>

#define PATH_HOST_INSTANCE "host"

/**
 * The BPF objects to register with hands (struct dog_split.objects).
 * @return how many; *objects is static
 */
size_t path_objects(const struct dog_hands_object **objects);

struct path_host_settings {
        uint16_t port;        /**< UDP, the same for all tunnels of this host */
        uint32_t tunnels;     /**< numbers below this; 0 means 16 */
        uint32_t classes;     /**< of each tunnel; 0 means 16 */
        uint32_t window;      /**< sequence numbers remembered per class, a power of two; 0: PATH_WINDOW */
        uint32_t check_every; /**< see path_check_every in path_abi.h; 0 means 16, 1: check every tag */
        uint32_t mode;        /**< enum dog_hands_mode, for underlays and tunnel devices */
};

/** What became of a device when the program was put on it. */
struct path_host_device {
        uint32_t index;
        uint32_t mode;  /**< DOG_HANDS_MODE_NATIVE or _GENERIC */
        char note[384]; /**< why it is generic, or empty */
};

struct path_host;

/** @param hands  borrowed until path_host_close */
int path_host_open(struct path_host **h, struct dog_hands_client *hands,
                   const struct path_host_settings *settings, struct dog_err *e);
void path_host_close(struct path_host *h);

/** Maps taken over from the last run; 0 after a fresh start. */
uint32_t path_host_adopted(const struct path_host *h);

/**
 * Receive on this device. Again is harmless, and needed when a device came back under its name.
 * An earlier session's program stays on it until path_tunnel_commit: its maps are complete, ours
 * may not be yet.
 */
int path_host_attach(struct path_host *h, const char *device, struct path_host_device *became,
                     struct dog_err *e);
/** Stop receiving on it. */
int path_host_detach(struct path_host *h, const char *device, struct dog_err *e);
