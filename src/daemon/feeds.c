#include "daemon/feeds.h"

#include "base/clock.h"
#include "base/log.h"
#include "sources/feed_fetch.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FEEDS_AT_ONCE = 64 }; /* messages in one turn of the loop: probes are waiting */

/* A path or an instance, and which names of which feeds it rests on. */
struct feeds_subject {
        const char *name;
        uint32_t names[DOG_FEEDS_MAX];
};

struct feeds {
        const struct dog_config *config;
        struct dog_feed_settings settings[DOG_FEEDS_MAX];
        const char **affects[DOG_FEEDS_MAX];
        unsigned n;
        int fd; /* to the process that fetches; -1: it is gone */
        struct dog_feeds *feeds;
        struct feeds_subject *path; /* PATH_SLOTS a tunnel */
        struct feeds_subject *instance;
        uv_poll_t poll;
        uv_timer_t timer;
        bool is_open;
        void (*tell)(void *user, const char *feed, bool is_warning, const char *text);
        void *user;
};

enum { PATH_SLOTS = 4 };

/* ---- from the configuration ---- */

static void feeds_plan_map(const struct dog_config_feed *from, struct dog_feed_map *map)
{
        enum dog_feed_measure usual = from->kind == DOG_CONFIG_EVENTS ? DOG_FEED_ATTENDANCE : DOG_FEED_RAIN;
        enum dog_feed_measure measure = from->measure >= 0 ? (enum dog_feed_measure)from->measure : usual;
        bool is_usual = from->measure < 0;
        dog_feed_map_of((enum dog_feed_format)from->format, measure, map);
        map->entries = from->map.entries ? from->map.entries : map->entries;
        map->start = from->map.start ? from->map.start : map->start;
        map->end = from->map.end ? from->map.end : map->end;
        map->value = from->map.value ? from->map.value : map->value;
        map->where = from->map.place ? from->map.place : map->where;
        map->words = from->map.words ? from->map.words : map->words;
        /* In somebody else's form, who says no number says nothing. */
        if (from->map.value)
                map->risk = NULL;
        /* A number that nobody named has no words of its own. */
        if (from->map.value && is_usual)
                map->say = NULL;
        map->from = from->from >= 0 ? from->from : map->from;
        map->full = from->full >= 0 ? from->full : map->full;
        if (map->full <= map->from)
                map->full = map->from + fmax(map->from, 1);
}

int feeds_plan(const struct dog_config_feed *from, struct dog_feed_settings *to, const char ***affects)
{
        static const float adds[] = {
                [DOG_CONFIG_CALENDAR] = 8, [DOG_CONFIG_WEATHER] = 2, [DOG_CONFIG_EVENTS] = 1};
        *affects = calloc(from->affects, sizeof(**affects));
        if (!*affects)
                return -ENOMEM;
        for (size_t i = 0; i < from->affects; i++)
                (*affects)[i] = from->affect[i].text;
        *to = (struct dog_feed_settings){.name = from->name,
                                         .kind = (enum dog_feed_kind)from->kind,
                                         .url = from->url,
                                         .file = from->file,
                                         .interval_ns = from->interval_ns,
                                         .stale_ns = from->stale_ns,
                                         .timeout_ns = from->timeout_ns,
                                         .lead_ns = from->lead_ns,
                                         .max_bytes = from->max_bytes,
                                         .redirects = (unsigned)from->redirects,
                                         .log_odds = from->times > 0   ? (float)log(from->times)
                                                     : from->adds >= 0 ? (float)from->adds
                                                                       : adds[from->kind],
                                         .zone = from->timezone,
                                         .match = from->match,
                                         .contact = from->contact,
                                         .affects = *affects,
                                         .affected = (unsigned)from->affects};
        if (from->kind != DOG_CONFIG_CALENDAR)
                feeds_plan_map(from, &to->map);
        return 0;
}

static void feeds_subject_of(const struct feeds *f, struct feeds_subject *s, const char *const *name,
                             size_t names)
{
        s->name = name[0];
        for (unsigned i = 0; i < f->n; i++)
                s->names[i] = dog_feeds_names(f->feeds, i, name, names);
}

static int subject_order(const void *a, const void *b)
{
        return strcmp(((const struct feeds_subject *)a)->name, ((const struct feeds_subject *)b)->name);
}

