#include "hands/message.h"

#include "base/array.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* What a field may hold. Bytes of the union that no row covers must be zero. */
enum message_field {
        FIELD_NAME,     /* a name */
        FIELD_NAME_OPT, /* a name or nothing */
        FIELD_DEVICE,   /* a network device; IFNAMSIZ is 16 */
        FIELD_DEVICE_OPT,
        FIELD_TUNNEL,  /* a device that has room for the x of its peer */
        FIELD_NUMBER,  /* 32 bits, low..high */
        FIELD_VERSION, /* 32 bits, 4 or 6 */
        FIELD_ADDRESS,
        FIELD_ADDRESS_OPT,
        FIELD_SIZES,
        FIELD_SETTINGS,
};

struct message_row {
        uint32_t op;
        enum message_field field;
        size_t at;
        uint32_t low, high;
        const char *text;
};

#define AT(member) offsetof(struct dog_hands_request, as.member)
#define NUMBER     FIELD_NUMBER

static const struct message_row message_rows[] = {
        {DOG_HANDS_DEVICE_MAKE, FIELD_TUNNEL, AT(device.name), 0, 0, "device"},
        {DOG_HANDS_DEVICE_MAKE, NUMBER, AT(device.mtu), 0, 65535, "MTU"},
        {DOG_HANDS_DEVICE_MAKE, NUMBER, AT(device.queues), 0, 256, "queues"},
        {DOG_HANDS_DEVICE_MAKE, FIELD_ADDRESS_OPT, AT(device.address), 0, 0, "address"},
        {DOG_HANDS_DEVICE_REMOVE, FIELD_TUNNEL, AT(device.name), 0, 0, "device"},
        {DOG_HANDS_DEVICE_MTU, FIELD_TUNNEL, AT(device.name), 0, 0, "device"},
        {DOG_HANDS_DEVICE_MTU, NUMBER, AT(device.mtu), 68, 65535, "MTU"},
        {DOG_HANDS_OBJECT_OPEN, FIELD_NAME, AT(object.object), 0, 0, "object"},
        {DOG_HANDS_OBJECT_OPEN, FIELD_NAME, AT(object.instance), 0, 0, "instance"},
        {DOG_HANDS_OBJECT_OPEN, FIELD_SIZES, AT(object.n_sizes), 0, DOG_HANDS_SIZES, "map sizes"},
        {DOG_HANDS_OBJECT_FORGET, FIELD_NAME, AT(object.instance), 0, 0, "instance"},
        {DOG_HANDS_MAP_FD, FIELD_NAME, AT(map.instance), 0, 0, "instance"},
        {DOG_HANDS_MAP_FD, FIELD_NAME, AT(map.map), 0, 0, "map"},
        {DOG_HANDS_PROGRAM_LOAD, FIELD_NAME, AT(program.object), 0, 0, "object"},
        {DOG_HANDS_PROGRAM_LOAD, FIELD_NAME, AT(program.instance), 0, 0, "instance"},
        {DOG_HANDS_PROGRAM_LOAD, FIELD_NAME, AT(program.program), 0, 0, "program"},
        {DOG_HANDS_PROGRAM_LOAD, FIELD_SETTINGS, AT(program.n_settings), 0, DOG_HANDS_SETTINGS, "constants"},
        {DOG_HANDS_PROGRAM_DROP, NUMBER, AT(program.handle), 1, UINT32_MAX, "handle"},
        {DOG_HANDS_DEVMAP_SET, FIELD_NAME, AT(devmap.instance), 0, 0, "instance"},
        {DOG_HANDS_DEVMAP_SET, FIELD_NAME, AT(devmap.map), 0, 0, "map"},
        {DOG_HANDS_DEVMAP_SET, FIELD_DEVICE_OPT, AT(devmap.device), 0, 0, "device"},
        {DOG_HANDS_DEVMAP_SET, NUMBER, AT(devmap.inner), 0, UINT32_MAX, "inner map"},
        {DOG_HANDS_DEVMAP_SET, NUMBER, AT(devmap.key), 0, UINT32_MAX, "key"},
        {DOG_HANDS_DEVMAP_SET, NUMBER, AT(devmap.handle), 0, UINT32_MAX, "handle"},
        {DOG_HANDS_XDP_ATTACH, FIELD_NAME, AT(attach.instance), 0, 0, "instance"},
        {DOG_HANDS_XDP_ATTACH, FIELD_DEVICE, AT(attach.device), 0, 0, "device"},
        {DOG_HANDS_XDP_ATTACH, NUMBER, AT(attach.handle), 1, UINT32_MAX, "handle"},
        {DOG_HANDS_XDP_ATTACH, NUMBER, AT(attach.mode), 0, DOG_HANDS_MODES - 1, "mode"},
        {DOG_HANDS_XDP_ATTACH, NUMBER, AT(attach.is_kept), 0, 1, "flag"},
        {DOG_HANDS_XDP_DETACH, FIELD_NAME, AT(attach.instance), 0, 0, "instance"},
        {DOG_HANDS_XDP_DETACH, FIELD_DEVICE, AT(attach.device), 0, 0, "device"},
        {DOG_HANDS_TC_ATTACH, FIELD_NAME, AT(tc.instance), 0, 0, "instance"},
        {DOG_HANDS_TC_ATTACH, FIELD_DEVICE, AT(tc.device), 0, 0, "device"},
        {DOG_HANDS_TC_ATTACH, NUMBER, AT(tc.handle), 1, UINT32_MAX, "handle"},
        {DOG_HANDS_TC_ATTACH, NUMBER, AT(tc.is_egress), 0, 1, "direction"},
        {DOG_HANDS_TC_ATTACH, NUMBER, AT(tc.how), 0, DOG_HANDS_TC_HOWS - 1, "way"},
        {DOG_HANDS_TC_DETACH, FIELD_NAME, AT(tc.instance), 0, 0, "instance"},
        {DOG_HANDS_TC_DETACH, FIELD_DEVICE, AT(tc.device), 0, 0, "device"},
        {DOG_HANDS_TC_DETACH, NUMBER, AT(tc.is_egress), 0, 1, "direction"},
        {DOG_HANDS_SOCKET_UDP, FIELD_ADDRESS, AT(socket.address), 0, 0, "address"},
        {DOG_HANDS_SOCKET_UDP, FIELD_DEVICE_OPT, AT(socket.device), 0, 0, "device"},
        {DOG_HANDS_SOCKET_UDP, NUMBER, AT(socket.port), 0, 65535, "port"},
        {DOG_HANDS_SOCKET_FRAMES, FIELD_DEVICE, AT(frames.device), 0, 0, "device"},
        {DOG_HANDS_SOCKET_PING, FIELD_DEVICE, AT(ping.device), 0, 0, "device"},
        {DOG_HANDS_SOCKET_PING, FIELD_VERSION, AT(ping.version), 0, 0, "IP version"},
        {DOG_HANDS_ROUTE_SET, FIELD_ADDRESS, AT(route.to), 0, 0, "destination"},
        {DOG_HANDS_ROUTE_SET, FIELD_TUNNEL, AT(route.device), 0, 0, "device"},
        {DOG_HANDS_ROUTE_SET, NUMBER, AT(route.metric), 0, UINT32_MAX, "metric"},
        {DOG_HANDS_ROUTE_SET, NUMBER, AT(route.is_removed), 0, 1, "removal flag"},
        {DOG_HANDS_SECRET_OPEN, FIELD_NAME, AT(secret.name), 0, 0, "secret"},
        {DOG_HANDS_HELPER_START, FIELD_NAME, AT(helper.name), 0, 0, "helper"},
};

