/*
 * A radio source on its own, as confined as the decider: its user, no capability, its system calls. Prints a
 * line of JSON for each reading, "! text" for warnings, "+ text" for other news, and at the end, also on
 * SIGTERM, counts.
 *
 *     radio_tool SECONDS modem BUS MODEM DEVICE | dish URL|FILE | file FILE
 */
#include "base/clock.h"
#include "base/log.h"
#include "hands/privilege.h"
#include "models/radio_features.h"
#include "sources/radio.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct tool {
        struct pollfd watched;
        struct dog_radio_past past;
        int64_t start_ns;
};

static void tool_watch(void *user, int fd, short events)
{
        struct tool *t = user;
        t->watched = (struct pollfd){.fd = events ? fd : -1, .events = events};
}

static void tool_number(const char *word, float value)
{
        if (value == value)
                printf(", \"%s\": %.9g", word, (double)value);
}

static void tool_reading(void *user, const struct dog_radio *r)
{
        struct tool *t = user;
        float in[DOG_RADIO_INPUTS];
        dog_radio_past_take(&t->past, r);
        dog_radio_inputs(&t->past, r->at_ns, in);
        printf("{\"at_s\": %.3f, \"technology\": \"%s\", \"cell\": \"%llx\"",
               (double)(r->at_ns - t->start_ns) / 1e9, dog_radio_technology_word(r->technology),
               (unsigned long long)r->cell);
#define X(field, word, unit, least, most, help) tool_number(word, r->field);
        DOG_RADIO_VALUES(X)
#undef X
        tool_number("slot_s", r->slot_s);
        tool_number("since_handover_s", in[DOG_RADIO_I_SINCE_HANDOVER]);
        if (r->has_outage)
                printf(", \"outage\": %s", r->is_outage ? "true" : "false");
        printf("}\n");
}

static void tool_news(void *user, bool is_warning, const char *text)
{
        (void)user;
        printf("%c %s\n", is_warning ? '!' : '+', text);
}

/* The most memory that was in use; that of getrusage counts whoever started us. */
static long tool_memory_kb(void)
{
        char line[128];
        long kb = 0;
        FILE *from = fopen("/proc/self/status", "re");
        while (from && fgets(line, sizeof(line), from))
                if (strncmp(line, "VmHWM:", 6) == 0)
                        kb = strtol(line + 6, NULL, 10);
        if (from)
                fclose(from);
        return kb;
}

static volatile sig_atomic_t is_over;

static void tool_stop(int signal)
{
        (void)signal;
        is_over = 1;
}

int main(int argc, char **argv)
{
        struct tool t = {.watched = {.fd = -1}, .start_ns = dog_clock_mono_ns()};
        struct dog_radio_conf conf = {.name = "path lte",
                                      .interval_ns = 200 * DOG_MS,
                                      .stale_ns = 2 * DOG_S,
                                      .watch = tool_watch,
                                      .reading = tool_reading,
                                      .news = tool_news,
                                      .user = &t};
        struct dog_radio_source *s;
        struct dog_err e = {0};
        signal(SIGTERM, tool_stop);
        setvbuf(stdout, NULL, _IOLBF, 0);
        if (argc == 6 && strcmp(argv[2], "modem") == 0) {
                conf.kind = DOG_RADIO_MODEM;
                conf.bus = argv[3];
                conf.modem = argv[4];
                conf.device = argv[5];
        } else if (argc == 4 && strcmp(argv[2], "dish") == 0) {
                conf.kind = DOG_RADIO_DISH;
                *(strncmp(argv[3], "http", 4) == 0 ? &conf.url : &conf.file) = argv[3];
        } else if (argc == 4 && strcmp(argv[2], "file") == 0) {
                conf.kind = DOG_RADIO_FILE;
                conf.file = argv[3];
        } else {
                fprintf(stderr, "radio_tool SECONDS modem BUS MODEM DEVICE | dish URL|FILE | file FILE\n");
                return 2;
        }
        dog_radio_past_init(&t.past, conf.stale_ns);
        if (geteuid() == 0 &&
            (dog_privileges_drop(NULL, &e) < 0 || dog_seccomp_enter(DOG_SECCOMP_STRICT, &e) < 0)) {
                fprintf(stderr, "%s\n", e.text);
                return 1;
        }
        if (dog_radio_source_new(&s, &conf, &e) < 0) {
                fprintf(stderr, "%s\n", e.text);
                return 1;
        }
        int64_t end_ns = t.start_ns + (int64_t)(strtod(argv[1], NULL) * 1e9);
        int64_t due_ns = t.start_ns;
        uint64_t turns = 0;
        int64_t longest_ns = 0;
        for (int64_t now_ns = t.start_ns; now_ns < end_ns && !is_over;
             now_ns = dog_clock_mono_ns(), turns++) {
                int64_t wait_ms = (due_ns - now_ns) / DOG_MS + 1;
                wait_ms = wait_ms > 0 ? (wait_ms < 100 ? wait_ms : 100) : 0;
                int n = poll(&t.watched, 1, (int)wait_ms);
                now_ns = dog_clock_mono_ns();
                if (n > 0)
                        due_ns = dog_radio_source_on_ready(s, now_ns);
                if (now_ns >= due_ns)
                        due_ns = dog_radio_source_on_timer(s, now_ns);
                int64_t took_ns = dog_clock_mono_ns() - now_ns;
                longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
        }
        const struct dog_radio_stats *c = dog_radio_source_stats(s);
        struct rusage used;
        getrusage(RUSAGE_SELF, &used);
        printf("end readings=%llu failed=%llu hurried=%llu impossible=%llu malformed=%llu old=%llu "
               "turns=%llu "
               "longest_ms=%.1f cpu_ms=%.1f rss_kb=%ld\n",
               (unsigned long long)c->readings, (unsigned long long)c->failed, (unsigned long long)c->hurried,
               (unsigned long long)c->impossible, (unsigned long long)c->malformed,
               (unsigned long long)c->old, (unsigned long long)turns, (double)longest_ns / 1e6,
               (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
                       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3,
               tool_memory_kb());
        dog_radio_source_free(s);
        return 0;
}
