#pragma once
/** The shared part as the tunnel sees it; only this folder's tunnel files include it. */
#include "hands/map.h"
#include "kinds/path/host.h"
#include "kinds/path/path_abi.h"

#include <stdbool.h>

#define PATH_HOST_DEVICES 64

struct path_host {
        struct dog_hands_client *hands;
        struct path_host_settings is;
        uint32_t adopted;
        uint32_t program; /* handle of path_eliminate */
        unsigned n_devices;
        struct {
                char name[DOG_HANDS_NAME];
                struct path_host_device became;
        } device[PATH_HOST_DEVICES];
        struct dog_map rx_tunnels, rx_classes, rx_stats, class_rx, drops;
        bool is_taken[PATH_TUNNELS_MAX]; /* numbers of open tunnels */
};

/** As path_host_attach; without `keep` the program of this session takes an earlier one's place. */
int path_host_put(struct path_host *h, const char *device, bool keep, struct path_host_device *became,
                  struct dog_err *e);

/* Short ways to ask hands; the sentence of a failure is whole. */
int path_ask_size(struct dog_hands_open *open, const char *map, uint32_t entries, const char *from);
/** The same, of our own; `keep` says what becomes of the entries of an earlier run. */
int path_ask_kept(struct dog_hands_open *open, const char *map, uint32_t entries, enum dog_hands_keep keep);
int path_ask_open(struct dog_hands_client *hands, struct dog_hands_open *open, const char *object,
                  const char *instance, struct dog_hands_reply *r, struct dog_err *e);
void path_ask_constant(struct dog_hands_program *p, const char *name, const void *value, uint32_t bytes);
/** Load; p->object and the like must be filled. */
int path_ask_load(struct dog_hands_client *hands, const struct dog_hands_program *p, uint32_t *handle,
                  struct dog_err *e);
int path_ask_drop(struct dog_hands_client *hands, uint32_t handle, struct dog_err *e);
/** device NULL: delete the entry. */
int path_ask_devmap(struct dog_hands_client *hands, const char *instance, const char *map, uint32_t inner,
                    uint32_t key, const char *device, uint32_t handle, struct dog_err *e);
int path_ask_attach(struct dog_hands_client *hands, const char *instance, const char *device, uint32_t handle,
                    uint32_t mode, bool keep, struct path_host_device *became, struct dog_err *e);
