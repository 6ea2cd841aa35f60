"""Two real gateways, each with its own sundogd, asked by the real sundog.

    with Gateways(SUNDOGD, SUNDOG, LINKEMU) as lab:     # lab/topology.sh with three emulated paths
        lab.configure("a", classes=...)                 # writes a.yaml; what is left out has a default
        lab.sundogd("a")                                # starts it; returns once it answers
        code, paths = lab.ask("a", "paths")             # what `sundog -o json paths` says
"""
import json
import os
import subprocess
import time

from lab import Failed, Lab, Stream, need, run, sh, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
TOPOLOGY = os.path.join(HERE, "..", "..", "lab", "topology.sh")

HB = "10.77.2.2"

PROFILES = """\
  - {name: voice, latency: 150ms, loss: 30%, breach_price: 1}
"""
CLASSES = """\
  - {name: all, profile: voice, mirror: auto}
"""
CONFIG = """\
site: site-%(end)s
user: nobody
store: {path: %(folder)s/%(end)s/store.db}
api: {socket: %(folder)s/%(end)s/api.sock}
policy: {%(policy)s}
profiles:
%(profiles)stunnels:
  - name: lab
    id: 1
    device: sd0
    peer: site-%(other)s
    address: 10.79.0.%(me)s/24
    key_file: %(key)s
    stamp_busy: %(busy)s
    paths:
%(paths)sclasses:
%(classes)s"""


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


