#!/usr/bin/env python3
"""Outside feeds at two real gateways: a real server of good and bad feeds beside one of them (F3 O3 G3 G4).

Usage: feeds.py SUNDOGD SUNDOG LINKEMU
"""
import datetime
import json
import os
import signal
import sys
import time

from gateways import Gateways
from lab import need, process_tree, run, sh, wait_for

PROGRAMS = [os.path.abspath(p) for p in sys.argv[1:4]]
HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
PORT = 8088
lab = None


def zulu(at):
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def event(summary, start, end, more="", uid=None):
    return "BEGIN:VEVENT\r\nUID:%s\r\nSUMMARY:%s\r\nDTSTART:%s\r\nDTEND:%s\r\n%sEND:VEVENT\r\n" % (
        uid or summary, summary, zulu(start), zulu(end), more)


def serve(name, text):
    """In one step: a fetch sees the old one or the new one."""
    with open(lab.path("www/.new"), "w", newline="") as f:
        f.write(text)
    os.rename(lab.path("www/.new"), lab.path("www/" + name))


def calendar(*events):
    serve("noc.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//noc//noc//EN\r\n%sEND:VCALENDAR\r\n" % "".join(events))


def weather(*entries):
    serve("weather.json", json.dumps({"entries": list(entries)}))


def feed(name, kind, source, more=""):
    return "  - {name: %s, kind: %s, %s, affects: [p0, p1, p2], interval: 1s, timeout: 2s%s}\n" % (
        name, kind, source, more)


def noc(more=""):
    # By name: the look-up happens in a thread of the fetching child, under its filter.
    return feed("noc", "calendar", "url: \"http://localhost:%d/noc.ics\"" % PORT, ", lead: 5s, stale_after: 5s" + more)


def both(feeds, mirror="auto"):
    lab.calm()
    lab.configure("b")
    lab.sundogd("b")
    lab.configure("a", classes="  - {name: all, profile: voice, mirror: %s}\n" % mirror,
                  change={"classes:\n": ("feeds:\n" + feeds if feeds else "") + "classes:\n"})
    lab.sundogd("a")
    lab.topology("route", "dev", "sd0")
    settled()


def settled():
    """p0 carries the class, alone: what forwarded before a start goes on after it."""
    if lab.carried_by("a", "all") != ["p0"]:
        for p in ("p1", "p2"):
            lab.emu("set", p, "delay", "200ms")
        wait_for(lambda: lab.carried_by("a", "all")[0] == "p0", 15, "the others are too slow")
        lab.calm()
    wait_for(lambda: lab.carried_by("a", "all")[0] == "p0" and not any(
        p["rtt_ms"] is None or p["rtt_ms"] > 100 for p in lab.ask("a", "paths")[1]), 20, "p0 carries, and all paths are fast")


def is_left():
    return "p0" not in lab.carried_by("a", "all")


def feeds():
    return {f["feed"]: f for f in lab.ask("a", "feeds")[1]}


def risk(path):
    return [f["p_breach"] for f in lab.ask("a", "forecast", path)[1] if f["horizon_s"] == 1][0]


def announced(path):
    return [f["announced"] for f in lab.ask("a", "forecast", path)[1] if f["horizon_s"] == 1][0]


def moves():
    return [e for e in lab.events("a", "decision", "all") if e["act"] == "move"]


def told(words):
    return [e for e in lab.events("a", "feed") if words in e["text"]]


