#!/usr/bin/env python3
"""Break a server under many connections and count who notices.

    lab/instances.py run --failure crash --mode protected --runs 3 --connections 1000
    lab/instances.py run --failure all --mode nat
    lab/instances.py shell --mode protected        the stage, up until Enter is pressed, to try things by hand

A run: `connections` clients (lab/holdclient) download, ask or upload; when half of all bytes have been moved, server
a is broken; everybody goes on until all is done or lost. Then a is repaired. Failures:

    crash      kill -9 of all processes of the server
    link       its link goes down, then the same
    blackhole  the link stays up, and nothing passes any more, in either direction
    hang       all processes are stopped (SIGSTOP): the kernel answers, the program does not
    planned    the front is told that the server will leave; nothing breaks
    none       nothing at all: the noise that the others are judged over

Modes, which is who stands in the middle:

    protected  Sundog, every connection with a standby
    plain      the same program without protection (protect: never): the control
    nft        nftables DNAT to server a: a control that shares no code with us
    direct     nobody: clients ask server a itself

Every run prints one JSON line, and the end of all runs of a failure one more with `kept`, `lost` and the stall over the
noise. Needs root. Namespaces, processes and files are its own and are gone afterwards, whatever happens.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("SUNDOG_SOURCE", os.path.dirname(HERE))
BUILD = os.environ.get("SUNDOG_BUILD", os.path.join(SOURCE, "build"))
sys.path.insert(0, os.path.join(SOURCE, "tests", "lab"))

from lab import Failed, Program, need, sh, wait_for  # noqa: E402

FAILURES = ("crash", "link", "blackhole", "hang", "planned")
SERVERS = {"a": 1, "b": 2, "c": 3}
FILE_BYTES = 64 * 1000 * 1000
WEB, UPLOAD = 80, 81
# The same services on other ports of the servers: behind NAT an answer's port tells which address it is for.
PLAIN = {WEB: 8080, UPLOAD: 8081}

NGINX = """\
daemon off;
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log;
worker_processes 1;
worker_rlimit_nofile 65536;
events { worker_connections 32768; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    keepalive_timeout 120s;
    open_file_cache max=100;
    server {
        listen 80 backlog=16384%(buffer)s;
        listen 8080 backlog=16384%(buffer)s;
        listen [::]:80 backlog=16384 ipv6only=on%(buffer)s;
        listen [::]:8080 backlog=16384 ipv6only=on%(buffer)s;
        root %(root)s;
        location = /who { return 200 "%(name)s"; }
        %(more)s
    }
}
"""

# Nothing passes, ARP neither: what a switch does that has lost its mind.
BLACK_HOLE = """
table netdev hole {
    chain in { type filter hook ingress device "s0" priority -500; policy drop; }
    chain out { type filter hook egress device "s0" priority -500; policy drop; }
}
"""


def children(pid):
    found = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as f:
                found += [int(p) for p in f.read().split()]
    except OSError:
        pass
    return found


def tree(pid):
    """A process and all below it."""
    return [pid] + [p for child in children(pid) for p in tree(child)]


class Server:
    """nginx with the pattern file, and holdserver, in a namespace."""

    def __init__(self, stage, name):
        self.stage, self.name = stage, name
        self.ns = stage.ns(name)
        self.folder = os.path.join(stage.folder, name)
        self.address = "10.80.%d.2" % SERVERS[name]
        self.address6 = "fd80:0:0:%d::2" % SERVERS[name]
        self.root = os.path.join(stage.folder, "files")
        self.more = ""
        self.programs = []
        os.mkdir(self.folder)

    def pids(self):
        return [p for program in self.programs for p in tree(program.pid) if program.poll() is None]

    def signal(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def start(self):
        conf = os.path.join(self.folder, "nginx.conf")
        with open(conf, "w") as f:
            f.write(NGINX % {"folder": self.folder, "root": self.root, "more": self.more, "name": self.name,
                             "buffer": self.stage.buffer and " sndbuf=" + self.stage.buffer})
        log = open(os.path.join(self.folder, "log"), "ab")
        for command in [["nginx", "-p", self.folder, "-e", self.folder + "/error.log", "-c", conf]] + [
                [os.path.join(BUILD, "lab", "holdserver"), "--listen", str(port)] for port in (UPLOAD, PLAIN[UPLOAD])]:
            self.programs.append(subprocess.Popen(["ip", "netns", "exec", self.ns] + command, stdin=subprocess.DEVNULL,
                                                  stdout=log, stderr=log))
        log.close()
        wait_for(self.listens, 10, "server %s listens: %s" % (self.name, self.log()))

    def listens(self):
        said = sh("ip", "netns", "exec", self.ns, "ss", "-Hltn")
        return all(":%d " % port in said for port in (*PLAIN, *PLAIN.values()))

    def log(self):
        said = ""
        for name in ("log", "error.log"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    said += f.read()[-500:]
        return said

    def end(self):
        """Whatever state they are in."""
        self.signal(signal.SIGKILL)
        for program in self.programs:
            program.wait()
        self.programs = []

    # -- ways to fail ------------------------------------------------------------------------
    def crash(self):
        self.signal(signal.SIGKILL)

    def link(self):
        sh("ip", "-n", self.ns, "link", "set", "dev", "s0", "down")
        self.signal(signal.SIGKILL)

    def blackhole(self):
        subprocess.run(["ip", "netns", "exec", self.ns, "nft", "-f", "-"], input=BLACK_HOLE, text=True, check=True,
                       timeout=10)

    def hang(self):
        self.signal(signal.SIGSTOP)

    def repair(self):
        """As new, however it failed."""
        self.end()
        sh("ip", "netns", "exec", self.ns, "nft", "delete", "table", "netdev", "hole", check=False)
        sh("ip", "-n", self.ns, "link", "set", "dev", "s0", "up")
        k = SERVERS[self.name]
        # Routes went with the link; its addresses did not.
        sh("ip", "-n", self.ns, "route", "replace", "default", "via", "10.80.%d.1" % k)
        wait_for(lambda: "tentative" not in sh("ip", "-n", self.ns, "-6", "addr", "show", "dev", "s0"), 5, "addresses")
        sh("ip", "-n", self.ns, "-6", "route", "replace", "default", "via", "fd80:0:0:%d::1" % k)
        self.start()


class Stage:
    """Namespaces, servers and their files. Use with "with".

    Kernels go on sending what a killed server has handed them. Bodies must be longer than that and than the client's
    own `buffer`, or nobody notices the kill, whoever stands in the middle: hence the small buffer on the server."""

    def __init__(self, words=(), prefix=None, servers="abc", buffer="64k"):
        self.buffer = buffer
        self.prefix = prefix or "%s-i%d" % (os.environ.get("LAB_PREFIX", "sdlab"), os.getpid() % 100000)
        self.words = list(words)
        self.names = servers
        self.folder = None
        self.servers = {}
        self.programs = []

    def ns(self, name):
        return "%s-%s" % (self.prefix, name)

    def topology(self, verb, *more):
        return sh(os.path.join(HERE, "instance_topology.sh"), verb, self.prefix, *more)

    def __enter__(self):
        # nginx's workers and sundogd's decider are users of their own and must come this far.
        self.folder = tempfile.mkdtemp(prefix=self.prefix)
        os.chmod(self.folder, 0o711)
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def build(self):
        self.topology("up", *self.words)
        files = os.path.join(self.folder, "files")
        os.mkdir(files)
        sh(os.path.join(BUILD, "lab", "holdclient"), "--write", os.path.join(files, "pattern"), "--bytes",
           "%dB" % FILE_BYTES)
        # The same ETag and Last-Modified wherever and whenever the lab runs.
        os.utime(os.path.join(files, "pattern"), (1e9, 1e9))
        for name in self.names:
            self.servers[name] = Server(self, name)
            self.servers[name].start()
        for name in self.names:
            for to in (self.servers[name].address, self.servers[name].address6):
                wait_for(lambda: self.reaches("cl", to), 5, "the client reaches server %s at %s" % (name, to))

    def reaches(self, who, to):
        return "1 received" in sh("ip", "netns", "exec", self.ns(who), "ping", "-c", "1", "-W", "1", to, check=False)

    def __exit__(self, *_):
        for p in self.programs:
            p.end()
        for s in self.servers.values():
            s.end()
        try:
            self.topology("down")
        finally:
            with open("/proc/self/mounts") as mounts:
                below = [line.split()[1] for line in mounts if line.split()[1].startswith(self.folder + "/")]
            for where in reversed(below):
                sh("umount", where, check=False)
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_in(self, who, *command):
        return ("ip", "netns", "exec", self.ns(who)) + command

    def start(self, who, *command):
        p = Program(command, netns=self.ns(who))
        self.programs.append(p)
        return p

    def other_file(self, server, change):
        """A server of its own mind: `change` edits its copy of the pattern file."""
        s = self.servers[server]
        s.root = os.path.join(s.folder, "files")
        os.mkdir(s.root)
        shutil.copy(self.path("files/pattern"), s.root)
        with open(os.path.join(s.root, "pattern"), "r+b") as f:
            change(f)
        os.utime(os.path.join(s.root, "pattern"), (1e9, 1e9))


class Client:
    """One holdclient in the client's namespace."""

    def __init__(self, stage, to, port=WEB, connections=100, bytes=1000000, requests=1, mark=0.5, limit_s=60, **more):
        command = [os.path.join(BUILD, "lab", "holdclient"), "--to",
                   ("[%s]:%d" if ":" in to else "%s:%d") % (to, port), "--path", "/pattern", "--connections",
                   str(connections), "--bytes", "%dB" % bytes, "--file-bytes", "%dB" % FILE_BYTES, "--requests",
                   str(requests), "--mark", str(mark), "--for", "%ds" % limit_s]
        for key, value in more.items():
            command += ["--" + key.replace("_", "-")] + ([] if value is True else [str(value)])
        self.limit_s = limit_s
        self.program = stage.start("cl", *command)

    def until_mark(self):
        """@return False when it ended before: nothing was left to be broken"""
        try:
            self.program.expect("mark", self.limit_s + 5)
            return True
        except Failed:
            return False

    def mark(self):
        self.program.process.send_signal(signal.SIGUSR1)

    def result(self):
        report = json.loads(next((l for l in self.program.told if l.startswith("{")), None) or
                            self.program.expect("{", self.limit_s + 10))
        self.program.end()
        report["lost"] = report["connections"] - report["kept"]
        return report


