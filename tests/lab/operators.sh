#!/bin/bash
# Three operators replayed from a recorded drive, a call over each of them at the same time.
# P4, P6: what each call suffers is what the recording says it must; P11: all paths are measured in the same instants.
. "$(dirname "$0")/lab.sh"
voice=$lab_build/lab/voice
trace=$lab_source/data/paths/20230806.playlist
seconds=9

lab_begin ops 3
"$lab_build/lab/tracestat" --json --for ${seconds}s "$trace" >"$lab_dir/want.json"
for k in 0 1 2; do
        emu trace p$k "$trace" "$(json "$lab_dir/want.json" "['paths'][$k]")" half
        spawn_in hb recv$k "$voice" recv --bind 10.77.2.1$k:700$k --wait 10s --idle 1500ms \
                --report "$lab_dir/got$k.json" --series "$lab_dir/got$k.csv"
        receivers[k]=$!
done
need "three receivers listen" wait_for 5 in_ns hb sh -c '[ "$(ss -lun | grep -c :700)" = 3 ]'
emu start
zero=$(json "$lab_dir/emu.json" '["zero_ns"]')
for k in 0 1 2; do
        spawn_in ha send$k "$voice" send --to 10.77.2.1$k:700$k --from 10.77.1.1$k:0 --for ${seconds}s
        senders[k]=$!
done
for k in 0 1 2; do
        check "call $k was made" finish "${senders[k]}"
        check "call $k arrived" finish "${receivers[k]}"
done
emu stop
for k in 0 1 2; do
        name=$(json "$lab_dir/want.json" "['paths'][$k]")
        want=$(json "$lab_dir/want.json" "['bad_share']['$name']")
        got=$(json "$lab_dir/got$k.json" '["bad_share"]')
        note "$name: $got of the packets lost or late, the recording says $want"
        # The call starts some milliseconds after the trace, so each spell may gain or lose a packet at its edges.
        check "P4: $name is as bad as recorded" is "$(awk "BEGIN { d = $got - $want; print d < 0 ? -d : d }")" '<' 0.025
done
bad() { json "$lab_dir/got$1.json" '["bad_share"]'; }
check "P6: the operators differ, or there would be nothing to choose" is "$(printf '%s\n' "$(bad 0)" "$(bad 1)" "$(bad 2)" | sort -g | tail -1)" '>' 0.05
check "the picture can be drawn" bash -c "'$lab_build/lab/drawrun' --trace '$trace' --for ${seconds}s \
        --run 'att alone=$lab_dir/got0.csv' --run 'verizon alone=$lab_dir/got2.csv' >'$lab_dir/p.svg'"
check "and is XML" python3 -c "import sys, xml.dom.minidom as m; m.parse('$lab_dir/p.svg')"
[ -z "${KEEP_PICTURE:-}" ] || cp "$lab_dir/p.svg" "$KEEP_PICTURE"
check "the emulator kept up: every loss was meant" emu_kept_up
lab_end
