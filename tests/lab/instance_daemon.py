#!/usr/bin/env python3
"""The instance kind as an operator has it: a configuration file, sundogd, sundog, two nginx that know nothing of it.

Usage: instance_daemon.py SUNDOGD SUNDOG [WORD...]     only statements whose name has one of the words

Requirement ids stand beside what proves them. Clients read slowly enough to be in the middle of it whatever happens,
look at every byte, and never try again.
"""
import json
import os
import signal
import subprocess
import sys
import time

from lab import Lab, need, process_tree, run, sh, wait_for

SUNDOGD, SUNDOG = (os.path.abspath(p) for p in sys.argv[1:3])
HERE = os.path.dirname(os.path.abspath(__file__))
TOPOLOGY = os.path.join(HERE, "..", "..", "lab", "instance_topology.sh")
VIP = "10.80.9.1"
BYTES = 1200000
lab = None

# N connections, each at RATE bytes/s, all of the file, compared with the file itself.
CLIENT = """
import selectors, socket, sys, time
to, n, rate, path = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
want = open(path, "rb").read()
sel, live, kept, bad, broken, gap = selectors.DefaultSelector(), 0, 0, 0, 0, 0.0
class C: pass
for i in range(n):
    c = C()
    c.s = socket.socket()
    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    c.s.settimeout(5)
    c.s.connect((to, 80))
    c.s.sendall(b"GET /file HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
    c.s.setblocking(False)
    c.head, c.got, c.start, c.last, c.is_on = b"", 0, time.monotonic(), time.monotonic(), True
    sel.register(c.s, selectors.EVENT_READ, c)
    live += 1
print("started", n, flush=True)
paused, until = [], time.monotonic() + 60
while live and time.monotonic() < until:
    now = time.monotonic()
    for c in [c for c in paused if c.got <= rate * (now - c.start)]:
        paused.remove(c)
        c.last = now
        sel.register(c.s, selectors.EVENT_READ, c)
    for key, _ in sel.select(0.005):
        c, now = key.data, time.monotonic()
        try:
            d = c.s.recv(16384)
        except OSError:
            d = None
        gap = max(gap, now - c.last)
        c.last = now
        if not d:
            sel.unregister(c.s)
            live -= 1
            broken += d is None or c.got != len(want)
            kept += d is not None and c.got == len(want)
            continue
        if c.head is not None:
            c.head += d
            if b"\\r\\n\\r\\n" not in c.head:
                continue
            d, c.head = c.head.split(b"\\r\\n\\r\\n", 1)[1], None
        if want[c.got:c.got + len(d)] != d:
            bad += 1
        c.got += len(d)
        if c.got > rate * (now - c.start):
            sel.unregister(c.s)
            paused.append(c)
print("done kept=%d bad=%d broken=%d hung=%d gap_ms=%.0f" % (kept, bad, broken, live, gap * 1e3), flush=True)
"""


class Client:
    def __init__(self, connections=30, rate=300000):
        self.connections = connections
        self.program = lab.start(sys.executable, "-c", CLIENT, VIP, str(connections), str(rate), lab.path("www/file"),
                                 netns=lab.ns("cl"))
        self.program.expect("started", 20)

    def result(self):
        w = dict(p.split("=") for p in self.program.expect("done", 70).split()[1:])
        return {k: int(v) for k, v in w.items()}

    def all_kept(self):
        r = self.result()
        need(r["kept"] == self.connections and r["bad"] == 0,
             "%d connections: %s\n%s" % (self.connections, r, "\n".join(lab.daemon.told[-25:])))
        return "%d of %d kept, longest gap %d ms" % (r["kept"], self.connections, r["gap_ms"])


