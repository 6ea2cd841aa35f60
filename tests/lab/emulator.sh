#!/bin/bash
# The emulator does what it is told, on real interfaces: delay, loss, rate, queue, cut, recorded traces.
# P4: what the lab claims a path does is measured from outside; P10: paths are independent of each other.
# The limits are wide: a shared machine wakes late. The figures are printed for people to see.
. "$(dirname "$0")/lab.sh"
voice=$lab_build/lab/voice

# call NAME PATH RECV_ARGS -- SEND_ARGS: a stream over one path, report in $lab_dir/NAME.json
call() {
        local name=$1 path=$2 receiver rargs=()
        shift 2
        while [ "$1" != -- ]; do rargs+=("$1"); shift; done
        shift
        spawn_in hb "$name.recv" "$voice" recv --bind "10.77.2.1$path:7$path" --wait 10s --idle 1s \
                --report "$lab_dir/$name.json" "${rargs[@]}"
        receiver=$!
        wait_for 5 in_ns hb sh -c "ss -lun | grep -q :7$path" || return 1
        in_ns ha "$voice" send --to "10.77.2.1$path:7$path" --from "10.77.1.1$path:0" "$@" --report "$lab_dir/$name.sent" ||
                return 1
        finish "$receiver" || { cat "$lab_dir/$name.recv"; return 1; }
}

between() { is "$2" '>=' "$1" && is "$2" '<=' "$3"; }

lab_begin emu 3

for ms in 0 5 20; do
        emu set p0 delay ${ms}ms
        emu stats reset
        need "a call over ${ms} ms arrives" call "d$ms" 0 -- --interval 10ms --for 2s
        p50=$(json "$lab_dir/d$ms.json" '["delay_ms"]["p50"]')
        p99=$(json "$lab_dir/d$ms.json" '["delay_ms"]["p99"]')
        note "delay $ms ms: one way p50 $p50 ms, p99 $p99 ms; frames left late by p50 $(emu_count p0 ab late_us.p50) us, p99 $(emu_count p0 ab late_us.p99) us"
        check "P4: delay $ms ms is $ms ms, and no less" between "$(awk "BEGIN { print $ms * 0.97 }")" "$p50" "$((ms + 3))"
        check "all arrive, once" [ "$(json "$lab_dir/d$ms.json" '["received"]')-$(json "$lab_dir/d$ms.json" '["duplicates"]')" = 200-0 ]
done

emu set p0 delay 1ms loss 10%
emu set p1 delay 10ms
need "two streams at a time, one of them over a lossy path" call lossy 0 -- --rate 10000 --for 2s
need "and the other" call clean 1 -- --rate 2000 --for 1s
note "loss 10 %: $(json "$lab_dir/lossy.json" '["lost"]') of 20000"
check "P4: loss 10 % loses about 2000 of 20000" between 1800 "$(json "$lab_dir/lossy.json" '["lost"]')" 2200
check "P10: the other path loses nothing" [ "$(json "$lab_dir/clean.json" '["lost"]')" = 0 ]
check "the emulator counted each of them" [ "$(json "$lab_dir/lossy.json" '["lost"]')" = "$(emu_count p0 ab dropped.loss)" ]

# 1400 bytes of payload are 1442 on the wire: 8,669 packets a second in 100 Mbit/s.
for mbit in 10 100; do
        emu set p2 rate ${mbit}Mbit/s queue 64KiB
        emu stats reset
        need "twice as much as fits into $mbit Mbit/s" call "r$mbit" 2 -- --size 1400B --rate $((mbit * 173)) --for 2s
        got=$(awk "BEGIN { print $(emu_count p2 ab out_bytes) * 8 / 2e6 }")
        note "rate $mbit Mbit/s: $got Mbit/s came out, delay p99 $(json "$lab_dir/r$mbit.json" '["delay_ms"]["p99"]') ms"
        check "P4: $mbit Mbit/s is $mbit Mbit/s" between "$(awk "BEGIN { print $mbit * 0.95 }")" "$got" "$(awk "BEGIN { print $mbit * 1.06 }")"
        # A full queue of 64 KiB takes so long: 52 ms at 10 Mbit/s, 5.2 ms at 100; it is filled in bursts of a millisecond.
        check "P4: the queue is as long as its bytes" between "$(awk "BEGIN { print 420 / $mbit }")" \
                "$(json "$lab_dir/r$mbit.json" '["delay_ms"]["p50"]')" "$(awk "BEGIN { print 545 / $mbit + 2 }")"
done
emu set p2 rate none

emu cut p1
lost_call() {
        spawn_in hb cut.recv "$voice" recv --bind 10.77.2.11:71 --wait 1s --report "$lab_dir/cut.json"
        local receiver=$!
        in_ns ha "$voice" send --to 10.77.2.11:71 --from 10.77.1.11:0 --for 200ms
        ! finish "$receiver"
}
check "a call over a cut path never arrives" lost_call
check "P12: a cut path passes nothing" [ "$(emu_count p1 ab dropped.cut)" -gt 0 ]
emu heal p1
need "healed, it passes" call healed 1 -- --for 200ms
check "all of it" [ "$(json "$lab_dir/healed.json" '["lost"]')" = 0 ]

# Two runs of the same instants of a recorded trace lose the same packets, give or take the edges of a slot.
printf 't_ms,path,rtt_ms,loss\n0,x,20,0\n500,x,100,0\n1000,x,,1\n1200,x,40,0\n' >"$lab_dir/t.csv"
emu set p0 delay 0ms loss 0%
emu trace p0 "$lab_dir/t.csv" x half
for run in one two; do
        emu start
        zero=$(json "$lab_dir/emu.json" '["zero_ns"]')
        need "a call under a recorded trace, run $run" call "t$run" 0 --zero "$zero" --series "$lab_dir/t$run.csv" -- --interval 10ms --for 1500ms
        emu stop
        note "run $run: $(json "$lab_dir/t$run.json" '["lost"]') lost, p50 $(json "$lab_dir/t$run.json" '["delay_ms"]["p50"]') ms"
        check "P4: the lost slot of 200 ms loses 20 packets" between 18 "$(json "$lab_dir/t$run.json" '["lost"]')" 22
        # Between 600 and 900 ms half of 100 ms each way.
        mid=$(awk -F, '$1 == 700 { print $5 }' "$lab_dir/t$run.csv")
        check "P4: the slow slot takes half of its round trip" between 49.5 "$mid" 54
done

check "the emulator kept up: every loss was meant" emu_kept_up
check "a wrong command gets a sentence" bash -c "$LINKEMU tell /run/sundog-lab/$lab_prefix/emu.sock set p0 delay 5 2>&1 | grep -q 'has no unit'"
# The namespaces go, and with them the interfaces: it must not stay behind and keep them alive.
gone=${lab_pids[0]}
topology down
check "the emulator ends when its interfaces are gone" wait_for 5 bash -c "! kill -0 $gone"
lab_end
