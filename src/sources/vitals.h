#pragma once
/**
 * From a host's counters to vitals: two readings and the time between them. The agent reads the counters from
 * /proc, the exporter source from a node_exporter; what they mean is said once, here.
 *
 * A counter that ran back (a reset, a device that was replaced) makes what depends on it unknown for one
 * reading; it never makes it negative or huge.
 */
#include "wire/vitals.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOG_COUNTERS_DISKS 64

/** One disk's time in use, ms since it came. */
struct dog_counters_disk {
        char name[32];
        double busy_ms;
};

/** Everything as counted since the host started, NaN where not known. */
struct dog_counters {
        int64_t at_ns;                               /**< when it was read, monotonic */
        double cpu_busy_s, cpu_steal_s, cpu_total_s; /**< total contains both */
        double load1, processors;
        double memory_total, memory_left;         /**< bytes */
        double stall_cpu, stall_memory, stall_io; /**< average of 10 s, 0..1 */
        double stalled_cpu_s, stalled_memory_s, stalled_io_s;
        struct dog_counters_disk disk[DOG_COUNTERS_DISKS];
        unsigned disks;
        double disk_left; /**< the smallest free share of a real file system, 0..1 */
        double rx_bytes, tx_bytes, rx_packets, tx_packets, net_errors, net_drops;
        double segments, retransmitted, overflows;
        double files, files_most;
};

struct dog_counters dog_counters_unknown(int64_t at_ns);
/** The disk of that name, made if there is room and it is new; NULL otherwise. */
struct dog_counters_disk *dog_counters_disk(struct dog_counters *c, const char *name, size_t size);
/**
 * Vitals of the time between two readings; socket vitals stay NaN, they are not counters.
 * @param before  NULL: rates are not known yet
 */
void dog_vitals_derive(struct dog_vitals *v, const struct dog_counters *before,
                       const struct dog_counters *now);
