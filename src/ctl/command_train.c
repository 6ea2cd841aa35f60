/* sundog train: a model file from recorded telemetry. No daemon, no root, no configuration. */
#include "base/clock.h"
#include "ctl/command.h"
#include "ctl/learn_data.h"
#include "ctl/progress.h"
#include "ctl/train.h"
#include "learn/path_train.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct option_row option_train[] = {
        {"kind", "KIND", OPTION_TEXT, offsetof(struct train_args, kind), "path, node or overload (path)"},
        {"data", "DIR", OPTION_TEXT, offsetof(struct train_args, data), "folder of recorded telemetry"},
        {"store", "FILE", OPTION_TEXT, offsetof(struct train_args, store),
         "the daemon's own telemetry instead: its store, or the folder it is in"},
        {"since", "TIME", OPTION_TIME, offsetof(struct train_args, since_ns),
         "of the store, the last TIME (7d)"},
        {"family", "NAME", OPTION_TEXT, offsetof(struct train_args, family),
         "only this family of traces, or these: several with commas (path)"},
        {"out", "MODEL", OPTION_TEXT, offsetof(struct train_args, out), "the model file to write"},
        {"threads", "N", OPTION_COUNT, offsetof(struct train_args, threads),
         "at work at once; the result does not depend on it (2)"},
        {"folds", "N", OPTION_COUNT, offsetof(struct train_args, folds),
         "parts of the data, whole days, for the model's own examination, 0: none (4; path)"},
        {"effort", "N", OPTION_NUMBER, offsetof(struct train_args, effort),
         "rounds of training, as a multiple of the recipe's (1; path)"},
        {"seed", "N", OPTION_COUNT, offsetof(struct train_args, seed), "of the random draws (1; path)"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* ---- being stopped ---- */

static volatile sig_atomic_t train_stop;

static void train_stopped(int signal)
{
        (void)signal;
        train_stop = 1;
}

static void train_listen(void)
{
        struct sigaction act = {.sa_handler = train_stopped, .sa_flags = (int)SA_RESETHAND};
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGTERM, &act, NULL);
}

/* ---- the state of a training that was stopped ---- */

/* A state may hold every model of every fold. */
enum { PART_MOST = 1 << 30 };
#define PART_NS (60 * DOG_S)

struct part {
        char name[4096];
        int64_t saved_ns;
};

static int part_take(const struct part *p, struct dog_gbt_jobs *jobs)
{
        struct stat there;
        uint8_t *bytes = NULL;
        size_t size = 0;
        struct dog_err e = {0};
        if (stat(p->name, &there) < 0)
                return EXIT_FINE;
        int rc = dog_file_take(p->name, PART_MOST, &bytes, &size, &e);
        if (rc == 0)
                rc = dog_gbt_jobs_resume(jobs, bytes, size, &e);
        free(bytes);
        if (rc < 0)
                return ctl_fail(EXIT_FAILED, "%s: cannot go on from here: %s; delete it to begin anew",
                                p->name, e.text);
        struct dog_gbt_jobs_progress now = dog_gbt_jobs_progress(jobs);
        fprintf(stderr, "sundog: going on from %s, at %u of %u rounds\n", p->name, now.done, now.of);
        return EXIT_FINE;
}

static int part_save(struct part *p, const struct dog_gbt_jobs *jobs)
{
        uint8_t *bytes = NULL;
        size_t size = 0;
        struct dog_err e = {0};
        int rc = dog_gbt_jobs_save(jobs, &bytes, &size, &e);
        if (rc == 0)
                rc = dog_file_replace(p->name, bytes, size, &e);
        free(bytes);
        p->saved_ns = dog_clock_mono_ns();
        return rc < 0 ? ctl_fail(EXIT_FAILED, "%s", e.text) : EXIT_FINE;
}

