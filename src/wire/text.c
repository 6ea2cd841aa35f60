#include "wire/text.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_GZIP_WINDOW = 15 + 16 /* the largest window, gzip only: zlib.h, inflateInit2 */ };
#define TEXT_INTEGER_MAX (INT64_C(1) << 53)

/* zlib's memory through this file, so that a test can let it fail. */
static voidpf text_alloc(voidpf user, uInt items, uInt size)
{
        (void)user;
        return calloc(items, size);
}

static void text_free(voidpf user, voidpf memory)
{
        (void)user;
        free(memory);
}

static void text_init(struct wire_text *t, const char *name)
{
        *t = (struct wire_text){0};
        size_t n = strlen(name);
        if (n < sizeof(t->name))
                memcpy(t->name, name, n + 1);
        else
                snprintf(t->name, sizeof(t->name), "...%s", name + n - (sizeof(t->name) - 4));
}

int wire_text_open(struct wire_text *t, const char *file, struct dog_err *e)
{
        text_init(t, file);
        t->file = fopen(file, "rbe");
        if (!t->file) {
                int rc = -errno;
                return dog_err_set(e, rc, "%s: cannot open: %s", t->name, strerror(-rc));
        }
        /* We have a buffer of our own; the second would only cost. */
        setvbuf(t->file, NULL, _IONBF, 0);
        return 0;
}

void wire_text_open_bytes(struct wire_text *t, const char *name, const void *data, size_t size)
{
        text_init(t, name);
        t->data = data;
        t->left = size;
}

void wire_text_close(struct wire_text *t)
{
        if (t->is_gzip)
                inflateEnd(&t->z);
        if (t->file)
                fclose(t->file);
        t->is_gzip = false;
        t->file = NULL;
}

int wire_text_bad(const struct wire_text *t, const struct wire_field *f, struct dog_err *e,
                  const char *format, ...)
{
        char say[256];
        va_list args;
        va_start(args, format);
        vsnprintf(say, sizeof(say), format, args);
        va_end(args);
        return dog_err_set(e, -EINVAL, "%s:%zu:%zu: %s", t->name, t->line_number, f ? f->column : 1, say);
}

/* ---- octets ---- */

/* More octets as they are stored. @return how many; 0 at the end; < 0 */
static int text_read(struct wire_text *t, struct dog_err *e)
{
        t->raw_at = 0;
        if (t->file) {
                t->raw_size = fread(t->raw, 1, sizeof(t->raw), t->file);
                if (t->raw_size == 0 && ferror(t->file))
                        return dog_err_set(e, -EIO, "%s: cannot read on: %s", t->name, strerror(errno));
        } else {
                t->raw_size = t->left < sizeof(t->raw) ? t->left : sizeof(t->raw);
                if (t->raw_size)
                        memcpy(t->raw, t->data, t->raw_size);
                t->data += t->raw_size;
                t->left -= t->raw_size;
        }
        return (int)t->raw_size;
}

static int text_begin(struct wire_text *t, struct dog_err *e)
{
        int n = text_read(t, e);
        if (n < 0)
                return n;
        if (n == 0)
                return dog_err_set(e, -EINVAL, "%s: the file is empty", t->name);
        t->is_begun = true;
        if (n < 2 || t->raw[0] != 0x1f || t->raw[1] != 0x8b)
                return 0;
        t->z.zalloc = text_alloc;
        t->z.zfree = text_free;
        if (inflateInit2(&t->z, TEXT_GZIP_WINDOW) != Z_OK)
                return dog_err_set(e, -ENOMEM, "%s: no memory to unpack gzip", t->name);
        t->is_gzip = true;
        t->in_member = true;
        return 0;
}

/* Unpack what is there. @return octets made, maybe 0; < 0 */
static int text_inflate(struct wire_text *t, struct dog_err *e)
{
        if (!t->in_member) {
                /* gzip files may stand one after the other (RFC 1952, 2.2) */
                if (inflateReset(&t->z) != Z_OK)
                        return dog_err_set(e, -EINVAL, "%s: gzip cannot go on", t->name);
                t->in_member = true;
        }
        t->z.next_in = t->raw + t->raw_at;
        t->z.avail_in = (uInt)(t->raw_size - t->raw_at);
        t->z.next_out = t->plain;
        t->z.avail_out = sizeof(t->plain);
        int rc = inflate(&t->z, Z_NO_FLUSH);
        t->raw_at = t->raw_size - t->z.avail_in;
        t->plain_size = sizeof(t->plain) - t->z.avail_out;
        if (rc == Z_STREAM_END)
                t->in_member = false;
        else if (rc == Z_MEM_ERROR)
                return dog_err_set(e, -ENOMEM, "%s: no memory to unpack gzip", t->name);
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
                return dog_err_set(e, -EINVAL, "%s: damaged gzip after line %zu: %s", t->name, t->line_number,
                                   t->z.msg ? t->z.msg : "no reason given");
        return (int)t->plain_size;
}

