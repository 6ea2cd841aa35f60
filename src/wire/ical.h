#pragma once
/**
 * Calendars: iCalendar (RFC 5545) in, entries out. The text is cut into its components here, one VEVENT at a
 * time, so that memory does not grow with their number; what a component means (values, time zones, rules of
 * repetition) is libical's business.
 *
 * Read are VEVENTs: DTSTART with DTEND or DURATION, all-day dates, UTC, TZID with a VTIMEZONE of the calendar
 * or the system's zone data, RRULE by day, week, month or year with everything RFC 5545 lets stand beside it,
 * RDATE (times, dates and periods), EXDATE, EXRULE (RFC 2445), and single repetitions that RECURRENCE-ID
 * moves or cancels. Left out, and counted: STATUS:CANCELLED, TRANSP:TRANSPARENT, rules by hour or faster,
 * periods that cannot be. A time without a zone is in `zone`.
 *
 * libical is asked about one component that was cut out and bounded; still, call this where a crash or a long
 * computation is contained: sources/feed_fetch.c does, in a process of its own.
 */
#include "base/err.h"
#include "wire/feed_entry.h"

/**
 * @param text  need not end with a 0
 * @param zone  of times that say none, such as "Europe/Vienna"; NULL: UTC
 * @return 0; -EINVAL: this is no calendar, or `zone` does not exist; -ENOMEM
 */
int dog_ical_read(const char *text, size_t size, const char *zone, struct dog_feed_reader *r,
                  struct dog_err *e);
