#pragma once
/**
 * Outside feeds: calendars of maintenance, weather forecasts, schedules of events. This is the part that
 * decides when to fetch, keeps what was said, and answers what is announced for whom; it does no I/O and
 * knows no clock. Fetching and parsing happen in a process of their own (sources/feed_fetch.h), because a
 * name must not be looked up, and a stranger's megabytes must not be parsed, where decisions take
 * milliseconds; what comes from there is checked again here.
 *
 * A feed adds caution, and only caution: see core/caution.h. One that is silent for `stale_ns` says nothing
 * any more.
 *
 * Times in seconds are of the wall clock (calendars are); in nanoseconds, monotonic.
 */
#include "base/err.h"
#include "core/caution.h"
#include "wire/feed_entry.h"
#include "wire/feed_json.h"

#define DOG_FEEDS_MAX      16
#define DOG_FEED_NAMES     32   /**< that one feed may be about */
#define DOG_FEED_ENTRIES   2048 /**< kept of one feed */
#define DOG_FEED_AHEAD_S   (31 * 86400)
#define DOG_FEED_VALIDATOR 128

enum dog_feed_kind { DOG_FEED_CALENDAR, DOG_FEED_WEATHER, DOG_FEED_EVENTS };

/** Texts are the owner's and outlive the feeds. */
struct dog_feed_settings {
        const char *name;
        enum dog_feed_kind kind;
        const char *url;  /**< http:// or https://; NULL: `file` */
        const char *file; /**< a local file; NULL: `url` */
        int64_t interval_ns, stale_ns;
        int64_t timeout_ns; /**< of a whole exchange */
        int64_t lead_ns;    /**< caution begins so long before what is announced */
        uint64_t max_bytes;
        unsigned redirects;      /**< followed at most */
        float log_odds;          /**< what an entry adds that counts in full */
        const char *zone;        /**< calendars: of times without one; NULL: UTC */
        const char *match;       /**< only entries with this text in them; NULL: all */
        const char *contact;     /**< told to the server with our name; NULL: nobody */
        struct dog_feed_map map; /**< weather and events */
        const char *const *affects;
        unsigned affected; /**< 1..DOG_FEED_NAMES */
};

/** Why a fetch brought nothing. X(name, sentence) */
#define DOG_FEED_FAULTS(X)                                                                                   \
        X(CONNECT, "the server cannot be reached")                                                           \
        X(TIMEOUT, "it took longer than it may")                                                             \
        X(STATUS, "the server answered with an error")                                                       \
        X(REDIRECT, "it sends us elsewhere too often, or to where we do not go")                             \
        X(TOO_LONG, "it is longer than max_bytes")                                                           \
        X(TYPE, "the server says that it is something else")                                                 \
        X(TLS, "the server could not prove who it is")                                                       \
        X(FILE, "the file cannot be read")                                                                   \
        X(MALFORMED, "it is not in its format")                                                              \
        X(READER, "the process that read it died")                                                           \
        X(MEMORY, "no memory for it")

enum dog_feed_fault {
        DOG_FEED_FINE,
#define X(name, text) DOG_FEED_FAULT_##name,
        DOG_FEED_FAULTS(X)
#undef X
                DOG_FEED_FAULT_COUNT
};
const char *dog_feed_fault_text(enum dog_feed_fault f);
const char *dog_feed_kind_word(enum dog_feed_kind k);

/* ---- between the decider and the process that fetches: messages of a sequenced-packet socket ---- */

/** Fetch this. What names the version that we have makes "nothing new" a short answer. */
struct dog_feed_request {
        uint32_t feed;
        uint32_t number;                   /**< comes back with the answer */
        char etag[DOG_FEED_VALIDATOR];     /**< "": none */
        char modified[DOG_FEED_VALIDATOR]; /**< Last-Modified, or of a file its time and size */
};

struct dog_feed_packed {
        int64_t start_s, end_s;
        float severity;
        uint32_t names; /**< bit i: about settings.affects[i] */
        char words[DOG_FEED_WORDS];
};

