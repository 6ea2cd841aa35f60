#include "learn/model_file.h"

#include "base/bytes.h"
#include "base/siphash.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char model_magic[8] = {'S', 'U', 'N', 'D', 'O', 'G', 'M', '\n'};
static const char model_trees[] = "trees";
static const uint64_t model_key[2] = {0x73756e646f67206dULL, 0x6f64656c66696c65ULL};
enum { MODEL_HEAD = 8 + 4 + 8, MODEL_TAIL = 8 };

const char *dog_model_kind_name(unsigned kind)
{
        static const char *const name[] = {
#define X(name, text) text,
                DOG_MODEL_KINDS(X)
#undef X
        };
        return kind < DOG_MODEL_KIND_COUNT ? name[kind] : NULL;
}

int dog_model_kind_of(const char *name)
{
        for (unsigned k = 0; k < DOG_MODEL_KIND_COUNT; k++)
                if (strcmp(dog_model_kind_name(k), name) == 0)
                        return (int)k;
        return -ENOENT;
}

/* ---- filling ----------------------------------------------------------------------------------- */

/* Names are printed and compared: visible ASCII and spaces, not empty, not too long. */
static bool model_is_name(const char *name)
{
        size_t length = strnlen(name, DOG_TABLE_NAME_SIZE);
        for (size_t i = 0; i < length; i++)
                if (name[i] < ' ' || name[i] > '~')
                        return false;
        return length > 0 && length < DOG_TABLE_NAME_SIZE;
}

static int model_take_name(char *to, const char *name, const char *what, struct dog_err *e)
{
        if (!model_is_name(name))
                return dog_err_set(e, -EINVAL, "model: the name of a %s is 1..%d printable characters", what,
                                   DOG_TABLE_NAME_SIZE - 1);
        strcpy(to, name);
        return 0;
}

static uint64_t model_feature_hash(char (*feature)[DOG_TABLE_NAME_SIZE], unsigned features)
{
        const char *name[DOG_TABLE_FEATURES_MAX];
        for (unsigned i = 0; i < features; i++)
                name[i] = feature[i];
        return dog_feature_set_hash(name, features);
}

static int model_copy_names(struct dog_model *m, const struct dog_table *t, struct dog_err *e)
{
        int rc = model_take_name(m->data_name, t->name, "data set", e);
        m->feature = calloc(t->features, sizeof(*m->feature));
        if (rc == 0 && !m->feature)
                rc = dog_err_set(e, -ENOMEM, "model: no memory for %u names", t->features);
        for (unsigned i = 0; rc == 0 && i < t->features; i++)
                rc = model_take_name(m->feature[i], t->feature_name[i], "feature", e);
        for (unsigned i = 0; rc == 0 && i < t->targets; i++)
                rc = model_take_name(m->target[i].name, t->target_name[i], "target", e);
        return rc;
}

static void model_count(struct dog_model_target *to, const struct dog_table *t, unsigned target)
{
        for (size_t i = 0; i < t->rows; i++) {
                int8_t label = dog_table_label(t, i, target);
                bool is_number = t->target_kind[target] == DOG_TARGET_NUMBER;
                bool is_known = is_number ? t->number && !isnan(t->number[i * t->targets + target])
                                          : label != DOG_LABEL_UNKNOWN;
                to->known += is_known;
                to->bad += is_known && !is_number && label == 1;
        }
}

int dog_model_new(struct dog_model **to, enum dog_model_kind kind, const struct dog_table *table,
                  struct dog_gbt *trees, int64_t made_wall_ns, struct dog_err *e)
{
        *to = NULL;
        if (trees->features != table->features || trees->targets != table->targets)
                return dog_err_set(
                        e, -EINVAL,
                        "model: trees of %u features and %u targets do not belong to a table of %u and %u",
                        trees->features, trees->targets, table->features, table->targets);
        struct dog_model *m = calloc(1, sizeof(*m));
        if (!m)
                return dog_err_set(e, -ENOMEM, "model: no memory");
        int rc = model_copy_names(m, table, e);
        if (rc < 0) {
                dog_model_free(m);
                return rc;
        }
        m->kind = kind;
        m->made_wall_ns = made_wall_ns;
        m->data_fingerprint = dog_table_fingerprint(table);
        m->data_rows = table->rows;
        m->features = table->features;
        m->targets = table->targets;
        m->feature_hash = model_feature_hash(m->feature, m->features);
        for (unsigned i = 0; i < m->targets; i++)
                model_count(&m->target[i], table, i);
        m->trees = trees;
        *to = m;
        return 0;
}

