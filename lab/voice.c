/**
 * voice: a numbered stream of UDP packets, and what became of it.
 *
 *     voice recv --bind 10.77.2.2:7000 --report r.json --series r.csv
 *     voice send --to 10.77.2.2:7000 --interval 20ms --size 160B --for 30s
 *
 * By default it resembles a call: 160 bytes every 20 ms. With --rate 50000 it is a stream in which a single
 * missing packet shows. The sender never waits for the receiver; the number of packets to come is in each of
 * them, so whatever is missing at the end is known to be missing. Both run on one machine, where the
 * monotonic clock is the same in every namespace: one-way delays are exact.
 *
 * A packet is bad when it is lost, or later than --late (150 ms) after it was handed to the kernel. The first
 * copy counts; a second one is a duplicate, and a tunnel that lets one through has a bug.
 */
#include "base/array.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/units.h"
#include "lab/hist.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAGIC        0x53564f49U /* "SVOI" */
#define HEADER_BYTES 32
#define SIZE_MAX_UDP 1472
#define BATCH        64
#define TOTAL_MAX    100000000U

/* On the wire, in network order: magic, stream, total, 0, seq (64), send time (64). */
struct stamp {
        uint32_t stream, total;
        uint64_t seq;
        int64_t sent_ns;
};

struct options {
        struct sockaddr_in to, from, bind;
        bool has_to, has_from, has_bind;
        int64_t interval_ns, for_ns, late_ns, idle_ns, zero_ns, series_ns, live_ns, wait_ns;
        double rate;
        uint64_t size, count;
        uint32_t stream;
        int tos;
        const char *report, *series;
};

static volatile sig_atomic_t is_told_to_stop;

static void stop(int signal_number)
{
        (void)signal_number;
        is_told_to_stop = 1;
}

static void stamp_write(uint8_t *to, const struct stamp *s)
{
        struct dog_bytes b = dog_bytes_of(to, HEADER_BYTES);
        dog_write_u32(&b, MAGIC);
        dog_write_u32(&b, s->stream);
        dog_write_u32(&b, s->total);
        dog_write_u32(&b, 0);
        dog_write_u64(&b, s->seq);
        dog_write_u64(&b, (uint64_t)s->sent_ns);
}

static bool stamp_read(const uint8_t *from, size_t n, struct stamp *s)
{
        struct dog_bytes b = dog_bytes_in(from, n);
        uint32_t magic = dog_read_u32(&b);
        s->stream = dog_read_u32(&b);
        s->total = dog_read_u32(&b);
        dog_read_skip(&b, 4);
        s->seq = dog_read_u64(&b);
        s->sent_ns = (int64_t)dog_read_u64(&b);
        return !b.failed && magic == MAGIC && s->total > 0 && s->total <= TOTAL_MAX && s->seq < s->total;
}

/* Sleep until then, not a bit less. Returns false when told to stop. */
static bool sleep_until(int64_t at_ns)
{
        struct timespec at = {at_ns / DOG_S, at_ns % DOG_S};
        while (!is_told_to_stop) {
                int rc = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
                if (rc != EINTR)
                        return true;
        }
        return false;
}

static int report_write(const char *file, json_t *j, struct dog_err *e)
{
        int rc = 0;
        if (!j)
                return dog_err_set(e, -ENOMEM, "cannot make the report");
        if (file && json_dump_file(j, file, JSON_COMPACT | JSON_REAL_PRECISION(9)) < 0)
                rc = dog_err_set(e, -EIO, "cannot write the report %s: %s", file, strerror(errno));
        if (!file) {
                json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
                putchar('\n');
        }
        json_decref(j);
        return rc;
}

/* ---- send ---- */

static int send_socket(const struct options *o, struct dog_err *e)
{
        int bytes = 8 << 20;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return dog_err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
                setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
        if ((o->tos && setsockopt(fd, IPPROTO_IP, IP_TOS, &o->tos, sizeof(o->tos)) < 0) ||
            (o->has_from && bind(fd, (const struct sockaddr *)&o->from, sizeof(o->from)) < 0) ||
            connect(fd, (const struct sockaddr *)&o->to, sizeof(o->to)) < 0) {
                int rc = dog_err_set(e, -errno, "cannot send to there: %s", strerror(errno));
                close(fd);
                return rc;
        }
        return fd;
}

