/* Recordings from the daemon's own store: what its probes saw, for `sundog replay --since`. */
#include "ctl/replay.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The daemon probes at changing paces; a slot holds what was seen within it. */
#define SLOT_NS    (250 * DOG_MS)
#define TUNNEL_MAX 64
/* Readings of a radio are 50 ms apart; what is nearer is of one. */
#define READING_NS (20 * DOG_MS)
/* The trace that all instances share; no tunnel has a space in its name. */
#define INSTANCES "all instances"

struct collect {
        struct dog_store *store;
        struct replay_trace *trace; /* one per tunnel */
        size_t traces, room;
        int64_t from_ns, to_ns;
        struct dog_err *e;
        int rc;
};

struct column {
        struct replay_trace *trace;
        unsigned path;
        int64_t from_ns;
        int signal;  /* enum dog_signal, or RADIO + enum dog_radio_series */
        size_t near; /* of a radio: the reading that the last point belonged to */
};

enum { RADIO = DOG_SIGNAL_COUNT };

/* The reading of that time, found or made; they come in the order of time, series by series. */
static struct dog_radio *radio_at(struct column *c, int64_t at_ns)
{
        struct replay_radio *r = &c->trace->radio[c->path];
        size_t i = c->near < r->count && r->reading[c->near].at_ns <= at_ns + READING_NS ? c->near : 0;
        while (i < r->count && r->reading[i].at_ns < at_ns - READING_NS)
                i++;
        c->near = i;
        if (i < r->count && r->reading[i].at_ns <= at_ns + READING_NS)
                return &r->reading[i];
        if ((r->count & (r->count - 1)) == 0) {
                struct dog_radio *more = realloc(r->reading, (r->count ? 2 * r->count : 1) * sizeof(*more));
                if (!more)
                        return NULL;
                r->reading = more;
        }
        memmove(&r->reading[i + 1], &r->reading[i], (r->count - i) * sizeof(*r->reading));
        r->count++;
        r->reading[i] = dog_radio_unknown();
        r->reading[i].at_ns = at_ns;
        return &r->reading[i];
}

static int radio_point(void *context, int64_t t_ns, double value)
{
        struct column *c = context;
        /* No time is not a time: the first nanosecond is nobody's. */
        if (t_ns <= c->from_ns || isnan(value))
                return 0;
        struct dog_radio *r = radio_at(c, t_ns - c->from_ns);
        if (!r)
                return -ENOMEM;
        dog_radio_series_take(r, (enum dog_radio_series)(c->signal - RADIO), value);
        return 0;
}

static int column_point(void *context, int64_t t_ns, double value)
{
        struct column *c = context;
        size_t slot = (size_t)((t_ns - c->from_ns) / SLOT_NS);
        if (t_ns < c->from_ns || slot >= c->trace->slots)
                return 0;
        size_t at = slot * DOG_MEMBERS_MAX + c->path;
        if (!c->trace->is_there[at])
                c->trace->sample[at] = dog_sample_at((int64_t)slot * SLOT_NS);
        c->trace->is_there[at] = true;
        /* Of several in one slot the worst counts: that is what the traffic felt. */
        double *kept = &c->trace->sample[at].value[c->signal];
        if (isnan(*kept) || value > *kept)
                *kept = value;
        return 0;
}

/* "path/TUNNEL/PATH/rtt_ms" or "instance/NAME/cpu" taken apart; false for anything else. */
static bool series_parse(const char *name, char tunnel[TUNNEL_MAX], char path[DOG_NAME_MAX], int *signal)
{
        static const struct {
                const char *word;
                enum dog_signal signal;
        } row[] = {{"rtt_ms", DOG_SIGNAL_RTT},        {"loss", DOG_SIGNAL_LOSS},
                   {"cpu", DOG_SIGNAL_CPU},           {"memory", DOG_SIGNAL_MEMORY},
                   {"pressure", DOG_SIGNAL_PRESSURE}, {"queue", DOG_SIGNAL_QUEUE}};
        char what[16];
        if (sscanf(name, "instance/%31[^/]/%15s", path, what) == 2)
                snprintf(tunnel, TUNNEL_MAX, "%s", INSTANCES);
        else if (sscanf(name, "path/%63[^/]/%31[^/]/%15s", tunnel, path, what) != 3)
                return false;
        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
                *signal = row[i].signal;
                if (strcmp(what, row[i].word) == 0)
                        return true;
        }
        for (int i = 0; i < DOG_RADIO_SERIES && strncmp(name, "path/", 5) == 0; i++) {
                *signal = RADIO + i;
                if (strcmp(what, dog_radio_series_word((enum dog_radio_series)i)) == 0)
                        return true;
        }
        return false;
}

