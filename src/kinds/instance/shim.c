#include "kinds/instance/shim.h"

#include "base/clock.h"
#include "hands/pin.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Generated; its code is not held to our warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#include "instance_shim.skel.h"
#pragma GCC diagnostic pop

/* Our place among a device's filters: the same on every start, so that a start replaces the last one's. */
#define SHIM_PRIORITY 0x5d06
#define SHIM_HANDLE   1
#define SHIM_PATH     320

struct instance_shim_loader {
        struct instance_shim *object;
        int ifindex[INSTANCE_SHIM_DEVICES];
        char name[INSTANCE_SHIM_DEVICES][IF_NAMESIZE];
        unsigned devices;
        char folder[256]; /* empty: not pinned */
        struct instance_shim_settings settings;
};

/* What libbpf said last: its sentences are better than an errno. One loader at a time opens, see shim_load.
 */
static char shim_said[256];

static int shim_listen(enum libbpf_print_level level, const char *format, va_list args)
{
        if (level == LIBBPF_WARN)
                vsnprintf(shim_said, sizeof(shim_said), format, args);
        return 0;
}

/* ---- probing ------------------------------------------------------------------------------- */

static int shim_sysctl(const char *path, int *value)
{
        FILE *f = fopen(path, "re");

        if (!f)
                return -errno;
        int n = fscanf(f, "%d", value);
        fclose(f);
        return n == 1 ? 0 : -EIO;
}

int instance_shim_allowed(struct dog_err *e)
{
        int on = 0;

        if (shim_sysctl("/proc/sys/net/ipv4/tcp_syncookies", &on) < 0 || !on)
                return dog_err_set(e, -EOPNOTSUPP,
                                   "net.ipv4.tcp_syncookies is 0 here, so the kernel refuses the shim's "
                                   "sockets: set it to 1, or use this server in translated mode");
        return 0;
}

int instance_shim_probe(struct dog_err *e)
{
        struct btf *kernel = btf__load_vmlinux_btf();

        if (!kernel)
                return dog_err_set(e, -ENOSYS,
                                   "the shim needs a kernel with type information (/sys/kernel/btf/vmlinux): "
                                   "this server can be used in translated mode only");
        int id = btf__find_by_name_kind(kernel, "bpf_sk_assign_tcp_reqsk", BTF_KIND_FUNC);
        btf__free(kernel);
        if (id < 0)
                return dog_err_set(
                        e, -ENOSYS,
                        "this kernel cannot build a socket from a packet (bpf_sk_assign_tcp_reqsk, "
                        "Linux 6.9 and later): this server can be used in translated mode only");
        return instance_shim_allowed(e);
}

/* ---- devices ------------------------------------------------------------------------------- */

static int shim_device(struct instance_shim_loader *s, const char *name, struct dog_err *e)
{
        struct ifreq request = {0};
        unsigned n = s->devices;
        int fd, rc;

        if (strlen(name) >= IF_NAMESIZE)
                return dog_err_set(e, -EINVAL, "shim: device %s: the name is too long", name);
        memcpy(s->name[n], name, strlen(name) + 1);
        s->ifindex[n] = (int)if_nametoindex(name);
        if (!s->ifindex[n])
                return dog_err_set(e, -ENODEV, "shim: there is no device %s", name);
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return dog_err_set(e, -errno, "shim: cannot open a socket: %s", strerror(errno));
        memcpy(request.ifr_name, s->name[n], IF_NAMESIZE);
        rc = ioctl(fd, SIOCGIFHWADDR, &request) < 0 ? -errno : 0;
        close(fd);
        if (rc < 0)
                return dog_err_set(e, rc, "shim: device %s: %s", name, strerror(-rc));
        if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
                return dog_err_set(e, -EINVAL, "shim: device %s is no Ethernet device", name);
        s->devices++;
        return 0;
}

