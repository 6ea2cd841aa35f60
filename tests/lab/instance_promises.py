#!/usr/bin/env python3
"""What an operator promises for a virtual address, and gets: response time, classes of requests, how much is
protected, mirrored UDP. sundogd, sundog, nginx, and small servers that can be told to be slow.

Usage: instance_promises.py SUNDOGD SUNDOG [WORD...]     only statements whose name has one of the words

Requirement ids stand beside what proves them.
"""
import os
import sys
import time

import instance_daemon
from instance_daemon import Stage, VIP
from lab import need, run, sh, wait_for

lab = None
servers = []
VIP6 = "fd80:0:0:9::1"

# An application: the same answer everywhere, after as many milliseconds as its file says when it is asked.
APP = """
import http.server, socketserver, sys, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(open(sys.argv[2]).read()) / 1e3)
        body = b"well\\n" * 20
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    def log_message(self, *a):
        pass
class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 256
s = S(("0.0.0.0", int(sys.argv[1])), H)
print("listens", flush=True)
s.serve_forever()
"""

# Requests one after the other for so many seconds, each on a connection of its own; who was slow, what failed.
ASK = """
import socket, sys, time
to, port, seconds, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
until, took, failed = time.monotonic() + seconds, [], 0
while time.monotonic() < until:
    at, got = time.monotonic(), b""
    try:
        s = socket.create_connection((to, port), 3)
        s.settimeout(3)
        s.sendall(b"GET /x HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
        while True:
            d = s.recv(65536)
            if not d:
                break
            got += d
        s.close()
    except OSError:
        pass
    failed += not got.endswith(b"well\\n")
    took.append((time.monotonic() - at) * 1e3)
    time.sleep(pause)
took.sort()
print("done n=%d failed=%d p50=%.0f p90=%.0f" % (len(took), failed, took[len(took) // 2], took[len(took) * 9 // 10]), flush=True)
"""

# UDP: the answer says nothing of who gave it.
UDP = """
import socket, sys, time
six = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("listens", flush=True)
while True:
    d, who = s.recvfrom(2048)
    time.sleep(float(sys.argv[3]) / 1e3)
    s.sendto(b"answer to " + d, who)
"""

# Numbered requests over eight sockets; counts the answers to each.
UDP_ASK = """
import select, socket, sys, time
to, port, n, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
family = socket.AF_INET6 if ":" in to else socket.AF_INET
sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(8)]
for s in sockets:
    s.connect((to, port))
    s.setblocking(False)
answers, wrong, refused, sent_at, late = [0] * n, 0, 0, [0] * n, 0
def take(wait):
    global wrong, refused, late
    for s in select.select(sockets, [], [], wait)[0]:
        try:
            d = s.recv(2048)
        except OSError:
            refused += 1
            continue
        if d.startswith(b"answer to request ") and d[18:].isdigit() and int(d[18:]) < n:
            answers[int(d[18:])] += 1
            late = max(late, time.monotonic() - sent_at[int(d[18:])])
        else:
            wrong += 1
print("started", flush=True)
for i in range(n):
    sent_at[i] = time.monotonic()
    try:
        sockets[i % 8].send(b"request %d" % i)
    except OSError:
        refused += 1
    until = sent_at[i] + pause
    while time.monotonic() < until:
        take(max(0, until - time.monotonic()))
until = time.monotonic() + 1
while time.monotonic() < until:
    take(0.1)
gaps = [i for i in range(n) if answers[i] == 0]
print("done once=%d none=%d more=%d wrong=%d refused=%d late_ms=%.0f last_gap=%d" % (
    answers.count(1), answers.count(0), sum(a > 1 for a in answers), wrong, refused, late * 1e3, gaps[-1] if gaps else -1), flush=True)
"""


def words(line):
    return {k: float(v) for k, v in (p.split("=") for p in line.split()[1:])}


