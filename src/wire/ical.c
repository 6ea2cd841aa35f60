#include "wire/ical.h"

#include <errno.h>
#include <libical/ical.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
        ICAL_DEPTH = 4,            /* VCALENDAR, VEVENT, VALARM, and one that we do not know */
        ICAL_COMPONENT = 64 << 10, /* octets of one component */
        ICAL_ZONES = 64,           /* VTIMEZONEs of one calendar */
        ICAL_EXCEPTIONS = 4096,    /* repetitions that were moved or cancelled one by one */
        ICAL_TIMES = 512,          /* listed with one event, of those that matter */
        ICAL_STEPS = 20000,        /* of one rule: daily since 1970 */
        ICAL_STEPS_ALL = 1000000,  /* of all rules together */
        ICAL_DAY = 86400,
};

/* A repetition that stands for itself: of this event, instead of the one at this time. */
struct ical_exception {
        uint64_t uid;
        int64_t at_s;
};

struct ical {
        struct dog_feed_reader *r;
        const icaltimezone *zone;
        icalcomponent *calendar; /* holds the zones, and the event that is being read */
        unsigned zones;
        struct ical_exception *exception;
        size_t exceptions;
        unsigned steps;
        struct dog_err *err;
};

/* A component cut out of the text. */
struct ical_part {
        const char *text;
        size_t size;
        const char *name; /* behind "BEGIN:" */
        size_t name_size;
};

/* ---- cutting ---- */

struct ical_lines {
        const char *at, *end;
};

static bool ical_line(struct ical_lines *l, const char **line, size_t *size)
{
        if (l->at >= l->end)
                return false;
        const char *stop = memchr(l->at, '\n', (size_t)(l->end - l->at));
        *line = l->at;
        *size = (size_t)((stop ? stop : l->end) - l->at);
        l->at = stop ? stop + 1 : l->end;
        while (*size && ((*line)[*size - 1] == '\r' || (*line)[*size - 1] == ' '))
                --*size;
        return true;
}

static bool ical_begins(const char *line, size_t size, const char *with)
{
        size_t n = strlen(with);
        return size >= n && strncasecmp(line, with, n) == 0;
}

static bool ical_part_is(const struct ical_part *p, const char *name)
{
        return p->name_size == strlen(name) && strncasecmp(p->name, name, p->name_size) == 0;
}

/*
 * The next component inside a VCALENDAR. Whole ones only: an end that is missing ends the reading, since what
 * comes behind it may be part of anything.
 * @return 1: there it is; 0: no more; -EINVAL
 */
static int ical_part_next(struct ical_lines *l, struct ical_part *p, struct dog_err *e)
{
        const char *line;
        size_t size;
        unsigned depth = 0;
        while (ical_line(l, &line, &size)) {
                if (ical_begins(line, size, "BEGIN:VCALENDAR") || ical_begins(line, size, "END:VCALENDAR")) {
                        if (depth)
                                return dog_err_set(e, -EINVAL, "a %.*s has no end", (int)p->name_size,
                                                   p->name);
                } else if (ical_begins(line, size, "BEGIN:")) {
                        if (depth == 0)
                                *p = (struct ical_part){
                                        .text = line, .name = line + 6, .name_size = size - 6};
                        if (++depth > ICAL_DEPTH)
                                return dog_err_set(e, -EINVAL, "components are nested more than %d deep",
                                                   ICAL_DEPTH);
                } else if (ical_begins(line, size, "END:") && depth && --depth == 0) {
                        p->size = (size_t)(l->at - p->text);
                        return 1;
                }
        }
        if (depth)
                return dog_err_set(e, -EINVAL, "it ends within a %.*s",
                                   p->name_size > 40 ? 40 : (int)p->name_size, p->name);
        return 0;
}

/* libical's view of it; NULL: too long, or not understood. The caller frees it. */
static icalcomponent *ical_parse(const struct ical_part *p)
{
        if (p->size > ICAL_COMPONENT)
                return NULL;
        char *copy = malloc(p->size + 1);
        if (!copy)
                return NULL;
        memcpy(copy, p->text, p->size);
        copy[p->size] = 0;
        icalcomponent *c = icalparser_parse_string(copy);
        free(copy);
        return c;
}

/* ---- times ---- */

static uint64_t ical_hash(const char *s)
{
        uint64_t h = 14695981039346656037U; /* FNV-1a; a collision costs one wrong repetition */
        for (; s && *s; s++)
                h = (h ^ (unsigned char)*s) * 1099511628211U;
        return h;
}

