/**
 * One end of STAMP on the command line, for the lab: what sources/stamp.h does in the daemon, on real
 * sockets.
 *
 *     stamp_tool reflect --at ADDRESS [--key TEXT] [--stateful] [--reports]     until SIGTERM
 *     stamp_tool probe --from ADDRESS --at ADDRESS [--key TEXT] [--every 50ms] [--for 2s] [--busy 0ms]
 * [--ptp]
 *
 * ADDRESS is 10.0.0.1:862 or [::1]:862. Prints one JSON object at the end. --busy: sleep so long before every
 * look at the socket, as an owner with other work would.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/units.h"
#include "sources/stamp.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOOL_SEEN = 65536 };

struct tool {
        const char *from, *at;
        const uint8_t *key;
        bool is_stateful, is_ptp, has_reports;
        int64_t every_ns, for_ns, busy_ns;
};

struct tool_seen {
        size_t count;
        double rtt_ms[TOOL_SEEN], out_ms[TOOL_SEEN], back_ms[TOOL_SEEN];
        double jitter_ms;
        uint64_t report_received;
};

static volatile sig_atomic_t tool_is_ended;

static void tool_end(int signal_number)
{
        (void)signal_number;
        tool_is_ended = 1;
}

static void tool_die(const char *what, const char *why)
{
        fprintf(stderr, "stamp_tool: %s: %s\n", what, why);
        exit(1);
}

static struct addrinfo *tool_address(const char *text)
{
        char host[128];
        const char *colon = text ? strrchr(text, ':') : NULL;
        if (!colon || (size_t)(colon - text) >= sizeof(host))
                tool_die(text ? text : "no address", "give it as 10.0.0.1:862 or [::1]:862");
        bool is_bracketed = text[0] == '[' && colon > text && colon[-1] == ']';
        size_t size = (size_t)(colon - text) - (is_bracketed ? 2 : 0);
        memcpy(host, text + (is_bracketed ? 1 : 0), size);
        host[size] = 0;
        struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
        struct addrinfo *found;
        int rc = getaddrinfo(host, colon + 1, &hints, &found);
        if (rc != 0)
                tool_die(text, gai_strerror(rc));
        return found;
}

/* A UDP socket bound to one address and, if there is another, connected to it. */
static int tool_socket(const char *local, const char *peer)
{
        struct addrinfo *a = tool_address(local);
        int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, a->ai_addr, a->ai_addrlen) < 0)
                tool_die(local, strerror(errno));
        freeaddrinfo(a);
        if (!peer)
                return fd;
        a = tool_address(peer);
        if (connect(fd, a->ai_addr, a->ai_addrlen) < 0)
                tool_die(peer, strerror(errno));
        freeaddrinfo(a);
        return fd;
}

static void tool_wait(int fd, int64_t until_ns)
{
        int64_t left_ns = until_ns - dog_clock_mono_ns();
        struct timespec t = {.tv_sec = left_ns / DOG_S, .tv_nsec = left_ns % DOG_S};
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left_ns > 0)
                ppoll(&p, 1, &t, NULL);
}

static void tool_dropped(const uint64_t *dropped)
{
        printf("\"dropped\":{");
        for (int i = DOG_STAMP_FINE + 1; i < DOG_STAMP_DROP_COUNT; i++)
                printf("%s\"%s\":%llu", i > 1 ? "," : "", dog_stamp_drop_word((enum dog_stamp_drop)i),
                       (unsigned long long)dropped[i]);
        printf("}}\n");
}

static bool tool_counters(void *user, uint16_t tunnel, uint8_t path, struct dog_stamp_report *r)
{
        (void)user;
        r->received = 1000U + path;
        return tunnel == 1;
}

static int tool_reflect(const struct tool *tool)
{
        struct dog_stamp_reflector *r;
        struct dog_err e = {0};
        struct dog_stamp_reflector_conf conf = {
                .fd = tool_socket(tool->at, NULL),
                .key = tool->key,
                .is_stateful = tool->is_stateful,
                .is_ptp = tool->is_ptp,
                .rate_per_s = 2000,
                .report = tool->has_reports ? tool_counters : NULL,
        };
        if (dog_stamp_reflector_new(&r, &conf, &e) < 0)
                tool_die(tool->at, e.text);
        while (!tool_is_ended) {
                int64_t now_ns = dog_clock_mono_ns();
                dog_stamp_reflector_on_readable(r, now_ns);
                dog_stamp_reflector_on_timer(r, now_ns);
                tool_wait(conf.fd, now_ns + 200 * DOG_MS);
        }
        const struct dog_stamp_reflector_stats *s = dog_stamp_reflector_stats(r);
        printf("{\"received\":%llu,\"answered\":%llu,\"sessions\":%llu,", (unsigned long long)s->received,
               (unsigned long long)s->answered, (unsigned long long)s->sessions);
        tool_dropped(s->dropped);
        dog_stamp_reflector_free(r);
        close(conf.fd);
        return 0;
}

static void tool_note(void *user, const struct dog_stamp_seen *seen)
{
        struct tool_seen *s = user;
        if (seen->sample.value[DOG_SIGNAL_LOSS] > 0 || s->count == TOOL_SEEN)
                return;
        s->rtt_ms[s->count] = seen->sample.value[DOG_SIGNAL_RTT];
        s->out_ms[s->count] = seen->out_ms;
        s->back_ms[s->count++] = seen->back_ms;
        if (!isnan(seen->sample.value[DOG_SIGNAL_JITTER]))
                s->jitter_ms = seen->sample.value[DOG_SIGNAL_JITTER];
}

static void tool_note_report(void *user, int64_t at_ns, const struct dog_stamp_report *r)
{
        (void)at_ns;
        ((struct tool_seen *)user)->report_received = r->received;
}