def traffic_leaves_a_path_before_its_maintenance():  # F3 O3
    calendar()
    both(noc())
    wait_for(lambda: feeds()["noc"]["state"] == "fresh", 10, "it is read")
    s = lab.stream(30)
    time.sleep(1)
    first = len(moves())
    start = time.time() + 9
    calendar(event("new router at p0", start, start + 6))
    wait_for(lambda: feeds()["noc"]["entries"] == 1, 4, "the change is seen")
    need(lab.carried_by("a", "all")[0] == "p0", "nothing moves yet")
    wait_for(is_left, start - time.time(), "it is left")
    early = start - time.time()
    need(early > 1, "before the work begins: %.1f s" % early)
    words = announced("p0")
    need("new router at p0 announced" in words and "(noc)" in words, words)
    # In the window p0 is as healthy as ever; nobody goes back.
    wait_for(lambda: time.time() > start + 2, 20, "the work is on")
    need(is_left(), "it stays away while the window is open")
    lab.emu("cut", "p0")
    time.sleep(1)
    lab.emu("heal", "p0")
    move = moves()[first]
    need(move["why"] == "breach-forecast", str(move))
    code, text, _ = lab.sundog("--socket", lab.socket("a"), "explain", "d-%d" % move["id"])
    need(code == 0 and "new router at p0 announced" in text, text)
    code, table, _ = lab.sundog("--socket", lab.socket("a"), "forecast", "p0")
    need("new router at p0 announced" in table, table)
    wait_for(lambda: not announced("p0"), start + 15 - time.time(), "afterwards nothing is announced")
    need(time.time() > start + 5, "not before the end")
    wait_for(lambda: risk("p0") < 0.1, 10, "and p0 is as good as any")
    now, here = time.time(), lab.carried_by("a", "all")[0]
    calendar(event(here + " next", now - 1, now + 60))
    wait_for(lambda: lab.carried_by("a", "all")[0] != here, 5, "and when %s is next, that is left too" % here)
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    return "left %.1f s ahead, %d sent, 0 lost over a cut of p0\n%s" % (early, sent, text)


def a_change_and_a_cancellation_take_effect():  # F3
    now = time.time()
    calendar(event("work on p0", now - 60, now + 600, uid="1"))
    lab.calm()
    lab.configure("b")
    lab.sundogd("b")
    lab.configure("a", change={"classes:\n": "feeds:\n" + noc() + "classes:\n"})
    lab.sundogd("a")
    lab.topology("route", "dev", "sd0")
    wait_for(lambda: announced("p0") and is_left(), 15, "p0 is avoided from the start")
    need(not announced("p1") and not announced("p2"), "and only p0")
    calendar(event("work on p0", now - 60, now + 600, more="STATUS:CANCELLED\r\n", uid="1"))
    wait_for(lambda: not announced("p0") and risk("p0") < 0.1, 10, "cancelled: p0 is as good as any")
    # Nothing new costs no body.
    before = feeds()["noc"]
    wait_for(lambda: feeds()["noc"]["unchanged"] >= before["unchanged"] + 2, 6, "304 is understood")
    with open(lab.path("www/asked")) as f:
        need("sundog/" in f.read(), "it says who it is")


def a_feed_that_says_all_is_fine_hides_nothing():  # F3
    now = time.time()
    weather(*({"start": now - 60, "end": now + 600, "where": p, "risk": 0, "words": "all is fine"}
              for p in ("p0", "p1", "p2")))
    both(feed("sky", "weather", "url: \"http://localhost:%d/weather.json\"" % PORT))
    wait_for(lambda: feeds()["sky"]["state"] == "fresh", 10, "it is read")
    need(feeds()["sky"]["entries"] == 0, "no risk is no entry")
    s = lab.stream(5)
    time.sleep(1)
    lab.emu("cut", "p0")
    wait_for(lambda: lab.carried_by("a", "all")[0] != "p0", 3, "a cut is a cut")
    sent, lost, _ = s.result()
    need(lost < 15, "%d of %d lost" % (lost, sent))
    return "%d of %d lost" % (lost, sent)


