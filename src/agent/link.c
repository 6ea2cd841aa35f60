#include "agent/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { LINK_UNANSWERED = 3 };
#define LINK_BACK_OFF_MOST (30 * DOG_S)
#define LINK_PERIOD_MOST   (60 * DOG_S)
#define LINK_SKEW          (300 * DOG_S)
#define LINK_SAY           (60 * DOG_S)

struct agent_link {
        struct agent_link_conf conf;
        struct dog_agent_keys keys;
        struct dog_agent_voice voice;
        struct agent_link_front front[AGENT_CONFIG_FRONTS];
        struct dog_rng rng;
        double tokens; /* of all fronts together */
        int64_t tokens_ns;
        int64_t said_ns;
};

int agent_link_new(struct agent_link **to, const struct agent_link_conf *conf, struct dog_err *e)
{
        struct agent_link *l = calloc(1, sizeof(*l));
        if (!l)
                return dog_err_set(e, -ENOMEM, "no memory for the fronts");
        l->conf = *conf;
        l->conf.secret = NULL;
        dog_agent_keys_derive(&l->keys, conf->secret, conf->config->name);
        uint64_t seed;
        randombytes_buf(&seed, sizeof(seed));
        dog_rng_init(&l->rng, seed);
        for (unsigned i = 0; i < conf->config->fronts; i++) {
                struct agent_link_front *f = &l->front[i];
                memcpy(f->text, conf->config->front[i].text, sizeof(f->text));
                f->period_ns = conf->config->period_ns;
                f->score = (double)NAN;
                f->is_away = true;
        }
        *to = l;
        return 0;
}

void agent_link_free(struct agent_link *l)
{
        if (!l)
                return;
        sodium_memzero(&l->keys, sizeof(l->keys));
        free(l);
}

const struct agent_link_front *agent_link_front(const struct agent_link *l, unsigned front)
{
        return &l->front[front];
}

/* ---- sending ---- */

/* What may be sent at once: a tenth of a second's worth, but a report and a page to each front in any case.
 */
static double link_most(const struct agent_link *l, double rate)
{
        double most = rate / 10, least = 2.0 * l->conf.config->fronts;
        return most > least ? most : least < rate ? least : rate;
}

static void link_fill(double *tokens, double gain, double most)
{
        *tokens = *tokens + gain < most ? *tokens + gain : most;
}

static void link_refill(struct agent_link *l, int64_t now_ns)
{
        double rate = (double)l->conf.config->rate;
        double passed_s = l->tokens_ns ? (double)(now_ns - l->tokens_ns) / (double)DOG_S : 1;
        l->tokens_ns = now_ns;
        link_fill(&l->tokens, passed_s * rate, link_most(l, rate));
        for (unsigned i = 0; i < l->conf.config->fronts; i++) {
                struct agent_link_front *f = &l->front[i];
                double own = f->rate && f->rate < rate ? f->rate : rate;
                link_fill(&f->tokens, passed_s * own, link_most(l, own));
        }
}

static bool link_has_token(const struct agent_link *l, unsigned front)
{
        return l->tokens >= 1 && l->front[front].tokens >= 1;
}

static void link_send(struct agent_link *l, unsigned front, enum dog_agent_type type, const uint8_t *body,
                      size_t size, int64_t wall_ns)
{
        struct agent_link_front *f = &l->front[front];
        struct dog_agent_head head = {.type = type};
        uint8_t packet[DOG_AGENT_MOST];
        memcpy(head.name, l->conf.config->name, sizeof(head.name));
        dog_agent_voice_stamp(&l->voice, &head, wall_ns);
        size_t whole = dog_agent_seal(packet, &head, body, size, l->keys.to_front);
        l->tokens -= 1;
        f->tokens -= 1;
        if (l->conf.send(l->conf.user, front, packet, whole))
                f->sent++;
        else
                f->unsent++;
}

