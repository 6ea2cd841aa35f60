#include "daemon/config_impl.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/units.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
        const char *name;
        uint8_t number;
} protocols[] = {{"icmp", 1}, {"tcp", 6}, {"udp", 17}, {"gre", 47}, {"esp", 50}, {"ah", 51}, {"sctp", 132}},
  dscps[] = {{"cs0", 0},   {"cs1", 8},   {"cs2", 16},  {"cs3", 24},  {"cs4", 32},  {"cs5", 40},
             {"cs6", 48},  {"cs7", 56},  {"af11", 10}, {"af12", 12}, {"af13", 14}, {"af21", 18},
             {"af22", 20}, {"af23", 22}, {"af31", 26}, {"af32", 28}, {"af33", 30}, {"af41", 34},
             {"af42", 36}, {"af43", 38}, {"va", 44},   {"ef", 46},   {"le", 1}};

/* ---- reading ---- */

static int value_whole(const char *text, int64_t *value, struct dog_err *e)
{
        char *end = NULL;
        errno = 0;
        long long v = strtoll(text, &end, 10);
        if (end == text || *end || isspace((unsigned char)text[0]))
                return dog_err_set(e, -EINVAL, "\"%s\" is not a whole number", text);
        if (errno == ERANGE)
                return dog_err_set(e, -ERANGE, "\"%s\" is too large a number", text);
        *value = v;
        return 0;
}

static int value_number(const char *text, double *value, struct dog_err *e)
{
        char *end = NULL;
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v) || !strchr("+-.0123456789", text[0]))
                return dog_err_set(e, -EINVAL, "\"%s\" is not a number", text);
        *value = v;
        return 0;
}

static bool value_is_name(const char *text, size_t most)
{
        if (!isalnum((unsigned char)text[0]) || strlen(text) > most)
                return false;
        for (; *text; text++)
                if (!isalnum((unsigned char)*text) && !strchr("-_.", *text))
                        return false;
        return true;
}

static int value_address(const char *text, struct dog_config_address *to, struct dog_err *e)
{
        struct dog_config_address a = {0};
        struct in_addr four;
        struct in6_addr six;
        if (inet_pton(AF_INET, text, &four) == 1) {
                a.version = 4;
                memcpy(a.bytes, &four, sizeof(four));
        } else if (inet_pton(AF_INET6, text, &six) == 1 && IN6_IS_ADDR_V4MAPPED(&six)) {
                return dog_err_set(e, -EINVAL, "\"%s\" is an IPv4 address in IPv6 dress; write it as IPv4",
                                   text);
        } else if (inet_pton(AF_INET6, text, &six) == 1) {
                a.version = 6;
                memcpy(a.bytes, &six, sizeof(six));
        } else {
                return dog_err_set(e, -EINVAL, "\"%s\" is not an address such as 192.0.2.1 or 2001:db8::1%s",
                                   text, strchr(text, '/') ? "; leave the prefix length out" : "");
        }
        *to = a;
        return 0;
}

/* http://192.0.2.1:9100/metrics or http://[2001:db8::1]:9100/metrics: what needs neither names nor TLS. */
static int value_url(const char *text, struct dog_err *e)
{
        static const char http[] = "http://";
        char host[INET6_ADDRSTRLEN];
        const char *at = text + sizeof(http) - 1;
        if (strncmp(text, http, sizeof(http) - 1) != 0)
                return dog_err_set(e, -EINVAL, "\"%s\" is not a URL that begins with http://", text);
        bool is_six = *at == '[';
        size_t length = is_six ? strcspn(++at, "]") : strcspn(at, ":/");
        struct dog_config_address a = {0};
        snprintf(host, sizeof(host), "%.*s", (int)length, at);
        at += length;
        if (length >= sizeof(host) || value_address(host, &a, NULL) < 0 || (is_six && *at++ != ']') ||
            a.version != (is_six ? 6 : 4))
                return dog_err_set(e, -EINVAL,
                                   "\"%s\": the host must be an address: http://192.0.2.1:9100/metrics or "
                                   "http://[2001:db8::1]:9100/metrics",
                                   text);
        char *end = NULL;
        unsigned long port = *at == ':' && isdigit((unsigned char)at[1]) ? strtoul(at + 1, &end, 10) : 0;
        if (port < 1 || port > 65535 || *end != '/' || strpbrk(end, " \""))
                return dog_err_set(e, -EINVAL, "\"%s\" lacks a port or a path: http://192.0.2.1:9100/metrics",
                                   text);
        return 0;
}

