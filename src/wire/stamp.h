#pragma once
/**
 * STAMP, the Simple Two-Way Active Measurement Protocol: RFC 8762, with the extensions of RFC 8972.
 * Bytes in, struct out; no socket, no clock, no allocation.
 *
 * A test packet is a base packet of 44 octets (unauthenticated) or 112 (authenticated), which is the same
 * size in both directions, followed by TLVs. A key chooses the mode: with a key the base packet ends in
 * HMAC-SHA-256 over its first 96 octets, cut to 16 (RFC 8762, 4.4), and TLVs end in an HMAC TLV over the
 * Sequence Number and all TLVs before it (RFC 8972, 4.8). NULL for a key means unauthenticated.
 *
 * Times on the wire are 64 bits, NTP (RFC 5905) or truncated PTPv2 (IEEE 1588); the Z bit of the Error
 * Estimate beside them tells which. Both stand for the wall clock, without leap-second correction.
 */
#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        DOG_STAMP_PORT = 862,        /**< the registered UDP port of a reflector */
        DOG_STAMP_PLAIN_SIZE = 44,   /**< octets of an unauthenticated base packet */
        DOG_STAMP_SEALED_SIZE = 112, /**< octets of an authenticated base packet */
        DOG_STAMP_KEY_SIZE = 32,     /**< octets of a key */
        DOG_STAMP_TAG_SIZE = 16,     /**< octets of a truncated HMAC */
        DOG_STAMP_TLV_HEAD = 4,      /**< octets before the value of a TLV */
        DOG_STAMP_MOST = 1472,       /**< largest test packet we send or answer: 1500 less IPv4 and UDP */
};

/**
 * Why a test packet was not used. One list: enum, word for metrics, sentence for people.
 * DOG_STAMP_FINE is 0 and no drop.
 */
#define DOG_STAMP_DROPS(X)                                                                                   \
        X(SHORT, "short", "shorter than the base packet of its mode")                                        \
        X(LONG, "long", "longer than the largest test packet")                                               \
        X(BAD_TAG, "bad-tag", "the HMAC of the base packet does not verify")                                 \
        X(BAD_TLV_TAG, "bad-tlv-tag", "the HMAC TLV is missing, misplaced or does not verify")               \
        X(BAD_TLV, "bad-tlv", "a TLV is longer than the rest of the packet")                                 \
        X(WRONG_SESSION, "wrong-session", "the session identifier is not ours")                              \
        X(NOT_SENT, "not-sent", "answers a probe that was never sent or is long forgotten")                  \
        X(DUPLICATE, "duplicate", "answers a probe that was answered before")                                \
        X(LOOP, "loop", "comes from a reflector's port: two reflectors would answer each other for ever")    \
        X(OVER_RATE, "over-rate", "its source sends more than the limit")                                    \
        X(NOT_ANSWERED, "not-answered", "the kernel did not take our answer")

enum dog_stamp_drop {
        DOG_STAMP_FINE,
#define DOG_STAMP_DROP_ENUM(name, word, text) DOG_STAMP_##name,
        DOG_STAMP_DROPS(DOG_STAMP_DROP_ENUM)
#undef DOG_STAMP_DROP_ENUM
                DOG_STAMP_DROP_COUNT
};

/** The word of a reason, as metrics name it: "bad-tag". "fine" for DOG_STAMP_FINE. */
const char *dog_stamp_drop_word(enum dog_stamp_drop drop);
/** The same as a sentence for people. */
const char *dog_stamp_drop_text(enum dog_stamp_drop drop);

/** The Error Estimate field (RFC 4656, 4.1.2; Z: RFC 8186, 2.3): error = multiplier * 2^(scale-32) s. */
struct dog_stamp_clock {
        bool is_synced;     /**< S: disciplined from outside */
        bool is_ptp;        /**< Z: the time beside it is truncated PTPv2, not NTP */
        uint8_t scale;      /**< 0..63 */
        uint8_t multiplier; /**< never 0 on what we send */
};

uint16_t dog_stamp_clock_pack(const struct dog_stamp_clock *c);
struct dog_stamp_clock dog_stamp_clock_unpack(uint16_t field);
/** The estimate that covers error_ns, in the format asked for. */
struct dog_stamp_clock dog_stamp_clock_of(int64_t error_ns, bool is_synced, bool is_ptp);
/** The error an estimate stands for, in nanoseconds; INT64_MAX when it does not fit. */
int64_t dog_stamp_clock_error_ns(const struct dog_stamp_clock *c);

/** Wall nanoseconds (since 1970) as a time on the wire. NTP resolves 0.23 ns, PTP 1 ns. */
uint64_t dog_stamp_time_of(int64_t wall_ns, bool is_ptp);
/** A time on the wire as wall nanoseconds. NTP eras are resolved to 1970..2106. */
int64_t dog_stamp_time_wall_ns(uint64_t time, bool is_ptp);

/** What a Session-Sender sends (RFC 8762, 4.2; SSID: RFC 8972, 3). */
struct dog_stamp_probe {
        uint32_t seq;
        uint64_t sent; /**< on the wire, in the format of `clock` */
        struct dog_stamp_clock clock;
        uint16_t ssid; /**< session identifier; 0: none */
};

