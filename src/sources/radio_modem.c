/*
 * A modem by ModemManager, over sd-bus. One connection a source; everything asynchronous.
 *
 * connect -> which modem is ours (GetManagedObjects) -> see that it measures (Signal.Setup) -> every
 * interval: its properties and its cells. Changes are told in between by PropertiesChanged; asking as well
 * shows that the values are still being measured, since a value that stays the same is not told. Whatever is
 * lost on the way, bus, ModemManager or modem, is looked for again.
 */
#include "base/clock.h"
#include "sources/radio_inside.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define MM           "org.freedesktop.ModemManager1"
#define MM_PATH      "/org/freedesktop/ModemManager1"
#define MM_MODEM     MM ".Modem"
#define MM_SIGNAL    MM ".Modem.Signal"
#define MM_3GPP      MM ".Modem.Modem3gpp"
#define PROPERTIES   "org.freedesktop.DBus.Properties"
#define MANAGER      "org.freedesktop.DBus.ObjectManager"
#define MODEM_PREFIX MM_PATH "/Modem/"

enum { MODEM_ONCE = 64 /* messages handled in one turn */, MODEM_PORT_NET = 2 /* MM_MODEM_PORT_TYPE_NET */ };

#define MODEM_AGAIN (2 * DOG_S)  /* between attempts to connect or to find the modem */
#define MODEM_WAIT  (3 * DOG_S)  /* for an answer, and for being let in */
#define MODEM_CELLS (60 * DOG_S) /* until cells are asked for again after a refusal */

/* Levels of one technology, as told; NaN: not. */
struct modem_level {
        double rssi, rsrp, rsrq, snr;
};

enum modem_level_of { MODEM_GSM, MODEM_UMTS, MODEM_LTE, MODEM_NR, MODEM_LEVELS };

/* What the modem says of itself. */
struct modem_facts {
        char imei[40], operator_id[16];
        struct modem_level level[MODEM_LEVELS];
        double quality;  /* 0..1; NaN */
        uint32_t access; /* MM_MODEM_ACCESS_TECHNOLOGY_* */
        uint32_t rate;   /* of Signal, in seconds; 0: it does not measure */
        uint64_t cell;
        bool has_device;    /* one of its ports is the path's device */
        bool has_signal;    /* the Signal interface is there */
        bool is_level_told; /* since the last reading */
};

struct radio_modem {
        struct dog_radio_source *s;
        sd_bus *bus;
        int fd;
        short events;
        int64_t since_ns; /* of the connection */
        int64_t due_ns;   /* of the next attempt or question */
        int64_t cells_ns; /* not before */
        int64_t now_ns;   /* of this turn: callbacks have no clock of their own */
        unsigned waiting; /* answers that are under way */
        bool is_watching, is_lost, is_refusal_told, is_setup;
        char object[128]; /* ours; empty: not found */
        struct modem_facts facts;
};

static void facts_init(struct modem_facts *f)
{
        memset(f, 0, sizeof(*f));
        f->quality = (double)NAN;
        for (int i = 0; i < MODEM_LEVELS; i++)
                f->level[i] = (struct modem_level){(double)NAN, (double)NAN, (double)NAN, (double)NAN};
}

/* ---- the connection ---- */

static void modem_hang_up(struct radio_modem *m)
{
        if (m->fd >= 0 && m->events)
                m->s->conf.watch(m->s->conf.user, m->fd, 0);
        m->fd = -1;
        m->events = 0;
        /* Without flushing: that would wait. */
        sd_bus_close(m->bus);
        m->bus = sd_bus_unref(m->bus);
        m->object[0] = 0;
        m->waiting = 0;
        m->is_watching = m->is_lost = m->is_setup = false;
}

/* The modem, or ModemManager, has gone: look for it again. */
static void modem_forget(struct radio_modem *m)
{
        m->object[0] = 0;
        m->is_setup = false;
        m->due_ns = m->now_ns;
        facts_init(&m->facts);
}

