#pragma once
/**
 * Chains of devices that packets go through, and what a packet costs in each.
 *
 * One core feeds live frames (BPF_F_TEST_XDP_LIVE_FRAMES) into one chain after the other, in bursts of a few
 * milliseconds: neighbours on the machine then disturb all of them alike. The cost is the CPU time of the
 * feeding thread and of its core's ksoftirqd by what the last sink counts; a ratio is the median over pairs
 * of neighbouring bursts.
 */
#include "base/err.h"

#include <linux/types.h>

enum { CHAIN_ROUNDS = 7, CHAIN_BURSTS = 256, CHAIN_FRAMES = 16384 /**< of one burst */ };

struct bpf_program;

struct chain {
        const char *name;
        const char *in;                          /**< the generator sends into this device */
        const char *sink;                        /**< what arrives here was delivered */
        double cost[CHAIN_ROUNDS][CHAIN_BURSTS]; /**< ns of CPU a packet */
        __u64 offered, delivered;
};

/** The generator and the sinks; all chains share them. */
struct chain_feed {
        int generator;     /**< descriptor of an XDP program that makes a frame of what it is given */
        __u32 frame_bytes; /**< of a frame */
        int sinks;         /**< descriptor of a per-CPU array of u64 by ifindex: what came there */
        int cpus;          /**< values of one entry of it, at most 256 */
        /** Before a burst: point the generator at chain[i].in, and what else this chain needs. */
        void (*turn)(int i, __u32 ifindex);
};

/** Attach an XDP program in driver mode. @return 0; of libbpf */
int chain_attach(const char *device, const struct bpf_program *prog, struct dog_err *e);
/** Send so many frames. @return 0 or negative errno */
int chain_send(const struct chain_feed *f, __u32 frames);
/**
 * Measure all chains in turn, and print a table on standard error. SECONDS_PER is the time of a round.
 * @param only    this one alone, for a profiler; -1: all
 * @param bursts  set to the bursts made in each round
 * @return 0; -EIO when it cannot be fed
 */
int chain_run(struct chain *chain, int chains, int only, const struct chain_feed *f, int bursts[CHAIN_ROUNDS],
              struct dog_err *e);
/** Print a figure: what a packet costs in `a` / what it costs in `b`. */
void chain_ratio(const char *figure, const struct chain *a, const struct chain *b,
                 const int bursts[CHAIN_ROUNDS]);
