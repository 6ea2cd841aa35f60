#include "hands/btf.h"

#include <bpf/btf.h>
#include <string.h>

#define BTF_DEPTH_MOST 12 /* of nested types; ours have three or four */

static uint64_t btf_mix(uint64_t hash, uint64_t word)
{
        /* FNV-1a (Fowler, Noll, Vo) by words: not for strangers, both sides are ours. */
        return (hash ^ word) * UINT64_C(0x100000001b3);
}

static uint64_t btf_mix_text(uint64_t hash, const char *text)
{
        while (text && *text)
                hash = btf_mix(hash, (uint8_t)*text++);
        return hash;
}

static uint64_t btf_layout(uint64_t hash, const struct btf *btf, uint32_t id, unsigned depth);

static uint64_t btf_layout_struct(uint64_t hash, const struct btf *btf, const struct btf_type *t,
                                  unsigned depth)
{
        const struct btf_member *m = btf_members(t);
        for (uint32_t i = 0; i < btf_vlen(t); i++) {
                hash = btf_mix_text(hash, btf__name_by_offset(btf, m[i].name_off));
                hash = btf_mix(hash, btf_member_bit_offset(t, i));
                hash = btf_layout(hash, btf, m[i].type, depth + 1);
        }
        return hash;
}

static uint64_t btf_layout(uint64_t hash, const struct btf *btf, uint32_t id, unsigned depth)
{
        const struct btf_type *t = btf__type_by_id(btf, id);
        while (t && (btf_is_mod(t) || btf_is_typedef(t)))
                t = btf__type_by_id(btf, t->type);
        if (!t || depth > BTF_DEPTH_MOST)
                return hash;
        hash = btf_mix(hash, btf_kind(t));
        if (btf_is_array(t)) {
                hash = btf_mix(hash, btf_array(t)->nelems);
                return btf_layout(hash, btf, btf_array(t)->type, depth + 1);
        }
        if (!btf_is_ptr(t))
                hash = btf_mix(hash, t->size);
        return btf_is_composite(t) ? btf_layout_struct(hash, btf, t, depth) : hash;
}

uint64_t dog_btf_layout(const struct btf *btf, uint32_t key_type, uint32_t value_type)
{
        if (!btf || value_type == 0)
                return 0;
        uint64_t hash = btf_layout(UINT64_C(0xcbf29ce484222325), btf, key_type, 0);
        hash = btf_layout(btf_mix(hash, 0x7c), btf, value_type, 0);
        return hash ? hash : 1;
}

bool dog_btf_variable(const struct btf *btf, const char *section, const char *name, uint32_t *at,
                      uint32_t *size)
{
        int id = btf ? btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC) : -1;
        if (id < 0)
                return false;
        const struct btf_type *t = btf__type_by_id(btf, (uint32_t)id);
        const struct btf_var_secinfo *v = btf_var_secinfos(t);
        for (uint32_t i = 0; i < btf_vlen(t); i++) {
                const struct btf_type *var = btf__type_by_id(btf, v[i].type);
                const char *text = var ? btf__name_by_offset(btf, var->name_off) : NULL;
                if (text && strcmp(text, name) == 0) {
                        *at = v[i].offset;
                        *size = v[i].size;
                        return true;
                }
        }
        return false;
}