void dog_model_free(struct dog_model *m)
{
        if (!m)
                return;
        for (unsigned i = 0; i < m->sections; i++)
                free(m->section[i].bytes);
        free(m->section);
        free(m->score);
        free(m->feature);
        dog_gbt_free(m->trees);
        free(m);
}

int dog_model_set_score(struct dog_model *m, const char *name, double value, struct dog_err *e)
{
        struct dog_model_score new = {.value = value};
        int rc = model_take_name(new.name, name, "score", e);
        if (rc < 0)
                return rc;
        for (unsigned i = 0; i < m->scores; i++)
                if (strcmp(m->score[i].name, name) == 0) {
                        m->score[i].value = value;
                        return 0;
                }
        if (m->scores == DOG_MODEL_SCORES_MAX)
                return dog_err_set(e, -EINVAL, "model: more than %d scores", DOG_MODEL_SCORES_MAX);
        struct dog_model_score *score = reallocarray(m->score, m->scores + 1, sizeof(*score));
        if (!score)
                return dog_err_set(e, -ENOMEM, "model: no memory for a score");
        m->score = score;
        m->score[m->scores++] = new;
        return 0;
}

int dog_model_set_section(struct dog_model *m, const char *name, const void *bytes, size_t size,
                          struct dog_err *e)
{
        struct dog_model_section new = {.size = size};
        int rc = model_take_name(new.name, name, "section", e);
        if (rc < 0)
                return rc;
        if (strcmp(name, model_trees) == 0 || size > DOG_MODEL_SIZE_MAX)
                return dog_err_set(e, -EINVAL, "model: a section \"%s\" of %zu bytes cannot be added", name,
                                   size);
        struct dog_model_section *old = NULL;
        for (unsigned i = 0; i < m->sections; i++)
                if (strcmp(m->section[i].name, name) == 0)
                        old = &m->section[i];
        if (!old && m->sections == DOG_MODEL_SECTIONS_MAX - 1) /* the trees are one more */
                return dog_err_set(e, -EINVAL, "model: more than %d sections", DOG_MODEL_SECTIONS_MAX - 1);
        new.bytes = malloc(size ? size : 1);
        struct dog_model_section *section =
                old ? m->section : reallocarray(m->section, m->sections + 1, sizeof(*section));
        if (section)
                m->section = section;
        if (!new.bytes || !section) {
                free(new.bytes);
                return dog_err_set(e, -ENOMEM, "model: no memory for the section \"%s\"", name);
        }
        if (size)
                memcpy(new.bytes, bytes, size);
        if (old) {
                free(old->bytes);
                *old = new;
        } else {
                m->section[m->sections++] = new;
        }
        return 0;
}

double dog_model_score(const struct dog_model *m, const char *name)
{
        for (unsigned i = 0; i < m->scores; i++)
                if (strcmp(m->score[i].name, name) == 0)
                        return m->score[i].value;
        return (double)NAN;
}

const struct dog_model_section *dog_model_section(const struct dog_model *m, const char *name)
{
        for (unsigned i = 0; i < m->sections; i++)
                if (strcmp(m->section[i].name, name) == 0)
                        return &m->section[i];
        return NULL;
}

int dog_model_target(const struct dog_model *m, const char *name)
{
        for (unsigned i = 0; i < m->targets; i++)
                if (strcmp(m->target[i].name, name) == 0)
                        return (int)i;
        return -ENOENT;
}

int dog_model_check_features(const struct dog_model *m, const char *const *feature, unsigned features,
                             struct dog_err *e)
{
        for (unsigned i = 0; i < features && i < m->features; i++)
                if (strcmp(m->feature[i], feature[i]) != 0)
                        return dog_err_set(
                                e, -EINVAL,
                                "the model was trained on other features: number %u is \"%s\" there and "
                                "\"%s\" here; train it again with this version",
                                i + 1, m->feature[i], feature[i]);
        if (features != m->features)
                return dog_err_set(
                        e, -EINVAL,
                        "the model was trained on %u features, here there are %u; train it again with "
                        "this version",
                        m->features, features);
        return 0;
}

