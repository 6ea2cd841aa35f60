/* The configuration: P2 (profiles that the operator defines, stored and used), O16 (control per type of
 * traffic). */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "check.h"
#include "core/policy.h"
#include "daemon/config.h"
#include "daemon/config_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A configuration that is right, in pieces that a test can replace. */
#define SITE     "site: a\n"
#define PROFILES "profiles:\n  - {name: voice, latency: 80ms, loss: 0.5%}\n"
#define FIBER    "{name: fiber, device: eth0, local: 192.0.2.1, remote: 198.51.100.1}"
#define LTE      "{name: lte, device: wwan0, local: 10.0.0.2, remote: 198.51.100.1}"
#define KEY      "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define TUNNEL   "name: t, peer: b, address: 10.99.0.1/30, key_file: /k"
#define TUNNELS  "tunnels:\n  - {" TUNNEL ", paths: [" FIBER ", " LTE "]}\n"
#define CLASSES  "classes:\n  - {name: all, profile: voice}\n"
#define GOOD     SITE PROFILES TUNNELS CLASSES

static struct dog_config *parsed(const char *text)
{
        struct dog_config *c = NULL;
        struct dog_err e = {0};
        int rc = dog_config_parse(text, strlen(text), "x.yaml", &c, &e);
        NEED(rc == 0 && c, "%s", e.text);
        return c;
}

static void what_is_written_is_what_is_meant(void) /* P2 */
{
        struct dog_config *c = parsed(
                "site: office\n"
                "user: dog\n"
                "store: {path: /srv/x.db, size: 50MB}\n"
                "api: {socket: /run/x.sock}\n"
                "policy: {margin: 0.5, hold: 3s, mirror_budget: 10%, horizon_far: 1min, moves_per_step: 4}\n"
                "profiles:\n"
                "  - name: voice\n"
                "    latency: 80ms\n"
                "    latency_factor: 2.5\n"
                "    jitter: 15ms\n"
                "    loss: 0.5%\n"
                "    rate: 100kbit/s\n"
                "    response: 1s\n"
                "    weight: {loss: 4, response: 0}\n"
                "    priority: 7\n"
                "    breach_price: 10\n"
                "tunnels:\n"
                "  - name: dc\n"
                "    peer: dc\n"
                "    device: sd3\n"
                "    address: 10.99.0.1/30\n"
                "    mtu: 1400\n"
                "    key_file: /etc/sundog/a key\n"
                "    udp_port: 4000\n"
                "    stamp_port: 4001\n"
                "    stamp_interval: 500ms\n"
                "    paths:\n"
                "      - {name: fiber, device: eth0, local: 192.0.2.1, remote: 198.51.100.1}\n"
                "      - {name: lte, id: 3, device: wwan0, local: 10.0.0.2, remote: learn,\n"
                "         price_per_gb: 2.5, role: backup}\n"
                "classes:\n"
                "  - name: calls\n"
                "    profile: voice\n"
                "    tunnel: dc\n"
                "    match: {prefix: [10.1.0.0/16, 10.2.0.1], protocol: udp, ports: [5060, 10000-20000], "
                "dscp: [ef, 10]}\n"
                "    mirror: always\n"
                "    mirror_budget: 100%\n"
                "  - {name: rest, id: 9, profile: voice}\n");
        OK(!strcmp(c->site, "office") && !strcmp(c->user, "dog"), "names");
        OK(!strcmp(c->store.path, "/srv/x.db") && c->store.size_bytes == 50000000, "store");
        OK(!strcmp(c->api.socket, "/run/x.sock"), "api");
        OK(NEAR(c->policy.margin, 0.5, 1e-12) && c->policy.hold_ns == 3 * DOG_S &&
                   NEAR(c->policy.mirror_budget, 0.1, 1e-12),
           "policy");
        OK(c->policy.horizon_near_ns == DOG_S && c->policy.horizon_far_ns == 60 * DOG_S &&
                   c->policy.moves_per_step == 4,
           "policy");
        NEED(c->profiles == 1 && c->tunnels == 1 && c->classes == 2, "lists");
        const struct dog_config_profile *p = c->profile;
        OK(p->latency_ns == 80 * DOG_MS && NEAR(p->latency_factor, 2.5, 1e-12) && p->jitter_ns == 15 * DOG_MS,
           "promise");
        OK(NEAR(p->loss_share, 0.005, 1e-12) && NEAR(p->rate_bps, 1e5, 1e-6) && p->response_ns == DOG_S,
           "promise");
        OK(NEAR(p->weight.loss, 4, 1e-12) && NEAR(p->weight.latency, 1, 1e-12) &&
                   NEAR(p->weight.response, 0, 1e-12),
           "weights");
        OK(p->priority == 7 && NEAR(p->breach_price, 10, 1e-12) && p->where.line == 7 && p->where.column == 5,
           "price and place");
        const struct dog_config_tunnel *t = c->tunnel;
        OK(t->id == 1 && !strcmp(t->device, "sd3") && t->address.address == 0x0a630001 &&
                   t->address.bits == 30,
           "tunnel");
        OK(t->mtu == 1400 && !strcmp(t->key_file, "/etc/sundog/a key") && t->udp_port == 4000 &&
                   t->stamp_port == 4001,
           "tunnel");
        OK(t->stamp_interval_ns == 500 * DOG_MS, "interval");
        NEED(t->paths == 2, "paths");
        OK(t->path[0].id == 0 && t->path[0].role == DOG_CONFIG_PRIMARY, "fiber");
        OK(t->path[1].id == 3 && t->path[1].remote == 0, "lte");
        OK(t->path[1].role == DOG_CONFIG_BACKUP, "lte");
        const struct dog_config_class *k = c->class;
        OK(k[0].id == 1 && k[0].promise == p && k[0].mirror == DOG_CONFIG_MIRROR_ALWAYS &&
                   NEAR(k[0].mirror_budget, 1, 1e-12),
           "class");
        NEED(k[0].match.prefixes == 2 && k[0].match.ports == 2 && k[0].match.dscps == 2, "match");
        OK(k[0].match.prefix[0].address == 0x0a010000 && k[0].match.prefix[0].bits == 16 &&
                   k[0].match.prefix[1].bits == 32,
           "prefixes");
        OK(k[0].match.protocol == 17 && k[0].match.port[0].last == 5060 && k[0].match.port[1].first == 10000,
           "ports");
        OK(k[0].match.dscp[0] == 46 && k[0].match.dscp[1] == 10, "dscp");
        OK(k[1].id == 9 && k[1].mirror == DOG_CONFIG_MIRROR_AUTO && k[1].mirror_budget < 0 &&
                   k[1].tunnel == NULL,
           "defaults");
        dog_config_free(c);
        dog_config_free(NULL);
}

