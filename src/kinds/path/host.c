#include "base/array.h"
#include "kinds/path/host_inside.h"
#include "path_bpf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t path_objects(const struct dog_hands_object **objects)
{
        static struct dog_hands_object list[3];
        list[0].name = "path_replicate";
        list[0].bytes = path_replicate__elf_bytes(&list[0].length);
        list[1].name = "path_egress";
        list[1].bytes = path_egress__elf_bytes(&list[1].length);
        list[2].name = "path_eliminate";
        list[2].bytes = path_eliminate__elf_bytes(&list[2].length);
        *objects = list;
        return ARRAY_SIZE(list);
}

/* ---------------------------------------------------------------------------------- asking */

int path_ask_size(struct dog_hands_open *open, const char *map, uint32_t entries, const char *from)
{
        if (open->n_sizes == DOG_HANDS_SIZES)
                return -ENOSPC;
        struct dog_hands_map_size *s = &open->size[open->n_sizes++];
        s->entries = entries;
        if (from)
                dog_hands_name_set(s->from, from, NULL);
        return dog_hands_name_set(s->map, map, NULL);
}

int path_ask_kept(struct dog_hands_open *open, const char *map, uint32_t entries, enum dog_hands_keep keep)
{
        int rc = path_ask_size(open, map, entries, NULL);
        if (rc == 0)
                open->size[open->n_sizes - 1].keep = keep;
        return rc;
}

int path_ask_open(struct dog_hands_client *hands, struct dog_hands_open *open, const char *object,
                  const char *instance, struct dog_hands_reply *r, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_OBJECT_OPEN);
        int rc = dog_hands_name_set(open->object, object, e);
        if (rc == 0)
                rc = dog_hands_name_set(open->instance, instance, e);
        if (rc < 0)
                return rc;
        q.as.object = *open;
        return dog_hands_call(hands, &q, r, NULL, e);
}

void path_ask_constant(struct dog_hands_program *p, const char *name, const void *value, uint32_t bytes)
{
        struct dog_hands_setting *s = &p->setting[p->n_settings++];
        dog_hands_name_set(s->name, name, NULL);
        s->n_bytes = bytes;
        memcpy(s->bytes, value, bytes);
}

int path_ask_load(struct dog_hands_client *hands, const struct dog_hands_program *p, uint32_t *handle,
                  struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_PROGRAM_LOAD);
        struct dog_hands_reply r;
        q.as.program = *p;
        int rc = dog_hands_call(hands, &q, &r, NULL, e);
        *handle = rc < 0 ? DOG_HANDS_NO_HANDLE : r.as.program.handle;
        return rc;
}

int path_ask_drop(struct dog_hands_client *hands, uint32_t handle, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_PROGRAM_DROP);
        struct dog_hands_reply r;
        if (handle == DOG_HANDS_NO_HANDLE)
                return 0;
        q.as.program.handle = handle;
        return dog_hands_call(hands, &q, &r, NULL, e);
}

int path_ask_devmap(struct dog_hands_client *hands, const char *instance, const char *map, uint32_t inner,
                    uint32_t key, const char *device, uint32_t handle, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_DEVMAP_SET);
        struct dog_hands_reply r;
        int rc = dog_hands_name_set(q.as.devmap.instance, instance, e);
        if (rc == 0)
                rc = dog_hands_name_set(q.as.devmap.map, map, e);
        if (rc == 0 && device)
                rc = dog_hands_name_set(q.as.devmap.device, device, e);
        if (rc < 0)
                return rc;
        q.as.devmap.inner = inner;
        q.as.devmap.key = key;
        q.as.devmap.handle = handle;
        return dog_hands_call(hands, &q, &r, NULL, e);
}

int path_ask_attach(struct dog_hands_client *hands, const char *instance, const char *device, uint32_t handle,
                    uint32_t mode, bool keep, struct path_host_device *became, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_XDP_ATTACH);
        struct dog_hands_reply r;
        int rc = dog_hands_name_set(q.as.attach.instance, instance, e);
        if (rc == 0)
                rc = dog_hands_name_set(q.as.attach.device, device, e);
        if (rc < 0)
                return rc;
        q.as.attach.handle = handle;
        q.as.attach.mode = mode;
        q.as.attach.is_kept = keep;
        rc = dog_hands_call(hands, &q, &r, NULL, e);
        if (rc < 0)
                return rc;
        became->index = r.as.attach.index;
        became->mode = r.as.attach.mode;
        memcpy(became->note, r.text, sizeof(became->note));
        return 0;
}

/* ------------------------------------------------------------------------------------ host */

static int host_settings(struct path_host *h, const struct path_host_settings *settings, struct dog_err *e)
{
        h->is = *settings;
        if (h->is.tunnels == 0)
                h->is.tunnels = 16;
        if (h->is.classes == 0)
                h->is.classes = 16;
        if (h->is.window == 0)
                h->is.window = PATH_WINDOW;
        if (h->is.check_every == 0)
                h->is.check_every = 16;
        if (h->is.port == 0)
                return dog_err_set(e, -EINVAL, "tunnels: a UDP port is needed");
        if (h->is.tunnels > PATH_TUNNELS_MAX)
                return dog_err_set(e, -EINVAL, "tunnels: %u, where at most %d are possible", h->is.tunnels,
                                   PATH_TUNNELS_MAX);
        if (h->is.classes > 65535)
                return dog_err_set(e, -EINVAL, "tunnels: %u classes, where at most 65535 are possible",
                                   h->is.classes);
        if (h->is.window < PATH_WINDOW_MIN || h->is.window > PATH_WINDOW_MAX ||
            h->is.window & (h->is.window - 1))
                return dog_err_set(e, -EINVAL, "tunnels: window %u: give a power of two from %d to %u",
                                   h->is.window, PATH_WINDOW_MIN, PATH_WINDOW_MAX);
        if (h->is.check_every & (h->is.check_every - 1))
                return dog_err_set(e, -EINVAL, "tunnels: check every %u: give a power of two",
                                   h->is.check_every);
        return 0;
}