class Stage(Lab):
    """The topology, nginx on a and b (and c when asked), and a sundogd."""

    def __enter__(self):
        super().__enter__()
        sh(TOPOLOGY, "up", self.prefix)
        os.chmod(self.folder, 0o755)
        for folder in ("www", "run", "pins"):
            os.makedirs(self.path(folder))
        os.chmod(self.path("run"), 0o777)
        with open(self.path("www/file"), "wb") as f:
            f.write(os.urandom(BYTES))
        sh("mount", "-t", "bpf", "-o", "mode=700", "bpf", self.path("pins"))
        self.nginx, self.daemon, self.files = {}, None, ("a", "b")
        for name in "ab":
            self.serve(name)
        return self

    def __exit__(self, *why):
        super().__exit__(*why)
        sh(TOPOLOGY, "down", self.prefix, check=False)

    def ns(self, name):
        return "%s-%s" % (self.prefix, name)

    def serve(self, name):
        os.makedirs(self.path(name), exist_ok=True)
        with open(self.path(name + "/nginx.conf"), "w") as f:
            f.write("daemon off; pid %(p)s/pid; error_log %(p)s/err; worker_processes 1;\n"
                    "events { worker_connections 2048; }\n"
                    "http { access_log off; sendfile on; etag off; client_body_temp_path %(p)s/t1; proxy_temp_path %(p)s/t2;"
                    " fastcgi_temp_path %(p)s/t3; uwsgi_temp_path %(p)s/t4; scgi_temp_path %(p)s/t5;\n"
                    " server { listen 80; root %(w)s; location = /who { return 200 %(n)s; } } }\n"
                    % {"p": self.path(name), "w": self.path("www"), "n": name})
        self.nginx[name] = self.start("nginx", "-c", self.path(name + "/nginx.conf"), netns=self.ns(name))
        wait_for(lambda: "80" in sh("ip", "netns", "exec", self.ns(name), "ss", "-Hltn", "sport", "=", ":80"), 10,
                 "nginx of %s listens" % name)

    def kill_server(self, name):
        """kill -9 of every process of this nginx."""
        for pid in reversed(process_tree(self.nginx[name].process.pid)):
            os.kill(pid, signal.SIGKILL)
        self.nginx[name].process.wait()

    def configure(self, instances=("a", "b"), more="", front="", extra="", others="", vip=""):
        devices = {"a": "sa", "b": "sb", "c": "sc"}
        rows = "".join("  - {name: %s, address: 10.80.%d.2, device: %s%s}\n" % (
            n, "abc".index(n) + 1, devices[n], extra if n == "a" else others) for n in instances)
        with open(self.path("edge.yaml"), "w") as f:
            f.write("site: edge\nuser: nobody\nstore: {path: %s}\napi: {socket: %s}\n"
                    "front: {devices: [c0, sa, sb, sc]%s}\ninstances:\n%s"
                    "vips:\n  - {name: web, address: %s, port: 80, instances: [%s], protect: always%s}\n%s"
                    % (self.path("run/store.db"), self.path("run/api.sock"), front, rows, VIP, ", ".join(instances),
                       vip, more))

    def sundogd(self):
        self.daemon = self.start(SUNDOGD, "--config", self.path("edge.yaml"), "--pins", self.path("pins"),
                                 netns=self.ns("lb"))
        self.daemon.expect("event=started", 20)

    def restart(self):
        if self.daemon:
            self.daemon.end()
        self.sundogd()

    def sundog(self, *words):
        done = subprocess.run((SUNDOG, "--socket", self.path("run/api.sock")) + words, capture_output=True, text=True,
                              timeout=90)
        return done.returncode, done.stdout, done.stderr

    def ask(self, *words):
        code, out, err = self.sundog("-o", "json", *words)
        return code, json.loads(out) if out else err

    def instance(self, name):
        return [r for r in self.ask("instances")[1] if r["instance"] == name][0]

    def vip(self):
        return self.ask("vips")[1][0]

    def all_serve(self, *names):
        wait_for(lambda: all(self.instance(n)["state"] == "SERVING" for n in names) and
                 self.vip()["state"] == "FINE", 30, "%s serve: %s" % (names, self.ask("instances")[1]))

    def who(self):
        return sh("ip", "netns", "exec", self.ns("cl"), "curl", "-s", "-m", "2", "http://%s/who" % VIP, check=False)

    def events(self, start):
        return [e for e in self.ask("events", "-n", "200")[1] if e["event"].startswith(start)]


def fresh(**config):
    lab.configure(**config)
    for name in "ab":
        if lab.nginx[name].process.poll() is not None:
            lab.serve(name)
    lab.restart()
    lab.sundog("drain", "a", "--undo")
    lab.all_serve("a", "b")


