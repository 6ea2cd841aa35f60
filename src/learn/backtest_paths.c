#include "learn/backtest_paths.h"

#include "base/clock.h"
#include "base/words.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

DOG_WORDS(dog_forecaster_word, enum dog_forecaster_kind, DOG_FORECASTERS, DOG_COLUMN_2)

/* ---- what was said ---- */

static int said_room(struct dog_trace_said *said, const struct dog_path_trace *t, bool has_joint)
{
        size_t points = (size_t)t->paths * (size_t)t->length;
        double *room[DOG_RISK_TARGETS + 1] = {NULL};
        bool is_enough = true;
        for (int g = 0; g <= DOG_RISK_TARGETS; g++) {
                size_t count = g < DOG_RISK_TARGETS ? points : has_joint ? points * (size_t)t->paths : 0;
                room[g] = count ? malloc(count * sizeof(double)) : NULL;
                is_enough &= room[g] || !count;
                for (size_t i = 0; room[g] && i < count; i++)
                        room[g][i] = (double)NAN;
        }
        memcpy(said->p, room, sizeof(said->p));
        said->joint = room[DOG_RISK_TARGETS];
        if (is_enough)
                return 0;
        dog_trace_said_free(said);
        return -ENOMEM;
}

void dog_trace_said_free(struct dog_trace_said *said)
{
        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                free(said->p[g]);
        free(said->joint);
        *said = (struct dog_trace_said){0};
}

/* Beliefs of one step, until all paths of it have spoken: the joint chance needs two of them. */
struct listener {
        const struct dog_path_trace *trace;
        struct dog_trace_said *said;
        struct dog_path_shared *shared;
        struct dog_path_belief *belief; /* one a path; NULL: no joint chance is asked for */
        int step[DOG_PATH_TRACE_PATHS];
        int now;
};

static void listener_pairs(struct listener *l)
{
        const struct dog_path_trace *t = l->trace;
        for (int a = 0; l->belief && l->now >= 0 && a < t->paths; a++)
                for (int b = 0; b < t->paths; b++)
                        if (a != b && l->step[a] == l->now && l->step[b] == l->now)
                                l->said->joint[(a * t->paths + b) * t->length + l->now] =
                                        dog_path_risk_joint(l->shared, &l->belief[a], &l->belief[b]);
}

static int listener_hear(void *data, const struct dog_path_said *said, struct dog_err *e)
{
        struct listener *l = data;
        (void)e;
        if (said->step != l->now)
                listener_pairs(l);
        l->now = said->step;
        l->step[said->path] = said->step;
        if (l->belief)
                l->belief[said->path] = *said->belief;
        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                l->said->p[g][said->path * l->trace->length + said->step] = (double)said->belief->mix.p[g];
        return 0;
}

static bool model_has_joint(const struct dog_path_model *m)
{
        for (int r = 0; m && r < DOG_PATH_REGIMES; r++)
                if (m->expert[r].pairs)
                        return true;
        return false;
}

static int forecast_model(const struct dog_path_trace *t, const struct dog_path_model *m,
                          struct dog_trace_said *out, struct dog_err *e)
{
        struct dog_path_predict_options o = dog_path_predict_default(m);
        struct dog_path_shared *shared = malloc(sizeof(*shared));
        struct listener l = {.trace = t, .said = out, .shared = shared, .now = -1};
        memset(l.step, -1, sizeof(l.step));
        if (out->joint)
                l.belief = calloc((size_t)t->paths, sizeof(*l.belief));
        int rc = shared && (l.belief || !out->joint) ? 0
                                                     : dog_err_set(e, -ENOMEM, "%s: out of memory", t->name);
        if (rc == 0) {
                struct dog_risk_config config = dog_risk_config_default();
                dog_path_shared_init(shared, &config, m);
                rc = dog_path_predict(t, &o, listener_hear, &l, e);
                listener_pairs(&l);
        }
        free(l.belief);
        free(shared);
        return rc;
}

static void forecast_plain(const struct dog_path_trace *t, enum dog_forecaster_kind kind,
                           struct dog_trace_said *out)
{
        static const double horizon_s[DOG_RISK_TARGETS] = {1, 5, 30, 0};
        double step_s = (double)t->step_ms / 1000;
        for (int p = 0; p < t->paths; p++)
                for (int g = 0; g < DOG_RISK_TARGETS; g++) {
                        double half_life = horizon_s[g] > step_s ? horizon_s[g] : step_s;
                        double keep = pow(0.5, step_s / half_life);
                        double bad = 0;
                        double weight = 0;
                        for (int k = 0; k < t->length; k++) {
                                const struct dog_path_point *q = &t->point[p * t->length + k];
                                bad *= keep;
                                weight *= keep;
                                if (!q->is_seen)
                                        continue;
                                bad += q->is_bad_seen;
                                weight += 1;
                                out->p[g][p * t->length + k] =
                                        kind == DOG_FORECASTER_EWMA ? bad / weight : (double)q->is_bad_seen;
                        }
                }
}