/* What libcurl is given. It looks again; here it is for the sentence. */
static int value_link(const char *text, struct dog_err *e)
{
        bool is_tls = strncasecmp(text, "https://", 8) == 0;
        if (!is_tls && strncasecmp(text, "http://", 7) != 0)
                return dog_err_set(e, -EINVAL, "\"%s\" is not a URL that begins with https:// or http://",
                                   text);
        const char *host = text + (is_tls ? 8 : 7);
        size_t length = strcspn(host, "/?#");
        if (length == 0 || strpbrk(text, " \"<>\\^`{|}"))
                return dog_err_set(e, -EINVAL, "\"%s\" has no host, or a character that no URL has", text);
        if (memchr(host, '@', length))
                return dog_err_set(
                        e, -EINVAL,
                        "the URL of %.60s has a password in it, which everybody who may read the "
                        "configuration would see; use one that needs none, or fetch it into a \"file\"",
                        (const char *)memchr(host, '@', length) + 1);
        return 0;
}

static int value_text(const struct config_key *key, const char *text, const char **at,
                      struct dog_config_pool *pool, struct dog_err *e)
{
        if (key->type == CONFIG_NAME && !value_is_name(text, 31))
                return dog_err_set(e, -EINVAL,
                                   "\"%s\" is not a name: use up to 31 letters, digits, '-', '_' and '.', a "
                                   "letter or digit first",
                                   text);
        if (key->type == CONFIG_DEVICE && !value_is_name(text, 15))
                return dog_err_set(e, -EINVAL,
                                   "\"%s\" is not the name of a network device: it has 1 to 15 letters, "
                                   "digits, '-', '_' and '.'",
                                   text);
        if (key->type == CONFIG_FILE && (text[0] != '/' || text[strlen(text) - 1] == '/'))
                return dog_err_set(e, -EINVAL, "\"%s\" is not an absolute file name: begin it with '/'",
                                   text);
        int rc = key->type == CONFIG_URL    ? value_url(text, e)
                 : key->type == CONFIG_LINK ? value_link(text, e)
                                            : 0;
        if (rc < 0)
                return rc;
        char *copy = dog_config_alloc(pool, strlen(text) + 1);
        if (!copy)
                return dog_err_set(e, -ENOMEM, "out of memory");
        memcpy(copy, text, strlen(text));
        *at = copy;
        return 0;
}

static int value_ipv4(const char *text, uint32_t *address, struct dog_err *e)
{
        struct in_addr a;
        if (strchr(text, ':'))
                return dog_err_set(e, -EINVAL, "\"%s\" is an IPv6 address; this version knows IPv4 only",
                                   text);
        if (inet_pton(AF_INET, text, &a) != 1)
                return dog_err_set(e, -EINVAL, "\"%s\" is not an IPv4 address such as 192.0.2.1", text);
        *address = ntohl(a.s_addr);
        return 0;
}

static uint32_t value_mask(uint8_t bits)
{
        return bits ? UINT32_MAX << (32 - bits) : 0;
}

