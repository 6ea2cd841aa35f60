#include "hands/map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAP_CPUS 8192 /* as many as Linux can have (NR_CPUS): a larger answer is an error */

int dog_map_open(struct dog_map *m, struct dog_hands_client *hands, const char *instance, const char *name,
                 size_t value_size, struct dog_err *e)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_MAP_FD);
        struct dog_hands_reply r;
        *m = (struct dog_map){0};
        int rc = dog_hands_name_set(q.as.map.instance, instance, e);
        if (rc == 0)
                rc = dog_hands_name_set(q.as.map.map, name, e);
        if (rc == 0)
                rc = dog_hands_call(hands, &q, &r, &m->fd, e);
        if (rc < 0) {
                m->fd = 0;
                return rc;
        }
        if (m->fd <= 0 || r.as.map.value_size != value_size)
                return dog_err_set(e, -EPROTO, "map %s of %s: values of %u bytes, where %zu are due", name,
                                   instance, r.as.map.value_size, value_size);
        m->entries = r.as.map.entries;
        m->value_size = r.as.map.value_size;
        if (!(r.as.map.flags & BPF_F_MMAPABLE))
                return 0;
        m->mapped = (size_t)m->entries * ((value_size + 7) / 8 * 8);
        void *memory = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
        if (memory == MAP_FAILED)
                return dog_err_set(e, -errno, "map %s of %s: cannot be mapped: %s", name, instance,
                                   strerror(errno));
        m->memory = memory;
        return 0;
}

void dog_map_close(struct dog_map *m)
{
        if (m->memory)
                munmap(m->memory, m->mapped);
        if (m->fd > 0)
                close(m->fd);
        *m = (struct dog_map){0};
}

void *dog_map_at(const struct dog_map *m, uint32_t index)
{
        return (char *)m->memory + (size_t)index * ((m->value_size + 7u) / 8 * 8);
}

unsigned dog_map_cpus(void)
{
        static int cpus;
        if (cpus <= 0)
                cpus = libbpf_num_possible_cpus();
        return cpus > 0 && cpus <= MAP_CPUS ? (unsigned)cpus : 1;
}

int dog_map_per_cpu(const struct dog_map *m, uint32_t index, void *to)
{
        return bpf_map_lookup_elem(m->fd, &index, to) < 0 ? -errno : 0;
}

int dog_map_sum_newest(const struct dog_map *m, uint32_t index, uint64_t *sum, size_t words, size_t newest)
{
        unsigned cpus = dog_map_cpus();
        size_t stride = (m->value_size + 7u) / 8;
        uint64_t *all = calloc(cpus, stride * 8);
        memset(sum, 0, words * 8);
        if (!all)
                return -ENOMEM;
        int rc = dog_map_per_cpu(m, index, all);
        for (unsigned c = 0; c < cpus && rc == 0; c++)
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

int dog_map_sum(const struct dog_map *m, uint32_t index, uint64_t *sum, size_t words)
{
        return dog_map_sum_newest(m, index, sum, words, SIZE_MAX);
}
