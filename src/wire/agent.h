#pragma once
/**
 * What an agent on an instance and a front say to each other, over UDP. Bytes in, struct out; no socket, no
 * clock, no allocation.
 *
 * Every datagram, at most 1200 octets, all integers in network byte order:
 *
 *      0  4  magic "SDA1", the layout's version in it
 *      4  1  type, enum dog_agent_type
 *      5  3  zero
 *      8  8  boot: a random number that the sender drew when it started
 *     16  8  sequence, from 1, one higher with each datagram of that boot
 *     24  8  the sender's time: nanoseconds since 1970, never running back within one boot
 *     32 32  name of the instance, padded with zeros
 *     64  n  body, encrypted
 *          16  tag
 *
 * Body and head are sealed by XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03; libsodium's
 * crypto_aead_xchacha20poly1305_ietf). The head is the associated data, its octets 8 to 31 are the nonce:
 * unique as long as two boots do not draw the same 64 bits. The key is derived from the shared secret for one
 * name and one direction, so that nothing can be sent back to its sender or used for another instance.
 *
 * Bodies:
 *
 *   report   period ms u32, processors u16, connections u32, echo (24), count u8, then count times
 *            vital u8 and an IEEE 754 binary64. Vitals the reader does not know are passed over. Then the
 *            shim: state u8, count u8, then count tags u64
 *   conns    round u32, count u16, then count connections:
 *            flags u8 (1: IPv6; 2: closed), state u8, local port u16, remote port u16, local and remote
 *            address (4 or 16 each), age ms u32, acknowledged u64, received u64, round trip us u32,
 *            sent again u32, unsent u32
 *   answer   echo (24), wants u8, role u8, period ms u32, datagrams a second u32, score binary64
 *   status   count u16, then count times: flags u8, status u8, ports and addresses as above
 *
 * An echo is what makes a round trip of two reports: the sender's time of the last datagram that came
 * (u64, 0: none), how long ago that was in ns (u64), and its sequence number (u64).
 */
#include "base/bytes.h"
#include "wire/vitals.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        DOG_AGENT_PORT = 7482,
        DOG_AGENT_MOST = 1200, /**< largest datagram: fits every path that IPv6 allows (RFC 8200, 5) */
        DOG_AGENT_HEAD = 64,
        DOG_AGENT_TAG = 16,
        DOG_AGENT_BODY = DOG_AGENT_MOST - DOG_AGENT_HEAD - DOG_AGENT_TAG,
        DOG_AGENT_NAME = 32, /**< octets of a name, none of them for a final 0 */
        DOG_AGENT_KEY = 32,
        DOG_AGENT_PAGE = 79, /**< most entries in one page: of the smallest entry that many fit */
};

enum dog_agent_type {
        DOG_AGENT_REPORT = 1, /**< agent to front */
        DOG_AGENT_CONNS,      /**< agent to front */
        DOG_AGENT_ANSWER,     /**< front to agent, one for a report at most */
        DOG_AGENT_STATUS,     /**< front to agent, one for a page of connections at most */
};

/** Why a datagram was not used: enum, word for metrics, sentence for people. 0 is no drop. */
#define DOG_AGENT_DROPS(X)                                                                                   \
        X(SHORT, "short", "shorter than its head and tag")                                                   \
        X(LONG, "long", "longer than the largest datagram")                                                  \
        X(NOT_OURS, "not-ours", "does not begin as a datagram of this version does")                         \
        X(UNKNOWN_NAME, "unknown-name", "from an instance that is not configured")                           \
        X(OVER_RATE, "over-rate", "its source sends more than the limit")                                    \
        X(BAD_TAG, "bad-tag", "sealed with another key, or changed on its way")                              \
        X(WRONG_TYPE, "wrong-type", "a type that this end does not take")                                    \
        X(REPLAYED, "replayed", "its sequence number was seen before, or is too old to tell")                \
        X(OLD_BOOT, "old-boot", "of an earlier life of its sender")                                          \
        X(BAD_TIME, "bad-time", "its time is too far from ours, or runs back: set both clocks")              \
        X(MALFORMED, "malformed", "its body does not fit its type")

enum dog_agent_drop {
        DOG_AGENT_FINE,
#define X(name, word, text) DOG_AGENT_##name,
        DOG_AGENT_DROPS(X)
#undef X
                DOG_AGENT_DROP_COUNT
};

/** "bad-tag"; "fine" for DOG_AGENT_FINE. */
const char *dog_agent_drop_word(enum dog_agent_drop d);
const char *dog_agent_drop_text(enum dog_agent_drop d);

/** Letters, digits, '.', '-', '_'; 1 to 32 of them. */
bool dog_agent_name_is_good(const char *name);

/* ---- keys and sealing ---- */