/* 10.0.0.0/8. A bare address is itself, unless a length must be there. */
static int value_prefix(const char *text, bool is_net, struct dog_config_prefix *p, struct dog_err *e)
{
        char address[CONFIG_TEXT_MAX + 1];
        snprintf(address, sizeof(address), "%s", text);
        char *slash = strchr(address, '/');
        int64_t bits = 32;
        if (slash)
                *slash = 0;
        int rc = value_ipv4(address, &p->address, e);
        if (rc < 0)
                return rc;
        if (!slash && is_net)
                return dog_err_set(e, -EINVAL, "\"%s\" has no prefix length: write for example %s/30", text,
                                   text);
        if (slash && (value_whole(slash + 1, &bits, NULL) < 0 || bits < 0 || bits > 32))
                return dog_err_set(e, -EINVAL, "\"%s\": a prefix length is a number from 0 to 32", text);
        p->bits = (uint8_t)bits;
        if (!is_net && (p->address & ~value_mask(p->bits)) != 0) {
                struct in_addr a = {.s_addr = htonl(p->address & value_mask(p->bits))};
                char right[INET_ADDRSTRLEN];
                return dog_err_set(e, -EINVAL,
                                   "\"%s\" has bits set behind its prefix length; did you mean %s/%d?", text,
                                   inet_ntop(AF_INET, &a, right, sizeof(right)), p->bits);
        }
        return 0;
}

static int value_ports(const char *text, struct dog_config_range *range, struct dog_err *e)
{
        char first[CONFIG_TEXT_MAX + 1];
        snprintf(first, sizeof(first), "%s", text);
        char *dash = strchr(first, '-');
        int64_t low = 0;
        int64_t high = 0;
        if (dash)
                *dash = 0;
        if (value_whole(first, &low, NULL) < 0 || value_whole(dash ? dash + 1 : first, &high, NULL) < 0 ||
            low < 1 || high > 65535 || low > high)
                return dog_err_set(e, -EINVAL, "\"%s\" is not a port or a range of ports such as 10000-20000",
                                   text);
        *range = (struct dog_config_range){.first = (uint16_t)low, .last = (uint16_t)high};
        return 0;
}

static int value_dscp(const char *text, uint8_t *dscp, struct dog_err *e)
{
        for (size_t i = 0; i < ARRAY_SIZE(dscps); i++)
                if (strcasecmp(text, dscps[i].name) == 0) {
                        *dscp = dscps[i].number;
                        return 0;
                }
        int64_t v = 0;
        if (value_whole(text, &v, NULL) < 0 || v < 0 || v > 63)
                return dog_err_set(
                        e, -EINVAL,
                        "\"%s\" is not a DSCP: write ef, va, le, af11 to af43, cs0 to cs7 or 0 to 63", text);
        *dscp = (uint8_t)v;
        return 0;
}

static int value_protocol(const char *text, int64_t *protocol, struct dog_err *e)
{
        for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
                if (strcasecmp(text, protocols[i].name) == 0) {
                        *protocol = protocols[i].number;
                        return 0;
                }
        int64_t v = 0;
        if (value_whole(text, &v, NULL) < 0 || v < 1 || v > 255)
                return dog_err_set(
                        e, -EINVAL,
                        "\"%s\" is not an IP protocol: write tcp, udp, icmp, sctp, gre, esp, ah, any or "
                        "a number from 1 to 255",
                        text);
        *protocol = v;
        return 0;
}

/* NAME or NAME:PORT. */
static int value_seat(const char *text, struct dog_config_seat *seat, struct dog_err *e)
{
        char name[CONFIG_TEXT_MAX + 1];
        snprintf(name, sizeof(name), "%s", text);
        char *colon = strchr(name, ':');
        int64_t port = 0;
        if (colon)
                *colon = 0;
        if (!value_is_name(name, sizeof(seat->name) - 1) ||
            (colon && (value_whole(colon + 1, &port, NULL) < 0 || port < 1 || port > 65535)))
                return dog_err_set(e, -EINVAL, "\"%s\" is not an instance: write its name, or NAME:PORT",
                                   text);
        *seat = (struct dog_config_seat){.port = (uint16_t)port};
        memcpy(seat->name, name, strlen(name));
        return 0;
}

static int value_word_of_list(enum config_type type, const char *text, struct dog_config_word *word,
                              struct dog_err *e)
{
        size_t most = type == CONFIG_DEVICES ? 15 : sizeof(word->text) - 1;
        if (!value_is_name(text, most))
                return dog_err_set(
                        e, -EINVAL, "\"%s\" is not %s: it has 1 to %zu letters, digits, '-', '_' and '.'",
                        text, type == CONFIG_DEVICES ? "the name of a network device" : "a name", most);
        *word = (struct dog_config_word){0};
        memcpy(word->text, text, strlen(text));
        return 0;
}

