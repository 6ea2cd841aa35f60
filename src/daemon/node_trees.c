#include "daemon/node_trees.h"

#include "daemon/trees.h"
#include "learn/nodes.h"

#include <limits.h>
#include <stdio.h>

static struct dog_model *node_trees_read(const char *name, enum dog_nodes_task task,
                                         struct dog_node_shape *shape, void (*note)(void *, const char *),
                                         void *user)
{
        char file[PATH_MAX], text[600];
        struct dog_err e = {0};
        struct dog_model *m = NULL;
        trees_installed(name, file, sizeof(file));
        if (!file[0])
                return NULL;
        int rc = dog_model_read(&m, file, &e);
        if (rc == 0)
                rc = dog_nodes_serve(m, task, shape, &e);
        if (rc == 0)
                return m;
        snprintf(text, sizeof(text), "trees for instances are not used: %s", e.text);
        if (note)
                note(user, text);
        dog_model_free(m);
        return NULL;
}

void node_trees_open(struct node_trees *t, void (*note)(void *user, const char *text), void *user)
{
        *t = (struct node_trees){0};
        t->failure = node_trees_read("node.model", DOG_NODES_FAILURE, t->trees.failure_shape, note, user);
        t->overload =
                node_trees_read("overload.model", DOG_NODES_OVERLOAD, t->trees.overload_shape, note, user);
        t->trees.failure = t->failure ? t->failure->trees : NULL;
        t->trees.overload = t->overload ? t->overload->trees : NULL;
}

void node_trees_close(struct node_trees *t)
{
        dog_model_free(t->failure);
        dog_model_free(t->overload);
        *t = (struct node_trees){0};
}
