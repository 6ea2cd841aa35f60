#!/usr/bin/env python3
"""Aligned mode as an operator has it: sundogd in front, sundog-agent with the shim on every server, two nginx.

Usage: aligned_daemon.py SUNDOGD SUNDOG AGENT SHIM [WORD...]     only statements whose name has one of the words

Requirement ids stand beside what proves them.
"""
import json
import os
import subprocess
import sys

AGENT, SHIM = (os.path.abspath(p) for p in sys.argv[3:5])
WORDS = sys.argv[5:]
sys.argv[3:] = []
import instance_daemon as base  # reads the first two arguments
from lab import need, run, sh, wait_for

KEY = {"front": "11" * 32, "a": "aa" * 32, "b": "bb" * 32, "other": "22" * 32}
lab = None


class Stage(base.Stage):
    def __enter__(self):
        super().__enter__()
        self.agents = {}
        for name, key in KEY.items():
            with open(self.path("key-" + name), "w") as f:
                f.write(key + "\n")
            os.chmod(self.path("key-" + name), 0o600)
        for name in "ab":
            os.makedirs(self.path("bpf-" + name))
            sh("mount", "-t", "bpf", "-o", "mode=700", "bpf", self.path("bpf-" + name))
        return self

    def ns_run(self, name, *command, **how):
        """In the server's network, but with this mount namespace: BPF pins must be seen."""
        return subprocess.run(("nsenter", "--net=/run/netns/" + self.ns(name)) + command, capture_output=True,
                              text=True, timeout=20, **how)

    def config_agent(self, name, key="front", shim=True):
        k = "ab".index(name) + 1
        more = ("shim_devices: [s0]\nshim_services: ['web=10.80.%d.2:80']\nshim_key_file: %s\nshim_pins: %s/shim\n"
                % (k, self.path("key-" + key), self.path("bpf-" + name))) if shim else ""
        with open(self.path("agent-%s.yaml" % name), "w") as f:
            f.write("name: %s\nkey: %s\nfronts: [10.80.%d.1]\nports: [80]\nperiod: 500ms\nuser: nobody\nsocket: %s\n%s"
                    % (name, self.path("key-" + name), k, self.path("agent-%s/sock" % name), more))

    def agent(self, name, **how):
        self.config_agent(name, **how)
        if name in self.agents:
            self.agents[name].end()
        self.agents[name] = self.start("nsenter", "--net=/run/netns/" + self.ns(name), AGENT, "--config",
                                       self.path("agent-%s.yaml" % name))
        self.agents[name].expect("instance=%s" % name, 10)

    def without_shim(self, name):
        self.config_agent(name)
        done = self.ns_run(name, AGENT, "--config", self.path("agent-%s.yaml" % name), "--remove-shim")
        need(done.returncode == 0, done.stderr)

    def counts(self, name):
        out = self.ns_run(name, SHIM, "counts", self.path("bpf-%s/shim" % name), "s0").stdout
        return {k: int(n) for k, n in (line.split() for line in out.splitlines())}

    def front(self, guard="no"):
        self.configure(front=", aligned_key_file: %s" % self.path("key-front"), vip=", mode: aligned, guard: " + guard)
        with open(self.path("edge.yaml")) as f:
            text = f.read()
        for name in "ab":
            text = text.replace("{name: %s," % name, "{name: %s, agent_key_file: %s," % (name, self.path("key-" + name)))
        with open(self.path("edge.yaml"), "w") as f:
            f.write(text)
        self.restart()
        self.all_serve("a", "b")

    def mode_is(self, mode, why=""):
        wait_for(lambda: self.vip()["mode"] == mode and why in self.vip()["mode_why"], 15,
                 "mode %s because of \"%s\": %s" % (mode, why, [self.vip()[k] for k in ("mode", "mode_why")]))


def both(**how):
    for name in "ab":
        if lab.nginx[name].process.poll() is not None:
            lab.serve(name)
        lab.agent(name, **how)
    lab.front()


