/*
 * Recorded nodes: what is read and what is refused, what came of each step, and that nothing later than t
 * says anything at t. F2: history is kept and used. F4: time series and what is unusual in them. I1: a health
 * model learns from what nodes report. I2, F5: chances of overload and failure, with an honest "no skill".
 * O3: congestion is foreseen from history.
 */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/rng.h"
#include "check.h"
#include "base/clock.h"
#include "learn/node_store.h"
#include "learn/nodes.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void file_write(const char *name, const char *text)
{
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        FILE *f = fopen(path, "w");
        NEED(f, "%s", path);
        fputs(text, f);
        fclose(f);
}

static void file_gone(const char *name)
{
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        unlink(path);
}

static void folder_make(void)
{
        snprintf(folder, sizeof(folder), "/tmp/test_nodes.XXXXXX");
        NEED(mkdtemp(folder), "a folder");
}

static void folder_clear(void)
{
        static const char *const name[] = {"nodes.csv", "incidents.csv", "made.csv", "made.csv.gz",
                                           "m.model"};
        for (size_t i = 0; i < ARRAY_SIZE(name); i++)
                file_gone(name[i]);
        rmdir(folder);
}

#define HEAD "dataset,node,step_s,t0_s,labelled_from_s,end_s,n_metrics,source\n"

enum { DAY = 1440, DAYS = 6, HISTORY = 3 * DAY, ROWS = DAYS * DAY };

/*
 * Two servers, a value a minute: noise with a daily wave; every day at the same minute a job that takes the
 * processor over its limit for four minutes; and one morning memory leaks away.
 */
static float made_value(struct dog_rng *rng, int node, int row, int metric)
{
        int minute = row % DAY;
        double wave = 10 * sin(minute * 2 * 3.14159265 / DAY), noise = dog_rng_normal(rng);
        int job = node == 0 ? 600 : 200;
        if (metric == 0)
                return (float)(30 + wave + noise + (minute >= job && minute < job + 4 ? 50 : 0));
        if (metric == 1)
                return (float)(50 + 0.5 * noise +
                               (row >= 4 * DAY + 700 && row < 4 * DAY + 800 ? (row - 4 * DAY - 700) * 0.3
                                                                            : 0));
        return 7;
}

/* The first `rows` rows of both; metric 2 is constant. */
static void made_write(int rows, bool has_incidents)
{
        char path[128], text[512];
        snprintf(text, sizeof(text), HEAD "made,a,60,0,%d,%d,3,x\nmade,b,60,0,%d,%d,3,x\n", HISTORY * 60,
                 rows * 60, HISTORY * 60, rows * 60);
        file_write("nodes.csv", text);
        snprintf(path, sizeof(path), "%s/made.csv", folder);
        FILE *f = fopen(path, "w");
        NEED(f, "%s", path);
        fputs("t_s,node,cpu,mem,flat\n", f);
        for (int node = 0; node < 2; node++) {
                struct dog_rng rng;
                dog_rng_init(&rng, 7 + (uint64_t)node);
                for (int row = 0; row < rows; row++) {
                        fprintf(f, "%d,%c", row * 60, 'a' + node);
                        for (int k = 0; k < 3; k++) {
                                float v = made_value(&rng, node, row, k);
                                /* Now and then nothing is measured. */
                                fprintf(f, row % 97 == 5 ? "," : ",%.3f", (double)v);
                        }
                        fputc('\n', f);
                }
        }
        fclose(f);
        FILE *g;
        snprintf(path, sizeof(path), "%s/incidents.csv", folder);
        unlink(path);
        if (!has_incidents)
                return;
        g = fopen(path, "w");
        NEED(g, "%s", path);
        fputs("dataset,node,start_s,end_s,kind\n", g);
        for (int node = 0; node < 2; node++)
                for (int day = 3; day < DAYS; day++) {
                        int start = day * DAY + (node == 0 ? 600 : 200);
                        fprintf(g, "made,%c,%d,%d,job\n", 'a' + node, start * 60, (start + 4) * 60);
                }
        fclose(g);
}

/* ---- reading --------------------------------------------------------------------------------------- */

