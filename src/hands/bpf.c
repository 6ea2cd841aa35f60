#include "hands/bpf.h"

#include "base/log.h"
#include "hands/bpf_inside.h"
#include "hands/btf.h"
#include "hands/netlink.h"
#include "hands/pin.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BPF_INSTANCES 512
#define BPF_MAPS      32 /* of one instance */
#define BPF_HANDLES   4096

struct bpf_shape {
        uint32_t type, key_size, value_size, entries, flags;
        uint64_t layout; /* of key and value; 0: the kernel keeps no BTF for such a map */
};

struct bpf_map_row {
        char name[DOG_HANDS_NAME];
        int fd;
        struct bpf_shape shape;
        struct bpf_shape inner; /* what goes into an array of maps; type 0 otherwise */
};

struct bpf_instance {
        char name[DOG_HANDS_NAME];
        unsigned n_maps;
        struct bpf_map_row map[BPF_MAPS];
};

struct dog_bpf {
        const struct dog_hands_policy *policy;
        const struct dog_hands_object *objects;
        size_t n_objects;
        unsigned n_instances;
        struct bpf_instance *instance[BPF_INSTANCES];
        int program[BPF_HANDLES]; /* descriptor + 1; 0: free */
};

/* The last thing that libbpf or the verifier said: it belongs into the sentence. */
static char bpf_said[160];

static int bpf_listen(enum libbpf_print_level level, const char *format, va_list args)
{
        if (level != LIBBPF_WARN)
                return 0;
        int n = vsnprintf(bpf_said, sizeof(bpf_said), format, args);
        bpf_said[strcspn(bpf_said, "\n")] = 0;
        return n;
}

int dog_bpf_open(struct dog_bpf **out, const struct dog_hands_policy *policy,
                 const struct dog_hands_object *objects, size_t n_objects, struct dog_err *e)
{
        int rc = dog_pin_folder_make(policy->pin_folder, e);
        if (rc < 0)
                return rc;
        struct dog_bpf *b = calloc(1, sizeof(*b));
        if (!b)
                return dog_err_set(e, -ENOMEM, "BPF objects: out of memory");
        libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
        libbpf_set_print(bpf_listen);
        b->policy = policy;
        b->objects = objects;
        b->n_objects = n_objects;
        *out = b;
        return 0;
}

static void bpf_instance_free(struct bpf_instance *i)
{
        if (!i)
                return;
        for (unsigned m = 0; m < i->n_maps; m++)
                close(i->map[m].fd);
        free(i);
}

void dog_bpf_close(struct dog_bpf *b)
{
        if (!b)
                return;
        for (unsigned i = 0; i < b->n_instances; i++)
                bpf_instance_free(b->instance[i]);
        for (unsigned h = 0; h < BPF_HANDLES; h++)
                if (b->program[h] > 0)
                        close(b->program[h] - 1);
        free(b);
}

/* --------------------------------------------------------------------------------- finding */

static struct bpf_instance *bpf_instance_find(struct dog_bpf *b, const char *name)
{
        for (unsigned i = 0; i < b->n_instances; i++)
                if (strcmp(b->instance[i]->name, name) == 0)
                        return b->instance[i];
        return NULL;
}

static struct bpf_map_row *bpf_map_find(struct bpf_instance *i, const char *name)
{
        for (unsigned m = 0; i && m < i->n_maps; m++)
                if (strcmp(i->map[m].name, name) == 0)
                        return &i->map[m];
        return NULL;
}

static struct bpf_map_row *bpf_map_need(struct dog_bpf *b, const char *instance, const char *map,
                                        struct dog_err *e)
{
        struct bpf_map_row *row = bpf_map_find(bpf_instance_find(b, instance), map);
        if (!row)
                dog_err_set(e, -ENOENT, "map %s of instance %s is not open", map, instance);
        return row;
}

int dog_bpf_program_fd(const struct dog_bpf *b, uint32_t handle, struct dog_err *e)
{
        if (handle == 0 || handle > BPF_HANDLES || b->program[handle - 1] == 0)
                return dog_err_set(e, -ENOENT, "no program has handle %u", handle);
        return b->program[handle - 1] - 1;
}

static struct bpf_object *bpf_object_find_open(struct dog_bpf *b, const char *name, struct dog_err *e)
{
        for (size_t i = 0; i < b->n_objects; i++) {
                const struct dog_hands_object *o = &b->objects[i];
                if (strcmp(o->name, name) != 0)
                        continue;
                LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name);
                bpf_said[0] = 0;
                struct bpf_object *object = bpf_object__open_mem(o->bytes, o->length, &options);
                if (!object)
                        dog_err_set(e, -errno, "BPF object %s: cannot be read: %s (%s)", name,
                                    strerror(errno), bpf_said);
                return object;
        }
        dog_err_set(e, -ENOENT, "there is no BPF object named %s in this program", name);
        return NULL;
}

