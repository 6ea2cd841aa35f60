/* What commands share: see command.h. Knows none of them. */
#include "ctl/command.h"

#include "base/units.h"
#include "ctl/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int ctl_fail(int code, const char *format, ...)
{
        char text[4096];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        struct out o = out_open(stderr, OUT_TABLE);
        fputs("sundog: ", stderr);
        out_wrapped(&o, text, 8);
        return code;
}

/* ---- options ---- */

static int option_set(const struct option_row *row, void *to, const char *value, struct dog_err *e)
{
        void *at = (char *)to + row->offset;
        char *end = NULL;
        switch (row->type) {
        case OPTION_FLAG:
                *(bool *)at = true;
                return 0;
        case OPTION_TEXT:
                *(const char **)at = value;
                return 0;
        case OPTION_TIME:
                return dog_units_time(value, at, e);
        case OPTION_SHARE:
                return dog_units_share(value, at, e);
        case OPTION_RATE:
                return dog_units_rate(value, at, e);
        case OPTION_NUMBER:
                *(double *)at = strtod(value, &end);
                return *end || end == value ? dog_err_set(e, -EINVAL, "\"%s\" is not a number", value) : 0;
        case OPTION_COUNT:
                *(unsigned *)at = (unsigned)strtoul(value, &end, 10);
                return *end || end == value || *value == '-'
                               ? dog_err_set(e, -EINVAL, "\"%s\" is not a whole number", value)
                               : 0;
        }
        return -EINVAL;
}

const char *option_dashes(const struct option_row *row)
{
        return row->name[1] ? "--" : "-";
}

int options_take(const struct ctl *ctl, void *to, int argc, char **argv)
{
        int left = 0;
        for (int i = 0; i < argc; i++) {
                if (argv[i][0] != '-' || !argv[i][1]) {
                        argv[left++] = argv[i];
                        continue;
                }
                const char *word = argv[i] + (argv[i][1] == '-' ? 2 : 1);
                size_t length = strcspn(word, "=");
                const struct option_row *row = ctl->command->option;
                while (row && row->name &&
                       !(strlen(row->name) == length && strncmp(row->name, word, length) == 0))
                        row++;
                if (!row || !row->name) {
                        ctl_fail(EXIT_USAGE, "%s has no option %s; see: sundog help %s", ctl->command->name,
                                 argv[i], ctl->command->name);
                        return -1;
                }
                const char *value = word[length] == '=' ? word + length + 1 : NULL;
                if (row->type != OPTION_FLAG && !value && i + 1 < argc)
                        value = argv[++i];
                struct dog_err e = {0};
                if (row->type != OPTION_FLAG && !value) {
                        ctl_fail(EXIT_USAGE, "%s%s needs a value: %s", option_dashes(row), row->name,
                                 row->arg);
                        return -1;
                }
                if (option_set(row, to, value, &e) < 0) {
                        ctl_fail(EXIT_USAGE, "%s%s: %s", option_dashes(row), row->name, e.text);
                        return -1;
                }
        }
        return left;
}

int options_take_few(const struct ctl *ctl, void *to, int argc, char **argv, int most)
{
        int words = options_take(ctl, to, argc, argv);
        if (words <= most)
                return words;
        ctl_fail(EXIT_USAGE, "%s does not know what to do with \"%s\"; see: sundog help %s",
                 ctl->command->name, argv[most], ctl->command->name);
        return -1;
}

/* ---- the daemon ---- */

json_t *ctl_ask(struct ctl *ctl, json_t *question, int *code)
{
        struct dog_err e = {0};
        struct client *c = NULL;
        json_t *answer = NULL;
        *code = EXIT_UNREACHABLE;
        if (client_open(&c, ctl->socket, &e) == 0)
                answer = client_ask(c, question, code, &e);
        if (!answer)
                ctl_fail(*code, "%s", e.text);
        client_close(c);
        json_decref(question);
        return answer;
}

const char *ctl_time_text(int64_t wall_ns, char *to)
{
        time_t s = (time_t)(wall_ns / 1000000000);
        struct tm t;
        localtime_r(&s, &t);
        size_t n = strftime(to, 24, "%H:%M:%S", &t);
        snprintf(to + n, 32 - n, ".%03d", (int)(wall_ns / 1000000 % 1000));
        return to;
}

/* ---- files ---- */

int ctl_file_open(FILE **to, const char *name, const char *what)
{
        *to = fopen(name, "w");
        return *to ? EXIT_FINE
                   : ctl_fail(EXIT_FAILED, "cannot write %s to %s: %s", what, name, strerror(errno));
}

int ctl_file_close(FILE *to, const char *name, const char *what, int code)
{
        int failed = ferror(to);
        errno = 0;
        if ((fflush(to) != 0 || failed) && code == EXIT_FINE)
                code = ctl_fail(EXIT_FAILED, "cannot write %s to %s: %s", what, name,
                                errno ? strerror(errno) : "the file did not take all of it");
        fclose(to);
        return code;
}
