#include "sources/feed.h"

#include "base/clock.h"
#include "base/rng.h"
#include "sources/feed_window.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FEED_RETRY_NS      (30 * DOG_S) /* the first pause after a failure, if the interval is not shorter */
#define FEED_RETRY_MOST_NS (3600 * DOG_S)
#define FEED_ANSWER_NS     (15 * DOG_S) /* parsing may take so long above the exchange */
#define FEED_WHOLE_NS      (86400 * DOG_S)
#define FEED_JITTER        0.1

struct feed {
        const struct dog_feed_settings *settings;
        int64_t due_ns;
        int64_t until_ns; /* an answer must be there; 0: none is awaited */
        uint32_t number;  /* of the request that is under way, or the last one */
        int64_t read_ns;  /* up to date then; 0: never */
        int64_t whole_ns; /* the last time that it was not "unchanged" */
        bool was_stale;
        char etag[DOG_FEED_VALIDATOR], modified[DOG_FEED_VALIDATOR];

        struct dog_feed_packed *entry; /* what counts */
        uint32_t entries;
        struct dog_feed_packed *coming;
        uint32_t come;
        struct dog_feed_windows all;                   /* about everything of the feed */
        struct dog_feed_windows named[DOG_FEED_NAMES]; /* about one name */

        uint32_t fetches, failures, failures_in_row, unchanged, refused;
        uint64_t bytes;
        enum dog_feed_fault fault;
        char trouble[320];
        uint64_t dropped[DOG_FEED_DROP_COUNT];
};

struct dog_feeds {
        struct feed feed[DOG_FEEDS_MAX];
        unsigned n;
        struct dog_rng rng;
        bool is_lost;
        void (*news)(void *user, unsigned feed, enum dog_feed_news what, const char *text);
        void *user;
};

static const char *const fault_text[] = {[DOG_FEED_FINE] = "read",
#define X(name, text) [DOG_FEED_FAULT_##name] = (text),
                                         DOG_FEED_FAULTS(X)
#undef X
};

const char *dog_feed_fault_text(enum dog_feed_fault f)
{
        return f < DOG_FEED_FAULT_COUNT ? fault_text[f] : "?";
}

const char *dog_feed_kind_word(enum dog_feed_kind k)
{
        static const char *const word[] = {"calendar", "weather", "events"};
        return k <= DOG_FEED_EVENTS ? word[k] : "?";
}

static void feed_tell(struct dog_feeds *f, const struct feed *x, enum dog_feed_news what, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));

static void feed_tell(struct dog_feeds *f, const struct feed *x, enum dog_feed_news what, const char *format,
                      ...)
{
        char text[600];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (f->news)
                f->news(f->user, (unsigned)(x - f->feed), what, text);
}

int dog_feeds_new(struct dog_feeds **to, const struct dog_feed_settings *settings, unsigned n, uint64_t seed,
                  void (*news)(void *user, unsigned feed, enum dog_feed_news what, const char *text),
                  void *user, struct dog_err *e)
{
        *to = NULL;
        if (n > DOG_FEEDS_MAX)
                return dog_err_set(e, -E2BIG, "feeds: %u, at most %d are possible", n, DOG_FEEDS_MAX);
        struct dog_feeds *f = calloc(1, sizeof(*f));
        if (!f)
                return dog_err_set(e, -ENOMEM, "feeds: no memory");
        dog_rng_init(&f->rng, seed);
        f->n = n;
        f->news = news;
        f->user = user;
        for (unsigned i = 0; i < n; i++) {
                f->feed[i].settings = &settings[i];
                f->feed[i].entry = calloc(DOG_FEED_ENTRIES, sizeof(*f->feed[i].entry));
                f->feed[i].coming = calloc(DOG_FEED_ENTRIES, sizeof(*f->feed[i].coming));
                if (!f->feed[i].entry || !f->feed[i].coming) {
                        dog_feeds_free(f);
                        return dog_err_set(e, -ENOMEM, "feeds: no memory");
                }
        }
        *to = f;
        return 0;
}

static void feed_windows_free(struct feed *x)
{
        dog_feed_windows_free(&x->all);
        for (unsigned i = 0; i < DOG_FEED_NAMES; i++)
                dog_feed_windows_free(&x->named[i]);
}

void dog_feeds_free(struct dog_feeds *f)
{
        if (!f)
                return;
        for (unsigned i = 0; i < f->n; i++) {
                feed_windows_free(&f->feed[i]);
                free(f->feed[i].entry);
                free(f->feed[i].coming);
        }
        free(f);
}

