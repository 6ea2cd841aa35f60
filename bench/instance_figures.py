#!/usr/bin/env python3
"""The figures of the instance kind that need the whole system: see bench/instance.sh, which starts this."""
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SUNDOG_SOURCE"], "lab"))

from instances import Client, Failed, Stage, Sundog, UPLOAD, many, sh, short, wait_for  # noqa: E402

RUNS = int(os.environ.get("RUNS", 3))
ROUNDS = int(os.environ.get("ROUNDS", 5))
SECONDS = float(os.environ.get("SECONDS_PER", 20))
CONNECTIONS = int(os.environ.get("CONNECTIONS", 1000))
FAILURES = ("crash", "link", "blackhole", "hang")
UNIT = {"kept": "share", "stall": "ms", "ratio": "ratio", "false": "promotions", "diverged": "KiB",
        "guard": "evictions", "cost": "ns"}
FIGURES = {"kept": ["kept_" + f for f in FAILURES],
           "stall": ["stall_crash_ms", "stall_link_ms", "stall_probe_ms", "stall_hang_ms", "planned_stall_ms"],
           "ratio": ["protected_of_nat_down", "protected_of_nat_up"], "false": ["false_promotions"],
           "diverged": ["diverged_caught_kib"], "guard": ["false_evictions"],
           "cost": ["program_ns_plain", "program_ns_protected"]}


def figure(name, unit, values, say=""):
    """The median of the values is the figure; or the only one."""
    value = statistics.median(values)
    print("%-36s %12.4g %-10s %s" % ("instance." + name, value, unit, say), file=sys.stderr)
    print(json.dumps({"figure": "instance." + name, "value": round(value, 4), "unit": unit, "min": round(min(values), 4),
                      "max": round(max(values), 4), "runs": len(values)}, separators=(",", ":")), flush=True)


def void(name, unit, why):
    print("%-36s %12s %-10s %s" % ("instance." + name, "-", "", why), file=sys.stderr)
    print(json.dumps({"figure": "instance." + name, "value": None, "unit": unit, "why": str(why)[:300]},
                     separators=(",", ":")), flush=True)


def kept(stage, front):
    """Connections that were open when the server broke and went on to the last byte / those open. All failures first;
    the control is the same with protect: never."""
    held = {"connections": CONNECTIONS, "bytes": 600000, "rate": "80kB", "buffer": "16kB", "mark": 0.35, "limit_s": 60,
            "patience": "5s"}
    found = many(stage, front, FAILURES, RUNS, **held)
    counted = next(r for r in front.ask("vips")[1] if r["vip"] == "kept-80")["events"]
    print("  " + " ".join("%s=%d" % (w, n) for w, n in counted.items() if n), file=sys.stderr)
    for name, f in found.items():
        if name == "none":
            continue
        share = f["kept"] / f["connections"]
        figure("kept_" + name, "share", [share], "%d of %d in %d runs, longest gap p95 %.0f ms%s" % (
            f["kept"], f["connections"], f["runs"], f["gap_p95_ms"] or 0, "; " + f["errors"][0] if f["errors"] else ""))
    front.target = front.plain
    try:
        f = many(stage, front, ("crash",), 1, **held)["crash"]
    finally:
        front.target = Sundog.target
    print("%-36s %12.4g %-10s %s" % ("  as plain NAT, crash", f["kept"] / f["connections"], "share", "the control"),
          file=sys.stderr)


def stall(stage, front):
    """20 clients that ask every 5 ms: nothing is buffered anywhere that could hide a pause."""
    asked = {"connections": 20, "bytes": 1000, "requests": 400, "pause": "5ms", "limit_s": 30, "window": "1s"}
    names = {"crash": "stall_crash_ms", "link": "stall_link_ms", "blackhole": "stall_probe_ms", "hang": "stall_hang_ms",
             "planned": "planned_stall_ms"}
    found = many(stage, front, FAILURES + ("planned",), max(RUNS, 3), **asked)
    for name, to in names.items():
        f = found[name]
        if f["kept"] < f["connections"] or f["stall_p95_ms"] is None:
            void(to, "ms", "%d of %d lost: %s" % (f["lost"], f["connections"], f["errors"]))
        else:
            figure(to, "ms", [f["stall_p95_ms"]], "p95 %.1f ms, without failure %.1f, of %d waits" % (
                f["gap_p95_ms"], found["none"]["gap_p95_ms"], f["connections"]))