static int host_maps(struct path_host *h, struct dog_err *e)
{
        struct dog_hands_open open = {0};
        struct dog_hands_reply r;
        uint32_t tunnels = h->is.tunnels, classes = tunnels * h->is.classes;
        if ((uint64_t)classes * h->is.window > UINT32_MAX)
                return dog_err_set(e, -EINVAL, "tunnels: %u classes with a window of %u do not fit", classes,
                                   h->is.window);
        path_ask_kept(&open, "path_rx_tunnels", tunnels, DOG_HANDS_KEEP_ALONG);
        path_ask_size(&open, "path_rx_classes", classes, NULL);
        path_ask_size(&open, "path_slots", classes * PATH_WINDOW_WORDS(h->is.window), NULL);
        path_ask_size(&open, "path_rx_stats", tunnels * PATH_PATHS_MAX, NULL);
        path_ask_size(&open, "path_class_rx", classes, NULL);
        path_ask_size(&open, "path_out", tunnels, NULL);
        int rc = path_ask_open(h->hands, &open, "path_eliminate", PATH_HOST_INSTANCE, &r, e);
        if (rc < 0)
                return rc;
        h->adopted = r.as.object.adopted;
        const struct {
                struct dog_map *map;
                const char *name;
                size_t size;
        } row[] = {
                {&h->rx_tunnels, "path_rx_tunnels", sizeof(struct path_rx_tunnel)},
                {&h->rx_classes, "path_rx_classes", sizeof(struct path_rx_class)},
                {&h->rx_stats, "path_rx_stats", sizeof(struct path_rx_stats)},
                {&h->class_rx, "path_class_rx", sizeof(struct path_class_rx)},
                {&h->drops, "path_drops", sizeof(uint64_t)},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row) && rc == 0; i++)
                rc = dog_map_open(row[i].map, h->hands, PATH_HOST_INSTANCE, row[i].name, row[i].size, e);
        return rc;
}

static int host_program(struct path_host *h, struct dog_err *e)
{
        struct dog_hands_program p = {
                .object = "path_eliminate", .instance = PATH_HOST_INSTANCE, .program = "path_eliminate"};
        uint32_t port = h->is.port;
        path_ask_constant(&p, "path_port", &port, sizeof(port));
        path_ask_constant(&p, "path_check_every", &h->is.check_every, sizeof(h->is.check_every));
        return path_ask_load(h->hands, &p, &h->program, e);
}

int path_host_open(struct path_host **out, struct dog_hands_client *hands,
                   const struct path_host_settings *settings, struct dog_err *e)
{
        struct path_host *h = calloc(1, sizeof(*h));
        if (!h)
                return dog_err_set(e, -ENOMEM, "tunnels: out of memory");
        h->hands = hands;
        int rc = host_settings(h, settings, e);
        if (rc == 0)
                rc = host_maps(h, e);
        if (rc == 0)
                rc = host_program(h, e);
        if (rc < 0) {
                path_host_close(h);
                return rc;
        }
        *out = h;
        return 0;
}

void path_host_close(struct path_host *h)
{
        if (!h)
                return;
        (void)path_ask_drop(h->hands, h->program, NULL);
        dog_map_close(&h->rx_tunnels);
        dog_map_close(&h->rx_classes);
        dog_map_close(&h->rx_stats);
        dog_map_close(&h->class_rx);
        dog_map_close(&h->drops);
        free(h);
}

uint32_t path_host_adopted(const struct path_host *h)
{
        return h->adopted;
}

int path_host_put(struct path_host *h, const char *device, bool keep, struct path_host_device *became,
                  struct dog_err *e)
{
        unsigned i = 0;
        while (i < h->n_devices && strcmp(h->device[i].name, device) != 0)
                i++;
        if (i == PATH_HOST_DEVICES)
                return dog_err_set(e, -ENOSPC, "device %s: more than %d underlay devices", device,
                                   PATH_HOST_DEVICES);
        /* Again is one atomic swap in the kernel: it also covers a device that came back under its name. */
        int rc = path_ask_attach(h->hands, PATH_HOST_INSTANCE, device, h->program, h->is.mode, keep, became,
                                 e);
        if (rc < 0)
                return rc;
        if (i == h->n_devices)
                h->n_devices++;
        dog_hands_name_set(h->device[i].name, device, NULL);
        if (became->note[0] == 0 && became->mode == DOG_HANDS_MODE_GENERIC && h->device[i].became.note[0])
                memcpy(became->note, h->device[i].became.note, sizeof(became->note));
        h->device[i].became = *became;
        return 0;
}

int path_host_attach(struct path_host *h, const char *device, struct path_host_device *became,
                     struct dog_err *e)
{
        return path_host_put(h, device, true, became, e);
}

int path_host_detach(struct path_host *h, const char *device, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_XDP_DETACH);
        struct dog_hands_reply r;
        int rc = dog_hands_name_set(q.as.attach.instance, PATH_HOST_INSTANCE, e);
        if (rc == 0)
                rc = dog_hands_name_set(q.as.attach.device, device, e);
        if (rc == 0)
                rc = dog_hands_call(h->hands, &q, &r, NULL, e);
        if (rc < 0)
                return rc;
        for (unsigned i = 0; i < h->n_devices; i++)
                if (strcmp(h->device[i].name, device) == 0)
                        h->device[i] = h->device[--h->n_devices];
        return 0;
}
