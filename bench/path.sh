#!/bin/bash
# path.cut_lost_mirrored, path.kill_lost: what is lost of a mirrored stream of 10^6 packets between two gateways
# - while either of its two paths is cut, 20 times, at random moments (P10, P12);
# - while each process of the gateways is killed, 20 times, and started again.
# path.cut_gap_ms: a class that is not mirrored, 1,000 packets a second, and the path that carries it dies without a
# word: the longest time in which nothing arrives. Seven times (P12).
#
#     bench/path.sh [cut] [kill] [gap]   needs root; without a name: cut, then kill, then gap, each within 60 s
#     PACKETS=, PER_SECOND=, TIMES=, SEED= change the scale; the figures are for 1000000, 25000, 20
#
# Only namespaces of its own are touched. A run in which the lab itself lost a packet, or in which the cuts hit
# nothing, is void: the figure is then null and says why.
here=$(dirname "$0")
. "$here/../tests/lab/lab.sh"
. "$here/gateway.sh"
voice=$lab_build/lab/voice
packets=${PACKETS:-1000000}
per_second=${PER_SECOND:-25000}
times=${TIMES:-20}
seed=${SEED:-$(($(date +%s) % 32768))}

figure() {
        printf '%-32s %12s packets  of %s, %s\n' "$1" "$2" "$packets" "$3" >&2
        printf '{"figure":"%s","value":%s,"unit":"packets","min":%s,"max":%s,"runs":1}\n' "$1" "$2" "$2" "$2"
}

void() {
        printf '%-32s %12s           %s\n' "$1" - "$2" >&2
        printf '{"figure":"%s","value":null,"unit":"'"$([ "$1" = path.cut_gap_ms ] && echo ms || echo packets)"'","why":"%s"}\n' "$1" "$(printf %s "$2" | tr '"\\\n' "'/ ")"
}

# A random time between two, in milliseconds. Part of the experiment, not a wait for something.
pause() { sleep "$(awk "BEGIN { print ($1 + $RANDOM % ($2 - $1 + 1)) / 1000 }")"; }

stream_start() {
        rm -f "$lab_dir/got.json"
        spawn_in hb recv.log "$voice" recv --bind 10.77.2.2:7000 --wait 10s --idle 3s --report "$lab_dir/got.json"
        receiver=$!
        wait_for 5 in_ns hb sh -c 'ss -lun | grep -q :7000' || return 1
        spawn_in ha send.log "$voice" send --to 10.77.2.2:7000 --rate "$per_second" --count "$packets" --report "$lab_dir/sent.json"
        sender=$!
}

stream_is_on() { kill -0 "$sender" 2>/dev/null; }

# Each disturbance has its share of the stream's time, less what it needs itself.
share_ms() { echo $((packets * 1000 / per_second / times)); }

# What every run must show, whatever was done to it: prints why not.
why_void() {
        local duplicates
        [ -s "$lab_dir/got.json" ] || { echo "nothing arrived: $(tail -1 "$lab_dir/recv.log")"; return 0; }
        [ "$(json "$lab_dir/sent.json" '["refused"]')" = 0 ] || { echo "the sender's own kernel refused packets"; return 0; }
        emu_kept_up >"$lab_dir/kept" || { echo "the lab lost packets by itself: $(cat "$lab_dir/kept")"; return 0; }
        duplicates=$(json "$lab_dir/got.json" '["duplicates"]')
        [ "$duplicates" = 0 ] || { echo "$duplicates packets came out twice"; return 0; }
        return 1
}

bench_cut() {
        local k done=0 share why hit0 hit1
        RANDOM=$seed
        share=$(share_ms)
        stream_start || { void path.cut_lost_mirrored "the receiver does not start"; return; }
        while [ $done -lt "$times" ] && stream_is_on; do
                pause $((share / 10)) $((share * 3 / 10))
                k=$((RANDOM % 2))
                emu cut p$k
                pause $((share / 10)) $((share * 3 / 10))
                emu heal p$k
                # Nothing that was sent before the heal may count on this path when the other one is cut next.
                pause $((share / 10)) $((share * 2 / 10))
                done=$((done + 1))
        done
        finish "$sender"
        finish "$receiver"
        hit0=$(emu_count p0 ab dropped.cut)
        hit1=$(emu_count p1 ab dropped.cut)
        if why=$(why_void); then
                void path.cut_lost_mirrored "$why"
        elif [ $done -lt "$times" ] || [ "$hit0" -eq 0 ] || [ "$hit1" -eq 0 ]; then
                void path.cut_lost_mirrored "only $done cuts in the time of the stream; $hit0 and $hit1 copies hit"
        else
                figure path.cut_lost_mirrored "$(json "$lab_dir/got.json" '["lost"]')" \
                        "$times cuts, $hit0 and $hit1 copies hit, longest gap $(json "$lab_dir/got.json" '["longest_gap_ms"]') ms"
        fi
}