#define RADIO(text)                                                                                          \
        SITE PROFILES "tunnels:\n  - {" TUNNEL                                                               \
                      ", paths: [{name: lte, device: wwan0, local: 10.0.0.2, remote: 198.51.100.1,\n"        \
                      "     radio: {" text "}}]}\n" CLASSES

/* F3: each path names who tells of its signal. */
static void a_radio_is_what_was_written(void)
{
        struct dog_config *c = parsed(GOOD);
        const struct dog_config_radio *r = &c->tunnel->path[1].radio;
        OK(r->source == DOG_CONFIG_RADIO_NONE && r->interval_ns == DOG_S && r->stale_ns == 5 * DOG_S, "none");
        dog_config_free(c);
        c = parsed(RADIO("source: modem, modem: 350000000000001, interval: 2s"));
        r = &c->tunnel->path[0].radio;
        OK(r->source == DOG_CONFIG_RADIO_MODEM && !strcmp(r->modem, "350000000000001") &&
                   !strcmp(r->bus, "/run/dbus/system_bus_socket") && r->interval_ns == 2 * DOG_S && !r->file,
           "modem");
        dog_config_free(c);
        c = parsed(RADIO("source: dish, url: 'http://192.168.1.2:8080/status', stale_after: 10s"));
        r = &c->tunnel->path[0].radio;
        OK(r->source == DOG_CONFIG_RADIO_DISH && !strcmp(r->url, "http://192.168.1.2:8080/status") &&
                   r->stale_ns == 10 * DOG_S,
           "dish");
        dog_config_free(c);
        c = parsed(RADIO("source: file, file: /run/lte.radio"));
        OK(!strcmp(c->tunnel->path[0].radio.file, "/run/lte.radio"), "file");
        dog_config_free(c);
}

