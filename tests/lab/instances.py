#!/usr/bin/env python3
"""The instance kind as a whole: real sundogd, real nginx, clients that look at every byte, and servers that break.

Usage: instances.py [PART...]     failures stages bad; without a name all. CONNECTIONS= and RUNS= make it longer.

Requirement ids stand beside what proves them. What each statement says must stay true is that connections are kept
and that counters show what happened.
"""
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lab"))

from lab import Failed, need, run, sh, wait_for  # noqa: E402
import instances as lab_instances  # noqa: E402
from instances import Client, Nft, Plain, Stage, Sundog, UPLOAD, WEB, once, short  # noqa: E402

CONNECTIONS = int(os.environ.get("CONNECTIONS", 300))
RUNS = int(os.environ.get("RUNS", 1))
# Paced: everybody is still at it when the server breaks, and long after.
HELD = {"bytes": 600000, "rate": "200kB", "buffer": "16kB", "mark": 0.3, "limit_s": 40}
ASKED = {"connections": 50, "bytes": 2000, "requests": 200, "pause": "10ms", "limit_s": 40}
stage = front = None


def held(**more):
    return {**HELD, "connections": CONNECTIONS, **more}


def all_kept(r):
    need(r["kept"] == r["connections"], "kept %d of %d: %s" % (r["kept"], r["connections"], short(r)))


def events(vip="kept-80"):
    """Counters of a vip by their words."""
    rows = front.ask("vips")[1]
    need(isinstance(rows, list), "sundog vips: %s" % rows)
    return next(r for r in rows if r["vip"] == vip)["events"]


class Counted:
    """What a vip counted between two moments: counted["promoted-dead"], counted.sum("promoted")."""

    def __init__(self, vip="kept-80"):
        self.vip, self.before = vip, events(vip)

    def __getitem__(self, word):
        return events(self.vip)[word] - self.before[word]

    def sum(self, start):
        now = events(self.vip)
        return sum(now[w] - self.before[w] for w in now if w.startswith(start))

    def reach(self, start, least, limit_s=5):
        wait_for(lambda: self.sum(start) >= least, limit_s,
                 "%d of %s: %s" % (least, start, {w: n - self.before[w] for w, n in events(self.vip).items() if n}))

    def text(self):
        now = events(self.vip)
        return " ".join("%s=%d" % (w, now[w] - self.before[w]) for w in now if now[w] != self.before[w])


def kept_through(failure, promoted, **more):
    """RUNS times: break a in the middle, nobody notices, and the counters say how it was done."""
    said = []
    for i in range(RUNS):
        counted = Counted()
        r = once(stage, front, failure, shuffle=i + 1, **held(**more))
        all_kept(r)
        counted.reach(promoted, 0.95 * r["open_at_mark"])
        said.append("%s; gap p95 %.1f ms, max %.1f" % (counted.text(), r["marked_ms"]["p95"], r["marked_ms"]["max"]))
    return "\n".join(said)


# ---- failures ------------------------------------------------------------------------------------

def without_a_standby_every_download_is_lost():  # the control
    front.target = Plain.target
    try:
        r = once(stage, front, "crash", **held())
    finally:
        front.target = Sundog.target
    need(r["lost"] > 0.95 * r["connections"], "lost only %d: %s" % (r["lost"], short(r)))


def a_crash_loses_no_download():  # I3 I9
    return kept_through("crash", "promoted")


def a_dead_link_loses_no_download():  # I9
    return kept_through("link", "promoted")


def a_black_hole_loses_no_download():  # I9
    return kept_through("blackhole", "promoted")


def a_hung_server_loses_no_download():  # I9
    return kept_through("hang", "promoted")


def a_planned_move_loses_no_download_and_new_ones_go_elsewhere():  # I8 I10
    c = Client(stage, front.target[4], **held())
    need(c.until_mark(), "the downloads begin")
    counted = Counted()
    front.leave("a")
    wait_for(lambda: front.who() in ("b", "c"), 5, "new connections leave a, which still runs")
    all_kept(c.result())
    counted.reach("promoted-planned", 0.9 * CONNECTIONS)
    front.back("a")
    return counted.text()


def a_crash_loses_no_upload():  # I3 I9
    r = once(stage, front, "crash", port=UPLOAD, upload=True, connections=50, bytes=8000000, mark=0.4)
    all_kept(r)


def a_crash_between_two_questions_loses_no_connection():  # I9
    r = once(stage, front, "crash", **ASKED)
    all_kept(r)
    return "longest wait p95 %.1f ms" % r["marked_ms"]["p95"]


