#include "hands/bpf_inside.h"
#include "hands/netlink.h"
#include "hands/pin.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 6.6; the headers of an older build machine do not have them. include/uapi/linux/bpf.h */
#define TC_TCX_INGRESS 46
#define TC_TCX_EGRESS  47
#define TC_LINK_TCX    11

/* Where our filter is, on a hook with filters of others: late, so that what others decide comes first. */
#define TC_PRIORITY 48000
#define TC_HANDLE   1

enum tc_way { TC_WAY_LINK, TC_WAY_FILTER };

static const char *tc_hook_text(const struct dog_hands_tc *want)
{
        return want->is_egress ? "egress" : "ingress";
}

static void tc_pin_name(char *to, enum tc_way way, const char *device, bool is_egress)
{
        snprintf(to, DOG_HANDS_NAME, "%s-%s-%.15s", way == TC_WAY_LINK ? "tcx" : "cls",
                 is_egress ? "out" : "in", device);
}

static int tc_pin_get(const struct dog_bpf *b, const struct dog_hands_tc *want, enum tc_way way)
{
        char pin[DOG_HANDS_NAME];
        tc_pin_name(pin, way, want->device, want->is_egress);
        return dog_pin_get(dog_bpf_policy(b)->pin_folder, want->instance, pin);
}

static int tc_pin_put(const struct dog_bpf *b, const struct dog_hands_tc *want, enum tc_way way, int fd,
                      struct dog_err *e)
{
        char pin[DOG_HANDS_NAME];
        tc_pin_name(pin, way, want->device, want->is_egress);
        return dog_pin_put(dog_bpf_policy(b)->pin_folder, want->instance, pin, fd, e);
}

static int tc_pin_remove(const struct dog_bpf *b, const struct dog_hands_tc *want, enum tc_way way,
                         struct dog_err *e)
{
        char pin[DOG_HANDS_NAME];
        tc_pin_name(pin, way, want->device, want->is_egress);
        return dog_pin_remove(dog_bpf_policy(b)->pin_folder, want->instance, pin, e);
}

/* ------------------------------------------------------------------------------------ link */

/* libbpf of this generation does not know these links, so the request is made here. */
static int tc_link_create(int program_fd, uint32_t index, bool is_egress)
{
        union bpf_attr attr;
        memset(&attr, 0, sizeof(attr));
        attr.link_create.prog_fd = (uint32_t)program_fd;
        attr.link_create.target_ifindex = index;
        attr.link_create.attach_type = is_egress ? TC_TCX_EGRESS : TC_TCX_INGRESS;
        long fd = syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
        return fd < 0 ? -errno : (int)fd;
}

/* The union of bpf_link_info begins with the device's number for this type, as for XDP. */
static bool tc_link_is_on(int fd, uint32_t index)
{
        struct bpf_link_info info = {0};
        uint32_t size = sizeof(info);
        return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == TC_LINK_TCX &&
               info.xdp.ifindex == index;
}

/* 0: exchanged; -ENOENT: no link of ours is on this very device. */
static int tc_link_swap(const struct dog_bpf *b, const struct dog_hands_tc *want, uint32_t index,
                        int program_fd, struct dog_err *e)
{
        int fd = tc_pin_get(b, want, TC_WAY_LINK);
        if (fd < 0)
                return -ENOENT;
        int rc = -ENOENT;
        if (tc_link_is_on(fd, index))
                rc = bpf_link_update(fd, program_fd, NULL) < 0 ? -errno : 0;
        close(fd);
        if (rc < 0 && rc != -ENOENT)
                return dog_err_set(e, rc, "device %s: the program on its %s cannot be exchanged: %s",
                                   want->device, tc_hook_text(want), strerror(-rc));
        return rc;
}

