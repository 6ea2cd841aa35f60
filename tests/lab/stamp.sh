#!/bin/bash
# STAMP over real paths: what the emulator does to a path is what a session says of it, and what is on the wire
# is what another implementation (Wireshark's TWAMP-Test, whose unauthenticated layout STAMP shares) reads there.
# P4: latency, jitter and loss of every path. P6: several candidates probed at once. P11, O12: counters come back.
. "$(dirname "$0")/lab.sh"
stamp=$lab_build/tests/lab/stamp_tool
key=the-lab-has-no-secrets-but-a-key

between() { is "$2" '>=' "$1" && is "$2" '<=' "$3"; }

# reflect NAME PATH PORT ARGS...: on gateway B; its pid in $reflector
reflect() {
        local name=$1 path=$2 port=$3
        shift 3
        spawn_in gwb "$name.json" "$stamp" reflect --at "10.78.$path.2:$port" "$@"
        reflector=$!
        wait_for 5 in_ns gwb sh -c "ss -lun | grep -q '10.78.$path.2:$port'"
}

# probe NAME PATH PORT ARGS...: from gateway A, in the background; finish $prober
probe() {
        local name=$1 path=$2 port=$3
        shift 3
        spawn_in gwa "$name.json" "$stamp" probe --from "10.78.$path.1:0" --at "10.78.$path.2:$port" "$@"
        prober=$!
}
said() { json "$lab_dir/$1.json" "$2"; }
end() { kill -TERM "$1" && finish "$1"; }

lab_begin stamp 3

emu set p0 delay 5ms
emu set p1 delay 20ms
emu set p2 delay 50ms
reflectors=()
for k in 0 1 2; do
        need "a reflector on path $k" reflect "r$k" $k 862 --key $key --reports
        reflectors+=("$reflector")
done
pids=()
for k in 0 1 2; do
        probe "s$k" $k 862 --key $key --reports --for 3s
        pids+=("$prober")
done
for k in 0 1 2; do
        need "P6: three paths are probed at the same time; path $k ends well" finish "${pids[$k]}"
done
for k in 0 1 2; do
        rtt=$((k == 0 ? 10 : k == 1 ? 40 : 100))
        note "path $k, $rtt ms there and back: $(cat "$lab_dir/s$k.json")"
        check "P4: path $k: no less than $rtt ms and little more" between $rtt "$(said s$k '["rtt_ms"]["p50"]')" $((rtt + 4))
        check "P4: path $k: nothing lost" [ "$(said s$k '["lost"]')" = 0 ]
        check "P11, O12: path $k: the far end's counters came back" \
                [ "$(said s$k '["reports"]') $(said s$k '["report_received"]')" = "1 1003" ]
done
# Both namespaces have one clock here, so one-way delays are true delays.
check "one way out of path 2 is half of it" between 50 "$(said s2 '["out_ms"]')" 54
check "and so is the way back" between 50 "$(said s2 '["back_ms"]')" 54

probe busy 1 862 --key $key --for 3s --busy 30ms
need "an owner that is busy for 30 ms before every look" finish "$prober"
note "busy: $(cat "$lab_dir/busy.json")"
check "P4: does not make the path look slow" between 40 "$(said busy '["rtt_ms"]["p50"]')" 44

emu set p1 loss 10%
need "a stateful reflector" reflect full 1 863 --key $key --stateful
probe lossy 1 863 --key $key --every 5ms --for 5s
need "1000 probes over a path that loses 10 % each way" finish "$prober"
note "lossy: $(cat "$lab_dir/lossy.json")"
lost=$(awk "BEGIN { print $(said lossy '["lost"]') / $(said lossy '["sent"]') }")
check "P4: 19 % are lost" between 0.15 "$lost" 0.23
out=$(said lossy '["lost_out"]')
check "the two ways add up" [ "$((out + $(said lossy '["lost_back"]')))" = "$(said lossy '["lost"]')" ]
check "and are told apart: the emulator counted as many on the way out" between \
        "$(($(emu_count p1 ab dropped.loss) - 2))" "$out" "$(($(emu_count p1 ab dropped.loss) + 2))"
end "$reflector"
emu set p1 loss 0%

emu cut p2
probe cut 2 862 --key $key --for 1s
need "a session over a cut path" finish "$prober"
check "P4: everything is lost, and it is told" [ "$(said cut '["lost"]')" = "$(said cut '["sent"]')" ]
emu heal p2

probe stranger 0 862 --key not-the-key-of-this-lab-at-all-- --for 500ms
need "a stranger with another key" finish "$prober"
check "gets no answer at all" [ "$(said stranger '["answered"]') $(said stranger '["dropped"]["bad-tag"]')" = "0 0" ]
probe plain 0 862 --for 500ms
need "one without a key" finish "$prober"
check "neither" [ "$(said plain '["answered"]')" = 0 ]
end "${reflectors[0]}"
check "both are counted" [ "$(json "$lab_dir/r0.json" '["dropped"]["bad-tag"]')" = "$(said stranger '["sent"]')" ]
check "each under its reason" [ "$(json "$lab_dir/r0.json" '["dropped"]["short"]')" = "$(said plain '["sent"]')" ]