static int read_made(struct dog_err *e)
{
        struct dog_nodes *n;
        int rc = dog_nodes_read(&n, folder, e);
        if (rc == 0)
                dog_nodes_free(n);
        return rc;
}

static void bad_input_gets_one_sentence_with_its_place(void)
{
        static const struct {
                const char *nodes, *made, *incidents;
                int rc;
                const char *says, *what;
        } row[] = {
                {"", "t_s,node,a\n0,n,1\n", NULL, -EINVAL, "nodes.csv", "an empty list"},
                {HEAD, "t_s,node,a\n0,n,1\n", NULL, -EINVAL, "names no node", "a list of nothing"},
                {HEAD "made,n,60,0,60,600,1,x\n", "", NULL, -EINVAL, "made.csv: empty", "empty telemetry"},
                {HEAD "made,n,60,0,60,600,1,x\n", NULL, NULL, -ENOENT, "cannot open", "no telemetry"},
                {"dataset,node,step_s,end_s\n", "t_s,node,a\n", NULL, -EINVAL, "no column labelled_from_s",
                 "a missing column"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,a\n0,1\n", NULL, -EINVAL, "no column node", "another"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,node\n0,n\n", NULL, -EINVAL, "no metric",
                 "no metric at all"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,node,a\n0,n,1\n60,n,twelve\n", NULL, -EINVAL,
                 "made.csv:3: \"twelve\"", "no number"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,node,a\n0,n,inf\n", NULL, -EINVAL,
                 "made.csv:2:", "infinity"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,node,a\n0,n\n", NULL, -EINVAL, "2 fields",
                 "a short row"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,node,a,a\n0,n,1,2\n", NULL, -EINVAL, "two columns",
                 "a column twice"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,node,a\n1.5,n,1\n", NULL, -EINVAL, "no time",
                 "half a second"},
                {HEAD "made,n,0,0,60,600,1,x\n", "t_s,node,a\n0,n,1\n", NULL, -EINVAL, "step_s", "no step"},
                {HEAD "made,n,60,0,60,600,1,x\nmade,n,60,0,60,600,1,x\n", "t_s,node,a\n0,n,1\n", NULL,
                 -EINVAL, "before", "a node twice"},
                {HEAD "made,n,60,0,60,600,1,x\nmade,m,60,0,60,600,1,x\n", "t_s,node,a\n0,n,1\n", NULL,
                 -ENODATA, "no row of node m", "a node without rows"},
                {HEAD "../made,n,60,0,60,600,1,x\n", "t_s,node,a\n0,n,1\n", NULL, -EINVAL, "no name",
                 "a way out of the folder"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,node,a\n0,n,1\n", "", -EINVAL, "incidents.csv: empty",
                 "an empty list of incidents"},
                {HEAD "made,n,60,0,60,600,1,x\n", "t_s,node,a\n0,n,1\n",
                 "dataset,node,start_s,end_s,kind\nmade,n,9,9,x\n", -EINVAL,
                 "incidents.csv:2:", "an incident that ends before it starts"},
        };
        folder_make();
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_err e = {0};
                file_gone("made.csv");
                file_gone("incidents.csv");
                file_write("nodes.csv", row[i].nodes);
                if (row[i].made)
                        file_write("made.csv", row[i].made);
                if (row[i].incidents)
                        file_write("incidents.csv", row[i].incidents);
                int rc = read_made(&e);
                OK(rc == row[i].rc && strstr(e.text, row[i].says), "%s: %d \"%s\"", row[i].what, rc, e.text);
        }
        folder_clear();
}