static void bad_input_gets_one_sentence_with_its_place(void)
{
        static const struct {
                const char *text, *say;
        } row[] = {
                /* keys */
                {SITE "polcy: {hold: 2s}\n",
                 "x.yaml:2:1: unknown key \"polcy\" in the configuration; did you mean \"policy\"?"},
                {SITE "profiles:\n  - name: v\n    latncy: 80ms\n",
                 "x.yaml:4:5: unknown key \"latncy\" in a profile; did you mean \"latency\"?"},
                {SITE "policy: {ohld: 2s}\n", "did you mean \"hold\"?"},
                {SITE "policy: {loss: 1%}\n", "unknown key \"loss\" in policy; it belongs to"},
                {SITE "store: {zzzzzzzz: 1}\n", "it may have path, size"},
                {SITE "site: b\n", "x.yaml:2:1: \"site\" is given twice in the configuration"},
                {SITE "? [a, b]\n: c\n", "a key in the configuration must be a word, not a list"},
                {"user: x\n", "x.yaml: \"site\" is missing"},
                {"", "\"site\" is missing"},
                {"# nothing\n", "\"site\" is missing"},
                /* radios */
                {RADIO("source: modm"), "x.yaml:6:22: \"source\" in a path's radio: "},
                {RADIO("source: file"), "path \"lte\": \"source: file\" needs a \"file\""},
                {RADIO("source: dish"), "a dish is read from a \"url\" or from a \"file\"; give one of them"},
                {RADIO("source: dish, file: /a, url: 'http://10.0.0.1:1/a'"), "give one of them"},
                {RADIO("source: modem, file: /a"), "has no \"file\"; that is for dish and file"},
                {RADIO("source: file, file: /a, url: 'http://10.0.0.1:1/a'"),
                 "has no \"url\"; that is for dish"},
                {RADIO("file: /a"), "a radio with \"source: none\" has no \"file\""},
                {RADIO("source: file, file: /a, modem: 3"), "has no \"modem\"; say \"source: modem\""},
                {RADIO("source: file, file: a"), "is not an absolute file name"},
                {RADIO("source: dish, url: 'http://dishy/a'"), "the host must be an address"},
                {RADIO("source: modem, interval: 10ms"), "interval"},
                {RADIO("source: modem, interval: 4s"), "must be at least twice its \"interval\""},
                {RADIO("sorce: modem"), "did you mean \"source\"?"},
                /* shapes */
                {"- a\n", "x.yaml:1:1: the configuration must be a mapping"},
                {SITE "policy: fast\n",
                 "x.yaml:2:9: policy must be a mapping (\"key: value\"), not a single value"},
                {SITE "tunnels: {name: t}\n", "\"tunnels\" in the configuration must be a list of mappings"},
                {SITE "profiles: [voice]\n", "x.yaml:2:12: a profile must be a mapping"},
                {SITE "user: [a]\n", "\"user\" must be a single value, not a list"},
                {SITE "user:\n", "\"user\" has no value"},
                {SITE "classes:\n", "must be a list of mappings"},
                /* YAML itself */
                {SITE "a: b: c\n", "x.yaml:2:5: not valid YAML: "},
                {SITE "policy: {hold: 2s\n", "not valid YAML"},
                {SITE "\tuser: x\n", "not valid YAML"},
                {"site: \xff\n", "not valid YAML: byte 6"},
                {SITE "---\nuser: x\n", "x.yaml:3:1: a second document begins here"},
                {"site: \"a\\0b\"\n", "control character"},
                {"site: \"a\\nb\"\n", "control character"},
                {SITE "user: *nobody\n", "not valid YAML: found undefined alias"},
                /* values */
                {SITE "policy: {hold: 2}\n", "x.yaml:2:16: \"hold\" in policy: \"2\" has no unit: a time "
                                             "needs one of ns, us, ms, s, min, h, d"},
                {SITE "policy: {hold: 2MB}\n", "\"MB\" is not a unit of time"},
                {SITE "policy: {hold: 1ms}\n", "\"1ms\" is too small: the least is 100ms"},
                {SITE "policy: {hold: 2h}\n", "\"2h\" is too large: the most is 1h"},
                {SITE "policy: {hold: -2s}\n", "cannot be negative"},
                {SITE "policy: {mirror_budget: 150%}\n", "more than 100%"},
                {SITE "policy: {copies: 2.5}\n", "is not a whole number"},
                {SITE "policy: {copies: 99999999999999999999}\n", "is too large a number"},
                {SITE "policy: {margin: nan}\n", "is not a number"},
                {SITE "policy: {margin: 1e999}\n", "is not a number"},
                {SITE "policy: {moves_per_step: many}\n", "is not a whole number; or write none"},
                {SITE "policy: {horizon_far: 2s}\n", "must grow in this order"},
                {SITE "store: {path: x.db}\n", "is not an absolute file name"},
                {SITE "store: {size: 5}\n", "has no unit"},
                {"site: a b\n", "is not a name"},
                {"site: ../x\n", "is not a name"},
                {"site: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "up to 31"},
                {SITE "profiles: [{name: v, rate: 5}]\n", "a rate needs one of bit/s"},
                {SITE "profiles: [{name: v, priority: 9}]\n", "\"9\" is too large: the most is 7"},
                {SITE "profiles: [{latency: 80ms}]\n", "x.yaml:2:12: a profile has no \"name\""},
                {SITE "profiles: [{name: v}, {name: v}]\n",
                 "x.yaml:2:23: profile \"v\" is defined already at x.yaml:2:12"},
                /* paths */
                {SITE "tunnels:\n  - {" TUNNEL ", paths: []}\n", "tunnel \"t\" has no path"},
                {SITE "tunnels:\n  - {" TUNNEL "}\n", "a tunnel has no \"paths\""},
                {SITE "tunnels:\n  - {" TUNNEL
                      ", paths: [{name: x, device: eth0, local: '2001:db8::1', remote: learn}]}\n",
                 "\"2001:db8::1\" is an IPv6 address; this version knows IPv4 only"},
                {SITE "tunnels:\n  - {" TUNNEL
                      ", paths: [{name: x, device: eth0, local: 1.2.3, remote: learn}]}\n",
                 "is not an IPv4 address"},
                {SITE "tunnels:\n  - {" TUNNEL
                      ", paths: [{name: x, device: eth0, local: 224.0.0.1, remote: learn}]}\n",
                 "no host's address"},
                {SITE "tunnels:\n  - {" TUNNEL
                      ", paths: [{name: x, device: eth0, local: 10.99.0.2, remote: learn}]}\n",
                 "would carry itself"},
                {SITE "tunnels:\n  - {" TUNNEL
                      ", paths: [{name: x, device: eth0, local: 1.2.3.4, remote: 1.2.3.4}]}\n",
                 "the same address 1.2.3.4"},
                {SITE "tunnels:\n  - {" TUNNEL
                      ", paths: [{name: x, device: sd0, local: 1.2.3.4, remote: learn}]}\n",
                 "is the device of tunnel \"t\""},
                {SITE "tunnels:\n  - {" TUNNEL
                      ", paths: [{name: x, device: a/b, local: 1.2.3.4, remote: learn}]}\n",
                 "is not the name of a network device"},
                {SITE "tunnels:\n  - {" TUNNEL
                      ", paths: [{name: x, device: eth0, local: 1.2.3.4, remote: learn, role: spare}]}\n",
                 "\"spare\" is none of primary, backup, never"},
                {SITE "tunnels:\n  - {" TUNNEL ", paths: [" FIBER
                      ", {name: two, device: eth0, local: 192.0.2.1, remote: 198.51.100.1}]}\n",
                 "path \"two\" has the device and the addresses of path \"fiber\" at x.yaml:3:"},
                {SITE "tunnels:\n  - {" TUNNEL ", paths: [" FIBER ", " FIBER "]}\n",
                 "path \"fiber\" is defined already"},
                {SITE "tunnels:\n  - {" TUNNEL ", paths: [" FIBER
                      ", {name: x, id: 0, device: eth1, local: 1.2.3.4, remote: learn}]}\n",
                 "path \"x\" has the number 0 of \"fiber\""},
                {SITE "tunnels:\n  - {" TUNNEL ", paths: [" FIBER "," FIBER "," FIBER "," FIBER "," FIBER
                      "]}\n",
                 "5 entries, at most 4 are possible"},
                /* tunnels */
                {SITE "tunnels:\n  - {name: t, peer: a, address: 10.99.0.1/30, key_file: /k, paths: [" FIBER
                      "]}\n",
                 "its peer \"a\" is this site"},
                {SITE "tunnels:\n  - {name: t, peer: b, address: 10.99.0.1, key_file: /k, paths: [" FIBER
                      "]}\n",
                 "has no prefix length"},
                {SITE "tunnels:\n  - {name: t, peer: b, address: 'fd00::1/64', key_file: /k, paths: [" FIBER
                      "]}\n",
                 "IPv4 only"},
                {SITE "tunnels:\n  - {name: t, peer: b, address: 10.99.0.1/33, key_file: /k, paths: [" FIBER
                      "]}\n",
                 "a prefix length is a number from 0 to 32"},
                {SITE "tunnels:\n  - {" TUNNEL ", mtu: big, paths: [" FIBER "]}\n",
                 "is not a whole number; or write auto"},
                {SITE "tunnels:\n  - {" TUNNEL ", stamp_port: 7480, paths: [" FIBER "]}\n",
                 "\"stamp_port\" 7480 is the \"udp_port\" of tunnel \"t\""},
                {SITE "tunnels:\n  - {" TUNNEL ", paths: [" FIBER "]}\n"
                      "  - {name: u, peer: c, address: 10.98.0.1/30, key_file: /k, paths: [" FIBER "]}\n",
                 "both make the device \"sd0\""},
                {SITE
                 "tunnels:\n  - {" TUNNEL ", paths: [" FIBER "]}\n"
                 "  - {name: u, peer: c, device: sd1, address: 10.98.0.1/30, key_file: /k, paths: [" FIBER
                 "]}\n",
                 "both use UDP port 7480"},
                {SITE "tunnels:\n  - {" TUNNEL ", paths: [" FIBER "]}\n"
                      "  - {name: u, peer: c, device: sd1, udp_port: 99, address: 10.99.0.2/24, key_file: "
                      "/k, paths: [" FIBER "]}\n",
                 "the net of tunnel \"u\" overlaps the one of tunnel \"t\""},
                /* classes */
                {SITE PROFILES TUNNELS "classes:\n  - {name: c, profile: vioce}\n",
                 "class \"c\": there is no profile \"vioce\""},
                {SITE PROFILES TUNNELS "classes:\n  - {name: c, profile: voice, tunnel: nope}\n",
                 "there is no tunnel \"nope\""},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice, match: {ports: 80}}\n",
                 "\"ports\" need \"protocol\""},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice, match: {protocol: tcp, ports: 0}}\n",
                 "is not a port or a range"},
                {SITE PROFILES
                 "classes:\n  - {name: c, profile: voice, match: {protocol: tcp, ports: 9-3}}\n",
                 "is not a port or a range"},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice, match: {protocol: ipx}}\n",
                 "is not an IP protocol"},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice, match: {dscp: [64]}}\n",
                 "is not a DSCP"},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice, match: {dscp: []}}\n",
                 "the list is empty"},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice, match: {prefix: 10.0.0.1/8}}\n",
                 "did you mean 10.0.0.0/8?"},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice, match: {prefix: '::/0'}}\n",
                 "IPv4 only"},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice, mirror: sometimes}\n",
                 "is none of auto, always, never"},
                {SITE PROFILES "classes:\n  - {name: c, profile: voice}\n  - {name: d, profile: voice, "
                               "match: {protocol: tcp}}\n",
                 "x.yaml:6:5: class \"d\" can never match: \"c\" at x.yaml:5:5 takes everything before it"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_config *c = NULL;
                struct dog_err e = {0};
                int rc = dog_config_parse(row[i].text, strlen(row[i].text), "x.yaml", &c, &e);
                OK(rc < 0 && c == NULL, "this is wrong and was taken: %s", row[i].text);
                OK(strstr(e.text, row[i].say), "wanted: %s\n#   got: %s", row[i].say, e.text);
                OK(!strchr(e.text, '\n'), "one sentence is one line: %s", e.text);
                dog_config_free(c);
        }
}

