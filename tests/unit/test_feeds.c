/* Outside feeds. F3: maintenance, weather and events are inputs. G3, G4: their formats. O3: what is announced
 * raises a forecast, and says why. What a feed says only adds caution, bounded, and never hides a measured
 * fact. */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "check.h"
#include "core/caution.h"
#include "core/loop.h"
#include "daemon/config.h"
#include "hands/privilege.h"
#include "kinds/twin/twin.h"
#include "sources/feed.h"
#include "sources/feed_fetch.h"
#include "sources/feed_window.h"
#include "wire/feed_json.h"
#include "wire/ical.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Saturday, 2026-11-21 12:00:00 UTC */
#define NOW  INT64_C(1795262400)
#define HOUR 3600
#define DAY  86400

/* ---- what a reader hands over ---- */

struct taken {
        struct dog_feed_entry entry[64];
        unsigned n;
};

static void take(void *user, const struct dog_feed_entry *e)
{
        struct taken *t = user;
        if (t->n < ARRAY_SIZE(t->entry))
                t->entry[t->n] = *e;
        t->n++;
}

static struct dog_feed_reader reader_of(struct taken *t)
{
        memset(t, 0, sizeof(*t));
        return (struct dog_feed_reader){.now_s = NOW,
                                        .until_s = NOW + DOG_FEED_AHEAD_S,
                                        .most = DOG_FEED_ENTRIES,
                                        .take = take,
                                        .user = t};
}

/* A calendar around these lines; ';' in front of each property is a new line. */
static int calendar(const char *lines, struct taken *t, struct dog_feed_reader *r, const char *zone)
{
        char text[8192];
        struct dog_err e = {0};
        snprintf(text, sizeof(text),
                 "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\n%sEND:VCALENDAR\r\n", lines);
        *r = reader_of(t);
        int rc = dog_ical_read(text, strlen(text), zone, r, &e);
        OK(rc == 0 || e.text[0], "who fails says why");
        return rc;
}

#define VIENNA                                                                                               \
        "BEGIN:VTIMEZONE\r\nTZID:Somewhere\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\n"                 \
        "TZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:"          \
        "STANDARD\r\n"                                                                                       \
        "BEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\n"            \
        "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"
#define EVENT(body) "BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:work\r\n" body "END:VEVENT\r\n"

static void times_are_read_in_every_form_that_rfc_5545_has(void)
{
        static const struct {
                const char *lines, *zone;
                int64_t start_s, lasts_s;
                const char *say;
        } row[] = {
                {EVENT("DTSTART:20261121T220000Z\r\nDTEND:20261121T230000Z\r\n"), NULL, NOW + 10 * HOUR, HOUR,
                 "UTC"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT90M\r\n"), NULL, NOW + 10 * HOUR, 5400,
                 "a duration"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:P1W\r\n"), NULL, NOW + 10 * HOUR, 7 * DAY,
                 "a week"},
                {EVENT("DTSTART;TZID=Europe/Vienna:20261121T220000\r\nDURATION:PT1H\r\n"), NULL,
                 NOW + 9 * HOUR, HOUR, "the system's zone data"},
                {VIENNA EVENT("DTSTART;TZID=Somewhere:20261121T220000\r\nDURATION:PT1H\r\n"), NULL,
                 NOW + 9 * HOUR, HOUR, "a zone of the calendar"},
                {EVENT("DTSTART;TZID=Somewhere:20261121T220000\r\nDURATION:PT1H\r\n") VIENNA, NULL,
                 NOW + 9 * HOUR, HOUR, "a zone that comes later"},
                {EVENT("DTSTART:20261121T220000\r\nDURATION:PT1H\r\n"), NULL, NOW + 10 * HOUR, HOUR,
                 "no zone: UTC unless said"},
                {EVENT("DTSTART:20261121T220000\r\nDURATION:PT1H\r\n"), "America/New_York", NOW + 15 * HOUR,
                 HOUR, "no zone: the configured one"},
                {EVENT("DTSTART;VALUE=DATE:20261122\r\n"), NULL, NOW + 12 * HOUR, DAY,
                 "an all-day event is a day"},
                {EVENT("DTSTART;VALUE=DATE:20261122\r\nDTEND;VALUE=DATE:20261124\r\n"), NULL, NOW + 12 * HOUR,
                 2 * DAY, "two days"},
                {EVENT("DTSTART;VALUE=DATE:20261122\r\n"), "Europe/Vienna", NOW + 11 * HOUR, DAY,
                 "a day of Vienna"},
                {EVENT("DTSTART:2026112\r\n 1T220000Z\r\nDURATI\r\n ON:PT1H\r\n"), NULL, NOW + 10 * HOUR,
                 HOUR, "folded lines"},
                {EVENT("dtstart:20261121T220000Z\r\nduration:PT1H\r\n"), NULL, NOW + 10 * HOUR, HOUR,
                 "names in any case"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct taken t;
                struct dog_feed_reader r;
                OK(calendar(row[i].lines, &t, &r, row[i].zone) == 0 && t.n == 1, "%s: %u entries", row[i].say,
                   t.n);
                OK(t.entry[0].start_s == row[i].start_s, "%s: begins %+lld s from what it should", row[i].say,
                   (long long)(t.entry[0].start_s - row[i].start_s));
                OK(t.entry[0].end_s - t.entry[0].start_s == row[i].lasts_s, "%s: lasts %lld s", row[i].say,
                   (long long)(t.entry[0].end_s - t.entry[0].start_s));
        }
}

static void repetitions_follow_the_rule(void)
{
        static const struct {
                const char *lines;
                unsigned n;
                int64_t at_s[4];
                const char *say;
        } row[] = {
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\n"),
                 3,
                 {NOW + 10 * HOUR, NOW + 34 * HOUR, NOW + 58 * HOUR},
                 "daily, three times"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;UNTIL="
                       "20261122T220000Z\r\n"),
                 2,
                 {NOW + 10 * HOUR, NOW + 34 * HOUR},
                 "until, the last included"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;INTERVAL=10\r\n"),
                 4,
                 {NOW + 10 * HOUR, NOW + 10 * HOUR + 10 * DAY, NOW + 10 * HOUR + 20 * DAY,
                  NOW + 10 * HOUR + 30 * DAY},
                 "every tenth day, as far as we look"},
                {EVENT("DTSTART:20200104T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY;BYDAY=SA;INTERVAL="
                       "2\r\n"),
                 2,
                 {NOW + 10 * HOUR + 7 * DAY},
                 "every second Saturday since years"},
                {EVENT("DTSTART:20260106T010000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=MONTHLY;BYDAY=1TU\r\n"),
                 1,
                 {NOW + 10 * DAY - 11 * HOUR},
                 "the first Tuesday of the month"},
                {EVENT("DTSTART:20260131T010000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1\r\n"),
                 1,
                 {NOW + 9 * DAY - 11 * HOUR},
                 "the last day of the month"},
                {VIENNA EVENT("DTSTART;TZID=Somewhere:20261001T220000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;"
                              "UNTIL=20261122T210000Z\r\n"),
                 2,
                 {NOW + 9 * HOUR, NOW + 33 * HOUR},
                 "22:00 stays 22:00 when summer time ends"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\nEXDATE:"
                       "20261122T220000Z"
                       "\r\n"),
                 2,
                 {NOW + 10 * HOUR, NOW + 58 * HOUR},
                 "one is taken out"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\n"
                       "EXDATE;VALUE=DATE:20261121,20261123\r\n"),
                 1,
                 {NOW + 34 * HOUR},
                 "days are taken out"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=2\r\n") EVENT(
                         "RECURRENCE-ID:20261122T220000Z\r\nDTSTART:20261123T000000Z\r\nDURATION:PT1H\r\n"),
                 2,
                 {NOW + 10 * HOUR, NOW + 36 * HOUR},
                 "one is moved"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=2\r\n") EVENT(
                         "RECURRENCE-ID:20261122T220000Z\r\nDTSTART:20261122T220000Z\r\nDURATION:PT1H\r\n"
                         "STATUS:CANCELLED\r\n"),
                 1,
                 {NOW + 10 * HOUR},
                 "one is cancelled"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRDATE:20261123T040000Z,"
                       "20261125T220000Z\r\n"),
                 3,
                 {NOW + 40 * HOUR, NOW + 106 * HOUR, NOW + 10 * HOUR},
                 "two more times are listed"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRDATE:20261121T220000Z\r\n"
                       "RDATE:20261123T040000Z\r\nRDATE:20261123T040000Z\r\n"),
                 2,
                 {NOW + 10 * HOUR, NOW + 40 * HOUR},
                 "what is listed twice is once"},
                {VIENNA EVENT("DTSTART;TZID=Somewhere:20261101T220000\r\nDURATION:PT1H\r\n"
                              "RDATE;TZID=Somewhere:20261121T230000\r\n"),
                 1,
                 {NOW + 10 * HOUR},
                 "in a zone; the first one is over"},
                {EVENT("DTSTART;VALUE=DATE:20261101\r\nRDATE;VALUE=DATE:20261123\r\n"),
                 1,
                 {NOW + 36 * HOUR},
                 "a day"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=2\r\n"
                       "RDATE:20261122T220000Z,20261124T000000Z\r\nEXDATE:20261121T220000Z\r\n"),
                 2,
                 {NOW + 34 * HOUR, NOW + 60 * HOUR},
                 "a rule, a list, and an exception"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=4\r\n"
                       "EXRULE:FREQ=DAILY;INTERVAL=2\r\n"),
                 2,
                 {NOW + 34 * HOUR, NOW + 82 * HOUR},
                 "every second one is taken out by a rule"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nRDATE:20261122T220000Z\r\n") EVENT(
                         "RECURRENCE-ID:20261122T220000Z\r\nDTSTART:20261123T000000Z\r\nDURATION:PT1H\r\n"),
                 2,
                 {NOW + 10 * HOUR, NOW + 36 * HOUR},
                 "a listed one is moved"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct taken t;
                struct dog_feed_reader r;
                OK(calendar(row[i].lines, &t, &r, NULL) == 0 && t.n == row[i].n, "%s: %u entries, not %u",
                   row[i].say, t.n, row[i].n);
                for (unsigned k = 0; k < 4 && row[i].at_s[k] && k < t.n; k++)
                        OK(t.entry[k].start_s == row[i].at_s[k], "%s: number %u is off by %lld s", row[i].say,
                           k, (long long)(t.entry[k].start_s - row[i].at_s[k]));
        }
}

