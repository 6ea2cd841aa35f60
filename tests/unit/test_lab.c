/*
 * The laboratory itself: a link emulator that lies makes every figure a lie.
 * P4: delay, jitter and loss of a path are what the lab plays, so what it plays is checked here.
 */
#include "check.h"

#include "base/array.h"
#include "base/clock.h"
#include "lab/hist.h"
#include "lab/line.h"
#include "lab/plot.h"
#include "lab/trace.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY 100000

struct world {
        struct lab_line *line;
        struct lab_packet *packet;
        unsigned released;
};

static void give_back(void *owner, struct lab_packet *p)
{
        struct world *w = owner;
        p->refs--;
        w->released++;
}

static void world_open(struct world *w, struct lab_line_settings s)
{
        *w = (struct world){0};
        w->line = lab_line_new(7, give_back, w);
        w->packet = calloc(MANY, sizeof(*w->packet));
        lab_line_change(w->line, &s, 0);
}

static void world_close(struct world *w)
{
        lab_line_free(w->line);
        free(w->packet);
}

static void offer(struct world *w, unsigned i, int64_t at_ns, uint32_t bytes)
{
        w->packet[i].bytes = bytes;
        w->packet[i].refs = 1;
        w->packet[i].in_ns = at_ns;
        lab_line_offer(w->line, &w->packet[i]);
}

/* The index of the next packet out, -1 when there is none; *due_ns is when it came. */
static int next_out(struct world *w, int64_t *due_ns)
{
        struct lab_packet *p = lab_line_take(w->line, INT64_MAX / 2, due_ns);
        return p ? (int)(p - w->packet) : -1;
}

static void a_packet_comes_out_after_the_delay(void)
{
        struct world w;
        int64_t due_ns = 0;
        struct lab_line_settings s = lab_line_defaults();
        s.delay_ns = 20 * DOG_MS;
        world_open(&w, s);
        offer(&w, 0, 5 * DOG_MS, 100);
        OK(lab_line_next_ns(w.line) == 25 * DOG_MS, "due at %lld", (long long)lab_line_next_ns(w.line));
        OK(lab_line_take(w.line, 25 * DOG_MS - 1, &due_ns) == NULL, "not a nanosecond early");
        OK(lab_line_take(w.line, 25 * DOG_MS, &due_ns) == &w.packet[0], "then it is there");
        OK(lab_line_next_ns(w.line) == INT64_MAX, "nothing is left");
        world_close(&w);
}

static void a_rate_spaces_packets_by_their_length(void)
{
        struct world w;
        int64_t due_ns = 0;
        struct lab_line_settings s = lab_line_defaults();
        s.rate_bps = 8e6; /* a byte a microsecond */
        s.delay_ns = DOG_MS;
        s.queue_bytes = 1 << 20;
        world_open(&w, s);
        for (unsigned i = 0; i < 100; i++)
                offer(&w, i, 0, 1000);
        for (int i = 0; i < 100; i++) {
                OK(next_out(&w, &due_ns) == i, "in order");
                OK(due_ns == DOG_MS + (i + 1) * DOG_MS, "packet %d at %lld", i, (long long)due_ns);
        }
        world_close(&w);
}

static void a_full_queue_drops_what_comes_last(void)
{
        struct world w;
        int64_t due_ns = 0;
        struct lab_line_settings s = lab_line_defaults();
        s.rate_bps = 8e6;
        s.queue_bytes = 10500;
        world_open(&w, s);
        for (unsigned i = 0; i < 20; i++)
                offer(&w, i, 0, 1000);
        OK(lab_line_counts_of(w.line)->dropped[LAB_DROP_QUEUE] == 10, "10 fit in 10500 bytes, 10 do not");
        /* After 3.5 ms three packets are out: there is room for three more, in bytes. */
        for (unsigned i = 20; i < 25; i++)
                offer(&w, i, 3500 * DOG_US, 1000);
        OK(lab_line_counts_of(w.line)->dropped[LAB_DROP_QUEUE] == 12, "3 fit, 2 do not");
        int last = -1;
        for (int i; (i = next_out(&w, &due_ns)) >= 0;)
                last = i;
        OK(last == 22 && due_ns == 13 * DOG_MS, "the last one, %d, is out after 13 packets' time", last);
        world_close(&w);
}