/*
 * A time that stands in a property, with its zone, in seconds. @return 1: known; 0: no time; -1: a zone that
 * nobody knows, and then the time would be off by hours: it is not guessed.
 */
static int ical_zoned(const struct ical *x, icalproperty *p, struct icaltimetype *t, int64_t *at_s)
{
        icalparameter *named = icalproperty_get_first_parameter(p, ICAL_TZID_PARAMETER);
        const char *id = named ? icalparameter_get_tzid(named) : NULL;
        if (icaltime_is_null_time(*t) || !icaltime_is_valid_time(*t) || t->year < 1900 || t->year > 2200)
                return 0;
        if (id && !icaltime_is_utc(*t)) {
                t->zone = icalcomponent_get_timezone(x->calendar, id);
                if (!t->zone)
                        t->zone = icaltimezone_get_builtin_timezone(id);
        }
        if (id && !t->zone && !t->is_date)
                return -1;
        if (!t->zone)
                t->zone = x->zone;
        *at_s = icaltime_as_timet_with_zone(*t, t->zone);
        return 1;
}

/* The same, of a property that is one time. */
static int ical_time(const struct ical *x, icalproperty *p, struct icaltimetype *t, int64_t *at_s)
{
        *t = icalvalue_get_datetime(icalproperty_get_value(p));
        return ical_zoned(x, p, t, at_s);
}

/* Of a length of time; -1: it goes back, or is none. */
static int64_t ical_seconds(struct icaldurationtype d)
{
        if (icaldurationtype_is_bad_duration(d) || d.is_neg)
                return -1;
        return ((int64_t)d.weeks * 7 + d.days) * ICAL_DAY + (int64_t)d.hours * 3600 +
               (int64_t)d.minutes * 60 + d.seconds;
}

static bool ical_has(icalcomponent *c, icalproperty_kind kind)
{
        return icalcomponent_get_first_property(c, kind) != NULL;
}

static void ical_words(icalcomponent *c, struct dog_feed_entry *to)
{
        const char *summary = icalcomponent_get_summary(c);
        const char *location = icalcomponent_get_location(c);
        dog_feed_words(to->words, sizeof(to->words), summary ? summary : "");
        dog_feed_words(to->where, sizeof(to->where), location ? location : "");
}

/* ---- repetitions ---- */

static bool ical_is_excepted(const struct ical *x, uint64_t uid, int64_t at_s)
{
        for (size_t i = 0; i < x->exceptions; i++)
                if (x->exception[i].uid == uid && x->exception[i].at_s == at_s)
                        return true;
        return false;
}

/* Times that are listed with an event: more of them, or exceptions. */
struct ical_times {
        struct {
                int64_t from_s, lasts_s;
        } at[ICAL_TIMES];
        unsigned n;
};

/* An event that repeats: by a rule, at times that are listed, or both (RFC 5545, 3.8.5). */
struct ical_series {
        struct ical *x;
        struct dog_feed_entry *entry;
        struct icaltimetype start;
        int64_t lasts_s;
        uint64_t uid;
        struct ical_times more, except; /* an exception that is a date lasts its day, others no time */
};

static bool ical_times_hold(const struct ical_times *t, int64_t at_s)
{
        for (unsigned i = 0; i < t->n; i++)
                if (at_s == t->at[i].from_s)
                        return true;
        return false;
}

static bool ical_is_within(const struct ical_times *t, int64_t at_s)
{
        for (unsigned i = 0; i < t->n; i++)
                if (at_s > t->at[i].from_s && at_s < t->at[i].from_s + t->at[i].lasts_s)
                        return true;
        return false;
}

/* What is over, or too far, is not kept: an event of many years lists more than there is room for. */
static void ical_times_add(struct ical_series *s, struct ical_times *t, int64_t from_s, int64_t lasts_s)
{
        int64_t over_s = from_s + (lasts_s > s->lasts_s ? lasts_s : s->lasts_s);
        if (over_s <= s->x->r->now_s - ICAL_DAY || from_s >= s->x->r->until_s || ical_times_hold(t, from_s))
                return;
        if (t->n == ICAL_TIMES)
                dog_feed_drop(s->x->r, DOG_FEED_DROP_RULE);
        else {
                t->at[t->n].from_s = from_s;
                t->at[t->n++].lasts_s = lasts_s;
        }
}

static void ical_exdates_read(struct ical_series *s, icalcomponent *c)
{
        for (icalproperty *p = icalcomponent_get_first_property(c, ICAL_EXDATE_PROPERTY); p;
             p = icalcomponent_get_next_property(c, ICAL_EXDATE_PROPERTY)) {
                struct icaltimetype t;
                int64_t at_s;
                if (ical_time(s->x, p, &t, &at_s) == 1)
                        ical_times_add(s, &s->except, at_s, t.is_date ? ICAL_DAY : 0);
        }
}