struct sender {
        int fd;
        uint32_t stream, total;
        size_t size;
        uint64_t errors;
        int last_error;
        struct mmsghdr out[BATCH];
        struct iovec vec[BATCH];
        uint8_t packet[BATCH][SIZE_MAX_UDP];
};

/* A refused packet is not sent again: a call does not wait either. It counts as sent, and as lost. */
static void burst_send(struct sender *s, uint64_t seq, unsigned n)
{
        struct stamp stamp = {.stream = s->stream, .total = s->total, .sent_ns = dog_clock_mono_ns()};
        for (unsigned i = 0; i < n; i++) {
                stamp.seq = seq + i;
                stamp_write(s->packet[i], &stamp);
                s->vec[i] = (struct iovec){s->packet[i], s->size};
                s->out[i].msg_hdr = (struct msghdr){.msg_iov = &s->vec[i], .msg_iovlen = 1};
        }
        for (unsigned at = 0; at < n;) {
                int sent = sendmmsg(s->fd, s->out + at, n - at, 0);
                if (sent > 0) {
                        at += (unsigned)sent;
                } else if (errno != EINTR) {
                        s->last_error = errno;
                        s->errors++;
                        at++;
                }
        }
}

static int send_run(const struct options *o, struct dog_err *e)
{
        static struct sender s;
        double gap_ns = o->rate > 0 ? 1e9 / o->rate : (double)o->interval_ns;
        double total = o->count ? (double)o->count : floor((double)o->for_ns / gap_ns + 0.5);
        if (total < 1 || total > TOTAL_MAX)
                return dog_err_set(e, -ERANGE, "%.0f packets: 1 to %u", total, TOTAL_MAX);
        s.fd = send_socket(o, e);
        if (s.fd < 0)
                return s.fd;
        s.stream = o->stream;
        s.total = (uint32_t)total;
        s.size = o->size;
        prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
        int64_t start_ns = dog_clock_mono_ns() + DOG_MS;
        /* Many a millisecond leave together; few a second leave each in its own time. */
        double step_ns = gap_ns < (double)DOG_MS ? (double)DOG_MS : gap_ns;
        uint64_t seq = 0;
        for (uint64_t step = 0; seq < s.total; step++) {
                if (!sleep_until(start_ns + (int64_t)((double)step * step_ns)))
                        break;
                uint64_t want = (uint64_t)((double)(step + 1) * step_ns / gap_ns + 0.5);
                if (want > s.total)
                        want = s.total;
                while (seq < want) {
                        unsigned n = want - seq > BATCH ? BATCH : (unsigned)(want - seq);
                        burst_send(&s, seq, n);
                        seq += n;
                }
        }
        close(s.fd);
        json_t *j = json_pack("{s:I,s:I,s:I,s:I,s:I,s:f}", "total", (json_int_t)s.total, "sent",
                              (json_int_t)seq, "refused", (json_int_t)s.errors, "start_ns",
                              (json_int_t)start_ns, "bytes", (json_int_t)(seq * o->size), "seconds",
                              (double)(dog_clock_mono_ns() - start_ns) / 1e9);
        if (s.errors)
                json_object_set_new(j, "why_refused", json_string(strerror(s.last_error)));
        return report_write(o->report, j, e);
}

/* ---- receive ---- */

/* One stream; the first packet heard decides which. */
struct receiver {
        uint32_t stream, total;
        int64_t *sent_ns, *got_ns; /* by seq; got 0 = not yet, sent only known when got */
        uint64_t received, duplicates, reordered, foreign;
        uint64_t highest;
        int64_t first_ns, last_ns, gap_ns, gap_at_ns;
        int64_t late_ns; /* older than this on arrival is late */
        uint64_t late;
        struct lab_hist delay;
        bool is_known;
};

static int receiver_start(struct receiver *r, const struct stamp *s, struct dog_err *e)
{
        r->sent_ns = calloc(s->total, sizeof(*r->sent_ns));
        r->got_ns = calloc(s->total, sizeof(*r->got_ns));
        if (!r->sent_ns || !r->got_ns)
                return dog_err_set(e, -ENOMEM, "no memory for %u packets", s->total);
        r->stream = s->stream;
        r->total = s->total;
        r->is_known = true;
        return 0;
}