# ---- who stands in the middle ------------------------------------------------------------------

class Direct:
    """Nobody."""
    target = {4: "10.80.1.2", 6: "fd80:0:0:1::2"}

    def __init__(self, stage):
        self.stage = stage

    def ready(self):
        pass

    def leave(self, server):
        raise Failed("nobody is here who could be told that %s leaves" % server)

    def back(self, server):
        pass

    def counters(self):
        return {}

    def end(self):
        pass


class Nft(Direct):
    """Destination NAT to server a."""
    target = {4: "10.80.9.3", 6: "fd80:0:0:9::3"}

    def __init__(self, stage):
        super().__init__(stage)
        rules = "".join("""
            add table %(family)s labnat
            add chain %(family)s labnat pre { type nat hook prerouting priority -100; }
            add rule %(family)s labnat pre %(family)s daddr %(vip)s dnat to %(to)s
            """ % {"family": family, "vip": self.target[version], "to": to}
                        for family, version, to in (("ip", 4, "10.80.1.2"), ("ip6", 6, "fd80:0:0:1::2")))
        subprocess.run(self.stage.run_in("lb", "nft", "-f", "-"), input=rules, text=True, check=True, timeout=10)

    def end(self):
        for family in ("ip", "ip6"):
            sh(*self.stage.run_in("lb", "nft", "delete", "table", family, "labnat"), check=False)


