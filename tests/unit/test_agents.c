/* The front's end of the agents. I1: what an instance says of its host is taken, held against what is
 * measured, and never makes it look better. I7: the status of connections goes back. I13: the connection map.
 */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "check.h"
#include "sources/agent.h"
#include "sources/exporter.h"
#include "sources/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

static const uint8_t secret[32] = {9};
static const uint8_t other[32] = {8};

/* One agent and one front, an instant apart at most. */
struct rig {
        struct dog_agents *agents;
        struct dog_agent_keys keys;
        struct dog_agent_voice voice;
        int64_t now_ns, wall_ns;
        struct dog_agent_word word;
        unsigned words, events[8];
        uint8_t reply[DOG_AGENT_MOST];
        size_t reply_size;
        uint8_t sent[DOG_AGENT_MOST];
        size_t sent_size;
};

static void rig_word(void *user, const struct dog_agent_word *w)
{
        struct rig *r = user;
        r->word = *w;
        r->words++;
}

static void rig_event(void *user, const char *instance, void *tag, enum dog_agents_event ev)
{
        struct rig *r = user;
        (void)instance;
        (void)tag;
        r->events[ev]++;
}

static enum dog_agent_status rig_status(void *user, const char *instance, void *tag,
                                        const struct dog_agent_flow *flow)
{
        (void)user;
        (void)tag;
        return strcmp(instance, "web1") == 0 && flow->remote_port == 1000 ? DOG_AGENT_PRIMARY
                                                                          : DOG_AGENT_UNPROTECTED;
}

static void rig_begin(struct rig *r)
{
        struct dog_err e = {0};
        *r = (struct rig){.now_ns = 1000 * DOG_S, .wall_ns = 1700000000 * DOG_S};
        struct dog_agents_conf conf = {.fd = -1,
                                       .wants_conns = true,
                                       .rate_per_s = 50,
                                       .conns_most = 100,
                                       .word = rig_word,
                                       .event = rig_event,
                                       .status = rig_status,
                                       .user = r};
        NEED(dog_agents_new(&r->agents, &conf, &e) == 0, "%s", e.text);
        NEED(dog_agents_add(r->agents, "web1", secret, NULL, &e) == 0, "%s", e.text);
        dog_agent_keys_derive(&r->keys, secret, "web1");
        dog_log_level_set(DOG_LOG_ERROR);
}

static void rig_end(struct rig *r)
{
        dog_agents_free(r->agents);
}

static enum dog_agent_drop rig_take(struct rig *r, const void *packet, size_t size)
{
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a000001)}};
        return dog_agents_take(r->agents, (struct sockaddr *)&from, packet, size, r->now_ns, r->wall_ns,
                               r->reply, &r->reply_size);
}

static enum dog_agent_drop rig_say(struct rig *r, enum dog_agent_type type, const uint8_t *body, size_t size)
{
        struct dog_agent_head head = {.type = type, .name = "web1"};
        dog_agent_voice_stamp(&r->voice, &head, r->wall_ns);
        r->sent_size = dog_agent_seal(r->sent, &head, body, size, r->keys.to_front);
        return rig_take(r, r->sent, r->sent_size);
}

static enum dog_agent_drop rig_report_with(struct rig *r, const struct dog_vitals *v,
                                           struct dog_agent_echo echo)
{
        uint8_t body[DOG_AGENT_BODY];
        struct dog_agent_report report = {.period_ms = 1000, .processors = 4, .echo = echo, .vitals = *v};
        return rig_say(r, DOG_AGENT_REPORT, body, dog_agent_report_write(body, &report));
}

static enum dog_agent_drop rig_report(struct rig *r, enum dog_vital vital, double value)
{
        struct dog_vitals v = dog_vitals_unknown();
        v.value[vital] = value;
        return rig_report_with(r, &v, (struct dog_agent_echo){0});
}

static void rig_pass(struct rig *r, int64_t ns)
{
        r->now_ns += ns;
        r->wall_ns += ns;
        dog_agents_on_timer(r->agents, r->now_ns);
}

/* ---- */

