#pragma once
/**
 * What /proc tells of this host, proc(5): texts in, counters out. A line or a file that is not there leaves
 * its counters NaN; a text that is cut or garbled does the same and never makes up a number.
 */
#include "sources/vitals.h"

#include <stdbool.h>

/** One reading of everything, file systems included. Needs no privilege. */
void agent_proc_read(struct dog_counters *c, int64_t now_ns);
/** What this kernel does not tell, as words for a person: "pressure (CONFIG_PSI)"; "" when it tells all. */
void agent_proc_missing(const struct dog_counters *c, char *to, size_t room);

/* The texts of the files, each terminated, for tests. */
void agent_proc_stat(const char *text, struct dog_counters *c);
void agent_proc_meminfo(const char *text, struct dog_counters *c);
void agent_proc_loadavg(const char *text, struct dog_counters *c);
/** The "some" line: average of ten seconds, 0..1, and the sum, seconds. */
void agent_proc_pressure(const char *text, double *average, double *total_s);
void agent_proc_diskstats(const char *text, struct dog_counters *c);
void agent_proc_net_dev(const char *text, struct dog_counters *c);
/** /proc/net/snmp or /proc/net/netstat: the number under `name` in the table `table`; NaN: not there. */
double agent_proc_mib(const char *text, const char *table, const char *name);
void agent_proc_file_nr(const char *text, struct dog_counters *c);
/** The next mount point of a real, local, writable file system in /proc/self/mountinfo. False: no more. */
bool agent_proc_mount_next(const char **text, char *to, size_t room);