def killing_a_server_of_an_aligned_vip_loses_no_connection():  # I1 I3 I9
    both()
    lab.mode_is("aligned")
    before = {n: lab.counts(n) for n in "ab"}
    c = base.Client()
    wait_for(lambda: sum(r["is_aligned"] for r in lab.ask("conns")[1]) >= c.connections, 5,
             "all are aligned: %s" % lab.ask("conns")[1][:2])
    built = {n: lab.counts(n)["built"] - before[n]["built"] for n in "ab"}
    need(built["a"] >= 30 and built["b"] >= 30, "both servers built every socket: %s" % built)
    wait_for(lambda: lab.instance("a")["serves"] + lab.instance("b")["serves"] == c.connections, 5, "all are counted")
    at_a = lab.instance("a")["serves"]
    lab.kill_server("a")
    told = c.all_kept()
    need(at_a > 0 and lab.vip()["promoted"] >= at_a, "%d were on a: %s" % (at_a, lab.vip()["promoted"]))
    need(lab.counts("b")["reflected-bytes"] > before["b"]["reflected-bytes"], "b kept its bytes at home")
    need("aligned" in lab.sundog("vips")[1] and lab.events("aligned"), "people see it")
    return told


def without_a_shim_on_one_server_it_is_translated():  # I9
    both()
    lab.mode_is("aligned")
    lab.agents.pop("b").end()
    lab.mode_is("translated", "fallen silent")
    lab.without_shim("b")
    need("bpf" not in sh("tc", "-n", lab.ns("b"), "filter", "show", "dev", "s0", "ingress"), "no program is left")
    lab.agent("b", shim=False)
    lab.mode_is("translated", "b: its agent loads no shim")
    c = base.Client()
    wait_for(lambda: lab.vip()["protected"] >= c.connections, 5, "protected: %s" % lab.vip())
    need(not any(r["is_aligned"] for r in lab.ask("conns")[1] if r["state"] == "protected"), "none is aligned")
    lab.kill_server("a")
    told = c.all_kept()
    need("its agent loads no shim" in lab.sundog("vips")[1] and lab.events("translated"), "people see why")
    return told


def what_a_server_cannot_is_told():
    both()
    lab.agent("b", key="other")
    lab.mode_is("translated", "compare its shim_services and shim_key_file")
    need(lab.who() in ("a", "b"), "it serves, translated")
    lab.agent("b")
    lab.mode_is("aligned")
    sh("ip", "netns", "exec", lab.ns("a"), "sysctl", "-qw", "net.ipv4.tcp_syncookies=0")
    try:
        lab.agent("a")
        lab.mode_is("translated", "tcp_syncookies is 0")
        need(any("tcp_syncookies" in line for line in lab.agents["a"].told), "one clear sentence: %s" % lab.agents["a"].told)
        need(lab.who() in ("a", "b"), "it serves, translated")
    finally:
        sh("ip", "netns", "exec", lab.ns("a"), "sysctl", "-qw", "net.ipv4.tcp_syncookies=1")
    lab.agent("a")
    lab.mode_is("aligned")


def a_lost_carrier_moves_aligned_connections():  # I9
    both()
    lab.mode_is("aligned")
    c = base.Client()
    wait_for(lambda: lab.instance("a")["serves"] + lab.instance("b")["serves"] == c.connections, 5, "all are counted")
    at_a = lab.instance("a")["serves"]
    need(at_a > 0 and all(r["is_aligned"] for r in lab.ask("conns")[1] if r["state"] == "protected"), "aligned, on both")
    sh("ip", "-n", lab.ns("a"), "link", "set", "s0", "down")
    try:
        told = c.all_kept()
    finally:
        sh("ip", "-n", lab.ns("a"), "link", "set", "s0", "up")
        sh("ip", "-n", lab.ns("a"), "route", "replace", "default", "via", "10.80.1.1")
    need([e for e in lab.events("promoted-dead") if e["from"] == "a"], "by the carrier: %s" % lab.events("promoted"))
    return told + "; %d were on a" % at_a


if __name__ == "__main__":
    probe = subprocess.run((SHIM, "probe"), capture_output=True, text=True)
    if probe.returncode:
        print("1..0 # SKIP", probe.stderr.strip())
        sys.exit(0)
    tests = [killing_a_server_of_an_aligned_vip_loses_no_connection, without_a_shim_on_one_server_it_is_translated,
             what_a_server_cannot_is_told, a_lost_carrier_moves_aligned_connections]
    with Stage("a2x") as lab:
        base.lab = lab
        sys.exit(run(*[t for t in tests if not WORDS or any(w in t.__name__ for w in WORDS)]))