static int modem_connect(struct radio_modem *m)
{
        char address[300] = "unix:path=";
        const char *bus = m->s->conf.bus ? m->s->conf.bus : DOG_RADIO_BUS;
        size_t at = strlen(address);
        /* An address escapes what is not plain (D-Bus specification, "Server Addresses"). */
        for (; *bus && at + 4 < sizeof(address); bus++)
                at += (size_t)snprintf(address + at, sizeof(address) - at,
                                       strchr("-_/.\\*", *bus) || (*bus >= '0' && *bus <= '9') ||
                                                       (*bus >= 'A' && *bus <= 'Z') ||
                                                       (*bus >= 'a' && *bus <= 'z')
                                               ? "%c"
                                               : "%%%02x",
                                       (unsigned char)*bus);
        int rc = sd_bus_new(&m->bus);
        if (rc >= 0)
                rc = sd_bus_set_address(m->bus, address);
        if (rc >= 0)
                rc = sd_bus_set_bus_client(m->bus, 1);
        if (rc >= 0)
                rc = sd_bus_set_method_call_timeout(m->bus, (uint64_t)(MODEM_WAIT / DOG_US));
        if (rc >= 0)
                rc = sd_bus_start(m->bus);
        m->since_ns = m->now_ns;
        return rc;
}

/* ---- reading messages ---- */

/* A number in a variant, of whichever kind. */
static int value_real(sd_bus_message *msg, double *to)
{
        char type;
        const char *inside;
        uint32_t u = 0;
        int32_t i = 0;
        int rc = sd_bus_message_peek_type(msg, &type, &inside);
        if (rc < 0)
                return rc;
        if (strcmp(inside, "d") == 0)
                return sd_bus_message_read(msg, "v", "d", to);
        if (strcmp(inside, "u") == 0) {
                rc = sd_bus_message_read(msg, "v", "u", &u);
                *to = u;
        } else if (strcmp(inside, "i") == 0) {
                rc = sd_bus_message_read(msg, "v", "i", &i);
                *to = i;
        } else {
                rc = sd_bus_message_skip(msg, "v");
        }
        return rc;
}

static int value_text(sd_bus_message *msg, char *to, size_t room)
{
        const char *inside;
        const char *text = "";
        int rc = sd_bus_message_peek_type(msg, NULL, &inside);
        if (rc < 0)
                return rc;
        if (strcmp(inside, "s") != 0)
                return sd_bus_message_skip(msg, "v");
        rc = sd_bus_message_read(msg, "v", "s", &text);
        snprintf(to, room, "%s", text);
        return rc;
}

/* Into a variant of exactly this type. @return 1; 0: it is another and has been skipped; negative errno */
static int value_enter(sd_bus_message *msg, const char *type)
{
        const char *inside;
        int rc = sd_bus_message_peek_type(msg, NULL, &inside);
        if (rc < 0)
                return rc;
        if (strcmp(inside, type) != 0) {
                rc = sd_bus_message_skip(msg, "v");
                return rc < 0 ? rc : 0;
        }
        rc = sd_bus_message_enter_container(msg, 'v', type);
        return rc < 0 ? rc : 1;
}

/*
 * Each entry of an a{sv} is given to `take`, which reads the variant or skips it.
 * @return 0 or negative errno
 */
static int entries_each(sd_bus_message *msg, int (*take)(void *context, const char *key, sd_bus_message *msg),
                        void *context)
{
        int rc = sd_bus_message_enter_container(msg, 'a', "{sv}");
        while (rc >= 0 && (rc = sd_bus_message_enter_container(msg, 'e', "sv")) > 0) {
                const char *key;
                rc = sd_bus_message_read_basic(msg, 's', &key);
                if (rc >= 0)
                        rc = take(context, key, msg);
                if (rc >= 0)
                        rc = sd_bus_message_exit_container(msg);
        }
        return rc < 0 ? rc : sd_bus_message_exit_container(msg);
}