/* ----------------------------------------------------------------------------------- shape */

static struct bpf_shape bpf_shape_of_map(const struct bpf_map *map, const struct btf *btf)
{
        struct bpf_shape s = {
                .type = bpf_map__type(map),
                .key_size = bpf_map__key_size(map),
                .value_size = bpf_map__value_size(map),
                .entries = bpf_map__max_entries(map),
                .flags = bpf_map__map_flags(map),
        };
        s.layout = dog_btf_layout(btf, bpf_map__btf_key_type_id(map), bpf_map__btf_value_type_id(map));
        return s;
}

static int bpf_shape_of_fd(struct bpf_shape *s, int fd)
{
        struct bpf_map_info info = {0};
        uint32_t size = sizeof(info);
        memset(s, 0, sizeof(*s));
        if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
                return -errno;
        *s = (struct bpf_shape){.type = info.type,
                                .key_size = info.key_size,
                                .value_size = info.value_size,
                                .entries = info.max_entries,
                                .flags = info.map_flags};
        struct btf *btf = info.btf_id ? btf__load_from_kernel_by_id(info.btf_id) : NULL;
        if (btf)
                s->layout = dog_btf_layout(btf, info.btf_key_type_id, info.btf_value_type_id);
        btf__free(btf);
        return 0;
}

/* The kernel adds flags of its own, so only these are compared. */
#define BPF_SHAPE_FLAGS (BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_MMAPABLE | BPF_F_INNER_MAP)

static bool bpf_shape_entry_same(const struct bpf_shape *a, const struct bpf_shape *b)
{
        bool layout_same = a->layout == 0 || b->layout == 0 || a->layout == b->layout;
        return a->type == b->type && a->key_size == b->key_size && a->value_size == b->value_size &&
               layout_same;
}

static bool bpf_shape_same(const struct bpf_shape *have, const struct bpf_shape *want)
{
        return bpf_shape_entry_same(have, want) && have->entries == want->entries &&
               (have->flags & BPF_SHAPE_FLAGS) == (want->flags & BPF_SHAPE_FLAGS);
}

