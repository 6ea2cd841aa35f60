#include "sources/trace.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

struct dog_trace_feed {
        struct dog_trace_feed_conf conf;
        struct dog_trace *trace;
        struct dog_trace_row row; /* the next one to hand over */
        int rc;                   /* 1: row is there; else what ended the trace */
        struct dog_err err;
};

int dog_trace_feed_new(struct dog_trace_feed **out, const struct dog_trace_feed_conf *conf, struct dog_err *e)
{
        *out = NULL;
        struct dog_trace_feed *f = calloc(1, sizeof(*f));
        if (!f)
                return dog_err_set(e, -ENOMEM, "%s: no memory to play it", conf->file);
        f->conf = *conf;
        f->conf.file = NULL; /* borrowed only for this call */
        int rc = dog_trace_open(&f->trace, conf->file, e);
        if (rc == 0) {
                f->rc = rc = dog_trace_next(f->trace, &f->row, e);
                if (rc == 0)
                        rc = dog_err_set(e, -EINVAL, "%s: a header and no rows: nothing to play", conf->file);
        }
        if (rc < 0) {
                dog_trace_feed_free(f);
                return rc;
        }
        *out = f;
        return 0;
}

static int64_t feed_at(const struct dog_trace_feed *f)
{
        /* 2^53 ms do not fit into 63 bits of ns: such a row is never due. */
        if (f->row.t_ms > (INT64_MAX - f->conf.start_ns) / DOG_MS)
                return INT64_MAX;
        return f->conf.start_ns + f->row.t_ms * DOG_MS;
}

int64_t dog_trace_feed_next_ns(const struct dog_trace_feed *f)
{
        return f->rc == 1 ? feed_at(f) : INT64_MAX;
}

int dog_trace_feed_play(struct dog_trace_feed *f, int64_t until_ns, struct dog_err *e)
{
        while (f->rc == 1 && feed_at(f) <= until_ns) {
                struct dog_sample s = dog_sample_at(feed_at(f));
                if (f->row.has_rtt)
                        s.value[DOG_SIGNAL_RTT] = f->row.rtt_ms;
                if (f->row.has_loss)
                        s.value[DOG_SIGNAL_LOSS] = f->row.loss;
                if (f->row.has_rate)
                        s.value[DOG_SIGNAL_RATE] = f->row.rate_kbps;
                f->conf.sample(f->conf.user, f->row.path, &s);
                f->rc = dog_trace_next(f->trace, &f->row, &f->err);
        }
        if (f->rc < 0 && e)
                *e = f->err;
        return f->rc;
}

const char *dog_trace_feed_path_name(const struct dog_trace_feed *f, unsigned path)
{
        return dog_trace_path_name(f->trace, path);
}

unsigned dog_trace_feed_paths(const struct dog_trace_feed *f)
{
        return dog_trace_paths(f->trace);
}

void dog_trace_feed_free(struct dog_trace_feed *f)
{
        if (!f)
                return;
        dog_trace_close(f->trace);
        free(f);
}
