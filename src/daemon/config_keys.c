#include "daemon/config_keys.h"

#include "base/array.h"
#include "daemon/config.h"

#define AT(structure, field) .offset = offsetof(struct structure, field)

static const char *const roles[] = {"primary", "backup", "never", NULL};
static const char *const mirrors[] = {"auto", "always", "never", NULL};

static const struct config_key store_keys[] = {
        {"path", CONFIG_FILE, AT(dog_config, store.path), .preset = "/var/lib/sundog/store.db",
         .help = "the SQLite file for telemetry, the ledger of decisions and the configuration history"},
        {"size", CONFIG_SIZE, AT(dog_config, store.size_bytes), .preset = "200MB", .min = "1MB", .max = "1TB",
         .help = "beyond this the oldest telemetry is deleted; its hourly means are kept"},
};

static const struct config_key api_keys[] = {
        {"socket", CONFIG_FILE, AT(dog_config, api.socket), .preset = "/run/sundog/api.sock",
         .help = "the UNIX socket on which the API and the page are served"},
};

static const char *const no_yes[] = {"no", "yes", NULL};

static const struct config_key forecast_keys[] = {
        {"model", CONFIG_FILE, AT(dog_config_forecast, model), .preset = "installed", .word = "installed",
         .word_value = 0,
         .help = "trained trees for paths, made by \"sundog train\"; a file that is not fit is told, and "
                 "the online logistic forecasts alone"},
        {"trees", CONFIG_CHOICE, AT(dog_config_forecast, has_trees), .preset = "yes", .choice = no_yes,
         .help = "no: the online logistic alone, and base rates for instances"},
        {"retrain", CONFIG_CHOICE, AT(dog_config_forecast, has_retrain), .preset = "yes", .choice = no_yes,
         .help = "train trees on what the paths here have done; new ones serve only if they are better on "
                 "what was "
                 "measured last"},
        {"retrain_every", CONFIG_TIME, AT(dog_config_forecast, retrain_every_ns), .preset = "1d",
         .min = "1min", .max = "30d", .help = "between two trainings"},
        {"retrain_from", CONFIG_TIME, AT(dog_config_forecast, retrain_from_ns), .preset = "7d", .min = "1h",
         .max = "30d", .help = "learn from telemetry of so long"},
        {"retrain_cpu", CONFIG_SHARE, AT(dog_config_forecast, retrain_cpu), .preset = "5%", .min = "0.1%",
         .max = "100%", .help = "share of one processor that training takes at most, at the lowest priority"},
};

static const struct config_key policy_keys[] = {
        {"margin", CONFIG_NUMBER, AT(dog_config_policy, margin), .preset = "0.01", .min = "0",
         .max = "1000000", .help = "a move must gain this much price per second"},
        {"move_price", CONFIG_NUMBER, AT(dog_config_policy, move_price), .preset = "0.01", .min = "0",
         .max = "1000000", .help = "what one move costs by itself"},
        {"backup_price", CONFIG_NUMBER, AT(dog_config_policy, backup_price), .preset = "0.05", .min = "0",
         .max = "1000000", .help = "what a backup path costs above its own price, per second"},
        {"hold", CONFIG_TIME, AT(dog_config_policy, hold_ns), .preset = "2s", .min = "100ms", .max = "1h",
         .help = "stay put this long after a move, unless the promise breaks"},
        {"overlap", CONFIG_TIME, AT(dog_config_policy, overlap_ns), .preset = "200ms", .min = "0s",
         .max = "1min", .help = "make before break: after a move the old path carries a copy this long"},
        {"dead", CONFIG_TIME, AT(dog_config_policy, dead_ns), .preset = "1s", .min = "10ms", .max = "10min",
         .help = "a path that has not answered this long is unusable"},
        {"recover", CONFIG_TIME, AT(dog_config_policy, recover_ns), .preset = "2s", .min = "0s", .max = "1d",
         .help = "a path that was unusable must answer this long before it is chosen again"},
        {"copies", CONFIG_INTEGER, AT(dog_config_policy, copies), .preset = "2", .min = "2", .max = "4",
         .help = "with \"mirror: always\": how many paths carry the traffic"},
        {"mirror_price", CONFIG_NUMBER, AT(dog_config_policy, mirror_price), .preset = "0.02", .min = "0",
         .max = "1000000", .help = "what one second of one extra copy costs"},
        {"mirror_budget", CONFIG_SHARE, AT(dog_config_policy, mirror_budget), .preset = "10%",
         .help = "extra copies as a share of the time, in the long run"},
        {"mirror_burst", CONFIG_TIME, AT(dog_config_policy, mirror_burst_ns), .preset = "1s", .min = "0s",
         .max = "1d", .help = "so much copying may be saved up"},
        {"mirror_hold", CONFIG_TIME, AT(dog_config_policy, mirror_hold_ns), .preset = "400ms", .min = "0s",
         .max = "1h", .help = "keep a copy at least this long"},
        {"horizon_near", CONFIG_TIME, AT(dog_config_policy, horizon_near_ns), .preset = "1s", .min = "100ms",
         .max = "1h", .help = "the horizon that decides: how far ahead a broken promise counts"},
        {"horizon_middle", CONFIG_TIME, AT(dog_config_policy, horizon_middle_ns), .preset = "5s",
         .min = "100ms", .max = "1h", .help = "the horizon by which a decision is graded"},
        {"horizon_far", CONFIG_TIME, AT(dog_config_policy, horizon_far_ns), .preset = "30s", .min = "100ms",
         .max = "1h", .help = "the horizon that is shown to people"},
        {"moves_per_step", CONFIG_INTEGER, AT(dog_config_policy, moves_per_step), .preset = "none",
         .min = "1", .max = "1000000", .word = "none", .word_value = 0,
         .help = "at most so many classes move in one step of the loop"},
        {"copies_share", CONFIG_SHARE, AT(dog_config_policy, copies_share), .preset = "100%",
         .help = "extra copies over all classes, as a share of all traffic"},
};