def throughput(stage, target, is_upload):
    """Bytes a second of ten connections at full speed."""
    more = {"port": UPLOAD, "upload": True} if is_upload else {}
    r = Client(stage, target, connections=10, bytes=30000000 if is_upload else 60000000, limit_s=40, **more).result()
    if r["kept"] < r["connections"]:
        raise Failed("not all came through: %s" % short(r))
    return r["bytes"] / r["seconds"]


def ratio(stage, front):
    """Protected and plain in turn, the same program; the median of the ratios of neighbours."""
    for name, is_upload in (("protected_of_nat_down", False), ("protected_of_nat_up", True)):
        throughput(stage, front.plain[4], is_upload)
        ratios, speeds = [], []
        for _ in range(ROUNDS):
            plain = throughput(stage, front.plain[4], is_upload)
            protected = throughput(stage, front.target[4], is_upload)
            ratios.append(protected / plain)
            speeds.append(protected)
        figure(name, "ratio", ratios, "protected %.0f MB/s" % (statistics.median(speeds) / 1e6))


def promoted(front):
    rows = [r for r in front.ask("vips")[1] if r["vip"].startswith("kept")]
    return sum(n for r in rows for word, n in r["events"].items() if word.startswith("promoted"))


def false(stage, front):
    """wrk over kept-alive connections, nothing is broken: nobody may be promoted."""
    before = promoted(front)
    wrk = subprocess.run(stage.run_in("cl", "wrk", "-t", "1", "-c", "100", "-d", "%ds" % SECONDS,
                                      "http://%s/small" % front.target[4]), capture_output=True, text=True, timeout=SECONDS + 60)
    errors = re.search(r"Socket errors: (.*)", wrk.stdout)
    rate = re.search(r"Requests/sec: *([0-9.]+)", wrk.stdout)
    time.sleep(1.5)  # counters are those of the last scan, at most a second old
    figure("false_promotions", "promotions", [promoted(front) - before], "in %.0f s of wrk, %s requests/s, socket errors: %s" % (
        SECONDS, rate.group(1) if rate else "?", errors.group(1) if errors else "none"))


def diverged(stage, front):
    """One byte differs at the standby, at many places of the body, one after another: how much of the stream does
    the front let pass, counted from that byte to the eviction? The client must see A's bytes only."""
    caught = []
    for server in ("b", "c"):
        stage.servers[server].end()
    try:
        for at in (20000, 70000, 200000):
            for server in ("b", "c"):
                s = stage.servers[server]
                s.end()
                s.root = os.path.join(s.folder, "files-%d" % at)
                os.makedirs(s.root)
                sh("cp", stage.path("files/pattern"), s.root)
                with open(os.path.join(s.root, "pattern"), "r+b") as f:
                    f.seek(at)
                    byte = f.read(1)
                    f.seek(at)
                    f.write(bytes([byte[0] ^ 1]))
                os.utime(os.path.join(s.root, "pattern"), (1e9, 1e9))
                s.start()
            front.ready()
            caught.append(diverged_once(stage, front, at))
    finally:
        for server in ("b", "c"):
            s = stage.servers[server]
            s.end()
            s.root = stage.path("files")
            s.start()
    figure("diverged_caught_kib", "KiB", caught, "from the wrong byte to the eviction, three places; at worst %.0f" % max(caught))


def evicted(front):
    return next(r for r in front.ask("vips")[1] if r["vip"] == "kept-80")["events"]["evicted-content"]