/** The keys of one instance, derived from the shared secret (keyed BLAKE2b, RFC 7693). */
struct dog_agent_keys {
        uint8_t to_front[DOG_AGENT_KEY];
        uint8_t to_agent[DOG_AGENT_KEY];
};
void dog_agent_keys_derive(struct dog_agent_keys *keys, const uint8_t secret[32], const char *name);

struct dog_agent_head {
        enum dog_agent_type type;
        uint64_t boot, seq;
        int64_t sent_wall_ns;
        char name[DOG_AGENT_NAME + 1];
};

/** Read the head, to know whose key to try. Nothing in it may be believed before dog_agent_open.
 * @return DOG_AGENT_FINE, _SHORT, _LONG or _NOT_OURS */
enum dog_agent_drop dog_agent_head_read(const void *packet, size_t size, struct dog_agent_head *head);
/** Verify and decrypt. @return DOG_AGENT_FINE or _BAD_TAG, or what head_read gives; `body` then is unchanged
 */
enum dog_agent_drop dog_agent_open(const void *packet, size_t size, const uint8_t key[DOG_AGENT_KEY],
                                   struct dog_agent_head *head, uint8_t body[DOG_AGENT_BODY],
                                   size_t *body_size);
/** @param body_size at most DOG_AGENT_BODY. @return the datagram's size */
size_t dog_agent_seal(uint8_t packet[DOG_AGENT_MOST], const struct dog_agent_head *head, const void *body,
                      size_t body_size, const uint8_t key[DOG_AGENT_KEY]);

/** Who one end is: all zero, then kept. */
struct dog_agent_voice {
        uint64_t boot, seq;
        int64_t sent_wall_ns;
};
/**
 * Fill boot, sequence and time of the next datagram. The time never runs back; when the clock was set back by
 * more than two seconds, this is another boot: the other end takes it after a silence.
 */
void dog_agent_voice_stamp(struct dog_agent_voice *v, struct dog_agent_head *head, int64_t wall_ns);

/* ---- replay ---- */

enum { DOG_AGENT_BOOTS = 8 };

/** What was heard of one sender. All zero: nothing yet. Only for datagrams whose tag was right. */
struct dog_agent_ear {
        uint64_t boot;
        uint64_t newest_seq;
        uint64_t seen; /**< bit n: newest_seq - n has come */
        int64_t newest_sent_wall_ns;
        int64_t heard_ns; /**< ours, monotonic, of the last that was taken */
        uint64_t before[DOG_AGENT_BOOTS];
        unsigned befores;
};

/**
 * May this datagram be used? Each once, those of one boot within a window of 64; a new boot only when it is
 * later than everything heard, or after silence, and never one that was heard before another.
 * @param skew_ns    how far its time may be from ours
 * @param silence_ns after so long without a word a boot with an earlier time is believed: its clock was set
 * @return DOG_AGENT_FINE (and noted), _REPLAYED, _OLD_BOOT, _BAD_TIME
 */
enum dog_agent_drop dog_agent_ear_take(struct dog_agent_ear *ear, const struct dog_agent_head *head,
                                       int64_t now_ns, int64_t wall_ns, int64_t skew_ns, int64_t silence_ns);

/* ---- bodies: _write gives the size or 0 when it does not fit, _read false when it is not one ---- */

struct dog_agent_echo {
        int64_t sent_wall_ns; /**< 0: nothing has come */
        int64_t held_ns;
        uint64_t seq;
};

/** The round trip, by our own time that came back; 0: none came, or what came makes no sense. */
int64_t dog_agent_echo_rtt_ns(const struct dog_agent_echo *e, int64_t wall_ns);

enum { DOG_AGENT_SHIM_TAGS = 16 };

/** What became of the shim of aligned mode on this host. X(name, word, what it is, as part of a sentence) */
#define DOG_AGENT_SHIMS(X)                                                                                   \
        X(SHIM_NONE, "none", "its agent loads no shim")                                                      \
        X(SHIM_OLD_KERNEL, "old-kernel", "its kernel cannot build a socket from a packet (Linux 6.9 can)")   \
        X(SHIM_NO_COOKIES, "no-syncookies", "net.ipv4.tcp_syncookies is 0 there")                            \
        X(SHIM_FAILED, "failed", "its shim could not be loaded, and its agent's log says why")               \
        X(SHIM_GATED, "gated", "its shim runs, and keeps a standby's bytes there")

enum dog_agent_shim_state {
#define X(name, word, text) DOG_AGENT_##name,
        DOG_AGENT_SHIMS(X)
#undef X
                DOG_AGENT_SHIM_COUNT
};
const char *dog_agent_shim_word(enum dog_agent_shim_state s);
const char *dog_agent_shim_text(enum dog_agent_shim_state s);

/** The shim, and for which services: a tag names a vip, the socket and the key, see instance_cookie_tag. */
struct dog_agent_shim {
        enum dog_agent_shim_state state;
        uint8_t tags;
        uint64_t tag[DOG_AGENT_SHIM_TAGS];
};