static const struct config_key weight_keys[] = {
#define WEIGHT(metric)                                                                                       \
        {                                                                                                    \
#metric, CONFIG_NUMBER,                                                                      \
                        AT(dog_config_profile, weight.metric) - offsetof(struct dog_config_profile, weight), \
                        .preset = "1", .min = "0", .max = "1000",                                            \
                        .help = "how much the " #metric " says in the score"                                 \
        }
        WEIGHT(latency), WEIGHT(jitter), WEIGHT(loss), WEIGHT(rate), WEIGHT(response),
#undef WEIGHT
};

static const struct config_section store_section = {
        "store", "store", 0, store_keys, ARRAY_SIZE(store_keys), "What is remembered, and how much of it."};
static const struct config_section api_section = {
        "api", "api", 0, api_keys, ARRAY_SIZE(api_keys), "Where the daemon can be asked."};
static const struct config_section policy_section = {
        "policy",
        "policy",
        0,
        policy_keys,
        ARRAY_SIZE(policy_keys),
        "How eagerly traffic is moved and copied. Prices share one unit with a profile's *breach_price*: by "
        "default one second of broken promise costs 1."};
static const struct config_section forecast_section = {"forecast",
                                                       "forecast",
                                                       0,
                                                       forecast_keys,
                                                       ARRAY_SIZE(forecast_keys),
                                                       "Who says what is ahead. Trees, the online logistic, "
                                                       "persistence and the base rate are mixed by their own "
                                                       "records."};
static const struct config_section weight_section = {
        "weight",    "profiles[].weight",     0,
        weight_keys, ARRAY_SIZE(weight_keys), "What the score of 0 to 100 is made of; any scale."};

#define PROFILE(field) AT(dog_config_profile, field)
static const struct config_key profile_keys[] = {
        {"name", CONFIG_NAME, PROFILE(name), .help = "what classes call it"},
        {"latency", CONFIG_TIME, PROFILE(latency_ns), .preset = "none", .min = "100us", .max = "1min",
         .word = "none", .help = "round-trip time at most"},
        {"latency_factor", CONFIG_NUMBER, PROFILE(latency_factor), .preset = "none", .min = "1",
         .max = "1000", .word = "none",
         .help = "round-trip time at most so many medians of the last minute, when that is more than "
                 "\"latency\""},
        {"jitter", CONFIG_TIME, PROFILE(jitter_ns), .preset = "none", .min = "1us", .max = "1min",
         .word = "none", .help = "jitter at most (RFC 3550, 6.4.1)"},
        {"loss", CONFIG_SHARE, PROFILE(loss_share), .preset = "none", .min = "0.0001%", .max = "100%",
         .word = "none", .help = "this share of lost packets breaks the promise"},
        {"rate", CONFIG_RATE, PROFILE(rate_bps), .preset = "none", .min = "1kbit/s", .max = "1000Gbit/s",
         .word = "none", .help = "rate at least, mean of one second"},
        {"response", CONFIG_TIME, PROFILE(response_ns), .preset = "none", .min = "100us", .max = "10min",
         .word = "none", .help = "the application's response time at most"},
        {"weight", CONFIG_SECTION, PROFILE(weight), .preset = "", .section = &weight_section,
         .help = "how much each metric says in the score"},
        {"priority", CONFIG_INTEGER, PROFILE(priority), .preset = "3", .min = "0", .max = "7",
         .help = "who is served first when there is not enough for all; 7 before 0"},
        {"breach_price", CONFIG_NUMBER, PROFILE(breach_price), .preset = "1", .min = "0", .max = "1000000",
         .help = "what one second of broken promise costs; the unit of all prices"},
};
static const struct config_section profile_section = {
        "a profile",
        "profiles[]",
        sizeof(struct dog_config_profile),
        profile_keys,
        ARRAY_SIZE(profile_keys),
        "A promise that classes can be given. A limit that is \"none\" is not promised."};

static const char *const radio_sources[] = {"none", "modem", "dish", "file", NULL};

