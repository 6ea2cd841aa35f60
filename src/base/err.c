#include "base/err.h"

#include <stdio.h>
#include <string.h>

int dog_err_set(struct dog_err *e, int rc, const char *format, ...)
{
        if (e) {
                va_list args;
                va_start(args, format);
                vsnprintf(e->text, sizeof(e->text), format, args);
                va_end(args);
        }
        return rc;
}

int dog_err_prefix(struct dog_err *e, int rc, const char *format, ...)
{
        if (!e)
                return rc;
        struct dog_err front = {0};
        va_list args;
        va_start(args, format);
        vsnprintf(front.text, sizeof(front.text) - 2, format, args);
        va_end(args);
        size_t used = strlen(front.text);
        size_t more = strlen(e->text);
        if (more > 0) {
                memcpy(front.text + used, ": ", 2);
                used += 2;
        }
        if (more > sizeof(front.text) - 1 - used)
                more = sizeof(front.text) - 1 - used;
        memcpy(front.text + used, e->text, more);
        front.text[used + more] = 0;
        *e = front;
        return rc;
}