static int value_choice(const struct config_key *key, const char *text, int64_t *at, struct dog_err *e)
{
        char known[128] = "";
        for (int64_t i = 0; key->choice[i]; i++) {
                if (strcmp(text, key->choice[i]) == 0) {
                        *at = i;
                        return 0;
                }
                snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "",
                         key->choice[i]);
        }
        return dog_err_set(e, -EINVAL, "\"%s\" is none of %s", text, known);
}

union any_value {
        int64_t i;
        uint64_t u;
        double d;
};

static int value_any(enum config_type type, const char *text, union any_value *v, struct dog_err *e)
{
        if (type == CONFIG_TIME)
                return dog_units_time(text, &v->i, e);
        if (type == CONFIG_SHARE)
                return dog_units_share(text, &v->d, e);
        if (type == CONFIG_SIZE)
                return dog_units_size(text, &v->u, e);
        if (type == CONFIG_RATE)
                return dog_units_rate(text, &v->d, e);
        if (type == CONFIG_NUMBER)
                return value_number(text, &v->d, e);
        return value_whole(text, &v->i, e);
}

/* -1, 0, 1. The sizes of the table are small enough for a double to tell them apart. */
static int value_compare(enum config_type type, const union any_value *a, const union any_value *b)
{
        double x = type == CONFIG_TIME || type == CONFIG_INTEGER ? (double)a->i
                   : type == CONFIG_SIZE                         ? (double)a->u
                                                                 : a->d;
        double y = type == CONFIG_TIME || type == CONFIG_INTEGER ? (double)b->i
                   : type == CONFIG_SIZE                         ? (double)b->u
                                                                 : b->d;
        return (x > y) - (x < y);
}

static int value_quantity(const struct config_key *key, const char *text, void *at, struct dog_err *e)
{
        union any_value v = {0};
        union any_value limit = {0};
        int rc = value_any(key->type, text, &v, e);
        if (rc < 0) {
                size_t used = e ? strlen(e->text) : 0;
                if (e && key->word && rc == -EINVAL)
                        snprintf(e->text + used, sizeof(e->text) - used, "; or write %s", key->word);
                return rc;
        }
        if (key->min && value_any(key->type, key->min, &limit, NULL) == 0 &&
            value_compare(key->type, &v, &limit) < 0)
                return dog_err_set(e, -ERANGE, "\"%s\" is too small: the least is %s", text, key->min);
        if (key->max && value_any(key->type, key->max, &limit, NULL) == 0 &&
            value_compare(key->type, &v, &limit) > 0)
                return dog_err_set(e, -ERANGE, "\"%s\" is too large: the most is %s", text, key->max);
        memcpy(at, &v, sizeof(v));
        return 0;
}

/* What a word of the table stands for, in the type of the field. */
static void value_word(const struct config_key *key, void *at)
{
        int64_t i = key->word_value;
        double d = key->word_value;
        uint32_t address = (uint32_t)key->word_value;
        if (key->type == CONFIG_IPV4)
                memcpy(at, &address, sizeof(address));
        else if (key->type == CONFIG_ADDRESS)
                memset(at, 0, sizeof(struct dog_config_address));
        else if (key->type == CONFIG_SHARE || key->type == CONFIG_RATE || key->type == CONFIG_NUMBER)
                memcpy(at, &d, sizeof(d));
        else
                memcpy(at, &i, sizeof(i));
}

