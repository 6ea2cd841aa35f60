/**
 * holdclient: many TCP connections that are held, every byte of which is looked at.
 *
 *     holdclient --to 10.80.9.1:80 --connections 1000 --path /1g --bytes 500kB
 *     holdclient --to 10.80.9.1:80 --connections 1000 --requests 400 --path /1g --bytes 1kB
 *     holdclient --to 10.80.9.1:81 --connections 100 --upload --bytes 5MB
 *     holdclient --write FILE --bytes 1GB            the file that a server needs for this
 *
 * A connection asks for a part of the file that is its own (HTTP/1.1 ranges of a pattern, lab/pattern.h), so
 * bytes of another place or of another connection are wrong bytes. --requests asks again on the same
 * connection and --upload sends a part and expects its length and sum (holdserver). Nothing is ever tried
 * again: a connection that fails is lost. It is *kept* when all its bodies are whole and right.
 *
 * The gap of a connection is its longest time without any progress while an answer is due. When the share
 * --mark of all bytes has been moved the line "mark" is printed; `marked` are the gaps that touch the
 * --window after it, which is when whoever reads that line breaks something.
 *
 * Lines on standard output: "connected", when all are; "mark"; at the end one JSON object.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/units.h"
#include "lab/hist.h"
#include "lab/pattern.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 512 /* of a request, and of what is looked at in an answer's header */
#define CHUNK    65536
#define BITE     2048 /* with --rate: read so much at once */
#define TICK_NS  (5 * DOG_MS)
#define SLOTS    4096

/* How a connection ended. X(id, name) */
#define ENDS(X)                                                                                              \
        X(NONE, "unfinished")                                                                                \
        X(KEPT, "kept")                                                                                      \
        X(REFUSED, "not_connected")                                                                          \
        X(RESET, "reset")                                                                                    \
        X(SILENT, "silent")                                                                                  \
        X(EARLY, "closed_early")                                                                             \
        X(ANSWER, "answer_wrong")                                                                            \
        X(BODY, "body_wrong")
enum end {
#define X(id, name) END_##id,
        ENDS(X)
#undef X
                END_COUNT
};
static const char *const end_name[] = {
#define X(id, name) name,
        ENDS(X)
#undef X
};

enum phase { PHASE_NEW, PHASE_CONNECT, PHASE_SEND, PHASE_HEAD, PHASE_BODY, PHASE_PAUSE, PHASE_OVER };

struct conn {
        int fd;
        enum phase phase;
        enum end end;
        uint64_t offset; /* of its part, in the file */
        uint64_t done;   /* bytes of this body, either way */
        uint64_t length; /* of the answer's body; uploads: of what is expected to come back */
        uint64_t sum;    /* uploads */
        unsigned asked;  /* requests so far */
        uint16_t head_used, head_sent, head_length;
        double allowance; /* bytes that it may read now */
        int64_t last_ns;  /* the newest progress; when the request was made */
        int64_t resume_ns;
        int64_t gap_ns, marked_ns;
        char head[HEAD_MAX];
};

struct options {
        struct sockaddr_storage to;
        socklen_t to_size;
        const char *host, *path, *write, *series;
        unsigned connections, requests;
        uint64_t bytes, file_bytes, seed;
        unsigned shuffle;
        double rate, mark, connect_rate;
        int64_t for_ns, window_ns, pause_ns, slot_ns, patience_ns;
        int receive_buffer;
        bool is_upload, does_close, tells_each;
};

struct slot {
        uint64_t bytes;
        unsigned alive;
};

struct client {
        struct options o;
        struct conn *conn;
        int epoll;
        unsigned begun, connected, over, open_at_mark;
        uint64_t moved, expected; /* body bytes */
        int64_t start_ns, mark_ns, end_ns;
        unsigned alive;
        unsigned ends[END_COUNT];
        char first_error[160];
        struct slot slot[SLOTS];
        unsigned slots;
        uint8_t chunk[CHUNK];
        struct lab_hist gaps, marked;
};