CONFIG = """\
site: lab
user: nobody
store:
  path: %(folder)s/store/store.db
api:
  socket: %(folder)s/store/api.sock
front:
  devices: [%(devices)s]
  hook: %(hook)s
  connections: %(connections)d
  probe_interval: 5ms
instances:
%(instances)s
vips:
%(vips)s
"""


class Sundog(Direct):
    """sundogd in the balancer's namespace, or, on the stage "host", in the client's. Two addresses: one where every
    connection has a standby, and one where none has. New connections go to a while it is healthy; the others
    back it up."""
    target = {4: "10.80.9.1", 6: "fd80:0:0:9::1"}
    plain = {4: "10.80.9.2", 6: "fd80:0:0:9::2"}

    def __init__(self, stage, hook=None, returns="nat", connections=65536, roles=("primary", "backup", "backup"),
                 vip="", vips="", where="lb"):
        super().__init__(stage)
        self.where = where
        self.pins, self.store = stage.path("pins"), stage.path("store")
        for folder in (self.pins, self.store):
            os.makedirs(folder, exist_ok=True)
        shutil.chown(self.store, "nobody")
        sh("mount", "-t", "bpf", "-o", "mode=700", "bpf", self.pins)
        devices = {n: "c0" if where == "cl" else "sw" if "bridge" in stage.words else "s" + n for n in stage.names}
        instances = ["  - {name: %s, address: 10.80.%d.2, device: %s, role: %s}" %
                     (n, SERVERS[n], devices[n], role) for n, role in zip(stage.names, roles)]
        rows = []
        for name, target, protect in (("kept", Sundog.target, "always"), ("plain", Sundog.plain, "never")):
            for port in (WEB, UPLOAD):
                rows.append("  - {name: %s-%d, address: %s, port: %d, instances: [%s], protect: %s, return: %s%s}" %
                            (name, port, target[4], port, ", ".join(
                                n if protect == "always" or returns != "nat" else '"%s:%d"' % (n, PLAIN[port])
                                for n in stage.names), protect, returns, vip if protect == "always" else ""))
        self.config = stage.path("sundog.yaml")
        with open(self.config, "w") as f:
            f.write(CONFIG % {"folder": stage.folder, "hook": hook or ("auto" if "wire" in stage.words else "tc"), "connections": connections,
                              "devices": ", ".join(sorted({"c0", *devices.values()})),
                              "instances": "\n".join(instances), "vips": "\n".join(rows) + vips})
        self.daemon = stage.start(where, os.path.join(BUILD, "sundogd"), "--config", self.config, "--pins", self.pins)

    def ask(self, *words):
        """(exit status, what `sundog WORDS -o json` said)"""
        done = subprocess.run(self.stage.run_in(self.where, os.path.join(BUILD, "sundog"), *words, "-o", "json", "--socket",
                                                os.path.join(self.store, "api.sock")),
                              capture_output=True, text=True, timeout=20)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            return done.returncode, done.stderr or done.stdout

    def who(self, version=4):
        """Which server answers a new connection; "" for none."""
        to = self.plain[version]
        return sh(*self.stage.run_in("cl", "curl", "-s", "-m", "1", "http://%s/who" % ("[%s]" % to if version == 6 else to)),
                  check=False)

    def is_all_on(self, server):
        """Every address gives its new connections to this server, and it answers."""
        rows = self.ask("vips")[1]
        return isinstance(rows, list) and all(r["weights"].get(server, 0) > 0.99 for r in rows) and self.who() == server

    def ready(self):
        try:
            wait_for(lambda: self.is_all_on("a") or self.daemon.process.poll() is not None, 30, "new connections go to a")
            need(self.daemon.process.poll() is None, "sundogd ended")
        except Failed as why:
            rows = self.ask("vips")[1]
            raise Failed("%s: %s %s" % (why, self.daemon.told[-5:], [(r["vip"], r["new_to"]) for r in rows]
                                        if isinstance(rows, list) else rows))

    def leave(self, server):
        status, said = self.ask("drain", server)
        need(status == 0, "sundog drain %s: %s" % (server, said))

    def back(self, server):
        self.ask("drain", server, "--undo")
        self.ready()

    def counters(self):
        return {what: self.ask(what)[1] for what in ("vips", "instances")}

    def end(self):
        self.daemon.end()


