/*
 * Reading: YAML document -> table of keys -> structs; and printing them back.
 */
#include "daemon/config_impl.h"

#include "base/array.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

/* libyaml compares every alias with every anchor: a larger file could keep it busy for minutes. */
#define CONFIG_FILE_MAX  (256u << 10)
#define CONFIG_FILES_MAX 256 /* drop-ins */
#define CONFIG_OPEN_MAX  200 /* brackets */

/* ---- pool ---- */

struct pool_piece {
        struct pool_piece *next;
        max_align_t bytes[];
};

struct dog_config_pool {
        struct pool_piece *first;
};

void *dog_config_alloc(struct dog_config_pool *pool, size_t size)
{
        struct pool_piece *piece = calloc(1, sizeof(*piece) + size);
        if (!piece)
                return NULL;
        piece->next = pool->first;
        pool->first = piece;
        return piece->bytes;
}

void dog_config_free(struct dog_config *config)
{
        if (!config)
                return;
        struct pool_piece *next;
        for (struct pool_piece *piece = config->pool->first; piece; piece = next) {
                next = piece->next;
                free(piece);
        }
        free(config->pool);
        free(config);
}

/* ---- the nearest key ---- */

/* Edits that turn a into b; swapping two neighbours is one (Damerau, CACM 7:3, 1964). Words up to 31 bytes.
 */
static unsigned key_distance(const char *a, const char *b)
{
        unsigned d[33][33];
        size_t n = strlen(a);
        size_t m = strlen(b);
        if (n > 32 || m > 32)
                return UINT32_MAX;
        for (size_t i = 0; i <= n; i++)
                d[i][0] = (unsigned)i;
        for (size_t j = 0; j <= m; j++)
                d[0][j] = (unsigned)j;
        for (size_t i = 1; i <= n; i++)
                for (size_t j = 1; j <= m; j++) {
                        unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
                        if (d[i - 1][j] + 1 < best)
                                best = d[i - 1][j] + 1;
                        if (d[i][j - 1] + 1 < best)
                                best = d[i][j - 1] + 1;
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                            d[i - 2][j - 2] + 1 < best)
                                best = d[i - 2][j - 2] + 1;
                        d[i][j] = best;
                }
        return d[n][m];
}

/* The section that has a key of exactly this name, or NULL. */
static const struct config_section *key_elsewhere(const struct config_section *in, const char *name)
{
        for (size_t i = 0; i < in->keys; i++) {
                if (strcmp(in->key[i].name, name) == 0)
                        return in;
                const struct config_section *below =
                        in->key[i].section ? key_elsewhere(in->key[i].section, name) : NULL;
                if (below)
                        return below;
        }
        return NULL;
}

/* "; did you mean "latency"?", or where the key belongs, or all there are. */
static void key_suggest(const struct config_section *in, const char *name, char *to, size_t size)
{
        const struct config_key *nearest = NULL;
        unsigned least = UINT32_MAX;
        for (size_t i = 0; i < in->keys; i++) {
                unsigned d = key_distance(name, in->key[i].name);
                if (d < least) {
                        least = d;
                        nearest = &in->key[i];
                }
        }
        const struct config_section *elsewhere = key_elsewhere(&dog_config_root, name);
        if (elsewhere && elsewhere != in) {
                snprintf(to, size, "; it belongs to %s", elsewhere->what);
                return;
        }
        if (nearest && least <= 1 + strlen(nearest->name) / 3) {
                snprintf(to, size, "; did you mean \"%s\"?", nearest->name);
                return;
        }
        snprintf(to, size, "; it may have");
        for (size_t i = 0; i < in->keys; i++) {
                size_t used = strlen(to);
                snprintf(to + used, size - used, "%s %s", i ? "," : "", in->key[i].name);
        }
}

/* ---- the reader ---- */

struct reader {
        struct dog_config *config;
        yaml_document_t *document;
        const char *file;
        struct dog_err *err;
};