int dog_trace_forecast(const struct dog_path_trace *t, const struct dog_forecaster *f,
                       struct dog_trace_said *out, struct dog_err *e)
{
        const struct dog_path_model *model = f->kind == DOG_FORECASTER_MODEL ? f->model : NULL;
        *out = (struct dog_trace_said){0};
        if (said_room(out, t, model_has_joint(model)) < 0)
                return dog_err_set(e, -ENOMEM, "%s: out of memory", t->name);
        if (f->kind == DOG_FORECASTER_PERSISTENCE || f->kind == DOG_FORECASTER_EWMA) {
                forecast_plain(t, f->kind, out);
                return 0;
        }
        int rc = forecast_model(t, model, out, e);
        if (rc < 0)
                dog_trace_said_free(out);
        return rc;
}

/* ---- a family ---- */

struct dog_backtest_options dog_backtest_default(void)
{
        struct dog_tradeoff t = dog_tradeoff_begin();
        return (struct dog_backtest_options){.power = 1,
                                             .hysteresis = t.hysteresis,
                                             .delay_ms = t.delay_ms,
                                             .forecaster = {.kind = DOG_FORECASTER_LOGISTIC}};
}

/* What the judge needs of a trace beside what was said. */
struct judged {
        bool *is_seen, *is_bad;
        double *steer;
};

static void judged_free(struct judged *j)
{
        free(j->is_seen);
        free(j->is_bad);
        free(j->steer);
}

static int backtest_judge(struct dog_path_judge *judge, const struct dog_path_trace *t,
                          const struct dog_trace_said *said, const struct dog_backtest_options *o,
                          struct dog_err *e)
{
        size_t points = (size_t)t->paths * (size_t)t->length;
        const double *policy = said->p[o->is_next ? DOG_RISK_NEXT : DOG_RISK_H0];
        struct judged j = {.is_seen = malloc(points),
                           .is_bad = malloc(points),
                           .steer = malloc(points * sizeof(double))};
        if (!j.is_seen || !j.is_bad || !j.steer) {
                judged_free(&j);
                return dog_err_set(e, -ENOMEM, "%s: out of memory", t->name);
        }
        for (size_t i = 0; i < points; i++) {
                j.is_seen[i] = t->point[i].is_seen;
                j.is_bad[i] = t->point[i].is_bad;
                j.steer[i] = pow(policy[i], o->power);
        }
        struct dog_judged_path record = {
                .paths = t->paths,
                .steps = (size_t)t->length,
                .step_ms = t->step_ms,
                .pace = t->pace,
                .is_seen = j.is_seen,
                .is_bad = j.is_bad,
                .p = {said->p[DOG_RISK_H0], said->p[DOG_RISK_H1], said->p[DOG_RISK_H2]},
                .p_copy = policy,
                .p_steer = j.steer,
                .joint = said->joint};
        int rc = dog_path_judge_add(judge, &record, e);
        judged_free(&j);
        return rc;
}

static int backtest_trace(struct dog_path_judge *judge, const struct dog_path_trace *t,
                          const struct dog_backtest_options *o, int done, int of, struct dog_err *e)
{
        struct dog_trace_said said;
        const struct dog_forecaster *f = o->choose ? o->choose(o->choose_data, t) : &o->forecaster;
        int rc = dog_trace_forecast(t, f, &said, e);
        if (rc < 0)
                return rc;
        rc = backtest_judge(judge, t, &said, o, e);
        if (rc == 0 && o->each)
                rc = o->each(o->each_data, t, &said, done, of, e);
        dog_trace_said_free(&said);
        return rc;
}

int dog_backtest_paths(const struct dog_path_traces *traces, const char *family,
                       const struct dog_backtest_options *o, struct dog_path_report *report,
                       struct dog_err *e)
{
        struct dog_path_judge *judge;
        int of = 0;
        int done = 0;
        *report = (struct dog_path_report){0};
        for (int i = 0; i < traces->count; i++)
                of += !family || strcmp(traces->list[i].family, family) == 0;
        if (of == 0)
                return dog_err_set(e, -ENODATA, "there is no trace of the family \"%s\"",
                                   family ? family : "");
        int rc = dog_path_judge_new(&judge, e);
        if (rc < 0)
                return rc;
        dog_path_judge_steering(judge, o->hysteresis, o->delay_ms);
        for (int i = 0; i < traces->count && rc == 0; i++)
                if (!family || strcmp(traces->list[i].family, family) == 0)
                        rc = backtest_trace(judge, &traces->list[i], o, ++done, of, e);
        if (rc == 0)
                rc = dog_path_judge_end(judge, report, e);
        dog_path_judge_free(judge);
        return rc;
}