static int feeds_subjects(struct feeds *f)
{
        const struct dog_config *c = f->config;
        f->path = calloc(c->tunnels * PATH_SLOTS + 1, sizeof(*f->path));
        f->instance = calloc(c->instances + 1, sizeof(*f->instance));
        if (!f->path || !f->instance)
                return -ENOMEM;
        for (size_t t = 0; t < c->tunnels; t++)
                for (size_t p = 0; p < c->tunnel[t].paths && p < PATH_SLOTS; p++) {
                        const char *name[] = {c->tunnel[t].path[p].name, c->tunnel[t].name};
                        feeds_subject_of(f, &f->path[t * PATH_SLOTS + p], name, 2);
                }
        for (size_t i = 0; i < c->instances; i++) {
                const struct dog_config_instance *n = &c->instance[i];
                const char *name[1 + DOG_FATES_MAX] = {n->name};
                size_t names = 1;
                for (size_t k = 0; k < n->fates && k < DOG_FATES_MAX; k++)
                        name[names++] = n->fate[k].text;
                feeds_subject_of(f, &f->instance[i], name, names);
        }
        qsort(f->instance, c->instances, sizeof(*f->instance), subject_order);
        return 0;
}

/* ---- what happens ---- */

static void feeds_news(void *user, unsigned feed, enum dog_feed_news what, const char *text)
{
        struct feeds *f = user;
        f->tell(f->user, f->settings[feed].name, what != DOG_FEED_READ, text);
}

static void feeds_timer(uv_timer_t *timer);

static void feeds_lost(struct feeds *f)
{
        uv_poll_stop(&f->poll);
        close(f->fd);
        f->fd = -1;
        dog_feeds_lost(f->feeds, dog_clock_mono_ns());
}