/* ---- the timetable ---- */

/* Everybody's timetable drifts apart: a provider is not asked by all its customers in one second. */
static int64_t feed_jitter(struct dog_feeds *f, int64_t wait_ns)
{
        return wait_ns + (int64_t)((double)wait_ns * FEED_JITTER * (2 * dog_rng_unit(&f->rng) - 1));
}

static int64_t feed_pause(const struct feed *x, int32_t retry_after_s)
{
        int64_t interval_ns = x->settings->interval_ns;
        int64_t pause_ns = interval_ns < FEED_RETRY_NS ? interval_ns : FEED_RETRY_NS;
        int64_t most_ns = interval_ns > FEED_RETRY_MOST_NS ? interval_ns : FEED_RETRY_MOST_NS;
        most_ns = most_ns > 8 * interval_ns ? 8 * interval_ns : most_ns;
        for (uint32_t i = 1; i < x->failures_in_row && pause_ns < most_ns; i++)
                pause_ns *= 2;
        pause_ns = pause_ns < most_ns ? pause_ns : most_ns;
        int64_t asked_ns = (int64_t)retry_after_s * DOG_S;
        asked_ns = asked_ns < FEED_WHOLE_NS ? asked_ns : FEED_WHOLE_NS;
        return asked_ns > pause_ns ? asked_ns : pause_ns;
}

static void feed_failed(struct dog_feeds *f, struct feed *x, enum dog_feed_fault fault, const char *why,
                        int32_t retry_after_s, int64_t now_ns)
{
        bool is_news = x->failures_in_row == 0 || x->fault != fault;
        x->failures++;
        x->failures_in_row++;
        x->fault = fault;
        x->until_ns = 0;
        x->come = 0;
        int64_t pause_ns = feed_jitter(f, feed_pause(x, retry_after_s));
        x->due_ns = now_ns + pause_ns;
        snprintf(x->trouble, sizeof(x->trouble), "%s%s%s", dog_feed_fault_text(fault),
                 why && *why ? ": " : "", why ? why : "");
        if (is_news)
                feed_tell(f, x, DOG_FEED_FAILED, "feed %s: %s; tried again in %.0f s", x->settings->name,
                          x->trouble, (double)pause_ns / 1e9);
}

static bool feed_is_stale(const struct feed *x, int64_t now_ns)
{
        return x->read_ns == 0 || now_ns - x->read_ns > x->settings->stale_ns;
}

/* The caution that it had added is over, in one moment and with a word. */
static void feed_watch(struct dog_feeds *f, struct feed *x, int64_t now_ns)
{
        bool is_stale = x->read_ns && feed_is_stale(x, now_ns);
        if (is_stale && !x->was_stale)
                feed_tell(f, x, DOG_FEED_STALE,
                          "feed %s is stale: read %.0f s ago, and what it said counts no more",
                          x->settings->name, (double)(now_ns - x->read_ns) / 1e9);
        x->was_stale = is_stale;
}

bool dog_feeds_next(struct dog_feeds *f, int64_t now_ns, struct dog_feed_request *request, int64_t *due_ns)
{
        int64_t next_ns = now_ns + 3600 * DOG_S;
        bool is_any = false;
        for (unsigned i = 0; i < f->n; i++) {
                struct feed *x = &f->feed[i];
                feed_watch(f, x, now_ns);
                if (x->until_ns && now_ns >= x->until_ns)
                        feed_failed(f, x, DOG_FEED_FAULT_TIMEOUT, "the reading process gave no answer", 0,
                                    now_ns);
                if (!is_any && !x->until_ns && now_ns >= x->due_ns && !f->is_lost) {
                        is_any = true;
                        *request = (struct dog_feed_request){.feed = i, .number = ++x->number};
                        /* Once a day all of it: what repeats is known a month ahead only. */
                        if (x->whole_ns && now_ns - x->whole_ns < FEED_WHOLE_NS) {
                                memcpy(request->etag, x->etag, sizeof(request->etag));
                                memcpy(request->modified, x->modified, sizeof(request->modified));
                        }
                        x->come = 0;
                        x->fetches++;
                        x->until_ns = now_ns + x->settings->timeout_ns + FEED_ANSWER_NS;
                }
                int64_t at_ns = x->until_ns ? x->until_ns : f->is_lost ? INT64_MAX : x->due_ns;
                int64_t stale_ns =
                        x->read_ns && !x->was_stale ? x->read_ns + x->settings->stale_ns + 1 : INT64_MAX;
                at_ns = stale_ns < at_ns ? stale_ns : at_ns;
                next_ns = at_ns < next_ns ? at_ns : next_ns;
        }
        *due_ns = next_ns;
        return is_any;
}