static volatile sig_atomic_t is_told_to_stop, is_told_to_mark;

static void on_signal(int signal_number)
{
        if (signal_number == SIGUSR1)
                is_told_to_mark = 1;
        else
                is_told_to_stop = 1;
}

/* ---- time ---------------------------------------------------------------------------------- */

/* Slots without any event have what the one before had: nobody came or went. */
static void slots_reach(struct client *c, int64_t now_ns)
{
        int64_t at = (now_ns - c->start_ns) / c->o.slot_ns;
        unsigned want = at < SLOTS - 1 ? (unsigned)at + 1 : SLOTS;
        while (c->slots < want)
                c->slot[c->slots++].alive = c->alive;
        c->slot[c->slots - 1].alive = c->alive;
}

static void mark(struct client *c, int64_t now_ns)
{
        c->mark_ns = now_ns;
        c->open_at_mark = c->o.connections - c->over;
        puts("mark");
        fflush(stdout);
}

/* Something moved on this connection: how long did nothing? */
static void progress(struct client *c, struct conn *k, uint64_t bytes, int64_t now_ns)
{
        int64_t gap_ns = now_ns - k->last_ns;
        if (gap_ns > k->gap_ns)
                k->gap_ns = gap_ns;
        if (c->mark_ns && now_ns >= c->mark_ns && k->last_ns <= c->mark_ns + c->o.window_ns &&
            gap_ns > k->marked_ns)
                k->marked_ns = gap_ns;
        k->last_ns = now_ns;
        slots_reach(c, now_ns);
        c->slot[c->slots - 1].bytes += bytes;
        c->moved += bytes;
        if (!c->mark_ns && (double)c->moved >= c->o.mark * (double)c->expected)
                mark(c, now_ns);
}

/* ---- the end of a connection ----------------------------------------------------------------- */

static void conn_over(struct client *c, struct conn *k, enum end end, const char *say)
{
        int64_t now_ns = dog_clock_mono_ns();
        /* A connection that never went on has not had a short gap. */
        if (k->phase > PHASE_CONNECT && k->phase != PHASE_PAUSE)
                progress(c, k, 0, now_ns);
        if (k->phase > PHASE_CONNECT)
                c->alive--;
        slots_reach(c, now_ns);
        if (k->fd >= 0)
                close(k->fd);
        k->fd = -1;
        k->phase = PHASE_OVER;
        k->end = end;
        c->ends[end]++;
        c->over++;
        if (end != END_KEPT && !c->first_error[0])
                snprintf(c->first_error, sizeof(c->first_error),
                         "connection %td, request %u, byte %llu of its body: %s", k - c->conn, k->asked,
                         (unsigned long long)k->done, say);
}

static void conn_failed(struct client *c, struct conn *k, int error)
{
        conn_over(c, k, k->phase == PHASE_CONNECT ? END_REFUSED : END_RESET, strerror(error));
}

static void watch(struct client *c, struct conn *k, uint32_t events, int how)
{
        struct epoll_event ev = {.events = events, .data.ptr = k};
        if (epoll_ctl(c->epoll, how, k->fd, &ev) < 0)
                conn_over(c, k, END_RESET, strerror(errno));
}

/* ---- asking ------------------------------------------------------------------------------------ */

