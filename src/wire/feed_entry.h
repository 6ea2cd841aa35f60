#pragma once
/**
 * What an outside feed says, whatever its format: somewhere, from then to then, something is announced. The
 * readers of formats (wire/ical.h, wire/feed_json.h) make entries; what they leave out they count.
 *
 * Times are seconds since 1970 UTC. Entries are values; words are UTF-8 without control characters.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOG_FEED_WORDS 72
#define DOG_FEED_WHERE 64

struct dog_feed_entry {
        int64_t start_s, end_s;     /**< start < end; the end is not part of it */
        float severity;             /**< 0..1: how much of what the feed may add this entry adds */
        char where[DOG_FEED_WHERE]; /**< a place or a name of ours; "": everything the feed is about */
        char words[DOG_FEED_WORDS]; /**< for people: "maintenance of uplink p2" */
};

/** Why an entry was not taken. X(name, word, sentence) */
#define DOG_FEED_DROPS(X)                                                                                    \
        X(CANCELLED, "cancelled", "are cancelled")                                                           \
        X(FREE, "free", "are marked as taking no time")                                                      \
        X(PAST, "past", "are over")                                                                          \
        X(FAR, "far", "are too far ahead")                                                                   \
        X(ELSEWHERE, "elsewhere", "are about something else")                                                \
        X(TIME, "bad-time", "have no time that can be read, or end before they begin")                       \
        X(ZONE, "bad-zone", "are in a time zone that nobody here knows")                                     \
        X(NUMBER, "bad-number", "have a number that is none, or impossible")                                 \
        X(RULE, "bad-rule", "repeat by a rule that is not supported")                                        \
        X(SHAPE, "bad-shape", "are not built as the format says")                                            \
        X(MANY, "too-many", "are more than are kept")

enum dog_feed_drop {
#define X(name, word, text) DOG_FEED_DROP_##name,
        DOG_FEED_DROPS(X)
#undef X
                DOG_FEED_DROP_COUNT
};
const char *dog_feed_drop_word(enum dog_feed_drop d);
const char *dog_feed_drop_text(enum dog_feed_drop d);

/** Where a format's reader hands entries to, and what may come. The caller fills the first part. */
struct dog_feed_reader {
        int64_t now_s;   /**< what ends before is past */
        int64_t until_s; /**< what begins after is too far ahead */
        uint32_t most;   /**< entries taken */
        void (*take)(void *user, const struct dog_feed_entry *entry);
        void *user;

        uint32_t seen; /**< things that could have been entries, repetitions included */
        uint32_t taken;
        uint32_t dropped[DOG_FEED_DROP_COUNT];
};

/** Count one that is left out. */
void dog_feed_drop(struct dog_feed_reader *r, enum dog_feed_drop why);
/** Judge its times, clip what lasts longer than until_s, and hand it over or count it. */
void dog_feed_take(struct dog_feed_reader *r, const struct dog_feed_entry *entry);
/** Copy a text as words: bytes that are not UTF-8 become '?', control characters a space; cut at a character.
 */
void dog_feed_words(char *to, size_t room, const char *text);
