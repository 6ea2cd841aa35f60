#!/usr/bin/env python3
"""Recorded links give the same plans, and what the plans are worth: sundog replay on data/paths.

Usage: replay.py SUNDOG FOLDER
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

SUNDOG, FOLDER = sys.argv[1:3]


def need(condition, say):
    if not condition:
        raise AssertionError(say)


def replay(*words):
    done = subprocess.run([SUNDOG, "-o", "json", "replay", *words, FOLDER], capture_output=True, text=True, timeout=120)
    need(done.returncode == 0, done.stderr)
    return done.stdout


def scores(text):
    return {p["policy"]: p for p in json.loads(text)["policies"]}


def the_same_telemetry_gives_the_same_decisions_to_the_byte():
    one, two = replay("--decisions"), replay("--decisions")
    need(one == two, "two runs differ")
    decisions = json.loads(one)["decisions"]
    need(len(decisions) > 50 and all(d["why"] and d["grade"] for d in decisions), "%d decisions" % len(decisions))
    return "%d decisions, %d bytes" % (len(decisions), len(one))


def any_order_of_traces_gives_each_the_same():
    files = sorted(glob.glob(os.path.join(FOLDER, "pam-*.csv.gz")))[:6]

    def each(names):
        out = subprocess.run([SUNDOG, "-o", "json", "replay", "--each", *names], capture_output=True, text=True, timeout=60)
        need(out.returncode == 0, out.stderr)
        return sorted(json.dumps(row, sort_keys=True) for row in json.loads(out.stdout)["each"])
    need(each(files) == each(files[::-1]), "one trace knows of another")


def sundog_is_better_than_chance_and_cannot_beat_every_copy():  # P9 P13
    s = scores(replay())
    need(s["always"]["bad_share"] <= s["sundog"]["bad_share"] <= s["any-path"]["bad_share"], str(s))
    need(s["sundog"]["bad_share"] < s["reactive"]["bad_share"], "to forecast is better than to react: %s" % s)
    need(1 <= s["sundog"]["overhead"] < 1.17, "and within its budget of 15 %%: %s" % s["sundog"]["overhead"])
    return "bad: always %.4f, sundog %.4f, reactive %.4f, any path %.4f" % tuple(
        s[p]["bad_share"] for p in ("always", "sundog", "reactive", "any-path"))


def a_larger_budget_does_not_make_it_worse():  # P10 P12
    bad = [scores(replay("--budget", b))["sundog"] for b in ("0%", "5%", "15%", "50%")]
    need(bad[0]["overhead"] <= bad[1]["overhead"] <= bad[2]["overhead"] <= bad[3]["overhead"], "more is spent: %s" % bad)
    for less, more in zip(bad, bad[1:]):
        need(more["bad_s"] <= less["bad_s"] * 1.15 + 0.5, "%s -> %s" % (less, more))
    need(bad[3]["bad_s"] < bad[0]["bad_s"], "copies are good for something: %s" % bad)
    return "0, 5, 15, 50 %%: %s s bad" % ", ".join("%.1f" % b["bad_s"] for b in bad)


def never_and_always_mean_what_they_say():
    never, always = (scores(replay("--mirror", m))["sundog"] for m in ("never", "always"))
    # Make before break is a copy too, for 200 ms after a move.
    need(never["overhead"] < 1.05 and always["overhead"] > 1.9, "%s %s" % (never, always))
    return "never %.3f, always %.3f" % (never["overhead"], always["overhead"])


def servers_trace(file):
    """Three servers, 10 minutes; once a minute the second creeps to its limit and is over it for 8 s."""
    with open(file, "w") as f:
        f.write("t_ms,path,rtt_ms,loss,rate_kbps\n")
        for t in range(0, 600000, 200):
            phase = t % 60000 / 1000
            creep = 20 if phase < 30 else 20 + 7 * (phase - 30) if phase < 40 else 140 if phase < 48 else 20
            for server in range(3):
                rtt = (creep if server == 1 else 20) + (t * (server + 3) // 200 * 7919 % 100) / 50
                f.write("%d,s%d,%.2f,0,\n" % (t, server, rtt))


def servers_behind_an_address_are_a_spread_group():  # I8 I11 I12
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "servers.csv")
        servers_trace(file)

        def run(*words):
            done = subprocess.run([SUNDOG, "-o", "json", "replay", "--rtt-factor", "0", "--budget", "20%", *words, file],
                                  capture_output=True, text=True, timeout=60)
            need(done.returncode == 0, done.stderr)
            return done.stdout
        text = run("--spread", "--decisions")
        need(text == run("--spread", "--decisions"), "two runs differ")
        s = scores(text)
        why = [d["why"] for d in json.loads(text)["decisions"]]
        need(s["sundog"]["bad_s"] < s["any-path"]["bad_s"] / 3, "%s against even shares %s" % (s["sundog"], s["any-path"]))
        need(1 < s["sundog"]["overhead"] <= 1.21, "copies of a share, within the budget: %s" % s["sundog"]["overhead"])
        need(any(w.startswith("avoid") for w in why), "new traffic avoids it: %s" % sorted(set(why)))
        need("recovered" in why and "slow-start" in why, "and comes back slowly: %s" % sorted(set(why)))
        need(why.count("rebalance") < 60, "without restlessness: %d times" % why.count("rebalance"))
        return "bad: even shares %.1f s, spread by health %.1f s, %.3f of the traffic; %d decisions" % (
            s["any-path"]["bad_s"], s["sundog"]["bad_s"], s["sundog"]["overhead"], len(why))


def main(*tests):
    failed = 0
    print("1..%d" % len(tests))
    for number, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        try:
            said = test()
            print("ok %d - %s" % (number, name))
            print("".join("# %s\n" % line for line in (said or "").splitlines()), end="")
        except Exception as why:
            failed = 1
            print("not ok %d - %s\n# %s" % (number, name, str(why).replace("\n", "\n# ")))
    return failed


if __name__ == "__main__":
    sys.exit(main(the_same_telemetry_gives_the_same_decisions_to_the_byte, any_order_of_traces_gives_each_the_same,
                  sundog_is_better_than_chance_and_cannot_beat_every_copy, a_larger_budget_does_not_make_it_worse,
                  never_and_always_mean_what_they_say,
                  servers_behind_an_address_are_a_spread_group))
