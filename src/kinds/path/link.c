#include "kinds/path/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "hands/secret.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fewer packets than this say nothing about a loss ratio. */
#define PASSIVE_LEAST 20
/* How often the far end's counters are asked for. */
#define REPORT_NS (5 * DOG_S)
/* How often it is listened for silence, how many packets make a pace, how long a warning holds. */
#define LISTEN_NS     (20 * DOG_MS)
#define REGULAR_LEAST 10
#define WARNING_NS    (600 * DOG_MS)
/* What a warning says: more likely than not the promise is being broken. */
#define WARNING_SAYS 0.6F
/* An answer this much later than expected is overdue, and this is the least it then says. */
#define OVERDUE_MS    10.0
#define OVERDUE_LEAST 0.2
/* How often it is looked whether a class sends, and how long it counts as sending after that. */
#define PACE_NS (100 * DOG_MS)
#define BUSY_NS (3 * DOG_S)
/* How often paths that are not usable are tried again. */
#define RETRY_NS (1 * DOG_S)

struct probe {
        struct path_link *link;
        unsigned path;
        int session_fd, reflector_fd; /* -1: not open */
        uint32_t device_index;        /* of the interface that the sockets are bound to */
        struct dog_stamp_session *session;
        struct dog_stamp_reflector *reflector;
        int64_t answered_ns;         /* when the last answered probe was sent */
        int64_t sampled_ns;          /* time of the newest sample handed over */
        struct dog_radio_past radio; /* what the path's modem or dish has told */
        struct dog_stamp_report report;
        int64_t report_ns;
        double passive_loss;
        double reorder;
        double delay_ms;
        int64_t due_ns;
        int64_t pace_ns;     /* between probes, now */
        int64_t pace_was_ns; /* ... and before that was changed */
        int64_t paced_ns;    /* when it was changed */
};

struct member_of_link {
        struct path_link *link;
        unsigned class; /* index in the settings */
};

/* What comes of one class, as this end hears it. */
struct ear {
        uint64_t newest; /* highest sequence on any path */
        int64_t heard_ns;
        int64_t gap_ns;   /* usual distance of two packets */
        unsigned regular; /* packets since it was last silent for long; saturates */
        bool has_told;
};

/* What the far end has told of one class that we send. */
struct warning {
        uint64_t newest; /* of the last notice: an older one is a replay or came late */
        int64_t until_ns;
        uint16_t paths; /* that carried the class then */
};

struct path_link {
        struct path_link_settings settings;
        char *words; /* copies of the strings in settings */
        struct path_tunnel *tunnel;
        struct dog_hands_client *hands;
        struct dog_group **group; /* by class of the settings; owned by the loop */
        struct probe probe[PATH_PATHS_MAX];
        struct dog_stamp_race race;
        uint8_t stamp_key[DOG_STAMP_KEY_SIZE];
        uint32_t report_epoch;
        struct ear *ear;         /* by class of the settings */
        struct warning *warning; /* likewise */
        int64_t retry_ns, interval_ns, pace_ns, listen_ns;
        int64_t busy_until_ns; /* some class was sending a moment ago */
        uint64_t sent;         /* packets of all classes, at the last look */
};

/* ---- the kind: a plan becomes one store ---- */

static int path_steer_to(struct dog_group *g, uint16_t hot, struct dog_err *e)
{
        const struct member_of_link *m = g->priv;
        return path_tunnel_steer(m->link->tunnel, m->link->settings.class[m->class].number, hot, e);
}

static int path_mirror(struct dog_group *g, const struct dog_plan *plan, struct dog_err *e)
{
        return path_steer_to(g, plan->hot | plan->hot_was, e);
}

static int path_steer(struct dog_group *g, const struct dog_plan *plan, struct dog_err *e)
{
        return path_steer_to(g, plan->hot, e);
}

/* What a path knows besides the model. */
#define PATH_HINTS(X)                                                                                        \
        X(NONE, "")                                                                                          \
        X(OVERDUE, "an answer is overdue")                                                                   \
        X(SILENT, "the far end hears nothing any more")

enum path_hint {
#define X(id, words) PATH_HINT_##id,
        PATH_HINTS(X)
#undef X
                PATH_HINT_COUNT
};

static const char *const path_hint_words[] = {
#define X(id, words) words,
        PATH_HINTS(X)
#undef X
};

/*
 * What the path knows before the model does. The far end may have told that a class fell silent:
 * the paths that carried it are suspect. And an answer that is overdue says something before it is lost.
 * Overdue is what is later than the forecast by twice its spread; from there the chance of a broken promise
 * grows to almost certainty at the limit.
 */
