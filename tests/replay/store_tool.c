/**
 * store_tool STORE TRACE...: recordings as a daemon would have stored them, one after the other, the last of
 * them ending now; a second pair of words per path and sample: round trip and loss.
 */
#include "base/clock.h"
#include "store/store.h"
#include "wire/trace.h"

#include <stdio.h>

static int64_t trace_put(struct dog_store *store, const char *file, int64_t from_ns, struct dog_err *e)
{
        struct dog_trace *t;
        struct dog_trace_row row;
        int64_t last_ns = from_ns;
        if (dog_trace_open(&t, file, e) < 0)
                return -1;
        while (dog_trace_next(t, &row, e) > 0) {
                char name[128];
                last_ns = from_ns + row.t_ms * DOG_MS;
                if (row.has_rtt) {
                        snprintf(name, sizeof(name), "path/home/%s/rtt_ms", dog_trace_path_name(t, row.path));
                        dog_store_sample(store, dog_store_series(store, name), last_ns, row.rtt_ms);
                }
                snprintf(name, sizeof(name), "path/home/%s/loss", dog_trace_path_name(t, row.path));
                dog_store_sample(store, dog_store_series(store, name), last_ns, row.has_loss ? row.loss : 0);
        }
        dog_trace_close(t);
        return last_ns;
}

int main(int argc, char **argv)
{
        struct dog_store_options o = {.path = argc > 1 ? argv[1] : ""};
        struct dog_store *store;
        struct dog_err e = {0};
        /* Half a minute each, and a pause between them. */
        int64_t at_ns = dog_clock_wall_ns() - (int64_t)argc * 60 * DOG_S;
        if (argc < 3 || dog_store_open(&o, &store, &e) < 0) {
                fprintf(stderr, "store_tool: %s\n", argc < 3 ? "usage: store_tool STORE TRACE..." : e.text);
                return 2;
        }
        for (int i = 2; i < argc && at_ns >= 0; i++)
                at_ns = trace_put(store, argv[i], at_ns, &e) < 0 ? -1 : at_ns + 60 * DOG_S;
        int rc = dog_store_sync(store, &e);
        dog_store_close(store);
        if (rc < 0 || at_ns < 0)
                fprintf(stderr, "store_tool: %s\n", e.text);
        return rc < 0 || at_ns < 0;
}