static int level_take(void *context, const char *key, sd_bus_message *msg)
{
        struct modem_level *l = context;
        double *to = strcmp(key, "rssi") == 0   ? &l->rssi
                     : strcmp(key, "rsrp") == 0 ? &l->rsrp
                     : strcmp(key, "rsrq") == 0 ? &l->rsrq
                     : strcmp(key, "snr") == 0  ? &l->snr
                                                : NULL;
        return to ? value_real(msg, to) : sd_bus_message_skip(msg, "v");
}

static int signal_take(void *context, const char *key, sd_bus_message *msg)
{
        static const char *const name[MODEM_LEVELS] = {"Gsm", "Umts", "Lte", "Nr5g"};
        struct modem_facts *f = context;
        f->has_signal = true;
        if (strcmp(key, "Rate") == 0) {
                double rate = 0;
                int rc = value_real(msg, &rate);
                f->rate = rate > 0 && rate < 1e6 ? (uint32_t)rate : 0;
                return rc;
        }
        for (int i = 0; i < MODEM_LEVELS; i++) {
                if (strcmp(key, name[i]) != 0)
                        continue;
                struct modem_level l = {(double)NAN, (double)NAN, (double)NAN, (double)NAN};
                int rc = value_enter(msg, "a{sv}");
                if (rc <= 0)
                        return rc;
                rc = entries_each(msg, level_take, &l);
                f->level[i] = l;
                f->is_level_told = true;
                return rc < 0 ? rc : sd_bus_message_exit_container(msg);
        }
        return sd_bus_message_skip(msg, "v");
}

struct modem_look {
        struct modem_facts *facts;
        const char *device; /* of the path; NULL: none */
};

static int ports_take(const struct modem_look *look, sd_bus_message *msg)
{
        const char *port;
        uint32_t type;
        int rc = value_enter(msg, "a(su)");
        if (rc <= 0)
                return rc;
        rc = sd_bus_message_enter_container(msg, 'a', "(su)");
        while (rc >= 0 && (rc = sd_bus_message_read(msg, "(su)", &port, &type)) > 0)
                if (type == MODEM_PORT_NET && look->device && strcmp(port, look->device) == 0)
                        look->facts->has_device = true;
        if (rc >= 0)
                rc = sd_bus_message_exit_container(msg);
        return rc < 0 ? rc : sd_bus_message_exit_container(msg);
}

static int quality_take(struct modem_facts *f, sd_bus_message *msg)
{
        uint32_t percent = 0;
        int is_recent = 0;
        int rc = value_enter(msg, "(ub)");
        if (rc <= 0)
                return rc;
        rc = sd_bus_message_read(msg, "(ub)", &percent, &is_recent);
        /* 0 that is not recent is what a modem without a measure says. */
        f->quality = percent <= 100 && (percent || is_recent) ? percent / 100.0 : (double)NAN;
        return rc < 0 ? rc : sd_bus_message_exit_container(msg);
}

static int modem_take(void *context, const char *key, sd_bus_message *msg)
{
        struct modem_look *look = context;
        struct modem_facts *f = look->facts;
        double number = 0;
        if (strcmp(key, "EquipmentIdentifier") == 0)
                return value_text(msg, f->imei, sizeof(f->imei));
        if (strcmp(key, "Ports") == 0)
                return ports_take(look, msg);
        if (strcmp(key, "SignalQuality") == 0)
                return quality_take(f, msg);
        if (strcmp(key, "AccessTechnologies") == 0) {
                int rc = value_real(msg, &number);
                f->access = number >= 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
                return rc;
        }
        return sd_bus_message_skip(msg, "v");
}

static int network_take(void *context, const char *key, sd_bus_message *msg)
{
        struct modem_facts *f = context;
        if (strcmp(key, "OperatorCode") == 0)
                return value_text(msg, f->operator_id, sizeof(f->operator_id));
        return sd_bus_message_skip(msg, "v");
}

static int interface_take(struct modem_look *look, const char *interface, sd_bus_message *msg)
{
        if (strcmp(interface, MM_MODEM) == 0)
                return entries_each(msg, modem_take, look);
        if (strcmp(interface, MM_SIGNAL) == 0)
                return entries_each(msg, signal_take, look->facts);
        if (strcmp(interface, MM_3GPP) == 0)
                return entries_each(msg, network_take, look->facts);
        return sd_bus_message_skip(msg, "a{sv}");
}

