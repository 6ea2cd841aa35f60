#include "chain.h"

#include "base/clock.h"
#include "figure.h"
#include "machine.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHAIN_BATCH = 64, CHAIN_CPUS = 256, CHAIN_FRAME_MOST = 256 };

int chain_attach(const char *device, const struct bpf_program *prog, struct dog_err *e)
{
        int rc = bpf_xdp_attach((int)if_nametoindex(device), bpf_program__fd(prog), XDP_FLAGS_DRV_MODE, NULL);
        return rc < 0 ? dog_err_set(e, rc, "cannot attach %s to %s: %s", bpf_program__name(prog), device,
                                    strerror(-rc))
                      : 0;
}

int chain_send(const struct chain_feed *f, __u32 frames)
{
        __u8 frame[CHAIN_FRAME_MOST] = {0};
        struct xdp_md ctx = {.data_end = f->frame_bytes};
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = f->frame_bytes, .ctx_in = &ctx,
                    .ctx_size_in = sizeof(ctx), .repeat = (int)frames, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                    .batch_size = CHAIN_BATCH);
        if (f->frame_bytes > sizeof(frame))
                return -EMSGSIZE;
        return bpf_prog_test_run_opts(f->generator, &o);
}

static __u64 chain_sunk(const struct chain_feed *f, const char *device)
{
        __u64 all[CHAIN_CPUS] = {0}, sum = 0;
        __u32 at = if_nametoindex(device);
        if (f->cpus > CHAIN_CPUS || bpf_map_lookup_elem(f->sinks, &at, all) < 0)
                return 0;
        for (int i = 0; i < f->cpus; i++)
                sum += all[i];
        return sum;
}

/* @return ns of CPU a packet; 0 when it could not be fed */
static double chain_burst(struct chain *c, int i, const struct chain_feed *f, int softirqd)
{
        __u64 before = chain_sunk(f, c->sink), delivered;
        int64_t cpu_ns, soft_ns;

        f->turn(i, if_nametoindex(c->in));
        cpu_ns = dog_clock_cpu_ns();
        soft_ns = bench_run_ns(softirqd);
        if (chain_send(f, CHAIN_FRAMES) < 0)
                return 0;
        cpu_ns = dog_clock_cpu_ns() - cpu_ns;
        usleep(1000); /* what ksoftirqd still has in hand */
        soft_ns = bench_run_ns(softirqd) - soft_ns;
        delivered = chain_sunk(f, c->sink) - before;
        c->offered += CHAIN_FRAMES;
        c->delivered += delivered;
        return delivered ? (double)(cpu_ns + soft_ns) / (double)delivered : 0;
}

/* All chains, burst by burst, until the time is over. @return bursts made; 0: it could not be fed */
static int chain_round(struct chain *chain, int chains, int only, const struct chain_feed *f, int round,
                       double seconds, int softirqd)
{
        int64_t stop_ns = dog_clock_mono_ns() + (int64_t)(seconds * 1e9);
        int n = 0;

        do {
                for (int i = 0; i < chains; i++) {
                        if (only >= 0 && only != i)
                                continue;
                        chain[i].cost[round][n] = chain_burst(&chain[i], i, f, softirqd);
                        if (chain[i].cost[round][n] <= 0)
                                return 0;
                }
        } while (++n < CHAIN_BURSTS && dog_clock_mono_ns() < stop_ns);
        return n;
}

static void chain_print(const struct chain *c, const int bursts[CHAIN_ROUNDS])
{
        double all[CHAIN_ROUNDS * CHAIN_BURSTS];
        size_t n = 0;
        for (int r = 0; r < CHAIN_ROUNDS; r++)
                for (int k = 0; k < bursts[r]; k++)
                        all[n++] = c->cost[r][k];
        double median = figure_median(all, n);
        fprintf(stderr, "%-24s %10.3f %10.0f %10.6f\n", c->name, 1e3 / median, median,
                (double)c->delivered / (double)c->offered);
}

int chain_run(struct chain *chain, int chains, int only, const struct chain_feed *f, int bursts[CHAIN_ROUNDS],
              struct dog_err *e)
{
        double seconds = figure_seconds(1.5);
        int softirqd = bench_ksoftirqd(0);

        bench_pin(0);
        chain_round(chain, chains, only, f, 0, seconds / 3, softirqd); /* warm up */
        for (int i = 0; i < chains; i++)
                chain[i].offered = chain[i].delivered = 0;
        for (int round = 0; round < CHAIN_ROUNDS; round++) {
                bursts[round] = chain_round(chain, chains, only, f, round, seconds, softirqd);
                if (!bursts[round])
                        return dog_err_set(e, -EIO, "cannot feed live frames (needs kernel 5.18 or later)");
        }
        fprintf(stderr, "%-24s %10s %10s %10s\n", "chain", "M/cpu-s", "ns/packet", "delivered");
        for (int i = 0; i < chains; i++)
                if (only < 0 || only == i)
                        chain_print(&chain[i], bursts);
        return 0;
}

void chain_ratio(const char *figure, const struct chain *a, const struct chain *b,
                 const int bursts[CHAIN_ROUNDS])
{
        double ratio[CHAIN_ROUNDS], pair[CHAIN_BURSTS];
        for (int r = 0; r < CHAIN_ROUNDS; r++) {
                for (int i = 0; i < bursts[r]; i++)
                        pair[i] = a->cost[r][i] / b->cost[r][i];
                ratio[r] = figure_median(pair, (size_t)bursts[r]);
        }
        figure_print(figure, "ratio", ratio, CHAIN_ROUNDS);
}