static void path_forecast(struct dog_group *g, int64_t now_ns)
{
        const struct member_of_link *m = g->priv;
        const struct warning *warning = &m->link->warning[m->class];
        double limit_ms = g->promise.rtt_ms > 0 ? g->promise.rtt_ms : 1000;
        for (unsigned p = 0; p < g->members; p++) {
                const struct dog_stamp_session *session = m->link->probe[p].session;
                struct dog_belief *b = &g->member[p].belief;
                if (now_ns < warning->until_ns && (warning->paths & 1U << p))
                        dog_belief_raise(b, WARNING_SAYS, PATH_HINT_SILENT);
                double usual_ms = (double)b->rtt_ms[0].mean + 2 * (double)b->rtt_ms[0].spread + OVERDUE_MS;
                if (!session || isnan(usual_ms))
                        continue;
                usual_ms = fmin(usual_ms, 0.9 * limit_ms);
                double waiting_ms = (double)dog_stamp_session_waiting_ns(session, now_ns) / (double)DOG_MS;
                if (waiting_ms <= usual_ms)
                        continue;
                double share = (waiting_ms - usual_ms) / (limit_ms - usual_ms);
                float p_overdue = (float)fmin(0.95, OVERDUE_LEAST + (0.95 - OVERDUE_LEAST) * share);
                dog_belief_raise(b, p_overdue, PATH_HINT_OVERDUE);
        }
        /* An announcement last: it is no hint of a failure that has begun, and asks for a move in good time.
         */
        if (m->link->settings.caution) {
                struct dog_caution c[DOG_MEMBERS_MAX] = {0};
                m->link->settings.caution(m->link->settings.user, g, now_ns, c);
                dog_caution_apply(g, c);
        }
}

static void path_close(struct dog_group *g)
{
        free(g->priv);
        g->priv = NULL;
}

const struct dog_kind path_kind = {
        .name = "path",
        .summary = "a traffic class between two gateways, over several underlay paths",
        .grain = DOG_GRAIN_PACKET,
        .hint = path_hint_words,
        .hints = PATH_HINT_COUNT,
        .down = "the device or its carrier is down",
        .levels = 1U << DOG_COLD | 1U << DOG_READY | 1U << DOG_HOT,
        .period_ns = 20 * DOG_MS,
        .close = path_close,
        .forecast = path_forecast,
        .mirror = path_mirror,
        .steer = path_steer,
};

/* ---- samples ---- */

/*
 * A loss is known only after its timeout, when later probes have been answered already. The core
 * takes samples in order, so the news counts from when it is news.
 */
static void link_in_order(struct path_link *l, unsigned path, struct dog_sample *s)
{
        struct probe *p = &l->probe[path];
        if (s->at_ns <= p->sampled_ns)
                s->at_ns = p->sampled_ns + 1;
        p->sampled_ns = s->at_ns;
        /*
         * What the radio tells is part of what is known with this sample, for every class alike. It may have
         * been told while the probe was under way: known now, which is when the risk is forecast.
         */
        float in[DOG_RADIO_INPUTS];
        int64_t told_ns = s->at_ns > p->radio.newest.at_ns ? s->at_ns : p->radio.newest.at_ns;
        bool has_radio = p->radio.has_any && dog_radio_inputs(&p->radio, told_ns, in);
        for (unsigned c = 0; p->radio.has_any && c < l->settings.classes; c++)
                if (l->group[c])
                        dog_group_radio(l->group[c], path, has_radio ? in : NULL, s->at_ns);
        if (l->settings.sample)
                l->settings.sample(l->settings.user, path, s);
}

void path_link_radio(struct path_link *l, unsigned path, const struct dog_radio *r, int64_t stale_ns)
{
        if (path >= l->settings.paths)
                return;
        struct dog_radio_past *p = &l->probe[path].radio;
        if (!p->has_any)
                dog_radio_past_init(p, stale_ns);
        dog_radio_past_take(p, r);
}

const struct dog_radio_past *path_link_radio_past(const struct path_link *l, unsigned path)
{
        return path < l->settings.paths && l->probe[path].radio.has_any ? &l->probe[path].radio : NULL;
}

static void link_sample(struct path_link *l, unsigned path, struct dog_sample *s)
{
        link_in_order(l, path, s);
        for (unsigned c = 0; c < l->settings.classes; c++)
                if (l->group[c])
                        dog_group_sample(l->group[c], path, s);
}

/*
 * A probe is given up when it is too late for the strictest class. For a class with more
 * patience it is not lost yet: all that is known is that the round trip is longer than that.
 */
static void link_timed_out(struct path_link *l, unsigned path, const struct dog_sample *s)
{
        struct probe *p = &l->probe[path];
        double timeout_ms = (double)dog_stamp_session_stats(p->session)->timeout_ns / (double)DOG_MS;
        double silent_ms = (double)(s->at_ns - p->answered_ns) / (double)DOG_MS + timeout_ms;
        struct dog_sample longer = *s;
        longer.value[DOG_SIGNAL_LOSS] = (double)NAN;
        longer.value[DOG_SIGNAL_RTT] = timeout_ms;
        for (unsigned c = 0; c < l->settings.classes; c++) {
                double patience_ms = 1.25 * l->settings.class[c].promise.rtt_ms;
                if (l->group[c])
                        dog_group_sample(l->group[c], path,
                                         patience_ms > timeout_ms && silent_ms < patience_ms ? &longer : s);
        }
}