/* ---- from what it says to a reading ---- */

/* The bits of MMModemAccessTechnology: 1 << 1 GSM .. EDGE 1 << 4, UMTS 1 << 5 .. HSPA+ 1 << 9, LTE 1 << 14,
 * NR 1 << 15, LTE-M 1 << 16, NB-IoT 1 << 17. Several at once: the newest. */
static uint8_t access_technology(uint32_t access)
{
        if (access & (UINT32_C(1) << 15))
                return DOG_RADIO_NR;
        if (access & (UINT32_C(7) << 14))
                return DOG_RADIO_LTE;
        if (access & (UINT32_C(31) << 5))
                return DOG_RADIO_UMTS;
        if (access & (UINT32_C(15) << 1))
                return DOG_RADIO_GSM;
        return access && access != UINT32_MAX ? DOG_RADIO_OTHER : DOG_RADIO_UNKNOWN;
}

/* ModemManager says -DBL_MAX for "not known": no value, and no lie either. */
static void level_set(struct dog_radio_source *s, float *to, double value, double least, double most)
{
        if (isnan(value) || value < -1e30)
                return;
        if (!dog_radio_set(to, value, least, most))
                s->stats.impossible++;
}

static void modem_tell(struct radio_modem *m)
{
        const struct modem_facts *f = &m->facts;
        struct dog_radio r = dog_radio_unknown();
        struct dog_radio told;
        r.technology = access_technology(f->access);
        r.cell = f->cell;
        level_set(m->s, &r.signal, f->quality, 0, 1);
        /* The newest technology that is measured; in non-standalone NR that is the cell which carries most.
         */
        for (int i = MODEM_NR; i >= 0; i--) {
                const struct modem_level *l = &f->level[i];
                told = r;
                level_set(m->s, &told.rssi_dbm, l->rssi, -140, 0);
                level_set(m->s, &told.rsrp_dbm, l->rsrp, -156, -31);
                level_set(m->s, &told.rsrq_db, l->rsrq, -43, 20);
                level_set(m->s, &told.sinr_db, l->snr, -23, 40);
                if (told.rssi_dbm == told.rssi_dbm || told.rsrp_dbm == told.rsrp_dbm)
                        break;
                told = r;
        }
        m->facts.is_level_told = false;
        if (!dog_radio_is_known(&told)) {
                radio_fail(m->s, "ModemManager knows nothing of the modem's signal");
                return;
        }
        radio_tell(m->s, &told, m->now_ns);
}

/* ---- asking ---- */

typedef int (*modem_answer)(sd_bus_message *msg, void *user, sd_bus_error *error);

/* @param type  of the arguments; NULL: none */
static int modem_ask(struct radio_modem *m, const char *path, const char *interface, const char *method,
                     modem_answer answer, const char *text, const uint32_t *number)
{
        sd_bus_message *ask = NULL;
        int rc = sd_bus_message_new_method_call(m->bus, &ask, MM, path, interface, method);
        /* A ModemManager that someone has stopped stays stopped. */
        if (rc >= 0)
                rc = sd_bus_message_set_auto_start(ask, 0);
        if (rc >= 0 && text)
                rc = sd_bus_message_append(ask, "s", text);
        if (rc >= 0 && number)
                rc = sd_bus_message_append(ask, "u", *number);
        if (rc >= 0)
                rc = sd_bus_call_async(m->bus, NULL, ask, answer, m, 0);
        sd_bus_message_unref(ask);
        if (rc >= 0)
                m->waiting++;
        else
                m->is_lost = true;
        return rc;
}

/* Something answered. @return true: with an error, whose name is *name */
static bool modem_answered(struct radio_modem *m, sd_bus_message *msg, const char **name)
{
        m->waiting -= m->waiting > 0;
        const sd_bus_error *error = sd_bus_message_get_error(msg);
        *name = error && error->name ? error->name : "";
        return error != NULL;
}

