/* Sessions and reflector in virtual time: packets are handed over, delayed, lost, repeated and forged.
 * P4: latency, jitter and loss of every path. P6: each candidate path has a session of its own, whether it
 * carries traffic or not. P11: the far end's counters come back while traffic flows. O11, O12. */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "sources/stamp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum { SEEN = 4096 };

static const uint8_t key[DOG_STAMP_KEY_SIZE] = "a key of thirty-two octets, yes";
static const int64_t wall_ns = 1716811200 * DOG_S;

struct notes {
        size_t seen_count;
        struct dog_stamp_seen seen[SEEN];
        size_t report_count;
        struct dog_stamp_report report;
};

static void note_seen(void *user, const struct dog_stamp_seen *seen)
{
        struct notes *n = user;
        if (n->seen_count < SEEN)
                n->seen[n->seen_count++] = *seen;
}

static void note_report(void *user, int64_t at_ns, const struct dog_stamp_report *r)
{
        struct notes *n = user;
        OK(at_ns > 0, "a report has a time");
        n->report_count++;
        n->report = *r;
}

static bool far_counters(void *user, uint16_t tunnel, uint8_t path, struct dog_stamp_report *r)
{
        ++*(unsigned *)user;
        r->received = 90;
        r->expected = 100;
        r->groups = 1;
        r->group[0] = (struct dog_stamp_report_group){.group = 5, .packets = 60};
        return tunnel == 9 && path == 1;
}

static struct sockaddr_in address(const char *text, uint16_t port)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
        inet_pton(AF_INET, text, &a.sin_addr);
        return a;
}

/* A path between a session and a reflector whose clock is 1000 s ahead and whose host takes 5 ms. */
struct bench {
        struct dog_stamp_session *session;
        struct dog_stamp_reflector *reflector;
        struct notes *notes;
        unsigned asked;
};
static struct notes the_notes;

static const int64_t ahead_ns = 1000 * DOG_S;
static const int64_t inside_ns = 5 * DOG_MS;

static struct bench bench_with(struct dog_stamp_session_conf sc, struct dog_stamp_reflector_conf rc)
{
        static unsigned asked;
        struct dog_err e = {0};
        struct bench b = {.notes = &the_notes};
        memset(&the_notes, 0, sizeof(the_notes));
        asked = 0;
        sc.fd = -1;
        rc.fd = -1;
        sc.seen = note_seen;
        sc.report = note_report;
        sc.user = &the_notes;
        rc.user = &asked;
        NEED(dog_stamp_session_new(&b.session, &sc, &e) == 0, "%s", e.text);
        NEED(dog_stamp_reflector_new(&b.reflector, &rc, &e) == 0, "%s", e.text);
        return b;
}

static void bench_close(struct bench *b)
{
        dog_stamp_session_free(b->session);
        dog_stamp_reflector_free(b->reflector);
}

/* One probe at now_ns over a path of so much delay each way. @return the answer's size, 0: none */
static size_t bench_ask(struct bench *b, int64_t now_ns, int64_t out_ns, uint8_t *reply)
{
        uint8_t request[DOG_STAMP_MOST];
        struct sockaddr_in from = address("192.0.2.1", 40000);
        size_t size = dog_stamp_session_probe(b->session, now_ns, wall_ns + now_ns, request);
        int64_t at_ns = now_ns + out_ns;
        if (dog_stamp_reflector_answer(b->reflector, (struct sockaddr *)&from, sizeof(from), request, size,
                                       60, at_ns, wall_ns + at_ns + ahead_ns,
                                       wall_ns + at_ns + ahead_ns + inside_ns, reply) != DOG_STAMP_FINE)
                return 0;
        return size;
}

static enum dog_stamp_drop bench_take(struct bench *b, const uint8_t *reply, size_t size, int64_t at_ns)
{
        return dog_stamp_session_take(b->session, reply, size, at_ns, wall_ns + at_ns);
}