void dog_feeds_lost(struct dog_feeds *f, int64_t now_ns)
{
        f->is_lost = true;
        for (unsigned i = 0; i < f->n; i++)
                if (f->feed[i].until_ns)
                        feed_failed(f, &f->feed[i], DOG_FEED_FAULT_READER, "the process that fetches feeds",
                                    0, now_ns);
}

void dog_feeds_found(struct dog_feeds *f)
{
        f->is_lost = false;
}

/* ---- what came ---- */

static float feed_adds(const struct feed *x, const struct dog_feed_packed *p)
{
        return fminf(p->severity * x->settings->log_odds, DOG_CAUTION_MOST);
}

static uint32_t feed_everything(const struct feed *x)
{
        return x->settings->affected >= 32 ? UINT32_MAX : (UINT32_C(1) << x->settings->affected) - 1;
}

/* @param bit  of a name; 0: what is about everything */
static int feed_table(const struct feed *x, uint32_t bit, struct dog_feed_window *room,
                      struct dog_feed_windows *t)
{
        size_t n = 0;
        for (uint32_t i = 0; i < x->entries; i++) {
                const struct dog_feed_packed *p = &x->entry[i];
                bool is_all = p->names == feed_everything(x);
                float adds = feed_adds(x, p);
                /* "adds = 0" shows what is announced and changes nothing. */
                if (adds > 0 && (bit ? !is_all && (p->names & bit) : is_all))
                        room[n++] =
                                (struct dog_feed_window){.start_s = p->start_s - x->settings->lead_ns / DOG_S,
                                                         .end_s = p->end_s,
                                                         .log_odds = adds,
                                                         .entry = i};
        }
        return dog_feed_windows_make(t, room, n);
}

static int feed_tables(struct feed *x)
{
        struct dog_feed_window *room = calloc(DOG_FEED_ENTRIES, sizeof(*room));
        feed_windows_free(x);
        int rc = room ? feed_table(x, 0, room, &x->all) : -ENOMEM;
        for (unsigned i = 0; i < x->settings->affected && rc == 0; i++)
                rc = feed_table(x, UINT32_C(1) << i, room, &x->named[i]);
        free(room);
        if (rc < 0) {
                feed_windows_free(x);
                x->entries = 0;
        }
        return rc;
}

/* The other process read strangers' texts; it is not believed, either. */
static bool feed_entry_is_sane(const struct feed *x, const struct dog_feed_packed *p)
{
        return p->start_s < p->end_s && p->start_s > -(INT64_C(1) << 40) && p->end_s < INT64_C(1) << 40 &&
               p->severity > 0 && p->severity <= 1 && p->names && !(p->names & ~feed_everything(x)) &&
               memchr(p->words, 0, sizeof(p->words));
}

/* What is over, too far or about others is what calendars are made of. */
static bool feed_is_fault(int drop)
{
        return drop != DOG_FEED_DROP_PAST && drop != DOG_FEED_DROP_FAR && drop != DOG_FEED_DROP_ELSEWHERE &&
               drop != DOG_FEED_DROP_CANCELLED && drop != DOG_FEED_DROP_FREE;
}

void dog_feed_left_out(const uint64_t dropped[DOG_FEED_DROP_COUNT], char *to, size_t room)
{
        *to = 0;
        for (int i = 0; i < DOG_FEED_DROP_COUNT; i++)
                if (feed_is_fault(i) && dropped[i])
                        snprintf(to + strlen(to), room - strlen(to), "%s%llu %s", *to ? "; " : "",
                                 (unsigned long long)dropped[i], dog_feed_drop_text((enum dog_feed_drop)i));
}

/* Keep the counts of the newest reading; it is news when one of a fault is another than before. */
static void feed_drops_take(struct dog_feeds *f, struct feed *x, const struct dog_feed_end *end)
{
        char text[400];
        bool is_news = false;
        for (int i = 0; i < DOG_FEED_DROP_COUNT; i++) {
                is_news |= feed_is_fault(i) && end->dropped[i] && end->dropped[i] != x->dropped[i];
                x->dropped[i] = end->dropped[i];
        }
        dog_feed_left_out(x->dropped, text, sizeof(text));
        if (is_news)
                feed_tell(f, x, DOG_FEED_DROPPED, "feed %s: not taken: %s", x->settings->name, text);
}