int dog_config_value_read(const struct config_key *key, const char *text, void *at,
                          struct dog_config_pool *pool, struct dog_err *e)
{
        if (key->word && strcmp(text, key->word) == 0) {
                value_word(key, at);
                return 0;
        }
        switch (key->type) {
        case CONFIG_NAME:
        case CONFIG_DEVICE:
        case CONFIG_FILE:
        case CONFIG_URL:
        case CONFIG_TEXT:
        case CONFIG_LINK:
                return value_text(key, text, at, pool, e);
        case CONFIG_TIME:
        case CONFIG_SHARE:
        case CONFIG_SIZE:
        case CONFIG_RATE:
        case CONFIG_NUMBER:
        case CONFIG_INTEGER:
                return value_quantity(key, text, at, e);
        case CONFIG_CHOICE:
                return value_choice(key, text, at, e);
        case CONFIG_PROTOCOL:
                return value_protocol(text, at, e);
        case CONFIG_IPV4:
                return value_ipv4(text, at, e);
        case CONFIG_NET:
                return value_prefix(text, true, at, e);
        case CONFIG_ADDRESS:
                return value_address(text, at, e);
        case CONFIG_PREFIXES:
        case CONFIG_PORTS:
        case CONFIG_DSCPS:
        case CONFIG_WORDS:
        case CONFIG_DEVICES:
        case CONFIG_SEATS:
        case CONFIG_SECTION:
        case CONFIG_LIST:
                break;
        }
        return dog_err_set(e, -EINVAL, "this is not a single value");
}

size_t dog_config_entry_size(enum config_type type)
{
        return type == CONFIG_PREFIXES                          ? sizeof(struct dog_config_prefix)
               : type == CONFIG_PORTS                           ? sizeof(struct dog_config_range)
               : type == CONFIG_DSCPS                           ? sizeof(uint8_t)
               : type == CONFIG_SEATS                           ? sizeof(struct dog_config_seat)
               : type == CONFIG_WORDS || type == CONFIG_DEVICES ? sizeof(struct dog_config_word)
                                                                : 0;
}

int dog_config_entry_read(const struct config_key *key, const char *text, void *at, struct dog_err *e)
{
        if (key->type == CONFIG_PREFIXES)
                return value_prefix(text, false, at, e);
        if (key->type == CONFIG_PORTS)
                return value_ports(text, at, e);
        if (key->type == CONFIG_SEATS)
                return value_seat(text, at, e);
        if (key->type == CONFIG_WORDS || key->type == CONFIG_DEVICES)
                return value_word_of_list(key->type, text, at, e);
        return value_dscp(text, at, e);
}

/* ---- writing ---- */

/* The shortest decimal that reads back as the same number. */
static void write_double(double v, const char *unit, FILE *to)
{
        char text[40];
        for (int digits = 6; digits <= 17; digits++) {
                snprintf(text, sizeof(text), "%.*g", digits, v);
                if (strtod(text, NULL) == v)
                        break;
        }
        fprintf(to, "%s%s", text, unit);
}

/* The largest unit in which the number is whole. */
static void write_time(int64_t ns, FILE *to)
{
        static const struct {
                const char *name;
                int64_t ns;
        } unit[] = {{"d", 86400 * DOG_S},
                    {"h", 3600 * DOG_S},
                    {"min", 60 * DOG_S},
                    {"s", DOG_S},
                    {"ms", DOG_MS},
                    {"us", DOG_US},
                    {"ns", 1}};
        size_t i = 0;
        if (ns == 0)
                i = 3;
        else
                while (ns % unit[i].ns)
                        i++;
        fprintf(to, "%" PRId64 "%s", ns / unit[i].ns, unit[i].name);
}

static void write_size(uint64_t bytes, FILE *to)
{
        static const struct {
                const char *name;
                uint64_t bytes;
        } unit[] = {{"TB", 1000000000000U}, {"GB", 1000000000}, {"MB", 1000000}, {"kB", 1000}, {"B", 1}};
        size_t i = 0;
        while (bytes % unit[i].bytes)
                i++;
        fprintf(to, "%" PRIu64 "%s", bytes / unit[i].bytes, unit[i].name);
}

