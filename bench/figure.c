#include "figure.h"

#include <stdio.h>
#include <stdlib.h>

static int figure_compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;
        return (x > y) - (x < y);
}

double figure_median(double *values, size_t count)
{
        if (!count)
                return 0;
        qsort(values, count, sizeof(*values), figure_compare);
        return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

void figure_print(const char *name, const char *unit, double *values, size_t count)
{
        if (!count) {
                figure_null(name, unit, "no run was completed");
                return;
        }
        double median = figure_median(values, count);
        fprintf(stderr, "%-32s %12.4g %-8s  %.4g .. %.4g, %zu runs\n", name, median, unit, values[0],
                values[count - 1], count);
        printf("{\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"min\":%.6g,\"max\":%.6g,\"runs\":%zu}\n",
               name, median, unit, values[0], values[count - 1], count);
        fflush(stdout);
}

void figure_null(const char *name, const char *unit, const char *why)
{
        fprintf(stderr, "%-32s %12s %-8s  %s\n", name, "-", unit, why);
        /* A reason is ours, but it may quote an error text: keep the JSON whole. */
        printf("{\"figure\":\"%s\",\"value\":null,\"unit\":\"%s\",\"why\":\"", name, unit);
        for (const char *c = why; *c; c++)
                putchar(*c == '"' || *c == '\\' || (unsigned char)*c < ' ' ? '\'' : *c);
        printf("\"}\n");
        fflush(stdout);
}

double figure_seconds(double preset)
{
        const char *text = getenv("SECONDS_PER");
        char *end = NULL;
        double seconds = text ? strtod(text, &end) : 0;
        return text && end != text && seconds > 0 && seconds < 3600 ? seconds : preset;
}
