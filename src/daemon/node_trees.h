#pragma once
/**
 * The trees that judge instances as nodes: overload and failure (models/node_risk.h). Of each, what stands
 * beside the store as STORE.node.model and STORE.overload.model (sundog train --store, by hand), else what is
 * installed. One that is not fit is told of and the next is tried; none leaves the base rate in its place.
 */
#include "kinds/instance/service.h"
#include "learn/model_file.h"

struct node_trees {
        struct instance_node_trees trees; /**< for instance_service_settings */
        struct dog_model *failure, *overload;
};

/**
 * @param store  its file; NULL: only the installed ones
 * @param note   told what is not used, and why; may be NULL
 */
void node_trees_open(struct node_trees *t, const char *store, void (*note)(void *user, const char *text),
                     void *user);
/** After the service that uses them. */
void node_trees_close(struct node_trees *t);