static void a_listed_period_lasts_as_long_as_it_says(void) /* F3 */
{
        struct taken t;
        struct dog_feed_reader r;
        OK(calendar(VIENNA EVENT(
                            "DTSTART:20261101T220000Z\r\nDURATION:PT1H\r\n"
                            "RDATE;VALUE=PERIOD:20261122T000000Z/20261122T060000Z,20261123T000000Z/PT30M\r\n"
                            "RDATE;VALUE=PERIOD;TZID=Somewhere:20261124T010000/PT2H\r\n"),
                    &t, &r, NULL) == 0,
           "a calendar");
        static const int64_t at_s[] = {NOW + 12 * HOUR, NOW + 36 * HOUR, NOW + 60 * HOUR};
        static const int64_t lasts_s[] = {6 * HOUR, HOUR / 2, 2 * HOUR};
        NEED(t.n == ARRAY_SIZE(at_s), "%u periods", t.n);
        for (unsigned i = 0; i < t.n; i++)
                OK(t.entry[i].start_s == at_s[i] && t.entry[i].end_s - t.entry[i].start_s == lasts_s[i],
                   "period %u is off by %lld s and lasts %lld s", i,
                   (long long)(t.entry[i].start_s - at_s[i]),
                   (long long)(t.entry[i].end_s - t.entry[i].start_s));
}

static void what_is_not_understood_of_a_series_is_counted_and_the_rest_counts(void) /* F3 */
{
        static const struct {
                const char *more;
                unsigned n;
                enum dog_feed_drop why;
        } row[] = {
                {"EXRULE:FREQ=HOURLY\r\n", 2, DOG_FEED_DROP_RULE},
                {"RDATE:someday\r\n", 2, DOG_FEED_DROP_COUNT},
                {"RDATE;TZID=Nowhere/Land:20261130T220000\r\n", 2, DOG_FEED_DROP_ZONE},
                {"RDATE;VALUE=PERIOD:20261130T220000Z/20261130T210000Z\r\n", 2, DOG_FEED_DROP_TIME},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                char lines[600];
                struct taken t;
                struct dog_feed_reader r;
                snprintf(lines, sizeof(lines),
                         EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\n"
                               "RRULE:FREQ=DAILY;COUNT=2\r\n%s"),
                         row[i].more);
                OK(calendar(lines, &t, &r, NULL) == 0 && t.n == row[i].n, "%s: %u entries", row[i].more, t.n);
                OK(row[i].why == DOG_FEED_DROP_COUNT || r.dropped[row[i].why] == 1, "%s is counted",
                   row[i].more);
        }
}

static void what_is_left_out_is_counted(void)
{
        static const struct {
                const char *lines;
                enum dog_feed_drop why;
                const char *say;
        } row[] = {
                {EVENT("STATUS:CANCELLED\r\nDTSTART:20261121T220000Z\r\nDURATION:PT1H\r\n"),
                 DOG_FEED_DROP_CANCELLED, "cancelled"},
                {EVENT("TRANSP:TRANSPARENT\r\nDTSTART:20261121T220000Z\r\nDURATION:PT1H\r\n"),
                 DOG_FEED_DROP_FREE, "takes no time"},
                {EVENT("DTSTART:20261121T100000Z\r\nDURATION:PT1H\r\n"), DOG_FEED_DROP_PAST, "is over"},
                {EVENT("DTSTART:21261121T100000Z\r\nDURATION:PT1H\r\n"), DOG_FEED_DROP_FAR,
                 "in a hundred years"},
                {EVENT("DTSTART:20261121T220000Z\r\nDTEND:20261121T210000Z\r\n"), DOG_FEED_DROP_TIME,
                 "ends before it begins"},
                {EVENT("DTSTART:20261121T220000Z\r\n"), DOG_FEED_DROP_TIME, "lasts no time"},
                {EVENT("DTSTART:tomorrow\r\nDURATION:PT1H\r\n"), DOG_FEED_DROP_TIME, "no time at all"},
                {EVENT("DURATION:PT1H\r\n"), DOG_FEED_DROP_TIME, "no beginning"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:-PT1H\r\n"), DOG_FEED_DROP_TIME,
                 "goes back in time"},
                {EVENT("DTSTART;TZID=Nowhere/Land:20261121T220000\r\nDURATION:PT1H\r\n"), DOG_FEED_DROP_ZONE,
                 "a zone that nobody knows is not guessed"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1S\r\nRRULE:FREQ=SECONDLY\r\n"),
                 DOG_FEED_DROP_RULE, "every second"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1S\r\nRRULE:FREQ=HOURLY\r\n"),
                 DOG_FEED_DROP_RULE, "every hour"},
                {EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1S\r\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY="
                       "30\r\n"),
                 DOG_FEED_DROP_RULE, "a day that never comes"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct taken t;
                struct dog_feed_reader r;
                OK(calendar(row[i].lines, &t, &r, NULL) == 0 && t.n == 0, "%s: %u entries", row[i].say, t.n);
                OK(r.dropped[row[i].why] == 1, "%s is counted as %s", row[i].say,
                   dog_feed_drop_word(row[i].why));
        }
        struct taken t;
        struct dog_feed_reader r;
        OK(calendar("BEGIN:VTODO\r\nUID:9\r\nEND:VTODO\r\n" EVENT(
                            "DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\nBEGIN:VALARM\r\nTRIGGER:-"
                            "PT5M\r\nEND:VALARM\r\n"),
                    &t, &r, NULL) == 0 &&
                   t.n == 1,
           "other components are skipped, alarms inside belong to their event");
}