static void P4_a_probe_tells_latency_jitter_and_loss(void)
{
        for (int sealed = 0; sealed < 2; sealed++) {
                const uint8_t *k = sealed ? key : NULL;
                struct bench b =
                        bench_with((struct dog_stamp_session_conf){.key = k, .ssid = 77, .is_ptp = true},
                                   (struct dog_stamp_reflector_conf){.key = k});
                uint8_t reply[DOG_STAMP_MOST];
                for (int i = 0; i < 2; i++) {
                        int64_t now = (i + 1) * DOG_S;
                        int64_t out = 20 * DOG_MS;
                        int64_t back = 30 * DOG_MS + i * 8 * DOG_MS;
                        size_t size = bench_ask(&b, now, out, reply);
                        NEED(size > 0, "answered");
                        OK(bench_take(&b, reply, size, now + out + inside_ns + back) == DOG_STAMP_FINE,
                           "taken");
                }
                dog_stamp_session_probe(b.session, 3 * DOG_S, wall_ns, reply);
                dog_stamp_session_expire(b.session, 4 * DOG_S - 1);
                OK(b.notes->seen_count == 2, "a loss is not known before the timeout of 1 s");
                dog_stamp_session_expire(b.session, 4 * DOG_S);
                NEED(b.notes->seen_count == 3, "two answers and a loss");
                const struct dog_stamp_seen *s = b.notes->seen;
                OK(NEAR(s[0].sample.value[DOG_SIGNAL_RTT], 50, 1e-6),
                   "20 + 30 ms: the reflector's 5 ms are not in");
                OK(s[0].sample.value[DOG_SIGNAL_LOSS] == 0 && s[0].sample.at_ns == DOG_S, "at its send time");
                OK(isnan(s[0].sample.value[DOG_SIGNAL_JITTER]), "one answer has no jitter");
                OK(NEAR(s[1].sample.value[DOG_SIGNAL_JITTER], 8, 1e-6), "8 ms between the first two");
                OK(NEAR(s[1].out_ms, 20 + 1e6, 1e-3) && NEAR(s[1].back_ms, 38 - 1e6, 1e-3),
                   "one way, with the difference of the clocks in it");
                OK(s[2].sample.value[DOG_SIGNAL_LOSS] == 1 && s[2].sample.at_ns == 3 * DOG_S &&
                           isnan(s[2].sample.value[DOG_SIGNAL_RTT]) && isnan(s[2].out_ms),
                   "a loss, at its send time, and no round trip");
                bench_close(&b);
        }
}

static void a_late_answer_stays_a_loss_and_stretches_the_timeout(void)
{
        struct bench b = bench_with((struct dog_stamp_session_conf){.key = key},
                                    (struct dog_stamp_reflector_conf){.key = key});
        uint8_t reply[DOG_STAMP_MOST];
        size_t size = bench_ask(&b, DOG_S, DOG_MS, reply);
        dog_stamp_session_expire(b.session, 2 * DOG_S);
        OK(bench_take(&b, reply, size, DOG_S + 1500 * DOG_MS) == DOG_STAMP_FINE, "it came");
        const struct dog_stamp_session_stats *st = dog_stamp_session_stats(b.session);
        OK(st->lost == 1 && st->late == 1 && st->answered == 0 && b.notes->seen_count == 1,
           "one loss was told");
        OK(NEAR((double)st->timeout_ns, 4 * 1495e6, 1e6), "4 x 1.495 s: %lld", (long long)st->timeout_ns);
        size = bench_ask(&b, 10 * DOG_S, DOG_MS, reply);
        OK(bench_take(&b, reply, size, 11500 * DOG_MS) == DOG_STAMP_FINE && st->answered == 1,
           "so the next slow answer is an answer");
        /* The owner was busy and looked only now; the kernel's arrival time says it was late. */
        size = bench_ask(&b, 20 * DOG_S, DOG_MS, reply);
        OK(bench_take(&b, reply, size, 29 * DOG_S) == DOG_STAMP_FINE && st->late == 2 && st->lost == 2,
           "late is late, whether or not a timer ran before");
        bench_close(&b);
}

