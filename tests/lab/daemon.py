#!/usr/bin/env python3
"""The whole system: two sundogd over three emulated paths of 10, 20 and 30 ms, asked by sundog.

Usage: daemon.py SUNDOGD SUNDOG LINKEMU

Requirement ids stand beside what proves them.
"""
import os
import signal
import sqlite3
import sys
import time

from gateways import HB, Gateways
from lab import need, process_tree, run, wait_for

PROGRAMS = [os.path.abspath(p) for p in sys.argv[1:4]]

# First port of each class: see CLASSES. A stream has one to itself.
SOLO, TWICE, CHEAP, DEAR, STRICT = 7100, 7200, 7300, 7400, 7500
PROFILES = """\
  - {name: voice, latency: 150ms, loss: 30%, breach_price: 1}
  - {name: strict, latency: 35ms, loss: 30%, breach_price: 1, weight: {latency: 1, loss: 0, jitter: 0}}
  - {name: cheap, latency: 150ms, loss: 30%, breach_price: 0.02, weight: {latency: 20, loss: 1, jitter: 1}}
  - {name: dear, latency: 150ms, loss: 30%, breach_price: 50}
"""
CLASSES = """\
  - {name: solo, profile: voice, mirror: never, match: {protocol: udp, ports: 7100-7199}}
  - {name: twice, profile: voice, mirror: always, match: {protocol: udp, ports: 7200-7299}}
  - {name: cheap, profile: cheap, mirror: auto, match: {protocol: udp, ports: 7300-7399}}
  - {name: dear, profile: dear, mirror: auto, match: {protocol: udp, ports: 7400-7499}}
  - {name: strict, profile: strict, mirror: auto, match: {protocol: udp, ports: 7500-7599}}
  - {name: rest, profile: voice, mirror: auto}
"""
lab = None


def quiet(name, besides=()):
    """No path threatens the promise of the class, but those."""
    return all(f["p_breach"] < 0.1 for f in lab.ask("a", "forecast")[1]
               if f["class"] == name and f["horizon_s"] == 1 and f["path"] not in besides)


def settled(*names):
    """The paths as at first, a daemon that has seen nothing else, and nothing that threatens these classes."""
    lab.calm()
    lab.restart("a")
    wait_for(lambda: all(p["state"] != "DEAD" for p in lab.ask("a", "paths")[1]), 10, "every path is back")
    wait_for(lambda: all(quiet(n) for n in names), 10,
             "nothing threatens %s: %s" % (names, [f for f in lab.ask("a", "forecast")[1] if f["horizon_s"] == 1]))


def settled_with_one_way_out(name):
    """(where the class is, the only good alternative, one that breaks its promise)"""
    settled(name)
    here = lab.carried_by("a", name)
    best = here[1] if len(here) > 1 else "p1" if here[0] == "p0" else "p0"
    worst = [p for p in ("p0", "p1", "p2") if p not in (here[0], best)][0]
    lab.emu("set", worst, "delay", "100ms")
    wait_for(lambda: [f["p_breach"] > 0.5 for f in lab.ask("a", "forecast", worst)[1]
                      if f["class"] == name and f["horizon_s"] == 1] == [True], 10, "%s is bad" % worst)
    return here[0], best, worst


def decider_pid():
    """`ip netns exec` becomes sundogd itself, which is the parent of the decider."""
    return process_tree(lab.daemon["a"].process.pid)[1]


def profiles_are_in_force_and_kept_in_the_history():  # P2
    promises = {c["class"]: c["promise"] for c in lab.ask("a", "status")[1]["classes"]}
    need(promises["strict"] == "rtt<=35ms loss<30%" and promises["solo"] == "rtt<=150ms loss<30%", str(promises))
    lab.stream(4, port=STRICT)
    for name, want in (("solo", False), ("strict", True)):
        wait_for(lambda: [f["p_breach"] > 0.5 for f in lab.ask("a", "forecast", "p2")[1]
                          if f["class"] == name and f["horizon_s"] == 1] == [want], 10,
                 "60 ms of p2 break the promise of %s: %s" % (name, want))
    wait_for(lambda: lab.carried_by("a", "strict") == ["p0"], 5, "strict is carried where its promise holds")

    def history():
        db = sqlite3.connect("file:%s?mode=ro" % lab.path("a/store.db"), uri=True)
        tables = [r[0] for r in db.execute("select name from sqlite_master where type='table' and name like '%config%'")]
        return tables and " ".join(str(r) for r in db.execute("select * from " + tables[0]))
    wait_for(lambda: "strict" in (history() or ""), 5, "the configuration is in the store")


