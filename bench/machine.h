#pragma once
/** What a bench that moves packets needs of the machine. */
#include <stddef.h>
#include <stdint.h>

/** Run a command with text on its standard input, in the caller's namespace. @return 0 or negative errno */
int bench_command(const char *command, const char *input);
/** Write to a file of /proc or /sys; says so on standard error when it could not. */
void bench_write(const char *file, const char *text);
/** This thread on one CPU only. */
void bench_pin(size_t cpu);
/** The process that runs softirqs of one CPU when they are too many for the interrupted task; 0: none. */
int bench_ksoftirqd(int cpu);
/** CPU time of a process so far, in nanoseconds. */
int64_t bench_run_ns(int pid);