#define RADIO(field)    AT(dog_config_radio, field)
#define RADIO_AT(field) .where_offset = offsetof(struct dog_config_radio, field)
static const struct config_key radio_keys[] = {
        {"source", CONFIG_CHOICE, RADIO(source), RADIO_AT(source_at), .preset = "none",
         .choice = radio_sources,
         .help = "who tells: modem: ModemManager on D-Bus; dish: a Starlink dish's get_status as JSON; file: "
                 "keys "
                 "and values, or JSON, that another program writes"},
        {"modem", CONFIG_NAME, RADIO(modem), RADIO_AT(modem_at), .preset = "auto",
         .help = "modem: its index or IMEI; \"auto\" is the one that has the path's \"device\""},
        {"bus", CONFIG_FILE, RADIO(bus), .preset = "/run/dbus/system_bus_socket",
         .help = "modem: the socket of the D-Bus that ModemManager is on"},
        {"url", CONFIG_URL, RADIO(url), RADIO_AT(url_at), .preset = "",
         .help = "dish: what answers with that JSON on the local network: http://192.168.1.2:8080/status"},
        {"file", CONFIG_FILE, RADIO(file), RADIO_AT(file_at), .preset = "",
         .help = "dish: a file with that JSON, rewritten now and then; file: a file or a named pipe. On a "
                 "local "
                 "file system"},
        {"interval", CONFIG_TIME, RADIO(interval_ns), .preset = "1s", .min = "100ms", .max = "1min",
         .help = "how often it is asked or looked at"},
        {"stale_after", CONFIG_TIME, RADIO(stale_ns), RADIO_AT(stale_at), .preset = "5s", .min = "500ms",
         .max = "10min", .help = "what was told longer ago is not known any more"},
};
static const struct config_section radio_section = {"a path's radio",
                                                    "tunnels[].paths[].radio",
                                                    0,
                                                    radio_keys,
                                                    ARRAY_SIZE(radio_keys),
                                                    "What a modem or a dish tells of its signal is a further "
                                                    "input of the path's risk. It may raise a risk "
                                                    "or lower it by what outcomes have taught; nothing is "
                                                    "assumed before, and without it nothing is lost."};

#define PATH(field) AT(dog_config_path, field)
static const struct config_key path_keys[] = {
        {"name", CONFIG_NAME, PATH(name), .help = "what people call it: fiber, lte"},
        {"id", CONFIG_INTEGER, PATH(id), .preset = "auto", .min = "0", .max = "3", .word = "auto",
         .word_value = -1,
         .help = "its number on the wire, the same at both ends; its place in the list by default"},
        {"device", CONFIG_DEVICE, PATH(device), .help = "the uplink's network device"},
        {"local", CONFIG_IPV4, PATH(local), .help = "our address on it"},
        {"remote", CONFIG_IPV4, PATH(remote), .word = "learn", .word_value = 0,
         .help = "the far gateway's address; \"learn\" takes it from authenticated packets"},
        {"price_per_gb", CONFIG_NUMBER, PATH(price_per_gb), .preset = "0", .min = "0", .max = "1000000",
         .help = "what a gigabyte costs here"},
        {"role", CONFIG_CHOICE, PATH(role), .preset = "primary", .choice = roles,
         .help = "backup: only when no primary path keeps the promise; never: measured, not used"},
        {"radio", CONFIG_SECTION, PATH(radio), .preset = "", .section = &radio_section,
         .help = "what a modem or a dish tells of its signal"},
};
static const struct config_section path_section = {
        "a path",  "tunnels[].paths[]",   sizeof(struct dog_config_path),
        path_keys, ARRAY_SIZE(path_keys), "One way over the internet: an uplink and a far address."};

#define TUNNEL(field)    AT(dog_config_tunnel, field)
#define TUNNEL_AT(field) .where_offset = offsetof(struct dog_config_tunnel, field)
static const struct config_key tunnel_keys[] = {
        {"name", CONFIG_NAME, TUNNEL(name), .help = "what people call it"},
        {"id", CONFIG_INTEGER, TUNNEL(id), .preset = "auto", .min = "1", .max = "255", .word = "auto",
         .word_value = -1,
         .help = "its number on the wire, the same at both ends; its place in the list, from 1, by default"},
        {"device", CONFIG_DEVICE, TUNNEL(device), TUNNEL_AT(device_at), .preset = "sd0",
         .help = "the network device to make; what is routed to it is carried"},
        {"peer", CONFIG_NAME, TUNNEL(peer), .help = "the \"site\" of the far gateway"},
        {"address", CONFIG_NET, TUNNEL(address), TUNNEL_AT(address_at),
         .help = "the device's address with its net: 10.99.0.1/30"},
        {"mtu", CONFIG_INTEGER, TUNNEL(mtu), .preset = "auto", .min = "576", .max = "9000", .word = "auto",
         .word_value = 0, .help = "largest packet inside; \"auto\" measures what each path carries"},
        {"key_file", CONFIG_FILE, TUNNEL(key_file), TUNNEL_AT(key_file_at),
         .help = "the secret shared with the peer; readable by its owner alone"},
        {"udp_port", CONFIG_INTEGER, TUNNEL(udp_port), TUNNEL_AT(udp_port_at), .preset = "7480", .min = "1",
         .max = "65535", .help = "for the tunnelled packets, at both ends"},
        {"stamp_port", CONFIG_INTEGER, TUNNEL(stamp_port), TUNNEL_AT(stamp_port_at), .preset = "862",
         .min = "1", .max = "65535",
         .help = "for probes (STAMP, RFC 8762), at both ends; tunnels may share it"},
        {"stamp_interval", CONFIG_TIME, TUNNEL(stamp_interval_ns), .preset = "10s", .min = "10ms",
         .max = "1h",
         .help = "between two probes of a path while no class sends; 10s costs 84 MB a month, both "
                 "directions"},
        {"stamp_busy", CONFIG_TIME, TUNNEL(stamp_busy_ns), .preset = "250ms", .min = "10ms", .max = "1h",
         .help = "between two probes of a path that carries traffic; the others are probed a quarter as "
                 "often"},
        {"paths", CONFIG_LIST, TUNNEL(path), .count_offset = offsetof(struct dog_config_tunnel, paths),
         .max = "4", .section = &path_section, .help = "the ways to the far gateway"},
};
static const struct config_section tunnel_section = {
        "a tunnel",
        "tunnels[]",
        sizeof(struct dog_config_tunnel),
        tunnel_keys,
        ARRAY_SIZE(tunnel_keys),
        "A tunnel to one far gateway over one to four paths. The outside is IPv4 in this version."};