/* ---- the front, instances, vips ---- */

#define FRONT     "front: {devices: [eth1, eth2]}\n"
#define A         "{name: a, address: 10.0.1.1, device: eth1}"
#define B         "{name: b, address: 10.0.1.2, device: eth2}"
#define SIX       "{name: six, address: 'fd00::6', device: eth2}"
#define INSTANCES "instances: [" A ", " B ", " SIX "]\n"
#define WEB       "name: web, address: 192.0.2.80, port: 80"
#define VIP(more) SITE PROFILES FRONT INSTANCES "vips:\n  - {" WEB ", " more "}\n"

static void a_vip_is_what_was_written(void)
{
        struct dog_config *c = parsed(
                SITE PROFILES
                "front:\n"
                "  devices: [eth1, eth2]\n"
                "  hook: tc\n"
                "  connections: 100000\n"
                "  probe_interval: 20ms\n"
                "  probe_misses: 5\n"
                "instances:\n"
                "  - {name: a, address: 10.0.1.1, device: eth1, weight: 2.5, price: 0.25, fates: [host1, "
                "rack1]}\n"
                "  - {name: b, address: 10.0.1.2, device: eth2, role: backup, check: tcp}\n"
                "  - {name: c, address: 'fd00::', device: eth2, check: agent, agent_key_file: /k}\n"
                "  - {name: d, address: 10.0.1.4, device: eth2, exporter: 'http://10.0.1.4:9100/metrics'}\n"
                "vips:\n"
                "  - {name: web, address: 192.0.2.80, port: 80, instances: [a, 'b:8080'], profile: voice,\n"
                "     protect: share, share: 20%, classes: yes, guard: no, most: 500, priority: 6, "
                "lag_bytes: "
                "32KiB}\n"
                "  - {name: dns, address: 192.0.2.80, port: 53, protocol: udp, instances: d, protect: auto, "
                "budget: 5%, answer: first}\n"
                "  - {name: all6, address: 'fd00:1::', port: any, instances: [c], protect: never, return: "
                "direct}\n");
        NEED(c->front.devices == 2 && c->instances == 4 && c->vips == 3, "lists");
        OK(!strcmp(c->front.device[1].text, "eth2") && c->front.hook == DOG_CONFIG_HOOK_TC &&
                   c->front.connections == 100000 && c->front.probe_interval_ns == 20 * DOG_MS &&
                   c->front.probe_misses == 5 && c->front.role == DOG_CONFIG_GATEWAY,
           "the front");
        const struct dog_config_instance *n = c->instance;
        OK(n[0].address.version == 4 && n[0].address.bytes[3] == 1 && NEAR(n[0].weight, 2.5, 1e-12) &&
                   NEAR(n[0].price, 0.25, 1e-12) && n[0].fates == 2 && !strcmp(n[0].fate[1].text, "rack1"),
           "a");
        OK(n[1].role == DOG_CONFIG_BACKUP && n[1].check == DOG_CONFIG_CHECK_TCP && n[1].check_port == 8080,
           "b is asked where it serves: %lld", (long long)n[1].check_port);
        OK(n[2].address.version == 6 && n[2].address.bytes[0] == 0xfd && !strcmp(n[2].agent_key_file, "/k"),
           "c");
        OK(!strcmp(n[3].exporter, "http://10.0.1.4:9100/metrics"), "d");
        const struct dog_config_vip *v = c->vip;
        OK(v[0].seats == 2 && v[0].seat[1].port == 8080 && v[0].seat[1].instance == 1 &&
                   v[0].promise == c->profile && v[0].protect == DOG_CONFIG_PROTECT_SHARE &&
                   NEAR(v[0].share, 0.2, 1e-12) && v[0].has_classes == 1 && v[0].has_guard == 0 &&
                   v[0].most == 500 && v[0].priority == 6 && v[0].lag_bytes == 32768,
           "web");
        OK(v[1].protocol == 1 && v[1].answer == DOG_CONFIG_ANSWER_FIRST && NEAR(v[1].budget, 0.05, 1e-12) &&
                   v[1].priority == -1 && !v[1].promise,
           "dns");
        OK(v[2].port == 0 && v[2].address.version == 6 && v[2].returns == DOG_CONFIG_RETURN_DIRECT, "all6");
        dog_config_free(c);
        c = parsed(SITE "front: {devices: lan}\ninstances: [{name: a, address: 10.0.0.1}]\n");
        OK(c->instance && !strcmp(c->instance[0].device, "lan"), "the only device need not be named");
        dog_config_free(c);
}

