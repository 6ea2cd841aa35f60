/* The programs that learn the shipped prior: what they read, that they learn, that they repeat themselves. */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "risk_fit.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const char *const head =
        "trace,family,step_ms,paths,n_paths,seconds,rows,need_kbps,licence,source,date,note\n";

static void text_write(const char *folder, const char *name, const char *text)
{
        char path[300];
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        FILE *f = fopen(path, "w");
        NEED(f != NULL, "%s can be written", path);
        fputs(text, f);
        fclose(f);
}

static gzFile rows_open(const char *folder, const char *trace)
{
        char path[300];
        snprintf(path, sizeof(path), "%s/%s.csv.gz", folder, trace);
        gzFile f = gzopen(path, "wb");
        NEED(f != NULL, "%s can be written", path);
        gzputs(f, "t_ms,path,rtt_ms,loss,rate_kbps\n");
        return f;
}

static void folder_remove(const char *folder)
{
        static const char *const name[] = {"traces.csv", "a.csv.gz", "b.csv.gz"};
        char path[300];
        for (size_t i = 0; i < ARRAY_SIZE(name); i++) {
                snprintf(path, sizeof(path), "%s/%s", folder, name[i]);
                unlink(path);
        }
        rmdir(folder);
}

/* Two made drives of two operators: round trips that wander over and under 100 ms. */
static void folder_make(char *folder)
{
        struct dog_rng rng;
        NEED(mkdtemp(folder) != NULL, "a folder for the test");
        char text[1000];
        snprintf(text, sizeof(text), "%s%s%s", head, "a,made,200,x+y,2,200,2000,,CC0,here,day1,\n",
                 "b,made,200,x+y,2,200,2000,,CC0,here,day2,\n");
        text_write(folder, "traces.csv", text);
        dog_rng_init(&rng, 5);
        for (int t = 0; t < 2; t++) {
                double level[2] = {45, 45};
                gzFile f = rows_open(folder, t ? "b" : "a");
                for (int k = 0; k < 1000; k++)
                        for (int p = 0; p < 2; p++) {
                                level[p] += 0.03 * (45 - level[p]) + 8 * dog_rng_normal(&rng);
                                if (dog_rng_below(&rng, 100) == 0)
                                        gzprintf(f, "%d,%c,,1,\n", k * 200, 'x' + p);
                                else
                                        gzprintf(f, "%d,%c,%.1f,0,\n", k * 200, 'x' + p, fmax(level[p], 5));
                        }
                gzclose(f);
        }
}

static void a_prior_is_learned_and_learned_the_same_twice(void)
{
        char folder[] = "/tmp/test_fit_XXXXXX";
        static struct risk_prior prior[2];
        const struct risk_fit_options o = {.horizon_ns = {DOG_S, 5 * DOG_S, 12 * DOG_S}, .ridge = 100};
        struct dog_err e = {0};
        folder_make(folder);
        for (int i = 0; i < 2; i++) {
                struct dog_path_traces traces;
                struct risk_rows rows;
                NEED(dog_path_traces_load(&traces, folder, NULL, &e) == 0, "%s", e.text);
                NEED(traces.count == 2 && traces.points == 4000, "%d traces, %ld samples", traces.count,
                     traces.points);
                NEED(dog_path_traces_thin(&traces, 5, &e) == 0 && traces.count == 12, "thinned: %d",
                     traces.count);
                OK(traces.list[2].step_ms == 1000 && traces.list[2].length <= 201, "a fifth of it");
                NEED(risk_rows_make(&rows, &traces, &o, &e) == 0, "%s", e.text);
                NEED(risk_fit(&prior[i], &rows, &traces, &o, &e) == 0, "%s", e.text);
                if (i == 0) {
                        /* It must explain what it was shown better than the base rate does. */
                        double square = 0;
                        double flat = 0;
                        for (size_t r = 0; r < rows.count; r++) {
                                const struct risk_row *row = &rows.list[r];
                                double z = 0;
                                if (row->outcome[0] < 0)
                                        continue;
                                for (int k = 0; k < DOG_RISK_FEATURES; k++)
                                        z += prior[0].weight[0][k] * (double)row->feature[k];
                                square += pow(1 / (1 + exp(-z)) - row->outcome[0], 2);
                                flat += pow(prior[0].base[0] - row->outcome[0], 2);
                        }
                        OK(square < 0.85 * flat, "Brier %g of the base rate's", square / flat);
                }
                risk_rows_free(&rows);
                dog_path_traces_free(&traces);
        }
        OK(memcmp(&prior[0], &prior[1], sizeof(prior[0])) == 0, "the same folder, the same weights");
        folder_remove(folder);
}