bench_kill() {
        local side pids pid done=0 share why fate=0
        RANDOM=$seed
        share=$(share_ms)
        stream_start || { void path.kill_lost "the receiver does not start"; return; }
        while [ $done -lt "$times" ] && stream_is_on; do
                pause $((share / 10)) $((share * 3 / 10))
                side=a
                [ $((done % 2)) -eq 0 ] || side=b
                mapfile -t pids < <(gateway_pids $side)
                # Every process has its turn: the daemon itself, then each of those below it.
                pid=${pids[$(((done / 2) % ${#pids[@]}))]}
                kill -9 "$pid"
                # Not for its status: so that the shell does not tell of it in the middle of the figures.
                wait "$pid" 2>/dev/null
                pause $((share / 10)) $((share * 2 / 10))
                gateway_revive $side >"$lab_dir/revive.log" 2>&1 || { fate=1; break; }
                done=$((done + 1))
        done
        finish "$sender"
        finish "$receiver"
        if why=$(why_void); then
                void path.kill_lost "$why"
        elif [ $fate -ne 0 ]; then
                void path.kill_lost "gateway $side did not come back: $(tail -1 "$lab_dir/revive.log")"
        elif [ $done -lt "$times" ]; then
                void path.kill_lost "only $done kills in the time of the stream"
        else
                figure path.kill_lost "$(json "$lab_dir/got.json" '["lost"]')" \
                        "$times kills, longest gap $(json "$lab_dir/got.json" '["longest_gap_ms"]') ms"
        fi
}

# The path on which the stream goes now: the one whose counter grows the most.
carrier() {
        local before0 before1
        before0=$(emu_count p0 ab in_packets) before1=$(emu_count p1 ab in_packets)
        pause 200 200
        [ $(($(emu_count p0 ab in_packets) - before0)) -ge $(($(emu_count p1 ab in_packets) - before1)) ] && echo 0 || echo 1
}

bench_gap() {
        local i k why gaps=() packets=5000 per_second=1000
        RANDOM=$seed
        gateway_configure never
        for i in a b; do
                gateway_restart $i >"$lab_dir/restart.log" 2>&1 ||
                        { void path.cut_gap_ms "gateway $i does not start again: $(tail -1 "$lab_dir/restart.log")"; return; }
        done
        # A cut that comes just as the class moves by itself hits nobody: that one is not counted.
        for ((i = 0; i < 12 && ${#gaps[@]} < 7; i++)); do
                stream_start || { void path.cut_gap_ms "the receiver does not start"; return; }
                pause 500 1500
                k=$(carrier)
                emu cut "p$k"
                finish "$sender"
                finish "$receiver"
                emu heal "p$k"
                if why=$(why_void); then void path.cut_gap_ms "$why"; return; fi
                [ "$(json "$lab_dir/got.json" '["lost"]')" -eq 0 ] || gaps+=("$(json "$lab_dir/got.json" '["longest_gap_ms"]')")
        done
        [ ${#gaps[@]} -eq 7 ] || { void path.cut_gap_ms "of $i cuts only ${#gaps[@]} hit the path that carried the class"; return; }
        mapfile -t gaps < <(printf '%s\n' "${gaps[@]}" | sort -g)
        printf '%-32s %12.1f ms       of %d cuts, %.1f to %.1f\n' path.cut_gap_ms "${gaps[3]}" 7 "${gaps[0]}" "${gaps[6]}" >&2
        printf '{"figure":"path.cut_gap_ms","value":%s,"unit":"ms","min":%s,"max":%s,"runs":7}\n' "${gaps[3]}" "${gaps[0]}" "${gaps[6]}"
}

declare -A figure_of=([cut]=path.cut_lost_mirrored [kill]=path.kill_lost [gap]=path.cut_gap_ms)
void_all() { for what in "${wanted[@]}"; do void "${figure_of[$what]}" "$1"; done; }

wanted=("$@")
[ $# -gt 0 ] || wanted=(cut kill gap)
for what in "${wanted[@]}"; do
        [ -n "${figure_of[$what]:-}" ] || { echo "path.sh: \"$what\" is not cut, kill or gap" >&2; exit 2; }
done
if [ "$(id -u)" -ne 0 ]; then void_all "namespaces need root"; exit 0; fi
if why=$(gateway_lacks); then void_all "$why"; exit 0; fi
# lab_begin and its trap end this script; what they say in TAP is for people here.
lab_begin bench 2 >&2
for k in 0 1; do emu set p$k delay $((5 + 10 * k))ms; done
gateway_configure always
if ! { gateway_start a && gateway_start b; } >"$lab_dir/start.log" 2>&1; then
        void_all "the gateways do not start: $(tail -1 "$lab_dir/start.log")"
        exit 1
fi
topology route dev sd0
wait_for 10 in_ns ha ping -c 1 -W 1 10.77.2.2 || { void_all "the tunnel does not carry a ping"; exit 1; }
echo "seed $seed: SEED=$seed repeats the same moments" >&2
for what in "${wanted[@]}"; do
        emu stats reset
        bench_$what
done