static void a_rate_that_changes_applies_to_what_is_left(void)
{
        struct world w;
        int64_t due_ns = 0;
        struct lab_line_settings s = lab_line_defaults();
        s.rate_bps = 8e6;
        world_open(&w, s);
        offer(&w, 0, 0, 1000); /* 1 ms */
        s.rate_bps = 4e6;
        lab_line_change(w.line, &s, 500 * DOG_US); /* half is out: the rest takes 1 ms */
        s.is_stalled = true;
        lab_line_change(w.line, &s, DOG_MS); /* a quarter is left */
        OK(lab_line_next_ns(w.line) == INT64_MAX, "a stalled line sends nothing");
        s.is_stalled = false;
        s.rate_bps = 2e6;
        lab_line_change(w.line, &s, 10 * DOG_MS); /* 2000 bits at 2 Mbit/s: 1 ms */
        OK(next_out(&w, &due_ns) == 0 && NEAR(due_ns, 11 * DOG_MS, 10), "out at %lld", (long long)due_ns);
        world_close(&w);
}

static void loss_is_as_often_as_said(void)
{
        static const struct {
                double loss, enter, leave, want;
        } row[] = {
                {0, 0, 1, 0},       {0.1, 0, 1, 0.1}, {1, 0, 1, 1}, {0, 0.01, 0.25, 0.01 / 0.26},
                {0, 0.5, 0.5, 0.5},
        };
        for (size_t r = 0; r < ARRAY_SIZE(row); r++) {
                struct world w;
                struct lab_line_settings s = lab_line_defaults();
                s.loss = row[r].loss;
                s.burst_enter = row[r].enter;
                s.burst_leave = row[r].leave;
                world_open(&w, s);
                for (unsigned i = 0; i < MANY; i++)
                        offer(&w, i, i, 100);
                OK(NEAR(w.released / (double)MANY, row[r].want, 0.006), "lost %u of %d, wanted %.3f",
                   w.released, MANY, row[r].want);
                world_close(&w);
        }
}

static void jitter_keeps_the_order_unless_told_otherwise(void)
{
        static const enum lab_shape shapes[] = {LAB_SHAPE_UNIFORM, LAB_SHAPE_NORMAL, LAB_SHAPE_TAIL};
        for (size_t k = 0; k < 2 * ARRAY_SIZE(shapes); k++) {
                struct world w;
                struct lab_line_settings s = lab_line_defaults();
                s.delay_ns = 50 * DOG_MS;
                s.jitter_ns = 10 * DOG_MS;
                s.shape = shapes[k / 2];
                s.keeps_order = k % 2 == 0;
                world_open(&w, s);
                for (unsigned i = 0; i < 10000; i++)
                        offer(&w, i, i * DOG_MS, 100);
                int64_t due_ns = 0;
                double sum = 0;
                unsigned overtaken = 0;
                int highest = -1;
                for (int i; (i = next_out(&w, &due_ns)) >= 0;) {
                        sum += (double)(due_ns - w.packet[i].in_ns) / 1e6;
                        overtaken += i < highest;
                        highest = i > highest ? i : highest;
                }
                OK(s.keeps_order == (overtaken == 0), "shape %d: %u overtaken", s.shape, overtaken);
                if (!s.keeps_order)
                        OK(NEAR(sum / 10000, s.shape == LAB_SHAPE_TAIL ? 60 : 50, 0.5),
                           "shape %d: mean %.2f ms", s.shape, sum / 10000);
                world_close(&w);
        }
}

