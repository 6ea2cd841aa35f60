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
        listen 80 backlog=16384;
        listen [::]:80 backlog=16384 ipv6only=on;
        root %(root)s;
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
            f.write(NGINX % {"folder": self.folder, "root": self.root, "more": self.more})
        log = open(os.path.join(self.folder, "log"), "ab")
        for command in (["nginx", "-p", self.folder, "-e", self.folder + "/error.log", "-c", conf],
                        [os.path.join(BUILD, "lab", "holdserver"), "--listen", str(UPLOAD)]):
            self.programs.append(subprocess.Popen(["ip", "netns", "exec", self.ns] + command, stdin=subprocess.DEVNULL,
                                                  stdout=log, stderr=log))
        log.close()
        wait_for(self.listens, 10, "server %s listens: %s" % (self.name, self.log()))

    def listens(self):
        said = sh("ip", "netns", "exec", self.ns, "ss", "-Hltn")
        return all(":%d " % port in said for port in (WEB, UPLOAD))

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
    """Namespaces, servers and their files. Use with "with"."""

    def __init__(self, words=(), prefix=None, servers="abc"):
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


FRONTS = {"direct": Direct, "nft": Nft}


# ---- one run and many ----------------------------------------------------------------------------

def once(stage, front, failure, **client):
    """Break server a in the middle of it. @return what the client saw"""
    version = client.pop("version", 4)
    server = stage.servers["a"]
    c = Client(stage, front.target[version], **client)
    if not c.until_mark():
        r = c.result()
        raise Failed("the client never got to the moment of the failure: %s" % r)
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


def told(report, **more):
    short = {k: v for k, v in report.items() if k != "marked_each_ms"}
    print(json.dumps({**more, **short}), flush=True)


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


# ---- the command -----------------------------------------------------------------------------------

def options():
    p = argparse.ArgumentParser(description="Break a server under many connections and count who notices.")
    sub = p.add_subparsers(dest="verb", required=True)
    for verb in ("run", "shell"):
        v = sub.add_parser(verb)
        v.add_argument("--mode", choices=sorted(FRONTS), default="protected")
        v.add_argument("--stage", default="", help="words for instance_topology.sh: bridge l2 gso rate=400mbit")
    r = sub.choices["run"]
    r.add_argument("--failure", default="all", help="one or more of %s, none, with commas; or all" % ", ".join(FAILURES))
    r.add_argument("--runs", type=int, default=1)
    r.add_argument("--connections", type=int, default=1000)
    r.add_argument("--bytes", type=int, default=400000, help="of each body")
    r.add_argument("--requests", type=int, default=1, help="on each connection, one after the other")
    r.add_argument("--pause", help="between two of them, like 5ms")
    r.add_argument("--rate", help="read no faster, each connection, like 1MB")
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
    more = {k: getattr(o, k) for k in ("pause", "rate", "upload", "close") if getattr(o, k)}
    for summary in many(stage, front, failures, o.runs, say=lambda r: told(r, mode=o.mode), version=o.ip,
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