static int tool_order(const void *a, const void *b)
{
        double x = *(const double *)a;
        double y = *(const double *)b;
        return (x > y) - (x < y);
}

static double tool_share(double *value, size_t count, double share)
{
        if (count == 0)
                return -1;
        qsort(value, count, sizeof(*value), tool_order);
        return value[(size_t)((double)(count - 1) * share)];
}

static int tool_probe(const struct tool *tool)
{
        static struct tool_seen seen;
        struct dog_stamp_session *s;
        struct dog_err e = {0};
        struct dog_stamp_session_conf conf = {
                .fd = tool_socket(tool->from, tool->at),
                .key = tool->key,
                .ssid = 7,
                .is_ptp = tool->is_ptp,
                .interval_ns = tool->every_ns,
                .seed = (uint64_t)getpid(),
                .tunnel = 1,
                .path = 3,
                .seen = tool_note,
                .report = tool->has_reports ? tool_note_report : NULL,
                .user = &seen,
        };
        if (dog_stamp_session_new(&s, &conf, &e) < 0)
                tool_die(tool->at, e.text);
        int64_t end_ns = dog_clock_mono_ns() + tool->for_ns;
        for (int64_t now_ns; !tool_is_ended && (now_ns = dog_clock_mono_ns()) < end_ns;) {
                int64_t next_ns = dog_stamp_session_on_timer(s, now_ns);
                tool_wait(conf.fd, next_ns < end_ns ? next_ns : end_ns);
                if (tool->busy_ns)
                        usleep((useconds_t)(tool->busy_ns / DOG_US));
                dog_stamp_session_on_readable(s, dog_clock_mono_ns());
        }
        /* What is still out gets its time, but nothing more is sent. */
        const struct dog_stamp_session_stats *st = dog_stamp_session_stats(s);
        end_ns = dog_clock_mono_ns() + st->timeout_ns;
        for (int64_t now_ns; (now_ns = dog_clock_mono_ns()) < end_ns && st->answered + st->lost < st->sent;) {
                tool_wait(conf.fd, now_ns + 20 * DOG_MS);
                dog_stamp_session_on_readable(s, dog_clock_mono_ns());
        }
        dog_stamp_session_expire(s, INT64_MAX);
        printf("{\"sent\":%llu,\"send_failed\":%llu,\"answered\":%llu,\"lost\":%llu,\"late\":%llu,\"lost_"
               "out\":%llu,"
               "\"lost_back\":%llu,\"reports\":%llu,\"unreported\":%llu,\"report_received\":%llu,",
               (unsigned long long)st->sent, (unsigned long long)st->send_failed,
               (unsigned long long)st->answered, (unsigned long long)st->lost, (unsigned long long)st->late,
               (unsigned long long)st->lost_out, (unsigned long long)st->lost_back,
               (unsigned long long)st->reports, (unsigned long long)st->unreported,
               (unsigned long long)seen.report_received);
        printf("\"rtt_ms\":{\"min\":%.3f,\"p50\":%.3f,\"p95\":%.3f},\"out_ms\":%.3f,\"back_ms\":%.3f,"
               "\"jitter_ms\":%.3f,",
               tool_share(seen.rtt_ms, seen.count, 0), tool_share(seen.rtt_ms, seen.count, 0.5),
               tool_share(seen.rtt_ms, seen.count, 0.95), tool_share(seen.out_ms, seen.count, 0.5),
               tool_share(seen.back_ms, seen.count, 0.5), seen.jitter_ms);
        tool_dropped(st->dropped);
        dog_stamp_session_free(s);
        close(conf.fd);
        return 0;
}

static int64_t tool_time(const char *text)
{
        struct dog_err e = {0};
        int64_t ns = 0;
        if (dog_units_time(text, &ns, &e) < 0)
                tool_die(text, e.text);
        return ns;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"from", 1, NULL, 'f'},  {"at", 1, NULL, 'a'},       {"key", 1, NULL, 'k'},
                {"every", 1, NULL, 'e'}, {"for", 1, NULL, 'd'},      {"busy", 1, NULL, 'b'},
                {"ptp", 0, NULL, 'p'},   {"stateful", 0, NULL, 's'}, {"reports", 0, NULL, 'r'},
                {NULL, 0, NULL, 0},
        };
        static uint8_t key[DOG_STAMP_KEY_SIZE];
        struct tool tool = {.every_ns = 50 * DOG_MS, .for_ns = 2 * DOG_S};
        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
                switch (c) {
                case 'f':
                        tool.from = optarg;
                        break;
                case 'a':
                        tool.at = optarg;
                        break;
                case 'k':
                        memcpy(key, optarg, strnlen(optarg, sizeof(key)));
                        tool.key = key;
                        break;
                case 'e':
                        tool.every_ns = tool_time(optarg);
                        break;
                case 'd':
                        tool.for_ns = tool_time(optarg);
                        break;
                case 'b':
                        tool.busy_ns = tool_time(optarg);
                        break;
                case 'p':
                        tool.is_ptp = true;
                        break;
                case 's':
                        tool.is_stateful = true;
                        break;
                case 'r':
                        tool.has_reports = true;
                        break;
                default:
                        return 2;
                }
        }
        struct sigaction end = {.sa_handler = tool_end};
        sigaction(SIGTERM, &end, NULL);
        sigaction(SIGINT, &end, NULL);
        const char *what = optind < argc ? argv[optind] : "";
        if (strcmp(what, "reflect") == 0)
                return tool_reflect(&tool);
        if (strcmp(what, "probe") == 0)
                return tool_probe(&tool);
        fprintf(stderr, "stamp_tool: \"%s\" is neither reflect nor probe\n", what);
        return 2;
}
