/**
 * drawrun: the picture of one comparison, from what the lab's tools have written.
 *
 *     drawrun --trace data/paths/all.playlist --from 10s --for 30s
 *             --run 'tmobile alone=single.csv' --run 'with Sundog=sundog.csv'
 *             --carried carried.csv --title 'A call over three operators' > demo.svg
 *
 * The runs are series of `voice recv` (with --zero at the start of the trace). --carried is a CSV
 * `t_ms,paths`: from then on these paths, joined by +, carried the class; an empty field is none.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/units.h"
#include "lab/plot.h"
#include "lab/trace.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct picture {
        struct lab_plot plot;
        struct lab_trace trace;
        enum lab_split split;
        bool is_ab;
        struct lab_plot_point *point[LAB_PLOT_PATHS];
        struct lab_plot_carried *carried;
        struct lab_plot_mark *mark[LAB_PLOT_RUNS];
        char run_name[LAB_PLOT_RUNS][64];
        const char *run_file[LAB_PLOT_RUNS];
};

/* Rows of a CSV with a header, one call each. Returns 0 or the first negative answer, with file and line. */
static int rows_read(const char *file,
                     int (*take)(struct picture *p, size_t run, const char *row, struct dog_err *e),
                     struct picture *p, size_t run, struct dog_err *e)
{
        char row[512];
        unsigned number = 0;
        int rc = 0;
        FILE *in = fopen(file, "re");
        if (!in)
                return dog_err_set(e, -errno, "cannot open %s: %s", file, strerror(errno));
        while (rc >= 0 && fgets(row, sizeof(row), in)) {
                row[strcspn(row, "\r\n")] = 0;
                if (number++ > 0 && row[0])
                        rc = take(p, run, row, e);
        }
        fclose(in);
        return rc < 0 ? dog_err_prefix(e, rc, "%s, line %u", file, number) : 0;
}

/* Room for one more, doubling. */
static void *room_for(void *list, size_t count, size_t size)
{
        if (count && (count & (count - 1)))
                return list;
        return realloc(list, (count ? 2 * count : 1) * size);
}

static int mark_take(struct picture *p, size_t run, const char *row, struct dog_err *e)
{
        struct lab_plot_run *r = &p->plot.run[run];
        struct lab_plot_mark m;
        if (sscanf(row, "%lf,%u,%u,%u", &m.t_ms, &m.expected, &m.late, &m.lost) != 4)
                return dog_err_set(e, -EINVAL, "\"%s\" is not t_ms,expected,late,lost", row);
        struct lab_plot_mark *grown = room_for(p->mark[run], r->marks, sizeof(m));
        if (!grown)
                return dog_err_set(e, -ENOMEM, "no memory");
        p->mark[run] = grown;
        p->mark[run][r->marks++] = m;
        r->mark = p->mark[run];
        return 0;
}

static int carried_take(struct picture *p, size_t run, const char *row, struct dog_err *e)
{
        struct lab_plot_carried c = {0};
        char names[256] = "";
        char *rest = NULL;
        (void)run;
        if (sscanf(row, "%lf,%255s", &c.t_ms, names) < 1)
                return dog_err_set(e, -EINVAL, "\"%s\" is not t_ms,paths", row);
        for (char *name = strtok_r(names, "+", &rest); name; name = strtok_r(NULL, "+", &rest)) {
                int at = lab_trace_find(&p->trace, name);
                if (at < 0)
                        return dog_err_set(e, -EINVAL, "the trace has no path \"%s\"", name);
                c.paths |= 1U << at;
        }
        struct lab_plot_carried *grown = room_for(p->carried, p->plot.carried_count, sizeof(c));
        if (!grown)
                return dog_err_set(e, -ENOMEM, "no memory");
        p->carried = grown;
        p->carried[p->plot.carried_count++] = c;
        p->plot.carried = p->carried;
        return 0;
}

static int paths_fill(struct picture *p, struct dog_err *e)
{
        p->plot.paths = p->trace.paths;
        for (size_t i = 0; i < p->trace.paths; i++) {
                const struct lab_trace_path *q = &p->trace.path[i];
                p->point[i] = calloc(q->count, sizeof(*p->point[i]));
                if (!p->point[i])
                        return dog_err_set(e, -ENOMEM, "no memory");
                for (size_t k = 0; k < q->count; k++) {
                        struct lab_weather w =
                                lab_trace_weather(&p->trace, i, p->split, p->is_ab, q->sample[k].t_ms);
                        p->point[i][k] =
                                (struct lab_plot_point){(double)q->sample[k].t_ms, w.delay_ms, w.loss >= 0.5};
                }
                p->plot.path[i] = (struct lab_plot_path){q->name, p->point[i], q->count};
        }
        return 0;
}

