#!/bin/bash
# How exact the emulator is on this machine, right now: a table on standard output. Needs root, takes 40 s.
# Delays are measured from outside, one way between the hosts, so they include two forwarding gateways (the row
# "delay 0" is about them). What the machine's load does to them is the point: look at p99.
#
#     lab/accuracy.sh [LINKEMU OPTION...]      like: lab/accuracy.sh --lead 60us
here=$(dirname "$0")
. "$here/../tests/lab/lab.sh"
voice=$lab_build/lab/voice
options=("$@")

row() { printf '%-34s %12s %12s %12s %12s\n' "$@"; }
got() { printf '%.3f' "$(json "$lab_dir/got.json" "$1")"; }

stream() {
        local receiver
        spawn_in hb recv.log "$voice" recv --bind 10.77.2.10:7000 --wait 5s --idle 1s --report "$lab_dir/got.json"
        receiver=$!
        wait_for 5 in_ns hb sh -c 'ss -lun | grep -q :7000'
        in_ns ha "$voice" send --to 10.77.2.10:7000 --from 10.77.1.10:0 "$@" --report "$lab_dir/sent.json"
        finish "$receiver"
}

tcp() {
        spawn_in hb iperf.log iperf3 -s -1 -p 5201
        wait_for 5 in_ns hb sh -c 'ss -ltn | grep -q :5201'
        in_ns ha iperf3 -c 10.77.2.10 -B 10.77.1.10 -p 5201 -t 4 -J >"$lab_dir/iperf.json"
}

lab_begin accuracy 1 >&2
if [ ${#options[@]} -gt 0 ]; then
        emu quit
        wait_for 5 bash -c "! kill -0 ${lab_pids[0]}" || bail "the emulator does not end"
        spawn emu.log "$lab_source/lab/topology.sh" emulate "$lab_prefix" "${options[@]}"
        emu stats || bail "the emulator does not answer: $(cat "$lab_dir/emu.log")"
fi
echo "load $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) CPUs, kernel $(uname -r) ${options[*]}"
row "one way, ms" p50 p99 max "late p50 us"
for ms in 0 5 20; do
        emu set p0 delay ${ms}ms
        emu stats reset
        stream --interval 5ms --for 3s
        row "delay $ms ms, 200 packets/s" "$(got '["delay_ms"]["p50"]')" "$(got '["delay_ms"]["p99"]')" "$(got '["delay_ms"]["max"]')" \
                "$(emu_count p0 ab late_us.p50)"
done
emu set p0 delay 5ms
emu stats reset
stream --rate 20000 --for 3s
row "delay 5 ms, 20,000 packets/s" "$(got '["delay_ms"]["p50"]')" "$(got '["delay_ms"]["p99"]')" "$(got '["delay_ms"]["max"]')" \
        "$(emu_count p0 ab late_us.p50)"
emu set p0 delay 0ms loss 10%
stream --rate 10000 --for 3s
row "" lost of "" ""
row "loss 10 %" "$(json "$lab_dir/got.json" '["lost"]')" 30000 "" ""
emu set p0 loss 0%
row "" "TCP Mbit/s" "on the wire" "queue p99 ms" "queue drops"
for mbit in 50 500; do
        emu set p0 rate ${mbit}Mbit/s queue 256KiB
        emu stats reset
        tcp
        # The wire's own clock: bytes out over the time that iperf3 says it sent.
        row "rate $mbit Mbit/s, queue 256 KiB" \
                "$(json "$lab_dir/iperf.json" '["end"]["sum_received"]["bits_per_second"] / 1e6' | cut -c1-6)" \
                "$(awk "BEGIN { printf \"%.1f\", $(emu_count p0 ab out_bytes) * 8e-6 / $(json "$lab_dir/iperf.json" '["end"]["sum_received"]["seconds"]') }")" \
                "$(awk "BEGIN { printf \"%.2f\", $(emu_count p0 ab delay_us.p99) / 1e3 }")" "$(emu_count p0 ab dropped.queue)"
done
emu_kept_up || echo "void: the machine was too busy for the emulator: $(emu_kept_up)"