static int packet_in(struct receiver *r, const uint8_t *data, size_t n, int64_t now_ns, struct dog_err *e)
{
        struct stamp s;
        if (!stamp_read(data, n, &s) || (r->is_known && (s.stream != r->stream || s.total != r->total))) {
                r->foreign++;
                return 0;
        }
        int rc = r->is_known ? 0 : receiver_start(r, &s, e);
        if (rc < 0)
                return rc;
        if (r->got_ns[s.seq]) {
                r->duplicates++;
                return 0;
        }
        if (r->received && s.seq < r->highest)
                r->reordered++;
        if (s.seq > r->highest)
                r->highest = s.seq;
        if (r->received && now_ns - r->last_ns > r->gap_ns) {
                r->gap_ns = now_ns - r->last_ns;
                r->gap_at_ns = r->last_ns;
        }
        r->first_ns = r->received ? r->first_ns : now_ns;
        r->last_ns = now_ns;
        r->received++;
        r->late += now_ns - s.sent_ns > r->late_ns;
        r->got_ns[s.seq] = now_ns;
        r->sent_ns[s.seq] = s.sent_ns;
        lab_hist_add(&r->delay, now_ns - s.sent_ns);
        return 0;
}

/* When packet seq was sent: told by itself, or half-way between the neighbours that arrived. */
static void sent_fill(struct receiver *r)
{
        int64_t gap = 0;
        uint64_t first = 0;
        uint64_t last = 0;
        for (uint64_t i = 0; i < r->total; i++) {
                if (!r->got_ns[i])
                        continue;
                last = i;
                if (!r->got_ns[first])
                        first = i;
        }
        if (last > first)
                gap = (r->sent_ns[last] - r->sent_ns[first]) / (int64_t)(last - first);
        for (uint64_t i = 0; i < r->total; i++) {
                if (r->got_ns[i])
                        continue;
                if (i > 0 && i > first)
                        r->sent_ns[i] = r->sent_ns[i - 1] + gap;
                else
                        r->sent_ns[i] = r->sent_ns[first] - (int64_t)(first - i) * gap;
        }
}

/* Silence before the first packet and after the last one counts as well. Needs sent_fill. */
static void gap_ends(struct receiver *r)
{
        int64_t head_ns = r->got_ns[0] ? 0 : r->first_ns - r->sent_ns[0];
        int64_t tail_ns = r->got_ns[r->total - 1] ? 0 : r->sent_ns[r->total - 1] - r->last_ns;
        if (head_ns > r->gap_ns) {
                r->gap_ns = head_ns;
                r->gap_at_ns = r->sent_ns[0];
        }
        if (tail_ns > r->gap_ns) {
                r->gap_ns = tail_ns;
                r->gap_at_ns = r->last_ns;
        }
}

struct slot {
        uint64_t expected, late, lost;
        double sum_ms, max_ms;
};

static void slot_print(FILE *out, int64_t t_ms, const struct slot *s)
{
        uint64_t got = s->expected - s->lost;
        fprintf(out, "%lld,%llu,%llu,%llu,", (long long)t_ms, (unsigned long long)s->expected,
                (unsigned long long)s->late, (unsigned long long)s->lost);
        if (got)
                fprintf(out, "%.3f,%.3f\n", s->sum_ms / (double)got, s->max_ms);
        else
                fprintf(out, ",\n");
}