static void what_can_be_read_is_read_and_what_cannot_be_used_is_counted(void)
{
        struct dog_nodes *n;
        struct dog_err e = {0};
        folder_make();
        file_write("nodes.csv", HEAD "made,n,60,0,120,600,2,x\n");
        file_write("made.csv",
                   "t_s,b,node,a\r\n0,1,n,nan\r\n60,,n,2\n\n60,9,n,9\n30,9,n,9\n120,3,n,4\n120,3,other,4\n");
        NEED(dog_nodes_read(&n, folder, &e) == 0, "%s", e.text);
        const struct dog_node_record *r = n->node;
        OK(n->count == 1 && r->metrics == 2 && r->rows == 3 && r->first == 2,
           "%zu rows, the first labelled %zu", r->rows, r->first);
        OK(strcmp(r->metric_name[0], "b") == 0 && isnan(r->value[1]) && isnan(r->value[2]) &&
                   r->value[3] == 2,
           "empty and NaN are not measured");
        OK(n->dropped_clock == 2 && n->dropped_node == 1,
           "a clock that stands or runs back, a node of nobody: counted");
        OK(!n->has_incidents && isnan(r->limit[0]), "two values make no limit");
        dog_nodes_free(n);

        /* Shuffled as a whole it is refused: it would be a test of the reader's patience. */
        FILE *f = NULL;
        char path[128];
        snprintf(path, sizeof(path), "%s/made.csv", folder);
        NEED((f = fopen(path, "w")), "a file");
        fputs("t_s,node,a\n", f);
        for (int i = 0; i < 400; i++)
                fprintf(f, "%d,n,1\n", (i * 37 % 400) * 60);
        fclose(f);
        OK(read_made(&e) == -EINVAL && strstr(e.text, "sort it"), "shuffled: %s", e.text);
        folder_clear();
}

static int read_for_memory(void *user, struct dog_err *e)
{
        (void)user;
        return read_made(e);
}

static void reading_survives_every_lack_of_memory(void)
{
        folder_make();
        file_write("nodes.csv", HEAD "made,n,60,0,120,600,2,x\nmade,m,60,0,60,600,2,x\n");
        file_write("made.csv", "t_s,node,a\n0,n,1\n60,n,2\n120,n,3\n0,m,1\n");
        file_write("incidents.csv", "dataset,node,start_s,end_s\nmade,n,60,120\n");
        OK(alloc_fail_each(read_for_memory, NULL) > 8, "each refused once");
        folder_clear();
}

/* ---- outcomes -------------------------------------------------------------------------------------- */

static int note_label(void *data, const struct dog_nodes_prediction *p)
{
        int8_t *to = data;
        to[p->t_s / 60] = (int8_t)(p->label[0] + 2 * (p->is_inside ? 1 : 0) + 10);
        return 0;
}

