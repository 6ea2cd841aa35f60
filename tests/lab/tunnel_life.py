#!/usr/bin/env python3
"""A tunnel between two gateways, its processes killed, its paths cut, its configuration wrong.

Usage: tunnel_life.py TUNNEL_DRIVER
"""
import os
import re
import signal
import subprocess
import sys
import time

from lab import Failed, Lab, Stream, need, run, sh, wait_for, words

DRIVER = os.path.abspath(sys.argv[1])
A, B = "10.9.0.1", "10.9.0.2"


class Pair(Lab):
    """Gateways a and b, joined by the cables fiber and lte."""

    def __init__(self, mtu=1500):
        super().__init__("hd")
        self.mtu = mtu

    def __enter__(self):
        self.a, self.b = self.netns("a"), self.netns("b")
        self.cable(self.a, self.b, ("fiber0", "fiber0"), ("10.1.0.1/24", "10.1.0.2/24"), self.mtu)
        self.cable(self.a, self.b, ("lte0", "lte0"), ("10.2.0.1/24", "10.2.0.2/24"), self.mtu)
        self.key_write("key", 0o600)
        return self

    def key_write(self, name, mode):
        with open(self.path(name), "w") as f:
            f.write(os.urandom(32).hex() + "\n")
        os.chmod(self.path(name), mode)

    def arguments(self, end, **change):
        me, other, far = ("1", "2", "2") if end == "a" else ("2", "1", "1")
        want = {"pins": self.path("pins-" + end), "netns": self.a if end == "a" else self.b, "device": "sd0",
                "address": "10.9.0.%s/30" % me, "number": me, "far": far, "port": "4754", "key": self.path("key"),
                "subset": "3", "seconds": "100",
                "path": ["fiber,fiber0,-,10.1.0." + other, "lte,lte0,-,10.2.0." + other]}
        want.update(change)
        out = [DRIVER]
        for option, value in want.items():
            for one in value if isinstance(value, list) else [value]:
                out += ["--" + option, one]
        return out

    def gateway(self, end, **change):
        return self.start(*self.arguments(end, **change))

    def both(self, **change):
        a, b = self.gateway("a", **change), self.gateway("b", **change)
        return a, b, words(a.expect("ready")), words(b.expect("ready"))

    def refusal(self, end="a", **change):
        """The sentence with which a gateway does not start."""
        p = self.gateway(end, **change)
        line = p.expect("error")
        need(p.process.wait(10) != 0, "it must end with a failure")
        return line

    def ping(self, size=56, count=3):
        out = sh("ip", "netns", "exec", self.a, "ping", "-c", str(count), "-i", "0.05", "-W", "1", "-s", str(size), B,
                 check=False)
        return int(re.search(r"(\d+) received", out).group(1))


def traffic_goes_through_the_tunnel_twice_and_arrives_once():  # O8 O9 O10
    with Pair() as lab:
        a, b, ready, _ = lab.both()
        need(ready["adopted"] == "0" and ready["mtu"] == "1440" and ready["mode"] == "1", "fresh, 1500 - 60, native")
        need(lab.ping() == 3 and lab.ping(1412) == 3, "pings of both sizes come back")
        need(lab.ping(3000) == 3, "a ping larger than the device fragments inside")
        sent, lost, twice = Stream(lab, lab.a, lab.b, B, 1).result()
        need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
        at_b = words(b.ask("read", "path0").split("path1")[0])
        need(int(at_b["first"]) + int(at_b["duplicate"]) >= sent, "path 0 carried every packet: %s" % at_b)
        server = lab.start("iperf3", "-s", "-1", "--forceflush", netns=lab.b)
        server.expect("Server listening")
        out = sh("ip", "netns", "exec", lab.a, "iperf3", "-c", B, "-t", "2", "-f", "m")
        rate = float(re.findall(r"([\d.]+) Mbits/sec", out)[-1])
        need(rate > 100, "TCP goes through: %g Mbit/s" % rate)
        return "TCP over two mirrored paths: %.0f Mbit/s; %d datagrams, 0 lost, 0 twice" % (rate, sent)


