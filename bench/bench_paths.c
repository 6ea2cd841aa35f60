/**
 * forecast.path_step_us: the whole path risk model, per path and step: take a sample, learn, compute the
 * features, ask the trees of all targets and the logistic, calibrate. forecast.path_features_us: of that, the
 * state and the features alone. Groups of four paths with made pings, five a second.
 *
 *     bench_paths MODEL
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/rng.h"
#include "figure.h"
#include "learn/path_train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { GROUPS = 64, PATHS = 4, ROUNDS = 5, STEPS = 200 };

struct bench_group {
        struct dog_path_shared shared;
        struct dog_path_risk path[PATHS];
        struct dog_path_track seen[PATHS];
        struct dog_path_track track[PATHS]; /**< the same once more, for the features alone */
        double level[PATHS];
};

static struct dog_path_sample bench_sample(struct bench_group *g, int p, struct dog_rng *rng, int64_t t_ns)
{
        double *level = &g->level[p];
        *level += 0.1 * (0.6 - *level) + 0.1 * dog_rng_normal(rng);
        bool is_lost = dog_rng_below(rng, 200) == 0;
        return (struct dog_path_sample){.t_ns = t_ns,
                                        .margin = is_lost ? DOG_MARGIN_LOST : (float)*level,
                                        .is_bad = is_lost || *level < 0,
                                        .rtt_ms = is_lost ? NAN : 100 * expf(-(float)*level),
                                        .loss = is_lost,
                                        .rate_kbps = NAN};
}

/* @return nanoseconds: of all, and of the features */
static void bench_step(struct bench_group *g, struct dog_rng *rng, int64_t t_ns, int64_t ns[2], double *sink)
{
        struct dog_path_sample sample[PATHS];
        struct dog_path_belief belief;
        struct dog_ensemble_news news;
        struct dog_path_group group = {0};
        struct dog_path_peers peers = {0};
        float feature[DOG_PATH_FEATURES];
        for (int p = 0; p < PATHS; p++)
                sample[p] = bench_sample(g, p, rng, t_ns);
        int64_t from = dog_clock_cpu_ns();
        for (int p = 0; p < PATHS; p++) {
                dog_path_risk_observe(&g->path[p], &g->shared, &sample[p], &news);
                dog_path_group_add(&group, &g->path[p]);
        }
        for (int p = 0; p < PATHS; p++) {
                dog_path_risk_step(&g->path[p], &g->shared, &group, t_ns, &belief);
                *sink += (double)belief.mix.p[0];
        }
        int64_t middle = dog_clock_cpu_ns();
        for (int p = 0; p < PATHS; p++) {
                dog_path_track_observe(&g->track[p], &sample[p]);
                dog_path_peers_add(&peers, &g->track[p]);
        }
        for (int p = 0; p < PATHS; p++) {
                dog_path_features(&g->track[p], &peers, feature);
                *sink += (double)feature[DOG_PATH_F_MARGIN];
        }
        ns[0] += middle - from;
        ns[1] += dog_clock_cpu_ns() - middle;
}

static int bench_fail(const char *why)
{
        figure_null("forecast.path_step_us", "us", why);
        return 1;
}

int main(int argc, char **argv)
{
        struct bench_group *group = calloc(GROUPS, sizeof(*group));
        struct dog_path_trained *trained = NULL;
        struct dog_model *file = NULL;
        struct dog_err e = {0};
        struct dog_risk_config config = dog_risk_config_default();
        struct dog_rng rng;
        double us[2][ROUNDS];
        double sink = 0;
        if (argc != 2 || !group)
                return bench_fail(group ? "usage: bench_paths MODEL" : "out of memory");
        if (dog_model_read(&file, argv[1], &e) < 0 || dog_path_trained_new(&trained, file, &e) < 0)
                return bench_fail(e.text);
        dog_rng_init(&rng, 1);
        for (int g = 0; g < GROUPS; g++) {
                dog_path_shared_init(&group[g].shared, &config, dog_path_trained_model(trained));
                for (int p = 0; p < PATHS; p++) {
                        dog_path_track_init(&group[g].seen[p]);
                        dog_path_risk_init(&group[g].path[p], &group[g].seen[p]);
                        dog_path_track_init(&group[g].track[p]);
                }
        }
        int64_t t_ns = 0;
        for (int round = -2; round < ROUNDS; round++) { /* the first ones fill the windows */
                int64_t ns[2] = {0};
                for (int k = 0; k < STEPS; k++) {
                        t_ns += DOG_S / 5;
                        for (int g = 0; g < GROUPS; g++)
                                bench_step(&group[g], &rng, t_ns, ns, &sink);
                }
                for (int i = 0; i < 2 && round >= 0; i++)
                        us[i][round] = (double)ns[i] * 1e-3 / (double)(STEPS * GROUPS * PATHS);
        }
        fprintf(stderr, "%d groups of %d paths, %zu octets a path, %zu of them the logistic (%g)\n", GROUPS,
                PATHS, sizeof(struct dog_path_risk) + sizeof(struct dog_path_track), sizeof(struct dog_risk),
                sink);
        figure_print("forecast.path_step_us", "us", us[0], ROUNDS);
        figure_print("forecast.path_features_us", "us", us[1], ROUNDS);
        dog_path_trained_free(trained);
        dog_model_free(file);
        free(group);
        return 0;
}
