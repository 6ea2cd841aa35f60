#!/usr/bin/env python3
"""Counts what `meson test` ran in build folders, and closes with "N passed, N failed, N skipped".

Usage: count_tests.py [--some] FOLDER...

A TAP program counts once a statement; any other program once. meson's own summary is not enough: it
calls a program that said nothing at all "skipped", and its JUnit file forgets one that broke after its
last good line. So this reads the log itself. One failure is added for each program that did not end well
although its lines do, that said fewer lines than it announced, or that never ran (those of suite "sanitized":
in no folder); with --some (a selection was asked for) those that did not run are left out. Exit status 1 when anything failed or
nothing passed.
"""
import json
import os
import re
import sys

LINE = re.compile(r"(not )?ok\b(?: +\d+)?(?: *- *)?(.*?)(?: *# *(skip|todo)\b *(.*))?", re.I)
PLAN = re.compile(r"1\.\.(\d+)(?: *# *skip\b *(.*))?", re.I)

REASONS_MOST = 8


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def fail(self, where, why):
        self.failed += 1
        print("failed: %s: %s" % (where, why))

    def skip(self, where, why):
        self.skipped += 1
        print("skipped: %s: %s" % (where, why or "no reason given"))


def count_tap(count, where, run):
    """Every line of a TAP program, and its end."""
    failed_before, seen, planned = count.failed, 0, None
    reasons = 0  # how many more lines may say why the last one failed
    for text in run.get("stdout", "").splitlines():
        if reasons and text.startswith("#"):
            print("    " + text)
            reasons -= 1
            continue
        reasons = 0
        plan = PLAN.fullmatch(text.rstrip())
        line = LINE.fullmatch(text.rstrip())
        if plan and planned is None:
            planned = int(plan.group(1))
            if planned == 0 and plan.group(2) is not None:
                count.skip(where, plan.group(2))
        elif line:
            seen += 1
            what = "%s: %s" % (where, line.group(2).strip() or "line %d" % seen)
            if (line.group(3) or "").lower() == "skip":
                count.skip(what, line.group(4))
            elif line.group(1):
                count.fail(what, "not ok")
                reasons = REASONS_MOST
            else:
                count.passed += 1
    told = count.failed > failed_before
    if planned is None:
        count.fail(where, "announced no number of tests: broken off after %d (%s)" % (seen, run["result"]))
    elif seen != planned:
        count.fail(where, "%d of %d tests told their result (%s)" % (seen, planned, run["result"]))
    elif not told and (run["returncode"] != 0 or run["result"] not in ("OK", "SKIP")):
        count.fail(where, "every line is good, but it ended with %s, status %s" % (run["result"], run["returncode"]))


def count_plain(count, where, run):
    if run["result"] == "SKIP":
        count.skip(where, "status 77")
    elif run["result"] == "OK" and run["returncode"] == 0:
        count.passed += 1
    else:
        count.fail(where, "%s, status %s" % (run["result"], run["returncode"]))


def count_folder(count, folder, is_some, once):
    """`once`: {name: ran} of the tests that need to run in one folder only."""
    with open(os.path.join(folder, "meson-info", "intro-tests.json"), encoding="utf-8") as f:
        listed = json.load(f)
    tests = {t["name"]: t["protocol"] for t in listed}
    for t in listed:
        if any(suite.endswith("sanitized") for suite in t.get("suite", ())):
            once.setdefault(t["name"], False)
    runs = {}
    try:
        with open(os.path.join(folder, "meson-logs", "testlog.json"), encoding="utf-8") as f:
            for line in f:
                run = json.loads(line)
                runs[run["name"].split(" / ", 1)[-1]] = run
    except FileNotFoundError:
        count.fail(folder, "no test was run")
        return
    for name, run in runs.items():
        (count_tap if tests.get(name) == "tap" else count_plain)(count, "%s: %s" % (folder, name), run)
    for name in tests:
        if name in once:
            once[name] = once[name] or name in runs
        elif name not in runs and not is_some:
            count.fail("%s: %s" % (folder, name), "did not run")


def main():
    folders = sys.argv[1:]
    is_some = folders[:1] == ["--some"]
    count, once = Count(), {}
    for folder in folders[is_some:]:
        count_folder(count, folder, is_some, once)
    for name in [n for n, ran in once.items() if not ran and not is_some]:
        count.fail(name, "did not run in any folder")
    print("%d passed, %d failed, %d skipped" % (count.passed, count.failed, count.skipped))
    return 1 if count.failed or not count.passed else 0


if __name__ == "__main__":
    sys.exit(main())
