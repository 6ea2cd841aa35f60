#include "agent/config.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/units.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

enum { CONFIG_FILE_MOST = 64 << 10 };

enum config_type {
        CONFIG_NAME,
        CONFIG_TEXT,
        CONFIG_FRONT_LIST,
        CONFIG_PORT_LIST,
        CONFIG_DEVICE_LIST,
        CONFIG_SERVICE_LIST,
        CONFIG_TIME,
        CONFIG_COUNT
};

static const struct config_row {
        const char *key;
        enum config_type type;
        size_t at;
        int64_t least, most;
        const char *preset, *help;
} config_row[] = {
        {"name", CONFIG_NAME, offsetof(struct agent_config, name), 0, 0, NULL,
         "as the fronts know this instance; the host's name unless said"},
        {"key", CONFIG_TEXT, offsetof(struct agent_config, key), 0, 0, "/etc/sundog/agent.key",
         "file with the secret shared with the fronts: 64 hexadecimal digits, mode 600"},
        {"fronts", CONFIG_FRONT_LIST, 0, 0, AGENT_CONFIG_FRONTS, NULL,
         "addresses to report to, each with or without a port (7482); none: local answers only"},
        {"ports", CONFIG_PORT_LIST, 0, 0, AGENT_DIAG_PORTS, NULL,
         "the served TCP ports; none: every port that something listens on"},
        {"period", CONFIG_TIME, offsetof(struct agent_config, period_ns), 100 * DOG_MS, 60 * DOG_S, "1s",
         "between two readings, and between two reports"},
        {"rate", CONFIG_COUNT, offsetof(struct agent_config, rate), 2, 10000, "100",
         "most datagrams a second, to all fronts together"},
        {"conns", CONFIG_COUNT, offsetof(struct agent_config, conns), 1, 1 << 20, "65536",
         "most connections kept"},
        {"user", CONFIG_TEXT, offsetof(struct agent_config, user), 0, 0, "",
         "to run as: sundog-agent, sundog or nobody, the first that exists, unless said"},
        {"socket", CONFIG_TEXT, offsetof(struct agent_config, socket), 0, 0, AGENT_CONFIG_SOCKET,
         "where sundog-agent answers locally"},
        {"shim_devices", CONFIG_DEVICE_LIST, 0, 0, AGENT_CONFIG_DEVICES, NULL,
         "devices towards the front, for its aligned vips; none: no shim is loaded"},
        {"shim_services", CONFIG_SERVICE_LIST, 0, 0, AGENT_CONFIG_SERVICES, NULL,
         "what is served there: VIP=ADDRESS:PORT, the vip's name at the front and the socket's address"},
        {"shim_key_file", CONFIG_TEXT, offsetof(struct agent_config, shim_key), 0, 0, "",
         "file with the front's \"aligned_key_file\", mode 600"},
        {"shim_pins", CONFIG_TEXT, offsetof(struct agent_config, shim_pins), 0, 0, AGENT_CONFIG_PINS,
         "folder on a BPF file system where the shim's maps outlive the agent"},
};

void agent_config_help(FILE *to)
{
        for (size_t i = 0; i < ARRAY_SIZE(config_row); i++)
                fprintf(to, "  %-13s %s%s%s%s\n", config_row[i].key, config_row[i].help,
                        config_row[i].preset && config_row[i].preset[0] ? " (" : "",
                        config_row[i].preset ? config_row[i].preset : "",
                        config_row[i].preset && config_row[i].preset[0] ? ")" : "");
}

/* ---- values ---- */

static bool config_number(const char *text, int64_t *to)
{
        char *end;
        errno = 0;
        long long v = strtoll(text, &end, 10);
        *to = v;
        return errno == 0 && end != text && *end == 0 && text[0] != ' ' && text[0] != '+';
}

int agent_address_read(struct agent_front_address *to, const char *text, struct dog_err *e)
{
        char host[64];
        const char *port = NULL;
        size_t n = strlen(text);
        *to = (struct agent_front_address){.size = 0};
        const char *colon = strrchr(text, ':');
        if (text[0] == '[') {
                const char *close = strchr(text, ']');
                port = close && close[1] == ':' ? close + 2 : NULL;
                n = close && (port || close[1] == 0) ? (size_t)(close - text - 1) : sizeof(host);
                text++;
        } else if (colon && strchr(text, ':') == colon) {
                port = colon + 1;
                n = (size_t)(colon - text);
        }
        int64_t number = DOG_AGENT_PORT;
        bool is_good = n > 0 && n < sizeof(host) && (!port || config_number(port, &number)) && number >= 1 &&
                       number <= 65535;
        if (is_good) {
                memcpy(host, text, n);
                host[n] = 0;
                struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number)};
                struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)number)};
                if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
                        memcpy(&to->address, &v4, to->size = sizeof(v4));
                        snprintf(to->text, sizeof(to->text), "%.45s:%d", host, (int)number);
                } else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
                        memcpy(&to->address, &v6, to->size = sizeof(v6));
                        snprintf(to->text, sizeof(to->text), "[%.45s]:%d", host, (int)number);
                }
        }
        if (to->size == 0)
                return dog_err_set(
                        e, -EINVAL,
                        "\"%.60s\" is no address: write 10.0.0.1, 10.0.0.1:7482 or [fd00::1]:7482; "
                        "names are not looked up",
                        text);
        return 0;
}