const char *dog_hands_op_text(uint32_t op)
{
        static const char *const text[] = {[DOG_HANDS_NONE] = "nothing",
#define X(code, member, name) [DOG_HANDS_##code] = name,
                                           DOG_HANDS_OPS(X)
#undef X
        };
        return op < ARRAY_SIZE(text) ? text[op] : "unknown";
}

static bool message_is_name_char(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Length of the name in a field of `room` bytes; 0 when it is empty, -1 when it is no name. */
static int message_name_length(const char *field, size_t room)
{
        size_t n = strnlen(field, room);
        if (n == room)
                return -1;
        for (size_t i = 0; i < n; i++)
                if (!message_is_name_char(field[i]))
                        return -1;
        /* A leading dot would make ".", ".." and hidden pins. */
        if (n > 0 && field[0] == '.')
                return -1;
        return (int)n;
}

int dog_hands_name_set(char *field, const char *name, struct dog_err *e)
{
        size_t n = name ? strlen(name) : 0;
        if (n == 0 || n >= DOG_HANDS_NAME || message_name_length(name, n + 1) < 0)
                return dog_err_set(e, -EINVAL,
                                   "\"%.40s\" is no name: use 1 to %d of a-z 0-9 - _ . (no leading dot)",
                                   name ? name : "", DOG_HANDS_NAME - 1);
        memset(field, 0, DOG_HANDS_NAME);
        memcpy(field, name, n);
        return 0;
}

static bool message_is_zero(const uint8_t *p, size_t n)
{
        uint8_t all = 0;
        for (size_t i = 0; i < n; i++)
                all |= p[i];
        return all == 0;
}

static int message_refuse(struct dog_err *e, const struct message_row *row, const char *why)
{
        return dog_err_set(e, -EINVAL, "request %s: %s %s", dog_hands_op_text(row->op), row->text, why);
}

static int message_name_check(const struct message_row *row, const char *field, size_t longest, bool optional,
                              struct dog_err *e)
{
        int n = message_name_length(field, DOG_HANDS_NAME);
        if (n < 0)
                return message_refuse(e, row, "is no name: it must be a-z 0-9 - _ . and terminated");
        if (n == 0 && !optional)
                return message_refuse(e, row, "is missing");
        if ((size_t)n > longest)
                return message_refuse(e, row, "is too long for a network device");
        if (!message_is_zero((const uint8_t *)field + n, DOG_HANDS_NAME - (size_t)n))
                return message_refuse(e, row, "has bytes after its end");
        return 0;
}

static int message_address_check(const struct message_row *row, const struct dog_hands_address *a,
                                 bool optional, struct dog_err *e)
{
        static const uint8_t bits[] = {[0] = 0, [4] = 32, [6] = 128};
        if (a->version != 4 && a->version != 6 && a->version != 0)
                return message_refuse(e, row, "is neither IPv4 nor IPv6");
        if (a->version == 0 && !optional)
                return message_refuse(e, row, "is missing");
        if (a->prefix > bits[a->version])
                return message_refuse(e, row, "has a prefix longer than the address");
        size_t used = a->version == 6 ? 16 : a->version;
        if (!message_is_zero(a->zero, sizeof(a->zero)) || !message_is_zero(a->bytes + used, 16 - used))
                return message_refuse(e, row, "has bytes that must be zero");
        return 0;
}

static int message_sizes_check(const struct message_row *row, const struct dog_hands_open *open,
                               struct dog_err *e)
{
        if (open->n_sizes > row->high)
                return message_refuse(e, row, "are too many");
        for (uint32_t i = 0; i < open->n_sizes; i++) {
                const struct dog_hands_map_size *size = &open->size[i];
                int rc = message_name_check(row, size->map, DOG_HANDS_NAME, false, e);
                if (rc == 0)
                        rc = message_name_check(row, size->from, DOG_HANDS_NAME, true, e);
                if (rc < 0)
                        return rc;
                if (size->keep >= DOG_HANDS_KEEPS || (size->from[0] && size->keep))
                        return message_refuse(e, row, "have a flag that is none");
                if (size->from[0] && size->entries != 0)
                        return message_refuse(e, row, "give a size to a map of another instance");
        }
        return 0;
}

static int message_settings_check(const struct message_row *row, const struct dog_hands_program *program,
                                  struct dog_err *e)
{
        if (program->n_settings > row->high)
                return message_refuse(e, row, "are too many");
        for (uint32_t i = 0; i < program->n_settings; i++) {
                const struct dog_hands_setting *s = &program->setting[i];
                int rc = message_name_check(row, s->name, DOG_HANDS_NAME, false, e);
                if (rc < 0)
                        return rc;
                if (s->n_bytes == 0 || s->n_bytes > sizeof(s->bytes))
                        return message_refuse(e, row, "have one of impossible length");
                if (!message_is_zero(s->bytes + s->n_bytes, sizeof(s->bytes) - s->n_bytes))
                        return message_refuse(e, row, "have bytes after their end");
        }
        return 0;
}

/* Checks one field and reports how many bytes of the request it accounts for. */
static int message_row_check(const struct message_row *row, const struct dog_hands_request *r, size_t *covers,
                             struct dog_err *e)
{
        const char *at = (const char *)r + row->at;
        uint32_t number;
        *covers = DOG_HANDS_NAME;
        switch (row->field) {
        case FIELD_NAME:
        case FIELD_NAME_OPT:
                return message_name_check(row, at, DOG_HANDS_NAME, row->field == FIELD_NAME_OPT, e);
        case FIELD_DEVICE:
        case FIELD_DEVICE_OPT:
                return message_name_check(row, at, 15, row->field == FIELD_DEVICE_OPT, e);
        case FIELD_TUNNEL:
                return message_name_check(row, at, 14, false, e);
        case FIELD_ADDRESS:
        case FIELD_ADDRESS_OPT:
                *covers = sizeof(struct dog_hands_address);
                return message_address_check(row, (const struct dog_hands_address *)(const void *)at,
                                             row->field == FIELD_ADDRESS_OPT, e);
        case FIELD_SIZES:
                *covers = sizeof(uint32_t) + r->as.object.n_sizes * sizeof(r->as.object.size[0]);
                return message_sizes_check(row, &r->as.object, e);
        case FIELD_SETTINGS:
                *covers = sizeof(uint32_t) + r->as.program.n_settings * sizeof(r->as.program.setting[0]);
                return message_settings_check(row, &r->as.program, e);
        case FIELD_NUMBER:
        case FIELD_VERSION:
                break;
        }
        memcpy(&number, at, sizeof(number));
        *covers = sizeof(number);
        if (row->field == FIELD_VERSION)
                return number == 4 || number == 6 ? 0 : message_refuse(e, row, "is neither 4 nor 6");
        if (number < row->low || number > row->high)
                return message_refuse(e, row, "is out of range");
        return 0;
}

static int message_fields_check(const struct dog_hands_request *r, struct dog_err *e)
{
        /* A copy from which every field that was checked is wiped: what is left must be zero. */
        struct dog_hands_request rest = *r;
        for (size_t i = 0; i < ARRAY_SIZE(message_rows); i++) {
                const struct message_row *row = &message_rows[i];
                size_t covers;
                if (row->op != r->op)
                        continue;
                int rc = message_row_check(row, r, &covers, e);
                if (rc < 0)
                        return rc;
                memset((uint8_t *)&rest + row->at, 0, covers);
        }
        size_t head = offsetof(struct dog_hands_request, as);
        if (!message_is_zero((const uint8_t *)&rest + head, sizeof(rest) - head))
                return dog_err_set(e, -EINVAL, "request %s: bytes that mean nothing here are not zero",
                                   dog_hands_op_text(r->op));
        return 0;
}

int dog_hands_request_read(struct dog_hands_request *to, const void *bytes, size_t size, struct dog_err *e)
{
        if (size != sizeof(*to))
                return dog_err_set(e, -EMSGSIZE, "a request of %zu bytes, where %zu are due", size,
                                   sizeof(*to));
        memcpy(to, bytes, sizeof(*to));
        if (to->version != DOG_HANDS_VERSION)
                return dog_err_set(e, -EPROTO,
                                   "a request of version %u, we speak %u: restart both processes together",
                                   to->version, DOG_HANDS_VERSION);
        if (to->op == DOG_HANDS_NONE || to->op >= DOG_HANDS_OPS_END)
                return dog_err_set(e, -EOPNOTSUPP, "operation %u does not exist", to->op);
        return message_fields_check(to, e);
}

int dog_hands_reply_read(struct dog_hands_reply *to, const void *bytes, size_t size,
                         const struct dog_hands_request *asked, struct dog_err *e)
{
        if (size != sizeof(*to))
                return dog_err_set(e, -EMSGSIZE, "a reply of %zu bytes, where %zu are due", size,
                                   sizeof(*to));
        memcpy(to, bytes, sizeof(*to));
        if (to->version != DOG_HANDS_VERSION)
                return dog_err_set(e, -EPROTO, "a reply of version %u, we speak %u", to->version,
                                   DOG_HANDS_VERSION);
        if (to->id != asked->id || to->op != asked->op)
                return dog_err_set(e, -EBADMSG, "a reply to %s %llu, while waiting for %s %llu",
                                   dog_hands_op_text(to->op), (unsigned long long)to->id,
                                   dog_hands_op_text(asked->op), (unsigned long long)asked->id);
        to->text[sizeof(to->text) - 1] = 0;
        return 0;
}
