#include "sources/feed_fetch.h"

#include "base/clock.h"
#include "base/log.h"
#include "hands/privilege.h"
#include "wire/ical.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
        FETCH_AT_ONCE = 4,
        FETCH_LOOK_MS = 50,     /* while children run: how often to look whether they do */
        FETCH_CPU_S = 10,       /* of one fetch */
        FETCH_PARSE_S = 10,     /* above the exchange's time limit */
        FETCH_ROOM = 16 << 10,  /* the first buffer */
        FETCH_MEMORY = 96 << 20 /* of one fetch, beside what it receives */
};

/* The address sanitizer's own memory would not fit. */
#if defined(__has_feature)
#define FETCH_SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define FETCH_SANITIZED 1
#else
#define FETCH_SANITIZED 0
#endif

/* ---- what an entry is about ---- */

static bool is_of_name(char c)
{
        return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

/* Is the name a word of the text, in any case of letters? */
static bool text_names(const char *text, const char *name)
{
        size_t n = strlen(name);
        for (const char *at = text; (at = strcasestr(at, name)); at++) {
                bool is_begin = at == text || !is_of_name(at[-1]);
                /* A full stop ends a sentence more often than it belongs to a name. */
                bool is_end = !is_of_name(at[n]) || (at[n] == '.' && !is_of_name(at[n + 1]));
                if (is_begin && is_end)
                        return true;
        }
        return false;
}

uint32_t dog_feed_about(const struct dog_feed_settings *s, const struct dog_feed_entry *entry)
{
        uint32_t everything = s->affected >= 32 ? UINT32_MAX : (UINT32_C(1) << s->affected) - 1;
        uint32_t named = 0;
        bool is_matched =
                s->match && (strcasestr(entry->words, s->match) || strcasestr(entry->where, s->match));
        if (s->match && !is_matched)
                return 0;
        for (unsigned i = 0; i < s->affected; i++)
                if (text_names(entry->where, s->affects[i]) || text_names(entry->words, s->affects[i]))
                        named |= UINT32_C(1) << i;
        if (named)
                return named;
        /* A calendar's LOCATION is free text; "where" of our own form names something, and not ours. */
        bool is_elsewhere = s->kind != DOG_FEED_CALENDAR && entry->where[0] && !is_matched;
        return is_elsewhere ? 0 : everything;
}

/* ---- one fetch ---- */

struct fetch {
        const struct dog_feed_settings *settings;
        void (*send)(void *user, const struct dog_feed_packet *packet);
        void *user;
        struct dog_feed_packet entries; /* not yet sent */
        struct dog_feed_end end;
        struct dog_feed_reader reader;
        char *body;
        size_t size, room;
        bool is_too_long, has_no_memory;
        char type[80];
};

static void fetch_flush(struct fetch *x)
{
        if (x->entries.n)
                x->send(x->user, &x->entries);
        x->entries.n = 0;
}

static void fetch_take(void *user, const struct dog_feed_entry *entry)
{
        struct fetch *x = user;
        uint32_t names = dog_feed_about(x->settings, entry);
        if (!names) {
                dog_feed_drop(&x->reader, DOG_FEED_DROP_ELSEWHERE);
                x->reader.taken--;
                return;
        }
        struct dog_feed_packed *p = &x->entries.entry[x->entries.n++];
        *p = (struct dog_feed_packed){.start_s = entry->start_s,
                                      .end_s = entry->end_s,
                                      .severity = entry->severity,
                                      .names = names};
        memcpy(p->words, entry->words, sizeof(p->words));
        if (x->entries.n == DOG_FEED_PACKED)
                fetch_flush(x);
}

static void fetch_fail(struct fetch *x, enum dog_feed_fault fault, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void fetch_fail(struct fetch *x, enum dog_feed_fault fault, const char *format, ...)
{
        va_list args;
        char text[sizeof(x->end.text)];
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        x->end.fault = fault;
        dog_feed_words(x->end.text, sizeof(x->end.text), text);
}

/* What a member function of the library wants: how much was taken; less ends the exchange. */
static size_t fetch_body(char *data, size_t one, size_t n, void *user)
{
        struct fetch *x = user;
        size_t more = one * n;
        x->end.bytes += more;
        if (x->end.bytes > x->settings->max_bytes) {
                x->is_too_long = true;
                return 0;
        }
        if (x->size + more > x->room) {
                size_t room = x->room ? x->room : FETCH_ROOM;
                while (room < x->size + more)
                        room *= 2;
                char *body = realloc(x->body, room);
                if (!body) {
                        x->has_no_memory = true;
                        return 0;
                }
                x->body = body;
                x->room = room;
        }
        memcpy(x->body + x->size, data, more);
        x->size += more;
        return more;
}

/* A validator is kept only whole: half of one would never match. */
static void header_keep(const char *line, size_t size, const char *name, char *to, size_t room)
{
        size_t n = strlen(name);
        if (size < n || strncasecmp(line, name, n) != 0)
                return;
        while (n < size && (line[n] == ' ' || line[n] == '\t'))
                n++;
        while (size > n && (unsigned char)line[size - 1] <= ' ')
                size--;
        bool is_fine = size - n < room;
        for (size_t i = n; i < size; i++)
                is_fine &= line[i] >= ' ' && line[i] < 127;
        to[0] = 0;
        if (is_fine) {
                memcpy(to, line + n, size - n);
                to[size - n] = 0;
        }
}

static size_t fetch_header(char *line, size_t one, size_t n, void *user)
{
        struct fetch *x = user;
        size_t size = one * n;
        /* A new answer begins, after a redirect: what was told before is not about this one. */
        if (size > 5 && strncasecmp(line, "HTTP/", 5) == 0)
                x->end.etag[0] = x->end.modified[0] = x->type[0] = 0;
        header_keep(line, size, "etag:", x->end.etag, sizeof(x->end.etag));
        header_keep(line, size, "last-modified:", x->end.modified, sizeof(x->end.modified));
        header_keep(line, size, "content-type:", x->type, sizeof(x->type));
        return size;
}

/* Servers say many things about a calendar; a page for people is the one that is surely none. */
static bool type_fits(const struct fetch *x)
{
        static const char *const calendar[] = {"text/calendar", "text/plain", "application/octet-stream",
                                               "application/ics", "binary/octet-stream"};
        static const char *const json[] = {"application/", "text/plain", "text/json", "text/javascript",
                                           "binary/octet-stream"};
        const char *const *fits = x->settings->kind == DOG_FEED_CALENDAR ? calendar : json;
        if (!x->type[0])
                return true;
        for (int i = 0; i < 5; i++)
                if (strncasecmp(x->type, fits[i], strlen(fits[i])) == 0)
                        return true;
        return false;
}

static enum dog_feed_fault fault_of(CURLcode rc)
{
        static const struct {
                CURLcode code;
                enum dog_feed_fault fault;
        } row[] = {{CURLE_OPERATION_TIMEDOUT, DOG_FEED_FAULT_TIMEOUT},
                   {CURLE_TOO_MANY_REDIRECTS, DOG_FEED_FAULT_REDIRECT},
                   {CURLE_UNSUPPORTED_PROTOCOL, DOG_FEED_FAULT_REDIRECT},
                   {CURLE_FILESIZE_EXCEEDED, DOG_FEED_FAULT_TOO_LONG},
                   {CURLE_OUT_OF_MEMORY, DOG_FEED_FAULT_MEMORY},
                   {CURLE_PEER_FAILED_VERIFICATION, DOG_FEED_FAULT_TLS},
                   {CURLE_SSL_CONNECT_ERROR, DOG_FEED_FAULT_TLS},
                   {CURLE_SSL_CACERT_BADFILE, DOG_FEED_FAULT_TLS},
                   {CURLE_SSL_CERTPROBLEM, DOG_FEED_FAULT_TLS}};
        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
                if (row[i].code == rc)
                        return row[i].fault;
        return DOG_FEED_FAULT_CONNECT;
}

static void curl_settle(CURL *curl, struct fetch *x, struct curl_slist *headers, char why[CURL_ERROR_SIZE])
{
        const struct dog_feed_settings *s = x->settings;
        bool is_tls = strncasecmp(s->url, "https:", 6) == 0;
        char agent[200];
        snprintf(agent, sizeof(agent), "sundog/" SUNDOG_VERSION "%s%s", s->contact ? " " : "",
                 s->contact ? s->contact : "");
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
        curl_easy_setopt(curl, CURLOPT_URL, s->url);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, is_tls ? "https" : "http,https");
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, s->redirects ? 1L : 0L);
        curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)s->redirects);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(s->timeout_ns / DOG_MS));
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(s->timeout_ns / DOG_MS));
        curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)s->max_bytes);
        curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
        curl_easy_setopt(curl, CURLOPT_USERAGENT, agent);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* what is in the environment is not configuration */
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, fetch_body);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
        curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, fetch_header);
        curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
}

