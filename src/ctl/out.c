#include "ctl/out.h"

#include "base/units.h"
#include "daemon/say.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMNS_MAX = 24, CELL_MAX = 400, LAST_LEAST = 24 };

bool out_format_parse(const char *word, enum out_format *format)
{
        static const char *const name[] = {"table", "json", "jsonl"};
        for (int i = 0; i < 3; i++) {
                if (strcmp(word, name[i]) == 0) {
                        *format = (enum out_format)i;
                        return true;
                }
        }
        return false;
}

struct out out_open(FILE *to, enum out_format format)
{
        const char *none = getenv("NO_COLOR");
        struct winsize size;
        bool is_terminal = isatty(fileno(to));
        return (struct out){.format = format,
                            .to = to,
                            .has_colour = is_terminal && !(none && *none),
                            .width = is_terminal && ioctl(fileno(to), TIOCGWINSZ, &size) == 0 ? size.ws_col
                                                                                              : 0};
}

const char *out_colour(const struct out *o, const char *name)
{
        static const struct {
                const char *name, *code;
        } row[] = {{"bold", "\033[1m"},    {"dim", "\033[2m"},   {"red", "\033[31m"}, {"green", "\033[32m"},
                   {"yellow", "\033[33m"}, {"cyan", "\033[36m"}, {"plain", "\033[0m"}};
        for (size_t i = 0; o->has_colour && i < sizeof(row) / sizeof(row[0]); i++)
                if (strcmp(row[i].name, name) == 0)
                        return row[i].code;
        return "";
}

size_t out_width(const char *text)
{
        size_t width = 0;
        for (; *text; text++)
                width += ((unsigned char)*text & 0xc0) != 0x80;
        return width;
}

