#pragma once
/**
 * What the unprivileged decider may ask of the privileged process ("hands").
 *
 * One request, one reply, both of one fixed size, over a SOCK_SEQPACKET socketpair. Both ends are
 * the same binary on the same machine, so integers are in host order; the version is checked all
 * the same, because an old decider may outlive an upgrade of the file on disk.
 *
 * A request is data from a process that may have been taken over. dog_hands_request_read() is the
 * only way in: it checks length, version, operation, that every name is terminated and of
 * [a-z0-9-_.] (no slash, no leading dot), that every number is in its range and that everything
 * unused is zero. What a *valid* request may then touch is decided by the policy (hands/policy.h).
 */
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define DOG_HANDS_VERSION   1u
#define DOG_HANDS_NAME      32         /**< bytes in a name, with the final zero */
#define DOG_HANDS_SIZES     16         /**< maps whose size or origin one OBJECT_OPEN can set */
#define DOG_HANDS_SETTINGS  8          /**< constants that one PROGRAM_LOAD can set */
#define DOG_HANDS_SETTING   64         /**< bytes of a constant */
#define DOG_HANDS_NO_INNER  UINT32_MAX /**< the device map is not inside an array of maps */
#define DOG_HANDS_NO_HANDLE 0u         /**< no program: handles count from 1 */

/** Every operation: name in code, member of the request's union, name for people. */
#define DOG_HANDS_OPS(X)                                                                                     \
        X(READY, none, "ready")                                                                              \
        X(KERNEL_PROBE, none, "kernel-probe")                                                                \
        X(DEVICE_MAKE, device, "device-make")                                                                \
        X(DEVICE_REMOVE, device, "device-remove")                                                            \
        X(DEVICE_MTU, device, "device-mtu")                                                                  \
        X(OBJECT_OPEN, object, "object-open")                                                                \
        X(OBJECT_FORGET, object, "object-forget")                                                            \
        X(MAP_FD, map, "map-fd")                                                                             \
        X(PROGRAM_LOAD, program, "program-load")                                                             \
        X(PROGRAM_DROP, program, "program-drop")                                                             \
        X(DEVMAP_SET, devmap, "devmap-set")                                                                  \
        X(XDP_ATTACH, attach, "xdp-attach")                                                                  \
        X(XDP_DETACH, attach, "xdp-detach")                                                                  \
        X(SOCKET_UDP, socket, "socket-udp")                                                                  \
        X(ROUTE_SET, route, "route-set")                                                                     \
        X(SECRET_OPEN, secret, "secret-open")                                                                \
        X(TC_ATTACH, tc, "tc-attach")                                                                        \
        X(TC_DETACH, tc, "tc-detach")                                                                        \
        X(SOCKET_FRAMES, frames, "socket-frames")                                                            \
        X(SOCKET_PING, ping, "socket-ping")                                                                  \
        X(HELPER_START, helper, "helper-start")

enum dog_hands_op {
        DOG_HANDS_NONE,
#define X(code, member, text) DOG_HANDS_##code,
        DOG_HANDS_OPS(X)
#undef X
                DOG_HANDS_OPS_END
};

/** An IPv4 or IPv6 address, with a prefix length where one is meant. */
struct dog_hands_address {
        uint8_t version; /**< 4, 6, or 0: none */
        uint8_t prefix;  /**< bits, at most 32 or 128 */
        uint8_t zero[2];
        uint8_t bytes[16]; /**< network order; IPv4 uses the first four, the rest is zero */
};

enum dog_hands_mode { DOG_HANDS_MODE_AUTO, DOG_HANDS_MODE_NATIVE, DOG_HANDS_MODE_GENERIC, DOG_HANDS_MODES };

/** A tunnel device: a veth pair NAME and NAMEp. The policy must name it as a tunnel. */
struct dog_hands_device {
        char name[DOG_HANDS_NAME];        /**< at most 14 characters, so that NAMEp fits */
        uint32_t mtu;                     /**< bytes; 0 leaves it */
        uint32_t queues;                  /**< 0: one per CPU */
        struct dog_hands_address address; /**< with prefix; version 0: none */
};

/** What becomes of the entries when a pinned map cannot be adopted. */
enum dog_hands_keep {
        DOG_HANDS_KEEP_NOTHING,
        DOG_HANDS_KEEP_ENTRIES, /**< copied, when only the number of entries has changed */
        /**
         * The same; and when any map of the object is replaced, this one is too, by a copy: what it says is
         * about the others, and the attached program must not read it before it is exchanged.
         */
        DOG_HANDS_KEEP_ALONG,
        DOG_HANDS_KEEPS
};

/** Where a map of the object comes from, when the object's own word does not do. */
struct dog_hands_map_size {
        char map[DOG_HANDS_NAME];
        char from[DOG_HANDS_NAME]; /**< take it from this instance, which is open; or empty: our own */
        uint32_t entries;          /**< for our own; 0 leaves what the object says */
        uint32_t keep;             /**< enum dog_hands_keep */
};

/**
 * Make or adopt the maps that an object needs. They belong to the *instance* and are pinned as
 * FOLDER/INSTANCE/MAP: two objects opened in one instance share the maps of the same name.
 */
