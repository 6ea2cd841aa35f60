#include "daemon/api.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
        uv_pipe_t pipe; /* first: a handle is its client */
        struct dog_api *api;
        bool is_following;
        bool is_closing;
        size_t used;
        char line[DOG_API_LINE];
        struct client *next;
};

struct dog_api {
        uv_pipe_t pipe; /* first: a handle is its api */
        char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
        dog_api_answer_fn *answer;
        void *user;
        struct client *client;
        unsigned clients;
        bool is_closing;
};

struct answer {
        uv_write_t write; /* first: a request is its answer */
        char *text;
};

/* ---- clients ---- */

static void api_free_if_done(struct dog_api *api)
{
        if (api->is_closing && api->clients == 0 && !uv_is_active((uv_handle_t *)&api->pipe))
                free(api);
}

static void client_closed(uv_handle_t *handle)
{
        struct client *c = (struct client *)handle;
        struct dog_api *api = c->api;
        for (struct client **at = &api->client; *at; at = &(*at)->next) {
                if (*at == c) {
                        *at = c->next;
                        break;
                }
        }
        api->clients--;
        free(c);
        api_free_if_done(api);
}

static void client_hang_up(struct client *c)
{
        if (!c->is_closing)
                uv_close((uv_handle_t *)&c->pipe, client_closed);
        c->is_closing = true;
}

static void answer_written(uv_write_t *write, int status)
{
        struct answer *a = (struct answer *)write;
        if (status < 0)
                client_hang_up((struct client *)write->handle);
        free(a->text);
        free(a);
}

static void client_say(struct client *c, const json_t *object)
{
        if (c->is_closing)
                return;
        struct answer *a = calloc(1, sizeof(*a));
        char *text = a ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;
        size_t length = text ? strlen(text) : 0;
        char *more = text ? realloc(text, length + 2) : NULL;
        /* A reader that does not read is let go before it costs memory. */
        if (!more || c->pipe.write_queue_size > DOG_API_BACKLOG) {
                free(more ? more : text);
                free(a);
                client_hang_up(c);
                return;
        }
        a->text = more;
        memcpy(a->text + length, "\n", 2);
        uv_buf_t buffer = uv_buf_init(a->text, (unsigned)length + 1);
        if (uv_write(&a->write, (uv_stream_t *)&c->pipe, &buffer, 1, answer_written) < 0) {
                free(a->text);
                free(a);
                client_hang_up(c);
        }
}

static void client_refuse(struct client *c, int code, const char *why)
{
        json_t *no = json_pack("{s:b, s:i, s:s}", "ok", 0, "code", code, "error", why);
        client_say(c, no);
        json_decref(no);
}

static void client_asked(struct client *c, const char *line, size_t size)
{
        json_error_t where;
        json_t *question = json_loadb(line, size, JSON_REJECT_DUPLICATES, &where);
        struct dog_err e = {0};
        if (!json_is_string(json_object_get(question, "ask"))) {
                dog_err_set(&e, 0, "a question is one line of JSON like {\"ask\":\"status\"}%s%s",
                            question ? "" : ": ", question ? "" : where.text);
                client_refuse(c, 2, e.text);
                json_decref(question);
                return;
        }
        json_t *answer = c->api->answer(c->api->user, question, &e);
        if (answer) {
                c->is_following |= json_is_true(json_object_get(question, "follow"));
                json_t *yes = json_pack("{s:b, s:o}", "ok", 1, "answer", answer);
                client_say(c, yes);
                json_decref(yes);
        } else {
                client_refuse(c, 1, e.text);
        }
        json_decref(question);
}

static void client_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
        (void)wanted;
        struct client *c = (struct client *)handle;
        *buffer = uv_buf_init(c->line + c->used, (unsigned)(sizeof(c->line) - c->used));
}

static void client_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
        (void)buffer;
        struct client *c = (struct client *)stream;
        if (got < 0) {
                client_hang_up(c);
                return;
        }
        c->used += (size_t)got;
        char *end;
        while (!c->is_closing && (end = memchr(c->line, '\n', c->used))) {
                size_t size = (size_t)(end - c->line);
                client_asked(c, c->line, size);
                c->used -= size + 1;
                memmove(c->line, end + 1, c->used);
        }
        if (c->used == sizeof(c->line)) {
                client_refuse(c, 2, "the question is too long");
                client_hang_up(c);
        }
}

static void api_connected(uv_stream_t *stream, int status)
{
        struct dog_api *api = (struct dog_api *)stream;
        struct client *c = status < 0 ? NULL : calloc(1, sizeof(*c));
        if (!c)
                return;
        c->api = api;
        c->next = api->client;
        api->client = c;
        api->clients++;
        uv_pipe_init(stream->loop, &c->pipe, 0);
        if (uv_accept(stream, (uv_stream_t *)&c->pipe) < 0 || api->clients > DOG_API_CLIENTS ||
            uv_read_start((uv_stream_t *)&c->pipe, client_room, client_read) < 0)
                client_hang_up(c);
}

/* ---- the socket ---- */

/* True when somebody answers on the socket: another daemon, which must not be robbed of it. */
static bool socket_is_taken(const char *path)
{
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        memcpy(to.sun_path, path, strlen(path) + 1);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool is_taken = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
        if (fd >= 0)
                close(fd);
        return is_taken;
}

int dog_api_open(struct dog_api **api, uv_loop_t *loop, const char *path, dog_api_answer_fn *answer,
                 void *user, struct dog_err *e)
{
        struct dog_api *a = calloc(1, sizeof(*a));
        *api = NULL;
        if (!a)
                return dog_err_set(e, -ENOMEM, "cannot open %s: out of memory", path);
        if (strlen(path) >= sizeof(a->path)) {
                free(a);
                return dog_err_set(e, -ENAMETOOLONG,
                                   "cannot listen on %s: a socket's path has at most %zu characters", path,
                                   sizeof(a->path) - 1);
        }
        if (socket_is_taken(path)) {
                free(a);
                return dog_err_set(
                        e, -EADDRINUSE,
                        "cannot listen on %s: another sundogd answers there; stop it or set api.socket",
                        path);
        }
        memcpy(a->path, path, strlen(path) + 1);
        a->answer = answer;
        a->user = user;
        unlink(path);
        uv_pipe_init(loop, &a->pipe, 0);
        int rc = uv_pipe_bind(&a->pipe, path);
        if (rc == 0)
                rc = uv_listen((uv_stream_t *)&a->pipe, 16, api_connected);
        if (rc < 0) {
                dog_err_set(e, rc,
                            "cannot listen on %s: %s; does its folder exist, and may this user write there?",
                            path, uv_strerror(rc));
                dog_api_close(a);
                return rc;
        }
        if (chmod(path, 0660) < 0)
                dog_log(DOG_LOG_WARN, "event=api-mode socket=%s error=%s", path, strerror(errno));
        *api = a;
        return 0;
}

static void api_closed(uv_handle_t *handle)
{
        struct dog_api *api = (struct dog_api *)handle;
        api_free_if_done(api);
}

void dog_api_close(struct dog_api *api)
{
        if (!api || api->is_closing)
                return;
        api->is_closing = true;
        for (struct client *c = api->client; c; c = c->next)
                client_hang_up(c);
        uv_close((uv_handle_t *)&api->pipe, api_closed);
}

void dog_api_publish(struct dog_api *api, const json_t *event)
{
        for (struct client *c = api ? api->client : NULL; c; c = c->next)
                if (c->is_following)
                        client_say(c, event);
}
