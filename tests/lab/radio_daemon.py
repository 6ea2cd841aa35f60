#!/usr/bin/env python3
"""Radios of paths in the daemon: a file and a modem, from the configuration to sundog paths, events and the store.

Usage: radio_daemon.py SUNDOGD SUNDOG LINKEMU

F3: signals from outside are taken in. I14: their going harms nothing. O3: what was told is kept.
"""
import os
import pathlib
import sqlite3
import subprocess
import sys

from gateways import Gateways
from lab import need, wait_for

HERE = pathlib.Path(__file__).parent
PROGRAMS = [os.path.abspath(p) for p in sys.argv[1:4]]
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=%s</listen><policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"""
count = failures = 0


def ok(is_so, text):
    global count, failures
    count += 1
    failures += not is_so
    print(f"{'ok' if is_so else 'not ok'} {count} - {text}", flush=True)


def path(lab, name):
    return [p for p in lab.ask("a", "paths")[1] if p["path"] == name][0]


def comes(lab, name, is_so, text):
    try:
        wait_for(lambda: is_so(path(lab, name)), 10, text)
        ok(True, text)
    except Exception as why:  # what did not come is a failed statement, not the end
        ok(False, f"{text}: {why}; {path(lab, name)}")


def told(lab, text):
    """An event may be written a moment after what it tells of is seen."""
    try:
        wait_for(lambda: any(e["event"] == "radio" and text in e["text"] for e in lab.ask("a", "events")[1]), 5, text)
        return True
    except Exception:
        return False


def at_work(lab, told_file, manager):
    told_file.write_text("rsrp_dbm -97.5 sinr_db 4 technology lte\n")
    comes(lab, "p0", lambda p: p.get("rsrp_dbm") == -97.5 and p["technology"] == "lte" and p["radio_age_s"] < 2,
          "what a file tells is in sundog paths")
    comes(lab, "p1", lambda p: p.get("rsrp_dbm") == -90 and p["sinr_db"] == 14, "and what ModemManager tells")
    ok("rsrp_dbm" not in path(lab, "p2"), "a path without a radio has none")
    table = subprocess.run(["ip", "netns", "exec", lab.ns("gwa"), lab.programs_of["sundog"], "--socket", lab.socket("a"),
                            "paths"], stdout=subprocess.PIPE, text=True).stdout
    print("".join("# %s\n" % line for line in table.splitlines()), end="")
    ok("RADIO" in table and "lte -98 dBm 4.0 dB" in table.replace("-97 dBm", "-98 dBm"), "the table shows it")
    manager.stdin.write("cell 9999\n")
    manager.stdin.flush()
    comes(lab, "p1", lambda p: (p["since_handover_s"] or 99) < 3, "a handover is seen")
    told_file.unlink()
    comes(lab, "p0", lambda p: p["rsrp_dbm"] is None and "cannot find" in p["radio_why"], "a file that goes is missed")
    ok(told(lab, "cannot find"), "in an event")
    ok(path(lab, "p0")["state"] != "DEAD", "which says nothing against the path")
    manager.kill()
    comes(lab, "p1", lambda p: p["rsrp_dbm"] is None and p["radio_why"], "so is a ModemManager that goes")
    told_file.write_text("rsrp_dbm -80\n")
    comes(lab, "p0", lambda p: p.get("rsrp_dbm") == -80, "the file is back")
    ok(told(lab, "tells again"), "and that is an event too")
    need(lab.stop("a") == 0, "the daemon ends in good order")
    ok(True, "the daemon ends in good order")
    names = {row[0] for row in sqlite3.connect(f"file:{lab.path('a/store.db')}?mode=ro", uri=True).execute(
        "select name from series")}
    wanted = {f"path/lab/p0/{w}" for w in ("rsrp_dbm", "sinr_db", "technology")} | {"path/lab/p1/handover", "path/lab/p1/signal"}
    ok(wanted <= names, f"all of it is in the store: {sorted(names)}")


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return
    with Gateways(*PROGRAMS, prefix="sdrd") as lab:
        bus, told_file = lab.path("bus"), pathlib.Path(lab.path("p0.radio"))
        pathlib.Path(lab.path("bus.conf")).write_text(BUS % bus)
        daemon = subprocess.Popen(["dbus-daemon", "--config-file=" + lab.path("bus.conf"), "--nofork", "--print-address"],
                                  stdout=subprocess.PIPE, text=True)
        address = daemon.stdout.readline().strip()
        os.chmod(bus, 0o777)
        manager = subprocess.Popen(["/usr/bin/python3", HERE / "modem_manager.py", address], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        manager.stdout.readline()
        try:
            radio = {"p0": "source: file, file: %s, interval: 200ms, stale_after: 1s" % told_file,
                     "p1": "source: modem, modem: 350000000000002, bus: %s, interval: 500ms, stale_after: 2s" % bus}
            for end, me, far in (("b", "2", "1"), ("a", "1", "2")):
                lab.configure(end, paths="".join(
                    "      - {name: p%d, id: %d, device: u%d, local: 10.78.%d.%s, remote: 10.78.%d.%s%s}\n" %
                    (k, k, k, k, me, k, far, ", radio: {%s}" % radio["p%d" % k] if end == "a" and k < 2 else "")
                    for k in range(3)))
                lab.sundogd(end)
            at_work(lab, told_file, manager)
        finally:
            manager.kill()
            daemon.kill()
    print(f"1..{count}")
    sys.exit(failures > 0)


main()