def vips_conns_and_instances_show_what_is_there():  # I2 I3 I13
    fresh()
    c = Client(20)
    wait_for(lambda: lab.vip()["protected"] == 20, 5, "20 protected connections: %s" % lab.vip())
    code, rows = lab.ask("conns")
    need(code == 0 and sum(r["state"] == "protected" for r in rows) == 20, str(rows[:3]))
    open_now = [r for r in rows if r["state"] == "protected"]
    need({(r["served_by"], r["standby"]) for r in open_now} <= {("a", "b"), ("b", "a")}, str(open_now[:3]))
    need(len({r["served_by"] for r in open_now}) == 2, "new connections go to both: %s" % open_now)
    seen = {n: lab.instance(n) for n in "ab"}
    need(seen["a"]["serves"] + seen["b"]["serves"] == 20 and seen["a"]["stands_by"] == seen["b"]["serves"], str(seen))
    need(all(0 < r["health"] <= 100 and 0 <= r["p_near"] <= r["p_far"] <= 1 for r in seen.values()), str(seen))
    need(lab.ask("conns", "--vip", "nope")[0] == 1 and "no vip" in lab.sundog("conns", "--vip", "nope")[2], "a wrong name is told")
    need(len(lab.ask("conns", "-n", "3")[1]) == 3, "-n")
    for command in ("vips", "instances", "conns", "status", "forecast"):
        code, text, _ = lab.sundog(command)
        need(code in (0, 3) and "web" in text or command == "instances" and "SERVING" in text, "%s: %s" % (command, text))
    return c.all_kept() + "\n" + lab.sundog("instances")[1]


def killing_a_server_loses_no_connection():  # I8 I9 I12
    fresh()
    c = Client()
    time.sleep(1)
    at_a = lab.instance("a")["serves"]
    lab.kill_server("a")
    told = c.all_kept()
    vip = lab.vip()
    need(vip["promoted"] >= at_a > 0, "%d were on a: %s" % (at_a, vip))
    need(lab.instance("a")["state"] == "REFUSING" and lab.instance("a")["health"] == 0, "nobody listens there: %s" % lab.instance("a"))
    need({lab.who() for _ in range(10)} == {"b"}, "new connections go to b")
    lines = [e for e in lab.events("promoted") if e["from"] == "a"]
    need(lines and len(lines) <= 4 and sum(e["connections"] for e in lines) >= at_a, "told in a few lines: %s" % lines)
    lab.serve("a")
    lab.all_serve("a", "b")
    wait_for(lambda: "a" in {lab.who() for _ in range(10)}, 10, "a gets new connections again")
    return told + "\n" + "\n".join(e["text"] for e in lines)


def a_lost_carrier_is_acted_on_at_once():  # I9
    fresh()
    c = Client()
    time.sleep(1)
    sh("ip", "-n", lab.ns("a"), "link", "set", "s0", "down")
    try:
        told = c.all_kept()
        need(lab.instance("a")["state"] == "DEAD" and "carrier" in lab.instance("a")["why"], str(lab.instance("a")))
        need(lab.sundog("status")[0] == 3, "status says that a person should look")
    finally:
        sh("ip", "-n", lab.ns("a"), "link", "set", "s0", "up")
    sh("ip", "-n", lab.ns("a"), "route", "replace", "default", "via", "10.80.1.1")
    lab.all_serve("a", "b")
    return told + "\n" + "\n".join(e["text"] for e in lab.events("promoted-dead")[-2:])


def draining_empties_a_server_and_says_so():  # I8 I9 I10
    fresh()
    c = Client()
    time.sleep(1)
    at_a = lab.instance("a")["serves"]
    code, text, err = lab.sundog("drain", "a", "--limit", "20s")
    need(code == 0 and "carries nothing any more" in text, "%d %s %s" % (code, text, err))
    need(at_a > 0 and lab.instance("a")["serves"] == 0 and lab.instance("a")["state"] == "DRAINED", str(lab.instance("a")))
    lab.kill_server("a")
    told = c.all_kept()
    need({lab.who() for _ in range(10)} == {"b"}, "new connections go to b")
    code, _, err = lab.sundog("drain", "b", "--no-wait")
    need(code == 6 and "last instance alive of vip web" in err, "%d %s" % (code, err))
    need(lab.sundog("drain", "nobody")[0] == 1, "a wrong name is told")
    # A restart remembers it; --undo ends it.
    lab.serve("a")
    lab.restart()
    wait_for(lambda: lab.instance("a")["state"] == "DRAINED", 10, "drained over a restart: %s" % lab.instance("a"))
    need(lab.sundog("drain", "a", "--undo")[0] == 0, "undo")
    lab.all_serve("a", "b")
    return told + "\n" + text


def announced(*entries):
    with open(lab.path("work.new"), "w") as f:
        json.dump({"entries": list(entries)}, f)
    os.rename(lab.path("work.new"), lab.path("work.json"))