static void request_make(struct client *c, struct conn *k)
{
        const struct options *o = &c->o;
        struct dog_rng r;
        bool is_last = ++k->asked >= o->requests;
        /* Its own part for every connection and request, the same in every run with this --shuffle. */
        dog_rng_init(&r, ((uint64_t)o->shuffle << 48) ^ ((uint64_t)(k - c->conn) << 24) ^ k->asked);
        k->offset = o->file_bytes > o->bytes ? dog_rng_below(&r, o->file_bytes - o->bytes) : 0;
        const char *after = o->does_close && is_last ? "close" : "keep-alive";
        int n = o->is_upload
                        ? snprintf(k->head, sizeof(k->head),
                                   "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %llu\r\nConnection: "
                                   "%s\r\n\r\n",
                                   o->path, o->host, (unsigned long long)o->bytes, after)
                        : snprintf(k->head, sizeof(k->head),
                                   "GET %s HTTP/1.1\r\nHost: %s\r\nRange: bytes=%llu-%llu\r\nConnection: "
                                   "%s\r\n\r\n",
                                   o->path, o->host, (unsigned long long)k->offset,
                                   (unsigned long long)(k->offset + o->bytes - 1), after);
        k->head_length = (uint16_t)n;
        k->head_sent = 0;
        k->done = 0;
        k->sum = 0;
        k->last_ns = dog_clock_mono_ns();
        k->phase = PHASE_SEND;
}

/* Asked: the answer's header goes where the request's was. */
static void request_sent(struct client *c, struct conn *k)
{
        k->head_used = 0;
        k->phase = PHASE_HEAD;
        watch(c, k, EPOLLIN, EPOLL_CTL_MOD);
}

static bool would_wait(void)
{
        return errno == EAGAIN || errno == EINTR;
}

/* @return false when nothing more can be sent now */
static bool send_head(struct client *c, struct conn *k)
{
        ssize_t n =
                send(k->fd, k->head + k->head_sent, (size_t)(k->head_length - k->head_sent), MSG_NOSIGNAL);
        if (n < 0) {
                if (!would_wait())
                        conn_failed(c, k, errno);
                return false;
        }
        k->head_sent = (uint16_t)(k->head_sent + n);
        return k->head_sent == k->head_length;
}

static bool send_body(struct client *c, struct conn *k)
{
        uint64_t left = c->o.bytes - k->done;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;
        lab_pattern_fill(c->o.seed, k->offset + k->done, c->chunk, n);
        ssize_t sent = send(k->fd, c->chunk, n, MSG_NOSIGNAL);
        if (sent < 0) {
                if (!would_wait())
                        conn_failed(c, k, errno);
                return false;
        }
        k->sum = lab_pattern_sum(k->sum, c->chunk, (size_t)sent);
        k->done += (uint64_t)sent;
        progress(c, k, (uint64_t)sent, dog_clock_mono_ns());
        return k->done == c->o.bytes;
}

static void on_writable(struct client *c, struct conn *k)
{
        if (k->head_sent < k->head_length && !send_head(c, k))
                return;
        if (!c->o.is_upload || send_body(c, k))
                request_sent(c, k);
}

/* ---- the answer ---------------------------------------------------------------------------------- */

static void answer_whole(struct client *c, struct conn *k)
{
        if (k->asked >= c->o.requests) {
                conn_over(c, k, END_KEPT, "");
                return;
        }
        k->resume_ns = dog_clock_mono_ns() + c->o.pause_ns;
        k->phase = PHASE_PAUSE;
        if (c->o.pause_ns == 0)
                request_make(c, k);
        watch(c, k, k->phase == PHASE_SEND ? EPOLLOUT : EPOLLRDHUP, EPOLL_CTL_MOD);
}

/* What an upload is answered with: its length and sum. */
static void upload_answered(struct client *c, struct conn *k, const char *body)
{
        char want[64];
        snprintf(want, sizeof(want), "%llu %016llx\n", (unsigned long long)c->o.bytes,
                 (unsigned long long)k->sum);
        if (strcmp(body, want) == 0)
                answer_whole(c, k);
        else
                conn_over(c, k, END_BODY, "the server received something else");
}