static struct curl_slist *curl_headers(const struct dog_feed_settings *s,
                                       const struct dog_feed_request *request)
{
        char line[DOG_FEED_VALIDATOR + 32];
        struct curl_slist *list =
                curl_slist_append(NULL, s->kind == DOG_FEED_CALENDAR ? "Accept: text/calendar, */*;q=0.1"
                                                                     : "Accept: application/json, */*;q=0.1");
        if (request->etag[0]) {
                snprintf(line, sizeof(line), "If-None-Match: %s", request->etag);
                list = curl_slist_append(list, line);
        }
        if (request->modified[0]) {
                snprintf(line, sizeof(line), "If-Modified-Since: %s", request->modified);
                list = curl_slist_append(list, line);
        }
        return list;
}

/* @return whether there is a body to parse */
static bool fetch_url(struct fetch *x, const struct dog_feed_request *request)
{
        char why[CURL_ERROR_SIZE] = "";
        long status = 0;
        curl_off_t retry_s = 0;
        CURL *curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
        if (!curl) {
                fetch_fail(x, DOG_FEED_FAULT_MEMORY, "libcurl cannot start");
                return false;
        }
        struct curl_slist *headers = curl_headers(x->settings, request);
        curl_settle(curl, x, headers, why);
        CURLcode rc = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_s);
        x->end.status = (int32_t)status;
        x->end.retry_after_s = retry_s > 0 && retry_s < INT32_MAX ? (int32_t)retry_s : 0;
        curl_slist_free_all(headers);
        curl_easy_cleanup(curl);
        if (x->is_too_long || rc == CURLE_FILESIZE_EXCEEDED)
                fetch_fail(x, DOG_FEED_FAULT_TOO_LONG, "cut off at %llu bytes",
                           (unsigned long long)x->settings->max_bytes);
        else if (x->has_no_memory)
                fetch_fail(x, DOG_FEED_FAULT_MEMORY, "%zu bytes are there", x->size);
        else if (rc != CURLE_OK)
                fetch_fail(x, fault_of(rc), "%s", why[0] ? why : curl_easy_strerror(rc));
        else if (status == 304 && (request->etag[0] || request->modified[0]))
                x->end.is_unchanged = 1;
        else if (status >= 300 && status < 400)
                fetch_fail(x, DOG_FEED_FAULT_REDIRECT, "HTTP status %ld", status);
        else if (status != 200)
                fetch_fail(x, DOG_FEED_FAULT_STATUS, "HTTP status %ld", status);
        else if (!type_fits(x))
                fetch_fail(x, DOG_FEED_FAULT_TYPE, "%s", x->type);
        return x->end.fault == DOG_FEED_FINE && !x->end.is_unchanged;
}

