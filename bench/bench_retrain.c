/**
 * forecast.retrain_cpu_s: processor time of one training in the background, on a made day of telemetry of
 * three paths, five probes a second, contest included. forecast.retrain_burst_s: how far it ever got ahead of
 * its share of a processor, in processor seconds, that is, its longest piece of work without a pause.
 *
 *     bench_retrain [SHARE [HOURS]]      (0.05, 24)
 */
#include "base/clock.h"
#include "base/rng.h"
#include "daemon/trees.h"
#include "figure.h"
#include "store/store.h"

#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PATHS = 3, PER_S = 5, TICK_US = 20000, LIMIT_S = 3600 };

static int bench_fail(const char *why)
{
        figure_null("forecast.retrain_cpu_s", "s", why);
        return 1;
}

/* Round trips that wander, with spells of trouble: about one second in fifteen breaks 100 ms. */
static int telemetry_make(const char *file, int64_t to_ns, int hours, struct dog_err *e)
{
        struct dog_store_options o = {.path = file, .size_max_bytes = (int64_t)1 << 30};
        struct dog_store *store = NULL;
        int rc = dog_store_open(&o, &store, e);
        for (int p = 0; p < PATHS && rc == 0; p++) {
                struct dog_rng rng;
                char name[64];
                double level = 0;
                dog_rng_init(&rng, 1 + (uint64_t)p);
                snprintf(name, sizeof(name), "path/t/p%d/rtt_ms", p);
                int rtt = dog_store_series(store, name);
                snprintf(name, sizeof(name), "path/t/p%d/loss", p);
                int loss = dog_store_series(store, name);
                for (long i = 0; i < (long)hours * 3600 * PER_S && rc == 0; i++) {
                        int64_t at_ns = to_ns - (int64_t)hours * 3600 * DOG_S + i * (DOG_S / PER_S);
                        bool is_lost = dog_rng_below(&rng, 500) == 0;
                        level += -0.05 * level + 0.12 * dog_rng_normal(&rng);
                        if (!is_lost)
                                dog_store_sample(store, rtt, at_ns,
                                                 45 * exp(level + 0.1 * dog_rng_normal(&rng)));
                        dog_store_sample(store, loss, at_ns, is_lost);
                        if (i % 100000 == 99999)
                                rc = dog_store_sync(store, e);
                }
        }
        if (rc == 0)
                rc = dog_store_sync(store, e);
        dog_store_close(store);
        return rc;
}

static atomic_int woken;

static void wake(void *user)
{
        (void)user;
        atomic_store(&woken, 1);
}

static double cpu_s(void)
{
        struct timespec t;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* It runs at the lowest priority, which on a busy machine is never: for the measurement, as anybody. */
static void thread_raise(void)
{
        DIR *d = opendir("/proc/self/task");
        struct sched_param none = {0};
        for (struct dirent *f; d && (f = readdir(d));) {
                int tid = atoi(f->d_name);
                if (tid <= 0 || tid == getpid())
                        continue;
                sched_setscheduler(tid, SCHED_OTHER, &none);
                setpriority(PRIO_PROCESS, (id_t)tid, 0);
        }
        if (d)
                closedir(d);
}

/* Waits for the end of the training. @return the largest lead over the share, in processor seconds */
static double training_watch(double share)
{
        double ahead = 0;
        double most = 0;
        double was_cpu = cpu_s();
        int64_t was_ns = dog_clock_mono_ns();
        for (int64_t from_ns = was_ns; !atomic_load(&woken) && was_ns - from_ns < LIMIT_S * DOG_S;) {
                usleep(TICK_US);
                thread_raise();
                double now_cpu = cpu_s();
                int64_t now_ns = dog_clock_mono_ns();
                ahead += now_cpu - was_cpu - share * (double)(now_ns - was_ns) / 1e9;
                ahead = ahead > 0 ? ahead : 0;
                most = ahead > most ? ahead : most;
                was_cpu = now_cpu;
                was_ns = now_ns;
        }
        return most;
}

int main(int argc, char **argv)
{
        char folder[] = "/tmp/bench_retrain_XXXXXX";
        char file[64];
        double share = argc > 1 ? atof(argv[1]) : 0.05;
        int hours = argc > 2 ? atoi(argv[2]) : 24;
        struct dog_err e = {0};
        struct trees *t = NULL;
        char text[700] = "";
        bool is_new;
        if (!(share > 0 && share <= 1) || hours < 6 || hours > 240)
                return bench_fail("a share in 0 .. 1 and 6 to 240 hours are wanted");
        if (!mkdtemp(folder))
                return bench_fail("no folder for the store");
        snprintf(file, sizeof(file), "%s/store.db", folder);
        if (telemetry_make(file, dog_clock_wall_ns(), hours, &e) < 0)
                return bench_fail(e.text);
        struct dog_config_profile profile = {.latency_ns = 100 * DOG_MS, .loss_share = 0.3};
        struct dog_config_class class = {.name = "c", .promise = &profile};
        struct dog_config_tunnel tunnel = {.name = "t"};
        struct dog_config c = {.tunnel = &tunnel, .tunnels = 1, .class = &class, .classes = 1};
        c.store.path = file;
        c.forecast = (struct dog_config_forecast){.has_trees = 1,
                                                  .has_retrain = 1,
                                                  .retrain_every_ns = 20 * DOG_MS,
                                                  .retrain_from_ns = (int64_t)hours * 3600 * DOG_S,
                                                  .retrain_cpu = share};
        if (trees_open(&t, &c, NULL, NULL, &e) < 0)
                return bench_fail(e.text);
        double began_s = cpu_s();
        int64_t began_ns = dog_clock_mono_ns();
        if (trees_train(t, wake, NULL, &e) < 0)
                return bench_fail(e.text);
        double burst = training_watch(share);
        double spent = cpu_s() - began_s;
        if (!trees_news(t, text, sizeof(text), &is_new))
                return bench_fail("the training did not come to an end within an hour");
        fprintf(stderr, "%d hours, %.0f s in all, a share of %.2f used of %.2f; %s\n", hours,
                (double)(dog_clock_mono_ns() - began_ns) / 1e9,
                spent / ((double)(dog_clock_mono_ns() - began_ns) / 1e9), share, text);
        figure_print("forecast.retrain_cpu_s", "s", &spent, 1);
        figure_print("forecast.retrain_burst_s", "s", &burst, 1);
        trees_close(t);
        char remove[100];
        snprintf(remove, sizeof(remove), "rm -rf %s", folder);
        return system(remove) == 0 ? 0 : 1;
}
