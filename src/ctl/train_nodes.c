/* sundog train of nodes and overload. */
#include "ctl/learn_data.h"
#include "ctl/progress.h"
#include "ctl/train.h"

int train_nodes(struct ctl *ctl, const struct train_args *a, int kind)
{
        enum dog_nodes_task task = kind == DOG_MODEL_OVERLOAD ? DOG_NODES_OVERLOAD : DOG_NODES_FAILURE;
        struct learn_source from = {.data = a->data, .store = a->store, .since_ns = a->since_ns};
        struct dog_nodes *nodes = NULL;
        struct dog_nodes_train *t = NULL;
        struct dog_model *model = NULL;
        struct dog_err e = {0};
        struct progress bar = progress_begin("training");
        progress_wait(&bar, "reading what was recorded");
        int code = learn_nodes_load(&from, &nodes);
        progress_end(&bar);
        if (code != EXIT_FINE)
                return code;
        if (dog_nodes_train_new(&t, nodes, task, a->threads, &e) < 0)
                code = ctl_fail(EXIT_FAILED, "%s: %s", a->data ? a->data : a->store, e.text);
        if (code == EXIT_FINE)
                code = train_work(a, dog_nodes_train_jobs(t), NULL, NULL);
        if (code == EXIT_FINE && dog_nodes_train_finish(t, train_made_ns(), &model, &e) < 0)
                code = ctl_fail(EXIT_FAILED, "%s: %s", a->data ? a->data : a->store, e.text);
        if (code == EXIT_FINE)
                code = train_write(ctl, a, model);
        dog_model_free(model);
        dog_nodes_train_free(t);
        dog_nodes_free(nodes);
        return code;
}
