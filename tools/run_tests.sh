#!/bin/bash
# Every test: gcc release with warnings as errors, then clang with address and undefined-behaviour
# sanitizers and the fuzzers. The last line counts the statements of both runs.
set -u
cd "$(dirname "$0")/.."
fuzz_seconds=${FUZZ_SECONDS:-30}

setup() { # folder, compiler, options...
        local folder=$1 compiler=$2
        shift 2
        if [[ ! -f $folder/build.ninja ]]; then
                CC=$compiler meson setup "$folder" "$@" >"$folder.setup.log" 2>&1 ||
                        { cat "$folder.setup.log" >&2; return 1; }
                rm -f "$folder.setup.log"
        fi
        ninja -C "$folder" -k 0 >"$folder/build.log" 2>&1 || { grep -E -A5 'error|FAILED' "$folder/build.log" >&2; return 1; }
}

status=0
setup build-test gcc -Dbuildtype=release -Dwerror=true || exit 1
setup build-asan clang -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false \
        -Dfuzz=true -Dbench=false -Dfuzz_seconds="$fuzz_seconds" || exit 1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
for folder in build-test build-asan; do
        echo "== $folder"
        meson test -C "$folder" --no-rebuild --print-errorlogs "$@" || status=1
done
python3 tools/count_tests.py build-test build-asan || status=1
exit $status
