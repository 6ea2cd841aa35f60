#pragma once
/**
 * How a host is doing: what an agent reports of it, and what is derived from a Prometheus node_exporter.
 * A value, without pointers; what is not known is NaN, never 0: a kernel without pressure stall information
 * is not a kernel without pressure.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * X(name, word, unit, most, what it is). None can be negative; `most` is the physical limit, above which a
 * value is refused. Rates are over the time since the report before. Numbers are on the wire: append only.
 */
#define DOG_VITALS(X)                                                                                        \
        X(CPU, "cpu", "ratio", 1, "share of the processors' time that was in use")                           \
        X(STEAL, "steal", "ratio", 1, "share that the hypervisor gave to somebody else")                     \
        X(LOAD, "load", "tasks", 1e6, "load average of one minute, a processor")                             \
        X(MEMORY, "memory", "ratio", 1, "share of memory that is neither free nor can be freed at once")     \
        X(MEMORY_LEFT, "memory-left", "B", 1e18, "memory that is free or can be freed at once")              \
        X(STALL_CPU, "stall-cpu", "ratio", 1, "time some task waited for a processor, average of 10 s")      \
        X(STALL_MEMORY, "stall-memory", "ratio", 1, "time some task waited for memory, average of 10 s")     \
        X(STALL_IO, "stall-io", "ratio", 1, "time some task waited for a disk, average of 10 s")             \
        X(STALLED_CPU, "stalled-cpu", "ratio", 1, "the same since the report before")                        \
        X(STALLED_MEMORY, "stalled-memory", "ratio", 1, "the same since the report before")                  \
        X(STALLED_IO, "stalled-io", "ratio", 1, "the same since the report before")                          \
        X(DISK, "disk", "ratio", 1, "time in which the busiest disk was busy")                               \
        X(DISK_LEFT, "disk-left", "ratio", 1, "free share of the fullest file system")                       \
        X(RX_RATE, "rx-rate", "B/s", 1e13, "received by all devices but loopback")                           \
        X(TX_RATE, "tx-rate", "B/s", 1e13, "sent")                                                           \
        X(RX_PACKETS, "rx-packets", "1/s", 1e11, "packets received")                                         \
        X(TX_PACKETS, "tx-packets", "1/s", 1e11, "packets sent")                                             \
        X(NET_ERRORS, "net-errors", "1/s", 1e11, "packets received or sent with an error")                   \
        X(NET_DROPS, "net-drops", "1/s", 1e11, "packets dropped by a device, either direction")              \
        X(SEGMENTS, "segments", "1/s", 1e11, "TCP segments sent by the host")                                \
        X(RETRANSMITTED, "retransmitted", "ratio", 1, "share of them that were sent again")                  \
        X(OVERFLOWS, "overflows", "1/s", 1e9, "connections refused because a listener's queue was full")     \
        X(FILES, "files", "ratio", 1, "open files of those that the system allows")                          \
        X(ACCEPT, "accept", "ratio", 1, "how full the fullest accept queue of the served ports is")          \
        X(WAITING, "waiting", "connections", 1e9, "made, but not accepted by the server yet")                \
        X(CONNS, "conns", "connections", 1e9, "established on the served ports")                             \
        X(HALF_OPEN, "half-open", "connections", 1e9, "waiting for the third packet, on the served ports")   \
        X(CLOSING, "closing", "connections", 1e9, "ended by the client and not yet by the server")           \
        X(CONN_RTT, "conn-rtt", "ms", 6e5, "median of the smoothed round trips of these connections")        \
        X(SERVED_RATE, "served-rate", "B/s", 1e13, "acknowledged by the clients of the served ports")        \
        X(TAKEN_RATE, "taken-rate", "B/s", 1e13, "received from the clients of the served ports")            \
        X(CONN_RESENT, "conn-resent", "ratio", 1, "share of the segments to clients that were sent again")

enum dog_vital {
#define X(name, word, unit, most, help) DOG_VITAL_##name,
        DOG_VITALS(X)
#undef X
                DOG_VITAL_COUNT
};

struct dog_vitals {
        double value[DOG_VITAL_COUNT];
};

struct dog_vitals dog_vitals_unknown(void);
/** "cpu", "stall-memory" */
const char *dog_vital_word(enum dog_vital v);
const char *dog_vital_unit(enum dog_vital v);
const char *dog_vital_help(enum dog_vital v);
/** NaN, or within the physical limits. Infinity never is. */
bool dog_vital_is_possible(enum dog_vital v, double value);
/** Replace what is impossible by NaN. @return how many there were */
unsigned dog_vitals_cleanse(struct dog_vitals *v);