class Plain(Sundog):
    """The same without protection."""
    target = Sundog.plain


class Tool(Direct):
    """The front alone (lab/front), without the daemon: one address, one port. New connections go to server a while it
    lives; the others stand by."""
    target = {4: "10.80.9.1", 6: "fd80:0:0:9::1"}
    protect = "always"

    def __init__(self, stage, hook=None, returns="nat", port=WEB, version=4, where="lb", more=()):
        super().__init__(stage)
        self.version = version
        pins = stage.path("pins")
        os.makedirs(pins, exist_ok=True)
        sh("mount", "-t", "bpf", "-o", "mode=700", "bpf", pins)
        address = "10.80.%d.2" if version == 4 else "fd80:0:0:%d::2"
        device = {n: "c0" if where == "cl" else "sw" if "bridge" in stage.words else "s" + n for n in stage.names}
        command = [os.path.join(BUILD, "lab", "front"), "--pins", pins, "--vip", self.at(port), "--return", returns,
                   "--protect", self.protect, "--hook", hook or ("auto" if "wire" in stage.words else "tc")]
        for name in sorted({"c0", *device.values()}):
            command += ["--device", name]
        for i, name in enumerate(stage.names):
            command += ["--server", "%s,%s,%s,0,%s" % (name, address % SERVERS[name], device[name], 0 if i else 1)]
        self.program = stage.start(where, *command, *(["--host"] if where == "cl" else []), *more)
        self.program.expect("ready", 10)

    def at(self, port):
        return ("%s:%d" if self.version == 4 else "[%s]:%d") % (self.target[self.version], port)

    def tell(self, line, answer="ok"):
        return self.program.ask(line, answer)

    def ready(self):
        wait_for(lambda: sh(*self.stage.run_in("cl", "curl", "-s", "-m", "1", "http://%s/who" % self.at(WEB)),
                            check=False) == "a", 10, "new connections go to a")

    def leave(self, server):
        self.tell("leave %s 100" % server)

    def back(self, server):
        self.tell("back %s" % server)
        self.ready()

    def counters(self):
        return self.tell("counters", "counters")

    def end(self):
        if self.program.process.poll() is None:
            self.tell("remove")
        self.program.end()


