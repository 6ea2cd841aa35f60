/*
 * Model files and states of a training. First byte: 0 a model file as it is and with the checksum set right,
 * so that what lies behind it is reached; 1 the trees alone; 2 a training's state; 3 that of several
 * trainings, as OUT.part holds it; 4 the section "path" of a model file. What is read can be asked anything,
 * and comes back bit for bit.
 */
#include "fuzz.h"
#include "learn/gbt_jobs.h"
#include "learn/model_file.h"
#include "learn/path_train.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void fuzz_ask(const struct dog_gbt *m)
{
        static const float kind[] = {NAN, INFINITY, -INFINITY, 0, -1, 1e30F};
        float x[DOG_GBT_FEATURES_MAX];
        float part[DOG_GBT_FEATURES_MAX];
        float all[DOG_GBT_TARGETS_MAX];
        for (unsigned k = 0; k < sizeof(kind) / sizeof(*kind); k++) {
                for (unsigned f = 0; f < m->features; f++)
                        x[f] = kind[(k + f * (k & 1)) % (sizeof(kind) / sizeof(*kind))];
                dog_gbt_log_odds_all(m, x, all);
                for (unsigned t = 0; t < m->targets; t++) {
                        float said = dog_gbt_log_odds(m, t, x);
                        FUZZ_NEED(isfinite(said) && said == all[t]);
                        FUZZ_NEED(isfinite(dog_gbt_contributions(m, t, x, part)));
                }
        }
}

static void fuzz_trees(const uint8_t *data, size_t size)
{
        struct dog_gbt *m;
        struct dog_err e = {0};
        int rc = dog_gbt_read(&m, data, size, &e);
        FUZZ_NEED(rc == 0 || (rc == -EINVAL && !m && e.text[0]));
        if (rc < 0)
                return;
        uint8_t *again = malloc(size);
        FUZZ_NEED(again && dog_gbt_size(m) == size);
        dog_gbt_write(m, again);
        FUZZ_NEED(memcmp(again, data, size) == 0);
        fuzz_ask(m);
        free(again);
        dog_gbt_free(m);
}

static void fuzz_file(const uint8_t *data, size_t size)
{
        struct dog_model *m;
        struct dog_err e = {0};
        int rc = dog_model_decode(&m, data, size, &e);
        FUZZ_NEED(rc == 0 || (rc == -EINVAL && !m && strncmp(e.text, "model: ", 7) == 0));
        if (rc < 0)
                return;
        /* The order of sections is the writer's; all else is given. */
        uint8_t *bytes;
        size_t written;
        struct dog_model *again;
        FUZZ_NEED(dog_model_encode(m, &bytes, &written, &e) == 0 && written == size);
        FUZZ_NEED(dog_model_decode(&again, bytes, written, &e) == 0);
        FUZZ_NEED(again->scores == m->scores && again->sections == m->sections);
        fuzz_ask(m->trees);
        free(bytes);
        dog_model_free(again);
        dog_model_free(m);
}

/* The smallest training there is; made once. */
static const struct dog_table *fuzz_table(void)
{
        static struct dog_table *t;
        static const char *const feature[] = {"a"};
        static const char *const target[] = {"y"};
        if (t)
                return t;
        FUZZ_NEED(dog_table_new(&t, "fuzz", feature, 1, target, 1, NULL) == 0);
        for (int i = 0; i < 8; i++) {
                const float x = (float)i;
                const int8_t label = i > 3;
                FUZZ_NEED(dog_table_add(t, &(struct dog_table_row){.x = &x, .label = &label, .weight = 1},
                                        NULL) == 0);
        }
        return t;
}

static struct dog_gbt_bins *fuzz_bins(void)
{
        static struct dog_gbt_bins *bins;
        if (!bins)
                FUZZ_NEED(dog_gbt_bins_new(&bins, fuzz_table(), NULL, 1, NULL) == 0);
        return bins;
}

static struct dog_gbt_params fuzz_params(void)
{
        struct dog_gbt_params p = dog_gbt_params_default();
        p.depth = 1;
        p.rounds = 3;
        p.min_child = 0;
        p.learn_rate = 1;
        return p;
}

static void fuzz_seal(uint8_t *to, uint64_t sum)
{
        for (size_t i = 0; i < 8; i++)
                to[i] = (uint8_t)(sum >> (8 * (7 - i)));
}

/* The fingerprint, the hash of the parameters and the checksum are set right, else nothing gets past them. */
static void fuzz_state(const uint8_t *data, size_t size)
{
        struct dog_gbt_trainer *t;
        struct dog_err e = {0};
        const struct dog_gbt_params p = fuzz_params();
        uint8_t *right;
        size_t right_size;
        FUZZ_NEED(dog_gbt_trainer_new(&t, fuzz_bins(), 0, &p, &e) == 0);
        FUZZ_NEED(dog_gbt_trainer_save(t, &right, &right_size, &e) == 0);
        uint8_t *copy = malloc(size + 1);
        FUZZ_NEED(copy);
        memcpy(copy, data, size);
        if (size > 8 + 28) {
                memcpy(copy, right, 20); /* magic, data, parameters */
                fuzz_seal(copy + size - 8, dog_gbt_state_checksum(copy, size - 8));
        }
        int rc = dog_gbt_trainer_resume(t, copy, size, &e);
        FUZZ_NEED(rc == 0 || (rc == -EINVAL && e.text[0]));
        if (rc == 0)
                for (int i = 0; i < 3 && dog_gbt_trainer_round(t, &e) > 0; i++)
                        ;
        free(copy);
        free(right);
        dog_gbt_trainer_free(t);
}