def the_decider_has_no_privilege_and_cannot_make_a_map():
    with Pair() as lab:
        a = lab.gateway("a")
        pid = words(a.expect("ready"))["pid"]
        with open("/proc/%s/status" % pid) as f:
            status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        need(all(int(x) != 0 for x in status["Uid"].split()), "uid " + status["Uid"])
        need(all(int(x) != 0 for x in status["Gid"].split()), "gid " + status["Gid"])
        need(all(int(x) != 0 for x in status.get("Groups", "").split()), "groups " + status["Groups"])
        for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            need(int(status[cap], 16) == 0, "%s %s" % (cap, status[cap]))
        need(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", "no_new_privs and a system call filter")
        tried = words(a.ask("privileges", "map="))
        need(tried["map"].startswith("-1/"), "no BPF map: %s" % tried)
        need(tried["packet"].startswith("-1/") and tried["root"] == "-1" and tried["shadow"] == "-1",
             "no packet socket, no root, no foreign file: %s" % tried)
        need(int(tried["exec"]) == 1, "no other program: %s" % tried)
        need(int(tried["lo"]) == -13, "hands refuses a device that the configuration does not name: %s" % tried)
        return "kernel.unprivileged_bpf_disabled=%s" % sh("sysctl", "-n", "kernel.unprivileged_bpf_disabled").strip()


def a_decider_taken_over_gets_nothing_from_hands():
    with Pair() as lab:
        a = lab.gateway("a")
        pid = words(a.expect("ready"))["pid"]
        got = words(a.ask("garbage", "answered="))
        need(got["answered"] == "10000" and got["accepted"] == "0" and got["refused"] == "10000",
             "10,000 random requests: each answered, refused and counted: %s" % got)
        told = [line for line in a.told if "event=refused" in line]
        need(0 < len(told) < 20, "and told in few lines: %d" % len(told))
        got = words(a.ask("greed", "memory="))
        need(got["memory"] == "-28", "no more memory than the policy's: %s" % got)
        need([got[x] for x in ("network", "route", "port", "devices")] == ["-13"] * 4,
             "no other network, route, port, and no map that names devices: %s" % got)
        need("pid %s " % pid in a.ask("pid", "pid"), "and goes on with the same decider")


def the_decider_killed_loses_nothing_and_comes_back():  # P12 P17
    with Pair() as lab:
        a, b, ready, _ = lab.both()
        stream = Stream(lab, lab.a, lab.b, B, 4)
        time.sleep(0.5)
        os.kill(int(ready["pid"]), signal.SIGKILL)
        again = words(a.expect("ready"))
        need(int(again["adopted"]) >= 15, "pins adopted: %s" % again)
        need(again["pid"] != ready["pid"] and again["subset"] == "3", "another process, the same steering: %s" % again)
        a.ask("steer 0 2", "steered 2")
        os.kill(int(again["pid"]), signal.SIGKILL)
        again = words(a.expect("ready"))
        need(again["subset"] == "2", "what was steered last is still so: %s" % again)
        a.ask("steer 0 1", "steered 1")
        sent, lost, twice = stream.result()
        need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
        return "%d sent, 0 lost, 0 twice over two kills and two moves" % sent


def hands_killed_loses_nothing_and_a_restart_adopts():  # P12 P17
    with Pair() as lab:
        a, b, ready, ready_b = lab.both()
        stream = Stream(lab, lab.a, lab.b, B, 5)
        time.sleep(0.5)
        for gateway, pid in ((a, ready["pid"]), (b, ready_b["pid"])):
            gateway.process.kill()
            wait_for(lambda: not os.path.exists("/proc/%s/fd" % pid), 5, "the decider of a dead hands ends")
        time.sleep(0.5)
        a, b, ready, _ = lab.both()
        need(int(ready["adopted"]) >= 15, "pins adopted: %s" % ready)
        a.ask("steer 0 2", "steered 2")
        sent, lost, twice = stream.result()
        need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
        return "%d sent, 0 lost, 0 twice with nobody running for half a second" % sent


def steering_and_a_cut_cable_lose_nothing():  # P12 O10
    with Pair() as lab:
        a, b, _, _ = lab.both()
        stream = Stream(lab, lab.a, lab.b, B, 4)
        for subset in (1, 3, 2, 3, 1, 2, 3):
            a.ask("steer 0 %d" % subset, "steered")
            time.sleep(0.1)
        # Mirrored: the other copy arrives.
        sh("ip", "-n", lab.b, "link", "set", "fiber0", "down")
        time.sleep(0.5)
        a.ask("steer 0 2", "steered 2")
        sh("ip", "-n", lab.b, "link", "set", "fiber0", "up")
        sent, lost, twice = stream.result()
        need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
        return "%d sent, 0 lost, 0 twice over eight moves and a cut" % sent


def the_key_rotates_under_traffic():
    with Pair() as lab:
        a, b, _, _ = lab.both()
        stream = Stream(lab, lab.a, lab.b, B, 3)
        for epoch in (1, 2, 3):
            for gateway in (a, b):
                gateway.ask("accept %d" % epoch, "accepting")
            for gateway in (a, b):
                gateway.ask("send %d" % epoch, "sending")
            time.sleep(0.2)
        refused = a.ask("send 5", "error")
        need("by ones" in refused, refused)
        sent, lost, twice = stream.result()
        need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))