#define MATCH(field)       AT(dog_config_match, field)
#define MATCH_COUNT(field) .count_offset = offsetof(struct dog_config_match, field)
static const struct config_key match_keys[] = {
        {"prefix", CONFIG_PREFIXES, MATCH(prefix), MATCH_COUNT(prefixes), .preset = "", .max = "16",
         .help = "source or destination address inside one of these"},
        {"protocol", CONFIG_PROTOCOL, MATCH(protocol), .preset = "any", .word = "any", .word_value = 0,
         .help = "tcp, udp, icmp, sctp, gre, esp, ah or a number"},
        {"ports", CONFIG_PORTS, MATCH(port), MATCH_COUNT(ports), .preset = "", .max = "16",
         .help = "source or destination port in one of these: 5060 or 10000-20000; with tcp, udp, sctp"},
        {"dscp", CONFIG_DSCPS, MATCH(dscp), MATCH_COUNT(dscps), .preset = "", .max = "16",
         .help = "DSCP one of these: ef, af41, cs5 or 0 to 63"},
};
static const struct config_section match_section = {
        "a match",
        "classes[].match",
        0,
        match_keys,
        ARRAY_SIZE(match_keys),
        "Which packets belong to a class: all keys must agree, within a list any entry does. An empty match "
        "takes every packet."};

#define CLASS(field)    AT(dog_config_class, field)
#define CLASS_AT(field) .where_offset = offsetof(struct dog_config_class, field)
static const struct config_key class_keys[] = {
        {"name", CONFIG_NAME, CLASS(name), .help = "what people call it"},
        {"id", CONFIG_INTEGER, CLASS(id), .preset = "auto", .min = "1", .max = "255", .word = "auto",
         .word_value = -1,
         .help = "its number on the wire, the same at both ends; its place in the list, from 1, by default"},
        {"tunnel", CONFIG_NAME, CLASS(tunnel), CLASS_AT(tunnel_at), .preset = "",
         .help = "only in this tunnel; in every tunnel by default"},
        {"match", CONFIG_SECTION, CLASS(match), .preset = "", .section = &match_section,
         .help = "which packets; the first class that matches has them"},
        {"profile", CONFIG_NAME, CLASS(profile), CLASS_AT(profile_at),
         .help = "the promise: the name of a profile"},
        {"mirror", CONFIG_CHOICE, CLASS(mirror), .preset = "auto", .choice = mirrors,
         .help = "auto: copy when a forecast asks for it; always: copy every packet; never: one path at a "
                 "time"},
        {"mirror_budget", CONFIG_SHARE, CLASS(mirror_budget), .preset = "policy", .word = "policy",
         .word_value = -1, .help = "as in policy, for this class alone"},
};
static const struct config_section class_section = {
        "a class",
        "classes[]",
        sizeof(struct dog_config_class),
        class_keys,
        ARRAY_SIZE(class_keys),
        "A kind of traffic, the promise it was given, and how far to go "
        "for it. Order matters."};

static const char *const front_roles[] = {"gateway", "host", NULL};
static const char *const hooks[] = {"auto", "tc", "xdp", NULL};