def serve_vips(*vips, profiles=""):
    """sundogd with these vips in place of the stage's own, and both instances in use."""
    rows = "".join("  - {name: %s, address: 10.80.%d.2, device: s%s, check: icmp}\n" % (n, "abc".index(n) + 1, n) for n in "ab")
    with open(lab.path("edge.yaml"), "w") as f:
        f.write("site: edge\nuser: nobody\nstore: {path: %s}\napi: {socket: %s}\n%s"
                "front: {devices: [c0, sa, sb, sc]}\ninstances:\n%svips:\n%s"
                % (lab.path("run/store.db"), lab.path("run/api.sock"),
                   "profiles:\n%s" % profiles if profiles else "", rows,
                   "".join("  - {instances: [a, b], %s}\n" % v for v in vips)))
    lab.restart()
    wait_for(lambda: all(v["state"] == "FINE" for v in lab.ask("vips")[1]), 30, "all fine: %s" % lab.ask("vips")[1])


def vip(name):
    return [r for r in lab.ask("vips")[1] if r["vip"] == name][0]


def delay(name, ms):
    with open(lab.path("delay.%s.new" % name), "w") as f:
        f.write(str(ms))
    os.rename(lab.path("delay.%s.new" % name), lab.path("delay." + name))


def served_by(*command, netns):
    """A server of this statement; those of the one before have ended by then."""
    p = lab.start(sys.executable, "-c", *command, netns=netns)
    servers.append(p)
    p.expect("listens", 10)
    return p


def nobody_serves():
    while servers:
        servers.pop().end()


def apps(port):
    nobody_serves()
    for n in "ab":
        delay(n, 0)
        served_by(APP, str(port), lab.path("delay." + n), netns=lab.ns(n))


def ask(port, seconds, pause=0.02, to=VIP):
    return lab.start(sys.executable, "-c", ASK, to, str(port), str(seconds), str(pause), netns=lab.ns("cl"))


def slow_server(protect):
    """New connections leave a server that answers too slowly, though it fails nobody and no probe says a word."""
    apps(8000)
    serve_vips("name: app, address: %s, port: 8000, protect: %s, profile: quick" % (VIP, protect),
               profiles="  - {name: quick, response: 100ms, loss: 50%}\n")
    calm = words(ask(8000, 3).expect("done", 20))
    need(calm["failed"] == 0 and calm["p50"] < 50, str(calm))
    rows = {n: lab.instance(n) for n in "ab"}
    need(all((rows[n]["answers"] or 0) > 5 and 0 <= rows[n]["response_ms"] < 50 for n in "ab"), "both are timed: %s" % rows)
    # More than one asks, as with any service: one client that waits for a slow server asks little.
    clients = [ask(8000, 12) for _ in range(3)]
    time.sleep(0.5)
    delay("a", 300)
    begun = time.monotonic()
    wait_for(lambda: vip("app")["weights"]["a"] == 0, 6, "nothing new for a: %s" % lab.ask("instances")[1])
    took = time.monotonic() - begun
    # The questions that its standby answered instead are told apart: it may never be seen to answer late at all.
    wait_for(lambda: lab.instance("a")["response_ms"] > 50 or "clients wait on it" in lab.instance("a")["why"], 2,
             "it is measured: %s" % lab.instance("a"))
    row, well = lab.instance("a"), lab.instance("b")
    need(row["health"] < well["health"] - 20 and row["p_middle"] > 0.5 > well["p_middle"], "a low score: %s\n%s" % (row, well))
    need(row["state"] not in ("DEAD", "REFUSING") and row["probes_lost"] < 5, "it lives: %s" % row)
    opened = lab.instance("a")["opened"], lab.instance("b")["opened"]
    time.sleep(1.5)
    now = lab.instance("a")["opened"], lab.instance("b")["opened"]
    need(now[0] - opened[0] <= 1 and now[1] - opened[1] > 20, "new ones go to b: %s, then %s" % (opened, now))
    told = lab.sundog("instances")[1]
    delay("a", 0)
    results = [words(c.expect("done", 30)) for c in clients]
    need(all(r["failed"] == 0 for r in results), "nobody was failed: %s" % results)
    wait_for(lambda: ask(8000, 0.3).expect("done", 5) and vip("app")["weights"]["a"] > 0, 30, "a is used again")
    return "left after %.1f s; p90 of the clients %s ms\n%s" % (took, [r["p90"] for r in results], told)


def a_slow_server_loses_new_connections_before_it_fails():  # I1 I2 I8 I11 I14
    return slow_server("always")


def a_slow_server_without_protection_too():  # I1 I2 I8 I11
    return slow_server("never")