def another_key_at_the_far_end_delivers_nothing():
    with Pair() as lab:
        lab.key_write("other", 0o600)
        a = lab.gateway("a")
        b = lab.gateway("b", key=lab.path("other"))
        a.expect("ready")
        b.expect("ready")
        need(lab.ping() == 0, "nothing comes back")
        need("the tag is wrong" in b.ask("read", "path0"), "and it is counted")


def a_change_of_sizes_replaces_maps_under_traffic():
    with Pair() as lab:
        a, b, _, _ = lab.both()
        said = ""
        # First the windows alone, then all that is counted by class, sequences among it.
        for change in ({"window": "8192"}, {"window": "8192", "classes": "32"}):
            before = int(words(a.ask("class 0", "class0"))["next"])
            stream = Stream(lab, lab.a, lab.b, B, 5)
            wait_for(lambda: int(words(a.ask("class 0", "class0"))["next"]) > before + 500, 5, "the stream flows")
            for gateway in (a, b):
                gateway.ask("quit", "bye")
                gateway.process.wait(10)
            a, b, ready, _ = lab.both(**change)
            need(int(ready["adopted"]) > 0 and ready["subset"] == "3", "what can be is adopted: %s" % ready)
            need(int(words(a.ask("class 0", "class0"))["next"]) > before + 500, "the sequence goes up")
            # Devices are swapped one after the other: between two swaps, two windows see one copy each.
            sent, lost, twice = stream.result()
            need(lost == 0 and twice < 200, "%s: %d sent, %d lost, %d twice" % (change, sent, lost, twice))
            said += "%s: %d sent, %d lost, %d twice\n" % (change, sent, lost, twice)
        return said


def a_foreign_program_is_refused_by_name_and_left_alone():
    with Pair() as lab:
        sh("ip", "-n", lab.a, "link", "set", "dev", "fiber0", "xdp", "obj", lab.foreign_program(), "sec", "xdp")
        before = re.search(r"prog/xdp id (\d+)", sh("ip", "-n", lab.a, "link", "show", "fiber0")).group(1)
        line = lab.refusal()
        for part in ("fiber0", "program " + before, "is not ours", "xdp off"):
            need(part in line, "%s lacks %s" % (line, part))
        after = re.search(r"prog/xdp id (\d+)", sh("ip", "-n", lab.a, "link", "show", "fiber0")).group(1)
        need(before == after, "it is still there")
        return line


def bad_configurations_get_a_sentence():
    with Pair() as lab:
        lab.key_write("open", 0o644)
        with open(lab.path("short"), "w") as f:
            f.write("abc\n")
        os.chmod(lab.path("short"), 0o600)
        other = ["fiber,fiber0,-,10.1.0.2", "twin,fiber0,-,10.1.0.2"]
        rows = (
            ({"key": lab.path("open")}, ("open", "others than its owner", "chmod 600")),
            ({"key": lab.path("short")}, ("32 bytes", "openssl rand")),
            ({"key": lab.path("missing")}, ("missing", "No such file")),
            ({"path": ["fiber,eth77,-,10.1.0.2"]}, ("eth77", "does not exist")),
            ({"path": other}, ("twin", "fiber0", "path fiber already")),
            ({"far": "1"}, ("number 1 at both ends",)),
            ({"path": ["fiber,fiber0,-,10.1.0.77"]}, ("10.1.0.77", "does not answer")),
            ({"path": ["fiber,fiber0,-,10.1.0.1"]}, ("10.1.0.1", "own address")),
            ({"window": "1000"}, ("window 1000", "power of two")),
        )
        for change, parts in rows:
            line = lab.refusal(**change)
            for part in parts:
                need(part in line, "%s: \"%s\" lacks \"%s\"" % (change, line, part))
        sh("ip", "-n", lab.a, "link", "add", "sd9", "type", "veth", "peer", "name", "sd9p")
        line = lab.refusal(device="sd9")
        need("not ours" in line, line)