#define FRONT(field)    AT(dog_config_front, field)
#define FRONT_AT(field) .where_offset = offsetof(struct dog_config_front, field)
static const struct config_key front_keys[] = {
        {"devices", CONFIG_DEVICES, FRONT(device), .count_offset = offsetof(struct dog_config_front, devices),
         FRONT_AT(devices_at), .preset = "", .max = "16",
         .help = "where clients and instances are; on a client's own host: its uplinks"},
        {"role", CONFIG_CHOICE, FRONT(role), FRONT_AT(role_at), .preset = "gateway", .choice = front_roles,
         .help = "gateway: packets of clients come through here; host: the clients are this host's own "
                 "programs"},
        {"hook", CONFIG_CHOICE, FRONT(hook), .preset = "auto", .choice = hooks,
         .help = "auto: XDP where the driver has it, and tc; tc: tc alone; xdp: XDP, generic if need be, and "
                 "tc"},
        {"connections", CONFIG_INTEGER, FRONT(connections), .preset = "65536", .min = "1024",
         .max = "4194304",
         .help = "so many protected connections, 160 bytes each; rounded up to a power of two"},
        {"half_open", CONFIG_INTEGER, FRONT(half_open), .preset = "16384", .min = "256", .max = "1048576",
         .help = "so many connections that have not been answered yet; rounded up to a power of two"},
        {"idle", CONFIG_TIME, FRONT(idle_ns), .preset = "15min", .min = "10s", .max = "7d",
         .help = "a connection without a packet for so long is forgotten"},
        {"probe_interval", CONFIG_TIME, FRONT(probe_interval_ns), .preset = "5ms", .min = "1ms",
         .max = "1min", .help = "between two probes of an instance"},
        {"probe_misses", CONFIG_INTEGER, FRONT(probe_misses), .preset = "3", .min = "1", .max = "100",
         .help = "so many unanswered probes in a row and an instance is dead"},
        {"patience", CONFIG_TIME, FRONT(patience_ns), .preset = "100ms", .min = "1ms", .max = "1h",
         .help = "a planned move waits at most so long for the client to have all bytes of the old instance"},
        {"agent_port", CONFIG_INTEGER, FRONT(agent_port), FRONT_AT(agent_port_at), .preset = "7482",
         .min = "1", .max = "65535", .help = "UDP, where agents send what they see of their instances"},
        {"tell_port", CONFIG_INTEGER, FRONT(tell_port), FRONT_AT(tell_port_at), .preset = "none", .min = "1",
         .max = "65535", .word = "none", .word_value = 0,
         .help = "UDP, where hosts with \"told_by\" ask a gateway who serves an address and how well; needs "
                 "\"key_file\""},
        {"key_file", CONFIG_FILE, FRONT(key_file), FRONT_AT(key_file_at), .preset = "",
         .help = "the secret shared by a gateway and the hosts that it tells; readable by its owner alone"},
        {"told_by", CONFIG_ADDRESS, FRONT(told_by), FRONT_AT(told_by_at), .preset = "nobody",
         .word = "nobody", .word_value = 0,
         .help = "on a host: the gateway that tells the health of instances; asked at its \"tell_port\""},
        {"pair", CONFIG_ADDRESS, FRONT(pair), FRONT_AT(pair_at), .preset = "nobody", .word = "nobody",
         .word_value = 0,
         .help = "the other balancer: each knows the protected connections of the other and carries them on "
                 "when "
                 "their packets come to it; both need the same vips and instances in the same order"},
        {"pair_port", CONFIG_INTEGER, FRONT(pair_port), FRONT_AT(pair_port_at), .preset = "7867", .min = "1",
         .max = "65535", .help = "UDP, where the pair talks; the same at both"},
        {"pair_key_file", CONFIG_FILE, FRONT(pair_key_file), FRONT_AT(pair_key_file_at), .preset = "",
         .help = "the secret of the pair, the same at both; readable by its owner alone"},
        {"aligned_key_file", CONFIG_FILE, FRONT(aligned_key_file), FRONT_AT(aligned_key_file_at),
         .preset = "",
         .help = "the secret of vips with \"mode: aligned\", the same as the shim_key_file of their "
                 "instances' "
                 "agents; readable by its owner alone"},
};
static const struct config_section front_section = {
        "the front",
        "front",
        0,
        front_keys,
        ARRAY_SIZE(front_keys),
        "Where virtual addresses are served: at a gateway, or on the client's own host."};

static const char *const checks[] = {"auto", "icmp", "tcp", "agent", NULL};

static const char *const shims[] = {"auto", "none", "ungated", "gated", NULL};

#define INSTANCE(field)    AT(dog_config_instance, field)
#define INSTANCE_AT(field) .where_offset = offsetof(struct dog_config_instance, field)
static const struct config_key instance_keys[] = {
        {"name", CONFIG_NAME, INSTANCE(name), .help = "what people and vips call it"},
        {"address", CONFIG_ADDRESS, INSTANCE(address), INSTANCE_AT(address_at), .help = "its own address"},
        {"device", CONFIG_DEVICE, INSTANCE(device), INSTANCE_AT(device_at), .preset = "",
         .help = "which of the front's devices it is behind; may be left out when the front has one"},
        {"weight", CONFIG_NUMBER, INSTANCE(weight), .preset = "1", .min = "0", .max = "1000",
         .help = "its part of new connections while all are equally healthy; 0: none"},
        {"price", CONFIG_NUMBER, INSTANCE(price), .preset = "0", .min = "0", .max = "1000000",
         .help = "what a second of serving costs, in the unit of breach_price"},
        {"role", CONFIG_CHOICE, INSTANCE(role), .preset = "primary", .choice = roles,
         .help = "backup: stands by, and serves only when no primary is healthy; never: measured, not used"},
        {"fates", CONFIG_WORDS, INSTANCE(fate), .count_offset = offsetof(struct dog_config_instance, fates),
         .preset = "", .max = "4",
         .help = "what it shares with others and would fall with: a host, a rack, a power line, by any name; "
                 "instances with a common one are no mirror of each other"},
        {"check", CONFIG_CHOICE, INSTANCE(check), INSTANCE_AT(check_at), .preset = "auto", .choice = checks,
         .help = "how its life is probed: icmp: by echo; tcp: by opening a connection; agent: by its agent's "
                 "beat; auto: by echo, or by TCP where nothing comes back"},
        {"check_port", CONFIG_INTEGER, INSTANCE(check_port), .preset = "auto", .min = "1", .max = "65535",
         .word = "auto", .word_value = 0,
         .help = "for TCP checks; by default the port on which it serves its first TCP vip"},
        {"agent_key_file", CONFIG_FILE, INSTANCE(agent_key_file), INSTANCE_AT(agent_key_file_at),
         .preset = "", .help = "the secret of its agent; readable by its owner alone"},
        {"shim", CONFIG_CHOICE, INSTANCE(shim), INSTANCE_AT(shim_at), .preset = "auto", .choice = shims,
         .help = "for \"mode: aligned\": does its host run the shim? auto: as its agent says; gated: it "
                 "does, "
                 "whatever the agent says; ungated: it does, and the front holds a standby's bytes back; "
                 "none: "
                 "it does not"},
        {"exporter", CONFIG_URL, INSTANCE(exporter), INSTANCE_AT(exporter_at), .preset = "",
         .help = "a Prometheus node_exporter instead of an agent: http://192.0.2.1:9100/metrics"},
};
static const struct config_section instance_section = {
        "an instance",
        "instances[]",
        sizeof(struct dog_config_instance),
        instance_keys,
        ARRAY_SIZE(instance_keys),
        "A server. It needs no change; an agent on it, or a node_exporter, makes forecasts earlier."};