def servers_that_close_after_the_answer_are_no_failure():  # I9: no false promotion
    counted = Counted()
    for _ in range(3):
        all_kept(Client(stage, front.target[4], connections=300, bytes=50000, close=True).result())
    need(counted.sum("promoted") == 0, counted.text())


def a_standby_that_dies_is_replaced_for_new_connections():  # I12
    c = Client(stage, front.target[4], **held())
    need(c.until_mark(), "the downloads begin")
    stage.servers["b"].link()
    stage.servers["c"].link()
    all_kept(c.result())
    for name in ("b", "c"):
        stage.servers[name].repair()
    # Both serve as standbys again: the next failure is survived.
    wait_for(lambda: [i["state"] for i in front.ask("instances")[1]] == ["SERVING", "STANDBY", "STANDBY"], 20,
             "standbys are back")
    all_kept(once(stage, front, "crash", **held()))


# ---- bad input -----------------------------------------------------------------------------------

def bad(kind, to=None, **more):
    """Send them in the background. @return a function that waits until all are sent"""
    command = ["python3", os.path.join(HERE, "bad_packets.py"), kind, "--to", to or front.target[4]]
    for key, value in more.items():
        command += ["--" + key, str(value)]
    p = stage.start("cl", *command)
    return lambda: p.expect("sent", 30)


def kept_under(*kinds, **more):
    """Downloads go on while these arrive, and survive the crash afterwards, as ever."""
    c = Client(stage, front.target[4], **held(mark=0.2))
    need(c.until_mark(), "the downloads begin")
    ends = [bad(kind, **more) for kind in kinds]
    for end in ends:
        end()
    stage.servers["a"].crash()
    try:
        all_kept(c.result())
    finally:
        stage.servers["a"].repair()
        front.back("a")
    need(front.daemon.process.poll() is None, "sundogd lives")


def a_flood_of_syns_costs_no_connection():  # I9
    counted = Counted()
    kept_under("syn", count=100000, seconds=8)
    need(counted["table-full"] < 100000, "the table is for connections: %s" % counted.text())
    return counted.text()


def a_port_scan_costs_no_connection():  # I9
    kept_under("scan", count=65535, seconds=8)


def forged_resets_and_data_cost_no_connection():  # I9
    kept_under("reset", "data", count=64000, seconds=8)


def fragments_options_and_short_headers_cost_no_connection():  # I9
    kept_under("fragment", "options", "short", "land", count=5000, seconds=5)


def forged_icmp_errors_cost_no_connection():  # I9
    kept_under("icmp", count=20000, seconds=5)


def a_standby_whose_answer_differs_is_put_off():  # I3: it must never serve
    counted = Counted()

    def change(f):
        # Each connection asks for a part of its own: it must differ in every one.
        for at in range(100000, f.seek(0, os.SEEK_END), 500000):
            f.seek(at)
            f.write(b"another mind")
    b = stage.servers["b"]
    root = b.root
    b.end()
    if not os.path.exists(os.path.join(b.folder, "files")):
        stage.other_file("b", change)
    wait_for(lambda: [i["state"] for i in front.ask("instances")[1] if i["instance"] == "b"] == ["REFUSING"], 10,
             "b is seen to be away")
    b.start()
    c = stage.servers["c"]
    try:
        front.ready()
        # Whoever has just come back gets little at first: nobody else is there to stand by.
        c.end()
        wait_for(lambda: [i["state"] for i in front.ask("instances")[1] if i["instance"] == "c"] == ["REFUSING"], 10,
                 "c is seen to be away")
        # Paced: a download that is over in a moment ends before its standby has come to the place that differs.
        all_kept(Client(stage, front.target[4], connections=50, bytes=1000000, rate="500kB", buffer="16kB").result())
        counted.reach("evicted-content", 45)
        need(counted.sum("promoted") == 0, "nobody was handed to it: %s" % counted.text())
    finally:
        c.start()
        b.end()
        b.root = root
        b.start()
    # Requests of this kind go unmirrored for a minute; the statements that follow need them mirrored.
    status, said = front.ask("forgive", "GET /pattern", "--vip", "kept-80")
    need(status == 0, "sundog forgive: %s" % said)
    return counted.text()


def a_standby_with_another_window_scale_serves_all_the_same():  # I9
    for name in ("b", "c"):
        sh(*stage.run_in(name, "sysctl", "-qw", "net.ipv4.tcp_window_scaling=0", "net.ipv4.tcp_rmem=4096 8192 16384"))
    counted = Counted()
    try:
        r = once(stage, front, "crash", **held())
        all_kept(r)
        need(r["body_wrong"] == 0, short(r))
    finally:
        for name in ("b", "c"):
            sh(*stage.run_in(name, "sysctl", "-qw", "net.ipv4.tcp_window_scaling=1", "net.ipv4.tcp_rmem=4096 131072 6291456"))
    return counted.text()