static void probe_seen(void *user, const struct dog_stamp_seen *seen)
{
        struct probe *p = user;
        struct dog_sample s = seen->sample;
        if (!isnan(seen->out_ms))
                p->delay_ms = dog_stamp_race_note(&p->link->race, p->path, s.at_ns, seen->out_ms, 2 * DOG_S);
        s.value[DOG_SIGNAL_DELAY] = p->delay_ms;
        s.value[DOG_SIGNAL_REORDER] = p->reorder;
        if (s.value[DOG_SIGNAL_LOSS] < 1) {
                p->answered_ns = s.at_ns;
                link_sample(p->link, p->path, &s);
                return;
        }
        /* A far end that has never answered, not even late, is not there yet: that says nothing about the
         * path. */
        if (p->answered_ns == 0 && dog_stamp_session_stats(p->session)->late == 0)
                return;
        link_in_order(p->link, p->path, &s);
        link_timed_out(p->link, p->path, &s);
}

/* Packets that only this path carried and that did not come: holes in their class's sequence. */
static uint64_t report_holes(const struct path_link *l, unsigned path, const struct dog_stamp_report *before,
                             const struct dog_stamp_report *now)
{
        uint64_t holes = 0;
        for (unsigned i = 0; i < now->groups && i < before->groups; i++) {
                unsigned class = now->group[i].group;
                if (class != before->group[i].group || path_tunnel_subset(l->tunnel, class) != 1U << path)
                        continue;
                uint64_t advance = now->group[i].newest_seq - before->group[i].newest_seq;
                uint64_t packets = now->group[i].packets - before->group[i].packets;
                /* A restart of the sender jumps ahead: not a loss. */
                if (advance >= packets && advance < packets + 1000000)
                        holes += advance - packets;
        }
        return holes;
}

/* The far end's counters: what user traffic itself says about this path (O11, O12). */
static void probe_reported(void *user, int64_t at_ns, const struct dog_stamp_report *r)
{
        struct probe *p = user;
        const struct dog_stamp_report before = p->report;
        bool is_first = p->report_ns == 0 || before.epoch != r->epoch;
        p->report = *r;
        p->report_ns = at_ns;
        if (is_first)
                return;
        uint64_t received = r->received - before.received;
        uint64_t sent = r->expected - before.expected + report_holes(p->link, p->path, &before, r);
        uint64_t came = received < sent ? received : sent;
        p->reorder =
                received > 0 ? (double)(r->reordered - before.reordered) / (double)received : (double)NAN;
        p->passive_loss = sent >= PASSIVE_LEAST ? 1 - (double)came / (double)sent : (double)NAN;
        if (isnan(p->passive_loss))
                return;
        struct dog_sample s = dog_sample_at(at_ns);
        s.value[DOG_SIGNAL_LOSS] = p->passive_loss;
        s.value[DOG_SIGNAL_REORDER] = p->reorder;
        link_sample(p->link, p->path, &s);
}

/* ---- what the far end asks of us ---- */

static bool reflect_report(void *user, uint16_t tunnel, uint8_t path, struct dog_stamp_report *r)
{
        struct path_link *l = user;
        struct path_tunnel_counters c;
        if (tunnel != l->settings.tunnel.number || path >= l->settings.paths ||
            path_tunnel_read(l->tunnel, &c, NULL) < 0)
                return false;
        const struct path_rx_stats *rx = &c.path[path].rx;
        *r = (struct dog_stamp_report){.tunnel = tunnel,
                                       .path = path,
                                       .epoch = l->report_epoch,
                                       .at_ns = (uint64_t)dog_clock_mono_ns(),
                                       .received = rx->received,
                                       .first = c.path[path].first,
                                       .bytes = rx->bytes,
                                       .duplicate = rx->duplicate,
                                       .late = rx->stale,
                                       .reordered = rx->reordered,
                                       .bad_tag = rx->bad_tag,
                                       .delay_count = rx->delay[0].count,
                                       .delay_sum_ns = rx->delay[0].sum_ns,
                                       .delay_min_ns = rx->delay[0].min_ns};
        /* What only this path carried and lost is not in here; the groups' sequences tell. */
        for (unsigned set = 1; set < PATH_SUBSETS; set++)
                if (set & 1U << path)
                        r->expected += c.subset[set];
        for (unsigned i = 0; i < l->settings.classes && r->groups < DOG_STAMP_REPORT_GROUPS; i++) {
                struct path_tunnel_class_counters k;
                if (path_tunnel_class_read(l->tunnel, l->settings.class[i].number, &k, NULL) < 0)
                        continue;
                r->group[r->groups++] =
                        (struct dog_stamp_report_group){.group = (uint16_t)l->settings.class[i].number,
                                                        .packets = k.rx.packets,
                                                        .bytes = k.rx.bytes,
                                                        .newest_seq = k.newest[path]};
        }
        return true;
}