static void feed_end(struct dog_feeds *f, struct feed *x, const struct dog_feed_end *end, int64_t now_ns)
{
        char why[sizeof(end->text)];
        dog_feed_words(why, sizeof(why), end->text);
        x->bytes = end->bytes;
        if (end->fault != DOG_FEED_FINE) {
                enum dog_feed_fault fault = end->fault < DOG_FEED_FAULT_COUNT
                                                    ? (enum dog_feed_fault)end->fault
                                                    : DOG_FEED_FAULT_READER;
                feed_failed(f, x, fault, why, end->retry_after_s, now_ns);
                return;
        }
        bool was_new = x->read_ns == 0 || x->was_stale || x->failures_in_row;
        uint32_t before = x->entries;
        if (end->is_unchanged) {
                x->unchanged++;
        } else {
                struct dog_feed_packed *old = x->entry;
                bool is_same = x->come == x->entries &&
                               memcmp(x->entry, x->coming, x->come * sizeof(*x->coming)) == 0;
                x->entry = x->coming;
                x->coming = old;
                x->entries = x->come;
                if (feed_tables(x) < 0) {
                        x->whole_ns = 0; /* "unchanged" would keep it empty */
                        feed_failed(f, x, DOG_FEED_FAULT_MEMORY, "", 0, now_ns);
                        return;
                }
                feed_drops_take(f, x, end);
                memcpy(x->etag, end->etag, sizeof(x->etag));
                memcpy(x->modified, end->modified, sizeof(x->modified));
                x->whole_ns = now_ns;
                was_new |= !is_same;
        }
        x->come = 0;
        x->until_ns = 0;
        x->failures_in_row = 0;
        x->fault = DOG_FEED_FINE;
        x->trouble[0] = 0;
        x->read_ns = now_ns;
        x->was_stale = false;
        x->due_ns = now_ns + feed_jitter(f, x->settings->interval_ns);
        if (was_new)
                feed_tell(f, x, DOG_FEED_READ, "feed %s: read, %u entries ahead (%u before)",
                          x->settings->name, x->entries, before);
}

void dog_feeds_take(struct dog_feeds *f, const struct dog_feed_packet *p, size_t size, int64_t now_ns)
{
        if (size != sizeof(*p) || p->feed >= f->n)
                return;
        struct feed *x = &f->feed[p->feed];
        if (!x->until_ns || p->number != x->number)
                return; /* an answer that came after its time */
        if (p->message == DOG_FEED_MESSAGE_END) {
                struct dog_feed_end end = p->end;
                end.etag[sizeof(end.etag) - 1] = end.modified[sizeof(end.modified) - 1] = 0;
                end.text[sizeof(end.text) - 1] = 0;
                feed_end(f, x, &end, now_ns);
                return;
        }
        for (uint32_t i = 0; p->message == DOG_FEED_MESSAGE_ENTRIES && i < p->n && i < DOG_FEED_PACKED; i++) {
                if (feed_entry_is_sane(x, &p->entry[i]) && x->come < DOG_FEED_ENTRIES) {
                        x->coming[x->come] = p->entry[i];
                        dog_feed_words(x->coming[x->come].words, DOG_FEED_WORDS, p->entry[i].words);
                        x->come++;
                } else {
                        x->refused++;
                }
        }
}

/* ---- asking ---- */

uint32_t dog_feeds_names(const struct dog_feeds *f, unsigned feed, const char *const *name, size_t names)
{
        uint32_t set = 0;
        if (feed >= f->n)
                return 0;
        const struct dog_feed_settings *s = f->feed[feed].settings;
        for (unsigned i = 0; i < s->affected && i < DOG_FEED_NAMES; i++)
                for (size_t k = 0; k < names; k++)
                        if (strcmp(s->affects[i], name[k]) == 0)
                                set |= UINT32_C(1) << i;
        return set;
}

static const struct dog_feed_window *feed_worst(const struct feed *x, uint32_t names, int64_t from_s,
                                                int64_t to_s)
{
        const struct dog_feed_window *worst = dog_feed_windows_worst(&x->all, from_s, to_s);
        for (unsigned i = 0; names >> i && i < x->settings->affected; i++) {
                const struct dog_feed_window *w =
                        names >> i & 1 ? dog_feed_windows_worst(&x->named[i], from_s, to_s) : NULL;
                if (w && (!worst || w->log_odds > worst->log_odds))
                        worst = w;
        }
        return worst;
}