/* More plain octets. @return 1; 0 at the end; < 0 */
static int text_fill(struct wire_text *t, struct dog_err *e)
{
        t->plain_at = t->plain_size = 0;
        if (!t->is_begun) {
                int rc = text_begin(t, e);
                if (rc < 0)
                        return rc;
        }
        while (t->plain_size == 0) {
                /* zlib may hold output back with no input left: ask it before reading on. */
                if (t->raw_at == t->raw_size) {
                        int n = text_read(t, e);
                        if (n < 0)
                                return n;
                        if (n == 0 && t->in_member)
                                return dog_err_set(e, -EINVAL, "%s: gzip is cut short after line %zu",
                                                   t->name, t->line_number);
                        if (n == 0)
                                return 0;
                }
                if (!t->is_gzip) {
                        memcpy(t->plain, t->raw + t->raw_at, t->raw_size - t->raw_at);
                        t->plain_size = t->raw_size - t->raw_at;
                        t->raw_at = t->raw_size;
                        continue;
                }
                int n = text_inflate(t, e);
                if (n < 0)
                        return n;
        }
        return 1;
}

/* ---- lines ---- */

/* Read a line into t->line, without its end. @return 1; 0 at the end; < 0 */
static int text_line(struct wire_text *t, struct dog_err *e)
{
        size_t used = 0;
        bool is_any = false;
        for (;;) {
                if (t->plain_at == t->plain_size) {
                        int rc = text_fill(t, e);
                        if (rc < 0)
                                return rc;
                        if (rc == 0)
                                break;
                }
                if (!is_any)
                        t->line_number++;
                is_any = true;
                char c = (char)t->plain[t->plain_at++];
                if (c == '\n')
                        break;
                struct wire_field here = {.column = used + 1};
                if (used > 0 && t->line[used - 1] == '\r')
                        return wire_text_bad(t, &here, e, "a carriage return inside a line");
                if (((unsigned char)c < 0x20 && c != '\r') || c == 0x7f)
                        return wire_text_bad(t, &here, e, "octet 0x%02x is not text: is this the right file?",
                                             (unsigned)(unsigned char)c);
                if (used == WIRE_TEXT_LINE)
                        return wire_text_bad(t, &here, e, "the line is longer than %d octets",
                                             WIRE_TEXT_LINE);
                t->line[used++] = c;
        }
        if (used > 0 && t->line[used - 1] == '\r')
                used--;
        t->line[used] = 0;
        return is_any;
}

/* Unquote the field that begins at *at with a quote, in place. @return 0 or -EINVAL; *at behind it */
static int text_unquote(const struct wire_text *t, struct wire_field *f, char **at, struct dog_err *e)
{
        char *from = *at + 1;
        char *to = f->text = from;
        for (;; from++) {
                if (*from == 0)
                        return wire_text_bad(t, f, e, "a quote is not closed");
                if (*from == '"' && *++from != '"')
                        break;
                *to++ = *from;
        }
        if (*from != ',' && *from != 0)
                return wire_text_bad(t, f, e, "text after a closing quote");
        *at = from;
        *to = 0;
        return 0;
}

static int text_split(struct wire_text *t, struct dog_err *e)
{
        t->fields = 0;
        for (char *at = t->line;; at++) {
                struct wire_field f = {.text = at, .column = (size_t)(at - t->line) + 1};
                if (t->fields == WIRE_TEXT_FIELDS)
                        return wire_text_bad(t, &f, e, "more than %d fields", WIRE_TEXT_FIELDS);
                if (*at == '"') {
                        int rc = text_unquote(t, &f, &at, e);
                        if (rc < 0)
                                return rc;
                } else {
                        at += strcspn(at, ",");
                }
                t->field[t->fields++] = f;
                if (*at == 0)
                        return 0;
                *at = 0;
        }
}

int wire_text_next(struct wire_text *t, struct dog_err *e)
{
        int rc = text_line(t, e);
        if (rc <= 0)
                return rc;
        rc = text_split(t, e);
        return rc < 0 ? rc : 1;
}

/* ---- fields ---- */

int wire_text_number(const struct wire_text *t, const struct wire_field *f, const char *what, double low,
                     double high, double *value, struct dog_err *e)
{
        char *end = NULL;
        /* strtod also takes nan, inf, hex and spaces: none of these is a measurement. */
        bool is_plain = f->text[0] && f->text[strspn(f->text, "0123456789+-.eE")] == 0;
        double v = is_plain ? strtod(f->text, &end) : 0;
        if (!is_plain || *end || end == f->text || !isfinite(v))
                return wire_text_bad(
                        t, f, e,
                        "%s \"%.32s\" is not a number; leave the field empty where nothing was measured",
                        what, f->text);
        if (v < low || v > high) {
                if (isfinite(high))
                        return wire_text_bad(t, f, e, "%s %.32s is not in %g .. %g", what, f->text, low,
                                             high);
                return wire_text_bad(t, f, e, "%s %.32s is below %g", what, f->text, low);
        }
        *value = v;
        return 0;
}

int wire_text_integer(const struct wire_text *t, const struct wire_field *f, const char *what, int64_t *value,
                      struct dog_err *e)
{
        int64_t v = 0;
        const char *at = f->text;
        for (; *at >= '0' && *at <= '9' && v < TEXT_INTEGER_MAX; at++)
                v = v * 10 + (*at - '0');
        if (*at || at == f->text || v > TEXT_INTEGER_MAX)
                return wire_text_bad(t, f, e, "%s \"%.32s\" is not a whole number from 0 to 2^53", what,
                                     f->text);
        *value = v;
        return 0;
}