static const char *const vip_protocols[] = {"tcp", "udp", NULL};
static const char *const protects[] = {"auto", "always", "never", "share", NULL};
static const char *const returns[] = {"nat", "l2", "direct", NULL};
static const char *const answers[] = {"primary", "first", NULL};
static const char *const modes[] = {"translated", "aligned", NULL};

#define VIP(field)    AT(dog_config_vip, field)
#define VIP_AT(field) .where_offset = offsetof(struct dog_config_vip, field)
static const struct config_key vip_keys[] = {
        {"name", CONFIG_NAME, VIP(name), .help = "what people call it"},
        {"address", CONFIG_ADDRESS, VIP(address), VIP_AT(address_at),
         .help = "the virtual address, IPv4 or IPv6; route it to this gateway"},
        {"port", CONFIG_INTEGER, VIP(port), VIP_AT(port_at), .min = "1", .max = "65535", .word = "any",
         .word_value = 0, .help = "the port that is served"},
        {"protocol", CONFIG_CHOICE, VIP(protocol), .preset = "tcp", .choice = vip_protocols, .help = "which"},
        {"instances", CONFIG_SEATS, VIP(seat), .count_offset = offsetof(struct dog_config_vip, seats),
         VIP_AT(seats_at), .max = "16",
         .help = "who serves it: names, or NAME:PORT where the port is another one"},
        {"profile", CONFIG_NAME, VIP(profile), VIP_AT(profile_at), .preset = "",
         .help = "the promise: the name of a profile; by default that it answers within a second"},
        {"protect", CONFIG_CHOICE, VIP(protect), VIP_AT(protect_at), .preset = "always", .choice = protects,
         .help = "which new connections are mirrored on a standby: always: all; auto: as forecasts ask for, "
                 "within the budget; share: \"share\" of them; never: none"},
        {"share", CONFIG_SHARE, VIP(share), VIP_AT(share_at), .preset = "none", .word = "none",
         .word_value = -1, .help = "of the new connections, with \"protect: share\""},
        {"budget", CONFIG_SHARE, VIP(budget), VIP_AT(budget_at), .preset = "policy", .word = "policy",
         .word_value = -1,
         .help = "with \"protect: auto\": protected connections as a share of all, in the "
                 "long run; as mirror_budget in policy by default"},
        {"return", CONFIG_CHOICE, VIP(returns), VIP_AT(returns_at), .preset = "nat", .choice = returns,
         .help = "nat: instances have their own address and answer through the front; l2: they have the "
                 "vip's "
                 "address too (never announced); direct: the same, and they answer clients themselves, "
                 "unprotected"},
        {"answer", CONFIG_CHOICE, VIP(answer), VIP_AT(answer_at), .preset = "primary", .choice = answers,
         .help = "of a mirrored UDP request: the primary's answer goes back, or the first that comes"},
        {"guard", CONFIG_CHOICE, VIP(has_guard), .preset = "yes", .choice = no_yes,
         .help = "compare what both instances answer, but for HTTP dates; a standby that differs is evicted. "
                 "In "
                 "aligned mode the standby's answers then travel to the front, which \"no\" saves"},
        {"classes", CONFIG_CHOICE, VIP(has_classes), .preset = "yes", .choice = no_yes,
         .help = "HTTP/1: remember kinds of requests whose answers differ, and do not mirror them again"},
        {"most", CONFIG_INTEGER, VIP(most), .preset = "all", .min = "1", .max = "4194304", .word = "all",
         .word_value = 0, .help = "at most so many protected connections at one time; more go unprotected"},
        {"mode", CONFIG_CHOICE, VIP(mode), VIP_AT(mode_at), .preset = "translated", .choice = modes,
         .help = "translated: any server; aligned: servers that run Sundog's shim, and less work; "
                 "connections "
                 "whose primary or standby has none are translated"},
        {"priority", CONFIG_INTEGER, VIP(priority), .preset = "profile", .min = "0", .max = "7",
         .word = "profile", .word_value = -1, .help = "as in the profile, for this vip alone"},
        {"lag_bytes", CONFIG_SIZE, VIP(lag_bytes), .preset = "64KiB", .min = "1B", .max = "1GB",
         .help = "a standby that has taken in so much less of the request than its primary ..."},
        {"lag_time", CONFIG_TIME, VIP(lag_ns), .preset = "500ms", .min = "0s", .max = "1h",
         .help = "... for so long is evicted; 0s: never"},
};
static const struct config_section vip_section = {
        "a vip",
        "vips[]",
        sizeof(struct dog_config_vip),
        vip_keys,
        ARRAY_SIZE(vip_keys),
        "A virtual address in front of several instances. New connections leave an instance before it fails; "
        "protected ones live on when it dies."};