static void an_outcome_is_what_the_scorer_calls_it(void)
{
        struct dog_nodes *n;
        struct dog_err e = {0};
        folder_make();
        file_write("nodes.csv", HEAD "made,n,60,0,0,1800,1,x\n");
        file_write("incidents.csv", "dataset,node,start_s,end_s\nmade,n,600,720\n");
        char text[1024] = "t_s,node,a\n";
        for (int i = 0; i < 30; i++)
                sprintf(text + strlen(text), "%d,n,%d\n", i * 60, i % 3);
        file_write("made.csv", text);
        NEED(dog_nodes_read(&n, folder, &e) == 0, "%s", e.text);
        int8_t seen[30] = {0};
        struct dog_nodes_options options = {0};
        OK(dog_nodes_predict(n, DOG_NODES_FAILURE, NULL, &options, note_label, seen, &e) == 0, "%s", e.text);
        static const struct {
                int minute, want;
                const char *what;
        } row[] = {
                {0, 10, "nothing comes"},
                {4, 10, "it starts after six minutes"},
                {5, 11, "it starts after exactly five"},
                {9, 11, "the minute before"},
                {10, 11, "inside: left out"},
                {11, 11, "inside still"},
                {12, 9, "over, but within five minutes of it"},
                {16, 9, "the last of them"},
                {17, 10, "again nothing"},
                {24, 10, "the last whose five minutes end within the record"},
                {25, 9, "here they do not"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++)
                OK(seen[row[i].minute] == row[i].want, "minute %d: %s: %d", row[i].minute, row[i].what,
                   seen[row[i].minute]);
        dog_nodes_free(n);
        folder_clear();
}

/* ---- predicting -------------------------------------------------------------------------------------- */

struct said {
        struct dog_nodes_prediction *list;
        size_t count, room;
};

static int said_take(void *data, const struct dog_nodes_prediction *p)
{
        struct said *s = data;
        if (s->count == s->room) {
                s->room = s->room ? 2 * s->room : 1024;
                s->list = realloc(s->list, s->room * sizeof(*s->list));
                NEED(s->list, "memory");
        }
        s->list[s->count++] = *p;
        return 0;
}

static struct said say(const struct dog_nodes *n, enum dog_nodes_task task, const struct dog_model *m)
{
        struct said s = {0};
        struct dog_err e = {0};
        struct dog_nodes_options options = {.is_learning = true};
        NEED(dog_nodes_predict(n, task, m, &options, said_take, &s, &e) == 0, "%s", e.text);
        return s;
}

static double area(const struct said *s, int h)
{
        double pairs = 0, yes = 0, no = 0;
        for (size_t i = 0; i < s->count; i++) {
                if (s->list[i].label[h] != 1)
                        continue;
                yes++;
                no = 0;
                for (size_t k = 0; k < s->count; k++)
                        if (s->list[k].label[h] == 0) {
                                no++;
                                pairs += s->list[k].p[h] < s->list[i].p[h]    ? 1
                                         : s->list[k].p[h] == s->list[i].p[h] ? 0.5
                                                                              : 0;
                        }
        }
        return yes > 0 && no > 0 ? pairs / yes / no : 0;
}

static void a_job_at_the_same_time_each_day_is_foreseen_and_the_future_is_not_read(void)
{
        struct dog_nodes *whole, *cut;
        struct dog_err e = {0};
        struct dog_model *m[2], *again;
        folder_make();
        made_write(ROWS, true);
        NEED(dog_nodes_read(&whole, folder, &e) == 0, "%s", e.text);
        OK(isnan(whole->node[0].limit[2]), "a metric that never changes has no limit");
        NEED(dog_nodes_train(whole, DOG_NODES_FAILURE, 1, 5, &m[0], &e) == 0, "%s", e.text);
        NEED(dog_nodes_train(whole, DOG_NODES_OVERLOAD, 1, 5, &m[1], &e) == 0, "%s", e.text);
        NEED(dog_nodes_train(whole, DOG_NODES_FAILURE, 2, 5, &again, &e) == 0, "%s", e.text);
        uint8_t *bytes[2];
        size_t size[2];
        NEED(dog_model_encode(m[0], &bytes[0], &size[0], &e) == 0 &&
                     dog_model_encode(again, &bytes[1], &size[1], &e) == 0,
             "%s", e.text);
        OK(size[0] == size[1] && memcmp(bytes[0], bytes[1], size[0]) == 0,
           "one thread or two: the same model, bit for bit");
        free(bytes[0]);
        free(bytes[1]);
        dog_model_free(again);

        struct said all[2];
        for (int task = 0; task < 2; task++) {
                all[task] = say(whole, (enum dog_nodes_task)task, m[task]);
                NEED(all[task].count > 1000, "%zu predictions", all[task].count);
        }
        for (int h = 1; h < DOG_NODE_HORIZONS; h++)
                OK(area(&all[1], h) > 0.8, "overload within %lld s: AUROC %.3f (I2, O3, F5)",
                   (long long)dog_node_horizon_s[h], area(&all[1], h));
        bool is_ordered = true, is_chance = true;
        for (int task = 0; task < 2; task++)
                for (size_t i = 0; i < all[task].count; i++)
                        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                                float p = all[task].list[i].p[h];
                                is_chance &= p > 0 && p < 1;
                                is_ordered &= h == 0 || p >= all[task].list[i].p[h - 1];
                        }
        OK(is_chance && is_ordered, "each is a chance, and what happens within 5 min happens within 15");

        /* Everything after some moment is deleted, incidents and list of nodes alike. */
        made_write(ROWS - DAY - 333, true);
        NEED(dog_nodes_read(&cut, folder, &e) == 0, "%s", e.text);
        for (int task = 0; task < 2; task++) {
                struct said part = say(cut, (enum dog_nodes_task)task, m[task]);
                size_t same = 0, at = 0;
                for (size_t i = 0; i < part.count; i++) {
                        while (at < all[task].count &&
                               (strcmp(all[task].list[at].node->name, part.list[i].node->name) < 0 ||
                                all[task].list[at].t_s < part.list[i].t_s ||
                                all[task].list[at].metric < part.list[i].metric))
                                at++;
                        if (at < all[task].count &&
                            memcmp(all[task].list[at].p, part.list[i].p, sizeof(part.list[i].p)) == 0 &&
                            (task == 1 ||
                             memcmp(&all[task].list[at].health, &part.list[i].health, sizeof(float)) == 0))
                                same++;
                }
                OK(same == part.count && same > 500,
                   "task %d: %zu of %zu predictions are the same bits without the future", task, same,
                   part.count);
                free(part.list);
        }

        struct dog_node_shape shape[DOG_NODE_HORIZONS];
        OK(dog_nodes_serve(m[1], DOG_NODES_OVERLOAD, shape, &e) == 0 && shape[2].slope > 0 &&
                   shape[2].base > 0,
           "it can be served live");
        OK(dog_nodes_serve(m[1], DOG_NODES_FAILURE, shape, &e) == -EINVAL, "not as another kind: %s", e.text);

        /* A model of another kind is not asked. */
        struct dog_nodes_options options = {0};
        OK(dog_nodes_predict(whole, DOG_NODES_FAILURE, m[1], &options, said_take, &all[0], &e) == -EINVAL,
           "a model of overload about failures: %s", e.text);
        for (int task = 0; task < 2; task++) {
                free(all[task].list);
                dog_model_free(m[task]);
        }
        dog_nodes_free(whole);
        dog_nodes_free(cut);
        folder_clear();
}

