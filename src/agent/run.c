#include "agent/run.h"

#include "agent/diag.h"
#include "agent/link.h"
#include "agent/proc.h"
#include "agent/table.h"
#include "agent/view.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

enum {
        RUN_CLIENTS = 16,
        RUN_LINE = 256,
        RUN_MORE_MS = 100,
        RUN_LIMIT_MS = 20000,
        RUN_BATCH = 256,  /* datagrams taken in one call */
        RUN_TAKES = 1000, /* ... in one second from one front: more is a flood, and waits in the kernel */
};

struct run_front {
        uv_poll_t poll;
        int fd; /* -1: none yet */
        bool is_polled;
        unsigned taken; /* since the last reading */
};

struct run {
        uv_loop_t loop;
        uv_timer_t timer, more;
        uv_signal_t term, interrupt;
        uv_pipe_t pipe;
        unsigned clients;
        const struct agent_config *config;
        struct agent_shim *shim;
        struct agent_link *link;
        struct agent_table *table;
        struct agent_diag *diag;
        struct run_front front[AGENT_CONFIG_FRONTS];
        struct dog_counters counters[2];
        uint64_t readings;
        int64_t started_ns, read_ns;
        struct dog_vitals vitals;
        char missing[256];
        struct dog_err sockets; /* why connections are not known */
};

struct run_client {
        uv_pipe_t pipe; /* first: a handle is its client */
        uv_write_t write;
        uv_timer_t limit;
        struct run *run;
        char *text;
        size_t used;
        char line[RUN_LINE];
        unsigned open; /* handles */
};

/* ---- fronts ---- */

static void run_front_readable(uv_poll_t *poll, int status, int events)
{
        struct run *r = poll->loop->data;
        unsigned front = (unsigned)((struct run_front *)poll - r->front);
        uint8_t packet[2048];
        (void)events;
        /* "Nobody listens there" comes as an error, on which libuv stops polling: taken below, then on. */
        if (status < 0)
                uv_poll_start(&r->front[front].poll, UV_READABLE, run_front_readable);
        for (unsigned i = 0; i < RUN_BATCH && r->front[front].taken < RUN_TAKES; i++) {
                ssize_t n = recv(r->front[front].fd, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);
                if (n < 0 && errno == EAGAIN)
                        return;
                r->front[front].taken++;
                /* Nobody listens there: told in place of a datagram. */
                if (n < 0)
                        continue;
                agent_link_take(r->link, front, r->table, packet, (size_t)n, dog_clock_mono_ns(),
                                dog_clock_wall_ns());
        }
        /* A flood is left in the socket's buffer until the next reading. */
        if (r->front[front].taken >= RUN_TAKES) {
                uv_poll_stop(&r->front[front].poll);
                r->front[front].is_polled = false;
        }
}

