#include "kinds/instance/front_map.h"

#include "kinds/instance/front.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAP_CPUS 8192 /* as many as Linux can have (NR_CPUS): a larger answer is an error */

int instance_map_open(struct instance_map *m, struct dog_hands_client *hands, const char *name,
                      size_t value_size, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_MAP_FD);
        struct dog_hands_reply r;
        *m = (struct instance_map){0};
        int rc = dog_hands_name_set(q.as.map.instance, INSTANCE_FRONT, e);
        if (rc == 0)
                rc = dog_hands_name_set(q.as.map.map, name, e);
        if (rc == 0)
                rc = dog_hands_call(hands, &q, &r, &m->fd, e);
        if (rc < 0) {
                m->fd = 0;
                return rc;
        }
        if (m->fd <= 0 || r.as.map.value_size != value_size)
                return dog_err_set(e, -EPROTO, "map %s: values of %u bytes, where %zu are due", name,
                                   r.as.map.value_size, value_size);
        m->entries = r.as.map.entries;
        m->value_size = r.as.map.value_size;
        if (!(r.as.map.flags & BPF_F_MMAPABLE))
                return 0;
        m->mapped = (size_t)m->entries * ((value_size + 7) / 8 * 8);
        void *memory = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
        if (memory == MAP_FAILED)
                return dog_err_set(e, -errno, "map %s: cannot be mapped: %s", name, strerror(errno));
        m->memory = memory;
        return 0;
}

void instance_map_close(struct instance_map *m)
{
        if (m->memory)
                munmap(m->memory, m->mapped);
        if (m->fd > 0)
                close(m->fd);
        *m = (struct instance_map){0};
}

void *instance_map_at(const struct instance_map *m, uint32_t index)
{
        return (char *)m->memory + (size_t)index * ((m->value_size + 7u) / 8 * 8);
}

int instance_map_sum_newest(const struct instance_map *m, uint32_t index, uint64_t *sum, size_t words,
                            size_t newest)
{
        int cpus = libbpf_num_possible_cpus();
        size_t stride = (m->value_size + 7u) / 8;
        memset(sum, 0, words * sizeof(*sum));
        if (cpus <= 0 || cpus > MAP_CPUS)
                return -EOPNOTSUPP;
        uint64_t *all = calloc((size_t)cpus, stride * 8);
        if (!all)
                return -ENOMEM;
        int rc = bpf_map_lookup_elem(m->fd, &index, all) < 0 ? -errno : 0;
        for (size_t c = 0; c < (size_t)cpus && rc == 0; c++)
                for (size_t w = 0; w < words; w++) {
                        uint64_t is = all[c * stride + w];
                        if (w != newest)
                                sum[w] += is;
                        else if (is > sum[w])
                                sum[w] = is;
                }
        free(all);
        return rc;
}

int instance_map_sum(const struct instance_map *m, uint32_t index, uint64_t *sum, size_t words)
{
        return instance_map_sum_newest(m, index, sum, words, SIZE_MAX);
}