static void body_take(struct client *c, struct conn *k, const uint8_t *bytes, size_t n)
{
        if (n > k->length - k->done) {
                conn_over(c, k, END_ANSWER, "more than the answer's length");
                return;
        }
        size_t right = lab_pattern_match(c->o.seed, k->offset + k->done, bytes, n);
        k->done += right;
        if (right < n) {
                conn_over(c, k, END_BODY, "the byte is wrong");
                return;
        }
        progress(c, k, n, dog_clock_mono_ns());
        if (k->done == k->length)
                answer_whole(c, k);
}

/* The status line and Content-Length; nothing else matters here. */
static bool head_read(const struct client *c, struct conn *k)
{
        const char *length = strcasestr(k->head, "\r\nContent-Length:");
        bool is_ok = strncmp(k->head, c->o.is_upload ? "HTTP/1.1 200 " : "HTTP/1.1 206 ", 13) == 0;
        if (!is_ok || !length)
                return false;
        k->length = strtoull(length + 17, NULL, 10);
        return c->o.is_upload ? k->length < 64 : k->length == c->o.bytes;
}

static void head_take(struct client *c, struct conn *k, const uint8_t *bytes, size_t n)
{
        size_t room = sizeof(k->head) - 1 - k->head_used;
        size_t take = n < room ? n : room;
        memcpy(k->head + k->head_used, bytes, take);
        k->head_used = (uint16_t)(k->head_used + take);
        k->head[k->head_used] = 0;
        const char *end = memmem(k->head, k->head_used, "\r\n\r\n", 4);
        progress(c, k, 0, dog_clock_mono_ns());
        if (!end) {
                if (take < n || k->head_used == sizeof(k->head) - 1)
                        conn_over(c, k, END_ANSWER, "a header without end");
                return;
        }
        size_t head = (size_t)(end + 4 - k->head);
        if (!head_read(c, k)) {
                k->head[strcspn(k->head, "\r\n")] = 0;
                conn_over(c, k, END_ANSWER, k->head);
                return;
        }
        if (c->o.is_upload) {
                if (k->head_used - head == k->length)
                        upload_answered(c, k, k->head + head);
                return;
        }
        size_t before = k->head_used - take;
        k->done = 0;
        /* Who is paced reads in his own rhythm: a thousand at one tick would be a burst that the lab's links
         * lose. */
        k->allowance = -(double)((k - c->conn) % 61) / 61 * BITE;
        k->phase = PHASE_BODY;
        if (c->o.rate > 0) /* from here on the tick reads; errors still wake us, once */
                watch(c, k, EPOLLET, EPOLL_CTL_MOD);
        if (k->phase == PHASE_BODY && n > head - before)
                body_take(c, k, bytes + (head - before), n - (head - before));
}

static void on_readable(struct client *c, struct conn *k, size_t most)
{
        ssize_t n = recv(k->fd, c->chunk, most, 0);
        if (n < 0) {
                if (!would_wait())
                        conn_failed(c, k, errno);
        } else if (n == 0) {
                conn_over(c, k, END_EARLY, "the server closed the connection");
        } else if (k->phase == PHASE_HEAD) {
                head_take(c, k, c->chunk, (size_t)n);
        } else if (k->phase == PHASE_BODY) {
                k->allowance -= (double)n;
                body_take(c, k, c->chunk, (size_t)n);
        } else {
                conn_over(c, k, END_ANSWER, "bytes that nobody asked for");
        }
}

/* ---- connecting ---------------------------------------------------------------------------------- */