def every_path_is_measured_the_unused_ones_too():  # P4 P6 P11 P13
    settled("solo")
    carrying = lab.carried_by("a", "solo")
    s = lab.stream(6, port=SOLO)
    time.sleep(1)
    seen = lab.medians("a", "rtt_ms", 4)
    jitter = lab.medians("a", "jitter_ms", 0.3)
    for k in range(3):
        set_ms = 20 * (k + 1)
        need(set_ms <= seen["p%d" % k] < set_ms + 8, "p%d: %s ms, set to %d" % (k, seen["p%d" % k], set_ms))
        need(jitter["p%d" % k] < 8, "jitter %s" % jitter)
    rows = {p["path"]: p for p in lab.ask("a", "paths")[1]}
    need(len(carrying) == 1 and lab.carried_by("a", "solo") == carrying, "one path carries the stream: %s" % carrying)
    need(all(p["probes_lost"] <= 0.02 * p["probes_sent"] for p in rows.values()), "no probe is lost: %s" % rows)
    s.result()
    return "rtt %s, jitter %s" % (seen, jitter)


def jitter_and_loss_of_a_path_are_seen_as_they_are():  # P4
    lab.emu("set", "p1", "jitter", "10ms")
    lab.emu("set", "p2", "loss", "20%")
    before = lab.path_of("a", "p2")
    s = lab.stream(14, port=SOLO)
    wait_for(lambda: lab.path_of("a", "p1")["jitter_ms"] > 3, 10, "jitter of p1")
    wait_for(lambda: lab.path_of("a", "p2")["probes_sent"] - before["probes_sent"] >= 25, 14, "25 probes on p2")
    now = lab.path_of("a", "p2")
    lost = now["probes_lost"] - before["probes_lost"]
    share = lost / (now["probes_sent"] - before["probes_sent"])
    # Both ways lose 20 %: a probe and its answer survive with 0.64.
    need(0.1 < share < 0.65, "a probe is lost with 0.36; %d were, a share of %.2f" % (lost, share))
    need(lab.path_of("a", "p0")["jitter_ms"] < lab.path_of("a", "p1")["jitter_ms"], "p0 is steady")
    s.result()
    return "lost %.2f of the probes; jitter %.1f ms" % (share, lab.path_of("a", "p1")["jitter_ms"])


def forecasts_have_three_horizons_and_a_spread():  # P7
    settled("solo")
    s = lab.stream(3, port=SOLO)
    time.sleep(2)
    rows = [f for f in lab.ask("a", "forecast")[1] if f["class"] == "solo"]
    need(sorted((f["path"], f["horizon_s"]) for f in rows) == [("p%d" % k, h) for k in range(3) for h in (1, 5, 30)],
         "each path has 1, 5 and 30 s")
    for f in rows:
        need(all(isinstance(f[k], float) for k in ("rtt_ms", "rtt_spread_ms", "jitter_ms", "jitter_spread_ms", "loss_ratio",
                                                   "loss_spread", "p_breach")), str(f))
    near = {f["path"]: f["rtt_ms"] for f in rows if f["horizon_s"] == 1}
    need(all(20 * (k + 1) - 2 < near["p%d" % k] < 20 * (k + 1) + 10 for k in range(3)), str(near))
    need(all(f["rtt_spread_ms"] > 0 for f in rows), "a spread, not certainty")
    s.result()