def work_on_a_rack_that_is_announced_empties_it_ahead():  # F3 I8 I9
    announced()
    fresh(extra=", fates: rack1", more="feeds:\n  - {name: noc, kind: events, file: %s, affects: [rack1, b], adds: 10, "
                                       "interval: 1s, lead: 10s}\n" % lab.path("work.json"))
    c = Client()
    time.sleep(1)
    at_a, start = lab.instance("a")["serves"], time.time() + 12
    announced({"start": start, "end": start + 30, "where": "rack1", "words": "new power supply"})
    wait_for(lambda: lab.instance("a")["state"] in ("AVOIDED", "LEAVING"), start - time.time(), "a is avoided")
    ahead = start - time.time()
    wait_for(lambda: lab.instance("a")["serves"] == 0, 10, "its %d connections are carried over" % at_a)
    need(at_a > 0 and {lab.who() for _ in range(10)} == {"b"}, "new connections go to b")
    rows = [r for r in lab.ask("forecast", "a")[1] if r["horizon_s"] == 1]
    need("new power supply announced" in rows[0]["announced"] and rows[0]["p_breach"] > 0.9, str(rows))
    lab.kill_server("a")
    told = c.all_kept()
    lab.serve("a")
    # Whoever says doom for both stops nothing.
    announced(*({"start": start - 100, "end": start + 600, "where": w, "words": "doom"} for w in ("rack1", "b")))
    wait_for(lambda: lab.ask("feeds")[1][0]["entries"] == 2, 5, "both are doomed")
    time.sleep(1)
    need(all(lab.who() in ("a", "b") for _ in range(20)), "they serve")
    need(all(lab.instance(n)["state"] != "DEAD" for n in "ab"), "nobody is dead by hearsay")
    wait_for(lambda: lab.instance("a")["state"] not in ("DEAD", "REFUSING"), 15, "a is back: %s" % lab.instance("a"))
    lab.kill_server("b")
    wait_for(lambda: lab.who() == "a", 10, "what is measured counts: b is dead, and a serves though it is announced to fail")
    return "%.1f s ahead: %s" % (ahead, told)


def promote_moves_what_it_says():  # I9
    fresh()
    c = Client(12)
    wait_for(lambda: lab.instance("a")["serves"] + lab.instance("b")["serves"] == c.connections, 5, "all are counted")
    at_a = lab.instance("a")["serves"]
    code, would = lab.ask("promote", "a", "--dry")
    need(code == 0 and would["movable"] == at_a > 0 and would["dry"], str(would))
    need(lab.instance("a")["serves"] == at_a, "--dry does nothing")
    need(lab.sundog("promote", "a")[0] == 2, "nobody is there to ask")
    one = [r for r in lab.ask("conns", "--vip", "web")[1] if r["served_by"] == "a" and r["state"] == "protected"][0]
    code, text, err = lab.sundog("promote", one["client"], "--yes")
    need(code == 0 and "was moved from a to b" in text, "%s %s" % (text, err))
    wait_for(lambda: lab.instance("a")["serves"] == at_a - 1, 5, "one less")
    need(lab.sundog("promote", "1.2.3.4:5", "--yes")[0] == 1 and lab.sundog("promote", "x:y", "--yes")[0] == 1, "who is not there")
    need(lab.sundog("promote", "a", "--yes")[0] == 0, "all of them")
    wait_for(lambda: lab.instance("a")["serves"] == 0, 5, "none is left on a")
    return c.all_kept()


def the_decider_may_die():  # I9 I10
    fresh()
    c = Client()
    time.sleep(0.7)
    for _ in range(2):
        decider = process_tree(lab.daemon.process.pid)[1]
        os.kill(decider, signal.SIGKILL)
        time.sleep(0.5)
    # Nobody is there to see the server die, perhaps: the data plane does it by itself.
    lab.kill_server("a")
    told = c.all_kept()
    wait_for(lambda: lab.sundog("vips")[0] == 0, 20, "it was started again: %s" % lab.daemon.told[-12:])
    lab.serve("a")
    lab.all_serve("a", "b")
    return told


def a_restart_moves_nothing():  # I9 I10
    fresh()
    lab.daemon.end()
    # One that is less used stays so, though it has no reason any more.
    lab.configure()
    with open(lab.path("edge.yaml")) as f:
        text = f.read()
    with open(lab.path("edge.yaml"), "w") as f:
        f.write(text.replace("name: b,", "name: b, weight: 0.25,"))
    lab.sundogd()
    wait_for(lambda: 0.1 < lab.vip()["weights"]["b"] < 0.3, 20, "weights as configured: %s" % lab.vip())
    c = Client()
    time.sleep(0.5)
    before = lab.vip()
    for _ in range(3):
        lab.restart()
        wait_for(lambda: lab.sundog("vips")[0] == 0, 10, "it answers")
        now = lab.vip()
        need(abs(now["weights"]["b"] - before["weights"]["b"]) < 0.05, "from the first moment: %s" % now["weights"])
        time.sleep(0.5)
    now = lab.vip()
    need(now["promoted"] == before["promoted"], "nothing was moved: %s, before %s" % (now, before))
    need(abs(now["weights"]["b"] - before["weights"]["b"]) < 0.05, "and later: %s" % now["weights"])
    return c.all_kept()