/* The far end says that a class has fallen silent: whatever carried it is suspect for a while. */
static bool reflect_notice(void *user, const struct dog_stamp_notice *n)
{
        struct path_link *l = user;
        if (n->tunnel != l->settings.tunnel.number)
                return false;
        for (unsigned c = 0; c < l->settings.classes; c++) {
                if (l->settings.class[c].number != n->class || !l->group[c])
                        continue;
                struct warning *w = &l->warning[c];
                if (n->newest_seq > w->newest) {
                        w->newest = n->newest_seq;
                        w->until_ns = dog_clock_mono_ns() + WARNING_NS;
                        w->paths = l->group[c]->hot;
                }
                return true;
        }
        return false;
}

/*
 * Listen to what comes. A class that came at a steady pace, as a call does, and then stops for
 * longer than its pace explains, is reported to the sender on every path, once. That costs no
 * probe while all is well, and is known sooner than probes could tell.
 */
static void link_listen_class(struct path_link *l, unsigned c, int64_t now_ns)
{
        struct path_tunnel_class_counters k;
        struct ear *ear = &l->ear[c];
        if (path_tunnel_class_read(l->tunnel, l->settings.class[c].number, &k, NULL) < 0)
                return;
        uint64_t newest = 0;
        for (unsigned p = 0; p < l->settings.paths; p++)
                newest = k.newest[p] > newest ? k.newest[p] : newest;
        int64_t silent_ns = now_ns - ear->heard_ns;
        if (newest != ear->newest) {
                uint64_t came = newest - ear->newest;
                bool is_run = ear->newest > 0 && came < 1000 && silent_ns < DOG_S;
                ear->regular = is_run ? ear->regular + (unsigned)came : 0;
                if (is_run)
                        ear->gap_ns += (silent_ns / (int64_t)came - ear->gap_ns) / 8;
                else
                        ear->gap_ns = LISTEN_NS;
                ear->newest = newest;
                ear->heard_ns = now_ns;
                ear->has_told = false;
                return;
        }
        if (ear->has_told || ear->regular < REGULAR_LEAST || ear->gap_ns > 2 * LISTEN_NS ||
            silent_ns < 3 * ear->gap_ns + LISTEN_NS || silent_ns > DOG_S)
                return;
        struct dog_stamp_notice n = {.tunnel = l->settings.tunnel.far_number,
                                     .class = (uint16_t)l->settings.class[c].number,
                                     .silent_ms = (uint32_t)(silent_ns / DOG_MS),
                                     .newest_seq = newest};
        for (unsigned p = 0; p < l->settings.paths; p++) {
                if (!l->probe[p].session)
                        continue;
                dog_stamp_session_notify(l->probe[p].session, &n);
                l->probe[p].due_ns = now_ns;
        }
        ear->has_told = true;
}

/* ---- sockets ---- */

static uint32_t address_ip4(const struct dog_hands_address *a)
{
        uint32_t ip;
        memcpy(&ip, a->bytes, sizeof(ip));
        return ip;
}

/* A socket of our own for sending: any port, this device, this address, one far end. */
static int session_socket(const struct path_link *l, unsigned path, struct dog_err *e)
{
        const struct path_tunnel_path *p = &l->settings.path[path].path;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = address_ip4(&p->local)};
        struct sockaddr_in remote = {.sin_family = AF_INET,
                                     .sin_port = htons(l->settings.stamp_port),
                                     .sin_addr.s_addr = address_ip4(&p->remote)};
        if (fd >= 0 &&
            setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, p->device, (socklen_t)strlen(p->device)) == 0 &&
            bind(fd, (struct sockaddr *)&local, sizeof(local)) == 0 &&
            connect(fd, (struct sockaddr *)&remote, sizeof(remote)) == 0)
                return fd;
        int rc = -errno;
        if (fd >= 0)
                close(fd);
        return dog_err_set(e, rc, "path %s: cannot open a probe socket on %s: %s", p->name, p->device,
                           strerror(-rc));
}

static int reflector_socket(struct path_link *l, unsigned path, struct dog_err *e)
{
        const struct path_tunnel_path *p = &l->settings.path[path].path;
        struct dog_hands_request ask = dog_hands_request_of(DOG_HANDS_SOCKET_UDP);
        struct dog_hands_reply reply;
        int fd = -1;
        ask.as.socket.address = p->local;
        ask.as.socket.port = l->settings.stamp_port;
        int rc = dog_hands_name_set(ask.as.socket.device, p->device, e);
        if (rc == 0)
                rc = dog_hands_call(l->hands, &ask, &reply, &fd, e);
        return rc < 0 ? dog_err_prefix(e, rc, "path %s: no socket to answer probes", p->name) : fd;
}

/* A probe that is too slow for the strictest promise is given up then, not a second later. */
static int64_t probe_timeout_ns(const struct path_link *l)
{
        double limit_ms = 0;
        for (unsigned c = 0; c < l->settings.classes; c++) {
                double mine_ms = l->settings.class[c].promise.rtt_ms;
                if (mine_ms > 0 && (limit_ms <= 0 || mine_ms < limit_ms))
                        limit_ms = mine_ms;
        }
        if (limit_ms <= 0)
                return 0;
        return (int64_t)(fmin(fmax(1.25 * limit_ms, 100), 2000) * (double)DOG_MS);
}

