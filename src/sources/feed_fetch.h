#pragma once
/**
 * Fetching feeds: the process that does it, and the child in which one fetch lives.
 *
 * Debian's libcurl looks names up in a thread of its own and the decider may not be stopped by a parser, so
 * neither is done there. The fetcher is a helper (hands/helper.h), and is started again when it dies: a small
 * loop that takes requests from a socket and makes one child each. The child fetches (libcurl, or a file),
 * parses (wire/ical.h, wire/feed_json.h), sends what it found and ends. So a hang is a kill, a crash costs
 * one reading, and memory and processor time are limits of that child (setrlimit). None of them has a
 * privilege, may write a file, listen, or execute anything (dog_seccomp_enter, DOG_SECCOMP_FETCH). When the
 * decider ends, so do they.
 *
 * Limits while receiving: bytes (counted after decompression, too), time, redirects, protocols. TLS is
 * checked against the system's certificates, with no way to switch that off; from https no redirect leads to
 * http.
 */
#include "base/err.h"
#include "sources/feed.h"

/**
 * The fetcher: gives up what it does not need, and serves until the other end of fd is closed.
 * @param fd  receives struct dog_feed_request, sends struct dog_feed_packet
 * @return 0, or a negative errno before it has begun
 */
int dog_feed_fetcher_run(const struct dog_feed_settings *settings, unsigned n, int fd, struct dog_err *e);

/**
 * One fetch, in this process, blocking: what the child does. For `sundog check --feeds` and tests.
 * @param send  gets each packet; the last is DOG_FEED_MESSAGE_END
 */
void dog_feed_fetch(const struct dog_feed_settings *s, const struct dog_feed_request *request,
                    int64_t now_wall_s, void (*send)(void *user, const struct dog_feed_packet *packet),
                    void *user);

/** Parsing alone: a text that is there already. For tests and the fuzzer. @return 0, or what the reader said
 */
int dog_feed_parse(const struct dog_feed_settings *s, const char *text, size_t size,
                   struct dog_feed_reader *r, struct dog_err *e);

/** Bits of settings.affects that an entry is about; 0: something else. */
uint32_t dog_feed_about(const struct dog_feed_settings *s, const struct dog_feed_entry *entry);
