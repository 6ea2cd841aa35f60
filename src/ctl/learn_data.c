#include "ctl/learn_data.h"

#include "base/clock.h"
#include "learn/node_store.h"
#include "learn/path_store.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Rows of 200 features: 400 MB of them. */
#define SAMPLES_MOST 500000L
enum { FAMILIES = 32 };

/* `store` is its file, or the folder that holds it. */
static int store_open(const char *store, struct dog_store **to, struct dog_err *e)
{
        char file[4096];
        struct stat what;
        snprintf(file, sizeof(file), "%s", store);
        if (stat(file, &what) == 0 && S_ISDIR(what.st_mode))
                snprintf(file, sizeof(file), "%s/store.db", store);
        struct dog_store_options o = {.path = file, .read_only = true};
        return dog_store_open(&o, to, e);
}

static int store_load(const struct learn_source *s, struct dog_path_traces *to, struct dog_err *e)
{
        struct dog_store *store = NULL;
        int64_t now_ns = dog_clock_wall_ns();
        int rc = store_open(s->store, &store, e);
        if (rc < 0)
                return rc;
        rc = dog_path_store_traces(to, store, NULL, 0, now_ns - s->since_ns, now_ns, SAMPLES_MOST, e);
        dog_store_close(store);
        return rc < 0 ? dog_err_prefix(e, rc, "%s", s->store) : 0;
}

int learn_paths_load(const struct learn_source *s, struct dog_path_traces *to)
{
        const char *only[FAMILIES + 1] = {NULL};
        char list[1024];
        char *save = NULL;
        int count = 0;
        struct dog_err e = {0};
        snprintf(list, sizeof(list), "%s", s->family ? s->family : "");
        for (char *f = strtok_r(list, ",", &save); f && count < FAMILIES; f = strtok_r(NULL, ",", &save))
                only[count++] = f;
        int rc = s->data ? dog_path_traces_load(to, s->data, count ? only : NULL, &e) : store_load(s, to, &e);
        return rc < 0 ? ctl_fail(EXIT_FAILED, "%s", e.text) : EXIT_FINE;
}

int learn_nodes_load(const struct learn_source *s, struct dog_nodes **to)
{
        struct dog_store *store = NULL;
        int64_t now_ns = dog_clock_wall_ns();
        struct dog_err e = {0};
        *to = NULL;
        int rc = s->data ? dog_nodes_read(to, s->data, &e) : store_open(s->store, &store, &e);
        if (rc == 0 && store) {
                rc = dog_node_store_read(to, store, now_ns - s->since_ns, now_ns, &e);
                if (rc < 0)
                        dog_err_prefix(&e, rc, "%s", s->store);
                dog_store_close(store);
        }
        return rc < 0 ? ctl_fail(EXIT_FAILED, "%s", e.text) : EXIT_FINE;
}