static bool is_refusal(const char *error)
{
        return strcmp(error, "org.freedesktop.DBus.Error.AccessDenied") == 0 ||
               strstr(error, "Unauthorized") != NULL;
}

static bool is_gone(const char *error)
{
        return strcmp(error, "org.freedesktop.DBus.Error.UnknownObject") == 0 ||
               strcmp(error, "org.freedesktop.DBus.Error.ServiceUnknown") == 0 ||
               strcmp(error, "org.freedesktop.DBus.Error.NameHasNoOwner") == 0;
}

/* ---- its properties ---- */

static int facts_answer(struct radio_modem *m, sd_bus_message *msg, const char *interface)
{
        const char *error;
        struct modem_look look = {&m->facts, m->s->conf.device};
        if (modem_answered(m, msg, &error)) {
                radio_fail(m->s, "ModemManager does not tell of modem %s: %s", m->object, error);
                if (is_gone(error))
                        modem_forget(m);
                return 0;
        }
        return m->object[0] ? interface_take(&look, interface, msg) : 0;
}

static int modem_on_network(sd_bus_message *msg, void *user, sd_bus_error *error)
{
        (void)error;
        struct radio_modem *m = user;
        /* Not every modem is on a 3GPP network. */
        const char *name;
        if (sd_bus_message_is_method_error(msg, NULL)) {
                modem_answered(m, msg, &name);
                return 0;
        }
        if (facts_answer(m, msg, MM_3GPP) < 0)
                m->is_lost = true;
        return 0;
}

static int modem_on_modem(sd_bus_message *msg, void *user, sd_bus_error *error)
{
        struct radio_modem *m = user;
        (void)error;
        if (facts_answer(m, msg, MM_MODEM) < 0)
                m->is_lost = true;
        return 0;
}

/* The last of a round: then there is something to tell. */
static int modem_on_signal(sd_bus_message *msg, void *user, sd_bus_error *error)
{
        struct radio_modem *m = user;
        (void)error;
        bool is_told = !sd_bus_message_is_method_error(msg, NULL);
        if (facts_answer(m, msg, MM_SIGNAL) < 0)
                m->is_lost = true;
        else if (m->object[0] && is_told)
                modem_tell(m);
        return 0;
}

/* ---- its cells ---- */

struct modem_cell {
        uint64_t hash;
        bool is_serving;
};

static int cell_take(void *context, const char *key, sd_bus_message *msg)
{
        static const char *const identity[] = {"operator-id", "ci", "physical-ci", "cell-id", "tac", "lac"};
        struct modem_cell *c = context;
        char text[64] = "";
        int is_serving = 0;
        if (strcmp(key, "serving") == 0) {
                int rc = value_enter(msg, "b");
                if (rc <= 0)
                        return rc;
                rc = sd_bus_message_read_basic(msg, 'b', &is_serving);
                c->is_serving = is_serving != 0;
                return rc < 0 ? rc : sd_bus_message_exit_container(msg);
        }
        for (size_t i = 0; i < sizeof(identity) / sizeof(identity[0]); i++) {
                if (strcmp(key, identity[i]) != 0)
                        continue;
                int rc = value_text(msg, text, sizeof(text));
                /* A sum: entries of a dictionary come in any order. */
                if (text[0])
                        c->hash += dog_radio_cell(dog_radio_cell(0, key, strlen(key)), text, strlen(text));
                return rc;
        }
        return sd_bus_message_skip(msg, "v");
}

