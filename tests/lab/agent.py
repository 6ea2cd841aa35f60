"""sundog-agent on a host of its own: nginx with real connections, a front beside it, a wrong key, a flood, a front
that goes and comes back; and Prometheus' node_exporter as the other source.
I1: what an instance says of itself arrives. I7: connections and what they are, with a front and without one.
I13: the connection map is the one that is."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from lab import Lab, need, run, sh, wait_for, words

agent, front_tool, exporter_tool = sys.argv[1:4]
# The leak sanitizer stops its own process to look at it, which the agent's filter does not let it.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
KEY, OTHER = "07" * 32, "08" * 32

NGINX = """
daemon off;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log;
worker_processes 1;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p; fastcgi_temp_path %(dir)s/f;
    uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s;
    keepalive_timeout 600;
    server { listen 10.91.0.2:8080; listen [fd91::2]:8080; root %(dir)s/www; }
}
"""

# Keep-alive clients: each makes one request, then holds its connection until told to end.
CLIENTS = """
import socket, sys
n, to, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
open_ = []
for i in range(n):
    s = socket.create_connection((to, port))
    s.sendall(b"GET /file HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    got = b""
    while len(got) < 10000:
        got += s.recv(65536)
    open_.append(s)
print("open", " ".join(str(s.getsockname()[1]) for s in open_), flush=True)
sys.stdin.readline()
"""

FLOOD = """
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
head = b"SDA1" + bytes([1, 0, 0, 0]) + struct.pack(">QQQ", 5, 1, time.time_ns()) + b"web1".ljust(32, b"\\0")
until, n = time.monotonic() + 2, 0
while time.monotonic() < until:
    for _ in range(100):
        try:
            s.send(head + bytes(200))
            n += 1
        except OSError:
            pass
    time.sleep(0.002)
print("sent", n, flush=True)
"""


class Stage(Lab):
    def __init__(self):
        super().__init__("agx")
        os.chmod(self.folder, 0o755)
        self.server, self.client = self.netns("srv"), self.netns("cli")
        self.cable(self.client, self.server, ("c0", "s0"), ("10.91.0.1/24", "10.91.0.2/24"))
        for ns, dev, address in ((self.client, "c0", "fd91::1/64"), (self.server, "s0", "fd91::2/64")):
            sh("ip", "-n", ns, "addr", "add", address, "dev", dev, "nodad")
        self.socket = self.path("run/agent.sock")
        for name, text in (("key", KEY), ("other", OTHER)):
            with open(self.path(name), "w") as f:
                f.write(text + "\n")
            os.chmod(self.path(name), 0o600)
        www = self.path("www")
        os.mkdir(www)
        os.chmod(www, 0o755)
        with open(os.path.join(www, "file"), "wb") as f:
            f.write(bytes(10000))
        with open(self.path("nginx.conf"), "w") as f:
            f.write(NGINX % {"dir": self.folder})

    def nginx(self):
        p = self.start("/usr/sbin/nginx", "-p", self.folder, "-c", self.path("nginx.conf"), netns=self.server)
        wait_for(lambda: "8080" in sh("ip", "netns", "exec", self.server, "ss", "-ltn"), 10, "nginx listens")
        return p

    def agent(self, key="key", fronts="[10.91.0.1:7866]", **more):
        lines = ["name: web1", "key: " + self.path(key), "fronts: " + fronts, "ports: [8080]", "period: 200ms",
                 "socket: " + self.socket] + ["%s: %s" % kv for kv in more.items()]
        with open(self.path("agent.yaml"), "w") as f:
            f.write("\n".join(lines) + "\n")
        p = self.start(agent, "--config", self.path("agent.yaml"), netns=self.server)
        p.expect("instance=web1 event=started")
        return p

    def front(self, *more):
        p = self.start(front_tool, "10.91.0.1", "7866", self.path("key"), "web1", *more, netns=self.client)
        p.expect("listening")
        return p

    def clients(self, n, to="10.91.0.2"):
        p = self.start(sys.executable, "-c", CLIENTS, str(n), to, "8080", netns=self.client)
        ports = {int(x) for x in p.expect("open").split()[1:]}
        return p, ports

    def ask(self, what):
        return json.loads(sh(agent, what, "-o", "json", "--socket", self.socket))


def conns_of(front):
    front.process.stdin.write("conns\n")
    front.process.stdin.flush()
    found = []
    while True:
        line = front.lines.get(timeout=10)
        need(line is not None, "the front ended: %s" % front.told[-3:])
        if line.startswith("conn "):
            found.append(words(line))
        if line.startswith("end "):
            return found


def stats_of(front):
    return {k: int(v) for k, v in words(front.ask("stats", "stats")).items()}


def reports_arrive_with_what_is_true():
    with Stage() as lab:
        lab.nginx()
        front, sundog = lab.front(), lab.agent()
        front.expect("event instance=web1 what=heard")
        need("event=answers" in sundog.expect("front=10.91.0.1:7866"), "the agent knows it is heard")
        clients, _ = lab.clients(30)
        word = wait_for(lambda: (lambda w: w["conns"] == "30" and w)(words(front.expect("word"))), 10, "30 connections")
        need(0 <= float(word["cpu"]) <= 1 and 0 < float(word["memory"]) < 1, "shares: %s" % word)
        need(0 < int(word["rtt_us"]) < 200000, "round trip: %s" % word["rtt_us"])
        need(0 < float(word["conn_rtt"]) < 100, "the clients' round trips: %s" % word["conn_rtt"])
        st = os.statvfs("/")
        need(abs(float(word["left"]) - st.f_bavail / st.f_blocks) < .3, "disk: %s" % word["left"])
        status = lab.ask("status")
        need(status["fronts"][0]["role"] == "serving" and status["fronts"][0]["score"] == .75, "what the front says")
        return "agent to front and back in %s us" % word["rtt_us"]


def the_agent_is_nobody_special():
    with Stage() as lab:
        lab.nginx()
        sundog = lab.agent()
        pid = subprocess.run(["ip", "netns", "pids", lab.server], capture_output=True, text=True).stdout.split()
        mine = [p for p in pid if os.path.basename(os.readlink("/proc/%s/exe" % p)) == os.path.basename(agent)]
        need(len(mine) == 1, "one agent: %s" % mine)
        status = dict(line.split(":", 1) for line in open("/proc/%s/status" % mine[0]) if ":" in line)
        need("0" not in status["Uid"].split(), "its own user: %s" % status["Uid"])
        need(all(int(status[c], 16) == 0 for c in ("CapEff", "CapPrm", "CapBnd", "CapInh")), "no capability")
        need(status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1", "behind a filter")
        need(lab.ask("status")["readings"] >= 1, "and it works")
        sundog.process.terminate()
        need(sundog.process.wait(10) == 0, "ends when told")
        need(not os.path.exists(lab.socket), "and takes its socket along")


def the_connection_map_is_the_one_that_is():
    with Stage() as lab:
        lab.nginx()
        front = lab.front()
        lab.agent()
        first, ports4 = lab.clients(100)
        second, ports6 = lab.clients(20, "fd91::2")
        got = wait_for(lambda: (lambda c: len(c) == 120 and c)(conns_of(front)), 15, "120 connections in the map")
        need({int(c["client"].split(":")[1]) for c in got} == ports4 | ports6, "the same client ports")
        need(all(int(c["acked"]) >= 10000 and int(c["received"]) > 20 and c["port"] == "8080" for c in got),
             "each has its 10,000 octets: %s" % got[0])
        need(all(c["status"] == ("primary" if int(c["client"].split(":")[1]) % 2 else "standby") for c in got), "status")

        def told():
            mine = lab.ask("conns")
            return len(mine) == 120 and all(c["status"] in ("primary", "standby") for c in mine) and mine
        mine = wait_for(told, 10, "the agent knows what each is")
        need(all((c["status"] == "primary") == (int(c["client"].rsplit(":", 1)[1]) % 2 == 1) for c in mine), "the right one")
        need(sum(c["client"].startswith("[fd91::1]:") for c in mine) == 20, "IPv6 among them")
        first.process.stdin.write("\n")
        first.process.stdin.flush()
        first.process.wait(10)
        wait_for(lambda: sum(c["closed"] == "0" for c in conns_of(front)) == 20, 10, "100 have closed")
        need(sum(c["state"] == "closed" for c in lab.ask("conns")) == 100, "the agent remembers them")
        table = sh(agent, "conns", "--socket", lab.socket)
        need(table.splitlines()[0].startswith("CLIENT") and len(table.splitlines()) == 121, "as a table")


def a_full_accept_queue_is_seen():
    with Stage() as lab:
        lab.agent()
        front = lab.front()
        stuck = lab.start(sys.executable, "-c", "import socket,sys\ns=socket.socket()\n"
                          "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\ns.bind(('10.91.0.2',8080))\n"
                          "s.listen(8)\nprint('up',flush=True)\nsys.stdin.readline()", netns=lab.server)
        stuck.expect("up")
        pusher = lab.start(sys.executable, "-c", "import socket,sys\nl=[socket.create_connection(('10.91.0.2',8080)) "
                           "for _ in range(6)]\nprint('in',flush=True)\nsys.stdin.readline()", netns=lab.client)
        pusher.expect("in")
        word = wait_for(lambda: (lambda w: w["waiting"] == "6" and w)(words(front.expect("word"))), 10, "six wait")
        need(abs(float(word["accept"]) - 6 / 8) < .01, "three quarters full: %s" % word["accept"])


def a_wrong_key_is_counted_and_gets_no_answer():
    with Stage() as lab:
        lab.nginx()
        front = lab.front()
        lab.agent(key="other")
        front.expect("warning: agent=web1 event=refused reason=bad-tag")
        wait_for(lambda: stats_of(front)["bad-tag"] >= 5, 10, "counted")
        stats = stats_of(front)
        need(stats["answered"] == 0 and stats["reports"] == 0, "nothing taken, nothing answered: %s" % stats)
        need(sum("reason=bad-tag" in line for line in front.told) == 1, "one sentence in a minute")
        need(lab.ask("status")["fronts"][0]["is_away"], "to the agent there is no front")


def a_flood_does_not_drown_the_agent():
    with Stage() as lab:
        lab.nginx()
        front = lab.front("200")
        lab.agent()
        front.expect("event instance=web1 what=heard")
        before = stats_of(front)
        flood = lab.start(sys.executable, "-c", FLOOD, "10.91.0.1", "7866", netns=lab.client)
        sent = int(flood.expect("sent").split()[1])
        after = stats_of(front)
        heard = after["reports"] - before["reports"]
        need(after["over-rate"] > sent / 20, "most is dropped before its tag is looked at: %s of %d" % (after, sent))
        need(after["bad-tag"] <= 400 * 5, "few tags are looked at: %d" % after["bad-tag"])
        need(heard >= 4, "only %d reports in two seconds of flood" % heard)
        need(after["is_heard"] == 1, "and it is heard still")
        return "%d datagrams in 2 s: %d over the limit, %d tags looked at, %d reports heard meanwhile" % (
            sent, after["over-rate"], after["bad-tag"], heard)


def the_agent_goes_on_without_a_front_and_finds_it_again():
    with Stage() as lab:
        lab.nginx()
        sundog, front = lab.agent(), lab.front()
        clients, ports = lab.clients(10)
        wait_for(lambda: len(conns_of(front)) == 10, 10, "the map")
        wait_for(lambda: all(c["status"] != "untold" for c in lab.ask("conns")), 10, "told")
        front.end()
        sundog.expect("warning: front=10.91.0.1:7866 event=away")
        more, ports2 = lab.clients(5)
        wait_for(lambda: len(lab.ask("conns")) == 15, 5, "connections are known without a front")
        need(sum(c["status"] == "untold" for c in lab.ask("conns")) == 5, "new ones nobody has told us about")
        need(sum(c["status"] != "untold" for c in lab.ask("conns")) == 10, "what was told stands")
        sent = lab.ask("status")["fronts"][0]["sent"]
        time.sleep(2)
        need(lab.ask("status")["fronts"][0]["sent"] - sent <= 4, "it asks less and less")
        again = lab.front()
        start = time.monotonic()
        sundog.expect("front=10.91.0.1:7866 event=back", 35)
        took = time.monotonic() - start
        wait_for(lambda: len(conns_of(again)) == 15, 10, "the new front has the whole map")
        wait_for(lambda: all(c["status"] != "untold" for c in lab.ask("conns")), 10, "all told")
        return "back %.1f s after the front" % took


def a_silent_agent_is_missed():
    with Stage() as lab:
        lab.nginx()
        front, sundog = lab.front(), lab.agent()
        front.expect("event instance=web1 what=heard")
        start = time.monotonic()
        sundog.process.kill()
        front.expect("event instance=web1 what=silent")
        took = time.monotonic() - start
        need(took < 1.5, "missed after %.2f s at a period of 0.2 s" % took)
        lab.agent()
        front.expect("event instance=web1 what=restarted")
        return "missed %.2f s after its end, 3 periods are 0.6 s" % took


def an_agent_that_lies_is_doubted():
    with Stage() as lab:
        lab.nginx()
        front = lab.front()
        lab.agent()
        clients, _ = lab.clients(50)
        wait_for(lambda: words(front.expect("word"))["conns"] == "50", 10, "50 connections")

        # The front measured ten times as many: then the agent's number is the wrong one.
        def doubted():
            front.process.stdin.write("measured conns=500\n")
            front.process.stdin.flush()
            return words(front.expect("word"))["conns"] == "500"
        wait_for(doubted, 10, "the front's own number stands in its place")
        need(any("what=doubted" in line for line in front.told), "and it is said")


def bad_configurations_get_one_sentence():
    with Stage() as lab:
        def tried(text, key_mode=0o600, config="bad.yaml"):
            with open(lab.path("bad.yaml"), "w") as f:
                f.write(text)
            os.chmod(lab.path("key"), key_mode)
            done = subprocess.run([agent, "--config", lab.path(config), "--check"], capture_output=True, text=True)
            os.chmod(lab.path("key"), 0o600)
            return done.returncode, done.stderr.strip(), done.stdout
        key = "key: %s\n" % lab.path("key")
        rc, said, out = tried("name: web1\n" + key)
        need(rc == 0 and "configuration and key are good: instance web1" in out, "a good one: %s" % said)
        for text, mode, want in (("nmae: x\n", 0o600, "bad.yaml:1:1: unknown key \"nmae\""),
                                 (key, 0o644, "others than its owner may read"),
                                 ("key: /nonexistent\n", 0o600, "key file /nonexistent: cannot be read"),
                                 ("key: %s\n" % lab.path("nginx.conf"), 0o600, "others than its owner"),
                                 (key + "fronts: [example.org]\n", 0o600, "names are not looked up")):
            rc, said, _ = tried(text, mode)
            need(rc == 5 and want in said and len(said.splitlines()) == 1, "%s gave %d: %s" % (text, rc, said))
        rc, said, _ = tried("", config="none.yaml")
        need(rc == 5 and "cannot be read" in said, said)
        done = subprocess.run([agent, "status", "--socket", lab.path("none")], capture_output=True, text=True)
        need(done.returncode == 1 and "no sundog-agent runs here" in done.stderr, done.stderr)
        done = subprocess.run([agent, "everything"], capture_output=True, text=True)
        need(done.returncode == 2 and "is not a question" in done.stderr, done.stderr)


def a_node_exporter_is_accepted_instead():
    exporter = shutil.which("prometheus-node-exporter")
    if not exporter:
        return "skipped: prometheus-node-exporter is not installed"
    with Stage() as lab:
        p = lab.start(exporter, "--web.listen-address=10.91.0.2:9100", netns=lab.server)
        wait_for(lambda: ":9100" in sh("ip", "netns", "exec", lab.server, "ss", "-ltn"), 15, "it listens")
        tool = lab.start(exporter_tool, "10.91.0.2", "9100", "1000", "3", netns=lab.client)
        first, last = words(tool.expect("vitals")), None
        tool.expect("vitals")
        last = words(tool.expect("vitals"))
        need("cpu" not in first and 0 <= float(last["cpu"]) <= 1, "a rate takes two readings: %s" % last)
        for vital in ("cpu", "steal", "load", "memory", "memory-left", "disk-left", "rx-rate", "tx-packets", "segments",
                      "files"):
            need(vital in last, "no %s in %s" % (vital, last))
        with open("/proc/meminfo") as f:
            total = int(next(line for line in f if line.startswith("MemTotal")).split()[1]) * 1024
        need(0 < float(last["memory-left"]) < total, "memory: %s" % last["memory-left"])
        end = words(tool.expect("end"))
        need(end["readings"] == "3" and end["impossible"] == "0", "%s" % end)
        missing = lab.start(exporter_tool, "10.91.0.2", "9101", "500", "3", netns=lab.client)
        missing.expect("failed why=connect silent=0")
        missing.expect("failed why=connect silent=0")
        missing.expect("failed why=connect silent=1")
        other = lab.start(exporter_tool, "10.91.0.2", "9100", "500", "1", "/nonexistent", netns=lab.client)
        # Its landing page answers for everything else: HTML is no metrics.
        other.expect("failed why=malformed")
        return "%d octets a reading" % (int(end["bytes"]) // 3)


SERVER = """
import socket, sys, time
kind = sys.argv[1]
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("10.91.0.2", 9200)); s.listen(4); print("up", flush=True)
while True:
    c, _ = s.accept()
    try:
        c.recv(4096)
        if kind == "redirect":
            c.sendall(b"HTTP/1.1 302 Found\\r\\nLocation: http://10.91.0.1/\\r\\n\\r\\n")
        elif kind == "error":
            c.sendall(b"HTTP/1.1 500 Internal Server Error\\r\\n\\r\\n")
        elif kind == "long":
            c.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
            while True:
                c.sendall(b"a 1\\n" * 4096)
        elif kind == "hang":
            time.sleep(30)
        elif kind == "cut":
            c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\nnode_load1 1\\n")
        elif kind == "slow":
            for b in b"HTTP/1.1 200 OK\\r\\n" * 10:
                c.sendall(bytes([b])); time.sleep(0.05)
        else:
            c.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n" + {"broken": b"node_load1 \\xff\\n", "other": b"up 1\\n"}[kind])
    except OSError:
        pass
    c.close()
"""


def a_bad_exporter_is_told_by_its_fault():
    with Stage() as lab:
        for kind, want in (("redirect", "redirect"), ("error", "status"), ("long", "too-long"), ("hang", "timeout"), ("slow", "timeout"),
                           ("cut", "cut"), ("broken", "malformed"), ("other", "empty")):
            server = lab.start(sys.executable, "-c", SERVER, kind, netns=lab.server)
            server.expect("up")
            tool = lab.start(exporter_tool, "10.91.0.2", "9200", "2000", "1", netns=lab.client)
            tool.expect("failed why=%s" % want, 10)
            server.process.kill()
            server.process.wait()


sys.exit(run(reports_arrive_with_what_is_true, the_agent_is_nobody_special, the_connection_map_is_the_one_that_is,
             a_full_accept_queue_is_seen, a_wrong_key_is_counted_and_gets_no_answer, a_flood_does_not_drown_the_agent,
             the_agent_goes_on_without_a_front_and_finds_it_again, a_silent_agent_is_missed,
             an_agent_that_lies_is_doubted, bad_configurations_get_one_sentence, a_node_exporter_is_accepted_instead,
             a_bad_exporter_is_told_by_its_fault))