static int tc_link_attach(const struct dog_bpf *b, const struct dog_hands_tc *want, uint32_t index,
                          int program_fd, uint32_t *was_there, struct dog_err *e)
{
        int rc = tc_link_swap(b, want, index, program_fd, e);
        *was_there = rc == 0;
        if (rc != -ENOENT)
                return rc;
        int fd = tc_link_create(program_fd, index, want->is_egress);
        if (fd < 0)
                return fd;
        rc = tc_pin_put(b, want, TC_WAY_LINK, fd, e);
        close(fd);
        return rc;
}

/* An older kernel does not know the attach type; one without CONFIG_NET_XGRESS refuses it too. */
static bool tc_link_is_unknown(int rc)
{
        return rc == -EINVAL || rc == -EOPNOTSUPP || rc == -ENOTSUP || rc == -ENOSYS;
}

static int tc_link_detach(const struct dog_bpf *b, const struct dog_hands_tc *want, struct dog_err *e)
{
        int fd = tc_pin_get(b, want, TC_WAY_LINK);
        if (fd < 0)
                return 0;
        (void)bpf_link_detach(fd);
        close(fd);
        return tc_pin_remove(b, want, TC_WAY_LINK, e);
}

/* ---------------------------------------------------------------------------------- filter */

/* libbpf refuses a structure whose padding is not zero, and an initialiser may leave it as it was. */
#define TC_HOOK(name, index, egress)                                                                         \
        LIBBPF_OPTS(bpf_tc_hook, name, .ifindex = (int)(index),                                              \
                    .attach_point = (egress) ? BPF_TC_EGRESS : BPF_TC_INGRESS)

/* The program that has our place, by its id; 0: nobody, or no hook at all. */
static uint32_t tc_filter_there(uint32_t index, bool is_egress)
{
        TC_HOOK(hook, index, is_egress);
        LIBBPF_OPTS(bpf_tc_opts, query, .handle = TC_HANDLE, .priority = TC_PRIORITY);
        return bpf_tc_query(&hook, &query) < 0 ? 0 : query.prog_id;
}

/* The id of the program that an earlier request has put there. */
static uint32_t tc_filter_ours(const char *folder, const char *instance, const char *device, bool is_egress)
{
        char pin[DOG_HANDS_NAME];
        tc_pin_name(pin, TC_WAY_FILTER, device, is_egress);
        int fd = dog_pin_get(folder, instance, pin);
        if (fd < 0)
                return 0;
        uint32_t id = dog_bpf_program_id(fd, NULL);
        close(fd);
        return id;
}

static void tc_filter_remove(uint32_t index, bool is_egress)
{
        TC_HOOK(hook, index, is_egress);
        LIBBPF_OPTS(bpf_tc_opts, where, .handle = TC_HANDLE, .priority = TC_PRIORITY);
        (void)bpf_tc_detach(&hook, &where);
}

static int tc_filter_attach(const struct dog_bpf *b, const struct dog_hands_tc *want, uint32_t index,
                            int program_fd, uint32_t *was_there, struct dog_err *e)
{
        uint32_t there = tc_filter_there(index, want->is_egress);
        uint32_t ours =
                tc_filter_ours(dog_bpf_policy(b)->pin_folder, want->instance, want->device, want->is_egress);
        TC_HOOK(hook, index, want->is_egress);
        LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program_fd, .handle = TC_HANDLE,
                    .priority = TC_PRIORITY);
        *was_there = there != 0;
        if (there != 0 && there != ours)
                return dog_err_set(
                        e, -EBUSY,
                        "device %s: filter %d of priority %d on its %s is program %u, which is not "
                        "ours; \"tc filter show dev %s %s\" shows it",
                        want->device, TC_HANDLE, TC_PRIORITY, tc_hook_text(want), there, want->device,
                        tc_hook_text(want));
        if (there != 0)
                options.flags = BPF_TC_F_REPLACE;
        int rc = bpf_tc_hook_create(&hook);
        if (rc == 0 || rc == -EEXIST)
                rc = bpf_tc_attach(&hook, &options);
        if (rc < 0)
                return dog_err_set(
                        e, rc,
                        "device %s: no filter can be set on its %s: %s; the kernel needs sch_ingress "
                        "and cls_bpf",
                        want->device, tc_hook_text(want), strerror(-rc));
        return tc_pin_put(b, want, TC_WAY_FILTER, program_fd, e);
}