static void conn_begin(struct client *c, struct conn *k)
{
        int one = 1;
        k->fd = socket(c->o.to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        k->phase = PHASE_CONNECT;
        if (k->fd < 0) {
                conn_over(c, k, END_REFUSED, strerror(errno));
                return;
        }
        setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (c->o.receive_buffer)
                setsockopt(k->fd, SOL_SOCKET, SO_RCVBUF, &c->o.receive_buffer, sizeof(c->o.receive_buffer));
        if (connect(k->fd, (const struct sockaddr *)&c->o.to, c->o.to_size) < 0 && errno != EINPROGRESS) {
                conn_over(c, k, END_REFUSED, strerror(errno));
                return;
        }
        watch(c, k, EPOLLOUT, EPOLL_CTL_ADD);
}

static void on_connected(struct client *c, struct conn *k)
{
        int error = 0;
        socklen_t size = sizeof(error);
        if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
                conn_over(c, k, END_REFUSED, strerror(error ? error : errno));
                return;
        }
        c->connected++;
        c->alive++;
        if (c->connected == c->o.connections) {
                puts("connected");
                fflush(stdout);
        }
        request_make(c, k);
        on_writable(c, k);
}

static void on_event(struct client *c, struct conn *k, uint32_t events)
{
        if (k->phase == PHASE_CONNECT) {
                on_connected(c, k);
        } else if (k->phase == PHASE_SEND) {
                /* An answer before its time ends it, which sending tells as well. */
                if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
                        on_writable(c, k);
        } else if (k->phase == PHASE_PAUSE) {
                if (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP))
                        conn_over(c, k, END_EARLY, "closed between two requests");
        } else if (k->phase != PHASE_OVER) {
                on_readable(c, k, CHUNK);
        }
}

/* ---- the run ------------------------------------------------------------------------------------- */

/* New connections at their pace, reads at theirs, the next request of who paused, the end of who waits too
 * long. */
static void on_tick(struct client *c, int64_t now_ns, int64_t since_ns)
{
        double due = (double)(now_ns - c->start_ns) / 1e9 * c->o.connect_rate + 1;
        while (c->begun < c->o.connections && (double)c->begun < due)
                conn_begin(c, &c->conn[c->begun++]);
        for (unsigned i = 0; i < c->begun; i++) {
                struct conn *k = &c->conn[i];
                if (k->phase >= PHASE_SEND && k->phase <= PHASE_BODY &&
                    now_ns - k->last_ns > c->o.patience_ns)
                        conn_over(c, k, END_SILENT, "no progress any more");
                else if (k->phase == PHASE_PAUSE && now_ns >= k->resume_ns) {
                        request_make(c, k);
                        watch(c, k, EPOLLOUT, EPOLL_CTL_MOD);
                } else if (k->phase == PHASE_BODY && c->o.rate > 0) {
                        k->allowance += c->o.rate * (double)since_ns / 1e9;
                        if (k->allowance > CHUNK)
                                k->allowance = CHUNK;
                        if (k->allowance >= BITE)
                                on_readable(c, k, (size_t)k->allowance);
                }
        }
        slots_reach(c, now_ns);
}

static void client_run(struct client *c)
{
        struct epoll_event ev[256];
        int64_t tick_ns = 0;
        c->start_ns = dog_clock_mono_ns();
        tick_ns = c->start_ns;
        on_tick(c, c->start_ns, 0);
        while (c->over < c->o.connections && !is_told_to_stop) {
                int64_t now_ns = dog_clock_mono_ns();
                if (now_ns - c->start_ns > c->o.for_ns)
                        break;
                if (is_told_to_mark && !c->mark_ns)
                        mark(c, now_ns);
                if (now_ns - tick_ns >= TICK_NS) {
                        on_tick(c, now_ns, now_ns - tick_ns);
                        tick_ns = now_ns;
                }
                int n = epoll_wait(c->epoll, ev, ARRAY_SIZE(ev), (int)(TICK_NS / DOG_MS));
                for (int i = 0; i < n; i++)
                        on_event(c, ev[i].data.ptr, ev[i].events);
        }
        c->end_ns = dog_clock_mono_ns();
        for (unsigned i = 0; i < c->o.connections; i++)
                if (c->conn[i].phase != PHASE_OVER)
                        conn_over(c, &c->conn[i], END_NONE, "not finished in time");
}

/* ---- what was seen --------------------------------------------------------------------------------- */