/** What a Session-Reflector answers (RFC 8762, 4.3). */
struct dog_stamp_reply {
        uint32_t seq;  /**< stateless: that of the probe; stateful: the reflector's own count */
        uint64_t sent; /**< T3, in the format of `clock` */
        struct dog_stamp_clock clock;
        uint16_t ssid;
        uint64_t received; /**< T2, in the format of `clock` */
        uint32_t probe_seq;
        uint64_t probe_sent; /**< T1, in the format of `probe_clock` */
        struct dog_stamp_clock probe_clock;
        uint8_t probe_ttl; /**< TTL or hop limit the probe arrived with; 255: not known */
};

/** Octets of the base packet in the mode of this key. */
size_t dog_stamp_base_size(const uint8_t *key);

/**
 * Write the base packet at the start of `out`, with its HMAC if there is a key. `out` must begin at the
 * first octet of the packet and be empty; out->failed when it is too small.
 */
void dog_stamp_probe_write(struct dog_bytes *out, const struct dog_stamp_probe *p, const uint8_t *key);
void dog_stamp_reply_write(struct dog_bytes *out, const struct dog_stamp_reply *r, const uint8_t *key);

/**
 * Read the base packet. Nothing in *p may be used unless this gives DOG_STAMP_FINE.
 * @return DOG_STAMP_FINE, _SHORT or _BAD_TAG. TLVs are not looked at: see dog_stamp_tlvs_check.
 */
enum dog_stamp_drop dog_stamp_probe_read(const void *packet, size_t size, const uint8_t *key,
                                         struct dog_stamp_probe *p);
enum dog_stamp_drop dog_stamp_reply_read(const void *packet, size_t size, const uint8_t *key,
                                         struct dog_stamp_reply *r);

/* ---- TLVs: RFC 8972, 4 ---- */

enum dog_stamp_tlv_type {
        DOG_STAMP_TLV_PADDING = 1, /**< Extra Padding */
        DOG_STAMP_TLV_DIRECT = 5,  /**< Direct Measurement */
        DOG_STAMP_TLV_HMAC = 8,    /**< HMAC */
        /** Ours, from the range for experiments (240..251); its value begins with DOG_STAMP_REPORT_MAGIC. */
        DOG_STAMP_TLV_REPORT = 250,
        DOG_STAMP_TLV_NOTICE = 251, /**< ours as well; begins with DOG_STAMP_NOTICE_MAGIC */
};

/** A sender sends U set, M and I clear; the reflector that understands the TLV clears U. */
enum dog_stamp_tlv_flag {
        DOG_STAMP_TLV_UNRECOGNISED = 0x80,
        DOG_STAMP_TLV_MALFORMED = 0x40,
        DOG_STAMP_TLV_INTEGRITY = 0x20,
};

struct dog_stamp_tlv {
        uint8_t flags;
        uint8_t type;
        uint16_t size;        /**< octets of the value */
        const uint8_t *value; /**< borrowed from the packet */
        size_t at;            /**< where in the packet its header begins */
};

/** Append a TLV. A NULL value writes `size` zero octets. */
void dog_stamp_tlv_write(struct dog_bytes *out, uint8_t flags, uint8_t type, const void *value, size_t size);
/** Append the HMAC TLV over the Sequence Number and all TLVs since `base`. */
void dog_stamp_tlv_seal(struct dog_bytes *out, size_t base, const uint8_t *key);
/** The next TLV. False at the end, and when one does not fit: then in->failed is set. */
bool dog_stamp_tlv_next(struct dog_bytes *in, struct dog_stamp_tlv *tlv);

/**
 * May the TLVs of this packet be used? Without a key: when they fit. With a key: when an HMAC TLV verifies
 * and only Extra Padding follows it; no TLV at all, or a single Extra Padding, needs none (RFC 8972, 4.8).
 * @return DOG_STAMP_FINE, _BAD_TLV or _BAD_TLV_TAG
 */
enum dog_stamp_drop dog_stamp_tlvs_check(const void *packet, size_t size, const uint8_t *key);

/** Direct Measurement (RFC 8972, 4.5): packets of the measured flow, as both ends count them. */
struct dog_stamp_direct {
        uint32_t sender_tx;
        uint32_t reflector_rx;
        uint32_t reflector_tx;
};
enum { DOG_STAMP_DIRECT_SIZE = 12 };

void dog_stamp_direct_write(uint8_t to[DOG_STAMP_DIRECT_SIZE], const struct dog_stamp_direct *d);
/** False when the value has the wrong size. */
bool dog_stamp_direct_read(const struct dog_stamp_tlv *tlv, struct dog_stamp_direct *d);

/* ---- Our TLV: what the far end of a tunnel counted on one path ---- */

enum {
        DOG_STAMP_REPORT_MAGIC = 0x53445201, /**< "SDR" and the layout's version */
        DOG_STAMP_REPORT_SIZE = 112,         /**< octets without groups */
        DOG_STAMP_REPORT_GROUP_SIZE = 28,
        DOG_STAMP_REPORT_GROUPS = 8, /**< most class groups in one report */
};