/* One line a slot, by the time of sending. Times count from --zero, or from the first packet. */
static int series_write(const struct receiver *r, const struct options *o, struct dog_err *e)
{
        FILE *out = fopen(o->series, "we");
        if (!out)
                return dog_err_set(e, -errno, "cannot write %s: %s", o->series, strerror(errno));
        int64_t zero_ns = o->zero_ns || !r->total ? o->zero_ns : r->sent_ns[0];
        int64_t at = INT64_MIN;
        struct slot s = {0};
        fprintf(out, "t_ms,expected,late,lost,delay_ms_mean,delay_ms_max\n");
        for (uint64_t i = 0; i < r->total; i++) {
                int64_t slot = (r->sent_ns[i] - zero_ns) / o->series_ns;
                if (slot > at) {
                        if (s.expected)
                                slot_print(out, at * o->series_ns / DOG_MS, &s);
                        at = slot;
                        s = (struct slot){0};
                }
                s.expected++;
                double ms = (double)(r->got_ns[i] - r->sent_ns[i]) / 1e6;
                if (!r->got_ns[i]) {
                        s.lost++;
                        continue;
                }
                s.late += r->got_ns[i] - r->sent_ns[i] > o->late_ns;
                s.sum_ms += ms;
                s.max_ms = ms > s.max_ms ? ms : s.max_ms;
        }
        if (s.expected)
                slot_print(out, at * o->series_ns / DOG_MS, &s);
        if (fclose(out) != 0)
                return dog_err_set(e, -EIO, "cannot write %s: %s", o->series, strerror(errno));
        return 0;
}

static json_t *report_make(const struct receiver *r, const struct options *o)
{
        uint64_t late = 0;
        uint64_t run = 0;
        uint64_t longest = 0;
        json_t *lost = json_array();
        for (uint64_t i = 0; i < r->total; i++) {
                bool is_late = r->got_ns[i] && r->got_ns[i] - r->sent_ns[i] > o->late_ns;
                late += is_late;
                run = is_late || !r->got_ns[i] ? run + 1 : 0;
                longest = run > longest ? run : longest;
                if (!r->got_ns[i] && json_array_size(lost) < 32)
                        json_array_append_new(lost, json_integer((json_int_t)i));
        }
        uint64_t missing = r->total - r->received;
        const struct lab_hist *h = &r->delay;
        return json_pack(
                "{s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:I,s:f,s:f,s:I,s:{s:f,s:f,s:f,s:f},s:I,s:o}", "sent",
                (json_int_t)r->total, "received", (json_int_t)r->received, "lost", (json_int_t)missing,
                "late", (json_int_t)late, "duplicates", (json_int_t)r->duplicates, "reordered",
                (json_int_t)r->reordered, "bad_share",
                r->total ? (double)(missing + late) / (double)r->total : 1.0, "longest_bad_run",
                (json_int_t)longest, "longest_gap_ms", (double)r->gap_ns / 1e6, "gap_at_ms",
                r->gap_ns ? (double)(r->gap_at_ns - (o->zero_ns ? o->zero_ns : r->sent_ns[0])) / 1e6 : 0.0,
                "foreign", (json_int_t)r->foreign, "delay_ms", "p50", (double)lab_hist_at(h, 0.5) / 1e6,
                "p95", (double)lab_hist_at(h, 0.95) / 1e6, "p99", (double)lab_hist_at(h, 0.99) / 1e6, "max",
                (double)h->max_ns / 1e6, "first_ns", (json_int_t)r->first_ns, "first_lost", lost);
}

static void live_print(const struct receiver *r, const struct options *o, int64_t now_ns)
{
        uint64_t late = 0;
        uint64_t lost = 0;
        /* Younger packets may still come in time; only a bounded look back, the stream may be long. */
        uint64_t from = r->highest > 1000 ? r->highest - 1000 : 0;
        for (uint64_t i = from; r->is_known && i <= r->highest; i++) {
                lost += !r->got_ns[i];
                late += r->got_ns[i] && r->got_ns[i] - r->sent_ns[i] > o->late_ns;
        }
        printf("{\"t_ms\":%lld,\"received\":%llu,\"late\":%llu,\"highest\":%llu,\"recent_late\":%llu,"
               "\"recent_missing\":%"
               "llu,"
               "\"delay_ms\":%.3f}\n",
               (long long)((now_ns - o->zero_ns) / DOG_MS), (unsigned long long)r->received,
               (unsigned long long)r->late, (unsigned long long)r->highest, (unsigned long long)late,
               (unsigned long long)lost,
               r->received ? (double)(r->got_ns[r->highest] - r->sent_ns[r->highest]) / 1e6 : 0.0);
        fflush(stdout);
}