static bool bpf_shape_is_per_cpu(const struct bpf_shape *s)
{
        return s->type == BPF_MAP_TYPE_PERCPU_ARRAY || s->type == BPF_MAP_TYPE_PERCPU_HASH ||
               s->type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool bpf_shape_names_devices(const struct bpf_shape *s)
{
        return s->type == BPF_MAP_TYPE_DEVMAP || s->type == BPF_MAP_TYPE_DEVMAP_HASH;
}

static bool bpf_shape_holds_maps(const struct bpf_shape *s)
{
        return s->type == BPF_MAP_TYPE_ARRAY_OF_MAPS || s->type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

/* -------------------------------------------------------------------------------- instance */

/* What one OBJECT_OPEN does with one map. */
struct bpf_open_step {
        struct bpf_map *map;
        struct bpf_shape want;
        struct bpf_shape inner;
        bool is_foreign; /* taken from another instance */
        int fd;          /* adopted, ours to close; -1: to be made */
        int old_fd;      /* of another shape, to be replaced; -1: none */
        bool is_known;   /* in this instance already */
        uint32_t keep;   /* what becomes of the entries of the old one */
};

struct bpf_opening {
        struct dog_bpf *b;
        const struct dog_hands_open *want;
        struct bpf_instance *instance;
        struct bpf_object *object;
        unsigned n_steps;
        struct bpf_open_step step[BPF_MAPS];
};

static const struct dog_hands_map_size *bpf_open_size(const struct dog_hands_open *want, const char *map)
{
        for (uint32_t i = 0; i < want->n_sizes; i++)
                if (strcmp(want->size[i].map, map) == 0)
                        return &want->size[i];
        return NULL;
}

/* 1. From where? Another instance, this instance, a pin, or nowhere yet. */
static int bpf_open_step_plan(struct bpf_opening *o, struct bpf_open_step *s, struct dog_err *e)
{
        const char *name = bpf_map__name(s->map);
        const struct dog_hands_map_size *size = bpf_open_size(o->want, name);
        struct bpf_map_row *row = bpf_map_find(o->instance, name);
        s->fd = s->old_fd = -1;
        if (size && size->entries && bpf_map__set_max_entries(s->map, size->entries) < 0)
                return dog_err_set(e, -EINVAL, "map %s cannot have %u entries", name, size->entries);
        bool is_from = size && size->from[0];
        s->keep = size ? size->keep : DOG_HANDS_KEEP_NOTHING;
        if (is_from && !row)
                row = bpf_map_need(o->b, size->from, name, e);
        if (is_from && !row)
                return -ENOENT;
        s->want = bpf_shape_of_map(s->map, bpf_object__btf(o->object));
        struct bpf_map *inner = bpf_map__inner_map(s->map);
        if (inner)
                s->inner = bpf_shape_of_map(inner, NULL);
        if (row) {
                if (is_from || !size || size->entries == 0)
                        s->want.entries = row->shape.entries;
                if (!bpf_shape_same(&row->shape, &s->want))
                        return dog_err_set(e, -ENOTUNIQ,
                                           "map %s is open with another shape than object %s wants", name,
                                           o->want->object);
                s->is_known = bpf_map_find(o->instance, name) != NULL;
                s->is_foreign = !s->is_known;
                s->fd = fcntl(row->fd, F_DUPFD_CLOEXEC, 3);
                return s->fd < 0 ? dog_err_set(e, -errno, "map %s: %s", name, strerror(errno)) : 0;
        }
        int fd = dog_pin_get(o->b->policy->pin_folder, o->want->instance, name);
        if (fd < 0)
                return 0;
        struct bpf_shape have;
        if (bpf_shape_of_fd(&have, fd) == 0 && bpf_shape_same(&have, &s->want))
                s->fd = fd;
        else
                s->old_fd = fd;
        return 0;
}

/* Pins are maps, but for those that hold a program on a device: no name of a map has a "-". */
#define BPF_LINK_PIN "xdp-"

static bool bpf_is_link_pin(const char *name)
{
        return strchr(name, '-') != NULL;
}

static uint64_t bpf_shape_bytes(const struct bpf_shape *s)
{
        uint64_t cpus = bpf_shape_is_per_cpu(s) ? (uint64_t)libbpf_num_possible_cpus() : 1;
        uint64_t each = s->key_size + ((uint64_t)s->value_size + 7) / 8 * 8 * cpus;
        /* Beyond this no policy lets it pass, and sums of such numbers do not overflow. */
        const uint64_t most = UINT64_C(1) << 48;
        return s->entries && each > most / s->entries ? most : each * s->entries;
}

static void bpf_memory_visit(const char *name, int fd, void *data)
{
        uint64_t *bytes = data;
        struct bpf_shape s;
        if (!bpf_is_link_pin(name) && bpf_shape_of_fd(&s, fd) == 0)
                *bytes += bpf_shape_bytes(&s);
}

/*
 * 2. Will it fit the policy's memory? All pins count, also those of instances that nobody has
 * opened: a decider that was taken over could else be restarted into ever new names.
 */
static int bpf_open_memory(const struct bpf_opening *o, struct dog_err *e)
{
        uint64_t bytes = 0, most = o->b->policy->map_bytes_most;
        (void)dog_pin_each(o->b->policy->pin_folder, bpf_memory_visit, &bytes);
        for (unsigned i = 0; i < o->n_steps; i++) {
                if (o->step[i].fd >= 0)
                        continue;
                bytes += bpf_shape_bytes(&o->step[i].want);
                if (bytes > most)
                        return dog_err_set(
                                e, -ENOSPC,
                                "object %s: with map %s all maps would need %llu MiB, where %llu are allowed",
                                o->want->object, bpf_map__name(o->step[i].map),
                                (unsigned long long)(bytes >> 20), (unsigned long long)(most >> 20));
        }
        return 0;
}

/* Only where an entry means the same in a map of another size, which the asker knows. */
static void bpf_map_copy(const struct bpf_open_step *s, int to_fd)
{
        struct bpf_shape have;
        if (bpf_shape_of_fd(&have, s->old_fd) < 0 || !bpf_shape_entry_same(&have, &s->want) ||
            bpf_shape_names_devices(&have) || bpf_shape_holds_maps(&have))
                return;
        size_t cpus = bpf_shape_is_per_cpu(&have) ? (size_t)libbpf_num_possible_cpus() : 1;
        char *key = calloc(2, have.key_size + 8u);
        char *value = calloc(cpus, (have.value_size + 7u) / 8 * 8);
        char *next = key ? key + have.key_size + 8u : NULL;
        for (bool first = true; key && value; first = false) {
                if (bpf_map_get_next_key(s->old_fd, first ? NULL : key, next) < 0)
                        break;
                memcpy(key, next, have.key_size);
                if (bpf_map_lookup_elem(s->old_fd, key, value) == 0)
                        (void)bpf_map_update_elem(to_fd, key, value, BPF_ANY); /* E2BIG: it has shrunk */
        }
        free(key);
        free(value);
}

/* 4. Keep a descriptor, copy, pin: only now does the new map take the old one's place. */
static int bpf_open_step_finish(struct bpf_opening *o, struct bpf_open_step *s, struct dog_hands_reply *r,
                                struct dog_err *e)
{
        const char *name = bpf_map__name(s->map);
        if (s->is_known)
                return 0;
        if (o->instance->n_maps == BPF_MAPS)
                return dog_err_set(e, -ENOSPC, "instance %s: more than %d maps", o->want->instance, BPF_MAPS);
        bool is_new = s->fd < 0;
        int fd = fcntl(is_new ? bpf_map__fd(s->map) : s->fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return dog_err_set(e, -errno, "map %s: %s", name, strerror(errno));
        if (is_new && s->old_fd >= 0 && s->keep)
                bpf_map_copy(s, fd);
        int rc = is_new ? dog_pin_put(o->b->policy->pin_folder, o->want->instance, name, fd, e) : 0;
        if (rc < 0) {
                close(fd);
                return rc;
        }
        struct bpf_map_row *row = &o->instance->map[o->instance->n_maps++];
        *row = (struct bpf_map_row){.fd = fd, .shape = s->want, .inner = s->inner};
        snprintf(row->name, sizeof(row->name), "%s", name);
        r->as.object.adopted += !is_new && !s->is_foreign;
        r->as.object.made += is_new && s->old_fd < 0;
        r->as.object.replaced += is_new && s->old_fd >= 0;
        return 0;
}

/* Where one map gives way, those whose words are about it go along. */
static void bpf_open_along(struct bpf_opening *o)
{
        bool any = false;
        for (unsigned i = 0; i < o->n_steps; i++)
                any |= o->step[i].old_fd >= 0;
        for (unsigned i = 0; i < o->n_steps && any; i++) {
                struct bpf_open_step *s = &o->step[i];
                if (s->keep != DOG_HANDS_KEEP_ALONG || s->fd < 0 || s->is_known || s->is_foreign)
                        continue;
                s->old_fd = s->fd;
                s->fd = -1;
        }
}

static int bpf_open_plan(struct bpf_opening *o, struct dog_err *e)
{
        struct bpf_map *map;
        struct bpf_program *program;
        bpf_object__for_each_program (program, o->object) {
                bpf_program__set_autoload(program, false);
        }
        bpf_object__for_each_map (map, o->object) {
                if (bpf_map__is_internal(map))
                        continue;
                if (o->n_steps == BPF_MAPS)
                        return dog_err_set(e, -ENOSPC, "object %s: more than %d maps", o->want->object,
                                           BPF_MAPS);
                struct bpf_open_step *s = &o->step[o->n_steps++];
                s->map = map;
                (void)bpf_map__set_pin_path(map, NULL);
                int rc = bpf_open_step_plan(o, s, e);
                if (rc < 0)
                        return rc;
        }
        for (uint32_t i = 0; i < o->want->n_sizes; i++)
                if (!bpf_object__find_map_by_name(o->object, o->want->size[i].map))
                        return dog_err_set(e, -ENOENT, "object %s has no map %s", o->want->object,
                                           o->want->size[i].map);
        bpf_open_along(o);
        return bpf_open_memory(o, e);
}

static int bpf_open_run(struct bpf_opening *o, struct dog_hands_reply *r, struct dog_err *e)
{
        int rc = bpf_open_plan(o, e);
        if (rc < 0)
                return rc;
        /* 3. libbpf makes what is missing, with its BTF; programs are not loaded here. */
        for (unsigned i = 0; i < o->n_steps; i++)
                if (o->step[i].fd >= 0 && bpf_map__reuse_fd(o->step[i].map, o->step[i].fd) < 0)
                        return dog_err_set(e, -errno, "map %s cannot be adopted: %s",
                                           bpf_map__name(o->step[i].map), strerror(errno));
        bpf_said[0] = 0;
        if (bpf_object__load(o->object) < 0)
                return dog_err_set(e, -errno, "object %s: its maps cannot be made: %s (%s)", o->want->object,
                                   strerror(errno), bpf_said);
        for (unsigned i = 0; i < o->n_steps && rc == 0; i++)
                rc = bpf_open_step_finish(o, &o->step[i], r, e);
        return rc;
}

static int bpf_instance_need(struct dog_bpf *b, const char *name, struct bpf_instance **out,
                             struct dog_err *e)
{
        *out = bpf_instance_find(b, name);
        if (*out)
                return 0;
        if (b->n_instances == BPF_INSTANCES)
                return dog_err_set(e, -ENOSPC, "instance %s: more than %d instances", name, BPF_INSTANCES);
        *out = calloc(1, sizeof(**out));
        if (!*out)
                return dog_err_set(e, -ENOMEM, "instance %s: out of memory", name);
        memcpy((*out)->name, name, DOG_HANDS_NAME);
        b->instance[b->n_instances++] = *out;
        return 0;
}

int dog_bpf_instance_open(struct dog_bpf *b, const struct dog_hands_open *want, struct dog_hands_reply *r,
                          struct dog_err *e)
{
        struct bpf_opening o = {.b = b, .want = want};
        o.object = bpf_object_find_open(b, want->object, e);
        if (!o.object)
                return -ENOENT;
        int rc = bpf_instance_need(b, want->instance, &o.instance, e);
        if (rc == 0)
                rc = bpf_open_run(&o, r, e);
        for (unsigned i = 0; i < o.n_steps; i++) {
                if (o.step[i].fd >= 0)
                        close(o.step[i].fd);
                if (o.step[i].old_fd >= 0)
                        close(o.step[i].old_fd);
        }
        bpf_object__close(o.object);
        return rc;
}

int dog_bpf_instance_forget(struct dog_bpf *b, const char *instance, struct dog_err *e)
{
        for (unsigned i = 0; i < b->n_instances; i++) {
                if (strcmp(b->instance[i]->name, instance) != 0)
                        continue;
                bpf_instance_free(b->instance[i]);
                b->instance[i] = b->instance[--b->n_instances];
        }
        /* A filter does not go with its pin, as a link does. */
        dog_bpf_tc_forget(b->policy, instance);
        return dog_pin_forget(b->policy->pin_folder, instance, e);
}

int dog_bpf_map_fd(struct dog_bpf *b, const struct dog_hands_map *want, struct dog_hands_reply *r,
                   struct dog_err *e)
{
        const struct bpf_map_row *row = bpf_map_need(b, want->instance, want->map, e);
        if (!row)
                return -ENOENT;
        if (bpf_shape_names_devices(&row->shape) || bpf_shape_holds_maps(&row->shape))
                return dog_err_set(e, -EACCES, "map %s names devices: it is changed by request only",
                                   want->map);
        r->as.map.type = row->shape.type;
        r->as.map.key_size = row->shape.key_size;
        r->as.map.value_size = row->shape.value_size;
        r->as.map.entries = row->shape.entries;
        r->as.map.flags = row->shape.flags;
        return row->fd;
}

/* -------------------------------------------------------------------------------- programs */

static int bpf_program_settings(struct bpf_object *object, const struct dog_hands_program *want,
                                struct dog_err *e)
{
        struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
        size_t size = 0;
        const void *preset = map ? bpf_map__initial_value(map, &size) : NULL;
        if (want->n_settings == 0)
                return 0;
        if (!preset)
                return dog_err_set(e, -ENOENT, "object %s has no constants", want->object);
        uint8_t *bytes = malloc(size);
        if (!bytes)
                return dog_err_set(e, -ENOMEM, "object %s: out of memory", want->object);
        memcpy(bytes, preset, size);
        int rc = 0;
        for (uint32_t i = 0; i < want->n_settings && rc == 0; i++) {
                const struct dog_hands_setting *s = &want->setting[i];
                uint32_t at, length;
                if (!dog_btf_variable(bpf_object__btf(object), ".rodata", s->name, &at, &length) ||
                    (size_t)at + length > size)
                        rc = dog_err_set(e, -ENOENT, "object %s has no constant %s", want->object, s->name);
                else if (length != s->n_bytes)
                        rc = dog_err_set(e, -EINVAL, "object %s: constant %s has %u bytes, not %u",
                                         want->object, s->name, length, s->n_bytes);
                else
                        memcpy(bytes + at, s->bytes, length);
        }
        if (rc == 0 && bpf_map__set_initial_value(map, bytes, size) < 0)
                rc = dog_err_set(e, -errno, "object %s: constants cannot be set: %s", want->object,
                                 strerror(errno));
        free(bytes);
        return rc;
}

/* Every map must be open in the instance: a map made here would belong to nobody. */
static int bpf_program_maps(struct dog_bpf *b, struct bpf_object *object,
                            const struct dog_hands_program *want, struct dog_err *e)
{
        struct bpf_map *map;
        bpf_object__for_each_map (map, object) {
                if (bpf_map__is_internal(map))
                        continue;
                const struct bpf_map_row *row = bpf_map_need(b, want->instance, bpf_map__name(map), e);
                if (!row)
                        return -ENOENT;
                (void)bpf_map__set_pin_path(map, NULL);
                if (bpf_map__reuse_fd(map, row->fd) < 0)
                        return dog_err_set(e, -errno, "map %s cannot be used: %s", bpf_map__name(map),
                                           strerror(errno));
        }
        return 0;
}

static int bpf_program_load(struct dog_bpf *b, struct bpf_object *object,
                            const struct dog_hands_program *want, struct dog_err *e)
{
        struct bpf_program *program, *wanted = bpf_object__find_program_by_name(object, want->program);
        if (!wanted)
                return dog_err_set(e, -ENOENT, "object %s has no program %s", want->object, want->program);
        bpf_object__for_each_program (program, object) {
                bpf_program__set_autoload(program, program == wanted);
        }
        int rc = bpf_program_maps(b, object, want, e);
        if (rc == 0)
                rc = bpf_program_settings(object, want, e);
        if (rc < 0)
                return rc;
        bpf_said[0] = 0;
        if (bpf_object__load(object) < 0)
                return dog_err_set(e, -errno, "program %s: the kernel refuses it: %s (%s)", want->program,
                                   strerror(errno), bpf_said);
        int fd = fcntl(bpf_program__fd(wanted), F_DUPFD_CLOEXEC, 3);
        return fd < 0 ? dog_err_set(e, -errno, "program %s: %s", want->program, strerror(errno)) : fd;
}

uint32_t dog_bpf_program_id(int fd, char *name)
{
        struct bpf_prog_info info = {0};
        uint32_t size = sizeof(info);
        if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
                return 0;
        if (name)
                memcpy(name, info.name, BPF_OBJ_NAME_LEN);
        return info.id;
}

int dog_bpf_program_load(struct dog_bpf *b, const struct dog_hands_program *want, struct dog_hands_reply *r,
                         struct dog_err *e)
{
        unsigned slot = 0;
        while (slot < BPF_HANDLES && b->program[slot] != 0)
                slot++;
        if (slot == BPF_HANDLES)
                return dog_err_set(e, -ENOSPC, "more than %d programs are held: drop some", BPF_HANDLES);
        struct bpf_object *object = bpf_object_find_open(b, want->object, e);
        if (!object)
                return -ENOENT;
        int fd = bpf_program_load(b, object, want, e);
        bpf_object__close(object);
        if (fd < 0)
                return fd;
        b->program[slot] = fd + 1;
        r->as.program.handle = slot + 1;
        r->as.program.program_id = dog_bpf_program_id(fd, NULL);
        return 0;
}

int dog_bpf_program_drop(struct dog_bpf *b, uint32_t handle, struct dog_err *e)
{
        int fd = dog_bpf_program_fd(b, handle, e);
        if (fd < 0)
                return fd;
        close(fd);
        b->program[handle - 1] = 0;
        return 0;
}

/* ----------------------------------------------------------------------------- device maps */

/* The device map at `index` of an array of maps, made when it is not there. Caller closes it. */
static int bpf_devmap_inner(const struct bpf_map_row *row, uint32_t index, struct dog_err *e)
{
        uint32_t id;
        if (bpf_map_lookup_elem(row->fd, &index, &id) == 0) {
                int fd = bpf_map_get_fd_by_id(id);
                return fd < 0 ? dog_err_set(e, -errno, "map %s[%u]: %s", row->name, index, strerror(errno))
                              : fd;
        }
        LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = row->inner.flags);
        int fd = bpf_map_create((enum bpf_map_type)row->inner.type, "dog_inner", row->inner.key_size,
                                row->inner.value_size, row->inner.entries, &options);
        if (fd < 0)
                return dog_err_set(e, -errno, "map %s[%u] cannot be made: %s", row->name, index,
                                   strerror(errno));
        if (bpf_map_update_elem(row->fd, &index, &fd, BPF_ANY) < 0) {
                int rc = dog_err_set(e, -errno, "map %s[%u] cannot be set: %s", row->name, index,
                                     strerror(errno));
                close(fd);
                return rc;
        }
        return fd;
}

static int bpf_devmap_write(struct dog_bpf *b, const struct dog_hands_devmap *want, int fd,
                            const struct bpf_shape *shape, struct dog_err *e)
{
        struct bpf_devmap_val value = {.bpf_prog.fd = -1};
        if (!want->device[0]) {
                if (bpf_map_delete_elem(fd, &want->key) < 0 && errno != ENOENT)
                        return dog_err_set(e, -errno, "map %s: entry %u cannot be removed: %s", want->map,
                                           want->key, strerror(errno));
                return 0;
        }
        struct dog_link link;
        int rc = dog_hands_policy_may_attach(b->policy, want->device, e);
        if (rc == 0)
                rc = dog_link_get(&link, want->device, e);
        if (rc < 0)
                return rc;
        value.ifindex = link.index;
        if (want->handle != DOG_HANDS_NO_HANDLE) {
                value.bpf_prog.fd = dog_bpf_program_fd(b, want->handle, e);
                if (value.bpf_prog.fd < 0)
                        return value.bpf_prog.fd;
                if (shape->value_size < sizeof(value))
                        return dog_err_set(e, -EINVAL, "map %s holds no programs", want->map);
        }
        if (bpf_map_update_elem(fd, &want->key, &value, BPF_ANY) < 0)
                return dog_err_set(e, -errno, "map %s: entry %u for device %s: %s", want->map, want->key,
                                   want->device, strerror(errno));
        return 0;
}

int dog_bpf_devmap_set(struct dog_bpf *b, const struct dog_hands_devmap *want, struct dog_err *e)
{
        const struct bpf_map_row *row = bpf_map_need(b, want->instance, want->map, e);
        if (!row)
                return -ENOENT;
        bool is_inner = want->inner != DOG_HANDS_NO_INNER;
        const struct bpf_shape *shape = is_inner ? &row->inner : &row->shape;
        if (!bpf_shape_names_devices(shape) || is_inner != bpf_shape_holds_maps(&row->shape))
                return dog_err_set(e, -EINVAL, "map %s is no %s", want->map,
                                   is_inner ? "array of device maps" : "device map");
        if (is_inner && want->inner >= row->shape.entries)
                return dog_err_set(e, -EINVAL, "map %s has %u entries, not %u", want->map, row->shape.entries,
                                   want->inner);
        if (!is_inner)
                return bpf_devmap_write(b, want, row->fd, shape, e);
        int fd = bpf_devmap_inner(row, want->inner, e);
        if (fd < 0)
                return fd;
        int rc = bpf_devmap_write(b, want, fd, shape, e);
        close(fd);
        return rc;
}

/* --------------------------------------------------------------------------------- attach */

static void bpf_link_pin_name(char *to, const char *device)
{
        snprintf(to, DOG_HANDS_NAME, BPF_LINK_PIN "%.15s", device);
}

static uint32_t bpf_attached_mode(uint32_t index)
{
        LIBBPF_OPTS(bpf_xdp_query_opts, query);
        if (bpf_xdp_query((int)index, 0, &query) < 0)
                return DOG_HANDS_MODE_AUTO;
        return query.attach_mode == XDP_ATTACHED_SKB ? DOG_HANDS_MODE_GENERIC : DOG_HANDS_MODE_NATIVE;
}

/* Swap the program of our pinned link. -ENOENT: there is no link of ours on this very device. */
static int bpf_attach_swap(struct dog_bpf *b, const struct dog_hands_attach *want,
                           const struct dog_link *link, int program_fd, struct dog_err *e)
{
        char pin[DOG_HANDS_NAME];
        struct bpf_link_info info = {0};
        uint32_t size = sizeof(info);
        bpf_link_pin_name(pin, want->device);
        int fd = dog_pin_get(b->policy->pin_folder, want->instance, pin);
        if (fd < 0)
                return -ENOENT;
        int rc = -ENOENT;
        bool is_here = bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == BPF_LINK_TYPE_XDP &&
                       info.xdp.ifindex == link->index;
        bool mode_fits = want->mode == DOG_HANDS_MODE_AUTO || want->mode == bpf_attached_mode(link->index);
        if (is_here && mode_fits && want->is_kept) {
                rc = 0;
        } else if (is_here && mode_fits) {
                rc = bpf_link_update(fd, program_fd, NULL) < 0 ? -errno : 0;
                if (rc < 0)
                        dog_err_set(e, rc, "device %s: the program cannot be swapped: %s", want->device,
                                    strerror(-rc));
        } else {
                /* A device of that name was made anew, or the mode was changed: start over. */
                (void)dog_pin_remove(b->policy->pin_folder, want->instance, pin, NULL);
                if (is_here)
                        (void)bpf_link_detach(fd);
        }
        close(fd);
        return rc;
}

static int bpf_attach_foreign(const struct dog_link *link, struct dog_err *e)
{
        char name[BPF_OBJ_NAME_LEN + 1] = "";
        int fd = bpf_prog_get_fd_by_id(link->xdp_id);
        if (fd >= 0) {
                dog_bpf_program_id(fd, name);
                close(fd);
        }
        return dog_err_set(
                e, -EBUSY,
                "device %s: XDP program %u%s%s%s is there and is not ours; stop what attached it (\"bpftool "
                "net\" and \"bpftool link\" show it), or remove it with \"ip link set dev %s xdp off\"",
                link->name, link->xdp_id, name[0] ? " (" : "", name, name[0] ? ")" : "", link->name);
}

static int bpf_attach_link(int program_fd, const struct dog_link *link, uint32_t flags)
{
        LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
        int fd = bpf_link_create(program_fd, (int)link->index, BPF_XDP, &options);
        return fd < 0 ? -errno : fd;
}

/* Native, or generic when that is refused; the sentence tells which and why. */
static int bpf_attach_new(const struct dog_hands_attach *want, const struct dog_link *link, int program_fd,
                          uint32_t *mode, struct dog_err *e)
{
        int rc = -EOPNOTSUPP;
        if (want->mode != DOG_HANDS_MODE_GENERIC) {
                rc = bpf_attach_link(program_fd, link, XDP_FLAGS_DRV_MODE);
                *mode = DOG_HANDS_MODE_NATIVE;
                if (rc >= 0)
                        return rc;
                if (rc == -EBUSY || rc == -EEXIST)
                        return bpf_attach_foreign(link, e);
        }
        char why[96];
        if (rc == -ERANGE)
                snprintf(why, sizeof(why), "its MTU of %u bytes is too large for it", link->mtu);
        else
                snprintf(why, sizeof(why), "%s", rc == -EOPNOTSUPP ? "the driver has none" : strerror(-rc));
        if (want->mode == DOG_HANDS_MODE_NATIVE)
                return dog_err_set(e, rc, "device %s: native XDP is refused: %s; allow generic XDP for it",
                                   want->device, why);
        int native_rc = rc;
        rc = bpf_attach_link(program_fd, link, XDP_FLAGS_SKB_MODE);
        *mode = DOG_HANDS_MODE_GENERIC;
        if (rc == -EBUSY || rc == -EEXIST)
                return bpf_attach_foreign(link, e);
        if (rc < 0)
                return dog_err_set(e, rc, "device %s: native XDP is refused (%s), and generic XDP too: %s",
                                   want->device, why, strerror(-rc));
        if (want->mode == DOG_HANDS_MODE_AUTO)
                dog_err_set(e, native_rc,
                            "device %s: native XDP is refused: %s; generic XDP is used, which works and "
                            "costs more CPU",
                            want->device, why);
        return rc;
}

int dog_bpf_attach(struct dog_bpf *b, const struct dog_hands_attach *want, struct dog_hands_reply *r,
                   struct dog_err *e)
{
        struct dog_link link;
        char pin[DOG_HANDS_NAME];
        int program_fd = dog_bpf_program_fd(b, want->handle, e);
        if (program_fd < 0)
                return program_fd;
        int rc = dog_hands_policy_may_attach(b->policy, want->device, e);
        if (rc == 0)
                rc = dog_link_get(&link, want->device, e);
        if (rc < 0)
                return rc;
        r->as.attach.index = link.index;
        r->as.attach.program_id = dog_bpf_program_id(program_fd, NULL);
        rc = bpf_attach_swap(b, want, &link, program_fd, e);
        if (rc == 0) {
                r->as.attach.was_there = 1;
                r->as.attach.mode = bpf_attached_mode(link.index);
        }
        if (rc != -ENOENT)
                return rc;
        /* Ask again: the swap may just have taken a link of ours away. */
        rc = dog_link_get(&link, want->device, e);
        if (rc < 0)
                return rc;
        if (link.xdp_id != 0)
                return bpf_attach_foreign(&link, e);
        int fd = bpf_attach_new(want, &link, program_fd, &r->as.attach.mode, e);
        if (fd < 0)
                return fd;
        bpf_link_pin_name(pin, want->device);
        rc = dog_pin_put(b->policy->pin_folder, want->instance, pin, fd, e);
        close(fd);
        return rc;
}

int dog_bpf_detach(struct dog_bpf *b, const struct dog_hands_attach *want, struct dog_err *e)
{
        char pin[DOG_HANDS_NAME];
        int rc = dog_hands_policy_may_attach(b->policy, want->device, e);
        if (rc < 0)
                return rc;
        bpf_link_pin_name(pin, want->device);
        int fd = dog_pin_get(b->policy->pin_folder, want->instance, pin);
        if (fd < 0)
                return 0;
        (void)bpf_link_detach(fd);
        close(fd);
        return dog_pin_remove(b->policy->pin_folder, want->instance, pin, e);
}

const struct dog_hands_policy *dog_bpf_policy(const struct dog_bpf *b)
{
        return b->policy;
}