static void what_is_not_an_answer_is_dropped_and_counted(void)
{
        struct bench b = bench_with((struct dog_stamp_session_conf){.key = key, .ssid = 3},
                                    (struct dog_stamp_reflector_conf){.key = key});
        const struct dog_stamp_session_stats *st = dog_stamp_session_stats(b.session);
        uint8_t reply[DOG_STAMP_MOST + 1];
        size_t size = bench_ask(&b, DOG_S, DOG_MS, reply);
        reply[50] ^= 4;
        OK(bench_take(&b, reply, size, DOG_S + DOG_MS) == DOG_STAMP_BAD_TAG, "a forged answer");
        reply[50] ^= 4;
        OK(bench_take(&b, reply, 100, DOG_S + DOG_MS) == DOG_STAMP_SHORT, "a short one");
        OK(bench_take(&b, reply, sizeof(reply), DOG_S + DOG_MS) == DOG_STAMP_LONG, "a long one");
        OK(b.notes->seen_count == 0, "none of them told anything");
        OK(bench_take(&b, reply, size, DOG_S + 2 * DOG_MS) == DOG_STAMP_FINE, "the true one");
        OK(bench_take(&b, reply, size, DOG_S + 3 * DOG_MS) == DOG_STAMP_DUPLICATE, "and once more");
        OK(b.notes->seen_count == 1 && st->answered == 1, "counts once");

        uint8_t probe[DOG_STAMP_MOST];
        size = dog_stamp_session_probe(b.session, 2 * DOG_S, wall_ns, probe);
        OK(bench_take(&b, probe, size, 2 * DOG_S) == DOG_STAMP_NOT_SENT,
           "our own probe sent back by someone in between verifies, and is no answer");
        struct dog_stamp_reply r = {.probe_seq = 1, .ssid = 4};
        struct dog_bytes out = dog_bytes_of(reply, sizeof(reply));
        dog_stamp_reply_write(&out, &r, key);
        OK(bench_take(&b, reply, out.at, 2 * DOG_S) == DOG_STAMP_WRONG_SESSION, "another session's");
        r = (struct dog_stamp_reply){.probe_seq = 999, .ssid = 3};
        out = dog_bytes_of(reply, sizeof(reply));
        dog_stamp_reply_write(&out, &r, key);
        OK(bench_take(&b, reply, out.at, 2 * DOG_S) == DOG_STAMP_NOT_SENT, "a number from the future");
        OK(st->dropped[DOG_STAMP_BAD_TAG] == 1 && st->dropped[DOG_STAMP_SHORT] == 1 &&
                   st->dropped[DOG_STAMP_LONG] == 1 && st->dropped[DOG_STAMP_DUPLICATE] == 1 &&
                   st->dropped[DOG_STAMP_NOT_SENT] == 2 && st->dropped[DOG_STAMP_WRONG_SESSION] == 1,
           "each under its reason");
        bench_close(&b);
}

static void a_stateful_reflector_tells_on_which_way_packets_were_lost(void)
{
        struct bench b = bench_with((struct dog_stamp_session_conf){.key = key},
                                    (struct dog_stamp_reflector_conf){.key = key, .is_stateful = true});
        const struct dog_stamp_session_stats *st = dog_stamp_session_stats(b.session);
        uint8_t reply[DOG_STAMP_MOST];
        for (int i = 0; i < 100; i++) {
                int64_t now = (i + 1) * DOG_S;
                dog_stamp_session_expire(b.session, now);
                if (i % 10 == 3) { /* lost on the way out */
                        dog_stamp_session_probe(b.session, now, wall_ns + now, reply);
                        continue;
                }
                size_t size = bench_ask(&b, now, DOG_MS, reply);
                if (i % 10 != 5 && i % 10 != 6) /* these are lost on the way back */
                        bench_take(&b, reply, size, now + 10 * DOG_MS);
        }
        OK(st->lost == 30 && st->answered == 70, "lost %llu", (unsigned long long)st->lost);
        OK(st->is_stateful && st->lost_out == 10 && st->lost_back == 20, "out %llu, back %llu",
           (unsigned long long)st->lost_out, (unsigned long long)st->lost_back);
        bench_close(&b);
}

