#pragma once
/**
 * The model file: what `sundog train` writes and the daemon serves.
 *
 * It says what it is for (kind, features, targets), holds the trees, and tells where it comes from: the
 * fingerprint and size of its training data, when it was made, and the scores that it reached there. Whatever
 * else belongs to a model (calibration tables, scales) lies in named sections.
 *
 * Layout, integers in network byte order, floats as their bits; "text" is a u8 length and that many bytes:
 *     8 bytes   "SUNDOGM\n"
 *     u32       version, 1
 *     u64       size of the whole file
 *     u8        kind
 *     i64       made at, nanoseconds since 1970 UTC
 *     text      name of the training data
 *     u64 u64   its fingerprint (dog_table_fingerprint), its rows
 *     u64       hash of the features' names (dog_feature_set_hash)
 *     u16       features;  text per feature
 *     u16       targets;   text, u64 rows known, u64 rows with label 1, per target
 *     u16       scores;    text, double, per score
 *     u16       sections;  text, u32 size, bytes, per section; the trees (dog_gbt_write) are the section
 * "trees" u64       SipHash-2-4 with a fixed key over everything above: against damage, not against an
 * adversary
 *
 * Reading checks all of it, and then the trees. Text is printable ASCII.
 */
#include "base/err.h"
#include "learn/table.h"
#include "models/gbt.h"

#include <stddef.h>
#include <stdint.h>

enum {
        DOG_MODEL_VERSION = 1,
        DOG_MODEL_SCORES_MAX = 1024,
        DOG_MODEL_SECTIONS_MAX = 64,
        DOG_MODEL_SIZE_MAX = 64 << 20, /**< bytes of a whole file */
};

#define DOG_MODEL_KINDS(X)                                                                                   \
        X(DOG_MODEL_PATH, "path")                                                                            \
        X(DOG_MODEL_NODE, "node")                                                                            \
        X(DOG_MODEL_OVERLOAD, "overload")

enum dog_model_kind {
#define X(name, text) name,
        DOG_MODEL_KINDS(X)
#undef X
                DOG_MODEL_KIND_COUNT
};
/** "path"; NULL for a number that is no kind. And back: -ENOENT. */
const char *dog_model_kind_name(unsigned kind);
int dog_model_kind_of(const char *name);

struct dog_model_score {
        char name[DOG_TABLE_NAME_SIZE]; /**< "svc onset auroc 1s" */
        double value;
};

struct dog_model_section {
        char name[DOG_TABLE_NAME_SIZE];
        uint8_t *bytes;
        size_t size;
};

struct dog_model_target {
        char name[DOG_TABLE_NAME_SIZE];
        uint64_t known; /**< training rows whose outcome was known */
        uint64_t bad;   /**< of these, with label 1 */
};

/** Owns everything in it. Fill it through the functions, read it directly. */
struct dog_model {
        enum dog_model_kind kind;
        int64_t made_wall_ns;
        char data_name[DOG_TABLE_NAME_SIZE];
        uint64_t data_fingerprint, data_rows;
        uint64_t feature_hash;
        unsigned features, targets, scores, sections;
        char (*feature)[DOG_TABLE_NAME_SIZE];
        struct dog_model_target target[DOG_TABLE_TARGETS_MAX];
        struct dog_model_score *score;
        struct dog_model_section *section;
        struct dog_gbt *trees; /**< one ensemble per target */
};

/**
 * A model of trees and of the table that they were trained on: features, targets, counts, fingerprint.
 * @param trees  taken over on success; features and targets as in the table
 * @return 0; -EINVAL, -ENOMEM
 */
int dog_model_new(struct dog_model **to, enum dog_model_kind kind, const struct dog_table *table,
                  struct dog_gbt *trees, int64_t made_wall_ns, struct dog_err *e);
/** NULL is allowed. */
void dog_model_free(struct dog_model *m);

/** Add a score or a section, or replace the one of that name. Bytes are copied. -EINVAL, -ENOMEM. */
int dog_model_set_score(struct dog_model *m, const char *name, double value, struct dog_err *e);
int dog_model_set_section(struct dog_model *m, const char *name, const void *bytes, size_t size,
                          struct dog_err *e);
/** NAN when there is none of that name. */
double dog_model_score(const struct dog_model *m, const char *name);
/** NULL when there is none of that name. */
const struct dog_model_section *dog_model_section(const struct dog_model *m, const char *name);
/** The number of a target by its name; -ENOENT. */
int dog_model_target(const struct dog_model *m, const char *name);

/**
 * Is the model for these features? Otherwise -EINVAL and a sentence with the first difference.
 * Whoever serves a model calls this with its own list before it asks the trees anything.
 */
int dog_model_check_features(const struct dog_model *m, const char *const *feature, unsigned features,
                             struct dog_err *e);

/** Bytes of the file; free(*bytes). -EFBIG over DOG_MODEL_SIZE_MAX, -ENOMEM. */
int dog_model_encode(const struct dog_model *m, uint8_t **bytes, size_t *size, struct dog_err *e);
/** -EINVAL with what is wrong: not a model, another version, cut off, too long, damaged, counts that lie. */
int dog_model_decode(struct dog_model **to, const uint8_t *bytes, size_t size, struct dog_err *e);

/** The checksum of a file's first `size` bytes: all but its last eight. */
uint64_t dog_model_checksum(const uint8_t *bytes, size_t size);

/** Write the file: whole or not at all, also when power fails. Negative errno of the file system. */
int dog_model_write(const struct dog_model *m, const char *path, struct dog_err *e);
int dog_model_read(struct dog_model **to, const char *path, struct dog_err *e);

/**
 * What dog_model_write does with its bytes, for other files of learning (a training's state): a new file
 * beside the old one, synced, then renamed over it.
 */
int dog_file_replace(const char *path, const void *bytes, size_t size, struct dog_err *e);
/** A whole file of at most `most` bytes; free(*bytes). -EFBIG when it is larger. */
int dog_file_take(const char *path, size_t most, uint8_t **bytes, size_t *size, struct dog_err *e);