/* Ask for what is due, and come back for the rest. */
static void feeds_turn(struct feeds *f)
{
        struct dog_feed_request request;
        int64_t now_ns = dog_clock_mono_ns();
        int64_t due_ns;
        while (dog_feeds_next(f->feeds, now_ns, &request, &due_ns))
                if (f->fd >= 0 && send(f->fd, &request, sizeof(request), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
                        feeds_lost(f);
        int64_t wait_ms = (due_ns - now_ns) / DOG_MS + 1;
        uv_timer_start(&f->timer, feeds_timer, (uint64_t)(wait_ms > 1 ? wait_ms : 1), 0);
}

static void feeds_timer(uv_timer_t *timer)
{
        feeds_turn(timer->data);
}

static void feeds_readable(uv_poll_t *poll, int status, int events)
{
        struct feeds *f = poll->data;
        static struct dog_feed_packet packet;
        (void)status, (void)events;
        for (int i = 0; i < FEEDS_AT_ONCE; i++) {
                ssize_t got = recv(f->fd, &packet, sizeof(packet), MSG_DONTWAIT);
                if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
                        feeds_lost(f);
                        break;
                }
                if (got < 0)
                        break;
                dog_feeds_take(f->feeds, &packet, (size_t)got, dog_clock_mono_ns());
        }
        feeds_turn(f);
}

/* ---- life ---- */

int feeds_start(struct feeds **to, const struct dog_config *config, struct dog_err *e)
{
        *to = NULL;
        if (config->feeds == 0)
                return 0;
        struct feeds *f = calloc(1, sizeof(*f));
        if (!f)
                return dog_err_set(e, -ENOMEM, "feeds: out of memory");
        f->config = config;
        f->fd = -1;
        int rc = 0;
        for (size_t i = 0; i < config->feeds && i < DOG_FEEDS_MAX && rc == 0; i++, f->n++)
                rc = feeds_plan(&config->feed[i], &f->settings[i], &f->affects[i]);
        rc = rc < 0 ? dog_err_set(e, rc, "feeds: out of memory")
                    : dog_feed_fetcher_start(f->settings, f->n, &f->fd, e);
        if (rc < 0)
                feeds_free(f);
        else
                *to = f;
        return rc;
}

int feeds_open(struct feeds *f, uv_loop_t *uv,
               void (*tell)(void *user, const char *feed, bool is_warning, const char *text), void *user,
               struct dog_err *e)
{
        f->tell = tell;
        f->user = user;
        int rc = dog_feeds_new(&f->feeds, f->settings, f->n, (uint64_t)dog_clock_wall_ns(), feeds_news, f, e);
        if (rc == 0 && feeds_subjects(f) < 0)
                rc = dog_err_set(e, -ENOMEM, "feeds: out of memory");
        if (rc == 0 && (uv_poll_init(uv, &f->poll, f->fd) < 0 || uv_timer_init(uv, &f->timer) < 0))
                rc = dog_err_set(e, -EIO, "feeds: the socket to the process that fetches cannot be polled");
        if (rc < 0)
                return rc;
        f->poll.data = f->timer.data = f;
        f->is_open = true;
        uv_poll_start(&f->poll, UV_READABLE | UV_DISCONNECT, feeds_readable);
        feeds_turn(f);
        return 0;
}

void feeds_close(struct feeds *f)
{
        if (!f || !f->is_open)
                return;
        f->is_open = false;
        uv_timer_stop(&f->timer);
        uv_poll_stop(&f->poll);
}

void feeds_free(struct feeds *f)
{
        if (!f)
                return;
        if (f->fd >= 0)
                close(f->fd); /* and the process that fetches ends */
        dog_feeds_free(f->feeds);
        for (unsigned i = 0; i < DOG_FEEDS_MAX; i++)
                free(f->affects[i]);
        free(f->path);
        free(f->instance);
        free(f);
}

/* ---- asking ---- */

void feeds_caution_paths(const struct feeds *f, size_t tunnel, const struct dog_group *g,
                         struct dog_caution c[])
{
        int64_t now_s = dog_clock_wall_ns() / DOG_S;
        for (unsigned m = 0; m < g->members && m < PATH_SLOTS; m++)
                dog_feeds_caution(f->feeds, f->path[tunnel * PATH_SLOTS + m].names, now_s,
                                  g->policy.horizon_ns, &c[m]);
}

void feeds_caution_instances(const struct feeds *f, const struct dog_group *g, struct dog_caution c[])
{
        int64_t now_s = dog_clock_wall_ns() / DOG_S;
        for (unsigned m = 0; m < g->members; m++) {
                struct feeds_subject key = {.name = g->member[m].name};
                const struct feeds_subject *s =
                        bsearch(&key, f->instance, f->config->instances, sizeof(*f->instance), subject_order);
                if (s)
                        dog_feeds_caution(f->feeds, s->names, now_s, g->policy.horizon_ns, &c[m]);
        }
}

static json_t *feeds_row(const struct feeds *f, unsigned i)
{
        struct dog_feed_view v;
        int64_t now_ns = dog_clock_mono_ns();
        char next[DOG_FEED_WORDS + 64] = "";
        dog_feeds_view(f->feeds, i, now_ns, dog_clock_wall_ns() / DOG_S, &v);
        json_t *dropped = json_object();
        uint64_t drops = 0;
        for (int d = 0; d < DOG_FEED_DROP_COUNT; d++) {
                drops += v.dropped[d];
                if (v.dropped[d])
                        json_object_set_new(dropped, dog_feed_drop_word((enum dog_feed_drop)d),
                                            json_integer((json_int_t)v.dropped[d]));
        }
        if (v.next.end_s)
                snprintf(next, sizeof(next), "%s", v.next.words[0] ? v.next.words : "(no words)");
        const struct dog_feed_settings *s = v.settings;
        const char *state = f->fd < 0           ? "lost"
                            : v.read_ns == 0    ? (v.failures ? "failing" : "new")
                            : v.is_stale        ? "STALE"
                            : v.failures_in_row ? "failing"
                                                : "fresh";
        json_t *row =
                json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:s, s:b}", "feed",
                          s->name, "kind", dog_feed_kind_word(s->kind), "source", s->url ? s->url : s->file,
                          "state", state, "entries", (json_int_t)v.entries, "fetches", (json_int_t)v.fetches,
                          "unchanged", (json_int_t)v.unchanged, "failures", (json_int_t)v.failures, "dropped",
                          (json_int_t)drops, "bytes", (json_int_t)v.bytes, "drops", dropped, "next", next,
                          "trouble", v.trouble, "is_stale", (int)v.is_stale);
        if (!row)
                return json_object();
        json_object_set_new(row, "age_s",
                            v.read_ns ? json_real((double)(now_ns - v.read_ns) / 1e9) : json_null());
        json_object_set_new(row, "due_s", json_real(fmax(0, (double)(v.due_ns - now_ns) / 1e9)));
        json_object_set_new(row, "next_start_s", v.next.end_s ? json_integer(v.next.start_s) : json_null());
        json_object_set_new(row, "next_end_s", v.next.end_s ? json_integer(v.next.end_s) : json_null());
        return row;
}

json_t *feeds_view(const struct feeds *f)
{
        json_t *rows = json_array();
        for (unsigned i = 0; f && f->feeds && i < f->n; i++)
                json_array_append_new(rows, feeds_row(f, i));
        return rows;
}