def what_is_not_replayable_is_shown_and_can_be_forgiven():
    for name in "ab":
        if lab.nginx[name].process.poll() is not None:
            lab.serve(name)
    serve_vips("name: web, address: %s, port: 80, protect: always, classes: yes" % VIP)

    def get(path):
        return sh("ip", "netns", "exec", lab.ns("cl"), "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}",
                  "http://%s/%s" % (VIP, path), check=False)

    def known(request):
        rows = [r for r in lab.ask("vips", "--classes")[1] if r["request"] == request]
        return rows[0] if rows else None
    need("classes: yes" in lab.sundog("vips", "--classes")[1] or known("GET /who") is None, "nothing is known yet")
    need(get("file") == "200" and get("who?x=1") == "200", "both are served")
    # Each server names itself: the answers differ.
    wait_for(lambda: get("who") == "200" and known("GET /who")["state"] == "NOT REPLAYABLE", 5, "it is found: %s" % known("GET /who"))
    row = known("GET /who")
    need(row["diverged"] >= 1 and row["vip"] == "web" and row["seen"] >= 1, str(row))
    need(known("GET /file")["state"] == "protected", "what is the same everywhere stays protected")
    before = vip("web")["events"]
    need(get("who") == "200", "it is served all the same")
    wait_for(lambda: vip("web")["events"]["evicted-class"] > before["evicted-class"], 5, "without a copy: %s" % vip("web"))
    text = lab.sundog("vips", "--classes")[1]
    need("NOT REPLAYABLE" in text and "GET /who" in text, text)
    need(vip("web")["not_replayable"] == 1, "counted")
    wait_for(lambda: any("GET /who" in e["text"] for e in lab.events("evicted")), 3, "its event names it: %s" % lab.events(""))
    code, _, err = lab.sundog("forgive", "GET /nothing")
    need(code == 1 and "no class of requests" in err, "%d %s" % (code, err))
    need(lab.sundog("forgive")[0] == 2 and lab.sundog("vips", "web")[0] == 2, "usage")
    code, out, err = lab.sundog("forgive", "GET /who")
    need(code == 0 and "protected again" in out, out + err)
    need(known("GET /who")["state"] == "protected" and lab.events("forgiven"), "it counts again")
    code, out, err = lab.sundog("forgive", row["class"])
    need(code == 0 and "all the time" in out, "by its number: %s" % (out + err))
    wait_for(lambda: get("who") == "200" and known("GET /who")["state"] == "NOT REPLAYABLE", 5, "and is found again")
    return text


def opened(name):
    e = vip(name)["events"]
    return e["opened"], e["opened"] + e["unprotected"] + e["table-full"]


def connect_many(port, n):
    code = ("import socket,sys\nfor i in range(%d):\n s=socket.create_connection((sys.argv[1],%d),3); s.sendall(b'GET /who HTTP/1.0\\r\\n\\r\\n')\n"
            " while s.recv(4096): pass\n s.close()\n" % (n, port))
    sh("ip", "netns", "exec", lab.ns("cl"), sys.executable, "-c", code, VIP)


def a_share_is_protected_and_no_more():  # I3
    serve_vips("name: part, address: %s, port: 80, protect: share, share: 30%%, guard: no" % VIP)
    # The counters of an address go on over restarts.
    was = opened("part")
    connect_many(80, 600)
    wait_for(lambda: opened("part")[1] >= was[1] + 600, 5, str(vip("part")))
    protected, all_ = (now - before for now, before in zip(opened("part"), was))
    # 4 standard deviations of 600 draws with p = 0.3
    need(abs(protected / all_ - 0.3) < 0.075, "%d of %d" % (protected, all_))
    return "%d of %d" % (protected, all_)


def at_most_so_many_are_protected_at_one_time():
    serve_vips("name: few, address: %s, port: 80, protect: always, most: 10" % VIP)
    c = instance_daemon.Client(25, rate=400000)
    wait_for(lambda: vip("few")["protected"] == 10, 5, "ten: %s" % vip("few"))
    rows = [r for r in lab.ask("conns", "-n", "10000")[1] if r["state"] == "protected"]
    need(len(rows) == 10, "%d" % len(rows))
    one = rows[0]
    code, text, err = lab.sundog("promote", one["client"], "--yes")
    need(code == 0 and "was moved from %s to %s" % (one["served_by"], one["standby"]) in text, text + err)
    wait_for(lambda: [r["state"] for r in lab.ask("conns", "-n", "10000")[1] if r["client"] == one["client"]] in (["promoted"], ["closed"]), 5,
             "it is there: %s" % [r for r in lab.ask("conns", "-n", "10000")[1] if r["client"] == one["client"]])
    return c.all_kept()


