#include "learn/path_rows.h"

#include "base/clock.h"
#include "models/path_risk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* id: trace 24 bits, path 8, other + 1 8, step 24. */
static uint64_t rows_id(int trace, int path, int other, int step)
{
        return (uint64_t)trace << 40 | (uint64_t)path << 32 | (uint64_t)(other + 1) << 24 | (uint64_t)step;
}

struct dog_path_row_id dog_path_row_id(uint64_t id)
{
        return (struct dog_path_row_id){.trace = (int)(id >> 40),
                                        .path = (int)(id >> 32 & 0xff),
                                        .other = (int)(id >> 24 & 0xff) - 1,
                                        .step = (int)(id & 0xffffff)};
}

struct dog_path_rows_options dog_path_rows_default(void)
{
        return (struct dog_path_rows_options){
                .regime = -1, .copy_weight = 1, .other_weight = 1, .lone_weight = 1, .pair_every = 1};
}

/* What is needed while one trace is played. */
struct rows_play {
        const struct dog_path_trace *trace;
        int index;
        float weight;
        const struct dog_path_rows_options *options;
        struct dog_path_track track[DOG_PATH_TRACE_PATHS];
        float feature[DOG_PATH_TRACE_PATHS][DOG_PATH_FEATURES];
        bool is_ready[DOG_PATH_TRACE_PATHS]; /**< has a sample at this step, and a past */
};

typedef int (*rows_step_fn)(struct dog_table *to, const struct rows_play *play, int step, struct dog_err *e);

static int rows_steps(const struct dog_path_trace *t, int target)
{
        static const int64_t horizon_ms[] = {
                [DOG_RISK_H0] = 1000, [DOG_RISK_H1] = 5000, [DOG_RISK_H2] = 30000};
        int64_t steps = horizon_ms[target] / t->step_ms;
        return steps < DOG_PATH_TRACE_STEPS ? (int)steps : DOG_PATH_TRACE_STEPS;
}

static void rows_look(struct rows_play *play, int step)
{
        const struct dog_path_trace *t = play->trace;
        struct dog_path_peers peers = {0};
        int64_t t_ns = step * t->step_ms * DOG_MS;
        for (int p = 0; p < t->paths; p++) {
                const struct dog_path_point *q = &t->point[(int64_t)p * t->length + step];
                struct dog_path_sample sample = {.t_ns = t_ns,
                                                 .margin = q->margin,
                                                 .is_bad = q->is_bad_seen,
                                                 .rtt_ms = q->rtt_ms,
                                                 .loss = q->loss,
                                                 .rate_kbps = q->rate_kbps};
                if (q->is_seen)
                        dog_path_track_observe(&play->track[p], &sample);
                dog_path_peers_add(&peers, &play->track[p]);
                play->is_ready[p] = q->is_seen && t_ns - play->track[p].first_ns >= 2 * DOG_S;
        }
        for (int p = 0; p < t->paths; p++)
                if (play->is_ready[p])
                        dog_path_features(&play->track[p], &peers, play->feature[p]);
}

static int rows_own(struct dog_table *to, const struct rows_play *play, int step, struct dog_err *e)
{
        const struct dog_path_trace *t = play->trace;
        int rc = 0;
        for (int p = 0; p < t->paths && rc == 0; p++) {
                int8_t label[DOG_RISK_TARGETS];
                if (!play->is_ready[p])
                        continue;
                for (int g = 0; g < DOG_RISK_TARGETS; g++)
                        label[g] = (int8_t)(g == DOG_RISK_NEXT
                                                    ? dog_path_trace_next(t, p, step)
                                                    : dog_path_trace_outcome(t, p, step, rows_steps(t, g)));
                rc = dog_table_add(to,
                                   &(struct dog_table_row){.x = play->feature[p],
                                                           .label = label,
                                                           .weight = play->weight,
                                                           .block = (uint32_t)t->origin,
                                                           .id = rows_id(play->index, p, -1, step)},
                                   e);
        }
        return rc;
}