/* ---- writing ----------------------------------------------------------------------------------- */

uint64_t dog_model_checksum(const uint8_t *bytes, size_t size)
{
        struct dog_sip s;
        struct dog_bytes in = dog_bytes_in(bytes, size);
        uint64_t last = (uint64_t)size << 56;
        dog_sip_init(&s, model_key[0], model_key[1]);
        while (dog_bytes_left(&in) >= 8)
                dog_sip_block(&s, dog_read_u64(&in));
        for (unsigned shift = 0; dog_bytes_left(&in) > 0; shift += 8)
                last |= (uint64_t)dog_read_u8(&in) << shift;
        dog_sip_block(&s, last);
        return dog_sip_fini(&s);
}

static void model_write_text(struct dog_bytes *out, const char *text)
{
        size_t length = strlen(text);
        dog_write_u8(out, (uint8_t)length);
        dog_write_copy(out, text, length);
}

static void model_write_double(struct dog_bytes *out, double v)
{
        uint64_t bits;
        memcpy(&bits, &v, sizeof(bits));
        dog_write_u64(out, bits);
}

static size_t model_size(const struct dog_model *m)
{
        const size_t text = DOG_TABLE_NAME_SIZE; /* at most, with its length */
        size_t size = MODEL_HEAD + 1 + 8 + text + 8 + 8 + 8 + 2 + m->features * text + 2 +
                      m->targets * (text + 16) + 2 + m->scores * (text + 8) + 2 + MODEL_TAIL;
        for (unsigned i = 0; i < m->sections; i++)
                size += text + 4 + m->section[i].size;
        return size + text + 4 + dog_gbt_size(m->trees);
}

static void model_write_body(const struct dog_model *m, struct dog_bytes *out)
{
        dog_write_u8(out, (uint8_t)m->kind);
        dog_write_u64(out, (uint64_t)m->made_wall_ns);
        model_write_text(out, m->data_name);
        dog_write_u64(out, m->data_fingerprint);
        dog_write_u64(out, m->data_rows);
        dog_write_u64(out, m->feature_hash);
        dog_write_u16(out, (uint16_t)m->features);
        for (unsigned i = 0; i < m->features; i++)
                model_write_text(out, m->feature[i]);
        dog_write_u16(out, (uint16_t)m->targets);
        for (unsigned i = 0; i < m->targets; i++) {
                model_write_text(out, m->target[i].name);
                dog_write_u64(out, m->target[i].known);
                dog_write_u64(out, m->target[i].bad);
        }
        dog_write_u16(out, (uint16_t)m->scores);
        for (unsigned i = 0; i < m->scores; i++) {
                model_write_text(out, m->score[i].name);
                model_write_double(out, m->score[i].value);
        }
        dog_write_u16(out, (uint16_t)(m->sections + 1));
        for (unsigned i = 0; i < m->sections; i++) {
                model_write_text(out, m->section[i].name);
                dog_write_u32(out, (uint32_t)m->section[i].size);
                dog_write_copy(out, m->section[i].bytes, m->section[i].size);
        }
        model_write_text(out, model_trees);
        dog_write_u32(out, (uint32_t)dog_gbt_size(m->trees));
        dog_gbt_write(m->trees, out->data + out->at);
        out->at += dog_gbt_size(m->trees);
}

int dog_model_encode(const struct dog_model *m, uint8_t **bytes, size_t *size, struct dog_err *e)
{
        size_t most = model_size(m);
        if (most > DOG_MODEL_SIZE_MAX)
                return dog_err_set(e, -EFBIG, "model: it would take up to %zu bytes; at most %d", most,
                                   DOG_MODEL_SIZE_MAX);
        *bytes = malloc(most);
        if (!*bytes)
                return dog_err_set(e, -ENOMEM, "model: no memory for %zu bytes", most);
        struct dog_bytes out = dog_bytes_of(*bytes, most);
        dog_write_copy(&out, model_magic, sizeof(model_magic));
        dog_write_u32(&out, DOG_MODEL_VERSION);
        dog_write_u64(&out, 0);
        model_write_body(m, &out);
        *size = out.at + MODEL_TAIL;
        struct dog_bytes head = dog_bytes_of(*bytes + 12, 8);
        dog_write_u64(&head, *size);
        dog_write_u64(&out, dog_model_checksum(*bytes, out.at));
        return 0;
}

