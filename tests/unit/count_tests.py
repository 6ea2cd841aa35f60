#!/usr/bin/env python3
"""The count that closes a test run loses nothing: every way for a program to break is a failure in it.

Usage: count_tests.py TOOLS_FOLDER
"""
import contextlib
import io
import json
import os
import sys
import tempfile

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import count_tests  # noqa: E402

# what it is, its log or None for "did not run", passed, failed, skipped
ROWS = (
    ("two good lines", ("1..2\nok 1 - a\nok 2 - b\n", 0, "OK"), 2, 0, 0),
    ("a bad line", ("1..2\nok 1 - a\nnot ok 2 - b\n", 1, "ERROR"), 1, 1, 0),
    ("a skipped line, told why", ("1..2\nok 1 - a\nok 2 - b # SKIP no right to\n", 0, "OK"), 1, 0, 1),
    ("cmocka's own form of a skip", ("1..1\nnot ok 1 # SKIP\n", 0, "SKIP"), 0, 0, 1),
    ("all of it skipped", ("1..0 # SKIP needs root\n", 0, "SKIP"), 0, 0, 1),
    ("the plan at the end", ("ok 1 - a\n1..1\n", 0, "OK"), 1, 0, 0),
    ("a name with a # in it", ("1..2\nok 1 - path #1\nnot ok 2 - skip # not\n", 1, "ERROR"), 1, 1, 0),
    ("notes are not lines", ("1..1\n# not ok at all\nokay\nok 1 - a\n", 0, "OK"), 1, 0, 0),
    ("a crash between two lines", ("1..3\nok 1 - a\n", -11, "ERROR"), 1, 1, 0),
    ("a crash after the last line", ("1..1\nok 1 - a\n", -11, "ERROR"), 1, 1, 0),
    ("a leak told at the end", ("1..1\nok 1 - a\n", 23, "ERROR"), 1, 1, 0),
    ("nothing said at all", ("", 0, "SKIP"), 0, 1, 0),
    ("announced and nothing said", ("1..5\n", 0, "SKIP"), 0, 1, 0),
    ("broken off before the plan", ("ok 1 - a\n", 0, "OK"), 1, 1, 0),
    ("killed by its time limit", ("1..2\nok 1 - a\n", -9, "TIMEOUT"), 1, 1, 0),
    ("never run", None, 0, 1, 0),
)
PLAIN = (
    ("ends well", ("", 0, "OK"), 1, 0, 0),
    ("ends badly", ("", 1, "FAIL"), 0, 1, 0),
    ("crashes", ("", -6, "FAIL"), 0, 1, 0),
    ("skips itself", ("", 77, "SKIP"), 0, 0, 1),
    ("killed by its time limit", ("", -15, "TIMEOUT"), 0, 1, 0),
)


def fill(folder, protocol, log, suite):
    for name in ("meson-info", "meson-logs"):
        os.mkdir(os.path.join(folder, name))
    with open(os.path.join(folder, "meson-info", "intro-tests.json"), "w") as f:
        json.dump([{"name": "unit/x", "protocol": protocol, "suite": suite}], f)
    with open(os.path.join(folder, "meson-logs", "testlog.json"), "w") as f:
        if log:
            f.write(json.dumps({"name": "sundog:unit / unit/x", "stdout": log[0], "returncode": log[1],
                                "result": log[2]}) + "\n")


def counted(protocol, logs, *arguments, suite="sundog:unit"):
    """One build folder a log. @return the last line, and the status"""
    with tempfile.TemporaryDirectory() as top:
        folders = [os.path.join(top, str(i)) for i in range(len(logs))]
        for folder, log in zip(folders, logs):
            os.mkdir(folder)
            fill(folder, protocol, log, [suite])
        out = io.StringIO()
        sys.argv[1:] = [*arguments, *folders]
        with contextlib.redirect_stdout(out):
            status = count_tests.main()
        return out.getvalue().splitlines()[-1], status


GOOD = ("1..1\nok 1 - a\n", 0, "OK")
# what it is, one log a folder, its arguments and suite, what is counted
FOLDERS = (
    ("a selection leaves out what did not run, and nothing at all is no success", [None], ("--some",), "sundog:lab",
     ("0 passed, 0 failed, 0 skipped", 1)),
    ("what runs in every build is missed in each", [None, GOOD], (), "sundog:lab", ("1 passed, 1 failed, 0 skipped", 1)),
    ("what runs in one build only is not missed in the other", [None, GOOD], (), "sundog:sanitized",
     ("1 passed, 0 failed, 0 skipped", 0)),
    ("but in both it is", [None, None], (), "sundog:sanitized", ("0 passed, 1 failed, 0 skipped", 1)),
)


def main():
    rows = [("%s: %s" % (kind, what), (kind, [log]), {},
             ("%d passed, %d failed, %d skipped" % (passed, failed, skipped), int(failed > 0 or passed == 0)))
            for kind, table in (("tap", ROWS), ("exitcode", PLAIN)) for what, log, passed, failed, skipped in table]
    rows += [(what, ("tap", logs, *more), {"suite": suite}, want) for what, logs, more, suite, want in FOLDERS]
    print("1..%d" % len(rows))
    bad = 0
    for n, (what, arguments, named, want) in enumerate(rows, 1):
        got = counted(*arguments, **named)
        bad += got != want
        print("%sok %d - %s" % ("" if got == want else "not ", n, what))
        if got != want:
            print("# got %s, expected %s" % (got, want))
    return 1 if bad else 0


sys.exit(main())