static int recv_socket(const struct options *o, struct dog_err *e)
{
        int bytes = 32 << 20;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return dog_err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
                setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
        int on = 1;
        if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
            bind(fd, (const struct sockaddr *)&o->bind, sizeof(o->bind)) < 0) {
                int rc = dog_err_set(e, -errno, "cannot listen there: %s", strerror(errno));
                close(fd);
                return rc;
        }
        return fd;
}

/* The kernel's time of arrival: a receiver that wakes late must not make the network look slow. */
static int64_t arrival_ns(struct msghdr *h, int64_t wall_minus_mono_ns, int64_t now_ns)
{
        for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS)
                        continue;
                struct timespec ts;
                memcpy(&ts, CMSG_DATA(c), sizeof(ts));
                int64_t at = ts.tv_sec * DOG_S + ts.tv_nsec - wall_minus_mono_ns;
                return at <= now_ns && at > now_ns - DOG_S ? at : now_ns;
        }
        return now_ns;
}

static int socket_drain(struct receiver *r, int fd, struct dog_err *e)
{
        static uint8_t data[BATCH][2048];
        static uint8_t control[BATCH][CMSG_SPACE(sizeof(struct timespec))];
        static struct mmsghdr in[BATCH];
        static struct iovec vec[BATCH];
        int n = 0;
        do {
                for (int i = 0; i < BATCH; i++) {
                        vec[i] = (struct iovec){data[i], sizeof(data[i])};
                        in[i].msg_hdr = (struct msghdr){.msg_iov = &vec[i],
                                                        .msg_iovlen = 1,
                                                        .msg_control = control[i],
                                                        .msg_controllen = sizeof(control[i])};
                }
                n = recvmmsg(fd, in, BATCH, MSG_DONTWAIT, NULL);
                int64_t now_ns = dog_clock_mono_ns();
                int64_t offset_ns = dog_clock_wall_ns() - now_ns;
                for (int i = 0; i < n; i++) {
                        int rc = packet_in(r, data[i], in[i].msg_len,
                                           arrival_ns(&in[i].msg_hdr, offset_ns, now_ns), e);
                        if (rc < 0)
                                return rc;
                }
        } while (n == BATCH);
        return 0;
}

/* Over: all are here, or nothing has come for --idle after the first, or nothing at all within --wait. */
static bool is_over(const struct receiver *r, const struct options *o, int64_t start_ns, int64_t now_ns)
{
        if (!r->received)
                return now_ns - start_ns > o->wait_ns;
        return r->received == r->total || now_ns - r->last_ns > o->idle_ns;
}

static int recv_run(const struct options *o, struct dog_err *e)
{
        static struct receiver r;
        int fd = recv_socket(o, e);
        int rc = fd < 0 ? fd : 0;
        int64_t start_ns = dog_clock_mono_ns();
        int64_t live_ns = start_ns;
        sigset_t none;
        sigemptyset(&none);
        r.late_ns = o->late_ns;
        for (int64_t now_ns = start_ns; rc >= 0 && !is_told_to_stop && !is_over(&r, o, start_ns, now_ns);
             now_ns = dog_clock_mono_ns()) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                ppoll(&p, 1, &(struct timespec){.tv_nsec = 50 * DOG_MS}, &none);
                rc = socket_drain(&r, fd, e);
                if (o->live_ns && now_ns - live_ns >= o->live_ns) {
                        live_ns = now_ns;
                        live_print(&r, o, now_ns);
                }
        }
        /* Late duplicates of a stream that is complete are duplicates all the same. */
        if (rc >= 0 && r.received && r.received == r.total) {
                ppoll(NULL, 0, &(struct timespec){.tv_nsec = 300 * DOG_MS}, &none);
                rc = socket_drain(&r, fd, e);
        }
        if (fd >= 0)
                close(fd);
        if (rc >= 0 && !r.is_known)
                rc = dog_err_set(e, -ETIMEDOUT, "not one packet came");
        if (rc >= 0) {
                sent_fill(&r);
                gap_ends(&r);
                rc = report_write(o->report, report_make(&r, o), e);
        }
        if (rc >= 0 && o->series)
                rc = series_write(&r, o, e);
        free(r.sent_ns);
        free(r.got_ns);
        return rc;
}