static void a_report_is_handed_over_and_answered(void)
{
        struct rig r;
        rig_begin(&r);
        dog_agents_role_set(r.agents, 0, DOG_AGENT_ROLE_LEAVING, .5);
        OK(rig_report(&r, DOG_VITAL_CPU, .25) == DOG_AGENT_FINE && r.words == 1, "taken");
        OK(r.word.vitals.value[DOG_VITAL_CPU] == .25 && isnan(r.word.vitals.value[DOG_VITAL_MEMORY]) &&
                   r.word.processors == 4 && !r.word.is_doubted,
           "as it was said");
        OK(r.events[DOG_AGENTS_HEARD] == 1, "its first word");
        struct dog_agent_head head;
        struct dog_agent_answer a;
        uint8_t body[DOG_AGENT_BODY];
        size_t size;
        NEED(dog_agent_open(r.reply, r.reply_size, r.keys.to_agent, &head, body, &size) == DOG_AGENT_FINE,
             "sealed");
        OK(head.type == DOG_AGENT_ANSWER && dog_agent_answer_read(body, size, &a) &&
                   a.echo.sent_wall_ns == r.wall_ns && a.role == DOG_AGENT_ROLE_LEAVING && a.score == .5 &&
                   a.wants == DOG_AGENT_WANTS_CONNS,
           "what the front tells it");
        OK(r.reply_size <= r.sent_size + 64, "an answer is no amplifier: %zu for %zu", r.reply_size,
           r.sent_size);
        /* 30 ms later a report echoes it, after 20 ms with the agent: 10 ms on the way. */
        struct dog_agent_echo echo = {.sent_wall_ns = head.sent_wall_ns, .held_ns = 20 * DOG_MS};
        struct dog_vitals v = dog_vitals_unknown();
        rig_pass(&r, 30 * DOG_MS);
        rig_report_with(&r, &v, echo);
        OK(NEAR(r.word.rtt_ns, 10 * DOG_MS, 10), "round trip %lld", (long long)r.word.rtt_ns);
        rig_end(&r);
}

static void what_is_not_verified_gets_no_answer(void)
{
        struct rig r;
        uint8_t body[DOG_AGENT_BODY];
        rig_begin(&r);
        const struct dog_agents_stats *s = dog_agents_stats(r.agents);
        dog_agent_keys_derive(&r.keys, other, "web1");
        OK(rig_report(&r, DOG_VITAL_CPU, 0) == DOG_AGENT_BAD_TAG && r.reply_size == 0, "a wrong key");
        dog_agent_keys_derive(&r.keys, secret, "web1");
        OK(rig_say(&r, DOG_AGENT_ANSWER, body, 0) == DOG_AGENT_WRONG_TYPE && r.reply_size == 0,
           "a front's type");
        OK(rig_say(&r, DOG_AGENT_REPORT, (const uint8_t *)"x", 1) == DOG_AGENT_MALFORMED && r.reply_size == 0,
           "no report");
        OK(rig_report(&r, DOG_VITAL_CPU, 0) == DOG_AGENT_FINE && r.reply_size > 0, "a good one");
        OK(rig_take(&r, r.sent, r.sent_size) == DOG_AGENT_REPLAYED && r.reply_size == 0, "the same again");
        OK(rig_take(&r, r.reply, 30) == DOG_AGENT_SHORT, "short");
        struct dog_agent_head head = {.type = DOG_AGENT_REPORT, .name = "nobody"};
        dog_agent_voice_stamp(&r.voice, &head, r.wall_ns);
        r.sent_size = dog_agent_seal(r.sent, &head, body, 0, r.keys.to_front);
        OK(rig_take(&r, r.sent, r.sent_size) == DOG_AGENT_UNKNOWN_NAME && r.reply_size == 0,
           "an unknown name");
        OK(s->received == 7 && s->answered == 1 && s->dropped[DOG_AGENT_BAD_TAG] == 1, "all counted");
        OK(r.words == 1, "one word");
        rig_end(&r);
}

static void silence_for_three_periods_is_told_once(void)
{
        struct rig r;
        rig_begin(&r);
        struct dog_agent_state state;
        rig_report(&r, DOG_VITAL_CPU, 0);
        rig_pass(&r, 2900 * DOG_MS);
        OK(r.events[DOG_AGENTS_SILENT] == 0, "not yet");
        rig_pass(&r, 200 * DOG_MS);
        rig_pass(&r, 5 * DOG_S);
        OK(r.events[DOG_AGENTS_SILENT] == 1, "once");
        OK(dog_agents_state(r.agents, 0, &state) && !state.is_heard, "and it shows");
        rig_report(&r, DOG_VITAL_CPU, 0);
        OK(r.events[DOG_AGENTS_HEARD] == 2, "heard again");
        OK(dog_agents_on_timer(r.agents, r.now_ns) <= r.now_ns + 3 * DOG_S, "called in time");
        rig_end(&r);
}