/* ---- reading ----------------------------------------------------------------------------------- */

static double model_read_double(struct dog_bytes *in)
{
        uint64_t bits = dog_read_u64(in);
        double v;
        memcpy(&v, &bits, sizeof(v));
        return v;
}

static int model_read_text(struct dog_bytes *in, char *to, const char *what, struct dog_err *e)
{
        size_t length = dog_read_u8(in);
        memset(to, 0, DOG_TABLE_NAME_SIZE);
        if (length < DOG_TABLE_NAME_SIZE)
                dog_read_copy(in, to, length);
        if (in->failed || strlen(to) != length || !model_is_name(to))
                return dog_err_set(e, -EINVAL, "the name of a %s is no name", what);
        return 0;
}

/* A count, checked against its limit and against what is left for so many things of at least `each` bytes. */
static int model_read_count(struct dog_bytes *in, unsigned least, unsigned most, size_t each,
                            const char *what, unsigned *count, struct dog_err *e)
{
        *count = dog_read_u16(in);
        if (in->failed || *count < least || *count > most || *count * each > dog_bytes_left(in))
                return dog_err_set(e, -EINVAL, "it says that it has %u %s", *count, what);
        return 0;
}

static int model_read_about(struct dog_model *m, struct dog_bytes *in, struct dog_err *e)
{
        unsigned kind = dog_read_u8(in);
        if (kind >= DOG_MODEL_KIND_COUNT)
                return dog_err_set(e, -EINVAL, "its kind is %u, which this version does not know", kind);
        m->kind = (enum dog_model_kind)kind;
        m->made_wall_ns = (int64_t)dog_read_u64(in);
        int rc = model_read_text(in, m->data_name, "data set", e);
        m->data_fingerprint = dog_read_u64(in);
        m->data_rows = dog_read_u64(in);
        m->feature_hash = dog_read_u64(in);
        return rc;
}

static int model_read_features(struct dog_model *m, struct dog_bytes *in, struct dog_err *e)
{
        int rc = model_read_count(in, 1, DOG_TABLE_FEATURES_MAX, 2, "features", &m->features, e);
        if (rc < 0)
                return rc;
        m->feature = calloc(m->features, sizeof(*m->feature));
        if (!m->feature)
                return dog_err_set(e, -ENOMEM, "no memory for %u names", m->features);
        for (unsigned i = 0; rc == 0 && i < m->features; i++)
                rc = model_read_text(in, m->feature[i], "feature", e);
        if (rc == 0 && model_feature_hash(m->feature, m->features) != m->feature_hash)
                rc = dog_err_set(e, -EINVAL, "its features are not those that it was trained on");
        return rc;
}

static int model_read_targets(struct dog_model *m, struct dog_bytes *in, struct dog_err *e)
{
        int rc = model_read_count(in, 1, DOG_TABLE_TARGETS_MAX, 18, "targets", &m->targets, e);
        for (unsigned i = 0; rc == 0 && i < m->targets; i++) {
                rc = model_read_text(in, m->target[i].name, "target", e);
                m->target[i].known = dog_read_u64(in);
                m->target[i].bad = dog_read_u64(in);
                if (rc == 0 && (m->target[i].known > m->data_rows || m->target[i].bad > m->target[i].known))
                        rc = dog_err_set(e, -EINVAL, "its counts of \"%s\" contradict each other",
                                         m->target[i].name);
        }
        return rc;
}

static int model_read_scores(struct dog_model *m, struct dog_bytes *in, struct dog_err *e)
{
        unsigned count;
        int rc = model_read_count(in, 0, DOG_MODEL_SCORES_MAX, 10, "scores", &count, e);
        for (unsigned i = 0; rc == 0 && i < count; i++) {
                char name[DOG_TABLE_NAME_SIZE];
                rc = model_read_text(in, name, "score", e);
                if (rc == 0)
                        rc = dog_model_set_score(m, name, model_read_double(in), e);
                if (rc == 0 && m->scores != i + 1)
                        rc = dog_err_set(e, -EINVAL, "it has two scores called \"%s\"", name);
        }
        return rc;
}