class Gateways(Lab):
    def __init__(self, sundogd, sundog, linkemu, prefix="sdgw", paths=3):
        super().__init__(os.environ.get("LAB_PREFIX", prefix))
        self.programs_of = {"sundogd": sundogd, "sundog": sundog, "linkemu": linkemu}
        self.paths = paths
        self.daemon = {}
        self.streams = 0

    def __enter__(self):
        os.chmod(self.folder, 0o711)
        self.topology("up", str(self.paths))
        emulator = self.start("env", "LINKEMU=" + self.programs_of["linkemu"], TOPOLOGY, "emulate", self.prefix)
        self.emulator = "/run/sundog-lab/%s/emu.sock" % self.prefix
        wait_for(lambda: os.path.exists(self.emulator) or emulator.process.poll() is not None, 10, "an emulator")
        for end in "ab":
            os.mkdir(self.path(end))
            os.chown(self.path(end), 65534, 65534)
            os.mkdir(self.path("pins-" + end))
            sh("mount", "-t", "bpf", "-o", "mode=700", "bpf", self.path("pins-" + end))
        self.key("key")
        return self

    def __exit__(self, *why):
        super().__exit__(*why)
        self.topology("down", check=False)

    def topology(self, verb, *more, check=True):
        return sh(TOPOLOGY, verb, self.prefix, *more, check=check)

    def ns(self, name):
        return "%s-%s" % (self.prefix, name)

    def key(self, name, mode=0o600):
        with open(self.path(name), "w") as f:
            f.write(os.urandom(32).hex() + "\n")
        os.chmod(self.path(name), mode)
        return self.path(name)

    def emu(self, *command):
        said = json.loads(sh(self.programs_of["linkemu"], "tell", self.emulator, *command))
        return said

    def calm(self):
        """10, 20 and 30 ms one way, and nothing else."""
        for k in range(self.paths):
            self.emu("heal", "p%d" % k)
            self.emu("set", "p%d" % k, "delay", "%dms" % (10 * (k + 1)), "loss", "0", "burst", "0",
                     "jitter", "0ms", "shape", "uniform", "order", "keep")

    def configure(self, end, profiles=PROFILES, classes=CLASSES, policy="hold: 500ms", paths=None, key=None, busy="100ms",
                  change=None):
        me, other, far = ("1", "2", "b") if end == "a" else ("2", "1", "a")
        if paths is None:
            paths = "".join("      - {name: p%d, id: %d, device: u%d, local: 10.78.%d.%s, remote: 10.78.%d.%s}\n" %
                            (k, k, k, k, me, k, other) for k in range(self.paths))
        text = CONFIG % {"end": end, "me": me, "other": far, "folder": self.folder, "key": key or self.path("key"),
                         "profiles": profiles, "classes": classes, "policy": policy, "paths": paths, "busy": busy}
        for old, new in (change or {}).items():
            need(old in text, "the configuration has no %s" % old)
            text = text.replace(old, new)
        with open(self.path(end + ".yaml"), "w") as f:
            f.write(text)
        return self.path(end + ".yaml")

    def socket(self, end):
        return self.path(end + "/api.sock")

    def launch(self, end, config=None):
        """A sundogd, whatever becomes of it."""
        return self.start(self.programs_of["sundogd"], "--config", config or self.path(end + ".yaml"), "--pins",
                          self.path("pins-" + end), netns=self.ns("gw" + end))

    def sundogd(self, end):
        self.daemon[end] = p = self.launch(end)
        wait_for(lambda: p.process.poll() is not None or self.ask(end, "status")[0] in (0, 3), 15, "gateway %s answers" % end)
        need(p.process.poll() is None, "sundogd of %s ended: %s" % (end, p.told[-3:]))
        return p

    def stop(self, end):
        return self.daemon[end].end()

    def restart(self, end):
        """What was learnt of the paths is forgotten; what forwards goes on."""
        need(self.stop(end) == 0, "sundogd ends in good order: %s" % self.daemon[end].told[-3:])
        return self.sundogd(end)

    def ended(self):
        """Both daemons are stopped: what one test leaves behind must not help or hurt the next."""
        for daemon in self.daemon.values():
            daemon.end()

    def alive(self, end="a"):
        """What status says of a daemon that answers, and did not die on the way."""
        code, status = self.ask(end, "status")
        told = self.daemon[end].told
        need(code in (0, 3), "it answers: %s" % told[-5:])
        need(not any("event=died" in line for line in told), str(told[-8:]))
        return status

    def stream(self, seconds, rate=50, port=7000):
        """Numbered datagrams from host to host, on a port of their own above `port`."""
        self.streams += 1
        return Stream(self, self.ns("ha"), self.ns("hb"), HB, seconds, rate, port + self.streams)

    def run_fresh(self, *tests):
        """The tests that $ONLY is a part of, all when there is none, each from daemons that it starts."""
        def fresh(test):
            def wrapped():
                try:
                    return test()
                finally:
                    self.ended()
            wrapped.__name__ = test.__name__
            return wrapped
        return run(*[fresh(t) for t in tests if os.environ.get("ONLY", "") in t.__name__])

    def both(self, **how):
        # The far end first: what a asks is answered from the first probe on.
        for end in "ba":
            self.configure(end, **how)
            self.sundogd(end)
        self.topology("route", "dev", "sd0")

    def refusal(self, end="a", config=None, limit_s=15):
        """(exit status, the last line) of a gateway that is expected not to start."""
        p = self.launch(end, config)
        try:
            status = p.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise Failed("it neither ends nor says why it goes on: %s" % p.told[-3:])
        wait_for(lambda: p.told, 2, "a sentence")
        time.sleep(0.05)
        return status, p.told[-1]

    def sundog(self, *words):
        done = subprocess.run([self.programs_of["sundog"], *words], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout, done.stderr

    def ask(self, end, *words):
        code, out, _ = self.sundog("-o", "json", "--socket", self.socket(end), *words)
        return code, json.loads(out) if out.strip() else None

    def path_of(self, end, name):
        return [p for p in self.ask(end, "paths")[1] if p["path"] == name][0]

    def class_of(self, end, name):
        return [c for c in self.ask(end, "status")[1]["classes"] if c["class"] == name][0]

    def carried_by(self, end, name):
        return self.class_of(end, name)["carried_by"].split("+")

    def events(self, end, kind=None, subject=None):
        return [e for e in self.ask(end, "events", "-n", "256")[1]
                if (not kind or e["event"] == kind) and (not subject or e["subject"] == subject)]

    def newest(self, end):
        """Number of the newest decision."""
        ids = [e["id"] for e in self.events(end, "decision")]
        return max(ids) if ids else 0

    def medians(self, end, key, seconds):
        """Of each path, over a while."""
        seen = {}
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for p in self.ask(end, "paths")[1]:
                if p[key] is not None:
                    seen.setdefault(p["path"], []).append(p[key])
            time.sleep(0.1)
        return {name: median(values) for name, values in seen.items()}