def where_native_is_refused_generic_works_and_is_told():
    with Pair(mtu=9000) as lab:
        a, b = lab.gateway("a"), lab.gateway("b")
        note = a.expect("note")
        need("fiber0" in note and "generic" in note and "9000" in note, note)
        ready = words(a.expect("ready"))
        b.expect("ready")
        need(ready["mode"] == "2" and ready["mtu"] == "8940", "the tunnel device follows: %s" % ready)
        need(lab.ping() == 3 and lab.ping(8000) == 3, "packets pass, jumbo ones too")
        return note


def the_mtu_follows_the_smallest_path_and_a_busy_path_stays():
    with Pair() as lab:
        a, b, _, _ = lab.both()
        for ns in (lab.a, lab.b):
            sh("ip", "-n", ns, "link", "set", "lte0", "mtu", "1400")
        line = a.ask("refresh 1", "refreshed")
        need(line == "refreshed 1 mtu=1340", line)
        need(a.ask("refresh 1", "refreshed") == "refreshed 0 mtu=1340", "once is enough")
        need("mtu 1340" in sh("ip", "-n", lab.a, "link", "show", "sd0"), "the device has it")
        need("steer it away first" in a.ask("drop 1", "error"), "a path in use is not removed")
        a.ask("steer 0 1", "steered")
        a.ask("drop 1", "dropped")
        need("is not set" in a.ask("steer 0 2", "error"), "no steering to a path that is gone")
        need("mtu 1440" in sh("ip", "-n", lab.a, "link", "show", "sd0"), "the MTU grows back")
        need(lab.ping() == 3, "the other one carries on")


def two_tunnels_on_one_host_do_not_disturb_each_other():
    with Pair() as lab:
        # a has a tunnel to b and one to c; each with its own key; both over devices that they share.
        c = lab.netns("c")
        lab.cable(lab.a, c, ("to-c0", "up0"), ("10.3.0.1/24", "10.3.0.2/24"))
        lab.key_write("key-c", 0o600)
        extra = ["--device", "sd1", "--address", "10.9.1.1/30", "--number", "5", "--far", "7", "--key",
                 lab.path("key-c"), "--path", "third,to-c0,-,10.3.0.2"]
        a = lab.start(*(lab.arguments("a", subset="1") + extra))
        b = lab.gateway("b", subset="3")
        third = lab.start(*(lab.arguments("b", subset="1", netns=c, pins=lab.path("pins-c"), address="10.9.1.2/30",
                                          number="7", far="5", key=lab.path("key-c"), path=["up,up0,-,10.3.0.1"])))
        ready = words(a.expect("ready"))
        b.expect("ready")
        third.expect("ready")
        one = Stream(lab, lab.a, lab.b, B, 3, 2000)
        two = Stream(lab, lab.a, c, "10.9.1.2", 3, 2000)
        back = Stream(lab, c, lab.a, "10.9.1.1", 3, 2000)
        time.sleep(0.3)
        a.ask("tunnel 0", "tunnel")
        a.ask("steer 0 2", "steered")
        os.kill(int(ready["pid"]), signal.SIGKILL)
        need(words(a.expect("ready"))["subset"] == "2", "the first is steered as before")
        for name, stream in (("to b", one), ("to c", two), ("from c", back)):
            sent, lost, twice = stream.result()
            need(sent > 0 and (lost, twice) == (0, 0), "%s: %d sent, %d lost, %d twice" % (name, sent, lost, twice))
        a.ask("tunnel 1", "tunnel sd1")
        a.ask("remove", "removed")
        need(lab.ping() == 3, "the first one goes on without the second")