def a_server_that_answers_pings_but_no_traffic_is_left():  # I9 I10
    rules = "table inet half { chain in { type filter hook input priority 0; tcp dport { 80, 81 } drop; }; " \
            "chain out { type filter hook output priority 0; tcp sport { 80, 81 } drop; }; }"
    c = Client(stage, front.target[4], **held())
    need(c.until_mark(), "the downloads begin")
    subprocess.run(stage.run_in("a", "nft", "-f", "-"), input=rules, text=True, check=True, timeout=10)
    try:
        r = c.result()
        all_kept(r)
    finally:
        sh(*stage.run_in("a", "nft", "delete", "table", "inet", "half"))
        stage.servers["a"].repair()
        front.back("a")
    return "gap p95 %.1f ms" % r["marked_ms"]["p95"]


def answers_that_come_around_the_front_harm_only_themselves():
    """Server a gets a second way to the client, past the balancer."""
    sh("ip", "link", "add", "name", "x0", "netns", stage.ns("a"), "type", "veth", "peer", "name", "x0", "netns", stage.ns("cl"))
    for who, address in (("a", "10.80.77.1/24"), ("cl", "10.80.77.2/24")):
        sh("ip", "-n", stage.ns(who), "addr", "add", address, "dev", "x0")
        sh("ip", "-n", stage.ns(who), "link", "set", "dev", "x0", "up")
    c = Client(stage, front.target[4], **held())
    need(c.until_mark(), "the downloads begin")
    sh("ip", "-n", stage.ns("a"), "route", "add", "10.80.0.0/24", "via", "10.80.77.2")
    try:
        r = c.result()
        need(r["body_wrong"] == 0 and r["answer_wrong"] == 0, short(r))
    finally:
        sh("ip", "-n", stage.ns("a"), "link", "del", "dev", "x0")
        front.back("a")
    all_kept(Client(stage, front.target[4], **held()).result())
    return "of %d connections whose server's answers went astray %d were kept" % (r["connections"], r["kept"])


def path_mtu_errors_reach_the_server():
    """The way to the client becomes narrow: what a server learns from ICMP it must learn behind the front."""
    sh("ip", "-n", stage.ns("lb"), "link", "set", "dev", "c0", "mtu", "1400")
    sh("ip", "-n", stage.ns("cl"), "link", "set", "dev", "c0", "mtu", "1400")
    try:
        all_kept(Client(stage, front.target[4], connections=20, bytes=300000).result())
    finally:
        for who in ("lb", "cl"):
            sh("ip", "-n", stage.ns(who), "link", "set", "dev", "c0", "mtu", "1500")


# ---- stages --------------------------------------------------------------------------------------

class On:
    """Another stage or another front for one statement."""

    def __init__(self, words=(), **more):
        self.words, self.more = words, more

    def __enter__(self):
        global stage, front
        self.before = stage, front
        stage = Stage(self.words, prefix="%s-s%d" % (os.environ.get("LAB_PREFIX", "sdlab"), os.getpid() % 100000))
        stage.__enter__()
        try:
            front = Sundog(stage, **self.more)
            front.ready()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        global stage, front
        if front is not self.before[1]:
            front.end()
        stage.__exit__()
        stage, front = self.before


def behind_a_switch_nobody_sees_the_carrier_and_the_probe_does():  # I9
    with On(["bridge"]):
        return kept_through("link", "promoted")


def servers_with_the_address_on_themselves_are_kept_too():  # I9
    with On(["l2"], returns="l2"):
        return kept_through("crash", "promoted")


def the_same_over_ipv6():  # I9
    with On([], version=6):
        return kept_through("crash", "promoted", version=6)


def on_the_clients_own_host():  # I5 I9
    with On([], where="cl"):
        return kept_through("blackhole", "promoted")


def with_xdp_in_front_on_a_wire():  # I9
    with On(["wire"], hook="xdp"):
        return kept_through("crash", "promoted", connections=50)


def a_full_table_is_said_and_harms_nobody():  # I3
    with On([], connections=1024):
        counted = Counted()
        c = Client(stage, front.target[4], **held(connections=1500))
        need(c.until_mark(), "the downloads begin")
        bare = counted["table-full"] + counted["unprotected"]
        need(400 <= bare <= 600, "1,500 connections in a table of 1,024: %s" % counted.text())
        stage.servers["a"].crash()
        r = c.result()
        need(r["kept"] >= 900 and r["body_wrong"] == 0, "the protected ones are kept: %s" % short(r))
        return "%s; kept %d, lost %d" % (counted.text(), r["kept"], r["lost"])