static int shim_filter(int ifindex, enum bpf_tc_attach_point where, const struct bpf_program *program)
{
        DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = where);
        DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SHIM_HANDLE, .priority = SHIM_PRIORITY,
                            .flags = BPF_TC_F_REPLACE, .prog_fd = bpf_program__fd(program));
        int rc = bpf_tc_hook_create(&hook);

        if (rc < 0 && rc != -EEXIST)
                return rc;
        return bpf_tc_attach(&hook, &opts);
}

static int shim_filter_remove(int ifindex, enum bpf_tc_attach_point where)
{
        DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = where);
        DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = SHIM_HANDLE, .priority = SHIM_PRIORITY);
        int rc = bpf_tc_detach(&hook, &opts);

        /* -EINVAL: the device has no place for filters at all. */
        return rc == -ENOENT || rc == -ENODEV || rc == -EINVAL ? 0 : rc;
}

static int shim_attach(struct instance_shim_loader *s, struct dog_err *e)
{
        for (unsigned i = 0; i < s->devices; i++) {
                /* Out before in: a standby that is known before its bytes are held back is no harm, the
                 * other way round its first bytes would go to the front. */
                int rc = shim_filter(s->ifindex[i], BPF_TC_EGRESS, s->object->progs.instance_shim_out);
                if (rc == 0)
                        rc = shim_filter(s->ifindex[i], BPF_TC_INGRESS, s->object->progs.instance_shim_in);
                if (rc < 0)
                        return dog_err_set(e, rc, "shim: cannot attach to %s: %s", s->name[i], strerror(-rc));
        }
        return 0;
}

/* ---- maps ---------------------------------------------------------------------------------- */

static int shim_pins(struct instance_shim_loader *s, bool forget)
{
        struct bpf_map *map;
        char path[SHIM_PATH];

        bpf_object__for_each_map (map, s->object->obj) {
                /* The constants' map is this object's own. */
                if (bpf_map__is_internal(map))
                        continue;
                snprintf(path, sizeof(path), "%s/%s", s->folder, bpf_map__name(map));
                int rc = forget ? unlink(path) : bpf_map__set_pin_path(map, path);
                if (!forget && rc < 0)
                        return rc;
        }
        return 0;
}

static int shim_load_once(struct instance_shim_loader *s, const struct instance_shim_setup *setup)
{
        int rc;

        s->object = instance_shim__open();
        if (!s->object)
                return -errno;
        if (setup->standbys_most) {
                rc = bpf_map__set_max_entries(s->object->maps.shim_standbys, setup->standbys_most);
                if (rc < 0)
                        return rc;
        }
        if (s->folder[0]) {
                rc = shim_pins(s, false);
                if (rc < 0)
                        return rc;
        }
        return instance_shim__load(s->object);
}

static int shim_load(struct instance_shim_loader *s, const struct instance_shim_setup *setup,
                     struct dog_err *e)
{
        libbpf_print_fn_t was = libbpf_set_print(shim_listen);
        int rc;

        shim_said[0] = 0;
        rc = shim_load_once(s, setup);
        /* Pinned maps of another shape are of an older version: begin anew. */
        if (rc < 0 && s->folder[0] && s->object && rc != -EPERM && rc != -ENOMEM) {
                shim_pins(s, true);
                instance_shim__destroy(s->object);
                rc = shim_load_once(s, setup);
        }
        libbpf_set_print(was);
        if (rc < 0) {
                shim_said[strcspn(shim_said, "\n")] = 0;
                return dog_err_set(e, rc, "shim: cannot load the programs: %s (%s)", strerror(-rc),
                                   shim_said);
        }
        return 0;
}

static int shim_settings_put(struct instance_shim_loader *s, struct dog_err *e)
{
        __u32 zero = 0;
        int rc = bpf_map__update_elem(s->object->maps.shim_settings, &zero, sizeof(zero), &s->settings,
                                      sizeof(s->settings), BPF_ANY);

        return rc < 0 ? dog_err_set(e, rc, "shim: cannot write the settings: %s", strerror(-rc)) : 0;
}

