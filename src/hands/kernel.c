#include "hands/kernel.h"

#include "base/array.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MOV(to, number)                                                                                      \
        {                                                                                                    \
                .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (to), .imm = (number)                        \
        }
#define STORE(reg)                                                                                           \
        {                                                                                                    \
                .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_10, .src_reg = (reg), .off = -8       \
        }
#define COMPARE_SWAP(by)                                                                                     \
        {                                                                                                    \
                .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = BPF_REG_10, .src_reg = (by), .off = -8,    \
                .imm = BPF_CMPXCHG                                                                           \
        }
#define RETURN                                                                                               \
        {                                                                                                    \
                .code = BPF_JMP | BPF_EXIT                                                                   \
        }

static bool kernel_loads_as(enum bpf_prog_type kind, const struct bpf_insn *code, size_t n,
                            enum bpf_attach_type type)
{
        LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = type);
        int fd = bpf_prog_load(kind, "dog_probe", "Dual BSD/GPL", code, n, &options);
        if (fd < 0)
                return false;
        close(fd);
        return true;
}

static bool kernel_loads(const struct bpf_insn *code, size_t n, enum bpf_attach_type type)
{
        return kernel_loads_as(BPF_PROG_TYPE_XDP, code, n, type);
}

static bool kernel_makes(enum bpf_map_type type, uint32_t key, uint32_t value, uint32_t entries,
                         const struct bpf_map_create_opts *options)
{
        int fd = bpf_map_create(type, "dog_probe", key, value, entries, options);
        if (fd < 0)
                return false;
        close(fd);
        return true;
}

/* A map may hold a lock only if its types say where: struct { struct bpf_spin_lock { u32 val; } lock; }. */
static bool kernel_has_lock(void)
{
        bool has = false;
        struct btf *btf = btf__new_empty();
        if (!btf)
                return false;
        int number = btf__add_int(btf, "unsigned int", 4, 0);
        int lock = btf__add_struct(btf, "bpf_spin_lock", 4);
        btf__add_field(btf, "val", number, 0, 0);
        int value = btf__add_struct(btf, "dog_value", 8);
        btf__add_field(btf, "lock", lock, 0, 0);
        btf__add_field(btf, "number", number, 32, 0);
        if (value > 0 && btf__load_into_kernel(btf) == 0) {
                LIBBPF_OPTS(bpf_map_create_opts, options, .btf_fd = (uint32_t)btf__fd(btf),
                            .btf_key_type_id = (uint32_t)number, .btf_value_type_id = (uint32_t)value);
                has = kernel_makes(BPF_MAP_TYPE_HASH, 4, 8, 1, &options);
        }
        btf__free(btf);
        return has;
}

static bool kernel_has_link(void)
{
        struct btf *btf = btf__load_vmlinux_btf();
        bool has = btf && btf__find_by_name_kind(btf, "bpf_xdp_link", BTF_KIND_STRUCT) > 0;
        btf__free(btf);
        return has;
}

uint32_t dog_kernel_probe(const char *pin_folder)
{
        static const struct bpf_insn pass[] = {MOV(BPF_REG_0, XDP_PASS), RETURN};
        static const struct bpf_insn swap[] = {MOV(BPF_REG_0, XDP_PASS), STORE(BPF_REG_0),
                                               COMPARE_SWAP(BPF_REG_0), RETURN};
        struct statfs st;
        uint32_t has = 0;
        if (access("/sys/kernel/btf/vmlinux", R_OK) == 0)
                has |= DOG_KERNEL_BTF;
        if (statfs(pin_folder, &st) == 0 && (unsigned long)st.f_type == BPF_FS_MAGIC)
                has |= DOG_KERNEL_BPFFS;
        if (kernel_loads(pass, ARRAY_SIZE(pass), BPF_XDP))
                has |= DOG_KERNEL_XDP;
        if (kernel_loads(pass, ARRAY_SIZE(pass), BPF_XDP_DEVMAP))
                has |= DOG_KERNEL_DEVMAP_PROGRAM;
        if (kernel_loads(swap, ARRAY_SIZE(swap), BPF_XDP))
                has |= DOG_KERNEL_CMPXCHG;
        if (kernel_loads_as(BPF_PROG_TYPE_SCHED_CLS, pass, ARRAY_SIZE(pass), 0))
                has |= DOG_KERNEL_TC;
        if (kernel_has_lock())
                has |= DOG_KERNEL_SPIN_LOCK;
        if (kernel_makes(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, NULL))
                has |= DOG_KERNEL_RINGBUF;
        if (kernel_has_link())
                has |= DOG_KERNEL_XDP_LINK;
        return has;
}

const char *dog_kernel_missing(uint32_t has, char *to, size_t room)
{
        static const char *const text[] = {
#define X(code, sentence) sentence,
                DOG_KERNEL_HAS(X)
#undef X
        };
        to[0] = 0;
        for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
                if (has & 1u << i)
                        continue;
                snprintf(to, room, "this kernel lacks %s", text[i]);
                break;
        }
        return to;
}