struct dog_hands_open {
        char object[DOG_HANDS_NAME];
        char instance[DOG_HANDS_NAME]; /**< the only field of OBJECT_FORGET, with `object` empty */
        uint32_t n_sizes;
        struct dog_hands_map_size size[DOG_HANDS_SIZES];
};

struct dog_hands_map {
        char instance[DOG_HANDS_NAME];
        char map[DOG_HANDS_NAME];
};

struct dog_hands_setting {
        char name[DOG_HANDS_NAME]; /**< a `const volatile` of the object */
        uint32_t n_bytes;          /**< exactly its size */
        uint8_t bytes[DOG_HANDS_SETTING];
};

/** Load one program of an object on the maps of an instance, with these constants. */
struct dog_hands_program {
        char object[DOG_HANDS_NAME];
        char instance[DOG_HANDS_NAME];
        char program[DOG_HANDS_NAME];
        uint32_t handle; /**< PROGRAM_DROP only, and there alone */
        uint32_t n_settings;
        struct dog_hands_setting setting[DOG_HANDS_SETTINGS];
};

/** One entry of a device map: where a copy goes and what program finishes it. */
struct dog_hands_devmap {
        char instance[DOG_HANDS_NAME];
        char map[DOG_HANDS_NAME];
        char device[DOG_HANDS_NAME]; /**< empty: delete the entry */
        uint32_t inner;              /**< index in the array of maps, or DOG_HANDS_NO_INNER */
        uint32_t key;
        uint32_t handle; /**< from PROGRAM_LOAD, or DOG_HANDS_NO_HANDLE */
};

/** The link is pinned as FOLDER/INSTANCE/xdp-DEVICE, so it outlives us. */
struct dog_hands_attach {
        char instance[DOG_HANDS_NAME];
        char device[DOG_HANDS_NAME];
        uint32_t handle;  /**< from PROGRAM_LOAD; 0 for XDP_DETACH */
        uint32_t mode;    /**< enum dog_hands_mode */
        uint32_t is_kept; /**< 1: a program of ours that is there already stays; swap it later */
};

/** How a program sits on a device's traffic control hooks. */
enum dog_hands_tc_how {
        DOG_HANDS_TC_AUTO,   /**< a link where the kernel has it (tcx, Linux 6.6), else a filter */
        DOG_HANDS_TC_LINK,   /**< pinned as FOLDER/INSTANCE/tcx-in-DEVICE or tcx-out-DEVICE */
        DOG_HANDS_TC_FILTER, /**< clsact and cls_bpf; the program is pinned as cls-in- or cls-out-DEVICE, so
                                that it is known as ours */
        DOG_HANDS_TC_HOWS
};

/** Either way it outlives us, and is exchanged in place. */
struct dog_hands_tc {
        char instance[DOG_HANDS_NAME];
        char device[DOG_HANDS_NAME];
        uint32_t handle;    /**< from PROGRAM_LOAD; 0 for TC_DETACH */
        uint32_t is_egress; /**< 0: what comes in, 1: what goes out */
        uint32_t how;       /**< enum dog_hands_tc_how; 0 for TC_DETACH, which takes off either */
};

/**
 * A packet socket that sends whole Ethernet frames past the queueing discipline and the egress programs of
 * its device. A locked filter keeps it from ever receiving.
 */
struct dog_hands_frames {
        char device[DOG_HANDS_NAME];
};

/** A socket that sends ICMP echo requests through a device and receives the answers, nothing else. */
struct dog_hands_ping {
        char device[DOG_HANDS_NAME];
        uint32_t version; /**< 4 or 6 */
};

struct dog_hands_socket {
        struct dog_hands_address address; /**< version says the family; all zero bytes: any, and with IPv6 any
                                             of IPv4 too */
        char device[DOG_HANDS_NAME];      /**< bound to it, or empty */
        uint32_t port;                    /**< host order; the policy must allow it */
};

struct dog_hands_route {
        struct dog_hands_address to; /**< with prefix; inside a prefix that the policy allows */
        char device[DOG_HANDS_NAME]; /**< a tunnel device */
        uint32_t metric;             /**< 0: the kernel's choice */
        uint32_t is_removed;         /**< 0 or 1 */
};

struct dog_hands_secret {
        char name[DOG_HANDS_NAME]; /**< a name of the policy, never a path */
};

/** Start a process of the policy's list; the descriptor that comes along leads to it. One of a name at a
 * time. */
struct dog_hands_helper_name {
        char name[DOG_HANDS_NAME];
};

struct dog_hands_request {
        uint32_t version; /**< DOG_HANDS_VERSION */
        uint32_t op;      /**< enum dog_hands_op */
        uint64_t id;      /**< comes back in the reply */
        union {
                uint64_t none;
                struct dog_hands_device device;
                struct dog_hands_open object;
                struct dog_hands_map map;
                struct dog_hands_program program;
                struct dog_hands_devmap devmap;
                struct dog_hands_attach attach;
                struct dog_hands_tc tc;
                struct dog_hands_socket socket;
                struct dog_hands_frames frames;
                struct dog_hands_ping ping;
                struct dog_hands_route route;
                struct dog_hands_secret secret;
                struct dog_hands_helper_name helper;
        } as;
};
_Static_assert(sizeof(struct dog_hands_request) == 1240, "one size: all of it is checked");