static void link_watch(struct path_link *l, int fd, bool is_on)
{
        if (l->settings.watch && fd >= 0)
                l->settings.watch(l->settings.user, l, fd, is_on);
}

/* Paths may share an uplink and differ in the far address: one socket answers the probes of both. */
static bool link_reflects(const struct path_link *l, unsigned path)
{
        const struct path_tunnel_path *mine = &l->settings.path[path].path;
        for (unsigned p = 0; p < l->settings.paths; p++) {
                const struct path_tunnel_path *other = &l->settings.path[p].path;
                if (p != path && l->probe[p].reflector && strcmp(mine->device, other->device) == 0 &&
                    address_ip4(&mine->local) == address_ip4(&other->local))
                        return true;
        }
        return false;
}

static int probe_reflect(struct path_link *l, unsigned path, struct dog_err *e)
{
        struct probe *p = &l->probe[path];
        if (link_reflects(l, path))
                return 0;
        p->reflector_fd = reflector_socket(l, path, e);
        if (p->reflector_fd < 0)
                return p->reflector_fd;
        struct dog_stamp_reflector_conf reflector = {.fd = p->reflector_fd,
                                                     .key = l->stamp_key,
                                                     .is_stateful = true,
                                                     .report = reflect_report,
                                                     .notice = reflect_notice,
                                                     .user = l};
        int rc = dog_stamp_reflector_new(&p->reflector, &reflector, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "path %s", l->settings.path[path].path.name);
        link_watch(l, p->reflector_fd, true);
        return 0;
}

static int probe_open(struct path_link *l, unsigned path, struct dog_err *e)
{
        struct probe *p = &l->probe[path];
        const struct path_tunnel_state *state = path_tunnel_path_state(l->tunnel, path);
        struct path_tunnel_path *to = &l->settings.path[path].path;
        if (!state || !state->is_usable || to->remote.version == 0)
                return 0;
        if (to->local.version == 0)
                to->local = state->hop.source;
        p->session_fd = session_socket(l, path, e);
        if (p->session_fd < 0)
                return p->session_fd;
        struct dog_stamp_session_conf sender = {
                .fd = p->session_fd,
                .key = l->stamp_key,
                .interval_ns = l->settings.stamp_busy_ns,
                .sparse_ns = l->settings.stamp_busy_ns, /* the pace is set by link_pace */
                .timeout_ns = probe_timeout_ns(l),
                .report_every_ns = REPORT_NS,
                .report_groups = l->settings.classes < DOG_STAMP_REPORT_GROUPS ? l->settings.classes
                                                                               : DOG_STAMP_REPORT_GROUPS,
                .tunnel = l->settings.tunnel.far_number,
                .path = (uint8_t)path,
                .seed = (uint64_t)path + 1,
                .seen = probe_seen,
                .report = probe_reported,
                .user = p,
        };
        int rc = dog_stamp_session_new(&p->session, &sender, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "path %s", to->name);
        link_watch(l, p->session_fd, true);
        struct dog_link device;
        p->device_index = dog_link_get(&device, to->device, NULL) == 0 ? device.index : 0;
        p->pace_ns = 0; /* link_pace sets it anew */
        return probe_reflect(l, path, e);
}

static void probe_close(struct probe *p)
{
        if (p->session)
                link_watch(p->link, p->session_fd, false);
        if (p->reflector)
                link_watch(p->link, p->reflector_fd, false);
        dog_stamp_session_free(p->session);
        dog_stamp_reflector_free(p->reflector);
        if (p->session_fd >= 0)
                close(p->session_fd);
        if (p->reflector_fd >= 0)
                close(p->reflector_fd);
        p->session = NULL;
        p->reflector = NULL;
        p->session_fd = p->reflector_fd = -1;
}

/* ---- opening ---- */

/* The probes' key: the tunnel's secret under a label of its own. */
static int link_stamp_key(struct path_link *l, struct dog_err *e)
{
        uint8_t secret[DOG_SECRET_KEY];
        int rc = dog_hands_secret(l->hands, l->settings.secret, secret, e);
        if (rc < 0)
                return rc;
        static const char label[] = "sundog stamp";
        crypto_generichash(l->stamp_key, sizeof(l->stamp_key), (const unsigned char *)label,
                           sizeof(label) - 1, secret, sizeof(secret));
        sodium_memzero(secret, sizeof(secret));
        return 0;
}

static char *words_keep(char **at, const char *word)
{
        char *kept = *at;
        size_t size = word ? strlen(word) + 1 : 1;
        memcpy(kept, word ? word : "", size);
        *at += size;
        return kept;
}

