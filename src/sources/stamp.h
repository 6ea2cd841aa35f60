#pragma once
/**
 * Measuring paths with STAMP: a session probes one path and yields samples; a reflector answers probes.
 *
 * Neither knows an event loop. The owner watches the file descriptor, calls _on_readable when there is
 * something to read and _on_timer at the deadline the last call returned. Times are dog_clock_mono_ns.
 * Arrival times come from the kernel (SO_TIMESTAMPNS), so a busy owner does not make a path look slow.
 *
 * Cost. A probe and its answer are the same size, each way: 28 octets of IPv4 and UDP (48 with IPv6) and
 * 112 of STAMP with a key, 44 without. Every report_every_ns one of them grows by the report and its HMAC
 * TLV: 136 octets without groups. An idle path at the presets (a key, every 10 s, a report a minute) costs
 * 84 MB in 30 days, both directions together; dog_stamp_session_month_bytes computes it for any setting.
 */
#include "base/err.h"
#include "core/sample.h"
#include "wire/stamp.h"

#include <sys/socket.h>

enum { DOG_STAMP_RACERS = 16 };

/**
 * One probe, once its fate is known. The sample holds RTT (round trip less the time inside the reflector),
 * JITTER (its smoothed change between answers, as RFC 3550, 6.4.1) and LOSS (0 or 1); at_ns is when the
 * probe was sent, and since a loss is known only after the timeout, at_ns can go back from one call to the
 * next by as much.
 */
struct dog_stamp_seen {
        struct dog_sample sample;
        double out_ms;  /**< delay to the peer plus the unknown difference of the clocks; NaN when lost */
        double back_ms; /**< delay from the peer less the same difference; NaN when lost */
};

/**
 * One-way delay without a common clock: what several sessions between the same two hosts see, held against
 * each other. A value; all zero is empty.
 */
struct dog_stamp_race {
        int64_t at_ns[DOG_STAMP_RACERS];
        double out_ms[DOG_STAMP_RACERS];
};

/**
 * Note a session's newest out_ms (or back_ms, in a race of its own).
 * @param path    0 .. DOG_STAMP_RACERS - 1
 * @param age_ns  what others saw longer ago than this does not count
 * @return how far it is above the fastest, >= 0 ms; for DOG_SIGNAL_DELAY
 */
double dog_stamp_race_note(struct dog_stamp_race *race, unsigned path, int64_t at_ns, double out_ms,
                           int64_t age_ns);

struct dog_stamp_session_conf {
        int fd;       /**< UDP, non-blocking, bound and connected to the reflector; stays the caller's */
        bool is_ipv6; /**< for the cost only */
        const uint8_t *key;  /**< 32 octets, copied; NULL: unauthenticated, and no reports */
        uint16_t ssid;       /**< 0: none */
        bool is_ptp;         /**< send times as PTP instead of NTP */
        bool is_synced;      /**< our clock is disciplined from outside */
        int64_t interval_ns; /**< between probes; 0: 10 s. At least 5 ms */
        int64_t sparse_ns;   /**< between probes while user traffic measures the path; 0: 30 s */
        int64_t timeout_ns;  /**< unanswered for so long is lost; 0: max(1 s, 4 x round trip), at most 10 s */
        int64_t report_every_ns; /**< ask for the far end's counters so often; 0: 60 s; < 0: never */
        unsigned report_groups;  /**< with so many class groups, at most DOG_STAMP_REPORT_GROUPS */
        uint16_t tunnel;         /**< whose counters */
        uint8_t path;
        uint64_t seed; /**< spreads the sending times by 5 %, so that sessions do not march in step */
        void (*seen)(void *user, const struct dog_stamp_seen *seen);
        /** The far end's counters, verified. NULL: not wanted, never asked for. */
        void (*report)(void *user, int64_t at_ns, const struct dog_stamp_report *r);
        void *user;
};

struct dog_stamp_session_stats {
        uint64_t sent;
        uint64_t send_failed; /**< the kernel did not take the probe; counted as lost as well */
        uint64_t answered;    /**< in time */
        uint64_t lost;
        uint64_t late;      /**< of the lost: answered after all */
        uint64_t lost_out;  /**< of the lost: never reached the reflector; only a stateful one lets us know */
        uint64_t lost_back; /**< of the lost: the answer was lost; likewise */
        uint64_t reports;   /**< taken */
        uint64_t unreported; /**< asked for, and the peer did not know what that is */
        bool is_stateful;    /**< the reflector counts by itself */
        int64_t rtt_ns;      /**< smoothed (RFC 6298, 2); 0 before the first answer */
        int64_t timeout_ns;  /**< as it is now */
        uint64_t dropped[DOG_STAMP_DROP_COUNT];
};

struct dog_stamp_session;

/**
 * Set the socket options both ends need: kernel arrival times, TTL or hop limit, local address.
 * @return 0 or the errno of setsockopt(2)
 */
int dog_stamp_socket_prepare(int fd, struct dog_err *e);

/** @return -EINVAL for a setting out of range, -ENOMEM, or the errno of setsockopt(2) */
int dog_stamp_session_new(struct dog_stamp_session **s, const struct dog_stamp_session_conf *conf,
                          struct dog_err *e);