static json_t *gaps_json(const struct lab_hist *h)
{
        return json_pack("{s:f,s:f,s:f,s:f}", "p50", (double)lab_hist_at(h, 0.5) / 1e6, "p95",
                         (double)lab_hist_at(h, 0.95) / 1e6, "p99", (double)lab_hist_at(h, 0.99) / 1e6, "max",
                         (double)h->max_ns / 1e6);
}

/* The marked gap of every connection, in their order; null for one that was lost. */
static json_t *each_json(const struct client *c)
{
        json_t *list = json_array();
        for (unsigned i = 0; i < c->o.connections; i++)
                json_array_append_new(list, c->conn[i].end <= END_KEPT
                                                    ? json_real((double)c->conn[i].marked_ns / 1e6)
                                                    : json_null());
        return list;
}

static void client_report(struct client *c)
{
        for (unsigned i = 0; i < c->o.connections; i++) {
                if (c->conn[i].end > END_KEPT || c->conn[i].asked == 0)
                        continue;
                lab_hist_add(&c->gaps, c->conn[i].gap_ns);
                lab_hist_add(&c->marked, c->conn[i].marked_ns);
        }
        json_t *r = json_pack("{s:i,s:i,s:i,s:I,s:f,s:f,s:o,s:o}", "connections", (int)c->o.connections,
                              "connected", (int)c->connected, "open_at_mark", (int)c->open_at_mark, "bytes",
                              (json_int_t)c->moved, "seconds", (double)(c->end_ns - c->start_ns) / 1e9,
                              "mark_s", c->mark_ns ? (double)(c->mark_ns - c->start_ns) / 1e9 : -1.0,
                              "gap_ms", gaps_json(&c->gaps), "marked_ms", gaps_json(&c->marked));
        for (unsigned i = 0; i < END_COUNT; i++)
                json_object_set_new(r, end_name[i], json_integer(c->ends[i]));
        if (c->o.tells_each)
                json_object_set_new(r, "marked_each_ms", each_json(c));
        if (c->first_error[0])
                json_object_set_new(r, "first_error", json_string(c->first_error));
        json_dumpf(r, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(r);
}

/* Times are from the mark on; before it they are negative. */
static int series_write(const struct client *c, struct dog_err *e)
{
        FILE *out = fopen(c->o.series, "we");
        if (!out)
                return dog_err_set(e, -errno, "cannot write %s: %s", c->o.series, strerror(errno));
        double mark_ms = c->mark_ns ? (double)(c->mark_ns - c->start_ns) / 1e6 : 0;
        fputs("t_ms,bytes,alive\n", out);
        for (unsigned i = 0; i < c->slots; i++)
                fprintf(out, "%.1f,%llu,%u\n", (double)i * (double)c->o.slot_ns / 1e6 - mark_ms,
                        (unsigned long long)c->slot[i].bytes, c->slot[i].alive);
        if (fclose(out) != 0)
                return dog_err_set(e, -EIO, "cannot write %s", c->o.series);
        return 0;
}

static int file_write(const struct options *o, struct dog_err *e)
{
        uint8_t chunk[CHUNK];
        FILE *out = fopen(o->write, "we");
        if (!out)
                return dog_err_set(e, -errno, "cannot write %s: %s", o->write, strerror(errno));
        for (uint64_t at = 0; at < o->bytes && !ferror(out);) {
                size_t n = o->bytes - at < CHUNK ? (size_t)(o->bytes - at) : CHUNK;
                lab_pattern_fill(o->seed, at, chunk, n);
                at += fwrite(chunk, 1, n, out);
        }
        int rc = ferror(out) ? -EIO : 0;
        if (fclose(out) != 0 || rc)
                return dog_err_set(e, -EIO, "cannot write %s: is there room?", o->write);
        return 0;
}

/* ---- options ------------------------------------------------------------------------------------- */

static int to_option(struct options *o, const char *text, struct dog_err *e)
{
        struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        char host[64];
        const char *colon = strrchr(text, ':');
        size_t n = colon ? (size_t)(colon - text) : 0;
        if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
                text++;
                n -= 2;
        }
        if (n == 0 || n >= sizeof(host))
                return dog_err_set(e, -EINVAL, "--to: write ADDRESS:PORT or [ADDRESS]:PORT");
        memcpy(host, text, n);
        host[n] = 0;
        int rc = getaddrinfo(host, colon + 1, &hints, &found);
        if (rc)
                return dog_err_set(e, -EINVAL, "--to %s: %s", text, gai_strerror(rc));
        memcpy(&o->to, found->ai_addr, found->ai_addrlen);
        o->to_size = found->ai_addrlen;
        freeaddrinfo(found);
        return 0;
}