static struct dog_config_where reader_where(const struct reader *r, const yaml_node_t *node)
{
        return (struct dog_config_where){.file = r->file,
                                         .line = (unsigned)node->start_mark.line + 1,
                                         .column = (unsigned)node->start_mark.column + 1};
}

static const char *node_name(const yaml_node_t *node)
{
        return node->type == YAML_MAPPING_NODE    ? "a mapping"
               : node->type == YAML_SEQUENCE_NODE ? "a list"
                                                  : "a single value";
}

/*
 * Characters that no value needs and that would not survive being printed and read: ASCII and C1 controls,
 * U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF. libyaml has made sure that the text is UTF-8.
 */
static bool text_has_control(const char *text, size_t length)
{
        static const char *const bad[] = {"\u2028", "\u2029", "\ufeff", "\xef\xbf\xbe", "\xef\xbf\xbf"};
        for (size_t i = 0; i < length; i++) {
                unsigned char c = (unsigned char)text[i];
                if (c < ' ' || c == 127 || (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0))
                        return true;
                for (size_t j = 0; c >= 0xe2 && j < ARRAY_SIZE(bad); j++)
                        if (strncmp(text + i, bad[j], 3) == 0)
                                return true;
        }
        return false;
}

/* The text of a scalar: printable, of bounded length. NULL and the sentence when not. */
static const char *reader_text(const struct reader *r, const yaml_node_t *node, const char *key, int *rc)
{
        struct dog_config_where where = reader_where(r, node);
        if (node->type != YAML_SCALAR_NODE) {
                *rc = dog_config_fail(&where, r->err, -EINVAL, "\"%s\" must be a single value, not %s", key,
                                      node_name(node));
                return NULL;
        }
        const char *text = (const char *)node->data.scalar.value;
        size_t length = node->data.scalar.length;
        if (length == 0) {
                *rc = dog_config_fail(&where, r->err, -EINVAL,
                                      "\"%s\" has no value; give one or leave the key out", key);
                return NULL;
        }
        if (length > CONFIG_TEXT_MAX) {
                *rc = dog_config_fail(&where, r->err, -EINVAL, "\"%s\": the value is longer than %d bytes",
                                      key, CONFIG_TEXT_MAX);
                return NULL;
        }
        if (text_has_control(text, length)) {
                *rc = dog_config_fail(&where, r->err, -EINVAL,
                                      "\"%s\": the value has a control character in it", key);
                return NULL;
        }
        return text;
}

/* "FILE:L:C: latency in a profile: ..." before what a lower floor has said. */
static int reader_value_fail(const struct reader *r, const yaml_node_t *node, const struct config_section *in,
                             const struct config_key *key, int rc, const struct dog_err *why)
{
        struct dog_config_where where = reader_where(r, node);
        return dog_config_fail(&where, r->err, rc, "\"%s\" in %s: %s", key->name, in->what, why->text);
}

static void *field(void *base, size_t offset)
{
        return (char *)base + offset;
}

/* Pointers of a struct that the table describes; copied, because their types differ. */
static void pointer_set(void *base, size_t offset, void *value)
{
        memcpy(field(base, offset), &value, sizeof(value));
}

static const char *pointer_get(const void *base, size_t offset)
{
        const char *value;
        memcpy(&value, (const char *)base + offset, sizeof(value));
        return value;
}

static int section_read(struct reader *r, const struct config_section *in, void *base, yaml_node_t *node,
                        bool is_fresh);

static int section_presets(struct dog_config *config, const struct config_section *in, void *base,
                           struct dog_err *e)
{
        for (size_t i = 0; i < in->keys; i++) {
                const struct config_key *k = &in->key[i];
                int rc = 0;
                if (k->type == CONFIG_SECTION)
                        rc = section_presets(config, k->section, field(base, k->offset), e);
                else if (k->preset && *k->preset)
                        rc = dog_config_value_read(k, k->preset, field(base, k->offset), config->pool, e);
                if (rc < 0)
                        return rc;
        }
        return 0;
}

