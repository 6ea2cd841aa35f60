#include "sources/radio.h"

#include "base/array.h"
#include "base/clock.h"
#include "sources/radio_inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RADIO_SILENT = 3 };

#define RADIO_APART   (50 * DOG_MS)
#define RADIO_TIMEOUT (5 * DOG_S)

/* ---- what comes of it ---- */

void radio_news(struct dog_radio_source *s, bool is_warning, const char *format, ...)
{
        char text[400];
        int n = snprintf(text, sizeof(text), "%s: ", s->conf.name);
        va_list args;
        va_start(args, format);
        if (n > 0 && (size_t)n < sizeof(text))
                vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
        va_end(args);
        if (s->conf.news)
                s->conf.news(s->conf.user, is_warning, text);
}

void radio_fail(struct dog_radio_source *s, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(s->stats.why, sizeof(s->stats.why), format, args);
        va_end(args);
        s->stats.failed++;
        s->failed_in_row += s->failed_in_row < RADIO_SILENT;
        if (s->failed_in_row < RADIO_SILENT || s->is_silent)
                return;
        s->is_silent = true;
        radio_news(s, true, "its radio says nothing: %s", s->stats.why);
}

void radio_tell(struct dog_radio_source *s, struct dog_radio *r, int64_t now_ns)
{
        /* A source that hurries, or a clock that stands still, gives one reading. */
        if (s->told_ns && now_ns - s->told_ns < RADIO_APART) {
                s->stats.hurried++;
                return;
        }
        s->told_ns = now_ns;
        s->stats.why[0] = 0;
        s->failed_in_row = 0;
        if (s->is_silent)
                radio_news(s, false, "its radio tells again");
        s->is_silent = false;
        s->stats.readings++;
        r->at_ns = now_ns;
        if (r->technology == DOG_RADIO_SATELLITE)
                r->slot_s = dog_radio_slot(dog_clock_wall_ns());
        s->conf.reading(s->conf.user, r);
}

void radio_take(struct dog_radio_source *s, const struct dog_radio_read *r, int64_t now_ns)
{
        s->stats.impossible += r->impossible;
        s->stats.malformed += r->malformed;
        struct dog_radio told = r->reading;
        if (dog_radio_is_known(&told)) {
                radio_tell(s, &told, now_ns);
                return;
        }
        const char *from = s->has_http ? s->conf.url : s->conf.file;
        if (r->malformed)
                radio_fail(s, "%s is neither keys with values nor JSON", from);
        else if (r->impossible)
                radio_fail(s, "%s holds impossible values only", from);
        else
                radio_fail(s, "%s holds nothing that is known", from);
}

/* ---- HTTP ---- */

static void radio_http_watch(void *user, int fd, short events)
{
        const struct dog_radio_source *s = user;
        s->conf.watch(s->conf.user, fd, events);
}

static void radio_http_done(void *user, enum dog_http_fault fault, const char *body, size_t size,
                            int64_t now_ns)
{
        struct dog_radio_source *s = user;
        if (fault != DOG_HTTP_FINE) {
                radio_fail(s, "%s: %s", s->conf.url, dog_http_fault_text(fault));
                return;
        }
        struct dog_radio_read r;
        dog_radio_read_init(&r);
        dog_radio_read_text(&r, body, size, now_ns);
        radio_take(s, &r, now_ns);
}

static int radio_http_begin(struct dog_radio_source *s, struct dog_err *e)
{
        struct sockaddr_storage address;
        struct dog_http_conf http = {.address = (struct sockaddr *)&address,
                                     .accept = "application/json",
                                     .body_most = DOG_RADIO_TEXT,
                                     .watch = radio_http_watch,
                                     .done = radio_http_done,
                                     .user = s};
        int rc = dog_http_address(s->conf.url, &address, &http.address_size, &http.path, e);
        if (rc == 0)
                rc = dog_http_init(&s->http, &http, e);
        s->has_http = rc == 0;
        return rc;
}

