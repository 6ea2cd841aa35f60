#pragma once
/**
 * What was observed of one member, or of one fate, at one instant.
 *
 * A sample is a whole observation, not one number: a probe that came back tells the
 * round-trip time and that it was not lost; judging the two apart would call a lost probe
 * fast. A signal that was not measured is NaN.
 *
 * Round trip, loss, rate and response can be promised. Load (from CPU on) cannot: a busy server keeps its
 * promise until it does not. Load is what the risk is forecast from, and what weights follow.
 */
#include <math.h>
#include <stdint.h>

/* name, word, unit, what it is */
#define DOG_SIGNALS(X)                                                                                       \
        X(RTT, "rtt", "ms", "round-trip time")                                                               \
        X(JITTER, "jitter", "ms", "variation of delay between neighbours (RFC 3550, 6.4.1)")                 \
        X(LOSS, "loss", "ratio", "share of the packets of this instant that were lost, 0..1")                \
        X(RATE, "rate", "kbit/s", "what was delivered, or can be")                                           \
        X(DELAY, "delay", "ms", "one-way delay above the fastest member of the group")                       \
        X(REORDER, "reorder", "ratio", "share of packets that arrived behind a later one")                   \
        X(RESPONSE, "response", "ms", "time in which the application answered")                              \
        X(LOAD, "load", "ratio", "share of a capacity in use")                                               \
        X(CPU, "cpu", "ratio", "share of the processors in use, 0..1")                                       \
        X(MEMORY, "memory", "ratio", "share of the memory that is not available, 0..1")                      \
        X(PRESSURE, "pressure", "ratio", "share of the time in which work waited for CPU, memory or disk")   \
        X(RETRANS, "retrans", "ratio", "share of the segments sent that were sent again")                    \
        X(QUEUE, "queue", "ratio", "share of the accept queue in use")                                       \
        X(ERRORS, "errors", "ratio", "share of the requests that failed in the server")

enum dog_signal {
#define X(id, word, unit, help) DOG_SIGNAL_##id,
        DOG_SIGNALS(X)
#undef X
                DOG_SIGNAL_COUNT
};

struct dog_sample {
        int64_t at_ns;                  /**< when it was so: for a probe, when it was sent */
        double value[DOG_SIGNAL_COUNT]; /**< NaN: not measured */
};

/** A sample of nothing yet. */
static inline struct dog_sample dog_sample_at(int64_t at_ns)
{
        struct dog_sample s = {.at_ns = at_ns};
        for (int i = 0; i < DOG_SIGNAL_COUNT; i++)
                s.value[i] = (double)NAN;
        return s;
}

/** "rtt", "jitter", ... */
const char *dog_signal_name(enum dog_signal s);
const char *dog_signal_unit(enum dog_signal s);
