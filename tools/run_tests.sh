#!/bin/bash
# Every test: gcc release with warnings as errors, then clang with address and undefined-behaviour
# sanitizers and the fuzzers. The last line counts the statements of both runs; the exit status is 0 only
# when all was built, all ran and nothing failed.
#   tools/run_tests.sh [MESON TEST ARGUMENTS]     e.g. unit/core, or --suite bpf: then only those
#   FUZZ_SECONDS=10                               for each fuzz target
# meson runs as many side by side as there are processors, in the second build one more, for labs wait more than they work.
# Which lab runs in which build, and which alone: tests/lab/meson.build.
set -u
cd "$(dirname "$0")/.."
exec </dev/null
fuzz_seconds=${FUZZ_SECONDS:-10}
# The labs' and the log's texts are English, whatever the person's language is.
export LC_ALL=C.UTF-8

broken() { # what, log
        echo "FAILED: $1" >&2
        grep -E -A8 'error|ERROR|FAILED|warning:' "$2" >&2 || tail -30 "$2" >&2
        broken_count
}

broken_count() {
        echo "0 passed, 1 failed, 0 skipped"
        exit 1
}

# build FOLDER COMPILER OPTIONS...
build() {
        local folder=$1 compiler=$2 log=$1.log
        shift 2
        SECONDS=0
        if [[ -f $folder/build.ninja ]]; then
                meson configure "$folder" "$@" >"$log" 2>&1 || broken "configuring $folder" "$log"
        else
                CC=$compiler meson setup "$folder" "$@" >"$log" 2>&1 || broken "configuring $folder" "$log"
        fi
        ninja -C "$folder" -k 0 >"$log" 2>&1 || broken "building $folder" "$log"
        rm -f "$log"
        echo "== $folder: built in $SECONDS s"
}

# run FOLDER ARGUMENTS...
run() {
        local folder=$1
        shift
        SECONDS=0
        # Yesterday's results must not count today.
        rm -f "$folder"/meson-logs/testlog.*
        meson test -C "$folder" --no-rebuild --print-errorlogs "$@" || status=1
        echo "== $folder: tested in $SECONDS s"
}

status=0
build build-test gcc -Dbuildtype=release -Dwerror=true
# While the labs of the first build wait, the second is built: nice, so that it takes only what they leave.
(
        renice -n 19 -p $BASHPID >/dev/null
        build build-asan clang -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false \
                -Dfuzz=true -Dbench=false -Dfuzz_seconds="$fuzz_seconds"
) &
second=$!
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
if [[ $# -gt 0 ]]; then run build-test "$@"; else run build-test --no-suite sanitized; fi
wait $second || broken_count
run build-asan --num-processes $(($(nproc) + 1)) "$@"
python3 tools/count_tests.py ${1+--some} build-test build-asan || status=1
exit $status