static int list_read(struct reader *r, const struct config_section *in, const struct config_key *k,
                     void *base, yaml_node_t *node)
{
        struct dog_config_where where = reader_where(r, node);
        if (node->type != YAML_SEQUENCE_NODE)
                return dog_config_fail(&where, r->err, -EINVAL,
                                       "\"%s\" in %s must be a list of mappings (\"- name: ...\"), not %s",
                                       k->name, in->what, node_name(node));
        size_t more = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
        size_t *count = field(base, k->count_offset);
        size_t most = strtoul(k->max, NULL, 10);
        if (more > most || *count + more > most)
                return dog_config_fail(&where, r->err, -E2BIG,
                                       "\"%s\" in %s: %zu entries, at most %s are possible", k->name,
                                       in->what, *count + more, k->max);
        if (more == 0)
                return 0;
        size_t size = k->section->size;
        char *all = dog_config_alloc(r->config->pool, (*count + more) * size);
        if (!all)
                return dog_err_set(r->err, -ENOMEM, "%s: out of memory", r->file);
        if (*count)
                memcpy(all, pointer_get(base, k->offset), *count * size);
        pointer_set(base, k->offset, all);
        for (size_t i = 0; i < more; i++) {
                yaml_node_t *item = yaml_document_get_node(r->document, node->data.sequence.items.start[i]);
                void *entry = all + *count * size;
                struct dog_config_where at = reader_where(r, item);
                /* Every struct of a list begins with where it was written. */
                memcpy(entry, &at, sizeof(at));
                int rc = section_presets(r->config, k->section, entry, r->err);
                if (rc == 0)
                        rc = section_read(r, k->section, entry, item, true);
                if (rc < 0)
                        return rc;
                ++*count;
        }
        return 0;
}

/* One value, or a list of values. */
static int values_read(struct reader *r, const struct config_section *in, const struct config_key *k,
                       void *base, yaml_node_t *node)
{
        size_t size = dog_config_entry_size(k->type);
        bool is_list = node->type == YAML_SEQUENCE_NODE;
        size_t n = is_list ? (size_t)(node->data.sequence.items.top - node->data.sequence.items.start) : 1;
        struct dog_config_where where = reader_where(r, node);
        if (n > strtoul(k->max, NULL, 10))
                return dog_config_fail(&where, r->err, -E2BIG,
                                       "\"%s\" in %s: %zu entries, at most %s are possible", k->name,
                                       in->what, n, k->max);
        if (n == 0)
                return dog_config_fail(&where, r->err, -EINVAL, "\"%s\" in %s: the list is empty; %s",
                                       k->name, in->what,
                                       k->preset ? "leave the key out" : "name at least one");
        char *all = dog_config_alloc(r->config->pool, n * size);
        if (!all)
                return dog_err_set(r->err, -ENOMEM, "%s: out of memory", r->file);
        for (size_t i = 0; i < n; i++) {
                yaml_node_t *item =
                        is_list ? yaml_document_get_node(r->document, node->data.sequence.items.start[i])
                                : node;
                struct dog_err why = {0};
                int rc = 0;
                const char *text = reader_text(r, item, k->name, &rc);
                if (!text)
                        return rc;
                rc = dog_config_entry_read(k, text, all + i * size, &why);
                if (rc < 0)
                        return reader_value_fail(r, item, in, k, rc, &why);
        }
        pointer_set(base, k->offset, all);
        size_t *count = field(base, k->count_offset);
        *count = n;
        return 0;
}

static int key_read(struct reader *r, const struct config_section *in, const struct config_key *k, void *base,
                    yaml_node_t *node, bool is_fresh)
{
        if (k->type == CONFIG_SECTION)
                return section_read(r, k->section, field(base, k->offset), node, is_fresh);
        if (k->type == CONFIG_LIST)
                return list_read(r, in, k, base, node);
        if (dog_config_entry_size(k->type))
                return values_read(r, in, k, base, node);
        struct dog_err why = {0};
        int rc = 0;
        const char *text = reader_text(r, node, k->name, &rc);
        if (!text)
                return rc;
        rc = dog_config_value_read(k, text, field(base, k->offset), r->config->pool, &why);
        if (rc < 0)
                return reader_value_fail(r, node, in, k, rc, &why);
        return 0;
}