/* Everything that `settings` points to, copied. */
static int link_copy(struct path_link *l, const struct path_link_settings *s)
{
        size_t room = strlen(s->name) + strlen(s->secret) + strlen(s->tunnel.device) + 3;
        for (unsigned p = 0; p < s->paths; p++)
                room += strlen(s->path[p].path.name) + strlen(s->path[p].path.device) + 2;
        for (unsigned c = 0; c < s->classes; c++)
                room += strlen(s->class[c].name) + 1;
        l->settings = *s;
        l->settings.class = calloc(s->classes ? s->classes : 1, sizeof(*s->class));
        l->settings.rule = calloc(s->rules ? s->rules : 1, sizeof(*s->rule));
        l->group = calloc(s->classes ? s->classes : 1, sizeof(struct dog_group *));
        l->ear = calloc(s->classes ? s->classes : 1, sizeof(*l->ear));
        l->warning = calloc(s->classes ? s->classes : 1, sizeof(*l->warning));
        l->words = malloc(room);
        if (!l->settings.class || !l->settings.rule || !l->group || !l->ear || !l->warning || !l->words)
                return -ENOMEM;
        char *at = l->words;
        l->settings.name = words_keep(&at, s->name);
        l->settings.secret = words_keep(&at, s->secret);
        l->settings.tunnel.device = words_keep(&at, s->tunnel.device);
        for (unsigned p = 0; p < s->paths; p++) {
                l->settings.path[p].path.name = words_keep(&at, s->path[p].path.name);
                l->settings.path[p].path.device = words_keep(&at, s->path[p].path.device);
        }
        for (unsigned c = 0; c < s->classes; c++) {
                l->settings.class[c] = s->class[c];
                l->settings.class[c].name = words_keep(&at, s->class[c].name);
        }
        if (s->rules)
                memcpy(l->settings.rule, s->rule, s->rules * sizeof(*s->rule));
        return 0;
}

/* A class keeps going where it went before a restart, if those paths are still there. */
static uint32_t class_first_subset(const struct path_link *l, unsigned number, uint32_t usable)
{
        uint32_t before = path_tunnel_subset(l->tunnel, number) & usable;
        return before ? before : usable ? usable & (~usable + 1) : 1;
}

static int link_data_plane(struct path_link *l, struct dog_err *e)
{
        const struct path_link_settings *s = &l->settings;
        uint32_t usable = 0;
        for (unsigned p = 0; p < s->paths; p++) {
                int rc = path_tunnel_path_set(l->tunnel, p, &s->path[p].path, 500, e);
                /* A device, a far end or a next hop may still come; what cannot be is an error. */
                if (rc == -EAGAIN || rc == -EHOSTUNREACH || rc == -ENETUNREACH || rc == -ENODEV) {
                        dog_log(DOG_LOG_WARN, "tunnel=%s event=path-not-usable path=%s error=\"%s\"", s->name,
                                s->path[p].path.name, e->text);
                        continue;
                }
                if (rc < 0)
                        return rc;
                const struct path_tunnel_state *state = path_tunnel_path_state(l->tunnel, p);
                usable |= state && state->is_usable ? 1U << p : 0;
        }
        if (!usable)
                return dog_err_set(e, -EHOSTUNREACH, "none of its %u paths has a next hop that answers",
                                   s->paths);
        for (unsigned c = 0; c < s->classes; c++) {
                struct path_tunnel_class set = {.subset = class_first_subset(l, s->class[c].number, usable),
                                                .silence_ms = s->class[c].silence_ms};
                int rc = path_tunnel_class_set(l->tunnel, s->class[c].number, &set, e);
                if (rc < 0)
                        return dog_err_prefix(e, rc, "class %s", s->class[c].name);
        }
        int rc = path_tunnel_rules_set(l->tunnel, s->rule, s->rules, s->class[s->classes - 1].number, e);
        if (rc == 0)
                rc = path_tunnel_key_load(l->tunnel, s->secret, e);
        return rc;
}

int path_link_commit(struct path_link *l, struct dog_err *e)
{
        struct path_host_device became;
        int rc = path_tunnel_commit(l->tunnel, &became, e);
        if (rc < 0)
                return dog_err_prefix(e, rc, "tunnel %s", l->settings.name);
        if (became.note[0])
                dog_log(DOG_LOG_WARN, "tunnel=%s event=fall-back note=\"%s\"", l->settings.name, became.note);
        return 0;
}

static int link_group(struct path_link *l, unsigned class, struct dog_loop *loop, int64_t now_ns,
                      struct dog_err *e)
{
        const struct path_link_class *c = &l->settings.class[class];
        struct member_of_link *m = calloc(1, sizeof(*m));
        struct dog_group *g = m ? dog_group_new(c->name, &path_kind, l->settings.paths) : NULL;
        if (!g) {
                free(m);
                return dog_err_set(e, -ENOMEM, "class %s: out of memory", c->name);
        }
        *m = (struct member_of_link){.link = l, .class = class};
        g->priv = m;
        g->promise = c->promise;
        g->policy = c->policy;
        for (unsigned p = 0; p < l->settings.paths; p++) {
                const struct path_link_path *path = &l->settings.path[p];
                snprintf(g->member[p].name, sizeof(g->member[p].name), "%s", path->path.name);
                g->member[p].role = path->role;
                /* Price per second at the rate the class needs; without one, at a voice call's 100 kbit/s. */
                double kbps = c->promise.rate_kbps > 0 ? c->promise.rate_kbps : 100;
                g->member[p].price = path->price_per_gb * kbps * 125 / 1e9;
        }
        int rc = dog_loop_add(loop, g, now_ns, e);
        if (rc < 0) {
                dog_group_free(g);
                return rc;
        }
        l->group[class] = g;
        return 0;
}

