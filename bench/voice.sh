#!/bin/bash
# path.voice_bad_ratio, path.voice_overhead: a call between two sites over three operators, replayed from
# recorded traces (P10, P11, P12). In the same instants run
# - one call over each operator alone, which says how bad the best single path was, with hindsight;
# - one call through Sundog.
# bad_ratio: share of packets lost or later than 150 ms, with Sundog / on the best single path.
# overhead: bytes that Sundog sent, probes and all, / bytes of one copy of each packet in its envelope.
#
#     bench/voice.sh                     33 s: data/paths/demo.playlist; needs root
#     PLAYLIST=all bench/voice.sh        683 s: every recorded trace. This is the one to quote.
#     SPLIT=ab                           the whole excess over the least round trip on the way of the call
#
# By default the demo's playlist, because in most windows of half a minute some operator loses nothing, and a ratio
# to nothing says nothing.
here=$(dirname "$0")
. "$here/../tests/lab/lab.sh"
. "$here/gateway.sh"
voice=$lab_build/lab/voice
playlist=$lab_source/data/paths/${PLAYLIST:-demo}.playlist
split=${SPLIT:-half}

figure() {
        printf '%-32s %12.3f ratio    %s\n' "$1" "$2" "$3" >&2
        printf '{"figure":"%s","value":%s,"unit":"ratio","min":%s,"max":%s,"runs":1}\n' "$1" "$2" "$2" "$2"
}
void() {
        local name
        for name in path.voice_bad_ratio path.voice_overhead; do
                printf '%-32s %12s           %s\n' $name - "$1" >&2
                printf '{"figure":"%s","value":null,"unit":"ratio","why":"%s"}\n' $name "$(printf %s "$1" | tr '"\\\n' "'/ ")"
        done
}
got() { json "$lab_dir/got$1.json" "[\"$2\"]"; }

# Calls 0, 1, 2 over one operator each; call s through the tunnel.
address() { [ "$1" = s ] && echo "10.77.$2.2" || echo "10.77.$2.1$1"; }

if [ "$(id -u)" -ne 0 ]; then void "namespaces need root"; exit 0; fi
if why=$(gateway_lacks); then void "$why"; exit 0; fi
lab_begin voice 3 >&2
"$lab_build/lab/tracestat" --json --split "$split" "$playlist" >"$lab_dir/want.json" || { void "the playlist cannot be read"; exit 1; }
for k in 0 1 2; do emu trace p$k "$playlist" "$(json "$lab_dir/want.json" "['paths'][$k]")" "$split"; done
seconds=$(($(json "$lab_dir/want.json" '["length_ms"]') / 1000))
gateway_configure auto
if ! { gateway_start a && gateway_start b; } >"$lab_dir/start.log" 2>&1; then
        void "the gateways do not start: $(tail -1 "$lab_dir/start.log")"
        exit 1
fi
topology route dev sd0
wait_for 10 in_ns ha ping -c 1 -W 1 10.77.2.2 || { void "the tunnel does not carry a ping"; exit 1; }

declare -A receiver=() sender=()
for c in 0 1 2 s; do
        spawn_in hb "recv$c" "$voice" recv --bind "$(address $c 2):7000" --wait $((seconds > 60 ? 120 : 20))s --idle $((seconds > 60 ? 60 : 8))s --report "$lab_dir/got$c.json" \
                --series "$lab_dir/series$c.csv"
        receiver[$c]=$!
done
wait_for 5 in_ns hb sh -c '[ "$(ss -lun | grep -c :7000)" = 4 ]' || { void "the receivers do not start"; exit 1; }
emu start
emu stats reset
for c in 0 1 2 s; do
        spawn_in ha "send$c" "$voice" send --to "$(address $c 2):7000" --from "$(address $c 1):0" --for ${seconds}s
        sender[$c]=$!
done
for c in 0 1 2 s; do finish "${sender[$c]}"; done
emu stop
sent_bytes=0
for k in 0 1 2; do sent_bytes=$((sent_bytes + $(emu_count p$k ab in_bytes))); done
for c in 0 1 2 s; do finish "${receiver[$c]}" || { void "call $c: nothing arrived"; exit 1; }; done
[ -z "${KEEP:-}" ] || { cp "$lab_dir"/series?.csv "$lab_dir"/got?.json "$lab_dir"/sundogd-?.log "$KEEP/"
        in_ns gwa "$sundog" events -n 256 -o jsonl --socket "$lab_dir/a/api.sock" >"$KEEP/events.jsonl"; }
if ! emu_kept_up >"$lab_dir/kept"; then void "the lab lost packets by itself: $(cat "$lab_dir/kept")"; exit 1; fi
if [ "$(got s duplicates)" != 0 ]; then void "$(got s duplicates) packets came out of the tunnel twice"; exit 1; fi

best=0
for k in 0 1 2; do
        printf '%-32s %11.2f %%  bad alone, longest gap %.0f ms\n' "$(json "$lab_dir/want.json" "['paths'][$k]")" \
                "$(awk "BEGIN { print 100 * $(got $k bad_share) }")" "$(got $k longest_gap_ms)" >&2
        is "$(got $k bad_share)" '<' "$(got $best bad_share)" >/dev/null && best=$k
done
printf '%-32s %11.2f %%  bad, longest gap %.0f ms\n' "with Sundog" "$(awk "BEGIN { print 100 * $(got s bad_share) }")" "$(got s longest_gap_ms)" >&2
packets=$(got s sent)
# Ethernet 14, IPv4 20, UDP 8, payload 160; around it a second IPv4 and UDP and the tunnel's header: 60 in all.
direct_bytes=$((3 * packets * 202))
one_copy_bytes=$((packets * 262))
overhead=$(awk "BEGIN { printf \"%.4f\", ($sent_bytes - $direct_bytes) / $one_copy_bytes }")
if is "$(got $best bad_share)" '>' 0 >/dev/null; then
        figure path.voice_bad_ratio "$(awk "BEGIN { printf \"%.4f\", $(got s bad_share) / $(got $best bad_share) }")" \
                "$packets packets of $(basename "$playlist"), split $split, best alone: $(json "$lab_dir/want.json" "['paths'][$best]")"
else
        printf '{"figure":"path.voice_bad_ratio","value":null,"unit":"ratio","why":"the best single path lost nothing"}\n'
fi
figure path.voice_overhead "$overhead" "$((sent_bytes - direct_bytes)) bytes sent"