/* ---- stopping and going on ---------------------------------------------------------------------- */

static void train_bytes(struct dog_nodes_train *t, uint8_t **bytes, size_t *size)
{
        struct dog_err e = {0};
        struct dog_model *m;
        int rc;
        while ((rc = dog_gbt_jobs_step(dog_nodes_train_jobs(t), &e)) > 0)
                ;
        NEED(rc == 0 && dog_nodes_train_finish(t, 5, &m, &e) == 0, "%s", e.text);
        NEED(dog_model_encode(m, bytes, size, &e) == 0, "%s", e.text);
        dog_model_free(m);
}

/* F2: what was trained for hours is not lost, and is the same as if nobody had stopped it. */
static void a_training_of_nodes_goes_on_where_it_was_stopped(void)
{
        static const unsigned stop_at[] = {1, 79, 80, 300, 1100};
        struct dog_nodes *n, *other;
        struct dog_nodes_train *t;
        struct dog_err e = {0};
        uint8_t *whole, *part, *state = NULL;
        size_t whole_size, part_size, size = 0;
        folder_make();
        made_write(ROWS, true);
        NEED(dog_nodes_read(&n, folder, &e) == 0, "%s", e.text);
        NEED(dog_nodes_train_new(&t, n, DOG_NODES_FAILURE, 1, &e) == 0, "%s", e.text);
        OK(dog_nodes_train_finish(t, 5, &(struct dog_model *){NULL}, &e) == -EINVAL, "not before its end: %s",
           e.text);
        train_bytes(t, &whole, &whole_size);
        dog_nodes_train_free(t);
        for (size_t i = 0; i < ARRAY_SIZE(stop_at); i++) {
                NEED(dog_nodes_train_new(&t, n, DOG_NODES_FAILURE, 1 + i % 2, &e) == 0, "%s", e.text);
                if (state)
                        NEED(dog_gbt_jobs_resume(dog_nodes_train_jobs(t), state, size, &e) == 0, "%s",
                             e.text);
                free(state);
                while (dog_gbt_jobs_progress(dog_nodes_train_jobs(t)).done < stop_at[i])
                        NEED(dog_gbt_jobs_step(dog_nodes_train_jobs(t), &e) >= 0, "%s", e.text);
                NEED(dog_gbt_jobs_save(dog_nodes_train_jobs(t), &state, &size, &e) == 0, "%s", e.text);
                dog_nodes_train_free(t);
        }
        NEED(dog_nodes_train_new(&t, n, DOG_NODES_FAILURE, 1, &e) == 0, "%s", e.text);
        size_t refused = 0, tried = 0;
        for (size_t at = 0; at < size; at += 1 + size / 300) {
                state[at] ^= (uint8_t)(1U << at % 8);
                e.text[0] = 0;
                refused += dog_gbt_jobs_resume(dog_nodes_train_jobs(t), state, size, &e) == -EINVAL &&
                           e.text[0] != 0;
                tried++;
                state[at] ^= (uint8_t)(1U << at % 8);
        }
        OK(refused == tried && tried > 200, "a flipped bit is found out: %zu of %zu", refused, tried);
        OK(dog_gbt_jobs_resume(dog_nodes_train_jobs(t), state, size / 2, &e) == -EINVAL &&
                   strstr(e.text, "cut off"),
           "so is half a state: %s", e.text);
        NEED(dog_gbt_jobs_resume(dog_nodes_train_jobs(t), state, size, &e) == 0, "%s", e.text);
        train_bytes(t, &part, &part_size);
        OK(part_size == whole_size && memcmp(part, whole, whole_size) == 0,
           "stopped five times, on one thread and two: the same model, bit for bit");
        dog_nodes_train_free(t);
        NEED(dog_nodes_train_new(&t, n, DOG_NODES_OVERLOAD, 1, &e) == 0, "%s", e.text);
        OK(dog_gbt_jobs_resume(dog_nodes_train_jobs(t), state, size, &e) == -EINVAL &&
                   strstr(e.text, "other"),
           "not of another task: %s", e.text);
        dog_nodes_train_free(t);
        made_write(ROWS - 100, true);
        NEED(dog_nodes_read(&other, folder, &e) == 0, "%s", e.text);
        NEED(dog_nodes_train_new(&t, other, DOG_NODES_FAILURE, 1, &e) == 0, "%s", e.text);
        OK(dog_gbt_jobs_resume(dog_nodes_train_jobs(t), state, size, &e) == -EINVAL &&
                   strstr(e.text, "other data"),
           "nor of other data: %s", e.text);
        dog_nodes_train_free(t);
        free(state);
        free(whole);
        free(part);
        dog_nodes_free(n);
        dog_nodes_free(other);
        folder_clear();
}