static int rows_pairs(struct dog_table *to, const struct rows_play *play, int step, struct dog_err *e)
{
        const struct dog_path_trace *t = play->trace;
        int rc = 0;
        if (step % play->options->pair_every)
                return 0;
        for (int a = 0; a < t->paths; a++) {
                int is_bad = play->is_ready[a] ? dog_path_trace_next(t, a, step) : -1;
                for (int b = 0; b < t->paths && rc == 0 && is_bad >= 0; b++) {
                        float x[DOG_PATH_JOINT_FEATURES];
                        if (a == b || !play->is_ready[b])
                                continue;
                        int is_other = dog_path_trace_next(t, b, step);
                        int8_t label = is_other < 0 ? DOG_LABEL_UNKNOWN : (int8_t)(is_bad && !is_other);
                        dog_path_joint_features(play->feature[a], play->feature[b], x);
                        rc = dog_table_add(to,
                                           &(struct dog_table_row){.x = x,
                                                                   .label = &label,
                                                                   .weight = play->weight,
                                                                   .block = (uint32_t)t->origin,
                                                                   .id = rows_id(play->index, a, b, step)},
                                           e);
                }
        }
        return rc;
}

static int rows_trace(struct dog_table *to, struct rows_play *play, rows_step_fn each, struct dog_err *e)
{
        int rc = 0;
        for (int p = 0; p < play->trace->paths; p++)
                dog_path_track_init(&play->track[p]);
        for (int k = 0; k < play->trace->length && rc == 0; k++) {
                rows_look(play, k);
                rc = each(to, play, k, e);
        }
        return rc;
}

static int rows_all(struct dog_table *to, const struct dog_path_traces *t,
                    const struct dog_path_rows_options *o, rows_step_fn each, struct dog_err *e)
{
        struct rows_play *play = malloc(sizeof(*play));
        int rc = 0;
        if (!play)
                return dog_err_set(e, -ENOMEM, "out of memory for playing traces");
        for (int i = 0; i < t->count && rc == 0; i++) {
                const struct dog_path_trace *one = &t->list[i];
                int regime = dog_path_trace_is_rate(one) ? DOG_PATH_RATE : DOG_PATH_PING;
                if (o->regime >= 0 && regime != o->regime)
                        continue;
                play->trace = one;
                play->index = i;
                play->options = o;
                play->weight = one->origin == i ? 1 : o->copy_weight;
                if (one->paths == 1)
                        play->weight *= o->lone_weight;
                if (!(play->weight > 0))
                        continue;
                if (o->family && strcmp(o->family, one->family) != 0)
                        play->weight *= o->other_weight;
                if (o->wait && o->wait(o->wait_data) != 0) {
                        rc = dog_err_set(e, -ECANCELED, "stopped");
                        break;
                }
                rc = rows_trace(to, play, each, e);
        }
        free(play);
        if (rc == 0 && to->rows == 0)
                rc = dog_err_set(e, -ENODATA,
                                 "no row to learn from: %d traces, none with a path of over two seconds that "
                                 "measures %s",
                                 t->count, o->regime >= 0 ? dog_path_regime_name(o->regime) : "anything");
        return rc;
}

int dog_path_rows_make(struct dog_table **to, const struct dog_path_traces *t,
                       const struct dog_path_rows_options *o, struct dog_err *e)
{
        const char *target[DOG_RISK_TARGETS];
        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                target[g] = dog_path_target_name(g);
        *to = NULL;
        int rc = dog_table_new(to, "paths", dog_path_feature_ids(), DOG_PATH_FEATURES, target,
                               DOG_RISK_TARGETS, e);
        if (rc == 0)
                rc = rows_all(*to, t, o, rows_own, e);
        if (rc < 0) {
                dog_table_free(*to);
                *to = NULL;
        }
        return rc;
}

int dog_path_joint_make(struct dog_table **to, const struct dog_path_traces *t,
                        const struct dog_path_rows_options *o, struct dog_err *e)
{
        const char *target = "joint";
        *to = NULL;
        if (o->pair_every < 1)
                return dog_err_set(e, -EINVAL, "pairs of each %d-th step make no sense", o->pair_every);
        int rc = dog_table_new(to, "pairs of paths", dog_path_joint_ids(), DOG_PATH_JOINT_FEATURES, &target,
                               1, e);
        if (rc == 0)
                rc = rows_all(*to, t, o, rows_pairs, e);
        if (rc < 0) {
                dog_table_free(*to);
                *to = NULL;
        }
        return rc;
}
