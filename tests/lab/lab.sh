# shellcheck shell=bash
# Shell library of the namespace tests. A test is a script of this form:
#
#     . "$(dirname "$0")/lab.sh"
#     lab_begin NAME 3                      # topology with 3 paths, emulator running; skips without the right to
#     emu set p0 delay 20ms
#     check "P4: a ping takes 40 ms" ping_near 40
#     lab_end
#
# It prints TAP. What a test needs comes from the environment: $SUNDOG_BUILD is the build folder (meson sets it), $SUNDOG_SOURCE
# the source. A test never sleeps and hopes: it waits for a condition, with a limit (wait_for). Every process is
# started by `spawn` or in a namespace of the test's own; all are gone after lab_end, also when the test fails.
set -uo pipefail

lab_source=${SUNDOG_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
lab_build=${SUNDOG_BUILD:-$lab_source/build}
lab_count=0
lab_failed=0
lab_pids=()
lab_prefix=
lab_dir=
export LINKEMU=$lab_build/lab/linkemu

note() { sed 's/^/# /' <<<"$*"; }

# ok STATUS SENTENCE
ok() {
        lab_count=$((lab_count + 1))
        if [ "$1" -eq 0 ]; then
                echo "ok $lab_count - $2"
        else
                echo "not ok $lab_count - $2"
                lab_failed=1
        fi
}

# check SENTENCE COMMAND...: holds when the command succeeds; its output explains a failure.
check() {
        local say=$1 rc
        shift
        # Not $(...): what the command spawns must be this shell's child, to be waited for and ended.
        "$@" >"$lab_dir/check.out" 2>&1
        rc=$?
        [ $rc -eq 0 ] || { note "$* gave $rc"; note "$(cat "$lab_dir/check.out")"; }
        ok $rc "$say"
        return $rc
}

# need SENTENCE COMMAND...: the same, but the test cannot go on without it.
need() {
        check "$@" || bail "cannot go on"
}

bail() {
        note "$*"
        lab_failed=1
        lab_end
}

skip_all() {
        echo "1..0 # SKIP $*"
        exit 0
}

# wait_for LIMIT_S COMMAND...: until it succeeds. Fails after the limit.
wait_for() {
        local until=$(($(date +%s%N) + $1 * 1000000000))
        shift
        until "$@" >/dev/null 2>&1; do
                [ "$(date +%s%N)" -lt "$until" ] || return 1
                sleep 0.05
        done
}

# is COMPARISON, in numbers: is 3.9 '<' 4. Nothing is not a number.
is() {
        local number='^-?[0-9.]+(e[-+]?[0-9]+)?$'
        [[ $1 =~ $number && $3 =~ $number ]] || { echo "\"$1\" $2 \"$3\": not numbers"; return 1; }
        awk -v a="$1" -v b="$3" "BEGIN { exit !(a $2 b) }" || { echo "$1 is not $2 $3"; return 1; }
}

# json FILE PATH: one value, like: json r.json '["delay_ms"]["p50"]'
json() { python3 -c 'import json,sys; print(eval("json.load(open(sys.argv[1]))" + sys.argv[2]))' "$1" "$2"; }

# in_ns NAME COMMAND...: in one of the topology's namespaces: ha gwa net gwb hb.
in_ns() {
        local ns=$lab_prefix-$1
        shift
        ip netns exec "$ns" "$@"
}

# spawn LOG COMMAND...: in the background, killed at the end. $! is its pid. COMMAND is a program, not a function,
# so that the pid is that of the program itself.
spawn() {
        local log=$lab_dir/$1
        shift
        "$@" >"$log" 2>&1 &
        lab_pids+=($!)
}

# spawn_in NS LOG COMMAND...
spawn_in() {
        local ns=$lab_prefix-$1 log=$2
        shift 2
        spawn "$log" ip netns exec "$ns" "$@"
}

# finish PID: wait for a spawned process that ends by itself.
finish() { wait "$1"; }

topology() { "$lab_source/lab/topology.sh" "$1" "$lab_prefix" "${@:2}"; }
emu() { "$LINKEMU" tell "/run/sundog-lab/$lab_prefix/emu.sock" "$@" >"$lab_dir/emu.json"; }

# A number from the emulator's counters: emu_count p0 ab dropped.cut
emu_count() {
        emu stats && python3 - "$lab_dir/emu.json" "$@" <<'PY'
import json, sys
at = json.load(open(sys.argv[1]))["links"][sys.argv[2]][sys.argv[3]]
for key in sys.argv[4].split("."):
    at = at[key]
print(at)
PY
}

# The emulator kept up: nothing was lost that it was not told to lose. A figure without this is void.
emu_kept_up() {
        emu stats && python3 - "$lab_dir/emu.json" <<'PY'
import json, sys
bad = [(l, w, k, x["dropped"][k]) for l, v in json.load(open(sys.argv[1]))["links"].items() for w, x in v.items()
       for k in ("missed", "pool", "size", "send") if x["dropped"][k]]
print(*bad)
sys.exit(bool(bad))
PY
}

# lab_begin NAME [PATHS]
lab_begin() {
        [ "$(id -u)" -eq 0 ] || skip_all "namespaces need root"
        [ -x "$LINKEMU" ] || skip_all "$LINKEMU is not built"
        ip netns add "sdlab-probe-$$" 2>/dev/null || skip_all "this machine lets nobody make network namespaces"
        ip netns del "sdlab-probe-$$"
        lab_prefix=${LAB_PREFIX:-sdlab}-$1
        lab_dir=$(mktemp -d)
        trap lab_down EXIT
        trap 'exit 1' INT TERM
        topology up "${2:-3}" || bail "cannot make the topology"
        spawn emu.log "$lab_source/lab/topology.sh" emulate "$lab_prefix"
        emu stats || bail "the emulator does not answer: $(cat "$lab_dir/emu.log")"
}

lab_down() {
        local pid
        for pid in ${lab_pids[@]+"${lab_pids[@]}"}; do kill "$pid" 2>/dev/null; done
        wait ${lab_pids[@]+"${lab_pids[@]}"} 2>/dev/null
        lab_pids=()
        # A script's own: what it mounted, say.
        ! declare -F lab_cleanup >/dev/null || [ -z "$lab_dir" ] || lab_cleanup
        [ -z "$lab_prefix" ] || topology down
        [ -z "$lab_dir" ] || rm -rf "$lab_dir"
        lab_dir=
}

lab_end() {
        echo "1..$lab_count"
        exit $lab_failed
}