static int config_front(struct agent_config *c, const char *text, struct dog_err *e)
{
        struct agent_front_address one;
        int rc = agent_address_read(&one, text, e);
        if (rc < 0)
                return rc;
        for (unsigned i = 0; i < c->fronts; i++)
                if (strcmp(c->front[i].text, one.text) == 0)
                        return dog_err_set(e, -EINVAL, "%s is listed twice", one.text);
        c->front[c->fronts++] = one;
        return 0;
}

static int config_port(struct agent_config *c, const char *text, struct dog_err *e)
{
        int64_t port;
        if (!config_number(text, &port) || port < 1 || port > 65535)
                return dog_err_set(e, -EINVAL, "\"%.60s\" is no TCP port: a number from 1 to 65535", text);
        for (unsigned i = 0; i < c->ports; i++)
                if (c->port[i] == port)
                        return dog_err_set(e, -EINVAL, "port %d is listed twice", (int)port);
        c->port[c->ports++] = (uint16_t)port;
        return 0;
}

static int config_device(struct agent_config *c, const char *text, struct dog_err *e)
{
        if (!text[0] || strlen(text) >= sizeof(c->shim_device[0]) || strchr(text, '/'))
                return dog_err_set(e, -EINVAL, "\"%.60s\" is no name of a device", text);
        for (unsigned i = 0; i < c->shim_devices; i++)
                if (strcmp(c->shim_device[i], text) == 0)
                        return dog_err_set(e, -EINVAL, "device %s is listed twice", text);
        memcpy(c->shim_device[c->shim_devices++], text, strlen(text) + 1);
        return 0;
}

static int config_service(struct agent_config *c, const char *text, struct dog_err *e)
{
        struct agent_service *s = &c->shim_service[c->shim_services];
        struct agent_front_address at;
        const char *where = strchr(text, '=');
        size_t n = where ? (size_t)(where - text) : 0;
        /* A service has no usual port: "ADDRESS:PORT" or "[ADDRESS]:PORT". */
        const char *colon = where ? strrchr(where, ':') : NULL;
        bool has_port = colon && (where[1] == '[' ? colon[-1] == ']' : strchr(where, ':') == colon);
        if (n == 0 || n >= sizeof(s->vip) || !has_port)
                return dog_err_set(e, -EINVAL,
                                   "\"%.60s\" is no service: write VIP=ADDRESS:PORT, such as "
                                   "web=10.0.0.5:80 or web=[fd00::5]:80",
                                   text);
        int rc = agent_address_read(&at, where + 1, e);
        if (rc < 0)
                return rc;
        *s = (struct agent_service){.port = 0};
        memcpy(s->vip, text, n);
        if (at.address.ss_family == AF_INET6) {
                const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&at.address;
                s->address = (struct dog_hands_address){.version = 6, .prefix = 128};
                memcpy(s->address.bytes, &six->sin6_addr, 16);
                s->port = ntohs(six->sin6_port);
        } else {
                const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&at.address;
                s->address = (struct dog_hands_address){.version = 4, .prefix = 32};
                memcpy(s->address.bytes, &four->sin_addr, 4);
                s->port = ntohs(four->sin_port);
        }
        for (unsigned i = 0; i < c->shim_services; i++)
                if (c->shim_service[i].port == s->port &&
                    memcmp(&c->shim_service[i].address, &s->address, sizeof(s->address)) == 0)
                        return dog_err_set(e, -EINVAL, "%s is listed twice", at.text);
        c->shim_services++;
        return 0;
}