def the_score_falls_when_a_path_gets_worse_and_weights_count():  # P8
    def score(name):
        return [f["score"] for f in lab.ask("a", "forecast", "p1")[1] if f["class"] == name and f["horizon_s"] == 1][0]
    settled("solo")
    s = lab.stream(5, port=SOLO)
    time.sleep(1)
    before = score("solo")
    lab.emu("set", "p1", "delay", "60ms")
    wait_for(lambda: score("solo") < before - 10, 4, "the score of p1 falls from %.0f" % before)
    time.sleep(1)
    after, heavy = score("solo"), score("cheap")
    need(0 <= after < before <= 100 and 0 <= heavy <= 100, "%.0f -> %.0f" % (before, after))
    need(abs(heavy - after) > 5, "to whom latency counts twenty times as much it is another: %.0f and %.0f" % (heavy, after))
    s.result()
    return "40 ms: %.0f, 120 ms: %.0f of 100; %.0f where latency weighs more" % (before, after, heavy)


def moves_since(first, name):
    return [e for e in lab.events("a", "decision", name) if e["id"] > first and e["act"] == "move"]


def a_path_that_grows_slow_is_left_for_the_best_other():  # P9 P12
    here, best, _ = settled_with_one_way_out("solo")
    first = lab.newest("a")
    s = lab.stream(8, port=SOLO)
    for delay in range(30, 105, 8):
        lab.emu("set", here, "delay", "%dms" % delay)
        time.sleep(0.3)
    wait_for(lambda: lab.carried_by("a", "solo") == [best], 4, "%s is the best alternative" % best)
    move = moves_since(first, "solo")[0]
    need(move["why"] in ("breach-forecast", "breach-seen"), str(move))
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    return "%s; %d sent, 0 lost" % (move["text"], sent)


def a_cut_is_left_before_300_ms_are_lost():  # P9 P12
    here, best, worst = settled_with_one_way_out("solo")
    first = lab.newest("a")
    s = lab.stream(4, port=SOLO)
    time.sleep(1.5)
    lab.emu("cut", here)
    wait_for(lambda: lab.carried_by("a", "solo") == [best], 3, "%s is left for %s" % (here, best))
    sent, lost, twice = s.result()
    need(twice == 0 and lost < 15, "%d of %d lost; 15 are 300 ms" % (lost, sent))
    # The reason is the true one, and explain says it.
    move = moves_since(first, "solo")[0]
    need(move["why"] in ("breach-forecast", "unusable", "breach-seen"), str(move))
    code, text, _ = lab.sundog("--socket", lab.socket("a"), "explain", "d-%d" % move["id"])
    need(code == 0 and any(w in text for w in ("overdue", "hears nothing", "dead", "broken now")), text)
    need(worst + " was forecast" in text or worst + " did not answer" in text, "what else could have been done is told: %s" % text)
    grades = wait_for(lambda: [e for e in lab.events("a", "grade", "solo") if e["id"] == move["id"]], 8, "a grade")
    need(grades[0]["grade"] == "helped", str(grades))
    return "%d of %d lost: %d ms\n%s" % (lost, sent, lost * 20, text)


def a_mirrored_class_loses_nothing_at_a_cut():  # P10 P12 O8 O10
    settled("twice")
    pair = wait_for(lambda: (lambda c: len(c) == 2 and c)(lab.carried_by("a", "twice")), 10, "two paths carry it")
    at_b = {p["path"]: p for p in lab.ask("b", "paths")[1]}
    s = lab.stream(3, port=TWICE)
    time.sleep(1.5)
    lab.emu("cut", pair[0])
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    now = {p["path"]: p for p in lab.ask("b", "paths")[1]}
    copies = sum(now[p]["duplicate"] - at_b[p]["duplicate"] for p in now)
    need(copies > 0.3 * sent, "the second copies arrived and were dropped: %d" % copies)
    return "%d sent, 0 lost, 0 twice, %d copies dropped" % (sent, copies)


def every_packet_goes_twice_and_arrives_once():  # P10 O8 O9 O10
    settled("twice")
    pair = lab.carried_by("a", "twice")
    one = {p["path"]: p for p in lab.ask("a", "paths")[1]}
    sent, lost, twice = lab.stream(2, 500, port=TWICE).result()
    two = {p["path"]: p for p in lab.ask("a", "paths")[1]}
    for p in pair:
        need(two[p]["sent_packets"] - one[p]["sent_packets"] >= sent, "%s sent a copy of every packet" % p)
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))