/* One value as a person reads it. */
static void cell_text(const json_t *value, const struct out_column *c, char *to)
{
        const char *unit = c->unit ? c->unit : "";
        if (!value || json_is_null(value)) {
                snprintf(to, CELL_MAX, "-");
        } else if (json_is_string(value)) {
                snprintf(to, CELL_MAX, "%s", json_string_value(value));
        } else if (json_is_boolean(value)) {
                snprintf(to, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
        } else if (!json_is_number(value)) {
                char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
                snprintf(to, CELL_MAX, "%s", text ? text : "?");
                free(text);
        } else {
                double v = json_number_value(value);
                char size[16];
                if (isnan(v))
                        snprintf(to, CELL_MAX, "-");
                else if (strcmp(unit, "%") == 0)
                        snprintf(to, CELL_MAX, "%.*f%%", c->digits, 100 * v);
                else if (strcmp(unit, "bytes") == 0)
                        snprintf(to, CELL_MAX, "%s", dog_units_size_text((uint64_t)v, size));
                else if (strcmp(unit, "ns") == 0)
                        snprintf(to, CELL_MAX, "%s", dog_units_time_text((int64_t)v, size));
                else
                        snprintf(to, CELL_MAX, "%.*f%s", c->digits, v, unit);
        }
}

/* As many words as fit into `room`; all of it when the first one does not. @return bytes, without the space
 */
static size_t cell_line(const char *text, size_t room)
{
        size_t best = 0;
        size_t width = 0;
        size_t i = 0;
        for (; text[i]; i++) {
                if (text[i] == ' ' && width <= room)
                        best = i;
                width += ((unsigned char)text[i] & 0xc0) != 0x80;
        }
        return width <= room || best == 0 ? i : best;
}

/*
 * The last column is the one with sentences. What does not fit beside the others goes on below itself; where
 * too little is left to read it there, it has lines of its own.
 */
void out_wrapped(const struct out *o, const char *cell, size_t at)
{
        bool is_narrow =
                *cell && o->width > 0 && at + LAST_LEAST > o->width && out_width(cell) + at > o->width;
        size_t indent = is_narrow ? 4 : at;
        size_t room = o->width > indent ? o->width - indent : SIZE_MAX;
        if (is_narrow)
                fprintf(o->to, "\n%*s", (int)indent, "");
        for (;;) {
                size_t n = cell_line(cell, room);
                fprintf(o->to, "%.*s\n", (int)n, cell);
                cell += n;
                while (*cell == ' ')
                        cell++;
                if (!*cell)
                        return;
                fprintf(o->to, "%*s", (int)indent, "");
        }
}

void out_words(const struct out *o, const struct out_word *words)
{
        size_t width = 0;
        for (const struct out_word *w = words; w->word; w++)
                width = out_width(w->word) > width ? out_width(w->word) : width;
        for (const struct out_word *w = words; w->word; w++) {
                fprintf(o->to, "%s%s%s%*s", out_colour(o, "bold"), w->word, out_colour(o, "plain"),
                        (int)(width - out_width(w->word)) + 2, "");
                out_wrapped(o, w->means, width + 2);
        }
}

/* What is shown of a table, and how wide. */
struct layout {
        struct out_column column[COLUMNS_MAX];
        char title[COLUMNS_MAX][32];
        size_t width[COLUMNS_MAX], columns;
        char spared[CELL_MAX]; /* titles of what was left out */
};

static void layout_take(struct layout *l, const json_t *rows, const struct out_column *column)
{
        char cell[CELL_MAX];
        for (l->columns = 0; l->columns < COLUMNS_MAX && column[l->columns].key; l->columns++) {
                size_t k = l->columns, i;
                const struct out_column *c = &column[k];
                const json_t *row;
                l->column[k] = *c;
                snprintf(l->title[k], sizeof(l->title[0]), "%s", c->title ? c->title : c->key);
                for (char *t = l->title[k]; !c->title && *t; t++)
                        *t = (char)(*t >= 'a' && *t <= 'z' ? *t - 'a' + 'A' : *t == '_' ? ' ' : *t);
                l->width[k] = out_width(l->title[k]);
                json_array_foreach(rows, i, row)
                {
                        cell_text(json_object_get(row, c->key), c, cell);
                        size_t w = out_width(cell);
                        l->width[k] = w > l->width[k] ? w : l->width[k];
                }
        }
}

/* Columns that are needed; a last one of text may go on below itself. */
static size_t layout_needs(const struct layout *l)
{
        size_t needs = 0;
        for (size_t k = 0; k < l->columns; k++) {
                bool is_wrapped = k + 1 == l->columns && !l->column[k].is_right && l->width[k] > LAST_LEAST;
                needs += is_wrapped ? LAST_LEAST : l->width[k];
                needs += k + 1 < l->columns ? 2 : 0;
        }
        return needs;
}

/* Leave out what can be spared until the rest fits. */
static void layout_fit(struct layout *l, size_t room)
{
        l->spared[0] = '\0';
        while (room && layout_needs(l) > room) {
                size_t least = 0;
                for (size_t k = 1; k < l->columns; k++)
                        if (l->column[k].spare > l->column[least].spare)
                                least = k;
                if (l->column[least].spare == 0)
                        return;
                size_t at = strlen(l->spared), after = l->columns - least - 1;
                snprintf(l->spared + at, sizeof(l->spared) - at, "%s%s", at ? ", " : "", l->title[least]);
                memmove(&l->column[least], &l->column[least + 1], after * sizeof(l->column[0]));
                memmove(&l->title[least], &l->title[least + 1], after * sizeof(l->title[0]));
                memmove(&l->width[least], &l->width[least + 1], after * sizeof(l->width[0]));
                l->columns--;
        }
}

static void layout_titles(const struct out *o, const struct layout *l)
{
        size_t begins = 0;
        fputs(out_colour(o, "bold"), o->to);
        for (size_t k = 0; k < l->columns; k++) {
                int pad = (int)(l->width[k] - out_width(l->title[k]));
                bool is_last = k + 1 == l->columns;
                bool is_below = is_last && o->width && begins + out_width(l->title[k]) > o->width;
                if (is_below && !l->column[k].is_right)
                        break;
                begins += l->width[k] + 2;
                if (l->column[k].is_right)
                        fprintf(o->to, "%*s%s", pad, "", l->title[k]);
                else
                        fprintf(o->to, "%s%*s", l->title[k], is_last ? 0 : pad, "");
                fputs(is_last ? "" : "  ", o->to);
        }
        fprintf(o->to, "%s\n", out_colour(o, "plain"));
}

static void layout_row(const struct out *o, const struct layout *l, const json_t *row)
{
        char cell[CELL_MAX];
        size_t at = 0;
        for (size_t k = 0; k < l->columns; k++) {
                cell_text(json_object_get(row, l->column[k].key), &l->column[k], cell);
                int pad = (int)(l->width[k] - out_width(cell));
                bool is_last = k + 1 == l->columns;
                if (is_last && !l->column[k].is_right) {
                        out_wrapped(o, cell, at);
                        break;
                }
                if (l->column[k].is_right)
                        fprintf(o->to, "%*s%s", pad, "", cell);
                else
                        fprintf(o->to, "%s%*s", cell, pad, "");
                fputs(is_last ? "\n" : "  ", o->to);
                at += l->width[k] + 2;
        }
}

static void out_table(const struct out *o, const json_t *rows, const struct out_column *column)
{
        struct layout l;
        size_t i;
        const json_t *row;
        layout_take(&l, rows, column);
        layout_fit(&l, o->width);
        layout_titles(o, &l);
        json_array_foreach(rows, i, row) layout_row(o, &l, row);
        if (json_array_size(rows) == 0)
                fprintf(o->to, "%s(none)%s\n", out_colour(o, "dim"), out_colour(o, "plain"));
        if (l.spared[0]) {
                char text[CELL_MAX + 64];
                snprintf(text, sizeof(text), "(no room for %s: a wider terminal, or -o json)", l.spared);
                fputs(out_colour(o, "dim"), o->to);
                out_wrapped(o, text, 0);
                fputs(out_colour(o, "plain"), o->to);
        }
}

static void out_json(const struct out *o, const json_t *value, size_t flags)
{
        json_dumpf(value, o->to, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
        fputc('\n', o->to);
}

void out_rows(const struct out *o, const json_t *rows, const struct out_column *column)
{
        size_t i;
        const json_t *row;
        switch (o->format) {
        case OUT_TABLE:
                out_table(o, rows, column);
                break;
        case OUT_JSON:
                out_json(o, rows, JSON_INDENT(2));
                break;
        case OUT_JSONL:
                json_array_foreach(rows, i, row) out_json(o, row, JSON_COMPACT);
                break;
        }
        fflush(o->to);
}

void out_object(const struct out *o, const json_t *object)
{
        if (o->format != OUT_TABLE) {
                out_json(o, object, o->format == OUT_JSON ? JSON_INDENT(2) : JSON_COMPACT);
                return;
        }
        const char *key;
        json_t *value;
        char cell[CELL_MAX];
        const struct out_column plain = {.digits = 3};
        json_object_foreach((json_t *)(uintptr_t)object, key, value)
        {
                cell_text(value, &plain, cell);
                fprintf(o->to, "%-18s %s\n", key, cell);
        }
}

void out_risk_bars(const json_t *row, char *to, size_t room)
{
        static const char *const bar[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
        static const char *const key[] = {"p_near", "p_middle", "p_far"};
        to[0] = 0;
        for (int i = 0; i < 3; i++) {
                double p = say_number(row, key[i]);
                int at = isnan(p) ? 0 : (int)(p * 7.999);
                say_append(to, room, "%s", bar[at < 0 ? 0 : at > 7 ? 7 : at]);
        }
        double p = say_number(row, "p_near");
        if (!isnan(p))
                say_append(to, room, " %.0f%%", 100 * p);
}
