/* sundog train of nodes and overload. */
#include "ctl/progress.h"
#include "ctl/train.h"
#include "learn/nodes.h"

#include <errno.h>

static bool nodes_watch(void *data, unsigned done, unsigned of)
{
        progress_show(data, done, of, NULL);
        return !train_is_stopped();
}

int train_nodes(struct ctl *ctl, const struct train_args *a, int kind)
{
        enum dog_nodes_task task = kind == DOG_MODEL_OVERLOAD ? DOG_NODES_OVERLOAD : DOG_NODES_FAILURE;
        struct dog_nodes *nodes = NULL;
        struct dog_model *model = NULL;
        struct dog_err e = {0};
        struct progress bar = progress_begin("training");
        progress_wait(&bar, "reading what was recorded");
        int read = dog_nodes_read(&nodes, a->data, &e);
        progress_end(&bar);
        if (read < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        int rc = dog_nodes_train(nodes, task, a->threads, train_made_ns(), nodes_watch, &bar, &model, &e);
        progress_end(&bar);
        int code = EXIT_FINE;
        if (rc == -ECANCELED)
                code = ctl_fail(
                        EXIT_FAILED,
                        "stopped; nothing was written, and the training of nodes begins anew next time");
        else if (rc < 0)
                code = ctl_fail(EXIT_FAILED, "%s: %s", a->data, e.text);
        if (code == EXIT_FINE)
                code = train_write(ctl, a, model);
        dog_model_free(model);
        dog_nodes_free(nodes);
        return code;
}