/* A part of the shim's keys does nothing alone. */
static int config_shim_check(const struct agent_config *c, const char *file, struct dog_err *e)
{
        if (!c->shim_devices && !c->shim_services && !c->shim_key[0])
                return 0;
        const char *missing = !c->shim_devices    ? "shim_devices"
                              : !c->shim_services ? "shim_services"
                              : !c->shim_key[0]   ? "shim_key_file"
                                                  : NULL;
        return missing ? dog_err_set(e, -EINVAL,
                                     "%s: a shim needs shim_devices, shim_services and shim_key_file; %s is "
                                     "missing",
                                     file, missing)
                       : 0;
}

static int config_whole(const struct config_row *row, const char *text, int64_t *to, struct dog_err *e)
{
        int rc = 0;
        if (row->type == CONFIG_TIME)
                rc = dog_units_time(text, to, e);
        else if (!config_number(text, to))
                rc = dog_err_set(e, -EINVAL, "\"%.60s\" is no whole number", text);
        if (rc < 0 || (*to >= row->least && *to <= row->most))
                return rc;
        if (row->type == CONFIG_COUNT)
                return dog_err_set(e, -ERANGE, "%lld is out of range: %lld to %lld", (long long)*to,
                                   (long long)row->least, (long long)row->most);
        char least[16], most[16];
        return dog_err_set(e, -ERANGE, "\"%.60s\" is out of range: %s to %s", text,
                           dog_units_time_text(row->least, least), dog_units_time_text(row->most, most));
}

static int config_text(const struct config_row *row, const char *text, char *to, struct dog_err *e)
{
        size_t room = row->type == CONFIG_NAME ? DOG_AGENT_NAME + 1 : AGENT_CONFIG_TEXT;
        if (row->type == CONFIG_NAME && !dog_agent_name_is_good(text))
                return dog_err_set(e, -EINVAL,
                                   "\"%.60s\" is no name: 1 to %d letters, digits, '.', '-' or '_'", text,
                                   DOG_AGENT_NAME);
        if (strlen(text) >= room)
                return dog_err_set(e, -EINVAL, "longer than %zu characters", room - 1);
        memcpy(to, text, strlen(text) + 1);
        return 0;
}

static int config_set(struct agent_config *c, const struct config_row *row, const char *text,
                      struct dog_err *e)
{
        uint8_t *at = (uint8_t *)c + row->at;
        switch (row->type) {
        case CONFIG_FRONT_LIST:
                return config_front(c, text, e);
        case CONFIG_PORT_LIST:
                return config_port(c, text, e);
        case CONFIG_DEVICE_LIST:
                return config_device(c, text, e);
        case CONFIG_SERVICE_LIST:
                return config_service(c, text, e);
        case CONFIG_TIME:
        case CONFIG_COUNT:
                return config_whole(row, text, (int64_t *)(void *)at, e);
        case CONFIG_NAME:
        case CONFIG_TEXT:
        default:
                return config_text(row, text, (char *)at, e);
        }
}

/* ---- the tree ---- */

static int config_fail(const char *file, yaml_mark_t at, int rc, struct dog_err *e)
{
        return dog_err_prefix(e, rc, "%s:%zu:%zu", file, at.line + 1, at.column + 1);
}

static const struct config_row *config_find(const char *key)
{
        for (size_t i = 0; i < ARRAY_SIZE(config_row); i++)
                if (strcmp(config_row[i].key, key) == 0)
                        return &config_row[i];
        return NULL;
}

static bool config_scalar(const yaml_node_t *node, char *to, size_t room)
{
        if (!node || node->type != YAML_SCALAR_NODE || node->data.scalar.length >= room ||
            memchr(node->data.scalar.value, 0, node->data.scalar.length))
                return false;
        memcpy(to, node->data.scalar.value, node->data.scalar.length);
        to[node->data.scalar.length] = 0;
        return true;
}

static int config_value(struct agent_config *c, const struct config_row *row, const yaml_node_t *node,
                        const char *file, struct dog_err *e)
{
        char text[256];
        int rc = config_scalar(node, text, sizeof(text))
                         ? config_set(c, row, text, e)
                         : dog_err_set(e, -EINVAL, "a short text or number is expected here");
        return rc < 0 ? config_fail(file, node->start_mark, dog_err_prefix(e, rc, "%s", row->key), e) : 0;
}

static int config_list(struct agent_config *c, const struct config_row *row, yaml_document_t *doc,
                       const yaml_node_t *node, const char *file, struct dog_err *e)
{
        if (node->type != YAML_SEQUENCE_NODE)
                return config_value(c, row, node, file, e);
        yaml_node_item_t *item = node->data.sequence.items.start;
        if (node->data.sequence.items.top - item > row->most)
                return config_fail(file, node->start_mark,
                                   dog_err_set(e, -EINVAL, "%s: more than %d", row->key, (int)row->most), e);
        for (; item < node->data.sequence.items.top; item++) {
                int rc = config_value(c, row, yaml_document_get_node(doc, *item), file, e);
                if (rc < 0)
                        return rc;
        }
        return 0;
}