static int modem_on_cells(sd_bus_message *msg, void *user, sd_bus_error *ignored)
{
        struct radio_modem *m = user;
        const char *error;
        (void)ignored;
        if (modem_answered(m, msg, &error)) {
                /* Not every modem can, and not everybody may; the rest is worth having without. */
                m->cells_ns = m->now_ns + MODEM_CELLS;
                m->facts.cell = 0;
                if (is_refusal(error) && !m->is_refusal_told) {
                        m->is_refusal_told = true;
                        radio_news(m->s, true,
                                   "ModemManager does not tell its cells, so handovers are not seen: allow "
                                   "org.freedesktop.ModemManager1.Device.Control to the daemon's user by "
                                   "polkit");
                }
                return 0;
        }
        uint64_t cell = 0;
        int rc = sd_bus_message_enter_container(msg, 'a', "a{sv}");
        while (rc >= 0 && (rc = sd_bus_message_at_end(msg, 0)) == 0) {
                struct modem_cell c = {0};
                rc = entries_each(msg, cell_take, &c);
                if (rc >= 0 && c.is_serving && c.hash && !cell)
                        cell = c.hash;
        }
        if (rc < 0)
                m->is_lost = true;
        else if (m->object[0])
                m->facts.cell = cell;
        return 0;
}

/* ---- measuring ---- */

static int modem_on_setup(sd_bus_message *msg, void *user, sd_bus_error *ignored)
{
        struct radio_modem *m = user;
        const char *error;
        (void)ignored;
        if (modem_answered(m, msg, &error) && is_refusal(error) && !m->is_refusal_told) {
                m->is_refusal_told = true;
                radio_news(
                        m->s, true,
                        "ModemManager may not be told to measure signals: allow "
                        "org.freedesktop.ModemManager1.Device.Control to the daemon's user by polkit, or run "
                        "\"mmcli -m %s --signal-setup=1\"",
                        m->object + strlen(MODEM_PREFIX));
        }
        return 0;
}

/* Once a modem: whoever sets another rate, or none, later means it. */
static void modem_setup(struct radio_modem *m)
{
        uint32_t rate = (uint32_t)((m->s->conf.interval_ns + DOG_S - 1) / DOG_S);
        if (m->is_setup || !m->facts.has_signal)
                return;
        m->is_setup = true;
        if (m->facts.rate == 0 || m->facts.rate > rate)
                modem_ask(m, m->object, MM_SIGNAL, "Setup", modem_on_setup, NULL, &rate);
}

/* ---- which modem ---- */

static bool modem_is_ours(const struct radio_modem *m, const char *path, const struct modem_facts *f)
{
        const char *want = m->s->conf.modem ? m->s->conf.modem : "auto";
        if (strcmp(want, "auto") == 0)
                return f->has_device;
        return strcmp(path + strlen(MODEM_PREFIX), want) == 0 || (f->imei[0] && strcmp(f->imei, want) == 0);
}

/* One object of a{oa{sa{sv}}}. */
static int object_take(struct radio_modem *m, sd_bus_message *msg, unsigned *modems)
{
        const char *path;
        const char *interface;
        struct modem_facts f;
        struct modem_look look = {&f, m->s->conf.device};
        facts_init(&f);
        int rc = sd_bus_message_read_basic(msg, 'o', &path);
        if (rc >= 0)
                rc = sd_bus_message_enter_container(msg, 'a', "{sa{sv}}");
        while (rc >= 0 && (rc = sd_bus_message_enter_container(msg, 'e', "sa{sv}")) > 0) {
                rc = sd_bus_message_read_basic(msg, 's', &interface);
                if (rc >= 0)
                        rc = interface_take(&look, interface, msg);
                if (rc >= 0)
                        rc = sd_bus_message_exit_container(msg);
        }
        if (rc >= 0)
                rc = sd_bus_message_exit_container(msg);
        if (rc < 0 || strncmp(path, MODEM_PREFIX, strlen(MODEM_PREFIX)) != 0)
                return rc;
        ++*modems;
        if (!m->object[0] && strlen(path) < sizeof(m->object) && modem_is_ours(m, path, &f)) {
                snprintf(m->object, sizeof(m->object), "%s", path);
                m->facts = f;
        }
        return rc;
}

