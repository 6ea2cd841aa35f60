#include "agent/client.h"

#include "agent/view.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int client_connect(const char *path, struct dog_err *e)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        struct timeval limit = {.tv_sec = 10};
        if (strlen(path) >= sizeof(at.sun_path))
                return dog_err_set(e, -EINVAL, "%s: too long for a socket", path);
        memcpy(at.sun_path, path, strlen(path));
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return dog_err_set(e, -errno, "no socket: %s", strerror(errno));
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
                return fd;
        int rc = -errno;
        close(fd);
        if (rc == -ENOENT || rc == -ECONNREFUSED)
                return dog_err_set(e, rc, "no sundog-agent runs here: nothing answers at %s", path);
        if (rc == -EACCES)
                return dog_err_set(e, rc, "%s: not allowed: be root or in the agent's group", path);
        return dog_err_set(e, rc, "%s: %s", path, strerror(-rc));
}

int agent_client_ask(const char *path, const char *ask, bool is_json, FILE *to, struct dog_err *e)
{
        char question[64];
        int fd = client_connect(path, e);
        if (fd < 0)
                return fd;
        int n = snprintf(question, sizeof(question), "{\"ask\":\"%s\"}\n", ask);
        json_t *said = NULL;
        if (send(fd, question, (size_t)n, MSG_NOSIGNAL) == n)
                said = json_loadfd(fd, 0, NULL);
        close(fd);
        const json_t *answer = json_object_get(said, "answer");
        int rc = 0;
        if (!answer) {
                const char *error = json_string_value(json_object_get(said, "error"));
                rc = dog_err_set(e, -EPROTO, "the agent at %s %s%s", path,
                                 error ? "says: " : "did not answer", error ? error : "");
        } else if (is_json) {
                json_dumpf(answer, to, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
                fputc('\n', to);
        } else if (strcmp(ask, "conns") == 0) {
                agent_view_conns_print(answer, to);
        } else {
                agent_view_status_print(answer, to);
        }
        json_decref(said);
        return rc;
}
