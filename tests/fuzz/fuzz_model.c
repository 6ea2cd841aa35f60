/*
 * Model files and states of a training. First byte: 0 a model file as it is and with the checksum set right,
 * so that what lies behind it is reached; 1 the trees alone; 2 a training's state. What is read can be asked
 * anything, and comes back bit for bit.
 */
#include "fuzz.h"
#include "learn/gbt_train.h"
#include "learn/model_file.h"

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
static struct dog_gbt_bins *fuzz_bins(void)
{
        static struct dog_gbt_bins *bins;
        static struct dog_table *t;
        static const char *const feature[] = {"a"};
        static const char *const target[] = {"y"};
        if (bins)
                return bins;
        FUZZ_NEED(dog_table_new(&t, "fuzz", feature, 1, target, 1, NULL) == 0);
        for (int i = 0; i < 8; i++) {
                const float x = (float)i;
                const int8_t label = i > 3;
                FUZZ_NEED(dog_table_add(t, &(struct dog_table_row){.x = &x, .label = &label, .weight = 1},
                                        NULL) == 0);
        }
        FUZZ_NEED(dog_gbt_bins_new(&bins, t, NULL, 1, NULL) == 0);
        return bins;
}

/* The fingerprint, the hash of the parameters and the checksum are set right, else nothing gets past them. */
static void fuzz_state(const uint8_t *data, size_t size)
{
        struct dog_gbt_trainer *t;
        struct dog_err e = {0};
        struct dog_gbt_params p = dog_gbt_params_default();
        uint8_t *right;
        size_t right_size;
        p.depth = 1;
        p.rounds = 3;
        p.min_child = 0;
        p.learn_rate = 1;
        FUZZ_NEED(dog_gbt_trainer_new(&t, fuzz_bins(), 0, &p, &e) == 0);
        FUZZ_NEED(dog_gbt_trainer_save(t, &right, &right_size, &e) == 0);
        uint8_t *copy = malloc(size + 1);
        FUZZ_NEED(copy);
        memcpy(copy, data, size);
        if (size > 8 + 28) {
                memcpy(copy, right, 20); /* magic, data, parameters */
                uint64_t sum = dog_gbt_state_checksum(copy, size - 8);
                for (size_t i = 0; i < 8; i++)
                        copy[size - 8 + i] = (uint8_t)(sum >> (8 * (7 - i)));
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
        uint64_t sum = dog_model_checksum(sealed, size - 8);
        for (size_t i = 0; i < 8; i++)
                sealed[size - 8 + i] = (uint8_t)(sum >> (8 * (7 - i)));
        fuzz_file(sealed, size);
        free(sealed);
        return 0;
}