static bool fetch_file(struct fetch *x, const struct dog_feed_request *request)
{
        struct stat st;
        char part[32 << 10];
        int fd = open(x->settings->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0) {
                fetch_fail(x, DOG_FEED_FAULT_FILE, "%s: %s", x->settings->file, strerror(errno));
                if (fd >= 0)
                        close(fd);
                return false;
        }
        if (!S_ISREG(st.st_mode)) {
                fetch_fail(x, DOG_FEED_FAULT_FILE, "%s is no file", x->settings->file);
                close(fd);
                return false;
        }
        snprintf(x->end.modified, sizeof(x->end.modified), "%lld.%09ld %lld %llu",
                 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size,
                 (unsigned long long)st.st_ino);
        if (strcmp(x->end.modified, request->modified) == 0) {
                x->end.is_unchanged = 1;
                close(fd);
                return false;
        }
        ssize_t got;
        while ((got = read(fd, part, sizeof(part))) > 0 && fetch_body(part, 1, (size_t)got, x))
                ;
        int error = errno;
        close(fd);
        if (x->is_too_long)
                fetch_fail(x, DOG_FEED_FAULT_TOO_LONG, "cut off at %llu bytes",
                           (unsigned long long)x->settings->max_bytes);
        else if (x->has_no_memory)
                fetch_fail(x, DOG_FEED_FAULT_MEMORY, "%zu bytes are there", x->size);
        else if (got < 0)
                fetch_fail(x, DOG_FEED_FAULT_FILE, "%s: %s", x->settings->file, strerror(error));
        return x->end.fault == DOG_FEED_FINE;
}