/** One class group (the classes its owner gave this number) as the far end sees it. */
struct dog_stamp_report_group {
        uint16_t group;
        uint64_t packets;    /**< delivered, each once, whichever path was first */
        uint64_t bytes;      /**< their inner octets */
        uint64_t newest_seq; /**< highest sequence number seen on this path: its advance less that of
                                  `packets` is what was lost on every path */
};

/**
 * Counters of one path of one tunnel at its far end, all since `epoch` began, so that a lost report loses
 * nothing: the reader subtracts two reports of the same epoch. Loss is 1 - received/expected. Delays are
 * receiver time less sender time, so they contain the unknown difference of the two clocks: only
 * differences between paths of the same tunnel mean something.
 */
struct dog_stamp_report {
        uint16_t tunnel;
        uint8_t path;
        uint8_t groups;       /**< entries used in group[] */
        uint32_t epoch;       /**< changes when the counters start again from 0 */
        uint64_t at_ns;       /**< far end's monotonic time of the snapshot: rates need it */
        uint64_t received;    /**< copies that arrived and verified */
        uint64_t bytes;       /**< their octets, from the outer IP header on */
        uint64_t first;       /**< copies that arrived before any other of theirs */
        uint64_t duplicate;   /**< copies whose packet had come before */
        uint64_t late;        /**< copies too old for the window to tell */
        uint64_t reordered;   /**< copies with a sequence number below one already seen on this path */
        uint64_t expected;    /**< packets sent on this path, by the subset mask each carried */
        uint64_t bad_tag;     /**< copies that did not verify; not in `received` */
        uint64_t delay_count; /**< copies that carried a time */
        int64_t delay_sum_ns; /**< of these */
        int64_t delay_min_ns; /**< the smallest of the far end's last full interval */
        struct dog_stamp_report_group group[DOG_STAMP_REPORT_GROUPS];
};

/** Octets of the value with room for so many groups. */
size_t dog_stamp_report_size(unsigned groups);
/** Write the value. Groups that do not fit into `size` are left out; the rest is zero. False: no room. */
bool dog_stamp_report_write(uint8_t *to, size_t size, const struct dog_stamp_report *r);
/** False when the value is not such a report, or announces more groups than it holds. */
bool dog_stamp_report_read(const struct dog_stamp_tlv *tlv, struct dog_stamp_report *r);

/* ---- Our other TLV: the far end tells that a class has fallen silent ---- */

enum {
        DOG_STAMP_NOTICE_MAGIC = 0x53444e01, /**< "SDN" and the layout's version */
        DOG_STAMP_NOTICE_SIZE = 20,
};

/**
 * "Of this class, which came regularly, nothing has come for so long." Told by the receiver to the
 * sender at once, so that a path which loses or holds everything back is known without probing it often.
 */
struct dog_stamp_notice {
        uint16_t tunnel; /**< as the one who is told numbers it */
        uint16_t class;
        uint32_t silent_ms;
        uint64_t newest_seq; /**< the last that came; never goes back, so an old notice is known as such */
};

void dog_stamp_notice_write(uint8_t to[DOG_STAMP_NOTICE_SIZE], const struct dog_stamp_notice *n);
/** False when the value is not such a notice. */
bool dog_stamp_notice_read(const struct dog_stamp_tlv *tlv, struct dog_stamp_notice *n);

/* ---- Reflecting: request bytes in, answer bytes out ---- */

/** Take a verified notice. @return false: not for us, the TLV goes back unrecognised. */
typedef bool dog_stamp_notice_fn(void *user, const struct dog_stamp_notice *n);

/** Ask for the counters of one path. @return false: unknown, the TLV goes back unrecognised. */
typedef bool dog_stamp_report_fn(void *user, uint16_t tunnel, uint8_t path, struct dog_stamp_report *r);

struct dog_stamp_reflect {
        const uint8_t *key;      /**< NULL: unauthenticated */
        bool answers_unverified; /**< a bad HMAC TLV goes back with the I flag, as RFC 8972 has it, not in
                                    silence */
        bool is_stateful;        /**< answer with `seq` instead of the probe's */
        uint32_t seq;
        uint64_t received; /**< T2 and T3 on the wire, in the format of `clock` */
        uint64_t sent;
        struct dog_stamp_clock clock;
        uint8_t ttl;                 /**< the probe's; 255: not known */
        bool has_counts;             /**< rx and tx are known: Direct Measurement is understood */
        uint32_t rx, tx;             /**< packets of this session received and answered, this one included */
        dog_stamp_report_fn *report; /**< NULL: we have no tunnel */
        dog_stamp_notice_fn *notice; /**< NULL: nobody listens */
        void *user;
};

/**
 * Make the answer to a test packet: the same size as the request, its TLVs with their flags set.
 * @param reply  at least `size` octets, not overlapping the request
 * @return DOG_STAMP_FINE and the answer is in `reply`; or why there must be none
 */
enum dog_stamp_drop dog_stamp_reflect(const struct dog_stamp_reflect *how, const void *request, size_t size,
                                      uint8_t *reply);