static void a_cut_loses_what_is_on_its_way(void)
{
        struct world w;
        int64_t due_ns = 0;
        struct lab_line_settings s = lab_line_defaults();
        s.delay_ns = 20 * DOG_MS;
        s.rate_bps = 8e6;
        world_open(&w, s);
        for (unsigned i = 0; i < 10; i++)
                offer(&w, i, 0, 1000); /* at 5 ms some are queued and some in the air */
        s.is_cut = true;
        lab_line_change(w.line, &s, 5 * DOG_MS);
        offer(&w, 10, 6 * DOG_MS, 1000);
        OK(lab_line_counts_of(w.line)->dropped[LAB_DROP_CUT] == 11 && w.released == 11, "all 11 are gone");
        OK(lab_line_inside(w.line, NULL) == 0, "nothing is inside");
        s.is_cut = false;
        lab_line_change(w.line, &s, 7 * DOG_MS);
        offer(&w, 11, 8 * DOG_MS, 1000);
        OK(next_out(&w, &due_ns) == 11 && due_ns == 29 * DOG_MS, "healed: the next one passes");
        world_close(&w);
}

static void a_duplicate_comes_out_twice_and_is_freed_once(void)
{
        struct world w;
        int64_t due_ns = 0;
        struct lab_line_settings s = lab_line_defaults();
        s.duplicate = 1;
        s.reorder = 0.1;
        world_open(&w, s);
        for (unsigned i = 0; i < 1000; i++)
                offer(&w, i, i * 100000, 100);
        unsigned out = 0;
        for (int i; (i = next_out(&w, &due_ns)) >= 0; out++)
                w.packet[i].refs--;
        OK(out == 2000, "%u came out", out);
        for (unsigned i = 0; i < 1000; i++)
                NEED(w.packet[i].refs == 0, "packet %u has %u references left", i, w.packet[i].refs);
        OK(NEAR((double)lab_line_counts_of(w.line)->reordered, 100, 30), "about a tenth was held back");
        world_close(&w);
}

static void the_same_seed_gives_the_same_fate(void)
{
        unsigned gone[2];
        for (int k = 0; k < 2; k++) {
                struct world w;
                struct lab_line_settings s = lab_line_defaults();
                s.loss = 0.3;
                world_open(&w, s);
                gone[k] = 0;
                for (unsigned i = 0; i < 1000; i++) {
                        unsigned before = w.released;
                        offer(&w, i, i, 100);
                        gone[k] = gone[k] * 31 + (w.released - before);
                }
                world_close(&w);
        }
        OK(gone[0] == gone[1], "the two runs lost the same packets");
}

static void a_histogram_is_within_a_hundredth(void)
{
        static struct lab_hist h;
        for (int64_t i = 1; i <= 1000000; i++)
                lab_hist_add(&h, i * 1000);
        static const double share[] = {0.01, 0.5, 0.9, 0.999};
        for (size_t i = 0; i < ARRAY_SIZE(share); i++) {
                double got = (double)lab_hist_at(&h, share[i]);
                OK(fabs(got / (share[i] * 1e9) - 1) < 0.01, "share %g is %g", share[i], got);
        }
        OK(lab_hist_at(&h, 1) <= h.max_ns && h.max_ns == 1000000000, "the largest is exact");
        lab_hist_add(&h, -5);
        OK(lab_hist_at(&h, 0) == 0, "a negative time counts as none");
}

/* ---- traces ---- */

/* A file of its own for each test that wants one. */
static const char *file_with(const char *ending, const char *text)
{
        static char name[4][64];
        static unsigned turn;
        char *at = name[turn++ % ARRAY_SIZE(name)];
        snprintf(at, sizeof(name[0]), "/tmp/sundog-lab-%d-%u%s", (int)getpid(), turn, ending);
        FILE *f = fopen(at, "we");
        if (!f)
                return NULL;
        fputs(text, f);
        fclose(f);
        return at;
}

static const char two_paths[] = "t_ms,path,rtt_ms,loss,rate_kbps\n"
                                "0,dsl,20,0,\n0,lte,60,0,5000\n"
                                "200,dsl,,1,\n200,lte,100,0,0\n"
                                "400,dsl,50,0,\n400,lte,80,0.36,5000\n";