int dog_feed_parse(const struct dog_feed_settings *s, const char *text, size_t size,
                   struct dog_feed_reader *r, struct dog_err *e)
{
        if (s->kind == DOG_FEED_CALENDAR)
                return dog_ical_read(text, size, s->zone, r, e);
        return dog_feed_json_read(text, size, &s->map, r, e);
}

void dog_feed_fetch(const struct dog_feed_settings *s, const struct dog_feed_request *request,
                    int64_t now_wall_s, void (*send)(void *user, const struct dog_feed_packet *packet),
                    void *user)
{
        struct dog_err e = {0};
        struct fetch *x = calloc(1, sizeof(*x));
        static struct dog_feed_packet last; /* must not need memory */
        last = (struct dog_feed_packet){
                .feed = request->feed, .number = request->number, .message = DOG_FEED_MESSAGE_END};
        if (!x) {
                last.end.fault = DOG_FEED_FAULT_MEMORY;
                send(user, &last);
                return;
        }
        x->settings = s;
        x->send = send;
        x->user = user;
        x->entries = (struct dog_feed_packet){
                .feed = request->feed, .number = request->number, .message = DOG_FEED_MESSAGE_ENTRIES};
        x->reader = (struct dog_feed_reader){.now_s = now_wall_s,
                                             .until_s = now_wall_s + DOG_FEED_AHEAD_S,
                                             .most = DOG_FEED_ENTRIES,
                                             .take = fetch_take,
                                             .user = x};
        bool has_body = s->url ? fetch_url(x, request) : fetch_file(x, request);
        int rc = has_body ? dog_feed_parse(s, x->body ? x->body : "", x->size, &x->reader, &e) : 0;
        if (rc < 0)
                fetch_fail(x, rc == -ENOMEM ? DOG_FEED_FAULT_MEMORY : DOG_FEED_FAULT_MALFORMED, "%s", e.text);
        else
                fetch_flush(x);
        x->end.seen = x->reader.seen;
        memcpy(x->end.dropped, x->reader.dropped, sizeof(x->end.dropped));
        last.end = x->end;
        send(user, &last);
        free(x->body);
        free(x);
}

/* ---- the child ---- */

