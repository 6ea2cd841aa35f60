#!/bin/bash
# `sundog demo`, six seconds of it: the table as data, the files, and nothing left behind. Also when it is interrupted.
. "$(dirname "$0")/lab.sh"
sundog=$lab_build/sundog
[ "$(id -u)" -eq 0 ] || skip_all "namespaces need root"
unshare --mount --pid --fork true 2>/dev/null || skip_all "this machine lets nobody make namespaces"
ip netns add "sdlab-probe-$$" 2>/dev/null || skip_all "this machine lets nobody make network namespaces"
ip netns del "sdlab-probe-$$"
lab_dir=$(mktemp -d)
trap 'rm -rf "$lab_dir"' EXIT
# In a sanitized build each program, the decider of its own user as well, tells what it found in a file. Leaks are
# not looked for: that needs ptrace, which a process in this world's own process namespace may lack.
chmod 711 "$lab_dir"
mkdir -m 1777 "$lab_dir/found"
export ASAN_OPTIONS=detect_leaks=0:log_path=$lab_dir/found/asan
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$lab_dir/found/ubsan
sanitizers_are_silent() { [ -z "$(ls "$lab_dir/found")" ] || { cat "$lab_dir"/found/*; return 1; }; }
cd "$lab_dir" || exit 1

# Everything of the demo has its environment, and with it this mark; somebody else's demo on this machine has not.
mark=SUNDOG_DEMO_TEST=$$
of_the_demo() { grep -lsz "^$mark\$" /proc/[0-9]*/environ 2>/dev/null; }
nothing_is_left() { [ "$(ip netns list | grep -c demo-demo)" = 0 ] && ! grep -q sundog-demo /proc/mounts && [ -z "$(of_the_demo)" ]; }
table_is_whole() {
        python3 - table.json <<'PY'
import json, sys
rows = {r["figure"]: r for r in json.load(open(sys.argv[1]))}
want = ["packets", "bad_packets", "bad_share", "lost_packets", "longest_gap_ms", "download_s", "call_bytes", "call_copies",
        "decisions_helped", "decisions_neutral", "decisions_hurt", "decisions_open"]
assert list(rows) == want, list(rows)
for r in rows.values():
    assert set(r) == {"figure", "what", "unit", "alone", "sundog", "ratio"}, r
for key in want:
    assert key == "download_s" or isinstance(rows[key]["sundog"], (int, float)), rows[key]
assert rows["packets"]["alone"] == rows["packets"]["sundog"] == 300, rows["packets"]
assert rows["call_copies"]["sundog"] > 1, "copies and probes cost something"
assert rows["call_bytes"]["sundog"] > rows["call_bytes"]["alone"] == 300 * 202, rows["call_bytes"]
PY
}
# A run that a busy machine spoilt says so with 3 and has its table all the same.
short_demo() { env "$mark" "$sundog" demo --seconds 6 -o json >table.json 2>progress; local rc=$?; cat progress; [ $rc = 0 ] || [ $rc = 3 ]; }
interrupted_demo() {
        local pid
        env "$mark" "$sundog" demo --seconds 6 >progress 2>&1 &
        pid=$!
        wait_for 20 grep -q "$1" progress || { kill -INT $pid; cat progress; return 1; }
        [ -n "$(of_the_demo)" ] || echo "the demo runs, and no process of it can be seen"
        kill "-$2" $pid
        wait $pid
        [ $? = "$3" ] && ! grep -q 'no process' "$lab_dir/check.out"
}
refuses() { ! PATH=$1 "$sundog" demo 2>said && grep -q "$2" said; }

check "a tool that is missing is named, with its package" refuses /nonexistent "needs .*iperf3.*apt-get install.* iperf3"
check "--seconds 1 is refused" bash -c "'$sundog' demo --seconds 1 2>&1 | grep -q '5 at least'"
check "the short demo ends well" short_demo
check "its table has every figure" table_is_whole
check "the picture is drawn" grep -q '</svg>' demo-out/demo.svg
check "every decision is explained" grep -q '^happened' demo-out/decisions.txt
check "nothing is left behind" wait_for 3 nothing_is_left
check "an interrupt in the first phase ends it" interrupted_demo "^alone" INT 1
check "... and leaves nothing behind" wait_for 3 nothing_is_left
check "being killed while the gateways start ends it" interrupted_demo "starting Sundog" KILL 137
check "... and leaves nothing behind" wait_for 3 nothing_is_left
[ -z "${SUNDOG_SANITIZED:-}" ] || check "the sanitizers have nothing to say of any program" sanitizers_are_silent
lab_end
