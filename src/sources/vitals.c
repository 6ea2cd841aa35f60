#include "sources/vitals.h"

#include "base/clock.h"

#include <string.h>

struct dog_counters dog_counters_unknown(int64_t at_ns)
{
        const double none = (double)NAN;
        return (struct dog_counters){
                .at_ns = at_ns,
                .cpu_busy_s = none,
                .cpu_steal_s = none,
                .cpu_total_s = none,
                .load1 = none,
                .processors = none,
                .memory_total = none,
                .memory_left = none,
                .stall_cpu = none,
                .stall_memory = none,
                .stall_io = none,
                .stalled_cpu_s = none,
                .stalled_memory_s = none,
                .stalled_io_s = none,
                .disk_left = none,
                .rx_bytes = none,
                .tx_bytes = none,
                .rx_packets = none,
                .tx_packets = none,
                .net_errors = none,
                .net_drops = none,
                .segments = none,
                .retransmitted = none,
                .overflows = none,
                .files = none,
                .files_most = none,
        };
}

struct dog_counters_disk *dog_counters_disk(struct dog_counters *c, const char *name, size_t size)
{
        if (size == 0 || size >= sizeof(c->disk[0].name))
                return NULL;
        for (unsigned i = 0; i < c->disks; i++)
                if (strncmp(c->disk[i].name, name, size) == 0 && c->disk[i].name[size] == 0)
                        return &c->disk[i];
        if (c->disks == DOG_COUNTERS_DISKS)
                return NULL;
        struct dog_counters_disk *disk = &c->disk[c->disks++];
        *disk = (struct dog_counters_disk){.busy_ms = 0};
        memcpy(disk->name, name, size);
        return disk;
}

/* What a counter gained; NaN when it is not known or ran back. */
static double vitals_gain(double before, double now)
{
        return now >= before ? now - before : (double)NAN;
}

/* A share of a whole. Counters are read one after the other, so a hair above 1 is 1; more is a mistake. */
static double vitals_share(double part, double whole)
{
        if (!(whole > 0) || !(part >= 0))
                return (double)NAN;
        double share = part / whole;
        return share <= 1 ? share : share <= 1.1 ? 1 : (double)NAN;
}

static double vitals_busiest_disk(const struct dog_counters *before, const struct dog_counters *now,
                                  double passed_s)
{
        double most = (double)NAN;
        for (unsigned i = 0; i < now->disks; i++) {
                for (unsigned k = 0; k < before->disks; k++) {
                        if (strcmp(now->disk[i].name, before->disk[k].name) != 0)
                                continue;
                        double gain = vitals_gain(before->disk[k].busy_ms, now->disk[i].busy_ms);
                        double busy = vitals_share(gain / 1000, passed_s);
                        if (!isnan(busy) && !(busy <= most))
                                most = busy;
                }
        }
        return most;
}

static void vitals_rates(double *v, const struct dog_counters *before, const struct dog_counters *now)
{
        double passed_s = (double)(now->at_ns - before->at_ns) / (double)DOG_S;
        if (!(passed_s > 0))
                return;
        double cpu_s = vitals_gain(before->cpu_total_s, now->cpu_total_s);
        v[DOG_VITAL_CPU] = vitals_share(vitals_gain(before->cpu_busy_s, now->cpu_busy_s), cpu_s);
        v[DOG_VITAL_STEAL] = vitals_share(vitals_gain(before->cpu_steal_s, now->cpu_steal_s), cpu_s);
        v[DOG_VITAL_STALLED_CPU] =
                vitals_share(vitals_gain(before->stalled_cpu_s, now->stalled_cpu_s), passed_s);
        v[DOG_VITAL_STALLED_MEMORY] =
                vitals_share(vitals_gain(before->stalled_memory_s, now->stalled_memory_s), passed_s);
        v[DOG_VITAL_STALLED_IO] =
                vitals_share(vitals_gain(before->stalled_io_s, now->stalled_io_s), passed_s);
        v[DOG_VITAL_DISK] = vitals_busiest_disk(before, now, passed_s);
        v[DOG_VITAL_RX_RATE] = vitals_gain(before->rx_bytes, now->rx_bytes) / passed_s;
        v[DOG_VITAL_TX_RATE] = vitals_gain(before->tx_bytes, now->tx_bytes) / passed_s;
        v[DOG_VITAL_RX_PACKETS] = vitals_gain(before->rx_packets, now->rx_packets) / passed_s;
        v[DOG_VITAL_TX_PACKETS] = vitals_gain(before->tx_packets, now->tx_packets) / passed_s;
        v[DOG_VITAL_NET_ERRORS] = vitals_gain(before->net_errors, now->net_errors) / passed_s;
        v[DOG_VITAL_NET_DROPS] = vitals_gain(before->net_drops, now->net_drops) / passed_s;
        double segments = vitals_gain(before->segments, now->segments);
        double again = vitals_gain(before->retransmitted, now->retransmitted);
        v[DOG_VITAL_SEGMENTS] = segments / passed_s;
        /* OutSegs does not count what is sent again (RFC 4022): the whole is both. */
        v[DOG_VITAL_RETRANSMITTED] = vitals_share(again, segments + again);
        v[DOG_VITAL_OVERFLOWS] = vitals_gain(before->overflows, now->overflows) / passed_s;
}

void dog_vitals_derive(struct dog_vitals *to, const struct dog_counters *before,
                       const struct dog_counters *now)
{
        *to = dog_vitals_unknown();
        double *v = to->value;
        v[DOG_VITAL_LOAD] = now->processors >= 1 ? now->load1 / now->processors : (double)NAN;
        v[DOG_VITAL_MEMORY] = vitals_share(now->memory_total - now->memory_left, now->memory_total);
        v[DOG_VITAL_MEMORY_LEFT] = now->memory_left;
        v[DOG_VITAL_STALL_CPU] = now->stall_cpu;
        v[DOG_VITAL_STALL_MEMORY] = now->stall_memory;
        v[DOG_VITAL_STALL_IO] = now->stall_io;
        v[DOG_VITAL_DISK_LEFT] = now->disk_left;
        v[DOG_VITAL_FILES] = vitals_share(now->files, now->files_most);
        if (before)
                vitals_rates(v, before, now);
}