/* RDATE: a time or a date, which lasts as long as the event, or a period with a length of its own. */
static void ical_rdates_read(struct ical_series *s, icalcomponent *c)
{
        for (icalproperty *p = icalcomponent_get_first_property(c, ICAL_RDATE_PROPERTY); p;
             p = icalcomponent_get_next_property(c, ICAL_RDATE_PROPERTY)) {
                struct icalperiodtype period = icalproperty_get_rdate(p).period;
                struct icaltimetype t = period.start;
                int64_t at_s, lasts_s = s->lasts_s;
                bool is_period = !icaltime_is_null_time(t);
                int known = is_period ? ical_zoned(s->x, p, &t, &at_s) : ical_time(s->x, p, &t, &at_s);
                if (known == 1 && is_period && !icaltime_is_null_time(period.end))
                        lasts_s = icaltime_as_timet_with_zone(period.end, t.zone) - at_s;
                else if (known == 1 && is_period)
                        lasts_s = ical_seconds(period.duration);
                if (known != 1 || lasts_s <= 0)
                        dog_feed_drop(s->x->r, known < 0 ? DOG_FEED_DROP_ZONE : DOG_FEED_DROP_TIME);
                else
                        ical_times_add(s, &s->more, at_s, lasts_s);
        }
}

/*
 * Is there a day that the rule can mean? For one on the 30th of February libical looks at every day of the
 * next thousand years, each time.
 */