/* "22:00-23:00", with the date unless it is today's; the machine's own time zone, as in every other output.
 */
static void feed_when(int64_t start_s, int64_t end_s, int64_t now_s, char *to, size_t room)
{
        struct tm start, end, now;
        time_t at[] = {(time_t)start_s, (time_t)end_s, (time_t)now_s};
        char a[24], b[24];
        localtime_r(&at[0], &start);
        localtime_r(&at[1], &end);
        localtime_r(&at[2], &now);
        bool is_today = start.tm_yday == now.tm_yday && start.tm_year == now.tm_year;
        bool is_one_day = start.tm_yday == end.tm_yday && start.tm_year == end.tm_year;
        strftime(a, sizeof(a), is_today ? "%H:%M" : "%b %d %H:%M", &start);
        strftime(b, sizeof(b), is_one_day ? "%H:%M" : "%b %d %H:%M", &end);
        snprintf(to, room, "%s-%s", a, b);
}

static void feed_caution_words(const struct feed *x, const struct dog_feed_packed *p, int64_t now_s,
                               unsigned more, struct dog_caution *c)
{
        static const char *const usual[] = {"maintenance", "bad weather", "an event"};
        char when[56], others[24] = "";
        feed_when(p->start_s, p->end_s, now_s, when, sizeof(when));
        if (more)
                snprintf(others, sizeof(others), " and %u more", more);
        snprintf(c->words, sizeof(c->words), "%.47s announced %.30s (%.16s)%.12s",
                 p->words[0] ? p->words : usual[x->settings->kind], when, x->settings->name, others);
}

bool dog_feeds_caution(const struct dog_feeds *f, const uint32_t names[DOG_FEEDS_MAX], int64_t now_wall_s,
                       const int64_t horizon_ns[DOG_HORIZONS], struct dog_caution *c)
{
        const struct dog_feed_window *worst = NULL;
        const struct feed *whose = NULL;
        unsigned speak = 0;
        *c = (struct dog_caution){0};
        for (unsigned i = 0; i < f->n; i++) {
                const struct feed *x = &f->feed[i];
                if (!names[i] || !x->entries || x->was_stale)
                        continue;
                const struct dog_feed_window *w = NULL;
                for (int h = DOG_HORIZONS - 1; h >= 0; h--) {
                        int64_t to_s = now_wall_s + (horizon_ns[h] + DOG_S - 1) / DOG_S;
                        const struct dog_feed_window *at = feed_worst(x, names[i], now_wall_s, to_s);
                        if (at)
                                c->log_odds[h] = fminf(DOG_CAUTION_MOST, c->log_odds[h] + at->log_odds);
                        w = at ? at : w;
                        if (!at)
                                break; /* a nearer horizon sees less */
                }
                if (w) {
                        speak++;
                        if (!worst || w->log_odds > worst->log_odds) {
                                worst = w;
                                whose = x;
                        }
                }
        }
        if (worst)
                feed_caution_words(whose, &whose->entry[worst->entry], now_wall_s, speak - 1, c);
        return worst != NULL;
}

void dog_feeds_view(const struct dog_feeds *f, unsigned feed, int64_t now_ns, int64_t now_wall_s,
                    struct dog_feed_view *to)
{
        const struct feed *x = &f->feed[feed];
        *to = (struct dog_feed_view){.settings = x->settings,
                                     .is_fetching = x->until_ns != 0,
                                     .is_stale = feed_is_stale(x, now_ns),
                                     .read_ns = x->read_ns,
                                     .due_ns = x->due_ns,
                                     .entries = x->entries,
                                     .fetches = x->fetches,
                                     .failures = x->failures,
                                     .failures_in_row = x->failures_in_row,
                                     .unchanged = x->unchanged,
                                     .bytes = x->bytes,
                                     .fault = x->fault};
        memcpy(to->trouble, x->trouble, sizeof(to->trouble));
        memcpy(to->dropped, x->dropped, sizeof(to->dropped));
        for (uint32_t i = 0; i < x->entries; i++) {
                const struct dog_feed_packed *p = &x->entry[i];
                if (p->end_s <= now_wall_s || (to->next.end_s && p->start_s >= to->next.start_s))
                        continue;
                to->next.start_s = p->start_s;
                to->next.end_s = p->end_s;
                memcpy(to->next.words, p->words, sizeof(to->next.words));
        }
}