static void a_calendar_that_is_none_is_refused_with_a_sentence(void)
{
        static const char *const text[] = {
                "",
                "BEGIN:VCARD\r\n",
                "<html>",
                "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\n",
                "BEGIN:VCALENDAR\r\nBEGIN:A\r\nBEGIN:B\r\nBEGIN:C\r\nBEGIN:D\r\nBEGIN:E\r\n",
                "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\n"};
        for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
                struct taken t;
                struct dog_feed_reader r = reader_of(&t);
                struct dog_err e = {0};
                OK(dog_ical_read(text[i], strlen(text[i]), NULL, &r, &e) == -EINVAL && e.text[0] && t.n == 0,
                   "\"%.30s\": %s", text[i], e.text);
        }
        struct taken t;
        struct dog_feed_reader r = reader_of(&t);
        struct dog_err e = {0};
        OK(dog_ical_read("BEGIN:VCALENDAR\r\n\0\r\n", 20, NULL, &r, &e) == -EINVAL, "a zero byte");
        OK(dog_ical_read("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", 32, "Mars/Olympus", &r, &e) == -EINVAL,
           "a zone that is not: %s", e.text);
}

/* 10^6 events: what is kept is bounded, and the rest is counted and not parsed. */
static void a_million_events_are_counted_and_not_kept(void)
{
        static const char one[] = EVENT("DTSTART:20261121T220000Z\r\nDURATION:PT1H\r\n");
        enum { EVENTS = 1000000 };
        size_t size = sizeof(one) - 1;
        char *text = malloc(17 + EVENTS * size + 15);
        NEED(text, "memory for the text");
        memcpy(text, "BEGIN:VCALENDAR\r\n", 17);
        for (size_t i = 0; i < EVENTS; i++)
                memcpy(text + 17 + i * size, one, size);
        memcpy(text + 17 + EVENTS * size, "END:VCALENDAR\r\n", 15);
        struct taken t;
        struct dog_feed_reader r = reader_of(&t);
        struct dog_err e = {0};
        int64_t from_ns = dog_clock_cpu_ns();
        OK(dog_ical_read(text, 17 + EVENTS * size + 15, NULL, &r, &e) == 0, "%s", e.text);
        double took_s = (double)(dog_clock_cpu_ns() - from_ns) / 1e9;
        OK(t.n == DOG_FEED_ENTRIES && r.dropped[DOG_FEED_DROP_MANY] == EVENTS - DOG_FEED_ENTRIES,
           "%u taken, %u too many", t.n, r.dropped[DOG_FEED_DROP_MANY]);
        OK(took_s < 10, "it takes %.2f s", took_s);
        fprintf(stderr, "# a million events, %zu MB: %.2f s\n", EVENTS * size >> 20, took_s);
        free(text);
}

/* ---- JSON ---- */

static int json_read(const char *text, const struct dog_feed_map *map, struct taken *t,
                     struct dog_feed_reader *r, struct dog_err *e)
{
        *r = reader_of(t);
        e->text[0] = 0;
        return dog_feed_json_read(text, strlen(text), map, r, e);
}

static void times_of_rfc_3339_are_read(void)
{
        static const struct {
                const char *text;
                int64_t at_s;
        } row[] = {{"2026-11-21T12:00:00Z", NOW},        {"2026-11-21T13:00:00+01:00", NOW},
                   {"2026-11-21T07:00:00-0500", NOW},    {"2026-11-21T12:00", NOW},
                   {"2026-11-21", NOW - 12 * HOUR},      {"2026-11-21T12:00:00.25Z", NOW},
                   {"2024-02-29T00:00:00Z", 1709164800}, {"1970-01-01T00:00:00Z", 0}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                int64_t at_s = -1;
                OK(dog_feed_time(row[i].text, &at_s) && at_s == row[i].at_s, "%s is %lld", row[i].text,
                   (long long)at_s);
        }
        static const char *const none[] = {"",
                                           "tomorrow",
                                           "2026-13-01",
                                           "2026-11-31T25:00",
                                           "2026-11-21T12",
                                           "9999-01-01",
                                           "2026-11-21T12:00:00Zx",
                                           "2026-11-21T12:00+99:00"};
        int64_t at_s;
        for (size_t i = 0; i < ARRAY_SIZE(none); i++)
                OK(!dog_feed_time(none[i], &at_s), "\"%s\" is no time", none[i]);
}

static void our_own_form_is_read(void)
{
        struct dog_feed_map map;
        struct taken t;
        struct dog_feed_reader r;
        struct dog_err e = {0};
        NEED(dog_feed_map_of(DOG_FEED_FORMAT_SUNDOG, DOG_FEED_RAIN, &map), "our own form tells of rain");
        OK(json_read("{\"entries\":[{\"start\":\"2026-11-21T22:00:00Z\",\"end\":\"2026-11-21T23:00:00Z\","
                     "\"where\":"
                     "\"p2\",\"words\":\"storm\",\"risk\":0.5},{\"start\":1795262400,\"end\":1795266000,"
                     "\"rain\":20},"
                     "{\"start\":1795262400,\"end\":1795266000,\"rain\":0.1},{\"start\":1795262400,\"end\":"
                     "1795266000},"
                     "{\"start\":1795262400,\"end\":1795266000,\"rain\":-5}]}",
                     &map, &t, &r, &e) == 0 &&
                   t.n == 3,
           "%u entries: fair weather is none. %s", t.n, e.text);
        OK(t.entry[0].severity > 0.49F && t.entry[0].severity < 0.51F &&
                   strcmp(t.entry[0].where, "p2") == 0 && strcmp(t.entry[0].words, "storm") == 0 &&
                   t.entry[0].start_s == NOW + 10 * HOUR,
           "a ready risk, with its place and words");
        OK(t.entry[1].severity > 0.999F && strcmp(t.entry[1].words, "rain, 20 mm in an hour") == 0, "\"%s\"",
           t.entry[1].words);
        OK(t.entry[2].severity > 0.999F, "who says no number counts in full");
        static const struct {
                const char *entry;
                enum dog_feed_drop why;
        } bad[] = {{"{\"start\":\"x\",\"end\":1}", DOG_FEED_DROP_TIME},
                   {"{\"start\":1e300,\"end\":1e301}", DOG_FEED_DROP_TIME},
                   {"{\"start\":-1e300,\"end\":1795266000}", DOG_FEED_DROP_TIME},
                   {"{\"start\":1795266000}", DOG_FEED_DROP_TIME},
                   {"{\"start\":1795262400,\"end\":1795266000,\"risk\":1.5}", DOG_FEED_DROP_NUMBER},
                   {"{\"start\":1795262400,\"end\":1795266000,\"risk\":-0.5}", DOG_FEED_DROP_NUMBER},
                   {"{\"start\":1795262400,\"end\":1795266000,\"rain\":\"much\"}", DOG_FEED_DROP_NUMBER},
                   {"{\"start\":1795262400,\"end\":1795266000,\"rain\":[1]}", DOG_FEED_DROP_NUMBER},
                   {"{\"start\":1,\"end\":2}", DOG_FEED_DROP_PAST},
                   {"{\"start\":7000000000,\"end\":7000000001}", DOG_FEED_DROP_FAR},
                   {"17", DOG_FEED_DROP_SHAPE},
                   {"null", DOG_FEED_DROP_SHAPE}};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char text[200];
                snprintf(text, sizeof(text), "{\"entries\":[%s]}", bad[i].entry);
                OK(json_read(text, &map, &t, &r, &e) == 0 && t.n == 0 && r.dropped[bad[i].why] == 1,
                   "%s is %s", bad[i].entry, dog_feed_drop_word(bad[i].why));
        }
}

