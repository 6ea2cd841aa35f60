/*
 * The model file. F2: what was learned from history is kept. I1: a model is served only when it is whole and
 * made for the features that are there.
 */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/rng.h"
#include "check.h"
#include "learn/gbt_train.h"
#include "learn/model_file.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const feature[] = {"margin now", "loss 1s"};
static const char *const target[] = {"bad 1s"};

static struct dog_table *made_table(void)
{
        struct dog_table *t;
        struct dog_rng rng;
        NEED(dog_table_new(&t, "made/paths", feature, 2, target, 1, NULL) == 0, "a table");
        dog_rng_init(&rng, 1);
        for (int i = 0; i < 60; i++) {
                const float x[2] = {(float)dog_rng_unit(&rng), NAN};
                const int8_t label = i % 9 == 0 ? DOG_LABEL_UNKNOWN : x[0] > 0.7F;
                NEED(dog_table_add(t, &(struct dog_table_row){.x = x, .label = &label, .weight = 1}, NULL) ==
                             0,
                     "row");
        }
        return t;
}

/* Small, with one of everything. */
static struct dog_model *made_model(void)
{
        struct dog_table *t = made_table();
        struct dog_gbt_params p = dog_gbt_params_default();
        struct dog_gbt_bins *b;
        struct dog_gbt *trees;
        struct dog_model *m;
        struct dog_err e = {0};
        p.rounds = 3;
        p.depth = 1;
        p.min_child = 0;
        p.column_share = 1;
        NEED(dog_gbt_bins_new(&b, t, NULL, 1, &e) == 0, "%s", e.text);
        NEED(dog_gbt_train(&trees, b, &p, false, NULL, NULL, &e) == 0, "%s", e.text);
        NEED(dog_model_new(&m, DOG_MODEL_NODE, t, trees, INT64_C(1700000000000000000), &e) == 0, "%s",
             e.text);
        NEED(dog_model_set_score(m, "auroc 1s", 0.875, &e) == 0, "%s", e.text);
        NEED(dog_model_set_section(m, "scales", "\1\2\3", 3, &e) == 0, "%s", e.text);
        NEED(dog_model_set_section(m, "empty", NULL, 0, &e) == 0, "%s", e.text);
        dog_gbt_bins_free(b);
        dog_table_free(t);
        return m;
}

static void encode(const struct dog_model *m, uint8_t **bytes, size_t *size)
{
        struct dog_err e = {0};
        NEED(dog_model_encode(m, bytes, size, &e) == 0, "%s", e.text);
}

static void what_is_written_is_read(void)
{
        struct dog_model *m = made_model();
        struct dog_model *again;
        struct dog_err e = {0};
        uint8_t *bytes;
        uint8_t *same;
        size_t size;
        size_t same_size;
        encode(m, &bytes, &size);
        NEED(dog_model_decode(&again, bytes, size, &e) == 0, "%s", e.text);
        OK(again->kind == DOG_MODEL_NODE && again->made_wall_ns == INT64_C(1700000000000000000),
           "kind and time");
        OK(strcmp(again->data_name, "made/paths") == 0 && again->data_rows == 60, "its data");
        struct dog_table *t = made_table();
        OK(again->data_fingerprint == dog_table_fingerprint(t), "its data's fingerprint");
        OK(again->feature_hash == dog_feature_set_hash(feature, 2), "its features' hash");
        uint64_t bad = 0;
        for (size_t i = 0; i < t->rows; i++)
                bad += t->label[i] == 1;
        OK(again->target[0].known == 53 && again->target[0].bad == bad && bad > 0,
           "%llu rows known, %llu bad", (unsigned long long)again->target[0].known,
           (unsigned long long)again->target[0].bad);
        OK(dog_model_score(again, "auroc 1s") == 0.875 && isnan(dog_model_score(again, "other")), "scores");
        const struct dog_model_section *s = dog_model_section(again, "scales");
        OK(s && s->size == 3 && memcmp(s->bytes, "\1\2\3", 3) == 0, "a section");
        s = dog_model_section(again, "empty");
        OK(s && s->size == 0 && !dog_model_section(again, "trees"),
           "an empty one; the trees are none to others");
        OK(dog_model_target(again, "bad 1s") == 0 && dog_model_target(again, "bad 5s") == -ENOENT,
           "targets by name");
        for (size_t i = 0; i < t->rows; i++)
                OK(dog_gbt_log_odds(again->trees, 0, dog_table_x(t, i)) ==
                           dog_gbt_log_odds(m->trees, 0, dog_table_x(t, i)),
                   "the same trees");
        encode(again, &same, &same_size);
        OK(same_size == size && memcmp(same, bytes, size) == 0, "and the same file again");
        free(same);
        free(bytes);
        dog_table_free(t);
        dog_model_free(m);
        dog_model_free(again);
}

