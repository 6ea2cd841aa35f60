#pragma once
/**
 * One HTTP GET at a time from an address that was configured: what node_exporters and local telemetry need.
 *
 * HTTP/1.0 over TCP, written out here: no name is looked up, no redirect is followed, no body longer than a
 * limit is taken, nothing takes longer than the time limit. No TLS; put a proxy or a tunnel in front where
 * the way is not trusted. It knows no loop: its owner polls the descriptor it is told of.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { DOG_HTTP_PATH = 256 };

/** Why there is no body. X(name, word, sentence) */
#define DOG_HTTP_FAULTS(X)                                                                                   \
        X(CONNECT, "connect", "it cannot be reached")                                                        \
        X(TIMEOUT, "timeout", "it did not answer in time")                                                   \
        X(CUT, "cut", "the answer ended before its end")                                                     \
        X(NOT_HTTP, "not-http", "the answer is not HTTP/1")                                                  \
        X(STATUS, "status", "it answered with an error")                                                     \
        X(REDIRECT, "redirect", "it sent us elsewhere; redirects are not followed")                          \
        X(TOO_LONG, "too-long", "the answer is longer than is taken")                                        \
        X(MEMORY, "memory", "no memory for the answer")

enum dog_http_fault {
        DOG_HTTP_FINE,
#define X(name, word, text) DOG_HTTP_##name,
        DOG_HTTP_FAULTS(X)
#undef X
                DOG_HTTP_FAULT_COUNT
};
const char *dog_http_fault_word(enum dog_http_fault f);
const char *dog_http_fault_text(enum dog_http_fault f);

struct dog_http_conf {
        const struct sockaddr *address; /**< AF_INET or AF_INET6 with port; copied */
        socklen_t address_size;
        const char *path;   /**< begins with '/', without blanks; copied */
        const char *accept; /**< media type; copied */
        size_t body_most;   /**< octets, the head included */
        /** Tell me when this descriptor is readable (POLLIN) or writable (POLLOUT); 0: no more, it is closed
         * when this returns. */
        void (*watch)(void *user, int fd, short events);
        /** The end of an exchange. The body lives until this returns; a new exchange may not begin within. */
        void (*done)(void *user, enum dog_http_fault fault, const char *body, size_t size, int64_t now_ns);
        void *user;
};

/** Embedded in its owner; use the functions. */
struct dog_http {
        struct dog_http_conf conf;
        struct sockaddr_storage address;
        char request[DOG_HTTP_PATH + 200];
        size_t sent;
        int fd; /**< -1: no exchange */
        bool is_connected;
        char *answer;
        size_t size, room;
        int64_t until_ns;
};

/** @return 0; -EINVAL: no such address or path */
int dog_http_init(struct dog_http *x, const struct dog_http_conf *conf, struct dog_err *e);
/** Calls watch(fd, 0), and not done, when an exchange is under way. */
void dog_http_fini(struct dog_http *x);
/** Begin an exchange; not while one is under way. It may end within this call. */
void dog_http_begin(struct dog_http *x, int64_t now_ns, int64_t timeout_ns);
static inline bool dog_http_is_busy(const struct dog_http *x)
{
        return x->fd >= 0;
}
/** End what is overdue. */
void dog_http_on_timer(struct dog_http *x, int64_t now_ns);
/** The watched descriptor is ready. */
void dog_http_on_ready(struct dog_http *x, int64_t now_ns);

/** Where the body of an answer begins. @return DOG_HTTP_FINE, _NOT_HTTP, _STATUS, _REDIRECT, _CUT */
enum dog_http_fault dog_http_head(const char *answer, size_t size, const char **body, size_t *left);

/**
 * http://ADDRESS:PORT/PATH, the address in figures, IPv6 in brackets. *path points into url.
 * @return 0; -EINVAL
 */
int dog_http_address(const char *url, struct sockaddr_storage *to, socklen_t *size, const char **path,
                     struct dog_err *e);
