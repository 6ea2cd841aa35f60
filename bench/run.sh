#!/bin/bash
# Runs every bench, or the one named: bench/run.sh [NAME]. A bench is build/bench/bench_NAME or
# bench/NAME.sh; each prints a table on standard error and JSON lines on standard output.
set -u
cd "$(dirname "$0")/.."
want=${1:-}
status=0
found=0
for bench in build/bench/bench_* bench/*.sh; do
        name=$(basename "$bench" .sh)
        name=${name#bench_}
        [[ $name == run || ! -x $bench || -d $bench ]] && continue
        [[ -n $want && $want != "$name" ]] && continue
        found=1
        echo "-- $name" >&2
        "$bench" || status=1
done
if [[ $found -eq 0 ]]; then
        echo "there is no bench called \"$want\"; see bench/README.md" >&2
        exit 2
fi
exit $status