static void every_flipped_bit_is_seen(void)
{
        struct dog_model *m = made_model();
        struct dog_model *again;
        uint8_t *bytes;
        size_t size;
        size_t seen = 0;
        encode(m, &bytes, &size);
        for (size_t bit = 0; bit < size * 8; bit++) {
                struct dog_err e = {0};
                bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
                int rc = dog_model_decode(&again, bytes, size, &e);
                OK(rc == -EINVAL && !again && strncmp(e.text, "model: ", 7) == 0, "bit %zu: %s", bit, e.text);
                seen += rc == -EINVAL;
                bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        OK(seen == size * 8, "%zu of %zu bits", seen, size * 8);
        free(bytes);
        dog_model_free(m);
}

static void a_file_of_another_length_is_cut_off_or_too_long(void)
{
        struct dog_model *m = made_model();
        struct dog_model *again;
        struct dog_err e = {0};
        uint8_t *bytes;
        size_t size;
        encode(m, &bytes, &size);
        for (size_t n = 0; n < size; n++) {
                uint8_t *part = malloc(n ? n : 1); /* so that a sanitizer sees one byte too far */
                NEED(part, "memory");
                memcpy(part, bytes, n);
                OK(dog_model_decode(&again, part, n, &e) == -EINVAL &&
                           strstr(e.text, n < 8 ? "not a model" : "cut off"),
                   "%zu bytes: %s", n, e.text);
                free(part);
        }
        uint8_t *longer = calloc(1, size + 5);
        NEED(longer, "memory");
        memcpy(longer, bytes, size);
        OK(dog_model_decode(&again, longer, size + 5, &e) == -EINVAL &&
                   strstr(e.text, "5 bytes follow its end"),
           "%s", e.text);
        free(longer);
        bytes[11] = 2;
        OK(dog_model_decode(&again, bytes, size, &e) == -EINVAL &&
                   strstr(e.text, "version 2, this program reads version 1"),
           "%s", e.text);
        bytes[11] = 1;
        free(bytes);
        dog_model_free(m);
}

/* The checksum made right again, so that what lies behind it must see the lie. */
static void reseal(uint8_t *bytes, size_t size)
{
        uint64_t sum = dog_model_checksum(bytes, size - 8);
        for (int i = 0; i < 8; i++)
                bytes[size - 8 + (size_t)i] = (uint8_t)(sum >> (8 * (7 - i)));
}

static size_t place_of(const uint8_t *bytes, size_t size, const char *text)
{
        const uint8_t *at = memmem(bytes, size, text, strlen(text));
        NEED(at, "\"%s\" is in the file", text);
        return (size_t)(at - bytes);
}

static void counts_and_names_that_lie_are_refused_behind_a_right_checksum(void)
{
        struct dog_model *m = made_model();
        uint8_t *bytes;
        size_t size;
        encode(m, &bytes, &size);
        const size_t kind = 20;
        const size_t first = place_of(bytes, size, "margin now");
        const size_t bad = place_of(bytes, size, "bad 1s");
        const size_t score = place_of(bytes, size, "auroc 1s");
        const size_t scales = place_of(bytes, size, "scales");
        const size_t trees = place_of(bytes, size, "trees");
        const struct {
                size_t at;
                uint8_t to;
                const char *say;
        } row[] = {
                {kind, 3, "its kind is 3"},
                {kind + 9, 0, "name of a data set"},
                {kind + 9, 200, "name of a data set"},
                {first - 3, 0xff, "features"},
                {first - 2, 0, "0 features"},
                {first - 2, 3, "name of a feature"},
                {first - 1, 0, "name of a feature"},
                {first, 'M', "not those that it was trained on"},
                {first, '\n', "name of a feature"},
                {bad - 2, 0, "0 targets"},
                {bad - 3, 1, "targets"},
                {bad + 6, 1, "contradict"},     /* rows known */
                {bad + 6 + 8, 1, "contradict"}, /* of these bad */
                {score - 3, 0xff, "scores"},
                {score - 2, 2, "name of a score"},
                {scales - 3, 0xff, "sections"},
                {scales - 2, 2, "no trees"},
                {scales - 2, 4, "name of a section"},
                {scales + 6, 0xff, "section \"scales\""},
                {trees, 'T', "no trees"},
                {trees + 5 + 3, 1, "trees: "},
                {trees + 5 + 4 + 1, 3, "its trees ask 3 features"},
                {trees + 5 + 4 + 3, 0, "0 targets"},
                {trees + 5 + 4 + 4, 0xff, "trees; at most"},
                {trees + 5 + 4 + 8, 200, "depth 200"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_model *again;
                struct dog_err e = {0};
                uint8_t was = bytes[row[i].at];
                bytes[row[i].at] = row[i].to;
                reseal(bytes, size);
                OK(dog_model_decode(&again, bytes, size, &e) == -EINVAL && !again &&
                           strstr(e.text, row[i].say),
                   "%s: %s", row[i].say, e.text);
                bytes[row[i].at] = was;
        }
        struct dog_model *again;
        reseal(bytes, size);
        OK(dog_model_decode(&again, bytes, size, NULL) == 0, "and this is the right one");
        dog_model_free(again);
        free(bytes);
        dog_model_free(m);
}

static void a_model_for_other_features_is_refused_with_the_first_difference(void)
{
        struct dog_model *m = made_model();
        struct dog_err e = {0};
        static const char *const other[] = {"margin now", "loss 5s"};
        static const char *const more[] = {"margin now", "loss 1s", "age"};
        OK(dog_model_check_features(m, feature, 2, &e) == 0, "%s", e.text);
        OK(dog_model_check_features(m, other, 2, &e) == -EINVAL &&
                   strstr(e.text, "number 2 is \"loss 1s\" there and \"loss 5s\" here"),
           "%s", e.text);
        OK(dog_model_check_features(m, more, 3, &e) == -EINVAL &&
                   strstr(e.text, "2 features, here there are 3"),
           "%s", e.text);
        OK(dog_model_check_features(m, more, 1, &e) == -EINVAL && strstr(e.text, "here there are 1"), "%s",
           e.text);
        dog_model_free(m);
}

static void scores_and_sections_are_replaced_by_name_and_limited(void)
{
        struct dog_model *m = made_model();
        struct dog_err e = {0};
        OK(dog_model_set_score(m, "auroc 1s", 0.5, &e) == 0 && m->scores == 1 &&
                   dog_model_score(m, "auroc 1s") == 0.5,
           "a score is replaced");
        OK(dog_model_set_section(m, "scales", "ab", 2, &e) == 0 && m->sections == 2 &&
                   dog_model_section(m, "scales")->size == 2,
           "a section is replaced");
        OK(dog_model_set_section(m, "trees", "ab", 2, &e) == -EINVAL, "%s", e.text);
        OK(dog_model_set_score(m, "", 1, &e) == -EINVAL && dog_model_set_score(m, "a\tb", 1, &e) == -EINVAL,
           "%s", e.text);
        OK(dog_model_set_section(m, "big", "", (size_t)DOG_MODEL_SIZE_MAX + 1, &e) == -EINVAL, "%s", e.text);
        char name[32];
        for (unsigned i = m->sections; i < DOG_MODEL_SECTIONS_MAX - 1; i++) {
                snprintf(name, sizeof(name), "section %u", i);
                NEED(dog_model_set_section(m, name, "x", 1, &e) == 0, "%s", e.text);
        }
        OK(dog_model_set_section(m, "one more", "x", 1, &e) == -EINVAL, "%s", e.text);
        for (unsigned i = m->scores; i < DOG_MODEL_SCORES_MAX; i++) {
                snprintf(name, sizeof(name), "score %u", i);
                NEED(dog_model_set_score(m, name, i, &e) == 0, "%s", e.text);
        }
        OK(dog_model_set_score(m, "one more", 1, &e) == -EINVAL, "%s", e.text);
        uint8_t *bytes;
        size_t size;
        struct dog_model *again;
        encode(m, &bytes, &size);
        OK(dog_model_decode(&again, bytes, size, &e) == 0 && again->scores == DOG_MODEL_SCORES_MAX &&
                   again->sections == DOG_MODEL_SECTIONS_MAX - 1,
           "as many as there may be: %s", e.text);
        dog_model_free(again);
        free(bytes);
        /* Forty times 2 MB do not fit. */
        uint8_t *much = calloc(1, 2 << 20);
        NEED(much, "memory");
        for (unsigned i = 2; i < 42; i++) {
                snprintf(name, sizeof(name), "section %u", i);
                NEED(dog_model_set_section(m, name, much, 2 << 20, &e) == 0, "%s", e.text);
        }
        OK(dog_model_encode(m, &bytes, &size, &e) == -EFBIG, "%s", e.text);
        free(much);
        dog_model_free(m);
}

/* ---- files ---- */

static char folder[300];

static void folder_make(void)
{
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof(folder), "%s/sundog-model-XXXXXX", base ? base : "/tmp");
        NEED(mkdtemp(folder), "no temporary folder: %s", strerror(errno));
}

static unsigned folder_files(bool remove_them)
{
        unsigned n = 0;
        DIR *d = opendir(folder);
        for (struct dirent *f; d && (f = readdir(d));)
                if (f->d_name[0] != '.') {
                        n++;
                        if (remove_them)
                                unlinkat(dirfd(d), f->d_name, 0);
                }
        if (d)
                closedir(d);
        return n;
}

static void a_file_is_replaced_whole_or_not_at_all(void)
{
        struct dog_model *m = made_model();
        struct dog_model *again;
        struct dog_err e = {0};
        char path[400];
        char nowhere[400];
        struct stat s;
        folder_make();
        snprintf(path, sizeof(path), "%s/paths.model", folder);
        snprintf(nowhere, sizeof(nowhere), "%s/no/paths.model", folder);
        for (int i = 0; i < 2; i++) {
                NEED(dog_model_write(m, path, &e) == 0, "%s", e.text);
                NEED(dog_model_read(&again, path, &e) == 0, "%s", e.text);
                dog_model_free(again);
        }
        OK(folder_files(false) == 1, "nothing is left beside it");
        OK(stat(path, &s) == 0 && (s.st_mode & 0777) == 0644, "others may read it: %o",
           (unsigned)s.st_mode & 0777);
        OK(dog_model_write(m, nowhere, &e) == -ENOENT && strstr(e.text, "/no/paths.model: cannot write"),
           "%s", e.text);
        OK(dog_model_write(m, folder, &e) < 0 && strstr(e.text, "cannot write"), "over a folder: %s", e.text);
        OK(folder_files(false) == 1, "and no half of it is left");
        OK(dog_model_read(&again, nowhere, &e) == -ENOENT && strstr(e.text, "cannot read"), "%s", e.text);
        OK(dog_model_read(&again, folder, &e) == -EISDIR, "%s", e.text);

        NEED(dog_file_replace(path, "SUNDOG", 6, &e) == 0, "%s", e.text);
        OK(dog_model_read(&again, path, &e) == -EINVAL && strstr(e.text, path) &&
                   strstr(e.text, "not a model"),
           "%s", e.text);
        NEED(dog_file_replace(path, "", 0, &e) == 0, "%s", e.text);
        OK(dog_model_read(&again, path, &e) == -EINVAL, "empty: %s", e.text);
        uint8_t *bytes;
        size_t size;
        NEED(dog_file_replace(path, "12345678", 8, &e) == 0, "%s", e.text);
        OK(dog_file_take(path, 7, &bytes, &size, &e) == -EFBIG && !bytes, "%s", e.text);
        OK(dog_file_take(path, 8, &bytes, &size, &e) == 0 && size == 8, "%s", e.text);
        free(bytes);
        /* A file without a size, as in /proc, that does not end. */
        OK(dog_file_take("/dev/zero", 1 << 16, &bytes, &size, &e) == -EFBIG, "%s", e.text);
        folder_files(true);
        rmdir(folder);
        dog_model_free(m);
}

/* ---- every allocation fails once ---- */

static int model_once(void *user, struct dog_err *e)
{
        const struct dog_model *m = user;
        struct dog_model *again = NULL;
        uint8_t *bytes = NULL;
        size_t size;
        int rc = dog_model_encode(m, &bytes, &size, e);
        if (rc == 0)
                rc = dog_model_decode(&again, bytes, size, e);
        if (rc == 0)
                rc = dog_model_set_section(again, "scales", "new", 3, e);
        free(bytes);
        dog_model_free(again);
        return rc;
}

static void reading_survives_every_refusal_of_memory(void)
{
        struct dog_model *m = made_model();
        size_t n = alloc_fail_each(model_once, m);
        OK(n >= 8, "%zu allocations, each survived", n);
        dog_model_free(m);
}

static void kinds_have_names(void)
{
        for (unsigned k = 0; k < DOG_MODEL_KIND_COUNT; k++)
                OK(dog_model_kind_of(dog_model_kind_name(k)) == (int)k, "%s", dog_model_kind_name(k));
        OK(!dog_model_kind_name(DOG_MODEL_KIND_COUNT) && dog_model_kind_of("site") == -ENOENT,
           "and no others");
}

int main(void)
{
        return CHECK_RUN(TEST(what_is_written_is_read), TEST(every_flipped_bit_is_seen),
                         TEST(a_file_of_another_length_is_cut_off_or_too_long),
                         TEST(counts_and_names_that_lie_are_refused_behind_a_right_checksum),
                         TEST(a_model_for_other_features_is_refused_with_the_first_difference),
                         TEST(scores_and_sections_are_replaced_by_name_and_limited),
                         TEST(a_file_is_replaced_whole_or_not_at_all),
                         TEST(reading_survives_every_refusal_of_memory), TEST(kinds_have_names));
}