/* ---- in the store ------------------------------------------------------------------------------- */

static int count_point(void *context, int64_t t_ns, double value)
{
        (void)t_ns;
        (void)value;
        ++*(size_t *)context;
        return 0;
}

/* F2, O3, I1: what nodes tell is kept, a point a minute, and learned from. */
static void what_nodes_tell_is_kept_and_learned_from(void)
{
        static const enum dog_vital keep[] = {DOG_VITAL_CPU, DOG_VITAL_MEMORY};
        static struct dog_node_log log[2];
        const int64_t begin_ns = INT64_C(1700000040) * DOG_S; /* a whole minute */
        char file[96];
        size_t points = 0;
        struct dog_store *store = NULL;
        struct dog_nodes *n;
        struct dog_err e = {0};
        folder_make();
        snprintf(file, sizeof(file), "%s/store.db", folder);
        NEED(dog_store_open(&(struct dog_store_options){.path = file}, &store, &e) == 0, "%s", e.text);
        for (int node = 0; node < 2; node++) {
                struct dog_rng rng;
                dog_rng_init(&rng, 7 + (uint64_t)node);
                for (int row = 0; row < ROWS; row++) {
                        bool is_down = node == 0 && row >= 5 * DAY && row < 5 * DAY + 30;
                        if (node == 0 && (row == 5 * DAY || row == 5 * DAY + 30))
                                dog_node_log_failed(store, "a", is_down, begin_ns + row * 60 * DOG_S);
                        for (int part = 0; part < 2 && !is_down; part++) {
                                struct dog_vitals v = dog_vitals_unknown();
                                double cpu = (double)made_value(&rng, node, row, 0) / 100;
                                v.value[DOG_VITAL_CPU] = row == 7 ? (double)NAN : cpu + (part ? 0.01 : -0.01);
                                v.value[DOG_VITAL_MEMORY] = row == 7 ? (double)NAN : 0.5;
                                v.value[DOG_VITAL_DISK] = 0.1;
                                dog_node_log_take(&log[node], store, node ? "b" : "a", &v, keep, 2,
                                                  begin_ns + (row * 60 + part * 30) * DOG_S);
                        }
                }
        }
        NEED(dog_store_sync(store, &e) == 0, "%s", e.text);
        OK(dog_store_range(store, "node/b/cpu", 0, INT64_MAX, count_point, &points, &e) == 0 &&
                   points == ROWS - 2,
           "two words a minute are one point: %zu", points);
        OK(dog_store_range(store, "node/b/disk", 0, INT64_MAX, count_point, &points, &e) == -ENOENT,
           "and only of what is kept");
        NEED(dog_node_store_read(&n, store, begin_ns, begin_ns + (int64_t)ROWS * 60 * DOG_S, &e) == 0, "%s",
             e.text);
        NEED(n->count == 2 && n->node[0].metrics == 2 && n->node[1].rows == ROWS - 2, "%u nodes", n->count);
        const struct dog_node_record *a = &n->node[0];
        OK(strcmp(a->metric_name[0], "cpu") == 0 && fabsf(a->value[0] - 0.3F) < 0.1F && a->limit[0] > 0.4F &&
                   isnan(a->limit[1]),
           "with limits from the first quarter: %g", (double)a->limit[0]);
        OK(a->incidents == 1 && a->incident[0].start_s == begin_ns / DOG_S + 5 * DAY * 60 &&
                   a->incident[0].end_s == a->incident[0].start_s + 1800 && n->has_incidents,
           "silence is an incident, from the last answer to the next");
        OK(a->rows == ROWS - 2 - 30, "in which there are no rows: %zu", a->rows);
        struct dog_model *m;
        NEED(dog_nodes_train(n, DOG_NODES_OVERLOAD, 2, 5, &m, &e) == 0, "%s", e.text);
        struct said s = say(n, DOG_NODES_OVERLOAD, m);
        OK(area(&s, 1) > 0.8, "overload within 15 min from the store alone: AUROC %.3f", area(&s, 1));
        free(s.list);
        dog_model_free(m);
        dog_nodes_free(n);
        OK(dog_node_store_read(&n, store, DOG_S, 2 * DOG_S, &e) == -ENODATA && !n && strstr(e.text, "agent"),
           "nothing then: %s", e.text);
        OK(dog_node_store_read(&n, store, 0, 40 * 86400 * DOG_S, &e) == -EINVAL, "too long: %s", e.text);
        dog_store_close(store);
        file_gone("store.db");
        file_gone("store.db-wal");
        file_gone("store.db-shm");
        folder_clear();
}