def an_instance_can_be_added():  # I4 I12
    fresh()
    lab.files = ("a", "b", "c")
    c = Client()
    time.sleep(0.5)
    lab.daemon.end()
    lab.serve("c")
    # In front of the others: who was there keeps its number, or connections would change servers.
    lab.configure(instances=("c", "a", "b"))
    lab.sundogd()
    lab.all_serve("a", "b", "c")
    need({lab.who() for _ in range(40)} == {"a", "b", "c"}, "all three get new connections")
    lab.kill_server("b")
    told = c.all_kept()
    lab.kill_server("c")
    return told


def an_instance_that_is_not_there_is_waited_for():
    for name in "ab":
        if lab.nginx[name].process.poll() is not None:
            lab.serve(name)
    sh("ip", "-n", lab.ns("b"), "link", "set", "s0", "down")
    try:
        lab.configure()
        lab.restart()
        wait_for(lambda: lab.instance("b")["state"] in ("WAITING", "DEAD"), 5, str(lab.instance("b")))
        need(lab.instance("b")["why"], "and why")
        need({lab.who() for _ in range(5)} == {"a"}, "a serves alone")
        need(lab.vip()["unprotected"] >= 5, "unprotected is counted: %s" % lab.vip())
        code, status = lab.ask("status")
        need(code == 3 and any("instance b" in n for n in status["notes"]), str(status["notes"]))
    finally:
        sh("ip", "-n", lab.ns("b"), "link", "set", "s0", "up")
    sh("ip", "-n", lab.ns("b"), "route", "replace", "default", "via", "10.80.2.1")
    lab.all_serve("a", "b")


def the_agent_of_a_server_is_heard_and_answered():  # I1 I7 I13
    key, agent = lab.path("agent.key"), os.path.join(os.path.dirname(SUNDOGD), "sundog-agent")
    with open(key, "w") as f:
        f.write("07" * 32 + "\n")
    os.chmod(key, 0o600)
    with open(lab.path("agent.yaml"), "w") as f:
        f.write("name: a\nkey: %s\nfronts: [10.80.1.1]\nports: [80]\nsocket: %s\nuser: nobody\n"
                % (key, lab.path("agent/sock")))
    # Its filter does not let the leak sanitizer look at it.
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    fresh(extra=", agent_key_file: " + key)
    program = lab.start(agent, "--config", lab.path("agent.yaml"), netns=lab.ns("a"))
    program.expect("instance=a event=started")
    program.expect("front=10.80.1.1:7482 event=answers")
    wait_for(lambda: (lab.instance("a").get("agent") or {}).get("is_heard"), 10, "heard: %s" % lab.instance("a"))
    # A share of time takes two readings.
    row = wait_for(lambda: (lambda r: r["cpu"] is not None and r)(lab.instance("a")), 5, "its processor")
    need(0 <= row["cpu"] <= 1 and 0 < row["memory"] < 1, str(row))
    # On a busy machine the agent's word moves new connections to the other server: the ones that are surely here are
    # those that ask whether the port answers. Nobody stands by for them.
    def told():
        conns = json.loads(sh(agent, "conns", "-o", "json", "--socket", lab.path("agent/sock")))
        return [x for x in conns if x["client"].startswith("10.80.1.1:") and x["status"] == "unprotected"]
    wait_for(told, 10, "connections, and what the front says they are")
    need(lab.instance("a")["agent"]["connections"] > 0, "the front has them too: %s" % lab.instance("a"))
    program.end()
    wait_for(lambda: not lab.instance("a")["agent"]["is_heard"], 10, "its silence is noticed")
    need(lab.instance("a")["state"] != "DEAD", "and is no failure of the server")


def agent_of_a(netns, front, key, ports="80"):
    agent = os.path.join(os.path.dirname(SUNDOGD), "sundog-agent")
    with open(lab.path("agent.yaml"), "w") as f:
        f.write("name: a\nkey: %s\nfronts: [%s]\nports: [%s]\nsocket: %s\nuser: nobody\n"
                % (key, front, ports, lab.path("agent/sock")))
    program = lab.start(agent, "--config", lab.path("agent.yaml"), netns=lab.ns(netns))
    program.expect("instance=a event=started")
    return program


