/* sundog train of paths. */
#include "ctl/learn_data.h"
#include "ctl/progress.h"
#include "ctl/train.h"
#include "learn/path_train.h"

static void paths_note(const void *of, char *to, size_t room)
{
        dog_path_train_note(of, to, room);
}

int train_paths(struct ctl *ctl, const struct train_args *a)
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
        struct progress bar = progress_begin("training");
        progress_wait(&bar, "reading what was recorded");
        int code = learn_paths_load(&from, &traces);
        if (code == EXIT_FINE)
                progress_wait(&bar, "making features of it");
        if (code == EXIT_FINE && dog_path_train_new(&t, &traces, &o, &e) < 0)
                code = ctl_fail(EXIT_FAILED, "%s: %s", a->data ? a->data : a->store, e.text);
        progress_end(&bar);
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
