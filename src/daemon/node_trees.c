#include "daemon/node_trees.h"

#include "daemon/trees.h"
#include "learn/nodes.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static struct dog_model *node_trees_file(const char *file, enum dog_nodes_task task,
                                         struct dog_node_shape *shape, void (*note)(void *, const char *),
                                         void *user)
{
        char text[600];
        struct dog_err e = {0};
        struct dog_model *m = NULL;
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

/* What was trained here goes before what was installed. */
static struct dog_model *node_trees_read(const char *store, const char *name, enum dog_nodes_task task,
                                         struct dog_node_shape *shape, void (*note)(void *, const char *),
                                         void *user)
{
        char file[PATH_MAX];
        struct dog_model *m = NULL;
        if (store && snprintf(file, sizeof(file), "%s.%s", store, name) < (int)sizeof(file) &&
            access(file, F_OK) == 0)
                m = node_trees_file(file, task, shape, note, user);
        if (m)
                return m;
        trees_installed(name, file, sizeof(file));
        return file[0] ? node_trees_file(file, task, shape, note, user) : NULL;
}

void node_trees_open(struct node_trees *t, const char *store, void (*note)(void *user, const char *text),
                     void *user)
{
        *t = (struct node_trees){0};
        t->failure =
                node_trees_read(store, "node.model", DOG_NODES_FAILURE, t->trees.failure_shape, note, user);
        t->overload = node_trees_read(store, "overload.model", DOG_NODES_OVERLOAD, t->trees.overload_shape,
                                      note, user);
        t->trees.failure = t->failure ? t->failure->trees : NULL;
        t->trees.overload = t->overload ? t->overload->trees : NULL;
}

void node_trees_close(struct node_trees *t)
{
        dog_model_free(t->failure);
        dog_model_free(t->overload);
        *t = (struct node_trees){0};
}