/* Cut down from answers of the three services; the numbers are changed to have weather in them. G4. */
static void real_forecasts_are_read(void)
{
        static const char met[] =
                "{\"type\":\"Feature\",\"geometry\":{\"type\":\"Point\",\"coordinates\":[16.37,48.21,190]},"
                "\"properties\":"
                "{\"meta\":{\"updated_at\":\"2026-11-21T11:21:09Z\",\"units\":{\"precipitation_amount\":"
                "\"mm\"}},"
                "\"timeseries\":[{\"time\":\"2026-11-21T12:00:00Z\",\"data\":{\"instant\":{\"details\":{"
                "\"wind_speed\":4.1}},\"next_1_hours\":{\"summary\":{\"symbol_code\":\"heavyrain\"},"
                "\"details\":"
                "{\"precipitation_amount\":11.0}}}},{\"time\":\"2026-11-21T13:00:00Z\",\"data\":{\"instant\":"
                "{"
                "\"details\":{\"wind_speed\":31}},\"next_1_hours\":{\"details\":{\"precipitation_amount\":0."
                "0}}}},"
                "{\"time\":\"2026-11-21T18:00:00Z\",\"data\":{\"instant\":{\"details\":{\"wind_speed\":2.0}}}"
                "}]}}";
        static const char nws[] =
                "{\"properties\":{\"periods\":[{\"number\":1,\"startTime\":\"2026-11-21T08:00:00-05:00\","
                "\"endTime\":"
                "\"2026-11-21T09:00:00-05:00\",\"probabilityOfPrecipitation\":{\"unitCode\":\"wmoUnit:"
                "percent\","
                "\"value\":75},\"windSpeed\":\"50 mph\",\"shortForecast\":\"Heavy "
                "Rain\"},{\"number\":2,\"startTime\":"
                "\"2026-11-21T09:00:00-05:00\",\"endTime\":\"2026-11-21T10:00:00-05:00\","
                "\"probabilityOfPrecipitation\":"
                "{\"value\":null},\"windSpeed\":\"5 to 10 mph\",\"shortForecast\":\"Sunny\"}]}}";
        static const char meteo[] =
                "{\"latitude\":48.2,\"utc_offset_seconds\":0,\"hourly\":{\"time\":[\"2026-11-21T12:00\","
                "\"2026-11-21T13:00\",\"2026-11-21T14:00\"],\"precipitation\":[0.0,25.5,null],\"snowfall\":["
                "0.7,0,0],"
                "\"wind_speed_10m\":[9.0,120.0,10.0]}}";
        static const struct {
                const char *text;
                enum dog_feed_format format;
                enum dog_feed_measure measure;
                int64_t start_s, lasts_s;
                float severity;
                const char *words;
        } row[] = {
                {met, DOG_FEED_FORMAT_MET_NORWAY, DOG_FEED_RAIN, NOW, HOUR, 0.5F, "rain, 11 mm in an hour"},
                {met, DOG_FEED_FORMAT_MET_NORWAY, DOG_FEED_WIND, NOW + HOUR, 5 * HOUR, 1, "wind, 31 m/s"},
                {nws, DOG_FEED_FORMAT_NWS, DOG_FEED_RAIN, NOW + HOUR, HOUR, 0.5F, "Heavy Rain"},
                {nws, DOG_FEED_FORMAT_NWS, DOG_FEED_WIND, NOW + HOUR, HOUR, 0.5F, "Heavy Rain"},
                {meteo, DOG_FEED_FORMAT_OPEN_METEO, DOG_FEED_RAIN, NOW + HOUR, HOUR, 1,
                 "rain, 25.5 mm in an hour"},
                {meteo, DOG_FEED_FORMAT_OPEN_METEO, DOG_FEED_SNOW, NOW, HOUR, 0.05F,
                 "snow, 0.7 cm in an hour"},
                {meteo, DOG_FEED_FORMAT_OPEN_METEO, DOG_FEED_WIND, NOW + HOUR, HOUR, 1, "wind, 120 km/h"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_feed_map map;
                struct taken t;
                struct dog_feed_reader r;
                struct dog_err e = {0};
                NEED(dog_feed_map_of(row[i].format, row[i].measure, &map), "row %zu: this form tells it", i);
                OK(json_read(row[i].text, &map, &t, &r, &e) == 0 && t.n == 1, "row %zu: %u entries. %s", i,
                   t.n, e.text);
                OK(t.entry[0].start_s == row[i].start_s &&
                           t.entry[0].end_s == row[i].start_s + row[i].lasts_s,
                   "row %zu: off by %lld s", i, (long long)(t.entry[0].start_s - row[i].start_s));
                OK(NEAR(t.entry[0].severity, row[i].severity, 1e-3F) &&
                           strcmp(t.entry[0].words, row[i].words) == 0,
                   "row %zu: %.3f, \"%s\"", i, (double)t.entry[0].severity, t.entry[0].words);
        }
        struct dog_feed_map map;
        OK(!dog_feed_map_of(DOG_FEED_FORMAT_MET_NORWAY, DOG_FEED_SNOW, &map), "compact says no snow");
}

static void json_that_is_none_is_refused_with_a_sentence(void)
{
        struct dog_feed_map map;
        struct taken t;
        struct dog_feed_reader r;
        struct dog_err e;
        dog_feed_map_of(DOG_FEED_FORMAT_SUNDOG, DOG_FEED_RAIN, &map);
        char deep[4000];
        memset(deep, '[', sizeof(deep) - 1);
        deep[sizeof(deep) - 1] = 0;
        const char *const text[] = {"",
                                    "{",
                                    "[]",
                                    "{\"entries\":1}",
                                    "{\"entries\":[\"\xff\xfe\"]}",
                                    deep,
                                    "{\"entries\":[{\"start\":1e999,\"end\":2}]}",
                                    "<html>"};
        for (size_t i = 0; i < ARRAY_SIZE(text); i++)
                OK(json_read(text[i], &map, &t, &r, &e) == -EINVAL && e.text[0] && t.n == 0, "\"%.20s\": %s",
                   text[i], e.text);
        dog_feed_map_of(DOG_FEED_FORMAT_OPEN_METEO, DOG_FEED_RAIN, &map);
        OK(json_read("{\"hourly\":{\"time\":[1795262400],\"precipitation\":[1,2]}}", &map, &t, &r, &e) ==
                   -EINVAL,
           "columns of different lengths: %s", e.text);
}

static void words_are_printable_whatever_a_feed_says(void)
{
        static const struct {
                const char *text, *want;
        } row[] = {{"caf\xc3\xa9", "caf\xc3\xa9"},
                   {"a\x1b[31mb", "a [31mb"},
                   {"\xff\xc3", "??"},
                   {"\xc2\x85x", " x"},
                   {"\xed\xa0\x80", "???"},
                   {"\xe2\x80\xa8", " "},
                   {"\xf0\x9f\x8c\xa7", "\xf0\x9f\x8c\xa7"},
                   {"0123456789abcdef", "0123456789abcde"},
                   {"0123456789abcd\xc3\xa9", "0123456789abcd"}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                char to[16];
                dog_feed_words(to, sizeof(to), row[i].text);
                OK(strcmp(to, row[i].want) == 0, "row %zu: \"%s\"", i, to);
        }
}

/* ---- windows ---- */

static void the_table_says_what_looking_at_every_window_says(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 20261121);
        for (int round = 0; round < 200; round++) {
                struct dog_feed_window w[60];
                struct dog_feed_windows t;
                size_t n = dog_rng_below(&rng, ARRAY_SIZE(w) + 1);
                for (size_t i = 0; i < n; i++) {
                        w[i].start_s = (int64_t)dog_rng_below(&rng, 100);
                        w[i].end_s = w[i].start_s + 1 + (int64_t)dog_rng_below(&rng, 20);
                        w[i].log_odds = (float)(1 + dog_rng_below(&rng, 5));
                        w[i].entry = (uint32_t)i;
                }
                NEED(dog_feed_windows_make(&t, w, n) == 0, "a table of %zu", n);
                for (int64_t from = -2; from < 125; from++) {
                        int64_t to = from + (int64_t)dog_rng_below(&rng, 10);
                        float want = 0;
                        for (size_t i = 0; i < n; i++)
                                if (w[i].start_s <= to && w[i].end_s > from)
                                        want = fmaxf(want, w[i].log_odds);
                        const struct dog_feed_window *got = dog_feed_windows_worst(&t, from, to);
                        OK(NEAR(got ? got->log_odds : 0, want, 1e-6F),
                           "round %d, %lld to %lld: %.0f, not %.0f", round, (long long)from, (long long)to,
                           got ? (double)got->log_odds : 0, (double)want);
                        OK(!got || (got->start_s <= to && got->end_s > from), "it is one that is on");
                }
                dog_feed_windows_free(&t);
        }
        struct dog_feed_windows t;
        const struct dog_feed_window bad[] = {
                {5, 5, 1, 0}, {5, 4, 1, 0}, {1, 2, 0, 0}, {1, 2, -1, 0}, {1, 2, NAN, 0}};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                OK(dog_feed_windows_make(&t, &bad[i], 1) == -EINVAL && !dog_feed_windows_worst(&t, 0, 10),
                   "window %zu is refused", i);
}

