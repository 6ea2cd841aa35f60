#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum dog_log_level log_most = DOG_LOG_INFO;

void dog_log_level_set(enum dog_log_level most)
{
        log_most = most;
}

void dog_log(enum dog_log_level level, const char *format, ...)
{
        static const char *const journal[] = {"<3>", "<4>", "<6>", "<7>"};
        static const char *const plain[] = {"error: ", "warning: ", "", "debug: "};
        if (level > log_most)
                return;
        char line[1024];
        int used = snprintf(line, sizeof(line), "%s", (getenv("JOURNAL_STREAM") ? journal : plain)[level]);
        va_list args;
        va_start(args, format);
        int more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
        va_end(args);
        if (more < 0)
                return;
        size_t length = strlen(line);
        line[length++] = '\n';
        /* One write, so that lines of two processes do not mix. */
        ssize_t wrote = write(STDERR_FILENO, line, length);
        (void)wrote;
}
