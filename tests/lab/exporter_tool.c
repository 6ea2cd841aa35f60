/* Reads a node_exporter so many times, a line each. exporter_tool ADDRESS PORT PERIOD_MS TIMES [PATH] */
#include "base/clock.h"
#include "sources/exporter.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static struct pollfd watched = {.fd = -1};
static int left;

static void tool_watch(void *user, int fd, short events)
{
        (void)user;
        watched.fd = events ? fd : -1;
        watched.events = events;
}

static void tool_vitals(void *user, int64_t at_ns, const struct dog_vitals *v)
{
        (void)user;
        (void)at_ns;
        printf("vitals");
        for (unsigned i = 0; i < DOG_VITAL_COUNT; i++)
                if (!isnan(v->value[i]))
                        printf(" %s=%.6g", dog_vital_word((enum dog_vital)i), v->value[i]);
        printf("\n");
        fflush(stdout);
        left--;
}

static void tool_failed(void *user, enum dog_exporter_fault fault, bool is_silent)
{
        (void)user;
        printf("failed why=%s silent=%d\n", dog_exporter_fault_word(fault), is_silent);
        fflush(stdout);
        left--;
}

int main(int argc, char **argv)
{
        struct dog_err e = {0};
        struct dog_exporter *x;
        if (argc < 5)
                return 2;
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
        inet_pton(AF_INET, argv[1], &at.sin_addr);
        struct dog_exporter_conf conf = {.address = (struct sockaddr *)&at,
                                         .address_size = sizeof(at),
                                         .period_ns = atoi(argv[3]) * DOG_MS,
                                         .path = argc > 5 ? argv[5] : NULL,
                                         .watch = tool_watch,
                                         .vitals = tool_vitals,
                                         .failed = tool_failed};
        left = atoi(argv[4]);
        if (dog_exporter_new(&x, &conf, &e) < 0) {
                fprintf(stderr, "%s\n", e.text);
                return 1;
        }
        int64_t due_ns = 0;
        while (left > 0) {
                int64_t wait_ns = due_ns - dog_clock_mono_ns();
                int n = poll(&watched, 1, wait_ns <= 0 ? 0 : (int)(wait_ns / DOG_MS) + 1);
                due_ns = n > 0 ? dog_exporter_on_ready(x, dog_clock_mono_ns())
                               : dog_exporter_on_timer(x, dog_clock_mono_ns());
        }
        const struct dog_exporter_stats *s = dog_exporter_stats(x);
        printf("end readings=%llu bytes=%llu impossible=%llu\n", (unsigned long long)s->readings,
               (unsigned long long)s->bytes, (unsigned long long)s->impossible);
        dog_exporter_free(x);
        return 0;
}