/* ---- caution ---- */

static void caution_never_lowers_a_risk_and_is_bounded(void)
{
        struct dog_rng rng;
        dog_rng_init(&rng, 7);
        for (int i = 0; i < 100000; i++) {
                float p = (float)dog_rng_unit(&rng);
                p = i % 3 == 0 ? p * p * p * p : i % 3 == 1 ? 1 - p * p * p : p;
                float by = (float)(dog_rng_normal(&rng) * 20);
                float raised = dog_caution_raise(p, by);
                OK(raised >= p && raised <= 1, "%g by %g is %g", (double)p, (double)by, (double)raised);
                OK(by > 0 || raised <= p, "what adds nothing changes nothing");
                float more = dog_caution_raise(p, by + 1);
                OK(more >= raised, "more caution is not less risk");
        }
        OK(dog_caution_raise(0.001F, 8) > 0.7F && dog_caution_raise(0.001F, 8) < 0.8F,
           "1 in 1000 becomes 3 in 4");
        OK(dog_caution_raise(0, INFINITY) < 0.96F, "nobody can say that it is certain");
        OK(dog_caution_raise(1, 5) >= 1 && isnan(dog_caution_raise(NAN, 5)),
           "what is certain or unknown stays so");
        OK(dog_caution_raise(0.3F, NAN) <= 0.3F && dog_caution_raise(0.3F, -INFINITY) >= 0.3F,
           "no number, no change");
}

static struct dog_group *group_believing(const float p[], unsigned n)
{
        struct dog_group *g = twin_group_new("web", n, NULL, 0);
        if (!g)
                abort();
        for (unsigned i = 0; i < n; i++) {
                struct dog_member *m = &g->member[i];
                m->is_usable = m->is_up = true;
                for (int h = 0; h < DOG_HORIZONS; h++)
                        m->belief.p_breach[h] = p[i];
        }
        return g;
}

static struct dog_caution caution_of(float log_odds)
{
        struct dog_caution c = {.log_odds = {log_odds, log_odds, log_odds}};
        snprintf(c.words, sizeof(c.words), "work announced");
        return c;
}

static void a_measured_breach_weighs_more_than_an_announced_one(void)
{
        const float p[] = {0.01F, 0.9F};
        struct dog_group *g = group_believing(p, 2);
        g->member[1].belief.is_bad = true;
        struct dog_caution c[] = {caution_of(10), {{0}, ""}};
        dog_caution_apply(g, c);
        OK(g->member[0].belief.p_breach[0] > 0.5F, "it is raised");
        OK(g->member[0].belief.p_breach[0] < g->member[1].belief.p_breach[0],
           "and not above what breaks its promise");
        OK(g->member[0].belief.caution > 9 && strcmp(g->member[0].belief.announced, "work announced") == 0,
           "and says why");
        OK(g->member[0].is_usable && g->member[1].is_usable, "nobody is usable or unusable by it");
        g->member[0].belief.p_breach[1] = NAN;
        dog_caution_apply(g, c);
        OK(isnan(g->member[0].belief.p_breach[1]), "what nobody knows is not known by an announcement");
        dog_group_free(g);
}

static void doom_for_all_of_a_vip_takes_nobody_out_but_what_is_spare(void)
{
        for (unsigned n = 1; n <= 8; n++) {
                float p[8];
                struct dog_caution c[8];
                for (unsigned i = 0; i < n; i++) {
                        p[i] = 0.01F;
                        c[i] = caution_of(10);
                }
                struct dog_group *g = group_believing(p, n);
                g->policy.spread = true;
                dog_caution_apply(g, c);
                unsigned well = 0;
                for (unsigned i = 0; i < n; i++)
                        well += (double)g->member[i].belief.p_breach[0] < g->policy.avoid_risk;
                OK(well >= 1 && well >= g->policy.panic_share * n, "of %u, %u are still served", n, well);
                dog_group_free(g);
        }
        /* One is measured ill: announcements may not hide that by making everybody ill. */
        const float p[] = {0.01F, 0.01F, 0.95F};
        struct dog_group *g = group_believing(p, 3);
        g->policy.spread = true;
        g->member[2].belief.is_bad = true;
        struct dog_caution c[] = {caution_of(8), caution_of(8), {{0}, ""}};
        dog_caution_apply(g, c);
        OK((double)g->member[0].belief.p_breach[0] < g->policy.avoid_risk &&
                   (double)g->member[1].belief.p_breach[0] < g->policy.avoid_risk,
           "two of three are well, which is what is needed to trust health");
        OK(g->member[2].belief.p_breach[0] > 0.94F, "and the ill one is as ill as before");
        dog_group_free(g);
}

/* ---- the timetable, and what comes ---- */

static const char *const names[] = {"p1", "p2"};
static const struct dog_feed_settings one_feed = {.name = "noc",
                                                  .kind = DOG_FEED_CALENDAR,
                                                  .url = "http://192.0.2.1/",
                                                  .interval_ns = 60 * DOG_S,
                                                  .stale_ns = 300 * DOG_S,
                                                  .timeout_ns = 10 * DOG_S,
                                                  .lead_ns = 60 * DOG_S,
                                                  .log_odds = 8,
                                                  .affects = names,
                                                  .affected = 2};

struct told {
        unsigned n[4];
        char text[600];
};

static void tell(void *user, unsigned feed, enum dog_feed_news what, const char *text)
{
        struct told *t = user;
        (void)feed;
        t->n[what]++;
        snprintf(t->text, sizeof(t->text), "%s", text);
}

static struct dog_feed_packet end_of(const struct dog_feed_request *q, enum dog_feed_fault fault)
{
        struct dog_feed_packet p = {.feed = q->feed, .number = q->number, .message = DOG_FEED_MESSAGE_END};
        p.end.fault = fault;
        return p;
}

static void say(struct dog_feeds *f, const struct dog_feed_request *q, int64_t start_s, int64_t end_s,
                float severity, uint32_t about, int64_t now_ns)
{
        struct dog_feed_packet p = {
                .feed = q->feed, .number = q->number, .message = DOG_FEED_MESSAGE_ENTRIES, .n = 1};
        p.entry[0] = (struct dog_feed_packed){.start_s = start_s,
                                              .end_s = end_s,
                                              .severity = severity,
                                              .names = about,
                                              .words = "new router"};
        dog_feeds_take(f, &p, sizeof(p), now_ns);
}

static void a_feed_is_fetched_on_a_timetable_and_less_often_when_it_fails(void)
{
        struct dog_feeds *f;
        struct dog_feed_request q;
        struct told told = {0};
        struct dog_err e;
        int64_t due_ns, now_ns = 1000 * DOG_S;
        NEED(dog_feeds_new(&f, &one_feed, 1, 1, tell, &told, &e) == 0, "feeds");
        OK(dog_feeds_next(f, now_ns, &q, &due_ns) && !q.etag[0], "the first at once");
        OK(!dog_feeds_next(f, now_ns, &q, &due_ns), "and not twice");
        struct dog_feed_packet end = end_of(&q, DOG_FEED_FINE);
        snprintf(end.end.etag, sizeof(end.end.etag), "\"v1\"");
        dog_feeds_take(f, &end, sizeof(end), now_ns);
        OK(told.n[DOG_FEED_READ] == 1, "\"%s\"", told.text);
        OK(!dog_feeds_next(f, now_ns, &q, &due_ns) && due_ns >= now_ns + 54 * DOG_S &&
                   due_ns <= now_ns + 66 * DOG_S,
           "the next in a minute, give or take a tenth: %.1f s", (double)(due_ns - now_ns) / 1e9);
        int64_t pause_ns = 0;
        for (int i = 0; i < 12; i++) {
                now_ns = due_ns;
                NEED(dog_feeds_next(f, now_ns, &q, &due_ns), "fetch %d", i);
                OK(strcmp(q.etag, "\"v1\"") == 0, "the version that we have is told");
                end = end_of(&q, DOG_FEED_FAULT_CONNECT);
                dog_feeds_take(f, &end, sizeof(end), now_ns);
                dog_feeds_next(f, now_ns, &q, &due_ns);
                struct dog_feed_view v;
                dog_feeds_view(f, 0, now_ns, NOW, &v);
                pause_ns = v.due_ns - now_ns;
                due_ns = v.due_ns;
                OK(i > 0 || (pause_ns > 26 * DOG_S && pause_ns < 34 * DOG_S), "the first pause is 30 s: %.1f",
                   (double)pause_ns / 1e9);
        }
        OK(pause_ns > 430 * DOG_S && pause_ns < 530 * DOG_S, "at last eight intervals: %.0f s",
           (double)pause_ns / 1e9);
        OK(told.n[DOG_FEED_FAILED] == 1, "a failure is told once, not %u times", told.n[DOG_FEED_FAILED]);
        OK(told.n[DOG_FEED_STALE] == 1, "that it is stale is told once");
        dog_feeds_free(f);
}