/* How long until the next report: the period, or longer and longer while nobody answers. */
static int64_t link_wait(struct agent_link *l, const struct agent_link_front *f)
{
        if (f->unanswered < LINK_UNANSWERED)
                return f->period_ns;
        unsigned doublings = f->unanswered - LINK_UNANSWERED + 1;
        int64_t wait_ns = doublings > 16 ? LINK_BACK_OFF_MOST : f->period_ns << doublings;
        if (wait_ns > LINK_BACK_OFF_MOST)
                wait_ns = f->period_ns > LINK_BACK_OFF_MOST ? f->period_ns : LINK_BACK_OFF_MOST;
        /* Agents that lost one front at one time come back spread. */
        return wait_ns - (int64_t)(dog_rng_unit(&l->rng) * .1 * (double)wait_ns);
}

static void link_report(struct agent_link *l, unsigned front, const struct agent_table *table,
                        const struct dog_vitals *v, unsigned processors, int64_t now_ns, int64_t wall_ns)
{
        struct agent_link_front *f = &l->front[front];
        if (!f->is_away && f->unanswered >= LINK_UNANSWERED) {
                f->is_away = true;
                dog_log(DOG_LOG_WARN, "front=%s event=away unanswered=%u", f->text, f->unanswered);
        }
        struct dog_agent_report r = {
                .period_ms = (uint32_t)(f->period_ns / DOG_MS),
                .processors = (uint16_t)processors,
                .conns = dog_conn_map_count(agent_table_map(table)),
                .echo = f->echo,
                .vitals = *v,
        };
        if (l->conf.shim)
                r.shim = *l->conf.shim;
        r.echo.held_ns = f->echo.sent_wall_ns ? now_ns - f->echo_ns : 0;
        uint8_t body[DOG_AGENT_BODY];
        size_t size = dog_agent_report_write(body, &r);
        f->unanswered++;
        f->due_ns = now_ns + link_wait(l, f);
        link_send(l, front, DOG_AGENT_REPORT, body, size, wall_ns);
}

static void link_pages(struct agent_link *l, struct agent_table *table, int64_t now_ns, int64_t wall_ns)
{
        const unsigned fronts = l->conf.config->fronts;
        for (;;) {
                unsigned ready = 0, wanting = 0;
                for (unsigned i = 0; i < fronts; i++) {
                        bool wants = l->front[i].wants_conns && !l->front[i].is_away;
                        wanting += wants;
                        ready += wants && l->front[i].tokens >= 2;
                }
                /* A page goes to all who want pages or waits: none misses what another one got. A report to
                 * each front must still be possible after it: reports come first. */
                if (wanting == 0 || ready < wanting || l->tokens < wanting + fronts)
                        return;
                struct dog_agent_conns page;
                uint8_t body[DOG_AGENT_BODY];
                if (!agent_table_page(table, &page, now_ns))
                        return;
                size_t size = dog_agent_conns_write(body, &page);
                for (unsigned i = 0; i < fronts; i++)
                        if (l->front[i].wants_conns && !l->front[i].is_away)
                                link_send(l, i, DOG_AGENT_CONNS, body, size, wall_ns);
        }
}

void agent_link_tick(struct agent_link *l, struct agent_table *table, const struct dog_vitals *v,
                     unsigned processors, int64_t now_ns, int64_t wall_ns)
{
        link_refill(l, now_ns);
        for (unsigned i = 0; i < l->conf.config->fronts; i++) {
                /* Readings are a period apart, less what a timer is early: that is due, too. */
                if (now_ns + l->conf.config->period_ns / 8 >= l->front[i].due_ns && link_has_token(l, i))
                        link_report(l, i, table, v, processors, now_ns, wall_ns);
        }
        link_pages(l, table, now_ns, wall_ns);
}

void agent_link_more(struct agent_link *l, struct agent_table *table, int64_t now_ns, int64_t wall_ns)
{
        link_refill(l, now_ns);
        link_pages(l, table, now_ns, wall_ns);
}

/* ---- taking ---- */

