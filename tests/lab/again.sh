#!/bin/bash
# again.sh LAB [ARGUMENTS]: a lab with a second chance when others disturbed the first.
#
# Labs wait more than they work, so meson may run several at once, which saves half of their time. A lab that fails is
# run once more when the machine was not its own meanwhile: another lab ran beside it, the processors had less than a third
# of their time to spare, or something that wanted to run was kept waiting for long. The second run has the machine to itself, and
# it is the one that counts; the first is shown as notes, with the reason. A failure on a quiet machine stands.
#
#   SUNDOG_BUILD    where labs of one run of tests see each other
set -uo pipefail
idle_least=33 # percent
stall_most=100 # milliseconds
here=${SUNDOG_BUILD:?again.sh needs SUNDOG_BUILD}
crowd=$here/labs.begun # a line for each lab that has begun
said=$(mktemp)
lab= watch=
trap 'rm -f "$said"; [ -z "$watch" ] || kill "$watch" 2>/dev/null' EXIT
trap 'exec 9>&-; [ -z "$lab" ] || kill $lab; wait $lab; exit 1' INT TERM

# Ticks of all processors since the start: all; idle, or taken by who is nice and gives way (man 5 proc).
ticks() { awk '$1 == "cpu" { for (i = 2; i <= 9; i++) all += $i; print all, $3 + $5 + $6 }' /proc/stat; }

# Says at the end by how many milliseconds a sleep of 10 was late at worst.
watch_stalls() {
        exec python3 -c '
import signal, sys, time
worst = 0
def end(*_):
    print(int(worst * 1e3), flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
while True:
    start = time.monotonic()
    time.sleep(0.01)
    worst = max(worst, time.monotonic() - start - 0.01)'
}

begun() { wc -l <"$crowd"; }

# Whoever runs holds the lock, shared; who must be alone holds it exclusively.
exec 9>>"$here/labs.lock"
flock --exclusive --nonblock 9 && alone=1 || alone=
flock --shared 9
echo "$$" >>"$crowd"
begun_before=$(begun)
read -r all_before idle_before < <(ticks)
stalls=$(mktemp)
watch_stalls >"$stalls" 9>&- &
watch=$!
"$@" >"$said" 2>&1 9>&- &
lab=$!
wait $lab
status=$?
lab=
read -r all idle < <(ticks)
kill $watch && wait $watch
watch=
stall=$(cat "$stalls")
rm -f "$stalls"
share=$((all > all_before ? 100 * (idle - idle_before) / (all - all_before) : 100))

why=
[ -n "$alone" ] && [ "$(begun)" -eq "$begun_before" ] || why="another lab ran beside it"
[ $share -ge $idle_least ] || why="the processors were idle only $share % of the time"
[ "${stall:-0}" -le $stall_most ] || why="the machine stood still for $stall ms"
if [ $status -eq 0 ] || [ -z "$why" ]; then
        cat "$said"
        [ $status -eq 0 ] || echo "# nothing else ran, no stall was longer than $stall ms: no second try"
        exit $status
fi
sed 's/^/# first try: /' "$said"
echo "# the first try failed, and $why: once more, alone"
flock --unlock 9
flock --exclusive 9
"$@" 9>&- &
lab=$!
wait $lab
exit
