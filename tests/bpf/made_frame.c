#include "made_frame.h"

#include <string.h>

static __u32 get(const __u8 *at, int bytes)
{
        __u32 v = 0;
        for (int i = 0; i < bytes; i++)
                v = v << 8 | at[i];
        return v;
}

static void put(__u8 *at, int bytes, __u32 v)
{
        for (int i = bytes; i-- > 0; v >>= 8)
                at[i] = (__u8)v;
}

/* One's complement sum of big-endian 16-bit words, not complemented. */
static __u32 sum_of(const __u8 *at, __u32 bytes, __u32 sum)
{
        for (__u32 i = 0; i + 1 < bytes; i += 2)
                sum += get(at + i, 2);
        if (bytes & 1)
                sum += (__u32)at[bytes - 1] << 8;
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return sum;
}

static __u32 l4_sum(const struct made_frame *f)
{
        bool is_v6 = f->bytes[14] >> 4 == 6;
        const __u8 *ip = f->bytes + 14;
        __u32 bytes = is_v6 ? get(ip + 4, 2) : get(ip + 2, 2) - 20;
        if (ip[is_v6 ? 6 : 9] == 17)
                bytes = get(ip + (is_v6 ? 44 : 24), 2);
        __u32 sum = bytes + ip[is_v6 ? 6 : 9];
        sum = is_v6 ? sum_of(ip + 8, 32, sum) : sum_of(ip + 12, 8, sum);
        return sum_of(ip + (is_v6 ? 40 : 20), bytes, sum);
}

static __u8 *check_of(struct made_frame *f)
{
        bool is_v6 = f->bytes[14] >> 4 == 6;
        __u8 proto = f->bytes[is_v6 ? 20 : 23];
        return f->bytes + (is_v6 ? 54 : 34) + (proto == 6 ? 16 : 6);
}

void made_sign(struct made_frame *f)
{
        __u8 *check = check_of(f);
        if (f->bytes[14] >> 4 == 4) {
                put(f->bytes + 24, 2, 0);
                put(f->bytes + 24, 2, ~sum_of(f->bytes + 14, 20, 0) & 0xffff);
        }
        put(check, 2, 0);
        __u32 sum = ~l4_sum(f) & 0xffff;
        put(check, 2, sum ? sum : 0xffff);
}

struct made_frame made_frame(const struct made_flow *flow)
{
        struct made_frame f = {0};
        __u32 header = flow->proto == 6 ? 20 : 8, l4 = flow->is_v6 ? 54 : 34;
        __u8 *ip = f.bytes + 14, *t = f.bytes + l4;

        memcpy(f.bytes, (const __u8[]){2, 0xf, 0, 0, 0, 1, 2, 0xc, 0, 0, 0, 1}, 12);
        if (flow->is_v6) {
                put(f.bytes + 12, 2, 0x86dd);
                put(ip, 4, 0x60012345);
                put(ip + 4, 2, header + flow->payload);
                ip[6] = flow->proto;
                ip[7] = flow->ttl;
                put(ip + 8, 4, 0x20010db8);
                put(ip + 20, 4, flow->src);
                put(ip + 24, 4, 0x20010db8);
                put(ip + 36, 4, flow->dst);
        } else {
                put(f.bytes + 12, 2, 0x0800);
                put(ip, 4, 0x45000000 | (20 + header + flow->payload));
                put(ip + 4, 4, 0x12344000);
                ip[8] = flow->ttl;
                ip[9] = flow->proto;
                put(ip + 12, 4, flow->src);
                put(ip + 16, 4, flow->dst);
        }
        put(t, 2, flow->sport);
        put(t + 2, 2, flow->dport);
        if (flow->proto == 6) {
                put(t + 4, 4, flow->seq);
                put(t + 8, 4, flow->ack);
                put(t + 12, 4, 0x50000000u | (__u32)flow->tcp_flags << 16 | 502);
        } else {
                put(t + 4, 2, 8 + flow->payload);
        }
        for (__u32 i = 0; i < flow->payload; i++)
                t[header + i] = (__u8)(flow->sport + i);
        f.size = l4 + header + flow->payload;
        made_sign(&f);
        if (flow->no_checksum)
                put(check_of(&f), 2, 0);
        return f;
}

struct made_flow made_flow(const struct made_frame *f)
{
        const __u8 *ip = f->bytes + 14;
        bool is_v6 = ip[0] >> 4 == 6;
        const __u8 *t = ip + (is_v6 ? 40 : 20);
        struct made_flow flow = {.is_v6 = is_v6,
                                 .proto = ip[is_v6 ? 6 : 9],
                                 .ttl = ip[is_v6 ? 7 : 8],
                                 .src = get(ip + (is_v6 ? 20 : 12), 4),
                                 .dst = get(ip + (is_v6 ? 36 : 16), 4),
                                 .sport = (__u16)get(t, 2),
                                 .dport = (__u16)get(t + 2, 2)};
        __u32 bytes = is_v6 ? get(ip + 4, 2) : get(ip + 2, 2) - 20;
        if (flow.proto == 6) {
                flow.seq = get(t + 4, 4);
                flow.ack = get(t + 8, 4);
                flow.tcp_flags = t[13];
                flow.payload = bytes - (t[12] >> 4) * 4u;
        } else {
                flow.payload = get(t + 4, 2) - 8;
                flow.no_checksum = get(t + 6, 2) == 0;
        }
        return flow;
}

const char *made_wrong(const struct made_frame *f)
{
        const __u8 *ip = f->bytes + 14;
        bool is_v6 = get(f->bytes + 12, 2) == 0x86dd;
        __u32 l4 = is_v6 ? 54 : 34;

        if (f->size < l4 || (!is_v6 && get(f->bytes + 12, 2) != 0x0800) || ip[0] >> 4 != (is_v6 ? 6 : 4))
                return "no IP";
        if (!is_v6 && ((ip[0] & 15) != 5 || get(ip + 6, 2) & 0x3fff))
                return "options or a fragment";
        __u32 total = is_v6 ? 40 + get(ip + 4, 2) : get(ip + 2, 2), left = total - (l4 - 14);
        if (total + 14 > f->size || total < l4 - 14)
                return "IP length";
        __u8 proto = ip[is_v6 ? 6 : 9];
        const __u8 *t = f->bytes + l4;
        if (proto == 6 && (left < 20 || t[12] >> 4 < 5 || (t[12] >> 4) * 4u > left))
                return "TCP length";
        if (proto == 17 && (left < 8 || get(t + 4, 2) < 8 || get(t + 4, 2) > left))
                return "UDP length";
        if (proto != 6 && proto != 17)
                return "protocol";
        if (!is_v6 && sum_of(ip, 20, 0) != 0xffff)
                return "IP checksum";
        if (proto == 17 && get(t + 6, 2) == 0)
                return is_v6 ? "UDP checksum 0 over IPv6" : NULL;
        return l4_sum(f) == 0xffff ? NULL : "checksum";
}
