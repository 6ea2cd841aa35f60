#pragma once
/**
 * Where a path's dog_radio comes from: a modem by ModemManager, a dish by its local telemetry, or a file or
 * pipe that another program writes.
 *
 * Like other sources it knows no loop: its owner polls the descriptors it is told of, calls _on_ready for
 * them and _on_timer when it was asked to, and gets readings. A source that is absent, hangs, lies or
 * restarts is told of once, in a sentence, and looked for again; it never holds the caller up. Readings are
 * at least 50 ms apart.
 *
 * modem   ModemManager on the system bus (org.freedesktop.ModemManager1): Modem.Signal, the Modem's access
 * technology and signal quality, and the serving cell (GetCellInfo, from ModemManager 1.20 on). Signal.Setup
 * is called when nobody has, which polkit must allow to the daemon's user (Device.Control); so must
 * GetCellInfo be. Without either the rest still tells. ModemManager is never started by us. By sd-bus: one
 * descriptor, one deadline, every message checked, no thread and no abort() of its own. libdbus says of
 * itself that it is not for direct use, wants a tree of watches and timeouts kept for it, and ends the
 * process on what it takes for a mistake; GDBus needs GLib's loop and a thread. libsystemd is on every system
 * that has ModemManager from Debian. dish    the JSON form of a Starlink dish's get_status
 * (sources/radio_read.h), from a file that is rewritten or by HTTP from something on the local network; the
 * dish itself speaks gRPC only. file    keys and values or JSON; a regular file that is rewritten or appended
 * to, or a named pipe. Of a regular file longer than 256 KiB the last 64 KiB are read. A file must be local:
 * reading one that a dead server holds would hold everything up.
 */
#include "base/err.h"
#include "models/radio.h"

#include <stddef.h>
#include <stdint.h>

enum dog_radio_kind { DOG_RADIO_MODEM, DOG_RADIO_DISH, DOG_RADIO_FILE };

/** The system bus. */
#define DOG_RADIO_BUS "/run/dbus/system_bus_socket"

struct dog_radio_conf {
        enum dog_radio_kind kind;
        const char *name;    /**< for sentences: "path lte of tunnel home"; all strings are copied */
        const char *bus;     /**< modem: the bus's socket; NULL: the system bus */
        const char *modem;   /**< modem: its index, IMEI or "auto", which is the one that has `device` */
        const char *device;  /**< modem: the path's network device, for "auto" */
        const char *url;     /**< dish: http://ADDRESS:PORT/PATH, or ... */
        const char *file;    /**< dish, file */
        int64_t interval_ns; /**< how often it is asked; at least 100 ms */
        int64_t stale_ns;    /**< what a file said longer ago is not told */
        /** Tell me when this descriptor is ready (POLLIN, POLLOUT); 0: no more, it is closed when this
         * returns. */
        void (*watch)(void *user, int fd, short events);
        void (*reading)(void *user, const struct dog_radio *r);
        /** It fell silent (three failures in a row, or something a person must allow), or tells again. */
        void (*news)(void *user, bool is_warning, const char *text);
        void *user;
};

struct dog_radio_stats {
        uint64_t readings;
        uint64_t failed;     /**< looked for and not had */
        uint64_t hurried;    /**< readings too soon after another: dropped */
        uint64_t impossible; /**< values out of range: refused */
        uint64_t malformed;  /**< texts or lines that are not in the format */
        uint64_t old;        /**< files that said nothing new for stale_ns */
        char why[160];       /**< why the last one failed; empty: it did not */
};

struct dog_radio_source;

/** Opens nothing yet. @return 0, -EINVAL, -ENOMEM */
int dog_radio_source_new(struct dog_radio_source **s, const struct dog_radio_conf *conf, struct dog_err *e);
/** Calls watch(fd, 0) for what is watched. NULL is allowed. */
void dog_radio_source_free(struct dog_radio_source *s);
/** @return when to call again, at most one interval ahead */
int64_t dog_radio_source_on_timer(struct dog_radio_source *s, int64_t now_ns);
/** @return when to call _on_timer */
int64_t dog_radio_source_on_ready(struct dog_radio_source *s, int64_t now_ns);
const struct dog_radio_stats *dog_radio_source_stats(const struct dog_radio_source *s);
