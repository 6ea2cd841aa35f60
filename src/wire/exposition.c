#include "wire/exposition.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { EXPOSITION_NUMBER = 64 }; /* longer is no number */

struct dog_exposition dog_exposition_of(const char *text, size_t size)
{
        return (struct dog_exposition){.at = text, .end = text + size};
}

bool dog_span_is(struct dog_span s, const char *text)
{
        size_t n = strlen(text);
        return s.size == n && memcmp(s.text, text, n) == 0;
}

static bool exposition_is_letter(char c, bool is_first, bool is_metric)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (is_metric && c == ':') ||
               (!is_first && c >= '0' && c <= '9');
}

static struct dog_span exposition_name(const char **at, const char *end, bool is_metric)
{
        const char *start = *at;
        while (*at < end && exposition_is_letter(**at, *at == start, is_metric))
                ++*at;
        return (struct dog_span){start, (size_t)(*at - start)};
}

static void exposition_blanks(const char **at, const char *end)
{
        while (*at < end && (**at == ' ' || **at == '\t'))
                ++*at;
}

/* The value of a label, the quotes included. False: not one. */
static bool exposition_quoted(const char **at, const char *end, struct dog_span *value)
{
        if (*at == end || *(*at)++ != '"')
                return false;
        value->text = *at;
        for (; *at < end; ++*at) {
                if (**at == '"') {
                        value->size = (size_t)(*at - value->text);
                        ++*at;
                        return true;
                }
                if (**at == '\\' && (++*at == end || !strchr("\\\"n", **at) || **at == 0))
                        return false;
        }
        return false;
}

/* One label; false when it is broken. */
static bool exposition_pair(const char **at, const char *end, struct dog_span *name, struct dog_span *value)
{
        exposition_blanks(at, end);
        *name = exposition_name(at, end, false);
        exposition_blanks(at, end);
        if (name->size == 0 || *at == end || *(*at)++ != '=')
                return false;
        exposition_blanks(at, end);
        if (!exposition_quoted(at, end, value))
                return false;
        exposition_blanks(at, end);
        return true;
}

static bool exposition_labels(const char **at, const char *end, struct dog_span *labels)
{
        labels->text = *at;
        labels->size = 0;
        if (*at == end || **at != '{')
                return true;
        labels->text = ++*at;
        for (;;) {
                exposition_blanks(at, end);
                /* "{}" and a comma before the brace are both allowed. */
                if (*at < end && **at == '}')
                        break;
                struct dog_span name, value;
                if (!exposition_pair(at, end, &name, &value) || *at == end || (**at != ',' && **at != '}'))
                        return false;
                if (**at == ',')
                        ++*at;
        }
        labels->size = (size_t)(*at - labels->text);
        ++*at;
        return true;
}

/* A number as Go writes and reads it: decimal, NaN, +Inf, -Inf. Never hexadecimal, never "nan(...)". */
static bool exposition_number(const char **at, const char *end, double *value)
{
        char text[EXPOSITION_NUMBER];
        size_t n = 0;
        for (; *at < end && **at != ' ' && **at != '\t'; ++*at) {
                if (n == sizeof(text) - 1 || !strchr("0123456789+-.eEINafn", **at) || **at == 0)
                        return false;
                text[n++] = **at;
        }
        text[n] = 0;
        size_t sign = text[0] == '+' || text[0] == '-';
        bool is_word = strcmp(text + sign, "Inf") == 0 || strcmp(text, "NaN") == 0;
        if (!is_word && strpbrk(text, "INafn"))
                return false;
        char *rest;
        *value = strtod(text, &rest);
        return n > 0 && *rest == 0;
}

static bool exposition_line(const char *at, const char *end, struct dog_exposition_sample *s)
{
        s->name = exposition_name(&at, end, true);
        if (s->name.size == 0)
                return false;
        exposition_blanks(&at, end);
        if (!exposition_labels(&at, end, &s->labels))
                return false;
        exposition_blanks(&at, end);
        if (!exposition_number(&at, end, &s->value))
                return false;
        exposition_blanks(&at, end);
        if (at == end)
                return true;
        double stamp;
        return exposition_number(&at, end, &stamp) && (exposition_blanks(&at, end), at == end);
}

bool dog_exposition_next(struct dog_exposition *x, struct dog_exposition_sample *s)
{
        while (x->at < x->end && !x->is_broken) {
                const char *start = x->at;
                const char *end = memchr(start, '\n', (size_t)(x->end - start));
                x->at = end ? end + 1 : x->end;
                x->line++;
                if (!end)
                        end = x->end;
                if (end > start && end[-1] == '\r')
                        end--;
                exposition_blanks(&start, end);
                if (start == end || *start == '#')
                        continue;
                if (exposition_line(start, end, s))
                        return true;
                x->is_broken = true;
        }
        return false;
}

static void exposition_copy(struct dog_span value, char *to, size_t room)
{
        size_t n = 0;
        for (size_t i = 0; i < value.size && n + 1 < room; i++) {
                char c = value.text[i];
                if (c == '\\' && i + 1 < value.size) {
                        c = value.text[++i];
                        c = c == 'n' ? '\n' : c;
                }
                to[n++] = c;
        }
        to[n] = 0;
}

bool dog_exposition_label(const struct dog_exposition_sample *s, const char *name, char *to, size_t room)
{
        const char *at = s->labels.text, *end = at + s->labels.size;
        struct dog_span key, value;
        to[0] = 0;
        while (at < end && exposition_pair(&at, end, &key, &value)) {
                if (dog_span_is(key, name)) {
                        exposition_copy(value, to, room);
                        return true;
                }
                if (at < end && *at == ',')
                        at++;
                exposition_blanks(&at, end);
        }
        return false;
}
