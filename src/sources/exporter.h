#pragma once
/**
 * A Prometheus node_exporter as the source of an instance's vitals, where no agent of ours can run: one
 * HTTP GET a period, the text it gives read strictly (wire/exposition.h), two readings make vitals.
 *
 * The way there is sources/http.h; no body longer than 8 MiB is taken.
 *
 * The same rule as for agents: what it says may add caution, never overrule what was measured.
 */
#include "base/err.h"
#include "sources/http.h"
#include "sources/vitals.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define DOG_EXPORTER_BODY (8u << 20)

/** Why a reading was not used: what HTTP says, and then. X(name, word, sentence) */
#define DOG_EXPORTER_FAULTS(X)                                                                               \
        DOG_HTTP_FAULTS(X)                                                                                   \
        X(MALFORMED, "malformed", "a line of the answer is not in the exposition format")                    \
        X(EMPTY, "empty", "none of the metrics of a node_exporter is in the answer")

enum dog_exporter_fault {
        DOG_EXPORTER_FINE,
#define X(name, word, text) DOG_EXPORTER_##name,
        DOG_EXPORTER_FAULTS(X)
#undef X
                DOG_EXPORTER_FAULT_COUNT
};
const char *dog_exporter_fault_word(enum dog_exporter_fault f);
const char *dog_exporter_fault_text(enum dog_exporter_fault f);

struct dog_exporter_conf {
        const struct sockaddr *address; /**< AF_INET or AF_INET6 with port; copied */
        socklen_t address_size;
        const char *path;   /**< NULL: "/metrics" */
        int64_t period_ns;  /**< 0: 5 s; at least 100 ms */
        int64_t timeout_ns; /**< for the whole exchange; 0: the period, at most 10 s */
        /** Tell me when this descriptor is readable (POLLIN) or writable (POLLOUT); 0: no more, it is closed
         * when this returns. */
        void (*watch)(void *user, int fd, short events);
        /** A reading. Rates are NaN with the first, and after the exporter's host restarted. */
        void (*vitals)(void *user, int64_t at_ns, const struct dog_vitals *v);
        /** No reading; told each time. is_silent: three in a row. */
        void (*failed)(void *user, enum dog_exporter_fault fault, bool is_silent);
        void *user;
};

struct dog_exporter_stats {
        uint64_t readings;
        uint64_t bytes;
        uint64_t impossible; /**< values refused, as with agents */
        uint64_t failed[DOG_EXPORTER_FAULT_COUNT];
};

struct dog_exporter;

/** @return 0, -EINVAL, -ENOMEM */
int dog_exporter_new(struct dog_exporter **x, const struct dog_exporter_conf *conf, struct dog_err *e);
/** Calls watch(fd, 0) when an exchange is under way. */
void dog_exporter_free(struct dog_exporter *x);
/** Begin what is due, end what is overdue. @return when to call again */
int64_t dog_exporter_on_timer(struct dog_exporter *x, int64_t now_ns);
/** The watched descriptor is ready. @return when to call _on_timer */
int64_t dog_exporter_on_ready(struct dog_exporter *x, int64_t now_ns);
const struct dog_exporter_stats *dog_exporter_stats(const struct dog_exporter *x);

/* Without the socket, for tests and the fuzzer. */

/** The counters in a text of the exposition format. @return DOG_EXPORTER_FINE, _MALFORMED, _EMPTY */
enum dog_exporter_fault dog_exporter_read(const char *text, size_t size, struct dog_counters *c);
/** Where the body of an HTTP answer begins. @return DOG_EXPORTER_FINE, _NOT_HTTP, _STATUS, _REDIRECT, _CUT */
enum dog_exporter_fault dog_exporter_head(const char *answer, size_t size, const char **body, size_t *left);