/** What this kernel has; each bit missing is told by a sentence of dog_kernel_missing(). */
#define DOG_KERNEL_HAS(X)                                                                                    \
        X(BTF, "BTF of the kernel: /sys/kernel/btf/vmlinux; needs CONFIG_DEBUG_INFO_BTF")                    \
        X(BPFFS, "a mounted BPF file system; needs CONFIG_BPF_SYSCALL and the right to mount it")            \
        X(XDP, "XDP programs; needs CONFIG_BPF_SYSCALL and CONFIG_NET")                                      \
        X(DEVMAP_PROGRAM, "programs in device maps (Linux 5.8): one per path finishes each copy")            \
        X(XDP_LINK, "bpf_link for XDP (Linux 5.9): without it nothing stays attached when we die")           \
        X(CMPXCHG, "compare-and-swap in BPF (Linux 5.12): the window that drops duplicates needs it")        \
        X(TC,                                                                                                \
          "BPF on traffic control hooks; needs CONFIG_NET_CLS_ACT, and CONFIG_NET_CLS_BPF before Linux 6.6") \
        X(SPIN_LOCK,                                                                                         \
          "bpf_spin_lock in hash maps (Linux 5.1): a protected connection is decided on under one")          \
        X(RINGBUF, "BPF ring buffers (Linux 5.8): what happens to connections is told through one")

enum dog_kernel_has {
#define X(code, text) DOG_KERNEL_BIT_##code,
        DOG_KERNEL_HAS(X)
#undef X
                DOG_KERNEL_BITS
};
#define X(code, text)                                                                                        \
        static const uint32_t DOG_KERNEL_##code __attribute__((unused)) = 1u << DOG_KERNEL_BIT_##code;
DOG_KERNEL_HAS(X)
#undef X
#define DOG_KERNEL_ALL ((1u << DOG_KERNEL_BITS) - 1)

struct dog_hands_reply {
        uint32_t version;
        uint32_t op;
        uint64_t id;
        int32_t rc;       /**< 0 or a negative errno; then `text` says why */
        uint32_t n_fds;   /**< 0 or 1 descriptors came along */
        uint64_t refused; /**< requests refused as malformed since hands started */
        char text[384];   /**< a sentence; also on success, when something is worth telling */
        union {
                struct {
                        uint32_t has; /**< DOG_KERNEL_ bits */
                } kernel;
                struct {
                        uint32_t index, peer_index;
                        uint32_t mtu;
                        uint32_t was_there;
                        uint8_t mac[6], peer_mac[6];
                        char peer[DOG_HANDS_NAME];
                } device;
                struct {
                        uint32_t adopted;  /**< maps taken over from their pins */
                        uint32_t made;     /**< maps that were not there */
                        uint32_t replaced; /**< maps of another shape */
                } object;
                struct {
                        uint32_t type, key_size, value_size, entries, flags;
                } map;
                struct {
                        uint32_t handle, program_id;
                } program;
                struct {
                        uint32_t mode;      /**< NATIVE or GENERIC: what it became */
                        uint32_t was_there; /**< an own link was updated in place */
                        uint32_t program_id;
                        uint32_t index;
                } attach;
                struct {
                        uint32_t how;       /**< LINK or FILTER: what it became */
                        uint32_t was_there; /**< ours was exchanged in place */
                        uint32_t program_id;
                        uint32_t index;
                } tc;
                struct {
                        uint32_t port;
                } socket;
                struct {
                        uint32_t index;
                        uint8_t mac[6];
                        uint8_t zero[2];
                } frames;
                struct {
                        uint32_t index;
                        uint32_t is_raw; /**< the kernel's ping sockets are refused here (ping_group_range):
                                            it gives IPv4 headers too, and the identifier is the asker's to
                                            choose */
                } ping;
                uint8_t bytes[64];
        } as;
};
_Static_assert(sizeof(struct dog_hands_reply) == 480, "the reply has one size");

const char *dog_hands_op_text(uint32_t op);

/**
 * Check the bytes of one datagram and copy them out.
 *
 * @param bytes  what arrived; may be misaligned
 * @param size   how long the datagram was, even when longer than the buffer
 * @return 0; -EMSGSIZE (length), -EPROTO (version), -EOPNOTSUPP (operation),
 *         -EINVAL (a name, a number, or something unused that is not zero)
 */
int dog_hands_request_read(struct dog_hands_request *to, const void *bytes, size_t size, struct dog_err *e);

/** Check a reply: -EMSGSIZE, -EPROTO, or -EBADMSG when it answers another request. */
int dog_hands_reply_read(struct dog_hands_reply *to, const void *bytes, size_t size,
                         const struct dog_hands_request *asked, struct dog_err *e);

/** Copy a name into a field of DOG_HANDS_NAME bytes; -EINVAL with a sentence when it is none. */
int dog_hands_name_set(char *field, const char *name, struct dog_err *e);