def https_through_haproxy_survives_the_server():  # the recipe of recipes/haproxy-tls
    recipe = os.path.join(HERE, "..", "..", "recipes", "haproxy-tls", "haproxy.cfg")
    pem, cert, key = (stage.path(n) for n in ("site.pem", "cert.pem", "key.pem"))
    sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=site.example",
       "-addext", "subjectAltName=DNS:site.example", "-keyout", key, "-out", cert)
    with open(pem, "w") as out:
        out.write(open(cert).read() + open(key).read())
    with open(recipe) as f:
        text = f.read()
    for old, new in (("/etc/haproxy/site.pem", pem), ("192.0.2.80:80", front.target[4] + ":80")):
        need(old in text, "the recipe has %s" % old)
        text = text.replace(old, new)
    with open(stage.path("haproxy.cfg"), "w") as f:
        f.write(text)
    proxy = stage.start("cl", "haproxy", "-db", "-f", stage.path("haproxy.cfg"))
    try:
        wait_for(lambda: ":443 " in sh(*stage.run_in("cl", "ss", "-Hltn")), 5, "haproxy listens")
    except Failed as why:
        raise Failed("%s: %s" % (why, proxy.told))
    got, counted = stage.path("got"), Counted()
    curl = stage.start("cl", "curl", "-sS", "--cacert", cert, "--resolve", "site.example:443:10.80.0.2", "--limit-rate",
                       "16M", "-o", got, "-w", "code=%{http_code} bytes=%{size_download} connects=%{num_connects}\n",
                       "https://site.example/pattern")
    try:
        wait_for(lambda: os.path.exists(got) and os.path.getsize(got) > 16e6, 20, "the download is on its way")
        stage.servers["a"].crash()
        said = curl.expect("code=", 30)
        need("code=200 bytes=64000000 connects=1" in said, "curl: %s; %s" % (curl.told, counted.text()))
        need(subprocess.run(["cmp", got, stage.path("files/pattern")]).returncode == 0, "every byte is right")
    finally:
        proxy.end()
        stage.servers["a"].repair()
        front.back("a")
    return said


PARTS = {
    "failures": (without_a_standby_every_download_is_lost, a_crash_loses_no_download, a_dead_link_loses_no_download,
                 a_black_hole_loses_no_download, a_hung_server_loses_no_download,
                 a_planned_move_loses_no_download_and_new_ones_go_elsewhere, a_crash_loses_no_upload,
                 a_crash_between_two_questions_loses_no_connection,
                 servers_that_close_after_the_answer_are_no_failure,
                 a_standby_that_dies_is_replaced_for_new_connections, https_through_haproxy_survives_the_server),
    "bad": (a_flood_of_syns_costs_no_connection, a_port_scan_costs_no_connection,
            forged_resets_and_data_cost_no_connection, fragments_options_and_short_headers_cost_no_connection,
            forged_icmp_errors_cost_no_connection, a_standby_whose_answer_differs_is_put_off,
            a_standby_with_another_window_scale_serves_all_the_same,
            a_server_that_answers_pings_but_no_traffic_is_left,
            answers_that_come_around_the_front_harm_only_themselves, path_mtu_errors_reach_the_server),
    "stages": (behind_a_switch_nobody_sees_the_carrier_and_the_probe_does,
               servers_with_the_address_on_themselves_are_kept_too, the_same_over_ipv6, on_the_clients_own_host,
               with_xdp_in_front_on_a_wire, a_full_table_is_said_and_harms_nobody),
}


def from_the_start(test):
    """Each statement begins with everybody well and new connections on server a, whatever the one before left."""
    def begin():
        if front:
            front.ready()
        return test()
    begin.__name__ = test.__name__
    return begin


def main():
    global stage, front
    parts = sys.argv[1:] or list(PARTS)
    for p in parts:
        if p not in PARTS:
            print("instances.py: \"%s\" is none of %s" % (p, " ".join(PARTS)), file=sys.stderr)
            return 2
    if os.geteuid() != 0:
        return run()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    tests = [from_the_start(t) for p in parts for t in PARTS[p]]
    if parts == ["stages"]:
        return run(*tests)
    try:
        with Stage() as stage:
            front = Sundog(stage)
            try:
                front.ready()
                return run(*tests)
            finally:
                front.end()
    except Failed as why:
        print("1..1\nnot ok 1 - the stage is set\n# %s" % why)
        return 1


if __name__ == "__main__":
    sys.exit(main())