static const char *const feed_kinds[] = {"calendar", "weather", "events", NULL};
static const char *const feed_formats[] = {"sundog", "met-norway", "nws", "open-meteo", NULL};
static const char *const feed_measures[] = {"rain", "snow", "wind", "attendance", NULL};

#define FEED(field)    AT(dog_config_feed, field)
#define FEED_AT(field) .where_offset = offsetof(struct dog_config_feed, field)
#define MAP(field)                                                                                           \
        .offset = offsetof(struct dog_config_feed, map.field) - offsetof(struct dog_config_feed, map)
static const struct config_key feed_map_keys[] = {
        {"entries", CONFIG_TEXT, MAP(entries), .preset = "",
         .help = "the list of entries, by the names on the way to it: properties.timeseries"},
        {"start", CONFIG_TEXT, MAP(start), .preset = "",
         .help = "in an entry: when it begins, as an RFC 3339 time or seconds since 1970"},
        {"end", CONFIG_TEXT, MAP(end), .preset = "",
         .help = "in an entry: when it ends; without, it lasts until the next one begins"},
        {"value", CONFIG_TEXT, MAP(value), .preset = "", .help = "in an entry: the number that is judged"},
        {"where", CONFIG_TEXT, MAP(place), .preset = "", .help = "in an entry: what it is about"},
        {"words", CONFIG_TEXT, MAP(words), .preset = "", .help = "in an entry: a text for people"},
};
static const struct config_section feed_map_section = {"map",
                                                       "feeds[].map",
                                                       0,
                                                       feed_map_keys,
                                                       ARRAY_SIZE(feed_map_keys),
                                                       "Where things stand in a JSON document that has no "
                                                       "name under *format*. What is given here stands above "
                                                       "what the format says."};
static const struct config_key feed_keys[] = {
        {"name", CONFIG_NAME, FEED(name), .help = "what people call it"},
        {"kind", CONFIG_CHOICE, FEED(kind), .choice = feed_kinds,
         .help = "calendar: iCalendar, of planned maintenance; weather: a forecast as JSON; events: a "
                 "schedule as "
                 "JSON"},
        {"url", CONFIG_LINK, FEED(url), FEED_AT(url_at), .preset = "", .help = "where it is fetched"},
        {"file", CONFIG_FILE, FEED(file), FEED_AT(file_at), .preset = "",
         .help = "a local file instead; the decider's user must be able to read it"},
        {"affects", CONFIG_WORDS, FEED(affect), .count_offset = offsetof(struct dog_config_feed, affects),
         FEED_AT(affects_at), .max = "32",
         .help = "paths, tunnels, instances and fates that it is about. An entry that names some of them is "
                 "about "
                 "those alone"},
        {"match", CONFIG_TEXT, FEED(match), .preset = "",
         .help = "only entries with this text in their words or place, in any case of letters"},
        {"interval", CONFIG_TIME, FEED(interval_ns), .preset = "15min", .min = "1s", .max = "7d",
         .help = "how often it is fetched, give or take a tenth; after failures less and less often"},
        {"stale_after", CONFIG_TIME, FEED(stale_ns), FEED_AT(stale_at), .preset = "3h", .min = "1s",
         .max = "31d", .help = "when it could not be fetched for so long, what it said counts no more"},
        {"timeout", CONFIG_TIME, FEED(timeout_ns), .preset = "20s", .min = "100ms", .max = "5min",
         .help = "a fetch may take so long"},
        {"max_bytes", CONFIG_SIZE, FEED(max_bytes), .preset = "1MiB", .min = "1kB", .max = "64MiB",
         .help = "a longer answer is cut off and not read"},
        {"redirects", CONFIG_INTEGER, FEED(redirects), .preset = "3", .min = "0", .max = "10",
         .help = "followed at most; never from https to http"},
        {"adds", CONFIG_NUMBER, FEED(adds), FEED_AT(adds_at), .preset = "usual", .min = "0", .max = "10",
         .word = "usual", .word_value = -1,
         .help = "what an entry adds to the risk, in log-odds; usual: 8 for a calendar (a chance of 1 in "
                 "1000 becomes "
                 "3 in 4), 2 for weather, 1 for events"},
        {"times", CONFIG_NUMBER, FEED(times), FEED_AT(times_at), .preset = "none", .min = "1", .max = "20000",
         .word = "none", .word_value = 0, .help = "the same as a multiple of the odds, instead of \"adds\""},
        {"lead", CONFIG_TIME, FEED(lead_ns), .preset = "1min", .min = "0s", .max = "1d",
         .help = "caution begins so long before what is announced"},
        {"timezone", CONFIG_TEXT, FEED(timezone), FEED_AT(timezone_at), .preset = "UTC",
         .help = "calendars: of times that say none, such as Europe/Vienna"},
        {"contact", CONFIG_TEXT, FEED(contact), .preset = "",
         .help = "told to the server with our name; some ask for an address to write to"},
        {"format", CONFIG_CHOICE, FEED(format), FEED_AT(format_at), .preset = "sundog",
         .choice = feed_formats,
         .help = "of weather and events: our own (see below), MET Norway's Locationforecast 2.0 compact, the "
                 "hourly "
                 "forecast of the National Weather Service, Open-Meteo's hourly columns"},
        {"measure", CONFIG_CHOICE, FEED(measure), FEED_AT(measure_at), .preset = "usual",
         .choice = feed_measures, .word = "usual", .word_value = -1,
         .help = "which number is judged; usual: rain of weather, attendance of events"},
        {"from", CONFIG_NUMBER, FEED(from), FEED_AT(from_at), .preset = "usual", .min = "0",
         .max = "1000000000", .word = "usual", .word_value = -1,
         .help = "below this the number adds nothing; usual: rain 2 mm/h, snow 0.5 cm/h, wind 15 m/s, "
                 "attendance "
                 "1000"},
        {"full", CONFIG_NUMBER, FEED(full), FEED_AT(full_at), .preset = "usual", .min = "0",
         .max = "1000000000", .word = "usual", .word_value = -1,
         .help = "from here on it adds everything; usual: 20 mm/h, 5 cm/h, 30 m/s, 20000"},
        {"map", CONFIG_SECTION, FEED(map), .preset = "", .section = &feed_map_section,
         .help = "where things stand in other JSON documents"},
};
static const struct config_section feed_section = {
        "a feed",
        "feeds[]",
        sizeof(struct dog_config_feed),
        feed_keys,
        ARRAY_SIZE(feed_keys),
        "What others announce: maintenance, weather, events. A feed can only add risk, for a time; it never "
        "hides "
        "what was measured, and nothing is usable or unusable because of it."};