class ToolPlain(Tool):
    """The same without protection."""
    protect = "never"


FRONTS = {"tool": Tool, "tool-plain": ToolPlain, "direct": Direct, "nft": Nft, "protected": Sundog, "plain": Plain}


# ---- one run and many ----------------------------------------------------------------------------

def short(report):
    return {k: v for k, v in report.items() if k != "marked_each_ms"}


def once(stage, front, failure, **client):
    """Break server a in the middle of it. @return what the client saw"""
    version = client.pop("version", 4)
    server = stage.servers["a"]
    c = Client(stage, front.target[version], **client)
    if not c.until_mark():
        r = c.result()
        raise Failed("the client never got to the moment of the failure: %s" % short(r))
    began = time.monotonic()
    if failure == "planned":
        front.leave("a")
    elif failure != "none":
        getattr(server, failure)()
    took_ms = (time.monotonic() - began) * 1e3
    try:
        r = c.result()
    finally:
        if failure not in ("none", "planned"):
            server.repair()
        if failure != "none":
            front.back("a")
    r.update(failure=failure, breaking_ms=round(took_ms, 1))
    return r


def percentile(values, share):
    """The smallest value that at least this share of them does not exceed; None for none."""
    ordered = sorted(v for v in values if v is not None)
    return ordered[max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1)] if ordered else None


def many(stage, front, failures, runs, say=lambda r: None, **client):
    """Runs of each failure and, with the same --shuffle each, of none. @return {failure: summary}"""
    found = {}
    for failure in ["none"] + [f for f in failures if f != "none"]:
        reports = []
        for i in range(runs):
            reports.append(once(stage, front, failure, shuffle=i + 1, each=True, **client))
            say(reports[-1])
        each = [v for r in reports for v in r["marked_each_ms"]]
        found[failure] = {"failure": failure, "runs": runs, "connections": sum(r["connections"] for r in reports),
                          "open_at_failure": sum(r["open_at_mark"] for r in reports),
                          "kept": sum(r["kept"] for r in reports), "lost": sum(r["lost"] for r in reports),
                          "gap_p50_ms": percentile(each, 0.5), "gap_p95_ms": percentile(each, 0.95),
                          "gap_max_ms": max((v for v in each if v is not None), default=None),
                          "errors": [r["first_error"] for r in reports if "first_error" in r][:3]}
        noise = found["none"]["gap_p95_ms"]
        here = found[failure]["gap_p95_ms"]
        found[failure]["stall_p95_ms"] = None if here is None or noise is None else round(max(0, here - noise), 2)
    return found


