#include "ctl/command.h"
#include "daemon/config.h"

#include <net/if.h>
#include <string.h>

int command_check(struct ctl *ctl, int argc, char **argv)
{
        static const struct out_column column[] = {{.key = "tunnel"}, {.key = "path"},    {.key = "device"},
                                                   {.key = "role"},   {.key = "classes"}, {.key = "note"},
                                                   {.key = NULL}};
        static const char *const role[] = {"primary", "backup", "never"};
        int words = options_take(ctl, NULL, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        struct dog_config *c = NULL;
        struct dog_err e = {0};
        const char *file = words > 0 ? argv[0] : ctl->config;
        if (dog_config_load(file, &c, &e) < 0)
                return ctl_fail(EXIT_CONFIG, "%s", e.text);
        json_t *rows = json_array();
        int missing = 0;
        for (size_t t = 0; t < c->tunnels; t++) {
                const struct dog_config_tunnel *tunnel = &c->tunnel[t];
                int classes = 0;
                for (size_t k = 0; k < c->classes; k++)
                        classes += !c->class[k].tunnel || strcmp(c->class[k].tunnel, tunnel->name) == 0;
                for (size_t p = 0; p < tunnel->paths; p++) {
                        const struct dog_config_path *path = &tunnel->path[p];
                        bool is_there = if_nametoindex(path->device) > 0;
                        missing += !is_there;
                        json_array_append_new(
                                rows, json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "tunnel", tunnel->name,
                                                "path", path->name, "device", path->device, "role",
                                                role[path->role], "classes", classes, "note",
                                                is_there ? "" : "there is no such device here"));
                }
        }
        out_rows(&ctl->out, rows, column);
        json_decref(rows);
        if (ctl->out.format == OUT_TABLE)
                fprintf(ctl->out.to, "%s: %zu tunnel%s, %zu class%s, %zu profile%s: fine%s\n", file,
                        c->tunnels, c->tunnels == 1 ? "" : "s", c->classes, c->classes == 1 ? "" : "es",
                        c->profiles, c->profiles == 1 ? "" : "s", missing ? ", but devices are missing" : "");
        dog_config_free(c);
        return missing ? EXIT_DEGRADED : EXIT_FINE;
}
