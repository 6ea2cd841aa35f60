/* Trace files and their index. The first octet says which; the rest is the file. */
#include "fuzz.h"
#include "wire/trace.h"

#include <math.h>
#include <string.h>

static void fuzz_rows(const uint8_t *data, size_t size)
{
        struct dog_err e = {0};
        struct dog_trace *t;
        struct dog_trace_row row;
        int rc = dog_trace_open_bytes(&t, "x", data, size, &e);
        FUZZ_NEED(rc == 0 ? t != NULL : t == NULL && strncmp(e.text, "x:", 2) == 0);
        if (rc < 0)
                return;
        int64_t last_ms = 0;
        while ((rc = dog_trace_next(t, &row, &e)) > 0) {
                FUZZ_NEED(row.t_ms >= last_ms && row.path < dog_trace_paths(t));
                FUZZ_NEED(isfinite(row.rtt_ms) && row.rtt_ms >= 0 && isfinite(row.rate_kbps) &&
                          row.rate_kbps >= 0);
                FUZZ_NEED(row.loss >= 0 && row.loss <= 1);
                size_t name = strlen(dog_trace_path_name(t, row.path));
                FUZZ_NEED(name > 0 && name < DOG_TRACE_NAME);
                last_ms = row.t_ms;
        }
        FUZZ_NEED(rc == 0 || strncmp(e.text, "x:", 2) == 0);
        FUZZ_NEED(dog_trace_next(t, &row, &e) == rc);
        dog_trace_close(t);
}

static void fuzz_index(const uint8_t *data, size_t size)
{
        struct dog_err e = {0};
        struct dog_trace_index *x;
        struct dog_trace_about a;
        int rc = dog_trace_index_open_bytes(&x, "x", data, size, &e);
        FUZZ_NEED(rc == 0 ? x != NULL : x == NULL && strncmp(e.text, "x:", 2) == 0);
        if (rc < 0)
                return;
        while ((rc = dog_trace_index_next(x, &a, &e)) > 0)
                FUZZ_NEED(a.step_ms > 0 && a.need_kbps >= 0 && a.name[0] && a.name[0] != '.' &&
                          !strchr(a.name, '/'));
        FUZZ_NEED(rc == 0 || strncmp(e.text, "x:", 2) == 0);
        dog_trace_index_close(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        if (data[0] & 1)
                fuzz_index(data + 1, size - 1);
        else
                fuzz_rows(data + 1, size - 1);
        return 0;
}