/* Two trainings. As it is, and with what comes before the counts and after the states set right. */
static void fuzz_part(const uint8_t *data, size_t size, bool is_sealed)
{
        struct dog_gbt_jobs *j;
        struct dog_err e = {0};
        const struct dog_gbt_job job = {.table = fuzz_table(), .params = fuzz_params()};
        const struct dog_gbt_job both[] = {job, job};
        uint8_t *right;
        size_t right_size;
        uint8_t *copy = malloc(size + 1);
        FUZZ_NEED(copy && dog_gbt_jobs_new(&j, both, 2, 42, &e) == 0);
        FUZZ_NEED(dog_gbt_jobs_save(j, &right, &right_size, &e) == 0);
        if (size > 0)
                memcpy(copy, data, size);
        if (is_sealed && size >= 32) {
                memcpy(copy, right, 20); /* magic, version, key */
                fuzz_seal(copy + size - 8, dog_gbt_state_checksum(copy, size - 8));
        }
        int rc = dog_gbt_jobs_resume(j, copy, size, &e);
        FUZZ_NEED(rc == 0 || (rc == -EINVAL && e.text[0] && dog_gbt_jobs_progress(j).done == 0));
        /* Refused or not, the training can be brought to its end. */
        while ((rc = dog_gbt_jobs_step(j, &e)) > 0)
                ;
        FUZZ_NEED(rc == 0 && dog_gbt_jobs_progress(j).job == 2);
        free(copy);
        free(right);
        dog_gbt_jobs_free(j);
}

/* A model of paths with one tree a target; made once. */
static struct dog_model *fuzz_path_model(void)
{
        static struct dog_model *m;
        static const struct dog_gbt_node node = {.above = 1};
        static const float leaf[] = {-1, 1};
        static const float mean = 0;
        struct dog_gbt_ensemble one[DOG_RISK_TARGETS];
        const char *target[DOG_RISK_TARGETS];
        struct dog_table *t;
        struct dog_gbt *trees, *pairs;
        uint8_t bytes[1024];
        if (m)
                return m;
        for (int g = 0; g < DOG_RISK_TARGETS; g++) {
                one[g] = (struct dog_gbt_ensemble){
                        .trees = 1, .depth = 1, .node = &node, .leaf = leaf, .mean = &mean};
                target[g] = dog_path_target_name(g);
        }
        FUZZ_NEED(dog_table_new(&t, "fuzz", dog_path_feature_ids(), DOG_PATH_FEATURES, target,
                                DOG_RISK_TARGETS, NULL) == 0);
        FUZZ_NEED(dog_gbt_new(&trees, DOG_PATH_FEATURES, one, DOG_RISK_TARGETS, NULL) == 0);
        FUZZ_NEED(dog_gbt_new(&pairs, DOG_PATH_JOINT_FEATURES, one, 1, NULL) == 0);
        FUZZ_NEED(dog_model_new(&m, DOG_MODEL_PATH, t, trees, 0, NULL) == 0);
        FUZZ_NEED(dog_gbt_size(trees) <= sizeof(bytes));
        dog_gbt_write(trees, bytes);
        FUZZ_NEED(dog_model_set_section(m, "trees rate", bytes, dog_gbt_size(trees), NULL) == 0);
        dog_gbt_write(pairs, bytes);
        FUZZ_NEED(dog_model_set_section(m, "pairs ping", bytes, dog_gbt_size(pairs), NULL) == 0);
        dog_gbt_free(pairs);
        dog_table_free(t);
        return m;
}

static void fuzz_iso(const struct dog_path_iso *iso)
{
        float before = -INFINITY;
        for (int x = -30; x <= 30; x++) {
                float y = dog_path_iso_apply(iso, (float)x);
                FUZZ_NEED(isfinite(y) && y >= before);
                before = y;
        }
}

static void fuzz_section(const uint8_t *data, size_t size)
{
        struct dog_path_trained *trained;
        struct dog_err e = {0};
        struct dog_model *m = fuzz_path_model();
        FUZZ_NEED(dog_model_set_section(m, "path", data, size, &e) == 0);
        int rc = dog_path_trained_new(&trained, m, &e);
        FUZZ_NEED(rc == 0 || (rc == -EINVAL && !trained && e.text[0]));
        for (int r = 0; rc == 0 && r < DOG_PATH_REGIMES; r++) {
                const struct dog_path_expert *x = &dog_path_trained_model(trained)->expert[r];
                for (int g = 0; g < DOG_RISK_TARGETS && x->trees; g++) {
                        FUZZ_NEED(x->share[g] >= 0 && x->share[g] <= 1);
                        FUZZ_NEED(x->target[g] >= -1 && x->target[g] < (int)x->trees->targets);
                        fuzz_iso(&x->iso[g]);
                }
                if (x->pairs)
                        fuzz_iso(&x->pairs_iso);
        }
        if (rc == 0)
                dog_path_trained_free(trained);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size < 1)
                return 0;
        const uint8_t kind = data[0];
        data++;
        size--;
        if (kind == 1)
                fuzz_trees(data, size);
        else if (kind == 2)
                fuzz_state(data, size);
        else if (kind == 3) {
                fuzz_part(data, size, false);
                fuzz_part(data, size, true);
        } else if (kind == 4)
                fuzz_section(data, size);
        if (kind > 0)
                return 0;
        fuzz_file(data, size);
        if (size < 28)
                return 0;
        uint8_t *sealed = malloc(size);
        FUZZ_NEED(sealed);
        memcpy(sealed, data, size);
        for (size_t i = 0; i < 8; i++)
                sealed[12 + i] = (uint8_t)((uint64_t)size >> (8 * (7 - i)));
        fuzz_seal(sealed + size - 8, dog_model_checksum(sealed, size - 8));
        fuzz_file(sealed, size);
        free(sealed);
        return 0;
}