static int64_t radio_http_step(struct dog_radio_source *s, int64_t now_ns)
{
        dog_http_on_timer(&s->http, now_ns);
        if (!dog_http_is_busy(&s->http) && now_ns >= s->due_ns) {
                s->due_ns = now_ns + s->conf.interval_ns;
                dog_http_begin(&s->http, now_ns,
                               s->conf.stale_ns < RADIO_TIMEOUT ? s->conf.stale_ns : RADIO_TIMEOUT);
        }
        return dog_http_is_busy(&s->http) ? s->http.until_ns : s->due_ns;
}

/* ---- outside ---- */

/* What was borrowed becomes ours. */
static bool radio_copy(struct dog_radio_source *s)
{
        const char **field[] = {&s->conf.name,   &s->conf.bus, &s->conf.modem,
                                &s->conf.device, &s->conf.url, &s->conf.file};
        _Static_assert(ARRAY_SIZE(field) == ARRAY_SIZE(s->text), "a copy each");
        for (size_t i = 0; i < ARRAY_SIZE(field); i++) {
                if (!*field[i])
                        continue;
                s->text[i] = strdup(*field[i]);
                if (!s->text[i])
                        return false;
                *field[i] = s->text[i];
        }
        return true;
}

static int radio_begin(struct dog_radio_source *s, struct dog_err *e)
{
        if (s->conf.kind == DOG_RADIO_MODEM)
                return radio_modem_begin(s) < 0 ? dog_err_set(e, -ENOMEM, "%s: no memory", s->conf.name) : 0;
        if (s->conf.url)
                return radio_http_begin(s, e);
        radio_file_begin(s);
        return 0;
}

int dog_radio_source_new(struct dog_radio_source **to, const struct dog_radio_conf *conf, struct dog_err *e)
{
        *to = NULL;
        const char *name = conf->name ? conf->name : "radio";
        if (!conf->watch || !conf->reading || conf->interval_ns < 100 * DOG_MS || conf->stale_ns <= 0)
                return dog_err_set(e, -EINVAL, "%s: the interval is at least 100 ms, and things grow stale",
                                   name);
        if (conf->kind != DOG_RADIO_MODEM && !conf->file == !(conf->url && conf->kind == DOG_RADIO_DISH))
                return dog_err_set(e, -EINVAL, "%s: needs a file%s", name,
                                   conf->kind == DOG_RADIO_DISH ? " or a url, and one of them" : "");
        struct dog_radio_source *s = calloc(1, sizeof(*s));
        if (!s)
                return dog_err_set(e, -ENOMEM, "%s: no memory", name);
        s->conf = *conf;
        s->conf.name = name;
        s->file.fd = -1;
        int rc = radio_copy(s) ? radio_begin(s, e) : dog_err_set(e, -ENOMEM, "%s: no memory", name);
        if (rc < 0) {
                dog_radio_source_free(s);
                return rc;
        }
        *to = s;
        return 0;
}

void dog_radio_source_free(struct dog_radio_source *s)
{
        if (!s)
                return;
        if (s->modem)
                radio_modem_end(s);
        if (s->has_http)
                dog_http_fini(&s->http);
        radio_file_end(s);
        for (size_t i = 0; i < ARRAY_SIZE(s->text); i++)
                free(s->text[i]);
        free(s);
}

int64_t dog_radio_source_on_timer(struct dog_radio_source *s, int64_t now_ns)
{
        if (s->modem)
                return radio_modem_step(s, now_ns);
        if (s->has_http)
                return radio_http_step(s, now_ns);
        if (now_ns >= s->due_ns) {
                s->due_ns = now_ns + s->conf.interval_ns;
                radio_file_look(s, now_ns);
        }
        return s->due_ns;
}

int64_t dog_radio_source_on_ready(struct dog_radio_source *s, int64_t now_ns)
{
        if (s->modem)
                return radio_modem_step(s, now_ns);
        if (s->has_http) {
                dog_http_on_ready(&s->http, now_ns);
                return dog_http_is_busy(&s->http) ? s->http.until_ns : s->due_ns;
        }
        radio_file_ready(s, now_ns);
        return s->due_ns;
}

const struct dog_radio_stats *dog_radio_source_stats(const struct dog_radio_source *s)
{
        return &s->stats;
}