# ---- the demo --------------------------------------------------------------------------------------

STREAM = {"connections": 1000, "bytes": 800000, "rate": "80kB", "buffer": "16kB", "mark": 0.45, "limit_s": 40}
ASKING = {"connections": 50, "bytes": 1000, "pause": "20ms", "requests": 1000, "window": "5s", "limit_s": 40}


def demo_run(stage, front, failure, series):
    """1,000 downloads, and 50 clients that keep asking, while server a is killed. @return both reports"""
    downloads = Client(stage, front.target[4], series=series, **STREAM)
    asking = Client(stage, front.target[4], **ASKING)
    if not downloads.until_mark():
        raise Failed("the downloads never got half way: %s" % short(downloads.result()))
    asking.mark()
    if failure == "crash":
        stage.servers["a"].crash()
    report = downloads.result()
    # Who asks has been asking long enough.
    asking.program.process.send_signal(signal.SIGINT)
    asked = asking.result()
    asked["kept"] += asked.pop("unfinished")
    if failure == "crash":
        stage.servers["a"].repair()
        front.back("a")
    return report, asked


def demo_table(columns):
    """Rows of the table from (name, downloads, asking) of every run."""
    rows = [("downloads", lambda d, q: "%d" % d["connections"]),
            ("  open when the server was killed", lambda d, q: "%d" % d["open_at_mark"]),
            ("  kept to the last byte", lambda d, q: "%d" % d["kept"]),
            ("  lost", lambda d, q: "%d" % (d["connections"] - d["kept"])),
            ("  with a wrong byte", lambda d, q: "%d" % (d["body_wrong"] + d["answer_wrong"])),
            ("  bytes received", lambda d, q: "%.1f MB" % (d["bytes"] / 1e6)),
            ("50 clients asking on open connections", lambda d, q: ""),
            ("  connections kept", lambda d, q: "%d" % q["kept"]),
            ("  longest wait for an answer", lambda d, q: "%.0f ms" % q["marked_ms"]["max"] if q["kept"] else "never came")]
    width = max(len(r[0]) for r in rows) + 2
    print("%-*s%s" % (width, "", "".join("%24s" % name for name, _, _ in columns)))
    for name, value in rows:
        print(("%-*s%s" % (width, name, "".join("%24s" % value(d, q) for _, d, q in columns))).rstrip())


def demo_sentence(plain, kept):
    lost = plain["connections"] - plain["kept"]
    missed = kept["connections"] - kept["kept"]
    print("\nThe server was killed under %d open downloads. Behind plain NAT %d of them ended there; behind Sundog %s."
          % (kept["open_at_mark"], lost,
             "all %d went on to the last byte, and every byte was right" % kept["kept"] if missed == 0 else
             "%d did" % missed))
    return missed == 0


