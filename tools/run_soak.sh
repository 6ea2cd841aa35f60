#!/bin/bash
# The long sweeps that "make test" leaves out: about three hours. Each part says OK or FAILED; the last line counts them.
#   tools/run_soak.sh [PART]...     fuzz labs voice path instance; without a name all, in this order
#   FUZZ_SECONDS=600                for each fuzz target
#   LAB_RUNS=20                     how often each lab runs
#   TIMES=100                       cuts and kills in bench/path.sh
#   RUNS=50                         of each failure of a server under 1,000 connections, in bench/instance.sh
# What was measured stays in build-soak/*.jsonl, what was said in build-soak/*.log. Fuzzing keeps what it found
# in build-asan/tests/fuzz/found-NAME, so the next soak starts from there.
set -u
export SOAK=1 # labs that have a short form take the long one
cd "$(dirname "$0")/.."
exec </dev/null
folder=build-soak
good=0
bad=0
mkdir -p "$folder"

part() { # name, command...: its output into the log, a verdict here
        local name=$1 began=$SECONDS
        shift
        echo "-- $name: $*"
        if "$@" >"$folder/$name.log" 2>&1; then
                good=$((good + 1))
                echo "OK $name, $((SECONDS - began)) s"
        else
                bad=$((bad + 1))
                echo "FAILED $name, $((SECONDS - began)) s; the end of $folder/$name.log:"
                tail -25 "$folder/$name.log"
        fi
}

# A bench that could not measure says null, and its status is 0: that is no success here.
measured() { # jsonl, command...
        local to=$folder/$1
        shift
        "$@" >"$to" || return 1
        cat "$to"
        [[ -s $to ]] && ! grep '"value":null' "$to"
}

configured() { # folder, compiler, options...
        local where=$1 compiler=$2
        shift 2
        if [[ -f $where/build.ninja ]]; then
                meson configure "$where" "$@" || return 1
        else
                CC=$compiler meson setup "$where" "$@" || return 1
        fi
        ninja -C "$where"
}

fuzz() {
        part build-asan configured build-asan clang -Dbuildtype=debugoptimized -Db_sanitize=address,undefined \
                -Db_lundef=false -Dfuzz=true -Dbench=false -Dfuzz_seconds="${FUZZ_SECONDS:-600}"
        UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 part fuzz \
                meson test -C build-asan --no-rebuild --suite fuzz --print-errorlogs
}
labs() {
        part build-test configured build-test gcc -Dbuildtype=release -Dwerror=true
        part labs meson test -C build-test --no-rebuild --suite lab --repeat "${LAB_RUNS:-20}" --print-errorlogs
}
voice() { PLAYLIST=all part voice measured voice.jsonl bench/voice.sh; }
path() {
        # As long for each disturbance as in the bench: 2 s.
        local times=${TIMES:-100}
        TIMES=$times PACKETS=$((times * 50000)) part path measured path.jsonl bench/path.sh cut kill
}
instance() {
        RUNS=${RUNS:-50} part instance_kept measured instance_kept.jsonl bench/instance.sh kept
        RUNS=${RUNS:-50} part instance_stall measured instance_stall.jsonl bench/instance.sh stall
        SECONDS_PER=600 part instance_false measured instance_false.jsonl bench/instance.sh false
}

[[ $# -gt 0 ]] || set -- fuzz labs voice path instance
for name in "$@"; do
        case $name in
        fuzz | labs | voice | path | instance) ;;
        *) echo "there is no part \"$name\": fuzz, labs, voice, path, instance" >&2; exit 2 ;;
        esac
done
for name in "$@"; do "$name"; done
echo "$good parts OK, $bad failed"
[[ $bad -eq 0 ]]