def a_feed_that_says_doom_for_everything_blocks_nobody():  # F3
    now = time.time()
    weather(*({"start": now - 60, "end": now + 600, "where": p, "risk": 1, "words": "doom"}
              for p in ("p0", "p1", "p2")))
    both(feed("sky", "weather", "url: \"http://localhost:%d/weather.json\"" % PORT, ", adds: 10"))
    wait_for(lambda: all(risk(p) > 0.5 for p in ("p0", "p1", "p2")), 10, "every risk is raised")
    need(all(risk(p) < 1 for p in ("p0", "p1", "p2")), "none is certain")
    s = lab.stream(10)
    time.sleep(1)
    need(lab.carried_by("a", "all"), "somebody carries the traffic")
    need(all(p["state"] != "DEAD" for p in lab.ask("a", "paths")[1]), "nothing is dead because somebody says so")
    lab.emu("cut", "p0")
    wait_for(lambda: lab.carried_by("a", "all")[0] != "p0", 3, "p0 is left")
    time.sleep(1)
    second = lab.carried_by("a", "all")[0]
    last = "p2" if second == "p1" else "p1"
    lab.emu("cut", second)
    wait_for(lambda: lab.carried_by("a", "all")[0] == last, 3, "%s too, for the last one" % second)
    sent, lost, _ = s.result()
    need(lost < 40, "%d of %d lost over two cuts" % (lost, sent))
    rows = {p["path"]: p["state"] for p in lab.ask("a", "paths")[1]}
    need(rows[last] == "ACTIVE", str(rows))
    return "%d of %d lost over two cuts" % (lost, sent)


def bad_servers_are_named_and_cost_nothing():  # F3
    calendar()
    names = {"hang": "timeout", "trickle": "timeout", "big": "too-long", "announced": "too-long", "circle": "redirect",
             "away": "redirect", "page": "type", "ill": "status", "garbage": "malformed", "nothing": "status"}
    text = noc()
    for n in names:
        text += feed(n, "calendar", "url: \"http://127.0.0.1:%d/%s\"" % (PORT, n), ", stale_after: 10s")
    text += feed("deaf", "calendar", "url: \"http://127.0.0.1:9/\"", ", stale_after: 10s")
    text += feed("tls", "calendar", "url: \"https://localhost:8443/noc.ics\"", ", stale_after: 10s")
    text += feed("nofile", "weather", "file: %s" % lab.path("there-is-none"), ", stale_after: 10s")
    text += feed("folder", "weather", "file: /etc", ", stale_after: 10s")
    both(text)
    s = lab.stream(12)
    words = {"hang": "longer than it may", "trickle": "longer than it may", "big": "cut off at 1048576",
             "announced": "longer than max_bytes", "circle": "redirect", "away": "elsewhere", "page": "text/html",
             "ill": "status 503", "garbage": "calendar", "nothing": "status 404", "deaf": "cannot be reached",
             "tls": "prove who it is", "nofile": "there-is-none", "folder": "is no file"}
    wait_for(lambda: all(feeds()[n]["failures"] >= 2 for n in words if n != "ill"), 30, "each has failed twice")
    now = feeds()
    for n, w in words.items():
        need(w in now[n]["trouble"], "%s: %s" % (n, now[n]["trouble"]))
        need(len([e for e in told("feed %s:" % n)]) == 1, "%s is told once: %s" % (n, told("feed %s:" % n)))
    need(now["big"]["bytes"] <= (1 << 20) + (1 << 17), "100 MB are cut: %d bytes" % now["big"]["bytes"])
    need(now["ill"]["due_s"] > 2 or now["ill"]["fetches"] <= 4, "Retry-After is kept: %s" % now["ill"])
    need(now["noc"]["state"] == "fresh" and now["noc"]["failures"] == 0, "the good one goes on: %s" % now["noc"])
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    status = lab.alive()
    need(all(p["probes_lost"] <= 3 + 0.02 * p["probes_sent"] for p in status["paths"]), "no probe waited for a feed: %s" % status["paths"])
    code, table, _ = lab.sundog("--socket", lab.socket("a"), "feeds")
    need(code == 3 and "hang" in table and "never" in table, table)
    return table


