#!/usr/bin/env python3
"""What sundogd and sundog do with what is wrong: a sentence, an exit status, a counted reason, and no crash.

Usage: daemon_bad.py SUNDOGD SUNDOG LINKEMU
"""
import glob
import gzip
import os
import re
import socket
import sys
import time

from gateways import Gateways
from lab import need, run, sh, wait_for

PROGRAMS = [os.path.abspath(p) for p in sys.argv[1:4]]
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
lab = None


def both():
    lab.calm()
    lab.both()


def wrong_words_are_refused_by_line_and_column():
    for old, new, words in (
            ("stamp_busy:", "stampbusy:", ["unknown key", "stamp_busy"]),
            ("latency: 150ms", "latency: 150", ["150", "unit"]),
            ("latency: 150ms", "latency: 150MB", ["150MB"]),
            ("loss: 30%", "loss: 130%", ["130%"]),
            ("device: u1, local: 10.78.1.1, remote: 10.78.1.2", "device: u0, local: 10.78.0.1, remote: 10.78.0.2",
             ["p0", "p1"]),
            ("peer: site-b", "peer: site-a", ["site-a"]),
            ("profile: voice", "profile: vioce", ["no profile", "vioce"]),
            ("remote: 10.78.1.2", "remote: 10.78.1.256", ["10.78.1.256"])):
        file = lab.configure("a", change={old: new})
        status, line = lab.refusal()
        need(status == 5, "%s: sundogd ends with 5, not %d: %s" % (new, status, line))
        need("a.yaml:" in line and all(w in line for w in words), "%s: %s" % (new, line))
        code, _, said = lab.sundog("check", file)
        need(code == 5 and all(w in said for w in words), "check says the same: %s" % said)


def trees_that_are_not_fit_are_told_and_the_logistic_forecasts_alone():
    # P13: a damaged model must not decide; the daemon goes on without it.
    with open(os.path.join(SOURCE, "data", "models", "path.model"), "rb") as f:
        good = f.read()
    cut, bit, version = lab.path("cut.model"), lab.path("bit.model"), lab.path("version.model")
    for name, content in ((cut, good[:3000]), (bit, good[:9000] + bytes([good[9000] ^ 1]) + good[9001:]),
                          (version, good[:11] + b"\x02" + good[12:])):
        with open(name, "wb") as f:
            f.write(content)
    said = []
    for name in (cut, bit, version, lab.path("nowhere.model")):
        file = lab.configure("a")
        with open(file, "a") as f:
            f.write("forecast: {model: %s, retrain: no}\n" % name)
        lab.sundogd("a")
        status = lab.alive()
        need(any(name in n and "trees are not used" in n for n in status["notes"]), str(status["notes"]))
        need(not status["forecasters"]["has_trees"] and name in status["forecasters"]["refused"], str(status["forecasters"]))
        said.append([n for n in status["notes"] if name in n][0])
        lab.stop("a")
    for words, why in (("model: relative", "absolute"), ("retrain: maybe", "maybe"), ("retrain_cpu: 200%", "200%"),
                       ("retrain_every: 1s", "1s"), ("modle: /x", "modle")):
        file = lab.configure("a")
        with open(file, "a") as f:
            f.write("forecast: {%s}\n" % words)
        status, line = lab.refusal()
        need(status == 5 and why in line, "%s: %d, %s" % (words, status, line))
    return "\n".join(said)


def key_files_are_looked_at():
    wrong = {
        "absent": lab.path("nothing-here"),
        "open": lab.key("open", 0o644),
        "folder": lab.path("a"),
        "short": lab.key("short"),
        "text": lab.key("text"),
    }
    with open(wrong["short"], "w") as f:
        f.write("00ff")
    with open(wrong["text"], "w") as f:
        f.write("z" * 64 + "\n")
    said = []
    for name, file in wrong.items():
        lab.configure("a", key=file)
        status, line = lab.refusal()
        need(status in (1, 5) and (file in line or name == "text" and "tunnel lab: key file" in line), "%s: status %d, %s" % (name, status, line))
        said.append(line)
    return "\n".join(said)