static void a_wrong_vip_gets_one_sentence_with_its_place(void)
{
        static const struct {
                const char *text, *say;
        } row[] = {
                {SITE "vips: [{" WEB ", instances: a}]\n", "vip \"web\" needs a front"},
                {VIP("instances: [a, x]"), "x.yaml:7:59: vip \"web\": there is no instance \"x\""},
                {VIP("instances: [a, a]"), "names instance \"a\" twice"},
                {VIP("instances: []"), "the list is empty; name at least one"},
                {VIP("instances: [a, six]"), "is IPv4 and instance \"six\" is IPv6"},
                {VIP("instances: 'a:0'"), "\"a:0\" is not an instance: write its name, or NAME:PORT"},
                {VIP("instances: 'a:http'"), "is not an instance"},
                {VIP("instances: 'a:81', return: l2"), "only \"return: nat\" rewrites it"},
                {VIP("instances: [a, b], return: direct"), "so nothing can be protected"},
                {VIP("instances: [a, b], protect: share"), "needs a \"share\", such as 20%"},
                {VIP("instances: [a, b], share: 10%"), "\"share\" needs \"protect: share\""},
                {VIP("instances: [a, b], budget: 10%"), "\"budget\" needs \"protect: auto\""},
                {VIP("instances: [a, b], answer: first"), "\"answer\" is for UDP"},
                {VIP("instances: [a, b], protocol: udp, mode: aligned"), "is for protected TCP"},
                {VIP("instances: [a, b], mode: aligned"), "needs an \"aligned_key_file\" of the front"},
                {VIP("instances: [a, b], mode: aligned, port: any"), "port"},
                {SITE "front: {devices: lan, aligned_key_file: /k}\n",
                 "\"aligned_key_file\" does nothing without a vip"},
                {SITE "front: {devices: lan}\ninstances: [{name: a, address: 10.0.0.1, shim: gated}]\n",
                 "\"shim\" does nothing without a vip"},
                {VIP("instances: [a, b], protect: sometimes"), "\"sometimes\" is none of auto, always"},
                {VIP("instances: [a, b], profile: vice"), "there is no profile \"vice\""},
                {VIP("instances: [a, b], guard: maybe"), "\"maybe\" is none of no, yes"},
                {VIP("instances: a") "  - {name: two, address: 192.0.2.80, port: 80, instances: b}\n",
                 "has the address, protocol and port of vip \"web\" at x.yaml:7:5"},
                {VIP("instances: a") "  - {name: two, address: 10.0.1.2, port: 80, instances: b}\n",
                 "is the own address of instance \"b\""},
                {VIP("instances: a") "  - {name: two, address: 127.0.0.1, port: 80, instances: b}\n",
                 "127.0.0.1 is no host's address"},
                {VIP("instances: a") "  - {name: two, address: 'fe80::1', port: 80, instances: six}\n",
                 "fe80::1 is no host's address"},
                {VIP("instances: a") "  - {name: two, address: '::ffff:1.2.3.4', port: 80, instances: b}\n",
                 "in IPv6 dress"},
                {VIP("instances: a") "  - {name: two, address: 10.0.0.0/8, port: 80, instances: b}\n",
                 "leave the prefix length out"},
                {VIP("instances: a") "  - {name: two, address: 192.0.2.81, port: any, instances: 'b:80'}\n",
                 "serves every port"},
                {SITE FRONT "instances: [" A ", {name: b, address: 10.0.1.1, device: eth1}]\n",
                 "instance \"b\" has the address 10.0.1.1 of instance \"a\" at x.yaml:3:13"},
                {SITE FRONT "instances: [{name: a, address: 10.0.1.1}]\n", "the front has 2 devices"},
                {SITE FRONT "instances: [{name: a, address: 10.0.1.1, device: eth9}]\n",
                 "\"eth9\" is none of the front's \"devices\""},
                {SITE FRONT "instances: [{name: a, address: 10.0.1.1, device: eth1, check: agent}]\n",
                 "needs an \"agent_key_file\""},
                {SITE FRONT "instances: [{name: a, address: 10.0.1.1, device: eth1, check: tcp}]\n",
                 "needs a \"check_port\""},
                {SITE FRONT
                 "instances: [{name: a, address: 10.0.1.1, device: eth1, check: icmp, check_port: 80}]\n",
                 "\"check_port\" needs \"check: tcp\""},
                {SITE FRONT "instances: [{name: a, address: 10.0.1.1, device: eth1, fates: [x, y, x]}]\n",
                 "the fate \"x\" is named twice"},
                {SITE FRONT
                 "instances: [{name: a, address: 10.0.1.1, device: eth1, agent_key_file: /k, exporter: "
                 "'http://1.2.3.4:1/m'}]\n",
                 "keep one of them"},
                {SITE FRONT "instances: [{name: a, address: 10.0.1.1, device: eth1, exporter: "
                            "'https://1.2.3.4:1/m'}]\n",
                 "begins with http://"},
                {SITE FRONT "instances: [{name: a, address: 10.0.1.1, device: eth1, exporter: "
                            "'http://host:1/m'}]\n",
                 "the host must be an address"},
                {SITE FRONT "instances: [{name: a, address: 10.0.1.1, device: eth1, exporter: "
                            "'http://1.2.3.4/m'}]\n",
                 "lacks a port or a path"},
                {SITE "front: {devices: [eth1, eth1]}\n", "\"eth1\" is named twice"},
                {SITE "front: {devices: [eth1/2]}\n", "is not the name of a network device"},
                {SITE "front: {told_by: 192.0.2.1}\n", "\"told_by\" is for \"role: host\""},
                {SITE "front: {role: host, told_by: 192.0.2.1}\n", "needs the gateway's \"tell_port\""},
                {SITE "front: {tell_port: 7483}\n", "needs a \"key_file\""},
                {SITE "front: {role: host, tell_port: 7483, key_file: /k}\n", "needs \"told_by\""},
                {SITE "front: {tell_port: 7482, key_file: /k}\n", "are both 7482"},
                {SITE PROFILES FRONT INSTANCES CLASSES "vips: [{name: all, address: 192.0.2.1, port: 1, "
                                                       "instances: a}]\n",
                 "vip \"all\" has the name of the class"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_config *c = NULL;
                struct dog_err e = {0};
                int rc = dog_config_parse(row[i].text, strlen(row[i].text), "x.yaml", &c, &e);
                OK(rc < 0 && !c, "refused: %s", row[i].text);
                OK(strstr(e.text, row[i].say) && !strncmp(e.text, "x.yaml:", 7), "wanted: %s\n#   got: %s",
                   row[i].say, e.text);
                dog_config_free(c);
        }
}

static void note_keep(void *user, const char *text)
{
        char *kept = user;
        strncat(kept, text, 2000 - strlen(kept) - 1);
}

static void what_may_not_be_meant_is_noted(void)
{
        char text[2000] = "";
        struct dog_config *c = parsed(VIP("instances: a"));
        OK(dog_config_notes(c, note_keep, text) == 3 &&
                   strstr(text, "has one instance: nobody can stand by") &&
                   strstr(text, "instance \"b\" serves no vip") && strstr(text, "x.yaml:7:"),
           "%s", text);
        dog_config_free(c);
        text[0] = 0;
        c = parsed(SITE "front: {devices: e}\ninstances: [{name: a, address: 10.0.0.1, fates: r}, {name: b, "
                        "address: 10.0.0.2, fates: [p, r]}]\nvips: [{" WEB ", instances: [a, b]}]\n");
        OK(dog_config_notes(c, note_keep, text) == 1 && strstr(text, "share a fate"), "%s", text);
        dog_config_free(c);
        c = parsed(VIP(
                "instances: [a, b]") "  - {name: s, address: 'fd00::1', port: 1, instances: six, protect: "
                                     "never}\n");
        OK(dog_config_notes(c, note_keep, text) == 0, "nothing to note");
        dog_config_free(c);
}

static void the_table_agrees_with_itself_(const struct config_section *in, unsigned *rows)
{
        OK(in->keys <= 32, "%s: the reader notes keys in 32 bits", in->what);
        for (size_t i = 0; i < in->keys; i++) {
                const struct config_key *k = &in->key[i];
                uint64_t value[4] = {0};
                struct dog_err e = {0};
                ++*rows;
                OK(k->help && *k->help, "%s has help", k->name);
                for (size_t j = 0; j < i; j++)
                        OK(strcmp(k->name, in->key[j].name) != 0, "%s: twice", k->name);
                if (k->section) {
                        the_table_agrees_with_itself_(k->section, rows);
                        continue;
                }
                if (dog_config_entry_size(k->type) || k->type <= CONFIG_FILE)
                        continue;
                if (k->preset && *k->preset)
                        OK(dog_config_value_read(k, k->preset, value, NULL, &e) == 0, "%s: its default: %s",
                           k->name, e.text);
                if (k->min)
                        OK(dog_config_value_read(k, k->min, value, NULL, &e) == 0, "%s: its least: %s",
                           k->name, e.text);
                if (k->max)
                        OK(dog_config_value_read(k, k->max, value, NULL, &e) == 0, "%s: its most: %s",
                           k->name, e.text);
        }
}

static void the_table_agrees_with_itself(void)
{
        unsigned rows = 0;
        the_table_agrees_with_itself_(&dog_config_root, &rows);
        OK(rows > 60, "%u rows", rows);
        fprintf(stderr, "# %u rows\n", rows);
}

static char *effective(const struct dog_config *c)
{
        char *text = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&text, &size);
        NEED(to, "memory");
        OK(dog_config_write_effective(c, to) == 0, "printing");
        fclose(to);
        return text;
}