def by_budget_a_part_is_protected_in_the_long_run():
    serve_vips("name: thrifty, address: %s, port: 80, protect: auto, budget: 20%%, guard: no" % VIP)
    was = opened("thrifty")
    for _ in range(8):
        connect_many(80, 100)
        time.sleep(0.4)
    protected, all_ = (now - before for now, before in zip(opened("thrifty"), was))
    need(protected <= 0.35 * all_, "%d of %d, share %s" % (protected, all_, vip("thrifty")["protected_share"]))
    return "%d of %d" % (protected, all_)


def udp_stage(answer, address):
    port = 5300
    made = {}
    nobody_serves()
    for n in "ab":
        own = "10.80.%d.2" % ("abc".index(n) + 1) if "." in address else "fd80:0:0:%d::2" % ("abc".index(n) + 1)
        made[n] = served_by(UDP, own, str(port), "0", netns=lab.ns(n))
    rows = "".join("  - {name: %s, address: \"%s\", device: s%s, check: icmp}\n" % (
        n, ("10.80.%d.2" if "." in address else "fd80:0:0:%d::2") % ("abc".index(n) + 1), n) for n in "ab")
    with open(lab.path("edge.yaml"), "w") as f:
        f.write("site: edge\nuser: nobody\nstore: {path: %s}\napi: {socket: %s}\nfront: {devices: [c0, sa, sb, sc]}\n"
                "instances:\n%svips:\n  - {name: ask, address: \"%s\", port: %d, protocol: udp, protect: always, answer: %s, "
                "instances: [a, b]}\n" % (lab.path("run/store.db"), lab.path("run/api.sock"), rows, address, port, answer))
    lab.restart()
    wait_for(lambda: all(v["state"] == "FINE" for v in lab.ask("vips")[1]), 30, "fine: %s" % lab.ask("vips")[1])
    return port, made


def udp_answers(answer, address):
    port, apart = udp_stage(answer, address)
    c = lab.start(sys.executable, "-c", UDP_ASK, address, str(port), "400", "0.003", netns=lab.ns("cl"))
    calm = words(c.expect("done", 20))
    need(calm["once"] == 400 and calm["none"] == calm["more"] == calm["wrong"] == 0, "each exactly once: %s" % calm)
    need(vip("ask")["copies"] >= 350, "and they were mirrored: %s" % vip("ask"))
    c = lab.start(sys.executable, "-c", UDP_ASK, address, str(port), "900", "0.003", netns=lab.ns("cl"))
    c.expect("started", 5)
    time.sleep(0.5)
    apart["a"].process.kill()
    killed = words(c.expect("done", 20))
    need(killed["more"] == killed["wrong"] == 0, "never twice: %s" % killed)
    need(killed["last_gap"] < 800, "they go on being answered: %s" % killed)
    if answer == "first":
        need(killed["none"] <= 2, "the other answers at once: %s" % killed)
    return "%s; killed: %s" % (calm, killed)


def udp_is_answered_once_by_the_primary():  # I3
    return udp_answers("primary", VIP)


def udp_is_answered_once_by_the_first():  # I3 I9
    return udp_answers("first", VIP)


def udp_over_ipv6_is_answered_once():  # I3
    return udp_answers("primary", VIP6) + "\n" + udp_answers("first", VIP6)


STATEMENTS = (a_slow_server_loses_new_connections_before_it_fails, a_slow_server_without_protection_too,
              what_is_not_replayable_is_shown_and_can_be_forgiven, a_share_is_protected_and_no_more,
              at_most_so_many_are_protected_at_one_time, by_budget_a_part_is_protected_in_the_long_run,
              udp_is_answered_once_by_the_primary, udp_is_answered_once_by_the_first, udp_over_ipv6_is_answered_once)


def main():
    global lab
    if os.geteuid() != 0:
        return run()
    wanted = sys.argv[3:]
    with Stage("svx") as lab:
        instance_daemon.lab = lab
        return run(*[s for s in STATEMENTS if not wanted or any(w in s.__name__ for w in wanted)])


if __name__ == "__main__":
    sys.exit(main())