static int tc_filter_detach(const struct dog_bpf *b, const struct dog_hands_tc *want, uint32_t index,
                            struct dog_err *e)
{
        uint32_t ours =
                tc_filter_ours(dog_bpf_policy(b)->pin_folder, want->instance, want->device, want->is_egress);
        if (ours == 0)
                return 0;
        if (index != 0 && tc_filter_there(index, want->is_egress) == ours)
                tc_filter_remove(index, want->is_egress);
        return tc_pin_remove(b, want, TC_WAY_FILTER, e);
}

void dog_bpf_tc_forget(const struct dog_hands_policy *policy, const char *instance)
{
        for (unsigned i = 0; i < policy->n_devices * 2; i++) {
                const char *device = policy->device[i / 2].name;
                bool is_egress = i % 2;
                struct dog_link link;
                uint32_t ours = tc_filter_ours(policy->pin_folder, instance, device, is_egress);
                if (ours != 0 && dog_link_get(&link, device, NULL) == 0 &&
                    tc_filter_there(link.index, is_egress) == ours)
                        tc_filter_remove(link.index, is_egress);
        }
}

/* --------------------------------------------------------------------------------- request */

int dog_bpf_tc_attach(struct dog_bpf *b, const struct dog_hands_tc *want, struct dog_hands_reply *r,
                      struct dog_err *e)
{
        struct dog_link link;
        int rc = dog_hands_policy_may_attach(dog_bpf_policy(b), want->device, e);
        int program_fd = rc < 0 ? rc : dog_bpf_program_fd(b, want->handle, e);
        if (program_fd < 0)
                return program_fd;
        rc = dog_link_get(&link, want->device, e);
        if (rc < 0)
                return rc;
        r->as.tc.index = link.index;
        r->as.tc.program_id = dog_bpf_program_id(program_fd, NULL);
        r->as.tc.how = DOG_HANDS_TC_LINK;
        rc = want->how == DOG_HANDS_TC_FILTER
                     ? -EOPNOTSUPP
                     : tc_link_attach(b, want, link.index, program_fd, &r->as.tc.was_there, e);
        if (rc == 0)
                return tc_filter_detach(b, want, link.index, e); /* of another way, earlier: not twice */
        if (want->how != DOG_HANDS_TC_FILTER && !tc_link_is_unknown(rc))
                return dog_err_set(e, rc, "device %s: no program can be put on its %s: %s", want->device,
                                   tc_hook_text(want), strerror(-rc));
        if (want->how == DOG_HANDS_TC_LINK)
                return dog_err_set(
                        e, -EOPNOTSUPP,
                        "device %s: this kernel has no links for its %s (Linux 6.6); allow a filter",
                        want->device, tc_hook_text(want));
        r->as.tc.how = DOG_HANDS_TC_FILTER;
        rc = tc_filter_attach(b, want, link.index, program_fd, &r->as.tc.was_there, e);
        return rc < 0 ? rc : tc_link_detach(b, want, e);
}

int dog_bpf_tc_detach(struct dog_bpf *b, const struct dog_hands_tc *want, struct dog_err *e)
{
        struct dog_link link = {0};
        int rc = dog_hands_policy_may_attach(dog_bpf_policy(b), want->device, e);
        if (rc < 0)
                return rc;
        /* A device that is gone took what was on it along; the pins are left to remove. */
        (void)dog_link_get(&link, want->device, NULL);
        rc = tc_link_detach(b, want, e);
        return rc < 0 ? rc : tc_filter_detach(b, want, link.index, e);
}