struct dog_agent_report {
        uint32_t period_ms; /**< until the next one */
        uint16_t processors;
        uint32_t conns; /**< in the agent's table */
        struct dog_agent_echo echo;
        struct dog_vitals vitals; /**< as sent: not checked for what is possible */
        struct dog_agent_shim shim;
};
size_t dog_agent_report_write(uint8_t body[DOG_AGENT_BODY], const struct dog_agent_report *r);
bool dog_agent_report_read(const uint8_t *body, size_t size, struct dog_agent_report *r);

/** A connection as its server names it. IPv6, or IPv4 as ::ffff:a.b.c.d. */
struct dog_agent_flow {
        uint8_t local[16], remote[16];
        uint16_t local_port, remote_port;
};

/** What the front says a connection is to this instance. X(name, word, sentence) */
#define DOG_AGENT_STATUSES(X)                                                                                \
        X(UNTOLD, "untold", "no front has said anything about it")                                           \
        X(UNPROTECTED, "unprotected", "nobody would take over")                                              \
        X(PRIMARY, "primary", "served here, a standby follows")                                              \
        X(STANDBY, "standby", "served elsewhere, followed here")                                             \
        X(PROMOTED_HERE, "promoted-here", "served here since the one before failed or was left")             \
        X(PROMOTED_AWAY, "promoted-away", "served elsewhere now, nobody listens here any more")              \
        X(FOREIGN, "foreign", "the front does not know it: it came another way")

enum dog_agent_status {
#define X(name, word, text) DOG_AGENT_##name,
        DOG_AGENT_STATUSES(X)
#undef X
                DOG_AGENT_STATUS_COUNT
};
const char *dog_agent_status_word(enum dog_agent_status s);
const char *dog_agent_status_text(enum dog_agent_status s);

struct dog_agent_conn {
        struct dog_agent_flow flow;
        uint8_t state;         /**< TCP_ESTABLISHED and so on, netinet/tcp.h */
        bool is_closed;        /**< has left the kernel's table: told once or twice, then forgotten */
        uint32_t age_ms;       /**< since the agent saw it first; 2^32-1: that or more */
        uint64_t acked;        /**< octets that the client acknowledged */
        uint64_t received;     /**< octets received from it */
        uint32_t rtt_us;       /**< smoothed; 0: not known */
        uint32_t resent;       /**< segments sent again in all */
        uint32_t unsent_bytes; /**< written by the server and not yet acknowledged */
};

struct dog_agent_conns {
        uint32_t round; /**< counts the passes over the whole table; what changed comes between */
        uint16_t count;
        struct dog_agent_conn conn[DOG_AGENT_PAGE];
};
/** How many of the connections from the first on fit into one page. */
unsigned dog_agent_conns_fit(const struct dog_agent_conn *conn, unsigned n);
size_t dog_agent_conns_write(uint8_t body[DOG_AGENT_BODY], const struct dog_agent_conns *c);
bool dog_agent_conns_read(const uint8_t *body, size_t size, struct dog_agent_conns *c);

#define DOG_AGENT_WANTS_CONNS 0x1 /**< pages of connections, not reports alone */

/** What the instance is to the front. X(name, word) */
#define DOG_AGENT_ROLES(X)                                                                                   \
        X(ROLE_UNKNOWN, "unknown")                                                                           \
        X(ROLE_SERVING, "serving")                                                                           \
        X(ROLE_STANDBY, "standby-only")                                                                      \
        X(ROLE_LEAVING, "leaving")                                                                           \
        X(ROLE_DEAD, "dead")

enum dog_agent_role {
#define X(name, word) DOG_AGENT_##name,
        DOG_AGENT_ROLES(X)
#undef X
                DOG_AGENT_ROLE_COUNT
};
const char *dog_agent_role_word(enum dog_agent_role r);

struct dog_agent_answer {
        struct dog_agent_echo echo;
        uint8_t wants;
        enum dog_agent_role role;
        uint32_t period_ms;       /**< report no more often; 0: as you like */
        uint32_t datagrams_per_s; /**< send at most so many; 0: as you like. Only ever lowers a limit */
        double score;             /**< the front's health score of this instance, 0..1; NaN: none */
};
size_t dog_agent_answer_write(uint8_t body[DOG_AGENT_BODY], const struct dog_agent_answer *a);
bool dog_agent_answer_read(const uint8_t *body, size_t size, struct dog_agent_answer *a);

struct dog_agent_told {
        struct dog_agent_flow flow;
        enum dog_agent_status status;
};
struct dog_agent_page {
        uint16_t count;
        struct dog_agent_told told[DOG_AGENT_PAGE];
};
size_t dog_agent_page_write(uint8_t body[DOG_AGENT_BODY], const struct dog_agent_page *p);
bool dog_agent_page_read(const uint8_t *body, size_t size, struct dog_agent_page *p);
