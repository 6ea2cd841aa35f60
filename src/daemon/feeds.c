#include "daemon/feeds.h"

#include "base/clock.h"
#include "base/log.h"
#include "hands/split.h"
#include "sources/feed_fetch.h"

#include <errno.h>
#include <fcntl.h>
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
        struct dog_hands_client *hands;
        int fd;             /* to the process that fetches; -1: there was none yet */
        bool is_lost;       /* it has died */
        unsigned deaths;    /* so many have */
        int pause_ms;       /* before the next one is started */
        int64_t born_ns;    /* when this one was, or */
        int64_t revived_ns; /* when the next one will be */
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
static void feeds_readable(uv_poll_t *poll, int status, int events);

/* Another process that fetches. What leads to it gets the number of the old one, which libuv knows. */
static int feeds_revive(struct feeds *f, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_HELPER_START);
        struct dog_hands_reply r;
        int fd = -1;
        int rc = dog_hands_name_set(q.as.helper.name, FEEDS_HELPER, e);
        if (rc == 0)
                rc = dog_hands_call(f->hands, &q, &r, &fd, e);
        if (rc < 0)
                return rc;
        if (f->fd < 0) {
                f->fd = fd;
        } else {
                rc = dup3(fd, f->fd, O_CLOEXEC) < 0
                             ? dog_err_set(e, -errno, "feeds: no descriptor: %s", strerror(errno))
                             : 0;
                close(fd);
        }
        f->born_ns = dog_clock_mono_ns();
        return rc;
}

static void feeds_lost(struct feeds *f)
{
        char text[120];
        int64_t now_ns = dog_clock_mono_ns();
        uv_poll_stop(&f->poll);
        shutdown(f->fd, SHUT_RDWR); /* if it lives and is only confused, it ends of this */
        f->is_lost = true;
        f->deaths++;
        f->pause_ms = dog_split_pause_ms(f->pause_ms, now_ns - f->born_ns);
        f->revived_ns = now_ns + f->pause_ms * DOG_MS;
        snprintf(
                text, sizeof(text),
                "the process that fetches feeds has died, %u time%s so far; another one is started in %.1f s",
                f->deaths, f->deaths > 1 ? "s" : "", f->pause_ms / 1e3);
        f->tell(f->user, "", true, text);
        dog_feeds_lost(f->feeds, now_ns);
}

static void feeds_found(struct feeds *f, int64_t now_ns)
{
        struct dog_err e = {0};
        if (feeds_revive(f, &e) < 0) {
                f->pause_ms = dog_split_pause_ms(f->pause_ms, 0);
                f->revived_ns = now_ns + f->pause_ms * DOG_MS;
                dog_log(DOG_LOG_WARN, "feeds event=not-started why=\"%s\" again_in_ms=%d", e.text,
                        f->pause_ms);
                return;
        }
        f->is_lost = false;
        dog_feeds_found(f->feeds);
        uv_poll_start(&f->poll, UV_READABLE | UV_DISCONNECT, feeds_readable);
        f->tell(f->user, "", false, "another process fetches feeds now");
}

/* Ask for what is due, and come back for the rest. */
static void feeds_turn(struct feeds *f)
{
        struct dog_feed_request request;
        int64_t now_ns = dog_clock_mono_ns();
        int64_t due_ns;
        if (f->is_lost && now_ns >= f->revived_ns)
                feeds_found(f, now_ns);
        while (dog_feeds_next(f->feeds, now_ns, &request, &due_ns))
                if (!f->is_lost && send(f->fd, &request, sizeof(request), MSG_NOSIGNAL) < 0 &&
                    errno != EAGAIN)
                        feeds_lost(f);
        if (f->is_lost && f->revived_ns < due_ns)
                due_ns = f->revived_ns;
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

static int feeds_plans(struct feeds *f)
{
        const struct dog_config *c = f->config;
        int rc = 0;
        for (size_t i = 0; i < c->feeds && i < DOG_FEEDS_MAX && rc == 0; i++, f->n++)
                rc = feeds_plan(&c->feed[i], &f->settings[i], &f->affects[i]);
        return rc;
}

int feeds_fetch(int fd, const void *data)
{
        struct feeds f = {.config = data};
        struct dog_err e = {.text = "out of memory"};
        if (feeds_plans(&f) == 0 && dog_feed_fetcher_run(f.settings, f.n, fd, &e) == 0)
                return 0;
        dog_log(DOG_LOG_ERROR, "feeds event=not-started why=\"%s\"", e.text);
        return 1;
}

int feeds_open(struct feeds **to, const struct dog_config *config, struct dog_hands_client *hands,
               uv_loop_t *uv, void (*tell)(void *user, const char *feed, bool is_warning, const char *text),
               void *user, struct dog_err *e)
{
        *to = NULL;
        if (config->feeds == 0)
                return 0;
        struct feeds *f = calloc(1, sizeof(*f));
        if (!f)
                return dog_err_set(e, -ENOMEM, "feeds: out of memory");
        *f = (struct feeds){.config = config, .hands = hands, .fd = -1, .tell = tell, .user = user};
        *to = f; /* whoever frees it */
        int rc = feeds_plans(f);
        if (rc == 0)
                rc = dog_feeds_new(&f->feeds, f->settings, f->n, (uint64_t)dog_clock_wall_ns(), feeds_news, f,
                                   e);
        if (rc == 0)
                rc = feeds_subjects(f);
        if (rc == -ENOMEM)
                return dog_err_set(e, rc, "feeds: out of memory");
        if (rc == 0)
                rc = feeds_revive(f, e);
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
        const char *state = f->is_lost          ? "lost"
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
        char left_out[400];
        dog_feed_left_out(v.dropped, left_out, sizeof(left_out));
        json_object_set_new(row, "left_out", json_string(left_out));
        json_object_set_new(row, "fetcher_deaths", json_integer((json_int_t)f->deaths));
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