static int modem_on_objects(sd_bus_message *msg, void *user, sd_bus_error *ignored)
{
        struct radio_modem *m = user;
        const char *error;
        unsigned modems = 0;
        (void)ignored;
        m->due_ns = m->now_ns + MODEM_AGAIN;
        if (modem_answered(m, msg, &error)) {
                radio_fail(m->s, is_gone(error) ? "ModemManager does not run (%s)" : "ModemManager: %s",
                           error);
                return 0;
        }
        int rc = sd_bus_message_enter_container(msg, 'a', "{oa{sa{sv}}}");
        while (rc >= 0 && (rc = sd_bus_message_enter_container(msg, 'e', "oa{sa{sv}}")) > 0) {
                rc = object_take(m, msg, &modems);
                if (rc >= 0)
                        rc = sd_bus_message_exit_container(msg);
        }
        if (rc < 0) {
                m->is_lost = true;
        } else if (m->object[0]) {
                m->due_ns = m->now_ns;
        } else if (!m->s->conf.modem || strcmp(m->s->conf.modem, "auto") == 0) {
                radio_fail(m->s, "none of %u modems has the device %s; name its index or IMEI", modems,
                           m->s->conf.device ? m->s->conf.device : "of the path");
        } else {
                radio_fail(m->s, "none of %u modems is %s", modems, m->s->conf.modem);
        }
        return 0;
}

/* ---- what it tells by itself ---- */

static int modem_on_changed(sd_bus_message *msg, void *user, sd_bus_error *error)
{
        struct radio_modem *m = user;
        const char *interface;
        struct modem_look look = {&m->facts, m->s->conf.device};
        const char *path = sd_bus_message_get_path(msg);
        (void)error;
        if (!m->object[0] || !path || strcmp(path, m->object) != 0)
                return 0;
        m->facts.is_level_told = false;
        if (sd_bus_message_read_basic(msg, 's', &interface) < 0 || interface_take(&look, interface, msg) < 0)
                return 0; /* not in the form that it should be: nothing was said */
        if (m->facts.is_level_told)
                modem_tell(m);
        return 0;
}

static int modem_on_removed(sd_bus_message *msg, void *user, sd_bus_error *error)
{
        struct radio_modem *m = user;
        const char *path;
        (void)error;
        if (sd_bus_message_read_basic(msg, 'o', &path) >= 0 && strcmp(path, m->object) == 0)
                modem_forget(m);
        return 0;
}

static int modem_on_added(sd_bus_message *msg, void *user, sd_bus_error *error)
{
        struct radio_modem *m = user;
        (void)msg, (void)error;
        if (!m->object[0] && m->waiting == 0)
                m->due_ns = m->now_ns;
        return 0;
}

/* ModemManager came, went, or was started again. */
static int modem_on_owner(sd_bus_message *msg, void *user, sd_bus_error *error)
{
        struct radio_modem *m = user;
        (void)msg, (void)error;
        modem_forget(m);
        m->is_refusal_told = false;
        m->cells_ns = 0;
        return 0;
}

static int modem_listen(struct radio_modem *m)
{
        static const struct {
                const char *match;
                modem_answer heard;
        } row[] = {
                {"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                 "member='NameOwnerChanged',arg0='" MM "'",
                 modem_on_owner},
                {"type='signal',sender='" MM "',interface='" PROPERTIES
                 "',member='PropertiesChanged',path_namespace='" MM_PATH "'",
                 modem_on_changed},
                {"type='signal',sender='" MM "',interface='" MANAGER "',member='InterfacesRemoved'",
                 modem_on_removed},
                {"type='signal',sender='" MM "',interface='" MANAGER "',member='InterfacesAdded'",
                 modem_on_added},
        };
        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
                int rc = sd_bus_add_match_async(m->bus, NULL, row[i].match, row[i].heard, NULL, m);
                if (rc < 0)
                        return rc;
        }
        m->is_watching = true;
        return 0;
}

/* ---- one turn ---- */

static void modem_due(struct radio_modem *m)
{
        /* Who does not answer is not asked twice: the answer, or its deadline, comes first. */
        if (m->waiting)
                return;
        if (!m->object[0]) {
                m->due_ns = m->now_ns + MODEM_AGAIN;
                modem_ask(m, MM_PATH, MANAGER, "GetManagedObjects", modem_on_objects, NULL, NULL);
                return;
        }
        m->due_ns = m->now_ns + m->s->conf.interval_ns;
        modem_setup(m);
        if (m->now_ns >= m->cells_ns)
                modem_ask(m, m->object, MM_MODEM, "GetCellInfo", modem_on_cells, NULL, NULL);
        modem_ask(m, m->object, PROPERTIES, "GetAll", modem_on_network, MM_3GPP, NULL);
        modem_ask(m, m->object, PROPERTIES, "GetAll", modem_on_modem, MM_MODEM, NULL);
        modem_ask(m, m->object, PROPERTIES, "GetAll", modem_on_signal, MM_SIGNAL, NULL);
}