/* ---- life ---------------------------------------------------------------------------------- */

int instance_shim_open(struct instance_shim_loader **to, const struct instance_shim_setup *setup,
                       struct dog_err *e)
{
        struct instance_shim_loader *s;
        int rc = instance_shim_probe(e);

        *to = NULL;
        if (rc < 0)
                return rc;
        if (!setup->devices || setup->devices > INSTANCE_SHIM_DEVICES)
                return dog_err_set(e, -EINVAL, "shim: 1 to %d devices, not %u", INSTANCE_SHIM_DEVICES,
                                   setup->devices);
        if (setup->dscp > 63)
                return dog_err_set(e, -EINVAL, "shim: a DSCP code point is 0 to 63, not %u", setup->dscp);
        s = calloc(1, sizeof(*s));
        if (!s)
                return dog_err_set(e, -ENOMEM, "shim: out of memory");
        for (unsigned i = 0; rc == 0 && i < setup->devices; i++)
                rc = shim_device(s, setup->device[i], e);
        if (rc == 0 && setup->pin_folder) {
                if (strlen(setup->pin_folder) >= sizeof(s->folder))
                        rc = dog_err_set(e, -ENAMETOOLONG, "shim: pin folder %s: the path is too long",
                                         setup->pin_folder);
                else
                        rc = dog_pin_folder_make(setup->pin_folder, e);
                if (rc == 0)
                        memcpy(s->folder, setup->pin_folder, strlen(setup->pin_folder) + 1);
        }
        if (rc == 0)
                rc = shim_load(s, setup, e);
        s->settings.dscp = setup->dscp ? setup->dscp : INSTANCE_SHIM_DSCP;
        if (rc == 0)
                rc = instance_shim_clock_set(s, dog_clock_wall_ns(), dog_clock_mono_ns(), e);
        if (rc == 0) {
                /* That the place for filters is there already is no news. */
                libbpf_print_fn_t was = libbpf_set_print(shim_listen);
                rc = shim_attach(s, e);
                libbpf_set_print(was);
        }
        if (rc < 0) {
                instance_shim_close(s);
                return rc;
        }
        *to = s;
        return 0;
}

void instance_shim_close(struct instance_shim_loader *s)
{
        if (!s)
                return;
        instance_shim__destroy(s->object);
        free(s);
}

int instance_shim_remove(struct instance_shim_loader *s, struct dog_err *e)
{
        int rc = 0;

        for (unsigned i = 0; i < s->devices; i++) {
                static const enum bpf_tc_attach_point both[] = {BPF_TC_INGRESS, BPF_TC_EGRESS};
                for (unsigned k = 0; k < 2; k++) {
                        int one = shim_filter_remove(s->ifindex[i], both[k]);
                        if (one < 0)
                                rc = dog_err_set(e, one, "shim: cannot take the program off %s: %s",
                                                 s->name[i], strerror(-one));
                }
        }
        if (s->folder[0]) {
                shim_pins(s, true);
                rmdir(s->folder);
        }
        instance_shim_close(s);
        return rc;
}

int instance_shim_take_off(const struct instance_shim_setup *setup, struct dog_err *e)
{
        struct instance_shim_loader *s = calloc(1, sizeof(*s));

        if (!s)
                return dog_err_set(e, -ENOMEM, "shim: out of memory");
        /* Opened, not loaded: for the names of its pins. */
        s->object = instance_shim__open();
        if (!s->object) {
                free(s);
                return dog_err_set(e, -ENOMEM, "shim: its object cannot be opened: %s", strerror(errno));
        }
        for (unsigned i = 0; i < setup->devices && i < INSTANCE_SHIM_DEVICES; i++)
                if (if_nametoindex(setup->device[i]) && shim_device(s, setup->device[i], e) < 0) {
                        instance_shim_close(s);
                        return -EINVAL;
                }
        if (setup->pin_folder && strlen(setup->pin_folder) < sizeof(s->folder))
                memcpy(s->folder, setup->pin_folder, strlen(setup->pin_folder) + 1);
        return instance_shim_remove(s, e);
}