int path_link_open(struct path_link **link, const struct path_link_settings *settings, struct path_host *host,
                   struct dog_hands_client *hands, struct dog_loop *loop, int64_t now_ns, struct dog_err *e)
{
        struct path_link *l = calloc(1, sizeof(*l));
        *link = NULL;
        if (!l)
                return dog_err_set(e, -ENOMEM, "tunnel %s: out of memory", settings->name);
        for (unsigned p = 0; p < PATH_PATHS_MAX; p++)
                l->probe[p] = (struct probe){.link = l,
                                             .path = p,
                                             .session_fd = -1,
                                             .reflector_fd = -1,
                                             .passive_loss = (double)NAN,
                                             .reorder = (double)NAN,
                                             .delay_ms = (double)NAN};
        l->hands = hands;
        l->busy_until_ns = now_ns + BUSY_NS; /* get to know the paths */
        l->report_epoch = (uint32_t)(dog_clock_wall_ns() / DOG_S);
        int rc = link_copy(l, settings);
        if (rc < 0)
                dog_err_set(e, rc, "out of memory");
        if (rc == 0)
                rc = link_stamp_key(l, e);
        if (rc == 0)
                rc = path_tunnel_open(&l->tunnel, host, &l->settings.tunnel, e);
        if (rc == 0)
                rc = link_data_plane(l, e);
        for (unsigned p = 0; rc == 0 && p < l->settings.paths; p++)
                rc = probe_open(l, p, e);
        for (unsigned c = 0; rc == 0 && c < l->settings.classes; c++)
                rc = link_group(l, c, loop, now_ns, e);
        if (rc < 0) {
                dog_err_prefix(e, rc, "tunnel %s", settings->name);
                for (unsigned c = 0; l->group && c < l->settings.classes; c++)
                        if (l->group[c])
                                dog_loop_remove(loop, l->group[c]);
                path_link_close(l);
                return rc;
        }
        path_link_refresh(l, now_ns);
        *link = l;
        return 0;
}

void path_link_close(struct path_link *l)
{
        if (!l)
                return;
        for (unsigned p = 0; p < PATH_PATHS_MAX; p++)
                probe_close(&l->probe[p]);
        path_tunnel_close(l->tunnel);
        sodium_memzero(l->stamp_key, sizeof(l->stamp_key));
        free(l->settings.class);
        free(l->settings.rule);
        free(l->group);
        free(l->ear);
        free(l->warning);
        free(l->words);
        free(l);
}

/* ---- events ---- */

void path_link_on_readable(struct path_link *l, int fd, int64_t now_ns)
{
        for (unsigned p = 0; p < l->settings.paths; p++) {
                if (l->probe[p].session && fd == l->probe[p].session_fd)
                        l->probe[p].due_ns = dog_stamp_session_on_readable(l->probe[p].session, now_ns);
                if (l->probe[p].reflector && fd == l->probe[p].reflector_fd)
                        dog_stamp_reflector_on_readable(l->probe[p].reflector, now_ns);
        }
}