def one_missing_device_of_three_is_told_and_the_rest_carries():
    lab.calm()
    lab.configure("b")
    lab.sundogd("b")
    sh("ip", "-n", lab.ns("gwa"), "link", "set", "u2", "name", "hidden2")
    try:
        lab.configure("a")
        a = lab.sundogd("a")
        need(any("u2" in line and "does not exist" in line for line in a.told), "the log says it: %s" % a.told)
        code, status = lab.ask("a", "status")
        need(code == 3 and any("u2" in n or "p2" in n for n in status["notes"]), "status says it: %s" % status["notes"])
        need(lab.path_of("a", "p2")["state"] == "DEAD", "p2 is not used")
        lab.topology("route", "dev", "sd0")
        sent, lost, _ = lab.stream(1).result()
        need(sent > 0 and lost == 0, "%d sent, %d lost" % (sent, lost))
    finally:
        ns = lab.ns("gwa")
        sh("ip", "-n", ns, "link", "set", "hidden2", "down")
        sh("ip", "-n", ns, "link", "set", "hidden2", "name", "u2")
        sh("ip", "-n", ns, "link", "set", "u2", "up")
        sh("ip", "-n", ns, "neigh", "replace", "10.78.2.2", "lladdr", "02:5d:00:01:02:02", "dev", "u2", "nud", "permanent")
    s = lab.stream(8)
    wait_for(lambda: lab.path_of("a", "p2")["state"] != "DEAD", 14, "it comes, and p2 is used: %s" % lab.path_of("a", "p2"))
    wait_for(lambda: lab.path_of("a", "p2")["probes_sent"] - lab.path_of("a", "p2")["probes_lost"] > 2, 5, "and measured")
    need(lab.ask("a", "status")[0] == 0, "and the note is gone: %s" % lab.ask("a", "status")[1]["notes"])
    s.result()
    return [line for line in a.told if "u2" in line][0]


def two_paths_over_one_uplink_to_two_addresses_work():
    # O10: the far end has two addresses on u0; here both are reached over one device and address.
    ns = lab.ns("gwb")
    sh("ip", "-n", ns, "addr", "add", "10.78.0.3/24", "dev", "u0")
    sh("ip", "-n", lab.ns("gwa"), "neigh", "replace", "10.78.0.3", "lladdr", "02:5d:00:01:00:02", "dev", "u0", "nud", "permanent")
    try:
        lab.calm()
        lab.configure("a", change={"device: u1, local: 10.78.1.1, remote: 10.78.1.2":
                                   "device: u0, local: 10.78.0.1, remote: 10.78.0.3"})
        lab.configure("b", change={"device: u1, local: 10.78.1.2, remote: 10.78.1.1":
                                   "device: u0, local: 10.78.0.3, remote: 10.78.0.1"})
        for end in "ba":
            lab.sundogd(end)
        lab.topology("route", "dev", "sd0")
        s = lab.stream(3)
        for end in "ab":
            wait_for(lambda: all(p["state"] != "DEAD" for p in lab.ask(end, "paths")[1]), 5, "every path answers " + end)
        sent, lost, twice = s.result()
        need(lost <= 2 and twice == 0, "%d sent, %d lost, %d twice" % (sent, lost, twice))
    finally:
        sh("ip", "-n", ns, "addr", "del", "10.78.0.3/24", "dev", "u0")


def no_device_at_all_is_a_sentence():
    for k in range(3):
        sh("ip", "-n", lab.ns("gwa"), "link", "set", "u%d" % k, "name", "hidden%d" % k)
    try:
        lab.configure("a")
        status, line = lab.refusal()
        told = lab.programs[-1].told
        need(status == 1 and any("u0 does not exist" in line for line in told), "%d %s" % (status, told))
        return line
    finally:
        for k in range(3):
            ns = lab.ns("gwa")
            sh("ip", "-n", ns, "link", "set", "hidden%d" % k, "down")
            sh("ip", "-n", ns, "link", "set", "hidden%d" % k, "name", "u%d" % k)
            sh("ip", "-n", ns, "link", "set", "u%d" % k, "up")
            sh("ip", "-n", ns, "neigh", "replace", "10.78.%d.2" % k, "lladdr", "02:5d:00:01:0%d:02" % k, "dev", "u%d" % k,
               "nud", "permanent")