# node_exporter's page of a host with two processors, whose share of busy time stands in a file.
EXPORTER = """
import http.server, sys, time
busy, then = [0.0, 0.0], time.monotonic()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global then
        now, share = time.monotonic(), float(open(sys.argv[2]).read())
        busy[0] += 2 * share * (now - then)
        busy[1] += 2 * (1 - share) * (now - then)
        then = now
        page = "".join('node_cpu_seconds_total{cpu="0",mode="%s"} %f\\n' % m for m in zip(("user", "idle"), busy))
        page = (page + "node_memory_MemTotal_bytes 4e9\\nnode_memory_MemAvailable_bytes 3e9\\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
    def log_message(self, *_):
        pass
http.server.HTTPServer((sys.argv[1], 9100), Page).serve_forever()
"""


def a_processor_that_fills_is_forecast_shown_and_spared():  # I1 I2 I14 F4 F5
    def cpu(share):
        with open(lab.path("cpu.new"), "w") as f:
            f.write("%g" % share)
        os.rename(lab.path("cpu.new"), lab.path("cpu"))  # never half a number
        wait_for(lambda: abs((lab.instance("a")["cpu"] or 0) - share) < 0.05, 15, "its processor at %g" % share)

    with open(lab.path("cpu"), "w") as f:
        f.write("0.3")
    with open(lab.path("cpu.b"), "w") as f:
        f.write("0.3")
    pages = [lab.start(sys.executable, "-c", EXPORTER, "10.80.%d.2" % k, lab.path(file), netns=lab.ns(name))
             for name, k, file in (("a", 1, "cpu"), ("b", 2, "cpu.b"))]
    url = ', exporter: "http://10.80.%d.2:9100/metrics"'
    fresh(extra=url % 1, others=url % 2)
    cpu(0.3)
    row = lab.instance("a")
    need(row["node"] and not row["why"] and row["node"]["unusual"] == 0, "a host at ease: %s" % row)
    before = row["weight"]
    told = []
    for share in (0.5, 0.7, 0.97):
        cpu(share)
        told.append(lab.instance("a")["node"]["overload"][1])
    need(1 not in told[:2], "under its limit nothing is certain: %s" % told)
    row = wait_for(lambda: (lambda r: r["node"]["overload"][1] == 1 and r)(lab.instance("a")), 40, "an overload is seen")
    need("cpu is above its limit" in row["node"]["text"], row["node"]["text"])
    modes = {m["mode"]: m["p_15min"] for m in row["node"]["modes"]}
    need(modes["device overload"] == 1 and modes["congestion"] != 1, "a mode of its own: %s" % modes)
    row = wait_for(lambda: (lambda r: r["weight"] < before - 0.1 and r)(lab.instance("a")), 60,
                   "it gets less new traffic than %.2f: %s" % (before, lab.instance("a")))
    # A busy machine may give it another reason, which comes first; in the forecast of its host it stands anyway.
    for words, say in ((("instances",), "100%/"), (("explain", "a"), "cpu is above its limit"),
                       (("forecast", "a"), "cpu is above its limit")):
        code, out, err = lab.sundog(*words)
        need(code == 0 and say in out.replace("\n            ", " "), "%s shows it: %s%s" % (words, out, err))
    code, out, err = lab.sundog("explain", "nobody")
    need(code == 2 and "nobody" in err, "an unknown name gets a sentence: %d %s" % (code, err))
    for page in pages:
        page.end()
    return "overload within 15 min %s, then certain; weight %.2f -> %.2f" % (told[0], before, row["weight"])


def agent_key(name):
    with open(lab.path(name), "w") as f:
        f.write(os.urandom(32).hex() + "\n")
    os.chmod(lab.path(name), 0o600)
    return lab.path(name)


def an_agent_that_lies_is_flagged_and_not_believed():  # I7
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    key = agent_key("agent.key")
    fresh(extra=", agent_key_file: " + key)
    # It has a's key and name and tells of another host, which does nothing, while a sends megabytes.
    liar = agent_of_a("c", "10.80.3.1", key)
    wait_for(lambda: lab.instance("a")["agent"]["is_heard"], 10, "heard: %s" % lab.instance("a"))
    need(not lab.instance("a")["is_doubted"], "nothing speaks against it yet")
    c = Client(40, rate=100000)
    wait_for(lambda: lab.instance("a")["is_doubted"], 9, "it is found out: %s" % lab.instance("a"))
    row = lab.instance("a")
    need(row["state"] not in ("DEAD", "REFUSING") and row["health"] > 10, "that alone is no failure: %s" % row)
    wait_for(lambda: any("says what is not so" in e["text"] for e in lab.events("agent")), 3, "and said: %s" % lab.events("agent"))
    told = c.all_kept()
    liar.end()
    return told