static void an_announcement_counts_from_its_lead_to_its_end_and_goes_stale(void)
{
        struct dog_feeds *f;
        struct dog_feed_request q;
        struct told told = {0};
        struct dog_err e;
        int64_t due_ns, now_ns = 1000 * DOG_S;
        static const int64_t horizon_ns[] = {DOG_S, 5 * DOG_S, 30 * DOG_S};
        struct dog_caution c;
        NEED(dog_feeds_new(&f, &one_feed, 1, 1, tell, &told, &e) == 0, "feeds");
        uint32_t p1[DOG_FEEDS_MAX] = {0}, p2[DOG_FEEDS_MAX] = {0}, other[DOG_FEEDS_MAX] = {0};
        p1[0] = dog_feeds_names(f, 0, &names[0], 1);
        p2[0] = dog_feeds_names(f, 0, &names[1], 1);
        OK(p1[0] == 1 && p2[0] == 2, "names are bits");
        dog_feeds_next(f, now_ns, &q, &due_ns);
        say(f, &q, NOW + HOUR, NOW + 2 * HOUR, 1, 2, now_ns);
        OK(!dog_feeds_caution(f, p2, NOW + HOUR, horizon_ns, &c), "half an answer says nothing yet");
        struct dog_feed_packet end = end_of(&q, DOG_FEED_FINE);
        dog_feeds_take(f, &end, sizeof(end), now_ns);
        static const struct {
                int64_t at_s;
                float near, far;
        } row[] = {{HOUR - 100, 0, 0}, {HOUR - 80, 0, 8},    {HOUR - 62, 0, 8}, {HOUR - 61, 8, 8},
                   {HOUR, 8, 8},       {2 * HOUR - 1, 8, 8}, {2 * HOUR, 0, 0}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                bool is_any = dog_feeds_caution(f, p2, NOW + row[i].at_s, horizon_ns, &c);
                OK(NEAR(c.log_odds[0], row[i].near, 1e-6F) && NEAR(c.log_odds[2], row[i].far, 1e-6F) &&
                           is_any == (row[i].far > 0),
                   "at %+lld s: %.0f near, %.0f far", (long long)row[i].at_s - HOUR, (double)c.log_odds[0],
                   (double)c.log_odds[2]);
        }
        dog_feeds_caution(f, p2, NOW + HOUR, horizon_ns, &c);
        OK(strstr(c.words, "new router announced") && strstr(c.words, "(noc)"), "\"%s\"", c.words);
        OK(!dog_feeds_caution(f, p1, NOW + HOUR, horizon_ns, &c) &&
                   !dog_feeds_caution(f, other, NOW + HOUR, horizon_ns, &c),
           "it is about p2 alone");
        /* Nothing comes any more. */
        now_ns += 301 * DOG_S;
        dog_feeds_next(f, now_ns, &q, &due_ns);
        OK(told.n[DOG_FEED_STALE] == 1 && !dog_feeds_caution(f, p2, NOW + HOUR, horizon_ns, &c),
           "stale: \"%s\"", told.text);
        /* It comes back and says "unchanged". */
        end = end_of(&q, DOG_FEED_FINE);
        end.end.is_unchanged = 1;
        dog_feeds_take(f, &end, sizeof(end), now_ns);
        OK(dog_feeds_caution(f, p2, NOW + HOUR, horizon_ns, &c), "and counts again");
        dog_feeds_lost(f, now_ns);
        OK(!dog_feeds_next(f, now_ns + 3600 * DOG_S, &q, &due_ns), "without the process nothing is fetched");
        OK(!dog_feeds_caution(f, p2, NOW + HOUR, horizon_ns, &c), "and it goes stale");
        dog_feeds_found(f);
        OK(dog_feeds_next(f, now_ns + 3600 * DOG_S, &q, &due_ns), "with another one it is");
        dog_feeds_free(f);
}

static void a_feed_that_adds_nothing_is_shown_and_changes_nothing(void)
{
        struct dog_feeds *f;
        struct dog_feed_request q;
        struct told told = {0};
        struct dog_err e;
        struct dog_caution c;
        struct dog_feed_view v;
        int64_t due_ns, now_ns = 1000 * DOG_S;
        static const int64_t horizon_ns[] = {DOG_S, 5 * DOG_S, 30 * DOG_S};
        struct dog_feed_settings quiet = one_feed;
        uint32_t p1[DOG_FEEDS_MAX] = {1};
        quiet.log_odds = 0; /* "adds = 0", or "times = 1" */
        NEED(dog_feeds_new(&f, &quiet, 1, 1, tell, &told, &e) == 0, "feeds");
        dog_feeds_next(f, now_ns, &q, &due_ns);
        say(f, &q, NOW - HOUR, NOW + HOUR, 1, 1, now_ns);
        struct dog_feed_packet end = end_of(&q, DOG_FEED_FINE);
        dog_feeds_take(f, &end, sizeof(end), now_ns);
        dog_feeds_view(f, 0, now_ns, NOW, &v);
        OK(v.fault == DOG_FEED_FINE && v.failures == 0 && told.n[DOG_FEED_READ] == 1, "it is read: %s",
           told.text);
        OK(v.entries == 1 && strcmp(v.next.words, "new router") == 0, "what it says is shown: %s",
           v.next.words);
        OK(!dog_feeds_caution(f, p1, NOW, horizon_ns, &c) && c.log_odds[2] <= 0, "and adds nothing");
        dog_feeds_free(f);
}

static void messages_that_cannot_be_are_dropped(void)
{
        struct dog_feeds *f;
        struct dog_feed_request q;
        struct dog_err e;
        int64_t due_ns, now_ns = 1000 * DOG_S;
        static const int64_t horizon_ns[] = {DOG_S, 5 * DOG_S, 30 * DOG_S};
        struct dog_caution c;
        uint32_t all[DOG_FEEDS_MAX] = {3};
        NEED(dog_feeds_new(&f, &one_feed, 1, 1, NULL, NULL, &e) == 0, "feeds");
        dog_feeds_next(f, now_ns, &q, &due_ns);
        struct dog_feed_request old = q;
        old.number--;
        say(f, &old, NOW, NOW + HOUR, 1, 3, now_ns);
        say(f, &q, NOW + HOUR, NOW, 1, 3, now_ns);
        say(f, &q, NOW, NOW + HOUR, -1, 3, now_ns);
        say(f, &q, NOW, NOW + HOUR, NAN, 3, now_ns);
        say(f, &q, NOW, NOW + HOUR, 1e30F, 3, now_ns);
        say(f, &q, NOW, NOW + HOUR, 1, 0, now_ns);
        say(f, &q, NOW, NOW + HOUR, 1, 4, now_ns);
        say(f, &q, INT64_MIN, INT64_MAX, 1, 3, now_ns);
        struct dog_feed_packet p = {.feed = 9, .number = q.number};
        dog_feeds_take(f, &p, sizeof(p), now_ns);
        dog_feeds_take(f, &p, 3, now_ns);
        p = (struct dog_feed_packet){.feed = 0, .number = q.number, .n = UINT32_MAX};
        memset(p.entry, 0xff, sizeof(p.entry));
        dog_feeds_take(f, &p, sizeof(p), now_ns);
        struct dog_feed_packet end = end_of(&q, DOG_FEED_FINE);
        dog_feeds_take(f, &end, sizeof(end), now_ns);
        OK(!dog_feeds_caution(f, all, NOW, horizon_ns, &c), "none of them says anything");
        /* More than are kept. */
        now_ns += 100 * DOG_S;
        NEED(dog_feeds_next(f, now_ns, &q, &due_ns), "the next fetch");
        for (int i = 0; i < DOG_FEED_ENTRIES + 100; i++)
                say(f, &q, NOW + i, NOW + i + 10, 1, 3, now_ns);
        end = end_of(&q, DOG_FEED_FINE);
        dog_feeds_take(f, &end, sizeof(end), now_ns);
        struct dog_feed_view v;
        dog_feeds_view(f, 0, now_ns, NOW, &v);
        OK(v.entries == DOG_FEED_ENTRIES, "%u are kept", v.entries);
        dog_feeds_free(f);
}

