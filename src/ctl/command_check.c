#include "base/units.h"
#include "ctl/command.h"
#include "daemon/config.h"

#include <net/if.h>
#include <string.h>
#include <unistd.h>

struct check_args {
        bool is_effective;
};

const struct option_row option_check[] = {
        {"effective", NULL, OPTION_FLAG, offsetof(struct check_args, is_effective),
         "print it as it is in force, defaults and drop-ins included"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

static json_t *check_vips(const struct dog_config *c, int *missing)
{
        static const char *const protect[] = {"auto", "always", "never", "share"};
        json_t *rows = json_array();
        for (size_t v = 0; v < c->vips; v++)
                for (size_t s = 0; s < c->vip[v].seats; s++) {
                        const struct dog_config_vip *vip = &c->vip[v];
                        const struct dog_config_instance *n = &c->instance[vip->seat[s].instance];
                        bool is_there = if_nametoindex(n->device) > 0;
                        *missing += !is_there;
                        json_array_append_new(rows,
                                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "vip", vip->name,
                                                        "instance", n->name, "device", n->device, "protocol",
                                                        vip->protocol ? "udp" : "tcp", "protect",
                                                        protect[vip->protect], "note",
                                                        is_there ? "" : "there is no such device here"));
                }
        return rows;
}

static json_t *check_feeds(const struct dog_config *c)
{
        static const char *const kind[] = {"calendar", "weather", "events"};
        json_t *rows = json_array();
        for (size_t i = 0; i < c->feeds; i++) {
                const struct dog_config_feed *f = &c->feed[i];
                char affects[400] = "", interval[16], stale[16], lead[16];
                for (size_t k = 0; k < f->affects; k++)
                        snprintf(affects + strlen(affects), sizeof(affects) - strlen(affects), "%s%s",
                                 k ? " " : "", f->affect[k].text);
                json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "feed", f->name,
                                                      "kind", kind[f->kind], "affects", affects, "interval",
                                                      dog_units_time_text(f->interval_ns, interval),
                                                      "stale_after", dog_units_time_text(f->stale_ns, stale),
                                                      "lead", dog_units_time_text(f->lead_ns, lead), "source",
                                                      f->url ? f->url : f->file));
        }
        return rows;
}

/* What the path's radio lacks here and now; it may still come, so it is said and not counted. */
static const char *radio_lacks(const struct dog_config_radio *r)
{
        if (r->source == DOG_CONFIG_RADIO_MODEM && access(r->bus, F_OK) < 0)
                return "its radio: there is no D-Bus at \"bus\"";
        if (r->file && access(r->file, F_OK) < 0)
                return "its radio: the file is not there yet";
        return "";
}

static void check_note(void *user, const char *text)
{
        json_array_append_new(user, json_string(text));
}

/* One table for tunnels, one for vips, then a sentence; as JSON one object. */
static void check_print(const struct ctl *ctl, const struct dog_config *c, const char *file, json_t *tunnels,
                        json_t *vips, json_t *feeds, json_t *notes, int missing)
{
        static const struct out_column feed_column[] = {
                {.key = "feed"},
                {.key = "kind"},
                {.key = "affects"},
                {.key = "interval", .is_right = true},
                {.key = "stale_after", .title = "STALE AFTER", .is_right = true},
                {.key = "lead", .is_right = true},
                {.key = "source"},
                {.key = NULL}};
        static const struct out_column tunnel_column[] = {
                {.key = "tunnel"},  {.key = "path"}, {.key = "device"}, {.key = "role"},
                {.key = "classes"}, {.key = "note"}, {.key = NULL}};
        static const struct out_column vip_column[] = {
                {.key = "vip"},     {.key = "instance"}, {.key = "device"}, {.key = "protocol"},
                {.key = "protect"}, {.key = "note"},     {.key = NULL}};
        const struct out *o = &ctl->out;
        if (o->format != OUT_TABLE && c->vips == 0 && c->feeds == 0) {
                out_rows(o, tunnels, tunnel_column);
                return;
        }
        if (o->format != OUT_TABLE) {
                json_t *all = json_pack("{s:O, s:O, s:O, s:O}", "tunnels", tunnels, "vips", vips, "feeds",
                                        feeds, "notes", notes);
                out_object(o, all);
                json_decref(all);
                return;
        }
        if (c->tunnels || !c->vips)
                out_rows(o, tunnels, tunnel_column);
        if (c->vips)
                out_rows(o, vips, vip_column);
        if (c->feeds)
                out_rows(o, feeds, feed_column);
        size_t i;
        const json_t *note;
        json_array_foreach(notes, i, note) fprintf(o->to, "%s!%s %s\n", out_colour(o, "yellow"),
                                                   out_colour(o, "plain"), json_string_value(note));
        fprintf(o->to, "%s: %zu tunnel%s, %zu class%s, %zu profile%s", file, c->tunnels,
                c->tunnels == 1 ? "" : "s", c->classes, c->classes == 1 ? "" : "es", c->profiles,
                c->profiles == 1 ? "" : "s");
        if (c->vips || c->instances)
                fprintf(o->to, ", %zu vip%s, %zu instance%s", c->vips, c->vips == 1 ? "" : "s", c->instances,
                        c->instances == 1 ? "" : "s");
        if (c->feeds)
                fprintf(o->to, ", %zu feed%s", c->feeds, c->feeds == 1 ? "" : "s");
        fprintf(o->to, ": fine%s\n", missing ? ", but devices are missing" : "");
}

int command_check(struct ctl *ctl, int argc, char **argv)
{
        static const char *const role[] = {"primary", "backup", "never"};
        struct check_args a = {0};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0)
                return EXIT_USAGE;
        struct dog_config *c = NULL;
        struct dog_err e = {0};
        const char *file = words > 0 ? argv[0] : ctl->config;
        if (dog_config_load(file, &c, &e) < 0)
                return ctl_fail(EXIT_CONFIG, "%s", e.text);
        if (a.is_effective) {
                int rc = dog_config_write_effective(c, ctl->out.to);
                dog_config_free(c);
                return rc < 0 ? EXIT_FAILED : EXIT_FINE;
        }
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
                        json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "tunnel",
                                                              tunnel->name, "path", path->name, "device",
                                                              path->device, "role", role[path->role],
                                                              "classes", classes, "note",
                                                              is_there ? radio_lacks(&path->radio)
                                                                       : "there is no such device here"));
                }
        }
        json_t *vips = check_vips(c, &missing);
        json_t *notes = json_array();
        dog_config_notes(c, check_note, notes);
        json_t *feeds = check_feeds(c);
        check_print(ctl, c, file, rows, vips, feeds, notes, missing);
        json_decref(feeds);
        json_decref(rows);
        json_decref(vips);
        json_decref(notes);
        dog_config_free(c);
        return missing ? EXIT_DEGRADED : EXIT_FINE;
}
