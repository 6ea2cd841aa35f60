#include "base/array.h"
#include "instance_bpf.h"
#include "kinds/instance/front.h"

size_t instance_objects(const struct dog_hands_object **objects)
{
        static struct dog_hands_object list[2];
        list[0].name = "instance_tc";
        list[0].bytes = instance_tc__elf_bytes(&list[0].length);
        list[1].name = "instance_xdp";
        list[1].bytes = instance_xdp__elf_bytes(&list[1].length);
        *objects = list;
        return ARRAY_SIZE(list);
}
