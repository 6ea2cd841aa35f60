#include "learn/path_train_inside.h"

#include "base/bytes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Section "path": u8 version 1, u8 main regime, then for each regime u8 whether it has trees and, if so, for
 * each target i8 which of the trees' targets (-1: none), u32 share, a polygon; then u8 whether it has pairs
 * and, if so, a polygon. A polygon: u8 points, u32 at, u32 to each. Floats are the bits of single precision.
 * The trees of the main regime are the file's; others are the sections "trees REGIME", those of pairs "pairs
 * REGIME".
 */
enum { SECTION_VERSION = 1, SECTION_ROOM = 8192 };
#define ODDS_MOST 1000.0F

struct dog_path_trained {
        struct dog_path_model model;
        struct dog_gbt *trees[DOG_PATH_REGIMES], *pairs[DOG_PATH_REGIMES];
};

static void float_write(struct dog_bytes *to, float value)
{
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        dog_write_u32(to, bits);
}

static float float_read(struct dog_bytes *from)
{
        uint32_t bits = dog_read_u32(from);
        float value;
        memcpy(&value, &bits, sizeof(value));
        return value;
}

static void iso_write(struct dog_bytes *to, const struct dog_path_iso *iso)
{
        dog_write_u8(to, (uint8_t)iso->points);
        for (uint32_t i = 0; i < iso->points; i++) {
                float_write(to, iso->at[i]);
                float_write(to, iso->to[i]);
        }
}

static bool iso_read(struct dog_bytes *from, struct dog_path_iso *iso)
{
        iso->points = dog_read_u8(from);
        if (iso->points > DOG_PATH_ISO_POINTS)
                return false;
        for (uint32_t i = 0; i < iso->points; i++) {
                iso->at[i] = float_read(from);
                iso->to[i] = float_read(from);
                /* Log-odds of a thousand are no words about chances; and sums of these stay numbers. */
                if (!(fabsf(iso->at[i]) <= ODDS_MOST) || !(fabsf(iso->to[i]) <= ODDS_MOST))
                        return false;
                if (i > 0 && (!(iso->at[i] > iso->at[i - 1]) || iso->to[i] < iso->to[i - 1]))
                        return false;
        }
        return true;
}

static int trees_store(struct dog_model *file, const char *what, int regime, const struct dog_gbt *trees,
                       struct dog_err *e)
{
        char name[DOG_TABLE_NAME_SIZE];
        size_t size = dog_gbt_size(trees);
        void *bytes = malloc(size);
        if (!bytes)
                return dog_err_set(e, -ENOMEM, "a model of %zu octets: out of memory", size);
        dog_gbt_write(trees, bytes);
        snprintf(name, sizeof(name), "%s %s", what, dog_path_regime_name(regime));
        int rc = dog_model_set_section(file, name, bytes, size, e);
        free(bytes);
        return rc;
}

int path_model_store(struct dog_model *file, const struct dog_path_model *m, int main_regime,
                     struct dog_err *e)
{
        uint8_t room[SECTION_ROOM];
        struct dog_bytes to = dog_bytes_of(room, sizeof(room));
        int rc = 0;
        dog_write_u8(&to, SECTION_VERSION);
        dog_write_u8(&to, (uint8_t)main_regime);
        for (int r = 0; r < DOG_PATH_REGIMES && rc == 0; r++) {
                const struct dog_path_expert *x = &m->expert[r];
                dog_write_u8(&to, x->trees != NULL);
                for (int t = 0; x->trees && t < DOG_RISK_TARGETS; t++) {
                        dog_write_u8(&to, (uint8_t)x->target[t]);
                        float_write(&to, x->share[t]);
                        iso_write(&to, &x->iso[t]);
                }
                dog_write_u8(&to, x->pairs != NULL);
                if (x->pairs)
                        iso_write(&to, &x->pairs_iso);
                if (x->trees && r != main_regime)
                        rc = trees_store(file, "trees", r, x->trees, e);
                if (x->pairs && rc == 0)
                        rc = trees_store(file, "pairs", r, x->pairs, e);
        }
        if (rc == 0 && to.failed)
                rc = dog_err_set(e, -EFBIG, "the model's corrections do not fit into %d octets",
                                 SECTION_ROOM);
        return rc < 0 ? rc : dog_model_set_section(file, "path", room, to.at, e);
}

/* ---- asking ---- */

/* A copy of trees that live in the file: written out and read back, which checks them once more. */
static int trees_copy(const struct dog_gbt *from, struct dog_gbt **to, struct dog_err *e)
{
        size_t size = dog_gbt_size(from);
        void *bytes = malloc(size);
        if (!bytes)
                return dog_err_set(e, -ENOMEM, "a model of %zu octets: out of memory", size);
        dog_gbt_write(from, bytes);
        int rc = dog_gbt_read(to, bytes, size, e);
        free(bytes);
        return rc;
}

