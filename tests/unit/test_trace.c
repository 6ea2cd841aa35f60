/* Trace files: what is taken, and that everything else gets one sentence with file, line and column. P4: the
 * recorded latency, loss and rate of every path come in as the same samples that a probe gives. */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "sources/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define HEAD "t_ms,path,rtt_ms,loss,rate_kbps\n"

static int read_all(const void *data, size_t size, size_t *rows, struct dog_err *e)
{
        struct dog_trace *t;
        struct dog_trace_row row;
        *rows = 0;
        int rc = dog_trace_open_bytes(&t, "x.csv", data, size, e);
        if (rc < 0)
                return rc;
        while ((rc = dog_trace_next(t, &row, e)) > 0)
                ++*rows;
        struct dog_err again = {0};
        OK(dog_trace_next(t, &row, &again) == rc && strcmp(again.text, rc < 0 ? e->text : "") == 0,
           "asked again, it says the same");
        dog_trace_close(t);
        return rc;
}

static void rows_are_read_with_what_was_measured(void)
{
        static const char text[] = "loss,path,rate_kbps,t_ms,rtt_ms\r\n"
                                   "0,lte,,0,25.5\n"
                                   ",\"sat, \"\"low\"\"\",1e3,0,\n"
                                   "1,lte,,200,\n"
                                   ",lte,,400,";
        struct dog_trace *t;
        struct dog_trace_row row;
        struct dog_err e = {0};
        NEED(dog_trace_open_bytes(&t, "x.csv", text, sizeof(text) - 1, &e) == 0, "%s", e.text);
        OK(dog_trace_next(t, &row, &e) == 1 && row.t_ms == 0 && row.path == 0 && row.has_rtt &&
                   row.rtt_ms == 25.5 && row.has_loss && row.loss == 0 && !row.has_rate,
           "an answered probe, columns in another order");
        OK(dog_trace_next(t, &row, &e) == -EINVAL && strstr(e.text, "x.csv:3:2: "),
           "a name with a space in it: %s", e.text);
        dog_trace_close(t);

        static const char good[] = HEAD "0,lte,25.5,0,\n0,\"sat\",,,1e3\n200,lte,,1,\n400,lte,,,";
        NEED(dog_trace_open_bytes(&t, "x.csv", good, sizeof(good) - 1, &e) == 0, "%s", e.text);
        dog_trace_next(t, &row, &e);
        OK(dog_trace_next(t, &row, &e) == 1 && row.path == 1 && !row.has_rtt && !row.has_loss &&
                   row.rate_kbps == 1000,
           "another path at the same time");
        OK(dog_trace_next(t, &row, &e) == 1 && row.t_ms == 200 && row.loss == 1 && !row.has_rtt,
           "a lost probe");
        OK(dog_trace_next(t, &row, &e) == 1 && !row.has_rtt && !row.has_loss && !row.has_rate,
           "nothing measured, and no line end");
        OK(dog_trace_next(t, &row, &e) == 0 && dog_trace_paths(t) == 2, "the end");
        OK(strcmp(dog_trace_path_name(t, 0), "lte") == 0 && strcmp(dog_trace_path_name(t, 1), "sat") == 0 &&
                   dog_trace_path_name(t, 2)[0] == 0,
           "names in order of appearance");
        dog_trace_close(t);
}

