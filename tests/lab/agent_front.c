/* A front's end of the agents for the lab: told what to measure on standard input, says what it hears on
 * standard output, a line each. agent_front ADDRESS PORT KEYFILE NAME [RATE] */
#include "base/clock.h"
#include "hands/secret.h"
#include "sources/agent.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct dog_agents *agents;

static void front_word(void *user, const struct dog_agent_word *w)
{
        (void)user;
        printf("word instance=%s cpu=%.4f memory=%.4f conns=%.0f established=%u rtt_us=%lld doubted=%d "
               "accept=%.3f waiting=%.0f served=%.0f resent=%.4f conn_rtt=%.3f left=%.4f\n",
               w->instance, w->vitals.value[DOG_VITAL_CPU], w->vitals.value[DOG_VITAL_MEMORY],
               w->vitals.value[DOG_VITAL_CONNS], w->conns, (long long)(w->rtt_ns / DOG_US), w->is_doubted,
               w->vitals.value[DOG_VITAL_ACCEPT], w->vitals.value[DOG_VITAL_WAITING],
               w->vitals.value[DOG_VITAL_SERVED_RATE], w->vitals.value[DOG_VITAL_RETRANSMITTED],
               w->vitals.value[DOG_VITAL_CONN_RTT], w->vitals.value[DOG_VITAL_DISK_LEFT]);
        fflush(stdout);
}

static void front_event(void *user, const char *instance, void *tag, enum dog_agents_event ev)
{
        (void)user;
        (void)tag;
        printf("event instance=%s what=%s\n", instance, dog_agents_event_word(ev));
        fflush(stdout);
}

/* Clients' ports tell what a connection is, so that a test can know. */
static enum dog_agent_status front_status(void *user, const char *instance, void *tag,
                                          const struct dog_agent_flow *flow)
{
        (void)user;
        (void)instance;
        (void)tag;
        return flow->remote_port % 2 ? DOG_AGENT_PRIMARY : DOG_AGENT_STANDBY;
}

static void front_conns(void)
{
        const struct dog_conn_map *map = dog_agents_conns(agents, 0);
        const struct dog_conn_entry *entry;
        for (uint32_t at = 0; (entry = dog_conn_map_next(map, &at));)
                printf("conn client=%u.%u.%u.%u:%u port=%u acked=%llu received=%llu rtt_us=%u closed=%d "
                       "status=%s\n",
                       entry->conn.flow.remote[12], entry->conn.flow.remote[13], entry->conn.flow.remote[14],
                       entry->conn.flow.remote[15], entry->conn.flow.remote_port, entry->conn.flow.local_port,
                       (unsigned long long)entry->conn.acked, (unsigned long long)entry->conn.received,
                       entry->conn.rtt_us, entry->conn.is_closed, dog_agent_status_word(entry->status));
        printf("end conns=%u\n", dog_conn_map_count(map));
}

static void front_stats(void)
{
        const struct dog_agents_stats *s = dog_agents_stats(agents);
        struct dog_agent_state one;
        dog_agents_state(agents, 0, &one);
        printf("stats received=%llu answered=%llu reports=%llu pages=%llu is_heard=%d",
               (unsigned long long)s->received, (unsigned long long)s->answered,
               (unsigned long long)one.reports, (unsigned long long)one.pages, one.is_heard);
        for (unsigned i = 1; i < DOG_AGENT_DROP_COUNT; i++)
                printf(" %s=%llu", dog_agent_drop_word((enum dog_agent_drop)i),
                       (unsigned long long)s->dropped[i]);
        printf("\n");
}

/* @return false: end */
static bool front_told(void)
{
        char line[128];
        struct dog_agent_measured m = {(double)NAN, (double)NAN, (double)NAN, (double)NAN};
        if (!fgets(line, sizeof(line), stdin))
                return false;
        if (strncmp(line, "conns", 5) == 0)
                front_conns();
        else if (strncmp(line, "stats", 5) == 0)
                front_stats();
        else if (sscanf(line, "measured conns=%lf", &m.conns) == 1)
                dog_agents_measured(agents, 0, &m, dog_clock_mono_ns());
        fflush(stdout);
        return true;
}

int main(int argc, char **argv)
{
        struct dog_err e = {0};
        uint8_t key[DOG_SECRET_KEY];
        if (argc < 5)
                return 2;
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
        inet_pton(AF_INET, argv[1], &at.sin_addr);
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        int key_fd = dog_secret_open(argv[3], &e);
        struct dog_agents_conf conf = {.fd = fd,
                                       .wants_conns = true,
                                       .rate_per_s = argc > 5 ? (unsigned)atoi(argv[5]) : 0,
                                       .word = front_word,
                                       .event = front_event,
                                       .status = front_status};
        if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || dog_secret_key_read(key, key_fd, &e) < 0 ||
            dog_agents_new(&agents, &conf, &e) < 0 || dog_agents_add(agents, argv[4], key, NULL, &e) < 0) {
                fprintf(stderr, "%s\n", e.text);
                return 1;
        }
        /* A line that waits in a buffer wakes no poll. */
        setvbuf(stdin, NULL, _IONBF, 0);
        dog_agents_role_set(agents, 0, DOG_AGENT_ROLE_SERVING, .75);
        printf("listening\n");
        fflush(stdout);
        int64_t due_ns = 0;
        for (;;) {
                struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
                int64_t wait_ns = due_ns - dog_clock_mono_ns();
                poll(p, 2, wait_ns <= 0 ? 0 : (int)(wait_ns / DOG_MS) + 1);
                if (p[1].revents && !front_told())
                        break;
                due_ns = p[0].revents ? dog_agents_on_readable(agents, dog_clock_mono_ns())
                                      : dog_agents_on_timer(agents, dog_clock_mono_ns());
        }
        dog_agents_free(agents);
        return 0;
}