probe nobody 0 862 --for 500ms
need "where no one listens, refusals do not end the session" finish "$prober"
check "P4: and every probe is lost" [ "$(said nobody '["lost"]')" = "$(said nobody '["sent"]')" ]

# ---- what is on the wire, as Wireshark reads it ----
if ! command -v tshark >/dev/null; then
        lab_count=$((lab_count + 1))
        echo "ok $lab_count - what is on the wire, as Wireshark reads it # SKIP tshark is not installed"
        lab_end
fi
wire() { tshark -r "$lab_dir/$1.pcap" -d udp.port==862,twamp.test -Y "$2" -T fields "${@:3}" 2>>"$lab_dir/tshark.err"; }
# in_order FILE: the three times of each line follow each other
in_order() {
        python3 - "$1" <<'PY'
import calendar, re, sys, time
def seconds(text):
    if re.fullmatch(r"[0-9.]+", text):
        return float(text)
    whole, rest = text.removesuffix(" UTC").split(".")
    return calendar.timegm(time.strptime(" ".join(whole.split()), "%b %d, %Y %H:%M:%S")) + float("0." + rest)
lines = [[seconds(x) for x in line.rstrip("\n").split("\t")] for line in open(sys.argv[1])]
bad = [l for l in lines if not l[0] <= l[1] <= l[2] <= l[0] + 0.05]
print(len(lines), "lines, wrong:", bad)
sys.exit(bool(bad) or not lines)
PY
}
for format in ntp ptp; do
        args=()
        [ $format = ptp ] && args=(--ptp)
        need "an unauthenticated reflector" reflect "w$format" 0 862 "${args[@]}"
        spawn_in gwa "cap-$format.log" tshark -q -i u0 -w "$lab_dir/$format.pcap"
        capture=$!
        # Its header is written once the capture is open.
        need "a capture" wait_for 10 test -s "$lab_dir/$format.pcap"
        probe "p$format" 0 862 --every 100ms --for 1s "${args[@]}"
        need "a second of probes" finish "$prober"
        wait_for 5 sh -c "[ \$(tshark -r $lab_dir/$format.pcap 2>/dev/null | wc -l) -ge $((2 * $(said p$format '["sent"]'))) ]"
        kill -INT $capture
        finish $capture
        end "$reflector"
        sent=$(said p$format '["sent"]')
        wire $format 'udp.dstport == 862' -e twamp.test.seq_number -e twamp.test.error_estimate.z -e twamp.test.timestamp \
                >"$lab_dir/requests"
        wire $format 'udp.srcport == 862' -e twamp.test.sender_seq_number -e twamp.test.error_estimate.z \
                -e twamp.test.sender_timestamp -e twamp.test.sender_ttl -e twamp.test.seq_number -e udp.length \
                >"$lab_dir/replies"
        note "$format, first request: $(head -1 "$lab_dir/requests")"
        note "$format, first reply: $(head -1 "$lab_dir/replies")"
        check "$format: tshark reads all $sent requests, numbered from 0" \
                diff <(cut -f1 "$lab_dir/requests") <(seq 0 $((sent - 1)))
        check "$format: and as many replies, each with the number of its probe" \
                diff <(cut -f1 "$lab_dir/replies") <(seq 0 $((sent - 1)))
        z=$([ $format = ptp ] && echo 1 || echo 0)
        # TWAMP-Test has no other form for a request than that of a reply: the second value of a request is its MBZ.
        check "$format: the Z bit says so, in requests" [ "$(cut -f2 "$lab_dir/requests" | cut -d, -f1 | sort -u)" = "$z" ]
        check "$format: and in both times of replies" [ "$(cut -f2 "$lab_dir/replies" | sort -u)" = "$z,$z" ]
        check "$format: replies are as long as requests: 44 octets and UDP" [ "$(cut -f6 "$lab_dir/replies" | sort -u)" = 52 ]
        check "$format: the reflector saw TTL 64 and stateless numbers" \
                [ "$(awk '{ if ($NF) print $(NF-2), $(NF-1) - $1 }' "$lab_dir/replies" | sort -u)" = "64 0" ]
        # As octets: this tshark reads the sender's time in a reply as NTP whatever its Z bit says.
        check "$format: the sender's time comes back unchanged" \
                diff <(wire $format 'udp.dstport == 862' -e udp.payload | cut -c9-24) \
                <(wire $format 'udp.srcport == 862' -e udp.payload | cut -c57-72)
        wire $format 'udp.srcport == 862' -e twamp.test.receive_timestamp -e twamp.test.timestamp -e frame.time_epoch \
                >"$lab_dir/times"
        check "$format: probes are received, answered and captured again in this order, within 50 ms" in_order "$lab_dir/times"
done

lab_end