static int model_read_section(struct dog_model *m, struct dog_bytes *in, struct dog_err *e)
{
        char name[DOG_TABLE_NAME_SIZE];
        int rc = model_read_text(in, name, "section", e);
        if (rc < 0)
                return rc;
        size_t size = dog_read_u32(in);
        if (in->failed || size > dog_bytes_left(in))
                return dog_err_set(e, -EINVAL, "it says that its section \"%s\" has %zu bytes", name, size);
        const uint8_t *bytes = in->data + in->at;
        dog_read_skip(in, size);
        if (strcmp(name, model_trees) != 0)
                return dog_model_section(m, name)
                               ? dog_err_set(e, -EINVAL, "it has two sections called \"%s\"", name)
                               : dog_model_set_section(m, name, bytes, size, e);
        if (m->trees)
                return dog_err_set(e, -EINVAL, "it has two sections called \"%s\"", name);
        rc = dog_gbt_read(&m->trees, bytes, size, e);
        if (rc == 0 && (m->trees->features != m->features || m->trees->targets != m->targets))
                rc = dog_err_set(e, -EINVAL, "its trees ask %u features for %u targets, it names %u and %u",
                                 m->trees->features, m->trees->targets, m->features, m->targets);
        return rc;
}

static int model_read_sections(struct dog_model *m, struct dog_bytes *in, struct dog_err *e)
{
        unsigned count;
        int rc = model_read_count(in, 0, DOG_MODEL_SECTIONS_MAX, 6, "sections", &count, e);
        for (unsigned i = 0; rc == 0 && i < count; i++)
                rc = model_read_section(m, in, e);
        if (rc == 0 && !m->trees)
                rc = dog_err_set(e, -EINVAL, "it has no trees");
        if (rc == 0 && (in->failed || dog_bytes_left(in) > 0))
                rc = dog_err_set(e, -EINVAL, "its parts do not add up to its size");
        return rc;
}

/* What can be said without believing any of its contents. */
static int model_check_frame(const uint8_t *bytes, size_t size, struct dog_err *e)
{
        struct dog_bytes in = dog_bytes_in(bytes, size);
        char magic[sizeof(model_magic)];
        dog_read_copy(&in, magic, sizeof(magic));
        if (in.failed || memcmp(magic, model_magic, sizeof(magic)) != 0)
                return dog_err_set(e, -EINVAL, "it is not a model of sundog");
        uint32_t version = dog_read_u32(&in);
        uint64_t said = dog_read_u64(&in);
        if (in.failed)
                return dog_err_set(e, -EINVAL, "it is cut off after %zu bytes; copy it again", size);
        if (version != DOG_MODEL_VERSION)
                return dog_err_set(e, -EINVAL,
                                   "it is of version %u, this program reads version %d; train it again",
                                   version, DOG_MODEL_VERSION);
        if (said > size)
                return dog_err_set(e, -EINVAL, "it is cut off: %zu bytes of %llu; copy it again", size,
                                   (unsigned long long)said);
        if (said < size)
                return dog_err_set(e, -EINVAL, "%llu bytes follow its end; copy it again",
                                   (unsigned long long)(size - said));
        if (size < MODEL_HEAD + MODEL_TAIL)
                return dog_err_set(e, -EINVAL, "it is too short: %zu bytes", size);
        in.at = size - MODEL_TAIL;
        if (dog_read_u64(&in) != dog_model_checksum(bytes, size - MODEL_TAIL))
                return dog_err_set(
                        e, -EINVAL,
                        "it is damaged: its checksum does not hold; copy it again or train it again");
        return 0;
}

int dog_model_decode(struct dog_model **to, const uint8_t *bytes, size_t size, struct dog_err *e)
{
        *to = NULL;
        int rc = model_check_frame(bytes, size, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "model");
        struct dog_model *m = calloc(1, sizeof(*m));
        if (!m)
                return dog_err_set(e, -ENOMEM, "model: no memory");
        struct dog_bytes in = dog_bytes_in(bytes, size - MODEL_TAIL);
        in.at = MODEL_HEAD;
        rc = model_read_about(m, &in, e);
        if (rc == 0)
                rc = model_read_features(m, &in, e);
        if (rc == 0)
                rc = model_read_targets(m, &in, e);
        if (rc == 0)
                rc = model_read_scores(m, &in, e);
        if (rc == 0)
                rc = model_read_sections(m, &in, e);
        if (rc < 0) {
                dog_model_free(m);
                return dog_err_prefix(e, rc, "model");
        }
        *to = m;
        return 0;
}