void dog_stamp_session_free(struct dog_stamp_session *s);
int dog_stamp_session_fd(const struct dog_stamp_session *s);
/** Go on over another socket, because our address or the peer's has changed. Closing the old one is up to
 * you. */
int dog_stamp_session_fd_set(struct dog_stamp_session *s, int fd, struct dog_err *e);
/** Send what is due, give up on what is overdue. @return when to call again */
int64_t dog_stamp_session_on_timer(struct dog_stamp_session *s, int64_t now_ns);
/** Take answers, a bounded number a call. @return when to call _on_timer */
int64_t dog_stamp_session_on_readable(struct dog_stamp_session *s, int64_t now_ns);
/** Change the interval (0: the preset), from now on. @return when to call _on_timer */
int64_t dog_stamp_session_interval_set(struct dog_stamp_session *s, int64_t interval_ns, int64_t now_ns);
/**
 * User traffic has just measured this path: probe at sparse_ns until nothing has been said for 2 s.
 * Does nothing when the interval is the longer of the two.
 */
void dog_stamp_session_measured(struct dog_stamp_session *s, int64_t now_ns);
/** Tell the far end something with the next probe, which is due now. Needs a key; without one nothing is
 * told. */
void dog_stamp_session_notify(struct dog_stamp_session *s, const struct dog_stamp_notice *n);
/** How long the oldest probe that may still be answered has been under way; 0 when there is none. */
int64_t dog_stamp_session_waiting_ns(const struct dog_stamp_session *s, int64_t now_ns);
const struct dog_stamp_session_stats *dog_stamp_session_stats(const struct dog_stamp_session *s);
/** Octets on the IP layer in 30 days, both directions, when every probe is answered. */
uint64_t dog_stamp_session_month_bytes(const struct dog_stamp_session_conf *conf);
/** The shortest interval that keeps within a budget of octets in 30 days. */
int64_t dog_stamp_session_interval_for(const struct dog_stamp_session_conf *conf, uint64_t month_bytes);

/* The session without its socket, for tests, fuzzers and simulation. */

/** Write the next probe as sent now. @return its size; `to` holds DOG_STAMP_MOST octets */
size_t dog_stamp_session_probe(struct dog_stamp_session *s, int64_t now_ns, int64_t wall_ns, uint8_t *to);
/**
 * Take one packet that arrived at the given times.
 * @return DOG_STAMP_FINE, or why it was not used. DOG_STAMP_BAD_TLV and _BAD_TLV_TAG: its times were used,
 *         its TLVs were not; that is how a reflector answers that copies what it does not know.
 */
enum dog_stamp_drop dog_stamp_session_take(struct dog_stamp_session *s, const void *packet, size_t size,
                                           int64_t arrived_ns, int64_t arrived_wall_ns);
/** When the next probe is to be sent, as things are now. */
int64_t dog_stamp_session_due(const struct dog_stamp_session *s, int64_t now_ns);
/** Give up on probes that are overdue. */
void dog_stamp_session_expire(struct dog_stamp_session *s, int64_t now_ns);

/* ---- reflector ---- */

struct dog_stamp_reflector_conf {
        int fd;                  /**< UDP, bound; stays the caller's; -1: none, only _answer is used */
        const uint8_t *key;      /**< 32 octets, copied; NULL: unauthenticated */
        bool is_stateful;        /**< count per session, so that senders can tell the direction of a loss */
        bool answers_unverified; /**< see struct dog_stamp_reflect */
        bool is_ptp;
        bool is_synced;
        unsigned rate_per_s; /**< answers a second and source address; 0: 250 */
        unsigned sessions;   /**< most sessions counted at once when stateful; 0: 1024 */
        dog_stamp_report_fn *report;
        dog_stamp_notice_fn *notice;
        void *user;
};

struct dog_stamp_reflector_stats {
        uint64_t received;
        uint64_t answered;
        uint64_t sessions;  /**< counted now */
        uint64_t uncounted; /**< answered without a count of their own: the table was full */
        uint64_t dropped[DOG_STAMP_DROP_COUNT];
};

struct dog_stamp_reflector;

/** Everything is allocated here: nothing grows with what strangers send. Errors as for a session. */
int dog_stamp_reflector_new(struct dog_stamp_reflector **r, const struct dog_stamp_reflector_conf *conf,
                            struct dog_err *e);
void dog_stamp_reflector_free(struct dog_stamp_reflector *r);
int dog_stamp_reflector_fd(const struct dog_stamp_reflector *r);
/** Answer a bounded number of probes. */
void dog_stamp_reflector_on_readable(struct dog_stamp_reflector *r, int64_t now_ns);
/** Forget sessions that were silent for 15 min (RFC 8762's servwait is 900 s). @return when to call again */
int64_t dog_stamp_reflector_on_timer(struct dog_stamp_reflector *r, int64_t now_ns);
const struct dog_stamp_reflector_stats *dog_stamp_reflector_stats(const struct dog_stamp_reflector *r);

/** One request without the socket: the answer to `from`, of the same size, into `to`. */
enum dog_stamp_drop dog_stamp_reflector_answer(struct dog_stamp_reflector *r, const struct sockaddr *from,
                                               socklen_t from_size, const void *request, size_t size,
                                               uint8_t ttl, int64_t now_ns, int64_t arrived_wall_ns,
                                               int64_t wall_ns, uint8_t *to);
