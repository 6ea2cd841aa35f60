#include "kinds/path/path_outer.h"

#include "base/bytes.h"

#include <string.h>

static __u32 outer_sum(const uint8_t *bytes, size_t size)
{
        __u32 sum = 0;
        for (size_t i = 0; i + 1 < size; i += 2)
                sum += (__u32)(bytes[i] << 8 | bytes[i + 1]);
        return sum;
}

__u32 path_outer_ip4(const struct path_outer4 *o, __u64 words[6])
{
        uint8_t frame[48] = {0};
        struct dog_bytes out = dog_bytes_of(frame, sizeof(frame));

        dog_write_copy(&out, o->mac_to, 6);
        dog_write_copy(&out, o->mac_from, 6);
        dog_write_u16(&out, 0x0800);
        dog_write_u8(&out, 0x45);
        dog_write_u8(&out, (uint8_t)(o->dscp << 2));
        dog_write_u16(&out, 0);      /* length: egress */
        dog_write_u16(&out, 0);      /* identification */
        dog_write_u16(&out, 0x4000); /* DF */
        dog_write_u8(&out, o->ttl ? o->ttl : 64);
        dog_write_u8(&out, 17);
        dog_write_u16(&out, 0); /* checksum: egress */
        dog_write_copy(&out, &o->from, 4);
        dog_write_copy(&out, &o->to, 4);
        dog_write_u16(&out, o->port_from);
        dog_write_u16(&out, o->port_to);
        memcpy(words, frame, sizeof(frame));
        return outer_sum(frame + 14, 20);
}