/* ---- options ---- */

enum option_id {
        OPT_TO = 1,
        OPT_FROM,
        OPT_INTERVAL,
        OPT_RATE,
        OPT_SIZE,
        OPT_COUNT,
        OPT_FOR,
        OPT_STREAM,
        OPT_DSCP,
        OPT_BIND,
        OPT_LATE,
        OPT_IDLE,
        OPT_WAIT,
        OPT_ZERO,
        OPT_SLOT,
        OPT_LIVE,
        OPT_SERIES,
        OPT_REPORT,
};

static const struct {
        const char *name;
        int id;
        const char *help;
} rows[] = {
        {"to", OPT_TO, "send: ADDRESS:PORT"},
        {"from", OPT_FROM, "send: ADDRESS:PORT to send from"},
        {"interval", OPT_INTERVAL, "send: between packets (20ms)"},
        {"rate", OPT_RATE, "send: packets per second, instead of an interval"},
        {"size", OPT_SIZE, "send: UDP payload, 32B to 1472B (160B)"},
        {"count", OPT_COUNT, "send: packets"},
        {"for", OPT_FOR, "send: how long, instead of a count (10s)"},
        {"stream", OPT_STREAM, "send: number of the stream (1)"},
        {"dscp", OPT_DSCP, "send: 0 to 63 (46, expedited forwarding)"},
        {"bind", OPT_BIND, "recv: ADDRESS:PORT"},
        {"late", OPT_LATE, "recv: a packet older than this is bad (150ms)"},
        {"idle", OPT_IDLE, "recv: the end when nothing came for so long (2s)"},
        {"wait", OPT_WAIT, "recv: for the first packet (30s)"},
        {"zero", OPT_ZERO, "recv: monotonic nanoseconds that the series counts from"},
        {"slot", OPT_SLOT, "recv: one line of the series (100ms)"},
        {"live", OPT_LIVE, "recv: print a line of JSON so often"},
        {"series", OPT_SERIES, "recv: write t_ms,expected,late,lost,delay_ms_mean,delay_ms_max there"},
        {"report", OPT_REPORT, "write the JSON there instead of to standard output"},
};

static void help(void)
{
        puts("voice send --to ADDRESS:PORT [OPTION...]\nvoice recv --bind ADDRESS:PORT [OPTION...]\n");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                printf("  --%-10s%s\n", rows[i].name, rows[i].help);
}

static int address_parse(const char *text, struct sockaddr_in *a, bool *has, struct dog_err *e)
{
        char host[64];
        unsigned port = 0;
        int end = 0;
        *a = (struct sockaddr_in){.sin_family = AF_INET};
        if (sscanf(text, "%63[^:]:%u%n", host, &port, &end) != 2 || text[end] || port > 65535 ||
            inet_pton(AF_INET, host, &a->sin_addr) != 1)
                return dog_err_set(e, -EINVAL, "\"%s\" is not an IPv4 address and port, 10.0.0.1:7000", text);
        a->sin_port = htons((uint16_t)port);
        *has = true;
        return 0;
}

static int number_parse(const char *text, uint64_t low, uint64_t high, uint64_t *v, struct dog_err *e)
{
        char *end = NULL;
        errno = 0;
        *v = strtoull(text, &end, 10);
        if (errno || end == text || *end || text[0] == '-' || *v < low || *v > high)
                return dog_err_set(e, -EINVAL, "\"%s\" is not a number of %llu to %llu", text,
                                   (unsigned long long)low, (unsigned long long)high);
        return 0;
}

static int positive_time(const char *text, int64_t *ns, struct dog_err *e)
{
        int rc = dog_units_time(text, ns, e);
        return rc < 0 || *ns > 0 ? rc : dog_err_set(e, -EINVAL, "\"%s\" must be more than nothing", text);
}