static void a_flood_is_dropped_and_counted_and_does_not_silence_the_agent(void)
{
        struct rig r;
        rig_begin(&r);
        unsigned fine = 0;
        for (int i = 0; i < 500; i++)
                fine += rig_report(&r, DOG_VITAL_CPU, 0) == DOG_AGENT_FINE;
        const struct dog_agents_stats *s = dog_agents_stats(r.agents);
        OK(fine == 50, "%u of 500 in one instant, the limit is 50", fine);
        OK(s->dropped[DOG_AGENT_OVER_RATE] == 450, "%llu counted",
           (unsigned long long)s->dropped[DOG_AGENT_OVER_RATE]);
        rig_pass(&r, DOG_S);
        OK(rig_report(&r, DOG_VITAL_CPU, 0) == DOG_AGENT_FINE, "a second later it is heard again");
        rig_end(&r);
        /* Garbage in its name, from every other address: where it was heard from it has a place of its own.
         */
        rig_begin(&r);
        rig_report(&r, DOG_VITAL_CPU, 0);
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a000099)}};
        struct dog_agent_head head = {.type = DOG_AGENT_REPORT, .name = "web1"};
        dog_agent_voice_stamp(&r.voice, &head, r.wall_ns);
        uint8_t packet[DOG_AGENT_MOST];
        size_t size = dog_agent_seal(packet, &head, "x", 1, other);
        for (int i = 0; i < 60000; i++) {
                from.sin_addr.s_addr = htonl(0x0a000099 + (uint32_t)(i % 3000));
                dog_agents_take(r.agents, (struct sockaddr *)&from, packet, size, r.now_ns, r.wall_ns,
                                r.reply, &r.reply_size);
        }
        s = dog_agents_stats(r.agents);
        OK(s->dropped[DOG_AGENT_BAD_TAG] <= 256 * 100 && s->dropped[DOG_AGENT_OVER_RATE] >= 60000 - 256 * 100,
           "only %llu tags were looked at", (unsigned long long)s->dropped[DOG_AGENT_BAD_TAG]);
        OK(rig_report(&r, DOG_VITAL_CPU, 0) == DOG_AGENT_FINE, "the agent is heard meanwhile");
        rig_end(&r);
}

static void an_agent_that_lies_by_ten_is_found_out(void)
{
        struct rig r;
        rig_begin(&r);
        struct dog_agent_measured m = {.conns = 1000, .from_rate = 50e6, .to_rate = 1e6, .retransmitted = .1};
        for (int i = 0; i < 5; i++) {
                dog_agents_measured(r.agents, 0, &m, r.now_ns);
                rig_report(&r, DOG_VITAL_CONNS, 100);
                OK(r.word.is_doubted == (i >= 2), "report %d", i);
                rig_pass(&r, DOG_S);
        }
        OK(r.word.vitals.value[DOG_VITAL_CONNS] == 1000, "what was measured stands in its place");
        OK(r.word.doubted == UINT64_C(1) << DOG_VITAL_CONNS && r.events[DOG_AGENTS_DOUBTED] == 1,
           "and is marked");
        for (int i = 0; i < 10; i++) {
                dog_agents_measured(r.agents, 0, &m, r.now_ns);
                rig_report(&r, DOG_VITAL_CONNS, 990);
                rig_pass(&r, DOG_S);
        }
        OK(!r.word.is_doubted && r.word.vitals.value[DOG_VITAL_CONNS] == 990,
           "believed after ten that agree");
        rig_end(&r);
}