static int trees_take(const struct dog_model *file, const char *what, int regime, unsigned features,
                      struct dog_gbt **to, struct dog_err *e)
{
        char name[DOG_TABLE_NAME_SIZE];
        snprintf(name, sizeof(name), "%s %s", what, dog_path_regime_name(regime));
        const struct dog_model_section *s = dog_model_section(file, name);
        if (!s)
                return dog_err_set(e, -EINVAL, "the model speaks of a section \"%s\" and has none", name);
        int rc = dog_gbt_read(to, s->bytes, s->size, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "section \"%s\"", name);
        if ((*to)->features != features)
                return dog_err_set(e, -EINVAL, "section \"%s\": trees of %u features, expected %u", name,
                                   (*to)->features, features);
        return 0;
}

static int expert_read(struct dog_path_trained *t, const struct dog_model *file, int r, int main_regime,
                       struct dog_bytes *in, struct dog_err *e)
{
        struct dog_path_expert *x = &t->model.expert[r];
        bool is_sane = true;
        int rc = 0;
        if (dog_read_u8(in)) {
                rc = r == main_regime ? trees_copy(file->trees, &t->trees[r], e)
                                      : trees_take(file, "trees", r, DOG_PATH_FEATURES, &t->trees[r], e);
                for (int g = 0; g < DOG_RISK_TARGETS && rc == 0; g++) {
                        x->target[g] = (int8_t)dog_read_u8(in);
                        x->share[g] = float_read(in);
                        is_sane &= iso_read(in, &x->iso[g]) && x->share[g] >= 0 && x->share[g] <= 1 &&
                                   x->target[g] >= -1 && x->target[g] < (int)t->trees[r]->targets;
                }
                x->trees = t->trees[r];
        }
        if (rc == 0 && is_sane && !in->failed && dog_read_u8(in)) {
                is_sane &= iso_read(in, &x->pairs_iso);
                rc = trees_take(file, "pairs", r, DOG_PATH_JOINT_FEATURES, &t->pairs[r], e);
                x->pairs = t->pairs[r];
        }
        if (rc == 0 && (!is_sane || in->failed))
                rc = dog_err_set(e, -EINVAL, "the model's section \"path\" makes no sense (%s)",
                                 dog_path_regime_name(r));
        return rc;
}

int dog_path_trained_new(struct dog_path_trained **to, const struct dog_model *file, struct dog_err *e)
{
        *to = NULL;
        if (file->kind != DOG_MODEL_PATH)
                return dog_err_set(e, -EINVAL, "the model is for the kind %s, not for paths",
                                   dog_model_kind_name(file->kind));
        int rc = dog_model_check_features(file, dog_path_feature_ids(), DOG_PATH_FEATURES, e);
        if (rc < 0)
                return rc;
        const struct dog_model_section *s = dog_model_section(file, "path");
        if (!s)
                return dog_err_set(e, -EINVAL, "the model has no section \"path\": train it again");
        struct dog_bytes in = dog_bytes_in(s->bytes, s->size);
        int version = dog_read_u8(&in);
        int main_regime = dog_read_u8(&in);
        if (in.failed || version != SECTION_VERSION || main_regime >= DOG_PATH_REGIMES)
                return dog_err_set(e, -EINVAL,
                                   "the model's section \"path\" has version %d, this program reads %d",
                                   version, SECTION_VERSION);
        struct dog_path_trained *t = calloc(1, sizeof(*t));
        if (!t)
                return dog_err_set(e, -ENOMEM, "a model: out of memory");
        dog_path_model_init(&t->model);
        for (int r = 0; r < DOG_PATH_REGIMES && rc == 0; r++)
                rc = expert_read(t, file, r, main_regime, &in, e);
        if (rc == 0 && dog_bytes_left(&in) > 0)
                rc = dog_err_set(e, -EINVAL, "the model's section \"path\" is longer than what it says");
        if (rc < 0) {
                dog_path_trained_free(t);
                return rc;
        }
        *to = t;
        return 0;
}

const struct dog_path_model *dog_path_trained_model(const struct dog_path_trained *t)
{
        return &t->model;
}

void dog_path_trained_free(struct dog_path_trained *t)
{
        for (int r = 0; t && r < DOG_PATH_REGIMES; r++) {
                dog_gbt_free(t->trees[r]);
                dog_gbt_free(t->pairs[r]);
        }
        free(t);
}