def an_underlay_that_comes_back_is_used_again():
    with Pair() as lab:
        a, b, _, _ = lab.both()
        stream = Stream(lab, lab.a, lab.b, B, 3)
        sh("ip", "-n", lab.a, "link", "del", "fiber0")
        need("fiber0 does not exist" in a.ask("refresh 0", "error"), "gone is told")
        lab.cable(lab.a, lab.b, ("fiber0", "fiber0"), ("10.1.0.1/24", "10.1.0.2/24"))
        for gateway in (a, b):
            need(gateway.ask("refresh 0", "refreshed").startswith("refreshed 1"), "and back")
        before = int(words(b.ask("read", "path0").split("path1")[0])["sent"])
        need(lab.ping() == 3, "pings pass")
        after = words(b.ask("read", "path0").split("path1")[0])
        need(int(after["sent"]) >= before + 3 and int(after["first"]) + int(after["duplicate"]) > 0,
             "the path is used in both directions again: %s" % after)
        sent, lost, twice = stream.result()
        need((lost, twice) == (0, 0), "the other path carried all: %d sent, %d lost, %d twice" % (sent, lost, twice))


def a_path_that_is_not_there_yet_is_used_when_it_comes():
    with Pair() as lab:
        sh("ip", "-n", lab.a, "link", "del", "lte0")
        more = {"patient": "100", "subset": "1"}
        paths = ["fiber,fiber0,-,10.1.0.%s", "lte,lte0,-,10.2.0.%s"]
        a = lab.gateway("a", path=[p % "2" for p in paths], **more)
        b = lab.gateway("b", path=[p % "1" for p in paths], **more)
        need("lte0 does not exist" in a.expect("note"), "what is missing is told")
        a.expect("ready")
        b.expect("ready")
        need(lab.ping() == 3, "the other path works meanwhile")
        need("cannot send yet" in a.ask("steer 0 3", "error"), "and this one is not steered to")
        lab.cable(lab.a, lab.b, ("lte0", "lte0"), ("10.2.0.1/24", "10.2.0.2/24"))
        for gateway in (a, b):
            need(gateway.ask("refresh 1", "refreshed").startswith("refreshed 1"), "it has come")
            gateway.ask("steer 0 2", "steered 2")
        need(lab.ping() == 3, "and carries")


def a_gateway_learns_where_the_other_one_is():
    with Pair() as lab:
        # b does not know a's addresses: authentic packets tell.
        a = lab.gateway("a")
        b = lab.gateway("b", path=["fiber,fiber0,-,-", "lte,lte0,-,-"], subset="0")
        a.expect("ready")
        b.expect("ready")
        lab.ping(count=40)  # second copies are looked at 1 in 16: enough for both paths
        got = b.ask("learn 0", "learned")
        need(got == "learned 1", "path 0 learned: %s; %s" % (got, b.ask("read", "path0")))
        need(b.ask("learn 1", "learned") == "learned 1", "path 1 learned")
        need(b.ask("learn 0", "learned") == "learned 0", "nothing new")
        need("unknown" not in b.ask("steer 0 3", "steered"), "and can be steered over")


def removing_leaves_nothing_behind():  # O15
    with Pair() as lab:
        a = lab.gateway("a")
        a.expect("ready")
        need(os.listdir(lab.path("pins-a") + "/tunnel-sd0"), "pins are there")
        a.ask("remove", "removed")
        need(not os.path.exists(lab.path("pins-a") + "/tunnel-sd0"), "and gone")
        need("sd0" not in sh("ip", "-n", lab.a, "link", "show"), "the device too")
        need(os.stat(lab.path("pins-a")).st_mode & 0o777 == 0o700, "the folder is root's alone")


if __name__ == "__main__":
    sys.exit(run(
        traffic_goes_through_the_tunnel_twice_and_arrives_once,
        the_decider_has_no_privilege_and_cannot_make_a_map,
        a_decider_taken_over_gets_nothing_from_hands,
        the_decider_killed_loses_nothing_and_comes_back,
        hands_killed_loses_nothing_and_a_restart_adopts,
        steering_and_a_cut_cable_lose_nothing,
        the_key_rotates_under_traffic,
        another_key_at_the_far_end_delivers_nothing,
        a_change_of_sizes_replaces_maps_under_traffic,
        a_foreign_program_is_refused_by_name_and_left_alone,
        bad_configurations_get_a_sentence,
        where_native_is_refused_generic_works_and_is_told,
        the_mtu_follows_the_smallest_path_and_a_busy_path_stays,
        two_tunnels_on_one_host_do_not_disturb_each_other,
        an_underlay_that_comes_back_is_used_again,
        a_path_that_is_not_there_yet_is_used_when_it_comes,
        a_gateway_learns_where_the_other_one_is,
        removing_leaves_nothing_behind,
    ))