def a_million_events_are_cut_off_and_counted():  # F3
    now = time.time()
    serve("noc.ics", "BEGIN:VCALENDAR\r\n%sEND:VCALENDAR\r\n" %
          (event("e", now + 3600, now + 7200).replace("UID:e\r\n", "") * 1000000))
    both(noc(", max_bytes: 64MiB"))
    wait_for(lambda: feeds()["noc"]["fetches"] and (feeds()["noc"]["trouble"] or feeds()["noc"]["dropped"]), 20, "a word")
    need("cut off" in feeds()["noc"]["trouble"], str(feeds()["noc"]))
    serve("noc.ics", "BEGIN:VCALENDAR\r\n%sEND:VCALENDAR\r\n" %
          (event("e", now + 3600, now + 7200).replace("UID:e\r\n", "") * 500000))
    wait_for(lambda: feeds()["noc"]["dropped"] > 490000, 20, "half a million: %s" % feeds()["noc"])
    f = feeds()["noc"]
    need(f["entries"] == 2048 and f["state"] == "fresh", str(f))
    need(told("more than are kept"), "and it is told")
    status = lab.alive()
    need(all(p["probes_lost"] <= 3 + 0.02 * p["probes_sent"] for p in status["paths"]), "no probe waited for it: %s" % status["paths"])
    return "%d kept, %d counted" % (f["entries"], f["dropped"])


def a_stale_feed_says_nothing_any_more():  # F3
    global server
    now = time.time()
    calendar(event("work on p0", now - 60, now + 600))
    lab.calm()
    lab.configure("b")
    lab.sundogd("b")
    lab.configure("a", change={"classes:\n": "feeds:\n" + noc() + "classes:\n"})
    lab.sundogd("a")
    lab.topology("route", "dev", "sd0")
    wait_for(is_left, 15, "p0 is avoided")
    server.end()
    wait_for(lambda: told("is stale"), 15, "its server is gone: stale")
    wait_for(lambda: not announced("p0") and risk("p0") < 0.1, 10, "and it counts no more")
    need(feeds()["noc"]["state"] == "STALE", str(feeds()["noc"]))
    server = start_server()
    wait_for(lambda: announced("p0") and risk("p0") > 0.5, 20, "it comes back, and is heeded again")
    need(len(told("is stale")) == 1, "once")


def processes():
    """(the decider, the one that fetches), both children of the one with privileges"""
    of = {}
    for pid in process_tree(lab.daemon["a"].process.pid)[1:]:
        with open("/proc/%d/comm" % pid) as f:
            of.setdefault(f.read().strip(), pid)
    return of["sundogd"], of["sundog-feeds"]