static void the_effective_configuration_reads_back_as_itself(void)
{
        static const char *const texts[] = {
                GOOD,
                SITE,
                SITE "store: {path: '/a \"b\" \\c: #d', size: 1234567B}\npolicy: {hold: 123456789ns, "
                     "mirror_budget: 33.333333%, margin: 1e-7}\n"
                     "profiles: [{name: '1', latency: 1h}]\n",
                SITE PROFILES TUNNELS
                "classes:\n  - {name: c, id: 200, profile: voice, tunnel: t, mirror: never, mirror_budget: "
                "0%,\n"
                "     match: {prefix: [0.0.0.0/0, 1.2.3.4], protocol: 200, dscp: [3, le, cs0]}}\n",
                SITE "front: {devices: e, role: host, told_by: 'fd00::', tell_port: 7483, key_file: /k}\n"
                     "instances: [{name: a, address: 'fd00:2::', check: tcp}]\n"
                     "vips: [{name: v, address: 'fd00:1::', port: 443, instances: 'a:8443', share: 0.125,\n"
                     "        protect: share}]\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct dog_err e = {0};
                struct dog_config *c = NULL;
                if (i == 2)
                        OK(dog_config_parse(texts[i], strlen(texts[i]), "x", &c, &e) < 0 &&
                                   strstr(e.text, "1min"),
                           "an hour is too long: %s", e.text);
                char *fixed = strdup(texts[i]);
                char *hour = strstr(fixed, "latency: 1h");
                if (hour)
                        memcpy(hour, "latency: 1s", 11);
                c = parsed(fixed);
                free(fixed);
                char *first = effective(c);
                struct dog_config *again = parsed(first);
                char *second = effective(again);
                OK(strcmp(first, second) == 0, "printed, read and printed:\n%s\n%s", first, second);
                OK(strstr(first, "hold:") && strstr(first, "socket:"), "defaults are shown");
                OK(again->policy.hold_ns == c->policy.hold_ns &&
                           again->store.size_bytes == c->store.size_bytes,
                   "numbers stay");
                OK(memcmp(&again->policy, &c->policy, sizeof(c->policy)) == 0, "the whole policy stays");
                free(first);
                free(second);
                dog_config_free(c);
                dog_config_free(again);
        }
}

static void defaults_are_those_of_the_core(void)
{
        struct dog_config *c = parsed(SITE);
        const struct dog_config_policy *p = &c->policy;
        struct dog_policy d = dog_policy_default();
        OK(NEAR(p->margin, d.margin, 1e-12) && NEAR(p->move_price, d.move_price, 1e-12) &&
                   NEAR(p->backup_price, d.backup_price, 1e-12),
           "prices of moving");
        OK(p->hold_ns == d.hold_ns && p->overlap_ns == d.overlap_ns && p->dead_ns == d.dead_ns &&
                   p->recover_ns == d.recover_ns,
           "times");
        OK(NEAR(p->mirror_price, d.mirror_price, 1e-12) && NEAR(p->mirror_budget, d.mirror_budget, 1e-12) &&
                   p->mirror_burst_ns == d.mirror_burst_ns && p->mirror_hold_ns == d.mirror_hold_ns &&
                   p->copies == d.copies,
           "mirroring");
        OK(p->horizon_near_ns == d.horizon_ns[0] && p->horizon_middle_ns == d.horizon_ns[1] &&
                   p->horizon_far_ns == d.horizon_ns[2],
           "horizons");
        OK(d.grade_horizon == 1, "sundog.conf(5) says that the middle horizon grades");
        dog_config_free(c);
}

