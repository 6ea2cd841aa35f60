#include "learn/path_predict.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

struct dog_path_predict_options dog_path_predict_default(const struct dog_path_model *model)
{
        return (struct dog_path_predict_options){.model = model, .is_calibrating = true, .learn_rate = 0.02F};
}

struct predict_play {
        struct dog_path_shared shared;
        struct dog_path_risk member[DOG_PATH_TRACE_PATHS];
        struct dog_path_track track[DOG_PATH_TRACE_PATHS];
        struct dog_ensemble_news news;
        struct dog_path_belief belief;
};

static void predict_observe(struct predict_play *play, const struct dog_path_trace *t, int step,
                            struct dog_path_group *group)
{
        for (int p = 0; p < t->paths; p++) {
                const struct dog_path_point *q = &t->point[(int64_t)p * t->length + step];
                struct dog_path_sample sample = {.t_ns = step * t->step_ms * DOG_MS,
                                                 .margin = q->margin,
                                                 .is_bad = q->is_bad_seen,
                                                 .rtt_ms = q->rtt_ms,
                                                 .loss = q->loss,
                                                 .rate_kbps = q->rate_kbps};
                if (q->is_seen)
                        dog_path_risk_observe(&play->member[p], &play->shared, &sample, &play->news);
                dog_path_group_add(group, &play->member[p]);
        }
}

int dog_path_predict(const struct dog_path_trace *t, const struct dog_path_predict_options *o,
                     dog_path_said_fn said, void *data, struct dog_err *e)
{
        struct dog_risk_config config = dog_risk_config_default();
        struct predict_play *play = malloc(sizeof(*play));
        int rc = 0;
        if (!play)
                return dog_err_set(e, -ENOMEM, "%s: out of memory for playing it", t->name);
        config.is_calibrating = o->is_calibrating;
        config.learn_rate = o->learn_rate;
        dog_path_shared_init(&play->shared, &config, o->model);
        for (int p = 0; p < t->paths; p++) {
                dog_path_track_init(&play->track[p]);
                dog_path_risk_init(&play->member[p], o->model ? &play->track[p] : NULL);
        }
        for (int k = 0; k < t->length && rc >= 0; k++) {
                struct dog_path_group group = {0};
                int64_t t_ms = k * t->step_ms;
                predict_observe(play, t, k, &group);
                for (int p = 0; p < t->paths && rc >= 0; p++) {
                        if (!t->point[(int64_t)p * t->length + k].is_seen)
                                continue;
                        dog_path_risk_step(&play->member[p], &play->shared, &group, t_ms * DOG_MS,
                                           &play->belief);
                        struct dog_path_said one = {
                                .trace = t, .path = p, .step = k, .t_ms = t_ms, .belief = &play->belief};
                        rc = said(data, &one, e);
                }
        }
        free(play);
        return rc < 0 ? rc : 0;
}
