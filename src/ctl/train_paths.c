/* sundog train of paths: resumable. */
#include "base/clock.h"
#include "ctl/learn_data.h"
#include "ctl/progress.h"
#include "ctl/train.h"
#include "learn/path_train.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the state of a training that was stopped ---- */

/* A state may hold every model of every fold. */
enum { PART_MOST = 1 << 30 };
#define PART_NS (60 * DOG_S)

struct part {
        char name[4096];
        int64_t saved_ns;
};

static int part_take(const struct part *p, struct dog_path_train *t)
{
        struct stat there;
        uint8_t *bytes = NULL;
        size_t size = 0;
        struct dog_err e = {0};
        if (stat(p->name, &there) < 0)
                return EXIT_FINE;
        int rc = dog_file_take(p->name, PART_MOST, &bytes, &size, &e);
        if (rc == 0)
                rc = dog_path_train_resume(t, bytes, size, &e);
        free(bytes);
        if (rc < 0)
                return ctl_fail(EXIT_FAILED, "%s: cannot go on from here: %s; delete it to begin anew",
                                p->name, e.text);
        struct dog_path_train_progress now = dog_path_train_progress(t);
        fprintf(stderr, "sundog: going on from %s, at %u of %u rounds\n", p->name, now.done, now.of);
        return EXIT_FINE;
}

static int part_save(struct part *p, const struct dog_path_train *t)
{
        uint8_t *bytes = NULL;
        size_t size = 0;
        struct dog_err e = {0};
        int rc = dog_path_train_save(t, &bytes, &size, &e);
        if (rc == 0)
                rc = dog_file_replace(p->name, bytes, size, &e);
        free(bytes);
        p->saved_ns = dog_clock_mono_ns();
        return rc < 0 ? ctl_fail(EXIT_FAILED, "%s", e.text) : EXIT_FINE;
}

/* ---- paths ---- */

static int paths_rounds(struct dog_path_train *t, unsigned folds, struct part *part, struct progress *bar)
{
        struct dog_err e = {0};
        int rc = 1;
        int code = EXIT_FINE;
        part->saved_ns = dog_clock_mono_ns();
        progress_wait(bar, "beginning");
        while (rc > 0 && !train_is_stopped() && code == EXIT_FINE) {
                char note[96];
                struct dog_path_train_progress now = dog_path_train_progress(t);
                rc = dog_path_train_step(t, &e);
                if (now.fold >= 0)
                        snprintf(note, sizeof(note), "examination %d of %u: %s %s", now.fold + 1, folds,
                                 now.regime, now.target);
                else
                        snprintf(note, sizeof(note), "the model: %s %s", now.regime, now.target);
                progress_show(bar, now.done, now.of, note);
                /* A power cut or kill -9 costs a minute. */
                if (rc > 0 && dog_clock_mono_ns() - part->saved_ns > PART_NS)
                        code = part_save(part, t);
        }
        progress_end(bar);
        if (rc < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        if (rc == 0 || code != EXIT_FINE)
                return code;
        struct dog_path_train_progress now = dog_path_train_progress(t);
        code = part_save(part, t);
        if (code != EXIT_FINE)
                return code;
        return ctl_fail(
                EXIT_FAILED,
                "stopped at %u of %u rounds; %s holds what was done: the same command goes on from there, "
                "delete the file to begin anew",
                now.done, now.of, part->name);
}

static int paths_load(const struct train_args *a, struct dog_path_traces *traces)
{
        const char *only[33] = {NULL};
        char list[1024];
        char *save = NULL;
        int count = 0;
        struct learn_source s = {.data = a->data, .store = a->store, .since_ns = a->since_ns};
        if (!a->family || !a->data)
                return learn_paths_load(&s, traces);
        struct dog_err e = {0};
        snprintf(list, sizeof(list), "%s", a->family);
        for (char *f = strtok_r(list, ",", &save); f && count < 32; f = strtok_r(NULL, ",", &save))
                only[count++] = f;
        if (dog_path_traces_load(traces, a->data, only, &e) < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        return EXIT_FINE;
}

int train_paths(struct ctl *ctl, const struct train_args *a)
{
        struct dog_path_traces traces = {0};
        struct dog_path_train *t = NULL;
        struct dog_model *model = NULL;
        struct dog_err e = {0};
        struct part part;
        struct dog_path_train_options o = dog_path_train_default();
        o.threads = a->threads;
        o.folds = a->folds;
        o.effort = a->effort;
        o.seed = a->seed;
        snprintf(part.name, sizeof(part.name), "%s.part", a->out);
        struct progress bar = progress_begin("training");
        progress_wait(&bar, "reading what was recorded");
        int code = paths_load(a, &traces);
        if (code == EXIT_FINE)
                progress_wait(&bar, "making features of it");
        if (code == EXIT_FINE && dog_path_train_new(&t, &traces, &o, &e) < 0)
                code = ctl_fail(EXIT_FAILED, "%s: %s", a->data ? a->data : a->store, e.text);
        progress_end(&bar);
        if (code == EXIT_FINE)
                code = part_take(&part, t);
        if (code == EXIT_FINE)
                code = paths_rounds(t, a->folds, &part, &bar);
        if (code == EXIT_FINE && dog_path_train_finish(t, train_made_ns(), &model, &e) < 0)
                code = ctl_fail(EXIT_FAILED, "%s", e.text);
        if (code == EXIT_FINE)
                code = train_write(ctl, a, model);
        if (code == EXIT_FINE)
                unlink(part.name);
        dog_model_free(model);
        dog_path_train_free(t);
        dog_path_traces_free(&traces);
        return code;
}