/* ---- files ---- */

static char folder[64];

static const char *file_of(const char *name)
{
        static char path[4][160];
        static unsigned turn;
        char *to = path[turn++ % 4];
        snprintf(to, sizeof(path[0]), "%s/%s", folder, name);
        return to;
}

static void file_put(const char *name, const char *text, mode_t mode)
{
        unlink(file_of(name));
        int fd = open(file_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        NEED(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0, "%s",
             name);
        close(fd);
}

static int load(struct dog_config **c, struct dog_err *e)
{
        e->text[0] = 0;
        return dog_config_load(file_of("sundog.yaml"), c, e);
}

static void drop_ins_are_merged_in_the_order_of_their_names(void)
{
        snprintf(folder, sizeof(folder), "/tmp/sundog-config-XXXXXX");
        NEED(mkdtemp(folder), "folder");
        struct dog_config *c = NULL;
        struct dog_err e = {0};
        OK(load(&c, &e) == -ENOENT && strstr(e.text, "cannot read") && !c, "no file: %s", e.text);
        file_put("sundog.yaml", SITE PROFILES "policy: {hold: 2s, copies: 3}\n", 0644);
        NEED(load(&c, &e) == 0, "%s", e.text);
        dog_config_free(c);
        NEED(mkdir(file_of("conf.d"), 0755) == 0, "conf.d");
        file_put("conf.d/20-b.yaml", "policy: {hold: 4s}\nclasses: [{name: rest, profile: late}]\n", 0644);
        file_put("conf.d/10-a.yaml",
                 "policy: {hold: 3s}\nprofiles: [{name: late, latency: 1s}]\n"
                 "classes: [{name: calls, profile: voice, match: {protocol: udp}}]\n",
                 0644);
        file_put("conf.d/30-empty.yaml", "", 0644);
        file_put("conf.d/ignored.yaml.bak", "no such key: 1\n", 0644);
        file_put("conf.d/.hidden.yaml", "no such key: 1\n", 0644);
        NEED(load(&c, &e) == 0, "%s", e.text);
        OK(c->policy.hold_ns == 4 * DOG_S && c->policy.copies == 3, "the last value holds, others stay");
        OK(c->profiles == 2 && c->classes == 2 && !strcmp(c->class[0].name, "calls") &&
                   !strcmp(c->class[1].name, "rest"),
           "lists grow in order");
        OK(c->class[1].promise == &c->profile[1] && c->class[1].id == 2, "names are found over files");
        dog_config_free(c);
        file_put("conf.d/40-twice.yaml", "profiles: [{name: voice}]\n", 0644);
        OK(load(&c, &e) == -EINVAL && strstr(e.text, "conf.d/40-twice.yaml:1:12: profile \"voice\" is "
                                                     "defined already at sundog.yaml:3:5"),
           "%s", e.text);
        file_put("conf.d/40-twice.yaml", "polcy: {}\n", 0644);
        OK(load(&c, &e) == -EINVAL && strstr(e.text, "conf.d/40-twice.yaml:1:1: unknown key"), "%s", e.text);
        unlink(file_of("conf.d/40-twice.yaml"));
        char *big = calloc(1, 300000);
        memset(big, '#', 299999);
        file_put("conf.d/40-big.yaml", big, 0644);
        OK(load(&c, &e) == -E2BIG && strstr(e.text, "longer than"), "%s", e.text);
        free(big);
        static const char *const names[] = {
                "conf.d/10-a.yaml",   "conf.d/20-b.yaml",        "conf.d/30-empty.yaml",
                "conf.d/40-big.yaml", "conf.d/ignored.yaml.bak", "conf.d/.hidden.yaml",
                "sundog.yaml"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                unlink(file_of(names[i]));
        rmdir(file_of("conf.d"));
        rmdir(folder);
}

static void a_key_file_is_there_and_closed_to_others(void)
{
        snprintf(folder, sizeof(folder), "/tmp/sundog-config-XXXXXX");
        NEED(mkdtemp(folder), "folder");
        char text[1024];
        snprintf(text, sizeof(text),
                 SITE "tunnels:\n  - {name: t, peer: b, address: 10.99.0.1/30, key_file: %s, paths: [" FIBER
                      "]}\n",
                 file_of("t.key"));
        file_put("sundog.yaml", text, 0644);
        struct dog_config *c = NULL;
        struct dog_err e = {0};
        OK(load(&c, &e) == -ENOENT && strstr(e.text, "sundog.yaml:3:57: tunnel \"t\": cannot read key file"),
           "%s", e.text);
        static const struct {
                mode_t mode;
                int rc;
        } row[] = {{0600, 0}, {0400, 0}, {0640, -EPERM}, {0604, -EPERM}, {0660, -EPERM}};
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                file_put("t.key", KEY, row[i].mode);
                OK(load(&c, &e) == row[i].rc, "mode %04o: %s", (unsigned)row[i].mode, e.text);
                OK(row[i].rc == 0 || strstr(e.text, "chmod 600"), "it says what to do: %s", e.text);
                dog_config_free(c);
        }
        file_put("t.key", "00ff\n", 0600);
        OK(load(&c, &e) == -EINVAL && strstr(e.text, "is too short"), "%s", e.text);
        file_put("t.key", "", 0600);
        OK(load(&c, &e) == -EINVAL && strstr(e.text, "is empty"), "%s", e.text);
        unlink(file_of("t.key"));
        NEED(mkdir(file_of("t.key"), 0700) == 0, "a folder");
        OK(load(&c, &e) == -EINVAL && strstr(e.text, "is not a file"), "%s", e.text);
        rmdir(file_of("t.key"));
        unlink(file_of("sundog.yaml"));
        OK(dog_config_load(folder, &c, &e) < 0 && e.text[0], "a folder is no configuration: %s", e.text);
        rmdir(folder);
}

static void the_examples_are_right(void)
{
        static const char *const names[] = {"site-a.yaml", "site-b.yaml", "vips.yaml"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char path[512];
                snprintf(path, sizeof(path), "%s/%s", EXAMPLES, names[i]);
                FILE *from = fopen(path, "r");
                NEED(from, "%s", path);
                static char text[65536];
                size_t size = fread(text, 1, sizeof(text), from);
                fclose(from);
                struct dog_config *c = NULL;
                struct dog_err e = {0};
                OK(dog_config_parse(text, size, names[i], &c, &e) == 0, "%s", e.text);
                if (i < 2)
                        OK(c && c->tunnels == 1 && c->tunnel[0].paths == 3 && c->classes == 4,
                           "two sites, three paths");
                else
                        OK(c && c->tunnels == 0 && c->vips == 3 && c->instances == 3 &&
                                   dog_config_notes(c, NULL, NULL) == 0,
                           "vips alone");
                dog_config_free(c);
        }
}

static void text_that_was_cut_or_spoiled_never_crashes(void)
{
        char text[sizeof(GOOD)];
        size_t size = sizeof(GOOD) - 1;
        size_t taken = 0;
        for (size_t cut = 0; cut <= size; cut++) {
                struct dog_config *c = NULL;
                struct dog_err e = {0};
                OK((dog_config_parse(GOOD, cut, "x", &c, &e) == 0) == (e.text[0] == 0), "cut at %zu: %s", cut,
                   e.text);
                dog_config_free(c);
        }
        for (size_t i = 0; i < size; i++)
                for (int bit = 0; bit < 8; bit++) {
                        memcpy(text, GOOD, size);
                        text[i] = (char)(text[i] ^ 1 << bit);
                        struct dog_config *c = NULL;
                        struct dog_err e = {0};
                        int rc = dog_config_parse(text, size, "x", &c, &e);
                        OK((rc == 0) == (c != NULL) && (rc == 0) == (e.text[0] == 0),
                           "bit %d of byte %zu: %d %s", bit, i, rc, e.text);
                        taken += rc == 0;
                        dog_config_free(c);
                }
        OK(taken > 0 && taken < size * 8, "%zu of %zu were still right", taken, size * 8);
}

static void anchors_cannot_make_it_large(void)
{
        /* Each list names the one before ten times; the table's limits end it. */
        char text[8192];
        size_t used = (size_t)snprintf(
                text, sizeof(text),
                SITE "profiles: &a [{name: v}]\ntunnels: [{paths: [&p {name: x, device: e, local: 1.2.3.4, "
                     "remote: learn}");
        for (int i = 0; i < 300; i++)
                used += (size_t)snprintf(text + used, sizeof(text) - used, ", *p");
        snprintf(text + used, sizeof(text) - used, "]}]\n");
        struct dog_config *c = NULL;
        struct dog_err e = {0};
        OK(dog_config_parse(text, strlen(text), "x", &c, &e) == -E2BIG && strstr(e.text, "at most 4"), "%s",
           e.text);
        static const char self[] = SITE "policy: &p {hold: *p}\n";
        OK(dog_config_parse(self, strlen(self), "x", &c, &e) == -EINVAL && e.text[0],
           "a thing inside itself: %s", e.text);
        static const char deep[] =
                SITE "store: &s\n  path: /a\napi: {socket: /b}\nprofiles:\n  - &v {name: v}\n";
        OK(dog_config_parse(deep, strlen(deep), "x", &c, &e) == 0, "anchors themselves are fine: %s", e.text);
        dog_config_free(c);
        size_t n = 200000;
        char *brackets = malloc(n);
        memset(brackets, '[', n);
        OK(dog_config_parse(brackets, n, "x", &c, &e) == -EINVAL, "very deep: %s", e.text);
        for (size_t i = 0; i + 3 <= n; i += 3)
                memcpy(brackets + i, "[a,", 3);
        OK(dog_config_parse(brackets, n, "x", &c, &e) == -EINVAL && strstr(e.text, "x:1:601:"),
           "deep and wide: %s", e.text);
        free(brackets);
}

static int parse_all(void *user, struct dog_err *e)
{
        struct dog_config *c = NULL;
        int rc = dog_config_parse(user, strlen(user), "x", &c, e);
        dog_config_free(c);
        return rc;
}

static int load_all(void *user, struct dog_err *e)
{
        struct dog_config *c = NULL;
        int rc = dog_config_load(user, &c, e);
        dog_config_free(c);
        return rc;
}

static void every_allocation_may_fail(void)
{
        char text[] = SITE PROFILES FRONT INSTANCES "vips: [{" WEB ", instances: [a, 'b:81']}]\n" TUNNELS
                                                    "classes:\n  - {name: c, profile: voice, match: {prefix: "
                                                    "[10.0.0.0/8], protocol: tcp, ports: 80, dscp: ef}}\n";
        size_t n = alloc_fail_each(parse_all, text);
        OK(n > 20, "%zu allocations, each survived", n);
        snprintf(folder, sizeof(folder), "/tmp/sundog-config-XXXXXX");
        NEED(mkdtemp(folder), "folder");
        NEED(mkdir(file_of("conf.d"), 0755) == 0, "conf.d");
        file_put("sundog.yaml", SITE PROFILES, 0644);
        file_put("conf.d/a.yaml", "classes: [{name: c, profile: voice}]\n", 0644);
        char path[160];
        snprintf(path, sizeof(path), "%s", file_of("sundog.yaml"));
        n = alloc_fail_each(load_all, path);
        OK(n > 10, "%zu allocations, each survived", n);
        unlink(file_of("conf.d/a.yaml"));
        unlink(file_of("sundog.yaml"));
        rmdir(file_of("conf.d"));
        rmdir(folder);
}

int main(void)
{
        return CHECK_RUN(TEST(what_is_written_is_what_is_meant), TEST(a_radio_is_what_was_written),
                         TEST(bad_input_gets_one_sentence_with_its_place), TEST(the_table_agrees_with_itself),
                         TEST(a_vip_is_what_was_written), TEST(a_wrong_vip_gets_one_sentence_with_its_place),
                         TEST(what_may_not_be_meant_is_noted), TEST(defaults_are_those_of_the_core),
                         TEST(the_effective_configuration_reads_back_as_itself),
                         TEST(drop_ins_are_merged_in_the_order_of_their_names),
                         TEST(a_key_file_is_there_and_closed_to_others), TEST(the_examples_are_right),
                         TEST(text_that_was_cut_or_spoiled_never_crashes), TEST(anchors_cannot_make_it_large),
                         TEST(every_allocation_may_fail));
}
