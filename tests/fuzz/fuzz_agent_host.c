/* What an agent reads on its host. The first octet says what the rest is: a configuration, or a file of
 * /proc. */
#include "agent/config.h"
#include "agent/proc.h"
#include "fuzz.h"

#include <string.h>

static void fuzz_config(const char *text, size_t size)
{
        struct agent_config c;
        struct dog_err e = {0};
        int rc = agent_config_parse(&c, text, size, "f", &e);
        FUZZ_NEED(rc == 0 || e.text[0]);
        if (rc < 0)
                return;
        FUZZ_NEED(dog_agent_name_is_good(c.name) && c.fronts <= AGENT_CONFIG_FRONTS &&
                  c.ports <= AGENT_DIAG_PORTS && c.rate >= 2 && c.conns >= 1 && c.period_ns > 0);
}

static void fuzz_proc(unsigned which, const char *text)
{
        static void (*const read[])(const char *text, struct dog_counters *c) = {
                agent_proc_stat,      agent_proc_meminfo, agent_proc_loadavg,
                agent_proc_diskstats, agent_proc_net_dev, agent_proc_file_nr};
        struct dog_counters c = dog_counters_unknown(0);
        double average = 0, total = 0;
        char where[16];
        if (which < 6)
                read[which](text, &c);
        agent_proc_pressure(text, &average, &total);
        FUZZ_NEED(!(average < 0) && !(total < 0));
        double mib = agent_proc_mib(text, "Tcp:", "OutSegs");
        FUZZ_NEED(!(mib < 0));
        while (agent_proc_mount_next(&text, where, sizeof(where)))
                FUZZ_NEED(memchr(where, 0, sizeof(where)));
        FUZZ_NEED(c.disks <= DOG_COUNTERS_DISKS && !(c.rx_bytes < 0) && !(c.cpu_total_s < 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        char *text = malloc(size);
        FUZZ_NEED(text);
        memcpy(text, data + 1, size - 1);
        text[size - 1] = 0;
        if (data[0] % 8 == 7)
                fuzz_config(text, size - 1);
        else
                fuzz_proc(data[0] % 8, text);
        free(text);
        return 0;
}
