#pragma once
/** The front, shared by front.c (vips, servers, tables, life) and front_conn.c (connections). */
#include "hands/map.h"
#include "hands/netlink.h"
#include "kinds/instance/front.h"
#include "kinds/instance/kick.h"

#define FRONT_BATCH    1024 /* entries that one look-up reads: a millisecond of work, no more */
#define FRONT_ORDERS   256  /* single orders under way */
#define FRONT_ORDER_NS (2 * INT64_C(1000000000))

struct front_vip {
        bool is_set;
        bool is_address_ours; /* its address is this machine's: other ports are none of our business */
        struct instance_vip_settings is; /* its name points below */
        char name[DOG_HANDS_NAME];
        struct instance_vip_key key;
        struct instance_vip value;
        unsigned orders; /* under way */
};

struct front_server {
        bool is_set, has_hop;
        struct instance_server_settings is; /* its strings point below */
        char name[DOG_HANDS_NAME], device[DOG_HANDS_NAME];
        struct dog_next_hop hop;
        struct instance_back_key back; /* the entry of instance_back that is in force */
        bool has_back;
        int64_t told_ns;     /* dead or leaving: when it was told */
        int64_t leave_by_ns; /* leaving: then the rest is woken; 0: not */
        bool is_wanted;      /* its connections are to be woken by the next walk */
        unsigned woken;
        /* Silence: see front_conn.c, "hangs". */
        uint64_t bytes, packets; /* from it, when it was looked at last */
        int64_t said_ns;         /* when it said something last; 0: never */
        int64_t slow_ns;         /* the longest silence of late that was no hang */
        unsigned doubts;         /* asked so often since */
};

/* One way through both tables of connections. */
struct front_walk {
        bool is_on;
        bool is_begun; /* `token` is valid */
        unsigned table;
        uint32_t token;
};

/* What a whole background walk has counted, by vip. */
struct front_count {
        uint64_t protected_now, alone_now, lag_bytes[24];
};

struct front_order {
        struct instance_flow flow;
        int64_t until_ns; /* 0: free */
};

struct front_frames {
        uint32_t index; /* of the device */
        int fd;         /* 0: none */
};

struct instance_front {
        struct dog_hands_client *hands;
        struct instance_front_settings is; /* its strings point below */
        char device[INSTANCE_FRONT_DEVICES][DOG_HANDS_NAME];
        char no_xdp[INSTANCE_FRONT_DEVICES]
                   [200]; /* why tc does it all there; "" where XDP helps, or need not */
        uint32_t adopted;
        uint32_t tc_ingress, tc_egress, xdp; /* handles of programs */
        struct dog_map vips, table, servers, back, conns[2], orders, events, vip_stats, server_stats, live,
                cookies, loose, xdp_out, drops, words, responses, classes;
        struct front_vip vip[INSTANCE_VIPS_MAX];
        struct front_server server[INSTANCE_SERVERS_MAX];
        struct front_frames frames[INSTANCE_FRONT_DEVICES];
        struct ring_buffer *ring;

        struct front_walk wake, scan, hang;
        bool in_wake[INSTANCE_SERVERS_MAX], in_hang[INSTANCE_SERVERS_MAX];
        int64_t wake_begun_ns, scan_due_ns, hang_due_ns;
        int64_t doubt_until_ns; /* those of in_hang are DOUBTED until then; 0: nobody is */
        struct front_count count[INSTANCE_VIPS_MAX], counting[INSTANCE_VIPS_MAX];
        struct front_order order[FRONT_ORDERS];
        unsigned n_orders;
        /* Buffers of one batch, and of the frames that it makes: two a connection at most. */
        uint8_t *keys;
        struct instance_conn *values;
        uint8_t (*frame)[INSTANCE_KICK_FRAME + 6];
};

/** A flow as the table of its family has it; returns which table. */
unsigned front_key_of(uint8_t *key, const struct instance_flow *flow);
/** Write a vip's value anew, as it stands in `vip`. */
int front_vip_write(struct instance_front *f, struct front_vip *vip, struct dog_err *e);
/** The server's entry in mapped memory. */
struct instance_server *front_server_at(const struct instance_front *f, unsigned server);
int front_conn_init(struct instance_front *f, struct dog_err *e);
void front_conn_fini(struct instance_front *f);
/** The socket for frames on a device, asked of hands when there is none. */
int front_frames_need(struct instance_front *f, const char *device, struct dog_err *e);