static void a_sample_becomes_delay_and_loss_by_the_rule(void)
{
        static const struct {
                const char *path;
                enum lab_split split;
                bool is_ab;
                int64_t t_ms;
                double delay_ms, loss, rate_kbps;
                const char *say;
        } row[] = {
                {"dsl", LAB_SPLIT_HALF, true, 0, 10, 0, -1, "half of 20"},
                {"dsl", LAB_SPLIT_HALF, false, 399, 10, 1, -1, "the lost probe holds the delay and loses"},
                {"dsl", LAB_SPLIT_AB, true, 450, 40, 0, -1, "least is 20: 10 + the 30 above it"},
                {"dsl", LAB_SPLIT_AB, false, 450, 10, 0, -1, "the other way has half of the least"},
                {"dsl", LAB_SPLIT_BA, true, 250, 10, 0, -1, "and none of the loss"},
                {"lte", LAB_SPLIT_HALF, true, 450, 40, 0.2, 5000,
                 "1 - sqrt(1 - .36): lost as often both ways"},
                {"lte", LAB_SPLIT_BA, false, 9999, 50, 0.36, 5000, "after the end the last one holds"},
                {"lte", LAB_SPLIT_HALF, true, 200, 50, 0, 0, "no rate: stalled"},
                {"lte", LAB_SPLIT_HALF, true, -5, 30, 0, 5000, "before the start the first one holds"},
        };
        struct lab_trace t;
        struct dog_err e = {0};
        const char *file = file_with(".csv", two_paths);
        NEED(lab_trace_load(&t, file, &e) == 0, "%s", e.text);
        OK(t.paths == 2 && t.step_ms == 200 && t.length_ms == 600, "two paths, 0.6 s");
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                int path = lab_trace_find(&t, row[i].path);
                NEED(path >= 0, "path %s", row[i].path);
                struct lab_weather w =
                        lab_trace_weather(&t, (size_t)path, row[i].split, row[i].is_ab, row[i].t_ms);
                OK(NEAR(w.delay_ms, row[i].delay_ms, 1e-9) && NEAR(w.loss, row[i].loss, 1e-9),
                   "%s: %g ms, loss %g", row[i].say, w.delay_ms, w.loss);
                OK(row[i].rate_kbps < 0 ? isnan(w.rate_kbps) : NEAR(w.rate_kbps, row[i].rate_kbps, 1e-9),
                   "%s: rate %g", row[i].say, w.rate_kbps);
        }
        lab_trace_free(&t);
        unlink(file);
}

static void a_playlist_plays_what_all_paths_have_in_common(void)
{
        char list[256];
        struct lab_trace t;
        struct dog_err e = {0};
        /* b is heard from 400 ms on, a until 600: 200 ms in common, then a window of our own. */
        const char *one = file_with(".csv", "t_ms,path,rtt_ms,loss\n0,a,10,0\n200,a,20,0\n400,a,30,0\n"
                                            "400,b,70,0\n600,b,80,0\n");
        snprintf(list, sizeof(list), "# two\n%s\n%s 400 600\n", strrchr(one, '/') + 1, strrchr(one, '/') + 1);
        const char *file = file_with(".playlist", list);
        NEED(lab_trace_load(&t, file, &e) == 0, "%s", e.text);
        OK(t.length_ms == 400 && t.paths == 2, "200 ms twice, not %lld", (long long)t.length_ms);
        for (int64_t at = 0; at < 400; at += 200) {
                OK(lab_trace_at(&t, 0, at)->rtt_ms == 30, "a at %lld", (long long)at);
                OK(lab_trace_at(&t, 1, at)->rtt_ms == 70, "b at %lld", (long long)at);
        }
        OK(lab_trace_at(&t, 0, 0)->base_ms == 10, "the least rtt is that of the whole recording");
        lab_trace_free(&t);
        unlink(one);
        unlink(file);
}

