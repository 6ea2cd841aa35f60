#pragma once
/** A tunnel, shared by tunnel.c (device, paths, life) and tunnel_state.c (maps). */
#include "kinds/path/host_inside.h"
#include "kinds/path/tunnel.h"

struct path_tunnel_slot {
        struct path_tunnel_state state;
        struct path_tunnel_path is; /* its strings point below */
        char name[DOG_HANDS_NAME], device[DOG_HANDS_NAME];
};

struct path_tunnel {
        struct path_host *host;
        struct dog_hands_client *hands;
        struct path_tunnel_settings is;
        char device[DOG_HANDS_NAME], peer[DOG_HANDS_NAME], instance[DOG_HANDS_NAME];
        uint8_t mac[6], peer_mac[6];
        uint32_t adopted;
        uint32_t mtu;
        bool is_attached;
        bool is_replaced; /* some map of an earlier run has given way to one of another size */
        struct path_tunnel_slot path[PATH_PATHS_MAX];
        struct dog_map settings, classes, seqs, rules, flows, class_tx, tx, refused;
        /* Shortcuts into mapped memory. */
        struct path_settings *set;
        struct path_rx_tunnel *rx;
};

/** Set the fields of our number in the host's maps, and the windows of its classes. */
void path_tunnel_rx_init(struct path_tunnel *t);