static int number_option(const char *name, const char *text, unsigned most, unsigned *to, struct dog_err *e)
{
        char *end = NULL;
        unsigned long n = strtoul(text, &end, 10);
        if (end == text || *end || n == 0 || n > most)
                return dog_err_set(e, -EINVAL, "--%s \"%s\": 1 to %u", name, text, most);
        *to = (unsigned)n;
        return 0;
}

static int real_option(const char *name, const char *text, double most, double *to, struct dog_err *e)
{
        char *end = NULL;
        double v = strtod(text, &end);
        if (end == text || *end || !(v > 0) || v > most)
                return dog_err_set(e, -EINVAL, "--%s \"%s\": more than 0, at most %g", name, text, most);
        *to = v;
        return 0;
}

static const struct option options[] = {{"to", 1, NULL, 't'},
                                        {"connections", 1, NULL, 'c'},
                                        {"path", 1, NULL, 'p'},
                                        {"bytes", 1, NULL, 'b'},
                                        {"file-bytes", 1, NULL, 'f'},
                                        {"requests", 1, NULL, 'r'},
                                        {"upload", 0, NULL, 'u'},
                                        {"close", 0, NULL, 'C'},
                                        {"rate", 1, NULL, 'R'},
                                        {"mark", 1, NULL, 'm'},
                                        {"window", 1, NULL, 'w'},
                                        {"pause", 1, NULL, 'P'},
                                        {"for", 1, NULL, 'F'},
                                        {"connect-rate", 1, NULL, 'n'},
                                        {"seed", 1, NULL, 's'},
                                        {"series", 1, NULL, 'S'},
                                        {"slot", 1, NULL, 'o'},
                                        {"write", 1, NULL, 'W'},
                                        {"buffer", 1, NULL, 'B'},
                                        {"shuffle", 1, NULL, 'x'},
                                        {"each", 0, NULL, 'e'},
                                        {"patience", 1, NULL, 'i'},
                                        {NULL, 0, NULL, 0}};

static int option_take(struct options *o, int id, const char *text, struct dog_err *e)
{
        unsigned n = 0;
        uint64_t size = 0;
        int rc = 0;
        switch (id) {
        case 't':
                return to_option(o, text, e);
        case 'c':
                return number_option("connections", text, 60000, &o->connections, e);
        case 'r':
                return number_option("requests", text, 1000000, &o->requests, e);
        case 's':
                rc = number_option("seed", text, 1U << 30, &n, e);
                o->seed = n;
                return rc;
        case 'x':
                return number_option("shuffle", text, 65535, &o->shuffle, e);
        case 'e':
                o->tells_each = true;
                return 0;
        case 'b':
                return dog_units_size(text, &o->bytes, e);
        case 'f':
                return dog_units_size(text, &o->file_bytes, e);
        case 'B':
                rc = dog_units_size(text, &size, e);
                o->receive_buffer = size < 1U << 30 ? (int)size : 1 << 30;
                return rc;
        case 'R':
                rc = dog_units_size(text, &size, e);
                o->rate = (double)size;
                return rc;
        case 'm':
                return real_option("mark", text, 1, &o->mark, e);
        case 'n':
                return real_option("connect-rate", text, 1e6, &o->connect_rate, e);
        case 'w':
                return dog_units_time(text, &o->window_ns, e);
        case 'P':
                return dog_units_time(text, &o->pause_ns, e);
        case 'i':
                return dog_units_time(text, &o->patience_ns, e);
        case 'F':
                return dog_units_time(text, &o->for_ns, e);
        case 'o':
                return dog_units_time(text, &o->slot_ns, e);
        case 'p':
                o->path = text;
                return 0;
        case 'S':
                o->series = text;
                return 0;
        case 'W':
                o->write = text;
                return 0;
        case 'u':
                o->is_upload = true;
                return 0;
        case 'C':
                o->does_close = true;
                return 0;
        default:
                return dog_err_set(e, -EINVAL, "see the head of lab/holdclient.c for the options");
        }
}