static void only_what_makes_no_sense_is_doubted(void)
{
        static const struct {
                enum dog_vital vital;
                double said;
                bool is_doubted;
                const char *say;
        } row[] = {
                {DOG_VITAL_CONNS, 900, false, "connections come and go"},
                {DOG_VITAL_CONNS, 300, false, "3.3 times: within the factor"},
                {DOG_VITAL_CONNS, 10000, false, "it may serve others beside ours"},
                {DOG_VITAL_CONNS, 100, true, "it cannot have ten times fewer than came from us"},
                {DOG_VITAL_TX_RATE, 500e6, false, "a host has other traffic beside ours"},
                {DOG_VITAL_TX_RATE, 5e6, true, "it cannot have sent less than came to us"},
                {DOG_VITAL_RX_RATE, .1e6, true, "nor received less than we sent"},
                {DOG_VITAL_RX_RATE, .95e6, false, "about what we sent"},
                {DOG_VITAL_SERVED_RATE, 500e6, false, "a standby whose own gate keeps it from us"},
                {DOG_VITAL_SERVED_RATE, 5e6, true, "its clients cannot have less than went through us"},
                {DOG_VITAL_RETRANSMITTED, .01, true, "ten times less loss than we saw"},
                {DOG_VITAL_RETRANSMITTED, .5, false, "more loss, elsewhere"},
                {DOG_VITAL_CPU, 0, false, "nobody can measure that from outside"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct rig r;
                rig_begin(&r);
                struct dog_agent_measured m = {
                        .conns = 1000, .from_rate = 50e6, .to_rate = 1e6, .retransmitted = .1};
                for (int n = 0; n < 3; n++) {
                        dog_agents_measured(r.agents, 0, &m, r.now_ns);
                        rig_report(&r, row[i].vital, row[i].said);
                        rig_pass(&r, DOG_S);
                }
                OK(r.word.is_doubted == row[i].is_doubted, "%s", row[i].say);
                rig_end(&r);
        }
}

static void impossible_values_are_refused_and_counted(void)
{
        struct rig r;
        rig_begin(&r);
        struct dog_vitals v = dog_vitals_unknown();
        v.value[DOG_VITAL_CPU] = 10;
        v.value[DOG_VITAL_MEMORY] = .5;
        v.value[DOG_VITAL_CONNS] = -1;
        OK(rig_report_with(&r, &v, (struct dog_agent_echo){0}) == DOG_AGENT_FINE, "the rest is used");
        OK(isnan(r.word.vitals.value[DOG_VITAL_CPU]) && r.word.vitals.value[DOG_VITAL_MEMORY] == .5 &&
                   r.word.impossible == 2 && r.word.is_doubted,
           "two refused");
        OK(dog_agents_stats(r.agents)->impossible == 2, "and counted");
        rig_end(&r);
}

/* An agent claiming an idle host cannot make a server look better than its own response times say. */
static void caution_is_added_and_never_taken_away(void)
{
        struct dog_vitals v = dog_vitals_unknown();
        OK(dog_agent_caution(&v, .4) == .4, "nothing known");
        for (unsigned i = 0; i < DOG_VITAL_COUNT; i++)
                v.value[i] = 0;
        v.value[DOG_VITAL_DISK_LEFT] = 1;
        OK(dog_agent_caution(&v, .4) == .4, "idle in every way");
        static const struct {
                enum dog_vital vital;
                double calm, bad;
        } row[] = {{DOG_VITAL_CPU, .8, 1},
                   {DOG_VITAL_MEMORY, .85, .99},
                   {DOG_VITAL_STALLED_MEMORY, .05, .6},
                   {DOG_VITAL_DISK_LEFT, .2, .001},
                   {DOG_VITAL_FILES, .5, .99},
                   {DOG_VITAL_ACCEPT, .2, 1},
                   {DOG_VITAL_OVERFLOWS, 0, 20}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_vitals one = dog_vitals_unknown();
                one.value[row[i].vital] = row[i].calm;
                OK(dog_agent_caution(&one, .1) == .1, "%s calm", dog_vital_word(row[i].vital));
                one.value[row[i].vital] = row[i].bad;
                OK(dog_agent_caution(&one, .1) > .4, "%s bad: %g", dog_vital_word(row[i].vital),
                   dog_agent_caution(&one, .1));
                OK(dog_agent_caution(&one, .99) == .99, "never less than what was measured");
        }
}

static struct dog_agent_flow flow_of(unsigned n)
{
        struct dog_agent_flow f = {.local_port = 80, .remote_port = (uint16_t)(1000 + n)};
        f.local[10] = f.local[11] = f.remote[10] = f.remote[11] = 0xff;
        f.remote[15] = (uint8_t)(n >> 8);
        return f;
}

static enum dog_agent_drop rig_page(struct rig *r, uint32_t round, unsigned first, unsigned n, bool is_closed)
{
        static struct dog_agent_conns page;
        uint8_t body[DOG_AGENT_BODY];
        page = (struct dog_agent_conns){.round = round, .count = (uint16_t)n};
        for (unsigned i = 0; i < n; i++)
                page.conn[i] = (struct dog_agent_conn){
                        .flow = flow_of(first + i), .state = 1, .is_closed = is_closed, .age_ms = 500};
        return rig_say(r, DOG_AGENT_CONNS, body, dog_agent_conns_write(body, &page));
}

/* I7, I13 */
static void the_map_follows_the_pages_and_status_goes_back(void)
{
        struct rig r;
        rig_begin(&r);
        rig_report(&r, DOG_VITAL_CPU, 0);
        OK(rig_page(&r, 0, 0, 20, false) == DOG_AGENT_FINE, "a page");
        const struct dog_conn_map *map = dog_agents_conns(r.agents, 0);
        OK(dog_conn_map_count(map) == 20, "%u connections", dog_conn_map_count(map));
        OK(r.reply_size < r.sent_size, "the answer is shorter: %zu for %zu", r.reply_size, r.sent_size);
        struct dog_agent_head head;
        struct dog_agent_page told;
        uint8_t body[DOG_AGENT_BODY];
        size_t size;
        NEED(dog_agent_open(r.reply, r.reply_size, r.keys.to_agent, &head, body, &size) == DOG_AGENT_FINE &&
                     head.type == DOG_AGENT_STATUS && dog_agent_page_read(body, size, &told),
             "status");
        OK(told.count == 20 && told.told[0].status == DOG_AGENT_PRIMARY &&
                   told.told[1].status == DOG_AGENT_UNPROTECTED,
           "each what it is");
        struct dog_agent_flow first = flow_of(0);
        const struct dog_conn_entry *entry = dog_conn_map_find(map, &first);
        NEED(entry, "the first");
        OK(entry->status == DOG_AGENT_PRIMARY && entry->opened_ns == r.now_ns - 500 * DOG_MS,
           "as the owner said");
        rig_page(&r, 0, 0, 1, true);
        OK(dog_conn_map_find(map, &first)->closed_ns == r.now_ns && r.reply_size == 0, "closed");
        rig_pass(&r, 12 * DOG_S);
        OK(dog_conn_map_find(map, &first) == NULL && dog_conn_map_count(map) == 19, "and forgotten");
        /* A closing that was lost: passes go on without it. */
        for (uint32_t round = 1; round < 6; round++) {
                rig_page(&r, round, 5, 10, false);
                rig_pass(&r, 1100 * DOG_MS);
        }
        OK(dog_conn_map_count(map) == 10, "%u are left", dog_conn_map_count(map));
        for (unsigned i = 0; i < 10; i++) {
                rig_page(&r, 6, i * 20, 20, false);
                rig_pass(&r, 100 * DOG_MS);
        }
        OK(dog_conn_map_count(map) == 100 && dog_conn_map_refused(map) > 0, "never more than configured");
        /* Another life of the agent: its map begins anew. */
        r.voice = (struct dog_agent_voice){0};
        rig_pass(&r, DOG_S);
        rig_page(&r, 0, 0, 1, false);
        OK(dog_conn_map_count(map) == 1 && r.events[DOG_AGENTS_RESTARTED] == 1, "restarted");
        rig_end(&r);
}

static void a_map_of_thousands_loses_none(void)
{
        struct dog_conn_map *m;
        enum { N = 5000 };
        NEED(dog_conn_map_new(&m, N, NULL) == 0, "made");
        for (unsigned i = 0; i < N; i++) {
                struct dog_agent_flow f = flow_of(i);
                f.remote_port = (uint16_t)i;
                struct dog_conn_entry *entry = dog_conn_map_make(m, &f);
                NEED(entry, "entry %u", i);
                entry->round = i;
        }
        struct dog_agent_flow more = flow_of(1);
        more.local_port = 81;
        OK(!dog_conn_map_make(m, &more) && dog_conn_map_refused(m) == 1, "full");
        for (unsigned i = 0; i < N; i += 3) {
                struct dog_agent_flow f = flow_of(i);
                f.remote_port = (uint16_t)i;
                OK(dog_conn_map_remove(m, &f) && !dog_conn_map_remove(m, &f), "removed once: %u", i);
        }
        unsigned seen = 0;
        for (unsigned i = 0; i < N; i++) {
                struct dog_agent_flow f = flow_of(i);
                f.remote_port = (uint16_t)i;
                const struct dog_conn_entry *entry = dog_conn_map_find(m, &f);
                OK((entry != NULL) == (i % 3 != 0) && (!entry || entry->round == i), "entry %u", i);
                seen += entry != NULL;
        }
        unsigned walked = 0;
        for (uint32_t at = 0; dog_conn_map_next(m, &at);)
                walked++;
        OK(walked == seen && seen == dog_conn_map_count(m), "%u walked, %u found", walked, seen);
        dog_conn_map_free(m);
}

static int make_all(void *user, struct dog_err *e)
{
        (void)user;
        struct dog_agents *a = NULL;
        struct dog_agents_conf conf = {.fd = -1};
        int rc = dog_agents_new(&a, &conf, e);
        if (rc == 0)
                rc = dog_agents_add(a, "web1", secret, NULL, e);
        dog_agents_free(a);
        return rc < 0 ? rc : 0;
}

static void every_allocation_may_fail(void)
{
        OK(alloc_fail_each(make_all, NULL) >= 3, "each survived");
}

static void wrong_settings_are_refused(void)
{
        struct dog_err e = {0};
        struct dog_agents *a = NULL;
        struct dog_agents_conf bad = {.fd = -1, .factor = 1.2};
        OK(dog_agents_new(&a, &bad, &e) == -EINVAL && e.text[0], "a factor that doubts everybody");
        struct dog_agents_conf good = {.fd = -1};
        NEED(dog_agents_new(&a, &good, &e) == 0, "made");
        OK(dog_agents_add(a, "web one", secret, NULL, &e) == -EINVAL, "%s", e.text);
        OK(dog_agents_add(a, "web1", secret, NULL, &e) == 0, "a good name");
        OK(dog_agents_add(a, "web1", secret, NULL, &e) == -EEXIST, "%s", e.text);
        dog_agents_free(a);
}

/* ---- counters, and node_exporter's ---- */

static void vitals_come_from_two_readings_and_a_reset_is_no_rate(void)
{
        struct dog_counters a = dog_counters_unknown(DOG_S), b = dog_counters_unknown(3 * DOG_S);
        struct dog_vitals v;
        a.cpu_total_s = 100, a.cpu_busy_s = 50, a.cpu_steal_s = 1;
        b.cpu_total_s = 108, b.cpu_busy_s = 52, b.cpu_steal_s = 1.8;
        a.rx_bytes = 1000, b.rx_bytes = 3000;
        a.tx_bytes = 1000, b.tx_bytes = 900;
        a.segments = 100, b.segments = 190;
        a.retransmitted = 0, b.retransmitted = 10;
        b.memory_total = 1000, b.memory_left = 250;
        b.load1 = 4, b.processors = 4;
        dog_counters_disk(&a, "sda", 3)->busy_ms = 1000;
        dog_counters_disk(&b, "sda", 3)->busy_ms = 1500;
        dog_counters_disk(&b, "sdb", 3)->busy_ms = 900000;
        dog_vitals_derive(&v, NULL, &b);
        OK(v.value[DOG_VITAL_MEMORY] == .75 && v.value[DOG_VITAL_LOAD] == 1 && isnan(v.value[DOG_VITAL_CPU]),
           "the first reading has no rates");
        dog_vitals_derive(&v, &a, &b);
        OK(v.value[DOG_VITAL_CPU] == .25 && NEAR(v.value[DOG_VITAL_STEAL], .1, 1e-9), "processor");
        OK(v.value[DOG_VITAL_RX_RATE] == 1000 && isnan(v.value[DOG_VITAL_TX_RATE]),
           "a counter that ran back");
        OK(v.value[DOG_VITAL_RETRANSMITTED] == .1 && v.value[DOG_VITAL_SEGMENTS] == 45, "segments");
        OK(v.value[DOG_VITAL_DISK] == .25, "a disk that is new has no rate: %g", v.value[DOG_VITAL_DISK]);
        OK(isnan(v.value[DOG_VITAL_STALLED_IO]), "not told is not zero");
        dog_vitals_derive(&v, &b, &b);
        OK(isnan(v.value[DOG_VITAL_CPU]), "no time has passed");
        OK(dog_vitals_cleanse(&v) == 0, "nothing impossible");
}

static const char exporter_text[] =
        "# TYPE node_cpu_seconds_total counter\n"
        "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 10\n"
        "node_cpu_seconds_total{cpu=\"0\",mode=\"iowait\"} 2\n"
        "node_cpu_seconds_total{cpu=\"0\",mode=\"steal\"} 1\n"
        "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 7\n"
        "node_cpu_seconds_total{cpu=\"1\",mode=\"idle\"} 20\n"
        "node_memory_MemTotal_bytes 8e+09\n"
        "node_memory_MemAvailable_bytes 2e+09\n"
        "node_load1 0.5\n"
        "node_pressure_io_waiting_seconds_total 3.5\n"
        "node_disk_io_time_seconds_total{device=\"vda\"} 1.5\n"
        "node_filesystem_size_bytes{device=\"/dev/vda\",fstype=\"ext4\",mountpoint=\"/\"} 100\n"
        "node_filesystem_avail_bytes{device=\"/dev/vda\",fstype=\"ext4\",mountpoint=\"/\"} 40\n"
        "node_filesystem_size_bytes{device=\"tmpfs\",fstype=\"tmpfs\",mountpoint=\"/run\"} 100\n"
        "node_filesystem_avail_bytes{device=\"tmpfs\",fstype=\"tmpfs\",mountpoint=\"/run\"} 0\n"
        "node_network_receive_bytes_total{device=\"lo\"} 1e9\n"
        "node_network_receive_bytes_total{device=\"eth0\"} 100\n"
        "node_network_receive_bytes_total{device=\"eth1\"} 11\n"
        "node_netstat_Tcp_OutSegs 1000\n"
        "node_filefd_allocated 512\nnode_filefd_maximum 1024\n"
        "something_else{a=\"b\"} NaN\n";

static void the_metrics_of_a_node_exporter_become_counters(void)
{
        struct dog_counters c = dog_counters_unknown(DOG_S);
        NEED(dog_exporter_read(exporter_text, sizeof(exporter_text) - 1, &c) == DOG_EXPORTER_FINE, "read");
        OK(c.cpu_total_s == 40 && c.cpu_busy_s == 8 && c.cpu_steal_s == 1 && c.processors == 2, "processors");
        OK(c.memory_left == 2e9 && c.load1 == .5 && c.stalled_io_s == 3.5 && isnan(c.stalled_cpu_s),
           "memory");
        OK(c.disks == 1 && c.disk[0].busy_ms == 1500 && c.disk_left == .4, "disks; tmpfs is none");
        OK(c.rx_bytes == 111 && isnan(c.tx_bytes) && c.segments == 1000, "network without loopback");
        OK(c.files == 512 && c.files_most == 1024, "files");
        c = dog_counters_unknown(DOG_S);
        OK(dog_exporter_read("a 1\n", 4, &c) == DOG_EXPORTER_EMPTY, "another exporter");
        OK(dog_exporter_read("node_load1 x\n", 13, &c) == DOG_EXPORTER_MALFORMED, "no number");
        OK(dog_exporter_read("", 0, &c) == DOG_EXPORTER_EMPTY, "nothing");
}

static void heads_of_http_are_told_apart(void)
{
        static const struct {
                const char *answer;
                enum dog_exporter_fault want;
        } row[] = {
                {"HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody", DOG_EXPORTER_FINE},
                {"HTTP/1.1 200 OK\r\n\r\nbody", DOG_EXPORTER_FINE},
                {"HTTP/1.1 200 OK\r\nA: b\r\n", DOG_EXPORTER_CUT},
                {"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", DOG_EXPORTER_REDIRECT},
                {"HTTP/1.1 404 Not Found\r\n\r\n", DOG_EXPORTER_STATUS},
                {"HTTP/1.1 2000 OK\r\n\r\n", DOG_EXPORTER_NOT_HTTP},
                {"HTTP/2 200 OK\r\n\r\n", DOG_EXPORTER_NOT_HTTP},
                {"SSH-2.0-OpenSSH_9.2p1\r\n", DOG_EXPORTER_NOT_HTTP},
                {"", DOG_EXPORTER_NOT_HTTP},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                const char *body = NULL;
                size_t left = 0;
                enum dog_exporter_fault got =
                        dog_exporter_head(row[i].answer, strlen(row[i].answer), &body, &left);
                OK(got == row[i].want, "%s: %s", row[i].answer, dog_exporter_fault_word(got));
                OK(got != DOG_EXPORTER_FINE || (left == 4 && memcmp(body, "body", 4) == 0), "the body");
        }
}

/* ---- a whole exchange, over the loopback ---- */

struct heard {
        enum dog_http_fault fault;
        unsigned times;
        char body[32];
};

static void http_watch(void *user, int fd, short events)
{
        (void)user, (void)fd, (void)events;
}

static void http_done(void *user, enum dog_http_fault fault, const char *body, size_t size, int64_t now_ns)
{
        struct heard *h = user;
        (void)now_ns;
        h->fault = fault;
        h->times++;
        snprintf(h->body, sizeof(h->body), "%.*s", (int)size, body ? body : "");
}

/* What comes of an answer whose sender hangs up behind it. */
static struct heard http_hears(int listener, const struct sockaddr_in *at, const char *answer)
{
        struct heard h = {.fault = DOG_HTTP_FINE};
        struct dog_http x;
        struct dog_err e;
        struct dog_http_conf conf = {.address = (const struct sockaddr *)at,
                                     .address_size = sizeof(*at),
                                     .path = "/",
                                     .accept = "*/*",
                                     .body_most = 4096,
                                     .watch = http_watch,
                                     .done = http_done,
                                     .user = &h};
        if (dog_http_init(&x, &conf, &e) < 0)
                abort();
        dog_http_begin(&x, 0, DOG_S);
        int peer = accept(listener, NULL, NULL);
        bool is_told = false;
        while (dog_http_is_busy(&x)) {
                struct pollfd p = {.fd = x.fd, .events = is_told ? POLLIN : POLLOUT};
                if (poll(&p, 1, 5000) != 1)
                        abort();
                dog_http_on_ready(&x, 0);
                if (is_told)
                        continue;
                is_told = write(peer, answer, strlen(answer)) == (ssize_t)strlen(answer);
                shutdown(peer, SHUT_WR);
        }
        dog_http_fini(&x);
        close(peer);
        return h;
}

static void a_body_is_as_long_as_its_head_says(void)
{
        static const struct {
                const char *head, *say;
                enum dog_http_fault want;
        } row[] = {
                {"Content-Length: 4", "so long", DOG_HTTP_FINE},
                {"A: b\r\ncontent-length:4 ", "in any case of letters", DOG_HTTP_FINE},
                {"A: b", "nothing is said: up to its end", DOG_HTTP_FINE},
                {"Content-Length: 5", "cut off", DOG_HTTP_CUT},
                {"Content-Length: 3", "longer than it says", DOG_HTTP_CUT},
                {"Content-Length:", "no number; the body's first digits are none", DOG_HTTP_FINE},
                {"Content-Length: -4", "none either", DOG_HTTP_FINE},
                {"Content-Length: 99999999999999999999999999", "nor is this", DOG_HTTP_FINE},
        };
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(at);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        NEED(listener >= 0 && bind(listener, (struct sockaddr *)&at, size) == 0 && listen(listener, 8) == 0 &&
                     getsockname(listener, (struct sockaddr *)&at, &size) == 0,
             "a listener");
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                char answer[160];
                snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\n%s\r\n\r\n17 k", row[i].head);
                struct heard h = http_hears(listener, &at, answer);
                OK(h.times == 1 && h.fault == row[i].want, "%s: %s", row[i].say,
                   dog_http_fault_word(h.fault));
                OK(h.fault != DOG_HTTP_FINE || strcmp(h.body, "17 k") == 0, "%s", h.body);
        }
        close(listener);
}

int main(void)
{
        if (sodium_init() < 0)
                return 1;
        return CHECK_RUN(
                TEST(a_report_is_handed_over_and_answered), TEST(what_is_not_verified_gets_no_answer),
                TEST(silence_for_three_periods_is_told_once),
                TEST(a_flood_is_dropped_and_counted_and_does_not_silence_the_agent),
                TEST(an_agent_that_lies_by_ten_is_found_out), TEST(only_what_makes_no_sense_is_doubted),
                TEST(impossible_values_are_refused_and_counted), TEST(caution_is_added_and_never_taken_away),
                TEST(the_map_follows_the_pages_and_status_goes_back), TEST(a_map_of_thousands_loses_none),
                TEST(every_allocation_may_fail), TEST(wrong_settings_are_refused),
                TEST(vitals_come_from_two_readings_and_a_reset_is_no_rate),
                TEST(the_metrics_of_a_node_exporter_become_counters), TEST(heads_of_http_are_told_apart),
                TEST(a_body_is_as_long_as_its_head_says));
}
