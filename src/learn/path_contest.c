#include "learn/path_contest.h"

#include "learn/path_predict.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

enum { TRACES_LEAST = 12, BAD_LEAST = 20 };
static const double contest_errors = 2;
static const double contest_share = 0.01;
static const int contest_horizon_s[] = {1, 5};

/* Squared errors of one model on one trace. */
struct sum {
        double square;
        long outcomes, bad;
};

static int contest_said(void *data, const struct dog_path_said *said, struct dog_err *e)
{
        struct sum *s = data;
        (void)e;
        for (int h = 0; h < 2; h++) {
                int steps = (int)(contest_horizon_s[h] * 1000 / said->trace->step_ms);
                int y = dog_path_trace_outcome(said->trace, said->path, said->step, steps < 1 ? 1 : steps);
                if (y < 0)
                        continue;
                double d = (double)said->belief->mix.p[h] - y;
                s->square += d * d;
                s->outcomes++;
                s->bad += y;
        }
        return 0;
}

static int contest_play(const struct dog_path_trace *t, const struct dog_path_model *m, struct sum *s,
                        struct dog_err *e)
{
        struct dog_path_predict_options o = dog_path_predict_default(m);
        *s = (struct sum){0};
        return dog_path_predict(t, &o, contest_said, s, e);
}

static void contest_decide(struct dog_path_contest *c, double old, double new, double sum, double squares)
{
        double n = c->traces;
        double mean = n > 0 ? sum / n : 0;
        double variance = n > 1 ? (squares - n * mean * mean) / (n - 1) : 0;
        c->score_old = c->outcomes ? old / (double)c->outcomes : (double)NAN;
        c->score_new = c->outcomes ? new / (double)c->outcomes : (double)NAN;
        c->errors = variance > 0 ? mean / sqrt(variance / n) : 0;
        bool is_enough = c->traces >= TRACES_LEAST && c->bad >= BAD_LEAST;
        c->is_better = is_enough && c->errors >= contest_errors && sum >= contest_share * old;
        if (!is_enough)
                snprintf(c->text, sizeof(c->text),
                         "too little to tell: %d pieces of ten minutes with %ld bad outcomes, %d and %d are "
                         "needed",
                         c->traces, c->bad, TRACES_LEAST, BAD_LEAST);
        else
                snprintf(c->text, sizeof(c->text),
                         "Brier score %.4f new, %.4f in force, over %ld outcomes; %s by %.1f standard "
                         "errors, %s",
                         c->score_new, c->score_old, c->outcomes, c->errors >= 0 ? "better" : "worse",
                         fabs(c->errors), c->is_better ? "enough" : "not enough");
}

int dog_path_contest(const struct dog_path_traces *traces, const struct dog_path_model *in_force,
                     const struct dog_path_model *candidate, int (*wait)(void *data), void *data,
                     struct dog_path_contest *out, struct dog_err *e)
{
        double old = 0;
        double new = 0;
        double sum = 0;
        double squares = 0;
        *out = (struct dog_path_contest){0};
        for (int i = 0; i < traces->count; i++) {
                struct sum a;
                struct sum b;
                int rc = contest_play(&traces->list[i], in_force, &a, e);
                if (rc == 0 && wait && wait(data) != 0)
                        rc = dog_err_set(e, -ECANCELED, "stopped");
                if (rc == 0)
                        rc = contest_play(&traces->list[i], candidate, &b, e);
                if (rc == 0 && wait && wait(data) != 0)
                        rc = dog_err_set(e, -ECANCELED, "stopped");
                if (rc < 0)
                        return rc;
                if (a.outcomes == 0)
                        continue;
                double lead = a.square - b.square;
                out->traces++;
                out->outcomes += a.outcomes;
                out->bad += a.bad;
                old += a.square;
                new += b.square;
                sum += lead;
                squares += lead * lead;
        }
        contest_decide(out, old, new, sum, squares);
        return 0;
}
