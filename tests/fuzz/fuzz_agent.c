/* Agents and fronts. The first octet: bit 0 the datagram is sealed rightly first (else a fuzzer never gets
 * behind the tag), bit 1 to an agent rather than to a front, bits 2 and 3 its type. The rest is the body, or,
 * unsealed, the datagram. */
#include "agent/link.h"
#include "base/clock.h"
#include "base/log.h"
#include "fuzz.h"
#include "sources/agent.h"

#include <sodium.h>
#include <string.h>

static const uint8_t secret[32] = {7};
static const int64_t wall_ns = 1700000000 * DOG_S;

static void fuzz_word(void *user, const struct dog_agent_word *w)
{
        ++*(unsigned *)user;
        for (unsigned i = 0; i < DOG_VITAL_COUNT; i++)
                FUZZ_NEED(dog_vital_is_possible((enum dog_vital)i, w->vitals.value[i]));
        FUZZ_NEED(w->rtt_ns >= 0);
        double risk = dog_agent_caution(&w->vitals, .3);
        FUZZ_NEED(risk >= .3 && risk <= 1);
}

static enum dog_agent_status fuzz_status(void *user, const char *instance, void *tag,
                                         const struct dog_agent_flow *flow)
{
        (void)user;
        (void)tag;
        FUZZ_NEED(strcmp(instance, "web1") == 0);
        return (enum dog_agent_status)(flow->remote_port % DOG_AGENT_STATUS_COUNT);
}

static void fuzz_front(const uint8_t *packet, size_t size, bool is_sealed)
{
        unsigned words = 0;
        struct dog_agents *a;
        struct dog_agents_conf conf = {.fd = -1,
                                       .wants_conns = true,
                                       .conns_most = 50,
                                       .word = fuzz_word,
                                       .status = fuzz_status,
                                       .user = &words};
        uint8_t reply[DOG_AGENT_MOST];
        size_t reply_size;
        FUZZ_NEED(dog_agents_new(&a, &conf, NULL) == 0 && dog_agents_add(a, "web1", secret, NULL, NULL) == 0);
        struct dog_agent_measured m = {100, 1e6, 1e6, .1};
        dog_agents_measured(a, 0, &m, DOG_S);
        enum dog_agent_drop drop = dog_agents_take(a, NULL, packet, size, DOG_S, wall_ns, reply, &reply_size);
        FUZZ_NEED(is_sealed || (drop != DOG_AGENT_FINE && reply_size == 0 && words == 0));
        FUZZ_NEED(drop == DOG_AGENT_FINE || reply_size == 0);
        FUZZ_NEED(reply_size <= size + 64);
        FUZZ_NEED(dog_conn_map_count(dog_agents_conns(a, 0)) <= 50);
        /* Never twice. */
        FUZZ_NEED(dog_agents_take(a, NULL, packet, size, DOG_S, wall_ns, reply, &reply_size) !=
                  DOG_AGENT_FINE);
        dog_agents_on_timer(a, 100 * DOG_S);
        dog_agents_free(a);
}

static bool fuzz_send(void *user, unsigned front, const void *packet, size_t size)
{
        (void)user;
        (void)front;
        (void)packet;
        FUZZ_NEED(size <= DOG_AGENT_MOST);
        return true;
}

static void fuzz_agent(const uint8_t *packet, size_t size, bool is_sealed)
{
        static struct agent_config config = {.name = "web1", .fronts = 1, .period_ns = DOG_S, .rate = 10};
        struct agent_link_conf conf = {.config = &config, .secret = secret, .send = fuzz_send};
        struct agent_link *l;
        struct agent_table *t;
        struct dog_vitals v = dog_vitals_unknown();
        FUZZ_NEED(agent_table_new(&t, 10, NULL) == 0 && agent_link_new(&l, &conf, NULL) == 0);
        enum dog_agent_drop drop = agent_link_take(l, 0, t, packet, size, DOG_S, wall_ns);
        FUZZ_NEED(is_sealed || drop != DOG_AGENT_FINE);
        const struct agent_link_front *f = agent_link_front(l, 0);
        FUZZ_NEED(f->period_ns >= DOG_S && f->period_ns <= 60 * DOG_S && f->rtt_ns >= 0);
        for (int i = 1; i < 4; i++)
                agent_link_tick(l, t, &v, 1, i * 2 * DOG_S, wall_ns + i * 2 * DOG_S);
        FUZZ_NEED(f->sent <= 30 && dog_conn_map_count(agent_table_map(t)) == 0);
        agent_link_free(l);
        agent_table_free(t);
}

/* What can be read is written again as it was. */
static void fuzz_bodies(const uint8_t *body, size_t size)
{
        static struct dog_agent_conns conns;
        static struct dog_agent_page page;
        uint8_t again[DOG_AGENT_BODY];
        struct dog_agent_answer answer;
        struct dog_agent_report report, same;
        if (size > DOG_AGENT_BODY)
                return;
        if (dog_agent_conns_read(body, size, &conns))
                FUZZ_NEED(dog_agent_conns_write(again, &conns) == size && memcmp(again, body, size) == 0);
        if (dog_agent_page_read(body, size, &page))
                FUZZ_NEED(dog_agent_page_write(again, &page) == size);
        if (dog_agent_answer_read(body, size, &answer))
                FUZZ_NEED(dog_agent_answer_write(again, &answer) == size &&
                          answer.role < DOG_AGENT_ROLE_COUNT);
        if (dog_agent_report_read(body, size, &report)) {
                size_t n = dog_agent_report_write(again, &report);
                FUZZ_NEED(n > 0 && dog_agent_report_read(again, n, &same) && same.conns == report.conns);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uint8_t packet[DOG_AGENT_MOST + 64];
        struct dog_agent_keys keys;
        if (size == 0 || size > DOG_AGENT_MOST)
                return 0;
        dog_log_level_set(DOG_LOG_ERROR);
        FUZZ_NEED(sodium_init() >= 0);
        fuzz_bodies(data + 1, size - 1);
        bool is_sealed = data[0] & 1, is_to_agent = data[0] & 2;
        const uint8_t *what = data + 1;
        size--;
        if (is_sealed) {
                struct dog_agent_head head = {
                        .type = (enum dog_agent_type)(DOG_AGENT_REPORT + (data[0] >> 2 & 3)),
                        .boot = 1,
                        .seq = 1,
                        .sent_wall_ns = wall_ns,
                        .name = "web1"};
                dog_agent_keys_derive(&keys, secret, "web1");
                size = dog_agent_seal(packet, &head, what, size > DOG_AGENT_BODY ? DOG_AGENT_BODY : size,
                                      is_to_agent ? keys.to_agent : keys.to_front);
                what = packet;
        }
        if (is_to_agent)
                fuzz_agent(what, size, is_sealed);
        else
                fuzz_front(what, size, is_sealed);
        return 0;
}