static const struct config_key *key_find(const struct reader *r, const struct config_section *in,
                                         const yaml_node_t *node, int *rc)
{
        struct dog_config_where where = reader_where(r, node);
        if (node->type != YAML_SCALAR_NODE) {
                *rc = dog_config_fail(&where, r->err, -EINVAL, "a key in %s must be a word, not %s", in->what,
                                      node_name(node));
                return NULL;
        }
        const char *name = (const char *)node->data.scalar.value;
        for (size_t i = 0; i < in->keys; i++)
                if (strcmp(name, in->key[i].name) == 0 && node->data.scalar.length == strlen(name))
                        return &in->key[i];
        char suggestion[256];
        char shown[40];
        size_t n = 0;
        for (; name[n] && n < sizeof(shown) - 1; n++)
                shown[n] = (unsigned char)name[n] < ' ' || name[n] == 127 ? '?' : name[n];
        shown[n] = 0;
        key_suggest(in, name, suggestion, sizeof(suggestion));
        *rc = dog_config_fail(&where, r->err, -EINVAL, "unknown key \"%s\" in %s%s", shown, in->what,
                              suggestion);
        return NULL;
}

/*
 * @param is_fresh  an entry of a list: what must be given has to be here; otherwise a file adds to
 *                  what the files before it have said
 */
static int section_read(struct reader *r, const struct config_section *in, void *base, yaml_node_t *node,
                        bool is_fresh)
{
        struct dog_config_where where = reader_where(r, node);
        if (node->type != YAML_MAPPING_NODE)
                return dog_config_fail(&where, r->err, -EINVAL,
                                       "%s must be a mapping (\"key: value\"), not %s", in->what,
                                       node_name(node));
        uint32_t seen = 0;
        for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
             pair++) {
                yaml_node_t *key_node = yaml_document_get_node(r->document, pair->key);
                yaml_node_t *value = yaml_document_get_node(r->document, pair->value);
                int rc = 0;
                const struct config_key *k = key_find(r, in, key_node, &rc);
                if (!k)
                        return rc;
                struct dog_config_where at = reader_where(r, key_node);
                uint32_t bit = UINT32_C(1) << (k - in->key);
                if (seen & bit)
                        return dog_config_fail(&at, r->err, -EINVAL, "\"%s\" is given twice in %s", k->name,
                                               in->what);
                seen |= bit;
                if (k->where_offset) {
                        at = reader_where(r, value);
                        memcpy(field(base, k->where_offset), &at, sizeof(at));
                }
                rc = key_read(r, in, k, base, value, is_fresh);
                if (rc < 0)
                        return rc;
        }
        for (size_t i = 0; i < in->keys; i++) {
                const struct config_key *k = &in->key[i];
                if (is_fresh && !k->preset && !(seen & UINT32_C(1) << i))
                        return dog_config_fail(&where, r->err, -EINVAL, "%s has no \"%s\": %s", in->what,
                                               k->name, k->help);
                /* A value that came from the table still has a place to point at. */
                if (is_fresh && k->where_offset && !(seen & UINT32_C(1) << i))
                        memcpy(field(base, k->where_offset), &where, sizeof(where));
        }
        return 0;
}

/* ---- files ---- */

static int yaml_fail(const struct reader *r, const yaml_parser_t *p)
{
        if (p->error == YAML_MEMORY_ERROR)
                return dog_err_set(r->err, -ENOMEM, "%s: out of memory", r->file);
        struct dog_config_where where = {.file = r->file,
                                         .line = (unsigned)p->problem_mark.line + 1,
                                         .column = (unsigned)p->problem_mark.column + 1};
        const char *problem = p->problem ? p->problem : "unknown reason";
        if (p->error == YAML_READER_ERROR)
                return dog_err_set(r->err, -EINVAL, "%s: not valid YAML: byte %zu: %s", r->file,
                                   p->problem_offset, problem);
        return dog_config_fail(&where, r->err, -EINVAL, "not valid YAML: %s", problem);
}

