#include "ctl/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
        FILE *stream;
};

int client_open(struct client **c, const char *socket_path, struct dog_err *e)
{
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        *c = NULL;
        if (strlen(socket_path) >= sizeof(to.sun_path))
                return dog_err_set(e, -ENAMETOOLONG, "the socket's path is too long: %s", socket_path);
        memcpy(to.sun_path, socket_path, strlen(socket_path) + 1);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
                int rc = -errno;
                if (fd >= 0)
                        close(fd);
                return dog_err_set(e, rc,
                                   "cannot reach sundogd at %s: %s; is it running? (--socket names another)",
                                   socket_path, strerror(-rc));
        }
        struct client *new = calloc(1, sizeof(*new));
        if (new)
                new->stream = fdopen(fd, "r+");
        if (!new || !new->stream) {
                close(fd);
                free(new);
                return dog_err_set(e, -ENOMEM, "out of memory");
        }
        *c = new;
        return 0;
}

void client_close(struct client *c)
{
        if (!c)
                return;
        fclose(c->stream);
        free(c);
}

static void client_patience(struct client *c, int seconds)
{
        struct timeval limit = {.tv_sec = seconds};
        setsockopt(fileno(c->stream), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

json_t *client_next(struct client *c)
{
        char *line = NULL;
        size_t room = 0;
        client_patience(c, 0);
        ssize_t size = getline(&line, &room, c->stream);
        json_t *object = size > 0 ? json_loadb(line, (size_t)size, 0, NULL) : NULL;
        free(line);
        return object;
}

json_t *client_ask(struct client *c, json_t *question, int *code, struct dog_err *e)
{
        client_patience(c, 5);
        char *line = json_dumps(question, JSON_COMPACT);
        size_t room = 0;
        json_t *reply = NULL;
        *code = 4;
        if (line && fprintf(c->stream, "%s\n", line) > 0 && fflush(c->stream) == 0) {
                free(line);
                line = NULL;
                ssize_t size = getline(&line, &room, c->stream);
                reply = size > 0 ? json_loadb(line, (size_t)size, 0, NULL) : NULL;
        }
        free(line);
        if (!reply) {
                dog_err_set(e, -ETIMEDOUT, "sundogd did not answer within 5 s");
                return NULL;
        }
        json_t *answer = NULL;
        if (json_is_true(json_object_get(reply, "ok"))) {
                answer = json_incref(json_object_get(reply, "answer"));
                *code = 0;
        } else {
                const char *why = json_string_value(json_object_get(reply, "error"));
                *code = (int)json_integer_value(json_object_get(reply, "code"));
                dog_err_set(e, -EINVAL, "%s", why ? why : "sundogd refused without a reason");
        }
        json_decref(reply);
        return answer;
}