static void O12_counters_come_back_and_a_peer_without_them_is_left_alone(void)
{
        struct dog_stamp_session_conf sc = {.key = key, .tunnel = 9, .path = 1, .report_groups = 2};
        for (int knows = 0; knows < 2; knows++) {
                struct bench b = bench_with(sc, (struct dog_stamp_reflector_conf){
                                                        .key = key, .report = knows ? far_counters : NULL});
                const struct dog_stamp_session_stats *st = dog_stamp_session_stats(b.session);
                uint8_t reply[DOG_STAMP_MOST];
                size_t extended = 0;
                for (int i = 0; i < 300; i++) { /* five minutes, a probe a second */
                        int64_t now = (i + 1) * DOG_S;
                        size_t size = bench_ask(&b, now, DOG_MS, reply);
                        extended += size > DOG_STAMP_SEALED_SIZE;
                        OK(bench_take(&b, reply, size, now + 2 * DOG_MS) == DOG_STAMP_FINE, "probe %d", i);
                }
                OK(st->answered == 300, "measured all the same");
                if (knows) {
                        OK(extended == 5 && b.notes->report_count == 5 && st->reports == 5,
                           "one a minute: %zu", b.notes->report_count);
                        OK(b.notes->report.received == 90 && b.notes->report.expected == 100 &&
                                   b.notes->report.tunnel == 9 && b.notes->report.path == 1 &&
                                   b.notes->report.group[0].packets == 60,
                           "what the far end said");
                } else {
                        OK(extended == 1 && st->unreported == 1 && b.notes->report_count == 0,
                           "asked once, then not for ten minutes: %zu", extended);
                }
                bench_close(&b);
        }
}

static struct dog_stamp_notice the_notice;
static unsigned notices;

static bool far_notice(void *user, const struct dog_stamp_notice *n)
{
        (void)user;
        the_notice = *n;
        notices++;
        return n->tunnel == 9;
}

/* O12, P11: silence is told with the next probe, which is due at once; never without a key, never unverified.
 */
static void O12_a_notice_goes_out_at_once_and_arrives_verified(void)
{
        static const struct dog_stamp_notice say = {
                .tunnel = 9, .class = 3, .silent_ms = 80, .newest_seq = UINT64_C(1) << 60};
        struct dog_stamp_session_conf sc = {.key = key, .interval_ns = 10 * DOG_S, .report_every_ns = -1};
        struct bench b = bench_with(sc, (struct dog_stamp_reflector_conf){.key = key, .notice = far_notice});
        uint8_t reply[DOG_STAMP_MOST];
        notices = 0;
        size_t size = bench_ask(&b, DOG_S, DOG_MS, reply);
        OK(size == DOG_STAMP_SEALED_SIZE && notices == 0, "nothing to tell, nothing told");
        OK(dog_stamp_session_due(b.session, 2 * DOG_S) > 2 * DOG_S, "the next probe is far off");
        dog_stamp_session_notify(b.session, &say);
        OK(dog_stamp_session_due(b.session, 2 * DOG_S) <= 2 * DOG_S, "a notice does not wait");
        size = bench_ask(&b, 2 * DOG_S, DOG_MS, reply);
        OK(size > DOG_STAMP_SEALED_SIZE && notices == 1, "one notice: %u", notices);
        OK(the_notice.tunnel == 9 && the_notice.class == 3 && the_notice.silent_ms == 80 &&
                   the_notice.newest_seq == say.newest_seq,
           "as it was said");
        OK(bench_take(&b, reply, size, 2 * DOG_S + 2 * DOG_MS) == DOG_STAMP_FINE, "and it measured as well");
        OK(bench_ask(&b, 12 * DOG_S, DOG_MS, reply) == DOG_STAMP_SEALED_SIZE && notices == 1, "once");

        uint8_t request[DOG_STAMP_MOST];
        struct sockaddr_in from = address("192.0.2.1", 40000);
        dog_stamp_session_notify(b.session, &say);
        size = dog_stamp_session_probe(b.session, 13 * DOG_S, wall_ns, request);
        request[DOG_STAMP_SEALED_SIZE + DOG_STAMP_TLV_HEAD + 8] ^= 1;
        dog_stamp_reflector_answer(b.reflector, (struct sockaddr *)&from, sizeof(from), request, size, 60,
                                   13 * DOG_S, wall_ns, wall_ns, reply);
        OK(notices == 1, "a forged one is not heard");
        bench_close(&b);

        sc.key = NULL;
        b = bench_with(sc, (struct dog_stamp_reflector_conf){.notice = far_notice});
        dog_stamp_session_notify(b.session, &say);
        OK(bench_ask(&b, DOG_S, DOG_MS, reply) == DOG_STAMP_PLAIN_SIZE && notices == 1,
           "without a key nothing is told");
        bench_close(&b);
}