def the_process_that_fetches_can_do_little_and_may_die():  # F3, and privileges
    now = time.time()
    calendar(event("work on p0", now - 60, now + 600))
    both("")
    tree = process_tree(lab.daemon["a"].process.pid)
    need(len(tree) == 2, "without feeds there is no such process: %s" % tree)
    lab.ended()
    lab.configure("b")
    lab.sundogd("b")
    lab.configure("a", change={"classes:\n": "feeds:\n" + noc() + "classes:\n"})
    lab.sundogd("a")
    wait_for(lambda: feeds()["noc"]["state"] == "fresh", 10, "it is read")
    decider, fetcher = processes()
    state = {}
    for pid in (fetcher, decider):
        with open("/proc/%d/status" % pid) as f:
            state[pid] = dict(line.rstrip().split(":\t", 1) for line in f if ":\t" in line)
    for s in state.values():
        need(s["Seccomp"] == "2" and s["NoNewPrivs"] == "1", "filtered, for ever: %s" % s)
        need(all(int(s[c], 16) == 0 for c in ("CapPrm", "CapEff", "CapBnd")), "no capability")
        need("0" not in s["Uid"].split(), "not root")
    held = sorted(os.readlink("/proc/%d/fd/%s" % (fetcher, n)) for n in os.listdir("/proc/%d/fd" % fetcher) if int(n) > 2)
    need(len(held) == 1 and held[0].startswith("socket:"), "it holds one socket and nothing else: %s" % held)
    # Killed twice: each time another one is there, with a word, a count and a pause, and nothing goes stale.
    for death in (1, 2):
        fetches = feeds()["noc"]["fetches"]
        os.kill(processes()[1], signal.SIGKILL)
        wait_for(lambda: feeds()["noc"]["fetcher_deaths"] == death, 5, "death %d is counted" % death)
        wait_for(lambda: told("has died, %d time" % death), 5, "and told")
        wait_for(lambda: feeds()["noc"]["fetches"] > fetches + 1 and feeds()["noc"]["state"] == "fresh", 10,
                 "another one fetches: %s" % feeds()["noc"])
    need(len(told("another process fetches feeds now")) == 2, str(told("another process")))
    need(processes()[0] == decider and processes()[1] != fetcher, "the decider is the same, the other is not")
    need(not told("is stale"), "nothing went stale")
    need("died 2 times" in lab.sundog("--socket", lab.socket("a"), "feeds")[1], "the table tells it")
    lab.alive()
    # A decider that dies takes its process along, and the next one starts another.
    tree = process_tree(decider) + process_tree(processes()[1])
    os.kill(decider, signal.SIGKILL)
    wait_for(lambda: not any(os.path.exists("/proc/%d" % p) for p in tree), 5, "all of %s are gone" % tree)
    wait_for(lambda: lab.ask("a", "feeds")[0] == 0 and feeds()["noc"]["state"] == "fresh", 15, "and it is read again")


def a_file_is_a_feed_too():  # F3 G3
    now = time.time()
    with open(lab.path("events.json"), "w") as f:
        json.dump({"entries": [{"start": now - 10, "end": now + 600, "where": "p0", "attendance": 50000,
                                "words": "final"}]}, f)
    both(feed("stadium", "events", "file: %s" % lab.path("events.json"), ", times: 5000, stale_after: 10s"))
    wait_for(lambda: "final announced" in announced("p0") and risk("p0") > 0.5, 10, "a match near p0")
    os.unlink(lab.path("events.json"))
    wait_for(lambda: "cannot be read" in feeds()["stadium"]["trouble"], 10, "its loss is told")
    wait_for(lambda: not announced("p0"), 20, "and it goes stale")


def start_server():
    p = lab.start(PYTHON, os.path.join(HERE, "feed_server.py"), lab.path("www"), str(PORT), netns=lab.ns("gwa"))
    p.expect("ready")
    return p


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit(run())
    tests = [
        traffic_leaves_a_path_before_its_maintenance,
        a_change_and_a_cancellation_take_effect,
        a_feed_that_says_all_is_fine_hides_nothing,
        a_feed_that_says_doom_for_everything_blocks_nobody,
        bad_servers_are_named_and_cost_nothing,
        a_million_events_are_cut_off_and_counted,
        a_stale_feed_says_nothing_any_more,
        the_process_that_fetches_can_do_little_and_may_die,
        a_file_is_a_feed_too,
    ]

    with Gateways(*PROGRAMS, prefix="sdfeed") as lab:
        os.mkdir(lab.path("www"))
        sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout",
           lab.path("tls.key"), "-out", lab.path("tls.crt"))
        sh("ip", "-n", lab.ns("gwa"), "link", "set", "lo", "up")
        server = start_server()
        secure = lab.start(PYTHON, os.path.join(HERE, "feed_server.py"), lab.path("www"), "8443", lab.path("tls.crt"),
                           lab.path("tls.key"), netns=lab.ns("gwa"))
        secure.expect("ready")
        sys.exit(lab.run_fresh(*tests))