static void bad_traces_get_one_sentence_with_a_line(void)
{
        static const struct {
                const char *ending, *text, *want;
        } row[] = {
                {".csv", "", "no samples"},
                {".csv", "a,b\n", "no column \"t_ms\""},
                {".csv", "t_ms,path,rtt_ms,loss\n0,x,-5,0\n", "line 2: rtt_ms \"-5\""},
                {".csv", "t_ms,path,rtt_ms,loss\n0,x,5,2\n", "line 2: loss \"2\""},
                {".csv", "t_ms,path,rtt_ms,loss\n0,x,nan,0\n", "line 2: rtt_ms \"nan\""},
                {".csv", "t_ms,path,rtt_ms,loss\n200,x,5,0\n200,x,5,0\n",
                 "line 3: t_ms 200 of path x does not come after"},
                {".csv", "t_ms,path,rtt_ms,loss\n,x,5,0\n", "line 2: t_ms \"\""},
                {".csv", "t_ms,path,rtt_ms,loss\n7\n", "line 2: 1 fields are too few"},
                {".csv", "t_ms,path\n0,0123456789012345678901234567890123456789\n", "is not a path name"},
                {".playlist", "# nothing\n", "names no trace"},
                {".playlist", "absent.csv\n", "line 1: absent.csv: cannot open trace"},
                {".playlist", "absent.csv 5\n", "line 1: a line is a trace"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct lab_trace t;
                struct dog_err e = {0};
                const char *file = file_with(row[i].ending, row[i].text);
                OK(lab_trace_load(&t, file, &e) < 0, "row %zu is refused", i);
                OK(strstr(e.text, row[i].want) != NULL, "row %zu says: %s", i, e.text);
                OK(t.paths == 0, "nothing is left to free");
                unlink(file);
        }
        struct lab_trace t;
        OK(lab_trace_load(&t, "/nonexistent.csv", NULL) == -ENOENT, "an absent file");
}

/* ---- the picture ---- */

/*
 * Well-formed, as far as our own output goes: one root, every element closed in order, every attribute
 * quoted, no bare < or & in text. Returns what is wrong, NULL when nothing is.
 */
static const char *xml_fault(const char *at)
{
        char open[16][16];
        unsigned depth = 0;
        unsigned roots = 0;
        for (; *at; at++) {
                if (*at == '&') {
                        size_t n = strcspn(at, "; <");
                        if (at[n] != ';' || n > 5)
                                return "a bare &";
                }
                if ((unsigned char)*at < 0x20 && *at != '\n')
                        return "a control character";
                if (*at != '<')
                        continue;
                char name[16] = "";
                if (at[1] == '?') {
                        at = strchr(at, '>');
                        continue;
                }
                bool closes = at[1] == '/';
                size_t n = strspn(at + 1 + closes, "abcdefghijklmnopqrstuvwxyz");
                if (n == 0 || n >= sizeof(name))
                        return "a bare <";
                memcpy(name, at + 1 + closes, n);
                const char *end = at + 1 + closes + n;
                for (; *end && *end != '>'; end++) {
                        if (*end == '<')
                                return "an unclosed tag";
                        if (*end == '"' && !(end = strchr(end + 1, '"')))
                                return "an open quote";
                }
                if (!*end)
                        return "an unclosed tag";
                if (closes && (depth == 0 || strcmp(open[--depth], name) != 0))
                        return "closed what was not open";
                if (!closes && end[-1] != '/') {
                        roots += depth == 0;
                        if (depth == ARRAY_SIZE(open))
                                return "too deep";
                        memcpy(open[depth++], name, sizeof(name));
                }
                at = end;
        }
        return depth ? "something is left open" : roots == 1 ? NULL : "not one root";
}

static unsigned times_in(const char *text, const char *what)
{
        unsigned n = 0;
        for (const char *at = text; (at = strstr(at, what)); at++)
                n++;
        return n;
}

static char *picture_of(const struct lab_plot *p, int want_rc)
{
        char *text = NULL;
        size_t size = 0;
        struct dog_err e = {0};
        FILE *out = open_memstream(&text, &size);
        int rc = lab_plot_write(p, out, &e);
        fclose(out);
        OK(rc == want_rc, "%d: %s", rc, e.text);
        return text;
}

static void the_picture_is_well_formed_and_shows_what_it_was_given(void)
{
        static const struct lab_plot_point fast[] = {{0, 20, false}, {200, 25, true}, {400, 9000, false}};
        static const struct lab_plot_point slow[] = {
                {0, 90, false}, {200, (double)NAN, false}, {400, 95, false}};
        static const struct lab_plot_carried carried[] = {{0, 1}, {200, 3}, {400, 2}};
        static const struct lab_plot_mark bad[] = {{0, 10, 0, 0}, {100, 10, 4, 0}, {200, 10, 0, 2}};
        static const struct lab_plot_mark good[] = {{0, 10, 0, 0}, {100, 10, 0, 0}, {200, 10, 0, 0}};
        struct lab_plot p = {.title = "<A> & \"B\"",
                             .subtitle = "a\tb",
                             .to_ms = 600,
                             .late_ms = 150,
                             .slot_ms = 100,
                             .path = {{"fast<", fast, 3}, {"slow", slow, 3}},
                             .paths = 2,
                             .carried = carried,
                             .carried_count = 3,
                             .run = {{"alone", bad, 3}, {"mirrored", good, 3}},
                             .runs = 2};
        char *text = picture_of(&p, 0);
        const char *fault = xml_fault(text);
        OK(fault == NULL, "%s", fault);
        OK(strstr(text, "&lt;A&gt; &amp; &quot;B&quot;") != NULL, "the title, in XML's words");
        OK(times_in(text, "<polyline class=\"thin s0\"") == 1, "one line for a path without a gap");
        OK(times_in(text, "<polyline class=\"thin s1\"") == 2, "a gap makes two");
        OK(strstr(text, "20.00 % bad") && strstr(text, "0.00 % bad"), "6 of 30 are bad, and 0 of 30");
        OK(times_in(text, "<rect class=\"lost\"") == 2 && times_in(text, "<rect class=\"late\"") == 2,
           "one mark of each kind, and the legend");
        OK(times_in(text, "<rect class=\"f0\"") == 1 + 2 && times_in(text, "<rect class=\"f1\"") == 2,
           "one loss; each path carried in two of three stretches");
        OK(strstr(text, "nan") == NULL && strstr(text, "inf") == NULL, "no coordinate is not a number");
        free(text);
        OK(xml_fault("<a><b></a></b>") && xml_fault("<a b=\"></a>") && xml_fault("<a>&</a>") &&
                   xml_fault("<a/><b>"),
           "the checker finds faults");
}

static void a_picture_of_nothing_is_refused(void)
{
        struct lab_plot p = {.title = "", .subtitle = "", .late_ms = 150, .slot_ms = 100};
        free(picture_of(&p, -EINVAL));
        p.to_ms = 10;
        p.paths = LAB_PLOT_PATHS + 1;
        free(picture_of(&p, -EINVAL));
        p.paths = 0;
        char *text = picture_of(&p, 0);
        OK(xml_fault(text) == NULL, "an empty picture is well-formed too");
        free(text);
}

int main(void)
{
        return CHECK_RUN(
                TEST(a_packet_comes_out_after_the_delay), TEST(a_rate_spaces_packets_by_their_length),
                TEST(a_full_queue_drops_what_comes_last), TEST(a_rate_that_changes_applies_to_what_is_left),
                TEST(loss_is_as_often_as_said), TEST(jitter_keeps_the_order_unless_told_otherwise),
                TEST(a_cut_loses_what_is_on_its_way), TEST(a_duplicate_comes_out_twice_and_is_freed_once),
                TEST(the_same_seed_gives_the_same_fate), TEST(a_histogram_is_within_a_hundredth),
                TEST(a_sample_becomes_delay_and_loss_by_the_rule),
                TEST(a_playlist_plays_what_all_paths_have_in_common),
                TEST(bad_traces_get_one_sentence_with_a_line),
                TEST(the_picture_is_well_formed_and_shows_what_it_was_given),
                TEST(a_picture_of_nothing_is_refused));
}