static void a_reflector_that_only_copies_tlvs_still_measures(void)
{
        struct bench b = bench_with((struct dog_stamp_session_conf){.key = key, .tunnel = 9, .path = 1},
                                    (struct dog_stamp_reflector_conf){.key = key});
        uint8_t request[DOG_STAMP_MOST];
        uint8_t reply[DOG_STAMP_MOST];
        size_t size = dog_stamp_session_probe(b.session, DOG_S, wall_ns, request);
        NEED(size > DOG_STAMP_SEALED_SIZE, "it asks for a report");
        struct dog_stamp_probe p;
        dog_stamp_probe_read(request, size, key, &p);
        memcpy(reply, request, size);
        struct dog_stamp_reply r = {
                .seq = 41, .probe_seq = p.seq, .probe_sent = p.sent, .probe_clock = p.clock};
        struct dog_bytes out = dog_bytes_of(reply, size);
        dog_stamp_reply_write(&out, &r, key);
        OK(bench_take(&b, reply, size, DOG_S + DOG_MS) == DOG_STAMP_BAD_TLV_TAG,
           "its own number breaks the HMAC TLV");
        OK(b.notes->seen_count == 1 && b.notes->report_count == 0, "the times are used, the TLVs are not");
        bench_close(&b);
}

static void a_reflector_answers_no_one_too_often_and_no_reflector(void)
{
        struct dog_err e = {0};
        struct dog_stamp_reflector *r = NULL;
        struct dog_stamp_reflector_conf rc = {.fd = -1, .rate_per_s = 50, .is_stateful = true, .sessions = 8};
        NEED(dog_stamp_reflector_new(&r, &rc, &e) == 0, "%s", e.text);
        const struct dog_stamp_reflector_stats *st = dog_stamp_reflector_stats(r);
        uint8_t request[DOG_STAMP_PLAIN_SIZE] = {0};
        uint8_t reply[DOG_STAMP_MOST];
        unsigned answered = 0;
        for (int i = 0; i < 1000; i++) { /* one source, changing ports, 1000 a second for a second */
                struct sockaddr_in from = address("192.0.2.7", (uint16_t)(30000 + i));
                int64_t now = i * DOG_MS;
                answered += dog_stamp_reflector_answer(r, (struct sockaddr *)&from, sizeof(from), request,
                                                       sizeof(request), 64, now, now, now,
                                                       reply) == DOG_STAMP_FINE;
        }
        OK(answered >= 50 && answered <= 100, "50 a second and a burst of as many: %u", answered);
        OK(st->dropped[DOG_STAMP_OVER_RATE] == 1000 - answered && st->received == 1000,
           "the rest is counted");
        OK(st->sessions == 8 && st->uncounted > 0, "the table holds 8 and does not grow");
        struct sockaddr_in other = address("192.0.2.8", 30000);
        OK(dog_stamp_reflector_answer(r, (struct sockaddr *)&other, sizeof(other), request, sizeof(request),
                                      64, DOG_S, DOG_S, DOG_S, reply) == DOG_STAMP_FINE,
           "another source is not held back");
        struct sockaddr_in peer = address("192.0.2.9", DOG_STAMP_PORT);
        OK(dog_stamp_reflector_answer(r, (struct sockaddr *)&peer, sizeof(peer), request, sizeof(request), 64,
                                      DOG_S, DOG_S, DOG_S, reply) == DOG_STAMP_LOOP,
           "a packet from a reflector's port would go round for ever");
        dog_stamp_reflector_on_timer(r, 2000 * DOG_S);
        OK(st->sessions == 0, "silent for 15 minutes: forgotten");
        dog_stamp_reflector_free(r);
}

