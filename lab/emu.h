#pragma once
/**
 * The link emulator: frames that arrive at one interface of a link leave at the other one, after
 * what the line between them does to them (lab/line.h). One process, one thread, many links; it
 * sleeps until a frame arrives or one is due and never polls in circles, because on a small
 * machine a busy emulator starves the very programs it is there to test.
 *
 * Both interfaces of a link are in this network namespace, usually ends of two veth pairs whose
 * other ends are in the namespaces of two gateways. What they need (lab/topology.sh does it):
 *   - no offload that makes frames larger than the MTU or leaves checksums open: tx, tso and gso off
 *     at the gateways' ends, no merging at ours;
 *   - GRO on at our ends all the same: it switches NAPI on, without which a veth refuses frames
 *     that an XDP program redirects into it;
 *   - IPv6 off, or router solicitations count as traffic.
 *
 * A frame's time of arrival is the kernel's receive time stamp, so that waking up late does not
 * add to the delay. Frames are taken before they are counted by anything else; frames we send
 * ourselves are not seen again.
 */
#include "lab/hist.h"
#include "lab/line.h"
#include "lab/trace.h"

#include "base/err.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define LAB_LINKS 16

struct lab_port {
        char ifname[IF_NAMESIZE];
        int fd;
        uint64_t missed; /**< frames the kernel dropped because we did not read in time */
        bool is_down;    /**< the kernel said so, and nothing has come since */
};

/** One direction: 0 is from port a to port b ("ab"), 1 the other one ("ba"). */
struct lab_way {
        struct lab_line *line;
        struct lab_line_settings fixed; /**< as set; a trace comes on top */
        struct lab_hist late;           /**< how late frames left, against the delay that was set */
        struct lab_hist delay;          /**< from the time of arrival to leaving */
};

struct lab_link {
        char name[16];
        struct lab_port port[2];
        struct lab_way way[2];
        struct lab_trace trace; /**< trace.paths == 0: none */
        size_t path;
        enum lab_split split;
};

struct lab_emu {
        struct lab_link *link[LAB_LINKS];
        size_t links;
        uint64_t seed;
        size_t packets_max;     /**< in flight over all links */
        uint32_t frame_max;     /**< longest frame in bytes */
        int64_t lead_ns;        /**< aim so much earlier than due, to make up for waking late */
        bool is_playing;        /**< the trace clock runs */
        bool loops;             /**< start again at the end of the longest trace, else hold its last sample */
        int64_t trace_zero_ns;  /**< monotonic time of trace time 0 */
        int64_t paused_ms;      /**< trace time while the clock does not run */
        int64_t next_change_ns; /**< when a trace next changes a link */
        bool is_over;           /**< leave lab_emu_turn's loop */
        void *io;               /**< private to emu.c */
};

/** Prepare, without links. Fields above may be changed until the first link is added. */
int lab_emu_init(struct lab_emu *m, struct dog_err *e);
void lab_emu_fini(struct lab_emu *m);

/** Add a link between two interfaces of this namespace. -EEXIST, -ENODEV, -EPERM, -ENOSPC, -ENOMEM */
int lab_emu_link_add(struct lab_emu *m, const char *name, const char *if_a, const char *if_b,
                     struct dog_err *e);
/** NULL when there is no link of that name. */
struct lab_link *lab_emu_link(struct lab_emu *m, const char *name);

/** Put fixed settings and trace into effect, now. Call after changing either. */
void lab_emu_apply(struct lab_emu *m, int64_t now_ns);

/** Trace time at now_ns, in milliseconds. */
int64_t lab_emu_trace_ms(const struct lab_emu *m, int64_t now_ns);

/**
 * Wait until something is to be done and do it: move frames, follow the trace. Returns after at
 * most one sleep, also when one of the caller's descriptors (its control socket) is readable or a
 * signal came: all signals are let in while it sleeps, so block those that end the caller's loop.
 * -ENODEV when an interface is gone: the namespace is being taken down.
 */
int lab_emu_turn(struct lab_emu *m, int extra_fd, bool *extra_ready, struct dog_err *e);

/** Add up what the kernel dropped before we could read it. */
void lab_emu_missed_update(struct lab_emu *m);