static void feeds_add_up_to_a_limit(void)
{
        struct dog_feed_settings three[] = {one_feed, one_feed, one_feed};
        struct dog_feeds *f;
        struct dog_feed_request q;
        struct dog_err e;
        int64_t due_ns, now_ns = 1000 * DOG_S;
        static const int64_t horizon_ns[] = {DOG_S, 5 * DOG_S, 30 * DOG_S};
        struct dog_caution c;
        uint32_t all[DOG_FEEDS_MAX] = {3, 3, 3};
        three[1].log_odds = 1;
        three[2].log_odds = 1;
        NEED(dog_feeds_new(&f, three, 3, 1, NULL, NULL, &e) == 0, "feeds");
        for (int i = 0; i < 3; i++) {
                NEED(dog_feeds_next(f, now_ns, &q, &due_ns), "each is fetched");
                say(f, &q, NOW, NOW + HOUR, 1, 3, now_ns);
                struct dog_feed_packet end = end_of(&q, DOG_FEED_FINE);
                dog_feeds_take(f, &end, sizeof(end), now_ns);
                OK(dog_feeds_caution(f, all, NOW, horizon_ns, &c) &&
                           NEAR(c.log_odds[0], 8.0F + (float)i, 1e-6F),
                   "%d feeds: %.1f", i + 1, (double)c.log_odds[0]);
        }
        OK(strstr(c.words, "and 2 more"), "\"%s\"", c.words);
        three[1].log_odds = three[2].log_odds = 9;
        for (int i = 0; i < 3; i++) {
                now_ns += 100 * DOG_S;
                while (dog_feeds_next(f, now_ns, &q, &due_ns)) {
                        say(f, &q, NOW, NOW + HOUR, 1, 3, now_ns);
                        struct dog_feed_packet end = end_of(&q, DOG_FEED_FINE);
                        dog_feeds_take(f, &end, sizeof(end), now_ns);
                }
        }
        OK(dog_feeds_caution(f, all, NOW, horizon_ns, &c) && NEAR(c.log_odds[0], DOG_CAUTION_MOST, 1e-6F),
           "no more than %.0f: %.1f", (double)DOG_CAUTION_MOST, (double)c.log_odds[0]);
        dog_feeds_free(f);
}

static void an_entry_is_about_what_it_names(void)
{
        static const struct {
                const char *where, *words;
                enum dog_feed_kind kind;
                const char *match;
                uint32_t want;
        } row[] = {{"", "", DOG_FEED_CALENDAR, NULL, 3},
                   {"", "Maintenance of P2.", DOG_FEED_CALENDAR, NULL, 2},
                   {"", "p20 and sp2", DOG_FEED_CALENDAR, NULL, 3},
                   {"p1, p2", "", DOG_FEED_CALENDAR, NULL, 3},
                   {"Frankfurt", "work", DOG_FEED_CALENDAR, NULL, 3},
                   {"Frankfurt", "work", DOG_FEED_EVENTS, NULL, 0},
                   {"Frankfurt", "work", DOG_FEED_EVENTS, "frank", 3},
                   {"Vienna", "work", DOG_FEED_CALENDAR, "frank", 0},
                   {"p1", "rain", DOG_FEED_WEATHER, NULL, 1}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_feed_settings s = one_feed;
                struct dog_feed_entry e = {.start_s = 0};
                s.kind = row[i].kind;
                s.match = row[i].match;
                snprintf(e.where, sizeof(e.where), "%s", row[i].where);
                snprintf(e.words, sizeof(e.words), "%s", row[i].words);
                OK(dog_feed_about(&s, &e) == row[i].want, "\"%s\" at \"%s\": %x", row[i].words, row[i].where,
                   dog_feed_about(&s, &e));
        }
}

static int make_and_ask(void *user, struct dog_err *e)
{
        static const struct dog_feed_window w[] = {{1, 5, 1, 0}, {2, 9, 2, 1}};
        struct dog_feed_windows t;
        struct dog_feeds *f = NULL;
        (void)user;
        int rc = dog_feed_windows_make(&t, w, 2);
        if (rc < 0)
                return dog_err_set(e, rc, "no memory for the windows");
        dog_feed_windows_free(&t);
        rc = dog_feeds_new(&f, &one_feed, 1, 1, NULL, NULL, e);
        dog_feeds_free(f);
        return rc;
}

/* A table that cannot be made is a failed reading: what was said before is gone, and that is told. */
static int read_once(void *user, struct dog_err *e)
{
        struct dog_feeds *f = user;
        struct dog_feed_request q;
        int64_t due_ns;
        static int64_t now_ns = 1000 * DOG_S;
        now_ns += 3600 * DOG_S;
        if (!dog_feeds_next(f, now_ns, &q, &due_ns))
                return dog_err_set(e, -EIO, "nothing is due");
        say(f, &q, NOW, NOW + HOUR, 1, 1, now_ns);
        say(f, &q, NOW, NOW + HOUR, 1, 3, now_ns);
        struct dog_feed_packet end = end_of(&q, DOG_FEED_FINE);
        dog_feeds_take(f, &end, sizeof(end), now_ns);
        struct dog_feed_view v;
        dog_feeds_view(f, 0, now_ns, NOW, &v);
        return v.fault == DOG_FEED_FINE           ? 0
               : v.fault == DOG_FEED_FAULT_MEMORY ? dog_err_set(e, -ENOMEM, "%s", v.trouble)
                                                  : dog_err_set(e, -EIO, "%s", v.trouble);
}

static void short_memory_is_a_sentence(void)
{
        struct dog_feeds *f;
        struct dog_err e;
        OK(alloc_fail_each(make_and_ask, NULL) >= 7, "each allocation survived");
        NEED(dog_feeds_new(&f, &one_feed, 1, 1, NULL, NULL, &e) == 0, "feeds");
        OK(alloc_fail_each(read_once, f) >= 9, "each allocation survived");
        dog_feeds_free(f);
}

/* What the process that fetches may try, in a child that says by its status what went wrong. */
static int try_under_the_filter(void)
{
        struct dog_err e;
        char byte;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || dog_seccomp_enter(DOG_SECCOMP_FETCH, &e) < 0)
                return 1;
        int fd = open("/etc/hostname", O_RDONLY);
        if (fd < 0 || read(fd, &byte, 1) != 1)
                return 2;
        if (open("/tmp", O_RDWR | O_TMPFILE, 0600) >= 0 || errno != EPERM)
                return 3;
        if (open("/tmp/sundog-test-of-the-filter", O_WRONLY | O_CREAT, 0600) >= 0 || errno != EPERM)
                return 4;
        if (unlink("/etc/hostname") == 0 || errno != EPERM)
                return 5;
        if (execl("/bin/true", "true", NULL) == 0 || errno != EPERM)
                return 6;
        if (syscall(SYS_bpf, 0, NULL, 0) == 0 || errno != EPERM)
                return 7;
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (s < 0)
                return 8;
        if (listen(s, 1) == 0 || errno != EPERM)
                return 9;
        if (socket(AF_PACKET, SOCK_RAW, 0) >= 0 || errno != EPERM)
                return 10;
        if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
            MAP_FAILED)
                return 11;
        if (syscall(SYS_unshare, CLONE_NEWUSER) == 0 || syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0) == 0)
                return 12;
        pid_t child = fork();
        if (child == 0)
                _exit(0);
        int status = 1;
        return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : 13;
}