static void answers_are_never_larger_than_requests(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 862);
        struct dog_stamp_reflect how = {.key = NULL};
        uint8_t request[256];
        uint8_t reply[256 + 16];
        for (int i = 0; i < 20000; i++) {
                size_t size = dog_rng_below(&rng, sizeof(request));
                for (size_t at = 0; at < size; at++)
                        request[at] = (uint8_t)dog_rng_u64(&rng);
                memset(reply, 0xee, sizeof(reply));
                dog_stamp_reflect(&how, request, size, reply);
                OK(reply[size] == 0xee && reply[sizeof(reply) - 1] == 0xee, "octet %zu is untouched", size);
        }
}

/* How many probes go out in so many seconds, in virtual time. */
static size_t probes_in(struct dog_stamp_session *s, int64_t *now_ns, int64_t seconds, bool is_measured)
{
        uint8_t packet[DOG_STAMP_MOST];
        size_t sent = 0;
        for (int64_t end = *now_ns + seconds * DOG_S; *now_ns < end; *now_ns += 10 * DOG_MS) {
                if (is_measured)
                        dog_stamp_session_measured(s, *now_ns);
                if (dog_stamp_session_due(s, *now_ns) > *now_ns)
                        continue;
                dog_stamp_session_probe(s, *now_ns, wall_ns + *now_ns, packet);
                sent++;
        }
        return sent;
}

static void P11_probes_are_thinned_while_traffic_measures_the_path(void)
{
        struct bench b = bench_with(
                (struct dog_stamp_session_conf){.interval_ns = 200 * DOG_MS, .sparse_ns = 20 * DOG_S},
                (struct dog_stamp_reflector_conf){.key = NULL});
        int64_t now_ns = DOG_S;
        size_t n = probes_in(b.session, &now_ns, 100, false);
        OK(n >= 498 && n <= 502, "five a second, on the average exactly: %zu in 100 s", n);
        n = probes_in(b.session, &now_ns, 100, true);
        OK(n >= 4 && n <= 6, "one in 20 s while traffic measures: %zu", n);
        int64_t stopped_ns = now_ns;
        while (dog_stamp_session_due(b.session, now_ns) > now_ns)
                now_ns += 10 * DOG_MS;
        OK(now_ns - stopped_ns <= 2 * DOG_S + 20 * DOG_MS, "2 s after it stopped we look ourselves: %lld ms",
           (long long)((now_ns - stopped_ns) / DOG_MS));
        dog_stamp_session_interval_set(b.session, 50 * DOG_MS, now_ns);
        n = probes_in(b.session, &now_ns, 10, false);
        OK(n >= 198 && n <= 202, "changed while running: %zu in 10 s", n);
        dog_stamp_session_interval_set(b.session, 0, now_ns);
        n = probes_in(b.session, &now_ns, 100, false);
        OK(n >= 9 && n <= 11, "the preset is one in 10 s: %zu", n);
        bench_close(&b);
}

static int make_both(void *user, struct dog_err *e)
{
        (void)user;
        struct dog_stamp_session_conf sc = {.fd = -1, .seen = note_seen};
        struct dog_stamp_reflector_conf rc = {.fd = -1, .is_stateful = true};
        struct dog_stamp_session *s;
        struct dog_stamp_reflector *r = NULL;
        int result = dog_stamp_session_new(&s, &sc, e);
        if (result == 0)
                result = dog_stamp_reflector_new(&r, &rc, e);
        dog_stamp_session_free(s);
        dog_stamp_reflector_free(r);
        return result;
}

static void each_allocation_may_fail(void)
{
        OK(alloc_fail_each(make_both, NULL) == 2, "one for a session, one for a reflector, none later");
}