/* Only one document may be in a file: a second one would be silently ignored. */
static int reader_no_more(const struct reader *r, yaml_parser_t *parser)
{
        yaml_document_t second;
        if (!yaml_parser_load(parser, &second))
                return yaml_fail(r, parser);
        yaml_node_t *root = yaml_document_get_root_node(&second);
        int rc = 0;
        if (root) {
                struct dog_config_where where = reader_where(r, root);
                rc = dog_config_fail(&where, r->err, -EINVAL,
                                     "a second document begins here; a file has one (remove the \"---\")");
        }
        yaml_document_delete(&second);
        return rc;
}

/*
 * Refuse what nests too deeply before libyaml sees it: per open bracket its scanner looks at all the others,
 * and 200,000 of them keep it busy for a minute. Brackets inside quotes are counted too, which is harmless.
 */
static int reader_depth_check(const struct reader *r, const char *text, size_t size)
{
        struct dog_config_where where = {.file = r->file, .line = 1, .column = 0};
        unsigned depth = 0;
        for (size_t i = 0; i < size; i++) {
                where.column++;
                if (text[i] == '\n') {
                        where.line++;
                        where.column = 0;
                } else if ((text[i] == ']' || text[i] == '}') && depth > 0) {
                        depth--;
                } else if ((text[i] == '[' || text[i] == '{') && ++depth > CONFIG_OPEN_MAX) {
                        return dog_config_fail(&where, r->err, -EINVAL,
                                               "not valid YAML: more than %d brackets are open",
                                               CONFIG_OPEN_MAX);
                }
        }
        return 0;
}

static int reader_text_read(struct reader *r, const char *text, size_t size)
{
        yaml_parser_t parser;
        yaml_document_t document;
        if (size > CONFIG_FILE_MAX)
                return dog_err_set(r->err, -E2BIG, "%s: longer than %u bytes", r->file, CONFIG_FILE_MAX);
        int rc = reader_depth_check(r, text, size);
        if (rc < 0)
                return rc;
        if (!yaml_parser_initialize(&parser))
                return dog_err_set(r->err, -ENOMEM, "%s: out of memory", r->file);
        yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
        if (!yaml_parser_load(&parser, &document)) {
                rc = yaml_fail(r, &parser);
        } else {
                yaml_node_t *root = yaml_document_get_root_node(&document);
                r->document = &document;
                rc = root ? section_read(r, &dog_config_root, r->config, root, false) : 0;
                if (rc == 0 && root)
                        rc = reader_no_more(r, &parser);
                r->document = NULL;
                yaml_document_delete(&document);
        }
        yaml_parser_delete(&parser);
        return rc;
}

static struct dog_config *config_new(struct dog_err *e)
{
        struct dog_config *c = calloc(1, sizeof(*c));
        struct dog_config_pool *pool = calloc(1, sizeof(*pool));
        if (!c || !pool) {
                free(c);
                free(pool);
                dog_err_set(e, -ENOMEM, "configuration: out of memory");
                return NULL;
        }
        c->pool = pool;
        if (section_presets(c, &dog_config_root, c, e) < 0) {
                dog_config_free(c);
                return NULL;
        }
        return c;
}

static int config_text_add(struct dog_config *c, const char *text, size_t size, const char *name,
                           struct dog_err *e)
{
        char *file = dog_config_alloc(c->pool, strlen(name) + 1);
        if (!file)
                return dog_err_set(e, -ENOMEM, "%s: out of memory", name);
        memcpy(file, name, strlen(name));
        struct reader r = {.config = c, .file = file, .err = e};
        return reader_text_read(&r, text, size);
}