static struct replay_trace *collect_trace(struct collect *c, const char *tunnel)
{
        for (size_t i = 0; i < c->traces; i++)
                if (strcmp(c->trace[i].name, tunnel) == 0)
                        return &c->trace[i];
        if (c->traces == c->room)
                return NULL;
        struct replay_trace *t = &c->trace[c->traces];
        t->step_ns = SLOT_NS;
        t->slots = (size_t)((c->to_ns - c->from_ns) / SLOT_NS) + 1;
        t->sample = calloc(t->slots * DOG_MEMBERS_MAX, sizeof(*t->sample));
        t->is_there = calloc(t->slots * DOG_MEMBERS_MAX, sizeof(*t->is_there));
        t->is_held = calloc(t->slots * DOG_MEMBERS_MAX, sizeof(*t->is_held));
        if (!t->sample || !t->is_there || !t->is_held) {
                replay_trace_free(t);
                return NULL;
        }
        snprintf(t->name, sizeof(t->name), "%s", tunnel);
        t->is_spread = strcmp(tunnel, INSTANCES) == 0;
        c->traces++;
        return t;
}

static int collect_series(void *context, const char *name)
{
        struct collect *c = context;
        char tunnel[TUNNEL_MAX];
        char path[DOG_NAME_MAX];
        int signal;
        if (!series_parse(name, tunnel, path, &signal))
                return 0;
        struct replay_trace *t = collect_trace(c, tunnel);
        if (!t)
                return c->rc = dog_err_set(
                               c->e, -ENOMEM,
                               "tunnel %s: out of memory for that much telemetry; name a later --since",
                               tunnel);
        unsigned p = 0;
        while (p < t->paths && strcmp(t->path[p], path) != 0)
                p++;
        if (p == DOG_MEMBERS_MAX)
                return 0;
        if (p == t->paths)
                snprintf(t->path[t->paths++], sizeof(t->path[0]), "%s", path);
        return 0;
}

static int collect_points(void *context, const char *name)
{
        struct collect *c = context;
        char tunnel[TUNNEL_MAX];
        char path[DOG_NAME_MAX];
        struct column column = {.from_ns = c->from_ns};
        if (!series_parse(name, tunnel, path, &column.signal))
                return 0;
        column.trace = collect_trace(c, tunnel);
        while (column.trace && column.path < column.trace->paths &&
               strcmp(column.trace->path[column.path], path) != 0)
                column.path++;
        if (!column.trace || column.path == column.trace->paths)
                return 0;
        c->rc = dog_store_range(c->store, name, c->from_ns, c->to_ns,
                                column.signal >= RADIO ? radio_point : column_point, &column, c->e);
        return c->rc == -ENOMEM ? dog_err_set(c->e, -ENOMEM, "%s: out of memory", name) : c->rc;
}

/*
 * From DOG_MEMBERS_MAX columns to as many as there are paths. What was measured holds until the
 * path's next sample, for HOLD_SLOTS at most: paths that carry nothing are probed less often.
 */
static void trace_pack(struct replay_trace *t)
{
        size_t newest[DOG_MEMBERS_MAX];
        for (unsigned p = 0; p < t->paths; p++)
                newest[p] = SIZE_MAX;
        for (size_t k = 0; k < t->slots; k++) {
                for (unsigned p = 0; p < t->paths; p++) {
                        size_t at = k * DOG_MEMBERS_MAX + p;
                        if (t->is_there[at]) {
                                newest[p] = k;
                        } else if (newest[p] != SIZE_MAX && k - newest[p] <= REPLAY_HOLD_SLOTS) {
                                t->sample[at] = t->sample[(k - 1) * DOG_MEMBERS_MAX + p];
                                t->sample[at].at_ns = (int64_t)k * SLOT_NS;
                                t->is_there[at] = t->is_held[at] = true;
                        }
                }
        }
        for (size_t k = 0; k < t->slots; k++) {
                for (unsigned p = 0; p < t->paths; p++) {
                        t->sample[k * t->paths + p] = t->sample[k * DOG_MEMBERS_MAX + p];
                        t->is_there[k * t->paths + p] = t->is_there[k * DOG_MEMBERS_MAX + p];
                        t->is_held[k * t->paths + p] = t->is_held[k * DOG_MEMBERS_MAX + p];
                }
        }
}

/* The names first, then the points: a callback of the store may not ask the store. */
struct names {
        char (*name)[224];
        size_t count;
};

static int names_add(void *context, const char *name)
{
        struct names *n = context;
        void *more = realloc(n->name, (n->count + 1) * sizeof(*n->name));
        if (!more)
                return -ENOMEM;
        n->name = more;
        snprintf(n->name[n->count++], sizeof(*n->name), "%s", name);
        return 0;
}

int replay_store_load(struct dog_store *store, int64_t from_ns, int64_t to_ns, struct replay_trace *trace,
                      size_t room, size_t *traces, struct dog_err *e)
{
        struct collect c = {
                .store = store, .trace = trace, .room = room, .from_ns = from_ns, .to_ns = to_ns, .e = e};
        struct names names = {0};
        memset(trace, 0, room * sizeof(*trace));
        int rc = dog_store_series_each(store, names_add, &names, e);
        for (size_t i = 0; i < names.count && rc == 0; i++)
                rc = collect_series(&c, names.name[i]);
        for (size_t i = 0; i < names.count && rc == 0; i++)
                rc = collect_points(&c, names.name[i]);
        free(names.name);
        for (size_t i = 0; i < c.traces; i++) {
                if (rc == 0)
                        trace_pack(&trace[i]);
                else
                        replay_trace_free(&trace[i]);
        }
        *traces = rc == 0 ? c.traces : 0;
        return rc;
}