static int config_pair(struct agent_config *c, uint32_t *had, yaml_document_t *doc, yaml_node_pair_t *pair,
                       const char *file, struct dog_err *e)
{
        const yaml_node_t *key = yaml_document_get_node(doc, pair->key);
        const yaml_node_t *value = yaml_document_get_node(doc, pair->value);
        char name[64] = "";
        config_scalar(key, name, sizeof(name));
        const struct config_row *row = config_find(name);
        if (!row)
                return config_fail(
                        file, key->start_mark,
                        dog_err_set(e, -EINVAL,
                                    "unknown key \"%s\"; there are name, key, fronts, ports, period, "
                                    "rate, conns, user, socket, shim_devices, shim_services, "
                                    "shim_key_file and shim_pins",
                                    name),
                        e);
        uint32_t bit = 1u << (row - config_row);
        if (*had & bit)
                return config_fail(file, key->start_mark, dog_err_set(e, -EINVAL, "%s is said twice", name),
                                   e);
        *had |= bit;
        bool is_list = row->type >= CONFIG_FRONT_LIST && row->type <= CONFIG_SERVICE_LIST;
        return is_list ? config_list(c, row, doc, value, file, e) : config_value(c, row, value, file, e);
}

static int config_document(struct agent_config *c, yaml_document_t *doc, const char *file, struct dog_err *e)
{
        yaml_node_t *root = yaml_document_get_root_node(doc);
        uint32_t had = 0;
        if (!root)
                return 0;
        if (root->type != YAML_MAPPING_NODE)
                return config_fail(file, root->start_mark,
                                   dog_err_set(e, -EINVAL, "keys and values are expected, as \"period: 1s\""),
                                   e);
        for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top;
             pair++) {
                int rc = config_pair(c, &had, doc, pair, file, e);
                if (rc < 0)
                        return rc;
        }
        return 0;
}

static int config_name(struct agent_config *c, const char *file, struct dog_err *e)
{
        char host[256] = "";
        if (c->name[0])
                return 0;
        gethostname(host, sizeof(host) - 1);
        if (!dog_agent_name_is_good(host))
                return dog_err_set(e, -EINVAL,
                                   "%s: the host's name \"%.60s\" is none for an instance: say \"name\"",
                                   file, host);
        memcpy(c->name, host, strlen(host) + 1);
        return 0;
}

int agent_config_parse(struct agent_config *c, const char *text, size_t size, const char *file,
                       struct dog_err *e)
{
        yaml_parser_t parser;
        yaml_document_t doc;
        *c = (struct agent_config){.fronts = 0};
        for (size_t i = 0; i < ARRAY_SIZE(config_row); i++)
                if (config_row[i].preset)
                        config_set(c, &config_row[i], config_row[i].preset, e);
        if (!yaml_parser_initialize(&parser))
                return dog_err_set(e, -ENOMEM, "%s: no memory", file);
        yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
        int rc;
        if (!yaml_parser_load(&parser, &doc)) {
                rc = parser.error == YAML_MEMORY_ERROR ? -ENOMEM : -EINVAL;
                rc = config_fail(file, parser.problem_mark,
                                 dog_err_set(e, rc, "%s", parser.problem ? parser.problem : "not YAML"), e);
        } else {
                rc = config_document(c, &doc, file, e);
                yaml_document_delete(&doc);
        }
        yaml_parser_delete(&parser);
        if (rc == 0)
                rc = config_shim_check(c, file, e);
        return rc < 0 ? rc : config_name(c, file, e);
}

int agent_config_load(struct agent_config *c, const char *file, struct dog_err *e)
{
        char *text = malloc(CONFIG_FILE_MOST + 1);
        FILE *from = text ? fopen(file, "re") : NULL;
        if (!from) {
                int rc = text ? -errno : -ENOMEM;
                free(text);
                return dog_err_set(e, rc, "%s: cannot be read: %s", file, strerror(-rc));
        }
        size_t size = fread(text, 1, CONFIG_FILE_MOST + 1, from);
        int rc = ferror(from) ? dog_err_set(e, -EIO, "%s: cannot be read", file)
                 : size > CONFIG_FILE_MOST
                         ? dog_err_set(e, -EFBIG, "%s: longer than %d kB", file, CONFIG_FILE_MOST / 1024)
                         : agent_config_parse(c, text, size, file, e);
        fclose(from);
        free(text);
        return rc;
}
