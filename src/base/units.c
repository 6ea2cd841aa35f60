#include "base/units.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
        const char *name;
        double factor;
};

static const struct unit time_units[] = {{"ns", 1},     {"us", 1e3},   {"ms", 1e6},    {"s", 1e9},
                                         {"min", 6e10}, {"h", 3.6e12}, {"d", 8.64e13}, {NULL, 0}};
static const struct unit size_units[] = {{"B", 1},           {"kB", 1e3},           {"MB", 1e6},
                                         {"GB", 1e9},        {"TB", 1e12},          {"KiB", 1024.0},
                                         {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {NULL, 0}};
static const struct unit rate_units[] = {
        {"bit/s", 1}, {"kbit/s", 1e3}, {"Mbit/s", 1e6}, {"Gbit/s", 1e9}, {NULL, 0}};
static const struct unit share_units[] = {{"%", 0.01}, {"", 1}, {NULL, 0}};

/* A number and a unit of the list; the value in base units. */
static int units_parse(const char *text, const struct unit *list, const char *what, double *value,
                       struct dog_err *e)
{
        char *end = NULL;
        errno = 0;
        double number = strtod(text, &end);
        if (end == text || !isfinite(number) || strchr("+-0123456789.", text[0]) == NULL || !text[0])
                return dog_err_set(e, -EINVAL, "\"%s\" is not a %s: it should start with a number", text,
                                   what);
        while (*end == ' ')
                end++;
        char known[96] = "";
        for (const struct unit *u = list; u->name; u++) {
                if (strcmp(u->name, end) == 0) {
                        *value = number * u->factor;
                        if (number < 0)
                                return dog_err_set(e, -ERANGE, "\"%s\": a %s cannot be negative", text, what);
                        return 0;
                }
                snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", known[0] ? ", " : "",
                         u->name[0] ? u->name : "none");
        }
        if (!*end)
                return dog_err_set(e, -EINVAL, "\"%s\" has no unit: a %s needs one of %s", text, what, known);
        return dog_err_set(e, -EINVAL, "\"%s\": \"%s\" is not a unit of %s; write one of %s", text, end, what,
                           known);
}

int dog_units_time(const char *text, int64_t *ns, struct dog_err *e)
{
        double v = 0;
        int rc = units_parse(text, time_units, "time", &v, e);
        if (rc < 0)
                return rc;
        if (v > 9e18)
                return dog_err_set(e, -ERANGE, "\"%s\" is more than 292 years", text);
        *ns = (int64_t)llround(v);
        return 0;
}

int dog_units_share(const char *text, double *share, struct dog_err *e)
{
        double v = 0;
        int rc = units_parse(text, share_units, "share", &v, e);
        if (rc < 0)
                return rc;
        if (v > 1)
                return dog_err_set(e, -ERANGE, "\"%s\" is more than 100%%", text);
        *share = v;
        return 0;
}

int dog_units_size(const char *text, uint64_t *bytes, struct dog_err *e)
{
        double v = 0;
        int rc = units_parse(text, size_units, "size", &v, e);
        if (rc < 0)
                return rc;
        if (v > 1.8e19)
                return dog_err_set(e, -ERANGE, "\"%s\" does not fit in 64 bits", text);
        *bytes = (uint64_t)v;
        return 0;
}

int dog_units_rate(const char *text, double *bits_per_s, struct dog_err *e)
{
        return units_parse(text, rate_units, "rate", bits_per_s, e);
}

const char *dog_units_time_text(int64_t ns, char *to)
{
        double s = (double)ns / (double)DOG_S;
        if (ns < 0)
                snprintf(to, 16, "-");
        else if (ns == 0)
                snprintf(to, 16, "0s");
        else if (s < 1e-3)
                snprintf(to, 16, "%.0fus", s * 1e6);
        else if (s < 0.1)
                snprintf(to, 16, "%.1fms", s * 1e3);
        else if (s < 1)
                snprintf(to, 16, "%.0fms", s * 1e3);
        else if (s < 120)
                snprintf(to, 16, "%.1fs", s);
        else if (s < 7200)
                snprintf(to, 16, "%dm%02ds", (int)(s / 60), (int)fmod(s, 60));
        else if (s < 172800)
                snprintf(to, 16, "%dh%02dm", (int)(s / 3600), (int)fmod(s / 60, 60));
        else
                snprintf(to, 16, "%.0fd", s / 86400);
        return to;
}

const char *dog_units_size_text(uint64_t bytes, char *to)
{
        static const char *const name[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
        double v = (double)bytes;
        size_t i = 0;
        for (; v >= 1000 && i < 6; i++)
                v /= 1000;
        snprintf(to, 16, v < 10 && i ? "%.1f%s" : "%.0f%s", v, name[i]);
        return to;
}
