#!/usr/bin/env python3
"""Figures of forecasting, as JSON lines: forecast_figures.py DATA SUNDOG JUDGE_NODES [PART...]

Paths: four folds of whole days a family, trained by `sundog train --folds 0` on the other days and on the other
families of its kind, judged by `sundog backtest` on the days left out; what is printed is the mean over the
folds, weighed by outcomes. Nodes: build/tools/judge_nodes, which leaves every node out in one of six groups and scores all
nodes of a data set at once. Numbers of development data: other days will give others.
"""
import csv
import json
import math
import os
import subprocess
import sys
import tempfile

DATA, SUNDOG, JUDGE = sys.argv[1:4]
PARTS = sys.argv[4:] or ["svc", "pam", "node", "overload"]
THREADS, EFFORT = os.environ.get("THREADS", "2"), os.environ.get("EFFORT", "1")
FOLDS = 4
PATH_FIGURES = [
    ("svc", "onset_auroc_1s", ("auroc", 1)), ("svc", "onset_auroc_5s", ("auroc", 5)), ("svc", "onset_ap_5s", ("ap", 5)),
    ("svc", "onset_ece_5s", ("ece", 5)), ("svc", "V0", "left_0"), ("svc", "V05", "left_5"), ("svc", "V10", "left_10"),
    ("pam", "onset_auroc_1s", ("auroc", 1)), ("pam", "onset_ap_5s", ("ap", 5)), ("pam", "V0", "left_0"),
    ("pam", "V10", "left_10"), ("pam", "V20", "left_20"), ("svc", "pairs_o90", "pairs_o90"),
    ("pam", "pairs_o90", "pairs_o90"), ("svc", "switches_step", "switches_step"), ("pam", "switches_step", "switches_step"),
]
# task, data set and horizon, score: names
NODE_FIGURES = [("overload", "%s p15" % s, "auroc", "overload_auroc_15m_" + s) for s in ("smd", "asd")] + \
    [("node", "%s health" % s, "auroc", "health_in_incident_auroc_" + s) for s in ("smd", "asd", "nab")] + \
    [("node", "smd p15", "detect", "detect_15m_smd")] + \
    [("node", "%s p%d" % (s, m), "skill", "failure_brier_skill_%s%s" % (s, "" if m == 15 else "_%dm" % m)) for s in ("smd", "asd", "nab") for m in (5, 15, 60)]


def figure(name, value, why=None):
    row = {"figure": "forecast." + name, "value": None if value is None else float("%.5g" % value)}
    if value is None:
        row["why"] = why
    print(json.dumps(row), flush=True)


def sundog(*words):
    done = subprocess.run([SUNDOG, *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError("sundog %s: exit %d" % (" ".join(words), done.returncode))
    return done.stdout


def read(name):
    with open(name, newline="") as f:
        return list(csv.DictReader(f))


def write(name, rows):
    with open(name, "w", newline="") as f:
        w = csv.DictWriter(f, rows[0].keys(), lineterminator="\n")
        w.writeheader()
        w.writerows(rows)


def paths_folder(where, abouts):
    os.makedirs(where)
    write(os.path.join(where, "traces.csv"), abouts)
    for a in abouts:
        for end in ".csv.gz", ".csv":
            source = os.path.abspath(os.path.join(DATA, "paths", a["trace"] + end))
            if os.path.exists(source):
                os.symlink(source, os.path.join(where, a["trace"] + end))
    return where


def day_folds(abouts):
    """Whole days, the largest first, each to the fold that has least."""
    size = {}
    for a in abouts:
        size[a["date"]] = size.get(a["date"], 0) + int(a["rows"])
    full, fold = [0] * FOLDS, {}
    for date in sorted(size, key=lambda d: (-size[d], d)):
        fold[date] = full.index(min(full))
        full[fold[date]] += size[date]
    return fold


def mean(pairs):
    pairs = [(v, n) for v, n in pairs if v is not None and n > 0]
    total = sum(n for _, n in pairs)
    return sum(v * n for v, n in pairs) / total if total else None


def judge_family(family, others, work):
    """Rows of all folds: what sundog backtest says about the days left out."""
    everything = read(os.path.join(DATA, "paths", "traces.csv"))
    own = [a for a in everything if a["family"] == family]
    fold = day_folds(own)
    reports = []
    for f in sorted(set(fold.values())):
        out = [a for a in own if fold[a["date"]] == f]
        learn = [a for a in everything if (a["family"] == family and fold[a["date"]] != f) or a["family"] in others]
        where = os.path.join(work, "%s%d" % (family, f))
        model = where + ".model"
        sundog("train", "--data", paths_folder(where + "-learn", learn), "--out", model, "--folds", "2", "--threads",
               THREADS, "--effort", EFFORT)
        judged = paths_folder(where + "-judge", out)
        one = json.loads(sundog("-o", "json", "backtest", "--data", judged, "--model", model))
        # Steering by the root of the risk makes the hysteresis fine where risks are small.
        fine = json.loads(sundog("-o", "json", "backtest", "--data", judged, "--model", model, "--power", "0.5", *(
            ["--steer-by", "next"] if family == "pam" else [])))
        reports.append((one, fine))
    return reports


def path_value(reports, what):
    if isinstance(what, tuple):
        key, horizon = what
        rows = [r for one, _ in reports for r in one["scores"] if r["of"] == "onset" and r["horizon_s"] == horizon]
        return mean([(r[key], r["n"]) for r in rows])
    rows = [r for _, fine in reports for r in fine["worth"]]
    value = mean([(r[what], r["steps"]) for r in rows])
    return value * 100 if value is not None and what.startswith("left_") else value


def judge_paths(work, family, others):
    reports = judge_family(family, others, work)
    for of, name, what in PATH_FIGURES:
        if of == family:
            figure("%s_%s" % (family, name), path_value(reports, what), "no outcome of both kinds")


def judge_nodes(work, task, stride):
    """Lines of words and numbers in turn, "asd p15 steps 24370 base 0.00467 ...", as {"asd p15": {"steps": 24370 ...}}."""
    done = subprocess.run([JUDGE, os.path.join(DATA, "health"), task, os.path.join(work, task + ".csv"), str(stride)],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    said = {}
    for line in done.stdout.splitlines():
        words = line.split()
        said[" ".join(words[:2])] = dict(zip(words[2::2], map(float, words[3::2])))
    for of, row, score, name in NODE_FIGURES:
        if of == task:
            value = said.get(row, {}).get(score)
            figure(name, None if value is None or math.isnan(value) else value, "no outcome of both kinds")


def main():
    has_paths = os.path.exists(os.path.join(DATA, "paths", "traces.csv"))
    has_nodes = os.path.exists(os.path.join(DATA, "health", "nodes.csv"))
    with tempfile.TemporaryDirectory(prefix="sundog-forecast-") as work:
        for family, others in (("svc", []), ("pam", ["maineping"])):
            if family in PARTS and has_paths:
                judge_paths(work, family, others)
            for of, name, _ in PATH_FIGURES:
                if of == family and family in PARTS and not has_paths:
                    figure("%s_%s" % (family, name), None, "no recorded paths in %s; set SUNDOG_DATA" % DATA)
        # Overload is asked at every sixth step: neighbouring ones say the same.
        for task, stride in (("node", 1), ("overload", 6)):
            if task in PARTS and has_nodes:
                judge_nodes(work, task, stride)
            for of, _, _, name in NODE_FIGURES:
                if of == task and task in PARTS and not has_nodes:
                    figure(name, None, "no recorded nodes in %s; set SUNDOG_DATA" % DATA)


main()