static int64_t modem_failed(struct radio_modem *m, int rc)
{
        const char *bus = m->s->conf.bus ? m->s->conf.bus : DOG_RADIO_BUS;
        modem_hang_up(m);
        facts_init(&m->facts);
        radio_fail(m->s, "the bus at %s: %s", bus, strerror(rc < 0 ? -rc : EPROTO));
        m->due_ns = m->now_ns + MODEM_AGAIN;
        return m->due_ns;
}

/* Poll for what the bus wants now. @return its deadline */
static int64_t modem_poll(struct radio_modem *m)
{
        int fd = sd_bus_get_fd(m->bus);
        int events = sd_bus_get_events(m->bus);
        uint64_t until_us = UINT64_MAX;
        if (fd < 0 || events < 0)
                return modem_failed(m, fd < 0 ? fd : events);
        short want = (short)(events ? events : POLLIN);
        if (fd != m->fd || want != m->events)
                m->s->conf.watch(m->s->conf.user, fd, want);
        m->fd = fd;
        m->events = want;
        int64_t next_ns = m->due_ns;
        /* Its clock is ours: CLOCK_MONOTONIC, absolute. */
        if (sd_bus_get_timeout(m->bus, &until_us) >= 0 && until_us < (uint64_t)(INT64_MAX / DOG_US) &&
            (int64_t)until_us * DOG_US < next_ns)
                next_ns = (int64_t)until_us * DOG_US;
        if (m->waiting && next_ns <= m->now_ns)
                next_ns = m->now_ns + 100 * DOG_MS;
        return next_ns;
}

int64_t radio_modem_step(struct dog_radio_source *s, int64_t now_ns)
{
        struct radio_modem *m = s->modem;
        int rc = 1;
        m->now_ns = now_ns;
        if (!m->bus) {
                if (now_ns < m->due_ns)
                        return m->due_ns;
                rc = modem_connect(m);
                if (rc < 0)
                        return modem_failed(m, rc);
                rc = 1;
        }
        int done = 0;
        for (; done < MODEM_ONCE && rc > 0 && !m->is_lost; done++)
                rc = sd_bus_process(m->bus, NULL);
        if (rc >= 0 && m->is_lost)
                rc = -EBADMSG;
        int is_ready = rc >= 0 ? sd_bus_is_ready(m->bus) : 0;
        if (rc >= 0 && is_ready < 0)
                rc = is_ready;
        if (rc >= 0 && is_ready == 0 && now_ns - m->since_ns > MODEM_WAIT)
                rc = -ETIMEDOUT;
        if (rc >= 0 && is_ready > 0 && !m->is_watching)
                rc = modem_listen(m);
        if (rc < 0)
                return modem_failed(m, rc);
        if (is_ready > 0 && now_ns >= m->due_ns)
                modem_due(m);
        if (!is_ready && m->due_ns <= now_ns)
                m->due_ns = now_ns + 100 * DOG_MS;
        int64_t next_ns = modem_poll(m);
        /* More is there than one turn may take. */
        return m->bus && done == MODEM_ONCE ? now_ns : next_ns;
}

int radio_modem_begin(struct dog_radio_source *s)
{
        s->modem = calloc(1, sizeof(*s->modem));
        if (!s->modem)
                return -ENOMEM;
        s->modem->s = s;
        s->modem->fd = -1;
        facts_init(&s->modem->facts);
        return 0;
}

void radio_modem_end(struct dog_radio_source *s)
{
        modem_hang_up(s->modem);
        free(s->modem);
        s->modem = NULL;
}