def a_wrong_key_on_one_side_delivers_nothing_and_is_counted():
    lab.calm()
    lab.configure("a")
    lab.configure("b", key=lab.key("other"))
    lab.sundogd("a")
    lab.sundogd("b")
    lab.topology("route", "dev", "sd0")
    receiver = lab.stream(2)
    receiver.sender.expect("sent")
    status = wait_for(lambda: (lambda s: s["packets"].get("RX_BAD_TAG", 0) > 20 and s)(lab.ask("b", "status")[1]), 5,
                      "RX_BAD_TAG at the receiver")
    need(not any("got" in line for line in receiver.receiver.told), "nothing is delivered")
    need(sum(p["bad_tag"] for p in status["paths"]) > 20, "the path that they came on counts them")
    need(all(p["state"] == "DEAD" for p in lab.ask("a", "paths")[1]), "no path is believed to work")
    receiver.receiver.end()
    return "RX_BAD_TAG %d" % status["packets"]["RX_BAD_TAG"]


def a_second_sundogd_is_refused_and_changes_nothing():
    both()
    s = lab.stream(4, 500)
    status, line = lab.refusal("a")
    need(status == 1 and "another sundogd" in line and lab.socket("a") in line, line)
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    lab.alive()
    return line


def a_corrupt_store_is_moved_aside_and_traffic_goes_on():
    both()
    lab.stop("a")
    store = lab.path("a/store.db")
    with open(store, "r+b") as f:
        f.seek(0)
        f.write(os.urandom(3000))
    for side in ("-wal", "-shm"):
        if os.path.exists(store + side):
            os.unlink(store + side)
    s = lab.stream(3, 500)
    lab.sundogd("a")
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    aside = glob.glob(store + ".corrupt-*")
    need(aside, "it was moved aside: %s" % os.listdir(lab.path("a")))
    status = lab.alive()
    said = [line for line in lab.daemon["a"].told if "corrupt" in line]
    need(said and any("corrupt" in n for n in status["notes"]), "log and status say it: %s %s" % (said, status["notes"]))
    return status["notes"][0]