static void without_incidents_nothing_is_learned_and_everything_predicted(void)
{
        struct dog_nodes *n;
        struct dog_err e = {0};
        struct dog_model *m;
        folder_make();
        made_write(HISTORY + 400, false);
        NEED(dog_nodes_read(&n, folder, &e) == 0, "%s", e.text);
        OK(dog_nodes_train(n, DOG_NODES_FAILURE, 1, 0, &m, &e) == -ENODATA && strstr(e.text, "incidents.csv"),
           "%s", e.text);
        struct said s = say(n, DOG_NODES_FAILURE, NULL);
        OK(s.count == 800 && !s.list[0].has_skill[0] && s.list[0].p[1] > 0 &&
                   s.list[0].label[0] == DOG_LABEL_UNKNOWN,
           "%zu base rates, marked as such", s.count);
        char line[512];
        dog_nodes_csv_header(DOG_NODES_FAILURE, line);
        OK(strcmp(line, "dataset,node,t_s,p5,p15,p60,health\n") == 0, "%s", line);
        OK(dog_nodes_csv_line(&s.list[0], line) > 0 && strncmp(line, "made,a,259200,", 14) == 0, "%s", line);
        free(s.list);
        dog_nodes_free(n);
        folder_clear();
}

int main(void)
{
        return CHECK_RUN(TEST(bad_input_gets_one_sentence_with_its_place),
                         TEST(what_can_be_read_is_read_and_what_cannot_be_used_is_counted),
                         TEST(reading_survives_every_lack_of_memory),
                         TEST(an_outcome_is_what_the_scorer_calls_it),
                         TEST(a_job_at_the_same_time_each_day_is_foreseen_and_the_future_is_not_read),
                         TEST(a_training_of_nodes_goes_on_where_it_was_stopped),
                         TEST(what_nodes_tell_is_kept_and_learned_from),
                         TEST(without_incidents_nothing_is_learned_and_everything_predicted));
}