/* Until it is done, or somebody wants it to stop. A power cut or kill -9 costs a minute. */
static int part_work(struct part *part, struct dog_gbt_jobs *jobs, train_note_fn *note, const void *of)
{
        struct progress bar = progress_begin("training");
        struct dog_err e = {0};
        int rc = 1;
        int code = EXIT_FINE;
        part->saved_ns = dog_clock_mono_ns();
        while (rc > 0 && !train_stop && code == EXIT_FINE) {
                char words[96] = "";
                struct dog_gbt_jobs_progress now = dog_gbt_jobs_progress(jobs);
                if (note)
                        note(of, words, sizeof(words));
                rc = dog_gbt_jobs_step(jobs, &e);
                progress_show(&bar, now.done, now.of, note ? words : NULL);
                if (rc > 0 && dog_clock_mono_ns() - part->saved_ns > PART_NS)
                        code = part_save(part, jobs);
        }
        progress_end(&bar);
        if (rc < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        if (rc == 0 || code != EXIT_FINE)
                return code;
        struct dog_gbt_jobs_progress now = dog_gbt_jobs_progress(jobs);
        code = part_save(part, jobs);
        if (code != EXIT_FINE)
                return code;
        return ctl_fail(
                EXIT_FAILED,
                "stopped at %u of %u rounds; %s holds what was done: the same command goes on from there, "
                "delete the file to begin anew",
                now.done, now.of, part->name);
}

int train_work(const struct train_args *a, struct dog_gbt_jobs *jobs, train_note_fn *note, const void *of)
{
        struct part part;
        snprintf(part.name, sizeof(part.name), "%s.part", a->out);
        int code = part_take(&part, jobs);
        return code == EXIT_FINE ? part_work(&part, jobs, note, of) : code;
}

/* ---- paths ---- */

static void paths_note(const void *of, char *to, size_t room)
{
        dog_path_train_note(of, to, room);
}

static int train_paths(struct ctl *ctl, const struct train_args *a)
{
        struct dog_path_traces traces = {0};
        struct dog_path_train *t = NULL;
        struct dog_model *model = NULL;
        struct dog_err e = {0};
        struct dog_path_train_options o = dog_path_train_default();
        o.threads = a->threads;
        o.folds = a->folds;
        o.effort = a->effort;
        o.seed = a->seed;
        struct learn_source from = {
                .data = a->data, .store = a->store, .since_ns = a->since_ns, .family = a->family};
        int code = learn_paths_load(&from, &traces);
        if (code != EXIT_FINE)
                return code;
        if (dog_path_train_new(&t, &traces, &o, &e) < 0)
                code = ctl_fail(EXIT_FAILED, "%s: %s", a->data ? a->data : a->store, e.text);
        if (code == EXIT_FINE)
                code = train_work(a, dog_path_train_jobs(t), paths_note, t);
        if (code == EXIT_FINE && dog_path_train_finish(t, train_made_ns(), &model, &e) < 0)
                code = ctl_fail(EXIT_FAILED, "%s", e.text);
        if (code == EXIT_FINE)
                code = train_write(ctl, a, model);
        dog_model_free(model);
        dog_path_train_free(t);
        dog_path_traces_free(&traces);
        return code;
}

/* ---- the file, and what it says of itself ---- */

/* Who builds reproducibly says what time it is: reproducible-builds.org, SOURCE_DATE_EPOCH. */
int64_t train_made_ns(void)
{
        const char *said = getenv("SOURCE_DATE_EPOCH");
        char *end = NULL;
        long long s = said ? strtoll(said, &end, 10) : 0;
        return said && *said && !*end && s >= 0 && s < INT64_MAX / DOG_S ? s * DOG_S : dog_clock_wall_ns();
}

int train_write(struct ctl *ctl, const struct train_args *a, const struct dog_model *model)
{
        static const struct out_column column[] = {
                {.key = "score"}, {.key = "value", .digits = 4, .is_right = true}, {.key = NULL}};
        const struct out *o = &ctl->out;
        struct dog_err e = {0};
        char fingerprint[24];
        char part[4096];
        if (dog_model_write(model, a->out, &e) < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        snprintf(fingerprint, sizeof(fingerprint), "%016llx", (unsigned long long)model->data_fingerprint);
        json_t *scores = json_array();
        for (unsigned i = 0; i < model->scores; i++)
                json_array_append_new(scores, json_pack("{s:s, s:o}", "score", model->score[i].name, "value",
                                                        isfinite(model->score[i].value)
                                                                ? json_real(model->score[i].value)
                                                                : json_null()));
        if (o->format == OUT_JSON) {
                json_t *all =
                        json_pack("{s:s, s:s, s:I, s:s, s:O}", "model", a->out, "kind",
                                  dog_model_kind_name(model->kind), "rows", (json_int_t)model->data_rows,
                                  "fingerprint", fingerprint, "scores", scores);
                out_object(o, all);
                json_decref(all);
        } else {
                out_rows(o, scores, column);
        }
        if (o->format == OUT_TABLE)
                fprintf(o->to, "%s: %llu samples, fingerprint of the data %s\n%s", a->out,
                        (unsigned long long)model->data_rows, fingerprint,
                        model->scores ? "The scores are those of cross-validation: on days (nodes) that were "
                                        "left out.\n"
                                      : "It was not examined: without parts to leave out (--folds, or a "
                                        "second trace) nobody can tell.\n");
        json_decref(scores);
        /* It is in the model now. */
        snprintf(part, sizeof(part), "%s.part", a->out);
        unlink(part);
        return EXIT_FINE;
}

/* Hours of work should not end in a folder that is not there. */
static int out_check(const char *out)
{
        char folder[4096];
        struct stat what;
        if (stat(out, &what) == 0 && !S_ISREG(what.st_mode))
                return ctl_fail(EXIT_FAILED, "cannot write the model to %s: it is not a plain file", out);
        snprintf(folder, sizeof(folder), "%s", out);
        char *slash = strrchr(folder, '/');
        if (slash)
                slash[slash == folder] = 0;
        else
                snprintf(folder, sizeof(folder), ".");
        if (stat(folder, &what) < 0 || access(folder, W_OK | X_OK) < 0)
                return ctl_fail(EXIT_FAILED, "cannot write the model to %s: folder %s: %s", out, folder,
                                strerror(errno));
        if (!S_ISDIR(what.st_mode))
                return ctl_fail(EXIT_FAILED, "cannot write the model to %s: %s is no folder", out, folder);
        return EXIT_FINE;
}

int command_train(struct ctl *ctl, int argc, char **argv)
{
        struct train_args a = {.kind = "path",
                               .since_ns = 7 * 24 * 3600 * DOG_S,
                               .threads = 2,
                               .folds = 4,
                               .effort = 1,
                               .seed = 1};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        if (words > 0)
                return ctl_fail(EXIT_USAGE, "train takes no words (\"%s\"): give the folder with --data",
                                argv[0]);
        int kind = dog_model_kind_of(a.kind);
        if (kind < 0)
                return ctl_fail(EXIT_USAGE, "--kind %s: write path, node or overload", a.kind);
        if (!a.out)
                return ctl_fail(EXIT_USAGE, "where should the model go? Name a file with --out");
        if (!a.data == !a.store)
                return ctl_fail(EXIT_USAGE,
                                "learn from what? Give a folder with --data, or the daemon's --store%s",
                                a.data ? ", not both" : "");
        if (a.threads < 1 || a.threads > 16)
                return ctl_fail(EXIT_USAGE, "--threads is from 1 to 16");
        if (a.folds > 8 || !(a.effort > 0 && a.effort <= 10) || a.since_ns <= 0)
                return ctl_fail(EXIT_USAGE,
                                "--folds is from 0 to 8, --effort above 0 and at most 10, --since above 0");
        bool is_plain = !a.family && a.folds == 4 && a.seed == 1 && a.effort >= 1 && a.effort <= 1;
        if (kind != DOG_MODEL_PATH && !is_plain)
                return ctl_fail(EXIT_USAGE, "--family, --folds, --effort and --seed are for --kind path");
        int code = out_check(a.out);
        if (code != EXIT_FINE)
                return code;
        train_listen();
        return kind == DOG_MODEL_PATH ? train_paths(ctl, &a) : train_nodes(ctl, &a, kind);
}
