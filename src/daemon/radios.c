#include "daemon/radios.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* A descriptor that a source watches: one at a time. */
struct radio_poll {
        uv_poll_t poll; /* first: freed as its handle */
        struct radio_at *at;
};

struct radio_at {
        struct radios *all;
        struct dog_radio_source *source; /* NULL: this path has none */
        size_t tunnel, path;
        struct radio_poll *poll; /* NULL: nothing is watched */
        int fd;
};

struct radios {
        uv_timer_t timer; /* first: freed as its handle */
        uv_loop_t *loop;
        struct radios_calls calls;
        size_t count;
        struct radio_at at[];
};

static void radios_closed(uv_handle_t *handle)
{
        free(handle);
}

static void radios_tick(uv_timer_t *timer)
{
        struct radios *r = (struct radios *)timer;
        int64_t now_ns = dog_clock_mono_ns();
        int64_t next_ns = now_ns + 10 * DOG_S;
        for (size_t i = 0; i < r->count; i++) {
                int64_t due_ns = dog_radio_source_on_timer(r->at[i].source, now_ns);
                next_ns = due_ns < next_ns ? due_ns : next_ns;
        }
        int64_t wait_ms = (next_ns - dog_clock_mono_ns()) / DOG_MS + 1;
        /* However much a source wants to be called: not more often than this. */
        uv_timer_start(&r->timer, radios_tick, wait_ms > 5 ? (uint64_t)wait_ms : 5, 0);
}

static void radios_ready(uv_poll_t *poll, int status, int events)
{
        struct radio_poll *p = (struct radio_poll *)poll;
        struct radio_at *at = p->at;
        int64_t now_ns = dog_clock_mono_ns();
        (void)events;
        /* libuv stops on an error; the source reads it, and lets the descriptor go or goes on. */
        if (status < 0)
                uv_poll_start(poll, UV_READABLE, radios_ready);
        int64_t due_ns = dog_radio_source_on_ready(at->source, now_ns);
        uint64_t wait_ms = due_ns > now_ns ? (uint64_t)((due_ns - now_ns) / DOG_MS) + 1 : 5;
        if (wait_ms < uv_timer_get_due_in(&at->all->timer))
                uv_timer_start(&at->all->timer, radios_tick, wait_ms, 0);
}

static void radio_unwatch(struct radio_at *at)
{
        struct radio_poll *p = at->poll;
        at->poll = NULL;
        if (!p)
                return;
        uv_poll_stop(&p->poll);
        uv_close((uv_handle_t *)&p->poll, radios_closed);
}

static void radio_watch(void *user, int fd, short events)
{
        struct radio_at *at = user;
        if (!events || (at->poll && at->fd != fd))
                radio_unwatch(at);
        if (!events)
                return;
        if (!at->poll) {
                struct radio_poll *p = calloc(1, sizeof(*p));
                if (!p || uv_poll_init(at->all->loop, &p->poll, fd) < 0) {
                        free(p);
                        at->all->calls.news(at->all->calls.user, at->tunnel, at->path, true,
                                            "what its radio tells cannot be polled for");
                        return;
                }
                p->at = at;
                at->poll = p;
                at->fd = fd;
        }
        uv_poll_start(&at->poll->poll,
                      (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0),
                      radios_ready);
}

static void radio_reading(void *user, const struct dog_radio *reading)
{
        const struct radio_at *at = user;
        at->all->calls.reading(at->all->calls.user, at->tunnel, at->path, reading);
}

static void radio_news(void *user, bool is_warning, const char *text)
{
        const struct radio_at *at = user;
        at->all->calls.news(at->all->calls.user, at->tunnel, at->path, is_warning, text);
}

static int radio_open(struct radios *r, const struct dog_config *config, size_t tunnel, size_t path,
                      struct dog_err *e)
{
        const struct dog_config_path *p = &config->tunnel[tunnel].path[path];
        struct radio_at *at = &r->at[r->count];
        char name[100];
        snprintf(name, sizeof(name), "path %s of tunnel %s", p->name, config->tunnel[tunnel].name);
        struct dog_radio_conf conf = {.kind = p->radio.source == DOG_CONFIG_RADIO_MODEM  ? DOG_RADIO_MODEM
                                              : p->radio.source == DOG_CONFIG_RADIO_DISH ? DOG_RADIO_DISH
                                                                                         : DOG_RADIO_FILE,
                                      .name = name,
                                      .bus = p->radio.bus,
                                      .modem = p->radio.modem,
                                      .device = p->device,
                                      .url = p->radio.url,
                                      .file = p->radio.file,
                                      .interval_ns = p->radio.interval_ns,
                                      .stale_ns = p->radio.stale_ns,
                                      .watch = radio_watch,
                                      .reading = radio_reading,
                                      .news = radio_news,
                                      .user = at};
        *at = (struct radio_at){.all = r, .tunnel = tunnel, .path = path, .fd = -1};
        int rc = dog_radio_source_new(&at->source, &conf, e);
        r->count += rc == 0;
        return rc;
}

int radios_open(struct radios **to, const struct dog_config *config, uv_loop_t *loop,
                const struct radios_calls *calls, struct dog_err *e)
{
        size_t most = 0;
        *to = NULL;
        for (size_t t = 0; t < config->tunnels; t++)
                for (size_t p = 0; p < config->tunnel[t].paths; p++)
                        most += config->tunnel[t].path[p].radio.source != DOG_CONFIG_RADIO_NONE;
        if (!most)
                return 0;
        struct radios *r = calloc(1, sizeof(*r) + most * sizeof(r->at[0]));
        if (!r)
                return dog_err_set(e, -ENOMEM, "out of memory");
        r->loop = loop;
        r->calls = *calls;
        int rc = 0;
        for (size_t t = 0; t < config->tunnels && rc == 0; t++)
                for (size_t p = 0; p < config->tunnel[t].paths && rc == 0; p++)
                        if (config->tunnel[t].path[p].radio.source != DOG_CONFIG_RADIO_NONE)
                                rc = radio_open(r, config, t, p, e);
        if (rc < 0) {
                while (r->count)
                        dog_radio_source_free(r->at[--r->count].source);
                free(r);
                return rc;
        }
        uv_timer_init(loop, &r->timer);
        uv_timer_start(&r->timer, radios_tick, 1, 0);
        *to = r;
        return 0;
}

void radios_close(struct radios *r)
{
        if (!r)
                return;
        for (size_t i = 0; i < r->count; i++) {
                dog_radio_source_free(r->at[i].source);
                radio_unwatch(&r->at[i]);
        }
        uv_timer_stop(&r->timer);
        uv_close((uv_handle_t *)&r->timer, radios_closed);
}

const struct dog_radio_stats *radios_stats(const struct radios *r, size_t tunnel, size_t path)
{
        for (size_t i = 0; r && i < r->count; i++)
                if (r->at[i].tunnel == tunnel && r->at[i].path == path)
                        return dog_radio_source_stats(r->at[i].source);
        return NULL;
}
