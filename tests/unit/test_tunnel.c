/* The tunnel header in user space against the SipHash paper and, where it is there, the data plane's struct.
 */
#include "base/array.h"
#include "check.h"
#include "hex.h"
#include "wire/tunnel.h"

#ifdef HAVE_PATH_ABI
#include "kinds/path/path_abi.h"
#include "kinds/path/path_siphash.h"
#endif

#include <endian.h>
#include <string.h>

static uint8_t key[DOG_TUNNEL_KEY_SIZE];

static struct dog_tunnel_header a_header(void)
{
        struct dog_tunnel_header h = {
                .subset = 3,
                .path = 1,
                .epoch = 9,
                .tunnel = 7,
                .klass = 2,
                .seq = UINT64_C(0x1122334455667788),
                .sent_ns = 1500000,
        };
        dog_tunnel_tag(&h, key, h.tag);
        return h;
}

static void a_header_is_32_octets_and_comes_back(void)
{
        uint8_t octets[DOG_TUNNEL_SIZE + 4] = {0};
        uint8_t want[24];
        struct dog_tunnel_header h = a_header();
        struct dog_bytes out = dog_bytes_of(octets, sizeof(octets));
        dog_tunnel_write(&out, &h);
        hex_read("0103010900070002112233445566778800000000"
                 "0016e360",
                 want, sizeof(want));
        OK(out.at == DOG_TUNNEL_SIZE && memcmp(octets, want, sizeof(want)) == 0, "as laid out by hand");
        struct dog_tunnel_header back;
        struct dog_bytes in = dog_bytes_in(octets, sizeof(octets));
        OK(dog_tunnel_read(&in, &back) == DOG_TUNNEL_FINE && dog_bytes_left(&in) == 4,
           "the inner packet is left");
        OK(back.seq == h.seq && back.tunnel == 7 && back.klass == 2 && back.path == 1 && back.subset == 3 &&
                   back.epoch == 9 && !back.is_control && dog_tunnel_tag_is_right(&back, key),
           "every field");
        char text[160];
        dog_tunnel_text(&back, text, sizeof(text));
        OK(strcmp(text, "tunnel 7 class 2 path 1 of {0,1} seq 1234605616436508552 sent 0.001500s epoch 9") ==
                   0,
           "%s", text);
        for (size_t size = 0; size < DOG_TUNNEL_SIZE; size++) {
                in = dog_bytes_in(octets, size);
                OK(dog_tunnel_read(&in, &back) == DOG_TUNNEL_FLAW_SHORT, "%zu octets", size);
        }
}

static void what_the_data_plane_refuses_is_refused_here(void)
{
        static const struct {
                size_t at;
                uint8_t value;
                enum dog_tunnel_flaw want;
        } row[] = {
                {0, 2, DOG_TUNNEL_FLAW_VERSION},  {1, 0, DOG_TUNNEL_FLAW_FLAGS},
                {1, 0x13, DOG_TUNNEL_FLAW_FLAGS}, {1, 0x80, DOG_TUNNEL_FLAW_FLAGS},
                {1, 0x83, DOG_TUNNEL_FINE},       {2, 2, DOG_TUNNEL_FLAW_PATH},
                {2, 4, DOG_TUNNEL_FLAW_PATH},     {2, 255, DOG_TUNNEL_FLAW_PATH},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                uint8_t octets[DOG_TUNNEL_SIZE];
                struct dog_tunnel_header h = a_header();
                struct dog_bytes out = dog_bytes_of(octets, sizeof(octets));
                dog_tunnel_write(&out, &h);
                octets[row[i].at] = row[i].value;
                struct dog_bytes in = dog_bytes_in(octets, sizeof(octets));
                enum dog_tunnel_flaw got = dog_tunnel_read(&in, &h);
                OK(got == row[i].want, "octet %zu = %u: %s: %s", row[i].at, row[i].value,
                   dog_tunnel_flaw_word(got), dog_tunnel_flaw_text(got));
        }
}

static void any_flipped_bit_breaks_the_tag(void)
{
        uint8_t octets[DOG_TUNNEL_SIZE];
        struct dog_tunnel_header h = a_header();
        struct dog_bytes out = dog_bytes_of(octets, sizeof(octets));
        dog_tunnel_write(&out, &h);
        for (size_t bit = 0; bit < sizeof(octets) * 8; bit++) {
                octets[bit / 8] ^= (uint8_t)(1U << bit % 8);
                struct dog_bytes in = dog_bytes_in(octets, sizeof(octets));
                bool is_taken =
                        dog_tunnel_read(&in, &h) == DOG_TUNNEL_FINE && dog_tunnel_tag_is_right(&h, key);
                OK(!is_taken, "bit %zu", bit);
                octets[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
}

static void the_data_plane_has_the_same_layout(void)
{
#ifdef HAVE_PATH_ABI
        struct dog_tunnel_header h = a_header();
        struct path_wire w;
        uint8_t octets[DOG_TUNNEL_SIZE];
        struct dog_bytes out = dog_bytes_of(octets, sizeof(octets));
        dog_tunnel_write(&out, &h);
        OK(sizeof(w) == DOG_TUNNEL_SIZE && PATH_WIRE_VERSION == DOG_TUNNEL_VERSION &&
                   PATH_PATHS_MAX == DOG_TUNNEL_PATHS && PATH_WIRE_SUBSET == DOG_TUNNEL_SUBSET &&
                   PATH_WIRE_CONTROL == DOG_TUNNEL_CONTROL,
           "sizes and constants");
        memcpy(&w, octets, sizeof(w));
        OK(w.version == PATH_WIRE_VERSION && w.flags == 3 && w.path == 1 && w.epoch == 9, "the first word");
        OK(be32toh(w.id) == PATH_ID(7, 2) && be64toh(w.seq) == h.seq && be64toh(w.sent_ns) == h.sent_ns,
           "the numbers");
        OK(memcmp(&w.tag, h.tag, sizeof(h.tag)) == 0, "the tag, octet by octet");
        uint64_t first;
        uint64_t k[2];
        struct dog_sip sip;
        memcpy(&first, octets, sizeof(first));
        memcpy(k, key, sizeof(k));
        path_tag_begin(&sip, le64toh(k[0]), le64toh(k[1]), w.seq, w.sent_ns);
        OK(path_tag_end(&sip, first) == w.tag, "libsodium and the data plane make the same tag");
#else
        SKIP("the path kind is not in this build");
#endif
}

int main(void)
{
        for (uint8_t i = 0; i < sizeof(key); i++)
                key[i] = i;
        return CHECK_RUN(TEST(a_header_is_32_octets_and_comes_back),
                         TEST(what_the_data_plane_refuses_is_refused_here),
                         TEST(any_flipped_bit_breaks_the_tag), TEST(the_data_plane_has_the_same_layout));
}