static void bad_text_gets_a_sentence_with_its_place(void)
{
        static const struct {
                const char *text, *want;
        } row[] = {
                {"", "x.csv: the file is empty"},
                {"\n", "x.csv:1:1: column \"\" is not one we know"},
                {"t_ms,path,rtt_ms,loss\n", "x.csv:1:1: column \"rate_kbps\" is missing"},
                {"t_ms,path,rtt_ms,loss,rate_kbps,snr_db\n",
                 "x.csv:1:33: column \"snr_db\" is not one we know"},
                {"t_ms,path,rtt_ms,loss,loss\n", "x.csv:1:23: column \"loss\" is there twice"},
                {HEAD "0,a,1,0\n", "x.csv:2:1: 4 fields where the header has 5"},
                {HEAD "0,a,1,0,1,\n", "x.csv:2:1: 6 fields where the header has 5"},
                {HEAD "0,a,1,0,\n\n", "x.csv:3:1: 1 fields where the header has 5"},
                {HEAD "200,a,1,0,\n100,a,1,0,\n",
                 "x.csv:3:1: time goes back from 200 to 100 ms: rows are sorted by time"},
                {HEAD "0,a,1,0,\n0,a,1,0,\n", "x.csv:3:3: path \"a\" has a row at 0 ms already"},
                {HEAD "0,a,nan,0,\n", "x.csv:2:5: rtt_ms \"nan\" is not a number; leave the field empty "
                                      "where nothing was measured"},
                {HEAD "0,a,NaN,0,\n", "x.csv:2:5: rtt_ms \"NaN\" is not a number; leave the field empty "
                                      "where nothing was measured"},
                {HEAD "0,a,inf,0,\n", "x.csv:2:5: rtt_ms \"inf\" is not a number; leave the field empty "
                                      "where nothing was measured"},
                {HEAD "0,a,1e999,0,\n", "x.csv:2:5: rtt_ms \"1e999\" is not a number; leave the field empty "
                                        "where nothing was measured"},
                {HEAD "0,a,0x10,0,\n", "x.csv:2:5: rtt_ms \"0x10\" is not a number; leave the field empty "
                                       "where nothing was measured"},
                {HEAD "0,a, 1,0,\n", "x.csv:2:5: rtt_ms \" 1\" is not a number; leave the field empty where "
                                     "nothing was measured"},
                {HEAD "0,a,1-2,0,\n", "x.csv:2:5: rtt_ms \"1-2\" is not a number; leave the field empty "
                                      "where nothing was measured"},
                {HEAD "0,a,-1,0,\n", "x.csv:2:5: rtt_ms -1 is below 0"},
                {HEAD "0,a,1,-0.5,\n", "x.csv:2:7: loss -0.5 is not in 0 .. 1"},
                {HEAD "0,a,1,1.5,\n", "x.csv:2:7: loss 1.5 is not in 0 .. 1"},
                {HEAD "0,a,1,0,-3\n", "x.csv:2:9: rate_kbps -3 is below 0"},
                {HEAD "-1,a,1,0,\n", "x.csv:2:1: t_ms \"-1\" is not a whole number from 0 to 2^53"},
                {HEAD "1.5,a,1,0,\n", "x.csv:2:1: t_ms \"1.5\" is not a whole number from 0 to 2^53"},
                {HEAD "99999999999999999999,a,1,0,\n",
                 "x.csv:2:1: t_ms \"99999999999999999999\" is not a whole number from 0 to 2^53"},
                {HEAD ",a,1,0,\n", "x.csv:2:1: t_ms \"\" is not a whole number from 0 to 2^53"},
                {HEAD "0,,1,0,\n", "x.csv:2:3: a path needs a name"},
                {HEAD "0,\"a,1,0,\n", "x.csv:2:3: a quote is not closed"},
                {HEAD "0,\"a\"b,1,0,\n", "x.csv:2:3: text after a closing quote"},
                {HEAD "0,a\r,1,0,\n", "x.csv:2:5: a carriage return inside a line"},
                {HEAD "0,a\x01,1,0,\n", "x.csv:2:4: octet 0x01 is not text: is this the right file?"},
                {"\x7f"
                 "ELF",
                 "x.csv:1:1: octet 0x7f is not text: is this the right file?"},
                {"\x1f\x8b", "x.csv: gzip is cut short after line 0"},
                {"\x1f\x8b\x08\xff rubbish that is longer",
                 "x.csv: damaged gzip after line 0: unknown header flags set"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_err e = {0};
                size_t rows;
                int rc = read_all(row[i].text, strlen(row[i].text), &rows, &e);
                OK(rc == -EINVAL && strcmp(e.text, row[i].want) == 0, "row %zu: %d \"%s\"", i, rc, e.text);
        }
}

static void limits_are_told_not_overrun(void)
{
        static char text[80000];
        struct dog_err e = {0};
        size_t rows;
        size_t at = (size_t)sprintf(text, HEAD "0,a,1,0,");
        memset(text + at, '1', 2000);
        OK(read_all(text, at + 2000, &rows, &e) == -EINVAL &&
                   strcmp(e.text, "x.csv:2:1025: the line is longer than 1024 octets") == 0,
           "%s", e.text);
        at = (size_t)sprintf(text, HEAD);
        for (int i = 0; i <= DOG_TRACE_PATHS; i++)
                at += (size_t)sprintf(text + at, "0,p%d,1,0,\n", i);
        OK(read_all(text, at, &rows, &e) == -EINVAL && rows == DOG_TRACE_PATHS &&
                   strcmp(e.text, "x.csv:66:3: more than 64 paths in one trace") == 0,
           "%s", e.text);
        at = (size_t)sprintf(text, HEAD "0,%064d,1,0,\n", 0);
        OK(read_all(text, at, &rows, &e) == -EINVAL && strstr(e.text, "longer than 63 octets"), "%s", e.text);
        memset(text, ',', 40);
        OK(read_all(text, 40, &rows, &e) == -EINVAL && strcmp(e.text, "x.csv:1:33: more than 32 fields") == 0,
           "%s", e.text);
}

static size_t gzip_of(const char *text, size_t size, uint8_t *to, size_t room)
{
        z_stream z = {0};
        NEED(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "deflate");
        z.next_in = (Bytef *)(uintptr_t)text;
        z.avail_in = (uInt)size;
        z.next_out = to;
        z.avail_out = (uInt)room;
        NEED(deflate(&z, Z_FINISH) == Z_STREAM_END, "deflated");
        size = room - z.avail_out;
        deflateEnd(&z);
        return size;
}

static char *long_trace(size_t rows, size_t *size)
{
        char *text = malloc(rows * 64 + 64);
        NEED(text, "memory");
        struct dog_rng rng;
        dog_rng_init(&rng, 1);
        *size = (size_t)sprintf(text, HEAD);
        for (size_t i = 0; i < rows; i++)
                *size += (size_t)sprintf(text + *size, "%zu,%s,%.1f,0,\n", i / 2 * 200, i % 2 ? "b" : "a",
                                         20 + 5 * dog_rng_unit(&rng));
        return text;
}

static void gzip_is_read_whole_or_not_at_all(void)
{
        enum { ROWS = 20000, ROOM = 400000 };
        static uint8_t packed[2 * ROOM];
        size_t size;
        char *text = long_trace(ROWS, &size);
        size_t small = gzip_of(text, size, packed, ROOM);
        struct dog_err e = {0};
        size_t rows;
        OK(read_all(packed, small, &rows, &e) == 0 && rows == ROWS, "%zu rows of %zu: %s", rows, small,
           e.text);
        for (size_t cut = 1; cut < 200; cut += 7) {
                int rc = read_all(packed, small - cut, &rows, &e);
                OK(rc == -EINVAL && strstr(e.text, "gzip is cut short"), "%zu octets less: %d %s", cut, rc,
                   e.text);
        }
        packed[small / 2] ^= 0x10;
        OK(read_all(packed, small, &rows, &e) == -EINVAL && strncmp(e.text, "x.csv:", 6) == 0, "one bit: %s",
           e.text);
        packed[small / 2] ^= 0x10;
        packed[small] = 'x';
        OK(read_all(packed, small + 1, &rows, &e) == -EINVAL, "rubbish behind it: %s", e.text);

        size_t head = gzip_of(text, strlen(HEAD), packed, ROOM);
        size_t tail = gzip_of(text + strlen(HEAD), size - strlen(HEAD), packed + head, ROOM);
        OK(read_all(packed, head + tail, &rows, &e) == 0 && rows == ROWS,
           "two gzip members, as cat makes them: %s", e.text);
        free(text);
}

static void files_are_opened_and_errors_of_the_system_told(void)
{
        char file[] = "/tmp/sundog-test-trace-XXXXXX";
        int fd = mkstemp(file);
        NEED(fd >= 0, "a file for the test");
        NEED(write(fd, HEAD "0,a,1,0,\n", strlen(HEAD) + 9) > 0, "written");
        close(fd);
        struct dog_trace *t;
        struct dog_trace_row row;
        struct dog_err e = {0};
        NEED(dog_trace_open(&t, file, &e) == 0, "%s", e.text);
        OK(dog_trace_next(t, &row, &e) == 1 && dog_trace_next(t, &row, &e) == 0, "one row");
        dog_trace_close(t);
        unlink(file);
        OK(dog_trace_open(&t, file, &e) == -ENOENT && !t && strstr(e.text, "cannot open"), "%s", e.text);
        OK(dog_trace_open(&t, "/tmp", &e) == -EIO && !t, "a folder: %s", e.text);
        dog_trace_close(NULL);
}

static void an_index_tells_what_each_trace_is_about(void)
{
        static const char text[] = "trace,family,step_ms,need_kbps,note\n"
                                   "one,svc,1000,5000,\"with, a comma\"\n"
                                   "two,pam,200,,\n"
                                   "../three,pam,200,,\n";
        struct dog_trace_index *x;
        struct dog_trace_about a;
        struct dog_err e = {0};
        NEED(dog_trace_index_open_bytes(&x, "traces.csv", text, sizeof(text) - 1, &e) == 0, "%s", e.text);
        OK(dog_trace_index_next(x, &a, &e) == 1 && strcmp(a.name, "one") == 0 &&
                   strcmp(a.family, "svc") == 0 && a.step_ms == 1000 && a.need_kbps == 5000,
           "the first");
        OK(dog_trace_index_next(x, &a, &e) == 1 && a.step_ms == 200 && a.need_kbps == 0, "no rate asked for");
        OK(dog_trace_index_next(x, &a, &e) == -EINVAL && strstr(e.text, "traces.csv:4:1: "), "%s", e.text);
        dog_trace_index_close(x);
        OK(dog_trace_index_open_bytes(&x, "i", "trace,step_ms\n", 14, &e) == -EINVAL &&
                   strcmp(e.text, "i:1:1: column \"need_kbps\" is missing") == 0,
           "%s", e.text);
        OK(dog_trace_index_open_bytes(&x, "i", NULL, 0, &e) == -EINVAL && !x, "%s", e.text);
        dog_trace_index_close(NULL);
}

/* ---- the feed ---- */

struct played {
        size_t rows;
        int64_t newest_ns;
        double rtt_sum;
        size_t lost;
};

static void play(void *user, unsigned path, const struct dog_sample *s)
{
        struct played *p = user;
        OK(path < 2 && s->at_ns >= p->newest_ns, "in order");
        p->rows++;
        p->newest_ns = s->at_ns;
        if (!isnan(s->value[DOG_SIGNAL_RTT]))
                p->rtt_sum += s->value[DOG_SIGNAL_RTT];
        p->lost += s->value[DOG_SIGNAL_LOSS] > 0;
        OK(isnan(s->value[DOG_SIGNAL_RATE]) && isnan(s->value[DOG_SIGNAL_JITTER]),
           "the others were not measured");
}

static void P4_a_feed_plays_rows_at_their_time_and_never_later_ones(void)
{
        char file[] = "/tmp/sundog-test-feed-XXXXXX";
        int fd = mkstemp(file);
        static const char text[] = HEAD "0,a,10,0,\n0,b,20,0,\n200,a,30,0,\n400,b,,1,\n500,a,x,0,\n";
        NEED(fd >= 0 && write(fd, text, sizeof(text) - 1) > 0, "a file for the test");
        close(fd);
        struct played p = {0};
        struct dog_trace_feed *f;
        struct dog_err e = {0};
        struct dog_trace_feed_conf conf = {.file = file, .start_ns = DOG_S, .sample = play, .user = &p};
        NEED(dog_trace_feed_new(&f, &conf, &e) == 0, "%s", e.text);
        OK(dog_trace_feed_play(f, DOG_S - 1, &e) == 1 && p.rows == 0, "nothing is due yet");
        OK(dog_trace_feed_next_ns(f) == DOG_S, "the first row");
        OK(dog_trace_feed_play(f, DOG_S, &e) == 1 && p.rows == 2 && p.rtt_sum == 30, "both paths at 0");
        OK(dog_trace_feed_next_ns(f) == DOG_S + 200 * DOG_MS, "the next");
        OK(dog_trace_feed_play(f, 100 * DOG_S, &e) == -EINVAL && p.rows == 4 && p.lost == 1,
           "the good rows, then why not more: %s", e.text);
        OK(dog_trace_feed_play(f, 100 * DOG_S, &e) == -EINVAL && p.rows == 4 &&
                   dog_trace_feed_next_ns(f) == INT64_MAX,
           "and so it stays");
        OK(dog_trace_feed_paths(f) == 2 && strcmp(dog_trace_feed_path_name(f, 1), "b") == 0, "names");
        dog_trace_feed_free(f);
        fd = open(file, O_WRONLY | O_TRUNC);
        NEED(fd >= 0 && write(fd, HEAD, strlen(HEAD)) > 0, "only a header");
        close(fd);
        OK(dog_trace_feed_new(&f, &conf, &e) == -EINVAL && !f && strstr(e.text, "no rows"), "%s", e.text);
        unlink(file);
        OK(dog_trace_feed_new(&f, &conf, &e) == -ENOENT && !f, "%s", e.text);
        dog_trace_feed_free(NULL);
}

/* ---- memory ---- */

struct octets {
        const void *data;
        size_t size;
};

static int read_octets(void *user, struct dog_err *e)
{
        const struct octets *o = user;
        struct dog_trace *t;
        struct dog_trace_row row;
        int rc = dog_trace_open_bytes(&t, "x.csv", o->data, o->size, e);
        if (rc < 0)
                return rc;
        while ((rc = dog_trace_next(t, &row, e)) > 0)
                ;
        dog_trace_close(t);
        return rc;
}

static int read_index(void *user, struct dog_err *e)
{
        struct dog_trace_index *x;
        int rc = dog_trace_index_open_bytes(&x, "i", user, strlen(user), e);
        if (rc == 0)
                dog_trace_index_close(x);
        return rc;
}

static int play_feed(void *user, struct dog_err *e)
{
        struct dog_trace_feed *f;
        struct played p = {0};
        struct dog_trace_feed_conf conf = {.file = user, .sample = play, .user = &p};
        int rc = dog_trace_feed_new(&f, &conf, e);
        if (rc < 0)
                return rc;
        rc = dog_trace_feed_play(f, INT64_MAX, e);
        dog_trace_feed_free(f);
        return rc;
}

static void every_allocation_may_fail(void)
{
        static uint8_t packed[4096];
        static const char text[] = HEAD "0,a,1,0,\n200,b,1,0,\n";
        struct octets plain = {text, sizeof(text) - 1};
        size_t n = alloc_fail_each(read_octets, &plain);
        OK(n == 1, "plain: the trace itself: %zu", n);
        struct octets gz = {packed, gzip_of(text, sizeof(text) - 1, packed, sizeof(packed))};
        n = alloc_fail_each(read_octets, &gz);
        OK(n >= 2, "gzip: zlib's state and window as well: %zu", n);
        static char index[] = "trace,step_ms,need_kbps\n";
        OK(alloc_fail_each(read_index, index) == 1, "the index");
        char file[] = "/tmp/sundog-test-feed-XXXXXX";
        int fd = mkstemp(file);
        NEED(fd >= 0 && write(fd, packed, gz.size) > 0, "a file for the test");
        close(fd);
        n = alloc_fail_each(play_feed, file);
        OK(n >= 3, "the feed, its trace, and zlib's: %zu", n);
        unlink(file);
}

int main(void)
{
        return CHECK_RUN(TEST(rows_are_read_with_what_was_measured),
                         TEST(bad_text_gets_a_sentence_with_its_place), TEST(limits_are_told_not_overrun),
                         TEST(gzip_is_read_whole_or_not_at_all),
                         TEST(files_are_opened_and_errors_of_the_system_told),
                         TEST(an_index_tells_what_each_trace_is_about),
                         TEST(P4_a_feed_plays_rows_at_their_time_and_never_later_ones),
                         TEST(every_allocation_may_fail));
}