static void a_day_left_out_teaches_nothing(void)
{
        char folder[] = "/tmp/test_fit_XXXXXX";
        static struct risk_prior all;
        static struct risk_prior some;
        const char *skip[] = {"day2", NULL};
        struct risk_fit_options o = {.horizon_ns = {DOG_S, 5 * DOG_S, 12 * DOG_S}, .ridge = 100};
        struct dog_path_traces traces;
        struct risk_rows rows;
        struct dog_err e = {0};
        folder_make(folder);
        NEED(dog_path_traces_load(&traces, folder, NULL, &e) == 0, "%s", e.text);
        NEED(risk_rows_make(&rows, &traces, &o, &e) == 0, "%s", e.text);
        NEED(risk_fit(&all, &rows, &traces, &o, &e) == 0, "%s", e.text);
        o.skip_dates = skip;
        NEED(risk_fit(&some, &rows, &traces, &o, &e) == 0, "%s", e.text);
        OK(some.rows[0] * 2 == all.rows[0], "half of the rows: %zu of %zu", some.rows[0], all.rows[0]);
        OK(memcmp(&some, &all, sizeof(all)) != 0, "another prior");
        risk_rows_free(&rows);
        dog_path_traces_free(&traces);
        folder_remove(folder);
}

static void a_bad_folder_gets_one_sentence(void)
{
        static const struct {
                const char *say, *list, *rows;
                int rc;
        } row[] = {
                {"a list that is no list", "nonsense\nmore,nonsense\n", NULL, -EINVAL},
                {"a trace without its file", "a,made,200,x,1,10,50,,CC0,here,day1,\n", NULL, -ENOENT},
                {"a step of nothing", "a,made,0,x,1,10,50,,CC0,here,day1,\n", "", -EINVAL},
                {"a row with too few fields", "a,made,200,x,1,10,50,,CC0,here,day1,\n", "0,x,5\n", -EINVAL},
                {"a path nobody named", "a,made,200,x,1,10,50,,CC0,here,day1,\n", "0,z,5,0,\n", -EINVAL},
                {"one sample alone", "a,made,200,x,1,10,50,,CC0,here,day1,\n", "90000,x,5,0,\n", -ENODATA},
                {"a time past every trace", "a,made,1,x,1,10,50,,CC0,here,day1,\n", "90000000,x,5,0,\n",
                 -EINVAL},
                {"a time before the start", "a,made,200,x,1,10,50,,CC0,here,day1,\n", "-400,x,5,0,\n",
                 -EINVAL},
                {"no trace at all", "", NULL, -ENODATA},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                char folder[] = "/tmp/test_fit_XXXXXX";
                char text[1000];
                struct dog_path_traces traces;
                struct dog_err e = {0};
                NEED(mkdtemp(folder) != NULL, "a folder");
                snprintf(text, sizeof(text), "%s%s", head, row[i].list);
                text_write(folder, "traces.csv", text);
                if (row[i].rows) {
                        gzFile f = rows_open(folder, "a");
                        gzputs(f, row[i].rows);
                        gzclose(f);
                }
                int rc = dog_path_traces_load(&traces, folder, NULL, &e);
                OK(rc == row[i].rc && e.text[0], "%s: %d, \"%s\"", row[i].say, rc, e.text);
                folder_remove(folder);
        }
        struct dog_path_traces traces;
        struct dog_err e = {0};
        OK(dog_path_traces_load(&traces, "/nowhere", NULL, &e) == -ENOENT && strstr(e.text, "--data"), "%s",
           e.text);
}

int main(void)
{
        return CHECK_RUN(TEST(a_prior_is_learned_and_learned_the_same_twice),
                         TEST(a_day_left_out_teaches_nothing), TEST(a_bad_folder_gets_one_sentence));
}
