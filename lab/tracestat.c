/**
 * tracestat: what a recorded trace or playlist would do to a call, path by path, before anything is run.
 *
 *     tracestat --split half --late 150ms data/paths/all.playlist
 *
 * A packet leaves every 20 ms from a to b, as lab/linkemu would carry it: delay and loss from the
 * trace, order kept. It is bad when lost or late. Printed for each path, for each pair that carries
 * every packet twice (first copy wins), and for all paths at once, which no choice of paths can beat.
 * "best" is the single path that hindsight calls best.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/units.h"
#include "lab/hist.h"
#include "lab/trace.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tally {
        double bad[1U << LAB_TRACE_PATHS]; /**< by set of paths, one bit each */
        double packets;
};

/* The chance that a packet sent at t_ms is lost or late on this path; due_ms keeps the order. */
static double path_bad(const struct lab_trace *t, size_t path, enum lab_split split, double t_ms,
                       double late_ms, double *due_ms)
{
        struct lab_weather w = lab_trace_weather(t, path, split, true, (int64_t)t_ms);
        *due_ms = fmax(*due_ms, t_ms + w.delay_ms);
        return *due_ms - t_ms > late_ms ? 1 : w.loss;
}

/* A packet that was lost holds nobody up: only those that fly keep the order. */
static void count(const struct lab_trace *t, enum lab_split split, double late_ms, double interval_ms,
                  int64_t from_ms, int64_t to_ms, struct tally *y)
{
        double due[LAB_TRACE_PATHS];
        double bad[LAB_TRACE_PATHS];
        for (size_t p = 0; p < t->paths; p++)
                due[p] = 0;
        for (double at = (double)from_ms; at < (double)to_ms; at += interval_ms) {
                y->packets++;
                for (size_t p = 0; p < t->paths; p++) {
                        double before = due[p];
                        bad[p] = path_bad(t, p, split, at, late_ms, &due[p]);
                        if (lab_trace_weather(t, p, split, true, (int64_t)at).loss >= 1)
                                due[p] = before;
                }
                for (unsigned set = 1; set < 1U << t->paths; set++) {
                        double all = 1;
                        for (size_t p = 0; p < t->paths; p++)
                                all *= set >> p & 1 ? bad[p] : 1;
                        y->bad[set] += all;
                }
        }
}

static void set_name(const struct lab_trace *t, unsigned set, char *to, size_t size)
{
        to[0] = 0;
        for (size_t p = 0; p < t->paths; p++)
                if (set >> p & 1)
                        snprintf(to + strlen(to), size - strlen(to), "%s%s", to[0] ? "+" : "",
                                 t->path[p].name);
}

static unsigned best_single(const struct lab_trace *t, const struct tally *y)
{
        unsigned best = 1;
        for (size_t p = 1; p < t->paths; p++)
                if (y->bad[1U << p] < y->bad[best])
                        best = 1U << p;
        return best;
}

static void rtt_stats(const struct lab_trace_path *p, struct lab_hist *h, double *loss)
{
        *loss = 0;
        for (size_t i = 0; i < p->count; i++) {
                if (!isnan(p->sample[i].rtt_ms))
                        lab_hist_add(h, (int64_t)(p->sample[i].rtt_ms * 1e6));
                *loss += isnan(p->sample[i].loss) ? 0 : p->sample[i].loss / (double)p->count;
        }
}

static void table_print(const struct lab_trace *t, const struct tally *y)
{
        char name[256];
        printf("%.0f packets over %.1f s\n%-26s %9s %9s %9s %9s %9s\n", y->packets,
               (double)t->length_ms / 1e3, "paths", "bad", "loss", "rtt p50", "rtt p99", "rtt max");
        for (unsigned set = 1; set < 1U << t->paths; set++) {
                set_name(t, set, name, sizeof(name));
                printf("%-26s %8.3f%%", name, 100 * y->bad[set] / y->packets);
                if (__builtin_popcount(set) == 1) {
                        static struct lab_hist h;
                        double loss = 0;
                        memset(&h, 0, sizeof(h));
                        rtt_stats(&t->path[__builtin_ctz(set)], &h, &loss);
                        printf(" %8.3f%% %6.1f ms %6.1f ms %6.1f ms", 100 * loss,
                               (double)lab_hist_at(&h, 0.5) / 1e6, (double)lab_hist_at(&h, 0.99) / 1e6,
                               (double)h.max_ns / 1e6);
                }
                puts("");
        }
        set_name(t, best_single(t, y), name, sizeof(name));
        printf("best single path with hindsight: %s\n", name);
}