static void an_idle_path_costs_what_the_header_says(void)
{
        struct dog_stamp_session_conf c = {.key = key, .seen = note_seen, .report = note_report};
        uint64_t bytes = dog_stamp_session_month_bytes(&c);
        OK(bytes == 84326400, "84 MB a month at the presets, under the 100 allowed: %llu",
           (unsigned long long)bytes);
        c.report_every_ns = 600 * DOG_S;
        int64_t interval = dog_stamp_session_interval_for(&c, 25000000);
        OK(interval > 29 * DOG_S && interval < 32 * DOG_S, "25 MB: every %.3f s", (double)interval * 1e-9);
        c.interval_ns = interval;
        bytes = dog_stamp_session_month_bytes(&c);
        OK(bytes <= 25000000 && bytes > 24900000, "%llu", (unsigned long long)bytes);
        c = (struct dog_stamp_session_conf){.interval_ns = DOG_S, .is_ipv6 = true};
        OK(dog_stamp_session_month_bytes(&c) == UINT64_C(2592000) * 2 * (48 + 44),
           "every second, plain, IPv6");
}

static void the_fastest_of_several_paths_is_the_measure_of_delay(void)
{
        struct dog_stamp_race race = {0};
        OK(dog_stamp_race_note(&race, 0, DOG_S, 1e6 + 30, 5 * DOG_S) == 0, "alone it is the fastest");
        OK(NEAR(dog_stamp_race_note(&race, 1, 2 * DOG_S, 1e6 + 45, 5 * DOG_S), 15, 1e-6), "15 ms behind");
        OK(NEAR(dog_stamp_race_note(&race, 2, 2 * DOG_S, 1e6 + 20, 5 * DOG_S), 0, 1e-6), "a faster one");
        OK(NEAR(dog_stamp_race_note(&race, 0, 9 * DOG_S, 1e6 + 30, 5 * DOG_S), 0, 1e-6),
           "old news do not count");
}

static void settings_out_of_range_are_refused_with_a_sentence(void)
{
        const struct dog_stamp_session_conf row[] = {
                {.fd = -1, .seen = NULL},
                {.fd = -1, .seen = note_seen, .interval_ns = DOG_MS},
                {.fd = -1, .seen = note_seen, .sparse_ns = -1},
                {.fd = -1, .seen = note_seen, .timeout_ns = 61 * DOG_S},
                {.fd = -1, .seen = note_seen, .report_groups = 9},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_err e = {0};
                struct dog_stamp_session *s;
                OK(dog_stamp_session_new(&s, &row[i], &e) == -EINVAL && !s && e.text[0], "row %zu: %s", i,
                   e.text);
        }
        struct dog_err e = {0};
        struct dog_stamp_session *s;
        struct dog_stamp_session_conf notsock = {.fd = 0, .seen = note_seen};
        OK(dog_stamp_session_new(&s, &notsock, &e) < 0 && e.text[0], "not a socket: %s", e.text);
        struct dog_stamp_reflector *r;
        struct dog_stamp_reflector_conf fast = {.fd = -1, .rate_per_s = 2000000};
        OK(dog_stamp_reflector_new(&r, &fast, &e) == -EINVAL && !r, "%s", e.text);
        dog_stamp_session_free(NULL);
        dog_stamp_reflector_free(NULL);
}

int main(void)
{
        return CHECK_RUN(TEST(P4_a_probe_tells_latency_jitter_and_loss),
                         TEST(a_late_answer_stays_a_loss_and_stretches_the_timeout),
                         TEST(what_is_not_an_answer_is_dropped_and_counted),
                         TEST(a_stateful_reflector_tells_on_which_way_packets_were_lost),
                         TEST(O12_counters_come_back_and_a_peer_without_them_is_left_alone),
                         TEST(O12_a_notice_goes_out_at_once_and_arrives_verified),
                         TEST(a_reflector_that_only_copies_tlvs_still_measures),
                         TEST(a_reflector_answers_no_one_too_often_and_no_reflector),
                         TEST(answers_are_never_larger_than_requests),
                         TEST(P11_probes_are_thinned_while_traffic_measures_the_path),
                         TEST(each_allocation_may_fail), TEST(an_idle_path_costs_what_the_header_says),
                         TEST(the_fastest_of_several_paths_is_the_measure_of_delay),
                         TEST(settings_out_of_range_are_refused_with_a_sentence));
}