def the_far_end_compares_the_copies_and_tells_the_sender():  # O11 O12
    settled("twice")
    good, lossy = sorted(lab.carried_by("a", "twice"))
    lab.emu("set", lossy, "ab", "loss", "10%")
    s = lab.stream(17, 200, port=TWICE)
    since = time.monotonic()
    seen = []
    # A report every 5 s: the second one covers 5 s of nothing but this.
    while time.monotonic() - since < 15:
        p = {p["path"]: p for p in lab.ask("a", "paths")[1]}
        if p[lossy]["user_loss"] is not None and p[good]["user_loss"] is not None and (
                not seen or seen[-1][0] != p[lossy]["user_loss"]):
            seen.append((p[lossy]["user_loss"], p[good]["user_loss"], p[lossy]["delay_ms"] - p[good]["delay_ms"]))
        time.sleep(0.2)
    loss, other, behind = seen[-1]
    need(0.06 < loss < 0.14, "%s loses 10 %%: %s" % (lossy, seen))
    need(other < 0.01, "%s loses nothing: %s" % (good, seen))
    want = 10 * (int(lossy[1]) - int(good[1]))
    need(want - 4 < behind < want + 4, "%s is %d ms behind %s: %s" % (lossy, want, good, seen))
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    return "user loss %s %.3f, %s %.3f; behind by %.1f ms" % (good, other, lossy, loss, behind)


def what_is_worth_more_is_protected_sooner():  # P16
    settled("cheap", "dear")
    first = lab.newest("a")
    result = [lab.stream(8, port=CHEAP), lab.stream(8, port=DEAR)]
    time.sleep(0.5)
    # Every path is late now and then, 2 % of the time: nothing to move to, only a copy helps.
    for k in range(3):
        lab.emu("set", "p%d" % k, "delay", "40ms", "shape", "tail", "jitter", "12ms", "order", "free")
    # By a copy, or by leaving a path that happened to be late: both cost, and only the dear class is worth it.
    answers = ("mirror-risk", "mirror-better", "breach-forecast", "breach-seen")
    wait_for(lambda: [e for e in lab.events("a", "decision", "dear") if e["id"] > first and e["why"] in answers], 15,
             "something is done for the dear class")
    result = [s.result() for s in result]
    dear = [e for e in lab.events("a", "decision", "dear") if e["id"] > first]
    cheap = [e for e in lab.events("a", "decision", "cheap") if e["id"] > first and e["act"] in ("mirror", "move") and
             e["why"] in answers]
    need(not cheap, "whatever is done for the cheap class costs more than it is worth: %s" % cheap)
    return "dear: %d decisions, %d lost; cheap: no copy, %d lost" % (len(dear), result[1][1], result[0][1])


def all_paths_bad_is_an_alert():  # P14
    settled("solo")
    s = lab.stream(6, port=SOLO)
    time.sleep(0.5)
    for k in range(3):
        lab.emu("set", "p%d" % k, "delay", "120ms")
    wait_for(lambda: lab.ask("a", "status")[0] == 3, 6, "status ends with 3")
    need(any("every path" in n for n in lab.ask("a", "status")[1]["notes"]), "a note says it")
    wait_for(lambda: lab.events("a", "alert"), 3, "an alert event")
    s.result()
    alert = lab.events("a", "alert")[0]["text"]
    settled("solo")
    wait_for(lambda: lab.ask("a", "status")[0] == 0, 25, "and it ends: %s" % lab.ask("a", "status")[1]["notes"])
    return alert