static bool ical_rule_has_a_day(const struct icalrecurrencetype *rule)
{
        static const int longest[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        if (rule->by_month[0] == ICAL_RECURRENCE_ARRAY_MAX ||
            rule->by_month_day[0] == ICAL_RECURRENCE_ARRAY_MAX)
                return true;
        for (int m = 0; m < ICAL_BY_MONTH_SIZE && rule->by_month[m] != ICAL_RECURRENCE_ARRAY_MAX; m++) {
                int month = icalrecurrencetype_month_month(rule->by_month[m]);
                for (int d = 0;
                     d < ICAL_BY_MONTHDAY_SIZE && rule->by_month_day[d] != ICAL_RECURRENCE_ARRAY_MAX; d++)
                        if (month >= 1 && month <= 12 && abs(rule->by_month_day[d]) <= longest[month - 1])
                                return true;
        }
        return false;
}

/* Rules by hour or faster would be thousands of windows and mean "always". */
static bool ical_rule_is_fine(const struct icalrecurrencetype *rule)
{
        if (!ical_rule_has_a_day(rule))
                return false;
        return rule->freq == ICAL_DAILY_RECURRENCE || rule->freq == ICAL_WEEKLY_RECURRENCE ||
               rule->freq == ICAL_MONTHLY_RECURRENCE || rule->freq == ICAL_YEARLY_RECURRENCE;
}

/* One repetition. Those that are over are no news: a weekly event of ten years is not 500 drops. */
static void ical_offer(struct ical_series *s, int64_t start_s, int64_t lasts_s)
{
        s->entry->start_s = start_s;
        s->entry->end_s = start_s + lasts_s;
        if (s->entry->end_s <= s->x->r->now_s || start_s >= s->x->r->until_s ||
            ical_times_hold(&s->except, start_s) || ical_is_within(&s->except, start_s) ||
            ical_is_excepted(s->x, s->uid, start_s))
                return;
        dog_feed_take(s->x->r, s->entry);
}

static void ical_offer_of_rule(struct ical_series *s, int64_t at_s)
{
        if (!ical_times_hold(&s->more, at_s)) /* listed as well: it was offered */
                ical_offer(s, at_s, s->lasts_s);
}

static void ical_except_of_rule(struct ical_series *s, int64_t at_s)
{
        ical_times_add(s, &s->except, at_s, 0);
}

/* Every time that a rule means, as far as we look. */
static void ical_rule_walk(struct ical_series *s, struct icalrecurrencetype rule,
                           void (*each)(struct ical_series *s, int64_t at_s))
{
        struct ical *x = s->x;
        icalrecur_iterator *i = ical_rule_is_fine(&rule) ? icalrecur_iterator_new(rule, s->start) : NULL;
        if (!i) {
                dog_feed_drop(x->r, DOG_FEED_DROP_RULE);
                return;
        }
        for (unsigned steps = 0;; steps++, x->steps++) {
                struct icaltimetype t = icalrecur_iterator_next(i);
                if (icaltime_is_null_time(t))
                        break;
                if (steps == ICAL_STEPS || x->steps >= ICAL_STEPS_ALL) {
                        dog_feed_drop(x->r, DOG_FEED_DROP_RULE);
                        break;
                }
                t.zone = s->start.zone;
                int64_t at_s = icaltime_as_timet_with_zone(t, t.zone);
                if (at_s >= x->r->until_s)
                        break;
                each(s, at_s);
        }
        icalrecur_iterator_free(i);
}

/*
 * EXRULE was taken out of the standard (RFC 2445 has it, RFC 5545 does not), and is still sent. One that is
 * not supported is counted, and what it would have excepted counts: rather too much caution than too little.
 */
static void ical_repeat(struct ical *x, icalcomponent *c, struct icaltimetype start, int64_t start_s,
                        int64_t lasts_s, struct dog_feed_entry *entry)
{
        static struct ical_series s; /* too large for a stack; one calendar is read at a time */
        icalproperty *rule = icalcomponent_get_first_property(c, ICAL_RRULE_PROPERTY);
        if (icalcomponent_count_properties(c, ICAL_RRULE_PROPERTY) > 1) {
                dog_feed_drop(x->r, DOG_FEED_DROP_RULE);
                return;
        }
        s.x = x;
        s.entry = entry;
        s.start = start;
        s.lasts_s = lasts_s;
        s.uid = ical_hash(icalcomponent_get_uid(c));
        s.more.n = s.except.n = 0;
        ical_exdates_read(&s, c);
        for (icalproperty *p = icalcomponent_get_first_property(c, ICAL_EXRULE_PROPERTY); p;
             p = icalcomponent_get_next_property(c, ICAL_EXRULE_PROPERTY))
                ical_rule_walk(&s, icalproperty_get_exrule(p), ical_except_of_rule);
        ical_rdates_read(&s, c);
        for (unsigned i = 0; i < s.more.n; i++)
                ical_offer(&s, s.more.at[i].from_s, s.more.at[i].lasts_s);
        if (rule)
                ical_rule_walk(&s, icalproperty_get_rrule(rule), ical_offer_of_rule);
        else
                ical_offer_of_rule(&s, start_s);
}

/* ---- events ---- */

/* How long it lasts: DTEND, DURATION, or by RFC 5545 3.6.1 a day for dates and nothing for times. */
static bool ical_lasts(const struct ical *x, icalcomponent *c, const struct icaltimetype *start,
                       int64_t start_s, int64_t *lasts_s)
{
        icalproperty *end = icalcomponent_get_first_property(c, ICAL_DTEND_PROPERTY);
        icalproperty *duration = icalcomponent_get_first_property(c, ICAL_DURATION_PROPERTY);
        struct icaltimetype t;
        *lasts_s = start->is_date ? ICAL_DAY : 0;
        if (end) {
                int64_t end_s;
                if (ical_time(x, end, &t, &end_s) != 1)
                        return false;
                *lasts_s = end_s - start_s;
        } else if (duration) {
                struct icaldurationtype d = icalproperty_get_duration(duration);
                *lasts_s = ical_seconds(d);
        }
        return *lasts_s > 0;
}

static void ical_event(struct ical *x, icalcomponent *c)
{
        struct dog_feed_entry entry = {.severity = 1};
        struct icaltimetype start;
        int64_t start_s, lasts_s;
        icalproperty *p = icalcomponent_get_first_property(c, ICAL_DTSTART_PROPERTY);
        icalproperty *transparent = icalcomponent_get_first_property(c, ICAL_TRANSP_PROPERTY);
        int known = p ? ical_time(x, p, &start, &start_s) : 0;
        if (icalcomponent_get_status(c) == ICAL_STATUS_CANCELLED)
                dog_feed_drop(x->r, DOG_FEED_DROP_CANCELLED);
        else if (transparent && icalproperty_get_transp(transparent) == ICAL_TRANSP_TRANSPARENT)
                dog_feed_drop(x->r, DOG_FEED_DROP_FREE);
        else if (known < 0)
                dog_feed_drop(x->r, DOG_FEED_DROP_ZONE);
        else if (known == 0 || !ical_lasts(x, c, &start, start_s, &lasts_s))
                dog_feed_drop(x->r, DOG_FEED_DROP_TIME);
        else {
                ical_words(c, &entry);
                bool repeats = ical_has(c, ICAL_RRULE_PROPERTY) || ical_has(c, ICAL_RDATE_PROPERTY);
                if (repeats && !ical_has(c, ICAL_RECURRENCEID_PROPERTY)) {
                        ical_repeat(x, c, start, start_s, lasts_s, &entry);
                        return;
                }
                entry.start_s = start_s;
                entry.end_s = start_s + lasts_s;
                dog_feed_take(x->r, &entry);
        }
}

static void ical_exception_note(struct ical *x, icalcomponent *c)
{
        icalproperty *p = icalcomponent_get_first_property(c, ICAL_RECURRENCEID_PROPERTY);
        struct icaltimetype t;
        int64_t at_s;
        if (!p || x->exceptions == ICAL_EXCEPTIONS || ical_time(x, p, &t, &at_s) != 1)
                return;
        x->exception[x->exceptions++] =
                (struct ical_exception){.uid = ical_hash(icalcomponent_get_uid(c)), .at_s = at_s};
}

static bool ical_mentions(const struct ical_part *p, const char *word)
{
        return memmem(p->text, p->size, word, strlen(word)) != NULL;
}

/* Zones and exceptions first: an event may stand before what it rests on. */
static void ical_first_pass(struct ical *x, const struct ical_part *p)
{
        bool is_zone = ical_part_is(p, "VTIMEZONE") && x->zones < ICAL_ZONES;
        bool is_exception = ical_part_is(p, "VEVENT") && ical_mentions(p, "RECURRENCE-ID");
        icalcomponent *c = is_zone || is_exception ? ical_parse(p) : NULL;
        if (!c)
                return;
        if (is_zone && icalcomponent_isa(c) == ICAL_VTIMEZONE_COMPONENT) {
                icalcomponent_add_component(x->calendar, c);
                x->zones++;
                return;
        }
        if (icalcomponent_isa(c) == ICAL_VEVENT_COMPONENT)
                ical_exception_note(x, c);
        icalcomponent_free(c);
}

static void ical_second_pass(struct ical *x, const struct ical_part *p)
{
        if (!ical_part_is(p, "VEVENT"))
                return;
        icalcomponent *c = x->r->dropped[DOG_FEED_DROP_MANY] < x->r->most ? ical_parse(p) : NULL;
        if (x->r->dropped[DOG_FEED_DROP_MANY] >= x->r->most)
                dog_feed_drop(x->r, DOG_FEED_DROP_MANY); /* not even parsed: somebody means to keep us busy */
        else if (!c || icalcomponent_isa(c) != ICAL_VEVENT_COMPONENT)
                dog_feed_drop(x->r, DOG_FEED_DROP_SHAPE);
        else
                ical_event(x, c);
        if (c)
                icalcomponent_free(c);
}

static int ical_pass(struct ical *x, const char *text, size_t size,
                     void (*each)(struct ical *x, const struct ical_part *p))
{
        struct ical_lines lines = {text, text + size};
        struct ical_part part = {0};
        int rc;
        while ((rc = ical_part_next(&lines, &part, x->err)) == 1)
                each(x, &part);
        return rc;
}

static void ical_quiet(void)
{
        icalerror_set_errors_are_fatal(0);
        icaltimezone_set_builtin_tzdata(0);
}

int dog_ical_read(const char *text, size_t size, const char *zone, struct dog_feed_reader *r,
                  struct dog_err *e)
{
        struct ical x = {.r = r, .err = e, .zone = icaltimezone_get_utc_timezone()};
        size_t bom = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        ical_quiet();
        if (!ical_begins(text + bom, size - bom, "BEGIN:VCALENDAR"))
                return dog_err_set(e, -EINVAL, "it does not begin with BEGIN:VCALENDAR: no calendar");
        if (memchr(text, 0, size))
                return dog_err_set(e, -EINVAL, "there is a zero byte in it: no calendar");
        if (zone && strcasecmp(zone, "UTC") != 0)
                x.zone = icaltimezone_get_builtin_timezone(zone);
        if (!x.zone)
                return dog_err_set(e, -EINVAL, "there is no time zone \"%s\" on this system", zone);
        x.calendar = icalcomponent_new_vcalendar();
        x.exception = calloc(ICAL_EXCEPTIONS, sizeof(*x.exception));
        int rc = x.calendar && x.exception ? 0 : dog_err_set(e, -ENOMEM, "no memory for the calendar");
        if (rc == 0)
                rc = ical_pass(&x, text + bom, size - bom, ical_first_pass);
        if (rc == 0)
                rc = ical_pass(&x, text + bom, size - bom, ical_second_pass);
        if (x.calendar)
                icalcomponent_free(x.calendar);
        free(x.exception);
        return rc;
}