/* ---- files ------------------------------------------------------------------------------------- */

static int file_write_all(int fd, const uint8_t *bytes, size_t size)
{
        for (size_t at = 0; at < size;) {
                ssize_t n = write(fd, bytes + at, size - at);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                at += (size_t)n;
        }
        return fsync(fd) < 0 ? -errno : 0;
}

/* The name itself is on the disk only when its folder is. */
static int file_sync_folder(const char *path)
{
        char folder[4096];
        const char *slash = strrchr(path, '/');
        size_t length = slash ? (size_t)(slash - path) : 0;
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash ? (length ? length : 1) : 1),
                 slash ? path : ".");
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        /* Some file systems cannot sync a folder and say so; the rename is theirs to keep. */
        int rc = fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP ? -errno : 0;
        close(fd);
        return rc;
}

int dog_file_replace(const char *path, const void *bytes, size_t size, struct dog_err *e)
{
        char beside[4096];
        if (snprintf(beside, sizeof(beside), "%s.XXXXXX", path) >= (int)sizeof(beside))
                return dog_err_set(e, -ENAMETOOLONG, "cannot write a file: its name is too long");
        int fd = mkostemp(beside, O_CLOEXEC);
        if (fd < 0)
                return dog_err_set(e, -errno, "%s: cannot write beside it: %s", path, strerror(errno));
        int rc = file_write_all(fd, bytes, size);
        if (rc == 0 && fchmod(fd, 0644) < 0)
                rc = -errno;
        if (close(fd) < 0 && rc == 0)
                rc = -errno;
        if (rc == 0 && rename(beside, path) < 0)
                rc = -errno;
        if (rc < 0) {
                unlink(beside);
                return dog_err_set(e, rc, "%s: cannot write %zu bytes: %s", path, size, strerror(-rc));
        }
        rc = file_sync_folder(path);
        if (rc < 0)
                return dog_err_set(e, rc, "%s: cannot sync its folder: %s", path, strerror(-rc));
        return 0;
}

static int file_read_all(int fd, size_t most, uint8_t **bytes, size_t *size)
{
        struct stat s;
        if (fstat(fd, &s) < 0)
                return -errno;
        if (S_ISDIR(s.st_mode))
                return -EISDIR;
        if (s.st_size > 0 && (uint64_t)s.st_size > most)
                return -EFBIG;
        size_t room = (size_t)s.st_size + 1; /* one more, to see that it has not grown */
        *bytes = malloc(room);
        *size = 0;
        while (*bytes) {
                ssize_t n = read(fd, *bytes + *size, room - *size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                *size += (size_t)n;
                if (*size < room)
                        continue;
                if (room > most)
                        return -EFBIG;
                room = 2 * room < most ? 2 * room : most + 1;
                uint8_t *bigger = realloc(*bytes, room);
                if (!bigger)
                        break;
                *bytes = bigger;
        }
        return -ENOMEM;
}

int dog_file_take(const char *path, size_t most, uint8_t **bytes, size_t *size, struct dog_err *e)
{
        *bytes = NULL;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us */
        if (fd < 0)
                return dog_err_set(e, -errno, "%s: cannot read it: %s", path, strerror(errno));
        int rc = file_read_all(fd, most, bytes, size);
        close(fd);
        if (rc < 0) {
                free(*bytes);
                *bytes = NULL;
                dog_err_set(e, rc, "%s: cannot read it: %s", path,
                            rc == -EFBIG ? "it is larger than such a file can be" : strerror(-rc));
        }
        return rc;
}

int dog_model_write(const struct dog_model *m, const char *path, struct dog_err *e)
{
        uint8_t *bytes;
        size_t size;
        int rc = dog_model_encode(m, &bytes, &size, e);
        if (rc < 0)
                return rc;
        rc = dog_file_replace(path, bytes, size, e);
        free(bytes);
        return rc;
}

int dog_model_read(struct dog_model **to, const char *path, struct dog_err *e)
{
        uint8_t *bytes;
        size_t size;
        *to = NULL;
        int rc = dog_file_take(path, DOG_MODEL_SIZE_MAX, &bytes, &size, e);
        if (rc < 0)
                return rc;
        rc = dog_model_decode(to, bytes, size, e);
        free(bytes);
        return rc < 0 ? dog_err_prefix(e, rc, "%s", path) : 0;
}