def a_full_disk_is_told_and_traffic_goes_on():
    lab.ended()
    full = lab.path("full")
    os.mkdir(full)
    sh("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", full)
    os.chown(full, 65534, 65534)
    lab.calm()
    for end in "ba":
        lab.configure(end, change={"%s/store.db" % lab.path(end): full + "/store.db"} if end == "a" else None)
        lab.sundogd(end)
    lab.topology("route", "dev", "sd0")
    with open(full + "/filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass
    s = lab.stream(8, 500)
    status = wait_for(lambda: (lambda r: r[0] == 3 and any("store" in n for n in r[1]["notes"]) and r[1])(lab.ask("a", "status")),
                      30, "status 3 and a note: %s" % lab.ask("a", "status")[1]["store"])
    note = [n for n in status["notes"] if "store" in n][0]
    need("disk" in note or "full" in note or "space" in note, note)
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    os.unlink(full + "/filler")
    lab.stream(1).result()
    wait_for(lambda: lab.ask("a", "status")[0] == 0, 40, "with room again it is well: %s" % lab.ask("a", "status")[1]["notes"])
    lab.ended()
    return note


def a_folder_that_may_not_be_written_is_told():
    lab.ended()
    lab.calm()
    os.mkdir(lab.path("root-only"), 0o755)
    lab.configure("a", change={"%s/store.db" % lab.path("a"): lab.path("root-only/store.db")})
    lab.sundogd("a")
    code, status = lab.ask("a", "status")
    need(any("root-only" in n for n in status["notes"]), str(status["notes"]))
    lab.ended()
    lab.configure("a", change={"socket: %s/a/api.sock" % lab.folder: "socket: %s" % lab.path("root-only/api.sock")})
    status, line = lab.refusal()
    need(status == 1 and "root-only/api.sock" in line, line)
    return line


def a_foreign_xdp_program_is_left_alone_and_named():
    lab.ended()
    ns = lab.ns("gwa")
    sh("ip", "-n", ns, "link", "add", "alien0", "type", "veth", "peer", "name", "alien1")
    try:
        sh("ip", "-n", ns, "link", "set", "alien0", "up", "xdp", "obj", lab.foreign_program(), "sec", "xdp")
        number = re.search(r"prog/xdp id (\d+)", sh("ip", "-n", ns, "link", "show", "alien0")).group(1)
        lab.configure("a", change={"device: u0": "device: alien0"})
        status, line = lab.refusal()
        need(status == 1 and "alien0" in line and number in line, "%d %s" % (status, line))
        need("id " + number in sh("ip", "-n", ns, "link", "show", "alien0"), "it is still there")
        return line
    finally:
        sh("ip", "-n", ns, "link", "del", "alien0")


def broken_traces_are_refused_with_their_line():
    good = glob.glob(os.path.join(SOURCE, "data/paths/pam-*.csv.gz"))[0]
    with gzip.open(good, "rt") as f:
        lines = f.read().splitlines()
    half = lab.path("half.csv.gz")
    with open(good, "rb") as f, open(half, "wb") as to:
        to.write(f.read()[:900])
    mixed = lab.path("mixed.csv")
    with open(mixed, "w") as f:
        f.write("\n".join([lines[0], lines[9], *lines[1:9]]) + "\n")
    word = lab.path("word.csv")
    with open(word, "w") as f:
        f.write("\n".join([*lines[:5], lines[5].replace(lines[5].split(",")[2], "soon")]) + "\n")
    said = []
    for file, has_line in ((half, False), (mixed, True), (word, True), (lab.path("none.csv"), False)):
        code, out, text = lab.sundog("replay", file)
        need(code == 1 and os.path.basename(file) in text and not out, "%s: %d %s" % (file, code, text))
        need(not has_line or any("%s:%d" % (os.path.basename(file), n) in text for n in range(1, 12)), text)
        said.append(text.strip())
    return "\n".join(said)


def nonsense_on_the_socket_is_answered_and_costs_nothing():
    both()
    def client():
        c = socket.socket(socket.AF_UNIX)
        c.connect(lab.socket("a"))
        c.settimeout(5)
        return c
    for line, want in ((b"hello\n", b'"code":2'), (b"[]\n", b'"code":2'), (b"{}\n", b'"code":2'), (b'{"ask":7}\n', b'"code":2'),
                       (b'{"ask":"nonsense"}\n', b"nonsense"), (b'{"ask":"events","most":-5}\n', b'"ok":true'),
                       (b'{"ask":"explain","id":"x"}\n', b'"ok"'), (b"\0\n", b'"code":2'), (b"x" * 5000, b"too long"),
                       (b'{"ask":"status","ask":"paths"}\n', b'"code":2')):
        c = client()
        c.sendall(line)
        got = c.recv(1 << 20)
        need(want in got, "%s: %s" % (line[:40], got[:200]))
        c.close()
    # Two questions at once, and one in pieces.
    c = client()
    c.sendall(b'{"ask":"paths"}\n{"ask":"pa')
    time.sleep(0.1)
    c.sendall(b'ths"}\n')
    got = b""
    while got.count(b"\n") < 2:
        got += c.recv(1 << 16)
    # More clients than there are chairs, and one that asks and never reads.
    many = [client() for _ in range(40)]
    deaf = many[0]
    deaf.setblocking(False)
    try:
        for _ in range(3000):
            deaf.send(b'{"ask":"status"}\n')
    except OSError:
        pass
    for c in many:
        c.close()
    wait_for(lambda: lab.ask("a", "status")[0] in (0, 3), 5, "it still answers")
    lab.alive()


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit(run())
    tests = [
        wrong_words_are_refused_by_line_and_column,
        trees_that_are_not_fit_are_told_and_the_logistic_forecasts_alone,
        key_files_are_looked_at,
        no_device_at_all_is_a_sentence,
        a_foreign_xdp_program_is_left_alone_and_named,
        one_missing_device_of_three_is_told_and_the_rest_carries,
        two_paths_over_one_uplink_to_two_addresses_work,
        a_wrong_key_on_one_side_delivers_nothing_and_is_counted,
        a_second_sundogd_is_refused_and_changes_nothing,
        a_corrupt_store_is_moved_aside_and_traffic_goes_on,
        a_full_disk_is_told_and_traffic_goes_on,
        a_folder_that_may_not_be_written_is_told,
        nonsense_on_the_socket_is_answered_and_costs_nothing,
        broken_traces_are_refused_with_their_line,
    ]

    with Gateways(*PROGRAMS, prefix="sdbad") as lab:
        sys.exit(lab.run_fresh(*tests))