static int config_file_add(struct dog_config *c, const char *path, struct dog_err *e)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return dog_err_set(e, -errno, "cannot read %s: %s", path, strerror(errno));
        char *text = malloc(CONFIG_FILE_MAX + 1);
        size_t size = 0;
        ssize_t got = text ? 1 : 0;
        while (got > 0 && size <= CONFIG_FILE_MAX) {
                got = read(fd, text + size, CONFIG_FILE_MAX + 1 - size);
                if (got < 0 && errno == EINTR)
                        got = 1;
                else if (got > 0)
                        size += (size_t)got;
        }
        int error = got < 0 ? errno : 0;
        close(fd);
        int rc = !text   ? dog_err_set(e, -ENOMEM, "%s: out of memory", path)
                 : error ? dog_err_set(e, -error, "cannot read %s: %s", path, strerror(error))
                         : config_text_add(c, text, size, path, e);
        free(text);
        return rc;
}

static int drop_in_is(const struct dirent *d)
{
        size_t length = strlen(d->d_name);
        return d->d_name[0] != '.' && length > 5 && strcmp(d->d_name + length - 5, ".yaml") == 0;
}

/* By bytes: alphasort() would follow the locale. */
static int drop_in_compare(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int config_drop_ins_add(struct dog_config *c, const char *path, struct dog_err *e)
{
        const char *slash = strrchr(path, '/');
        size_t length = slash ? (size_t)(slash - path) + 1 : 0;
        char folder[4096];
        snprintf(folder, sizeof(folder), "%.*sconf.d", (int)length, path);
        struct dirent **list = NULL;
        int n = scandir(folder, &list, drop_in_is, drop_in_compare);
        if (n < 0)
                return errno == ENOENT
                               ? 0
                               : dog_err_set(e, -errno, "cannot read %s: %s", folder, strerror(errno));
        int rc = n > CONFIG_FILES_MAX
                         ? dog_err_set(e, -E2BIG, "%s: more than %d files", folder, CONFIG_FILES_MAX)
                         : 0;
        for (int i = 0; i < n; i++) {
                char file[4096 + 300];
                snprintf(file, sizeof(file), "%s/%s", folder, list[i]->d_name);
                if (rc == 0)
                        rc = config_file_add(c, file, e);
                free(list[i]);
        }
        free(list);
        return rc;
}

/* After all files: what must be there, and what must fit together. */
static int config_finish(struct dog_config *c, const char *name, struct dog_err *e)
{
        if (!c->site)
                return dog_err_set(e, -EINVAL, "%s: \"site\" is missing: give this gateway a name", name);
        return dog_config_check(c, e);
}

int dog_config_load(const char *path, struct dog_config **config, struct dog_err *e)
{
        *config = NULL;
        if (strlen(path) > 3500)
                return dog_err_set(e, -ENAMETOOLONG, "the name of the configuration file is too long");
        struct dog_config *c = config_new(e);
        if (!c)
                return -ENOMEM;
        int rc = config_file_add(c, path, e);
        if (rc == 0)
                rc = config_drop_ins_add(c, path, e);
        if (rc == 0)
                rc = config_finish(c, path, e);
        if (rc == 0)
                rc = dog_config_check_files(c, e);
        if (rc < 0) {
                dog_config_free(c);
                return rc;
        }
        *config = c;
        return 0;
}

int dog_config_parse(const char *text, size_t size, const char *name, struct dog_config **config,
                     struct dog_err *e)
{
        *config = NULL;
        struct dog_config *c = config_new(e);
        if (!c)
                return -ENOMEM;
        int rc = config_text_add(c, text, size, name, e);
        if (rc == 0)
                rc = config_finish(c, name, e);
        if (rc < 0) {
                dog_config_free(c);
                return rc;
        }
        *config = c;
        return 0;
}

/* ---- printing ---- */

static const void *field_in(const void *base, size_t offset)
{
        return (const char *)base + offset;
}

static void write_entries(const struct config_key *k, const void *base, FILE *to)
{
        const char *all = pointer_get(base, k->offset);
        size_t n = *(const size_t *)field_in(base, k->count_offset);
        putc('[', to);
        for (size_t i = 0; i < n; i++) {
                if (i)
                        fputs(", ", to);
                dog_config_value_write(k, all + i * dog_config_entry_size(k->type), to);
        }
        putc(']', to);
}

static bool key_is_empty(const struct config_key *k, const void *base)
{
        if (k->type == CONFIG_SECTION) {
                /* "map:" with nothing below it would read as no mapping. */
                for (size_t i = 0; i < k->section->keys; i++)
                        if (!key_is_empty(&k->section->key[i], field_in(base, k->offset)))
                                return false;
                return true;
        }
        if (k->count_offset)
                return *(const size_t *)field_in(base, k->count_offset) == 0;
        return (k->type <= CONFIG_FILE || k->type == CONFIG_URL) && pointer_get(base, k->offset) == NULL;
}

static void write_section(const struct config_section *in, const void *base, int indent, bool is_entry,
                          FILE *to)
{
        for (size_t i = 0; i < in->keys; i++) {
                const struct config_key *k = &in->key[i];
                if (key_is_empty(k, base))
                        continue;
                fprintf(to, "%*s%s%s:", is_entry ? indent - 2 : indent, "", is_entry ? "- " : "", k->name);
                is_entry = false;
                if (k->type == CONFIG_SECTION) {
                        putc('\n', to);
                        write_section(k->section, field_in(base, k->offset), indent + 2, false, to);
                        continue;
                }
                if (k->type == CONFIG_LIST) {
                        putc('\n', to);
                        const char *all = pointer_get(base, k->offset);
                        size_t n = *(const size_t *)field_in(base, k->count_offset);
                        for (size_t j = 0; j < n; j++)
                                write_section(k->section, all + j * k->section->size, indent + 4, true, to);
                        continue;
                }
                putc(' ', to);
                if (dog_config_entry_size(k->type))
                        write_entries(k, base, to);
                else
                        dog_config_value_write(k, field_in(base, k->offset), to);
                putc('\n', to);
        }
}

int dog_config_write_effective(const struct dog_config *config, FILE *to)
{
        write_section(&dog_config_root, config, 0, false, to);
        return fflush(to) == 0 && !ferror(to) ? 0 : -EIO;
}

/* scdoc takes '*' and '_' for markup. */
static void manual_text(const char *text, FILE *to)
{
        for (; *text; text++) {
                if (strchr("*_\\", *text))
                        putc('\\', to);
                putc(*text, to);
        }
}

static void manual_key(const struct config_key *k, FILE *to)
{
        fputc('*', to);
        manual_text(k->name, to);
        fputs("*: ", to);
        manual_text(dog_config_type_name(k->type), to);
        for (size_t i = 0; k->choice && k->choice[i]; i++)
                fprintf(to, "%s %s", i ? "," : "", k->choice[i]);
        if (k->word) {
                fputs(", or *", to);
                manual_text(k->word, to);
                putc('*', to);
        }
        if (k->type == CONFIG_LIST || dog_config_entry_size(k->type))
                fprintf(to, ", at most %s", k->max);
        else if (k->min && k->max)
                fprintf(to, ", %s to %s", k->min, k->max);
        if (!k->preset)
                fputs("; must be given", to);
        else if (*k->preset) {
                fputs("; default *", to);
                manual_text(k->preset, to);
                putc('*', to);
        }
        fputs("\n\t", to);
        manual_text(k->help, to);
        fputs("\n\n", to);
}

static void manual_section(const struct config_section *in, FILE *to)
{
        fprintf(to, "## %s\n\n%s\n\n", *in->place ? in->place : "top level", in->help);
        for (size_t i = 0; i < in->keys; i++)
                manual_key(&in->key[i], to);
        for (size_t i = 0; i < in->keys; i++)
                if (in->key[i].section)
                        manual_section(in->key[i].section, to);
}

int dog_config_write_manual(FILE *to)
{
        manual_section(&dog_config_root, to);
        return fflush(to) == 0 && !ferror(to) ? 0 : -EIO;
}