/* The socket of a front: made when first needed, since a route may come later than we do. */
static bool run_front_open(struct run *r, unsigned front)
{
        struct run_front *f = &r->front[front];
        const struct agent_front_address *to = &r->config->front[front];
        if (f->fd < 0) {
                int fd = socket(to->address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                if (fd < 0)
                        return false;
                if (connect(fd, (const struct sockaddr *)&to->address, to->size) < 0 ||
                    uv_poll_init(&r->loop, &f->poll, fd) < 0) {
                        close(fd);
                        return false;
                }
                f->fd = fd;
        }
        if (!f->is_polled && f->taken < RUN_TAKES)
                f->is_polled = uv_poll_start(&f->poll, UV_READABLE, run_front_readable) == 0;
        return true;
}

static bool run_send(void *user, unsigned front, const void *packet, size_t size)
{
        struct run *r = user;
        if (!run_front_open(r, front))
                return false;
        ssize_t n = send(r->front[front].fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        /* The answer to an earlier one, told now: this one was not sent. */
        if (n < 0 && errno == ECONNREFUSED)
                n = send(r->front[front].fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n == (ssize_t)size;
}

/* ---- readings ---- */

static void run_read_sockets(struct run *r, int64_t now_ns)
{
        struct dog_err e = {0};
        int rc = r->diag ? 0 : agent_diag_open(&r->diag, r->config->port, r->config->ports, &e);
        agent_table_begin(r->table, now_ns);
        if (rc == 0)
                rc = agent_diag_walk(r->diag, agent_table_see, r->table, &e);
        agent_table_end(r->table, rc == 0, &r->vitals);
        if (rc < 0 && !r->sockets.text[0])
                dog_log(DOG_LOG_WARN, "event=sockets-unknown: %s", e.text);
        if (rc == 0 && r->sockets.text[0])
                dog_log(DOG_LOG_INFO, "event=sockets-known");
        r->sockets = e;
}

static void run_read(struct run *r)
{
        struct dog_counters *now = &r->counters[r->readings & 1];
        const struct dog_counters *before = r->readings ? &r->counters[~r->readings & 1] : NULL;
        char missing[sizeof(r->missing)];
        r->read_ns = dog_clock_mono_ns();
        agent_proc_read(now, r->read_ns);
        dog_vitals_derive(&r->vitals, before, now);
        run_read_sockets(r, r->read_ns);
        dog_vitals_cleanse(&r->vitals);
        agent_proc_missing(now, missing, sizeof(missing));
        if (missing[0] && strcmp(missing, r->missing) != 0)
                dog_log(DOG_LOG_INFO, "event=not-told: this kernel does not tell: %s", missing);
        memcpy(r->missing, missing, sizeof(missing));
        r->readings++;
}

static void run_tick(uv_timer_t *timer)
{
        struct run *r = timer->loop->data;
        for (unsigned i = 0; i < r->config->fronts; i++) {
                r->front[i].taken = 0;
                run_front_open(r, i);
        }
        run_read(r);
        agent_shim_tick(r->shim, dog_clock_mono_ns(), dog_clock_wall_ns());
        double processors = r->counters[(r->readings - 1) & 1].processors;
        agent_link_tick(r->link, r->table, &r->vitals, isnan(processors) ? 0 : (unsigned)processors,
                        dog_clock_mono_ns(), dog_clock_wall_ns());
}

static void run_more(uv_timer_t *timer)
{
        struct run *r = timer->loop->data;
        agent_link_more(r->link, r->table, dog_clock_mono_ns(), dog_clock_wall_ns());
}

/* ---- local questions ---- */

static void client_closed(uv_handle_t *handle)
{
        struct run_client *c = handle->data;
        if (--c->open > 0)
                return;
        c->run->clients--;
        free(c->text);
        free(c);
}

static void client_hang_up(struct run_client *c)
{
        if (!uv_is_closing((uv_handle_t *)&c->pipe))
                uv_close((uv_handle_t *)&c->pipe, client_closed);
        if (!uv_is_closing((uv_handle_t *)&c->limit))
                uv_close((uv_handle_t *)&c->limit, client_closed);
}

static void client_limit(uv_timer_t *timer)
{
        client_hang_up(timer->data);
}

static void client_written(uv_write_t *write, int status)
{
        (void)status;
        client_hang_up(write->handle->data);
}

/* @return a line, which the caller frees; NULL: no memory */
static char *client_answer(struct run *r, const char *line, size_t size, size_t *length)
{
        char *text = NULL;
        FILE *to = open_memstream(&text, length);
        if (!to)
                return NULL;
        json_t *question = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
        const char *ask = json_string_value(json_object_get(question, "ask"));
        struct agent_view view = {
                .config = r->config,
                .link = r->link,
                .table = r->table,
                .vitals = &r->vitals,
                .now_ns = dog_clock_mono_ns(),
                .started_ns = r->started_ns,
                .read_ns = r->read_ns,
                .readings = r->readings,
                .missing = r->missing,
                .sockets = r->sockets.text,
                .shim = &r->shim->told,
        };
        agent_view_write(&view, ask ? ask : "", to);
        json_decref(question);
        if (fclose(to) == 0)
                return text;
        free(text);
        return NULL;
}

static void client_asked(struct run_client *c, size_t size)
{
        size_t length = 0;
        c->text = client_answer(c->run, c->line, size, &length);
        uv_read_stop((uv_stream_t *)&c->pipe);
        uv_buf_t buffer = uv_buf_init(c->text, (unsigned)length);
        if (!c->text || length > UINT32_MAX ||
            uv_write(&c->write, (uv_stream_t *)&c->pipe, &buffer, 1, client_written) < 0)
                client_hang_up(c);
}

static void client_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
        struct run_client *c = handle->data;
        (void)wanted;
        *buffer = uv_buf_init(c->line + c->used, (unsigned)(sizeof(c->line) - c->used));
}

static void client_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
        struct run_client *c = stream->data;
        (void)buffer;
        if (got < 0) {
                client_hang_up(c);
                return;
        }
        c->used += (size_t)got;
        const char *end = memchr(c->line, '\n', c->used);
        if (end)
                client_asked(c, (size_t)(end - c->line));
        else if (c->used == sizeof(c->line))
                client_hang_up(c);
}

static void run_asked(uv_stream_t *listener, int status)
{
        struct run *r = listener->data;
        struct run_client *c = status < 0 ? NULL : calloc(1, sizeof(*c));
        if (!c)
                return;
        c->run = r;
        c->open = 2;
        c->pipe.data = c->limit.data = c;
        uv_pipe_init(&r->loop, &c->pipe, 0);
        uv_timer_init(&r->loop, &c->limit);
        r->clients++;
        if (uv_accept(listener, (uv_stream_t *)&c->pipe) < 0 || r->clients > RUN_CLIENTS ||
            uv_read_start((uv_stream_t *)&c->pipe, client_room, client_read) < 0) {
                client_hang_up(c);
                return;
        }
        /* Somebody who neither asks nor reads does not keep a place. */
        uv_timer_start(&c->limit, client_limit, RUN_LIMIT_MS, 0);
}

/* Is somebody answering there? A file that nobody listens at is what a killed agent leaves. */
static bool run_is_taken(const struct sockaddr_un *at)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool is_taken = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0;
        if (fd >= 0)
                close(fd);
        return is_taken;
}