static enum dog_agent_drop link_answer(struct agent_link *l, struct agent_link_front *f, const uint8_t *body,
                                       size_t size, const struct dog_agent_head *head, int64_t now_ns,
                                       int64_t wall_ns)
{
        struct dog_agent_answer a;
        if (!dog_agent_answer_read(body, size, &a))
                return DOG_AGENT_MALFORMED;
        int64_t rtt_ns = dog_agent_echo_rtt_ns(&a.echo, wall_ns);
        if (rtt_ns)
                f->rtt_ns = rtt_ns;
        f->echo = (struct dog_agent_echo){.sent_wall_ns = head->sent_wall_ns, .seq = head->seq};
        f->echo_ns = now_ns;
        f->role = a.role;
        f->score = a.score;
        f->wants_conns = a.wants & DOG_AGENT_WANTS_CONNS;
        f->rate = a.datagrams_per_s;
        int64_t asked_ns = (int64_t)a.period_ms * DOG_MS, own_ns = l->conf.config->period_ns;
        f->period_ns = asked_ns <= own_ns            ? own_ns
                       : asked_ns < LINK_PERIOD_MOST ? asked_ns
                                                     : LINK_PERIOD_MOST;
        if (f->is_away) {
                f->is_away = false;
                dog_log(DOG_LOG_INFO, "front=%s event=%s", f->text, f->answered_ns ? "back" : "answers");
        }
        if (f->unanswered >= LINK_UNANSWERED)
                f->due_ns = now_ns;
        f->unanswered = 0;
        f->answered_ns = now_ns;
        return DOG_AGENT_FINE;
}

static enum dog_agent_drop link_page(struct agent_table *table, unsigned front, const uint8_t *body,
                                     size_t size, int64_t now_ns)
{
        struct dog_agent_page page;
        if (!dog_agent_page_read(body, size, &page))
                return DOG_AGENT_MALFORMED;
        for (unsigned i = 0; i < page.count; i++)
                agent_table_tell(table, &page.told[i], front, now_ns);
        return DOG_AGENT_FINE;
}

static enum dog_agent_drop link_take(struct agent_link *l, unsigned front, struct agent_table *table,
                                     const void *packet, size_t size, int64_t now_ns, int64_t wall_ns)
{
        struct agent_link_front *f = &l->front[front];
        struct dog_agent_head head;
        uint8_t body[DOG_AGENT_BODY];
        size_t body_size = 0;
        enum dog_agent_drop drop = dog_agent_head_read(packet, size, &head);
        if (drop != DOG_AGENT_FINE)
                return drop;
        if (strcmp(head.name, l->conf.config->name) != 0)
                return DOG_AGENT_UNKNOWN_NAME;
        drop = dog_agent_open(packet, size, l->keys.to_agent, &head, body, &body_size);
        if (drop != DOG_AGENT_FINE)
                return drop;
        if (head.type != DOG_AGENT_ANSWER && head.type != DOG_AGENT_STATUS)
                return DOG_AGENT_WRONG_TYPE;
        drop = dog_agent_ear_take(&f->ear, &head, now_ns, wall_ns, LINK_SKEW, LINK_UNANSWERED * f->period_ns);
        if (drop != DOG_AGENT_FINE)
                return drop;
        return head.type == DOG_AGENT_ANSWER ? link_answer(l, f, body, body_size, &head, now_ns, wall_ns)
                                             : link_page(table, front, body, body_size, now_ns);
}

enum dog_agent_drop agent_link_take(struct agent_link *l, unsigned front, struct agent_table *table,
                                    const void *packet, size_t size, int64_t now_ns, int64_t wall_ns)
{
        struct agent_link_front *f = &l->front[front];
        enum dog_agent_drop drop = link_take(l, front, table, packet, size, now_ns, wall_ns);
        if (drop == DOG_AGENT_FINE) {
                f->taken++;
                return drop;
        }
        f->dropped[drop]++;
        if (l->said_ns == 0 || now_ns - l->said_ns > LINK_SAY) {
                dog_log(DOG_LOG_WARN, "front=%s event=refused reason=%s: %s", f->text,
                        dog_agent_drop_word(drop), dog_agent_drop_text(drop));
                l->said_ns = now_ns;
        }
        return drop;
}