static int json_print(const struct lab_trace *t, const struct tally *y, struct dog_err *e)
{
        char name[256];
        json_t *bad = json_object();
        for (unsigned set = 1; set < 1U << t->paths; set++) {
                set_name(t, set, name, sizeof(name));
                json_object_set_new(bad, name, json_real(y->bad[set] / y->packets));
        }
        set_name(t, best_single(t, y), name, sizeof(name));
        json_t *paths = json_array();
        for (size_t p = 0; p < t->paths; p++)
                json_array_append_new(paths, json_string(t->path[p].name));
        json_t *j = json_pack("{s:I,s:I,s:s,s:i,s:o,s:o}", "length_ms", (json_int_t)t->length_ms, "step_ms",
                              (json_int_t)t->step_ms, "best", name, "best_index",
                              __builtin_ctz(best_single(t, y)), "paths", paths, "bad_share", bad);
        if (!j)
                return dog_err_set(e, -ENOMEM, "no memory for the answer");
        json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        puts("");
        json_decref(j);
        return 0;
}

static const struct option options[] = {
        {"split", 1, NULL, 's'}, {"late", 1, NULL, 'l'}, {"interval", 1, NULL, 'i'}, {"from", 1, NULL, 'f'},
        {"for", 1, NULL, 'd'},   {"json", 0, NULL, 'j'}, {"help", 0, NULL, 'h'},     {NULL, 0, NULL, 0}};

static int run(int argc, char **argv, struct dog_err *e)
{
        static struct tally y;
        struct lab_trace t;
        enum lab_split split = LAB_SPLIT_HALF;
        int64_t late_ns = 150 * DOG_MS;
        int64_t interval_ns = 20 * DOG_MS;
        int64_t from_ns = 0;
        int64_t for_ns = INT64_MAX / 4;
        bool is_json = false;
        int rc = 0;
        for (int id; rc >= 0 && (id = getopt_long(argc, argv, "h", options, NULL)) >= 0;) {
                if (id == 's')
                        rc = lab_split_parse(optarg, &split, e);
                else if (id == 'l')
                        rc = dog_units_time(optarg, &late_ns, e);
                else if (id == 'i')
                        rc = dog_units_time(optarg, &interval_ns, e);
                else if (id == 'f')
                        rc = dog_units_time(optarg, &from_ns, e);
                else if (id == 'd')
                        rc = dog_units_time(optarg, &for_ns, e);
                else if (id == 'j')
                        is_json = true;
                else
                        rc = -EINVAL;
        }
        if (rc < 0 && e->text[0])
                return rc;
        if (rc < 0 || optind + 1 != argc || interval_ns < DOG_US)
                return dog_err_set(e, -EINVAL,
                                   "usage: tracestat [--split half|ab|ba] [--late 150ms] [--interval 20ms] "
                                   "[--from 0s] [--for 30s] [--json] TRACE");
        rc = lab_trace_load(&t, argv[optind], e);
        if (rc < 0)
                return rc;
        int64_t to_ms = from_ns / DOG_MS + for_ns / DOG_MS;
        count(&t, split, (double)late_ns / 1e6, (double)interval_ns / 1e6, from_ns / DOG_MS,
              to_ms < t.length_ms ? to_ms : t.length_ms, &y);
        if (y.packets < 1)
                rc = dog_err_set(e, -EINVAL, "%s ends at %.1f s, before the first packet", argv[optind],
                                 (double)t.length_ms / 1e3);
        else if (is_json)
                rc = json_print(&t, &y, e);
        else
                table_print(&t, &y);
        lab_trace_free(&t);
        return rc;
}

int main(int argc, char **argv)
{
        struct dog_err e = {0};
        int rc = run(argc, argv, &e);
        if (rc < 0)
                fprintf(stderr, "tracestat: %s\n", e.text);
        return rc >= 0 ? 0 : rc == -EINVAL ? 2 : 1;
}