static int64_t earlier(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

/* Has any class sent since the last look? */
static bool link_is_sending(struct path_link *l)
{
        uint64_t sent = 0;
        for (unsigned c = 0; c < l->settings.classes; c++) {
                struct path_tunnel_class_counters k;
                if (path_tunnel_class_read(l->tunnel, l->settings.class[c].number, &k, NULL) == 0)
                        sent += k.tx.packets;
        }
        bool is_sending = sent != l->sent;
        l->sent = sent;
        return is_sending;
}

/*
 * An idle tunnel is probed just enough to know which paths live. While a class sends, the paths
 * that carry it are watched closely and the others well enough to be compared.
 */
static void link_pace(struct path_link *l, int64_t now_ns)
{
        if (link_is_sending(l))
                l->busy_until_ns = now_ns + BUSY_NS;
        uint32_t carrying = 0;
        for (unsigned c = 0; c < l->settings.classes; c++)
                if (l->group[c])
                        carrying |= l->group[c]->hot;
        for (unsigned p = 0; p < l->settings.paths; p++) {
                struct probe *probe = &l->probe[p];
                if (!probe->session)
                        continue;
                int64_t pace_ns = now_ns >= l->busy_until_ns ? l->settings.stamp_interval_ns
                                  : carrying & 1U << p       ? l->settings.stamp_busy_ns
                                                             : 4 * l->settings.stamp_busy_ns;
                if (pace_ns != probe->pace_ns) {
                        probe->pace_was_ns = probe->pace_ns;
                        probe->pace_ns = pace_ns;
                        probe->paced_ns = now_ns;
                        probe->due_ns = dog_stamp_session_interval_set(probe->session, pace_ns, now_ns);
                }
                /* Silence means something only after two probes; the slower pace counts until those were due.
                 */
                int64_t timeout_ns = dog_stamp_session_stats(probe->session)->timeout_ns;
                int64_t patience_ns = 2 * pace_ns + timeout_ns;
                if (now_ns - probe->paced_ns < patience_ns && probe->pace_was_ns > pace_ns)
                        patience_ns = 2 * probe->pace_was_ns + timeout_ns;
                for (unsigned c = 0; c < l->settings.classes; c++)
                        if (l->group[c])
                                l->group[c]->member[p].patience_ns = patience_ns;
        }
        l->pace_ns = now_ns + PACE_NS;
}

int64_t path_link_on_timer(struct path_link *l, int64_t now_ns)
{
        if (now_ns >= l->listen_ns) {
                for (unsigned c = 0; c < l->settings.classes; c++)
                        link_listen_class(l, c, now_ns);
                l->listen_ns = now_ns + LISTEN_NS;
        }
        if (now_ns >= l->pace_ns)
                link_pace(l, now_ns);
        if (now_ns >= l->interval_ns) {
                path_tunnel_interval(l->tunnel);
                l->interval_ns = now_ns + DOG_S;
        }
        if (now_ns >= l->retry_ns)
                path_link_refresh(l, now_ns);
        int64_t due_ns = earlier(earlier(l->listen_ns, l->pace_ns), earlier(l->interval_ns, l->retry_ns));
        for (unsigned p = 0; p < l->settings.paths; p++) {
                struct probe *probe = &l->probe[p];
                if (probe->session) {
                        if (now_ns >= probe->due_ns)
                                probe->due_ns = dog_stamp_session_on_timer(probe->session, now_ns);
                        due_ns = earlier(due_ns, probe->due_ns);
                }
                if (probe->reflector)
                        due_ns = earlier(due_ns, dog_stamp_reflector_on_timer(probe->reflector, now_ns));
        }
        return due_ns;
}

/* A far end without a fixed address is where its authentic packets come from; then it can be probed too. */
static int link_learn(struct path_link *l, unsigned p, struct dog_err *e)
{
        struct path_tunnel_counters c;
        int rc = path_tunnel_learn(l->tunnel, p, 0, e);
        if (rc != 1 || path_tunnel_read(l->tunnel, &c, e) < 0)
                return rc;
        struct dog_hands_address *remote = &l->settings.path[p].path.remote;
        *remote = (struct dog_hands_address){.version = 4, .prefix = 32};
        memcpy(remote->bytes, &c.path[p].rx.peer, sizeof(c.path[p].rx.peer));
        return rc;
}

void path_link_refresh(struct path_link *l, int64_t now_ns)
{
        l->retry_ns = now_ns + RETRY_NS;
        for (unsigned p = 0; p < l->settings.paths; p++) {
                struct dog_err e = {0};
                int rc = path_tunnel_path_refresh(l->tunnel, p, 0, &e);
                if (l->settings.path[p].path.remote.version == 0)
                        rc = link_learn(l, p, &e);
                if (rc == 1)
                        dog_log(DOG_LOG_INFO, "tunnel=%s event=path-changed path=%s", l->settings.name,
                                l->settings.path[p].path.name);
                struct dog_link device;
                bool is_up =
                        dog_link_get(&device, l->settings.path[p].path.device, NULL) == 0 && device.is_up;
                const struct path_tunnel_state *state = path_tunnel_path_state(l->tunnel, p);
                is_up = is_up && state && state->is_usable;
                /* Its sockets are bound to the interface that was there before. */
                if (is_up && l->probe[p].session && l->probe[p].device_index != device.index)
                        probe_close(&l->probe[p]);
                for (unsigned c = 0; c < l->settings.classes; c++)
                        if (l->group[c])
                                dog_group_member_up(l->group[c], p, is_up);
                if (is_up && !l->probe[p].session && probe_open(l, p, &e) < 0) {
                        probe_close(&l->probe[p]);
                        dog_log(DOG_LOG_WARN, "tunnel=%s event=not-probed path=%s error=\"%s\"",
                                l->settings.name, l->settings.path[p].path.name, e.text);
                }
        }
}

/* ---- looking in ---- */

const char *path_link_name(const struct path_link *l)
{
        return l->settings.name;
}

const struct path_link_settings *path_link_settings(const struct path_link *l)
{
        return &l->settings;
}

struct path_tunnel *path_link_tunnel(struct path_link *l)
{
        return l->tunnel;
}

struct dog_group *path_link_group(const struct path_link *l, unsigned i)
{
        return i < l->settings.classes ? l->group[i] : NULL;
}

struct path_link_view path_link_view(const struct path_link *l, unsigned path)
{
        const struct probe *p = &l->probe[path];
        return (struct path_link_view){.probe = p->session ? dog_stamp_session_stats(p->session) : NULL,
                                       .report = p->report,
                                       .report_ns = p->report_ns,
                                       .passive_loss = p->passive_loss,
                                       .delay_ms = p->delay_ms};
}