def an_agent_with_a_wrong_key_is_counted_and_said():
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    fresh(extra=", agent_key_file: " + agent_key("agent.key"))
    c = Client(20)
    stranger = agent_of_a("a", "10.80.1.1", agent_key("wrong.key"))
    wait_for(lambda: lab.instance("a")["agent"]["bad_tag"] >= 3, 15, "counted: %s" % lab.instance("a"))
    row = lab.instance("a")
    need(not row["agent"]["is_heard"] and row["cpu"] is None, "and not believed: %s" % row)
    need(row["state"] == "SERVING" and "another key" in row["why"], "all else goes on, and why is told: %s" % row)
    said = [t for t in lab.daemon.told if "tag" in t or "key" in t]
    need(len(said) == 1, "one sentence, not one a datagram: %s" % said)
    stranger.end()
    return c.all_kept() + "\n" + said[0]


def on_an_address_of_the_gateway_itself_other_ports_stay_open():
    sh("ip", "-n", lab.ns("lb"), "addr", "add", VIP + "/32", "dev", "lo")
    if lab.daemon:
        lab.daemon.end()
    listener = None
    try:
        lab.configure()
        lab.sundogd()
        lab.all_serve("a", "b")
        listener = lab.start(sys.executable, "-c", "import socket\ns=socket.create_server(('%s',22))\nprint('listens',flush=True)\n"
                             "while True:\n c,_=s.accept(); c.sendall(b'SSH-2.0-x'); c.close()" % VIP, netns=lab.ns("lb"))
        listener.expect("listens", 10)
        need(lab.who() in ("a", "b"), "the port that is served goes to the servers")
        got = sh("ip", "netns", "exec", lab.ns("cl"), sys.executable, "-c",
                 "import socket; print(socket.create_connection(('%s',22),3).recv(20))" % VIP, check=False)
        need("SSH-2.0" in got, "ssh on the same address is still the gateway's own: %s" % got)
    finally:
        if listener:
            listener.end()
        sh("ip", "-n", lab.ns("lb"), "addr", "del", VIP + "/32", "dev", "lo")
    fresh()


def a_device_without_xdp_is_served_by_tc_and_told():
    sh("ip", "-n", lab.ns("lb"), "link", "add", "d0", "type", "bridge")
    sh("ip", "-n", lab.ns("lb"), "link", "set", "d0", "up")
    if lab.daemon:
        lab.daemon.end()
    try:
        lab.configure()
        with open(lab.path("edge.yaml")) as f:
            text = f.read()
        with open(lab.path("edge.yaml"), "w") as f:
            f.write(text.replace("sc]", "sc, d0]"))
        lab.sundogd()
        lab.all_serve("a", "b")
        code, status = lab.ask("status")
        need(any("d0" in n and "XDP was refused" in n for n in status["notes"]), "a note: %s" % status["notes"])
        need(not any("c0" in n or "sa" in n.split() for n in status["notes"]), "of that device only: %s" % status["notes"])
        need(any("no-xdp" in t and "d0" in t for t in lab.daemon.told), "and a line of the log")
        need(lab.who() in ("a", "b"), "it serves")
        return [n for n in status["notes"] if "d0" in n][0]
    finally:
        sh("ip", "-n", lab.ns("lb"), "link", "del", "d0")


def bad_input_gets_a_sentence():
    def refused(say, **config):
        lab.configure(**config)
        d = lab.start(SUNDOGD, "--config", lab.path("edge.yaml"), "--pins", lab.path("pins"), netns=lab.ns("lb"))
        d.process.wait(20)
        text = " ".join(d.told)
        need(d.process.returncode != 0 and say in text, "wanted \"%s\": %s" % (say, text))
    lab.daemon.end()
    refused("cannot read key file", extra=", agent_key_file: /nonexistent/key")
    with open(lab.path("key"), "w") as f:
        f.write("short\n")
    os.chmod(lab.path("key"), 0o600)
    refused("too short", extra=", agent_key_file: %s" % lab.path("key"))
    refused("so nothing can be protected", vip=", return: direct")
    # A device that does not exist is waited for.
    lab.configure()
    lab.sundogd()
    lab.all_serve("a", "b")


