#!/bin/bash
# again.sh LAB [ARGUMENTS]: a lab that measures milliseconds, with a second chance on a busy machine.
#
# It runs once; when it fails, and the processors had less than a third of their time to spare meanwhile, it runs
# once more, and that counts. The first try is shown as notes, with the reason. A failure on a quiet machine stands.
set -uo pipefail
idle_least=33

# Ticks of all processors since the start: all, idle (man 5 proc).
ticks() { awk '$1 == "cpu" { for (i = 2; i <= 9; i++) all += $i; print all, $5 + $6 }' /proc/stat; }

said=$(mktemp)
trap 'rm -f "$said"' EXIT
read -r all_before idle_before < <(ticks)
"$@" >"$said" 2>&1 &
lab=$!
trap 'kill $lab; wait $lab; exit 1' INT TERM
wait $lab
status=$?
trap - INT TERM
read -r all idle < <(ticks)
share=$((all > all_before ? 100 * (idle - idle_before) / (all - all_before) : 100))
if [ $status -eq 0 ] || [ $share -ge $idle_least ]; then
        cat "$said"
        [ $status -eq 0 ] || echo "# the processors were idle $share % of the time: no second try"
        exit $status
fi
sed 's/^/# first try: /' "$said"
echo "# the first try failed while the processors were idle only $share % of the time: once more"
rm -f "$said"
exec "$@"