static void the_process_that_fetches_may_read_connect_and_fork_and_nothing_else(void)
{
        int status = -1;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0)
                _exit(try_under_the_filter());
        NEED(child > 0 && waitpid(child, &status, 0) == child, "a child");
        OK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "number %d was not as it should be",
           WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

/* ---- the configuration ---- */

#define SITE                                                                                                 \
        "site: a\nprofiles: [{name: v}]\ninstances:\n  - {name: i, address: 10.0.0.1, device: e0, fates: "   \
        "rack}\n"                                                                                            \
        "  - {name: k, address: 10.0.0.2, device: e0}\nfront: {devices: [e0]}\ntunnels:\n  - {name: t, "     \
        "peer: b, "                                                                                          \
        "address: 10.99.0.1/30, key_file: /k, paths: [{name: p1, device: eth0, local: 192.0.2.1, remote: "   \
        "198.51.100.1}, {name: p2, device: eth1, local: 192.0.2.9, remote: 198.51.100.9}]}\nfeeds:\n"

static struct dog_config *config_of(const char *feed, struct dog_err *e)
{
        char text[2000];
        struct dog_config *c = NULL;
        e->text[0] = 0;
        snprintf(text, sizeof(text), SITE "  - {name: f, %s}\n", feed);
        dog_config_parse(text, strlen(text), "x.yaml", &c, e);
        return c;
}

static void a_wrong_feed_gets_one_sentence_with_its_place(void)
{
        static const struct {
                const char *feed, *want;
        } row[] = {
                {"kind: calendar, affects: p1", "needs one source: \"url\" or \"file\", not neither"},
                {"kind: calendar, affects: p1, file: /x, url: 'http://h/'", "not both"},
                {"kind: calendar, affects: p9, file: /x", "no path, tunnel, instance or fate \"p9\""},
                {"kind: calendar, affects: [p1, p1], file: /x", "names \"p1\" twice"},
                {"kind: calendar, file: /x", "has no \"affects\""},
                {"kind: diary, affects: p1, file: /x", "none of calendar, weather, events"},
                {"kind: calendar, affects: p1, file: x", "not an absolute file name"},
                {"kind: calendar, affects: p1, url: 'ftp://h/'", "begins with https:// or http://"},
                {"kind: calendar, affects: p1, url: 'https:///x'", "has no host"},
                {"kind: calendar, affects: p1, url: 'https://u:p@h/x'", "has a password in it"},
                {"kind: calendar, affects: p1, file: /x, interval: 1h, stale_after: 1min",
                 "stale before it is fetched"},
                {"kind: calendar, affects: p1, file: /x, adds: 3, times: 9", "say the same thing"},
                {"kind: calendar, affects: p1, file: /x, adds: 11", "the most is 10"},
                {"kind: calendar, affects: p1, file: /x, adds: -1", "the least is 0"},
                {"kind: calendar, affects: p1, file: /x, max_bytes: 1GB", "the most is 64MiB"},
                {"kind: calendar, affects: p1, file: /x, interval: 10ms", "the least is 1s"},
                {"kind: calendar, affects: p1, file: /x, redirects: 11", "the most is 10"},
                {"kind: calendar, affects: p1, file: /x, measure: rain", "are for weather and events"},
                {"kind: calendar, affects: p1, file: /x, map: {value: a}", "are for weather and events"},
                {"kind: weather, affects: p1, file: /x, format: met-norway, measure: snow",
                 "does not tell snow"},
                {"kind: events, affects: p1, file: /x, format: nws", "does not tell attendance"},
                {"kind: weather, affects: p1, file: /x, from: 5, full: 4",
                 "\"full\" must be more than \"from\""},
                {"kind: weather, affects: p1, file: /x, map: {vlaue: a}", "did you mean \"value\""},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_err e;
                struct dog_config *c = config_of(row[i].feed, &e);
                OK(!c && strncmp(e.text, "x.yaml:", 7) == 0 && strstr(e.text, row[i].want),
                   "%s: \"%s\" is not \"%s\"", row[i].feed, e.text, row[i].want);
                dog_config_free(c);
        }
}

static void a_feed_reads_back_as_it_was_printed(void)
{
        static const char *const feed[] = {
                "kind: calendar, affects: [p1, t, i, rack], url: 'https://noc.example/a.ics?x=1&y=2'",
                ("kind: weather, affects: p1, file: /x, format: nws, measure: wind, from: 10, full: 20, "
                 "times: 5, "
                 "contact: 'me@example.org', match: \"storm: 'x'\", timezone: Europe/Vienna"),
                "kind: events, affects: p1, file: /x, adds: 0.5, map: {entries: a.b, start: c, value: d}"};
        for (size_t i = 0; i < ARRAY_SIZE(feed); i++) {
                struct dog_err e;
                char *one = NULL, *two = NULL;
                size_t one_size, two_size;
                struct dog_config *c = config_of(feed[i], &e);
                NEED(c, "%s", e.text);
                FILE *to = open_memstream(&one, &one_size);
                NEED(to && dog_config_write_effective(c, to) == 0, "it prints");
                fclose(to);
                struct dog_config *again = NULL;
                NEED(dog_config_parse(one, one_size, "y", &again, &e) == 0, "%s\n%s", e.text, one);
                to = open_memstream(&two, &two_size);
                NEED(to && dog_config_write_effective(again, to) == 0, "it prints again");
                fclose(to);
                OK(one_size == two_size && memcmp(one, two, one_size) == 0, "the same: %s", two);
                free(one);
                free(two);
                dog_config_free(c);
                dog_config_free(again);
        }
}

static void the_check_knows_what_the_formats_tell(void)
{
        static const char *const format[] = {"sundog", "met-norway", "nws", "open-meteo"};
        static const char *const measure[] = {"rain", "snow", "wind", "attendance"};
        for (int f = 0; f < DOG_FEED_FORMAT_COUNT; f++)
                for (int m = 0; m < DOG_FEED_MEASURE_COUNT; m++) {
                        char text[200];
                        struct dog_err e;
                        struct dog_feed_map map;
                        snprintf(text, sizeof(text),
                                 "kind: weather, affects: p1, file: /x, format: %s, measure: %s", format[f],
                                 measure[m]);
                        struct dog_config *c = config_of(text, &e);
                        bool is_told =
                                dog_feed_map_of((enum dog_feed_format)f, (enum dog_feed_measure)m, &map);
                        OK((c != NULL) == is_told, "%s and %s: %s", format[f], measure[m], e.text);
                        dog_config_free(c);
                }
}

int main(void)
{
        return CHECK_RUN(
                TEST(times_are_read_in_every_form_that_rfc_5545_has), TEST(repetitions_follow_the_rule),
                TEST(a_listed_period_lasts_as_long_as_it_says),
                TEST(what_is_not_understood_of_a_series_is_counted_and_the_rest_counts),
                TEST(what_is_left_out_is_counted), TEST(a_calendar_that_is_none_is_refused_with_a_sentence),
                TEST(a_million_events_are_counted_and_not_kept), TEST(times_of_rfc_3339_are_read),
                TEST(our_own_form_is_read), TEST(real_forecasts_are_read),
                TEST(json_that_is_none_is_refused_with_a_sentence),
                TEST(words_are_printable_whatever_a_feed_says),
                TEST(the_table_says_what_looking_at_every_window_says),
                TEST(caution_never_lowers_a_risk_and_is_bounded),
                TEST(a_measured_breach_weighs_more_than_an_announced_one),
                TEST(doom_for_all_of_a_vip_takes_nobody_out_but_what_is_spare),
                TEST(a_feed_is_fetched_on_a_timetable_and_less_often_when_it_fails),
                TEST(an_announcement_counts_from_its_lead_to_its_end_and_goes_stale),
                TEST(a_feed_that_adds_nothing_is_shown_and_changes_nothing),
                TEST(messages_that_cannot_be_are_dropped), TEST(feeds_add_up_to_a_limit),
                TEST(an_entry_is_about_what_it_names), TEST(short_memory_is_a_sentence),
                TEST(the_process_that_fetches_may_read_connect_and_fork_and_nothing_else),
                TEST(a_wrong_feed_gets_one_sentence_with_its_place),
                TEST(a_feed_reads_back_as_it_was_printed), TEST(the_check_knows_what_the_formats_tell));
}