def a_clients_host_measures_by_itself_and_is_told():  # I5 I6 I11
    for name in ("key", "other"):
        with open(lab.path(name), "w") as f:
            f.write(os.urandom(32).hex() + "\n")
        os.chmod(lab.path(name), 0o600)
    fresh(front=", tell_port: 7867, key_file: %s" % lab.path("key"))
    os.makedirs(lab.path("pins-host"))
    sh("mount", "-t", "bpf", "-o", "mode=700", "bpf", lab.path("pins-host"))

    def host(key):
        with open(lab.path("host.yaml"), "w") as f:
            f.write("site: laptop\nuser: nobody\nstore: {path: %s}\napi: {socket: %s}\n"
                    "front: {role: host, devices: [c0], told_by: 10.80.0.1, tell_port: 7867, key_file: %s}\ninstances:\n"
                    "  - {name: a, address: 10.80.1.2, check: icmp}\n  - {name: b, address: 10.80.2.2, check: icmp}\n"
                    "vips:\n  - {name: side, address: 10.80.9.2, port: 8081, instances: [a, b], protect: never}\n"
                    % (lab.path("run/host.db"), lab.path("run/host.sock"), lab.path(key)))
        d = lab.start(SUNDOGD, "--config", lab.path("host.yaml"), "--pins", lab.path("pins-host"), netns=lab.ns("cl"))
        d.expect("event=started", 20)
        return d

    def seen():
        done = subprocess.run((SUNDOG, "--socket", lab.path("run/host.sock"), "-o", "json", "instances"),
                              capture_output=True, text=True, timeout=20)
        return {r["instance"]: r for r in json.loads(done.stdout)}
    d = host("other")
    time.sleep(2.5)
    need(all(r["told_health"] is None for r in seen().values()), "a wrong key is told nothing: %s" % seen())
    d.end()
    d = host("key")
    wait_for(lambda: all((r["told_health"] or 0) > 50 for r in seen().values()), 10, "both are told healthy: %s" % seen())
    wait_for(lambda: all(0 < (r["rtt_ms"] or 0) < 50 and r["probes_sent"] > 10 for r in seen().values()), 5,
             "measured from here: %s" % seen())
    lab.kill_server("a")
    wait_for(lambda: seen()["a"]["told_health"] == 0 and seen()["a"]["p_near"] > 0.5 and
             "gateway" in seen()["a"]["why"], 15, "what this host cannot see it is told")
    need(seen()["b"]["told_health"] > 50 and seen()["b"]["p_near"] < 0.5, "b is well: %s" % seen()["b"])
    d.end()
    lab.serve("a")


def remove_takes_the_front_off():
    fresh()
    need(lab.who() in ("a", "b"), "served")
    lab.daemon.end()
    need(lab.who() in ("a", "b"), "served without any process")
    told = subprocess.run(("ip", "netns", "exec", lab.ns("lb"), SUNDOGD, "--config", lab.path("edge.yaml"), "--pins",
                           lab.path("pins"), "--remove"), capture_output=True, text=True, timeout=20)
    need(told.returncode == 0 and "front-removed" in told.stdout + told.stderr, told.stdout + told.stderr)
    need(lab.who() == "", "not served any more")
    left = [n for _, _, names in os.walk(lab.path("pins")) for n in names if not n.endswith(".debug")]
    need(not left, "nothing is pinned: %s" % left)
    return told.stderr.strip()


STATEMENTS = (vips_conns_and_instances_show_what_is_there, killing_a_server_loses_no_connection,
              a_lost_carrier_is_acted_on_at_once, draining_empties_a_server_and_says_so,
              work_on_a_rack_that_is_announced_empties_it_ahead, promote_moves_what_it_says,
              the_decider_may_die, a_restart_moves_nothing, an_instance_can_be_added, an_instance_that_is_not_there_is_waited_for,
              the_agent_of_a_server_is_heard_and_answered, a_processor_that_fills_is_forecast_shown_and_spared,
              an_agent_that_lies_is_flagged_and_not_believed, an_agent_with_a_wrong_key_is_counted_and_said,
              on_an_address_of_the_gateway_itself_other_ports_stay_open,
              a_device_without_xdp_is_served_by_tc_and_told, bad_input_gets_a_sentence,
              a_clients_host_measures_by_itself_and_is_told, remove_takes_the_front_off)


def main():
    global lab
    if os.geteuid() != 0:
        return run()
    wanted = sys.argv[3:]
    with Stage("dax") as lab:
        return run(*[s for s in STATEMENTS if not wanted or any(w in s.__name__ for w in wanted)])


if __name__ == "__main__":
    sys.exit(main())