enum { DOG_FEED_PACKED = 40 };
enum dog_feed_message { DOG_FEED_MESSAGE_ENTRIES, DOG_FEED_MESSAGE_END };

struct dog_feed_end {
        uint32_t fault; /**< enum dog_feed_fault */
        uint32_t is_unchanged;
        int32_t status;        /**< of HTTP; 0: none */
        int32_t retry_after_s; /**< what the server asks for; 0: nothing */
        uint64_t bytes;
        uint32_t seen;
        uint32_t dropped[DOG_FEED_DROP_COUNT];
        char etag[DOG_FEED_VALIDATOR];
        char modified[DOG_FEED_VALIDATOR];
        char text[256]; /**< what went wrong, for a person */
};

struct dog_feed_packet {
        uint32_t feed, number;
        uint32_t message; /**< enum dog_feed_message */
        uint32_t n;       /**< entries in this one */
        union {
                struct dog_feed_packed entry[DOG_FEED_PACKED];
                struct dog_feed_end end;
        };
};

/* ---- the decider's side ---- */

struct dog_feeds;

enum dog_feed_news { DOG_FEED_READ, DOG_FEED_FAILED, DOG_FEED_STALE, DOG_FEED_DROPPED };

/** @param news  called with a sentence when something changed about a feed; may be NULL */
int dog_feeds_new(struct dog_feeds **to, const struct dog_feed_settings *settings, unsigned n, uint64_t seed,
                  void (*news)(void *user, unsigned feed, enum dog_feed_news what, const char *text),
                  void *user, struct dog_err *e);
void dog_feeds_free(struct dog_feeds *f);

/**
 * What to fetch now: fills a request and notes that it is under way; asked until it says false. Sees what has
 * become stale or was never answered. *due_ns is when to ask again.
 */
bool dog_feeds_next(struct dog_feeds *f, int64_t now_ns, struct dog_feed_request *request, int64_t *due_ns);
/** A message came. What is malformed or was not asked for is dropped and counted. */
void dog_feeds_take(struct dog_feeds *f, const struct dog_feed_packet *packet, size_t size, int64_t now_ns);
/** The process that fetches is gone: everything under way has failed, and nothing is fetched until another
 * one is found. */
void dog_feeds_lost(struct dog_feeds *f, int64_t now_ns);
void dog_feeds_found(struct dog_feeds *f);

/** Bits of settings[feed].affects that a member with these names rests on. */
uint32_t dog_feeds_names(const struct dog_feeds *f, unsigned feed, const char *const *name, size_t names);
/**
 * What is announced for a member. Feeds add up, to DOG_CAUTION_MOST together; within one the worst counts.
 * @param names       for each feed, of dog_feeds_names
 * @param horizon_ns  how far ahead the three chances look
 * @return whether anything is
 */
bool dog_feeds_caution(const struct dog_feeds *f, const uint32_t names[DOG_FEEDS_MAX], int64_t now_wall_s,
                       const int64_t horizon_ns[DOG_HORIZONS], struct dog_caution *c);

/** One feed, for people. */
struct dog_feed_view {
        const struct dog_feed_settings *settings;
        bool is_fetching, is_stale; /**< stale: never read, or too long ago; it says nothing */
        int64_t read_ns;            /**< when it last was up to date; 0: never */
        int64_t due_ns;
        uint32_t entries;
        uint32_t fetches, failures, failures_in_row, unchanged;
        uint64_t bytes; /**< of the newest */
        enum dog_feed_fault fault;
        char trouble[320];                     /**< of the newest fetch; "": none */
        uint64_t dropped[DOG_FEED_DROP_COUNT]; /**< of the newest */
        struct {
                int64_t start_s, end_s;
                char words[DOG_FEED_WORDS];
        } next; /**< what is on, or comes next; end_s 0: nothing */
};
/** What a person should know of what was dropped: "2 are in a time zone that nobody here knows"; "": nothing.
 */
void dog_feed_left_out(const uint64_t dropped[DOG_FEED_DROP_COUNT], char *to, size_t room);
void dog_feeds_view(const struct dog_feeds *f, unsigned feed, int64_t now_ns, int64_t now_wall_s,
                    struct dog_feed_view *to);