static int run_listen(struct run *r, struct dog_err *e)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        const char *path = r->config->socket;
        _Static_assert(sizeof(at.sun_path) >= AGENT_CONFIG_TEXT, "a path fits");
        memcpy(at.sun_path, path, strlen(path));
        if (run_is_taken(&at))
                return dog_err_set(e, -EADDRINUSE, "%s: another sundog-agent answers there already", path);
        unlink(path);
        int rc = uv_pipe_bind(&r->pipe, path);
        if (rc == 0)
                rc = chmod(path, 0660) < 0 ? -errno : 0;
        if (rc == 0)
                rc = uv_listen((uv_stream_t *)&r->pipe, RUN_CLIENTS, run_asked);
        if (rc < 0)
                return dog_err_set(e, rc, "%s: cannot answer there: %s; is its folder ours?", path,
                                   uv_strerror(rc));
        return 0;
}

/* ---- life ---- */

static void run_ended(uv_signal_t *signal, int number)
{
        (void)number;
        uv_stop(signal->loop);
}

static void run_close_walk(uv_handle_t *handle, void *user)
{
        struct run *r = user;
        if (uv_is_closing(handle))
                return;
        bool is_client = handle->data && handle->data != r;
        uv_close(handle, is_client ? client_closed : NULL);
}

static int run_start(struct run *r, struct dog_err *e)
{
        uint64_t period_ms = (uint64_t)(r->config->period_ns / DOG_MS);
        uv_timer_init(&r->loop, &r->timer);
        uv_timer_init(&r->loop, &r->more);
        uv_signal_init(&r->loop, &r->term);
        uv_signal_init(&r->loop, &r->interrupt);
        uv_pipe_init(&r->loop, &r->pipe, 0);
        r->pipe.data = r;
        int rc = run_listen(r, e);
        if (rc < 0)
                return rc;
        uv_signal_start(&r->term, run_ended, SIGTERM);
        uv_signal_start(&r->interrupt, run_ended, SIGINT);
        uv_timer_start(&r->timer, run_tick, 0, period_ms);
        uv_timer_start(&r->more, run_more, RUN_MORE_MS, RUN_MORE_MS);
        return 0;
}

int agent_run(const struct agent_config *config, uint8_t secret[32], struct agent_shim *shim,
              struct dog_err *e)
{
        struct run *r = calloc(1, sizeof(*r));
        if (!r)
                return dog_err_set(e, -ENOMEM, "no memory");
        r->config = config;
        r->shim = shim;
        r->started_ns = dog_clock_mono_ns();
        r->vitals = dog_vitals_unknown();
        for (unsigned i = 0; i < AGENT_CONFIG_FRONTS; i++)
                r->front[i].fd = -1;
        struct agent_link_conf link = {
                .config = config, .secret = secret, .shim = &shim->told, .send = run_send, .user = r};
        int rc = agent_table_new(&r->table, (uint32_t)config->conns, e);
        if (rc == 0)
                rc = agent_link_new(&r->link, &link, e);
        sodium_memzero(secret, 32);
        if (rc == 0) {
                uv_loop_init(&r->loop);
                r->loop.data = r;
                rc = run_start(r, e);
                if (rc == 0) {
                        dog_log(DOG_LOG_INFO, "instance=%s event=started fronts=%u ports=%u", config->name,
                                config->fronts, config->ports);
                        uv_run(&r->loop, UV_RUN_DEFAULT);
                        unlink(config->socket);
                }
                uv_walk(&r->loop, run_close_walk, r);
                uv_run(&r->loop, UV_RUN_DEFAULT);
                uv_loop_close(&r->loop);
        }
        for (unsigned i = 0; i < AGENT_CONFIG_FRONTS; i++)
                if (r->front[i].fd >= 0)
                        close(r->front[i].fd);
        agent_diag_close(r->diag);
        agent_link_free(r->link);
        agent_table_free(r->table);
        free(r);
        return rc;
}