static int options_read(struct options *o, int argc, char **argv, struct dog_err *e)
{
        int rc = 0;
        *o = (struct options){.host = "lab",
                              .path = "/",
                              .connections = 1,
                              .requests = 1,
                              .seed = 1,
                              .mark = 0.5,
                              .connect_rate = 5000,
                              .for_ns = 60 * DOG_S,
                              .patience_ns = 10 * DOG_S,
                              .window_ns = 2 * DOG_S,
                              .slot_ns = 100 * DOG_MS};
        for (int id; rc >= 0 && (id = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                rc = option_take(o, id, optarg, e);
        if (rc < 0)
                return rc;
        if (optind < argc)
                return dog_err_set(e, -EINVAL, "\"%s\" is not an option", argv[optind]);
        if (o->bytes == 0 || (!o->write && o->to_size == 0))
                return dog_err_set(e, -EINVAL, "say --bytes, and --to ADDRESS:PORT or --write FILE");
        if (strlen(o->path) > 200 || o->slot_ns <= 0)
                return dog_err_set(e, -EINVAL, "--path takes at most 200 characters, --slot a time above 0");
        if (o->file_bytes && o->file_bytes < o->bytes)
                return dog_err_set(e, -EINVAL, "--file-bytes is less than --bytes");
        return 0;
}

static int client_open(struct client *c, struct dog_err *e)
{
        struct rlimit files = {c->o.connections + 64, c->o.connections + 64};
        struct rlimit now;
        if (getrlimit(RLIMIT_NOFILE, &now) < 0 ||
            (now.rlim_cur < files.rlim_cur && setrlimit(RLIMIT_NOFILE, &files) < 0))
                return dog_err_set(e, -errno, "%u connections are more files than this user may open",
                                   c->o.connections);
        c->expected = c->o.bytes * c->o.connections * c->o.requests;
        c->conn = calloc(c->o.connections, sizeof(*c->conn));
        c->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (!c->conn || c->epoll < 0)
                return dog_err_set(e, -ENOMEM, "no memory for %u connections", c->o.connections);
        for (unsigned i = 0; i < c->o.connections; i++)
                c->conn[i].fd = -1;
        return 0;
}

int main(int argc, char **argv)
{
        static struct client c;
        struct dog_err e = {0};
        struct sigaction act = {.sa_handler = on_signal};
        sigaction(SIGUSR1, &act, NULL);
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGTERM, &act, NULL);
        int rc = options_read(&c.o, argc, argv, &e);
        if (rc >= 0 && c.o.write) {
                rc = file_write(&c.o, &e);
        } else if (rc >= 0 && (rc = client_open(&c, &e)) >= 0) {
                client_run(&c);
                client_report(&c);
                if (c.o.series)
                        rc = series_write(&c, &e);
        }
        free(c.conn);
        if (rc < 0)
                fprintf(stderr, "holdclient: %s\n", e.text);
        return rc >= 0 ? 0 : rc == -EINVAL ? 2 : 1;
}