static void write_address(uint32_t address, FILE *to)
{
        fprintf(to, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

/* In quotes, because YAML takes a colon at the end for a mapping. */
static void write_either(const struct dog_config_address *a, FILE *to)
{
        char text[INET6_ADDRSTRLEN];
        fprintf(to, "\"%s\"", inet_ntop(a->version == 6 ? AF_INET6 : AF_INET, a->bytes, text, sizeof(text)));
}

static void write_quoted(const char *text, FILE *to)
{
        putc('"', to);
        for (; *text; text++) {
                if (*text == '"' || *text == '\\')
                        putc('\\', to);
                putc(*text, to);
        }
        putc('"', to);
}

static void write_dscp(uint8_t dscp, FILE *to)
{
        for (size_t i = 0; i < ARRAY_SIZE(dscps); i++)
                if (dscps[i].number == dscp) {
                        fputs(dscps[i].name, to);
                        return;
                }
        fprintf(to, "%u", dscp);
}

static void write_protocol(int64_t protocol, FILE *to)
{
        for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
                if (protocols[i].number == protocol) {
                        fputs(protocols[i].name, to);
                        return;
                }
        fprintf(to, "%" PRId64, protocol);
}

static bool value_is_word(const struct config_key *key, const void *at)
{
        uint8_t word[sizeof(struct dog_config_address)] = {0};
        size_t size = key->type == CONFIG_IPV4      ? sizeof(uint32_t)
                      : key->type == CONFIG_ADDRESS ? sizeof(struct dog_config_address)
                                                    : sizeof(int64_t);
        value_word(key, word);
        return memcmp(word, at, size) == 0;
}

void dog_config_value_write(const struct config_key *key, const void *at, FILE *to)
{
        if (key->word && value_is_word(key, at)) {
                fputs(key->word, to);
                return;
        }
        union {
                union any_value any;
                uint32_t address;
                struct dog_config_prefix prefix;
                struct dog_config_range range;
                const char *text;
                uint8_t dscp;
                struct dog_config_address either;
                struct dog_config_word word;
                struct dog_config_seat seat;
        } v = {0};
        size_t entry = dog_config_entry_size(key->type);
        bool is_text = key->type <= CONFIG_FILE || key->type == CONFIG_URL;
        size_t size = entry                         ? entry
                      : key->type == CONFIG_IPV4    ? sizeof(v.address)
                      : key->type == CONFIG_NET     ? sizeof(v.prefix)
                      : key->type == CONFIG_ADDRESS ? sizeof(v.either)
                      : is_text                     ? sizeof(v.text)
                                                    : sizeof(v.any);
        memcpy(&v, at, size);
        switch (key->type) {
        case CONFIG_NAME:
        case CONFIG_DEVICE:
                fputs(v.text, to);
                return;
        case CONFIG_TEXT:
        case CONFIG_LINK:
        case CONFIG_FILE:
        case CONFIG_URL:
                write_quoted(v.text, to);
                return;
        case CONFIG_TIME:
                write_time(v.any.i, to);
                return;
        case CONFIG_SIZE:
                write_size(v.any.u, to);
                return;
        case CONFIG_RATE:
                write_double(v.any.d, "bit/s", to);
                return;
        case CONFIG_SHARE:
        case CONFIG_NUMBER:
                write_double(v.any.d, "", to);
                return;
        case CONFIG_INTEGER:
                fprintf(to, "%" PRId64, v.any.i);
                return;
        case CONFIG_CHOICE:
                fputs(key->choice[v.any.i], to);
                return;
        case CONFIG_PROTOCOL:
                write_protocol(v.any.i, to);
                return;
        case CONFIG_IPV4:
                write_address(v.address, to);
                return;
        case CONFIG_NET:
        case CONFIG_PREFIXES:
                write_address(v.prefix.address, to);
                fprintf(to, "/%u", v.prefix.bits);
                return;
        case CONFIG_PORTS:
                fprintf(to, v.range.first == v.range.last ? "%u" : "%u-%u", v.range.first, v.range.last);
                return;
        case CONFIG_DSCPS:
                write_dscp(v.dscp, to);
                return;
        case CONFIG_ADDRESS:
                write_either(&v.either, to);
                return;
        case CONFIG_WORDS:
        case CONFIG_DEVICES:
                fputs(v.word.text, to);
                return;
        case CONFIG_SEATS:
                fputs(v.seat.name, to);
                if (v.seat.port)
                        fprintf(to, ":%u", v.seat.port);
                return;
        case CONFIG_SECTION:
        case CONFIG_LIST:
                return;
        }
}