static void child_send(void *user, const struct dog_feed_packet *packet)
{
        const int *fd = user;
        while (send(*fd, packet, sizeof(*packet), MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        _exit(1); /* nobody listens any more */
}

static void child_limit(const struct dog_feed_settings *s)
{
        struct rlimit cpu = {FETCH_CPU_S, FETCH_CPU_S + 1};
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CPU, &cpu);
        setrlimit(RLIMIT_CORE, &none);
#if !FETCH_SANITIZED
        /* A JSON document takes many times its size as a tree. */
        rlim_t most = FETCH_MEMORY + (rlim_t)s->max_bytes * 24;
        struct rlimit memory = {most, most};
        setrlimit(RLIMIT_DATA, &memory);
#else
        (void)s;
#endif
}

/* ---- the fetcher ---- */

struct fetcher_child {
        pid_t pid; /* 0: free */
        uint32_t feed, number;
        int64_t until_ns;
        bool is_killed;
};

struct fetcher {
        const struct dog_feed_settings *settings;
        unsigned n;
        int fd;
        struct fetcher_child child[FETCH_AT_ONCE];
};

static void fetcher_say(const struct fetcher *f, const struct fetcher_child *c, enum dog_feed_fault fault,
                        const char *text)
{
        static struct dog_feed_packet p;
        p = (struct dog_feed_packet){.feed = c->feed, .number = c->number, .message = DOG_FEED_MESSAGE_END};
        p.end.fault = fault;
        snprintf(p.end.text, sizeof(p.end.text), "%s", text);
        (void)send(f->fd, &p, sizeof(p), MSG_NOSIGNAL);
}

static void fetcher_begin(struct fetcher *f, struct fetcher_child *c, const struct dog_feed_request *request)
{
        const struct dog_feed_settings *s = &f->settings[request->feed];
        *c = (struct fetcher_child){.feed = request->feed,
                                    .number = request->number,
                                    .until_ns = dog_clock_mono_ns() + s->timeout_ns + FETCH_PARSE_S * DOG_S};
        pid_t parent = getpid();
        c->pid = fork();
        if (c->pid < 0) {
                c->pid = 0;
                fetcher_say(f, c, DOG_FEED_FAULT_READER, strerror(errno));
        } else if (c->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
                if (getppid() != parent)
                        _exit(1);
                child_limit(s);
                dog_feed_fetch(s, request, (int64_t)time(NULL), child_send, &f->fd);
                _exit(0);
        }
}

static void fetcher_reap(struct fetcher *f)
{
        for (int i = 0; i < FETCH_AT_ONCE; i++) {
                struct fetcher_child *c = &f->child[i];
                int status = 0;
                char text[80];
                if (!c->pid)
                        continue;
                if (waitpid(c->pid, &status, WNOHANG) != c->pid) {
                        if (!c->is_killed && dog_clock_mono_ns() > c->until_ns) {
                                kill(c->pid, SIGKILL);
                                c->is_killed = true;
                        }
                        continue;
                }
                c->pid = 0;
                if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                        continue; /* it has said all itself */
                bool is_late = c->is_killed || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
                if (WIFSIGNALED(status))
                        snprintf(text, sizeof(text), "signal %d (%s)", WTERMSIG(status),
                                 strsignal(WTERMSIG(status)));
                else
                        snprintf(text, sizeof(text), "status %d", WEXITSTATUS(status));
                fetcher_say(f, c, is_late ? DOG_FEED_FAULT_TIMEOUT : DOG_FEED_FAULT_READER,
                            is_late ? "the process that read it was ended" : text);
        }
}

static void fetcher_run(struct fetcher *f)
{
        for (;;) {
                struct fetcher_child *room = NULL;
                bool is_busy = false;
                for (int i = 0; i < FETCH_AT_ONCE; i++) {
                        is_busy |= f->child[i].pid != 0;
                        if (!f->child[i].pid)
                                room = &f->child[i];
                }
                struct pollfd p = {.fd = f->fd, .events = room ? POLLIN : 0};
                int n = poll(&p, 1, is_busy ? FETCH_LOOK_MS : -1);
                if (n > 0 && p.revents & POLLIN) {
                        struct dog_feed_request request;
                        ssize_t got = recv(f->fd, &request, sizeof(request), MSG_DONTWAIT);
                        if (got == 0)
                                return;
                        if (got == (ssize_t)sizeof(request) && request.feed < f->n) {
                                request.etag[sizeof(request.etag) - 1] = 0;
                                request.modified[sizeof(request.modified) - 1] = 0;
                                fetcher_begin(f, room, &request);
                        }
                } else if (n > 0 && p.revents & (POLLHUP | POLLERR)) {
                        return;
                }
                fetcher_reap(f);
        }
}

int dog_feed_fetcher_run(const struct dog_feed_settings *settings, unsigned n, int fd, struct dog_err *e)
{
        prctl(PR_SET_NAME, "sundog-feeds", 0, 0, 0);
        /* Ctrl-C and reloading are the decider's; when its socket closes, this ends. */
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        int rc = dog_seccomp_enter(DOG_SECCOMP_FETCH, e);
        if (rc < 0)
                return rc;
        struct fetcher f = {.settings = settings, .n = n, .fd = fd};
        fetcher_run(&f);
        return 0;
}