#define ROOT_COUNT(field) .count_offset = offsetof(struct dog_config, field)
static const struct config_key root_keys[] = {
        {"site", CONFIG_NAME, AT(dog_config, site), .where_offset = offsetof(struct dog_config, site_at),
         .help = "this gateway's name; the far one has it as \"peer\""},
        {"user", CONFIG_NAME, AT(dog_config, user), .preset = "sundog",
         .help = "the account under which everything but the privileged helper runs"},
        {"store", CONFIG_SECTION, .offset = 0, .preset = "", .section = &store_section,
         .help = "what is remembered"},
        {"api", CONFIG_SECTION, .offset = 0, .preset = "", .section = &api_section, .help = "where to ask"},
        {"policy", CONFIG_SECTION, AT(dog_config, policy), .preset = "", .section = &policy_section,
         .help = "how eagerly to act"},
        {"forecast", CONFIG_SECTION, AT(dog_config, forecast), .preset = "", .section = &forecast_section,
         .help = "who says what is ahead"},
        {"profiles", CONFIG_LIST, AT(dog_config, profile), ROOT_COUNT(profiles), .preset = "", .max = "64",
         .section = &profile_section, .help = "promises"},
        {"tunnels", CONFIG_LIST, AT(dog_config, tunnel), ROOT_COUNT(tunnels), .preset = "", .max = "32",
         .section = &tunnel_section, .help = "to far gateways"},
        {"classes", CONFIG_LIST, AT(dog_config, class), ROOT_COUNT(classes), .preset = "", .max = "255",
         .section = &class_section, .help = "of traffic, in the order of matching"},
        {"front", CONFIG_SECTION, AT(dog_config, front), .preset = "", .section = &front_section,
         .help = "where virtual addresses are served"},
        {"instances", CONFIG_LIST, AT(dog_config, instance), ROOT_COUNT(instances), .preset = "",
         .max = "128", .section = &instance_section, .help = "servers"},
        {"vips", CONFIG_LIST, AT(dog_config, vip), ROOT_COUNT(vips), .preset = "", .max = "64",
         .section = &vip_section, .help = "virtual addresses in front of them"},
        {"feeds", CONFIG_LIST, AT(dog_config, feed), ROOT_COUNT(feeds), .preset = "", .max = "16",
         .section = &feed_section, .help = "what others announce"},
};
const struct config_section dog_config_root = {"the configuration",       "",
                                               sizeof(struct dog_config), root_keys,
                                               ARRAY_SIZE(root_keys),     "Keys of the file itself."};

const char *dog_config_type_name(enum config_type type)
{
        static const char *const name[] = {
                [CONFIG_NAME] = "name",
                [CONFIG_DEVICE] = "network device",
                [CONFIG_TEXT] = "text",
                [CONFIG_LINK] = "URL (http or https)",
                [CONFIG_FILE] = "absolute file name",
                [CONFIG_TIME] = "time (ns, us, ms, s, min, h, d)",
                [CONFIG_SHARE] = "share (% or 0..1)",
                [CONFIG_SIZE] = "size (B, kB, MB, GB, TB, KiB, MiB, GiB)",
                [CONFIG_RATE] = "rate (bit/s, kbit/s, Mbit/s, Gbit/s)",
                [CONFIG_NUMBER] = "number",
                [CONFIG_INTEGER] = "whole number",
                [CONFIG_CHOICE] = "one of",
                [CONFIG_PROTOCOL] = "IP protocol",
                [CONFIG_IPV4] = "IPv4 address",
                [CONFIG_NET] = "IPv4 address with prefix length",
                [CONFIG_PREFIXES] = "IPv4 prefix, or a list",
                [CONFIG_PORTS] = "port or range, or a list",
                [CONFIG_DSCPS] = "DSCP, or a list",
                [CONFIG_ADDRESS] = "IPv4 or IPv6 address",
                [CONFIG_URL] = "URL",
                [CONFIG_WORDS] = "name, or a list",
                [CONFIG_DEVICES] = "network device, or a list",
                [CONFIG_SEATS] = "NAME or NAME:PORT, or a list",
                [CONFIG_SECTION] = "mapping",
                [CONFIG_LIST] = "list of mappings",
        };
        return name[type];
}