def the_decider_has_no_privilege():  # P17
    hands = lab.daemon["a"].process.pid
    decider = decider_pid()
    need(hands != decider, "a process of its own")
    with open("/proc/%d/status" % decider) as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    need(set(status["Uid"].split()) == {"65534"}, "nobody: %s" % status["Uid"])
    need(int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0, "no capability")
    need(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", "no new privileges, filtered system calls")


def a_killed_decider_loses_no_packet_and_goes_on():  # P17
    settled("solo")
    before, pid = lab.newest("a"), decider_pid()
    s = lab.stream(4, 500, port=SOLO)
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(process_tree(lab.daemon["a"].process.pid)) > 1 and decider_pid() != pid, 5, "a new decider")
    wait_for(lambda: lab.ask("a", "status")[0] in (0, 3), 5, "it answers")
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    lab.emu("cut", lab.carried_by("a", "solo")[0])
    wait_for(lambda: lab.newest("a") > before, 12, "decisions go on after d-%d" % before)
    adopted = [line for line in lab.daemon["a"].told if "adopted=" in line]
    need(not adopted[-1].endswith("adopted=0"), adopted[-1])
    code, text, _ = lab.sundog("--socket", lab.socket("a"), "explain", "d-%d" % before)
    need(code == 0 and "d-%d" % before in text, "a decision of before is still explained: %s" % text)
    return "%d sent, 0 lost; %s" % (sent, adopted[-1][-40:])


def killed_hands_lose_no_packet_and_a_restart_adopts():  # P17
    settled("solo")
    s = lab.stream(5, 500, port=SOLO)
    time.sleep(0.5)
    before = lab.newest("a")
    lab.daemon["a"].process.kill()
    lab.daemon["a"].process.wait()
    wait_for(lambda: lab.ask("a", "status")[0] == 4, 5, "the decider ends with it")
    lab.sundogd("a")
    sent, lost, twice = s.result()
    need((lost, twice) == (0, 0), "%d sent, %d lost, %d twice" % (sent, lost, twice))
    adopted = [line for line in lab.daemon["a"].told if "adopted=" in line]
    need(adopted and not adopted[-1].endswith("adopted=0"), str(adopted))
    lab.emu("cut", lab.carried_by("a", "solo")[0])
    wait_for(lambda: lab.newest("a") > before, 12, "decisions go on after d-%d" % before)
    return "%d sent, 0 lost" % sent


def exit_codes_say_what_is_wrong():
    socket = lab.socket("a")
    nowhere = lab.path("nowhere.sock")
    for want, words in ((0, ["--socket", socket, "paths"]), (4, ["--socket", nowhere, "status"]), (2, ["nonsense"]),
                        (2, ["--socket", socket, "explain", "yesterday"]), (1, ["--socket", socket, "explain", "d-99999"]),
                        (2, ["-o", "xml", "status"])):
        code, _, said = lab.sundog(*words)
        need(code == want, "%s gave %d, not %d: %s" % (words, code, want, said))
        need(want == 0 or len(said.strip()) > 10, "and says why: %s" % said)
    bad = lab.path("bad.yaml")
    with open(bad, "w") as f:
        f.write("sight: x\n")
    code, _, said = lab.sundog("check", bad)
    need(code == 5 and bad + ":1:1" in said and "site" in said, said)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit(run())
    with Gateways(*PROGRAMS, prefix="sdgw") as lab:
        lab.calm()
        lab.both(profiles=PROFILES, classes=CLASSES)
        # Idle paths are probed every 10 s only. A ping, of the class rest, keeps them watched closely.
        lab.start("ping", "-q", "-i", "0.5", HB, netns=lab.ns("ha"))
        tests = [
            profiles_are_in_force_and_kept_in_the_history,
            every_path_is_measured_the_unused_ones_too,
            jitter_and_loss_of_a_path_are_seen_as_they_are,
            forecasts_have_three_horizons_and_a_spread,
            the_score_falls_when_a_path_gets_worse_and_weights_count,
            a_path_that_grows_slow_is_left_for_the_best_other,
            a_cut_is_left_before_300_ms_are_lost,
            a_mirrored_class_loses_nothing_at_a_cut,
            every_packet_goes_twice_and_arrives_once,
            the_far_end_compares_the_copies_and_tells_the_sender,
            what_is_worth_more_is_protected_sooner,
            all_paths_bad_is_an_alert,
            the_decider_has_no_privilege,
            a_killed_decider_loses_no_packet_and_goes_on,
            killed_hands_lose_no_packet_and_a_restart_adopts,
            exit_codes_say_what_is_wrong,
        ]
        sys.exit(run(*[t for t in tests if os.environ.get("ONLY", "") in t.__name__]))