def diverged_once(stage, front, at):
    """A download so slow that the age of a counter, up to a second, is less than 40 KiB: what the client had had when
    it moved, its kernel's small buffer included, less where the byte is."""
    before, series, bite = evicted(front), stage.path("diverged.csv"), 16384
    client = Client(stage, front.target[4], connections=1, bytes=400000, rate="40kB", buffer="%dB" % (bite // 2),
                    series=series, limit_s=30, file_bytes="400000B")
    began = time.monotonic()
    wait_for(lambda: evicted(front) > before, 15, "the standby with another byte %d is put off" % at)
    slots = int((time.monotonic() - began) * 10)
    r = client.result()
    if r["kept"] != 1:
        raise Failed("the client received another mind's bytes: %s" % short(r))
    with open(series) as f:
        got = sum(int(line.split(",")[1]) for line in f.read().splitlines()[1:slots + 2])
    return max(0, got + bite - at) / 1024


def guard(stage, front):
    """Equal servers: wrk, then connections of one answer each. In which second it is made is up to each server."""
    before = evicted(front)
    subprocess.run(stage.run_in("cl", "wrk", "-t", "1", "-c", "100", "-d", "%ds" % SECONDS,
                                "http://%s/small" % front.target[4]), capture_output=True, timeout=SECONDS + 60)
    until, closed = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        closed += Client(stage, front.target[4], connections=100, bytes=400000, limit_s=40, close=True).result()["kept"]
    time.sleep(1.5)  # as in false
    figure("false_evictions", "evictions", [evicted(front) - before],
           "in %.0f s of wrk and %d connections of one answer" % (SECONDS, closed))


def programs():
    """(ns, runs) of the front's programs in tc, all there are on this machine."""
    rows = [p for p in json.loads(sh("bpftool", "-j", "prog", "show")) if p.get("name", "").startswith("instance_tc_")]
    return sum(p.get("run_time_ns", 0) for p in rows), sum(p.get("run_cnt", 0) for p in rows)


def cost(stage, front):
    """What the program takes a run, downloads at full speed, segments of up to 64 KiB."""
    was = sh("sysctl", "-n", "kernel.bpf_stats_enabled").strip()
    sh("sysctl", "-qw", "kernel.bpf_stats_enabled=1")
    try:
        for name, target in (("program_ns_plain", front.plain), ("program_ns_protected", front.target)):
            each = []
            for _ in range(ROUNDS):
                before = programs()
                throughput(stage, target[4], False)
                after = programs()
                each.append((after[0] - before[0]) / max(1, after[1] - before[1]))
            figure(name, "ns", each, "a run, %d downloads" % (10 * ROUNDS))
    finally:
        sh("sysctl", "-qw", "kernel.bpf_stats_enabled=" + was)


BENCHES = {"kept": kept, "stall": stall, "ratio": ratio, "false": false, "diverged": diverged, "guard": guard, "cost": cost}


def main():
    wanted = sys.argv[1:] or list(BENCHES)
    for name in wanted:
        if name not in BENCHES:
            print("instance.sh: \"%s\" is none of %s" % (name, " ".join(BENCHES)), file=sys.stderr)
            return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))

    def void_all(why):
        for name in wanted:
            for f in FIGURES[name]:
                void(f, UNIT[name], why)
    if os.geteuid() != 0:
        void_all("namespaces need root")
        return 0
    status = 0
    for name in wanted:
        # Throughput is bound by neither side's buffers; what is held must not hide in them.
        try:
            with Stage(buffer="" if name in ("ratio", "cost") else "64k") as stage:
                with open(stage.path("files/small"), "wb") as f:
                    f.write(b"x" * 1000)
                os.utime(stage.path("files/small"), (1e9, 1e9))
                front = Sundog(stage)
                try:
                    front.ready()
                    BENCHES[name](stage, front)
                finally:
                    front.end()
        except (Failed, OSError, subprocess.SubprocessError) as why:
            status = 1
            for f in FIGURES[name]:
                void(f, UNIT[name], why)
    return status


if __name__ == "__main__":
    sys.exit(main())