static int run_option(struct picture *p, const char *text, struct dog_err *e)
{
        const char *equals = strrchr(text, '=');
        size_t n = equals ? (size_t)(equals - text) : 0;
        if (n == 0 || !equals[1] || n >= sizeof(p->run_name[0]))
                return dog_err_set(e, -EINVAL, "--run \"%s\": write NAME=FILE", text);
        if (p->plot.runs == LAB_PLOT_RUNS)
                return dog_err_set(e, -EINVAL, "at most %d runs", LAB_PLOT_RUNS);
        memcpy(p->run_name[p->plot.runs], text, n);
        p->run_file[p->plot.runs] = equals + 1;
        p->plot.run[p->plot.runs].name = p->run_name[p->plot.runs];
        p->plot.runs++;
        return 0;
}

static const struct option options[] = {
        {"trace", 1, NULL, 't'}, {"split", 1, NULL, 's'},    {"direction", 1, NULL, 'd'},
        {"from", 1, NULL, 'f'},  {"for", 1, NULL, 'l'},      {"late", 1, NULL, 'L'},
        {"slot", 1, NULL, 'S'},  {"run", 1, NULL, 'r'},      {"carried", 1, NULL, 'c'},
        {"title", 1, NULL, 'T'}, {"subtitle", 1, NULL, 'U'}, {NULL, 0, NULL, 0}};

static int draw(struct picture *p, int argc, char **argv, struct dog_err *e)
{
        const char *trace = NULL;
        const char *carried = NULL;
        int64_t from_ns = 0;
        int64_t for_ns = 0;
        int64_t late_ns = 150 * DOG_MS;
        int64_t slot_ns = 100 * DOG_MS;
        int rc = 0;
        p->is_ab = true;
        p->plot.title = "One call, several paths";
        p->plot.subtitle = "";
        for (int id; rc >= 0 && (id = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
                if (id == 't')
                        trace = optarg;
                else if (id == 's')
                        rc = lab_split_parse(optarg, &p->split, e);
                else if (id == 'd' && (strcmp(optarg, "ab") == 0 || strcmp(optarg, "ba") == 0))
                        p->is_ab = optarg[0] == 'a';
                else if (id == 'f')
                        rc = dog_units_time(optarg, &from_ns, e);
                else if (id == 'l')
                        rc = dog_units_time(optarg, &for_ns, e);
                else if (id == 'L')
                        rc = dog_units_time(optarg, &late_ns, e);
                else if (id == 'S')
                        rc = dog_units_time(optarg, &slot_ns, e);
                else if (id == 'r')
                        rc = run_option(p, optarg, e);
                else if (id == 'c')
                        carried = optarg;
                else if (id == 'T')
                        p->plot.title = optarg;
                else if (id == 'U')
                        p->plot.subtitle = optarg;
                else
                        trace = NULL,
                        rc = dog_err_set(e, -EINVAL, "see the head of lab/drawrun.c for the options");
        }
        if (rc >= 0 && (!trace || optind < argc))
                rc = dog_err_set(
                        e, -EINVAL,
                        "usage: drawrun --trace TRACE [--split half|ab|ba] [--direction ab|ba] [--from TIME] "
                        "[--for TIME] [--late TIME] [--slot TIME] [--run NAME=SERIES]... [--carried FILE] "
                        "[--title TEXT] [--subtitle TEXT] > FILE.svg");
        if (rc < 0 || (rc = lab_trace_load(&p->trace, trace, e)) < 0)
                return rc;
        p->plot.from_ms = (double)from_ns / 1e6;
        p->plot.to_ms = for_ns ? p->plot.from_ms + (double)for_ns / 1e6 : (double)p->trace.length_ms;
        p->plot.late_ms = (double)late_ns / 1e6;
        p->plot.slot_ms = (double)slot_ns / 1e6;
        rc = paths_fill(p, e);
        for (size_t i = 0; i < p->plot.runs && rc >= 0; i++)
                rc = rows_read(p->run_file[i], mark_take, p, i, e);
        if (rc >= 0 && carried)
                rc = rows_read(carried, carried_take, p, 0, e);
        return rc < 0 ? rc : lab_plot_write(&p->plot, stdout, e);
}

int main(int argc, char **argv)
{
        static struct picture p;
        struct dog_err e = {0};
        int rc = draw(&p, argc, argv, &e);
        for (size_t i = 0; i < ARRAY_SIZE(p.point); i++)
                free(p.point[i]);
        for (size_t i = 0; i < ARRAY_SIZE(p.mark); i++)
                free(p.mark[i]);
        free(p.carried);
        lab_trace_free(&p.trace);
        if (rc < 0)
                fprintf(stderr, "drawrun: %s\n", e.text);
        return rc >= 0 ? 0 : rc == -EINVAL ? 2 : 1;
}