def demo(o):
    os.makedirs(o.out, exist_ok=True)
    runs = (("plain NAT, killed", "nat", Plain, "crash"), ("Sundog, killed", "sundog", Sundog, "crash"),
            ("Sundog, nothing broken", "calm", Sundog, "none"))
    columns = []
    with Stage() as stage:
        front = Sundog(stage)
        try:
            front.ready()
            for name, file, mode, failure in runs:
                print("-- %s: 1,000 downloads at 640 kbit/s each, %s" % (
                    name, "kill -9 of the server half way" if failure == "crash" else "to compare with"),
                    file=sys.stderr, flush=True)
                front.target = mode.target
                d, q = demo_run(stage, front, failure, os.path.join(o.out, "instance-%s.csv" % file))
                columns.append((name, d, q))
            with open(os.path.join(o.out, "instance.json"), "w") as f:
                json.dump([{"run": n, "downloads": short(d), "asking": short(q)} for n, d, q in columns], f, indent=2)
        finally:
            front.end()
    print()
    demo_table(columns)
    print("\nBytes in every tenth of a second, all downloads together:", flush=True)
    subprocess.run([os.path.join(BUILD, "lab", "drawhold"), "--event", "kill -9 of the server", "--title",
                    "1,000 downloads, and the server is killed", "--svg", os.path.join(o.out, "instance.svg")] +
                   ["--run=%s=%s" % (name, os.path.join(o.out, "instance-%s.csv" % file))
                    for name, file, _, failure in runs if failure == "crash"], check=True, timeout=20)
    is_good = demo_sentence(columns[0][1], columns[1][1])
    print("Picture, numbers and series: %s/instance.svg, instance.json, instance-*.csv" % o.out)
    return 0 if is_good else 3


# ---- the command -----------------------------------------------------------------------------------

def options():
    p = argparse.ArgumentParser(description="Break a server under many connections and count who notices.")
    sub = p.add_subparsers(dest="verb", required=True)
    for verb in ("run", "shell"):
        v = sub.add_parser(verb)
        v.add_argument("--mode", choices=sorted(FRONTS), default="protected")
        v.add_argument("--stage", default="", help="words for instance_topology.sh: bridge l2 wire rate=400mbit")
    d = sub.add_parser("demo")
    d.add_argument("--out", default="demo-out")
    r = sub.choices["run"]
    r.add_argument("--failure", default="all", help="one or more of %s, none, with commas; or all" % ", ".join(FAILURES))
    r.add_argument("--runs", type=int, default=1)
    r.add_argument("--connections", type=int, default=1000)
    r.add_argument("--bytes", type=int, default=400000, help="of each body")
    r.add_argument("--requests", type=int, default=1, help="on each connection, one after the other")
    r.add_argument("--pause", help="between two of them, like 5ms")
    r.add_argument("--rate", help="read no faster, each connection, like 80kB; with a small --buffer")
    r.add_argument("--buffer", help="for the client's reads, like 16kB: what waits there hides a stall")
    r.add_argument("--upload", action="store_true")
    r.add_argument("--close", action="store_true", help="ask with Connection: close")
    r.add_argument("--ip", type=int, choices=(4, 6), default=4)
    r.add_argument("--limit", type=int, default=60, help="seconds for one run")
    return p.parse_args()


def run(o, stage, front):
    failures = FAILURES if o.failure == "all" else o.failure.split(",")
    for f in failures:
        need(f in FAILURES + ("none",), "\"%s\" is no failure: %s, none" % (f, ", ".join(FAILURES)))
    if o.failure == "all" and o.mode in ("direct", "nft"):
        failures = [f for f in failures if f != "planned"]
    more = {k: getattr(o, k) for k in ("pause", "rate", "buffer", "upload", "close") if getattr(o, k)}
    for summary in many(stage, front, failures, o.runs, say=lambda r: print(json.dumps({"mode": o.mode, **short(r)}), flush=True), version=o.ip,
                        port=UPLOAD if o.upload else WEB, connections=o.connections, bytes=o.bytes,
                        requests=o.requests, limit_s=o.limit, **more).values():
        print(json.dumps({"mode": o.mode, **summary}), flush=True)


def shell(o, stage, front):
    print("namespaces %s-*; the client asks http://%s/pattern. Enter ends it." % (stage.prefix, front.target[4]),
          flush=True)
    sys.stdin.readline()


def main():
    o = options()
    if os.geteuid() != 0:
        print("instances: namespaces need root", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    try:
        if o.verb == "demo":
            return demo(o)
        with Stage(o.stage.split()) as stage:
            front = FRONTS[o.mode](stage)
            try:
                front.ready()
                {"run": run, "shell": shell}[o.verb](o, stage, front)
            finally:
                front.end()
    except Failed as why:
        print("instances: %s" % why, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