/* ---- what it is told ----------------------------------------------------------------------- */

static int shim_key(struct instance_shim_key *key, const struct dog_hands_address *address, uint16_t port,
                    struct dog_err *e)
{
        memset(key, 0, sizeof(*key));
        key->port = htons(port);
        if (address->version == 6) {
                memcpy(&key->address, address->bytes, 16);
        } else if (address->version == 4) {
                key->address.word[2] = htonl(0xffff);
                memcpy(&key->address.word[3], address->bytes, 4);
        } else {
                return dog_err_set(e, -EINVAL, "shim: a service needs an address");
        }
        return port ? 0 : dog_err_set(e, -EINVAL, "shim: a service needs a port");
}

int instance_shim_service_set(struct instance_shim_loader *s, unsigned number,
                              const struct dog_hands_address *address, uint16_t port,
                              const struct instance_cookie_keys *keys, struct dog_err *e)
{
        struct instance_shim_service service = {.keys = *keys, .number = (__u16)number};
        struct instance_shim_key key;
        int rc = shim_key(&key, address, port, e);

        if (rc < 0)
                return rc;
        if (number >= INSTANCE_SHIM_SERVICES)
                return dog_err_set(e, -EINVAL, "shim: service %u: numbers end at %d", number,
                                   INSTANCE_SHIM_SERVICES - 1);
        rc = bpf_map__update_elem(s->object->maps.shim_services, &key, sizeof(key), &service, sizeof(service),
                                  BPF_ANY);
        return rc < 0 ? dog_err_set(e, rc, "shim: service %u: %s", number, strerror(-rc)) : 0;
}

int instance_shim_service_remove(struct instance_shim_loader *s, const struct dog_hands_address *address,
                                 uint16_t port, struct dog_err *e)
{
        struct instance_shim_key key;
        int rc = shim_key(&key, address, port, e);

        if (rc < 0)
                return rc;
        rc = bpf_map__delete_elem(s->object->maps.shim_services, &key, sizeof(key), 0);
        return rc < 0 ? dog_err_set(e, rc, "shim: no such service on port %u: %s", port, strerror(-rc)) : 0;
}

int instance_shim_clock_set(struct instance_shim_loader *s, int64_t wall_ns, int64_t mono_ns,
                            struct dog_err *e)
{
        s->settings.clock_ns = (__u64)(wall_ns - mono_ns);
        return shim_settings_put(s, e);
}

int instance_shim_counts_read(struct instance_shim_loader *s, uint64_t count[INSTANCE_SHIM_COUNTS_ALL])
{
        int cpus = libbpf_num_possible_cpus(), rc = 0;
        uint64_t *each = cpus > 0 ? calloc((size_t)cpus, sizeof(*each)) : NULL;

        if (!each)
                return -ENOMEM;
        for (__u32 i = 0; rc == 0 && i < INSTANCE_SHIM_COUNTS_ALL; i++) {
                rc = bpf_map__lookup_elem(s->object->maps.shim_counts, &i, sizeof(i), each,
                                          (size_t)cpus * sizeof(*each), 0);
                count[i] = 0;
                for (int c = 0; rc == 0 && c < cpus; c++)
                        count[i] += each[c];
        }
        free(each);
        return rc;
}

const char *instance_shim_count_word(enum instance_shim_count c)
{
        static const char *const word[] = {
#define X(name, text, help) text,
                INSTANCE_SHIM_COUNTS(X)
#undef X
        };

        return c < INSTANCE_SHIM_COUNTS_ALL ? word[c] : "?";
}

const char *instance_shim_count_help(enum instance_shim_count c)
{
        static const char *const text[] = {
#define X(name, word, help) help,
                INSTANCE_SHIM_COUNTS(X)
#undef X
        };

        return c < INSTANCE_SHIM_COUNTS_ALL ? text[c] : "?";
}