static int option_take(struct options *o, int id, const char *text, struct dog_err *e)
{
        uint64_t v = 0;
        int rc = 0;
        switch (id) {
        case OPT_TO:
                return address_parse(text, &o->to, &o->has_to, e);
        case OPT_FROM:
                return address_parse(text, &o->from, &o->has_from, e);
        case OPT_BIND:
                return address_parse(text, &o->bind, &o->has_bind, e);
        case OPT_INTERVAL:
                return positive_time(text, &o->interval_ns, e);
        case OPT_FOR:
                return positive_time(text, &o->for_ns, e);
        case OPT_LATE:
                return positive_time(text, &o->late_ns, e);
        case OPT_IDLE:
                return positive_time(text, &o->idle_ns, e);
        case OPT_WAIT:
                return positive_time(text, &o->wait_ns, e);
        case OPT_SLOT:
                return positive_time(text, &o->series_ns, e);
        case OPT_LIVE:
                return positive_time(text, &o->live_ns, e);
        case OPT_RATE:
                rc = number_parse(text, 1, 1000000, &v, e);
                o->rate = (double)v;
                return rc;
        case OPT_SIZE:
                rc = dog_units_size(text, &o->size, e);
                if (rc >= 0 && (o->size < HEADER_BYTES || o->size > SIZE_MAX_UDP))
                        return dog_err_set(e, -ERANGE, "%s is not between %d and %d bytes", text,
                                           HEADER_BYTES, SIZE_MAX_UDP);
                return rc;
        case OPT_COUNT:
                return number_parse(text, 1, TOTAL_MAX, &o->count, e);
        case OPT_STREAM:
                rc = number_parse(text, 0, UINT32_MAX, &v, e);
                o->stream = (uint32_t)v;
                return rc;
        case OPT_DSCP:
                rc = number_parse(text, 0, 63, &v, e);
                o->tos = (int)(v << 2);
                return rc;
        case OPT_ZERO:
                rc = number_parse(text, 0, INT64_MAX, &v, e);
                o->zero_ns = (int64_t)v;
                return rc;
        case OPT_REPORT:
                o->report = text;
                return 0;
        case OPT_SERIES:
                o->series = text;
                return 0;
        default:
                return dog_err_set(e, -EINVAL, "see voice --help");
        }
}

static int run(int argc, char **argv, struct dog_err *e)
{
        struct option list[ARRAY_SIZE(rows) + 1] = {{0}};
        struct options o = {.interval_ns = 20 * DOG_MS,
                            .for_ns = 10 * DOG_S,
                            .late_ns = 150 * DOG_MS,
                            .idle_ns = 2 * DOG_S,
                            .wait_ns = 30 * DOG_S,
                            .series_ns = 100 * DOG_MS,
                            .size = 160,
                            .stream = 1,
                            .tos = 46 << 2};
        bool is_send = argc > 1 && strcmp(argv[1], "send") == 0;
        if (!is_send && (argc < 2 || strcmp(argv[1], "recv") != 0))
                return dog_err_set(e, -EINVAL, "say send or recv; see voice --help");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                list[rows[i].id - 1] = (struct option){rows[i].name, 1, NULL, rows[i].id};
        optind = 2;
        for (int id; (id = getopt_long(argc, argv, "", list, NULL)) >= 0;) {
                int rc = option_take(&o, id, optarg, e);
                if (rc < 0)
                        return id == '?' ? rc : dog_err_prefix(e, rc, "--%s", list[id - 1].name);
        }
        if (optind < argc)
                return dog_err_set(e, -EINVAL, "\"%s\" is one word too many", argv[optind]);
        if (is_send ? !o.has_to : !o.has_bind)
                return dog_err_set(e, -EINVAL, "%s needs --%s ADDRESS:PORT", argv[1],
                                   is_send ? "to" : "bind");
        return is_send ? send_run(&o, e) : recv_run(&o, e);
}

int main(int argc, char **argv)
{
        struct dog_err e = {0};
        struct sigaction on_stop = {.sa_handler = stop};
        sigaction(SIGINT, &on_stop, NULL);
        sigaction(SIGTERM, &on_stop, NULL);
        if (argc > 1 && strcmp(argv[1], "--help") == 0) {
                help();
                return 0;
        }
        int rc = run(argc, argv, &e);
        if (rc < 0)
                fprintf(stderr, "voice: %s\n", e.text);
        return rc >= 0 ? 0 : rc == -EINVAL || rc == -ERANGE ? 2 : 1;
}
